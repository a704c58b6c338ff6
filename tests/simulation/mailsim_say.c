/* SPDX-License-Identifier: MIT
 *
 * What the clients of the mail simulation say; see mailsim.h. */
#include "mailsim.h"

#include "session.h"

#include <stdlib.h>
#include <string.h>

#define PAYLOAD_MAX 700
#define FRAME_MAX   1100
/* An experimental field that holds a message's number where the payload does
 * not: everybody may skip it. */
#define NUMBER_TAG 0x7001

const char *const mailsim_topics[MAILSIM_TOPICS] = {
    "a", "a/b", "b", "b/c", "c", "c/d/e"};
const char *const mailsim_filters[MAILSIM_FILTERS] = {
    "a", "a/b", "#", "a/#", "+", "b/+", "c/d/e", "+/+"};
const char *const mailsim_groups[MAILSIM_GROUPS] = {"red", "blue"};

static struct mailsim_asked *
ask(struct mailsim *sim, struct mailsim_conn *conn, enum mailsim_kind kind,
    uint32_t which)
{
    if (conn->asked_count == MAILSIM_ASKED) {
        mailsim_fail(sim, "no room for more on one connection");
    }
    struct mailsim_asked *asked = &conn->asked[conn->asked_count++];
    *asked = (struct mailsim_asked){.kind = kind,
        .which = which,
        .end = conn->fed + conn->out.len,
        .mark = fake_mail_mark(conn->peer)};
    sim->now++;
    return asked;
}

bool
mailsim_can_say(const struct mailsim *sim, const struct mailsim_conn *conn)
{
    return conn->peer->session != NULL && conn->over == 0 && !conn->waits &&
           conn->asked_count + 100 < MAILSIM_ASKED &&
           sim->message_count + 100 < MAILSIM_MESSAGES;
}

/* ---- connecting ---------------------------------------------------------- */

/* May somebody connect with the session id? While HELLO of an older connection
 * is on its way it would be that one which takes the id over in the end. */
static bool
is_free(const struct mailsim *sim, uint32_t identity)
{
    for (uint32_t i = 0; i < sim->conn_count; i++) {
        const struct mailsim_conn *conn = &sim->conns[i];
        bool lives = sim->identities[identity].known
                         ? conn->closed == 0
                         : conn->peer->session != NULL;
        if (conn->identity == identity && lives && conn->answered_count == 0) {
            return false;
        }
    }
    return true;
}

/* Those that have the id say nothing more. */
static void
supersede(struct mailsim *sim, uint32_t identity)
{
    for (uint32_t i = 0; i < sim->conn_count; i++) {
        struct mailsim_conn *conn = &sim->conns[i];
        if (conn->identity == identity && conn->over == 0) {
            mailsim_tell(sim, conn, "is superseded");
            conn->over = sim->now;
        }
    }
}

/* Nobody will say these again. */
static void
give_up(struct mailsim *sim, uint32_t identity)
{
    for (uint32_t i = 0; i < sim->message_count; i++) {
        if (sim->messages[i].publisher == identity) {
            sim->messages[i].given_up = true;
        }
    }
}

static void
say_hello_of(struct mailsim *sim, struct mailsim_conn *conn)
{
    struct mailsim_identity *identity = &sim->identities[conn->identity];
    struct broker_hello hello = say_hello_default;
    if (identity->known) {
        memcpy(hello.session, identity->id, sizeof hello.session);
    } else {
        identity->first_message = sim->message_count;
    }
    say_hello_with(&conn->out, &hello);
    ask(sim, conn, MAILSIM_HELLO, 0);
    conn->waits =
        identity->known && !sim->deprived && random_chance(&sim->random, 70);
    if (!conn->waits) {
        give_up(sim, conn->identity);
    }
}

static bool
is_connected(const struct mailsim *sim, uint32_t identity)
{
    for (uint32_t i = 0; i < sim->conn_count; i++) {
        const struct mailsim_conn *conn = &sim->conns[i];
        if (conn->identity == identity && conn->closed == 0) {
            return true;
        }
    }
    return false;
}

void
mailsim_connect(struct mailsim *sim, uint32_t client)
{
    uint32_t identity = random_below(&sim->random, MAILSIM_IDENTITIES);
    if (sim->conn_count == MAILSIM_CONNS || !is_free(sim, identity) ||
        (is_connected(sim, identity) && random_chance(&sim->random, 60))) {
        return;
    }
    uint32_t worker = random_below(&sim->random, sim->net.workers);
    sim->now++;
    supersede(sim, identity);
    struct mailsim_conn *conn = &sim->conns[sim->conn_count++];
    sim->current[client] = sim->conn_count;
    conn->identity = identity;
    conn->opened = sim->now;
    conn->answered_before = sim->identities[identity].answered;
    conn->peer = fake_connect_to(&sim->net, worker);
    mailsim_tell(sim, conn, "connects to worker %u as %u", worker, identity);
    say_hello_of(sim, conn);
}

