/* SPDX-License-Identifier: MIT
 *
 * Commands that are a table of actions; see admin.h.
 */
#include "admin.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "duration.h"
#include "link.h"
#include "say.h"
#include "suggest.h"
#include "sys.h"

/* ---- requests ------------------------------------------------------------ */

bool
admin_set(json_t *request, const char *key, json_t *value)
{
    if (json_object_set_new(request, key, value) != 0) {
        say("out of memory");
        return false;
    }
    return true;
}

bool
admin_set_number(json_t *request, const char *key, uint64_t value)
{
    return value == ADMIN_UNSET ||
           admin_set(request, key, json_integer((json_int_t)value));
}

bool
admin_set_ms(json_t *request, const char *key, uint64_t ns)
{
    return ns == ADMIN_UNSET ||
           admin_set_number(request, key, duration_to_whole_ms(ns));
}

static bool
is_text(const char *option, const char *text)
{
    const struct broker_bytes bytes = {(const uint8_t *)text, strlen(text)};

    if (!broker_utf8_check(bytes)) {
        say("%s: it is not UTF-8", option);
        return false;
    }
    return true;
}

bool
admin_set_text(json_t *request, const char *key, const char *text)
{
    return text == NULL ||
           (is_text(key, text) && admin_set(request, key, json_string(text)));
}

bool
admin_each_part(const char *option, const char *text,
    bool (*part)(void *context, const char *option, const char *text),
    void *context)
{
    char *copy = strdup(text);
    char *rest = copy;
    bool ok = copy != NULL;

    if (!ok) {
        say("out of memory");
    }
    while (ok && rest != NULL) {
        const char *one = strsep(&rest, ",");

        if (one[0] == '\0') {
            say("--%s cannot be \"%s\": there is nothing between two commas, "
                "or at an end",
                option, text);
            ok = false;
        } else {
            ok = is_text(option, one) && part(context, option, one);
        }
    }
    free(copy);
    return ok;
}

/* ---- choosing ------------------------------------------------------------ */

static const struct admin_action *
find_action(
    const struct invocation *invocation, const struct admin_action *actions)
{
    const char *typed = invocation->arguments[0];
    struct suggest suggest = SUGGEST_INIT(typed);

    for (; actions->name != NULL; actions++) {
        if (strcmp(actions->name, typed) == 0) {
            return actions;
        }
        suggest_offer(&suggest, actions->name);
    }
    if (suggest.best != NULL) {
        say("%s: there is no \"%s\": did you mean \"%s\"?",
            invocation->command->name, typed, suggest.best);
    } else {
        say("%s: there is no \"%s\": see brokerctl %s --help",
            invocation->command->name, typed, invocation->command->name);
    }
    return NULL;
}

/* Is the option in the action's list? */
static bool
takes_option(const struct admin_action *action, const char *name)
{
    char padded[40];

    (void)snprintf(padded, sizeof padded, " %s ", name);
    return strcmp(name, "json") == 0 || strcmp(name, "timeout") == 0 ||
           (action->options != NULL && strstr(action->options, padded) != NULL);
}

static bool
check(const struct invocation *invocation, const struct admin_action *action)
{
    const struct command *command = invocation->command;
    const struct option_spec *spec = command->options;
    const size_t wanted = action->takes_name ? 2 : 1;

    for (; spec->name != NULL; spec++) {
        if (!takes_option(action, spec->name) &&
            options_given(spec, invocation->settings, command->defaults)) {
            say("%s %s takes no --%s (see brokerctl %s --help)", command->name,
                action->name, spec->name, command->name);
            return false;
        }
    }
    if (invocation->argument_count != wanted) {
        say("%s %s %s: brokerctl %s %s%s", command->name, action->name,
            invocation->argument_count < wanted ? "needs a name"
                                                : "has too many arguments",
            command->name, action->name, action->takes_name ? " NAME" : "");
        return false;
    }
    return true;
}

/* ---- doing --------------------------------------------------------------- */

static enum ctl_exit
show(const struct invocation *invocation, const struct admin_action *action,
    const struct admin_settings *settings, const json_t *answer)
{
    bool ok = true;

    if (settings->json) {
        ok = sys_print_json(invocation->out, answer);
    } else if (action->show != NULL) {
        ok = action->show(invocation->out, answer);
    }
    if (!ok) {
        say("out of memory");
        return CTL_EXIT_FAILED;
    }
    return CTL_EXIT_OK;
}

static enum ctl_exit
ask_and_show(const struct invocation *invocation,
    const struct admin_action *action, const char *name, json_t *request,
    const struct admin_settings *settings)
{
    const struct link_options link_options = {
        .timeout_ns = settings->timeout_ns};
    struct link link;
    const struct sys sys = {
        .link = &link,
        .timeout_ns = settings->timeout_ns,
        .about = name != NULL ? name : "",
    };
    enum ctl_exit code = link_open(&link, invocation, &link_options);
    json_t *answer;

    if (code != CTL_EXIT_OK) {
        return code;
    }
    answer =
        action->list != NULL
            ? sys_ask_list(&sys, action->topic, action->list, request, &code)
            : sys_ask(&sys, action->topic, request, &code);
    if (answer != NULL) {
        code = show(invocation, action, settings, answer);
        json_decref(answer);
    }
    link_leave(&link);
    return code;
}

enum ctl_exit
admin_run_action(const struct invocation *invocation,
    const struct admin_action *action, const char *name,
    const struct admin_settings *settings)
{
    json_t *request = json_object();
    enum ctl_exit code = CTL_EXIT_USAGE;

    if (admin_set_text(request, "name", name) &&
        (action->make == NULL || action->make(invocation->settings, request))) {
        code = ask_and_show(invocation, action, name, request, settings);
    }
    json_decref(request);
    return code;
}

enum ctl_exit
admin_run(const struct invocation *invocation,
    const struct admin_action *actions, const struct admin_settings *settings)
{
    const struct admin_action *action = find_action(invocation, actions);

    if (action == NULL || !check(invocation, action)) {
        return CTL_EXIT_USAGE;
    }
    return admin_run_action(invocation, action,
        action->takes_name ? invocation->arguments[1] : NULL, settings);
}
