/* SPDX-License-Identifier: MIT
 *
 * One peer's protocol state, from accepting to the last byte; see session.h.
 * PROTOCOL.md section 2. */
#include "session.h"

#include "admission.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* More unsent answers than this, and the peer is not read from until it has
 * read some of them. */
#define CONTROL_BYTES_MAX (256u * 1024u)
#define WAITS_MAX         65536u /* the same, for other workers' outcomes */
#define TEXT_BYTES_MAX    256    /* of a GOAWAY that says what was lost */
#define RETRY_AFTER_MS    1000   /* to those who come in a crowd */

static const char *const state_names[] = {
    [SESSION_HANDSHAKE] = "handshake",
    [SESSION_OPEN] = "open",
    [SESSION_CLOSING] = "closing",
};

/* ---- life ---------------------------------------------------------------- */

static uint64_t
id_hash(const struct core *core, uint64_t id)
{
    return table_hash(&id, sizeof id, core->seed);
}

struct session *
core_find_session(const struct core *core, uint64_t id)
{
    const struct table *table = &core->sessions_by_id;
    struct table_link *link = table_first(table, id_hash(core, id));
    for (; link != NULL; link = table_next(table, link)) {
        struct session_remote *remote =
            table_entry(link, struct session_remote, link);
        if (remote->session->id == id) {
            return remote->session;
        }
    }
    return NULL;
}

static bool
remote_init(struct session *session)
{
    struct core *core = session->core;
    if (core->exchange == NULL) {
        return true;
    }
    struct session_remote *remote = calloc(1, sizeof *remote);
    if (remote == NULL || !table_insert(&core->sessions_by_id, &remote->link,
                              id_hash(core, session->id))) {
        free(remote);
        return false;
    }
    remote->session = session;
    TAILQ_INIT(&remote->makings);
    TAILQ_INIT(&remote->waits);
    LIST_INIT(&remote->readers);
    LIST_INIT(&remote->attachments);
    session->remote = remote;
    return true;
}

static void
remote_fini(struct session *session)
{
    if (session->remote == NULL) {
        return;
    }
    interest_cancel(session);
    question_cancel(session);
    readers_close(session);
    attachments_close(session);
    claim_end(session);
    wait_abandon(session);
    buffer_fini(&session->remote->held);
    table_remove(&session->core->sessions_by_id, &session->remote->link);
    free(session->remote);
}

struct session *
session_new(struct core *core, void *owner, uint64_t id, const char *peer)
{
    if (!deadline_heap_reserve(&core->deadlines, core->session_count + 1)) {
        return NULL;
    }
    struct session *session = calloc(1, sizeof *session);
    if (session == NULL) {
        return NULL;
    }
    session->core = core;
    session->owner = owner;
    session->id = id;
    session->peer = peer;
    session->state = SESSION_HANDSHAKE;
    session->max_body_bytes = core->options.max_body_bytes;
    session->heartbeat_ms = core->options.heartbeat_ms;
    session->opened_ms = session->heard_ms = session->progress_ms =
        core->now_ms;
    LIST_INIT(&session->subscriptions);
    if (!remote_init(session)) {
        free(session);
        return NULL;
    }
    output_init(&session->output, &core->pool, core->options.max_output_bytes);
    TAILQ_INSERT_TAIL(&core->sessions, session, all);
    core->session_count++;
    core->totals.connections_total++;
    session_schedule(session);
    if (core->shutting_down) {
        session->retry_after_ms = core->shut_down_retry_ms;
        session_close_now(session, BROKER_E_SHUTTING_DOWN);
    }
    return session;
}

