/* SPDX-License-Identifier: MIT
 *
 * See tls_server.h. Sockets and OpenSSL block, with a time limit.
 */
#include "tls_server.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

/* Close so that the peer reads why: what it has sent and nobody has read would
 * make it a reset. */
static void
drain(int fd)
{
    char bytes[4096];
    (void)shutdown(fd, SHUT_WR);
    while (read(fd, bytes, sizeof bytes) > 0) {
    }
}

static void
accepted(struct server *server)
{
    struct tls_server *tls = server->io_context;
    const struct timeval limit = {.tv_sec = SERVER_DEADLINE_MS / 1000};
    const int on = 1;
    CHECK(
        setsockopt(server->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) == 0);
    CHECK(setsockopt(
              server->fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) == 0);
    CHECK(setsockopt(
              server->fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit) == 0);
    tls->ssl = SSL_new(tls->context);
    CHECK(tls->ssl != NULL);
    CHECK(SSL_set_fd(tls->ssl, server->fd) == 1);
    ERR_clear_error();
    if (SSL_accept(tls->ssl) != 1) {
        if (!tls->accepts_failure) {
            ERR_print_errors_fp(stderr);
        }
        CHECK(tls->accepts_failure);
        drain(server->fd);
        SSL_free(tls->ssl);
        tls->ssl = NULL;
    }
}

/* 0: the peer has said that it is the end, or has gone. */
static ssize_t
io_read(struct server *server, void *data, size_t len)
{
    struct tls_server *tls = server->io_context;
    ERR_clear_error();
    int n = SSL_read(tls->ssl, data, len > INT32_MAX ? INT32_MAX : (int)len);
    int error = SSL_get_error(tls->ssl, n);
    CHECK(n > 0 || error == SSL_ERROR_ZERO_RETURN || error == SSL_ERROR_SSL);
    return n > 0 ? n : 0;
}

static ssize_t
io_write(struct server *server, const void *data, size_t len)
{
    struct tls_server *tls = server->io_context;
    ERR_clear_error();
    return SSL_write(tls->ssl, data, len > INT32_MAX ? INT32_MAX : (int)len);
}

static void
dropped(struct server *server)
{
    struct tls_server *tls = server->io_context;
    SSL_free(tls->ssl);
    tls->ssl = NULL;
}

static void
closed(struct server *server)
{
    struct tls_server *tls = server->io_context;
    SSL_CTX_free(tls->context);
    pki_close(&tls->pki);
}

void
tls_server_use(struct tls_server *tls, const char *file)
{
    const char *path = pki_path(&tls->pki, file);
    CHECK(SSL_CTX_use_certificate_chain_file(tls->context, path) == 1);
    CHECK(
        SSL_CTX_use_PrivateKey_file(tls->context, path, SSL_FILETYPE_PEM) == 1);
}

void
tls_server_open(struct server *server, struct tls_server *tls)
{
    static const struct server_io io = {
        .accepted = accepted,
        .read = io_read,
        .write = io_write,
        .dropped = dropped,
        .closed = closed,
    };
    *tls = (struct tls_server){.ssl = NULL};
    pki_open(&tls->pki);
    pki_issue(&tls->pki, &(struct pki_wish){.file = "server.pem",
                             .names = "DNS:localhost,IP:127.0.0.1"});
    tls->context = SSL_CTX_new(TLS_server_method());
    CHECK(tls->context != NULL);
    tls_server_use(tls, "server.pem");
    server_open_tcp(server);
    memcpy(server->address, "tls", 3);
    server->io = &io;
    server->io_context = tls;
}

void
tls_server_shut(struct tls_server *tls)
{
    CHECK(SSL_shutdown(tls->ssl) >= 0);
}
