/* SPDX-License-Identifier: MIT
 *
 * Every allocation of a session fails once, in the middle of everything that a
 * session does. Nothing crashes or leaks, what was taken has its outcome once,
 * and what was lost is told. Linked with --wrap, so that malloc() is ours.
 */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "fake_stream.h"

#define BUFFER ((size_t)1 << 16)
#define S      UINT64_C(1000000)

TestSuite(no_memory, .timeout = 100);

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *memory, size_t size);

/* How many more succeed before one fails; -1: all. */
static long left = -1;
static bool failed;

static bool
fails(void)
{
    if (left < 0) {
        return false;
    }
    if (left-- > 0) {
        return false;
    }
    failed = true;
    return true;
}

void *
__wrap_malloc(size_t size)
{
    return fails() ? NULL : __real_malloc(size);
}

void *
__wrap_calloc(size_t count, size_t size)
{
    return fails() ? NULL : __real_calloc(count, size);
}

void *
__wrap_realloc(void *memory, size_t size)
{
    return fails() ? NULL : __real_realloc(memory, size);
}

/* A connection that may fail; then the next one comes. */
static void
connect_until(struct fake *fake)
{
    while (fake->session.state != SESSION_OPEN) {
        if (session_connected(&fake->session, fake->now_us) != BROKER_OK) {
            continue;
        }
        fake_write(fake, SIZE_MAX);
        fake_forget(fake);
        /* The inbox of requests moves. */
        if (fake_welcome_user(fake, "bob", 1) != BROKER_OK) {
            fake_lose(fake);
        }
    }
    fake_write(fake, SIZE_MAX);
    fake_forget(fake);
}

/* What the broker sends; a session that ran out of memory reconnects. */
static void
broker_sends(struct fake *fake, enum broker_status status)
{
    if (status != BROKER_OK) {
        cr_assert_eq(status, BROKER_E_NO_MEMORY);
        fake_lose(fake);
        connect_until(fake);
    }
}

struct expected {
    size_t published, replies, pongs, subscribed;
};

static void
use(struct fake *fake, struct expected *expected)
{
    for (int i = 0; i < 70; i++) { /* the ring grows at 64 */
        expected->published +=
            fake_publish(fake, "a", "payload", true) == BROKER_OK;
    }
    expected->replies += fake_request(fake, "q", S) == BROKER_OK;
    uint32_t plain = fake_subscribe(fake, "a");
    uint32_t next = fake_subscribe_next(fake, "b");
    expected->subscribed += plain != 0;
    expected->subscribed += next != 0;
    connect_until(fake);
    if (plain != 0) {
        broker_sends(fake, fake_suback(fake, plain));
    }
    if (plain != 0 && next != 0 && !failed) {
        uint32_t ids[] = {plain, next};
        broker_sends(fake, fake_suback(fake, next));
        broker_sends(fake, fake_context(fake, ids, 2, 0));
    }
    if (fake->session.context_known) {
        broker_sends(fake, fake_message(fake, "a", "x"));
        broker_sends(fake, fake_gap(fake, next, 3, 30));
    }
    if (fake->session.context_known) {
        broker_sends(fake, fake_message(fake, "a", "y"));
    }
    broker_sends(fake, fake_ping(fake, 1));
    fake_lose(fake);
    connect_until(fake);
}

/* Count the callbacks, with the queue of next() as if it had been told. */
static void
check(struct fake *fake, const struct expected *expected)
{
    struct expected seen = {0};
    const struct fake_call *call;
    while ((call = fake_call(fake)) != NULL) {
        seen.published += call->kind == FAKE_PUBLISHED;
        seen.replies += call->kind == FAKE_REPLY;
        seen.subscribed += call->kind == FAKE_SUBSCRIBED;
    }
    cr_assert_eq(seen.published, expected->published);
    cr_assert_eq(seen.replies, expected->replies);
    cr_assert_eq(seen.subscribed, expected->subscribed);
}

Test(no_memory, each_allocation_fails_once)
{
    long n = 0;
    do {
        struct expected expected = {0};
        struct fake *fake = fake_new(BUFFER, BUFFER);
        failed = false;
        left = n++;
        use(fake, &expected);
        left = -1;
        fake_lose(fake);
        session_end_all(&fake->session, "the end");
        check(fake, &expected);
        fake_free(fake);
    } while (failed);
    cr_assert_gt(n, 15);
}

/* ---- streams ------------------------------------------------------------- */

/* Whoever is connected anew has to be answered anew. */
static void
join(struct fake *fake, uint32_t id)
{
    while (fake->session.subscriptions.first->state == SUBSCRIPTION_SENT) {
        broker_sends(
            fake, fake_consume_reply(fake, id, BROKER_ACK_EACH, 100, 1));
    }
}

/* Messages with holes between them; what came on this connection is settled,
 * or the call says that there is no memory. Returns how many were; *came_late
 * counts the calls that came too late. */
