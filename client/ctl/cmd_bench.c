/* SPDX-License-Identifier: MIT
 *
 * brokerctl bench MODE: throughput and latency through a broker. This only
 * brings together what is asked for (bench_plan.h), what is done (bench.h) and
 * what is shown (bench_report.h).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench_report.h"
#include "cmd.h"
#include "say.h"

#define OUTPUT_MODE 0666

/* Where the figures go besides standard output. */
struct target {
    const char *file; /* NULL: nowhere */
    int fd;
};

/* Opened before the run, so that nobody waits for figures that then cannot be
 * kept; emptied only when there are new ones. */
static enum ctl_exit
target_open(struct target *target, const char *file)
{
    *target = (struct target){.file = file, .fd = -1};
    if (file == NULL) {
        return CTL_EXIT_OK;
    }
    target->fd = open(file, O_WRONLY | O_CREAT | O_CLOEXEC, OUTPUT_MODE);
    if (target->fd < 0) {
        say("bench: cannot write --output %s: %s", file, strerror(errno));
        return CTL_EXIT_OUTPUT;
    }
    return CTL_EXIT_OK;
}

static enum ctl_exit
target_write(struct target *target, const struct bench_report *report,
    enum bench_shape shape)
{
    struct out out;
    int failed;
    bool ok;

    /* A pipe or a terminal cannot be emptied, and needs not be. */
    (void)ftruncate(target->fd, 0);
    out_init(&out, target->fd);
    ok = bench_report_print(&out, report, shape);
    out_flush(&out);
    failed = ok ? out_failed(&out) : ENOMEM;
    out_fini(&out);
    if (failed == 0) {
        return CTL_EXIT_OK;
    }
    say("bench: cannot write --output %s: %s", target->file, strerror(failed));
    return CTL_EXIT_OUTPUT;
}

static void
target_close(struct target *target)
{
    if (target->fd >= 0) {
        (void)close(target->fd);
    }
}

static enum bench_shape
wanted_shape(const struct bench_settings *settings)
{
    if (settings->json) {
        return BENCH_JSON;
    }
    return settings->csv ? BENCH_CSV : BENCH_TABLE;
}

static enum ctl_exit
show(const struct invocation *invocation, const struct bench_report *report,
    struct target *target)
{
    const enum bench_shape shape = wanted_shape(invocation->settings);
    enum ctl_exit code = CTL_EXIT_OK;

    if (target->file != NULL) {
        code = target_write(target, report, shape);
    }
    if (!bench_report_print(invocation->out, report,
            target->file != NULL ? BENCH_TABLE : shape)) {
        say("bench: out of memory");
        return CTL_EXIT_FAILED;
    }
    return code;
}

static enum ctl_exit
run_plan(const struct invocation *invocation, const struct bench_plan *plan,
    const struct bench_earlier *earlier, struct target *target)
{
    const struct bench_settings *settings = invocation->settings;
    struct bench_report report = {.plan = plan, .earlier = earlier};
    struct bench *bench = calloc(1, sizeof *bench);
    enum ctl_exit code, shown = CTL_EXIT_OK;

    if (bench == NULL) {
        say("bench: out of memory");
        return CTL_EXIT_FAILED;
    }
    bench->plan = plan;
    bench->invocation = invocation;
    bench->shows_progress =
        settings->progress || (!settings->quiet && isatty(STDERR_FILENO) == 1);
    code = bench_run(bench, &report.complete);
    /* What failed before anything was measured has no figures. */
    if (code == CTL_EXIT_OK || bench->counts.published > 0 ||
        bench->counts.delivered > 0) {
        bench_figures_make(&report.figures, bench);
        report.foreign_clock = bench->foreign_clock;
        shown = show(invocation, &report, target);
    }
    free(bench);
    return shown != CTL_EXIT_OK ? shown : code;
}

static enum ctl_exit
open_and_run(const struct invocation *invocation, const struct bench_plan *plan,
    const struct bench_earlier *earlier)
{
    const struct bench_settings *settings = invocation->settings;
    struct target target;
    enum ctl_exit code = target_open(&target, settings->output);

    if (code == CTL_EXIT_OK) {
        code = run_plan(invocation, plan, earlier, &target);
        target_close(&target);
    }
    return code;
}

static enum ctl_exit
run(const struct invocation *invocation)
{
    const struct bench_settings *settings = invocation->settings;
    struct bench_earlier earlier;
    struct bench_plan plan;
    enum ctl_exit code =
        bench_plan_make(&plan, settings, invocation->arguments[0]);

    if (code != CTL_EXIT_OK) {
        return code;
    }
    if (settings->against == NULL) {
        return open_and_run(invocation, &plan, NULL);
    }
    code = bench_earlier_read(&earlier, settings->against);
    if (code == CTL_EXIT_OK) {
        code = open_and_run(invocation, &plan, &earlier);
        bench_earlier_fini(&earlier);
    }
    return code;
}

const struct command cmd_bench = {
    .name = "bench",
    .summary = "Measure throughput and latency",
    .arguments = "pub | sub | both | fanout | request",
    .details =
        "pub publishes, sub receives (beside another bench pub), both does "
        "both; fanout\n"
        "has one publisher and many subscribers, request asks and answers. "
        "With --rate,\n"
        "latency counts from when a message should have been sent; without, "
        "it is mostly\n"
        "the wait in full queues. Everything sent must have come or be "
        "reported lost:\n"
        "else the exit code is 8. SIGINT ends it with what was measured.\n",
    .min_arguments = 1,
    .max_arguments = 1,
    .options = bench_options,
    .settings_bytes = sizeof(struct bench_settings),
    .defaults = &bench_defaults,
    .exits = CTL_EXIT_BITS_CONNECTED | CTL_EXIT_BIT(GAP) |
             CTL_EXIT_BIT(TIMEOUT) | CTL_EXIT_BIT(QUEUE_REFUSED) |
             CTL_EXIT_BIT(UNACCOUNTED) | CTL_EXIT_BIT(NO_SUBSCRIBERS) |
             CTL_EXIT_BIT(DATA) | CTL_EXIT_BIT(NO_INPUT),
    .run = run,
};
