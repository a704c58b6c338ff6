/* SPDX-License-Identifier: MIT
 *
 * The journal between other things: what comes in between while a batch is
 * written, files that are damaged, not readable, unfinished or too many, and
 * what is left of a batch that there was no space for. On files in memory; the
 * tests do the work of the threads, in the order that they want. */
#include "bytes.h"
#include "local_rig.h"
#include "sim_base.h"
#include "sim_files.h"

#include <criterion/criterion.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_BATCH 4096u

static struct rig rig;
static struct file_system *files;
static struct base *base;

static void
set_up(uint64_t seed)
{
    rig_init(&rig);
    files = sim_files_new(seed);
    base = sim_base_new(seed);
    cr_assert(files != NULL && base != NULL);
    rig.options.files = files;
    rig.options.base = base;
    rig.options.journal_bytes = 64 * 1024;
    rig.options.memory_bytes = 64 * 1024;
}

static void
setup(void)
{
    set_up(1);
}

static void
teardown(void)
{
    rig_fini(&rig);
    files->free(files);
    base->close(base);
}

TestSuite(journal, .init = setup, .fini = teardown, .timeout = 60);

/* The process is gone; with `power`, what was not synced too. */
static void
die(bool power)
{
    if (power) {
        sim_files_power_off(files);
    } else {
        sim_files_kill(files);
    }
    sim_base_power_off(base);
    rig_close(&rig);
    sim_files_power_on(files);
    sim_base_power_on(base);
}

static enum store_status
ask(uint32_t stream, uint32_t count, uint32_t tag)
{
    uint8_t *records = malloc((size_t)count * 100);
    for (uint32_t i = 0; i < count; i++) {
        rig_record(records + (size_t)i * 100, 100, tag + i);
    }
    const struct store_append append = {.stream = stream,
        .records = records,
        .bytes = (size_t)count * 100,
        .count = count,
        .time_ms = rig.now_ms};
    enum store_status status =
        store_append(rig.port, &append, rig_change_done, &rig);
    free(records);
    return status;
}

/* What was asked for is committed, and nothing else is done. */
static void
commit(void)
{
    store_tick(rig.port);
    cr_assert(store_local_step(rig.store));
    store_poll(rig.port);
}

static enum store_status
append(uint32_t stream, uint32_t count, uint32_t tag)
{
    cr_assert_eq(ask(stream, count, tag), STORE_OK);
    commit();
    return rig.last.status;
}

/* Records from the first one on without a hole, with their numbers as tags. */
static void
expect_records(struct rig *seen, uint32_t stream, uint64_t least)
{
    struct store_stream_info info = rig_info(seen, stream);
    cr_assert_geq(info.last_seq, least, "%lu of %lu\n%s", info.last_seq, least,
        seen->log);
    for (uint64_t from = info.first_seq; from <= info.last_seq;) {
        struct rig_read read = rig_read(seen, stream, from, 100 * 1000);
        cr_assert_eq(read.status, STORE_OK);
        cr_assert_gt(read.count, 0);
        for (uint64_t i = 0; i < read.count; i++) {
            cr_assert_eq(read.seqs[i], from + i, "%lu, not %lu\n%s",
                read.seqs[i], from + i, seen->log);
            cr_assert_eq(read.tags[i], from + i);
        }
        from = read.next;
    }
}

/* The number of the first batch in the file; 0: none. */
static uint64_t
first_number(const char *name)
{
    size_t size = 0;
    const uint8_t *bytes = sim_files_bytes(files, name, &size);
    bool any = bytes != NULL && size > FIRST_BATCH + 40 &&
               memcmp(bytes + FIRST_BATCH, "JBAT", 4) == 0;
    return any ? get_u64(bytes + FIRST_BATCH + 16) : 0;
}

/* Append, one record after the other, until a new batch is the first one of
 * this file. How many. */
static uint32_t
fill_until(uint32_t stream, const char *name, uint32_t tag)
{
    uint64_t before = first_number(name);
    uint32_t count = 0;
    while (first_number(name) == before) {
        cr_assert_eq(append(stream, 5, tag + count), STORE_OK);
        count += 5;
        cr_assert_lt(count, 5000);
    }
    return count;
}

static unsigned int
count_names(const char *part)
{
    unsigned int count = 0;
    for (const char *name = sim_files_next(files, NULL); name != NULL;
         name = sim_files_next(files, name)) {
        count += strstr(name, part) != NULL;
    }
    return count;
}

/* ---- while a batch is written -------------------------------------------- */

static int (*sync_file)(struct file_system *system, struct file *file);
static void (*meanwhile)(void); /* called once, inside the next sync */

