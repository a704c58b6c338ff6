/* SPDX-License-Identifier: MIT
 *
 * The store: what must outlive the broker, behind one small asynchronous
 * interface. Streams of records, numbered when they are stored, and small
 * values under keys. Who implements it (local.h: files of this machine) is
 * told apart by the operations below and by nothing else; one test program
 * (tests/store/contract) holds for all.
 *
 * Must not know: the protocol, sessions, topics, libevent. A record is bytes
 * that begin with a u32 in network byte order: how many bytes follow its first
 * 12. That is all the store reads of it.
 *
 * Ports. Each event loop has a port of its own; calls with a port come from its
 * thread, and callbacks run on that thread, inside store_poll() and never
 * inside the call that asked for them. Callbacks of one port for one stream
 * come in the order of the calls, refusals included. store_port_hooks.wake
 * says, from any thread, that store_poll() has something to do.
 *
 * What callers may rely on, and nothing more:
 * 1. An append is stored whole or not at all. STORE_OK and STORE_DUPLICATE mean
 *    durable: they and all appends to that stream before them. Anything else
 *    means that nothing of it was stored.
 * 2. Sequences of a stream rise strictly. The records of one append have
 *    consecutive ones; between appends there may be gaps.
 * 3. Nobody reads a record before it is durable.
 * 4. A value that is put on its own may be behind the records after a crash,
 *    never ahead of those that were durable when it was put. One that is put
 *    with an append is there exactly if the records are, or is behind them,
 *    where an engine cannot commit both at once.
 * 5. An append that is larger than the budget for what is not durable yet is
 *    taken if nothing is in flight.
 * 6. After STORE_FAILED every append and put fails with it until the process
 *    has been restarted; reading goes on. STORE_NO_SPACE passes when there is
 *    space again, without a restart.
 */
#ifndef BROKER_STORE_STORE_H
#define BROKER_STORE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct store;
struct store_port;

enum store_status {
    STORE_OK,
    STORE_DUPLICATE, /* that number of that publisher was stored before */
    STORE_CONFLICT,  /* the stream's last sequence is another one: last_seq */
    STORE_AGAIN,     /* too much in flight: again after the hook `room` */
    STORE_NOT_FOUND, /* no such stream, or no such key */
    STORE_EXISTS,    /* a stream of that name with other contents */
    STORE_FULL,      /* the stream is, and discards what is new */
    STORE_NO_SPACE,  /* the disk is full */
    STORE_FAILED,    /* a write or sync failed; see the log */
    STORE_MEMORY,    /* memory is out */
    STORE_INVALID,   /* a name, key or size out of bounds */
    STORE_UNSURE,    /* that number was stored, or refused, before: which of
                        them was forgotten */
};

#define STORE_NAME_MAX      255u /* bytes of a stream's name, at least 1 */
#define STORE_KEY_MAX       400u /* bytes of a key, at least 1 */
#define STORE_VALUE_MAX     (16u * 1024u * 1024u + 1024u)
#define STORE_RECORD_MIN    12u
#define STORE_PUBLISHER_MAX 24u /* bytes that name a publisher */

/* What a stream keeps; 0: no limit. When one is exceeded the oldest records go,
 * or with `discard_new` appends are refused with STORE_FULL until there is room
 * (age always trims). Bytes are those of the records alone. */
struct store_limits {
    uint64_t max_records, max_bytes, max_age_ms;
    bool discard_new;
};

/* Spaces of keys. Their numbers are in files: never change them. */
enum store_space {
    STORE_SPACE_STREAM = 1,   /* definitions of streams */
    STORE_SPACE_CONSUMER = 2, /* definitions and cursors */
    STORE_SPACE_RETAINED = 3, /* retained values, by topic */
    STORE_SPACE_SCHEDULE = 4, /* messages to be published later, by time */
    STORE_SPACE_BROKER = 5,   /* what is of the broker as a whole */
    STORE_SPACES,
};

/* A value to be set or, if data is NULL, deleted. */
struct store_value {
    enum store_space space;
    const void *key;
    size_t key_bytes;
    const void *data;
    size_t bytes;
};

