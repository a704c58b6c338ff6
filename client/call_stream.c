/* SPDX-License-Identifier: MIT
 *
 * Batches, readers and durable consumers, acknowledging: from the caller's
 * structs to the session. See handle.h.
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

/* ---- batches ------------------------------------------------------------- */

/* PUBLISH frames back to back. */
struct batch {
    uint8_t *data;
    size_t size, capacity;
};

static bool
batch_reserve(struct batch *batch, size_t more)
{
    if (batch->capacity - batch->size >= more) {
        return true;
    }
    size_t capacity = (batch->size + more) * 2;
    uint8_t *data = realloc(batch->data, capacity);
    if (data == NULL) {
        return false;
    }
    batch->data = data;
    batch->capacity = capacity;
    return true;
}

static bool
may_be_in_batch(const struct broker_client_outgoing *message, bool is_first)
{
    return message->topic != NULL && !message->retain &&
           message->reply_to == NULL && message->deliver_at_ms == 0 &&
           (is_first || !message->expects_last);
}

/* With the lock held. */
static enum broker_status
batch_add(struct broker_client *client, struct batch *batch,
    const struct broker_client_outgoing *message)
{
    struct fields fields;
    enum broker_status status = fields_build(&fields, message);
    if (status != BROKER_OK) {
        return client_refuse(client, status, FIELDS_ERROR_TEXT);
    }
    const struct session_publish publish = {
        .topic = bytes_of(message->topic),
        .fields = {fields.data, fields.size},
        .payload = {message->payload, message->payload_bytes},
    };
    const struct broker_publish frame = {
        .topic = publish.topic,
        .headers = publish.fields,
        .payload = publish.payload,
    };
    size_t size = 0, n = 0;
    status = session_publish_check(&client->session, &publish, &size);
    if (status == BROKER_OK && !batch_reserve(batch, size)) {
        status = client_refuse(client, BROKER_E_NO_MEMORY, "cannot publish");
    }
    if (status == BROKER_OK) {
        status =
            broker_publish_encode(&frame, batch->data + batch->size, size, &n);
        batch->size += n;
    }
    fields_free(&fields);
    return status;
}

/* With the lock held; may let it go meanwhile. */
static enum broker_status
take_batch(struct broker_client *client,
    const struct broker_client_outgoing *messages, size_t count,
    struct session_publish *publish)
{
    struct batch batch = {0};
    enum broker_status status =
        count == 0 || messages == NULL ? BROKER_E_INVALID_ARGUMENT : BROKER_OK;
    for (size_t i = 0; status == BROKER_OK && i < count; i++) {
        if (!may_be_in_batch(&messages[i], i == 0)) {
            status = BROKER_E_INVALID_ARGUMENT;
        } else if (batch.size > client->session.agreed.max_body_bytes) {
            break; /* it is too large, however much larger */
        } else {
            status = batch_add(client, &batch, &messages[i]);
        }
    }
    if (status == BROKER_E_INVALID_ARGUMENT) {
        (void)client_refuse(client, status, "cannot publish the batch");
    }
    if (status == BROKER_OK) {
        publish->topic = bytes_of(messages[0].topic);
        publish->batch = (struct broker_bytes){batch.data, batch.size};
        publish->numbered = publish->needs_streams = true;
        status = client_take_publish(client, publish);
    }
    free(batch.data);
    return status;
}

enum broker_status
broker_client_publish_batch(struct broker_client *client,
    const struct broker_client_outgoing *messages, size_t count,
    broker_client_published_fn *callback, void *user)
{
    struct session_publish publish = {
        .kind = callback == NULL ? PUBLISH_SILENT : PUBLISH_CALLBACK,
        .callback = callback,
        .user = user,
    };
    client_enter(client);
    enum broker_status status = take_batch(client, messages, count, &publish);
    client_leave(client);
    return status;
}

