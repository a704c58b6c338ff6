/* SPDX-License-Identifier: MIT
 *
 * bench_streams: puts one load on one broker that stores, or writes the log
 * that is compared with them, and prints one line of JSON. tests/bench/streams
 * starts it; --help says how to do so by hand. */
#include "measure.h"
#include "samples.h"
#include "sock.h"
#include "stream_peer.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define FRAMES_MIN     2000u
#define RAW_FILE_BYTES ((off_t)64 * 1024 * 1024)
#define STALL_NS       (60 * NS_PER_S)
#define WAIT_MS        100
/* Where a brokerd frame has its id. */
#define ID_AT 8

enum load { LOAD_PUBLISH, LOAD_FILL, LOAD_REPLAY, LOAD_CONSUME, LOAD_RAW };
static const char *const load_names[] = {
    "publish", "fill", "replay", "consume", "raw"};

struct options {
    enum load load;
    const struct stream_side *side;
    const char *file; /* raw */
    uint16_t port;
    pid_t broker_pid;
    unsigned topics, batch;
    bool create, singly;
    size_t payload_bytes;
    uint64_t window, count;
    uint64_t warmup_ns, measure_ns;
};

struct moment {
    uint64_t time_ns, cpu_ns, own_cpu_ns, waited_ns, count;
};

static struct moment
moment_now(const struct options *options, uint64_t count)
{
    pid_t pid = options->broker_pid;
    return (struct moment){.time_ns = now_ns(),
        .cpu_ns = pid > 0 ? process_cpu_ns(pid) : 0,
        .own_cpu_ns = process_cpu_ns(getpid()),
        .waited_ns = process_waited_ns(getpid()),
        .count = count};
}

static void
print(struct moment from, struct moment to, uint64_t in_all,
    struct samples *samples)
{
    printf("{\"ok\": true, \"wall_s\": %.6f, \"cpu_s\": %.6f, "
           "\"load_cpu_s\": %.6f, \"load_waited_s\": %.6f, \"count\": %llu, "
           "\"count_in_all\": %llu",
        (double)(to.time_ns - from.time_ns) / 1e9,
        (double)(to.cpu_ns - from.cpu_ns) / 1e9,
        (double)(to.own_cpu_ns - from.own_cpu_ns) / 1e9,
        (double)(to.waited_ns - from.waited_ns) / 1e9,
        (unsigned long long)(to.count - from.count),
        (unsigned long long)in_all);
    if (samples->count > 0) {
        samples_sort(samples);
        printf(", \"p50_us\": %.3f, \"p99_us\": %.3f, \"max_us\": %.3f",
            samples_us(samples, 500), samples_us(samples, 990),
            samples_us(samples, 1000));
    }
    printf("}\n");
    samples_fini(samples);
}

static uint8_t *
payload_of(size_t bytes)
{
    uint8_t *payload = allocate(bytes + 1);
    for (size_t i = 0; i < bytes; i++) {
        payload[i] = (uint8_t)('a' + i % 26);
    }
    return payload;
}

/* ---- publishing ---------------------------------------------------------- */

struct publishing {
    struct stream_peer peer;
    uint8_t *frames;
    size_t frame_bytes, frames_bytes, at;
    uint64_t sent_bytes;
    uint32_t next_id;
    bool blocked;
};

static void
renumber(struct publishing *publishing)
{
    uint8_t *end = publishing->frames + publishing->frames_bytes;
    if (!publishing->peer.side->numbered) {
        return;
    }
    for (uint8_t *frame = publishing->frames; frame < end;
         frame += publishing->frame_bytes) {
        uint32_t id = publishing->next_id++;
        publishing->next_id += publishing->next_id == 0;
        for (int i = 0; i < 4; i++) {
            frame[ID_AT + i] = (uint8_t)(id >> (24 - 8 * i));
        }
    }
}

