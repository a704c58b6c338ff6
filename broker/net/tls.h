/* SPDX-License-Identifier: MIT
 *
 * What TLS needs to know before anybody connects: certificate, key and rules,
 * read from files and checked, in one thing that is counted. Who reads the
 * files again makes a new one; connections keep the one that they began with.
 *
 * The rules: TLS 1.2 or later, suites with forward secrecy and authenticated
 * encryption only, the broker's order of them, no compression, no
 * renegotiation, no ALPN. No resumption either: connections live long, so it
 * would save little, while the key of its tickets could open all recorded
 * sessions, and a client whose certificate is no longer taken could come back
 * with a ticket.
 *
 * Knows nothing of connections. Threads: a struct tls is used by all of them,
 * and belongs to whoever holds a reference.
 */
#ifndef BROKER_NET_TLS_H
#define BROKER_NET_TLS_H

#include <stdbool.h>
#include <stddef.h>

struct ssl_ctx_st;
struct ssl_st;
struct tls;

/* Room for a message of tls_new. */
#define TLS_ERROR_BYTES 768

enum tls_client_certificates {
    TLS_CLIENT_CERTIFICATES_NO,       /* not asked for */
    TLS_CLIENT_CERTIFICATES_OPTIONAL, /* checked if there is one */
    TLS_CLIENT_CERTIFICATES_REQUIRED
};

struct tls_options {
    const char *certificate_file; /* PEM, with its chain; NULL: no TLS */
    const char *key_file;         /* PEM, without a passphrase */
    const char *client_ca_file;   /* PEM; NULL if no certificates are wanted */
    enum tls_client_certificates client_certificates;
    bool only_1_3; /* else 1.2 as well */
};

/* The names of a client in a certificate that was verified. */
struct tls_peer {
    /* UTF-8 without control characters; "" if there is none, more than one, or
     * one that does not fit. */
    char common_name[256];
    /* The whole subject in the form of RFC 2253, in ASCII: "CN=a,O=b". */
    char *subject;
};

/* Read the files. NULL with a sentence in `error` that names the file, what is
 * wrong with it, and what to do. `options` is not kept. */
struct tls *tls_new(
    const struct tls_options *options, char error[TLS_ERROR_BYTES]);
struct tls *tls_ref(struct tls *tls);
void tls_unref(struct tls *tls); /* NULL is fine */

/* What OpenSSL makes connections from; it counts references of its own. */
struct ssl_ctx_st *tls_context(const struct tls *tls);

/* The names of the peer of a connection whose handshake is over. NULL if it
 * showed no certificate, or if memory is out. */
struct tls_peer *tls_peer_new(const struct ssl_st *ssl);
void tls_peer_free(struct tls_peer *peer); /* NULL is fine */

#endif
