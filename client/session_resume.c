/* SPDX-License-Identifier: MIT
 *
 * What a lost connection means, and how a new one takes up where the old one
 * was (PROTOCOL.md 5.3). See session.h.
 *
 * When the connection is lost the log is walked once: frames of the library's
 * own are dropped, messages without a number that were written whole are
 * dropped and counted as unknown, those with a number are kept, and marked
 * RETRY if the broker may have seen them. All of these are sent again, also
 * what the broker says it has answered: an answer that was lost may have been a
 * refusal, and only the broker knows. With WELCOME the log is walked again for
 * what this broker cannot take. Nothing of it is written in between.
 */
#include "session.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define FLAGS_LOW_BYTE 7 /* of the header: the structural flags */

static uint8_t
flags_of(const struct outlog_frame *frame)
{
    return frame->data[FLAGS_LOW_BYTE];
}

/* ---- the connection is gone ---------------------------------------------- */

struct loss {
    struct session *session;
    uint64_t fire_kept; /* messages without number that are sent again */
};

/* A message whose request is over, or must not be carried out twice. */
static bool
drop_request(struct loss *loss, const struct outlog_frame *frame,
    struct publish_slot *slot)
{
    if (slot->kind == PUBLISH_REQUEST && frame->written) {
        struct request *request = slot->user;
        request->waiting = false; /* dooms it, see below */
    } else if (slot->kind != PUBLISH_ABANDONED) {
        return false;
    }
    outlog_let_go(slot->chunk);
    publishes_mark_slot(&loss->session->publishes, slot, PUBLISH_DONE);
    return true;
}

static bool
keep_after_loss(void *context, const struct outlog_frame *frame)
{
    struct loss *loss = context;
    struct broker_header header;
    broker_header_decode(frame->data, &header);
    if (header.type != BROKER_FRAME_PUBLISH &&
        header.type != BROKER_FRAME_PUBLISH_BATCH) {
        return false;
    }
    if (header.id == 0) {
        loss->fire_kept += !frame->written;
        return !frame->written;
    }
    struct publish_slot *slot =
        publishes_find(&loss->session->publishes, header.id);
    if (slot == NULL || drop_request(loss, frame, slot)) {
        return false;
    }
    if (frame->written) { /* of a batch it is the same bit */
        frame->data[FLAGS_LOW_BYTE] |= BROKER_PUBLISH_RETRY;
    }
    slot->offset = frame->offset;
    return true;
}

static void
lose_log(struct session *session)
{
    struct loss loss = {.session = session};
    outlog_rewind(&session->log, keep_after_loss, &loss);
    publishes_leave(&session->publishes);

    uint64_t given_up = session->fire_taken - loss.fire_kept;
    session->unknown_publishes = given_up - session->fire_confirmed;
    session->stats.messages_unknown += session->unknown_publishes;
    session->fire_confirmed = given_up;

    for (size_t i = 0; i < session->requests.count; i++) {
        struct request *request = session->requests.heap[i];
        request->doomed = !request->waiting;
    }
}

static void
lose_subscriptions(struct session *session)
{
    for (struct subscription *s = session->subscriptions.first; s != NULL;
         s = s->next) {
        bool has_ended =
            s->state == SUBSCRIPTION_ENDING || consume_is_over(s->consume);
        if (s->consume != NULL) {
            session->stats.settlements_late += consume_lose(s->consume);
            subscriptions_unmark_pending(&session->subscriptions, s);
        }
        if (has_ended && s->state != SUBSCRIPTION_ENDED) {
            s->state = SUBSCRIPTION_ENDED;
            session->subscriptions.ended++;
        } else if (s->state != SUBSCRIPTION_ENDED) {
            s->was_active |= s->state == SUBSCRIPTION_ACTIVE;
            s->state = SUBSCRIPTION_NEW;
        }
    }
}

static void
end_doomed_barriers(struct session *session)
{
    struct session_barrier *barrier = session->barriers;
    while (barrier != NULL) {
        if (barrier->doomed) {
            session_end_barrier(session, barrier, BROKER_E_CONNECTION_LOST);
            barrier = session->barriers;
        } else {
            barrier = barrier->next;
        }
    }
}

void
session_lost(struct session *session, uint64_t now_us)
{
    bool was_open =
        session->state == SESSION_OPEN || session->state == SESSION_LEAVING;
    session->now_us = now_us;
    session->unknown_publishes = 0;
    if (was_open) {
        lose_log(session);
    }
    lose_subscriptions(session);
    session_set_state(session, SESSION_DOWN);
    session_preamble_reset(session);
    receive_reset(&session->receive);
    session->receive_more = false;
    session->receive_needed = 0;
    session->context_known = session->context_plain = false;
    session->context_stream = false;
    session->context_count = 0;
    session->inbox.connection++;
    session->position = (struct session_position){0};
    session->heartbeat.sent = session->probed = false;
    for (struct session_barrier *b = session->barriers; b != NULL;
         b = b->next) {
        b->ping.sent = b->ponged = false;
        b->doomed = b->is_ping || session->unknown_publishes > 0;
    }
    for (;;) {
        struct request *request = requests_doomed(&session->requests);
        if (request == NULL) {
            break;
        }
        session_end_request(session, request, BROKER_E_CONNECTION_LOST, NULL);
    }
    end_doomed_barriers(session);
}