/* ---- publishing ---------------------------------------------------------- */

struct burst {
    uint32_t topic;
    bool numbered, retain, request, echo;
    uint32_t payload_max;
};

/* Encode the message at the end of what is said. The echo of a request is a
 * message on the topic that it names. */
static void
put_publish(struct mailsim *sim, struct say *say,
    const struct mailsim_message *message, uint32_t number,
    struct broker_bytes payload, uint16_t flags)
{
    uint8_t fields[64];
    size_t field_bytes = 0;
    uint8_t frame[FRAME_MAX];
    enum broker_status status = BROKER_OK;
    if (message->request) {
        const char *topic =
            message->echo ? mailsim_topics[message->topic] : "inbox";
        status = broker_tlv_put(fields, sizeof fields, &field_bytes,
            BROKER_TAG_CRITICAL | BROKER_TAG_REPLY_TO, say_text(topic));
    }
    if (status == BROKER_OK && message->clears) {
        status = broker_tlv_put_u32(
            fields, sizeof fields, &field_bytes, NUMBER_TAG, number);
    }
    struct broker_publish publish = {.flags = flags,
        .id = message->id,
        .topic = say_text(
            message->echo ? "$sys/echo" : mailsim_topics[message->topic]),
        .headers = {fields, field_bytes},
        .payload = payload};
    size_t size = broker_publish_size(&publish);
    if (status == BROKER_OK && size <= sizeof frame) {
        status = broker_publish_encode(&publish, frame, size, &size);
    }
    if (status != BROKER_OK || size > sizeof frame) {
        mailsim_fail(sim, "a message cannot be encoded");
    }
    say_bytes(say, frame, size);
}

/* Keep the frame as it is to be delivered. */
static void
keep(struct mailsim_message *message, const uint8_t *frame, size_t bytes)
{
    message->frame = malloc(bytes);
    message->bytes = bytes;
    memcpy(message->frame, frame, bytes);
}

static void
keep_echo(struct mailsim_message *message, struct broker_bytes payload)
{
    struct say say = {0};
    struct say_message reply = {.topic = mailsim_topics[message->topic],
        .payload = payload.data,
        .payload_bytes = payload.len};
    say_message(&say, &reply);
    keep(message, say.bytes, say.len);
    say_fini(&say);
}

static void
say_one(
    struct mailsim *sim, struct mailsim_conn *conn, const struct burst *burst)
{
    struct mailsim_identity *identity = &sim->identities[conn->identity];
    uint32_t number = sim->message_count++;
    struct mailsim_message *message = &sim->messages[number];
    uint8_t bytes[PAYLOAD_MAX];
    *message = (struct mailsim_message){.publisher = conn->identity,
        .topic = burst->topic,
        .conn = mailsim_number(sim, conn),
        .id = burst->numbered ? ++identity->next_number : 0,
        .retain = burst->retain,
        .request = burst->request,
        .echo = burst->echo,
        .clears = burst->retain && random_chance(&sim->random, 25)};
    memset(bytes, (int)number, sizeof bytes);
    memcpy(bytes, &number, sizeof number);
    struct broker_bytes payload = {
        bytes, random_between(&sim->random, 4, burst->payload_max)};
    payload.len = message->clears ? 0 : payload.len;
    size_t before = conn->out.len;
    put_publish(sim, &conn->out, message, number, payload,
        burst->retain ? BROKER_PUBLISH_RETAIN : 0);
    if (burst->echo) {
        keep_echo(message, payload);
    } else {
        keep(message, conn->out.bytes + before, conn->out.len - before);
    }
    ask(sim, conn, burst->numbered ? MAILSIM_PUBLISH : MAILSIM_UNNUMBERED,
        number);
    message->said = sim->now;
}

