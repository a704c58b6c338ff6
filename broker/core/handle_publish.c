/* SPDX-License-Identifier: MIT
 *
 * PUBLISH, in runs. An ordinary message costs no allocation, no lock and no
 * system call of its own: frames that follow each other on the same topic are
 * compared with the first of them, byte by byte up to the payload, and go
 * through routing and queueing together, as one slice of the receive block.
 * PROTOCOL.md sections 4.6, 5.1 to 5.5 and 5.7. */
#include "forward.h"
#include "session.h"
#include "wire.h"

#include <stdio.h>
#include <string.h>

#define PUBLISH_FIXED_BYTES 4u /* topic and field lengths */

static enum broker_status
check_topic(void *arg, struct broker_bytes topic)
{
    const struct core *core = arg;
    if (topic.data[0] == '$') {
        return BROKER_E_RESERVED_TOPIC;
    }
    return broker_topic_check(&core->limits, topic);
}

static void
refuse_publish(struct session *session, const struct broker_publish *publish,
    enum broker_status code, const char *text)
{
    struct refusal refusal = {.code = code,
        .id = publish->id,
        .frame_type = BROKER_FRAME_PUBLISH,
        .text = text};
    if (publish->id == 0) {
        refusal.topic = publish->topic;
    }
    if (code == BROKER_E_RETAINED_LIMIT) {
        refusal.limit = session->core->options.max_retained_bytes;
    }
    session->core->totals.refused_publishes++;
    session_refuse(session, &refusal);
    if (publish->id != 0) {
        session_settle(session, publish->id);
    }
}

void
session_refuse_publish(struct session *session, uint32_t id,
    enum broker_status code, const struct output_run *run)
{
    struct broker_publish publish = {.id = id};
    if (run != NULL && run->data != NULL) {
        const uint8_t *body = run->data + BROKER_HEADER_BYTES;
        publish.topic = (struct broker_bytes){
            body + PUBLISH_FIXED_BYTES, (size_t)body[0] << 8 | body[1]};
    }
    refuse_publish(session, &publish, code, NULL);
}

/* ---- runs ---------------------------------------------------------------- */

/* May this frame's id follow that one in a run? Either none wants an
 * acknowledgement, or they count up. */
static bool
id_follows(uint32_t before, uint32_t id)
{
    return before == 0 ? id == 0 : id != 0 && id == before + 1;
}

/* Extend the run by the frames after it that are like its first one but for id
 * and payload. `same_bytes` is how much of the body must be the same: the two
 * lengths and the topic; the first has no fields, so neither have they. */
static void
extend_run(struct run *run, const uint8_t *src, size_t len, size_t same_bytes,
    uint32_t max_body_bytes)
{
    size_t used = run->slice.bytes;
    uint32_t messages = 1;
    uint32_t id = run->first_id;
    while (len - used >= BROKER_HEADER_BYTES + same_bytes) {
        const uint8_t *frame = src + used;
        uint32_t body_bytes = wire_u32(frame);
        if (body_bytes > max_body_bytes || body_bytes < same_bytes ||
            body_bytes > len - used - BROKER_HEADER_BYTES ||
            memcmp(frame + 4, src + 4, 4) != 0 ||
            memcmp(frame + BROKER_HEADER_BYTES, src + BROKER_HEADER_BYTES,
                same_bytes) != 0 ||
            !id_follows(id, wire_frame_id(frame))) {
            break;
        }
        id = wire_frame_id(frame);
        used += BROKER_HEADER_BYTES + body_bytes;
        messages++;
    }
    run->slice.bytes = used;
    run->slice.messages = messages;
}

/* ---- publishes with something particular about them ---------------------- */

static bool
is_particular(
    const struct broker_publish *publish, struct broker_bytes *reply_to)
{
    *reply_to = (struct broker_bytes){NULL, 0};
    return (publish->headers.len > 0 && broker_tlv_find(publish->headers,
                                            BROKER_TAG_REPLY_TO, reply_to)) ||
           (publish->flags & BROKER_FLAGS_STRUCTURAL) != 0 ||
           publish->topic.data[0] == '$';
}

static bool
was_settled(const struct session *session, const struct broker_publish *publish)
{
    return (publish->flags & BROKER_PUBLISH_RETRY) != 0 && publish->id != 0 &&
           session->last_publish != 0 &&
           !identity_number_above(publish->id, session->last_publish);
}

static enum broker_status
check_request(struct session *session, const struct broker_publish *publish,
    struct broker_bytes reply_to, const char **text)
{
    if (publish->id == 0) {
        *text = "a request (REPLY_TO) needs a publish number";
        return BROKER_E_BAD_REQUEST;
    }
    enum broker_status status = check_topic(session->core, reply_to);
    if (status != BROKER_OK) {
        *text = "REPLY_TO is not a topic that can be published to";
    }
    session->requested = true;
    return status;
}

static enum broker_status
retain(struct core *core, struct broker_bytes topic,
    const struct output_run *slice)
{
    const uint8_t *body = slice->data + BROKER_HEADER_BYTES;
    size_t fields_bytes = (size_t)body[2] << 8 | body[3];
    size_t before_payload =
        BROKER_HEADER_BYTES + PUBLISH_FIXED_BYTES + topic.len + fields_bytes;
    if (slice->bytes == before_payload) { /* an empty payload */
        retained_clear(&core->retained, topic);
        return BROKER_OK;
    }
    return retained_put(&core->retained, topic,
        (struct broker_bytes){slice->data, slice->bytes});
}

