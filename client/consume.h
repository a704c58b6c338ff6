/* SPDX-License-Identifier: MIT
 *
 * What a subscription to a stream has that a plain one has not: where it began
 * and where it stands, and, of a durable consumer, what this client has in its
 * hands and has settled but not said yet. Knows no frames. See session.h for
 * the lock; `next` is of the thread that drives.
 */
#ifndef BROKER_CLIENT_CONSUME_H
#define BROKER_CLIENT_CONSUME_H

#include <broker/client.h>

#include "outstanding.h"

struct subscription;

/* What is to be said of one kind of settlement. */
enum consume_list {
    CONSUME_ACK,
    CONSUME_NACK,
    CONSUME_BURY,
    CONSUME_TOUCH,
    CONSUME_LISTS,
};

struct consume {
    bool is_consumer; /* else a reader */
    enum broker_start start;
    uint64_t value; /* of start */
    uint8_t options;
    uint32_t window;
    struct broker_bytes stream, name; /* name: of the consumer; in `text` */
    broker_client_caught_up_fn *on_caught_up;

    uint64_t next;       /* a reader goes on there; 0: nothing is known yet */
    uint64_t handed_out; /* the last sequence; 0: none */
    bool caught_up;      /* on this connection */
    enum broker_ack_mode ack;

    /* Of this connection. */
    struct outstanding outstanding;        /* in the hands of the user */
    struct sequences lists[CONSUME_LISTS]; /* settled and not said yet */
    uint32_t nack_delay_ms;                /* of CONSUME_NACK */
    uint64_t ack_up_to;                    /* cumulative; 0: nothing to say */
    bool has_unseen; /* something came that the user did not get */
    bool is_pending; /* there is something to say */
    struct subscription *next_pending;

    uint8_t text[];
};

/* NULL: no memory. The strings are copied. */
struct consume *consume_new(
    struct broker_bytes stream, struct broker_bytes name);
/* NULL is allowed. */
void consume_free(struct consume *consume);

/* A reader with END that has caught up ends by itself. NULL: false. */
bool consume_is_over(const struct consume *consume);

/* The connection is lost: forget what was of it. Returns how many settlements
 * were not said. */
uint64_t consume_lose(struct consume *consume);

#endif
