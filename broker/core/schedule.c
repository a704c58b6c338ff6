/* SPDX-License-Identifier: MIT
 *
 * What is to be published when, at home; see schedule.h. */
#include "schedule.h"

#include "deadline.h"
#include "session.h"
#include "streams.h"
#include "table.h"
#include "wire.h"

#include "store.h"

#include <stdlib.h>
#include <string.h>

#define FORMAT      1u
#define HEAD_BYTES  4u
#define KNOWN_MAX   8192u /* messages that home knows of */
#define RUNNING_MAX 64u   /* that are being published */
#define RETRY_MS    100u
#define REFUSED_MS  1000u  /* until a stream is asked again */
#define LOOK_MS     10000u /* at the clock, which may be set */

/* One that home knows of. */
struct scheduled {
    struct table_link link;
    struct deadline deadline;     /* while it waits; of the wall clock */
    TAILQ_ENTRY(scheduled) place; /* while it is being published */
    struct core *core;
    struct block *frame;     /* once it was read */
    struct capture *capture; /* that it is being stored for */
    enum { TO_GET, TO_STORE, TO_ROUTE, TO_END, IS_OVER } step;
    bool is_waiting; /* for the store */
    bool is_refused; /* by its stream, for now */
    uint8_t key_bytes;
    uint8_t key[SCHEDULE_KEY_MAX];
};
TAILQ_HEAD(scheduled_list, scheduled);

struct schedule {
    struct core *core;
    struct table known;
    struct deadline_heap waiting;
    struct scheduled_list running;
    size_t running_count;
    uint64_t horizon_ms; /* from here on there may be others in the store */
    uint64_t retry_ms;   /* nothing is tried again before */
    uint64_t look_ms;    /* nor looked for */
    bool scanning, scanned;
};

/* ---- what is known ------------------------------------------------------- */

static uint64_t
hash_of(const struct schedule *schedule, const void *key, size_t bytes)
{
    return table_hash(key, bytes, schedule->core->seed ^ 8);
}

static bool
is_known(const struct schedule *schedule, const void *key, size_t bytes)
{
    struct table_link *link =
        table_first(&schedule->known, hash_of(schedule, key, bytes));
    for (; link != NULL; link = table_next(&schedule->known, link)) {
        const struct scheduled *one = table_entry(link, struct scheduled, link);
        if (one->key_bytes == bytes && memcmp(one->key, key, bytes) == 0) {
            return true;
        }
    }
    return false;
}

static void
forget(struct schedule *schedule, struct scheduled *one)
{
    table_remove(&schedule->known, &one->link);
    block_unref(one->frame);
    capture_unref(one->capture);
    free(one);
}

/* It will be found in the store when it is needed. */
static void
leave_to_store(struct schedule *schedule, uint64_t time_ms)
{
    if (time_ms < schedule->horizon_ms) {
        schedule->horizon_ms = time_ms;
    }
}

static struct scheduled *
latest(const struct schedule *schedule)
{
    struct scheduled *latest = NULL;
    for (size_t i = 0; i < schedule->waiting.count; i++) {
        struct scheduled *one =
            table_entry(schedule->waiting.slots[i], struct scheduled, deadline);
        if (latest == NULL || one->deadline.due_ms > latest->deadline.due_ms) {
            latest = one;
        }
    }
    return latest;
}

static void
learn(struct schedule *schedule, uint64_t time_ms, const void *key,
    size_t key_bytes)
{
    if (time_ms >= schedule->horizon_ms || key_bytes > SCHEDULE_KEY_MAX ||
        is_known(schedule, key, key_bytes)) {
        return;
    }
    struct scheduled *one = calloc(1, sizeof *one);
    if (one == NULL ||
        !deadline_heap_reserve(&schedule->waiting, schedule->known.count + 1) ||
        !table_insert(
            &schedule->known, &one->link, hash_of(schedule, key, key_bytes))) {
        free(one);
        leave_to_store(schedule, time_ms);
        return;
    }
    one->core = schedule->core;
    one->key_bytes = (uint8_t)key_bytes;
    memcpy(one->key, key, key_bytes);
    deadline_set(&schedule->waiting, &one->deadline, time_ms);
    if (schedule->waiting.count > KNOWN_MAX) {
        struct scheduled *last = latest(schedule);
        leave_to_store(schedule, last->deadline.due_ms);
        deadline_clear(&schedule->waiting, &last->deadline);
        forget(schedule, last);
    }
}

