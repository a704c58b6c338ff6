/* SPDX-License-Identifier: MIT
 *
 * Accounts by name; see accounts.h. */
#include "accounts.h"

#include <stdlib.h>
#include <string.h>

#define SWEEP_COUNT_MIN 1024

struct accounts_entry {
    struct table_link link;
    LIST_ENTRY(accounts_entry) all;
    struct account *account;
};

bool
accounts_init(struct accounts *accounts, uint64_t seed)
{
    *accounts = (struct accounts){.seed = seed, .sweep_count = SWEEP_COUNT_MIN};
    LIST_INIT(&accounts->all);
    return pthread_mutex_init(&accounts->mutex, NULL) == 0;
}

static void
forget(struct accounts *accounts, struct accounts_entry *entry)
{
    table_remove(&accounts->by_name, &entry->link);
    LIST_REMOVE(entry, all);
    account_unref(entry->account);
    free(entry);
}

/* What users did who are gone counts as long as there is room for it. */
static void
sweep(struct accounts *accounts)
{
    struct accounts_entry *entry = LIST_FIRST(&accounts->all);
    while (entry != NULL) {
        struct accounts_entry *next = LIST_NEXT(entry, all);
        if (atomic_load(&entry->account->references) == 1) {
            forget(accounts, entry);
        }
        entry = next;
    }
    accounts->sweep_count = accounts->by_name.count * 2 + SWEEP_COUNT_MIN;
}

void
accounts_fini(struct accounts *accounts)
{
    while (!LIST_EMPTY(&accounts->all)) {
        forget(accounts, LIST_FIRST(&accounts->all));
    }
    table_fini(&accounts->by_name);
    pthread_mutex_destroy(&accounts->mutex);
}

static struct accounts_entry *
find(const struct accounts *accounts, const char *name, uint64_t hash)
{
    struct table_link *link = table_first(&accounts->by_name, hash);
    for (; link != NULL; link = table_next(&accounts->by_name, link)) {
        struct accounts_entry *entry =
            table_entry(link, struct accounts_entry, link);
        if (strcmp(entry->account->name, name) == 0) {
            return entry;
        }
    }
    return NULL;
}

static struct accounts_entry *
enter(struct accounts *accounts, const char *name, uint64_t hash)
{
    struct accounts_entry *entry = calloc(1, sizeof *entry);
    if (entry == NULL) {
        return NULL;
    }
    entry->account = account_new(name);
    if (entry->account == NULL ||
        !table_insert(&accounts->by_name, &entry->link, hash)) {
        account_unref(entry->account);
        free(entry);
        return NULL;
    }
    LIST_INSERT_HEAD(&accounts->all, entry, all);
    return entry;
}

struct account *
accounts_get(struct accounts *accounts, const char *name)
{
    uint64_t hash = table_hash(name, strlen(name), accounts->seed);
    pthread_mutex_lock(&accounts->mutex);
    struct accounts_entry *entry = find(accounts, name, hash);
    if (entry == NULL) {
        if (accounts->by_name.count >= accounts->sweep_count) {
            sweep(accounts);
        }
        entry = enter(accounts, name, hash);
    }
    struct account *account =
        entry == NULL ? NULL : account_ref(entry->account);
    pthread_mutex_unlock(&accounts->mutex);
    return account;
}
