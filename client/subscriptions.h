/* SPDX-License-Identifier: MIT
 *
 * The subscriptions of one handle: by id, and in the order in which they were
 * made, which is the order in which they are made again. Knows no frames and
 * calls nobody back.
 *
 * Thread: the structs are created on any thread (under the handle's lock), and
 * removed only by the thread that drives. So that thread may look at one
 * without the lock while it calls back; what others change meanwhile is `muted`
 * alone, and therefore atomic.
 */
#ifndef BROKER_CLIENT_SUBSCRIPTIONS_H
#define BROKER_CLIENT_SUBSCRIPTIONS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <broker/client.h>

#include "map.h"

struct consume;
struct inbox_entry;

enum subscription_state {
    SUBSCRIPTION_NEW,    /* not sent on this connection */
    SUBSCRIPTION_SENT,   /* SUBSCRIBE is on its way */
    SUBSCRIPTION_ACTIVE, /* SUBACK came */
    SUBSCRIPTION_ENDING, /* UNSUBSCRIBE is on its way */
    SUBSCRIPTION_ENDED,  /* over; its callbacks have to run */
};

struct subscription {
    struct subscription *previous, *next;
    uint32_t id;
    enum subscription_state state;
    atomic_bool muted; /* on_message must not be called any more */
    bool is_replies;   /* the library's own: answers to requests */
    bool was_active;   /* on an earlier connection: a gap is possible */
    bool told;         /* on_subscribed ran */
    enum broker_status revoked; /* by the broker, while it was ending */
    broker_client_message_fn *on_message;
    broker_client_subscribed_fn *on_subscribed;
    void *subscribed_user;
    void *user; /* of on_message */
    broker_client_unsubscribed_fn *on_unsubscribed;
    void *unsubscribed_user;
    enum broker_overflow overflow;
    uint8_t options;
    struct broker_bytes filter, group; /* in `text` */
    struct consume *consume; /* of a stream; NULL: a plain one. Owned */

    /* For broker_client_next(): what was lost in front of its queue. */
    struct inbox_entry *open_gap;
    uint64_t missed_count, missed_bytes;

    uint8_t text[];
};

struct subscriptions {
    struct map by_id;
    struct subscription *first, *last;
    uint32_t last_id;
    size_t ended;                 /* how many are in SUBSCRIPTION_ENDED */
    struct subscription *pending; /* those with settlements to be said */
};

/* Frees all; nobody is called back. */
void subscriptions_fini(struct subscriptions *subscriptions);

/* A new one in SUBSCRIPTION_NEW with an id that no other has; the strings are
 * copied. NULL: no memory. */
struct subscription *subscriptions_add(struct subscriptions *subscriptions,
    struct broker_bytes filter, struct broker_bytes group);

struct subscription *subscriptions_find(
    const struct subscriptions *subscriptions, uint32_t id);

/* The first one in this state, or NULL. */
struct subscription *subscriptions_in_state(
    const struct subscriptions *subscriptions, enum subscription_state state);

/* Take it out and free it. */
void subscriptions_remove(
    struct subscriptions *subscriptions, struct subscription *subscription);

/* There is something to say of it (consume.h); then, there is not any more. */
void subscriptions_mark_pending(
    struct subscriptions *subscriptions, struct subscription *subscription);
void subscriptions_unmark_pending(
    struct subscriptions *subscriptions, struct subscription *subscription);

/* Those that the user made. */
size_t subscriptions_count(const struct subscriptions *subscriptions);

#endif
