/* SPDX-License-Identifier: MIT
 *
 * Reading the journal back; see journal.h. */
#include "journal.h"

#include "bytes.h"
#include "checksum.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TORN_MAGIC 0x4A544F52u /* "JTOR" */

static size_t
aligned(size_t offset)
{
    return (offset + 7) & ~(size_t)7;
}

/* A header above this number, at or behind `at`; SIZE_MAX: none. */
static size_t
find_head(const struct journal_scan *scan, size_t at, uint64_t above,
    struct journal_head *head)
{
    for (; at < scan->size && scan->size - at >= JOURNAL_HEAD_BYTES; at += 8) {
        /* 'J': the first byte of a batch. */
        if (scan->bytes[at] == 0x4A &&
            journal_head_decode(
                scan->bytes + at, scan->size - at, scan->salt, head) &&
            head->number > above) {
            return at;
        }
    }
    return SIZE_MAX;
}

bool
journal_scan_next(struct journal_scan *scan, bool tail)
{
    struct journal_head head;
    size_t at = find_head(scan, scan->at, scan->above, &head);
    if (at == SIZE_MAX) {
        return false;
    }
    scan->jumped = at != scan->at;
    scan->guessed = false;
    if (scan->jumped && head.number > scan->above + 1 &&
        at - scan->at > JOURNAL_HEAD_BYTES) {
        /* A batch whose header does not hold: what follows it is known. */
        scan->head = (struct journal_head){.number = scan->above + 1,
            .bytes = (uint32_t)(at - scan->at - JOURNAL_HEAD_BYTES)};
        scan->offset = scan->at;
        scan->whole = false;
        scan->jumped = false;
        scan->guessed = true;
        scan->above++;
        scan->at = at;
        return true;
    }
    const uint8_t *body = scan->bytes + at + JOURNAL_HEAD_BYTES;
    size_t left = scan->size - at - JOURNAL_HEAD_BYTES;
    scan->whole =
        head.bytes <= left && checksum(body, head.bytes) == head.checksum;
    size_t end = at + JOURNAL_HEAD_BYTES;
    if (scan->whole) {
        end = aligned(end + head.bytes);
    } else {
        /* Damaged if something later was written behind it, else the end of
         * what was synced. */
        struct journal_head later;
        size_t next = find_head(scan, end, head.number, &later);
        if (next == SIZE_MAX && !tail) {
            return false;
        }
        end = next == SIZE_MAX ? scan->size : next;
        size_t most = end - at - JOURNAL_HEAD_BYTES;
        head.bytes = head.bytes < most ? head.bytes : (uint32_t)most;
    }
    scan->head = head;
    scan->offset = at;
    scan->at = end;
    scan->above = head.number;
    return true;
}

/* ---- all files in the order of their batches ----------------------------- */

struct source {
    struct journal_file *file;
    struct chunk *chunk;  /* all its bytes */
    uint64_t first, last; /* numbers of batches; 0: it has none */
    size_t end;           /* of the last one */
    bool guessed;         /* the first number */
};

static void
damage(struct journal *journal, const struct journal_file *file,
    const char *format, uint64_t a, uint64_t b)
{
    char what[120];
    char text[200];
    /* One of the formats below. */
    snprintf(what, sizeof what, format, a, b);
    snprintf(text, sizeof text, "%s: %s", file->name, what);
    journal->damage(journal->arg, text);
}

static bool
is_zero(const uint8_t *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (bytes[i] != 0) {
            return false;
        }
    }
    return true;
}

/* The salt of a file whose header does not hold: what its first batch says. */
static bool
salt_of_batch(const struct source *source, uint64_t *salt)
{
    const struct chunk *chunk = source->chunk;
    struct journal_head head;
    if (chunk->used < JOURNAL_START + JOURNAL_HEAD_BYTES) {
        return false;
    }
    const uint8_t *batch = chunk->data + JOURNAL_START;
    *salt = get_u64(batch + 8);
    return journal_head_decode(
        batch, chunk->used - JOURNAL_START, *salt, &head);
}

/* 0: it has a salt; ENOENT: it holds nothing; EPROTO. */
static int
find_salt(struct journal *journal, struct source *source)
{
    struct journal_file *file = source->file;
    const struct chunk *chunk = source->chunk;
    int error = journal_file_head(chunk->data, chunk->used, &file->salt);
    if (error != EBADMSG) {
        return error;
    }
    size_t head = chunk->used < 32 ? chunk->used : 32;
    if (!file->damaged && is_zero(chunk->data + head, chunk->used - head)) {
        file->unfinished = true; /* the making of it was interrupted */
        return ENOENT;
    }
    file->damaged = true;
    if (salt_of_batch(source, &file->salt)) {
        damage(journal, file, "its header is damaged, batches are found", 0, 0);
        return 0;
    }
    damage(journal, file, "its header and its first batch are damaged", 0, 0);
    return ENOENT;
}

static int
load(struct journal *journal, struct chunk_pool *pool, struct source *source)
{
    struct journal_file *file = source->file;
    struct file_system *files = journal->files;
    source->chunk = chunk_new(pool, (size_t)file->size + 1);
    if (source->chunk == NULL) {
        return ENOMEM;
    }
    size_t got = 0;
    int error = files->read(
        files, file->file, source->chunk->data, (size_t)file->size, 0, &got);
    source->chunk->used = got;
    if (error != 0) {
        file->damaged = true;
        damage(journal, file, "reading it fails with error %" PRIu64,
            (uint64_t)error, 0);
    }
    return 0;
}

static struct journal_scan
scan_of(const struct source *source, uint64_t above)
{
    return (struct journal_scan){.bytes = source->chunk->data,
        .size = source->chunk->used,
        .salt = source->file->salt,
        .above = above,
        .at = JOURNAL_START};
}

