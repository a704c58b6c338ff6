/* SPDX-License-Identifier: MIT
 *
 * Mail between the workers of the fake network; see fake_net.h. */
#include "fake_net.h"

#include "session.h"

/* Rounds in which nobody got anything, before what nobody has memory to say is
 * left unsaid. */
#define IDLE_ROUNDS 4

/* ---- carrying ------------------------------------------------------------ */

void
fake_post_mail(struct fake_net *net, struct core *core)
{
    net->home_posted = false;
    core_post_mail(core);
}

void
fake_post(void *arg, uint32_t worker, struct mailbag *bags)
{
    struct fake_net *net = arg;
    struct fake_mail *mail = &net->mail[worker];
    fake_require(net, !net->home_posted, "home does not get its mail last");
    net->home_posted = worker == 0;
    while (bags != NULL) {
        struct mailbag *next = bags->next;
        bags->next = NULL;
        if (mail->first == NULL) {
            mail->first = bags;
        } else {
            mail->last->next = bags;
        }
        mail->last = bags;
        mail->posted++;
        bags = next;
    }
}

static bool
deliver_first(struct fake_net *net, uint32_t worker)
{
    struct fake_mail *mail = &net->mail[worker];
    struct mailbag *bag = mail->first;
    if (bag == NULL) {
        return false;
    }
    mail->first = bag->next;
    bag->next = NULL;
    mail->read++;
    fake_enter(net);
    core_receive_mail(net->cores[worker], bag);
    fake_leave(net);
    return true;
}

void
fake_mail_until(struct fake_net *net, uint32_t worker, uint64_t mark)
{
    while (net->mail[worker].read < mark && deliver_first(net, worker)) {
    }
}

static void
end_turn(struct fake_net *net, uint32_t worker)
{
    fake_enter(net);
    (void)core_read_mail(net->cores[worker]);
    fake_store_turn(net, worker);
    fake_post_mail(net, net->cores[worker]);
    fake_leave(net);
}

/* Is there anything that was to be said or read, but that there was no memory
 * for? */
static bool
is_unsaid(const struct core *core)
{
    const struct exchange *exchange = core->exchange;
    return exchange->postponed != NULL || core->pool.returned != NULL ||
           !TAILQ_EMPTY(&exchange->leaving) ||
           !TAILQ_EMPTY(&exchange->claims_leaving) ||
           !TAILQ_EMPTY(&core->attachments_touched) ||
           !LIST_EMPTY(&exchange->unreported);
}

/* Returns false if nobody has anything more to say, or to read. */
static bool
exchange_all(struct fake_net *net, bool *moved)
{
    bool unsaid = false;
    *moved = false;
    for (uint32_t worker = 0; worker < net->workers; worker++) {
        end_turn(net, worker);
    }
    for (uint32_t worker = 0; worker < net->workers; worker++) {
        while (deliver_first(net, worker)) {
            *moved = true;
        }
        unsaid = unsaid || is_unsaid(net->cores[worker]);
    }
    *moved = *moved || fake_store_moved(net);
    return *moved || unsaid;
}

void
fake_mail_settle(struct fake_net *net)
{
    if (net->core == NULL || net->core->exchange == NULL) {
        return;
    }
    bool moved;
    int idle = 0;
    while (idle < IDLE_ROUNDS && exchange_all(net, &moved)) {
        idle = moved ? 0 : idle + 1;
    }
    fake_look_at_ends(net);
}

/* ---- for tests ----------------------------------------------------------- */

void
fake_settle(struct fake_net *net)
{
    if (net->holds_mail) {
        fake_look_at_ends(net);
    } else {
        fake_mail_settle(net);
    }
}

void
fake_mail_hold(struct fake_net *net)
{
    net->holds_mail = true;
}

bool
fake_mail_step(struct fake_net *net, uint32_t worker)
{
    bool was_any = deliver_first(net, worker);
    fake_look_at_ends(net);
    return was_any;
}

void
fake_mail_end_turn(struct fake_net *net, uint32_t worker)
{
    end_turn(net, worker);
    fake_look_at_ends(net);
}

uint64_t
fake_mail_mark(const struct fake_peer *peer)
{
    return peer->net->mail[peer->worker].posted;
}

/* ---- checks -------------------------------------------------------------- */

/* Then their sessions keep their ids until the store has answered, which it may
 * never do any more. */
static bool
publishes_are_under_way(const struct fake_net *net)
{
    for (uint32_t worker = 0; worker < net->workers; worker++) {
        const struct core *core = net->cores[worker];
        if (!TAILQ_EMPTY(&core->durables) || !TAILQ_EMPTY(&core->schedulings)) {
            return true;
        }
    }
    return false;
}

static void
check_exchange(struct fake_net *net, const struct core *core)
{
    const struct exchange *exchange = core->exchange;
    fake_require(net, !is_unsaid(core), "something was never said");
    fake_require(net,
        TAILQ_EMPTY(&exchange->all_interests) && exchange->interests.count == 0,
        "interests are left");
    fake_require(net, TAILQ_EMPTY(&exchange->touched),
        "loads of interests are left to be told");
    for (uint32_t worker = 0; worker < exchange->workers; worker++) {
        const struct outbox *outbox = &exchange->outboxes[worker];
        fake_require(net, outbox->unprocessed == 0,
            "runs were posted and never credited");
        fake_require(net, outbox->first == NULL || outbox->first->count == 0,
            "letters are left");
    }
    fake_require(net,
        LIST_EMPTY(&core->index.tree.root->children) ||
            !LIST_EMPTY(&core->captures),
        "filters of other workers are left in the index");
    fake_require(net,
        publishes_are_under_way(net) ||
            core->identities.table.count == core->identities.gone_count,
        "an identity is held, and nobody has it");
}

void
fake_check_exchanges(struct fake_net *net)
{
    uint64_t bytes = 0;
    for (uint32_t worker = 0; worker < net->workers && net->workers > 1;
         worker++) {
        check_exchange(net, net->cores[worker]);
        bytes += net->cores[worker]->pool.bytes_in_use;
    }
    fake_require(net, bytes == net->shared_bytes,
        "the memory that all have in use is miscounted");
}
