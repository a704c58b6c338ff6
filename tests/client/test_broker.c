/* SPDX-License-Identifier: MIT
 *
 * The client library against the real daemon.
 */
#include <criterion/criterion.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon.h"
#include "proxy.h"
#include "server.h"

#define WAIT_MS SERVER_DEADLINE_MS

static struct daemon daemon_;
static struct tally tally;

static void
setup(void)
{
    daemon_start(&daemon_, NULL);
    tally_init(&tally);
}

static void
teardown(void)
{
    daemon_stop(&daemon_);
}

TestSuite(broker, .init = setup, .fini = teardown, .timeout = 100);

static void
options_for(struct broker_client_options *options, const char *address)
{
    static struct server at; /* the tally's options take an address from it */
    size_t len = strnlen(address, sizeof at.address - 1);
    memcpy(at.address, address, len);
    at.address[len] = '\0';
    tally_options(&tally, &at, options);
}

static struct broker_client *
client_at(const char *address)
{
    struct broker_client_options options;
    struct broker_client *client = NULL;
    options_for(&options, address);
    CHECK(broker_client_new(&options, &client) == BROKER_OK);
    return client;
}

static struct broker_client *
client_new(void)
{
    return client_at(daemon_.unix_address);
}

static void
leave(struct broker_client *client)
{
    cr_assert_eq(broker_client_close(client, WAIT_MS), BROKER_OK);
    broker_client_free(client);
}

static uint32_t
subscribe_next(struct broker_client *client, const char *filter)
{
    struct broker_client_subscription subscription = {.filter = filter};
    uint32_t id = 0;
    CHECK(broker_client_subscribe_wait(
              client, &subscription, WAIT_MS, &id, NULL) == BROKER_OK);
    return id;
}

static struct broker_client_published
publish_text(struct broker_client *client, const char *topic, const char *text,
    bool retain)
{
    struct broker_client_outgoing message = {.topic = topic,
        .payload = text,
        .payload_bytes = strlen(text),
        .retain = retain};
    struct broker_client_published published;
    CHECK(broker_client_publish_wait(client, &message, WAIT_MS, &published) ==
          BROKER_OK);
    return published;
}

static void
expect_message(struct broker_client *client, const char *topic,
    const char *text, bool retained)
{
    struct broker_client_event *event;
    cr_assert_eq(broker_client_next(client, WAIT_MS, &event), BROKER_OK);
    cr_assert_eq(event->kind, BROKER_CLIENT_EVENT_MESSAGE);
    const struct broker_message *message = event->message;
    cr_assert_eq(message->topic.len, strlen(topic));
    cr_assert_eq(memcmp(message->topic.data, topic, strlen(topic)), 0);
    cr_assert_eq(message->payload.len, strlen(text));
    cr_assert_eq(memcmp(message->payload.data, text, strlen(text)), 0);
    cr_assert_eq(message->retained, retained);
    broker_client_event_free(event);
}

/* ---- the basics ---------------------------------------------------------- */

Test(broker, publish_and_subscribe_over_both_transports)
{
    struct broker_client *subscriber = client_at(daemon_.tcp_address);
    struct broker_client *publisher = client_new();
    uint32_t id = subscribe_next(subscriber, "a/#");
    cr_assert_eq(publish_text(publisher, "a/b", "one", false).matched, 1);
    cr_assert_eq(publish_text(publisher, "b", "no", false).matched, 0);
    cr_assert_eq(publish_text(publisher, "a", "", false).matched, 1);
    expect_message(subscriber, "a/b", "one", false);
    expect_message(subscriber, "a", "", false);
    struct broker_client_unsubscribed books;
    cr_assert_eq(
        broker_client_unsubscribe_wait(subscriber, id, true, WAIT_MS, &books),
        BROKER_OK);
    cr_assert_eq(books.matched, 2);
    cr_assert_eq(books.delivered, 2);
    leave(subscriber);
    leave(publisher);
}

