/* SPDX-License-Identifier: MIT
 *
 * The broker core: sessions, routing, queues, without any I/O of its own. Bytes
 * and time come in through the functions below; bytes to send are fetched by
 * whoever owns the connection; the hooks are the only way out. That makes the
 * whole broker one deterministic function of its input.
 *
 * Must not know: sockets, libevent, files, clocks, configuration files.
 * One thread a core. Several cores make one broker by exchanging mail
 * (exchange.h); nothing else is shared between them.
 */
#ifndef BROKER_CORE_CORE_H
#define BROKER_CORE_CORE_H

#include "output.h"

#include <broker/codec.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct account;
struct core;
struct store_port;
struct rights;
struct session;
struct buffer;
struct mailbag;
struct question;

/* Limits and times; all must be set. Names, meanings and ranges are those of
 * the configuration keys (brokerd.conf(5)). */
struct core_options {
    uint32_t max_body_bytes;
    uint16_t max_topic_bytes;
    uint16_t max_topic_levels;
    uint32_t max_subscriptions; /* per connection */
    uint64_t max_output_bytes;  /* per connection */
    uint64_t max_memory_bytes;
    uint64_t max_retained_topics;
    uint64_t max_retained_bytes;
    uint64_t max_sessions;
    uint64_t session_memory_ms;
    uint32_t handshake_timeout_ms;
    uint32_t heartbeat_ms, heartbeat_min_ms, heartbeat_max_ms;
    uint32_t write_timeout_ms;
    uint32_t half_close_linger_ms;
    uint32_t max_user_connections;    /* of one account */
    uint64_t max_user_messages_per_s; /* published; 0: no limit */
    uint64_t max_user_bytes_per_s;    /* the same */
    uint64_t max_subscribes_per_s;    /* of one connection; 0: no limit */
    uint32_t block_timeout_ms;
    bool allow_block;           /* subscribers may make publishers wait */
    uint32_t max_output_age_ms; /* 0: no limit */
    const char *name;           /* for WELCOME and for foreign peers; static */
    /* Of a broker with several workers; all zero for one that has one. Each
     * has a core of its own, with the same options but for `worker`. */
    uint32_t worker, workers;
    _Atomic uint64_t *shared_bytes; /* blocks in use by all of them */
    /* What else the process has allocated; counts as used. Or NULL. */
    const _Atomic uint64_t *other_bytes;
    const uint8_t *boot; /* boot id in common, BROKER_SESSION_BYTES; or NULL */
    /* This worker's port of the store; its hooks are to call core_store_poll
     * and core_store_room. NULL: there are no streams. All workers have one or
     * none has. */
    struct store_port *store;
};

/* What the log should know. */
enum core_event {
    CORE_EVENT_OPENED,         /* HELLO was accepted */
    CORE_EVENT_PROTOCOL_ERROR, /* the peer broke the protocol */
    CORE_EVENT_CLOSING,        /* why the broker closes */
    CORE_EVENT_SLOW,           /* messages begin to be dropped */
    CORE_EVENT_MEMORY,         /* memory became tight; of no one session */
    CORE_EVENT_DENIED,         /* the peer may not come in */
    CORE_EVENT_STORE,          /* something was not stored, or not loaded */
};

/* What HELLO says of who the peer is: all of it or nothing. */
struct core_credentials {
    struct broker_bytes user, method, secret;
};

