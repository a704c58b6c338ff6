/* SPDX-License-Identifier: MIT
 *
 * What the user asks for, as frames in the log and entries in the tables. See
 * session.h. Nothing here calls back, so every thread may call it.
 */
#include "session.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static enum broker_status
refuse(struct session *session, enum broker_status status, const char *what)
{
    text_status(
        session->error_text, what, status, (struct broker_bytes){NULL, 0});
    return status;
}

/* ---- judging a message --------------------------------------------------- */

static bool
topic_is_good(struct session *session, struct broker_bytes topic)
{
    struct session_topic_memo *memo = &session->sent_topic;
    if (topic.len == memo->len && topic.len > 0 &&
        memcmp(topic.data, memo->bytes, memo->len) == 0) {
        return true;
    }
    if (broker_topic_check(&session->agreed.limits, topic) != BROKER_OK) {
        return false;
    }
    if (topic.len <= sizeof memo->bytes) {
        memcpy(memo->bytes, topic.data, topic.len);
        memo->len = topic.len;
    }
    return true;
}

static enum broker_status
refuse_too_large(struct session *session, struct broker_bytes topic, size_t n)
{
    char name[128];
    text_copy(name, sizeof name, topic);
    text_format(session->error_text,
        "a message of %zu bytes to '%s' is larger than the limit of %lu bytes "
        "in one message (max_body_bytes): %s",
        n, name, (unsigned long)session->agreed.max_body_bytes,
        broker_status_remedy(BROKER_E_TOO_LARGE));
    return BROKER_E_TOO_LARGE;
}

static struct broker_publish
to_frame(const struct session_publish *publish)
{
    return (struct broker_publish){
        .flags = publish->retain ? BROKER_PUBLISH_RETAIN : 0,
        .topic = publish->topic,
        .headers = publish->fields,
        .payload = publish->payload,
    };
}

static struct broker_publish_batch
to_batch(const struct session_publish *publish)
{
    return (struct broker_publish_batch){.frames = publish->batch};
}

static size_t
size_of(const struct session_publish *publish)
{
    if (publish->payload.len > BROKER_BODY_BYTES_MAX ||
        publish->batch.len > BROKER_BODY_BYTES_MAX) {
        return 0;
    }
    struct broker_publish frame = to_frame(publish);
    struct broker_publish_batch batch = to_batch(publish);
    return publish->batch.len > 0 ? broker_publish_batch_size(&batch)
                                  : broker_publish_size(&frame);
}

enum broker_status
session_publish_check(struct session *session,
    const struct session_publish *publish, size_t *frame_bytes)
{
    if (publish->needs_streams && session->agreed.known &&
        !session->agreed.streams) {
        return refuse(session, BROKER_E_UNSUPPORTED_TYPE,
            "cannot publish: this broker knows no streams");
    }
    if (!topic_is_good(session, publish->topic)) {
        return refuse(session, BROKER_E_BAD_TOPIC, "cannot publish");
    }
    size_t size = size_of(publish);
    if (size == 0 ||
        size - BROKER_HEADER_BYTES > session->agreed.max_body_bytes) {
        return refuse_too_large(session, publish->topic,
            publish->batch.len > 0 ? publish->batch.len
                                   : publish->topic.len + publish->fields.len +
                                         publish->payload.len);
    }
    *frame_bytes = size;
    return BROKER_OK;
}

bool
session_has_room(const struct session *session, size_t frame_bytes)
{
    size_t bytes = session->log.bytes;
    size_t limit = session->config.buffer_bytes;
    return bytes == 0 || (bytes < limit && frame_bytes <= limit - bytes);
}

/* ---- subscribe ----------------------------------------------------------- */

static struct broker_subscribe
subscribe_frame(const struct subscription *subscription)
{
    return (struct broker_subscribe){
        .id = subscription->id,
        .overflow = subscription->overflow,
        .options = subscription->options,
        .filter = subscription->filter,
        .group = subscription->group,
    };
}