/* ---- WELCOME ------------------------------------------------------------- */

struct resume {
    struct session *session;
    bool first; /* nothing was ever sent: numbers may still be chosen */
    uint32_t last_publish;
};

/* Let the first number be the one after the broker's last. */
static void
renumber(const struct resume *resume, const struct outlog_frame *frame,
    struct publish_slot *slot, uint32_t number)
{
    struct broker_header header;
    broker_header_decode(frame->data, &header);
    header.id = publish_number_add(resume->last_publish, number);
    broker_header_encode(&header, frame->data);
    if (slot->kind == PUBLISH_REQUEST) {
        ((struct request *)slot->user)->number = header.id;
    }
}

static bool
keep_for_resume(void *context, const struct outlog_frame *frame)
{
    struct resume *resume = context;
    struct session *session = resume->session;
    struct broker_header header;
    broker_header_decode(frame->data, &header);
    if (header.id == 0) {
        return true;
    }
    struct publish_slot *slot = publishes_find(&session->publishes, header.id);
    if (slot == NULL) {
        return false;
    }
    bool is_retry = (flags_of(frame) & BROKER_PUBLISH_RETRY) != 0;
    bool is_too_new = slot->needs_streams && !session->agreed.streams;
    if (is_too_new || slot->kind == PUBLISH_ABANDONED) {
        outlog_let_go(slot->chunk);
        publishes_mark_slot(
            &session->publishes, slot, is_too_new ? PUBLISH_DUE : PUBLISH_DONE);
        return false;
    }
    slot->offset = frame->offset;
    session->stats.messages_resent += is_retry;
    if (resume->first) {
        renumber(resume, frame, slot, header.id);
    }
    return true;
}

static void
resume_log(struct session *session, bool first, uint32_t last_publish)
{
    struct resume resume = {
        .session = session, .first = first, .last_publish = last_publish};
    outlog_rewind(&session->log, keep_for_resume, &resume);
    if (first) {
        publishes_renumber(
            &session->publishes, publish_number_add(last_publish, 1));
    }
    publishes_leave(&session->publishes);
}

static enum broker_status
resume_subscriptions(struct session *session)
{
    for (struct subscription *s = session->subscriptions.first; s != NULL;
         s = s->next) {
        if (s->state == SUBSCRIPTION_NEW) {
            enum broker_status status =
                session_send_subscribe(session, s, true);
            if (status != BROKER_OK) {
                return status;
            }
        }
    }
    return BROKER_OK;
}

/* Something may have passed while the connection was away. */
static enum broker_status
tell_connection_gap(struct session *session)
{
    size_t count = 0;
    uint32_t *ids =
        malloc((session->subscriptions.by_id.count + 1) * sizeof *ids);
    if (ids == NULL) { /* the next connection tells */
        return session_end(session, BROKER_E_NO_MEMORY,
            broker_status_text(BROKER_E_NO_MEMORY));
    }
    for (struct subscription *s = session->subscriptions.first; s != NULL;
         s = s->next) {
        if (s->was_active && !s->is_replies && s->consume == NULL &&
            s->state == SUBSCRIPTION_SENT) {
            ids[count++] = s->id;
        }
    }
    struct broker_client_gap gap = {
        .reason = BROKER_CLIENT_GAP_CONNECTION,
        .subscriptions = ids,
        .subscription_count = count,
    };
    session_tell_gap(session, &gap);
    free(ids);
    return BROKER_OK;
}

/* Who the client is taken for; len 0: it is not said. */
static struct broker_bytes
user_of(const struct broker_welcome *welcome)
{
    struct broker_bytes user = {NULL, 0};
    (void)broker_tlv_find(welcome->tlvs, BROKER_TAG_USER, &user);
    return user;
}

/* PROTOCOL.md 5.10. The name becomes a part of topics and filters. */
static bool
user_is_sane(struct broker_bytes user)
{
    static const char others[] = "._-@:";
    for (size_t i = 0; i < user.len; i++) {
        uint8_t c = user.data[i];
        bool is_letter = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
        bool is_digit = c >= '0' && c <= '9';
        if (!is_letter && !is_digit &&
            memchr(others, c, sizeof others - 1) == NULL) {
            return false;
        }
    }
    return user.len <= REQUEST_USER_BYTES_MAX;
}

