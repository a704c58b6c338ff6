/* SPDX-License-Identifier: MIT
 *
 * The option parser; see options.h. One pass over argv: what is no option is
 * moved to the front, in order.
 */
#include "options.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "duration.h"
#include "suggest.h"

/* Where the parser stands. */
struct parser {
    const struct options_input *input;
    struct options_result *result;
    size_t next;     /* entry of argv that is read next */
    bool only_text;  /* "--" was seen */
    bool rest_taken; /* an OPTION_REST took what was left */
};

/* An option that was found, with the group that it belongs to. */
struct match {
    const struct option_spec *spec;
    const struct option_group *group;
};

__attribute__((format(printf, 2, 3))) static bool
complain(struct parser *parser, const char *format, ...)
{
    va_list list;

    va_start(list, format);
    (void)vsnprintf(
        parser->result->why, sizeof parser->result->why, format, list);
    va_end(list);
    return false;
}

static bool
find_name(const struct options_input *input, const char *name, size_t name_len,
    struct match *match)
{
    for (size_t g = 0; g < input->group_count; g++) {
        const struct option_spec *spec = input->groups[g].specs;

        for (; spec != NULL && spec->name != NULL; spec++) {
            if (strlen(spec->name) == name_len &&
                memcmp(spec->name, name, name_len) == 0) {
                *match = (struct match){spec, &input->groups[g]};
                return true;
            }
        }
    }
    return false;
}

static bool
find_letter(const struct options_input *input, char letter, struct match *match)
{
    for (size_t g = 0; g < input->group_count; g++) {
        const struct option_spec *spec = input->groups[g].specs;

        for (; spec != NULL && spec->name != NULL; spec++) {
            if (spec->letter == letter) {
                *match = (struct match){spec, &input->groups[g]};
                return true;
            }
        }
    }
    return false;
}

static bool
complain_unknown(struct parser *parser, const char *name, size_t name_len)
{
    char typed[64];
    struct suggest suggest = SUGGEST_INIT(typed);

    (void)snprintf(typed, sizeof typed, "%.*s", (int)name_len, name);
    for (size_t g = 0; g < parser->input->group_count; g++) {
        const struct option_spec *spec = parser->input->groups[g].specs;

        for (; spec != NULL && spec->name != NULL; spec++) {
            suggest_offer(&suggest, spec->name);
        }
    }
    if (suggest.best != NULL) {
        return complain(parser, "unknown option --%s: did you mean --%s?",
            typed, suggest.best);
    }
    return complain(parser, "unknown option --%s", typed);
}

static bool
complain_letter(struct parser *parser, const char *word, char letter)
{
    return complain(parser,
        "unknown option -%c: if \"%.40s\" is meant as text, put -- before it",
        letter, word);
}

static bool
complain_value(struct parser *parser, const struct option_spec *spec,
    const char *value, const char *why)
{
    return complain(
        parser, "--%s cannot be \"%.60s\": %s", spec->name, value, why);
}

static bool
list_add(struct text_list *list, const char *text)
{
    const char **items =
        realloc(list->items, (list->count + 1) * sizeof items[0]);

    if (items == NULL) {
        return false;
    }
    items[list->count] = text;
    list->items = items;
    list->count++;
    return true;
}

static bool
set_choice(struct parser *parser, const struct option_spec *spec,
    const char *value, int *out)
{
    char words[128] = "choose ";
    size_t used = strlen(words);

    for (const struct option_choice *c = spec->choices; c->word != NULL; c++) {
        int n;

        if (strcmp(c->word, value) == 0) {
            *out = c->value;
            return true;
        }
        n = snprintf(words + used, sizeof words - used, "%s%s",
            c == spec->choices ? "" : (c[1].word == NULL ? " or " : ", "),
            c->word);
        if (n > 0 && (size_t)n < sizeof words - used) {
            used += (size_t)n;
        }
    }
    return complain_value(parser, spec, value, words);
}

static bool
set_value(struct parser *parser, const struct match *match, const char *value)
{
    const struct option_spec *spec = match->spec;
    void *field = (char *)match->group->settings + spec->offset;
    const char *why = NULL;
    bool ok = true;

    switch (spec->type) {
    case OPTION_TEXT:
        *(const char **)field = value;
        break;
    case OPTION_LIST:
        ok = list_add(field, value);
        why = "out of memory";
        break;
    case OPTION_COUNT:
        ok = count_parse(value, 1, field, &why);
        break;
    case OPTION_NUMBER:
        ok = count_parse(value, 0, field, &why);
        break;
    case OPTION_SIZE:
        ok = size_parse(value, field, &why);
        break;
    case OPTION_DURATION:
        ok = duration_parse(value, field, &why);
        break;
    case OPTION_CHOICE:
        return set_choice(parser, spec, value, field);
    case OPTION_FLAG:
    case OPTION_REST:
        break;
    }
    return ok || complain_value(parser, spec, value, why);
}

