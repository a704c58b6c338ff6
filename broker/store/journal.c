/* SPDX-License-Identifier: MIT
 *
 * Files of the journal, and writing to them; see journal.h. Reading them back
 * is in journal_replay.c. */
#include "journal.h"

#include "bytes.h"
#include "checksum.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define FILE_MAGIC  "brokerJ\n"
#define BATCH_MAGIC 0x4A424154u /* "JBAT" */
#define ZEROS_BYTES ((size_t)1 << 20)

static bool
has_number(const char *name)
{
    return strncmp(name, "journal-", 8) == 0 &&
           strspn(name + 8, "0123456789") == 8;
}

bool
journal_is_name(const char *name)
{
    return has_number(name) && name[16] == 0;
}

int
journal_file_head(const uint8_t *src, size_t len, uint64_t *salt)
{
    if (len < 32 || memcmp(src, FILE_MAGIC, 8) != 0 ||
        checksum(src, 24) != get_u32(src + 24)) {
        return EBADMSG;
    }
    if (get_u32(src + 8) != JOURNAL_VERSION) {
        return EPROTO;
    }
    *salt = get_u64(src + 16);
    return 0;
}

bool
journal_head_decode(
    const uint8_t *src, size_t len, uint64_t salt, struct journal_head *out)
{
    if (len < JOURNAL_HEAD_BYTES || get_u32(src) != BATCH_MAGIC ||
        get_u64(src + 8) != salt ||
        get_u32(src + 4) != checksum(src + 8, JOURNAL_HEAD_BYTES - 8)) {
        return false;
    }
    *out = (struct journal_head){.number = get_u64(src + 16),
        .bytes = get_u32(src + 24),
        .checksum = get_u32(src + 28),
        .entries = get_u32(src + 32)};
    return true;
}

struct names {
    struct journal *journal;
    int error;
};

static void
add_name(void *arg, const char *name)
{
    struct names *names = arg;
    struct journal *journal = names->journal;
    if (!has_number(name)) {
        return;
    }
    /* Of those that were set aside as well: the name is not used again. */
    uint32_t number = (uint32_t)strtoul(name + 8, NULL, 10);
    if (number >= journal->next_name) {
        journal->next_name = number + 1;
    }
    if (!journal_is_name(name)) {
        return;
    }
    if (journal->count == JOURNAL_FILES_MAX) {
        names->error = EMFILE;
        return;
    }
    struct journal_file *file = &journal->at[journal->count++];
    *file = (struct journal_file){.state = JOURNAL_FULL};
    memcpy(file->name, name, 17);
}

int
journal_open(struct journal *journal)
{
    struct file_system *files = journal->files;
    journal->count = 0;
    journal->active = NULL;
    journal->next = 1;
    struct names names = {.journal = journal};
    int error = files->list(files, add_name, &names);
    if (error == 0) {
        error = names.error;
    }
    for (size_t i = 0; error == 0 && i < journal->count; i++) {
        struct journal_file *file = &journal->at[i];
        error = files->open(files, file->name, false, &file->file);
        if (error == 0) {
            error = files->size(files, file->file, &file->size);
        }
    }
    return error;
}

void
journal_close(struct journal *journal)
{
    for (size_t i = 0; i < journal->count; i++) {
        if (journal->at[i].file != NULL) {
            journal->files->close(journal->files, journal->at[i].file);
        }
    }
    journal->count = 0;
    journal->active = NULL;
}

static int
write_zeros(const struct journal *journal, struct file *file)
{
    struct file_system *files = journal->files;
    uint8_t *zeros = calloc(1, ZEROS_BYTES);
    if (zeros == NULL) {
        return ENOMEM;
    }
    int error = 0;
    for (uint64_t at = 0; at < journal->file_bytes && error == 0;) {
        uint64_t left = journal->file_bytes - at;
        size_t piece = left < ZEROS_BYTES ? (size_t)left : ZEROS_BYTES;
        error = files->write(files, file, zeros, piece, at);
        at += piece;
    }
    free(zeros);
    return error;
}

/* The header comes last: a file without one is unfinished. */
static int
write_head(struct file_system *files, struct journal_file *file)
{
    uint8_t head[32] = {0};
    if (getrandom(&file->salt, sizeof file->salt, 0) !=
        (ssize_t)sizeof file->salt) {
        return EIO;
    }
    memcpy(head, FILE_MAGIC, 8);
    put_u32(head + 8, JOURNAL_VERSION);
    put_u64(head + 16, file->salt);
    put_u32(head + 24, checksum(head, 24));
    int error = files->sync(files, file->file);
    if (error == 0) {
        error = files->write(files, file->file, head, sizeof head, 0);
    }
    if (error == 0) {
        error = files->sync(files, file->file);
    }
    return error == 0 ? files->sync_names(files) : error;
}

uint32_t
journal_take_name(struct journal *journal)
{
    return journal->next_name++ % 100000000u;
}

