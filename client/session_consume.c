/* SPDX-License-Identifier: MIT
 *
 * Reading streams: readers and durable consumers as subscriptions, and where in
 * its stream each message stands (PROTOCOL.md 4.16 to 4.18, 5.13, 5.14). See
 * session.h.
 */
#include "session.h"

#include <assert.h>
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

static struct broker_bytes
bytes_of(const char *string)
{
    return (struct broker_bytes){
        (const uint8_t *)string, string == NULL ? 0 : strlen(string)};
}

/* ---- what the user asks for ---------------------------------------------- */

static bool
name_is_sane(const char *name)
{
    struct broker_bytes bytes = bytes_of(name);
    return name == NULL ||
           (bytes.len >= 1 && bytes.len <= BROKER_NAME_BYTES_MAX &&
               broker_utf8_check(bytes));
}

/* A reader or a consumer, and nothing of the one in the other. */
static bool
is_sane(const struct broker_client_consume *asked)
{
    bool has_value = asked->start >= BROKER_START_SEQUENCE;
    if (!name_is_sane(asked->stream) || !name_is_sane(asked->consumer) ||
        (unsigned)asked->start > BROKER_START_COUNT ||
        (asked->value != 0 && !has_value)) {
        return false;
    }
    if (asked->consumer != NULL) {
        return asked->stream == NULL && asked->filter == NULL &&
               asked->start == BROKER_START_CURSOR && !asked->end;
    }
    return (asked->stream != NULL || asked->filter != NULL) &&
           asked->window == 0;
}

static enum broker_status
check(struct session *session, const struct broker_client_consume *asked)
{
    const struct session_agreed *agreed = &session->agreed;
    enum broker_status status = BROKER_OK;
    if (!is_sane(asked)) {
        status = BROKER_E_INVALID_ARGUMENT;
    } else if (agreed->known && !agreed->streams) {
        status = BROKER_E_UNSUPPORTED_TYPE;
    } else if (asked->filter != NULL &&
               broker_filter_check(&agreed->limits, bytes_of(asked->filter)) !=
                   BROKER_OK) {
        status = BROKER_E_BAD_FILTER;
    } else if (agreed->known && session->subscriptions.by_id.count >=
                                    agreed->max_subscriptions) {
        status = BROKER_E_TOO_MANY_SUBSCRIPTIONS;
    }
    if (status != BROKER_OK) {
        text_status(session->error_text, "cannot read the stream", status,
            (struct broker_bytes){NULL, 0});
    }
    return status;
}

enum broker_status
session_consume(struct session *session,
    const struct broker_client_consume *asked,
    const struct session_outcome *outcome, uint32_t *out)
{
    const struct broker_bytes no_group = {NULL, 0};
    enum broker_status status = check(session, asked);
    if (status != BROKER_OK) {
        return status;
    }
    struct consume *consume =
        consume_new(bytes_of(asked->stream), bytes_of(asked->consumer));
    if (consume == NULL) {
        text_status(session->error_text, "cannot read the stream",
            BROKER_E_NO_MEMORY, (struct broker_bytes){NULL, 0});
        return BROKER_E_NO_MEMORY;
    }
    consume->start = asked->start;
    if (!consume->is_consumer && asked->start == BROKER_START_CURSOR) {
        consume->start = BROKER_START_FIRST;
    }
    consume->value = asked->value;
    consume->options = asked->end ? BROKER_CONSUME_END : 0;
    consume->window = asked->window;
    consume->on_caught_up = asked->on_caught_up;
    const struct subscription template = {
        .on_message = asked->on_message,
        .on_subscribed = outcome->on_subscribed,
        .subscribed_user = outcome->user,
        .user = asked->user,
        .consume = consume,
    };
    struct subscription *added;
    status = session_add_subscription(
        session, bytes_of(asked->filter), no_group, &template, &added);
    if (status != BROKER_OK) {
        consume_free(consume);
        return status;
    }
    *out = added->id;
    return BROKER_OK;
}

