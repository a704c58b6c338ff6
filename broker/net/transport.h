/* SPDX-License-Identifier: MIT
 *
 * The socket of a connection: its bytes as they are, or over TLS.
 *
 * Reading: a bufferevent reads at most one page at a time and asks first how
 * much there is (with TLS one record, and then it waits for the next turn of
 * the loop), so the socket is read directly into memory that the caller has.
 * Writing: with send(2), or SSL_write, from where it lies. Only when the socket
 * takes no more is a page of it, or the record that OpenSSL has made already,
 * handed to a bufferevent, which waits for room. The bufferevent lives as long
 * as there is something queued: most connections are idle, and it would be the
 * largest part of them. The handshake of TLS is a bufferevent's work, too.
 *
 * Knows nothing of sessions, nor when to read. Thread: that of its connection.
 */
#ifndef BROKER_NET_TRANSPORT_H
#define BROKER_NET_TRANSPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <event2/util.h>

#include "output.h"
#include "tls.h"

struct bufferevent;
struct event_base;
struct tls_stream;
struct transport;

/* Called from the event loop only, never inside a call of the functions below.
 * Reasons are texts that stay. */
struct transport_hooks {
    /* The handshake is over. */
    void (*opened)(struct transport *transport);
    /* The handshake failed. The peer may have been told; it should be given
     * time to read that. */
    void (*refused)(struct transport *transport, const char *reason);
    /* What was handed over went out. */
    void (*has_room)(struct transport *transport);
    void (*failed)(struct transport *transport, const char *reason);
};

struct transport {
    const struct transport_hooks *hooks;
    struct event_base *base;
    struct bufferevent *events;
    struct tls_stream *tls; /* NULL: bytes as they are */
    evutil_socket_t fd;
    bool handed; /* the bufferevent has bytes to write: send nothing now */
};

/* Take over a connected, non-blocking socket, also on failure, which is that
 * memory is out. With `tls` the peer must begin a handshake. */
bool transport_init(struct transport *transport, struct event_base *base,
    evutil_socket_t fd, const struct transport_hooks *hooks, struct tls *tls);
/* Close it. Events of others on the socket must be gone. */
void transport_fini(struct transport *transport);

/* May bytes be sent and received? Otherwise, the peer has to speak first; once
 * it did, transport_shake_hands is to be called, once. False: no memory. */
bool transport_is_open(const struct transport *transport);
bool transport_is_waiting(const struct transport *transport);
bool transport_shake_hands(struct transport *transport);

enum transport_input {
    TRANSPORT_MORE,    /* dst is full */
    TRANSPORT_DRAINED, /* there is no more right now */
    TRANSPORT_ENDED,   /* the peer sends no more */
    TRANSPORT_BROKEN   /* *reason says why */
};

/* Receive up to `room` bytes; *len is how many came, with any result but
 * TRANSPORT_BROKEN, where it is 0. */
enum transport_input transport_receive(struct transport *transport,
    uint8_t *dst, size_t room, size_t *len, const char **reason);
/* Bytes that have left the socket already: no event will tell of them. */
size_t transport_pending(const struct transport *transport);
/* Read and forget what the peer still says, after transport_shut_down. True if
 * it closed. */
bool transport_discard(const struct transport *transport);

/* Send; returns how many bytes were taken, which may be none, or -1 with
 * *reason. If not all were, and none are `handed`, either the socket is full
 * (transport_wait) or it is the turn of others (*more). */
ssize_t transport_send(struct transport *transport,
    const struct output_span *spans, size_t count, bool *more,
    const char **reason);
/* The socket is full: have a little of this written when there is room, and
 * then be called back. Returns the bytes that were taken; 0 if memory is out.
 */
size_t transport_wait(
    struct transport *transport, const struct output_span *spans, size_t count);
/* There is nothing queued behind what was handed over. */
void transport_rest(struct transport *transport);

/* Send nothing more: neither what was handed over. */
void transport_stop(struct transport *transport);

/* Everything is sent: say so to the peer. */
enum transport_end {
    TRANSPORT_SHUT,
    TRANSPORT_FULL, /* the socket is: try again when it has room */
    TRANSPORT_GONE  /* it cannot be told */
};
enum transport_end transport_shut_down(struct transport *transport);

/* "TLSv1.3" and the name of its suite. Once it is open, and over TLS only. */
const char *transport_version(const struct transport *transport);
const char *transport_suite(const struct transport *transport);

/* Over TLS: who the peer is, or NULL. */
const struct tls_peer *transport_peer(const struct transport *transport);

#endif
