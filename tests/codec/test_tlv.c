/* SPDX-License-Identifier: MIT
 *
 * Extension fields one by one: reading, finding, writing, user headers.
 * PROTOCOL.md section 3.3.
 */
#include <criterion/criterion.h>

#include <stdlib.h>
#include <string.h>

#include <broker/codec.h>

static struct broker_bytes
view_of(const void *data, size_t len)
{
    struct broker_bytes view = {data, len};

    return view;
}

static struct broker_bytes
text_of(const char *text)
{
    return view_of(text, strlen(text));
}

static bool
is_text(struct broker_bytes view, const char *text)
{
    return view.len == strlen(text) && memcmp(view.data, text, view.len) == 0;
}

Test(tlv, put_and_next)
{
    uint8_t dst[64];
    size_t pos = 0;
    struct broker_bytes rest;
    struct broker_tlv tlv;
    uint32_t u32;
    uint64_t u64;

    cr_assert_eq(broker_tlv_put(dst, sizeof dst, &pos,
                     BROKER_TAG_NAME | BROKER_TAG_CRITICAL, text_of("demo")),
        BROKER_OK);
    cr_assert_eq(pos, 8);
    cr_assert_arr_eq(dst,
        "\x80\x01\x00\x04"
        "demo",
        8);
    cr_assert_eq(broker_tlv_put_u32(dst, sizeof dst, &pos,
                     BROKER_TAG_RETRY_AFTER_MS, 0x01020304),
        BROKER_OK);
    cr_assert_eq(broker_tlv_put_u64(dst, sizeof dst, &pos, BROKER_TAG_LIMIT,
                     UINT64_C(0x0102030405060708)),
        BROKER_OK);
    cr_assert_eq(broker_tlv_put(
                     dst, sizeof dst, &pos, BROKER_TAG_TEXT, view_of(NULL, 0)),
        BROKER_OK);
    cr_assert_eq(pos, 8 + 8 + 12 + 4);

    rest = view_of(dst, pos);
    cr_assert_eq(broker_tlv_next(&rest, &tlv), BROKER_OK);
    cr_assert(tlv.tag == BROKER_TAG_NAME && tlv.critical);
    cr_assert(is_text(tlv.value, "demo"));
    cr_assert_eq(broker_tlv_next(&rest, &tlv), BROKER_OK);
    cr_assert(tlv.tag == BROKER_TAG_RETRY_AFTER_MS && !tlv.critical);
    cr_assert(broker_tlv_u32(tlv.value, &u32) && u32 == 0x01020304);
    cr_assert_eq(broker_tlv_next(&rest, &tlv), BROKER_OK);
    cr_assert(
        broker_tlv_u64(tlv.value, &u64) && u64 == UINT64_C(0x0102030405060708));
    cr_assert_eq(broker_tlv_next(&rest, &tlv), BROKER_OK);
    cr_assert_eq(tlv.value.len, 0);
    cr_assert_eq(broker_tlv_next(&rest, &tlv), BROKER_MORE);
    cr_assert_eq(broker_tlv_next(&rest, &tlv), BROKER_MORE);
}

Test(tlv, next_of_nothing)
{
    struct broker_bytes rest = {NULL, 0};
    struct broker_tlv tlv;

    cr_assert_eq(broker_tlv_next(&rest, &tlv), BROKER_MORE);
}

/* Every cut of a field is malformed and leaves everything as it was. */
Test(tlv, next_cut)
{
    static const uint8_t field[] = {0x00, 0x01, 0x00, 0x02, 'a', 'b'};

    for (size_t len = 1; len < sizeof field; len++) {
        uint8_t *copy = malloc(len);
        struct broker_bytes rest = {copy, len};
        struct broker_tlv tlv = {.tag = 4711};

        memcpy(copy, field, len);
        cr_assert_eq(broker_tlv_next(&rest, &tlv), BROKER_E_MALFORMED);
        cr_assert(rest.data == copy && rest.len == len && tlv.tag == 4711);
        free(copy);
    }
}

