/* SPDX-License-Identifier: MIT
 *
 * SUBSCRIBE and UNSUBSCRIBE, and the life of subscriptions in between.
 * PROTOCOL.md sections 4.8 to 4.11, 5.4 and 5.5. */
#include "session.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static uint64_t
subscription_hash(const struct session *session, uint32_t id)
{
    uint64_t key[2] = {session->id, id};
    return table_hash(key, sizeof key, session->core->seed);
}

static struct subscription *
find_subscription(const struct session *session, uint32_t id)
{
    struct table_link *link = table_first(
        &session->core->subscriptions, subscription_hash(session, id));
    for (; link != NULL;
         link = table_next(&session->core->subscriptions, link)) {
        struct subscription *subscription =
            table_entry(link, struct subscription, link);
        if (subscription->session == session && subscription->id == id) {
            return subscription;
        }
    }
    return NULL;
}

static void
refuse(struct session *session, const struct broker_frame *frame,
    enum broker_status code, uint64_t limit)
{
    struct refusal refusal = {.code = code,
        .id = frame->id,
        .frame_type = frame->type,
        .limit = limit};
    session_refuse(session, &refusal);
}

/* ---- subscribe ----------------------------------------------------------- */

static bool
policy_is_available(enum broker_overflow overflow)
{
    return overflow == BROKER_OVERFLOW_DEFAULT ||
           overflow == BROKER_OVERFLOW_DROP_OLDEST ||
           overflow == BROKER_OVERFLOW_DROP_NEWEST ||
           overflow == BROKER_OVERFLOW_DISCONNECT;
}

static enum broker_status
check_subscribe(
    const struct session *session, const struct broker_subscribe *subscribe)
{
    if (subscribe->id == 0) {
        return BROKER_E_BAD_REQUEST;
    }
    if (find_subscription(session, subscribe->id) != NULL) {
        return BROKER_E_DUPLICATE_SUBSCRIPTION;
    }
    if (session->subscription_count >= session_max_subscriptions(session)) {
        return BROKER_E_TOO_MANY_SUBSCRIPTIONS;
    }
    if (!policy_is_available(subscribe->overflow)) {
        return BROKER_E_UNSUPPORTED_POLICY;
    }
    if (subscribe->group.len > 0) {
        enum broker_status status = broker_group_check(subscribe->group);
        if (status != BROKER_OK) {
            return status;
        }
    }
    return broker_filter_check(&session->core->limits, subscribe->filter);
}

static void
stop_matching(struct subscription *subscription)
{
    struct core *core = subscription->session->core;
    if (core->exchange != NULL) {
        interest_release(core, subscription);
    }
    index_remove(&core->index, subscription);
}

static void
subscription_free(struct subscription *subscription)
{
    struct session *session = subscription->session;
    assert(subscription->books.queued == 0);
    stop_matching(subscription);
    table_remove(&session->core->subscriptions, &subscription->link);
    LIST_REMOVE(subscription, of_session);
    session->subscription_count--;
    session->draining_count -= subscription->draining ? 1 : 0;
    context_unref(&subscription->own); /* and with the last one the memory */
}

static struct subscription *
subscription_new(
    struct session *session, const struct broker_subscribe *subscribe)
{
    struct core *core = session->core;
    struct subscription *subscription = calloc(1, sizeof *subscription);
    if (subscription == NULL) {
        return NULL;
    }
    subscription->session = session;
    subscription->id = subscribe->id;
    context_init_own(&core->contexts, subscription, ++core->subscription_serial,
        subscribe->overflow == BROKER_OVERFLOW_DEFAULT
            ? BROKER_OVERFLOW_DROP_OLDEST
            : subscribe->overflow);
    if (!table_insert(&core->subscriptions, &subscription->link,
            subscription_hash(session, subscribe->id))) {
        free(subscription);
        return NULL;
    }
    LIST_INSERT_HEAD(&session->subscriptions, subscription, of_session);
    session->subscription_count++;
    return subscription;
}

static void
send_suback(struct session *session, const struct subscription *subscription,
    size_t retained)
{
    struct broker_suback suback = {.id = subscription->id,
        .overflow = subscription->own.overflow,
        .retained = (uint32_t)retained};
    size_t size = broker_suback_size(&suback);
    uint8_t *dst = session_control(session, size);
    if (dst != NULL &&
        broker_suback_encode(&suback, dst, size, &size) == BROKER_OK) {
        session_control_done(session, size);
    }
}

static void
send_retained(struct session *session, struct subscription *subscription,
    const struct retained_copy *values, size_t count)
{
    struct context *context =
        context_get(&session->core->contexts, &subscription, 1, true);
    if (context == NULL) {
        session_close_now(session, BROKER_E_INTERNAL);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        struct output_run run = {.block = values[i].block,
            .data = values[i].data,
            .bytes = values[i].bytes,
            .messages = 1};
        (void)deliver_to(session, context, &run);
    }
    context_unref(context);
    deliver_done(session->core);
}

static bool
wants_retained(const struct broker_subscribe *subscribe)
{
    return subscribe->group.len == 0 &&
           (subscribe->options & BROKER_SUBSCRIBE_NO_RETAINED) == 0;
}

void
subscription_made(struct subscription *subscription, bool ok,
    const struct retained_copy *values, size_t count)
{
    struct session *session = subscription->session;
    if (!ok) {
        struct broker_frame frame = {
            .type = BROKER_FRAME_SUBSCRIBE, .id = subscription->id};
        subscription_free(subscription);
        refuse(session, &frame, BROKER_E_MEMORY, 0);
        return;
    }
    send_suback(session, subscription, count);
    if (count > 0) {
        send_retained(session, subscription, values, count);
    }
}

