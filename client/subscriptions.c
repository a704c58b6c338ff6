/* SPDX-License-Identifier: MIT
 *
 * See subscriptions.h.
 */
#include "subscriptions.h"

#include <stdlib.h>
#include <string.h>

#include "consume.h"

void
subscriptions_fini(struct subscriptions *subscriptions)
{
    while (subscriptions->first != NULL) {
        subscriptions_remove(subscriptions, subscriptions->first);
    }
    map_fini(&subscriptions->by_id);
}

static uint32_t
unused_id(struct subscriptions *subscriptions)
{
    do {
        subscriptions->last_id++;
    } while (subscriptions->last_id == 0 ||
             map_get(&subscriptions->by_id, subscriptions->last_id) != NULL);
    return subscriptions->last_id;
}

struct subscription *
subscriptions_add(struct subscriptions *subscriptions,
    struct broker_bytes filter, struct broker_bytes group)
{
    struct subscription *subscription =
        calloc(1, sizeof *subscription + filter.len + group.len);
    if (subscription == NULL) {
        return NULL;
    }
    subscription->id = unused_id(subscriptions);
    if (!map_put(&subscriptions->by_id, subscription->id, subscription)) {
        free(subscription);
        return NULL;
    }
    if (filter.len > 0) { /* of a whole stream there is none */
        memcpy(subscription->text, filter.data, filter.len);
        subscription->filter =
            (struct broker_bytes){subscription->text, filter.len};
    }
    if (group.len > 0) {
        memcpy(subscription->text + filter.len, group.data, group.len);
        subscription->group =
            (struct broker_bytes){subscription->text + filter.len, group.len};
    }
    subscription->previous = subscriptions->last;
    if (subscriptions->last == NULL) {
        subscriptions->first = subscription;
    } else {
        subscriptions->last->next = subscription;
    }
    subscriptions->last = subscription;
    return subscription;
}

struct subscription *
subscriptions_find(const struct subscriptions *subscriptions, uint32_t id)
{
    return map_get(&subscriptions->by_id, id);
}

struct subscription *
subscriptions_in_state(
    const struct subscriptions *subscriptions, enum subscription_state state)
{
    struct subscription *subscription = subscriptions->first;
    while (subscription != NULL && subscription->state != state) {
        subscription = subscription->next;
    }
    return subscription;
}

void
subscriptions_remove(
    struct subscriptions *subscriptions, struct subscription *subscription)
{
    (void)map_remove(&subscriptions->by_id, subscription->id);
    if (subscription->previous == NULL) {
        subscriptions->first = subscription->next;
    } else {
        subscription->previous->next = subscription->next;
    }
    if (subscription->next == NULL) {
        subscriptions->last = subscription->previous;
    } else {
        subscription->next->previous = subscription->previous;
    }
    subscriptions_unmark_pending(subscriptions, subscription);
    consume_free(subscription->consume);
    free(subscription);
}

void
subscriptions_mark_pending(
    struct subscriptions *subscriptions, struct subscription *subscription)
{
    struct consume *consume = subscription->consume;
    if (!consume->is_pending) {
        consume->is_pending = true;
        consume->next_pending = subscriptions->pending;
        subscriptions->pending = subscription;
    }
}

void
subscriptions_unmark_pending(
    struct subscriptions *subscriptions, struct subscription *subscription)
{
    struct subscription **link = &subscriptions->pending;
    if (subscription->consume == NULL || !subscription->consume->is_pending) {
        return;
    }
    while (*link != subscription) {
        link = &(*link)->consume->next_pending;
    }
    *link = subscription->consume->next_pending;
    subscription->consume->is_pending = false;
    subscription->consume->next_pending = NULL;
}

size_t
subscriptions_count(const struct subscriptions *subscriptions)
{
    size_t count = 0;
    for (const struct subscription *s = subscriptions->first; s != NULL;
         s = s->next) {
        count += !s->is_replies;
    }
    return count;
}
