/* SPDX-License-Identifier: MIT
 *
 * A durable consumer: a named cursor on a stream, and who works on what it
 * delivers. It decides which message goes to which connection, when it is
 * delivered again, and when it is done with; it never sees a message. Promise
 * G4: what was offered is delivered until it is acknowledged, dead-lettered or
 * gone (trimmed, expired, damaged), and each end is counted.
 *
 * Pure: no input or output, no clock (`now_ms` comes in), no callbacks. Must
 * not know: sessions, sockets, frames, the store. One thread. Memory is taken
 * while messages are offered and by attach; if it is out, nothing is taken and
 * nothing is lost. Everything after that (acknowledging, expiring, detaching,
 * resetting) allocates nothing and cannot fail.
 *
 * Words
 *   sequence    number of a message in the stream, from 1 on, rising, perhaps
 *               with holes;
 *   attachment  one connection that works on the consumer;
 *   offered     given out for the first time; new messages are, in order;
 *   unfinished  offered, and neither acknowledged nor otherwise at an end: it
 *               is outstanding at an attachment, waits to be delivered again
 *               (or is being fetched for that), or waits to be dead-lettered
 *               (or is being stored for that);
 *   floor       everything below is finished: the lowest unfinished sequence,
 *               or the next one if there is none.
 *
 * The loop of the caller, after anything has happened:
 *   1. consumer_tick();
 *   2. while consumer_next_dead(): fetch it, store the dead letter and the
 *      cursor in one commit, then consumer_dead_done() or _failed();
 *   3. while consumer_next_redelivery(): fetch the record, then
 *      consumer_redeliver() says to whom it goes; or consumer_gone();
 *   4. with what it has read of the stream from consumer_next_sequence() on:
 *      consumer_offer() what matches, consumer_skip() what does not, in order;
 *   5. if consumer_is_dirty(): consumer_save() and put it with this turn's
 *      commit. However many acks came, that is one cursor;
 *   6. a timer for consumer_due().
 *
 * Memory: unfinished messages are at most `window` (65,536), and one takes 44
 * bytes in a ring that is at most four times as long: with the largest window
 * 5.5 MiB, with one of 1,000 at most 88 KiB. It grows as it is needed.
 *
 * Time. `now_ms` may be any clock in milliseconds. Only its steps forward
 * count: if it goes back, what has passed until then stays passed, and what is
 * left of each delay passes from there on. Nothing wraps.
 */
#ifndef BROKER_STREAM_CONSUMER_H
#define BROKER_STREAM_CONSUMER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct consumer;
struct consumer_attachment;

#define CONSUMER_NEVER UINT64_MAX /* a time */

/* ---- settings ------------------------------------------------------------ */

#define CONSUMER_WINDOW_MAX      65536u
#define CONSUMER_ATTACHMENTS_MAX 1024u
#define CONSUMER_BACKOFF_MAX     16u      /* delays in the list */
#define CONSUMER_DELIVERIES_MAX  1000000u /* the highest max_deliveries */
/* Longest acknowledgement deadline, and longest delay: 30 days. */
#define CONSUMER_TIME_MAX_MS UINT64_C(2592000000)

/* The numbers are in files: never change them. */
enum consumer_mode {
    CONSUMER_ACK_NONE = 0,       /* delivered is done */
    CONSUMER_ACK_CUMULATIVE = 1, /* one attachment at a time */
    CONSUMER_ACK_EACH = 2,
};

/* Bytes, which nobody here reads. */
struct consumer_topic {
    const uint8_t *bytes; /* NULL if there are none */
    uint16_t len;
};

