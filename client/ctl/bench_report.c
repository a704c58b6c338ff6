/* SPDX-License-Identifier: MIT
 *
 * A run of `brokerctl bench` on paper; see bench_report.h.
 */
#include "bench_report.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "duration.h"
#include "table.h"

#define CELL_MAX 48
/* A bench that needs a core for itself may be what limits the figures. */
#define CPU_BUSY 0.9

/* ---- JSON ---------------------------------------------------------------- */

static int
dump_piece(const char *data, size_t len, void *user)
{
    out_write(user, data, len);
    return 0;
}

static bool
print_json(struct out *out, const struct bench_report *report)
{
    json_t *run = bench_json_make(report);
    bool ok = run != NULL;

    ok = ok && json_dump_callback(run, dump_piece, out,
                   JSON_INDENT(2) | JSON_REAL_PRECISION(12)) == 0;
    json_decref(run);
    out_text(out, "\n");
    return ok;
}

/* ---- CSV (RFC 4180) ------------------------------------------------------ */

static void
print_csv_text(struct out *out, const char *text)
{
    if (strpbrk(text, ",\"\r\n") == NULL) {
        out_text(out, text);
        return;
    }
    out_text(out, "\"");
    for (; *text != '\0'; text++) {
        out_write(out, text, 1);
        if (*text == '"') {
            out_write(out, text, 1);
        }
    }
    out_text(out, "\"");
}

/* Nothing for null, 1 and 0 for true and false. */
static void
print_csv_value(struct out *out, const json_t *value)
{
    if (json_is_string(value)) {
        print_csv_text(out, json_string_value(value));
    } else if (json_is_integer(value)) {
        out_printf(out, "%lld", (long long)json_integer_value(value));
    } else if (json_is_real(value)) {
        out_printf(out, "%.12g", json_real_value(value));
    } else if (json_is_boolean(value)) {
        out_text(out, json_is_true(value) ? "1" : "0");
    }
}

/* One line of the names or of the values in an object; further objects in it
 * prefix what they have with their own name. */
static void
print_csv_object(struct out *out, json_t *object, const char *before,
    bool names, bool *first)
{
    const char *key;
    json_t *value;

    json_object_foreach(object, key, value)
    {
        if (json_is_object(value)) {
            const bool compared = strcmp(key, "against") == 0;

            print_csv_object(out, value,
                compared                     ? "against_"
                : strcmp(key, "ratios") == 0 ? "ratio_"
                                             : before,
                names, first);
            continue;
        }
        out_text(out, *first ? "" : ",");
        *first = false;
        if (names) {
            out_text(out, before);
            out_text(out, key);
        } else {
            print_csv_value(out, value);
        }
    }
}

static bool
print_csv(struct out *out, const struct bench_report *report)
{
    json_t *run = bench_json_make(report);
    bool first = true;

    if (run == NULL) {
        return false;
    }
    print_csv_object(out, run, "", true, &first);
    out_text(out, "\r\n");
    first = true;
    print_csv_object(out, run, "", false, &first);
    out_text(out, "\r\n");
    json_decref(run);
    return true;
}

/* ---- the table ----------------------------------------------------------- */

static void
format_bytes(double bytes, char *dst, size_t cap)
{
    static const char *const units[] = {"B", "kB", "MB", "GB"};
    size_t unit = 0;

    for (; unit + 1 < sizeof units / sizeof units[0] && bytes >= 1000.0;
         unit++) {
        bytes /= 1000.0;
    }
    (void)snprintf(dst, cap, "%.1f %s/s", bytes, units[unit]);
}

static const char *
format_value(enum bench_unit unit, double value, char *dst, size_t cap)
{
    if (!isfinite(value)) {
        (void)snprintf(dst, cap, "-");
        return dst;
    }
    switch (unit) {
    case BENCH_UNIT_COUNT:
        (void)snprintf(dst, cap, "%.0f", value);
        break;
    case BENCH_UNIT_PER_SECOND:
        (void)snprintf(dst, cap, "%.0f /s", value);
        break;
    case BENCH_UNIT_BYTES_PER_SECOND:
        format_bytes(value, dst, cap);
        break;
    case BENCH_UNIT_NANOSECONDS:
        (void)duration_format((uint64_t)value, dst, cap);
        break;
    case BENCH_UNIT_SECONDS:
        (void)snprintf(dst, cap, "%.3f s", value);
        break;
    }
    return dst;
}

static void
add_row(struct table *table, size_t i, const struct bench_report *report)
{
    const struct bench_figure_spec *spec = &bench_figure_specs[i];
    const struct bench_earlier *earlier = report->earlier;
    const double now = report->figures.value[i];
    const double before =
        earlier != NULL ? earlier->figures.value[i] : (double)NAN;
    char cell[CELL_MAX];

    if (!isfinite(now) && !isfinite(before)) {
        return;
    }
    table_add(table, spec->label);
    table_add(table, format_value(spec->unit, now, cell, sizeof cell));
    if (earlier == NULL) {
        return;
    }
    table_add(table, format_value(spec->unit, before, cell, sizeof cell));
    if (isfinite(now / before)) {
        (void)snprintf(cell, sizeof cell, "%.3f", now / before);
    } else {
        (void)snprintf(cell, sizeof cell, "-");
    }
    table_add(table, cell);
}

