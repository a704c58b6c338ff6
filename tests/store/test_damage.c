/* SPDX-License-Identifier: MIT
 *
 * Every byte of a small store flipped, and every length: it opens, gives all
 * that holds and nothing that does not, and what was damaged is named and still
 * there. */
#include "base.h"
#include "bytes.h"
#include "checksum.h"
#include "inspect.h"
#include "local_rig.h"

#include <criterion/criterion.h>

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define APPENDS 6u
#define EACH    3u

static struct rig rig;
static uint8_t before[64 * 1024]; /* the journal, undamaged */
static size_t journal_bytes;
static char journal[600];
static uint32_t stream;

static void
find_journal(void)
{
    DIR *directory = opendir(rig.directory);
    struct dirent *entry;
    char best[300] = "";
    while ((entry = readdir(directory)) != NULL) {
        if (strncmp(entry->d_name, "journal-", 8) == 0 &&
            (best[0] == 0 || strcmp(entry->d_name, best) < 0)) {
            snprintf(best, sizeof best, "%s", entry->d_name);
        }
    }
    closedir(directory);
    snprintf(journal, sizeof journal, "%s/%s", rig.directory, best);
}

/* A store that died with all it has in the journal. */
static void
setup(void)
{
    rig_init(&rig);
    rig.options.journal_bytes = 16 * 1024;
    rig_open(&rig);
    stream = rig_ensure(&rig, "S", NULL);
    for (uint32_t i = 0; i < APPENDS; i++) {
        cr_assert_eq(rig_append(&rig, stream, EACH, i * EACH + 1), STORE_OK);
    }
    rig_crash(&rig);
    find_journal();
    int file = open(journal, O_RDONLY);
    ssize_t n = read(file, before, sizeof before);
    close(file);
    cr_assert_gt(n, 4096);
    journal_bytes = (size_t)n;
}

static void
teardown(void)
{
    rig_fini(&rig);
}

TestSuite(damage, .init = setup, .fini = teardown, .timeout = 300);