static int
sync_and_more(struct file_system *system, struct file *file)
{
    void (*call)(void) = meanwhile;
    int error = sync_file(system, file);
    meanwhile = NULL;
    if (call != NULL) {
        call();
    }
    return error;
}

static void
hook_syncs(void)
{
    sync_file = files->sync;
    files->sync = sync_and_more;
}

static uint32_t busy_stream, busy_tag;

/* Publishers go on until there is no more room, and the table thread does what
 * there is for it. */
static void
be_busy(void)
{
    while (ask(busy_stream, 10, busy_tag) == STORE_OK) {
        busy_tag += 10;
    }
    store_local_step(rig.store);
}

/* What a power cut would find now. */
static void
look_at_copy(uint64_t least)
{
    static struct rig seen;
    memset(&seen, 0, sizeof seen);
    seen.options = rig.options;
    seen.options.log_arg = &seen;
    seen.options.files = sim_files_copy(files, 1);
    seen.options.base = sim_base_copy(base, 1);
    rig_open(&seen);
    expect_records(&seen, busy_stream, least);
    cr_assert_eq(rig_stats(&seen).damaged, 0, "%s", seen.log);
    rig_close(&seen);
    seen.options.files->free(seen.options.files);
    seen.options.base->close(seen.options.base);
}

/* A table becomes free in the middle of a write: the file that is written to
 * must not be taken for one that ends before that batch. */
Test(journal, a_checkpoint_ends_while_a_batch_is_written)
{
    const struct store_limits limits = {.max_records = 2000};
    rig_open(&rig);
    busy_stream = rig_ensure(&rig, "S", &limits);
    busy_tag = 1;
    hook_syncs();
    for (unsigned int i = 0; i < 100; i++) {
        if (ask(busy_stream, 1, busy_tag) == STORE_OK) {
            busy_tag++;
        }
        store_tick(rig.port);
        meanwhile = be_busy;
        store_local_step(rig.store);
        store_poll(rig.port);
        cr_assert_eq(rig.last.status, STORE_OK);
        look_at_copy(rig.last.last_seq);
    }
    cr_assert_gt(rig_stats(&rig).checkpoints, 5);
}

/* ---- files --------------------------------------------------------------- */

static void
damage(const char *name, size_t at)
{
    size_t size = 0;
    uint8_t *bytes = sim_files_bytes(files, name, &size);
    cr_assert(bytes != NULL && at < size);
    bytes[at] ^= 1;
}

/* Where the batch with the highest number begins. */
static size_t
last_batch(const char *name)
{
    size_t size = 0;
    size_t found = 0;
    uint64_t number = 0;
    const uint8_t *bytes = sim_files_bytes(files, name, &size);
    for (size_t at = FIRST_BATCH; at + 40 < size; at += 8) {
        if (memcmp(bytes + at, "JBAT", 4) == 0 &&
            get_u64(bytes + at + 16) > number) {
            number = get_u64(bytes + at + 16);
            found = at;
        }
    }
    return found;
}

/* The header of the first batch of the later one of two files: what stands in
 * the earlier one is not lost over it, whichever is listed first. */
static void
damage_beginning(bool is_torn)
{
    rig_open(&rig);
    uint32_t stream = rig_ensure(&rig, "S", NULL);
    uint32_t count = fill_until(stream, "journal-00000001", 1);
    rig_settle(&rig); /* the first file is free */
    count += fill_until(stream, "journal-00000000", 1 + count);
    if (!is_torn) {
        cr_assert_eq(append(stream, 5, 1 + count), STORE_OK);
        count += 5;
    }
    cr_assert_eq(append(stream, 5, 1 + count), STORE_OK);
    die(false);
    size_t last = last_batch("journal-00000000");
    cr_assert_gt(last, FIRST_BATCH);
    damage("journal-00000000", FIRST_BATCH + 20);
    if (is_torn) {
        damage("journal-00000000", last + 60);
    }
    rig_open(&rig);
    expect_records(&rig, stream, is_torn ? count : count + 5);
    rig_settle(&rig);
    cr_assert_eq(count_names("journal-00000000.damaged"), 1, "%s", rig.log);
}

Test(journal, a_damaged_beginning_does_not_hide_the_file_before)
{
    damage_beginning(false);
}

/* Nothing but a batch that is torn follows it. */
Test(journal, a_damaged_beginning_and_a_torn_end_hide_no_file)
{
    damage_beginning(true);
}

