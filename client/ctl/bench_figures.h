/* SPDX-License-Identifier: MIT
 *
 * The figures of a run as a flat list with names and units, made from what was
 * counted. Knows nothing of how they are shown.
 */
#ifndef BROKERCTL_BENCH_FIGURES_H
#define BROKERCTL_BENCH_FIGURES_H

#include <stdbool.h>
#include <stddef.h>

#include "bench.h"

enum bench_figure {
#define BENCH_FIGURE(key, label, unit) BENCH_FIGURE_##key,
#include "bench_figures.def"
    BENCH_FIGURE_COUNT,
};

enum bench_unit {
    BENCH_UNIT_COUNT, /* a whole number, of messages */
    BENCH_UNIT_PER_SECOND,
    BENCH_UNIT_BYTES_PER_SECOND,
    BENCH_UNIT_NANOSECONDS, /* a whole number */
    BENCH_UNIT_SECONDS,
};

struct bench_figure_spec {
    const char *key, *label;
    enum bench_unit unit;
};

extern const struct bench_figure_spec bench_figure_specs[BENCH_FIGURE_COUNT];

/* NaN: this figure means nothing here, or is not known. */
struct bench_figures {
    double value[BENCH_FIGURE_COUNT];
};

/* All unknown. */
void bench_figures_init(struct bench_figures *figures);

/* What the measurement came to. */
void bench_figures_make(
    struct bench_figures *figures, const struct bench *bench);

#endif
