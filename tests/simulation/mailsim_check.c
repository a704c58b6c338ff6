/* SPDX-License-Identifier: MIT
 *
 * What must hold of all connections together, see mailsim.h. Certain is what
 * every order of events that the clients can know of leads to; what only some
 * of them lead to is possible. */
#include "mailsim.h"

#include "session.h"

#include <stdlib.h>
#include <string.h>

#define CHECK(good, ...)                                                       \
    do {                                                                       \
        if (!(good)) {                                                         \
            mailsim_fail(sim, __VA_ARGS__);                                    \
        }                                                                      \
    } while (0)

bool
mailsim_matches(uint32_t filter, uint32_t topic)
{
    /* Every filter and topic of the simulation, worked out once. */
    static uint8_t known[MAILSIM_FILTERS][MAILSIM_TOPICS];
    if (known[filter][topic] == 0) {
        known[filter][topic] =
            broker_filter_matches(say_text(mailsim_filters[filter]),
                say_text(mailsim_topics[topic]))
                ? 2
                : 1;
    }
    return known[filter][topic] == 2;
}

static const struct mailsim_conn *
conn_of(const struct mailsim *sim, const struct mailsim_subscription *s)
{
    return &sim->conns[s->conn];
}

/* ---- who matches --------------------------------------------------------- */

static bool
is_open(const struct mailsim *sim, const struct mailsim_subscription *s)
{
    const struct mailsim_conn *conn = conn_of(sim, s);
    return s->made != 0 && s->left == 0 && conn->over == 0 && conn->closed == 0;
}

/* It stays, whether it was made already or not. */
static bool
stays(const struct mailsim *sim, const struct mailsim_subscription *s)
{
    const struct mailsim_conn *conn = conn_of(sim, s);
    return s->left == 0 && conn->over == 0 && conn->closed == 0;
}

/* It was there when the message was said, and is still. */
static bool
is_certain(const struct mailsim *sim, const struct mailsim_subscription *s,
    const struct mailsim_message *message)
{
    return is_open(sim, s) && s->made < message->said;
}

/* Was it over before the message was said, as the clients know? Frames of one
 * connection are processed in their order. */
static bool
has_left(
    const struct mailsim_subscription *s, const struct mailsim_message *message)
{
    return (s->unmade != 0 && s->unmade < message->said) ||
           (s->left != 0 && s->left < message->said &&
               s->conn == message->conn);
}

/* Can it not have been meant any more? A connection may end without anybody
 * being told, and other workers learn that a group has no members there when
 * mail comes. */
static bool
is_gone(const struct mailsim *sim, const struct mailsim_subscription *s,
    const struct mailsim_message *message)
{
    mailsim_time closed = conn_of(sim, s)->closed;
    if (has_left(s, message)) {
        return true;
    }
    return closed != 0 && closed < message->said &&
           (s->group == MAILSIM_PLAIN ||
               (closed < sim->calm && sim->calm < message->said));
}

struct outcome {
    uint32_t least, most; /* subscriptions that match */
    bool stable;          /* no group has lost a member that may be chosen */
};

static struct outcome
outcome_of(const struct mailsim *sim, const struct mailsim_message *message)
{
    struct outcome outcome = {.stable = true};
    uint32_t certain = 0; /* bits of groups */
    uint32_t possible = 0;
    for (uint32_t i = 0; i < sim->subscription_count; i++) {
        const struct mailsim_subscription *s = &sim->subscriptions[i];
        if (!mailsim_matches(s->filter, message->topic)) {
            continue;
        }
        bool is = is_certain(sim, s, message);
        bool may = is || !is_gone(sim, s, message);
        if (s->group == MAILSIM_PLAIN) {
            outcome.least += is ? 1 : 0;
            outcome.most += may ? 1 : 0;
            continue;
        }
        uint32_t bit = 1u << (s->filter * MAILSIM_GROUPS + s->group);
        certain |= is ? bit : 0;
        possible |= may ? bit : 0;
        outcome.stable = outcome.stable && (stays(sim, s) || !may);
    }
    outcome.least += (uint32_t)__builtin_popcount(certain);
    outcome.most += (uint32_t)__builtin_popcount(possible);
    return outcome;
}

