/* SPDX-License-Identifier: MIT
 *
 * From a route to queues. PROTOCOL.md sections 5.1 and 5.6. */
#include "session.h"
#include "wire.h"

#include <stdlib.h>
#include <string.h>

/* A member of a queue group takes up to so many messages of a run in a row, and
 * at most this part of what would be its even share of the run. */
#define GROUP_SHARE_MAX  16u
#define GROUP_SHARE_PART 4u

/* ---- one session --------------------------------------------------------- */

static void
notice_queue_high(struct session *session)
{
    session->queue_high = true;
    uint8_t tlvs[16];
    size_t tlv_bytes = 0;
    if (broker_tlv_put_u64(tlvs, sizeof tlvs, &tlv_bytes, BROKER_TAG_LIMIT,
            session->output.max_bytes) != BROKER_OK) {
        tlv_bytes = 0;
    }
    struct broker_notice notice = {
        .code = BROKER_E_QUEUE_HIGH, .tlvs = {tlvs, tlv_bytes}};
    size_t size = broker_notice_size(&notice);
    uint8_t *dst = session_control(session, size);
    if (dst != NULL &&
        broker_notice_encode(&notice, dst, size, &size) == BROKER_OK) {
        session_control_done(session, size);
    }
}

static void
note_slow(struct session *session)
{
    struct core *core = session->core;
    if (!session->is_slow && session->state != SESSION_CLOSING) {
        session->is_slow = true;
        LIST_INSERT_HEAD(&core->slow, session, slow);
    }
}

/* Queue a slice whose frames all fit the peer. */
static bool
queue_slice(struct session *session, struct context *context,
    const struct output_run *slice)
{
    struct output *output = &session->output;
    uint64_t dropped = output->dropped;
    enum output_result result = output_append(output, context, slice);
    if (output->dropped != dropped && !session->lost_logged) {
        session->lost_logged = true;
        session->core->hooks.log(session->core->hooks.arg, CORE_EVENT_SLOW,
            session, BROKER_E_QUEUE_HIGH, "messages are dropped");
    }
    if (result == OUTPUT_DISCONNECT) {
        note_slow(session);
    }
    session_announce_output(session);
    if (!session->queue_high && output->bytes > output->max_bytes / 5 * 4) {
        notice_queue_high(session);
    }
    return result == OUTPUT_QUEUED;
}

/* The peer accepts less than the broker does: sort out what is too large for
 * it. Rare enough to go frame by frame. */
static bool
queue_fitting(struct session *session, struct context *context,
    const struct output_run *slice)
{
    bool all = true;
    for (size_t pos = 0; pos < slice->bytes;) {
        size_t len = wire_frame_bytes(slice->data + pos);
        struct output_run one = {.block = slice->block,
            .data = slice->data + pos,
            .bytes = len,
            .messages = 1};
        if (len - BROKER_HEADER_BYTES <= session->max_body_bytes) {
            all = queue_slice(session, context, &one) && all;
        } else {
            output_refuse(&session->output, context, &one, BROKER_GAP_TOO_LARGE,
                DROP_TOO_LARGE);
            session_announce_output(session);
            all = false;
        }
        pos += len;
    }
    return all;
}

bool
deliver_to(struct session *session, struct context *context,
    const struct output_run *slice)
{
    if (session->max_body_bytes < session->core->options.max_body_bytes) {
        return queue_fitting(session, context, slice);
    }
    return queue_slice(session, context, slice);
}

void
deliver_done(struct core *core)
{
    while (!LIST_EMPTY(&core->slow)) {
        struct session *session = LIST_FIRST(&core->slow);
        LIST_REMOVE(session, slow);
        session->is_slow = false;
        session_close_now(session, BROKER_E_SLOW_CONSUMER);
    }
}

/* Is it open which of the slice's messages this one will take? Where the newest
 * are refused, the edge of the queue may lie in the middle of the slice; and
 * some of them may be larger than the peer accepts. */
static bool
may_take_part(const struct session *session, const struct context *context,
    const struct output_run *slice)
{
    const struct core *core = session->core;
    bool fits = output_fits(&session->output, slice->bytes);
    if (session->max_body_bytes < core->options.max_body_bytes) {
        return !fits || slice->bytes > (uint64_t)BROKER_HEADER_BYTES +
                                           session->max_body_bytes;
    }
    return !fits && context->overflow != BROKER_OVERFLOW_DROP_OLDEST;
}

