/* SPDX-License-Identifier: MIT
 *
 * Subscriptions and queue groups: what one connection wants.
 *
 * Plain data. Who changes what: index.c the links, context.c and output.c the
 * books, handle_subscribe.c the rest.
 */
#ifndef BROKER_CORE_SUBSCRIPTION_H
#define BROKER_CORE_SUBSCRIPTION_H

#include "books.h"
#include "context.h"
#include "fetch.h"
#include "table.h"
#include "topic_tree.h"

#include <broker/codec.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

struct interest;

/* With many subscriptions each message finds another one cold: what a delivery
 * needs stands together, from the end of `own` to the start of `books`. */
struct subscription {
    /* The set of just this one. The subscription is in its memory: that stays
     * until nothing refers to the set any more. The subscription's own
     * reference goes when it ends. */
    struct context own;
    struct context_member self;
    uint8_t frame[CONTEXT_FRAME_BYTES(1)];
    struct session *session;
    LIST_ENTRY(subscription) of_filter; /* plain ones of the same filter */
    struct books books;
    LIST_ENTRY(subscription) of_session;
    struct topic_node *node; /* the filter; NULL once it matches no more */
    struct group *group;     /* NULL: a plain subscription */
    struct reader *reader;   /* it reads a stream, */
    struct attachment *attachment; /* or takes part in a durable consumer */
    struct interest *interest; /* told to other workers; NULL: not in the index,
                                  or there are none */
    struct table_link link;    /* by session and id */
    uint32_t id;
    uint32_t group_slot;    /* its place in group->members */
    uint32_t rights_serial; /* of the session, when it was looked at last */
    const char *revoked_by; /* a rule, or NULL; with is_revoked */
    bool draining;          /* ends when its queue is empty */
    bool unsubscribing;     /* by the peer, but others do not know it yet */
    bool drains;            /* UNSUBSCRIBE said so */
    bool is_partial; /* granted for what its rights allow inside it only */
    bool is_revoked; /* ends because its rights have changed */
};
LIST_HEAD(subscription_list, subscription);

/* Whose own set this is. */
static inline struct subscription *
context_owner(struct context *own)
{
    return (struct subscription *)(void *)own; /* it begins with it */
}

/* Fetch what a delivery to this set needs, as far as it has a fixed place:
 * nearly always it is a subscription's own. */
static inline void
context_fetch(const struct context *context)
{
    const char *at = (const char *)context;
    fetch_range(at + offsetof(struct subscription, own.members),
        at + offsetof(struct subscription, books.dropped));
}

/* The members of a queue group that another worker has, and how busy they are,
 * as it said last. */
struct group_remote {
    LIST_ENTRY(group_remote) of_group;
    struct group *group;
    struct interest *interest; /* its ticket for them */
    uint64_t load;             /* messages queued for the least busy of them */
    uint64_t sent, processed;  /* messages given to that worker, and known to
                                  have arrived there */
    uint32_t worker;
    uint32_t members;
};

/* A queue group on one filter: each message goes to one member, here or on
 * another worker. */
struct group {
    LIST_ENTRY(group) of_filter;
    LIST_HEAD(, group_remote) remotes;
    struct topic_node *node;
    struct subscription **members;
    uint32_t count, capacity;
    uint32_t remote_turn; /* among all members, here and elsewhere */
    uint32_t turn;        /* where the search for the least loaded starts */
    uint8_t name_bytes;
    char name[];
};
LIST_HEAD(group_list, group);

#endif
