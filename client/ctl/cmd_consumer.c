/* SPDX-License-Identifier: MIT
 *
 * brokerctl consumer ACTION [NAME]: makes, shows, resets and removes durable
 * consumers (PROTOCOL.md 5.14).
 */
#include <string.h>

#include "admin.h"
#include "cmd.h"
#include "duration.h"
#include "link.h"
#include "moment.h"
#include "say.h"
#include "view.h"

struct consumer_settings {
    struct admin_settings admin;
    const char *stream;
    const char *filter;
    const char *from;
    int ack; /* enum broker_ack_mode; 0: not given */
    uint64_t window, ack_wait_ns, max_deliveries;
    const char *backoff;
    const char *dead_letter;
};

static const struct consumer_settings defaults = {
    .admin = {.timeout_ns = LINK_TIMEOUT_NS},
    .window = ADMIN_UNSET,
    .ack_wait_ns = ADMIN_UNSET,
    .max_deliveries = ADMIN_UNSET,
};

static const struct option_choice ack_choices[] = {
    {"none", BROKER_ACK_NONE},
    {"cumulative", BROKER_ACK_CUMULATIVE},
    {"each", BROKER_ACK_EACH},
    {NULL, 0},
};

static const struct option_spec options[] = {
    {"stream", 'S', OPTION_TEXT, "NAME", "the stream that it reads",
        offsetof(struct consumer_settings, stream), NULL},
    {"filter", 0, OPTION_TEXT, "FILTER", "only what this matches",
        offsetof(struct consumer_settings, filter), NULL},
    {"from", 0, OPTION_TEXT, "START",
        "first|last|new|seq:N|time:DATE|-TIME|last:N",
        offsetof(struct consumer_settings, from), NULL},
    {"ack", 0, OPTION_CHOICE, "HOW", "none|cumulative|each",
        offsetof(struct consumer_settings, ack), ack_choices},
    {"window", 'w', OPTION_COUNT, "N", "messages under way at once, in all",
        offsetof(struct consumer_settings, window), NULL},
    {"ack-wait", 0, OPTION_DURATION, "TIME",
        "deliver again what is not acknowledged (30s)",
        offsetof(struct consumer_settings, ack_wait_ns), NULL},
    {"backoff", 0, OPTION_TEXT, "TIMES",
        "wait before each delivery again (1s,5s,30s)",
        offsetof(struct consumer_settings, backoff), NULL},
    {"max-deliveries", 0, OPTION_NUMBER, "N",
        "then it is dead-lettered (0: no limit)",
        offsetof(struct consumer_settings, max_deliveries), NULL},
    {"dead-letter", 0, OPTION_TEXT, "TOPIC",
        "where dead-lettered messages are published",
        offsetof(struct consumer_settings, dead_letter), NULL},
    ADMIN_OPTIONS(consumer_settings, admin),
    {0},
};

/* ---- requests ------------------------------------------------------------ */

static json_t *
start_object(const char *key, uint64_t value)
{
    json_t *object = json_object();

    /* Without memory the one that the caller sets fails. */
    if (json_object_set_new(object, key, json_integer((json_int_t)value)) !=
        0) {
        json_decref(object);
        return NULL;
    }
    return object;
}

static json_t *
start_json(const struct start *start)
{
    switch (start->start) {
    case BROKER_START_LAST:
        return json_string("last");
    case BROKER_START_NEW:
        return json_string("new");
    case BROKER_START_SEQUENCE:
        return start_object("sequence", start->value);
    case BROKER_START_TIME:
        return start_object("time_ms", start->value);
    case BROKER_START_AGO:
        return start_object("ago_ms", start->value);
    case BROKER_START_COUNT:
        return start_object("last", start->value);
    case BROKER_START_FIRST:
    case BROKER_START_CURSOR:
        break;
    }
    return json_string("first");
}

static bool
set_from(json_t *request, const char *from)
{
    struct start start;
    const char *why;

    if (from == NULL) {
        return true;
    }
    if (!start_parse(from, &start, &why)) {
        say("--from cannot be \"%s\": %s", from, why);
        return false;
    }
    return admin_set(request, "from", start_json(&start));
}

