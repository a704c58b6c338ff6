/* SPDX-License-Identifier: MIT
 *
 * From received bytes to handlers: cut frames off, check what the frame table
 * says of them once, and hand them on. Handlers start with a frame that is
 * whole, of a known type, of a permitted length, from the right side and in the
 * right state. PROTOCOL.md sections 2.1 and 3. */
#include "session.h"
#include "wire.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef void handler(struct session *session, const struct broker_frame *frame);

/* PUBLISH and PUBLISH_BATCH are not among them, see dispatch_frame. */
static handler *
handler_of(uint16_t type)
{
    switch (type) {
    case BROKER_FRAME_HELLO:
        return handle_hello;
    case BROKER_FRAME_PING:
        return handle_ping;
    case BROKER_FRAME_PONG:
        return handle_pong;
    case BROKER_FRAME_GOAWAY:
        return handle_goaway;
    case BROKER_FRAME_SUBSCRIBE:
        return handle_subscribe;
    case BROKER_FRAME_UNSUBSCRIBE:
        return handle_unsubscribe;
    case BROKER_FRAME_CONSUME:
        return handle_consume;
    case BROKER_FRAME_ACK:
    case BROKER_FRAME_NACK:
    case BROKER_FRAME_TOUCH:
        return handle_settle;
    default:
        return NULL;
    }
}

static bool
state_permits(const struct session *session, uint16_t type)
{
    bool hello = type == BROKER_FRAME_HELLO;
    return session->state == SESSION_HANDSHAKE ? hello : !hello;
}

/* Handle the frame at the start of src[0..len), and perhaps more that follow.
 * Returns the bytes used, at least those of the frame; or 0 if the session is
 * held before it. */
static size_t
dispatch_frame(struct session *session, const struct broker_frame *frame,
    const uint8_t *src, size_t len)
{
    size_t frame_bytes = BROKER_HEADER_BYTES + frame->body.len;
    const struct broker_frame_info *info = broker_frame_info(frame->type);
    if (info == NULL || info->reserved) {
        return frame_bytes; /* may be skipped, PROTOCOL.md section 3.1 */
    }
    if (info->senders == BROKER_SENDER_SERVER ||
        !state_permits(session, frame->type)) {
        session_fail(
            session, BROKER_E_UNEXPECTED_FRAME, frame->id, frame->type);
        return frame_bytes;
    }
    if (frame->type == BROKER_FRAME_PUBLISH) {
        return handle_publishes(
            session, frame, session->intake.block, src, len);
    }
    if (frame->type == BROKER_FRAME_PUBLISH_BATCH) {
        return handle_publish_batch(session, frame, session->intake.block);
    }
    handler *handle = handler_of(frame->type);
    if (handle == NULL) {
        session_fail(
            session, BROKER_E_UNEXPECTED_FRAME, frame->id, frame->type);
        return frame_bytes;
    }
    handle(session, frame);
    return frame_bytes;
}

/* A publish is refused by its header alone. */
static void
become_unsure(struct session *session, const struct broker_header *header)
{
    if (header->id != 0 && (header->type == BROKER_FRAME_PUBLISH ||
                               header->type == BROKER_FRAME_PUBLISH_BATCH)) {
        session_become_unsure(session, header->id);
    }
}

/* A frame was refused by its header. Either it is skipped or the connection
 * ends. */
static void
refuse_header(
    struct session *session, const uint8_t *src, enum broker_status status)
{
    struct broker_header header = {0};
    if (status != BROKER_E_BAD_START) {
        broker_header_decode(src, &header);
    }
    if (session->state == SESSION_HANDSHAKE) {
        if (status == BROKER_E_UNSUPPORTED_TYPE ||
            status == BROKER_E_TOO_LARGE) {
            status = BROKER_E_UNEXPECTED_FRAME;
        }
        session_fail(session, status, header.id, header.type);
        return;
    }
    if (broker_status_class((unsigned)status) == BROKER_CLASS_CONNECTION) {
        session_fail(session, status, header.id, header.type);
        return;
    }
    char text[128];
    struct refusal refusal = {
        .code = status, .id = header.id, .frame_type = header.type};
    if (status == BROKER_E_TOO_LARGE) {
        snprintf(text, sizeof text,
            "a body of %lu bytes is over the limit of %lu (max_body_bytes)",
            (unsigned long)header.body_bytes,
            (unsigned long)session->max_body_bytes);
        refusal.text = text;
        refusal.limit = session->max_body_bytes;
        if (header.type == BROKER_FRAME_PUBLISH) {
            session->core->totals.refused_publishes++;
            if (header.id != 0) {
                session_settle(session, header.id);
            }
        }
        become_unsure(session, &header);
    }
    session_refuse(session, &refusal);
}

