/* SPDX-License-Identifier: MIT
 *
 * TLS over a connected socket (PROTOCOL.md 2.2): version 1.2 or later, the
 * broker's certificate checked against authorities and name, no renegotiation,
 * no ALPN. All of OpenSSL is behind this header: tls.c; a library that is built
 * without TLS (BROKER_TLS=OFF) has tls_none.c in its place. Knows no frames, no
 * addresses and no handle.
 *
 * Everything is read from its files when a connection begins, so certificates
 * that were renewed are used with the next connection.
 *
 * A struct tls is used by one thread at a time. Nothing here blocks on the
 * network, raises SIGPIPE, or asks questions on a terminal.
 */
#ifndef BROKER_CLIENT_TLS_H
#define BROKER_CLIENT_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "text.h"

struct tls;

/* As in struct broker_client_options; NULL: not given. */
struct tls_config {
    char *ca_file, *certificate_file, *key_file, *server_name;
    bool accept_any_certificate;
};

/* Was the library built with TLS? */
bool tls_is_available(void);

/* TLS as a client over `fd`, which stays the caller's and open until
 * tls_free(). `host` is whom the certificate must be for, unless the
 * configuration has a server_name. NULL: `why` says what is wrong. */
struct tls *tls_new(const struct tls_config *config, const char *host, int fd,
    char why[TEXT_MAX]);
/* NULL is allowed. Says nothing to the peer. */
void tls_free(struct tls *tls);

enum tls_progress {
    TLS_DONE,
    TLS_AGAIN,  /* when the socket is readable, or see tls_wants_write() */
    TLS_FAILED, /* tls_reason() says why */
};

enum tls_progress tls_handshake(struct tls *tls);

/* As sock_read() and sock_write(); when TLS itself fails errno is EPROTO and
 * tls_reason() says why. What was not taken by write must be the first that is
 * written next; it may lie elsewhere by then. */
ssize_t tls_read(struct tls *tls, void *data, size_t len);
ssize_t tls_write(struct tls *tls, const void *data, size_t len);

/* Say that nothing more will be written. False: the socket is full, once more
 * when it is writable. Reading goes on. */
bool tls_shutdown_write(struct tls *tls);

/* Is there something to read that the socket does not know of any more, and
 * that can be read now? */
bool tls_has_input(const struct tls *tls);

/* Does TLS itself wait for room in the socket: in a handshake, in order to go
 * on reading, or to say the end? */
bool tls_wants_write(const struct tls *tls);
/* Does tls_write(), after EAGAIN, wait for room? Else for something to read. */
bool tls_write_wants_room(const struct tls *tls);

/* Why it failed, for a person; valid for as long as `tls` is. */
const char *tls_reason(const struct tls *tls);

#endif
