/* SPDX-License-Identifier: MIT
 *
 * See fields.h.
 */
#include "fields.h"

#include <stdlib.h>
#include <string.h>

#define U64_BYTES 8

static struct broker_bytes
bytes_of(const char *string)
{
    return (struct broker_bytes){(const uint8_t *)string, strlen(string)};
}

void
fields_free(struct fields *fields)
{
    if (fields->data != fields->small) {
        free(fields->data);
    }
}

size_t
fields_measure(const struct broker_client_outgoing *message)
{
    size_t size = 0;
    if (message->reply_to != NULL) {
        size = broker_tlv_size(strlen(message->reply_to));
    }
    for (size_t i = 0; i < message->header_count; i++) {
        const struct broker_client_header *header = &message->headers[i];
        if (size > FIELDS_BYTES_MAX || header->key == NULL ||
            header->value_bytes > FIELDS_BYTES_MAX) {
            return SIZE_MAX;
        }
        size += broker_tlv_size(2 + strlen(header->key) + header->value_bytes);
    }
    size_t numbers = (size_t)message->expects_last +
                     (message->deliver_at_ms != 0) + (message->ttl_ms != 0);
    return size + numbers * broker_tlv_size(U64_BYTES);
}

/* What streams heed. Not critical: a subscriber may read the message as if they
 * were absent, and a broker that would ignore them does not get them (see
 * session_publish.needs_streams). */
static enum broker_status
fill_numbers(struct fields *fields, size_t *used,
    const struct broker_client_outgoing *message)
{
    enum broker_status status = BROKER_OK;
    if (message->ttl_ms != 0) {
        status = broker_tlv_put_u64(fields->data, fields->size, used,
            BROKER_TAG_TTL_MS, message->ttl_ms);
    }
    if (status == BROKER_OK && message->deliver_at_ms != 0) {
        status = broker_tlv_put_u64(fields->data, fields->size, used,
            BROKER_TAG_DELIVER_AT, message->deliver_at_ms);
    }
    if (status == BROKER_OK && message->expects_last) {
        status = broker_tlv_put_u64(fields->data, fields->size, used,
            BROKER_TAG_EXPECTED_LAST_SEQUENCE, message->expected_last_sequence);
    }
    return status;
}

static enum broker_status
fill(struct fields *fields, const struct broker_client_outgoing *message)
{
    size_t capacity = fields->size;
    size_t used = 0;
    enum broker_status status = BROKER_OK;
    if (message->reply_to != NULL) { /* first: session_inbox.c replaces it */
        /* Critical: a subscriber that does not know it must not ignore it. */
        status = broker_tlv_put(fields->data, capacity, &used,
            BROKER_TAG_REPLY_TO | BROKER_TAG_CRITICAL,
            bytes_of(message->reply_to));
    }
    for (size_t i = 0; status == BROKER_OK && i < message->header_count; i++) {
        const struct broker_client_header *header = &message->headers[i];
        status = broker_header_put(fields->data, capacity, &used,
            bytes_of(header->key),
            (struct broker_bytes){header->value, header->value_bytes});
    }
    return status == BROKER_OK ? fill_numbers(fields, &used, message) : status;
}

enum broker_status
fields_build(
    struct fields *fields, const struct broker_client_outgoing *message)
{
    fields->data = fields->small;
    fields->size = fields_measure(message);
    if (fields->size > FIELDS_BYTES_MAX ||
        (message->header_count > 0 && message->headers == NULL)) {
        return BROKER_E_INVALID_ARGUMENT;
    }
    if (fields->size > sizeof fields->small) {
        fields->data = malloc(fields->size);
        if (fields->data == NULL) {
            return BROKER_E_NO_MEMORY;
        }
    }
    enum broker_status status = fill(fields, message);
    if (status != BROKER_OK) {
        fields_free(fields);
    }
    return status;
}
