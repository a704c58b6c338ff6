/* SPDX-License-Identifier: MIT
 *
 * Tables in LMDB; see base.h.
 *
 * Neither MDB_WRITEMAP nor MDB_NOSYNC: a commit is durable. The map is address
 * space, not disk; it grows between transactions, which is why a transaction
 * may have to be made again. Nothing is deleted through a cursor that is used
 * afterwards without seeking anew. LMDB has no checksums: entries have theirs.
 */
#include "base.h"
#include "bytes.h"

#include <lmdb.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#define MAP_MIN    ((size_t)1 << 30)
#define FULL_BYTES (64u * 1024u) /* a disk with no more free is full */

static const char *const table_names[BASE_TABLES] = {
    "meta", "streams", "blocks", "values", "publishers"};
struct lmdb {
    struct base base;
    MDB_env *env;
    MDB_dbi tables[BASE_TABLES];
    MDB_txn *change;
    MDB_txn *view;
    MDB_cursor *cursors[BASE_TABLES]; /* of the view */
    size_t map_bytes;
    uint64_t free_inside; /* as of the last commit */
};

static struct lmdb *
lmdb_of(struct base *base)
{
    return (struct lmdb *)base;
}

static int
error_of(int code)
{
    if (code == MDB_NOTFOUND) {
        return ENOENT;
    }
    return code > 0 ? code : code == MDB_SUCCESS ? 0 : EBADMSG;
}

/* LMDB calls it EIO when less was written than it wanted to write, which is
 * what a disk does that becomes full just then. To take a true EIO on a full
 * disk for that does no harm: what this transaction wrote is nowhere referred
 * to, and the next one writes all of it anew. */
static bool
is_full(const struct lmdb *lmdb)
{
    int descriptor;
    struct statvfs info;
    return mdb_env_get_fd(lmdb->env, &descriptor) == MDB_SUCCESS &&
           fstatvfs(descriptor, &info) == 0 &&
           info.f_bavail <= FULL_BYTES / info.f_frsize;
}

/* The transaction has failed; what there is to do about it. */
static int
end_change(struct lmdb *lmdb, int code)
{
    if (code == EIO && is_full(lmdb)) {
        code = ENOSPC;
    }
    if (lmdb->change != NULL) {
        mdb_txn_abort(lmdb->change);
        lmdb->change = NULL;
    }
    if (code == MDB_MAP_FULL) {
        size_t more = lmdb->map_bytes * 2;
        code = mdb_env_set_mapsize(lmdb->env, more);
        if (code == MDB_SUCCESS) {
            lmdb->map_bytes = more;
            return EAGAIN;
        }
    }
    return error_of(code);
}

static int
lmdb_begin(struct base *base)
{
    struct lmdb *lmdb = lmdb_of(base);
    return error_of(mdb_txn_begin(lmdb->env, NULL, 0, &lmdb->change));
}

static int
lmdb_put(struct base *base, enum base_table table, const void *key,
    size_t key_bytes, const void *data, size_t bytes)
{
    struct lmdb *lmdb = lmdb_of(base);
    union {
        const void *read;
        void *declared; /* LMDB does not write to it */
    } key_at = {.read = key}, data_at = {.read = data};
    MDB_val key_value = {.mv_size = key_bytes, .mv_data = key_at.declared};
    MDB_val data_value = {.mv_size = bytes, .mv_data = data_at.declared};
    int code =
        mdb_put(lmdb->change, lmdb->tables[table], &key_value, &data_value, 0);
    return code == MDB_SUCCESS ? 0 : end_change(lmdb, code);
}

static bool
is_below(const MDB_val *key, const void *end, size_t end_bytes)
{
    size_t least = key->mv_size < end_bytes ? key->mv_size : end_bytes;
    int order = memcmp(key->mv_data, end, least);
    return order < 0 || (order == 0 && key->mv_size < end_bytes);
}

static int
lmdb_delete_range(struct base *base, enum base_table table, const void *first,
    size_t first_bytes, const void *end, size_t end_bytes)
{
    struct lmdb *lmdb = lmdb_of(base);
    MDB_cursor *cursor;
    int code = mdb_cursor_open(lmdb->change, lmdb->tables[table], &cursor);
    if (code != MDB_SUCCESS) {
        return end_change(lmdb, code);
    }
    for (;;) {
        union {
            const void *read;
            void *declared;
        } at = {.read = first};
        MDB_val key = {.mv_size = first_bytes, .mv_data = at.declared};
        MDB_val data;
        code = mdb_cursor_get(cursor, &key, &data, MDB_SET_RANGE);
        if (code != MDB_SUCCESS || !is_below(&key, end, end_bytes)) {
            break;
        }
        code = mdb_cursor_del(cursor, 0);
        if (code != MDB_SUCCESS) {
            break;
        }
    }
    mdb_cursor_close(cursor);
    return code == MDB_SUCCESS || code == MDB_NOTFOUND ? 0
                                                       : end_change(lmdb, code);
}