void
session_free(struct session *session)
{
    if (session == NULL) {
        return;
    }
    struct core *core = session->core;
    session->aborted = true; /* nothing more is written out */
    hold_cancel(session);
    remote_fini(session);
    session->remote = NULL;
    output_fini(&session->output);
    subscriptions_stop(session, false);
    subscriptions_free(session);
    if (session->identity != NULL) {
        session->identity->last_publish = session->last_publish;
        identity_leave(&core->identities, session->identity, core->now_ms);
    }
    if (session->is_slow) {
        LIST_REMOVE(session, slow);
    }
    admission_cancel(session);
    intake_fini(&session->intake);
    deadline_clear(&core->deadlines, &session->deadline);
    TAILQ_REMOVE(&core->sessions, session, all);
    core->session_count--;
    core->totals.received_messages += session->received_messages;
    core->totals.received_bytes += session->received_bytes;
    core->totals.delivered_messages += session->output.delivered;
    core->totals.delivered_bytes += session->delivered_bytes;
    core->totals.dropped_messages += session->output.dropped;
    capture_unref(session->ack.capture);
    free(session->name);
    free(session);
}

static bool
may_follow(enum session_state from, enum session_state to)
{
    switch (from) {
    case SESSION_HANDSHAKE:
        return to == SESSION_OPEN || to == SESSION_CLOSING;
    case SESSION_OPEN:
        return to == SESSION_CLOSING;
    default:
        return false;
    }
}

void
session_set_state(struct session *session, enum session_state state)
{
    assert(may_follow(session->state, state));
    session->state = state;
}

void
session_log(const struct session *session, enum core_event event,
    enum broker_status code, const char *text)
{
    const struct core *core = session->core;
    core->hooks.log(core->hooks.arg, event, session, code,
        text == NULL ? broker_status_text((unsigned)code) : text);
}

/* ---- receiving ----------------------------------------------------------- */

/* Held, suspended as a whole, or until its subscriptions are made. */
static bool
is_suspended(const struct session *session)
{
    const struct session_remote *remote = session->remote;
    return session->hold.reasons != 0 ||
           (remote != NULL &&
               (remote->is_suspended || remote->is_blocked ||
                   remote->making_count > 0 || remote->retiring_count > 0));
}

bool
session_is_suspended(const struct session *session)
{
    return is_suspended(session);
}

bool
session_reserve(struct session *session, uint8_t **dst, size_t *room)
{
    bool was_starved = session->starved;
    struct core *core = session->core;
    if (core->exchange != NULL && exchange_is_congested(core->exchange)) {
        session->starved = true;
        return false;
    }
    bool ok = intake_reserve(&session->intake, &core->intake, dst, room);
    while (!ok && core_shed(core)) {
        ok = intake_reserve(&session->intake, &core->intake, dst, room);
        if (core->exchange != NULL) {
            break; /* what was on loan is free only when it is given back */
        }
    }
    if (!ok && core->exchange != NULL) {
        exchange_want_shed(core->exchange, core->now_ms);
    }
    session->starved = !ok;
    if (was_starved && !session->starved) {
        session_schedule(session); /* its heartbeat was not watched */
    }
    return !session->starved;
}

void
session_received(struct session *session, size_t len)
{
    session->heard_ms = session->core->now_ms;
    if (session->pinged) {
        /* The next PING is due sooner than giving the peer up was. */
        session->pinged = false;
        session_schedule(session);
    }
    session->received_bytes += len;
    intake_commit(&session->intake, &session->core->intake, len);
    dispatch_input(session);
}

void
session_received_all(struct session *session)
{
    intake_rest(&session->intake, &session->core->intake);
}

/* While it is found out who the peer is, it is read from all the same, up to a
 * bound: only so is it noticed that it has gone. */
static bool
is_only_awaiting_admission(const struct session *session)
{
    const struct intake *intake = &session->intake;
    return session->hold.reasons == HOLD_ADMISSION &&
           (intake->block == NULL ||
               intake_len(intake) < BROKER_BODY_BYTES_MIN);
}

bool
session_wants_input(const struct session *session)
{
    if (is_only_awaiting_admission(session)) {
        return true;
    }
    const struct session_remote *remote = session->remote;
    if (is_suspended(session) ||
        (remote != NULL &&
            (remote->wait_count > WAITS_MAX ||
                buffer_len(&remote->held) > CONTROL_BYTES_MAX))) {
        return false;
    }
    return buffer_len(&session->output.control) <= CONTROL_BYTES_MAX;
}

