/* SPDX-License-Identifier: MIT
 *
 * brokerctl explain CODE|NAME: what a code of the protocol or of the libraries
 * means. Everything comes from the library's status functions; no connection.
 *
 * brokerctl explain consumer NAME: why nothing is delivered from a durable
 * consumer right now, as the broker says.
 */
#include <ctype.h>
#include <string.h>
#include <strings.h>

#include <broker/client.h>

#include "admin.h"
#include "cmd.h"
#include "duration.h"
#include "link.h"
#include "say.h"
#include "suggest.h"

#define CODE_MAX 999u

struct explain_settings {
    struct admin_settings admin;
};

static const struct explain_settings defaults = {
    .admin = {.timeout_ns = LINK_TIMEOUT_NS},
};

static const struct option_spec options[] = {
    ADMIN_OPTIONS(explain_settings, admin),
    {0},
};

static bool
is_known(unsigned code)
{
    return strcmp(broker_status_name(code), "UNKNOWN") != 0;
}

static const char *
class_text(enum broker_error_class error_class)
{
    switch (error_class) {
    case BROKER_CLASS_REQUEST:
        return "request: one request was refused, the connection lives";
    case BROKER_CLASS_SUBSCRIPTION:
        return "subscription: one subscription ended, the connection lives";
    case BROKER_CLASS_CONNECTION:
        return "connection: the connection is closed after it";
    case BROKER_CLASS_NOTICE:
        return "notice: nothing was refused";
    case BROKER_CLASS_LOCAL:
        return "local: comes from the client library, never from the broker";
    case BROKER_CLASS_NONE:
        break;
    }
    return "none: no error, or reserved for a later version";
}

static void
explain(struct out *out, unsigned code)
{
    out_printf(out,
        "%u %s\n"
        "  class    %s\n"
        "  retry    %s\n"
        "  meaning  %s\n"
        "  remedy   %s\n",
        code, broker_status_name(code), class_text(broker_status_class(code)),
        broker_status_may_retry(code) ? "yes, the same may succeed later"
                                      : "no, the same will fail again",
        broker_status_text(code), broker_status_remedy(code));
}

static void
list_all(struct out *out)
{
    for (unsigned code = 1; code <= CODE_MAX; code++) {
        if (is_known(code)) {
            out_printf(out, "%3u %-24s%s\n", code, broker_status_name(code),
                broker_status_text(code));
        }
    }
}

/* "304", "NO_SUBSCRIBERS", "no-subscribers" and "BROKER_E_NO_SUBSCRIBERS" are
 * the same. */
static bool
names_code(const char *text, unsigned code)
{
    const char *name = broker_status_name(code);

    if (strncasecmp(text, "BROKER_E_", 9) == 0) {
        text += 9;
    }
    for (; *text != '\0' && *name != '\0'; text++, name++) {
        const char c = *text == '-' ? '_' : *text;

        if (toupper((unsigned char)c) != *name) {
            return false;
        }
    }
    return *text == *name;
}

static enum ctl_exit
explain_name(struct out *out, const char *name)
{
    char upper[32] = "";
    struct suggest suggest = SUGGEST_INIT(upper);

    for (size_t i = 0; i + 1 < sizeof upper && name[i] != '\0'; i++) {
        upper[i] = (char)toupper((unsigned char)name[i]);
    }
    for (unsigned code = 1; code <= CODE_MAX; code++) {
        if (!is_known(code)) {
            continue;
        }
        if (names_code(name, code)) {
            explain(out, code);
            return CTL_EXIT_OK;
        }
        suggest_offer(&suggest, broker_status_name(code));
    }
    if (suggest.best != NULL) {
        say("explain: no code is named \"%s\": did you mean %s?", name,
            suggest.best);
    } else {
        say("explain: no code is named \"%s\": brokerctl explain lists them "
            "all",
            name);
    }
    return CTL_EXIT_USAGE;
}

/* ---- a durable consumer -------------------------------------------------- */

static bool
show_reasons(struct out *out, const json_t *answer)
{
    const json_t *reasons = json_object_get(answer, "reasons");

    for (size_t i = 0; i < json_array_size(reasons); i++) {
        const json_t *entry = json_array_get(reasons, i);
        const char *reason =
            json_string_value(json_object_get(entry, "reason"));
        const char *text = json_string_value(json_object_get(entry, "text"));

        reason = reason != NULL ? reason : "?";
        text = text != NULL ? text : "?";
        out_peer_name(out, reason, strlen(reason));
        out_text(out, ": ");
        out_peer_name(out, text, strlen(text));
        out_text(out, "\n");
    }
    if (json_array_size(reasons) == 0) {
        out_text(out, "nothing keeps messages from being delivered\n");
    }
    return true;
}

static enum ctl_exit
explain_consumer(const struct invocation *invocation)
{
    static const struct admin_action action = {
        .topic = "$sys/consumer/explain", .show = show_reasons};
    const struct explain_settings *settings = invocation->settings;

    return admin_run_action(
        invocation, &action, invocation->arguments[1], &settings->admin);
}

/* A second argument is for that alone. */
static enum ctl_exit
run_two(const struct invocation *invocation)
{
    if (strcmp(invocation->arguments[0], "consumer") != 0) {
        say("explain: more than one word: write a code, or \"consumer\" and "
            "the name of a durable consumer");
        return CTL_EXIT_USAGE;
    }
    return cmd_run_as(invocation, explain_consumer);
}

static enum ctl_exit
run(const struct invocation *invocation)
{
    const char *what;
    const char *why;
    uint64_t code;

    if (invocation->argument_count > 1) {
        return run_two(invocation);
    }
    if (invocation->argument_count == 0) {
        list_all(invocation->out);
        return CTL_EXIT_OK;
    }
    what = invocation->arguments[0];
    if (!count_parse(what, 0, &code, &why)) {
        return explain_name(invocation->out, what);
    }
    if (code > CODE_MAX || !is_known((unsigned)code)) {
        say("explain: there is no code %s: brokerctl explain lists them all",
            what);
        return CTL_EXIT_USAGE;
    }
    explain(invocation->out, (unsigned)code);
    return CTL_EXIT_OK;
}

const struct command cmd_explain = {
    .name = "explain",
    .summary = "Say what an error code means, or why a consumer gets nothing",
    .arguments = "[CODE | NAME | consumer NAME]",
    .details =
        "Without an argument all codes are listed. Of a durable consumer the "
        "broker is\n"
        "asked why nothing is being delivered right now.\n",
    .max_arguments = 2,
    .options = options,
    .settings_bytes = sizeof(struct explain_settings),
    .defaults = &defaults,
    .seldom_connects = true,
    .exits = CTL_EXIT_BITS_CONNECTED | CTL_EXIT_BIT(TIMEOUT),
    .run = run,
};
