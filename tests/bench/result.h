/* SPDX-License-Identifier: MIT
 *
 * What a load finds out: the counters at two moments, how long single messages
 * took, and the line of JSON that says so. */
#ifndef BROKER_BENCH_RESULT_H
#define BROKER_BENCH_RESULT_H

#include "rig.h"

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

/* Times of single messages; those beyond the first four million are not kept.
 * Zeroed memory is an empty one. */
struct samples {
    uint32_t *ns;
    size_t count;
};

void samples_add(struct samples *samples, uint64_t ns);
void samples_fini(struct samples *samples);

/* Sort them. Gives up if there are none. Then the time in microseconds that
 * this many of 1,000 stay below; 1,000 is the greatest. */
void samples_sort(struct samples *samples);
double samples_us(const struct samples *samples, unsigned per_mille);

/* Print what happened from then to then; `more` is further JSON, each member
 * after a comma, or "". */
void result_print(const struct rig *rig, struct reading from, struct reading to,
    const char *more);

#endif
