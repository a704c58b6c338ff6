/* SPDX-License-Identifier: MIT
 *
 * Pages of LMDB; see pages.h.
 *
 * The format is LMDB's own, version 1 of its data: numbers in the machine's
 * byte order; pages 0 and 1 say where the trees are, the one with the higher
 * transaction counts; a page has 16 bytes of header, then offsets of its nodes;
 * a node has 8 bytes of header, then the key, then data or the number of the
 * first of the pages that hold it. Every page is copied before it is looked at,
 * so that no check is overtaken by a change. */
#include "pages.h"

#include "bytes.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define META_MAGIC   UINT32_C(0xBEEFC0DE)
#define META_VERSION 1u
#define META_BYTES   152u /* with the page's header */
#define TREE_BYTES   48u
#define PAGE_HEAD    16u
#define NODE_HEAD    8u
#define PAGE_MIN     256u
#define PAGE_MAX     65536u
#define DEPTH_MAX    24u
#define NO_PAGE      UINT64_MAX

enum { PAGE_BRANCH = 1, PAGE_LEAF = 2, PAGE_OVERFLOW = 4 };
enum { NODE_BIG = 1, NODE_TREE = 2, NODE_MANY = 4 };

struct tree {
    uint64_t root; /* NO_PAGE: it is empty */
    uint64_t entries;
    unsigned depth;
};

/* One page, copied. */
struct page {
    uint64_t number;
    uint8_t *bytes;
    unsigned kind;
    unsigned count; /* nodes */
};

struct node {
    const uint8_t *key;
    size_t key_bytes;
    const uint8_t *data; /* within the page; NODE_BIG: 8 bytes */
    size_t bytes;        /* of the data, wherever it is */
    unsigned flags;
    uint64_t child; /* of a branch */
};

struct key {
    size_t bytes;
    uint8_t at[BASE_KEY_MAX + 1]; /* the next key has one more */
};

struct pages {
    int file;
    size_t page_bytes;
    uint64_t transaction;
    uint64_t file_pages;
    uint64_t damaged;
    struct tree free, main, tables[BASE_TABLES];
    struct page levels[DEPTH_MAX]; /* of this transaction */
    uint8_t *big;
    size_t big_capacity;
    struct key bound; /* of the last descent: what lies behind, or before */
    uint8_t level_bytes[];
};

/* ---- bytes --------------------------------------------------------------- */

static uint16_t
load_16(const uint8_t *src)
{
    uint16_t value;
    memcpy(&value, src, sizeof value);
    return value;
}

static uint32_t
load_32(const uint8_t *src)
{
    uint32_t value;
    memcpy(&value, src, sizeof value);
    return value;
}

static uint64_t
load_64(const uint8_t *src)
{
    uint64_t value;
    memcpy(&value, src, sizeof value);
    return value;
}

/* EBADMSG: the file ends before. */
static int
read_at(const struct pages *pages, void *dst, size_t bytes, uint64_t offset)
{
    size_t got = 0;
    while (got < bytes) {
        ssize_t n = pread(pages->file, (uint8_t *)dst + got, bytes - got,
            (off_t)(offset + got));
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return n < 0 ? errno : EBADMSG;
        }
        got += (size_t)n;
    }
    return 0;
}

static int
compare(const uint8_t *a, size_t a_bytes, const uint8_t *b, size_t b_bytes)
{
    size_t least = a_bytes < b_bytes ? a_bytes : b_bytes;
    int order = least > 0 ? memcmp(a, b, least) : 0;
    return order != 0 ? order : (a_bytes > b_bytes) - (a_bytes < b_bytes);
}

static void
set_key(struct key *key, const uint8_t *src, size_t bytes)
{
    key->bytes = bytes;
    if (bytes > 0) {
        memcpy(key->at, src, bytes);
    }
}

/* ---- pages and nodes ----------------------------------------------------- */

static int
damaged(struct pages *pages, uint64_t number)
{
    pages->damaged = number;
    return EBADMSG;
}

