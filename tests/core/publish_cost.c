/* SPDX-License-Identifier: MIT
 *
 * What a publish costs the core, without sockets: frames go in as a connection
 * reads them, 256 KiB at a time, and out as it writes them, 64 spans at a time,
 * copied together as the kernel does it.
 * For measuring by hand what tests/bench measures over sockets (its rows
 * route-* and topics), and for callgrind:
 *
 *     publish_cost [--subscriptions N] [--sessions N] [--wild] [--in-turn]
 *                  [--messages N] [--rounds N]
 *
 * prints the CPU time of one publish in the fastest round. Topics are random
 * unless --in-turn; topic t is subscribed to by session t modulo sessions. What
 * is measured is the function play_round (callgrind --toggle-collect). */
#include "core.h"
#include "random.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define TOPIC_BYTES   19 /* bench/topic/ and seven digits */
#define PAYLOAD_BYTES 16
#define FRAME_BYTES   (BROKER_HEADER_BYTES + 4 + TOPIC_BYTES + PAYLOAD_BYTES)
#define DIGITS        7
#define DIGITS_AT     (BROKER_HEADER_BYTES + 4 + TOPIC_BYTES - DIGITS)
#define READ_BYTES    (256u * 1024u)
#define SPANS_MAX     64

struct options {
    uint32_t subscriptions, sessions, messages, rounds;
    bool wild, in_turn;
};

struct peer {
    struct session *session;
    bool ready; /* has output */
};

struct stage {
    struct options options;
    struct core *core;
    struct peer *subscribers;
    struct peer publisher;
    struct random random;
    char (*topics)[DIGITS + 1]; /* of the messages of one round */
    uint8_t frame[FRAME_BYTES];
    uint64_t sent_bytes;
};

static void
fail(const char *what)
{
    fprintf(stderr, "publish_cost: %s\n", what);
    exit(EXIT_FAILURE);
}

/* ---- hooks of the core --------------------------------------------------- */

static void
output_ready(void *owner)
{
    struct peer *peer = owner;
    peer->ready = true;
}

static void
log_nothing(void *arg, enum core_event event, const struct session *session,
    enum broker_status code, const char *text)
{
    (void)arg;
    (void)session;
    (void)code;
    if (event != CORE_EVENT_OPENED) {
        fail(text);
    }
}

static enum broker_status
answer_nothing(void *arg, const struct core *core, struct broker_bytes topic,
    struct broker_bytes payload, struct buffer *reply)
{
    (void)arg;
    (void)core;
    (void)topic;
    (void)payload;
    (void)reply;
    return BROKER_E_RESERVED_TOPIC;
}

static void
random_bytes(void *arg, uint8_t *dst, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        dst[i] = (uint8_t)random_next(arg);
    }
}

/* ---- in and out ---------------------------------------------------------- */

static void
flush(struct stage *stage, struct peer *peer)
{
    static uint8_t socket_buffer[1024 * 1024 + READ_BYTES];
    struct output_span spans[SPANS_MAX];
    size_t count;
    while (
        (count = session_output_spans(peer->session, spans, SPANS_MAX)) > 0) {
        size_t bytes = 0;
        for (size_t i = 0; i < count; i++) {
            memcpy(socket_buffer + bytes, spans[i].data, spans[i].len);
            bytes += spans[i].len;
        }
        session_output_sent(peer->session, bytes);
        stage->sent_bytes += bytes;
    }
    session_output_sent(peer->session, 0);
    peer->ready = false;
}

static void
flush_all(struct stage *stage)
{
    for (uint32_t i = 0; i < stage->options.sessions; i++) {
        if (stage->subscribers[i].ready) {
            flush(stage, &stage->subscribers[i]);
        }
    }
}

static void
feed(struct peer *peer, const uint8_t *src, size_t len)
{
    while (len > 0) {
        uint8_t *dst;
        size_t room;
        if (!session_reserve(peer->session, &dst, &room)) {
            fail("out of memory");
        }
        room = room < len ? room : len;
        memcpy(dst, src, room);
        session_received(peer->session, room);
        src += room;
        len -= room;
    }
    session_received_all(peer->session);
}

/* ---- setting up ---------------------------------------------------------- */

