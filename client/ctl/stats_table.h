/* SPDX-License-Identifier: MIT
 *
 * JSON objects of the broker as aligned tables, whatever their keys are. Knows
 * nothing of connections; of subscriptions only their books.
 */
#ifndef BROKERCTL_STATS_TABLE_H
#define BROKERCTL_STATS_TABLE_H

#include <jansson.h>
#include <stdbool.h>

#include "out.h"

/* An object: one line per key, in its order; nested ones as "outer.inner".
 * False: out of memory, nothing was written. */
bool stats_table_totals(struct out *out, const json_t *object);

/* A list of objects: one line each under a line of keys, in the order of their
 * first appearance. Entries with books get a column "balance". False: out of
 * memory, nothing was written. */
bool stats_table_rows(struct out *out, const json_t *list);

/* matched - (delivered + queued + dropped): 0 if the books balance, or if the
 * entry has none. */
long long stats_books_off(const json_t *entry);

#endif
