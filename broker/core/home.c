/* SPDX-License-Identifier: MIT
 *
 * What home has of the store; see home.h. */
#include "home.h"

#include "consumers.h"
#include "retained_store.h"
#include "schedule.h"
#include "session.h"
#include "streams.h"

static bool
is_home(const struct core *core)
{
    return core->options.store != NULL && core->options.worker == EXCHANGE_HOME;
}

bool
home_init(struct core *core)
{
    if (!is_home(core)) {
        return true;
    }
    core->streams = streams_new(core);
    core->retained_store = retained_store_new(core);
    core->schedule = schedule_new(core);
    core->consumers = consumers_new(core);
    return core->consumers != NULL && core->streams != NULL &&
           core->retained_store != NULL && core->schedule != NULL;
}

void
home_fini(struct core *core)
{
    consumers_free(core->consumers);
    core->consumers = NULL;
    streams_free(core->streams);
    core->streams = NULL;
    retained_store_free(core->retained_store);
    core->retained_store = NULL;
    schedule_free(core->schedule);
    core->schedule = NULL;
}

void
home_run(struct core *core)
{
    schedulings_run(core);
    streams_run(core);
    consumers_run(core);
    schedule_run(core);
    retained_store_run(core); /* last: what came of the others too */
}

static uint64_t
earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

uint64_t
home_due(const struct core *core)
{
    return earlier(earlier(streams_due(core), consumers_due(core)),
        earlier(retained_store_due(core), schedule_due(core)));
}

bool
core_is_ready(const struct core *core)
{
    return streams_are_ready(core) && retained_store_is_ready(core) &&
           consumers_are_ready(core);
}
