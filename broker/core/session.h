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

#include "account.h"
#include "attachment.h"
#include "captures.h"
#include "claim.h"
#include "core.h"
#include "deadline.h"
#include "durable.h"
#include "exchange.h"
#include "hold.h"
#include "identity.h"
#include "index.h"
#include "intake.h"
#include "interest.h"
#include "output.h"
#include "question.h"
#include "reader.h"
#include "retained.h"
#include "rights.h"
#include "route.h"
#include "schedule.h"
#include "spares.h"
#include "wait.h"

enum session_state { SESSION_HANDSHAKE, SESSION_OPEN, SESSION_CLOSING };

/* PUBACKs that can still be merged (PROTOCOL.md section 4.7). count 0: none. */
struct pending_ack {
    uint32_t last_id, count, matched, refused;
    struct capture *capture; /* stored there, with a reference; else NULL */
    uint64_t last_sequence;
};

/* What a session has to do with other workers; only where there are some. */
struct session_remote {
    struct claim *claim;       /* of its id */
    struct question *question; /* that is not answered yet */
    struct making_queue makings;
    struct wait_queue waits;
    struct buffer held;    /* control frames behind the first wait */
    uint64_t held_sum;     /* bytes ever written to it */
    uint64_t held_workers; /* with publishers that wait while this session is
                              full: a bit each */
    uint32_t making_count, wait_count, retiring_count;
    uint32_t unanswered; /* the first number that will not be answered, or 0 */
    bool is_suspended;   /* no frame is processed before a letter came */
    bool is_settling;    /* in wait.c: what was held is going out */
    bool is_deaf;        /* half-closed, and waits for members to retire */
    bool is_blocked;     /* a SUBSCRIBE waits until nothing is held */
    TAILQ_ENTRY(session_remote) storing; /* with HOLD_STORE */
    uint64_t storing_ms;                 /* then: when to say so */
    struct reader_list readers;          /* of streams */
    struct attachment_list attachments;  /* to durable consumers */
    struct session *session;             /* whose this is */
    struct table_link link;              /* by the session's id */
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
    struct identity *identity; /* NULL before HELLO and after a take-over, and
                                  where there is `remote` */
    struct session_remote *remote; /* NULL: there are no other workers */
    struct hold hold;
    struct admission *admission; /* HELLO is not answered yet; else NULL */
    struct account *account;     /* of the user; NULL: not known */
    struct rights *rights;       /* NULL: everything is allowed */
    uint32_t rights_serial;      /* counts how often they changed */
    struct meter subscribes;
    struct pending_ack ack;
    uint64_t id;
    uint64_t opened_ms;
    uint64_t heard_ms;    /* last received something */
    uint64_t progress_ms; /* last sent something, or had nothing to send */
    uint64_t mark_ms; /* what was queued then is gone when so many messages */
    uint64_t mark;    /* have left the queue */
    union {
        uint64_t pinged_ms; /* with pinged: when */
        uint64_t linger_ms; /* with input_ended: when to stop waiting */
    };
    uint64_t received_messages, received_bytes;
    uint64_t delivered_bytes;
    uint32_t subscription_count;
    uint32_t draining_count;
    uint32_t max_body_bytes;
    uint32_t heartbeat_ms;
    uint32_t last_publish;
    /* Highest publish number that was refused before it came to the store,
     * which does not know of that; or 0. */
    uint32_t unsure_publish;
    bool knows_streams;      /* HELLO said so */
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
    bool starved;        /* there was no memory to read into */
    bool is_dispatching; /* frames are being processed right now */
    bool end_waits;      /* the input ended while frames wait */
    bool aborted;
    bool is_slow; /* to be disconnected for it, by its own policy */
};

