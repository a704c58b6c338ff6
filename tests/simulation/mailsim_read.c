/* SPDX-License-Identifier: MIT
 *
 * A client of the mail simulation that believes nothing: each frame is compared
 * with what was asked, and with what came before. See mailsim.h. */
#include "mailsim.h"

#include <stdlib.h>
#include <string.h>

#define NUMBER_TAG 0x7001

#define CHECK(good, ...)                                                       \
    do {                                                                       \
        if (!(good)) {                                                         \
            mailsim_fail(sim, __VA_ARGS__);                                    \
        }                                                                      \
    } while (0)

static struct mailsim_subscription *
find(struct mailsim *sim, const struct mailsim_conn *conn, uint32_t id,
    const char *what)
{
    for (uint32_t i = 0; i < sim->subscription_count; i++) {
        struct mailsim_subscription *s = &sim->subscriptions[i];
        if (s->conn == mailsim_number(sim, conn) && s->id == id) {
            CHECK(s->made != 0, "%s names %u, which was not made", what, id);
            CHECK(!s->ended, "%s names %u, which has ended", what, id);
            return s;
        }
    }
    mailsim_fail(sim, "%s names subscription %u, which nobody made", what, id);
}

/* ---- data ---------------------------------------------------------------- */

static void
read_context(void *world, void *client, uint32_t id)
{
    (void)find(world, client, id, "CONTEXT");
}

/* Which message is it? It has to be the same, byte for byte, but for the flag
 * that says that it was said again. */
static uint32_t
identify(struct mailsim *sim, const struct broker_frame *frame,
    const struct broker_publish *publish)
{
    uint32_t number = UINT32_MAX;
    struct broker_bytes field;
    if (publish->payload.len >= sizeof number) {
        memcpy(&number, publish->payload.data, sizeof number);
    } else if (broker_tlv_find(publish->headers, NUMBER_TAG, &field) &&
               field.len == sizeof number) {
        number = (uint32_t)field.data[2] << 8 | field.data[3];
    }
    CHECK(number < sim->message_count, "a message that nobody published");
    const struct mailsim_message *message = &sim->messages[number];
    uint16_t flags = message->retain ? BROKER_PUBLISH_RETAIN : 0;
    CHECK(message->bytes == frame->body.len + BROKER_HEADER_BYTES &&
              memcmp(message->frame + BROKER_HEADER_BYTES, frame->body.data,
                  frame->body.len) == 0,
        "message %u was changed on its way", number);
    CHECK(frame->id == (message->echo ? 0 : message->id) &&
              (frame->flags & ~BROKER_PUBLISH_RETRY) == flags,
        "the header of message %u was changed on its way", number);
    return number;
}

static void
read_for(struct mailsim *sim, const struct mailsim_conn *conn,
    struct mailsim_subscription *s, uint32_t number)
{
    struct mailsim_message *message = &sim->messages[number];
    CHECK(mailsim_matches(s->filter, message->topic),
        "message %u does not match subscription %u", number, s->id);
    CHECK(!mailsim_has(&s->received, number),
        "message %u came twice to subscription %u", number, s->id);
    mailsim_check_order(sim, s, number);
    mailsim_set(&s->received, number);
    s->received_count++;
    if (message->retain) {
        s->value[message->topic] = number + 1;
    }
    if (conn->reader.context_retained) {
        CHECK(s->group == MAILSIM_PLAIN && !s->no_retained,
            "subscription %u wants no retained values", s->id);
        CHECK(message->retain, "message %u was not to be retained", number);
        CHECK(++s->retained_received <= s->retained_announced,
            "more retained values than SUBACK said");
    } else if (s->made < message->said) {
        message->receipts++; /* whoever came later need not be counted */
    }
    if (s->group != MAILSIM_PLAIN) {
        unsigned bit = 1u << (s->filter * MAILSIM_GROUPS + s->group);
        CHECK((message->group_receipts & bit) == 0,
            "message %u came to two members of a group", number);
        message->group_receipts |= (uint16_t)bit;
    }
}

/* A live message names all subscriptions of the connection that it is for. */
static void
check_named(struct mailsim *sim, const struct mailsim_conn *conn,
    const struct mailsim_subscription *s, uint32_t number)
{
    const struct mailsim_message *message = &sim->messages[number];
    CHECK(s->group != MAILSIM_PLAIN || s->made == 0 || s->left != 0 ||
              s->made >= message->said ||
              !mailsim_matches(s->filter, message->topic),
        "connection %u: message %u came without subscription %u",
        mailsim_number(sim, conn), number, s->id);
}

