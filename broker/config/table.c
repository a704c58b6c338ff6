/* SPDX-License-Identifier: MIT
 *
 * The rows of keys.def, finding one by its name, and reading and writing the
 * field that belongs to it. Nothing here judges a value.
 */
#include "table.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* Longer names are not compared; every key is much shorter. */
#define NAME_BYTES_MAX 64

#define FIELD(name)                                                            \
    .offset = offsetof(struct config, name),                                   \
    .n_bytes = sizeof(((struct config *)NULL)->name)

const struct config_row config_rows[CONFIG_KEY_COUNT] = {
#define CONFIG_NUMBER(key, type, u, lowest, highest, start, text)              \
    [CONFIG_KEY_##key] = {.name = #key,                                        \
        .help = (text),                                                        \
        .kind = CONFIG_KIND_NUMBER,                                            \
        .unit = CONFIG_UNIT_##u,                                               \
        .min = (lowest),                                                       \
        .max = (highest),                                                      \
        .initial = (start),                                                    \
        FIELD(key)},
#define CONFIG_AUTO_NUMBER(key, type, u, lowest, highest, text)                \
    [CONFIG_KEY_##key] = {.name = #key,                                        \
        .help = (text),                                                        \
        .kind = CONFIG_KIND_NUMBER,                                            \
        .unit = CONFIG_UNIT_##u,                                               \
        .may_be_auto = true,                                                   \
        .min = (lowest),                                                       \
        .max = (highest),                                                      \
        FIELD(key)},
#define CONFIG_CHOICE(key, type, list, start, text)                            \
    [CONFIG_KEY_##key] = {.name = #key,                                        \
        .help = (text),                                                        \
        .kind = CONFIG_KIND_CHOICE,                                            \
        .initial = (start),                                                    \
        .words = (list),                                                       \
        FIELD(key)},
#define CONFIG_ADDRESSES(key, text)                                            \
    [CONFIG_KEY_##key] = {.name = #key,                                        \
        .help = (text),                                                        \
        .kind = CONFIG_KIND_ADDRESSES,                                         \
        .may_be_auto = true},
#define CONFIG_PATH(key, text)                                                 \
    [CONFIG_KEY_##key] = {                                                     \
        .name = #key, .help = (text), .kind = CONFIG_KIND_PATH, FIELD(key)},
#define CONFIG_WORD(key, text)                                                 \
    [CONFIG_KEY_##key] = {                                                     \
        .name = #key, .help = (text), .kind = CONFIG_KIND_WORD, FIELD(key)},
#include "keys.def"
};

static char
fold(char byte)
{
    return byte == '-' ? '_' : byte;
}

static bool
name_equals(const char *name, size_t len, const char *other)
{
    for (size_t i = 0; i < len; i++) {
        if (other[i] == '\0' || fold(name[i]) != fold(other[i])) {
            return false;
        }
    }
    return other[len] == '\0';
}

const struct config_row *
config_row_find(const char *name, size_t len)
{
    for (size_t i = 0; i < CONFIG_KEY_COUNT; i++) {
        if (name_equals(name, len, config_rows[i].name)) {
            return &config_rows[i];
        }
    }
    return NULL;
}

/* The number of bytes to insert, remove or change to make one name of the
 * other (Levenshtein), one row of the usual matrix at a time. */
static size_t
name_distance(const char *name, size_t len, const char *other)
{
    size_t row[NAME_BYTES_MAX + 1];
    size_t other_len = strlen(other);

    assert(other_len <= NAME_BYTES_MAX);
    for (size_t j = 0; j <= other_len; j++) {
        row[j] = j;
    }
    for (size_t i = 0; i < len; i++) {
        size_t diagonal = row[0];
        row[0] = i + 1;
        for (size_t j = 0; j < other_len; j++) {
            size_t best = diagonal + (fold(name[i]) != fold(other[j]));
            diagonal = row[j + 1];
            best = row[j] + 1 < best ? row[j] + 1 : best;
            row[j + 1] = diagonal + 1 < best ? diagonal + 1 : best;
        }
    }
    return row[other_len];
}

const char *
config_name_nearest(
    const char *name, size_t len, const char *const extra[], size_t n_extra)
{
    const char *nearest = NULL;
    size_t nearest_distance = len / 3 + 2; /* too far to be a slip */

    if (len > NAME_BYTES_MAX) {
        return NULL;
    }
    for (size_t i = 0; i < CONFIG_KEY_COUNT + n_extra; i++) {
        const char *candidate = i < CONFIG_KEY_COUNT
                                    ? config_rows[i].name
                                    : extra[i - CONFIG_KEY_COUNT];
        size_t distance = name_distance(name, len, candidate);
        if (distance < nearest_distance) {
            nearest = candidate;
            nearest_distance = distance;
        }
    }
    return nearest;
}

enum config_key
config_row_key(const struct config_row *row)
{
    return (enum config_key)(row - config_rows);
}

uint64_t
config_get(const struct config *config, enum config_key key)
{
    const struct config_row *row = &config_rows[key];
    const char *field = (const char *)config + row->offset;
    uint64_t wide;
    uint32_t narrow;
    uint8_t byte;

    switch (row->n_bytes) {
    case sizeof(wide):
        memcpy(&wide, field, sizeof(wide));
        return wide;
    case sizeof(narrow):
        memcpy(&narrow, field, sizeof(narrow));
        return narrow;
    default:
        assert(row->n_bytes == sizeof(byte));
        memcpy(&byte, field, sizeof(byte));
        return byte;
    }
}

void
config_set(struct config *config, enum config_key key, uint64_t value)
{
    const struct config_row *row = &config_rows[key];
    char *field = (char *)config + row->offset;
    uint32_t narrow = (uint32_t)value;
    uint8_t byte = (uint8_t)value;

    switch (row->n_bytes) {
    case sizeof(value):
        memcpy(field, &value, sizeof(value));
        break;
    case sizeof(narrow):
        assert(value <= UINT32_MAX);
        memcpy(field, &narrow, sizeof(narrow));
        break;
    default:
        assert(row->n_bytes == sizeof(byte) && value <= UINT8_MAX);
        memcpy(field, &byte, sizeof(byte));
        break;
    }
}

bool
config_row_is_text(const struct config_row *row)
{
    return row->kind == CONFIG_KIND_PATH || row->kind == CONFIG_KIND_WORD;
}

const char *
config_get_text(const struct config *config, enum config_key key)
{
    const struct config_row *row = &config_rows[key];
    const char *text;

    assert(config_row_is_text(row));
    memcpy(&text, (const char *)config + row->offset, sizeof(text));
    return text;
}

void
config_set_text(struct config *config, enum config_key key, char *text)
{
    const struct config_row *row = &config_rows[key];
    char *field = (char *)config + row->offset;
    char *old;

    assert(config_row_is_text(row));
    memcpy(&old, field, sizeof(old));
    free(old);
    memcpy(field, &text, sizeof(text));
}