Test(journal, a_file_that_cannot_be_read_is_not_deleted)
{
    const struct sim_fault unreadable = {
        .calls = SIM_BIT(SIM_READ), .first = 1, .count = 1, .error = EIO};
    rig_open(&rig);
    uint32_t stream = rig_ensure(&rig, "S", NULL);
    cr_assert_eq(append(stream, 5, 1), STORE_OK);
    die(false);
    sim_files_fault(files, &unreadable);
    rig_open(&rig);
    cr_assert_gt(rig_stats(&rig).damaged, 0);
    cr_assert_neq(rig_ensure(&rig, "other", NULL), 0);
    rig_close(&rig); /* with a checkpoint */
    cr_assert_eq(first_number("journal-00000000.damaged"), 1, "%s", rig.log);
    rig_open(&rig);
}

/* A name that was given to what was set aside is not given again. */
Test(journal, what_was_set_aside_is_not_overwritten)
{
    uint32_t count = 0;
    for (unsigned int i = 1; i <= 2; i++) {
        rig_open(&rig);
        uint32_t stream = rig_ensure(&rig, "S", NULL);
        const char *last = i == 1 ? "journal-00000001" : NULL;
        for (const char *name = sim_files_next(files, NULL);
             last == NULL && name != NULL; name = sim_files_next(files, name)) {
            last = strstr(name, ".damaged") == NULL &&
                           strcmp(name, "journal-00000000") != 0
                       ? name
                       : NULL;
        }
        count += fill_until(stream, last, 1 + count);
        rig_settle(&rig); /* the other one is free */
        for (int k = 0; k < 3; k++, count += 5) {
            cr_assert_eq(append(stream, 5, 1 + count), STORE_OK);
        }
        die(false);
        damage(last, FIRST_BATCH + 4);
        rig_open(&rig);
        rig_close(&rig); /* before there is another file */
        cr_assert_eq(count_names(".damaged"), i, "%s", rig.log);
    }
    rig_open(&rig);
}

/* Each time it is killed before its first checkpoint. */
Test(journal, dying_again_and_again_leaves_not_too_many_files)
{
    uint32_t count = 0;
    uint32_t stream = 0;
    for (unsigned int i = 0; i < 40; i++) {
        rig_open(&rig);
        if (i == 0) {
            stream = rig_ensure(&rig, "S", NULL);
        }
        count += append(stream, 1, 1 + count) == STORE_OK;
        die(false);
    }
    rig_open(&rig);
    rig_settle(&rig);
    cr_assert_eq(append(stream, 1, 1 + count), STORE_OK, "%s", rig.log);
    expect_records(&rig, stream, count + 1);
    cr_assert_geq(count, 10);
}

/* Each time it is killed while it makes a file. */
Test(journal, unfinished_files_do_not_gather)
{
    for (unsigned int i = 0; i < 40; i++) {
        char name[32];
        struct file *file;
        snprintf(name, sizeof name, "journal-%08u", 100 + i);
        cr_assert_eq(files->open(files, name, true, &file), 0);
        files->close(files, file);
        rig_open(&rig);
        die(false);
    }
    rig_open(&rig);
    cr_assert_neq(rig_ensure(&rig, "S", NULL), 0);
    cr_assert_leq(count_names("journal-"), 3);
}

/* ---- no space ------------------------------------------------------------ */

static void
wait_a_while(void)
{
    rig.now_ms += 5000; /* it looks again from time to time */
    rig_settle(&rig);
}

/* For one file of the journal, but not for a second one. */
Test(journal, too_little_space_for_a_new_store_passes)
{
    sim_files_capacity(files, 100 * 1024);
    rig_open(&rig);
    rig_settle(&rig);
    sim_files_capacity(files, 0);
    wait_a_while();
    cr_assert_not(rig_stats(&rig).no_space, "%s", rig.log);
    cr_assert_neq(rig_ensure(&rig, "S", NULL), 0);
}

static int (*write_file)(struct file_system *system, struct file *file,
    const void *src, size_t len, uint64_t offset);
static size_t space_left; /* for the next write that is larger; 0: enough */

/* Some of it gets to the disk, before there is no more space. */
static int
write_some(struct file_system *system, struct file *file, const void *src,
    size_t len, uint64_t offset)
{
    if (space_left == 0 || len <= space_left) {
        return write_file(system, file, src, len, offset);
    }
    len = space_left;
    space_left = 0;
    cr_assert_eq(write_file(system, file, src, len, offset), 0);
    cr_assert_eq(files->sync(system, file), 0);
    return ENOSPC;
}

/* The number of a batch that there was no space for goes to another one, in
 * another file: what is left of the first is not taken for it. */