bool
session_may_process(struct session *session, uint16_t frame_type)
{
    struct session_remote *remote = session->remote;
    if (remote->is_suspended || remote->retiring_count > 0) {
        return false;
    }
    if (frame_type != BROKER_FRAME_SUBSCRIBE && remote->making_count > 0) {
        return false;
    }
    if (frame_type != BROKER_FRAME_SUBSCRIBE &&
        frame_type != BROKER_FRAME_CONSUME) {
        return true;
    }
    /* The answer would be held back, but not the messages that follow it. */
    remote->is_blocked = wait_holds(session);
    return !remote->is_blocked;
}

void
session_resume(struct session *session)
{
    if (is_suspended(session) || session->is_dispatching) {
        return;
    }
    dispatch_input(session);
    if (is_suspended(session)) {
        return;
    }
    if (session->end_waits) {
        session->end_waits = false;
        session_end_of_input(session);
    }
    session->heard_ms = session->core->now_ms; /* it could not be heard */
    session_schedule(session); /* its heartbeat was not watched */
    session->core->hooks.output_ready(session->owner); /* reading goes on */
}

static bool
may_get_replies(const struct session *session)
{
    if (!session->requested ||
        session->core->options.half_close_linger_ms == 0) {
        return false;
    }
    const struct subscription *subscription;
    LIST_FOREACH(subscription, &session->subscriptions, of_session)
    {
        if (subscription->node != NULL) {
            return true;
        }
    }
    return false;
}

void
session_end_of_input(struct session *session)
{
    if (session->input_ended || session->state == SESSION_CLOSING) {
        return;
    }
    if (is_suspended(session)) {
        session->end_waits = true; /* after what is there */
        return;
    }
    if (session->state == SESSION_HANDSHAKE && foreign_is(session)) {
        foreign_answer(session, true);
        return;
    }
    if (session->intake.block != NULL || session->skip_bytes > 0) {
        session->core->totals.protocol_errors++;
        session_log(session, CORE_EVENT_PROTOCOL_ERROR, BROKER_E_MALFORMED,
            "the peer ended in the middle of a frame");
        intake_fini(&session->intake);
    }
    session_ignore_input(session);
}

void
session_ignore_input(struct session *session)
{
    if (session->remote != NULL && subscriptions_retire(session)) {
        session->remote->is_deaf = true;
        session->end_waits = true; /* comes back here */
        return;
    }
    session->input_ended = true;
    subscriptions_stop(session, true);
    if (session->remote != NULL) {
        attachments_close(session); /* it can settle nothing any more */
    }
    if (session->state == SESSION_OPEN && may_get_replies(session)) {
        session->linger_ms =
            session->core->now_ms + session->core->options.half_close_linger_ms;
        session_schedule(session);
        return;
    }
    session_close_drained(session, BROKER_E_LEAVING);
}

/* ---- closing ------------------------------------------------------------- */

static void
begin_closing(struct session *session, enum broker_status code)
{
    ack_flush(session);
    hold_cancel(session);
    if (session->remote != NULL) {
        interest_cancel(session);
        question_cancel(session);
        attachments_close(session); /* what it has goes to others */
    }
    subscriptions_stop(session, false);
    session->close_code = code;
    session_set_state(session, SESSION_CLOSING);
    session->progress_ms = session->core->now_ms;
    if (code != BROKER_E_LEAVING && code != BROKER_E_SHUTTING_DOWN) {
        session_log(session, CORE_EVENT_CLOSING, code, NULL);
    }
    session_schedule(session);
}

/* What a peer that is disconnected for falling behind loses: the last thing
 * that it hears, in place of a GAP. */