struct core {
    struct exchange *exchange; /* NULL: there are no other workers */
    struct core_options options;
    struct core_hooks hooks;
    struct broker_limits limits;
    uint64_t now_ms, started_ms;
    uint64_t polled_ms; /* what happened before was handed in */
    uint64_t wall_ms;   /* since 1970, where there is a store */
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
    LIST_HEAD(, session) slow; /* to be closed after the current run */
    struct hold_list working;  /* go on in the next turn */
    struct hold_list waiting;  /* for a subscriber that is full */
    TAILQ_HEAD(, session_remote) storing; /* for the store to take more */
    struct durable_list durables; /* appends in flight, in their order */
    struct durable_list durables_at_home; /* stored, and home routes them */
    uint32_t durables_left; /* in flight, of captures that have ended */
    struct spares spare_durables, spare_waits;
    struct reader_list readers_waiting;    /* for memory */
    struct reader_list readers_ending;     /* for a last answer of the store */
    struct capture_list captures;          /* that this worker knows of */
    struct streams *streams;               /* home's, where there is a store */
    struct retained_store *retained_store; /* the same */
    struct schedule *schedule;             /* the same */
    struct consumers *consumers;           /* the same */
    struct attachment_queue attachments_touched; /* to say something to home */
    struct scheduling_list schedulings;          /* not durable yet */
    struct session *full; /* the current run went to it, and it is full */
    struct table sessions_by_id; /* where there are other workers */
    struct subscription **picks; /* scratch of deliver.c */
    struct group_remote **remote_picks;
    uint32_t pick_capacity;
    uint64_t session_count;
    uint64_t work;      /* done so far: about one a delivery */
    uint64_t turn_work; /* in this turn, by those that had to wait for it */
    uint64_t subscription_serial;
    uint64_t seed;
    uint32_t run_bytes_max; /* a run is handed on at this size */
    uint32_t expected_runs; /* that route_expect was told of */
    uint32_t shut_down_retry_ms;
    bool shutting_down;
    bool tight_logged;     /* the log knows that memory is tight */
    bool meters_publishes; /* users have a rate */
    uint8_t boot[BROKER_SESSION_BYTES];
    struct core_stats totals; /* counters of what is over */
};

struct run;

/* ---- session.c ----------------------------------------------------------- */

/* There is no memory to receive into, not even of the reserve: drop what is
 * queued for the connection that keeps most memory from being used, with gaps.
 * False if nobody keeps any. (core.c) */
bool core_shed(struct core *core);

void session_set_state(struct session *session, enum session_state state);

/* The session with this id, or NULL. (core.c; with several workers only) */
struct session *core_find_session(const struct core *core, uint64_t id);

/* The time that deadlines are judged by. */
static inline uint64_t
core_judged_ms(const struct core *core)
{
    return core->polled_ms < core->now_ms ? core->polled_ms : core->now_ms;
}

/* The large frame that is coming in cannot be kept: skip it. */
void session_shed_input(struct session *session);

/* Is there input that goes on being processed in the next turn? */
static inline bool
core_is_working(const struct core *core)
{
    return !TAILQ_EMPTY(&core->working);
}

/* Whose session ids these are: users do not share them. 0: nobody's. */
uint64_t session_owner(const struct session *session);

/* Room for a control frame of `size` bytes, to be encoded there; then commit.
 * NULL if memory is out; then the session is aborted, because an answer would
 * be missing. */
uint8_t *session_control(struct session *session, size_t size);
void session_control_done(struct session *session, size_t size);

/* The same for what answers nothing: it does not wait behind answers that are
 * not known yet. */
uint8_t *session_unasked(struct session *session, size_t size);
void session_unasked_done(struct session *session, size_t size);

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
    const uint64_t *sequence; /* sent unless it is NULL */
    bool ends_subscription;   /* the one with the id, whatever the code says */
};
void session_refuse(struct session *session, const struct refusal *refusal);
/* It was refused before it came to the store. */
void session_become_unsure(struct session *session, uint32_t id);
/* May the store take the number for one that was stored, although it was
 * refused? */
bool session_is_unsure(const struct session *session, uint32_t id);

/* Refuse what has a publish number, which is settled by that, unless it is
 * 0. */
void session_refuse_numbered(
    struct session *session, const struct refusal *refusal);

/* The peer broke the protocol: ERROR about the frame, GOAWAY, close. */
void session_fail(struct session *session, enum broker_status code, uint32_t id,
    uint16_t frame_type);