static void
read_publish(void *world, void *client, const struct broker_frame *frame,
    const struct broker_publish *publish)
{
    struct mailsim *sim = world;
    struct mailsim_conn *conn = client;
    uint32_t number = identify(sim, frame, publish);
    struct mailsim_message *message = &sim->messages[number];
    CHECK(message->fate != MAILSIM_REFUSED, "message %u was refused", number);
    message->received = true;
    mailsim_tell(sim, conn, "receives %u%s for %u subscriptions, %u and others",
        number, conn->reader.context_retained ? ", retained" : "",
        conn->reader.context_count, conn->reader.context[0]);
    if (!conn->reader.context_retained) {
        CHECK(!mailsim_has(&conn->live, number),
            "message %u came twice to connection %u", number,
            mailsim_number(sim, conn));
        mailsim_set(&conn->live, number);
    }
    for (uint32_t i = 0; i < sim->subscription_count; i++) {
        struct mailsim_subscription *s = &sim->subscriptions[i];
        if (s->conn != mailsim_number(sim, conn) || s->ended) {
            continue;
        }
        if (s->made != 0 && reader_in_context(&conn->reader, s->id)) {
            read_for(sim, conn, s, number);
        } else if (!conn->reader.context_retained) {
            check_named(sim, conn, s, number);
        }
    }
}

static void
read_gap(void *world, void *client, const struct broker_gap *gap)
{
    struct mailsim *sim = world;
    struct mailsim_conn *conn = client;
    CHECK(!sim->ample, "a GAP where nothing can overflow");
    for (size_t i = 0; i < gap->ids.count; i++) {
        find(sim, conn, broker_ids_get(gap->ids, i), "GAP")->gap_count +=
            gap->count;
    }
}

/* ---- answers ------------------------------------------------------------- */

/* What the broker has to answer next. What needs no answer and stands before it
 * was processed. */
static const struct mailsim_asked *
next_asked(struct mailsim *sim, struct mailsim_conn *conn, const char *what)
{
    while (conn->answered_count < conn->fed_count) {
        const struct mailsim_asked *asked = &conn->asked[conn->answered_count];
        switch (asked->kind) {
        case MAILSIM_UNNUMBERED:
            sim->messages[asked->which].fate = MAILSIM_ROUTED;
            break;
        case MAILSIM_OTHER:
        case MAILSIM_DRAIN:
            break;
        default:
            return asked;
        }
        conn->answered_count++;
    }
    mailsim_fail(sim, "connection %u: %s, but nothing is to be answered",
        mailsim_number(sim, conn), what);
}

static const struct mailsim_asked *
answered(struct mailsim *sim, struct mailsim_conn *conn, enum mailsim_kind kind,
    uint32_t which, const char *what)
{
    const struct mailsim_asked *asked = next_asked(sim, conn, what);
    CHECK(asked->kind == kind && asked->which == which,
        "connection %u: %s of %u, but it is the turn of %u (kind %d)",
        mailsim_number(sim, conn), what, which, asked->which, asked->kind);
    conn->answered_count++;
    return asked;
}

static void
note_answered(struct mailsim *sim, const struct mailsim_conn *conn, uint32_t id)
{
    struct mailsim_identity *identity = &sim->identities[conn->identity];
    if (id > identity->answered) {
        identity->answered = id;
    }
}

/* The message with this number, which is to be answered next. */
static struct mailsim_message *
answered_message(struct mailsim *sim, struct mailsim_conn *conn, uint32_t id,
    const char *what)
{
    const struct mailsim_asked *asked = next_asked(sim, conn, what);
    struct mailsim_message *message = &sim->messages[asked->which];
    CHECK(asked->kind == MAILSIM_PUBLISH && message->id == id,
        "connection %u: %s %u, but it is the turn of %u (kind %d)",
        mailsim_number(sim, conn), what, id,
        asked->kind == MAILSIM_PUBLISH ? message->id : asked->which,
        asked->kind);
    conn->answered_count++;
    CHECK(message->answered == 0, "number %u is answered twice", id);
    CHECK(message->conn == mailsim_number(sim, conn) || message->settled,
        "number %u is answered, but a later WELCOME did not know it", id);
    message->answered = sim->now;
    note_answered(sim, conn, id);
    return message;
}

static void
read_puback(void *world, void *client, const struct broker_puback *puback)
{
    struct mailsim *sim = world;
    struct mailsim_conn *conn = client;
    mailsim_tell(sim, conn, "PUBACK %u, %u of them, matched %u, refused %u",
        puback->id, puback->count, puback->matched, puback->refused);
    if ((puback->flags & BROKER_PUBACK_DUPLICATE) != 0) {
        CHECK(puback->count == 1, "several are DUPLICATE");
        answered(sim, conn, MAILSIM_RESAID, puback->id, "DUPLICATE");
        return;
    }
    for (uint32_t i = 0; i < puback->count; i++) {
        struct mailsim_message *message = answered_message(
            sim, conn, puback->id - puback->count + 1 + i, "PUBACK");
        message->fate = MAILSIM_ROUTED;
        message->matched = puback->matched;
        message->refused = puback->refused;
        mailsim_check_outcome(sim, message);
    }
}

