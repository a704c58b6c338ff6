/* SPDX-License-Identifier: MIT
 *
 * Aligned tables for people. Cells are collected first, because the width of a
 * column is known only with its last cell. Knows nothing of what is shown.
 */
#ifndef BROKERCTL_TABLE_H
#define BROKERCTL_TABLE_H

#include <stdbool.h>
#include <stddef.h>

#include "out.h"

enum table_align { TABLE_LEFT, TABLE_RIGHT };

/* Private to table.c. */
struct table {
    size_t columns;
    const enum table_align *align;
    char **cells; /* row after row */
    size_t count, cap;
    bool failed;
};

/* A table with `columns` columns; `align` has one entry each and must outlive
 * the table. */
void table_init(
    struct table *table, size_t columns, const enum table_align *align);
void table_fini(struct table *table);

/* Append a copy of `text` as the next cell, row by row. Control characters are
 * shown as "?", so that no name can disturb the terminal. */
void table_add(struct table *table, const char *text);

/* Write all full rows, with two spaces between columns and none at the ends of
 * lines. False: a cell could not be allocated; nothing is written. */
bool table_print(const struct table *table, struct out *out);

#endif
