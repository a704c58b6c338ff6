/* SPDX-License-Identifier: MIT
 *
 * Checking, counting and following deliveries. See receiver.h. */
#include "receiver.h"

#include "measure.h"
#include "sock.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Deliveries that are compared byte for byte on each connection. */
#define CHECKED_MESSAGES 8
#define READ_BYTES       (1024 * 1024)
#define HEADER_BYTES     12

static uint8_t scratch[READ_BYTES];

void
expectation_init(struct expectation *expected, const struct protocol *protocol,
    const uint8_t *payload, size_t payload_len, bool numbered, bool many)
{
    *expected = (struct expectation){
        .payload = payload, .payload_len = payload_len, .numbered = numbered};
    /* Ids of one length, where they are part of what is delivered. */
    if (many && protocol->interjection != NULL) {
        expected->id_of_topic = TOPICS_MAX;
    }
    uint8_t *frame = allocate(payload_len + FRAME_OVERHEAD_MAX);
    expected->frame_bytes = protocol->deliver(
        frame, &(struct message){.payload = payload,
                   .payload_len = payload_len,
                   .subscription_id = many ? expected->id_of_topic : 1});
    const uint8_t *topic = memmem(frame, expected->frame_bytes, "bench", 5);
    expected->topic_at = (size_t)(topic - frame);
    free(frame);
}

void
receiver_open(struct receiver *receiver, const struct protocol *protocol,
    const struct expectation *expected, uint16_t port, unsigned channel,
    bool many)
{
    *receiver = (struct receiver){.protocol = protocol,
        .expected = expected,
        .fd = sock_connect(port),
        .follow = many && protocol->has_context};
    protocol->greet(receiver->fd, false, channel);
}

void
receiver_close(struct receiver *receiver)
{
    close(receiver->fd);
    free(receiver->head);
    receiver->head = NULL;
}

void
receiver_subscribe(struct receiver *receiver, unsigned first, unsigned step,
    unsigned end, enum filter_shape shape, const char *group)
{
    const struct protocol *protocol = receiver->protocol;
    size_t count = (end - first + step - 1) / step;
    uint8_t *requests = allocate(count * SUBSCRIBE_BYTES_MAX);
    size_t len = 0;
    unsigned id = 1;
    for (unsigned topic = first; topic < end; topic += step, id++) {
        unsigned base = receiver->expected->id_of_topic;
        struct subscription subscription = {.topic = topic,
            .shape = shape,
            .group = group,
            .id = base != 0 ? base + topic : id};
        len += protocol->subscribe(requests + len, &subscription);
    }
    sock_write(receiver->fd, requests, len);
    free(requests);
    protocol->settle(receiver->fd, count);
    sock_nonblocking(receiver->fd);
}

/* The topic number in a delivery. */
static unsigned
topic_of(const struct receiver *receiver, const uint8_t *frame)
{
    const uint8_t *digits =
        frame + receiver->expected->topic_at + TOPIC_PREFIX_BYTES;
    unsigned topic = 0;
    for (size_t i = 0; i < TOPIC_BYTES - TOPIC_PREFIX_BYTES; i++) {
        topic = topic * 10 + (unsigned)(digits[i] - '0') % 10;
    }
    return topic;
}

static void
check_message(const struct receiver *receiver, const uint8_t *frame)
{
    const struct expectation *expected = receiver->expected;
    unsigned topic = topic_of(receiver, frame);
    struct message message = {.topic = topic,
        .payload = expected->payload,
        .payload_len = expected->payload_len,
        .subscription_id =
            expected->id_of_topic != 0 ? expected->id_of_topic + topic : 1};
    if (expected->numbered && receiver->protocol->has_context) {
        message.id = (uint32_t)frame[8] << 24 | (uint32_t)frame[9] << 16 |
                     (uint32_t)frame[10] << 8 | frame[11];
    }
    uint8_t *wanted = allocate(expected->payload_len + FRAME_OVERHEAD_MAX);
    size_t len = receiver->protocol->deliver(wanted, &message);
    if (len != expected->frame_bytes || memcmp(wanted, frame, len) != 0) {
        give_up("a delivery is not what was published");
    }
    free(wanted);
}

