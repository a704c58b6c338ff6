/* SPDX-License-Identifier: MIT
 *
 * The cursor of a consumer as bytes; the format is in consumer.h. */
#include "bytes.h"
#include "consumer_internal.h"

#include <assert.h>

#define FORMAT         1u
#define COUNTERS_BYTES (8u * (size_t)CONSUMER_COUNTERS)
#define HEAD_BYTES     (16u + COUNTERS_BYTES)
#define RUN_BYTES      20u
/* So many holes more than entries: worth closing before walking the ring. */
#define HOLES_MAX 64u

/* The numbers are in files. */
enum kind {
    KIND_AGAIN = 0,
    KIND_DEAD = 1,
};

struct run {
    uint64_t first;
    uint32_t messages, deliveries;
    enum kind kind;
};

size_t
consumer_save_size(const struct consumer *consumer)
{
    return HEAD_BYTES + RUN_BYTES * (size_t)consumer->pending.live;
}

/* ---- saving -------------------------------------------------------------- */

static uint8_t *
put_run(uint8_t *dst, const struct run *run)
{
    dst = bytes_put(dst, run->first, 8);
    dst = bytes_put(dst, run->messages, 4);
    dst = bytes_put(dst, run->deliveries, 4);
    return bytes_put(dst, run->kind, 4);
}

static bool
run_continues(const struct run *run, const struct run *next)
{
    return run->messages > 0 && run->first + run->messages == next->first &&
           run->deliveries == next->deliveries && run->kind == next->kind;
}

/* Returns the end; *runs is how many. */
static uint8_t *
put_runs(const struct pending *pending, uint8_t *dst, uint32_t *runs)
{
    struct run run = {0};
    *runs = 0;
    for (uint32_t i = 0; i < pending->count; i++) {
        const struct pending_entry *entry = pending_at(pending, i);
        if (entry->state == PENDING_FINISHED || entry->stored) {
            continue;
        }
        bool dead =
            entry->state == PENDING_DEAD || entry->state == PENDING_STORING;
        struct run next = {entry->sequence, 1, entry->deliveries,
            dead ? KIND_DEAD : KIND_AGAIN};
        if (run_continues(&run, &next)) {
            run.messages++;
            continue;
        }
        if (run.messages > 0) {
            dst = put_run(dst, &run);
            ++*runs;
        }
        run = next;
    }
    if (run.messages > 0) {
        dst = put_run(dst, &run);
        ++*runs;
    }
    return dst;
}

/* Returns how many of them are being stored. */
static uint32_t
mark_stored(
    struct pending *pending, const uint64_t *stored, size_t count, bool value)
{
    uint32_t marked = 0;
    for (size_t i = 0; i < count; i++) {
        struct pending_entry *entry =
            pending_get(pending, stored[i], PENDING_STORING);
        if (entry != NULL) {
            entry->stored = value;
            marked++;
        }
    }
    return marked;
}

size_t
consumer_save(struct consumer *consumer, const uint64_t *stored,
    size_t stored_count, uint8_t *dst, size_t capacity)
{
    struct pending *pending = &consumer->pending;
    assert(capacity >= consumer_save_size(consumer));
    (void)capacity;
    if (pending->count - pending->live > pending->live + HOLES_MAX) {
        pending_close_holes(pending);
    }
    uint32_t marked = mark_stored(pending, stored, stored_count, true);
    uint32_t runs;
    uint8_t *end = put_runs(pending, dst + HEAD_BYTES, &runs);
    (void)mark_stored(pending, stored, stored_count, false);
    uint8_t *at = bytes_put(dst, FORMAT, 2);
    at = bytes_put(at, 0, 2);
    at = bytes_put(at, runs, 4);
    at = bytes_put(at, consumer->next, 8);
    for (uint32_t i = 0; i < CONSUMER_COUNTERS; i++) {
        uint64_t more = i == CONSUMER_DEAD_LETTERED ? marked : 0;
        at = bytes_put(at, consumer->count[i] + more, 8);
    }
    consumer->dirty = false;
    return (size_t)(end - dst);
}

/* ---- loading ------------------------------------------------------------- */

