/* SPDX-License-Identifier: MIT
 *
 * Remembered sessions; see identity.h. */
#include "identity.h"

#include <stdlib.h>
#include <string.h>

void
identities_init(struct identities *identities, uint64_t gone_max,
    uint64_t memory_ms, uint64_t seed)
{
    *identities = (struct identities){
        .gone_max = gone_max, .memory_ms = memory_ms, .seed = seed};
    TAILQ_INIT(&identities->gone);
}

static void
forget(struct identities *identities, struct identity *identity)
{
    table_remove(&identities->table, &identity->link);
    free(identity);
}

static void
forget_first_gone(struct identities *identities)
{
    struct identity *identity = TAILQ_FIRST(&identities->gone);
    TAILQ_REMOVE(&identities->gone, identity, gone);
    identities->gone_count--;
    forget(identities, identity);
}

/* Those whose holder still has a publish with the store, which nobody answers
 * any more. */
static void
forget_held(struct identities *identities)
{
    const struct table *table = &identities->table;
    for (size_t slot = 0; table->count > 0;) {
        if (table->tags[slot] == 0) {
            slot++;
            continue;
        }
        size_t slots = table->slot_count;
        struct identity *identity =
            table_entry(table->links[slot], struct identity, link);
        free(identity->taker); /* its session has gone too */
        forget(identities, identity);
        /* Perhaps another one stands here now, or, in a smaller table, all of
         * them anywhere. */
        slot = table->slot_count == slots ? slot : 0;
    }
}

void
identities_fini(struct identities *identities)
{
    while (!TAILQ_EMPTY(&identities->gone)) {
        forget_first_gone(identities);
    }
    forget_held(identities);
    table_fini(&identities->table);
}

static void
expire(struct identities *identities, uint64_t now_ms)
{
    struct identity *first;
    while ((first = TAILQ_FIRST(&identities->gone)) != NULL &&
           now_ms - first->gone_ms >= identities->memory_ms) {
        forget_first_gone(identities);
    }
}

static struct identity *
find(const struct identities *identities, const uint8_t *id, uint64_t owner,
    uint64_t hash)
{
    struct table_link *link = table_first(&identities->table, hash);
    for (; link != NULL; link = table_next(&identities->table, link)) {
        struct identity *identity = table_entry(link, struct identity, link);
        if (memcmp(identity->id, id, BROKER_SESSION_BYTES) == 0 &&
            identity->owner == owner) {
            return identity;
        }
    }
    return NULL;
}

struct identity *
identity_take(struct identities *identities,
    const uint8_t id[BROKER_SESSION_BYTES], uint64_t owner, uint64_t now_ms)
{
    expire(identities, now_ms);
    uint64_t hash = table_hash(id, BROKER_SESSION_BYTES, identities->seed);
    struct identity *identity = find(identities, id, owner, hash);
    if (identity != NULL) {
        if (identity->is_gone) {
            TAILQ_REMOVE(&identities->gone, identity, gone);
            identities->gone_count--;
            identity->is_gone = false;
            identity->session = NULL;
            identity->taker = NULL;
        }
        return identity;
    }
    identity = calloc(1, sizeof *identity);
    if (identity == NULL) {
        return NULL;
    }
    memcpy(identity->id, id, BROKER_SESSION_BYTES);
    identity->owner = owner;
    if (!table_insert(&identities->table, &identity->link, hash)) {
        free(identity);
        return NULL;
    }
    return identity;
}

void
identity_leave(
    struct identities *identities, struct identity *identity, uint64_t now_ms)
{
    identity->session = NULL;
    if (identity->last_publish == 0 || identities->gone_max == 0) {
        forget(identities, identity);
        return;
    }
    identity->is_gone = true;
    identity->gone_ms = now_ms;
    TAILQ_INSERT_TAIL(&identities->gone, identity, gone);
    if (++identities->gone_count > identities->gone_max) {
        forget_first_gone(identities);
    }
}