struct consumer_settings {
    struct consumer_topic filter; /* empty: everything */
    uint64_t start;               /* the sequence to begin at, at least 1 */
    enum consumer_mode mode;
    uint32_t window;          /* 1 to CONSUMER_WINDOW_MAX unfinished ones */
    uint64_t ack_deadline_ms; /* 0: none; redelivered when it has passed */
    /* Before redelivery 1, 2, ...; the last one repeats. None: at once. */
    uint32_t backoff_count;
    uint64_t backoff_ms[CONSUMER_BACKOFF_MAX];
    /* A message that was delivered so often and came back is dead. 0: never. */
    uint32_t max_deliveries;
    /* Where dead ones go. Empty: nowhere; they are finished and counted as
     * discarded. */
    struct consumer_topic dead_topic;
};

/* NULL: they are good. Otherwise what is wrong, in words. */
const char *consumer_settings_check(const struct consumer_settings *settings);

/* As bytes, network byte order:
 *   u16 format 1, u16 mode, u32 window, u32 max_deliveries, u32 backoff_count,
 *   u64 start, u64 ack_deadline_ms, backoff_count x u64 backoff_ms,
 *   u16 length and that many bytes of filter, the same of dead_topic. */
size_t consumer_settings_size(const struct consumer_settings *settings);
/* Good ones, into consumer_settings_size() bytes. */
void consumer_settings_save(
    const struct consumer_settings *settings, uint8_t *dst);
/* False if these bytes are not what was saved, or the settings in them are not
 * good; *settings is undefined then. The topics are views into src. */
bool consumer_settings_load(
    struct consumer_settings *settings, const uint8_t *src, size_t len);

/* ---- life ---------------------------------------------------------------- */

/* At its start, without attachments. The settings are copied, topics as well,
 * and must be good. NULL if memory is out. */
struct consumer *consumer_new(const struct consumer_settings *settings);
/* With all attachments. NULL is allowed. */
void consumer_free(struct consumer *consumer);
const struct consumer_settings *consumer_get_settings(
    const struct consumer *consumer);

/* The cursor as bytes, network byte order:
 *   u16 format 1, u16 zero, u32 runs, u64 next sequence,
 *   CONSUMER_COUNTERS x u64: the counters in the order of their enum,
 *   then for each run of unfinished sequences, rising, without overlap,
 *   u64 first, u32 messages, u32 deliveries so far, u32 kind (0: to be
 *   delivered again, 1: to be dead-lettered).
 * What is below `next` and in no run is finished. In the counters, messages
 * end as they do in the runs, so books balance after a load as before.
 *
 * A cursor that was put may be older than what was acknowledged since (then
 * that is delivered again), never newer. */
size_t consumer_save_size(const struct consumer *consumer);
/* Write it: `capacity` is at least consumer_save_size(). The sequences of
 * `stored` (rising; of consumer_next_dead(), not yet done) are written as dead-
 * lettered: those whose dead letters are in the same commit, and no others.
 * Returns how many bytes. The consumer is not dirty after that. */
size_t consumer_save(struct consumer *consumer, const uint64_t *stored,
    size_t stored_count, uint8_t *dst, size_t capacity);
/* Has anything changed since the last save that a save would keep? */
bool consumer_is_dirty(const struct consumer *consumer);
/* The commit with the last save failed: what it kept is to be saved again. */
void consumer_set_dirty(struct consumer *consumer);

enum consumer_load {
    CONSUMER_LOADED,
    CONSUMER_LOAD_INVALID, /* not what was saved: nothing has changed */
    CONSUMER_LOAD_MEMORY,  /* nothing has changed */
};
/* Into a consumer that is fresh from consumer_new(). Everything unfinished is
 * delivered again at once, and its delivery count goes up; or, if that was its
 * last delivery, it is dead. */
enum consumer_load consumer_load(
    struct consumer *consumer, const uint8_t *src, size_t len);

/* ---- attachments --------------------------------------------------------- */

/* `window`: most messages outstanding here; 0: none for now. (In mode none
 * nothing is outstanding, and only whether it is 0 matters.) In mode cumulative
 * the one that came first gets everything, and the others stand by until it has
 * detached: "all up to" means something only where one has them all, in order;
 * for that nothing new is offered while something is to be given again. NULL if
 * memory is out or there are CONSUMER_ATTACHMENTS_MAX. */
