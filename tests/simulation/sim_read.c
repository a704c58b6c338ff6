/* SPDX-License-Identifier: MIT
 *
 * A client that believes nothing: every frame that the core sends is compared
 * with what the model says must come. See sim.h. */
#include "sim.h"

#include "session.h"

#include <string.h>

static struct sim_subscription *
find(struct sim *sim, struct sim_client *client, uint32_t id, const char *what)
{
    for (uint32_t i = client->subscription_count; i-- > 0;) {
        struct sim_subscription *s = &client->subscriptions[i];
        if (s->id == id && s->processed) {
            if (s->ended) {
                sim_fail(
                    sim, "%s names subscription %u, which has ended", what, id);
            }
            return s;
        }
    }
    sim_fail(sim, "%s names subscription %u, which nobody made", what, id);
}

/* ---- data ---------------------------------------------------------------- */

static void
read_context(void *world, void *client, uint32_t id)
{
    struct sim *sim = world;
    if (!sim->failed) { /* without memory it may name one that has ended */
        (void)find(sim, client, id, "CONTEXT");
    }
}

/* Which message is this? Its number follows the header of the payload. */
static uint32_t
identify(struct sim *sim, const struct broker_frame *frame)
{
    const uint8_t *start = frame->body.data - BROKER_HEADER_BYTES;
    size_t bytes = frame->body.len + BROKER_HEADER_BYTES;
    uint32_t found = UINT32_MAX;
    for (uint32_t i = sim->message_count; i-- > 0;) {
        const struct sim_message *message = &sim->messages[i];
        if (message->bytes == bytes &&
            memcmp(message->frame, start, bytes) == 0) {
            found = i;
            if (message->order != 0) {
                return i; /* of what was said again, the one that was routed */
            }
        }
    }
    if (found != UINT32_MAX) {
        return found;
    }
    sim_fail(sim, "a PUBLISH that nobody published");
}

static bool
conflates(const struct sim_subscription *s)
{
    return s->overflow == BROKER_OVERFLOW_CONFLATE;
}

/* Frames without a payload look alike. */
static bool
is_unmistakable(const struct sim_message *message)
{
    return message->payload_bytes >= 4;
}

static bool
is_match(const struct sim *sim, const struct sim_match *match, uint32_t number,
    bool retained)
{
    const struct sim_message *a = &sim->messages[match->message];
    const struct sim_message *b = &sim->messages[number];
    return match->retained == retained && a->bytes == b->bytes &&
           memcmp(a->frame, b->frame, a->bytes) == 0;
}

/* Where in what the subscription may get now is the message? At matched_count
 * if nowhere. */
static uint32_t
place_of(const struct sim *sim, const struct sim_subscription *s,
    uint32_t number, bool retained)
{
    uint32_t end = conflates(s) || s->next == s->matched_count
                       ? s->matched_count
                       : s->next + 1;
    for (uint32_t at = s->next; at < end; at++) {
        if (is_match(sim, &s->matched[at], number, retained)) {
            return at;
        }
    }
    return s->matched_count;
}

/* What is missing of the topic between the one before and this one, was
 * reported between them. */
static void
check_place(const struct sim *sim, struct sim_subscription *s, uint32_t at)
{
    uint32_t topic = sim->messages[s->matched[at].message].topic;
    uint64_t missing = 0;
    for (uint32_t i = s->last_of[topic]; i < at; i++) {
        const struct sim_match *match = &s->matched[i];
        bool same = sim->messages[match->message].topic == topic;
        missing += same && !match->came ? 1 : 0;
    }
    if (missing > s->missing - s->missing_at[topic]) {
        sim_fail(sim, "subscription %u: a gap before %u came too early", s->id,
            s->matched[at].message);
    }
    s->last_of[topic] = at + 1;
    s->missing_at[topic] = s->missing;
}

/* What stands before this place and has not come is missing. */
static void
pass_to(const struct sim *sim, struct sim_subscription *s, uint32_t at)
{
    s->passed += at - s->next;
    if (s->passed > s->missing) {
        sim_fail(sim, "subscription %u: %llu are missing, not %llu", s->id,
            (unsigned long long)s->passed, (unsigned long long)s->missing);
    }
    s->next = at;
}

static void
read_for_plain(struct sim *sim, const struct sim_client *client,
    struct sim_subscription *s, uint32_t message)
{
    uint32_t at = place_of(sim, s, message, client->reader.context_retained);
    if (at == s->matched_count) {
        sim_fail(sim,
            "message %u came, but for subscription %u it is %u's "
            "turn (%u of %u)",
            message, s->id,
            s->next < s->matched_count ? s->matched[s->next].message : 0,
            s->next, s->matched_count);
    }
    if (conflates(s)) {
        pass_to(sim, s, at);
        s->matched[at].came = true;
        if (is_unmistakable(&sim->messages[message])) {
            check_place(sim, s, at);
        }
    }
    s->next++;
}

