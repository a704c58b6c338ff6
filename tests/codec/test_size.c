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
FIXED_THEN_FIELDS(consume_reply, 32)

/* No name of CONSUME may have this length, whatever the others have. */
static void
huge_names(size_t len)
{
    struct broker_consume stream = {
        .start = BROKER_START_FIRST, .stream = view_of(len)};
    struct broker_consume filter = {
        .start = BROKER_START_FIRST, .filter = view_of(len)};
    struct broker_consume both = {.start = BROKER_START_FIRST,
        .stream = view_of(SIZE_MAX - len + 1),
        .filter = view_of(len)};
    struct broker_consume consumer = {.consumer = view_of(len)};

    ASSERT_UNFIT(consume, &stream);
    ASSERT_UNFIT(consume, &filter);
    ASSERT_UNFIT(consume, &both);
    ASSERT_UNFIT(consume, &consumer);
}

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

Test(size, publish_batch)
{
    struct broker_publish_batch m = {.frames = view_of(17)};

    cr_assert_eq(broker_publish_batch_size(&m), 12 + 17);
    m.frames = view_of(16);
    ASSERT_UNFIT(publish_batch, &m);
    m.frames = (struct broker_bytes){NULL, 0};
    ASSERT_UNFIT(publish_batch, &m);
    m.frames = view_of(BROKER_BODY_BYTES_MAX);
    cr_assert_eq(
        broker_publish_batch_size(&m), 12 + (size_t)BROKER_BODY_BYTES_MAX);
    for (size_t i = 0; i < HUGE_COUNT; i++) {
        m.frames = view_of(huge[i]);
        ASSERT_UNFIT(publish_batch, &m);
    }
}

/* What a header check would have refused is refused without one as well. */
Test(size, batch_of_nothing)
{
    struct broker_frame frame = {.type = BROKER_FRAME_PUBLISH_BATCH};
    struct broker_publish_batch m = {.count = 4711};

    cr_assert_eq(broker_publish_batch_decode(&frame, &m), BROKER_E_MALFORMED);
    cr_assert_eq(m.count, 4711);
}

Test(size, consume)
{
    struct broker_consume reader = {
        .start = BROKER_START_FIRST, .stream = view_of(1)};
    struct broker_consume consumer = {.consumer = view_of(1), .window = 1};

    cr_assert_eq(broker_consume_size(&reader), 12 + 20 + 1);
    cr_assert_eq(broker_consume_size(&consumer), 12 + 20 + 1);
    reader.stream = reader.filter = view_of(65535);
    cr_assert_eq(broker_consume_size(&reader), 12 + 20 + 2 * 65535);
    reader.tlvs = view_of(BROKER_BODY_BYTES_MAX - 20 - 2 * 65535);
    cr_assert_eq(
        broker_consume_size(&reader), 12 + (size_t)BROKER_BODY_BYTES_MAX);
    reader.tlvs.len++;
    ASSERT_UNFIT(consume, &reader);
    huge_names(65536);
    for (size_t i = 0; i < HUGE_COUNT; i++) {
        huge_names(huge[i]);
        reader.tlvs = view_of(huge[i]);
        ASSERT_UNFIT(consume, &reader);
    }
}

/* A reader or a consumer, and nothing of the one in the other. */
Test(size, consume_contradictions)
{
    const struct broker_consume bad[] = {
        {.start = BROKER_START_FIRST},
        {.stream = view_of(1)},
        {.stream = view_of(1), .start = (enum broker_start)8},
        {.stream = view_of(1), .start = (enum broker_start)257},
        {.stream = view_of(1), .start = BROKER_START_NEW, .value = 1},
        {.stream = view_of(1), .start = BROKER_START_NEW, .options = 2},
        {.stream = view_of(1), .start = BROKER_START_NEW, .window = 1},
        {.consumer = view_of(1), .start = BROKER_START_LAST},
        {.consumer = view_of(1), .stream = view_of(1)},
        {.consumer = view_of(1), .filter = view_of(1)},
        {.consumer = view_of(1), .options = BROKER_CONSUME_END},
        {.consumer = view_of(1), .value = 1},
    };

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        ASSERT_UNFIT(consume, &bad[i]);
    }
}

Test(size, consume_reply_contradictions)
{
    struct broker_consume_reply window = {.window = 1};
    struct broker_consume_reply ack = {.ack = (enum broker_ack_mode)4};
    struct broker_consume_reply wide = {.ack = (enum broker_ack_mode)257};

    ASSERT_UNFIT(consume_reply, &window);
    ASSERT_UNFIT(consume_reply, &ack);
    ASSERT_UNFIT(consume_reply, &wide);
    window.ack = BROKER_ACK_NONE;
    cr_assert_eq(broker_consume_reply_size(&window), 12 + 32);
}

Test(size, position)
{
    struct broker_position m = {.sequence = 1};

    cr_assert_eq(broker_position_size(&m), 12 + 24);
    m.time_ms = 1;
    ASSERT_UNFIT(position, &m);
    m.time_ms = 0;
    m.deliveries = 1;
    ASSERT_UNFIT(position, &m);
    m.count = 1;
    cr_assert_eq(broker_position_size(&m), 12 + 24);
}

Test(size, settle)
{
    static const uint8_t most_kinds[] = {2, 2, 1};
    const size_t most = (BROKER_BODY_BYTES_MAX - 8) / BROKER_RANGE_BYTES;
    struct broker_settle m = {.kind = 1};

    for (m.type = BROKER_FRAME_ACK; m.type <= BROKER_FRAME_TOUCH; m.type++) {
        m.ranges = (struct broker_ranges){&byte, most};
        cr_assert_eq(broker_settle_size(&m), 12 + 8 + most * 16);
        m.ranges.count++;
        ASSERT_UNFIT(settle, &m);
        for (size_t i = 0; i < HUGE_COUNT; i++) {
            m.ranges.count = huge[i];
            ASSERT_UNFIT(settle, &m);
        }
        m.ranges = (struct broker_ranges){NULL, 0};
        ASSERT_UNFIT(settle, &m);
        m.ranges = (struct broker_ranges){&byte, 1};
        for (unsigned kind = 0; kind < 256; kind++) {
            m.kind = (uint8_t)kind;
            cr_assert_eq(broker_settle_size(&m) != 0,
                kind >= 1 && kind <= most_kinds[m.type - BROKER_FRAME_ACK]);
        }
        m.kind = 1;
        m.delay_ms = 1;
        cr_assert_eq(broker_settle_size(&m) != 0, m.type == BROKER_FRAME_NACK);
        m.delay_ms = 0;
    }
    ASSERT_UNFIT(settle, &m); /* NACK and its neighbours, no others */
    m.type = BROKER_FRAME_ACK - 1;
    ASSERT_UNFIT(settle, &m);
    m = (struct broker_settle){.type = BROKER_FRAME_ACK,
        .kind = BROKER_ACK_UP_TO,
        .ranges = {&byte, 2}};
    ASSERT_UNFIT(settle, &m);
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
        struct broker_publish_batch batch = {
            .flags = (uint16_t)bit, .frames = view_of(17)};
        bool hint = bit > 0xFF;

        cr_assert_eq(broker_publish_size(&publish) != 0, hint || bit <= 2);
        cr_assert_eq(broker_puback_size(&puback) != 0, hint || bit <= 1);
        cr_assert_eq(
            broker_unsubscribe_size(&unsubscribe) != 0, hint || bit <= 1);
        cr_assert_eq(broker_context_size(&context) != 0, hint || bit <= 1);
        cr_assert_eq(broker_publish_batch_size(&batch) != 0, hint || bit == 2);
    }
}
