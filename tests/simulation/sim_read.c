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
read_context(struct sim *sim, struct sim_client *client,
    const struct broker_frame *frame)
{
    struct broker_context context;
    if (broker_context_decode(frame, &context) != BROKER_OK) {
        sim_fail(sim, "a bad CONTEXT");
    }
    if (context.ids.count > SIM_SUBSCRIPTIONS) {
        sim_fail(sim, "a CONTEXT of too many");
    }
    client->context_count = (uint32_t)context.ids.count;
    client->context_retained = (context.flags & BROKER_CONTEXT_RETAINED) != 0;
    for (uint32_t i = 0; i < client->context_count; i++) {
        client->context[i] = broker_ids_get(context.ids, i);
        (void)find(sim, client, client->context[i], "CONTEXT");
        for (uint32_t j = 0; j < i; j++) {
            if (client->context[j] == client->context[i]) {
                sim_fail(sim, "a CONTEXT with an id twice");
            }
        }
    }
}

static bool
in_context(const struct sim_client *client, uint32_t id)
{
    for (uint32_t i = 0; i < client->context_count; i++) {
        if (client->context[i] == id) {
            return true;
        }
    }
    return false;
}

/* Which message is this? Its number follows the header of the payload. */
static uint32_t
identify(struct sim *sim, const struct broker_frame *frame)
{
    const uint8_t *start = frame->body.data - BROKER_HEADER_BYTES;
    size_t bytes = frame->body.len + BROKER_HEADER_BYTES;
    for (uint32_t i = sim->message_count; i-- > 0;) {
        const struct sim_message *message = &sim->messages[i];
        if (message->bytes == bytes &&
            memcmp(message->frame, start, bytes) == 0) {
            return i;
        }
    }
    sim_fail(sim, "a PUBLISH that nobody published");
}

static bool
is_next(
    const struct sim_subscription *s, struct sim *sim, uint32_t message, bool r)
{
    if (s->next >= s->matched_count || s->matched[s->next].retained != r) {
        return false;
    }
    /* Frames without a payload look alike. */
    const struct sim_message *next =
        &sim->messages[s->matched[s->next].message];
    return next->bytes == sim->messages[message].bytes &&
           memcmp(next->frame, sim->messages[message].frame, next->bytes) == 0;
}

static void
read_for_plain(struct sim *sim, const struct sim_client *client,
    struct sim_subscription *s, uint32_t message)
{
    if (!is_next(s, sim, message, client->context_retained)) {
        sim_fail(sim,
            "message %u came, but for subscription %u it is %u's "
            "turn (%u of %u)",
            message, s->id,
            s->next < s->matched_count ? s->matched[s->next].message : 0,
            s->next, s->matched_count);
    }
    s->next++;
}

