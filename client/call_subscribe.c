/* SPDX-License-Identifier: MIT
 *
 * Subscribing, and waiting for everything: flush, drain, ping. See handle.h.
 */
#include "handle.h"

#include <stdlib.h>
#include <string.h>

static enum broker_status
refuse_in_callback(struct broker_client *client)
{
    return client_refuse(
        client, BROKER_E_INVALID_ARGUMENT, "a blocking call inside a callback");
}

/* ---- subscribe ----------------------------------------------------------- */

/* With the lock held. */
static enum broker_status
subscribe(struct broker_client *client, const void *what,
    const struct session_outcome *outcome, uint32_t *out)
{
    const struct broker_client_subscription *subscription = what;
    enum broker_status status = client_check_open(client);
    if (status == BROKER_OK && (subscription->filter == NULL || out == NULL)) {
        status = BROKER_E_INVALID_ARGUMENT;
    }
    if (status != BROKER_OK) {
        return client_refuse(client, status, "cannot subscribe");
    }
    status = session_subscribe(&client->session, subscription, outcome, out);
    if (status == BROKER_OK) {
        client_wake(client);
    }
    return status;
}

enum broker_status
broker_client_subscribe(struct broker_client *client,
    const struct broker_client_subscription *subscription, uint32_t *out)
{
    const struct session_outcome outcome = {
        subscription->on_subscribed, subscription->user};
    client_enter(client);
    enum broker_status status = subscribe(client, subscription, &outcome, out);
    client_leave(client);
    return status;
}

static void
subscribed_wait_cb(struct broker_client *client,
    const struct broker_client_subscribed *subscribed, void *user)
{
    struct client_waiter *waiter = user;
    if (client_waiter_begin(client, waiter)) {
        waiter->status = subscribed->status;
        waiter->outcome.subscribed = *subscribed;
        waiter->outcome.subscribed.text = "";
    }
    client_waiter_finish(client, waiter);
}

/* With the lock held. */
static enum broker_status
subscribe_wait(struct broker_client *client, client_ask_fn *ask,
    const void *what, int timeout_ms, uint32_t *out,
    struct broker_client_subscribed *answer)
{
    uint64_t deadline_us = client_deadline_us(timeout_ms);
    if (client_is_callback(client)) {
        return refuse_in_callback(client);
    }
    struct client_waiter *waiter = client_waiter_new();
    if (waiter == NULL) {
        return client_refuse(client, BROKER_E_NO_MEMORY, "cannot subscribe");
    }
    const struct session_outcome outcome = {subscribed_wait_cb, waiter};
    uint32_t id = 0;
    enum broker_status status = ask(client, what, &outcome, &id);
    if (status != BROKER_OK) {
        free(waiter);
        return status;
    }
    status = client_waiter_wait(client, waiter, deadline_us);
    if (status != BROKER_OK) {
        /* The callback has the waiter now, and runs before this ends. */
        enum broker_status ended =
            session_unsubscribe(&client->session, id, false, NULL, NULL);
        (void)ended; /* it may be gone already */
        client_wake(client);
        return status;
    }
    status = waiter->status;
    if (answer != NULL) {
        *answer = waiter->outcome.subscribed;
    }
    if (status == BROKER_OK && out != NULL) {
        *out = id;
    }
    free(waiter);
    return status;
}

enum broker_status
client_subscribe_wait(struct broker_client *client, client_ask_fn *ask,
    const void *what, int timeout_ms, uint32_t *out,
    struct broker_client_subscribed *answer)
{
    client_enter(client);
    enum broker_status status =
        subscribe_wait(client, ask, what, timeout_ms, out, answer);
    client_leave(client);
    return status;
}

/* With the lock held. */
static enum broker_status
ask_subscribe(struct broker_client *client, const void *what,
    const struct session_outcome *outcome, uint32_t *out)
{
    const struct broker_client_subscription *subscription = what;
    return subscription->on_subscribed != NULL
               ? client_refuse(
                     client, BROKER_E_INVALID_ARGUMENT, "on_subscribed is set")
               : subscribe(client, what, outcome, out);
}

enum broker_status
broker_client_subscribe_wait(struct broker_client *client,
    const struct broker_client_subscription *subscription, int timeout_ms,
    uint32_t *out, struct broker_client_subscribed *answer)
{
    return client_subscribe_wait(
        client, ask_subscribe, subscription, timeout_ms, out, answer);
}

/* ---- unsubscribe --------------------------------------------------------- */

/* With the lock held. */
static enum broker_status
unsubscribe(struct broker_client *client, uint32_t subscription, bool drain,
    broker_client_unsubscribed_fn *callback, void *user)
{
    enum broker_status status = client_check_open(client);
    if (status != BROKER_OK) {
        return client_refuse(client, status, "cannot unsubscribe");
    }
    status = session_unsubscribe(
        &client->session, subscription, drain, callback, user);
    if (status == BROKER_OK) {
        client_wake(client);
    }
    return status;
}

enum broker_status
broker_client_unsubscribe(struct broker_client *client, uint32_t subscription,
    bool drain, broker_client_unsubscribed_fn *callback, void *user)
{
    client_enter(client);
    enum broker_status status =
        unsubscribe(client, subscription, drain, callback, user);
    client_leave(client);
    return status;
}

static void
unsubscribed_wait_cb(struct broker_client *client,
    const struct broker_client_unsubscribed *unsubscribed, void *user)
{
    struct client_waiter *waiter = user;
    if (client_waiter_begin(client, waiter)) {
        waiter->status = unsubscribed->status;
        waiter->outcome.unsubscribed = *unsubscribed;
    }
    client_waiter_finish(client, waiter);
}

