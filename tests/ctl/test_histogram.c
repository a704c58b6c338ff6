/* SPDX-License-Identifier: MIT
 *
 * Histograms against what they stand for: the sorted array of all values.
 */
#include <criterion/criterion.h>

#include <math.h>
#include <stdint.h>
#include <stdlib.h>

#include "histogram.h"

#define VALUES 20000

static struct histogram histogram, other;
static uint64_t values[VALUES];

/* xorshift64: the same numbers every time. */
static uint64_t
next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static int
compare_values(const void *a, const void *b)
{
    const uint64_t left = *(const uint64_t *)a;
    const uint64_t right = *(const uint64_t *)b;

    return (left > right) - (left < right);
}

/* Values of every size up to `bits`, small ones as often as large ones. */
static void
fill_values(unsigned bits, uint64_t seed)
{
    for (size_t i = 0; i < VALUES; i++) {
        const uint64_t size = next_random(&seed) % (bits + 1);

        values[i] = next_random(&seed) & ((UINT64_C(1) << size) - 1);
    }
}

/* The value in the sorted array that a share of all does not exceed. */
static uint64_t
exact_percentile(size_t count, uint64_t thousandths)
{
    const uint64_t at = (count * thousandths + 99999) / 100000;

    return values[at > 0 ? at - 1 : 0];
}

static void
expect_percentiles(size_t count)
{
    static const uint32_t shares[] = {
        0, 1, 1000, 25000, 50000, 90000, 99000, 99900, 99990, 99999, 100000};

    qsort(values, count, sizeof values[0], compare_values);
    for (size_t i = 0; i < sizeof shares / sizeof shares[0]; i++) {
        const uint64_t exact = exact_percentile(count, shares[i]);
        const uint64_t found = histogram_percentile(&histogram, shares[i]);

        cr_assert_geq(found, exact, "share %u: %llu is below %llu", shares[i],
            (unsigned long long)found, (unsigned long long)exact);
        cr_assert_leq(found - exact, exact / 1000,
            "share %u: %llu is not within a thousandth of %llu", shares[i],
            (unsigned long long)found, (unsigned long long)exact);
    }
    cr_assert_eq(histogram.min, values[0]);
    cr_assert_eq(histogram.max, values[count - 1]);
    cr_assert_eq(histogram_percentile(&histogram, 100000), values[count - 1]);
}

static void
expect_mean(size_t count)
{
    double sum = 0.0;

    for (size_t i = 0; i < count; i++) {
        sum += (double)values[i];
    }
    cr_assert_float_eq(histogram_mean(&histogram), sum / (double)count,
        sum / (double)count * 1e-9);
}

Test(histogram, as_the_sorted_array)
{
    for (unsigned bits = 1; bits <= HISTOGRAM_VALUE_BITS; bits++) {
        histogram_reset(&histogram);
        fill_values(bits, bits * UINT64_C(0x9e3779b97f4a7c15));
        for (size_t i = 0; i < VALUES; i++) {
            histogram_record(&histogram, values[i]);
        }
        cr_assert_eq(histogram.count, VALUES);
        expect_mean(VALUES);
        expect_percentiles(VALUES);
    }
}

Test(histogram, few_values)
{
    uint64_t seed = 42;

    for (size_t count = 1; count <= 200; count++) {
        histogram_reset(&histogram);
        for (size_t i = 0; i < count; i++) {
            values[i] = next_random(&seed) % 1000000;
            histogram_record(&histogram, values[i]);
        }
        expect_percentiles(count);
    }
}

Test(histogram, nothing)
{
    histogram_reset(&histogram);
    cr_assert_eq(histogram_percentile(&histogram, 50000), 0);
    cr_assert_eq(histogram_percentile(&histogram, 100000), 0);
    cr_assert_float_eq(histogram_mean(&histogram), 0.0, 0.0);
}

/* Around every power of two, where one bucket ends and the next begins. */
Test(histogram, edges_of_buckets)
{
    for (unsigned bit = 0; bit < HISTOGRAM_VALUE_BITS; bit++) {
        for (int step = -2; step <= 2; step++) {
            const uint64_t value = (UINT64_C(1) << bit) + (uint64_t)step;

            if (value > HISTOGRAM_VALUE_MAX) {
                continue;
            }
            histogram_reset(&histogram);
            values[0] = value;
            histogram_record(&histogram, value);
            /* Without this one, max would hide what the cell says. */
            values[1] = HISTOGRAM_VALUE_MAX;
            histogram_record(&histogram, HISTOGRAM_VALUE_MAX);
            expect_percentiles(2);
        }
    }
}

/* Up to the number of steps, every value has a cell of its own. */
Test(histogram, small_values_are_exact)
{
    for (uint64_t value = 0; value < HISTOGRAM_STEPS; value++) {
        histogram_reset(&histogram);
        histogram_record(&histogram, value);
        histogram_record(&histogram, HISTOGRAM_VALUE_MAX);
        cr_assert_eq(histogram_percentile(&histogram, 50000), value);
    }
}

Test(histogram, what_is_too_large)
{
    histogram_reset(&histogram);
    histogram_record(&histogram, 5);
    histogram_record(&histogram, UINT64_MAX);
    cr_assert_eq(histogram.count, 2);
    cr_assert_eq(histogram.max, UINT64_MAX);
    cr_assert_eq(histogram_percentile(&histogram, 50000), 5);
    cr_assert_eq(histogram_percentile(&histogram, 100000), UINT64_MAX);
}

Test(histogram, merging_is_recording_both)
{
    histogram_reset(&histogram);
    histogram_reset(&other);
    fill_values(40, 7);
    for (size_t i = 0; i < VALUES; i++) {
        histogram_record(i % 3 == 0 ? &histogram : &other, values[i]);
    }
    histogram_merge(&histogram, &other);
    cr_assert_eq(histogram.count, VALUES);
    expect_mean(VALUES);
    expect_percentiles(VALUES);
}

Test(histogram, merging_with_nothing)
{
    histogram_reset(&histogram);
    histogram_reset(&other);
    histogram_merge(&histogram, &other);
    cr_assert_eq(histogram.count, 0);
    histogram_record(&other, 7);
    histogram_merge(&histogram, &other);
    cr_assert_eq(histogram.min, 7);
    cr_assert_eq(histogram.max, 7);
    histogram_reset(&other);
    histogram_merge(&histogram, &other);
    cr_assert_eq(histogram.count, 1);
    cr_assert_eq(histogram.min, 7);
}

/* The share of a count near the end of 64 bits must not wrap. */
Test(histogram, very_many_values)
{
    histogram_reset(&histogram);
    histogram_record(&histogram, 10);
    histogram_record(&histogram, 20);
    histogram.cells[10] += UINT64_C(1) << 60;
    histogram.count += UINT64_C(1) << 60;
    cr_assert_eq(histogram_percentile(&histogram, 99999), 10);
    cr_assert_eq(histogram_percentile(&histogram, 100000), 20);
}
