/* SPDX-License-Identifier: MIT
 *
 * What the clients of the simulation say; see sim.h. */
#include "sim.h"

#include "session.h"

#include <string.h>

#define PAYLOAD_MAX 80000
/* Together more than the answers that may be left unread. */
#define FLOOD_FRAMES      140
#define FLOOD_TOPIC_BYTES 2000

static struct sim_act *
act_said(struct sim *sim, struct sim_client *client, enum sim_act_kind kind)
{
    if (client->act_count == SIM_ACTS) {
        sim_fail(sim, "the simulation has room for no more acts");
    }
    struct sim_act *act = &client->acts[client->act_count++];
    client->said = client->fed + client->out.len;
    *act = (struct sim_act){.kind = kind, .end = client->said};
    return act;
}

bool
sim_can_say(const struct sim_client *client)
{
    return client->peer != NULL && client->peer->session != NULL &&
           !client->over && !client->superseded && !client->waits &&
           client->link != SIM_LINK_DEAD && client->act_count + 64 < SIM_ACTS;
}

static bool
has_room(const struct sim *sim, const struct sim_client *client, uint32_t n)
{
    return sim->message_count + n + 100 < SIM_MESSAGES &&
           client->act_count + n + 64 < SIM_ACTS;
}

/* ---- subscribing --------------------------------------------------------- */

void
sim_say_bad_subscribe(struct sim *sim, struct sim_client *client)
{
    static const struct say_subscription bad[] = {{.id = 0, .filter = "a"},
        {.id = 77, .filter = "a#"},
        {.id = 77, .filter = "a", .overflow = (enum broker_overflow)6},
        {.id = 77, .filter = "a", .group = "a/b"},
        {.id = 77, .filter = "c/+/e/#"}};
    uint32_t count = sim_is_beyond_limits(sim, bad[4].filter) ? 5 : 4;
    say_subscribe_with(&client->out, &bad[random_below(&sim->random, count)]);
    act_said(sim, client, SIM_SUBSCRIBE)->refusal = BROKER_E_BAD_REQUEST;
}

static bool
is_in_use(const struct sim_client *client, uint32_t id)
{
    for (uint32_t i = 0; i < client->subscription_count; i++) {
        if (client->subscriptions[i].id == id &&
            !client->subscriptions[i].ended) {
            return true;
        }
    }
    return false;
}

void
sim_say_subscribe(struct sim *sim, struct sim_client *client)
{
    static const enum broker_overflow policies[] = {BROKER_OVERFLOW_DEFAULT,
        BROKER_OVERFLOW_DROP_OLDEST, BROKER_OVERFLOW_DROP_NEWEST,
        BROKER_OVERFLOW_CONFLATE, BROKER_OVERFLOW_DISCONNECT,
        BROKER_OVERFLOW_BLOCK};
    struct random *random = &sim->random;
    uint32_t id = random_between(random, 1, 9);
    uint32_t filter = random_below(random, SIM_FILTERS);
    if (is_in_use(client, id) ||
        client->subscription_count == SIM_SUBSCRIPTIONS ||
        sim_is_beyond_limits(sim, sim_filters[filter])) {
        return;
    }
    uint32_t which = client->subscription_count++;
    struct sim_subscription *s = &client->subscriptions[which];
    uint32_t policy = random_below(random, random_chance(random, 30) ? 5 : 4);
    policy = sim->blocks && random_chance(random, 60) ? 5 : policy;
    *s = (struct sim_subscription){.id = id,
        .filter = filter,
        .group = random_chance(random, 30) ? random_below(random, SIM_GROUPS)
                                           : SIM_GROUPS,
        .overflow =
            policy == 0 ? BROKER_OVERFLOW_DROP_OLDEST : policies[policy]};
    struct say_subscription want = {.id = id,
        .filter = sim_filters[s->filter],
        .group = s->group == SIM_GROUPS ? NULL : sim_groups[s->group],
        .overflow = policies[policy]};
    say_subscribe_with(&client->out, &want);
    act_said(sim, client, SIM_SUBSCRIBE)->which = which;
    sim_tell(sim, client, "subscribe");
}

