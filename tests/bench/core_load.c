/* SPDX-License-Identifier: MIT
 *
 * bench_core: puts a fixed load on a broker core in this process, without
 * sockets, and prints one line of JSON. The same frames in the same pieces in
 * every run, so that callgrind counts the same instructions
 * (tests/bench/instructions); or, with --seconds, how much CPU time a publish
 * costs without the kernel's part of it (tests/bench/run).
 *
 * At the end every delivery must have been made, and none dropped. */
#include "core_rig.h"
#include "measure.h"
#include "protocol.h"

#include <broker/codec.h>

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KIB 1024u
/* Where a frame has its id. */
#define ID_AT           8
#define SUBSCRIBE_BATCH 256

enum spread {
    SPREAD_ALL,    /* every subscriber has every topic */
    SPREAD_TURN,   /* topic t belongs to subscriber t modulo their number */
    SPREAD_RANDOM, /* the same, and topics are published to at random */
    SPREAD_NEW     /* one subscriber has a wildcard for all; no topic twice */
};

struct load_case {
    const char *name;
    bool only_timed; /* nothing new for who counts instructions */
    size_t payload_bytes;
    unsigned subscribers;
    unsigned topics;
    uint32_t workers;  /* 0: one */
    size_t read_bytes; /* what one read brings; 0: one message */
    uint64_t messages; /* unless the command line says otherwise */
    enum spread spread;
    enum filter_shape shape;
    bool group;
    bool acknowledge;
};

static const struct load_case cases[] = {
    {.name = "16B",
        .payload_bytes = 16,
        .subscribers = 1,
        .topics = 1,
        .read_bytes = 256 * KIB,
        .messages = 200000},
    {.name = "128B",
        .payload_bytes = 128,
        .subscribers = 1,
        .topics = 1,
        .read_bytes = 256 * KIB,
        .messages = 100000},
    {.name = "single",
        .payload_bytes = 128,
        .subscribers = 1,
        .topics = 1,
        .messages = 10000},
    {.name = "fanout",
        .payload_bytes = 128,
        .subscribers = 100,
        .topics = 1,
        .read_bytes = 4 * KIB,
        .messages = 20000},
    {.name = "topics",
        .payload_bytes = 128,
        .subscribers = 100,
        .topics = 10000,
        .spread = SPREAD_TURN,
        .read_bytes = 64 * KIB,
        .messages = 20000},
    {.name = "group",
        .payload_bytes = 128,
        .subscribers = 4,
        .topics = 1,
        .group = true,
        .read_bytes = 64 * KIB,
        .messages = 20000},
    {.name = "acknowledged",
        .payload_bytes = 128,
        .subscribers = 1,
        .topics = 1,
        .acknowledge = true,
        .read_bytes = 64 * KIB,
        .messages = 50000},
    {.name = "misses",
        .payload_bytes = 128,
        .subscribers = 10,
        .topics = 1000,
        .spread = SPREAD_NEW,
        .read_bytes = 64 * KIB,
        .messages = 20000},
    /* The publisher is on the first worker, its subscriber on the second. */
    {.name = "worker",
        .payload_bytes = 128,
        .subscribers = 1,
        .topics = 1,
        .workers = 2,
        .read_bytes = 64 * KIB,
        .messages = 50000},
    {.name = "workers",
        .payload_bytes = 128,
        .subscribers = 100,
        .topics = 10000,
        .workers = 4,
        .spread = SPREAD_TURN,
        .read_bytes = 64 * KIB,
        .messages = 20000},
    {.name = "route-exact",
        .only_timed = true,
        .payload_bytes = 16,
        .subscribers = 10,
        .topics = 100,
        .spread = SPREAD_RANDOM,
        .read_bytes = 64 * KIB,
        .messages = 10000},
    {.name = "route-wild",
        .only_timed = true,
        .payload_bytes = 16,
        .subscribers = 10,
        .topics = 100,
        .spread = SPREAD_RANDOM,
        .shape = FILTER_WILD,
        .read_bytes = 64 * KIB,
        .messages = 10000},
};
#define CASE_COUNT (sizeof(cases) / sizeof(cases[0]))

/* Frames to publish, round and round. */
struct frames {
    uint8_t *bytes;
    size_t len, frame_bytes, at;
    uint32_t next_id; /* 0: no ids */
};

/* ---- subscriptions ------------------------------------------------------- */

struct subscriber {
    struct core_peer *peer;
    uint8_t requests[SUBSCRIBE_BATCH * SUBSCRIBE_BYTES_MAX];
    size_t len;
    unsigned count;
};

