/* SPDX-License-Identifier: MIT
 *
 * What the connections of a user share; see account.h. */
#include "account.h"

#include "table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct account *
account_new(const char *name)
{
    struct account *account = calloc(1, sizeof *account);
    if (account == NULL) {
        return NULL;
    }
    atomic_init(&account->references, 1);
    snprintf(account->name, sizeof account->name, "%s", name);
    return account;
}

struct account *
account_ref(struct account *account)
{
    atomic_fetch_add_explicit(&account->references, 1, memory_order_relaxed);
    return account;
}

void
account_unref(struct account *account)
{
    if (account != NULL && atomic_fetch_sub_explicit(&account->references, 1,
                               memory_order_acq_rel) == 1) {
        free(account);
    }
}

bool
account_connect(struct account *account, uint32_t max)
{
    uint32_t count =
        atomic_load_explicit(&account->connections, memory_order_relaxed);
    do {
        if (count >= max) {
            return false;
        }
    } while (!atomic_compare_exchange_weak_explicit(&account->connections,
        &count, count + 1, memory_order_relaxed, memory_order_relaxed));
    return true;
}

void
account_disconnect(struct account *account)
{
    atomic_fetch_sub_explicit(&account->connections, 1, memory_order_relaxed);
}

uint64_t
account_hash(const struct account *account)
{
    return table_hash(account->name, strlen(account->name), 0) | 1;
}
