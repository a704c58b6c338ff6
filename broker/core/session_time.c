/* SPDX-License-Identifier: MIT
 *
 * The times of a session: handshake, heartbeat, writing, lingering; see
 * session.h. PROTOCOL.md sections 2 and 5.8. */
#include "session.h"

#include <string.h>

/* Looking at a deadline later than this means that the broker was away. */
#define LATE_MS           500
#define MISSED_HEARTBEATS 3

uint64_t
session_write_deadline(const struct session *session)
{
    if (!session->output_announced && session->state != SESSION_CLOSING) {
        return DEADLINE_NEVER;
    }
    return session->progress_ms + session->core->options.write_timeout_ms;
}

static uint64_t
earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* A peer that is kept waiting should still hear something. */
static uint64_t
comfort_deadline(const struct session *session)
{
    uint64_t since_ms = session->heard_ms;
    if (session->pinged && session->pinged_ms > since_ms) {
        since_ms = session->pinged_ms;
    }
    return since_ms + session->heartbeat_ms;
}

static uint64_t
heartbeat_deadline(const struct session *session)
{
    if (session_is_suspended(session)) {
        return comfort_deadline(session);
    }
    if (session->starved || !session_wants_input(session)) {
        return DEADLINE_NEVER; /* it is us who do not listen */
    }
    if (!session->pinged) {
        return session->heard_ms + session->heartbeat_ms;
    }
    uint64_t missed =
        session->heard_ms + MISSED_HEARTBEATS * (uint64_t)session->heartbeat_ms;
    uint64_t answer = session->pinged_ms + session->heartbeat_ms;
    return missed > answer ? missed : answer;
}

/* What is queued may not be older than max_output_age_ms. All of what was
 * queued at mark_ms has left the queue once so many messages have as `mark`
 * says; so the oldest message is found to be too old when its age is between
 * one and two times the limit. Where others than the oldest are dropped, as by
 * conflating, it is found later. */
static uint64_t
left_queue(const struct session *session)
{
    const struct output *output = &session->output;
    return output->delivered + output->dropped - output->refused;
}

void
session_mark_queue(struct session *session)
{
    session->mark_ms = session->core->now_ms;
    session->mark = left_queue(session) + session->output.messages;
}

uint64_t
session_age_deadline(const struct session *session)
{
    uint32_t max_ms = session->core->options.max_output_age_ms;
    if (max_ms == 0 || session->output.messages == 0) {
        return DEADLINE_NEVER;
    }
    return session->mark_ms + max_ms;
}

static uint64_t
next_deadline_of_state(const struct session *session)
{
    const struct core_options *options = &session->core->options;
    switch (session->state) {
    case SESSION_HANDSHAKE:
        if (session_is_suspended(session)) {
            return DEADLINE_NEVER; /* HELLO came; it is us who take long */
        }
        return session->opened_ms + options->handshake_timeout_ms;
    case SESSION_OPEN:
        if (session->input_ended) {
            return earlier(session->linger_ms, session_write_deadline(session));
        }
        return earlier(session_age_deadline(session),
            earlier(
                heartbeat_deadline(session), session_write_deadline(session)));
    default:
        return session_write_deadline(session);
    }
}

static uint64_t
next_deadline(const struct session *session)
{
    return earlier(next_deadline_of_state(session), hold_deadline(session));
}

void
session_schedule(struct session *session)
{
    deadline_set(
        &session->core->deadlines, &session->deadline, next_deadline(session));
}

static void
send_ping(struct session *session)
{
    struct broker_ping ping = {.pong = false};
    uint64_t now_ms = session->core->now_ms;
    memcpy(ping.opaque, &now_ms, sizeof ping.opaque);
    size_t size = broker_ping_size(&ping);
    uint8_t *dst = session_unasked(session, size);
    if (dst != NULL &&
        broker_ping_encode(&ping, dst, size, &size) == BROKER_OK) {
        session->pinged = true;
        session->pinged_ms = now_ms;
        session_unasked_done(session, size);
    }
}

/* Was the broker away when this was due? Then the peer, to whom nothing was
 * offered meanwhile, gets its time once more. */
static bool
came_late(const struct session *session, uint64_t deadline_ms)
{
    return core_judged_ms(session->core) - deadline_ms > LATE_MS;
}

static void
open_deadline(struct session *session)
{
    uint64_t now_ms = core_judged_ms(session->core);
    if (now_ms >= session_write_deadline(session)) {
        if (came_late(session, session_write_deadline(session))) {
            session->progress_ms = now_ms;
            return;
        }
        session_log(session, CORE_EVENT_CLOSING, BROKER_E_WRITE_TIMEOUT, NULL);
        session_abort(session);
    } else if (session->input_ended) {
        if (now_ms >= session->linger_ms) {
            session_close_drained(session, BROKER_E_LEAVING);
        }
    } else if (now_ms >= session_age_deadline(session)) {
        if (left_queue(session) >= session->mark ||
            came_late(session, session_age_deadline(session))) {
            session_mark_queue(session);
        } else {
            session_close_now(session, BROKER_E_SLOW_CONSUMER);
        }
    } else if (now_ms >= heartbeat_deadline(session)) {
        /* Who looks a whole heartbeat too late was away itself, and has no
         * right to judge: it asks once more. */
        uint64_t late_ms = now_ms - heartbeat_deadline(session);
        if (session->pinged && late_ms < session->heartbeat_ms &&
            !session_is_suspended(session)) {
            session_close_now(session, BROKER_E_HEARTBEAT_TIMEOUT);
            session_abort(session);
        } else {
            send_ping(session);
        }
    }
}

void
session_on_deadline(struct session *session)
{
    uint64_t now_ms = core_judged_ms(session->core);
    if (now_ms >= hold_deadline(session)) {
        hold_on_deadline(session);
    }
    /* Deadlines move forward with traffic without being set anew each time;
     * only now is it looked at whether this one is real. */
    if (now_ms >= next_deadline(session)) {
        switch (session->state) {
        case SESSION_HANDSHAKE:
            if (now_ms - session->deadline.due_ms > LATE_MS &&
                !session->looked_late) {
                /* Its HELLO may be waiting to be read, and it is us who are
                 * late: it gets its time once more. */
                session->looked_late = true;
                session->opened_ms = now_ms;
            } else if (foreign_is(session)) {
                foreign_answer(session, true);
            } else {
                session_fail(session, BROKER_E_HANDSHAKE_TIMEOUT, 0, 0);
            }
            break;
        case SESSION_OPEN:
            open_deadline(session);
            break;
        case SESSION_CLOSING:
            session_abort(session);
            break;
        }
    }
    if (session->aborted) {
        deadline_clear(&session->core->deadlines, &session->deadline);
    } else {
        session_schedule(session);
    }
}
