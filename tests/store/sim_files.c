/* SPDX-License-Identifier: MIT
 *
 * Files in memory with faults; see sim_files.h. */
#include "sim_files.h"

#include "../core/random.h"
#include "sim_bytes.h"
#include "sim_names.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#define SECTOR_BYTES 512u

/* A write that is not durable yet, or with `data` NULL a truncation to
 * `offset`. */
struct change {
    STAILQ_ENTRY(change) next;
    uint8_t *data;
    uint64_t offset;
    size_t len;
    bool doomed; /* a sync has failed over it */
};

/* What a name stands for; it lives as long as the file system. */
struct node {
    SLIST_ENTRY(node) next;
    struct sim_bytes now, durable;
    STAILQ_HEAD(, change) changes;
};

/* A change of names: `name` stands for `node` from now on (NULL: for nothing),
 * and if `from` is not empty, that for nothing. */
struct naming {
    STAILQ_ENTRY(naming) next;
    char name[SIM_NAME_BYTES], from[SIM_NAME_BYTES];
    struct node *node;
    bool doomed;
};

struct file {
    struct node *node;
    uint32_t powered; /* when it was opened */
};

struct sim {
    struct file_system base;
    struct random random;
    struct sim_names now, durable;
    SLIST_HEAD(, node) nodes;
    STAILQ_HEAD(, naming) namings;
    struct sim_fault fault;
    uint64_t counts[SIM_CALLS], matched, failed;
    uint64_t capacity; /* 0: no limit */
    uint32_t powered;  /* how often power came; even: it is off */
    uint64_t cut_left; /* calls; 0: no cut is to come */
    bool cut_now;
    void (*cut)(void *arg);
    void *cut_arg;
};

static struct sim *
sim_of(struct file_system *system)
{
    return (struct sim *)system;
}

static struct node *
node_new(struct sim *sim)
{
    struct node *node = sim_must(calloc(1, sizeof *node));
    STAILQ_INIT(&node->changes);
    SLIST_INSERT_HEAD(&sim->nodes, node, next);
    return node;
}

static void
name_change(
    struct sim *sim, const char *name, const char *from, struct node *node)
{
    struct naming *naming = sim_must(calloc(1, sizeof *naming));
    assert(strlen(name) < SIM_NAME_BYTES && strlen(from) < SIM_NAME_BYTES);
    strcpy(naming->name, name);
    strcpy(naming->from, from);
    naming->node = node;
    STAILQ_INSERT_TAIL(&sim->namings, naming, next);
    sim_names_set(&sim->now, name, node);
    if (from[0] != 0) {
        sim_names_set(&sim->now, from, NULL);
    }
}

/* ---- faults -------------------------------------------------------------- */