void
mailsim_check_outcome(
    const struct mailsim *sim, const struct mailsim_message *message)
{
    struct outcome outcome = outcome_of(sim, message);
    uint32_t number = (uint32_t)(message - sim->messages);
    uint32_t matched = message->matched;
    uint32_t refused = message->refused;
    if (message->echo) {
        CHECK(matched == 1 && refused == 0, "the broker refuses %u", number);
        return;
    }
    CHECK(matched >= outcome.least && matched <= outcome.most,
        "message %u matched %u, not %u to %u", number, matched, outcome.least,
        outcome.most);
    CHECK(matched > 0 || !message->request || message->retain,
        "message %u is a request that nobody got", number);
    CHECK(refused == 0 || !sim->ample || !outcome.stable,
        "message %u was refused by %u", number, refused);
}

void
mailsim_check_unwanted(
    const struct mailsim *sim, const struct mailsim_message *message)
{
    uint32_t least = outcome_of(sim, message).least;
    CHECK(least == 0, "message %u has no subscribers, but for %u",
        (uint32_t)(message - sim->messages), least);
}

/* ---- order --------------------------------------------------------------- */

/* Does the subscription have to get the message, or a gap? `after` is a later
 * one of the same publisher that was processed. */
static bool
is_due(const struct mailsim_subscription *s,
    const struct mailsim_message *message, const struct mailsim_message *after)
{
    bool processed =
        message->fate == MAILSIM_ROUTED ||
        (message->fate == MAILSIM_UNKNOWN && message->conn == after->conn);
    return processed && !message->echo && s->made < message->said &&
           message->topic == after->topic &&
           message->publisher == after->publisher;
}

void
mailsim_check_order(
    struct mailsim *sim, struct mailsim_subscription *s, uint32_t number)
{
    const struct mailsim_message *message = &sim->messages[number];
    uint32_t first = sim->identities[message->publisher].first_message;
    if (message->echo || number < first) {
        return; /* of the broker, or of another session */
    }
    uint32_t *last = &s->last[message->publisher][message->topic];
    uint32_t from = *last < first ? first : *last;
    CHECK(number >= *last, "subscription %u got %u after %u", s->id, number,
        *last - 1);
    uint32_t missing = 0;
    for (uint32_t i = from; i < number && s->group == MAILSIM_PLAIN; i++) {
        if (is_due(s, &sim->messages[i], message)) {
            s->certainly_missing++;
            missing = i;
        }
    }
    CHECK(s->gap_count >= s->certainly_missing,
        "subscription %u got %u, but %llu before it (%u) are missing, not %llu",
        s->id, number, (unsigned long long)s->certainly_missing, missing,
        (unsigned long long)s->gap_count);
    *last = number + 1;
}

/* ---- at any time --------------------------------------------------------- */

static void
note_closed(struct mailsim *sim)
{
    for (uint32_t i = 0; i < sim->conn_count; i++) {
        struct mailsim_conn *conn = &sim->conns[i];
        const struct session *session = conn->peer->session;
        if (conn->closed != 0 ||
            (session != NULL && session->state != SESSION_CLOSING)) {
            continue;
        }
        conn->closed = ++sim->now;
        conn->loses = session == NULL ||
                      (session->close_code != BROKER_E_LEAVING &&
                          session->close_code != BROKER_E_SHUTTING_DOWN);
        mailsim_tell(sim, conn, "is closed");
        CHECK(session != NULL || conn->dropped || sim->deprived ||
                  conn->peer->end == SESSION_FINISHED ||
                  sim->net.logged_code == BROKER_E_HEARTBEAT_TIMEOUT,
            "connection %u is aborted", i);
    }
}

/* A session id is open on one connection. */
static void
check_open_ids(const struct mailsim *sim)
{
    const struct claim *open[MAILSIM_CONNS];
    uint32_t count = 0;
    for (uint32_t i = 0; i < sim->conn_count; i++) {
        const struct session *session = sim->conns[i].peer->session;
        if (session == NULL || session->state != SESSION_OPEN) {
            continue;
        }
        open[count] = session->remote->claim;
        CHECK(open[count] != NULL, "connection %u has no session id", i);
        for (uint32_t j = 0; j < count; j++) {
            CHECK(memcmp(open[j]->id, open[count]->id, sizeof open[j]->id) != 0,
                "a session is open twice, as connection %u too", i);
        }
        count++;
    }
}

void
mailsim_check(struct mailsim *sim)
{
    note_closed(sim);
    fake_check(&sim->net);
    check_open_ids(sim);
}

