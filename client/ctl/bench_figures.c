/* SPDX-License-Identifier: MIT
 *
 * From counts to figures; see bench_figures.h.
 */
#include "bench_figures.h"

#include <math.h>

const struct bench_figure_spec bench_figure_specs[] = {
#define BENCH_FIGURE(key, label, unit) {#key, label, BENCH_UNIT_##unit},
#include "bench_figures.def"
};

void
bench_figures_init(struct bench_figures *figures)
{
    for (size_t i = 0; i < BENCH_FIGURE_COUNT; i++) {
        figures->value[i] = (double)NAN;
    }
}

static double
seconds_between(uint64_t from_ns, uint64_t to_ns)
{
    return to_ns > from_ns ? (double)(to_ns - from_ns) / 1e9 : 0.0;
}

/* Nothing a second if no time has passed. */
static double
per_second(double amount, double seconds)
{
    return seconds > 0.0 ? amount / seconds : (double)NAN;
}

static void
fill_published(double *value, const struct bench *bench)
{
    const struct bench_plan *plan = bench->plan;
    const struct bench_counts *counts = &bench->counts;
    const double seconds = seconds_between(counts->start_ns, counts->sent_ns);
    const double per_s = per_second((double)counts->published, seconds);

    value[BENCH_FIGURE_published] = (double)counts->published;
    value[BENCH_FIGURE_published_per_s] = per_s;
    value[BENCH_FIGURE_published_bytes_per_s] =
        per_s * (double)plan->payload_bytes;
    value[BENCH_FIGURE_refused] = (double)counts->refused;
    if (plan->mode == BENCH_REQUEST) {
        value[BENCH_FIGURE_failed] = (double)counts->failed;
    } else if (plan->acknowledged) {
        value[BENCH_FIGURE_acknowledged] = (double)counts->acknowledged;
        value[BENCH_FIGURE_matched] = (double)counts->matched;
        value[BENCH_FIGURE_queue_refused] = (double)counts->queue_refused;
    }
    if (plan->rate != 0) {
        value[BENCH_FIGURE_unsent] = (double)counts->unsent;
        value[BENCH_FIGURE_late_p99_ns] =
            (double)histogram_percentile(&counts->late, 99000);
        value[BENCH_FIGURE_late_max_ns] = (double)counts->late.max;
    }
}

static void
fill_delivered(double *value, const struct bench_counts *counts)
{
    const double seconds =
        seconds_between(counts->start_ns, counts->arrived_ns);

    value[BENCH_FIGURE_delivered] = (double)counts->delivered;
    value[BENCH_FIGURE_delivered_per_s] =
        per_second((double)counts->delivered, seconds);
    value[BENCH_FIGURE_delivered_bytes_per_s] =
        per_second((double)counts->delivered_bytes, seconds);
    value[BENCH_FIGURE_lost] = (double)counts->lost;
    value[BENCH_FIGURE_gaps] = (double)counts->gaps;
    value[BENCH_FIGURE_difference] = (double)counts->difference;
}

/* The eight figures of a histogram, which stand together in this order. */
static void
fill_histogram(double *value, const struct histogram *histogram)
{
    static const uint32_t shares[] = {50000, 90000, 99000, 99900, 99990};

    if (histogram->count == 0) {
        return;
    }
    *value++ = (double)histogram->min;
    *value++ = floor(histogram_mean(histogram) + 0.5);
    for (size_t i = 0; i < sizeof shares / sizeof shares[0]; i++) {
        *value++ = (double)histogram_percentile(histogram, shares[i]);
    }
    *value = (double)histogram->max;
}

_Static_assert(
    BENCH_FIGURE_latency_max_ns == BENCH_FIGURE_latency_min_ns + 7 &&
        BENCH_FIGURE_ack_latency_max_ns == BENCH_FIGURE_ack_latency_min_ns + 7,
    "fill_histogram() counts on it");

void
bench_figures_make(struct bench_figures *figures, const struct bench *bench)
{
    const struct bench_counts *counts = &bench->counts;
    const uint64_t end_ns = counts->arrived_ns > counts->sent_ns
                                ? counts->arrived_ns
                                : counts->sent_ns;

    bench_figures_init(figures);
    figures->value[BENCH_FIGURE_elapsed_s] =
        seconds_between(counts->start_ns, end_ns);
    figures->value[BENCH_FIGURE_bench_cpu_s] = counts->cpu_s;
    if (bench_mode_publishes(bench->plan->mode)) {
        fill_published(figures->value, bench);
    }
    if (bench_mode_subscribes(bench->plan->mode)) {
        fill_delivered(figures->value, counts);
    }
    fill_histogram(
        &figures->value[BENCH_FIGURE_latency_min_ns], &counts->latency);
    fill_histogram(
        &figures->value[BENCH_FIGURE_ack_latency_min_ns], &counts->ack_latency);
}
