/* SPDX-License-Identifier: MIT
 *
 * Who comes in and what it may do, as the core sees it: HELLO waits for an
 * answer of the hook, and rights decide about publishes and subscriptions, also
 * when they change. PROTOCOL.md sections 5.10 and 5.11. */
#include "account.h"
#include "expect.h"
#include "rights.h"
#include "session.h"

#include <criterion/criterion.h>

#include <string.h>

#define HOME  0
#define OTHER 1

/* ---- the hook ------------------------------------------------------------ */

/* Who was asked about last, and with what. */
static struct asked {
    struct fake_peer *peer;
    uint32_t count;
    char user[16], method[16], secret[16];
    const uint8_t *secret_at;
} asked;

static void
copy_text(char *dst, struct broker_bytes text)
{
    cr_assert_lt(text.len, 16);
    memcpy(dst, text.data == NULL ? (const uint8_t *)"" : text.data, text.len);
    dst[text.len] = '\0';
}

static void
authenticate(void *owner, const struct core_credentials *credentials)
{
    asked.peer = owner;
    asked.count++;
    copy_text(asked.user, credentials->user);
    copy_text(asked.method, credentials->method);
    copy_text(asked.secret, credentials->secret);
    asked.secret_at = credentials->secret.data;
}

static void
net_of(struct fake_net *net, const struct core_options *options)
{
    fake_net_init(net, options, 1, NULL);
    cr_assert_not_null(net->core);
    for (uint32_t worker = 0; worker < net->workers; worker++) {
        net->cores[worker]->hooks.authenticate = authenticate;
    }
}

static void
net_of_workers(struct fake_net *net, uint32_t workers)
{
    struct core_options options = fake_options();
    options.workers = workers;
    net_of(net, &options);
}

/* A peer that said HELLO and waits. */
static struct fake_peer *
arrive(struct fake_net *net, uint32_t worker)
{
    struct fake_peer *peer = fake_connect_to(net, worker);
    struct say say = {0};
    say_hello(&say);
    expect_fed(peer, &say);
    return peer;
}

static void
admit(struct fake_peer *peer, struct account *account, struct rights *rights)
{
    session_admit(peer->session, account, rights);
    fake_settle(peer->net);
}

/* Such a peer that came in with these rights. */
static struct fake_peer *
come_in(struct fake_net *net, uint32_t worker, struct rights *rights)
{
    struct fake_peer *peer = arrive(net, worker);
    admit(peer, NULL, rights);
    (void)expect_frame(peer, BROKER_FRAME_WELCOME);
    return peer;
}

struct rule {
    bool allow;
    unsigned actions;
    const char *filter;
};

/* Up to the first without a filter; its text is its filter. */
static struct rights *
rights_of(const struct rule *rules)
{
    struct rights *rights = rights_new();
    cr_assert_not_null(rights);
    for (; rules->filter != NULL; rules++) {
        cr_assert(rights_add(rights, rules->allow, rules->actions,
            say_text(rules->filter), rules->filter));
    }
    return rights;
}

static void
expect_text(const struct broker_frame *frame, const char *want)
{
    struct broker_error error;
    struct broker_bytes text;
    cr_assert_eq(broker_error_decode(frame, &error), BROKER_OK);
    cr_assert(broker_tlv_find(error.tlvs, BROKER_TAG_TEXT, &text));
    cr_assert_eq(text.len, strlen(want));
    cr_assert_eq(memcmp(text.data, want, text.len), 0);
}

/* ---- coming in ----------------------------------------------------------- */

Test(admission, nothing_happens_before_the_answer)
{
    static const uint8_t tlvs[] = {
        0, 8, 0, 3, 'a', 'n', 'n', 0, 9, 0, 2, 'p', 'w', 0, 10, 0, 1, 's'};
    struct fake_net net;
    net_of_workers(&net, 1);
    struct fake_peer *peer = fake_connect(&net);
    struct broker_hello hello = say_hello_default;
    hello.tlvs = (struct broker_bytes){tlvs, sizeof tlvs};
    struct say say = {0};
    say_hello_with(&say, &hello);
    say_publish(&say, 1, "a", "x");
    expect_fed(peer, &say);
    expect_nothing(peer);
    /* It is read from, so that its end is noticed, but not without bound. */
    cr_assert(session_wants_input(peer->session));
    static const uint8_t more[70000];
    cr_assert_eq(fake_feed(peer, more, sizeof more), sizeof more);
    cr_assert_not(session_wants_input(peer->session));
    cr_assert_eq(asked.peer, peer);
    cr_assert_str_eq(asked.user, "ann");
    cr_assert_str_eq(asked.method, "pw");
    cr_assert_str_eq(asked.secret, "s");
    cr_assert_eq(*asked.secret_at, 0, "the secret was not wiped");
    struct account *account = account_new("ann");
    admit(peer, account_ref(account), rights_new_unlimited());
    struct broker_frame frame = expect_frame(peer, BROKER_FRAME_WELCOME);
    struct broker_welcome welcome;
    struct broker_bytes user;
    cr_assert_eq(broker_welcome_decode(&frame, &welcome), BROKER_OK);
    cr_assert(broker_tlv_find(welcome.tlvs, BROKER_TAG_USER, &user));
    cr_assert_eq(user.len, 3);
    expect_puback(peer, 1, 1, 0, 0);
    struct session_stats stats;
    session_get_stats(peer->session, &stats);
    cr_assert_str_eq(stats.user, "ann");
    cr_assert_eq(account->connections, 1);
    fake_drop(peer);
    cr_assert_eq(account->connections, 0);
    account_unref(account);
    cr_assert_eq(asked.count, 1);
    fake_net_fini(&net);
}

