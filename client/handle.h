/* SPDX-License-Identifier: MIT
 *
 * The handle: a session, a connection for it, a lock around both, and the
 * question which thread drives. Included by the files that make up the public
 * API and by nobody else.
 *
 * One mutex guards everything. The thread that drives holds it but for three
 * occasions: while it waits for events, while it reads from the socket (into
 * the receive buffer, which is its alone), and while it calls the user back.
 * Only that thread opens and closes the socket, so the descriptor stays good
 * meanwhile; any thread may write to it under the lock. With TLS reading is
 * done under the lock too: OpenSSL's objects are for one thread at a time.
 *
 * Files: client.c (life), options.c, look.c (looking at it), drive.c (who
 * drives, waiting, event loops), link.c and link_bytes.c (the connection),
 * call_publish.c, call_subscribe.c and call_stream.c (what the user asks for).
 */
#ifndef BROKER_CLIENT_HANDLE_H
#define BROKER_CLIENT_HANDLE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <broker/address.h>
#include <broker/client.h>

#include "credentials.h"
#include "reconnect.h"
#include "resolve.h"
#include "session.h"
#include "transport.h"

enum link_phase {
    LINK_DOWN,
    LINK_RESOLVING,
    LINK_CONNECTING,
    LINK_SECURING, /* the handshake of TLS */
    LINK_UP,   /* the session has it: waiting for WELCOME, open or leaving */
    LINK_SHUT, /* our writing side is shut down; reading to the end */
};

struct link {
    enum link_phase phase;
    struct transport transport; /* closed in LINK_DOWN and LINK_RESOLVING */
    uint32_t watched;           /* what the socket is polled for: EPOLL* */
    bool want_write;            /* the socket took no more */
    bool write_failed;          /* reading may still tell why */
    uint64_t deadline_us;       /* for WELCOME; SESSION_NEVER after it */
    struct resolve *resolve;
    struct resolve_result targets; /* of the address that is tried */
    size_t target;
    uint64_t target_deadline_us; /* then the next target has its turn */
    char round_text[TEXT_MAX];   /* what failed in this round so far */
};

struct broker_client {
    pthread_mutex_t lock;
    pthread_cond_t changed; /* something that a waiting thread may wait for */
    struct session session;
    struct reconnect reconnect;
    struct link link;

    struct broker_address *addresses;
    size_t address_count;
    char address_text[BROKER_ADDRESS_TEXT_MAX]; /* the one in use, or last */
    struct credentials credentials;
    struct tls_config tls;
    int connect_timeout_ms, publish_timeout_ms;
    enum broker_client_when_full when_full;
    broker_client_state_fn *on_state;
    void *user;

    enum broker_client_state state;
    enum broker_status closed_status;
    bool ever_connected;
    bool closing; /* close was called */
    uint64_t close_deadline_us;
    uint64_t close_unknown; /* messages that were lost while closing */

    int epoll_fd, wake_fd;
    atomic_uint stop_count; /* how often broker_client_stop() was called */
    unsigned stop_seen;     /* of these, how often somebody returned for it */

    bool driving; /* some thread does: */
    pthread_t driver;
    bool awake;        /* and looks at everything before it sleeps */
    bool wake_pending; /* the descriptor was made readable already */
    bool loop_mode;    /* broker_client_process() was called, by: */
    pthread_t loop_thread;
    unsigned inside;     /* threads in blocking calls and in process() */
    bool freeing;        /* broker_client_free() was called */
    bool free_on_return; /* inside a callback */
};

/* ---- client.c ------------------------------------------------------------ */

/* Microseconds of a clock that only goes forward. */
uint64_t client_now_us(void);
/* now + timeout_ms; SESSION_NEVER for -1. */
uint64_t client_deadline_us(int timeout_ms);

/* All of these with the lock held. */

/* Change the state and tell on_state. Calls back. */
void client_set_state(struct broker_client *client,
    enum broker_client_state state, enum broker_status status,
    uint64_t unknown_publishes);
/* Is the calling thread inside a callback of this handle? */
bool client_is_callback(const struct broker_client *client);
/* BROKER_OK, or what calls return once the handle is closing or closed. */
enum broker_status client_check_open(const struct broker_client *client);
/* What ended the handle; BROKER_E_CLOSED if that was its user. */
enum broker_status client_closed_status(const struct broker_client *client);
/* Note an error of a call in the error text; returns it. */
enum broker_status client_refuse(
    struct broker_client *client, enum broker_status status, const char *what);

/* ---- options.c ----------------------------------------------------------- */

/* The caller's options over the defaults, whatever version they are of. */
void options_read(const struct broker_client_options *given,
    struct broker_client_options *out);
/* Their ranges: BROKER_OK or INVALID_ARGUMENT and the error text. */
enum broker_status options_check(const struct broker_client_options *options);
/* The addresses into the handle: BAD_ADDRESS, NO_MEMORY. */
enum broker_status options_addresses(
    const struct broker_client_options *options, struct broker_client *client);
/* Credentials and what TLS needs into the handle: NO_MEMORY. Either way
 * options_free_copies() is due. */
