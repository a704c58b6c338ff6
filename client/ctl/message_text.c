/* SPDX-License-Identifier: MIT
 *
 * Messages as text; see message_text.h. JSON is made by jansson, because
 * escaping by hand is where such tools go wrong.
 */
#include "message_text.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>

#include "moment.h"

/* Bytes are encoded piece by piece, so that a large payload needs no second
 * buffer of its size. A multiple of 3: base64 pads only at the end. */
#define PIECE_BYTES 768u

static void
hex_piece(const uint8_t *src, size_t len, char *dst)
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < len; i++) {
        *dst++ = digits[src[i] >> 4];
        *dst++ = digits[src[i] & 0x0f];
    }
}

void
message_write_hex(struct out *out, struct broker_bytes bytes)
{
    char text[PIECE_BYTES * 2];

    for (size_t i = 0; i < bytes.len; i += PIECE_BYTES) {
        const size_t left = bytes.len - i;
        const size_t len = left < PIECE_BYTES ? left : PIECE_BYTES;

        hex_piece(bytes.data + i, len, text);
        out_write(out, text, len * 2);
    }
}

/* RFC 4648 section 4. Returns the characters written: 4 for each 3 bytes. */
static size_t
base64_encode(const uint8_t *src, size_t len, char *dst)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                 "abcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t used = 0;

    for (size_t i = 0; i < len; i += 3) {
        const size_t n = len - i < 3 ? len - i : 3;
        const uint32_t group = (uint32_t)src[i] << 16 |
                               (uint32_t)(n > 1 ? src[i + 1] : 0) << 8 |
                               (uint32_t)(n > 2 ? src[i + 2] : 0);

        dst[used++] = digits[group >> 18];
        dst[used++] = digits[group >> 12 & 0x3f];
        dst[used++] = (char)(n > 1 ? digits[group >> 6 & 0x3f] : '=');
        dst[used++] = (char)(n > 2 ? digits[group & 0x3f] : '=');
    }
    return used;
}

void
message_write_base64(struct out *out, struct broker_bytes bytes)
{
    char text[PIECE_BYTES / 3 * 4];

    for (size_t i = 0; i < bytes.len; i += PIECE_BYTES) {
        const size_t left = bytes.len - i;
        const size_t len = left < PIECE_BYTES ? left : PIECE_BYTES;

        out_write(out, text, base64_encode(bytes.data + i, len, text));
    }
}

void
message_write_headers(struct out *out, const struct broker_message *message)
{
    struct broker_bytes rest = message->fields;
    struct broker_bytes key, value;
    const char *separator = "";

    while (broker_header_next(&rest, &key, &value) == BROKER_OK) {
        out_text(out, separator);
        out_peer_name(out, key.data, key.len);
        out_text(out, "=");
        out_peer_name(out, value.data, value.len);
        separator = ", ";
    }
}

/* Both take over `value`, and fail only for want of memory: a NULL value is a
 * value that could not be made. */
static bool
set(json_t *object, const char *key, json_t *value)
{
    return json_object_set_new(object, key, value) == 0;
}

static bool
append(json_t *list, json_t *value)
{
    return json_array_append_new(list, value) == 0;
}

static json_t *
json_text(struct broker_bytes bytes)
{
    return json_stringn(
        bytes.len > 0 ? (const char *)bytes.data : "", bytes.len);
}

static json_t *
json_base64(struct broker_bytes bytes)
{
    char *text = malloc(bytes.len / 3 * 4 + 5);
    json_t *value = NULL;

    if (text != NULL) {
        value = json_stringn(text, base64_encode(bytes.data, bytes.len, text));
    }
    free(text);
    return value;
}

/* As text if it is text, else under the other key in base64. */
static bool
set_bytes(json_t *object, const char *key, const char *key_base64,
    struct broker_bytes bytes)
{
    if (broker_utf8_check(bytes)) {
        return set(object, key, json_text(bytes));
    }
    return set(object, key_base64, json_base64(bytes));
}

