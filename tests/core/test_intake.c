/* SPDX-License-Identifier: MIT
 *
 * Receive memory: frames of all sizes, in pieces of all sizes, from several
 * connections in turn that share blocks. What stands in a block that somebody
 * still has is never overwritten. */
#include "intake.h"
#include "random.h"
#include "wire.h"

#include <criterion/criterion.h>

#include <stdlib.h>
#include <string.h>

#define PEERS 5
#define KEPT  200

/* A slice that somebody keeps, as an output does. */
struct slice {
    struct block *block;
    const uint8_t *data;
    size_t len;
    uint64_t seed;
};

struct peer {
    struct intake intake;
    uint8_t *out; /* what it sends: whole frames */
    size_t out_len, sent;
    uint64_t frames, taken;
};

struct stand {
    struct block_pool pool;
    struct intake_shared shared;
    struct peer peers[PEERS];
    struct slice kept[KEPT];
    struct random random;
    size_t frame_max;
    uint64_t seeds;
};

/* Header with the length, then the seed, then bytes that follow from it. */
static void
fill(uint8_t *dst, size_t body, uint64_t seed)
{
    struct random random = {seed};
    struct broker_header header = {(uint32_t)body, 1, 0, 0};
    broker_header_encode(&header, dst);
    memcpy(dst + BROKER_HEADER_BYTES, &seed, sizeof seed);
    for (size_t i = sizeof seed; i < body; i++) {
        dst[BROKER_HEADER_BYTES + i] = (uint8_t)random_next(&random);
    }
}

static bool
is_intact(const uint8_t *frame, uint64_t seed)
{
    size_t body = wire_u32(frame);
    uint8_t *want = malloc(BROKER_HEADER_BYTES + body);
    fill(want, body, seed);
    bool same = memcmp(want, frame, BROKER_HEADER_BYTES + body) == 0;
    free(want);
    return same;
}

static size_t
random_body(struct stand *stand)
{
    uint32_t kind = random_below(&stand->random, 100);
    size_t most = kind < 70 ? 100 : kind < 95 ? 9000 : stand->frame_max;
    return random_between(&stand->random, 8, (uint32_t)most);
}

static void
say_frame(struct stand *stand, struct peer *peer)
{
    size_t body = random_body(stand);
    peer->out = realloc(peer->out, peer->out_len + BROKER_HEADER_BYTES + body);
    fill(peer->out + peer->out_len, body, ++stand->seeds);
    peer->out_len += BROKER_HEADER_BYTES + body;
    peer->frames++;
}

static void
keep(struct stand *stand, const struct peer *peer, const uint8_t *frame)
{
    struct slice *slice = &stand->kept[random_below(&stand->random, KEPT)];
    if (slice->block != NULL) {
        cr_assert(is_intact(slice->data, slice->seed), "it was overwritten");
        block_unref(slice->block);
        slice->block = NULL;
    }
    if (random_chance(&stand->random, 70)) {
        slice->block = block_ref(peer->intake.block);
        slice->data = frame;
        memcpy(&slice->seed, frame + BROKER_HEADER_BYTES, sizeof slice->seed);
    }
}

/* Take the whole frames off, as dispatch.c does. */
static void
take_frames(struct stand *stand, struct peer *peer)
{
    const uint8_t *data = intake_data(&peer->intake);
    size_t len = intake_len(&peer->intake);
    size_t used = 0;
    size_t needed = BROKER_HEADER_BYTES;
    while (len - used >= BROKER_HEADER_BYTES) {
        needed = wire_frame_bytes(data + used);
        if (needed > len - used) {
            break;
        }
        uint64_t seed;
        memcpy(&seed, data + used + BROKER_HEADER_BYTES, sizeof seed);
        cr_assert(is_intact(data + used, seed));
        keep(stand, peer, data + used);
        peer->taken++;
        used += needed;
        needed = BROKER_HEADER_BYTES;
    }
    intake_consume(&peer->intake, used, used < len ? needed : 0);
}

static void
receive(struct stand *stand, struct peer *peer)
{
    size_t most = random_chance(&stand->random, 30) ? 12 : 70000;
    size_t n = random_between(&stand->random, 1, (uint32_t)most);
    n = n < peer->out_len - peer->sent ? n : peer->out_len - peer->sent;
    while (n > 0) {
        uint8_t *dst;
        size_t room;
        cr_assert(intake_reserve(&peer->intake, &stand->shared, &dst, &room));
        cr_assert_gt(room, 0);
        size_t part = n < room ? n : room;
        memcpy(dst, peer->out + peer->sent, part);
        intake_commit(&peer->intake, &stand->shared, part);
        peer->sent += part;
        n -= part;
        take_frames(stand, peer);
    }
    if (random_chance(&stand->random, 50)) {
        intake_rest(&peer->intake, &stand->shared);
    }
}

static void
stand_fini(struct stand *stand)
{
    for (int i = 0; i < KEPT; i++) {
        if (stand->kept[i].block != NULL) {
            cr_assert(is_intact(stand->kept[i].data, stand->kept[i].seed));
            block_unref(stand->kept[i].block);
        }
    }
    for (int i = 0; i < PEERS; i++) {
        struct peer *peer = &stand->peers[i];
        cr_assert_eq(peer->taken, peer->frames, "frames are missing");
        cr_assert_null(peer->intake.block, "an empty intake holds a block");
        intake_fini(&peer->intake);
        free(peer->out);
    }
    intake_shared_fini(&stand->shared);
    cr_assert_eq(stand->pool.bytes_in_use, 0);
    block_pool_fini(&stand->pool);
    free(stand);
}

