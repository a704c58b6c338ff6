/* SPDX-License-Identifier: MIT
 *
 * Requests under $sys/consumer/ as JSON. PROTOCOL.md section 5.14. */
#include "consumer_json.h"

#include "say.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <string.h>

static const struct broker_limits limits = BROKER_LIMITS_DEFAULT;

/* What was wrong with it, or "". */
static const char *
read_text(const char *text, struct admin_consumer *out)
{
    static struct admin_request request;
    static json_t *before; /* what was read is views into it */
    json_decref(before);
    bool ok =
        admin_request_read(&request, say_text(text), admin_consumer_add_keys) &&
        admin_consumer_read(&request, &limits, out);
    before = request.json;
    cr_assert_eq(ok, request.why[0] == '\0');
    return request.why;
}

Test(consumer_json, what_is_absent_is_as_usual)
{
    struct admin_consumer c;
    cr_assert_str_eq(read_text("{\"name\":\"C\",\"stream\":\"S\"}", &c), "");
    cr_assert_eq(c.start.kind, BROKER_START_FIRST);
    cr_assert_eq(c.settings.mode, CONSUMER_ACK_EACH);
    cr_assert_eq(c.settings.window, 1000);
    cr_assert_eq(c.settings.ack_deadline_ms, 30000);
    cr_assert_eq(c.settings.filter.len, 0);
    cr_assert_str_eq(
        read_text("{\"name\":\"C\",\"stream\":\"S\",\"ack\":\"none\"}", &c),
        "");
    cr_assert_eq(c.settings.ack_deadline_ms, 0);
}

Test(consumer_json, everything_is_read)
{
    struct admin_consumer c;
    const char *why = read_text(
        "{\"name\":\"C\",\"stream\":\"S\",\"filter\":\"a/+\",\"from\":"
        "{\"ago_ms\":60000},\"ack\":\"cumulative\",\"window\":7,"
        "\"ack_wait_ms\":0,\"backoff_ms\":[10,20],\"max_deliveries\":3,"
        "\"dead_letter\":\"dead\"}",
        &c);
    cr_assert_str_eq(why, "");
    cr_assert_eq(c.start.kind, BROKER_START_AGO);
    cr_assert_eq(c.start.value, 60000);
    cr_assert_eq(c.settings.mode, CONSUMER_ACK_CUMULATIVE);
    cr_assert_eq(c.settings.window, 7);
    cr_assert_eq(c.settings.ack_deadline_ms, 0);
    cr_assert_eq(c.settings.backoff_count, 2);
    cr_assert_eq(c.settings.backoff_ms[1], 20);
    cr_assert_eq(c.settings.max_deliveries, 3);
    cr_assert_eq(memcmp(c.settings.filter.bytes, "a/+", 3), 0);
    cr_assert_eq(memcmp(c.settings.dead_topic.bytes, "dead", 4), 0);
}

Test(consumer_json, what_is_wrong_is_named)
{
    static const struct {
        const char *more, *why;
    } cases[] = {
        {"\"from\":\"middle\"", "from: "},
        {"\"from\":{\"sequence\":0}", "from: "},
        {"\"from\":{\"sequence\":1,\"last\":1}", "from: "},
        {"\"from\":7", "from: "},
        {"\"ack\":\"some\"", "ack: "},
        {"\"ack\":\"none\",\"max_deliveries\":1", "ack: "},
        {"\"window\":0", "window: "},
        {"\"window\":65537", "window: "},
        {"\"ack_wait_ms\":2592000001", "ack_wait_ms: "},
        {"\"backoff_ms\":5", "backoff_ms: "},
        {"\"backoff_ms\":[-1]", "backoff_ms: "},
        {"\"backoff_ms\":[0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0]", "backoff_ms: "},
        {"\"max_deliveries\":1000001", "max_deliveries: "},
        {"\"filter\":\"a/#/b\"", "filter: "},
        {"\"filter\":1", "filter: "},
        {"\"dead_letter\":\"$sys/x\"", "dead_letter: "},
        {"\"dead_letter\":\"a/+\"", "dead_letter: "},
        {"\"speed\":1", "speed: "},
    };
    struct admin_consumer c;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[200];
        snprintf(text, sizeof text, "{\"name\":\"C\",\"stream\":\"S\",%s}",
            cases[i].more);
        const char *why = read_text(text, &c);
        cr_assert_eq(strncmp(why, cases[i].why, strlen(cases[i].why)), 0,
            "%s: %s", text, why);
    }
}

Test(consumer_json, a_consumer_has_what_the_protocol_says)
{
    static const char *const keys[] = {"name", "stream", "filter", "ack",
        "window", "ack_wait_ms", "backoff_ms", "max_deliveries", "dead_letter",
        "floor", "next", "outstanding", "waiting", "connections", "delivered",
        "redelivered", "acknowledged", "returned", "timed_out", "dead_lettered",
        "expired", "trimmed"};
    struct admin_consumer c;
    (void)read_text("{\"name\":\"C\",\"stream\":\"S\"}", &c);
    struct consumer_info info = {.floor = 5, .next = 9, .waiting = 1};
    info.fetching = 2;
    info.count[CONSUMER_SKIPPED + CONSUMER_SKIP_GONE] = 3;
    info.count[CONSUMER_GONE + CONSUMER_SKIP_GONE] = 4;
    json_t *row = admin_consumer_row(c.name, c.stream, &c.settings, &info);
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        cr_assert_not_null(json_object_get(row, keys[i]), "%s", keys[i]);
    }
    cr_assert_eq(json_integer_value(json_object_get(row, "waiting")), 3);
    cr_assert_eq(json_integer_value(json_object_get(row, "trimmed")), 7);
    json_decref(row);
}

Test(consumer_json, every_reason_has_a_word_and_a_text)
{
    for (int why = 0; why <= CONSUMER_WHY_READING; why++) {
        struct consumer_reason reason = {.why = (enum consumer_why)why,
            .sequence = UINT64_MAX,
            .messages = UINT64_MAX,
            .limit = UINT64_MAX,
            .for_ms = UINT64_MAX,
            .in_ms = UINT64_MAX};
        json_t *row = admin_consumer_reason(&reason, UINT64_MAX);
        const char *text = json_string_value(json_object_get(row, "text"));
        cr_assert_gt(
            strlen(json_string_value(json_object_get(row, "reason"))), 0);
        cr_assert_gt(strlen(text), 0);
        cr_assert_lt(strlen(text), 199, "%s", text);
        json_decref(row);
    }
}