/* A page of a tree, into the place of its level. */
static int
get_page(struct pages *pages, unsigned level, uint64_t number, unsigned kind,
    const struct page **out)
{
    struct page *page = &pages->levels[level];
    if (page->number != number) {
        page->number = NO_PAGE;
        if (number >= pages->file_pages) {
            return damaged(pages, number);
        }
        int error = read_at(
            pages, page->bytes, pages->page_bytes, number * pages->page_bytes);
        if (error != 0) {
            return error == EBADMSG ? damaged(pages, number) : error;
        }
        unsigned lower = load_16(page->bytes + 12);
        unsigned upper = load_16(page->bytes + 14);
        if (load_64(page->bytes) != number || lower < PAGE_HEAD ||
            lower > upper || upper > pages->page_bytes || lower % 2 != 0) {
            return damaged(pages, number);
        }
        page->kind = load_16(page->bytes + 10);
        page->count = (lower - PAGE_HEAD) / 2;
        page->number = number;
    }
    if ((page->kind & (PAGE_BRANCH | PAGE_LEAF | PAGE_OVERFLOW)) != kind ||
        page->count == 0) {
        return damaged(pages, number);
    }
    *out = page;
    return 0;
}

static bool
get_node(const struct pages *pages, const struct page *page, unsigned nth,
    struct node *out)
{
    size_t at = load_16(page->bytes + PAGE_HEAD + 2 * (size_t)nth);
    if (at < PAGE_HEAD || at > pages->page_bytes - NODE_HEAD) {
        return false;
    }
    const uint8_t *src = page->bytes + at;
    size_t left = pages->page_bytes - at - NODE_HEAD;
    uint64_t low = load_16(src) | (uint64_t)load_16(src + 2) << 16;
    struct node node = {.flags = load_16(src + 4),
        .key_bytes = load_16(src + 6),
        .key = src + NODE_HEAD,
        .bytes = (size_t)low};
    if (node.key_bytes > left || node.key_bytes > BASE_KEY_MAX) {
        return false;
    }
    left -= node.key_bytes;
    node.data = node.key + node.key_bytes;
    if ((page->kind & PAGE_BRANCH) != 0) {
        node.child = low | (uint64_t)node.flags << 32;
    } else if (((node.flags & NODE_BIG) != 0 ? 8 : node.bytes) > left) {
        return false;
    }
    *out = node;
    return true;
}

/* The data of a node that has its own pages. */
static int
get_big(struct pages *pages, const struct node *node, const uint8_t **data)
{
    uint64_t number = load_64(node->data);
    uint8_t head[PAGE_HEAD];
    uint64_t offset = number * pages->page_bytes;
    if (number >= pages->file_pages ||
        (pages->file_pages - number) * pages->page_bytes - PAGE_HEAD <
            node->bytes) {
        return damaged(pages, number);
    }
    int error = read_at(pages, head, sizeof head, offset);
    if (error == 0 &&
        (load_64(head) != number || load_16(head + 10) != PAGE_OVERFLOW ||
            load_32(head + 12) * (uint64_t)pages->page_bytes - PAGE_HEAD <
                node->bytes)) {
        return damaged(pages, number);
    }
    if (error == 0 && node->bytes > pages->big_capacity) {
        uint8_t *big = realloc(pages->big, node->bytes);
        if (big == NULL) {
            return ENOMEM;
        }
        pages->big = big;
        pages->big_capacity = node->bytes;
    }
    if (error == 0) {
        error = read_at(pages, pages->big, node->bytes, offset + PAGE_HEAD);
    }
    *data = pages->big;
    return error == EBADMSG ? damaged(pages, number) : error;
}

static int
give(struct pages *pages, const struct node *node, struct base_item *out)
{
    struct base_item item = {.key = node->key,
        .key_bytes = node->key_bytes,
        .data = node->data,
        .bytes = node->bytes};
    int error = 0;
    if ((node->flags & NODE_BIG) != 0) {
        error = get_big(pages, node, &item.data);
    }
    if (error == 0) {
        *out = item;
    }
    return error;
}

/* ---- seeking ------------------------------------------------------------- */

/* Go down to the leaf that the key belongs to; `exclusive`: what is just below
 * it. pages->bound is then the first key of the next leaf (or with `before` of
 * this one), as far as it is known; no bytes: there is none. */