enum broker_status
session_send_subscribe(struct session *session,
    struct subscription *subscription, bool in_preamble)
{
    bool is_plain = subscription->consume == NULL;
    struct broker_subscribe plain = {0};
    struct broker_consume consume = {0};
    if (is_plain) {
        plain = subscribe_frame(subscription);
    } else {
        consume = session_consume_frame(subscription);
    }
    size_t size = is_plain ? broker_subscribe_size(&plain)
                           : broker_consume_size(&consume);
    size_t n = 0;
    uint8_t *data = in_preamble ? session_preamble_reserve(session, size)
                                : outlog_reserve(&session->log, size);
    if (data == NULL) {
        return session_end(session, BROKER_E_NO_MEMORY,
            broker_status_text(BROKER_E_NO_MEMORY));
    }
    enum broker_status status =
        is_plain ? broker_subscribe_encode(&plain, data, size, &n)
                 : broker_consume_encode(&consume, data, size, &n);
    assert(status == BROKER_OK);
    (void)status;
    if (in_preamble) {
        session->preamble.size += n;
    } else {
        outlog_commit(&session->log, n);
    }
    subscription->state = SUBSCRIPTION_SENT;
    return BROKER_OK;
}

static enum broker_status
subscription_check(struct session *session,
    const struct broker_client_subscription *subscription,
    struct broker_bytes filter, struct broker_bytes group)
{
    if (broker_filter_check(&session->agreed.limits, filter) != BROKER_OK) {
        return refuse(session, BROKER_E_BAD_FILTER, "cannot subscribe");
    }
    if (subscription->group != NULL && broker_group_check(group) != BROKER_OK) {
        return refuse(session, BROKER_E_BAD_GROUP, "cannot subscribe");
    }
    if ((unsigned)subscription->overflow > BROKER_OVERFLOW_BLOCK) {
        return refuse(session, BROKER_E_INVALID_ARGUMENT, "cannot subscribe");
    }
    if (session->agreed.known && session->subscriptions.by_id.count >=
                                     session->agreed.max_subscriptions) {
        return refuse(
            session, BROKER_E_TOO_MANY_SUBSCRIPTIONS, "cannot subscribe");
    }
    return BROKER_OK;
}

enum broker_status
session_add_subscription(struct session *session, struct broker_bytes filter,
    struct broker_bytes group, const struct subscription *template,
    struct subscription **out)
{
    struct subscription *added =
        subscriptions_add(&session->subscriptions, filter, group);
    if (added == NULL) {
        return refuse(session, BROKER_E_NO_MEMORY, "cannot subscribe");
    }
    added->is_replies = template->is_replies;
    added->overflow = template->overflow;
    added->options = template->options;
    added->on_message = template->on_message;
    added->on_subscribed = template->on_subscribed;
    added->subscribed_user = template->subscribed_user;
    added->user = template->user;
    added->consume = template->consume;
    if (session->state == SESSION_OPEN) {
        enum broker_status status =
            session_send_subscribe(session, added, false);
        if (status != BROKER_OK) {
            added->consume = NULL;
            subscriptions_remove(&session->subscriptions, added);
            return status;
        }
    }
    *out = added;
    return BROKER_OK;
}

static struct broker_bytes
bytes_of(const char *string)
{
    return (struct broker_bytes){
        (const uint8_t *)string, string == NULL ? 0 : strlen(string)};
}

enum broker_status
session_subscribe(struct session *session,
    const struct broker_client_subscription *subscription,
    const struct session_outcome *outcome, uint32_t *out)
{
    struct broker_bytes filter = bytes_of(subscription->filter);
    struct broker_bytes group = bytes_of(subscription->group);
    enum broker_status status =
        subscription_check(session, subscription, filter, group);
    if (status != BROKER_OK) {
        return status;
    }
    struct subscription *added;
    const struct subscription template = {
        .overflow = subscription->overflow,
        .options = subscription->no_retained ? BROKER_SUBSCRIBE_NO_RETAINED : 0,
        .on_message = subscription->on_message,
        .on_subscribed = outcome->on_subscribed,
        .subscribed_user = outcome->user,
        .user = subscription->user,
    };
    status =
        session_add_subscription(session, filter, group, &template, &added);
    if (status == BROKER_OK) {
        *out = added->id;
    }
    return status;
}

/* The subscription is not ending yet. What a durable consumer would still get
 * could not be acknowledged any more: it is for others. */