static void
open_peer(struct stage *stage, struct peer *peer, uint64_t id)
{
    uint8_t frame[128];
    size_t len;
    struct broker_hello hello = {.id = 1,
        .version_min = 1,
        .version_max = 1,
        .max_body_bytes = BROKER_BODY_BYTES_MAX,
        .heartbeat_ms = 300000};
    if (broker_hello_encode(&hello, frame, sizeof frame, &len) != BROKER_OK) {
        fail("HELLO does not encode");
    }
    peer->session = session_new(stage->core, peer, id, "peer");
    if (peer->session == NULL) {
        fail("out of memory");
    }
    feed(peer, frame, len);
    flush(stage, peer);
}

/* The shapes with wildcards are those of tests/bench. */
static size_t
write_filter(char *dst, size_t cap, uint32_t topic, bool wild)
{
    int len;
    switch (wild ? topic % 4 : 4) {
    case 0:
        len = snprintf(dst, cap, "+/topic/%07u", topic);
        break;
    case 1:
        len = snprintf(dst, cap, "bench/+/%07u", topic);
        break;
    case 2:
        len = snprintf(dst, cap, "bench/topic/%07u/#", topic);
        break;
    case 3:
        len = snprintf(dst, cap, "+/+/%07u", topic);
        break;
    default:
        len = snprintf(dst, cap, "bench/topic/%07u", topic);
        break;
    }
    return (size_t)len;
}

static void
subscribe_all(struct stage *stage)
{
    const struct options *options = &stage->options;
    for (uint32_t topic = 0; topic < options->subscriptions; topic++) {
        char filter[64];
        uint8_t frame[128];
        size_t len = write_filter(filter, sizeof filter, topic, options->wild);
        struct peer *peer = &stage->subscribers[topic % options->sessions];
        struct broker_subscribe message = {.id = topic / options->sessions + 1,
            .filter = {(const uint8_t *)filter, len}};
        if (broker_subscribe_encode(&message, frame, sizeof frame, &len) !=
            BROKER_OK) {
            fail("SUBSCRIBE does not encode");
        }
        feed(peer, frame, len);
        if (topic % 1000 == 0) {
            flush_all(stage);
        }
    }
    flush_all(stage);
    struct core_stats stats;
    core_get_stats(stage->core, &stats);
    if (stats.subscriptions != options->subscriptions) {
        fail("a subscription was refused");
    }
}

static void
open_stage(struct stage *stage)
{
    const struct core_options options = {
        .max_body_bytes = BROKER_BODY_BYTES_MAX,
        .max_topic_bytes = 1024,
        .max_topic_levels = 64,
        .max_subscriptions = UINT32_MAX,
        .max_output_bytes = 32u << 20,
        .max_memory_bytes = UINT64_C(8) << 30,
        .handshake_timeout_ms = 5000,
        .heartbeat_ms = 15000,
        .heartbeat_min_ms = 1000,
        .heartbeat_max_ms = 300000,
        .write_timeout_ms = 60000,
        .name = "cost"};
    const struct core_hooks hooks = {.output_ready = output_ready,
        .log = log_nothing,
        .answer = answer_nothing,
        .random = random_bytes,
        .arg = &stage->random};
    stage->core = core_new(&options, &hooks, 1000);
    stage->subscribers =
        calloc(stage->options.sessions, sizeof *stage->subscribers);
    stage->topics = calloc(stage->options.messages, sizeof *stage->topics);
    if (stage->core == NULL || stage->subscribers == NULL ||
        stage->topics == NULL) {
        fail("out of memory");
    }
    for (uint32_t i = 0; i < stage->options.sessions; i++) {
        open_peer(stage, &stage->subscribers[i], i + 1);
    }
    open_peer(stage, &stage->publisher, UINT32_MAX);
    subscribe_all(stage);
    static const uint8_t payload[PAYLOAD_BYTES];
    struct broker_publish publish = {
        .topic = {(const uint8_t *)"bench/topic/0000000", TOPIC_BYTES},
        .payload = {payload, sizeof payload}};
    size_t len;
    if (broker_publish_encode(&publish, stage->frame, FRAME_BYTES, &len) !=
            BROKER_OK ||
        len != FRAME_BYTES) {
        fail("PUBLISH does not encode");
    }
}

