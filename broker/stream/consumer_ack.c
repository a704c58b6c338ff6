/* SPDX-License-Identifier: MIT
 *
 * What becomes of a message that was delivered: acknowledged, given back,
 * touched, buried, or past its deadline; see consumer.h. */
#include "consumer_internal.h"

/* ---- what follows -------------------------------------------------------- */

void
consumer_finish(struct consumer *consumer, struct pending_entry *entry,
    enum consumer_counter counter)
{
    consumer->count[counter]++;
    consumer->dirty = true;
    pending_move(&consumer->pending, entry, PENDING_FINISHED);
}

void
consumer_die(struct consumer *consumer, struct pending_entry *entry)
{
    if (consumer->settings.dead_topic.len == 0) {
        consumer_finish(consumer, entry, CONSUMER_DISCARDED);
        return;
    }
    entry->holder = PENDING_NO_HOLDER;
    consumer->dirty = true;
    pending_move(&consumer->pending, entry, PENDING_DEAD);
}

void
consumer_come_back(
    struct consumer *consumer, struct pending_entry *entry, uint64_t delay_ms)
{
    uint32_t most = consumer->settings.max_deliveries;
    if (most != 0 && entry->deliveries >= most) {
        consumer_die(consumer, entry);
        return;
    }
    consumer->dirty = true;
    entry->time_ms = later(consumer->clock_ms, delay_ms);
    pending_move(&consumer->pending, entry, PENDING_WAITING);
}

/* Before the redelivery that follows so many deliveries. */
static uint64_t
backoff_ms(const struct consumer *consumer, uint32_t deliveries)
{
    const struct consumer_settings *settings = &consumer->settings;
    if (settings->backoff_count == 0) {
        return 0;
    }
    uint32_t i = deliveries < settings->backoff_count ? deliveries
                                                      : settings->backoff_count;
    return settings->backoff_ms[i - 1];
}

/* ---- ends ---------------------------------------------------------------- */

/* May it acknowledge, bury or give back this? */
static bool
may_end(const struct consumer_attachment *attachment,
    const struct pending_entry *entry)
{
    return entry->holder == attachment->index &&
           (entry->state == PENDING_OUTSTANDING ||
               entry->state == PENDING_WAITING ||
               entry->state == PENDING_FETCHING);
}

typedef void end_entry(struct consumer *consumer, struct pending_entry *entry);

static void
acknowledge(struct consumer *consumer, struct pending_entry *entry)
{
    consumer_finish(consumer, entry, CONSUMER_ACKNOWLEDGED);
}

static void
bury(struct consumer *consumer, struct pending_entry *entry)
{
    consumer->count[CONSUMER_BURIED]++;
    consumer_die(consumer, entry);
}

/* A call is over: it changed so many. */
static uint32_t
changed(struct consumer *consumer, uint32_t n)
{
    consumer->count[CONSUMER_LATE] += n == 0;
    pending_trim(&consumer->pending);
    return n;
}

/* What is to end: of `first` to `last` what was given no later than `given`. */
struct span {
    uint64_t first, last;
    uint64_t given;
    uint64_t left; /* out: the first one that was given later */
};

static inline uint32_t
end_span(struct consumer *consumer, struct consumer_attachment *attachment,
    struct span *span, end_entry *end)
{
    struct pending *pending = &consumer->pending;
    uint32_t ended = 0, released = 0;
    span->left = UINT64_MAX;
    for (uint32_t i = pending_find(pending, span->first); i < pending->count;
         i++) {
        struct pending_entry *entry = pending_at(pending, i);
        if (entry->sequence > span->last) {
            break;
        }
        if (!may_end(attachment, entry)) {
            continue;
        }
        if (entry->given <= span->given) {
            released += entry->state == PENDING_OUTSTANDING;
            ended++;
            end(consumer, entry);
        } else if (entry->sequence < span->left) {
            span->left = entry->sequence;
        }
    }
    consumer_release(attachment, consumer, released);
    return changed(consumer, ended);
}

static void
note_acknowledged(const struct consumer *consumer,
    struct consumer_attachment *attachment, uint64_t last)
{
    if (last >= consumer->next) {
        last = consumer->next - 1;
    }
    if (last > attachment->acknowledged) {
        attachment->acknowledged = last;
    }
}

uint32_t
consumer_ack(struct consumer *consumer, struct consumer_attachment *attachment,
    uint64_t first, uint64_t last)
{
    note_acknowledged(consumer, attachment, last);
    struct span span = {.first = first, .last = last, .given = UINT64_MAX};
    return end_span(consumer, attachment, &span, acknowledge);
}

/* Did it get this one before `last`, which is above and which it has no more?
 * Yes, if it was given nothing lower since then, or if this one came to it
 * while it was new. */
static bool
came_before(const struct consumer_attachment *attachment,
    const struct pending_entry *entry, uint64_t last)
{
    return last > attachment->again || entry->deliveries == 1;
}

/* What it has seen for certain when it names this sequence: what it was given
 * up to that message. *given is set; false: nothing. If it does not have that
 * message, the highest one below is meant that came before it, and that it has
 * not gone past before; unless that message is yet to come, as after a reset.
 */
