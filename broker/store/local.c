/* SPDX-License-Identifier: MIT
 *
 * Opening and closing the local store, and what it says of itself; see
 * local.h. */
#include "local.h"

#include "local_store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define MIB        ((uint64_t)1 << 20)
#define TABLES     "tables.mdb"
#define CHUNK_MIN  ((size_t)4096)
#define CHUNK_MAX  ((size_t)1 << 20)
#define ASIDE_MAX  1000
#define PATH_BYTES 4096u

/* ---- what it says -------------------------------------------------------- */

void
local_log(const struct local *local, enum store_log_level level,
    const char *event, const char *format, ...)
{
    if (local->log == NULL) {
        return;
    }
    char text[320];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    local->log(local->log_arg, level, event, text);
}

void
local_fail(struct local *local, const char *what, int error)
{
    if (local->stats.failed) {
        return;
    }
    local->stats.failed = true;
    snprintf(local->stats.why, sizeof local->stats.why, "%s: %s", what,
        strerror(error));
    local_log(local, STORE_LOG_ERROR, "store-failed",
        "%s; nothing is stored until the process is started anew",
        local->stats.why);
    if (local->open->count > 0) {
        local->ticked = true;
        if (local->commit_sleeps) {
            pthread_cond_signal(&local->commit_wake);
        }
    }
    local_give_room(local);
}

void
local_set_no_space(struct local *local, const char *what)
{
    if (local->no_space) {
        return;
    }
    local->no_space = true;
    local_log(local, STORE_LOG_ERROR, "store-no-space",
        "%s: appends are refused until there is space", what);
    local_give_room(local);
}

void
local_damage(struct local *local, uint64_t pieces, const char *format, ...)
{
    char text[256];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    local->stats.damaged += pieces;
    local_log(local, STORE_LOG_ERROR, "store-damage", "%s", text);
}

