/* SPDX-License-Identifier: MIT
 *
 * Looking into a store from outside: nothing is written, no lock is taken, a
 * broker may be running on it or not. No byte is trusted. What stands in the
 * files is told in the order of the tables and then of the journal; damage is
 * told where it is found, and what comes behind it is told as well.
 *
 * With a broker running, what is told is what was durable when it began, or a
 * little later. Memory: the files of the journal with what is not in the tables
 * yet, one item of the tables, and some bytes for each stream.
 */
#ifndef BROKER_STORE_INSPECT_H
#define BROKER_STORE_INSPECT_H

#include "store.h"

enum inspect_place { INSPECT_TABLES, INSPECT_JOURNAL };

/* Where something was found. `file` is its name in the directory. */
struct inspect_where {
    enum inspect_place place;
    const char *file;
    uint64_t offset;    /* INSPECT_JOURNAL: of the batch */
    uint64_t commit;    /* INSPECT_JOURNAL: its number */
    const char *table;  /* INSPECT_TABLES: its name, or NULL */
    uint32_t stream;    /* whose records these are; 0: that is not known */
    uint64_t first_seq; /* of the records; 0: that is not known */
    uint64_t last_seq;
};

/* Any may be NULL; tables that no hook asks for are not read. All views are
 * valid during the call. False: stop here. */
struct inspect_hooks {
    /* A file of the directory that is of the store; `set_aside`: it was. */
    bool (*file)(void *arg, const char *name, uint64_t bytes, bool set_aside);
    /* With its state as the tables have it; later definitions, TRIM, REMOVE and
     * records of the journal follow. A stream whose definition is lost is told
     * as "recovered-NUMBER" before its first record. */
    bool (*stream)(void *arg, const struct inspect_where *where,
        const struct store_stream_info *info);
    /* Are the records that the tables have of it to be read? *from, which is 0:
     * no records below this one, of the journal either. NULL: all are. */
    bool (*wanted)(void *arg, uint32_t stream, uint64_t *from);
    /* Consecutive records whose checksums hold; each stream in order, each
     * record once; what is in the tables first. */
    bool (*records)(void *arg, const struct inspect_where *where,
        uint32_t stream, const struct store_run *run);
    /* Records from where->first_seq to last_seq should be here and are not:
     * they were lost before, or with something that damage() has told. */
    bool (*missing)(void *arg, const struct inspect_where *where);
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
    uint64_t first_batch; /* of the journal, not in the tables yet; 0: none */
    uint64_t batches;     /* of these, how many */
    uint64_t records, bytes; /* told, of streams that are there */
    uint64_t missing;        /* records that hook has told */
    uint64_t damages;        /* calls of the hook */
    uint64_t journal_bytes, tables_bytes, tables_free_bytes;
    uint32_t journal_files;
    uint32_t set_aside; /* files that were, by name */
    bool has_tables;
    bool in_use;    /* somebody has the lock */
    bool torn_tail; /* the journal ends in a batch that is not whole */
};

/* Read the store. False: it cannot be read at all, and `why` says it, with what
 * to do. */
bool store_inspect(const char *directory, const struct inspect_hooks *hooks,
    struct inspect_summary *summary, char *why, size_t why_size);

#endif
