/* SPDX-License-Identifier: MIT
 *
 * Why nothing is being delivered; see consumer.h. */
#include "consumer_internal.h"

struct list {
    struct consumer_reason *reasons;
    size_t count, max;
};

static void
add(struct list *list, struct consumer_reason reason)
{
    if (list->count < list->max) {
        list->reasons[list->count++] = reason;
    }
}

static uint64_t
until(uint64_t clock_ms, uint64_t time_ms)
{
    return time_ms > clock_ms ? time_ms - clock_ms : 0;
}

static void
explain_attachment(const struct consumer *consumer,
    const struct consumer_attachment *attachment, uint64_t clock_ms,
    struct list *list)
{
    if (attachment->window == 0) {
        add(list, (struct consumer_reason){.why = attachment->stands_by
                                                      ? CONSUMER_WHY_STANDBY
                                                      : CONSUMER_WHY_PAUSED,
                      .owner = attachment->owner});
        return;
    }
    if (consumer->settings.mode == CONSUMER_ACK_NONE ||
        attachment->outstanding < attachment->window) {
        return;
    }
    /* The list begins with what has been outstanding for longest. */
    const struct pending *pending = &consumer->pending;
    uint32_t slot = pending->outstanding.first;
    while (pending->ring[slot].holder != attachment->index) {
        slot = pending->ring[slot].after;
    }
    const struct pending_entry *oldest = &pending->ring[slot];
    add(list, (struct consumer_reason){.why = CONSUMER_WHY_FULL,
                  .owner = attachment->owner,
                  .sequence = oldest->sequence,
                  .messages = attachment->outstanding,
                  .limit = attachment->window,
                  .for_ms = clock_ms - oldest->time_ms});
}

static void
explain_attachments(
    const struct consumer *consumer, uint64_t clock_ms, struct list *list)
{
    if (consumer->attachment_count == 0) {
        add(list, (struct consumer_reason){.why = CONSUMER_WHY_NOBODY});
    }
    for (uint32_t i = 0; i < consumer->attachment_count; i++) {
        if (list->count == list->max) {
            break;
        }
        explain_attachment(consumer, consumer->attachments[i], clock_ms, list);
    }
}

static void
explain_dead(
    const struct consumer *consumer, uint64_t clock_ms, struct list *list)
{
    const struct pending *pending = &consumer->pending;
    const struct pending_entry *first = pending_first_dead(pending);
    uint32_t storing = pending->of_state[PENDING_STORING];
    if (first != NULL && consumer->dead_failed) {
        add(list, (struct consumer_reason){.why = CONSUMER_WHY_DEAD,
                      .sequence = first->sequence,
                      .messages = pending->of_state[PENDING_DEAD],
                      .in_ms = until(clock_ms, consumer->dead_due_ms)});
    } else if (storing > 0 || first != NULL) {
        add(list, (struct consumer_reason){.why = CONSUMER_WHY_STORING,
                      .messages = storing + pending->of_state[PENDING_DEAD]});
    }
}

static void
explain_redelivery(
    const struct consumer *consumer, uint64_t clock_ms, struct list *list)
{
    const struct pending *pending = &consumer->pending;
    const struct pending_entry *first = pending_first_waiting(pending);
    uint32_t fetching = pending->of_state[PENDING_FETCHING];
    if (first != NULL) {
        add(list, (struct consumer_reason){.why = CONSUMER_WHY_WAITING,
                      .sequence = first->sequence,
                      .messages = pending->heap_count,
                      .in_ms = until(clock_ms, first->time_ms)});
    }
    if (fetching > 0) {
        add(list, (struct consumer_reason){
                      .why = CONSUMER_WHY_FETCHING, .messages = fetching});
    }
}

static void
explain_stream(
    const struct consumer *consumer, uint64_t last_seq, struct list *list)
{
    uint64_t filtered =
        consumer->count[CONSUMER_SKIPPED + CONSUMER_SKIP_FILTER];
    if (consumer->count[CONSUMER_OFFERED] == 0 && filtered > 0) {
        add(list, (struct consumer_reason){.why = CONSUMER_WHY_NO_MATCH,
                      .sequence = consumer->next - 1,
                      .messages = filtered});
    }
    if (consumer->next > last_seq) {
        add(list, (struct consumer_reason){
                      .why = CONSUMER_WHY_CAUGHT_UP, .sequence = last_seq});
    } else if (consumer_room(consumer) > 0) {
        add(list, (struct consumer_reason){.why = CONSUMER_WHY_READING,
                      .sequence = consumer->next,
                      .messages = last_seq - consumer->next + 1});
    }
}

size_t
consumer_explain(const struct consumer *consumer, uint64_t last_seq,
    uint64_t now_ms, struct consumer_reason *reasons, size_t max)
{
    const struct pending *pending = &consumer->pending;
    struct list list = {reasons, 0, max};
    uint64_t clock_ms = consumer->clock_ms;
    if (consumer->clock_runs) {
        clock_ms = later(clock_ms, until(consumer->last_now_ms, now_ms));
    }
    /* What stands in the way of all comes before what is of one. */
    if (consumer->memory_failed) {
        add(&list, (struct consumer_reason){.why = CONSUMER_WHY_MEMORY});
    }
    if (consumer->dead_failed) {
        explain_dead(consumer, clock_ms, &list);
    }
    if (consumer->settings.window <= pending->live) {
        add(&list, (struct consumer_reason){.why = CONSUMER_WHY_WINDOW,
                       .messages = pending->live,
                       .limit = consumer->settings.window});
    }
    explain_attachments(consumer, clock_ms, &list);
    if (!consumer->dead_failed) {
        explain_dead(consumer, clock_ms, &list);
    }
    explain_redelivery(consumer, clock_ms, &list);
    explain_stream(consumer, last_seq, &list);
    return list.count;
}
