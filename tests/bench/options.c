/* SPDX-License-Identifier: MIT
 *
 * The command line of bench_load. See options.h. */
#include "options.h"

#include "measure.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage_text[] =
    "usage: bench_load --protocol NAME --port N --pid N [OPTION]...\n"
    "  --protocol NAME    brokerd, relay, nats, redis or mqtt\n"
    "  --port N           on 127.0.0.1\n"
    "  --pid N            process whose CPU time and memory are read\n"
    "  --load NAME        stream, paced, roundtrip, idle or fair\n"
    "  --pattern NAME     pairs, fanout, spread or group\n"
    "  --publishers N     more than one with --pattern pairs only\n"
    "  --subscribers N    pairs: as many as publishers\n"
    "  --topics N         spread: topic t goes to subscriber t modulo N\n"
    "  --first N          number of the first topic, for several loads at "
    "once\n"
    "  --random           spread: topics at random, not in turn\n"
    "  --filters NAME     exact or wild\n"
    "  --payload BYTES\n"
    "  --acknowledge      publishes are acknowledged\n"
    "  --window BYTES     on the way, for all publishers together\n"
    "  --warmup SECONDS   idle: wait before the first look at memory\n"
    "  --seconds SECONDS  idle: wait before the second\n"
    "  --rate N           paced: messages a second in all; fair: of the first\n"
    "                     pair, the others send as much as goes through\n"
    "  --spin             never sleep: for a core of its own\n"
    "Prints one line of JSON. Exit status 1: it says what went wrong.\n";

static void
usage(void)
{
    fputs(usage_text, stderr);
    exit(2);
}

static unsigned long long
number(const char *text, unsigned long long max)
{
    char *end;
    unsigned long long value = strtoull(text, &end, 10);
    if (*text < '0' || *text > '9' || *end != '\0' || value > max) {
        fprintf(stderr, "bench_load: bad number %s\n", text);
        usage();
    }
    return value;
}

static uint64_t
seconds_ns(const char *text)
{
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end != '\0' || !(value >= 0 && value < 3600)) {
        fprintf(stderr, "bench_load: bad time %s\n", text);
        usage();
    }
    return (uint64_t)(value * 1e9);
}

/* The place of `text` among names[0..count). */
static unsigned
choice(const char *text, const char *const *names, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        if (strcmp(names[i], text) == 0) {
            return i;
        }
    }
    fprintf(stderr, "bench_load: what is %s?\n", text);
    usage();
    return 0;
}

static const char *const load_names[] = {
    "stream", "paced", "roundtrip", "idle", "fair"};
static const char *const pattern_names[] = {
    "pairs", "fanout", "spread", "group"};
static const char *const filter_names[] = {"exact", "wild"};

static const struct option long_options[] = {
    {"protocol", required_argument, NULL, 'p'},
    {"port", required_argument, NULL, 'o'},
    {"pid", required_argument, NULL, 'i'},
    {"load", required_argument, NULL, 'l'},
    {"pattern", required_argument, NULL, 'a'},
    {"publishers", required_argument, NULL, 'P'},
    {"subscribers", required_argument, NULL, 'S'},
    {"topics", required_argument, NULL, 'T'},
    {"first", required_argument, NULL, 'F'},
    {"random", no_argument, NULL, 'r'},
    {"filters", required_argument, NULL, 'f'},
    {"payload", required_argument, NULL, 'b'},
    {"acknowledge", no_argument, NULL, 'k'},
    {"window", required_argument, NULL, 'w'},
    {"warmup", required_argument, NULL, 'u'},
    {"seconds", required_argument, NULL, 's'},
    {"rate", required_argument, NULL, 'R'},
    {"spin", no_argument, NULL, 'n'},
    {NULL, 0, NULL, 0},
};

/* One option per case: longer than a function should be for that alone. */
static void
take_option(struct options *options, int option)
{
    switch (option) {
    case 'p':
        options->protocol = protocol_find(optarg);
        break;
    case 'o':
        options->port = (uint16_t)number(optarg, UINT16_MAX);
        break;
    case 'i':
        options->broker_pid = (pid_t)number(optarg, INT32_MAX);
        break;
    case 'l':
        options->load = choice(optarg, load_names, 5);
        break;
    case 'a':
        options->pattern = choice(optarg, pattern_names, 4);
        break;
    case 'P':
        options->publishers = (unsigned)number(optarg, 100000);
        break;
    case 'S':
        options->subscribers = (unsigned)number(optarg, 100000);
        break;
    case 'T':
        options->topics = (unsigned)number(optarg, TOPICS_MAX);
        break;
    case 'F':
        options->first = (unsigned)number(optarg, TOPICS_MAX / 2);
        break;
    case 'r':
        options->random = true;
        break;
    case 'f':
        options->shape = choice(optarg, filter_names, 2);
        break;
    case 'b':
        options->payload_bytes = number(optarg, 8u * 1024u * 1024u);
        break;
    case 'k':
        options->acknowledge = true;
        break;
    case 'w':
        options->window_bytes = number(optarg, UINT32_MAX);
        break;
    case 'u':
        options->warmup_ns = seconds_ns(optarg);
        break;
    case 's':
        options->measure_ns = seconds_ns(optarg);
        break;
    case 'R':
        options->rate = number(optarg, NS_PER_S);
        break;
    case 'n':
        options->spin = true;
        break;
    default:
        usage();
    }
}

static void
check_options(const struct options *options)
{
    const bool pairs = options->pattern == PATTERN_PAIRS;
    if (options->protocol == NULL || options->port == 0 ||
        options->broker_pid <= 0 || options->publishers == 0 ||
        options->subscribers == 0 || options->topics == 0 ||
        options->rate == 0) {
        usage();
    }
    if ((!pairs && options->publishers != 1) ||
        (pairs && options->load != LOAD_IDLE &&
            options->publishers != options->subscribers) ||
        (options->pattern == PATTERN_SPREAD &&
            options->topics < options->subscribers) ||
        (options->load == LOAD_FAIR && (!pairs || options->publishers < 2))) {
        fputs("bench_load: these numbers do not fit the pattern\n", stderr);
        usage();
    }
    if ((options->acknowledge && !options->protocol->can_acknowledge) ||
        (options->pattern == PATTERN_GROUP && !options->protocol->has_groups)) {
        give_up("%s cannot do that", options->protocol->name);
    }
}

void
options_parse(struct options *options, int argc, char **argv)
{
    *options = (struct options){.publishers = 1,
        .subscribers = 1,
        .topics = 1,
        .payload_bytes = 128,
        .window_bytes = 8u * 1024u * 1024u,
        .warmup_ns = 300 * NS_PER_MS,
        .measure_ns = NS_PER_S,
        .rate = 20000};
    int option;
    while ((option = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
        take_option(options, option);
    }
    if (optind != argc) {
        usage();
    }
    check_options(options);
}
