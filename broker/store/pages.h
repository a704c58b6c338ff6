/* SPDX-License-Identifier: MIT
 *
 * The tables on disk (base.h) read from outside: the pages of an LMDB file,
 * without LMDB. That trusts what it reads and ends the process where a page is
 * damaged, and it makes or changes a file of locks; this trusts no byte, writes
 * nothing, and can go on behind a page that does not hold.
 *
 * Without a lock: LMDB uses pages of a transaction again only when two later
 * ones have been committed, so what was read is given only if that did not
 * happen meanwhile; else it is read anew. One thread. */
#ifndef BROKER_STORE_PAGES_H
#define BROKER_STORE_PAGES_H

#include "base.h"

struct pages;

/* 0 and *out; ENOENT: there is no such file; EBADMSG: it is damaged; EPROTO: a
 * later version wrote it; another number of errno(3). `why` says it. */
int pages_open(
    const char *path, struct pages **out, char *why, size_t why_size);
void pages_close(struct pages *pages); /* NULL is allowed */

/* The first item whose key is not below this one, or with `before` the last one
 * whose key is not above it. Views are valid until the next call. 0; ENOENT;
 * EBADMSG: a page is damaged; then out->key is where to go on behind it (no
 * bytes: nowhere); ENOMEM, EIO, ... */
int pages_seek(struct pages *pages, enum base_table table, const void *key,
    size_t key_bytes, bool before, struct base_item *out);

/* The number of the page that did not hold, after EBADMSG. */
uint64_t pages_damaged_page(const struct pages *pages);
/* Of the transaction that the last call looked at. */
uint64_t pages_transaction(const struct pages *pages);
/* How many items the table has, as it says. */
uint64_t pages_count(const struct pages *pages, enum base_table table);
/* Bytes on disk, and how many of them wait to be used again. */
void pages_sizes(struct pages *pages, uint64_t *disk, uint64_t *free_inside);

#endif