static uint64_t
settle_some(struct fake *fake, uint32_t id, uint64_t *came_late)
{
    uint64_t settled = 0;
    for (uint64_t i = 1; i < 100; i += 3) {
        broker_sends(fake, fake_stream_messages(fake, id, i, 2, 1));
        join(fake, id);
        uint64_t late = fake->session.stats.settlements_late;
        enum broker_status status =
            session_settle(&fake->session, id, SESSION_ACK, i, 0);
        cr_assert(status == BROKER_OK || status == BROKER_E_NO_MEMORY);
        late = fake->session.stats.settlements_late - late;
        settled += status == BROKER_OK && late == 0;
        *came_late += late;
    }
    return settled;
}

/* The sequences that are said to be acknowledged. */
static uint64_t
count_said(struct fake *fake)
{
    struct broker_frame frame;
    struct broker_settle settle;
    uint64_t said = 0;
    while (fake_skip_to(fake, BROKER_FRAME_ACK, &frame)) {
        cr_assert_eq(broker_settle_decode(&frame, &settle), BROKER_OK);
        for (size_t i = 0; i < settle.ranges.count; i++) {
            uint64_t first, last;
            broker_ranges_get(settle.ranges, i, &first, &last);
            said += last - first + 1;
        }
    }
    return said;
}

Test(no_memory, what_is_settled_is_said_or_counted_as_late)
{
    long n = 0;
    do {
        struct fake *fake = fake_new(BUFFER, BUFFER);
        failed = false;
        left = n++;
        connect_until(fake);
        uint32_t id = fake_consume(
            fake, (struct broker_client_consume){.consumer = "work"}, n % 2);
        if (id != 0) {
            join(fake, id);
            uint64_t came_late = 0;
            uint64_t settled = settle_some(fake, id, &came_late);
            left = left < 0 ? -1 : left % 4; /* in the flush, perhaps */
            enum broker_status status = session_flush_settled(&fake->session);
            cr_assert(status == BROKER_OK || status == BROKER_E_NO_MEMORY);
            left = -1; /* then it is said the next time */
            uint64_t unsaid = fake->session.stats.settlements_late - came_late;
            cr_assert_eq(count_said(fake) + unsaid, settled);
        }
        left = -1;
        fake_free(fake);
    } while (failed);
    cr_assert_gt(n, 15);
}

/* Fail for good: neither the message nor its gap can be stored. */
static void
fail_next_two(struct fake *fake)
{
    struct broker_message message = {.topic = {(const uint8_t *)"a", 1}};
    struct subscription *subscription = fake->session.subscriptions.first;
    left = 0;
    inbox_push(&fake->session.inbox, subscription, &message, 10);
    /* The message failed and its gap was stored; now the gap fails too. */
    struct inbox_entry *entry = session_take_event(&fake->session);
    cr_assert_eq(entry->gap.count, 1);
    broker_client_event_free(&entry->event);
    subscription->missed_count = 5;
    left = 0;
    inbox_tell_missed(&fake->session.inbox, subscription);
    left = -1;
}

Test(no_memory, a_gap_that_cannot_be_stored_is_told_later)
{
    struct fake *fake = fake_new(BUFFER, BUFFER);
    fake_open(fake, 0);
    cr_assert_neq(fake_subscribe_next(fake, "a"), 0);
    fail_next_two(fake);
    cr_assert_eq(fake->session.inbox.count, 0);
    struct inbox_entry *entry = session_take_event(&fake->session);
    cr_assert_not_null(entry);
    cr_assert_eq(entry->gap.count, 5);
    broker_client_event_free(&entry->event);
    fake_free(fake);
}

/* A message that cannot be stored for next() becomes a gap. */
Test(no_memory, a_message_that_cannot_be_kept_becomes_a_gap)
{
    for (int fail_at = 0; fail_at < 2; fail_at++) {
        struct fake *fake = fake_new(BUFFER, BUFFER);
        fake_open(fake, 0);
        uint32_t id = fake_subscribe_next(fake, "a");
        cr_assert_eq(fake_suback(fake, id), BROKER_OK);
        cr_assert_eq(fake_context(fake, &id, 1, 0), BROKER_OK);
        left = 0; /* the message */
        cr_assert_eq(fake_message(fake, "a", "1"), BROKER_OK);
        if (fail_at == 1) {
            left = 0; /* the message, again */
            cr_assert_eq(fake_message(fake, "a", "2"), BROKER_OK);
        }
        left = -1;
        cr_assert_eq(fake_message(fake, "a", "3"), BROKER_OK);
        uint64_t missing = 0, got = 0;
        struct inbox_entry *entry;
        while ((entry = session_take_event(&fake->session)) != NULL) {
            missing += entry->event.kind == BROKER_CLIENT_EVENT_GAP
                           ? entry->gap.count
                           : 0;
            got += entry->event.kind == BROKER_CLIENT_EVENT_MESSAGE;
            broker_client_event_free(&entry->event);
        }
        cr_assert_eq(got + missing, 2u + (unsigned)fail_at);
        fake_free(fake);
    }
}