void
session_shed_input(struct session *session)
{
    struct intake *intake = &session->intake;
    struct broker_header header;
    broker_header_decode(intake_data(intake), &header);
    session->skip_bytes = intake->needed - (uint32_t)intake_len(intake);
    intake_fini(intake);
    if (header.type == BROKER_FRAME_PUBLISH) {
        session_refuse_publish(session, header.id, BROKER_E_MEMORY, NULL);
    } else {
        struct refusal refusal = {.code = BROKER_E_MEMORY,
            .id = header.id,
            .frame_type = header.type};
        become_unsure(session, &header);
        session_refuse(session, &refusal);
    }
}

static bool
is_deaf(const struct session *session)
{
    return session->state == SESSION_CLOSING || session->input_ended ||
           session->aborted ||
           (session->remote != NULL && session->remote->is_deaf);
}

/* Is there room to say to other workers whatever the next frame leads to? */
static bool
may_go_on(struct session *session, const struct broker_frame *frame)
{
    if (session->remote == NULL) {
        return true;
    }
    if (!session_may_process(session, frame->type)) {
        return false;
    }
    if (!exchange_has_room(session->core->exchange)) {
        session_abort(session); /* as where there is no memory to answer */
        return false;
    }
    return true;
}

/* No connection may keep the others waiting for long: when what came from it
 * made the broker do so much (about one a delivery), the rest waits for the
 * next turn. In a turn in which many did that, each gets less. */
#define WORK_MAX (HOLD_TURN_WORK_MAX / 2)

static uint64_t
work_done(const struct core *core)
{
    return core->work + core->routes.work;
}

static uint64_t
work_allowed(const struct core *core)
{
    return core->turn_work < HOLD_TURN_WORK_MAX ? WORK_MAX : WORK_MAX / 16;
}

/* Process src[0..len). Returns the bytes used; *needed is what the frame after
 * them takes, as far as known, or more than is there if it has to wait. */
static size_t
process(struct session *session, const uint8_t *src, size_t len, size_t *needed)
{
    struct core *core = session->core;
    uint64_t work_end = work_done(core) + work_allowed(core);
    size_t used = 0;
    *needed = BROKER_HEADER_BYTES;
    while (used < len) {
        if (is_deaf(session)) {
            return len;
        }
        if (work_done(core) >= work_end) {
            hold_for_work(session);
        }
        if (session->hold.reasons != 0 ||
            (session->remote != NULL && session->remote->is_suspended)) {
            *needed = len - used + 1;
            return used;
        }
        struct broker_limits limits = core->limits;
        limits.max_body_bytes = session->state == SESSION_HANDSHAKE
                                    ? BROKER_BODY_BYTES_MIN
                                    : session->max_body_bytes;
        struct broker_frame frame;
        size_t n = 0;
        enum broker_status status =
            broker_frame_decode(&limits, src + used, len - used, &frame, &n);
        if (status == BROKER_OK && !may_go_on(session, &frame)) {
            *needed = len - used + 1;
            return used;
        }
        if (status == BROKER_OK) {
            used += dispatch_frame(session, &frame, src + used, len - used);
        } else if (status == BROKER_MORE) {
            *needed = n;
            return used;
        } else {
            refuse_header(session, src + used, status);
            if (n > len - used) {
                session->skip_bytes = (uint32_t)(n - (len - used));
                return len;
            }
            used += n;
        }
    }
    return used;
}

/* Discard what is left of a frame that was refused by its header. */
static void
skip_refused(struct session *session)
{
    size_t len = intake_len(&session->intake);
    if (len > session->skip_bytes) {
        len = session->skip_bytes;
    }
    session->skip_bytes -= (uint32_t)len;
    intake_consume(&session->intake, len, BROKER_HEADER_BYTES);
}

void
dispatch_input(struct session *session)
{
    struct intake *intake = &session->intake;
    if (session->skip_bytes > 0 && intake->block != NULL) {
        skip_refused(session);
    }
    if (intake->block == NULL) {
        return;
    }
    const uint8_t *src = intake_data(intake);
    size_t len = intake_len(intake);
    if (session->state == SESSION_HANDSHAKE && foreign_is(session) &&
        !foreign_answer(session, false)) {
        intake_consume(intake, 0, len + 1);
        return;
    }
    size_t needed;
    session->is_dispatching = true;
    uint64_t work = work_done(session->core);
    size_t used = process(session, src, len, &needed);
    session->core->turn_work += work_done(session->core) - work;
    session->is_dispatching = false;
    intake_consume(intake, used, used < len ? needed : 0);
    ack_flush(session);
}
