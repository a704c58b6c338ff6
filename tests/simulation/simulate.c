/* SPDX-License-Identifier: MIT
 *
 * simulate [--verbose] [--workers N] --seeds FIRST COUNT
 *
 * Runs one random world for each seed; see sim.h. A seed that fails is printed,
 * and fails again in the same way: simulate --verbose --seeds SEED 1. */
#include "sim.h"

#include "session.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STEPS 300

static uint32_t workers = 1;
static const struct sim *current; /* for promises broken inside fake_net */

void
sim_fail(const struct sim *sim, const char *format, ...)
{
    va_list args;
    fflush(stdout);
    va_start(args, format);
    fprintf(stderr, "simulate: seed %llu: ", (unsigned long long)sim->seed);
    vfprintf(stderr, format, args);
    fprintf(stderr,
        "\n  again: simulate --verbose --workers %u --seeds %llu 1\n", workers,
        (unsigned long long)sim->seed);
    va_end(args);
    abort();
}

static void
fail_in_net(const char *problem)
{
    sim_fail(current, "%s", problem);
}

static void
tell(const struct sim *sim, const struct sim_client *client, const char *what)
{
    if (sim->verbose) {
        printf("%6llu ms  client %d  %s\n", (unsigned long long)sim->net.now_ms,
            client == NULL ? -1 : (int)(client - sim->clients), what);
    }
}

/* ---- saying -------------------------------------------------------------- */

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

static bool
can_say(const struct sim_client *client)
{
    return client->peer != NULL && client->peer->session != NULL &&
           !client->over && client->act_count + 64 < SIM_ACTS;
}

static void
say_random_subscribe(struct sim *sim, struct sim_client *client)
{
    static const enum broker_overflow policies[] = {BROKER_OVERFLOW_DEFAULT,
        BROKER_OVERFLOW_DROP_OLDEST, BROKER_OVERFLOW_DROP_NEWEST,
        BROKER_OVERFLOW_DISCONNECT};
    struct random *random = &sim->random;
    uint32_t id = random_between(random, 1, 9);
    for (uint32_t i = 0; i < client->subscription_count; i++) {
        if (client->subscriptions[i].id == id &&
            !client->subscriptions[i].ended) {
            return;
        }
    }
    if (client->subscription_count == SIM_SUBSCRIPTIONS) {
        return;
    }
    uint32_t which = client->subscription_count++;
    struct sim_subscription *s = &client->subscriptions[which];
    uint32_t policy = random_below(random, random_chance(random, 30) ? 4 : 3);
    *s = (struct sim_subscription){.id = id,
        .filter = random_below(random, SIM_FILTERS),
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
    tell(sim, client, "subscribe");
}

static void
say_bad_subscribe(struct sim *sim, struct sim_client *client)
{
    static const struct say_subscription bad[] = {{.id = 0, .filter = "a"},
        {.id = 77, .filter = "a#"},
        {.id = 77, .filter = "a", .overflow = (enum broker_overflow)6},
        {.id = 77, .filter = "a", .group = "a/b"}};
    say_subscribe_with(&client->out, &bad[random_below(&sim->random, 4)]);
    act_said(sim, client, SIM_SUBSCRIBE)->refusal = BROKER_E_BAD_REQUEST;
}

static void
say_random_unsubscribe(struct sim *sim, struct sim_client *client)
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
    tell(sim, client, drain ? "unsubscribe, drain" : "unsubscribe");
}

/* ---- publishing ---------------------------------------------------------- */

