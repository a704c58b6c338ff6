/* SPDX-License-Identifier: MIT
 *
 * The inside of sessions and of the core, for the files of broker/core only.
 *
 * A session goes HANDSHAKE -> OPEN -> CLOSING and never back; session_set_state
 * is the only place that moves it. In CLOSING nothing is processed any more;
 * either everything queued is sent and then GOAWAY (drain), or GOAWAY at once.
 */
#ifndef BROKER_CORE_SESSION_H
#define BROKER_CORE_SESSION_H

#include "core.h"
#include "deadline.h"
#include "identity.h"
#include "index.h"
#include "intake.h"
#include "output.h"
#include "retained.h"
#include "route.h"

enum session_state { SESSION_HANDSHAKE, SESSION_OPEN, SESSION_CLOSING };

/* PUBACKs that can still be merged (PROTOCOL.md section 4.7). count 0: none. */
struct pending_ack {
    uint32_t last_id, count, matched, refused;
};

struct session {
    struct core *core;
    void *owner;
    const char *peer;
    char *name; /* NULL until HELLO gave one */
    TAILQ_ENTRY(session) all;
    LIST_ENTRY(session) slow; /* while `is_slow` */
    struct deadline deadline;
    struct intake intake;
    struct output output;
    struct subscription_list subscriptions;
    struct identity *identity; /* NULL before HELLO and after a take-over */
    struct pending_ack ack;
    uint64_t id;
    uint64_t opened_ms;
    uint64_t heard_ms;    /* last received something */
    uint64_t pinged_ms;   /* with pinged: when */
    uint64_t progress_ms; /* last sent something, or had nothing to send */
    uint64_t linger_ms;   /* with input_ended: when to stop waiting */
    uint64_t received_messages, received_bytes;
    uint64_t delivered_bytes;
    uint32_t subscription_count;
    uint32_t draining_count;
    uint32_t max_body_bytes;
    uint32_t heartbeat_ms;
    uint32_t last_publish;
    uint32_t retry_after_ms; /* for GOAWAY */
    uint32_t skip_bytes;     /* of a refused frame, still to come */
    enum session_state state;
    enum broker_status close_code;
    bool looked_late;      /* HELLO's deadline was put off for that */
    bool pinged;           /* and nothing heard since */
    bool input_ended;      /* half-closed, or said GOAWAY */
    bool requested;        /* has sent a request: replies may come */
    bool output_announced; /* output_ready was called */
    bool queue_high;       /* QUEUE_HIGH was sent */
    bool lost_logged;      /* the log knows that it loses messages */
    bool goaway_sent;
    bool starved; /* there was no memory to read into */
    bool aborted;
    bool is_slow; /* to be disconnected for it, by its own policy */
};

struct core {
    struct core_options options;
    struct core_hooks hooks;
    struct broker_limits limits;
    uint64_t now_ms, started_ms;
    struct block_pool pool;
    struct intake_shared intake;
    struct index index;
    struct context_table contexts;
    struct route_cache routes;
    struct retained retained;
    struct identities identities;
    struct table subscriptions; /* by session and id */
    struct deadline_heap deadlines;
    TAILQ_HEAD(, session) sessions;
    LIST_HEAD(, session) slow;   /* to be closed after the current run */
    struct subscription **picks; /* scratch of deliver.c */
    uint32_t pick_capacity;
    uint64_t session_count;
    uint64_t subscription_serial;
    uint64_t seed;
    uint32_t run_bytes_max; /* a run is handed on at this size */
    uint32_t shut_down_retry_ms;
    bool shutting_down;
    bool tight_logged; /* the log knows that memory is tight */
    uint8_t boot[BROKER_SESSION_BYTES];
    struct core_stats totals; /* counters of what is over */
};

/* ---- session.c ----------------------------------------------------------- */

/* There is no memory to receive into, not even of the reserve: drop what is
 * queued for the connection that keeps most memory from being used, with gaps.
 * False if nobody keeps any. (core.c) */
bool core_shed(struct core *core);

void session_set_state(struct session *session, enum session_state state);

/* Room for a control frame of `size` bytes, to be encoded there; then commit.
 * NULL if memory is out; then the session is aborted, because an answer would
 * be missing. */
uint8_t *session_control(struct session *session, size_t size);
void session_control_done(struct session *session, size_t size);

