/* SPDX-License-Identifier: MIT
 *
 * The local store step by step: what is appended is there, after a crash too,
 * from memory, from the journal and from the tables. */
#include "local_rig.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static struct rig rig;

/* In the place of the library's: how often this directory was synced. */
static struct stat watched;
static unsigned int watched_syncs;

int
fsync(int descriptor)
{
    struct stat info;
    if (fstat(descriptor, &info) == 0 && info.st_dev == watched.st_dev &&
        info.st_ino == watched.st_ino) {
        watched_syncs++;
    }
    return (int)syscall(SYS_fsync, descriptor);
}

static void
setup(void)
{
    rig_init(&rig);
    rig_open(&rig);
}

static void
teardown(void)
{
    rig_fini(&rig);
}

TestSuite(local, .init = setup, .fini = teardown, .timeout = 60);

static void
expect_records(uint32_t stream, uint64_t first, uint64_t count, uint32_t tag)
{
    struct rig_read read = rig_read(&rig, stream, 1, 1 << 20);
    cr_assert_eq(read.status, STORE_OK);
    cr_assert_eq(read.count, count, "%lu of %lu", read.count, count);
    cr_assert_eq(read.first, first);
    cr_assert_eq(read.last, first + count - 1);
    cr_assert_eq(read.next, first + count);
    cr_assert_eq(read.damaged, 0);
    for (uint64_t i = 0; i < count && i < RIG_READ_MAX; i++) {
        cr_assert_eq(read.seqs[i], first + i);
        cr_assert_eq(read.tags[i], tag + i);
    }
}

Test(local, what_was_appended_is_read_from_memory)
{
    uint32_t stream = rig_ensure(&rig, "orders", NULL);
    cr_assert_eq(rig_append(&rig, stream, 3, 10), STORE_OK);
    cr_assert_eq(rig.last.first_seq, 1);
    cr_assert_eq(rig.last.last_seq, 3);
    cr_assert_eq(rig.last.time_ms, rig.now_ms);
    cr_assert_eq(rig_append(&rig, stream, 1, 13), STORE_OK);
    expect_records(stream, 1, 4, 10);
    struct store_stream_info info = rig_info(&rig, stream);
    cr_assert_str_eq(info.name, "orders");
    cr_assert_eq(info.records, 4);
    cr_assert_eq(info.bytes, 400);
    cr_assert_eq(info.last_seq, 4);
    cr_assert_eq(rig_stats(&rig).records, 4);
}

Test(local, is_there_after_a_crash)
{
    uint32_t stream = rig_ensure(&rig, "orders", NULL);
    cr_assert_eq(rig_append(&rig, stream, 3, 10), STORE_OK);
    cr_assert_eq(rig_put(&rig, STORE_SPACE_CONSUMER, "key", "value"), STORE_OK);
    rig_crash(&rig);
    rig_open(&rig);
    expect_records(stream, 1, 3, 10);
    cr_assert_str_eq(rig_get(&rig, STORE_SPACE_CONSUMER, "key").text, "value");
    cr_assert_eq(rig_append(&rig, stream, 2, 13), STORE_OK);
    cr_assert_eq(rig.last.first_seq, 4);
    rig_crash(&rig);
    rig_open(&rig);
    expect_records(stream, 1, 5, 10);
    cr_assert_eq(rig_stats(&rig).damaged, 0, "%s", rig.log);
}

Test(local, is_there_after_a_close)
{
    uint32_t stream = rig_ensure(&rig, "orders", NULL);
    cr_assert_eq(rig_append(&rig, stream, 3, 10), STORE_OK);
    rig_checkpoint(&rig);
    expect_records(stream, 1, 3, 10);
    cr_assert_eq(rig_append(&rig, stream, 2, 13), STORE_OK);
    expect_records(stream, 1, 5, 10); /* from the tables and from memory */
    struct rig_read read = rig_read(&rig, stream, 2, 300);
    cr_assert_eq(read.first, 2);
    cr_assert_eq(read.next, 5);
    read = rig_read(&rig, stream, 2, 150);
    cr_assert_eq(read.next, 3);
    read = rig_read(&rig, stream, 3, 1);
    cr_assert_eq(read.next, 4);
    rig_checkpoint(&rig);
    expect_records(stream, 1, 5, 10);
    cr_assert_eq(rig_ensure(&rig, "orders", NULL), stream);
    cr_assert_neq(rig_ensure(&rig, "others", NULL), stream);
}