static uint64_t
system_now(void *arg)
{
    (void)arg;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* ---- opening ------------------------------------------------------------- */

static uint64_t
or_default(uint64_t value, uint64_t otherwise)
{
    return value == 0 ? otherwise : value;
}

static struct local *
local_new(const struct store_local_options *options)
{
    struct local *local = calloc(1, sizeof *local);
    if (local == NULL) {
        return NULL;
    }
    local->names = calloc(NAME_BUCKETS, sizeof(struct stream *));
    if (local->names == NULL) {
        free(local);
        return NULL;
    }
    local->store.operations = &local_operations;
    local->self = local;
    local->manual = options->manual;
    local->lock_descriptor = -1;
    local->files = options->files;
    local->base = options->base;
    local->in_flight_max = or_default(options->in_flight_bytes, 16 * MIB);
    if (local->in_flight_max > GROUP_BYTES_MAX / 2) {
        local->in_flight_max = GROUP_BYTES_MAX / 2;
    }
    local->table_max = or_default(options->memory_bytes, 64 * MIB) / 2;
    local->reserve_bytes = or_default(options->reserve_bytes, 64 * MIB);
    local->now_ms = options->now_ms != NULL ? options->now_ms : system_now;
    local->now_arg = options->now_arg;
    local->log = options->log;
    local->log_arg = options->log_arg;
    local->journal.file_bytes = or_default(options->journal_bytes, 32 * MIB);
    if (local->journal.file_bytes < 2 * JOURNAL_START) {
        local->journal.file_bytes = 2 * JOURNAL_START;
    }
    local->publishers.max = (size_t)or_default(options->max_publishers, 100000);
    size_t chunk = (size_t)(local->table_max / 16);
    chunk = chunk < CHUNK_MIN ? CHUNK_MIN : chunk;
    local->pool.chunk_bytes = chunk > CHUNK_MAX ? CHUNK_MAX : chunk;
    local->pool.idle_max = (size_t)local->table_max / local->pool.chunk_bytes;
    local->open = &local->groups[0];
    local->next_stream = 1;
    local->jobs_end = &local->jobs;
    memtable_init(&local->tables[0], &local->pool);
    memtable_init(&local->tables[1], &local->pool);
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_mutex_init(&local->lock, NULL);
    pthread_cond_init(&local->commit_wake, &attributes);
    pthread_cond_init(&local->table_wake, &attributes);
    pthread_condattr_destroy(&attributes);
    return local;
}

static void
free_streams(struct local *local)
{
    for (int i = 0; i < 2; i++) {
        /* Those that have been removed are in these lists alone. */
        free(local->touched[i]);
    }
    for (uint32_t i = 0; i < local->stream_capacity; i++) {
        if (local->streams[i] != NULL) {
            local_stream_free(local, local->streams[i]);
        }
    }
    free(local->streams);
    free(local->names);
}

static void
local_free(struct local *local)
{
    while (local->jobs != NULL) {
        struct job *job = local->jobs;
        local->jobs = job->next;
        if (job->port != NULL) {
            local_port_unref(job->port);
        }
        free(job);
    }
    free(local->checkpoint.rows);
    free(local->checkpoint.publishers);
    free(local->checkpoint.forgotten);
    journal_close(&local->journal);
    free_streams(local);
    publishers_fini(&local->publishers);
    memtable_fini(&local->tables[0]);
    memtable_fini(&local->tables[1]);
    group_fini(local, &local->groups[0]);
    group_fini(local, &local->groups[1]);
    chunk_pool_fini(&local->pool);
    if (local->owns_base && local->base != NULL) {
        local->base->close(local->base);
    }
    if (local->owns_files && local->files != NULL) {
        local->files->free(local->files);
    }
    if (local->lock_descriptor >= 0) {
        close(local->lock_descriptor);
    }
    pthread_mutex_destroy(&local->lock);
    pthread_cond_destroy(&local->commit_wake);
    pthread_cond_destroy(&local->table_wake);
    free(local);
}

/* Its name must be as durable as what is in it, whoever made it and whenever.
 * Who may not read the directory above cannot see to it. */
static int
sync_name_of(const char *directory)
{
    char path[PATH_BYTES];
    int n = snprintf(path, sizeof path, "%s/..", directory);
    if (n < 0 || (size_t)n >= sizeof path) {
        return ENAMETOOLONG;
    }
    int above = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (above < 0) {
        return errno == EACCES ? 0 : errno;
    }
    int error = fsync(above) == 0 ? 0 : errno;
    close(above);
    return error == EINVAL || error == EROFS ? 0 : error;
}

static bool
open_directory(
    struct local *local, const char *directory, char *why, size_t why_size)
{
    int error = 0;
    if (mkdir(directory, 0700) != 0 && errno != EEXIST) {
        snprintf(
            why, why_size, "%s cannot be made: %s", directory, strerror(errno));
        return false;
    }
    error = directory_lock(directory, &local->lock_descriptor);
    if (error == EWOULDBLOCK) {
        snprintf(why, why_size,
            "%s is in use by another process (its file \"lock\" is locked)",
            directory);
        return false;
    }
    if (error == 0 && local->files == NULL) {
        local->files = file_system_open(directory, &error);
        local->owns_files = local->files != NULL;
    }
    if (error == 0) {
        error = sync_name_of(directory);
    }
    if (error != 0) {
        snprintf(why, why_size, "%s cannot be opened: %s", directory,
            strerror(error));
        return false;
    }
    return true;
}

/* Under a name that nothing uses. */
static bool
set_tables_aside(struct local *local, const char *directory, const char *text)
{
    char from[PATH_BYTES];
    char to[PATH_BYTES];
    snprintf(from, sizeof from, "%s/" TABLES, directory);
    for (int i = 1; i < ASIDE_MAX; i++) {
        struct stat info;
        snprintf(to, sizeof to, "%s/" TABLES ".damaged-%d", directory, i);
        if (stat(to, &info) == 0) {
            continue;
        }
        if (rename(from, to) != 0) {
            return false;
        }
        local_damage(
            local, 1, "%s; it is set aside as " TABLES ".damaged-%d", text, i);
        return true;
    }
    return false;
}

static bool
open_tables(
    struct local *local, const char *directory, char *why, size_t why_size)
{
    char path[PATH_BYTES];
    snprintf(path, sizeof path, "%s/" TABLES, directory);
    int error = base_lmdb_check(path);
    if (error != 0) {
        snprintf(why, why_size, "%s: its pages are damaged", path);
    } else {
        error = base_lmdb_open(path, true, &local->base, why, why_size);
    }
    if (error == EBADMSG && set_tables_aside(local, directory, why)) {
        error = base_lmdb_open(path, true, &local->base, why, why_size);
    }
    local->owns_base = error == 0;
    if (error == 0) {
        error = local->files->sync_names(local->files);
        if (error != 0) {
            snprintf(why, why_size, "%s: %s", directory, strerror(error));
        }
    }
    return error == 0;
}

static bool
start_threads(struct local *local)
{
    if (local->manual) {
        return true;
    }
    if (pthread_create(&local->commit_thread, NULL, local_commit_main, local) !=
        0) {
        return false;
    }
    if (pthread_create(&local->table_thread, NULL, local_table_main, local) !=
        0) {
        pthread_mutex_lock(&local->lock);
        local->stopping = true;
        pthread_cond_signal(&local->commit_wake);
        pthread_mutex_unlock(&local->lock);
        pthread_join(local->commit_thread, NULL);
        return false;
    }
    return true;
}

struct store *
store_local_open(
    const struct store_local_options *options, char *why, size_t why_size)
{
    struct local *local = local_new(options);
    if (local == NULL) {
        snprintf(why, why_size, "memory is out");
        return NULL;
    }
    bool needs_directory = local->files == NULL || local->base == NULL;
    bool ok = (!needs_directory ||
                  open_directory(local, options->directory, why, why_size)) &&
              (local->base != NULL ||
                  open_tables(local, options->directory, why, why_size)) &&
              local_recover(local, why, why_size);
    if (ok && !start_threads(local)) {
        snprintf(why, why_size, "threads cannot be started");
        ok = false;
    }
    if (!ok) {
        local_free(local);
        return NULL;
    }
    return &local->store;
}

/* ---- closing ------------------------------------------------------------- */

static void
stop_threads(struct local *local)
{
    local->stopping = true;
    pthread_cond_signal(&local->commit_wake);
    pthread_mutex_unlock(&local->lock);
    pthread_join(local->commit_thread, NULL);
    pthread_mutex_lock(&local->lock);
    local->table_stopping = true;
    pthread_cond_signal(&local->table_wake);
    pthread_mutex_unlock(&local->lock);
    pthread_join(local->table_thread, NULL);
    pthread_mutex_lock(&local->lock);
}

/* So that nothing is to be replayed. If it cannot be, the journal has it. */
static void
close_tables(struct local *local)
{
    for (int i = 0; i < 2 && !local->stats.failed; i++) {
        if (!local->frozen) {
            local_rotate(local);
        }
        if (local->frozen && !local->table_full) {
            local_checkpoint(local);
        }
    }
}

void
local_close(struct store *store)
{
    struct local *local = (struct local *)store;
    pthread_mutex_lock(&local->lock);
    if (local->manual) {
        while (local_commit_one(local)) {
        }
    } else {
        stop_threads(local);
    }
    close_tables(local);
    pthread_mutex_unlock(&local->lock);
    local_free(local);
}

bool
store_local_step(struct store *store)
{
    struct local *local = (struct local *)store;
    pthread_mutex_lock(&local->lock);
    bool did =
        (local->ticked && local_commit_one(local)) || local_table_one(local);
    pthread_mutex_unlock(&local->lock);
    return did;
}
