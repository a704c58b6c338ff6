/* SPDX-License-Identifier: MIT
 *
 * Entries: what was encoded is decoded, and nothing else is. */
#include "checksum.h"
#include "entry.h"

#include <criterion/criterion.h>

#include <string.h>

static uint8_t records[300];
static uint8_t checksums[12];

static struct entry
make(void)
{
    for (size_t i = 0; i < 3; i++) {
        memset(records + i * 100, 'a' + (int)i, 100);
        put_u32(records + i * 100, 88);
    }
    cr_assert(records_check(records, sizeof records, 3, checksums));
    return (struct entry){.kind = ENTRY_RECORDS,
        .flags = ENTRY_ONE_NUMBER,
        .name_bytes = 4,
        .name = (const uint8_t *)"name",
        .stream = 0x01020304,
        .first_seq = 0x1112131415161718,
        .time_ms = 0x2122232425262728,
        .count = 3,
        .number = 0x31323334,
        .checksums = checksums,
        .body = records,
        .body_bytes = sizeof records};
}

Test(entry, is_as_it_was)
{
    uint8_t bytes[512];
    struct entry entry = make();
    struct entry out;
    size_t size = entry_size(&entry);
    cr_assert_eq(size, 40 + 4 + 12 + 300);
    entry_encode(bytes, &entry);
    cr_assert_eq(entry_decode(bytes, sizeof bytes, &out), size);
    cr_assert_eq(out.kind, entry.kind);
    cr_assert_eq(out.flags, entry.flags);
    cr_assert_eq(out.stream, entry.stream);
    cr_assert_eq(out.first_seq, entry.first_seq);
    cr_assert_eq(out.time_ms, entry.time_ms);
    cr_assert_eq(out.count, 3);
    cr_assert_eq(out.number, entry.number);
    cr_assert_eq(out.name_bytes, 4);
    cr_assert_eq(memcmp(out.name, "name", 4), 0);
    cr_assert_eq(out.body_bytes, sizeof records);
    cr_assert_eq(memcmp(out.body, records, sizeof records), 0);
    cr_assert_eq(memcmp(out.checksums, checksums, sizeof checksums), 0);
}

/* proto/STORE.md section 3, byte by byte. */
Test(entry, has_the_documented_bytes)
{
    static const uint8_t expected[44] = {3, 0, 4, 0, 0, 0, 0, 44, 0, 0, 0, 0, 1,
        2, 3, 4, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        0, 0, 0, 'n', 'a', 'm', 'e'};
    uint8_t bytes[44];
    struct entry entry = {.kind = ENTRY_TRIM,
        .name_bytes = 4,
        .name = (const uint8_t *)"name",
        .stream = 0x01020304,
        .first_seq = 9};
    entry_encode(bytes, &entry);
    uint32_t sum = checksum_add(checksum(bytes, 8), bytes + 12, 32);
    cr_assert_eq(get_u32(bytes + 8), sum);
    put_u32(bytes + 8, 0);
    cr_assert_eq(memcmp(bytes, expected, sizeof expected), 0);
}

Test(entry, every_flipped_bit_of_its_head_is_found)
{
    uint8_t bytes[512];
    struct entry entry = make();
    struct entry out;
    size_t size = entry_size(&entry);
    entry_encode(bytes, &entry);
    for (size_t bit = 0; bit < size * 8; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        size_t got = entry_decode(bytes, size, &out);
        if (bit / 8 < size - sizeof records) {
            cr_assert_eq(got, 0, "bit %zu", bit);
        } else { /* of a record: its own checksum's business */
            size_t i = (bit / 8 - (size - sizeof records)) / 100;
            cr_assert_eq(got, size);
            cr_assert_neq(checksum(out.body + i * 100, 100),
                get_u32(out.checksums + i * 4));
        }
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

Test(entry, every_shorter_one_is_none)
{
    uint8_t bytes[512];
    struct entry entry = make();
    struct entry out;
    entry_encode(bytes, &entry);
    for (size_t len = 0; len < entry_size(&entry); len++) {
        cr_assert_eq(entry_decode(bytes, len, &out), 0);
    }
}

Test(entry, records_must_fill_their_bytes)
{
    make();
    cr_assert_not(records_check(records, 299, 3, checksums));
    cr_assert_not(records_check(records, 300, 2, checksums));
    put_u32(records + 200, 89);
    cr_assert_not(records_check(records, 300, 3, checksums));
    put_u32(records + 200, UINT32_MAX);
    cr_assert_not(records_check(records, 300, 3, checksums));
}

Test(entry, of_a_stream)
{
    uint8_t body[ENTRY_STREAM_BYTES];
    struct entry_stream stream = {.max_records = 1,
        .max_bytes = 2,
        .max_age_ms = 3,
        .discard_new = true,
        .has_state = true,
        .first_seq = 4,
        .last_seq = 5,
        .records = 6,
        .bytes = 7,
        .first_time_ms = 8,
        .last_time_ms = 9,
        .trimmed = 10,
        .damaged = 11};
    struct entry entry = {.kind = ENTRY_STREAM,
        .flags = ENTRY_DISCARD_NEW,
        .name_bytes = 1,
        .body = body,
        .body_bytes = entry_stream_encode(body, &stream)};
    struct entry_stream out;
    cr_assert(entry_stream_decode(&entry, &out));
    cr_assert(out.discard_new && out.has_state);
    cr_assert_eq(out.max_records, 1);
    cr_assert_eq(out.max_bytes, 2);
    cr_assert_eq(out.max_age_ms, 3);
    cr_assert_eq(out.first_seq, 4);
    cr_assert_eq(out.last_seq, 5);
    cr_assert_eq(out.records, 6);
    cr_assert_eq(out.bytes, 7);
    cr_assert_eq(out.first_time_ms, 8);
    cr_assert_eq(out.last_time_ms, 9);
    cr_assert_eq(out.trimmed, 10);
    cr_assert_eq(out.damaged, 11);
    entry.body_bytes = 25;
    cr_assert_not(entry_stream_decode(&entry, &out));
    stream.has_state = false;
    entry.body_bytes = entry_stream_encode(body, &stream);
    cr_assert(entry_stream_decode(&entry, &out));
    cr_assert_not(out.has_state);
    cr_assert_eq(out.max_age_ms, 3);
}