enum broker_status options_security(
    const struct broker_client_options *options, struct broker_client *client);
/* Free what the two above have made; secrets are wiped. */
void options_free_copies(struct broker_client *client);
/* Why the last broker_client_new() on this thread failed: TEXT_MAX bytes. */
char *options_error_text(void);

/* ---- drive.c ------------------------------------------------------------- */

/* Make sure that the thread that drives, or will, sees what was changed. */
void client_wake(struct broker_client *client);

/* Wait until done(client, argument), driving if nobody else does. With the
 * lock held, which is let go meanwhile. BROKER_OK, BROKER_E_TIMEOUT,
 * BROKER_E_INTERRUPTED, BROKER_E_INVALID_ARGUMENT (inside a callback), or what
 * ended the handle. `for_next`: stop as soon as there is an event. */
typedef bool client_done_fn(struct broker_client *client, void *argument);
enum broker_status client_wait(struct broker_client *client,
    client_done_fn *done, void *argument, uint64_t deadline_us, bool for_next);

/* Begin and end a blocking call: takes and gives back the lock. After leave
 * the handle may be gone (free inside a callback). */
void client_enter(struct broker_client *client);
void client_leave(struct broker_client *client);
/* Free everything; nobody else is in. Without the lock. */
void client_destroy(struct broker_client *client);

/* The outcome of an asynchronous call, for the blocking one on top of it. Lives
 * on the heap, because the waiting thread may give up first. */
struct client_waiter {
    bool done, abandoned;
    enum broker_status status;
    union {
        struct broker_client_published published;
        struct broker_client_subscribed subscribed;
        struct broker_client_unsubscribed unsubscribed;
        struct inbox_entry *reply;
        uint64_t round_trip_us;
    } outcome;
};
struct client_waiter *client_waiter_new(void);
/* Wait for it, with the lock held. When the wait ends otherwise, *waiter
 * belongs to the callback from then on and must not be used any more; with
 * BROKER_OK the caller frees it. */
enum broker_status client_waiter_wait(struct broker_client *client,
    struct client_waiter *waiter, uint64_t deadline_us);
/* For the callbacks: take the lock and say whether somebody still waits; then
 * set the outcome and call finish, which gives back the lock. */
bool client_waiter_begin(
    struct broker_client *client, struct client_waiter *waiter);
void client_waiter_finish(
    struct broker_client *client, struct client_waiter *waiter);

/* ---- call_publish.c and call_subscribe.c, for call_stream.c -------------- */

/* With the lock held, which may be let go meanwhile: judge a message, make room
 * for it, and take it. */
enum broker_status client_take_publish(
    struct broker_client *client, const struct session_publish *publish);
/* A callback whose `user` is a waiter, and the wait for it: as
 * client_waiter_wait(), and what became of the message. */
void client_published_wait_cb(struct broker_client *client,
    const struct broker_client_published *published, void *user);
enum broker_status client_published_wait(struct broker_client *client,
    struct client_waiter *waiter, uint64_t deadline_us,
    struct broker_client_published *out);

/* Subscribe by whatever `ask` does with `what`, and wait for the answer. */
typedef enum broker_status client_ask_fn(struct broker_client *client,
    const void *what, const struct session_outcome *outcome, uint32_t *out);
enum broker_status client_subscribe_wait(struct broker_client *client,
    client_ask_fn *ask, const void *what, int timeout_ms, uint32_t *out,
    struct broker_client_subscribed *answer);

/* ---- link.c -------------------------------------------------------------- */

void link_init(struct link *link);
/* Do what time and the state of things ask for: connect, give up, leave. Calls
 * back. */
void link_step(struct broker_client *client, uint64_t now_us);
/* When step has to be called next. */
uint64_t link_deadline_us(const struct broker_client *client);
/* The socket has something to say (EPOLL* bits). Calls back. */
void link_event(struct broker_client *client, uint32_t events, bool for_next);
/* Close, for good. Calls back. */
void link_finish(struct broker_client *client, enum broker_status status);

/* For link_bytes.c. The first two call back. The connection is gone, whatever
 * it was doing; the session's error text says why. */
void link_lose(struct broker_client *client, enum broker_status status);
/* After the session handled input: was WELCOME among it? */
void link_check_opened(struct broker_client *client);
/* Poll the socket for what is needed now. */
void link_watch(struct broker_client *client);
/* What an orderly end returns. */
enum broker_status link_closing_status(const struct broker_client *client);
/* The address that is tried, or in use. */
const struct broker_address *link_address(const struct broker_client *client);

/* ---- link_bytes.c -------------------------------------------------------- */

/* Write as much as goes. Any thread. */
void link_write(struct broker_client *client);
/* Write now if it is worth a system call. Any thread. */
void link_write_if_much(struct broker_client *client);
/* Read, in a turn's measure, and handle it. Calls back. */
void link_read(struct broker_client *client, bool for_next);
/* Is there input that the socket does not tell of? */
bool link_has_input(const struct broker_client *client);
/* Handle it. Calls back. */
void link_process(struct broker_client *client, bool for_next);

#endif
