/* SPDX-License-Identifier: MIT
 *
 * Changes other than appending: streams, their limits and ends, values; and the
 * tick that has all of them committed; see local_store.h. */
#include "local_change.h"

#include <string.h>

/* ---- values -------------------------------------------------------------- */

bool
values_are_valid(const struct store_value *values, size_t count)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < count; i++) {
        const struct store_value *value = &values[i];
        if (value->space < STORE_SPACE_STREAM || value->space >= STORE_SPACES ||
            value->key == NULL || value->key_bytes == 0 ||
            value->key_bytes > STORE_KEY_MAX ||
            (value->data != NULL && value->bytes > STORE_VALUE_MAX)) {
            return false;
        }
        bytes += STORE_KEY_MAX + value->bytes;
    }
    return bytes <= GROUP_BYTES_MAX / 2;
}

static size_t
value_size(const struct store_value *value)
{
    return ENTRY_HEAD_BYTES + value->key_bytes +
           (value->data == NULL ? 0 : value->bytes);
}

size_t
values_size(const struct store_value *values, size_t count)
{
    size_t bytes = 0;
    for (size_t i = 0; i < count; i++) {
        bytes += value_size(&values[i]);
    }
    return bytes;
}

/* The entry's body is key and data in one piece: it is put together where it
 * goes, and encoded over itself. */
static void
value_encode(uint8_t *dst, const struct store_value *value)
{
    uint8_t *body = dst + ENTRY_HEAD_BYTES;
    memcpy(body, value->key, value->key_bytes);
    if (value->data != NULL && value->bytes > 0) {
        memcpy(body + value->key_bytes, value->data, value->bytes);
    }
    struct entry entry = {.kind = ENTRY_VALUE,
        .flags = value->data == NULL ? ENTRY_DELETED : 0,
        .space = (uint8_t)value->space,
        .count = (uint32_t)value->key_bytes,
        .body = body,
        .body_bytes = value_size(value) - ENTRY_HEAD_BYTES};
    entry_encode(dst, &entry);
}

void
values_encode(struct local *local, uint8_t *dst,
    const struct store_value *values, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        value_encode(dst, &values[i]);
        size_t bytes = value_size(&values[i]);
        group_add(local, bytes);
        dst += bytes;
    }
}

/* ---- one change ---------------------------------------------------------- */

/* Lock, and a place for the answer. NULL: *status says why, nothing is locked.
 * `bytes`: 0 if it makes room rather than takes it. */
static struct pending *
begin(struct local_port *port, size_t bytes, store_done *done, void *arg,
    enum change_kind kind, enum store_status *status)
{
    struct local *local = port->local;
    pthread_mutex_lock(&local->lock);
    struct pending *pending = NULL;
    local_look_by_hand(local);
    if (bytes > 0 && !group_has_room(local, bytes)) {
        port->wants_room = true;
        *status = STORE_AGAIN;
    } else {
        pending = group_pending(local, port, done, arg, kind);
        *status = STORE_MEMORY;
    }
    if (pending == NULL) {
        pthread_mutex_unlock(&local->lock);
        return NULL;
    }
    if (local->stats.failed) {
        pending->status = STORE_FAILED;
    } else if (bytes > 0 && local->no_space) {
        pending->status = STORE_NO_SPACE;
        local->stats.refused_no_space++;
    }
    return pending;
}

static enum store_status
end(struct local_port *port, bool ok)
{
    struct local *local = port->local;
    if (!ok) {
        local->open->count--;
        port->references--;
    }
    pthread_mutex_unlock(&local->lock);
    return ok ? STORE_OK : STORE_MEMORY;
}

static bool
add_entry(struct local *local, const struct entry *entry)
{
    size_t bytes = entry_size(entry);
    uint8_t *dst = group_reserve(local, bytes);
    if (dst == NULL) {
        return false;
    }
    entry_encode(dst, entry);
    group_add(local, bytes);
    return true;
}

static bool
add_definition(struct local *local, const struct stream *stream,
    const struct store_limits *limits)
{
    uint8_t body[ENTRY_STREAM_BYTES];
    struct entry_stream definition = {.max_records = limits->max_records,
        .max_bytes = limits->max_bytes,
        .max_age_ms = limits->max_age_ms};
    struct entry entry = {.kind = ENTRY_STREAM,
        .flags = limits->discard_new ? ENTRY_DISCARD_NEW : 0,
        .name_bytes = (uint8_t)stream->name_bytes,
        .name = (const uint8_t *)stream->name,
        .stream = stream->number,
        .body = body,
        .body_bytes = entry_stream_encode(body, &definition)};
    return add_entry(local, &entry);
}

