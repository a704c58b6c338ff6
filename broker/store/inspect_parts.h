/* SPDX-License-Identifier: MIT
 *
 * What the parts of looking into a store share; see inspect.h. */
#ifndef BROKER_STORE_INSPECT_PARTS_H
#define BROKER_STORE_INSPECT_PARTS_H

#include "base.h"
#include "entry.h"
#include "inspect.h"
#include "journal.h"

#define INSPECT_TABLES_NAME "tables.mdb"

struct inspect {
    const struct inspect_hooks *hooks;
    struct inspect_summary summary;
    struct inspect_where where;
    struct base *base;    /* NULL: there are no tables */
    uint64_t *first_seqs; /* by number of the stream */
    size_t first_count;
    bool stopped;
};

struct copied {
    uint8_t key[BASE_KEY_MAX];
    size_t key_bytes; /* 0: before the first */
    uint8_t *data;
    size_t bytes, capacity;
};

__attribute__((format(printf, 3, 4))) void inspect_damage(
    struct inspect *inspect, uint64_t records, const char *format, ...);
/* Tell it; records from `first_seq` on. */
void inspect_entry(
    struct inspect *inspect, const struct entry *entry, uint64_t first_seq);
void inspect_tables(struct inspect *inspect);

#endif
