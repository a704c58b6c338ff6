/* SPDX-License-Identifier: MIT
 *
 * Letting a session's input wait; see hold.h. */
#include "hold.h"

#include "session.h"

#include <stdio.h>

/* Of a publisher's bytes this much is processed at a time while memory is
 * short; less, the shorter it is, down to the second. */
#define SLOW_BYTES_MAX (256u * 1024u)
#define SLOW_BYTES_MIN 1024u
/* A store that is busy for less than this is nobody's concern: publishers are
 * faster than any disk. */
#define STORE_NOTICE_MS 1000u
/* And then it waits, up to so long. */
#define SLOW_MS_MAX 100u

/* ---- reasons ------------------------------------------------------------- */

void
hold_begin(struct session *session, enum hold_reason reason)
{
    session->hold.reasons |= (uint8_t)reason;
}

static void
drop_reason(struct session *session, enum hold_reason reason)
{
    struct hold *hold = &session->hold;
    if ((hold->reasons & reason) == 0) {
        return;
    }
    hold->reasons &= (uint8_t)~reason;
    if (reason == HOLD_WORK) {
        TAILQ_REMOVE(&session->core->working, session, hold.link);
    } else if (reason == HOLD_FULL) {
        TAILQ_REMOVE(&session->core->waiting, session, hold.link);
    } else if (reason == HOLD_STORE) {
        TAILQ_REMOVE(&session->core->storing, session->remote, storing);
    }
}

void
hold_end(struct session *session, enum hold_reason reason)
{
    if ((session->hold.reasons & reason) != 0) {
        drop_reason(session, reason);
        session_resume(session);
    }
}

static void notice(struct session *session, enum hold_notice which,
    uint64_t limit, const char *text);

/* ---- work ---------------------------------------------------------------- */

void
hold_for_work(struct session *session)
{
    if ((session->hold.reasons & (HOLD_WORK | HOLD_FULL)) == 0) {
        hold_begin(session, HOLD_WORK);
        TAILQ_INSERT_TAIL(&session->core->working, session, hold.link);
        session->core->totals.held_for_work++;
    }
}

void
hold_next_turn(struct core *core)
{
    core->turn_work = 0;
    /* Who is held again goes to the end, and has its turn next time. Those who
     * come with little meanwhile are not behind them in the queue. */
    struct session *last = TAILQ_LAST(&core->working, hold_list);
    for (bool more = last != NULL;
         more && core->turn_work < HOLD_TURN_WORK_MAX;) {
        struct session *session = TAILQ_FIRST(&core->working);
        more = session != last;
        hold_end(session, HOLD_WORK);
    }
}

/* ---- time ---------------------------------------------------------------- */

static void
wait_for(struct session *session, uint64_t ms)
{
    uint64_t until_ms = session->core->now_ms + ms;
    if ((session->hold.reasons & HOLD_TIME) == 0 ||
        until_ms > session->hold.until_ms) {
        session->hold.until_ms = until_ms;
    }
    hold_begin(session, HOLD_TIME);
    session_schedule(session);
}

/* Which of the user's limits makes it wait longest. */
static uint64_t
rate_wait(struct session *session, uint32_t messages, uint64_t bytes)
{
    const struct core *core = session->core;
    const struct core_options *options = &core->options;
    struct account *account = session->account;
    if (account == NULL) {
        return 0;
    }
    uint64_t for_messages = meter_take(&account->messages, core->now_ms,
        options->max_user_messages_per_s, messages);
    uint64_t for_bytes = meter_take(
        &account->bytes, core->now_ms, options->max_user_bytes_per_s, bytes);
    uint64_t wait_ms = for_messages > for_bytes ? for_messages : for_bytes;
    if (wait_ms > 0) {
        bool messages_count = for_messages >= for_bytes;
        notice(session, HOLD_NOTICE_RATE,
            messages_count ? options->max_user_messages_per_s
                           : options->max_user_bytes_per_s,
            messages_count ? "messages a second of one user "
                             "(max_user_messages_per_s)"
                           : "bytes a second of one user "
                             "(max_user_bytes_per_s)");
    }
    return wait_ms;
}

/* How short memory is: 0 below 80 % of the limit, to 256 at the limit. */
static uint64_t
memory_shortage(const struct block_pool *pool)
{
    uint64_t bytes = block_pool_bytes(pool);
    uint64_t slow = pool->bytes_slow;
    if (bytes <= slow) {
        return 0;
    }
    uint64_t over = (bytes - slow) * 256 / (pool->bytes_allowed - slow);
    return over > 256 ? 256 : over;
}

/* The shorter memory is, the fewer bytes at a time and the longer the pause
 * after them: gently as long as only queues are full, which stop growing on
 * their own at 7/8 of the limit, and hard where the reserve is used up. It
 * never becomes nothing: what makes room may be among what publishers send. */