/* NULL if memory ran out. */
static json_t *
json_headers(const struct broker_message *message)
{
    struct broker_bytes rest = message->fields;
    struct broker_bytes key, value;
    json_t *list = json_array();

    while (broker_header_next(&rest, &key, &value) == BROKER_OK) {
        json_t *entry = json_object();

        if (!set(entry, "key", json_text(key)) ||
            !set_bytes(entry, "value", "value_base64", value)) {
            json_decref(entry);
            json_decref(list);
            return NULL;
        }
        if (!append(list, entry)) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

static int
dump_piece(const char *data, size_t len, void *user)
{
    out_peer_name(user, data, len); /* what it escapes, it does as JSON does */
    return 0;
}

/* Write it if it is whole: half an object would be a lie. */
static void
write_object(struct out *out, json_t *object, bool whole)
{
    if (!whole ||
        json_dump_callback(object, dump_piece, out, JSON_COMPACT) != 0) {
        out_fail(out, ENOMEM);
    }
    json_decref(object);
}

/* What only messages of streams have. */
static bool
set_position(json_t *object, const struct broker_message *message)
{
    char text[MOMENT_TEXT_MAX];

    return (message->sequence == 0 ||
               (set(object, "sequence",
                    json_integer((json_int_t)message->sequence)) &&
                   set(object, "time",
                       json_string(moment_format(
                           message->time_ms, text, sizeof text))))) &&
           (message->deliveries == 0 ||
               set(object, "deliveries", json_integer(message->deliveries)));
}

void
message_write_stream_json(
    struct out *out, const struct broker_message *message, const char *stream)
{
    json_t *object = json_object();
    bool whole =
        (stream == NULL || set(object, "stream", json_string(stream))) &&
        set(object, "topic", json_text(message->topic)) &&
        set_bytes(object, "payload", "payload_base64", message->payload);

    if (message->reply_to.len > 0) {
        whole = whole && set(object, "reply_to", json_text(message->reply_to));
    }
    whole = whole && set(object, "retained", json_boolean(message->retained)) &&
            set(object, "headers", json_headers(message)) &&
            set_position(object, message);
    write_object(out, object, whole);
}

void
message_write_json(struct out *out, const struct broker_message *message)
{
    message_write_stream_json(out, message, NULL);
}

void
message_write_damaged_json(struct out *out, const char *stream,
    uint64_t first_sequence, uint64_t last_sequence)
{
    json_t *object = json_object();
    const uint64_t count = last_sequence - first_sequence + 1;
    const bool whole =
        set(object, "stream", json_string(stream)) &&
        set(object, "gap", json_integer((json_int_t)count)) &&
        set(object, "first_sequence",
            json_integer((json_int_t)first_sequence)) &&
        set(object, "last_sequence", json_integer((json_int_t)last_sequence)) &&
        set(object, "reason", json_string("damaged"));

    write_object(out, object, whole);
}

/* A word that programs can compare, unlike the library's sentence. */
static const char *
gap_word(unsigned reason)
{
    static const struct {
        unsigned reason;
        const char *word;
    } words[] = {
        {BROKER_GAP_OVERFLOW, "overflow"},
        {BROKER_GAP_TOO_LARGE, "too_large"},
        {BROKER_GAP_MEMORY, "memory"},
        {BROKER_GAP_EXPIRED, "expired"},
        {BROKER_GAP_TRIMMED, "trimmed"},
        {BROKER_GAP_PERMISSION, "permission"},
        {BROKER_GAP_CONFLATED, "conflated"},
        {BROKER_GAP_DAMAGED, "damaged"},
        {BROKER_CLIENT_GAP_CONNECTION, "connection"},
        {BROKER_CLIENT_GAP_INBOX, "inbox"},
        {BROKER_CLIENT_GAP_UNREADABLE, "unreadable"},
        {BROKER_CLIENT_GAP_ENDED, "ended"},
    };

    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (words[i].reason == reason) {
            return words[i].word;
        }
    }
    return "lost";
}

void
message_write_gap_json(struct out *out, const struct broker_client_gap *gap,
    const char *const *filters)
{
    json_t *object = json_object();
    json_t *list = json_array();
    bool whole = true;

    for (size_t i = 0; i < gap->subscription_count; i++) {
        whole = whole && append(list, json_string(filters[i]));
    }
    whole = set(object, "gap",
                gap->count > 0 ? json_integer((json_int_t)gap->count)
                               : json_null()) &&
            set(object, "bytes", json_integer((json_int_t)gap->bytes)) &&
            set(object, "reason", json_string(gap_word(gap->reason))) &&
            set(object, "filters", list) && whole;
    write_object(out, object, whole);
}
