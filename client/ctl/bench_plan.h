/* SPDX-License-Identifier: MIT
 *
 * What `brokerctl bench` is asked to do: its options, and the plan that they
 * make together with the mode and the defaults. Knows nothing of connections.
 */
#ifndef BROKERCTL_BENCH_PLAN_H
#define BROKERCTL_BENCH_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <broker/codec.h>

#include "exit_codes.h"
#include "options.h"

enum bench_mode {
    BENCH_PUB,     /* publish only */
    BENCH_SUB,     /* receive only */
    BENCH_BOTH,    /* publishers and subscribers */
    BENCH_FANOUT,  /* the same with one publisher */
    BENCH_REQUEST, /* requests, and responders that answer them */
};

/* An option that was not given, where 0 means something. */
#define BENCH_NOT_GIVEN UINT64_MAX

/* The options as they were given. Counts: 0 is "not given". */
struct bench_settings {
    uint64_t payload_bytes; /* or BENCH_NOT_GIVEN */
    uint64_t count;
    uint64_t duration_ns; /* or BENCH_NOT_GIVEN */
    uint64_t warmup_ns;   /* or BENCH_NOT_GIVEN */
    uint64_t rate;
    uint64_t publishers, subscribers, topics;
    uint64_t window;
    bool no_ack;
    const char *group; /* or NULL */
    int overflow;      /* enum broker_overflow */
    const char *prefix;
    bool no_latency;
    uint64_t timeout_ns;
    bool csv, json;
    const char *output, *against; /* or NULL */
    bool progress, quiet;
};

extern const struct option_spec bench_options[];
extern const struct bench_settings bench_defaults;

/* What is going to be done. */
struct bench_plan {
    enum bench_mode mode;
    size_t payload_bytes;
    uint64_t count;       /* messages of all publishers; 0: no limit */
    uint64_t duration_ns; /* 0: no limit */
    uint64_t warmup_ns;
    uint64_t rate; /* messages a second of all publishers; 0: not paced */
    size_t publishers, subscribers; /* or requesters and responders */
    size_t topics;
    size_t window; /* in flight for each publisher; 0: not counted */
    bool acknowledged;
    const char *group; /* or NULL */
    enum broker_overflow overflow;
    const char *prefix;
    bool latency; /* is measured, where something comes back */
    bool stamped; /* payloads carry the time of sending */
    uint64_t timeout_ns;
};

/* The word for a mode on the command line. */
const char *bench_mode_name(enum bench_mode mode);

/* Is this a mode that publishes, and one that receives messages of its own? */
bool bench_mode_publishes(enum bench_mode mode);
bool bench_mode_subscribes(enum bench_mode mode);

/* Make the plan. CTL_EXIT_OK and *plan, which points into `settings`; or
 * CTL_EXIT_USAGE, and it was said what is wrong. */
enum ctl_exit bench_plan_make(struct bench_plan *plan,
    const struct bench_settings *settings, const char *mode);

/* How many subscriptions a message is for. */
size_t bench_plan_receivers(const struct bench_plan *plan);

/* About as many bytes as the frame of one message has. */
size_t bench_plan_frame_bytes(const struct bench_plan *plan);

#endif
