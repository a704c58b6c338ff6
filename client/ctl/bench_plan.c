/* SPDX-License-Identifier: MIT
 *
 * Options and plan of `brokerctl bench`; see bench_plan.h.
 */
#include "bench_plan.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "bench_stamp.h"
#include "link.h"
#include "say.h"
#include "suggest.h"

#define NS_PER_S UINT64_C(1000000000)

#define DEFAULT_PAYLOAD_BYTES 128u
#define DEFAULT_DURATION_NS   (5 * NS_PER_S)
#define DEFAULT_WARMUP_NS     NS_PER_S
#define DEFAULT_FANOUT        100u
#define DEFAULT_PREFIX        "bench"
#define DEFAULT_GROUP         "bench"
/* In flight for each publisher unless --window says otherwise: enough to keep
 * the broker busy, not so much that queues say more than the broker. */
#define DEFAULT_WINDOW       1000u
#define DEFAULT_WINDOW_BYTES 1048576u

#define RATE_MAX        NS_PER_S
#define CONNECTIONS_MAX 20000u
#define TOPICS_MAX      1000000u
#define WINDOW_MAX      1000000u
#define IN_FLIGHT_MAX   10000000u /* of all publishers: each has a record */
/* Header, lengths and a topic behind its prefix. */
#define FRAME_OVERHEAD_BYTES 40u

const struct bench_settings bench_defaults = {
    .payload_bytes = BENCH_NOT_GIVEN,
    .duration_ns = BENCH_NOT_GIVEN,
    .warmup_ns = BENCH_NOT_GIVEN,
    .prefix = DEFAULT_PREFIX,
    .timeout_ns = LINK_TIMEOUT_NS,
};

static const struct option_choice overflow_choices[] = {
    {"drop-oldest", BROKER_OVERFLOW_DROP_OLDEST},
    {"drop-newest", BROKER_OVERFLOW_DROP_NEWEST},
    {"conflate", BROKER_OVERFLOW_CONFLATE},
    {"disconnect", BROKER_OVERFLOW_DISCONNECT},
    {"block", BROKER_OVERFLOW_BLOCK},
    {NULL, 0},
};

#define FIELD(name) offsetof(struct bench_settings, name)

const struct option_spec bench_options[] = {
    {"payload", 'p', OPTION_SIZE, "SIZE", "bytes of each payload (128)",
        FIELD(payload_bytes), NULL},
    {"count", 'n', OPTION_COUNT, "N", "end after N messages in all",
        FIELD(count), NULL},
    {"duration", 'd', OPTION_DURATION, "TIME",
        "end after this time (5s, or no limit with --count)",
        FIELD(duration_ns), NULL},
    {"warmup", 0, OPTION_DURATION, "TIME",
        "the same before, not measured (1s; sub: 0)", FIELD(warmup_ns), NULL},
    {"rate", 'r', OPTION_COUNT, "N",
        "messages per second in all (as fast as it goes)", FIELD(rate), NULL},
    {"publishers", 0, OPTION_COUNT, "N", "connections that publish or ask (1)",
        FIELD(publishers), NULL},
    {"subscribers", 0, OPTION_COUNT, "N",
        "those that receive or answer (1; fanout: 100)", FIELD(subscribers),
        NULL},
    {"topics", 0, OPTION_COUNT, "N", "topics, used in turn (1)", FIELD(topics),
        NULL},
    {"window", 'w', OPTION_COUNT, "N",
        "in flight for each publisher (1000; request: 1)", FIELD(window), NULL},
    {"no-ack", 0, OPTION_FLAG, NULL, "do not ask for acknowledgements",
        FIELD(no_ack), NULL},
    {"group", 'g', OPTION_TEXT, "NAME",
        "subscribers share the messages as this queue group", FIELD(group),
        NULL},
    {"overflow", 'o', OPTION_CHOICE, "POLICY",
        "drop-oldest|drop-newest|conflate|disconnect|block", FIELD(overflow),
        overflow_choices},
    {"prefix", 0, OPTION_TEXT, "TOPIC", "what the topics begin with (bench)",
        FIELD(prefix), NULL},
    {"no-latency", 0, OPTION_FLAG, NULL, "count only, do not look at the clock",
        FIELD(no_latency), NULL},
    {"timeout", 't', OPTION_DURATION, "TIME",
        "longest wait for the broker (5s; 0: no limit)", FIELD(timeout_ns),
        NULL},
    {"csv", 0, OPTION_FLAG, NULL, "print a line of names and one of values",
        FIELD(csv), NULL},
    {"json", 'j', OPTION_FLAG, NULL, "print one JSON object", FIELD(json),
        NULL},
    {"output", 0, OPTION_TEXT, "FILE",
        "write that to a file, and print the table", FIELD(output), NULL},
    {"against", 0, OPTION_TEXT, "FILE", "compare with an earlier run's --json",
        FIELD(against), NULL},
    {"progress", 0, OPTION_FLAG, NULL,
        "a line a second on standard error, also to a file", FIELD(progress),
        NULL},
    {"quiet", 'q', OPTION_FLAG, NULL, "no such lines on a terminal either",
        FIELD(quiet), NULL},
    {0},
};

