/* SPDX-License-Identifier: MIT
 *
 * Publishers and their numbers; see publisher.h. */
#include "publisher.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <stdlib.h>
#include <string.h>

#define BUCKETS_MIN 64u
/* So many numbers later nobody tries again what was refused, and before numbers
 * compare the other way round. */
#define UNSURE_FOR (1u << 30)

uint32_t
number_before(uint32_t number, uint32_t count)
{
    uint32_t before = number - count;
    return count >= number ? before - 1 : before;
}

void
publishers_fini(struct publishers *publishers)
{
    struct publisher *publisher = publishers->newest;
    while (publisher != NULL) {
        struct publisher *older = publisher->older;
        free(publisher->refused);
        free(publisher);
        publisher = older;
    }
    free(publishers->buckets);
    free(publishers->forgotten);
    *publishers = (struct publishers){.max = publishers->max};
}

static size_t
bucket_of(const struct publishers *publishers, const void *name, size_t bytes)
{
    return XXH3_64bits(name, bytes) & (publishers->bucket_count - 1);
}

static bool
grow(struct publishers *publishers)
{
    size_t count = publishers->bucket_count == 0 ? BUCKETS_MIN
                                                 : publishers->bucket_count * 2;
    struct publisher **buckets = calloc(count, sizeof(struct publisher *));
    if (buckets == NULL) {
        return publishers->bucket_count > 0;
    }
    free(publishers->buckets);
    publishers->buckets = buckets;
    publishers->bucket_count = count;
    for (struct publisher *each = publishers->newest; each != NULL;
         each = each->older) {
        size_t i = bucket_of(publishers, each->name, each->name_bytes);
        each->next = buckets[i];
        buckets[i] = each;
    }
    return true;
}

static void
leave_order(struct publishers *publishers, struct publisher *publisher)
{
    struct publisher *newer = publisher->newer;
    struct publisher *older = publisher->older;
    *(newer != NULL ? &newer->older : &publishers->newest) = older;
    *(older != NULL ? &older->newer : &publishers->oldest) = newer;
}

static void
join_order(struct publishers *publishers, struct publisher *publisher)
{
    publisher->newer = NULL;
    publisher->older = publishers->newest;
    if (publisher->older != NULL) {
        publisher->older->newer = publisher;
    } else {
        publishers->oldest = publisher;
    }
    publishers->newest = publisher;
}

static void
leave_dirty(struct publishers *publishers, struct publisher *publisher)
{
    if (!publisher->dirty) {
        return;
    }
    struct publisher *next = publisher->next_dirty;
    struct publisher *previous = publisher->previous_dirty;
    *(previous != NULL ? &previous->next_dirty : &publishers->dirty) = next;
    if (next != NULL) {
        next->previous_dirty = previous;
    }
    publisher->dirty = false;
}

void
publishers_clean(struct publishers *publishers)
{
    while (publishers->dirty != NULL) {
        leave_dirty(publishers, publishers->dirty);
    }
}

/* Its name is to be deleted by the next checkpoint. */
static bool
note_forgotten(struct publishers *publishers, const struct publisher *publisher)
{
    size_t need = publishers->forgotten_bytes + 1 + publisher->name_bytes;
    if (need > publishers->forgotten_capacity) {
        uint8_t *more = realloc(publishers->forgotten, need * 2);
        if (more == NULL) {
            return false;
        }
        publishers->forgotten = more;
        publishers->forgotten_capacity = need * 2;
    }
    uint8_t *next = publishers->forgotten + publishers->forgotten_bytes;
    next[0] = publisher->name_bytes;
    memcpy(next + 1, publisher->name, publisher->name_bytes);
    publishers->forgotten_bytes = need;
    return true;
}

/* Forget the one that was not seen the longest. */
static void
forget_one(struct publishers *publishers)
{
    struct publisher *publisher = publishers->oldest;
    while (publisher != NULL && (publisher->in_flight > 0)) {
        publisher = publisher->newer;
    }
    if (publisher == NULL || !note_forgotten(publishers, publisher)) {
        return;
    }
    struct publisher **link = &publishers->buckets[bucket_of(
        publishers, publisher->name, publisher->name_bytes)];
    while (*link != publisher) {
        link = &(*link)->next;
    }
    *link = publisher->next;
    leave_order(publishers, publisher);
    leave_dirty(publishers, publisher);
    publishers->count--;
    free(publisher->refused);
    free(publisher);
}