static int
descend(struct pages *pages, const struct tree *tree, const struct key *key,
    bool before, bool exclusive, const struct page **leaf)
{
    const struct page *page;
    uint64_t number = tree->root;
    pages->bound.bytes = 0;
    for (unsigned level = 0; level + 1 < tree->depth; level++) {
        int error = get_page(pages, level, number, PAGE_BRANCH, &page);
        struct node chosen;
        struct node next = {.key_bytes = 0};
        unsigned i = 0;
        if (error != 0) {
            return error;
        }
        if (!get_node(pages, page, 0, &chosen)) {
            return damaged(pages, number);
        }
        while (++i < page->count) {
            if (!get_node(pages, page, i, &next)) {
                return damaged(pages, number);
            }
            int order = compare(next.key, next.key_bytes, key->at, key->bytes);
            if (order > 0 || (order == 0 && exclusive)) {
                break;
            }
            chosen = next;
        }
        if (!before && i < page->count) {
            set_key(&pages->bound, next.key, next.key_bytes);
        } else if (before && i > 1) {
            set_key(&pages->bound, chosen.key, chosen.key_bytes);
        }
        number = chosen.child;
    }
    return get_page(pages, tree->depth - 1, number, PAGE_LEAF, leaf);
}

/* The node of the leaf that is looked for. ENOENT: it has none. */
static int
find_in_leaf(struct pages *pages, const struct page *leaf,
    const struct key *key, bool before, bool exclusive, struct base_item *out)
{
    struct node found = {.key = NULL};
    struct node node;
    bool has = false;
    for (unsigned i = 0; i < leaf->count; i++) {
        if (!get_node(pages, leaf, i, &node)) {
            return damaged(pages, leaf->number);
        }
        int order = compare(node.key, node.key_bytes, key->at, key->bytes);
        if (before ? order < 0 || (order == 0 && !exclusive) : order >= 0) {
            found = node;
            has = true;
            if (!before) {
                break;
            }
        }
    }
    return has ? give(pages, &found, out) : ENOENT;
}

static int
seek_tree(struct pages *pages, const struct tree *tree, const struct key *from,
    bool before, struct base_item *out)
{
    struct key key = *from;
    bool exclusive = false;
    if (tree->root == NO_PAGE) {
        return ENOENT;
    }
    if (tree->depth == 0 || tree->depth > DEPTH_MAX) {
        out->key_bytes = 0;
        return damaged(pages, tree->root);
    }
    for (;;) {
        const struct page *leaf;
        int error = descend(pages, tree, &key, before, exclusive, &leaf);
        if (error == 0) {
            error = find_in_leaf(pages, leaf, &key, before, exclusive, out);
        }
        if (error == EBADMSG) {
            *out = (struct base_item){
                .key = pages->bound.at, .key_bytes = pages->bound.bytes};
        }
        if (error != ENOENT || pages->bound.bytes == 0) {
            return error;
        }
        key = pages->bound; /* the neighbour has it, if any has */
        exclusive = before;
    }
}

/* ---- transactions -------------------------------------------------------- */

static void
load_tree(const uint8_t *src, struct tree *tree)
{
    *tree = (struct tree){.root = load_64(src + 40),
        .entries = load_64(src + 32),
        .depth = load_16(src + 6)};
}

/* What pages 0 and 1 say, the newer one. */
static int
read_meta(const struct pages *pages, size_t page_bytes, uint8_t *meta,
    uint64_t *transaction)
{
    bool found = false;
    uint8_t one[META_BYTES];
    for (uint64_t i = 0; i < 2; i++) {
        int error = read_at(pages, one, sizeof one, i * page_bytes);
        if (error != 0 && error != EBADMSG) {
            return error;
        }
        uint64_t its = load_64(one + 144);
        if (error == 0 && load_32(one + PAGE_HEAD) == META_MAGIC &&
            load_32(one + PAGE_HEAD + 4) == META_VERSION &&
            (!found || its > *transaction)) {
            found = true;
            *transaction = its;
            memcpy(meta, one, sizeof one);
        }
    }
    return found ? 0 : EBADMSG;
}

/* The same, read until it is seen twice: it may be being written. */
static int
read_meta_whole(const struct pages *pages, uint8_t *meta, uint64_t *transaction)
{
    uint8_t again[META_BYTES];
    int error = read_meta(pages, pages->page_bytes, meta, transaction);
    for (int i = 0; i < 100 && error == 0; i++) {
        error = read_meta(pages, pages->page_bytes, again, transaction);
        if (error == 0 && memcmp(meta, again, sizeof again) == 0) {
            break;
        }
        memcpy(meta, again, sizeof again);
    }
    return error;
}

