/* SPDX-License-Identifier: MIT
 *
 * New messages, and who gets them; see consumer.h. */
#include "consumer_internal.h"

#include <assert.h>

static bool
keeps_nothing(const struct consumer *consumer)
{
    return consumer->settings.mode == CONSUMER_ACK_NONE;
}

static uint32_t
least(uint64_t a, uint64_t b)
{
    uint64_t value = a < b ? a : b;
    return value < UINT32_MAX ? (uint32_t)value : UINT32_MAX;
}

/* How many more the attachment takes. */
static uint32_t
room_at(const struct consumer *consumer,
    const struct consumer_attachment *attachment)
{
    if (keeps_nothing(consumer)) {
        return attachment->window > 0 ? UINT32_MAX : 0;
    }
    return attachment->window > attachment->outstanding
               ? attachment->window - attachment->outstanding
               : 0;
}

/* In mode cumulative messages keep their order: what comes again comes before
 * what is new. */
static bool
comes_back_first(const struct consumer *consumer)
{
    const struct pending *pending = &consumer->pending;
    return consumer->settings.mode == CONSUMER_ACK_CUMULATIVE &&
           pending->of_state[PENDING_WAITING] +
                   pending->of_state[PENDING_FETCHING] >
               0;
}

uint32_t
consumer_room(const struct consumer *consumer)
{
    if (keeps_nothing(consumer)) {
        return consumer->room > 0 ? UINT32_MAX : 0;
    }
    const struct pending *pending = &consumer->pending;
    /* What is being fetched has its room already: otherwise new messages would
     * take it each time. */
    uint32_t fetching = pending->of_state[PENDING_FETCHING];
    if (consumer->room <= fetching ||
        consumer->settings.window <= pending->live ||
        comes_back_first(consumer)) {
        return 0;
    }
    return least(
        consumer->room - fetching, consumer->settings.window - pending->live);
}

/* What a search through the attachments has found. */
struct found {
    struct consumer_attachment *best;
    uint32_t count;  /* that have room */
    uint32_t second; /* the next higher level; UINT32_MAX: none */
};

static struct found
search(const struct consumer *consumer)
{
    struct found found = {NULL, 0, UINT32_MAX};
    uint32_t count = consumer->attachment_count;
    uint32_t i = consumer->turn < count ? consumer->turn : 0;
    for (uint32_t seen = 0; seen < count; seen++) {
        struct consumer_attachment *attachment = consumer->attachments[i];
        i = i + 1 < count ? i + 1 : 0;
        if (room_at(consumer, attachment) == 0) {
            continue;
        }
        found.count++;
        if (found.best == NULL) {
            found.best = attachment;
        } else if (attachment->outstanding < found.best->outstanding) {
            found.second = found.best->outstanding;
            found.best = attachment;
        } else if (attachment->outstanding < found.second) {
            found.second = attachment->outstanding;
        }
    }
    return found;
}

struct consumer_attachment *
consumer_pick(struct consumer *consumer, uint32_t n, uint32_t *share)
{
    if (consumer->attachment_count == 1) {
        struct consumer_attachment *only = consumer->attachments[0];
        *share = least(n, room_at(consumer, only));
        return *share == 0 ? NULL : only;
    }
    struct found found = search(consumer);
    if (found.best == NULL) {
        return NULL;
    }
    consumer->turn = (uint32_t)found.best->index + 1;
    /* An equal part each, or up to the level of the next one. */
    uint32_t part = n / found.count + (n % found.count != 0);
    uint32_t level =
        found.second == UINT32_MAX ? n : found.second - found.best->outstanding;
    *share = least(level > part ? level : part, n);
    *share = least(*share, room_at(consumer, found.best));
    return found.best;
}

/* Make room for so many new ones; fewer if memory is out. */
static uint32_t
reserve(struct consumer *consumer, uint32_t n)
{
    struct pending *pending = &consumer->pending;
    uint32_t room = pending_reserve(pending, n, pending->live + n);
    consumer->memory_failed = room < n;
    consumer->count[CONSUMER_NO_MEMORY] += room < n;
    return room;
}

uint32_t
consumer_offer(struct consumer *consumer, uint64_t first, uint32_t n,
    uint64_t now_ms, struct consumer_attachment **attachment)
{
    uint64_t clock_ms = consumer_clock(consumer, now_ms);
    n = least(n, consumer_room(consumer));
    if (first != consumer->next || n == 0) {
        return 0;
    }
    assert(n <= UINT64_MAX - first);
    uint32_t share;
    struct consumer_attachment *picked = consumer_pick(consumer, n, &share);
    if (picked == NULL) {
        return 0;
    }
    if (keeps_nothing(consumer)) {
        consumer->count[CONSUMER_UNACKNOWLEDGED] += share;
    } else {
        share = reserve(consumer, share);
        if (share == 0) {
            return 0;
        }
        pending_append(&consumer->pending, first, share, picked->index,
            picked->given, clock_ms);
        picked->given += share;
        picked->high = first + share - 1;
        consumer_hold(picked, consumer, share);
    }
    consumer->count[CONSUMER_OFFERED] += share;
    consumer->next += share;
    consumer->dirty = true;
    *attachment = picked;
    return share;
}

bool
consumer_skip(struct consumer *consumer, uint64_t first, uint64_t n,
    enum consumer_skip reason)
{
    if (first != consumer->next) {
        return false;
    }
    assert(n <= UINT64_MAX - first);
    consumer->next += n;
    consumer->count[CONSUMER_SKIPPED + reason] += n;
    consumer->dirty |= n > 0;
    return true;
}
