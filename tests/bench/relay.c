/* SPDX-License-Identifier: MIT
 *
 * bench_relay: copies bytes from publishers to subscribers and does nothing
 * else, which is what a broker in user space cannot beat. One thread, epoll,
 * sockets that do not block; at most RELAY_READ_BYTES a read.
 *
 * Who connects first says eight bytes, 'P' (publisher) or 'S' (subscriber) and
 * a channel of seven digits, and gets them back. What the one publisher of a
 * channel sends goes to all subscribers of the channel. It looks at no byte
 * after that, and loses none: a publisher is not read from while a subscriber
 * of its channel has not taken all of the last read.
 *
 * Prints "relay ready PORT" when it listens on 127.0.0.1. Runs until SIGTERM.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define RELAY_READ_BYTES (256u * 1024u)
#define GREETING_BYTES   8
#define CHANNELS_MAX     8192u
#define EVENTS_MAX       256

enum role { ROLE_LISTENER, ROLE_NEW, ROLE_PUBLISHER, ROLE_SUBSCRIBER };

struct channel;

struct peer {
    enum role role;
    int fd;
    struct channel *channel;
    struct peer *next; /* of the channel's subscribers */
    size_t behind;     /* bytes of the channel's rest not yet taken */
    char greeting[GREETING_BYTES + 1];
    size_t greeting_len;
};

/* The last read of the publisher, as far as somebody still needs it. */
struct channel {
    struct peer *publisher;
    struct peer *subscribers;
    uint8_t *rest;
    size_t rest_len;
    size_t waiting; /* subscribers with behind > 0 */
};

static int epoll_fd;
static struct channel channels[CHANNELS_MAX];
static uint8_t block[RELAY_READ_BYTES];

static void
die(const char *what)
{
    perror(what);
    exit(EXIT_FAILURE);
}

static void
watch(struct peer *peer, int operation, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = peer};
    if (epoll_ctl(epoll_fd, operation, peer->fd, &event) != 0) {
        die("epoll_ctl");
    }
}

static void
forget_subscriber(struct peer *peer)
{
    struct channel *channel = peer->channel;
    struct peer **link = &channel->subscribers;
    while (*link != peer) {
        link = &(*link)->next;
    }
    *link = peer->next;
    if (peer->behind > 0 && --channel->waiting == 0 &&
        channel->publisher != NULL) {
        watch(channel->publisher, EPOLL_CTL_MOD, EPOLLIN);
    }
}

static void
peer_end(struct peer *peer)
{
    if (peer->role == ROLE_PUBLISHER) {
        peer->channel->publisher = NULL;
    }
    if (peer->role == ROLE_SUBSCRIBER) {
        forget_subscriber(peer);
    }
    close(peer->fd);
    free(peer);
}

/* Bytes that the socket took, 0 if none; -1 when the peer is gone. */
static ssize_t
write_some(const struct peer *peer, const uint8_t *data, size_t len)
{
    ssize_t n = send(peer->fd, data, len, MSG_NOSIGNAL);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return 0;
    }
    return n;
}

