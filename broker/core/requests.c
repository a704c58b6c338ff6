/* SPDX-License-Identifier: MIT
 *
 * Requests that the broker answers itself: topics under $sys/. What they say is
 * the hook's business; here the answer becomes a message like any other.
 * PROTOCOL.md section 5.7. */
#include "session.h"

#include <string.h>

/* What an answer about the broker costs, with as much for each so many bytes of
 * it (dispatch.c). */
#define QUESTION_WORK       1024u
#define QUESTION_WORK_BYTES 32u

static enum broker_status
no_check(void *arg, struct broker_bytes topic)
{
    (void)arg;
    (void)topic;
    return BROKER_OK; /* the request's check covered it */
}

static enum broker_status
publish_reply(struct session *session, uint32_t id, struct route *route,
    struct broker_bytes topic, const struct buffer *payload)
{
    struct core *core = session->core;
    struct broker_publish reply = {
        .topic = topic, .payload = {buffer_data(payload), buffer_len(payload)}};
    size_t size = broker_publish_size(&reply);
    if (size == 0 ||
        size - BROKER_HEADER_BYTES > core->options.max_body_bytes) {
        return BROKER_E_TOO_LARGE;
    }
    struct block *block = block_new_from_reserve(&core->pool, size);
    if (block == NULL) {
        return BROKER_E_MEMORY;
    }
    enum broker_status status =
        broker_publish_encode(&reply, block->data, size, &size);
    block->fill = (uint32_t)size;
    if (status == BROKER_OK) {
        /* The broker is the one subscriber of its own topics. Noted before the
         * reply, which may be what this session is disconnected for. */
        ack_note(session, id, 1, 1, 0);
        struct run run = {.route = route,
            .slice = {.block = block,
                .data = block->data,
                .bytes = size,
                .messages = 1}};
        deliver_run(core, &run);
    }
    block_unref(block);
    return status;
}

enum broker_status
request_answered(struct session *session, uint32_t id,
    struct broker_bytes reply_to, const struct buffer *reply)
{
    enum broker_status status = BROKER_OK;
    session->core->work += buffer_len(reply) / QUESTION_WORK_BYTES;
    struct route *route =
        deliver_route(session->core, reply_to, no_check, NULL, &status);
    if (route == NULL) {
        return status;
    }
    status = route_is_empty(route)
                 ? BROKER_E_NO_SUBSCRIBERS
                 : publish_reply(session, id, route, reply_to, reply);
    route_unref(route);
    return status;
}

enum broker_status
request_to_broker(struct session *session, const struct broker_publish *publish,
    struct broker_bytes reply_to)
{
    struct core *core = session->core;
    if (question_needs_store(publish->topic) &&
        (core->options.store == NULL || core->hooks.ask == NULL)) {
        return BROKER_E_NO_STORE;
    }
    if (core->exchange != NULL) {
        return question_ask(session, publish, reply_to) ? BROKER_OK
                                                        : BROKER_E_MEMORY;
    }
    struct buffer reply = {0};
    core->work += QUESTION_WORK;
    enum broker_status status = core->hooks.answer(
        core->hooks.arg, core, publish->topic, publish->payload, &reply);
    if (status == BROKER_OK) {
        status = request_answered(session, publish->id, reply_to, &reply);
    }
    buffer_fini(&reply);
    return status;
}