Test(admission, who_is_denied_is_told_why)
{
    struct fake_net net;
    net_of_workers(&net, 1);
    struct fake_peer *peer = arrive(&net, HOME);
    session_deny(peer->session, BROKER_E_AUTH_FAILED, NULL);
    session_deny(peer->session, BROKER_E_AUTH_REQUIRED, NULL); /* too late */
    session_admit(peer->session, account_new("ann"), rights_new());
    expect_error(peer, BROKER_E_AUTH_FAILED, 1, BROKER_FRAME_HELLO);
    expect_goaway(peer, BROKER_E_AUTH_FAILED);
    cr_assert_eq(net.logged[CORE_EVENT_DENIED], 1);
    cr_assert_eq(net.core->totals.denied_connections, 1);
    fake_net_fini(&net);
}

/* The handshake timeout is for HELLO, not for its check. */
Test(admission, nobody_is_late_because_the_answer_is)
{
    struct fake_net net;
    net_of_workers(&net, 1);
    struct fake_peer *peer = arrive(&net, HOME);
    fake_advance(&net, fake_options().handshake_timeout_ms + 1);
    expect_nothing(peer);
    admit(peer, NULL, rights_new_unlimited());
    (void)expect_frame(peer, BROKER_FRAME_WELCOME);
    fake_net_fini(&net);
}

/* The peer has gone, or the broker goes, before the answer. */
Test(admission, an_answer_may_come_too_late)
{
    struct fake_net net;
    net_of_workers(&net, 1);
    struct fake_peer *gone = arrive(&net, HOME);
    struct fake_peer *late = arrive(&net, HOME);
    fake_drop(gone);
    fake_shut_down(&net, 1000);
    session_admit(late->session, account_new("ann"), rights_new());
    expect_goaway(late, BROKER_E_SHUTTING_DOWN);
    fake_net_fini(&net);
}

Test(admission, a_user_has_so_many_connections)
{
    struct core_options options = fake_options();
    options.max_user_connections = 2;
    struct fake_net net;
    net_of(&net, &options);
    struct account *account = account_new("ann");
    struct fake_peer *peers[3];
    for (int i = 0; i < 3; i++) {
        peers[i] = arrive(&net, HOME);
        admit(peers[i], account_ref(account), NULL);
    }
    (void)expect_frame(peers[1], BROKER_FRAME_WELCOME);
    expect_error(
        peers[2], BROKER_E_TOO_MANY_CONNECTIONS, 1, BROKER_FRAME_HELLO);
    expect_goaway(peers[2], BROKER_E_TOO_MANY_CONNECTIONS);
    cr_assert_eq(account->connections, 2);
    fake_drop(peers[0]);
    struct fake_peer *next = arrive(&net, HOME);
    admit(next, account_ref(account), NULL);
    (void)expect_frame(next, BROKER_FRAME_WELCOME);
    fake_net_fini(&net);
    cr_assert_eq(account->connections, 0);
    account_unref(account);
}

/* The same session id of two users is two sessions. */
Test(admission, nobody_takes_over_what_is_anothers)
{
    for (uint32_t workers = 1; workers <= 2; workers++) {
        struct broker_hello hello = say_hello_default;
        memset(hello.session, 3, sizeof hello.session);
        struct fake_net net;
        net_of_workers(&net, workers);
        struct fake_peer *peers[2];
        for (uint32_t i = 0; i < 2; i++) {
            struct say say = {0};
            peers[i] = fake_connect_to(&net, i % workers);
            say_hello_with(&say, &hello);
            expect_fed(peers[i], &say);
            admit(peers[i], account_new(i == 0 ? "ann" : "bob"), NULL);
            (void)expect_frame(peers[i], BROKER_FRAME_WELCOME);
        }
        expect_nothing(peers[0]);
        cr_assert_not_null(peers[0]->session);
        fake_net_fini(&net);
    }
}