struct burst {
    uint32_t topic; /* SIM_TOPICS: $sys/echo */
    enum broker_status refusal;
    const char *topic_text;
    const char *reply_to;
    uint16_t flags;
    bool numbered, unknown_tag;
    uint32_t payload_max;
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

static void
say_one(struct sim *sim, struct sim_client *client, const struct burst *burst)
{
    struct sim_identity *identity = &sim->identities[client->identity];
    static uint8_t payload[80000];
    uint32_t number = sim->message_count;
    struct sim_message message = {.publisher = client->identity,
        .topic = burst->topic,
        .flags = burst->flags,
        .id = burst->numbered ? ++identity->next_number : 0};
    if (!((burst->flags & BROKER_PUBLISH_RETAIN) != 0 &&
            random_chance(&sim->random, 30))) {
        message.payload_bytes =
            random_between(&sim->random, 4, burst->payload_max);
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
    struct sim_act *act = act_said(sim, client, SIM_PUBLISH);
    act->which = number;
    act->refusal = burst->refusal;
    act->request = burst->reply_to != NULL;
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
        if (!sim->memory_is_short) {
            burst->topic = SIM_TOPICS;
            burst->topic_text = "$sys/echo";
            burst->reply_to = sim_topics[1];
            burst->numbered = true;
        }
        break;
    case 5:
    case 6:
        burst->flags |= sim->memory_is_short ? 0 : BROKER_PUBLISH_RETAIN;
        break;
    default:
        break;
    }
}

static void
say_burst(struct sim *sim, struct sim_client *client)
{
    struct random *random = &sim->random;
    uint32_t n = random_between(random, 1, random_chance(random, 40) ? 30 : 3);
    struct burst burst = {.topic = random_below(random, SIM_TOPICS),
        .numbered = random_chance(random, 60),
        .payload_max = random_chance(random, 20) ? 2000 : 80};
    if (sim->net.options.max_output_bytes > 500000 &&
        client->max_body_bytes > 80000 && random_chance(random, 20)) {
        burst.payload_max = 75000;
        n = n > 8 ? 8 : n;
    }
    burst.topic_text = sim_topics[burst.topic];
    if (random_chance(random, 40)) {
        make_particular(sim, &burst);
    }
    if (sim->message_count + 100 > SIM_MESSAGES) {
        return;
    }
    tell(sim, client, burst.topic_text);
    for (uint32_t i = 0; i < n && can_say(client); i++) {
        say_one(sim, client, &burst);
    }
}

/* Say again what may have been lost, as after a reconnect. */
static void
say_retries(struct sim *sim, struct sim_client *client)
{
    struct sim_identity *identity = &sim->identities[client->identity];
    uint32_t back = random_between(&sim->random, 1, 4);
    uint32_t last = identity->next_number;
    if (last < back || sim->message_count + 100 > SIM_MESSAGES) {
        return;
    }
    for (uint32_t id = last - back + 1; id <= last; id++) {
        struct burst burst = {.topic = 0,
            .topic_text = sim_topics[0],
            .flags = BROKER_PUBLISH_RETRY,
            .numbered = true,
            .payload_max = 50};
        identity->next_number = id - 1;
        say_one(sim, client, &burst);
        client->acts[client->act_count - 1].retry = true;
    }
    tell(sim, client, "retries");
}

/* ---- connections --------------------------------------------------------- */

static void
forget_client(struct sim_client *client)
{
    for (uint32_t i = 0; i < client->subscription_count; i++) {
        free(client->subscriptions[i].matched);
    }
    say_fini(&client->out);
    memset(client, 0, sizeof *client);
}

static void
connect_client(struct sim *sim, struct sim_client *client)
{
    uint32_t identity = random_below(&sim->random, SIM_IDENTITIES);
    for (uint32_t c = 0; c < SIM_CLIENTS; c++) {
        const struct sim_client *other = &sim->clients[c];
        /* Two at once only in the rare case of a take-over. */
        if (other->peer != NULL && other->identity == identity &&
            (other->peer->session == NULL || other->act_next < 2 ||
                random_chance(&sim->random, 80))) {
            return;
        }
    }
    forget_client(client);
    client->peer = fake_connect(&sim->net);
    client->identity = identity;
    struct broker_hello hello = say_hello_default;
    if (random_chance(&sim->random, 30)) {
        hello.max_body_bytes = BROKER_BODY_BYTES_MIN;
    }
    client->max_body_bytes = hello.max_body_bytes;
    memcpy(hello.session, sim->identities[identity].id, sizeof hello.session);
    say_hello_with(&client->out, &hello);
    act_said(sim, client, SIM_HELLO);
    tell(sim, client, "connect");
    if (random_chance(&sim->random, 60)) {
        say_retries(sim, client);
    }
}

static void
drop_client(struct sim *sim, struct sim_client *client)
{
    tell(sim, client, "drop");
    client->lost = client->stopped = true;
    fake_drop(client->peer);
}

/* ---- moving bytes -------------------------------------------------------- */

static void
feed(struct sim *sim, struct sim_client *client, size_t bytes)
{
    struct session *session = client->peer->session;
    if (session == NULL) {
        return;
    }
    if (!session_wants_input(session)) {
        return;
    }
    bool deaf = session->state == SESSION_CLOSING || session->input_ended;
    bytes = bytes < client->out.len ? bytes : client->out.len;
    sim->somebody_lost = false;
    size_t fed = fake_feed(client->peer, client->out.bytes, bytes);
    memmove(client->out.bytes, client->out.bytes + fed, client->out.len - fed);
    client->out.len -= fed;
    client->fed += fed;
    sim_look_for_lost(sim);
    if (deaf) {
        client->act_next = client->act_count;
    }
    sim_apply_fed(sim, client);
    sim_compare(sim);
}

static void
take(struct sim *sim, struct sim_client *client, size_t bytes)
{
    bool finished = client->peer->session == NULL;
    fake_take(client->peer, bytes);
    sim_read(sim, client);
    sim_look_for_lost(sim);
    sim_compare(sim);
    if (!finished && client->peer->session == NULL) {
        tell(sim, client, "is finished");
        sim_check_complete(sim, client);
    }
}

static void
half_close(struct sim *sim, struct sim_client *client)
{
    tell(sim, client, "half-closes");
    while (client->out.len > 0 && client->peer->session != NULL) {
        size_t before = client->out.len;
        feed(sim, client, SIZE_MAX);
        if (client->out.len == before) {
            return; /* no memory, or too many answers: not now */
        }
    }
    client->over = true;
    fake_end_input(client->peer);
    for (uint32_t i = 0; i < client->subscription_count; i++) {
        if (client->subscriptions[i].group != SIM_GROUPS) {
            client->subscriptions[i].matching = false;
        }
    }
    sim_look_for_lost(sim);
    sim_compare(sim);
}

static void
leave_politely(struct sim *sim, struct sim_client *client)
{
    tell(sim, client, "says GOAWAY");
    say_goaway(&client->out);
    act_said(sim, client, SIM_GOAWAY);
    client->over = true;
}

static void
advance(struct sim *sim)
{
    uint32_t ms = random_chance(&sim->random, 10)
                      ? random_below(&sim->random, 20000)
                      : random_below(&sim->random, 500);
    fake_advance(&sim->net, ms);
    tell(sim, NULL, "time goes on");
    sim_look_for_lost(sim);
    sim_compare(sim);
}

/* ---- steps --------------------------------------------------------------- */

static void
say_something(struct sim *sim, struct sim_client *client)
{
    if (!can_say(client)) {
        return;
    }
    uint32_t kind = random_below(&sim->random, 100);
    if (kind < 60) {
        say_burst(sim, client);
    } else if (kind < 80) {
        say_random_subscribe(sim, client);
    } else if (kind < 90) {
        say_random_unsubscribe(sim, client);
    } else if (kind < 92) {
        say_bad_subscribe(sim, client);
    } else if (kind < 95) {
        say_ping(&client->out, 5);
        act_said(sim, client, SIM_OTHER);
    } else if (kind < 97) {
        say_retries(sim, client);
    } else if (kind < 98) {
        leave_politely(sim, client);
    } else if (kind < 99) {
        half_close(sim, client);
    } else {
        drop_client(sim, client);
    }
}

static void
step(struct sim *sim)
{
    struct random *random = &sim->random;
    struct sim_client *client =
        &sim->clients[random_below(random, SIM_CLIENTS)];
    if (client->peer == NULL || client->peer->session == NULL) {
        connect_client(sim, client);
        return;
    }
    switch (random_below(random, 10)) {
    case 0:
    case 1:
    case 2:
        say_something(sim, client);
        break;
    case 3:
    case 4:
        feed(sim, client, SIZE_MAX);
        break;
    case 5:
        feed(sim, client, random_below(random, 200));
        break;
    case 6:
        take(sim, client, random_below(random, 3000));
        break;
    case 7:
        take(sim, client, random_below(random, 60));
        break;
    case 8:
        if (random_chance(random, 40)) {
            take(sim, client, SIZE_MAX);
        }
        break;
    default:
        if (random_chance(random, 30)) {
            advance(sim);
        }
        break;
    }
}

/* ---- one world ----------------------------------------------------------- */

static void
finish_client(struct sim *sim, struct sim_client *client)
{
    /* Short memory comes back as others read, so it takes several rounds. */
    for (int round = 0; round < 200 && client->out.len > 0; round++) {
        for (uint32_t c = 0; c < SIM_CLIENTS; c++) {
            if (sim->clients[c].peer != NULL) {
                take(sim, &sim->clients[c], SIZE_MAX);
            }
        }
        if (client->peer->session == NULL) {
            return;
        }
        feed(sim, client, SIZE_MAX);
    }
    take(sim, client, SIZE_MAX);
}

static void
finish(struct sim *sim)
{
    for (uint32_t c = 0; c < SIM_CLIENTS; c++) {
        if (sim->clients[c].peer != NULL) {
            finish_client(sim, &sim->clients[c]);
        }
    }
    bool shut_down = random_chance(&sim->random, 50);
    for (uint32_t c = 0; c < SIM_CLIENTS; c++) {
        struct sim_client *client = &sim->clients[c];
        if (client->peer == NULL || client->peer->session == NULL) {
            continue;
        }
        take(sim, client, SIZE_MAX);
        if (client->peer->session != NULL) {
            sim_check_complete(sim, client);
        }
    }
    if (shut_down) {
        fake_shut_down(&sim->net, 7);
    }
    for (uint32_t c = 0; c < SIM_CLIENTS; c++) {
        struct sim_client *client = &sim->clients[c];
        if (client->peer == NULL || client->peer->session == NULL) {
            continue;
        }
        if (!shut_down && !client->over) {
            half_close(sim, client);
        }
        fake_advance(&sim->net, sim->net.options.half_close_linger_ms + 1);
        take(sim, client, SIZE_MAX);
        if (client->peer->session != NULL &&
            sim->net.options.max_memory_bytes > (64u << 20)) {
            sim_fail(sim, "client %u does not come to an end", c);
        }
    }
}

static void
init(struct sim *sim, uint64_t seed, bool verbose)
{
    static const uint64_t budgets[] = {
        3000, 4096, 4096, 20000, 1u << 20, 32u << 20};
    memset(sim, 0, sizeof *sim);
    sim->seed = seed;
    sim->random.state = seed * 1000003;
    sim->verbose = verbose;
    struct core_options options = fake_options();
    options.max_output_bytes = budgets[random_below(&sim->random, 6)];
    options.max_retained_topics = random_chance(&sim->random, 50) ? 3 : 100;
    options.session_memory_ms = UINT32_MAX;
    options.workers = workers;
    if (random_chance(&sim->random, 10)) {
        sim->memory_is_short = true;
        options.max_memory_bytes = 5 * BLOCK_POOL_BYTES;
        options.max_output_bytes = 1u << 20;
    }
    fake_net_init(&sim->net, &options, seed, NULL);
    sim->net.fail = fail_in_net;
    for (uint32_t i = 0; i < SIM_IDENTITIES; i++) {
        memset(sim->identities[i].id, (int)i + 1, BROKER_SESSION_BYTES);
    }
}

static void
run(struct sim *sim, uint64_t seed, bool verbose)
{
    current = sim;
    init(sim, seed, verbose);
    for (int i = 0; i < STEPS; i++) {
        step(sim);
    }
    finish(sim);
    for (uint32_t c = 0; c < SIM_CLIENTS; c++) {
        forget_client(&sim->clients[c]);
    }
    fake_net_fini(&sim->net);
    for (uint32_t i = 0; i < sim->message_count; i++) {
        free(sim->messages[i].frame);
    }
}

int
main(int argc, char **argv)
{
    bool verbose = argc > 1 && strcmp(argv[1], "--verbose") == 0;
    char **rest = argv + (verbose ? 2 : 1);
    if (argc - (rest - argv) > 2 && strcmp(rest[0], "--workers") == 0) {
        workers = (uint32_t)strtoul(rest[1], NULL, 10);
        rest += 2;
    }
    if (argc - (rest - argv) != 3 || strcmp(rest[0], "--seeds") != 0 ||
        workers < 1 || workers > FAKE_WORKERS_MAX) {
        fprintf(stderr,
            "usage: simulate [--verbose] [--workers 1-%d] --seeds "
            "FIRST COUNT\n",
            FAKE_WORKERS_MAX);
        return 2;
    }
    uint64_t first = strtoull(rest[1], NULL, 10);
    uint64_t count = strtoull(rest[2], NULL, 10);
    struct sim *sim = malloc(sizeof *sim);
    if (sim == NULL) {
        return 1;
    }
    for (uint64_t i = 0; i < count; i++) {
        run(sim, first + i, verbose);
    }
    free(sim);
    printf("simulate: %llu seeds from %llu on: good\n",
        (unsigned long long)count, (unsigned long long)first);
    return 0;
}