struct publisher *
publishers_get(struct publishers *publishers, const void *name,
    size_t name_bytes, bool create)
{
    struct publisher *publisher = publishers->newest;
    if (publisher != NULL && publisher->name_bytes == name_bytes &&
        memcmp(publisher->name, name, name_bytes) == 0) {
        return publisher; /* one has many in a row */
    }
    publisher = NULL;
    if (publishers->bucket_count > 0) {
        publisher =
            publishers->buckets[bucket_of(publishers, name, name_bytes)];
        while (publisher != NULL &&
               (publisher->name_bytes != name_bytes ||
                   memcmp(publisher->name, name, name_bytes) != 0)) {
            publisher = publisher->next;
        }
    }
    if (publisher != NULL) {
        if (publisher != publishers->newest) {
            leave_order(publishers, publisher);
            join_order(publishers, publisher);
        }
        return publisher;
    }
    if (!create) {
        return NULL;
    }
    if (publishers->max > 0 && publishers->count >= publishers->max) {
        forget_one(publishers);
    }
    if (publishers->count >= publishers->bucket_count && !grow(publishers)) {
        return NULL;
    }
    publisher = calloc(1, sizeof *publisher);
    if (publisher == NULL) {
        return NULL;
    }
    publisher->name_bytes = (uint8_t)name_bytes;
    memcpy(publisher->name, name, name_bytes);
    size_t i = bucket_of(publishers, name, name_bytes);
    publisher->next = publishers->buckets[i];
    publishers->buckets[i] = publisher;
    publishers->count++;
    join_order(publishers, publisher);
    return publisher;
}

static bool
in_range(const struct refused *range, uint32_t number)
{
    return number - range->first <= range->last - range->first;
}

enum store_status
publisher_judge(const struct publisher *publisher, uint32_t number)
{
    if (publisher->highest == 0 || number_above(number, publisher->highest)) {
        return STORE_OK;
    }
    for (size_t i = publisher->refused_count; i-- > 0;) {
        if (in_range(&publisher->refused[i], number)) {
            return publisher->refused[i].status;
        }
    }
    bool is_unsure =
        publisher->unsure != 0 && !number_above(number, publisher->unsure);
    return is_unsure ? STORE_UNSURE : STORE_DUPLICATE;
}

/* What is left of it before `first`, and else behind `last`; false: nothing. */
static bool
cut_range(struct refused *range, uint32_t first, uint32_t last)
{
    bool overlaps = in_range(range, first) || in_range(range, last) ||
                    range->first - first <= last - first;
    if (!overlaps) {
        return true;
    }
    if (range->first != first && in_range(range, first)) {
        range->last = number_before(first, 1);
        return true;
    }
    if (range->last != last && in_range(range, last)) {
        range->first = last + 1;
        return true;
    }
    return false;
}

void
publisher_take(struct publisher *publisher, uint32_t first, uint32_t last)
{
    if (publisher->highest == 0 || number_above(last, publisher->highest)) {
        publisher->highest = last;
        if (last - publisher->unsure > UNSURE_FOR) {
            publisher->unsure = 0;
        }
    }
    uint8_t kept = 0;
    for (uint8_t i = 0; i < publisher->refused_count; i++) {
        struct refused range = publisher->refused[i];
        if (cut_range(&range, first, last)) {
            publisher->refused[kept++] = range;
        }
    }
    publisher->refused_count = kept;
}

/* The refusal of this number is forgotten. */
static void
become_unsure(struct publisher *publisher, uint32_t number)
{
    if (publisher->unsure == 0 || number_above(number, publisher->unsure)) {
        publisher->unsure = number;
    }
}

