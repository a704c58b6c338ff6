/* SPDX-License-Identifier: MIT
 *
 * Sets of subscriptions; see context.h. */
#include "context.h"

#include "subscription.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static int
compare_ids(const void *a, const void *b)
{
    const struct subscription *const *left = a;
    const struct subscription *const *right = b;
    return ((*left)->id > (*right)->id) - ((*left)->id < (*right)->id);
}

static uint64_t
set_hash(const struct context_table *table, struct subscription **subscriptions,
    uint32_t count, bool retained)
{
    uint64_t hash = table->seed ^ (retained ? 1u : 0u);
    for (uint32_t i = 0; i < count; i++) {
        hash =
            table_hash(&subscriptions[i]->self.serial, sizeof(uint64_t), hash);
    }
    return hash;
}

static bool
same_set(const struct context *context, struct subscription **subscriptions,
    uint32_t count)
{
    if (context->count != count) {
        return false;
    }
    for (uint32_t i = 0; i < count; i++) {
        if (context->members[i].serial != subscriptions[i]->self.serial) {
            return false;
        }
    }
    return true;
}

static struct context *
find(const struct context_table *table, struct subscription **subscriptions,
    uint32_t count, bool retained, uint64_t hash)
{
    struct table_link *link = table_first(&table->contexts, hash);
    for (; link != NULL; link = table_next(&table->contexts, link)) {
        struct context *context = table_entry(link, struct context, link);
        if (context->retained == retained &&
            same_set(context, subscriptions, count)) {
            return context;
        }
    }
    return NULL;
}

/* Disconnecting loses nothing silently and keeps what was queued; blocking
 * publishers loses nothing as long as they can be made to wait; refusing the
 * newest keeps what is queued too; dropping the oldest keeps less, and
 * conflating least. */
static int
preserves(enum broker_overflow overflow)
{
    switch (overflow) {
    case BROKER_OVERFLOW_DISCONNECT:
        return 4;
    case BROKER_OVERFLOW_BLOCK:
        return 3;
    case BROKER_OVERFLOW_DROP_NEWEST:
        return 2;
    case BROKER_OVERFLOW_CONFLATE:
        return 0;
    default:
        return 1;
    }
}

/* Also when there are fewer members than before. */
static void
encode_frame(struct context *context)
{
    struct broker_header header = {.body_bytes = context->count * 4,
        .type = BROKER_FRAME_CONTEXT,
        .flags = context->retained ? BROKER_CONTEXT_RETAINED : 0};
    broker_header_encode(&header, context->frame);
    for (uint32_t i = 0; i < context->count; i++) {
        broker_ids_set(context->frame + BROKER_HEADER_BYTES, i,
            context->members[i].subscription->id);
    }
    context->frame_bytes = CONTEXT_FRAME_BYTES(context->count);
}

/* What the members, which are there, make of it. */
static void
fill(struct context *context, struct context_table *table, uint32_t count,
    bool retained)
{
    context->table = table;
    context->references = 1;
    context->count = count;
    context->retained = retained;
    for (int kind = 0; kind < GAP_KINDS; kind++) {
        context->gaps[kind].kind = (enum gap_kind)kind;
    }
    encode_frame(context);
}

void
context_init_own(struct context_table *table, struct subscription *subscription,
    uint64_t serial, enum broker_overflow overflow)
{
    struct context *context = &subscription->own;
    subscription->self = (struct context_member){subscription, serial};
    *context = (struct context){.members = &subscription->self,
        .frame = subscription->frame,
        .overflow = overflow};
    fill(context, table, 1, false);
}