static void
run(uint64_t seed, size_t frame_max)
{
    struct stand *stand = calloc(1, sizeof *stand);
    stand->random.state = seed;
    stand->frame_max = frame_max;
    block_pool_init(&stand->pool, UINT64_MAX);
    intake_shared_init(&stand->shared, &stand->pool);
    for (int i = 0; i < 1500; i++) {
        struct peer *peer = &stand->peers[random_below(&stand->random, PEERS)];
        if (random_chance(&stand->random, 40) &&
            peer->out_len - peer->sent < 1000000) {
            say_frame(stand, peer);
        }
        if (peer->sent < peer->out_len) {
            receive(stand, peer);
        }
    }
    for (int i = 0; i < PEERS; i++) {
        while (stand->peers[i].sent < stand->peers[i].out_len) {
            receive(stand, &stand->peers[i]);
        }
    }
    stand_fini(stand);
}

Test(intake, small_frames)
{
    for (uint64_t seed = 1; seed <= 8; seed++) {
        run(seed, 200);
    }
}

Test(intake, frames_about_as_large_as_blocks)
{
    for (uint64_t seed = 11; seed <= 16; seed++) {
        run(seed, 280000);
    }
}

Test(intake, frames_larger_than_blocks)
{
    run(21, 900000);
    run(22, 900000);
}

Test(intake, one_that_rests_keeps_only_what_it_has)
{
    struct block_pool pool;
    struct intake_shared shared;
    struct intake intake = {0};
    uint8_t *dst;
    size_t room;
    block_pool_init(&pool, UINT64_MAX);
    intake_shared_init(&shared, &pool);
    intake_rest(&intake, &shared);
    cr_assert(intake_reserve(&intake, &shared, &dst, &room));
    cr_assert_null(intake.block, "reserving alone keeps nothing");
    memset(dst, 0, 20);
    intake_commit(&intake, &shared, 20);
    intake_consume(&intake, 5, 500);
    intake_rest(&intake, &shared);
    cr_assert_eq(intake_len(&intake), 15);
    cr_assert_leq(intake.block->capacity, 64);
    /* The shared block is nobody's any more, and is used from its start. */
    struct intake other = {0};
    cr_assert(intake_reserve(&other, &shared, &dst, &room));
    cr_assert_eq(room, BLOCK_POOL_BYTES);
    intake_fini(&intake);
    intake_shared_fini(&shared);
    block_pool_fini(&pool);
}

/* Who only announces a large frame does not make the broker hold its size. */
Test(intake, memory_grows_with_what_has_come)
{
    struct block_pool pool;
    struct intake_shared shared;
    struct intake intake = {0};
    size_t needed = 8u << 20;
    size_t come = 0;
    block_pool_init(&pool, UINT64_MAX);
    intake_shared_init(&shared, &pool);
    while (come < needed) {
        uint8_t *dst;
        size_t room;
        cr_assert(intake_reserve(&intake, &shared, &dst, &room));
        cr_assert_gt(room, 0);
        size_t n = room < 50000 ? room : 50000;
        n = n < needed - come ? n : needed - come;
        memset(dst, (int)(come % 251), n);
        intake_commit(&intake, &shared, n);
        come += n;
        intake_consume(&intake, 0, needed);
        cr_assert_leq(
            pool.bytes_in_use, come * 2 + 2 * (size_t)BLOCK_POOL_BYTES);
        if (come % 150000 == 0) {
            intake_rest(&intake, &shared);
        }
    }
    cr_assert_eq(intake_len(&intake), needed);
    intake_fini(&intake);
    intake_shared_fini(&shared);
    cr_assert_eq(pool.bytes_in_use, 0);
    block_pool_fini(&pool);
}

Test(intake, without_memory_nothing_is_lost)
{
    struct block_pool pool;
    struct intake_shared shared;
    struct intake intake = {0};
    uint8_t *dst;
    size_t room;
    block_pool_init(&pool, UINT64_MAX);
    intake_shared_init(&shared, &pool);
    cr_assert(intake_reserve(&intake, &shared, &dst, &room));
    memcpy(dst, "0123456789abcdef", 16);
    intake_commit(&intake, &shared, 16);
    intake_consume(&intake, 4, 500);
    intake_rest(&intake, &shared);
    intake_shared_fini(&shared);
    pool.bytes_allowed = pool.bytes_tight = 0;
    cr_assert_not(intake_reserve(&intake, &shared, &dst, &room));
    intake_rest(&intake, &shared);
    cr_assert_eq(memcmp(intake_data(&intake), "456789abcdef", 12), 0);
    pool.bytes_allowed = pool.bytes_tight = UINT64_MAX;
    cr_assert(intake_reserve(&intake, &shared, &dst, &room));
    cr_assert_geq(room, 500 - 12);
    cr_assert_eq(memcmp(intake_data(&intake), "456789abcdef", 12), 0);
    intake_fini(&intake);
    intake_shared_fini(&shared);
    block_pool_fini(&pool);
}