static bool
has_seen(const struct consumer *consumer,
    const struct consumer_attachment *attachment, uint64_t last,
    uint64_t *given)
{
    const struct pending *pending = &consumer->pending;
    if (last >= consumer->next) {
        return false;
    }
    uint32_t i = pending_find(pending, last);
    i += i < pending->count && pending_at(pending, i)->sequence == last;
    while (i-- > 0) {
        const struct pending_entry *entry = pending_at(pending, i);
        if (entry->sequence != last &&
            entry->sequence <= attachment->acknowledged) {
            return false;
        }
        if (may_end(attachment, entry) &&
            (entry->sequence == last || came_before(attachment, entry, last))) {
            *given = entry->given;
            return true;
        }
    }
    return false;
}

uint32_t
consumer_ack_up_to(struct consumer *consumer,
    struct consumer_attachment *attachment, uint64_t last)
{
    struct span span = {.first = attachment->low, .last = last};
    if (!has_seen(consumer, attachment, last, &span.given)) {
        return changed(consumer, 0);
    }
    note_acknowledged(consumer, attachment, last);
    uint32_t ended = end_span(consumer, attachment, &span, acknowledge);
    if (last >= attachment->low) {
        /* Not beyond what it may get next. */
        uint64_t low = last < consumer->next ? last + 1 : consumer->next;
        attachment->low = low < span.left ? low : span.left;
    }
    return ended;
}

uint32_t
consumer_bury(struct consumer *consumer, struct consumer_attachment *attachment,
    uint64_t first, uint64_t last)
{
    struct span span = {.first = first, .last = last, .given = UINT64_MAX};
    return end_span(consumer, attachment, &span, bury);
}

void
consumer_reject(struct consumer *consumer,
    struct consumer_attachment *attachment, uint64_t sequence)
{
    if (consumer->settings.mode != CONSUMER_ACK_NONE) {
        (void)consumer_bury(consumer, attachment, sequence, sequence);
        return;
    }
    consumer->count[CONSUMER_UNACKNOWLEDGED]--;
    consumer->count[CONSUMER_BURIED]++;
    consumer->count[CONSUMER_DISCARDED]++;
    consumer->dirty = true;
}

/* ---- not yet ------------------------------------------------------------- */

static bool
has(const struct consumer_attachment *attachment,
    const struct pending_entry *entry)
{
    return entry->holder == attachment->index &&
           entry->state == PENDING_OUTSTANDING;
}

/* What comes again anyway, because its deadline has passed, is given back all
 * the same: otherwise it would still be acknowledged with others. */
uint32_t
consumer_nack(struct consumer *consumer, struct consumer_attachment *attachment,
    uint64_t first, uint64_t last, uint64_t delay_ms, uint64_t now_ms)
{
    struct pending *pending = &consumer->pending;
    (void)consumer_clock(consumer, now_ms);
    if (delay_ms != CONSUMER_DELAY_DEFAULT && delay_ms > CONSUMER_TIME_MAX_MS) {
        delay_ms = CONSUMER_TIME_MAX_MS;
    }
    uint32_t nacked = 0, released = 0;
    for (uint32_t i = pending_find(pending, first); i < pending->count; i++) {
        struct pending_entry *entry = pending_at(pending, i);
        if (entry->sequence > last) {
            break;
        }
        if (!may_end(attachment, entry)) {
            continue;
        }
        nacked++;
        entry->holder = PENDING_NO_HOLDER;
        if (entry->state == PENDING_OUTSTANDING) {
            released++;
            consumer_come_back(consumer, entry,
                delay_ms == CONSUMER_DELAY_DEFAULT
                    ? backoff_ms(consumer, entry->deliveries)
                    : delay_ms);
        }
    }
    consumer->count[CONSUMER_NACKED] += nacked;
    consumer_release(attachment, consumer, released);
    return changed(consumer, nacked);
}

uint32_t
consumer_touch(struct consumer *consumer,
    struct consumer_attachment *attachment, uint64_t first, uint64_t last,
    uint64_t now_ms)
{
    struct pending *pending = &consumer->pending;
    uint64_t clock_ms = consumer_clock(consumer, now_ms);
    uint32_t touched = 0;
    for (uint32_t i = pending_find(pending, first); i < pending->count; i++) {
        struct pending_entry *entry = pending_at(pending, i);
        if (entry->sequence > last) {
            break;
        }
        if (has(attachment, entry)) {
            touched++;
            entry->time_ms = clock_ms;
            /* To the end of its list. */
            pending_move(pending, entry, PENDING_OUTSTANDING);
        }
    }
    consumer->count[CONSUMER_TOUCHED] += touched;
    return changed(consumer, touched);
}

uint32_t
consumer_tick(struct consumer *consumer, uint64_t now_ms)
{
    struct pending *pending = &consumer->pending;
    uint64_t clock_ms = consumer_clock(consumer, now_ms);
    uint64_t deadline_ms = consumer->settings.ack_deadline_ms;
    uint32_t passed = 0;
    struct pending_entry *oldest = pending_oldest(pending);
    while (deadline_ms != 0 && oldest != NULL &&
           later(oldest->time_ms, deadline_ms) <= clock_ms) {
        struct consumer_attachment *holder =
            consumer->attachments[oldest->holder];
        consumer_release(holder, consumer, 1);
        consumer_come_back(
            consumer, oldest, backoff_ms(consumer, oldest->deliveries));
        passed++;
        oldest = pending_oldest(pending);
    }
    consumer->count[CONSUMER_DEADLINES] += passed;
    pending_trim(pending);
    return passed;
}
