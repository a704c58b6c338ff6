/* SPDX-License-Identifier: MIT
 *
 * The accounts of all users that have a connection, by name: connections of the
 * same user share one, on whichever worker they are (core/account.h). Any
 * thread.
 */
#ifndef BROKER_NET_ACCOUNTS_H
#define BROKER_NET_ACCOUNTS_H

#include "account.h"
#include "table.h"

#include <pthread.h>
#include <stdint.h>
#include <sys/queue.h>

struct accounts {
    pthread_mutex_t mutex;
    struct table by_name;
    LIST_HEAD(, accounts_entry) all;
    size_t sweep_count; /* at so many, those that nobody uses are forgotten */
    uint64_t seed;
};

/* False: the system has no mutex for it. */
bool accounts_init(struct accounts *accounts, uint64_t seed);
/* Nobody may have one any more but through references of their own. */
void accounts_fini(struct accounts *accounts);

/* The account of that name, with a reference for the caller; NULL if memory is
 * out. */
struct account *accounts_get(struct accounts *accounts, const char *name);

#endif
