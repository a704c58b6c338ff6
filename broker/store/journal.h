/* SPDX-License-Identifier: MIT
 *
 * The journal: batches of entries in a few files that are filled with zeros
 * once and then used again and again (proto/STORE.md section 4). A batch has a
 * number, the last one's plus 1; what a file held before is told by its lower
 * numbers. Replay ends at the first batch that is not whole or not the next,
 * unless a later one is found behind it: then it is damage, and both sides of
 * it are kept.
 *
 * A file is free, active (batches are appended), or full: in use until what it
 * holds is in the tables. What `journal_write` is given must be in one piece,
 * beginning with JOURNAL_HEAD_BYTES for the header.
 *
 * The store's lock is held but where it says otherwise; one thread writes.
 */
#ifndef BROKER_STORE_JOURNAL_H
#define BROKER_STORE_JOURNAL_H

#include "chunk.h"
#include "file.h"

#define JOURNAL_VERSION    1u
#define JOURNAL_HEAD_BYTES 40u   /* of a batch */
#define JOURNAL_START      4096u /* of the first batch in a file */
#define JOURNAL_FILES_MAX  16u
#define JOURNAL_NAME_BYTES 32u

enum journal_state { JOURNAL_FREE, JOURNAL_ACTIVE, JOURNAL_FULL };

struct journal_file {
    enum journal_state state;
    struct file *file;
    uint64_t salt;
    uint64_t size;
    bool damaged;    /* set aside once its batches are in the tables */
    bool unfinished; /* never used; replay removes it */
    char name[JOURNAL_NAME_BYTES];
};

struct journal {
    struct file_system *files;
    struct journal_file at[JOURNAL_FILES_MAX];
    size_t count;
    struct journal_file *active; /* NULL: none */
    uint64_t offset;             /* of the next batch in it */
    uint64_t next;               /* number of the next batch */
    uint64_t file_bytes;
    uint32_t next_name;
    uint32_t set_aside; /* files */
    /* One line for the log, when something is wrong. */
    void (*damage)(void *arg, const char *text);
    void *arg;
};

/* What was found in one batch. `whole`: its checksum holds; otherwise take what
 * holds of it. False: stop. */
typedef bool journal_batch(void *arg, uint64_t number, struct chunk *chunk,
    const uint8_t *body, size_t bytes, bool whole);

/* Find the files. 0; a number of errno(3); EPROTO: a later version wrote it. */
int journal_open(struct journal *journal);
void journal_close(struct journal *journal);

/* Give every batch above `applied` in the order of numbers. All files are full
 * afterwards, or free if they held none. */
int journal_replay(struct journal *journal, struct chunk_pool *pool,
    uint64_t applied, journal_batch *batch, void *arg);

/* Make one more file, durably, under the name with this number; takes long, so
 * without the lock. Then add it, with it; false: there are too many. */
uint32_t journal_take_name(struct journal *journal);
int journal_make(
    const struct journal *journal, uint32_t name, struct journal_file *file);
bool journal_add(struct journal *journal, const struct journal_file *file);
bool journal_has_free(const struct journal *journal);
/* Does a batch of so many bytes, header included, fit into the active file? */
bool journal_fits(const struct journal *journal, size_t bytes);
/* The active file is full, a free one becomes active; NULL if there is none. */
void journal_switch(struct journal *journal);
/* Full files are free; the names of damaged ones are changed. */
void journal_release(struct journal *journal);
uint64_t journal_bytes(const struct journal *journal);

/* Where the next batch goes. */
struct journal_place {
    struct file_system *files;
    struct file *file;
    uint64_t salt, offset, number;
};
struct journal_place journal_next_place(const struct journal *journal);
/* Without the lock: write the batch there and sync it. *sync_failed: the write
 * went well. */
int journal_write(const struct journal_place *place, uint8_t *batch,
    size_t bytes, uint32_t entries, bool *sync_failed);
/* That went well: the place and the number are used up. */
void journal_written(struct journal *journal, size_t bytes);

/* ---- for replay and inspection ------------------------------------------- */

struct journal_head {
    uint64_t number;
    uint32_t bytes; /* of the body */
    uint32_t checksum;
    uint32_t entries;
};

/* The header of a file: its salt. 0; EPROTO: a later version; EBADMSG. */
int journal_file_head(const uint8_t *src, size_t len, uint64_t *salt);
/* The header of a batch at `src`, of a file with this salt. */
bool journal_head_decode(
    const uint8_t *src, size_t len, uint64_t salt, struct journal_head *out);

/* Bytes of a file are looked through in this way: */
struct journal_scan {
    const uint8_t *bytes;
    size_t size;
    uint64_t salt;
    uint64_t above; /* batches with lower numbers are old */
    size_t at;
    /* The batch that was found: */
    struct journal_head head;
    size_t offset;
    bool whole;
    bool jumped;  /* something that does not hold lies before it */
    bool guessed; /* its header does not hold, and so its number is not known */
};
/* The next batch; false: no more. A batch that is not whole is only given if a
 * later one follows in this file or, with `tail`, at the end too. */
bool journal_scan_next(struct journal_scan *scan, bool tail);

/* What names of journal files look like. */
bool journal_is_name(const char *name);

#endif
