/* SPDX-License-Identifier: MIT
 *
 * The journal looked at from outside, and all of a store; see inspect.h.
 *
 * The journal is copied first and the tables are read then, so that what a
 * running broker moves from one to the other meanwhile is seen at least once;
 * records are told once all the same (inspect.c). */
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
    uint64_t first; /* number of its first batch that is not in the tables; */
    uint64_t last;  /* and of its last one that is whole, 0 if it has none */
    bool guessed;   /* the first number: its header does not hold */
    bool usable;
    bool no_head; /* its header is damaged */
    int error;    /* of reading it */
};

struct images {
    struct image at[JOURNAL_FILES_MAX];
    size_t count;
};

static int
read_all(int file, struct image *image)
{
    struct stat info;
    if (fstat(file, &info) != 0) {
        return errno;
    }
    image->bytes = malloc((size_t)info.st_size + 1);
    if (image->bytes == NULL) {
        return ENOMEM;
    }
    while (image->size < (size_t)info.st_size) {
        ssize_t n = pread(file, image->bytes + image->size,
            (size_t)info.st_size - image->size, (off_t)image->size);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return n < 0 ? errno : 0;
        }
        image->size += (size_t)n;
    }
    return 0;
}

static bool
is_zero(const struct image *image)
{
    for (size_t i = 0; i < image->size; i++) {
        if (image->bytes[i] != 0) {
            return false;
        }
    }
    return true;
}