static bool
target_may_take_part(const struct route *route, const struct output_run *slice)
{
    for (uint32_t i = 0; i < route->target_count; i++) {
        const struct route_target *target = &route->targets[i];
        if (may_take_part(target->session, target->context, slice)) {
            return true;
        }
    }
    return false;
}

/* The first `messages` frames of a slice, or all if it has no more. */
static struct output_run
first_messages(const struct output_run *slice, uint32_t messages)
{
    struct output_run first = *slice;
    if (slice->messages <= messages) {
        return first;
    }
    first.messages = messages;
    first.bytes = 0;
    for (uint32_t i = 0; i < messages; i++) {
        first.bytes += wire_frame_bytes(slice->data + first.bytes);
    }
    return first;
}

/* ---- queue groups -------------------------------------------------------- */

/* The member with the least outstanding; among equals they take turns. */
static struct subscription *
choose_member(struct group *group)
{
    uint32_t best = group->turn < group->count ? group->turn : 0;
    uint64_t best_load = group->members[best]->session->output.messages;
    uint32_t i = best;
    for (uint32_t seen = 1; seen < group->count && best_load > 0; seen++) {
        i = i + 1 < group->count ? i + 1 : 0;
        uint64_t load = group->members[i]->session->output.messages;
        if (load < best_load) {
            best = i;
            best_load = load;
        }
    }
    group->turn = best + 1;
    return group->members[best];
}

static bool
choose_members(struct core *core, const struct route *route)
{
    if (route->group_count > core->pick_capacity) {
        struct subscription **picks =
            realloc(core->picks, route->group_count * sizeof *picks);
        if (picks == NULL) {
            return false;
        }
        core->picks = picks;
        core->pick_capacity = route->group_count;
    }
    for (uint32_t i = 0; i < route->group_count; i++) {
        core->picks[i] = choose_member(route->groups[i]);
    }
    return true;
}

/* The context of a plain one (or NULL) and of all picks of the session, which
 * are taken out of the picks. With a reference; NULL if memory is out. */
static struct context *
join_picks(struct core *core, const struct route *route,
    const struct session *session, struct context *plain)
{
    uint32_t plain_count = plain == NULL ? 0 : plain->count;
    struct subscription **all = malloc(
        (plain_count + route->group_count) * sizeof(struct subscription *));
    if (all == NULL) {
        return NULL;
    }
    for (uint32_t i = 0; i < plain_count; i++) {
        all[i] = plain->members[i].subscription;
    }
    uint32_t count = plain_count;
    for (uint32_t i = 0; i < route->group_count; i++) {
        if (core->picks[i] != NULL && core->picks[i]->session == session) {
            all[count++] = core->picks[i];
        }
    }
    struct context *context = context_get(&core->contexts, all, count, false);
    free(all);
    for (uint32_t i = 0; context != NULL && i < route->group_count; i++) {
        if (core->picks[i] != NULL && core->picks[i]->session == session) {
            core->picks[i] = NULL;
        }
    }
    return context;
}

static bool
is_picked(const struct core *core, const struct route *route,
    const struct session *session)
{
    for (uint32_t i = 0; i < route->group_count; i++) {
        if (core->picks[i] != NULL && core->picks[i]->session == session) {
            return true;
        }
    }
    return false;
}

/* Deliver to a session that was picked, together with its plain ones. Returns
 * how many subscriptions could not take it. */
static uint32_t
deliver_joined(struct core *core, const struct route *route,
    struct session *session, struct context *plain,
    const struct output_run *slice)
{
    struct context *context = join_picks(core, route, session, plain);
    if (context == NULL) {
        /* Without memory for the joint set the plain ones are served; the
         * picks stay for later, one by one. */
        if (plain == NULL) {
            return 0;
        }
        return deliver_to(session, plain, slice) ? 0 : plain->count;
    }
    uint32_t count = context->count;
    bool queued = deliver_to(session, context, slice);
    context_unref(context);
    return queued ? 0 : count;
}

static uint32_t
deliver_picks(struct core *core, const struct route *route,
    const struct output_run *slice)
{
    uint32_t refused = 0;
    for (uint32_t i = 0; i < route->group_count; i++) {
        struct subscription *pick = core->picks[i];
        if (pick == NULL) {
            continue;
        }
        core->picks[i] = NULL;
        if (is_picked(core, route, pick->session)) {
            core->picks[i] = pick;
            refused += deliver_joined(core, route, pick->session, NULL, slice);
            if (core->picks[i] == NULL) {
                continue;
            }
            core->picks[i] = NULL; /* no memory to join: alone, then */
        }
        refused += deliver_to(pick->session, pick->context, slice) ? 0 : 1;
    }
    return refused;
}

