/* SPDX-License-Identifier: MIT
 *
 * The exit codes of brokerctl as an enum and as texts; exit_codes.def is the
 * table. Knows nothing of commands.
 */
#ifndef BROKERCTL_EXIT_CODES_H
#define BROKERCTL_EXIT_CODES_H

#include <stddef.h>

enum ctl_exit {
#define CTL_EXIT_CODE(name, code, text) CTL_EXIT_##name = (code),
#include "exit_codes.def"
};

/* A set of exit codes as a bit mask over the rows of the table. */
enum ctl_exit_bit {
#define CTL_EXIT_CODE(name, code, text) CTL_EXIT_ROW_##name,
#include "exit_codes.def"
};
#define CTL_EXIT_BIT(name) (1u << CTL_EXIT_ROW_##name)

/* Every command that connects may end with one of these. */
#define CTL_EXIT_BITS_CONNECTED                                                \
    (CTL_EXIT_BIT(OK) | CTL_EXIT_BIT(FAILED) | CTL_EXIT_BIT(USAGE) |           \
        CTL_EXIT_BIT(UNAVAILABLE) | CTL_EXIT_BIT(OUTPUT) |                     \
        CTL_EXIT_BIT(NO_PERMISSION) | CTL_EXIT_BIT(NO_INPUT))

struct exit_code {
    enum ctl_exit code;
    const char *name;
    const char *text;
};

/* The n-th row of the table, or NULL past its end. Static. */
const struct exit_code *exit_code_at(size_t n);

#endif
