/* SPDX-License-Identifier: MIT
 *
 * Readers of streams: where they begin, what is refused, what they get and what
 * is said of what is missing. Over a store in memory. PROTOCOL.md section
 * 5.13. */
#include "stream_say.h"

#include "memory_internal.h"
#include "session.h"

#include <criterion/criterion.h>

#define TWO      2
#define WALL_MS  (FAKE_WALL_MS + 1000) /* when the net begins */
#define TEXT_MAX (2 * BROKER_BODY_BYTES_MIN)

/* ---- where it begins ----------------------------------------------------- */

Test(reader, begins_where_it_is_told)
{
    static const struct {
        enum broker_start start;
        uint64_t value;
        uint64_t next;
    } cases[] = {
        {BROKER_START_FIRST, 0, 1},
        {BROKER_START_LAST, 0, 5},
        {BROKER_START_NEW, 0, 6},
        {BROKER_START_SEQUENCE, 3, 3},
        {BROKER_START_SEQUENCE, 0, 1},
        {BROKER_START_SEQUENCE, 9, 9},
        {BROKER_START_COUNT, 2, 4},
        {BROKER_START_COUNT, 0, 6},
        {BROKER_START_COUNT, 100, 1},
        {BROKER_START_TIME, 0, 1},
        {BROKER_START_TIME, WALL_MS + 200, 3},
        {BROKER_START_TIME, WALL_MS + 201, 4},
        {BROKER_START_TIME, WALL_MS + 99999, 6},
        {BROKER_START_AGO, 100, 5},
        {BROKER_START_AGO, 350, 3},
        {BROKER_START_AGO, UINT64_MAX, 1},
    };
    struct rig rig;
    rig_init_spread(&rig, TWO, "", 5);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct fake_peer *peer = stream_peer(&rig, i % 2);
        feed_consume(peer, &(struct broker_consume){.start = cases[i].start,
                               .value = cases[i].value});
        expect_reader(peer, READER, 1, 5, cases[i].next);
        if (cases[i].next <= 5) {
            expect_spread(peer, cases[i].next, 5);
        } else {
            expect_position(peer, READER, cases[i].next, 0);
        }
        expect_nothing(peer);
        fake_drop(peer);
    }
    rig_fini(&rig);
}

Test(reader, begins_in_what_was_trimmed)
{
    struct rig rig;
    rig_init_spread(&rig, TWO, ",\"max_messages\":2", 5);
    struct fake_peer *peer = stream_peer(&rig, 1);
    feed_consume(peer,
        &(struct broker_consume){.start = BROKER_START_COUNT, .value = 4});
    expect_reader(peer, READER, 4, 5, 4);
    feed_unsubscribe(peer, 0);
    fake_take_all(peer);
    peer->decoded_bytes = peer->received_bytes;
    feed_consume(peer,
        &(struct broker_consume){.start = BROKER_START_SEQUENCE, .value = 2});
    expect_reader(peer, READER, 4, 5, 2);
    expect_missing(peer, READER, BROKER_GAP_TRIMMED, 2);
    expect_spread(peer, 4, 5);
    expect_nothing(peer);
    rig_fini(&rig);
}

Test(reader, begins_in_an_empty_stream)
{
    struct rig rig;
    rig_init_spread(&rig, TWO, "", 0);
    struct fake_peer *peer = stream_peer(&rig, 1);
    feed_consume(peer, &(struct broker_consume){.start = BROKER_START_LAST});
    expect_reader(peer, READER, 1, 0, 1);
    expect_position(peer, READER, 1, 0);
    publish_spread(&rig, 2);
    expect_position(peer, READER, 1, 1);
    expect_publish(peer, "s/0", "text");
    expect_position(peer, READER, 2, 1);
    expect_publish(peer, "s/1", "text");
    expect_nothing(peer); /* that it is at the end was said */
    rig_fini(&rig);
}

/* ---- refusals ------------------------------------------------------------ */

Test(reader, what_cannot_be_read_is_refused)
{
    struct rig rig;
    rig_init_spread(&rig, TWO, "", 0);
    have_stream(&rig, "T", "t/#", "");
    struct fake_peer *peer = stream_peer(&rig, 1);
    struct broker_consume consume = {
        .start = BROKER_START_FIRST, .stream = say_text("NO")};
    feed_consume(peer, &consume);
    expect_error(peer, BROKER_E_UNKNOWN_STREAM, READER, BROKER_FRAME_CONSUME);
    consume.stream = say_text(NULL);
    consume.filter = say_text("elsewhere");
    feed_consume(peer, &consume);
    expect_error(peer, BROKER_E_UNKNOWN_STREAM, READER, BROKER_FRAME_CONSUME);
    consume.filter = say_text("+/x");
    feed_consume(peer, &consume);
    expect_error(peer, BROKER_E_AMBIGUOUS_STREAM, READER, BROKER_FRAME_CONSUME);
    consume.filter = say_text("a/#/b");
    feed_consume(peer, &consume);
    expect_error(peer, BROKER_E_BAD_FILTER, READER, BROKER_FRAME_CONSUME);
    consume.filter = say_text("t/x");
    feed_consume(peer, &consume);
    expect_reader(peer, READER, 1, 0, 1);
    expect_position(peer, READER, 1, 0);
    feed_consume(peer, &consume);
    expect_error(
        peer, BROKER_E_DUPLICATE_SUBSCRIPTION, READER, BROKER_FRAME_CONSUME);
    expect_nothing(peer);
    rig_fini(&rig);
}