static int
find_table(struct pages *pages, const char *name, struct tree *tree)
{
    struct key key;
    struct base_item item;
    set_key(&key, (const uint8_t *)name, strlen(name));
    int error = seek_tree(pages, &pages->main, &key, false, &item);
    if (error == 0 && (item.key_bytes != key.bytes ||
                          memcmp(item.key, key.at, key.bytes) != 0 ||
                          item.bytes != TREE_BYTES)) {
        error = EBADMSG;
    }
    if (error == 0) {
        load_tree(item.data, tree);
    }
    return error == ENOENT ? EBADMSG : error;
}

/* Look at the newest transaction. */
static int
renew(struct pages *pages)
{
    static const char *const names[BASE_TABLES] = {
        "meta", "streams", "blocks", "values", "publishers"};
    uint8_t meta[META_BYTES];
    struct stat info;
    int error = read_meta_whole(pages, meta, &pages->transaction);
    if (error != 0) {
        return error;
    }
    if (fstat(pages->file, &info) != 0) {
        return errno;
    }
    pages->file_pages = (uint64_t)info.st_size / pages->page_bytes;
    for (unsigned i = 0; i < DEPTH_MAX; i++) {
        pages->levels[i].number = NO_PAGE;
    }
    load_tree(meta + 40, &pages->free);
    load_tree(meta + 88, &pages->main);
    for (int i = 0; i < BASE_TABLES && error == 0; i++) {
        error = find_table(pages, names[i], &pages->tables[i]);
    }
    return error;
}

/* Are the pages that were read still those of the transaction? */
static bool
still_holds(const struct pages *pages)
{
    uint8_t meta[META_BYTES];
    uint64_t newest = 0;
    return read_meta_whole(pages, meta, &newest) != 0 ||
           newest <= pages->transaction + 1;
}

int
pages_seek(struct pages *pages, enum base_table table, const void *key,
    size_t key_bytes, bool before, struct base_item *out)
{
    struct key from;
    set_key(&from, key, key_bytes);
    for (int i = 0;; i++) {
        int error = seek_tree(pages, &pages->tables[table], &from, before, out);
        if (still_holds(pages) || i == 1000) {
            return error;
        }
        error = renew(pages);
        if (error != 0 && still_holds(pages)) {
            out->key_bytes = 0;
            return error;
        }
    }
}

uint64_t
pages_damaged_page(const struct pages *pages)
{
    return pages->damaged;
}

uint64_t
pages_transaction(const struct pages *pages)
{
    return pages->transaction;
}

uint64_t
pages_count(const struct pages *pages, enum base_table table)
{
    return pages->tables[table].entries;
}

/* ---- free pages ---------------------------------------------------------- */

/* Items of the tree of free pages are arrays of numbers that begin with how
 * many there are. What does not hold is not counted; `budget` is how many nodes
 * may be looked at, because damaged ones may lead in circles. */
static uint64_t
count_free(struct pages *pages, const struct tree *tree, unsigned level,
    uint64_t root, uint64_t *budget)
{
    const struct page *page;
    struct node node;
    uint64_t sum = 0;
    bool is_leaf = level + 1 >= tree->depth;
    for (unsigned i = 0;; i++) {
        /* A child has taken nothing of this level, but the loop is simpler if
         * it need not know. */
        if (get_page(pages, level, root, is_leaf ? PAGE_LEAF : PAGE_BRANCH,
                &page) != 0 ||
            i >= page->count || !get_node(pages, page, i, &node) ||
            *budget == 0) {
            return sum;
        }
        --*budget;
        if (!is_leaf) {
            sum += count_free(pages, tree, level + 1, node.child, budget);
        } else if ((node.flags & NODE_BIG) == 0 && node.bytes >= 8) {
            sum += load_64(node.data);
        } else if ((node.flags & NODE_BIG) != 0) {
            uint8_t count[8];
            uint64_t number = load_64(node.data);
            if (number < pages->file_pages &&
                read_at(pages, count, sizeof count,
                    number * pages->page_bytes + PAGE_HEAD) == 0) {
                sum += load_64(count);
            }
        }
    }
}