static bool
add_backoff(void *context, const char *option, const char *text)
{
    const char *why;
    uint64_t ns;

    if (!duration_parse(text, &ns, &why)) {
        say("--%s cannot have \"%s\": %s", option, text, why);
        return false;
    }
    if (json_array_append_new(
            context, json_integer((json_int_t)duration_to_whole_ms(ns))) != 0) {
        say("out of memory");
        return false;
    }
    return true;
}

static bool
set_backoff(json_t *request, const char *backoff)
{
    json_t *list;

    if (backoff == NULL) {
        return true;
    }
    list = json_array();
    if (!admin_each_part("backoff", backoff, add_backoff, list)) {
        json_decref(list);
        return false;
    }
    return admin_set(request, "backoff_ms", list);
}

static const char *
ack_word(int ack)
{
    for (size_t i = 0; ack_choices[i].word != NULL; i++) {
        if (ack_choices[i].value == ack) {
            return ack_choices[i].word;
        }
    }
    return NULL;
}

static bool
make_add(const void *own, json_t *request)
{
    const struct consumer_settings *settings = own;

    if (settings->stream == NULL) {
        say("consumer add needs --stream: brokerctl stream ls lists them");
        return false;
    }
    return admin_set_text(request, "stream", settings->stream) &&
           admin_set_text(request, "filter", settings->filter) &&
           set_from(request, settings->from) &&
           admin_set_text(request, "ack", ack_word(settings->ack)) &&
           admin_set_number(request, "window", settings->window) &&
           admin_set_ms(request, "ack_wait_ms", settings->ack_wait_ns) &&
           set_backoff(request, settings->backoff) &&
           admin_set_number(
               request, "max_deliveries", settings->max_deliveries) &&
           admin_set_text(request, "dead_letter", settings->dead_letter);
}

static bool
make_list(const void *own, json_t *request)
{
    const struct consumer_settings *settings = own;

    return admin_set_text(request, "stream", settings->stream);
}

static bool
make_reset(const void *own, json_t *request)
{
    const struct consumer_settings *settings = own;

    if (settings->from == NULL) {
        say("consumer reset needs --from: where it is to go on, such as "
            "--from first or --from -1h");
        return false;
    }
    return set_from(request, settings->from);
}

static bool
show_list(struct out *out, const json_t *answer)
{
    return view_list(out, answer, "consumers",
        "name stream filter ack floor next outstanding waiting connections "
        "delivered redelivered acknowledged dead_lettered",
        "no consumers");
}

static const struct admin_action actions[] = {
    {"add", "$sys/consumer/add", NULL,
        " stream filter from ack window ack-wait backoff max-deliveries "
        "dead-letter ",
        true, make_add, NULL},
    {"ls", "$sys/consumer/list", "consumers", " stream ", false, make_list,
        show_list},
    {"info", "$sys/consumer/info", NULL, NULL, true, NULL, view_object},
    {"rm", "$sys/consumer/remove", NULL, NULL, true, NULL, NULL},
    {"reset", "$sys/consumer/reset", NULL, " from ", true, make_reset, NULL},
    {0},
};

static enum ctl_exit
run(const struct invocation *invocation)
{
    const struct consumer_settings *settings = invocation->settings;

    return admin_run(invocation, actions, &settings->admin);
}

const struct command cmd_consumer = {
    .name = "consumer",
    .summary = "Make, show, reset and remove durable consumers",
    .arguments = "add|ls|info|rm|reset [NAME]",
    .details =
        "  add NAME --stream S ...  a named cursor on a stream\n"
        "  ls                       all of them, or those of --stream\n"
        "  info NAME                one, whole\n"
        "  rm NAME                  forget where it stands\n"
        "  reset NAME --from START  let it go on somewhere else\n"
        "START is first, last, new, seq:7, last:100, time:2026-11-22T08:00 "
        "(with a Z\n"
        "for UTC), or -1h for an hour ago. \"sub --consumer NAME\" takes "
        "messages from\n"
        "it, \"explain consumer NAME\" says why it gets none.\n",
    .min_arguments = 1,
    .max_arguments = 2,
    .options = options,
    .settings_bytes = sizeof(struct consumer_settings),
    .defaults = &defaults,
    .exits = CTL_EXIT_BITS_CONNECTED | CTL_EXIT_BIT(TIMEOUT),
    .run = run,
};
