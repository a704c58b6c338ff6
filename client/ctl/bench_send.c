/* SPDX-License-Identifier: MIT
 *
 * The sending side of `brokerctl bench`: see bench.h.
 *
 * Paced, message k is due k / rate seconds after the start, whatever became of
 * those before it. What keeps it from being sent then (a full window, a slow
 * broker, this process being busy) is part of its latency. Else a stall would
 * be seen in one message instead of in all that it delays, which is known as
 * coordinated omission. Not paced, a message is due when there is room for it.
 */
#include "bench.h"

#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>

#include "bench_stamp.h"
#include "duration.h"

#define NS_PER_S UINT64_C(1000000000)

/* What one call of bench_send() sends at most, and one connection at a time:
 * enough to keep the broker busy, and few enough to look after what comes. */
#define TURN_BYTES 262144u
#define RUN_BYTES  32768u
/* Not paced, publishing rests while the subscribers of this very process are
 * this far behind: they share its one thread, and what the broker had to drop
 * for that would say nothing of the broker. */
#define BEHIND_BYTES 2097152u
/* Messages that are due in the last moment are sent even if a little late. */
#define GRACE_NS (NS_PER_S / 10)

/* ---- the schedule -------------------------------------------------------- */

static uint64_t
due_ns_of(const struct bench *bench, uint64_t message)
{
    const uint64_t rate = bench->plan->rate;

    return bench->counts.start_ns + message / rate * NS_PER_S +
           message % rate * NS_PER_S / rate;
}

/* How many are due in less than this time from the start on. */
static uint64_t
due_within(const struct bench *bench, uint64_t ns)
{
    const uint64_t rate = bench->plan->rate;

    return ns / NS_PER_S * rate +
           (ns % NS_PER_S * rate + NS_PER_S - 1) / NS_PER_S;
}

void
bench_send_begin(struct bench *bench)
{
    const struct bench_plan *plan = bench->plan;
    const uint64_t time_ns =
        bench->warmup ? plan->warmup_ns : plan->duration_ns;
    uint64_t limit = bench->warmup ? 0 : plan->count;

    bench->stop_ns = LINK_NEVER;
    if (time_ns != 0) {
        bench->stop_ns = bench->counts.start_ns + time_ns;
        if (plan->rate != 0) {
            const uint64_t due = due_within(bench, time_ns);

            limit = limit == 0 || due < limit ? due : limit;
            bench->stop_ns += GRACE_NS;
        }
    }
    bench->limit = limit;
    bench->next_due_ns = 0;
    for (size_t i = 0; i < plan->publishers; i++) {
        bench->senders[i].errors_before = bench->senders[i].link->errors;
        bench->senders[i].flushed = false;
    }
}

bool
bench_send_is_over(const struct bench *bench)
{
    return (bench->limit != 0 && bench->counts.published >= bench->limit) ||
           link_now_ns() >= bench->stop_ns;
}

/* What the broker refused of the messages without acknowledgement. */
static uint64_t
errors_of(const struct bench *bench)
{
    uint64_t errors = 0;

    for (size_t i = 0; i < bench->plan->publishers; i++) {
        errors +=
            bench->senders[i].link->errors - bench->senders[i].errors_before;
    }
    return errors;
}

void
bench_send_end(struct bench *bench)
{
    struct bench_counts *counts = &bench->counts;
    const uint64_t now_ns = link_now_ns();
    uint64_t due;

    if (bench->plan->rate == 0 || now_ns < counts->start_ns) {
        return;
    }
    due = due_within(bench, now_ns - counts->start_ns);
    if (bench->limit != 0 && due > bench->limit) {
        due = bench->limit;
    }
    counts->unsent = due > counts->published ? due - counts->published : 0;
}

/* ---- answers ------------------------------------------------------------- */

/* The broker has answered: the message is no longer in flight. */
static void
slot_free(struct bench_slot *slot)
{
    slot->next = slot->sender->free_slots;
    slot->sender->free_slots = slot;
}

static void
record_since(struct histogram *histogram, uint64_t due_ns)
{
    const uint64_t now_ns = link_now_ns();

    histogram_record(histogram, now_ns > due_ns ? now_ns - due_ns : 0);
}

static void
published_cb(struct broker_client *client,
    const struct broker_client_published *published, void *user)
{
    struct bench_slot *slot = user;
    struct bench *bench = slot->sender->bench;
    struct bench_counts *counts = &bench->counts;

    (void)client;
    slot_free(slot);
    if (published->status == BROKER_E_CLOSED) {
        return; /* nobody knows what became of it */
    }
    bench->progress++;
    if (published->status != BROKER_OK) {
        counts->refused++;
        bench_refused(bench, published->status, published->text);
        return;
    }
    counts->acknowledged++;
    counts->matched += published->matched;
    counts->queue_refused += published->refused;
    if (bench->plan->latency) {
        record_since(&counts->ack_latency, slot->due_ns);
    }
}

