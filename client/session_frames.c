/* SPDX-License-Identifier: MIT
 *
 * What the broker sends, but for messages and WELCOME: one handler for each
 * frame type, and the telling of outcomes. See session.h. A handler removes
 * what it tells of before it calls back, because the callback and other threads
 * may change everything meanwhile.
 */
#include "session.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* PONGs that the broker does not read pile up in the log. Past this much over
 * the user's limit (and one large message) the broker is broken. */
#define PONG_BYTES_MAX ((size_t)1 << 20)

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
field(struct broker_bytes tlvs, enum broker_tag tag)
{
    struct broker_bytes value = {NULL, 0};
    (void)broker_tlv_find(tlvs, (uint16_t)tag, &value);
    return value;
}

/* ---- telling ------------------------------------------------------------- */

void
session_tell_error(
    struct session *session, const struct broker_client_error *error)
{
    text_format(session->error_text, "%s", error->text);
    if (session->config.on_error != NULL) {
        unlock(session);
        session->config.on_error(
            session->config.client, error, session->config.user);
        lock(session);
    }
}

void
session_end_request(struct session *session, struct request *request,
    enum broker_status status, const struct broker_message *reply)
{
    struct request ended = *request;
    struct publish_slot *slot =
        request->waiting ? publishes_find(&session->publishes, request->number)
                         : NULL;
    if (slot != NULL) { /* its own answer does not matter any more */
        bool written = outlog_written(&session->log, slot->chunk, slot->offset);
        slot->kind = written ? PUBLISH_SILENT : PUBLISH_ABANDONED;
    }
    requests_remove(&session->requests, request);
    if (status == BROKER_OK) {
        session->stats.requests_answered++;
    } else {
        session->stats.requests_failed++;
    }
    if (ended.callback != NULL) {
        unlock(session);
        ended.callback(session->config.client, status, reply, ended.user);
        lock(session);
    }
}

void
session_tell_published(struct session *session, const struct publish_slot *slot,
    const struct broker_client_published *published)
{
    if (slot->kind == PUBLISH_CALLBACK) {
        unlock(session);
        slot->callback(session->config.client, published, slot->user);
        lock(session);
    } else if (slot->kind == PUBLISH_REQUEST) {
        struct request *request = slot->user;
        request->waiting = false;
        if (published->status != BROKER_OK) {
            session_end_request(session, request, published->status, NULL);
        }
    }
}

void
session_name_subscription(
    const struct subscription *subscription, char *dst, size_t cap)
{
    const struct consume *consume = subscription->consume;
    const char *kind = "subscription to";
    struct broker_bytes bytes = subscription->filter;
    char name[256];
    if (consume != NULL && consume->is_consumer) {
        kind = "durable consumer";
        bytes = consume->name;
    } else if (consume != NULL) {
        kind = consume->stream.len > 0 ? "reader of the stream" : "reader of";
        bytes = consume->stream.len > 0 ? consume->stream : bytes;
    }
    text_copy(name, sizeof name, bytes);
    (void)snprintf(dst, cap, "the %s '%s'", kind, name);
}

void
session_tell_subscribed(struct session *session,
    struct subscription *subscription,
    const struct broker_client_subscribed *subscribed)
{
    bool first = !subscription->told;
    subscription->told = true;
    if (first && subscription->on_subscribed != NULL) {
        unlock(session);
        subscription->on_subscribed(
            session->config.client, subscribed, subscription->subscribed_user);
        lock(session);
    } else if (subscribed->status != BROKER_OK &&
               subscribed->status != BROKER_E_CLOSED &&
               subscribed->status != BROKER_E_CONNECTION_LOST) {
        struct broker_client_error error = {
            .status = subscribed->status,
            .text = subscribed->text,
            .frame_type = subscription->consume == NULL ? BROKER_FRAME_SUBSCRIBE
                                                        : BROKER_FRAME_CONSUME,
            .subscription = subscription->id,
            .topic = subscription->filter,
            .may_retry = broker_status_may_retry(subscribed->status),
        };
        session_tell_error(session, &error);
        session_queue_end(session, subscription);
    }
}

