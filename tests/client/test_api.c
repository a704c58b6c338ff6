/* SPDX-License-Identifier: MIT
 *
 * The public calls over real sockets, against a broker made by hand:
 * connecting, losing the connection, full buffers, subscriptions, requests.
 */
#include <criterion/criterion.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api_suite.h"

TestSuite(api, .init = api_setup, .fini = api_teardown, .timeout = 60);

/* ---- options and connecting ---------------------------------------------- */

Test(api, options_are_checked)
{
    struct broker_client *client = NULL;
    const char *bad[] = {"http://x"};
    options.addresses = bad;
    cr_assert_eq(broker_client_new(&options, &client), BROKER_E_BAD_ADDRESS);
    cr_assert_null(client);
    cr_assert(strstr(error_text(NULL), "http://x") != NULL);
    options.address_count = 0;
    options.connect_timeout_ms = 0;
    cr_assert_eq(
        broker_client_new(&options, &client), BROKER_E_INVALID_ARGUMENT);
    cr_assert(strstr(error_text(NULL), "connect_timeout_ms") != NULL);
    options.connect_timeout_ms = 1;
    options.max_body_bytes = 100;
    cr_assert_eq(
        broker_client_new(&options, &client), BROKER_E_INVALID_ARGUMENT);
    memset(&options, 0, sizeof options);
    cr_assert_eq(
        broker_client_new(&options, &client), BROKER_E_INVALID_ARGUMENT);
}

Test(api, options_of_an_older_program_are_enough)
{
    struct broker_client *client = NULL;
    /* As if the struct had ended after the addresses. */
    options.options_bytes = offsetof(struct broker_client_options, name);
    options.connect_timeout_ms = -5; /* not looked at */
    cr_assert_eq(broker_client_new(&options, &client), BROKER_OK);
    broker_client_free(client);
    broker_client_free(NULL);
}

Test(api, nobody_there_is_told_with_what_to_do)
{
    server_close(&server);
    options.connect_attempts = 1;
    struct broker_client *client = client_new();
    cr_assert_eq(
        broker_client_connect_wait(client, 5000), BROKER_E_CONNECT_FAILED);
    cr_assert(strstr(error_text(client), server.address) != NULL);
    cr_assert(strstr(error_text(client), "is brokerd running?") != NULL);
    cr_assert_eq(broker_client_publish(client, "a", "", 0), BROKER_E_CLOSED);
    cr_assert_eq(broker_client_run(client, -1), BROKER_E_CONNECT_FAILED);
    /* What ended it is still to be read. */
    cr_assert(strstr(error_text(client), "is brokerd running?") != NULL);
    cr_assert_eq(tally.states[BROKER_CLIENT_CLOSED], 1);
    broker_client_free(client);
    server_open_unix(&server);
}

Test(api, addresses_are_tried_in_turn)
{
    const char *addresses[] = {
        "unix:///nonexistent/s", "tcp://127.0.0.1:1", server.address};
    options.addresses = addresses;
    options.address_count = 3;
    options.connect_attempts = 1;
    struct broker_client *client = client_new();
    struct runner runner;
    runner_start(&runner, client);
    server_greet(&server);
    tally_wait(&tally, &tally.states[BROKER_CLIENT_CONNECTED], 1);
    struct broker_client_info info;
    broker_client_info(client, &info, sizeof info);
    cr_assert_str_eq(info.address, server.address);
    cr_assert_eq(info.heartbeat_ms, 15000);
    runner_stop(&runner);
    broker_client_free(client);
}

Test(api, a_host_name_is_looked_up)
{
    char address[64];
    const char *addresses[] = {address};
    server_close(&server);
    server_open_tcp(&server);
    (void)snprintf(address, sizeof address, "tcp://localhost%s",
        strrchr(server.address, ':'));
    options.addresses = addresses;
    struct broker_client *client = client_new();
    struct runner runner;
    runner_start(&runner, client);
    server_greet(&server);
    tally_wait(&tally, &tally.states[BROKER_CLIENT_CONNECTED], 1);
    runner_stop(&runner);
    broker_client_free(client);
}

Test(api, a_peer_that_does_not_answer_times_out)
{
    options.connect_timeout_ms = 100;
    options.connect_attempts = 1;
    struct broker_client *client = client_new();
    cr_assert_eq(broker_client_connect_wait(client, 10000), BROKER_E_TIMEOUT);
    cr_assert(strstr(error_text(client), "did not answer") != NULL);
    broker_client_free(client);
}