/* Where there are no other workers it is done at once. */
static void
make_here(struct session *session, struct subscription *subscription,
    const struct broker_subscribe *subscribe)
{
    struct core *core = session->core;
    size_t count = 0;
    struct retained_copy *values = NULL;
    bool ok = true;
    if (wants_retained(subscribe)) {
        values = retained_copies(&core->retained, subscribe->filter, &count);
        ok = count == 0 || values != NULL;
    }
    ok = ok && index_add(&core->index, subscription, subscribe->filter,
                   subscribe->group);
    subscription_made(subscription, ok, values, count);
    free(values);
}

void
handle_subscribe(struct session *session, const struct broker_frame *frame)
{
    struct broker_subscribe subscribe;
    enum broker_status status = broker_subscribe_decode(frame, &subscribe);
    if (status == BROKER_E_MALFORMED) {
        session_fail(session, status, frame->id, frame->type);
        return;
    }
    if (status == BROKER_OK) {
        status = check_subscribe(session, &subscribe);
    }
    if (status != BROKER_OK) {
        refuse(session, frame, status,
            status == BROKER_E_TOO_MANY_SUBSCRIPTIONS
                ? session_max_subscriptions(session)
                : 0);
        return;
    }
    ack_flush(session);
    struct subscription *subscription = subscription_new(session, &subscribe);
    if (subscription == NULL) {
        refuse(session, frame, BROKER_E_MEMORY, 0);
        return;
    }
    if (session->remote == NULL) {
        make_here(session, subscription, &subscribe);
    } else if (!interest_make(session, subscription, subscribe.filter,
                   subscribe.group, wants_retained(&subscribe))) {
        subscription_made(subscription, false, NULL, 0);
    }
}

/* ---- unsubscribe --------------------------------------------------------- */

static void
send_unsuback(struct session *session, const struct subscription *subscription)
{
    struct broker_unsuback unsuback = {.id = subscription->id,
        .matched = subscription->books.matched,
        .delivered = subscription->books.delivered,
        .dropped = books_dropped(&subscription->books)};
    size_t size = broker_unsuback_size(&unsuback);
    uint8_t *dst = session_control(session, size);
    if (dst != NULL &&
        broker_unsuback_encode(&unsuback, dst, size, &size) == BROKER_OK) {
        session_control_done(session, size);
    }
}

static void
end_subscription(struct session *session, struct subscription *subscription)
{
    output_forget(&session->output, subscription);
    send_unsuback(session, subscription);
    subscription_free(subscription);
}

static void
unsubscribe_now(struct subscription *subscription)
{
    struct session *session = subscription->session;
    stop_matching(subscription);
    if (subscription->drains && output_owes(&session->output, subscription)) {
        subscription->draining = true;
        session->draining_count++;
        return;
    }
    end_subscription(session, subscription);
}

void
handle_unsubscribe(struct session *session, const struct broker_frame *frame)
{
    struct broker_unsubscribe unsubscribe;
    enum broker_status status = broker_unsubscribe_decode(frame, &unsubscribe);
    if (status == BROKER_E_MALFORMED) {
        session_fail(session, status, frame->id, frame->type);
        return;
    }
    struct subscription *subscription = find_subscription(session, frame->id);
    if (status == BROKER_OK &&
        (subscription == NULL || subscription->draining)) {
        status = BROKER_E_UNKNOWN_SUBSCRIPTION;
    }
    if (status != BROKER_OK) {
        refuse(session, frame, status, 0);
        return;
    }
    ack_flush(session);
    subscription->unsubscribing = true;
    subscription->drains = (unsubscribe.flags & BROKER_UNSUBSCRIBE_DRAIN) != 0;
    if (session->remote == NULL || !interest_retire(subscription)) {
        unsubscribe_now(subscription);
    }
}

void
subscription_retired(struct subscription *subscription)
{
    struct session *session = subscription->session;
    if (subscription->unsubscribing) {
        unsubscribe_now(subscription);
    } else {
        stop_matching(subscription);
    }
    session_resume(session);
}

void
subscriptions_drained(struct session *session)
{
    struct subscription *subscription = LIST_FIRST(&session->subscriptions);
    while (subscription != NULL) {
        struct subscription *next = LIST_NEXT(subscription, of_session);
        if (subscription->draining &&
            !output_owes(&session->output, subscription)) {
            end_subscription(session, subscription);
        }
        subscription = next;
    }
}

/* ---- the end of a session ------------------------------------------------ */

bool
subscriptions_retire(struct session *session)
{
    struct subscription *subscription;
    LIST_FOREACH(subscription, &session->subscriptions, of_session)
    {
        if (subscription->group != NULL) {
            (void)interest_retire(subscription);
        }
    }
    return session->remote->retiring_count > 0;
}

void
subscriptions_stop(struct session *session, bool groups_only)
{
    struct subscription *subscription;
    LIST_FOREACH(subscription, &session->subscriptions, of_session)
    {
        if (!groups_only || subscription->group != NULL) {
            stop_matching(subscription);
        }
    }
}

void
subscriptions_free(struct session *session)
{
    while (!LIST_EMPTY(&session->subscriptions)) {
        subscription_free(LIST_FIRST(&session->subscriptions));
    }
}
