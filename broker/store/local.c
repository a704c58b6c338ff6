/* SPDX-License-Identifier: MIT
 *
 * Opening and closing the local store; see local.h. */
#include "local.h"

#include <stdio.h>

struct store *
store_local_open(
    const struct store_local_options *options, char *why, size_t why_size)
{
    (void)options;
    snprintf(why, why_size, "the local store cannot be opened yet");
    return NULL;
}

bool
store_local_step(struct store *store)
{
    (void)store;
    return false;
}
