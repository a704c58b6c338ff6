/* SPDX-License-Identifier: MIT
 *
 * Format strings; see format.h. A format is read once into pieces, so a bad one
 * is refused before anything is received.
 */
#include "format.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "message_text.h"
#include "moment.h"

struct format_piece {
    char letter;      /* 0: literal text; '{': a header */
    const char *text; /* the literal, or the key of the header */
    size_t text_len;
};

static const struct {
    char letter;
    const char *meaning;
} letters[] = {
    {'t', "topic"},
    {'p', "payload as it is"},
    {'x', "payload in hexadecimal"},
    {'b', "payload in base64"},
    {'s', "size of the payload in bytes"},
    {'h', "headers as key=value, separated by a comma and a space"},
    {'r', "topic for replies, empty if none is wanted"},
    {'f', "\"retained\" or \"live\""},
    {'n', "number of the message, from 1"},
    {'T', "time of arrival, UTC, ISO 8601 with microseconds"},
    {'Q', "sequence in the stream, empty if it is not of one"},
    {'S', "time at which it was stored, UTC, ISO 8601, or nothing"},
    {'D', "how often the durable consumer has delivered it, or nothing"},
    {'j', "the whole message as a JSON object"},
    {'%', "a percent sign"},
};

bool
format_letter_at(size_t n, char *letter, const char **meaning)
{
    if (n >= sizeof letters / sizeof letters[0]) {
        return false;
    }
    *letter = letters[n].letter;
    *meaning = letters[n].meaning;
    return true;
}

static bool
is_letter(char c)
{
    for (size_t i = 0; i < sizeof letters / sizeof letters[0]; i++) {
        if (letters[i].letter == c) {
            return true;
        }
    }
    return false;
}

static int
hex_value(char c)
{
    static const char digits[] = "0123456789abcdef";
    const char lower = c >= 'A' && c <= 'F' ? (char)(c - 'A' + 'a') : c;
    const char *found = lower != '\0' ? strchr(digits, lower) : NULL;

    return found != NULL ? (int)(found - digits) : -1;
}

/* The reader of a format string: `at` moves on, literals are unescaped to
 * `to`, which never overtakes it. */
struct reader {
    const char *at;
    char *to;
    struct format *out;
    char *why;
};

static bool
complain(struct reader *reader, const char *text, char c)
{
    (void)snprintf(reader->why, FORMAT_WHY_MAX, text, c);
    return false;
}

/* Behind a backslash. */
static bool
read_escape(struct reader *reader)
{
    static const char names[] = "ntr0\\\"";
    static const char values[] = "\n\t\r\0\\\"";
    const char c = *reader->at;
    const char *found = c != '\0' ? strchr(names, c) : NULL;

    if (found != NULL) {
        *reader->to++ = values[found - names];
        reader->at++;
        return true;
    }
    if (c == 'x' && hex_value(reader->at[1]) >= 0 &&
        hex_value(reader->at[2]) >= 0) {
        *reader->to++ =
            (char)(hex_value(reader->at[1]) * 16 + hex_value(reader->at[2]));
        reader->at += 3;
        return true;
    }
    if (c == '\0') {
        return complain(
            reader, "it ends in a backslash; write \\\\ for one", c);
    }
    return complain(reader,
        "\\%c is no escape; there are \\n \\t \\r \\0 \\\\ \\\" \\xHH", c);
}

static void
add_piece(struct reader *reader, char letter, const char *text, size_t len)
{
    reader->out->pieces[reader->out->count++] =
        (struct format_piece){letter, text, len};
}

/* Behind a percent sign. */
static bool
read_field(struct reader *reader)
{
    const char c = *reader->at++;
    const char *end;

    if (c == '\0') {
        return complain(reader, "it ends in %%; write %%%% for one", c);
    }
    if (c != '{') {
        if (!is_letter(c)) {
            return complain(
                reader, "%%%c is no field; brokerctl help sub lists them", c);
        }
        add_piece(reader, c, NULL, 0);
        return true;
    }
    end = strchr(reader->at, '}');
    if (end == NULL || end == reader->at) {
        return complain(
            reader, "write %%%c with the key of a header and a }", c);
    }
    /* The key stays where it stands; it is a string of its own from now on. */
    memmove(reader->to, reader->at, (size_t)(end - reader->at));
    add_piece(reader, '{', reader->to, (size_t)(end - reader->at));
    reader->to += end - reader->at;
    *reader->to++ = '\0';
    reader->at = end + 1;
    return true;
}

