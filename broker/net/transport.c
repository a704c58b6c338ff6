/* SPDX-License-Identifier: MIT
 *
 * Sockets with and without TLS; see transport.h. */
#include "transport.h"

#include "tls_stream.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>
#include <event2/event.h>
#include <openssl/err.h>

#define SPANS_MAX 64
/* Handed to the bufferevent when the socket is full; see transport.h. */
#define HANDED_BYTES 4096
/* Encrypted for one connection before others have their turn. */
#define SEALED_BYTES ((size_t)128 * 1024)
/* What a peer still says while its connection ends is read so much at a time.
 */
#define DISCARD_BYTES 4096

#define NO_MEMORY "out of memory"

/* ---- life ---------------------------------------------------------------- */

bool
transport_init(struct transport *transport, struct event_base *base,
    evutil_socket_t fd, const struct transport_hooks *hooks, struct tls *tls)
{
    *transport = (struct transport){.hooks = hooks, .base = base, .fd = fd};
    if (tls != NULL) {
        transport->tls = tls_stream_new(tls);
        if (transport->tls == NULL) {
            evutil_closesocket(fd);
            return false;
        }
    }
    return true;
}

static void
free_events(struct transport *transport)
{
    if (transport->events != NULL) {
        bufferevent_free(transport->events);
        transport->events = NULL;
    }
}

void
transport_fini(struct transport *transport)
{
    free_events(transport);
    tls_stream_free(transport->tls);
    evutil_closesocket(transport->fd);
}

const char *
transport_version(const struct transport *transport)
{
    return tls_stream_version(transport->tls);
}

const char *
transport_suite(const struct transport *transport)
{
    return tls_stream_suite(transport->tls);
}

const struct tls_peer *
transport_peer(const struct transport *transport)
{
    return transport->tls == NULL ? NULL : tls_stream_peer(transport->tls);
}

/* ---- the bufferevent ----------------------------------------------------- */

static void
written_cb(struct bufferevent *events, void *arg)
{
    struct transport *transport = arg;
    transport->handed = evbuffer_get_length(bufferevent_get_output(events)) > 0;
    transport->hooks->has_room(transport);
}

/* The first thing that went wrong; OpenSSL's errors come last one first. */
static const char *
events_reason(struct transport *transport, int number)
{
    unsigned long first = 0;
    unsigned long code;
    while ((code = bufferevent_get_openssl_error(transport->events)) != 0) {
        first = ERR_GET_LIB(code) != 0 ? code : first;
    }
    if (first != 0) {
        return tls_stream_reason(transport->tls, first);
    }
    return number != 0 ? strerror(number) : "closed by the peer";
}

/* Only of writing: the bufferevent does not read. */
static void
event_cb(struct bufferevent *events, short what, void *arg)
{
    (void)events;
    struct transport *transport = arg;
    int number = EVUTIL_SOCKET_ERROR();
    if ((what & (BEV_EVENT_ERROR | BEV_EVENT_EOF)) != 0) {
        transport->hooks->failed(transport,
            transport->tls == NULL ? strerror(number)
                                   : events_reason(transport, number));
    }
}

/* Writing is enabled from the start, reading is not. False if memory is out. */
static bool
has_events(struct transport *transport)
{
    if (transport->events == NULL) {
        transport->events =
            transport->tls == NULL
                ? bufferevent_socket_new(transport->base, transport->fd, 0)
                : bufferevent_openssl_socket_new(transport->base, transport->fd,
                      tls_stream_ssl(transport->tls), BUFFEREVENT_SSL_OPEN, 0);
        if (transport->events == NULL) {
            return false;
        }
        bufferevent_setcb(
            transport->events, NULL, written_cb, event_cb, transport);
    }
    return true;
}

void
transport_rest(struct transport *transport)
{
    if (!transport->handed) {
        free_events(transport);
    }
}

void
transport_stop(struct transport *transport)
{
    if (transport->events != NULL) {
        bufferevent_disable(transport->events, EV_WRITE);
    }
}

/* ---- shaking hands ------------------------------------------------------- */

