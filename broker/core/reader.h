/* SPDX-License-Identifier: MIT
 *
 * Readers: subscriptions that read a stream from the store, by the port of
 * their session's worker, as fast as their peer takes it and no faster.
 * PROTOCOL.md section 5.13.
 *
 * A reader has at most one read under way and a bounded number of bytes queued.
 * What it queues is POSITION, GAP and PUBLISH frames in one piece, copied once
 * from what the store read, which are never dropped while there is memory.
 */
#ifndef BROKER_CORE_READER_H
#define BROKER_CORE_READER_H

#include <broker/codec.h>

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

struct capture;
struct core;
struct session;
struct subscription;

LIST_HEAD(reader_list, reader);

struct reader {
    LIST_ENTRY(reader) of_session;
    LIST_ENTRY(reader) waiting; /* of core->readers_waiting or _ending */
    struct core *core;
    struct subscription *subscription; /* NULL: it has ended */
    struct capture *capture;           /* holds a reference */
    uint64_t next;                     /* sequence to read from */
    size_t read_bytes;                 /* so much is read at once */
    bool is_reading;                   /* a callback of the store is to come */
    bool is_open;                      /* CONSUME_REPLY was sent */
    bool is_waiting;                   /* for memory */
    bool at_end;                       /* and said so */
    bool ends_there;
    uint16_t filter_bytes; /* 0: everything */
    uint8_t filter[];
};

/* CONSUME without a consumer's name, of which everything but the start has been
 * checked: answer it, now or later, and begin. */
void reader_open(struct session *session, struct subscription *subscription,
    struct capture *capture, const struct broker_consume *consume);
/* The subscription ends. */
void reader_close(struct subscription *subscription);
/* The session ends, and with it what its readers are listed in. */
void readers_close(struct session *session);
/* Something left the session's queue: read on. */
void readers_look(struct session *session);
/* The core ends: nothing comes back from the store any more. */
void readers_drop_all(struct core *core);
/* For those that had no memory: try again. True: some still have none. */
bool readers_retry(struct core *core);
/* The session's rights have changed, or what streams capture: end what is not
 * permitted any more. */
void readers_review(struct session *session);
/* The stream is no more: its readers end. */
void readers_stream_removed(struct core *core, uint32_t stream);

/* May the session receive all that the filter, or if that is empty the stream,
 * may hold? Else *rule says why not. */
bool reader_is_permitted(const struct session *session,
    const struct capture *capture, struct broker_bytes filter,
    const char **rule);

/* ---- reader_fill.c ------------------------------------------------------- */

struct store_batch;
struct output_run;

/* Make what the batch holds for this reader into frames, in a new block, of
 * which the caller gets the reference. run->block NULL: nothing in it is for
 * the reader. NO_ROOM: other readers of the session were faster, or POSITIONs
 * take more than the messages; it is to be read again, in smaller pieces if the
 * queue is empty. A single message is always made. */
enum reader_filled { READER_FILLED, READER_NO_ROOM, READER_NO_MEMORY };
enum reader_filled reader_fill(struct reader *reader,
    const struct store_batch *batch, struct output_run *run);
/* The same for "there is nothing more for now". */
bool reader_fill_end(struct reader *reader, struct output_run *run);

#endif
