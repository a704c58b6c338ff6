/* SPDX-License-Identifier: MIT
 *
 * Streams by number and by name; see local_store.h. */
#include "local_store.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <stdlib.h>
#include <string.h>

struct stream *
local_stream(const struct local *local, uint32_t number)
{
    return number < local->stream_capacity ? local->streams[number] : NULL;
}

static struct stream **
bucket_of(const struct local *local, const char *name, size_t name_bytes)
{
    return &local->names[XXH3_64bits(name, name_bytes) % NAME_BUCKETS];
}

struct stream *
local_stream_named(
    const struct local *local, const char *name, size_t name_bytes)
{
    struct stream *stream = *bucket_of(local, name, name_bytes);
    while (stream != NULL &&
           (stream->removing || stream->name_bytes != name_bytes ||
               memcmp(stream->name, name, name_bytes) != 0)) {
        stream = stream->next_by_name;
    }
    return stream;
}

static bool
make_slot(struct local *local, uint32_t number)
{
    if (number < local->stream_capacity) {
        return true;
    }
    uint32_t capacity = number + number / 2 + 64;
    struct stream **streams =
        realloc(local->streams, capacity * sizeof *streams);
    if (streams == NULL) {
        return false;
    }
    memset(streams + local->stream_capacity, 0,
        (capacity - local->stream_capacity) * sizeof *streams);
    local->streams = streams;
    local->stream_capacity = capacity;
    return true;
}

struct stream *
local_stream_new(
    struct local *local, uint32_t number, const char *name, size_t name_bytes)
{
    if (number == 0 || number > UINT32_MAX / 2 || !make_slot(local, number)) {
        return NULL;
    }
    struct stream *stream = calloc(1, sizeof *stream + name_bytes + 1);
    if (stream == NULL) {
        return NULL;
    }
    stream->number = number;
    stream->name_bytes = name_bytes;
    memcpy(stream->name, name, name_bytes);
    stream->state.first_seq = 1;
    stream->counted = 1;
    struct stream **bucket = bucket_of(local, name, name_bytes);
    stream->next_by_name = *bucket;
    *bucket = stream;
    local->streams[number] = stream;
    if (number >= local->next_stream) {
        local->next_stream = number + 1;
    }
    return stream;
}

/* Nobody finds it any more. */
static void
unlink_stream(struct local *local, struct stream *stream)
{
    struct stream **link = bucket_of(local, stream->name, stream->name_bytes);
    while (*link != NULL && *link != stream) {
        link = &(*link)->next_by_name;
    }
    if (*link != NULL) {
        *link = stream->next_by_name;
    }
    local->streams[stream->number] = NULL;
}

void
local_stream_free(struct local *local, struct stream *stream)
{
    unlink_stream(local, stream);
    pieces_clear(&stream->pieces[0]);
    pieces_clear(&stream->pieces[1]);
    free(stream->head);
    while (stream->waiting != NULL) {
        struct waiting *waiting = stream->waiting;
        stream->waiting = waiting->next;
        local_port_unref(waiting->port);
        free(waiting);
    }
    free(stream);
}

bool
local_touch(struct local *local, struct stream *stream)
{
    int slot = local->active;
    if (stream->touched[slot]) {
        return true;
    }
    if (local->touched_count[slot] == local->touched_capacity[slot]) {
        size_t capacity = local->touched_capacity[slot] * 2 + 64;
        struct stream **touched =
            realloc(local->touched[slot], capacity * sizeof *touched);
        if (touched == NULL) {
            return false;
        }
        local->touched[slot] = touched;
        local->touched_capacity[slot] = capacity;
    }
    local->touched[slot][local->touched_count[slot]++] = stream;
    stream->touched[slot] = true;
    return true;
}
