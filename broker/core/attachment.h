/* SPDX-License-Identifier: MIT
 *
 * Attachments: subscriptions that take part in a durable consumer, which home
 * has (consumers.h). What home gives to one of them comes by letter, and so
 * goes back what their peers acknowledge. PROTOCOL.md section 5.14.
 *
 * An attachment asks home for a seat (ATTACH), and is told (ATTACHED). If its
 * session may have what the consumer delivers it says how many bytes it has
 * room for (TAKEN), and home sends (DELIVERY) at most that, but for the piece
 * that goes beyond; what has left the queue is room again. What the peer
 * settles is gathered during a turn of the loop and goes home in one letter
 * (SETTLE). Whoever ends it, the attachment leaves its seat (DETACH), and is
 * freed when home will not name it any more (DETACHED).
 *
 * Memory for what must be said is not needed: it waits in the attachment, in
 * core->attachments_touched, until it can be written.
 */
#ifndef BROKER_CORE_ATTACHMENT_H
#define BROKER_CORE_ATTACHMENT_H

#include "output.h"

#include <broker/codec.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

struct core;
struct letter;
struct seat;
struct session;
struct subscription;

LIST_HEAD(attachment_list, attachment);
TAILQ_HEAD(attachment_queue, attachment);

enum settle_verb {
    SETTLE_ACK,
    SETTLE_ACK_UP_TO,
    SETTLE_AGAIN,
    SETTLE_BURY,
    SETTLE_TOUCH,
};

/* The same was said of all these sequences. */
struct settled {
    uint64_t first, last;
    uint32_t delay_ms; /* or BROKER_NACK_DELAY_DEFAULT */
    enum settle_verb verb;
};

/* Delivered to the queue, and until when it is there. */
struct taken {
    uint64_t end; /* it has left when so many messages have */
    uint64_t bytes;
};
/* Entries are merged up to TAKEN_MERGE bytes, so that two neighbours have more
 * than that together: this many are always enough. */
#define TAKEN_MERGE   16384u
#define TAKEN_ENTRIES 128u

struct attachment {
    uint64_t session_id;
    uint32_t id; /* of the subscription */
    uint32_t window;
    uint32_t max_body_bytes;
    struct broker_bytes name; /* of the consumer */
    /* -- */
    struct core *core;
    struct subscription *subscription; /* NULL: it has ended */
    struct seat *seat;                 /* NULL: none yet, or none any more */
    LIST_ENTRY(attachment) of_session; /* while it has a subscription */
    TAILQ_ENTRY(attachment) touched;   /* there is something to be said */
    bool is_touched, is_asking, is_open;
    /* To be said: */
    uint64_t free_bytes;
    struct settled *settled;
    uint32_t settled_count, settled_capacity;
    /* In the session's queue: */
    uint64_t room_bytes; /* at most */
    uint64_t entered;    /* messages, ever */
    struct taken taken[TAKEN_ENTRIES];
    uint32_t taken_first, taken_count;
    /* What did not fit into the queue yet: */
    struct output_run *parked;
    uint32_t parked_first, parked_end, parked_capacity;
    uint8_t text[];
};

/* CONSUME with a consumer's name: ask home. Anything but BROKER_OK refuses it
 * now; else it is answered later. */
enum broker_status attachment_open(
    struct session *session, const struct broker_consume *consume);
/* ACK, NACK, TOUCH. */
void attachment_settle(
    struct subscription *subscription, const struct broker_settle *settle);
/* The subscription ends. */
void attachment_close(struct subscription *subscription);
/* The session does. */
void attachments_close(struct session *session);
/* Something left the session's queue: tell home. */
void attachments_look(struct session *session);
/* The session's rights have changed. */
void attachments_review(struct session *session);

/* At the end of a turn: letters. */
void attachments_write(struct core *core);
/* A letter from home. False: memory is out; nothing was done. */
bool attachment_on_letter(struct core *core, const struct letter *letter);

#endif
