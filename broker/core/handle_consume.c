/* SPDX-License-Identifier: MIT
 *
 * CONSUME: readers of streams, and members of durable consumers. PROTOCOL.md
 * sections 4.16, 5.13 and 5.14. */
#include "session.h"

#include "store.h"

#include <string.h>

static enum broker_status
check_consume(
    const struct session *session, const struct broker_consume *consume)
{
    const struct core *core = session->core;
    enum broker_status status = subscription_check_new(session, consume->id);
    if (status != BROKER_OK) {
        return status;
    }
    if (core->options.store == NULL) {
        return BROKER_E_NO_STORE;
    }
    return consume->filter.len == 0
               ? BROKER_OK
               : broker_filter_check(&core->limits, consume->filter);
}

/* The stream that is meant; *status says why there is none. */
static struct capture *
capture_for(const struct core *core, const struct broker_consume *consume,
    enum broker_status *status)
{
    struct capture *capture;
    if (consume->stream.len > 0) {
        capture = core_find_capture(core, consume->stream);
        *status = capture == NULL ? BROKER_E_UNKNOWN_STREAM : BROKER_OK;
        return capture;
    }
    size_t count = 0;
    capture = core_overlapping_captures(core, consume->filter, &count);
    *status = count == 0   ? BROKER_E_UNKNOWN_STREAM
              : count == 1 ? BROKER_OK
                           : BROKER_E_AMBIGUOUS_STREAM;
    return *status == BROKER_OK ? capture : NULL;
}

static enum broker_status
open_reader(struct session *session, const struct broker_consume *consume,
    const char **text)
{
    enum broker_status status;
    struct capture *capture = capture_for(session->core, consume, &status);
    if (capture == NULL) {
        return status;
    }
    if (!reader_is_permitted(session, capture, consume->filter, text)) {
        session->core->totals.denied_subscribes++;
        return BROKER_E_SUBSCRIBE_DENIED;
    }
    struct subscription *subscription =
        subscription_new(session, consume->id, BROKER_OVERFLOW_BLOCK);
    if (subscription == NULL) {
        return BROKER_E_MEMORY;
    }
    reader_open(session, subscription, capture, consume);
    return BROKER_OK;
}

void
handle_consume(struct session *session, const struct broker_frame *frame)
{
    struct broker_consume consume;
    const char *text = NULL;
    enum broker_status status = broker_consume_decode(frame, &consume);
    if (status == BROKER_E_MALFORMED) {
        session_fail(session, status, frame->id, frame->type);
        return;
    }
    hold_after_subscribe(session);
    ack_flush(session);
    if (status == BROKER_OK) {
        status = check_consume(session, &consume);
    }
    if (status == BROKER_OK) {
        status = consume.consumer.len > 0
                     ? attachment_open(session, &consume)
                     : open_reader(session, &consume, &text);
    }
    if (status != BROKER_OK) {
        struct refusal refusal = {.code = status,
            .id = frame->id,
            .frame_type = frame->type,
            .text = text};
        session_refuse(session, &refusal);
    }
}

void
handle_settle(struct session *session, const struct broker_frame *frame)
{
    struct broker_settle settle;
    enum broker_status status = broker_settle_decode(frame, &settle);
    if (status != BROKER_OK) {
        session_fail(session, status, frame->id, frame->type);
        return;
    }
    struct subscription *subscription = subscription_find(session, frame->id);
    session->core->work += settle.ranges.count;
    if (subscription == NULL || subscription->attachment == NULL) {
        struct refusal refusal = {.code = BROKER_E_UNKNOWN_SUBSCRIPTION,
            .id = frame->id,
            .frame_type = frame->type};
        session_refuse(session, &refusal);
        return;
    }
    attachment_settle(subscription, &settle);
}