static void
build(struct publishing *publishing, const struct options *options)
{
    uint8_t *payload = payload_of(options->payload_bytes);
    unsigned rounds = FRAMES_MIN / options->topics + 1;
    publishing->frames =
        allocate((size_t)rounds * options->topics *
                 (options->payload_bytes + STREAM_OVERHEAD_MAX));
    for (unsigned i = 0; i < rounds * options->topics; i++) {
        publishing->frame_bytes = options->side->publish(
            publishing->frames + publishing->frames_bytes,
            1 + i % options->topics, payload, options->payload_bytes);
        publishing->frames_bytes += publishing->frame_bytes;
    }
    publishing->next_id = 1;
    renumber(publishing);
    free(payload);
}

static void
publishing_open(struct publishing *publishing, const struct options *options)
{
    *publishing = (struct publishing){.frames = NULL};
    stream_peer_open(&publishing->peer, options->side, options->port);
    for (unsigned i = 1; options->create && options->side->create != NULL &&
                         i <= options->topics;
         i++) {
        options->side->create(&publishing->peer, i);
    }
    build(publishing, options);
}

static void
publishing_close(struct publishing *publishing)
{
    stream_peer_close(&publishing->peer);
    free(publishing->frames);
}

/* As much as may be on its way, but not beyond `limit` messages in all. */
static void
push(struct publishing *publishing, uint64_t limit)
{
    uint64_t until = limit * publishing->frame_bytes;
    publishing->blocked = false;
    while (publishing->sent_bytes < until) {
        uint64_t want = until - publishing->sent_bytes;
        size_t len = publishing->frames_bytes - publishing->at;
        len = len < want ? len : (size_t)want;
        ssize_t n =
            send(publishing->peer.fd, publishing->frames + publishing->at, len,
                MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno != EAGAIN && errno != EINTR) {
            give_up("publishing: %s", strerror(errno));
        }
        if (n < 0) {
            publishing->blocked = true;
            return;
        }
        publishing->sent_bytes += (uint64_t)n;
        publishing->at += (size_t)n;
        if (publishing->at == publishing->frames_bytes) {
            publishing->at = 0;
            renumber(publishing);
        }
    }
}

/* Until then, or until `count` are acknowledged; single ones are timed. */
static void
publish_until(struct publishing *publishing, const struct options *options,
    uint64_t end_ns, uint64_t count, struct samples *samples)
{
    struct stream_peer *peer = &publishing->peer;
    uint64_t stalled = now_ns() + STALL_NS;
    uint64_t began = 0;
    while (now_ns() < end_ns && peer->acknowledged < count) {
        uint64_t before = peer->acknowledged;
        uint64_t limit = before + options->window;
        if (options->window == 1) {
            began = now_ns();
        }
        push(publishing, limit < count ? limit : count);
        do {
            stream_peer_turn(peer, publishing->blocked, WAIT_MS);
        } while (options->window == 1 && peer->acknowledged == before &&
                 now_ns() < stalled);
        if (peer->acknowledged > before) {
            if (options->window == 1) {
                samples_add(samples, now_ns() - began);
            }
            stalled = now_ns() + STALL_NS;
        } else if (now_ns() > stalled) {
            give_up("no acknowledgement came");
        }
    }
}

static void
load_publish(const struct options *options)
{
    struct publishing publishing;
    struct samples samples = {0};
    publishing_open(&publishing, options);
    struct stream_peer *peer = &publishing.peer;
    publish_until(&publishing, options, now_ns() + options->warmup_ns,
        UINT64_MAX / 2, &samples);
    samples.count = 0;
    struct moment from = moment_now(options, peer->acknowledged);
    publish_until(&publishing, options, from.time_ns + options->measure_ns,
        UINT64_MAX / 2, &samples);
    struct moment to = moment_now(options, peer->acknowledged);
    /* Finish what was cut, and wait for the rest. */
    uint64_t sent = (publishing.sent_bytes + publishing.frame_bytes - 1) /
                    publishing.frame_bytes;
    publish_until(&publishing, options, UINT64_MAX, sent, &samples);
    print(from, to, peer->acknowledged, &samples);
    publishing_close(&publishing);
}

