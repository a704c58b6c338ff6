/* SPDX-License-Identifier: MIT
 *
 * Host names to addresses. Numbers are read at once; names are looked up on a
 * thread of their own, because getaddrinfo() blocks for as long as it likes.
 * The thread is detached: a look-up that nobody waits for any more ends by
 * itself, even after the handle was freed.
 */
#ifndef BROKER_CLIENT_RESOLVE_H
#define BROKER_CLIENT_RESOLVE_H

#include <stdbool.h>
#include <stddef.h>

#include "sock.h"

#define RESOLVE_ADDRESSES_MAX 8

struct resolve;

struct resolve_result {
    struct sock_address addresses[RESOLVE_ADDRESSES_MAX];
    size_t count;
    const char *error; /* static text if count is 0 */
};

/* Is `host` a number? Then *out. */
bool resolve_number(
    const char *host, const char *port, struct resolve_result *out);

/* Begin to look up a name. When it is done, 1 is written to the eventfd
 * `wake_fd` (a copy of it is kept). NULL: errno says why. */
struct resolve *resolve_start(const char *host, const char *port, int wake_fd);

/* Is it done? Then *out; the resolve is still to be dropped. */
bool resolve_is_done(struct resolve *resolve, struct resolve_result *out);

/* Forget it. NULL is allowed. */
void resolve_drop(struct resolve *resolve);

#endif