struct store_append {
    uint32_t stream;
    const uint8_t *records; /* `count` of them, back to back; copied */
    size_t bytes;
    /* At least 1. Or 0: no records and no stream; only the publisher's number
     * is taken, as if records were stored with it, and the values are put. */
    uint32_t count;
    /* Store only if the last sequence of the stream (0: it never had one) is
     * this one. */
    bool expects_last;
    uint64_t expected_last;
    /* Whose these are: an opaque name of up to STORE_PUBLISHER_MAX bytes (0
     * bytes: nobody's), and the number of the last record; those before have
     * the numbers before it, unless they are one `batch`, which has one number.
     * Numbers wrap from 0xFFFFFFFF to 1 and are compared like those of
     * PROTOCOL.md section 5.3. With `is_retry` an append whose last number is
     * not above the highest one that was taken of this publisher is answered
     * STORE_DUPLICATE, or, if that number was refused, as it was then; where
     * refusals have been forgotten, STORE_UNSURE: never STORE_DUPLICATE for
     * what is not there. */
    const void *publisher;
    size_t publisher_bytes;
    uint32_t number;
    bool batch, is_retry;
    /* Put in the same commit, if the records are stored. */
    const struct store_value *values;
    size_t value_count;
    /* Wall clock, milliseconds since 1970. Times in a stream never fall: where
     * the clock went back, the last time is used again. */
    uint64_t time_ms;
};

struct store_result {
    enum store_status status;
    uint32_t stream;    /* store_ensure */
    uint64_t first_seq; /* of what was appended; 0: nothing was */
    uint64_t last_seq;  /* the same, or with STORE_CONFLICT the actual one */
    uint64_t time_ms;   /* that the records got */
};
typedef void store_done(void *arg, const struct store_result *result);

/* Consecutive records with consecutive sequences and one time. */
struct store_run {
    uint64_t first_seq;
    uint64_t time_ms;
    const uint8_t *records; /* valid during the callback */
    size_t bytes;
    uint32_t count;
};
/* What was read: `runs` from `from` on, in rising order, as far as the bytes
 * that were asked for allow, but at least one if there is one. What lies
 * between runs, and between `from` and the first, is not there (any more).
 * `next`: read on from here. No runs and STORE_OK: the end, nothing is stored
 * from `next` on. Records whose checksum failed are left out and counted. */
struct store_batch {
    enum store_status status;
    const struct store_run *runs;
    size_t run_count;
    uint64_t next;
    uint64_t damaged; /* records */
};
typedef void store_read_done(void *arg, const struct store_batch *batch);

/* A value, or the end of a scan (key NULL). Valid during the callback. */
typedef void store_value_done(
    void *arg, enum store_status status, const struct store_value *value);

/* What is known of a stream, as of what is durable. */
struct store_stream_info {
    uint32_t stream;
    char name[STORE_NAME_MAX + 1];
    struct store_limits limits;
    uint64_t first_seq; /* of the oldest record; last_seq + 1: it is empty */
    uint64_t last_seq;  /* 0: there never was one */
    uint64_t records, bytes;
    uint64_t first_time_ms, last_time_ms;
    uint64_t trimmed; /* records that limits or trims have taken */
    uint64_t damaged; /* records whose checksum failed */
};

struct store_stats {
    uint64_t appends, records, bytes; /* durable since the start */
    uint64_t commits;                 /* group commits */
    uint64_t in_flight_bytes;
    uint64_t memory_bytes; /* buffers and tables, not the page cache */
    uint64_t disk_bytes;
    uint64_t checkpoints;
    uint64_t duplicates, conflicts, refused_full, refused_no_space;
    uint64_t damaged; /* pieces that were set aside or left out */
    bool failed, no_space;
    char why[160]; /* it failed, or "" */
};

struct store_port_hooks {
    /* store_poll() has something to do. From any thread, must not block. */
    void (*wake)(void *arg);
    /* Inside store_poll(): what was refused with STORE_AGAIN may be tried. */
    void (*room)(void *arg);
    void *arg;
};

/* NULL if memory is out. `hooks` is copied. */
struct store_port *store_port_open(
    struct store *store, const struct store_port_hooks *hooks);
/* No callback of the port comes any more. What was appended is stored all the
 * same. NULL is allowed. */
void store_port_close(struct store_port *port);

/* Run the callbacks that are due. */
void store_poll(struct store_port *port);

/* The end of a turn of the loop: what was appended and put since may be
 * committed. Nothing is durable before. */
void store_tick(struct store_port *port);

/* May an append be tried, or would it be STORE_AGAIN? If so, the hook `room`
 * follows as it does after that. */
bool store_has_room(struct store_port *port);