Test(broker, headers_and_reply_to_arrive)
{
    struct broker_client *client = client_new();
    const struct broker_client_header headers[] = {
        {"type", "text/plain", 10}, {"empty", NULL, 0}};
    struct broker_client_outgoing message = {.topic = "a",
        .reply_to = "answers",
        .headers = headers,
        .header_count = 2};
    struct broker_client_event *event;
    struct broker_bytes value;
    (void)subscribe_next(client, "a");
    cr_assert_eq(broker_client_publish_message(client, &message), BROKER_OK);
    cr_assert_eq(broker_client_next(client, WAIT_MS, &event), BROKER_OK);
    cr_assert_eq(event->message->reply_to.len, 7);
    cr_assert(broker_client_message_header(event->message, "type", &value));
    cr_assert_eq(memcmp(value.data, "text/plain", 10), 0);
    cr_assert(broker_client_message_header(event->message, "empty", &value));
    cr_assert_eq(value.len, 0);
    cr_assert_not(broker_client_message_header(event->message, "no", &value));
    broker_client_event_free(event);
    leave(client);
}

Test(broker, retained_values_come_first)
{
    struct broker_client *client = client_new();
    (void)publish_text(client, "state/a", "old", true);
    (void)publish_text(client, "state/a", "new", true);
    (void)subscribe_next(client, "state/+");
    (void)publish_text(client, "state/a", "live", false);
    expect_message(client, "state/a", "new", true);
    expect_message(client, "state/a", "live", false);
    leave(client);
}

Test(broker, a_message_for_several_subscriptions_comes_to_each)
{
    struct broker_client *client = client_new();
    (void)subscribe_next(client, "a/b");
    (void)subscribe_next(client, "a/+");
    (void)subscribe_next(client, "c");
    cr_assert_eq(publish_text(client, "a/b", "x", false).matched, 2);
    expect_message(client, "a/b", "x", false);
    expect_message(client, "a/b", "x", false);
    struct broker_client_event *event;
    cr_assert_eq(broker_client_next(client, 0, &event), BROKER_E_TIMEOUT);
    struct broker_client_stats stats;
    broker_client_stats(client, &stats, sizeof stats);
    cr_assert_eq(stats.messages_received, 1);
    leave(client);
}

Test(broker, refusals_name_themselves)
{
    struct broker_client *client = client_new();
    struct broker_client_outgoing message = {.topic = "$sys/x"};
    struct broker_client_event *event;
    char text[BROKER_CLIENT_ERROR_TEXT_MAX];
    cr_assert_eq(broker_client_publish_wait(client, &message, WAIT_MS, NULL),
        BROKER_E_RESERVED_TOPIC);
    cr_assert_eq(broker_client_publish(client, "$sys/x", "", 0), BROKER_OK);
    cr_assert_eq(broker_client_flush(client, WAIT_MS), BROKER_OK);
    cr_assert_eq(tally.errors, 1);
    cr_assert_eq(tally.status, BROKER_E_RESERVED_TOPIC);
    message.topic = "nobody";
    cr_assert_eq(broker_client_request_wait(client, &message, WAIT_MS, &event),
        BROKER_E_NO_SUBSCRIBERS);
    (void)broker_client_error_text(client, text, sizeof text);
    cr_assert(strstr(text, "NO_SUBSCRIBERS") != NULL);
    leave(client);
}

Test(broker, too_large_is_refused_here_and_names_the_limit)
{
    struct broker_client *client = client_new();
    struct broker_client_info info;
    char text[BROKER_CLIENT_ERROR_TEXT_MAX], limit[32];
    cr_assert_eq(broker_client_connect_wait(client, WAIT_MS), BROKER_OK);
    broker_client_info(client, &info, sizeof info);
    uint8_t *payload = calloc(1, info.max_body_bytes);
    cr_assert_eq(
        broker_client_publish(client, "a", payload, info.max_body_bytes - 4),
        BROKER_E_TOO_LARGE);
    (void)broker_client_error_text(client, text, sizeof text);
    (void)snprintf(limit, sizeof limit, "%u", (unsigned)info.max_body_bytes);
    cr_assert(strstr(text, limit) != NULL, "%s", text);
    cr_assert_eq(
        broker_client_publish(client, "a", payload, info.max_body_bytes - 5),
        BROKER_OK);
    cr_assert_eq(broker_client_flush(client, WAIT_MS), BROKER_OK);
    free(payload);
    leave(client);
}

/* ---- requests ------------------------------------------------------------ */

static void
answer_cb(struct broker_client *client, const struct broker_message *message,
    void *user)
{
    (void)user;
    CHECK(broker_client_reply(client, message, message->payload.data,
              message->payload.len) == BROKER_OK);
}

