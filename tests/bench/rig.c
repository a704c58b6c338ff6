/* SPDX-License-Identifier: MIT
 *
 * Connecting, reading and draining. See rig.h. */
#include "rig.h"

#include "measure.h"
#include "sock.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define EVENTS_MAX 256
/* Frames of one publisher: so many bytes, or one turn through the topics. */
#define FRAMES_BYTES     (256u * 1024u)
#define FRAMES_BYTES_ALL (4u * 1024u * 1024u)
#define RANDOM_FRAMES    (1024u * 1024u)
/* No delivery for so long: something was lost. */
#define DRAIN_TIMEOUT_NS (15 * NS_PER_S)
/* Nothing more may come for so long after the last one. */
#define DRAIN_QUIET_NS (20 * NS_PER_MS)
/* Marks publishers in epoll's data. */
#define PUBLISHER_BIT UINT64_C(0x100000000)

static void
watch(struct rig *rig, int fd, uint32_t events, uint64_t data)
{
    struct epoll_event event = {.events = events, .data.u64 = data};
    if (epoll_ctl(rig->epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0) {
        give_up("epoll_ctl: %s", strerror(errno));
    }
}

static struct topic_walk
walk_of(const struct rig *rig, unsigned flow)
{
    const struct options *options = rig->options;
    size_t frame = rig->expected.frame_bytes;
    size_t bytes = FRAMES_BYTES_ALL / rig->flow_count;
    bytes = bytes < FRAMES_BYTES ? bytes : FRAMES_BYTES;
    size_t frames = bytes < frame ? 1 : bytes / frame;
    if (options->pattern != PATTERN_SPREAD) {
        return (struct topic_walk){
            .first = options->first + flow, .count = 1, .frames = frames};
    }
    return (struct topic_walk){.first = options->first,
        .count = options->topics,
        .random = options->random,
        .frames = options->random ? RANDOM_FRAMES : options->topics};
}

static void
open_receivers(struct rig *rig)
{
    const struct options *options = rig->options;
    const bool spread = options->pattern == PATTERN_SPREAD;
    const bool pairs = options->pattern == PATTERN_PAIRS;
    const bool many = spread && options->topics > options->subscribers;
    rig->receiver_count = options->subscribers;
    rig->receivers = allocate(rig->receiver_count * sizeof(*rig->receivers));
    for (unsigned i = 0; i < rig->receiver_count; i++) {
        struct receiver *receiver = &rig->receivers[i];
        unsigned first = options->first + (pairs || spread ? i : 0);
        receiver_open(receiver, options->protocol, &rig->expected,
            options->port, options->first + (pairs ? i : 0), many);
        receiver_subscribe(receiver, first,
            spread ? (unsigned)rig->receiver_count : 1,
            spread ? options->first + options->topics : first + 1,
            options->shape,
            options->pattern == PATTERN_GROUP ? "workers" : NULL);
        watch(rig, receiver->fd, EPOLLIN, i);
    }
}

static void
open_flows(struct rig *rig)
{
    const struct options *options = rig->options;
    const bool pairs = options->pattern == PATTERN_PAIRS;
    rig->flow_count = options->publishers;
    rig->flows = allocate(rig->flow_count * sizeof(*rig->flows));
    for (unsigned i = 0; i < rig->flow_count; i++) {
        struct flow *flow = &rig->flows[i];
        flow->receivers = rig->receivers + (pairs ? i : 0);
        flow->receiver_count = pairs ? 1 : rig->receiver_count;
        flow->every = pairs || options->pattern == PATTERN_FANOUT;
        flow->window_bytes = options->window_bytes / rig->flow_count;
        publisher_open(&flow->publisher, options->protocol, &rig->expected,
            options->port, options->first + i, walk_of(rig, i),
            flow->every ? (unsigned)flow->receiver_count : 1);
        watch(rig, flow->publisher.fd, EPOLLIN | EPOLLOUT | EPOLLET,
            PUBLISHER_BIT | i);
    }
}

void
rig_open(struct rig *rig, const struct options *options)
{
    *rig = (struct rig){.options = options,
        .payload = allocate(options->payload_bytes + 1),
        .flow_count = options->publishers,
        .epoll_fd = epoll_create1(EPOLL_CLOEXEC)};
    if (rig->epoll_fd < 0) {
        give_up("epoll_create1: %s", strerror(errno));
    }
    for (size_t i = 0; i < options->payload_bytes; i++) {
        rig->payload[i] = (uint8_t)('a' + i % 26);
    }
    expectation_init(&rig->expected, options->protocol, rig->payload,
        options->payload_bytes, options->acknowledge,
        options->pattern == PATTERN_SPREAD &&
            options->topics > options->subscribers);
    open_receivers(rig);
    open_flows(rig);
}

void
rig_close(struct rig *rig)
{
    for (size_t i = 0; i < rig->receiver_count; i++) {
        receiver_close(&rig->receivers[i]);
    }
    for (size_t i = 0; i < rig->flow_count; i++) {
        publisher_close(&rig->flows[i].publisher);
    }
    close(rig->epoll_fd);
    free(rig->receivers);
    free(rig->flows);
    free(rig->payload);
}

void
rig_turn(struct rig *rig, int timeout_ms)
{
    struct epoll_event events[EVENTS_MAX];
    int n = epoll_wait(
        rig->epoll_fd, events, EVENTS_MAX, rig->options->spin ? 0 : timeout_ms);
    if (n < 0 && errno != EINTR) {
        give_up("epoll_wait: %s", strerror(errno));
    }
    for (int i = 0; i < n; i++) {
        uint64_t data = events[i].data.u64;
        if ((data & PUBLISHER_BIT) == 0) {
            receiver_read(&rig->receivers[data]);
            continue;
        }
        struct publisher *publisher =
            &rig->flows[data & ~PUBLISHER_BIT].publisher;
        if ((events[i].events & ~(uint32_t)EPOLLOUT) != 0) {
            publisher_read(publisher);
        }
        publisher->writable |= (events[i].events & EPOLLOUT) != 0;
    }
}

uint64_t
rig_delivered(const struct rig *rig)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < rig->receiver_count; i++) {
        sum += receiver_messages(&rig->receivers[i]);
    }
    return sum;
}

