/* SPDX-License-Identifier: MIT
 *
 * The aggregate: everything that sessions share, and time. See core.h. */
#include "core.h"

#include "home.h"
#include "session.h"

#include <stdlib.h>
#include <string.h>

/* A run is handed on at this size at the latest, so that one publisher's flood
 * is cut into pieces that fit a queue. */
#define RUN_BYTES_MAX (256u * 1024u)

/* What waits for memory looks for it so often. */
#define MEMORY_LOOK_MS 10u

static uint32_t
run_bytes_max(const struct core_options *options)
{
    uint64_t quarter = options->max_output_bytes / 4;
    return quarter < RUN_BYTES_MAX ? (uint32_t)quarter : RUN_BYTES_MAX;
}

static void
take_options(struct core *core)
{
    const struct core_options *options = &core->options;
    core->meters_publishes = options->max_user_messages_per_s > 0 ||
                             options->max_user_bytes_per_s > 0;
    core->run_bytes_max = run_bytes_max(options);
}

static bool
init_parts(struct core *core)
{
    const struct core_options *options = &core->options;
    uint64_t seed = core->seed;
    block_pool_init(&core->pool, options->max_memory_bytes);
    block_pool_share(&core->pool, options->shared_bytes, options->other_bytes,
        options->workers);
    intake_shared_init(&core->intake, &core->pool);
    core->contexts.seed = seed ^ 1;
    identities_init(&core->identities, options->max_sessions,
        options->session_memory_ms, seed ^ 2);
    /* What waits for the store waits as for another worker. */
    if (options->workers > 1 || options->store != NULL) {
        uint32_t workers = options->workers > 1 ? options->workers : 1;
        core->exchange = exchange_new(
            options->worker, workers, options->max_memory_bytes, seed ^ 6);
        if (core->exchange == NULL) {
            return false;
        }
    }
    if (!home_init(core)) {
        return false;
    }
    return index_init(&core->index, seed ^ 3) &&
           retained_init(&core->retained, &core->pool,
               options->max_retained_topics, options->max_retained_bytes,
               seed ^ 4) &&
           route_cache_init(
               &core->routes, &core->index, &core->contexts, seed ^ 5);
}

struct core *
core_new(const struct core_options *options, const struct core_hooks *hooks,
    uint64_t now_ms)
{
    struct core *core = calloc(1, sizeof *core);
    if (core == NULL) {
        return NULL;
    }
    core->options = *options;
    core->hooks = *hooks;
    core->limits = (struct broker_limits){options->max_body_bytes,
        options->max_topic_bytes, options->max_topic_levels};
    core->now_ms = core->started_ms = now_ms;
    core->polled_ms = UINT64_MAX;
    take_options(core);
    TAILQ_INIT(&core->sessions);
    LIST_INIT(&core->slow);
    TAILQ_INIT(&core->working);
    TAILQ_INIT(&core->waiting);
    TAILQ_INIT(&core->storing);
    TAILQ_INIT(&core->durables);
    TAILQ_INIT(&core->durables_at_home);
    TAILQ_INIT(&core->schedulings);
    TAILQ_INIT(&core->attachments_touched);
    LIST_INIT(&core->readers_waiting);
    LIST_INIT(&core->readers_ending);
    uint8_t seed[sizeof core->seed];
    hooks->random(hooks->arg, seed, sizeof seed);
    memcpy(&core->seed, seed, sizeof seed);
    if (options->boot != NULL) {
        memcpy(core->boot, options->boot, sizeof core->boot);
    } else {
        hooks->random(hooks->arg, core->boot, sizeof core->boot);
    }
    core->options.boot = NULL; /* copied */
    if (!init_parts(core)) {
        core_free(core);
        return NULL;
    }
    return core;
}

void
core_free(struct core *core)
{
    if (core == NULL) {
        return;
    }
    durable_drop_all(core);
    readers_drop_all(core);
    schedulings_drop_all(core);
    home_fini(core);
    if (core->exchange != NULL) {
        question_drop_all(core);
    }
    exchange_free(core->exchange);
    route_cache_fini(&core->routes);
    captures_drop_all(core);
    if (core->retained.pool != NULL) {
        retained_fini(&core->retained);
    }
    if (core->index.tree.root != NULL) {
        index_fini(&core->index);
    }
    identities_fini(&core->identities);
    table_fini(&core->contexts.contexts);
    table_fini(&core->subscriptions);
    table_fini(&core->sessions_by_id);
    deadline_heap_fini(&core->deadlines);
    intake_shared_fini(&core->intake);
    block_pool_fini(&core->pool);
    spares_fini(&core->spare_durables);
    spares_fini(&core->spare_waits);
    free(core->picks);
    free(core->remote_picks);
    free(core);
}

void
core_set_now(struct core *core, uint64_t now_ms)
{
    if (now_ms > core->now_ms) {
        core->now_ms = now_ms;
    }
}

void
core_set_wall(struct core *core, uint64_t wall_ms)
{
    core->wall_ms = wall_ms;
}

void
core_set_polled(struct core *core, uint64_t polled_ms)
{
    core->polled_ms = polled_ms;
}

