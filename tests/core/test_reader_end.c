/* SPDX-License-Identifier: MIT
 *
 * Readers of streams: failing reads, slow peers, how they end, and who may
 * read. Over a store in memory, whose answers some tests change on their way.
 * PROTOCOL.md section 5.13. */
#include "stream_say.h"

#include "rights.h"
#include "session.h"

#include <criterion/criterion.h>

#include <string.h>

#define TWO     2
#define WALL_MS (FAKE_WALL_MS + 1000) /* when the net begins */

/* ---- a store whose answers change ---------------------------------------- */

/* What a read of the store says instead: an answer at once, or in its batch. */
static struct tap {
    enum store_status call; /* STORE_OK: it is passed on */
    struct store_batch batch;
    bool drops_second_run;
    uint32_t times; /* left */
    const struct store_operations *real;
    struct store_operations changed;
    store_read_done *done;
    void *arg;
} tap;

static void
on_tapped(void *arg, const struct store_batch *batch)
{
    struct store_run runs[8];
    struct store_batch changed = *batch;
    (void)arg;
    changed.status = tap.batch.status;
    changed.damaged = tap.batch.damaged;
    if (changed.status != STORE_OK) {
        changed.run_count = 0;
    } else if (tap.drops_second_run) {
        cr_assert_geq(batch->run_count, 3);
        memcpy(runs, batch->runs, batch->run_count * sizeof *runs);
        changed.run_count--;
        memmove(runs + 1, runs + 2, (changed.run_count - 1) * sizeof *runs);
        changed.runs = runs;
    }
    tap.done(tap.arg, &changed);
}

static enum store_status
tapped_read(struct store_port *port, uint32_t stream, uint64_t from,
    size_t max_bytes, bool follow, store_read_done *done, void *arg)
{
    if (tap.times == 0) {
        return tap.real->read(port, stream, from, max_bytes, follow, done, arg);
    }
    tap.times--;
    if (tap.call != STORE_OK) {
        return tap.call;
    }
    tap.done = done;
    tap.arg = arg;
    return tap.real->read(
        port, stream, from, max_bytes, follow, on_tapped, arg);
}

static enum store_status
tapped_seek(struct store_port *port, uint32_t stream, uint64_t time_ms,
    store_read_done *done, void *arg)
{
    if (tap.times == 0) {
        return tap.real->seek_time(port, stream, time_ms, done, arg);
    }
    tap.times--;
    if (tap.call != STORE_OK) {
        return tap.call;
    }
    tap.done = done;
    tap.arg = arg;
    return tap.real->seek_time(port, stream, time_ms, on_tapped, arg);
}

/* For the worker's next so many reads. */
static void
set_tap(struct rig *rig, uint32_t worker, const struct tap *wanted)
{
    struct store_port *port = rig->net.ports[worker].port;
    const struct store_operations *real =
        tap.real == NULL ? port->operations : tap.real;
    tap = *wanted;
    tap.real = real;
    tap.changed = *real;
    tap.changed.read = tapped_read;
    tap.changed.seek_time = tapped_seek;
    port->operations = &tap.changed;
}

Test(reader, hears_what_is_damaged)
{
    struct rig rig;
    rig_init_spread(&rig, TWO, "", 4);
    struct fake_peer *peer = stream_peer(&rig, 1);
    set_tap(&rig, 1,
        &(struct tap){
            .times = 1, .drops_second_run = true, .batch = {.damaged = 1}});
    feed_consume(peer, &(struct broker_consume){.start = BROKER_START_FIRST});
    expect_reader(peer, READER, 1, 4, 1);
    expect_position(peer, READER, 1, 1);
    expect_publish(peer, "s/0", "text");
    expect_missing(peer, READER, BROKER_GAP_DAMAGED, 1);
    expect_spread(peer, 3, 4);
    set_tap(&rig, 1, /* as many as are missing there, and one more */
        &(struct tap){
            .times = 1, .drops_second_run = true, .batch = {.damaged = 2}});
    struct fake_peer *other = stream_peer(&rig, 1);
    feed_consume(other, &(struct broker_consume){.start = BROKER_START_FIRST});
    expect_reader(other, READER, 1, 4, 1);
    expect_position(other, READER, 1, 1);
    expect_publish(other, "s/0", "text");
    expect_missing(other, READER, BROKER_GAP_DAMAGED, 1);
    expect_position(other, READER, 3, 1);
    expect_publish(other, "s/0", "text");
    expect_position(other, READER, 4, 1);
    expect_publish(other, "s/1", "text");
    expect_missing(other, READER, BROKER_GAP_DAMAGED, 1);
    expect_position(other, READER, 5, 0);
    rig_fini(&rig);
}