/* There is something to send. */
void session_announce_output(struct session *session);

/* Refuse a frame: ERROR. `text` may be NULL for the code's own text; `limit` is
 * sent unless it is 0; `topic` unless it is empty. */
struct refusal {
    enum broker_status code;
    uint32_t id;
    uint16_t frame_type;
    const char *text;
    uint64_t limit;
    struct broker_bytes topic;
};
void session_refuse(struct session *session, const struct refusal *refusal);

/* The peer broke the protocol: ERROR about the frame, GOAWAY, close. */
void session_fail(struct session *session, enum broker_status code, uint32_t id,
    uint16_t frame_type);

/* Close: at once (what is queued is dropped) or after everything queued. */
void session_close_now(struct session *session, enum broker_status code);
void session_close_drained(struct session *session, enum broker_status code);

/* The peer sends nothing more, or nothing that counts: behave as after a
 * half-close (PROTOCOL.md section 2). */
void session_ignore_input(struct session *session);

/* Set the deadline from the session's times. */
void session_schedule(struct session *session);
/* The deadline has come. */
void session_on_deadline(struct session *session);

/* ---- handle_session.c ---------------------------------------------------- */

void handle_hello(struct session *session, const struct broker_frame *frame);
void handle_ping(struct session *session, const struct broker_frame *frame);
void handle_pong(struct session *session, const struct broker_frame *frame);
void handle_goaway(struct session *session, const struct broker_frame *frame);

/* Subscriptions that the connection may have. */
uint32_t session_max_subscriptions(const struct session *session);

/* ---- handle_subscribe.c -------------------------------------------------- */

void handle_subscribe(
    struct session *session, const struct broker_frame *frame);
void handle_unsubscribe(
    struct session *session, const struct broker_frame *frame);
/* Messages left the queue: end subscriptions that were waiting for it. */
void subscriptions_drained(struct session *session);
/* Stop matching for all, or for those in queue groups; queues stay. */
void subscriptions_stop(struct session *session, bool groups_only);
/* Free them all; nothing must be queued. */
void subscriptions_free(struct session *session);

/* ---- dispatch.c ---------------------------------------------------------- */

/* Process the whole frames that the intake holds. */
void dispatch_input(struct session *session);

/* ---- handle_publish.c ---------------------------------------------------- */

/* Process consecutive PUBLISH frames at src[0..len), beginning with `frame`,
 * which is the first of them: a slice of `block`. Returns the bytes used, at
 * least those of the first frame. */
size_t handle_publishes(struct session *session,
    const struct broker_frame *frame, struct block *block, const uint8_t *src,
    size_t len);

/* ---- deliver.c ----------------------------------------------------------- */

struct run {
    struct route *route;
    struct session *publisher; /* NULL: the broker itself */
    struct output_run slice;
    uint32_t first_id; /* 0: no acknowledgement wanted */
};

/* Give the run to everybody on its route, and note the acknowledgement. */
void deliver_run(struct core *core, const struct run *run);
/* Give a run to one session; true if it was queued. */
bool deliver_to(struct session *session, struct context *context,
    const struct output_run *slice);
/* After delivering: disconnect those whose policy asked for it. */
void deliver_done(struct core *core);

/* ---- ack.c --------------------------------------------------------------- */

/* Note an acknowledgement, merged with those before if it can be. */
void ack_note(struct session *session, uint32_t first_id, uint32_t count,
    uint32_t matched, uint32_t refused);
/* The publish number was dealt with, whatever the answer. */
void session_settle(struct session *session, uint32_t id);
void ack_duplicate(struct session *session, uint32_t id);
/* Write out what was noted. */
void ack_flush(struct session *session);

/* ---- requests.c ---------------------------------------------------------- */

/* A request to a topic that begins with $: answer and acknowledge it. Else the
 * code to refuse it with. */
enum broker_status request_to_broker(struct session *session,
    const struct broker_publish *publish, struct broker_bytes reply_to);

/* ---- foreign.c ----------------------------------------------------------- */

/* Is what was received, in SESSION_HANDSHAKE, not our protocol? */
bool foreign_is(const struct session *session);
/* Then answer in the peer's own tongue and close. Where the bytes so far may
 * still become one of several tongues it waits for more, unless `final`; false:
 * it waits. */
bool foreign_answer(struct session *session, bool final);

#endif
