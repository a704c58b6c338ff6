/* SPDX-License-Identifier: MIT
 *
 * A second opinion on output.h: what its counters should be, worked out anew
 * from the ring. Looks inside the structures, and changes nothing.
 */
#ifndef BROKER_TESTS_OUTPUT_CHECK_H
#define BROKER_TESTS_OUTPUT_CHECK_H

#include "output.h"

/* What is wrong with the accounts of the output, or NULL. Static text. */
const char *output_check(const struct output *output);

/* What is wrong with the books of a subscription whose messages are queued
 * here, or NULL. Static text. */
const char *output_check_books(
    const struct output *output, const struct subscription *subscription);

#endif