/* Pages that the next transactions can use: what the list of free pages says.
 * Its entries are arrays of page numbers that begin with their count. */
static void
count_free(struct lmdb *lmdb)
{
    MDB_txn *txn;
    MDB_cursor *cursor;
    MDB_stat stat;
    uint64_t pages = 0;
    if (mdb_txn_begin(lmdb->env, NULL, MDB_RDONLY, &txn) != MDB_SUCCESS) {
        return;
    }
    if (mdb_cursor_open(txn, 0, &cursor) == MDB_SUCCESS) {
        MDB_val key;
        MDB_val data;
        while (mdb_cursor_get(cursor, &key, &data, MDB_NEXT) == MDB_SUCCESS) {
            size_t count;
            memcpy(&count, data.mv_data, sizeof count);
            pages += count;
        }
        mdb_cursor_close(cursor);
    }
    mdb_txn_abort(txn);
    if (mdb_env_stat(lmdb->env, &stat) == MDB_SUCCESS) {
        lmdb->free_inside = pages * stat.ms_psize;
    }
}

static int
lmdb_commit(struct base *base)
{
    struct lmdb *lmdb = lmdb_of(base);
    int code = mdb_txn_commit(lmdb->change);
    lmdb->change = NULL;
    if (code != MDB_SUCCESS) {
        return end_change(lmdb, code);
    }
    count_free(lmdb);
    return 0;
}

static void
lmdb_abort(struct base *base)
{
    end_change(lmdb_of(base), MDB_SUCCESS);
}

static void
lmdb_view_end(struct base *base)
{
    struct lmdb *lmdb = lmdb_of(base);
    for (int i = 0; i < BASE_TABLES; i++) {
        if (lmdb->cursors[i] != NULL) {
            mdb_cursor_close(lmdb->cursors[i]);
            lmdb->cursors[i] = NULL;
        }
    }
    if (lmdb->view != NULL) {
        mdb_txn_abort(lmdb->view);
        lmdb->view = NULL;
    }
}

static int
lmdb_view_begin(struct base *base)
{
    struct lmdb *lmdb = lmdb_of(base);
    int code = mdb_txn_begin(lmdb->env, NULL, MDB_RDONLY, &lmdb->view);
    if (code == MDB_MAP_RESIZED) { /* by the process that writes */
        code = mdb_env_set_mapsize(lmdb->env, 0);
        if (code == MDB_SUCCESS) {
            code = mdb_txn_begin(lmdb->env, NULL, MDB_RDONLY, &lmdb->view);
        }
    }
    for (int i = 0; i < BASE_TABLES && code == MDB_SUCCESS; i++) {
        code = mdb_cursor_open(lmdb->view, lmdb->tables[i], &lmdb->cursors[i]);
    }
    if (code != MDB_SUCCESS) {
        lmdb_view_end(base);
    }
    return error_of(code);
}

static void
set_item(struct base_item *out, const MDB_val *key, const MDB_val *data)
{
    *out = (struct base_item){.key = key->mv_data,
        .key_bytes = key->mv_size,
        .data = data->mv_data,
        .bytes = data->mv_size};
}

static int
lmdb_seek(struct base *base, enum base_table table, const void *key,
    size_t key_bytes, bool before, struct base_item *out)
{
    MDB_cursor *cursor = lmdb_of(base)->cursors[table];
    union {
        const void *read;
        void *declared;
    } at = {.read = key};
    MDB_val found = {.mv_size = key_bytes, .mv_data = at.declared};
    MDB_val data;
    int code = key_bytes == 0
                   ? mdb_cursor_get(cursor, &found, &data, MDB_FIRST)
                   : mdb_cursor_get(cursor, &found, &data, MDB_SET_RANGE);
    if (before && code == MDB_NOTFOUND) {
        code = mdb_cursor_get(cursor, &found, &data, MDB_LAST);
    } else if (before && code == MDB_SUCCESS &&
               (found.mv_size != key_bytes ||
                   memcmp(found.mv_data, key, key_bytes) != 0)) {
        code = mdb_cursor_get(cursor, &found, &data, MDB_PREV);
    }
    if (code == MDB_SUCCESS) {
        set_item(out, &found, &data);
    }
    return error_of(code);
}

static int
lmdb_next(struct base *base, enum base_table table, struct base_item *out)
{
    MDB_val key;
    MDB_val data;
    int code =
        mdb_cursor_get(lmdb_of(base)->cursors[table], &key, &data, MDB_NEXT);
    if (code == MDB_SUCCESS) {
        set_item(out, &key, &data);
    }
    return error_of(code);
}

