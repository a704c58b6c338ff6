/* SPDX-License-Identifier: MIT
 *
 * What the parts of looking into a store share; see inspect.h. */
#ifndef BROKER_STORE_INSPECT_PARTS_H
#define BROKER_STORE_INSPECT_PARTS_H

#include "entry.h"
#include "inspect.h"
#include "journal.h"
#include "pages.h"

#define INSPECT_TABLES_NAME "tables.mdb"

/* What is known of a stream on the way. */
struct inspect_stream {
    uint64_t first_seq; /* what lies before it is gone */
    uint64_t last_seq;  /* that the tables have, as they say */
    uint64_t from;      /* what lies before it is not wanted */
    uint64_t next;      /* what lies before it has been told; 0: nothing has */
    bool known;         /* its definition, or that it is lost, was told */
    bool removed;
    bool asked, wanted; /* of the tables */
};

struct inspect {
    const struct inspect_hooks *hooks;
    struct inspect_summary summary;
    struct inspect_where where;
    struct pages *pages;            /* NULL: there are no tables */
    struct inspect_stream *streams; /* by number */
    size_t stream_count;
    bool stopped;
};

__attribute__((format(printf, 3, 4))) void inspect_damage(
    struct inspect *inspect, uint64_t records, const char *format, ...);
/* NULL: memory is out, and that has been told. */
struct inspect_stream *inspect_stream(struct inspect *inspect, uint32_t number);
/* Ask the hook `wanted` of a stream that is there. */
void inspect_ask(struct inspect *inspect, uint32_t number);
/* Records [first, end) of where.stream are not there. */
void inspect_missing(struct inspect *inspect, uint64_t first, uint64_t end);
void inspect_entry(struct inspect *inspect, const struct entry *entry);

/* ---- inspect_tables.c ---------------------------------------------------- */

/* Up to which commit the tables have everything. False: that is damaged. */
bool inspect_applied(struct inspect *inspect, uint64_t *applied);
void inspect_tables(struct inspect *inspect);
/* What the tables say of the stream now, with a broker running. */
void inspect_renew_stream(struct inspect *inspect, uint32_t number);

#endif
