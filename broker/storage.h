/* SPDX-License-Identifier: MIT
 *
 * The store of the daemon: opened as the account that will use it, with what
 * the configuration says. */
#ifndef BROKER_STORAGE_H
#define BROKER_STORAGE_H

#include "config.h"
#include "process.h"

#include <stdbool.h>

struct store;

/* *store is NULL if the configuration names none. False after logging why it
 * cannot be had, and what to do. */
bool storage_open(const struct config *config,
    const struct process_account *account, struct store **store);

#endif