Test(local, much_goes_through_many_checkpoints)
{
    uint32_t streams[5];
    for (int i = 0; i < 5; i++) {
        char name[16] = {(char)('a' + i)};
        streams[i] = rig_ensure(&rig, name, NULL);
    }
    for (uint32_t round = 0; round < 800; round++) {
        for (int i = 0; i < 5; i++) {
            cr_assert_eq(rig_append(&rig, streams[i], 4, round * 4), STORE_OK);
        }
        if (round % 300 == 299) {
            rig_crash(&rig);
            rig_open(&rig);
        }
    }
    cr_assert_gt(rig_stats(&rig).checkpoints, 1);
    for (int i = 0; i < 5; i++) {
        uint64_t from = 1;
        while (from <= 3200) {
            struct rig_read read = rig_read(&rig, streams[i], from, 50000);
            cr_assert_eq(read.status, STORE_OK);
            cr_assert_gt(read.count, 0);
            cr_assert_eq(read.first, from);
            for (uint64_t k = 0; k < read.count; k++) {
                cr_assert_eq(read.tags[k], from - 1 + k);
            }
            from = read.next;
        }
        cr_assert_eq(rig_info(&rig, streams[i]).records, 3200);
        cr_assert_eq(rig_info(&rig, streams[i]).bytes, 320000);
    }
    cr_assert_eq(rig_stats(&rig).damaged, 0, "%s", rig.log);
    cr_assert_lt(rig_stats(&rig).memory_bytes, 1024 * 1024);
}

Test(local, values_are_put_overwritten_deleted_and_scanned)
{
    cr_assert_eq(
        rig_get(&rig, STORE_SPACE_RETAINED, "a").status, STORE_NOT_FOUND);
    rig_put(&rig, STORE_SPACE_RETAINED, "a", "1");
    rig_put(&rig, STORE_SPACE_RETAINED, "c", "3");
    rig_put(&rig, STORE_SPACE_RETAINED, "e", "5");
    rig_put(&rig, STORE_SPACE_BROKER, "b", "other");
    rig_checkpoint(&rig);
    rig_put(&rig, STORE_SPACE_RETAINED, "b", "2");
    rig_put(&rig, STORE_SPACE_RETAINED, "c", NULL);
    rig_put(&rig, STORE_SPACE_RETAINED, "e", "55");
    cr_assert_str_eq(rig_get(&rig, STORE_SPACE_RETAINED, "a").text, "1");
    cr_assert_str_eq(rig_get(&rig, STORE_SPACE_RETAINED, "e").text, "55");
    cr_assert_eq(
        rig_get(&rig, STORE_SPACE_RETAINED, "c").status, STORE_NOT_FOUND);
    struct rig_value scan = rig_scan(&rig, STORE_SPACE_RETAINED);
    cr_assert_str_eq(scan.keys, "a b e ");
    cr_assert_str_eq(scan.text, "55");
    rig_checkpoint(&rig);
    scan = rig_scan(&rig, STORE_SPACE_RETAINED);
    cr_assert_str_eq(scan.keys, "a b e ");
    cr_assert_str_eq(rig_scan(&rig, STORE_SPACE_BROKER).keys, "b ");
    cr_assert_eq(rig_scan(&rig, STORE_SPACE_CONSUMER).count, 0);
}

