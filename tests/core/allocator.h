/* SPDX-License-Identifier: MIT
 *
 * The allocator of a test that is linked with --wrap=malloc and so on (see
 * CMakeLists.txt): it counts what is live, and fails when told to. Not in what
 * libraries allocate for themselves.
 */
#ifndef BROKER_TESTS_ALLOCATOR_H
#define BROKER_TESTS_ALLOCATOR_H

#include <stdbool.h>
#include <stdint.h>

struct allocator {
    uint64_t countdown; /* until one fails; 0: none does */
    bool and_all_after;
    bool inside; /* the core, not the test: only there they fail */
    bool failed; /* some did */
    int64_t live;
};
extern struct allocator allocator;

/* For fake_net_init. */
void allocator_guard(bool inside);

#endif
