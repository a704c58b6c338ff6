/* SPDX-License-Identifier: MIT
 *
 * The inbox: one subscription of the library's own, for the replies to all
 * requests. See session.h.
 *
 * Its name has the user in it, and who that is only WELCOME says. A request
 * that is made before is built for the inbox as it is known then; with WELCOME
 * everything moves: the subscription is replaced, and the log is copied with
 * other reply topics in the requests. Only requests that no connection has seen
 * whole are in the log by then, so nobody has heard of the old inbox. With the
 * same broker and user that happens once, before anything was sent.
 */
#include "session.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static struct broker_bytes
bytes_of(const char *string)
{
    return (struct broker_bytes){(const uint8_t *)string, strlen(string)};
}

static enum broker_status
no_memory(struct session *session)
{
    return session_end(
        session, BROKER_E_NO_MEMORY, broker_status_text(BROKER_E_NO_MEMORY));
}

/* ---- the subscription ---------------------------------------------------- */

static enum broker_status
subscribe(struct session *session, const char *inbox, struct subscription **out)
{
    char filter[REQUEST_TOPIC_BYTES_MAX + 1];
    const struct subscription template = {
        .is_replies = true, .options = BROKER_SUBSCRIBE_NO_RETAINED};
    size_t n = strlen(inbox);
    memcpy(filter, inbox, n);
    memcpy(filter + n, "/+", 3);
    return session_add_subscription(session, bytes_of(filter),
        (struct broker_bytes){NULL, 0}, &template, out);
}

enum broker_status
session_subscribe_inbox(struct session *session)
{
    if (subscriptions_find(&session->subscriptions, session->replies_id) !=
        NULL) {
        return BROKER_OK;
    }
    struct subscription *added;
    enum broker_status status =
        subscribe(session, session->requests.inbox, &added);
    if (status == BROKER_OK) {
        session->replies_id = added->id;
    }
    return status;
}

/* ---- the log ------------------------------------------------------------- */

struct move {
    struct session *session;
    const char *inbox; /* the new one */
    struct outlog log; /* likewise */
    bool failed;
};

static bool
append(struct move *move, const uint8_t *frame, size_t size)
{
    uint8_t *data = outlog_reserve(&move->log, size);
    if (data == NULL) {
        return false;
    }
    memcpy(data, frame, size);
    outlog_commit(&move->log, size);
    return true;
}

/* The request with these fields, of which the first is REPLY_TO. False: no
 * memory. */
static bool
append_request(struct move *move, struct broker_publish *publish,
    struct broker_bytes reply_to)
{
    struct broker_bytes rest = publish->headers;
    struct broker_tlv old;
    size_t cap = broker_tlv_size(REQUEST_TOPIC_BYTES_MAX) + rest.len;
    size_t used = 0, n;
    uint8_t *fields = malloc(cap);
    if (fields == NULL) {
        return false;
    }
    enum broker_status status = broker_tlv_next(&rest, &old);
    assert(status == BROKER_OK);
    status = broker_tlv_put(fields, cap, &used,
        BROKER_TAG_REPLY_TO | BROKER_TAG_CRITICAL, reply_to);
    assert(status == BROKER_OK);
    if (rest.len > 0) {
        memcpy(fields + used, rest.data, rest.len);
    }
    publish->headers = (struct broker_bytes){fields, used + rest.len};
    size_t size = broker_publish_size(publish);
    uint8_t *data = outlog_reserve(&move->log, size);
    if (data != NULL) {
        status = broker_publish_encode(publish, data, size, &n);
        assert(status == BROKER_OK);
        (void)status;
        outlog_commit(&move->log, size);
    }
    free(fields);
    return data != NULL;
}

static bool
move_request(struct move *move, const struct outlog_frame *frame,
    const struct request *request)
{
    const struct broker_limits limits = {
        BROKER_BODY_BYTES_MAX, UINT16_MAX, UINT16_MAX};
    char topic[REQUEST_TOPIC_BYTES_MAX + 1];
    struct broker_frame whole;
    struct broker_publish publish;
    size_t n;
    enum broker_status status =
        broker_frame_decode(&limits, frame->data, frame->size, &whole, &n);
    assert(status == BROKER_OK);
    status = broker_publish_decode(&whole, &publish);
    assert(status == BROKER_OK);
    (void)status;
    if (frame->size - BROKER_HEADER_BYTES + sizeof topic >
        BROKER_BODY_BYTES_MAX) {
        /* No broker takes one that is so large, whatever its inbox is. */
        return append(move, frame->data, frame->size);
    }
    requests_topic(move->inbox, request->token, topic);
    return append_request(move, &publish, bytes_of(topic));
}

static struct publish_slot *
slot_of(struct session *session, const uint8_t *frame)
{
    struct broker_header header;
    broker_header_decode(frame, &header);
    bool is_numbered = (header.type == BROKER_FRAME_PUBLISH ||
                           header.type == BROKER_FRAME_PUBLISH_BATCH) &&
                       header.id != 0;
    return is_numbered ? publishes_find(&session->publishes, header.id) : NULL;
}

static bool
copy_frame(void *context, const struct outlog_frame *frame)
{
    struct move *move = context;
    const struct publish_slot *slot = slot_of(move->session, frame->data);
    if (!move->failed) {
        bool is_request = slot != NULL && slot->kind == PUBLISH_REQUEST;
        move->failed = is_request ? !move_request(move, frame, slot->user)
                                  : !append(move, frame->data, frame->size);
    }
    return true;
}

/* The slots learn where their frames are now. */
static bool
adopt_frame(void *context, const struct outlog_frame *frame)
{
    struct move *move = context;
    struct publish_slot *slot = slot_of(move->session, frame->data);
    if (slot != NULL) {
        outlog_hold_kept(frame->chunk);
        slot->chunk = frame->chunk;
        slot->offset = frame->offset;
    }
    return true;
}

static bool
move_log(struct session *session, const char *inbox)
{
    struct move move = {.session = session, .inbox = inbox};
    outlog_init(&move.log, session->config.buffer_bytes);
    outlog_rewind(&session->log, copy_frame, &move);
    if (move.failed) {
        outlog_fini(&move.log);
        return false;
    }
    outlog_rewind(&move.log, adopt_frame, &move);
    outlog_fini(&session->log);
    session->log = move.log;
    return true;
}

enum broker_status
session_move_inbox(struct session *session)
{
    char inbox[REQUEST_INBOX_BYTES_MAX + 1];
    struct subscription *old =
        subscriptions_find(&session->subscriptions, session->replies_id);
    struct subscription *added = NULL;
    requests_inbox_of(&session->requests, session->agreed.user, inbox);
    if (strcmp(inbox, session->requests.inbox) == 0) {
        return BROKER_OK;
    }
    if (old != NULL && subscribe(session, inbox, &added) != BROKER_OK) {
        return no_memory(session);
    }
    if (session->requests.count > 0 && !move_log(session, inbox)) {
        if (added != NULL) {
            subscriptions_remove(&session->subscriptions, added);
        }
        return no_memory(session);
    }
    memcpy(session->requests.inbox, inbox, sizeof inbox);
    if (added != NULL) {
        session->replies_id = added->id;
        session->subscriptions.ended -= old->state == SUBSCRIPTION_ENDED;
        subscriptions_remove(&session->subscriptions, old);
    }
    return BROKER_OK;
}
