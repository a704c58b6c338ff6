/* SPDX-License-Identifier: MIT
 *
 * The table of exit codes; see exit_codes.h.
 */
#include "exit_codes.h"

static const struct exit_code exit_codes[] = {
#define CTL_EXIT_CODE(name, code, text) {CTL_EXIT_##name, #name, text},
#include "exit_codes.def"
};

const struct exit_code *
exit_code_at(size_t n)
{
    if (n >= sizeof exit_codes / sizeof exit_codes[0]) {
        return NULL;
    }
    return &exit_codes[n];
}
