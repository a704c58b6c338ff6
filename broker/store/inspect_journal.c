/* SPDX-License-Identifier: MIT
 *
 * The journal looked at from outside, and all of a store; see inspect.h. */
#include "inspect_parts.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* One file, copied. */
struct image {
    char name[JOURNAL_NAME_BYTES];
    uint8_t *bytes;
    size_t size;
    uint64_t salt;
    uint64_t first; /* number of its first batch that is not in the tables */
    bool usable;
};

struct images {
    struct image at[JOURNAL_FILES_MAX];
    size_t count;
};

static bool
read_all(int file, struct image *image)
{
    struct stat info;
    if (fstat(file, &info) != 0) {
        return false;
    }
    image->bytes = malloc((size_t)info.st_size + 1);
    while (image->bytes != NULL && image->size < (size_t)info.st_size) {
        ssize_t n = pread(file, image->bytes + image->size,
            (size_t)info.st_size - image->size, (off_t)image->size);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            break;
        }
        image->size += (size_t)n;
    }
    return image->bytes != NULL && image->size == (size_t)info.st_size;
}

static void
load(struct inspect *inspect, int directory, const char *name,
    struct images *images)
{
    if (images->count == JOURNAL_FILES_MAX) {
        return;
    }
    struct image *image = &images->at[images->count++];
    *image = (struct image){.usable = true};
    memcpy(image->name, name, strlen(name) + 1);
    inspect->where =
        (struct inspect_where){.place = INSPECT_JOURNAL, .file = image->name};
    int file = openat(directory, name, O_RDONLY | O_CLOEXEC);
    if (file < 0 || !read_all(file, image)) {
        inspect_damage(inspect, 0, "it cannot be read: %s", strerror(errno));
    }
    if (file >= 0) {
        close(file);
    }
    inspect->summary.journal_bytes += image->size;
}

/* False: a later version wrote it. */
static bool
find_salt(struct inspect *inspect, struct image *image)
{
    struct journal_head head;
    if (image->size == 0) {
        image->usable = false;
        return true;
    }
    int error = journal_file_head(image->bytes, image->size, &image->salt);
    if (error == EBADMSG) {
        bool zero = true;
        for (size_t i = 0; i < image->size && zero; i++) {
            zero = image->bytes[i] == 0;
        }
        image->usable = false;
        if (!zero) {
            inspect->where.file = image->name;
            inspect_damage(inspect, 0, "its header is damaged");
            if (image->size > JOURNAL_START + JOURNAL_HEAD_BYTES) {
                const uint8_t *batch = image->bytes + JOURNAL_START;
                image->salt = get_u64(batch + 8);
                image->usable = journal_head_decode(
                    batch, image->size - JOURNAL_START, image->salt, &head);
            }
        }
    }
    return error != EPROTO;
}

static struct journal_scan
scan_of(const struct image *image, uint64_t above)
{
    return (struct journal_scan){.bytes = image->bytes,
        .size = image->size,
        .salt = image->salt,
        .above = above,
        .at = JOURNAL_START};
}

static int
by_first(const void *a, const void *b)
{
    const struct image *first = a;
    const struct image *second = b;
    return first->first < second->first ? -1 : first->first > second->first;
}

static void
tell_batch(struct inspect *inspect, const struct journal_scan *scan)
{
    const uint8_t *body = scan->bytes + scan->offset + JOURNAL_HEAD_BYTES;
    size_t at = 0;
    inspect->where.offset = scan->offset;
    inspect->where.commit = scan->head.number;
    inspect->summary.batches++;
    if (!scan->whole) {
        inspect_damage(
            inspect, 0, "batch %" PRIu64 " is damaged", scan->head.number);
    }
    while (at < scan->head.bytes && !inspect->stopped) {
        struct entry entry;
        size_t left = scan->head.bytes - at;
        size_t bytes = entry_decode(body + at, left, &entry);
        if (bytes != 0) {
            inspect_entry(inspect, &entry, 0);
        } else {
            inspect_damage(inspect, 0, "an entry is damaged");
            bytes = entry_length(body + at, left);
            if (bytes == 0) {
                return;
            }
        }
        at += bytes;
    }
}