bool
transport_is_open(const struct transport *transport)
{
    return transport->tls == NULL || tls_stream_is_open(transport->tls);
}

bool
transport_is_waiting(const struct transport *transport)
{
    return transport->tls != NULL && !tls_stream_has_begun(transport->tls);
}

static void
handshake_cb(struct bufferevent *events, short what, void *arg)
{
    (void)events;
    struct transport *transport = arg;
    int number = EVUTIL_SOCKET_ERROR();
    if ((what & BEV_EVENT_CONNECTED) != 0) {
        free_events(transport);
        tls_stream_open(transport->tls);
        transport->hooks->opened(transport);
    } else if ((what & (BEV_EVENT_ERROR | BEV_EVENT_EOF)) != 0) {
        const char *reason = events_reason(transport, number);
        free_events(transport);
        transport->hooks->refused(transport, reason);
    }
}

bool
transport_shake_hands(struct transport *transport)
{
    struct ssl_st *ssl = tls_stream_begin(transport->tls);
    if (ssl != NULL) {
        transport->events = bufferevent_openssl_socket_new(
            transport->base, transport->fd, ssl, BUFFEREVENT_SSL_ACCEPTING, 0);
    }
    if (transport->events == NULL) {
        return false;
    }
    bufferevent_setcb(transport->events, NULL, NULL, handshake_cb, transport);
    return true;
}

/* ---- receiving ----------------------------------------------------------- */

static enum transport_input
receive_tls(struct transport *transport, uint8_t *dst, size_t room, size_t *len,
    const char **reason)
{
    switch (tls_stream_receive(transport->tls, dst, room, len)) {
    case TLS_DONE:
        return TRANSPORT_MORE;
    case TLS_BLOCKED:
        return TRANSPORT_DRAINED;
    case TLS_ENDED:
        return TRANSPORT_ENDED;
    default:
        *reason = tls_stream_failure(transport->tls);
        return TRANSPORT_BROKEN;
    }
}

enum transport_input
transport_receive(struct transport *transport, uint8_t *dst, size_t room,
    size_t *len, const char **reason)
{
    if (transport->tls != NULL) {
        return receive_tls(transport, dst, room, len, reason);
    }
    ssize_t got;
    do {
        got = recv(transport->fd, dst, room, MSG_DONTWAIT);
    } while (got < 0 && errno == EINTR);
    *len = got > 0 ? (size_t)got : 0;
    if (got > 0) {
        return (size_t)got < room ? TRANSPORT_DRAINED : TRANSPORT_MORE;
    }
    if (got == 0) {
        return TRANSPORT_ENDED;
    }
    if (errno == EAGAIN || errno == EWOULDBLOCK) {
        return TRANSPORT_DRAINED;
    }
    *reason = strerror(errno);
    return TRANSPORT_BROKEN;
}

size_t
transport_pending(const struct transport *transport)
{
    return transport->tls == NULL ? 0 : tls_stream_pending(transport->tls);
}

bool
transport_discard(const struct transport *transport)
{
    uint8_t nothing[DISCARD_BYTES];
    ssize_t got = recv(transport->fd, nothing, sizeof nothing, MSG_DONTWAIT);
    return got == 0 || (got < 0 && errno != EINTR && errno != EAGAIN &&
                           errno != EWOULDBLOCK);
}

/* ---- sending ------------------------------------------------------------- */

#define SEND_FLAGS (MSG_NOSIGNAL | MSG_DONTWAIT)

/* Returns the bytes that the socket took, or -1 if it failed. One span goes out
 * with send, which is the cheaper call. */
static ssize_t
send_plain(const struct transport *transport, const struct output_span *spans,
    size_t count)
{
    struct iovec vectors[SPANS_MAX];
    struct msghdr message = {.msg_iov = vectors, .msg_iovlen = count};
    for (size_t i = 0; count > 1 && i < count; i++) {
        /* sendmsg does not write through it; iovec has no const. */
        vectors[i].iov_base = (void *)(uintptr_t)spans[i].data;
        vectors[i].iov_len = spans[i].len;
    }
    ssize_t sent;
    do {
        sent = count > 1
                   ? sendmsg(transport->fd, &message, SEND_FLAGS)
                   : send(transport->fd, spans->data, spans->len, SEND_FLAGS);
    } while (sent < 0 && errno == EINTR);
    if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
        return 0;
    }
    return sent;
}

