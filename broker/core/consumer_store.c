/* SPDX-License-Identifier: MIT
 *
 * Durable consumers in the store: as bytes, loaded, saved, forgotten; see
 * consumers.h. */
#include "consumers_internal.h"
#include "session.h"
#include "streams.h"
#include "wire.h"

#include <stdlib.h>
#include <string.h>

#define FORMAT           1u
#define DEFINITION_BYTES 12u /* before the names */

/* ---- as bytes ------------------------------------------------------------ */

size_t
cursor_key(struct broker_bytes name, uint8_t kind, uint8_t key[STORE_KEY_MAX])
{
    memcpy(key, name.data, name.len);
    key[name.len] = kind;
    return name.len + 1;
}

bool
cursor_value(struct cursor *cursor, const uint64_t *stored, size_t stored_count,
    struct store_value *value, uint8_t key[STORE_KEY_MAX])
{
    struct consumers *consumers = cursor->consumers;
    size_t size = consumer_save_size(cursor->state);
    if (consumers->scratch_bytes < size) {
        uint8_t *scratch = realloc(consumers->scratch, size * 2);
        if (scratch == NULL) {
            return false;
        }
        consumers->scratch = scratch;
        consumers->scratch_bytes = size * 2;
    }
    *value = (struct store_value){.space = STORE_SPACE_CONSUMER,
        .key = key,
        .key_bytes = cursor_key(cursor->name, CURSOR_KEY_STATE, key),
        .data = consumers->scratch,
        .bytes = consumer_save(cursor->state, stored, stored_count,
            consumers->scratch, consumers->scratch_bytes)};
    return true;
}

static uint8_t *
put_u32(uint8_t *dst, uint64_t value)
{
    for (unsigned i = 0; i < 4; i++) {
        dst[i] = (uint8_t)(value >> (24 - 8 * i));
    }
    return dst + 4;
}

uint8_t *
cursor_definition(const struct cursor *cursor, size_t *bytes)
{
    const struct consumer_settings *settings =
        consumer_get_settings(cursor->state);
    *bytes = DEFINITION_BYTES + cursor->stream.len +
             consumer_settings_size(settings);
    uint8_t *all = malloc(*bytes);
    if (all != NULL) {
        uint8_t *dst = put_u32(all, FORMAT);
        dst = put_u32(dst, cursor->source->stream);
        dst = put_u32(dst, cursor->stream.len);
        memcpy(dst, cursor->stream.data, cursor->stream.len);
        consumer_settings_save(settings, dst + cursor->stream.len);
    }
    return all;
}

/* ---- loading ------------------------------------------------------------- */

struct loaded {
    struct broker_bytes stream;
    uint32_t number;
    struct consumer_settings settings;
};

static bool
read_definition(const struct store_value *value, struct loaded *out)
{
    const uint8_t *src = value->data;
    if (value->bytes < DEFINITION_BYTES || wire_u32(src) != FORMAT) {
        return false;
    }
    size_t rest = value->bytes - DEFINITION_BYTES;
    out->number = wire_u32(src + 4);
    out->stream.len = wire_u32(src + 8);
    out->stream.data = src + DEFINITION_BYTES;
    return out->stream.len > 0 && rest >= out->stream.len &&
           consumer_settings_load(&out->settings,
               out->stream.data + out->stream.len, rest - out->stream.len);
}

/* False: memory is out. */
static bool
load_definition(struct consumers *consumers, struct broker_bytes name,
    const struct store_value *value)
{
    struct core *core = consumers->core;
    struct loaded loaded;
    if (!read_definition(value, &loaded)) {
        consumers->unknown++;
        return true;
    }
    const struct stream *stream = streams_find(core, loaded.stream);
    bool is_there = stream != NULL && stream->number == loaded.number;
    if (!is_there && stream == NULL && streams_unknown(core) > 0) {
        consumers->unknown++; /* its stream may be one of those */
        return true;
    }
    struct cursor *cursor = cursor_new(
        consumers, name, loaded.stream, loaded.number, &loaded.settings);
    if (cursor == NULL) {
        return false;
    }
    cursor->is_known = true;
    if (!is_there) {
        cursor_end(cursor, BROKER_E_UNKNOWN_STREAM, true);
    }
    return true;
}

