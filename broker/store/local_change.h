/* SPDX-License-Identifier: MIT
 *
 * Values on their way into a batch: on their own, and with an append. */
#ifndef BROKER_STORE_LOCAL_CHANGE_H
#define BROKER_STORE_LOCAL_CHANGE_H

#include "local_store.h"

bool values_are_valid(const struct store_value *values, size_t count);
/* Bytes that their entries take. */
size_t values_size(const struct store_value *values, size_t count);
/* Encode them to where group_reserve() made room. */
void values_encode(struct local *local, uint8_t *dst,
    const struct store_value *values, size_t count);

#endif
