/* SPDX-License-Identifier: MIT
 *
 * Claims: session ids where there are several workers; see exchange.h.
 *
 * Home remembers the identities (identity.h); a claim is one session's hold of
 * one of them, and belongs to the session's worker. A newer claim takes the id
 * over: home tells the worker of the older one to give it up, and grants it
 * when it has, with the highest publish number that was settled. So two
 * connections with one id, on whatever workers, never publish side by side.
 * What is with the store counts as being published: a session that has gone
 * keeps its claim until that was routed, or newer messages would overtake it.
 *
 * A claim lives until home has said that it will not name it again.
 */
#ifndef BROKER_CORE_CLAIM_H
#define BROKER_CORE_CLAIM_H

#include "mail.h"

#include <sys/queue.h>

struct core;
struct session;

struct claim {
    TAILQ_ENTRY(claim) leaving;
    struct session *session;   /* NULL: it gave the claim up */
    struct identity *identity; /* home's ticket, once granted */
    uint32_t last_publish;     /* when it was given up */
    uint32_t unsure_publish;   /* the same */
    uint32_t hello_id;         /* to be answered by WELCOME */
    uint32_t publishing;       /* with the store: durable.c, scheduling.c */
    uint32_t at_home;          /* of these: home has still to route them */
    bool opens;                /* WELCOME waits for the grant */
    bool is_refused;           /* home does not know it */
    uint64_t owner;
    uint8_t id[BROKER_SESSION_BYTES];
};

/* Claim the id for the session, or a new one if it is all zero. If nobody else
 * can have it the session may be opened at once (*pending false), else it is
 * opened by the grant. False if memory is out. */
bool claim_begin(struct session *session,
    const uint8_t id[BROKER_SESSION_BYTES], uint32_t hello_id, bool *pending);

/* The session does not use the id any more. */
void claim_end(struct session *session);

/* A publish of the session goes to the store; it was routed, or refused. */
void claim_publishes(struct claim *claim);
void claim_published(struct core *core, struct claim *claim);
/* The core ends, and with it a publish that the store has not answered. */
void claim_drop(struct claim *claim);

/* At the end of a turn. */
void claim_write_leaving(struct core *core);

/* Letters. */
bool claim_on_claim(struct core *core, uint32_t from, struct claim *claim);
void claim_on_grant(struct core *core, const struct letter_claim *letter);
void claim_on_take(struct core *core, struct claim *claim);
void claim_on_leave(
    struct core *core, uint32_t from, const struct letter_claim *letter);
void claim_on_left(struct claim *claim);

#endif
