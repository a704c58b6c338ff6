/* SPDX-License-Identifier: MIT
 *
 * The table of durable consumers, how they are loaded and saved, and what is
 * done when; see consumers.h. */
#include "consumers.h"

#include "consumers_internal.h"
#include "session.h"

#include <stdlib.h>
#include <string.h>

/* Deadlines that are looked at so much too late are those of a broker that was
 * not running: for so long it listens to what was said meanwhile. */
#define SLEPT_MS  1000u
#define LISTEN_MS 1000u

/* Bytes that are read for a message, as long as nothing is known of them. */
#define BYTES_EACH 512u

/* ---- the table ----------------------------------------------------------- */

static uint64_t
hash_of(const struct consumers *consumers, struct broker_bytes name)
{
    return table_hash(name.data, name.len, consumers->seed);
}

struct cursor *
cursor_find(const struct consumers *consumers, struct broker_bytes name)
{
    const struct table *table = &consumers->by_name;
    struct table_link *link = table_first(table, hash_of(consumers, name));
    for (; link != NULL; link = table_next(table, link)) {
        struct cursor *cursor = table_entry(link, struct cursor, by_name);
        if (cursor->name.len == name.len &&
            memcmp(cursor->name.data, name.data, name.len) == 0) {
            return cursor;
        }
    }
    return NULL;
}

static struct cursor *
cursor_make(struct consumers *consumers, struct broker_bytes name,
    struct broker_bytes stream, const struct consumer_settings *settings)
{
    struct cursor *cursor =
        calloc(1, sizeof *cursor + name.len + 1 + stream.len);
    if (cursor == NULL) {
        return NULL;
    }
    cursor->consumers = consumers;
    memcpy(cursor->text, name.data, name.len);
    memcpy(cursor->text + name.len + 1, stream.data, stream.len);
    cursor->name = (struct broker_bytes){cursor->text, name.len};
    cursor->stream =
        (struct broker_bytes){cursor->text + name.len + 1, stream.len};
    cursor->bytes_each = BYTES_EACH;
    cursor->least_max_bytes = UINT32_MAX;
    TAILQ_INIT(&cursor->seats);
    cursor->state = consumer_new(settings);
    return cursor;
}

struct cursor *
cursor_new(struct consumers *consumers, struct broker_bytes name,
    struct broker_bytes stream, uint32_t number,
    const struct consumer_settings *settings)
{
    struct source *source = NULL;
    struct cursor *cursor = cursor_make(consumers, name, stream, settings);
    if (cursor == NULL || cursor->state == NULL ||
        !deadline_heap_reserve(&consumers->deadlines, consumers->count + 1) ||
        (source = source_of(consumers, number)) == NULL ||
        !table_insert(
            &consumers->by_name, &cursor->by_name, hash_of(consumers, name))) {
        if (source != NULL && source->cursors == 0 && !source->is_following) {
            LIST_REMOVE(source, link);
            free(source);
        }
        if (cursor != NULL) {
            consumer_free(cursor->state);
        }
        free(cursor);
        return NULL;
    }
    cursor->source = source;
    source->cursors++;
    TAILQ_INSERT_TAIL(&consumers->all, cursor, link);
    consumers->count++;
    return cursor;
}

static void
cursor_free(struct cursor *cursor)
{
    TAILQ_REMOVE(&cursor->consumers->ending, cursor, link);
    free(cursor);
}

static void
end_seats(struct cursor *cursor, enum broker_status status)
{
    struct seat *seat;
    while ((seat = TAILQ_FIRST(&cursor->seats)) != NULL) {
        TAILQ_REMOVE(&cursor->seats, seat, link);
        seat->cursor = NULL;
        seat->place = NULL;
        seat->end_status = status;
        seats_fewer(cursor->consumers);
        TAILQ_INSERT_TAIL(&cursor->consumers->ended, seat, link);
    }
}

static void
keep_counts(struct cursor *cursor)
{
    struct consumer_info info;
    consumer_get_info(cursor->state, &info);
    for (size_t i = 0; i < CONSUMER_COUNTERS; i++) {
        cursor->consumers->past[i] += info.count[i];
    }
}

void
cursor_end(struct cursor *cursor, enum broker_status status, bool forgets)
{
    struct consumers *consumers = cursor->consumers;
    if (cursor->is_busy) {
        cursor->is_busy = false;
        TAILQ_REMOVE(&consumers->busy, cursor, busy);
    }
    end_seats(cursor, status);
    keep_counts(cursor);
    source_leave(cursor);
    deadline_clear(&consumers->deadlines, &cursor->deadline);
    dead_drop(cursor);
    consumer_free(cursor->state);
    cursor->state = NULL;
    table_remove(&consumers->by_name, &cursor->by_name);
    TAILQ_REMOVE(&consumers->all, cursor, link);
    consumers->count--;
    cursor->is_ending = true;
    cursor->is_to_forget = forgets;
    TAILQ_INSERT_TAIL(&consumers->ending, cursor, link);
    if (cursor->calls == 0 && !forgets) {
        cursor_free(cursor);
    }
}