struct consumer_attachment *consumer_attach(
    struct consumer *consumer, void *owner, uint32_t window);
/* What it had outstanding waits to be delivered again, without delay. The
 * attachment is freed. */
void consumer_detach(struct consumer *consumer,
    struct consumer_attachment *attachment, uint64_t now_ms);
/* A smaller window takes nothing back. */
void consumer_set_window(struct consumer *consumer,
    struct consumer_attachment *attachment, uint32_t window);
void *consumer_owner(const struct consumer_attachment *attachment);
uint32_t consumer_outstanding(const struct consumer_attachment *attachment);

/* ---- delivering ---------------------------------------------------------- */

/* The sequence that is to be offered or skipped next. It never falls but by
 * consumer_reset(). If the stream begins above it, the caller skips what is
 * gone; if it is more than one above the stream's last sequence (the stream is
 * an older copy), the caller resets to the one after the last, or new messages
 * with lower sequences would never be read. */
uint64_t consumer_next_sequence(const struct consumer *consumer);
/* How many messages could be offered now: read no further ahead. In mode none
 * UINT32_MAX, or 0 if nobody takes any. */
uint32_t consumer_room(const struct consumer *consumer);

/* New messages: `n` consecutive sequences from `first` on, all of which match.
 * Returns how many of them, from the first on, go to *attachment now; call
 * again with the rest. 0: none can, and consumer_explain() knows why; or
 * `first` is not consumer_next_sequence(), as after a reset while the stream
 * was read: then read anew from there. */
uint32_t consumer_offer(struct consumer *consumer, uint64_t first, uint32_t n,
    uint64_t now_ms, struct consumer_attachment **attachment);

/* Why a message is not delivered. The numbers are in files. */
enum consumer_skip {
    CONSUMER_SKIP_FILTER = 0,  /* it does not match */
    CONSUMER_SKIP_GONE = 1,    /* trimmed, or never there */
    CONSUMER_SKIP_EXPIRED = 2, /* its time to live has passed */
    CONSUMER_SKIP_DAMAGED = 3, /* its checksum failed */
    CONSUMER_SKIPS = 4,
};
/* So many sequences from `first` on are not to be delivered. False, and nothing
 * happens, if `first` is not consumer_next_sequence(). */
bool consumer_skip(struct consumer *consumer, uint64_t first, uint64_t n,
    enum consumer_skip reason);

/* A message is due to be delivered again and there is room for it: *sequence is
 * set, the room is kept, and the caller fetches the record. */
bool consumer_next_redelivery(
    struct consumer *consumer, uint64_t now_ms, uint64_t *sequence);
/* The record is at hand: returns who gets it, and *deliveries is set to the
 * delivery count, this one included. NULL: it is not wanted any more (it was
 * acknowledged meanwhile), or there is no room any more and it waits again. */
struct consumer_attachment *consumer_redeliver(struct consumer *consumer,
    uint64_t sequence, uint64_t now_ms, uint32_t *deliveries);
/* The record could not be fetched, but it may work later. */
void consumer_fetch_failed(struct consumer *consumer, uint64_t sequence,
    uint64_t delay_ms, uint64_t now_ms);
/* The record that was to be fetched, for a redelivery or as a dead letter, is
 * not there any more: it is finished, and counted by reason. */
void consumer_gone(
    struct consumer *consumer, uint64_t sequence, enum consumer_skip reason);

/* ---- what attachments say ------------------------------------------------ */

