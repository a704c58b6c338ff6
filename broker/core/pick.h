/* SPDX-License-Identifier: MIT
 *
 * Which member of a queue group gets a message: the one that has least to do,
 * in turn among equals, here or on another worker. PROTOCOL.md section 5.1.
 * Knows nothing of messages.
 */
#ifndef BROKER_CORE_PICK_H
#define BROKER_CORE_PICK_H

#include <stdbool.h>

struct core;
struct group;
struct route;
struct subscription;

/* A member of this worker; NULL: there is none. */
struct subscription *pick_member(struct group *group);

/* For each group of the route, into core->picks or core->remote_picks. False if
 * memory is out. */
bool pick_members(struct core *core, const struct route *route);

#endif
