/* SPDX-License-Identifier: MIT
 *
 * PUBLISH, in runs. An ordinary message costs no allocation, no lock and no
 * system call of its own: frames that follow each other on the same topic are
 * compared with the first of them, byte by byte up to the payload, and go
 * through routing and queueing together, as one slice of the receive block.
 * PROTOCOL.md sections 4.6, 5.1 to 5.5 and 5.7. */
#include "forward.h"
#include "retained_store.h"
#include "same.h"
#include "session.h"
#include "wire.h"

#include <stdio.h>
#include <string.h>

#define PUBLISH_FIXED_BYTES 4u /* topic and field lengths */
/* The topics of so many frames are looked at ahead, where they are in runs. */
#define LOOK_AHEAD_FRAMES 64u
/* A run's work, in the worst case, where each message makes more than that. */
#define RUN_WORK_MAX  (UINT64_C(1) << 18)
#define EACH_WORK_MIN 256u

static enum broker_status
check_topic(void *arg, struct broker_bytes topic)
{
    const struct core *core = arg;
    if (topic.data[0] == '$') {
        return BROKER_E_RESERVED_TOPIC;
    }
    return broker_topic_check(&core->limits, topic);
}

const char *
publish_why_denied(const struct session *session, struct broker_bytes topic)
{
    const char *rule = NULL;
    if (session->rights == NULL ||
        rights_may_publish(session->rights, topic, &rule)) {
        return NULL;
    }
    return rule;
}

void
session_refuse_numbered(struct session *session, const struct refusal *refusal)
{
    session->core->totals.refused_publishes++;
    session_refuse(session, refusal);
    if (refusal->id != 0) {
        session_settle(session, refusal->id);
    }
}

void
publish_refuse(struct session *session, const struct broker_publish *publish,
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
    if (code == BROKER_E_PUBLISH_DENIED) {
        refusal.topic = publish->topic;
        session->core->totals.denied_publishes++;
    }
    if (publish->id != 0 && code != BROKER_E_NO_SUBSCRIBERS) {
        session_become_unsure(session, publish->id);
    }
    session_refuse_numbered(session, &refusal);
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
    publish_refuse(session, &publish, code, NULL);
}

/* ---- runs ---------------------------------------------------------------- */

/* What makes a run: frames that are like its first one up to the payload, but
 * for their length and number. */
struct pattern {
    const uint8_t *first;
    size_t head_bytes; /* header, lengths and topic; there are no fields */
    size_t most_bytes; /* of a frame */
};

/* Extend the run by frames without a number that are as long as the first one.
 * Their headers are the same, so all that must be is compared at once. */
static void
extend_by_equals(struct run *run, const struct pattern *pattern, size_t len)
{
    const uint8_t *first = pattern->first;
    size_t head_bytes = pattern->head_bytes;
    size_t frame_bytes = wire_frame_bytes(first);
    size_t used = run->slice.bytes;
    uint32_t messages = run->slice.messages;
    while (len - used >= frame_bytes &&
           same_long(first + used, first, head_bytes)) {
        used += frame_bytes;
        messages++;
    }
    run->slice.bytes = used;
    run->slice.messages = messages;
}

/* Does the frame have the number that is next in the run? Either none wants an
 * acknowledgement, or they count up, and not beyond the greatest. */
static inline bool
id_follows(const struct run *run, const uint8_t *frame)
{
    uint32_t id = wire_frame_id(frame);
    return run->first_id == 0
               ? id == 0
               : id != 0 && id == run->first_id + run->slice.messages;
}

static inline bool
same_topic(const struct pattern *pattern, const uint8_t *frame)
{
    const uint8_t *body = frame + BROKER_HEADER_BYTES;
    const uint8_t *first = pattern->first + BROKER_HEADER_BYTES;
    size_t len = pattern->head_bytes - BROKER_HEADER_BYTES;
    return len < SAME_LONG_MIN ? memcmp(body, first, len) == 0
                               : same_long(body, first, len);
}

