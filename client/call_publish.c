/* SPDX-License-Identifier: MIT
 *
 * Publishing, requests and replies: from the caller's structs to the session,
 * with the policy for a full buffer. See handle.h.
 */
#include "handle.h"

#include <stdlib.h>
#include <string.h>

#include "fields.h"

static struct broker_bytes
bytes_of(const char *string)
{
    return (struct broker_bytes){(const uint8_t *)string, strlen(string)};
}

/* ---- the policy for a full buffer ---------------------------------------- */

struct room {
    size_t frame_bytes;
};

static bool
can_take(struct broker_client *client, void *argument)
{
    const struct room *room = argument;
    return client->session.state == SESSION_OPEN &&
           session_has_room(&client->session, room->frame_bytes);
}

static enum broker_status
wait_for_room(struct broker_client *client, size_t frame_bytes)
{
    struct room room = {frame_bytes};
    client_wake(client);
    enum broker_status status = client_wait(client, can_take, &room,
        client_deadline_us(client->publish_timeout_ms), false);
    if (status == BROKER_OK) {
        return client_check_open(client);
    }
    if (status == BROKER_E_TIMEOUT) {
        return client_refuse(client, status,
            "the broker took nothing within publish_timeout_ms");
    }
    return status == BROKER_E_INTERRUPTED ? status : BROKER_E_CLOSED;
}

/* Room for one more frame? If not, what the policy says. */
static enum broker_status
make_room(struct broker_client *client, size_t frame_bytes)
{
    struct session *session = &client->session;
    bool waits = client->when_full == BROKER_CLIENT_WHEN_FULL_BLOCK &&
                 !client_is_callback(client);
    if (client->when_full != BROKER_CLIENT_WHEN_FULL_BUFFER &&
        session->state != SESSION_OPEN) {
        return waits ? wait_for_room(client, frame_bytes)
                     : client_refuse(
                           client, BROKER_E_NOT_CONNECTED, "cannot publish");
    }
    if (session_has_room(session, frame_bytes)) {
        return BROKER_OK;
    }
    if (!client->link.want_write) {
        link_write(client); /* that may be all there is to do */
    }
    if (session_has_room(session, frame_bytes)) {
        return BROKER_OK;
    }
    return waits
               ? wait_for_room(client, frame_bytes)
               : client_refuse(client, BROKER_E_BUFFER_FULL, "cannot publish");
}

/* With the lock held; may let it go meanwhile. The handle is open, or closing
 * and this is a reply. */
static enum broker_status
take_checked(
    struct broker_client *client, const struct session_publish *publish)
{
    size_t frame_bytes;
    enum broker_status status =
        session_publish_check(&client->session, publish, &frame_bytes);
    if (status == BROKER_OK) {
        status = make_room(client, frame_bytes);
    }
    if (status == BROKER_OK) {
        status = session_publish(&client->session, publish, frame_bytes);
    }
    if (status == BROKER_OK) {
        link_write_if_much(client);
        client_wake(client);
    }
    return status;
}

enum broker_status
client_take_publish(
    struct broker_client *client, const struct session_publish *publish)
{
    enum broker_status status = client_check_open(client);
    return status == BROKER_OK
               ? take_checked(client, publish)
               : client_refuse(client, status, "cannot publish");
}

/* ---- publish ------------------------------------------------------------- */

enum broker_status
broker_client_publish(struct broker_client *client, const char *topic,
    const void *payload, size_t payload_bytes)
{
    if (topic == NULL) {
        return BROKER_E_INVALID_ARGUMENT;
    }
    struct session_publish publish = {
        .topic = bytes_of(topic),
        .payload = {payload, payload_bytes},
    };
    client_enter(client);
    enum broker_status status = client_take_publish(client, &publish);
    client_leave(client);
    return status;
}

