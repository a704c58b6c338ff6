/* SPDX-License-Identifier: MIT
 *
 * What worker 0 has of the store for the whole broker: streams, retained
 * values, messages to be published later. Here they are begun, moved on and
 * ended together.
 */
#ifndef BROKER_CORE_HOME_H
#define BROKER_CORE_HOME_H

#include <stdbool.h>
#include <stdint.h>

struct core;

/* False if memory is out. Where there is no store, or on another worker, true,
 * and nothing is done. */
bool home_init(struct core *core);
void home_fini(struct core *core);
/* Go on: the store, another worker or the clock has moved. */
void home_run(struct core *core);
/* When to call that at the latest; UINT64_MAX. */
uint64_t home_due(const struct core *core);

#endif