static void
read_for_group(
    struct sim *sim, const struct sim_subscription *s, uint32_t number)
{
    struct sim_message *message = &sim->messages[number];
    uint64_t bit = (uint64_t)1 << (s->filter * SIM_GROUPS + s->group);
    if ((message->group_receipts & bit) != 0 && message->payload_bytes >= 4) {
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
    if (message->payload_bytes < 4) {
        return;
    }
    if (*last >= message->order) {
        sim_fail(sim, "message %u came late, or twice", number);
    }
    *last = message->order;
}

static void
read_publish(struct sim *sim, struct sim_client *client,
    const struct broker_frame *frame)
{
    uint32_t number = identify(sim, frame);
    bool retained = client->context_retained;
    if (client->context_count == 0) {
        sim_fail(sim, "a PUBLISH before any CONTEXT");
    }
    if (frame->body.len > client->max_body_bytes) {
        sim_fail(sim, "a PUBLISH larger than the client accepts");
    }
    for (uint32_t i = 0; i < client->subscription_count; i++) {
        struct sim_subscription *s = &client->subscriptions[i];
        bool named = !s->ended && s->processed && in_context(client, s->id);
        if (named && s->group == SIM_GROUPS) {
            read_for_plain(sim, client, s, number);
        } else if (named) {
            read_for_group(sim, s, number);
        } else if (s->processed && !s->ended && s->group == SIM_GROUPS &&
                   !(s->unsubscribed && !s->drain) && !client->lost &&
                   !retained && sim->messages[number].payload_bytes >= 4 &&
                   is_next(s, sim, number, false)) {
            sim_fail(
                sim, "message %u came without subscription %u", number, s->id);
        }
        s->received += named ? 1 : 0;
        s->bytes += named ? frame->body.len + BROKER_HEADER_BYTES : 0;
    }
    if (!retained) {
        check_order(sim, client, number);
    }
}

static void
read_gap(struct sim *sim, struct sim_client *client,
    const struct broker_frame *frame)
{
    struct broker_gap gap;
    if (broker_gap_decode(frame, &gap) != BROKER_OK) {
        sim_fail(sim, "a bad GAP");
    }
    for (size_t i = 0; i < gap.ids.count; i++) {
        struct sim_subscription *s =
            find(sim, client, broker_ids_get(gap.ids, i), "GAP");
        s->missing += gap.count;
        s->bytes += gap.bytes;
        if (s->group == SIM_GROUPS) {
            if (gap.count > s->matched_count - s->next) {
                sim_fail(sim, "a GAP of more than was matched");
            }
            s->next += (uint32_t)gap.count;
        }
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
    return answer;
}

static void
read_puback(struct sim *sim, struct sim_client *client,
    const struct broker_frame *frame)
{
    struct broker_puback puback;
    if (broker_puback_decode(frame, &puback) != BROKER_OK) {
        sim_fail(sim, "a bad PUBACK");
    }
    bool duplicate = (puback.flags & BROKER_PUBACK_DUPLICATE) != 0;
    for (uint32_t i = 0; i < puback.count; i++) {
        uint32_t id = puback.id - puback.count + 1 + i;
        const struct sim_answer *answer = next_answer(sim, client, id);
        if (answer->inexact && answer->code == BROKER_E_NO_SUBSCRIBERS) {
            continue; /* there was one, which was disconnected for it */
        }
        if (answer->expect !=
            (duplicate ? SIM_EXPECT_DUPLICATE : SIM_EXPECT_ACK)) {
            sim_fail(sim, "client %d: number %u got a PUBACK of flags %x",
                (int)(client - sim->clients), id, puback.flags);
        }
        if (!duplicate && puback.matched != answer->matched &&
            !(answer->inexact && puback.matched > answer->matched)) {
            sim_fail(sim, "number %u matched %u, not %u", id, puback.matched,
                answer->matched);
        }
    }
}

static void
read_error(struct sim *sim, struct sim_client *client,
    const struct broker_frame *frame)
{
    struct broker_error error;
    struct broker_bytes topic;
    if (broker_error_decode(frame, &error) != BROKER_OK) {
        sim_fail(sim, "a bad ERROR");
    }
    if (error.code == BROKER_E_HANDSHAKE_TIMEOUT && !client->welcomed) {
        return;
    }
    if (error.frame_type != BROKER_FRAME_PUBLISH) {
        if (client->other_errors-- == 0) {
            sim_fail(sim,
                "client %d: an ERROR that nothing called for: %s (%u)",
                (int)(client - sim->clients), broker_status_name(error.code),
                error.id);
        }
    } else if (error.id == 0) {
        if (client->unnumbered_errors-- == 0) {
            sim_fail(sim, "an ERROR that no PUBLISH called for");
        }
        if (!broker_tlv_find(error.tlvs, BROKER_TAG_TOPIC, &topic)) {
            sim_fail(sim, "an ERROR without id and TOPIC");
        }
    } else {
        const struct sim_answer *answer = next_answer(sim, client, error.id);
        if (answer->expect != SIM_EXPECT_ERROR || answer->code != error.code) {
            sim_fail(sim, "number %u got %s", error.id,
                broker_status_name(error.code));
        }
    }
}

static void
read_suback(struct sim *sim, struct sim_client *client,
    const struct broker_frame *frame)
{
    struct broker_suback suback;
    if (broker_suback_decode(frame, &suback) != BROKER_OK) {
        sim_fail(sim, "a bad SUBACK");
    }
    struct sim_subscription *s = find(sim, client, suback.id, "SUBACK");
    if (s->acknowledged || suback.overflow != s->overflow ||
        suback.retained != s->retained_count) {
        sim_fail(sim, "a wrong SUBACK for %u", suback.id);
    }
    s->acknowledged = true;
}

static void
read_unsuback(struct sim *sim, struct sim_client *client,
    const struct broker_frame *frame)
{
    struct broker_unsuback unsuback;
    if (broker_unsuback_decode(frame, &unsuback) != BROKER_OK) {
        sim_fail(sim, "a bad UNSUBACK");
    }
    struct sim_subscription *s = find(sim, client, unsuback.id, "UNSUBACK");
    if (!s->unsubscribed || !s->acknowledged) {
        sim_fail(sim, "an UNSUBACK that nobody asked for");
    }
    if (unsuback.delivered != s->received ||
        unsuback.matched != unsuback.delivered + unsuback.dropped) {
        sim_fail(sim, "UNSUBACK %u: %llu delivered, %llu received", s->id,
            (unsigned long long)unsuback.delivered,
            (unsigned long long)s->received);
    }
    if (s->group == SIM_GROUPS && !client->lost &&
        unsuback.matched != s->matched_count) {
        sim_fail(sim, "UNSUBACK %u: matched", s->id);
    }
    if (s->drain && !client->lost &&
        unsuback.matched != s->received + s->missing) {
        sim_fail(sim, "UNSUBACK %u: drained, but %llu of %llu", s->id,
            (unsigned long long)(s->received + s->missing),
            (unsigned long long)unsuback.matched);
    }
    s->ended = true;
}

/* ---- the rest ------------------------------------------------------------ */

static void
read_welcome(struct sim *sim, struct sim_client *client,
    const struct broker_frame *frame)
{
    struct broker_welcome welcome;
    if (broker_welcome_decode(frame, &welcome) != BROKER_OK ||
        client->welcomed) {
        sim_fail(sim, "a bad WELCOME");
    }
    client->welcomed = true;
    if (welcome.last_publish != client->expect_last_publish) {
        sim_fail(sim, "WELCOME knows number %u as the last, not %u",
            welcome.last_publish, client->expect_last_publish);
    }
}

static void
read_ping(struct sim_client *client, const struct broker_frame *frame)
{
    if (!client->over) {
        say_pong(&client->out, frame->id);
        client->said = client->fed + client->out.len;
        if (client->act_count < SIM_ACTS) {
            client->acts[client->act_count++] =
                (struct sim_act){.kind = SIM_OTHER, .end = client->said};
        }
    }
}

static void
read_frame(struct sim *sim, struct sim_client *client,
    const struct broker_frame *frame)
{
    static void (*const readers[])(
        struct sim *, struct sim_client *, const struct broker_frame *) = {
        [BROKER_FRAME_WELCOME] = read_welcome,
        [BROKER_FRAME_ERROR] = read_error,
        [BROKER_FRAME_PUBLISH] = read_publish,
        [BROKER_FRAME_PUBACK] = read_puback,
        [BROKER_FRAME_SUBACK] = read_suback,
        [BROKER_FRAME_UNSUBACK] = read_unsuback,
        [BROKER_FRAME_CONTEXT] = read_context,
        [BROKER_FRAME_GAP] = read_gap,
    };
    if (client->goaway_received) {
        sim_fail(sim, "frame 0x%04x after GOAWAY", frame->type);
    }
    if (frame->type == BROKER_FRAME_PING) {
        read_ping(client, frame);
    } else if (frame->type == BROKER_FRAME_GOAWAY) {
        client->goaway_received = true;
    } else if (frame->type == BROKER_FRAME_PONG ||
               frame->type == BROKER_FRAME_NOTICE) {
        return;
    } else if (frame->type < sizeof readers / sizeof readers[0] &&
               readers[frame->type] != NULL) {
        readers[frame->type](sim, client, frame);
    } else {
        sim_fail(sim, "a frame of type 0x%04x", frame->type);
    }
}

void
sim_read(struct sim *sim, struct sim_client *client)
{
    struct broker_frame frame;
    while (fake_next(client->peer, &frame)) {
        read_frame(sim, client, &frame);
    }
}

void
sim_check_complete(struct sim *sim, const struct sim_client *client)
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
        const struct sim_subscription *s = &client->subscriptions[i];
        if (s->processed && !s->acknowledged) {
            sim_fail(sim, "no SUBACK for %u", s->id);
        }
        if (s->unsubscribed && !s->ended) {
            sim_fail(sim, "no UNSUBACK for %u", s->id);
        }
        if (s->group == SIM_GROUPS && !s->ended &&
            s->next != s->matched_count) {
            sim_fail(sim, "subscription %u got %u of %u", s->id, s->next,
                s->matched_count);
        }
    }
}
