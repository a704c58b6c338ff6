/* SPDX-License-Identifier: MIT
 *
 * How often something may happen: a rate with a burst of one second, kept as
 * the one time at which everything that was taken so far would have happened at
 * that rate (the virtual scheduling form of GCRA, ITU-T I.371). What is over
 * the rate is not refused: the caller learns how long to wait.
 *
 * Any number of threads may take from the same meter. All zero is a new one.
 */
#ifndef BROKER_CORE_METER_H
#define BROKER_CORE_METER_H

#include <stdatomic.h>
#include <stdint.h>

#define METER_BURST_NS UINT64_C(1000000000)
#define METER_WAIT_MAX UINT64_C(3600000) /* milliseconds */

struct meter {
    _Atomic uint64_t taken_ns;
};

/* Take `count`, at most 2^32, at `rate` a second. Returns the milliseconds to
 * wait before taking more; 0: none. A rate of 0 is no limit. */
static inline uint64_t
meter_take(struct meter *meter, uint64_t now_ms, uint64_t rate, uint64_t count)
{
    if (rate == 0) {
        return 0;
    }
    uint64_t now_ns = now_ms * 1000000;
    uint64_t cost_ns = count * UINT64_C(1000000000) / rate;
    uint64_t before =
        atomic_load_explicit(&meter->taken_ns, memory_order_relaxed);
    uint64_t after;
    do {
        after = (before > now_ns ? before : now_ns) + cost_ns;
    } while (!atomic_compare_exchange_weak_explicit(&meter->taken_ns, &before,
        after, memory_order_relaxed, memory_order_relaxed));
    if (after <= now_ns + METER_BURST_NS) {
        return 0;
    }
    uint64_t wait_ms = (after - now_ns - METER_BURST_NS) / 1000000 + 1;
    return wait_ms < METER_WAIT_MAX ? wait_ms : METER_WAIT_MAX;
}

#endif
