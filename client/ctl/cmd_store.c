/* SPDX-License-Identifier: MIT
 *
 * brokerctl store ACTION DIRECTORY: reads a store without the broker
 * (proto/STORE.md).
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "say.h"
#include "store_action.h"
#include "suggest.h"

static const struct option_spec options[] = {
    PRINTER_OPTIONS(store_settings, printer),
    {"from", 0, OPTION_TEXT, "SEQUENCE", "cat: begin with this message",
        offsetof(struct store_settings, from), NULL},
    {"count", 'n', OPTION_COUNT, "N", "cat: end after N messages",
        offsetof(struct store_settings, count), NULL},
    {"jsonl", 0, OPTION_FLAG, NULL,
        "export: JSON, one object per line (as without)",
        offsetof(struct store_settings, jsonl), NULL},
    {0},
};

static const struct store_action {
    const char *name;
    const char *arguments;
    const char *options; /* that it takes */
    size_t min_arguments, max_arguments;
    enum ctl_exit (*run)(const struct invocation *invocation);
} actions[] = {
    {"stat", "DIRECTORY", " json ", 1, 1, store_stat},
    {"verify", "DIRECTORY", " json ", 1, 1, store_verify},
    {"cat", "DIRECTORY STREAM", " json topic headers raw format from count ", 2,
        2, store_cat},
    {"export", "DIRECTORY [STREAM...]", " jsonl ", 1, CMD_MANY_ARGUMENTS,
        store_export},
};

enum ctl_exit
store_complain(const char *why)
{
    const char *remedy = "";

    if (strstr(why, strerror(EACCES)) != NULL ||
        strstr(why, strerror(EPERM)) != NULL) {
        remedy = ": run it as the user that brokerd runs as";
    } else if (strstr(why, "later version") != NULL) {
        remedy = ": use the brokerctl of that version";
    } else if (strstr(why, "no store") != NULL ||
               strstr(why, strerror(ENOENT)) != NULL) {
        remedy = ": give the directory that brokerd has with --store";
    }
    say("store: %s%s", why, remedy);
    return CTL_EXIT_NO_INPUT;
}

const char *
store_place(const struct inspect_where *where, char text[STORE_PLACE_MAX])
{
    if (where->place == INSPECT_TABLES) {
        (void)snprintf(text, STORE_PLACE_MAX, "%s%s%s", where->file,
            where->table != NULL ? ", " : "",
            where->table != NULL ? where->table : "");
    } else if (where->commit != 0) {
        (void)snprintf(text, STORE_PLACE_MAX,
            "%s, batch %" PRIu64 " at %" PRIu64, where->file, where->commit,
            where->offset);
    } else {
        (void)snprintf(text, STORE_PLACE_MAX, "%s", where->file);
    }
    return text;
}

static const struct store_action *
find_action(const char *typed)
{
    struct suggest suggest = SUGGEST_INIT(typed);

    for (size_t i = 0; i < sizeof actions / sizeof actions[0]; i++) {
        if (strcmp(actions[i].name, typed) == 0) {
            return &actions[i];
        }
        suggest_offer(&suggest, actions[i].name);
    }
    if (suggest.best != NULL) {
        say("store: there is no \"%s\": did you mean \"%s\"?", typed,
            suggest.best);
    } else {
        say("store: there is no \"%s\": see brokerctl store --help", typed);
    }
    return NULL;
}

static bool
check(const struct invocation *invocation, const struct store_action *action)
{
    const size_t count = invocation->argument_count - 1;
    char padded[40];

    for (const struct option_spec *spec = options; spec->name != NULL; spec++) {
        (void)snprintf(padded, sizeof padded, " %s ", spec->name);
        if (strstr(action->options, padded) == NULL &&
            options_given(spec, invocation->settings, NULL)) {
            say("store %s takes no --%s (see brokerctl store --help)",
                action->name, spec->name);
            return false;
        }
    }
    if (count < action->min_arguments || count > action->max_arguments) {
        say("store %s has too %s arguments: brokerctl store %s %s",
            action->name, count < action->min_arguments ? "few" : "many",
            action->name, action->arguments);
        return false;
    }
    return true;
}

static enum ctl_exit
run(const struct invocation *invocation)
{
    const struct store_action *action = find_action(invocation->arguments[0]);

    if (action == NULL || !check(invocation, action)) {
        return CTL_EXIT_USAGE;
    }
    return action->run(invocation);
}

const struct command cmd_store = {
    .name = "store",
    .summary = "Read and check brokerd's store without brokerd",
    .arguments = "stat|verify|cat|export DIRECTORY [STREAM...]",
    .details =
        "  stat DIR               files, commits, and what each stream holds\n"
        "  verify DIR             check all checksums, and name what is "
        "damaged\n"
        "  cat DIR STREAM         print messages as \"sub\" does\n"
        "  export DIR [STREAM...] messages of these streams, or of all, as "
        "JSON:\n"
        "                         one object per line\n"
        "Nothing is written to the directory, and brokerd may be running on "
        "it.\n"
        "verify exits with 0 if all is good, else with 1; cat and export "
        "exit\n"
        "with 2 if messages are missing.\n",
    .min_arguments = 1,
    .max_arguments = CMD_MANY_ARGUMENTS,
    .options = options,
    .settings_bytes = sizeof(struct store_settings),
    .exits = CTL_EXIT_BIT(OK) | CTL_EXIT_BIT(FAILED) | CTL_EXIT_BIT(GAP) |
             CTL_EXIT_BIT(USAGE) | CTL_EXIT_BIT(NO_INPUT) |
             CTL_EXIT_BIT(OUTPUT),
    .print_more = printer_help_formats,
    .run = run,
};