Test(admission, a_user_that_is_gone_is_expelled)
{
    struct fake_net net;
    net_of_workers(&net, 1);
    struct fake_peer *peer = come_in(&net, HOME, NULL);
    session_expel(peer->session, BROKER_E_AUTH_FAILED);
    expect_goaway(peer, BROKER_E_AUTH_FAILED);
    fake_net_fini(&net);
}

/* ---- what it may do ------------------------------------------------------ */

Test(admission, publishing_needs_a_rule)
{
    static const struct rule rules[] = {{false, RIGHTS_PUBLISH, "a/no"},
        {true, RIGHTS_PUBLISH, "a/#"}, {false, 0, NULL}};
    struct fake_net net;
    net_of_workers(&net, 1);
    struct fake_peer *peer = come_in(&net, HOME, rights_of(rules));
    struct say_message retained = {
        .id = 4, .flags = BROKER_PUBLISH_RETAIN, .topic = "b"};
    struct say say = {0};
    say_publish(&say, 1, "a/b", "x");
    say_publish(&say, 2, "a/no", "x");
    say_publish(&say, 3, "b", "x");
    say_message(&say, &retained);
    say_request(&say, 5, "a/b", "b");
    say_publish(&say, 0, "b", "x");
    expect_fed(peer, &say);
    expect_puback(peer, 1, 1, 0, 0);
    struct broker_frame frame = expect_frame(peer, BROKER_FRAME_ERROR);
    expect_text(&frame, "a/no");
    frame = expect_frame(peer, BROKER_FRAME_ERROR);
    expect_text(&frame, RIGHTS_NO_RULE);
    for (uint32_t id = 4; id <= 5; id++) {
        expect_error(peer, BROKER_E_PUBLISH_DENIED, id, BROKER_FRAME_PUBLISH);
    }
    expect_error(peer, BROKER_E_PUBLISH_DENIED, 0, BROKER_FRAME_PUBLISH);
    cr_assert_eq(net.core->totals.denied_publishes, 5);
    cr_assert_eq(net.core->retained.topics, 0);
    fake_net_fini(&net);
}

static void
say_retained(struct say *say, const char *topic)
{
    struct say_message value = {.flags = BROKER_PUBLISH_RETAIN,
        .topic = topic,
        .payload = topic,
        .payload_bytes = strlen(topic)};
    say_message(say, &value);
}

static const struct rule partly[] = {{false, RIGHTS_SUBSCRIBE, "a/no"},
    {true, RIGHTS_SUBSCRIBE, "a/#"}, {true, RIGHTS_PUBLISH, "#"},
    {false, 0, NULL}};

/* A filter that is wider than what is permitted shows what is permitted of it,
 * with one worker and with two. */
Test(admission, subscribing_shows_what_is_permitted)
{
    static const struct say_subscription group = {
        .id = 3, .filter = "a/+", .group = "g"};
    for (uint32_t workers = 1; workers <= 2; workers++) {
        struct fake_net net;
        net_of_workers(&net, workers);
        struct fake_peer *writer = come_in(&net, HOME, NULL);
        struct fake_peer *reader =
            come_in(&net, workers - 1, rights_of(partly));
        struct say say = {0};
        say_retained(&say, "a/yes");
        say_retained(&say, "a/no");
        expect_fed(writer, &say);
        say_subscribe(&say, 1, "a/+");
        expect_fed(reader, &say);
        expect_suback(reader, 1, 1);
        (void)expect_frame(reader, BROKER_FRAME_CONTEXT);
        expect_publish(reader, "a/yes", "a/yes");
        say_subscribe(&say, 2, "b");
        say_subscribe_with(&say, &group);
        expect_fed(reader, &say);
        struct broker_frame frame = expect_frame(reader, BROKER_FRAME_ERROR);
        expect_text(&frame, RIGHTS_NO_RULE);
        expect_error(
            reader, BROKER_E_SUBSCRIBE_DENIED, 3, BROKER_FRAME_SUBSCRIBE);
        say_publish(&say, 0, "a/no", "1");
        say_publish(&say, 0, "a/yes", "2");
        expect_fed(writer, &say);
        expect_context(reader, 1, 0, 0);
        expect_publish(reader, "a/yes", "2");
        expect_nothing(reader);
        cr_assert_eq(net.cores[workers - 1]->totals.denied_subscribes, 2);
        fake_net_fini(&net);
    }
}

/* Subscriptions that are not permitted any more end with what was queued for
 * them; one whose filter is long, and a member of a group, like others. */
