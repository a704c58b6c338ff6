/* SPDX-License-Identifier: MIT
 *
 * What the files of broker/net share. */
#ifndef BROKER_NET_SERVER_INTERNAL_H
#define BROKER_NET_SERVER_INTERNAL_H

#include "gate.h"
#include "heap.h"
#include "listener.h"
#include "server.h"
#include "worker.h"

#include <event2/event.h>

#include <pthread.h>
#include <stdatomic.h>

#define SERVER_SIGNALS 4

struct server {
    struct server_options options;
    struct worker *workers; /* the first is home, in the main thread */
    uint32_t worker_count;
    struct listener_list listeners;
    struct gate *gate;
    struct event *drain_end;
    struct event *signals[SERVER_SIGNALS];
    uint64_t conn_id;
    bool stopping;
    bool serving; /* connections are accepted */
    bool failed;
    server_ready_fn *ready; /* to be called then */
    void *ready_arg;
    char *addresses;
    _Atomic uint64_t shared_bytes; /* blocks in use by all cores */
    struct heap heap;              /* and what else is allocated */
    _Atomic uint64_t conn_count;   /* accepted and not yet ended */
    _Atomic uint64_t unadmitted;   /* of these: not let in yet */
    struct {
        pthread_mutex_t mutex;
        struct core_options core; /* of the last reload */
    } fresh;
    struct parking {
        pthread_mutex_t mutex;
        pthread_cond_t changed;
        uint32_t parked;
        bool wanted;
    } parking;
};

/* A connection was accepted, where TLS is spoken or where not. Home. */
void server_accepted(
    struct server *server, evutil_socket_t fd, const char *peer, bool tls);
/* A connection of this worker is gone. Its thread. */
void server_conn_ended(struct server *server, struct worker *worker);

/* One of those was let in, or ended before that. Any thread. */
void server_conn_admitted(struct server *server);

/* What was loaded anew holds from now on, also for the connections that there
 * are. The worker's thread. */
void server_take_over(struct server *server, struct worker *worker);

/* The worker's turn ended. Its thread. */
void server_turn_ended(struct server *server, struct worker *worker);

/* Wait, between two turns, until home has read what it wants to know. */
void server_park(struct server *server);

#endif