/* With the lock held. */
static enum broker_status
take_message(struct broker_client *client,
    const struct broker_client_outgoing *message,
    struct session_publish *publish)
{
    struct fields fields;
    if (message->topic == NULL) {
        return client_refuse(
            client, BROKER_E_INVALID_ARGUMENT, "cannot publish");
    }
    if (message->reply_to != NULL &&
        broker_topic_check(&client->session.agreed.limits,
            bytes_of(message->reply_to)) != BROKER_OK) {
        return client_refuse(client, BROKER_E_BAD_TOPIC, "cannot publish");
    }
    enum broker_status status = fields_build(&fields, message);
    if (status != BROKER_OK) {
        return client_refuse(client, status, FIELDS_ERROR_TEXT);
    }
    publish->topic = bytes_of(message->topic);
    publish->payload =
        (struct broker_bytes){message->payload, message->payload_bytes};
    publish->fields = (struct broker_bytes){fields.data, fields.size};
    publish->retain = message->retain;
    publish->needs_streams =
        message->expects_last || message->deliver_at_ms != 0;
    /* PROTOCOL.md 4.6; and what may be refused is not said into the wind. */
    publish->numbered |= message->reply_to != NULL || publish->needs_streams;
    status = client_take_publish(client, publish);
    fields_free(&fields);
    return status;
}

enum broker_status
broker_client_publish_message(
    struct broker_client *client, const struct broker_client_outgoing *message)
{
    struct session_publish publish = {.kind = PUBLISH_SILENT};
    client_enter(client);
    enum broker_status status = take_message(client, message, &publish);
    client_leave(client);
    return status;
}

enum broker_status
broker_client_publish_acked(struct broker_client *client,
    const struct broker_client_outgoing *message,
    broker_client_published_fn *callback, void *user)
{
    struct session_publish publish = {
        .numbered = true,
        .kind = callback == NULL ? PUBLISH_SILENT : PUBLISH_CALLBACK,
        .callback = callback,
        .user = user,
    };
    client_enter(client);
    enum broker_status status = take_message(client, message, &publish);
    client_leave(client);
    return status;
}

void
client_published_wait_cb(struct broker_client *client,
    const struct broker_client_published *published, void *user)
{
    struct client_waiter *waiter = user;
    if (client_waiter_begin(client, waiter)) {
        waiter->status = published->status;
        waiter->outcome.published = *published;
        waiter->outcome.published.text = "";
    }
    client_waiter_finish(client, waiter);
}

enum broker_status
client_published_wait(struct broker_client *client,
    struct client_waiter *waiter, uint64_t deadline_us,
    struct broker_client_published *out)
{
    enum broker_status status = client_waiter_wait(client, waiter, deadline_us);
    if (status == BROKER_OK) {
        status = waiter->status;
        if (out != NULL) {
            *out = waiter->outcome.published;
        }
        free(waiter);
    }
    return status;
}

static enum broker_status
publish_wait(struct broker_client *client,
    const struct broker_client_outgoing *message, int timeout_ms,
    struct broker_client_published *out)
{
    uint64_t deadline_us = client_deadline_us(timeout_ms);
    if (client_is_callback(client)) {
        return client_refuse(client, BROKER_E_INVALID_ARGUMENT,
            "a blocking call inside a callback");
    }
    struct client_waiter *waiter = client_waiter_new();
    if (waiter == NULL) {
        return client_refuse(client, BROKER_E_NO_MEMORY, "cannot publish");
    }
    struct session_publish publish = {
        .numbered = true,
        .kind = PUBLISH_CALLBACK,
        .callback = client_published_wait_cb,
        .user = waiter,
    };
    enum broker_status status = take_message(client, message, &publish);
    if (status != BROKER_OK) {
        free(waiter);
        return status;
    }
    return client_published_wait(client, waiter, deadline_us, out);
}

enum broker_status
broker_client_publish_wait(struct broker_client *client,
    const struct broker_client_outgoing *message, int timeout_ms,
    struct broker_client_published *out)
{
    client_enter(client);
    enum broker_status status = publish_wait(client, message, timeout_ms, out);
    client_leave(client);
    return status;
}

/* ---- requests ------------------------------------------------------------ */