Test(reader, tries_again_when_memory_is_out)
{
    static const struct tap cases[] = {
        {.times = 1, .call = STORE_AGAIN},
        {.times = 2, .call = STORE_MEMORY},
        {.times = 1, .batch = {.status = STORE_MEMORY}},
        {.times = 2, .batch = {.status = STORE_AGAIN}},
    };
    struct rig rig;
    rig_init_spread(&rig, TWO, "", 2);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct fake_peer *peer = stream_peer(&rig, 1);
        struct fake_peer *other = stream_peer(&rig, 1);
        set_tap(&rig, 1, &cases[i]);
        feed_consume(
            peer, &(struct broker_consume){.start = BROKER_START_FIRST});
        feed_consume(
            other, &(struct broker_consume){.start = BROKER_START_FIRST});
        (void)fake_advance(&rig.net, 1000);
        expect_reader(peer, READER, 1, 2, 1);
        expect_spread(peer, 1, 2);
        expect_reader(other, READER, 1, 2, 1);
        expect_spread(other, 1, 2);
        fake_drop(peer);
        fake_drop(other);
    }
    rig_fini(&rig);
}

Test(reader, waits_for_memory_and_leaves)
{
    struct rig rig;
    rig_init_spread(&rig, TWO, "", 2);
    struct fake_peer *peer = stream_peer(&rig, 1);
    set_tap(&rig, 1, &(struct tap){.times = 1000, .call = STORE_AGAIN});
    feed_consume(peer, &(struct broker_consume){.start = BROKER_START_FIRST});
    expect_reader(peer, READER, 1, 2, 1);
    cr_assert_leq(
        core_due(rig.net.cores[1]), rig.net.now_ms + 1000, "it looks again");
    feed_unsubscribe(peer, 0);
    expect_unsuback(peer, READER, 0, 0, 0);
    rig_fini(&rig);
}

Test(reader, ends_when_the_stream_cannot_be_read)
{
    struct rig rig;
    rig_init_spread(&rig, TWO, "", 2);
    struct fake_peer *peer = stream_peer(&rig, 1);
    set_tap(
        &rig, 1, &(struct tap){.times = 1, .batch = {.status = STORE_FAILED}});
    feed_consume(peer, &(struct broker_consume){.start = BROKER_START_FIRST});
    expect_reader(peer, READER, 1, 2, 1);
    expect_ended(peer, READER, BROKER_E_STORAGE);
    set_tap(&rig, 1,
        &(struct tap){.times = 1, .batch = {.status = STORE_NOT_FOUND}});
    feed_consume(peer, &(struct broker_consume){.start = BROKER_START_FIRST});
    expect_reader(peer, READER, 1, 2, 1);
    expect_ended(peer, READER, BROKER_E_UNKNOWN_STREAM);
    set_tap(
        &rig, 1, &(struct tap){.times = 1, .batch = {.status = STORE_FAILED}});
    feed_consume(peer, &(struct broker_consume){.start = BROKER_START_TIME});
    expect_ended(peer, READER, BROKER_E_STORAGE);
    set_tap(&rig, 1, &(struct tap){.times = 1, .call = STORE_MEMORY});
    feed_consume(peer, &(struct broker_consume){.start = BROKER_START_TIME});
    expect_ended(peer, READER, BROKER_E_MEMORY);
    feed_consume(peer, &(struct broker_consume){.start = BROKER_START_TIME});
    expect_reader(peer, READER, 1, 2, 1);
    expect_spread(peer, 1, 2);
    expect_nothing(peer);
    rig_fini(&rig);
}

