/* SPDX-License-Identifier: MIT
 *
 * Values as text: every unit, every edge, and the way back.
 */
#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "value.h"

struct number_case {
    enum config_unit unit;
    const char *text;
    bool ok;
    uint64_t value;
};

static const struct number_case number_cases[] = {
    {CONFIG_UNIT_COUNT, "0", true, 0},
    {CONFIG_UNIT_COUNT, "007", true, 7},
    {CONFIG_UNIT_COUNT, "18446744073709551615", true, UINT64_MAX},
    {CONFIG_UNIT_COUNT, "18446744073709551616", true, UINT64_MAX},
    {CONFIG_UNIT_COUNT, "99999999999999999999999999", true, UINT64_MAX},
    {CONFIG_UNIT_COUNT, "", false, 0},
    {CONFIG_UNIT_COUNT, "-1", false, 0},
    {CONFIG_UNIT_COUNT, "+1", false, 0},
    {CONFIG_UNIT_COUNT, "1.5", false, 0},
    {CONFIG_UNIT_COUNT, "0x10", false, 0},
    {CONFIG_UNIT_COUNT, "1 2", false, 0},
    {CONFIG_UNIT_COUNT, "1K", false, 0},
    {CONFIG_UNIT_COUNT, "1s", false, 0},
    {CONFIG_UNIT_COUNT, "auto", false, 0},
    {CONFIG_UNIT_BYTES, "10", true, 10},
    {CONFIG_UNIT_BYTES, "10B", true, 10},
    {CONFIG_UNIT_BYTES, "1K", true, 1024},
    {CONFIG_UNIT_BYTES, "1KiB", true, 1024},
    {CONFIG_UNIT_BYTES, "1 KiB", true, 1024},
    {CONFIG_UNIT_BYTES, "1kib", true, 1024},
    {CONFIG_UNIT_BYTES, "3M", true, 3 * CONFIG_MIB},
    {CONFIG_UNIT_BYTES, "3MiB", true, 3 * CONFIG_MIB},
    {CONFIG_UNIT_BYTES, "2G", true, 2 * CONFIG_GIB},
    {CONFIG_UNIT_BYTES, "2gib", true, 2 * CONFIG_GIB},
    {CONFIG_UNIT_BYTES, "1T", true, CONFIG_TIB},
    {CONFIG_UNIT_BYTES, "1TiB", true, CONFIG_TIB},
    {CONFIG_UNIT_BYTES, "16777216TiB", true, UINT64_MAX},
    {CONFIG_UNIT_BYTES, "16777215TiB", true, 16777215 * CONFIG_TIB},
    {CONFIG_UNIT_BYTES, "1KB", false, 0}, /* 1000 or 1024? */
    {CONFIG_UNIT_BYTES, "1Ki", false, 0},
    {CONFIG_UNIT_BYTES, "KiB", false, 0},
    {CONFIG_UNIT_BYTES, "1s", false, 0},
    {CONFIG_UNIT_BYTES, "1 K iB", false, 0},
    {CONFIG_UNIT_TIME, "10", true, 10},
    {CONFIG_UNIT_TIME, "10ms", true, 10},
    {CONFIG_UNIT_TIME, "10s", true, 10000},
    {CONFIG_UNIT_TIME, "10m", true, 600000},
    {CONFIG_UNIT_TIME, "24h", true, 86400000},
    {CONFIG_UNIT_TIME, "10M", false, 0},
    {CONFIG_UNIT_TIME, "1d", false, 0},
    {CONFIG_UNIT_TIME, "1m30s", false, 0},
    {CONFIG_UNIT_TIME, "ms", false, 0},
    {CONFIG_UNIT_OCTAL, "0600", true, 0600},
    {CONFIG_UNIT_OCTAL, "600", true, 0600},
    {CONFIG_UNIT_OCTAL, "0", true, 0},
    {CONFIG_UNIT_OCTAL, "0680", false, 0},
    {CONFIG_UNIT_OCTAL, "rw", false, 0},
};

Test(config_value, numbers)
{
    for (size_t i = 0; i < sizeof(number_cases) / sizeof(number_cases[0]);
         i++) {
        const struct number_case *c = &number_cases[i];
        struct config_text text = {c->text, strlen(c->text)};
        uint64_t value = 42;

        cr_expect_eq(config_number_parse(c->unit, text, &value), c->ok,
            "\"%s\" in unit %d", c->text, (int)c->unit);
        cr_expect_eq(value, c->ok ? c->value : 42, "\"%s\" is %llu", c->text,
            (unsigned long long)value);
    }
}

struct format_case {
    enum config_unit unit;
    uint64_t value;
    const char *text;
};