void
mailsim_say_publishes(struct mailsim *sim, struct mailsim_conn *conn)
{
    struct random *random = &sim->random;
    uint32_t count =
        random_between(random, 1, random_chance(random, 30) ? 12 : 3);
    struct burst burst = {.topic = random_below(random, MAILSIM_TOPICS),
        .numbered = random_chance(random, 65),
        .payload_max = random_chance(random, 20) ? PAYLOAD_MAX : 60};
    switch (random_below(random, 10)) {
    case 0:
    case 1:
        burst.retain = true;
        break;
    case 2:
        burst.request = burst.numbered = true;
        burst.retain = random_chance(random, 20);
        break;
    case 3:
        burst.request = burst.numbered = burst.echo = true;
        break;
    default:
        break;
    }
    count = burst.retain || burst.request ? (count + 3) / 4 : count;
    mailsim_tell(sim, conn, "publishes %u%s%s from %u on to %s%s%s", count,
        burst.numbered ? ", numbered" : "", burst.retain ? ", retained" : "",
        sim->message_count, burst.echo ? "$sys/echo, " : "",
        mailsim_topics[burst.topic], burst.request ? ", requests" : "");
    for (uint32_t i = 0; i < count; i++) {
        say_one(sim, conn, &burst);
    }
}

/* Say one again that was settled. It must not be routed. */
static void
say_settled(struct mailsim *sim, struct mailsim_conn *conn, uint32_t number)
{
    const struct mailsim_message *message = &sim->messages[number];
    struct broker_bytes payload = {(const uint8_t *)"again", 5};
    if (!message->echo) {
        put_publish(sim, &conn->out, message, number, payload,
            BROKER_PUBLISH_RETRY |
                (message->retain ? BROKER_PUBLISH_RETAIN : 0));
        ask(sim, conn, MAILSIM_RESAID, message->id);
    }
}

static void
say_retry(struct mailsim *sim, struct mailsim_conn *conn, uint32_t number)
{
    struct mailsim_message *message = &sim->messages[number];
    struct broker_publish publish;
    struct broker_frame frame;
    static const struct broker_limits limits = BROKER_LIMITS_DEFAULT;
    size_t n;
    if (broker_frame_decode(
            &limits, message->frame, message->bytes, &frame, &n) != BROKER_OK ||
        broker_publish_decode(&frame, &publish) != BROKER_OK) {
        mailsim_fail(sim, "a message that cannot be decoded");
    }
    put_publish(sim, &conn->out, message, number, publish.payload,
        BROKER_PUBLISH_RETRY | (message->retain ? BROKER_PUBLISH_RETAIN : 0));
    message->conn = mailsim_number(sim, conn);
    ask(sim, conn, MAILSIM_PUBLISH, number);
}

void
mailsim_say_retries(
    struct mailsim *sim, struct mailsim_conn *conn, uint32_t last_publish)
{
    uint32_t settled = MAILSIM_MESSAGES;
    for (uint32_t i = 0; i < sim->message_count; i++) {
        struct mailsim_message *message = &sim->messages[i];
        if (message->publisher != conn->identity || message->id == 0) {
            continue;
        }
        if (message->id <= last_publish) {
            settled = message->request ? settled : i;
        }
        if (message->answered != 0 || message->given_up) {
            continue;
        }
        if (message->id > last_publish) {
            mailsim_tell(sim, conn, "says %u again", i);
            say_retry(sim, conn, i);
            continue;
        }
        message->settled = true;
        if (!message->request) {
            message->fate = MAILSIM_ROUTED;
        }
    }
    if (settled < MAILSIM_MESSAGES && random_chance(&sim->random, 30)) {
        say_settled(sim, conn, settled);
    }
}

static void
say_bad_publish(struct mailsim *sim, struct mailsim_conn *conn)
{
    static const char *const topics[] = {"a/+", "$own", "a/#"};
    uint32_t id = random_chance(&sim->random, 50)
                      ? ++sim->identities[conn->identity].next_number
                      : 0;
    say_publish(&conn->out, id, topics[random_below(&sim->random, 3)], "bad");
    ask(sim, conn, MAILSIM_BAD_PUBLISH, id);
}

/* ---- subscribing --------------------------------------------------------- */

static void
say_subscription(struct mailsim *sim, struct mailsim_conn *conn)
{
    struct random *random = &sim->random;
    if (sim->subscription_count == MAILSIM_SUBSCRIPTIONS ||
        conn->next_subscription_id > 30) {
        return;
    }
    uint32_t which = sim->subscription_count++;
    struct mailsim_subscription *s = &sim->subscriptions[which];
    uint32_t policy = random_below(random, random_chance(random, 20) ? 3 : 2);
    static const enum broker_overflow policies[] = {BROKER_OVERFLOW_DROP_OLDEST,
        BROKER_OVERFLOW_DROP_NEWEST, BROKER_OVERFLOW_DISCONNECT};
    *s = (struct mailsim_subscription){.conn = mailsim_number(sim, conn),
        .id = ++conn->next_subscription_id,
        .filter = random_below(random, MAILSIM_FILTERS),
        .group = random_chance(random, 40)
                     ? random_below(random, MAILSIM_GROUPS)
                     : MAILSIM_PLAIN,
        .overflow = policies[policy],
        .no_retained = random_chance(random, 15)};
    struct say_subscription want = {.id = s->id,
        .filter = mailsim_filters[s->filter],
        .group = s->group == MAILSIM_PLAIN ? NULL : mailsim_groups[s->group],
        .overflow = s->overflow,
        .options = s->no_retained ? BROKER_SUBSCRIBE_NO_RETAINED : 0};
    say_subscribe_with(&conn->out, &want);
    ask(sim, conn, MAILSIM_SUBSCRIBE, which);
    s->asked = sim->now;
    mailsim_tell(sim, conn, "subscribes %u to %s%s%s", s->id, want.filter,
        want.group == NULL ? "" : ", group ",
        want.group == NULL ? "" : want.group);
}

