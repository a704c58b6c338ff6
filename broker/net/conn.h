/* SPDX-License-Identifier: MIT
 *
 * One connection: a transport on one side, a session of the core on the other,
 * and nothing between but bytes.
 *
 * Reading: an event of our own reads the transport into the core's receive
 * memory. Writing: at the end of each turn of the loop everything that a
 * session has to send goes out from where it lies. When the socket takes no
 * more, a little of it waits in the transport for room; everything else stays
 * in the session's queue, where the overflow policy can reach it.
 *
 * A connection over TLS has its session from the beginning, and the session's
 * time for HELLO counts from then; what it says before the handshake is over
 * could not be sent, and ends the connection. Handshakes are expensive, so few
 * are begun in one turn.
 *
 * Closing is: GOAWAY and everything queued, shutdown(2) of the writing side
 * (after the close_notify of TLS), read and discard until the peer closes too
 * or a time has passed, close(2). A connection is freed at the end of a turn
 * only, so callbacks can never meet one that is gone.
 *
 * Knows nothing of frames. Thread: that of its worker.
 */
#ifndef BROKER_NET_CONN_H
#define BROKER_NET_CONN_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include <event2/util.h>

struct arrival;
struct conn;
struct gate_pass;
struct session;
struct worker;
TAILQ_HEAD(conn_list, conn);

/* Take over an accepted, non-blocking socket; the rest of the arrival is
 * copied. False if memory is out; the socket is closed then. */
bool conn_open(struct worker *worker, const struct arrival *arrival);

/* What the gate needs to know of a connection. */
struct gate_pass *conn_pass(struct conn *conn);
struct session *conn_session(struct conn *conn);
struct worker *conn_worker(const struct conn *conn);
evutil_socket_t conn_fd(const struct conn *conn);
bool conn_is_tls(const struct conn *conn);
/* The verified certificate of the client: common name ("" if there is none that
 * can be relied on, see tls.h) and subject (RFC 2253), as long as the
 * connection. False: it showed none. */
bool conn_certificate(
    const struct conn *conn, const char **common_name, const char **subject);

/* Users or rules have changed: look at every connection of the worker anew. */
void conn_review_all(struct worker *worker);

/* The session of this connection has output: hook of the core. */
void conn_output_ready(void *owner);

/* Send what every connection on the worker's ready list has to send. */
void conn_flush_ready(struct worker *worker);

/* Read again from connections for which there was no memory, if there is. */
void conn_feed_starved(struct worker *worker);

/* Free the connections that ended in this turn. */
void conn_reap(struct worker *worker);

/* Drop all connections at once. */
void conn_drop_all(struct worker *worker);

#endif
