/* SPDX-License-Identifier: MIT
 *
 * Writing, posting and sorting mail; see exchange.h. */
#include "exchange.h"

#include "attachment.h"
#include "captures.h"
#include "claim.h"
#include "consumers.h"
#include "forward.h"
#include "interest.h"
#include "question.h"
#include "session.h"

#include <assert.h>
#include <stdlib.h>

/* Others are asked to drop queues no more often than this: what they drop takes
 * a while to come back. */
#define SHED_PAUSE_MS 20u
#define BAG_FIRST     16u /* letters; quiet workers need no more */
#define BAG_NEXT      128u
/* Unprocessed runs of at most this many bytes, and at most a part of all
 * memory, because each run keeps a block from being used. */
#define CONGESTED_BYTES (8u * 1024u * 1024u)
#define CONGESTED_PART  16u
/* What a run costs beside its bytes: it may be small, and of a large block. */
#define RUN_COST 4096u

struct exchange *
exchange_new(
    uint32_t self, uint32_t workers, uint64_t max_memory_bytes, uint64_t seed)
{
    struct exchange *exchange = calloc(1, sizeof *exchange);
    if (exchange == NULL) {
        return NULL;
    }
    exchange->self = self;
    exchange->workers = workers;
    exchange->seed = seed;
    exchange->congested_bytes = max_memory_bytes / CONGESTED_PART / workers;
    if (exchange->congested_bytes > CONGESTED_BYTES) {
        exchange->congested_bytes = CONGESTED_BYTES;
    }
    TAILQ_INIT(&exchange->leaving);
    TAILQ_INIT(&exchange->touched);
    TAILQ_INIT(&exchange->claims_leaving);
    TAILQ_INIT(&exchange->all_interests);
    LIST_INIT(&exchange->unreported);
    TAILQ_INIT(&exchange->answers);
    exchange->outboxes = calloc(workers, sizeof *exchange->outboxes);
    if (exchange->outboxes == NULL) {
        free(exchange);
        return NULL;
    }
    return exchange;
}

static void
free_bags(struct mailbag *bag)
{
    while (bag != NULL) {
        struct mailbag *next = bag->next;
        assert(bag->done == bag->count && bag->returned == NULL);
        free(bag);
        bag = next;
    }
}

void
exchange_free(struct exchange *exchange)
{
    if (exchange == NULL) {
        return;
    }
    assert(exchange->postponed == NULL);
    assert(TAILQ_EMPTY(&exchange->all_interests));
    for (uint32_t worker = 0; worker < exchange->workers; worker++) {
        free_bags(exchange->outboxes[worker].first);
        free(exchange->outboxes[worker].spare);
    }
    table_fini(&exchange->interests);
    free(exchange->outboxes);
    free(exchange);
}

/* ---- writing ------------------------------------------------------------- */

static bool
add_bag(struct exchange *exchange, struct outbox *outbox)
{
    uint32_t capacity = outbox->last == NULL ? BAG_FIRST : BAG_NEXT;
    struct mailbag *bag =
        malloc(sizeof *bag + capacity * sizeof bag->letters[0]);
    if (bag == NULL) {
        return false;
    }
    *bag = (struct mailbag){.from = exchange->self, .capacity = capacity};
    if (outbox->last == NULL) {
        outbox->first = bag;
    } else {
        outbox->last->next = bag;
    }
    outbox->last = bag;
    return true;
}

static uint32_t
room_in(const struct outbox *outbox)
{
    return outbox->last == NULL ? 0
                                : outbox->last->capacity - outbox->last->count;
}

bool
exchange_has_room_for(struct exchange *exchange, uint32_t worker)
{
    struct outbox *outbox = &exchange->outboxes[worker];
    if (room_in(outbox) < EXCHANGE_ROOM && !add_bag(exchange, outbox)) {
        return false;
    }
    if (outbox->spare == NULL) {
        outbox->spare = block_loan_new();
    }
    return outbox->spare != NULL;
}

bool
exchange_has_room(struct exchange *exchange)
{
    for (uint32_t worker = 0; worker < exchange->workers; worker++) {
        if (!exchange_has_room_for(exchange, worker)) {
            return false;
        }
    }
    return true;
}

