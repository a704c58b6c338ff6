/* SPDX-License-Identifier: MIT
 *
 * What a message costs a consumer: offered, acknowledged, and the clock asked.
 * Each case is a function measured_*, for callgrind:
 *
 *     consumer_cost [--messages N] [--case NAME] [--list]
 *     valgrind --tool=callgrind --toggle-collect='measured_*' consumer_cost ...
 *
 * Prints for each case nanoseconds a message of this run; only instructions
 * mean something from one run to the next. Ends with an error if books do not
 * balance. */
#include "consumer.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PEERS_MAX 8u
#define WINDOW    1024u

struct stage {
    struct consumer *consumer;
    struct consumer_attachment *peers[PEERS_MAX];
    uint64_t messages, now_ms;
    uint8_t bytes[64 * 1024];
};

static void
fail(const char *what)
{
    fprintf(stderr, "consumer_cost: %s\n", what);
    exit(EXIT_FAILURE);
}

static void
expect(bool condition, const char *what)
{
    if (!condition) {
        fail(what);
    }
}

static uint64_t
next(const struct stage *stage)
{
    return consumer_next_sequence(stage->consumer);
}

/* One is offered, and acknowledged before the next. */
static void
measured_single(struct stage *stage)
{
    for (uint64_t i = 0; i < stage->messages; i++) {
        struct consumer_attachment *to;
        uint64_t sequence = next(stage);
        (void)consumer_offer(stage->consumer, sequence, 1, stage->now_ms, &to);
        (void)consumer_ack(stage->consumer, to, sequence, sequence);
    }
}

/* Offered by 500; then one ack for each, in the order of the messages. */
static void
measured_each(struct stage *stage)
{
    for (uint64_t i = 0; i < stage->messages; i += 500) {
        struct consumer_attachment *to;
        uint64_t first = next(stage);
        (void)consumer_offer(stage->consumer, first, 500, stage->now_ms, &to);
        for (uint64_t k = first; k < first + 500; k++) {
            (void)consumer_ack(stage->consumer, to, k, k);
        }
    }
}

/* The same, but every second one first: holes. */
static void
measured_holes(struct stage *stage)
{
    for (uint64_t i = 0; i < stage->messages; i += 500) {
        struct consumer_attachment *to;
        uint64_t first = next(stage);
        (void)consumer_offer(stage->consumer, first, 500, stage->now_ms, &to);
        for (uint64_t k = first + 1; k < first + 500; k += 2) {
            (void)consumer_ack(stage->consumer, to, k, k);
        }
        for (uint64_t k = first; k < first + 500; k += 2) {
            (void)consumer_ack(stage->consumer, to, k, k);
        }
    }
}

/* Offered by 500, acknowledged by 500. */
static void
measured_ranges(struct stage *stage)
{
    for (uint64_t i = 0; i < stage->messages; i += 500) {
        struct consumer_attachment *to;
        uint64_t first = next(stage);
        (void)consumer_offer(stage->consumer, first, 500, stage->now_ms, &to);
        (void)consumer_ack(stage->consumer, to, first, first + 499);
    }
}

/* The first message stays out while all others are acknowledged one by one:
 * the ring has to be closed over holes again and again. */
static void
measured_stuck(struct stage *stage)
{
    struct consumer_attachment *to;
    uint64_t stuck = next(stage);
    (void)consumer_offer(stage->consumer, stuck, 1, stage->now_ms, &to);
    for (uint64_t i = 1; i < stage->messages; i++) {
        uint64_t sequence = next(stage);
        (void)consumer_offer(stage->consumer, sequence, 1, stage->now_ms, &to);
        (void)consumer_ack(stage->consumer, to, sequence, sequence);
    }
    (void)consumer_ack(stage->consumer, to, stuck, stuck);
}

/* Offered by 500 to 8 attachments, one ack each. */
static void
measured_shared(struct stage *stage)
{
    for (uint64_t i = 0; i < stage->messages; i += 500) {
        struct consumer_attachment *to;
        uint64_t first = next(stage), end = first + 500;
        while (first < end) {
            uint32_t n = consumer_offer(stage->consumer, first,
                (uint32_t)(end - first), stage->now_ms, &to);
            expect(n > 0, "nobody takes messages");
            for (uint64_t k = first; k < first + n; k++) {
                (void)consumer_ack(stage->consumer, to, k, k);
            }
            first += n;
        }
    }
}