/* ---- slow peers ---------------------------------------------------------- */

#define LARGE_BYTES (64u * 1024u)

static void
publish_large(struct rig *rig, uint32_t count)
{
    static const uint8_t large[LARGE_BYTES];
    struct fake_peer *peer = stream_peer(rig, 0);
    for (uint32_t i = 0; i < count; i++) {
        struct say say = {0};
        say_message(&say, &(struct say_message){.id = i + 1,
                              .topic = "s/0",
                              .payload = large,
                              .payload_bytes = sizeof large});
        expect_fed(peer, &say);
    }
    fake_drop(peer);
}

Test(reader, reads_no_more_than_its_peer_takes)
{
    struct rig rig;
    rig_init_spread(&rig, TWO, "", 0);
    publish_large(&rig, 64);
    struct fake_peer *peer = stream_peer(&rig, 1);
    for (uint32_t id = 1; id <= 3; id++) {
        feed_consume(peer,
            &(struct broker_consume){.id = id, .start = BROKER_START_FIRST});
    }
    cr_assert_lt(peer->session->output.bytes, 32u * LARGE_BYTES);
    size_t most = 0;
    uint32_t messages = 0;
    while (fake_take(peer, LARGE_BYTES / 2) > 0) {
        fake_mail_settle(&rig.net);
        size_t bytes = peer->session->output.bytes;
        most = bytes > most ? bytes : most;
    }
    cr_assert_lt(most, 32u * LARGE_BYTES);
    struct broker_frame frame;
    while (fake_next(peer, &frame)) {
        messages += frame.type == BROKER_FRAME_PUBLISH ? 1 : 0;
        cr_assert_neq(frame.type, BROKER_FRAME_GAP);
    }
    cr_assert_eq(messages, 3 * 64);
    rig_fini(&rig);
}

/* ---- ending -------------------------------------------------------------- */

Test(reader, ends_by_itself_at_the_end)
{
    struct rig rig;
    rig_init_spread(&rig, TWO, "", 3);
    for (int i = 0; i < 2; i++) { /* also if there is nothing to read */
        struct fake_peer *peer = stream_peer(&rig, 1);
        feed_consume(
            peer, &(struct broker_consume){
                      .start = i == 0 ? BROKER_START_FIRST : BROKER_START_NEW,
                      .options = BROKER_CONSUME_END});
        expect_reader(peer, READER, 1, 3, i == 0 ? 1 : 4);
        if (i == 0) {
            expect_spread(peer, 1, 3);
            expect_unsuback(peer, READER, 3, 3, 0);
        } else {
            expect_position(peer, READER, 4, 0);
            expect_unsuback(peer, READER, 0, 0, 0);
        }
        expect_nothing(peer);
        feed_consume(peer, &(struct broker_consume){.start = BROKER_START_NEW});
        expect_reader(peer, READER, 1, 3, 4);
        fake_drop(peer);
    }
    rig_fini(&rig);
}

/* The store's answer comes when nobody wants it any more. */
Test(reader, is_unsubscribed_in_the_middle_of_a_read)
{
    for (uint16_t drain = 0; drain < 2; drain++) {
        struct rig rig;
        struct say say = {0};
        rig_init_spread(&rig, TWO, "", 3);
        struct fake_peer *peer = stream_peer(&rig, 1);
        struct broker_consume consume = {
            .id = READER, .stream = say_text("S"), .start = BROKER_START_FIRST};
        say_consume(&say, &consume);
        say_unsubscribe(&say, READER, drain);
        expect_fed(peer, &say);
        fake_mail_settle(&rig.net);
        expect_reader(peer, READER, 1, 3, 1);
        expect_unsuback(peer, READER, 0, 0, 0);
        expect_nothing(peer);
        rig_fini(&rig);
    }
}

