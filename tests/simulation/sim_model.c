/* SPDX-License-Identifier: MIT
 *
 * What a frame means once the core has processed it; see sim.h. */
#include "sim.h"

#include "session.h"

#include <stdlib.h>
#include <string.h>

const char *const sim_topics[SIM_TOPICS] = {
    "a", "a/b", "a/b/c", "b", "b//c", "/a", "a/", "c/d/e/f"};
const char *const sim_filters[SIM_FILTERS] = {"a", "a/b", "#", "a/#", "+",
    "+/b", "a/+", "b//c", "+/+/+", "/#", "c/+/e/#", "+/#"};
const char *const sim_groups[SIM_GROUPS] = {"red", "blue"};
const char *const sim_bad_topics[3] = {"a/+", "a/#/b", "$own"};

static bool
matches(uint32_t filter, uint32_t topic)
{
    return broker_filter_matches(
        say_text(sim_filters[filter]), say_text(sim_topics[topic]));
}

uint32_t
sim_keep_message(struct sim *sim, const struct sim_message *message,
    const uint8_t *frame, size_t bytes)
{
    if (sim->message_count == SIM_MESSAGES) {
        sim_fail(sim, "the simulation has room for no more messages");
    }
    struct sim_message *kept = &sim->messages[sim->message_count];
    *kept = *message;
    kept->frame = malloc(bytes);
    kept->bytes = bytes;
    memcpy(kept->frame, frame, bytes);
    return sim->message_count++;
}

/* ---- matching ------------------------------------------------------------ */

static void
add_match(
    struct sim_subscription *subscription, uint32_t message, bool retained)
{
    if (subscription->matched_count == subscription->matched_capacity) {
        uint32_t capacity = subscription->matched_capacity * 2 + 16;
        subscription->matched = realloc(
            subscription->matched, capacity * sizeof *subscription->matched);
        subscription->matched_capacity = capacity;
    }
    subscription->matched[subscription->matched_count++] =
        (struct sim_match){message, retained};
}

/* How many subscriptions a message on the topic is for, a group counting once;
 * entered for the plain ones if `message` is not NULL. */
static uint32_t
route(struct sim *sim, uint32_t topic, const uint32_t *message)
{
    uint32_t matched = 0;
    if (message != NULL) {
        sim->messages[*message].order = ++sim->order;
    }
    bool counted[SIM_FILTERS][SIM_GROUPS] = {{false}};
    for (uint32_t c = 0; c < SIM_CLIENTS; c++) {
        struct sim_client *client = &sim->clients[c];
        for (uint32_t i = 0; i < client->subscription_count; i++) {
            struct sim_subscription *s = &client->subscriptions[i];
            if (!s->matching || client->stopped || !matches(s->filter, topic)) {
                continue;
            }
            if (s->group == SIM_GROUPS) {
                matched++;
                if (message != NULL) {
                    add_match(s, *message, false);
                }
            } else if (!counted[s->filter][s->group]) {
                counted[s->filter][s->group] = true;
                matched++;
            }
        }
    }
    return matched;
}

uint32_t
sim_collect_retained(
    const struct sim *sim, uint32_t filter, uint32_t found[SIM_TOPICS])
{
    uint32_t count = 0;
    for (uint64_t serial = 1; serial <= sim->serial; serial++) {
        for (uint32_t topic = 0; topic < SIM_TOPICS; topic++) {
            if (sim->retained[topic] != 0 &&
                sim->retained_serial[topic] == serial &&
                matches(filter, topic)) {
                found[count++] = sim->retained[topic] - 1;
            }
        }
    }
    return count;
}

/* ---- acts ---------------------------------------------------------------- */

static void
apply_subscribe(struct sim *sim, struct sim_client *client, uint32_t which)
{
    struct sim_subscription *s = &client->subscriptions[which];
    s->processed = s->matching = true;
    if (s->group == SIM_GROUPS && !sim->memory_is_short) {
        uint32_t found[SIM_TOPICS];
        s->retained_count = sim_collect_retained(sim, s->filter, found);
        for (uint32_t i = 0; i < s->retained_count; i++) {
            add_match(s, found[i], true);
        }
    }
}

