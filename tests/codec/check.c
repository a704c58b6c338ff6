/* SPDX-License-Identifier: MIT
 *
 * What all checks share, the list of them, and the refused frames.
 */
#include "check.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "any_message.h"

/* More than enough to see what is wrong. */
#define FAILURES_PRINTED 20

void
check_that(struct check_report *report, const struct vector_line *where,
    bool good, const char *format, ...)
{
    va_list args;

    report->done++;
    if (good || ++report->failed > FAILURES_PRINTED) {
        return;
    }
    if (where != NULL) {
        fprintf(stderr, "%s:%u: %s: ", where->path, where->number,
            where->words > 1 ? where->word[1] : where->word[0]);
    }
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
}

enum broker_status
check_status_by_name(const struct vector_line *line, const char *name)
{
    for (unsigned code = 100; code < 1000; code++) {
        if (strcmp(broker_status_name(code), name) == 0) {
            return (enum broker_status)code;
        }
    }
    vector_fatal(line, "no such error");
}

uint16_t
check_frame_type(const struct vector_record *record)
{
    const struct vector_line *line = vector_find(record, "type", 0);
    const struct broker_frame_info *info;

    if (line == NULL || line->words < 2) {
        vector_fatal(record->lines, "no type");
    }
    for (size_t i = 0; (info = broker_frame_info_at(i)) != NULL; i++) {
        if (strcmp(info->name, line->word[1]) == 0) {
            return info->type;
        }
    }
    return (uint16_t)vector_get_number(line, 1, NULL);
}

void
check_each_golden(struct check_report *report, const char *dir,
    check_golden_cb callback, void *arg)
{
    static const char *const names[] = {"session.txt", "publish.txt",
        "subscribe.txt", "delivery.txt", "streams.txt", "report.txt",
        "unknown.txt"};

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct vector_file file;
        struct vector_record record;

        vector_load(&file, dir, names[i]);
        for (size_t pos = 0; vector_next_record(&file, &pos, &record);) {
            struct vector_bytes bytes = vector_get_hex(&record);

            callback(report, &record, bytes, arg);
            free(bytes.data);
        }
        vector_unload(&file);
    }
}

/* ---- refused frames ------------------------------------------------------ */

static void
check_refused_header(struct check_report *report,
    const struct vector_line *where, const struct broker_limits *limits,
    struct vector_bytes bytes, enum broker_status wanted)
{
    struct broker_header header;
    struct broker_frame frame;
    size_t n = SIZE_MAX, wanted_n = 0;
    enum broker_status status =
        broker_frame_decode(limits, bytes.data, bytes.len, &frame, &n);

    if (bytes.len >= BROKER_HEADER_BYTES && bytes.data[0] == 0) {
        broker_header_decode(bytes.data, &header);
        wanted_n = BROKER_HEADER_BYTES + (size_t)header.body_bytes;
    }
    check_that(report, where, status == wanted, "gives %s, not %s",
        broker_status_name(status), broker_status_name(wanted));
    check_that(report, where, n == wanted_n, "%zu bytes, not %zu", n, wanted_n);
}

static void
check_refused_body(struct check_report *report, const struct vector_line *where,
    const struct broker_limits *limits, struct vector_bytes bytes,
    enum broker_status wanted)
{
    const struct any_type *type;
    union any_message m;
    struct broker_frame frame;
    size_t n;
    enum broker_status status =
        broker_frame_decode(limits, bytes.data, bytes.len, &frame, &n);

    check_that(report, where, status == BROKER_OK && n == bytes.len,
        "the header gives %s", broker_status_name(status));
    if (status != BROKER_OK) {
        return;
    }
    type = any_type_find(frame.type);
    if (type == NULL) {
        vector_fatal(where, "a type without a body");
    }
    status = type->decode(&frame, &m);
    check_that(report, where, status == wanted, "gives %s, not %s",
        broker_status_name(status), broker_status_name(wanted));
}

static void
check_refused_record(
    struct check_report *report, const struct vector_record *record)
{
    struct broker_limits limits = BROKER_LIMITS_DEFAULT;
    const struct vector_line *by = vector_find(record, "by", 0);
    const struct vector_line *error = vector_find(record, "error", 0);
    const struct vector_line *limit = vector_find(record, "limit", 0);
    struct vector_bytes bytes = vector_get_hex(record);
    enum broker_status wanted;
    const char *broken;

    if (by == NULL || by->words != 2 || error == NULL || error->words != 2) {
        vector_fatal(record->lines, "by or error is missing");
    }
    if (limit != NULL) {
        limits.max_body_bytes = (uint32_t)vector_get_number(limit, 1, NULL);
    }
    wanted = check_status_by_name(error, error->word[1]);
    if (strcmp(by->word[1], "header") == 0) {
        check_refused_header(report, record->lines, &limits, bytes, wanted);
    } else {
        check_refused_body(report, record->lines, &limits, bytes, wanted);
    }
    broken = any_check_frame(&limits, bytes.data, bytes.len);
    check_that(report, record->lines, broken == NULL, "%s",
        broken != NULL ? broken : "");
    free(bytes.data);
}

static void
check_refused(struct check_report *report, const char *dir)
{
    static const char *const names[] = {"refuse-header.txt", "refuse-body.txt"};

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct vector_file file;
        struct vector_record record;

        vector_load(&file, dir, names[i]);
        for (size_t pos = 0; vector_next_record(&file, &pos, &record);) {
            check_refused_record(report, &record);
        }
        vector_unload(&file);
    }
}

/* ---- all ----------------------------------------------------------------- */

const struct check_case check_cases[] = {
    {"golden frames", check_golden},
    {"refused frames", check_refused},
    {"topics", check_topics},
    {"text", check_text},
    {"addresses", check_addresses},
    {"truncations", check_truncations},
    {"bodies cut", check_bodies_cut},
    {"one byte more", check_one_byte_more},
    {"no space", check_no_space},
    {"mutations", check_mutations},
    {"flags", check_flags},
    {"zero fields", check_zero_fields},
    {"stream whole", check_stream_whole},
    {"stream byte by byte", check_stream_by_bytes},
    {"stream split", check_stream_split},
};
const size_t check_case_count = sizeof check_cases / sizeof check_cases[0];
