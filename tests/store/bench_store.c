/* SPDX-License-Identifier: MIT
 *
 * Durable appends of the local store against the least that could do it: one
 * file that was filled with zeros, a write and an fdatasync for each batch.
 *
 *   bench_store DIRECTORY [SECONDS-PER-CELL [ROUNDS]]
 *
 * Both take turns, cell by cell and round by round; medians of records/s, and
 * ratios. Then reading back, from disk and from memory. */
#include "local.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define RECORD_BYTES 128u
#define RAW_BYTES    (64u << 20)
#define STREAMS_MAX  100u
#define BATCH_MAX    1024u
#define ROUNDS_MAX   15

static const unsigned int batches[] = {1, 64, 1024};
#define BATCHES 3

static uint8_t records[BATCH_MAX * RECORD_BYTES];

static double
now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

/* Of all threads, in nanoseconds: less of a question of who else is there. */
static double
cpu(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e9 +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1e3;
}

/* Records and processor time of each kind of cell. */
static double cell_records[BATCHES][3], cell_cpu[BATCHES][3];

static void
die(const char *what)
{
    fprintf(stderr, "bench_store: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* ---- the raw log --------------------------------------------------------- */

static int
raw_open(const char *directory)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/raw", directory);
    int file = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    uint8_t *zeros = calloc(1, 1 << 20);
    if (file < 0 || zeros == NULL) {
        die(path);
    }
    for (unsigned int at = 0; at < RAW_BYTES; at += 1 << 20) {
        if (pwrite(file, zeros, 1 << 20, at) != 1 << 20) {
            die(path);
        }
    }
    free(zeros);
    if (fsync(file) != 0) {
        die(path);
    }
    return file;
}

static double
raw_rate(int file, unsigned int batch, double seconds)
{
    static off_t at;
    size_t bytes = (size_t)batch * RECORD_BYTES;
    double begin = now();
    double end = begin;
    uint64_t count = 0;
    while (end - begin < seconds) {
        if (at + (off_t)bytes > (off_t)RAW_BYTES) {
            at = 0;
        }
        if (pwrite(file, records, bytes, at) != (ssize_t)bytes ||
            fdatasync(file) != 0) {
            die("raw");
        }
        at += (off_t)bytes;
        count += batch;
        end = now();
    }
    return (double)count / (end - begin);
}

/* ---- the store ----------------------------------------------------------- */

struct bench {
    struct store *store;
    struct store_port *port;
    int wake;
    unsigned int pending;
    uint32_t streams[STREAMS_MAX];
    uint32_t ensured;
    uint64_t records, next; /* of what was read */
};

static void
wake(void *arg)
{
    const struct bench *bench = arg;
    uint64_t one = 1;
    if (write(bench->wake, &one, sizeof one) < 0) {
        die("eventfd");
    }
}

static void
room(void *arg)
{
    (void)arg;
}

static void
done(void *arg, const struct store_result *result)
{
    struct bench *bench = arg;
    if (result->status != STORE_OK) {
        fprintf(stderr, "bench_store: status %d\n", (int)result->status);
        exit(1);
    }
    bench->ensured = result->stream;
    bench->pending--;
}

static void
wait_all(struct bench *bench)
{
    while (bench->pending > 0) {
        struct pollfd ready = {.fd = bench->wake, .events = POLLIN};
        uint64_t count;
        poll(&ready, 1, -1);
        if (read(bench->wake, &count, sizeof count) < 0) {
            die("eventfd");
        }
        store_poll(bench->port);
    }
}

static void
log_line(
    void *arg, enum store_log_level level, const char *event, const char *text)
{
    (void)arg;
    (void)level;
    fprintf(stderr, "%s: %s\n", event, text);
}

static void
store_begin(struct bench *bench, const char *directory)
{
    char path[4096];
    char why[256];
    snprintf(path, sizeof path, "%s/store", directory);
    const struct store_local_options options = {
        .directory = path, .log = log_line};
    bench->store = store_local_open(&options, why, sizeof why);
    if (bench->store == NULL) {
        fprintf(stderr, "bench_store: %s\n", why);
        exit(1);
    }
    struct store_port_hooks hooks = {.wake = wake, .room = room, .arg = bench};
    bench->wake = eventfd(0, EFD_CLOEXEC);
    bench->port = store_port_open(bench->store, &hooks);
    /* So that trimming has its part. */
    const struct store_limits limits = {.max_records = 1000000};
    for (unsigned int i = 0; i < STREAMS_MAX; i++) {
        char name[16];
        snprintf(name, sizeof name, "stream-%u", i);
        bench->pending = 1;
        store_ensure(bench->port, name, &limits, done, bench);
        store_tick(bench->port);
        wait_all(bench);
        bench->streams[i] = bench->ensured;
    }
}

static void
append(struct bench *bench, unsigned int stream, unsigned int count)
{
    struct store_append append = {.stream = bench->streams[stream],
        .records = records,
        .bytes = (size_t)count * RECORD_BYTES,
        .count = count};
    struct timespec time;
    clock_gettime(CLOCK_REALTIME_COARSE, &time);
    append.time_ms =
        (uint64_t)time.tv_sec * 1000 + (uint64_t)time.tv_nsec / 1000000;
    bench->pending++;
    while (store_append(bench->port, &append, done, bench) == STORE_AGAIN) {
        struct timespec nap = {.tv_nsec = 100000};
        nanosleep(&nap, NULL);
        store_poll(bench->port);
    }
}

static double
store_rate(struct bench *bench, unsigned int batch, unsigned int streams,
    double seconds)
{
    static unsigned int next;
    double begin = now();
    double end = begin;
    uint64_t count = 0;
    while (end - begin < seconds) {
        unsigned int touched = batch < streams ? batch : streams;
        for (unsigned int i = 0; i < touched; i++) {
            unsigned int share = batch / touched + (i < batch % touched);
            append(bench, streams == 1 ? 0 : next++ % streams, share);
        }
        store_tick(bench->port);
        wait_all(bench);
        count += batch;
        end = now();
    }
    return (double)count / (end - begin);
}

static void
read_done(void *arg, const struct store_batch *batch)
{
    struct bench *bench = arg;
    for (size_t i = 0; i < batch->run_count; i++) {
        bench->records += batch->runs[i].count;
    }
    bench->next = batch->next;
    bench->pending--;
}

/* All that the first stream has, in pieces of 256 KiB. */
static void
read_all(struct bench *bench, const char *what)
{
    struct store_stream_info info;
    store_stream_info(bench->port, bench->streams[0], &info);
    bench->next = info.first_seq;
    bench->records = 0;
    double begin = now();
    while (bench->next <= info.last_seq) {
        bench->pending = 1;
        store_read(bench->port, bench->streams[0], bench->next, 256 * 1024,
            false, read_done, bench);
        wait_all(bench);
    }
    double took = now() - begin;
    printf("%s: %.2f M records/s (%.1f M)\n", what,
        (double)bench->records / took / 1e6, (double)bench->records / 1e6);
}

/* ---- rounds -------------------------------------------------------------- */

static int
by_value(const void *a, const void *b)
{
    double first = *(const double *)a;
    double second = *(const double *)b;
    return first < second ? -1 : first > second;
}

static double
median(double *values, int count)
{
    qsort(values, (size_t)count, sizeof values[0], by_value);
    return values[count / 2];
}

int
main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: bench_store DIRECTORY [SECONDS [ROUNDS]]\n");
        return 2;
    }
    double seconds = argc > 2 ? strtod(argv[2], NULL) : 0.5;
    int rounds = argc > 3 ? (int)strtol(argv[3], NULL, 10) : 5;
    rounds = rounds < 1 ? 1 : rounds > ROUNDS_MAX ? ROUNDS_MAX : rounds;
    static double rates[BATCHES][3][ROUNDS_MAX];
    static struct bench bench;
    for (unsigned int i = 0; i < BATCH_MAX; i++) {
        memset(records + i * RECORD_BYTES, 'x', RECORD_BYTES);
        memcpy(records + i * RECORD_BYTES, "\0\0\0\164", 4); /* 116 */
    }
    int raw = raw_open(argv[1]);
    store_begin(&bench, argv[1]);
    for (int round = 0; round < rounds; round++) {
        for (int i = 0; i < BATCHES; i++) {
            for (int k = 0; k < 3; k++) {
                double before = cpu();
                double begin = now();
                double rate = k == 0 ? raw_rate(raw, batches[i], seconds)
                                     : store_rate(&bench, batches[i],
                                           k == 1 ? 1 : STREAMS_MAX, seconds);
                cell_records[i][k] += rate * (now() - begin);
                cell_cpu[i][k] += cpu() - before;
                rates[i][k][round] = rate;
            }
        }
    }
    printf("%6s %12s %12s %7s %12s %7s %8s\n", "batch", "raw/s", "1 stream",
        "of raw", "100 streams", "of raw", "of 1");
    for (int i = 0; i < BATCHES; i++) {
        double log = median(rates[i][0], rounds);
        double one = median(rates[i][1], rounds);
        double many = median(rates[i][2], rounds);
        printf("%6u %12.0f %12.0f %7.2f %12.0f %7.2f %8.2f\n", batches[i], log,
            one, one / log, many, many / log, many / one);
    }
    printf("CPU ns/record: raw, 1 stream, 100 streams\n");
    for (int i = 0; i < BATCHES; i++) {
        printf("%6u %12.0f %12.0f %12.0f\n", batches[i],
            cell_cpu[i][0] / cell_records[i][0],
            cell_cpu[i][1] / cell_records[i][1],
            cell_cpu[i][2] / cell_records[i][2]);
    }
    read_all(&bench, "reading, most of it from disk");
    store_port_close(bench.port);
    store_close(bench.store);
    store_begin(&bench, argv[1]);
    read_all(&bench, "reading, all of it from disk");
    for (unsigned int i = 0; i < 100; i++) {
        append(&bench, 1, BATCH_MAX);
        store_tick(bench.port);
        wait_all(&bench);
    }
    bench.streams[0] = bench.streams[1];
    struct store_stats stats;
    store_get_stats(bench.store, &stats);
    printf("memory %.1f MB, disk %.1f MB\n", (double)stats.memory_bytes / 1e6,
        (double)stats.disk_bytes / 1e6);
    store_port_close(bench.port);
    store_close(bench.store);
    close(raw);
    return 0;
}
