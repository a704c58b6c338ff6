/* SPDX-License-Identifier: MIT
 *
 * Reading, counting and saying. See stream_peer.h. */
#include "stream_peer.h"

#include "measure.h"
#include "sock.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define IN_BYTES  (512u * 1024u)
#define OUT_BYTES (4u * 1024u * 1024u)

void
stream_peer_open(
    struct stream_peer *peer, const struct stream_side *side, uint16_t port)
{
    *peer = (struct stream_peer){.side = side,
        .fd = sock_connect(port),
        .in = allocate(IN_BYTES),
        .out = allocate(OUT_BYTES)};
    side->greet(peer);
}

void
stream_peer_close(struct stream_peer *peer)
{
    close(peer->fd);
    free(peer->in);
    free(peer->out);
}

void
stream_peer_say(struct stream_peer *peer, const void *data, size_t bytes)
{
    if (peer->out_at == peer->out_bytes) {
        peer->out_at = 0;
        peer->out_bytes = 0;
    }
    if (bytes > OUT_BYTES - peer->out_bytes) {
        give_up("the broker does not take what it is told");
    }
    memcpy(peer->out + peer->out_bytes, data, bytes);
    peer->out_bytes += bytes;
}

static void
flush(struct stream_peer *peer)
{
    while (peer->out_at < peer->out_bytes) {
        ssize_t n = send(peer->fd, peer->out + peer->out_at,
            peer->out_bytes - peer->out_at, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno != EINTR) {
            if (errno != EAGAIN) {
                give_up("writing: %s", strerror(errno));
            }
            return;
        }
        peer->out_at += n > 0 ? (size_t)n : 0;
    }
}

static void
take_all(struct stream_peer *peer)
{
    size_t at = 0;
    while (at < peer->in_bytes) {
        size_t n = peer->side->take(peer, peer->in + at, peer->in_bytes - at);
        if (n == 0) {
            break;
        }
        at += n;
    }
    if (at == 0 && peer->in_bytes == IN_BYTES) {
        give_up("the broker sent something too long");
    }
    memmove(peer->in, peer->in + at, peer->in_bytes - at);
    peer->in_bytes -= at;
}

static void
receive(struct stream_peer *peer)
{
    for (;;) {
        size_t room = IN_BYTES - peer->in_bytes;
        ssize_t n =
            recv(peer->fd, peer->in + peer->in_bytes, room, MSG_DONTWAIT);
        if (n == 0) {
            give_up("the broker closed the connection");
        }
        if (n < 0 && errno == EAGAIN) {
            return;
        }
        if (n < 0 && errno != EINTR) {
            give_up("reading: %s", strerror(errno));
        }
        if (n > 0) {
            peer->in_bytes += (size_t)n;
            take_all(peer);
            if ((size_t)n < room) {
                return;
            }
        }
    }
}

void
stream_peer_turn(struct stream_peer *peer, bool writes, int timeout_ms)
{
    writes = writes || peer->out_at < peer->out_bytes;
    struct pollfd poll_fd = {
        .fd = peer->fd, .events = (short)(POLLIN | (writes ? POLLOUT : 0))};
    if (poll(&poll_fd, 1, timeout_ms) < 0 && errno != EINTR) {
        give_up("poll: %s", strerror(errno));
    }
    if ((poll_fd.revents & ~POLLOUT) != 0) {
        receive(peer);
    }
    flush(peer);
}