static void
lmdb_sizes(struct base *base, uint64_t *disk, uint64_t *free_inside)
{
    struct lmdb *lmdb = lmdb_of(base);
    mdb_filehandle_t descriptor;
    struct stat info;
    *disk = 0;
    if (mdb_env_get_fd(lmdb->env, &descriptor) == MDB_SUCCESS &&
        fstat(descriptor, &info) == 0) {
        *disk = (uint64_t)info.st_blocks * 512;
    }
    *free_inside = lmdb->free_inside;
}

static void
lmdb_close(struct base *base)
{
    struct lmdb *lmdb = lmdb_of(base);
    lmdb_view_end(base);
    lmdb_abort(base);
    mdb_env_close(lmdb->env);
    free(lmdb);
}

/* ---- opening ------------------------------------------------------------- */

/* Our version of the format, in the table of numbers; a checksum behind it. */
static int
check_version(MDB_txn *txn, MDB_dbi meta, bool create)
{
    char name[] = "format";
    uint8_t bytes[4];
    MDB_val key = {.mv_size = sizeof name - 1, .mv_data = name};
    MDB_val data;
    int code = mdb_get(txn, meta, &key, &data);
    if (code == MDB_NOTFOUND && create) {
        put_u32(bytes, BASE_VERSION);
        data = (MDB_val){.mv_size = sizeof bytes, .mv_data = bytes};
        return error_of(mdb_put(txn, meta, &key, &data, 0));
    }
    if (code != MDB_SUCCESS || data.mv_size != sizeof bytes) {
        return EBADMSG;
    }
    return get_u32(data.mv_data) > BASE_VERSION ? EPROTO : 0;
}

static int
open_tables(struct lmdb *lmdb, bool create)
{
    MDB_txn *txn;
    int code = mdb_txn_begin(lmdb->env, NULL, 0, &txn);
    if (code != MDB_SUCCESS) {
        return error_of(code);
    }
    int error = 0;
    for (int i = 0; i < BASE_TABLES && error == 0; i++) {
        code = mdb_dbi_open(
            txn, table_names[i], create ? MDB_CREATE : 0, &lmdb->tables[i]);
        error = code == MDB_NOTFOUND ? EBADMSG : error_of(code);
    }
    if (error == 0) {
        error = check_version(txn, lmdb->tables[BASE_META], create);
    }
    if (error == 0) {
        return error_of(mdb_txn_commit(txn)); /* keeps the handles */
    }
    mdb_txn_abort(txn);
    return error;
}

static int
open_env(struct lmdb *lmdb, const char *path, uint64_t size)
{
    int code = mdb_env_create(&lmdb->env);
    if (code != MDB_SUCCESS) {
        return code;
    }
    lmdb->map_bytes = MAP_MIN;
    while (lmdb->map_bytes < size * 2) {
        lmdb->map_bytes *= 2;
    }
    code = mdb_env_set_mapsize(lmdb->env, lmdb->map_bytes);
    if (code == MDB_SUCCESS) {
        code = mdb_env_set_maxdbs(lmdb->env, BASE_TABLES);
    }
    if (code == MDB_SUCCESS) {
        unsigned int flags = MDB_NOSUBDIR | MDB_NOTLS;
        code = mdb_env_open(lmdb->env, path, flags, 0600);
    }
    if (code == MDB_SUCCESS) {
        int dead;
        code = mdb_reader_check(lmdb->env, &dead);
    }
    return code;
}

int
base_lmdb_open(const char *path, bool create, struct base **out, char *why,
    size_t why_size)
{
    struct stat info;
    bool exists = stat(path, &info) == 0;
    if (!exists && !create) {
        snprintf(why, why_size, "%s: %s", path, strerror(ENOENT));
        return ENOENT;
    }
    struct lmdb *lmdb = calloc(1, sizeof *lmdb);
    if (lmdb == NULL) {
        return ENOMEM;
    }
    lmdb->base = (struct base){.begin = lmdb_begin,
        .put = lmdb_put,
        .delete_range = lmdb_delete_range,
        .commit = lmdb_commit,
        .abort = lmdb_abort,
        .view_begin = lmdb_view_begin,
        .view_end = lmdb_view_end,
        .seek = lmdb_seek,
        .next = lmdb_next,
        .sizes = lmdb_sizes,
        .close = lmdb_close};
    uint64_t size = exists ? (uint64_t)info.st_size : 0;
    int code = open_env(lmdb, path, size);
    int error = code == MDB_SUCCESS ? open_tables(lmdb, create && size == 0)
                                    : error_of(code);
    if (error == 0) {
        count_free(lmdb);
        *out = &lmdb->base;
        return 0;
    }
    snprintf(why, why_size, "%s: %s", path,
        code != MDB_SUCCESS ? mdb_strerror(code)
        : error == EPROTO   ? "a later version wrote it"
        : error == EBADMSG  ? "it is damaged"
                            : strerror(error));
    if (lmdb->env != NULL) {
        mdb_env_close(lmdb->env);
    }
    free(lmdb);
    return error;
}