static void
lose_space(uint64_t seed)
{
    set_up(seed);
    rig.options.memory_bytes = 4 << 20;
    rig_open(&rig);
    uint32_t stream = rig_ensure(&rig, "S", NULL);
    cr_assert_eq(append(stream, 300, 1), STORE_OK);
    write_file = files->write;
    files->write = write_some;
    space_left = 4096;
    cr_assert_eq(append(stream, 150, 9001), STORE_NO_SPACE);
    cr_assert_eq(space_left, 0);
    wait_a_while();
    cr_assert_eq(append(stream, 500, 301), STORE_OK);
    cr_assert_neq(first_number("journal-00000001"), 0, "the same file");
    die(true);
    rig_open(&rig);
    expect_records(&rig, stream, 800);
    cr_assert_eq(rig_stats(&rig).damaged, 0, "%s", rig.log);
    teardown();
}

Test(journal_space, what_was_refused_does_not_hide_what_was_stored,
    .timeout = 60)
{
    for (uint64_t seed = 1; seed <= 8; seed++) {
        lose_space(seed);
    }
}

/* ---- publishers ---------------------------------------------------------- */

static enum store_status
publish(uint32_t stream, uint32_t number, bool is_retry)
{
    uint8_t record[100];
    rig_record(record, sizeof record, number);
    const struct store_append append = {.stream = stream,
        .records = record,
        .bytes = sizeof record,
        .count = 1,
        .publisher = "me",
        .publisher_bytes = 2,
        .number = number,
        .is_retry = is_retry,
        .time_ms = rig.now_ms};
    return store_append(rig.port, &append, rig_change_done, &rig);
}

static const struct sim_fault full = {
    .calls = SIM_BIT(SIM_WRITE), .first = 1, .count = 1, .error = ENOSPC};

/* However many of them were in flight at once. */
Test(journal, what_was_refused_together_is_remembered_as_refused)
{
    rig_open(&rig);
    uint32_t stream = rig_ensure(&rig, "S", NULL);
    for (uint32_t number = 1; number <= 40; number++) {
        cr_assert_eq(publish(stream, number, false), STORE_OK);
    }
    sim_files_fault(files, &full);
    commit();
    cr_assert_eq(rig.last.status, STORE_NO_SPACE);
    wait_a_while();
    cr_assert_eq(publish(stream, 41, false), STORE_OK);
    commit();
    cr_assert_eq(rig.last.status, STORE_OK);
    for (uint32_t number = 1; number <= 40; number++) {
        cr_assert_eq(publish(stream, number, true), STORE_OK);
        commit();
        cr_assert_eq(rig.last.status, STORE_NO_SPACE, "%u: %d", number,
            (int)rig.last.status);
    }
    cr_assert_eq(rig_info(&rig, stream).records, 1);
}

static uint32_t publish_stream;

static void
publish_again(void)
{
    cr_assert_eq(publish(publish_stream, 1, true), STORE_OK);
    cr_assert_eq(publish(publish_stream, 2, false), STORE_OK);
}

/* The retry came while the first attempt was being written, which went well;
 * the batch that it waited in did not. */
Test(journal, a_retry_of_what_was_stored_meanwhile_is_a_duplicate)
{
    rig_open(&rig);
    publish_stream = rig_ensure(&rig, "S", NULL);
    hook_syncs();
    unsigned int before = rig.answered;
    cr_assert_eq(publish(publish_stream, 1, false), STORE_OK);
    meanwhile = publish_again;
    commit();
    sim_files_fault(files, &full);
    commit();
    cr_assert_eq(rig.answered, before + 3);
    cr_assert_eq(rig.results[before].status, STORE_OK);
    cr_assert_eq(rig.results[before + 1].status, STORE_DUPLICATE);
    cr_assert_eq(rig.results[before + 2].status, STORE_NO_SPACE);
    cr_assert_eq(rig_info(&rig, publish_stream).records, 1);
}

/* ---- readers ------------------------------------------------------------- */

/* Readers that never stop, of what is on disk: checkpoints get their turn, or
 * nothing could be appended any more. */
Test(journal, a_checkpoint_is_made_between_reads)
{
    rig_open(&rig);
    uint32_t stream = rig_ensure(&rig, "S", NULL);
    cr_assert_eq(rig_append(&rig, stream, 100, 1), STORE_OK);
    rig_close(&rig);
    rig_open(&rig);
    fill_until(stream, "journal-00000001", 101);
    uint64_t before = rig_stats(&rig).checkpoints;
    for (unsigned int i = 0; i < 1000; i++) {
        struct rig_read read = {.done = false};
        cr_assert_eq(
            store_read(rig.port, stream, 1, 1, false, rig_read_done, &read),
            STORE_OK);
        while (!read.done) {
            store_local_step(rig.store);
            store_poll(rig.port);
        }
    }
    cr_assert_gt(rig_stats(&rig).checkpoints, before);
}

