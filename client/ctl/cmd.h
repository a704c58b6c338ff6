/* SPDX-License-Identifier: MIT
 *
 * What a command is: one file cmd_<name>.c with one const descriptor, listed in
 * the table of cmd.c. The descriptor drives the dispatch, --help and the test
 * of the manual page.
 */
#ifndef BROKERCTL_CMD_H
#define BROKERCTL_CMD_H

#include <stdbool.h>
#include <stddef.h>

#include "exit_codes.h"
#include "identity.h"
#include "options.h"
#include "out.h"

/* Options of every command; they may also stand before its name. */
struct common_settings {
    const char *server; /* NULL: BROKER_URL, then the usual places */
    struct identity_settings identity;
    bool verbose;
    bool help;
    bool version;
};
extern const struct option_spec common_options[];

struct command;

/* One call of brokerctl. */
struct invocation {
    const struct command *command;
    const struct common_settings *common;
    const struct identity *identity; /* of a command that connects */
    const void *settings;            /* the command's own, filled in */
    char **arguments;
    size_t argument_count; /* within the command's limits */
    struct out *out;       /* standard output; main flushes it at the end */
};

/* A command name and what it does. */
struct command {
    const char *name;
    const char *summary;   /* one line */
    const char *arguments; /* of the usage line; "" for none */
    const char *details;   /* paragraphs for --help, or NULL */
    size_t min_arguments, max_arguments;
    const struct option_spec *options; /* NULL: none of its own */
    size_t settings_bytes;             /* 0: none */
    const void *defaults;              /* settings to start with; NULL: zeros */
    unsigned exits;                    /* CTL_EXIT_BIT()s that it may return */
    bool seldom_connects; /* it calls cmd_run_as() itself, where it does */
    void (*print_more)(struct out *out); /* more for --help, or NULL */
    enum ctl_exit (*run)(const struct invocation *invocation);
};

#define CMD_MANY_ARGUMENTS ((size_t)-1)

extern const struct command cmd_pub;
extern const struct command cmd_sub;
extern const struct command cmd_req;
extern const struct command cmd_reply;
extern const struct command cmd_ping;
extern const struct command cmd_stats;
extern const struct command cmd_stream;
extern const struct command cmd_consumer;
extern const struct command cmd_store;
extern const struct command cmd_bench;
extern const struct command cmd_passwd;
extern const struct command cmd_explain;
extern const struct command cmd_help;

/* The n-th command in the order of --help, or NULL past the end. */
const struct command *cmd_at(size_t n);

/* The command of that name, or NULL. */
const struct command *cmd_find(const char *name);

/* Say that there is no such command, and which one is near. */
enum ctl_exit cmd_unknown(const char *name);

/* Read the command line (argv without the program's name, NULL-terminated) and
 * run it. The result is the exit code. */
enum ctl_exit cmd_main(struct out *out, char **argv, size_t argc);

/* Run it as who the common options say. */
typedef enum ctl_exit cmd_run_fn(const struct invocation *invocation);
enum ctl_exit cmd_run_as(const struct invocation *invocation, cmd_run_fn *run);

/* ---- usage.c: texts made from the descriptors ---------------------------- */

/* `brokerctl --help`. */
void usage_print_all(struct out *out);

/* `brokerctl COMMAND --help`. */
void usage_print_command(struct out *out, const struct command *command);

/* `brokerctl help exit-codes`. */
void usage_print_exits(struct out *out);

#endif
