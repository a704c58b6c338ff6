/* SPDX-License-Identifier: MIT
 *
 * The client library against the real daemon: streams.
 */
#include <criterion/criterion.h>
#include <stdio.h>
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
    daemon_start_stored(&daemon_, NULL);
    tally_init(&tally);
}

static void
teardown(void)
{
    daemon_stop(&daemon_);
}

TestSuite(broker_stream, .init = setup, .fini = teardown, .timeout = 100);

static struct broker_client *
client_at(const char *address)
{
    static struct server at; /* the tally's options take an address from it */
    struct broker_client_options options;
    struct broker_client *client = NULL;
    (void)snprintf(at.address, sizeof at.address, "%s", address);
    tally_options(&tally, &at, &options);
    options.reconnect_max_ms = options.reconnect_min_ms = 1;
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

static void
ask(struct broker_client *client, const char *topic, const char *json)
{
    struct broker_client_outgoing request = {
        .topic = topic, .payload = json, .payload_bytes = strlen(json)};
    struct broker_client_event *event = NULL;
    char text[BROKER_CLIENT_ERROR_TEXT_MAX];
    enum broker_status status =
        broker_client_request_wait(client, &request, WAIT_MS, &event);
    cr_assert_eq(status, BROKER_OK, "%s",
        broker_client_error_text(client, text, sizeof text));
    broker_client_event_free(event);
}

static void
add_stream(struct broker_client *client)
{
    ask(client, "$sys/stream/add", "{\"name\":\"S\",\"topics\":[\"s/#\"]}");
}

static uint32_t
consume(struct broker_client *client, const struct broker_client_consume *asked)
{
    uint32_t id = 0;
    char text[BROKER_CLIENT_ERROR_TEXT_MAX];
    enum broker_status status =
        broker_client_consume_wait(client, asked, WAIT_MS, &id, NULL);
    cr_assert_eq(status, BROKER_OK, "%s",
        broker_client_error_text(client, text, sizeof text));
    return id;
}

/* The numbers that were published are all there, once and in order. */
static void
expect_all(struct broker_client *client, uint32_t count)
{
    uint64_t before = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct broker_client_event *event;
        uint32_t got;
        cr_assert_eq(broker_client_next(client, WAIT_MS, &event), BROKER_OK);
        if (event->kind == BROKER_CLIENT_EVENT_CAUGHT_UP) {
            i--;
        } else {
            cr_assert_eq(event->kind, BROKER_CLIENT_EVENT_MESSAGE);
            memcpy(&got, event->message->payload.data, sizeof got);
            cr_assert_eq(got, i, "%u for %u", (unsigned)got, (unsigned)i);
            cr_assert_gt(event->message->sequence, before);
            cr_assert_gt(event->message->time_ms, 0);
            before = event->message->sequence;
        }
        broker_client_event_free(event);
    }
}

static void
expect_end(struct broker_client *client)
{
    struct broker_client_event *event;
    cr_assert_eq(broker_client_next(client, WAIT_MS, &event), BROKER_OK);
    cr_assert_eq(event->kind, BROKER_CLIENT_EVENT_CAUGHT_UP);
    broker_client_event_free(event);
}

static void
publish_number(struct broker_client *client, uint32_t number)
{
    struct broker_client_outgoing message = {
        .topic = "s/a", .payload = &number, .payload_bytes = sizeof number};
    cr_assert_eq(broker_client_publish_acked(
                     client, &message, tally_published_cb, &tally),
        BROKER_OK);
}

static void
publish_numbers(struct broker_client *client, uint32_t from, uint32_t to)
{
    uint32_t number[2];
    for (uint32_t i = from; i < to; i++) {
        if (i % 7 != 0 || i + 1 == to) {
            publish_number(client, i);
            continue;
        }
        number[0] = i++; /* two as a batch */
        number[1] = i;
        struct broker_client_outgoing batch[] = {
            {.topic = "s/a",
                .payload = &number[0],
                .payload_bytes = sizeof number[0]},
            {.topic = "s/b",
                .payload = &number[1],
                .payload_bytes = sizeof number[1]},
        };
        cr_assert_eq(broker_client_publish_batch(
                         client, batch, 2, tally_published_cb, &tally),
            BROKER_OK);
    }
}

/* How many outcomes publish_numbers() has. */
static unsigned
outcomes(uint32_t from, uint32_t to)
{
    unsigned count = 0;
    for (uint32_t i = from; i < to; i++, count++) {
        i += i % 7 == 0 && i + 1 != to;
    }
    return count;
}