/* All of these return how many messages they changed. A call that changed none
 * is counted as late, and does nothing else: `first` to `last` may hold what
 * was never delivered, or lie anywhere.
 *
 * Who may: an attachment may end (acknowledge, bury) what it has, and also what
 * it had last, if the deadline has passed and nobody has got it since: that
 * spares a second delivery. Once somebody else has it, it is that one's alone.
 * What an attachment gave back itself (nack), before or after the deadline, it
 * has not any more; after it, it comes again as it would have, and is new to it
 * then. Only what it has can be touched.
 *
 * After consumer_reset() an ack for a delivery from before it cannot be told
 * from one for the delivery after it. */

uint32_t consumer_ack(struct consumer *consumer,
    struct consumer_attachment *attachment, uint64_t first, uint64_t last);
/* Everything up to `last` that this attachment has and has seen for certain, as
 * it has seen `last`: not what others have, and not what it was given later
 * than that one, because it was with others before or was given back. If it
 * does not have `last`, the highest one below it counts that it was given
 * before that one, and that is above all that it has acknowledged before. One
 * that is yet to be offered, as after a reset, counts for nothing. */
uint32_t consumer_ack_up_to(struct consumer *consumer,
    struct consumer_attachment *attachment, uint64_t last);
/* Deliver again, to anybody, after delay_ms (at most CONSUMER_TIME_MAX_MS), or
 * CONSUMER_DELAY_DEFAULT: as the back-off list says. */
#define CONSUMER_DELAY_DEFAULT UINT64_MAX
uint32_t consumer_nack(struct consumer *consumer,
    struct consumer_attachment *attachment, uint64_t first, uint64_t last,
    uint64_t delay_ms, uint64_t now_ms);
/* The deadline begins anew. */
uint32_t consumer_touch(struct consumer *consumer,
    struct consumer_attachment *attachment, uint64_t first, uint64_t last,
    uint64_t now_ms);
/* Dead, whatever its delivery count. */
uint32_t consumer_bury(struct consumer *consumer,
    struct consumer_attachment *attachment, uint64_t first, uint64_t last);

/* This one cannot be sent to the attachment that it was given to just now: it
 * is buried. In mode none, which took it for delivered, it is discarded. */
void consumer_reject(struct consumer *consumer,
    struct consumer_attachment *attachment, uint64_t sequence);

/* ---- dead letters -------------------------------------------------------- */

/* The next message to be dead-lettered, with its delivery count. False: there
 * is none, or the last attempt failed less than CONSUMER_DEAD_RETRY_MS ago. A
 * record that is not there is told with consumer_gone(). */
#define CONSUMER_DEAD_RETRY_MS 1000u
bool consumer_next_dead(struct consumer *consumer, uint64_t now_ms,
    uint64_t *sequence, uint32_t *deliveries);
/* The dead letter and the cursor are stored. */
void consumer_dead_done(struct consumer *consumer, uint64_t sequence);
/* They are not: again later. */
void consumer_dead_failed(
    struct consumer *consumer, uint64_t sequence, uint64_t now_ms);

/* ---- time ---------------------------------------------------------------- */

/* What is outstanding past its deadline waits to be delivered again, or is
 * dead. Returns how many. */
uint32_t consumer_tick(struct consumer *consumer, uint64_t now_ms);
/* When, on the clock of the calls, there is something to do if nothing else
 * happens before: now or earlier, go through the loop; CONSUMER_NEVER. */
uint64_t consumer_due(const struct consumer *consumer);

/* ---- for operators ------------------------------------------------------- */

/* Go on from this sequence (at least 1), backwards or forwards. Everything
 * unfinished is abandoned, and counted so; delivery counts begin anew. Answers
 * to what was asked for before (fetches, dead letters) do nothing. */
void consumer_reset(struct consumer *consumer, uint64_t sequence);

/* Messages, from the beginning, or as loaded. The numbers are in files: append
 * only, with another format. */