static void
tell_image(struct inspect *inspect, const struct image *image, bool more)
{
    struct journal_scan scan = scan_of(image, inspect->summary.last);
    inspect->where =
        (struct inspect_where){.place = INSPECT_JOURNAL, .file = image->name};
    while (!inspect->stopped && journal_scan_next(&scan, more)) {
        uint64_t last = inspect->summary.last;
        if ((last != 0 && scan.head.number != last + 1) || scan.jumped) {
            inspect->where.offset = scan.offset;
            inspect->where.commit = scan.head.number;
            inspect_damage(inspect, 0,
                "what was between batch %" PRIu64 " and batch %" PRIu64
                " is damaged or lost",
                last, scan.head.number);
        }
        tell_batch(inspect, &scan);
        inspect->summary.last = scan.head.number;
    }
    if (!inspect->stopped && !more) {
        struct journal_scan tail = scan_of(image, inspect->summary.last);
        inspect->summary.torn_tail = journal_scan_next(&tail, true);
    }
}

static void
tell_journal(struct inspect *inspect, struct images *images)
{
    size_t used = 0;
    for (size_t i = 0; i < images->count; i++) {
        struct image *image = &images->at[i];
        struct journal_scan scan = scan_of(image, inspect->summary.applied);
        image->first = UINT64_MAX;
        if (image->usable && journal_scan_next(&scan, true)) {
            image->first = scan.head.number;
            used++;
        }
    }
    qsort(images->at, images->count, sizeof images->at[0], by_first);
    inspect->summary.last = inspect->summary.applied;
    for (size_t i = 0; i < used; i++) {
        tell_image(inspect, &images->at[i], i + 1 < used);
    }
}

static bool
is_locked(int directory)
{
    int file = openat(directory, "lock", O_RDONLY | O_CLOEXEC);
    if (file < 0) {
        return false;
    }
    bool locked = flock(file, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
    close(file);
    return locked;
}

/* False: the directory cannot be read. */
static bool
load_all(struct inspect *inspect, const char *path, struct images *images)
{
    DIR *directory = opendir(path);
    if (directory == NULL) {
        return false;
    }
    struct dirent *entry;
    while ((entry = readdir(directory)) != NULL) {
        if (journal_is_name(entry->d_name)) {
            load(inspect, dirfd(directory), entry->d_name, images);
        }
        inspect->summary.set_aside += strstr(entry->d_name, ".damaged") != NULL;
    }
    inspect->summary.in_use = is_locked(dirfd(directory));
    closedir(directory);
    return true;
}

/* Is there anything that this program can read? */
static bool
open_all(struct inspect *inspect, const char *directory, struct images *images,
    char *why, size_t why_size)
{
    char path[4096];
    if (!load_all(inspect, directory, images)) {
        snprintf(why, why_size, "%s: %s", directory, strerror(errno));
        return false;
    }
    for (size_t i = 0; i < images->count; i++) {
        if (!find_salt(inspect, &images->at[i])) {
            snprintf(why, why_size, "%s/%s: a later version wrote it",
                directory, images->at[i].name);
            return false;
        }
    }
    snprintf(path, sizeof path, "%s/" INSPECT_TABLES_NAME, directory);
    int error =
        base_lmdb_open(path, false, true, &inspect->base, why, why_size);
    if (error == EPROTO || (error == ENOENT && images->count == 0)) {
        return false;
    }
    if (error != 0) {
        inspect->where = (struct inspect_where){
            .place = INSPECT_TABLES, .file = INSPECT_TABLES_NAME};
        inspect_damage(inspect, 0, "%s", why);
    }
    return true;
}

bool
store_inspect(const char *directory, const struct inspect_hooks *hooks,
    struct inspect_summary *summary, char *why, size_t why_size)
{
    struct inspect inspect = {
        .hooks = hooks, .summary = {.version = JOURNAL_VERSION}};
    struct images images = {.count = 0};
    bool ok = open_all(&inspect, directory, &images, why, why_size);
    if (ok) {
        if (inspect.base != NULL) {
            inspect_tables(&inspect);
        }
        tell_journal(&inspect, &images);
        *summary = inspect.summary;
    }
    if (inspect.base != NULL) {
        inspect.base->close(inspect.base);
    }
    for (size_t i = 0; i < images.count; i++) {
        free(images.at[i].bytes);
    }
    free(inspect.first_seqs);
    return ok;
}
