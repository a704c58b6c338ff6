/* SPDX-License-Identifier: MIT
 *
 * The output log: what it keeps, what it frees, and how it goes back.
 */
#include <criterion/criterion.h>
#include <string.h>

#include <broker/codec.h>

#include "outlog.h"

#define CHUNK ((size_t)4096)

/* Append a frame with `body` bytes, all of them `id`. */
static void
append(struct outlog *log, uint32_t id, size_t body)
{
    struct broker_header header = {
        .body_bytes = (uint32_t)body, .type = BROKER_FRAME_PUBLISH, .id = id};
    size_t size = BROKER_HEADER_BYTES + body;
    uint8_t *data = outlog_reserve(log, size);
    cr_assert_not_null(data);
    broker_header_encode(&header, data);
    memset(data + BROKER_HEADER_BYTES, (int)id, body);
    outlog_commit(log, size);
}

/* Write up to n bytes; returns how many there were. */
static size_t
write_some(struct outlog *log, size_t n)
{
    struct iovec vectors[3];
    size_t done = 0;
    while (done < n) {
        size_t count = outlog_peek(log, vectors, 3);
        if (count == 0) {
            break;
        }
        size_t part =
            vectors[0].iov_len < n - done ? vectors[0].iov_len : n - done;
        outlog_sent(log, part);
        done += part;
    }
    return done;
}

Test(outlog, empty)
{
    struct outlog log;
    struct iovec vector;
    outlog_init(&log, CHUNK);
    cr_assert_eq(outlog_peek(&log, &vector, 1), 0);
    outlog_fini(&log);
}

Test(outlog, memory_comes_back_as_it_is_written)
{
    struct outlog log;
    outlog_init(&log, 8 * CHUNK);
    for (int round = 0; round < 100; round++) {
        for (uint32_t i = 1; i <= 200; i++) {
            append(&log, i, i);
        }
        size_t bytes = log.bytes;
        cr_assert_eq(log.unsent, bytes);
        cr_assert_eq(write_some(&log, bytes / 2 + 1), bytes / 2 + 1);
        cr_assert_lt(log.bytes, bytes / 2 + 2 * CHUNK);
        cr_assert_eq(write_some(&log, SIZE_MAX), bytes - bytes / 2 - 1);
        cr_assert_eq(log.bytes, 0);
        cr_assert_eq(log.head, log.tail);
    }
    outlog_fini(&log);
}

Test(outlog, held_frames_keep_their_chunk_and_no_other)
{
    struct outlog log;
    uint32_t offset;
    outlog_init(&log, 8 * CHUNK);
    append(&log, 1, 100);
    struct outlog_chunk *held = outlog_hold(&log, 112, &offset);
    cr_assert_eq(offset, 0);
    cr_assert_not(outlog_written(&log, held, offset));
    write_some(&log, 111);
    cr_assert_not(outlog_written(&log, held, offset));
    write_some(&log, 1);
    cr_assert(outlog_written(&log, held, offset));
    cr_assert_eq(log.bytes, 112);
    outlog_release(&log, held);
    cr_assert_eq(log.bytes, 0);
    outlog_fini(&log);
}

Test(outlog, a_large_frame_has_a_chunk_of_its_own)
{
    struct outlog log;
    outlog_init(&log, CHUNK);
    append(&log, 1, 10);
    append(&log, 2, 100000);
    append(&log, 3, 10);
    cr_assert_eq(write_some(&log, SIZE_MAX), 100000 + 20 + 36);
    cr_assert_eq(log.bytes, 0);
    outlog_fini(&log);
}

struct kept {
    uint32_t ids[16];
    bool written[16];
    size_t count;
    uint32_t drop;
};

static bool
keep(void *context, const struct outlog_frame *frame)
{
    struct kept *kept = context;
    struct broker_header header;
    broker_header_decode(frame->data, &header);
    kept->ids[kept->count] = header.id;
    kept->written[kept->count] = frame->written;
    kept->count++;
    return header.id % 2 != kept->drop;
}

Test(outlog, rewinding_asks_for_each_frame_and_compacts)
{
    struct outlog log;
    outlog_init(&log, 8 * CHUNK);
    for (uint32_t i = 1; i <= 10; i++) {
        append(&log, i, 1000); /* four to a chunk */
    }
    uint32_t offset;
    struct outlog_chunk *tail = outlog_hold(&log, 1012, &offset);
    /* The first chunk is gone once written; the fifth frame is written whole,
     * the sixth in part. */
    write_some(&log, 5 * 1012 + 500);
    struct kept kept = {.drop = 0};
    outlog_rewind(&log, keep, &kept);
    cr_assert_eq(kept.count, 6);
    for (uint32_t i = 0; i < 6; i++) {
        cr_assert_eq(kept.ids[i], 5 + i);
        cr_assert_eq(kept.written[i], i == 0);
    }
    outlog_let_go(tail); /* frame 10 was dropped, for the sake of the test */
    cr_assert_eq(log.unsent, 3 * 1012);
    struct iovec vectors[8];
    size_t count = outlog_peek(&log, vectors, 8);
    uint8_t next = 5;
    for (size_t i = 0; i < count; i++) {
        const uint8_t *data = vectors[i].iov_base;
        for (size_t at = 0; at < vectors[i].iov_len; at += 1012, next += 2) {
            cr_assert_eq(data[at + BROKER_HEADER_BYTES], next);
        }
    }
    cr_assert_eq(next, 11);
    cr_assert_eq(write_some(&log, SIZE_MAX), 3 * 1012);
    cr_assert_eq(log.bytes, 0);
    outlog_fini(&log);
}

static bool
keep_none(void *context, const struct outlog_frame *frame)
{
    (void)context;
    (void)frame;
    return false;
}

Test(outlog, rewinding_to_nothing_and_on)
{
    struct outlog log;
    outlog_init(&log, 8 * CHUNK);
    append(&log, 1, 100);
    append(&log, 2, 5000);
    outlog_rewind(&log, keep_none, NULL);
    cr_assert_eq(log.bytes, 0);
    cr_assert_null(log.head);
    append(&log, 3, 100);
    cr_assert_eq(write_some(&log, SIZE_MAX), 112);
    outlog_fini(&log);
}