static void
say_bad_subscription(struct mailsim *sim, struct mailsim_conn *conn)
{
    static const struct say_subscription bad[] = {{.id = 0, .filter = "a"},
        {.id = 77, .filter = "a#"}, {.id = 77, .filter = "a", .group = "a/b"}};
    const struct say_subscription *want = &bad[random_below(&sim->random, 3)];
    say_subscribe_with(&conn->out, want);
    ask(sim, conn, MAILSIM_BAD_SUBSCRIBE, want->id);
}

static void
say_unsubscription(struct mailsim *sim, struct mailsim_conn *conn)
{
    if (random_chance(&sim->random, 10)) {
        say_unsubscribe(&conn->out, 99, 0);
        ask(sim, conn, MAILSIM_BAD_UNSUBSCRIBE, 99);
        return;
    }
    uint32_t start = random_below(&sim->random, MAILSIM_SUBSCRIPTIONS);
    for (uint32_t i = 0; i < sim->subscription_count; i++) {
        uint32_t which = (start + i) % sim->subscription_count;
        struct mailsim_subscription *s = &sim->subscriptions[which];
        if (s->conn != mailsim_number(sim, conn) || s->left != 0) {
            continue;
        }
        s->drains = random_chance(&sim->random, 50);
        say_unsubscribe(
            &conn->out, s->id, s->drains ? BROKER_UNSUBSCRIBE_DRAIN : 0);
        ask(sim, conn, s->drains ? MAILSIM_DRAIN : MAILSIM_UNSUBSCRIBE, which);
        s->left = sim->now;
        mailsim_tell(
            sim, conn, "unsubscribes %u%s", s->id, s->drains ? ", drain" : "");
        return;
    }
}

/* ---- the rest ------------------------------------------------------------ */

void
mailsim_say_ping(struct mailsim *sim, struct mailsim_conn *conn)
{
    uint32_t id = random_between(&sim->random, 1, 1000);
    say_ping(&conn->out, id);
    ask(sim, conn, MAILSIM_PING, id);
}

void
mailsim_say_pong(struct mailsim *sim, struct mailsim_conn *conn, uint32_t id)
{
    if (!conn->reaches_end && conn->asked_count < MAILSIM_ASKED) {
        say_pong(&conn->out, id);
        ask(sim, conn, MAILSIM_OTHER, 0);
    }
}

void
mailsim_say_goaway(struct mailsim *sim, struct mailsim_conn *conn)
{
    mailsim_tell(sim, conn, "says GOAWAY");
    say_goaway(&conn->out);
    ask(sim, conn, MAILSIM_OTHER, 0);
    conn->over = sim->now;
    conn->reaches_end = true;
}

void
mailsim_half_close(struct mailsim *sim, struct mailsim_conn *conn)
{
    mailsim_tell(sim, conn, "half-closes");
    conn->over = ++sim->now;
    conn->reaches_end = conn->half_closes = true;
}

void
mailsim_say(struct mailsim *sim, struct mailsim_conn *conn)
{
    uint32_t kind = random_below(&sim->random, 100);
    bool disturbs = random_chance(&sim->random, 100 - sim->quiet_percent);
    if (kind < 55) {
        mailsim_say_publishes(sim, conn);
    } else if (kind < 75) {
        say_subscription(sim, conn);
    } else if (kind < 85 && disturbs) {
        say_unsubscription(sim, conn);
    } else if (kind < 88) {
        mailsim_say_ping(sim, conn);
    } else if (kind < 90) {
        say_bad_publish(sim, conn);
    } else if (kind < 92) {
        say_bad_subscription(sim, conn);
    } else if (kind < 94 && disturbs) {
        mailsim_say_goaway(sim, conn);
    } else if (kind < 96 && disturbs) {
        mailsim_half_close(sim, conn);
    }
}