void
sim_say_unsubscribe(struct sim *sim, struct sim_client *client)
{
    if (random_chance(&sim->random, 5)) {
        say_unsubscribe(&client->out, 99, 0);
        act_said(sim, client, SIM_UNSUBSCRIBE_UNKNOWN);
        return;
    }
    uint32_t which = random_below(&sim->random, SIM_SUBSCRIPTIONS);
    if (which >= client->subscription_count ||
        client->subscriptions[which].unsubscribed ||
        client->subscriptions[which].ended) {
        return;
    }
    for (uint32_t i = client->act_next; i < client->act_count; i++) {
        if (client->acts[i].kind == SIM_UNSUBSCRIBE &&
            client->acts[i].which == which) {
            return; /* said already */
        }
    }
    bool drain = random_chance(&sim->random, 50);
    say_unsubscribe(&client->out, client->subscriptions[which].id,
        drain ? BROKER_UNSUBSCRIBE_DRAIN : 0);
    struct sim_act *act = act_said(sim, client, SIM_UNSUBSCRIBE);
    act->which = which;
    act->drain = drain;
    sim_tell(sim, client, drain ? "unsubscribe, drain" : "unsubscribe");
}

/* ---- publishing ---------------------------------------------------------- */

struct burst {
    uint32_t topic; /* SIM_TOPICS: $sys/echo */
    enum broker_status refusal;
    const char *topic_text;
    const char *reply_to;
    uint16_t flags;
    bool numbered, unknown_tag;
    uint32_t payload_min, payload_max;
};

/* A PUBLISH with a critical field that nobody knows. */
static void
say_unknown_tag(struct say *say, const struct say_message *message)
{
    static const uint8_t field[] = {0xF0, 0x01, 0x00, 0x00};
    struct broker_publish publish = {.id = message->id,
        .topic = say_text(message->topic),
        .headers = {field, sizeof field},
        .payload = {message->payload, message->payload_bytes}};
    uint8_t frame[1024];
    size_t size = broker_publish_size(&publish);
    if (size <= sizeof frame &&
        broker_publish_encode(&publish, frame, size, &size) == BROKER_OK) {
        say_bytes(say, frame, size);
    }
}

/* The last bytes that were said are this message. One that is too large is
 * refused as soon as its header has come. */
static void
act_publish(struct sim *sim, struct sim_client *client, uint32_t number)
{
    size_t body_bytes = sim->messages[number].bytes - BROKER_HEADER_BYTES;
    struct sim_act *act = act_said(sim, client, SIM_PUBLISH);
    act->which = number;
    act->refusal = sim->messages[number].refusal;
    if (body_bytes > client->max_body_bytes) {
        act->refusal = BROKER_E_TOO_LARGE;
        act->end -= body_bytes;
    }
}

static void
say_one(struct sim *sim, struct sim_client *client, const struct burst *burst)
{
    struct sim_identity *identity = &sim->identities[client->identity];
    static uint8_t payload[PAYLOAD_MAX];
    uint32_t number = sim->message_count;
    struct sim_message message = {.publisher = client->identity,
        .topic = burst->topic,
        .flags = burst->flags,
        .id = burst->numbered ? ++identity->next_number : 0,
        .origin = number,
        .refusal = burst->refusal,
        .request = burst->reply_to != NULL};
    if (!((burst->flags & BROKER_PUBLISH_RETAIN) != 0 &&
            random_chance(&sim->random, 30))) {
        message.payload_bytes = random_between(
            &sim->random, burst->payload_min, burst->payload_max);
    }
    memset(payload, (int)(number & 0xff), message.payload_bytes);
    memcpy(payload, &number, sizeof number);
    size_t before = client->out.len;
    struct say_message said = {.id = message.id,
        .flags = burst->flags,
        .topic = burst->topic_text,
        .reply_to = burst->reply_to,
        .payload = payload,
        .payload_bytes = message.payload_bytes};
    if (burst->unknown_tag) {
        say_unknown_tag(&client->out, &said);
    } else {
        say_message(&client->out, &said);
    }
    sim_keep_message(
        sim, &message, client->out.bytes + before, client->out.len - before);
    if (message.id != 0) {
        identity->sent[message.id] = number;
    }
    act_publish(sim, client, number);
}

