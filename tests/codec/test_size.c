/* SPDX-License-Identifier: MIT
 *
 * What does not fit the wire has size 0 and is not encoded: lengths that
 * overflow a field, the body or a size_t, enums above a byte, undefined flags.
 */
#include <criterion/criterion.h>

#include <stdint.h>
#include <stdlib.h>

#include <broker/codec.h>

static const uint8_t byte = 'x';

/* A view that nothing may read: only its length is looked at. */
static struct broker_bytes
view_of(size_t len)
{
    struct broker_bytes view = {&byte, len};

    return view;
}

/* Lengths that are too much for any part of a body. */
static const size_t huge[] = {BROKER_BODY_BYTES_MAX + (size_t)1, SIZE_MAX,
    SIZE_MAX - 3, SIZE_MAX - 4, SIZE_MAX - 11, SIZE_MAX - 12, SIZE_MAX - 15,
    SIZE_MAX - 16, SIZE_MAX - 27, SIZE_MAX - 28, SIZE_MAX / 2, SIZE_MAX / 4,
    SIZE_MAX / 4 + 1, SIZE_MAX / 4 + 2};
#define HUGE_COUNT (sizeof huge / sizeof huge[0])

/* Size 0 and INVALID_ARGUMENT, with nothing written. */
#define ASSERT_UNFIT(name, m)                                                  \
    do {                                                                       \
        uint8_t dst[64] = {0};                                                 \
        size_t n = 4711;                                                       \
                                                                               \
        cr_assert_eq(broker_##name##_size(m), 0);                              \
        cr_assert_eq(broker_##name##_encode((m), dst, SIZE_MAX, &n),           \
            BROKER_E_INVALID_ARGUMENT);                                        \
        cr_assert_eq(n, 4711);                                                 \
        cr_assert_eq(dst[0], 0);                                               \
    } while (0)

#define FIXED_THEN_FIELDS(name, fixed)                                         \
    Test(size, name##_fields)                                                  \
    {                                                                          \
        struct broker_##name m = {0};                                          \
        size_t room = BROKER_BODY_BYTES_MAX - (fixed);                         \
                                                                               \
        cr_assert_eq(broker_##name##_size(&m), 12 + (fixed));                  \
        m.tlvs = view_of(room);                                                \
        cr_assert_eq(                                                          \
            broker_##name##_size(&m), 12 + (size_t)BROKER_BODY_BYTES_MAX);     \
        m.tlvs = view_of(room + 1);                                            \
        ASSERT_UNFIT(name, &m);                                                \
        for (size_t i = 0; i < HUGE_COUNT; i++) {                              \
            m.tlvs = view_of(huge[i]);                                         \
            ASSERT_UNFIT(name, &m);                                            \
        }                                                                      \
    }

FIXED_THEN_FIELDS(hello, 40)
FIXED_THEN_FIELDS(welcome, 64)
FIXED_THEN_FIELDS(error, 8)
FIXED_THEN_FIELDS(goaway, 8)
FIXED_THEN_FIELDS(notice, 4)
FIXED_THEN_FIELDS(puback, 16)
FIXED_THEN_FIELDS(suback, 8)
FIXED_THEN_FIELDS(unsubscribe, 0)
FIXED_THEN_FIELDS(unsuback, 24)

Test(size, publish)
{
    struct broker_publish m = {.topic = view_of(1)};

    cr_assert_eq(broker_publish_size(&m), 17);
    m.topic = view_of(0);
    ASSERT_UNFIT(publish, &m);
    m.topic = view_of(65535);
    cr_assert_eq(broker_publish_size(&m), 12 + 4 + 65535);
    m.topic = view_of(65536);
    ASSERT_UNFIT(publish, &m);
    m.topic = view_of(1);
    m.headers = view_of(65535);
    cr_assert_eq(broker_publish_size(&m), 12 + 4 + 1 + 65535);
    m.headers = view_of(65536);
    ASSERT_UNFIT(publish, &m);
    m.headers = view_of(65535);
    m.payload = view_of(BROKER_BODY_BYTES_MAX - 4 - 1 - 65535);
    cr_assert_eq(broker_publish_size(&m), 12 + (size_t)BROKER_BODY_BYTES_MAX);
    m.payload.len++;
    ASSERT_UNFIT(publish, &m);
    for (size_t i = 0; i < HUGE_COUNT; i++) {
        struct broker_publish long_topic = {.topic = view_of(huge[i])};
        struct broker_publish long_headers = {
            .topic = view_of(1), .headers = view_of(huge[i])};
        struct broker_publish long_payload = {
            .topic = view_of(1), .payload = view_of(huge[i])};

        ASSERT_UNFIT(publish, &long_topic);
        ASSERT_UNFIT(publish, &long_headers);
        ASSERT_UNFIT(publish, &long_payload);
    }
}

Test(size, subscribe)
{
    struct broker_subscribe m = {.filter = view_of(1)};

    cr_assert_eq(broker_subscribe_size(&m), 21);
    m.filter = view_of(0);
    ASSERT_UNFIT(subscribe, &m);
    m.filter = view_of(65536);
    ASSERT_UNFIT(subscribe, &m);
    m.filter = view_of(65535);
    m.group = view_of(65536);
    ASSERT_UNFIT(subscribe, &m);
    m.group = view_of(65535);
    m.tlvs = view_of(BROKER_BODY_BYTES_MAX - 8 - 2 * 65535);
    cr_assert_eq(broker_subscribe_size(&m), 12 + (size_t)BROKER_BODY_BYTES_MAX);
    m.tlvs.len++;
    ASSERT_UNFIT(subscribe, &m);
    for (size_t i = 0; i < HUGE_COUNT; i++) {
        struct broker_subscribe long_group = {
            .filter = view_of(1), .group = view_of(huge[i])};
        struct broker_subscribe long_fields = {
            .filter = view_of(1), .tlvs = view_of(huge[i])};

        ASSERT_UNFIT(subscribe, &long_group);
        ASSERT_UNFIT(subscribe, &long_fields);
    }
}

Test(size, context)
{
    struct broker_context m = {.ids = {&byte, 0}};

    ASSERT_UNFIT(context, &m);
    m.ids.count = BROKER_BODY_BYTES_MAX / 4;
    cr_assert_eq(broker_context_size(&m), 12 + (size_t)0xFFFFFC);
    m.ids.count++;
    ASSERT_UNFIT(context, &m);
    for (size_t i = 0; i < HUGE_COUNT; i++) {
        m.ids.count = huge[i];
        ASSERT_UNFIT(context, &m);
    }
}

Test(size, gap)
{
    struct broker_gap m = {
        .reason = BROKER_GAP_OVERFLOW, .count = 1, .ids = {&byte, 0}};

    ASSERT_UNFIT(gap, &m);
    m.ids.count = (BROKER_BODY_BYTES_MAX - 20) / 4;
    cr_assert_eq(broker_gap_size(&m), 12 + (size_t)0xFFFFFC);
    m.ids.count++;
    ASSERT_UNFIT(gap, &m);
    for (size_t i = 0; i < HUGE_COUNT; i++) {
        m.ids.count = huge[i];
        ASSERT_UNFIT(gap, &m);
    }
}

Test(size, ping)
{
    struct broker_ping m = {0};

    cr_assert_eq(broker_ping_size(&m), 20);
}

/* The enums of the structs are wider than the bytes of the wire. */
Test(size, enums)
{
    struct broker_puback puback = {.level = (enum broker_level)256};
    struct broker_subscribe subscribe = {
        .filter = view_of(1), .overflow = (enum broker_overflow)256};
    struct broker_suback suback = {.overflow = (enum broker_overflow)0x10001};
    struct broker_gap gap = {
        .reason = (enum broker_gap_reason)256, .ids = {&byte, 1}};
    struct broker_error error = {
        .error_class = (enum broker_error_class)0x7FFFFFFF};

    ASSERT_UNFIT(puback, &puback);
    ASSERT_UNFIT(subscribe, &subscribe);
    ASSERT_UNFIT(suback, &suback);
    ASSERT_UNFIT(gap, &gap);
    ASSERT_UNFIT(error, &error);
}

/* A frame with an undefined structural flag would be refused: none is made.
 * Hints may be sent by whoever knows what they mean. */
Test(size, flags)
{
    for (unsigned bit = 1; bit < 0x10000; bit <<= 1) {
        struct broker_publish publish = {
            .flags = (uint16_t)bit, .topic = view_of(1)};
        struct broker_puback puback = {.flags = (uint16_t)bit};
        struct broker_unsubscribe unsubscribe = {.flags = (uint16_t)bit};
        struct broker_context context = {
            .flags = (uint16_t)bit, .ids = {&byte, 1}};
        bool hint = bit > 0xFF;

        cr_assert_eq(broker_publish_size(&publish) != 0, hint || bit <= 2);
        cr_assert_eq(broker_puback_size(&puback) != 0, hint || bit <= 1);
        cr_assert_eq(
            broker_unsubscribe_size(&unsubscribe) != 0, hint || bit <= 1);
        cr_assert_eq(broker_context_size(&context) != 0, hint || bit <= 1);
    }
}