Test(broker, many_requests_at_once)
{
    struct broker_client *asker = client_new(), *service = client_new();
    struct broker_client_subscription subscription = {
        .filter = "echo", .group = "g", .on_message = answer_cb};
    struct runner asking, serving;
    uint32_t id;
    runner_start(&serving, service);
    cr_assert_eq(broker_client_subscribe_wait(
                     service, &subscription, WAIT_MS, &id, NULL),
        BROKER_OK);
    runner_start(&asking, asker);
    struct broker_client_outgoing request = {
        .topic = "echo", .payload = "x", .payload_bytes = 1};
    for (int i = 0; i < 1000; i++) {
        cr_assert_eq(broker_client_request(
                         asker, &request, WAIT_MS, tally_reply_cb, &tally),
            BROKER_OK);
    }
    tally_wait(&tally, &tally.replies, 1000);
    cr_assert_eq(tally.failed, 0);
    struct broker_client_event *event;
    request = (struct broker_client_outgoing){.topic = "$sys/stats"};
    cr_assert_eq(broker_client_request_wait(asker, &request, WAIT_MS, &event),
        BROKER_OK);
    cr_assert_eq(event->message->payload.data[0], '{');
    broker_client_event_free(event);
    runner_stop(&asking);
    runner_stop(&serving);
    leave(asker);
    leave(service);
}

/* A service that closes answers what had reached its queue. */
Test(broker, a_service_answers_while_it_closes)
{
    struct broker_client *asker = client_new(), *service = client_new();
    struct broker_client_subscription subscription = {
        .filter = "echo", .on_message = answer_cb};
    struct runner asking;
    uint32_t id;
    cr_assert_eq(broker_client_subscribe_wait(
                     service, &subscription, WAIT_MS, &id, NULL),
        BROKER_OK);
    runner_start(&asking, asker);
    struct broker_client_outgoing request = {.topic = "echo"};
    for (int i = 0; i < 100; i++) {
        cr_assert_eq(broker_client_request(
                         asker, &request, WAIT_MS, tally_reply_cb, &tally),
            BROKER_OK);
    }
    cr_assert_eq(broker_client_flush(asker, WAIT_MS), BROKER_OK);
    cr_assert_eq(broker_client_close(service, WAIT_MS), BROKER_OK);
    broker_client_free(service);
    tally_wait(&tally, &tally.replies, 100);
    cr_assert_eq(tally.failed, 0);
    runner_stop(&asking);
    leave(asker);
}

/* ---- amounts ------------------------------------------------------------- */

#define AMOUNT 200000

/* Whatever happens: what was matched was received, or a gap says how much. */
Test(broker, nothing_is_lost_silently)
{
    struct broker_client *subscriber = client_new(), *publisher = client_new();
    struct broker_client_subscription subscription = {
        .filter = "flood", .on_message = tally_message_cb, .user = &tally};
    struct runner runner;
    static const char payload[100];
    uint32_t id;
    runner_start(&runner, subscriber);
    cr_assert_eq(broker_client_subscribe_wait(
                     subscriber, &subscription, WAIT_MS, &id, NULL),
        BROKER_OK);
    for (int i = 0; i < AMOUNT; i++) {
        enum broker_status status =
            broker_client_publish(publisher, "flood", payload, sizeof payload);
        if (status == BROKER_E_BUFFER_FULL) {
            cr_assert_eq(broker_client_flush(publisher, WAIT_MS), BROKER_OK);
            i--;
            continue;
        }
        cr_assert_eq(status, BROKER_OK);
    }
    cr_assert_eq(broker_client_flush(publisher, WAIT_MS), BROKER_OK);
    /* Everything queued for the subscriber comes before the answer. */
    struct broker_client_unsubscribed books;
    cr_assert_eq(
        broker_client_unsubscribe_wait(subscriber, id, true, WAIT_MS, &books),
        BROKER_OK);
    cr_assert_eq(books.matched, AMOUNT);
    cr_assert_eq(books.matched, books.delivered + books.dropped);
    cr_assert_eq(books.delivered, tally.messages);
    cr_assert_eq(books.dropped, tally.missing);
    runner_stop(&runner);
    leave(subscriber);
    leave(publisher);
}