/* The same with a text of its own, and not counted as the peer's error: HELLO
 * was understood, but the peer may not come in. */
void session_deny_hello(struct session *session, enum broker_status code,
    uint32_t hello_id, const char *text);

/* GOAWAY with close_code; nothing is said after it. `text` says more than the
 * code's own text, or is NULL. */
void session_send_goaway(struct session *session, const char *text);

/* Tell the peer something. `limit` is sent unless it is 0, `text` unless it is
 * NULL. */
void session_notice(struct session *session, enum broker_status code,
    uint64_t limit, const char *text);

/* There is nothing more to be said to this peer: close at once. */
void session_abort(struct session *session);

/* Go on processing frames after what they waited for is there, unless something
 * else is still waited for. */
void session_resume(struct session *session);
/* May this frame be processed now? If not, and those behind it neither, until
 * session_resume. */
bool session_may_process(struct session *session, uint16_t frame_type);

/* Does what is received wait? (session.c) */
bool session_is_suspended(const struct session *session);

/* Refuse a publish. `frame` holds it, for the topic, or is NULL. */
void session_refuse_publish(struct session *session, uint32_t id,
    enum broker_status code, const struct output_run *frame);

/* Close: at once (what is queued is dropped) or after everything queued. */
void session_close_now(struct session *session, enum broker_status code);
void session_close_drained(struct session *session, enum broker_status code);

/* The peer sends nothing more, or nothing that counts: behave as after a
 * half-close (PROTOCOL.md section 2). */
void session_ignore_input(struct session *session);

/* Tell the log; `text` may be NULL for the code's own text. */
void session_log(const struct session *session, enum core_event event,
    enum broker_status code, const char *text);

/* ---- session_time.c ------------------------------------------------------ */

/* When does a peer that takes no bytes lose its connection? */
uint64_t session_write_deadline(const struct session *session);
/* When what is queued is too old, and since when that is counted. */
uint64_t session_age_deadline(const struct session *session);
void session_mark_queue(struct session *session);
/* Set the deadline from the session's times. */
void session_schedule(struct session *session);
/* The deadline has come. */
void session_on_deadline(struct session *session);

/* ---- handle_session.c ---------------------------------------------------- */

void handle_hello(struct session *session, const struct broker_frame *frame);
void handle_ping(struct session *session, const struct broker_frame *frame);
void handle_pong(struct session *session, const struct broker_frame *frame);
void handle_goaway(struct session *session, const struct broker_frame *frame);

/* HELLO was accepted and the id is the session's: WELCOME. */
void session_open(struct session *session, uint32_t hello_id);

/* Subscriptions that the connection may have. */
uint32_t session_max_subscriptions(const struct session *session);

/* ---- handle_subscribe.c -------------------------------------------------- */

void handle_subscribe(
    struct session *session, const struct broker_frame *frame);
void handle_unsubscribe(
    struct session *session, const struct broker_frame *frame);
/* May the session have another subscription, with this id? */
enum broker_status subscription_check_new(
    const struct session *session, uint32_t id);
/* A new one, in no index yet; NULL if memory is out. */
struct subscription *subscription_new(
    struct session *session, uint32_t id, enum broker_overflow overflow);
/* The session's one with this id, or NULL. */
struct subscription *subscription_find(
    const struct session *session, uint32_t id);
/* It is over, and its peer knows; nothing of it is queued. */
void subscription_remove(struct subscription *subscription);
/* A subscription is in the index (`ok`), or could not be: SUBACK and these
 * retained values, or ERROR, after which it is gone. */
void subscription_made(struct subscription *subscription, bool ok,
    const struct retained_copy *values, size_t count);
/* All other workers know that this member of a queue group is to leave. */
void subscription_retired(struct subscription *subscription);
/* Members of queue groups are to leave; true if the others must know first. */
bool subscriptions_retire(struct session *session);
/* Messages left the queue: end subscriptions that were waiting for it. */
void subscriptions_drained(struct session *session);
/* Stop matching for all, or for those in queue groups; queues stay. */
void subscriptions_stop(struct session *session, bool groups_only);
/* Free them all; nothing must be queued. */
void subscriptions_free(struct session *session);