Test(tlv, size)
{
    cr_assert_eq(broker_tlv_size(0), 4);
    cr_assert_eq(broker_tlv_size(65535), 65539);
}

Test(tlv, put_without_space)
{
    const struct broker_bytes value = text_of("value");

    for (size_t cap = 0; cap < 9 + 3; cap++) {
        uint8_t *dst = malloc(cap);
        size_t pos = 3;

        cr_assert_eq(broker_tlv_put(dst, cap, &pos, BROKER_TAG_TEXT, value),
            BROKER_E_NO_SPACE);
        cr_assert_eq(pos, 3);
        free(dst);
    }
}

Test(tlv, put_numbers_without_space)
{
    uint8_t dst[11];
    size_t pos = 0;

    cr_assert_eq(broker_tlv_put_u32(dst, 7, &pos, 1, 0), BROKER_E_NO_SPACE);
    cr_assert_eq(broker_tlv_put_u64(dst, 11, &pos, 1, 0), BROKER_E_NO_SPACE);
    cr_assert_eq(pos, 0);
    pos = SIZE_MAX;
    cr_assert_eq(broker_tlv_put_u32(dst, 11, &pos, 1, 0), BROKER_E_NO_SPACE);
}

Test(tlv, put_too_long)
{
    uint8_t *dst = malloc(70000);
    uint8_t *value = calloc(1, 65536);
    size_t pos = 0;

    cr_assert_eq(broker_tlv_put(dst, 70000, &pos, 1, view_of(value, 65536)),
        BROKER_E_INVALID_ARGUMENT);
    cr_assert_eq(broker_tlv_put(dst, 70000, &pos, 1, view_of(value, SIZE_MAX)),
        BROKER_E_INVALID_ARGUMENT);
    cr_assert_eq(pos, 0);
    cr_assert_eq(
        broker_tlv_put(dst, 70000, &pos, 1, view_of(value, 65535)), BROKER_OK);
    cr_assert_eq(pos, 65539);
    free(dst);
    free(value);
}

Test(tlv, numbers_of_other_sizes)
{
    static const uint8_t bytes[9] = {0};
    uint32_t u32 = 4711;
    uint64_t u64 = 4711;

    for (size_t len = 0; len <= sizeof bytes; len++) {
        cr_assert_eq(broker_tlv_u32(view_of(bytes, len), &u32), len == 4);
        cr_assert_eq(broker_tlv_u64(view_of(bytes, len), &u64), len == 8);
        cr_assert_eq(u32, len < 4 ? 4711 : 0);
        cr_assert_eq(u64, len < 8 ? 4711 : 0);
    }
    cr_assert_not(broker_tlv_u32(view_of(NULL, 0), &u32));
}

Test(tlv, find)
{
    uint8_t dst[64];
    size_t pos = 0;
    struct broker_bytes value = {NULL, 4711};

    cr_assert_eq(broker_tlv_put(dst, sizeof dst, &pos, 9, text_of("a")), 0);
    cr_assert_eq(broker_tlv_put(dst, sizeof dst, &pos, 2, text_of("b")), 0);
    cr_assert_eq(
        broker_tlv_put(dst, sizeof dst, &pos, 0x8002, text_of("c")), 0);
    cr_assert_not(broker_tlv_find(view_of(dst, pos), 1, &value));
    cr_assert_eq(value.len, 4711);
    cr_assert(broker_tlv_find(view_of(dst, pos), 2, &value));
    cr_assert(is_text(value, "b"));
    cr_assert(broker_tlv_find(view_of(dst + 5, pos - 5), 2, &value));
    /* What comes before a cut is found, what comes after is not there. */
    cr_assert(broker_tlv_find(view_of(dst, pos - 1), 2, &value));
    cr_assert_not(broker_tlv_find(view_of(dst, 9), 2, &value));
    cr_assert_not(broker_tlv_find(view_of(NULL, 0), 2, &value));
}

/* ---- user headers -------------------------------------------------------- */