static uint64_t
memory_wait(struct session *session, uint64_t bytes)
{
    struct hold *hold = &session->hold;
    uint64_t shortage = memory_shortage(&session->core->pool);
    if (shortage == 0) {
        hold->slowed_bytes = 0;
        return 0;
    }
    uint64_t most = SLOW_BYTES_MIN +
                    (SLOW_BYTES_MAX - SLOW_BYTES_MIN) * (256 - shortage) / 256;
    bytes += hold->slowed_bytes;
    if (bytes < most) {
        hold->slowed_bytes = (uint32_t)bytes;
        return 0;
    }
    hold->slowed_bytes = 0;
    notice(session, HOLD_NOTICE_MEMORY, session->core->options.max_memory_bytes,
        NULL);
    return 1 + shortage * shortage * shortage * SLOW_MS_MAX / (256 * 256 * 256);
}

void
hold_after_publish(struct session *session, uint32_t messages, uint64_t bytes)
{
    struct core *core = session->core;
    if (core->meters_publishes) {
        uint64_t wait_ms = rate_wait(session, messages, bytes);
        if (wait_ms > 0) {
            core->totals.held_for_rate++;
            wait_for(session, wait_ms);
        }
    }
    if (block_pool_bytes(&core->pool) > core->pool.bytes_slow) {
        uint64_t wait_ms = memory_wait(session, bytes);
        if (wait_ms > 0) {
            core->totals.held_for_memory++;
            wait_for(session, wait_ms);
        }
    }
}

void
hold_after_subscribe(struct session *session)
{
    const struct core_options *options = &session->core->options;
    session->core->work += 8;
    uint64_t wait_ms = meter_take(&session->subscribes, session->core->now_ms,
        options->max_subscribes_per_s, 1);
    if (wait_ms > 0) {
        session->core->totals.held_for_rate++;
        notice(session, HOLD_NOTICE_RATE, options->max_subscribes_per_s,
            "subscribing and unsubscribing of one connection, a second "
            "(max_subscribes_per_s)");
        wait_for(session, wait_ms);
    }
}

/* ---- a full subscriber --------------------------------------------------- */

static void
wait_for_full(struct session *publisher, uint64_t full_id)
{
    struct core *core = publisher->core;
    if ((publisher->hold.reasons & HOLD_FULL) != 0 ||
        publisher->state == SESSION_CLOSING) {
        return; /* for another one; then for this one, if it still is */
    }
    publisher->hold.full_id = full_id;
    /* Should it never hear of room, because the other side had no memory to
     * say so, it tries with one more message now and then. */
    publisher->hold.look_ms = core->now_ms + 2 * core->options.block_timeout_ms;
    drop_reason(publisher, HOLD_WORK); /* it waits for longer than a turn */
    hold_begin(publisher, HOLD_FULL);
    TAILQ_INSERT_TAIL(&core->waiting, publisher, hold.link);
    core->totals.held_for_full++;
    session_schedule(publisher);
    notice(publisher, HOLD_NOTICE_FULL, 0, NULL);
}

static void
become_full(struct session *full)
{
    if (!full->hold.is_full) {
        full->hold.is_full = true;
        session_schedule(full);
    }
}

void
hold_publisher(struct session *publisher, struct session *full)
{
    if (publisher != NULL && publisher != full && full->state == SESSION_OPEN &&
        !full->hold.gave_up) {
        become_full(full);
        wait_for_full(publisher, full->id);
    }
}

void
hold_publisher_abroad(struct core *core, uint32_t worker, uint64_t publisher_id,
    struct session *full)
{
    if (full->state != SESSION_OPEN || full->hold.gave_up) {
        return;
    }
    struct letter *letter = exchange_write(core->exchange, worker, LETTER_FULL);
    if (letter == NULL) {
        return; /* no memory to say so: what does not fit is refused */
    }
    letter->full.publisher_id = publisher_id;
    letter->full.full_id = full->id;
    become_full(full);
    full->remote->held_workers |= UINT64_C(1) << worker;
}

void
hold_on_full(struct core *core, uint64_t publisher_id, uint64_t full_id)
{
    struct session *publisher = core_find_session(core, publisher_id);
    if (publisher != NULL && publisher->id != full_id) {
        wait_for_full(publisher, full_id);
    }
}

/* They go on in the next turn, because something may be in use now. */
void
hold_on_room(struct core *core, uint64_t full_id)
{
    struct session *session = TAILQ_FIRST(&core->waiting);
    while (session != NULL) {
        struct session *next = TAILQ_NEXT(session, hold.link);
        if (session->hold.full_id == full_id) {
            drop_reason(session, HOLD_FULL);
            hold_for_work(session);
        }
        session = next;
    }
}