uint64_t
flow_done(const struct flow *flow)
{
    uint64_t sum = 0;
    uint64_t least = UINT64_MAX;
    for (size_t i = 0; i < flow->receiver_count; i++) {
        uint64_t messages = receiver_messages(&flow->receivers[i]);
        sum += messages;
        least = messages < least ? messages : least;
    }
    return flow->every ? least : sum;
}

uint64_t
rig_sent(const struct rig *rig)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < rig->flow_count; i++) {
        sum += publisher_messages(&rig->flows[i].publisher);
    }
    return sum;
}

uint64_t
rig_expected(const struct rig *rig)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < rig->flow_count; i++) {
        const struct flow *flow = &rig->flows[i];
        sum += publisher_messages(&flow->publisher) *
               (flow->every ? flow->receiver_count : 1);
    }
    return sum;
}

uint64_t
rig_acknowledged(const struct rig *rig)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < rig->flow_count; i++) {
        sum += rig->flows[i].publisher.replies.acknowledged;
    }
    return sum;
}

static bool
finish_frames(struct rig *rig)
{
    bool finished = true;
    for (size_t i = 0; i < rig->flow_count; i++) {
        struct publisher *publisher = &rig->flows[i].publisher;
        uint64_t bytes = publisher_cut_bytes(publisher);
        if (bytes > 0 && publisher->writable) {
            publisher_write(publisher, bytes);
        }
        finished = finished && publisher_cut_bytes(publisher) == 0;
    }
    return finished;
}

/* Each receiver of a flow got each message, and nothing is cut. */
static void
check_flows(const struct rig *rig)
{
    for (size_t i = 0; i < rig->flow_count; i++) {
        const struct flow *flow = &rig->flows[i];
        if (flow_done(flow) != publisher_messages(&flow->publisher)) {
            give_up("a subscriber got more or fewer messages than it should");
        }
    }
    for (size_t i = 0; i < rig->receiver_count; i++) {
        if (!receiver_is_whole(&rig->receivers[i])) {
            give_up("bytes were delivered that are not whole messages");
        }
    }
}

void
rig_drain(struct rig *rig)
{
    const struct options *options = rig->options;
    const bool acknowledged =
        options->acknowledge || options->protocol->acknowledges;
    uint64_t before = 0;
    uint64_t since = now_ns();
    uint64_t quiet = 0;
    while (quiet == 0 || now_ns() - quiet < DRAIN_QUIET_NS) {
        bool finished = finish_frames(rig);
        rig_turn(rig, 1);
        uint64_t delivered = rig_delivered(rig);
        uint64_t replied = rig_acknowledged(rig);
        if (delivered + replied != before) {
            before = delivered + replied;
            since = now_ns();
        }
        if (finished && quiet == 0 && delivered >= rig_expected(rig) &&
            (!acknowledged || replied >= rig_sent(rig))) {
            quiet = now_ns();
        }
        if (quiet == 0 && now_ns() - since > DRAIN_TIMEOUT_NS) {
            give_up("%llu of %llu deliveries came, %llu acknowledgements",
                (unsigned long long)delivered,
                (unsigned long long)rig_expected(rig),
                (unsigned long long)replied);
        }
    }
    if (rig_delivered(rig) != rig_expected(rig) ||
        (acknowledged && rig_acknowledged(rig) != rig_sent(rig))) {
        give_up("there are more deliveries or answers than publishes");
    }
    check_flows(rig);
}