static const char *
loss_text(const struct session *session, char *dst, size_t cap)
{
    const struct output *output = &session->output;
    snprintf(dst, cap,
        "fell behind: lost are %llu messages that were queued and %llu that "
        "did "
        "not fit",
        (unsigned long long)output->messages,
        (unsigned long long)output_unreported(output));
    return dst;
}

void
session_close_now(struct session *session, enum broker_status code)
{
    if (session->state == SESSION_CLOSING) {
        return;
    }
    char text[TEXT_BYTES_MAX];
    if (session->remote != NULL) {
        wait_abandon(session);
    }
    bool slow = code == BROKER_E_SLOW_CONSUMER;
    const char *says = slow ? loss_text(session, text, sizeof text) : NULL;
    begin_closing(session, code);
    output_drop_data(&session->output);
    if (session->draining_count > 0) {
        subscriptions_drained(session); /* nothing may follow GOAWAY */
    }
    session_send_goaway(session, says);
}

void
session_close_drained(struct session *session, enum broker_status code)
{
    if (session->state == SESSION_CLOSING) {
        return;
    }
    begin_closing(session, code);
    session_announce_output(session);
}

void
session_fail(struct session *session, enum broker_status code, uint32_t id,
    uint16_t frame_type)
{
    if (session->state == SESSION_CLOSING) {
        return;
    }
    session->core->totals.protocol_errors++;
    session_log(session, CORE_EVENT_PROTOCOL_ERROR, code, NULL);
    if (session->remote != NULL) {
        wait_abandon(session);
    }
    struct refusal refusal = {.code = code, .id = id, .frame_type = frame_type};
    session_refuse(session, &refusal);
    session_close_now(session, code);
}

void
session_deny_hello(struct session *session, enum broker_status code,
    uint32_t hello_id, const char *text)
{
    session_log(session, CORE_EVENT_DENIED, code, text);
    struct refusal refusal = {.code = code,
        .id = hello_id,
        .frame_type = BROKER_FRAME_HELLO,
        .text = text};
    session_refuse(session, &refusal);
    if (broker_status_may_retry((unsigned)code)) {
        session->retry_after_ms = RETRY_AFTER_MS;
    }
    session_close_now(session, code);
}

void
session_expel(struct session *session, enum broker_status code)
{
    session_close_now(session, code);
}

void
session_reject(struct session *session, enum broker_status code)
{
    session->core->totals.rejected_connections++;
    session->retry_after_ms = RETRY_AFTER_MS;
    session_close_now(session, code);
}

uint64_t
session_owner(const struct session *session)
{
    return session->account == NULL ? 0 : account_hash(session->account);
}

uint64_t
session_queued_bytes(const struct session *session)
{
    return session->output.bytes;
}

enum session_end
session_end(const struct session *session)
{
    if (session->aborted) {
        return SESSION_ABORTED;
    }
    if (session->state == SESSION_CLOSING && session->goaway_sent &&
        output_is_empty(&session->output)) {
        return SESSION_FINISHED;
    }
    return SESSION_LIVES;
}

/* ---- looking in ---------------------------------------------------------- */

void
session_get_stats(const struct session *session, struct session_stats *out)
{
    *out = (struct session_stats){.id = session->id,
        .name = session->name == NULL ? "" : session->name,
        .user = session->account == NULL ? "" : session->account->name,
        .peer = session->peer,
        .state = state_names[session->state],
        .age_ms = session->core->now_ms - session->opened_ms,
        .subscriptions = session->subscription_count,
        .received_messages = session->received_messages,
        .received_bytes = session->received_bytes,
        .delivered_messages = session->output.delivered,
        .delivered_bytes = session->delivered_bytes,
        .dropped_messages = session->output.dropped,
        .queued_messages = session->output.messages,
        .queued_bytes = session->output.bytes};
}

const struct subscription *
session_next_subscription(
    const struct session *session, const struct subscription *after)
{
    return after == NULL ? LIST_FIRST(&session->subscriptions)
                         : LIST_NEXT(after, of_session);
}
