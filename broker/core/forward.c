/* SPDX-License-Identifier: MIT
 *
 * Runs to and from other workers; see forward.h. */
#include "forward.h"

#include "exchange.h"
#include "interest.h"
#include "session.h"
#include "wait.h"
#include "wire.h"

#include <stdlib.h>
#include <string.h>

/* ---- sending ------------------------------------------------------------- */

/* The letter before is of the same run, and this slice continues it. */
static struct letter_run *
continued(
    struct outbox *outbox, const struct forward *forward, uint32_t pick_count)
{
    struct mailbag *bag = outbox->last;
    if (forward->index == 0 || pick_count > 1 || bag == NULL ||
        bag->count == 0 || bag->letters[bag->count - 1].kind != LETTER_RUN) {
        return NULL;
    }
    struct letter_run *run = &bag->letters[bag->count - 1].run;
    bool follows = run->data + run->bytes == forward->slice->data &&
                   run->block->original == forward->slice->block;
    return follows && run->wait == forward->run->wait &&
                   run->plain == forward->plain && run->pick_count == pick_count
               ? run
               : NULL;
}

/* 0: the broker itself, or somebody who cannot be made to wait. */
static uint64_t
publisher_of(const struct run *run)
{
    return run->publisher == NULL ? 0 : run->publisher->id;
}

/* The picks of this worker, into `out` if that is not NULL. */
static uint32_t
picks_of(const struct forward *forward, uint32_t worker, struct interest **out)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < forward->pick_count; i++) {
        struct group_remote *pick = forward->picks[i];
        if (pick != NULL && pick->worker == worker) {
            if (out != NULL) {
                out[count] = pick->interest;
            }
            count++;
        }
    }
    return count;
}

static void
count_sent(const struct forward *forward, uint32_t worker)
{
    for (uint32_t i = 0; i < forward->pick_count; i++) {
        struct group_remote *pick = forward->picks[i];
        if (pick != NULL && pick->worker == worker) {
            pick->sent += forward->slice->messages;
        }
    }
}

static bool
fill_picks(struct letter_run *run, const struct forward *forward,
    uint32_t worker, uint32_t count)
{
    run->pick_count = count;
    if (count < 2) {
        (void)picks_of(forward, worker, &run->pick);
        return true;
    }
    struct interest **picks = malloc(count * sizeof(struct interest *));
    if (picks == NULL) {
        return false;
    }
    (void)picks_of(forward, worker, picks);
    run->picks = picks;
    return true;
}

/* Without memory for the list of picks: a letter for each, the first of which
 * is for the plain subscriptions too. A connection that is meant twice then
 * gets it twice, which is better than not at all. */
static bool
forward_apart(struct core *core, uint32_t worker, const struct forward *forward)
{
    struct forward one = *forward;
    bool all = true;
    one.pick_count = 1;
    for (uint32_t i = 0; i < forward->pick_count; i++) {
        one.picks = &forward->picks[i];
        if (*one.picks != NULL && (*one.picks)->worker == worker) {
            all = forward_to(core, worker, &one) && all;
            one.plain = false;
        }
    }
    return all;
}

bool
forward_to(struct core *core, uint32_t worker, const struct forward *forward)
{
    struct exchange *exchange = core->exchange;
    struct outbox *outbox = &exchange->outboxes[worker];
    const struct output_run *slice = forward->slice;
    uint32_t pick_count = picks_of(forward, worker, NULL);
    struct letter_run *before = continued(outbox, forward, pick_count);
    struct interest *pick = NULL;
    if (before != NULL && pick_count == 1) {
        (void)picks_of(forward, worker, &pick);
    }
    if (before != NULL && (pick_count == 0 || before->pick == pick)) {
        before->bytes += slice->bytes;
        before->messages += slice->messages;
        exchange_count_run(exchange, worker, slice->bytes, false);
        count_sent(forward, worker);
        return true;
    }
    struct letter_run run = {.data = slice->data,
        .bytes = slice->bytes,
        .messages = slice->messages,
        .wait = forward->run->wait,
        .publisher_id = publisher_of(forward->run),
        .index = forward->index,
        .plain = forward->plain};
    if (!exchange_has_room_for(exchange, worker)) {
        return false;
    }
    if (!fill_picks(&run, forward, worker, pick_count)) {
        return forward_apart(core, worker, forward);
    }
    run.block = exchange_lend(exchange, worker, slice->block);
    if (run.block == NULL) {
        if (pick_count > 1) {
            free(run.picks);
        }
        return false;
    }
    exchange_write(exchange, worker, LETTER_RUN)->run = run;
    exchange_count_run(exchange, worker, run.bytes, true);
    count_sent(forward, worker);
    if (run.wait != NULL) {
        run.wait->missing++;
    }
    return true;
}

