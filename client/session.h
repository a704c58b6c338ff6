/* SPDX-License-Identifier: MIT
 *
 * One client's side of the protocol (PROTOCOL.md), without input or output:
 * bytes come in through session_receive_space() and _commit(), go out through
 * session_send_peek() and _sent(), time is an argument. A session lives as long
 * as the handle, across connections. It knows no sockets, no addresses, no
 * clock and no threads; the lock that guards it is its owner's.
 *
 * Locking. Every function is called with the owner's lock held. Functions that
 * say "calls back" let it go around every callback of the user, and may only be
 * called by the thread that drives; what they have read before is then not
 * trusted after. The others may be called by any thread, also meanwhile.
 *
 * Files: session.c (life, bytes, time), session_frames.c (what comes in),
 * session_deliver.c (messages and gaps), session_resume.c (WELCOME, and what a
 * lost connection means), session_inbox.c (where replies go), session_calls.c
 * (what the user asks for), session_consume.c (reading streams),
 * session_settle.c (acknowledging to durable consumers).
 */
#ifndef BROKER_CLIENT_SESSION_H
#define BROKER_CLIENT_SESSION_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include <broker/client.h>

#include "consume.h"
#include "credentials.h"
#include "inbox.h"
#include "outlog.h"
#include "publishes.h"
#include "receive.h"
#include "requests.h"
#include "subscriptions.h"
#include "text.h"

#define SESSION_NEVER UINT64_MAX /* as a time in microseconds */

enum session_state {
    SESSION_DOWN,      /* no connection */
    SESSION_HANDSHAKE, /* HELLO is out, or about to be */
    SESSION_OPEN,
    SESSION_LEAVING, /* our GOAWAY is out; the broker sends what it has left */
};

struct session_config {
    struct broker_client *client; /* only handed on to callbacks */
    void (*unlock)(void *context);
    void (*lock)(void *context);
    void *lock_context;
    /* Input is left alone for now once this differs from session.stop_mark. */
    const atomic_uint *stop_count;
    broker_client_error_fn *on_error;
    broker_client_gap_fn *on_gap;
    broker_client_notice_fn *on_notice;
    void *user;
    char name[BROKER_NAME_BYTES_MAX + 1];
    const struct credentials *credentials; /* the owner's; NULL: none */
    uint32_t heartbeat_ms;
    uint32_t max_body_bytes;
    size_t buffer_bytes;
    size_t inbox_bytes;
    uint8_t session[BROKER_SESSION_BYTES]; /* not all zero */
    uint8_t random[16];                    /* for the inbox of requests */
};

/* What is agreed with the broker, or was with the last one. */
struct session_agreed {
    bool known;   /* WELCOME came once */
    bool streams; /* the feature */
    uint32_t max_body_bytes;
    uint32_t heartbeat_ms;
    uint32_t max_subscriptions;
    struct broker_limits limits; /* for topics and filters of the user */
    uint8_t session[BROKER_SESSION_BYTES];
    uint8_t boot[BROKER_SESSION_BYTES];
    char server_name[BROKER_NAME_BYTES_MAX + 1];
    char user[REQUEST_USER_BYTES_MAX + 1]; /* "": WELCOME did not say */
};

/* A PING that waits for its PONG. */
struct session_ping {
    bool sent;
    bool measures; /* nothing was queued before it: its time is a round trip */
    uint32_t id;
    uint64_t sent_us;
    uint64_t fire_mark; /* messages without number that it confirms */
};

/* A flush, or a user's ping: done when the PONG came and everything numbered
 * before it is settled. */
typedef void session_ponged_fn(
    struct broker_client *client, enum broker_status status, void *user);
struct session_barrier {
    struct session_barrier *next;
    struct session_ping ping;
    bool ponged;
    bool is_ping; /* ends with the connection */
    bool doomed;  /* ends with the connection that was lost */
    uint64_t publish_mark;
    session_ponged_fn *callback;
    void *user;
};

/* Bytes that go out before the log: HELLO, and the subscriptions of before.
 * HELLO may hold a secret, so they are wiped when they are written. */
struct session_preamble {
    uint8_t *data;
    size_t size, capacity, sent;
};

/* The last topic that was found good: a flow of messages to one topic is not
 * checked again and again. */
#define SESSION_TOPIC_MEMO_BYTES 128
struct session_topic_memo {
    size_t len;
    uint8_t bytes[SESSION_TOPIC_MEMO_BYTES];
};

