/* SPDX-License-Identifier: MIT
 *
 * What a stream is defined as: its name, filters and limits, and the same as
 * bytes in the store (space STORE_SPACE_STREAM, under the stream's name).
 * PROTOCOL.md section 5.13. Plain data; a definition does not change.
 *
 * The bytes, integers in network byte order: u16 format 1, u8 state (0: there,
 * 1: being removed), u8 discard (0: old, 1: new), u64 max_messages, max_bytes,
 * max_age_ms, u16 count of filters, and for each a u16 length and its bytes.
 */
#ifndef BROKER_CORE_STREAM_DEFINITION_H
#define BROKER_CORE_STREAM_DEFINITION_H

#include <broker/codec.h>

#include "store.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STREAM_FILTERS_MAX 64u

/* In one piece of memory, which free(3) frees. */
struct stream_definition {
    struct broker_bytes name; /* a NUL stands behind it */
    struct broker_bytes *filters;
    size_t filter_count;
    struct store_limits limits;
};

/* A copy; NULL if memory is out. */
struct stream_definition *stream_definition_new(struct broker_bytes name,
    const struct broker_bytes *filters, size_t count,
    const struct store_limits *limits);

/* 1 to 255 bytes of A-Z, a-z, 0-9 and . _ - */
bool stream_name_is_valid(struct broker_bytes name);

/* Do both say the same? Filters may be in another order. */
bool stream_definition_equals(
    const struct stream_definition *a, const struct stream_definition *b);
/* A topic may be captured by both. */
bool stream_definitions_overlap(
    const struct stream_definition *a, const struct stream_definition *b);

/* *bytes is set. NULL if memory is out. */
uint8_t *stream_definition_save(const struct stream_definition *definition,
    bool is_removing, size_t *bytes);

enum stream_load { STREAM_LOADED, STREAM_LOAD_INVALID, STREAM_LOAD_MEMORY };
/* *out is set with STREAM_LOADED only. */
enum stream_load stream_definition_load(struct broker_bytes name,
    const uint8_t *src, size_t len, struct stream_definition **out,
    bool *is_removing);

#endif
