/* SPDX-License-Identifier: MIT
 *
 * Messages and gaps on their way to the user (PROTOCOL.md 4.12, 4.13). See
 * session.h.
 *
 * The ids of a CONTEXT are looked up once, when it comes; after that a message
 * finds its subscriptions as an array of pointers. As long as all of them have
 * an on_message, a run of messages is delivered without taking the lock: the
 * receive buffer and the context belong to the thread that drives, and
 * subscriptions are removed by that thread only.
 */
#include "session.h"

#include <stdlib.h>
#include <string.h>

static void
unlock(struct session *session)
{
    session->config.unlock(session->config.lock_context);
}

static void
lock(struct session *session)
{
    session->config.lock(session->config.lock_context);
}

/* ---- CONTEXT ------------------------------------------------------------- */

void
session_forget_in_context(
    struct session *session, const struct subscription *subscription)
{
    size_t kept = 0;
    if (session->position.id == subscription->id) {
        session->position.left = 0; /* the rest does not come any more */
    }
    for (size_t i = 0; i < session->context_count; i++) {
        if (session->context[i] != subscription) {
            session->context[kept++] = session->context[i];
        }
    }
    session->context_count = kept;
}

static bool
context_reserve(struct session *session, size_t count)
{
    if (count <= session->context_capacity) {
        return true;
    }
    struct subscription **context =
        realloc(session->context, count * sizeof(struct subscription *));
    if (context == NULL) {
        return false;
    }
    session->context = context;
    session->context_capacity = count;
    return true;
}

enum broker_status
session_handle_context(
    struct session *session, const struct broker_frame *frame)
{
    struct broker_context context;
    enum broker_status status = broker_context_decode(frame, &context);
    if (status != BROKER_OK) {
        return session_violation(session, status, "CONTEXT");
    }
    /* More ids than there are subscriptions means ids that were never given
     * out, or the same one twice: the callbacks would multiply. */
    if (context.ids.count > session->subscriptions.by_id.count) {
        return session_violation(session, BROKER_E_MALFORMED,
            "CONTEXT with more subscriptions than there are");
    }
    if (!context_reserve(session, context.ids.count)) {
        return session_end(session, BROKER_E_NO_MEMORY,
            broker_status_text(BROKER_E_NO_MEMORY));
    }
    session->context_known = true;
    session->context_retained = (context.flags & BROKER_CONTEXT_RETAINED) != 0;
    session->context_plain = true;
    session->context_stream = false;
    session->context_count = 0;
    for (size_t i = 0; i < context.ids.count; i++) {
        struct subscription *subscription = subscriptions_find(
            &session->subscriptions, broker_ids_get(context.ids, i));
        if (subscription != NULL) {
            session->context[session->context_count++] = subscription;
            session->context_plain &= subscription->on_message != NULL;
            session->context_stream |= subscription->consume != NULL;
        }
    }
    if (session->context_stream && context.ids.count > 1) {
        return session_violation(session, BROKER_E_MALFORMED,
            "CONTEXT of a stream with more than one subscription");
    }
    return BROKER_OK;
}

/* ---- PUBLISH ------------------------------------------------------------- */

static bool
topic_is_good(struct session *session, struct broker_bytes topic)
{
    struct session_topic_memo *memo = &session->received_topic;
    if (topic.len == memo->len &&
        memcmp(topic.data, memo->bytes, memo->len) == 0) {
        return true;
    }
    if (broker_topic_check(&session->receive_limits, topic) != BROKER_OK) {
        return false;
    }
    if (topic.len <= sizeof memo->bytes) {
        memcpy(memo->bytes, topic.data, topic.len);
        memo->len = topic.len;
    }
    return true;
}

static void
message_fill(const struct session *session,
    const struct broker_publish *publish, struct broker_message *message)
{
    *message = (struct broker_message){
        .retained = session->context_retained,
        .topic = publish->topic,
        .payload = publish->payload,
        .fields = publish->headers,
    };
    if (publish->headers.len > 0) {
        (void)broker_tlv_find(
            publish->headers, BROKER_TAG_REPLY_TO, &message->reply_to);
    }
}

/* To one subscription with on_message; without the lock. */
static void
call_message(struct session *session, struct subscription *subscription,
    struct broker_message *message)
{
    if (!atomic_load_explicit(&subscription->muted, memory_order_acquire)) {
        message->subscription = subscription->id;
        subscription->on_message(
            session->config.client, message, subscription->user);
        message->nth++;
    }
}

