/* SPDX-License-Identifier: MIT
 *
 * HELLO, PING, PONG, GOAWAY. PROTOCOL.md sections 4.1, 4.2, 4.4, 4.5, 5.8. */
#include "admission.h"
#include "session.h"

#include <stdlib.h>
#include <string.h>

/* CONTEXT and GAP must be able to name every subscription of a connection. */
#define GAP_FIXED_BYTES 20u

static uint32_t
clamp(uint32_t value, uint32_t low, uint32_t high)
{
    return value < low ? low : value > high ? high : value;
}

uint32_t
session_max_subscriptions(const struct session *session)
{
    uint32_t nameable = (session->max_body_bytes - GAP_FIXED_BYTES) / 4;
    uint32_t allowed = session->core->options.max_subscriptions;
    return allowed < nameable ? allowed : nameable;
}

static char *
copy_name(struct broker_bytes name)
{
    char *copy = malloc(name.len + 1);
    if (copy != NULL) {
        memcpy(copy, name.data, name.len);
        copy[name.len] = '\0';
    }
    return copy;
}

/* The fields of WELCOME; they fit by construction. */
static size_t
put_names(const struct session *session, uint8_t *dst, size_t cap)
{
    const char *name = session->core->options.name;
    size_t pos = 0;
    enum broker_status status = broker_tlv_put(dst, cap, &pos, BROKER_TAG_NAME,
        (struct broker_bytes){(const uint8_t *)name, strlen(name)});
    if (status == BROKER_OK && session->account != NULL) {
        const char *user = session->account->name;
        status = broker_tlv_put(dst, cap, &pos, BROKER_TAG_USER,
            (struct broker_bytes){(const uint8_t *)user, strlen(user)});
    }
    return status == BROKER_OK ? pos : 0;
}

static void
send_welcome(struct session *session, uint32_t id)
{
    const struct core *core = session->core;
    uint8_t tlvs[BROKER_NAME_BYTES_MAX + ACCOUNT_NAME_BYTES_MAX + 8];
    size_t tlv_bytes = put_names(session, tlvs, sizeof tlvs);
    struct broker_welcome welcome = {.id = id,
        .version = BROKER_PROTOCOL_VERSION,
        .features = session->knows_streams ? BROKER_FEATURE_STREAMS : 0,
        .max_body_bytes = session->max_body_bytes,
        .heartbeat_ms = session->heartbeat_ms,
        .max_subscriptions = session_max_subscriptions(session),
        .max_topic_bytes = core->limits.max_topic_bytes,
        .max_topic_levels = core->limits.max_topic_levels,
        .last_publish = session->last_publish,
        .tlvs = {tlvs, tlv_bytes}};
    memcpy(welcome.session,
        session->remote == NULL ? session->identity->id
                                : session->remote->claim->id,
        sizeof welcome.session);
    memcpy(welcome.boot, core->boot, sizeof welcome.boot);
    size_t size = broker_welcome_size(&welcome);
    uint8_t *dst = session_control(session, size);
    if (dst != NULL &&
        broker_welcome_encode(&welcome, dst, size, &size) == BROKER_OK) {
        session_control_done(session, size);
    }
}

static void
agree(struct session *session, const struct broker_hello *hello)
{
    const struct core_options *options = &session->core->options;
    session->max_body_bytes = hello->max_body_bytes < options->max_body_bytes
                                  ? hello->max_body_bytes
                                  : options->max_body_bytes;
    uint32_t heartbeat_ms =
        hello->heartbeat_ms == 0 ? options->heartbeat_ms : hello->heartbeat_ms;
    session->heartbeat_ms = clamp(
        heartbeat_ms, options->heartbeat_min_ms, options->heartbeat_max_ms);
    session->knows_streams = (hello->features & BROKER_FEATURE_STREAMS) != 0;
    struct broker_bytes name;
    if (broker_tlv_find(hello->tlvs, BROKER_TAG_NAME, &name)) {
        session->name = copy_name(name);
    }
}

void
session_open(struct session *session, uint32_t hello_id)
{
    session_set_state(session, SESSION_OPEN);
    session_schedule(session);
    send_welcome(session, hello_id);
    session->core->hooks.log(
        session->core->hooks.arg, CORE_EVENT_OPENED, session, BROKER_OK, "");
}

void
handle_hello(struct session *session, const struct broker_frame *frame)
{
    struct broker_hello hello;
    enum broker_status status = broker_hello_decode(frame, &hello);
    if (status == BROKER_OK &&
        (hello.version_min > BROKER_PROTOCOL_VERSION ||
            hello.version_max < BROKER_PROTOCOL_VERSION)) {
        status = BROKER_E_VERSION;
    }
    if (status != BROKER_OK) {
        session_fail(session, status, frame->id, frame->type);
        return;
    }
    agree(session, &hello);
    admission_begin(session, &hello);
}

void
handle_ping(struct session *session, const struct broker_frame *frame)
{
    struct broker_ping ping;
    enum broker_status status = broker_ping_decode(frame, &ping);
    if (status != BROKER_OK) {
        session_fail(session, status, frame->id, frame->type);
        return;
    }
    ack_flush(session);
    ping.pong = true;
    size_t size = broker_ping_size(&ping);
    uint8_t *dst = session_control(session, size);
    if (dst != NULL &&
        broker_ping_encode(&ping, dst, size, &size) == BROKER_OK) {
        session_control_done(session, size);
    }
}

void
handle_pong(struct session *session, const struct broker_frame *frame)
{
    /* That something was heard has been noted already. */
    (void)session;
    (void)frame;
}

void
handle_goaway(struct session *session, const struct broker_frame *frame)
{
    struct broker_goaway goaway;
    enum broker_status status = broker_goaway_decode(frame, &goaway);
    if (status != BROKER_OK) {
        session_fail(session, status, frame->id, frame->type);
        return;
    }
    /* The rest of what the intake holds is ignored: the peer said that it
     * sends nothing more. */
    session_ignore_input(session);
}
