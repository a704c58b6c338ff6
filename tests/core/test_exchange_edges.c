/* SPDX-License-Identifier: MIT
 *
 * Several workers: outcomes that come in another order than their messages,
 * what is refused while others are asked, limits of what may wait, and bags of
 * mail that come together. exchange.h, wait.h. */
#include "expect.h"
#include "session.h"

#include <criterion/criterion.h>

#include <stdlib.h>
#include <string.h>

#define HOME  0
#define OTHER 1
#define THIRD 2

static void
net_of(struct fake_net *net, uint32_t workers)
{
    struct core_options options = fake_options();
    options.workers = workers;
    fake_net_init(net, &options, 1, NULL);
    cr_assert_not_null(net->core);
}

static struct fake_peer *
open_at(struct fake_net *net, uint32_t worker)
{
    return expect_open_at(net, worker, &say_hello_default);
}

static void
subscribe(struct fake_peer *peer, uint32_t id, const char *filter)
{
    struct say say = {0};
    say_subscribe(&say, id, filter);
    expect_fed(peer, &say);
    fake_mail_settle(peer->net);
    expect_suback(peer, id, 0);
}

/* Deliver everything but what waits for this worker. */
static void
settle_without(struct fake_net *net, uint32_t left_out)
{
    bool moved = true;
    while (moved) {
        moved = false;
        for (uint32_t worker = 0; worker < net->workers; worker++) {
            fake_mail_end_turn(net, worker);
        }
        for (uint32_t worker = 0; worker < net->workers; worker++) {
            while (worker != left_out && fake_mail_step(net, worker)) {
                moved = true;
            }
        }
    }
}

/* ---- acknowledgements ---------------------------------------------------- */

/* A message for the third worker is not answered yet; everything behind it
 * waits, whatever became of it, and comes in order. */
Test(exchange_edges, all_kinds_of_outcomes_wait_for_the_first)
{
    struct fake_net net;
    net_of(&net, 3);
    struct broker_hello small = say_hello_default;
    small.max_body_bytes = BROKER_BODY_BYTES_MIN;
    struct fake_peer *slow = open_at(&net, THIRD);
    struct fake_peer *narrow = expect_open_at(&net, HOME, &small);
    struct fake_peer *writer = open_at(&net, OTHER);
    subscribe(slow, 1, "slow");
    subscribe(narrow, 1, "narrow");
    subscribe(writer, 1, "own");
    fake_mail_hold(&net);
    uint8_t *large = calloc(1, BROKER_BODY_BYTES_MIN);
    struct say_message message = {.topic = "narrow",
        .payload = large,
        .payload_bytes = BROKER_BODY_BYTES_MIN};
    struct say say = {0};
    say_publish(&say, 1, "slow", "x");
    for (message.id = 2; message.id <= 4; message.id++) {
        message.payload_bytes = message.id == 3 ? BROKER_BODY_BYTES_MIN : 1;
        say_message(&say, &message);
    }
    say_publish(&say, 5, "nobody", "x");
    say_publish(&say, 6, "nobody", "x"); /* merged with the one before */
    say_publish(&say, 7, "own", "x");
    say_publish(&say, 9, "own", "x"); /* a number is left out */
    say_request(&say, 10, "narrow", "own");
    say_publish(&say, 11, "nobody", "x");
    say_publish(&say, 12, "narrow/+", "x");
    say_publish(&say, 13, "nobody", "x");
    expect_fed(writer, &say);
    settle_without(&net, THIRD);
    expect_context(writer, 1, 0, 0);
    expect_publish(writer, "own", "x");
    expect_publish(writer, "own", "x");
    expect_nothing(writer); /* no answer before that of number 1 */
    fake_mail_settle(&net);
    expect_puback(writer, 2, 2, 1, 0);
    expect_puback(writer, 3, 1, 1, 1);
    expect_puback(writer, 4, 1, 1, 0);
    expect_puback(writer, 6, 2, 0, 0);
    expect_puback(writer, 7, 1, 1, 0);
    expect_puback(writer, 10, 2, 1, 0);
    expect_puback(writer, 11, 1, 0, 0);
    expect_error(writer, BROKER_E_BAD_TOPIC, 12, BROKER_FRAME_PUBLISH);
    expect_puback(writer, 13, 1, 0, 0);
    expect_nothing(writer);
    free(large);
    fake_net_fini(&net);
}

/* The outcome of what was said last is known, but not that of the first. What
 * needs no other worker's answer is put behind it: with it if it came to the
 * same, or by itself. */