static void
load_fill(const struct options *options)
{
    struct publishing publishing;
    struct samples samples = {0};
    publishing_open(&publishing, options);
    struct moment from = moment_now(options, 0);
    publish_until(&publishing, options, UINT64_MAX, options->count, &samples);
    uint64_t done = publishing.peer.acknowledged;
    struct moment to = moment_now(options, done);
    samples.count = 0;
    print(from, to, done, &samples);
    publishing_close(&publishing);
}

/* ---- reading ------------------------------------------------------------- */

static void
load_read(const struct options *options, enum stream_reading reading)
{
    struct stream_peer peer;
    struct samples samples = {0};
    stream_peer_open(&peer, options->side, options->port);
    struct moment from = moment_now(options, 0);
    uint64_t stalled = from.time_ns + STALL_NS;
    options->side->read(&peer, reading);
    while (peer.messages < options->count) {
        uint64_t before = peer.messages;
        stream_peer_turn(&peer, false, WAIT_MS);
        if (peer.messages > before) {
            stalled = now_ns() + STALL_NS;
        } else if (now_ns() > stalled) {
            give_up("%llu of %llu messages came",
                (unsigned long long)peer.messages,
                (unsigned long long)options->count);
        }
    }
    struct moment to = moment_now(options, peer.messages);
    if (peer.messages != options->count) {
        give_up("too many messages came");
    }
    while (peer.out_at < peer.out_bytes) {
        stream_peer_turn(&peer, false, WAIT_MS);
    }
    print(from, to, peer.messages, &samples);
    stream_peer_close(&peer);
}

/* ---- the log that it is compared with ------------------------------------ */

static int
raw_file(const char *path)
{
    static uint8_t zeros[1024 * 1024];
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) {
        give_up("%s: %s", path, strerror(errno));
    }
    for (off_t at = 0; at < RAW_FILE_BYTES; at += (off_t)sizeof zeros) {
        if (pwrite(fd, zeros, sizeof zeros, at) != (ssize_t)sizeof zeros) {
            give_up("%s: %s", path, strerror(errno));
        }
    }
    if (fsync(fd) != 0) {
        give_up("%s: %s", path, strerror(errno));
    }
    return fd;
}

/* One write and one sync per batch, round and round in a file that is there. */
static uint64_t
raw_until(int fd, const uint8_t *bytes, size_t len, uint64_t end_ns,
    struct samples *samples)
{
    static off_t at;
    uint64_t batches = 0;
    for (uint64_t began = now_ns(); began < end_ns; batches++) {
        if (at + (off_t)len > RAW_FILE_BYTES) {
            at = 0;
        }
        if (pwrite(fd, bytes, len, at) != (ssize_t)len || fdatasync(fd) != 0) {
            give_up("writing the raw log: %s", strerror(errno));
        }
        at += (off_t)len;
        uint64_t now = now_ns();
        samples_add(samples, now - began);
        began = now;
    }
    return batches;
}

static void
load_raw(const struct options *options)
{
    struct samples samples = {0};
    size_t len = options->batch * options->payload_bytes;
    uint8_t *bytes = payload_of(len);
    int fd = raw_file(options->file);
    (void)raw_until(fd, bytes, len, now_ns() + options->warmup_ns, &samples);
    samples.count = 0;
    struct moment from = moment_now(options, 0);
    uint64_t batches =
        raw_until(fd, bytes, len, from.time_ns + options->measure_ns, &samples);
    struct moment to = moment_now(options, batches * options->batch);
    print(from, to, batches * options->batch, &samples);
    close(fd);
    unlink(options->file);
    free(bytes);
}

/* ---- the program --------------------------------------------------------- */

static const char usage_text[] =
    "usage: bench_streams --load NAME [OPTION]...\n"
    "  --load NAME        publish, fill, replay, consume or raw\n"
    "  --protocol NAME    brokerd, jetstream or redis\n"
    "  --port N           on 127.0.0.1\n"
    "  --pid N            process whose CPU time is read\n"
    "  --topics N         publish, fill: one after the other, a stream each\n"
    "  --create           make the streams (jetstream)\n"
    "  --singly           consume: an acknowledgement in a frame for each\n"
    "  --payload BYTES\n"
    "  --window N         publish, fill: messages on their way\n"
    "  --count N          fill, replay, consume: messages\n"
    "  --batch N          raw: messages in one write and sync\n"
    "  --file PATH        raw: is made, and removed at the end\n"
    "  --warmup SECONDS   publish, raw\n"
    "  --seconds SECONDS\n"
    "Prints one line of JSON. Exit status 1: it says what went wrong.\n";