/* Where in its stream the next message is (PROTOCOL.md 4.18). */
struct session_position {
    uint32_t id;   /* of the subscription */
    uint32_t left; /* messages that it still holds for */
    uint32_t deliveries;
    uint64_t sequence, time_ms;
};

struct session {
    struct session_config config;
    enum session_state state; /* set by session_set_state() alone */
    struct session_agreed agreed;

    struct session_preamble preamble;
    struct outlog log;
    struct publishes publishes;
    struct subscriptions subscriptions;
    struct requests requests;
    uint32_t replies_id; /* the subscription of their inbox; 0: none yet */
    struct inbox inbox;
    struct session_barrier *barriers;

    /* Input; of the thread that drives alone. */
    struct receive receive;
    struct broker_limits receive_limits;
    size_t receive_needed;
    bool receive_more; /* frames may be left in the buffer */
    unsigned stop_mark;
    struct subscription **context; /* whom the next messages are for */
    size_t context_count, context_capacity;
    bool context_known, context_retained;
    bool context_plain;  /* all of them have on_message */
    bool context_stream; /* it is one, and of a stream */
    struct session_position position;
    struct session_topic_memo received_topic;

    struct session_topic_memo sent_topic;
    uint64_t fire_taken; /* messages without number, ever */
    uint64_t
        fire_confirmed; /* of these: processed by the broker, or given up */

    uint64_t now_us;
    uint64_t silent_since_us; /* when bytes came last */
    bool probed;              /* a PING went out since then */
    struct session_ping heartbeat;
    uint32_t last_ping_id;

    /* Why the connection ends, once a function has said that it does. */
    enum broker_status end_status;
    uint32_t retry_after_ms;
    uint64_t unknown_publishes; /* of the connection that was lost last */
    bool broker_restarted;      /* at the last WELCOME */

    struct broker_client_stats stats; /* the counters; not the "now" part */
    char error_text[TEXT_MAX];        /* what went wrong last */
};

/* ---- session.c ----------------------------------------------------------- */

void session_init(struct session *session, const struct session_config *config);
/* After session_end_all(). */
void session_fini(struct session *session);

/* A connection is there: says HELLO. NO_MEMORY. */
BROKER_MUST_CHECK enum broker_status session_connected(
    struct session *session, uint64_t now_us);

/* Where to read into; NULL: no memory. Driving thread. */
uint8_t *session_receive_space(struct session *session, size_t *room);
/* `n` bytes were read there. Driving thread. */
void session_receive_commit(struct session *session, size_t n, uint64_t now_us);
/* Handle the frames that are there. Calls back. `for_next`: stop as soon as
 * something waits for broker_client_next(). An error means that the connection
 * is to be dropped (session_lost()); error_text says why. */
BROKER_MUST_CHECK enum broker_status session_process(
    struct session *session, uint64_t now_us, bool for_next);
/* Are there frames left that process() did not handle? */
bool session_has_input(const struct session *session);

/* What is to be written: number of vectors, 0: nothing. */
size_t session_send_peek(
    const struct session *session, struct iovec *vectors, size_t max);
void session_sent(struct session *session, size_t n);
size_t session_unsent_bytes(const struct session *session);

/* What time brings: timeouts, heartbeats, ends that are due. Calls back. An
 * error as for process(). */
BROKER_MUST_CHECK enum broker_status session_tick(
    struct session *session, uint64_t now_us);
/* When tick() has to be called next. */
uint64_t session_deadline_us(const struct session *session);

/* Change the state; asserts that it may. */
void session_set_state(struct session *session, enum session_state state);

/* The connection has to end: note why, and return `status`. */
enum broker_status session_end(
    struct session *session, enum broker_status status, const char *text);
/* The same, because the broker broke the protocol. */
enum broker_status session_violation(
    struct session *session, enum broker_status status, const char *what);

/* Everything published is settled or confirmed, nothing is to be written. */
bool session_is_settled(const struct session *session);

/* Append a small frame of the library's own to the log. NO_MEMORY. */
BROKER_MUST_CHECK enum broker_status session_append(
    struct session *session, const uint8_t *frame, size_t size);
/* Append a PING and note it. */
BROKER_MUST_CHECK enum broker_status session_append_ping(
    struct session *session, struct session_ping *ping);