Test(local, expectations_and_retries)
{
    uint32_t stream = rig_ensure(&rig, "orders", NULL);
    struct store_append append = {.stream = stream,
        .count = 2,
        .expects_last = true,
        .expected_last = 0,
        .publisher = "me",
        .publisher_bytes = 2,
        .number = 2};
    cr_assert_eq(rig_append_full(&rig, &append, 100, 1), STORE_OK);
    append.number = 4;
    cr_assert_eq(rig_append_full(&rig, &append, 100, 3), STORE_CONFLICT);
    cr_assert_eq(rig.last.last_seq, 2);
    append.expects_last = false;
    append.number = 6;
    cr_assert_eq(rig_append_full(&rig, &append, 100, 3), STORE_OK);
    for (int round = 0; round < 3; round++) {
        append.is_retry = true;
        append.number = 6;
        cr_assert_eq(rig_append_full(&rig, &append, 100, 3), STORE_DUPLICATE);
        append.number = 4;
        cr_assert_eq(rig_append_full(&rig, &append, 100, 3), STORE_CONFLICT);
        append.number = 2;
        cr_assert_eq(rig_append_full(&rig, &append, 100, 3), STORE_DUPLICATE);
        cr_assert_eq(rig_info(&rig, stream).last_seq, 4);
        if (round == 0) {
            rig_crash(&rig);
            rig_open(&rig);
        } else {
            rig_checkpoint(&rig);
        }
    }
    append.number = 7;
    append.count = 1;
    cr_assert_eq(rig_append_full(&rig, &append, 100, 5), STORE_OK);
    expect_records(stream, 1, 5, 1);
}

Test(local, limits_trim_or_refuse)
{
    struct store_limits limits = {.max_records = 5};
    uint32_t few = rig_ensure(&rig, "few", &limits);
    for (uint32_t i = 0; i < 4; i++) {
        cr_assert_eq(rig_append(&rig, few, 2, i * 2), STORE_OK);
    }
    expect_records(few, 4, 5, 3);
    cr_assert_eq(rig_info(&rig, few).bytes, 500);
    cr_assert_eq(rig_info(&rig, few).trimmed, 3);
    rig_checkpoint(&rig);
    cr_assert_eq(rig_append(&rig, few, 1, 8), STORE_OK);
    cr_assert_eq(rig_info(&rig, few).first_seq, 5);
    cr_assert_eq(rig_info(&rig, few).records, 5);
    cr_assert_eq(rig_info(&rig, few).bytes, 500);

    limits = (struct store_limits){.max_bytes = 450};
    uint32_t small = rig_ensure(&rig, "small", &limits);
    cr_assert_eq(rig_append(&rig, small, 4, 0), STORE_OK);
    rig_checkpoint(&rig);
    cr_assert_eq(rig_append(&rig, small, 2, 4), STORE_OK);
    cr_assert_eq(rig_info(&rig, small).first_seq, 3);
    cr_assert_eq(rig_info(&rig, small).bytes, 400);

    limits = (struct store_limits){.max_records = 3, .discard_new = true};
    uint32_t full = rig_ensure(&rig, "full", &limits);
    cr_assert_eq(rig_append(&rig, full, 2, 0), STORE_OK);
    cr_assert_eq(rig_append(&rig, full, 2, 2), STORE_FULL);
    cr_assert_eq(rig_append(&rig, full, 1, 2), STORE_OK);
    cr_assert_eq(rig_append(&rig, full, 1, 3), STORE_FULL);
    cr_assert_eq(
        store_trim(rig.port, full, 3, rig_change_done, &rig), STORE_OK);
    rig_settle(&rig);
    cr_assert_eq(rig_append(&rig, full, 2, 3), STORE_OK);
    expect_records(full, 3, 3, 2);

    limits = (struct store_limits){.max_age_ms = 5000};
    uint32_t old = rig_ensure(&rig, "old", &limits);
    cr_assert_eq(rig_append(&rig, old, 2, 0), STORE_OK);
    rig_checkpoint(&rig);
    rig.now_ms += 3000;
    cr_assert_eq(rig_append(&rig, old, 2, 2), STORE_OK);
    rig.now_ms += 2500;
    rig_settle(&rig);
    cr_assert_eq(rig_info(&rig, old).first_seq, 3);
    cr_assert_eq(rig_info(&rig, old).records, 2);
    rig.now_ms += 3000;
    rig_settle(&rig);
    cr_assert_eq(rig_info(&rig, old).records, 0);
    cr_assert_eq(rig_info(&rig, old).first_seq, 5);
    rig_checkpoint(&rig);
    cr_assert_eq(rig_info(&rig, old).first_seq, 5);
    cr_assert_eq(rig_append(&rig, old, 1, 4), STORE_OK);
    cr_assert_eq(rig.last.first_seq, 5);
}

