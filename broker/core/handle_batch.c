/* SPDX-License-Identifier: MIT
 *
 * PUBLISH_BATCH: messages that one stream stores together or not at all.
 * PROTOCOL.md sections 4.15 and 5.13. */
#include "session.h"
#include "wire.h"

#include <string.h>

struct batch_check {
    struct session *session;
    struct capture *capture;   /* of the first frame, with a reference */
    const char *text;          /* what is wrong; or NULL */
    struct broker_bytes topic; /* that was looked up last */
    uint64_t expected_last;
    bool expects_last;
};

static enum broker_status
check_topic(void *arg, struct broker_bytes topic)
{
    const struct core *core = arg;
    return topic.data[0] == '$' ? BROKER_E_RESERVED_TOPIC
                                : broker_topic_check(&core->limits, topic);
}

static enum broker_status
check_fields(
    struct batch_check *check, struct broker_bytes fields, bool is_first)
{
    struct broker_tlv field;
    while (broker_tlv_next(&fields, &field) == BROKER_OK) {
        if (field.tag == BROKER_TAG_REPLY_TO ||
            field.tag == BROKER_TAG_DELIVER_AT) {
            check->text = "REPLY_TO and DELIVER_AT have no place in a batch";
            return BROKER_E_BAD_REQUEST;
        }
        if (field.tag != BROKER_TAG_EXPECTED_LAST_SEQUENCE) {
            continue;
        }
        if (!is_first) {
            check->text =
                "only the first message of a batch has EXPECTED_LAST_SEQUENCE";
            return BROKER_E_BAD_REQUEST;
        }
        check->expects_last =
            broker_tlv_u64(field.value, &check->expected_last);
    }
    return BROKER_OK;
}

/* Is the topic captured, by the same stream as the others? */
static enum broker_status
check_captured(struct batch_check *check, struct broker_bytes topic)
{
    struct core *core = check->session->core;
    enum broker_status status = BROKER_OK;
    struct route *route =
        route_get(&core->routes, topic, check_topic, core, &status);
    if (route == NULL) {
        return status;
    }
    if (route->capture == NULL) {
        status = BROKER_E_NOT_CAPTURED;
    } else if (check->capture == NULL) {
        check->capture = capture_ref(route->capture);
    } else if (check->capture != route->capture) {
        check->text = "the messages of a batch go to one stream";
        status = BROKER_E_BAD_REQUEST;
    }
    route_unref(route);
    return status;
}

static enum broker_status
check_one(struct batch_check *check, const struct broker_frame *frame)
{
    struct broker_publish publish;
    bool is_first = check->topic.data == NULL;
    enum broker_status status = broker_publish_decode(frame, &publish);
    if (status != BROKER_OK) {
        return status;
    }
    bool same =
        !is_first && check->topic.len == publish.topic.len &&
        memcmp(check->topic.data, publish.topic.data, publish.topic.len) == 0;
    check->topic = publish.topic;
    status = check_fields(check, publish.headers, is_first);
    if (status != BROKER_OK || same) {
        return status;
    }
    check->text = publish_why_denied(check->session, publish.topic);
    return check->text != NULL ? BROKER_E_PUBLISH_DENIED
                               : check_captured(check, publish.topic);
}

static enum broker_status
check_batch(struct batch_check *check, const struct broker_publish_batch *batch)
{
    const struct core *core = check->session->core;
    const struct broker_limits limits = BROKER_LIMITS_DEFAULT;
    struct broker_bytes rest = batch->frames;
    if (core->options.store == NULL) {
        return BROKER_E_NO_STORE;
    }
    while (rest.len > 0) {
        struct broker_frame frame;
        size_t n;
        enum broker_status status =
            broker_frame_decode(&limits, rest.data, rest.len, &frame, &n);
        if (status == BROKER_OK) {
            status = check_one(check, &frame);
        }
        if (status != BROKER_OK) {
            return status;
        }
        rest.data += n;
        rest.len -= n;
    }
    return BROKER_OK;
}

static void
refuse(struct session *session, const struct broker_frame *frame,
    const struct batch_check *check, enum broker_status status)
{
    struct refusal refusal = {.code = status,
        .id = frame->id,
        .frame_type = frame->type,
        .text = check->text};
    if (frame->id == 0 || status == BROKER_E_PUBLISH_DENIED) {
        refusal.topic = check->topic;
    }
    if (status == BROKER_E_PUBLISH_DENIED) {
        session->core->totals.denied_publishes++;
    }
    if (frame->id != 0) {
        session_become_unsure(session, frame->id);
    }
    session_refuse_numbered(session, &refusal);
}

size_t
handle_publish_batch(struct session *session, const struct broker_frame *frame,
    struct block *block)
{
    size_t frame_bytes = BROKER_HEADER_BYTES + frame->body.len;
    struct batch_check check = {.session = session, .text = NULL};
    struct broker_publish_batch batch = {.count = 0};
    enum broker_status status = broker_publish_batch_decode(frame, &batch);
    if (status == BROKER_E_MALFORMED) {
        session_fail(session, status, frame->id, frame->type);
        return frame_bytes;
    }
    if (status == BROKER_OK) {
        status = check_batch(&check, &batch);
    }
    bool done = true;
    if (status == BROKER_OK) {
        struct run run = {.publisher = session,
            .slice = {.block = block,
                .data = batch.frames.data,
                .bytes = batch.frames.len,
                .messages = batch.count}};
        struct durable_request request = {.run = &run,
            .capture = check.capture,
            .id = frame->id,
            .is_batch = true,
            .is_retry = (frame->flags & BROKER_BATCH_RETRY) != 0,
            .expects_last = check.expects_last,
            .expected_last = check.expected_last};
        done = durable_publish(session, &request);
    } else {
        refuse(session, frame, &check, status);
    }
    capture_unref(check.capture);
    if (!done) {
        return 0;
    }
    session->received_messages += batch.count;
    hold_after_publish(session, batch.count, frame_bytes);
    return frame_bytes;
}