/* ---- the basics ---------------------------------------------------------- */

Test(broker_stream, what_is_published_is_read)
{
    struct broker_client *client = client_new();
    add_stream(client);
    struct broker_client_outgoing message = {
        .topic = "s/a", .expects_last = true};
    struct broker_client_published published;
    cr_assert_eq(
        broker_client_publish_wait(client, &message, WAIT_MS, &published),
        BROKER_OK);
    cr_assert_eq(published.level, BROKER_LEVEL_SYNCED);
    cr_assert_str_eq(published.stream, "S");
    uint64_t first = published.sequence;
    cr_assert_eq(
        broker_client_publish_wait(client, &message, WAIT_MS, &published),
        BROKER_E_WRONG_LAST_SEQUENCE);
    cr_assert_eq(published.sequence, first);
    struct broker_client_consume asked = {.filter = "s/a", .end = true};
    struct broker_client_subscribed answer;
    uint32_t id;
    cr_assert_eq(
        broker_client_consume_wait(client, &asked, WAIT_MS, &id, &answer),
        BROKER_OK);
    cr_assert_str_eq(answer.stream, "S");
    cr_assert_eq(answer.last_sequence, first);
    struct broker_client_event *event;
    cr_assert_eq(broker_client_next(client, WAIT_MS, &event), BROKER_OK);
    cr_assert_eq(event->message->sequence, first);
    broker_client_event_free(event);
    expect_end(client);
    leave(client);
}

Test(broker_stream, not_captured_and_no_such_stream)
{
    struct broker_client *client = client_new();
    struct broker_client_outgoing message = {
        .topic = "s/a", .expects_last = true};
    cr_assert_eq(broker_client_publish_wait(client, &message, WAIT_MS, NULL),
        BROKER_E_NOT_CAPTURED);
    struct broker_client_consume asked = {.stream = "S"};
    uint32_t id;
    cr_assert_eq(broker_client_consume_wait(client, &asked, WAIT_MS, &id, NULL),
        BROKER_E_UNKNOWN_STREAM);
    leave(client);
}

/* ---- lines that break ---------------------------------------------------- */

#define CUT_MESSAGES 3000
#define CUT_WINDOW   20

/* Publishes and batches are stored once each and in order, and a reader whose
 * connection is cut again and again sees each of them once. */
Test(broker_stream, stored_and_read_once_over_a_line_that_breaks)
{
    struct proxy proxy;
    struct runner runner;
    char address[128];
    struct broker_client *client = client_new();
    add_stream(client);
    proxy_start(&proxy, daemon_.folder);
    (void)snprintf(address, sizeof address, "unix://%s/proxy", daemon_.folder);
    struct broker_client *publisher = client_at(address);
    runner_start(&runner, publisher);
    /* All that has no answer is sent again on each connection, and these are
     * cut by what is sent as well: so much must fit that an answer comes. */
    unsigned expected = 0;
    for (uint32_t i = 0; i < CUT_MESSAGES; i += CUT_WINDOW) {
        publish_numbers(publisher, i, i + CUT_WINDOW);
        tally_wait(&tally, &tally.published, expected);
        expected += outcomes(i, i + CUT_WINDOW);
    }
    tally_wait(&tally, &tally.published, expected);
    cr_assert_eq(tally.failed, 0);
    struct broker_client_stats stats;
    broker_client_stats(publisher, &stats, sizeof stats);
    cr_assert_gt(stats.connects, 10);
    cr_assert_gt(stats.messages_duplicate, 0);
    runner_stop(&runner);
    broker_client_free(publisher);

    struct broker_client *reader = client_at(address);
    struct broker_client_consume asked = {.stream = "S"};
    (void)consume(reader, &asked);
    expect_all(reader, CUT_MESSAGES);
    broker_client_stats(reader, &stats, sizeof stats);
    cr_assert_gt(stats.connects, 10);
    cr_assert_eq(stats.gaps, 0);
    broker_client_free(reader);
    proxy_stop(&proxy);
    asked.end = true; /* and nothing else was stored */
    (void)consume(client, &asked);
    expect_all(client, CUT_MESSAGES);
    expect_end(client);
    leave(client);
}

/* What was acknowledged is there after the broker was killed, and what was sent
 * again is stored once; the reader goes on. */