Test(reader, is_unsubscribed_with_messages_queued)
{
    for (uint16_t drain = 0; drain < 2; drain++) {
        struct rig rig;
        rig_init_spread(&rig, TWO, "", 0);
        publish_large(&rig, 16);
        struct fake_peer *peer = stream_peer(&rig, 1);
        feed_consume(
            peer, &(struct broker_consume){.start = BROKER_START_FIRST});
        feed_unsubscribe(peer, drain == 0 ? 0 : BROKER_UNSUBSCRIBE_DRAIN);
        fake_take_all(peer);
        struct broker_frame frame;
        uint32_t messages = 0;
        uint16_t last = 0;
        while (fake_next(peer, &frame)) {
            messages += frame.type == BROKER_FRAME_PUBLISH ? 1 : 0;
            last = frame.type;
        }
        cr_assert_eq(last, BROKER_FRAME_UNSUBACK);
        cr_assert(drain == 0 ? messages == 0 : messages > 0 && messages < 16,
            "%u", messages);
        rig_fini(&rig);
    }
}

Test(reader, ends_when_the_stream_is_removed)
{
    struct rig rig;
    rig_init_spread(&rig, TWO, "", 2);
    have_stream(&rig, "T", "t/#", "");
    struct fake_peer *peers[TWO];
    struct broker_consume of_s = {.start = BROKER_START_NEW};
    struct broker_consume of_t = {
        .id = READER + 1, .stream = say_text("T"), .start = BROKER_START_NEW};
    for (uint32_t worker = 0; worker < TWO; worker++) {
        struct fake_peer *peer = stream_peer(&rig, worker);
        peers[worker] = peer;
        feed_consume(peer, &of_s);
        expect_reader(peer, READER, 1, 2, 3);
        expect_position(peer, READER, 3, 0);
        feed_consume(peer, &of_t);
        expect_reader(peer, READER + 1, 1, 0, 1);
        expect_position(peer, READER + 1, 1, 0);
    }
    ask_stream(&rig, "remove", "{\"name\":\"S\"}");
    for (uint32_t worker = 0; worker < TWO; worker++) {
        expect_ended(peers[worker], READER, BROKER_E_UNKNOWN_STREAM);
        expect_nothing(peers[worker]);
    }
    rig_fini(&rig);
}

Test(reader, its_session_goes_while_it_reads)
{
    static const enum broker_start starts[] = {
        BROKER_START_FIRST, BROKER_START_TIME};
    for (size_t i = 0; i < 4; i++) {
        struct rig rig;
        struct say say = {0};
        rig_init_spread(&rig, TWO, "", 3);
        struct fake_peer *peer = stream_peer(&rig, 1);
        struct broker_consume consume = {
            .id = READER, .stream = say_text("S"), .start = starts[i / 2]};
        say_consume(&say, &consume);
        say_publish(&say, 1, "s/0", "text");
        fake_mail_hold(&rig.net);
        expect_fed(peer, &say);
        if (i % 2 == 0) {
            fake_drop(peer);
        } else {
            fake_end_input(peer);
        }
        rig.net.holds_mail = false;
        fake_mail_settle(&rig.net);
        cr_assert(LIST_EMPTY(&rig.net.cores[1]->readers_ending));
        rig_fini(&rig);
    }
}

Test(reader, the_broker_ends_while_it_reads)
{
    struct rig rig;
    rig_init_spread(&rig, TWO, "", 3);
    for (int i = 0; i < 2; i++) {
        struct fake_peer *peer = stream_peer(&rig, 1);
        feed_consume(peer, &(struct broker_consume){.start = BROKER_START_NEW});
        expect_reader(peer, READER, 1, 3, 4);
        rig_restart(&rig, i == 0); /* the read for what comes is open */
    }
    rig_fini(&rig);
}