Test(tlv, headers)
{
    uint8_t dst[64];
    size_t pos = 0;
    struct broker_bytes rest, key, value;

    cr_assert_eq(
        broker_header_put(dst, sizeof dst, &pos, text_of("k"), text_of("v")),
        0);
    cr_assert_arr_eq(dst, "\x00\x04\x00\x04\x00\x01kv", 8);
    cr_assert_eq(broker_tlv_put(
                     dst, sizeof dst, &pos, BROKER_TAG_REPLY_TO, text_of("r")),
        0);
    cr_assert_eq(broker_header_put(
                     dst, sizeof dst, &pos, text_of("k"), view_of(NULL, 0)),
        0);
    rest = view_of(dst, pos);
    cr_assert_eq(broker_header_next(&rest, &key, &value), BROKER_OK);
    cr_assert(is_text(key, "k") && is_text(value, "v"));
    cr_assert_eq(broker_header_next(&rest, &key, &value), BROKER_OK);
    cr_assert(is_text(key, "k") && value.len == 0);
    cr_assert_eq(broker_header_next(&rest, &key, &value), BROKER_MORE);
}

Test(tlv, header_without_space)
{
    for (size_t cap = 0; cap < 4 + 2 + 3 + 5; cap++) {
        uint8_t *dst = malloc(cap);
        size_t pos = 0;

        cr_assert_eq(
            broker_header_put(dst, cap, &pos, text_of("key"), text_of("value")),
            BROKER_E_NO_SPACE);
        cr_assert_eq(pos, 0);
        free(dst);
    }
}

Test(tlv, header_limits)
{
    uint8_t *dst = malloc(70000);
    uint8_t *text = malloc(65536);
    size_t pos = 0;

    memset(text, 'x', 65536);
    cr_assert_eq(
        broker_header_put(dst, 70000, &pos, view_of(text, 0), view_of(text, 1)),
        BROKER_E_INVALID_ARGUMENT);
    cr_assert_eq(broker_header_put(
                     dst, 70000, &pos, view_of(text, 256), view_of(text, 1)),
        BROKER_E_INVALID_ARGUMENT);
    cr_assert_eq(
        broker_header_put(dst, 70000, &pos, text_of("\xff"), view_of(text, 1)),
        BROKER_E_INVALID_ARGUMENT);
    cr_assert_eq(broker_header_put(
                     dst, 70000, &pos, view_of("a\0b", 3), view_of(text, 1)),
        BROKER_E_INVALID_ARGUMENT);
    cr_assert_eq(broker_header_put(dst, 70000, &pos, view_of(text, 255),
                     view_of(text, 65279)),
        BROKER_E_INVALID_ARGUMENT);
    cr_assert_eq(broker_header_put(dst, 70000, &pos, view_of(text, 255),
                     view_of(text, SIZE_MAX)),
        BROKER_E_INVALID_ARGUMENT);
    cr_assert_eq(pos, 0);
    cr_assert_eq(broker_header_put(dst, 70000, &pos, view_of(text, 255),
                     view_of(text, 65278)),
        BROKER_OK);
    cr_assert_eq(pos, 65539);
    free(dst);
    free(text);
}

/* A bad header is reported, and stays where it is. */
Test(tlv, header_malformed)
{
    static const uint8_t no_key[] = {0, 4, 0, 2, 0, 0};
    static const uint8_t cut_key[] = {0, 4, 0, 3, 0, 2, 'k'};
    static const uint8_t cut_field[] = {0, 4, 0, 9, 0, 1, 'k'};
    const struct broker_bytes bad[] = {view_of(no_key, sizeof no_key),
        view_of(cut_key, sizeof cut_key), view_of(cut_field, sizeof cut_field)};

    for (size_t i = 0; i < 3; i++) {
        struct broker_bytes rest = bad[i], key = {NULL, 1}, value = {NULL, 2};

        cr_assert_eq(
            broker_header_next(&rest, &key, &value), BROKER_E_MALFORMED);
        cr_assert(rest.data == bad[i].data && rest.len == bad[i].len);
        cr_assert(key.len == 1 && value.len == 2);
    }
}