Test(api, a_blocking_call_has_its_own_timeout)
{
    struct broker_client *client = client_new();
    cr_assert_eq(broker_client_connect_wait(client, 50), BROKER_E_TIMEOUT);
    cr_assert_eq(broker_client_connect_wait(client, 0), BROKER_E_TIMEOUT);
    broker_client_free(client);
}

Test(api, an_unanswered_version_is_final)
{
    struct broker_client *client = client_new();
    struct runner runner;
    runner_start(&runner, client);
    server_accept(&server);
    server_goaway(&server, BROKER_E_VERSION, 0);
    cr_assert_eq(runner_join(&runner), BROKER_E_VERSION);
    broker_client_free(client);
}

/* ---- losing the connection ----------------------------------------------- */

Test(api, publishes_survive_lost_connections)
{
    struct broker_client *client = client_new();
    struct runner runner;
    publish(client, "1");
    runner_start(&runner, client);
    server_greet(&server);
    publish(client, "2");
    struct broker_publish message = server_expect_publish(&server);
    cr_assert_eq(message.id, 1);
    cr_assert_eq(server_expect_publish(&server).id, 2);
    server_puback(&server, 1, 1);
    tally_wait(&tally, &tally.published, 1);
    server_drop(&server);

    server_greet(&server);
    message = server_expect_publish(&server);
    cr_assert_eq(message.id, 2);
    cr_assert_eq(message.flags, BROKER_PUBLISH_RETRY);
    cr_assert_eq(tally.published, 1);
    server_reset(&server);

    server_accept(&server);
    server_welcome(&server, 2, 15000);
    message = server_expect_publish(&server); /* answered is not accepted */
    cr_assert_eq(message.id, 2);
    server_puback(&server, 2, 1);
    tally_wait(&tally, &tally.published, 2);
    cr_assert_eq(tally.failed, 0);
    cr_assert_eq(runner_stop(&runner), BROKER_E_INTERRUPTED);
    broker_client_free(client);
    cr_assert_eq(tally.published, 2);
}

Test(api, goaway_is_obeyed)
{
    struct broker_client *client = client_new();
    struct runner runner;
    runner_start(&runner, client);
    server_greet(&server);
    server_goaway(&server, BROKER_E_SHUTTING_DOWN, 300);
    tally_wait(&tally, &tally.states[BROKER_CLIENT_WAITING], 1);
    struct pollfd poller = {.fd = server.listen_fd, .events = POLLIN};
    server_drop(&server);
    cr_assert_eq(poll(&poller, 1, 250), 0, "it came back too early");
    server_greet(&server);
    tally_wait(&tally, &tally.states[BROKER_CLIENT_CONNECTED], 2);
    server_goaway(&server, BROKER_E_SESSION_TAKEN, 0);
    cr_assert_eq(runner_join(&runner), BROKER_E_SESSION_TAKEN);
    broker_client_free(client);
}

Test(api, without_reconnecting_a_lost_connection_is_the_end)
{
    options.reconnect = false;
    struct broker_client *client = client_new();
    struct runner runner;
    publish(client, "1");
    runner_start(&runner, client);
    server_greet(&server);
    (void)server_expect_publish(&server);
    server_drop(&server);
    cr_assert_eq(runner_join(&runner), BROKER_E_CONNECTION_LOST);
    cr_assert_eq(tally.published, 1);
    cr_assert_eq(tally.status, BROKER_E_CLOSED);
    broker_client_free(client);
}

Test(api, a_silent_broker_is_asked_and_then_given_up)
{
    struct broker_client *client = client_new();
    struct runner runner;
    runner_start(&runner, client);
    server_accept(&server);
    server_welcome(&server, 0, 100);
    (void)server_expect(&server, BROKER_FRAME_PING);
    tally_wait(&tally, &tally.states[BROKER_CLIENT_WAITING], 1);
    cr_assert(strstr(tally.text, "nothing was heard") != NULL);
    runner_stop(&runner);
    broker_client_free(client);
}

/* ---- a full buffer ------------------------------------------------------- */

Test(api, policy_fail)
{
    options.when_full = BROKER_CLIENT_WHEN_FULL_FAIL;
    struct broker_client *client = client_new();
    cr_assert_eq(
        broker_client_publish(client, "a", "", 0), BROKER_E_NOT_CONNECTED);
    struct runner runner;
    runner_start(&runner, client);
    server_greet(&server);
    tally_wait(&tally, &tally.states[BROKER_CLIENT_CONNECTED], 1);
    cr_assert_eq(broker_client_publish(client, "a", "", 0), BROKER_OK);
    runner_stop(&runner);
    broker_client_free(client);
}

