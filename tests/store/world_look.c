/* SPDX-License-Identifier: MIT
 *
 * What is found in the store of a world; see world_internal.h. */
#include "world_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct look {
    struct world *world;
    bool came;
    enum store_status status;
    uint64_t next;
    bool any, has_holes;
    struct model_stream *stream;
};

static void
take_run(struct look *look, const struct store_run *run)
{
    const uint8_t *record = run->records;
    size_t left = run->bytes;
    for (uint32_t i = 0; i < run->count; i++) {
        uint64_t seq = run->first_seq + i;
        size_t bytes =
            left < STORE_RECORD_MIN
                ? SIZE_MAX
                : STORE_RECORD_MIN + ((size_t)record[2] << 8) + record[3];
        uint64_t id = bytes <= left ? model_record_read(record, bytes) : 0;
        struct model_stream *stream = look->stream;
        uint64_t last_seq =
            stream->count == 0 ? 0 : stream->records[stream->count - 1].seq;
        if (id == 0 || seq <= last_seq || stream->count == MODEL_RECORDS) {
            world_problem(look->world,
                "reading: record %" PRIu64 " (id %" PRIu64 ") behind %" PRIu64
                ", %zu of %" PRIu32 " bytes",
                seq, id, last_seq, bytes, (uint32_t)left);
            return;
        }
        stream->records[stream->count++] =
            (struct model_record){.id = id, .seq = seq};
        record += bytes;
        left -= bytes;
    }
    if (left != 0) {
        world_problem(look->world, "reading: bytes are left over");
    }
}

static void
read_done(void *arg, const struct store_batch *batch)
{
    struct look *look = arg;
    look->came = true;
    look->status = batch->status;
    look->next = batch->next;
    look->any = batch->run_count != 0;
    for (size_t i = 0; i < batch->run_count; i++) {
        take_run(look, &batch->runs[i]);
    }
    look->has_holes = look->has_holes || batch->damaged != 0;
    if (batch->damaged != 0 && !look->world->faulty) {
        world_problem(
            look->world, "%" PRIu64 " records are damaged", batch->damaged);
    }
}

/* Reading may fail where calls may fail. */
static void
say_status(struct world *world, const char *what, enum store_status status)
{
    if (!world->faulty) {
        world_problem(world, "%s: status %d", what, (int)status);
    }
}

static bool
wait_for(struct world *world, const bool *came)
{
    for (unsigned i = 0; i < 10000 && !*came; i++) {
        world_work(world, i == 0 ? 0 : 1); /* as little as it takes */
        if (world_is_bad(world) || world_is_off(world)) {
            return false;
        }
    }
    if (!*came) {
        world_problem(world, "an answer does not come");
    }
    return *came;
}

/* One batch. */
static bool
read_once(struct world *world, uint32_t number, uint64_t from, size_t max_bytes,
    struct look *look)
{
    look->world = world;
    look->came = false;
    enum store_status status = store_read(
        world->ports[0], number, from, max_bytes, false, read_done, look);
    if (status != STORE_OK) {
        world_problem(world, "store_read: %d", (int)status);
        return false;
    }
    return wait_for(world, &look->came);
}

static bool
look_at_records(struct world *world, struct model_stream *stream)
{
    struct look look = {.stream = stream, .any = true};
    while (look.any) {
        size_t max_bytes = random_below(&world->random, 5000);
        if (!read_once(world, stream->number, look.next, max_bytes, &look)) {
            return false;
        }
        if (look.status != STORE_OK || look.has_holes) {
            say_status(world, "reading", look.status);
            return false;
        }
    }
    return true;
}

static void
check_info(struct world *world, const struct store_stream_info *info,
    const struct model_stream *stream)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < stream->count; i++) {
        bytes += model_record_bytes(stream->records[i].id);
    }
    uint64_t first_seq =
        stream->count == 0 ? info->last_seq + 1 : stream->records[0].seq;
    if (info->records != stream->count || info->bytes != bytes ||
        info->first_seq != first_seq) {
        world_problem(world,
            "%s: it tells of %" PRIu64 " records, %" PRIu64
            " bytes from %" PRIu64 " on; there are %zu, %" PRIu64
            " from %" PRIu64 " on",
            info->name, info->records, info->bytes, info->first_seq,
            stream->count, bytes, first_seq);
    }
    if (info->damaged != 0) {
        world_problem(world, "%s: damaged records", info->name);
    }
}

static bool
look_at_stream(
    struct world *world, uint32_t number, struct model_state *observed)
{
    struct store_stream_info info;
    if (!store_stream_info(world->ports[0], number, &info)) {
        world_problem(world, "stream %" PRIu32 " is not there", number);
        return false;
    }
    unsigned index = 0;
    char name[16];
    model_name(index, name);
    while (index < MODEL_STREAMS && strcmp(name, info.name) != 0) {
        model_name(++index, name);
    }
    if (index == MODEL_STREAMS || observed->streams[index].exists) {
        world_problem(world, "a stream \"%s\" too many", info.name);
        return false;
    }
    struct model_stream *stream = &observed->streams[index];
    stream->exists = true;
    stream->number = number;
    stream->limit = info.limits.max_records;
    stream->last_seq = info.last_seq;
    if (!look_at_records(world, stream)) {
        return false;
    }
    /* How many bytes are left of what was trimmed is found out by the way. */
    bool rest = random_chance(&world->random, 20);
    for (unsigned i = 0; rest && i < 1000; i++) {
        if (!store_local_step(world->store)) {
            break;
        }
    }
    if (rest && !world_is_off(world) &&
        store_stream_info(world->ports[0], number, &info)) {
        check_info(world, &info, stream);
    }
    return !world_is_bad(world) && !world_is_off(world);
}