Test(reader, there_is_none_without_a_store)
{
    struct fake_net net;
    expect_net(&net);
    struct fake_peer *peer = expect_open(&net);
    feed_consume(peer, &(struct broker_consume){.start = BROKER_START_FIRST});
    expect_error(peer, BROKER_E_NO_STORE, READER, BROKER_FRAME_CONSUME);
    expect_nothing(peer);
    fake_net_fini(&net);
}

Test(reader, nonsense_ends_the_connection)
{
    for (int i = 0; i < 2; i++) {
        uint16_t type = i == 0 ? BROKER_FRAME_CONSUME : BROKER_FRAME_ACK;
        struct rig rig;
        struct say say = {0};
        rig_init_spread(&rig, TWO, "", 0);
        struct fake_peer *peer = stream_peer(&rig, 0);
        say_frame(&say, type, 0, READER, 20);
        expect_fed(peer, &say);
        expect_error(peer, BROKER_E_MALFORMED, READER, type);
        expect_goaway(peer, BROKER_E_MALFORMED);
        rig_fini(&rig);
    }
}

Test(reader, nothing_of_it_is_acknowledged)
{
    struct rig rig;
    struct say say = {0};
    uint8_t range[16];
    uint8_t frame[64];
    size_t bytes;
    rig_init_spread(&rig, TWO, "", 1);
    struct fake_peer *peer = stream_peer(&rig, 1);
    feed_consume(peer, &(struct broker_consume){.start = BROKER_START_NEW});
    expect_reader(peer, READER, 1, 1, 2);
    expect_position(peer, READER, 2, 0);
    broker_ranges_set(range, 0, 1, 1);
    for (uint32_t id = READER; id < READER + 2; id++) {
        struct broker_settle settle = {.type = BROKER_FRAME_ACK,
            .kind = BROKER_ACK_THESE,
            .id = id,
            .ranges = {range, 1}};
        cr_assert_eq(broker_settle_encode(&settle, frame, sizeof frame, &bytes),
            BROKER_OK);
        say_bytes(&say, frame, bytes);
        expect_fed(peer, &say);
        expect_error(peer, BROKER_E_UNKNOWN_SUBSCRIPTION, id, BROKER_FRAME_ACK);
    }
    expect_nothing(peer);
    rig_fini(&rig);
}

/* ---- what it gets -------------------------------------------------------- */

Test(reader, gets_what_its_filter_matches)
{
    struct rig rig;
    rig_init_spread(&rig, TWO, "", 5);
    struct fake_peer *peer = stream_peer(&rig, 1);
    feed_consume(peer, &(struct broker_consume){.start = BROKER_START_FIRST,
                           .filter = say_text("s/1")});
    expect_reader(peer, READER, 1, 5, 1);
    for (uint64_t seq = 2; seq < 5; seq += 2) {
        expect_position(peer, READER, seq, 1);
        expect_publish(peer, "s/1", "text");
    }
    expect_position(peer, READER, 6, 0);
    expect_nothing(peer);
    rig_fini(&rig);
}

/* Consecutive ones of one time have one position. */
Test(reader, gets_runs_in_one_piece)
{
    struct rig rig;
    struct say say = {0};
    rig_init_spread(&rig, TWO, "", 0);
    struct fake_peer *peer = stream_peer(&rig, 1);
    say_publish(&say, 1, "s/0", "a");
    say_publish(&say, 2, "s/0", "b");
    say_publish(&say, 3, "s/1", "c");
    expect_fed(peer, &say);
    fake_take_all(peer);
    peer->decoded_bytes = peer->received_bytes;
    feed_consume(peer, &(struct broker_consume){.start = BROKER_START_FIRST});
    expect_reader(peer, READER, 1, 3, 1);
    expect_position(peer, READER, 1, 3);
    expect_publish(peer, "s/0", "a");
    expect_publish(peer, "s/0", "b");
    expect_publish(peer, "s/1", "c");
    expect_position(peer, READER, 4, 0);
    rig_fini(&rig);
}

