/* SPDX-License-Identifier: MIT
 *
 * The codec checked against proto/vectors, without a test framework: the same
 * checks run under Criterion (test_vectors.c) and, on machines that have none,
 * from a plain main (vector_main.c). Standard C only.
 */
#ifndef BROKER_TESTS_CHECK_H
#define BROKER_TESTS_CHECK_H

#include <stddef.h>

#include <broker/codec.h>

#include "vector.h"

struct check_report {
    unsigned long done, failed;
};

/* Count a check, and print what failed, with file and line, if it did. */
void check_that(struct check_report *report, const struct vector_line *where,
    bool good, const char *format, ...)
#if defined(__GNUC__)
    __attribute__((format(printf, 4, 5)))
#endif
    ;

/* The code of an error by its name in errors.def; ends the program if there is
 * none. */
enum broker_status check_status_by_name(
    const struct vector_line *line, const char *name);

/* The type of a record, by name or number. */
uint16_t check_frame_type(const struct vector_record *record);

/* Call back for each frame record of each file of golden frames. */
typedef void (*check_golden_cb)(struct check_report *report,
    const struct vector_record *record, struct vector_bytes frame, void *arg);
void check_each_golden(struct check_report *report, const char *dir,
    check_golden_cb callback, void *arg);

struct check_case {
    const char *name;
    void (*run)(struct check_report *report, const char *dir);
};

extern const struct check_case check_cases[];
extern const size_t check_case_count;

/* golden_check.c: bytes to values and values to bytes. */
void check_golden(struct check_report *report, const char *dir);
/* table_check.c: topics, UTF-8, addresses. */
void check_topics(struct check_report *report, const char *dir);
void check_text(struct check_report *report, const char *dir);
void check_addresses(struct check_report *report, const char *dir);
/* sweep_check.c: what must hold around each golden frame. */
void check_truncations(struct check_report *report, const char *dir);
void check_bodies_cut(struct check_report *report, const char *dir);
void check_one_byte_more(struct check_report *report, const char *dir);
void check_no_space(struct check_report *report, const char *dir);
void check_mutations(struct check_report *report, const char *dir);
void check_flags(struct check_report *report, const char *dir);
void check_zero_fields(struct check_report *report, const char *dir);
/* stream_check.c: many frames in one stream, cut anywhere. */
void check_stream_whole(struct check_report *report, const char *dir);
void check_stream_by_bytes(struct check_report *report, const char *dir);
void check_stream_split(struct check_report *report, const char *dir);

#endif