static void
agree(struct session *session, const struct broker_welcome *welcome)
{
    struct session_agreed *agreed = &session->agreed;
    session->broker_restarted =
        agreed->known &&
        (memcmp(agreed->boot, welcome->boot, BROKER_SESSION_BYTES) != 0 ||
            memcmp(agreed->session, welcome->session, BROKER_SESSION_BYTES) !=
                0);
    agreed->known = true;
    agreed->streams = (welcome->features & BROKER_FEATURE_STREAMS) != 0;
    /* Another one than was asked for, if that is another user's
     * (PROTOCOL.md 5.10). */
    memcpy(agreed->session, welcome->session, BROKER_SESSION_BYTES);
    agreed->max_body_bytes = welcome->max_body_bytes;
    agreed->heartbeat_ms = welcome->heartbeat_ms;
    agreed->max_subscriptions = welcome->max_subscriptions;
    agreed->limits = (struct broker_limits){welcome->max_body_bytes,
        welcome->max_topic_bytes, welcome->max_topic_levels};
    memcpy(agreed->boot, welcome->boot, BROKER_SESSION_BYTES);
    struct broker_bytes name = {NULL, 0};
    (void)broker_tlv_find(welcome->tlvs, BROKER_TAG_NAME, &name);
    text_copy(agreed->server_name, sizeof agreed->server_name, name);
    struct broker_bytes user = user_of(welcome);
    text_copy(agreed->user, sizeof agreed->user, user);
    session->receive_limits.max_body_bytes = welcome->max_body_bytes;
    /* The memo was checked against the limits of before. */
    session->sent_topic.len = 0;
}

static bool
welcome_is_sane(
    const struct session *session, const struct broker_welcome *welcome)
{
    static const uint8_t none[BROKER_SESSION_BYTES];
    return welcome->version == BROKER_PROTOCOL_VERSION &&
           welcome->max_body_bytes >= BROKER_BODY_BYTES_MIN &&
           welcome->max_body_bytes <= session->config.max_body_bytes &&
           welcome->heartbeat_ms > 0 && user_is_sane(user_of(welcome)) &&
           memcmp(welcome->session, none, BROKER_SESSION_BYTES) != 0;
}

/* A message that says what this broker, which does not know streams, would not
 * heed. */
static void
tell_too_new(struct session *session, const struct publish_slot *slot)
{
    char text[TEXT_MAX];
    struct broker_client_published published = {
        .status = BROKER_E_UNSUPPORTED_TYPE, .text = text};
    struct broker_client_error error = {.status = published.status,
        .text = text,
        .frame_type = BROKER_FRAME_PUBLISH};
    text_status(text, "this broker knows no streams", published.status,
        (struct broker_bytes){NULL, 0});
    session->stats.messages_refused++;
    if (slot->kind == PUBLISH_SILENT) {
        session_tell_error(session, &error);
    } else {
        session_tell_published(session, slot, &published);
    }
}

/* The callbacks of WELCOME, when everything stands. */
static enum broker_status
tell_resumed(struct session *session, bool first)
{
    struct publish_slot slot;
    uint64_t ordinal = 0;
    while (publishes_take_due(&session->publishes, &ordinal, &slot)) {
        tell_too_new(session, &slot);
    }
    session_finish_barriers(session);
    return first ? BROKER_OK : tell_connection_gap(session);
}

enum broker_status
session_handle_welcome(
    struct session *session, const struct broker_frame *frame)
{
    struct broker_welcome welcome;
    enum broker_status status = broker_welcome_decode(frame, &welcome);
    if (status != BROKER_OK || !welcome_is_sane(session, &welcome)) {
        return session_violation(session,
            status == BROKER_OK ? BROKER_E_MALFORMED : status, "WELCOME");
    }
    bool first = !session->agreed.known;
    agree(session, &welcome);
    resume_log(session, first, welcome.last_publish);
    status = session_move_inbox(session);
    if (status == BROKER_OK) {
        status = resume_subscriptions(session);
    }
    if (status != BROKER_OK) {
        return status;
    }
    session_set_state(session, SESSION_OPEN);
    session->stats.connects++;
    for (struct session_barrier *b = session->barriers; b != NULL;
         b = b->next) {
        status = session_append_ping(session, &b->ping);
        if (status != BROKER_OK) {
            return status;
        }
    }
    return tell_resumed(session, first);
}

/* ---- the end ------------------------------------------------------------- */

static void
end_all_publishes(struct session *session, const char *why)
{
    struct publish_slot slot;
    while (publishes_take_waiting(&session->publishes, &slot)) {
        struct broker_client_published published = {
            .status = BROKER_E_CLOSED,
            .text = why,
        };
        session_tell_published(session, &slot, &published);
    }
}

void
session_end_requests(struct session *session)
{
    for (;;) {
        struct request *request = requests_first(&session->requests);
        if (request == NULL) {
            return;
        }
        session_end_request(session, request, BROKER_E_CLOSED, NULL);
    }
}

void
session_end_all(struct session *session, const char *why)
{
    assert(session->state == SESSION_DOWN);
    end_all_publishes(session, why);
    /* The slots are gone, so the frames are nobody's. */
    size_t chunk_bytes = session->log.chunk_bytes;
    outlog_fini(&session->log);
    session->log.chunk_bytes = chunk_bytes;
    session_end_requests(session);
    while (session->subscriptions.first != NULL) {
        struct subscription *subscription = session->subscriptions.first;
        struct broker_client_unsubscribed unsubscribed = {
            .status = BROKER_E_CLOSED, .subscription = subscription->id};
        session_end_subscription(session, subscription, &unsubscribed);
    }
    while (session->barriers != NULL) {
        session_end_barrier(session, session->barriers, BROKER_E_CLOSED);
    }
}