static void *
acknowledge_200(void *argument)
{
    (void)argument;
    for (uint32_t i = 1; i <= 200; i++) {
        CHECK(server_expect_publish(&server).id == i);
        server_puback(&server, i, 1);
    }
    return NULL;
}

Test(api, policy_block_waits_for_the_connection_and_for_room)
{
    options.when_full = BROKER_CLIENT_WHEN_FULL_BLOCK;
    options.publish_timeout_ms = 50;
    struct broker_client *client = client_new();
    cr_assert_eq(broker_client_publish(client, "a", "", 0), BROKER_E_TIMEOUT);
    broker_client_free(client);
    server_close(&server); /* that one may have connected */
    server_open_unix(&server);

    options.publish_timeout_ms = SERVER_DEADLINE_MS;
    options.buffer_bytes = 64 << 10;
    client = client_new();
    struct runner runner;
    pthread_t acknowledger;
    runner_start(&runner, client);
    server_greet(&server);
    static const char payload[1000];
    struct broker_client_outgoing message = {
        .topic = "a", .payload = payload, .payload_bytes = sizeof payload};
    /* Three times as much as fits: most of them wait for room. */
    CHECK(pthread_create(&acknowledger, NULL, acknowledge_200, NULL) == 0);
    for (uint32_t i = 1; i <= 200; i++) {
        cr_assert_eq(broker_client_publish_acked(
                         client, &message, tally_published_cb, &tally),
            BROKER_OK);
    }
    CHECK(pthread_join(acknowledger, NULL) == 0);
    tally_wait(&tally, &tally.published, 200);
    runner_stop(&runner);
    broker_client_free(client);
}

/* The socket takes far less at once: partial writes, waiting for room. */
Test(api, large_messages_go_out_in_pieces)
{
    struct broker_client *client = client_new();
    struct runner runner;
    runner_start(&runner, client);
    server_greet(&server);
    enum { LARGE = 3 << 20 };
    uint8_t *large = malloc(LARGE);
    for (size_t i = 0; i < LARGE; i++) {
        large[i] = (uint8_t)(i * 7 + i / 251);
    }
    for (int i = 0; i < 4; i++) {
        cr_assert_eq(
            broker_client_publish(client, "a", large, LARGE), BROKER_OK);
    }
    for (int i = 0; i < 4; i++) {
        struct broker_publish message = server_expect_publish(&server);
        cr_assert_eq(message.payload.len, LARGE);
        cr_assert_eq(memcmp(message.payload.data, large, LARGE), 0);
    }
    free(large);
    runner_stop(&runner);
    broker_client_free(client);
}

Test(api, a_full_buffer_without_anybody_who_drives)
{
    options.buffer_bytes = 32 << 10;
    struct broker_client *client = client_new();
    unsigned taken = 0;
    while (broker_client_publish(client, "topic", "payload", 7) == BROKER_OK) {
        taken++;
        cr_assert_lt(taken, 10000);
    }
    cr_assert_gt(taken, 500);
    cr_assert_eq(broker_client_publish(client, "topic", "payload", 7),
        BROKER_E_BUFFER_FULL);
    struct broker_client_stats stats;
    broker_client_stats(client, &stats, sizeof stats);
    cr_assert_eq(stats.messages_published, taken);
    cr_assert_leq(stats.buffered_bytes, options.buffer_bytes);
    broker_client_free(client);
}

/* ---- subscribing and requests -------------------------------------------- */

Test(api, a_callback_subscription)
{
    struct broker_client *client = client_new();
    struct broker_client_subscription subscription = {
        .filter = "a/+",
        .on_message = tally_message_cb,
        .on_subscribed = tally_subscribed_cb,
        .user = &tally,
    };
    struct runner runner;
    uint32_t id;
    cr_assert_eq(
        broker_client_subscribe(client, &subscription, &id), BROKER_OK);
    runner_start(&runner, client);
    server_greet(&server);
    cr_assert_eq(server_expect(&server, BROKER_FRAME_SUBSCRIBE).id, id);
    server_suback(&server, id);
    server_message(&server, id, "a/b", "x");
    tally_wait(&tally, &tally.messages, 1);
    cr_assert_eq(tally.subscribed, 1);
    /* Gone and back: subscribed again, and a gap is told. */
    server_drop(&server);
    server_greet(&server);
    cr_assert_eq(server_expect(&server, BROKER_FRAME_SUBSCRIBE).id, id);
    tally_wait(&tally, &tally.gaps, 1);
    runner_stop(&runner);
    broker_client_free(client);
    cr_assert_eq(tally.subscribed, 1);
}

