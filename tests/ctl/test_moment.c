/* SPDX-License-Identifier: MIT
 *
 * Points in time, and where reading begins, as the command line says them.
 */
#include <criterion/criterion.h>

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "moment.h"

/* 2026-11-22T08:00:00Z. */
#define EIGHT UINT64_C(1795334400000)

static void
set_zone(const char *zone)
{
    cr_assert_eq(setenv("TZ", zone, 1), 0);
    tzset();
}

static void
expect_moment(const char *text, uint64_t expected_ms)
{
    const char *why = NULL;
    uint64_t ms = 0;

    cr_assert(moment_parse(text, &ms, &why), "%s: %s", text, why);
    cr_assert_eq(ms, expected_ms, "%s gave %llu", text, (unsigned long long)ms);
}

Test(moment, utc_and_local)
{
    set_zone("XYZ-2"); /* two hours before UTC */
    expect_moment("2026-11-22T08:00Z", EIGHT);
    expect_moment("2026-11-22T08:00:30Z", EIGHT + 30000);
    expect_moment("2026-11-22T10:00", EIGHT);
    expect_moment("2026-11-22T10:00:01", EIGHT + 1000);
    expect_moment("1970-01-01T00:00Z", 0);
    expect_moment("2028-02-29T00:00Z", UINT64_C(1835395200000));
}

Test(moment, nonsense_is_refused)
{
    static const char *const nonsense[] = {"", "2026-11-22", "2026-11-22T08",
        "2026-11-22 08:00", "26-11-22T08:00", "2026-1-22T08:00",
        "2026-11-22T8:00", "2026-11-22T08:00z", "2026-11-22T08:00:0Z",
        "2026-11-22T08:00:00.5Z", "2026-11-22T08:00+01:00", "2026-13-01T08:00Z",
        "2026-02-29T08:00Z", "2026-11-22T24:00Z", "2026-11-22T08:60Z",
        "2026-00-10T00:00Z", "1969-12-31T23:59Z", "2026-11-22T08:00Zx",
        "-026-11-22T08:00"};

    set_zone("UTC");
    for (size_t i = 0; i < sizeof nonsense / sizeof nonsense[0]; i++) {
        const char *why = NULL;
        uint64_t ms = 12345;

        cr_assert_not(
            moment_parse(nonsense[i], &ms, &why), "%s was taken", nonsense[i]);
        cr_assert_not_null(why);
        cr_assert_eq(ms, 12345);
    }
}

Test(moment, later)
{
    const char *why = NULL;
    uint64_t ms = 0;

    cr_assert(moment_parse_later("+1.5s", 1000, &ms, &why));
    cr_assert_eq(ms, 2500);
    cr_assert(moment_parse_later("2026-11-22T08:00Z", 1000, &ms, &why));
    cr_assert_eq(ms, EIGHT);
    cr_assert_not(moment_parse_later("+", 1000, &ms, &why));
    cr_assert_not(moment_parse_later("+-1s", 1000, &ms, &why));
}

Test(moment, is_written_in_utc)
{
    char text[MOMENT_TEXT_MAX];

    set_zone("XYZ-2");
    cr_assert_str_eq(moment_format(EIGHT + 7, text, sizeof text),
        "2026-11-22T08:00:00.007Z");
    (void)moment_format(UINT64_MAX, text, sizeof text);
    cr_assert_lt(strlen(text), sizeof text);
}

static void
expect_start(const char *text, enum broker_start start, uint64_t value)
{
    const char *why = NULL;
    struct start got = {0};

    cr_assert(start_parse(text, &got, &why), "%s: %s", text, why);
    cr_assert_eq(got.start, start, "%s", text);
    cr_assert_eq(got.value, value, "%s", text);
}

Test(start, every_kind)
{
    set_zone("UTC");
    expect_start("first", BROKER_START_FIRST, 0);
    expect_start("last", BROKER_START_LAST, 0);
    expect_start("new", BROKER_START_NEW, 0);
    expect_start("seq:7", BROKER_START_SEQUENCE, 7);
    expect_start("last:100", BROKER_START_COUNT, 100);
    expect_start("time:2026-11-22T08:00", BROKER_START_TIME, EIGHT);
    expect_start("-1h", BROKER_START_AGO, 3600000);
    expect_start("-250us", BROKER_START_AGO, 1);
}

Test(start, nonsense_is_refused)
{
    static const char *const nonsense[] = {"", "First", "seq:", "seq:0",
        "seq:x", "seq:-1", "last:", "last:0", "last:1x", "time:", "time:8:00",
        "-", "-1", "1h", "-1h ", "--1h", "7", "new:1"};

    for (size_t i = 0; i < sizeof nonsense / sizeof nonsense[0]; i++) {
        const char *why = NULL;
        struct start start = {BROKER_START_NEW, 77};

        cr_assert_not(start_parse(nonsense[i], &start, &why), "%s was taken",
            nonsense[i]);
        cr_assert_not_null(why);
        cr_assert_eq(start.value, 77);
    }
}
