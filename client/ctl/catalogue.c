/* SPDX-License-Identifier: MIT
 *
 * Streams of a store; see catalogue.h.
 */
#include "catalogue.h"

#include <stdlib.h>
#include <string.h>

/* Where the stream is, or would be. */
static size_t
place_of(const struct catalogue *catalogue, uint32_t number)
{
    size_t low = 0, high = catalogue->count;

    while (low < high) {
        const size_t middle = low + (high - low) / 2;

        if (catalogue->streams[middle]->info.stream < number) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

struct catalogue_stream *
catalogue_find(const struct catalogue *catalogue, uint32_t number)
{
    const size_t at = place_of(catalogue, number);

    if (at == catalogue->count ||
        catalogue->streams[at]->info.stream != number) {
        return NULL;
    }
    return catalogue->streams[at];
}

struct catalogue_stream *
catalogue_find_name(const struct catalogue *catalogue, const char *name)
{
    for (size_t i = 0; i < catalogue->count; i++) {
        struct catalogue_stream *stream = catalogue->streams[i];

        if (!stream->removed && strcmp(stream->info.name, name) == 0) {
            return stream;
        }
    }
    return NULL;
}

static bool
insert(struct catalogue *catalogue, const struct store_stream_info *info)
{
    const size_t at = place_of(catalogue, info->stream);
    struct catalogue_stream *stream = calloc(1, sizeof *stream);

    if (catalogue->count == catalogue->capacity) {
        const size_t capacity = catalogue->capacity * 2 + 16;
        struct catalogue_stream **streams =
            realloc(catalogue->streams, capacity * sizeof *streams);

        if (streams == NULL) {
            free(stream);
            return false;
        }
        catalogue->streams = streams;
        catalogue->capacity = capacity;
    }
    if (stream == NULL) {
        return false;
    }
    stream->info = *info;
    memmove(catalogue->streams + at + 1, catalogue->streams + at,
        (catalogue->count - at) * sizeof catalogue->streams[0]);
    catalogue->streams[at] = stream;
    catalogue->count++;
    return true;
}

bool
catalogue_add(struct catalogue *catalogue, const struct store_stream_info *info)
{
    struct catalogue_stream *stream = catalogue_find(catalogue, info->stream);

    if (stream == NULL) {
        catalogue->no_memory |= !insert(catalogue, info);
        return !catalogue->no_memory;
    }
    /* An edit: what it holds is known. */
    memcpy(stream->info.name, info->name, sizeof stream->info.name);
    stream->info.limits = info->limits;
    return true;
}

void
catalogue_fini(struct catalogue *catalogue)
{
    for (size_t i = 0; i < catalogue->count; i++) {
        free(catalogue->streams[i]);
    }
    free(catalogue->streams);
    *catalogue = (struct catalogue){.count = 0};
}

/* ---- reading ------------------------------------------------------------- */

struct reader {
    struct catalogue *catalogue;
    const struct inspect_hooks *more;
};

static struct catalogue_stream *
find(void *arg, uint32_t number)
{
    return catalogue_find(((struct reader *)arg)->catalogue, number);
}

static bool
stream_cb(void *arg, const struct inspect_where *where,
    const struct store_stream_info *info)
{
    (void)where;
    return catalogue_add(((struct reader *)arg)->catalogue, info);
}

static bool
trim_cb(void *arg, const struct inspect_where *where, uint32_t number,
    uint64_t first_seq)
{
    struct catalogue_stream *stream = find(arg, number);

    (void)where;
    if (stream != NULL && first_seq > stream->info.first_seq) {
        stream->info.first_seq = first_seq;
        stream->trimmed = true;
        if (first_seq > stream->info.last_seq + 1) {
            stream->info.last_seq = first_seq - 1;
        }
    }
    return true;
}

static bool
remove_cb(void *arg, const struct inspect_where *where, uint32_t number)
{
    struct catalogue_stream *stream = find(arg, number);

    (void)where;
    if (stream != NULL) {
        stream->removed = true;
    }
    return true;
}

static void
count(struct store_stream_info *info, const struct store_run *run)
{
    if (info->records == 0) {
        info->first_seq = run->first_seq;
        info->first_time_ms = run->time_ms;
    }
    info->last_seq = run->first_seq + run->count - 1;
    info->last_time_ms = run->time_ms;
    info->records += run->count;
    info->bytes += run->bytes;
}

/* What the tables have need not be counted: they say it, but of a stream whose
 * definition is lost. */
static bool
wanted_unknown(void *arg, uint32_t number, uint64_t *from)
{
    const struct catalogue_stream *stream = find(arg, number);

    (void)from;
    return stream != NULL && stream->info.records == 0;
}

static bool
records_cb(void *arg, const struct inspect_where *where, uint32_t number,
    const struct store_run *run)
{
    struct catalogue_stream *stream = find(arg, number);

    (void)where;
    if (stream != NULL) {
        count(&stream->info, run);
    }
    return true;
}

/* The second time: streams that the journal trims are read whole, as only their
 * records say how many bytes are left. */
static bool
wanted_trimmed(void *arg, uint32_t number, uint64_t *from)
{
    struct catalogue_stream *stream = find(arg, number);

    if (stream == NULL || !stream->trimmed || stream->removed) {
        return false;
    }
    *from = stream->info.first_seq;
    return true;
}

static bool
recount_cb(void *arg, const struct inspect_where *where, uint32_t number,
    const struct store_run *run)
{
    struct catalogue_stream *stream = find(arg, number);

    (void)where;
    if (stream != NULL && stream->trimmed) {
        count(&stream->info, run);
    }
    return true;
}

static bool
recount(
    struct reader *reader, const char *directory, char *why, size_t why_size)
{
    const struct catalogue *catalogue = reader->catalogue;
    const struct inspect_hooks hooks = {
        .wanted = wanted_trimmed, .records = recount_cb, .arg = reader};
    struct inspect_summary summary;
    bool needed = false;

    for (size_t i = 0; i < catalogue->count; i++) {
        struct catalogue_stream *stream = catalogue->streams[i];

        if (stream->trimmed && !stream->removed) {
            needed = true;
            stream->info.records = stream->info.bytes = 0;
            stream->info.first_time_ms = 0;
        }
    }
    return !needed || store_inspect(directory, &hooks, &summary, why, why_size);
}

/* ---- the other hooks ----------------------------------------------------- */

static bool
file_cb(void *arg, const char *name, uint64_t bytes, bool set_aside)
{
    const struct inspect_hooks *more = ((struct reader *)arg)->more;

    return more->file(more->arg, name, bytes, set_aside);
}

static bool
value_cb(void *arg, const struct inspect_where *where,
    const struct store_value *value)
{
    const struct inspect_hooks *more = ((struct reader *)arg)->more;

    return more->value(more->arg, where, value);
}

static bool
publisher_cb(void *arg, const struct inspect_where *where, const void *name,
    size_t name_bytes, uint32_t number)
{
    const struct inspect_hooks *more = ((struct reader *)arg)->more;

    return more->publisher(more->arg, where, name, name_bytes, number);
}

static bool
damage_cb(void *arg, const struct inspect_where *where, const char *text,
    uint64_t records)
{
    const struct inspect_hooks *more = ((struct reader *)arg)->more;

    return more->damage(more->arg, where, text, records);
}

bool
catalogue_read(struct catalogue *catalogue, const char *directory,
    const struct inspect_hooks *more, struct inspect_summary *summary,
    char *why, size_t why_size)
{
    struct reader reader = {catalogue, more};
    const struct inspect_hooks hooks = {
        .file = more->file != NULL ? file_cb : NULL,
        .stream = stream_cb,
        .wanted = wanted_unknown,
        .records = records_cb,
        .trim = trim_cb,
        .remove = remove_cb,
        .value = more->value != NULL ? value_cb : NULL,
        .publisher = more->publisher != NULL ? publisher_cb : NULL,
        .damage = more->damage != NULL ? damage_cb : NULL,
        .arg = &reader,
    };

    *catalogue = (struct catalogue){.count = 0};
    return store_inspect(directory, &hooks, summary, why, why_size) &&
           recount(&reader, directory, why, why_size);
}