static void
deliver_plain(struct session *session, struct broker_message *message)
{
    for (size_t i = 0; i < session->context_count; i++) {
        call_message(session, session->context[i], message);
    }
}

void
session_deliver_run(struct session *session)
{
    struct receive *receive = &session->receive;
    uint64_t messages = 0;
    unlock(session);
    do {
        struct broker_frame frame;
        struct broker_publish publish;
        struct broker_message message;
        size_t n;
        if (broker_frame_decode(&session->receive_limits,
                receive->data + receive->start, receive->end - receive->start,
                &frame, &n) != BROKER_OK ||
            frame.type != BROKER_FRAME_PUBLISH ||
            broker_publish_decode(&frame, &publish) != BROKER_OK ||
            !topic_is_good(session, publish.topic)) {
            break; /* not for here; the way with the lock looks again */
        }
        message_fill(session, &publish, &message);
        if (!session_position_take(session, &message)) {
            break;
        }
        deliver_plain(session, &message);
        receive->start += n;
        messages++;
    } while (atomic_load_explicit(session->config.stop_count,
                 memory_order_relaxed) == session->stop_mark);
    lock(session);
    session->stats.messages_received += messages;
}

static void
deliver_reply(struct session *session, struct broker_message *message)
{
    struct request *request = requests_find(&session->requests, message->topic);
    if (request != NULL) { /* else it came too late */
        message->subscription = 0;
        session_end_request(session, request, BROKER_OK, message);
    }
}

static enum broker_status
deliver_mixed(
    struct session *session, struct broker_message *message, size_t frame_bytes)
{
    enum broker_status status = BROKER_OK;
    for (size_t i = 0; status == BROKER_OK && i < session->context_count; i++) {
        struct subscription *subscription = session->context[i];
        if (subscription->is_replies) {
            deliver_reply(session, message);
        } else if (subscription->on_message == NULL) {
            if (atomic_load(&subscription->muted)) {
                continue;
            }
            if (!inbox_push(
                    &session->inbox, subscription, message, frame_bytes)) {
                status = session_keep_unseen(
                    session, subscription, message->sequence);
            }
            message->nth++;
        } else {
            unlock(session);
            call_message(session, subscription, message);
            lock(session);
        }
    }
    return status;
}

/* A message with a field that must not be ignored and is not known. */
static enum broker_status
tell_unreadable(struct session *session, uint64_t sequence, size_t frame_bytes)
{
    size_t count = 0;
    enum broker_status status = BROKER_OK;
    uint32_t *ids = malloc((session->context_count + 1) * sizeof *ids);
    if (ids == NULL) {
        return session_end(session, BROKER_E_NO_MEMORY,
            broker_status_text(BROKER_E_NO_MEMORY));
    }
    for (size_t i = 0; i < session->context_count; i++) {
        if (!session->context[i]->is_replies) {
            ids[count++] = session->context[i]->id;
            status =
                session_keep_unseen(session, session->context[i], sequence);
        }
    }
    struct broker_client_gap gap = {
        .reason = BROKER_CLIENT_GAP_UNREADABLE,
        .count = 1,
        .bytes = frame_bytes,
        .subscriptions = ids,
        .subscription_count = count,
    };
    session_tell_gap(session, &gap);
    free(ids);
    return status;
}

static enum broker_status
not_in_place(struct session *session)
{
    return session_violation(session, BROKER_E_MALFORMED,
        "a message of a stream without its POSITION and CONTEXT");
}

enum broker_status
session_handle_publish(
    struct session *session, const struct broker_frame *frame)
{
    struct broker_publish publish;
    struct broker_message message;
    size_t frame_bytes = BROKER_HEADER_BYTES + frame->body.len;
    if (!session->context_known) {
        return session_violation(
            session, BROKER_E_UNEXPECTED_FRAME, "a message before its CONTEXT");
    }
    enum broker_status status = broker_publish_decode(frame, &publish);
    if (status == BROKER_E_UNKNOWN_TAG) {
        session->stats.messages_received++;
        message = (struct broker_message){0};
        return session_position_take(session, &message)
                   ? tell_unreadable(session, message.sequence, frame_bytes)
                   : not_in_place(session);
    }
    if (status != BROKER_OK || !topic_is_good(session, publish.topic)) {
        return session_violation(
            session, BROKER_E_MALFORMED, "a message that cannot be read");
    }
    session->stats.messages_received++;
    message_fill(session, &publish, &message);
    if (!session_position_take(session, &message)) {
        return not_in_place(session);
    }
    return deliver_mixed(session, &message, frame_bytes);
}