static void
expect(struct sim *sim, struct sim_client *client, uint32_t id,
    struct sim_answer answer)
{
    if (id == 0) {
        client->unnumbered_errors += answer.expect == SIM_EXPECT_ERROR ? 1 : 0;
        return;
    }
    struct sim_identity *identity = &sim->identities[client->identity];
    if (answer.expect != SIM_EXPECT_DUPLICATE &&
        (identity->settled == 0 ||
            identity_number_above(id, identity->settled))) {
        identity->settled = id;
    }
    answer.id = id;
    answer.inexact = sim->somebody_lost;
    client->answers[client->answer_count++] = answer;
}

static bool
retain(struct sim *sim, uint32_t number)
{
    const struct sim_message *message = &sim->messages[number];
    uint32_t topic = message->topic;
    if (message->payload_bytes == 0) {
        sim->retained[topic] = 0;
        return true;
    }
    uint32_t count = 0;
    for (uint32_t i = 0; i < SIM_TOPICS; i++) {
        count += i != topic && sim->retained[i] != 0 ? 1 : 0;
    }
    if (count >= sim->net.options.max_retained_topics) {
        return false;
    }
    sim->retained[topic] = number + 1;
    sim->retained_serial[topic] = ++sim->serial;
    return true;
}

/* "$sys/echo": the broker publishes the payload to the topic of the reply. */
static void
apply_echo(
    struct sim *sim, struct sim_client *client, const struct sim_act *act)
{
    const struct sim_message *request = &sim->messages[act->which];
    if (route(sim, 1, NULL) == 0) {
        expect(sim, client, request->id,
            (struct sim_answer){
                .expect = SIM_EXPECT_ERROR, .code = BROKER_E_NO_SUBSCRIBERS});
        return;
    }
    struct sim_message reply = {.publisher = SIM_IDENTITIES, .topic = 1};
    struct say say = {0};
    struct say_message message = {.topic = sim_topics[1],
        .payload = request->frame + request->bytes - request->payload_bytes,
        .payload_bytes = request->payload_bytes};
    say_message(&say, &message);
    uint32_t number = sim_keep_message(sim, &reply, say.bytes, say.len);
    say_fini(&say);
    route(sim, reply.topic, &number);
    expect(sim, client, request->id,
        (struct sim_answer){.expect = SIM_EXPECT_ACK, .matched = 1});
}

static void
apply_publish(
    struct sim *sim, struct sim_client *client, const struct sim_act *act)
{
    const struct sim_message *message = &sim->messages[act->which];
    const struct sim_identity *identity = &sim->identities[client->identity];
    struct sim_answer refused = {
        .expect = SIM_EXPECT_ERROR, .code = act->refusal};
    client->publishes_processed++;
    if (act->retry && identity->settled != 0 &&
        !identity_number_above(message->id, identity->settled)) {
        expect(sim, client, message->id,
            (struct sim_answer){.expect = SIM_EXPECT_DUPLICATE});
        return;
    }
    if (act->refusal != BROKER_OK) {
        expect(sim, client, message->id, refused);
        return;
    }
    if (message->topic == SIM_TOPICS) {
        apply_echo(sim, client, act);
        return;
    }
    uint32_t matched = route(sim, message->topic, NULL);
    if (act->request && matched == 0) {
        refused.code = BROKER_E_NO_SUBSCRIBERS;
    } else if ((message->flags & BROKER_PUBLISH_RETAIN) != 0 &&
               !retain(sim, act->which)) {
        refused.code = BROKER_E_RETAINED_LIMIT;
    }
    if (refused.code != BROKER_OK) {
        expect(sim, client, message->id, refused);
        return;
    }
    route(sim, message->topic, &act->which);
    expect(sim, client, message->id,
        (struct sim_answer){.expect = SIM_EXPECT_ACK, .matched = matched});
}

static void
stop_groups(struct sim_client *client)
{
    for (uint32_t i = 0; i < client->subscription_count; i++) {
        if (client->subscriptions[i].group != SIM_GROUPS) {
            client->subscriptions[i].matching = false;
        }
    }
}

