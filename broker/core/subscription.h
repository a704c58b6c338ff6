/* SPDX-License-Identifier: MIT
 *
 * Subscriptions, queue groups and their books: what one connection wants, and
 * what became of every message that it was meant to get.
 *
 * Plain data. Who changes what: index.c the links, context.c and output.c the
 * books, handle_subscribe.c the rest.
 */
#ifndef BROKER_CORE_SUBSCRIPTION_H
#define BROKER_CORE_SUBSCRIPTION_H

#include "table.h"
#include "topic_tree.h"

#include <broker/codec.h>

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

/* Why a matched message was not delivered. */
enum drop_reason {
    DROP_OVERFLOW,  /* the connection's output budget */
    DROP_TOO_LARGE, /* larger than the connection's max_body_bytes */
    DROP_MEMORY,    /* no memory to queue it */
    DROP_CLOSED,    /* still queued when connection or subscription ended */
    DROP_REASONS,
};

/* Always: matched == delivered + queued + the sum of dropped. Each counter is
 * changed where the thing happens, none is computed from the others, so that
 * the sum is a check. */
struct books {
    uint64_t matched;
    uint64_t delivered; /* handed to the socket */
    uint64_t queued;
    uint64_t dropped[DROP_REASONS];
};

static inline uint64_t
books_dropped(const struct books *books)
{
    uint64_t sum = 0;
    for (int reason = 0; reason < DROP_REASONS; reason++) {
        sum += books->dropped[reason];
    }
    return sum;
}

struct interest;

struct subscription {
    struct table_link link; /* by session and id */
    LIST_ENTRY(subscription) of_session;
    LIST_ENTRY(subscription) of_filter; /* plain ones of the same filter */
    struct session *session;
    struct topic_node *node;   /* the filter; NULL once it matches no more */
    struct group *group;       /* NULL: a plain subscription */
    struct context *context;   /* the set of just this one */
    struct interest *interest; /* told to other workers; NULL: not in the index,
                                  or there are none */
    struct books books;
    uint64_t serial; /* unique for the life of the broker, unlike id */
    uint32_t id;
    uint32_t group_slot; /* its place in group->members */
    enum broker_overflow overflow;
    bool draining; /* ends when its queue is empty */
};
LIST_HEAD(subscription_list, subscription);

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
    struct interest *interest; /* of the members here; or NULL */
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