/* Once when it happens, and again only after it was well over. */
static void
log_memory(struct core *core)
{
    const struct block_pool *pool = &core->pool;
    if (!core->tight_logged && block_pool_is_tight(pool)) {
        core->tight_logged = true;
        core->hooks.log(core->hooks.arg, CORE_EVENT_MEMORY, NULL,
            BROKER_E_MEMORY, "queues may not grow; see max_memory_bytes");
    } else if (core->tight_logged &&
               block_pool_bytes(pool) < pool->bytes_tight / 4 * 3) {
        core->tight_logged = false;
    }
}

/* What the session keeps of memory: queued, or as a large frame that is not
 * complete. */
static uint64_t
kept_bytes(const struct session *session)
{
    uint64_t queued = session->output.pinned_bytes;
    uint64_t coming = intake_large_bytes(&session->intake);
    return queued > coming ? queued : coming;
}

bool
core_shed(struct core *core)
{
    struct session *worst = NULL;
    uint64_t most = 0;
    struct session *session;
    TAILQ_FOREACH(session, &core->sessions, all)
    {
        uint64_t bytes = kept_bytes(session);
        if (bytes > most) {
            worst = session;
            most = bytes;
        }
    }
    if (worst == NULL) {
        return false;
    }
    if (worst->output.pinned_bytes < most) {
        session_shed_input(worst);
    } else {
        output_shed(&worst->output);
    }
    return true;
}

uint64_t
core_tick(struct core *core)
{
    log_memory(core);
    hold_next_turn(core);
    if (core->options.store != NULL) {
        home_run(core);
    }
    struct deadline *first;
    while ((first = deadline_first(&core->deadlines)) != NULL &&
           first->due_ms <= core_judged_ms(core)) {
        session_on_deadline(table_entry(first, struct session, deadline));
    }
    return core_due(core);
}

/* When what has to do with the store is to be looked at. */
static uint64_t
store_due(const struct core *core)
{
    bool waits = !LIST_EMPTY(&core->readers_waiting) ||
                 (!TAILQ_EMPTY(&core->durables) &&
                     durable_is_stuck(TAILQ_FIRST(&core->durables)));
    uint64_t look_ms = waits ? core->now_ms + MEMORY_LOOK_MS : UINT64_MAX;
    uint64_t home_ms = home_due(core);
    return look_ms < home_ms ? look_ms : home_ms;
}

uint64_t
core_due(const struct core *core)
{
    if (!TAILQ_EMPTY(&core->working)) {
        return core->now_ms;
    }
    const struct deadline *first = deadline_first(&core->deadlines);
    uint64_t due_ms = first == NULL ? UINT64_MAX : first->due_ms;
    if (core->options.store == NULL) {
        return due_ms;
    }
    uint64_t store_ms = store_due(core);
    return store_ms < due_ms ? store_ms : due_ms;
}

void
core_set_options(struct core *core, const struct core_options *options)
{
    struct core_options before = core->options;
    core->options = *options;
    core->options.max_body_bytes = before.max_body_bytes;
    core->options.max_topic_bytes = before.max_topic_bytes;
    core->options.max_topic_levels = before.max_topic_levels;
    core->options.max_memory_bytes = before.max_memory_bytes;
    core->options.name = before.name;
    core->options.worker = before.worker;
    core->options.workers = before.workers;
    core->options.shared_bytes = before.shared_bytes;
    core->options.other_bytes = before.other_bytes;
    core->options.boot = before.boot;
    core->options.store = before.store;
    core->identities.gone_max = options->max_sessions;
    core->identities.memory_ms = options->session_memory_ms;
    core->retained.max_topics = options->max_retained_topics;
    core->retained.max_bytes = options->max_retained_bytes;
    take_options(core);
    struct session *session;
    TAILQ_FOREACH(session, &core->sessions, all)
    {
        session_schedule(session);
    }
}

void
core_shut_down(struct core *core, uint32_t retry_after_ms)
{
    core->shutting_down = true;
    core->shut_down_retry_ms = retry_after_ms;
    struct session *session;
    TAILQ_FOREACH(session, &core->sessions, all)
    {
        if (session->state != SESSION_CLOSING) {
            session->retry_after_ms = retry_after_ms;
            session_close_drained(session, BROKER_E_SHUTTING_DOWN);
        }
    }
}

void
core_get_stats(const struct core *core, struct core_stats *out)
{
    *out = core->totals;
    out->connections = core->session_count;
    out->subscriptions = core->index.count;
    out->retained_topics = core->retained.topics;
    out->retained_bytes = core->retained.bytes;
    out->route_lookups = core->routes.lookups;
    out->route_misses = core->routes.misses;
    out->memory_bytes = block_pool_blocks(&core->pool);
    out->other_bytes = block_pool_others(&core->pool);
    out->max_memory_bytes = core->options.max_memory_bytes;
    out->uptime_ms = core->now_ms - core->started_ms;
    memcpy(out->boot, core->boot, sizeof out->boot);
    out->name = core->options.name;
    const struct session *session;
    TAILQ_FOREACH(session, &core->sessions, all)
    {
        out->received_messages += session->received_messages;
        out->received_bytes += session->received_bytes;
        out->delivered_messages += session->output.delivered;
        out->delivered_bytes += session->delivered_bytes;
        out->dropped_messages += session->output.dropped;
    }
}

const struct session *
core_next_session(const struct core *core, const struct session *after)
{
    return after == NULL ? TAILQ_FIRST(&core->sessions)
                         : TAILQ_NEXT(after, all);
}
