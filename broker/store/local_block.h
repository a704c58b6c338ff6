/* SPDX-License-Identifier: MIT
 *
 * Blocks: records of one stream as they stand in the tables on disk, RECORDS
 * entries back to back under the number of the stream and the first sequence
 * (proto/STORE.md section 5). Neighbours that have the same time become one
 * entry. */
#ifndef BROKER_STORE_LOCAL_BLOCK_H
#define BROKER_STORE_LOCAL_BLOCK_H

#include "base.h"
#include "memtable.h"

/* 16 pages of LMDB with the header of the first. One record may be larger. */
#define BLOCK_BYTES 65520u

struct block_writer;

struct block_writer *block_writer_new(void);
void block_writer_free(struct block_writer *writer);
void block_begin(
    struct block_writer *writer, struct base *base, uint32_t stream);
/* The records of the piece from this sequence on. What base->put says, or
 * ENOMEM. */
int block_add(
    struct block_writer *writer, const struct piece *piece, uint64_t first_seq);
int block_end(struct block_writer *writer);

/* Is it a block of this stream? */
bool block_is_of(const struct base_item *item, uint32_t stream);
/* Of the last entry that holds; 0: none does. */
uint64_t block_last_seq(const struct base_item *item);
/* Add up the records of [first, end) in it. */
void block_count(const struct base_item *item, uint64_t first, uint64_t end,
    uint64_t *records, uint64_t *bytes);
/* The entry at *at, which moves behind it. Entries that do not hold are
 * skipped, as far as their length can be true; false: no more. */
bool block_next(const struct base_item *item, size_t *at, struct entry *entry);

#endif
