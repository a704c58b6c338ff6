/* SPDX-License-Identifier: MIT
 *
 * One consumer for a unit test; see consumer_rig.h. */
#include "consumer_rig.h"

#include <stdlib.h>

struct consumer_settings
rig_settings(void)
{
    static const uint8_t dead[] = "dead";
    return (struct consumer_settings){
        .start = 1,
        .mode = CONSUMER_ACK_EACH,
        .window = 100,
        .ack_deadline_ms = 1000,
        .dead_topic = {dead, 4},
    };
}

void
rig_init(struct rig *rig, const struct consumer_settings *settings)
{
    rig->settings = settings == NULL ? rig_settings() : *settings;
    rig->now_ms = 5000;
    rig->consumer = consumer_new(&rig->settings);
    cr_assert_not_null(rig->consumer);
    rig_check(rig);
}

void
rig_fini(struct rig *rig)
{
    rig_check(rig);
    consumer_free(rig->consumer);
}

void
rig_check(const struct rig *rig)
{
    const char *wrong = consumer_check(rig->consumer);
    cr_assert_null(wrong, "%s", wrong);
}

struct consumer_attachment *
rig_attach(struct rig *rig, uint32_t window)
{
    struct consumer_attachment *attachment =
        consumer_attach(rig->consumer, rig, window);
    cr_assert_not_null(attachment);
    cr_assert_eq(consumer_owner(attachment), rig);
    rig_check(rig);
    return attachment;
}

void
rig_detach(struct rig *rig, struct consumer_attachment *attachment)
{
    consumer_detach(rig->consumer, attachment, rig->now_ms);
    rig_check(rig);
}

uint64_t
rig_offer(struct rig *rig, uint32_t n, struct consumer_attachment *to)
{
    struct consumer_attachment *who = NULL;
    uint64_t first = consumer_next_sequence(rig->consumer);
    uint32_t taken = consumer_offer(rig->consumer, first, n, rig->now_ms, &who);
    cr_assert_eq(taken, n);
    cr_assert_eq(who, to);
    cr_assert_eq(consumer_next_sequence(rig->consumer), first + n);
    rig_check(rig);
    return first;
}

void
rig_offer_none(struct rig *rig)
{
    struct consumer_attachment *who = NULL;
    uint64_t first = consumer_next_sequence(rig->consumer);
    cr_assert_eq(consumer_offer(rig->consumer, first, 1, rig->now_ms, &who), 0);
    cr_assert_null(who);
    rig_check(rig);
}

void
rig_redeliver(struct rig *rig, uint64_t sequence,
    struct consumer_attachment *to, uint32_t deliveries)
{
    uint64_t due = 0;
    uint32_t count = 0;
    cr_assert(consumer_next_redelivery(rig->consumer, rig->now_ms, &due));
    cr_assert_eq(due, sequence);
    rig_check(rig);
    cr_assert_eq(
        consumer_redeliver(rig->consumer, due, rig->now_ms, &count), to);
    cr_assert_eq(count, deliveries);
    rig_check(rig);
}

void
rig_redeliver_none(struct rig *rig)
{
    uint64_t due = 0;
    cr_assert_not(consumer_next_redelivery(rig->consumer, rig->now_ms, &due));
    cr_assert_eq(due, 0);
    rig_check(rig);
}

void
rig_dead(struct rig *rig, uint64_t sequence, uint32_t deliveries)
{
    uint64_t dead = 0;
    uint32_t count = 0;
    cr_assert(consumer_next_dead(rig->consumer, rig->now_ms, &dead, &count));
    cr_assert_eq(dead, sequence);
    cr_assert_eq(count, deliveries);
    rig_check(rig);
}

void
rig_dead_none(struct rig *rig)
{
    uint64_t dead = 0;
    uint32_t count = 0;
    cr_assert_not(
        consumer_next_dead(rig->consumer, rig->now_ms, &dead, &count));
    rig_check(rig);
}

void
rig_pass(struct rig *rig, uint64_t ms, uint32_t deadlines)
{
    rig->now_ms += ms;
    cr_assert_eq(consumer_tick(rig->consumer, rig->now_ms), deadlines);
    rig_check(rig);
}

struct consumer_info
rig_info(const struct rig *rig)
{
    struct consumer_info info;
    consumer_get_info(rig->consumer, &info);
    return info;
}

uint64_t
rig_count(const struct rig *rig, enum consumer_counter counter)
{
    return rig_info(rig).count[counter];
}

void
rig_restart(struct rig *rig)
{
    size_t size = consumer_save_size(rig->consumer);
    uint8_t *bytes = malloc(size);
    cr_assert_not_null(bytes);
    size_t len = consumer_save(rig->consumer, NULL, 0, bytes, size);
    consumer_free(rig->consumer);
    rig->consumer = consumer_new(&rig->settings);
    cr_assert_not_null(rig->consumer);
    cr_assert_eq(consumer_load(rig->consumer, bytes, len), CONSUMER_LOADED);
    free(bytes);
    rig_check(rig);
}
