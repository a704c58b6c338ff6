/* SPDX-License-Identifier: MIT
 *
 * Which member of a queue group gets a message; see pick.h. */
#include "pick.h"

#include "session.h"

#include <stdlib.h>

/* The member with the least outstanding; among equals they take turns. */
struct subscription *
pick_member(struct group *group)
{
    if (group->count == 0) {
        return NULL; /* those of other workers have gone meanwhile */
    }
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

/* What the worker's least busy member has to do, as far as is known: as it said
 * last, and its part of what is on its way there. */
static uint64_t
remote_load(const struct group_remote *remote)
{
    return remote->load + (remote->sent - remote->processed) / remote->members;
}

static struct group_remote *
least_busy(const struct group *group, uint64_t *load)
{
    struct group_remote *best = NULL;
    struct group_remote *remote;
    *load = UINT64_MAX;
    LIST_FOREACH(remote, &group->remotes, of_group)
    {
        if (remote->members > 0 && remote_load(remote) < *load) {
            best = remote;
            *load = remote_load(remote);
        }
    }
    return best;
}

/* Another worker's members, if they have less to do than those here; among
 * equals all members take turns. */
static struct group_remote *
choose_remote(struct group *group)
{
    uint64_t load;
    struct group_remote *remote = least_busy(group, &load);
    if (remote == NULL || group->count == 0) {
        return remote;
    }
    uint64_t here = UINT64_MAX;
    for (uint32_t i = 0; i < group->count && here > 0; i++) {
        uint64_t member = group->members[i]->session->output.messages;
        here = member < here ? member : here;
    }
    if (here != load) {
        return here < load ? NULL : remote;
    }
    uint32_t all = group->count;
    LIST_FOREACH(remote, &group->remotes, of_group)
    {
        all += remote->members;
    }
    uint32_t turn = group->remote_turn++ % all;
    LIST_FOREACH(remote, &group->remotes, of_group)
    {
        if (turn < remote->members && remote_load(remote) == load) {
            return remote;
        }
        turn -= turn < remote->members ? turn : remote->members;
    }
    return NULL;
}

static bool
reserve_picks(struct core *core, uint32_t count)
{
    if (count <= core->pick_capacity) {
        return true;
    }
    struct subscription **picks = realloc(core->picks, count * sizeof *picks);
    if (picks == NULL) {
        return false;
    }
    core->picks = picks;
    struct group_remote **remote_picks =
        realloc(core->remote_picks, count * sizeof *remote_picks);
    if (remote_picks == NULL) {
        return false;
    }
    core->remote_picks = remote_picks;
    core->pick_capacity = count;
    return true;
}

bool
deliver_may(struct core *core, const struct route *route)
{
    return (!route->shares_groups && route->workers == 0) ||
           (reserve_picks(core, route->group_count) &&
               exchange_has_room(core->exchange));
}

struct route *
deliver_route(struct core *core, struct broker_bytes topic, route_check *check,
    void *arg, enum broker_status *status)
{
    struct route *route = route_get(&core->routes, topic, check, arg, status);
    if (route != NULL && !deliver_may(core, route)) {
        route_unref(route);
        *status = BROKER_E_MEMORY;
        return NULL;
    }
    return route;
}

bool
pick_members(struct core *core, const struct route *route)
{
    if (!reserve_picks(core, route->group_count)) {
        return false;
    }
    for (uint32_t i = 0; i < route->group_count; i++) {
        struct group *group = route->groups[i];
        core->remote_picks[i] =
            route->shares_groups ? choose_remote(group) : NULL;
        core->picks[i] =
            core->remote_picks[i] == NULL ? pick_member(group) : NULL;
    }
    return true;
}