/* Extend the run by one frame, of any length. */
static inline bool
extend_by_one(struct run *run, const struct pattern *pattern, size_t len)
{
    size_t left = len - run->slice.bytes;
    if (left < pattern->head_bytes) {
        return false;
    }
    const uint8_t *frame = pattern->first + run->slice.bytes;
    size_t frame_bytes = wire_frame_bytes(frame);
    if (frame_bytes > left || frame_bytes > pattern->most_bytes ||
        frame_bytes < pattern->head_bytes ||
        memcmp(frame + 4, pattern->first + 4, 4) != 0 ||
        !id_follows(run, frame) || !same_topic(pattern, frame)) {
        return false;
    }
    run->slice.bytes += frame_bytes;
    run->slice.messages++;
    return true;
}

/* Extend the run, of one message without fields so far, within len bytes. */
static void
extend_run(struct run *run, const struct pattern *pattern, size_t len)
{
    do {
        if (run->first_id == 0) {
            extend_by_equals(run, pattern, len);
        }
    } while (extend_by_one(run, pattern, len));
}

/* ---- publishes with something particular about them ---------------------- */

struct particulars {
    struct broker_bytes reply_to;
    uint64_t deliver_at_ms; /* 0: at once */
    uint64_t expected_last;
    bool expects_last;
};

static bool
read_fields(struct broker_bytes fields, struct particulars *out)
{
    bool any = false;
    struct broker_tlv field;
    while (broker_tlv_next(&fields, &field) == BROKER_OK) {
        switch (field.tag) {
        case BROKER_TAG_REPLY_TO:
            out->reply_to = field.value;
            break;
        case BROKER_TAG_DELIVER_AT:
            (void)broker_tlv_u64(field.value, &out->deliver_at_ms);
            break;
        case BROKER_TAG_EXPECTED_LAST_SEQUENCE:
            out->expects_last =
                broker_tlv_u64(field.value, &out->expected_last);
            break;
        default:
            continue;
        }
        any = true;
    }
    return any;
}

static bool
is_particular(const struct broker_publish *publish, struct particulars *out)
{
    *out = (struct particulars){.reply_to = {NULL, 0}};
    return (publish->headers.len > 0 && read_fields(publish->headers, out)) ||
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
        return status;
    }
    /* Whoever answers, the broker included, would do so for the requester. */
    *text = publish_why_denied(session, reply_to);
    if (*text != NULL) {
        return BROKER_E_PUBLISH_DENIED;
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
        retained_store_changed(core, topic);
        return BROKER_OK;
    }
    enum broker_status status = retained_put(&core->retained, topic,
        (struct broker_bytes){slice->data, slice->bytes});
    if (status == BROKER_OK) {
        retained_store_changed(core, topic);
    }
    return status;
}

