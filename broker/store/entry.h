/* SPDX-License-Identifier: MIT
 *
 * Entries: what batches of the journal and values of the tables are made of
 * (proto/STORE.md section 3). An entry says one thing and is readable alone.
 * All of it but the records is covered by its own checksum, each record by one
 * more; the records are back to back, so any range of them is one piece of
 * memory.
 *
 * Pure: no files, no state. Views point into what was decoded.
 */
#ifndef BROKER_STORE_ENTRY_H
#define BROKER_STORE_ENTRY_H

#include "bytes.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ENTRY_HEAD_BYTES 40u
#define ENTRY_NAME_MAX   255u
#define RECORD_HEAD      12u /* of a record, before what its length counts */

/* In files: never change a number. */
enum entry_kind {
    ENTRY_RECORDS = 1,   /* of a stream */
    ENTRY_VALUE = 2,     /* of a key, or that it was deleted */
    ENTRY_TRIM = 3,      /* records of a stream below first_seq are gone */
    ENTRY_STREAM = 4,    /* definition; in the tables its state too */
    ENTRY_REMOVE = 5,    /* of a stream */
    ENTRY_PUBLISHER = 6, /* what is known of its numbers */
};

enum entry_flag {
    ENTRY_DELETED = 1,     /* VALUE */
    ENTRY_DISCARD_NEW = 2, /* STREAM */
    ENTRY_ONE_NUMBER = 4,  /* RECORDS: all have the same number */
};

struct entry {
    enum entry_kind kind;
    uint8_t flags;
    uint8_t space;      /* VALUE */
    uint8_t name_bytes; /* RECORDS, PUBLISHER: of its name; STREAM: too */
    const uint8_t *name;
    uint32_t stream;    /* all but VALUE and PUBLISHER */
    uint64_t first_seq; /* RECORDS, TRIM */
    uint64_t time_ms;   /* RECORDS; PUBLISHER: when it was last seen */
    uint32_t count;     /* RECORDS: how many; VALUE: bytes of the key */
    uint32_t number;    /* RECORDS: of the last one; PUBLISHER: the highest */
    const uint8_t *checksums; /* RECORDS: 4 bytes each */
    /* RECORDS: the records; VALUE: the key and behind it the data; else what
     * is particular to the kind. */
    const uint8_t *body;
    size_t body_bytes;
};

/* Bytes that the entry takes. */
size_t entry_size(const struct entry *entry);

/* Write it; room for entry_size() is there. */
void entry_encode(uint8_t *dst, const struct entry *entry);

/* The entry at `src` and its bytes; 0: there is none, or what is there is
 * damaged. Records are not checked. */
size_t entry_decode(const uint8_t *src, size_t len, struct entry *out);

/* What the entry at `src`, which is damaged, says of its length, if that can
 * be; 0: it cannot. */
size_t entry_length(const uint8_t *src, size_t len);

/* Bytes of the record at `src`, as it says. */
static inline uint64_t
record_bytes(const uint8_t *src)
{
    return (uint64_t)RECORD_HEAD + get_u32(src);
}

/* Are these bytes exactly so many records? Their checksums are written. */
bool records_check(
    const uint8_t *records, size_t len, uint32_t count, uint8_t *checksums);

/* What a STREAM entry says behind the name. */
struct entry_stream {
    uint64_t max_records, max_bytes, max_age_ms;
    bool discard_new;
    bool has_state; /* then the following counts */
    uint64_t first_seq, last_seq, records, bytes;
    uint64_t first_time_ms, last_time_ms;
    uint64_t trimmed, damaged;
};
#define ENTRY_STREAM_BYTES 88u

/* The body of a STREAM entry; its bytes. */
size_t entry_stream_encode(
    uint8_t dst[ENTRY_STREAM_BYTES], const struct entry_stream *stream);
bool entry_stream_decode(const struct entry *entry, struct entry_stream *out);

#endif