struct broker_consume
session_consume_frame(const struct subscription *subscription)
{
    const struct consume *consume = subscription->consume;
    struct broker_consume frame = {
        .id = subscription->id,
        .stream = consume->stream,
        .consumer = consume->name,
        .filter = subscription->filter,
        .start = consume->start,
        .options = consume->options,
        .value = consume->value,
        .window = consume->window,
    };
    if (!consume->is_consumer && consume->next > 0) { /* it goes on there */
        frame.start = BROKER_START_SEQUENCE;
        frame.value = consume->next;
    }
    return frame;
}

/* ---- CONSUME_REPLY ------------------------------------------------------- */

/* The stream has never had what was read from it before: it is another one of
 * that name. To go on there would be to leave out what it has, silently. */
static enum broker_status
end_replaced(struct session *session, struct subscription *subscription)
{
    char text[TEXT_MAX], name[320];
    struct broker_client_subscribed subscribed = {
        .status = BROKER_E_UNKNOWN_STREAM,
        .subscription = subscription->id,
        .text = text,
    };
    session_name_subscription(subscription, name, sizeof name);
    text_format(text,
        "%s ends: the stream was removed and made again while the connection "
        "was away: read the new one from its start",
        name);
    enum broker_status status =
        session_unsubscribe(session, subscription->id, false, NULL, NULL);
    if (status == BROKER_OK) {
        session_tell_subscribed(session, subscription, &subscribed);
    }
    return status;
}

static void
tell_reply(struct session *session, struct subscription *subscription,
    const struct broker_consume_reply *reply)
{
    struct broker_client_subscribed subscribed = {
        .status = BROKER_OK,
        .subscription = reply->id,
        .text = "",
        .first_sequence = reply->first_sequence,
        .last_sequence = reply->last_sequence,
        .next_sequence = reply->next_sequence,
        .ack = reply->ack,
        .window = reply->window,
    };
    struct broker_bytes stream = {NULL, 0};
    (void)broker_tlv_find(reply->tlvs, BROKER_TAG_STREAM, &stream);
    text_copy(subscribed.stream, sizeof subscribed.stream, stream);
    session_tell_subscribed(session, subscription, &subscribed);
}

enum broker_status
session_handle_consume_reply(
    struct session *session, const struct broker_frame *frame)
{
    struct broker_consume_reply reply;
    enum broker_status status = broker_consume_reply_decode(frame, &reply);
    if (status != BROKER_OK) {
        return session_violation(session, status, "CONSUME_REPLY");
    }
    struct subscription *subscription =
        subscriptions_find(&session->subscriptions, reply.id);
    struct consume *consume =
        subscription == NULL ? NULL : subscription->consume;
    if (consume == NULL || (subscription->state != SUBSCRIPTION_SENT &&
                               subscription->state != SUBSCRIPTION_ENDING)) {
        return session_violation(session, BROKER_E_MALFORMED,
            "CONSUME_REPLY for what was not asked for");
    }
    bool is_replaced =
        !consume->is_consumer && consume->handed_out > reply.last_sequence;
    consume->ack = reply.ack;
    if (subscription->state == SUBSCRIPTION_SENT) {
        subscription->state = SUBSCRIPTION_ACTIVE;
        if (is_replaced) {
            return end_replaced(session, subscription);
        }
    }
    if (consume->next < reply.next_sequence) {
        consume->next = reply.next_sequence;
    }
    tell_reply(session, subscription, &reply);
    return BROKER_OK;
}

/* ---- POSITION ------------------------------------------------------------ */

static enum broker_status
tell_caught_up(struct session *session, struct subscription *subscription)
{
    struct consume *consume = subscription->consume;
    consume->caught_up = true;
    if (atomic_load(&subscription->muted)) {
        return BROKER_OK;
    }
    if (subscription->on_message == NULL) {
        return inbox_push_caught_up(&session->inbox, subscription->id)
                   ? BROKER_OK
                   : session_end(session, BROKER_E_NO_MEMORY,
                         broker_status_text(BROKER_E_NO_MEMORY));
    }
    if (consume->on_caught_up != NULL) {
        unlock(session);
        consume->on_caught_up(
            session->config.client, subscription->id, subscription->user);
        lock(session);
    }
    return BROKER_OK;
}

