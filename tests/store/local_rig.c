/* SPDX-License-Identifier: MIT
 *
 * A local store for tests; see local_rig.h. */
#include "local_rig.h"

#include "bytes.h"

#include <criterion/criterion.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static uint64_t
rig_now(void *arg)
{
    return ((struct rig *)arg)->now_ms;
}

static void
rig_log(
    void *arg, enum store_log_level level, const char *event, const char *text)
{
    struct rig *rig = arg;
    (void)level;
    size_t used = strlen(rig->log);
    snprintf(rig->log + used, sizeof rig->log - used, "%s: %s\n", event, text);
}

/* In memory if it can be: thousands of syncs take long on a disk. */
static void
make_directory(char path[64])
{
    strcpy(path, "/dev/shm/store-test-XXXXXX");
    if (mkdtemp(path) == NULL) {
        strcpy(path, "/tmp/store-test-XXXXXX");
        cr_assert_not_null(mkdtemp(path));
    }
}

void
rig_init(struct rig *rig)
{
    memset(rig, 0, sizeof *rig);
    make_directory(rig->directory);
    rig->now_ms = 1700000000000u;
    rig->options = (struct store_local_options){.directory = rig->directory,
        .journal_bytes = 256 * 1024,
        .memory_bytes = 512 * 1024,
        .in_flight_bytes = 128 * 1024,
        .reserve_bytes = 1,
        .manual = true,
        .now_ms = rig_now,
        .now_arg = rig,
        .log = rig_log,
        .log_arg = rig};
}

static void
rig_wake(void *arg)
{
    (void)arg;
}

static void
rig_room(void *arg)
{
    ((struct rig *)arg)->rooms++;
}

void
rig_open(struct rig *rig)
{
    char why[256] = "";
    rig->store = store_local_open(&rig->options, why, sizeof why);
    cr_assert_not_null(rig->store, "%s", why);
    struct store_port_hooks hooks = {
        .wake = rig_wake, .room = rig_room, .arg = rig};
    rig->port = store_port_open(rig->store, &hooks);
    cr_assert_not_null(rig->port);
}

void
rig_settle(struct rig *rig)
{
    for (int i = 0; i < 100000; i++) {
        store_tick(rig->port);
        bool did = store_local_step(rig->store);
        store_poll(rig->port);
        if (!did) {
            return;
        }
    }
    cr_assert_fail("the store never comes to rest");
}

void
rig_close(struct rig *rig)
{
    store_port_close(rig->port);
    store_close(rig->store);
    rig->port = NULL;
    rig->store = NULL;
}

static void
copy_file(const char *from, const char *to)
{
    char buffer[65536];
    int source = open(from, O_RDONLY);
    int target = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    cr_assert(source >= 0 && target >= 0);
    ssize_t n;
    while ((n = read(source, buffer, sizeof buffer)) > 0) {
        cr_assert_eq(write(target, buffer, (size_t)n), n);
    }
    close(source);
    close(target);
}

static void
each_file(const char *directory,
    void (*each)(const char *path, const char *arg), const char *arg)
{
    DIR *open = opendir(directory);
    cr_assert_not_null(open);
    struct dirent *entry;
    while ((entry = readdir(open)) != NULL) {
        char path[512];
        if (entry->d_name[0] != '.') {
            snprintf(path, sizeof path, "%s/%s", directory, entry->d_name);
            each(path, arg);
        }
    }
    closedir(open);
}

static void
copy_into(const char *path, const char *directory)
{
    char to[512];
    snprintf(to, sizeof to, "%s%s", directory, strrchr(path, '/'));
    copy_file(path, to);
}

static void
remove_file(const char *path, const char *arg)
{
    (void)arg;
    unlink(path);
}

/* What is on disk at this moment, in a new place; the old store is closed as
 * usual, which changes only the old place. */
void
rig_crash(struct rig *rig)
{
    char old[64];
    char again[64];
    strcpy(old, rig->directory);
    make_directory(again);
    each_file(old, copy_into, again);
    rig_close(rig);
    each_file(old, remove_file, NULL);
    rmdir(old);
    strcpy(rig->directory, again);
}

void
rig_fini(struct rig *rig)
{
    if (rig->store != NULL) {
        rig_close(rig);
    }
    each_file(rig->directory, remove_file, NULL);
    rmdir(rig->directory);
}

void
rig_record(uint8_t *dst, size_t bytes, uint32_t tag)
{
    memset(dst, (int)(tag & 0xFF), bytes);
    put_u32(dst, (uint32_t)(bytes - STORE_RECORD_MIN));
    put_u32(dst + 4, tag);
}

void
rig_change_done(void *arg, const struct store_result *result)
{
    struct rig *rig = arg;
    if (rig->answered < sizeof rig->results / sizeof rig->results[0]) {
        rig->results[rig->answered] = *result;
    }
    rig->answered++;
    rig->last = *result;
}

