/* SPDX-License-Identifier: MIT
 *
 * What a session says of its own: answers, refusals, notices, the last word;
 * and what of its output the socket took. See session.h. PROTOCOL.md sections
 * 4.3, 4.5 and 4.14. */
#include "session.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_BYTES_MAX 256
#define REFUSAL_BYTES  1024 /* on the stack; a longer topic takes the heap */

void
session_announce_output(struct session *session)
{
    if (session->output_announced) {
        return;
    }
    session->output_announced = true;
    session->progress_ms = session->core->now_ms;
    session_mark_queue(session);
    uint64_t due_ms = session_write_deadline(session);
    uint64_t age_ms = session_age_deadline(session);
    due_ms = age_ms < due_ms ? age_ms : due_ms;
    if (due_ms < session->deadline.due_ms) {
        deadline_set(&session->core->deadlines, &session->deadline, due_ms);
    }
    session->core->hooks.output_ready(session->owner);
}

void
session_abort(struct session *session)
{
    session->aborted = true;
    /* Said even if output was announced before: its owner may be waiting for
     * the socket, and this is not to be waited for. */
    session->output_announced = true;
    session->core->hooks.output_ready(session->owner);
}

/* Answers stand in the order of what they answer. */
static struct buffer *
control_of(struct session *session)
{
    return wait_holds(session) ? wait_held(session)
                               : output_control(&session->output);
}

uint8_t *
session_control(struct session *session, size_t size)
{
    uint8_t *dst = buffer_reserve(control_of(session), size);
    if (dst == NULL) {
        session_abort(session);
    }
    return dst;
}

void
session_control_done(struct session *session, size_t size)
{
    buffer_commit(control_of(session), size);
    if (wait_holds(session)) {
        wait_held_more(session, size);
    } else {
        session_announce_output(session);
    }
}

uint8_t *
session_unasked(struct session *session, size_t size)
{
    uint8_t *dst = buffer_reserve(output_control(&session->output), size);
    if (dst == NULL) {
        session_abort(session);
    }
    return dst;
}

void
session_unasked_done(struct session *session, size_t size)
{
    buffer_commit(output_control(&session->output), size);
    session_announce_output(session);
}

static struct broker_bytes
text_bytes(const char *text)
{
    size_t len = strlen(text);
    return (struct broker_bytes){
        (const uint8_t *)text, len > TEXT_BYTES_MAX ? TEXT_BYTES_MAX : len};
}

/* The fields of an ERROR. They fit by construction. */
static size_t
put_refusal(const struct refusal *refusal, uint8_t *dst, size_t cap)
{
    size_t pos = 0;
    const char *text = refusal->text != NULL
                           ? refusal->text
                           : broker_status_text((unsigned)refusal->code);
    enum broker_status status =
        broker_tlv_put(dst, cap, &pos, BROKER_TAG_TEXT, text_bytes(text));
    if (status == BROKER_OK && refusal->limit > 0) {
        status = broker_tlv_put_u64(
            dst, cap, &pos, BROKER_TAG_LIMIT, refusal->limit);
    }
    if (status == BROKER_OK && refusal->topic.len > 0) {
        status =
            broker_tlv_put(dst, cap, &pos, BROKER_TAG_TOPIC, refusal->topic);
    }
    if (status == BROKER_OK && refusal->sequence != NULL) {
        status = broker_tlv_put_u64(
            dst, cap, &pos, BROKER_TAG_SEQUENCE, *refusal->sequence);
    }
    assert(status == BROKER_OK);
    return pos;
}

void
session_refuse(struct session *session, const struct refusal *refusal)
{
    uint8_t small[REFUSAL_BYTES];
    size_t cap = TEXT_BYTES_MAX + 64 + refusal->topic.len;
    uint8_t *tlvs = cap <= sizeof small ? small : malloc(cap);
    if (tlvs == NULL) {
        session_abort(session);
        return;
    }
    struct broker_error error = {.id = refusal->id,
        .code = (uint16_t)refusal->code,
        .frame_type = refusal->frame_type,
        .error_class = refusal->ends_subscription
                           ? BROKER_CLASS_SUBSCRIPTION
                           : broker_status_class((unsigned)refusal->code),
        .may_retry = broker_status_may_retry((unsigned)refusal->code),
        .tlvs = {tlvs, put_refusal(refusal, tlvs, cap)}};
    ack_flush(session);
    size_t size = broker_error_size(&error);
    uint8_t *dst = session_control(session, size);
    if (dst != NULL &&
        broker_error_encode(&error, dst, size, &size) == BROKER_OK) {
        session_control_done(session, size);
    }
    if (tlvs != small) {
        free(tlvs);
    }
}

