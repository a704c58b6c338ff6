/* SPDX-License-Identifier: MIT
 *
 * What a load finds out: the counters at two moments, and the line of JSON
 * that says so. */
#ifndef BROKER_BENCH_RESULT_H
#define BROKER_BENCH_RESULT_H

#include "rig.h"
#include "samples.h"

#include <stddef.h>
#include <stdint.h>

/* The counters at one moment. */
struct reading {
    uint64_t time_ns;
    uint64_t cpu_ns;        /* of the broker */
    uint64_t waited_ns;     /* the broker for a core */
    uint64_t own_waited_ns; /* this program for a core */
    uint64_t delivered;
    uint64_t acknowledged;
    uint64_t sent;
};

struct reading reading_now(const struct rig *rig);

/* Print what happened from then to then; `more` is further JSON, each member
 * after a comma, or "". */
void result_print(const struct rig *rig, struct reading from, struct reading to,
    const char *more);

#endif
