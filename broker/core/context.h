/* SPDX-License-Identifier: MIT
 *
 * Contexts: the set of one connection's subscriptions that a message is for,
 * with the CONTEXT frame that says so (PROTOCOL.md section 4.12).
 *
 * There is one object for each set in use, so that two messages are for the
 * same subscriptions exactly when their contexts are the same pointer. Also the
 * place where gaps of that set are counted until they can be reported.
 */
#ifndef BROKER_CORE_CONTEXT_H
#define BROKER_CORE_CONTEXT_H

#include "books.h"
#include "table.h"

#include <broker/codec.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

struct subscription;

enum gap_kind {
    GAP_LEADING,
    GAP_CONFLATED,
    GAP_TRAILING,
    GAP_KINDS,
};

/* Messages of a set that are missing and were not reported yet. Part of the
 * set's context; in a list it holds a reference to that. */
struct gap {
    TAILQ_ENTRY(gap) link;
    uint64_t messages; /* 0: nothing pending */
    uint64_t bytes;
    enum broker_gap_reason reason;
    enum gap_kind kind;
};
TAILQ_HEAD(gap_list, gap);

struct context_member {
    /* Dangles once the subscription is gone, which is why sets are told apart
     * by serial. Only queued messages may follow it, and a subscription that
     * goes takes itself out of those. */
    struct subscription *subscription;
    uint64_t serial; /* unique for the life of the broker, unlike ids */
};

struct context {
    /* Leading: missing before everything queued; conflated: the same, because
     * a newer one of the topic is queued; trailing: missing after everything
     * queued. */
    struct gap gaps[GAP_KINDS];
    struct context *forgot; /* scratch of output_forget: this set without */
    uint64_t forgot_serial; /* the subscription of this serial */
    struct context_table *table;
    struct context_member *members;
    uint8_t *frame; /* the encoded CONTEXT frame */
    uint32_t frame_bytes;
    uint32_t references;
    uint32_t count;                /* of members */
    struct table_link link;        /* not of a subscription's own one */
    enum broker_overflow overflow; /* the most preserving of the set */
    bool retained;
};

/* Of the frame for so many subscriptions. */
#define CONTEXT_FRAME_BYTES(count) (BROKER_HEADER_BYTES + (count)*4)

static inline struct context *
gap_context(const struct gap *gap)
{
    size_t offset = offsetof(struct context, gaps);
    const struct gap *gaps = gap - gap->kind;
    return (struct context *)(uintptr_t)((const char *)gaps - offset);
}

struct context_table {
    struct table contexts;
    uint64_t seed;
};

/* Fill in the set of just this subscription, which is part of it, with one
 * reference; its id is set. Whoever gives back the last reference frees the
 * memory that the subscription is in. */
void context_init_own(struct context_table *table,
    struct subscription *subscription, uint64_t serial,
    enum broker_overflow overflow);

/* The context of this set, with a reference for the caller; NULL if memory is
 * out. All subscriptions must be of one session; their order does not matter
 * and is changed. */
struct context *context_get(struct context_table *table,
    struct subscription **subscriptions, uint32_t count, bool retained);

static inline struct context *
context_ref(struct context *context)
{
    context->references++;
    return context;
}

/* NULL is allowed. */
void context_unref(struct context *context);

bool context_has(
    const struct context *context, const struct subscription *subscription);

/* Does the one set have all subscriptions of the other? */
bool context_covers(const struct context *context, const struct context *other);

/* The same set without one of its subscriptions, with a reference; NULL if that
 * leaves nothing, or memory is out. */
struct context *context_without(
    struct context *context, const struct subscription *subscription);

/* Take the subscription out of the set itself, and out of its frame too unless
 * that is being sent. Needs no memory, and costs that this set is no longer the
 * one object of its kind; for when context_without failed. The set has others
 * and all who refer to it mean it without this one from now on. */
void context_shrink(struct context *context,
    const struct subscription *subscription, bool with_frame);

/* Enter what happened to n messages into the books of the whole set. */
void context_enter_queued(struct context *context, uint64_t n);
void context_enter_delivered(struct context *context, uint64_t n);
void context_enter_refused(
    struct context *context, uint64_t n, enum drop_reason reason);
void context_enter_dropped(
    struct context *context, uint64_t n, enum drop_reason reason);

#endif
