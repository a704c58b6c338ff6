/* SPDX-License-Identifier: MIT
 *
 * Histograms; see histogram.h.
 *
 * Bucket 0 has STEPS cells of width 1. Bucket b > 0 has values with 11 + b
 * significant bits in STEPS / 2 cells of width 2^b: the upper half of the
 * steps, as the lower half belongs to the bucket before. So cell number
 * b * STEPS / 2 + (value >> b) serves all of them without a gap.
 */
#include "histogram.h"

#include <string.h>

#define HALF (HISTOGRAM_STEPS / 2)

_Static_assert(HISTOGRAM_SIGNIFICANT_DIGITS == 3 && HALF >= 1000,
    "half of the steps must keep three digits");

void
histogram_reset(struct histogram *histogram)
{
    memset(histogram, 0, sizeof *histogram);
}

static unsigned
bucket_of(uint64_t value)
{
    /* The lowest bits are set, so that there is a highest one, and bucket 0 has
     * all values below STEPS. */
    const unsigned highest_bit =
        63u - (unsigned)__builtin_clzll(value | (HISTOGRAM_STEPS - 1));

    return highest_bit - (HISTOGRAM_STEP_BITS - 1);
}

static size_t
cell_of(uint64_t value)
{
    const unsigned bucket = bucket_of(value);

    return (size_t)(bucket * HALF + (value >> bucket));
}

/* The largest value that is counted in this cell. */
static uint64_t
cell_top(size_t cell)
{
    const uint64_t bucket = cell < HISTOGRAM_STEPS ? 0 : cell / HALF - 1;

    return ((cell - bucket * HALF + 1) << bucket) - 1;
}

void
histogram_record(struct histogram *histogram, uint64_t value)
{
    const uint64_t kept =
        value < HISTOGRAM_VALUE_MAX ? value : HISTOGRAM_VALUE_MAX;

    histogram->cells[cell_of(kept)]++;
    if (value > histogram->max) {
        histogram->max = value;
    }
    if (histogram->count == 0 || value < histogram->min) {
        histogram->min = value;
    }
    histogram->count++;
    histogram->sum += (double)value;
}

void
histogram_merge(struct histogram *histogram, const struct histogram *other)
{
    if (other->count == 0) {
        return;
    }
    if (other->max > histogram->max) {
        histogram->max = other->max;
    }
    if (histogram->count == 0 || other->min < histogram->min) {
        histogram->min = other->min;
    }
    for (size_t i = 0; i < HISTOGRAM_CELLS; i++) {
        histogram->cells[i] += other->cells[i];
    }
    histogram->count += other->count;
    histogram->sum += other->sum;
}

/* How many values make up the share, rounded up, at least one. Divided first,
 * so that no count is too large. */
static uint64_t
share_of(uint64_t count, uint32_t thousandths)
{
    const uint64_t whole = UINT64_C(100000);
    const uint64_t share = count / whole * thousandths +
                           (count % whole * thousandths + whole - 1) / whole;

    return share > 0 ? share : 1;
}

uint64_t
histogram_percentile(const struct histogram *histogram, uint32_t thousandths)
{
    const uint64_t wanted = share_of(histogram->count, thousandths);
    uint64_t seen = 0;

    for (size_t i = 0; i < HISTOGRAM_CELLS; i++) {
        seen += histogram->cells[i];
        if (seen >= wanted) {
            const uint64_t top = cell_top(i);

            return i + 1 < HISTOGRAM_CELLS && top < histogram->max
                       ? top
                       : histogram->max;
        }
    }
    return 0;
}

double
histogram_mean(const struct histogram *histogram)
{
    return histogram->count == 0 ? 0.0
                                 : histogram->sum / (double)histogram->count;
}