/* Without memory to join them: to each on its own. A connection that is meant
 * twice gets it twice, which is better than not at all. */
static uint32_t
deliver_apart(const struct route *route, const struct output_run *slice)
{
    uint32_t refused = 0;
    for (uint32_t i = 0; i < route->target_count; i++) {
        const struct route_target *target = &route->targets[i];
        if (!deliver_to(target->session, target->context, slice)) {
            refused += target->context->count;
        }
    }
    for (uint32_t i = 0; i < route->group_count; i++) {
        struct subscription *member = choose_member(route->groups[i]);
        refused += deliver_to(member->session, member->context, slice) ? 0 : 1;
    }
    return refused;
}

static bool
pick_may_take_part(const struct core *core, const struct route *route,
    const struct output_run *slice)
{
    for (uint32_t i = 0; i < route->group_count; i++) {
        const struct subscription *pick = core->picks[i];
        if (may_take_part(pick->session, pick->context, slice)) {
            return true;
        }
    }
    return false;
}

/* One choice on a route with groups: whoever is chosen gets the whole slice if
 * it can take it, else the first message of it, which *slice is then. */
static uint32_t
deliver_grouped(
    struct core *core, const struct route *route, struct output_run *slice)
{
    uint32_t refused = 0;
    bool chosen = choose_members(core, route);
    if (slice->messages > 1 && (!chosen || target_may_take_part(route, slice) ||
                                   pick_may_take_part(core, route, slice))) {
        *slice = first_messages(slice, 1);
    }
    if (!chosen) {
        return deliver_apart(route, slice);
    }
    for (uint32_t i = 0; i < route->target_count; i++) {
        const struct route_target *target = &route->targets[i];
        if (is_picked(core, route, target->session)) {
            refused += deliver_joined(
                core, route, target->session, target->context, slice);
        } else if (!deliver_to(target->session, target->context, slice)) {
            refused += target->context->count;
        }
    }
    return refused + deliver_picks(core, route, slice);
}

/* ---- runs ---------------------------------------------------------------- */

/* How many messages of a run a member takes in a row. In a long run that is
 * several, because one slice costs about as much as one message; but never more
 * than a small part of what each would get of it, so that short runs, and the
 * ends of long ones, are divided as evenly as if each went alone. PROTOCOL.md
 * section 5.1. */
static uint32_t
group_share(const struct run *run)
{
    uint32_t members = 1;
    for (uint32_t i = 0; i < run->route->group_count; i++) {
        const struct group *group = run->route->groups[i];
        members = group->count > members ? group->count : members;
    }
    uint32_t share = run->slice.messages / members / GROUP_SHARE_PART;
    return share < 1 ? 1 : share > GROUP_SHARE_MAX ? GROUP_SHARE_MAX : share;
}

/* Returns how many subscriptions could not take the slice, or its first message
 * if that is all that *slice is afterwards. */
static uint32_t
deliver_slice(
    struct core *core, const struct route *route, struct output_run *slice)
{
    if (route->group_count > 0) {
        return deliver_grouped(core, route, slice);
    }
    uint32_t refused = 0;
    for (uint32_t i = 0; i < route->target_count; i++) {
        const struct route_target *target = &route->targets[i];
        if (!deliver_to(target->session, target->context, slice)) {
            refused += target->context->count;
        }
    }
    return refused;
}

/* The run in parts of up to `most` messages. */
static void
deliver_parts(struct core *core, const struct run *run, uint32_t most)
{
    struct output_run rest = run->slice;
    uint32_t done = 0;
    while (rest.messages > 0) {
        struct output_run part = first_messages(&rest, most);
        uint32_t refused = deliver_slice(core, run->route, &part);
        if (run->first_id != 0) {
            ack_note(run->publisher, run->first_id + done, part.messages,
                run->route->matched, refused);
        }
        done += part.messages;
        rest.data += part.bytes;
        rest.bytes -= part.bytes;
        rest.messages -= part.messages;
    }
}

/* How many of the run's messages can be handed on at once. */
static uint32_t
messages_at_once(const struct run *run)
{
    const struct route *route = run->route;
    if (route->group_count > 0) {
        return group_share(run);
    }
    return target_may_take_part(route, &run->slice) ? 1 : run->slice.messages;
}

void
deliver_run(struct core *core, const struct run *run)
{
    if (run->route->matched == 0) {
        core->totals.no_match_messages += run->slice.messages;
    } else {
        core->totals.matched_messages += run->slice.messages;
    }
    deliver_parts(core, run, messages_at_once(run));
    deliver_done(core);
}
