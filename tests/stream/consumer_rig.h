/* SPDX-License-Identifier: MIT
 *
 * One consumer for a unit test, with short words for what is done to it. Every
 * word checks the consumer afterwards.
 */
#ifndef BROKER_TESTS_STREAM_CONSUMER_RIG_H
#define BROKER_TESTS_STREAM_CONSUMER_RIG_H

#include "consumer_check.h"

#include <criterion/criterion.h>

struct rig {
    struct consumer_settings settings;
    struct consumer *consumer;
    uint64_t now_ms;
};

/* Mode each, window 100, a deadline of 1,000 ms, no back-off, no maximum, dead
 * letters to "dead", at time 5,000. */
struct consumer_settings rig_settings(void);
void rig_init(struct rig *rig, const struct consumer_settings *settings);
void rig_fini(struct rig *rig);
void rig_check(const struct rig *rig);

struct consumer_attachment *rig_attach(struct rig *rig, uint32_t window);
void rig_detach(struct rig *rig, struct consumer_attachment *attachment);
/* Offers `n`, all of which `to` must take. Returns the first. */
uint64_t rig_offer(struct rig *rig, uint32_t n, struct consumer_attachment *to);
/* Nobody takes another one. */
void rig_offer_none(struct rig *rig);
/* This one is due, and goes to `to` with this delivery count. */
void rig_redeliver(struct rig *rig, uint64_t sequence,
    struct consumer_attachment *to, uint32_t deliveries);
/* Nothing is due. */
void rig_redeliver_none(struct rig *rig);
/* This one is the next to be dead-lettered; it is being stored now. */
void rig_dead(struct rig *rig, uint64_t sequence, uint32_t deliveries);
void rig_dead_none(struct rig *rig);
/* `ms` pass, and the consumer is told; so many deadlines passed. */
void rig_pass(struct rig *rig, uint64_t ms, uint32_t deadlines);
struct consumer_info rig_info(const struct rig *rig);
uint64_t rig_count(const struct rig *rig, enum consumer_counter counter);
/* Saved, freed, and loaded into a new one with the same settings. */
void rig_restart(struct rig *rig);

#endif
