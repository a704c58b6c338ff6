/* SPDX-License-Identifier: MIT
 *
 * Calls to the store in memory: copies of what they were given, and whether
 * that is within bounds. See memory_internal.h. */
#include "memory_internal.h"

#include <stdlib.h>
#include <string.h>

struct memory_call *
memory_call_new(struct memory_port *port, enum memory_kind kind, void *arg)
{
    struct memory_call *call = calloc(1, sizeof *call);
    if (call != NULL) {
        call->port = port;
        call->kind = kind;
        call->arg = arg;
    }
    return call;
}

static void
free_piece(struct memory_piece *piece)
{
    if (piece != NULL) {
        free(piece->memory);
        free(piece);
    }
}

void
memory_call_free(struct memory_call *call)
{
    if (call == NULL) {
        return;
    }
    for (size_t i = 0; i < call->value_count; i++) {
        free(call->values[i]);
    }
    free(call->values);
    free_piece(call->piece);
    free(call->stream);
    free(call->publisher);
    free(call->refusal);
    free(call);
}

static struct memory_value *
copy_value(const struct store_value *value)
{
    struct memory_value *copy =
        malloc(sizeof *copy + value->key_bytes + value->bytes);
    if (copy == NULL) {
        return NULL;
    }
    uint8_t *key = (uint8_t *)(copy + 1);
    memcpy(key, value->key, value->key_bytes);
    copy->value = *value;
    copy->value.key = key;
    if (value->data != NULL) {
        uint8_t *data = key + value->key_bytes;
        if (value->bytes != 0) {
            memcpy(data, value->data, value->bytes);
        }
        copy->value.data = data;
    }
    return copy;
}

bool
memory_call_has_values(
    struct memory_call *call, const struct store_value *values, size_t count)
{
    if (count == 0) {
        return true;
    }
    call->values = calloc(count, sizeof *call->values);
    if (call->values == NULL) {
        return false;
    }
    for (; call->value_count < count; call->value_count++) {
        struct memory_value *copy = copy_value(&values[call->value_count]);
        if (copy == NULL) {
            return false;
        }
        call->values[call->value_count] = copy;
        call->value_bytes += copy->value.key_bytes + copy->value.bytes;
    }
    return true;
}

static bool
has_publisher(struct memory_call *call, const struct store_append *append)
{
    call->append.publisher = NULL;
    if (append->publisher_bytes == 0) {
        return true;
    }
    memcpy(call->name, append->publisher, append->publisher_bytes);
    call->append.publisher = call->name;
    call->publisher = calloc(1, sizeof *call->publisher);
    call->refusal = calloc(1, sizeof *call->refusal);
    return call->publisher != NULL && call->refusal != NULL;
}

bool
memory_call_has_records(
    struct memory_call *call, const struct store_append *append)
{
    call->append = *append;
    call->append.values = NULL;
    call->piece = calloc(1, sizeof *call->piece);
    if (call->piece == NULL) {
        return false;
    }
    call->piece->memory = malloc(append->bytes + 1);
    if (call->piece->memory == NULL) {
        return false;
    }
    if (append->count > 0) {
        memcpy(call->piece->memory, append->records, append->bytes);
    }
    call->piece->records = call->piece->memory;
    call->piece->bytes = append->bytes;
    call->piece->count = append->count;
    return has_publisher(call, append) &&
           memory_call_has_values(call, append->values, append->value_count);
}

bool
memory_append_is_valid(const struct store_append *append)
{
    size_t position = 0;
    for (uint32_t i = 0; i < append->count; i++) {
        size_t left = append->bytes - position;
        if (left < STORE_RECORD_MIN) {
            return false;
        }
        size_t bytes = memory_record_bytes(append->records + position);
        if (bytes > left) {
            return false;
        }
        position += bytes;
    }
    bool is_number_alone = append->publisher_bytes > 0 &&
                           append->value_count > 0 && !append->batch &&
                           !append->expects_last;
    return (append->count != 0 || is_number_alone) &&
           position == append->bytes &&
           append->publisher_bytes <= STORE_PUBLISHER_MAX &&
           memory_values_are_valid(append->values, append->value_count);
}

bool
memory_values_are_valid(const struct store_value *values, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (values[i].space < STORE_SPACE_STREAM ||
            values[i].space >= STORE_SPACES || values[i].key_bytes == 0 ||
            values[i].key_bytes > STORE_KEY_MAX ||
            values[i].bytes > STORE_VALUE_MAX) {
            return false;
        }
    }
    return true;
}

bool
memory_reserve_values(
    struct memory_store *store, const struct store_value *values, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct memory_values *all = &store->values[values[i].space];
        size_t *reserved = &store->values_reserved[values[i].space];
        if (all->count + *reserved == all->capacity) {
            size_t capacity = all->capacity * 2 + 16;
            struct memory_value **sorted =
                realloc(all->sorted, capacity * sizeof(struct memory_value *));
            if (sorted == NULL) {
                while (i-- > 0) {
                    store->values_reserved[values[i].space]--;
                }
                return false;
            }
            all->sorted = sorted;
            all->capacity = capacity;
        }
        ++*reserved;
    }
    return true;
}

void
memory_unreserve_values(
    struct memory_store *store, const struct memory_call *call)
{
    for (size_t i = 0; i < call->value_count; i++) {
        if (call->values[i] != NULL) {
            store->values_reserved[call->values[i]->value.space]--;
        }
    }
}