void
schedule_on_scheduled(struct core *core, const struct letter_scheduled *letter)
{
    learn(core->schedule, letter->time_ms, letter->key, letter->key_bytes);
}

/* ---- looking in the store ------------------------------------------------ */

static uint64_t
get_u64(const uint8_t *src)
{
    return (uint64_t)wire_u32(src) << 32 | wire_u32(src + 4);
}

static void
on_value(void *arg, enum store_status status, const struct store_value *value)
{
    struct schedule *schedule = arg;
    if (value != NULL && value->key != NULL) {
        if (value->key_bytes > 8) { /* else it is none of ours */
            learn(schedule, get_u64(value->key), value->key, value->key_bytes);
        }
        return;
    }
    schedule->scanning = false;
    schedule->scanned = status == STORE_OK;
    schedule->look_ms = schedule->core->now_ms + RETRY_MS;
}

/* All that was known has been published, or what is not known is next. */
static bool
needs_more(const struct schedule *schedule)
{
    const struct deadline *first = deadline_first(&schedule->waiting);
    bool is_next = first != NULL && first->due_ms < schedule->horizon_ms;
    bool is_more = schedule->horizon_ms != UINT64_MAX || !schedule->scanned;
    return is_more && !is_next && !schedule->scanning &&
           schedule->running_count == 0;
}

static void
look_for_more(struct schedule *schedule)
{
    schedule->horizon_ms = UINT64_MAX;
    schedule->scanned = false;
    schedule->look_ms = schedule->core->now_ms + RETRY_MS;
    schedule->scanning =
        store_scan(schedule->core->options.store, STORE_SPACE_SCHEDULE,
            on_value, schedule) == STORE_OK;
}

/* ---- publishing ---------------------------------------------------------- */

static struct broker_bytes
topic_of(const struct scheduled *one)
{
    return (struct broker_bytes){wire_publish_topic(one->frame->data),
        wire_publish_topic_bytes(one->frame->data)};
}

static enum broker_status
no_check(void *arg, struct broker_bytes topic)
{
    (void)arg;
    (void)topic;
    return BROKER_OK; /* it was checked when it was received */
}

/* Is it a whole frame with a topic? */
static bool
is_publish(const uint8_t *src, size_t len)
{
    static const struct broker_limits all = {
        BROKER_BODY_BYTES_MAX, UINT16_MAX, UINT16_MAX};
    struct broker_frame frame;
    struct broker_publish publish;
    size_t n;
    return broker_frame_decode(&all, src, len, &frame, &n) == BROKER_OK &&
           n == len && frame.type == BROKER_FRAME_PUBLISH &&
           broker_publish_decode(&frame, &publish) == BROKER_OK &&
           broker_topic_check(&all, publish.topic) == BROKER_OK;
}

static void
on_get(void *arg, enum store_status status, const struct store_value *value)
{
    struct scheduled *one = arg;
    one->is_waiting = false;
    if (status == STORE_MEMORY || status == STORE_AGAIN) {
        return; /* again */
    }
    const uint8_t *bytes = status == STORE_OK ? value->data : NULL;
    if (bytes == NULL || value->bytes < HEAD_BYTES ||
        wire_u32(bytes) != FORMAT << 16 ||
        !is_publish(bytes + HEAD_BYTES, value->bytes - HEAD_BYTES)) {
        one->step = IS_OVER; /* not there any more; or damaged, and it stays */
        return;
    }
    size_t len = value->bytes - HEAD_BYTES;
    one->frame = block_new(&one->core->pool, len);
    if (one->frame != NULL) {
        memcpy(one->frame->data, bytes + HEAD_BYTES, len);
        one->frame->fill = (uint32_t)len;
        one->step = TO_STORE;
    }
}

/* Did the store take the call? */
static bool
asked(struct scheduled *one, enum store_status status)
{
    one->is_waiting = status == STORE_OK;
    if (status == STORE_INVALID) {
        one->step = IS_OVER;
    }
    return status == STORE_OK || status == STORE_INVALID;
}

static bool
get(struct scheduled *one)
{
    return asked(one, store_get(one->core->options.store, STORE_SPACE_SCHEDULE,
                          one->key, one->key_bytes, on_get, one));
}