static enum broker_status
unsubscribe(
    struct session *session, struct subscription *subscription, bool drain)
{
    if (subscription->consume != NULL) {
        enum broker_status status =
            session_flush_settled_of(session, subscription);
        if (status != BROKER_OK) {
            return status;
        }
        drain = drain && !subscription->consume->is_consumer;
    }
    if (session->state != SESSION_OPEN) {
        subscription->state = SUBSCRIPTION_ENDED;
        session->subscriptions.ended++;
    } else if (consume_is_over(subscription->consume)) {
        subscription->state = SUBSCRIPTION_ENDING; /* UNSUBACK comes anyway */
    } else {
        struct broker_unsubscribe frame = {
            .id = subscription->id,
            .flags = drain ? BROKER_UNSUBSCRIBE_DRAIN : 0,
        };
        uint8_t bytes[BROKER_HEADER_BYTES];
        size_t n;
        enum broker_status status =
            broker_unsubscribe_encode(&frame, bytes, sizeof bytes, &n);
        assert(status == BROKER_OK);
        status = session_append(session, bytes, n);
        if (status != BROKER_OK) {
            return status;
        }
        subscription->state = SUBSCRIPTION_ENDING;
    }
    atomic_store_explicit(&subscription->muted, !drain, memory_order_release);
    return BROKER_OK;
}

enum broker_status
session_unsubscribe(struct session *session, uint32_t id, bool drain,
    broker_client_unsubscribed_fn *callback, void *user)
{
    struct subscription *subscription =
        subscriptions_find(&session->subscriptions, id);
    if (subscription == NULL || subscription->is_replies ||
        subscription->state >= SUBSCRIPTION_ENDING) {
        return refuse(
            session, BROKER_E_UNKNOWN_SUBSCRIPTION, "cannot unsubscribe");
    }
    enum broker_status status = unsubscribe(session, subscription, drain);
    if (status == BROKER_OK) {
        subscription->on_unsubscribed = callback;
        subscription->unsubscribed_user = user;
    }
    return status;
}

enum broker_status
session_unsubscribe_all(struct session *session, bool replies)
{
    for (struct subscription *s = session->subscriptions.first; s != NULL;
         s = s->next) {
        if (s->state >= SUBSCRIPTION_ENDING || (s->is_replies && !replies)) {
            continue;
        }
        enum broker_status status = unsubscribe(session, s, true);
        if (status != BROKER_OK) {
            return status;
        }
    }
    return BROKER_OK;
}

/* ---- requests ------------------------------------------------------------ */

static enum broker_status
request_new(struct session *session, const struct session_publish *publish,
    struct request **out)
{
    enum broker_status status = session_subscribe_inbox(session);
    if (status != BROKER_OK) {
        return status;
    }
    struct request *request =
        requests_add(&session->requests, publish->token, publish->deadline_us);
    if (request == NULL) {
        return refuse(session, BROKER_E_NO_MEMORY, "cannot send a request");
    }
    request->callback = publish->on_reply;
    request->user = publish->user;
    *out = request;
    return BROKER_OK;
}

/* ---- publish ------------------------------------------------------------- */

/* Append the frame to the log. */
static enum broker_status
append_publish(struct session *session, const struct session_publish *publish,
    uint32_t number, size_t frame_bytes)
{
    uint8_t *data = outlog_reserve(&session->log, frame_bytes);
    if (data == NULL) {
        return BROKER_E_NO_MEMORY;
    }
    struct broker_publish frame = to_frame(publish);
    struct broker_publish_batch batch = to_batch(publish);
    frame.id = batch.id = number;
    size_t n;
    enum broker_status status =
        publish->batch.len > 0
            ? broker_publish_batch_encode(&batch, data, frame_bytes, &n)
            : broker_publish_encode(&frame, data, frame_bytes, &n);
    if (status == BROKER_OK) {
        outlog_commit(&session->log, n);
        session->stats.messages_published++;
    }
    return status;
}

