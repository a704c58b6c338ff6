/* SPDX-License-Identifier: MIT
 *
 * The option parser, and the guesses at what was meant.
 */
#include <criterion/criterion.h>

#include <stddef.h>
#include <string.h>

#include "options.h"
#include "suggest.h"

enum { RED = 7, GREEN = 9 };

struct settings {
    bool flag;
    bool other;
    const char *text;
    struct text_list list;
    uint64_t count;
    uint64_t size;
    uint64_t wait_ns;
    int color;
    char **rest;
};

static const struct option_choice colors[] = {
    {"red", RED},
    {"green", GREEN},
    {NULL, 0},
};

static const struct option_spec specs[] = {
    {"flag", 'f', OPTION_FLAG, NULL, "", offsetof(struct settings, flag), NULL},
    {"other", 'o', OPTION_FLAG, NULL, "", offsetof(struct settings, other),
        NULL},
    {"text", 't', OPTION_TEXT, "TEXT", "", offsetof(struct settings, text),
        NULL},
    {"list", 'l', OPTION_LIST, "TEXT", "", offsetof(struct settings, list),
        NULL},
    {"count", 'n', OPTION_COUNT, "N", "", offsetof(struct settings, count),
        NULL},
    {"size", 0, OPTION_SIZE, "SIZE", "", offsetof(struct settings, size), NULL},
    {"wait", 'w', OPTION_DURATION, "DURATION", "",
        offsetof(struct settings, wait_ns), NULL},
    {"color", 0, OPTION_CHOICE, "COLOR", "", offsetof(struct settings, color),
        colors},
    {"rest", 'e', OPTION_REST, "COMMAND...", "",
        offsetof(struct settings, rest), NULL},
    {0},
};

/* A common group, as every command has one. */
struct common {
    const char *server;
    bool verbose;
};

static const struct option_spec common_specs[] = {
    {"server", 's', OPTION_TEXT, "ADDRESS", "", offsetof(struct common, server),
        NULL},
    {"verbose", 'v', OPTION_FLAG, NULL, "", offsetof(struct common, verbose),
        NULL},
    {0},
};

#define ARGV_MAX 16

static struct settings settings;
static struct common common;
static struct options_result result;
static char *argv[ARGV_MAX + 1];

/* Parse a command line that is written with single spaces. */
static bool
parse_mode(enum options_mode mode, const char *line)
{
    static char copy[256];
    const struct option_group groups[] = {
        {specs, &settings}, {common_specs, &common}};
    struct options_input input = {groups, 2, mode, argv, 0};
    char *at = copy;

    options_release(&groups[0]);
    memset(&settings, 0, sizeof settings);
    memset(&common, 0, sizeof common);
    strcpy(copy, line);
    for (char *word; (word = strsep(&at, " ")) != NULL;) {
        if (word[0] != '\0') {
            argv[input.argc++] = word;
        }
    }
    argv[input.argc] = NULL;
    return options_parse(&input, &result);
}

static bool
parse(const char *line)
{
    return parse_mode(OPTIONS_ALL, line);
}

Test(options, arguments_and_options_mix)
{
    cr_assert(parse("a -f b --text=x c -s tcp://h"), "%s", result.why);
    cr_assert_eq(result.argument_count, 3);
    cr_assert_str_eq(argv[0], "a");
    cr_assert_str_eq(argv[1], "b");
    cr_assert_str_eq(argv[2], "c");
    cr_assert(settings.flag);
    cr_assert_not(settings.other);
    cr_assert_str_eq(settings.text, "x");
    cr_assert_str_eq(common.server, "tcp://h");
}

Test(options, every_way_to_write_a_value)
{
    static const char *const lines[] = {
        "--count=12", "--count 12", "-n12", "-n 12", "-fn12", "-fn 12"};

    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        cr_assert(parse(lines[i]), "%s: %s", lines[i], result.why);
        cr_assert_eq(settings.count, 12, "%s", lines[i]);
        cr_assert_eq(result.argument_count, 0);
    }
}

Test(options, letters_cluster)
{
    cr_assert(parse("-fov"));
    cr_assert(settings.flag && settings.other && common.verbose);
}

Test(options, a_value_may_look_like_an_option)
{
    cr_assert(parse("--text --flag -t -f"));
    cr_assert_str_eq(settings.text, "-f");
    cr_assert_not(settings.flag);
}

