/* SPDX-License-Identifier: MIT
 *
 * The cursors themselves: where they end, failure sticks, nothing is read or
 * written behind it, and what was there before stays. No message gets that far:
 * their sizes are compared before.
 */
#include "cursor.h"

#include <criterion/criterion.h>

/* ---- writer -------------------------------------------------------------- */

static void
write_u8(struct writer *w)
{
    writer_u8(w, 0x11);
}

static void
write_u16(struct writer *w)
{
    writer_u16(w, 0x1122);
}

static void
write_u32(struct writer *w)
{
    writer_u32(w, 0x11223344);
}

static void
write_u64(struct writer *w)
{
    writer_u64(w, UINT64_C(0x1122334455667788));
}

static void
write_bytes(struct writer *w)
{
    writer_bytes(w, (const uint8_t *)"\x11\x22\x33", 3);
}

static void
write_zeros(struct writer *w)
{
    writer_zeros(w, 5);
}

static const struct {
    void (*write)(struct writer *w);
    size_t len;
    const char *bytes;
} writes[] = {{write_u8, 1, "\x11"}, {write_u16, 2, "\x11\x22"},
    {write_u32, 4, "\x11\x22\x33\x44"},
    {write_u64, 8, "\x11\x22\x33\x44\x55\x66\x77\x88"},
    {write_bytes, 3, "\x11\x22\x33"}, {write_zeros, 5, "\0\0\0\0\0"}};
#define WRITES (sizeof writes / sizeof writes[0])

#define UNTOUCHED 0xEE

static void
assert_untouched(const uint8_t *dst, size_t from, size_t to)
{
    for (size_t i = from; i < to; i++) {
        cr_assert_eq(dst[i], UNTOUCHED, "byte %zu was written", i);
    }
}

Test(cursor, writes_what_fits)
{
    for (size_t i = 0; i < WRITES; i++) {
        uint8_t dst[16];
        struct writer w = writer_init(dst, writes[i].len);

        memset(dst, UNTOUCHED, sizeof dst);
        writes[i].write(&w);
        cr_assert_not(w.failed);
        cr_assert_eq(w.pos, writes[i].len);
        cr_assert_eq(memcmp(dst, writes[i].bytes, writes[i].len), 0);
        assert_untouched(dst, writes[i].len, sizeof dst);
    }
}

Test(cursor, writes_nothing_where_a_byte_is_missing)
{
    for (size_t i = 0; i < WRITES; i++) {
        uint8_t dst[16];
        struct writer w = writer_init(dst, writes[i].len - 1);

        memset(dst, UNTOUCHED, sizeof dst);
        writes[i].write(&w);
        cr_assert(w.failed);
        cr_assert_eq(w.pos, 0);
        assert_untouched(dst, 0, sizeof dst);
    }
}

Test(cursor, nothing_is_written_after_a_failure)
{
    for (size_t i = 0; i < WRITES; i++) {
        uint8_t dst[64];
        struct writer w = writer_init(dst, sizeof dst);

        memset(dst, UNTOUCHED, sizeof dst);
        writer_u8(&w, 1);
        writer_zeros(&w, sizeof dst);
        cr_assert(w.failed);
        writes[i].write(&w);
        cr_assert(w.failed);
        cr_assert_eq(w.pos, 1);
        assert_untouched(dst, 1, sizeof dst);
    }
}

Test(cursor, no_bytes_always_fit)
{
    struct writer w = writer_init(NULL, 0);

    writer_bytes(&w, NULL, 0);
    writer_view(&w, (struct broker_bytes){NULL, 0});
    cr_assert_not(w.failed);
    cr_assert_eq(w.pos, 0);
}

/* ---- reader -------------------------------------------------------------- */

static const uint8_t numbers[] = {
    1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

Test(cursor, reads_in_network_order)
{
    struct reader r =
        reader_init((struct broker_bytes){numbers, sizeof numbers});

    cr_assert_eq(reader_u8(&r), 1);
    cr_assert_eq(reader_u16(&r), 0x0203);
    cr_assert_eq(reader_u32(&r), 0x04050607);
    cr_assert_eq(reader_u64(&r), UINT64_C(0x08090A0B0C0D0E0F));
    cr_assert_not(r.failed);
    cr_assert_eq(reader_left(&r), 0);
}

/* And what is there after it is not given out any more. */
Test(cursor, after_a_failure_everything_is_zero)
{
    struct reader r = reader_init((struct broker_bytes){numbers, 3});
    uint8_t copy[2] = {UNTOUCHED, UNTOUCHED};
    struct broker_bytes view;

    cr_assert_eq(reader_u32(&r), 0);
    cr_assert(r.failed);
    cr_assert_eq(reader_u8(&r), 0);
    cr_assert_eq(reader_u16(&r), 0);
    cr_assert_eq(reader_u64(&r), 0);
    view = reader_bytes(&r, 1);
    cr_assert_null(view.data);
    cr_assert_eq(view.len, 0);
    view = reader_rest(&r);
    cr_assert_eq(view.len, 0);
    reader_copy(&r, copy, 2);
    assert_untouched(copy, 0, 2);
    reader_zeros(&r, 1);
    cr_assert(r.failed);
    cr_assert_eq(r.pos, 0);
}

Test(cursor, zeros_are_zeros)
{
    static const uint8_t bytes[] = {0, 0, 7, 0};
    struct reader r = reader_init((struct broker_bytes){bytes, sizeof bytes});

    reader_zeros(&r, 2);
    cr_assert_not(r.failed);
    reader_zeros(&r, 2);
    cr_assert(r.failed);
}
