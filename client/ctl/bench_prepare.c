/* SPDX-License-Identifier: MIT
 *
 * What `brokerctl bench` needs before it connects: see bench.h.
 */
#include "bench.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#include "bench_stamp.h"

#define BUFFER_BYTES_LEAST ((size_t)1 << 20)
/* Odd, so that the bytes of a payload go through all values. */
#define PAYLOAD_STEP 131u

static bool
make_topics(struct bench *bench)
{
    const struct bench_plan *plan = bench->plan;
    const bool shared = plan->mode == BENCH_PUB || plan->mode == BENCH_SUB;
    char run[16] = "";
    uint32_t random = 0;

    /* A run with both sides has its topics to itself. */
    if (!shared) {
        if (getrandom(&random, sizeof random, 0) != (ssize_t)sizeof random) {
            return false;
        }
        (void)snprintf(run, sizeof run, "/%08" PRIx32, random);
    }
    bench->topics = calloc(plan->topics + 1, sizeof bench->topics[0]);
    for (size_t i = 0; bench->topics != NULL && i < plan->topics; i++) {
        if (asprintf(&bench->topics[i], "%s%s/%zu", plan->prefix, run, i) < 0) {
            bench->topics[i] = NULL;
            return false;
        }
    }
    if (asprintf(&bench->filter, "%s%s/%s", plan->prefix, run,
            plan->topics == 1 && !shared ? "0" : "+") < 0) {
        bench->filter = NULL;
    }
    return bench->topics != NULL && bench->filter != NULL;
}

static bool
make_payload(struct bench *bench)
{
    const size_t len = bench->plan->payload_bytes;

    bench->payload = malloc(len + 1);
    for (size_t i = 0; bench->payload != NULL && i < len; i++) {
        bench->payload[i] = (uint8_t)(i * PAYLOAD_STEP);
    }
    return bench->payload != NULL;
}

bool
bench_prepare(struct bench *bench)
{
    bench->machine = bench_stamp_machine();
    return make_topics(bench) && make_payload(bench);
}

void
bench_release(struct bench *bench)
{
    for (size_t i = 0; bench->topics != NULL && i < bench->plan->topics; i++) {
        free(bench->topics[i]);
    }
    free(bench->topics);
    free(bench->filter);
    free(bench->payload);
    bench_senders_fini(bench);
    bench_receivers_fini(bench);
}

/* The whole window must find room in the library, and not much more, or its
 * buffer would be what is measured. */
size_t
bench_buffer_bytes(const struct bench_plan *plan)
{
    const size_t window = plan->window != 0 ? plan->window : 1;
    size_t bytes = 2 * window * bench_plan_frame_bytes(plan);

    if (plan->mode == BENCH_REQUEST) { /* answers are kept as well */
        bytes *= plan->publishers;
    }
    return bytes < BUFFER_BYTES_LEAST ? BUFFER_BYTES_LEAST : bytes;
}
