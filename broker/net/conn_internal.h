/* SPDX-License-Identifier: MIT
 *
 * The inside of a connection, for the files of conn.h only: conn.c has its
 * life, conn_io.c its bytes. */
#ifndef BROKER_NET_CONN_INTERNAL_H
#define BROKER_NET_CONN_INTERNAL_H

#include "conn.h"
#include "gate.h"
#include "server_internal.h"
#include "transport.h"

#include <stddef.h>

#include <event2/event_struct.h>

/* Reasons for the log. */
#define LOOP_REFUSED "the event loop refused it"
#define NO_MEMORY    "out of memory"
#define CLOSED_BY_US "closed by the broker"

enum conn_state {
    CONN_OPEN,
    CONN_SHUT, /* our writing side is shut; reading to the end */
    CONN_DEAD  /* on the dying list */
};

struct conn {
    TAILQ_ENTRY(conn) all;
    TAILQ_ENTRY(conn) in_ready;
    TAILQ_ENTRY(conn) in_starved;
    TAILQ_ENTRY(conn) in_dying;
    struct worker *worker;
    struct session *session;
    struct transport transport;
    struct event readable; /* on the transport's socket; see conn.h */
    struct event *linger;  /* in CONN_SHUT, or turned away before a handshake */
    const char *reason;    /* why it ended, for the log */
    struct gate_pass pass;
    enum conn_state state;
    bool is_ready, is_starved;
    bool reading; /* `readable` is added */
    bool paused;  /* the session does not want input */
    bool at_end;  /* the peer shut down its writing side */
    char peer[];
};

static inline struct conn *
conn_of(struct transport *transport)
{
    return (
        struct conn *)((char *)transport - offsetof(struct conn, transport));
}

/* ---- conn.c -------------------------------------------------------------- */

/* Make the event loop watch for input, or no longer, as the state says. False
 * if it refused. */
bool conn_set_reading(struct conn *conn);

/* Free it at the end of the turn; `reason`, which stays, is for the log. */
void conn_end(struct conn *conn, const char *reason);

/* Everything is sent: say so to the peer, and give it time to read it before
 * the socket is closed, which could destroy what is on its way. */
void conn_shut_down(struct conn *conn);

/* The peer has begun to speak TLS. */
void conn_shake_hands(struct conn *conn);

/* ---- conn_io.c ----------------------------------------------------------- */

/* The event loop has something to read. */
void conn_read_cb(evutil_socket_t fd, short what, void *arg);

/* Hooks of the transport. */
void conn_has_room(struct transport *transport);
void conn_failed(struct transport *transport, const char *reason);

#endif
