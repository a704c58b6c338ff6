/* SPDX-License-Identifier: MIT
 *
 * A run of `brokerctl bench` as a JSON object; see bench_report.h. Its keys are
 * in the manual page and do not change.
 */
#include "bench_report.h"

#include <math.h>
#include <time.h>

static json_t *
text_or_null(const char *text)
{
    return text != NULL ? json_string(text) : json_null();
}

/* 0 stands for "no limit", "not paced" and the like. */
static json_t *
number_or_null(uint64_t number)
{
    return number != 0 ? json_integer((json_int_t)number) : json_null();
}

static json_t *
seconds_or_null(uint64_t ns)
{
    return ns != 0 ? json_real((double)ns / 1e9) : json_null();
}

static const char *
overflow_name(enum broker_overflow overflow)
{
    switch (overflow) {
    case BROKER_OVERFLOW_DROP_OLDEST:
        return "drop-oldest";
    case BROKER_OVERFLOW_DROP_NEWEST:
        return "drop-newest";
    case BROKER_OVERFLOW_CONFLATE:
        return "conflate";
    case BROKER_OVERFLOW_DISCONNECT:
        return "disconnect";
    default:
        return NULL;
    }
}

static json_t *
make_settings(const struct bench_plan *plan)
{
    const bool publishes = bench_mode_publishes(plan->mode);

    return json_pack("{s:s, s:o, s:o, s:o, s:f, s:o, s:I, s:I, s:o, s:o, s:o, "
                     "s:o, s:o, s:s, s:b}",
        "mode", bench_mode_name(plan->mode), "payload_bytes",
        publishes ? json_integer((json_int_t)plan->payload_bytes) : json_null(),
        "count", number_or_null(plan->count), "duration_s",
        seconds_or_null(plan->duration_ns), "warmup_s",
        (double)plan->warmup_ns / 1e9, "rate", number_or_null(plan->rate),
        "publishers", (json_int_t)plan->publishers, "subscribers",
        (json_int_t)plan->subscribers, "topics", number_or_null(plan->topics),
        "acknowledge",
        publishes ? json_boolean(plan->acknowledged) : json_null(), "window",
        number_or_null(plan->window), "group", text_or_null(plan->group),
        "overflow", text_or_null(overflow_name(plan->overflow)), "prefix",
        plan->prefix, "latency", (int)plan->latency);
}

static json_t *
figure_value(enum bench_unit unit, double value)
{
    if (!isfinite(value)) {
        return json_null();
    }
    if (unit == BENCH_UNIT_COUNT || unit == BENCH_UNIT_NANOSECONDS) {
        return json_integer((json_int_t)value);
    }
    return json_real(value);
}

static json_t *
make_figures(const struct bench_figures *figures)
{
    json_t *object = json_object();

    for (size_t i = 0; i < BENCH_FIGURE_COUNT; i++) {
        const struct bench_figure_spec *spec = &bench_figure_specs[i];

        if (json_object_set_new(object, spec->key,
                figure_value(spec->unit, figures->value[i])) != 0) {
            json_decref(object);
            return NULL;
        }
    }
    return object;
}

/* now / before for every figure where that is a number. */
static json_t *
make_ratios(const struct bench_figures *now, const struct bench_figures *before)
{
    json_t *object = json_object();

    for (size_t i = 0; i < BENCH_FIGURE_COUNT; i++) {
        if (json_object_set_new(object, bench_figure_specs[i].key,
                figure_value(BENCH_UNIT_PER_SECOND,
                    now->value[i] / before->value[i])) != 0) {
            json_decref(object);
            return NULL;
        }
    }
    return object;
}

static bool
add_comparison(json_t *run, const struct bench_report *report)
{
    const struct bench_earlier *earlier = report->earlier;
    json_t *against;

    if (earlier == NULL) {
        return true;
    }
    against = json_pack("{s:s, s:o, s:o}", "file", earlier->file, "figures",
        make_figures(&earlier->figures), "ratios",
        make_ratios(&report->figures, &earlier->figures));
    return json_object_set_new(run, "against", against) == 0;
}

json_t *
bench_json_make(const struct bench_report *report)
{
    const time_t now = time(NULL);
    char ended[32] = "";
    struct tm parts;
    json_t *run;

    if (gmtime_r(&now, &parts) != NULL) {
        (void)strftime(ended, sizeof ended, "%Y-%m-%dT%H:%M:%SZ", &parts);
    }
    run = json_pack("{s:i, s:s, s:s, s:b, s:o, s:o}", "brokerctl_bench",
        BENCH_REPORT_FORMAT, "version", BROKERCTL_VERSION, "ended", ended,
        "complete", (int)report->complete, "settings",
        make_settings(report->plan), "figures", make_figures(&report->figures));
    if (run != NULL && !add_comparison(run, report)) {
        json_decref(run);
        return NULL;
    }
    return run;
}
