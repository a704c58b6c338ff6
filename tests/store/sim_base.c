/* SPDX-License-Identifier: MIT
 *
 * Tables in memory with faults; see sim_base.h. Items do not change, so that a
 * version of the tables is an array of references to them. */
#include "sim_base.h"

#include "../core/random.h"
#include "sim_bytes.h"

#include <assert.h>
#include <errno.h>

struct item {
    uint64_t references;
    size_t key_bytes, bytes;
    uint8_t key[BASE_KEY_MAX];
    uint8_t *data;
};

struct table {
    struct item **items; /* by key */
    size_t count, capacity;
};

struct version {
    struct table tables[BASE_TABLES];
};

struct sim_base {
    struct base base;
    struct random random;
    struct version committed, working, view, doubtful;
    bool in_transaction, in_view, has_doubtful, is_off;
    enum base_table at_table; /* of the cursor */
    size_t at_index;
    bool at_valid;
    struct sim_base_fault fault;
    uint64_t counts[SIM_BASE_CALLS], matched, failed;
    uint64_t cut_left;
    void (*cut)(void *arg);
    void *cut_arg;
};

static struct sim_base *
sim_of(struct base *base)
{
    return (struct sim_base *)base;
}

/* ---- items and versions -------------------------------------------------- */

static void
item_unref(struct item *item)
{
    if (--item->references == 0) {
        free(item->data);
        free(item);
    }
}

static struct item *
item_new(const void *key, size_t key_bytes, const void *data, size_t bytes)
{
    struct item *item = sim_must(calloc(1, sizeof *item));
    item->references = 1;
    item->key_bytes = key_bytes;
    memcpy(item->key, key, key_bytes);
    item->bytes = bytes;
    item->data = sim_must(malloc(bytes + 1));
    if (bytes != 0) {
        memcpy(item->data, data, bytes);
    }
    return item;
}

static int
compare(const struct item *item, const void *key, size_t key_bytes)
{
    size_t common = item->key_bytes < key_bytes ? item->key_bytes : key_bytes;
    int order = memcmp(item->key, key, common);
    if (order != 0) {
        return order;
    }
    return (item->key_bytes > key_bytes) - (item->key_bytes < key_bytes);
}