/* ---- values -------------------------------------------------------------- */

struct found {
    struct world *world;
    struct model_state *observed;
    bool came, failed;
};

static void
scan_done(void *arg, enum store_status status, const struct store_value *value)
{
    struct found *found = arg;
    if (status != STORE_OK) {
        say_status(found->world, "scanning", status);
        found->failed = true;
    }
    if (value == NULL || value->key == NULL || status != STORE_OK) {
        found->came = true;
        return;
    }
    for (unsigned key = 0; key < MODEL_KEYS; key++) {
        char name[16];
        model_key(key, name);
        if (strlen(name) == value->key_bytes &&
            memcmp(name, value->key, value->key_bytes) == 0 &&
            value->bytes == sizeof(uint64_t)) {
            memcpy(&found->observed->values[key], value->data, value->bytes);
            return;
        }
    }
    world_problem(found->world, "a value under no key of ours");
}

bool
world_look(struct world *world, struct model_state *observed)
{
    memset(observed, 0, sizeof *observed);
    uint32_t number = store_next_stream(world->ports[0], 0);
    while (number != 0) {
        if (!look_at_stream(world, number, observed)) {
            return false;
        }
        number = store_next_stream(world->ports[0], number);
    }
    struct found found = {.world = world, .observed = observed};
    enum store_status status =
        store_scan(world->ports[0], STORE_SPACE_CONSUMER, scan_done, &found);
    if (status != STORE_OK) {
        world_problem(world, "store_scan: %d", (int)status);
        return false;
    }
    return wait_for(world, &found.came) && !found.failed;
}

/* ---- in between ---------------------------------------------------------- */

/* Everything that the stream may have to show: what is answered, and what is
 * not, in order. */
static size_t
all_ids(const struct world *world, unsigned stream, uint64_t *ids, size_t max)
{
    const struct model_stream *known = &world->state.streams[stream];
    size_t count = 0;
    for (size_t i = 0; i < known->count && count < max; i++) {
        ids[count++] = known->records[i].id;
    }
    for (unsigned i = 0; i < world->op_count; i++) {
        const struct model_op *op = world->ops[i];
        if (op->kind != MODEL_APPEND || op->stream != stream ||
            (op->answered && op->result.status != STORE_OK)) {
            continue;
        }
        for (uint32_t k = 0; k < op->count && count < max; k++) {
            ids[count++] = op->id + k;
        }
    }
    return count;
}

/* Retries and refusals that are not answered may be missing in between. */
static void
check_slice(
    struct world *world, unsigned stream, const struct model_stream *seen)
{
    static const size_t max = MODEL_RECORDS * 2;
    uint64_t *ids = calloc(max, sizeof *ids);
    if (ids == NULL) {
        abort();
    }
    size_t count = all_ids(world, stream, ids, max);
    size_t at = 0;
    for (size_t i = 0; i < seen->count; i++) {
        while (at < count && ids[at] != seen->records[i].id) {
            at++;
        }
        if (at++ == count) {
            world_problem(world,
                "reading stream %u shows id %" PRIu64
                " which is not there, or not in order",
                stream, seen->records[i].id);
            break;
        }
    }
    free(ids);
}

void
world_glance(struct world *world)
{
    unsigned index = random_below(&world->random, MODEL_STREAMS);
    const struct model_stream *known = &world->state.streams[index];
    if (!known->exists || known->number == 0) {
        return;
    }
    struct model_stream *seen = calloc(1, sizeof *seen);
    if (seen == NULL) {
        abort();
    }
    /* What trims take while it is being read may still be seen. */
    bool quiet = world->op_count == 0;
    uint64_t from = 0;
    if (known->count != 0 && random_chance(&world->random, 70)) {
        from =
            known->records[random_below(&world->random, (uint32_t)known->count)]
                .seq;
    }
    uint64_t first_id = 0;
    for (size_t i = 0; quiet && i < known->count && first_id == 0; i++) {
        first_id = known->records[i].seq >= from ? known->records[i].id : 0;
    }
    struct look look = {.stream = seen};
    uint32_t number = known->number;
    if (read_once(
            world, number, from, random_below(&world->random, 3000), &look) &&
        look.status == STORE_OK && !look.has_holes && quiet) {
        check_slice(world, index, seen);
        if (first_id != 0 &&
            (seen->count == 0 || seen->records[0].id != first_id)) {
            world_problem(world,
                "reading stream %u from %" PRIu64 " misses id %" PRIu64, index,
                from, first_id);
        }
    }
    free(seen);
}
