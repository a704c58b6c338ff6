/* SPDX-License-Identifier: MIT
 *
 * Interest: which worker has subscribers for which filter; see exchange.h.
 *
 * An interest is one filter, or one queue group of a filter, that this worker
 * has subscriptions for. When the first one is made it is announced to all
 * others; they enter it in their index and say so. Only when all have said so
 * does the subscription begin to match, and SUBACK is sent: every message that
 * any worker receives from then on is matched. When the last one has gone the
 * others are told to forget it. The object lives until they have.
 *
 * Where the last member that this worker has of a queue group leaves, messages
 * may be on their way to it: it stays until the others have forgotten it.
 *
 * For a queue group the others also keep how busy its members here are, so that
 * they can choose the least loaded (PROTOCOL.md section 5.1). That is reported
 * at the end of a turn in which it changed.
 *
 * A making is a SUBSCRIBE that waits for all that; they are answered in their
 * order. Their session processes no
 * other frames than further SUBSCRIBEs meanwhile.
 */
#ifndef BROKER_CORE_INTEREST_H
#define BROKER_CORE_INTEREST_H

#include "mail.h"
#include "retained.h"
#include "subscription.h"

#include <sys/queue.h>

struct core;
struct session;

LIST_HEAD(making_list, making);
TAILQ_HEAD(making_queue, making);

struct interest {
    struct table_link link; /* while it may still be used */
    TAILQ_ENTRY(interest) all;
    TAILQ_ENTRY(interest) leaving;
    TAILQ_ENTRY(interest) touched;
    struct making_list makings;    /* that wait for it */
    struct group *group;           /* NULL: plain, or no member here */
    struct subscription *retiring; /* the last member, until all know it */
    uint32_t references;           /* subscriptions and makings */
    uint32_t members;              /* in the group */
    uint32_t owed;                 /* answers of others: entered, forgotten */
    uint64_t entered;              /* by these workers, a bit each */
    uint64_t reported_load;
    bool failed; /* somebody had no memory for it */
    bool listed; /* in the table */
    bool is_leaving, is_touched;
    bool is_changed; /* more than the load is to be reported */
    uint16_t filter_bytes, group_bytes;
    /* Of a group: what the others know of it, by worker. */
    struct interest_peer {
        struct group_remote *remote; /* theirs */
        uint64_t processed;          /* messages that they sent for it */
    } * peers;
    uint8_t text[]; /* the filter, then the group; does not change */
};

/* A SUBSCRIBE on its way. */
struct making {
    TAILQ_ENTRY(making) of_session;
    LIST_ENTRY(making) of_interest;
    struct session *session; /* NULL: it is gone */
    struct subscription *subscription;
    struct interest *interest; /* holds a reference */
    bool wants_retained;
    bool confirmed;             /* all know of the interest, or it failed */
    bool collecting, collected; /* the letter to home is out, is back */
    /* Written by home: its retained values, oldest first. */
    struct retained_copy *values; /* each with a reference, mostly to a loan */
    size_t value_count;
    bool failed; /* home had no memory */
};

/* Begin to make the subscription, which has no node yet and belongs to
 * `session`. Either it is done before this returns, or later; SUBACK or an
 * ERROR is sent then. False if memory is out; then nothing was begun. */
bool interest_make(struct session *session, struct subscription *subscription,
    struct broker_bytes filter, struct broker_bytes group, bool wants_retained);

/* A member of a queue group is to leave. If others may choose it for messages
 * until they hear of that, true: it stays in the group, its session waits, and
 * subscription_retired is called when all know. Else it may go at once. */
bool interest_retire(struct subscription *subscription);

/* The subscription is about to be taken out of the index. */
void interest_release(struct core *core, struct subscription *subscription);

/* The session ends: its makings come to nothing. */
void interest_cancel(struct session *session);

/* Members of the group came, went or were given something. NULL is allowed. */
void interest_touch(struct core *core, struct interest *interest);

/* At the end of a turn. */
void interest_write_leaving(struct core *core);
void interest_write_loads(struct core *core);

/* Letters. */
void interest_on_interest(
    struct core *core, uint32_t from, const struct letter_interest *letter);
void interest_on_entered(
    struct core *core, uint32_t from, const struct letter_interest *letter);
void interest_on_disinterest(
    struct core *core, uint32_t from, const struct letter_interest *letter);
void interest_on_forgotten(
    struct core *core, const struct letter_interest *letter);
void interest_on_load(struct core *core, const struct letter_interest *letter);
void interest_on_collect(
    struct core *core, uint32_t from, struct making *making);
void interest_on_collected(struct core *core, struct making *making);

#endif
