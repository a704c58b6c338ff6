/* SPDX-License-Identifier: MIT
 *
 * What a consumer is made of, for the files consumer*.c and their tests only.
 */
#ifndef BROKER_STREAM_CONSUMER_INTERNAL_H
#define BROKER_STREAM_CONSUMER_INTERNAL_H

#include "consumer.h"
#include "pending.h"

struct consumer_attachment {
    void *owner;
    uint32_t wanted; /* its window ... */
    uint32_t window; /* ... or 0, while it stands by */
    uint32_t outstanding;
    uint64_t number; /* rises from one to the next that attach */
    bool stands_by;
    uint16_t index; /* in consumer->attachments; the holder of its entries */
    /* It holds nothing below: where to look from when it acknowledges
     * everything up to a sequence. */
    uint64_t low;
    uint64_t given; /* messages, ever: counts what it holds, in that order */
    uint64_t acknowledged; /* the highest sequence that it has named */
    uint64_t high;         /* the highest one that it was given */
    uint64_t again;        /* that, when it last was given a lower one */
};

/* Time. `clock_ms` is the sum of all steps forward of the caller's clock since
 * the first call; all times inside are on it, so none is ever passed twice. */
struct consumer {
    struct consumer_settings settings;
    uint8_t *topics; /* the bytes of filter and dead topic */
    struct pending pending;
    struct consumer_attachment **attachments;
    uint32_t attachment_count, attachment_capacity;
    uint64_t attached; /* ever */
    uint32_t turn;     /* where to look for the next one, among equals */
    uint64_t room;     /* of all attachments: what their windows leave */
    uint64_t next;
    uint64_t clock_ms, last_now_ms;
    bool clock_runs; /* there was a first call */
    bool dirty;
    bool memory_failed;   /* at the last offer */
    bool dead_failed;     /* the last dead letter was not stored */
    uint64_t dead_due_ms; /* if so: when to try again */
    uint64_t count[CONSUMER_COUNTERS];
};

/* Sets and returns clock_ms. */
uint64_t consumer_clock(struct consumer *consumer, uint64_t now_ms);

/* The sum, or CONSUMER_NEVER if it is beyond. */
static inline uint64_t
later(uint64_t time_ms, uint64_t delay_ms)
{
    return delay_ms > CONSUMER_NEVER - time_ms ? CONSUMER_NEVER
                                               : time_ms + delay_ms;
}

/* It has got `n` more, or `n` fewer. */
void consumer_hold(struct consumer_attachment *attachment,
    struct consumer *consumer, uint32_t n);
void consumer_release(struct consumer_attachment *attachment,
    struct consumer *consumer, uint32_t n);

/* Who gets the next `n` messages: the one with the least outstanding that has
 * room, in turn among equals. *share: how many of them, at least 1, so that all
 * get to the same level. NULL: nobody has room. */
struct consumer_attachment *consumer_pick(
    struct consumer *consumer, uint32_t n, uint32_t *share);

/* An entry that is with nobody any more: what follows. None of these releases,
 * and pending_trim() is still to be called. */
void consumer_finish(struct consumer *consumer, struct pending_entry *entry,
    enum consumer_counter counter);
void consumer_die(struct consumer *consumer, struct pending_entry *entry);
void consumer_come_back(
    struct consumer *consumer, struct pending_entry *entry, uint64_t delay_ms);

#endif