Test(options, two_dashes_end_options)
{
    cr_assert(parse("-f -- -o --text --"));
    cr_assert_eq(result.argument_count, 3);
    cr_assert_str_eq(argv[0], "-o");
    cr_assert_str_eq(argv[1], "--text");
    cr_assert_str_eq(argv[2], "--");
    cr_assert_not(settings.other);
}

Test(options, a_dash_is_an_argument)
{
    cr_assert(parse("-"));
    cr_assert_eq(result.argument_count, 1);
    cr_assert(parse("--text -"));
    cr_assert_str_eq(settings.text, "-");
}

Test(options, lists_keep_order)
{
    cr_assert(parse("-l a --list=b --list c -l a"));
    cr_assert_eq(settings.list.count, 4);
    cr_assert_str_eq(settings.list.items[0], "a");
    cr_assert_str_eq(settings.list.items[1], "b");
    cr_assert_str_eq(settings.list.items[2], "c");
    cr_assert_str_eq(settings.list.items[3], "a");
}

Test(options, an_empty_value)
{
    cr_assert(parse("--text="));
    cr_assert_str_eq(settings.text, "");
}

Test(options, sizes_durations_and_choices)
{
    cr_assert(parse("--size 2KiB --wait 1.5s --color green"));
    cr_assert_eq(settings.size, 2048);
    cr_assert_eq(settings.wait_ns, UINT64_C(1500000000));
    cr_assert_eq(settings.color, GREEN);
}

Test(options, rest_takes_everything)
{
    cr_assert(parse("a -e cmd -f --text -- b"));
    cr_assert_eq(result.argument_count, 1);
    cr_assert_not(settings.flag);
    cr_assert_str_eq(settings.rest[0], "cmd");
    cr_assert_str_eq(settings.rest[1], "-f");
    cr_assert_str_eq(settings.rest[4], "b");
    cr_assert_null(settings.rest[5]);
}

Test(options, stops_before_the_first_argument)
{
    cr_assert(parse_mode(OPTIONS_TO_ARGUMENT, "-v -s x sub -f a"));
    cr_assert_eq(result.used, 3);
    cr_assert(common.verbose);
    cr_assert_not(settings.flag);
}

static void
expect_refusal(const char *line, const char *part)
{
    cr_assert_not(parse(line), "%s was taken", line);
    cr_assert_not_null(strstr(result.why, part), "%s: \"%s\" lacks \"%s\"",
        line, result.why, part);
}

Test(options, refusals_say_what_is_right)
{
    expect_refusal("--flga", "did you mean --flag?");
    expect_refusal("--serve x", "did you mean --server?");
    expect_refusal("--zzzzzz", "unknown option --zzzzzz");
    expect_refusal("-x", "unknown option -x");
    expect_refusal("-5", "put -- before it");
    expect_refusal("-fx", "unknown option -x");
    expect_refusal("--flag=yes", "takes no value");
    expect_refusal("--text", "--text needs a value: --text TEXT");
    expect_refusal("-n", "--count needs a value");
    expect_refusal("--count 0", "--count cannot be \"0\"");
    expect_refusal("--count many", "whole number");
    expect_refusal("--wait 5", "250ms");
    expect_refusal("--size 5KB", "4KiB");
    expect_refusal("--color blue", "choose red or green");
    expect_refusal("--rest", "--rest needs a value");
    expect_refusal("--rest=ls", "without =");
    expect_refusal("--=x", "unknown option");
}

Test(options, names_are_not_abbreviated)
{
    expect_refusal("--fla", "did you mean --flag?");
    expect_refusal("--te x", "did you mean --text?");
}

Test(suggest, distances)
{
    cr_assert_eq(suggest_distance("", ""), 0);
    cr_assert_eq(suggest_distance("sub", "sub"), 0);
    cr_assert_eq(suggest_distance("sbu", "sub"), 1);
    cr_assert_eq(suggest_distance("su", "sub"), 1);
    cr_assert_eq(suggest_distance("suub", "sub"), 1);
    cr_assert_eq(suggest_distance("sum", "sub"), 1);
    cr_assert_eq(suggest_distance("abc", ""), 3);
    cr_assert_eq(suggest_distance("kitten", "sitting"), 3);
}

Test(suggest, only_what_is_near)
{
    struct suggest near = SUGGEST_INIT("stast");
    struct suggest far = SUGGEST_INIT("publish-it-all");

    suggest_offer(&near, "sub");
    suggest_offer(&near, "stats");
    suggest_offer(&near, "ping");
    cr_assert_str_eq(near.best, "stats");
    suggest_offer(&far, "sub");
    suggest_offer(&far, "stats");
    cr_assert_null(far.best);
}
