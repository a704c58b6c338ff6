/* SPDX-License-Identifier: MIT
 *
 * Commands whose first argument is what to do, such as "stream add": a table
 * of actions, each one request to the broker with an object in both
 * directions. Knows no streams.
 */
#ifndef BROKERCTL_ADMIN_H
#define BROKERCTL_ADMIN_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "cmd.h"

/* The options that every such command has; the first member of its settings. */
struct admin_settings {
    bool json;
    uint64_t timeout_ns;
};

/* clang-format off */
#define ADMIN_OPTIONS(type, member)                                            \
    {"json", 'j', OPTION_FLAG, NULL, "print the JSON that the broker sent",    \
        offsetof(struct type, member.json), NULL},                             \
    {"timeout", 't', OPTION_DURATION, "TIME",                                  \
        "longest wait for the broker (5s; 0: no limit)",                       \
        offsetof(struct type, member.timeout_ns), NULL}
/* clang-format on */

/* A number that was not given. */
#define ADMIN_UNSET UINT64_MAX

struct admin_action {
    const char *name;
    const char *topic;
    const char *list;    /* key of the list of entries; NULL: one answer */
    const char *options; /* names of those that it takes, besides the above:
                            " topics max-age " */
    bool takes_name;
    /* Put what the options say into the request, which has the name already.
     * False: what is wrong was said. NULL: they say nothing. */
    bool (*make)(const void *settings, json_t *request);
    /* Show the answer to people. False: out of memory. NULL: there is nothing
     * to show. */
    bool (*show)(struct out *out, const json_t *answer);
};

/* Do what the arguments say; a table ends with a NULL name. */
enum ctl_exit admin_run(const struct invocation *invocation,
    const struct admin_action *actions, const struct admin_settings *settings);

/* The same for an action and a name that are known. */
enum ctl_exit admin_run_action(const struct invocation *invocation,
    const struct admin_action *action, const char *name,
    const struct admin_settings *settings);

/* Set members of a request. False: out of memory, which was said. The numbers
 * not if they are ADMIN_UNSET, the texts not if they are NULL. */
bool admin_set(json_t *request, const char *key, json_t *value);
bool admin_set_number(json_t *request, const char *key, uint64_t value);
/* From nanoseconds; rounded up. */
bool admin_set_ms(json_t *request, const char *key, uint64_t ns);
bool admin_set_text(json_t *request, const char *key, const char *text);

/* What to call the parts of a text divided by commas, in order. False if it
 * did so, or one is empty: `option` is named then. */
bool admin_each_part(const char *option, const char *text,
    bool (*part)(void *context, const char *option, const char *text),
    void *context);

#endif