static void
read_publish_error(struct mailsim *sim, struct mailsim_conn *conn,
    const struct broker_error *error)
{
    const struct mailsim_asked *asked = next_asked(sim, conn, "ERROR");
    if (asked->kind == MAILSIM_BAD_PUBLISH) {
        answered(sim, conn, MAILSIM_BAD_PUBLISH, error->id, "ERROR");
        note_answered(sim, conn, error->id);
        return;
    }
    struct mailsim_message *message =
        answered_message(sim, conn, error->id, "ERROR");
    CHECK(error->code == BROKER_E_NO_SUBSCRIBERS && message->request,
        "number %u got %s", error->id, broker_status_name(error->code));
    CHECK(!message->received, "number %u was refused and received", error->id);
    message->fate = MAILSIM_REFUSED;
    mailsim_check_unwanted(sim, message);
}

/* A SUBSCRIBE that is refused at once does not wait for those before it. */
static void
read_subscribe_error(
    struct mailsim *sim, struct mailsim_conn *conn, uint32_t id)
{
    (void)next_asked(sim, conn, "ERROR");
    for (uint32_t i = conn->answered_count; i < conn->fed_count; i++) {
        struct mailsim_asked *asked = &conn->asked[i];
        if (asked->kind == MAILSIM_BAD_SUBSCRIBE && asked->which == id) {
            asked->kind = MAILSIM_OTHER;
            return;
        }
        if (asked->kind != MAILSIM_SUBSCRIBE && asked->kind != MAILSIM_OTHER &&
            asked->kind != MAILSIM_BAD_SUBSCRIBE) {
            break;
        }
    }
    mailsim_fail(sim, "an ERROR to SUBSCRIBE %u", id);
}

static void
read_error(void *world, void *client, const struct broker_error *error)
{
    struct mailsim *sim = world;
    struct mailsim_conn *conn = client;
    mailsim_tell(
        sim, conn, "ERROR %u, %s", error->id, broker_status_name(error->code));
    switch (error->frame_type) {
    case BROKER_FRAME_PUBLISH:
        read_publish_error(sim, conn, error);
        break;
    case BROKER_FRAME_SUBSCRIBE:
        read_subscribe_error(sim, conn, error->id);
        break;
    case BROKER_FRAME_UNSUBSCRIBE:
        answered(sim, conn, MAILSIM_BAD_UNSUBSCRIBE, error->id, "ERROR");
        break;
    default:
        CHECK(error->code == BROKER_E_HANDSHAKE_TIMEOUT &&
                  conn->answered_count == 0,
            "an ERROR that nothing called for: %s",
            broker_status_name(error->code));
        break;
    }
}

static void
read_suback(void *world, void *client, const struct broker_suback *suback)
{
    struct mailsim *sim = world;
    struct mailsim_conn *conn = client;
    const struct mailsim_asked *asked = next_asked(sim, conn, "SUBACK");
    struct mailsim_subscription *s = &sim->subscriptions[asked->which];
    CHECK(asked->kind == MAILSIM_SUBSCRIBE && s->id == suback->id,
        "connection %u: SUBACK %u comes too soon", mailsim_number(sim, conn),
        suback->id);
    conn->answered_count++;
    CHECK(suback->overflow == s->overflow, "SUBACK %u: policy", s->id);
    s->made = sim->now;
    s->retained_announced = suback->retained;
    mailsim_tell(sim, conn, "SUBACK %u", s->id);
}

static void
read_unsuback(void *world, void *client, const struct broker_unsuback *unsuback)
{
    struct mailsim *sim = world;
    struct mailsim_conn *conn = client;
    struct mailsim_subscription *s = find(sim, conn, unsuback->id, "UNSUBACK");
    CHECK(s->left != 0, "UNSUBACK %u, but nobody asked", s->id);
    if (!s->drains) {
        const struct mailsim_asked *asked = next_asked(sim, conn, "UNSUBACK");
        answered(sim, conn, MAILSIM_UNSUBSCRIBE,
            (uint32_t)(s - sim->subscriptions), "UNSUBACK");
        (void)asked;
    }
    CHECK(unsuback->delivered == s->received_count,
        "UNSUBACK %u: %llu delivered, %llu received", s->id,
        (unsigned long long)unsuback->delivered,
        (unsigned long long)s->received_count);
    CHECK(!s->drains || conn->loses ||
              unsuback->matched == s->received_count + s->gap_count,
        "UNSUBACK %u: drained, but %llu of %llu", s->id,
        (unsigned long long)(s->received_count + s->gap_count),
        (unsigned long long)unsuback->matched);
    s->unmade = sim->now;
    s->ended = true;
    mailsim_tell(sim, conn, "UNSUBACK %u", s->id);
}

