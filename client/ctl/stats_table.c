/* SPDX-License-Identifier: MIT
 *
 * JSON as tables; see stats_table.h.
 */
#include "stats_table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "table.h"

#define COLUMNS_MAX 64
#define CELL_MAX    512

/* What in an object of counters is not zero: "overflow 3, memory 1". */
static const char *
counters_text(const json_t *object, char dst[CELL_MAX])
{
    size_t used = 0;
    const char *key;
    json_t *value;

    (void)snprintf(dst, CELL_MAX, "-");
    /* The iterator wants a writable object but does not write. */
    json_object_foreach((json_t *)object, key, value)
    {
        if (json_integer_value(value) != 0 && used < CELL_MAX) {
            const int n = snprintf(dst + used, CELL_MAX - used,
                "%s%s %" JSON_INTEGER_FORMAT, used > 0 ? ", " : "", key,
                json_integer_value(value));

            used += n > 0 ? (size_t)n : 0;
        }
    }
    return dst;
}

/* A JSON value as a cell. Numbers are not shortened: exact ones can be
 * compared, rounded ones cannot. */
static const char *
cell_text(const json_t *value, char dst[CELL_MAX])
{
    char *dumped;

    switch (value != NULL ? json_typeof(value) : JSON_NULL) {
    case JSON_STRING:
        return json_string_value(value);
    case JSON_INTEGER:
        (void)snprintf(
            dst, CELL_MAX, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        return dst;
    case JSON_OBJECT:
        return counters_text(value, dst);
    case JSON_NULL:
        return "-";
    default:
        dumped = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
        (void)snprintf(dst, CELL_MAX, "%s", dumped != NULL ? dumped : "?");
        free(dumped);
        return dst;
    }
}

long long
stats_books_off(const json_t *entry)
{
    const json_t *matched = json_object_get(entry, "matched");
    const json_t *delivered = json_object_get(entry, "delivered");
    const json_t *queued = json_object_get(entry, "queued");
    const json_t *dropped = json_object_get(entry, "dropped");

    if (!json_is_integer(matched) || !json_is_integer(delivered) ||
        !json_is_integer(queued) || !json_is_integer(dropped)) {
        return 0;
    }
    return json_integer_value(matched) -
           (json_integer_value(delivered) + json_integer_value(queued) +
               json_integer_value(dropped));
}

/* ---- totals -------------------------------------------------------------- */

static void
add_members(struct table *table, const json_t *object, const char *prefix)
{
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)object, key, value)
    {
        char name[CELL_MAX];
        char cell[CELL_MAX];

        (void)snprintf(name, sizeof name, "%s%s", prefix, key);
        if (json_is_object(value) && json_object_size(value) > 0) {
            (void)strncat(name, ".", sizeof name - strlen(name) - 1);
            add_members(table, value, name);
        } else {
            table_add(table, name);
            table_add(table, cell_text(value, cell));
        }
    }
}

bool
stats_table_totals(struct out *out, const json_t *object)
{
    static const enum table_align align[] = {TABLE_LEFT, TABLE_RIGHT};
    struct table table;
    bool ok;

    table_init(&table, 2, align);
    add_members(&table, object, "");
    ok = table_print(&table, out);
    table_fini(&table);
    return ok;
}

/* ---- rows ---------------------------------------------------------------- */

struct columns {
    const char *keys[COLUMNS_MAX];
    enum table_align align[COLUMNS_MAX];
    size_t count;
    bool books; /* the last column is "balance" */
};

static void
columns_add(struct columns *columns, const char *key, const json_t *value)
{
    size_t i = 0;

    while (i < columns->count && strcmp(columns->keys[i], key) != 0) {
        i++;
    }
    if (i == columns->count) {
        if (i == COLUMNS_MAX - 1) {
            return; /* one is kept for the balance; far above any broker's */
        }
        columns->keys[i] = key;
        columns->align[i] = TABLE_RIGHT;
        columns->count++;
    }
    if (!json_is_number(value) && !json_is_null(value)) {
        columns->align[i] = TABLE_LEFT;
    }
}

static void
columns_find(struct columns *columns, const json_t *list)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        json_t *entry = json_array_get(list, i);
        const char *key;
        json_t *value;

        json_object_foreach(entry, key, value)
        {
            columns_add(columns, key, value);
        }
        columns->books |= json_object_get(entry, "matched") != NULL &&
                          json_object_get(entry, "queued") != NULL;
    }
    if (columns->books) {
        columns->keys[columns->count] = "balance";
        columns->align[columns->count++] = TABLE_LEFT;
    }
}

static void
add_row(struct table *table, const struct columns *columns, const json_t *entry)
{
    const size_t plain = columns->count - columns->books;
    char cell[CELL_MAX];

    for (size_t i = 0; i < plain; i++) {
        table_add(
            table, cell_text(json_object_get(entry, columns->keys[i]), cell));
    }
    if (columns->books) {
        const long long off = stats_books_off(entry);

        (void)snprintf(cell, sizeof cell, "off by %lld", off);
        table_add(table, off == 0 ? "ok" : cell);
    }
}

bool
stats_table_rows(struct out *out, const json_t *list)
{
    struct columns columns = {0};
    struct table table;
    bool ok;

    columns_find(&columns, list);
    if (columns.count == 0) {
        return true;
    }
    table_init(&table, columns.count, columns.align);
    for (size_t i = 0; i < columns.count; i++) {
        table_add(&table, columns.keys[i]);
    }
    for (size_t i = 0; i < json_array_size(list); i++) {
        add_row(&table, &columns, json_array_get(list, i));
    }
    ok = table_print(&table, out);
    table_fini(&table);
    return ok;
}
