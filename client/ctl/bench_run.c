/* SPDX-License-Identifier: MIT
 *
 * A run of `brokerctl bench` from the first connection to the last: see
 * bench.h.
 */
#include "bench.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "duration.h"
#include "say.h"
#include "signals.h"

#define NS_PER_S UINT64_C(1000000000)
#define SAID_MAX 5u

/* ---- one turn ------------------------------------------------------------ */

static double
cpu_seconds(void)
{
    struct rusage usage;

    if (getrusage(RUSAGE_SELF, &usage) != 0) {
        return 0.0;
    }
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static void
begin_progress(struct bench *bench)
{
    if (bench->shows_progress) {
        bench->shown = (struct bench_progress){.since_ns = link_now_ns()};
        bench->shown.next_ns = bench->shown.since_ns + NS_PER_S;
    } else {
        bench->shown.next_ns = LINK_NEVER;
    }
}

/* A line about the last second. */
static void
show_progress(struct bench *bench, uint64_t now_ns)
{
    struct bench_progress *shown = &bench->shown;
    const struct bench_counts *counts = &bench->counts;
    const double seconds = (double)(now_ns - shown->since_ns) / 1e9;
    const double sent =
        (double)(counts->published - shown->published) / seconds;
    const double came =
        (double)(counts->delivered - shown->delivered) / seconds;
    const char *what = bench->warmup ? "warm-up" : "measuring";

    if (bench->plan->mode == BENCH_PUB) {
        say("%s: published %.0f/s", what, sent);
    } else if (bench->plan->mode == BENCH_SUB) {
        say("%s: delivered %.0f/s, lost %" PRIu64, what, came, counts->lost);
    } else {
        say("%s: published %.0f/s, delivered %.0f/s, lost %" PRIu64, what, sent,
            came, counts->lost);
    }
    *shown = (struct bench_progress){
        .next_ns = now_ns + NS_PER_S,
        .since_ns = now_ns,
        .published = counts->published,
        .delivered = counts->delivered,
    };
}

/* Let the connections work, until something happened or the deadline. */
static enum ctl_exit
turn(struct bench *bench, uint64_t deadline_ns)
{
    const uint64_t delivered = bench->counts.delivered;
    const uint64_t done = bench->progress + bench->arrived;
    uint64_t now_ns;
    enum ctl_exit code;

    if (bench->shown.next_ns < deadline_ns) {
        deadline_ns = bench->shown.next_ns;
    }
    code = links_turn(&bench->links, deadline_ns);
    now_ns = link_now_ns();
    if (bench->counts.delivered != delivered) {
        bench->counts.arrived_ns = now_ns;
    }
    if (bench->progress + bench->arrived != done) {
        bench->progress_ns = now_ns;
    }
    if (now_ns >= bench->shown.next_ns) {
        show_progress(bench, now_ns);
    }
    bench->broken = code;
    return code;
}

/* When the broker has been silent for too long. */
static uint64_t
silence_ns(const struct bench *bench)
{
    return bench->plan->timeout_ns == 0
               ? LINK_NEVER
               : bench->progress_ns + bench->plan->timeout_ns;
}

static enum ctl_exit
say_silence(struct bench *bench, const char *what)
{
    char limit[DURATION_TEXT_MAX];

    say("bench: %s did not come for %s: is the broker too busy? Allow more "
        "time with --timeout",
        what, duration_format(bench->plan->timeout_ns, limit, sizeof limit));
    bench->timed_out = true;
    return CTL_EXIT_TIMEOUT;
}

/* Let the connections work until `is_done`. */
static enum ctl_exit
await(struct bench *bench, bool (*is_done)(const struct bench *bench),
    const char *what)
{
    bench->progress_ns = link_now_ns();
    while (!is_done(bench)) {
        const enum ctl_exit code = turn(bench, silence_ns(bench));

        if (code != CTL_EXIT_OK) {
            return code;
        }
        if (link_left_ms(silence_ns(bench)) == 0 && !is_done(bench)) {
            return say_silence(bench, what);
        }
    }
    return CTL_EXIT_OK;
}

static bool
all_answered(const struct bench *bench)
{
    return bench->unanswered == 0;
}

void
bench_refused(struct bench *bench, enum broker_status status, const char *text)
{
    char line[LINK_TEXT_MAX];

    if (bench->refusal == CTL_EXIT_OK) {
        bench->refusal = link_exit_code(status);
    }
    if (bench->said++ < SAID_MAX) {
        say("bench: %s%s", link_text(status, text, line, sizeof line),
            bench->said == SAID_MAX ? " (further refusals are only counted)"
                                    : "");
    }
}

/* ---- a phase ------------------------------------------------------------- */

/* Send until it is over, or there is no use in going on. */
static enum ctl_exit
send_all(struct bench *bench)
{
    bench_send_begin(bench);
    bench->progress_ns = link_now_ns();
    while (!bench_send_is_over(bench) && !signals_stop_wanted()) {
        const uint64_t published = bench->counts.published;
        uint64_t deadline_ns = 0;
        bool waits;
        enum ctl_exit code = bench_send(bench, &waits);

        if (code != CTL_EXIT_OK) {
            bench->broken = code;
            return code;
        }
        if (bench->counts.published != published ||
            bench->next_due_ns != LINK_NEVER) {
            bench->progress_ns = link_now_ns();
        }
        if (waits) {
            deadline_ns = bench->next_due_ns < silence_ns(bench)
                              ? bench->next_due_ns
                              : silence_ns(bench);
            deadline_ns =
                deadline_ns < bench->stop_ns ? deadline_ns : bench->stop_ns;
        }
        code = turn(bench, deadline_ns);
        if (code != CTL_EXIT_OK) {
            return code;
        }
        if (link_left_ms(silence_ns(bench)) == 0) {
            return say_silence(bench, "an answer");
        }
    }
    return CTL_EXIT_OK;
}

/* The mode sub: until it is over. */
static enum ctl_exit
receive_all(struct bench *bench)
{
    const struct bench_plan *plan = bench->plan;
    const struct bench_counts *counts = &bench->counts;

    bench->limit = bench->warmup ? 0 : plan->count;
    while (!signals_stop_wanted()) {
        const uint64_t time_ns =
            bench->warmup ? plan->warmup_ns : plan->duration_ns;
        uint64_t stop_ns = LINK_NEVER;
        enum ctl_exit code;

        if (counts->start_ns != 0 && time_ns != 0) {
            stop_ns = counts->start_ns + time_ns;
        }
        if (link_left_ms(stop_ns) == 0 ||
            (bench->limit != 0 && counts->delivered >= bench->limit)) {
            break;
        }
        code = turn(bench, stop_ns);
        if (code != CTL_EXIT_OK) {
            return code;
        }
    }
    return CTL_EXIT_OK;
}

/* Without acknowledgements, what is refused is known from the links only. */
static void
add_errors(struct bench *bench)
{
    struct bench_counts *counts = &bench->counts;

    for (size_t i = 0; i < bench->plan->publishers; i++) {
        const struct bench_sender *sender = &bench->senders[i];
        const uint64_t errors = sender->link->errors - sender->errors_before;

        if (errors > 0 && bench->refusal == CTL_EXIT_OK) {
            bench->refusal = link_exit_code(sender->link->error);
        }
        counts->refused += errors;
    }
}

/* Everything is sent: wait for the answers. */
static enum ctl_exit
settle(struct bench *bench)
{
    enum ctl_exit code = bench_send_flush(bench);

    if (code == CTL_EXIT_OK) {
        code = await(bench, bench_send_is_settled, "an answer");
    }
    bench->counts.sent_ns = link_now_ns();
    if (!bench->plan->acknowledged) {
        add_errors(bench);
    }
    return code;
}

static enum ctl_exit
send_and_settle(struct bench *bench)
{
    enum ctl_exit code;

    bench->counts.start_ns = link_now_ns();
    code = send_all(bench);
    bench_send_end(bench);
    return bench->broken == CTL_EXIT_OK ? settle(bench) : code;
}

static enum ctl_exit
subscribe_all(struct bench *bench)
{
    enum ctl_exit code = bench_receive_begin(bench);

    if (code == CTL_EXIT_OK) {
        code = await(bench, all_answered, "the answer to a subscription");
    }
    if (code != CTL_EXIT_OK) {
        return code;
    }
    for (size_t i = 0; i < bench->plan->subscribers; i++) {
        if (bench->receivers[i].subscription == 0) {
            return bench->refusal;
        }
    }
    if (bench->plan->subscribers > 0 && bench->invocation->common->verbose) {
        say("subscribed %s", bench->filter);
    }
    return CTL_EXIT_OK;
}

/* What is queued for the subscriptions comes first. */
static enum ctl_exit
unsubscribe_all(struct bench *bench)
{
    enum ctl_exit code = bench_receive_end(bench);

    if (code == CTL_EXIT_OK) {
        code = await(bench, all_answered, "the end of a subscription");
    }
    return code;
}

static enum ctl_exit
phase_subscribed(struct bench *bench)
{
    const double cpu_s = cpu_seconds();
    enum ctl_exit code;

    begin_progress(bench);
    code = bench->plan->mode == BENCH_SUB ? receive_all(bench)
                                          : send_and_settle(bench);
    if (code == CTL_EXIT_OK) {
        code = unsubscribe_all(bench);
    }
    bench->counts.cpu_s = cpu_seconds() - cpu_s;
    return code == CTL_EXIT_OK ? bench_books_check(bench) : code;
}

/* One phase. Anything but CTL_EXIT_OK: there should be no other after it. */
static enum ctl_exit
phase(struct bench *bench, bool warmup)
{
    enum ctl_exit code;

    memset(&bench->counts, 0, sizeof bench->counts);
    bench->warmup = warmup;
    bench->arrived = 0;
    bench->shown.next_ns = LINK_NEVER;
    code = subscribe_all(bench);
    return code == CTL_EXIT_OK ? phase_subscribed(bench) : code;
}

/* ---- the run ------------------------------------------------------------- */

/* After a warm-up like this, is there something to measure? */
static bool
may_go_on(const struct bench *bench)
{
    const struct bench_counts *counts = &bench->counts;
    const uint64_t bad = counts->refused + counts->failed;

    return !signals_stop_wanted() && !bench->timed_out &&
           (bad == 0 || bad < counts->published);
}

static enum ctl_exit
both_phases(struct bench *bench)
{
    if (bench->plan->warmup_ns > 0) {
        const enum ctl_exit code = phase(bench, true);

        if (code != CTL_EXIT_OK || !may_go_on(bench)) {
            memset(&bench->counts, 0, sizeof bench->counts);
            return code;
        }
    }
    return phase(bench, false);
}

/* What all of it makes; `code` is what ended the phases. */
static enum ctl_exit
verdict(const struct bench *bench, enum ctl_exit code)
{
    if (code != CTL_EXIT_OK && code != CTL_EXIT_TIMEOUT) {
        return code;
    }
    if (bench->refusal != CTL_EXIT_OK) {
        return bench->refusal;
    }
    if (bench->counts.lost > 0) {
        return CTL_EXIT_GAP;
    }
    if (bench->timed_out) {
        return CTL_EXIT_TIMEOUT;
    }
    return bench->counts.queue_refused > 0 ? CTL_EXIT_QUEUE_REFUSED
                                           : CTL_EXIT_OK;
}

static enum ctl_exit
run_connected(struct bench *bench, bool *complete)
{
    enum ctl_exit code;

    if (!bench_senders_init(bench) || !bench_receivers_init(bench)) {
        say("bench: out of memory");
        return CTL_EXIT_FAILED;
    }
    code = both_phases(bench);
    *complete = code == CTL_EXIT_OK && !bench->timed_out &&
                !signals_stop_wanted() && bench->counts.start_ns != 0;
    return verdict(bench, code);
}

static enum ctl_exit
open_and_run(struct bench *bench, bool *complete)
{
    const struct bench_plan *plan = bench->plan;
    const struct link_options options = {
        .timeout_ns = plan->timeout_ns,
        .on_gap = bench_gap_cb,
        .buffer_bytes = bench_buffer_bytes(plan),
        .said_max = SAID_MAX,
    };
    enum ctl_exit code = links_open(&bench->links, bench->invocation, &options,
        plan->publishers + plan->subscribers);

    if (code != CTL_EXIT_OK) {
        return code;
    }
    code = run_connected(bench, complete);
    if (bench->broken == CTL_EXIT_OK && !bench->timed_out) {
        links_leave(&bench->links);
    } else {
        links_drop(&bench->links);
    }
    return code;
}

enum ctl_exit
bench_run(struct bench *bench, bool *complete)
{
    enum ctl_exit code = CTL_EXIT_FAILED;

    *complete = false;
    if (!bench_prepare(bench)) {
        say("bench: out of memory");
    } else if (!signals_open()) {
        say("bench: cannot catch signals: %s", strerror(errno));
    } else {
        if (bench->plan->rate != 0) {
            /* The kernel may wake a process up late to save power: not here. */
            (void)prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);
        }
        code = open_and_run(bench, complete);
        signals_close();
    }
    bench_release(bench);
    return code;
}