/* As it was, but for this many bytes and this one. */
static void
write_journal(size_t bytes, size_t flipped, uint8_t bits)
{
    int file = open(journal, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    cr_assert_eq(write(file, before, bytes), (ssize_t)bytes);
    if (flipped < bytes) {
        uint8_t byte = before[flipped] ^ bits;
        cr_assert_eq(pwrite(file, &byte, 1, (off_t)flipped), 1);
    }
    close(file);
}

static unsigned int
count_files(const char *part)
{
    DIR *directory = opendir(rig.directory);
    struct dirent *entry;
    unsigned int count = 0;
    while ((entry = readdir(directory)) != NULL) {
        count += strstr(entry->d_name, part) != NULL;
    }
    closedir(directory);
    return count;
}

static void
remove_all(void)
{
    DIR *directory = opendir(rig.directory);
    struct dirent *entry;
    while ((entry = readdir(directory)) != NULL) {
        if (strncmp(entry->d_name, ".", 1) != 0) {
            unlinkat(dirfd(directory), entry->d_name, 0);
        }
    }
    closedir(directory);
}

/* What is read is what was stored; how much. */
static uint64_t
check(void)
{
    rig.log[0] = 0;
    rig_open(&rig);
    rig_settle(&rig);
    uint64_t count = 0;
    if (store_next_stream(rig.port, 0) == stream) {
        struct rig_read read = rig_read(&rig, stream, 1, 1 << 20);
        cr_assert_eq(read.status, STORE_OK);
        cr_assert_leq(read.damaged, APPENDS * EACH - read.count);
        for (uint64_t i = 0; i < read.count; i++) {
            cr_assert_eq(read.tags[i], read.seqs[i]);
        }
        count = read.count;
        cr_assert_eq(rig_append(&rig, stream, 1, 99), STORE_OK);
    }
    return count;
}

/* Where the last batch begins. */
static size_t
last_batch(size_t end)
{
    size_t at = (end - 1) & ~(size_t)7;
    while (memcmp(before + at, "JBAT", 4) != 0) {
        at -= 8;
    }
    return at;
}

Test(damage, each_byte_of_the_journal)
{
    size_t end = journal_bytes;
    while (before[end - 1] == 0) {
        end--;
    }
    unsigned int all = 0;
    unsigned int total = 0;
    size_t last = last_batch(end);
    for (size_t at = 0; at < end; at++) {
        if (at == 28) {
            at = 4096; /* zeros that nobody reads */
        }
        remove_all();
        write_journal(journal_bytes, at, (uint8_t)(1u << at % 8));
        uint64_t count = check();
        total++;
        all += count == APPENDS * EACH;
        cr_assert_geq(
            count, (APPENDS - 1) * EACH, "%zu: %lu\n%s", at, count, rig.log);
        /* It is named, or it is what a crash leaves. */
        if (count < APPENDS * EACH && at < last) {
            cr_assert_gt(rig_stats(&rig).damaged, 0, "%zu", at);
            cr_assert_geq(count_files(".damaged"), 1, "%zu\n%s", at, rig.log);
        }
        rig_close(&rig);
        rig_open(&rig); /* once more: all that was kept is in the tables */
        if (store_next_stream(rig.port, 0) == stream) {
            cr_assert_eq(rig_read(&rig, stream, 1, 1 << 20).count, count + 1);
        }
        rig_close(&rig);
    }
    cr_assert_gt(all, 0);
    cr_assert_lt(all, total);
}

Test(damage, each_length_of_the_journal)
{
    uint64_t most = 0;
    for (size_t bytes = 0; bytes <= journal_bytes;
         bytes += bytes < 32 || (bytes > 4090 && bytes < 8192) ? 1 : 512) {
        remove_all();
        write_journal(bytes, SIZE_MAX, 0);
        uint64_t count = check();
        cr_assert_geq(count, most, "%zu", bytes);
        most = count;
        rig_close(&rig);
    }
    cr_assert_eq(most, APPENDS * EACH);
}

/* ---- looking in from outside --------------------------------------------- */

struct told {
    uint64_t records, last, damages, values;
    uint32_t streams;
};

static bool
told_stream(void *arg, const struct inspect_where *where,
    const struct store_stream_info *info)
{
    struct told *told = arg;
    (void)where;
    cr_assert_str_eq(info->name, "S");
    told->streams++;
    return true;
}

static bool
told_records(void *arg, const struct inspect_where *where, uint32_t number,
    const struct store_run *run)
{
    struct told *told = arg;
    (void)where;
    cr_assert_eq(number, stream);
    cr_assert_gt(run->first_seq, told->last);
    told->last = run->first_seq + run->count - 1;
    told->records += run->count;
    return true;
}

static bool
told_value(void *arg, const struct inspect_where *where,
    const struct store_value *value)
{
    (void)where;
    (void)value;
    ((struct told *)arg)->values++;
    return true;
}

static bool
told_damage(void *arg, const struct inspect_where *where, const char *text,
    uint64_t records)
{
    (void)records;
    cr_assert_not_null(where->file);
    cr_assert_gt(strlen(text), 0);
    ((struct told *)arg)->damages++;
    return true;
}

static struct inspect_summary
inspect(struct told *told)
{
    *told = (struct told){.records = 0};
    const struct inspect_hooks hooks = {.stream = told_stream,
        .records = told_records,
        .value = told_value,
        .damage = told_damage,
        .arg = told};
    struct inspect_summary summary;
    char why[256] = "";
    cr_assert(store_inspect(rig.directory, &hooks, &summary, why, sizeof why),
        "%s", why);
    cr_assert_eq(summary.damages, told->damages);
    cr_assert_eq(summary.records, told->records);
    return summary;
}

Test(damage, is_seen_from_outside)
{
    struct told told;
    struct inspect_summary summary = inspect(&told);
    cr_assert_eq(told.records, APPENDS * EACH);
    cr_assert_eq(told.damages, 0);
    cr_assert_eq(summary.batches, APPENDS + 1);
    cr_assert_eq(summary.last, APPENDS + 1);
    cr_assert_not(summary.in_use);
    cr_assert_not(summary.torn_tail);
    /* A record in the middle. */
    write_journal(journal_bytes, 4096 + 800, 1);
    summary = inspect(&told);
    cr_assert_eq(told.records, APPENDS * EACH - 1);
    cr_assert_geq(told.damages, 1);
    /* What the broker makes of it is in the tables, and the file aside. */
    remove_all();
    write_journal(journal_bytes, 4096 + 800, 1);
    cr_assert_eq(check(), APPENDS * EACH - 1);
    rig_put(&rig, STORE_SPACE_BROKER, "key", "value");
    rig_close(&rig);
    summary = inspect(&told);
    cr_assert_eq(told.records, APPENDS * EACH);
    cr_assert_eq(told.damages, 0);
    cr_assert_eq(told.values, 1);
    cr_assert_eq(told.streams, 1);
    cr_assert_eq(summary.batches, 0);
    cr_assert_eq(summary.set_aside, 1);
    cr_assert_eq(summary.applied, summary.last);
}

Test(damage, of_the_tables_header_sets_them_aside)
{
    rig_open(&rig);
    rig_close(&rig);
    char path[600];
    snprintf(path, sizeof path, "%s/tables.mdb", rig.directory);
    int file = open(path, O_RDWR);
    cr_assert_eq(pwrite(file, "no such thing, no such thing", 28, 16), 28);
    cr_assert_eq(pwrite(file, "no such thing, no such thing", 28, 4112), 28);
    close(file);
    rig_open(&rig);
    cr_assert_eq(count_files("tables.mdb.damaged-1"), 1);
    cr_assert_gt(rig_stats(&rig).damaged, 0);
    cr_assert_neq(rig_ensure(&rig, "new", NULL), 0);
}

Test(damage, a_later_version_is_refused)
{
    char why[256] = "";
    before[11] = 2;
    /* Its checksum is not that of the header any more: make it so. */
    put_u32(before + 24, checksum(before, 24));
    remove_all();
    write_journal(journal_bytes, SIZE_MAX, 0);
    cr_assert_null(store_local_open(&rig.options, why, sizeof why));
    cr_assert_not_null(strstr(why, "later version"), "%s", why);
}

/* The definition of a stream in the tables, and which commits they have: the
 * records are found again, under another name. */
Test(damage, of_a_definition_keeps_the_records)
{
    rig_open(&rig);
    rig_close(&rig);
    char path[600];
    char why[256];
    static const char meta[] = "applied";
    struct base *base;
    snprintf(path, sizeof path, "%s/tables.mdb", rig.directory);
    cr_assert_eq(base_lmdb_open(path, false, &base, why, sizeof why), 0);
    uint8_t key[4];
    put_u32(key, stream);
    cr_assert_eq(base->begin(base), 0);
    cr_assert_eq(base->put(base, BASE_STREAMS, key, 4, "no entry", 8), 0);
    cr_assert_eq(
        base->put(base, BASE_META, meta, sizeof meta - 1, "no number...", 12),
        0);
    cr_assert_eq(base->commit(base), 0);
    base->close(base);
    rig_open(&rig);
    cr_assert_geq(rig_stats(&rig).damaged, 2, "%s", rig.log);
    struct store_stream_info info = rig_info(&rig, stream);
    cr_assert_str_eq(info.name, "recovered-1");
    cr_assert_eq(info.records, APPENDS * EACH);
    cr_assert_eq(info.bytes, APPENDS * EACH * 100);
    cr_assert_eq(info.last_seq, APPENDS * EACH);
    cr_assert_eq(rig_append(&rig, stream, 1, 19), STORE_OK);
    cr_assert_eq(rig_read(&rig, stream, 1, 1 << 20).count, APPENDS * EACH + 1);
}

/* Whoever may not open any file now learns nothing of the tables. */
Test(damage, is_not_concluded_from_what_the_system_refuses)
{
    rig_open(&rig);
    rig_close(&rig);
    char path[600];
    struct rlimit before_it;
    snprintf(path, sizeof path, "%s/tables.mdb", rig.directory);
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &before_it), 0);
    struct rlimit few = before_it;
    few.rlim_cur = 3;
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
    int error = base_lmdb_check(path);
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &before_it), 0);
    cr_assert_eq(error, 0);
}