static void
apply(struct sim *sim, struct sim_client *client, const struct sim_act *act)
{
    struct sim_subscription *s = act->kind == SIM_UNSUBSCRIBE
                                     ? &client->subscriptions[act->which]
                                     : NULL;
    switch (act->kind) {
    case SIM_HELLO:
        client->expect_last_publish = sim->identities[client->identity].settled;
        break;
    case SIM_SUBSCRIBE:
        if (act->refusal != BROKER_OK) {
            client->other_errors++;
        } else {
            apply_subscribe(sim, client, act->which);
        }
        break;
    case SIM_UNSUBSCRIBE:
        s->unsubscribed = true;
        s->matching = false;
        s->drain = act->drain;
        break;
    case SIM_UNSUBSCRIBE_UNKNOWN:
        client->other_errors++;
        break;
    case SIM_PUBLISH:
        apply_publish(sim, client, act);
        break;
    case SIM_GOAWAY:
        stop_groups(client);
        break;
    case SIM_OTHER:
        break;
    }
}

/* The session has died in the middle of what was fed: publishes count as
 * processed as far as it has counted them. */
static bool
was_processed(const struct sim_client *client, const struct sim_act *act)
{
    if (act->kind != SIM_PUBLISH || !client->lost ||
        client->peer->session == NULL) {
        return act->kind != SIM_PUBLISH || !client->lost;
    }
    return client->publishes_processed <
           client->peer->session->received_messages;
}

void
sim_apply_fed(struct sim *sim, struct sim_client *client)
{
    while (client->act_next < client->act_count &&
           client->acts[client->act_next].end <= client->fed) {
        const struct sim_act *act = &client->acts[client->act_next++];
        if (was_processed(client, act)) {
            apply(sim, client, act);
        }
    }
}

/* ---- comparing ----------------------------------------------------------- */

/* Why the core may give up a peer that keeps the protocol. */
static bool
is_good_reason(enum broker_status code)
{
    return code == BROKER_E_SLOW_CONSUMER || code == BROKER_E_SESSION_TAKEN ||
           code == BROKER_E_HEARTBEAT_TIMEOUT ||
           code == BROKER_E_HANDSHAKE_TIMEOUT;
}

static bool
is_lost(const struct sim_client *client)
{
    const struct session *session = client->peer->session;
    if (session == NULL) {
        return client->peer->end == SESSION_ABORTED;
    }
    return session->state == SESSION_CLOSING &&
           session->close_code != BROKER_E_LEAVING &&
           session->close_code != BROKER_E_SHUTTING_DOWN;
}

void
sim_look_for_lost(struct sim *sim)
{
    for (uint32_t c = 0; c < SIM_CLIENTS; c++) {
        struct sim_client *client = &sim->clients[c];
        if (client->peer != NULL && !client->lost && is_lost(client)) {
            const struct session *session = client->peer->session;
            if (session != NULL && !is_good_reason(session->close_code)) {
                sim_fail(sim, "client %u is closed: %s", c,
                    broker_status_name(session->close_code));
            }
            client->lost = client->stopped = sim->somebody_lost = true;
        }
    }
}

static void
compare_books(const struct sim *sim, const struct sim_client *client,
    const struct subscription *subscription)
{
    for (uint32_t i = 0; i < client->subscription_count; i++) {
        const struct sim_subscription *s = &client->subscriptions[i];
        if (s->id != subscription->id || !s->processed || s->ended) {
            continue;
        }
        if (s->group == SIM_GROUPS &&
            subscription->books.matched != s->matched_count) {
            sim_fail(sim, "subscription %u matched %llu, not %u", s->id,
                (unsigned long long)subscription->books.matched,
                s->matched_count);
        }
        if (subscription->books.delivered < s->received) {
            sim_fail(sim, "subscription %u delivered %llu, not %llu", s->id,
                (unsigned long long)subscription->books.delivered,
                (unsigned long long)s->received);
        }
        return;
    }
    sim_fail(sim, "a subscription %u that nobody made", subscription->id);
}

void
sim_compare(struct sim *sim)
{
    fake_check(&sim->net);
    for (uint32_t c = 0; c < SIM_CLIENTS; c++) {
        struct sim_client *client = &sim->clients[c];
        if (client->peer == NULL) {
            continue;
        }
        if (client->peer->session == NULL || client->lost) {
            client->stopped = true;
            continue;
        }
        if (client->peer->session->state == SESSION_CLOSING) {
            client->stopped = true;
        }
        const struct subscription *subscription = NULL;
        while ((subscription = session_next_subscription(
                    client->peer->session, subscription)) != NULL) {
            compare_books(sim, client, subscription);
        }
    }
}