/* With the lock held. */
static enum broker_status
publish_batch_wait(struct broker_client *client,
    const struct broker_client_outgoing *messages, size_t count, int timeout_ms,
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
        .kind = PUBLISH_CALLBACK,
        .callback = client_published_wait_cb,
        .user = waiter,
    };
    enum broker_status status = take_batch(client, messages, count, &publish);
    if (status != BROKER_OK) {
        free(waiter);
        return status;
    }
    return client_published_wait(client, waiter, deadline_us, out);
}

enum broker_status
broker_client_publish_batch_wait(struct broker_client *client,
    const struct broker_client_outgoing *messages, size_t count, int timeout_ms,
    struct broker_client_published *out)
{
    client_enter(client);
    enum broker_status status =
        publish_batch_wait(client, messages, count, timeout_ms, out);
    client_leave(client);
    return status;
}

/* ---- readers and durable consumers --------------------------------------- */

/* With the lock held. */
static enum broker_status
consume(struct broker_client *client, const void *what,
    const struct session_outcome *outcome, uint32_t *out)
{
    enum broker_status status = client_check_open(client);
    if (status == BROKER_OK && out == NULL) {
        status = BROKER_E_INVALID_ARGUMENT;
    }
    if (status != BROKER_OK) {
        return client_refuse(client, status, "cannot read the stream");
    }
    status = session_consume(&client->session, what, outcome, out);
    if (status == BROKER_OK) {
        client_wake(client);
    }
    return status;
}

enum broker_status
broker_client_consume(struct broker_client *client,
    const struct broker_client_consume *asked, uint32_t *out)
{
    const struct session_outcome outcome = {asked->on_subscribed, asked->user};
    client_enter(client);
    enum broker_status status = consume(client, asked, &outcome, out);
    client_leave(client);
    return status;
}

/* With the lock held. */
static enum broker_status
ask_consume(struct broker_client *client, const void *what,
    const struct session_outcome *outcome, uint32_t *out)
{
    const struct broker_client_consume *asked = what;
    return asked->on_subscribed != NULL
               ? client_refuse(
                     client, BROKER_E_INVALID_ARGUMENT, "on_subscribed is set")
               : consume(client, what, outcome, out);
}

enum broker_status
broker_client_consume_wait(struct broker_client *client,
    const struct broker_client_consume *asked, int timeout_ms, uint32_t *out,
    struct broker_client_subscribed *answer)
{
    return client_subscribe_wait(
        client, ask_consume, asked, timeout_ms, out, answer);
}

/* ---- acknowledging ------------------------------------------------------- */

/* Also while the handle closes: what was worked on is still settled. */
static enum broker_status
settle(struct broker_client *client, uint32_t subscription,
    enum session_settle what, uint64_t sequence, uint32_t delay_ms)
{
    enum broker_status status = BROKER_E_CLOSED;
    client_enter(client);
    if (client->state != BROKER_CLIENT_CLOSED && !client->freeing) {
        status = session_settle(
            &client->session, subscription, what, sequence, delay_ms);
        if (client->session.subscriptions.pending != NULL) {
            client_wake(client);
        }
    }
    client_leave(client);
    return status;
}

enum broker_status
broker_client_ack(
    struct broker_client *client, uint32_t subscription, uint64_t sequence)
{
    return settle(client, subscription, SESSION_ACK, sequence, 0);
}

enum broker_status
broker_client_ack_up_to(
    struct broker_client *client, uint32_t subscription, uint64_t sequence)
{
    return settle(client, subscription, SESSION_ACK_UP_TO, sequence, 0);
}

enum broker_status
broker_client_nack(struct broker_client *client, uint32_t subscription,
    uint64_t sequence, uint32_t delay_ms)
{
    return settle(client, subscription, SESSION_NACK, sequence, delay_ms);
}

enum broker_status
broker_client_bury(
    struct broker_client *client, uint32_t subscription, uint64_t sequence)
{
    return settle(client, subscription, SESSION_BURY, sequence, 0);
}

enum broker_status
broker_client_touch(
    struct broker_client *client, uint32_t subscription, uint64_t sequence)
{
    return settle(client, subscription, SESSION_TOUCH, sequence, 0);
}