static bool
read_literal(struct reader *reader)
{
    const char *start = reader->to;

    while (*reader->at != '\0' && *reader->at != '%') {
        const char c = *reader->at++;

        if (c != '\\') {
            *reader->to++ = c;
        } else if (!read_escape(reader)) {
            return false;
        }
    }
    add_piece(reader, 0, start, (size_t)(reader->to - start));
    return true;
}

bool
format_parse(const char *text, struct format *out, char why[FORMAT_WHY_MAX])
{
    struct reader reader = {.out = out, .why = why};
    bool ok = true;

    out->count = 0;
    out->text = strdup(text);
    out->pieces = calloc(strlen(text) + 1, sizeof out->pieces[0]);
    if (out->text == NULL || out->pieces == NULL) {
        format_free(out);
        return complain(&reader, "out of memory", 0);
    }
    reader.at = reader.to = out->text;
    while (ok && *reader.at != '\0') {
        if (*reader.at == '%') {
            reader.at++;
            ok = read_field(&reader);
        } else {
            ok = read_literal(&reader);
        }
    }
    if (!ok) {
        format_free(out);
    }
    return ok;
}

void
format_free(struct format *format)
{
    free(format->pieces);
    free(format->text);
    *format = (struct format){0};
}

static void
write_time(struct out *out)
{
    struct timespec now;
    struct tm utc;
    char text[32];

    (void)clock_gettime(CLOCK_REALTIME, &now);
    (void)gmtime_r(&now.tv_sec, &utc);
    (void)strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &utc);
    out_printf(out, "%s.%06ldZ", text, now.tv_nsec / 1000);
}

static void
write_name(struct out *out, struct broker_bytes bytes)
{
    out_peer_name(out, bytes.data, bytes.len);
}

static void
write_header(
    struct out *out, const struct broker_message *message, const char *key)
{
    struct broker_bytes value;

    if (broker_client_message_header(message, key, &value)) {
        write_name(out, value);
    }
}

/* What only messages of streams have. */
static void
write_position(
    char letter, struct out *out, const struct broker_message *message)
{
    char text[MOMENT_TEXT_MAX];

    if (letter == 'D' && message->deliveries > 0) {
        out_printf(out, "%" PRIu32, message->deliveries);
    } else if (letter == 'Q' && message->sequence > 0) {
        out_printf(out, "%" PRIu64, message->sequence);
    } else if (letter == 'S' && message->sequence > 0) {
        out_text(out, moment_format(message->time_ms, text, sizeof text));
    }
}

static void
write_field(const struct format_piece *piece, struct out *out,
    const struct broker_message *message, uint64_t number)
{
    switch (piece->letter) {
    case 't':
        write_name(out, message->topic);
        break;
    case 'p':
        out_peer_text(out, message->payload.data, message->payload.len);
        break;
    case 'x':
        message_write_hex(out, message->payload);
        break;
    case 'b':
        message_write_base64(out, message->payload);
        break;
    case 's':
        out_printf(out, "%zu", message->payload.len);
        break;
    case 'h':
        message_write_headers(out, message);
        break;
    case 'r':
        write_name(out, message->reply_to);
        break;
    case 'f':
        out_text(out, message->retained ? "retained" : "live");
        break;
    case 'n':
        out_printf(out, "%" PRIu64, number);
        break;
    case 'T':
        write_time(out);
        break;
    case 'Q':
    case 'S':
    case 'D':
        write_position(piece->letter, out, message);
        break;
    case 'j':
        message_write_json(out, message);
        break;
    case '{':
        write_header(out, message, piece->text);
        break;
    default:
        out_write(out, &piece->letter, 1);
        break;
    }
}

void
format_write(const struct format *format, struct out *out,
    const struct broker_message *message, uint64_t number)
{
    for (size_t i = 0; i < format->count; i++) {
        const struct format_piece *piece = &format->pieces[i];

        if (piece->letter == 0) {
            out_write(out, piece->text, piece->text_len);
        } else {
            write_field(piece, out, message, number);
        }
    }
}
