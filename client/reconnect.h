/* SPDX-License-Identifier: MIT
 *
 * When to try which address next: backoff with full jitter, limits, and the
 * advice of the broker. Pure: no clock, no sockets; randomness comes from a
 * seed. Not thread-safe.
 *
 * A round tries every address once, in order, without waiting in between. After
 * a failed round it waits a random time between 0 and a bound that doubles from
 * min_ms to max_ms. A connection that was lost is tried again at once, and if
 * it held for less than max_ms the bound goes on from where it was: a broker
 * that accepts and drops is not hammered.
 */
#ifndef BROKER_CLIENT_RECONNECT_H
#define BROKER_CLIENT_RECONNECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct reconnect_config {
    bool enabled;              /* after a lost connection */
    uint32_t min_ms, max_ms;   /* of the bound; 0 < min_ms <= max_ms */
    uint32_t attempts;         /* failed rounds in a row; 0: no limit */
    uint32_t connect_attempts; /* the same, before the first connection */
    size_t address_count;
    uint64_t seed;
};

struct reconnect {
    struct reconnect_config config;
    uint64_t random;
    size_t address;     /* the one to try next */
    uint32_t failures;  /* rounds in a row */
    uint32_t doublings; /* 0: the next wait is none */
    bool ever_opened;
    uint64_t opened_us;
    uint32_t retry_after_ms; /* advice that came in this round */
    uint64_t next_us;        /* when to try next */
};

/* The first try is due at once. */
void reconnect_init(
    struct reconnect *reconnect, const struct reconnect_config *config);

/* The address did not work. True: go on with `address` at next_us. False: the
 * limit is reached. retry_after_ms is the broker's advice, or 0. */
bool reconnect_failed(
    struct reconnect *reconnect, uint64_t now_us, uint32_t retry_after_ms);

/* WELCOME came. */
void reconnect_opened(struct reconnect *reconnect, uint64_t now_us);

/* The connection was lost after WELCOME. Result as for failed. */
bool reconnect_lost(
    struct reconnect *reconnect, uint64_t now_us, uint32_t retry_after_ms);

/* Is the address to be tried next the first of its round? */
bool reconnect_is_new_round(const struct reconnect *reconnect);

#endif
