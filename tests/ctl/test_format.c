/* SPDX-License-Identifier: MIT
 *
 * Format strings, JSON and the other texts made of messages.
 */
#include <criterion/criterion.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "format.h"
#include "message_text.h"
#include "out.h"

#define TEXT_MAX 8192

static uint8_t fields[256];
static char text[TEXT_MAX];
static struct out out;

static struct broker_bytes
bytes(const char *string)
{
    return (struct broker_bytes){(const uint8_t *)string, strlen(string)};
}

/* Two headers with one key, one with bytes that are no text, and a reply. */
static struct broker_message
sample(void)
{
    const struct broker_bytes binary = {(const uint8_t *)"\xff\x00", 2};
    size_t used = 0;

    cr_assert_eq(broker_header_put(
                     fields, sizeof fields, &used, bytes("k"), bytes("one")),
        BROKER_OK);
    cr_assert_eq(broker_header_put(
                     fields, sizeof fields, &used, bytes("k"), bytes("two")),
        BROKER_OK);
    cr_assert_eq(
        broker_header_put(fields, sizeof fields, &used, bytes("bin"), binary),
        BROKER_OK);
    return (struct broker_message){
        .topic = bytes("a/b"),
        .payload = bytes("hi\"\n"),
        .reply_to = bytes("_inbox/1"),
        .fields = {fields, used},
    };
}

/* What stands in the buffer of `out`, which has no descriptor to write to. */
static const char *
written(void)
{
    const size_t len = out_pending(&out);

    cr_assert_lt(len, sizeof text);
    if (len > 0) {
        memcpy(text, out.data + out.start, len);
    }
    text[len] = '\0';
    return text;
}

static const char *
formatted(const char *format_text, const struct broker_message *message)
{
    char why[FORMAT_WHY_MAX] = "";
    struct format format = {0};

    out_fini(&out);
    out_init(&out, -1);
    cr_assert(format_parse(format_text, &format, why), "%s", why);
    format_write(&format, &out, message, 42);
    format_free(&format);
    return written();
}

Test(format, every_letter)
{
    const struct broker_message message = sample();
    char letter;
    const char *meaning;

    cr_assert_str_eq(formatted("%t %p", &message), "a/b hi\"\n");
    cr_assert_str_eq(formatted("%x", &message), "6869220a");
    cr_assert_str_eq(formatted("%b", &message), "aGkiCg==");
    cr_assert_str_eq(formatted("%s", &message), "4");
    cr_assert_str_eq(formatted("%r", &message), "_inbox/1");
    cr_assert_str_eq(formatted("%f", &message), "live");
    cr_assert_str_eq(formatted("%n", &message), "42");
    cr_assert_str_eq(formatted("100%%", &message), "100%");
    cr_assert_str_eq(formatted("%{k}%{none}%{bin}", &message), "one\xff");
    cr_assert_eq(
        strncmp(formatted("%h", &message), "k=one, k=two, bin=", 18), 0);
    cr_assert_eq(strlen(formatted("%T", &message)),
        strlen("2026-01-01T00:00:00.000000Z"));
    cr_assert_eq(formatted("%j", &message)[0], '{');
    for (size_t i = 0; format_letter_at(i, &letter, &meaning); i++) {
        char one[3] = {'%', letter, '\0'};

        (void)formatted(one, &message);
    }
}

Test(format, escapes)
{
    const struct broker_message message = sample();

    cr_assert_str_eq(
        formatted("\\t\\n\\r\\\\\\\"\\x41\\x7a", &message), "\t\n\r\\\"Az");
    cr_assert_str_eq(formatted("\\0", &message), "");
    cr_assert_eq(out_pending(&out), 1);
    cr_assert_str_eq(formatted("\\n%t\\n%t", &message), "\na/b\na/b");
}

Test(format, the_empty_one)
{
    const struct broker_message message = sample();

    cr_assert_str_eq(formatted("", &message), "");
}

Test(format, many_headers_keep_apart)
{
    const struct broker_message message = sample();

    cr_assert_str_eq(formatted("x%{k}y%{k}z%{no}", &message), "xoneyonez");
}

Test(format, nonsense_is_refused)
{
    static const char *const nonsense[] = {"%", "%q", "%{", "%{}", "%{k", "\\",
        "\\q", "\\x", "\\x4", "\\xg0", "a%", "%t\\"};

    for (size_t i = 0; i < sizeof nonsense / sizeof nonsense[0]; i++) {
        char why[FORMAT_WHY_MAX] = "";
        struct format format = {0};

        cr_assert_not(format_parse(nonsense[i], &format, why), "%s was taken",
            nonsense[i]);
        cr_assert_str_not_empty(why);
        cr_assert_null(format.pieces);
    }
}

static const char *
as_json(const struct broker_message *message)
{
    out_fini(&out);
    out_init(&out, -1);
    message_write_json(&out, message);
    return written();
}