bool
forward_retain(struct core *core, const struct output_run *slice,
    struct wait *wait, uint64_t publisher_id, bool request, bool stored)
{
    struct exchange *exchange = core->exchange;
    if (!exchange_has_room(exchange)) {
        return false;
    }
    struct block *loan = exchange_lend(exchange, EXCHANGE_HOME, slice->block);
    if (loan == NULL) {
        return false;
    }
    struct letter *letter =
        exchange_write(exchange, EXCHANGE_HOME, LETTER_RETAIN);
    letter->run = (struct letter_run){.block = loan,
        .data = slice->data,
        .bytes = slice->bytes,
        .messages = 1,
        .wait = wait,
        .publisher_id = publisher_id,
        .request = request,
        .stored = stored};
    exchange_count_run(exchange, EXCHANGE_HOME, slice->bytes, true);
    return true;
}

/* ---- receiving ----------------------------------------------------------- */

static enum broker_status
no_check(void *arg, struct broker_bytes topic)
{
    (void)arg;
    (void)topic;
    return BROKER_OK; /* the worker that received it did */
}

static struct broker_bytes
topic_of(const uint8_t *frame)
{
    const uint8_t *body = frame + BROKER_HEADER_BYTES;
    return (struct broker_bytes){body + 4, (size_t)body[0] << 8 | body[1]};
}

static struct interest *
pick_at(const struct letter_run *letter, uint32_t i)
{
    return letter->pick_count == 1 ? letter->pick : letter->picks[i];
}

/* The groups here that the run is for. Where the last member has gone meanwhile
 * the run goes the way of what was queued for it: sending it on to another
 * worker would let newer messages overtake it. */
static uint32_t
groups_of(struct core *core, uint32_t from, const struct letter_run *letter,
    struct wait *wait, struct group **groups)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < letter->pick_count; i++) {
        struct interest *interest = pick_at(letter, i);
        interest->peers[from].processed += letter->messages;
        interest_touch(core, interest);
        if (interest->group != NULL) {
            groups[count++] = interest->group;
        } else {
            core->totals.dropped_messages += letter->messages;
            if (wait != NULL) {
                wait_refused(wait, 0, letter->messages, 1);
            }
        }
    }
    return count;
}

static void
deliver_letter(struct core *core, uint32_t from,
    const struct letter_run *letter, const struct route *route,
    struct group **groups, struct wait *wait)
{
    struct route here = *route;
    uint32_t plain = here.matched - here.group_count;
    here.group_count = groups_of(core, from, letter, wait, groups);
    here.groups = groups;
    here.workers = 0;
    here.shares_groups = false;
    if (!letter->plain) {
        here.target_count = 0;
        plain = 0;
    }
    here.matched = plain;
    struct run run = {.route = &here,
        .origin_id = letter->publisher_id,
        .origin = from,
        .slice = {.block = letter->block,
            .data = letter->data,
            .bytes = letter->bytes,
            .messages = letter->messages},
        .wait = wait,
        .forwarded = true};
    deliver_run(core, &run);
    if (wait != NULL) {
        wait_close(core, wait);
    }
}

bool
forward_on_run(
    struct core *core, uint32_t from, const struct letter_run *letter)
{
    enum broker_status status;
    letter->block->pool = &core->pool;
    struct route *route = route_get(
        &core->routes, topic_of(letter->data), no_check, NULL, &status);
    if (route == NULL) {
        return false;
    }
    struct group *one;
    struct group **groups = &one;
    if (letter->pick_count > 1) {
        groups = malloc(letter->pick_count * sizeof(struct group *));
    }
    struct wait *wait = NULL;
    if (letter->wait != NULL && groups != NULL) {
        wait = wait_new_for(
            core, from, letter->wait, letter->index, letter->messages);
    }
    bool ok = groups != NULL && (letter->wait == NULL || wait != NULL);
    if (ok) {
        deliver_letter(core, from, letter, route, groups, wait);
        block_unref(letter->block);
    }
    if (letter->pick_count > 1) {
        free(groups);
        if (ok) {
            free(letter->picks);
        }
    }
    route_unref(route);
    return ok;
}

bool
forward_on_retain(
    struct core *core, uint32_t from, const struct letter_run *letter)
{
    letter->block->pool = &core->pool;
    struct wait *wait = wait_new_for(core, from, letter->wait, 0, 1);
    if (wait == NULL) {
        return false;
    }
    struct run run = {.slice = {.block = letter->block,
                          .data = letter->data,
                          .bytes = letter->bytes,
                          .messages = 1},
        .wait = wait,
        .origin_id = letter->publisher_id,
        .origin = from,
        .request = letter->request,
        .stored = letter->stored};
    wait->status = publish_retained(core, topic_of(letter->data), &run);
    block_unref(letter->block);
    wait_close(core, wait);
    return true;
}

void
forward_on_result(struct core *core, const struct letter_result *letter)
{
    struct wait *wait = letter->wait;
    wait_refused(wait, letter->index, letter->count, letter->refused);
    if (letter->final) {
        wait_matched(wait, letter->matched);
        if (wait->status == BROKER_OK) {
            wait->status = letter->status;
        }
        wait_close(core, wait);
    }
}
