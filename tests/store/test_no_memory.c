/* SPDX-License-Identifier: MIT
 *
 * Every allocation of the store fails once, in the middle of all that it does:
 * nothing hangs or crashes, everything that was taken is answered, and what was
 * answered as stored is there, before and after a crash. Linked with --wrap, so
 * that malloc() is ours. */
#include "allocator.h"
#include "local_rig.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LARGE (100u * 1000u)
#define FIRST 50u /* records that are there before */

TestSuite(no_memory, .timeout = 100);

static struct rig rig;
static uint8_t records[LARGE];
static unsigned int asked;     /* changes that were taken */
static unsigned int reads_due; /* and reads */
static uint32_t next_tag;
static uint64_t stored; /* sequence of the last one that was answered so */

static void
change_done(void *arg, const struct store_result *result)
{
    asked--;
    if (arg == NULL && result->status == STORE_OK) {
        stored = result->last_seq;
    }
    rig.last = *result;
}

/* One more record, whose tag is its sequence if it is stored; no other one is
 * in flight. */
static void
append(uint32_t stream, size_t bytes)
{
    rig_record(records, bytes, (uint32_t)stored + 1);
    const struct store_append append = {.stream = stream,
        .records = records,
        .bytes = bytes,
        .count = 1,
        .publisher = "me",
        .publisher_bytes = 2,
        .number = ++next_tag,
        .time_ms = rig.now_ms};
    if (store_append(rig.port, &append, change_done, NULL) == STORE_OK) {
        asked++;
        rig_settle(&rig);
    }
}

static void
read_done(void *arg, const struct store_batch *batch)
{
    (void)arg;
    (void)batch;
    reads_due--;
}

static void
value_done(void *arg, enum store_status status, const struct store_value *value)
{
    (void)arg;
    (void)status;
    reads_due -= value->key == NULL;
}

static void
got(void *arg, enum store_status status, const struct store_value *value)
{
    (void)arg;
    (void)status;
    (void)value;
    reads_due--;
}

static void
look(uint32_t stream)
{
    for (uint64_t from = 1; from <= stored; from += FIRST) {
        reads_due += store_read(rig.port, stream, from, 10000, false, read_done,
                         NULL) == STORE_OK;
    }
    reads_due += store_seek_time(
                     rig.port, stream, rig.now_ms, read_done, NULL) == STORE_OK;
    reads_due += store_get(rig.port, STORE_SPACE_BROKER, "key", 3, got, NULL) ==
                 STORE_OK;
    reads_due +=
        store_scan(rig.port, STORE_SPACE_BROKER, value_done, NULL) == STORE_OK;
}

static void
change_all(uint32_t stream)
{
    static const struct store_limits limits = {.max_records = 1000};
    const struct store_value value = {.space = STORE_SPACE_BROKER,
        .key = "key",
        .key_bytes = 3,
        .data = "value",
        .bytes = 5};
    asked += store_put(rig.port, &value, 1, change_done, &rig) == STORE_OK;
    asked +=
        store_ensure(rig.port, "other", &limits, change_done, &rig) == STORE_OK;
    asked +=
        store_ensure(rig.port, "S", &limits, change_done, &rig) == STORE_OK;
    asked += store_trim(rig.port, stream, 2, change_done, &rig) == STORE_OK;
    rig_settle(&rig);
}

static void
live(uint32_t stream)
{
    for (int i = 0; i < 10; i++) {
        append(stream, i % 3 == 0 ? LARGE : 100);
        look(stream);
        change_all(stream);
        append(stream, 100);
        rig.now_ms += 2000; /* what failed is tried again */
        rig_settle(&rig);
    }
}

static void
expect_stored(uint32_t stream)
{
    for (uint64_t from = 2; from <= stored;) {
        struct rig_read read = rig_read(&rig, stream, from, 300 * 1000);
        cr_assert_eq(read.status, STORE_OK);
        cr_assert_gt(read.count, 0, "%lu of %lu\n%s", from, stored, rig.log);
        for (uint64_t i = 0; i < read.count; i++) {
            cr_assert_eq(read.seqs[i], from + i, "%s", rig.log);
            cr_assert(read.tags[i] == from + i || from + i > stored);
        }
        from = read.next;
    }
}

/* The n-th allocation fails. False: there were not so many. */
static bool
fail_at(uint64_t n)
{
    rig_init(&rig);
    rig_open(&rig);
    uint32_t stream = rig_ensure(&rig, "S", NULL);
    cr_assert_eq(rig_append(&rig, stream, FIRST, 1), STORE_OK);
    stored = FIRST;
    asked = reads_due = next_tag = 0;
    rig_checkpoint(&rig);
    live(stream); /* after which there is room for callbacks: it ends without */
    allocator = (struct allocator){.countdown = n, .inside = true};
    live(stream);
    bool fired = allocator.failed;
    allocator.inside = false;
    rig.now_ms += 2000;
    rig_settle(&rig);
    cr_assert_eq(asked, 0, "%lu: %u changes are not answered", n, asked);
    cr_assert_eq(reads_due, 0, "%lu: %u reads", n, reads_due);
    if (!rig_stats(&rig).failed) {
        cr_assert_geq(stored, FIRST + 39, "%lu: %lu\n%s", n, stored, rig.log);
        expect_stored(stream);
    }
    rig_crash(&rig);
    rig_open(&rig);
    expect_stored(stream);
    cr_assert_eq(rig_stats(&rig).damaged, 0, "%s", rig.log);
    rig_fini(&rig);
    return fired;
}

Test(no_memory, at_every_allocation)
{
    uint64_t n = 1;
    while (fail_at(n)) {
        n++;
    }
    cr_assert_gt(n, 50);
}
