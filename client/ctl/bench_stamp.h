/* SPDX-License-Identifier: MIT
 *
 * The first bytes of a payload of `brokerctl bench`: when the message should
 * have been sent. The time is CLOCK_MONOTONIC, which processes of one machine
 * share; so the stamp names the machine, and one of another machine, or bytes
 * that are no stamp at all, are not taken for a time.
 */
#ifndef BROKERCTL_BENCH_STAMP_H
#define BROKERCTL_BENCH_STAMP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BENCH_STAMP_BYTES 16

struct bench_stamp {
    uint32_t machine; /* bench_stamp_machine() of the sender */
    bool warmup;      /* sent before the measurement: not to be counted */
    uint64_t due_ns;
};

/* A number for this machine since it was started. */
uint32_t bench_stamp_machine(void);

/* Write it over the first BENCH_STAMP_BYTES of a payload. */
void bench_stamp_write(uint8_t *payload, const struct bench_stamp *stamp);

/* Read it. False: this payload has none. */
bool bench_stamp_read(
    const uint8_t *payload, size_t len, struct bench_stamp *stamp);

#endif