static void
on_append(void *arg, const struct store_result *result)
{
    struct scheduled *one = arg;
    struct core *core = one->core;
    one->is_waiting = false;
    if (result->status == STORE_OK) {
        core->totals.stored_messages++;
        core->totals.stored_bytes += one->frame->fill;
        one->step = TO_ROUTE;
        return;
    }
    capture_unref(one->capture);
    one->capture = NULL;
    /* Where the stream is gone, what captures the topic by now is asked. */
    one->is_refused = result->status != STORE_NOT_FOUND;
}

/* What captures the topic by now; NULL: nothing, or memory is out: *ok. */
static struct capture *
capture_of(struct scheduled *one, bool *ok)
{
    enum broker_status status = BROKER_OK;
    struct route *route =
        route_get(&one->core->routes, topic_of(one), no_check, NULL, &status);
    struct capture *capture = NULL;
    *ok = route != NULL;
    if (route != NULL) {
        capture = route->capture == NULL ? NULL : capture_ref(route->capture);
        route_unref(route);
    }
    return capture;
}

static bool
store(struct scheduled *one)
{
    bool ok;
    struct capture *capture = capture_of(one, &ok);
    if (capture == NULL) {
        one->step = ok ? TO_ROUTE : TO_STORE;
        return ok;
    }
    struct store_value end = {.space = STORE_SPACE_SCHEDULE,
        .key = one->key,
        .key_bytes = one->key_bytes};
    struct store_append append = {.stream = capture->stream,
        .records = one->frame->data,
        .bytes = one->frame->fill,
        .count = 1,
        .values = &end,
        .value_count = 1,
        .time_ms = one->core->wall_ms};
    one->capture = capture;
    bool took = asked(
        one, store_append(one->core->options.store, &append, on_append, one));
    if (!one->is_waiting) {
        capture_unref(capture);
        one->capture = NULL;
    }
    return took;
}

static bool
route(struct scheduled *one)
{
    struct core *core = one->core;
    const uint8_t *frame = one->frame->data;
    enum broker_status status = BROKER_OK;
    struct run run = {.slice = {.block = one->frame,
                          .data = frame,
                          .bytes = one->frame->fill,
                          .messages = 1},
        .stored = true};
    bool retains = ((frame[6] << 8 | frame[7]) & BROKER_PUBLISH_RETAIN) != 0;
    if (!exchange_has_room(core->exchange)) {
        return false;
    }
    if (retains) {
        status = publish_retained(core, topic_of(one), &run);
    } else {
        run.route = deliver_route(core, topic_of(one), no_check, NULL, &status);
        if (run.route != NULL) {
            deliver_run(core, &run);
            route_unref(run.route);
        }
    }
    if (status == BROKER_E_MEMORY) {
        return false;
    }
    one->step = one->capture == NULL ? TO_END : IS_OVER;
    return true;
}

static void
on_end(void *arg, const struct store_result *result)
{
    struct scheduled *one = arg;
    (void)result; /* where it failed the next start publishes it again */
    one->is_waiting = false;
    one->step = IS_OVER;
}

static bool
end(struct scheduled *one)
{
    struct store_value value = {.space = STORE_SPACE_SCHEDULE,
        .key = one->key,
        .key_bytes = one->key_bytes};
    return asked(
        one, store_put(one->core->options.store, &value, 1, on_end, one));
}

/* False: nothing can be done now. */
static bool
go_on(struct scheduled *one)
{
    switch (one->step) {
    case TO_GET:
        return get(one);
    case TO_STORE:
        return store(one);
    case TO_ROUTE:
        return route(one);
    case TO_END:
        return end(one);
    case IS_OVER:
        break;
    }
    return true;
}

static void
take_off(struct schedule *schedule, struct scheduled *one)
{
    TAILQ_REMOVE(&schedule->running, one, place);
    schedule->running_count--;
}

/* It could not be stored: the others go on. */
static void
put_back(struct schedule *schedule, struct scheduled *one)
{
    take_off(schedule, one);
    one->is_refused = false;
    one->step = TO_GET;
    block_unref(one->frame);
    one->frame = NULL;
    deadline_set(&schedule->waiting, &one->deadline,
        schedule->core->wall_ms + REFUSED_MS);
}