void
session_notice(struct session *session, enum broker_status code, uint64_t limit,
    const char *text)
{
    if (session->goaway_sent) {
        return; /* it hears nothing any more */
    }
    uint8_t tlvs[TEXT_BYTES_MAX + 32];
    size_t tlv_bytes = 0;
    enum broker_status status = BROKER_OK;
    if (text != NULL) {
        status = broker_tlv_put(
            tlvs, sizeof tlvs, &tlv_bytes, BROKER_TAG_TEXT, text_bytes(text));
    }
    if (status == BROKER_OK && limit > 0) {
        status = broker_tlv_put_u64(
            tlvs, sizeof tlvs, &tlv_bytes, BROKER_TAG_LIMIT, limit);
    }
    assert(status == BROKER_OK);
    struct broker_notice notice = {
        .code = (uint16_t)code, .tlvs = {tlvs, tlv_bytes}};
    size_t size = broker_notice_size(&notice);
    uint8_t *dst = session_unasked(session, size);
    if (dst != NULL &&
        broker_notice_encode(&notice, dst, size, &size) == BROKER_OK) {
        session_unasked_done(session, size);
    }
}

/* The highest number up to which everything was answered; or 0. */
static uint32_t
last_answered(const struct session *session)
{
    const struct session_remote *remote = session->remote;
    return remote != NULL && remote->unanswered != 0 ? remote->unanswered - 1
                                                     : session->last_publish;
}

void
session_send_goaway(struct session *session, const char *text)
{
    session->goaway_sent = true;
    if (session->close_code == BROKER_E_LEAVING) {
        return; /* it was the peer who began to close */
    }
    if (text == NULL) {
        text = broker_status_text((unsigned)session->close_code);
    }
    uint8_t tlvs[TEXT_BYTES_MAX + 16];
    size_t tlv_bytes = 0;
    if (broker_tlv_put(tlvs, sizeof tlvs, &tlv_bytes, BROKER_TAG_TEXT,
            text_bytes(text)) != BROKER_OK) {
        tlv_bytes = 0;
    }
    struct broker_goaway goaway = {.id = last_answered(session),
        .code = (uint16_t)session->close_code,
        .retry_after_ms = session->retry_after_ms,
        .tlvs = {tlvs, tlv_bytes}};
    size_t size = broker_goaway_size(&goaway);
    uint8_t *dst = session_control(session, size);
    if (dst != NULL &&
        broker_goaway_encode(&goaway, dst, size, &size) == BROKER_OK) {
        session_control_done(session, size);
    }
}

size_t
session_output_spans(
    struct session *session, struct output_span *spans, size_t max)
{
    if (session->state == SESSION_CLOSING && !session->goaway_sent &&
        output_has_no_data(&session->output) && !wait_holds(session)) {
        session_send_goaway(session, NULL);
    }
    size_t count = output_spans(&session->output, spans, max);
    if (count == 0 && !output_is_empty(&session->output)) {
        session->aborted = true; /* no memory to say what is missing */
    }
    return count;
}

bool
session_output_sent(struct session *session, size_t bytes)
{
    output_sent(&session->output, bytes);
    if (bytes > 0) {
        session->progress_ms = session->core->now_ms;
        session->delivered_bytes += bytes;
    }
    if (session->draining_count > 0) {
        subscriptions_drained(session);
    }
    if (session->queue_high &&
        session->output.bytes < session->output.max_bytes / 2) {
        session->queue_high = false;
    }
    if (session->hold.is_full || session->hold.gave_up) {
        hold_look_at_room(session);
    }
    if (session->remote != NULL) {
        readers_look(session);
        attachments_look(session);
    }
    bool more = !output_is_empty(&session->output) ||
                (session->state == SESSION_CLOSING && !session->goaway_sent &&
                    !wait_holds(session));
    session->output_announced = more;
    if (!more && session->received_messages == 0) {
        /* It does not publish, so there are hardly any more answers: most idle
         * connections are like that. */
        buffer_fini(output_control(&session->output));
    }
    return more;
}
