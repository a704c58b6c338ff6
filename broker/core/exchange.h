/* SPDX-License-Identifier: MIT
 *
 * The exchange: one core's part in a broker of several worker threads. Each
 * worker has a core, and with it connections, queues, an index and a pool of
 * its own, which no other thread ever looks at. Between them goes mail.
 *
 * How one broker is made of them:
 * - Every worker knows which filters the others have subscribers for
 *   (interest.c), so that a publish is routed without a lock, and a run goes
 *   once to each worker that wants it, as a loan of the block that it lies in.
 *   The receiver routes it on to its own connections (forward.c).
 * - A publisher is acknowledged when all of them have said what became of the
 *   run; until then its later answers wait, in their order (wait.c).
 * - Worker 0 is home: there retained values, session ids (claim.c) and answers
 *   about the whole broker (question.c) are, because they have one order for
 *   all.
 * - Whoever cannot go on before it heard from another worker is suspended: its
 *   connection's input stays where it is.
 *
 * Mail is gathered during a turn of the loop and posted at its end, to home
 * last, and before anything is sent to a client; a worker's mail is one queue
 * in the order of posting, and is read before any input that came after it. So
 * cause comes before effect: whatever a client does because of something that
 * it was told meets workers that know of it. The rules above need no more than
 * that.
 *
 * Bounded: a worker whose runs the others are slow to process does not read
 * from its connections (CREDIT). Other letters are answers to something, of
 * which there is a bounded number.
 *
 * Memory: a letter is only written where there is room for it. What has to be
 * said whether there is memory or not (disinterest, leaving a claim, returning
 * a loan) waits in lists of the things themselves until there is.
 *
 * Knows nothing of threads: whoever owns the core carries the bags. A core with
 * one worker has no exchange.
 */
#ifndef BROKER_CORE_EXCHANGE_H
#define BROKER_CORE_EXCHANGE_H

#include "block.h"
#include "mail.h"
#include "table.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

struct core;

#define EXCHANGE_HOME        0u
#define EXCHANGE_WORKERS_MAX 64u

/* Mail for one worker, until it is posted. */
struct outbox {
    struct mailbag *first, *last;
    struct block *loan;   /* the last one in these bags */
    struct block *spare;  /* for the next; there by exchange_has_room */
    uint64_t unprocessed; /* bytes of runs that were not credited yet */
};

TAILQ_HEAD(interest_list, interest);
TAILQ_HEAD(claim_list, claim);
LIST_HEAD(wait_list, wait);
TAILQ_HEAD(question_list, question);

struct exchange {
    uint32_t self, workers;
    struct outbox *outboxes; /* one for each worker, also for this */
    struct mailbag *postponed, *postponed_last; /* arrived, not yet read */
    struct table interests;                     /* by filter and group */
    struct interest_list leaving;               /* to be said */
    struct interest_list touched; /* whose load may have changed */
    struct claim_list claims_leaving;
    struct wait_list unreported;
    struct question_list answers;       /* to be sent */
    struct interest_list all_interests; /* every object, to be freed */
    uint64_t congested_bytes; /* more than this is unprocessed: stop reading */
    uint64_t seed;
    uint64_t shed_ms; /* when others were asked last to shed */
    bool shed_wanted;
};

/* NULL if memory is out. */
struct exchange *exchange_new(
    uint32_t self, uint32_t workers, uint64_t max_memory_bytes, uint64_t seed);
/* NULL is allowed. Everything must have been settled: no session, no mail. */
void exchange_free(struct exchange *exchange);

/* Is there room in every outbox for what one frame or letter can lead to? Tries
 * to make it. */
bool exchange_has_room(struct exchange *exchange);
/* The same of one worker's outbox alone. */
bool exchange_has_room_for(struct exchange *exchange, uint32_t worker);

/* A new letter to that worker, all zero but for its kind; NULL if memory is
 * out, which does not happen for the first EXCHANGE_ROOM letters after
 * exchange_has_room. */
#define EXCHANGE_ROOM 8u
struct letter *exchange_write(
    struct exchange *exchange, uint32_t worker, enum letter_kind kind);

/* A reference to a loan of the block for that worker; NULL if memory is out,
 * which does not happen for the first one after exchange_has_room. */
struct block *exchange_lend(
    struct exchange *exchange, uint32_t worker, struct block *block);

/* Count a run that was written for that worker, or more bytes of the last one,
 * towards congestion. */
void exchange_count_run(
    struct exchange *exchange, uint32_t worker, size_t bytes, bool is_new);

/* Memory is out here: ask the others to drop something, now and then. */
void exchange_want_shed(struct exchange *exchange, uint64_t now_ms);

/* Are the others behind with what this worker has sent them? */
bool exchange_is_congested(const struct exchange *exchange);

/* Another worker than this one? */
static inline bool
exchange_is_other(const struct exchange *exchange, uint32_t worker)
{
    return worker != exchange->self;
}

#endif
