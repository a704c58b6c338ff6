/* SPDX-License-Identifier: MIT
 *
 * Acknowledgements in order across workers; see wait.h. */
#include "wait.h"

#include "exchange.h"
#include "session.h"
#include "wire.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* ---- life ---------------------------------------------------------------- */

struct wait *
wait_new(struct session *session, uint32_t first_id, uint32_t count)
{
    struct wait *wait = spares_take(&session->core->spare_waits, sizeof *wait);
    if (wait == NULL) {
        session_abort(session);
        return NULL;
    }
    struct session_remote *remote = session->remote;
    ack_flush(session);
    wait->session = session;
    wait->first_id = first_id;
    wait->count = count;
    wait->missing = 1;
    wait->held_end = remote->held_sum;
    TAILQ_INSERT_TAIL(&remote->waits, wait, link);
    remote->wait_count++;
    if (first_id != 0) {
        session_settle(session, first_id + count - 1);
    }
    return wait;
}

struct wait *
wait_new_for(struct core *core, uint32_t worker, struct wait *origin,
    uint32_t index, uint32_t count)
{
    struct wait *wait = spares_take(&core->spare_waits, sizeof *wait);
    if (wait != NULL) {
        wait->origin = origin;
        wait->origin_worker = worker;
        wait->origin_index = index;
        wait->counts = index == 0;
        wait->count = count;
        wait->missing = 1;
    }
    return wait;
}

static void
wait_free(struct core *core, struct wait *wait)
{
    block_unref(wait->frame.block);
    capture_unref(wait->capture);
    free(wait->each);
    spares_give(&core->spare_waits, wait);
}

/* ---- outcomes ------------------------------------------------------------ */

void
wait_refused(
    struct wait *wait, uint32_t index, uint32_t count, uint32_t refused)
{
    assert(index + count <= wait->count);
    if (refused == 0) {
        return;
    }
    if (wait->each == NULL && count == wait->count) {
        wait->refused += refused;
        return;
    }
    if (wait->each == NULL) {
        wait->each = calloc(wait->count, sizeof *wait->each);
    }
    if (wait->each == NULL) {
        /* Rather too many than too few are said to be refused. */
        wait->refused += refused;
        return;
    }
    for (uint32_t i = index; i < index + count; i++) {
        wait->each[i] += refused;
    }
}

void
wait_stored(struct wait *wait, struct capture *capture, uint64_t sequence)
{
    wait->capture = capture_ref(capture);
    wait->sequence = sequence;
}

/* ---- in order ------------------------------------------------------------ */

bool
wait_holds(const struct session *session)
{
    const struct session_remote *remote = session->remote;
    return remote != NULL && !remote->is_settling &&
           !TAILQ_EMPTY(&remote->waits);
}

struct buffer *
wait_held(struct session *session)
{
    return &session->remote->held;
}

void
wait_held_more(struct session *session, size_t bytes)
{
    session->remote->held_sum += bytes;
}

/* Let what is held go out, up to this mark. */
static void
release(struct session *session, uint64_t end)
{
    struct session_remote *remote = session->remote;
    size_t held = buffer_len(&remote->held);
    uint64_t start = remote->held_sum - held;
    if (end <= start) {
        return;
    }
    size_t bytes = (size_t)(end - start);
    ack_flush(session);
    uint8_t *dst = session_control(session, bytes);
    if (dst != NULL) {
        memcpy(dst, buffer_data(&remote->held), bytes);
        session_control_done(session, bytes);
    }
    buffer_drain(&remote->held, bytes);
}

