/* SPDX-License-Identifier: MIT
 *
 * libbroker-client: one handle for life to a brokerd (PROTOCOL.md version 1).
 *
 *     struct broker_client_options options;
 *     broker_client_options_init(&options, sizeof options);
 *     struct broker_client *client;
 *     if (broker_client_new(&options, &client) == BROKER_OK) {
 *         broker_client_publish(client, "a/b", "hello", 5);
 *         broker_client_close(client, 5000);
 *         broker_client_free(client);
 *     }
 *
 * Driving. A handle has no thread of its own: it works while some thread is in
 * a function that drives it. There are three ways to use it; they may be mixed
 * on one handle.
 *   - A thread that is in broker_client_run() until broker_client_stop().
 *   - Blocking calls: broker_client_next() and those whose name ends in _wait,
 *     broker_client_flush(), _drain(), _close(). They drive the handle
 *     themselves if no other thread does, else they wait for that thread.
 *   - An event loop: watch broker_client_fd(), call broker_client_process()
 *     when it is readable and after broker_client_timeout_ms(). The adapters in
 *     <broker/adapters/libevent.h> and <broker/adapters/poll.h> do just that.
 *     Once broker_client_process() was called, only the thread that calls it
 *     drives; blocking calls on other threads wait for it.
 * broker_client_new() does no input or output: connecting begins when the
 * handle is first driven. A handle that is not driven for three heartbeats (45
 * seconds unless agreed otherwise) is taken for dead by the broker; it then
 * reconnects when it is driven again.
 *
 * Threads. Every function may be called from any thread at any time, with the
 * exception of broker_client_free(), see there. Only one thread drives at a
 * time.
 *
 * Callbacks run on the thread that is driving, without any lock held, one at a
 * time, and never before the call that named them has returned, unless that
 * call itself drives (the blocking ones). From inside a callback every function
 * may be called but the blocking ones (run, next, process, *_wait, flush,
 * drain, close, ping), which return BROKER_E_INVALID_ARGUMENT there;
 * broker_client_free() inside a callback takes effect when the callback and the
 * driving function have returned. A publish under the policy
 * BROKER_CLIENT_WHEN_FULL_BLOCK does not wait inside a callback, it returns
 * BROKER_E_BUFFER_FULL or BROKER_E_NOT_CONNECTED.
 *
 * Exactly once. If a call that takes an outcome callback returns an error, the
 * callback never runs. Else it runs exactly once: at the latest in
 * broker_client_free(), with BROKER_E_CLOSED. Outcome callbacks are those of
 * publish_acked, subscribe (on_subscribed), unsubscribe, request and
 * flush_start. A NULL outcome callback is allowed everywhere.
 *
 * Ownership. Everything that is passed in is copied before the call returns.
 * Everything that is passed to a callback is a view that is valid until the
 * callback returns, unless it says otherwise.
 *
 * Strings are UTF-8 and NUL-terminated. Times are in milliseconds; a
 * `timeout_ms` of -1 waits for ever, 0 does not wait (what can be done without
 * waiting is still done). Results are enum broker_status;
 * broker_client_error_text() says more.
 *
 * Losing the connection (PROTOCOL.md 5.3). The handle reconnects by itself,
 * subscribes again and sends again, in order, what was not acknowledged, with
 * the same numbers, so that the broker routes or stores it once. What then is
 * not certain, is said:
 *   - Messages for the plain subscriptions may have been missed: on_gap is
 *     called with BROKER_CLIENT_GAP_CONNECTION when the connection is back.
 *     Readers and consumers of streams go on and miss nothing.
 *   - Messages published without acknowledgement that had been written whole
 *     have an unknown fate: broker_client_state_event.unknown_publishes counts
 *     them. Those not written whole are kept and sent.
 *   - A broker that was restarted does not know the session: messages may then
 *     arrive twice; broker_client_state_event.broker_restarted tells.
 *   - Requests that had been written end with BROKER_E_CONNECTION_LOST and are
 *     not sent again; those that had not are sent.
 */
#ifndef BROKER_CLIENT_H
#define BROKER_CLIENT_H

#include <broker/codec.h>

