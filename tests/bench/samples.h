/* SPDX-License-Identifier: MIT
 *
 * Times of single messages, and what so many of them stay below. */
#ifndef BROKER_BENCH_SAMPLES_H
#define BROKER_BENCH_SAMPLES_H

#include <stddef.h>
#include <stdint.h>

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

#endif