/* ---- session_frames.c ---------------------------------------------------- */

/* Handle one frame. Calls back. */
BROKER_MUST_CHECK enum broker_status session_handle(
    struct session *session, const struct broker_frame *frame);

/* Tell on_error. Calls back. */
void session_tell_error(
    struct session *session, const struct broker_client_error *error);
/* Tell whom a settled slot belongs to. Calls back. */
void session_tell_published(struct session *session,
    const struct publish_slot *slot,
    const struct broker_client_published *published);
/* End a request: takes it out and tells. Calls back. */
void session_end_request(struct session *session, struct request *request,
    enum broker_status status, const struct broker_message *reply);
/* Tell on_subscribed (or on_error). Calls back. */
void session_tell_subscribed(struct session *session,
    struct subscription *subscription,
    const struct broker_client_subscribed *subscribed);
/* "the subscription to 'a/#'", "the consumer 'b'", ... */
void session_name_subscription(
    const struct subscription *subscription, char *dst, size_t cap);
/* The subscription is over: takes it out and tells. Calls back. */
void session_end_subscription(struct session *session,
    struct subscription *subscription,
    const struct broker_client_unsubscribed *unsubscribed);
/* Finish the barriers that are done. Calls back. */
void session_finish_barriers(struct session *session);
/* Finish this one with this status. Calls back. */
void session_end_barrier(struct session *session,
    struct session_barrier *barrier, enum broker_status status);

/* ---- session_deliver.c --------------------------------------------------- */

BROKER_MUST_CHECK enum broker_status session_handle_context(
    struct session *session, const struct broker_frame *frame);
BROKER_MUST_CHECK enum broker_status session_handle_publish(
    struct session *session, const struct broker_frame *frame);
BROKER_MUST_CHECK enum broker_status session_handle_gap(
    struct session *session, const struct broker_frame *frame);
/* Deliver the messages at the front of the receive buffer for as long as it
 * goes without the lock. Calls back. */
void session_deliver_run(struct session *session);
/* Nobody may be told through this subscription any more. */
void session_forget_in_context(
    struct session *session, const struct subscription *subscription);
/* The subscription was refused or ended by the broker: who fetches with
 * broker_client_next() is told so in its place. */
void session_queue_end(
    struct session *session, const struct subscription *subscription);
/* Tell of a gap: on_gap, and broker_client_next(). Calls back. */
void session_tell_gap(
    struct session *session, const struct broker_client_gap *gap);

/* ---- session_resume.c ---------------------------------------------------- */

BROKER_MUST_CHECK enum broker_status session_handle_welcome(
    struct session *session, const struct broker_frame *frame);
/* The connection is gone. Calls back. */
void session_lost(struct session *session, uint64_t now_us);
/* Every request ends with BROKER_E_CLOSED. Calls back. */
void session_end_requests(struct session *session);
/* The handle is closed: every outcome that is open is told BROKER_E_CLOSED, and
 * `why`. Calls back. */
void session_end_all(struct session *session, const char *why);

/* ---- session_inbox.c ----------------------------------------------------- */

/* Subscribe to the inbox of requests, if it is not. */
BROKER_MUST_CHECK enum broker_status session_subscribe_inbox(
    struct session *session);
/* WELCOME said who the client is: requests that were not sent yet, and the
 * subscription, get the inbox of that user. Between session_lost() and the
 * first byte of the log. NO_MEMORY, and then nothing was changed. */
BROKER_MUST_CHECK enum broker_status session_move_inbox(
    struct session *session);

/* ---- session_calls.c ----------------------------------------------------- */

struct session_publish {
    struct broker_bytes topic, fields, payload;
    struct broker_bytes batch; /* frames; len 0: a single message */
    bool retain;
    bool numbered;
    bool needs_streams; /* the broker must know them */
    enum publish_kind kind;
    broker_client_published_fn *callback; /* PUBLISH_CALLBACK */
    uint64_t token, deadline_us;          /* PUBLISH_REQUEST, and: */
    broker_client_reply_fn *on_reply;
    void *user; /* of the callback, whichever */
};

/* Judge a message: BAD_TOPIC, TOO_LARGE, UNSUPPORTED_TYPE or OK and the size of
 * its frame. */
BROKER_MUST_CHECK enum broker_status session_publish_check(
    struct session *session, const struct session_publish *publish,
    size_t *frame_bytes);