static void
read_for_group(
    struct sim *sim, const struct sim_subscription *s, uint32_t number)
{
    struct sim_message *message = &sim->messages[number];
    uint64_t bit = (uint64_t)1 << (s->filter * SIM_GROUPS + s->group);
    if ((message->group_receipts & bit) != 0 && is_unmistakable(message)) {
        sim_fail(sim, "message %u came to two members of a group", number);
    }
    message->group_receipts |= bit;
    if (!broker_filter_matches(say_text(sim_filters[s->filter]),
            say_text(sim_topics[message->topic]))) {
        sim_fail(sim, "message %u does not match its group's filter", number);
    }
}

/* Per publisher and topic, live messages come in order and once. */
static void
check_order(struct sim *sim, struct sim_client *client, uint32_t number)
{
    const struct sim_message *message = &sim->messages[number];
    uint32_t *last = &client->last_seen[message->publisher][message->topic];
    if (!is_unmistakable(message)) {
        return;
    }
    if (*last >= message->order) {
        sim_fail(sim, "message %u came late, or twice", number);
    }
    *last = message->order;
}

/* A plain subscription whose turn it is has to be named too. */
static void
check_not_named(struct sim *sim, const struct sim_client *client,
    const struct sim_subscription *s, uint32_t number)
{
    if (s->processed && !s->ended && s->group == SIM_GROUPS &&
        !(s->unsubscribed && !s->drain) && !client->lost && !sim->failed &&
        is_unmistakable(&sim->messages[number]) &&
        place_of(sim, s, number, false) < s->matched_count) {
        sim_fail(sim, "message %u came without subscription %u", number, s->id);
    }
}

static void
read_publish(void *world, void *reader, const struct broker_frame *frame,
    const struct broker_publish *publish)
{
    struct sim *sim = world;
    struct sim_client *client = reader;
    uint32_t number = identify(sim, frame);
    bool retained = client->reader.context_retained;
    (void)publish;
    if (frame->body.len > client->max_body_bytes) {
        sim_fail(sim, "a PUBLISH larger than the client accepts");
    }
    for (uint32_t i = 0; i < client->subscription_count; i++) {
        struct sim_subscription *s = &client->subscriptions[i];
        bool named = !s->ended && s->processed &&
                     reader_in_context(&client->reader, s->id);
        if (named && s->group == SIM_GROUPS) {
            read_for_plain(sim, client, s, number);
        } else if (named) {
            read_for_group(sim, s, number);
        } else if (!retained) {
            check_not_named(sim, client, s, number);
        }
        s->received += named ? 1 : 0;
        s->bytes += named ? frame->body.len + BROKER_HEADER_BYTES : 0;
        sim->messages[number].receipts += named && !retained ? 1 : 0;
    }
    if (!retained && !sim->failed) {
        check_order(sim, client, number);
    }
}

/* The subscription is told that messages are missing. May that be? */
static void
check_gap(const struct sim *sim, const struct sim_client *client,
    const struct sim_subscription *s, const struct broker_gap *gap)
{
    if (s->overflow == BROKER_OVERFLOW_BLOCK && !client->late &&
        gap->reason == BROKER_GAP_OVERFLOW &&
        sim->net.options.max_output_bytes >= SIM_BLOCK_BYTES_MIN) {
        sim_fail(sim, "subscription %u blocks, and misses %llu", s->id,
            (unsigned long long)gap->count);
    }
    if (gap->reason == BROKER_GAP_CONFLATED && !conflates(s)) {
        sim_fail(sim, "subscription %u does not conflate", s->id);
    }
}

static void
read_gap(void *world, void *reader, const struct broker_gap *gap)
{
    struct sim *sim = world;
    struct sim_client *client = reader;
    program_saw(sim->program,
        gap->reason == BROKER_GAP_MEMORY      ? "gaps for want of memory"
        : gap->reason == BROKER_GAP_TOO_LARGE ? "gaps of what is too large"
        : gap->reason == BROKER_GAP_CONFLATED ? "gaps of what is outdated"
                                              : "gaps");
    for (size_t i = 0; i < gap->ids.count; i++) {
        struct sim_subscription *s =
            find(sim, client, broker_ids_get(gap->ids, i), "GAP");
        check_gap(sim, client, s, gap);
        s->missing += gap->count;
        s->bytes += gap->bytes;
        if (gap->reason == BROKER_GAP_CONFLATED) {
            s->conflated += gap->count;
        }
        if (s->group != SIM_GROUPS) {
            continue;
        }
        uint64_t open = conflates(s) ? s->missing - s->passed : gap->count;
        if (open > s->matched_count - s->next) {
            sim_fail(sim, "a GAP of more than was matched");
        }
        s->next += conflates(s) ? 0 : (uint32_t)gap->count;
    }
}

