/* SPDX-License-Identifier: MIT
 *
 * brokerctl stream ACTION [NAME]: makes, changes, shows and removes streams
 * (PROTOCOL.md 5.13).
 */
#include "admin.h"
#include "cmd.h"
#include "link.h"
#include "say.h"
#include "view.h"

enum discard { DISCARD_UNSET, DISCARD_OLD, DISCARD_NEW };

struct stream_settings {
    struct admin_settings admin;
    const char *topics;
    uint64_t max_age_ns, max_bytes, max_messages;
    int discard;
    uint64_t before, keep;
    bool yes;
};

static const struct stream_settings defaults = {
    .admin = {.timeout_ns = LINK_TIMEOUT_NS},
    .max_age_ns = ADMIN_UNSET,
    .max_bytes = ADMIN_UNSET,
    .max_messages = ADMIN_UNSET,
    .before = ADMIN_UNSET,
    .keep = ADMIN_UNSET,
};

static const struct option_choice discard_choices[] = {
    {"old", DISCARD_OLD},
    {"new", DISCARD_NEW},
    {NULL, 0},
};

static const struct option_spec options[] = {
    {"topics", 'T', OPTION_TEXT, "FILTERS",
        "what it captures: FILTER[,FILTER...]",
        offsetof(struct stream_settings, topics), NULL},
    {"max-age", 0, OPTION_DURATION, "TIME",
        "keep messages so long (7d; 0: no limit)",
        offsetof(struct stream_settings, max_age_ns), NULL},
    {"max-bytes", 0, OPTION_SIZE, "SIZE",
        "keep at most so much (10G; 0: no limit)",
        offsetof(struct stream_settings, max_bytes), NULL},
    {"max-messages", 0, OPTION_NUMBER, "N",
        "keep at most N messages (0: no limit)",
        offsetof(struct stream_settings, max_messages), NULL},
    {"discard", 0, OPTION_CHOICE, "WHICH",
        "old: trim; new: refuse publishes when full",
        offsetof(struct stream_settings, discard), discard_choices},
    {"before", 0, OPTION_COUNT, "SEQUENCE", "purge: what is before this",
        offsetof(struct stream_settings, before), NULL},
    {"keep", 0, OPTION_NUMBER, "N", "purge: all but the last N messages",
        offsetof(struct stream_settings, keep), NULL},
    {"yes", 'y', OPTION_FLAG, NULL, "rm, purge: yes, what is deleted is gone",
        offsetof(struct stream_settings, yes), NULL},
    ADMIN_OPTIONS(stream_settings, admin),
    {0},
};

/* ---- requests ------------------------------------------------------------ */

static bool
add_topic(void *context, const char *option, const char *text)
{
    (void)option;
    if (json_array_append_new(context, json_string(text)) != 0) {
        say("out of memory");
        return false;
    }
    return true;
}

static bool
set_topics(json_t *request, const char *topics)
{
    json_t *list;

    if (topics == NULL) {
        return true;
    }
    list = json_array();
    if (!admin_each_part("topics", topics, add_topic, list)) {
        json_decref(list);
        return false;
    }
    return admin_set(request, "topics", list);
}

static bool
make_edit(const void *own, json_t *request)
{
    const struct stream_settings *settings = own;
    const char *discard = NULL;

    if (settings->discard != DISCARD_UNSET) {
        discard = settings->discard == DISCARD_OLD ? "old" : "new";
    }
    return set_topics(request, settings->topics) &&
           admin_set_ms(request, "max_age_ms", settings->max_age_ns) &&
           admin_set_number(request, "max_bytes", settings->max_bytes) &&
           admin_set_number(request, "max_messages", settings->max_messages) &&
           admin_set_text(request, "discard", discard);
}

static bool
make_add(const void *own, json_t *request)
{
    const struct stream_settings *settings = own;

    if (settings->topics == NULL) {
        say("stream add needs --topics: what the stream captures, such as "
            "--topics 'orders/#'");
        return false;
    }
    return make_edit(own, request);
}

/* What cannot be brought back is not done by a slip of the finger, nor by a
 * script whose writer did not mean it: the same on a terminal and off it. */
static bool
check_yes(bool yes, const char *what)
{
    if (!yes) {
        say("%s deletes messages for ever: add --yes if that is meant", what);
    }
    return yes;
}

static bool
make_purge(const void *own, json_t *request)
{
    const struct stream_settings *settings = own;
    const bool has_before = settings->before != ADMIN_UNSET;
    const bool has_keep = settings->keep != ADMIN_UNSET;

    if (has_before && has_keep) {
        say("stream purge: --before and --keep exclude each other: choose one");
        return false;
    }
    return (has_before || has_keep ||
               check_yes(settings->yes,
                   "stream purge without --before and --keep")) &&
           admin_set_number(request, "before", settings->before) &&
           admin_set_number(request, "keep", settings->keep);
}

static bool
make_remove(const void *own, json_t *request)
{
    const struct stream_settings *settings = own;

    (void)request;
    return check_yes(settings->yes, "stream rm");
}

static bool
show_list(struct out *out, const json_t *answer)
{
    return view_list(out, answer, "streams",
        "name topics messages bytes first_sequence last_sequence last_time "
        "consumers max_age max_bytes max_messages discard damaged",
        "no streams");
}

#define LIMITS " topics max-age max-bytes max-messages discard "

static const struct admin_action actions[] = {
    {"add", "$sys/stream/add", NULL, LIMITS, true, make_add, NULL},
    {"edit", "$sys/stream/edit", NULL, LIMITS, true, make_edit, NULL},
    {"ls", "$sys/stream/list", "streams", NULL, false, NULL, show_list},
    {"info", "$sys/stream/info", NULL, NULL, true, NULL, view_object},
    {"purge", "$sys/stream/purge", NULL, " before keep yes ", true, make_purge,
        NULL},
    {"rm", "$sys/stream/remove", NULL, " yes ", true, make_remove, NULL},
    {0},
};

static enum ctl_exit
run(const struct invocation *invocation)
{
    const struct stream_settings *settings = invocation->settings;

    return admin_run(invocation, actions, &settings->admin);
}

const struct command cmd_stream = {
    .name = "stream",
    .summary = "Make, change, show and remove streams",
    .arguments = "add|edit|ls|info|purge|rm [NAME]",
    .details =
        "  add NAME --topics ...  a stream that captures what these filters "
        "match\n"
        "  edit NAME ...          change the options that are given\n"
        "  ls                     all streams, one a line\n"
        "  info NAME              one stream, whole\n"
        "  purge NAME             delete its messages: all with --yes, or as "
        "--before\n"
        "                         or --keep say\n"
        "  rm NAME --yes          delete it with all messages and consumers\n"
        "What changes something prints nothing, unless --json is given. "
        "Messages are\n"
        "read with \"sub --stream\".\n",
    .min_arguments = 1,
    .max_arguments = 2,
    .options = options,
    .settings_bytes = sizeof(struct stream_settings),
    .defaults = &defaults,
    .exits = CTL_EXIT_BITS_CONNECTED | CTL_EXIT_BIT(TIMEOUT),
    .run = run,
};
