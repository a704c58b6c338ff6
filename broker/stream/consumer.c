/* SPDX-License-Identifier: MIT
 *
 * The life of a consumer and of its attachments, its clock and its counters;
 * see consumer.h. */
#include "consumer_internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static struct consumer_topic
copy_topic(uint8_t *dst, struct consumer_topic topic)
{
    if (topic.len == 0) {
        return (struct consumer_topic){0};
    }
    memcpy(dst, topic.bytes, topic.len);
    return (struct consumer_topic){dst, topic.len};
}

struct consumer *
consumer_new(const struct consumer_settings *settings)
{
    assert(consumer_settings_check(settings) == NULL);
    struct consumer *consumer = calloc(1, sizeof *consumer);
    size_t filter_len = settings->filter.len;
    uint8_t *topics = malloc(filter_len + settings->dead_topic.len + 1);
    if (consumer == NULL || topics == NULL) {
        free(consumer);
        free(topics);
        return NULL;
    }
    consumer->settings = *settings;
    consumer->topics = topics;
    consumer->settings.filter = copy_topic(topics, settings->filter);
    consumer->settings.dead_topic =
        copy_topic(topics + filter_len, settings->dead_topic);
    pending_init(&consumer->pending);
    consumer->next = settings->start;
    consumer->dirty = true;
    return consumer;
}

void
consumer_free(struct consumer *consumer)
{
    if (consumer == NULL) {
        return;
    }
    for (uint32_t i = 0; i < consumer->attachment_count; i++) {
        free(consumer->attachments[i]);
    }
    free(consumer->attachments);
    pending_fini(&consumer->pending);
    free(consumer->topics);
    free(consumer);
}

const struct consumer_settings *
consumer_get_settings(const struct consumer *consumer)
{
    return &consumer->settings;
}

bool
consumer_is_dirty(const struct consumer *consumer)
{
    return consumer->dirty;
}

void
consumer_set_dirty(struct consumer *consumer)
{
    consumer->dirty = true;
}

uint64_t
consumer_next_sequence(const struct consumer *consumer)
{
    return consumer->next;
}

/* ---- attachments --------------------------------------------------------- */

static bool
reserve_attachment(struct consumer *consumer)
{
    if (consumer->attachment_count < consumer->attachment_capacity) {
        return true;
    }
    uint32_t capacity = consumer->attachment_capacity == 0
                            ? 4
                            : consumer->attachment_capacity * 2;
    struct consumer_attachment **attachments =
        realloc(consumer->attachments, capacity * sizeof *attachments);
    if (attachments == NULL) {
        return false;
    }
    consumer->attachments = attachments;
    consumer->attachment_capacity = capacity;
    return true;
}

struct consumer_attachment *
consumer_attach(struct consumer *consumer, void *owner, uint32_t window)
{
    if (consumer->attachment_count == CONSUMER_ATTACHMENTS_MAX ||
        !reserve_attachment(consumer)) {
        return NULL;
    }
    struct consumer_attachment *attachment = malloc(sizeof *attachment);
    if (attachment == NULL) {
        return NULL;
    }
    bool stands_by = consumer->settings.mode == CONSUMER_ACK_CUMULATIVE &&
                     consumer->attachment_count > 0;
    *attachment = (struct consumer_attachment){
        .owner = owner,
        .wanted = window,
        .window = stands_by ? 0 : window,
        .number = consumer->attached++,
        .stands_by = stands_by,
        .index = (uint16_t)consumer->attachment_count,
        .low = consumer->next,
    };
    consumer->attachments[consumer->attachment_count++] = attachment;
    consumer->room += attachment->window;
    return attachment;
}

static uint32_t
room_of(const struct consumer_attachment *attachment)
{
    return attachment->window > attachment->outstanding
               ? attachment->window - attachment->outstanding
               : 0;
}

void
consumer_hold(struct consumer_attachment *attachment, struct consumer *consumer,
    uint32_t n)
{
    consumer->room -= room_of(attachment);
    attachment->outstanding += n;
    consumer->room += room_of(attachment);
}

void
consumer_release(struct consumer_attachment *attachment,
    struct consumer *consumer, uint32_t n)
{
    assert(n <= attachment->outstanding);
    consumer->room -= room_of(attachment);
    attachment->outstanding -= n;
    consumer->room += room_of(attachment);
}

/* What `gone` held is nobody's, and what the last attachment held is of the one
 * that takes its place. */
static void
give_back(struct consumer *consumer, uint16_t gone, uint16_t last)
{
    struct pending *pending = &consumer->pending;
    for (uint32_t i = 0; i < pending->count; i++) {
        struct pending_entry *entry = pending_at(pending, i);
        if (entry->holder == gone) {
            entry->holder = PENDING_NO_HOLDER;
            if (entry->state == PENDING_OUTSTANDING) {
                consumer->count[CONSUMER_RETURNED]++;
                consumer_come_back(consumer, entry, 0);
            }
        } else if (entry->holder == last) {
            entry->holder = gone;
        }
    }
    pending_trim(pending);
}

/* The one that has stood by for longest, if any does, takes over. */
static void
relieve(struct consumer *consumer)
{
    struct consumer_attachment *first = NULL;
    for (uint32_t i = 0; i < consumer->attachment_count; i++) {
        struct consumer_attachment *attachment = consumer->attachments[i];
        if (attachment->stands_by &&
            (first == NULL || attachment->number < first->number)) {
            first = attachment;
        }
    }
    if (first != NULL) {
        first->stands_by = false;
        consumer_set_window(consumer, first, first->wanted);
    }
}