static enum broker_status
unsubscribe_wait(struct broker_client *client, uint32_t subscription,
    bool drain, int timeout_ms, struct broker_client_unsubscribed *out)
{
    if (client_is_callback(client)) {
        return refuse_in_callback(client);
    }
    struct client_waiter *waiter = client_waiter_new();
    if (waiter == NULL) {
        return client_refuse(client, BROKER_E_NO_MEMORY, "cannot unsubscribe");
    }
    enum broker_status status =
        unsubscribe(client, subscription, drain, unsubscribed_wait_cb, waiter);
    if (status != BROKER_OK) {
        free(waiter);
        return status;
    }
    status = client_waiter_wait(client, waiter, client_deadline_us(timeout_ms));
    if (status == BROKER_OK) {
        status = waiter->status;
        if (out != NULL) {
            *out = waiter->outcome.unsubscribed;
        }
        free(waiter);
    }
    return status;
}

enum broker_status
broker_client_unsubscribe_wait(struct broker_client *client,
    uint32_t subscription, bool drain, int timeout_ms,
    struct broker_client_unsubscribed *out)
{
    client_enter(client);
    enum broker_status status =
        unsubscribe_wait(client, subscription, drain, timeout_ms, out);
    client_leave(client);
    return status;
}

/* ---- flush, ping, drain -------------------------------------------------- */

enum broker_status
broker_client_flush_start(struct broker_client *client,
    broker_client_flushed_fn *callback, void *user)
{
    client_enter(client);
    enum broker_status status = client_check_open(client);
    if (status == BROKER_OK) {
        status = session_barrier(&client->session, false, callback, user);
        client_wake(client);
    }
    client_leave(client);
    return status;
}

static void
ponged_wait_cb(
    struct broker_client *client, enum broker_status status, void *user)
{
    struct client_waiter *waiter = user;
    if (client_waiter_begin(client, waiter)) {
        waiter->status = status;
        waiter->outcome.round_trip_us = client->session.stats.round_trip_us;
    }
    client_waiter_finish(client, waiter);
}

/* With the lock held: wait for a PONG behind everything. */
static enum broker_status
pong_wait(struct broker_client *client, bool is_ping, uint64_t deadline_us,
    uint64_t *round_trip_us)
{
    enum broker_status status = client_check_open(client);
    if (status != BROKER_OK) {
        return client->state == BROKER_CLIENT_CLOSED
                   ? client_closed_status(client)
                   : status;
    }
    struct client_waiter *waiter = client_waiter_new();
    if (waiter == NULL) {
        return client_refuse(client, BROKER_E_NO_MEMORY, "cannot flush");
    }
    status = session_barrier(&client->session, is_ping, ponged_wait_cb, waiter);
    if (status != BROKER_OK) {
        free(waiter);
        return status;
    }
    status = client_waiter_wait(client, waiter, deadline_us);
    if (status == BROKER_OK) {
        status = waiter->status;
        *round_trip_us = waiter->outcome.round_trip_us;
        free(waiter);
    }
    return status;
}

enum broker_status
broker_client_flush(struct broker_client *client, int timeout_ms)
{
    uint64_t unused;
    client_enter(client);
    enum broker_status status =
        client_is_callback(client)
            ? refuse_in_callback(client)
            : pong_wait(client, false, client_deadline_us(timeout_ms), &unused);
    client_leave(client);
    return status;
}

enum broker_status
broker_client_ping(
    struct broker_client *client, int timeout_ms, uint64_t *round_trip_us)
{
    uint64_t us = 0;
    enum broker_status status;
    client_enter(client);
    if (client_is_callback(client)) {
        status = refuse_in_callback(client);
    } else if (client->session.state != SESSION_OPEN) {
        status = client_refuse(client, BROKER_E_NOT_CONNECTED, "cannot ping");
    } else {
        /* What waits in the buffer would be measured too. */
        link_write(client);
        status = pong_wait(client, true, client_deadline_us(timeout_ms), &us);
    }
    client_leave(client);
    if (status == BROKER_OK && round_trip_us != NULL) {
        *round_trip_us = us;
    }
    return status;
}

static bool
is_drained(struct broker_client *client, void *argument)
{
    (void)argument;
    return client->session.requests.count == 0 &&
           subscriptions_count(&client->session.subscriptions) == 0;
}

static enum broker_status
drain(struct broker_client *client, int timeout_ms)
{
    uint64_t deadline_us = client_deadline_us(timeout_ms);
    if (client_is_callback(client)) {
        return refuse_in_callback(client);
    }
    bool was_open = client->session.state == SESSION_OPEN;
    uint64_t connects = client->session.stats.connects;
    enum broker_status status =
        session_unsubscribe_all(&client->session, false);
    if (status != BROKER_OK) {
        return status;
    }
    client_wake(client);
    status = client_wait(client, is_drained, NULL, deadline_us, false);
    if (status != BROKER_OK) {
        return status;
    }
    if (was_open && (client->session.state != SESSION_OPEN ||
                        client->session.stats.connects != connects)) {
        return client_refuse(client, BROKER_E_CONNECTION_LOST,
            "what was queued for the subscriptions is lost");
    }
    uint64_t unused;
    return pong_wait(client, false, deadline_us, &unused);
}

enum broker_status
broker_client_drain(struct broker_client *client, int timeout_ms)
{
    client_enter(client);
    enum broker_status status = drain(client, timeout_ms);
    client_leave(client);
    return status;
}
