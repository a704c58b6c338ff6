/* SPDX-License-Identifier: MIT
 *
 * A client handle in a libevent loop. Header-only; the library itself does not
 * need libevent, a program that includes this links it.
 *
 *     struct event_base *base = event_base_new();
 *     struct broker_client_libevent *adapter =
 *         broker_client_libevent_attach(client, base);
 *     event_base_dispatch(base);
 *     broker_client_libevent_detach(adapter);
 *     broker_client_free(client);
 *
 * Everything happens on the loop's thread. The adapter ends by itself when the
 * handle is closed: its events then no longer keep the loop alive.
 */
#ifndef BROKER_ADAPTERS_LIBEVENT_H
#define BROKER_ADAPTERS_LIBEVENT_H

#include <stdlib.h>

#include <event2/event.h>

#include <broker/client.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Private. */
struct broker_client_libevent {
    struct broker_client *client; /* NULL: detached */
    struct event *readable;
    struct event *timer;
    int entered; /* inside broker_client_process() */
};

/* Private. */
static inline void
broker_client_libevent_free_(struct broker_client_libevent *adapter)
{
    if (adapter->readable != NULL) {
        event_free(adapter->readable);
    }
    if (adapter->timer != NULL) {
        event_free(adapter->timer);
    }
    free(adapter);
}

/* Private. */
static inline void
broker_client_libevent_arm_(struct broker_client_libevent *adapter)
{
    int timeout_ms = broker_client_timeout_ms(adapter->client);
    struct timeval timeout;
    if (timeout_ms < 0) {
        (void)event_del(adapter->timer);
        return;
    }
    timeout.tv_sec = timeout_ms / 1000;
    timeout.tv_usec = (timeout_ms % 1000) * 1000;
    (void)event_add(adapter->timer, &timeout);
}

/* Private. */
static inline void
broker_client_libevent_cb_(evutil_socket_t fd, short what, void *argument)
{
    struct broker_client_libevent *adapter =
        (struct broker_client_libevent *)argument;
    enum broker_status status;
    (void)fd;
    (void)what;
    adapter->entered = 1;
    status = broker_client_process(adapter->client);
    adapter->entered = 0;
    if (adapter->client == NULL) { /* a callback detached it */
        broker_client_libevent_free_(adapter);
    } else if (status != BROKER_OK) { /* closed: nothing more will come */
        (void)event_del(adapter->readable);
        (void)event_del(adapter->timer);
    } else {
        broker_client_libevent_arm_(adapter);
    }
}

/* Let `base` drive the handle. NULL: no memory. Neither is owned by the
 * adapter; both must live until it is detached. Connecting begins with the
 * loop. */
static inline struct broker_client_libevent *
broker_client_libevent_attach(
    struct broker_client *client, struct event_base *base)
{
    struct timeval at_once = {0, 0};
    struct broker_client_libevent *adapter =
        (struct broker_client_libevent *)calloc(1, sizeof *adapter);
    if (adapter == NULL) {
        return NULL;
    }
    adapter->client = client;
    adapter->readable = event_new(base, broker_client_fd(client),
        EV_READ | EV_PERSIST, broker_client_libevent_cb_, adapter);
    adapter->timer = evtimer_new(base, broker_client_libevent_cb_, adapter);
    if (adapter->readable == NULL || adapter->timer == NULL ||
        event_add(adapter->readable, NULL) != 0 ||
        event_add(adapter->timer, &at_once) != 0) {
        broker_client_libevent_free_(adapter);
        return NULL;
    }
    return adapter;
}

/* Take the handle out of the loop, before broker_client_free(). May be called
 * inside a callback of the handle. NULL is allowed. */
static inline void
broker_client_libevent_detach(struct broker_client_libevent *adapter)
{
    if (adapter == NULL) {
        return;
    }
    (void)event_del(adapter->readable);
    (void)event_del(adapter->timer);
    adapter->client = NULL;
    if (!adapter->entered) {
        broker_client_libevent_free_(adapter);
    }
}

#ifdef __cplusplus
}
#endif

#endif