struct core_hooks {
    /* The session has something to send, is to be closed, or wants input again:
     * call session_output_spans soon, not inside this call. For output called
     * once until session_output_sent left nothing. */
    void (*output_ready)(void *owner);
    /* `text` is valid during the call only and holds no bytes of the peer that
     * were not checked to be printable. `session` is NULL where it is about
     * none. */
    void (*log)(void *arg, enum core_event event, const struct session *session,
        enum broker_status code, const char *text);
    /* Answer a request to a topic under $sys/ into `reply`. BROKER_OK,
     * BROKER_E_RESERVED_TOPIC if there is no such topic, BROKER_E_BAD_REQUEST
     * or BROKER_E_MEMORY. */
    enum broker_status (*answer)(void *arg, const struct core *core,
        struct broker_bytes topic, struct broker_bytes payload,
        struct buffer *reply);
    /* The same for topics under $sys/stream/ and $sys/consumer/, where there is
     * a store: call question_complete() (question.h), inside this call or
     * later. Asked of worker 0 only. NULL: NO_STORE. */
    void (*ask)(void *arg, struct core *core, struct question *question);
    /* Find out who the peer is and what it may do, and say so with
     * session_admit or session_deny, inside this call or later. The views are
     * valid during the call only. NULL: everybody may do everything. */
    void (*authenticate)(
        void *owner, const struct core_credentials *credentials);
    /* Fill with random bytes that nobody can guess. */
    void (*random)(void *arg, uint8_t *dst, size_t len);
    /* Bring these bags of mail to that worker's core_receive_mail, which owns
     * them afterwards; in the order of calling. May be called for the worker
     * itself. Not used where there is one worker. */
    void (*post)(void *arg, uint32_t worker, struct mailbag *bags);
    void *arg;
};

/* NULL if memory is out. `options` and `hooks` are copied. */
struct core *core_new(const struct core_options *options,
    const struct core_hooks *hooks, uint64_t now_ms);
/* All sessions must have been freed. NULL is allowed. */
void core_free(struct core *core);

/* Has worker 0 loaded what the store keeps of the broker, and do all workers
 * know of it? Nobody may connect before. Without a store, and of other workers,
 * true. It needs turns of all workers until then. */
bool core_is_ready(const struct core *core);

/* Tell the time: milliseconds of a monotonic clock. Call before handing in
 * anything that happened since. */
void core_set_now(struct core *core, uint64_t now_ms);

/* And the wall clock: milliseconds since 1970 UTC. It may jump. Only where
 * there is a store. */
void core_set_wall(struct core *core, uint64_t wall_ms);

/* Until when everything that peers did has been handed in; deadlines are judged
 * as of then, because what came later may be waiting to be read, and what is to
 * be sent has not been tried. Without it: as of now. */
void core_set_polled(struct core *core, uint64_t polled_ms);

/* Do what is due, and go on with what a turn before left; returns when to call
 * again, or UINT64_MAX. */
uint64_t core_tick(struct core *core);
/* When to call it: what it would return now. */
uint64_t core_due(const struct core *core);

/* Other limits and times from now on. What clients were told in WELCOME, what
 * is in use and what is about memory stays: sizes of bodies and topics,
 * max_memory_bytes, the name, the workers. */
void core_set_options(struct core *core, const struct core_options *options);

/* Say goodbye to every session, after what is queued for it. Sessions that open
 * later are turned away. */
void core_shut_down(struct core *core, uint32_t retry_after_ms);

/* Mail from another worker, or from this one to itself. */
void core_receive_mail(struct core *core, struct mailbag *bags);
/* Read mail that there was no memory to deal with; false: still not. Call now
 * and then, as for sessions that wait for memory. */
bool core_read_mail(struct core *core);
/* Post what was written: before output is sent, at the end of each turn too, so
 * that whatever a client learns is on its way to the other workers by then; and
 * again after that, because queues have become shorter. */
void core_post_mail(struct core *core);

/* The store has results for this worker. */
void core_store_poll(struct core *core);
/* Inside of that: the store takes appends again. */
void core_store_room(struct core *core);
/* At the end of a turn: what was published may be made durable. */
void core_store_tick(struct core *core);

/* ---- sessions: one for each connection ----------------------------------- */

/* A connection was accepted. `peer` is its address as text, kept by the caller
 * as long as the session. NULL if memory is out. */
struct session *session_new(
    struct core *core, void *owner, uint64_t id, const char *peer);

/* The connection is gone; so is all that was queued. The session is invalid
 * afterwards. Not from inside a hook. NULL is allowed. */
