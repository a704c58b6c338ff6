/* SPDX-License-Identifier: MIT
 *
 * The broker's end (server.h) behind TLS, on 127.0.0.1.
 */
#ifndef BROKER_TEST_TLS_SERVER_H
#define BROKER_TEST_TLS_SERVER_H

#include "pki.h"
#include "server.h"

struct tls_server {
    struct pki pki;
    SSL_CTX *context;
    SSL *ssl;             /* of the connection */
    bool accepts_failure; /* a handshake may fail; then ssl is NULL */
};

/* With an authority of its own and the certificate "server.pem" for localhost
 * and 127.0.0.1. The address is tls://127.0.0.1:<port>. server_close() frees
 * all. */
void tls_server_open(struct server *server, struct tls_server *tls);
/* Use this file of the pki from the next connection on. */
void tls_server_use(struct tls_server *tls, const char *file);
/* Say that nothing more is sent; the client may go on. */
void tls_server_shut(struct tls_server *tls);

#endif
