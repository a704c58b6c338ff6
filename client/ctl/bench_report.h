/* SPDX-License-Identifier: MIT
 *
 * A run of `brokerctl bench` as JSON, as CSV or as a table for people, alone or
 * beside an earlier one, and the way back from JSON. Knows nothing of how
 * figures are made.
 */
#ifndef BROKERCTL_BENCH_REPORT_H
#define BROKERCTL_BENCH_REPORT_H

#include <jansson.h>

#include "bench_figures.h"

/* Of the JSON object: grows when a key changes its meaning. */
#define BENCH_REPORT_FORMAT 1

/* What is shown. */
struct bench_report {
    const struct bench_plan *plan;
    struct bench_figures figures;
    bool complete;      /* neither interrupted nor cut short */
    bool foreign_clock; /* messages came from another machine */
    const struct bench_earlier *earlier; /* or NULL */
};

/* An earlier run. */
struct bench_earlier {
    const char *file;
    struct bench_figures figures;
    json_t *run; /* the whole object */
};

enum bench_shape { BENCH_TABLE, BENCH_CSV, BENCH_JSON };

/* False: out of memory. */
bool bench_report_print(
    struct out *out, const struct bench_report *report, enum bench_shape shape);

/* ---- bench_earlier.c ----------------------------------------------------- */

/* Read what --json wrote. CTL_EXIT_OK: bench_earlier_fini() is due; else what
 * is wrong with the file was said. */
enum ctl_exit bench_earlier_read(
    struct bench_earlier *earlier, const char *file);
void bench_earlier_fini(struct bench_earlier *earlier);

/* ---- bench_json.c -------------------------------------------------------- */

/* The run as an object; NULL: out of memory. */
json_t *bench_json_make(const struct bench_report *report);

#endif