/* The error that this call is to have. */
static int
begin_call(struct sim *sim, enum sim_call call)
{
    sim->counts[call]++;
    if (sim->powered % 2 == 0) {
        return EIO;
    }
    if (sim->cut_left != 0 && (SIM_CHANGES & SIM_BIT(call)) != 0) {
        sim->cut_now = --sim->cut_left == 0;
    }
    if ((sim->fault.calls & SIM_BIT(call)) == 0) {
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

/* A call that changes something has done it; the power may go now. */
static int
end_call(struct sim *sim)
{
    if (!sim->cut_now) {
        return 0;
    }
    sim->cut_now = false;
    sim_files_power_off(&sim->base);
    sim->cut(sim->cut_arg);
    return EIO;
}

static int
begin_file_call(struct sim *sim, enum sim_call call, const struct file *file)
{
    int error = begin_call(sim, call);
    return file->powered != sim->powered ? EIO : error;
}

static uint64_t
used_bytes(const struct sim *sim)
{
    uint64_t used = 0;
    for (size_t i = 0; i < sim->now.count; i++) {
        const struct node *node = sim->now.list[i].node;
        used += node != NULL ? node->now.size : 0;
    }
    return used;
}

static uint64_t
free_of(const struct sim *sim)
{
    uint64_t used = used_bytes(sim);
    if (sim->capacity == 0) {
        return UINT64_C(1) << 40;
    }
    return used < sim->capacity ? sim->capacity - used : 0;
}

/* ---- calls --------------------------------------------------------------- */

static int
sim_open(struct file_system *system, const char *name, bool create,
    struct file **out)
{
    struct sim *sim = sim_of(system);
    int error = begin_call(sim, SIM_OPEN);
    if (error != 0) {
        return error;
    }
    struct node *node = sim_names_get(&sim->now, name);
    if (node == NULL) {
        if (!create) {
            return ENOENT;
        }
        node = node_new(sim);
        name_change(sim, name, "", node);
    }
    struct file *file = sim_must(calloc(1, sizeof *file));
    file->node = node;
    file->powered = sim->powered;
    if (end_call(sim) != 0) {
        free(file);
        return EIO;
    }
    *out = file;
    return 0;
}

static void
sim_close(struct file_system *system, struct file *file)
{
    (void)system;
    free(file);
}

static void
add_change(struct node *node, const void *src, size_t len, uint64_t offset)
{
    struct change *change = sim_must(calloc(1, sizeof *change));
    change->offset = offset;
    change->len = len;
    if (src != NULL) {
        change->data = sim_must(malloc(len + 1));
        memcpy(change->data, src, len);
        sim_bytes_write(&node->now, src, len, offset);
    } else {
        sim_bytes_resize(&node->now, (size_t)offset);
    }
    STAILQ_INSERT_TAIL(&node->changes, change, next);
}

static int
sim_write(struct file_system *system, struct file *file, const void *src,
    size_t len, uint64_t offset)
{
    struct sim *sim = sim_of(system);
    struct node *node = file->node;
    int error = begin_file_call(sim, SIM_WRITE, file);
    uint64_t end = offset + len;
    uint64_t more = end > node->now.size ? end - node->now.size : 0;
    if (error == 0 && more > free_of(sim)) {
        error = ENOSPC;
    }
    if (error != 0) {
        if (file->powered == sim->powered && sim->powered % 2 == 1) {
            uint32_t all = error == ENOSPC ? 0 : 1; /* then it is not all */
            uint32_t part =
                random_below(&sim->random, (uint32_t)len + all + (len == 0));
            if (more <= free_of(sim)) {
                add_change(node, src, part, offset);
            }
        }
        return error;
    }
    add_change(node, src, len, offset);
    return end_call(sim);
}

static int
sim_read(struct file_system *system, struct file *file, void *dst, size_t len,
    uint64_t offset, size_t *got)
{
    int error = begin_file_call(sim_of(system), SIM_READ, file);
    if (error != 0) {
        return error;
    }
    const struct sim_bytes *bytes = &file->node->now;
    size_t left = offset < bytes->size ? bytes->size - (size_t)offset : 0;
    *got = left < len ? left : len;
    if (*got != 0) {
        memcpy(dst, bytes->data + offset, *got);
    }
    return 0;
}

static void
free_change(struct change *change)
{
    free(change->data);
    free(change);
}

static int
sim_sync(struct file_system *system, struct file *file)
{
    struct sim *sim = sim_of(system);
    struct node *node = file->node;
    struct change *change;
    int error = begin_file_call(sim, SIM_SYNC, file);
    if (error != 0) {
        STAILQ_FOREACH(change, &node->changes, next)
        {
            if (random_chance(&sim->random, 50)) {
                change->doomed = true;
            }
        }
        return error;
    }
    if (end_call(sim) != 0) {
        return EIO;
    }
    while ((change = STAILQ_FIRST(&node->changes)) != NULL) {
        STAILQ_REMOVE_HEAD(&node->changes, next);
        if (change->doomed) {
            /* It shows for now, and is gone after the next cut. */
        } else if (change->data != NULL) {
            sim_bytes_write(
                &node->durable, change->data, change->len, change->offset);
        } else {
            sim_bytes_resize(&node->durable, (size_t)change->offset);
        }
        free_change(change);
    }
    return 0;
}

static int
sim_size(struct file_system *system, struct file *file, uint64_t *size)
{
    int error = begin_file_call(sim_of(system), SIM_SIZE, file);
    if (error == 0) {
        *size = file->node->now.size;
    }
    return error;
}

static int
sim_truncate(struct file_system *system, struct file *file, uint64_t size)
{
    struct sim *sim = sim_of(system);
    int error = begin_file_call(sim, SIM_TRUNCATE, file);
    if (error == 0) {
        add_change(file->node, NULL, 0, size);
        error = end_call(sim);
    }
    return error;
}

static int
sim_rename(struct file_system *system, const char *from, const char *to)
{
    struct sim *sim = sim_of(system);
    int error = begin_call(sim, SIM_RENAME);
    if (error != 0) {
        return error;
    }
    struct node *node = sim_names_get(&sim->now, from);
    if (node == NULL) {
        return ENOENT;
    }
    name_change(sim, to, from, node);
    return end_call(sim);
}

static int
sim_unlink(struct file_system *system, const char *name)
{
    struct sim *sim = sim_of(system);
    int error = begin_call(sim, SIM_UNLINK);
    if (error != 0) {
        return error;
    }
    if (sim_names_get(&sim->now, name) == NULL) {
        return ENOENT;
    }
    name_change(sim, name, "", NULL);
    return end_call(sim);
}

static void
apply_naming(struct sim_names *names, const struct naming *naming)
{
    if (naming->from[0] != 0) {
        if (sim_names_get(names, naming->from) != naming->node) {
            return; /* it did not get there */
        }
        sim_names_set(names, naming->from, NULL);
    }
    sim_names_set(names, naming->name, naming->node);
}

static int
sim_sync_names(struct file_system *system)
{
    struct sim *sim = sim_of(system);
    struct naming *naming;
    int error = begin_call(sim, SIM_SYNC_NAMES);
    if (error != 0) {
        STAILQ_FOREACH(naming, &sim->namings, next)
        {
            naming->doomed = naming->doomed || random_chance(&sim->random, 50);
        }
        return error;
    }
    if (end_call(sim) != 0) {
        return EIO;
    }
    while ((naming = STAILQ_FIRST(&sim->namings)) != NULL) {
        STAILQ_REMOVE_HEAD(&sim->namings, next);
        if (!naming->doomed) {
            apply_naming(&sim->durable, naming);
        }
        free(naming);
    }
    return 0;
}

static int
sim_list(struct file_system *system, void (*name)(void *arg, const char *name),
    void *arg)
{
    struct sim *sim = sim_of(system);
    int error = begin_call(sim, SIM_LIST);
    if (error != 0) {
        return error;
    }
    for (const char *text = sim_files_next(system, NULL); text != NULL;
         text = sim_files_next(system, text)) {
        name(arg, text);
    }
    return 0;
}

static int
sim_free_bytes(struct file_system *system, uint64_t *bytes)
{
    struct sim *sim = sim_of(system);
    int error = begin_call(sim, SIM_FREE_BYTES);
    if (error == 0) {
        *bytes = free_of(sim);
    }
    return error;
}

static void
free_node(struct node *node)
{
    struct change *change;
    while ((change = STAILQ_FIRST(&node->changes)) != NULL) {
        STAILQ_REMOVE_HEAD(&node->changes, next);
        free_change(change);
    }
    free(node->now.data);
    free(node->durable.data);
    free(node);
}

static void
sim_free(struct file_system *system)
{
    struct sim *sim = sim_of(system);
    struct node *node;
    struct naming *naming;
    while ((node = SLIST_FIRST(&sim->nodes)) != NULL) {
        SLIST_REMOVE_HEAD(&sim->nodes, next);
        free_node(node);
    }
    while ((naming = STAILQ_FIRST(&sim->namings)) != NULL) {
        STAILQ_REMOVE_HEAD(&sim->namings, next);
        free(naming);
    }
    free(sim->now.list);
    free(sim->durable.list);
    free(sim);
}

/* ---- power --------------------------------------------------------------- */

/* Some sectors of it, in any order, and the last one up to some byte. */
static void
tear_change(
    struct sim *sim, struct sim_bytes *durable, const struct change *change)
{
    if (random_chance(&sim->random, 50)) {
        uint32_t len = random_below(&sim->random, (uint32_t)change->len + 1);
        sim_bytes_write(durable, change->data, len, change->offset);
        return;
    }
    size_t position = 0;
    while (position < change->len) {
        size_t sector =
            SECTOR_BYTES - (size_t)((change->offset + position) % SECTOR_BYTES);
        size_t left = change->len - position;
        size_t len = left < sector ? left : sector;
        if (random_chance(&sim->random, 50)) {
            sim_bytes_write(durable, change->data + position, len,
                change->offset + position);
        }
        position += len;
    }
}

static void
cut_node(struct sim *sim, struct node *node)
{
    struct change *change;
    while ((change = STAILQ_FIRST(&node->changes)) != NULL) {
        STAILQ_REMOVE_HEAD(&node->changes, next);
        uint32_t fate = random_below(&sim->random, 3);
        if (change->doomed || fate == 0) {
            /* It never got there. */
        } else if (change->data == NULL) {
            sim_bytes_resize(&node->durable, (size_t)change->offset);
        } else if (fate == 1) {
            sim_bytes_write(
                &node->durable, change->data, change->len, change->offset);
        } else {
            tear_change(sim, &node->durable, change);
        }
        free_change(change);
    }
    sim_bytes_copy(&node->now, &node->durable);
}

void
sim_files_power_off(struct file_system *system)
{
    struct sim *sim = sim_of(system);
    struct naming *naming;
    struct node *node;
    assert(sim->powered % 2 == 1);
    sim->powered++;
    sim->cut_left = 0;
    sim->cut_now = false;
    while ((naming = STAILQ_FIRST(&sim->namings)) != NULL) {
        STAILQ_REMOVE_HEAD(&sim->namings, next);
        if (!naming->doomed && random_chance(&sim->random, 50)) {
            apply_naming(&sim->durable, naming);
        }
        free(naming);
    }
    sim_names_copy(&sim->now, &sim->durable);
    SLIST_FOREACH(node, &sim->nodes, next)
    {
        cut_node(sim, node);
    }
}

void
sim_files_kill(struct file_system *system)
{
    struct sim *sim = sim_of(system);
    assert(sim->powered % 2 == 1);
    sim->powered++;
    sim->cut_left = 0;
    sim->cut_now = false;
}

void
sim_files_cut_at(
    struct file_system *system, uint64_t n, void (*cut)(void *arg), void *arg)
{
    struct sim *sim = sim_of(system);
    sim->cut_left = n;
    sim->cut = cut;
    sim->cut_arg = arg;
}

bool
sim_files_is_off(const struct file_system *system)
{
    return ((const struct sim *)system)->powered % 2 == 0;
}

void
sim_files_power_on(struct file_system *system)
{
    struct sim *sim = sim_of(system);
    assert(sim->powered % 2 == 0);
    sim->powered++;
}

/* ---- from outside -------------------------------------------------------- */

void
sim_files_fault(struct file_system *system, const struct sim_fault *fault)
{
    struct sim *sim = sim_of(system);
    sim->fault = fault != NULL ? *fault : (struct sim_fault){0};
    sim->matched = 0;
}

uint64_t
sim_files_count(const struct file_system *system, unsigned calls)
{
    const struct sim *sim = (const struct sim *)system;
    uint64_t count = 0;
    for (unsigned call = 0; call < SIM_CALLS; call++) {
        count += (calls & SIM_BIT(call)) != 0 ? sim->counts[call] : 0;
    }
    return count;
}

uint64_t
sim_files_failed(const struct file_system *system)
{
    return ((const struct sim *)system)->failed;
}

void
sim_files_capacity(struct file_system *system, uint64_t bytes)
{
    sim_of(system)->capacity = bytes;
}

const char *
sim_files_next(const struct file_system *system, const char *name)
{
    const struct sim_names *names = &((const struct sim *)system)->now;
    bool found = name == NULL;
    for (size_t i = 0; i < names->count; i++) {
        if (found && names->list[i].node != NULL) {
            return names->list[i].text;
        }
        found = found || strcmp(names->list[i].text, name) == 0;
    }
    return NULL;
}

struct file_system *
sim_files_copy(const struct file_system *system, uint64_t seed)
{
    const struct sim_names *names = &((const struct sim *)system)->now;
    struct file_system *copy = sim_files_new(seed);
    if (copy == NULL) {
        return NULL;
    }
    struct sim *sim = sim_of(copy);
    for (size_t i = 0; i < names->count; i++) {
        if (names->list[i].node != NULL) {
            struct node *node = node_new(sim);
            sim_bytes_copy(&node->now, &names->list[i].node->now);
            sim_bytes_copy(&node->durable, &node->now);
            sim_names_set(&sim->now, names->list[i].text, node);
            sim_names_set(&sim->durable, names->list[i].text, node);
        }
    }
    return copy;
}

uint8_t *
sim_files_bytes(struct file_system *system, const char *name, size_t *size)
{
    struct node *node = sim_names_get(&sim_of(system)->now, name);
    if (node == NULL) {
        return NULL;
    }
    *size = node->now.size;
    return node->now.data;
}

void
sim_files_shorten(struct file_system *system, const char *name, size_t size)
{
    struct node *node = sim_names_get(&sim_of(system)->now, name);
    assert(node != NULL && size <= node->now.size);
    sim_bytes_resize(&node->now, size);
    sim_bytes_copy(&node->durable, &node->now);
}

struct file_system *
sim_files_new(uint64_t seed)
{
    struct sim *sim = calloc(1, sizeof *sim);
    if (sim == NULL) {
        return NULL;
    }
    sim->base = (struct file_system){.open = sim_open,
        .close = sim_close,
        .write = sim_write,
        .read = sim_read,
        .sync = sim_sync,
        .size = sim_size,
        .truncate = sim_truncate,
        .rename = sim_rename,
        .unlink = sim_unlink,
        .sync_names = sim_sync_names,
        .list = sim_list,
        .free_bytes = sim_free_bytes,
        .free = sim_free};
    sim->random.state = seed;
    sim->powered = 1;
    SLIST_INIT(&sim->nodes);
    STAILQ_INIT(&sim->namings);
    return &sim->base;
}
