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

struct subscription *
subscription_find(const struct session *session, uint32_t id)
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
    enum broker_status code, uint64_t limit, const char *text)
{
    struct refusal refusal = {.code = code,
        .id = frame->id,
        .frame_type = frame->type,
        .limit = limit,
        .text = text};
    session_refuse(session, &refusal);
}

/* ---- subscribe ----------------------------------------------------------- */

static bool
policy_is_available(const struct core *core, enum broker_overflow overflow)
{
    return overflow == BROKER_OVERFLOW_DEFAULT ||
           overflow == BROKER_OVERFLOW_DROP_OLDEST ||
           overflow == BROKER_OVERFLOW_DROP_NEWEST ||
           overflow == BROKER_OVERFLOW_CONFLATE ||
           overflow == BROKER_OVERFLOW_DISCONNECT ||
           (overflow == BROKER_OVERFLOW_BLOCK && core->options.allow_block);
}

/* PROTOCOL.md section 5.11. */
static enum broker_status
check_rights(const struct session *session, struct broker_bytes filter,
    bool in_group, bool *is_partial, const char **text)
{
    *is_partial = false;
    if (session->rights == NULL) {
        return BROKER_OK;
    }
    switch (rights_may_subscribe(session->rights, filter, text)) {
    case RIGHTS_GRANTED:
        return BROKER_OK;
    case RIGHTS_PARTLY:
        if (!in_group) {
            *is_partial = true;
            return BROKER_OK;
        }
        *text = "a queue group's filter must be permitted whole";
        return BROKER_E_SUBSCRIBE_DENIED;
    default:
        return BROKER_E_SUBSCRIBE_DENIED;
    }
}

/* Half of the memory is for messages, whatever subscriptions take. */
enum broker_status
subscription_check_new(const struct session *session, uint32_t id)
{
    const struct block_pool *pool = &session->core->pool;
    if (id == 0) {
        return BROKER_E_BAD_REQUEST;
    }
    if (subscription_find(session, id) != NULL) {
        return BROKER_E_DUPLICATE_SUBSCRIPTION;
    }
    if (session->subscription_count >= session_max_subscriptions(session)) {
        return BROKER_E_TOO_MANY_SUBSCRIPTIONS;
    }
    if (block_pool_others(pool) > pool->bytes_allowed / 2) {
        return BROKER_E_MEMORY;
    }
    return BROKER_OK;
}

