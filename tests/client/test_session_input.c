/* SPDX-License-Identifier: MIT
 *
 * What the session makes of its input, however it is cut, and of input that
 * breaks the protocol.
 */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "fake_broker.h"

#define BUFFER ((size_t)1 << 20)

TestSuite(input, .timeout = 60);

static struct fake *
open_fake(void)
{
    struct fake *fake = fake_new(BUFFER, BUFFER);
    fake_open(fake, 0);
    return fake;
}

/* ---- a conversation, cut everywhere -------------------------------------- */

struct script {
    uint8_t bytes[4096];
    size_t size;
};

static void
append(struct script *script, enum broker_status status, size_t n)
{
    cr_assert_eq(status, BROKER_OK);
    script->size += n;
}

#define APPEND(script, name, ...)                                              \
    do {                                                                       \
        struct broker_##name message = __VA_ARGS__;                            \
        size_t n = 0;                                                          \
        enum broker_status status =                                            \
            broker_##name##_encode(&message, (script)->bytes + (script)->size, \
                sizeof((script)->bytes) - (script)->size, &n);                 \
        append(script, status, n);                                             \
    } while (0)

/* One frame of every kind that a broker sends in OPEN. */
static void
write_script(struct script *script)
{
    uint8_t id[4];
    broker_ids_set(id, 0, 1);
    APPEND(script, suback, {.id = 1, .overflow = BROKER_OVERFLOW_DROP_OLDEST});
    APPEND(script, puback, {.id = 1, .level = BROKER_LEVEL_ROUTED, .count = 1});
    APPEND(script, context, {.ids = {id, 1}});
    APPEND(script, publish, {.topic = {(const uint8_t *)"a", 1}});
    APPEND(script, publish,
        {.topic = {(const uint8_t *)"a/b", 3},
            .payload = {(const uint8_t *)"payload", 7}});
    APPEND(script, gap,
        {.reason = BROKER_GAP_OVERFLOW, .count = 2, .ids = {id, 1}});
    APPEND(script, ping, {.id = 5});
    APPEND(script, notice, {.code = BROKER_E_QUEUE_HIGH});
    APPEND(script, error,
        {.id = 2,
            .code = BROKER_E_MEMORY,
            .frame_type = BROKER_FRAME_PUBLISH,
            .error_class = BROKER_CLASS_REQUEST});
    APPEND(script, publish, {.topic = {(const uint8_t *)"a/c", 3}});
    APPEND(script, unsuback, {.id = 1});
}

static void
check_script(const struct script *script, size_t first, size_t step)
{
    static const enum fake_call_kind expected[] = {FAKE_SUBSCRIBED,
        FAKE_PUBLISHED, FAKE_MESSAGE, FAKE_MESSAGE, FAKE_GAP, FAKE_NOTICE,
        FAKE_PUBLISHED, FAKE_MESSAGE};
    struct fake *fake = open_fake();
    cr_assert_eq(fake_subscribe(fake, "#"), 1);
    cr_assert_eq(fake_publish(fake, "x", "1", true), BROKER_OK);
    cr_assert_eq(fake_publish(fake, "x", "2", true), BROKER_OK);
    cr_assert_eq(
        session_unsubscribe(&fake->session, 1, true, NULL, NULL), BROKER_OK);
    fake_write(fake, SIZE_MAX);
    cr_assert_eq(fake_feed_slowly(fake, script->bytes, first, step), BROKER_OK);
    cr_assert_eq(fake_feed_slowly(
                     fake, script->bytes + first, script->size - first, step),
        BROKER_OK);
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        const struct fake_call *call = fake_call(fake);
        cr_assert_not_null(call, "cut at %zu, step %zu", first, step);
        cr_assert_eq(call->kind, expected[i], "call %zu, cut at %zu, step %zu",
            i, first, step);
    }
    cr_assert_null(fake_call(fake));
    cr_assert_null(fake->session.subscriptions.first);
    fake_free(fake);
}

