/* SPDX-License-Identifier: MIT
 *
 * Publishers and the numbers of theirs that were taken or refused, so that
 * nothing is stored twice (PROTOCOL.md section 5.3 has how numbers compare).
 *
 * Two highest numbers: with what is in flight, and of what is durable. A
 * refusal is remembered because a number above it may be taken later, which
 * makes "not above the highest" no proof any more; it is written in front of
 * the first record that does so. At most PUBLISHER_RANGES ranges are
 * remembered, the oldest are forgotten, and up to where they were is remembered
 * instead; and of so many publishers, those that were not seen the longest are
 * forgotten.
 *
 * The store's lock is held.
 */
#ifndef BROKER_STORE_PUBLISHER_H
#define BROKER_STORE_PUBLISHER_H

#include "entry.h"
#include "store.h"

#define PUBLISHER_RANGES 16u

struct refused {
    uint32_t first, last;
    enum store_status status;
};

struct publisher {
    struct publisher *next; /* of the bucket */
    struct publisher *newer, *older;
    struct publisher *next_dirty, *previous_dirty;
    struct refused *refused; /* PUBLISHER_RANGES, or NULL */
    uint64_t seen_ms;
    uint32_t highest, durable; /* numbers; 0: none */
    uint32_t unsure;    /* refusals up to this number were forgotten; 0: none */
    uint32_t in_flight; /* appends; it is not forgotten meanwhile */
    uint8_t refused_count;
    bool unwritten; /* a refusal that no PUBLISHER entry has */
    bool dirty;     /* changed since the last checkpoint began */
    uint8_t name_bytes;
    uint8_t name[STORE_PUBLISHER_MAX];
};

struct publishers {
    struct publisher **buckets;
    size_t bucket_count, count, max;
    struct publisher *newest, *oldest;
    struct publisher *dirty;
    /* Forgotten since the last checkpoint began: a byte that counts, then so
     * many of the name. */
    uint8_t *forgotten;
    size_t forgotten_bytes, forgotten_capacity;
};

static inline bool
number_above(uint32_t a, uint32_t b)
{
    uint32_t distance = a - b;
    return distance != 0 && distance < 0x80000000u;
}

/* Is it, or one above it, durable? */
static inline bool
publisher_has_stored(const struct publisher *publisher, uint32_t number)
{
    return publisher->durable != 0 && !number_above(number, publisher->durable);
}

/* The number so many before this one: 1 comes after 0xFFFFFFFF. */
uint32_t number_before(uint32_t number, uint32_t count);

void publishers_clean(struct publishers *publishers); /* none is dirty */
void publishers_fini(struct publishers *publishers);
/* NULL: memory is out, or with !create: not known. It becomes the newest. */
struct publisher *publishers_get(struct publishers *publishers,
    const void *name, size_t name_bytes, bool create);

/* What is to be answered to a retry of this number: STORE_OK for "store it". */
enum store_status publisher_judge(
    const struct publisher *publisher, uint32_t number);
/* These are stored: what was refused of them is not refused any more. */
void publisher_take(struct publisher *publisher, uint32_t first, uint32_t last);
void publisher_refuse(struct publisher *publisher, uint32_t first,
    uint32_t last, enum store_status status);
/* Records with this highest number are durable. */
void publisher_store(struct publishers *publishers, struct publisher *publisher,
    uint32_t number, uint64_t time_ms);

#define PUBLISHER_BODY_MAX ((PUBLISHER_RANGES + 1) * 9u)
/* Its entry; `body` is where the body goes. */
struct entry publisher_entry(
    const struct publisher *publisher, uint8_t body[PUBLISHER_BODY_MAX]);
/* What an entry says takes the place of what was known. */
bool publishers_load(struct publishers *publishers, const struct entry *entry);

#endif