Test(admission, rights_are_taken_away)
{
    static const struct say_subscription group = {
        .id = 3, .filter = "work", .group = "g"};
    static const struct rule fewer[] = {
        {true, RIGHTS_SUBSCRIBE, "a/yes"}, {false, 0, NULL}};
    char filter[700];
    memset(filter, 'f', sizeof filter);
    filter[sizeof filter - 1] = '\0';
    for (uint32_t workers = 1; workers <= 2; workers++) {
        struct fake_net net;
        net_of_workers(&net, workers);
        struct fake_peer *writer = come_in(&net, HOME, NULL);
        struct fake_peer *reader =
            come_in(&net, workers - 1, rights_new_unlimited());
        struct say say = {0};
        say_subscribe(&say, 1, "a/+");
        say_subscribe(&say, 2, filter);
        say_subscribe_with(&say, &group);
        say_subscribe(&say, 4, "a/yes");
        say_subscribe(&say, 5, "a/yes");
        say_unsubscribe(&say, 5, 0);
        expect_fed(reader, &say);
        for (uint32_t id = 1; id <= 5; id++) {
            expect_suback(reader, id, 0);
        }
        expect_unsuback(reader, 5, 0, 0, 0);
        say_publish(&say, 0, filter, "x");
        expect_fed(writer, &say);
        session_set_rights(reader->session, rights_of(fewer));
        fake_settle(&net);
        uint32_t revoked = 0;
        for (int i = 0; i < 2; i++) {
            struct broker_frame frame =
                expect_frame(reader, BROKER_FRAME_ERROR);
            struct broker_error error;
            cr_assert_eq(broker_error_decode(&frame, &error), BROKER_OK);
            cr_assert_eq(error.code, BROKER_E_REVOKED);
            revoked |= UINT32_C(1) << error.id;
        }
        cr_assert_eq(revoked, 1u << 2 | 1u << 3);
        say_publish(&say, 0, "a/no", "x");
        say_publish(&say, 0, filter, "x");
        say_publish(&say, 0, "work", "x");
        say_publish(&say, 0, "a/yes", "x");
        expect_fed(writer, &say);
        expect_context(reader, 1, 4, 0);
        expect_publish(reader, "a/yes", "x");
        expect_nothing(reader);
        cr_assert_eq(net.cores[workers - 1]->totals.revoked_subscriptions, 2);
        fake_net_fini(&net);
    }
}

/* They change while the other workers are told of a subscription. */
Test(admission, rights_change_while_a_subscription_is_made)
{
    static const struct rule none[] = {{false, 0, NULL}};
    struct fake_net net;
    net_of_workers(&net, 2);
    struct fake_peer *reader = come_in(&net, OTHER, rights_new_unlimited());
    fake_mail_hold(&net);
    struct say say = {0};
    say_subscribe(&say, 1, "a");
    expect_fed(reader, &say);
    session_set_rights(reader->session, rights_of(none));
    fake_mail_settle(&net);
    expect_suback(reader, 1, 0);
    expect_error(reader, BROKER_E_REVOKED, 1, BROKER_FRAME_SUBSCRIBE);
    expect_nothing(reader);
    fake_net_fini(&net);
}

/* ---- options ------------------------------------------------------------- */

/* Limits change while the broker runs; what clients were told does not. */
Test(admission, other_options_from_now_on)
{
    struct core_options options = fake_options();
    struct fake_net net;
    net_of(&net, &options);
    struct fake_peer *peer = come_in(&net, HOME, NULL);
    options.max_subscriptions = 1;
    options.max_retained_topics = 0;
    options.max_body_bytes = BROKER_BODY_BYTES_MIN;
    options.max_topic_bytes = 1;
    options.name = "other";
    options.heartbeat_ms = 1;
    core_set_options(net.core, &options);
    cr_assert_str_eq(net.core->options.name, "fake");
    cr_assert_eq(net.core->options.max_body_bytes, BROKER_BODY_BYTES_MAX);
    struct say_message value = {.id = 1,
        .flags = BROKER_PUBLISH_RETAIN,
        .topic = "a/b",
        .payload = "x",
        .payload_bytes = 1};
    struct say say = {0};
    say_message(&say, &value);
    say_subscribe(&say, 1, "a/b");
    say_subscribe(&say, 2, "a/b");
    expect_fed(peer, &say);
    expect_error(peer, BROKER_E_RETAINED_LIMIT, 1, BROKER_FRAME_PUBLISH);
    expect_suback(peer, 1, 0);
    expect_error(
        peer, BROKER_E_TOO_MANY_SUBSCRIPTIONS, 2, BROKER_FRAME_SUBSCRIBE);
    cr_assert_eq(core_due(net.core), net.now_ms + 15000); /* its heartbeat */
    fake_net_fini(&net);
}
