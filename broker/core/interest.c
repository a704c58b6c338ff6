/* SPDX-License-Identifier: MIT
 *
 * Interest in filters across workers; see interest.h. */
#include "interest.h"

#include "exchange.h"
#include "session.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static struct broker_bytes
filter_of(const struct interest *interest)
{
    return (struct broker_bytes){interest->text, interest->filter_bytes};
}

static struct broker_bytes
group_of(const struct interest *interest)
{
    return (struct broker_bytes){
        interest->text + interest->filter_bytes, interest->group_bytes};
}

/* ---- life ---------------------------------------------------------------- */

static uint64_t
interest_hash(const struct exchange *exchange, struct broker_bytes filter,
    struct broker_bytes group)
{
    uint64_t hash = table_hash(filter.data, filter.len, exchange->seed);
    return group.len == 0 ? hash : table_hash(group.data, group.len, hash);
}

static bool
same(struct broker_bytes a, struct broker_bytes b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

static struct interest *
find(struct exchange *exchange, struct broker_bytes filter,
    struct broker_bytes group, uint64_t hash)
{
    struct table_link *link = table_first(&exchange->interests, hash);
    for (; link != NULL; link = table_next(&exchange->interests, link)) {
        struct interest *interest = table_entry(link, struct interest, link);
        if (same(filter_of(interest), filter) &&
            same(group_of(interest), group)) {
            return interest;
        }
    }
    return NULL;
}

static struct interest *
interest_new(struct exchange *exchange, struct broker_bytes filter,
    struct broker_bytes group, uint64_t hash)
{
    struct interest *interest =
        calloc(1, sizeof *interest + filter.len + group.len);
    if (interest == NULL) {
        return NULL;
    }
    interest->filter_bytes = (uint16_t)filter.len;
    interest->group_bytes = (uint16_t)group.len;
    memcpy(interest->text, filter.data, filter.len);
    if (group.len > 0) {
        memcpy(interest->text + filter.len, group.data, group.len);
        interest->peers = calloc(exchange->workers, sizeof *interest->peers);
    }
    if ((group.len > 0 && interest->peers == NULL) ||
        !table_insert(&exchange->interests, &interest->link, hash)) {
        free(interest->peers);
        free(interest);
        return NULL;
    }
    interest->listed = true;
    LIST_INIT(&interest->makings);
    TAILQ_INSERT_TAIL(&exchange->all_interests, interest, all);
    return interest;
}

static void
unlist(struct exchange *exchange, struct interest *interest)
{
    if (interest->listed) {
        interest->listed = false;
        table_remove(&exchange->interests, &interest->link);
    }
}

static void
interest_free(struct exchange *exchange, struct interest *interest)
{
    assert(interest->references == 0 && interest->group == NULL);
    unlist(exchange, interest);
    if (interest->is_touched) {
        TAILQ_REMOVE(&exchange->touched, interest, touched);
    }
    TAILQ_REMOVE(&exchange->all_interests, interest, all);
    free(interest->peers);
    free(interest);
}

static void
announce(struct core *core, struct interest *interest)
{
    struct exchange *exchange = core->exchange;
    for (uint32_t worker = 0; worker < exchange->workers; worker++) {
        if (!exchange_is_other(exchange, worker)) {
            continue;
        }
        struct letter *letter =
            exchange_write(exchange, worker, LETTER_INTEREST);
        if (letter == NULL) {
            interest->failed = true;
            continue;
        }
        letter->interest.interest = interest;
        interest->owed++;
    }
}

/* The interest of this filter with a reference, announced if it is new; NULL if
 * memory is out. */
static struct interest *
interest_get(
    struct core *core, struct broker_bytes filter, struct broker_bytes group)
{
    struct exchange *exchange = core->exchange;
    uint64_t hash = interest_hash(exchange, filter, group);
    struct interest *interest = find(exchange, filter, group, hash);
    if (interest == NULL) {
        interest = interest_new(exchange, filter, group, hash);
        if (interest == NULL) {
            return NULL;
        }
        announce(core, interest);
    }
    if (interest->is_leaving) { /* and it was not said yet */
        interest->is_leaving = false;
        TAILQ_REMOVE(&exchange->leaving, interest, leaving);
    }
    interest->references++;
    return interest;
}

static bool
is_confirmed(const struct interest *interest)
{
    return interest->owed == 0 && !interest->failed;
}

/* Nobody here wants it any more and nobody owes an answer: say so. */
static void
leave_if_unused(struct core *core, struct interest *interest)
{
    if (interest->references == 0 && interest->owed == 0 &&
        !interest->is_leaving && interest->listed) {
        interest->is_leaving = true;
        TAILQ_INSERT_TAIL(&core->exchange->leaving, interest, leaving);
    }
}

static void
interest_unref(struct core *core, struct interest *interest)
{
    interest->references--;
    leave_if_unused(core, interest);
}

/* There is room for the letters. */
static void
write_disinterest(struct exchange *exchange, struct interest *interest)
{
    for (uint32_t worker = 0; worker < exchange->workers; worker++) {
        if ((interest->entered >> worker & 1) == 0) {
            continue;
        }
        struct letter *letter =
            exchange_write(exchange, worker, LETTER_DISINTEREST);
        letter->interest.interest = interest;
        letter->interest.remote =
            interest->peers == NULL ? NULL : interest->peers[worker].remote;
        interest->owed++;
    }
}

void
interest_write_leaving(struct core *core)
{
    struct exchange *exchange = core->exchange;
    struct interest *interest;
    while ((interest = TAILQ_FIRST(&exchange->leaving)) != NULL &&
           exchange_has_room(exchange)) {
        TAILQ_REMOVE(&exchange->leaving, interest, leaving);
        unlist(exchange, interest);
        write_disinterest(exchange, interest);
        if (interest->owed == 0) {
            interest_free(exchange, interest);
        }
    }
}

void
interest_on_forgotten(struct core *core, const struct letter_interest *letter)
{
    struct interest *interest = letter->interest;
    if (--interest->owed > 0) {
        return;
    }
    struct subscription *retiring = interest->retiring;
    if (retiring != NULL) {
        interest_release(core, retiring);
    }
    interest_free(core->exchange, interest);
    if (retiring != NULL) {
        subscription_retired(retiring);
    }
}

bool
interest_retire(struct subscription *subscription)
{
    struct core *core = subscription->session->core;
    struct interest *interest = subscription->interest;
    if (interest == NULL || interest->peers == NULL || interest->members > 1 ||
        interest->references > 1 || interest->entered == 0 ||
        interest->retiring != NULL || !exchange_has_room(core->exchange)) {
        return false;
    }
    unlist(core->exchange, interest);
    write_disinterest(core->exchange, interest);
    interest->retiring = subscription;
    subscription->session->remote->retiring_count++;
    return true;
}

/* ---- load ---------------------------------------------------------------- */

void
interest_touch(struct core *core, struct interest *interest)
{
    if (interest == NULL || interest->peers == NULL) {
        return;
    }
    interest->is_changed = true;
    if (!interest->is_touched) {
        interest->is_touched = true;
        TAILQ_INSERT_TAIL(&core->exchange->touched, interest, touched);
    }
}

static uint64_t
least_load(const struct group *group)
{
    uint64_t least = UINT64_MAX;
    for (uint32_t i = 0; i < group->count && least > 0; i++) {
        uint64_t load = group->members[i]->session->output.messages;
        least = load < least ? load : least;
    }
    return least;
}

/* False if there was no memory. */
static bool
write_load(struct exchange *exchange, const struct interest *interest,
    uint64_t load, uint32_t members)
{
    if (!exchange_has_room(exchange)) {
        return false;
    }
    for (uint32_t worker = 0; worker < exchange->workers; worker++) {
        const struct interest_peer *peer = &interest->peers[worker];
        if (peer->remote == NULL) {
            continue;
        }
        struct letter *letter = exchange_write(exchange, worker, LETTER_LOAD);
        letter->interest = (struct letter_interest){.remote = peer->remote,
            .load = load,
            .processed = peer->processed,
            .members = members};
    }
    return true;
}

/* Tell the others how busy the members here are, if there is news. */
static void
report_load(struct core *core, struct interest *interest)
{
    uint32_t members = interest->members;
    uint64_t load = members == 0 ? 0 : least_load(interest->group);
    bool news = interest->is_changed || load != interest->reported_load;
    if (news && interest->listed && !interest->is_leaving &&
        interest->owed == 0 &&
        write_load(core->exchange, interest, load, members)) {
        interest->is_changed = false;
        interest->reported_load = load;
    }
}

/* The members changed. Said at once, so that what the same session says next
 * comes after it wherever it goes. */
static void
report_members(struct core *core, struct interest *interest)
{
    interest_touch(core, interest);
    if (interest->peers != NULL) {
        report_load(core, interest);
    }
}

/* Whoever is busy is looked at again after each turn until it is not. */
void
interest_write_loads(struct core *core)
{
    struct exchange *exchange = core->exchange;
    struct interest *interest = TAILQ_FIRST(&exchange->touched);
    while (interest != NULL) {
        struct interest *next = TAILQ_NEXT(interest, touched);
        report_load(core, interest);
        bool over = !interest->listed || interest->is_leaving;
        bool busy = interest->members > 0 && least_load(interest->group) > 0;
        if (over || (!busy && !interest->is_changed)) {
            interest->is_touched = false;
            TAILQ_REMOVE(&exchange->touched, interest, touched);
        }
        interest = next;
    }
}

/* ---- making subscriptions ------------------------------------------------ */

/* The session has nothing to do with it any more. */
static void
leave_session(struct making *making)
{
    struct session_remote *remote = making->session->remote;
    TAILQ_REMOVE(&remote->makings, making, of_session);
    remote->making_count--;
    making->session = NULL;
}

static void
making_free(struct core *core, struct making *making)
{
    for (size_t i = 0; i < making->value_count; i++) {
        making->values[i].block->pool = &core->pool;
        block_unref(making->values[i].block);
    }
    free(making->values);
    interest_unref(core, making->interest);
    free(making);
}

/* Home's values, with references for the worker that makes the subscription:
 * loans, unless that is home. */
static bool
collect_at_home(struct core *core, uint32_t to, struct making *making)
{
    bool lends = exchange_is_other(core->exchange, to);
    size_t count = 0;
    making->values =
        retained_copies(&core->retained, filter_of(making->interest), &count);
    for (size_t i = 0; making->values != NULL && i < count; i++) {
        struct block *frame = making->values[i].block;
        if (lends) {
            making->values[i].block = block_loan_new();
            if (making->values[i].block == NULL) {
                break;
            }
            block_lend(making->values[i].block, frame, EXCHANGE_HOME);
        } else {
            block_ref(frame);
        }
        making->value_count++;
    }
    return making->value_count == count;
}

/* Everything that it waited for is there, or failed. */
static void
finish(struct core *core, struct making *making)
{
    struct subscription *subscription = making->subscription;
    struct interest *interest = making->interest;
    leave_session(making); /* what follows may be the end of the session */
    bool ok = is_confirmed(interest) && !making->failed &&
              index_add(&core->index, subscription, filter_of(interest),
                  group_of(interest));
    if (ok) {
        interest->references++;
        subscription->interest = interest;
        if (subscription->group != NULL) {
            interest->group = subscription->group;
            interest->members++;
            report_members(core, interest);
        }
    }
    subscription_made(subscription, ok, making->values, making->value_count);
    making_free(core, making);
}

/* Ask home for the retained values. */
static void
collect(struct core *core, struct making *making)
{
    struct letter *letter =
        exchange_write(core->exchange, EXCHANGE_HOME, LETTER_COLLECT);
    if (letter == NULL) {
        making->failed = true;
        return;
    }
    letter->making = making;
    making->collecting = true;
}

static bool
needs_values(const struct making *making)
{
    if (making->collecting) {
        return true; /* and the rest is home's to write */
    }
    return making->wants_retained && !making->failed && !making->collected &&
           !making->interest->failed;
}

/* Go on with what the session's makings wait for, and finish those at the front
 * that are ready: SUBACKs are in the order of SUBSCRIBEs. Home is asked in that
 * order too. A subscription has to begin to match when its values come, so that
 * no message falls between; those before it are ready by then. */
static void
advance(struct session *session)
{
    struct core *core = session->core;
    bool at_home = !exchange_is_other(core->exchange, EXCHANGE_HOME);
    struct making_queue *makings = &session->remote->makings;
    struct making *making;
    TAILQ_FOREACH(making, makings, of_session)
    {
        if (!making->confirmed) {
            break;
        }
        if (!at_home && needs_values(making) && !making->collecting) {
            collect(core, making);
        }
    }
    while ((making = TAILQ_FIRST(makings)) != NULL && making->confirmed) {
        if (needs_values(making) && !at_home) {
            return;
        }
        if (needs_values(making)) {
            making->failed = !collect_at_home(core, EXCHANGE_HOME, making);
        }
        finish(core, making);
    }
    session_resume(session);
}

/* The interest is confirmed by all, or failed. */
static void
confirm(struct making *making)
{
    making->confirmed = true;
    advance(making->session);
}

bool
interest_make(struct session *session, struct subscription *subscription,
    struct broker_bytes filter, struct broker_bytes group, bool wants_retained)
{
    struct core *core = session->core;
    struct making *making = calloc(1, sizeof *making);
    if (making == NULL) {
        return false;
    }
    making->interest = interest_get(core, filter, group);
    if (making->interest == NULL) {
        free(making);
        return false;
    }
    making->session = session;
    making->subscription = subscription;
    making->wants_retained = wants_retained;
    TAILQ_INSERT_TAIL(&session->remote->makings, making, of_session);
    session->remote->making_count++;
    if (making->interest->owed > 0) {
        LIST_INSERT_HEAD(&making->interest->makings, making, of_interest);
    } else {
        confirm(making);
    }
    return true;
}

void
interest_on_entered(
    struct core *core, uint32_t from, const struct letter_interest *letter)
{
    struct interest *interest = letter->interest;
    if (letter->entered) {
        interest->entered |= UINT64_C(1) << from;
        if (interest->peers != NULL) {
            interest->peers[from].remote = letter->remote;
        }
    } else {
        interest->failed = true;
    }
    if (--interest->owed > 0) {
        return;
    }
    interest->references++;
    while (!LIST_EMPTY(&interest->makings)) {
        struct making *making = LIST_FIRST(&interest->makings);
        LIST_REMOVE(making, of_interest);
        confirm(making);
    }
    /* One that failed stays in the table until the others were told to forget
     * it, so that a new one of the same filter cannot be taken for it. */
    interest_unref(core, interest);
}

void
interest_on_collect(struct core *core, uint32_t from, struct making *making)
{
    making->failed = !collect_at_home(core, from, making);
    struct letter *letter =
        exchange_write(core->exchange, from, LETTER_COLLECTED);
    letter->making = making;
}

void
interest_on_collected(struct core *core, struct making *making)
{
    for (size_t i = 0; i < making->value_count; i++) {
        making->values[i].block->pool = &core->pool;
    }
    making->collecting = false;
    making->collected = true;
    if (making->session == NULL) {
        making_free(core, making);
    } else {
        advance(making->session);
    }
}

void
interest_cancel(struct session *session)
{
    struct core *core = session->core;
    struct making *making;
    while ((making = TAILQ_FIRST(&session->remote->makings)) != NULL) {
        leave_session(making);
        if (!making
                 ->collecting) { /* else it is freed when home sends it back */
            if (!making->confirmed) {
                LIST_REMOVE(making, of_interest);
            }
            making_free(core, making);
        }
    }
}

void
interest_release(struct core *core, struct subscription *subscription)
{
    struct interest *interest = subscription->interest;
    if (interest == NULL) {
        return;
    }
    subscription->interest = NULL;
    if (subscription->group != NULL && --interest->members == 0) {
        interest->group = NULL;
    }
    if (interest->retiring == subscription) {
        interest->retiring = NULL;
        if (subscription->session->remote != NULL) {
            subscription->session->remote->retiring_count--;
        }
    }
    report_members(core, interest);
    interest_unref(core, interest);
}

/* ---- the publishers' side ------------------------------------------------ */

void
interest_on_interest(
    struct core *core, uint32_t from, const struct letter_interest *letter)
{
    const struct interest *interest = letter->interest;
    struct group_remote *remote = NULL;
    bool ok;
    if (interest->group_bytes == 0) {
        ok = index_add_worker(&core->index, filter_of(interest), from);
    } else {
        remote = index_join_remote(&core->index, filter_of(interest),
            group_of(interest), from, letter->interest);
        ok = remote != NULL;
    }
    struct letter *answer =
        exchange_write(core->exchange, from, LETTER_ENTERED);
    answer->interest.interest = letter->interest;
    answer->interest.remote = remote;
    answer->interest.entered = ok;
}

void
interest_on_disinterest(
    struct core *core, uint32_t from, const struct letter_interest *letter)
{
    const struct interest *interest = letter->interest;
    if (letter->remote == NULL) {
        index_remove_worker(&core->index, filter_of(interest), from);
    } else {
        index_leave_remote(&core->index, letter->remote);
    }
    struct letter *answer =
        exchange_write(core->exchange, from, LETTER_FORGOTTEN);
    answer->interest.interest = letter->interest;
}

void
interest_on_load(struct core *core, const struct letter_interest *letter)
{
    struct group_remote *remote = letter->remote;
    if ((remote->members == 0) != (letter->members == 0)) {
        core->index.epoch++; /* the group may be on routes, or is no more */
    }
    remote->members = letter->members;
    remote->load = letter->load;
    remote->processed = letter->processed;
}
