/* SPDX-License-Identifier: MIT
 *
 * Why the input of a session waits although it is there: frames behind the
 * current one stay in the intake, and nothing is read, until every reason is
 * gone. That is how the broker slows a peer down without refusing anything: the
 * transport tells it (PROTOCOL.md section 5.12). What waits for another worker
 * is in session_remote.
 *
 * Knows nothing of frames.
 */
#ifndef BROKER_CORE_HOLD_H
#define BROKER_CORE_HOLD_H

#include <broker/codec.h>

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

struct core;
struct session;

enum hold_reason {
    HOLD_ADMISSION = 1, /* it is being found out who the peer is */
    HOLD_WORK = 2,      /* it made the broker work enough for one turn */
    HOLD_TIME = 4,      /* its user is too fast, or memory is short */
    HOLD_FULL = 8,      /* a subscriber that chose to block is full */
    HOLD_STORE = 16,    /* the store is behind with what was published */
};

enum hold_notice {
    HOLD_NOTICE_MEMORY,
    HOLD_NOTICE_RATE,
    HOLD_NOTICE_FULL,
    HOLD_NOTICE_STORE,
    HOLD_NOTICES
};

/* Of a session. Small, because most sessions are idle. */
struct hold {
    TAILQ_ENTRY(session)
    link;                  /* of core->waiting with HOLD_FULL; else, with
                                  HOLD_WORK, of core->working */
    uint64_t until_ms;     /* HOLD_TIME */
    uint64_t look_ms;      /* HOLD_FULL: at the latest */
    uint64_t full_id;      /* HOLD_FULL: of the session that is full */
    uint32_t slowed_bytes; /* published since it was last slowed */
    uint16_t noticed_s[HOLD_NOTICES]; /* the second in which it was told last */
    uint8_t reasons;                  /* of enum hold_reason */
    bool is_full; /* publishers to it wait; it chose that policy */
    bool gave_up; /* it took nothing for so long that they wait no more */
};

TAILQ_HEAD(hold_list, session);

/* Let it wait for this reason; and no longer. The latter processes what has
 * waited if it was the last reason, so nothing of the session may be in use. */
void hold_begin(struct session *session, enum hold_reason reason);
void hold_end(struct session *session, enum hold_reason reason);

/* The session ends: it waits for nothing, and nobody for it. */
void hold_cancel(struct session *session);

/* It made the broker work enough: go on in the next turn. */
void hold_for_work(struct session *session);
/* Go on with those, as far as one turn goes; first thing in a turn. */
#define HOLD_TURN_WORK_MAX 65536u /* about one a delivery */
void hold_next_turn(struct core *core);

/* So much was published: slow down if the user's rate or memory demands it. */
void hold_after_publish(
    struct session *session, uint32_t messages, uint64_t bytes);
/* It subscribed or unsubscribed. */
void hold_after_subscribe(struct session *session);

/* When HOLD_TIME, or waiting for this session, is to be looked at; or
 * DEADLINE_NEVER. */
uint64_t hold_deadline(const struct session *session);
void hold_on_deadline(struct session *session);

/* The queue of a session whose policy is to block is more than half full:
 * `publisher` waits, which may be the session itself or NULL. */
void hold_publisher(struct session *publisher, struct session *full);
/* The same for the publisher with this id, of another worker. */
void hold_publisher_abroad(struct core *core, uint32_t worker,
    uint64_t publisher_id, struct session *full);
/* Something left the queue of a session that is full. */
void hold_look_at_room(struct session *session);

/* The store takes nothing more for now; and it does again. */
void hold_for_store(struct session *session);
void hold_on_store_room(struct core *core);

/* Letters. */
void hold_on_full(struct core *core, uint64_t publisher_id, uint64_t full_id);
void hold_on_room(struct core *core, uint64_t full_id);

#endif