static void
send_requests(struct subscriber *subscriber)
{
    core_rig_turn(
        subscriber->peer, subscriber->requests, subscriber->len, false);
    subscriber->len = 0;
}

static void
subscribe(
    struct subscriber *subscriber, const struct load_case *load, unsigned topic)
{
    struct subscription subscription = {.topic = topic,
        .shape = load->shape,
        .group = load->group ? "workers" : NULL,
        .id = ++subscriber->count};
    subscriber->len += protocol_brokerd.subscribe(
        subscriber->requests + subscriber->len, &subscription);
    if (subscriber->count % SUBSCRIBE_BATCH == 0) {
        send_requests(subscriber);
    }
}

/* All levels but the last: what every topic of a load has in common. */
static void
subscribe_to_all(struct subscriber *subscriber)
{
    static const char filter[] = "bench/topic/+";
    struct broker_subscribe request = {.id = ++subscriber->count,
        .filter = {(const uint8_t *)filter, sizeof(filter) - 1}};
    size_t len;
    if (broker_subscribe_encode(&request,
            subscriber->requests + subscriber->len, SUBSCRIBE_BYTES_MAX,
            &len) != BROKER_OK) {
        give_up("SUBSCRIBE does not encode");
    }
    subscriber->len += len;
}

/* Peer 0 publishes; all others subscribe. */
static void
subscribe_all(
    struct core_rig *rig, const struct load_case *load, unsigned topics)
{
    struct subscriber *subscriber = allocate(sizeof(*subscriber));
    for (unsigned i = 0; i < load->subscribers; i++) {
        bool all = load->spread == SPREAD_ALL;
        subscriber->peer = &rig->peers[1 + i];
        subscriber->len = subscriber->count = 0;
        for (unsigned t = all ? 0 : i; t < topics;
             t += all ? 1 : load->subscribers) {
            subscribe(subscriber, load, t);
        }
        if (load->spread == SPREAD_NEW && i == 0) {
            subscribe_to_all(subscriber);
        }
        send_requests(subscriber);
    }
    free(subscriber);
}

/* ---- publishing ---------------------------------------------------------- */

/* xorshift: the same topics in every run. */
static uint64_t
next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static void
renumber(struct frames *frames)
{
    for (size_t at = 0; at < frames->len; at += frames->frame_bytes) {
        uint32_t id = frames->next_id++;
        for (int i = 0; i < 4; i++) {
            frames->bytes[at + ID_AT + (size_t)i] =
                (uint8_t)(id >> (24 - 8 * i));
        }
    }
}

static void
frames_init(struct frames *frames, const struct load_case *load,
    unsigned topics, size_t count)
{
    uint64_t seed = UINT64_C(0x9E3779B97F4A7C15);
    uint8_t *payload = allocate(load->payload_bytes);
    memset(payload, 'a', load->payload_bytes);
    *frames = (struct frames){
        .bytes =
            allocate(count * (load->payload_bytes + 64) + FRAME_OVERHEAD_MAX),
        .next_id = load->acknowledge ? 1 : 0};
    for (size_t i = 0; i < count; i++) {
        size_t topic = i;
        if (load->spread == SPREAD_RANDOM) {
            topic = next_random(&seed) % topics;
        } else if (load->spread == SPREAD_NEW) {
            topic = topics + i; /* the wildcard's, and nobody else's */
        }
        struct message message = {
            .topic =
                (unsigned)(load->spread == SPREAD_NEW ? topic : topic % topics),
            .payload = payload,
            .payload_len = load->payload_bytes};
        frames->frame_bytes =
            protocol_brokerd.publish(frames->bytes + frames->len, &message);
        frames->len += frames->frame_bytes;
    }
    if (load->acknowledge) {
        renumber(frames);
    }
    free(payload);
}

/* So many messages, in pieces as reads bring them. */
static void
publish(struct core_rig *rig, const struct load_case *load,
    struct frames *frames, uint64_t messages, bool measured)
{
    uint64_t left = messages * frames->frame_bytes;
    size_t piece =
        load->read_bytes > 0 ? load->read_bytes : frames->frame_bytes;
    while (left > 0) {
        size_t len = frames->len - frames->at;
        len = len < piece ? len : piece;
        len = len < left ? len : (size_t)left;
        core_rig_turn(
            &rig->peers[0], frames->bytes + frames->at, len, measured);
        left -= len;
        frames->at += len;
        if (frames->at == frames->len) {
            frames->at = 0;
            if (frames->next_id != 0) {
                renumber(frames);
            }
        }
    }
}

/* ---- one case ------------------------------------------------------------ */

struct request {
    const struct load_case *load;
    unsigned topics;
    uint64_t messages;
    uint64_t measure_ns; /* not 0: for so long, whatever `messages` says */
};