/* Publishers need not wait for it any more. */
static void
have_room(struct session *full)
{
    struct core *core = full->core;
    struct session_remote *remote = full->remote;
    full->hold.is_full = false;
    hold_on_room(core, full->id);
    for (uint32_t worker = 0; remote != NULL && remote->held_workers != 0 &&
                              worker < EXCHANGE_WORKERS_MAX;
         worker++) {
        if ((remote->held_workers >> worker & 1) == 0) {
            continue;
        }
        struct letter *letter =
            exchange_write(core->exchange, worker, LETTER_ROOM);
        if (letter == NULL) {
            full->hold.is_full = true; /* said when there is memory */
            return;
        }
        letter->full.full_id = full->id;
        remote->held_workers &= ~(UINT64_C(1) << worker);
    }
}

void
hold_look_at_room(struct session *session)
{
    struct hold *hold = &session->hold;
    if ((hold->is_full || hold->gave_up) &&
        session->output.bytes <= session->output.max_bytes / 4) {
        hold->gave_up = false;
        have_room(session);
    }
}

/* ---- the store ----------------------------------------------------------- */

void
hold_for_store(struct session *session)
{
    if ((session->hold.reasons & HOLD_STORE) != 0) {
        return;
    }
    hold_begin(session, HOLD_STORE);
    session->remote->storing_ms = session->core->now_ms + STORE_NOTICE_MS;
    TAILQ_INSERT_TAIL(&session->core->storing, session->remote, storing);
    session->core->totals.held_for_store++;
    session_schedule(session);
}

/* They go on in the next turn. */
void
hold_on_store_room(struct core *core)
{
    struct session_remote *remote;
    while ((remote = TAILQ_FIRST(&core->storing)) != NULL) {
        drop_reason(remote->session, HOLD_STORE);
        hold_for_work(remote->session);
    }
}

/* ---- deadlines ----------------------------------------------------------- */

uint64_t
hold_deadline(const struct session *session)
{
    const struct hold *hold = &session->hold;
    uint64_t due_ms = DEADLINE_NEVER;
    if ((hold->reasons & HOLD_TIME) != 0) {
        due_ms = hold->until_ms;
    }
    if ((hold->reasons & HOLD_FULL) != 0 && hold->look_ms < due_ms) {
        due_ms = hold->look_ms;
    }
    if ((hold->reasons & HOLD_STORE) != 0 &&
        session->remote->storing_ms < due_ms) {
        due_ms = session->remote->storing_ms;
    }
    if (hold->is_full) {
        uint64_t give_up_ms =
            session->progress_ms + session->core->options.block_timeout_ms;
        due_ms = give_up_ms < due_ms ? give_up_ms : due_ms;
    }
    return due_ms;
}

void
hold_on_deadline(struct session *session)
{
    struct hold *hold = &session->hold;
    uint64_t now_ms = core_judged_ms(session->core);
    if (hold->is_full &&
        now_ms >=
            session->progress_ms + session->core->options.block_timeout_ms) {
        hold->gave_up = true;
        have_room(session);
    }
    if ((hold->reasons & HOLD_STORE) != 0 &&
        now_ms >= session->remote->storing_ms) {
        session->remote->storing_ms = DEADLINE_NEVER;
        notice(session, HOLD_NOTICE_STORE, 0, NULL);
    }
    if ((hold->reasons & HOLD_FULL) != 0 && now_ms >= hold->look_ms) {
        hold_end(session, HOLD_FULL);
    }
    if ((hold->reasons & HOLD_TIME) != 0 && now_ms >= hold->until_ms) {
        hold_end(session, HOLD_TIME);
    }
}

void
hold_cancel(struct session *session)
{
    drop_reason(session, HOLD_ADMISSION);
    drop_reason(session, HOLD_WORK);
    drop_reason(session, HOLD_TIME);
    drop_reason(session, HOLD_FULL);
    drop_reason(session, HOLD_STORE);
    if (session->hold.is_full) {
        have_room(session);
    }
}

/* ---- saying so ----------------------------------------------------------- */

static void
notice(struct session *session, enum hold_notice which, uint64_t limit,
    const char *text)
{
    static const enum broker_status codes[HOLD_NOTICES] = {
        [HOLD_NOTICE_MEMORY] = BROKER_E_MEMORY_HIGH,
        [HOLD_NOTICE_RATE] = BROKER_E_RATE_HIGH,
        [HOLD_NOTICE_FULL] = BROKER_E_BLOCKED,
        [HOLD_NOTICE_STORE] = BROKER_E_STORE_BUSY,
    };
    uint16_t now_s = (uint16_t)(session->core->now_ms / 1000 + 1);
    uint16_t *noticed_s = &session->hold.noticed_s[which];
    if (*noticed_s != now_s) {
        *noticed_s = now_s;
        session_notice(session, codes[which], limit, text);
    }
}