struct cursor {
    uint64_t next;
    uint32_t runs, unfinished;
    uint64_t count[CONSUMER_COUNTERS];
};

static struct run
get_run(const uint8_t **src)
{
    struct run run;
    run.first = bytes_get(src, 8);
    run.messages = (uint32_t)bytes_get(src, 4);
    run.deliveries = (uint32_t)bytes_get(src, 4);
    run.kind = (enum kind)bytes_get(src, 4);
    return run;
}

static bool
check_runs(struct cursor *cursor, const uint8_t *src)
{
    uint64_t from = 1;
    for (uint32_t i = 0; i < cursor->runs; i++) {
        struct run run = get_run(&src);
        if (run.first < from || run.first >= cursor->next ||
            run.messages == 0 || run.messages > cursor->next - run.first ||
            run.messages > CONSUMER_WINDOW_MAX - cursor->unfinished ||
            run.deliveries == 0 ||
            (run.kind != KIND_AGAIN && run.kind != KIND_DEAD)) {
            return false;
        }
        cursor->unfinished += run.messages;
        from = run.first + run.messages;
    }
    return true;
}

/* *runs is where the runs are. */
static bool
read_cursor(const struct consumer *consumer, const uint8_t *src, size_t len,
    struct cursor *cursor, const uint8_t **runs)
{
    if (len < HEAD_BYTES || bytes_get(&src, 2) != FORMAT ||
        bytes_get(&src, 2) != 0) {
        return false;
    }
    cursor->runs = (uint32_t)bytes_get(&src, 4);
    cursor->next = bytes_get(&src, 8);
    cursor->unfinished = 0;
    struct consumer_info info = {0};
    for (uint32_t i = 0; i < CONSUMER_COUNTERS; i++) {
        cursor->count[i] = info.count[i] = bytes_get(&src, 8);
    }
    if (cursor->next == 0 || cursor->runs > CONSUMER_WINDOW_MAX ||
        len - HEAD_BYTES != RUN_BYTES * (size_t)cursor->runs ||
        (consumer->settings.mode == CONSUMER_ACK_NONE && cursor->runs > 0) ||
        !check_runs(cursor, src)) {
        return false;
    }
    info.waiting = cursor->unfinished;
    *runs = src;
    return consumer_info_balances(&info);
}

/* True if something has become of it that is not in the cursor. */
static bool
load_run(struct consumer *consumer, const struct run *run)
{
    struct pending *pending = &consumer->pending;
    uint32_t at = pending->count;
    bool dead = run->kind == KIND_DEAD, changed = false;
    pending_append(pending, run->first, run->messages, PENDING_NO_HOLDER, 0,
        consumer->clock_ms);
    for (uint32_t i = 0; i < run->messages; i++) {
        struct pending_entry *entry = pending_at(pending, at + i);
        entry->deliveries = run->deliveries;
        if (dead) {
            consumer_die(consumer, entry);
        } else {
            consumer_come_back(consumer, entry, 0);
        }
        changed |= entry->state != (dead ? PENDING_DEAD : PENDING_WAITING);
    }
    return changed;
}

enum consumer_load
consumer_load(struct consumer *consumer, const uint8_t *src, size_t len)
{
    struct pending *pending = &consumer->pending;
    struct cursor cursor;
    const uint8_t *runs;
    assert(pending->count == 0 && consumer->attachment_count == 0);
    if (!read_cursor(consumer, src, len, &cursor, &runs)) {
        return CONSUMER_LOAD_INVALID;
    }
    if (pending_reserve(pending, cursor.unfinished, cursor.unfinished) <
        cursor.unfinished) {
        return CONSUMER_LOAD_MEMORY;
    }
    consumer->next = cursor.next;
    for (uint32_t i = 0; i < CONSUMER_COUNTERS; i++) {
        consumer->count[i] = cursor.count[i];
    }
    bool changed = false;
    for (uint32_t i = 0; i < cursor.runs; i++) {
        struct run run = get_run(&runs);
        changed |= load_run(consumer, &run);
    }
    consumer->dirty = changed;
    pending_trim(pending);
    return CONSUMER_LOADED;
}
