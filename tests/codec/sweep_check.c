/* SPDX-License-Identifier: MIT
 *
 * What must hold around each golden frame: every truncation, a byte too many,
 * too little space, every changed byte, every flag and every zero field. Bytes
 * are decoded from memory of exactly their length, so that a sanitizer sees any
 * read beyond them.
 */
#include "check.h"

#include <stdlib.h>
#include <string.h>

#include "any_message.h"

/* Frames up to here are swept at each position, larger ones at some. */
#define SWEPT_WHOLE 1024

static const struct broker_limits sweep_limits = BROKER_LIMITS_DEFAULT;

/* The position after `pos`: all near the ends, few in the middle of a frame
 * that is large. */
static size_t
next_position(size_t pos, size_t len)
{
    size_t next = pos + 1;

    if (len > SWEPT_WHOLE && pos >= 32 && len - pos > 4) {
        next = pos + len / 8;
        next = next < len - 4 ? next : len - 4;
    }
    return next;
}

static uint8_t *
exact_copy(const uint8_t *src, size_t len)
{
    uint8_t *copy = malloc(len);

    if (len != 0) {
        if (copy == NULL) {
            abort();
        }
        memcpy(copy, src, len);
    }
    return copy;
}

static void
check_promises(struct check_report *report, const struct vector_line *where,
    const char *broken, const char *what, size_t at)
{
    check_that(report, where, broken == NULL, "%s %zu: %s", what, at,
        broken != NULL ? broken : "");
}

/* ---- truncations --------------------------------------------------------- */

static void
truncate_frame(struct check_report *report, const struct vector_record *record,
    struct vector_bytes bytes, void *arg)
{
    (void)arg;
    for (size_t len = 0; len < bytes.len; len = next_position(len, bytes.len)) {
        uint8_t *src = exact_copy(bytes.data, len);
        struct broker_frame frame;
        size_t n = 0;
        size_t wanted =
            len < BROKER_HEADER_BYTES ? BROKER_HEADER_BYTES : bytes.len;
        enum broker_status status =
            broker_frame_decode(&sweep_limits, src, len, &frame, &n);

        check_that(report, record->lines, status == BROKER_MORE && n == wanted,
            "cut to %zu bytes: %s, %zu bytes needed", len,
            broker_status_name(status), n);
        free(src);
    }
}

void
check_truncations(struct check_report *report, const char *dir)
{
    check_each_golden(report, dir, truncate_frame, NULL);
}

/* A body that is shorter than it was, as if its header said so. The codec must
 * not rely on the minimum that the header check guarantees. */
static void
cut_body(struct check_report *report, const struct vector_record *record,
    struct vector_bytes bytes, void *arg)
{
    const size_t whole = bytes.len - BROKER_HEADER_BYTES;
    struct broker_header header;

    (void)arg;
    broker_header_decode(bytes.data, &header);
    for (size_t len = 0; len < whole; len = next_position(len, whole)) {
        uint8_t *body = exact_copy(bytes.data + BROKER_HEADER_BYTES, len);
        struct broker_frame frame = {
            header.type, header.flags, header.id, {body, len}};

        check_promises(
            report, record->lines, any_check_body(&frame), "body cut to", len);
        if (len == 0) {
            frame.body.data = NULL;
            check_promises(report, record->lines, any_check_body(&frame),
                "NULL body of", len);
        }
        free(body);
    }
}

void
check_bodies_cut(struct check_report *report, const char *dir)
{
    check_each_golden(report, dir, cut_body, NULL);
}

/* ---- one byte more ------------------------------------------------------- */

static void
add_byte(struct check_report *report, const struct vector_record *record,
    struct vector_bytes bytes, void *arg)
{
    uint8_t *longer = realloc(exact_copy(bytes.data, bytes.len), bytes.len + 1);
    uint16_t type = check_frame_type(record);
    const struct any_type *any = any_type_find(type);
    struct broker_frame frame;
    union any_message m;
    enum broker_status status;
    size_t n = 0;

