/* SPDX-License-Identifier: MIT
 *
 * Headers and the table of frame types: every row of frames.def, every length
 * around each limit. PROTOCOL.md sections 3.1 and 4.
 */
#include <criterion/criterion.h>

#include <stdlib.h>
#include <string.h>

#include <broker/codec.h>

static const struct broker_limits defaults = BROKER_LIMITS_DEFAULT;

/* Decode a header for a body of body_bytes that is not there. */
static enum broker_status
decode_header(const struct broker_limits *limits, uint16_t type, uint16_t flags,
    uint32_t body_bytes, size_t *n)
{
    struct broker_header header = {body_bytes, type, flags, 1};
    uint8_t *wire = malloc(BROKER_HEADER_BYTES);
    struct broker_frame frame;
    enum broker_status status;

    broker_header_encode(&header, wire);
    status = broker_frame_decode(limits, wire, BROKER_HEADER_BYTES, &frame, n);
    free(wire);
    return status;
}

Test(frame, header_bytes)
{
    const struct broker_header header = {
        0x00ABCDEF, 0x1234, 0x5678, 0x9ABCDEF0};
    const uint8_t wanted[BROKER_HEADER_BYTES] = {
        0x00, 0xAB, 0xCD, 0xEF, 0x12, 0x34, 0x56, 0x78, 0x9A, 0xBC, 0xDE, 0xF0};
    uint8_t wire[BROKER_HEADER_BYTES];
    struct broker_header again;

    broker_header_encode(&header, wire);
    cr_assert_arr_eq(wire, wanted, sizeof wanted);
    broker_header_decode(wire, &again);
    cr_assert_eq(again.body_bytes, header.body_bytes);
    cr_assert_eq(again.type, header.type);
    cr_assert_eq(again.flags, header.flags);
    cr_assert_eq(again.id, header.id);
}

Test(frame, header_decode_judges_nothing)
{
    uint8_t wire[BROKER_HEADER_BYTES];
    struct broker_header header;

    memset(wire, 0xFF, sizeof wire);
    broker_header_decode(wire, &header);
    cr_assert_eq(header.body_bytes, UINT32_MAX);
    cr_assert_eq(header.type, 0xFFFF);
}

Test(frame, nothing_yet)
{
    struct broker_frame frame;
    size_t n = 0;

    cr_assert_eq(
        broker_frame_decode(&defaults, NULL, 0, &frame, &n), BROKER_MORE);
    cr_assert_eq(n, BROKER_HEADER_BYTES);
}

Test(frame, every_first_byte)
{
    for (unsigned byte = 1; byte < 256; byte++) {
        uint8_t *wire = malloc(1);
        struct broker_frame frame;
        size_t n = 99;

        wire[0] = (uint8_t)byte;
        cr_assert_eq(broker_frame_decode(&defaults, wire, 1, &frame, &n),
            BROKER_E_BAD_START);
        cr_assert_eq(n, 0);
        free(wire);
    }
}

/* All 65,536 types with an empty body and no flags. */
Test(frame, every_type)
{
    for (unsigned type = 0; type <= 0xFFFF; type++) {
        const struct broker_frame_info *info =
            broker_frame_info((uint16_t)type);
        size_t n = 0;
        enum broker_status status =
            decode_header(&defaults, (uint16_t)type, 0, 0, &n);
        enum broker_status wanted = BROKER_E_UNSUPPORTED_TYPE;

        if (info != NULL && !info->reserved) {
            wanted = info->min_body_bytes == 0 ? BROKER_OK : BROKER_E_MALFORMED;
        } else if (type >= BROKER_FRAME_SKIPPABLE && type != 0xFFFF) {
            wanted = BROKER_OK;
        }
        cr_assert_eq(status, wanted, "type 0x%04x gives %s", type,
            broker_status_name(status));
        cr_assert_eq(n, BROKER_HEADER_BYTES);
    }
}