/* What is fetched is held when that is done. */
static enum broker_status
hold_outstanding(struct session *session, struct subscription *subscription,
    const struct broker_position *position)
{
    struct consume *consume = subscription->consume;
    if (!consume->is_consumer || consume->ack == BROKER_ACK_NONE ||
        subscription->on_message == NULL) {
        return BROKER_OK;
    }
    if (!outstanding_add(&consume->outstanding, position->sequence,
            position->sequence + position->count - 1)) {
        return session_end(session, BROKER_E_NO_MEMORY,
            broker_status_text(BROKER_E_NO_MEMORY));
    }
    return BROKER_OK;
}

void
session_hold_fetched(struct session *session, const struct inbox_entry *entry)
{
    const struct broker_message *message = &entry->message;
    struct subscription *subscription =
        subscriptions_find(&session->subscriptions, message->subscription);
    struct consume *consume =
        subscription == NULL ? NULL : subscription->consume;
    if (consume == NULL || !consume->is_consumer ||
        consume->ack == BROKER_ACK_NONE ||
        entry->connection != session->inbox.connection) {
        return;
    }
    if (!outstanding_add(
            &consume->outstanding, message->sequence, message->sequence)) {
        consume->has_unseen = true; /* no memory: it comes again */
    }
}

enum broker_status
session_keep_unseen(struct session *session, struct subscription *subscription,
    uint64_t sequence)
{
    struct consume *consume = subscription->consume;
    if (consume == NULL || !consume->is_consumer ||
        consume->ack == BROKER_ACK_NONE) {
        return BROKER_OK;
    }
    consume->has_unseen = true;
    return outstanding_take(&consume->outstanding, sequence) < 0
               ? session_end(session, BROKER_E_NO_MEMORY,
                     broker_status_text(BROKER_E_NO_MEMORY))
               : BROKER_OK;
}

enum broker_status
session_handle_position(
    struct session *session, const struct broker_frame *frame)
{
    struct broker_position position;
    enum broker_status status = broker_position_decode(frame, &position);
    if (status != BROKER_OK) {
        return session_violation(session, status, "POSITION");
    }
    if (session->position.left > 0 ||
        position.sequence > UINT64_MAX - position.count) {
        return session_violation(
            session, BROKER_E_MALFORMED, "POSITION that cannot be there");
    }
    struct subscription *subscription =
        subscriptions_find(&session->subscriptions, position.id);
    if (subscription != NULL && subscription->consume == NULL) {
        return session_violation(session, BROKER_E_MALFORMED,
            "POSITION for a subscription without a stream");
    }
    if (position.count == 0) {
        return subscription == NULL ? BROKER_OK
                                    : tell_caught_up(session, subscription);
    }
    session->position = (struct session_position){
        .id = position.id,
        .left = position.count,
        .deliveries = position.deliveries,
        .sequence = position.sequence,
        .time_ms = position.time_ms,
    };
    return subscription == NULL
               ? BROKER_OK
               : hold_outstanding(session, subscription, &position);
}

bool
session_position_take(struct session *session, struct broker_message *message)
{
    struct session_position *position = &session->position;
    if (position->left == 0) {
        return !session->context_stream || session->context_count == 0;
    }
    if (session->context_count > 0) {
        if (!session->context_stream ||
            session->context[0]->id != position->id) {
            return false;
        }
        struct consume *consume = session->context[0]->consume;
        consume->handed_out = position->sequence;
        consume->next = position->sequence + 1;
    }
    message->sequence = position->sequence++;
    message->time_ms = position->time_ms;
    message->deliveries = position->deliveries;
    position->left--;
    return true;
}
