/* SPDX-License-Identifier: MIT
 *
 * Many connections of one command (link.h), opened one after the other and then
 * waited for together with poll(). Knows nothing of what is sent over them.
 */
#ifndef BROKERCTL_LINKS_H
#define BROKERCTL_LINKS_H

#include <poll.h>
#include <stddef.h>
#include <stdint.h>

#include "link.h"

/* Read `list` and `count`; the rest is private. */
struct links {
    struct link *list; /* fixed in memory from links_open() on */
    size_t count;
    struct pollfd *fds;  /* signals first, then one for each link */
    uint64_t *due_ns;    /* when a link wants to work without being asked */
    uint64_t soonest_ns; /* none is due before this */
};

/* Open `count` connections. CTL_EXIT_OK: links_leave() or links_drop() is due.
 * Else what went wrong was said, and nothing is due. */
enum ctl_exit links_open(struct links *links,
    const struct invocation *invocation, const struct link_options *options,
    size_t count);

/* Wait for any of them, for a signal or for deadline_ns (LINK_NEVER: no limit),
 * then let those work that have something to do. CTL_EXIT_OK; or a connection
 * has ended, which was said. */
enum ctl_exit links_turn(struct links *links, uint64_t deadline_ns);

/* End all connections in an orderly way, see link_leave(), or without ceremony.
 * Both free everything. */
void links_leave(struct links *links);
void links_drop(struct links *links);

#endif