/* The table by number and by row, against frames.def itself. */
struct frame_row {
    const char *name;
    uint16_t type, flags;
    enum broker_sender senders;
    uint32_t min_body_bytes, max_body_bytes;
    bool reserved;
};

static const struct frame_row rows[] = {
#define BROKER_FRAME(name, type, senders, flags, min_body, max_body, summary)  \
    {#name, type, flags, BROKER_SENDER_##senders, min_body, max_body, false},
#define BROKER_FRAME_RESERVED(name, type, summary)                             \
    {#name, type, 0, BROKER_SENDER_BOTH, 0, 0, true},
#include <broker/frames.def>
};
#define ROWS (sizeof rows / sizeof rows[0])

Test(frame, info)
{
    size_t known = 0;

    for (size_t i = 0; i < ROWS; i++) {
        const struct broker_frame_info *info = broker_frame_info(rows[i].type);

        cr_assert_not_null(info, "%s", rows[i].name);
        cr_assert_eq(info, broker_frame_info_at(i));
        cr_assert_str_eq(info->name, rows[i].name);
        cr_assert_eq(info->type, rows[i].type);
        cr_assert_eq(info->flags, rows[i].flags);
        cr_assert_eq(info->min_body_bytes, rows[i].min_body_bytes);
        cr_assert_eq(info->max_body_bytes, rows[i].max_body_bytes);
        cr_assert_eq(info->reserved, rows[i].reserved);
        cr_assert_not_null(info->summary);
        cr_assert(info->reserved || info->senders == rows[i].senders);
    }
    cr_assert_null(broker_frame_info_at(ROWS));
    cr_assert_null(broker_frame_info_at(SIZE_MAX));
    for (unsigned type = 0; type <= 0xFFFF; type++) {
        known += broker_frame_info((uint16_t)type) != NULL;
    }
    cr_assert_eq(known, ROWS);
}

/* Around the minimum and maximum of each type and the limit of the receiver. */
Test(frame, every_length_around_the_limits)
{
    const struct broker_limits small = {BROKER_BODY_BYTES_MIN, 1024, 64};

    for (size_t i = 0; i < ROWS; i++) {
        const struct frame_row *row = &rows[i];
        uint32_t max = row->max_body_bytes;
        size_t n = 0;

        if (row->reserved) {
            continue;
        }
        if (row->min_body_bytes > 0) {
            cr_assert_eq(decode_header(
                             &small, row->type, 0, row->min_body_bytes - 1, &n),
                BROKER_E_MALFORMED, "%s", row->name);
            cr_assert_eq(n, BROKER_HEADER_BYTES + row->min_body_bytes - 1);
            cr_assert_eq(
                decode_header(&small, row->type, 0, row->min_body_bytes, &n),
                BROKER_MORE, "%s", row->name);
            cr_assert_eq(n, BROKER_HEADER_BYTES + row->min_body_bytes);
        }
        if (max != 0) {
            cr_assert_eq(decode_header(&small, row->type, 0, max, &n),
                BROKER_MORE, "%s", row->name);
            cr_assert_eq(decode_header(&small, row->type, 0, max + 1, &n),
                BROKER_E_MALFORMED, "%s", row->name);
        } else {
            cr_assert_eq(
                decode_header(&small, row->type, 0, small.max_body_bytes, &n),
                BROKER_MORE, "%s", row->name);
        }
        cr_assert_eq(
            decode_header(&small, row->type, 0, small.max_body_bytes + 1, &n),
            BROKER_E_TOO_LARGE, "%s", row->name);
        cr_assert_eq(n, BROKER_HEADER_BYTES + small.max_body_bytes + 1);
    }
}

Test(frame, largest_body_needs_no_overflow)
{
    size_t n = 0;

    cr_assert_eq(decode_header(&defaults, BROKER_FRAME_PUBLISH, 0,
                     BROKER_BODY_BYTES_MAX, &n),
        BROKER_MORE);
    cr_assert_eq(n, (size_t)BROKER_HEADER_BYTES + BROKER_BODY_BYTES_MAX);
}
