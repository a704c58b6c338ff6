/* SPDX-License-Identifier: MIT
 *
 * An account: what all connections of one user have in common, on whichever
 * worker they are. That is its name and what its limits are counted by.
 *
 * Any thread may use it while it has a reference. Who finds the account of a
 * name: broker/net/accounts.h. Knows nothing of how users prove who they are.
 */
#ifndef BROKER_CORE_ACCOUNT_H
#define BROKER_CORE_ACCOUNT_H

#include "meter.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define ACCOUNT_NAME_BYTES_MAX 64u

struct account {
    _Atomic uint32_t references;
    _Atomic uint32_t connections;
    struct meter messages, bytes; /* published */
    char name[ACCOUNT_NAME_BYTES_MAX + 1];
};

/* With one reference. `name` is cut at ACCOUNT_NAME_BYTES_MAX. NULL if memory
 * is out. */
struct account *account_new(const char *name);
struct account *account_ref(struct account *account);
/* NULL is allowed. */
void account_unref(struct account *account);

/* One connection more, unless that would be more than `max`: then false. */
bool account_connect(struct account *account, uint32_t max);
void account_disconnect(struct account *account);

/* Of the name; never 0. The same in every worker. */
uint64_t account_hash(const struct account *account);

#endif
