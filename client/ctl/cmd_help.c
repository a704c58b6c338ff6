/* SPDX-License-Identifier: MIT
 *
 * brokerctl help [COMMAND | exit-codes]
 */
#include <string.h>

#include "cmd.h"

static enum ctl_exit
run(const struct invocation *invocation)
{
    const struct command *command;

    if (invocation->argument_count == 0) {
        usage_print_all(invocation->out);
        return CTL_EXIT_OK;
    }
    if (strcmp(invocation->arguments[0], "exit-codes") == 0) {
        usage_print_exits(invocation->out);
        return CTL_EXIT_OK;
    }
    command = cmd_find(invocation->arguments[0]);
    if (command == NULL) {
        return cmd_unknown(invocation->arguments[0]);
    }
    usage_print_command(invocation->out, command);
    return CTL_EXIT_OK;
}

const struct command cmd_help = {
    .name = "help",
    .summary = "Say how to use brokerctl or one of its commands",
    .arguments = "[COMMAND | exit-codes]",
    .max_arguments = 1,
    .exits = CTL_EXIT_BIT(OK) | CTL_EXIT_BIT(USAGE) | CTL_EXIT_BIT(OUTPUT),
    .run = run,
};