Test(reader, hears_of_gaps_in_sequences_nothing)
{
    struct rig rig;
    rig_init(&rig, TWO);
    memory_of(rig.store)->options.gap_percent = 60;
    have_stream(&rig, "S", "s/#", "");
    rig_publish(rig_open(&rig.net, 0), "s/0", 1);
    for (int i = 0; i < 20; i++) {
        rig_publish(rig_open(&rig.net, 0), "s/0", 1);
        fake_drop(rig.net.peers);
    }
    struct fake_peer *peer = stream_peer(&rig, 1);
    feed_consume(peer, &(struct broker_consume){.start = BROKER_START_FIRST,
                           .options = BROKER_CONSUME_END});
    struct broker_frame frame;
    uint32_t messages = 0;
    uint64_t last = 0;
    bool gaps = false;
    (void)expect_frame(peer, BROKER_FRAME_CONSUME_REPLY);
    while (fake_next(peer, &frame) && frame.type != BROKER_FRAME_UNSUBACK) {
        struct broker_position position;
        cr_assert_neq(frame.type, BROKER_FRAME_GAP);
        messages += frame.type == BROKER_FRAME_PUBLISH ? 1 : 0;
        if (frame.type == BROKER_FRAME_POSITION) {
            cr_assert_eq(broker_position_decode(&frame, &position), BROKER_OK);
            cr_assert_gt(position.sequence, last);
            gaps = gaps || (last != 0 && position.sequence > last + 1);
            last = position.sequence;
        }
    }
    cr_assert_eq(messages, 21);
    cr_assert(gaps);
    rig_fini(&rig);
}

Test(reader, hears_what_has_expired)
{
    struct rig rig;
    struct say say = {0};
    struct say_field message = {.id = 1,
        .tag = BROKER_TAG_TTL_MS,
        .value = 1000,
        .topic = "s/0",
        .payload = "text"};
    rig_init_spread(&rig, TWO, "", 0);
    struct fake_peer *peer = stream_peer(&rig, 1);
    say_with_field(&say, &message);
    message.id = 2;
    say_with_field(&say, &message);
    message.id = 3;
    message.value = 5000;
    say_with_field(&say, &message);
    say_publish(&say, 4, "s/1", "text");
    say_message(&say,
        &(struct say_message){.id = 5, .topic = "s/0", .reply_to = "inbox"});
    expect_fed(peer, &say);
    (void)fake_advance(&rig.net, 1001);
    fake_take_all(peer);
    peer->decoded_bytes = peer->received_bytes;
    feed_consume(peer, &(struct broker_consume){.start = BROKER_START_FIRST});
    expect_reader(peer, READER, 1, 5, 1);
    expect_missing(peer, READER, BROKER_GAP_EXPIRED, 2);
    expect_position(peer, READER, 3, 3);
    expect_publish(peer, "s/0", "text");
    expect_publish(peer, "s/1", "text");
    expect_publish(peer, "s/0", "");
    expect_position(peer, READER, 6, 0);
    expect_nothing(peer);
    feed_unsubscribe(peer, 0);
    expect_unsuback(peer, READER, 5, 3, 2);
    rig_fini(&rig);
}

Test(reader, hears_what_is_too_large_for_it)
{
    static const char long_text[TEXT_MAX] = "long";
    struct rig rig;
    struct say say = {0};
    rig_init_spread(&rig, TWO, "", 1);
    struct fake_peer *publisher = stream_peer(&rig, 0);
    say_message(&say, &(struct say_message){.id = 1,
                          .topic = "s/1",
                          .payload = long_text,
                          .payload_bytes = sizeof long_text});
    expect_fed(publisher, &say);
    struct broker_hello hello = say_hello_default;
    hello.features = BROKER_FEATURE_STREAMS;
    hello.max_body_bytes = BROKER_BODY_BYTES_MIN;
    struct fake_peer *peer = expect_open_at(&rig.net, 1, &hello);
    feed_consume(peer, &(struct broker_consume){.start = BROKER_START_FIRST});
    expect_reader(peer, READER, 1, 2, 1);
    expect_position(peer, READER, 1, 1);
    expect_publish(peer, "s/0", "text");
    expect_missing(peer, READER, BROKER_GAP_TOO_LARGE, 1);
    expect_position(peer, READER, 3, 0);
    expect_nothing(peer);
    rig_fini(&rig);
}

/* Its records go faster than it reads. */
Test(reader, hears_what_a_limit_took)
{
    struct rig rig;
    rig_init_spread(&rig, TWO, "", 6);
    struct fake_peer *peer = stream_peer(&rig, 1);
    ask_stream(&rig, "purge", "{\"name\":\"S\",\"before\":5}");
    feed_consume(peer,
        &(struct broker_consume){.start = BROKER_START_SEQUENCE, .value = 2});
    expect_reader(peer, READER, 5, 6, 2);
    expect_missing(peer, READER, BROKER_GAP_TRIMMED, 3);
    expect_spread(peer, 5, 6);
    ask_stream(&rig, "purge", "{\"name\":\"S\"}");
    struct fake_peer *late = stream_peer(&rig, 1);
    feed_consume(late,
        &(struct broker_consume){.start = BROKER_START_SEQUENCE, .value = 6});
    expect_reader(late, READER, 7, 6, 6);
    expect_missing(late, READER, BROKER_GAP_TRIMMED, 1);
    expect_position(late, READER, 7, 0);
    expect_nothing(late);
    rig_fini(&rig);
}
