/* SPDX-License-Identifier: MIT
 *
 * Publishes to streams; see durable.h. */
#include "durable.h"

#include "session.h"

#include "store.h"

void
core_store_poll(struct core *core)
{
    store_poll(core->options.store);
}

void
core_store_room(struct core *core)
{
    (void)core;
}

void
core_store_tick(struct core *core)
{
    if (core->options.store != NULL) {
        store_tick(core->options.store);
    }
}