    (void)arg;
    if (longer == NULL) {
        abort();
    }
    longer[bytes.len] = 0;
    status =
        broker_frame_decode(&sweep_limits, longer, bytes.len + 1, &frame, &n);
    check_that(report, record->lines, status == BROKER_OK && n == bytes.len,
        "a byte of the next frame: %s, %zu bytes", broker_status_name(status),
        n);
    /* Only a payload may be longer; one byte is never a field or an id. */
    frame.body.len++;
    if (any != NULL) {
        status = any->decode(&frame, &m);
        check_that(report, record->lines,
            status ==
                (type == BROKER_FRAME_PUBLISH ? BROKER_OK : BROKER_E_MALFORMED),
            "a byte more in the body: %s", broker_status_name(status));
    }
    free(longer);
}

void
check_one_byte_more(struct check_report *report, const char *dir)
{
    check_each_golden(report, dir, add_byte, NULL);
}

/* ---- space --------------------------------------------------------------- */

static void
deny_space(struct check_report *report, const struct vector_record *record,
    struct vector_bytes bytes, void *arg)
{
    const struct any_type *any = any_type_find(check_frame_type(record));
    struct broker_frame frame;
    union any_message m;
    size_t n;

    (void)arg;
    if (any == NULL ||
        broker_frame_decode(&sweep_limits, bytes.data, bytes.len, &frame, &n) !=
            BROKER_OK ||
        any->decode(&frame, &m) != BROKER_OK) {
        return;
    }
    for (size_t cap = 0; cap < bytes.len; cap = next_position(cap, bytes.len)) {
        uint8_t *dst = malloc(cap);
        enum broker_status status;

        n = 4711;
        status = any->encode(&m, dst, cap, &n);
        check_that(report, record->lines,
            status == BROKER_E_NO_SPACE && n == 4711, "%zu bytes of space: %s",
            cap, broker_status_name(status));
        free(dst);
    }
}

void
check_no_space(struct check_report *report, const char *dir)
{
    check_each_golden(report, dir, deny_space, NULL);
}

/* ---- mutations ----------------------------------------------------------- */

static void
mutate(struct check_report *report, const struct vector_record *record,
    struct vector_bytes bytes, void *arg)
{
    uint8_t *src;

    (void)arg;
    if (bytes.len > SWEPT_WHOLE) {
        return;
    }
    src = exact_copy(bytes.data, bytes.len);
    for (size_t pos = 0; pos < bytes.len; pos++) {
        for (unsigned change = 1; change < 256; change++) {
            src[pos] = (uint8_t)(bytes.data[pos] ^ change);
            check_promises(report, record->lines,
                any_check_frame(&sweep_limits, src, bytes.len),
                "another byte at", pos);
        }
        src[pos] = bytes.data[pos];
    }
    free(src);
}

void
check_mutations(struct check_report *report, const char *dir)
{
    check_each_golden(report, dir, mutate, NULL);
}

/* ---- flags --------------------------------------------------------------- */

static void
set_flags(struct check_report *report, const struct vector_record *record,
    struct vector_bytes bytes, void *arg)
{
    uint16_t type = check_frame_type(record);
    const struct broker_frame_info *info = broker_frame_info(type);
    bool known = info != NULL && !info->reserved;
    struct broker_header header;

    (void)arg;
    broker_header_decode(bytes.data, &header);
    for (unsigned bit = 1; bit < 0x10000; bit <<= 1) {
        struct broker_header changed = header;
        struct broker_frame frame;
        enum broker_status status, wanted = BROKER_OK;
        size_t n;

        changed.flags |= (uint16_t)bit;
        if (known && (bit & BROKER_FLAGS_STRUCTURAL & ~info->flags) != 0) {
            wanted = BROKER_E_BAD_FLAGS;
        }
        broker_header_encode(&changed, bytes.data);
        status = broker_frame_decode(
            &sweep_limits, bytes.data, bytes.len, &frame, &n);
        check_that(report, record->lines, status == wanted,
            "flag 0x%04x gives %s", bit, broker_status_name(status));
        check_that(report, record->lines,
            status != BROKER_OK || frame.flags == changed.flags,
            "flag 0x%04x is not passed on", bit);
    }
    broker_header_encode(&header, bytes.data);
}

