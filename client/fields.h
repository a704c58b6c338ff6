/* SPDX-License-Identifier: MIT
 *
 * The extension fields of a message, from the caller's struct to bytes
 * (PROTOCOL.md 3.3). Knows no session.
 */
#ifndef BROKER_CLIENT_FIELDS_H
#define BROKER_CLIENT_FIELDS_H

#include <stddef.h>
#include <stdint.h>

#include <broker/client.h>

/* Fields up to this size are built without the heap. */
#define FIELDS_BYTES_SMALL 512
#define FIELDS_BYTES_MAX   UINT16_MAX

/* What is wrong when building fails. */
#define FIELDS_ERROR_TEXT                                                      \
    "the headers and reply_to do not fit into 65535 bytes, or a key is "       \
    "not UTF-8 of 1 to 255 bytes"

struct fields {
    uint8_t small[FIELDS_BYTES_SMALL];
    uint8_t *data; /* `small`, or on the heap */
    size_t size;
};

/* How many bytes they take; more than FIELDS_BYTES_MAX: too many. */
size_t fields_measure(const struct broker_client_outgoing *message);

/* Build them; after BROKER_OK they are to be freed, and until then not moved.
 * INVALID_ARGUMENT, NO_MEMORY. */
BROKER_MUST_CHECK enum broker_status fields_build(
    struct fields *fields, const struct broker_client_outgoing *message);
void fields_free(struct fields *fields);

#endif