void
consumer_detach(struct consumer *consumer,
    struct consumer_attachment *attachment, uint64_t now_ms)
{
    uint16_t gone = attachment->index;
    uint16_t last = (uint16_t)(consumer->attachment_count - 1);
    assert(consumer->attachments[gone] == attachment);
    (void)consumer_clock(consumer, now_ms);
    give_back(consumer, gone, last);
    consumer->room -= room_of(attachment);
    consumer->attachments[gone] = consumer->attachments[last];
    consumer->attachments[gone]->index = gone;
    consumer->attachment_count--;
    if (!attachment->stands_by) {
        relieve(consumer);
    }
    free(attachment);
}

void
consumer_set_window(struct consumer *consumer,
    struct consumer_attachment *attachment, uint32_t window)
{
    consumer->room -= room_of(attachment);
    attachment->wanted = window;
    attachment->window = attachment->stands_by ? 0 : window;
    consumer->room += room_of(attachment);
}

void *
consumer_owner(const struct consumer_attachment *attachment)
{
    return attachment->owner;
}

uint32_t
consumer_outstanding(const struct consumer_attachment *attachment)
{
    return attachment->outstanding;
}

/* ---- time ---------------------------------------------------------------- */

uint64_t
consumer_clock(struct consumer *consumer, uint64_t now_ms)
{
    if (consumer->clock_runs && now_ms > consumer->last_now_ms) {
        consumer->clock_ms =
            later(consumer->clock_ms, now_ms - consumer->last_now_ms);
    }
    consumer->clock_runs = true;
    consumer->last_now_ms = now_ms;
    return consumer->clock_ms;
}

static uint64_t
earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

uint64_t
consumer_due(const struct consumer *consumer)
{
    const struct pending *pending = &consumer->pending;
    const struct pending_entry *oldest = pending_oldest(pending);
    const struct pending_entry *waiting = pending_first_waiting(pending);
    uint64_t due_ms = CONSUMER_NEVER;
    if (oldest != NULL && consumer->settings.ack_deadline_ms != 0) {
        due_ms = later(oldest->time_ms, consumer->settings.ack_deadline_ms);
    }
    /* What is due already, and for whom there is no room, waits for an ack and
     * not for a time. */
    if (waiting != NULL &&
        (waiting->time_ms > consumer->clock_ms ||
            consumer->room > pending->of_state[PENDING_FETCHING])) {
        due_ms = earlier(due_ms, waiting->time_ms);
    }
    if (pending->dead.first != PENDING_NIL) {
        due_ms =
            earlier(due_ms, consumer->dead_failed ? consumer->dead_due_ms : 0);
    }
    if (due_ms == CONSUMER_NEVER) {
        return CONSUMER_NEVER;
    }
    uint64_t in_ms =
        due_ms > consumer->clock_ms ? due_ms - consumer->clock_ms : 0;
    return later(consumer->last_now_ms, in_ms);
}

/* ---- for operators ------------------------------------------------------- */

void
consumer_reset(struct consumer *consumer, uint64_t sequence)
{
    assert(sequence > 0);
    consumer->count[CONSUMER_ABANDONED] += consumer->pending.live;
    pending_clear(&consumer->pending);
    for (uint32_t i = 0; i < consumer->attachment_count; i++) {
        struct consumer_attachment *attachment = consumer->attachments[i];
        consumer_release(attachment, consumer, attachment->outstanding);
        attachment->low = sequence;
        attachment->acknowledged = 0;
        attachment->high = attachment->again = 0;
    }
    consumer->next = sequence;
    consumer->dead_failed = false;
    consumer->dirty = true;
}

void
consumer_get_info(const struct consumer *consumer, struct consumer_info *info)
{
    const struct pending *pending = &consumer->pending;
    *info = (struct consumer_info){
        .floor = pending->count == 0 ? consumer->next
                                     : pending_at(pending, 0)->sequence,
        .next = consumer->next,
        .outstanding = pending->of_state[PENDING_OUTSTANDING],
        .waiting = pending->of_state[PENDING_WAITING],
        .fetching = pending->of_state[PENDING_FETCHING],
        .dead = pending->of_state[PENDING_DEAD],
        .storing = pending->of_state[PENDING_STORING],
        .attachments = consumer->attachment_count,
        .window = consumer->settings.window,
        .memory_bytes =
            sizeof *consumer + consumer->settings.filter.len +
            consumer->settings.dead_topic.len +
            (uint64_t)pending->capacity *
                (sizeof(struct pending_entry) + sizeof(uint32_t)) +
            consumer->attachment_capacity *
                sizeof(struct consumer_attachment *) +
            consumer->attachment_count * sizeof(struct consumer_attachment),
    };
    memcpy(info->count, consumer->count, sizeof info->count);
}

bool
consumer_info_balances(const struct consumer_info *info)
{
    static const enum consumer_counter ends[] = {
        CONSUMER_ACKNOWLEDGED,
        CONSUMER_UNACKNOWLEDGED,
        CONSUMER_DEAD_LETTERED,
        CONSUMER_DISCARDED,
        CONSUMER_ABANDONED,
    };
    uint64_t sum = (uint64_t)info->outstanding + info->waiting +
                   info->fetching + info->dead + info->storing;
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        sum += info->count[ends[i]];
    }
    for (uint32_t i = 0; i < CONSUMER_SKIPS; i++) {
        sum += info->count[CONSUMER_GONE + i];
    }
    return sum == info->count[CONSUMER_OFFERED];
}