void
session_end_subscription(struct session *session,
    struct subscription *subscription,
    const struct broker_client_unsubscribed *unsubscribed)
{
    if (!subscription->told) {
        struct broker_client_subscribed subscribed = {
            .status = unsubscribed->status == BROKER_OK
                          ? BROKER_E_CONNECTION_LOST
                          : unsubscribed->status,
            .subscription = subscription->id,
            .text = broker_status_text(unsubscribed->status),
        };
        session_tell_subscribed(session, subscription, &subscribed);
    }
    broker_client_unsubscribed_fn *callback = subscription->on_unsubscribed;
    void *user = subscription->unsubscribed_user;
    session->subscriptions.ended -= subscription->state == SUBSCRIPTION_ENDED;
    session_forget_in_context(session, subscription);
    subscriptions_remove(&session->subscriptions, subscription);
    if (callback != NULL) {
        unlock(session);
        callback(session->config.client, unsubscribed, user);
        lock(session);
    }
}

void
session_end_barrier(struct session *session, struct session_barrier *barrier,
    enum broker_status status)
{
    struct session_barrier **link = &session->barriers;
    while (*link != barrier) {
        link = &(*link)->next;
    }
    *link = barrier->next;
    if (barrier->callback != NULL) {
        unlock(session);
        barrier->callback(session->config.client, status, barrier->user);
        lock(session);
    }
    free(barrier);
}

void
session_finish_barriers(struct session *session)
{
    struct session_barrier *barrier = session->barriers;
    while (barrier != NULL) {
        if (barrier->ponged &&
            session->publishes.first_ordinal >= barrier->publish_mark) {
            session_end_barrier(session, barrier, BROKER_OK);
            barrier = session->barriers; /* anything may have changed */
        } else {
            barrier = barrier->next;
        }
    }
}

/* ---- acknowledgements ---------------------------------------------------- */

static enum broker_status
handle_puback(struct session *session, const struct broker_frame *frame)
{
    struct broker_puback puback;
    enum broker_status status = broker_puback_decode(frame, &puback);
    if (status != BROKER_OK) {
        return session_violation(session, status, "PUBACK");
    }
    if (puback.count > session->publishes.count) {
        return session_violation(session, BROKER_E_MALFORMED,
            "PUBACK for more messages than are waiting");
    }
    struct broker_client_published published = {
        .status = BROKER_OK,
        .level = puback.level,
        .matched = puback.matched,
        .refused = puback.refused,
        .duplicate = (puback.flags & BROKER_PUBACK_DUPLICATE) != 0,
        .text = "",
    };
    uint64_t last_sequence = 0;
    (void)broker_tlv_u64(
        field(puback.tlvs, BROKER_TAG_SEQUENCE), &last_sequence);
    if (last_sequence != 0 && last_sequence < puback.count) {
        return session_violation(session, BROKER_E_MALFORMED,
            "PUBACK for more messages than the stream ever had");
    }
    if (puback.level == BROKER_LEVEL_SYNCED) {
        text_copy(published.stream, sizeof published.stream,
            field(puback.tlvs, BROKER_TAG_STREAM));
    }
    uint32_t number = publish_number_subtract(puback.id, puback.count - 1);
    for (uint32_t i = 0; i < puback.count; i++) {
        struct publish_slot *slot = publishes_find(&session->publishes, number);
        if (slot == NULL ||
            !outlog_written(&session->log, slot->chunk, slot->offset)) {
            return session_violation(session, BROKER_E_MALFORMED,
                "PUBACK for a message that was not sent");
        }
        struct publish_slot settled = *slot;
        publishes_settle(&session->publishes, slot);
        outlog_release(&session->log, settled.chunk);
        session->stats.messages_acknowledged++;
        session->stats.messages_duplicate += published.duplicate;
        if (last_sequence != 0) {
            published.sequence = last_sequence - (puback.count - 1 - i);
        }
        session_tell_published(session, &settled, &published);
        number = publish_number_add(number, 1);
    }
    session_finish_barriers(session);
    return BROKER_OK;
}