/* The frames that there are, and those that go through before it counts: twice
 * through the topics, because a route is kept when it is asked for again. */
static size_t
frame_count(const struct request *request, size_t *warm_up)
{
    size_t count = request->topics;
    switch (request->load->spread) {
    case SPREAD_RANDOM:
        count = 1000000;
        *warm_up = request->topics < count ? request->topics : count;
        break;
    case SPREAD_NEW:
        *warm_up = 1000;
        count = *warm_up + (size_t)request->messages;
        break;
    default:
        *warm_up = count < 1000 ? 1000 : count * 2;
        count = count < 2000 ? 2000 : count;
        break;
    }
    return count;
}

static void
run_case(const struct request *request)
{
    const struct load_case *load = request->load;
    struct core_rig rig;
    struct frames frames;
    size_t warm_up;
    size_t count = frame_count(request, &warm_up);
    core_rig_open(
        &rig, load->subscribers + 1, load->workers > 0 ? load->workers : 1);
    subscribe_all(&rig, load, request->topics);
    frames_init(&frames, load, request->topics, count);
    publish(&rig, load, &frames, warm_up, false);
    uint64_t before = core_rig_delivered(&rig);
    uint64_t sent = 0;
    uint64_t start = now_ns();
    do {
        publish(&rig, load, &frames, request->messages, true);
        sent += request->messages;
    } while (now_ns() - start < request->measure_ns);
    uint64_t wall_ns = now_ns() - start;
    uint64_t got = core_rig_delivered(&rig) - before;
    bool every = load->spread == SPREAD_ALL && !load->group;
    if (got != sent * (every ? load->subscribers : 1)) {
        give_up("%llu messages made %llu deliveries", (unsigned long long)sent,
            (unsigned long long)got);
    }
    printf("{\"ok\": true, \"case\": \"%s\", \"sent\": %llu, "
           "\"delivered\": %llu, \"cpu_s\": %.6f, \"wall_s\": %.6f}\n",
        load->name, (unsigned long long)sent, (unsigned long long)got,
        (double)rig.measured_ns / 1e9, (double)wall_ns / 1e9);
    free(frames.bytes);
    core_rig_close(&rig);
}

/* ---- the program --------------------------------------------------------- */

static void
list(FILE *out, bool only_counted)
{
    for (size_t i = 0; i < CASE_COUNT; i++) {
        if (!only_counted || !cases[i].only_timed) {
            fprintf(out, " %s", cases[i].name);
        }
    }
    fputs("\n", out);
}

static void
usage(void)
{
    fputs("usage: bench_core CASE [--messages N | --seconds S] [--topics N]\n"
          "       bench_core --all [--messages N]\n"
          "       bench_core --list\n"
          "Cases:",
        stderr);
    list(stderr, false);
    exit(2);
}

static const struct option long_options[] = {
    {"all", no_argument, NULL, 'a'},
    {"list", no_argument, NULL, 'l'},
    {"messages", required_argument, NULL, 'm'},
    {"seconds", required_argument, NULL, 's'},
    {"topics", required_argument, NULL, 't'},
    {NULL, 0, NULL, 0},
};

static uint64_t
number(const char *text, double factor)
{
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end != '\0' || !(value > 0 && value <= 1e9)) {
        usage();
    }
    return (uint64_t)(value * factor);
}

/* One case, with what the command line did not change of it. */
static void
run_default(struct request request)
{
    if (request.messages == 0) {
        request.messages = request.load->messages;
    }
    if (request.topics == 0) {
        request.topics = request.load->topics;
    }
    if (request.topics < request.load->subscribers &&
        request.load->spread != SPREAD_ALL) {
        give_up("fewer topics than subscribers");
    }
    run_case(&request);
}

int
main(int argc, char **argv)
{
    struct request request = {0};
    bool all = false;
    bool found = false;
    int option;
    while ((option = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
        switch (option) {
        case 'a':
            all = true;
            break;
        case 'l':
            list(stdout, true);
            return EXIT_SUCCESS;
        case 'm':
            request.messages = number(optarg, 1);
            break;
        case 's':
            request.measure_ns = number(optarg, 1e9);
            break;
        case 't':
            request.topics = (unsigned)number(optarg, 1);
            break;
        default:
            usage();
        }
    }
    if (optind + (all ? 0 : 1) != argc) {
        usage();
    }
    for (size_t i = 0; i < CASE_COUNT; i++) {
        if (all || strcmp(argv[optind], cases[i].name) == 0) {
            request.load = &cases[i];
            run_default(request);
            found = true;
        }
    }
    if (!found) {
        usage();
    }
    return EXIT_SUCCESS;
}
