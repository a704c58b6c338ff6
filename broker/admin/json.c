/* SPDX-License-Identifier: MIT
 *
 * What all JSON answers have in common; see json.h. */
#include "json.h"

#include "question.h"

#define LIMIT_DEFAULT     1000
#define LIMIT_MAX         10000
#define REQUEST_BYTES_MAX 1024 /* more than any page needs */

json_t *
admin_number(uint64_t value)
{
    return json_integer(value > INT64_MAX ? INT64_MAX : (json_int_t)value);
}

static bool
read_number(const json_t *request, const char *key, size_t most, size_t *out)
{
    const json_t *value = json_object_get(request, key);
    if (value == NULL) {
        return true;
    }
    if (!json_is_integer(value) || json_integer_value(value) < 0 ||
        (uint64_t)json_integer_value(value) > most) {
        return false;
    }
    *out = (size_t)json_integer_value(value);
    return true;
}

bool
admin_read_page_keys(
    const json_t *request, struct admin_page *page, const char **why)
{
    *page = (struct admin_page){0, LIMIT_DEFAULT};
    if (!read_number(request, "offset", SIZE_MAX / 2, &page->offset)) {
        *why = "offset: a number from 0 on is wanted";
        return false;
    }
    if (!read_number(request, "limit", LIMIT_MAX, &page->limit)) {
        *why = "limit: a number from 0 to 10000 is wanted";
        return false;
    }
    return true;
}

bool
admin_read_page(struct broker_bytes payload, struct admin_page *page)
{
    const char *why;
    *page = (struct admin_page){0, LIMIT_DEFAULT};
    if (payload.len == 0) {
        return true;
    }
    if (payload.len > REQUEST_BYTES_MAX) {
        return false;
    }
    json_t *request =
        json_loadb((const char *)payload.data, payload.len, 0, NULL);
    bool ok =
        json_is_object(request) && admin_read_page_keys(request, page, &why);
    json_decref(request);
    return ok;
}

bool
admin_on_page(const struct admin_page *page, size_t i)
{
    return i >= page->offset && i - page->offset < page->limit;
}

json_t *
admin_paged(
    const char *name, json_t *rows, size_t total, const struct admin_page *page)
{
    json_t *all = json_object();
    json_object_set_new(all, "total", admin_number(total));
    json_object_set_new(all, "offset", admin_number(page->offset));
    json_object_set_new(all, name, rows);
    return all;
}

enum broker_status
admin_write(const json_t *json, struct buffer *reply)
{
    size_t size = json_dumpb(json, NULL, 0, JSON_COMPACT);
    uint8_t *dst = size == 0 ? NULL : buffer_reserve(reply, size);
    if (dst == NULL ||
        json_dumpb(json, (char *)dst, size, JSON_COMPACT) != size) {
        return BROKER_E_MEMORY;
    }
    buffer_commit(reply, size);
    return BROKER_OK;
}

void
admin_answer_json(struct core *core, struct question *question, json_t *json)
{
    enum broker_status status = admin_write(json, &question->reply);
    json_decref(json);
    question_complete(core, question, status, NULL);
}
