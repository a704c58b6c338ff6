/* SPDX-License-Identifier: MIT
 *
 * The command line. It is read before the file, because it names the file, and
 * its values are assigned after the file's, because they count more; between
 * the two they wait in struct config_flags as they were given.
 */
#include "flags.h"

#include <stdlib.h>
#include <string.h>

#include "assign.h"

struct action_flag {
    const char *name;
    enum config_action action;
};

static const struct action_flag action_flags[] = {
    {"help", CONFIG_HELP},
    {"version", CONFIG_VERSION},
    {"check", CONFIG_CHECK},
    {"print_effective", CONFIG_PRINT_EFFECTIVE},
    {"print_sample", CONFIG_PRINT_SAMPLE},
};

/* Flags that are no keys; for "did you mean". */
static const char *const other_names[] = {
    "config", "help", "version", "check", "print_effective", "print_sample"};

/* Where we are in argv. */
struct walk {
    int argc;
    char *const *argv;
    int next;
};

static bool
is_name(struct config_text name, const char *other)
{
    if (strlen(other) != name.len) {
        return false;
    }
    for (size_t i = 0; i < name.len; i++) {
        char byte = name.data[i] == '-' ? '_' : name.data[i];
        if (byte != other[i]) {
            return false;
        }
    }
    return true;
}

static const struct action_flag *
find_action(struct config_text name)
{
    for (size_t i = 0; i < sizeof(action_flags) / sizeof(action_flags[0]);
         i++) {
        if (is_name(name, action_flags[i].name)) {
            return &action_flags[i];
        }
    }
    return NULL;
}

static void
report_unknown(struct config_text name, struct config_report *report)
{
    char shown[CONFIG_TEXT_BYTES];
    const char *nearest = config_name_nearest(name.data, name.len, other_names,
        sizeof(other_names) / sizeof(other_names[0]));

    if (nearest != NULL) {
        config_report(report, "unknown flag %s; did you mean --%s?",
            config_show(name, shown), nearest);
    } else {
        config_report(report, "unknown flag %s; see brokerd --help",
            config_show(name, shown));
    }
}

static void
take_action(struct config_flags *flags, const struct action_flag *found,
    const char *value, struct config_report *report)
{
    if (value != NULL) {
        config_report(report, "--%s takes no value", found->name);
    } else if (flags->action != CONFIG_RUN && flags->action != found->action) {
        config_report(
            report, "--%s: only one such flag at a time", found->name);
    } else {
        flags->action = found->action;
    }
}

static void
take_value(struct config_flags *flags, const struct config_row *row,
    const char *value, struct config_report *report)
{
    if (row != NULL) {
        flags->values[flags->count].key = config_row_key(row);
        flags->values[flags->count++].value = value;
    } else if (flags->file != NULL) {
        config_report(report, "--config: given twice");
    } else {
        flags->file = value;
    }
}

/* One flag, without its dashes, and the next word if the flag needs a value. */
static void
take_flag(struct config_flags *flags, const char *text, struct walk *walk,
    struct config_report *report)
{
    const char *equals = strchr(text, '=');
    struct config_text name = {
        text, equals != NULL ? (size_t)(equals - text) : strlen(text)};
    const char *value = equals != NULL ? equals + 1 : NULL;
    const struct action_flag *found = find_action(name);
    const struct config_row *row = config_row_find(name.data, name.len);

    if (found != NULL) {
        take_action(flags, found, value, report);
        return;
    }
    if (row == NULL && !is_name(name, "config")) {
        report_unknown(name, report);
        /* What follows may be its value: do not complain about that too. */
        if (value == NULL && walk->next < walk->argc &&
            strncmp(walk->argv[walk->next], "--", 2) != 0) {
            walk->next++;
        }
        return;
    }
    if (value == NULL && walk->next < walk->argc) {
        value = walk->argv[walk->next++];
    }
    if (value == NULL || value[0] == '\0') {
        config_report(report, "--%.*s needs a value", (int)name.len, text);
        return;
    }
    take_value(flags, row, value, report);
}

unsigned
config_flags_init(
    struct config_flags *flags, int argc, char *const argv[], FILE *errors)
{
    struct config_report report = {.stream = errors};
    struct walk walk = {.argc = argc, .argv = argv, .next = 1};

    memset(flags, 0, sizeof(*flags));
    flags->values = calloc((size_t)argc + 1, sizeof(*flags->values));
    if (flags->values == NULL) {
        config_report(&report, "out of memory");
        return report.count;
    }
    while (walk.next < argc) {
        const char *word = argv[walk.next++];
        if (strncmp(word, "--", 2) == 0 && word[2] != '\0') {
            take_flag(flags, word + 2, &walk, &report);
        } else if (strcmp(word, "-h") == 0) {
            take_flag(flags, "help", &walk, &report);
        } else if (strcmp(word, "-V") == 0) {
            take_flag(flags, "version", &walk, &report);
        } else {
            char shown[CONFIG_TEXT_BYTES];
            struct config_text text = {word, strlen(word)};
            config_report(&report, "%s is no flag; see brokerd --help",
                config_show(text, shown));
        }
    }
    return report.count;
}

void
config_flags_fini(struct config_flags *flags)
{
    free(flags->values);
    flags->values = NULL;
    flags->count = 0;
}

unsigned
config_flags_assign(
    const struct config_flags *flags, struct config *config, FILE *errors)
{
    const struct config_origin origin = {.source = CONFIG_FROM_FLAG};
    struct config_report report = {.stream = errors};

    for (size_t i = 0; i < flags->count; i++) {
        const char *value = flags->values[i].value;
        config_assign(config, &config_rows[flags->values[i].key],
            (struct config_text){value, strlen(value)}, &origin, &report);
    }
    return report.count;
}