/* Nothing more comes to it: the newest of each topic came, or was reported
 * lost. */
static void
check_newest(const struct sim *sim, struct sim_subscription *s)
{
    bool seen[SIM_TOPICS] = {false};
    uint64_t lost = 0;
    pass_to(sim, s, s->matched_count);
    for (uint32_t i = s->matched_count; i-- > 0;) {
        const struct sim_message *message =
            &sim->messages[s->matched[i].message];
        bool newest = !seen[message->topic];
        seen[message->topic] = true;
        lost += newest && !s->matched[i].came && is_unmistakable(message);
    }
    if (s->passed != s->missing) {
        sim_fail(sim, "subscription %u: %llu are not missing", s->id,
            (unsigned long long)(s->missing - s->passed));
    }
    if (lost > s->missing - s->conflated) {
        sim_fail(sim, "subscription %u: the newest of %llu topics is missing",
            s->id, (unsigned long long)lost);
    }
}

/* ---- answers ------------------------------------------------------------- */

static const struct sim_answer *
next_answer(struct sim *sim, struct sim_client *client, uint32_t id)
{
    if (client->answer_next == client->answer_count) {
        sim_fail(sim, "client %d: number %u is answered, but nothing is owed",
            (int)(client - sim->clients), id);
    }
    const struct sim_answer *answer = &client->answers[client->answer_next++];
    if (answer->id != id) {
        sim_fail(sim, "number %u is answered before %u", id, answer->id);
    }
    sim->identities[client->identity].answered[id] = true;
    return answer;
}

static void
read_puback(void *world, void *reader, const struct broker_puback *puback)
{
    struct sim *sim = world;
    struct sim_client *client = reader;
    bool duplicate = (puback->flags & BROKER_PUBACK_DUPLICATE) != 0;
    for (uint32_t i = 0; i < puback->count; i++) {
        uint32_t id = puback->id - puback->count + 1 + i;
        const struct sim_answer *answer = next_answer(sim, client, id);
        if (answer->inexact && answer->code == BROKER_E_NO_SUBSCRIBERS) {
            continue; /* there was one, which was disconnected for it */
        }
        if (answer->expect !=
            (duplicate ? SIM_EXPECT_DUPLICATE : SIM_EXPECT_ACK)) {
            sim_fail(sim, "client %d: number %u got a PUBACK of flags %x",
                (int)(client - sim->clients), id, puback->flags);
        }
        if (!duplicate && puback->matched != answer->matched &&
            !(answer->inexact && puback->matched > answer->matched)) {
            sim_fail(sim, "number %u matched %u, not %u", id, puback->matched,
                answer->matched);
        }
        if (!duplicate && sim->messages[answer->message].topic < SIM_TOPICS) {
            struct sim_message *message = &sim->messages[answer->message];
            message->answered = true;
            message->unsure = message->unsure || answer->inexact;
            message->matched = puback->matched;
            message->refused = puback->refused;
        }
    }
}

static void
read_error(void *world, void *reader, const struct broker_error *error)
{
    struct sim *sim = world;
    struct sim_client *client = reader;
    struct broker_bytes topic;
    if (!client->welcomed &&
        (error->code == BROKER_E_HANDSHAKE_TIMEOUT ||
            (error->code == BROKER_E_INTERNAL && sim->failed))) {
        return;
    }
    if (error->frame_type != BROKER_FRAME_PUBLISH) {
        if (client->other_errors-- == 0) {
            sim_fail(sim,
                "client %d: an ERROR that nothing called for: %s (%u)",
                (int)(client - sim->clients), broker_status_name(error->code),
                error->id);
        }
    } else if (error->id == 0) {
        if (client->unnumbered_errors-- == 0) {
            sim_fail(sim, "an ERROR that no PUBLISH called for");
        }
        if (error->code != BROKER_E_TOO_LARGE &&
            !broker_tlv_find(error->tlvs, BROKER_TAG_TOPIC, &topic)) {
            sim_fail(sim, "an ERROR without id and TOPIC");
        }
    } else {
        const struct sim_answer *answer = next_answer(sim, client, error->id);
        if (answer->expect != SIM_EXPECT_ERROR ||
            (answer->code != error->code && !answer->deprived)) {
            sim_fail(sim, "number %u got %s", error->id,
                broker_status_name(error->code));
        }
    }
}