/* False: a later version wrote it. */
static bool
find_salt(struct image *image)
{
    struct journal_head head;
    int error = journal_file_head(image->bytes, image->size, &image->salt);
    image->usable = error == 0;
    if (error == EBADMSG && !is_zero(image)) {
        image->no_head = true;
        if (image->size > JOURNAL_START + JOURNAL_HEAD_BYTES) {
            const uint8_t *batch = image->bytes + JOURNAL_START;
            image->salt = get_u64(batch + 8);
            image->usable = journal_head_decode(
                batch, image->size - JOURNAL_START, image->salt, &head);
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

/* Which batches it has beyond those of the tables. */
static void
survey(struct image *image, uint64_t applied)
{
    struct journal_scan scan = scan_of(image, applied);
    image->first = UINT64_MAX;
    image->last = 0;
    image->guessed = false;
    while (image->usable && journal_scan_next(&scan, true)) {
        /* One that is guessed may be far too low. */
        if (image->first == UINT64_MAX || image->guessed) {
            image->first = scan.head.number;
            image->guessed = scan.guessed;
        }
        if (scan.whole) {
            image->last = scan.head.number;
        }
    }
}

/* Copy the file. It is not kept if everything in it is in the tables already.
 * False: a later version wrote it. */
static bool
load(int directory, struct image *image, uint64_t applied)
{
    int file = openat(directory, image->name, O_RDONLY | O_CLOEXEC);
    image->size = 0;
    image->no_head = image->usable = false;
    image->error = file < 0 ? errno : read_all(file, image);
    if (file >= 0) {
        close(file);
    }
    bool ok = image->bytes == NULL || find_salt(image);
    survey(image, applied);
    if (image->first == UINT64_MAX) {
        free(image->bytes);
        image->bytes = NULL;
    }
    return ok;
}

static void
unload(struct images *images)
{
    for (size_t i = 0; i < images->count; i++) {
        free(images->at[i].bytes);
        images->at[i].bytes = NULL;
    }
}

static int
by_first(const void *a, const void *b)
{
    const struct image *first = a;
    const struct image *second = b;
    return first->first < second->first ? -1 : first->first > second->first;
}

/* ---- telling ------------------------------------------------------------- */

static void
tell_batch(struct inspect *inspect, const struct journal_scan *scan)
{
    const uint8_t *body = scan->bytes + scan->offset + JOURNAL_HEAD_BYTES;
    size_t at = 0;
    inspect->summary.batches++;
    if (inspect->summary.first_batch == 0) {
        inspect->summary.first_batch = scan->head.number;
    }
    if (!scan->whole) {
        inspect_damage(
            inspect, 0, "batch %" PRIu64 " is damaged", scan->head.number);
    }
    while (at < scan->head.bytes && !inspect->stopped) {
        struct entry entry;
        size_t left = scan->head.bytes - at;
        size_t bytes = entry_decode(body + at, left, &entry);
        if (bytes != 0) {
            inspect_entry(inspect, &entry);
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

/* `following`: number of the first batch of the next file, 0: it is the last
 * one. If it is not, its end must be whole. Nothing above `end`. */
static void
tell_image(struct inspect *inspect, const struct image *image,
    uint64_t following, uint64_t end)
{
    bool more = following != 0;
    struct journal_scan scan = scan_of(image, inspect->summary.last);
    inspect->where =
        (struct inspect_where){.place = INSPECT_JOURNAL, .file = image->name};
    while (!inspect->stopped && journal_scan_next(&scan, more) &&
           scan.head.number <= end) {
        uint64_t last = inspect->summary.last;
        if (!scan.whole && more && scan.head.number >= following) {
            break; /* there was no space for it, and its number is another's */
        }
        inspect->where.offset = scan.offset;
        inspect->where.commit = scan.head.number;
        if ((last != 0 && scan.head.number != last + 1) || scan.jumped) {
            inspect_damage(inspect, 0,
                "what was between batch %" PRIu64 " and batch %" PRIu64
                " is damaged or lost",
                last, scan.head.number);
        }
        tell_batch(inspect, &scan);
        inspect->summary.last = scan.head.number;
    }
    if (!inspect->stopped && !more && end == UINT64_MAX) {
        struct journal_scan tail = scan_of(image, inspect->summary.last);
        inspect->summary.torn_tail = journal_scan_next(&tail, true);
    }
}

static void
tell_journal(struct inspect *inspect, struct images *images, uint64_t end)
{
    size_t used = 0;
    for (size_t i = 0; i < images->count; i++) {
        struct image *image = &images->at[i];
        inspect->where = (struct inspect_where){
            .place = INSPECT_JOURNAL, .file = image->name};
        if (image->error == ENOENT && inspect->summary.in_use) {
            continue; /* the broker has set it aside meanwhile */
        }
        if (image->error != 0) {
            inspect_damage(
                inspect, 0, "it cannot be read: %s", strerror(image->error));
        } else if (image->no_head) {
            inspect_damage(inspect, 0, "its header is damaged");
        }
        inspect->summary.journal_bytes += image->size;
        if (image->bytes != NULL) {
            survey(image, inspect->summary.applied);
        }
        used += image->bytes != NULL && image->first != UINT64_MAX;
    }
    qsort(images->at, images->count, sizeof images->at[0], by_first);
    inspect->summary.journal_files = (uint32_t)images->count;
    inspect->summary.last = inspect->summary.applied;
    for (size_t i = 0; i < used; i++) {
        tell_image(inspect, &images->at[i],
            i + 1 < used ? images->at[i + 1].first : 0, end);
    }
}

/* ---- the directory ------------------------------------------------------- */

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

static void
tell_file(struct inspect *inspect, int directory, const char *name)
{
    const struct inspect_hooks *hooks = inspect->hooks;
    bool set_aside = strstr(name, ".damaged") != NULL;
    struct stat info;
    inspect->summary.set_aside += set_aside;
    if (hooks->file != NULL &&
        (set_aside || journal_is_name(name) || strcmp(name, "lock") == 0 ||
            strncmp(name, INSPECT_TABLES_NAME,
                sizeof INSPECT_TABLES_NAME - 1) == 0) &&
        fstatat(directory, name, &info, 0) == 0) {
        inspect->stopped |=
            !hooks->file(hooks->arg, name, (uint64_t)info.st_size, set_aside);
    }
}

static void
list(struct inspect *inspect, DIR *directory, struct images *images)
{
    struct dirent *entry;
    while ((entry = readdir(directory)) != NULL) {
        if (journal_is_name(entry->d_name) &&
            images->count < JOURNAL_FILES_MAX) {
            struct image *image = &images->at[images->count++];
            *image = (struct image){.size = 0};
            memcpy(image->name, entry->d_name, strlen(entry->d_name) + 1);
        }
        tell_file(inspect, dirfd(directory), entry->d_name);
    }
}

/* With a broker running the files are not copied at one moment, so nothing is
 * told above what was there when the first copy began: of that no part is
 * written any more. *end: the last batch to be told. */
static bool
load_all(struct inspect *inspect, int directory, struct images *images,
    uint64_t *end, char *why, size_t why_size)
{
    uint64_t applied = 0;
    *end = 0;
    inspect->summary.in_use = is_locked(directory);
    if (inspect->pages != NULL) {
        (void)inspect_applied(inspect, &applied);
    }
    for (int round = inspect->summary.in_use ? 0 : 1; round < 2; round++) {
        unload(images);
        for (size_t i = 0; i < images->count; i++) {
            struct image *image = &images->at[i];
            if (!load(directory, image, applied)) {
                snprintf(
                    why, why_size, "%s: a later version wrote it", image->name);
                return false;
            }
            if (image->error == EACCES || image->error == EPERM) {
                snprintf(why, why_size, "%s: %s", image->name,
                    strerror(image->error));
                return false;
            }
            if (round == 0 && image->last > *end) {
                *end = image->last;
            }
        }
    }
    if (!inspect->summary.in_use) {
        *end = UINT64_MAX;
    }
    return true;
}

/* What cannot be opened is damage, unless it is not ours to read. */
static bool
open_tables(struct inspect *inspect, const char *directory, bool has_journal,
    char *why, size_t why_size)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/" INSPECT_TABLES_NAME, directory);
    int error = pages_open(path, &inspect->pages, why, why_size);
    if (error == EPROTO || error == EACCES || error == EPERM) {
        return false;
    }
    if (error == ENOENT && !has_journal) {
        snprintf(why, why_size,
            "%s: it is no store: it has neither a journal nor tables",
            directory);
        return false;
    }
    inspect->summary.has_tables = error == 0;
    if (error != 0 && error != ENOENT) {
        inspect->where = (struct inspect_where){
            .place = INSPECT_TABLES, .file = INSPECT_TABLES_NAME};
        inspect_damage(inspect, 0, "%s", why);
    }
    return true;
}

static bool
inspect_directory(struct inspect *inspect, const char *path, DIR *directory,
    char *why, size_t why_size)
{
    struct images images = {.count = 0};
    uint64_t end;
    list(inspect, directory, &images);
    bool ok = open_tables(inspect, path, images.count > 0, why, why_size) &&
              load_all(inspect, dirfd(directory), &images, &end, why, why_size);
    if (ok && inspect->pages != NULL) {
        inspect_tables(inspect);
    }
    if (ok) {
        tell_journal(inspect, &images, end);
    }
    unload(&images);
    return ok;
}

bool
store_inspect(const char *path, const struct inspect_hooks *hooks,
    struct inspect_summary *summary, char *why, size_t why_size)
{
    struct inspect inspect = {
        .hooks = hooks, .summary = {.version = JOURNAL_VERSION}};
    DIR *directory = opendir(path);
    if (directory == NULL) {
        snprintf(why, why_size, "%s: %s", path, strerror(errno));
        return false;
    }
    bool ok = inspect_directory(&inspect, path, directory, why, why_size);
    if (ok) {
        *summary = inspect.summary;
    }
    pages_close(inspect.pages);
    closedir(directory);
    free(inspect.streams);
    return ok;
}