void
pages_sizes(struct pages *pages, uint64_t *disk, uint64_t *free_inside)
{
    struct stat info;
    const struct tree *tree = &pages->free;
    *disk = 0;
    *free_inside = 0;
    if (fstat(pages->file, &info) == 0) {
        *disk = (uint64_t)info.st_blocks * 512;
    }
    if (tree->root != NO_PAGE && tree->depth > 0 && tree->depth <= DEPTH_MAX) {
        uint64_t budget = pages->file_pages;
        uint64_t count = count_free(pages, tree, 0, tree->root, &budget);
        *free_inside = (count < pages->file_pages ? count : pages->file_pages) *
                       pages->page_bytes;
    }
}

/* ---- opening ------------------------------------------------------------- */

/* Our version of the format. */
static int
check_version(struct pages *pages)
{
    static const char name[] = "format";
    struct base_item item;
    int error =
        pages_seek(pages, BASE_META, name, sizeof name - 1, false, &item);
    if (error != 0 || item.key_bytes != sizeof name - 1 ||
        memcmp(item.key, name, item.key_bytes) != 0 || item.bytes != 4) {
        return error == 0 || error == ENOENT ? EBADMSG : error;
    }
    return get_u32(item.data) > BASE_VERSION ? EPROTO : 0;
}

/* Page 0 says how large pages are; if it is damaged page 1, wherever it is. */
static int
find_page_bytes(const struct pages *pages, size_t *page_bytes)
{
    uint8_t meta[META_BYTES];
    int error = read_at(pages, meta, sizeof meta, 0);
    size_t bytes = 0;
    if (error == 0 && load_32(meta + PAGE_HEAD) == META_MAGIC) {
        bytes = load_32(meta + 40);
    }
    for (size_t guess = PAGE_MIN; bytes == 0 && error == 0 && guess <= PAGE_MAX;
         guess *= 2) {
        if (read_at(pages, meta, sizeof meta, guess) == 0 &&
            load_32(meta + PAGE_HEAD) == META_MAGIC) {
            bytes = load_32(meta + 40);
        }
    }
    if (bytes < PAGE_MIN || bytes > PAGE_MAX || (bytes & (bytes - 1)) != 0) {
        return error != 0 ? error : EBADMSG;
    }
    *page_bytes = bytes;
    return 0;
}

static int
set_up(const char *path, struct pages **out)
{
    struct pages probe = {.file = open(path, O_RDONLY | O_CLOEXEC)};
    size_t page_bytes = 0;
    if (probe.file < 0) {
        return errno;
    }
    int error = find_page_bytes(&probe, &page_bytes);
    struct pages *pages = NULL;
    if (error == 0) {
        pages = calloc(1, sizeof *pages + DEPTH_MAX * page_bytes);
        error = pages == NULL ? ENOMEM : 0;
    }
    if (error != 0) {
        close(probe.file);
        return error;
    }
    pages->file = probe.file;
    pages->page_bytes = page_bytes;
    for (unsigned i = 0; i < DEPTH_MAX; i++) {
        pages->levels[i] = (struct page){
            .number = NO_PAGE, .bytes = pages->level_bytes + i * page_bytes};
    }
    *out = pages;
    return 0;
}

int
pages_open(const char *path, struct pages **out, char *why, size_t why_size)
{
    struct pages *pages = NULL;
    int error = set_up(path, &pages);
    if (error == 0) {
        error = renew(pages);
    }
    for (int i = 0;
         pages != NULL && error == EBADMSG && i < 1000 && !still_holds(pages);
         i++) {
        error = renew(pages); /* pages have been used again meanwhile */
    }
    if (error == 0) {
        error = check_version(pages);
    }
    if (error == 0) {
        *out = pages;
        return 0;
    }
    snprintf(why, why_size, "%s: %s", path,
        error == EPROTO    ? "a later version wrote it"
        : error == EBADMSG ? "it is damaged"
                           : strerror(error));
    pages_close(pages);
    return error;
}

void
pages_close(struct pages *pages)
{
    if (pages != NULL) {
        close(pages->file);
        free(pages->big);
        free(pages);
    }
}