static void
answered_cb(struct broker_client *client, enum broker_status status,
    const struct broker_message *reply, void *user)
{
    struct bench_slot *slot = user;
    struct bench *bench = slot->sender->bench;
    struct bench_counts *counts = &bench->counts;

    (void)client;
    slot_free(slot);
    if (status == BROKER_E_CLOSED) {
        return;
    }
    bench->progress++;
    if (status == BROKER_OK) {
        counts->delivered++;
        counts->delivered_bytes += reply->payload.len;
        if (bench->plan->latency) {
            record_since(&counts->latency, slot->due_ns);
        }
        return;
    }
    if (status == BROKER_E_TIMEOUT || status == BROKER_E_CONNECTION_LOST) {
        counts->failed++;
    } else {
        counts->refused++;
    }
    bench_refused(bench, status, NULL);
}

static void
flushed_cb(struct broker_client *client, enum broker_status status, void *user)
{
    struct bench_sender *sender = user;

    (void)client;
    sender->bench->progress++;
    sender->flushed = status == BROKER_OK;
}

/* ---- sending ------------------------------------------------------------- */

static int
request_timeout_ms(const struct bench *bench)
{
    const uint32_t ms = duration_to_ms(bench->plan->timeout_ns);

    return ms == 0 || ms > INT_MAX ? INT_MAX : (int)ms;
}

static enum broker_status
hand_over_numbered(
    struct bench_sender *sender, const char *topic, uint64_t due_ns)
{
    const struct bench *bench = sender->bench;
    const struct broker_client_outgoing message = {
        .topic = topic,
        .payload = bench->payload,
        .payload_bytes = bench->plan->payload_bytes,
    };
    struct bench_slot *slot = sender->free_slots;
    enum broker_status status;

    slot->due_ns = due_ns;
    if (bench->plan->mode == BENCH_REQUEST) {
        status = broker_client_request(sender->link->client, &message,
            request_timeout_ms(bench), answered_cb, slot);
    } else {
        status = broker_client_publish_acked(
            sender->link->client, &message, published_cb, slot);
    }
    if (status == BROKER_OK) {
        sender->free_slots = slot->next;
    }
    return status;
}

static enum broker_status
hand_over(struct bench_sender *sender, uint64_t due_ns)
{
    const struct bench *bench = sender->bench;
    const char *topic = bench->topics[sender->next_topic];

    if (bench->plan->stamped) {
        const struct bench_stamp stamp = {
            .machine = bench->machine,
            .warmup = bench->warmup,
            .due_ns = due_ns,
        };

        bench_stamp_write(bench->payload, &stamp);
    }
    if (bench->plan->acknowledged) {
        return hand_over_numbered(sender, topic, due_ns);
    }
    return broker_client_publish(sender->link->client, topic, bench->payload,
        bench->plan->payload_bytes);
}

static bool
has_room(const struct bench_sender *sender)
{
    return !sender->full &&
           (sender->bench->plan->window == 0 || sender->free_slots != NULL);
}

/* The next one in turn that has room, or NULL. */
static struct bench_sender *
find_sender(struct bench *bench)
{
    for (size_t i = 0; i < bench->plan->publishers; i++) {
        struct bench_sender *sender = &bench->senders[bench->next_sender];

        if (has_room(sender)) {
            return sender;
        }
        bench->next_sender = (bench->next_sender + 1) % bench->plan->publishers;
    }
    return NULL;
}

static bool
subscribers_are_behind(const struct bench *bench)
{
    const uint64_t receivers = bench_plan_receivers(bench->plan);
    const uint64_t most =
        BEHIND_BYTES / bench_plan_frame_bytes(bench->plan) + 1;
    const uint64_t published = bench->counts.published - bench->counts.refused;

    if (receivers == 0 || bench->plan->mode == BENCH_REQUEST ||
        published <= most + bench->arrived / receivers) {
        return false;
    }
    return published - errors_of(bench) > most + bench->arrived / receivers;
}

/* When a message was due, and when it was sent. */
struct moment {
    uint64_t due_ns, now_ns;
};

/* Is the next message due? */
static bool
is_due(struct bench *bench, struct moment *moment)
{
    const bool paced = bench->plan->rate != 0;

    moment->now_ns = paced || bench->plan->latency ? link_now_ns() : 0;
    moment->due_ns =
        paced ? due_ns_of(bench, bench->counts.published) : moment->now_ns;
    if (moment->due_ns > moment->now_ns) {
        bench->next_due_ns = moment->due_ns;
        return false;
    }
    return true;
}