/* Which numbers it has; nothing is given to anybody yet. */
static void
survey(struct source *source, uint64_t applied)
{
    struct journal_scan scan = scan_of(source, applied);
    while (journal_scan_next(&scan, false)) {
        /* One that is guessed may be far too low, and this file would come
         * before those that it follows. */
        if (source->first == 0 || source->guessed) {
            source->first = scan.head.number;
            source->guessed = scan.guessed;
        }
        source->last = scan.head.number;
        source->end = scan.at < scan.size ? scan.at : scan.size;
    }
    if (source->guessed && journal_scan_next(&scan, true)) {
        source->first = scan.head.number; /* it is torn, but has one */
    }
}

/* What can be read need not be on the disk: the last process may have been
 * killed before its sync returned, or after that failed, and then the system
 * shows bytes that it has given up writing. What is replayed is shown to
 * readers, so it is written once more, and synced. */
static int
harden(const struct journal *journal, const struct source *source)
{
    struct file_system *files = journal->files;
    int error = files->write(files, source->file->file,
        source->chunk->data + JOURNAL_START, source->end - JOURNAL_START,
        JOURNAL_START);
    return error != 0 ? error : files->sync(files, source->file->file);
}

static int
by_first(const void *a, const void *b)
{
    const struct source *first = a;
    const struct source *second = b;
    return first->first < second->first ? -1 : first->first > second->first;
}

/* `following`: number of the first batch of the next file; 0: it is the last
 * one. If it is not, its end must be whole. */
static bool
give(struct journal *journal, struct source *source, uint64_t applied,
    uint64_t following, journal_batch *batch, void *arg)
{
    struct journal_file *file = source->file;
    uint64_t last = journal->next - 1 > applied ? journal->next - 1 : applied;
    struct journal_scan scan = scan_of(source, last);
    while (journal_scan_next(&scan, following != 0)) {
        uint64_t number = scan.head.number;
        if (!scan.whole && following != 0 && number >= following) {
            break; /* there was no space for it, and its number is another's */
        }
        if (number != last + 1 && last != 0) {
            damage(journal, file,
                "batches %" PRIu64 " to %" PRIu64 " are missing", last + 1,
                number - 1);
            file->damaged = true;
        } else if (scan.jumped) {
            damage(journal, file,
                "what lies before batch %" PRIu64 " at %" PRIu64 " is damaged",
                number, scan.offset);
            file->damaged = true;
        }
        if (!scan.whole) {
            damage(journal, file, "batch %" PRIu64 " at %" PRIu64 " is damaged",
                number, scan.offset);
            file->damaged = true;
        }
        last = number;
        journal->next = number + 1;
        if (!batch(arg, number, source->chunk,
                scan.bytes + scan.offset + JOURNAL_HEAD_BYTES, scan.head.bytes,
                scan.whole)) {
            return false;
        }
    }
    return true;
}

/* A batch that was not whole when the power went was never answered, and its
 * number is given to another one now. Should the power go again before what
 * lies before it is in the tables, the file goes on being read: it must not be
 * taken for damage then, and not for the batch that has its number. */
static int
forget_tail(struct journal *journal, const struct source *source)
{
    struct file_system *files = journal->files;
    struct file *file = source->file->file;
    struct journal_scan scan = scan_of(source, journal->next - 1);
    uint8_t magic[4];
    if (!journal_scan_next(&scan, true)) {
        return 0;
    }
    put_u32(magic, TORN_MAGIC);
    int error = files->write(files, file, magic, sizeof magic, scan.offset);
    return error == 0 ? files->sync(files, file) : error;
}

/* Files that were never used would become too many one day. */
static void
remove_unfinished(struct journal *journal)
{
    size_t kept = 0;
    for (size_t i = 0; i < journal->count; i++) {
        struct journal_file *file = &journal->at[i];
        if (file->unfinished) {
            journal->files->close(journal->files, file->file);
            journal->files->unlink(journal->files, file->name);
        } else {
            journal->at[kept++] = *file;
        }
    }
    journal->count = kept;
}

int
journal_replay(struct journal *journal, struct chunk_pool *pool,
    uint64_t applied, journal_batch *batch, void *arg)
{
    struct source sources[JOURNAL_FILES_MAX] = {{.file = NULL}};
    size_t count = 0;
    int error = 0;
    journal->next = applied + 1;
    for (size_t i = 0; i < journal->count && error == 0; i++) {
        struct source *source = &sources[count];
        *source = (struct source){.file = &journal->at[i]};
        error = load(journal, pool, source);
        if (error == 0) {
            error = find_salt(journal, source);
        }
        if (error == 0) {
            survey(source, applied);
        }
        if (error == ENOENT || (error == 0 && source->first == 0)) {
            /* Not to be used again without a header. */
            bool usable = error == 0 && !source->file->damaged;
            source->file->state = usable ? JOURNAL_FREE : JOURNAL_FULL;
            source->file->damaged |= !usable && !source->file->unfinished;
            chunk_unref(pool, source->chunk);
            error = 0;
        } else if (error == 0) {
            count++;
        } else {
            chunk_unref(pool, source->chunk);
        }
    }
    qsort(sources, count, sizeof sources[0], by_first);
    for (size_t i = 0; i < count && error == 0; i++) {
        error = harden(journal, &sources[i]);
    }
    for (size_t i = 0; i < count; i++) {
        if (error == 0 &&
            !give(journal, &sources[i], applied,
                i + 1 < count ? sources[i + 1].first : 0, batch, arg)) {
            error = ENOMEM;
        }
        if (error == 0 && i + 1 == count) {
            error = forget_tail(journal, &sources[i]);
        }
        chunk_unref(pool, sources[i].chunk);
    }
    remove_unfinished(journal);
    return error;
}