/* A subscriber did not take all: keep what is left, once for the channel. */
static void
keep_rest(struct channel *channel, struct peer *peer, size_t taken, size_t len)
{
    if (channel->waiting++ == 0) {
        if (channel->rest == NULL &&
            (channel->rest = malloc(RELAY_READ_BYTES)) == NULL) {
            die("malloc");
        }
        memcpy(channel->rest, block, len);
        channel->rest_len = len;
    }
    peer->behind = len - taken;
    watch(peer, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
}

static void
publisher_readable(struct peer *publisher)
{
    struct channel *channel = publisher->channel;
    if (channel->waiting > 0) {
        /* It hung up; what it sent before is read later. */
        return;
    }
    ssize_t len = recv(publisher->fd, block, sizeof(block), 0);
    if (len < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (len <= 0) {
        peer_end(publisher);
        return;
    }
    struct peer *next;
    for (struct peer *peer = channel->subscribers; peer != NULL; peer = next) {
        next = peer->next;
        ssize_t taken = write_some(peer, block, (size_t)len);
        if (taken < 0) {
            /* Its end is read from epoll. */
            continue;
        }
        if (taken < len) {
            keep_rest(channel, peer, (size_t)taken, (size_t)len);
        }
    }
    if (channel->waiting > 0) {
        watch(publisher, EPOLL_CTL_MOD, 0);
    }
}

static void
subscriber_writable(struct peer *peer)
{
    struct channel *channel = peer->channel;
    if (peer->behind == 0) {
        return;
    }
    ssize_t taken = write_some(
        peer, channel->rest + (channel->rest_len - peer->behind), peer->behind);
    if (taken < 0) {
        peer_end(peer);
        return;
    }
    peer->behind -= (size_t)taken;
    if (peer->behind > 0) {
        return;
    }
    watch(peer, EPOLL_CTL_MOD, EPOLLIN);
    if (--channel->waiting == 0 && channel->publisher != NULL) {
        watch(channel->publisher, EPOLL_CTL_MOD, EPOLLIN);
    }
}

/* True if the greeting is one, and its place is free. */
static bool
join(struct peer *peer)
{
    unsigned long number = strtoul(peer->greeting + 1, NULL, 10);
    if (number >= CHANNELS_MAX) {
        return false;
    }
    struct channel *channel = &channels[number];
    peer->channel = channel;
    if (peer->greeting[0] == 'P' && channel->publisher == NULL) {
        channel->publisher = peer;
        peer->role = ROLE_PUBLISHER;
        return true;
    }
    if (peer->greeting[0] == 'S' && channel->waiting == 0) {
        peer->next = channel->subscribers;
        channel->subscribers = peer;
        peer->role = ROLE_SUBSCRIBER;
        return true;
    }
    return false;
}

static void
newcomer_readable(struct peer *peer)
{
    ssize_t n = recv(peer->fd, peer->greeting + peer->greeting_len,
        GREETING_BYTES - peer->greeting_len, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (n <= 0) {
        peer_end(peer);
        return;
    }
    peer->greeting_len += (size_t)n;
    if (peer->greeting_len == GREETING_BYTES &&
        (!join(peer) || write_some(peer, (const uint8_t *)peer->greeting,
                            GREETING_BYTES) != GREETING_BYTES)) {
        peer_end(peer);
    }
}

static void
subscriber_readable(struct peer *peer)
{
    char byte;
    ssize_t n = recv(peer->fd, &byte, 1, 0);
    if (n >= 0 || (errno != EAGAIN && errno != EINTR)) {
        /* Its end, or bytes that nobody asked for. */
        peer_end(peer);
    }
}

static void
accept_peer(const struct peer *listener)
{
    int on = 1;
    int fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
        return;
    }
    struct peer *peer = calloc(1, sizeof(*peer));
    if (peer == NULL) {
        die("calloc");
    }
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    peer->role = ROLE_NEW;
    peer->fd = fd;
    watch(peer, EPOLL_CTL_ADD, EPOLLIN);
}

static void
peer_event(struct peer *peer, uint32_t events)
{
    switch (peer->role) {
    case ROLE_LISTENER:
        accept_peer(peer);
        break;
    case ROLE_NEW:
        newcomer_readable(peer);
        break;
    case ROLE_PUBLISHER:
        publisher_readable(peer);
        break;
    case ROLE_SUBSCRIBER:
        if ((events & ~(uint32_t)EPOLLOUT) != 0) {
            subscriber_readable(peer);
        } else {
            subscriber_writable(peer);
        }
        break;
    }
}

static int
listen_on_loopback(uint16_t *port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 ||
        bind(fd, (const struct sockaddr *)&address, sizeof(address)) != 0 ||
        listen(fd, SOMAXCONN) != 0 ||
        getsockname(fd, (struct sockaddr *)&address, &len) != 0) {
        die("listening");
    }
    *port = ntohs(address.sin_port);
    return fd;
}

int
main(void)
{
    struct epoll_event events[EVENTS_MAX];
    struct rlimit limit;
    uint16_t port;
    struct peer listener = {
        .role = ROLE_LISTENER, .fd = listen_on_loopback(&port)};
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
    if ((epoll_fd = epoll_create1(EPOLL_CLOEXEC)) < 0) {
        die("epoll_create1");
    }
    watch(&listener, EPOLL_CTL_ADD, EPOLLIN);
    printf("relay ready %u\n", port);
    fflush(stdout);
    for (;;) {
        int n = epoll_wait(epoll_fd, events, EVENTS_MAX, -1);
        if (n < 0 && errno != EINTR) {
            die("epoll_wait");
        }
        for (int i = 0; i < n; i++) {
            peer_event(events[i].data.ptr, events[i].events);
        }
    }
}