/* Follow headers through len bytes; whole messages are counted. */
static void
follow(struct receiver *receiver, const uint8_t *src, size_t len)
{
    while (len > 0) {
        if (receiver->skip_bytes > 0) {
            size_t n = receiver->skip_bytes < len ? receiver->skip_bytes : len;
            src += n;
            len -= n;
            receiver->skip_bytes -= n;
            receiver->messages +=
                receiver->skip_bytes == 0 && receiver->skip_message;
            continue;
        }
        const uint8_t *header = src;
        size_t taken = HEADER_BYTES;
        if (receiver->part_len > 0 || len < HEADER_BYTES) {
            taken = HEADER_BYTES - receiver->part_len;
            taken = taken < len ? taken : len;
            memcpy(receiver->part + receiver->part_len, src, taken);
            receiver->part_len += taken;
            header = receiver->part;
            if (receiver->part_len < HEADER_BYTES) {
                return;
            }
            receiver->part_len = 0;
        }
        size_t bytes;
        enum unit unit = receiver->protocol->unit(header, HEADER_BYTES, &bytes);
        receiver->skip_message = unit == UNIT_MESSAGE;
        if ((unit != UNIT_MESSAGE && unit != UNIT_OTHER) ||
            (receiver->skip_message &&
                bytes != receiver->expected->frame_bytes)) {
            give_up("a subscriber got a gap or an error");
        }
        receiver->skip_bytes = bytes - HEADER_BYTES;
        src += taken;
        len -= taken;
    }
}

static void
end_check(struct receiver *receiver, const uint8_t *rest, size_t len)
{
    if (receiver->follow) {
        receiver->mode = RECEIVER_FOLLOW;
        follow(receiver, rest, len);
    } else {
        receiver->mode = RECEIVER_COUNT;
        receiver->bytes = len;
    }
    free(receiver->head);
    receiver->head = NULL;
    receiver->head_len = 0;
}

/* Take whole units off the head while messages are still to be checked. */
static void
check(struct receiver *receiver)
{
    const uint8_t *at = receiver->head;
    size_t len = receiver->head_len;
    while (len > 0 && receiver->messages < CHECKED_MESSAGES) {
        size_t bytes;
        enum unit unit = receiver->protocol->unit(at, len, &bytes);
        if (unit == UNIT_MESSAGE) {
            bytes = receiver->expected->frame_bytes;
        }
        if (unit == UNIT_MORE || (unit != UNIT_BAD && len < bytes)) {
            break;
        }
        if (unit == UNIT_BAD) {
            give_up("a subscriber got a gap, an error or nonsense");
        }
        if (unit == UNIT_MESSAGE) {
            check_message(receiver, at);
            receiver->messages++;
        }
        at += bytes;
        len -= bytes;
    }
    if (receiver->messages >= CHECKED_MESSAGES) {
        end_check(receiver, at, len);
        return;
    }
    memmove(receiver->head, at, len);
    receiver->head_len = len;
}

/* recv; 0 if there is nothing. */
static size_t
take(struct receiver *receiver, uint8_t *dst, size_t cap, int flags)
{
    ssize_t n = recv(receiver->fd, dst, cap, flags);
    if (n > 0) {
        return (size_t)n;
    }
    if (n == 0) {
        give_up("the broker closed a subscriber's connection");
    }
    if (errno != EAGAIN && errno != EINTR) {
        give_up("a subscriber's connection: %s", strerror(errno));
    }
    return 0;
}

bool
receiver_read(struct receiver *receiver)
{
    size_t n;
    size_t cap = (CHECKED_MESSAGES + 1) * receiver->expected->frame_bytes +
                 FRAME_OVERHEAD_MAX;
    switch (receiver->mode) {
    case RECEIVER_COUNT:
        /* On TCP, MSG_TRUNC throws the bytes away without copying them. */
        n = take(receiver, scratch, sizeof(scratch), MSG_TRUNC);
        receiver->bytes += n;
        return n > 0;
    case RECEIVER_FOLLOW:
        n = take(receiver, scratch, sizeof(scratch), 0);
        follow(receiver, scratch, n);
        return n > 0;
    default:
        if (receiver->head == NULL) {
            receiver->head = allocate(cap);
        }
        n = take(receiver, receiver->head + receiver->head_len,
            cap - receiver->head_len, 0);
        receiver->head_len += n;
        check(receiver);
        return n > 0;
    }
}

uint64_t
receiver_messages(const struct receiver *receiver)
{
    return receiver->messages +
           receiver->bytes / receiver->expected->frame_bytes;
}

bool
receiver_is_whole(const struct receiver *receiver)
{
    const char *interjection = receiver->protocol->interjection;
    size_t rest = receiver->bytes % receiver->expected->frame_bytes;
    if (receiver->head_len > 0 || receiver->part_len > 0 ||
        receiver->skip_bytes > 0) {
        return false;
    }
    return rest == 0 || (interjection != NULL && rest == strlen(interjection));
}