/* ---- errors -------------------------------------------------------------- */

static void
refuse_unnumbered(struct session *session, const struct broker_error *refusal,
    const char *what)
{
    char text[TEXT_MAX];
    struct broker_bytes limit = field(refusal->tlvs, BROKER_TAG_LIMIT);
    struct broker_client_error error = {
        .status = text_peer_status(refusal->code),
        .text = text,
        .frame_type = refusal->frame_type,
        .topic = field(refusal->tlvs, BROKER_TAG_TOPIC),
        .may_retry = refusal->may_retry,
    };
    (void)broker_tlv_u64(limit, &error.limit);
    (void)broker_tlv_u64(
        field(refusal->tlvs, BROKER_TAG_SEQUENCE), &error.sequence);
    text_status(
        text, what, error.status, field(refusal->tlvs, BROKER_TAG_TEXT));
    session_tell_error(session, &error);
}

static void
refuse_publish(struct session *session, const struct broker_error *refusal)
{
    session->stats.messages_refused++;
    struct publish_slot *slot =
        publishes_find(&session->publishes, refusal->id);
    if (slot == NULL ||
        !outlog_written(&session->log, slot->chunk, slot->offset)) {
        refuse_unnumbered(session, refusal, "a message was refused");
        return;
    }
    char text[TEXT_MAX];
    struct publish_slot settled = *slot;
    struct broker_client_published published = {
        .status = text_peer_status(refusal->code), .text = text};
    (void)broker_tlv_u64(
        field(refusal->tlvs, BROKER_TAG_SEQUENCE), &published.sequence);
    text_status(text,
        slot->kind == PUBLISH_REQUEST ? "the request was refused"
                                      : "a message was refused",
        published.status, field(refusal->tlvs, BROKER_TAG_TEXT));
    publishes_settle(&session->publishes, slot);
    outlog_release(&session->log, settled.chunk);
    if (settled.kind == PUBLISH_SILENT) {
        refuse_unnumbered(session, refusal, "a message was refused");
    } else {
        text_format(session->error_text, "%s", text);
        session_tell_published(session, &settled, &published);
    }
    session_finish_barriers(session);
}

/* A subscription is refused, or ended by the broker (PROTOCOL.md 5.11): either
 * way without an UNSUBACK. */
static void
refuse_subscribe(struct session *session, const struct broker_error *refusal)
{
    bool has_ended = refusal->error_class == BROKER_CLASS_SUBSCRIPTION;
    struct subscription *subscription =
        subscriptions_find(&session->subscriptions, refusal->id);
    if (subscription == NULL) {
        refuse_unnumbered(session, refusal,
            has_ended ? "a subscription was ended"
                      : "a subscription was refused");
        return;
    }
    char text[TEXT_MAX], what[TEXT_MAX], name[320];
    session_name_subscription(subscription, name, sizeof name);
    text_format(
        what, "%s was %s", name, has_ended ? "ended by the broker" : "refused");
    struct broker_client_subscribed subscribed = {
        .status = text_peer_status(refusal->code),
        .subscription = subscription->id,
        .text = text,
    };
    text_status(
        text, what, subscribed.status, field(refusal->tlvs, BROKER_TAG_TEXT));
    text_format(session->error_text, "%s", text);
    atomic_store(&subscription->muted, true);
    if (subscription->state == SUBSCRIPTION_SENT ||
        (subscription->state == SUBSCRIPTION_ACTIVE && has_ended)) {
        subscription->state = SUBSCRIPTION_ENDING; /* nobody else ends it */
        session_tell_subscribed(session, subscription, &subscribed);
        session_forget_in_context(session, subscription);
        subscriptions_remove(&session->subscriptions, subscription);
    } else if (has_ended && subscription->told) {
        /* UNSUBSCRIBE has crossed it; its answer brings this outcome. */
        subscription->revoked = subscribed.status;
    } else { /* UNSUBSCRIBE is on its way; its answer ends it */
        session_tell_subscribed(session, subscription, &subscribed);
    }
}