void
check_flags(struct check_report *report, const char *dir)
{
    check_each_golden(report, dir, set_flags, NULL);
}

/* ---- zero fields --------------------------------------------------------- */

#define ID_AT       8
#define BODY_AT(at) (BROKER_HEADER_BYTES + (at))

struct zero_field {
    uint16_t type;
    size_t at, bytes; /* from the start of the frame */
    uint8_t mask;     /* of each byte */
};

static const struct zero_field zero_fields[] = {
    {BROKER_FRAME_HELLO, BODY_AT(6), 2, 0xFF},
    {BROKER_FRAME_WELCOME, BODY_AT(1), 3, 0xFF},
    {BROKER_FRAME_ERROR, BODY_AT(5), 1, 0xFE},
    {BROKER_FRAME_ERROR, BODY_AT(6), 2, 0xFF},
    {BROKER_FRAME_GOAWAY, BODY_AT(2), 2, 0xFF},
    {BROKER_FRAME_PUBACK, BODY_AT(1), 3, 0xFF},
    {BROKER_FRAME_SUBSCRIBE, BODY_AT(5), 1, 0xFE},
    {BROKER_FRAME_SUBSCRIBE, BODY_AT(6), 2, 0xFF},
    {BROKER_FRAME_SUBACK, BODY_AT(1), 3, 0xFF},
    {BROKER_FRAME_CONTEXT, ID_AT, 4, 0xFF},
    {BROKER_FRAME_GAP, ID_AT, 4, 0xFF},
    {BROKER_FRAME_GAP, BODY_AT(1), 3, 0xFF},
    {BROKER_FRAME_CONSUME, BODY_AT(7), 1, 0xFE},
    {BROKER_FRAME_CONSUME_REPLY, BODY_AT(25), 3, 0xFF},
    {BROKER_FRAME_ACK, BODY_AT(1), 7, 0xFF},
    {BROKER_FRAME_NACK, BODY_AT(1), 3, 0xFF},
    {BROKER_FRAME_TOUCH, BODY_AT(1), 7, 0xFF},
    {BROKER_FRAME_NOTICE, ID_AT, 4, 0xFF},
    {BROKER_FRAME_NOTICE, BODY_AT(2), 2, 0xFF},
};

static void
set_zero_field(struct check_report *report, const struct vector_record *record,
    struct vector_bytes bytes, const struct zero_field *field)
{
    const struct any_type *any = any_type_find(field->type);

    for (size_t at = field->at; at < field->at + field->bytes; at++) {
        uint8_t kept = bytes.data[at];

        for (unsigned bit = 1; bit < 256; bit <<= 1) {
            struct broker_frame frame;
            union any_message m;
            enum broker_status status;
            size_t n;

            if ((bit & field->mask) == 0) {
                continue;
            }
            check_that(report, record->lines, (kept & bit) == 0,
                "the zero field at %zu is not zero", at);
            bytes.data[at] = (uint8_t)(kept | bit);
            status = broker_frame_decode(
                &sweep_limits, bytes.data, bytes.len, &frame, &n);
            if (status == BROKER_OK) {
                status = any->decode(&frame, &m);
            }
            check_that(report, record->lines, status == BROKER_E_MALFORMED,
                "bit 0x%02x at %zu gives %s", bit, at,
                broker_status_name(status));
        }
        bytes.data[at] = kept;
    }
}

static void
set_zero_fields(struct check_report *report, const struct vector_record *record,
    struct vector_bytes bytes, void *arg)
{
    uint16_t type = check_frame_type(record);

    (void)arg;
    for (size_t i = 0; i < sizeof zero_fields / sizeof zero_fields[0]; i++) {
        if (zero_fields[i].type == type) {
            set_zero_field(report, record, bytes, &zero_fields[i]);
        }
    }
}

void
check_zero_fields(struct check_report *report, const char *dir)
{
    check_each_golden(report, dir, set_zero_fields, NULL);
}
