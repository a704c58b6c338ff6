/* SPDX-License-Identifier: MIT
 *
 * Looking into a store from outside: read only and without its lock, so that a
 * broker may be running on it or not. What stands in the files is told in the
 * order of the files; damage is told where it is found, and what comes behind
 * it is told as well.
 *
 * With a broker running, what is told is a little old and may overlap: batches
 * of the journal that have been put into the tables are told from the tables
 * alone, those that are being written are not told.
 */
#ifndef BROKER_STORE_INSPECT_H
#define BROKER_STORE_INSPECT_H

#include "store.h"

enum inspect_place { INSPECT_TABLES, INSPECT_JOURNAL };

/* Where something was found. `file` is its name in the directory. */
struct inspect_where {
    enum inspect_place place;
    const char *file;
    uint64_t offset; /* INSPECT_JOURNAL: of the batch */
    uint64_t commit; /* INSPECT_JOURNAL: its number */
};

/* Any may be NULL. All views are valid during the call. False: stop here. */
struct inspect_hooks {
    /* With its state as the tables have it; later TRIM, REMOVE and records of
     * the journal follow. */
    bool (*stream)(void *arg, const struct inspect_where *where,
        const struct store_stream_info *info);
    /* Consecutive records; those of the tables first, each stream in order. */
    bool (*records)(void *arg, const struct inspect_where *where,
        uint32_t stream, const struct store_run *run);
    bool (*trim)(void *arg, const struct inspect_where *where, uint32_t stream,
        uint64_t first_seq);
    bool (*remove)(
        void *arg, const struct inspect_where *where, uint32_t stream);
    /* data NULL: it was deleted. */
    bool (*value)(void *arg, const struct inspect_where *where,
        const struct store_value *value);
    /* The highest number that was stored of this publisher. */
    bool (*publisher)(void *arg, const struct inspect_where *where,
        const void *name, size_t name_bytes, uint32_t number);
    /* One line that says what does not hold. `records`: so many are affected,
     * 0 if that is not known. */
    bool (*damage)(void *arg, const struct inspect_where *where,
        const char *text, uint64_t records);
    void *arg;
};

/* What was seen. */
struct inspect_summary {
    uint32_t version;
    uint64_t applied; /* the last commit that is in the tables */
    uint64_t last;    /* the last whole one in the journal, or `applied` */
    uint64_t streams, blocks, values, publishers;
    uint64_t batches;        /* of the journal, not in the tables yet */
    uint64_t records, bytes; /* told, of streams that are there */
    uint64_t damages;        /* calls of the hook */
    uint64_t journal_bytes, tables_bytes, tables_free_bytes;
    uint32_t set_aside; /* files that were, by name */
    bool in_use;        /* somebody has the lock */
    bool torn_tail;     /* the journal ends in a batch that is not whole */
};

/* Read the whole store. False: it cannot be read at all, and `why` says it. */
bool store_inspect(const char *directory, const struct inspect_hooks *hooks,
    struct inspect_summary *summary, char *why, size_t why_size);

#endif