void session_free(struct session *session);

/* Turn the peer away before it said anything: GOAWAY with this code. */
void session_reject(struct session *session, enum broker_status code);

/* Where to receive into; false: memory is out, try again later. */
bool session_reserve(struct session *session, uint8_t **dst, size_t *room);
/* `len` bytes were received there: process them. */
void session_received(struct session *session, size_t len);
/* Nothing more is to be read right now. */
void session_received_all(struct session *session);
/* The peer has shut down its writing side. */
void session_end_of_input(struct session *session);
/* False: do not read from this peer now, it does not read its answers. Ask
 * again after something was sent. */
bool session_wants_input(const struct session *session);

/* What to send: as output_spans and output_sent. The latter tells whether there
 * is more. */
size_t session_output_spans(
    struct session *session, struct output_span *spans, size_t max);
bool session_output_sent(struct session *session, size_t bytes);

/* Bytes of messages that are queued, with what it takes to queue them. */
uint64_t session_queued_bytes(const struct session *session);

/* The answer to core_hooks.authenticate: the peer may come in, as a connection
 * of this account (NULL: of nobody's), with these rights (NULL: all). Takes
 * over a reference to each. */
void session_admit(
    struct session *session, struct account *account, struct rights *rights);
/* Or it may not: AUTH_REQUIRED, AUTH_FAILED, ... `text` may be NULL. */
void session_deny(
    struct session *session, enum broker_status code, const char *text);
/* Its rights have changed; what is not permitted any more ends. Takes over a
 * reference. */
void session_set_rights(struct session *session, struct rights *rights);
/* Its user is gone: GOAWAY with this code. */
void session_expel(struct session *session, enum broker_status code);

enum session_end {
    SESSION_LIVES,
    SESSION_FINISHED, /* all was sent: shut down the writing side */
    SESSION_ABORTED,  /* there is no point in sending: close at once */
};
enum session_end session_end(const struct session *session);

/* ---- looking in ---------------------------------------------------------- */

struct core_stats {
    uint64_t connections, connections_total, rejected_connections;
    uint64_t subscriptions;
    uint64_t retained_topics, retained_bytes;
    uint64_t received_messages, received_bytes;
    uint64_t matched_messages, delivered_messages, delivered_bytes;
    uint64_t dropped_messages, no_match_messages, refused_publishes;
    uint64_t protocol_errors;
    uint64_t denied_connections; /* AUTH_REQUIRED, AUTH_FAILED */
    uint64_t denied_publishes, denied_subscribes, revoked_subscriptions;
    uint64_t held_for_work, held_for_rate, held_for_memory, held_for_full;
    uint64_t held_for_store;
    uint64_t stored_messages, stored_bytes; /* durable in a stream */
    uint64_t read_messages; /* queued for readers and consumers of streams */
    uint64_t route_lookups, route_misses;
    uint64_t memory_bytes, other_bytes, max_memory_bytes;
    uint64_t uptime_ms;
    uint8_t boot[BROKER_SESSION_BYTES];
    const char *name;
};
void core_get_stats(const struct core *core, struct core_stats *out);

struct session_stats {
    uint64_t id;
    const char *name; /* of the client; "" if it gave none */
    const char *user; /* "" if that is not known */
    const char *peer;
    const char *state;
    uint64_t age_ms;
    uint32_t subscriptions;
    uint64_t received_messages, received_bytes;
    uint64_t delivered_messages, delivered_bytes, dropped_messages;
    uint64_t queued_messages, queued_bytes;
};
/* The next session after `after`, or the first for NULL; NULL at the end. In
 * the order of accepting. */
const struct session *core_next_session(
    const struct core *core, const struct session *after);
void session_get_stats(
    const struct session *session, struct session_stats *out);

struct subscription;
/* The session's subscriptions, newest first. */
const struct subscription *session_next_subscription(
    const struct session *session, const struct subscription *after);

#endif
