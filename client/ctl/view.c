/* SPDX-License-Identifier: MIT
 *
 * Streams and consumers for people; see view.h.
 */
#include "view.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "moment.h"
#include "stats_table.h"

#define KEY_MAX  64
#define TEXT_MAX 512

static bool
ends_with(const char *text, const char *end)
{
    const size_t text_len = strlen(text), end_len = strlen(end);

    return text_len >= end_len && strcmp(text + text_len - end_len, end) == 0;
}

/* "7d", "90s": the largest unit that leaves nothing over. */
static void
write_duration(uint64_t ms, char *dst, size_t cap)
{
    static const struct {
        uint64_t ms;
        const char *unit;
    } units[] = {
        {86400000, "d"},
        {3600000, "h"},
        {60000, "m"},
        {1000, "s"},
        {1, "ms"},
    };
    size_t i = 0;

    while (ms % units[i].ms != 0) {
        i++;
    }
    (void)snprintf(dst, cap, "%" PRIu64 "%s", ms / units[i].ms,
        ms == 0 ? "s" : units[i].unit);
}

/* One number under its key, which may lose its unit. */
static json_t *
view_number(char key[KEY_MAX], const json_t *value)
{
    const json_int_t number = json_integer_value(value);
    const uint64_t positive = number < 0 ? 0 : (uint64_t)number;
    char text[MOMENT_TEXT_MAX];

    if (strncmp(key, "max_", 4) == 0 && number == 0) {
        (void)snprintf(text, sizeof text, "no limit");
    } else if (ends_with(key, "_time_ms")) {
        (void)snprintf(text, sizeof text, "-");
        if (number > 0) {
            (void)moment_format(positive, text, sizeof text);
        }
    } else if (ends_with(key, "_ms")) {
        write_duration(positive, text, sizeof text);
    } else {
        return json_integer(number);
    }
    if (ends_with(key, "_ms")) {
        key[strlen(key) - 3] = '\0';
    }
    return json_string(text);
}

/* "a/#, b": parts of a list as text. */
static json_t *
view_parts(char key[KEY_MAX], const json_t *list)
{
    const bool is_ms = ends_with(key, "_ms");
    char text[TEXT_MAX] = "";
    size_t used = 0;

    for (size_t i = 0; i < json_array_size(list) && used < TEXT_MAX - 1; i++) {
        const json_t *part = json_array_get(list, i);
        char number[MOMENT_TEXT_MAX];
        int n;

        if (json_is_string(part)) {
            n = snprintf(text + used, TEXT_MAX - used, "%s%s",
                i > 0 ? ", " : "", json_string_value(part));
        } else {
            const json_int_t value = json_integer_value(part);

            if (is_ms && value >= 0) {
                write_duration((uint64_t)value, number, sizeof number);
            } else {
                (void)snprintf(
                    number, sizeof number, "%" JSON_INTEGER_FORMAT, value);
            }
            n = snprintf(text + used, TEXT_MAX - used, "%s%s",
                i > 0 ? ", " : "", number);
        }
        used += n > 0 ? (size_t)n : 0;
    }
    if (is_ms) {
        key[strlen(key) - 3] = '\0';
    }
    return json_string(text[0] != '\0' ? text : "-");
}

static json_t *
view_value(char key[KEY_MAX], json_t *value)
{
    if (json_is_integer(value)) {
        return view_number(key, value);
    }
    if (json_is_array(value)) {
        const json_t *first = json_array_get(value, 0);

        if (first == NULL || json_is_string(first) || json_is_integer(first)) {
            return view_parts(key, value);
        }
    }
    if (json_is_string(value) && json_string_length(value) == 0) {
        return json_string("-");
    }
    return json_incref(value);
}

static bool
add_view(json_t *to, const char *name, json_t *value)
{
    char key[KEY_MAX];
    json_t *seen;

    (void)snprintf(key, sizeof key, "%s", name);
    seen = view_value(key, value);
    return json_object_set_new(to, key, seen) == 0;
}

/* The object as people see it; NULL: out of memory. */
static json_t *
view_of(const json_t *object)
{
    json_t *view = json_object();
    const char *key;
    json_t *value;

    /* The iterator wants a writable object but does not write. */
    json_object_foreach((json_t *)object, key, value)
    {
        if (!add_view(view, key, value)) {
            json_decref(view);
            return NULL;
        }
    }
    return view;
}

bool
view_object(struct out *out, const json_t *object)
{
    json_t *view = view_of(object);
    const bool ok = view != NULL && stats_table_totals(out, view);

    json_decref(view);
    return ok;
}

/* Only these of its members, in this order. */
static bool
add_row(json_t *rows, const json_t *entry, const char *columns)
{
    json_t *view = view_of(entry);
    json_t *row = json_object();
    char names[TEXT_MAX];
    char *rest = names;
    const char *name;
    bool ok = view != NULL && row != NULL;

    (void)snprintf(names, sizeof names, "%s", columns);
    while (ok && (name = strsep(&rest, " ")) != NULL) {
        json_t *value = json_object_get(view, name);

        ok = value == NULL || json_object_set(row, name, value) == 0;
    }
    ok = ok && json_array_append(rows, row) == 0;
    json_decref(row);
    json_decref(view);
    return ok;
}

bool
view_list(struct out *out, const json_t *answer, const char *key,
    const char *columns, const char *nothing)
{
    const json_t *list = json_object_get(answer, key);
    json_t *rows = json_array();
    bool ok = rows != NULL;

    if (json_array_size(list) == 0) {
        json_decref(rows);
        out_printf(out, "%s\n", nothing);
        return true;
    }
    for (size_t i = 0; ok && i < json_array_size(list); i++) {
        ok = add_row(rows, json_array_get(list, i), columns);
    }
    ok = ok && stats_table_rows(out, rows);
    json_decref(rows);
    return ok;
}