static void
message_sent(struct bench *bench, struct bench_sender *sender,
    const struct moment *moment)
{
    bench->counts.published++;
    if (++sender->next_topic == bench->plan->topics) {
        sender->next_topic = 0;
    }
    if (bench->plan->rate != 0) {
        histogram_record(&bench->counts.late, moment->now_ns - moment->due_ns);
    }
}

/* Send one message. False: not now, or it failed. */
static bool
send_one(struct bench *bench, struct bench_sender *sender, enum ctl_exit *code)
{
    enum broker_status status;
    struct moment moment;

    if (!is_due(bench, &moment)) {
        return false;
    }
    status = hand_over(sender, moment.due_ns);
    if (status == BROKER_OK) {
        message_sent(bench, sender, &moment);
        return true;
    }
    if (status == BROKER_E_BUFFER_FULL) {
        sender->full = true;
        return true; /* another one may have room */
    }
    *code = link_failure_of(
        sender->link, bench->topics[sender->next_topic], status);
    return false;
}

enum ctl_exit
bench_send(struct bench *bench, bool *waits)
{
    const struct bench_plan *plan = bench->plan;
    const size_t frame_bytes = bench_plan_frame_bytes(plan);
    /* Spread evenly if paced; else in runs, which cost less. */
    const size_t run_bytes = plan->rate != 0 ? 1 : RUN_BYTES;
    enum ctl_exit code = CTL_EXIT_OK;
    size_t run = 0;

    *waits = true;
    bench->next_due_ns = LINK_NEVER;
    for (size_t i = 0; i < plan->publishers; i++) {
        bench->senders[i].full = false;
    }
    if (plan->rate == 0 && subscribers_are_behind(bench)) {
        return CTL_EXIT_OK;
    }
    for (size_t bytes = 0; bytes < TURN_BYTES; bytes += frame_bytes) {
        struct bench_sender *sender = find_sender(bench);

        if (sender == NULL ||
            (bench->limit != 0 && bench->counts.published >= bench->limit) ||
            !send_one(bench, sender, &code)) {
            return code;
        }
        run += frame_bytes;
        if (run >= run_bytes) {
            bench->next_sender = (bench->next_sender + 1) % plan->publishers;
            run = 0;
        }
    }
    *waits = false;
    return CTL_EXIT_OK;
}

/* ---- the end ------------------------------------------------------------- */

enum ctl_exit
bench_send_flush(struct bench *bench)
{
    for (size_t i = 0; i < bench->plan->publishers; i++) {
        struct bench_sender *sender = &bench->senders[i];
        enum broker_status status;

        if (bench->plan->acknowledged) {
            continue;
        }
        status =
            broker_client_flush_start(sender->link->client, flushed_cb, sender);
        if (status != BROKER_OK) {
            return link_failure(sender->link, status);
        }
    }
    return CTL_EXIT_OK;
}

static bool
is_answered(const struct bench *bench)
{
    const struct bench_counts *counts = &bench->counts;
    const uint64_t answered = bench->plan->mode == BENCH_REQUEST
                                  ? counts->delivered + counts->failed
                                  : counts->acknowledged;

    return answered + counts->refused >= counts->published;
}

static bool
is_flushed(const struct bench *bench)
{
    for (size_t i = 0; i < bench->plan->publishers; i++) {
        if (!bench->senders[i].flushed) {
            return false;
        }
    }
    return true;
}

bool
bench_send_is_settled(const struct bench *bench)
{
    return bench->plan->acknowledged ? is_answered(bench) : is_flushed(bench);
}

/* ---- memory -------------------------------------------------------------- */

static bool
slots_init(struct bench_sender *sender, size_t window)
{
    if (window == 0) {
        return true;
    }
    sender->slots = calloc(window, sizeof sender->slots[0]);
    if (sender->slots == NULL) {
        return false;
    }
    for (size_t i = 0; i < window; i++) {
        sender->slots[i].sender = sender;
        slot_free(&sender->slots[i]);
    }
    return true;
}

bool
bench_senders_init(struct bench *bench)
{
    const struct bench_plan *plan = bench->plan;

    bench->senders = calloc(plan->publishers + 1, sizeof bench->senders[0]);
    if (bench->senders == NULL) {
        return false;
    }
    for (size_t i = 0; i < plan->publishers; i++) {
        struct bench_sender *sender = &bench->senders[i];

        sender->bench = bench;
        sender->link = &bench->links.list[i];
        sender->next_topic = i % plan->topics;
        if (!slots_init(sender, plan->window)) {
            return false;
        }
    }
    return true;
}

void
bench_senders_fini(struct bench *bench)
{
    for (size_t i = 0; bench->senders != NULL && i < bench->plan->publishers;
         i++) {
        free(bench->senders[i].slots);
    }
    free(bench->senders);
    bench->senders = NULL;
}