enum broker_status
publish_retained(struct core *core, struct broker_bytes topic, struct run *run)
{
    enum broker_status status = BROKER_OK;
    run->route = deliver_route(core, topic, check_topic, core, &status);
    if (run->route == NULL) {
        return status;
    }
    if (run->request && route_is_empty(run->route)) {
        status = BROKER_E_NO_SUBSCRIBERS;
    } else {
        status = retain(core, topic, &run->slice);
    }
    if (status != BROKER_OK && run->stored) {
        /* No value rather than an old one, section 5.13. */
        retained_clear(&core->retained, topic);
        retained_store_changed(core, topic);
        status = BROKER_OK;
    }
    if (status == BROKER_OK) {
        run->request = false; /* it is kept: too late to refuse it */
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
    wait->frame = run->slice;
    block_ref(wait->frame.block);
    if (!forward_retain(
            core, &run->slice, wait, session->id, run->request, false)) {
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
        deliver_route(core, publish->topic, check_topic, core, &status);
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

/* The stream that captures the topic, with a reference, or NULL. */
static enum broker_status
capture_of(
    struct core *core, struct broker_bytes topic, struct capture **capture)
{
    enum broker_status status = BROKER_OK;
    *capture = NULL;
    if (core->options.store == NULL) {
        return BROKER_OK;
    }
    struct route *route =
        route_get(&core->routes, topic, check_topic, core, &status);
    if (route != NULL) {
        if (route->capture != NULL) {
            *capture = capture_ref(route->capture);
        }
        route_unref(route);
    }
    return status;
}

/* A retry that was answered before, of a topic that no stream captures: what
 * streams have is told apart by the store. */
static bool
is_answered_retry(struct session *session, const struct broker_publish *publish)
{
    struct capture *capture = NULL;
    if (!was_settled(session, publish)) {
        return false;
    }
    (void)capture_of(session->core, publish->topic, &capture);
    capture_unref(capture);
    return capture == NULL;
}

/* For a topic that no stream captures. */
static enum broker_status
publish_plainly(struct session *session, const struct broker_publish *publish,
    const struct particulars *particulars, struct run *run)
{
    if (particulars->expects_last || particulars->deliver_at_ms != 0) {
        return session->core->options.store == NULL ? BROKER_E_NO_STORE
                                                    : BROKER_E_NOT_CAPTURED;
    }
    return route_particular(session, publish, particulars->reply_to, run);
}

/* Can what is asked of the stream be done? */
static enum broker_status
check_captured(const struct particulars *particulars, const char **text)
{
    if (particulars->expects_last && particulars->deliver_at_ms != 0) {
        *text = "a message with DELIVER_AT has no EXPECTED_LAST_SEQUENCE";
        return BROKER_E_BAD_REQUEST;
    }
    return BROKER_OK;
}

/* False: it waits for the store. */
static bool
publish_captured(struct session *session, const struct broker_publish *publish,
    const struct particulars *particulars, struct run *run,
    struct capture *capture)
{
    struct durable_request request = {.run = run,
        .capture = capture,
        .id = publish->id,
        .is_retry = (publish->flags & BROKER_PUBLISH_RETRY) != 0,
        .retains = (publish->flags & BROKER_PUBLISH_RETAIN) != 0,
        .expects_last = particulars->expects_last,
        .expected_last = particulars->expected_last};
    /* One that is late is published at once. */
    if (particulars->deliver_at_ms > session->core->wall_ms) {
        return schedule_publish(
            session, publish, run, capture, particulars->deliver_at_ms);
    }
    return durable_publish(session, &request);
}

/* False: it waits for the store. */
static bool
publish_particular(struct session *session,
    const struct broker_publish *publish, const struct particulars *particulars,
    struct run *run)
{
    struct capture *capture = NULL;
    bool done = true;
    if (is_answered_retry(session, publish)) {
        ack_duplicate(session, publish->id, false);
        return true;
    }
    enum broker_status status = BROKER_OK;
    const char *text = publish_why_denied(session, publish->topic);
    if (text != NULL) {
        status = BROKER_E_PUBLISH_DENIED;
    } else if (particulars->reply_to.len > 0) {
        status = check_request(session, publish, particulars->reply_to, &text);
    }
    if (status == BROKER_OK && publish->topic.data[0] != '$') {
        status = capture_of(session->core, publish->topic, &capture);
    }
    if (capture != NULL) {
        status = check_captured(particulars, &text);
    }
    if (status == BROKER_OK && capture != NULL) {
        done = publish_captured(session, publish, particulars, run, capture);
    } else if (status == BROKER_OK && durable_would_be_overtaken(session)) {
        done = false;
    } else if (status == BROKER_OK) {
        status = publish_plainly(session, publish, particulars, run);
    }
    capture_unref(capture);
    if (status != BROKER_OK) {
        publish_refuse(session, publish, status, text);
    }
    return done;
}

/* ---- looking ahead ------------------------------------------------------- */

/* The topic of the PUBLISH frame at src[0..len) and the length of that, as far
 * as can be told without checking the frame; else false. */
static bool
peek(const uint8_t *src, size_t len, struct broker_bytes *topic, size_t *bytes)
{
    size_t head_bytes = BROKER_HEADER_BYTES + PUBLISH_FIXED_BYTES;
    if (len < head_bytes) {
        return false;
    }
    *bytes = wire_frame_bytes(src);
    topic->data = src + head_bytes;
    topic->len =
        (size_t)src[BROKER_HEADER_BYTES] << 8 | src[BROKER_HEADER_BYTES + 1];
    return (src[4] << 8 | src[5]) == BROKER_FRAME_PUBLISH && *bytes <= len &&
           *bytes >= head_bytes && topic->len <= *bytes - head_bytes;
}

static bool
is_same(struct broker_bytes a, struct broker_bytes b)
{
    return a.len == b.len && same_bytes(a.data, b.data, a.len);
}

/* Where topics are far apart in memory, tell what comes next in src[0..len). */
static void
look_ahead(struct core *core, const uint8_t *src, size_t len)
{
    if (core->expected_runs > 0) {
        core->expected_runs--;
        return;
    }
    if (!route_should_expect(&core->routes)) {
        return;
    }
    struct broker_bytes topics[ROUTE_EXPECT_MAX];
    struct broker_bytes topic;
    size_t count = 0;
    size_t bytes;
    for (size_t frames = 0, pos = 0;
         count < ROUTE_EXPECT_MAX && frames < LOOK_AHEAD_FRAMES &&
         peek(src + pos, len - pos, &topic, &bytes);
         frames++, pos += bytes) {
        if (count == 0 || !is_same(topics[count - 1], topic)) {
            topics[count++] = topic;
        }
    }
    if (count > 1) {
        route_expect(&core->routes, topics, count);
        core->expected_runs = (uint32_t)count - 1;
    }
}

/* ---- entry --------------------------------------------------------------- */

/* How long a run may become. On a route to many it is handed on in parts,
 * because in the worst case, where queues are full or members are chosen, each
 * message costs as much as there are subscriptions. */
static size_t
most_bytes(
    const struct core *core, const struct route *route, uint64_t first_bytes)
{
    uint64_t each = route->matched + 16u * (uint64_t)route->group_count;
    if (each <= EACH_WORK_MIN) {
        return core->run_bytes_max;
    }
    uint64_t bytes = (RUN_WORK_MAX / each + 1) * first_bytes;
    return bytes < core->run_bytes_max ? (size_t)bytes : core->run_bytes_max;
}

/* Extend the run, of one message without fields so far, as far as its route
 * allows. */
static void
extend_for_route(const struct session *session,
    const struct broker_publish *publish, struct run *run, size_t len)
{
    const struct core *core = session->core;
    size_t most = most_bytes(core, run->route, run->slice.bytes);
    most = len < most ? len : most;
    struct pattern pattern = {.first = run->slice.data,
        .head_bytes =
            BROKER_HEADER_BYTES + PUBLISH_FIXED_BYTES + publish->topic.len,
        .most_bytes = (size_t)BROKER_HEADER_BYTES + session->max_body_bytes};
    if (most > run->slice.bytes) {
        extend_run(run, &pattern, most);
    }
}

/* False: it waits for the store. */
static bool
publish_run(struct session *session, const struct broker_publish *publish,
    struct run *run, size_t len)
{
    struct core *core = session->core;
    enum broker_status status = BROKER_OK;
    const char *rule = publish_why_denied(session, publish->topic);
    if (rule != NULL) {
        publish_refuse(session, publish, BROKER_E_PUBLISH_DENIED, rule);
        return true;
    }
    look_ahead(core, run->slice.data, len);
    run->route =
        deliver_route(core, publish->topic, check_topic, core, &status);
    if (run->route == NULL) {
        publish_refuse(session, publish, status, NULL);
        return true;
    }
    if (publish->headers.len == 0) {
        extend_for_route(session, publish, run, len);
    }
    bool done = true;
    if (run->route->capture != NULL) {
        struct durable_request request = {
            .run = run, .capture = run->route->capture, .id = publish->id};
        done = durable_publish(session, &request);
    } else if (durable_would_be_overtaken(session)) {
        done = false;
    } else {
        deliver_run(core, run);
    }
    route_unref(run->route);
    return done;
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
    publish_refuse(session, &publish, status, NULL);
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
    struct particulars particulars;
    bool done = true;
    if (status != BROKER_OK) {
        refuse_unread(session, frame, status);
    } else if (is_particular(&publish, &particulars)) {
        done = publish_particular(session, &publish, &particulars, &run);
    } else {
        done = publish_run(session, &publish, &run, len);
    }
    if (!done) {
        return 0;
    }
    session->received_messages += run.slice.messages;
    hold_after_publish(session, run.slice.messages, run.slice.bytes);
    return (size_t)run.slice.bytes;
}
