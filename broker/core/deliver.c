/* SPDX-License-Identifier: MIT
 *
 * From a route to queues. PROTOCOL.md sections 5.1 and 5.6. */
#include "forward.h"
#include "pick.h"
#include "session.h"
#include "wire.h"

#include <assert.h>
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
    session_notice(
        session, BROKER_E_QUEUE_HIGH, session->output.max_bytes, NULL);
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
    if (context->overflow == BROKER_OVERFLOW_BLOCK &&
        output->bytes > output->max_bytes / 2) {
        session->core->full = session;
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

/* May one of the slice's frames be larger than the peer accepts? */
static bool
may_be_too_large(const struct session *session, const struct output_run *slice)
{
    return session->max_body_bytes < session->core->options.max_body_bytes &&
           slice->bytes >
               (uint64_t)BROKER_HEADER_BYTES + session->max_body_bytes;
}

bool
deliver_to(struct session *session, struct context *context,
    const struct output_run *slice)
{
    if (may_be_too_large(session, slice)) {
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
    return may_be_too_large(session, slice) ||
           (!output_fits(&session->output, slice->bytes) &&
               context->overflow != BROKER_OVERFLOW_DROP_OLDEST);
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

static void
take_off(struct output_run *rest, const struct output_run *part)
{
    rest->data += part->bytes;
    rest->bytes -= part->bytes;
    rest->messages -= part->messages;
}

/* ---- queue groups -------------------------------------------------------- */

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
        refused += deliver_to(pick->session, &pick->own, slice) ? 0 : 1;
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
        struct subscription *member = pick_member(route->groups[i]);
        refused += deliver_to(member->session, &member->own, slice) ? 0 : 1;
    }
    return refused;
}

/* One message on a route with groups, whose members here are picked. */
static uint32_t
deliver_chosen(struct core *core, const struct route *route,
    const struct output_run *slice)
{
    uint32_t refused = 0;
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

static bool
pick_may_take_part(const struct core *core, const struct route *route,
    const struct output_run *slice)
{
    for (uint32_t i = 0; i < route->group_count; i++) {
        const struct subscription *pick = core->picks[i];
        if (pick != NULL && may_take_part(pick->session, &pick->own, slice)) {
            return true;
        }
    }
    return false;
}

/* Choose members for the slice. Whoever is chosen gets the whole slice if it
 * can take it, else the first message of it, which *slice is then. False if
 * memory is out. */
static bool
choose_for(
    struct core *core, const struct route *route, struct output_run *slice)
{
    bool chosen = pick_members(core, route);
    if (slice->messages > 1 && (!chosen || target_may_take_part(route, slice) ||
                                   pick_may_take_part(core, route, slice))) {
        *slice = first_messages(slice, 1);
    }
    return chosen;
}

static uint32_t
deliver_grouped(
    struct core *core, const struct route *route, struct output_run *slice)
{
    return choose_for(core, route, slice) ? deliver_chosen(core, route, slice)
                                          : deliver_apart(route, slice);
}

static uint32_t
members_of(const struct group *group, bool everywhere)
{
    uint32_t members = group->count;
    const struct group_remote *remote;
    LIST_FOREACH(remote, &group->remotes, of_group)
    {
        members += everywhere ? remote->members : 0;
    }
    return members;
}

/* How many messages of a run a member takes in a row. In a long run that is
 * several, because one slice costs about as much as one message; but never more
 * than a small part of what each would get of it, so that short runs, and the
 * ends of long ones, are divided as evenly as if each went alone. PROTOCOL.md
 * section 5.1. */
static uint32_t
group_share(const struct run *run)
{
    const struct route *route = run->route;
    uint32_t most = 1;
    for (uint32_t i = 0; i < route->group_count; i++) {
        uint32_t members = members_of(route->groups[i], route->shares_groups);
        most = members > most ? members : most;
    }
    uint32_t share = run->slice.messages / most / GROUP_SHARE_PART;
    return share < 1 ? 1 : share > GROUP_SHARE_MAX ? GROUP_SHARE_MAX : share;
}

/* ---- runs ---------------------------------------------------------------- */

/* Returns how many subscriptions here could not take the slice, or its first
 * message if that is all that *slice is afterwards. */
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

/* `refused` subscriptions here could not take the messages of the run from
 * `index` on. */
static void
note_outcome(
    const struct run *run, uint32_t index, uint32_t count, uint32_t refused)
{
    if (run->wait != NULL) {
        wait_refused(run->wait, index, count, refused);
    } else if (run->first_id != 0) {
        ack_note(run->publisher, run->first_id + index, count,
            run->route->matched, refused);
    }
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
        note_outcome(run, done, part.messages, refused);
        done += part.messages;
        take_off(&rest, &part);
    }
}

/* To the subscriptions of this worker. */
static void
deliver_here(struct core *core, const struct run *run)
{
    const struct route *route = run->route;
    struct output_run all = run->slice;
    if (route->group_count > 0) {
        deliver_parts(core, run, group_share(run));
    } else if (all.messages > 1 && target_may_take_part(route, &all)) {
        deliver_parts(core, run, 1);
    } else {
        note_outcome(run, 0, all.messages, deliver_slice(core, route, &all));
    }
    if (run->wait != NULL) {
        wait_matched(run->wait, route->matched);
    }
}

/* ---- other workers ------------------------------------------------------- */

/* The workers that have plain subscriptions or a pick. */
static uint64_t
workers_of(const struct core *core, const struct route *route)
{
    uint64_t workers = route->workers;
    for (uint32_t i = 0; route->shares_groups && i < route->group_count; i++) {
        if (core->remote_picks[i] != NULL) {
            workers |= UINT64_C(1) << core->remote_picks[i]->worker;
        }
    }
    return workers;
}

/* Send the slice to all other workers that want it. Returns what could not be
 * sent for want of memory, counted as subscriptions. */
static uint32_t
forward_slice(struct core *core, const struct run *run, uint32_t index,
    const struct output_run *slice)
{
    const struct route *route = run->route;
    struct forward forward = {.run = run,
        .slice = slice,
        .index = index,
        .picks = core->remote_picks,
        .pick_count = route->shares_groups ? route->group_count : 0};
    uint64_t workers = workers_of(core, route);
    uint32_t failed = 0;
    for (uint32_t worker = 0; workers != 0; worker++, workers >>= 1) {
        forward.plain = (route->workers >> worker & 1) != 0;
        if ((workers & 1) != 0 && !forward_to(core, worker, &forward)) {
            failed++;
        }
    }
    return failed;
}

/* What one choice of members gets of the rest of a run: *slice, or its first
 * message. `index` is that of the first message in the run's wait. */
static void
deliver_part_abroad(struct core *core, const struct run *run, uint32_t index,
    struct output_run *slice)
{
    const struct route *route = run->route;
    bool chosen = choose_for(core, route, slice);
    assert(chosen); /* deliver_route() has seen to it */
    (void)chosen;
    uint32_t refused = forward_slice(core, run, index, slice);
    refused += deliver_chosen(core, route, slice);
    if (run->wait != NULL) {
        wait_refused(run->wait, index, slice->messages, refused);
    }
}

/* Each part may go to another worker's member of a group. */
static void
deliver_parts_abroad(struct core *core, const struct run *run)
{
    struct output_run rest = run->slice;
    uint32_t most = group_share(run);
    uint32_t done = 0;
    while (rest.messages > 0) {
        struct output_run part = first_messages(&rest, most);
        deliver_part_abroad(core, run, done, &part);
        done += part.messages;
        take_off(&rest, &part);
    }
    if (run->wait != NULL) {
        wait_matched(run->wait, run->route->matched);
    }
}

static void
deliver_run_abroad(struct core *core, const struct run *run)
{
    struct run with = *run;
    if (run->wait == NULL && run->first_id != 0) {
        with.wait =
            wait_new(run->publisher, run->first_id, run->slice.messages);
        with.first_id = 0;
    }
    if (with.wait != NULL) {
        with.wait->request = run->request;
    }
    if (run->route->shares_groups) {
        deliver_parts_abroad(core, &with);
    } else {
        uint32_t failed = forward_slice(core, &with, 0, &run->slice);
        note_outcome(&with, 0, run->slice.messages, failed);
        deliver_here(core, &with);
    }
    if (with.wait != NULL && run->wait == NULL) {
        wait_close(core, with.wait);
    }
}

static void
count_run(struct core *core, const struct run *run)
{
    if (run->forwarded) {
        return;
    }
    if (route_is_empty(run->route)) {
        core->totals.no_match_messages += run->slice.messages;
    } else {
        core->totals.matched_messages += run->slice.messages;
    }
}

/* The run went to a subscriber that has enough for now. */
static void
deliver_hold(struct core *core, const struct run *run, struct session *full)
{
    if (run->origin_id != 0) {
        hold_publisher_abroad(core, run->origin, run->origin_id, full);
    } else {
        hold_publisher(run->publisher, full);
    }
}

void
deliver_run(struct core *core, const struct run *run)
{
    const struct route *route = run->route;
    count_run(core, run);
    /* A set of many subscriptions has as many books. */
    core->work += 1 + route->target_count + route->matched +
                  (uint64_t)route->group_count * run->slice.messages;
    if (route->shares_groups || route->workers != 0) {
        deliver_run_abroad(core, run);
    } else {
        deliver_here(core, run);
    }
    if (core->full != NULL) {
        struct session *full = core->full;
        core->full = NULL;
        deliver_hold(core, run, full);
    }
    deliver_done(core);
}