Test(exchange_edges, what_is_known_at_once_waits_behind_what_is_known)
{
    enum { OUTPUT_BYTES = 100000, FIRST_BYTES = 97000, LARGE_BYTES = 6000 };
    static const struct say_subscription newest = {
        .id = 1, .filter = "full", .overflow = BROKER_OVERFLOW_DROP_NEWEST};
    static const uint8_t payload[FIRST_BYTES];
    struct core_options options = fake_options();
    options.workers = 3;
    options.max_output_bytes = OUTPUT_BYTES;
    struct fake_net net;
    fake_net_init(&net, &options, 1, NULL);
    struct fake_peer *slow = open_at(&net, THIRD);
    struct fake_peer *full = open_at(&net, HOME);
    struct fake_peer *writer = open_at(&net, OTHER);
    subscribe(slow, 1, "slow");
    subscribe(writer, 1, "own");
    struct say say = {0};
    say_subscribe_with(&say, &newest);
    expect_fed(full, &say);
    expect_suback(full, 1, 0);
    struct say_message message = {
        .topic = "full", .payload = payload, .payload_bytes = FIRST_BYTES};
    say_message(&say, &message);
    expect_fed(writer, &say);
    fake_mail_hold(&net);
    say_publish(&say, 1, "slow", "x");
    for (message.id = 2; message.id <= 3; message.id++) { /* two outcomes */
        message.payload_bytes = message.id == 2 ? LARGE_BYTES : 1;
        say_message(&say, &message);
    }
    expect_fed(writer, &say);
    settle_without(&net, THIRD);
    for (uint32_t id = 4; id <= 13; id++) {
        say_publish(&say, id, "own", "x");
    }
    say_publish(&say, 14, "full", "x"); /* one outcome, like its own */
    expect_fed(writer, &say);
    settle_without(&net, THIRD);
    say_publish(&say, 15, "own", "x");
    say_request(&say, 16, "full", "own");
    expect_fed(writer, &say);
    settle_without(&net, THIRD);
    say_publish(&say, 17, "own", "x");
    say_publish(&say, 18, "nobody", "x");
    expect_fed(writer, &say);
    expect_context(writer, 1, 0, 0);
    for (int i = 0; i < 12; i++) {
        expect_publish(writer, "own", "x");
    }
    expect_nothing(writer);
    fake_mail_settle(&net);
    expect_puback(writer, 1, 1, 1, 0);
    expect_puback(writer, 2, 1, 1, 1);
    expect_puback(writer, 17, 15, 1, 0);
    expect_puback(writer, 18, 1, 0, 0);
    fake_net_fini(&net);
}

/* A member of a queue group says goodbye. Until the other workers know, nothing
 * else that it said is looked at, nor afterwards. */
Test(exchange_edges, nothing_is_heard_while_a_member_leaves)
{
    static const struct say_subscription member = {
        .id = 1, .filter = "work", .group = "g"};
    struct fake_net net;
    net_of(&net, 2);
    struct fake_peer *reader = open_at(&net, HOME);
    struct fake_peer *leaver = open_at(&net, OTHER);
    subscribe(reader, 1, "a");
    struct say say = {0};
    say_subscribe_with(&say, &member);
    expect_fed(leaver, &say);
    expect_suback(leaver, 1, 0);
    fake_mail_hold(&net);
    say_goaway(&say);
    say_publish(&say, 1, "a", "x");
    expect_fed(leaver, &say);
    expect_nothing(leaver);
    cr_assert_not_null(leaver->session);
    fake_mail_settle(&net);
    expect_nothing(leaver);
    cr_assert_null(leaver->session);
    expect_nothing(reader);
    fake_net_fini(&net);
}

/* A request is on its way to a subscription that ends meanwhile. It is refused
 * when its turn comes, and what is said behind it is not. */
Test(exchange_edges, a_request_for_nobody_waits_for_its_turn)
{
    struct fake_net net;
    net_of(&net, 3);
    struct fake_peer *slow = open_at(&net, THIRD);
    struct fake_peer *server = open_at(&net, HOME);
    struct fake_peer *writer = open_at(&net, OTHER);
    subscribe(slow, 1, "slow");
    subscribe(server, 1, "gone");
    fake_mail_hold(&net);
    struct say say = {0};
    say_unsubscribe(&say, 1, 0);
    expect_fed(server, &say);
    say_publish(&say, 1, "slow", "x");
    say_request(&say, 2, "gone", "own");
    expect_fed(writer, &say);
    settle_without(&net, THIRD);
    say_publish(&say, 3, "nobody", "x");
    say_request(&say, 4, "nobody", "own");
    expect_fed(writer, &say);
    settle_without(&net, THIRD);
    expect_nothing(writer);
    fake_mail_settle(&net);
    expect_puback(writer, 1, 1, 1, 0);
    expect_error(writer, BROKER_E_NO_SUBSCRIBERS, 2, BROKER_FRAME_PUBLISH);
    expect_puback(writer, 3, 1, 0, 0);
    expect_error(writer, BROKER_E_NO_SUBSCRIBERS, 4, BROKER_FRAME_PUBLISH);
    fake_net_fini(&net);
}