/* A place in the spans. */
struct cursor {
    const struct output_span *spans;
    size_t count;
    size_t offset; /* in the first of them */
};

/* The next bytes that make one record: where they lie if they lie together,
 * copied together if not, because a record costs more than a copy. */
static size_t
next_record(
    struct cursor *at, uint8_t room[TLS_RECORD_BYTES], const uint8_t **data)
{
    size_t len = 0;
    *data = room;
    while (at->count > 0 && len < TLS_RECORD_BYTES) {
        const uint8_t *from = at->spans->data + at->offset;
        size_t left = at->spans->len - at->offset;
        size_t n =
            left < TLS_RECORD_BYTES - len ? left : TLS_RECORD_BYTES - len;
        bool is_last = n == left;
        if (n == TLS_RECORD_BYTES || (len == 0 && at->count == 1)) {
            *data = from;
        } else {
            memcpy(room + len, from, n);
        }
        len += n;
        at->offset = is_last ? 0 : at->offset + n;
        at->spans += is_last;
        at->count -= is_last;
    }
    return len;
}

/* OpenSSL wants the same bytes again, so they may not stay where the overflow
 * policy can drop them. */
static bool
hand_over(struct transport *transport, const uint8_t *data, size_t len)
{
    if (!has_events(transport) ||
        bufferevent_write(transport->events, data, len) != 0) {
        return false;
    }
    transport->handed = true;
    /* And it wants them in one piece. */
    struct evbuffer *output = bufferevent_get_output(transport->events);
    return evbuffer_pullup(output, (ev_ssize_t)len) != NULL;
}

static ssize_t
send_tls(struct transport *transport, struct cursor at, bool *more,
    const char **reason)
{
    uint8_t room[TLS_RECORD_BYTES];
    const uint8_t *data;
    size_t sent = 0;
    size_t len;
    while (sent < SEALED_BYTES && (len = next_record(&at, room, &data)) > 0) {
        switch (tls_stream_send(transport->tls, data, len)) {
        case TLS_DONE:
            sent += len;
            break;
        case TLS_BLOCKED:
            if (!hand_over(transport, data, len)) {
                *reason = NO_MEMORY;
                return -1;
            }
            return (ssize_t)(sent + len);
        default:
            *reason = tls_stream_failure(transport->tls);
            return -1;
        }
    }
    *more = at.count > 0;
    return (ssize_t)sent;
}

ssize_t
transport_send(struct transport *transport, const struct output_span *spans,
    size_t count, bool *more, const char **reason)
{
    *more = false;
    if (transport->tls != NULL) {
        return send_tls(
            transport, (struct cursor){spans, count, 0}, more, reason);
    }
    ssize_t sent = send_plain(transport, spans, count);
    if (sent < 0) {
        *reason = strerror(errno);
    }
    return sent;
}

size_t
transport_wait(
    struct transport *transport, const struct output_span *spans, size_t count)
{
    size_t handed = 0;
    for (size_t i = 0;
         i < count && handed < HANDED_BYTES && has_events(transport); i++) {
        size_t len = spans[i].len;
        if (len > HANDED_BYTES - handed) {
            len = HANDED_BYTES - handed;
        }
        if (bufferevent_write(transport->events, spans[i].data, len) != 0) {
            break;
        }
        handed += len;
        transport->handed = true;
    }
    return handed;
}

enum transport_end
transport_shut_down(struct transport *transport)
{
    if (transport->tls != NULL && tls_stream_is_open(transport->tls) &&
        tls_stream_close(transport->tls) == TLS_BLOCKED) {
        return TRANSPORT_FULL;
    }
    return shutdown(transport->fd, SHUT_WR) == 0 ? TRANSPORT_SHUT
                                                 : TRANSPORT_GONE;
}