static bool
print_rows(struct out *out, const struct bench_report *report)
{
    static const enum table_align align[] = {
        TABLE_LEFT, TABLE_RIGHT, TABLE_RIGHT, TABLE_RIGHT};
    struct table table;
    bool ok;

    table_init(&table, report->earlier != NULL ? 4 : 2, align);
    if (report->earlier != NULL) {
        table_add(&table, "");
        table_add(&table, "now");
        table_add(&table, "before");
        table_add(&table, "ratio");
    }
    for (size_t i = 0; i < BENCH_FIGURE_COUNT; i++) {
        add_row(&table, i, report);
    }
    ok = table_print(&table, out);
    table_fini(&table);
    return ok;
}

static void
print_number(struct out *out, size_t number, const char *what)
{
    if (number > 0) {
        out_printf(out, ", %zu %s%s", number, what, number == 1 ? "" : "s");
    }
}

static void
print_head(struct out *out, const struct bench_report *report)
{
    const struct bench_plan *plan = report->plan;
    const bool asks = plan->mode == BENCH_REQUEST;

    out_text(out, bench_mode_name(plan->mode));
    print_number(out, plan->publishers, asks ? "requester" : "publisher");
    print_number(out, plan->subscribers, asks ? "responder" : "subscriber");
    print_number(out, plan->topics, "topic");
    if (bench_mode_publishes(plan->mode)) {
        out_printf(out, ", payload %zu", plan->payload_bytes);
        if (plan->acknowledged) {
            out_printf(out, ", window %zu", plan->window);
        } else {
            out_text(out, ", not acknowledged");
        }
        if (plan->rate != 0) {
            out_printf(out, ", %" PRIu64 " messages/s", plan->rate);
        } else {
            out_text(out, ", not paced");
        }
    }
    out_text(out, "\n");
}

/* Which settings of the earlier run were not those of this one? */
static bool
print_differences(struct out *out, const struct bench_report *report)
{
    json_t *run = bench_json_make(report);
    json_t *settings = json_object_get(run, "settings");
    json_t *before = json_object_get(report->earlier->run, "settings");
    const char *key;
    json_t *value;

    out_printf(out, "\nBefore: %s", report->earlier->file);
    json_object_foreach(settings, key, value)
    {
        const json_t *other = json_object_get(before, key);

        if (!json_equal(value, other)) {
            out_printf(out, "; %s was ", key);
            if (other == NULL || json_is_null(other)) {
                out_text(out, "not set");
            }
            print_csv_value(out, other);
        }
    }
    out_text(out, "\n");
    json_decref(run);
    return settings != NULL;
}

/* What somebody must know who reads the figures. */
static void
print_notes(struct out *out, const struct bench_report *report)
{
    const struct bench_plan *plan = report->plan;
    const double *value = report->figures.value;
    const double busy =
        value[BENCH_FIGURE_bench_cpu_s] / value[BENCH_FIGURE_elapsed_s];

    if (!report->complete) {
        out_text(out, "\nIt did not come to its end: this is what was measured "
                      "so far.\n");
    }
    if (bench_mode_publishes(plan->mode) && plan->rate == 0 && plan->latency &&
        plan->window != 1) {
        out_text(out, "\nNot paced, latency is mostly the wait in full queues: "
                      "--rate gives that of a load.\n");
    }
    if (value[BENCH_FIGURE_unsent] > 0) {
        out_text(out, "\nThe rate was not reached; what was not sent is not in "
                      "the latency.\n");
    }
    if (busy > CPU_BUSY) {
        out_printf(out,
            "\nThe bench was busy for %.0f %% of the time: it may "
            "be the limit, not the broker.\n",
            busy * 100.0);
    }
    if (report->foreign_clock) {
        out_text(out, "\nMessages came from another machine: their latency "
                      "cannot be measured.\n");
    }
}

static bool
print_table(struct out *out, const struct bench_report *report)
{
    bool ok;

    print_head(out, report);
    ok = print_rows(out, report);
    if (ok && report->earlier != NULL) {
        ok = print_differences(out, report);
    }
    print_notes(out, report);
    return ok;
}

bool
bench_report_print(
    struct out *out, const struct bench_report *report, enum bench_shape shape)
{
    switch (shape) {
    case BENCH_CSV:
        return print_csv(out, report);
    case BENCH_JSON:
        return print_json(out, report);
    case BENCH_TABLE:
        break;
    }
    return print_table(out, report);
}