static void
refuse_unsubscribe(struct session *session, const struct broker_error *refusal)
{
    struct subscription *subscription =
        subscriptions_find(&session->subscriptions, refusal->id);
    if (subscription == NULL &&
        refusal->code == BROKER_E_UNKNOWN_SUBSCRIPTION) {
        return; /* it ended by itself meanwhile, which was told */
    }
    if (subscription == NULL || subscription->state != SUBSCRIPTION_ENDING) {
        refuse_unnumbered(session, refusal, "an unsubscribe was refused");
        return;
    }
    struct broker_client_unsubscribed unsubscribed = {
        .status = subscription->revoked != BROKER_OK
                      ? subscription->revoked
                      : text_peer_status(refusal->code),
        .subscription = subscription->id,
    };
    session_end_subscription(session, subscription, &unsubscribed);
}

/* An acknowledgement for a consumer that has ended meanwhile is nothing to
 * speak of. */
static void
refuse_settlement(struct session *session, const struct broker_error *refusal)
{
    const struct subscription *subscription =
        subscriptions_find(&session->subscriptions, refusal->id);
    if (subscription != NULL && subscription->state == SUBSCRIPTION_ACTIVE) {
        refuse_unnumbered(session, refusal, "an acknowledgement was refused");
    }
}

static enum broker_status
handle_error(struct session *session, const struct broker_frame *frame)
{
    struct broker_error error;
    enum broker_status status = broker_error_decode(frame, &error);
    if (status != BROKER_OK) {
        return session_violation(session, status, "ERROR");
    }
    if (error.error_class == BROKER_CLASS_CONNECTION ||
        session->state == SESSION_HANDSHAKE) {
        char text[TEXT_MAX];
        status = text_peer_status(error.code);
        text_status(text, "the broker closes the connection", status,
            field(error.tlvs, BROKER_TAG_TEXT));
        /* A GOAWAY follows, but the reason is this. */
        (void)broker_tlv_u32(field(error.tlvs, BROKER_TAG_RETRY_AFTER_MS),
            &session->retry_after_ms);
        return session_end(session, status, text);
    }
    switch (error.frame_type) {
    case BROKER_FRAME_PUBLISH:
    case BROKER_FRAME_PUBLISH_BATCH:
        refuse_publish(session, &error);
        break;
    case BROKER_FRAME_SUBSCRIBE:
    case BROKER_FRAME_CONSUME:
        refuse_subscribe(session, &error);
        break;
    case BROKER_FRAME_ACK:
    case BROKER_FRAME_NACK:
    case BROKER_FRAME_TOUCH:
        refuse_settlement(session, &error);
        break;
    case BROKER_FRAME_UNSUBSCRIBE:
        refuse_unsubscribe(session, &error);
        break;
    default:
        refuse_unnumbered(session, &error, "the broker refused a frame");
        break;
    }
    return BROKER_OK;
}

static enum broker_status
handle_goaway(struct session *session, const struct broker_frame *frame)
{
    struct broker_goaway goaway;
    enum broker_status status = broker_goaway_decode(frame, &goaway);
    if (status != BROKER_OK) {
        return session_violation(session, status, "GOAWAY");
    }
    char text[TEXT_MAX];
    status = text_peer_status(goaway.code);
    text_status(text, "the broker closed the connection", status,
        field(goaway.tlvs, BROKER_TAG_TEXT));
    session->retry_after_ms = goaway.retry_after_ms;
    return session_end(session, status, text);
}