Test(broker, drain_delivers_what_is_queued)
{
    struct broker_client *client = client_new();
    struct broker_client_subscription subscription = {
        .filter = "a", .on_message = tally_message_cb, .user = &tally};
    uint32_t id;
    cr_assert_eq(
        broker_client_subscribe_wait(client, &subscription, WAIT_MS, &id, NULL),
        BROKER_OK);
    for (int i = 0; i < 1000; i++) {
        cr_assert_eq(broker_client_publish(client, "a", "x", 1), BROKER_OK);
    }
    cr_assert_eq(broker_client_drain(client, WAIT_MS), BROKER_OK);
    cr_assert_eq(tally.messages, 1000);
    cr_assert_eq(broker_client_unsubscribe(client, id, false, NULL, NULL),
        BROKER_E_UNKNOWN_SUBSCRIPTION);
    cr_assert_eq(publish_text(client, "a", "x", false).matched, 0);
    leave(client);
}

Test(broker, ping_measures)
{
    struct broker_client *client = client_new();
    uint64_t us = 0;
    cr_assert_eq(broker_client_ping(client, 0, &us), BROKER_E_NOT_CONNECTED);
    cr_assert_eq(broker_client_connect_wait(client, WAIT_MS), BROKER_OK);
    cr_assert_eq(broker_client_ping(client, WAIT_MS, &us), BROKER_OK);
    cr_assert_gt(us, 0);
    cr_assert_lt(us, WAIT_MS * UINT64_C(1000));
    leave(client);
}

/* ---- the broker goes away ------------------------------------------------ */

Test(broker, a_killed_broker_loses_no_acknowledged_publish)
{
    struct broker_client *client = client_new();
    struct broker_client_outgoing message = {
        .topic = "a", .payload = "x", .payload_bytes = 1};
    struct runner runner;
    runner_start(&runner, client);
    unsigned sent = 0;
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 500; i++, sent++) {
            cr_assert_eq(broker_client_publish_acked(
                             client, &message, tally_published_cb, &tally),
                BROKER_OK);
        }
        daemon_kill(&daemon_);
        for (int i = 0; i < 500; i++, sent++) {
            cr_assert_eq(broker_client_publish_acked(
                             client, &message, tally_published_cb, &tally),
                BROKER_OK);
        }
        daemon_restart(&daemon_, NULL);
    }
    tally_wait(&tally, &tally.published, sent);
    cr_assert_eq(tally.failed, 0);
    cr_assert_eq(tally.published, sent);
    runner_stop(&runner);
    leave(client);
}

Test(broker, a_terminated_broker_says_goodbye)
{
    struct broker_client *client = client_new();
    struct runner runner;
    runner_start(&runner, client);
    tally_wait(&tally, &tally.states[BROKER_CLIENT_CONNECTED], 1);
    daemon_terminate(&daemon_);
    tally_wait(&tally, &tally.states[BROKER_CLIENT_WAITING], 1);
    cr_assert(strstr(tally.text, "SHUTTING_DOWN") != NULL, "%s", tally.text);
    runner_stop(&runner);
    broker_client_free(client);
}

Test(broker, a_session_that_is_taken_over_ends)
{
    struct broker_client_options options;
    struct broker_client *first = NULL, *second = NULL;
    options_for(&options, daemon_.unix_address);
    memset(options.session, 7, sizeof options.session);
    cr_assert_eq(broker_client_new(&options, &first), BROKER_OK);
    cr_assert_eq(broker_client_new(&options, &second), BROKER_OK);
    cr_assert_eq(broker_client_connect_wait(first, WAIT_MS), BROKER_OK);
    cr_assert_eq(publish_text(first, "a", "1", false).duplicate, false);
    cr_assert_eq(broker_client_connect_wait(second, WAIT_MS), BROKER_OK);
    cr_assert_eq(broker_client_run(first, WAIT_MS), BROKER_E_SESSION_TAKEN);
    /* It goes on with the numbers of the first: nothing is a duplicate. */
    cr_assert_eq(publish_text(second, "a", "2", false).duplicate, false);
    broker_client_free(first);
    leave(second);
}

Test(broker, a_session_goes_on_in_another_handle)
{
    struct broker_client *subscriber = client_new();
    struct broker_client_options options;
    struct broker_client *first = NULL;
    (void)subscribe_next(subscriber, "a");
    options_for(&options, daemon_.unix_address);
    memset(options.session, 9, sizeof options.session);
    cr_assert_eq(broker_client_new(&options, &first), BROKER_OK);
    (void)publish_text(first, "a", "one", false);
    (void)publish_text(first, "a", "two", false);
    broker_client_free(first);
    cr_assert_eq(broker_client_new(&options, &first), BROKER_OK);
    /* With number 1 the broker would take it for a message it knows. */
    (void)publish_text(first, "a", "three", false);
    expect_message(subscriber, "a", "one", false);
    expect_message(subscriber, "a", "two", false);
    expect_message(subscriber, "a", "three", false);
    leave(first);
    leave(subscriber);
}