static void
close_stage(struct stage *stage)
{
    for (uint32_t i = 0; i < stage->options.sessions; i++) {
        session_free(stage->subscribers[i].session);
    }
    session_free(stage->publisher.session);
    core_free(stage->core);
    free(stage->subscribers);
    free(stage->topics);
}

/* ---- measuring ----------------------------------------------------------- */

static void
choose_topics(struct stage *stage, uint32_t round)
{
    const struct options *options = &stage->options;
    for (uint32_t i = 0; i < options->messages; i++) {
        uint64_t n = (uint64_t)round * options->messages + i;
        uint32_t topic =
            options->in_turn
                ? (uint32_t)(n % options->subscriptions)
                : random_below(&stage->random, options->subscriptions);
        snprintf(
            stage->topics[i], sizeof *stage->topics, "%07u", topic % 10000000);
    }
}

/* Publish the round's messages and send what comes of them. Not inlined, so
 * that a profiler can be told to look at nothing else. */
__attribute__((noinline)) static void
play_round(struct stage *stage)
{
    uint32_t next = 0;
    while (next < stage->options.messages) {
        uint8_t *dst;
        size_t room;
        if (!session_reserve(stage->publisher.session, &dst, &room)) {
            fail("out of memory");
        }
        room = room < READ_BYTES ? room : READ_BYTES;
        size_t len = 0;
        while (len + FRAME_BYTES <= room && next < stage->options.messages) {
            memcpy(dst + len, stage->frame, FRAME_BYTES);
            memcpy(dst + len + DIGITS_AT, stage->topics[next++], DIGITS);
            len += FRAME_BYTES;
        }
        session_received(stage->publisher.session, len);
        session_received_all(stage->publisher.session);
        do { /* turns, until all of it is processed */
            flush_all(stage);
            (void)core_tick(stage->core);
        } while (!session_wants_input(stage->publisher.session));
    }
}

static double
cpu_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static void
measure(struct stage *stage)
{
    double best = 0;
    for (uint32_t round = 0; round < stage->options.rounds; round++) {
        choose_topics(stage, round);
        double start = cpu_ns();
        play_round(stage);
        double ns = (cpu_ns() - start) / stage->options.messages;
        best = round == 0 || ns < best ? ns : best;
    }
    struct core_stats stats;
    core_get_stats(stage->core, &stats);
    uint64_t messages =
        (uint64_t)stage->options.messages * stage->options.rounds;
    if (stats.delivered_messages != messages || stats.dropped_messages != 0) {
        fail("not every message was delivered once");
    }
    printf("%.1f ns a publish, %.3f route misses each\n", best,
        (double)stats.route_misses / (double)messages);
}

/* ---- the program --------------------------------------------------------- */

static const struct option long_options[] = {
    {"subscriptions", required_argument, NULL, 'n'},
    {"sessions", required_argument, NULL, 's'},
    {"messages", required_argument, NULL, 'm'},
    {"rounds", required_argument, NULL, 'r'},
    {"wild", no_argument, NULL, 'w'},
    {"in-turn", no_argument, NULL, 't'},
    {NULL, 0, NULL, 0},
};

static uint32_t
number(const char *text)
{
    char *end;
    unsigned long value = strtoul(text, &end, 10);
    if (*end != '\0' || value == 0 || value > 10000000) {
        fail("a number from 1 to 10000000 is wanted");
    }
    return (uint32_t)value;
}

int
main(int argc, char **argv)
{
    static struct stage stage = {.options = {.subscriptions = 100,
                                     .sessions = 10,
                                     .messages = 1000000,
                                     .rounds = 5},
        .random = {1}};
    int option;
    while ((option = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
        switch (option) {
        case 'n':
            stage.options.subscriptions = number(optarg);
            break;
        case 's':
            stage.options.sessions = number(optarg);
            break;
        case 'm':
            stage.options.messages = number(optarg);
            break;
        case 'r':
            stage.options.rounds = number(optarg);
            break;
        case 'w':
            stage.options.wild = true;
            break;
        case 't':
            stage.options.in_turn = true;
            break;
        default:
            fail("see the comment at the top of publish_cost.c");
        }
    }
    open_stage(&stage);
    measure(&stage);
    close_stage(&stage);
    return EXIT_SUCCESS;
}