static uint32_t
min_u32(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

static void
acknowledge(struct session *session, const struct wait *wait)
{
    uint32_t matched = wait->matched;
    if (wait->first_id == 0) {
        return;
    }
    if (wait->each == NULL) {
        ack_note(session, wait->first_id, wait->count, matched,
            min_u32(wait->refused, matched));
        return;
    }
    for (uint32_t i = 0; i < wait->count; i++) {
        ack_note(session, wait->first_id + i, 1, matched,
            min_u32(wait->refused + wait->each[i], matched));
    }
}

static void
acknowledge_stored(struct session *session, const struct wait *wait)
{
    if (wait->first_id == 0) {
        return;
    }
    /* Of a batch, the sequence that is told is the last. */
    ack_note_stored(session, wait->first_id, wait->is_batch ? 1 : wait->count,
        wait->capture, wait->sequence);
}

/* What names a publish that has no number. */
static struct broker_bytes
topic_of(const struct output_run *frame, uint32_t id)
{
    if (id != 0 || frame->data == NULL) {
        return (struct broker_bytes){NULL, 0};
    }
    return (struct broker_bytes){
        wire_publish_topic(frame->data), wire_publish_topic_bytes(frame->data)};
}

/* Publishes that have no number are named by their topic, each of them. */
static void
refuse(struct session *session, const struct wait *wait)
{
    uint32_t count = wait->is_batch ? 1 : wait->count;
    for (uint32_t i = 0; i < count && !session->aborted; i++) {
        uint32_t id = wait->first_id == 0 ? 0 : wait->first_id + i;
        struct refusal refusal = {.code = wait->status,
            .id = id,
            .frame_type = BROKER_FRAME_PUBLISH_BATCH,
            .sequence = wait->status == BROKER_E_WRONG_LAST_SEQUENCE
                            ? &wait->sequence
                            : NULL};
        if (!wait->is_batch) {
            refusal.frame_type = BROKER_FRAME_PUBLISH;
            refusal.topic = topic_of(&wait->frame, id);
        }
        session_refuse_numbered(session, &refusal);
    }
}

static void
answer(struct session *session, struct wait *wait)
{
    enum broker_status status = wait->status;
    if (wait->is_duplicate) {
        if (wait->first_id != 0) {
            ack_duplicate(session, wait->first_id, wait->capture != NULL);
        }
        return;
    }
    if (wait->capture != NULL) {
        acknowledge_stored(session, wait);
        return;
    }
    if (status == BROKER_OK && wait->request && wait->matched == 0) {
        status = BROKER_E_NO_SUBSCRIBERS;
    }
    wait->status = status;
    if (status == BROKER_OK) {
        acknowledge(session, wait);
    } else {
        refuse(session, wait);
    }
}

/* Answer all at the front that are known. */
static void
settle(struct session *session)
{
    struct session_remote *remote = session->remote;
    bool resume = false;
    struct wait *wait;
    remote->is_settling = true;
    while ((wait = TAILQ_FIRST(&remote->waits)) != NULL && wait->missing == 0) {
        release(session, wait->held_end);
        TAILQ_REMOVE(&remote->waits, wait, link);
        remote->wait_count--;
        answer(session, wait);
        resume = resume || wait->resumes;
        wait_free(session->core, wait);
    }
    release(session, wait == NULL ? remote->held_sum : wait->held_end);
    ack_flush(session);
    remote->is_settling = false;
    if (wait == NULL && session->state == SESSION_CLOSING) {
        session_announce_output(session); /* the last word may be said now */
    }
    if (resume) {
        remote->is_suspended = false;
    }
    if (remote->is_blocked && TAILQ_EMPTY(&remote->waits)) {
        remote->is_blocked = false;
        resume = true;
    }
    if (resume) {
        session_resume(session);
    }
}

/* From the index on: how many messages have the same outcome, and how many of
 * their subscriptions could not take them. */
static uint32_t
same_outcome(const struct wait *wait, uint32_t index, uint32_t *refused)
{
    uint32_t end = index + 1;
    *refused = wait->refused;
    if (wait->each == NULL) {
        return wait->count - index;
    }
    *refused += wait->each[index];
    while (end < wait->count && wait->each[end] == wait->each[index]) {
        end++;
    }
    return end - index;
}

static void
report_to_origin(struct core *core, struct wait *wait)
{
    uint32_t index = 0;
    while (index < wait->count) {
        uint32_t refused;
        uint32_t count = same_outcome(wait, index, &refused);
        struct letter *letter =
            exchange_write(core->exchange, wait->origin_worker, LETTER_RESULT);
        if (letter == NULL) {
            break;
        }
        letter->result = (struct letter_result){.wait = wait->origin,
            .index = wait->origin_index + index,
            .count = count,
            .refused = refused};
        index += count;
        if (index == wait->count) {
            letter->result.matched = wait->counts ? wait->matched : 0;
            letter->result.status = wait->status;
            letter->result.final = true;
            wait_free(core, wait);
            return;
        }
    }
    /* The rest is said when there is memory; nobody else can close it. */
    wait->origin_index += index;
    wait->count -= index;
    if (wait->each != NULL && index > 0) {
        memmove(
            wait->each, wait->each + index, wait->count * sizeof *wait->each);
    }
    LIST_INSERT_HEAD(&core->exchange->unreported, wait, unreported);
}

void
wait_write_unreported(struct core *core)
{
    struct exchange *exchange = core->exchange;
    while (!LIST_EMPTY(&exchange->unreported) && exchange_has_room(exchange)) {
        struct wait *wait = LIST_FIRST(&exchange->unreported);
        LIST_REMOVE(wait, unreported);
        report_to_origin(core, wait);
    }
}

void
wait_close(struct core *core, struct wait *wait)
{
    if (--wait->missing > 0) {
        return;
    }
    if (wait->origin != NULL) {
        report_to_origin(core, wait);
    } else if (wait->session == NULL) {
        wait_free(core, wait);
    } else if (wait == TAILQ_FIRST(&wait->session->remote->waits)) {
        settle(wait->session);
    }
}

void
wait_append(struct session *session, uint32_t first_id, uint32_t count,
    uint32_t matched, uint32_t refused)
{
    struct wait *last = TAILQ_LAST(&session->remote->waits, wait_queue);
    session_settle(session, first_id + count - 1);
    if (last->missing == 0 && last->first_id != 0 && last->each == NULL &&
        last->capture == NULL && last->status == BROKER_OK && !last->request &&
        last->held_end == session->remote->held_sum &&
        last->first_id + last->count == first_id && last->matched == matched &&
        last->refused == refused) {
        last->count += count;
        return;
    }
    struct wait *wait = wait_new(session, first_id, count);
    if (wait != NULL) {
        wait->matched = matched;
        wait->refused = refused;
        wait->missing = 0;
    }
}

void
wait_abandon(struct session *session)
{
    struct session_remote *remote = session->remote;
    bool says = !session->aborted;
    remote->is_settling = true;
    while (!TAILQ_EMPTY(&remote->waits)) {
        struct wait *wait = TAILQ_FIRST(&remote->waits);
        if (says) {
            release(session, wait->held_end);
        }
        says = says && wait->missing == 0; /* nothing may overtake it */
        if (!says && remote->unanswered == 0) {
            remote->unanswered = wait->first_id;
        }
        TAILQ_REMOVE(&remote->waits, wait, link);
        wait->session = NULL;
        if (wait->missing == 0) {
            if (says) {
                answer(session, wait);
            }
            wait_free(session->core, wait);
        }
    }
    remote->wait_count = 0;
    if (says) {
        release(session, remote->held_sum);
    }
    if (!session->aborted) {
        ack_flush(session);
    }
    buffer_drain(&remote->held, buffer_len(&remote->held));
    remote->is_settling = false;
}
