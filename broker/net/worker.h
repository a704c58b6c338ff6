/* SPDX-License-Identifier: MIT
 *
 * A worker: one thread with an event loop, a core and its connections, which
 * stay with it for life. After each round of callbacks the turn ends: what
 * became ready is sent, what became due is done, what ended is freed, mail to
 * the other workers is posted.
 *
 * Nothing of a worker but its mailbox is touched by another thread, with one
 * exception: while home answers a question about the whole broker, it has
 * parked all others between two turns and reads what they have (server.c).
 */
#ifndef BROKER_NET_WORKER_H
#define BROKER_NET_WORKER_H

#include "conn.h"
#include "core.h"
#include "mailbox.h"

#include <event2/event.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct server;

/* Orders to a worker. */
enum worker_order {
    WORKER_SHUT_DOWN = 1, /* say goodbye to all connections */
    WORKER_DROP = 2,      /* drop them */
    WORKER_FINISH = 4,    /* leave the loop */
    WORKER_PARK = 8,      /* server_park, now */
    WORKER_RELOAD = 16,   /* take over what was loaded anew */
    WORKER_STORE = 32,    /* the store has answers */
};

struct worker {
    struct server *server;
    struct event_base *base;
    struct core *core;
    struct store_port *store; /* NULL: there is none */
    struct conn_list conns;
    struct conn_list ready;   /* have output to send in this turn */
    struct conn_list starved; /* wait for memory to read into */
    struct conn_list dying;   /* ended in this turn */
    struct event *tick;
    struct event *mail;
    uint64_t tick_ms;   /* when `tick` is due, or UINT64_MAX */
    uint64_t polled_ms; /* when the first callback of the turn ran; or 0 */
    uint64_t conn_count;
    uint64_t unsent_bytes; /* received since `ready` was last flushed */
    uint32_t handshakes;   /* of TLS, begun in this turn */
    uint32_t number;
    bool done;  /* leave the loop */
    bool drops; /* all connections, at the end of the turn */
    bool has_thread;
    bool has_mailbox;
    pthread_t thread;
    struct mailbox mailbox;
    _Atomic uint32_t load; /* connections given to it and not yet ended */
};

/* Set up; the core is made with these options and hooks. False after logging
 * why not; worker_fini is to be called in any case. */
bool worker_init(struct worker *worker, struct server *server, uint32_t number,
    const struct core_options *options, const struct core_hooks *hooks);

/* Drop the connections. Own thread, or after it ended. */
void worker_drop_conns(struct worker *worker);
/* All connections must be gone, and with several workers all mail read. */
void worker_fini(struct worker *worker);

/* Serve until `done`. */
void worker_run(struct worker *worker);

/* Deal with what is in the mailbox. True if there was something. */
bool worker_read_mail(struct worker *worker);

/* After input was received and before it is processed: mail that was posted
 * before the peer sent it comes first (core/exchange.h). */
void worker_look_for_mail(struct worker *worker);

/* A connection was accepted for this worker, which frees the arrival. Its
 * thread. */
void worker_accept(struct worker *worker, struct arrival *arrival);

/* Milliseconds of the monotonic clock, told to the core as well. */
uint64_t worker_now(struct worker *worker);

/* Hook of the core: bags for another worker. */
void worker_post(struct worker *to, struct mailbag *bags);

#endif