/* The publisher ends with answers outstanding: none of them is said for what
 * is not known, and none overtakes another. */
Test(exchange_edges, a_broken_frame_behind_unanswered_messages)
{
    struct fake_net net;
    net_of(&net, 3);
    struct fake_peer *slow = open_at(&net, THIRD);
    struct fake_peer *reader = open_at(&net, HOME);
    struct fake_peer *writer = open_at(&net, OTHER);
    subscribe(slow, 1, "slow");
    subscribe(reader, 1, "fast");
    fake_mail_hold(&net);
    struct say say = {0};
    say_publish(&say, 1, "slow", "x");
    say_publish(&say, 2, "fast", "x");
    say_publish(&say, 3, "nobody", "x");
    expect_fed(writer, &say);
    settle_without(&net, THIRD);
    say_frame(&say, BROKER_FRAME_HELLO, 0, 4, 40);
    expect_fed(writer, &say);
    expect_error(writer, BROKER_E_UNEXPECTED_FRAME, 4, BROKER_FRAME_HELLO);
    expect_goaway(writer, BROKER_E_UNEXPECTED_FRAME);
    fake_mail_settle(&net); /* the outcomes come too late, and harm nobody */
    expect_context(slow, 1, 0, 0);
    expect_publish(slow, "slow", "x");
    fake_net_fini(&net);
}

/* ---- what is refused at home --------------------------------------------- */

Test(exchange_edges, a_retained_value_with_a_bad_topic)
{
    struct fake_net net;
    net_of(&net, 2);
    struct fake_peer *writer = open_at(&net, OTHER);
    struct say_message bad = {
        .id = 1, .flags = BROKER_PUBLISH_RETAIN, .topic = "a/+"};
    struct say say = {0};
    say_message(&say, &bad);
    bad.id = 2;
    bad.topic = "$sys/x";
    say_message(&say, &bad);
    say_publish(&say, 3, "a", "x");
    expect_fed(writer, &say);
    expect_error(writer, BROKER_E_BAD_TOPIC, 1, BROKER_FRAME_PUBLISH);
    expect_error(writer, BROKER_E_RESERVED_TOPIC, 2, BROKER_FRAME_PUBLISH);
    expect_puback(writer, 3, 1, 0, 0);
    cr_assert_eq(net.core->retained.topics, 0);
    fake_net_fini(&net);
}

/* Home has no room for the value: the publish is refused, and the session that
 * was suspended goes on. */
Test(exchange_edges, a_retained_value_over_the_limit)
{
    struct core_options options = fake_options();
    options.workers = 2;
    options.max_retained_topics = 1;
    struct fake_net net;
    fake_net_init(&net, &options, 1, NULL);
    struct fake_peer *writer = open_at(&net, OTHER);
    struct say_message value = {
        .flags = BROKER_PUBLISH_RETAIN, .payload = "v", .payload_bytes = 1};
    struct say say = {0};
    for (value.id = 1; value.id <= 2; value.id++) {
        value.topic = value.id == 1 ? "a" : "b";
        say_message(&say, &value);
    }
    say_publish(&say, 3, "a", "x");
    expect_fed(writer, &say);
    expect_puback(writer, 1, 1, 0, 0);
    expect_error(writer, BROKER_E_RETAINED_LIMIT, 2, BROKER_FRAME_PUBLISH);
    expect_puback(writer, 3, 1, 0, 0);
    fake_net_fini(&net);
}

Test(exchange_edges, a_question_without_words)
{
    struct fake_net net;
    net_of(&net, 2);
    struct fake_peer *asker = open_at(&net, OTHER);
    subscribe(asker, 1, "own");
    struct say say = {0};
    say_request(&say, 1, "$sys/echo", "own");
    expect_fed(asker, &say);
    expect_puback(asker, 1, 1, 1, 0);
    expect_context(asker, 1, 0, 0);
    expect_publish(asker, "own", "");
    fake_net_fini(&net);
}

/* ---- session ids --------------------------------------------------------- */

/* Three want the same id before the first has given it up: the newest gets it.
 */