/* Heads of LMDB's pages, which have no checksum: the library may crash, this
 * process does not; and the store opens. */
Test(damage, of_pages_of_the_tables_sets_them_aside)
{
    rig_open(&rig);
    rig_close(&rig);
    char path[600];
    snprintf(path, sizeof path, "%s/tables.mdb", rig.directory);
    static uint8_t tables[1 << 20];
    int file = open(path, O_RDWR);
    ssize_t n = read(file, tables, sizeof tables);
    close(file);
    cr_assert_gt(n, 4 * 4096);
    cr_assert_eq(base_lmdb_check(path), 0);
    unsigned int found = 0;
    for (off_t page = 2 * 4096; page < n; page += 4096) {
        remove_all();
        uint8_t head[16];
        memset(head, 0xFF, sizeof head);
        file = open(path, O_WRONLY | O_CREAT, 0600);
        cr_assert_eq(write(file, tables, (size_t)n), n);
        cr_assert_eq(pwrite(file, head, sizeof head, page), 16);
        close(file);
        bool bad = base_lmdb_check(path) != 0;
        found += bad;
        rig_open(&rig);
        cr_assert_eq(count_files("tables.mdb.damaged-1"), bad ? 1 : 0);
        cr_assert_neq(rig_ensure(&rig, "new", NULL), 0);
        rig_close(&rig);
    }
    cr_assert_gt(found, 0);
}
