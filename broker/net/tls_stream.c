/* SPDX-License-Identifier: MIT
 *
 * Records; see tls_stream.h. */
#include "tls_stream.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

struct tls_stream {
    struct tls *context;
    SSL *ssl; /* NULL until the peer spoke: most of the memory */
    struct tls_peer *peer;
    const char *failure;
    bool is_open;
};

struct tls_stream *
tls_stream_new(struct tls *tls)
{
    struct tls_stream *stream = calloc(1, sizeof *stream);
    if (stream != NULL) {
        stream->context = tls_ref(tls);
    }
    return stream;
}

void
tls_stream_free(struct tls_stream *stream)
{
    if (stream != NULL) {
        tls_peer_free(stream->peer);
        SSL_free(stream->ssl);
        tls_unref(stream->context);
        free(stream);
    }
}

struct ssl_st *
tls_stream_begin(struct tls_stream *stream)
{
    stream->ssl = SSL_new(tls_context(stream->context));
    ERR_clear_error();
    return stream->ssl;
}

bool
tls_stream_has_begun(const struct tls_stream *stream)
{
    return stream->ssl != NULL;
}

struct ssl_st *
tls_stream_ssl(const struct tls_stream *stream)
{
    return stream->ssl;
}

void
tls_stream_open(struct tls_stream *stream)
{
    stream->peer = tls_peer_new(stream->ssl);
    stream->is_open = true;
}

bool
tls_stream_is_open(const struct tls_stream *stream)
{
    return stream->is_open;
}

const struct tls_peer *
tls_stream_peer(const struct tls_stream *stream)
{
    return stream->peer;
}

const char *
tls_stream_version(const struct tls_stream *stream)
{
    return SSL_get_version(stream->ssl);
}

const char *
tls_stream_suite(const struct tls_stream *stream)
{
    return SSL_get_cipher_name(stream->ssl);
}

/* ---- failures ------------------------------------------------------------ */

static const char *
ssl_reason(const struct tls_stream *stream, unsigned long code)
{
    switch (ERR_GET_REASON(code)) {
    case SSL_R_WRONG_VERSION_NUMBER:
    case SSL_R_HTTP_REQUEST:
    case SSL_R_HTTPS_PROXY_REQUEST:
        return stream->is_open ? NULL : "not TLS: use tcp://";
    case SSL_R_UNEXPECTED_EOF_WHILE_READING:
        return stream->is_open ? "closed by the peer without close_notify"
                               : "closed by the peer during the handshake";
    case SSL_R_CERTIFICATE_VERIFY_FAILED:
        return X509_verify_cert_error_string(
            SSL_get_verify_result(stream->ssl));
    default:
        return NULL;
    }
}

const char *
tls_stream_reason(const struct tls_stream *stream, unsigned long code)
{
    const char *reason = NULL;
    if (ERR_SYSTEM_ERROR(code)) {
        reason = strerror(ERR_GET_REASON(code));
    } else if (ERR_GET_LIB(code) == ERR_LIB_SSL) {
        reason = ssl_reason(stream, code);
    }
    if (reason == NULL) {
        reason = ERR_reason_error_string(code);
    }
    return reason != NULL ? reason : "TLS failed";
}

const char *
tls_stream_failure(const struct tls_stream *stream)
{
    return stream->failure;
}

/* After a call that failed with this error of SSL_get_error. */
static enum tls_result
note_failure(struct tls_stream *stream, int error)
{
    int number = errno;
    unsigned long code = ERR_peek_error();
    if (error == SSL_ERROR_SYSCALL && code == 0) {
        stream->failure = number != 0 ? strerror(number) : "closed by the peer";
    } else {
        stream->failure = tls_stream_reason(stream, code);
    }
    ERR_clear_error();
    return TLS_FAILED;
}

/* ---- bytes --------------------------------------------------------------- */

enum tls_result
tls_stream_receive(
    struct tls_stream *stream, uint8_t *dst, size_t room, size_t *len)
{
    *len = 0;
    if (stream->failure != NULL) {
        return TLS_FAILED;
    }
    while (*len < room) {
        size_t n = 0;
        ERR_clear_error();
        errno = 0;
        if (SSL_read_ex(stream->ssl, dst + *len, room - *len, &n) == 1) {
            *len += n;
            continue;
        }
        int error = SSL_get_error(stream->ssl, 0);
        switch (error) {
        case SSL_ERROR_WANT_READ:
        case SSL_ERROR_WANT_WRITE:
            return TLS_BLOCKED;
        case SSL_ERROR_ZERO_RETURN:
            return TLS_ENDED;
        default:
            (void)note_failure(stream, error);
            /* What came before it is whole and right. */
            return *len > 0 ? TLS_DONE : TLS_FAILED;
        }
    }
    return TLS_DONE;
}

size_t
tls_stream_pending(const struct tls_stream *stream)
{
    return stream->failure != NULL ? 1 : (size_t)SSL_pending(stream->ssl);
}

enum tls_result
tls_stream_send(struct tls_stream *stream, const uint8_t *src, size_t len)
{
    size_t written = 0;
    ERR_clear_error();
    errno = 0;
    if (SSL_write_ex(stream->ssl, src, len, &written) == 1) {
        return TLS_DONE; /* all of it: there are no partial writes */
    }
    int error = SSL_get_error(stream->ssl, 0);
    if (error == SSL_ERROR_WANT_WRITE || error == SSL_ERROR_WANT_READ) {
        return TLS_BLOCKED;
    }
    return note_failure(stream, error);
}

enum tls_result
tls_stream_close(struct tls_stream *stream)
{
    ERR_clear_error();
    errno = 0;
    int result = SSL_shutdown(stream->ssl);
    if (result >= 0) {
        return TLS_DONE; /* whether the peer has said the same or not */
    }
    int error = SSL_get_error(stream->ssl, result);
    return error == SSL_ERROR_WANT_WRITE ? TLS_BLOCKED
                                         : note_failure(stream, error);
}