Test(input, whole_byte_by_byte_and_cut_at_each_offset)
{
    static struct script script;
    write_script(&script);
    check_script(&script, 0, SIZE_MAX);
    for (size_t step = 1; step < 40; step++) {
        check_script(&script, 0, step);
    }
    for (size_t cut = 1; cut < script.size; cut++) {
        check_script(&script, cut, SIZE_MAX);
    }
}

Test(input, a_large_frame_grows_the_buffer_as_it_comes)
{
    struct fake *fake = open_fake();
    uint32_t id = fake_subscribe(fake, "a");
    cr_assert_eq(fake_suback(fake, id), BROKER_OK);
    cr_assert_eq(fake_context(fake, &id, 1, 0), BROKER_OK);
    size_t body = (size_t)5 << 20, n = 0;
    uint8_t *payload = calloc(1, body);
    uint8_t *frame = malloc(body + 64);
    struct broker_publish publish = {
        .topic = {(const uint8_t *)"a", 1}, .payload = {payload, body}};
    cr_assert_eq(
        broker_publish_encode(&publish, frame, body + 64, &n), BROKER_OK);
    /* The header alone costs nothing. */
    cr_assert_eq(fake_feed(fake, frame, 100), BROKER_OK);
    cr_assert_leq(fake->session.receive.capacity, (size_t)512 << 10);
    cr_assert_eq(fake_feed(fake, frame + 100, n - 100), BROKER_OK);
    cr_assert_eq(fake->session.stats.messages_received, 1);
    /* And the memory is given back. */
    cr_assert_eq(fake_message(fake, "a", "x"), BROKER_OK);
    cr_assert_leq(fake->session.receive.capacity, (size_t)512 << 10);
    free(payload);
    free(frame);
    fake_free(fake);
}

/* ---- broken input -------------------------------------------------------- */

static void
expect_end(const uint8_t *bytes, size_t n, enum broker_status expected)
{
    struct fake *fake = open_fake();
    cr_assert_eq(fake_feed(fake, bytes, n), expected);
    cr_assert_eq(fake->session.end_status, expected);
    cr_assert_neq(fake->session.error_text[0], '\0');
    fake_free(fake);
}

#define EXPECT_END(expected, ...)                                              \
    do {                                                                       \
        const uint8_t bytes[] = __VA_ARGS__;                                   \
        expect_end(bytes, sizeof bytes, expected);                             \
    } while (0)

Test(input, bytes_that_break_the_protocol_end_the_connection)
{
    EXPECT_END(BROKER_E_BAD_START, {0xff});
    EXPECT_END(
        BROKER_E_UNSUPPORTED_TYPE, {0, 0, 0, 0, 0x10, 0, 0, 0, 0, 0, 0, 0});
    EXPECT_END(BROKER_E_BAD_FLAGS, {0, 0, 0, 8, 0, 5, 0, 1, 0, 0, 0, 0});
    EXPECT_END(BROKER_E_MALFORMED, {0, 0, 0, 7, 0, 5, 0, 0, 0, 0, 0, 0});
    /* Frames of a client. */
    EXPECT_END(
        BROKER_E_UNEXPECTED_FRAME, {0, 0, 0, 0, 0, 0x22, 0, 0, 0, 0, 0, 1});
    /* A second WELCOME has no place; too short, it is malformed. */
    EXPECT_END(BROKER_E_MALFORMED, {0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 1});
    /* A message before its context. */
    EXPECT_END(BROKER_E_UNEXPECTED_FRAME,
        {0, 0, 0, 5, 0, 0x10, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 'a'});
    /* Contexts and gaps with ids that were never given out. */
    EXPECT_END(BROKER_E_MALFORMED,
        {0, 0, 0, 4, 0, 0x24, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9});
    EXPECT_END(BROKER_E_MALFORMED,
        {0, 0, 0, 24, 0, 0x25, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0,
            0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 9});
    /* Answers to what was never asked. */
    EXPECT_END(
        BROKER_E_MALFORMED, {0, 0, 0, 16, 0, 0x11, 0, 0, 0, 0, 0, 1, 1, 0, 0, 0,
                                0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0});
    EXPECT_END(BROKER_E_MALFORMED,
        {0, 0, 0, 8, 0, 0x21, 0, 0, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0});
}