Test(exchange_edges, the_newest_of_three_gets_the_session)
{
    struct broker_hello hello = say_hello_default;
    memset(hello.session, 7, sizeof hello.session);
    struct fake_net net;
    net_of(&net, 3);
    struct fake_peer *first = expect_open_at(&net, THIRD, &hello);
    fake_mail_hold(&net);
    struct fake_peer *later[2];
    for (uint32_t i = 0; i < 2; i++) {
        struct say say = {0};
        later[i] = fake_connect_to(&net, OTHER);
        say_hello_with(&say, &hello);
        expect_fed(later[i], &say);
        settle_without(&net, THIRD); /* where the first does not hear of it */
    }
    expect_nothing(first);
    expect_goaway(later[0], BROKER_E_SESSION_TAKEN);
    fake_mail_settle(&net);
    expect_goaway(first, BROKER_E_SESSION_TAKEN);
    (void)expect_frame(later[1], BROKER_FRAME_WELCOME);
    expect_nothing(later[1]);
    fake_net_fini(&net);
}

/* ---- what may wait ------------------------------------------------------- */

/* A writer that waits for another worker with this behind it: is it read from?
 */
static bool
wants_input_behind(uint32_t publishes, uint32_t pings)
{
    struct fake_net net;
    net_of(&net, 2);
    struct fake_peer *reader = open_at(&net, HOME);
    struct fake_peer *writer = open_at(&net, OTHER);
    subscribe(reader, 1, "a");
    fake_mail_hold(&net);
    struct say say = {0};
    say_publish(&say, 1, "a", "x");
    for (uint32_t i = 0; i < publishes; i++) {
        /* Numbers apart, so that each is acknowledged alone. */
        say_publish(&say, 3 + 2 * i, "nobody", "x");
    }
    for (uint32_t i = 0; i < pings; i++) {
        say_ping(&say, i);
    }
    size_t fed = fake_feed(writer, say.bytes, say.len);
    fake_check(&net);
    bool wants = session_wants_input(writer->session);
    cr_assert(!wants || fed == say.len);
    fake_mail_settle(&net);
    fake_take_all(writer);
    cr_assert(session_wants_input(writer->session), "it is never read again");
    cr_assert_eq(
        fake_feed(writer, say.bytes + fed, say.len - fed), say.len - fed);
    say_fini(&say);
    struct broker_frame frame;
    uint32_t answers = 0;
    fake_take_all(writer);
    while (fake_next(writer, &frame)) {
        answers++;
    }
    cr_assert_eq(answers, 1 + publishes + pings);
    fake_net_fini(&net);
    return wants;
}

Test(exchange_edges, too_many_answers_wait_and_nothing_more_is_read)
{
    cr_assert(wants_input_behind(100, 100));
    cr_assert_not(wants_input_behind(70000, 0));
    cr_assert_not(wants_input_behind(0, 15000));
}

/* ---- bags ---------------------------------------------------------------- */

/* Bags may be handed over together, also while earlier ones could not be read.
 */
Test(exchange_edges, bags_that_come_together)
{
    struct fake_net net;
    net_of(&net, 2);
    struct fake_peer *reader = open_at(&net, HOME);
    struct fake_peer *writer = open_at(&net, OTHER);
    subscribe(reader, 1, "a");
    fake_mail_hold(&net);
    struct say say = {0};
    for (uint32_t i = 0; i < 5; i++) {
        say_publish(&say, 1 + 2 * i, "a", "x");
        expect_fed(writer, &say);
        fake_mail_end_turn(&net, OTHER);
    }
    struct fake_mail *mail = &net.mail[HOME];
    struct mailbag *bags = mail->first;
    cr_assert_not_null(bags->next);
    mail->first = mail->last = NULL;
    mail->read = mail->posted;
    core_receive_mail(net.cores[HOME], bags);
    cr_assert_null(net.cores[HOME]->exchange->postponed);
    fake_mail_settle(&net);
    expect_context(reader, 1, 0, 0);
    for (uint32_t i = 0; i < 5; i++) {
        expect_publish(reader, "a", "x");
        expect_puback(writer, 1 + 2 * i, 1, 1, 0);
    }
    fake_net_fini(&net);
}

/* What runs may take on their way is a part of all memory, but no more than is
 * good for anything. */
Test(exchange_edges, congestion_has_a_limit)
{
    struct exchange *small = exchange_new(0, 4, 64u << 20, 1);
    struct exchange *large = exchange_new(0, 4, UINT64_C(1) << 40, 1);
    cr_assert_eq(small->congested_bytes, 1u << 20);
    cr_assert_eq(large->congested_bytes, 8u << 20);
    exchange_free(small);
    exchange_free(large);
    exchange_free(NULL);
}
