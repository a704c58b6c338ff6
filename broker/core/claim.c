/* SPDX-License-Identifier: MIT
 *
 * Session ids across workers; see claim.h. */
#include "claim.h"

#include "exchange.h"
#include "session.h"

#include <stdlib.h>
#include <string.h>

/* ---- the session's side -------------------------------------------------- */

bool
claim_begin(struct session *session, const uint8_t id[BROKER_SESSION_BYTES],
    uint32_t hello_id, bool *pending)
{
    static const uint8_t zero[BROKER_SESSION_BYTES];
    struct core *core = session->core;
    struct claim *claim = calloc(1, sizeof *claim);
    struct letter *letter = claim == NULL ? NULL
                                          : exchange_write(core->exchange,
                                                EXCHANGE_HOME, LETTER_CLAIM);
    if (letter == NULL) {
        free(claim);
        return false;
    }
    memcpy(claim->id, id, sizeof claim->id);
    claim->opens = memcmp(id, zero, sizeof zero) != 0;
    while (memcmp(claim->id, zero, sizeof zero) == 0) {
        core->hooks.random(core->hooks.arg, claim->id, sizeof claim->id);
    }
    claim->session = session;
    claim->hello_id = hello_id;
    claim->owner = session_owner(session);
    session->remote->claim = claim;
    letter->claim.claim = claim;
    *pending = claim->opens;
    return true;
}

/* Nobody is to have it any more. */
static bool
is_over(const struct claim *claim)
{
    return claim->session == NULL && claim->identity != NULL &&
           claim->publishing == 0;
}

/* Home does not know it, and nobody has it any more. */
static bool
free_refused(struct claim *claim)
{
    bool is_free = claim->is_refused && claim->publishing == 0;
    if (is_free) {
        free(claim);
    }
    return is_free;
}

static void
leave_if_over(struct core *core, struct claim *claim)
{
    if (is_over(claim)) {
        TAILQ_INSERT_TAIL(&core->exchange->claims_leaving, claim, leaving);
    }
}

void
claim_publishes(struct claim *claim)
{
    claim->publishing++;
}

void
claim_published(struct core *core, struct claim *claim)
{
    claim->publishing--;
    if (!free_refused(claim)) {
        leave_if_over(core, claim);
    }
}

void
claim_drop(struct claim *claim)
{
    claim->publishing--;
    if (!free_refused(claim) && is_over(claim)) {
        free(claim);
    }
}

void
claim_end(struct session *session)
{
    struct claim *claim = session->remote->claim;
    if (claim == NULL) {
        return;
    }
    session->remote->claim = NULL;
    claim->session = NULL;
    claim->last_publish = session->last_publish;
    claim->unsure_publish = session->unsure_publish;
    leave_if_over(session->core, claim); /* else when the grant comes */
}

void
claim_write_leaving(struct core *core)
{
    struct exchange *exchange = core->exchange;
    struct claim *claim;
    while ((claim = TAILQ_FIRST(&exchange->claims_leaving)) != NULL &&
           exchange_has_room(exchange)) {
        TAILQ_REMOVE(&exchange->claims_leaving, claim, leaving);
        exchange_write(exchange, EXCHANGE_HOME, LETTER_LEAVE)->claim =
            (struct letter_claim){.claim = claim,
                .identity = claim->identity,
                .last_publish = claim->last_publish,
                .unsure_publish = claim->unsure_publish};
    }
}

static void
refuse(struct session *session, enum broker_status status)
{
    session->remote->claim = NULL;
    if (status == BROKER_E_SESSION_TAKEN) {
        session_close_now(session, status);
    } else {
        session_fail(session, status, 0, BROKER_FRAME_HELLO);
    }
}

void
claim_on_grant(struct core *core, const struct letter_claim *letter)
{
    struct claim *claim = letter->claim;
    struct session *session = claim->session;
    if (letter->status != BROKER_OK) {
        if (session != NULL) {
            session->remote->is_suspended = false;
            refuse(session, letter->status);
        }
        claim->session = NULL;
        claim->is_refused = true;
        (void)free_refused(claim); /* else when the store has answered */
        return;
    }
    claim->identity = letter->identity;
    if (session == NULL) {
        if (claim->last_publish == 0) {
            claim->last_publish = letter->last_publish;
        }
        leave_if_over(core, claim);
        return;
    }
    if (!claim->opens || session->state != SESSION_HANDSHAKE) {
        return;
    }
    session->last_publish = letter->last_publish;
    session->unsure_publish = letter->unsure_publish;
    session->remote->is_suspended = false;
    session_open(session, claim->hello_id);
    session_resume(session);
}

void
claim_on_take(struct core *core, struct claim *claim)
{
    struct session *session = claim->session;
    (void)core;
    if (session != NULL) { /* else it is leaving, and home is told so */
        claim_end(session);
        session_close_now(session, BROKER_E_SESSION_TAKEN);
    }
}

void
claim_on_left(struct claim *claim)
{
    free(claim);
}

/* ---- home ---------------------------------------------------------------- */

static void
grant(struct core *core, struct identity *identity, uint32_t worker,
    struct claim *claim)
{
    identity->holder = claim;
    identity->holder_worker = worker;
    exchange_write(core->exchange, worker, LETTER_GRANT)->claim =
        (struct letter_claim){.claim = claim,
            .identity = identity,
            .last_publish = identity->last_publish,
            .unsure_publish = identity->unsure_publish};
}

static void
turn_away(struct core *core, uint32_t worker, struct claim *claim,
    enum broker_status status)
{
    exchange_write(core->exchange, worker, LETTER_GRANT)->claim =
        (struct letter_claim){.claim = claim, .status = status};
}

bool
claim_on_claim(struct core *core, uint32_t from, struct claim *claim)
{
    /* The id and its owner do not change while the claim lives. */
    struct identity *identity =
        identity_take(&core->identities, claim->id, claim->owner, core->now_ms);
    if (identity == NULL) {
        turn_away(core, from, claim, BROKER_E_INTERNAL);
        return true;
    }
    if (identity->holder == NULL) {
        grant(core, identity, from, claim);
        return true;
    }
    if (identity->taker != NULL) {
        turn_away(core, identity->taker_worker, identity->taker,
            BROKER_E_SESSION_TAKEN);
    } else {
        exchange_write(core->exchange, identity->holder_worker, LETTER_TAKE)
            ->claim.claim = identity->holder;
    }
    identity->taker = claim;
    identity->taker_worker = from;
    return true;
}

void
claim_on_leave(
    struct core *core, uint32_t from, const struct letter_claim *letter)
{
    struct identity *identity = letter->identity;
    if (letter->last_publish != 0) {
        identity->last_publish = letter->last_publish;
    }
    if (letter->unsure_publish != 0) {
        identity->unsure_publish = letter->unsure_publish;
    }
    struct claim *taker = identity->taker;
    identity->holder = identity->taker = NULL;
    if (taker != NULL) {
        grant(core, identity, identity->taker_worker, taker);
    } else {
        identity_leave(&core->identities, identity, core->now_ms);
    }
    exchange_write(core->exchange, from, LETTER_LEFT)->claim.claim =
        letter->claim;
}
