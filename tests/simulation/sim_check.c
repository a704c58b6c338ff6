/* SPDX-License-Identifier: MIT
 *
 * What must hold of all clients together, after each step and at the end; see
 * sim.h. */
#include "sim.h"

#include "session.h"

/* ---- who is given up, and why -------------------------------------------- */

static bool
may_be_slow(const struct sim *sim, const struct sim_client *client)
{
    for (uint32_t i = 0; i < client->subscription_count; i++) {
        if (client->subscriptions[i].overflow == BROKER_OVERFLOW_DISCONNECT) {
            return !sim->ample;
        }
    }
    return false;
}

/* Can something be queued for the client for longer than is allowed? */
static bool
may_be_old(const struct sim *sim, const struct sim_client *client)
{
    uint64_t max_ms = sim->net.options.max_output_age_ms;
    return max_ms != 0 && sim->net.now_ms - client->emptied_ms >= max_ms;
}

/* Has the client been silent for so long that it may be given up? */
static bool
may_be_dead(const struct sim *sim, const struct sim_client *client)
{
    return sim->net.now_ms - client->fed_ms >=
               3 * (uint64_t)client->heartbeat_ms ||
           sim->net.now_ms - client->taken_ms >=
               sim->net.options.write_timeout_ms;
}

/* Why the core may give up a peer that keeps the protocol. */
static bool
is_good_reason(const struct sim *sim, const struct sim_client *client)
{
    const struct session *session = client->peer->session;
    if (session == NULL) { /* aborted */
        return sim->failed || may_be_dead(sim, client);
    }
    switch (session->close_code) {
    case BROKER_E_SLOW_CONSUMER:
        return may_be_slow(sim, client) || may_be_old(sim, client);
    case BROKER_E_SESSION_TAKEN:
        return client->superseded;
    case BROKER_E_HEARTBEAT_TIMEOUT:
        return may_be_dead(sim, client);
    case BROKER_E_HANDSHAKE_TIMEOUT:
        return client->act_next == 0 &&
               sim->net.now_ms - client->connected_ms >=
                   sim->net.options.handshake_timeout_ms;
    case BROKER_E_INTERNAL:
        return sim->failed;
    default:
        return false;
    }
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

static void
note_lost(struct sim *sim, struct sim_client *client)
{
    const struct session *session = client->peer->session;
    const char *why = session != NULL ? broker_status_name(session->close_code)
                      : sim->failed_now
                          ? "aborted for want of memory"
                          : broker_status_name(sim->net.logged_code);
    if (!client->dropped && !is_good_reason(sim, client)) {
        sim_fail(
            sim, "client %d is closed: %s", (int)(client - sim->clients), why);
    }
    program_saw(sim->program, why);
    if (client->link == SIM_LINK_DEAD) {
        program_saw(sim->program, "dead links that were found");
    }
    client->lost = client->stopped = sim->somebody_lost = true;
}

void
sim_look_for_lost(struct sim *sim)
{
    for (uint32_t c = 0; c < SIM_CLIENTS; c++) {
        struct sim_client *client = &sim->clients[c];
        if (client->peer != NULL && !client->lost && is_lost(client)) {
            note_lost(sim, client);
        }
    }
}

/* ---- after each step ----------------------------------------------------- */

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

static void
compare_client(struct sim *sim, struct sim_client *client)
{
    const struct session *session = client->peer->session;
    if (session == NULL || client->lost) {
        client->stopped = true;
        return;
    }
    if (session->state == SESSION_CLOSING) {
        client->stopped = true;
    }
    if (session->subscription_count > sim->net.options.max_subscriptions) {
        sim_fail(sim, "%u subscriptions", session->subscription_count);
    }
    const struct subscription *subscription = NULL;
    while ((subscription = session_next_subscription(session, subscription)) !=
           NULL) {
        compare_books(sim, client, subscription);
    }
}

/* Whoever takes nothing for a while is not waited for any more. */
static void
note_late(const struct sim *sim, struct sim_client *client)
{
    if (sim->net.now_ms - client->taken_ms >=
        sim->net.options.block_timeout_ms) {
        client->late = true;
    }
}

/* Note which session ids were left by their connection in this step. */
static void
note_left(struct sim *sim)
{
    uint64_t leaves = sim->leaves;
    for (uint32_t i = 0; i < SIM_IDENTITIES; i++) {
        struct sim_identity *identity = &sim->identities[i];
        const struct sim_client *holder = identity->holder;
        if (holder == NULL || holder->peer->session != NULL) {
            continue;
        }
        identity->holder = NULL;
        identity->left_ms = sim->net.now_ms;
        identity->left_serial = leaves;
        sim->leaves++;
    }
    const struct identities *known = &sim->net.core->identities;
    if (known->gone_count > sim->net.options.max_sessions) {
        sim_fail(sim, "%llu sessions are remembered",
            (unsigned long long)known->gone_count);
    }
}

void
sim_compare(struct sim *sim)
{
    fake_check(&sim->net);
    if (sim->blocks && sim->clients[0].peer != NULL) {
        sim_apply_fed(sim, &sim->clients[0]); /* what has waited went on */
    }
    for (uint32_t c = 0; c < SIM_CLIENTS; c++) {
        if (sim->clients[c].peer != NULL) {
            note_late(sim, &sim->clients[c]);
            compare_client(sim, &sim->clients[c]);
        }
    }
    note_left(sim);
    const struct retained *retained = &sim->net.core->retained;
    if (retained->topics > sim->net.options.max_retained_topics ||
        retained->bytes > sim->net.options.max_retained_bytes) {
        sim_fail(sim, "more is retained than is allowed");
    }
}

/* ---- acknowledgements ---------------------------------------------------- */

static void
excuse_group(struct sim *sim, const struct sim_subscription *s)
{
    uint64_t bit = (uint64_t)1 << (s->filter * SIM_GROUPS + s->group);
    for (uint32_t i = 0; i < sim->message_count; i++) {
        struct sim_message *message = &sim->messages[i];
        if ((message->group_matches & ~message->group_receipts & bit) != 0) {
            message->unsure = true; /* it may have been chosen */
        }
    }
}

void
sim_excuse(struct sim *sim, struct sim_subscription *s)
{
    if (s->excused || !s->processed) {
        return;
    }
    s->excused = true;
    if (s->group != SIM_GROUPS) {
        excuse_group(sim, s);
        return;
    }
    for (uint32_t i = s->next; i < s->matched_count; i++) {
        if (!s->matched[i].retained) {
            sim->messages[s->matched[i].message].excused++;
        }
    }
}

void
sim_excuse_all(struct sim *sim, struct sim_client *client)
{
    for (uint32_t i = 0; i < client->subscription_count; i++) {
        sim_excuse(sim, &client->subscriptions[i]);
    }
}

static void
check_message(const struct sim *sim, uint32_t number)
{
    const struct sim_message *message = &sim->messages[number];
    uint32_t took = message->matched - message->refused;
    bool unsure = message->unsure || sim->memory_is_short;
    if (!message->answered || message->payload_bytes < 4 || sim->failed) {
        return; /* frames without a payload look alike */
    }
    if (message->receipts > took ||
        (!unsure && message->receipts + message->excused < took)) {
        sim_fail(sim,
            "message %u matched %u and was refused by %u, but came to %u",
            number, message->matched, message->refused, message->receipts);
    }
    if (!unsure && message->excused == 0) {
        program_saw(sim->program, "acknowledgements that are exact");
        if (message->refused > 0) {
            program_saw(sim->program, "and say that some refused");
        }
    }
}

void
sim_check_acknowledged(struct sim *sim)
{
    for (uint32_t i = 0; i < sim->message_count; i++) {
        check_message(sim, i);
    }
}
