/* SPDX-License-Identifier: MIT
 *
 * The table of commands, and the way from the command line to one of them.
 */
#include "cmd.h"

#include <stdlib.h>
#include <string.h>

#include <broker/client.h>

#include "say.h"
#include "suggest.h"

const struct option_spec common_options[] = {
    {"server", 's', OPTION_TEXT, "ADDRESS", "the broker's address",
        offsetof(struct common_settings, server), NULL},
    IDENTITY_OPTIONS(common_settings, identity),
    {"verbose", 'v', OPTION_FLAG, NULL, "say on standard error what happens",
        offsetof(struct common_settings, verbose), NULL},
    {"help", 'h', OPTION_FLAG, NULL, "print this and exit",
        offsetof(struct common_settings, help), NULL},
    {"version", 0, OPTION_FLAG, NULL, "print the version and exit",
        offsetof(struct common_settings, version), NULL},
    {0},
};

static const struct command *const command_table[] = {
    &cmd_pub,
    &cmd_sub,
    &cmd_req,
    &cmd_reply,
    &cmd_ping,
    &cmd_stats,
    &cmd_stream,
    &cmd_consumer,
    &cmd_store,
    &cmd_bench,
    &cmd_passwd,
    &cmd_explain,
    &cmd_help,
};

const struct command *
cmd_at(size_t n)
{
    if (n >= sizeof command_table / sizeof command_table[0]) {
        return NULL;
    }
    return command_table[n];
}

const struct command *
cmd_find(const char *name)
{
    const struct command *command;

    for (size_t i = 0; (command = cmd_at(i)) != NULL; i++) {
        if (strcmp(command->name, name) == 0) {
            return command;
        }
    }
    return NULL;
}

enum ctl_exit
cmd_unknown(const char *name)
{
    struct suggest suggest = SUGGEST_INIT(name);
    const struct command *command;

    for (size_t i = 0; (command = cmd_at(i)) != NULL; i++) {
        suggest_offer(&suggest, command->name);
    }
    if (suggest.best != NULL) {
        say("unknown command \"%s\": did you mean \"%s\"?", name, suggest.best);
    } else {
        say("unknown command \"%s\": see brokerctl --help", name);
    }
    return CTL_EXIT_USAGE;
}

static void
print_version(struct out *out)
{
    out_printf(out, "brokerctl %s (protocol %d)\n", BROKERCTL_VERSION,
        BROKER_PROTOCOL_VERSION);
}

static enum ctl_exit
complain_arguments(const struct command *command, size_t argument_count)
{
    say("%s has too %s arguments: brokerctl %s [options] %s; see brokerctl "
        "%s --help",
        command->name, argument_count < command->min_arguments ? "few" : "many",
        command->name, command->arguments, command->name);
    return CTL_EXIT_USAGE;
}

enum ctl_exit
cmd_run_as(const struct invocation *invocation, cmd_run_fn *run)
{
    struct invocation as_somebody = *invocation;
    struct identity identity = {.secret = NULL};
    enum ctl_exit code = identity_load(
        &identity, &invocation->common->identity, invocation->command->name);

    if (code == CTL_EXIT_OK) {
        as_somebody.identity = &identity;
        code = run(&as_somebody);
    }
    identity_wipe(&identity);
    return code;
}

/* A command that connects does so as somebody. */
static enum ctl_exit
run_command_itself(const struct invocation *invocation)
{
    const struct command *command = invocation->command;
    const bool connects = (command->exits & CTL_EXIT_BIT(UNAVAILABLE)) != 0 &&
                          !command->seldom_connects;

    return connects ? cmd_run_as(invocation, command->run)
                    : command->run(invocation);
}

static enum ctl_exit
run_parsed(struct out *out, const struct command *command,
    const struct common_settings *common, const void *settings, char **argv,
    size_t argument_count)
{
    struct invocation invocation = {
        .command = command,
        .common = common,
        .settings = settings,
        .arguments = argv,
        .argument_count = argument_count,
        .out = out,
    };

    if (common->help) {
        usage_print_command(out, command);
        return CTL_EXIT_OK;
    }
    if (common->version) {
        print_version(out);
        return CTL_EXIT_OK;
    }
    if (argument_count < command->min_arguments ||
        argument_count > command->max_arguments) {
        return complain_arguments(command, argument_count);
    }
    return run_command_itself(&invocation);
}

/* Read what stands behind the command's name, and run it. */
static enum ctl_exit
run_command(struct out *out, const struct command *command,
    struct common_settings *common, char **argv, size_t argc)
{
    void *settings = calloc(1, command->settings_bytes + 1);
    const struct option_group groups[] = {
        {command->options, settings},
        {common_options, common},
    };
    const struct options_input input = {groups, 2, OPTIONS_ALL, argv, argc};
    struct options_result result;
    enum ctl_exit code;

    if (settings == NULL) {
        say("out of memory");
        return CTL_EXIT_FAILED;
    }
    if (command->defaults != NULL) {
        memcpy(settings, command->defaults, command->settings_bytes);
    }
    if (options_parse(&input, &result)) {
        code = run_parsed(
            out, command, common, settings, argv, result.argument_count);
    } else {
        say("%s: %s (see brokerctl %s --help)", command->name, result.why,
            command->name);
        code = CTL_EXIT_USAGE;
    }
    options_release(&groups[0]);
    free(settings);
    return code;
}

enum ctl_exit
cmd_main(struct out *out, char **argv, size_t argc)
{
    struct common_settings common = {0};
    const struct option_group group = {common_options, &common};
    const struct options_input input = {
        &group, 1, OPTIONS_TO_ARGUMENT, argv, argc};
    struct options_result result;
    const struct command *command;

    if (!options_parse(&input, &result)) {
        say("%s (see brokerctl --help)", result.why);
        return CTL_EXIT_USAGE;
    }
    if (result.used < argc) {
        command = cmd_find(argv[result.used]);
        if (command == NULL) {
            return cmd_unknown(argv[result.used]);
        }
        return run_command(out, command, &common, argv + result.used + 1,
            argc - result.used - 1);
    }
    if (common.version) {
        print_version(out);
        return CTL_EXIT_OK;
    }
    if (common.help) {
        usage_print_all(out);
        return CTL_EXIT_OK;
    }
    say("no command given: try brokerctl --help");
    return CTL_EXIT_USAGE;
}