enum broker_status
publish_retained(struct core *core, struct broker_bytes topic, struct run *run)
{
    enum broker_status status = BROKER_OK;
    run->route = route_get(&core->routes, topic, check_topic, core, &status);
    if (run->route == NULL) {
        return status;
    }
    if (run->request && route_is_empty(run->route)) {
        status = BROKER_E_NO_SUBSCRIBERS;
    } else {
        status = retain(core, topic, &run->slice);
    }
    if (status == BROKER_OK) {
        deliver_run(core, run);
    }
    route_unref(run->route);
    return status;
}

/* The session goes on when home has answered. */
static enum broker_status
retain_at_home(struct session *session, const struct broker_publish *publish,
    const struct run *run)
{
    struct core *core = session->core;
    enum broker_status status = check_topic(core, publish->topic);
    if (status != BROKER_OK) {
        return status;
    }
    struct wait *wait = wait_new(session, publish->id, 1);
    if (wait == NULL) {
        return BROKER_OK; /* the session is aborted */
    }
    wait->request = run->request;
    wait->frame = run->slice;
    block_ref(wait->frame.block);
    if (!forward_retain(core, &run->slice, wait, run->request)) {
        wait->status = BROKER_E_MEMORY;
        wait_close(core, wait);
        return BROKER_OK;
    }
    wait->resumes = true;
    session->remote->is_suspended = true;
    return BROKER_OK;
}

static enum broker_status
publish_single(struct session *session, const struct broker_publish *publish,
    struct run *run)
{
    struct core *core = session->core;
    enum broker_status status = BROKER_OK;
    run->route =
        route_get(&core->routes, publish->topic, check_topic, core, &status);
    if (run->route == NULL) {
        return status;
    }
    if (run->request && route_is_empty(run->route)) {
        status = BROKER_E_NO_SUBSCRIBERS;
    } else {
        deliver_run(core, run);
    }
    route_unref(run->route);
    return status;
}

/* Everything that may refuse a particular publish once its topic may be
 * published to. */
static enum broker_status
route_particular(struct session *session, const struct broker_publish *publish,
    struct broker_bytes reply_to, struct run *run)
{
    struct core *core = session->core;
    run->request = reply_to.len > 0;
    if (run->request && publish->topic.data[0] == '$') {
        enum broker_status status =
            request_to_broker(session, publish, reply_to);
        if (status != BROKER_E_RESERVED_TOPIC) {
            return status;
        }
    }
    if ((publish->flags & BROKER_PUBLISH_RETAIN) == 0) {
        return publish_single(session, publish, run);
    }
    if (core->exchange != NULL &&
        exchange_is_other(core->exchange, EXCHANGE_HOME)) {
        return retain_at_home(session, publish, run);
    }
    return publish_retained(core, publish->topic, run);
}

static void
publish_particular(struct session *session,
    const struct broker_publish *publish, struct broker_bytes reply_to,
    struct run *run)
{
    if (was_settled(session, publish)) {
        ack_duplicate(session, publish->id);
        return;
    }
    const char *text = NULL;
    enum broker_status status = BROKER_OK;
    if (reply_to.len > 0) {
        status = check_request(session, publish, reply_to, &text);
    }
    if (status == BROKER_OK) {
        status = route_particular(session, publish, reply_to, run);
    }
    if (status != BROKER_OK) {
        refuse_publish(session, publish, status, text);
    }
}

/* ---- entry --------------------------------------------------------------- */

static void
publish_run(struct session *session, const struct broker_publish *publish,
    struct run *run, const uint8_t *src, size_t len)
{
    struct core *core = session->core;
    enum broker_status status = BROKER_OK;
    run->route =
        route_get(&core->routes, publish->topic, check_topic, core, &status);
    if (run->route == NULL) {
        refuse_publish(session, publish, status, NULL);
        return;
    }
    if (publish->headers.len == 0) {
        size_t most = len < core->run_bytes_max ? len : core->run_bytes_max;
        if (most > run->slice.bytes) {
            extend_run(run, src, most, PUBLISH_FIXED_BYTES + publish->topic.len,
                session->max_body_bytes);
        }
    }
    deliver_run(core, run);
    route_unref(run->route);
}

/* Refuse a frame that is well-formed but was not decoded. */
static void
refuse_unread(struct session *session, const struct broker_frame *frame,
    enum broker_status status)
{
    const uint8_t *body = frame->body.data;
    size_t topic_bytes = (size_t)body[0] << 8 | body[1];
    struct broker_publish publish = {
        .id = frame->id, .topic = {body + PUBLISH_FIXED_BYTES, topic_bytes}};
    refuse_publish(session, &publish, status, NULL);
}

size_t
handle_publishes(struct session *session, const struct broker_frame *frame,
    struct block *block, const uint8_t *src, size_t len)
{
    size_t frame_bytes = BROKER_HEADER_BYTES + frame->body.len;
    struct broker_publish publish;
    enum broker_status status = broker_publish_decode(frame, &publish);
    if (status == BROKER_E_MALFORMED) {
        session_fail(session, status, frame->id, frame->type);
        return frame_bytes;
    }
    struct run run = {.publisher = session,
        .slice = {.block = block,
            .data = src,
            .bytes = frame_bytes,
            .messages = 1},
        .first_id = frame->id};
    struct broker_bytes reply_to;
    if (status != BROKER_OK) {
        refuse_unread(session, frame, status);
    } else if (is_particular(&publish, &reply_to)) {
        publish_particular(session, &publish, reply_to, &run);
    } else {
        publish_run(session, &publish, &run, src, len);
    }
    session->received_messages += run.slice.messages;
    return (size_t)run.slice.bytes;
}
