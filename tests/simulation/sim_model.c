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

bool
sim_is_beyond_limits(const struct sim *sim, const char *name)
{
    uint32_t levels = 1;
    for (; *name != '\0'; name++) {
        levels += *name == '/' ? 1 : 0;
    }
    return levels > sim->net.options.max_topic_levels;
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
        (struct sim_match){.message = message, .retained = retained};
}

static void
note_match(struct sim *sim, struct sim_subscription *s, uint32_t number)
{
    struct sim_message *message = &sim->messages[number];
    if (s->group == SIM_GROUPS) {
        add_match(s, number, false);
    } else {
        message->group_matches |= (uint64_t)1
                                  << (s->filter * SIM_GROUPS + s->group);
    }
    bool stays = s->overflow == BROKER_OVERFLOW_DROP_NEWEST ||
                 s->overflow == BROKER_OVERFLOW_DISCONNECT ||
                 s->overflow == BROKER_OVERFLOW_BLOCK;
    if (!stays && !sim->ample) {
        message->unsure = true; /* it may be dropped after it was queued */
    }
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
            if (message != NULL) {
                note_match(sim, s, *message);
            }
            if (s->group == SIM_GROUPS) {
                matched++;
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

static bool
is_made(const struct sim_client *client, uint32_t id)
{
    const struct subscription *subscription = NULL;
    while ((subscription = session_next_subscription(
                client->peer->session, subscription)) != NULL) {
        if (subscription->id == id) {
            return true;
        }
    }
    return false;
}

/* Subscriptions that count against the limit, at least and at most: one that
 * drains counts until it has. */
static void
count_subscriptions(
    const struct sim_client *client, uint32_t *least, uint32_t *most)
{
    *least = *most = 0;
    for (uint32_t i = 0; i < client->subscription_count; i++) {
        const struct sim_subscription *s = &client->subscriptions[i];
        *least += s->processed && !s->unsubscribed ? 1 : 0;
        *most += s->processed && !s->ended && (!s->unsubscribed || s->drain);
    }
}

/* Was it refused, for want of memory or because there are too many? Only where
 * that may happen, and then it has just been fed alone. */
static bool
was_refused(struct sim *sim, const struct sim_client *client,
    const struct sim_subscription *s)
{
    uint32_t least, most;
    uint32_t allowed = sim->net.options.max_subscriptions;
    if (client->peer->session == NULL || client->lost) {
        return false;
    }
    count_subscriptions(client, &least, &most);
    bool refused = (sim->few || sim->failed_now) && !is_made(client, s->id);
    if (refused ? most < allowed && !sim->failed_now : least >= allowed) {
        sim_fail(sim, "subscription %u is %s beside %u to %u others", s->id,
            refused ? "refused" : "made", least, most);
    }
    return refused;
}

static void
apply_subscribe(struct sim *sim, struct sim_client *client, uint32_t which)
{
    struct sim_subscription *s = &client->subscriptions[which];
    if (was_refused(sim, client, s)) {
        program_saw(sim->program, "subscriptions that were refused");
        s->ended = true;
        client->other_errors++;
        return;
    }
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
expect(struct sim *sim, struct sim_client *client, uint32_t message,
    struct sim_answer answer)
{
    uint32_t id = sim->messages[message].id;
    sim->messages[sim->messages[message].origin].processed = true;
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
    answer.message = message;
    answer.inexact = sim->somebody_lost;
    answer.deprived = sim->failed_now;
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
    uint64_t bytes = message->bytes;
    for (uint32_t i = 0; i < SIM_TOPICS; i++) {
        if (i != topic && sim->retained[i] != 0) {
            count++;
            bytes += sim->messages[sim->retained[i] - 1].bytes;
        }
    }
    if (count >= sim->net.options.max_retained_topics ||
        bytes > sim->net.options.max_retained_bytes) {
        program_saw(sim->program, "retained values that were refused");
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
        expect(sim, client, act->which,
            (struct sim_answer){
                .expect = SIM_EXPECT_ERROR, .code = BROKER_E_NO_SUBSCRIBERS});
        return;
    }
    struct sim_message reply = {
        .publisher = SIM_IDENTITIES, .topic = 1, .origin = sim->message_count};
    struct say say = {0};
    struct say_message message = {.topic = sim_topics[1],
        .payload = request->frame + request->bytes - request->payload_bytes,
        .payload_bytes = request->payload_bytes};
    say_message(&say, &message);
    uint32_t number = sim_keep_message(sim, &reply, say.bytes, say.len);
    say_fini(&say);
    route(sim, reply.topic, &number);
    expect(sim, client, act->which,
        (struct sim_answer){.expect = SIM_EXPECT_ACK, .matched = 1});
}

/* It may be taken for known only if it was processed before. */
static bool
is_known(const struct sim *sim, const struct sim_message *message)
{
    const struct sim_identity *identity = &sim->identities[message->publisher];
    if (message->origin == (uint32_t)(message - sim->messages) ||
        identity->settled == 0 ||
        identity_number_above(message->id, identity->settled)) {
        return false;
    }
    if (!identity->has_gaps && !sim->messages[message->origin].processed) {
        sim_fail(sim, "number %u is taken for known, and is not", message->id);
    }
    program_saw(sim->program, "messages that were known already");
    return true;
}

/* The code to refuse it with, as long as there is memory. */
static enum broker_status
refusal_of(struct sim *sim, const struct sim_act *act, uint32_t matched)
{
    const struct sim_message *message = &sim->messages[act->which];
    if (act->refusal != BROKER_OK) {
        return act->refusal;
    }
    if (message->request && matched == 0) {
        return BROKER_E_NO_SUBSCRIBERS;
    }
    return (message->flags & BROKER_PUBLISH_RETAIN) != 0 &&
                   !retain(sim, act->which)
               ? BROKER_E_RETAINED_LIMIT
               : BROKER_OK;
}

static void
count(const struct sim *sim, struct sim_counters *counters)
{
    *counters = (struct sim_counters){0};
    for (uint32_t worker = 0; worker < sim->net.workers; worker++) {
        const struct core_stats *totals = &sim->net.cores[worker]->totals;
        counters->routed +=
            totals->matched_messages + totals->no_match_messages;
        counters->refused += totals->refused_publishes;
    }
}

void
sim_before_feed(struct sim *sim)
{
    sim->somebody_lost = false;
    count(sim, &sim->before);
}

/* An allocation has failed while this frame was processed alone. True: that was
 * the end of it, and the core did not route it. */
static bool
was_deprived(
    struct sim *sim, struct sim_client *client, const struct sim_act *act)
{
    struct sim_counters after;
    count(sim, &after);
    if (after.routed > sim->before.routed) {
        return false;
    }
    if (after.refused > sim->before.refused && act->refusal == BROKER_OK) {
        program_saw(sim->program, "publishes refused for want of memory");
        expect(sim, client, act->which,
            (struct sim_answer){
                .expect = SIM_EXPECT_ERROR, .code = BROKER_E_MEMORY});
    }
    return after.refused == sim->before.refused || act->refusal == BROKER_OK;
}

static void
apply_publish(
    struct sim *sim, struct sim_client *client, const struct sim_act *act)
{
    const struct sim_message *message = &sim->messages[act->which];
    client->publishes_processed += act->refusal == BROKER_E_TOO_LARGE ? 0 : 1;
    bool unread = act->refusal == BROKER_E_TOO_LARGE ||
                  act->refusal == BROKER_E_UNKNOWN_TAG;
    if (!unread && is_known(sim, message)) {
        expect(sim, client, act->which,
            (struct sim_answer){.expect = SIM_EXPECT_DUPLICATE});
        return;
    }
    if (sim->failed_now && was_deprived(sim, client, act)) {
        return;
    }
    if (message->topic == SIM_TOPICS && act->refusal == BROKER_OK) {
        apply_echo(sim, client, act);
        return;
    }
    uint32_t matched =
        act->refusal == BROKER_OK ? route(sim, message->topic, NULL) : 0;
    enum broker_status refusal = refusal_of(sim, act, matched);
    if (refusal != BROKER_OK) {
        expect(sim, client, act->which,
            (struct sim_answer){.expect = SIM_EXPECT_ERROR, .code = refusal});
        return;
    }
    route(sim, message->topic, &act->which);
    expect(sim, client, act->which,
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

/* May the core have forgotten the session? */
static bool
may_be_forgotten(const struct sim *sim, const struct sim_identity *identity)
{
    const struct core_options *options = &sim->net.options;
    return sim->net.now_ms - identity->left_ms >= options->session_memory_ms ||
           sim->leaves - identity->left_serial > options->max_sessions;
}

/* HELLO was fed alone. */
static void
apply_hello(struct sim *sim, struct sim_client *client)
{
    struct sim_identity *identity = &sim->identities[client->identity];
    const struct session *session = client->peer->session;
    if (session == NULL || session->state != SESSION_OPEN) {
        return; /* memory was out, or the handshake took too long */
    }
    if (session->last_publish == 0 && identity->settled != 0 &&
        identity->holder == NULL && may_be_forgotten(sim, identity)) {
        program_saw(sim->program, "sessions that were forgotten");
        identity->settled = 0;
        identity->has_gaps = true;
    }
    if (session->last_publish != identity->settled) {
        sim_fail(sim, "a session has settled %u, and the core knows of %u",
            identity->settled, session->last_publish);
    }
    identity->holder = client;
    client->expect_last_publish = identity->settled;
}

static void
apply(struct sim *sim, struct sim_client *client, const struct sim_act *act)
{
    struct sim_subscription *s = act->kind == SIM_UNSUBSCRIBE
                                     ? &client->subscriptions[act->which]
                                     : NULL;
    switch (act->kind) {
    case SIM_HELLO:
        apply_hello(sim, client);
        break;
    case SIM_SUBSCRIBE:
        if (act->refusal != BROKER_OK) {
            client->other_errors++;
        } else {
            apply_subscribe(sim, client, act->which);
        }
        break;
    case SIM_UNSUBSCRIBE:
        if (!s->processed) { /* SUBSCRIBE was refused */
            client->other_errors++;
            break;
        }
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

static bool
is_closing(const struct sim_client *client)
{
    const struct session *session = client->peer->session;
    return session == NULL || session->state == SESSION_CLOSING;
}

/* The session has ended in the middle of what was fed: publishes count as
 * processed as far as it has counted them. */
static bool
was_processed(const struct sim *sim, const struct sim_client *client,
    const struct sim_act *act)
{
    bool ended = client->lost || (sim->blocks && is_closing(client));
    if (act->kind != SIM_PUBLISH || !ended || sim->failed_now) {
        return true;
    }
    return client->peer->session != NULL &&
           client->publishes_processed <
               client->peer->session->received_messages;
}

/* Of all that was fed: what still waits in the core, or is not a whole frame,
 * does not count. */
static size_t
processed_bytes(const struct sim *sim, const struct sim_client *client)
{
    if (!sim->blocks || is_closing(client) ||
        client->peer->session->intake.block == NULL) {
        return client->fed;
    }
    return client->fed - intake_len(&client->peer->session->intake);
}

void
sim_apply_fed(struct sim *sim, struct sim_client *client)
{
    size_t processed = processed_bytes(sim, client);
    while (client->act_next < client->act_count &&
           client->acts[client->act_next].end <= processed) {
        const struct sim_act *act = &client->acts[client->act_next++];
        if (was_processed(sim, client, act)) {
            apply(sim, client, act);
        }
    }
}