static enum broker_status
publish_numbered(struct session *session, const struct session_publish *publish,
    size_t frame_bytes)
{
    struct request *request = NULL;
    enum broker_status status = BROKER_OK;
    if (!publishes_reserve(&session->publishes)) {
        return BROKER_E_NO_MEMORY;
    }
    if (publish->kind == PUBLISH_REQUEST) {
        status = request_new(session, publish, &request);
        if (status != BROKER_OK) {
            return status;
        }
    }
    uint32_t number = publishes_next_number(&session->publishes);
    status = append_publish(session, publish, number, frame_bytes);
    if (status != BROKER_OK) {
        if (request != NULL) {
            requests_remove(&session->requests, request);
        }
        return status;
    }
    struct publish_slot slot = {
        .state = PUBLISH_WAITING,
        .kind = (uint8_t)publish->kind,
        .needs_streams = publish->needs_streams,
        .callback = publish->callback,
        .user = publish->user,
    };
    if (request != NULL) {
        request->number = number;
        request->waiting = true;
        slot.user = request;
        session->stats.requests++;
    }
    slot.chunk = outlog_hold(&session->log, frame_bytes, &slot.offset);
    publishes_push(&session->publishes, &slot);
    return BROKER_OK;
}

enum broker_status
session_publish(struct session *session, const struct session_publish *publish,
    size_t frame_bytes)
{
    enum broker_status status;
    if (publish->numbered) {
        status = publish_numbered(session, publish, frame_bytes);
    } else {
        status = append_publish(session, publish, 0, frame_bytes);
        session->fire_taken += status == BROKER_OK;
    }
    return status == BROKER_OK ? BROKER_OK
                               : refuse(session, status, "cannot publish");
}

/* ---- barriers, the end --------------------------------------------------- */

enum broker_status
session_barrier(struct session *session, bool is_ping,
    session_ponged_fn *callback, void *user)
{
    enum broker_status flushed = session_flush_settled(session);
    if (flushed != BROKER_OK) {
        return flushed;
    }
    struct session_barrier *barrier = calloc(1, sizeof *barrier);
    if (barrier == NULL) {
        return refuse(session, BROKER_E_NO_MEMORY, "cannot flush");
    }
    barrier->is_ping = is_ping;
    barrier->callback = callback;
    barrier->user = user;
    barrier->publish_mark =
        is_ping ? 0 : publishes_next_ordinal(&session->publishes);
    if (session->state == SESSION_OPEN) {
        enum broker_status status =
            session_append_ping(session, &barrier->ping);
        if (status != BROKER_OK) {
            free(barrier);
            return status;
        }
    }
    struct session_barrier **link = &session->barriers;
    while (*link != NULL) {
        link = &(*link)->next;
    }
    *link = barrier;
    return BROKER_OK;
}

enum broker_status
session_leave(struct session *session)
{
    struct broker_goaway goaway = {.code = BROKER_E_LEAVING};
    uint8_t bytes[BROKER_HEADER_BYTES + 8];
    size_t n;
    enum broker_status status =
        broker_goaway_encode(&goaway, bytes, sizeof bytes, &n);
    assert(status == BROKER_OK);
    status = session_append(session, bytes, n);
    if (status == BROKER_OK) {
        session_set_state(session, SESSION_LEAVING);
    }
    return status;
}

/* Gaps that could not be stored when they came are stored now, behind what did
 * come. */
static void
tell_untold(struct session *session)
{
    session->inbox.untold = false;
    for (struct subscription *s = session->subscriptions.first; s != NULL;
         s = s->next) {
        inbox_tell_missed(&session->inbox, s);
    }
}

struct inbox_entry *
session_take_event(struct session *session)
{
    if (session->inbox.untold) {
        tell_untold(session);
    }
    struct inbox_entry *entry = inbox_pop(&session->inbox);
    if (entry != NULL && entry->event.kind == BROKER_CLIENT_EVENT_GAP &&
        entry->gap.reason == BROKER_CLIENT_GAP_INBOX) {
        struct subscription *subscription = subscriptions_find(
            &session->subscriptions, entry->gap.subscriptions[0]);
        if (subscription != NULL && subscription->open_gap == entry) {
            subscription->open_gap = NULL;
        }
    }
    if (entry != NULL && entry->event.kind == BROKER_CLIENT_EVENT_MESSAGE) {
        session_hold_fetched(session, entry);
    }
    return entry;
}