static void
read_suback(void *world, void *reader, const struct broker_suback *suback)
{
    struct sim *sim = world;
    struct sim_client *client = reader;
    struct sim_subscription *s = find(sim, client, suback->id, "SUBACK");
    if (s->acknowledged || suback->overflow != s->overflow ||
        suback->retained != s->retained_count) {
        sim_fail(sim, "a wrong SUBACK for %u", suback->id);
    }
    s->acknowledged = true;
}

static void
read_unsuback(void *world, void *reader, const struct broker_unsuback *unsuback)
{
    struct sim *sim = world;
    struct sim_client *client = reader;
    struct sim_subscription *s = find(sim, client, unsuback->id, "UNSUBACK");
    if (!s->unsubscribed || !s->acknowledged) {
        sim_fail(sim, "an UNSUBACK that nobody asked for");
    }
    if (unsuback->delivered != s->received ||
        unsuback->matched != unsuback->delivered + unsuback->dropped) {
        sim_fail(sim, "UNSUBACK %u: %llu delivered, %llu received", s->id,
            (unsigned long long)unsuback->delivered,
            (unsigned long long)s->received);
    }
    if (s->group == SIM_GROUPS && !client->lost &&
        unsuback->matched != s->matched_count) {
        sim_fail(sim, "UNSUBACK %u: matched", s->id);
    }
    if (s->drain && !client->lost &&
        unsuback->matched != s->received + s->missing) {
        sim_fail(sim, "UNSUBACK %u: drained, but %llu of %llu", s->id,
            (unsigned long long)(s->received + s->missing),
            (unsigned long long)unsuback->matched);
    }
    sim_excuse(sim, s);
    if (s->group == SIM_GROUPS && s->drain && !client->lost && conflates(s)) {
        check_newest(sim, s);
    }
    s->ended = true;
}

/* ---- the rest ------------------------------------------------------------ */

/* The broker is through with these; it said so in WELCOME. */
static void
note_settled(
    struct sim *sim, const struct sim_client *client, uint32_t last_publish)
{
    struct sim_identity *identity = &sim->identities[client->identity];
    for (uint32_t id = 1; id <= last_publish; id++) {
        if (!identity->answered[id] && !identity->has_gaps &&
            !sim->messages[identity->sent[id]].processed) {
            sim_fail(sim, "WELCOME knows number %u, and nobody else does", id);
        }
        identity->answered[id] = true;
    }
}

static void
read_welcome(void *world, void *reader, const struct broker_welcome *welcome)
{
    struct sim *sim = world;
    struct sim_client *client = reader;
    if (client->welcomed) {
        sim_fail(sim, "WELCOME twice");
    }
    client->welcomed = true;
    if (welcome->last_publish != client->expect_last_publish) {
        sim_fail(sim, "WELCOME knows number %u as the last, not %u",
            welcome->last_publish, client->expect_last_publish);
    }
    if (client->waits) {
        client->waits = false;
        note_settled(sim, client, welcome->last_publish);
        sim_say_unanswered(sim, client, welcome->last_publish);
    }
}

static void
read_ping(void *world, void *reader, const struct broker_ping *ping)
{
    if (!ping->pong) {
        sim_say_pong(world, reader, ping->id);
    }
}

static void
read_goaway(void *world, void *reader, const struct broker_goaway *goaway)
{
    (void)world;
    (void)reader;
    (void)goaway;
}

static void
read_frame(void *world, void *reader, const struct broker_frame *frame)
{
    (void)world;
    (void)reader;
    (void)frame;
}

void
sim_read(struct sim *sim, struct sim_client *client)
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
    reader_read(&client->reader, client->peer, &calls, sim, client);
}

void
sim_check_complete(struct sim *sim, struct sim_client *client)
{
    if (client->lost) {
        return;
    }
    if (client->peer->decoded_bytes != client->peer->received_bytes) {
        sim_fail(sim, "half a frame is left");
    }
    if (client->answer_next != client->answer_count) {
        sim_fail(sim, "number %u was never answered",
            client->answers[client->answer_next].id);
    }
    if (client->unnumbered_errors != 0 || client->other_errors != 0) {
        sim_fail(sim, "an ERROR is missing");
    }
    for (uint32_t i = 0; i < client->subscription_count; i++) {
        struct sim_subscription *s = &client->subscriptions[i];
        if (s->processed && !s->acknowledged) {
            sim_fail(sim, "no SUBACK for %u", s->id);
        }
        if (s->unsubscribed && !s->ended) {
            sim_fail(sim, "no UNSUBACK for %u", s->id);
        }
        if (s->group == SIM_GROUPS && !s->ended && conflates(s)) {
            check_newest(sim, s);
        }
        if (s->group == SIM_GROUPS && !s->ended &&
            s->next != s->matched_count) {
            sim_fail(sim, "subscription %u got %u of %u", s->id, s->next,
                s->matched_count);
        }
    }
}