/* ---- the rest ------------------------------------------------------------ */

static void
read_welcome(void *world, void *client, const struct broker_welcome *welcome)
{
    struct mailsim *sim = world;
    struct mailsim_conn *conn = client;
    struct mailsim_identity *identity = &sim->identities[conn->identity];
    answered(sim, conn, MAILSIM_HELLO, 0, "WELCOME");
    mailsim_tell(sim, conn, "WELCOME, %u", welcome->last_publish);
    CHECK(!identity->known ||
              memcmp(identity->id, welcome->session, sizeof identity->id) == 0,
        "WELCOME to another session");
    CHECK(identity->known || welcome->last_publish == 0,
        "a new session has published %u", welcome->last_publish);
    /* Only the last one may know of what it answered itself. */
    uint32_t before = conn->over != 0 || conn->closed != 0
                          ? conn->answered_before
                          : identity->answered;
    CHECK(welcome->last_publish >= before,
        "WELCOME knows number %u as the last, but %u was answered",
        welcome->last_publish, before);
    CHECK(welcome->last_publish <= identity->next_number,
        "WELCOME knows number %u, but %u was the last that was said",
        welcome->last_publish, identity->next_number);
    memcpy(identity->id, welcome->session, sizeof identity->id);
    identity->known = true;
    if (conn->waits && conn->over == 0) {
        conn->waits = false;
        mailsim_say_retries(sim, conn, welcome->last_publish);
    }
}

static void
read_ping(void *world, void *client, const struct broker_ping *ping)
{
    struct mailsim *sim = world;
    struct mailsim_conn *conn = client;
    if (ping->pong) {
        answered(sim, conn, MAILSIM_PING, ping->id, "PONG");
    } else {
        mailsim_say_pong(sim, conn, ping->id);
    }
}

/* The broker is through with all numbers up to this one. */
static void
check_settled(struct mailsim *sim, const struct mailsim_conn *conn, uint32_t id)
{
    for (uint32_t i = conn->answered_count; i < conn->fed_count; i++) {
        const struct mailsim_asked *asked = &conn->asked[i];
        CHECK(asked->kind != MAILSIM_PUBLISH ||
                  sim->messages[asked->which].id > id,
            "number %u was not answered before GOAWAY %u",
            sim->messages[asked->which].id, id);
    }
}

/* Has somebody else connected with the same session id since? Or before, but
 * was lost before WELCOME came: then HELLO may have been late. */
static bool
was_superseded(const struct mailsim *sim, const struct mailsim_conn *conn)
{
    for (uint32_t i = 0; i < sim->conn_count; i++) {
        const struct mailsim_conn *other = &sim->conns[i];
        if (other != conn && other->identity == conn->identity &&
            (other->opened > conn->opened || other->answered_count == 0)) {
            return true;
        }
    }
    return false;
}

static void
read_goaway(void *world, void *client, const struct broker_goaway *goaway)
{
    struct mailsim *sim = world;
    struct mailsim_conn *conn = client;
    mailsim_tell(sim, conn, "GOAWAY, %s", broker_status_name(goaway->code));
    switch ((enum broker_status)goaway->code) {
    case BROKER_E_SESSION_TAKEN:
        CHECK(was_superseded(sim, conn), "SESSION_TAKEN, but by nobody");
        break;
    case BROKER_E_SLOW_CONSUMER:
        CHECK(!sim->ample, "SLOW_CONSUMER where nothing can overflow");
        break;
    case BROKER_E_SHUTTING_DOWN:
        CHECK(sim->shutting_down, "SHUTTING_DOWN");
        check_settled(sim, conn, goaway->id);
        break;
    case BROKER_E_HANDSHAKE_TIMEOUT:
    case BROKER_E_HEARTBEAT_TIMEOUT:
        break;
    default:
        mailsim_fail(sim, "connection %u is closed: %s",
            mailsim_number(sim, conn), broker_status_name(goaway->code));
    }
}

static void
read_frame(void *world, void *client, const struct broker_frame *frame)
{
    struct mailsim *sim = world;
    (void)client;
    (void)frame;
    sim->now++;
}

void
mailsim_read(struct mailsim *sim, struct mailsim_conn *conn)
{
    static const struct reader_calls calls = {.frame = read_frame,
        .welcome = read_welcome,
        .error = read_error,
        .ping = read_ping,
        .goaway = read_goaway,
        .puback = read_puback,
        .suback = read_suback,
        .unsuback = read_unsuback,
        .gap = read_gap,
        .context = read_context,
        .publish = read_publish};
    reader_read(&conn->reader, conn->peer, &calls, sim, conn);
}