static bool
ensure(struct local *local, struct pending *pending, const char *name,
    size_t name_bytes, const struct store_limits *limits)
{
    struct stream *stream = local_stream_named(local, name, name_bytes);
    if (stream == NULL) {
        pending->kind = CHANGE_CREATE;
        stream = local_stream_new(local, local->next_stream, name, name_bytes);
        if (stream == NULL) {
            return false;
        }
    }
    if (!add_definition(local, stream, limits)) {
        if (pending->kind == CHANGE_CREATE) {
            local_stream_free(local, stream);
        }
        return false;
    }
    pending->stream = stream;
    pending->number = stream->number;
    return true;
}

enum store_status
local_ensure(struct store_port *store_port, const char *name,
    const struct store_limits *limits, store_done *done, void *arg)
{
    static const struct store_limits none;
    struct local_port *port = (struct local_port *)store_port;
    size_t name_bytes = strnlen(name, STORE_NAME_MAX + 1);
    if (name_bytes == 0 || name_bytes > STORE_NAME_MAX) {
        return STORE_INVALID;
    }
    enum store_status status;
    struct pending *pending =
        begin(port, name_bytes, done, arg, CHANGE_LIMITS, &status);
    if (pending == NULL) {
        return status;
    }
    bool ok = pending->status != STORE_OK ||
              ensure(port->local, pending, name, name_bytes,
                  limits == NULL ? &none : limits);
    return end(port, ok);
}

/* TRIM and REMOVE. */
static enum store_status
change_stream(struct local_port *port, const struct entry *entry,
    store_done *done, void *arg, enum change_kind kind)
{
    struct local *local = port->local;
    enum store_status status;
    struct pending *pending = begin(port, 0, done, arg, kind, &status);
    if (pending == NULL) {
        return status;
    }
    struct stream *stream = local_stream(local, entry->stream);
    pending->number = entry->stream;
    if (pending->status == STORE_OK &&
        (stream == NULL || !stream->durable || stream->removing)) {
        pending->status = STORE_NOT_FOUND;
    }
    bool ok = true;
    if (pending->status == STORE_OK) {
        ok = add_entry(local, entry);
        pending->stream = stream;
        stream->removing |= ok && kind == CHANGE_REMOVE;
    }
    return end(port, ok);
}

enum store_status
local_remove(
    struct store_port *port, uint32_t stream, store_done *done, void *arg)
{
    struct entry entry = {.kind = ENTRY_REMOVE, .stream = stream};
    return change_stream(
        (struct local_port *)port, &entry, done, arg, CHANGE_REMOVE);
}

enum store_status
local_trim(struct store_port *port, uint32_t stream, uint64_t first_seq,
    store_done *done, void *arg)
{
    struct entry entry = {
        .kind = ENTRY_TRIM, .stream = stream, .first_seq = first_seq};
    return change_stream(
        (struct local_port *)port, &entry, done, arg, CHANGE_TRIM);
}

enum store_status
local_put(struct store_port *store_port, const struct store_value *values,
    size_t count, store_done *done, void *arg)
{
    struct local_port *port = (struct local_port *)store_port;
    if (count == 0 || !values_are_valid(values, count)) {
        return STORE_INVALID;
    }
    size_t bytes = values_size(values, count);
    enum store_status status;
    struct pending *pending =
        begin(port, bytes, done, arg, CHANGE_PUT, &status);
    if (pending == NULL) {
        return status;
    }
    bool ok = true;
    if (pending->status == STORE_OK) {
        uint8_t *dst = group_reserve(port->local, bytes);
        ok = dst != NULL;
        if (ok) {
            values_encode(port->local, dst, values, count);
        }
    }
    return end(port, ok);
}

/* ---- the end of a turn --------------------------------------------------- */

void
local_tick(struct store_port *port)
{
    struct local *local = local_of(port);
    bool wakes = false;
    pthread_mutex_lock(&local->lock);
    if (local->open->count > 0 && !local->ticked) {
        local->ticked = true;
        wakes = local->commit_sleeps;
    }
    pthread_mutex_unlock(&local->lock);
    if (wakes) {
        pthread_cond_signal(&local->commit_wake); /* it finds the lock free */
    }
}

bool
local_has_room(struct store_port *store_port)
{
    struct local_port *port = (struct local_port *)store_port;
    struct local *local = port->local;
    pthread_mutex_lock(&local->lock);
    bool room = group_has_room(local, 0);
    port->wants_room |= !room;
    pthread_mutex_unlock(&local->lock);
    return room;
}