/* ---- GAP ----------------------------------------------------------------- */

static struct subscription *
fetched_with_next(struct session *session, uint32_t id)
{
    struct subscription *subscription =
        subscriptions_find(&session->subscriptions, id);
    bool is_fetched = subscription != NULL && !subscription->is_replies &&
                      subscription->on_message == NULL;
    return is_fetched ? subscription : NULL;
}

/* Those of the gap's subscriptions that are fetched with next(), as a gap of
 * their own in the queue. */
static void
queue_gap(struct session *session, const struct broker_client_gap *gap)
{
    uint32_t *ids = malloc(gap->subscription_count * sizeof *ids);
    size_t count = 0;
    for (size_t i = 0; ids != NULL && i < gap->subscription_count; i++) {
        if (fetched_with_next(session, gap->subscriptions[i]) != NULL) {
            ids[count++] = gap->subscriptions[i];
        }
    }
    struct broker_client_gap queued = *gap;
    queued.subscriptions = ids;
    queued.subscription_count = count;
    bool lost =
        ids == NULL || (count > 0 && !inbox_push_gap(&session->inbox, &queued));
    for (size_t i = 0; lost && i < gap->subscription_count; i++) {
        /* No memory to say it now: it is said in the next gap. */
        struct subscription *subscription =
            fetched_with_next(session, gap->subscriptions[i]);
        if (subscription != NULL) {
            subscription->missed_count += gap->count > 0 ? gap->count : 1;
            subscription->missed_bytes += gap->bytes;
            session->inbox.untold = true;
        }
    }
    free(ids);
}

void
session_queue_end(
    struct session *session, const struct subscription *subscription)
{
    const struct broker_client_gap gap = {
        .reason = BROKER_CLIENT_GAP_ENDED,
        .subscriptions = &subscription->id,
        .subscription_count = 1,
    };
    if (fetched_with_next(session, subscription->id) != NULL) {
        queue_gap(session, &gap);
    }
}

void
session_tell_gap(struct session *session, const struct broker_client_gap *gap)
{
    if (gap->subscription_count == 0) {
        return;
    }
    session->stats.gaps++;
    session->stats.gap_messages += gap->count;
    queue_gap(session, gap);
    if (session->config.on_gap != NULL) {
        unlock(session);
        session->config.on_gap(
            session->config.client, gap, session->config.user);
        lock(session);
    }
}

enum broker_status
session_handle_gap(struct session *session, const struct broker_frame *frame)
{
    struct broker_gap gap;
    enum broker_status status = broker_gap_decode(frame, &gap);
    if (status != BROKER_OK) {
        return session_violation(session, status, "GAP");
    }
    if (gap.ids.count > session->subscriptions.by_id.count) {
        return session_violation(session, BROKER_E_MALFORMED,
            "GAP with more subscriptions than there are");
    }
    uint32_t *ids = malloc(gap.ids.count * sizeof *ids);
    if (ids == NULL) {
        return session_end(session, BROKER_E_NO_MEMORY,
            broker_status_text(BROKER_E_NO_MEMORY));
    }
    size_t count = 0;
    for (size_t i = 0; i < gap.ids.count; i++) {
        const struct subscription *subscription = subscriptions_find(
            &session->subscriptions, broker_ids_get(gap.ids, i));
        if (subscription != NULL && !subscription->is_replies &&
            !atomic_load(&subscription->muted)) {
            ids[count++] = subscription->id;
        }
        if (broker_ids_get(gap.ids, i) == session->position.id) {
            session->position.left = 0; /* the rest is what is missing */
        }
    }
    struct broker_client_gap told = {
        .reason = gap.reason,
        .count = gap.count,
        .bytes = gap.bytes,
        .subscriptions = ids,
        .subscription_count = count,
    };
    session_tell_gap(session, &told);
    free(ids);
    return BROKER_OK;
}