struct letter *
exchange_write(
    struct exchange *exchange, uint32_t worker, enum letter_kind kind)
{
    struct outbox *outbox = &exchange->outboxes[worker];
    if (room_in(outbox) == 0 && !add_bag(exchange, outbox)) {
        return NULL;
    }
    struct letter *letter = &outbox->last->letters[outbox->last->count++];
    *letter = (struct letter){.kind = kind};
    return letter;
}

struct block *
exchange_lend(struct exchange *exchange, uint32_t worker, struct block *block)
{
    struct outbox *outbox = &exchange->outboxes[worker];
    if (outbox->loan != NULL && outbox->loan->original == block) {
        return block_ref(outbox->loan);
    }
    struct block *loan = outbox->spare;
    outbox->spare = NULL;
    if (loan == NULL && (loan = block_loan_new()) == NULL) {
        return NULL;
    }
    block_lend(loan, block, exchange->self);
    outbox->loan = loan;
    return loan;
}

void
exchange_want_shed(struct exchange *exchange, uint64_t now_ms)
{
    if (now_ms - exchange->shed_ms >= SHED_PAUSE_MS) {
        exchange->shed_ms = now_ms;
        exchange->shed_wanted = true;
    }
}

bool
exchange_is_congested(const struct exchange *exchange)
{
    for (uint32_t worker = 0; worker < exchange->workers; worker++) {
        if (exchange->outboxes[worker].unprocessed >
            exchange->congested_bytes) {
            return true;
        }
    }
    return false;
}

/* ---- posting ------------------------------------------------------------- */

/* Put loans that are to be given back into the bags for their lenders. Where
 * there is no bag and no memory for one they wait. */
static void
return_loans(struct core *core)
{
    struct exchange *exchange = core->exchange;
    struct block *loan = core->pool.returned;
    core->pool.returned = NULL;
    while (loan != NULL) {
        struct block *next = loan->next;
        struct outbox *outbox = &exchange->outboxes[loan->lender];
        if (outbox->last == NULL && !add_bag(exchange, outbox)) {
            loan->next = core->pool.returned;
            core->pool.returned = loan;
        } else {
            loan->next = outbox->last->returned;
            outbox->last->returned = loan;
        }
        loan = next;
    }
}

static void
post_to(struct core *core, uint32_t worker)
{
    struct exchange *exchange = core->exchange;
    struct outbox *outbox = &exchange->outboxes[worker];
    struct mailbag *bag = outbox->first;
    if (bag == NULL || (bag->count == 0 && bag->returned == NULL)) {
        return; /* only room that was made */
    }
    outbox->first = outbox->last = NULL;
    outbox->loan = NULL;
    core->hooks.post(core->hooks.arg, worker, bag);
}

static void
write_shed(struct exchange *exchange)
{
    exchange->shed_wanted = false;
    for (uint32_t worker = 0; worker < exchange->workers; worker++) {
        if (exchange_is_other(exchange, worker)) {
            (void)exchange_write(exchange, worker, LETTER_SHED);
        }
    }
}

void
core_post_mail(struct core *core)
{
    struct exchange *exchange = core->exchange;
    if (exchange == NULL) {
        return;
    }
    interest_write_leaving(core);
    interest_write_loads(core);
    claim_write_leaving(core);
    attachments_write(core);
    wait_write_unreported(core);
    question_write_answers(core);
    if (exchange->shed_wanted) {
        write_shed(exchange);
    }
    return_loans(core);
    for (uint32_t worker = exchange->workers; worker-- > 0;) {
        post_to(core, worker); /* home last */
    }
}

/* ---- receiving ----------------------------------------------------------- */

static void
take_credit(struct core *core, uint32_t from, uint64_t bytes)
{
    struct outbox *outbox = &core->exchange->outboxes[from];
    assert(bytes <= outbox->unprocessed);
    outbox->unprocessed -= bytes;
}

/* False as for read_letter(). */
static bool
read_stream_letter(struct core *core, uint32_t from, struct letter *letter)
{
    switch (letter->kind) {
    case LETTER_CAPTURE:
        captures_on_capture(core, from, letter->capture.order);
        return true;
    case LETTER_CAPTURED:
        captures_on_captured(
            core, letter->capture.order, letter->capture.failed);
        return true;
    case LETTER_SCHEDULED:
        schedule_on_scheduled(core, &letter->scheduled);
        return true;
    case LETTER_ATTACH:
    case LETTER_TAKEN:
    case LETTER_SETTLE:
    case LETTER_DETACH:
        consumers_on_letter(core, from, letter);
        return true;
    default:
        return attachment_on_letter(core, letter);
    }
}

