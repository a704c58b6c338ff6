/* SPDX-License-Identifier: MIT
 *
 * The output log: whole frames in the order in which they were handed over, in
 * a chain of chunks, with a cursor at the next byte to write. It knows frames
 * only as far as their header; what a frame means, and whether it is to be kept
 * after a lost connection, is the owner's to say (session_resume.c).
 *
 * A frame lies in one chunk whole. A chunk is freed when it is written and none
 * of its frames is held; frames with a publish number are held until the broker
 * has answered. So `bytes` is an honest measure of memory: it counts what
 * cannot be freed yet, not what is interesting still.
 *
 * Not thread-safe.
 */
#ifndef BROKER_CLIENT_OUTLOG_H
#define BROKER_CLIENT_OUTLOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct outlog_chunk {
    struct outlog_chunk *next;
    uint64_t sequence; /* counts chunks: tells which of two is older */
    size_t capacity, used;
    size_t held; /* frames with a number that is not settled */
    uint8_t data[];
};

struct outlog {
    struct outlog_chunk *head, *tail;
    struct outlog_chunk *cursor; /* holds the next byte to write; NULL: empty */
    size_t cursor_offset;
    struct outlog_chunk *spare; /* one chunk kept for the next time */
    size_t bytes;               /* in all chunks */
    size_t unsent;              /* after the cursor */
    size_t chunk_bytes;
    uint64_t next_sequence;
};

/* `limit_bytes` is what the owner will let `bytes` grow to; it only chooses the
 * size of the chunks. */
void outlog_init(struct outlog *log, size_t limit_bytes);
void outlog_fini(struct outlog *log);

/* Room for a frame of `size` bytes, to be filled and then committed before any
 * other call. NULL: no memory. */
uint8_t *outlog_reserve(struct outlog *log, size_t size);
void outlog_commit(struct outlog *log, size_t size);

/* Hold the frame that was committed last: returns its chunk and sets *offset.
 * `size` is what was committed. */
struct outlog_chunk *outlog_hold(
    struct outlog *log, size_t size, uint32_t *offset);

/* Settle one held frame of the chunk; may free the chunk. */
void outlog_release(struct outlog *log, struct outlog_chunk *chunk);

/* Was the frame that begins there written whole? */
bool outlog_written(const struct outlog *log, const struct outlog_chunk *chunk,
    uint32_t offset);

/* Point up to `max` vectors at what is to be written; returns how many. */
size_t outlog_peek(const struct outlog *log, struct iovec *vectors, size_t max);
/* `n` bytes of it were written. */
void outlog_sent(struct outlog *log, size_t n);

/* Go back to the start of the log, as a new connection has seen nothing of it.
 * `keep` is called for every frame in order: false drops it. A frame that is
 * held and dropped must be let go with outlog_let_go(). If kept, it will lie at
 * `offset` of `chunk`. */
struct outlog_frame {
    uint8_t *data; /* may be changed in place */
    size_t size;
    bool written; /* whole */
    struct outlog_chunk *chunk;
    uint32_t offset;
};
typedef bool outlog_keep_fn(void *context, const struct outlog_frame *frame);
void outlog_rewind(struct outlog *log, outlog_keep_fn *keep, void *context);

/* Like release and hold, for use inside the keep function only. */
void outlog_let_go(struct outlog_chunk *chunk);
void outlog_hold_kept(struct outlog_chunk *chunk);

#endif