/* The option has no value attached: take the next entry, or all of them. */
static bool
take_value(struct parser *parser, const struct match *match)
{
    const struct options_input *input = parser->input;
    const struct option_spec *spec = match->spec;

    if (parser->next == input->argc) {
        return complain(parser, "--%s needs a value: --%s %s", spec->name,
            spec->name, spec->argument);
    }
    if (spec->type == OPTION_REST) {
        *(char ***)((char *)match->group->settings + spec->offset) =
            input->argv + parser->next;
        parser->next = input->argc;
        parser->rest_taken = true;
        return true;
    }
    return set_value(parser, match, input->argv[parser->next++]);
}

static void
set_flag(const struct match *match)
{
    *(bool *)((char *)match->group->settings + match->spec->offset) = true;
}

/* "--name" or "--name=value"; `text` stands behind the dashes. */
static bool
read_long(struct parser *parser, const char *text)
{
    const char *equals = strchr(text, '=');
    const size_t name_len =
        equals != NULL ? (size_t)(equals - text) : strlen(text);
    struct match match;

    if (!find_name(parser->input, text, name_len, &match)) {
        return complain_unknown(parser, text, name_len);
    }
    if (match.spec->type == OPTION_FLAG) {
        if (equals != NULL) {
            return complain(parser, "--%s takes no value", match.spec->name);
        }
        set_flag(&match);
        return true;
    }
    if (equals == NULL) {
        return take_value(parser, &match);
    }
    if (match.spec->type == OPTION_REST) {
        return complain(parser, "write --%s %s, without =", match.spec->name,
            match.spec->argument);
    }
    return set_value(parser, &match, equals + 1);
}

/* "-a", "-abc", "-nvalue"; `text` stands behind the dash. */
static bool
read_letters(struct parser *parser, const char *text)
{
    const char *word = text - 1;

    for (; *text != '\0'; text++) {
        struct match match;

        if (!find_letter(parser->input, *text, &match)) {
            return complain_letter(parser, word, *text);
        }
        if (match.spec->type == OPTION_FLAG) {
            set_flag(&match);
            continue;
        }
        if (text[1] != '\0' && match.spec->type != OPTION_REST) {
            return set_value(parser, &match, text + 1);
        }
        return take_value(parser, &match);
    }
    return true;
}

/* A single dash is an argument: the customary name of standard input. */
static bool
is_option(const struct parser *parser, const char *entry)
{
    return !parser->only_text && entry[0] == '-' && entry[1] != '\0';
}

static bool
read_option(struct parser *parser)
{
    const char *entry = parser->input->argv[parser->next++];

    if (strcmp(entry, "--") == 0) {
        parser->only_text = true;
        return true;
    }
    if (entry[1] == '-') {
        return read_long(parser, entry + 2);
    }
    return read_letters(parser, entry + 1);
}

bool
options_parse(const struct options_input *input, struct options_result *result)
{
    struct parser parser = {.input = input, .result = result};

    result->argument_count = 0;
    result->why[0] = '\0';
    while (parser.next < input->argc && !parser.rest_taken) {
        char *entry = input->argv[parser.next];

        if (is_option(&parser, entry)) {
            if (!read_option(&parser)) {
                return false;
            }
            continue;
        }
        if (input->mode == OPTIONS_TO_ARGUMENT) {
            break;
        }
        input->argv[result->argument_count++] = entry;
        parser.next++;
    }
    result->used = parser.next;
    return true;
}

static size_t
field_bytes(enum option_type type)
{
    switch (type) {
    case OPTION_FLAG:
        return sizeof(bool);
    case OPTION_TEXT:
        return sizeof(const char *);
    case OPTION_LIST:
        return sizeof(struct text_list);
    case OPTION_CHOICE:
        return sizeof(int);
    case OPTION_REST:
        return sizeof(char **);
    case OPTION_COUNT:
    case OPTION_NUMBER:
    case OPTION_SIZE:
    case OPTION_DURATION:
        break;
    }
    return sizeof(uint64_t);
}

bool
options_given(
    const struct option_spec *spec, const void *settings, const void *defaults)
{
    static const char zeros[sizeof(struct text_list)];
    const char *before =
        defaults != NULL ? (const char *)defaults + spec->offset : zeros;

    return memcmp((const char *)settings + spec->offset, before,
               field_bytes(spec->type)) != 0;
}

void
options_release(const struct option_group *group)
{
    const struct option_spec *spec = group->specs;

    for (; spec != NULL && spec->name != NULL; spec++) {
        if (spec->type == OPTION_LIST) {
            struct text_list *list =
                (void *)((char *)group->settings + spec->offset);

            free(list->items);
            *list = (struct text_list){0};
        }
    }
}