/* ---- order --------------------------------------------------------------- */

/* Answers are in the order of what they answer, also where the store has to
 * look a time up. */
Test(reader, is_answered_in_its_turn)
{
    struct rig rig;
    struct say say = {0};
    rig_init_spread(&rig, TWO, "", 3);
    struct fake_peer *peer = stream_peer(&rig, 1);
    struct broker_consume consume = {.id = READER,
        .stream = say_text("S"),
        .start = BROKER_START_TIME,
        .value = WALL_MS + 100};
    say_publish(&say, 1, "s/1", "text");
    say_consume(&say, &consume);
    say_publish(&say, 2, "plain", "text");
    say_ping(&say, 3);
    expect_fed(peer, &say);
    fake_mail_settle(&rig.net);
    expect_stored(peer, 1, 1, "S", 4);
    expect_reader(peer, READER, 1, 4, 2);
    expect_puback(peer, 2, 1, 0, 0);
    (void)expect_frame(peer, BROKER_FRAME_PONG);
    expect_spread(peer, 2, 4);
    expect_nothing(peer);
    rig_fini(&rig);
}

/* ---- rights -------------------------------------------------------------- */

Test(reader, needs_the_right_to_all_of_it)
{
    struct rig rig;
    rig_init_spread(&rig, TWO, "", 2);
    struct fake_peer *peer =
        stream_peer_with(&rig, 1, rights_without(RIGHTS_SUBSCRIBE, "s/1"));
    struct broker_consume consume = {
        .start = BROKER_START_FIRST, .stream = say_text("S")};
    feed_consume(peer, &consume);
    expect_error(peer, BROKER_E_SUBSCRIBE_DENIED, READER, BROKER_FRAME_CONSUME);
    consume.filter = say_text("s/+");
    feed_consume(peer, &consume);
    expect_error(peer, BROKER_E_SUBSCRIBE_DENIED, READER, BROKER_FRAME_CONSUME);
    consume.filter = say_text("s/0");
    feed_consume(peer, &consume);
    expect_reader(peer, READER, 1, 2, 1);
    expect_position(peer, READER, 1, 1);
    expect_publish(peer, "s/0", "text");
    expect_position(peer, READER, 3, 0);
    cr_assert_eq(rig.net.cores[1]->totals.denied_subscribes, 2);
    session_set_rights(
        peer->session, rights_without(RIGHTS_SUBSCRIBE, "other"));
    expect_nothing(peer);
    consume.id = READER + 1;
    consume.filter = say_text(NULL);
    feed_consume(peer, &consume);
    expect_reader(peer, READER + 1, 1, 2, 1);
    rig_fini(&rig);
}

Test(reader, ends_when_it_may_no_more)
{
    struct rig rig;
    rig_init_spread(&rig, TWO, "", 2);
    struct fake_peer *peer =
        stream_peer_with(&rig, 1, rights_without(RIGHTS_SUBSCRIBE, "other"));
    feed_consume(peer, &(struct broker_consume){.start = BROKER_START_NEW});
    expect_reader(peer, READER, 1, 2, 3);
    expect_position(peer, READER, 3, 0);
    feed_consume(peer, &(struct broker_consume){.id = READER + 1,
                           .filter = say_text("s/0"),
                           .start = BROKER_START_NEW});
    expect_reader(peer, READER + 1, 1, 2, 3);
    expect_position(peer, READER + 1, 3, 0);
    session_set_rights(peer->session, rights_without(RIGHTS_SUBSCRIBE, "s/1"));
    expect_ended(peer, READER, BROKER_E_REVOKED);
    expect_nothing(peer);
    cr_assert_eq(rig.net.cores[1]->totals.revoked_subscriptions, 1);
    rig_fini(&rig);
}

