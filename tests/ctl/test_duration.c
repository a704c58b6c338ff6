/* SPDX-License-Identifier: MIT
 *
 * Durations, counts and sizes of the command line.
 */
#include <criterion/criterion.h>

#include <stdint.h>
#include <string.h>

#include "duration.h"

#define MS UINT64_C(1000000)
#define S  (1000 * MS)

static void
expect_duration(const char *text, uint64_t expected_ns)
{
    const char *why = NULL;
    uint64_t ns = 12345;

    cr_assert(duration_parse(text, &ns, &why), "%s: %s", text, why);
    cr_assert_eq(ns, expected_ns, "%s gave %llu", text, (unsigned long long)ns);
}

static void
expect_no_duration(const char *text)
{
    const char *why = NULL;
    uint64_t ns = 12345;

    cr_assert_not(duration_parse(text, &ns, &why), "%s was taken", text);
    cr_assert_not_null(why);
    cr_assert_eq(ns, 12345, "%s changed the result", text);
}

Test(duration, every_unit)
{
    expect_duration("7us", 7000);
    expect_duration("250ms", 250 * MS);
    expect_duration("3s", 3 * S);
    expect_duration("2m", 120 * S);
    expect_duration("8760h", 8760 * 3600 * S);
    expect_duration("7d", 7 * 24 * 3600 * S);
    expect_duration("36500d", UINT64_C(36500) * 24 * 3600 * S);
    expect_duration("0", 0);
    expect_duration("0s", 0);
}

Test(duration, decimals_are_exact)
{
    expect_duration("0.1s", 100 * MS);
    expect_duration("1.5s", 1500 * MS);
    expect_duration("0.001ms", 1000);
    expect_duration("1.123456789s", 1123456789);
    expect_duration("1.12345678999s", 1123456789);
}

Test(duration, nonsense_is_refused)
{
    static const char *const nonsense[] = {"", "s", "5", "-1s", "1 s", "1D",
        "1w", "1.s", ".5s", "1.5.5s", "1e3s", "0x10s", "1S", "5ss", " 5s",
        "5s "};

    for (size_t i = 0; i < sizeof nonsense / sizeof nonsense[0]; i++) {
        expect_no_duration(nonsense[i]);
    }
}

Test(duration, too_long_is_refused)
{
    expect_no_duration("36501d");
    expect_no_duration("876001h");
    expect_no_duration("18446744073709551615us");
    expect_no_duration("18446744073709551616us");
    expect_no_duration("99999999999999999999999999h");
}

Test(duration, milliseconds_round_up)
{
    cr_assert_eq(duration_to_ms(0), 0);
    cr_assert_eq(duration_to_ms(1), 1);
    cr_assert_eq(duration_to_ms(MS), 1);
    cr_assert_eq(duration_to_ms(MS + 1), 2);
    cr_assert_eq(duration_to_ms(UINT64_MAX), UINT32_MAX);
}

Test(duration, is_written_for_people)
{
    char text[DURATION_TEXT_MAX];

    cr_assert_str_eq(duration_format(1500, text, sizeof text), "1.5 us");
    cr_assert_str_eq(duration_format(1500000, text, sizeof text), "1.500 ms");
    cr_assert_str_eq(duration_format(5 * S, text, sizeof text), "5.000 s");
}

Test(count, limits)
{
    const char *why = NULL;
    uint64_t n = 0;

    cr_assert(count_parse("1", 1, &n, &why));
    cr_assert_eq(n, 1);
    cr_assert(count_parse("1000000", 1, &n, &why));
    cr_assert_eq(n, 1000000);
    cr_assert_not(count_parse("0", 1, &n, &why));
    cr_assert(count_parse("0", 0, &n, &why));
    cr_assert_not(count_parse("", 0, &n, &why));
    cr_assert_not(count_parse("1x", 0, &n, &why));
    cr_assert_not(count_parse("-1", 0, &n, &why));
    cr_assert_not(count_parse("+1", 0, &n, &why));
    cr_assert_not(count_parse("18446744073709551616", 0, &n, &why));
    cr_assert_eq(n, 0);
}

static void
expect_no_size(const char *text, const char *expected_why)
{
    const char *why = NULL;
    uint64_t n = 12345;

    cr_assert_not(size_parse(text, &n, &why), "%s was taken", text);
    cr_assert_not_null(strstr(why, expected_why), "%s: %s", text, why);
    cr_assert_eq(n, 12345);
}

Test(size, units)
{
    const char *why = NULL;
    uint64_t n = 1;

    cr_assert(size_parse("0", &n, &why));
    cr_assert_eq(n, 0);
    cr_assert(size_parse("128", &n, &why));
    cr_assert_eq(n, 128);
    cr_assert(size_parse("4KiB", &n, &why));
    cr_assert_eq(n, 4096);
    cr_assert(size_parse("3MiB", &n, &why));
    cr_assert_eq(n, 3145728);
    cr_assert(size_parse("10G", &n, &why));
    cr_assert_eq(n, UINT64_C(10) << 30);
    cr_assert(size_parse("1TiB", &n, &why));
    cr_assert_eq(n, UINT64_C(1) << 40);
    cr_assert(size_parse("5K", &n, &why));
    cr_assert_eq(n, 5120);
    cr_assert(size_parse("2M", &n, &why));
    cr_assert_eq(n, 2097152);
}

Test(size, nonsense_is_refused)
{
    static const char *const nonsense[] = {
        "", "x", "-1", "+1", "1k", "1KB", "1 KiB", "KiB", "1.5KiB", "0x10"};

    for (size_t i = 0; i < sizeof nonsense / sizeof nonsense[0]; i++) {
        expect_no_size(nonsense[i], "such as 128, 4KiB, 1MiB or 10G");
    }
    expect_no_size("18446744073709551616", "too large");
    expect_no_size("18446744073709551615KiB", "too large");
    expect_no_size("17592186044416MiB", "too large");
}
