/* SPDX-License-Identifier: MIT
 *
 * brokerctl stats [connections | subscriptions]: what the broker says of itself
 * (PROTOCOL.md 5.7), as tables for people or as the JSON that it sends.
 *
 * Nothing here knows which keys the broker sends: they are shown as they come,
 * so an older brokerctl shows a newer broker. The books of a subscription
 * (matched = delivered + queued + dropped) are the one exception: they are
 * checked.
 */
#include <jansson.h>
#include <string.h>

#include "cmd.h"
#include "link.h"
#include "say.h"
#include "stats_table.h"
#include "suggest.h"
#include "sys.h"

struct stats_settings {
    bool json;
    uint64_t timeout_ns;
};

static const struct stats_settings defaults = {
    .timeout_ns = LINK_TIMEOUT_NS,
};

static const struct option_spec options[] = {
    {"json", 'j', OPTION_FLAG, NULL, "print the JSON that the broker sent",
        offsetof(struct stats_settings, json), NULL},
    {"timeout", 't', OPTION_DURATION, "TIME",
        "longest wait for the broker (5s; 0: no limit)",
        offsetof(struct stats_settings, timeout_ns), NULL},
    {0},
};

/* What can be asked for. */
struct stats_subject {
    const char *name;
    const char *topic;
    const char *list; /* key of the list of entries; NULL: no pages */
};

static const struct stats_subject subjects[] = {
    {"totals", "$sys/stats", NULL},
    {"connections", "$sys/connections", "connections"},
    {"subscriptions", "$sys/subscriptions", "subscriptions"},
};
#define SUBJECT_COUNT (sizeof subjects / sizeof subjects[0])

struct stats {
    const struct stats_settings *settings;
    const struct stats_subject *subject;
    struct out *out;
    struct link link;
};

static const struct stats_subject *
subject_find(const char *name)
{
    struct suggest suggest = SUGGEST_INIT(name);

    for (size_t i = 0; i < SUBJECT_COUNT; i++) {
        if (strcmp(subjects[i].name, name) == 0) {
            return &subjects[i];
        }
        suggest_offer(&suggest, subjects[i].name);
    }
    if (suggest.best != NULL) {
        say("stats: there are no \"%s\": did you mean \"%s\"?", name,
            suggest.best);
    } else {
        say("stats: there are no \"%s\": ask for totals, connections or "
            "subscriptions",
            name);
    }
    return NULL;
}

/* ---- asking -------------------------------------------------------------- */

static json_t *
ask_all(struct stats *stats, enum ctl_exit *code)
{
    const struct sys sys = {
        .link = &stats->link,
        .timeout_ns = stats->settings->timeout_ns,
        .about = "",
    };
    const struct stats_subject *subject = stats->subject;

    return subject->list == NULL
               ? sys_ask(&sys, subject->topic, NULL, code)
               : sys_ask_list(&sys, subject->topic, subject->list, NULL, code);
}

/* ---- showing ------------------------------------------------------------- */

static bool
show_list(struct stats *stats, const json_t *answer)
{
    const json_t *list = json_object_get(answer, stats->subject->list);

    if (json_array_size(list) == 0) {
        out_printf(stats->out, "no %s\n", stats->subject->name);
        return true;
    }
    return stats_table_rows(stats->out, list);
}

/* Say which books do not balance. */
static enum ctl_exit
check_books(const struct stats *stats, const json_t *answer)
{
    const json_t *list = stats->subject->list != NULL
                             ? json_object_get(answer, stats->subject->list)
                             : NULL;
    enum ctl_exit code = CTL_EXIT_OK;

    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *entry = json_array_get(list, i);
        const long long off = stats_books_off(entry);

        if (off != 0) {
            say("the books of subscription %" JSON_INTEGER_FORMAT
                " of connection %" JSON_INTEGER_FORMAT
                " are off by %lld: this is an error of the broker, report it",
                json_integer_value(json_object_get(entry, "id")),
                json_integer_value(json_object_get(entry, "connection")), off);
            code = CTL_EXIT_UNBALANCED;
        }
    }
    return code;
}

static enum ctl_exit
show(struct stats *stats, const json_t *answer)
{
    bool ok = true;

    if (stats->settings->json) {
        ok = sys_print_json(stats->out, answer);
    } else if (stats->subject->list != NULL) {
        ok = show_list(stats, answer);
    } else {
        ok = stats_table_totals(stats->out, answer);
    }
    if (!ok) {
        say("stats: out of memory");
        return CTL_EXIT_FAILED;
    }
    return check_books(stats, answer);
}

static enum ctl_exit
run(const struct invocation *invocation)
{
    struct stats stats = {
        .settings = invocation->settings,
        .subject = &subjects[0],
        .out = invocation->out,
    };
    const struct link_options link_options = {
        .timeout_ns = stats.settings->timeout_ns};
    enum ctl_exit code;
    json_t *answer;

    if (invocation->argument_count > 0) {
        stats.subject = subject_find(invocation->arguments[0]);
    }
    if (stats.subject == NULL) {
        return CTL_EXIT_USAGE;
    }
    code = link_open(&stats.link, invocation, &link_options);
    if (code != CTL_EXIT_OK) {
        return code;
    }
    answer = ask_all(&stats, &code);
    if (answer != NULL) {
        code = show(&stats, answer);
        json_decref(answer);
    }
    link_leave(&stats.link);
    return code;
}

const struct command cmd_stats = {
    .name = "stats",
    .summary = "Show the broker's totals, connections or subscriptions",
    .arguments = "[totals | connections | subscriptions]",
    .details =
        "For each subscription the books are checked: matched = delivered + "
        "queued +\n"
        "dropped. If they do not balance, exit code 7 says so.\n",
    .max_arguments = 1,
    .options = options,
    .settings_bytes = sizeof(struct stats_settings),
    .defaults = &defaults,
    .exits = CTL_EXIT_BITS_CONNECTED | CTL_EXIT_BIT(TIMEOUT) |
             CTL_EXIT_BIT(UNBALANCED),
    .run = run,
};