Test(input, skippable_types_that_are_not_known_are_skipped)
{
    static const uint8_t unknown[] = {
        0, 0, 0, 3, 0xF0, 1, 0, 0xff, 0, 0, 0, 0, 1, 2, 3};
    struct fake *fake = open_fake();
    cr_assert_eq(fake_feed(fake, unknown, sizeof unknown), BROKER_OK);
    fake_free(fake);
}

Test(input, a_puback_for_what_was_not_written_is_a_lie)
{
    struct fake *fake = open_fake();
    cr_assert_eq(fake_publish(fake, "a", "x", true), BROKER_OK);
    cr_assert_eq(fake_puback(fake, 1, 1, 1), BROKER_E_MALFORMED);
    cr_assert_null(fake_call(fake));
    fake_free(fake);
}

Test(input, a_puback_for_more_than_there_is_is_a_lie)
{
    struct fake *fake = open_fake();
    cr_assert_eq(fake_publish(fake, "a", "x", true), BROKER_OK);
    fake_write(fake, SIZE_MAX);
    cr_assert_eq(fake_puback(fake, 1, 2, 1), BROKER_E_MALFORMED);
    fake_free(fake);
}

Test(input, a_context_cannot_multiply_callbacks)
{
    struct fake *fake = open_fake();
    uint32_t id = fake_subscribe(fake, "a");
    uint32_t many[] = {id, id, id, id};
    cr_assert_eq(fake_suback(fake, id), BROKER_OK);
    cr_assert_eq(fake_context(fake, many, 4, 0), BROKER_E_MALFORMED);
    fake_free(fake);
}

Test(input, a_message_with_an_unknown_critical_field_is_a_gap)
{
    static const uint8_t message[] = {0, 0, 0, 9, 0, 0x10, 0, 0, 0, 0, 0, 0, 0,
        1, 0, 4, 'a', 0xF0, 0x01, 0, 0};
    struct fake *fake = open_fake();
    uint32_t id = fake_subscribe(fake, "a");
    cr_assert_eq(fake_suback(fake, id), BROKER_OK);
    cr_assert_eq(fake_context(fake, &id, 1, 0), BROKER_OK);
    (void)fake_call(fake);
    cr_assert_eq(fake_feed(fake, message, sizeof message), BROKER_OK);
    const struct fake_call *call = fake_call(fake);
    cr_assert_eq(call->kind, FAKE_GAP);
    cr_assert_eq(call->reason, BROKER_CLIENT_GAP_UNREADABLE);
    cr_assert_eq(call->count, 1);
    fake_free(fake);
}

Test(input, a_topic_of_the_broker_is_checked)
{
    static const uint8_t message[] = {
        0, 0, 0, 6, 0, 0x10, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0xC3, 0x28};
    struct fake *fake = open_fake();
    uint32_t id = fake_subscribe(fake, "a");
    cr_assert_eq(fake_suback(fake, id), BROKER_OK);
    cr_assert_eq(fake_context(fake, &id, 1, 0), BROKER_OK);
    cr_assert_eq(fake_feed(fake, message, sizeof message), BROKER_E_MALFORMED);
    fake_free(fake);
}

Test(input, codes_that_would_read_as_success_do_not)
{
    struct fake *fake = open_fake();
    cr_assert_eq(fake_publish(fake, "a", "x", true), BROKER_OK);
    fake_write(fake, SIZE_MAX);
    uint8_t error[] = {
        0, 0, 0, 8, 0, 4, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0x10, 1, 0, 0, 0};
    enum broker_status status = fake_feed(fake, error, sizeof error);
    if (status == BROKER_OK) {
        cr_assert_eq(fake_call(fake)->status, BROKER_E_INTERNAL);
    } else {
        cr_assert_eq(status, BROKER_E_MALFORMED);
    }
    fake_free(fake);
}
