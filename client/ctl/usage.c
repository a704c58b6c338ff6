/* SPDX-License-Identifier: MIT
 *
 * What --help prints, made from the descriptors and the tables of options and
 * exit codes, so that it cannot say anything else than what is parsed.
 */
#include <stdio.h>
#include <string.h>

#include "cmd.h"

#define HELP_COLUMN 30

/* Two columns: `left`, and `right` from HELP_COLUMN on. */
static void
print_pair(struct out *out, const char *left, const char *right)
{
    out_printf(out, "  %-*s%s%s\n", HELP_COLUMN - 2, left,
        strlen(left) > HELP_COLUMN - 4 ? "  " : "", right);
}

static void
print_option(struct out *out, const struct option_spec *spec)
{
    char left[80];
    char letter[8] = "    ";

    if (spec->letter != '\0') {
        (void)snprintf(letter, sizeof letter, "-%c, ", spec->letter);
    }
    (void)snprintf(left, sizeof left, "%s--%s%s%s", letter, spec->name,
        spec->argument != NULL ? " " : "",
        spec->argument != NULL ? spec->argument : "");
    print_pair(out, left, spec->help);
}

static void
print_options(
    struct out *out, const char *title, const struct option_spec *specs)
{
    if (specs == NULL || specs->name == NULL) {
        return;
    }
    out_printf(out, "\n%s:\n", title);
    for (; specs->name != NULL; specs++) {
        print_option(out, specs);
    }
}

static void
print_exits(struct out *out, unsigned exits)
{
    const struct exit_code *row;

    out_text(out, "\nExit codes:\n");
    for (size_t i = 0; (row = exit_code_at(i)) != NULL; i++) {
        if ((exits & (1u << i)) != 0) {
            out_printf(out, "  %3d  %s\n", (int)row->code, row->text);
        }
    }
}

void
usage_print_exits(struct out *out)
{
    out_text(out, "What the exit codes of brokerctl mean.\n");
    print_exits(out, ~0u);
}

void
usage_print_command(struct out *out, const struct command *command)
{
    out_printf(out, "Usage: brokerctl %s%s%s%s\n", command->name,
        command->options != NULL ? " [options]" : "",
        command->arguments[0] != '\0' ? " " : "", command->arguments);
    out_printf(out, "\n%s.\n", command->summary);
    if (command->details != NULL) {
        out_printf(out, "\n%s", command->details);
    }
    print_options(out, "Options", command->options);
    print_options(out, "Options of every command", common_options);
    if (command->print_more != NULL) {
        command->print_more(out);
    }
    print_exits(out, command->exits);
}

void
usage_print_all(struct out *out)
{
    const struct command *command;

    out_text(out,
        "Usage: brokerctl [-s ADDRESS] COMMAND [options] [arguments]\n"
        "\n"
        "Talks to brokerd: publishes, subscribes, asks and answers.\n"
        "\n"
        "Commands:\n");
    for (size_t i = 0; (command = cmd_at(i)) != NULL; i++) {
        out_printf(out, "  %-10s%s\n", command->name, command->summary);
    }
    print_options(out, "Options of every command", common_options);
    out_text(out,
        "\n"
        "ADDRESS is tcp://host:port, tls://host:port or unix:///path. Without "
        "-s it is\n"
        "taken from the environment variable BROKER_URL; without that,\n"
        "unix://$XDG_RUNTIME_DIR/brokerd.sock (/run/brokerd.sock) and\n"
        "tcp://127.0.0.1:4655 are tried, where a brokerd listens that is told "
        "nothing. Variables for --user, --password-file, --token-file and the "
        "files of TLS\n"
        "are in the manual page.\n"
        "\n"
        "\"brokerctl help COMMAND\" says more of a command, \"brokerctl help "
        "exit-codes\"\n"
        "what the exit codes mean, \"brokerctl explain CODE\" what an error of "
        "the broker\n"
        "means.\n");
}