Test(json, a_message)
{
    const struct broker_message message = sample();

    cr_assert_str_eq(as_json(&message),
        "{\"topic\":\"a/b\",\"payload\":\"hi\\\"\\n\",\"reply_to\":"
        "\"_inbox/1\",\"retained\":false,\"headers\":[{\"key\":\"k\","
        "\"value\":\"one\"},{\"key\":\"k\",\"value\":\"two\"},{\"key\":"
        "\"bin\",\"value_base64\":\"/wA=\"}]}");
}

Test(json, what_is_no_text_is_base64)
{
    struct broker_message message = {.topic = bytes("t"), .retained = true};

    message.payload = (struct broker_bytes){(const uint8_t *)"a\0b", 3};
    cr_assert_str_eq(as_json(&message),
        "{\"topic\":\"t\",\"payload_base64\":\"YQBi\",\"retained\":true,"
        "\"headers\":[]}");
    message.payload = (struct broker_bytes){NULL, 0};
    cr_assert_str_eq(as_json(&message),
        "{\"topic\":\"t\",\"payload\":\"\",\"retained\":true,"
        "\"headers\":[]}");
}

Test(json, gaps)
{
    static const char *const filters[] = {"a/#", "b"};
    const uint32_t ids[] = {1, 2};
    struct broker_client_gap gap = {
        .reason = BROKER_GAP_OVERFLOW,
        .count = 1000,
        .bytes = 27000,
        .subscriptions = ids,
        .subscription_count = 2,
    };

    out_init(&out, -1);
    message_write_gap_json(&out, &gap, filters);
    cr_assert_str_eq(written(),
        "{\"gap\":1000,\"bytes\":27000,\"reason\":\"overflow\","
        "\"filters\":[\"a/#\",\"b\"]}");
    gap.count = 0;
    gap.subscription_count = 0;
    out_fini(&out);
    out_init(&out, -1);
    message_write_gap_json(&out, &gap, filters);
    cr_assert_eq(strncmp(written(), "{\"gap\":null,", 12), 0);
}

/* RFC 4648 section 10, and every length around the size of a piece. */
Test(base64, lengths)
{
    static const char *const expected[] = {
        "", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"};
    static uint8_t payload[2000];

    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        out_fini(&out);
        out_init(&out, -1);
        message_write_base64(
            &out, (struct broker_bytes){(const uint8_t *)"foobar", i});
        cr_assert_str_eq(written(), expected[i]);
    }
    for (size_t len = 760; len < 1550; len++) {
        out_fini(&out);
        out_init(&out, -1);
        message_write_base64(&out, (struct broker_bytes){payload, len});
        cr_assert_eq(out_pending(&out), (len + 2) / 3 * 4);
        cr_assert_eq(strchr(written(), '=') != NULL, len % 3 != 0);
    }
}

Test(out, a_closed_pipe_is_seen)
{
    int ends[2];

    cr_assert_eq(pipe(ends), 0);
    (void)signal(SIGPIPE, SIG_IGN);
    out_init(&out, ends[1]);
    out_text(&out, "one\n");
    cr_assert(out_drain(&out));
    cr_assert_eq(out_failed(&out), 0);
    close(ends[0]);
    out_text(&out, "two\n");
    cr_assert(out_drain(&out));
    cr_assert_eq(out_failed(&out), EPIPE);
    out_text(&out, "three\n");
    cr_assert_eq(out_pending(&out), 0);
}

/* A full pipe blocks nobody, and nothing is lost or turned round. */
Test(out, a_full_pipe_does_not_block)
{
    enum { LEN = 1000000 };
    static uint8_t data[LEN], got[LEN];
    size_t received = 0;
    int ends[2];

    for (size_t i = 0; i < LEN; i++) {
        data[i] = (uint8_t)(i * 7 + i / 256);
    }
    cr_assert_eq(pipe(ends), 0);
    out_init(&out, ends[1]);
    out_write(&out, data, LEN);
    cr_assert_not(out_drain(&out));
    while (received < LEN) {
        const ssize_t n = read(ends[0], got + received, LEN - received);

        cr_assert_gt(n, 0);
        received += (size_t)n;
        (void)out_drain(&out);
    }
    cr_assert_eq(out_pending(&out), 0);
    cr_assert_eq(memcmp(data, got, LEN), 0);
}

Test(format, what_only_messages_of_streams_have)
{
    struct broker_message message = {.topic = bytes("a")};

    cr_assert_str_eq(formatted("[%Q %S %D]", &message), "[  ]");
    message.sequence = 18446744073709551615u;
    message.time_ms = 1795334400007u;
    cr_assert_str_eq(formatted("[%Q %S %D]", &message),
        "[18446744073709551615 2026-11-22T08:00:00.007Z ]");
    message.sequence = 17;
    message.deliveries = 2;
    cr_assert_str_eq(formatted("%D", &message), "2");
    cr_assert_str_eq(formatted("%j", &message),
        "{\"topic\":\"a\",\"payload\":\"\",\"retained\":false,"
        "\"headers\":[],\"sequence\":17,"
        "\"time\":\"2026-11-22T08:00:00.007Z\",\"deliveries\":2}");
}