Test(local, a_removed_stream_is_gone_and_its_number_too)
{
    uint32_t stream = rig_ensure(&rig, "gone", NULL);
    cr_assert_eq(rig_append(&rig, stream, 3, 0), STORE_OK);
    rig_checkpoint(&rig);
    cr_assert_eq(
        store_remove(rig.port, stream, rig_change_done, &rig), STORE_OK);
    rig_settle(&rig);
    cr_assert_eq(rig.last.status, STORE_OK);
    cr_assert_eq(rig_append(&rig, stream, 1, 0), STORE_NOT_FOUND);
    cr_assert_eq(rig_read(&rig, stream, 1, 1000).status, STORE_NOT_FOUND);
    rig_checkpoint(&rig);
    cr_assert_eq(store_next_stream(rig.port, 0), 0);
    uint32_t again = rig_ensure(&rig, "gone", NULL);
    cr_assert_gt(again, stream);
    cr_assert_eq(rig_info(&rig, again).records, 0);
}

Test(local, times_are_found)
{
    uint32_t stream = rig_ensure(&rig, "times", NULL);
    uint64_t start = rig.now_ms;
    for (uint32_t i = 0; i < 3000; i++) {
        cr_assert_eq(rig_append(&rig, stream, 1, i), STORE_OK);
        rig.now_ms += 10;
    }
    for (uint32_t i = 0; i < 3000; i += 37) {
        struct rig_read read = {.done = false};
        cr_assert_eq(store_seek_time(rig.port, stream, start + i * 10 - 3,
                         rig_read_done, &read),
            STORE_OK);
        rig_settle(&rig);
        cr_assert_eq(read.next, i + 1, "%lu %u", read.next, i);
    }
    struct rig_read read = {.done = false};
    cr_assert_eq(
        store_seek_time(rig.port, stream, UINT64_MAX, rig_read_done, &read),
        STORE_OK);
    rig_settle(&rig);
    cr_assert_eq(read.next, 3001);
    /* The clock goes back: the time does not. */
    uint64_t last = rig.now_ms - 10;
    rig.now_ms -= 100000;
    cr_assert_eq(rig_append(&rig, stream, 1, 0), STORE_OK);
    cr_assert_eq(rig.last.time_ms, last);
}

Test(local, a_follower_is_told)
{
    uint32_t stream = rig_ensure(&rig, "news", NULL);
    struct rig_read read = {.done = false};
    cr_assert_eq(
        store_read(rig.port, stream, 1, 1000, true, rig_read_done, &read),
        STORE_OK);
    rig_settle(&rig);
    cr_assert(!read.done);
    cr_assert_eq(rig_append(&rig, stream, 2, 7), STORE_OK);
    cr_assert(read.done);
    cr_assert_eq(read.count, 2);
    cr_assert_eq(read.tags[1], 8);
    cr_assert_eq(read.next, 3);
}

Test(local, a_large_record_and_a_large_append)
{
    uint32_t stream = rig_ensure(&rig, "large", NULL);
    struct store_append append = {.stream = stream, .count = 1};
    cr_assert_eq(rig_append_full(&rig, &append, 3 << 20, 1), STORE_OK);
    append.count = 3000;
    cr_assert_eq(rig_append_full(&rig, &append, 300, 2), STORE_OK);
    append.count = 2;
    cr_assert_eq(rig_append_full(&rig, &append, 200000, 3002), STORE_OK);
    for (int round = 0; round < 2; round++) {
        uint64_t from = 1;
        uint64_t records = 0;
        while (from <= 3003) {
            struct rig_read read = rig_read(&rig, stream, from, 10000);
            cr_assert_eq(read.status, STORE_OK);
            cr_assert_eq(read.first, from);
            cr_assert_eq(read.tags[0], from);
            records += read.count;
            from = read.next;
        }
        cr_assert_eq(records, 3003, "%lu", records);
        rig_crash(&rig);
        rig_open(&rig);
        cr_assert_eq(rig_stats(&rig).damaged, 0, "%s", rig.log);
    }
}

