/* SPDX-License-Identifier: MIT
 *
 * The receiving side of `brokerctl bench`: see bench.h.
 *
 * Everything that comes is booked, so that the books can be compared with the
 * broker's; what belongs to the measurement is counted as well.
 */
#include "bench.h"

#include <stdlib.h>

#include "bench_stamp.h"

/* ---- messages ------------------------------------------------------------ */

static void
record_latency(struct bench *bench, const struct bench_stamp *stamp)
{
    uint64_t now_ns;

    if (stamp->machine != bench->machine) {
        bench->foreign_clock = true;
        return;
    }
    now_ns = link_now_ns();
    histogram_record(&bench->counts.latency,
        now_ns > stamp->due_ns ? now_ns - stamp->due_ns : 0);
}

/* In the mode sub a measurement begins with its first message, and a publisher
 * elsewhere says of its messages whether they are meant to be measured. */
static bool
belongs(struct bench *bench, bool stamped, const struct bench_stamp *stamp)
{
    if (bench->plan->mode != BENCH_SUB) {
        return true;
    }
    if (stamped && stamp->warmup) {
        return false;
    }
    if (bench->limit != 0 && bench->counts.delivered >= bench->limit) {
        return false;
    }
    if (bench->counts.start_ns == 0) {
        bench->counts.start_ns = link_now_ns();
    }
    return true;
}

static void
message_cb(struct broker_client *client, const struct broker_message *message,
    void *user)
{
    struct bench_receiver *receiver = user;
    struct bench *bench = receiver->bench;
    struct bench_stamp stamp;
    bool stamped;

    (void)client;
    receiver->received++;
    bench->arrived++;
    stamped =
        bench_stamp_read(message->payload.data, message->payload.len, &stamp);
    if (!belongs(bench, stamped, &stamp)) {
        return;
    }
    bench->counts.delivered++;
    bench->counts.delivered_bytes += message->payload.len;
    if (stamped && bench->plan->latency) {
        record_latency(bench, &stamp);
    }
}

/* The answer is the question. */
static void
request_cb(struct broker_client *client, const struct broker_message *message,
    void *user)
{
    struct bench_receiver *receiver = user;
    enum broker_status status;

    receiver->received++;
    receiver->bench->arrived++;
    status = broker_client_reply(
        client, message, message->payload.data, message->payload.len);
    if (status != BROKER_OK) {
        bench_refused(receiver->bench, status, NULL);
    }
}

void
bench_gap_cb(struct broker_client *client, const struct broker_client_gap *gap,
    void *user)
{
    struct bench_receiver *receiver = user;
    struct bench *bench;

    (void)client;
    if (receiver == NULL) {
        return;
    }
    bench = receiver->bench;
    receiver->lost += gap->count;
    bench->arrived += gap->count;
    bench->progress++;
    bench->counts.lost += gap->count;
    bench->counts.gaps++;
}

/* ---- subscriptions ------------------------------------------------------- */

static void
subscribed_cb(struct broker_client *client,
    const struct broker_client_subscribed *subscribed, void *user)
{
    struct bench_receiver *receiver = user;
    struct bench *bench = receiver->bench;

    (void)client;
    if (receiver->link->leaving) {
        return; /* nobody waits for it any more */
    }
    bench->unanswered--;
    bench->progress++;
    if (subscribed->status != BROKER_OK) {
        receiver->subscription = 0;
        bench_refused(bench, subscribed->status, subscribed->text);
    }
}

static void
unsubscribed_cb(struct broker_client *client,
    const struct broker_client_unsubscribed *books, void *user)
{
    struct bench_receiver *receiver = user;

    (void)client;
    receiver->bench->unanswered--;
    receiver->bench->progress++;
    receiver->broker_matched = books->matched;
    receiver->subscription = 0;
}

static enum ctl_exit
subscribe(struct bench_receiver *receiver)
{
    const struct bench *bench = receiver->bench;
    const struct bench_plan *plan = bench->plan;
    const struct broker_client_subscription subscription = {
        .filter = bench->filter,
        .group = plan->group,
        .overflow = plan->overflow,
        .no_retained = true,
        .on_message = plan->mode == BENCH_REQUEST ? request_cb : message_cb,
        .on_subscribed = subscribed_cb,
        .user = receiver,
    };
    const enum broker_status status = broker_client_subscribe(
        receiver->link->client, &subscription, &receiver->subscription);

    return status == BROKER_OK
               ? CTL_EXIT_OK
               : link_failure_of(receiver->link, bench->filter, status);
}

enum ctl_exit
bench_receive_begin(struct bench *bench)
{
    for (size_t i = 0; i < bench->plan->subscribers; i++) {
        struct bench_receiver *receiver = &bench->receivers[i];
        enum ctl_exit code;

        receiver->received = receiver->lost = receiver->broker_matched = 0;
        code = subscribe(receiver);
        if (code != CTL_EXIT_OK) {
            return code;
        }
        bench->unanswered++;
    }
    return CTL_EXIT_OK;
}

enum ctl_exit
bench_receive_end(struct bench *bench)
{
    for (size_t i = 0; i < bench->plan->subscribers; i++) {
        struct bench_receiver *receiver = &bench->receivers[i];
        enum broker_status status;

        if (receiver->subscription == 0) {
            continue;
        }
        status = broker_client_unsubscribe(receiver->link->client,
            receiver->subscription, true, unsubscribed_cb, receiver);
        if (status != BROKER_OK) {
            return link_failure_of(receiver->link, bench->filter, status);
        }
        bench->unanswered++;
    }
    return CTL_EXIT_OK;
}

/* ---- memory -------------------------------------------------------------- */

bool
bench_receivers_init(struct bench *bench)
{
    const struct bench_plan *plan = bench->plan;

    bench->receivers =
        calloc(plan->subscribers + 1, sizeof bench->receivers[0]);
    if (bench->receivers == NULL) {
        return false;
    }
    for (size_t i = 0; i < plan->subscribers; i++) {
        struct bench_receiver *receiver = &bench->receivers[i];

        receiver->bench = bench;
        receiver->link = &bench->links.list[plan->publishers + i];
        receiver->link->user = receiver;
    }
    return true;
}

void
bench_receivers_fini(struct bench *bench)
{
    free(bench->receivers);
    bench->receivers = NULL;
}
