/* SPDX-License-Identifier: MIT
 *
 * Acknowledging to durable consumers (PROTOCOL.md 4.19). See session.h.
 *
 * What came on this connection and is not settled is a set of sequences; what
 * is settled moves from there to a list, and the lists are said as ranges once
 * in each turn of the handle. So acknowledging every message by itself costs a
 * few instructions and no frame of its own. What is not in the set came on an
 * earlier connection, or was settled before, and is let be: the broker would
 * have to guess which delivery is meant.
 */
#include "session.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* A frame has at most so many; it fits whatever limit was agreed. */
#define RANGES_MAX 4000

static enum broker_status
refuse(struct session *session, enum broker_status status, const char *what)
{
    text_status(
        session->error_text, what, status, (struct broker_bytes){NULL, 0});
    return status;
}

/* ---- saying it ----------------------------------------------------------- */

static enum broker_status
append_settle(struct session *session, struct broker_settle *settle,
    const struct sequence_range *ranges, size_t count)
{
    size_t bytes = count * BROKER_RANGE_BYTES;
    uint8_t *wire = malloc(bytes);
    if (wire == NULL) {
        return BROKER_E_NO_MEMORY;
    }
    for (size_t i = 0; i < count; i++) {
        broker_ranges_set(wire, i, ranges[i].first, ranges[i].last);
    }
    settle->ranges = (struct broker_ranges){wire, count};
    size_t size = broker_settle_size(settle), n;
    uint8_t *data = outlog_reserve(&session->log, size);
    if (data != NULL) {
        enum broker_status status =
            broker_settle_encode(settle, data, size, &n);
        assert(status == BROKER_OK);
        (void)status;
        outlog_commit(&session->log, n);
    }
    free(wire);
    return data == NULL ? BROKER_E_NO_MEMORY : BROKER_OK;
}

/* One list, in as many frames as it takes. */
static enum broker_status
say_list(struct session *session, struct subscription *subscription,
    enum consume_list list)
{
    static const struct {
        uint16_t type;
        uint8_t kind;
    } said[] = {
        [CONSUME_ACK] = {BROKER_FRAME_ACK, BROKER_ACK_THESE},
        [CONSUME_NACK] = {BROKER_FRAME_NACK, BROKER_NACK_AGAIN},
        [CONSUME_BURY] = {BROKER_FRAME_NACK, BROKER_NACK_BURY},
        [CONSUME_TOUCH] = {BROKER_FRAME_TOUCH, BROKER_TOUCH_THESE},
    };
    struct consume *consume = subscription->consume;
    struct sequences *set = &consume->lists[list];
    while (set->count > 0) {
        size_t count = set->count < RANGES_MAX ? set->count : RANGES_MAX;
        struct broker_settle settle = {
            .type = said[list].type,
            .kind = said[list].kind,
            .id = subscription->id,
            .delay_ms = list == CONSUME_NACK ? consume->nack_delay_ms : 0,
        };
        enum broker_status status =
            append_settle(session, &settle, sequences_at(set, 0), count);
        if (status != BROKER_OK) {
            return status;
        }
        (void)sequences_move_up_to(
            set, NULL, sequences_at(set, count - 1)->last);
    }
    return BROKER_OK;
}

static enum broker_status
say_up_to(struct session *session, struct subscription *subscription)
{
    struct consume *consume = subscription->consume;
    struct broker_settle settle = {
        .type = BROKER_FRAME_ACK,
        .kind = BROKER_ACK_UP_TO,
        .id = subscription->id,
    };
    const struct sequence_range range = {
        consume->ack_up_to, consume->ack_up_to};
    if (consume->ack_up_to == 0) {
        return BROKER_OK;
    }
    enum broker_status status = append_settle(session, &settle, &range, 1);
    if (status == BROKER_OK) {
        consume->ack_up_to = 0;
    }
    return status;
}

enum broker_status
session_flush_settled_of(
    struct session *session, struct subscription *subscription)
{
    if (!subscription->consume->is_pending || session->state != SESSION_OPEN) {
        return BROKER_OK;
    }
    enum broker_status status = BROKER_OK;
    for (unsigned i = 0; status == BROKER_OK && i < CONSUME_LISTS; i++) {
        status = say_list(session, subscription, (enum consume_list)i);
    }
    /* Last: what is given back is not to be acknowledged with the others. */
    if (status == BROKER_OK) {
        status = say_up_to(session, subscription);
    }
    if (status != BROKER_OK) {
        return refuse(session, status, "cannot acknowledge");
    }
    subscriptions_unmark_pending(&session->subscriptions, subscription);
    return BROKER_OK;
}

