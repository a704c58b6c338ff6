/* SPDX-License-Identifier: MIT
 *
 * Received messages and gaps as text: JSON objects, headers, hexadecimal,
 * base64. Writes to an out buffer and decides nothing.
 */
#ifndef BROKERCTL_MESSAGE_TEXT_H
#define BROKERCTL_MESSAGE_TEXT_H

#include <broker/client.h>

#include "out.h"

/* A JSON object without a line break: "topic"; "payload" if it is UTF-8
 * without NUL, else "payload_base64"; "reply_to" if there is one; "retained";
 * "headers", a list of objects with "key" and "value" or "value_base64". */
void message_write_json(struct out *out, const struct broker_message *message);

/* The same with "stream" before all of them, unless that is NULL. */
void message_write_stream_json(
    struct out *out, const struct broker_message *message, const char *stream);

/* For records of a store that are damaged or missing: "stream", "gap",
 * "first_sequence", "last_sequence", "reason". */
void message_write_damaged_json(struct out *out, const char *stream,
    uint64_t first_sequence, uint64_t last_sequence);

/* A JSON object without a line break: "gap" (messages, or null if that is not
 * known), "bytes", "reason" (one word), "filters". filters[i] belongs to
 * gap->subscriptions[i]. */
void message_write_gap_json(struct out *out,
    const struct broker_client_gap *gap, const char *const *filters);

/* "key=value, key=value". */
void message_write_headers(
    struct out *out, const struct broker_message *message);

void message_write_hex(struct out *out, struct broker_bytes bytes);
void message_write_base64(struct out *out, struct broker_bytes bytes);

#endif