bool
cursor_answered(struct cursor *cursor)
{
    cursor->calls--;
    if (cursor->is_ending && cursor->calls == 0 && !cursor->is_to_forget) {
        cursor_free(cursor);
        return false;
    }
    return !cursor->is_ending;
}

void
cursor_touch(struct cursor *cursor)
{
    if (!cursor->is_busy && !cursor->is_ending) {
        cursor->is_busy = true;
        TAILQ_INSERT_TAIL(&cursor->consumers->busy, cursor, busy);
    }
}

void
cursor_pause(struct cursor *cursor, uint64_t ms, const char *trouble)
{
    cursor->pause_ms = cursor->consumers->core->now_ms + ms;
    cursor->trouble = trouble;
}

void
cursors_drop_all(struct consumers *consumers)
{
    struct cursor *cursor;
    while ((cursor = TAILQ_FIRST(&consumers->all)) != NULL) {
        cursor_end(cursor, BROKER_E_UNKNOWN_CONSUMER, false);
    }
    while ((cursor = TAILQ_FIRST(&consumers->ending)) != NULL) {
        cursor_free(cursor);
    }
    memset(consumers->past, 0, sizeof consumers->past);
    consumers->unknown = 0;
}

/* ---- what is done when --------------------------------------------------- */

/* What is due but cannot be done before an answer of the store, or memory, is
 * looked at again after a pause. */
static void
schedule(struct cursor *cursor)
{
    struct consumers *consumers = cursor->consumers;
    uint64_t now_ms = consumers->core->now_ms;
    uint64_t due_ms = consumer_due(cursor->state);
    if (due_ms <= now_ms) {
        due_ms = now_ms + CONSUMER_PAUSE_MS;
    }
    if (cursor->pause_ms > now_ms && cursor->pause_ms < due_ms) {
        due_ms = cursor->pause_ms;
    }
    deadline_set(&consumers->deadlines, &cursor->deadline, due_ms);
}

/* May what was not acknowledged in time be given to others? */
static bool
may_judge(struct consumers *consumers)
{
    uint64_t now_ms = consumers->core->now_ms;
    const struct deadline *first = deadline_first(&consumers->deadlines);
    bool is_late =
        first != NULL && now_ms > SLEPT_MS && first->due_ms < now_ms - SLEPT_MS;
    if (is_late && !consumers->has_slept) {
        consumers->has_slept = true;
        consumers->judge_ms = now_ms + LISTEN_MS;
    }
    if (now_ms < consumers->judge_ms) {
        return false;
    }
    consumers->has_slept = false;
    return true;
}

static void
work(struct cursor *cursor, bool judges)
{
    struct core *core = cursor->consumers->core;
    if (judges) {
        (void)consumer_tick(cursor->state, core->now_ms);
    }
    if (core->now_ms >= cursor->pause_ms) {
        dead_go_on(cursor);
        feed_read(cursor);
        cursor_save(cursor);
    }
    schedule(cursor);
}

void
consumers_run(struct core *core)
{
    struct consumers *consumers = core->consumers;
    if (consumers == NULL || !consumers_scan(consumers)) {
        return;
    }
    struct deadline *first;
    bool judges = may_judge(consumers);
    while ((first = deadline_first(&consumers->deadlines)) != NULL &&
           first->due_ms <= core->now_ms) {
        deadline_clear(&consumers->deadlines, first);
        cursor_touch(table_entry(first, struct cursor, deadline));
    }
    bool all = changes_run(consumers);
    /* What is touched meanwhile is for the next time. */
    struct cursor *last = TAILQ_LAST(&consumers->busy, cursor_list);
    struct cursor *cursor;
    while ((cursor = TAILQ_FIRST(&consumers->busy)) != NULL) {
        TAILQ_REMOVE(&consumers->busy, cursor, busy);
        cursor->is_busy = false;
        work(cursor, judges);
        if (cursor == last) {
            break;
        }
    }
    all = consumers_forget_ended(consumers) && all;
    all = seats_write_ended(consumers) && all;
    consumers->retry_ms = all ? UINT64_MAX : core->now_ms + CONSUMER_PAUSE_MS;
}

uint64_t
consumers_due(const struct core *core)
{
    const struct consumers *consumers = core->consumers;
    if (consumers == NULL) {
        return UINT64_MAX;
    }
    const struct deadline *first = deadline_first(&consumers->deadlines);
    bool may_go_on =
        !TAILQ_EMPTY(&consumers->busy) && consumers->reads < CONSUMER_READS_MAX;
    uint64_t due_ms = may_go_on ? core->now_ms : consumers->retry_ms;
    return first != NULL && first->due_ms < due_ms ? first->due_ms : due_ms;
}

