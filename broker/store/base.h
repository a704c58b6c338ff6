/* SPDX-License-Identifier: MIT
 *
 * The tables on disk that checkpoints go to: ordered keys and values, changed
 * by one transaction at a time, which is durable as a whole or not at all. One
 * small interface, so that tests can put something else behind it.
 *
 * One thread. Functions return 0 or a number of errno(3): ENOENT for "there is
 * none", EAGAIN where the transaction has ended and must be made again from its
 * beginning, ENOSPC and EDQUOT where it has ended because the disk is full,
 * EBADMSG where what was read is damaged.
 */
#ifndef BROKER_STORE_BASE_H
#define BROKER_STORE_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BASE_KEY_MAX 511u

/* The format of the tables: proto/STORE.md section 5. */
#define BASE_VERSION 1u

enum base_table {
    BASE_META,       /* numbers of the store as a whole */
    BASE_STREAMS,    /* stream number: a STREAM entry with state */
    BASE_BLOCKS,     /* stream number, first sequence: RECORDS entries */
    BASE_VALUES,     /* space, key: a VALUE entry */
    BASE_PUBLISHERS, /* name: a PUBLISHER entry */
    BASE_TABLES,
};

struct base_item {
    const uint8_t *key;
    size_t key_bytes;
    const uint8_t *data;
    size_t bytes;
};

struct base {
    /* A transaction that changes. After an error of put, delete_range or
     * commit it has ended; abort is allowed all the same. */
    int (*begin)(struct base *base);
    int (*put)(struct base *base, enum base_table table, const void *key,
        size_t key_bytes, const void *data, size_t bytes);
    /* All keys from `first` on that are below `end`. */
    int (*delete_range)(struct base *base, enum base_table table,
        const void *first, size_t first_bytes, const void *end,
        size_t end_bytes);
    int (*commit)(struct base *base);
    void (*abort)(struct base *base);
    /* A view of what was committed; items are valid until its end. */
    int (*view_begin)(struct base *base);
    void (*view_end)(struct base *base);
    /* The first item whose key is not below this one, or with `before` the last
     * one whose key is not above it; then the one after that. */
    int (*seek)(struct base *base, enum base_table table, const void *key,
        size_t key_bytes, bool before, struct base_item *out);
    int (*next)(
        struct base *base, enum base_table table, struct base_item *out);
    /* Bytes on disk, and how many of them are free for what is put next. */
    void (*sizes)(struct base *base, uint64_t *disk, uint64_t *free_inside);
    void (*close)(struct base *base);
};

/* LMDB in this file of the directory. ENOENT without `create` and EBADMSG if it
 * is damaged; `why` says more. */
int base_lmdb_open(const char *path, bool create, struct base **out, char *why,
    size_t why_size);

/* Before that, for a process without threads: 0, or EBADMSG if walking through
 * the file fails or would crash this process. Large files are not checked. */
int base_lmdb_check(const char *path);

#endif
