/* SPDX-License-Identifier: MIT
 *
 * See reconnect.h.
 */
#include "reconnect.h"

#define US_PER_MS UINT64_C(1000)

void
reconnect_init(
    struct reconnect *reconnect, const struct reconnect_config *config)
{
    *reconnect = (struct reconnect){
        .config = *config,
        .random = config->seed | 1, /* the generator must not be at 0 */
        .doublings = 1,
    };
}

/* xorshift64*: enough to spread clients, and the same on every machine. */
static uint64_t
random_next(struct reconnect *reconnect)
{
    uint64_t x = reconnect->random;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    reconnect->random = x;
    return x * UINT64_C(0x2545F4914F6CDD1D);
}

/* Up to bound_us, both ends included. */
static uint64_t
random_below(struct reconnect *reconnect, uint64_t bound_us)
{
    return random_next(reconnect) % (bound_us + 1);
}

static uint64_t
bound_us(const struct reconnect *reconnect)
{
    uint64_t ms = reconnect->config.min_ms;
    for (uint32_t i = 1;
         i < reconnect->doublings && ms < reconnect->config.max_ms; i++) {
        ms *= 2;
    }
    if (ms > reconnect->config.max_ms) {
        ms = reconnect->config.max_ms;
    }
    return ms * US_PER_MS;
}

/* Begin another round, after the wait that is due. */
static void
next_round(struct reconnect *reconnect, uint64_t now_us)
{
    uint64_t wait_us = 0;
    if (reconnect->doublings > 0) {
        wait_us = random_below(reconnect, bound_us(reconnect));
    }
    if (reconnect->retry_after_ms > 0) {
        /* Not sooner; and not all clients in the same instant. */
        uint64_t advice_us = reconnect->retry_after_ms * US_PER_MS;
        if (wait_us < advice_us) {
            wait_us = advice_us + random_below(reconnect,
                                      reconnect->config.min_ms * US_PER_MS);
        }
    }
    reconnect->doublings++;
    reconnect->retry_after_ms = 0;
    reconnect->address = 0;
    reconnect->next_us = now_us + wait_us;
}

static void
take_advice(struct reconnect *reconnect, uint32_t retry_after_ms)
{
    if (reconnect->retry_after_ms < retry_after_ms) {
        reconnect->retry_after_ms = retry_after_ms;
    }
}

bool
reconnect_failed(
    struct reconnect *reconnect, uint64_t now_us, uint32_t retry_after_ms)
{
    take_advice(reconnect, retry_after_ms);
    reconnect->address++;
    if (reconnect->address < reconnect->config.address_count) {
        reconnect->next_us = now_us;
        return true;
    }
    reconnect->failures++;
    uint32_t limit = reconnect->ever_opened
                         ? reconnect->config.attempts
                         : reconnect->config.connect_attempts;
    if (limit != 0 && reconnect->failures >= limit) {
        return false;
    }
    next_round(reconnect, now_us);
    return true;
}

void
reconnect_opened(struct reconnect *reconnect, uint64_t now_us)
{
    if (!reconnect->ever_opened) {
        reconnect->doublings = 0;
    }
    reconnect->ever_opened = true;
    reconnect->failures = 0;
    reconnect->opened_us = now_us;
    reconnect->retry_after_ms = 0;
}

bool
reconnect_lost(
    struct reconnect *reconnect, uint64_t now_us, uint32_t retry_after_ms)
{
    if (!reconnect->config.enabled) {
        return false;
    }
    take_advice(reconnect, retry_after_ms);
    if (now_us - reconnect->opened_us >= reconnect->config.max_ms * US_PER_MS) {
        reconnect->doublings = 0;
    }
    next_round(reconnect, now_us);
    return true;
}

bool
reconnect_is_new_round(const struct reconnect *reconnect)
{
    return reconnect->address == 0;
}