static enum broker_status
handle_notice(struct session *session, const struct broker_frame *frame)
{
    struct broker_notice notice;
    if (broker_notice_decode(frame, &notice) != BROKER_OK) {
        return BROKER_OK; /* it may be skipped, so it is */
    }
    if (session->config.on_notice != NULL) {
        char text[TEXT_MAX];
        struct broker_client_notice told = {.code = notice.code, .text = text};
        text_status(text, "the broker says", notice.code,
            field(notice.tlvs, BROKER_TAG_TEXT));
        (void)broker_tlv_u64(field(notice.tlvs, BROKER_TAG_LIMIT), &told.limit);
        unlock(session);
        session->config.on_notice(
            session->config.client, &told, session->config.user);
        lock(session);
    }
    return BROKER_OK;
}

/* ---- subscriptions ------------------------------------------------------- */

static enum broker_status
handle_suback(struct session *session, const struct broker_frame *frame)
{
    struct broker_suback suback;
    enum broker_status status = broker_suback_decode(frame, &suback);
    if (status != BROKER_OK) {
        return session_violation(session, status, "SUBACK");
    }
    struct subscription *subscription =
        subscriptions_find(&session->subscriptions, suback.id);
    if (subscription == NULL ||
        (subscription->state != SUBSCRIPTION_SENT &&
            subscription->state != SUBSCRIPTION_ENDING)) {
        return session_violation(session, BROKER_E_MALFORMED,
            "SUBACK for a subscription that was not asked for");
    }
    if (subscription->state == SUBSCRIPTION_SENT) {
        subscription->state = SUBSCRIPTION_ACTIVE;
    }
    struct broker_client_subscribed subscribed = {
        .status = BROKER_OK,
        .subscription = suback.id,
        .overflow = suback.overflow,
        .retained = suback.retained,
        .text = "",
    };
    session_tell_subscribed(session, subscription, &subscribed);
    return BROKER_OK;
}

static enum broker_status
handle_unsuback(struct session *session, const struct broker_frame *frame)
{
    struct broker_unsuback unsuback;
    enum broker_status status = broker_unsuback_decode(frame, &unsuback);
    if (status != BROKER_OK) {
        return session_violation(session, status, "UNSUBACK");
    }
    struct subscription *subscription =
        subscriptions_find(&session->subscriptions, unsuback.id);
    if (subscription == NULL || (subscription->state != SUBSCRIPTION_ENDING &&
                                    !consume_is_over(subscription->consume))) {
        return session_violation(session, BROKER_E_MALFORMED,
            "UNSUBACK for a subscription that was not ended");
    }
    struct broker_client_unsubscribed unsubscribed = {
        .status = BROKER_OK,
        .subscription = unsuback.id,
        .matched = unsuback.matched,
        .delivered = unsuback.delivered,
        .dropped = unsuback.dropped,
    };
    session_end_subscription(session, subscription, &unsubscribed);
    return BROKER_OK;
}

/* ---- PING, PONG ---------------------------------------------------------- */

static enum broker_status
handle_ping(struct session *session, const struct broker_frame *frame)
{
    struct broker_ping ping;
    enum broker_status status = broker_ping_decode(frame, &ping);
    if (status != BROKER_OK) {
        return session_violation(session, status, "PING");
    }
    if (session->state == SESSION_LEAVING) {
        return BROKER_OK; /* nothing is sent after GOAWAY */
    }
    const size_t bytes_max = session->config.buffer_bytes +
                             session->config.max_body_bytes + PONG_BYTES_MAX;
    if (session->log.bytes > bytes_max) {
        return session_violation(session, BROKER_E_WRITE_TIMEOUT,
            "it asks for more answers than it reads");
    }
    uint8_t bytes[BROKER_HEADER_BYTES + BROKER_PING_BYTES];
    size_t n;
    ping.pong = true;
    status = broker_ping_encode(&ping, bytes, sizeof bytes, &n);
    assert(status == BROKER_OK);
    return session_append(session, bytes, n);
}