int
journal_make(
    const struct journal *journal, uint32_t name, struct journal_file *file)
{
    struct file_system *files = journal->files;
    *file = (struct journal_file){
        .state = JOURNAL_FREE, .size = journal->file_bytes};
    snprintf(file->name, sizeof file->name, "journal-%08" PRIu32, name);
    int error = files->open(files, file->name, true, &file->file);
    if (error != 0) {
        return error;
    }
    error = write_zeros(journal, file->file);
    if (error == 0) {
        error = write_head(files, file);
    }
    if (error != 0) {
        files->close(files, file->file);
        files->unlink(files, file->name);
    }
    return error;
}

bool
journal_add(struct journal *journal, const struct journal_file *file)
{
    if (journal->count == JOURNAL_FILES_MAX) {
        return false;
    }
    journal->at[journal->count++] = *file;
    return true;
}

static struct journal_file *
free_file(const struct journal *journal)
{
    for (size_t i = 0; i < journal->count; i++) {
        if (journal->at[i].state == JOURNAL_FREE) {
            return (struct journal_file *)&journal->at[i];
        }
    }
    return NULL;
}

bool
journal_has_free(const struct journal *journal)
{
    return free_file(journal) != NULL;
}

bool
journal_fits(const struct journal *journal, size_t bytes)
{
    return journal->active != NULL &&
           journal->offset <= journal->active->size &&
           bytes <= journal->active->size - journal->offset;
}

void
journal_switch(struct journal *journal)
{
    if (journal->active != NULL) {
        journal->active->state = JOURNAL_FULL;
    }
    journal->active = free_file(journal);
    if (journal->active != NULL) {
        journal->active->state = JOURNAL_ACTIVE;
    }
    journal->offset = JOURNAL_START;
}

/* Under a name that nothing reads, and nothing overwrites. */
static void
set_aside(struct journal *journal, struct journal_file *file)
{
    struct file_system *files = journal->files;
    char text[160];
    char name[JOURNAL_NAME_BYTES + 16];
    snprintf(name, sizeof name, "%s.damaged", file->name);
    files->close(files, file->file);
    file->file = NULL;
    int error = files->rename(files, file->name, name);
    if (error == 0) {
        error = files->sync_names(files);
    }
    snprintf(text, sizeof text, "%s is set aside as %s%s%s", file->name, name,
        error == 0 ? "" : ": ", error == 0 ? "" : strerror(error));
    journal->damage(journal->arg, text);
    journal->set_aside++;
}

void
journal_release(struct journal *journal)
{
    size_t active = (size_t)(journal->active - journal->at);
    bool has_active = journal->active != NULL;
    size_t kept = 0;
    for (size_t i = 0; i < journal->count; i++) {
        struct journal_file *file = &journal->at[i];
        if (file->state == JOURNAL_FULL) {
            if (file->damaged) {
                set_aside(journal, file);
                continue;
            }
            file->state = JOURNAL_FREE;
        }
        if (has_active && i == active) {
            journal->active = &journal->at[kept];
        }
        journal->at[kept++] = *file;
    }
    journal->count = kept;
}

uint64_t
journal_bytes(const struct journal *journal)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < journal->count; i++) {
        bytes += journal->at[i].size;
    }
    return bytes;
}

struct journal_place
journal_next_place(const struct journal *journal)
{
    return (struct journal_place){.files = journal->files,
        .file = journal->active->file,
        .salt = journal->active->salt,
        .offset = journal->offset,
        .number = journal->next};
}

int
journal_write(const struct journal_place *place, uint8_t *batch, size_t bytes,
    uint32_t entries, bool *sync_failed)
{
    struct file_system *files = place->files;
    size_t body = bytes - JOURNAL_HEAD_BYTES;
    *sync_failed = false;
    put_u32(batch, BATCH_MAGIC);
    put_u64(batch + 8, place->salt);
    put_u64(batch + 16, place->number);
    put_u32(batch + 24, (uint32_t)body);
    put_u32(batch + 28, checksum(batch + JOURNAL_HEAD_BYTES, body));
    put_u32(batch + 32, entries);
    put_u32(batch + 36, 0);
    put_u32(batch + 4, checksum(batch + 8, JOURNAL_HEAD_BYTES - 8));
    int error = files->write(files, place->file, batch, bytes, place->offset);
    if (error == 0) {
        error = files->sync(files, place->file);
        *sync_failed = error != 0;
    }
    if (error != 0) {
        /* It is refused, so it should not be found, whole, by the next replay.
         * No more than an attempt. */
        memset(batch, 0, JOURNAL_HEAD_BYTES);
        files->write(
            files, place->file, batch, JOURNAL_HEAD_BYTES, place->offset);
    }
    return error;
}

void
journal_written(struct journal *journal, size_t bytes)
{
    journal->next++;
    journal->offset = (journal->offset + bytes + 7) & ~(uint64_t)7;
    if (journal->offset > journal->active->size) {
        journal->active->size = journal->offset;
    }
}