Test(broker_stream, a_killed_broker_has_everything_once)
{
    struct broker_client *client = client_new();
    struct broker_client *reader = client_new();
    struct runner runner;
    add_stream(client);
    struct broker_client_consume asked = {.stream = "S"};
    (void)consume(reader, &asked);
    runner_start(&runner, client);
    uint32_t sent = 0;
    for (int round = 0; round < 3; round++, sent += 400) {
        publish_numbers(client, sent, sent + 200);
        daemon_kill(&daemon_);
        publish_numbers(client, sent + 200, sent + 400);
        daemon_restart(&daemon_, NULL);
    }
    expect_all(reader, sent);
    unsigned expected = 0;
    for (uint32_t i = 0; i < sent; i += 200) {
        expected += outcomes(i, i + 200);
    }
    tally_wait(&tally, &tally.published, expected);
    cr_assert_eq(tally.failed, 0);
    runner_stop(&runner);
    struct broker_client *other = client_new();
    asked.end = true;
    (void)consume(other, &asked);
    expect_all(other, sent);
    expect_end(other);
    leave(other);
    leave(reader);
    leave(client);
}

/* ---- a durable consumer -------------------------------------------------- */

#define WORK_MESSAGES 500

static void
expect_floor(struct broker_client *client, const char *expected)
{
    struct broker_client_outgoing request = {.topic = "$sys/consumer/info",
        .payload = "{\"name\":\"work\"}",
        .payload_bytes = strlen("{\"name\":\"work\"}")};
    struct broker_client_event *event = NULL;
    char text[2048] = "";
    cr_assert_eq(broker_client_request_wait(client, &request, WAIT_MS, &event),
        BROKER_OK);
    struct broker_bytes payload = event->message->payload;
    cr_assert_lt(payload.len, sizeof text);
    memcpy(text, payload.data, payload.len);
    broker_client_event_free(event);
    cr_assert_not_null(strstr(text, expected), "%s in %s", expected, text);
}

/* The line breaks again and again, with messages and acknowledgements on the
 * way: every message is worked on, and in the end the broker knows it. */
Test(broker_stream, work_is_done_over_a_line_that_breaks)
{
    static bool seen[WORK_MESSAGES];
    struct proxy proxy;
    struct runner runner;
    char address[128];
    struct broker_client *client = client_new();
    add_stream(client);
    ask(client, "$sys/consumer/add",
        "{\"name\":\"work\",\"stream\":\"S\",\"from\":\"first\"}");
    runner_start(&runner, client);
    for (uint32_t i = 0; i < WORK_MESSAGES; i++) {
        publish_number(client, i);
    }
    tally_wait(&tally, &tally.published, WORK_MESSAGES);
    runner_stop(&runner);

    proxy_start(&proxy, daemon_.folder);
    (void)snprintf(address, sizeof address, "unix://%s/proxy", daemon_.folder);
    struct broker_client *worker = client_at(address);
    struct broker_client_consume asked = {.consumer = "work", .window = 2};
    uint32_t id = consume(worker, &asked);
    for (uint32_t left = WORK_MESSAGES; left > 0;) {
        struct broker_client_event *event;
        uint32_t got;
        cr_assert_eq(broker_client_next(worker, WAIT_MS, &event), BROKER_OK);
        if (event->kind == BROKER_CLIENT_EVENT_MESSAGE) {
            memcpy(&got, event->message->payload.data, sizeof got);
            cr_assert_lt(got, WORK_MESSAGES);
            cr_assert_geq(event->message->deliveries, 1);
            left -= !seen[got];
            seen[got] = true;
            cr_assert_eq(
                broker_client_ack(worker, id, event->message->sequence),
                BROKER_OK);
        }
        broker_client_event_free(event);
    }
    struct broker_client_stats stats;
    broker_client_stats(worker, &stats, sizeof stats);
    cr_assert_gt(stats.connects, 10);
    broker_client_free(worker);
    proxy_stop(&proxy);

    /* What was not said in time comes once more, over a good line. */
    worker = client_new();
    id = consume(worker, &(struct broker_client_consume){.consumer = "work"});
    struct broker_client_event *event;
    while (broker_client_next(worker, 300, &event) == BROKER_OK) {
        if (event->kind == BROKER_CLIENT_EVENT_MESSAGE) {
            cr_assert_gt(event->message->deliveries, 1);
            cr_assert_eq(
                broker_client_ack(worker, id, event->message->sequence),
                BROKER_OK);
        }
        broker_client_event_free(event);
    }
    leave(worker);
    expect_floor(client, "\"floor\":500");
    expect_floor(client, "\"outstanding\":0");
    leave(client);
}
