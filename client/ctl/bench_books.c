/* SPDX-License-Identifier: MIT
 *
 * Is everything accounted for? Three parties have counted a phase: the senders
 * (and what the broker acknowledged to them), the receivers, and the broker in
 * the books of each subscription. What one of them knows must be what the
 * others know.
 */
#include "bench.h"

#include <inttypes.h>

#include "say.h"

struct sums {
    uint64_t accepted; /* messages that the broker took */
    uint64_t expected; /* deliveries that these make */
    uint64_t arrived;  /* received or reported missing */
    uint64_t matched;  /* what the broker's books say of the subscriptions */
};

static struct sums
sum_up(const struct bench *bench)
{
    const struct bench_counts *counts = &bench->counts;
    struct sums sums = {0};

    for (size_t i = 0; i < bench->plan->subscribers; i++) {
        sums.arrived += bench->receivers[i].received + bench->receivers[i].lost;
        sums.matched += bench->receivers[i].broker_matched;
    }
    if (bench_mode_publishes(bench->plan->mode)) {
        sums.accepted = counts->published - counts->refused;
        sums.expected = sums.accepted * bench_plan_receivers(bench->plan);
    } else {
        sums.expected = sums.matched;
    }
    return sums;
}

static enum ctl_exit
compare(uint64_t expected, uint64_t found, const char *expected_text,
    const char *found_text)
{
    if (expected == found) {
        return CTL_EXIT_OK;
    }
    say("bench: %s make %" PRIu64 " deliveries, but %s %" PRIu64
        ": this is an error of the broker, report it",
        expected_text, expected, found_text, found);
    return CTL_EXIT_UNACCOUNTED;
}

/* Others may have subscribed to our topics, so the acknowledgements may speak
 * of more subscriptions than ours. */
static enum ctl_exit
check_acknowledged(const struct bench *bench, const struct sums *sums)
{
    const struct bench_plan *plan = bench->plan;
    const uint64_t matched = bench->counts.matched;

    if (!plan->acknowledged || plan->mode == BENCH_REQUEST ||
        matched == sums->expected) {
        return CTL_EXIT_OK;
    }
    if (matched < sums->expected) {
        return compare(sums->expected, matched, "the messages sent",
            "acknowledgements tell of");
    }
    say("bench: somebody else is subscribed to %s/#: %" PRIu64
        " deliveries are not ours",
        plan->prefix, matched - sums->expected);
    return CTL_EXIT_OK;
}

enum ctl_exit
bench_books_check(struct bench *bench)
{
    const struct sums sums = sum_up(bench);
    enum ctl_exit code, other;

    if (!bench_mode_subscribes(bench->plan->mode)) {
        return CTL_EXIT_OK;
    }
    bench->counts.difference = (int64_t)(sums.expected - sums.arrived);
    code = compare(sums.expected, sums.arrived,
        bench_mode_publishes(bench->plan->mode) ? "the messages sent"
                                                : "the broker's books",
        "what came and what gaps report is");
    if (sums.matched != sums.expected) {
        other = compare(sums.expected, sums.matched, "the messages sent",
            "the broker's books have");
        code = code != CTL_EXIT_OK ? code : other;
    }
    other = check_acknowledged(bench, &sums);
    return code != CTL_EXIT_OK ? code : other;
}