/* ---- modes --------------------------------------------------------------- */

#define BIT(mode) (1u << (mode))
#define PUBLISHING                                                             \
    (BIT(BENCH_PUB) | BIT(BENCH_BOTH) | BIT(BENCH_FANOUT) | BIT(BENCH_REQUEST))
#define SUBSCRIBING                                                            \
    (BIT(BENCH_SUB) | BIT(BENCH_BOTH) | BIT(BENCH_FANOUT) | BIT(BENCH_REQUEST))

static const char *const mode_names[] = {
    [BENCH_PUB] = "pub",
    [BENCH_SUB] = "sub",
    [BENCH_BOTH] = "both",
    [BENCH_FANOUT] = "fanout",
    [BENCH_REQUEST] = "request",
};
#define MODE_COUNT (sizeof mode_names / sizeof mode_names[0])

const char *
bench_mode_name(enum bench_mode mode)
{
    return mode_names[mode];
}

bool
bench_mode_publishes(enum bench_mode mode)
{
    return (BIT(mode) & PUBLISHING) != 0;
}

bool
bench_mode_subscribes(enum bench_mode mode)
{
    return (BIT(mode) & SUBSCRIBING) != 0;
}

static bool
mode_find(const char *name, enum bench_mode *mode)
{
    struct suggest suggest = SUGGEST_INIT(name);

    for (size_t i = 0; i < MODE_COUNT; i++) {
        if (strcmp(mode_names[i], name) == 0) {
            *mode = (enum bench_mode)i;
            return true;
        }
        suggest_offer(&suggest, mode_names[i]);
    }
    if (suggest.best != NULL) {
        say("bench: there is no mode \"%s\": did you mean \"%s\"?", name,
            suggest.best);
    } else {
        say("bench: there is no mode \"%s\": choose pub, sub, both, fanout or "
            "request",
            name);
    }
    return false;
}

/* ---- what does not fit --------------------------------------------------- */

/* An option, and the modes in which it means something. */
struct rule {
    const char *option;
    bool given;
    unsigned modes;
};

static void
complain_of_mode(enum bench_mode mode, const struct rule *rule)
{
    char modes[64] = "";
    size_t used = 0;

    for (size_t i = 0; i < MODE_COUNT; i++) {
        if ((rule->modes & BIT(i)) != 0 && used < sizeof modes) {
            used += (size_t)snprintf(modes + used, sizeof modes - used, "%s%s",
                used > 0 ? ", " : "", mode_names[i]);
        }
    }
    say("bench: --%s means nothing in the mode %s: leave it out, or use it "
        "with %s",
        rule->option, mode_names[mode], modes);
}

static bool
options_fit_mode(enum bench_mode mode, const struct bench_settings *settings)
{
    const unsigned plain = BIT(BENCH_PUB) | BIT(BENCH_BOTH) | BIT(BENCH_FANOUT);
    const struct rule rules[] = {
        {"payload", settings->payload_bytes != BENCH_NOT_GIVEN, PUBLISHING},
        {"rate", settings->rate != 0, PUBLISHING},
        {"publishers", settings->publishers != 0,
            PUBLISHING & ~BIT(BENCH_FANOUT)},
        {"subscribers", settings->subscribers != 0, SUBSCRIBING},
        {"topics", settings->topics != 0, PUBLISHING},
        {"window", settings->window != 0, PUBLISHING},
        {"no-ack", settings->no_ack, plain},
        {"group", settings->group != NULL, SUBSCRIBING},
        {"overflow", settings->overflow != 0, SUBSCRIBING},
    };

    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
        if (rules[i].given && (rules[i].modes & BIT(mode)) == 0) {
            complain_of_mode(mode, &rules[i]);
            return false;
        }
    }
    return true;
}

static bool
options_fit_together(const struct bench_settings *settings)
{
    if (settings->no_ack && settings->window != 0) {
        say("bench: --window counts what is not acknowledged yet: leave out "
            "either --window or --no-ack");
    } else if (settings->csv && settings->json) {
        say("bench: choose one of --csv and --json");
    } else if (settings->progress && settings->quiet) {
        say("bench: choose one of --progress and --quiet");
    } else if (settings->duration_ns == 0) {
        say("bench: --duration cannot be 0: give a time such as 5s, or only "
            "--count");
    } else {
        return true;
    }
    return false;
}

static bool
is_within(const char *option, uint64_t value, uint64_t max)
{
    if (value == BENCH_NOT_GIVEN || value <= max) {
        return true;
    }
    say("bench: --%s can be at most %" PRIu64, option, max);
    return false;
}