/* ---- handle_consume.c ---------------------------------------------------- */

void handle_consume(struct session *session, const struct broker_frame *frame);
void handle_settle(struct session *session, const struct broker_frame *frame);

/* ---- dispatch.c ---------------------------------------------------------- */

/* Process the whole frames that the intake holds. */
void dispatch_input(struct session *session);

/* ---- handle_publish.c ---------------------------------------------------- */

/* Process consecutive PUBLISH frames at src[0..len), beginning with `frame`,
 * which is the first of them: a slice of `block`. Returns the bytes used, at
 * least those of the first frame; or 0 if that has to wait for the store. */
size_t handle_publishes(struct session *session,
    const struct broker_frame *frame, struct block *block, const uint8_t *src,
    size_t len);
/* PUBLISH_BATCH, a slice of `block`. Returns the bytes used: all of it, or 0 if
 * it has to wait for the store. (handle_batch.c) */
size_t handle_publish_batch(struct session *session,
    const struct broker_frame *frame, struct block *block);

/* Why the session may not publish to the topic, or NULL if it may. */
const char *publish_why_denied(
    const struct session *session, struct broker_bytes topic);
/* Refuse a publish; `text` may be NULL. */
void publish_refuse(struct session *session,
    const struct broker_publish *publish, enum broker_status code,
    const char *text);

/* A publish with RETAIN, where retained values are kept: keep it, route it.
 * Or the code to refuse it with. */
enum broker_status publish_retained(
    struct core *core, struct broker_bytes topic, struct run *run);

/* ---- deliver.c ----------------------------------------------------------- */

struct run {
    struct route *route;
    struct session *publisher; /* NULL: the broker itself, or not here */
    struct output_run slice;
    struct wait *wait;  /* to be told the outcome; NULL: acknowledge it */
    uint64_t origin_id; /* of the publisher's session on another worker; or 0 */
    uint32_t origin;    /* that worker */
    uint32_t first_id;  /* 0: no acknowledgement wanted */
    bool forwarded;     /* by another worker, which has counted it */
    bool request;       /* has a REPLY_TO: is to match */
    bool stored;        /* is in a stream, and can be refused no more */
};

/* As route_get(), for a run that is to be delivered. MEMORY also if there is
 * none for what other workers are to be told: of a message that is refused its
 * publisher hears, of one that never reaches another worker nobody. */
struct route *deliver_route(struct core *core, struct broker_bytes topic,
    route_check *check, void *arg, enum broker_status *status);
/* Is there memory for that? */
bool deliver_may(struct core *core, const struct route *route);
/* Give the run to everybody on its route, which is from deliver_route() or does
 * not lead to other workers, and note the acknowledgement. */
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
/* The same for publishes that are durable in the stream of the capture, the
 * first of them with this sequence (0: none yet). */
void ack_note_stored(struct session *session, uint32_t first_id, uint32_t count,
    struct capture *capture, uint64_t first_sequence);
/* The publish number was dealt with, whatever the answer. */
void session_settle(struct session *session, uint32_t id);
/* It was answered before; or, if `stored`, it is durable. */
void ack_duplicate(struct session *session, uint32_t id, bool stored);
/* Write out what was noted. */
void ack_flush(struct session *session);

/* ---- requests.c ---------------------------------------------------------- */

/* A request to a topic that begins with $: answer and acknowledge it. Else the
 * code to refuse it with. */
enum broker_status request_to_broker(struct session *session,
    const struct broker_publish *publish, struct broker_bytes reply_to);

/* The broker's reply: publish and acknowledge it; or the code to refuse the
 * request with. */
enum broker_status request_answered(struct session *session, uint32_t id,
    struct broker_bytes reply_to, const struct buffer *reply);

/* ---- foreign.c ----------------------------------------------------------- */

/* Is what was received, in SESSION_HANDSHAKE, not our protocol? */
bool foreign_is(const struct session *session);
/* Then answer in the peer's own tongue and close. Where the bytes so far may
 * still become one of several tongues it waits for more, unless `final`; false:
 * it waits. */
bool foreign_answer(struct session *session, bool final);

#endif