/* Else all of it may be gone after a power cut, however well it was synced. */
Test(local, the_name_of_its_directory_is_durable)
{
    char above[80];
    rig_close(&rig);
    snprintf(above, sizeof above, "%s/..", rig.directory);
    cr_assert_eq(stat(above, &watched), 0);
    rig_open(&rig);
    cr_assert_gt(watched_syncs, 0);
}

Test(local, two_at_once_are_refused)
{
    char why[256] = "";
    cr_assert_null(store_local_open(&rig.options, why, sizeof why));
    cr_assert_not_null(strstr(why, "in use"), "%s", why);
}

/* Below the reserve nothing is taken, reading goes on, and it passes. */
Test(local, less_than_the_reserve_is_no_space)
{
    uint32_t stream = rig_ensure(&rig, "orders", NULL);
    cr_assert_eq(rig_append(&rig, stream, 3, 1), STORE_OK);
    rig_close(&rig);
    rig.options.reserve_bytes = UINT64_MAX / 2;
    rig_open(&rig);
    rig_settle(&rig);
    cr_assert_eq(rig_append(&rig, stream, 1, 4), STORE_NO_SPACE);
    cr_assert_eq(
        rig_put(&rig, STORE_SPACE_BROKER, "key", "value"), STORE_NO_SPACE);
    cr_assert(rig_stats(&rig).no_space);
    cr_assert_eq(rig_stats(&rig).refused_no_space, 2);
    expect_records(stream, 1, 3, 1);
    cr_assert_eq(
        store_trim(rig.port, stream, 2, rig_change_done, &rig), STORE_OK);
    rig_settle(&rig);
    cr_assert_eq(rig.last.status, STORE_OK, "what makes room is taken");
    rig_close(&rig);
    rig.options.reserve_bytes = 1;
    rig_open(&rig);
    rig_settle(&rig);
    cr_assert_eq(rig_append(&rig, stream, 1, 4), STORE_OK);
    expect_records(stream, 2, 3, 2);
}

/* On disk, where sizes must be fetched: counts follow to the record. */
Test(local, what_is_trimmed_on_disk_is_counted)
{
    uint32_t stream = rig_ensure(&rig, "orders", NULL);
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < 2000; i++) {
        struct store_append append = {.stream = stream, .count = 1};
        cr_assert_eq(
            rig_append_full(&rig, &append, 100 + i % 7, i + 1), STORE_OK);
        bytes += 100 + i % 7;
    }
    rig_checkpoint(&rig);
    cr_assert_eq(rig_info(&rig, stream).bytes, bytes);
    uint64_t first = 1;
    for (uint64_t to = 2; to <= 2001; to += 173) {
        cr_assert_eq(
            store_trim(rig.port, stream, to, rig_change_done, &rig), STORE_OK);
        for (; first < to; first++) {
            bytes -= 100 + (first - 1) % 7;
        }
        if (to % 2 == 0) {
            rig_settle(&rig);
        } else { /* counted by the checkpoint, or never */
            store_tick(rig.port);
            store_local_step(rig.store);
            rig_checkpoint(&rig);
        }
        cr_assert_eq(rig_info(&rig, stream).first_seq, to);
        cr_assert_eq(rig_info(&rig, stream).records, 2001 - to);
        cr_assert_eq(rig_info(&rig, stream).bytes, bytes);
        cr_assert_eq(rig_info(&rig, stream).trimmed, to - 1);
        expect_records(stream, to, 2001 - to, (uint32_t)to);
    }
}
