/* SPDX-License-Identifier: MIT
 *
 * One connection's TLS once its handshake is over: records to bytes and bytes
 * to records, straight from and to the socket. The handshake itself, and
 * waiting for a full socket, is done by a bufferevent (transport.c) with the
 * same SSL object.
 *
 * Knows nothing of sessions. Thread: that of its connection.
 */
#ifndef BROKER_NET_TLS_STREAM_H
#define BROKER_NET_TLS_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tls.h"

/* Most bytes that one record holds. */
#define TLS_RECORD_BYTES ((size_t)16 * 1024)

struct tls_stream;

enum tls_result {
    TLS_DONE,
    TLS_BLOCKED, /* the socket is empty, or full */
    TLS_ENDED,   /* the peer said that it sends no more (close_notify) */
    TLS_FAILED   /* tls_stream_failure says why */
};

/* NULL if memory is out. A reference to `tls` is kept. */
struct tls_stream *tls_stream_new(struct tls *tls);
void tls_stream_free(struct tls_stream *stream); /* NULL is fine */

/* The peer spoke: what the handshake is to be done with. NULL if memory is
 * out. Owned by the stream. */
struct ssl_st *tls_stream_begin(struct tls_stream *stream);
bool tls_stream_has_begun(const struct tls_stream *stream);
/* What tls_stream_begin returned. */
struct ssl_st *tls_stream_ssl(const struct tls_stream *stream);

/* The handshake is over; only now the functions below may be called. */
void tls_stream_open(struct tls_stream *stream);
bool tls_stream_is_open(const struct tls_stream *stream);

/* Why it failed: a constant text. `code` is OpenSSL's error, 0 if there is
 * none. Nothing in it is of the peer or secret. */
const char *tls_stream_reason(
    const struct tls_stream *stream, unsigned long code);
const char *tls_stream_failure(const struct tls_stream *stream);

/* NULL: the peer showed no certificate, or is not open yet. */
const struct tls_peer *tls_stream_peer(const struct tls_stream *stream);
/* "TLSv1.3" and the suite's name. */
const char *tls_stream_version(const struct tls_stream *stream);
const char *tls_stream_suite(const struct tls_stream *stream);

/* Receive up to `room` bytes; *len is how many came, also if the result is not
 * TLS_DONE, which means that there may be more. */
enum tls_result tls_stream_receive(
    struct tls_stream *stream, uint8_t *dst, size_t room, size_t *len);
/* Received bytes, or a failure, that the socket will not tell of again. */
size_t tls_stream_pending(const struct tls_stream *stream);

/* Send at most TLS_RECORD_BYTES. After TLS_BLOCKED the record is made and has
 * to be sent: the same bytes must be written next. */
enum tls_result tls_stream_send(
    struct tls_stream *stream, const uint8_t *src, size_t len);

/* Say that nothing more is sent (close_notify). After TLS_BLOCKED again. */
enum tls_result tls_stream_close(struct tls_stream *stream);

#endif
