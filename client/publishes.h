/* SPDX-License-Identifier: MIT
 *
 * The publishes that wait for their answer, in the order of their numbers
 * (PROTOCOL.md 4.6, 5.2): a ring of slots. Numbers are given out one after the
 * other and skip 0 when they wrap. The frames themselves lie in the output log;
 * a slot says where.
 *
 * Slots leave the ring from the front only. A slot that was answered out of
 * order stays as PUBLISH_DONE until those before it have left. Not thread-safe.
 */
#ifndef BROKER_CLIENT_PUBLISHES_H
#define BROKER_CLIENT_PUBLISHES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <broker/client.h>

struct outlog_chunk;
struct request;

enum publish_state {
    PUBLISH_WAITING, /* in the output log, held */
    PUBLISH_DUE,     /* this broker cannot take it; its callback has to run */
    PUBLISH_DONE,
};

/* Whom the answer is for. */
enum publish_kind {
    PUBLISH_SILENT, /* nobody */
    PUBLISH_CALLBACK,
    PUBLISH_REQUEST,
    PUBLISH_ABANDONED, /* a request that ended before it was written */
};

struct publish_slot {
    struct outlog_chunk *chunk;
    uint32_t offset;                      /* of the frame in the chunk */
    uint8_t state;                        /* enum publish_state */
    uint8_t kind;                         /* enum publish_kind */
    bool needs_streams;                   /* the broker must know them */
    broker_client_published_fn *callback; /* PUBLISH_CALLBACK */
    void *user; /* of the callback, or the struct request */
};

struct publishes {
    struct publish_slot *slots;
    size_t capacity; /* 0 or a power of two */
    size_t head;     /* index of the first slot */
    size_t count;
    size_t waiting; /* slots in PUBLISH_WAITING */
    uint32_t first_number;
    uint64_t first_ordinal; /* how many slots have left: never wraps */
};

void publishes_init(struct publishes *publishes);
void publishes_fini(struct publishes *publishes);

/* Make room for one more. False: no memory, or 2^30 are waiting. */
bool publishes_reserve(struct publishes *publishes);

/* The number that the next push will have. */
uint32_t publishes_next_number(const struct publishes *publishes);

/* Append a slot; needs publishes_reserve(). */
void publishes_push(
    struct publishes *publishes, const struct publish_slot *slot);

/* The slot with this number if it is in PUBLISH_WAITING, else NULL. Valid until
 * the next call that changes the ring. */
struct publish_slot *publishes_find(
    struct publishes *publishes, uint32_t number);

/* Take it out: the slot is DONE; leaves the ring if it can. */
void publishes_settle(struct publishes *publishes, struct publish_slot *slot);

/* For a walk over the log that ends many: change the state of a slot (DUE or
 * DONE) and leave the ring as it is; then let leave what can. */
void publishes_mark_slot(struct publishes *publishes, struct publish_slot *slot,
    enum publish_state state);
void publishes_leave(struct publishes *publishes);

/* The next slot in PUBLISH_DUE: copy it to *out, make it DONE. *ordinal is 0 at
 * first and then kept by the caller: those before are not looked at again. */
bool publishes_take_due(
    struct publishes *publishes, uint64_t *ordinal, struct publish_slot *out);

/* Take the first slot that waits, to end it: copy to *out, make it DONE. */
bool publishes_take_waiting(
    struct publishes *publishes, struct publish_slot *out);

/* Nothing was sent under these numbers yet: let the first have `number`. */
void publishes_renumber(struct publishes *publishes, uint32_t number);

/* The ordinal of the next push: everything below is settled when first_ordinal
 * has reached it. */
uint64_t publishes_next_ordinal(const struct publishes *publishes);

/* a + n and a - n over the numbers 1 to 0xFFFFFFFF. n is below 2^31. */
uint32_t publish_number_add(uint32_t a, uint32_t n);
uint32_t publish_number_subtract(uint32_t a, uint32_t n);
/* Serial arithmetic of PROTOCOL.md 5.3. */
bool publish_number_is_above(uint32_t a, uint32_t b);

#endif