static void
usage(void)
{
    fputs(usage_text, stderr);
    exit(2);
}

static const struct stream_side *
side_named(const char *name)
{
    static const struct stream_side *const all[] = {
        &stream_brokerd, &stream_jetstream, &stream_redis};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        if (strcmp(all[i]->name, name) == 0) {
            return all[i];
        }
    }
    return NULL;
}

static enum load
load_named(const char *name)
{
    for (unsigned i = 0; i < sizeof load_names / sizeof load_names[0]; i++) {
        if (strcmp(load_names[i], name) == 0) {
            return (enum load)i;
        }
    }
    usage();
    return LOAD_RAW;
}

static const struct option long_options[] = {
    {"load", required_argument, NULL, 'l'},
    {"protocol", required_argument, NULL, 'p'},
    {"port", required_argument, NULL, 'o'},
    {"pid", required_argument, NULL, 'i'},
    {"topics", required_argument, NULL, 'T'},
    {"create", no_argument, NULL, 'c'},
    {"singly", no_argument, NULL, 'y'},
    {"payload", required_argument, NULL, 'b'},
    {"window", required_argument, NULL, 'w'},
    {"count", required_argument, NULL, 'n'},
    {"batch", required_argument, NULL, 'a'},
    {"file", required_argument, NULL, 'f'},
    {"warmup", required_argument, NULL, 'u'},
    {"seconds", required_argument, NULL, 's'},
    {NULL, 0, NULL, 0},
};

static void
take_option(struct options *options, int option)
{
    uint64_t number = optarg == NULL ? 0 : strtoull(optarg, NULL, 10);
    uint64_t ns = optarg == NULL ? 0 : (uint64_t)(strtod(optarg, NULL) * 1e9);
    switch (option) {
    case 'l':
        options->load = load_named(optarg);
        break;
    case 'p':
        options->side = side_named(optarg);
        break;
    case 'o':
        options->port = (uint16_t)number;
        break;
    case 'i':
        options->broker_pid = (pid_t)number;
        break;
    case 'T':
        options->topics = (unsigned)number;
        break;
    case 'c':
        options->create = true;
        break;
    case 'y':
        options->singly = true;
        break;
    case 'b':
        options->payload_bytes = number;
        break;
    case 'w':
        options->window = number;
        break;
    case 'n':
        options->count = number;
        break;
    case 'a':
        options->batch = (unsigned)number;
        break;
    case 'f':
        options->file = optarg;
        break;
    case 'u':
        options->warmup_ns = ns;
        break;
    case 's':
        options->measure_ns = ns;
        break;
    default:
        usage();
    }
}

int
main(int argc, char **argv)
{
    struct options options = {.load = LOAD_RAW,
        .topics = 1,
        .batch = 1,
        .payload_bytes = 128,
        .window = 1024,
        .count = 1000000,
        .warmup_ns = 300 * NS_PER_MS,
        .measure_ns = NS_PER_S};
    int option;
    while ((option = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
        take_option(&options, option);
    }
    bool is_raw = options.load == LOAD_RAW;
    if (optind != argc ||
        (is_raw ? options.file == NULL
                : options.side == NULL || !options.port) ||
        options.topics == 0 || options.batch == 0 || options.window == 0) {
        usage();
    }
    switch (options.load) {
    case LOAD_PUBLISH:
        load_publish(&options);
        break;
    case LOAD_FILL:
        load_fill(&options);
        break;
    case LOAD_REPLAY:
        load_read(&options, READING_PLAIN);
        break;
    case LOAD_CONSUME:
        load_read(&options, options.singly ? READING_SINGLE : READING_DURABLE);
        break;
    case LOAD_RAW:
        load_raw(&options);
        break;
    }
    return EXIT_SUCCESS;
}