enum broker_status
session_flush_settled(struct session *session)
{
    enum broker_status status = BROKER_OK;
    while (status == BROKER_OK && session->state == SESSION_OPEN &&
           session->subscriptions.pending != NULL) {
        status =
            session_flush_settled_of(session, session->subscriptions.pending);
    }
    return status;
}

/* ---- noting it ----------------------------------------------------------- */

static enum broker_status
note_one(struct session *session, struct subscription *subscription,
    enum consume_list list, uint64_t sequence)
{
    struct consume *consume = subscription->consume;
    if (!sequences_reserve(&consume->lists[list], 1)) {
        return refuse(session, BROKER_E_NO_MEMORY, "cannot acknowledge");
    }
    int is_there = list == CONSUME_TOUCH
                       ? outstanding_has(&consume->outstanding, sequence)
                       : outstanding_take(&consume->outstanding, sequence);
    if (is_there < 0) {
        return refuse(session, BROKER_E_NO_MEMORY, "cannot acknowledge");
    }
    if (is_there == 0) {
        session->stats.settlements_late++;
        return BROKER_OK;
    }
    session->stats.messages_settled += list != CONSUME_TOUCH;
    sequences_add(&consume->lists[list], sequence, sequence);
    subscriptions_mark_pending(&session->subscriptions, subscription);
    return BROKER_OK;
}

static enum broker_status
note_up_to(struct session *session, struct subscription *subscription,
    uint64_t sequence)
{
    struct consume *consume = subscription->consume;
    /* "All up to it" would be what was not seen as well. */
    struct sequences *to =
        consume->ack == BROKER_ACK_EACH || consume->has_unseen
            ? &consume->lists[CONSUME_ACK]
            : NULL;
    if (to == NULL && consume->ack_up_to > sequence &&
        outstanding_has(&consume->outstanding, sequence)) {
        /* It came again after what was named before: both have to be said, and
         * what was given back before them. */
        enum broker_status status =
            session_flush_settled_of(session, subscription);
        if (status != BROKER_OK) {
            return status;
        }
    }
    int64_t taken = outstanding_take_up_to(&consume->outstanding, sequence, to);
    if (taken < 0) {
        return refuse(session, BROKER_E_NO_MEMORY, "cannot acknowledge");
    }
    if (taken == 0) {
        session->stats.settlements_late++;
        return BROKER_OK;
    }
    session->stats.messages_settled += (uint64_t)taken;
    if (to == NULL) {
        consume->ack_up_to = sequence;
    }
    subscriptions_mark_pending(&session->subscriptions, subscription);
    return BROKER_OK;
}

/* A list has one delay: what has another is said first. */
static enum broker_status
note_nack(struct session *session, struct subscription *subscription,
    uint64_t sequence, uint32_t delay_ms)
{
    struct consume *consume = subscription->consume;
    if (consume->lists[CONSUME_NACK].count > 0 &&
        consume->nack_delay_ms != delay_ms) {
        enum broker_status status =
            say_list(session, subscription, CONSUME_NACK);
        if (status != BROKER_OK) {
            return refuse(session, status, "cannot acknowledge");
        }
    }
    consume->nack_delay_ms = delay_ms;
    return note_one(session, subscription, CONSUME_NACK, sequence);
}

enum broker_status
session_settle(struct session *session, uint32_t id, enum session_settle what,
    uint64_t sequence, uint32_t delay_ms)
{
    struct subscription *subscription =
        subscriptions_find(&session->subscriptions, id);
    if (subscription == NULL || subscription->consume == NULL ||
        !subscription->consume->is_consumer ||
        subscription->state >= SUBSCRIPTION_ENDING) {
        return refuse(
            session, BROKER_E_UNKNOWN_SUBSCRIPTION, "cannot acknowledge");
    }
    enum broker_ack_mode ack = subscription->consume->ack;
    if (ack == BROKER_ACK_NONE) {
        return BROKER_OK;
    }
    switch (what) {
    case SESSION_ACK:
        if (ack == BROKER_ACK_CUMULATIVE) {
            return refuse(session, BROKER_E_INVALID_ARGUMENT,
                "this consumer is acknowledged with all that is before");
        }
        return note_one(session, subscription, CONSUME_ACK, sequence);
    case SESSION_ACK_UP_TO:
        return note_up_to(session, subscription, sequence);
    case SESSION_NACK:
        return note_nack(session, subscription, sequence, delay_ms);
    case SESSION_BURY:
        return note_one(session, subscription, CONSUME_BURY, sequence);
    case SESSION_TOUCH:
    default:
        return note_one(session, subscription, CONSUME_TOUCH, sequence);
    }
}