/* Each is given back once, and acknowledged then. */
static void
measured_again(struct stage *stage)
{
    for (uint64_t i = 0; i < stage->messages; i++) {
        struct consumer_attachment *to;
        uint32_t deliveries;
        uint64_t sequence = next(stage), again = 0;
        (void)consumer_offer(stage->consumer, sequence, 1, stage->now_ms, &to);
        (void)consumer_nack(
            stage->consumer, to, sequence, sequence, 0, stage->now_ms);
        (void)consumer_next_redelivery(stage->consumer, stage->now_ms, &again);
        to = consumer_redeliver(
            stage->consumer, again, stage->now_ms, &deliveries);
        expect(to != NULL, "nothing is delivered again");
        (void)consumer_ack(stage->consumer, to, again, again);
    }
}

/* A cursor with 500 outstanding, half of them acknowledged in between, is saved
 * once for each 500 messages. */
static void
measured_save(struct stage *stage)
{
    for (uint64_t i = 0; i < stage->messages; i += 500) {
        (void)consumer_save(
            stage->consumer, NULL, 0, stage->bytes, sizeof stage->bytes);
    }
}

static void
prepare_save(struct stage *stage)
{
    struct consumer_attachment *to;
    uint64_t first = next(stage);
    (void)consumer_offer(stage->consumer, first, 500, stage->now_ms, &to);
    for (uint64_t k = first; k < first + 500; k += 2) {
        (void)consumer_ack(stage->consumer, to, k, k);
    }
}

static const struct measured {
    const char *name;
    void (*run)(struct stage *stage);
    void (*prepare)(struct stage *stage);
    uint32_t peers;
} cases[] = {
    {"single", measured_single, NULL, 1},
    {"each", measured_each, NULL, 1},
    {"holes", measured_holes, NULL, 1},
    {"ranges", measured_ranges, NULL, 1},
    {"stuck", measured_stuck, NULL, 1},
    {"shared", measured_shared, NULL, PEERS_MAX},
    {"again", measured_again, NULL, 1},
    {"save", measured_save, prepare_save, 1},
};

static double
now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static void
run_case(const struct measured *measured, uint64_t messages)
{
    struct consumer_settings settings = {
        .start = 1,
        .mode = CONSUMER_ACK_EACH,
        .window = WINDOW,
        .ack_deadline_ms = 30000,
    };
    struct stage stage = {.messages = messages, .now_ms = 1};
    stage.consumer = consumer_new(&settings);
    expect(stage.consumer != NULL, "memory is out");
    for (uint32_t i = 0; i < measured->peers; i++) {
        stage.peers[i] = consumer_attach(stage.consumer, NULL, WINDOW);
        expect(stage.peers[i] != NULL, "memory is out");
    }
    if (measured->prepare != NULL) {
        measured->prepare(&stage);
    }
    double from_ns = now_ns();
    measured->run(&stage);
    double ns = now_ns() - from_ns;
    struct consumer_info info;
    consumer_get_info(stage.consumer, &info);
    expect(consumer_info_balances(&info), "books do not balance");
    expect(measured->prepare != NULL ||
               info.count[CONSUMER_ACKNOWLEDGED] == messages,
        "not all were acknowledged");
    printf("{\"case\": \"%s\", \"sent\": %llu, \"ns\": %.1f}\n", measured->name,
        (unsigned long long)messages, ns / (double)messages);
    consumer_free(stage.consumer);
}

int
main(int argc, char **argv)
{
    static const struct option long_options[] = {
        {"messages", required_argument, NULL, 'm'},
        {"case", required_argument, NULL, 'c'},
        {"list", no_argument, NULL, 'l'},
        {NULL, 0, NULL, 0},
    };
    uint64_t messages = 1000000;
    const char *only = NULL;
    bool list = false;
    int option;
    while ((option = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
        switch (option) {
        case 'm':
            /* Whole rounds of 500. */
            messages = (strtoull(optarg, NULL, 10) + 499) / 500 * 500;
            break;
        case 'c':
            only = optarg;
            break;
        case 'l':
            list = true;
            break;
        default:
            fail("see the comment at the top of consumer_cost.c");
        }
    }
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        if (list) {
            printf("%s\n", cases[i].name);
        } else if (only == NULL || strcmp(only, cases[i].name) == 0) {
            run_case(&cases[i], messages);
        }
    }
    return EXIT_SUCCESS;
}
