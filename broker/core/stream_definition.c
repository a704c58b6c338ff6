/* SPDX-License-Identifier: MIT
 *
 * Definitions of streams; see stream_definition.h. */
#include "stream_definition.h"

#include <stdlib.h>
#include <string.h>

#define FORMAT     1u
#define HEAD_BYTES (2u + 1u + 1u + 3u * 8u + 2u)

struct stream_definition *
stream_definition_new(struct broker_bytes name,
    const struct broker_bytes *filters, size_t count,
    const struct store_limits *limits)
{
    size_t bytes = name.len + 1;
    for (size_t i = 0; i < count; i++) {
        bytes += filters[i].len;
    }
    struct stream_definition *definition =
        malloc(sizeof *definition + count * sizeof *filters + bytes);
    if (definition == NULL) {
        return NULL;
    }
    *definition = (struct stream_definition){.filter_count = count,
        .filters = (struct broker_bytes *)(definition + 1),
        .limits = *limits};
    uint8_t *at = (uint8_t *)(definition->filters + count);
    definition->name.len = name.len;
    definition->name.data = memcpy(at, name.data, name.len);
    at[name.len] = '\0';
    at += name.len + 1;
    for (size_t i = 0; i < count; i++) {
        definition->filters[i].len = filters[i].len;
        definition->filters[i].data =
            memcpy(at, filters[i].data, filters[i].len);
        at += filters[i].len;
    }
    return definition;
}

bool
stream_name_is_valid(struct broker_bytes name)
{
    if (name.len < 1 || name.len > STORE_NAME_MAX) {
        return false;
    }
    for (size_t i = 0; i < name.len; i++) {
        uint8_t c = name.data[i];
        bool is_letter = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
        bool is_digit = c >= '0' && c <= '9';
        if (!is_letter && !is_digit && c != '.' && c != '_' && c != '-') {
            return false;
        }
    }
    return true;
}

static bool
same(struct broker_bytes a, struct broker_bytes b)
{
    return a.len == b.len && memcmp(a.data, b.data, a.len) == 0;
}

static bool
has_filter(const struct stream_definition *definition, struct broker_bytes f)
{
    for (size_t i = 0; i < definition->filter_count; i++) {
        if (same(definition->filters[i], f)) {
            return true;
        }
    }
    return false;
}

bool
stream_definition_equals(
    const struct stream_definition *a, const struct stream_definition *b)
{
    if (!same(a->name, b->name) || a->filter_count != b->filter_count ||
        a->limits.max_records != b->limits.max_records ||
        a->limits.max_bytes != b->limits.max_bytes ||
        a->limits.max_age_ms != b->limits.max_age_ms ||
        a->limits.discard_new != b->limits.discard_new) {
        return false;
    }
    for (size_t i = 0; i < a->filter_count; i++) {
        if (!has_filter(b, a->filters[i])) {
            return false;
        }
    }
    return true;
}

bool
stream_definitions_overlap(
    const struct stream_definition *a, const struct stream_definition *b)
{
    for (size_t i = 0; i < a->filter_count; i++) {
        for (size_t j = 0; j < b->filter_count; j++) {
            if (broker_filters_overlap(a->filters[i], b->filters[j])) {
                return true;
            }
        }
    }
    return false;
}

/* ---- bytes --------------------------------------------------------------- */

static uint8_t *
put(uint8_t *dst, uint64_t value, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++) {
        dst[i] = (uint8_t)(value >> 8 * (bytes - 1 - i));
    }
    return dst + bytes;
}

static uint64_t
get(const uint8_t **src, unsigned bytes)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < bytes; i++) {
        value = value << 8 | (*src)[i];
    }
    *src += bytes;
    return value;
}

uint8_t *
stream_definition_save(
    const struct stream_definition *definition, bool is_removing, size_t *bytes)
{
    *bytes = HEAD_BYTES;
    for (size_t i = 0; i < definition->filter_count; i++) {
        *bytes += 2 + definition->filters[i].len;
    }
    uint8_t *value = malloc(*bytes);
    if (value == NULL) {
        return NULL;
    }
    uint8_t *at = put(value, FORMAT, 2);
    at = put(at, is_removing ? 1 : 0, 1);
    at = put(at, definition->limits.discard_new ? 1 : 0, 1);
    at = put(at, definition->limits.max_records, 8);
    at = put(at, definition->limits.max_bytes, 8);
    at = put(at, definition->limits.max_age_ms, 8);
    at = put(at, definition->filter_count, 2);
    for (size_t i = 0; i < definition->filter_count; i++) {
        struct broker_bytes filter = definition->filters[i];
        at = put(at, filter.len, 2);
        memcpy(at, filter.data, filter.len);
        at += filter.len;
    }
    return value;
}

/* What was accepted once is accepted for ever, whatever limits the broker has
 * by now. */
static bool
is_filter(struct broker_bytes filter)
{
    static const struct broker_limits all = {
        BROKER_BODY_BYTES_MAX, UINT16_MAX, UINT16_MAX};
    return filter.len > 0 && filter.data[0] != '$' &&
           broker_filter_check(&all, filter) == BROKER_OK;
}

static bool
get_filters(const uint8_t *src, const uint8_t *end,
    struct broker_bytes *filters, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (end - src < 2) {
            return false;
        }
        size_t len = (size_t)get(&src, 2);
        if (len > (size_t)(end - src)) {
            return false;
        }
        filters[i] = (struct broker_bytes){src, len};
        src += len;
        if (!is_filter(filters[i])) {
            return false;
        }
    }
    return src == end;
}

enum stream_load
stream_definition_load(struct broker_bytes name, const uint8_t *src, size_t len,
    struct stream_definition **out, bool *is_removing)
{
    struct broker_bytes filters[STREAM_FILTERS_MAX];
    const uint8_t *end = src + len;
    if (len < HEAD_BYTES || !stream_name_is_valid(name) ||
        get(&src, 2) != FORMAT) {
        return STREAM_LOAD_INVALID;
    }
    uint64_t state = get(&src, 1);
    uint64_t discard = get(&src, 1);
    struct store_limits limits = {.discard_new = discard == 1};
    limits.max_records = get(&src, 8);
    limits.max_bytes = get(&src, 8);
    limits.max_age_ms = get(&src, 8);
    size_t count = (size_t)get(&src, 2);
    if (state > 1 || discard > 1 || count < 1 || count > STREAM_FILTERS_MAX ||
        !get_filters(src, end, filters, count)) {
        return STREAM_LOAD_INVALID;
    }
    struct stream_definition *definition =
        stream_definition_new(name, filters, count, &limits);
    if (definition == NULL) {
        return STREAM_LOAD_MEMORY;
    }
    *out = definition;
    *is_removing = state == 1;
    return STREAM_LOADED;
}