void
publisher_refuse(struct publisher *publisher, uint32_t first, uint32_t last,
    enum store_status status)
{
    publisher->unwritten = true;
    if (publisher->refused == NULL) {
        publisher->refused =
            malloc(PUBLISHER_RANGES * sizeof *publisher->refused);
        if (publisher->refused == NULL) {
            become_unsure(publisher, last);
            return; /* forgotten, like those that are too many */
        }
    }
    if (publisher->refused_count > 0) {
        struct refused *newest =
            &publisher->refused[publisher->refused_count - 1];
        if (in_range(newest, first) && in_range(newest, last)) {
            newest->status = status;
            return;
        }
        if (newest->status == status &&
            (newest->last + 1 == first || in_range(newest, first))) {
            newest->last = last;
            return;
        }
        /* A group is refused from its end. */
        if (newest->status == status &&
            (last + 1 == newest->first || in_range(newest, last))) {
            newest->first = first;
            return;
        }
    }
    if (publisher->refused_count == PUBLISHER_RANGES) {
        become_unsure(publisher, publisher->refused[0].last);
        memmove(publisher->refused, publisher->refused + 1,
            (PUBLISHER_RANGES - 1) * sizeof *publisher->refused);
        publisher->refused_count--;
    }
    publisher->refused[publisher->refused_count++] =
        (struct refused){.first = first, .last = last, .status = status};
}

void
publisher_store(struct publishers *publishers, struct publisher *publisher,
    uint32_t number, uint64_t time_ms)
{
    if (publisher->durable == 0 || number_above(number, publisher->durable)) {
        publisher->durable = number;
    }
    if (publisher->highest == 0 ||
        number_above(publisher->durable, publisher->highest)) {
        publisher->highest = publisher->durable;
    }
    publisher->seen_ms = time_ms;
    if (!publisher->dirty) {
        publisher->dirty = true;
        publisher->previous_dirty = NULL;
        publisher->next_dirty = publishers->dirty;
        if (publisher->next_dirty != NULL) {
            publisher->next_dirty->previous_dirty = publisher;
        }
        publishers->dirty = publisher;
    }
}

/* Numbers of statuses in files. */
static const enum store_status refusals[] = {STORE_CONFLICT, STORE_FULL,
    STORE_NO_SPACE, STORE_NOT_FOUND, STORE_UNSURE, STORE_MEMORY};
#define REFUSALS (sizeof refusals / sizeof refusals[0])

static uint8_t *
put_refused(uint8_t *dst, const struct refused *range)
{
    uint8_t code = 0;
    while (code < REFUSALS && refusals[code] != range->status) {
        code++;
    }
    put_u32(dst, range->first);
    put_u32(dst + 4, range->last);
    dst[8] = (uint8_t)(code + 1);
    return dst + 9;
}

struct entry
publisher_entry(
    const struct publisher *publisher, uint8_t body[PUBLISHER_BODY_MAX])
{
    uint8_t *next = body;
    if (publisher->unsure != 0) {
        next = put_refused(next, &(struct refused){publisher->unsure,
                                     publisher->unsure, STORE_UNSURE});
    }
    for (size_t i = 0; i < publisher->refused_count; i++) {
        next = put_refused(next, &publisher->refused[i]);
    }
    return (struct entry){.kind = ENTRY_PUBLISHER,
        .name_bytes = publisher->name_bytes,
        .name = publisher->name,
        .time_ms = publisher->seen_ms,
        .number = publisher->durable,
        .body = body,
        .body_bytes = (size_t)(next - body)};
}

bool
publishers_load(struct publishers *publishers, const struct entry *entry)
{
    if (entry->name_bytes == 0 || entry->name_bytes > STORE_PUBLISHER_MAX ||
        entry->body_bytes % 9 != 0 || entry->body_bytes > PUBLISHER_BODY_MAX) {
        return false;
    }
    struct publisher *publisher =
        publishers_get(publishers, entry->name, entry->name_bytes, true);
    if (publisher == NULL) {
        return false;
    }
    publisher->refused_count = 0;
    publisher->unsure = 0;
    for (size_t i = 0; i < entry->body_bytes; i += 9) {
        const uint8_t *src = entry->body + i;
        uint8_t code = src[8];
        if (code < 1 || code > REFUSALS) {
            continue;
        }
        if (refusals[code - 1] == STORE_UNSURE) {
            become_unsure(publisher, get_u32(src + 4));
        } else {
            publisher_refuse(
                publisher, get_u32(src), get_u32(src + 4), refusals[code - 1]);
        }
    }
    publisher->unwritten = false;
    if (entry->number != 0) {
        publisher_store(publishers, publisher, entry->number, entry->time_ms);
    }
    return true;
}