#ifdef __cplusplus
extern "C" {
#endif

struct broker_client;

/* ---- what callbacks are told --------------------------------------------- */

/* A received message. All members are views (see "Ownership" above). */
struct broker_message {
    uint32_t subscription; /* whom this call is for; 0 in a reply */
    uint32_t nth;  /* a message that matches several subscriptions of the handle
                     is given to each: 0 in the first call, then 1, ... */
    bool retained; /* a retained value, not a live message */
    struct broker_bytes topic;
    struct broker_bytes payload;
    struct broker_bytes reply_to; /* where an answer goes; len 0: none */
    struct broker_bytes fields;   /* all extension fields: walk the user's
                                     headers with broker_header_next() */
    /* Of a stream (<broker/client_stream.h>); 0 in a message of a plain
     * subscription. */
    uint64_t sequence;
    uint64_t time_ms;    /* when it was stored, since 1970 UTC */
    uint32_t deliveries; /* of a durable consumer: how often somebody got it,
                            this time included; 0 for a reader */
};

/* The value of the first user header with this key: true and *value is a view
 * into the message, or false. Any thread. */
BROKER_API bool broker_client_message_header(
    const struct broker_message *message, const char *key,
    struct broker_bytes *value);

/* Why messages are missing: a reason of the broker as it stands on the wire (1
 * to 255, enum broker_gap_reason; treat unknown ones as "lost"), or one of
 * these of the library. */
enum broker_client_gap_reason {
    BROKER_CLIENT_GAP_CONNECTION = 256, /* the connection was lost and is back;
                                           messages may be missing: count 0 */
    BROKER_CLIENT_GAP_INBOX = 257,      /* the queue of broker_client_next() was
                                           full: inbox_bytes */
    BROKER_CLIENT_GAP_UNREADABLE = 258, /* a message has a critical field that
                                           this library does not know */
    BROKER_CLIENT_GAP_ENDED = 259,      /* the broker refused or ended the
                                      subscription: nothing more comes. Only
                                      from broker_client_next(), in its place;
                                      on_error says why */
};

/* Messages are missing in this place. `count` messages are missing, each of
 * which matched all of `subscriptions`; 0: the number is not known. */
struct broker_client_gap {
    unsigned reason; /* enum broker_gap_reason or broker_client_gap_reason */
    uint64_t count;  /* messages; 0: not known, perhaps none */
    uint64_t bytes;  /* of their frames; 0: not known */
    const uint32_t *subscriptions;
    size_t subscription_count; /* at least 1 */
};

/* A reason as text: "overflow", "connection lost", ... Never NULL, static. */
BROKER_API const char *broker_client_gap_text(unsigned reason);

/*                +-------------------------------+
 *                v                               |
 *   IDLE -> CONNECTING -> CONNECTED -> (lost) WAITING
 *                |            |
 *                +------------+--> CLOSING -> CLOSED
 * CLOSED is final: after close and free, when reconnecting is off or its limit
 * is reached, and after an error that reconnecting cannot mend: VERSION,
 * SESSION_TAKEN, AUTH_REQUIRED, AUTH_FAILED. (What proves who the client is
 * does not change as long as the handle lives; trying it again and again costs
 * the broker a slow hash each time, and looks like somebody who guesses.) */
enum broker_client_state {
    BROKER_CLIENT_IDLE,       /* not driven yet */
    BROKER_CLIENT_CONNECTING, /* looking up, connecting, waiting for WELCOME */
    BROKER_CLIENT_CONNECTED,
    BROKER_CLIENT_WAITING, /* not connected; will try again */
    BROKER_CLIENT_CLOSING, /* close was called: sending what is left */
    BROKER_CLIENT_CLOSED,
};

/* The name of a state in lower case, "connected". Never NULL, static. */
BROKER_API const char *broker_client_state_name(enum broker_client_state state);

struct broker_client_state_event {
    enum broker_client_state state;
    enum broker_client_state previous;
    enum broker_status status;  /* why, BROKER_OK if nothing went wrong: e.g.
                                  CONNECT_FAILED, TIMEOUT, CONNECTION_LOST,
                                  SHUTTING_DOWN, SLOW_CONSUMER, ... */
    const char *text;           /* the same for a person, with what to do about
                                  it; "" if status is BROKER_OK */
    const char *address;        /* which broker; "" if none */
    uint32_t retry_in_ms;       /* WAITING: when it tries again */
    uint64_t unknown_publishes; /* leaving CONNECTED: messages published without
                                   acknowledgement whose fate is not known */
    bool reconnected;           /* CONNECTED: not for the first time */
    bool broker_restarted; /* CONNECTED: not the broker process of before, or
                              one that does not know the session any more */
};

/* Something was refused or went wrong that has no callback of its own: a
 * message published without acknowledgement, a subscription that the broker
 * refuses after a reconnect or ends because it is not permitted any more
 * (REVOKED; it has ended then and is not made again), bytes from the broker
 * that break the protocol. */
struct broker_client_error {
    enum broker_status status; /* a code not in errors.def is passed on too */
    const char *text;          /* for a person, with what to do about it */
    uint16_t frame_type; /* enum broker_frame_type that was refused; 0: none */
    uint32_t subscription;     /* the one that has ended; 0: none */
    struct broker_bytes topic; /* the topic or filter that is meant; may be
                                  empty */
    uint64_t limit;            /* the limit that was reached; 0: not said */
    bool may_retry;            /* the same may succeed later */
    uint64_t sequence; /* WRONG_LAST_SEQUENCE: the stream's last one; else 0 */
};

/* NOTICE of the broker, e.g. QUEUE_HIGH: this client reads too slowly; or
 * MEMORY_HIGH, RATE_HIGH, BLOCKED: what it publishes is read more slowly, and
 * why (PROTOCOL.md 5.12). */
struct broker_client_notice {
    unsigned code;
    const char *text;
    uint64_t limit; /* 0: not said */
};

typedef void broker_client_state_fn(struct broker_client *client,
    const struct broker_client_state_event *event, void *user);
typedef void broker_client_error_fn(struct broker_client *client,
    const struct broker_client_error *error, void *user);
typedef void broker_client_gap_fn(struct broker_client *client,
    const struct broker_client_gap *gap, void *user);
typedef void broker_client_notice_fn(struct broker_client *client,
    const struct broker_client_notice *notice, void *user);

/* ---- options and life ---------------------------------------------------- */

/* What a publish does when it cannot be taken at once. It "cannot be taken"
 * when buffer_bytes are already held for the broker (not written, or not yet
 * acknowledged). */
enum broker_client_when_full {
    /* Connected or not, it is buffered; a full buffer is BUFFER_FULL.
     * The default. */
    BROKER_CLIENT_WHEN_FULL_BUFFER,
    /* Not connected is NOT_CONNECTED; a full buffer is BUFFER_FULL. */
    BROKER_CLIENT_WHEN_FULL_FAIL,
    /* Waits for the connection and for room, at most publish_timeout_ms, then
     * TIMEOUT. Drives the handle meanwhile if nobody does. */
    BROKER_CLIENT_WHEN_FULL_BLOCK,
};

/* Fill it with broker_client_options_init() and change what you need. */
struct broker_client_options {
    size_t options_bytes; /* set by init: which version of this struct */

    /* Addresses (<broker/address.h>), tried in this order. NULL: the defaults
     * of PROTOCOL.md 2.2. One failed round over all of them is one attempt. */
    const char *const *addresses;
    size_t address_count;

    const char *name; /* for the broker's logs, 1 to 255 bytes; NULL: none */

    int connect_timeout_ms; /* per address: look-up, connect and WELCOME;
                               default 5000. Host names are looked up on a
                               thread of their own, so nothing blocks */
    uint32_t heartbeat_ms;  /* wish; 0, the default: as the broker likes */

    bool reconnect;              /* default true */
    uint32_t reconnect_min_ms;   /* default 50, doubling up to ... */
    uint32_t reconnect_max_ms;   /* ... 5000. The wait is random between 0 and
                                   this ("full jitter"); the first try after a
                                   loss comes at once. GOAWAY's retry_after_ms
                                   is the least wait after it. */
    uint32_t reconnect_attempts; /* failed attempts in a row before the handle
                                    closes; 0, the default: for ever */
    uint32_t connect_attempts;   /* the same before the first connection; 0, the
                                  default: for ever; 1: fail at once */

    enum broker_client_when_full when_full;
    size_t buffer_bytes;    /* default 16 MiB; a single larger message is taken
                               when nothing else is held */
    int publish_timeout_ms; /* for ..._BLOCK; default 30000 */

    uint32_t max_body_bytes; /* largest frame body that is accepted; default
                                and most BROKER_BODY_BYTES_MAX */
    size_t inbox_bytes;      /* memory for messages that wait for
                           broker_client_next(); default 16 MiB */

    /* Session id (PROTOCOL.md 4.1); all zero, the default: a random one. Give
     * one to go on with the publish numbers of an earlier process. Keep it
     * secret; two handles must not share it. */
    uint8_t session[BROKER_SESSION_BYTES];

    /* Any may be NULL. `user` is passed to all four. */
    broker_client_state_fn *on_state;
    broker_client_error_fn *on_error;
    broker_client_gap_fn *on_gap;
    broker_client_notice_fn *on_notice;
    void *user;

    /* Who this client is (PROTOCOL.md 5.10): a name of 1 to 255 bytes, and
     * exactly one of the secrets, of 1 to 16,384 bytes. All NULL, the default:
     * the broker may go by the account (UNIX socket) or the client certificate.
     * The secret is copied, said to the broker at each connect, in no text and
     * no log, and wiped when the handle is freed. Over TCP without TLS it is
     * not sent to another machine: BROKER_E_TLS_FAILED. */
    const char *user_name;
    const char *password;
    const char *token;

    /* TLS, for addresses that begin with tls://: 1.2 or later. The files are
     * PEM and are read at each connect, so renewed ones are used from the next
     * one on. A failed handshake is BROKER_E_TLS_FAILED; the text says whether
     * the certificate is not trusted, not for this name or expired, or the peer
     * too old or not one that speaks TLS. */
    const char *tls_ca_file; /* authorities to trust; NULL: the system's */
    const char *tls_certificate_file; /* who this client is, with what comes
                                         between it and the authority; NULL:
                                         no client certificate */
    const char *tls_key_file;         /* its key, without a passphrase; NULL: in
                                    the certificate's file */
    const char *tls_server_name; /* whom the broker's certificate must be for;
                                    NULL: the host of the address */
    /* WARNING: for experiments only. Takes any certificate, so whoever sits
     * between this client and the broker can read and change everything, the
     * password included. */
    bool tls_accept_any_certificate;
};

/* Fill *options with the defaults. Pass sizeof *options, so that programs built
 * with an older header go on working. */
BROKER_API void broker_client_options_init(
    struct broker_client_options *options, size_t options_bytes);

/* Make a handle. Does no input or output and never blocks. `options` may be
 * NULL: the defaults. The caller frees *out with broker_client_free().
 *   BROKER_E_BAD_ADDRESS       an address cannot be read
 *   BROKER_E_INVALID_ARGUMENT  an option is out of its range; or an address
 *                              begins with tls:// and the library was built
 *                              without TLS
 *   BROKER_E_NO_MEMORY, BROKER_E_SYSTEM (no file descriptor left, ...)
 * broker_client_error_text(NULL, ...) says more on the same thread. */
BROKER_API BROKER_MUST_CHECK enum broker_status broker_client_new(
    const struct broker_client_options *options, struct broker_client **out);

/* End the handle without ceremony: the connection is dropped, what was not sent
 * is lost, every outcome callback that has not run yet runs on this thread with
 * BROKER_E_CLOSED. For an orderly end call broker_client_close() first.
 *
 * Threads that are inside blocking calls are told to return (BROKER_E_CLOSED)
 * and waited for. No call on the handle may begin after this one began, except
 * from the callbacks that it runs. Inside a callback it returns at once and the
 * end comes when the driving function returns. NULL is allowed. */
BROKER_API void broker_client_free(struct broker_client *client);

/* Leave in an orderly way (PROTOCOL.md 2, "Half-close"): take no new calls
 * (they return BROKER_E_CLOSED, but for broker_client_reply()), wait until
 * everything published is written and acknowledged (connecting for that, if
 * need be), end all subscriptions after delivering what the broker has queued
 * for them, say GOAWAY LEAVING, shut down the writing side, read to the end,
 * and close. Requests without a reply end with BROKER_E_CLOSED. If nothing is
 * left to send and there is no connection, it does not wait for one.
 *   BROKER_OK         the broker has processed everything published
 *   BROKER_E_TIMEOUT  the time was over; the connection was dropped. What was
 *                     not acknowledged got its callback with BROKER_E_CLOSED
 *   BROKER_E_CONNECTION_LOST  it was lost after the last byte was written:
 *                     messages without acknowledgement have an unknown fate
 *   BROKER_E_CLOSED   it was closed already; or the status that ended the
 *                     handle (BROKER_E_CONNECT_FAILED, ...)
 *   BROKER_E_INTERRUPTED  broker_client_stop(); closing goes on when driven
 *   BROKER_E_INVALID_ARGUMENT  called inside a callback: use close_start
 * Afterwards only statistics, texts, broker_client_next() for what it still
 * keeps, and broker_client_free() make sense. */
BROKER_API enum broker_status broker_client_close(
    struct broker_client *client, int timeout_ms);

/* The same without waiting: on_state tells CLOSING and, at the latest after
 * timeout_ms, CLOSED with the status that close would have returned.
 * BROKER_OK or BROKER_E_CLOSED. */
BROKER_API enum broker_status broker_client_close_start(
    struct broker_client *client, int timeout_ms);

/* ---- driving ------------------------------------------------------------- */

/* Drive the handle until
 *   BROKER_E_INTERRUPTED  broker_client_stop() was called
 *   BROKER_E_TIMEOUT      timeout_ms is over (never for -1)
 *   BROKER_E_CLOSED       the handle was closed or freed; after a failure that
 *                         ended it, the status of that failure instead
 *   BROKER_E_INVALID_ARGUMENT  called inside a callback
 * If another thread is driving, this one waits and takes over when it stops. */
BROKER_API enum broker_status broker_client_run(
    struct broker_client *client, int timeout_ms);

/* Make the blocking calls that are under way on this handle return
 * BROKER_E_INTERRUPTED; if there is none, the next one. Any thread, inside
 * callbacks, and in signal handlers (it is async-signal-safe). */
BROKER_API void broker_client_stop(struct broker_client *client);

/* Wait until CONNECTED, driving the handle.
 *   BROKER_OK, BROKER_E_TIMEOUT, BROKER_E_INTERRUPTED, BROKER_E_CLOSED,
 *   BROKER_E_INVALID_ARGUMENT  as for broker_client_run()
 *   and whatever ended the handle: BROKER_E_CONNECT_FAILED, BROKER_E_VERSION...
 * broker_client_error_text() says what went wrong last, after TIMEOUT too. */
BROKER_API enum broker_status broker_client_connect_wait(
    struct broker_client *client, int timeout_ms);

/* A descriptor for an event loop: readable when broker_client_process() has
 * something to do. The same for the life of the handle, whatever happens to the
 * connection; the only event to wait for is "readable" (POLLIN). It is an epoll
 * descriptor: never read, write or close it. */
BROKER_API int broker_client_fd(const struct broker_client *client);

/* Milliseconds until broker_client_process() has to be called even if the
 * descriptor stays quiet; 0: now; -1: no need. Ask again after each process();
 * a call on the handle that brings the time forward makes the descriptor
 * readable. */
BROKER_API int broker_client_timeout_ms(struct broker_client *client);

/* Do what can be done now without waiting: connect, read, call back, write,
 * timers. Bounded work: at most some hundred kilobytes are read at once, the
 * descriptor stays readable if there is more.
 *   BROKER_OK        also if another thread is driving (nothing is done then)
 *   BROKER_E_CLOSED  the handle is closed; or the status that ended it
 *   BROKER_E_INVALID_ARGUMENT  called inside a callback */
BROKER_API enum broker_status broker_client_process(
    struct broker_client *client);

/* ---- publishing ---------------------------------------------------------- */

struct broker_client_header {
    const char *key; /* 1 to 255 bytes */
    const void *value;
    size_t value_bytes;
};

/* A message to send. Zero what you do not use: = {.topic = "a"}. */
struct broker_client_outgoing {
    const char *topic;
    const void *payload; /* may be NULL if payload_bytes is 0 */
    size_t payload_bytes;
    bool retain; /* keep it as the topic's retained value (PROTOCOL.md 5.5); an
                    empty payload removes the value */
    const char *reply_to; /* a topic for answers, or NULL */
    const struct broker_client_header *headers;
    size_t header_count; /* all headers and reply_to: at most 65535 bytes */
    /* For a topic that a stream captures (PROTOCOL.md 5.13). The first two need
     * a broker that knows streams (BROKER_E_UNSUPPORTED_TYPE) and a stream
     * (BROKER_E_NOT_CAPTURED), and exclude each other (BROKER_E_BAD_REQUEST); a
     * message with either is acknowledged. */
    bool expects_last; /* store it only if expected_last_sequence is the last
                          one of the stream (0: if there never was one); else
                          BROKER_E_WRONG_LAST_SEQUENCE */
    uint64_t expected_last_sequence;
    uint64_t deliver_at_ms; /* store and deliver it at this time, since 1970
                               UTC; 0: now */
    uint64_t ttl_ms; /* not to be read later than this after it was stored; 0:
                        no limit */
};

/* What became of a message, or of a batch (PROTOCOL.md 5.2). */
struct broker_client_published {
    enum broker_status status; /* BROKER_OK: acknowledged. Else the code of the
                                  ERROR that refused it, or BROKER_E_CLOSED */
    enum broker_level level;
    uint32_t matched; /* subscriptions that it was for */
    uint32_t refused; /* of these: could not take it and got a gap */
    bool duplicate; /* settled on an earlier connection: matched and refused are
                       0 because they are not known */
    const char *text; /* if status is not BROKER_OK: for a person, with what to
                         do about it; else "". In publish_wait: use
                         broker_client_error_text(), this is "" there. */
    /* Of BROKER_LEVEL_SYNCED: the stream ("": it is not said, as in a
     * duplicate), and the message's sequence in it (0: it is not said, or the
     * message waits for its time). Of a batch the sequence of the last message,
     * those before have the ones before it. With WRONG_LAST_SEQUENCE: the last
     * sequence that the stream has. */
    char stream[BROKER_NAME_BYTES_MAX + 1];
    uint64_t sequence;
};
typedef void broker_client_published_fn(struct broker_client *client,
    const struct broker_client_published *published, void *user);

/* Publish without acknowledgement. Cheap: the message is appended to a buffer
 * that is written when it is large, or when the handle is next driven. What the
 * broker refuses later goes to on_error. Never blocks, except under
 * BROKER_CLIENT_WHEN_FULL_BLOCK.
 *   BROKER_E_BAD_TOPIC         not a topic name (PROTOCOL.md 6)
 *   BROKER_E_TOO_LARGE         over the max_body_bytes agreed with the broker
 *                              (or wished for, before the first connection);
 *                              the error text names the limit
 *   BROKER_E_BUFFER_FULL, BROKER_E_NOT_CONNECTED, BROKER_E_TIMEOUT,
 *   BROKER_E_INTERRUPTED       as enum broker_client_when_full says
 *   BROKER_E_CLOSED, BROKER_E_NO_MEMORY, BROKER_E_INVALID_ARGUMENT
 * After an error nothing was sent. */
BROKER_API enum broker_status broker_client_publish(
    struct broker_client *client, const char *topic, const void *payload,
    size_t payload_bytes);

/* The same with all options. A message with reply_to is acknowledged (the
 * protocol wants it), and so sent again after a lost connection. Errors as
 * above, and BROKER_E_INVALID_ARGUMENT for headers that do not fit. */
BROKER_API enum broker_status broker_client_publish_message(
    struct broker_client *client, const struct broker_client_outgoing *message);

/* Publish with acknowledgement: kept, and sent again after a lost connection,
 * until the broker has answered. Outcomes come in publish order as far as the
 * broker keeps it. Errors as above; then `callback` never runs. */
BROKER_API enum broker_status broker_client_publish_acked(
    struct broker_client *client, const struct broker_client_outgoing *message,
    broker_client_published_fn *callback, void *user);

/* Publish and wait for the answer. Returns out->status if there was one; *out
 * may be NULL. After BROKER_E_TIMEOUT or BROKER_E_INTERRUPTED the message is
 * still on its way. Other errors as above. */
BROKER_API enum broker_status broker_client_publish_wait(
    struct broker_client *client, const struct broker_client_outgoing *message,
    int timeout_ms, struct broker_client_published *out);

/* ---- subscribing --------------------------------------------------------- */

typedef void broker_client_message_fn(struct broker_client *client,
    const struct broker_message *message, void *user);

/* The broker's answer to a subscription. */
struct broker_client_subscribed {
    enum broker_status status; /* BROKER_OK, or why it was refused; it has ended
                                  then */
    uint32_t subscription;
    enum broker_overflow overflow; /* in force */
    uint32_t retained;             /* retained values that follow */
    const char *text;              /* as in struct broker_client_published */
    /* Of broker_client_consume() alone: what the stream has (PROTOCOL.md 4.17),
     * and how a durable consumer is acknowledged. */
    char stream[BROKER_NAME_BYTES_MAX + 1];
    uint64_t first_sequence, last_sequence;
    uint64_t next_sequence; /* nothing below it comes for the first time */
    enum broker_ack_mode ack;
    uint32_t window; /* messages in the hands of this client at once */
};
typedef void broker_client_subscribed_fn(struct broker_client *client,
    const struct broker_client_subscribed *subscribed, void *user);

/* A subscription. Zero what you do not use: = {.filter = "a/#"}. */
struct broker_client_subscription {
    const char *filter;            /* PROTOCOL.md 6 */
    const char *group;             /* queue group, or NULL */
    enum broker_overflow overflow; /* if this client falls behind; 0: as the
                                      broker likes */
    bool no_retained;              /* no retained values at the start */
    broker_client_message_fn *on_message; /* NULL: messages and gaps are fetched
                                             with broker_client_next() */
    broker_client_subscribed_fn *on_subscribed; /* outcome; may be NULL (a
                                                   refusal then goes to
                                                   on_error) */
    void *user;
};

/* Subscribe. The subscription lives until it is ended by unsubscribe, refused,
 * or the handle is freed; it is made again after each reconnect (with retained
 * values again, unless no_retained). *subscription is its number, not 0, not
 * used again soon. A message that matches several subscriptions of the handle
 * is given to each of them. Works while not connected.
 *   BROKER_E_BAD_FILTER, BROKER_E_BAD_GROUP, BROKER_E_INVALID_ARGUMENT,
 *   BROKER_E_TOO_MANY_SUBSCRIPTIONS (more than the broker allows),
 *   BROKER_E_CLOSED, BROKER_E_NO_MEMORY */
BROKER_API enum broker_status broker_client_subscribe(
    struct broker_client *client,
    const struct broker_client_subscription *subscription, uint32_t *out);

/* Subscribe and wait for the answer: when it returns BROKER_OK, every message
 * that is published from now on is delivered or counted in a gap.
 * `subscription->on_subscribed` must be NULL. Returns the broker's refusal, the
 * errors above, or BROKER_E_TIMEOUT, BROKER_E_INTERRUPTED, BROKER_E_CLOSED,
 * BROKER_E_INVALID_ARGUMENT (inside a callback). After an error there is no
 * subscription. `answer` may be NULL. */
BROKER_API enum broker_status broker_client_subscribe_wait(
    struct broker_client *client,
    const struct broker_client_subscription *subscription, int timeout_ms,
    uint32_t *out, struct broker_client_subscribed *answer);

/* The end of a subscription, with its final books as the broker kept them (of
 * the connection of now): matched = delivered + dropped. */
struct broker_client_unsubscribed {
    enum broker_status status; /* BROKER_OK; BROKER_E_CONNECTION_LOST, or
                                  BROKER_E_REVOKED (the broker was faster):
                                  ended, but the books (0) are not known */
    uint32_t subscription;
    uint64_t matched, delivered, dropped;
};
typedef void broker_client_unsubscribed_fn(struct broker_client *client,
    const struct broker_client_unsubscribed *unsubscribed, void *user);

/* End a subscription. With `drain`, what the broker has queued for it is still
 * delivered (PROTOCOL.md 5.4); else on_message is not called again once this
 * returned (a call that is under way on another thread ends by itself). What
 * waits for broker_client_next() already is kept. After
 * `callback` ran, the library does not use the subscription's `user` again.
 *   BROKER_E_UNKNOWN_SUBSCRIPTION  there is none, or it is ending already
 *   BROKER_E_CLOSED, BROKER_E_NO_MEMORY */
BROKER_API enum broker_status broker_client_unsubscribe(
    struct broker_client *client, uint32_t subscription, bool drain,
    broker_client_unsubscribed_fn *callback, void *user);

/* The same, and wait. `out` may be NULL. */
BROKER_API enum broker_status broker_client_unsubscribe_wait(
    struct broker_client *client, uint32_t subscription, bool drain,
    int timeout_ms, struct broker_client_unsubscribed *out);

/* ---- messages as values -------------------------------------------------- */

enum broker_client_event_kind {
    BROKER_CLIENT_EVENT_MESSAGE,
    BROKER_CLIENT_EVENT_GAP,
    BROKER_CLIENT_EVENT_CAUGHT_UP, /* of broker_client_consume() alone */
};

/* A message, a gap, or the news that there is nothing more for now, that the
 * caller owns; free it with broker_client_event_free(). Only the pointer of its
 * kind is not NULL; it lives as long as the event does. */
struct broker_client_event {
    enum broker_client_event_kind kind;
    const struct broker_message *message;
    const struct broker_client_gap *gap;
    uint32_t subscription; /* CAUGHT_UP: which one; else 0 */
};

/* Take the next message or gap of the subscriptions without on_message, driving
 * the handle. A message for several of them comes once for each. When they come
 * faster than they are taken (while other calls drive), at most inbox_bytes are
 * kept; what does not fit is reported by a gap BROKER_CLIENT_GAP_INBOX in its
 * place. Several threads may call it; each event goes to one of them.
 *   BROKER_OK and *out, BROKER_E_TIMEOUT, BROKER_E_INTERRUPTED,
 *   BROKER_E_CLOSED (or what ended the handle; what was kept comes first),
 *   BROKER_E_INVALID_ARGUMENT (inside a callback) */
BROKER_API BROKER_MUST_CHECK enum broker_status broker_client_next(
    struct broker_client *client, int timeout_ms,
    struct broker_client_event **out);

/* NULL is allowed. Also after the handle was freed. */
BROKER_API void broker_client_event_free(struct broker_client_event *event);

/* ---- requests and replies (PROTOCOL.md 5.7) ------------------------------ */

/* `reply` is NULL unless status is BROKER_OK. Others: BROKER_E_NO_SUBSCRIBERS
 * (nobody answers this topic) or another refusal of the broker,
 * BROKER_E_TIMEOUT, BROKER_E_CONNECTION_LOST (it was written; whether it was
 * processed is not known), BROKER_E_CLOSED. */
typedef void broker_client_reply_fn(struct broker_client *client,
    enum broker_status status, const struct broker_message *reply, void *user);

/* Send a request; any number may be in flight. reply_to of `message` must be
 * NULL: the library sets it, in one inbox that it subscribes to:
 * _inbox/<random>/+, or _inbox/<user>/<random>/+ if the broker says who the
 * client is (broker_client_user()). timeout_ms must not be -1. Errors as for
 * broker_client_publish_message(). */
BROKER_API enum broker_status broker_client_request(
    struct broker_client *client, const struct broker_client_outgoing *message,
    int timeout_ms, broker_client_reply_fn *callback, void *user);

/* The same, and wait. BROKER_OK: *out is an event of kind MESSAGE that the
 * caller frees. Else the errors of both. */
BROKER_API BROKER_MUST_CHECK enum broker_status broker_client_request_wait(
    struct broker_client *client, const struct broker_client_outgoing *message,
    int timeout_ms, struct broker_client_event **out);

/* Answer a message that has a reply_to. Acknowledged in the background, so it
 * survives a lost connection. While the handle closes, messages that come are
 * still answered. Errors as for broker_client_publish(), and
 * BROKER_E_BAD_REQUEST if `message` wants no reply. */
BROKER_API enum broker_status broker_client_reply(struct broker_client *client,
    const struct broker_message *message, const void *payload,
    size_t payload_bytes);

/* ---- waiting for everything ---------------------------------------------- */

/* Wait until the broker has processed everything that was handed to the handle
 * before this call: messages with acknowledgement are settled, the others, and
 * acknowledgements to durable consumers, are confirmed by a PING behind them.
 *   BROKER_OK, BROKER_E_TIMEOUT, BROKER_E_INTERRUPTED, BROKER_E_CLOSED (or what
 *   ended the handle), BROKER_E_INVALID_ARGUMENT (inside a callback),
 *   BROKER_E_NO_MEMORY
 *   BROKER_E_CONNECTION_LOST  messages without acknowledgement were written to
 *                    a connection that was lost: their fate is not known */
BROKER_API enum broker_status broker_client_flush(
    struct broker_client *client, int timeout_ms);

/* The same without waiting; no time limit. The status is one of those above. */
typedef void broker_client_flushed_fn(
    struct broker_client *client, enum broker_status status, void *user);
BROKER_API enum broker_status broker_client_flush_start(
    struct broker_client *client, broker_client_flushed_fn *callback,
    void *user);

/* End all subscriptions with DRAIN, wait until everything queued for them was
 * delivered, until every request is answered, and then flush. The handle stays
 * open for publishing. What waits for broker_client_next() is kept. Returns as
 * flush does. */
BROKER_API enum broker_status broker_client_drain(
    struct broker_client *client, int timeout_ms);

/* One PING there and back. `round_trip_us` may be NULL. Returns as flush
 * does, and BROKER_E_NOT_CONNECTED at once if there is no connection. */
BROKER_API enum broker_status broker_client_ping(
    struct broker_client *client, int timeout_ms, uint64_t *round_trip_us);

#ifdef __cplusplus
}
#endif

#include <broker/client_look.h>
#include <broker/client_stream.h>

#endif
