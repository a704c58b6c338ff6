/* SPDX-License-Identifier: MIT
 *
 * What carries the bytes: a socket, or TLS over a socket, behind the same
 * calls. Knows no frames and no handle; link.c decides what happens when.
 *
 * Thread: a plain transport may be read by one thread while another writes.
 * With TLS one thread at a time may be in any of these functions
 * (transport_is_plain()), because a read may have to write and the other way
 * round.
 */
#ifndef BROKER_CLIENT_TRANSPORT_H
#define BROKER_CLIENT_TRANSPORT_H

#include <stdbool.h>
#include <stddef.h>

#include "sock.h"
#include "tls.h"

struct transport {
    int fd; /* -1: closed */
    struct tls *tls;
};

void transport_init(struct transport *transport);
void transport_close(struct transport *transport);

/* Begin to connect: 0, or an errno. See sock_connect(). */
int transport_connect(
    struct transport *transport, const struct sock_address *address);
/* Once it is connected: begin TLS. False: `why` says why not. See tls_new(). */
bool transport_secure(struct transport *transport,
    const struct tls_config *config, const char *host, char why[TEXT_MAX]);
enum tls_progress transport_handshake(struct transport *transport);

bool transport_is_plain(const struct transport *transport);

/* As sock_read() and sock_write(), or EPROTO and transport_reason(). What was
 * not taken by write must be the first that is written next. */
ssize_t transport_read(struct transport *transport, void *data, size_t len);
ssize_t transport_write(
    struct transport *transport, const struct iovec *vectors, size_t count);
/* After a read of `n` bytes into `room`: may more be there? */
bool transport_may_have_more(
    const struct transport *transport, size_t n, size_t room);

/* Say that nothing more is written. False: later, when it is writable. */
bool transport_shutdown_write(struct transport *transport);

/* Is there something to read that polling the socket does not tell? */
bool transport_has_input(const struct transport *transport);
/* Is the socket to be polled for room, for the transport's own sake? */
bool transport_wants_write(const struct transport *transport);
/* Is it to be polled for room after a write that returned EAGAIN? */
bool transport_write_wants_room(const struct transport *transport);

const char *transport_reason(const struct transport *transport);

#endif
