/* SPDX-License-Identifier: MIT
 *
 * Headers of the command line; see headers.h.
 */
#include "headers.h"

#include <stdlib.h>
#include <string.h>

#include "say.h"

static bool
headers_add(struct headers *headers, const char *text, const char *command)
{
    const char *equals = strchr(text, '=');
    struct broker_client_header *header = &headers->list[headers->count];
    char *key;

    if (equals == NULL || equals == text) {
        say("%s: --header \"%s\": write it as KEY=VALUE", command, text);
        return false;
    }
    key = strndup(text, (size_t)(equals - text));
    if (key == NULL) {
        say("%s: out of memory", command);
        return false;
    }
    headers->keys[headers->count++] = key;
    *header = (struct broker_client_header){
        .key = key,
        .value = equals + 1,
        .value_bytes = strlen(equals + 1),
    };
    return true;
}

bool
headers_parse(
    struct headers *headers, const struct text_list *texts, const char *command)
{
    *headers = (struct headers){0};
    headers->list = calloc(texts->count + 1, sizeof headers->list[0]);
    headers->keys = calloc(texts->count + 1, sizeof headers->keys[0]);
    if (headers->list == NULL || headers->keys == NULL) {
        say("%s: out of memory", command);
        headers_free(headers);
        return false;
    }
    for (size_t i = 0; i < texts->count; i++) {
        if (!headers_add(headers, texts->items[i], command)) {
            headers_free(headers);
            return false;
        }
    }
    return true;
}

void
headers_free(struct headers *headers)
{
    for (size_t i = 0; i < headers->count; i++) {
        free(headers->keys[i]);
    }
    free(headers->keys);
    free(headers->list);
    *headers = (struct headers){0};
}
