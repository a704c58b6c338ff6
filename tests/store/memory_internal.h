/* SPDX-License-Identifier: MIT
 *
 * The parts of the store in memory, see memory.h. What is durable is changed by
 * memory_apply() alone, and it allocates nothing: whatever a call may need is
 * allocated by the call, so that out of memory is STORE_MEMORY and never the
 * end of a commit.
 */
#ifndef BROKER_TESTS_STORE_MEMORY_INTERNAL_H
#define BROKER_TESTS_STORE_MEMORY_INTERNAL_H

#include "../core/random.h"
#include "memory.h"

#include <sys/queue.h>

/* ---- what is durable ----------------------------------------------------- */

/* The records of one append; those that are trimmed off its front stay in
 * memory until the last of them goes. */
struct memory_piece {
    TAILQ_ENTRY(memory_piece) next;
    uint64_t first_seq; /* of those that are left */
    uint64_t time_ms;
    uint32_t count;
    uint8_t *records;
    size_t bytes;
    uint8_t *memory; /* where `records` began */
};

struct memory_stream {
    TAILQ_ENTRY(memory_stream) next;
    struct store_stream_info info;
    TAILQ_HEAD(, memory_piece) pieces;
};

/* Numbers of a publisher that were answered with a refusal. */
struct memory_refusal {
    LIST_ENTRY(memory_refusal) next;
    uint32_t first, last;
    enum store_status status;
    uint64_t last_seq; /* that a conflict reported */
};

struct memory_publisher {
    LIST_ENTRY(memory_publisher) next;
    uint8_t name[STORE_PUBLISHER_MAX];
    size_t name_bytes;
    bool has_number;
    uint32_t highest; /* that was taken */
    uint32_t unsure;  /* refusals up to this number were forgotten; 0: none */
    LIST_HEAD(, memory_refusal) refusals; /* the newest first */
};

/* A value; the key and the data follow it. data NULL: to be deleted. */
struct memory_value {
    struct store_value value;
};

struct memory_values {
    struct memory_value **sorted; /* by key */
    size_t count, capacity;
};

/* ---- what is asked for --------------------------------------------------- */

enum memory_kind {
    MEMORY_ENSURE,
    MEMORY_REMOVE,
    MEMORY_APPEND,
    MEMORY_TRIM,
    MEMORY_PUT,
    MEMORY_READ,
    MEMORY_SEEK,
    MEMORY_GET,
    MEMORY_SCAN,
};

/* One call, from the call to its callback. */
struct memory_call {
    TAILQ_ENTRY(memory_call) next;
    struct memory_port *port; /* NULL: closed meanwhile */
    enum memory_kind kind;
    bool ticked;
    union {
        store_done *done;
        store_read_done *read;
        store_value_done *value;
    } callback;
    void *arg;

    struct store_append append;   /* publisher and values: of the call */
    uint64_t from;                /* trim, read; seek: the time */
    size_t max_bytes;             /* read */
    bool follow;                  /* read */
    enum store_space space;       /* scan */
    struct memory_value **values; /* append, put; get: the key */
    size_t value_count, value_bytes;
    struct memory_piece *piece;         /* append */
    struct memory_stream *stream;       /* ensure: if there is none */
    struct memory_publisher *publisher; /* append: if there is none */
    struct memory_refusal *refusal;     /* append: if it is refused */
    uint8_t name[STORE_PUBLISHER_MAX];
    struct store_result result;
};
TAILQ_HEAD(memory_calls, memory_call);

struct memory_port {
    struct store_port base;
    struct memory_store *store;
    struct store_port_hooks hooks;
    LIST_ENTRY(memory_port) next;
    struct memory_calls done;    /* committed, the callback is due */
    struct memory_calls asked;   /* reads, due */
    struct memory_calls follows; /* reads that wait for records */
    bool wants_room, polling, closed;
    bool dead; /* the store was restarted */
};

struct memory_store {
    struct store base;
    struct store_memory_options options;
    struct random random;
    LIST_HEAD(, memory_port) ports;
    struct memory_calls pending; /* not committed */
    uint64_t in_flight_bytes;
    uint32_t next_stream;
    uint64_t now_ms;
    TAILQ_HEAD(, memory_stream) streams;
    LIST_HEAD(, memory_publisher) publishers;
    struct memory_values values[STORE_SPACES];
    size_t values_reserved[STORE_SPACES]; /* by what is pending */
    uint32_t refuse_calls, fail_commits;
    enum store_status fail_status;
    struct store_stats stats;
};

static inline struct memory_store *
memory_of(struct store *store)
{
    return (struct memory_store *)store;
}

static inline struct memory_port *
memory_port_of(struct store_port *port)
{
    return (struct memory_port *)port;
}

/* Bytes of the record that begins here. */
static inline size_t
memory_record_bytes(const uint8_t *record)
{
    return STORE_RECORD_MIN + ((size_t)record[0] << 24 |
                                  (size_t)record[1] << 16 |
                                  (size_t)record[2] << 8 | record[3]);
}

/* memory_state.c: what is durable. */
struct memory_stream *memory_find_stream(
    const struct memory_store *store, uint32_t number);
/* The place of the key, or where it would be. */
size_t memory_find_value(const struct memory_values *values, const void *key,
    size_t key_bytes, bool *found);
void memory_trim(struct memory_stream *stream, uint64_t first_seq);
void memory_enforce_limits(struct memory_store *store, struct memory_stream *);
void memory_free_stream(struct memory_stream *stream);
void memory_free_publisher(struct memory_publisher *publisher);
/* Set or delete it; *value is NULL afterwards if it was taken. */
void memory_set_value(struct memory_store *store, struct memory_value **value);

/* memory_apply.c: do what was asked for, or refuse it with `failure` unless
 * that is STORE_OK; the answer is in call->result. */
void memory_apply(struct memory_store *store, struct memory_call *call,
    enum store_status failure);

/* memory_read.c: call back; false: it follows, and there is nothing. */
bool memory_answer_read(struct memory_store *store, struct memory_call *call);

/* memory_call.c: copies of what a call was given. */
struct memory_call *memory_call_new(
    struct memory_port *port, enum memory_kind kind, void *arg);
void memory_call_free(struct memory_call *call);
bool memory_call_has_values(
    struct memory_call *call, const struct store_value *values, size_t count);
bool memory_call_has_records(
    struct memory_call *call, const struct store_append *append);
bool memory_append_is_valid(const struct store_append *append);
bool memory_values_are_valid(const struct store_value *values, size_t count);
/* Room for what a call may set, so that the commit need not ask for memory. */
bool memory_reserve_values(
    struct memory_store *store, const struct store_value *values, size_t count);
void memory_unreserve_values(
    struct memory_store *store, const struct memory_call *call);

#endif
