/* SPDX-License-Identifier: MIT
 *
 * The adapter for libevent.
 */
#include <criterion/criterion.h>

#include <broker/adapters/libevent.h>

#include "api_suite.h"

TestSuite(libevent, .init = api_setup, .fini = api_teardown, .timeout = 60);

#define MESSAGES 50

static struct event_base *base;
static struct broker_client_libevent *adapter;

static void *
serve(void *argument)
{
    (void)argument;
    server_greet(&server);
    for (uint32_t i = 1; i <= MESSAGES; i++) {
        CHECK(server_expect_publish(&server).id == i);
        server_puback(&server, i, 1);
    }
    server_drop(&server); /* and once more, after a lost connection */
    server_greet(&server);
    CHECK(server_expect_publish(&server).id == MESSAGES + 1);
    server_puback(&server, MESSAGES + 1, 1);
    return NULL;
}

/* Each answer brings the next message: all of it happens in callbacks. */
static void
again_cb(struct broker_client *client,
    const struct broker_client_published *published, void *user)
{
    unsigned *count = user;
    struct broker_client_outgoing message = {.topic = "a"};
    CHECK(published->status == BROKER_OK);
    if (++*count <= MESSAGES) {
        CHECK(broker_client_publish_acked(client, &message, again_cb, user) ==
              BROKER_OK);
    } else {
        (void)event_base_loopbreak(base);
    }
}

Test(libevent, a_handle_in_a_loop)
{
    struct broker_client *client = client_new();
    struct broker_client_outgoing message = {.topic = "a"};
    pthread_t thread;
    unsigned count = 0;
    base = event_base_new();
    adapter = broker_client_libevent_attach(client, base);
    cr_assert_not_null(adapter);
    CHECK(pthread_create(&thread, NULL, serve, NULL) == 0);
    cr_assert_eq(
        broker_client_publish_acked(client, &message, again_cb, &count),
        BROKER_OK);
    cr_assert_eq(event_base_dispatch(base), 0);
    cr_assert_eq(count, MESSAGES + 1);
    CHECK(pthread_join(thread, NULL) == 0);
    broker_client_libevent_detach(adapter);
    broker_client_free(client);
    event_base_free(base);
}

static void
detach_cb(struct broker_client *client,
    const struct broker_client_state_event *event, void *user)
{
    (void)user;
    if (event->state == BROKER_CLIENT_CONNECTED) {
        broker_client_libevent_detach(adapter);
        broker_client_free(client);
    }
}

static void *
greet(void *argument)
{
    (void)argument;
    server_greet(&server);
    return NULL;
}

/* The loop ends by itself: nothing is left in it. */
Test(libevent, detached_and_freed_inside_a_callback)
{
    pthread_t thread;
    options.on_state = detach_cb;
    struct broker_client *client = client_new();
    base = event_base_new();
    adapter = broker_client_libevent_attach(client, base);
    CHECK(pthread_create(&thread, NULL, greet, NULL) == 0);
    (void)event_base_dispatch(base);
    CHECK(pthread_join(thread, NULL) == 0);
    event_base_free(base);
}

Test(libevent, a_closed_handle_leaves_the_loop)
{
    struct broker_client *client = client_new();
    server_close(&server);
    options.connect_attempts = 1;
    broker_client_free(client);
    client = client_new();
    base = event_base_new();
    adapter = broker_client_libevent_attach(client, base);
    (void)event_base_dispatch(base); /* returns because nothing is left */
    struct broker_client_info info;
    broker_client_info(client, &info, sizeof info);
    cr_assert_eq(info.state, BROKER_CLIENT_CLOSED);
    cr_assert_eq(info.closed_status, BROKER_E_CONNECT_FAILED);
    broker_client_libevent_detach(adapter);
    broker_client_libevent_detach(NULL);
    broker_client_free(client);
    event_base_free(base);
    server_open_unix(&server);
}