/* With the lock held. */
static enum broker_status
request(struct broker_client *client,
    const struct broker_client_outgoing *message, int timeout_ms,
    broker_client_reply_fn *callback, void *user)
{
    struct requests *requests = &client->session.requests;
    if (message->reply_to != NULL || timeout_ms < 0) {
        return client_refuse(
            client, BROKER_E_INVALID_ARGUMENT, "cannot send a request");
    }
    /* Whatever inbox it gets in the end, the fields must fit. */
    if (fields_measure(message) >
        FIELDS_BYTES_MAX - broker_tlv_size(REQUEST_TOPIC_BYTES_MAX)) {
        return client_refuse(client, BROKER_E_INVALID_ARGUMENT,
            "the headers of a request do not fit into 65535 bytes");
    }
    char reply_to[REQUEST_TOPIC_BYTES_MAX + 1];
    struct session_publish publish = {
        .numbered = true,
        .kind = PUBLISH_REQUEST,
        .token = requests_next_token(requests),
        .deadline_us = client_deadline_us(timeout_ms),
        .on_reply = callback,
        .user = user,
    };
    requests_topic(requests->inbox, publish.token, reply_to);
    struct broker_client_outgoing asking = *message;
    asking.reply_to = reply_to;
    return take_message(client, &asking, &publish);
}

enum broker_status
broker_client_request(struct broker_client *client,
    const struct broker_client_outgoing *message, int timeout_ms,
    broker_client_reply_fn *callback, void *user)
{
    client_enter(client);
    enum broker_status status =
        request(client, message, timeout_ms, callback, user);
    client_leave(client);
    return status;
}

static void
reply_wait_cb(struct broker_client *client, enum broker_status status,
    const struct broker_message *reply, void *user)
{
    struct client_waiter *waiter = user;
    if (client_waiter_begin(client, waiter)) {
        waiter->status = status;
        if (reply != NULL) {
            waiter->outcome.reply = inbox_entry_new(reply);
            if (waiter->outcome.reply == NULL) {
                waiter->status = BROKER_E_NO_MEMORY;
            }
        }
    }
    client_waiter_finish(client, waiter);
}

static enum broker_status
request_wait(struct broker_client *client,
    const struct broker_client_outgoing *message, int timeout_ms,
    struct broker_client_event **out)
{
    if (client_is_callback(client)) {
        return client_refuse(client, BROKER_E_INVALID_ARGUMENT,
            "a blocking call inside a callback");
    }
    struct client_waiter *waiter = client_waiter_new();
    if (waiter == NULL) {
        return client_refuse(
            client, BROKER_E_NO_MEMORY, "cannot send a request");
    }
    enum broker_status status =
        request(client, message, timeout_ms, reply_wait_cb, waiter);
    if (status != BROKER_OK) {
        free(waiter);
        return status;
    }
    /* The request has the timeout; the wait needs none of its own. */
    status = client_waiter_wait(client, waiter, SESSION_NEVER);
    if (status == BROKER_OK) {
        status = waiter->status;
        if (status == BROKER_OK) {
            *out = &waiter->outcome.reply->event;
        } else if (broker_status_class(status) == BROKER_CLASS_LOCAL) {
            (void)client_refuse(client, status, "the request failed");
        } /* else the broker's own words are there */
        free(waiter);
    }
    return status;
}

enum broker_status
broker_client_request_wait(struct broker_client *client,
    const struct broker_client_outgoing *message, int timeout_ms,
    struct broker_client_event **out)
{
    client_enter(client);
    enum broker_status status = request_wait(client, message, timeout_ms, out);
    client_leave(client);
    return status;
}

enum broker_status
broker_client_reply(struct broker_client *client,
    const struct broker_message *message, const void *payload,
    size_t payload_bytes)
{
    struct session_publish publish = {
        .topic = message->reply_to,
        .payload = {payload, payload_bytes},
        .numbered = true,
        .kind = PUBLISH_SILENT,
    };
    enum broker_status status;
    client_enter(client);
    if (message->reply_to.len == 0) {
        status = client_refuse(client, BROKER_E_BAD_REQUEST,
            "cannot reply to a message without reply_to");
    } else if (client->closing && client->session.state == SESSION_OPEN) {
        /* What was queued for a service is still delivered while it closes,
         * and may be answered. */
        status = take_checked(client, &publish);
    } else {
        status = client_take_publish(client, &publish);
    }
    client_leave(client);
    return status;
}