void
mailsim_check_answered(
    const struct mailsim *sim, const struct mailsim_conn *conn)
{
    uint32_t n = mailsim_number(sim, conn);
    CHECK(conn->peer->decoded_bytes == conn->peer->received_bytes,
        "connection %u: half a frame is left", n);
    for (uint32_t i = conn->answered_count; i < conn->fed_count; i++) {
        const struct mailsim_asked *asked = &conn->asked[i];
        CHECK(asked->kind == MAILSIM_UNNUMBERED ||
                  asked->kind == MAILSIM_OTHER || asked->kind == MAILSIM_DRAIN,
            "connection %u: no answer to %u (kind %d)", n, asked->which,
            asked->kind);
    }
    for (uint32_t i = 0; i < sim->subscription_count; i++) {
        const struct mailsim_subscription *s = &sim->subscriptions[i];
        CHECK(s->conn != n || !s->drains || s->left == 0 || s->ended,
            "connection %u: no UNSUBACK %u", n, s->id);
    }
}

/* ---- when all is delivered: plain subscriptions -------------------------- */

static const struct subscription *
books_of(const struct mailsim *sim, const struct mailsim_subscription *s)
{
    const struct session *session = conn_of(sim, s)->peer->session;
    const struct subscription *subscription = NULL;
    while ((subscription = session_next_subscription(session, subscription)) !=
           NULL) {
        if (subscription->id == s->id) {
            return subscription;
        }
    }
    mailsim_fail(sim, "subscription %u is gone", s->id);
}

static void
check_counts(const struct mailsim *sim, const struct mailsim_subscription *s)
{
    uint64_t certain = 0;
    uint64_t possible = 0;
    for (uint32_t i = 0; i < sim->message_count; i++) {
        const struct mailsim_message *message = &sim->messages[i];
        if (mailsim_has(&s->received, i) || message->fate == MAILSIM_REFUSED ||
            !mailsim_matches(s->filter, message->topic)) {
            continue;
        }
        possible++;
        certain +=
            message->fate == MAILSIM_ROUTED && s->made < message->said ? 1 : 0;
    }
    CHECK(s->group != MAILSIM_PLAIN ||
              (s->gap_count >= certain && s->gap_count <= possible),
        "connection %u, subscription %u: %llu to %llu are missing, not %llu",
        s->conn, s->id, (unsigned long long)certain,
        (unsigned long long)possible, (unsigned long long)s->gap_count);
    const struct books *books = &books_of(sim, s)->books;
    CHECK(books->matched == s->received_count + s->gap_count,
        "connection %u, subscription %u matched %llu, but %llu and %llu came",
        s->conn, s->id, (unsigned long long)books->matched,
        (unsigned long long)s->received_count,
        (unsigned long long)s->gap_count);
    CHECK(s->gap_count > 0 || s->retained_received == s->retained_announced,
        "connection %u, subscription %u: %u retained values, not %u", s->conn,
        s->id, s->retained_received, s->retained_announced);
}

/* ---- retained values ----------------------------------------------------- */

/* The value that the broker keeps: message + 1, or 0. */
static uint32_t
retained_value(const struct mailsim *sim, uint32_t topic)
{
    size_t count = 0;
    struct retained_copy *values = retained_copies(
        &sim->net.core->retained, say_text(mailsim_topics[topic]), &count);
    uint32_t value = 0;
    for (uint32_t i = 0; values != NULL && i < sim->message_count; i++) {
        const struct mailsim_message *message = &sim->messages[i];
        if (message->retain && message->bytes == values->bytes &&
            memcmp(message->frame + BROKER_HEADER_BYTES,
                values->data + BROKER_HEADER_BYTES,
                message->bytes - BROKER_HEADER_BYTES) == 0) {
            value = i + 1;
        }
    }
    CHECK(values == NULL || (count == 1 && value != 0),
        "a value that nobody retained, on %s", mailsim_topics[topic]);
    free(values);
    return value;
}

/* No other publish can have been the last one on the topic if it began after
 * this one had been answered. */
static bool
may_be_last(const struct mailsim *sim, uint32_t number)
{
    const struct mailsim_message *last = &sim->messages[number];
    for (uint32_t i = 0; i < sim->message_count; i++) {
        const struct mailsim_message *message = &sim->messages[i];
        if (message->retain && message->topic == last->topic &&
            message->fate == MAILSIM_ROUTED && last->answered != 0 &&
            last->answered < message->said) {
            return false;
        }
    }
    return last->fate != MAILSIM_REFUSED;
}

static void
check_kept(const struct mailsim *sim, uint32_t topic, uint32_t value)
{
    bool somebody = false;
    bool may = value != 0 && may_be_last(sim, value - 1);
    for (uint32_t i = 0; value == 0 && i < sim->message_count; i++) {
        const struct mailsim_message *message = &sim->messages[i];
        if (message->retain && message->topic == topic) {
            somebody = somebody || message->fate == MAILSIM_ROUTED;
            may = may || (message->clears && may_be_last(sim, i));
        }
    }
    CHECK(may || (value == 0 && !somebody),
        "the value of %s, %d, is not the last", mailsim_topics[topic],
        (int)value - 1);
}