static bool
options_are_in_range(const struct bench_settings *settings)
{
    return is_within(
               "payload", settings->payload_bytes, BROKER_BODY_BYTES_MAX) &&
           is_within("rate", settings->rate, RATE_MAX) &&
           is_within("publishers", settings->publishers, CONNECTIONS_MAX) &&
           is_within("subscribers", settings->subscribers, CONNECTIONS_MAX) &&
           is_within("topics", settings->topics, TOPICS_MAX) &&
           is_within("window", settings->window, WINDOW_MAX);
}

/* ---- the plan ------------------------------------------------------------ */

static uint64_t
or_default(uint64_t given, uint64_t otherwise)
{
    return given != 0 ? given : otherwise;
}

static size_t
default_window(const struct bench_plan *plan)
{
    const size_t fitting = DEFAULT_WINDOW_BYTES / bench_plan_frame_bytes(plan);

    if (plan->mode == BENCH_REQUEST || fitting == 0) {
        return 1;
    }
    return fitting < DEFAULT_WINDOW ? fitting : DEFAULT_WINDOW;
}

static void
fill_counts(struct bench_plan *plan, const struct bench_settings *settings)
{
    const bool fanout = plan->mode == BENCH_FANOUT;

    if (bench_mode_publishes(plan->mode)) {
        plan->publishers = (size_t)or_default(settings->publishers, 1);
        plan->topics = (size_t)or_default(settings->topics, 1);
        plan->payload_bytes = settings->payload_bytes != BENCH_NOT_GIVEN
                                  ? (size_t)settings->payload_bytes
                                  : DEFAULT_PAYLOAD_BYTES;
        plan->acknowledged = !settings->no_ack;
        plan->rate = settings->rate;
    }
    if (bench_mode_subscribes(plan->mode)) {
        plan->subscribers = (size_t)or_default(
            settings->subscribers, fanout ? DEFAULT_FANOUT : 1);
    }
    if (plan->acknowledged) {
        plan->window =
            (size_t)or_default(settings->window, default_window(plan));
    }
}

static void
fill_times(struct bench_plan *plan, const struct bench_settings *settings)
{
    plan->count = settings->count;
    if (settings->duration_ns != BENCH_NOT_GIVEN) {
        plan->duration_ns = settings->duration_ns;
    } else {
        plan->duration_ns = settings->count != 0 ? 0 : DEFAULT_DURATION_NS;
    }
    if (settings->warmup_ns != BENCH_NOT_GIVEN) {
        plan->warmup_ns = settings->warmup_ns;
    } else {
        plan->warmup_ns = plan->mode == BENCH_SUB ? 0 : DEFAULT_WARMUP_NS;
    }
}

/* Requests need no stamp: who asked knows when. */
static void
fill_latency(struct bench_plan *plan, const struct bench_settings *settings)
{
    const bool stamps = plan->mode != BENCH_REQUEST && plan->mode != BENCH_SUB;

    plan->latency = !settings->no_latency;
    plan->stamped =
        stamps && plan->latency && plan->payload_bytes >= BENCH_STAMP_BYTES;
    if (stamps && plan->latency && !plan->stamped) {
        say("bench: the latency of deliveries is not measured: the time of "
            "sending needs a payload of at least %d bytes",
            BENCH_STAMP_BYTES);
    }
}

static bool
in_flight_is_bounded(const struct bench_plan *plan)
{
    if (plan->window * plan->publishers <= IN_FLIGHT_MAX) {
        return true;
    }
    say("bench: --window times --publishers can be at most %u", IN_FLIGHT_MAX);
    return false;
}

enum ctl_exit
bench_plan_make(struct bench_plan *plan, const struct bench_settings *settings,
    const char *mode)
{
    *plan = (struct bench_plan){0};
    if (!mode_find(mode, &plan->mode) ||
        !options_fit_mode(plan->mode, settings) ||
        !options_fit_together(settings) || !options_are_in_range(settings)) {
        return CTL_EXIT_USAGE;
    }
    plan->group = settings->group;
    plan->overflow = (enum broker_overflow)settings->overflow;
    plan->prefix = settings->prefix;
    plan->timeout_ns = settings->timeout_ns;
    fill_counts(plan, settings);
    if (!in_flight_is_bounded(plan)) {
        return CTL_EXIT_USAGE;
    }
    fill_times(plan, settings);
    fill_latency(plan, settings);
    /* Several responders share the requests, or each would be answered by all
     * of them. */
    if (plan->mode == BENCH_REQUEST && plan->subscribers > 1 &&
        plan->group == NULL) {
        plan->group = DEFAULT_GROUP;
    }
    return CTL_EXIT_OK;
}

size_t
bench_plan_receivers(const struct bench_plan *plan)
{
    return plan->group != NULL && plan->subscribers > 0 ? 1 : plan->subscribers;
}

size_t
bench_plan_frame_bytes(const struct bench_plan *plan)
{
    return plan->payload_bytes + strlen(plan->prefix) + FRAME_OVERHEAD_BYTES;
}