bool
consumers_are_ready(const struct core *core)
{
    return core->consumers == NULL || core->consumers->scanned;
}

void
consumers_stream_removed(struct core *core, uint32_t stream)
{
    if (core->consumers == NULL) {
        return;
    }
    struct cursor *cursor = TAILQ_FIRST(&core->consumers->all);
    while (cursor != NULL) {
        struct cursor *next = TAILQ_NEXT(cursor, link);
        if (cursor->source->stream == stream) {
            cursor_end(cursor, BROKER_E_UNKNOWN_STREAM, true);
        }
        cursor = next;
    }
}

/* ---- life ---------------------------------------------------------------- */

struct consumers *
consumers_new(struct core *core)
{
    struct consumers *consumers = calloc(1, sizeof *consumers);
    if (consumers != NULL) {
        consumers->core = core;
        consumers->seed = core->seed ^ 8;
        consumers->retry_ms = UINT64_MAX;
        TAILQ_INIT(&consumers->all);
        TAILQ_INIT(&consumers->busy);
        TAILQ_INIT(&consumers->ending);
        TAILQ_INIT(&consumers->ended);
        TAILQ_INIT(&consumers->changes);
        LIST_INIT(&consumers->sources);
    }
    return consumers;
}

void
consumers_free(struct consumers *consumers)
{
    if (consumers == NULL) {
        return;
    }
    struct cursor *cursor;
    struct source *source;
    struct seat *seat;
    changes_drop_all(consumers);
    TAILQ_FOREACH(cursor, &consumers->all, link)
    {
        if (consumers->core->shutting_down) {
            cursor_save(cursor); /* what waited for the save before */
        }
        cursor->calls = 0; /* none comes any more */
    }
    cursors_drop_all(consumers);
    while ((seat = TAILQ_FIRST(&consumers->ended)) != NULL) {
        TAILQ_REMOVE(&consumers->ended, seat, link);
        free(seat);
    }
    while ((source = LIST_FIRST(&consumers->sources)) != NULL) {
        LIST_REMOVE(source, link);
        free(source);
    }
    block_unref(consumers->block);
    table_fini(&consumers->by_name);
    deadline_heap_fini(&consumers->deadlines);
    free(consumers->scratch);
    free(consumers);
}

/* ---- looking in ---------------------------------------------------------- */

const struct cursor *
consumers_find(const struct core *core, struct broker_bytes name)
{
    const struct cursor *cursor =
        core->consumers == NULL ? NULL : cursor_find(core->consumers, name);
    return cursor != NULL && cursor->is_known ? cursor : NULL;
}

const struct cursor *
consumers_next(const struct core *core, const struct cursor *after)
{
    const struct cursor *next = after == NULL
                                    ? TAILQ_FIRST(&core->consumers->all)
                                    : TAILQ_NEXT(after, link);
    while (next != NULL && !next->is_known) {
        next = TAILQ_NEXT(next, link);
    }
    return next;
}

uint64_t
consumers_of(const struct core *core, uint32_t stream)
{
    const struct source *source;
    if (core->consumers == NULL) {
        return 0;
    }
    LIST_FOREACH(source, &core->consumers->sources, link)
    {
        if (source->stream == stream) {
            return source->cursors;
        }
    }
    return 0;
}

static uint64_t
last_sequence(const struct core *core, const struct cursor *cursor)
{
    struct store_stream_info info = {0};
    (void)store_stream_info(core->options.store, cursor->source->stream, &info);
    return info.last_seq;
}

void
cursor_look(const struct core *core, const struct cursor *cursor,
    struct cursor_view *out)
{
    *out = (struct cursor_view){.name = cursor->name,
        .stream = cursor->stream,
        .settings = consumer_get_settings(cursor->state),
        .last_sequence = last_sequence(core, cursor),
        .trouble = cursor->trouble};
    consumer_get_info(cursor->state, &out->info);
}

size_t
cursor_explain(const struct core *core, const struct cursor *cursor,
    struct consumer_reason *reasons, size_t max)
{
    return consumer_explain(
        cursor->state, last_sequence(core, cursor), core->now_ms, reasons, max);
}

const struct broker_limits *
consumers_limits(const struct core *core)
{
    return &core->limits;
}

uint64_t
consumers_add_up(const struct core *core, uint64_t sums[CONSUMER_COUNTERS])
{
    memset(sums, 0, CONSUMER_COUNTERS * sizeof sums[0]);
    const struct cursor *cursor;
    if (core->consumers == NULL) {
        return 0;
    }
    memcpy(sums, core->consumers->past, sizeof core->consumers->past);
    TAILQ_FOREACH(cursor, &core->consumers->all, link)
    {
        struct consumer_info info;
        consumer_get_info(cursor->state, &info);
        for (size_t i = 0; i < CONSUMER_COUNTERS; i++) {
            sums[i] += info.count[i];
        }
    }
    return core->consumers->count;
}
