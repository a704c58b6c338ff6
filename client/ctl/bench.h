/* SPDX-License-Identifier: MIT
 *
 * What the parts of `brokerctl bench` share: the connections, who publishes and
 * who receives on them, and what was counted. Private to bench_*.c; cmd_bench.c
 * and the report see what was counted.
 *
 * One thread and one loop do everything: send what is due, then let the
 * connections work. A run is a warm-up and a measurement, two phases of the
 * same kind. A phase subscribes, sends, waits until the broker has answered
 * everything, and ends its subscriptions when all that was queued for them has
 * come: so every message belongs to one phase, and its books can be closed.
 *
 *     bench_run.c      the phases of a run, and what ends them
 *     bench_prepare.c  topics, payload, sizes
 *     bench_send.c     publishers and requesters: schedule, window, answers
 *     bench_receive.c  subscribers and responders
 *     bench_books.c    is everything accounted for?
 */
#ifndef BROKERCTL_BENCH_H
#define BROKERCTL_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bench_plan.h"
#include "histogram.h"
#include "links.h"

/* What one phase has seen. "Message" is a request in the mode request. */
struct bench_counts {
    uint64_t start_ns;      /* 0: nothing was measured */
    uint64_t sent_ns;       /* when the last one was answered, or flushed */
    uint64_t arrived_ns;    /* when the last one came */
    uint64_t published;     /* messages handed to the library */
    uint64_t acknowledged;  /* of these: accepted by the broker */
    uint64_t refused;       /* of these: refused by the broker */
    uint64_t failed;        /* requests that got no answer, for other reasons */
    uint64_t unsent;        /* due, but not sent when the time was over */
    uint64_t matched;       /* subscriptions, as acknowledgements say */
    uint64_t queue_refused; /* of these: had no room */
    uint64_t delivered;     /* messages that came; answers to requests */
    uint64_t delivered_bytes;
    uint64_t lost, gaps;
    int64_t difference;           /* expected and neither delivered nor lost */
    double cpu_s;                 /* that this process has used */
    struct histogram latency;     /* from due to delivered or answered */
    struct histogram ack_latency; /* from due to acknowledged */
    struct histogram late;        /* from due to sent */
};

/* A message in flight that the broker will answer. */
struct bench_slot {
    struct bench_sender *sender;
    struct bench_slot *next; /* of those that are free */
    uint64_t due_ns;
};

/* One connection that publishes or asks. */
struct bench_sender {
    struct bench *bench;
    struct link *link;
    struct bench_slot *slots, *free_slots;
    size_t next_topic;
    uint64_t errors_before; /* link->errors when the phase began */
    bool full;    /* the library's buffer is, until the connection worked */
    bool flushed; /* without acknowledgements: all is with the broker */
};

/* One connection that receives or answers. The books are of one phase. */
struct bench_receiver {
    struct bench *bench;
    struct link *link;
    uint32_t subscription;
    uint64_t received, lost;
    uint64_t broker_matched; /* what the broker says of the two */
};

/* What the last line of progress has told. */
struct bench_progress {
    uint64_t next_ns;  /* when to tell more; LINK_NEVER: never */
    uint64_t since_ns; /* of the last line; 0: there was none */
    uint64_t published, delivered;
};

struct bench {
    const struct bench_plan *plan;
    const struct invocation *invocation;
    struct links links; /* senders first, then receivers */
    struct bench_sender *senders;
    struct bench_receiver *receivers;
    char *filter;
    char **topics;
    uint8_t *payload;
    uint32_t machine;

    /* The phase. */
    bool warmup;
    bool foreign_clock;   /* stamps of another machine were seen */
    uint64_t stop_ns;     /* sending ends */
    uint64_t limit;       /* messages to send or to receive; 0: no limit */
    uint64_t next_due_ns; /* nothing is to be sent before */
    size_t next_sender;
    uint64_t arrived;  /* received and lost, by all receivers */
    size_t unanswered; /* SUBSCRIBE, UNSUBSCRIBE and flushes in flight */
    uint64_t progress; /* grows with all that the broker does but `arrived` */
    uint64_t progress_ns; /* when either has grown last */

    bool shows_progress;
    struct bench_progress shown;
    enum ctl_exit broken; /* a connection has ended, or sending failed; or OK */
    enum ctl_exit refusal; /* the first thing that was refused; or OK */
    uint64_t said;         /* refusals, one by one */
    bool timed_out;        /* the broker was silent for too long */

    struct bench_counts counts;
};

/* ---- bench_run.c --------------------------------------------------------- */

/* Open, warm up, measure, close. CTL_EXIT_OK or what went wrong, which was
 * said; bench->counts has what was measured either way. *complete: the run was
 * neither interrupted nor cut short. */
enum ctl_exit bench_run(struct bench *bench, bool *complete);

/* Was something refused? Keep its exit code, and say the first few. */
void bench_refused(
    struct bench *bench, enum broker_status status, const char *text);

/* ---- bench_prepare.c ----------------------------------------------------- */

/* Make topics, filter and payload. False: out of memory; bench_release() is due
 * in any case. It frees senders and receivers as well. */
bool bench_prepare(struct bench *bench);
void bench_release(struct bench *bench);

/* How much a connection may hold for the broker. */
size_t bench_buffer_bytes(const struct bench_plan *plan);

/* ---- bench_send.c -------------------------------------------------------- */

/* Memory of the senders, once the links are open. False: none. */
bool bench_senders_init(struct bench *bench);
void bench_senders_fini(struct bench *bench);

/* A phase begins, at bench->counts.start_ns. */
void bench_send_begin(struct bench *bench);

/* Send what is due, as far as there is room; not more than keeps one turn
 * short. *waits: it makes no sense to call it again before something came from
 * the broker, or bench->next_due_ns. CTL_EXIT_OK, or said. */
enum ctl_exit bench_send(struct bench *bench, bool *waits);

/* Is everything sent that this phase will send? */
bool bench_send_is_over(const struct bench *bench);

/* Nothing is sent any more: count what should have been. */
void bench_send_end(struct bench *bench);

/* Ask the broker to confirm everything; done when bench_send_is_settled(). */
enum ctl_exit bench_send_flush(struct bench *bench);
bool bench_send_is_settled(const struct bench *bench);

/* ---- bench_receive.c ----------------------------------------------------- */

bool bench_receivers_init(struct bench *bench);
void bench_receivers_fini(struct bench *bench);

/* Subscribe all; done when bench->unanswered is 0. */
enum ctl_exit bench_receive_begin(struct bench *bench);

/* Unsubscribe all, with what is queued; done when bench->unanswered is 0. */
enum ctl_exit bench_receive_end(struct bench *bench);

/* For the links of receivers. */
void bench_gap_cb(struct broker_client *client,
    const struct broker_client_gap *gap, void *user);

/* ---- bench_books.c ------------------------------------------------------- */

/* After a phase that ended in an orderly way: compare what was sent, what the
 * broker says and what came; set counts.difference. CTL_EXIT_OK, or
 * CTL_EXIT_UNACCOUNTED, and it was said what does not fit. */
enum ctl_exit bench_books_check(struct bench *bench);

#endif
