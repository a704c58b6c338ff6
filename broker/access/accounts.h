/* SPDX-License-Identifier: MIT
 *
 * Accounts and groups of this machine by name or number. Internal to
 * broker/access.
 */
#ifndef BROKER_ACCESS_ACCOUNTS_H
#define BROKER_ACCESS_ACCOUNTS_H

#include <stdbool.h>
#include <stdint.h>

#include "lines.h"

enum accounts_result {
    ACCOUNTS_FOUND,
    ACCOUNTS_NONE,   /* no such name */
    ACCOUNTS_UNKNOWN /* the system could not say */
};

/* The uid of an account, or the gid of a group; a number stands for itself,
 * whether the machine has it or not. May wait for a directory service. */
enum accounts_result accounts_find(
    struct text word, bool is_group, uint32_t *id);

#endif
