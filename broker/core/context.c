/* SPDX-License-Identifier: MIT
 *
 * Sets of subscriptions; see context.h. */
#include "context.h"

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
        hash = table_hash(
            &subscriptions[i]->serial, sizeof subscriptions[i]->serial, hash);
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
        if (context->members[i].serial != subscriptions[i]->serial) {
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

/* Disconnecting loses nothing silently and keeps what was queued; refusing the
 * newest keeps it too; dropping the oldest keeps least. */
static int
preserves(enum broker_overflow overflow)
{
    switch (overflow) {
    case BROKER_OVERFLOW_DISCONNECT:
        return 2;
    case BROKER_OVERFLOW_DROP_NEWEST:
        return 1;
    default:
        return 0;
    }
}

static bool
encode_frame(struct context *context)
{
    size_t ids_bytes = (size_t)context->count * 4;
    uint8_t *ids = malloc(ids_bytes);
    if (ids == NULL) {
        return false;
    }
    for (uint32_t i = 0; i < context->count; i++) {
        broker_ids_set(ids, i, context->members[i].subscription->id);
    }
    struct broker_context message = {
        .flags = context->retained ? BROKER_CONTEXT_RETAINED : 0,
        .ids = {ids, context->count}};
    size_t size = broker_context_size(&message);
    context->frame = malloc(size);
    bool ok = context->frame != NULL &&
              broker_context_encode(&message, context->frame, size,
                  &context->frame_bytes) == BROKER_OK;
    free(ids);
    return ok;
}

static struct context *
make(struct context_table *table, struct subscription **subscriptions,
    uint32_t count, bool retained, uint64_t hash)
{
    struct context *context =
        calloc(1, sizeof *context + count * sizeof(struct context_member));
    if (context == NULL) {
        return NULL;
    }
    context->table = table;
    context->references = 1;
    context->count = count;
    context->retained = retained;
    context->overflow = BROKER_OVERFLOW_DROP_OLDEST;
    context->leading.context = context->trailing.context = context;
    for (uint32_t i = 0; i < count; i++) {
        context->members[i] =
            (struct context_member){subscriptions[i], subscriptions[i]->serial};
        if (preserves(subscriptions[i]->overflow) >
            preserves(context->overflow)) {
            context->overflow = subscriptions[i]->overflow;
        }
    }
    if (!encode_frame(context) ||
        !table_insert(&table->contexts, &context->link, hash)) {
        free(context->frame);
        free(context);
        return NULL;
    }
    return context;
}

struct context *
context_get(struct context_table *table, struct subscription **subscriptions,
    uint32_t count, bool retained)
{
    assert(count > 0);
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
    assert(context->leading.messages == 0 && context->trailing.messages == 0);
    table_remove(&context->table->contexts, &context->link);
    free(context->frame);
    free(context);
}

bool
context_has(
    const struct context *context, const struct subscription *subscription)
{
    for (uint32_t i = 0; i < context->count; i++) {
        if (context->members[i].serial == subscription->serial) {
            return true;
        }
    }
    return false;
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
        if (context->members[i].serial != subscription->serial) {
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
        if (context->members[i].serial != subscription->serial) {
            context->members[kept++] = context->members[i];
        }
    }
    assert(kept > 0);
    context->count = kept;
    if (!with_frame) {
        return;
    }
    struct broker_header header;
    broker_header_decode(context->frame, &header);
    header.body_bytes = kept * 4;
    broker_header_encode(&header, context->frame);
    for (uint32_t i = 0; i < kept; i++) {
        broker_ids_set(context->frame + BROKER_HEADER_BYTES, i,
            context->members[i].subscription->id);
    }
    context->frame_bytes = BROKER_HEADER_BYTES + (size_t)header.body_bytes;
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