/* What is particular about a burst, in a part of all cases. */
static void
make_particular(struct sim *sim, struct burst *burst)
{
    struct random *random = &sim->random;
    switch (random_below(random, 14)) {
    case 0:
        burst->topic_text = sim_bad_topics[random_below(random, 3)];
        burst->refusal = burst->topic_text[0] == '$' ? BROKER_E_RESERVED_TOPIC
                                                     : BROKER_E_BAD_TOPIC;
        break;
    case 1:
        burst->unknown_tag = true;
        burst->payload_max = 100;
        burst->refusal = BROKER_E_UNKNOWN_TAG;
        break;
    case 2:
        burst->reply_to = "inbox/1";
        burst->refusal = burst->numbered ? BROKER_OK : BROKER_E_BAD_REQUEST;
        break;
    case 3:
        burst->reply_to = "$inbox/1";
        burst->numbered = true;
        burst->refusal = BROKER_E_RESERVED_TOPIC;
        break;
    case 4:
        if (!sim->memory_is_short && !sim->blocks) {
            burst->topic = SIM_TOPICS;
            burst->topic_text = "$sys/echo";
            burst->reply_to = sim_topics[1];
            burst->numbered = true;
        }
        break;
    case 5:
    case 6:
        if (!sim->memory_is_short && !sim->blocks) {
            burst->flags |= BROKER_PUBLISH_RETAIN;
        }
        break;
    default:
        break;
    }
}

void
sim_say_burst(struct sim *sim, struct sim_client *client)
{
    struct random *random = &sim->random;
    uint32_t n = random_between(random, 1, random_chance(random, 40) ? 30 : 3);
    struct burst burst = {.topic = random_below(random, SIM_TOPICS),
        .numbered = random_chance(random, 60),
        .payload_min = 4,
        .payload_max = random_chance(random, 20) ? 2000 : 80};
    if (sim->net.options.max_output_bytes > 500000 &&
        client->max_body_bytes > PAYLOAD_MAX && random_chance(random, 20)) {
        burst.payload_max = 75000;
        n = n > 8 ? 8 : n;
    }
    burst.topic_text = sim_topics[burst.topic];
    if (random_chance(random, 40)) {
        make_particular(sim, &burst);
    } else if (client->max_body_bytes < PAYLOAD_MAX &&
               random_chance(random, 4)) {
        burst.payload_min = burst.payload_max = 70000; /* too large */
        n = 1;
    }
    if (burst.refusal == BROKER_OK && burst.topic < SIM_TOPICS &&
        sim_is_beyond_limits(sim, burst.topic_text)) {
        burst.refusal = BROKER_E_BAD_TOPIC;
    }
    if (!has_room(sim, client, n)) {
        return;
    }
    sim_tell(sim, client, burst.topic_text);
    for (uint32_t i = 0; i < n && sim_can_say(client); i++) {
        say_one(sim, client, &burst);
    }
}

void
sim_say_flood(struct sim *sim, struct sim_client *client)
{
    static char topic[FLOOD_TOPIC_BYTES + 1];
    if (!has_room(sim, client, FLOOD_FRAMES)) {
        return;
    }
    memset(topic, '+', FLOOD_TOPIC_BYTES);
    struct burst burst = {.topic_text = topic,
        .refusal = BROKER_E_BAD_TOPIC,
        .payload_min = 4,
        .payload_max = 4};
    sim_tell(sim, client, "a flood of bad topics");
    for (uint32_t i = 0; i < FLOOD_FRAMES; i++) {
        say_one(sim, client, &burst);
    }
}

/* ---- saying again -------------------------------------------------------- */