/* False: it cannot be done now for want of memory; nothing was done. */
static bool
read_letter(struct core *core, uint32_t from, struct letter *letter)
{
    switch (letter->kind) {
    case LETTER_RUN:
        return forward_on_run(core, from, &letter->run);
    case LETTER_RETAIN:
        return forward_on_retain(core, from, &letter->run);
    case LETTER_RESULT:
        forward_on_result(core, &letter->result);
        break;
    case LETTER_INTEREST:
        interest_on_interest(core, from, &letter->interest);
        break;
    case LETTER_ENTERED:
        interest_on_entered(core, from, &letter->interest);
        break;
    case LETTER_DISINTEREST:
        interest_on_disinterest(core, from, &letter->interest);
        break;
    case LETTER_FORGOTTEN:
        interest_on_forgotten(core, &letter->interest);
        break;
    case LETTER_LOAD:
        interest_on_load(core, &letter->interest);
        break;
    case LETTER_COLLECT:
        interest_on_collect(core, from, letter->making);
        break;
    case LETTER_COLLECTED:
        interest_on_collected(core, letter->making);
        break;
    case LETTER_CLAIM:
        return claim_on_claim(core, from, letter->claim.claim);
    case LETTER_GRANT:
        claim_on_grant(core, &letter->claim);
        break;
    case LETTER_TAKE:
        claim_on_take(core, letter->claim.claim);
        break;
    case LETTER_LEAVE:
        claim_on_leave(core, from, &letter->claim);
        break;
    case LETTER_LEFT:
        claim_on_left(letter->claim.claim);
        break;
    case LETTER_QUESTION:
        question_on_question(core, from, letter->question);
        break;
    case LETTER_ANSWER:
        question_on_answer(core, letter->question);
        break;
    case LETTER_CREDIT:
        take_credit(core, from, letter->bytes);
        break;
    case LETTER_FULL:
        hold_on_full(core, letter->full.publisher_id, letter->full.full_id);
        break;
    case LETTER_ROOM:
        hold_on_room(core, letter->full.full_id);
        break;
    case LETTER_SHED:
        (void)core_shed(core);
        break;
    default:
        return read_stream_letter(core, from, letter);
    }
    return true;
}

/* False: not all of it could be read yet. */
static bool
read_bag(struct core *core, struct mailbag *bag)
{
    struct exchange *exchange = core->exchange;
    while (bag->returned != NULL) {
        struct block *loan = bag->returned;
        bag->returned = loan->next;
        block_end_loan(loan);
    }
    while (bag->done < bag->count) {
        if (!exchange_has_room(exchange) ||
            !read_letter(core, bag->from, &bag->letters[bag->done])) {
            return false;
        }
        bag->done++;
    }
    if (bag->run_bytes > 0) {
        if (!exchange_has_room(exchange)) {
            return false;
        }
        exchange_write(exchange, bag->from, LETTER_CREDIT)->bytes =
            bag->run_bytes;
    }
    return true;
}

bool
core_read_mail(struct core *core)
{
    struct exchange *exchange = core->exchange;
    while (exchange != NULL && exchange->postponed != NULL) {
        struct mailbag *bag = exchange->postponed;
        if (!read_bag(core, bag)) {
            return false;
        }
        exchange->postponed = bag->next;
        free(bag);
    }
    return true;
}

void
core_receive_mail(struct core *core, struct mailbag *bags)
{
    struct exchange *exchange = core->exchange;
    if (exchange->postponed == NULL) {
        exchange->postponed = bags;
    } else {
        exchange->postponed_last->next = bags;
    }
    while (bags->next != NULL) {
        bags = bags->next;
    }
    exchange->postponed_last = bags;
    (void)core_read_mail(core);
}

void
exchange_count_run(
    struct exchange *exchange, uint32_t worker, size_t bytes, bool is_new)
{
    struct outbox *outbox = &exchange->outboxes[worker];
    uint64_t cost = bytes + (is_new ? RUN_COST : 0);
    outbox->last->run_bytes += cost;
    outbox->unprocessed += cost;
}
