/* SPDX-License-Identifier: MIT
 *
 * Reading an earlier run of `brokerctl bench`; see bench_report.h.
 */
#include "bench_report.h"

#include <errno.h>
#include <string.h>

#include "say.h"

static enum ctl_exit
refuse(const char *file, const char *why)
{
    say("bench: --against %s is not what brokerctl bench --json writes: %s",
        file, why);
    return CTL_EXIT_NO_INPUT;
}

static enum ctl_exit
check(const struct bench_earlier *earlier)
{
    const json_t *format = json_object_get(earlier->run, "brokerctl_bench");

    if (!json_is_object(earlier->run)) {
        return refuse(earlier->file, "it is not one JSON object");
    }
    if (!json_is_integer(format)) {
        return refuse(earlier->file, "the key \"brokerctl_bench\" is missing");
    }
    if (json_integer_value(format) != BENCH_REPORT_FORMAT) {
        say("bench: --against %s is of another version of brokerctl bench "
            "(format %lld, this one reads %d): run that again with this one",
            earlier->file, (long long)json_integer_value(format),
            BENCH_REPORT_FORMAT);
        return CTL_EXIT_NO_INPUT;
    }
    if (!json_is_object(json_object_get(earlier->run, "figures")) ||
        !json_is_object(json_object_get(earlier->run, "settings"))) {
        return refuse(earlier->file, "\"settings\" or \"figures\" are missing");
    }
    return CTL_EXIT_OK;
}

static void
take_figures(struct bench_earlier *earlier)
{
    const json_t *figures = json_object_get(earlier->run, "figures");

    bench_figures_init(&earlier->figures);
    for (size_t i = 0; i < BENCH_FIGURE_COUNT; i++) {
        const json_t *figure =
            json_object_get(figures, bench_figure_specs[i].key);

        if (json_is_number(figure)) {
            earlier->figures.value[i] = json_number_value(figure);
        }
    }
}

enum ctl_exit
bench_earlier_read(struct bench_earlier *earlier, const char *file)
{
    FILE *stream = fopen(file, "re");
    json_error_t error;
    enum ctl_exit code;

    *earlier = (struct bench_earlier){.file = file};
    if (stream == NULL) {
        say("bench: cannot read --against %s: %s", file, strerror(errno));
        return CTL_EXIT_NO_INPUT;
    }
    earlier->run = json_loadf(stream, 0, &error);
    (void)fclose(stream);
    if (earlier->run == NULL) {
        return refuse(file, error.text);
    }
    code = check(earlier);
    if (code == CTL_EXIT_OK) {
        take_figures(earlier);
    } else {
        bench_earlier_fini(earlier);
    }
    return code;
}

void
bench_earlier_fini(struct bench_earlier *earlier)
{
    json_decref(earlier->run);
    earlier->run = NULL;
}