static enum broker_status
check_subscribe(
    const struct session *session, const struct broker_subscribe *subscribe)
{
    enum broker_status new_status =
        subscription_check_new(session, subscribe->id);
    if (new_status != BROKER_OK) {
        return new_status;
    }
    if (!policy_is_available(session->core, subscribe->overflow)) {
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

void
subscription_remove(struct subscription *subscription)
{
    struct session *session = subscription->session;
    assert(subscription->books.queued == 0);
    reader_close(subscription);
    attachment_close(subscription);
    stop_matching(subscription);
    table_remove(&session->core->subscriptions, &subscription->link);
    LIST_REMOVE(subscription, of_session);
    session->subscription_count--;
    session->draining_count -= subscription->draining ? 1 : 0;
    context_unref(&subscription->own); /* and with the last one the memory */
}

struct subscription *
subscription_new(
    struct session *session, uint32_t id, enum broker_overflow overflow)
{
    struct core *core = session->core;
    struct subscription *subscription = calloc(1, sizeof *subscription);
    if (subscription == NULL) {
        return NULL;
    }
    subscription->session = session;
    subscription->id = id;
    context_init_own(&core->contexts, subscription, ++core->subscription_serial,
        overflow == BROKER_OVERFLOW_DEFAULT ? BROKER_OVERFLOW_DROP_OLDEST
                                            : overflow);
    if (!table_insert(&core->subscriptions, &subscription->link,
            subscription_hash(session, id))) {
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

static bool
is_permitted(
    const struct subscription *subscription, const struct retained_copy *value)
{
    const uint8_t *body = value->data + BROKER_HEADER_BYTES;
    struct broker_bytes topic = {body + 4, (size_t)body[0] << 8 | body[1]};
    return !subscription->is_partial ||
           rights_may_receive(subscription->session->rights, topic);
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
        if (is_permitted(subscription, &values[i])) {
            (void)deliver_to(session, context, &run);
        }
    }
    session->core->full = NULL; /* no publisher to make wait */
    context_unref(context);
    deliver_done(session->core);
}

static void review(struct subscription *subscription);

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
        subscription_remove(subscription);
        refuse(session, &frame, BROKER_E_MEMORY, 0, NULL);
        return;
    }
    size_t permitted = 0;
    for (size_t i = 0; i < count; i++) {
        permitted += is_permitted(subscription, &values[i]) ? 1 : 0;
    }
    session->core->work += count;
    send_suback(session, subscription, permitted);
    if (permitted > 0) {
        send_retained(session, subscription, values, count);
    }
    if (subscription->rights_serial != session->rights_serial &&
        session->state == SESSION_OPEN) {
        review(subscription); /* they changed while it was being made */
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

static void
refuse_subscribe(struct session *session, const struct broker_frame *frame,
    enum broker_status status, const char *text)
{
    uint64_t limit = 0;
    if (status == BROKER_E_TOO_MANY_SUBSCRIPTIONS) {
        limit = session_max_subscriptions(session);
    } else if (status == BROKER_E_SUBSCRIBE_DENIED) {
        session->core->totals.denied_subscribes++;
    }
    refuse(session, frame, status, limit, text);
}

void
handle_subscribe(struct session *session, const struct broker_frame *frame)
{
    struct broker_subscribe subscribe;
    const char *text = NULL;
    bool is_partial = false;
    enum broker_status status = broker_subscribe_decode(frame, &subscribe);
    if (status == BROKER_E_MALFORMED) {
        session_fail(session, status, frame->id, frame->type);
        return;
    }
    hold_after_subscribe(session);
    if (status == BROKER_OK) {
        status = check_subscribe(session, &subscribe);
    }
    if (status == BROKER_OK) {
        status = check_rights(session, subscribe.filter,
            subscribe.group.len > 0, &is_partial, &text);
    }
    if (status != BROKER_OK) {
        refuse_subscribe(session, frame, status, text);
        return;
    }
    ack_flush(session);
    struct subscription *subscription =
        subscription_new(session, subscribe.id, subscribe.overflow);
    if (subscription == NULL) {
        refuse(session, frame, BROKER_E_MEMORY, 0, NULL);
        return;
    }
    subscription->is_partial = is_partial;
    subscription->rights_serial = session->rights_serial;
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

/* The text is the rule, unless the rights changed once more while other workers
 * were told. */
static void
send_revoked(struct session *session, const struct subscription *subscription)
{
    struct refusal refusal = {.code = BROKER_E_REVOKED,
        .id = subscription->id,
        .frame_type = BROKER_FRAME_SUBSCRIBE,
        .text = subscription->revoked_by};
    session->core->totals.revoked_subscriptions++;
    session_refuse(session, &refusal);
}

static void
end_subscription(struct session *session, struct subscription *subscription)
{
    output_forget(&session->output, subscription);
    if (subscription->is_revoked) {
        send_revoked(session, subscription);
    } else {
        send_unsuback(session, subscription);
    }
    subscription_remove(subscription);
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
    struct subscription *subscription = subscription_find(session, frame->id);
    if (status == BROKER_OK &&
        (subscription == NULL || subscription->draining)) {
        status = BROKER_E_UNKNOWN_SUBSCRIPTION;
    }
    hold_after_subscribe(session);
    session->core->work += session->output.count;
    if (status != BROKER_OK) {
        refuse(session, frame, status, 0, NULL);
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

/* ---- rights that change -------------------------------------------------- */

/* Look at a subscription anew; it may end now. */
static void
review(struct subscription *subscription)
{
    struct session *session = subscription->session;
    if (subscription->node == NULL || subscription->unsubscribing) {
        return; /* ends anyway */
    }
    char small[512];
    size_t len = topic_node_path(subscription->node, small, sizeof small);
    char *text = len <= sizeof small ? small : malloc(len);
    enum broker_status status = BROKER_E_MEMORY;
    const char *rule = NULL;
    if (text != NULL) {
        (void)topic_node_path(subscription->node, text, len);
        struct broker_bytes filter = {(const uint8_t *)text, len};
        status = check_rights(session, filter, subscription->group != NULL,
            &subscription->is_partial, &rule);
    }
    subscription->rights_serial = session->rights_serial;
    if (text != small) {
        free(text);
    }
    if (status != BROKER_OK) {
        subscription->revoked_by = rule;
        subscription->is_revoked = subscription->unsubscribing = true;
        if (session->remote == NULL || !interest_retire(subscription)) {
            unsubscribe_now(subscription);
        }
    }
}

void
session_set_rights(struct session *session, struct rights *rights)
{
    struct rights *before = session->rights;
    session->rights = rights;
    session->rights_serial++;
    session->core->index.epoch++; /* routes were made with the old ones */
    struct subscription *subscription;
    LIST_FOREACH(subscription, &session->subscriptions, of_session)
    {
        subscription->revoked_by = NULL; /* it stands in the old ones */
    }
    subscription = LIST_FIRST(&session->subscriptions);
    while (subscription != NULL) {
        struct subscription *next = LIST_NEXT(subscription, of_session);
        review(subscription);
        subscription = next;
    }
    if (session->remote != NULL) {
        readers_review(session);
        attachments_review(session);
    }
    rights_unref(before);
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
        subscription_remove(LIST_FIRST(&session->subscriptions));
    }
}