#define CUT_MESSAGES 3000

/* Every connection of the publisher is cut after some bytes, in either
 * direction, often between a message and its acknowledgement. Still each
 * message arrives once, and in order. */
Test(broker, messages_arrive_once_and_in_order_over_a_line_that_breaks)
{
    struct proxy proxy;
    struct broker_client *subscriber = client_new();
    struct broker_client_options options;
    struct broker_client *publisher = NULL;
    struct runner runner;
    char address[256];
    (void)subscribe_next(subscriber, "a");
    proxy_start(&proxy, daemon_.folder);
    (void)snprintf(address, sizeof address, "unix://%s/proxy", daemon_.folder);
    options_for(&options, address);
    options.reconnect_max_ms = options.reconnect_min_ms = 1;
    cr_assert_eq(broker_client_new(&options, &publisher), BROKER_OK);
    runner_start(&runner, publisher);
    for (uint32_t i = 0; i < CUT_MESSAGES; i++) {
        struct broker_client_outgoing message = {
            .topic = "a", .payload = &i, .payload_bytes = sizeof i};
        cr_assert_eq(broker_client_publish_acked(
                         publisher, &message, tally_published_cb, &tally),
            BROKER_OK);
    }
    tally_wait(&tally, &tally.published, CUT_MESSAGES);
    for (uint32_t i = 0; i < CUT_MESSAGES; i++) {
        struct broker_client_event *event;
        uint32_t got;
        cr_assert_eq(
            broker_client_next(subscriber, WAIT_MS, &event), BROKER_OK);
        cr_assert_eq(event->kind, BROKER_CLIENT_EVENT_MESSAGE);
        memcpy(&got, event->message->payload.data, sizeof got);
        cr_assert_eq(got, i, "%u instead of %u", (unsigned)got, (unsigned)i);
        broker_client_event_free(event);
    }
    struct broker_client_stats stats;
    broker_client_stats(publisher, &stats, sizeof stats);
    cr_assert_gt(stats.connects, 10);
    cr_assert_gt(stats.messages_duplicate, 0);
    cr_assert_eq(tally.failed, 0);
    runner_stop(&runner);
    broker_client_free(publisher);
    proxy_stop(&proxy);
    leave(subscriber);
}

/* ---- threads ------------------------------------------------------------- */

#define THREADS    4
#define PER_THREAD 3000

static void *
publish_thread(void *argument)
{
    struct broker_client_outgoing message = {
        .topic = "t", .payload = "x", .payload_bytes = 1};
    for (int i = 0; i < PER_THREAD; i++) {
        CHECK(broker_client_publish_acked(
                  argument, &message, tally_published_cb, &tally) == BROKER_OK);
    }
    return NULL;
}

Test(broker, many_threads_publish_and_subscribe_on_one_handle)
{
    struct broker_client *client = client_new();
    struct broker_client_subscription subscription = {
        .filter = "t", .on_message = tally_message_cb, .user = &tally};
    struct runner runner;
    pthread_t threads[THREADS];
    uint32_t id;
    runner_start(&runner, client);
    cr_assert_eq(
        broker_client_subscribe_wait(client, &subscription, WAIT_MS, &id, NULL),
        BROKER_OK);
    for (int i = 0; i < THREADS; i++) {
        CHECK(pthread_create(&threads[i], NULL, publish_thread, client) == 0);
    }
    for (int i = 0; i < 50; i++) {
        struct broker_client_subscription other = {
            .filter = "other", .on_message = tally_message_cb};
        uint32_t other_id;
        cr_assert_eq(broker_client_subscribe_wait(
                         client, &other, WAIT_MS, &other_id, NULL),
            BROKER_OK);
        cr_assert_eq(broker_client_unsubscribe_wait(
                         client, other_id, i % 2, WAIT_MS, NULL),
            BROKER_OK);
    }
    for (int i = 0; i < THREADS; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
    }
    tally_wait(&tally, &tally.published, THREADS * PER_THREAD);
    tally_wait(&tally, &tally.messages, THREADS * PER_THREAD);
    cr_assert_eq(tally.failed, 0);
    runner_stop(&runner);
    leave(client);
}