Test(api, subscribe_wait_gives_up_cleanly)
{
    struct broker_client *client = client_new();
    struct broker_client_subscription subscription = {.filter = "a"};
    struct runner runner;
    uint32_t id;
    runner_start(&runner, client);
    server_greet(&server);
    cr_assert_eq(
        broker_client_subscribe_wait(client, &subscription, 50, &id, NULL),
        BROKER_E_TIMEOUT);
    uint32_t sent = server_expect(&server, BROKER_FRAME_SUBSCRIBE).id;
    cr_assert_eq(server_expect(&server, BROKER_FRAME_UNSUBSCRIBE).id, sent);
    server_suback(&server, sent);
    server_unsuback(&server, sent);
    runner_stop(&runner);
    broker_client_free(client);
}

static void *
serve_next(void *argument)
{
    (void)argument;
    server_greet(&server);
    uint32_t id = server_expect(&server, BROKER_FRAME_SUBSCRIBE).id;
    server_suback(&server, id);
    server_message(&server, id, "a", "one");
    server_message(&server, id, "a", "two");
    return NULL;
}

Test(api, next_drives_and_hands_out_values)
{
    struct broker_client *client = client_new();
    struct broker_client_subscription subscription = {.filter = "a"};
    struct broker_client_event *one, *two, *none;
    pthread_t thread;
    uint32_t id;
    CHECK(pthread_create(&thread, NULL, serve_next, NULL) == 0);
    cr_assert_eq(
        broker_client_subscribe_wait(client, &subscription, -1, &id, NULL),
        BROKER_OK);
    cr_assert_eq(broker_client_next(client, 5000, &one), BROKER_OK);
    cr_assert_eq(broker_client_next(client, 5000, &two), BROKER_OK);
    cr_assert_eq(broker_client_next(client, 0, &none), BROKER_E_TIMEOUT);
    CHECK(pthread_join(thread, NULL) == 0);
    broker_client_free(client);
    /* They live on. */
    cr_assert_eq(memcmp(one->message->payload.data, "one", 3), 0);
    cr_assert_eq(memcmp(two->message->payload.data, "two", 3), 0);
    broker_client_event_free(one);
    broker_client_event_free(two);
}

Test(api, requests_time_out_and_end_with_the_connection)
{
    struct broker_client *client = client_new();
    struct broker_client_outgoing request = {.topic = "q"};
    struct runner runner;
    runner_start(&runner, client);
    server_greet(&server);
    cr_assert_eq(
        broker_client_request(client, &request, 30, tally_reply_cb, &tally),
        BROKER_OK);
    tally_wait(&tally, &tally.replies, 1);
    cr_assert_eq(tally.status, BROKER_E_TIMEOUT);
    cr_assert_eq(
        broker_client_request(client, &request, 60000, tally_reply_cb, &tally),
        BROKER_OK);
    (void)server_expect(&server, BROKER_FRAME_SUBSCRIBE);
    (void)server_expect_publish(&server);
    (void)server_expect_publish(&server);
    server_drop(&server);
    tally_wait(&tally, &tally.replies, 2);
    cr_assert_eq(tally.status, BROKER_E_CONNECTION_LOST);
    cr_assert_eq(
        broker_client_request(client, &request, 60000, tally_reply_cb, &tally),
        BROKER_OK);
    runner_stop(&runner);
    broker_client_free(client);
    cr_assert_eq(tally.replies, 3);
    cr_assert_eq(tally.status, BROKER_E_CLOSED);
}

/* It is the clock that ends it; nothing comes from the broker. */
Test(api, a_blocking_request_ends_at_its_time)
{
    struct broker_client *client = client_new();
    struct broker_client_outgoing request = {.topic = "q"};
    struct broker_client_event *event = NULL;
    cr_assert_eq(broker_client_request_wait(client, &request, 30, &event),
        BROKER_E_TIMEOUT);
    cr_assert_null(event);
    request.reply_to = "x";
    cr_assert_eq(broker_client_request_wait(client, &request, 30, &event),
        BROKER_E_INVALID_ARGUMENT);
    broker_client_free(client);
}
