/* SPDX-License-Identifier: MIT
 *
 * keys.def as data: one row a key, and how to get at its field in struct
 * config. Internal to broker/config.
 */
#ifndef BROKER_CONFIG_TABLE_H
#define BROKER_CONFIG_TABLE_H

#include "config.h"

enum config_kind {
    CONFIG_KIND_NUMBER,
    CONFIG_KIND_CHOICE,
    CONFIG_KIND_ADDRESSES,
    CONFIG_KIND_PATH,
    CONFIG_KIND_WORD
};

enum config_unit {
    CONFIG_UNIT_COUNT,
    CONFIG_UNIT_BYTES,
    CONFIG_UNIT_TIME,
    CONFIG_UNIT_OCTAL
};

struct config_row {
    const char *name;
    const char *help;
    enum config_kind kind;
    enum config_unit unit;  /* numbers */
    bool may_be_auto;       /* and then "auto" is the default */
    uint64_t min, max;      /* numbers */
    uint64_t initial;       /* numbers and choices without auto */
    const char *words;      /* choices: separated by one space */
    size_t offset, n_bytes; /* of the field in struct config */
};

/* Indexed by enum config_key. */
extern const struct config_row config_rows[CONFIG_KEY_COUNT];

/* The row with this name, in which "-" and "_" are equal; or NULL. */
const struct config_row *config_row_find(const char *name, size_t len);

/* The name that is meant, if one is close to `name`; or NULL. Looks at the
 * keys and at the `n_extra` names in `extra`. */
const char *config_name_nearest(
    const char *name, size_t len, const char *const extra[], size_t n_extra);

/* The key that a row is for. */
enum config_key config_row_key(const struct config_row *row);

/* Read and write the field of a number or a choice. The value must be in the
 * range of the row. */
uint64_t config_get(const struct config *config, enum config_key key);
void config_set(struct config *config, enum config_key key, uint64_t value);

/* Is the field a text: a path or a word? */
bool config_row_is_text(const struct config_row *row);

/* Read and write such a field. A new text replaces the old one, which is freed,
 * and belongs to the struct then; NULL stands for "none". */
const char *config_get_text(const struct config *config, enum config_key key);
void config_set_text(struct config *config, enum config_key key, char *text);

#endif