static struct context *
make(struct context_table *table, struct subscription **subscriptions,
    uint32_t count, bool retained, uint64_t hash)
{
    size_t members_bytes = count * sizeof(struct context_member);
    struct context *context = calloc(1,
        sizeof *context + members_bytes + CONTEXT_FRAME_BYTES((size_t)count));
    if (context == NULL) {
        return NULL;
    }
    if (!table_insert(&table->contexts, &context->link, hash)) {
        free(context);
        return NULL;
    }
    context->members = (struct context_member *)(context + 1);
    context->frame = (uint8_t *)(context->members + count);
    context->overflow = BROKER_OVERFLOW_CONFLATE; /* until another wins */
    for (uint32_t i = 0; i < count; i++) {
        context->members[i] = subscriptions[i]->self;
        if (preserves(subscriptions[i]->own.overflow) >
            preserves(context->overflow)) {
            context->overflow = subscriptions[i]->own.overflow;
        }
    }
    fill(context, table, count, retained);
    return context;
}

struct context *
context_get(struct context_table *table, struct subscription **subscriptions,
    uint32_t count, bool retained)
{
    assert(count > 0);
    if (count == 1 && !retained) {
        return context_ref(&subscriptions[0]->own);
    }
    if (count > 1) {
        qsort(subscriptions, count, sizeof *subscriptions, compare_ids);
    }
    uint64_t hash = set_hash(table, subscriptions, count, retained);
    struct context *context = find(table, subscriptions, count, retained, hash);
    if (context != NULL) {
        return context_ref(context);
    }
    return make(table, subscriptions, count, retained, hash);
}

void
context_unref(struct context *context)
{
    if (context == NULL || --context->references > 0) {
        return;
    }
    for (int kind = 0; kind < GAP_KINDS; kind++) {
        assert(context->gaps[kind].messages == 0);
    }
    if (context->link.tag != 0) {
        table_remove(&context->table->contexts, &context->link);
    }
    free(context);
}

bool
context_has(
    const struct context *context, const struct subscription *subscription)
{
    for (uint32_t i = 0; i < context->count; i++) {
        if (context->members[i].serial == subscription->self.serial) {
            return true;
        }
    }
    return false;
}

/* The members of both are in the order of their ids. */
bool
context_covers(const struct context *context, const struct context *other)
{
    if (context == other) {
        return true;
    }
    uint32_t found = 0;
    for (uint32_t i = 0; i < context->count && found < other->count; i++) {
        found += context->members[i].serial == other->members[found].serial;
    }
    return found == other->count;
}

struct context *
context_without(
    struct context *context, const struct subscription *subscription)
{
    if (context->count < 2) {
        return NULL;
    }
    struct subscription **rest =
        malloc((context->count - 1) * sizeof(struct subscription *));
    if (rest == NULL) {
        return NULL;
    }
    uint32_t count = 0;
    for (uint32_t i = 0; i < context->count; i++) {
        if (context->members[i].serial != subscription->self.serial) {
            rest[count++] = context->members[i].subscription;
        }
    }
    struct context *without =
        context_get(context->table, rest, count, context->retained);
    free(rest);
    return without;
}

void
context_shrink(struct context *context, const struct subscription *subscription,
    bool with_frame)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < context->count; i++) {
        if (context->members[i].serial != subscription->self.serial) {
            context->members[kept++] = context->members[i];
        }
    }
    assert(kept > 0);
    context->count = kept;
    if (with_frame) {
        encode_frame(context);
    }
}

void
context_enter_queued(struct context *context, uint64_t n)
{
    for (uint32_t i = 0; i < context->count; i++) {
        context->members[i].subscription->books.matched += n;
        context->members[i].subscription->books.queued += n;
    }
}

void
context_enter_delivered(struct context *context, uint64_t n)
{
    for (uint32_t i = 0; i < context->count; i++) {
        context->members[i].subscription->books.queued -= n;
        context->members[i].subscription->books.delivered += n;
    }
}

void
context_enter_refused(
    struct context *context, uint64_t n, enum drop_reason reason)
{
    for (uint32_t i = 0; i < context->count; i++) {
        context->members[i].subscription->books.matched += n;
        context->members[i].subscription->books.dropped[reason] += n;
    }
}

void
context_enter_dropped(
    struct context *context, uint64_t n, enum drop_reason reason)
{
    for (uint32_t i = 0; i < context->count; i++) {
        context->members[i].subscription->books.queued -= n;
        context->members[i].subscription->books.dropped[reason] += n;
    }
}
