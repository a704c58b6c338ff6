/* SPDX-License-Identifier: MIT
 *
 * What has to be fetched again: for another delivery, or as a dead letter; see
 * consumer.h. */
#include "consumer_internal.h"

bool
consumer_next_redelivery(
    struct consumer *consumer, uint64_t now_ms, uint64_t *sequence)
{
    struct pending *pending = &consumer->pending;
    uint64_t clock_ms = consumer_clock(consumer, now_ms);
    struct pending_entry *entry = pending_first_waiting(pending);
    if (entry == NULL || entry->time_ms > clock_ms ||
        consumer->room <= pending->of_state[PENDING_FETCHING]) {
        return false;
    }
    pending_move(pending, entry, PENDING_FETCHING);
    *sequence = entry->sequence;
    return true;
}

/* It has not seen this one, or has given it back. */
static void
give_anew(struct consumer_attachment *attachment, struct pending_entry *entry)
{
    entry->holder = attachment->index;
    entry->given = attachment->given++;
    if (entry->sequence < attachment->high) {
        attachment->again = attachment->high;
    } else {
        attachment->high = entry->sequence;
    }
}

struct consumer_attachment *
consumer_redeliver(struct consumer *consumer, uint64_t sequence,
    uint64_t now_ms, uint32_t *deliveries)
{
    struct pending *pending = &consumer->pending;
    uint64_t clock_ms = consumer_clock(consumer, now_ms);
    struct pending_entry *entry =
        pending_get(pending, sequence, PENDING_FETCHING);
    uint32_t share;
    struct consumer_attachment *attachment =
        entry == NULL ? NULL : consumer_pick(consumer, 1, &share);
    if (attachment == NULL) {
        consumer->count[CONSUMER_LOST_RACE]++;
        if (entry != NULL) {
            pending_move(pending, entry, PENDING_WAITING);
        }
        return NULL;
    }
    if (entry->holder != attachment->index) {
        give_anew(attachment, entry);
    }
    entry->deliveries += entry->deliveries < UINT32_MAX;
    entry->time_ms = clock_ms;
    pending_move(pending, entry, PENDING_OUTSTANDING);
    consumer_hold(attachment, consumer, 1);
    if (sequence < attachment->low) {
        attachment->low = sequence;
    }
    consumer->count[CONSUMER_REDELIVERED]++;
    consumer->dirty = true;
    *deliveries = entry->deliveries;
    return attachment;
}

void
consumer_fetch_failed(struct consumer *consumer, uint64_t sequence,
    uint64_t delay_ms, uint64_t now_ms)
{
    struct pending *pending = &consumer->pending;
    uint64_t clock_ms = consumer_clock(consumer, now_ms);
    struct pending_entry *entry =
        pending_get(pending, sequence, PENDING_FETCHING);
    if (entry != NULL) {
        consumer->count[CONSUMER_FETCH_FAILURES]++;
        entry->time_ms = later(clock_ms, delay_ms);
        pending_move(pending, entry, PENDING_WAITING);
    }
}

void
consumer_gone(
    struct consumer *consumer, uint64_t sequence, enum consumer_skip reason)
{
    struct pending *pending = &consumer->pending;
    struct pending_entry *entry =
        pending_get(pending, sequence, PENDING_FETCHING);
    if (entry == NULL) {
        entry = pending_get(pending, sequence, PENDING_STORING);
    }
    if (entry != NULL) {
        consumer_finish(consumer, entry,
            (enum consumer_counter)(CONSUMER_GONE + (uint32_t)reason));
        pending_trim(pending);
    }
}

/* ---- dead letters -------------------------------------------------------- */

bool
consumer_next_dead(struct consumer *consumer, uint64_t now_ms,
    uint64_t *sequence, uint32_t *deliveries)
{
    uint64_t clock_ms = consumer_clock(consumer, now_ms);
    struct pending_entry *entry = pending_first_dead(&consumer->pending);
    if (entry == NULL ||
        (consumer->dead_failed && consumer->dead_due_ms > clock_ms)) {
        return false;
    }
    pending_move(&consumer->pending, entry, PENDING_STORING);
    *sequence = entry->sequence;
    *deliveries = entry->deliveries;
    return true;
}

void
consumer_dead_done(struct consumer *consumer, uint64_t sequence)
{
    struct pending *pending = &consumer->pending;
    struct pending_entry *entry =
        pending_get(pending, sequence, PENDING_STORING);
    consumer->dead_failed = false;
    if (entry != NULL) {
        consumer_finish(consumer, entry, CONSUMER_DEAD_LETTERED);
        pending_trim(pending);
    }
}

void
consumer_dead_failed(
    struct consumer *consumer, uint64_t sequence, uint64_t now_ms)
{
    struct pending *pending = &consumer->pending;
    uint64_t clock_ms = consumer_clock(consumer, now_ms);
    struct pending_entry *entry =
        pending_get(pending, sequence, PENDING_STORING);
    if (entry != NULL) {
        consumer->count[CONSUMER_DEAD_FAILURES]++;
        consumer->dead_failed = true;
        consumer->dead_due_ms = later(clock_ms, CONSUMER_DEAD_RETRY_MS);
        pending_move(pending, entry, PENDING_DEAD);
    }
}