/* The first item whose key is not below this one. */
static size_t
find(const struct table *table, const void *key, size_t key_bytes)
{
    size_t low = 0;
    size_t high = table->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (compare(table->items[middle], key, key_bytes) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static void
version_clear(struct version *version)
{
    for (unsigned t = 0; t < BASE_TABLES; t++) {
        struct table *table = &version->tables[t];
        while (table->count != 0) {
            item_unref(table->items[--table->count]);
        }
        free(table->items);
    }
    memset(version, 0, sizeof *version);
}

static void
version_copy(struct version *to, const struct version *from)
{
    version_clear(to);
    for (unsigned t = 0; t < BASE_TABLES; t++) {
        const struct table *table = &from->tables[t];
        to->tables[t].items =
            sim_must(calloc(table->count + 1, sizeof(struct item *)));
        to->tables[t].capacity = table->count + 1;
        to->tables[t].count = table->count;
        for (size_t i = 0; i < table->count; i++) {
            to->tables[t].items[i] = table->items[i];
            table->items[i]->references++;
        }
    }
}

static void
version_move(struct version *to, struct version *from)
{
    version_clear(to);
    *to = *from;
    memset(from, 0, sizeof *from);
}

/* ---- faults -------------------------------------------------------------- */

static int
begin_call(struct sim_base *sim, enum sim_base_call call)
{
    sim->counts[call]++;
    if (sim->is_off) {
        return EIO;
    }
    if ((sim->fault.calls & SIM_BASE_BIT(call)) == 0) {
        return 0;
    }
    sim->matched++;
    if (sim->matched < sim->fault.first ||
        sim->matched - sim->fault.first >= sim->fault.count) {
        return 0;
    }
    sim->failed++;
    return sim->fault.error;
}

static int
end_transaction(struct sim_base *sim, int error)
{
    sim->in_transaction = false;
    version_clear(&sim->working);
    return error;
}

/* ---- transactions -------------------------------------------------------- */

static int
base_begin(struct base *base)
{
    struct sim_base *sim = sim_of(base);
    assert(!sim->in_transaction);
    int error = begin_call(sim, SIM_BASE_BEGIN);
    if (error == 0) {
        version_copy(&sim->working, &sim->committed);
        sim->in_transaction = true;
    }
    return error;
}

static int
base_put(struct base *base, enum base_table t, const void *key,
    size_t key_bytes, const void *data, size_t bytes)
{
    struct sim_base *sim = sim_of(base);
    assert(sim->in_transaction);
    assert(key_bytes != 0 && key_bytes <= BASE_KEY_MAX);
    int error = begin_call(sim, SIM_BASE_PUT);
    if (error != 0) {
        return end_transaction(sim, error);
    }
    struct table *table = &sim->working.tables[t];
    struct item *item = item_new(key, key_bytes, data, bytes);
    size_t place = find(table, key, key_bytes);
    if (place < table->count &&
        compare(table->items[place], key, key_bytes) == 0) {
        item_unref(table->items[place]);
        table->items[place] = item;
        return 0;
    }
    if (table->count == table->capacity) {
        table->capacity = table->capacity * 2 + 16;
        table->items = sim_must(
            realloc(table->items, table->capacity * sizeof(struct item *)));
    }
    memmove(&table->items[place + 1], &table->items[place],
        (table->count - place) * sizeof(struct item *));
    table->items[place] = item;
    table->count++;
    return 0;
}

static int
base_delete_range(struct base *base, enum base_table t, const void *first,
    size_t first_bytes, const void *end, size_t end_bytes)
{
    struct sim_base *sim = sim_of(base);
    assert(sim->in_transaction);
    int error = begin_call(sim, SIM_BASE_DELETE);
    if (error != 0) {
        return end_transaction(sim, error);
    }
    struct table *table = &sim->working.tables[t];
    size_t low = find(table, first, first_bytes);
    size_t high = find(table, end, end_bytes);
    if (low < high) {
        for (size_t i = low; i < high; i++) {
            item_unref(table->items[i]);
        }
        memmove(&table->items[low], &table->items[high],
            (table->count - high) * sizeof(struct item *));
        table->count -= high - low;
    }
    return 0;
}

static int
base_commit(struct base *base)
{
    struct sim_base *sim = sim_of(base);
    assert(sim->in_transaction);
    int error = begin_call(sim, SIM_BASE_COMMIT);
    if (error != 0) {
        if (!sim->is_off) {
            version_move(&sim->doubtful, &sim->working);
            sim->has_doubtful = true;
        }
        return end_transaction(sim, error);
    }
    if (sim->cut_left != 0 && --sim->cut_left == 0) {
        version_move(&sim->doubtful, &sim->working);
        sim->has_doubtful = true;
        sim_base_power_off(base);
        sim->cut(sim->cut_arg);
        return end_transaction(sim, EIO);
    }
    version_move(&sim->committed, &sim->working);
    version_clear(&sim->doubtful);
    sim->has_doubtful = false;
    return end_transaction(sim, 0);
}

static void
base_abort(struct base *base)
{
    (void)end_transaction(sim_of(base), 0);
}

/* ---- reading ------------------------------------------------------------- */

static int
base_view_begin(struct base *base)
{
    struct sim_base *sim = sim_of(base);
    assert(!sim->in_view);
    int error = begin_call(sim, SIM_BASE_VIEW);
    if (error == 0) {
        version_copy(&sim->view, &sim->committed);
        sim->in_view = true;
    }
    sim->at_valid = false;
    return error;
}

static void
base_view_end(struct base *base)
{
    struct sim_base *sim = sim_of(base);
    sim->in_view = false;
    sim->at_valid = false;
    version_clear(&sim->view);
}

static int
give(struct sim_base *sim, struct base_item *out)
{
    const struct version *version = sim->in_view ? &sim->view : &sim->working;
    const struct table *table = &version->tables[sim->at_table];
    if (sim->at_index >= table->count) {
        sim->at_valid = false;
        return ENOENT;
    }
    const struct item *item = table->items[sim->at_index];
    sim->at_valid = true;
    *out = (struct base_item){.key = item->key,
        .key_bytes = item->key_bytes,
        .data = item->data,
        .bytes = item->bytes};
    return 0;
}

static int
base_seek(struct base *base, enum base_table t, const void *key,
    size_t key_bytes, bool before, struct base_item *out)
{
    struct sim_base *sim = sim_of(base);
    assert(sim->in_view || sim->in_transaction);
    int error = begin_call(sim, SIM_BASE_SEEK);
    if (error != 0) {
        return error;
    }
    const struct version *version = sim->in_view ? &sim->view : &sim->working;
    const struct table *table = &version->tables[t];
    sim->at_table = t;
    sim->at_index = find(table, key, key_bytes);
    if (before &&
        (sim->at_index == table->count ||
            compare(table->items[sim->at_index], key, key_bytes) != 0)) {
        if (sim->at_index == 0) {
            sim->at_valid = false;
            return ENOENT;
        }
        sim->at_index--;
    }
    return give(sim, out);
}

static int
base_next(struct base *base, enum base_table t, struct base_item *out)
{
    struct sim_base *sim = sim_of(base);
    assert(sim->at_valid && sim->at_table == t);
    int error = begin_call(sim, SIM_BASE_SEEK);
    if (error != 0) {
        return error;
    }
    sim->at_index++;
    return give(sim, out);
}

static void
base_sizes(struct base *base, uint64_t *disk, uint64_t *free_inside)
{
    const struct sim_base *sim = sim_of(base);
    *disk = 0;
    *free_inside = 0;
    for (unsigned t = 0; t < BASE_TABLES; t++) {
        const struct table *table = &sim->committed.tables[t];
        for (size_t i = 0; i < table->count; i++) {
            *disk += table->items[i]->key_bytes + table->items[i]->bytes;
        }
    }
}

static void
base_close(struct base *base)
{
    struct sim_base *sim = sim_of(base);
    version_clear(&sim->committed);
    version_clear(&sim->working);
    version_clear(&sim->view);
    version_clear(&sim->doubtful);
    free(sim);
}

/* ---- from outside -------------------------------------------------------- */

void
sim_base_fault(struct base *base, const struct sim_base_fault *fault)
{
    struct sim_base *sim = sim_of(base);
    sim->fault = fault != NULL ? *fault : (struct sim_base_fault){0};
    sim->matched = 0;
}

uint64_t
sim_base_count(const struct base *base, unsigned calls)
{
    const struct sim_base *sim = (const struct sim_base *)base;
    uint64_t count = 0;
    for (unsigned call = 0; call < SIM_BASE_CALLS; call++) {
        count += (calls & SIM_BASE_BIT(call)) != 0 ? sim->counts[call] : 0;
    }
    return count;
}

uint64_t
sim_base_failed(const struct base *base)
{
    return ((const struct sim_base *)base)->failed;
}

void
sim_base_cut_at(
    struct base *base, uint64_t n, void (*cut)(void *arg), void *arg)
{
    struct sim_base *sim = sim_of(base);
    sim->cut_left = n;
    sim->cut = cut;
    sim->cut_arg = arg;
}

void
sim_base_power_off(struct base *base)
{
    struct sim_base *sim = sim_of(base);
    assert(!sim->is_off);
    sim->is_off = true;
    sim->cut_left = 0;
    if (sim->has_doubtful && random_chance(&sim->random, 50)) {
        version_move(&sim->committed, &sim->doubtful);
    }
    version_clear(&sim->doubtful);
    sim->has_doubtful = false;
}

void
sim_base_power_on(struct base *base)
{
    struct sim_base *sim = sim_of(base);
    assert(sim->is_off && !sim->in_view);
    sim->is_off = false;
    (void)end_transaction(sim, 0);
}

struct base *
sim_base_copy(const struct base *base, uint64_t seed)
{
    struct base *copy = sim_base_new(seed);
    if (copy == NULL) {
        return NULL;
    }
    const struct version *from = &((const struct sim_base *)base)->committed;
    struct version *to = &sim_of(copy)->committed;
    version_copy(to, from);
    for (unsigned t = 0; t < BASE_TABLES; t++) {
        for (size_t i = 0; i < to->tables[t].count; i++) {
            struct item *item = to->tables[t].items[i];
            to->tables[t].items[i] =
                item_new(item->key, item->key_bytes, item->data, item->bytes);
            item_unref(item);
        }
    }
    return copy;
}

bool
sim_base_item(struct base *base, enum base_table table, size_t index,
    uint8_t **data, size_t *bytes)
{
    const struct table *items = &sim_of(base)->committed.tables[table];
    if (index >= items->count) {
        return false;
    }
    *data = items->items[index]->data;
    *bytes = items->items[index]->bytes;
    return true;
}

struct base *
sim_base_new(uint64_t seed)
{
    struct sim_base *sim = calloc(1, sizeof *sim);
    if (sim == NULL) {
        return NULL;
    }
    sim->base = (struct base){.begin = base_begin,
        .put = base_put,
        .delete_range = base_delete_range,
        .commit = base_commit,
        .abort = base_abort,
        .view_begin = base_view_begin,
        .view_end = base_view_end,
        .seek = base_seek,
        .next = base_next,
        .sizes = base_sizes,
        .close = base_close};
    sim->random.state = seed ^ UINT64_C(0x5bd1e995);
    return &sim->base;
}
