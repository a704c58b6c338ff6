/* SPDX-License-Identifier: MIT
 *
 * Reading requests; see request.h. */
#include "request.h"

#include "question.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define BYTES_MAX (1024u * 1024u) /* of 64 long filters, with escapes */

void
admin_request_blame(
    struct admin_request *request, const char *key, const char *what)
{
    if (request->why[0] == '\0') {
        snprintf(request->why, sizeof request->why, "%.60s: %s", key, what);
    }
}

bool
admin_request_is_good(const struct admin_request *request)
{
    return request->why[0] == '\0';
}

/* A peer's key goes into a text only if a person can read it. */
static bool
is_printable(const char *key)
{
    for (; *key != '\0'; key++) {
        if (*key < ' ' || *key > '~') {
            return false;
        }
    }
    return true;
}

static void
check_keys(struct admin_request *request, const char *const *keys)
{
    const char *key;
    json_t *value;
    json_object_foreach(request->json, key, value)
    {
        size_t i = 0;
        while (keys[i] != NULL && strcmp(keys[i], key) != 0) {
            i++;
        }
        if (keys[i] == NULL) {
            admin_request_blame(request, is_printable(key) ? key : "a key",
                "not known in this request");
        }
    }
}

bool
admin_request_read(struct admin_request *request, struct broker_bytes payload,
    const char *const *keys)
{
    *request = (struct admin_request){0};
    if (payload.len == 0) {
        request->json = json_object();
    } else if (payload.len <= BYTES_MAX) {
        request->json = json_loadb((const char *)payload.data, payload.len,
            JSON_REJECT_DUPLICATES, NULL);
    }
    if (!json_is_object(request->json)) {
        admin_request_blame(request, "payload", "a JSON object is wanted");
        return false;
    }
    check_keys(request, keys);
    return admin_request_is_good(request);
}

void
admin_request_fini(struct admin_request *request)
{
    json_decref(request->json);
}

static struct broker_bytes
text_of(const json_t *value)
{
    return (struct broker_bytes){
        (const uint8_t *)json_string_value(value), json_string_length(value)};
}

bool
admin_request_text(struct admin_request *request, const char *key,
    bool is_needed, struct broker_bytes *out)
{
    const json_t *value = json_object_get(request->json, key);
    if (json_is_string(value)) {
        *out = text_of(value);
        return true;
    }
    if (value != NULL || is_needed) {
        admin_request_blame(request, key, "a text is wanted");
    }
    return false;
}

bool
admin_request_count(struct admin_request *request, const char *key,
    uint64_t least, uint64_t most, uint64_t *out)
{
    const json_t *value = json_object_get(request->json, key);
    if (value == NULL) {
        return false;
    }
    if (json_is_integer(value) && json_integer_value(value) >= 0 &&
        (uint64_t)json_integer_value(value) >= least &&
        (uint64_t)json_integer_value(value) <= most) {
        *out = (uint64_t)json_integer_value(value);
        return true;
    }
    char what[80];
    snprintf(what, sizeof what,
        "a number from %" PRIu64 " to %" PRIu64 " is wanted", least, most);
    admin_request_blame(request, key, what);
    return false;
}

bool
admin_request_word(struct admin_request *request, const char *key,
    const char *const *words, size_t *out)
{
    const json_t *value = json_object_get(request->json, key);
    if (value == NULL) {
        return false;
    }
    char what[80] = "";
    for (size_t i = 0; words[i] != NULL; i++) {
        if (json_is_string(value) &&
            strcmp(json_string_value(value), words[i]) == 0) {
            *out = i;
            return true;
        }
        size_t len = strlen(what);
        snprintf(what + len, sizeof what - len, "%s%s",
            i == 0 ? "wanted is one of " : ", ", words[i]);
    }
    admin_request_blame(request, key, what);
    return false;
}

bool
admin_request_texts(struct admin_request *request, const char *key,
    struct broker_bytes *out, size_t most, size_t *count)
{
    const json_t *array = json_object_get(request->json, key);
    if (array == NULL) {
        return false;
    }
    size_t size = json_array_size(array);
    if (!json_is_array(array) || size < 1 || size > most) {
        char what[80];
        snprintf(
            what, sizeof what, "an array of 1 to %zu texts is wanted", most);
        admin_request_blame(request, key, what);
        return false;
    }
    for (size_t i = 0; i < size; i++) {
        const json_t *value = json_array_get(array, i);
        if (!json_is_string(value)) {
            admin_request_blame(request, key, "only texts are wanted in it");
            return false;
        }
        out[i] = text_of(value);
    }
    *count = size;
    return true;
}

void
admin_refuse(struct core *core, struct question *question,
    const struct admin_request *request)
{
    question_complete(core, question, BROKER_E_BAD_REQUEST, request->why);
}
