/* SPDX-License-Identifier: MIT
 *
 * The inside of consumers, for consumers.c and consumer_*.c only; see
 * consumers.h.
 */
#ifndef BROKER_CORE_CONSUMERS_INTERNAL_H
#define BROKER_CORE_CONSUMERS_INTERNAL_H

#include "consumers.h"
#include "deadline.h"
#include "output.h"
#include "table.h"

#include "store.h"

#define CONSUMER_PAUSE_MS 10u   /* where memory was out or the store is busy */
#define CONSUMER_RETRY_MS 1000u /* where the store has failed */
/* Redeliveries that are fetched together. */
#define AGAIN_MAX 64u
/* Reads of all consumers under way at a time. */
#define CONSUMER_READS_MAX 64u

TAILQ_HEAD(cursor_list, cursor);
TAILQ_HEAD(seat_list, seat);
TAILQ_HEAD(change_queue, change);

/* A stream, as far as consumers read it. */
struct source {
    LIST_ENTRY(source) link;
    struct consumers *consumers;
    uint32_t stream;
    uint32_t cursors;           /* of it */
    struct cursor_list waiting; /* at its end, and would take more */
    bool is_following;          /* a read waits there too, */
    uint64_t from;              /* from here on */
};

enum reading {
    READ_NOTHING,
    READ_NEW,
    READ_AGAIN,
    READ_DEAD,
};

/* A dead letter on its way: fetched, stored if its topic is captured, and
 * routed. */
enum letter_step {
    DEAD_NONE,
    DEAD_FETCHING,
    DEAD_STORING,
    DEAD_ROUTING,
};
struct dead_letter {
    enum letter_step step;
    uint64_t sequence;
    uint32_t deliveries;
    struct output_run frame;
    bool is_stored;
};

/* A durable consumer. */
struct cursor {
    struct table_link by_name;
    TAILQ_ENTRY(cursor) link;    /* of all, or of those that are ending */
    TAILQ_ENTRY(cursor) busy;    /* there is something to be done */
    TAILQ_ENTRY(cursor) waiting; /* at the end of its source */
    struct consumers *consumers;
    struct source *source;
    struct consumer *state;
    struct seat_list seats; /* in the order of coming */
    struct deadline deadline;
    struct broker_bytes name, stream;
    uint32_t calls;           /* of the store, whose callbacks are to come */
    uint32_t least_max_bytes; /* of the seats */
    bool is_busy, is_waiting;
    bool is_known;     /* it has been added, or loaded */
    bool is_ending;    /* it is no more, but callbacks are to come */
    bool is_to_forget; /* and its values are to be deleted */
    bool is_saving;    /* a commit with its cursor is under way */
    bool prefers_new;  /* new messages are read before those to go again */
    enum reading reading;
    uint64_t read_from;
    uint64_t pause_ms;         /* nothing is asked of the store before */
    uint64_t bytes_each;       /* that are read for a message that is given */
    uint64_t again[AGAIN_MAX]; /* sequences being fetched, rising */
    uint32_t again_count;
    struct dead_letter dead;
    const char *trouble;
    uint8_t text[];
};

struct consumers {
    struct core *core;
    struct table by_name;
    struct cursor_list all, busy, ending;
    struct seat_list ended; /* seats whose attachments are to be told */
    LIST_HEAD(, source) sources;
    struct deadline_heap deadlines;
    struct change_queue changes; /* the first one is under way */
    struct block *block;         /* what is given out is copied into */
    uint8_t *scratch;            /* to save a cursor into */
    size_t scratch_bytes;
    uint64_t seed;
    uint64_t count;
    uint64_t seats;
    uint32_t reads;    /* under way */
    uint64_t unknown;  /* values that could not be read */
    uint64_t retry_ms; /* UINT64_MAX: nothing is to be tried again */
    uint64_t judge_ms; /* no deadline for acknowledging is judged before */
    bool has_slept;    /* that is why */
    uint64_t past[CONSUMER_COUNTERS]; /* of those that are no more */
    bool scanning, scanned, scan_failed;
};

/* ---- consumers.c --------------------------------------------------------- */

struct cursor *cursor_find(
    const struct consumers *consumers, struct broker_bytes name);
/* In the table, but not known yet. NULL if memory is out. */
struct cursor *cursor_new(struct consumers *consumers, struct broker_bytes name,
    struct broker_bytes stream, uint32_t number,
    const struct consumer_settings *settings);
/* It is no more: seats end with this status. If `forgets`, its values are
 * deleted too. */
void cursor_end(struct cursor *cursor, enum broker_status status, bool forgets);
/* There is something to be done. */
void cursor_touch(struct cursor *cursor);
/* Nothing is asked of the store for so long. */
void cursor_pause(struct cursor *cursor, uint64_t ms, const char *trouble);
/* A callback of the store has come; false: the cursor has ended, and may be
 * freed by this. */
bool cursor_answered(struct cursor *cursor);
/* Without telling the store. */
void cursors_drop_all(struct consumers *consumers);

/* ---- consumer_store.c ---------------------------------------------------- */

/* The cursor as a value to be put; `stored` as for consumer_save(). False:
 * memory is out. The value is valid until the next call. */
bool cursor_value(struct cursor *cursor, const uint64_t *stored,
    size_t stored_count, struct store_value *value, uint8_t key[STORE_KEY_MAX]);
/* What it is; NULL if memory is out; free(3) frees it. */
uint8_t *cursor_definition(const struct cursor *cursor, size_t *bytes);

#define CURSOR_KEY_DEFINITION 0u
#define CURSOR_KEY_STATE      1u
size_t cursor_key(
    struct broker_bytes name, uint8_t kind, uint8_t key[STORE_KEY_MAX]);

/* Load them all. Returns whether that is done. */
bool consumers_scan(struct consumers *consumers);
/* Put the cursor, if it has changed and is not being put. */
void cursor_save(struct cursor *cursor);
/* Delete the values of those that have ended. False: it could not; again
 * later. */
bool consumers_forget_ended(struct consumers *consumers);

/* ---- consumer_feed.c ----------------------------------------------------- */

/* Read what is wanted, if nothing is being read. */
void feed_read(struct cursor *cursor);
/* No cursor is at this source any more. */
void source_leave(struct cursor *cursor);
struct source *source_of(struct consumers *consumers, uint32_t stream);
void cursor_stop_waiting(struct cursor *cursor);

/* ---- consumer_seats.c ---------------------------------------------------- */

/* The seat may have what its room, and its turn, allow. */
void seat_set_window(struct seat *seat);
/* One has left. */
void seats_fewer(struct consumers *consumers);
/* Tell attachments whose consumer is no more. False: memory is out. */
bool seats_write_ended(struct consumers *consumers);

/* ---- consumer_dead.c ----------------------------------------------------- */

/* Is there a dead letter to be fetched? Begins it. */
bool dead_begin(struct cursor *cursor);
/* It was read; `batch` may have failed. */
void dead_on_batch(struct cursor *cursor, const struct store_batch *batch);
/* Go on with what had no memory. */
void dead_go_on(struct cursor *cursor);
void dead_drop(struct cursor *cursor);

/* ---- consumer_changes.c -------------------------------------------------- */

/* Go on with what was asked for. False: it could not; again later. */
bool changes_run(struct consumers *consumers);
void changes_drop_all(struct consumers *consumers);

#endif