Test(config_value, numbers_are_written_with_the_largest_whole_unit)
{
    static const struct format_case cases[] = {
        {CONFIG_UNIT_COUNT, 1048576, "1048576"},
        {CONFIG_UNIT_BYTES, 0, "0"},
        {CONFIG_UNIT_BYTES, 1023, "1023"},
        {CONFIG_UNIT_BYTES, 1024, "1KiB"},
        {CONFIG_UNIT_BYTES, 1536, "1536"},
        {CONFIG_UNIT_BYTES, 16777215, "16777215"},
        {CONFIG_UNIT_BYTES, 32 * CONFIG_MIB, "32MiB"},
        {CONFIG_UNIT_BYTES, 4 * CONFIG_GIB, "4GiB"},
        {CONFIG_UNIT_BYTES, CONFIG_TIB, "1TiB"},
        {CONFIG_UNIT_TIME, 0, "0ms"},
        {CONFIG_UNIT_TIME, 999, "999ms"},
        {CONFIG_UNIT_TIME, 15000, "15s"},
        {CONFIG_UNIT_TIME, 300000, "5m"},
        {CONFIG_UNIT_TIME, 86400000, "24h"},
        {CONFIG_UNIT_OCTAL, 0600, "0600"},
    };
    char text[CONFIG_TEXT_BYTES];

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint64_t back;
        config_number_format(cases[i].unit, cases[i].value, text);
        cr_expect_str_eq(text, cases[i].text);
        cr_assert(config_number_parse(
            cases[i].unit, (struct config_text){text, strlen(text)}, &back));
        cr_expect_eq(back, cases[i].value);
    }
}

Test(config_value, every_range_and_default_fits_its_text)
{
    char text[CONFIG_TEXT_BYTES];

    for (size_t i = 0; i < CONFIG_KEY_COUNT; i++) {
        const struct config_row *row = &config_rows[i];
        cr_expect_lt(strlen(config_range_format(row, text)), 70u);
        cr_expect_lt(strlen(config_default_format(row, text)), 20u);
        if (row->kind == CONFIG_KIND_NUMBER) {
            cr_expect_leq(row->min, row->max, "%s", row->name);
            cr_expect(row->may_be_auto || (row->initial >= row->min &&
                                              row->initial <= row->max),
                "%s", row->name);
        }
    }
}

struct unquote_case {
    const char *line;
    const char *value; /* NULL: refused */
    const char *why;
};

static const struct unquote_case unquote_cases[] = {
    {"a", "a", NULL},
    {"  a  ", "a", NULL},
    {"a b", "a b", NULL},
    {"a # b", "a", NULL},
    {"a\t# b", "a", NULL},
    {"a#b", "a#b", NULL},
    {"\"a\"", "a", NULL},
    {"\"\"", "", NULL},
    {"\"a # b\" # c", "a # b", NULL},
    {"\"a \\\" \\\\ b\"", "a \" \\ b", NULL},
    {"a\"b\"", "a\"b\"", NULL},
    {"a\\b", "a\\b", NULL},
    {"", NULL, "there is no value"},
    {"   ", NULL, "there is no value"},
    {" # a", NULL, "there is no value"},
    {"#", NULL, "there is no value"},
    {"\"a", NULL, "the closing quote is missing"},
    {"\"a\\\"", NULL, "the closing quote is missing"},
    {"\"a\" b", NULL, "something follows the closing quote"},
    {"\"a\\n\"", NULL, "in quotes, only \\\" and \\\\ may follow a backslash"},
    {"\"a\\", NULL, "in quotes, only \\\" and \\\\ may follow a backslash"},
    {"0123456789abcdef", NULL, "the value is too long"},
    {"\"0123456789abcdef\"", NULL, "the value is too long"},
    {"0123456789abcde", "0123456789abcde", NULL},
    {"\"0123456789abcde\"", "0123456789abcde", NULL},
};

Test(config_value, unquote)
{
    for (size_t i = 0; i < sizeof(unquote_cases) / sizeof(unquote_cases[0]);
         i++) {
        const struct unquote_case *c = &unquote_cases[i];
        char value[16];
        size_t len = 0;
        const char *why = NULL;
        bool ok = config_unquote((struct config_text){c->line, strlen(c->line)},
            value, sizeof(value), &len, &why);

        cr_expect_eq(ok, c->value != NULL, "'%s'", c->line);
        if (ok && c->value != NULL) {
            cr_expect_str_eq(value, c->value, "'%s'", c->line);
            cr_expect_eq(len, strlen(c->value));
        } else if (!ok && c->why != NULL) {
            cr_expect_str_eq(why, c->why, "'%s'", c->line);
        }
    }
}

Test(config_value, quote_and_back)
{
    static const char *const values[] = {
        "", "a", "a b", "#a", "a#", "\"", "\\", "a\"b\\c d", "unix:///a b#c"};

    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        char *line = NULL;
        size_t line_len = 0;
        char value[64];
        size_t len;
        const char *why;
        FILE *out = open_memstream(&line, &line_len);

        config_quote((struct config_text){values[i], strlen(values[i])}, out);
        fclose(out);
        cr_assert(config_unquote((struct config_text){line, line_len}, value,
            sizeof(value), &len, &why));
        cr_expect_str_eq(value, values[i]);
        free(line);
    }
}

struct nearest_case {
    const char *name;
    const char *nearest;
};

Test(config_value, the_name_that_is_meant)
{
    static const struct nearest_case cases[] = {
        {"max_ouput_bytes", "max_output_bytes"},
        {"max-outputbytes", "max_output_bytes"},
        {"heartbeat", "heartbeat_ms"},
        {"log_levle", "log_level"},
        {"listn", "listen"},
        {"unix-mode", "unix_mode"},
        {"password", NULL},
        {"", NULL},
        {"x", NULL},
        {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
         "a",
            NULL},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *nearest =
            config_name_nearest(cases[i].name, strlen(cases[i].name), NULL, 0);
        if (cases[i].nearest == NULL) {
            cr_expect_null(nearest, "%s: %s", cases[i].name, nearest);
        } else {
            cr_assert_not_null(nearest, "%s", cases[i].name);
            cr_expect_str_eq(nearest, cases[i].nearest);
        }
    }
}
