/* SPDX-License-Identifier: MIT
 *
 * Which streams a store in a directory has, gathered while it is looked into
 * (broker/store/inspect.h). Prints nothing.
 */
#ifndef BROKERCTL_CATALOGUE_H
#define BROKERCTL_CATALOGUE_H

#include <stdbool.h>
#include <stddef.h>

#include "inspect.h"

struct catalogue_stream {
    struct store_stream_info info; /* the journal counted in */
    bool removed;
    bool trimmed;     /* by the journal: its numbers are to be counted anew */
    bool wanted;      /* the caller's */
    uint64_t missing; /* records that should be there */
};

struct catalogue {
    struct catalogue_stream **streams; /* by number */
    size_t count, capacity;
    bool no_memory; /* something could not be noted */
};

/* Read it: every stream with its numbers. The other hooks of `more`, with its
 * argument, are called as well; it has none of streams and records. False: as
 * store_inspect(). Release with catalogue_fini() in any case. */
bool catalogue_read(struct catalogue *catalogue, const char *directory,
    const struct inspect_hooks *more, struct inspect_summary *summary,
    char *why, size_t why_size);
void catalogue_fini(struct catalogue *catalogue);

/* NULL: it is not there. */
struct catalogue_stream *catalogue_find(
    const struct catalogue *catalogue, uint32_t number);
/* Of those that were not removed. */
struct catalogue_stream *catalogue_find_name(
    const struct catalogue *catalogue, const char *name);

/* What a hook `stream` does. False: memory is out, which is noted. */
bool catalogue_add(
    struct catalogue *catalogue, const struct store_stream_info *info);

#endif