static void
check_value(const struct mailsim *sim, const struct mailsim_subscription *s,
    uint32_t topic, uint32_t value)
{
    uint32_t known = s->value[topic];
    bool cleared = known == 0 || sim->messages[known - 1].clears;
    bool ignores = s->no_retained && known == 0 &&
                   (value == 0 || sim->messages[value - 1].said <= s->made);
    CHECK(ignores || known == value || (value == 0 && cleared),
        "connection %u, subscription %u knows value %d of %s, not %d", s->conn,
        s->id, (int)known - 1, mailsim_topics[topic], (int)value - 1);
}

static void
check_values(const struct mailsim *sim)
{
    for (uint32_t topic = 0; topic < MAILSIM_TOPICS; topic++) {
        uint32_t value = retained_value(sim, topic);
        check_kept(sim, topic, value);
        for (uint32_t i = 0; i < sim->subscription_count; i++) {
            const struct mailsim_subscription *s = &sim->subscriptions[i];
            if (is_open(sim, s) && s->group == MAILSIM_PLAIN &&
                s->gap_count == 0 && mailsim_matches(s->filter, topic)) {
                check_value(sim, s, topic, value);
            }
        }
    }
}

/* ---- queue groups -------------------------------------------------------- */

/* Had the group a member from when the message was said until now, and lost
 * none that may have been chosen? */
static bool
was_stable(const struct mailsim *sim, uint32_t filter, uint32_t group,
    const struct mailsim_message *message)
{
    bool somebody = false;
    for (uint32_t i = 0; i < sim->subscription_count; i++) {
        const struct mailsim_subscription *s = &sim->subscriptions[i];
        if (s->filter != filter || s->group != group) {
            continue;
        }
        bool later = message->answered != 0 && message->answered < s->asked;
        if (!stays(sim, s) && !later && !is_gone(sim, s, message)) {
            return false;
        }
        somebody = somebody || is_certain(sim, s, message);
    }
    return somebody;
}

static void
check_group(const struct mailsim *sim, uint32_t filter, uint32_t group)
{
    unsigned bit = 1u << (filter * MAILSIM_GROUPS + group);
    uint64_t missing = 0;
    uint64_t gaps = 0;
    uint32_t last = 0;
    for (uint32_t i = 0; i < sim->message_count; i++) {
        const struct mailsim_message *message = &sim->messages[i];
        if (mailsim_matches(filter, message->topic) &&
            message->fate == MAILSIM_ROUTED &&
            (message->group_receipts & bit) == 0 &&
            was_stable(sim, filter, group, message)) {
            missing++;
            last = i;
        }
    }
    for (uint32_t i = 0; i < sim->subscription_count; i++) {
        const struct mailsim_subscription *s = &sim->subscriptions[i];
        if (s->filter == filter && s->group == group) {
            gaps += s->gap_count;
        }
    }
    CHECK(missing <= gaps,
        "group %s of %s misses %llu up to %u, but gaps are of %llu",
        mailsim_groups[group], mailsim_filters[filter],
        (unsigned long long)missing, last, (unsigned long long)gaps);
}

/* Nobody gets what it has refused. The parts of a run share one number of
 * matches, that of the first part: a subscription that is made while they are
 * on their way may get the last of them and not be counted. */
static void
check_receipts(const struct mailsim *sim)
{
    for (uint32_t i = 0; i < sim->message_count; i++) {
        const struct mailsim_message *message = &sim->messages[i];
        CHECK(message->matched == 0 || message->echo ||
                  message->receipts <= message->matched - message->refused,
            "message %u came to %u, but matched %u and was refused by %u", i,
            message->receipts, message->matched, message->refused);
    }
}

/* ---- all ----------------------------------------------------------------- */

void
mailsim_check_calm(struct mailsim *sim)
{
    for (uint32_t i = 0; i < sim->subscription_count; i++) {
        const struct mailsim_subscription *s = &sim->subscriptions[i];
        if (is_open(sim, s)) {
            check_counts(sim, s);
        }
    }
    check_values(sim);
    check_receipts(sim);
    for (uint32_t filter = 0; filter < MAILSIM_FILTERS; filter++) {
        for (uint32_t group = 0; group < MAILSIM_GROUPS; group++) {
            check_group(sim, filter, group);
        }
    }
    sim->calm = ++sim->now;
}