static void
run_one(struct schedule *schedule, struct scheduled *one)
{
    while (!one->is_waiting && !one->is_refused && one->step != IS_OVER) {
        if (!go_on(one)) {
            schedule->retry_ms = schedule->core->now_ms + RETRY_MS;
            return;
        }
    }
    if (one->is_refused) {
        put_back(schedule, one);
    } else if (!one->is_waiting) {
        take_off(schedule, one);
        forget(schedule, one);
    }
}

static void
start_due(struct schedule *schedule)
{
    struct deadline *first;
    while (schedule->running_count < RUNNING_MAX &&
           (first = deadline_first(&schedule->waiting)) != NULL &&
           first->due_ms <= schedule->core->wall_ms) {
        struct scheduled *one = table_entry(first, struct scheduled, deadline);
        deadline_clear(&schedule->waiting, first);
        TAILQ_INSERT_TAIL(&schedule->running, one, place);
        schedule->running_count++;
    }
}

/* ---- life ---------------------------------------------------------------- */

struct schedule *
schedule_new(struct core *core)
{
    struct schedule *schedule = calloc(1, sizeof *schedule);
    if (schedule != NULL) {
        schedule->core = core;
        schedule->horizon_ms = UINT64_MAX;
        TAILQ_INIT(&schedule->running);
    }
    return schedule;
}

void
schedule_free(struct schedule *schedule)
{
    if (schedule == NULL) {
        return;
    }
    struct scheduled *one;
    while ((one = TAILQ_FIRST(&schedule->running)) != NULL) {
        take_off(schedule, one);
        forget(schedule, one);
    }
    struct deadline *first;
    while ((first = deadline_first(&schedule->waiting)) != NULL) {
        deadline_clear(&schedule->waiting, first);
        forget(schedule, table_entry(first, struct scheduled, deadline));
    }
    deadline_heap_fini(&schedule->waiting);
    table_fini(&schedule->known);
    free(schedule);
}

/* Not before all streams capture: what is due would pass by its own. */
void
schedule_run(struct core *core)
{
    struct schedule *schedule = core->schedule;
    if (schedule == NULL || !streams_are_ready(core)) {
        return;
    }
    if (core->now_ms >= schedule->look_ms && needs_more(schedule)) {
        look_for_more(schedule);
    }
    if (core->now_ms < schedule->retry_ms) {
        return;
    }
    start_due(schedule);
    struct scheduled *one;
    struct scheduled *next;
    for (one = TAILQ_FIRST(&schedule->running); one != NULL; one = next) {
        next = TAILQ_NEXT(one, place);
        run_one(schedule, one);
    }
}

/* In the loop's time; the wall clock may be set meanwhile. */
static uint64_t
first_due(const struct schedule *schedule)
{
    const struct core *core = schedule->core;
    const struct deadline *first = deadline_first(&schedule->waiting);
    if (first == NULL || schedule->running_count >= RUNNING_MAX) {
        return UINT64_MAX;
    }
    uint64_t wait_ms =
        first->due_ms > core->wall_ms ? first->due_ms - core->wall_ms : 0;
    uint64_t due_ms = core->now_ms + (wait_ms < LOOK_MS ? wait_ms : LOOK_MS);
    return due_ms > schedule->retry_ms ? due_ms : schedule->retry_ms;
}

static bool
is_stuck(const struct schedule *schedule)
{
    const struct scheduled *one;
    TAILQ_FOREACH(one, &schedule->running, place)
    {
        if (!one->is_waiting) {
            return true;
        }
    }
    return false;
}

uint64_t
schedule_due(const struct core *core)
{
    const struct schedule *schedule = core->schedule;
    if (schedule == NULL || !streams_are_ready(core)) {
        return UINT64_MAX;
    }
    uint64_t due_ms = first_due(schedule);
    if (needs_more(schedule) && schedule->look_ms < due_ms) {
        due_ms = schedule->look_ms;
    }
    if (is_stuck(schedule) && schedule->retry_ms < due_ms) {
        due_ms = schedule->retry_ms;
    }
    return due_ms;
}

uint64_t
schedule_bytes(const struct core *core)
{
    const struct scheduled *one;
    uint64_t bytes = 0;
    if (core->schedule == NULL) {
        return 0;
    }
    TAILQ_FOREACH(one, &core->schedule->running, place)
    {
        bytes += one->frame == NULL ? 0 : one->frame->capacity;
    }
    return bytes;
}
