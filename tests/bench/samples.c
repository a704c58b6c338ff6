/* SPDX-License-Identifier: MIT
 *
 * How long single messages took. See samples.h. */
#include "samples.h"

#include "measure.h"

#include <stdlib.h>

#define SAMPLES_MAX (4u * 1024u * 1024u)

void
samples_add(struct samples *samples, uint64_t ns)
{
    if (samples->ns == NULL) {
        samples->ns = allocate(SAMPLES_MAX * sizeof(*samples->ns));
    }
    if (samples->count < SAMPLES_MAX) {
        samples->ns[samples->count++] =
            ns < UINT32_MAX ? (uint32_t)ns : UINT32_MAX;
    }
}

void
samples_fini(struct samples *samples)
{
    free(samples->ns);
    *samples = (struct samples){0};
}

static int
compare_times(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a;
    uint32_t y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

void
samples_sort(struct samples *samples)
{
    if (samples->count == 0) {
        give_up("no time for a single message");
    }
    qsort(samples->ns, samples->count, sizeof(*samples->ns), compare_times);
}

double
samples_us(const struct samples *samples, unsigned per_mille)
{
    size_t at = samples->count * per_mille / 1000;
    at = at < samples->count ? at : samples->count - 1;
    return samples->ns[at] / 1e3;
}