/* False: memory is out. */
static bool
load_state(struct consumers *consumers, struct broker_bytes name,
    const struct store_value *value)
{
    struct cursor *cursor = cursor_find(consumers, name);
    enum consumer_load loaded = cursor == NULL ? CONSUMER_LOADED
                                               : consumer_load(cursor->state,
                                                     value->data, value->bytes);
    if (loaded == CONSUMER_LOAD_INVALID) {
        consumers->unknown++;
        cursor_end(cursor, BROKER_E_UNKNOWN_CONSUMER, false);
    }
    return loaded != CONSUMER_LOAD_MEMORY;
}

static void
on_value(void *arg, enum store_status status, const struct store_value *value)
{
    struct consumers *consumers = arg;
    if (value != NULL && value->key != NULL) {
        const uint8_t *key = value->key;
        struct broker_bytes name = {key, value->key_bytes - 1};
        bool ok = true;
        if (name.len == 0 || name.len > STORE_NAME_MAX) {
            consumers->unknown++;
        } else if (key[name.len] == CURSOR_KEY_DEFINITION) {
            ok = load_definition(consumers, name, value);
        } else {
            ok = load_state(consumers, name, value);
        }
        consumers->scan_failed = consumers->scan_failed || !ok;
        return;
    }
    consumers->scanning = false;
    if (status != STORE_OK || consumers->scan_failed) {
        cursors_drop_all(consumers);
        consumers->retry_ms = consumers->core->now_ms + CONSUMER_PAUSE_MS;
        return;
    }
    consumers->scanned = true;
}

bool
consumers_scan(struct consumers *consumers)
{
    if (consumers->scanned) {
        return true;
    }
    if (!consumers->scanning && streams_are_ready(consumers->core) &&
        (consumers->retry_ms == UINT64_MAX ||
            consumers->retry_ms <= consumers->core->now_ms)) {
        consumers->scan_failed = false;
        consumers->retry_ms = UINT64_MAX;
        consumers->scanning =
            store_scan(consumers->core->options.store, STORE_SPACE_CONSUMER,
                on_value, consumers) == STORE_OK;
        if (!consumers->scanning) {
            consumers->retry_ms = consumers->core->now_ms + CONSUMER_PAUSE_MS;
        }
    }
    return false;
}

/* ---- saving and forgetting ----------------------------------------------- */

static void
on_saved(void *arg, const struct store_result *result)
{
    struct cursor *cursor = arg;
    cursor->is_saving = false;
    if (!cursor_answered(cursor)) {
        return;
    }
    if (result->status != STORE_OK) {
        consumer_set_dirty(cursor->state);
        cursor_pause(cursor, CONSUMER_RETRY_MS,
            broker_status_text((unsigned)durable_status((int)result->status)));
    }
    cursor_touch(cursor);
}

void
cursor_save(struct cursor *cursor)
{
    struct core *core = cursor->consumers->core;
    uint8_t key[STORE_KEY_MAX];
    struct store_value value;
    /* In the end nobody waits for the last one; they are put in their order. */
    bool waits = cursor->is_saving &&
                 (!core->shutting_down || cursor->dead.step == DEAD_STORING);
    if (waits || !cursor->is_known || !consumer_is_dirty(cursor->state)) {
        return;
    }
    bool ok = cursor_value(cursor, NULL, 0, &value, key);
    if (ok && store_put(core->options.store, &value, 1, on_saved, cursor) ==
                  STORE_OK) {
        cursor->is_saving = true;
        cursor->calls++;
        return;
    }
    consumer_set_dirty(cursor->state);
    cursor_pause(cursor, CONSUMER_PAUSE_MS, cursor->trouble);
}

static void
on_forgotten(void *arg, const struct store_result *result)
{
    (void)result; /* if it failed, the next start finds that its stream is no
                     more */
    (void)cursor_answered(arg);
}

bool
consumers_forget_ended(struct consumers *consumers)
{
    struct cursor *cursor;
    TAILQ_FOREACH(cursor, &consumers->ending, link)
    {
        if (!cursor->is_to_forget) {
            continue;
        }
        uint8_t keys[2][STORE_KEY_MAX];
        struct store_value values[2];
        for (uint8_t kind = 0; kind < 2; kind++) {
            values[kind] = (struct store_value){.space = STORE_SPACE_CONSUMER,
                .key = keys[kind],
                .key_bytes = cursor_key(cursor->name, kind, keys[kind])};
        }
        if (store_put(consumers->core->options.store, values, 2, on_forgotten,
                cursor) != STORE_OK) {
            return false;
        }
        cursor->calls++;
        cursor->is_to_forget = false;
    }
    return true;
}
