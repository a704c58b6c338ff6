/* SPDX-License-Identifier: MIT
 *
 * What the files of broker/net share. */
#ifndef BROKER_NET_SERVER_INTERNAL_H
#define BROKER_NET_SERVER_INTERNAL_H

#include "conn.h"
#include "listener.h"
#include "server.h"

#include <event2/event.h>

struct server {
    struct server_options options;
    struct event_base *base;
    struct core *core;
    struct listener_list listeners;
    struct conn_list conns;
    struct conn_list ready;   /* have output to send in this turn */
    struct conn_list starved; /* wait for memory to read into */
    struct conn_list dying;   /* ended in this turn */
    struct event *tick;
    struct event *drain_end;
    struct event *signals[3];
    uint64_t tick_ms; /* when `tick` is due, or UINT64_MAX */
    uint64_t conn_count;
    uint64_t conn_id;
    bool stopping;
    bool done;
    char *addresses;
};

/* Milliseconds of the monotonic clock, told to the core as well. */
uint64_t server_now(struct server *server);

/* A connection was accepted. */
void server_accepted(
    struct server *server, evutil_socket_t fd, const char *peer);

#endif