/* All of the following return STORE_OK, after which the callback comes, or
 * STORE_AGAIN, STORE_MEMORY or STORE_INVALID, after which it does not. Views
 * are copied where they are needed after the call. */

/* Make the stream if there is none of this name, and set its limits:
 * STORE_OK with its number, which is never used for another stream. */
enum store_status store_ensure(struct store_port *port, const char *name,
    const struct store_limits *limits, store_done *done, void *arg);
/* Forget the stream and its records. */
enum store_status store_remove(
    struct store_port *port, uint32_t stream, store_done *done, void *arg);
enum store_status store_append(struct store_port *port,
    const struct store_append *append, store_done *done, void *arg);
/* Records below this sequence are gone. */
enum store_status store_trim(struct store_port *port, uint32_t stream,
    uint64_t first_seq, store_done *done, void *arg);
/* Set or delete values, all in one commit. */
enum store_status store_put(struct store_port *port,
    const struct store_value *values, size_t count, store_done *done,
    void *arg);

/* Durable records from `from` on, about `max_bytes` of them. With `follow` and
 * nothing there the callback comes when there is something; one follow a
 * port and stream at a time is cheap, thousands are not. */
enum store_status store_read(struct store_port *port, uint32_t stream,
    uint64_t from, size_t max_bytes, bool follow, store_read_done *done,
    void *arg);
/* The first record whose time is not before this one: batch->next, no runs. */
enum store_status store_seek_time(struct store_port *port, uint32_t stream,
    uint64_t time_ms, store_read_done *done, void *arg);
/* The value of a key; STORE_NOT_FOUND. */
enum store_status store_get(struct store_port *port, enum store_space space,
    const void *key, size_t key_bytes, store_value_done *done, void *arg);
/* Every durable value of a space in the order of its keys, one callback each,
 * then one with key NULL. What is put meanwhile may or may not come. */
enum store_status store_scan(struct store_port *port, enum store_space space,
    store_value_done *done, void *arg);

/* Now, without a callback, from memory: what this port may know. False: no such
 * stream. */
bool store_stream_info(const struct store_port *port, uint32_t stream,
    struct store_stream_info *out);
/* The next stream after the number `after` (0: the first); 0 at the end. */
uint32_t store_next_stream(const struct store_port *port, uint32_t after);
void store_get_stats(const struct store *store, struct store_stats *out);

/* What is in flight is stored, then everything is closed. All ports must have
 * been closed. NULL is allowed. */
void store_close(struct store *store);

/* ---- for implementations ------------------------------------------------- */

/* The functions above, in their order; a store and a port begin with it. */
struct store_operations {
    struct store_port *(*port_open)(
        struct store *store, const struct store_port_hooks *hooks);
    void (*port_close)(struct store_port *port);
    void (*poll)(struct store_port *port);
    void (*tick)(struct store_port *port);
    bool (*has_room)(struct store_port *port);
    enum store_status (*ensure)(struct store_port *port, const char *name,
        const struct store_limits *limits, store_done *done, void *arg);
    enum store_status (*remove)(
        struct store_port *port, uint32_t stream, store_done *done, void *arg);
    enum store_status (*append)(struct store_port *port,
        const struct store_append *append, store_done *done, void *arg);
    enum store_status (*trim)(struct store_port *port, uint32_t stream,
        uint64_t first_seq, store_done *done, void *arg);
    enum store_status (*put)(struct store_port *port,
        const struct store_value *values, size_t count, store_done *done,
        void *arg);
    enum store_status (*read)(struct store_port *port, uint32_t stream,
        uint64_t from, size_t max_bytes, bool follow, store_read_done *done,
        void *arg);
    enum store_status (*seek_time)(struct store_port *port, uint32_t stream,
        uint64_t time_ms, store_read_done *done, void *arg);
    enum store_status (*get)(struct store_port *port, enum store_space space,
        const void *key, size_t key_bytes, store_value_done *done, void *arg);
    enum store_status (*scan)(struct store_port *port, enum store_space space,
        store_value_done *done, void *arg);
    bool (*stream_info)(const struct store_port *port, uint32_t stream,
        struct store_stream_info *out);
    uint32_t (*next_stream)(const struct store_port *port, uint32_t after);
    void (*get_stats)(const struct store *store, struct store_stats *out);
    void (*close)(struct store *store);
};

struct store {
    const struct store_operations *operations;
};

struct store_port {
    const struct store_operations *operations;
};

#endif
