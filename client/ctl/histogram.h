/* SPDX-License-Identifier: MIT
 *
 * A histogram of times that keeps HISTOGRAM_SIGNIFICANT_DIGITS decimal digits
 * of every value, whatever its size, in a fixed piece of memory: buckets that
 * double in width, each divided evenly, as HdrHistogram has them. A value is
 * found with a shift and an addition. Pure: no clock, no allocation.
 */
#ifndef BROKERCTL_HISTOGRAM_H
#define BROKERCTL_HISTOGRAM_H

#include <stddef.h>
#include <stdint.h>

#define HISTOGRAM_SIGNIFICANT_DIGITS 3

/* Steps that the widest bucket is divided into: the least power of two that is
 * twice 10^digits, because every bucket but the first uses its upper half. */
#define HISTOGRAM_STEP_BITS 11
#define HISTOGRAM_STEPS     (UINT64_C(1) << HISTOGRAM_STEP_BITS)
/* Values up to 2^42 - 1 are told apart: as nanoseconds more than an hour. */
#define HISTOGRAM_VALUE_BITS 42
#define HISTOGRAM_VALUE_MAX  ((UINT64_C(1) << HISTOGRAM_VALUE_BITS) - 1)
#define HISTOGRAM_CELLS                                                        \
    ((size_t)(HISTOGRAM_VALUE_BITS - HISTOGRAM_STEP_BITS + 2) *                \
        (size_t)(HISTOGRAM_STEPS / 2))

/* All zero is an empty histogram. Private but for reading the first three. */
struct histogram {
    uint64_t count;
    uint64_t min, max; /* exact; 0 while count is 0 */
    double sum;
    uint64_t cells[HISTOGRAM_CELLS];
};

void histogram_reset(struct histogram *histogram);

/* Count one value. One above HISTOGRAM_VALUE_MAX is counted as that, but `max`
 * and the mean are right. */
void histogram_record(struct histogram *histogram, uint64_t value);

/* Add everything that was counted in `other`. */
void histogram_merge(
    struct histogram *histogram, const struct histogram *other);

/* The value that is not exceeded by a share of all values, given in thousandths
 * of a percent: 50000 is the median, 99990 the percentile 99.99, 100000 the
 * maximum. The answer is the upper end of a step: never too small, at most one
 * part in a thousand too large, and never above max. 0 if nothing was
 * counted. */
uint64_t histogram_percentile(
    const struct histogram *histogram, uint32_t thousandths);

/* The mean, exact but for rounding; 0 if nothing was counted. */
double histogram_mean(const struct histogram *histogram);

#endif