/* What was lost in the journal is told by whoever reads past it, also while the
 * rest is in memory, and also where the reading begins with it. */
Test(journal, what_is_damaged_is_counted_by_those_who_read)
{
    rig_open(&rig);
    uint32_t stream = rig_ensure(&rig, "S", NULL);
    for (uint32_t tag = 1; tag <= 10; tag++) {
        cr_assert_eq(append(stream, 1, tag), STORE_OK);
    }
    die(false);
    size_t last = last_batch("journal-00000000");
    size_t each = 40 + 40 + 4 + 100; /* of a batch with one record of 100 */
    damage("journal-00000000", last - 4 * each + 150);
    for (int round = 0; round < 2; round++) { /* from memory, then from disk */
        rig_open(&rig);
        cr_assert_gt(rig_stats(&rig).damaged + (uint64_t)round, 0);
        for (uint64_t from = 1; from <= 10; from++) {
            struct rig_read read = rig_read(&rig, stream, from, 1 << 20);
            uint64_t lost = from <= 6 ? 1 : 0;
            cr_assert_eq(read.next, 11);
            cr_assert_eq(read.count, 11 - from - lost);
            cr_assert_eq(read.damaged, lost, "round %d from %lu: %lu", round,
                from, read.damaged);
        }
        rig_close(&rig);
    }
    rig_open(&rig);
}

/* ---- retention ----------------------------------------------------------- */

/* A block whose records cannot be told apart any more is no reason to look for
 * them for ever. */
Test(journal, a_damaged_block_is_trimmed_like_any_other)
{
    for (size_t damaged = 0; damaged < 3; damaged++) {
        rig_open(&rig);
        char name[] = {(char)('a' + damaged), 0};
        uint32_t stream = rig_ensure(&rig, name, NULL);
        cr_assert_eq(rig_append(&rig, stream, 2000, 1), STORE_OK);
        rig_close(&rig);
        uint8_t *data;
        size_t bytes;
        size_t blocks = 0;
        while (sim_base_item(base, BASE_BLOCKS, blocks, &data, &bytes)) {
            blocks++;
        }
        cr_assert_gt(blocks, 3);
        size_t index = damaged == 0 ? 0 : damaged == 1 ? 1 : blocks - 1;
        cr_assert(sim_base_item(base, BASE_BLOCKS, index, &data, &bytes));
        data[8] ^= 1; /* the checksum of its only entry */
        rig_open(&rig);
        cr_assert_eq(store_trim(rig.port, stream, 1999, rig_change_done, &rig),
            STORE_OK);
        rig_settle(&rig);
        cr_assert_eq(rig.last.status, STORE_OK);
        cr_assert_eq(
            store_remove(rig.port, stream, rig_change_done, &rig), STORE_OK);
        rig_settle(&rig);
        rig_close(&rig);
    }
    rig_open(&rig);
}

/* What was lost on disk does not use up what the stream may keep. */
Test(journal, what_is_lost_on_disk_is_not_counted_as_kept)
{
    const struct store_limits limits = {.max_bytes = 30000};
    rig_open(&rig);
    uint32_t stream = rig_ensure(&rig, "S", &limits);
    cr_assert_eq(rig_append(&rig, stream, 250, 1), STORE_OK);
    rig_close(&rig);
    uint8_t *data;
    size_t bytes;
    cr_assert(sim_base_item(base, BASE_BLOCKS, 0, &data, &bytes));
    cr_assert_not(sim_base_item(base, BASE_BLOCKS, 1, &data, &bytes));
    cr_assert(sim_base_item(base, BASE_BLOCKS, 0, &data, &bytes));
    data[8] ^= 1; /* the checksum of its only entry */
    rig_open(&rig);
    for (uint32_t tag = 251; tag <= 500; tag += 10) {
        cr_assert_eq(rig_append(&rig, stream, 10, tag), STORE_OK);
        struct rig_read read = rig_read(&rig, stream, 251, 1 << 20);
        cr_assert_eq(read.first, 251, "%lu", read.first);
        cr_assert_eq(read.count, tag + 9 - 250);
    }
    cr_assert_eq(rig_info(&rig, stream).bytes, 25000);
    cr_assert_eq(rig_info(&rig, stream).records, 250);
}