/* What is captured from now on it may not receive; part of it is as before. */
Test(reader, ends_when_the_stream_gets_what_it_may_not_receive)
{
    struct rig rig;
    struct say say = {0};
    rig_init_spread(&rig, TWO, "", 2);
    struct fake_peer *admin = rig_open(&rig.net, 0);
    (void)rig_ask(admin, "$sys/consumer/add",
        "{\"name\":\"C\",\"stream\":\"S\",\"from\":\"new\"}");
    struct fake_peer *peer =
        stream_peer_with(&rig, 1, rights_without(RIGHTS_SUBSCRIBE, "secret"));
    feed_consume(peer, &(struct broker_consume){.start = BROKER_START_NEW});
    feed_consume(peer, &(struct broker_consume){.id = READER + 1,
                           .filter = say_text("s/0"),
                           .start = BROKER_START_NEW});
    say_consume(&say,
        &(struct broker_consume){.id = READER + 2, .consumer = say_text("C")});
    expect_fed(peer, &say);
    fake_take_all(peer);
    peer->decoded_bytes = peer->received_bytes;
    ask_stream(&rig, "edit", "{\"name\":\"S\",\"topics\":[\"s/#\",\"x\"]}");
    expect_nothing(peer);
    ask_stream(
        &rig, "edit", "{\"name\":\"S\",\"topics\":[\"s/#\",\"secret\"]}");
    feed_publish(stream_peer(&rig, 0), 1, "secret");
    expect_ended(peer, READER, BROKER_E_REVOKED);
    expect_ended(peer, READER + 2, BROKER_E_REVOKED);
    expect_nothing(peer);
    cr_assert_eq(rig.net.cores[1]->totals.revoked_subscriptions, 2);
    rig_fini(&rig);
}

/* ---- many at once -------------------------------------------------------- */

/* So many readers of one connection get all of the stream, with nothing
 * missing, however little may be queued for it. */
static void
read_at_once(uint32_t readers, uint64_t max_output_bytes, uint32_t stored,
    size_t text_bytes)
{
    struct rig rig;
    struct say say = {0};
    uint64_t messages = 0;
    uint32_t ended = 0;
    struct broker_frame frame;
    rig_init_stream(&rig, 1);
    struct fake_peer *peer = stream_peer(&rig, 0);
    char *text = calloc(1, text_bytes + 1);
    cr_assert_not_null(text);
    memset(text, 'x', text_bytes);
    for (uint32_t id = 1; id <= stored; id++) {
        say_publish(&say, id, "s/a", text);
        expect_fed(peer, &say);
        say = (struct say){0};
        (void)fake_advance(&rig.net, 1);
    }
    free(text);
    cr_assert_eq(rig_messages(&rig, "S"), stored);
    rig.net.core->options.max_output_bytes = max_output_bytes;
    peer = stream_peer(&rig, 0);
    for (uint32_t id = 1; id <= readers; id++) {
        say_consume(&say, &(struct broker_consume){.id = id,
                              .stream = say_text("S"),
                              .start = BROKER_START_FIRST,
                              .options = BROKER_CONSUME_END});
    }
    expect_fed(peer, &say);
    for (uint32_t i = 0; i < 10 * readers && ended < readers; i++) {
        (void)fake_advance(&rig.net, 1000);
        fake_take_all(peer);
        while (fake_next(peer, &frame)) {
            cr_assert_neq(frame.type, BROKER_FRAME_GAP);
            messages += frame.type == BROKER_FRAME_PUBLISH;
            ended += frame.type == BROKER_FRAME_UNSUBACK;
        }
    }
    cr_assert_eq(ended, readers, "%u readers have come to the end", ended);
    cr_assert_eq(messages, (uint64_t)stored * readers);
    rig_fini(&rig);
}

Test(reader, several_of_one_connection_are_not_too_slow)
{
    read_at_once(16, 1u << 20, 20, 15000);
}

Test(reader, one_whose_connection_may_have_little_queued)
{
    read_at_once(1, 128u << 10, 20, 15000);
}

/* Their times are told as well, each by itself. */
Test(reader, small_messages_that_take_more_than_their_bytes)
{
    read_at_once(1, 128u << 10, 3000, 1);
}
