/* SPDX-License-Identifier: MIT
 *
 * Receive memory; see intake.h. */
#include "intake.h"

#include <assert.h>
#include <string.h>

/* Less room than this is not worth a system call. */
#define ROOM_MIN (32u * 1024u)
/* A frame larger than this does not share a block once it has to be moved. */
#define SHARED_FRAME_MAX (BLOCK_POOL_BYTES / 2)
#define KEPT_MIN         64u

void
intake_shared_init(struct intake_shared *shared, struct block_pool *pool)
{
    *shared = (struct intake_shared){.pool = pool};
}

void
intake_shared_fini(struct intake_shared *shared)
{
    block_unref(shared->current);
    shared->current = NULL;
}

void
intake_fini(struct intake *intake)
{
    block_unref(intake->block);
    *intake = (struct intake){0};
}

/* Make the shared block have at least `room` bytes of room. */
static bool
renew_shared(struct intake_shared *shared, size_t room)
{
    if (shared->current != NULL && shared->current->references == 1) {
        shared->current->fill = 0; /* nobody has slices of it: start over */
    }
    if (shared->current != NULL && block_room(shared->current) >= room) {
        return true;
    }
    struct block *block =
        block_new_from_reserve(shared->pool, BLOCK_POOL_BYTES);
    if (block == NULL) {
        return false;
    }
    block_unref(shared->current);
    shared->current = block;
    return true;
}

/* Move what is there to the end of `block`, which has room for it. */
static void
move_to(struct intake *intake, struct block *block)
{
    size_t len = intake_len(intake);
    memcpy(block->data + block->fill, intake_data(intake), len);
    block_ref(block);
    block_unref(intake->block);
    intake->block = block;
    intake->start = block->fill;
    block->fill += (uint32_t)len;
    intake->end = block->fill;
}

static bool
is_large(const struct intake *intake)
{
    return intake->needed > SHARED_FRAME_MAX;
}

uint64_t
intake_large_bytes(const struct intake *intake)
{
    bool is_large_and_cut = intake->block != NULL && is_large(intake) &&
                            intake_len(intake) < intake->needed;
    return is_large_and_cut ? intake->block->capacity : 0;
}

/* Can reading go on behind what is there? */
static bool
can_continue(const struct intake *intake)
{
    const struct block *block = intake->block;
    if (block->fill != intake->end) {
        return false;
    }
    if (is_large(intake)) {
        return block_room(block) > 0;
    }
    /* A small block of its own is not worth filling. */
    return block->capacity >= BLOCK_POOL_BYTES &&
           block_room(block) >= intake->needed - intake_len(intake);
}

/* The block for a large frame grows with what has come of it, so that nobody
 * makes the broker hold much by only announcing it. */
static struct block *
block_for_large(const struct intake *intake, struct intake_shared *shared)
{
    size_t capacity = intake_len(intake) * 2;
    if (capacity < BLOCK_POOL_BYTES) {
        capacity = BLOCK_POOL_BYTES;
    }
    if (capacity > intake->needed) {
        capacity = intake->needed;
    }
    return block_new(shared->pool, capacity);
}

static bool
make_continuable(struct intake *intake, struct intake_shared *shared)
{
    if (can_continue(intake)) {
        return true;
    }
    if (!is_large(intake)) {
        if (!renew_shared(shared, intake->needed + ROOM_MIN)) {
            return false;
        }
        move_to(intake, shared->current);
        return true;
    }
    struct block *block = block_for_large(intake, shared);
    if (block == NULL) {
        return false;
    }
    move_to(intake, block);
    block_unref(block);
    return true;
}

bool
intake_reserve(struct intake *intake, struct intake_shared *shared,
    uint8_t **dst, size_t *room)
{
    struct block *block;
    if (intake->block != NULL) {
        if (!make_continuable(intake, shared)) {
            return false;
        }
        block = intake->block;
    } else {
        if (!renew_shared(shared, ROOM_MIN)) {
            return false;
        }
        block = shared->current;
    }
    *dst = block->data + block->fill;
    *room = block_room(block);
    return true;
}

void
intake_commit(struct intake *intake, struct intake_shared *shared, size_t len)
{
    if (intake->block == NULL) {
        intake->block = block_ref(shared->current);
        intake->start = intake->end = shared->current->fill;
    }
    assert(len <= block_room(intake->block));
    intake->block->fill += (uint32_t)len;
    intake->end += (uint32_t)len;
}

void
intake_consume(struct intake *intake, size_t len, size_t needed)
{
    assert(len <= intake_len(intake));
    intake->start += (uint32_t)len;
    intake->needed = (uint32_t)needed;
    if (intake->start == intake->end) {
        intake_fini(intake);
    }
}

void
intake_rest(struct intake *intake, struct intake_shared *shared)
{
    size_t keep = intake->block == NULL ? 0 : intake_len(intake);
    if (keep == 0 || intake->block->capacity <= keep * 2 + KEPT_MIN) {
        return;
    }
    size_t capacity = keep < KEPT_MIN ? KEPT_MIN : keep;
    struct block *block = is_large(intake)
                              ? block_new(shared->pool, capacity)
                              : block_new_from_reserve(shared->pool, capacity);
    if (block != NULL) {
        move_to(intake, block);
        block_unref(block);
    }
}