/* Is there room for it? */
bool session_has_room(const struct session *session, size_t frame_bytes);
/* Take it; a request is registered, and its inbox subscribed to. NO_MEMORY, or
 * what subscribing returns. */
BROKER_MUST_CHECK enum broker_status session_publish(struct session *session,
    const struct session_publish *publish, size_t frame_bytes);

/* Whom on_subscribed is told to; that of the subscription is not looked at. */
struct session_outcome {
    broker_client_subscribed_fn *on_subscribed;
    void *user;
};
BROKER_MUST_CHECK enum broker_status session_subscribe(struct session *session,
    const struct broker_client_subscription *subscription,
    const struct session_outcome *outcome, uint32_t *out);
BROKER_MUST_CHECK enum broker_status session_unsubscribe(
    struct session *session, uint32_t id, bool drain,
    broker_client_unsubscribed_fn *callback, void *user);

/* End everything that is not ending yet, with DRAIN; the inbox of requests too
 * if `replies`. */
BROKER_MUST_CHECK enum broker_status session_unsubscribe_all(
    struct session *session, bool replies);

BROKER_MUST_CHECK enum broker_status session_barrier(struct session *session,
    bool is_ping, session_ponged_fn *callback, void *user);

/* Say GOAWAY LEAVING. */
BROKER_MUST_CHECK enum broker_status session_leave(struct session *session);

/* Take the next message or gap, or NULL. */
struct inbox_entry *session_take_event(struct session *session);

/* A subscription like `template`, and SUBSCRIBE or CONSUME for it if the
 * session is open. On success it owns template->consume. NO_MEMORY. */
BROKER_MUST_CHECK enum broker_status session_add_subscription(
    struct session *session, struct broker_bytes filter,
    struct broker_bytes group, const struct subscription *template,
    struct subscription **out);

/* SUBSCRIBE or CONSUME as bytes at the end of the preamble, or of the log. */
BROKER_MUST_CHECK enum broker_status session_send_subscribe(
    struct session *session, struct subscription *subscription,
    bool in_preamble);

/* Room for `size` bytes at the end of the preamble; NULL: no memory. */
uint8_t *session_preamble_reserve(struct session *session, size_t size);
/* Empty it. */
void session_preamble_reset(struct session *session);

/* ---- session_consume.c --------------------------------------------------- */

BROKER_MUST_CHECK enum broker_status session_consume(struct session *session,
    const struct broker_client_consume *asked,
    const struct session_outcome *outcome, uint32_t *out);

/* CONSUME for it, as it is now. */
struct broker_consume session_consume_frame(
    const struct subscription *subscription);

BROKER_MUST_CHECK enum broker_status session_handle_consume_reply(
    struct session *session, const struct broker_frame *frame);
/* Calls back. */
BROKER_MUST_CHECK enum broker_status session_handle_position(
    struct session *session, const struct broker_frame *frame);

/* The user has fetched it. If it is of a consumer and came on this connection,
 * it can be settled from now on: "all up to" is for what was fetched. */
void session_hold_fetched(
    struct session *session, const struct inbox_entry *entry);

/* The user does not get this one of a consumer: it is not settled with others,
 * and comes again when its time for acknowledging has passed. */
BROKER_MUST_CHECK enum broker_status session_keep_unseen(
    struct session *session, struct subscription *subscription,
    uint64_t sequence);

/* The position into a message that comes next. False: it should have one and
 * has not, or the other way round. Driving thread, without the lock too. */
bool session_position_take(
    struct session *session, struct broker_message *message);

/* ---- session_settle.c ---------------------------------------------------- */

/* What a message of a durable consumer gets. */
enum session_settle {
    SESSION_ACK,
    SESSION_ACK_UP_TO,
    SESSION_NACK,
    SESSION_BURY,
    SESSION_TOUCH,
};
/* Note it, to be said by the next flush. */
BROKER_MUST_CHECK enum broker_status session_settle(struct session *session,
    uint32_t subscription, enum session_settle what, uint64_t sequence,
    uint32_t delay_ms);

/* Append what was settled to the log, if the session is open. */
BROKER_MUST_CHECK enum broker_status session_flush_settled(
    struct session *session);
/* The same for one subscription. */
BROKER_MUST_CHECK enum broker_status session_flush_settled_of(
    struct session *session, struct subscription *subscription);

#endif