/* Returns false if it cannot be said. Where sessions are forgotten, a message
 * may be routed twice: then it is said twice at most, so that each frame is
 * another. */
static bool
say_again(struct sim *sim, struct sim_client *client, uint32_t id)
{
    uint32_t first = sim->identities[client->identity].sent[id];
    if (!has_room(sim, client, 1) ||
        (sim->forgets && sim->messages[first].said_again)) {
        return false;
    }
    sim->messages[first].said_again = true;
    struct sim_message again = {.publisher = client->identity,
        .topic = sim->messages[first].topic,
        .flags = sim->messages[first].flags | BROKER_PUBLISH_RETRY,
        .id = id,
        .payload_bytes = sim->messages[first].payload_bytes,
        .origin = first,
        .refusal = sim->messages[first].refusal,
        .request = sim->messages[first].request};
    size_t before = client->out.len;
    say_bytes(
        &client->out, sim->messages[first].frame, sim->messages[first].bytes);
    client->out.bytes[before + 7] |= BROKER_PUBLISH_RETRY;
    uint32_t number = sim_keep_message(
        sim, &again, client->out.bytes + before, client->out.len - before);
    act_publish(sim, client, number);
    return true;
}

void
sim_say_unanswered(struct sim *sim, struct sim_client *client, uint32_t above)
{
    struct sim_identity *identity = &sim->identities[client->identity];
    bool forgets = random_chance(&sim->random, 10);
    for (uint32_t id = above + 1; id <= identity->next_number; id++) {
        if (!identity->answered[id] &&
            (forgets || !say_again(sim, client, id))) {
            identity->has_gaps = true; /* and will never know of these */
        }
    }
}

void
sim_say_again(struct sim *sim, struct sim_client *client)
{
    uint32_t back = random_between(&sim->random, 1, 4);
    uint32_t last = sim->identities[client->identity].next_number;
    for (uint32_t id = last > back ? last - back + 1 : 1; id <= last; id++) {
        (void)say_again(sim, client, id);
    }
    sim_tell(sim, client, "says numbers again");
}

/* ---- the rest ------------------------------------------------------------ */

void
sim_say_hello(struct sim *sim, struct sim_client *client)
{
    static const uint32_t heartbeats[] = {0, 0, 1, 2000, 10000};
    const struct core_options *options = &sim->net.options;
    struct broker_hello hello = say_hello_default;
    if (random_chance(&sim->random, 30)) {
        hello.max_body_bytes = BROKER_BODY_BYTES_MIN;
    }
    client->max_body_bytes = hello.max_body_bytes < options->max_body_bytes
                                 ? hello.max_body_bytes
                                 : options->max_body_bytes;
    hello.heartbeat_ms = heartbeats[random_below(&sim->random, 5)];
    client->heartbeat_ms = hello.heartbeat_ms == 0 ? options->heartbeat_ms
                           : hello.heartbeat_ms < options->heartbeat_min_ms
                               ? options->heartbeat_min_ms
                               : hello.heartbeat_ms;
    memcpy(hello.session, sim->identities[client->identity].id,
        sizeof hello.session);
    say_hello_with(&client->out, &hello);
    act_said(sim, client, SIM_HELLO);
    client->waits = random_chance(&sim->random, 40);
    if (!client->waits) {
        sim_say_unanswered(sim, client, 0);
    }
}

void
sim_say_ping(struct sim *sim, struct sim_client *client)
{
    say_ping(&client->out, 5);
    act_said(sim, client, SIM_OTHER);
}

void
sim_say_pong(struct sim *sim, struct sim_client *client, uint32_t id)
{
    if (!client->over && client->act_count < SIM_ACTS) {
        say_pong(&client->out, id);
        act_said(sim, client, SIM_OTHER);
    }
}

void
sim_say_goaway(struct sim *sim, struct sim_client *client)
{
    sim_tell(sim, client, "says GOAWAY");
    say_goaway(&client->out);
    act_said(sim, client, SIM_GOAWAY);
    client->over = true;
}
