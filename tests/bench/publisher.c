/* SPDX-License-Identifier: MIT
 *
 * Writing frames round and round. See publisher.h. */
#include "publisher.h"

#include "measure.h"
#include "sock.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Where a brokerd frame has its id. */
#define ID_AT 8

/* xorshift: the same topics in every run, for every broker. */
static uint64_t
next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* Give the frames the next numbers. */
static void
renumber(struct publisher *publisher)
{
    uint8_t *end = publisher->frames + publisher->frames_len;
    for (uint8_t *frame = publisher->frames; frame < end;
         frame += publisher->frame_bytes) {
        uint32_t id = publisher->next_id++;
        publisher->next_id += publisher->next_id == 0;
        for (int i = 0; i < 4; i++) {
            frame[ID_AT + i] = (uint8_t)(id >> (24 - 8 * i));
        }
    }
}

static void
build_frames(struct publisher *publisher, const struct expectation *expected,
    struct topic_walk walk)
{
    uint64_t seed = UINT64_C(0x9E3779B97F4A7C15);
    struct message message = {
        .payload = expected->payload, .payload_len = expected->payload_len};
    size_t cap = walk.frames * (expected->payload_len + TOPIC_BYTES + 64) +
                 FRAME_OVERHEAD_MAX;
    publisher->frames = allocate(cap);
    for (size_t i = 0; i < walk.frames; i++) {
        uint64_t step = walk.random ? next_random(&seed) : i;
        message.topic = walk.first + (unsigned)(step % walk.count);
        publisher->frame_bytes = publisher->protocol->publish(
            publisher->frames + publisher->frames_len, &message);
        publisher->frames_len += publisher->frame_bytes;
    }
    if (publisher->numbered) {
        renumber(publisher);
    }
}

void
publisher_open(struct publisher *publisher, const struct protocol *protocol,
    const struct expectation *expected, uint16_t port, unsigned channel,
    struct topic_walk walk, unsigned receivers)
{
    *publisher = (struct publisher){.protocol = protocol,
        .fd = sock_connect(port),
        .writable = true,
        .numbered = expected->numbered && protocol->has_context,
        .next_id = 1,
        .replies.receivers = receivers};
    protocol->greet(publisher->fd, true, channel);
    build_frames(publisher, expected, walk);
    sock_nonblocking(publisher->fd);
}

void
publisher_close(struct publisher *publisher)
{
    close(publisher->fd);
    free(publisher->frames);
    publisher->frames = NULL;
}

void
publisher_write(struct publisher *publisher, uint64_t max_bytes)
{
    size_t len = publisher->frames_len - publisher->at;
    if (len > max_bytes) {
        len = (size_t)max_bytes;
    }
    ssize_t n = send(
        publisher->fd, publisher->frames + publisher->at, len, MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN && errno != EINTR) {
        give_up("a publisher's connection: %s", strerror(errno));
    }
    if (n < 0) {
        publisher->writable = errno != EAGAIN;
        return;
    }
    publisher->sent_bytes += (uint64_t)n;
    publisher->at += (size_t)n;
    if (publisher->at == publisher->frames_len) {
        publisher->at = 0;
        if (publisher->numbered) {
            renumber(publisher);
        }
    }
}

void
publisher_read(struct publisher *publisher)
{
    static uint8_t bytes[65536];
    for (;;) {
        ssize_t n = recv(publisher->fd, bytes, sizeof(bytes), 0);
        if (n == 0) {
            give_up("the broker closed a publisher's connection");
        }
        if (n < 0 && errno == EAGAIN) {
            return;
        }
        if (n < 0 && errno != EINTR) {
            give_up("a publisher's connection: %s", strerror(errno));
        }
        if (n > 0 && !publisher->protocol->reply(
                         &publisher->replies, bytes, (size_t)n)) {
            give_up("a publisher got an answer that does not belong here");
        }
    }
}

uint64_t
publisher_messages(const struct publisher *publisher)
{
    return (publisher->sent_bytes + publisher->frame_bytes - 1) /
           publisher->frame_bytes;
}

uint64_t
publisher_cut_bytes(const struct publisher *publisher)
{
    uint64_t cut = publisher->sent_bytes % publisher->frame_bytes;
    return cut == 0 ? 0 : publisher->frame_bytes - cut;
}