uint32_t
rig_ensure(struct rig *rig, const char *name, const struct store_limits *limits)
{
    cr_assert_eq(
        store_ensure(rig->port, name, limits, rig_change_done, rig), STORE_OK);
    rig_settle(rig);
    cr_assert_eq(rig->last.status, STORE_OK);
    return rig->last.stream;
}

enum store_status
rig_append_full(struct rig *rig, struct store_append *append,
    size_t record_bytes, uint32_t tag)
{
    uint8_t *records = malloc(record_bytes * append->count);
    for (uint32_t i = 0; i < append->count; i++) {
        rig_record(records + i * record_bytes, record_bytes, tag + i);
    }
    append->records = records;
    append->bytes = record_bytes * append->count;
    if (append->time_ms == 0) {
        append->time_ms = rig->now_ms;
    }
    unsigned int before = rig->answered;
    enum store_status status =
        store_append(rig->port, append, rig_change_done, rig);
    free(records);
    if (status != STORE_OK) {
        return status;
    }
    cr_assert_eq(rig->answered, before, "a callback inside the call");
    rig_settle(rig);
    cr_assert_eq(rig->answered, before + 1);
    return rig->last.status;
}

enum store_status
rig_append(struct rig *rig, uint32_t stream, uint32_t count, uint32_t tag)
{
    struct store_append append = {.stream = stream, .count = count};
    return rig_append_full(rig, &append, 100, tag);
}

void
rig_read_done(void *arg, const struct store_batch *batch)
{
    struct rig_read *read = arg;
    read->done = true;
    read->status = batch->status;
    read->next = batch->next;
    read->damaged += batch->damaged;
    for (size_t i = 0; i < batch->run_count; i++) {
        const struct store_run *run = &batch->runs[i];
        const uint8_t *record = run->records;
        read->runs++;
        for (uint32_t k = 0; k < run->count; k++) {
            uint64_t seq = run->first_seq + k;
            if (read->count == 0) {
                read->first = seq;
            }
            read->last = seq;
            if (read->count < RIG_READ_MAX) {
                read->seqs[read->count] = seq;
                read->times[read->count] = run->time_ms;
                read->tags[read->count] = get_u32(record + 4);
            }
            read->count++;
            record += STORE_RECORD_MIN + get_u32(record);
        }
        cr_assert_eq((size_t)(record - run->records), run->bytes);
        read->bytes += run->bytes;
    }
}

struct rig_read
rig_read(struct rig *rig, uint32_t stream, uint64_t from, size_t max_bytes)
{
    struct rig_read read = {.done = false};
    cr_assert_eq(store_read(rig->port, stream, from, max_bytes, false,
                     rig_read_done, &read),
        STORE_OK);
    cr_assert(!read.done);
    rig_settle(rig);
    cr_assert(read.done);
    return read;
}

static void
value_done(void *arg, enum store_status status, const struct store_value *value)
{
    struct rig_value *out = arg;
    out->status = status;
    out->done = value->key == NULL || status != STORE_OK;
    if (value->key == NULL) {
        return;
    }
    out->count++;
    out->bytes = value->bytes;
    snprintf(out->text, sizeof out->text, "%.*s", (int)value->bytes,
        (const char *)value->data);
    size_t used = strlen(out->keys);
    snprintf(out->keys + used, sizeof out->keys - used, "%.*s ",
        (int)value->key_bytes, (const char *)value->key);
}

struct rig_value
rig_get(struct rig *rig, enum store_space space, const char *key)
{
    struct rig_value value = {.done = false, .status = STORE_INVALID};
    cr_assert_eq(
        store_get(rig->port, space, key, strlen(key), value_done, &value),
        STORE_OK);
    rig_settle(rig);
    return value;
}

struct rig_value
rig_scan(struct rig *rig, enum store_space space)
{
    struct rig_value value = {.done = false};
    cr_assert_eq(store_scan(rig->port, space, value_done, &value), STORE_OK);
    rig_settle(rig);
    cr_assert(value.done);
    return value;
}

enum store_status
rig_put(
    struct rig *rig, enum store_space space, const char *key, const char *text)
{
    struct store_value value = {.space = space,
        .key = key,
        .key_bytes = strlen(key),
        .data = text,
        .bytes = text == NULL ? 0 : strlen(text)};
    enum store_status status =
        store_put(rig->port, &value, 1, rig_change_done, rig);
    if (status != STORE_OK) {
        return status;
    }
    rig_settle(rig);
    return rig->last.status;
}

struct store_stream_info
rig_info(const struct rig *rig, uint32_t stream)
{
    struct store_stream_info info = {.stream = 0};
    cr_assert(store_stream_info(rig->port, stream, &info));
    return info;
}

struct store_stats
rig_stats(const struct rig *rig)
{
    struct store_stats stats;
    store_get_stats(rig->store, &stats);
    return stats;
}

void
rig_checkpoint(struct rig *rig)
{
    rig_close(rig);
    rig_open(rig);
}
