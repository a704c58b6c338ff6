/* SPDX-License-Identifier: MIT
 *
 * What must be true of a consumer at any time; see consumer_check.h. */
#include "consumer_check.h"

/* The ring: rising, no hole in front, holders that are there, and as many of
 * each state as is said. */
static const char *
check_ring(const struct consumer *consumer)
{
    const struct pending *pending = &consumer->pending;
    uint32_t of_state[PENDING_STATES] = {0}, live = 0;
    uint64_t before = 0;
    for (uint32_t i = 0; i < pending->count; i++) {
        const struct pending_entry *entry = pending_at(pending, i);
        if (entry->sequence <= before || entry->sequence >= consumer->next) {
            return "sequences do not rise up to the next one";
        }
        before = entry->sequence;
        if (entry->state == PENDING_FINISHED) {
            if (i == 0) {
                return "the ring begins with a hole";
            }
            continue;
        }
        live++;
        of_state[entry->state]++;
        if (entry->deliveries == 0 || entry->stored) {
            return "an entry that was never delivered, or is marked";
        }
        if (entry->state == PENDING_OUTSTANDING
                ? entry->holder >= consumer->attachment_count
                : entry->holder != PENDING_NO_HOLDER &&
                      entry->holder >= consumer->attachment_count) {
            return "a holder that is not there";
        }
    }
    for (int i = PENDING_OUTSTANDING; i < PENDING_STATES; i++) {
        if (of_state[i] != pending->of_state[i]) {
            return "states are counted wrongly";
        }
    }
    return live == pending->live ? NULL : "live entries are counted wrongly";
}

static const char *
check_list(const struct pending *pending, const struct pending_list *list,
    enum pending_state state, bool by_time)
{
    uint32_t count = 0, before = PENDING_NIL;
    uint64_t time_ms = 0;
    for (uint32_t slot = list->first; slot != PENDING_NIL;
         slot = pending->ring[slot].after) {
        const struct pending_entry *entry = &pending->ring[slot];
        if (entry->state != state || entry->before != before ||
            count++ == pending->count) {
            return "a list is broken";
        }
        if (by_time && entry->time_ms < time_ms) {
            return "what is outstanding is not in the order of its times";
        }
        time_ms = entry->time_ms;
        before = slot;
    }
    return count == pending->of_state[state] && list->last == before
               ? NULL
               : "a list has another length";
}

static const char *
check_heap(const struct pending *pending)
{
    if (pending->heap_count != pending->of_state[PENDING_WAITING]) {
        return "the heap has another length";
    }
    for (uint32_t i = 0; i < pending->heap_count; i++) {
        const struct pending_entry *entry = &pending->ring[pending->heap[i]];
        const struct pending_entry *parent =
            &pending->ring[pending->heap[(i + (i == 0) - 1) / 2]];
        if (entry->state != PENDING_WAITING || entry->heap_slot != i) {
            return "the heap holds something else";
        }
        if (parent->time_ms > entry->time_ms ||
            (parent->time_ms == entry->time_ms &&
                parent->sequence > entry->sequence)) {
            return "the heap is not in order";
        }
    }
    return NULL;
}

static const char *
check_attachment(const struct consumer *consumer, uint32_t index)
{
    const struct pending *pending = &consumer->pending;
    const struct consumer_attachment *attachment = consumer->attachments[index];
    uint32_t outstanding = 0;
    for (uint32_t i = 0; i < pending->count; i++) {
        const struct pending_entry *entry = pending_at(pending, i);
        if (entry->holder != index || entry->state == PENDING_FINISHED) {
            continue;
        }
        outstanding += entry->state == PENDING_OUTSTANDING;
        if (entry->sequence < attachment->low) {
            return "an attachment holds something below its lowest";
        }
    }
    if (attachment->index != index) {
        return "an attachment stands elsewhere";
    }
    return outstanding == attachment->outstanding
               ? NULL
               : "an attachment has another number outstanding";
}

static const char *
check_attachments(const struct consumer *consumer)
{
    uint64_t room = 0;
    for (uint32_t i = 0; i < consumer->attachment_count; i++) {
        const struct consumer_attachment *attachment = consumer->attachments[i];
        const char *wrong = check_attachment(consumer, i);
        if (wrong != NULL) {
            return wrong;
        }
        if (attachment->window > attachment->outstanding) {
            room += attachment->window - attachment->outstanding;
        }
    }
    return room == consumer->room ? NULL : "room is counted wrongly";
}

const char *
consumer_check(const struct consumer *consumer)
{
    const struct pending *pending = &consumer->pending;
    struct consumer_info info;
    consumer_get_info(consumer, &info);
    if (!consumer_info_balances(&info)) {
        return "the books do not balance";
    }
    if (info.floor > info.next) {
        return "the floor is above the next sequence";
    }
    const char *wrong = check_ring(consumer);
    if (wrong == NULL) {
        wrong = check_list(
            pending, &pending->outstanding, PENDING_OUTSTANDING, true);
    }
    if (wrong == NULL) {
        wrong = check_list(pending, &pending->dead, PENDING_DEAD, false);
    }
    if (wrong == NULL) {
        wrong = check_heap(pending);
    }
    return wrong != NULL ? wrong : check_attachments(consumer);
}
