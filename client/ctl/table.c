/* SPDX-License-Identifier: MIT
 *
 * Aligned tables; see table.h. A width is counted in UTF-8 characters, which is
 * right for all but combining and double-width ones.
 */
#include "table.h"

#include <stdlib.h>
#include <string.h>

void
table_init(struct table *table, size_t columns, const enum table_align *align)
{
    *table = (struct table){.columns = columns, .align = align};
}

void
table_fini(struct table *table)
{
    for (size_t i = 0; i < table->count; i++) {
        free(table->cells[i]);
    }
    free(table->cells);
    *table = (struct table){0};
}

static bool
table_grow(struct table *table)
{
    const size_t cap = table->cap != 0 ? table->cap * 2 : 64;
    char **cells;

    if (table->count < table->cap) {
        return true;
    }
    cells = realloc(table->cells, cap * sizeof cells[0]);
    if (cells == NULL) {
        return false;
    }
    table->cells = cells;
    table->cap = cap;
    return true;
}

void
table_add(struct table *table, const char *text)
{
    char *copy = strdup(text);

    if (copy == NULL || !table_grow(table)) {
        free(copy);
        table->failed = true;
        return;
    }
    for (char *c = copy; *c != '\0'; c++) {
        if ((unsigned char)*c < 0x20 || *c == 0x7f) {
            *c = '?';
        }
    }
    table->cells[table->count++] = copy;
}

static size_t
text_width(const char *text)
{
    size_t width = 0;

    for (; *text != '\0'; text++) {
        width += ((unsigned char)*text & 0xc0) != 0x80;
    }
    return width;
}

static size_t
column_width(const struct table *table, size_t column)
{
    size_t width = 0;

    for (size_t i = column; i < table->count; i += table->columns) {
        const size_t cell = text_width(table->cells[i]);

        width = cell > width ? cell : width;
    }
    return width;
}

static void
spaces(struct out *out, size_t n)
{
    while (n-- > 0) {
        out_write(out, " ", 1);
    }
}

static void
print_cell(const struct table *table, struct out *out, size_t i, size_t width)
{
    const size_t column = i % table->columns;
    const size_t fill = width - text_width(table->cells[i]);

    if (column > 0) {
        spaces(out, 2);
    }
    if (table->align[column] == TABLE_RIGHT) {
        spaces(out, fill);
    }
    out_peer_name(out, table->cells[i], strlen(table->cells[i]));
    if (column + 1 == table->columns) {
        out_text(out, "\n");
    } else if (table->align[column] == TABLE_LEFT) {
        spaces(out, fill);
    }
}

bool
table_print(const struct table *table, struct out *out)
{
    const size_t whole = table->count - table->count % table->columns;
    size_t *widths;

    if (table->failed) {
        return false;
    }
    widths = calloc(table->columns, sizeof widths[0]);
    if (widths == NULL) {
        return false;
    }
    for (size_t column = 0; column < table->columns; column++) {
        widths[column] = column_width(table, column);
    }
    for (size_t i = 0; i < whole; i++) {
        print_cell(table, out, i, widths[i % table->columns]);
    }
    free(widths);
    return true;
}