enum consumer_counter {
    CONSUMER_OFFERED = 0,
    CONSUMER_REDELIVERED = 1,
    CONSUMER_ACKNOWLEDGED = 2,
    CONSUMER_UNACKNOWLEDGED = 3, /* mode none: delivered, which is the end */
    CONSUMER_DEAD_LETTERED = 4,
    CONSUMER_DISCARDED = 5, /* dead without a topic for it */
    CONSUMER_ABANDONED = 6, /* by a reset */
    CONSUMER_NACKED = 7,
    CONSUMER_DEADLINES = 8, /* that passed */
    CONSUMER_RETURNED = 9,  /* outstanding at one that detached */
    CONSUMER_TOUCHED = 10,
    CONSUMER_BURIED = 11,
    CONSUMER_LATE = 12,      /* acks, nacks, ... of nothing that was there */
    CONSUMER_LOST_RACE = 13, /* fetched, but not wanted, or no room, by then */
    CONSUMER_DEAD_FAILURES = 14,
    CONSUMER_FETCH_FAILURES = 15,
    CONSUMER_NO_MEMORY = 16, /* offers that took less than they could */
    /* Never offered: CONSUMER_SKIPPED + enum consumer_skip. */
    CONSUMER_SKIPPED = 17,
    /* Offered, and gone when fetched again: the same. */
    CONSUMER_GONE = CONSUMER_SKIPPED + CONSUMER_SKIPS,
    CONSUMER_COUNTERS = CONSUMER_GONE + CONSUMER_SKIPS,
};

struct consumer_info {
    uint64_t floor, next;
    uint32_t outstanding; /* at attachments */
    uint32_t waiting;     /* to be delivered again */
    uint32_t fetching;    /* for that */
    uint32_t dead;        /* to be dead-lettered */
    uint32_t storing;     /* for that */
    uint32_t attachments;
    uint32_t window;
    uint64_t memory_bytes;
    uint64_t count[CONSUMER_COUNTERS];
};
void consumer_get_info(
    const struct consumer *consumer, struct consumer_info *info);

/* Is every message that was offered at exactly one end, or unfinished? */
bool consumer_info_balances(const struct consumer_info *info);

/* Why nothing, or not more, is being delivered. */
enum consumer_why {
    CONSUMER_WHY_NOBODY,    /* nobody is attached */
    CONSUMER_WHY_PAUSED,    /* this attachment takes nothing: its window is 0 */
    CONSUMER_WHY_STANDBY,   /* this attachment waits until another detaches */
    CONSUMER_WHY_FULL,      /* this attachment has its window outstanding:
                             messages, limit, for_ms (the oldest), sequence */
    CONSUMER_WHY_WINDOW,    /* unfinished: messages, limit */
    CONSUMER_WHY_DEAD,      /* dead letters could not be stored: messages (not
                             yet stored), in_ms (again), sequence (the first) */
    CONSUMER_WHY_STORING,   /* dead letters are being stored: messages */
    CONSUMER_WHY_WAITING,   /* for redelivery: messages, in_ms and sequence of
                             the first */
    CONSUMER_WHY_FETCHING,  /* for redelivery: messages */
    CONSUMER_WHY_MEMORY,    /* memory was out at the last offer */
    CONSUMER_WHY_NO_MATCH,  /* nothing has ever matched: messages (that did
                              not), sequence (the last of them) */
    CONSUMER_WHY_CAUGHT_UP, /* sequence: the last one, all has been offered */
    CONSUMER_WHY_READING,   /* nothing is in the way: sequence (the next),
                               messages (at most, behind the end) */
};
/* What is not named beside its enum is 0. */
struct consumer_reason {
    enum consumer_why why;
    void *owner; /* of the attachment */
    uint64_t sequence;
    uint64_t messages, limit;
    uint64_t for_ms, in_ms;
};
/* Into `reasons`, what matters most first, at most `max`; the number of them.
 * `last_seq`: the last sequence of the stream. Attachments that have room are
 * not named. There is always a reason. */
size_t consumer_explain(const struct consumer *consumer, uint64_t last_seq,
    uint64_t now_ms, struct consumer_reason *reasons, size_t max);

#endif