static void
measure(struct session *session, const struct session_ping *ping)
{
    struct broker_client_stats *stats = &session->stats;
    if (session->fire_confirmed < ping->fire_mark) {
        session->fire_confirmed = ping->fire_mark;
    }
    if (!ping->measures) {
        return;
    }
    uint64_t us = session->now_us - ping->sent_us;
    stats->round_trip_us = us;
    stats->round_trip_smoothed_us =
        stats->round_trip_smoothed_us == 0
            ? us
            : (stats->round_trip_smoothed_us * 7 + us) / 8;
    if (stats->round_trip_least_us == 0 || us < stats->round_trip_least_us) {
        stats->round_trip_least_us = us;
    }
}

static enum broker_status
handle_pong(struct session *session, const struct broker_frame *frame)
{
    struct broker_ping pong;
    enum broker_status status = broker_ping_decode(frame, &pong);
    if (status != BROKER_OK) {
        return session_violation(session, status, "PONG");
    }
    if (session->heartbeat.sent && session->heartbeat.id == pong.id) {
        session->heartbeat.sent = false;
        measure(session, &session->heartbeat);
        return BROKER_OK;
    }
    for (struct session_barrier *barrier = session->barriers; barrier != NULL;
         barrier = barrier->next) {
        if (barrier->ping.sent && barrier->ping.id == pong.id) {
            barrier->ponged = true;
            measure(session, &barrier->ping);
            break;
        }
    }
    session_finish_barriers(session);
    return BROKER_OK;
}

/* ---- dispatch ------------------------------------------------------------ */

typedef enum broker_status handler_fn(
    struct session *session, const struct broker_frame *frame);

struct handler {
    uint16_t type;
    uint16_t states; /* bits of enum session_state */
    handler_fn *handle;
};

#define IN_HANDSHAKE (1u << SESSION_HANDSHAKE)
#define IN_OPEN      (1u << SESSION_OPEN | 1u << SESSION_LEAVING)

/* In the order of frequency; PROTOCOL.md 2.1 says what is accepted when. */
static const struct handler handlers[] = {
    {BROKER_FRAME_PUBLISH, IN_OPEN, session_handle_publish},
    {BROKER_FRAME_CONTEXT, IN_OPEN, session_handle_context},
    {BROKER_FRAME_PUBACK, IN_OPEN, handle_puback},
    {BROKER_FRAME_POSITION, IN_OPEN, session_handle_position},
    {BROKER_FRAME_GAP, IN_OPEN, session_handle_gap},
    {BROKER_FRAME_PING, IN_OPEN, handle_ping},
    {BROKER_FRAME_PONG, IN_OPEN, handle_pong},
    {BROKER_FRAME_SUBACK, IN_OPEN, handle_suback},
    {BROKER_FRAME_UNSUBACK, IN_OPEN, handle_unsuback},
    {BROKER_FRAME_CONSUME_REPLY, IN_OPEN, session_handle_consume_reply},
    {BROKER_FRAME_WELCOME, IN_HANDSHAKE, session_handle_welcome},
    {BROKER_FRAME_ERROR, IN_HANDSHAKE | IN_OPEN, handle_error},
    {BROKER_FRAME_GOAWAY, IN_HANDSHAKE | IN_OPEN, handle_goaway},
    {BROKER_FRAME_NOTICE, IN_OPEN, handle_notice},
};

enum broker_status
session_handle(struct session *session, const struct broker_frame *frame)
{
    for (size_t i = 0; i < sizeof handlers / sizeof handlers[0]; i++) {
        if (handlers[i].type != frame->type) {
            continue;
        }
        if ((handlers[i].states >> session->state & 1) == 0) {
            break;
        }
        return handlers[i].handle(session, frame);
    }
    if (frame->type >= BROKER_FRAME_SKIPPABLE) {
        return BROKER_OK;
    }
    const struct broker_frame_info *info = broker_frame_info(frame->type);
    char what[TEXT_MAX];
    text_format(
        what, "an unexpected %s frame", info == NULL ? "unknown" : info->name);
    return session_violation(session, BROKER_E_UNEXPECTED_FRAME, what);
}
