/* SPDX-License-Identifier: MIT
 *
 * From what the store read to frames for one reader. Done twice: to know how
 * many bytes that takes, and to write them. See reader.h. */
#include "reader.h"

#include "capture.h"
#include "record.h"
#include "session.h"
#include "wire.h"

#include "store.h"

#include <string.h>

#define POSITION_FRAME_BYTES (BROKER_HEADER_BYTES + 24u)
#define GAP_FRAME_BYTES      (BROKER_HEADER_BYTES + 24u)

struct filling {
    struct reader *reader;
    uint8_t *dst; /* NULL: only count */
    size_t pos;
    uint64_t messages;
    /* The POSITION whose messages are being added; count 0: none is. */
    struct broker_position position;
    size_t position_at;
    /* Bytes of records that stand together and are for the reader. */
    const uint8_t *piece;
    size_t piece_bytes;
    /* What is missing and not said yet. */
    enum broker_gap_reason gap_reason;
    uint64_t gap_count;
    uint64_t expected; /* the sequence that comes next if nothing is missing */
    uint64_t damaged;  /* that are somewhere in the batch */
    struct record_filter filter;
};

/* ---- writing ------------------------------------------------------------- */

static void
end_piece(struct filling *filling)
{
    if (filling->piece_bytes > 0 && filling->dst != NULL) {
        memcpy(
            filling->dst + filling->pos, filling->piece, filling->piece_bytes);
    }
    filling->pos += filling->piece_bytes;
    filling->piece_bytes = 0;
}

static void
end_position(struct filling *filling)
{
    end_piece(filling);
    if (filling->position.count > 0 && filling->dst != NULL) {
        size_t n;
        (void)!broker_position_encode(&filling->position,
            filling->dst + filling->position_at, POSITION_FRAME_BYTES, &n);
    }
    filling->position.count = 0;
}

static enum drop_reason
drop_reason_of(enum broker_gap_reason reason)
{
    switch (reason) {
    case BROKER_GAP_EXPIRED:
        return DROP_EXPIRED;
    case BROKER_GAP_TRIMMED:
        return DROP_TRIMMED;
    case BROKER_GAP_DAMAGED:
        return DROP_DAMAGED;
    default:
        return DROP_TOO_LARGE;
    }
}

static void
write_gap(struct filling *filling)
{
    if (filling->gap_count == 0) {
        return;
    }
    if (filling->dst != NULL) {
        struct subscription *subscription = filling->reader->subscription;
        uint8_t id[4];
        size_t n;
        broker_ids_set(id, 0, subscription->id);
        struct broker_gap gap = {.reason = filling->gap_reason,
            .count = filling->gap_count,
            .ids = {id, 1}};
        (void)!broker_gap_encode(
            &gap, filling->dst + filling->pos, GAP_FRAME_BYTES, &n);
        context_enter_refused(&subscription->own, filling->gap_count,
            drop_reason_of(filling->gap_reason));
    }
    filling->pos += GAP_FRAME_BYTES;
    filling->gap_count = 0;
}

static void
add_gap(struct filling *filling, enum broker_gap_reason reason, uint64_t count)
{
    if (count == 0) {
        return;
    }
    end_position(filling);
    if (filling->gap_reason != reason) {
        write_gap(filling);
    }
    filling->gap_reason = reason;
    filling->gap_count += count;
}

static void
add_record(struct filling *filling, const struct store_run *run, uint64_t seq,
    const uint8_t *record, size_t bytes)
{
    struct broker_position *position = &filling->position;
    if (position->count == 0 || position->sequence + position->count != seq ||
        position->time_ms != run->time_ms) {
        end_position(filling);
        write_gap(filling);
        *position =
            (struct broker_position){.id = filling->reader->subscription->id,
                .sequence = seq,
                .time_ms = run->time_ms};
        filling->position_at = filling->pos;
        filling->pos += POSITION_FRAME_BYTES;
    }
    if (filling->piece_bytes == 0 ||
        filling->piece + filling->piece_bytes != record) {
        end_piece(filling);
        filling->piece = record;
    }
    filling->piece_bytes += bytes;
    position->count++;
    filling->messages++;
}

/* ---- judging ------------------------------------------------------------- */

static void
judge(struct filling *filling, const struct store_run *run, uint64_t seq,
    const uint8_t *record, size_t bytes)
{
    const struct session *session = filling->reader->subscription->session;
    if (!record_is_wanted(&filling->filter, record)) {
        return;
    }
    if (record_is_expired(
            record, run->time_ms, filling->reader->core->wall_ms)) {
        add_gap(filling, BROKER_GAP_EXPIRED, 1);
    } else if (bytes > (size_t)BROKER_HEADER_BYTES + session->max_body_bytes) {
        add_gap(filling, BROKER_GAP_TOO_LARGE, 1);
    } else {
        add_record(filling, run, seq, record, bytes);
    }
}

/* Sequences that are not there: those below the first that the stream has were
 * trimmed, and some of the others may be damaged; the rest never were. */
static void
note_missing(struct filling *filling, uint64_t until, uint64_t first)
{
    if (filling->expected < first) {
        uint64_t end = first < until ? first : until;
        add_gap(filling, BROKER_GAP_TRIMMED, end - filling->expected);
        filling->expected = end;
    }
    if (filling->expected < until && filling->damaged > 0) {
        uint64_t missing = until - filling->expected;
        uint64_t damaged =
            missing < filling->damaged ? missing : filling->damaged;
        add_gap(filling, BROKER_GAP_DAMAGED, damaged);
        filling->damaged -= damaged;
    }
    filling->expected = until;
}

static void
fill(struct filling *filling, const struct store_batch *batch, uint64_t first)
{
    for (size_t i = 0; i < batch->run_count; i++) {
        const struct store_run *run = &batch->runs[i];
        const uint8_t *record = run->records;
        if (run->first_seq > filling->expected) {
            note_missing(filling, run->first_seq, first);
        }
        for (uint32_t n = 0; n < run->count; n++) {
            size_t bytes = wire_frame_bytes(record);
            judge(filling, run, run->first_seq + n, record, bytes);
            record += bytes;
        }
        filling->expected = run->first_seq + run->count;
    }
    if (batch->next > filling->expected) {
        note_missing(filling, batch->next, first);
    }
    if (filling->damaged > 0) {
        add_gap(filling, BROKER_GAP_DAMAGED, filling->damaged);
    }
    end_position(filling);
    write_gap(filling);
}

/* ---- entry --------------------------------------------------------------- */

static struct filling
filling_of(struct reader *reader, const struct store_batch *batch, uint8_t *dst)
{
    return (struct filling){.reader = reader,
        .dst = dst,
        .expected = reader->next,
        .damaged = batch->damaged,
        .filter = {.filter = {reader->filter, reader->filter_bytes}}};
}

static bool
has_room(const struct session *session, const struct store_batch *batch,
    size_t bytes)
{
    bool is_single = batch->run_count == 1 && batch->runs[0].count == 1;
    return output_fits(&session->output, bytes) ||
           (is_single && output_has_no_data(&session->output));
}

enum reader_filled
reader_fill(struct reader *reader, const struct store_batch *batch,
    struct output_run *run)
{
    struct core *core = reader->core;
    struct store_stream_info info = {.first_seq = 0};
    *run = (struct output_run){.block = NULL};
    (void)store_stream_info(
        core->options.store, reader->capture->stream, &info);
    struct filling counted = filling_of(reader, batch, NULL);
    fill(&counted, batch, info.first_seq);
    if (counted.pos == 0) {
        return READER_FILLED;
    }
    if (!has_room(reader->subscription->session, batch, counted.pos)) {
        return READER_NO_ROOM;
    }
    struct block *block = block_new(&core->pool, counted.pos);
    if (block == NULL) {
        return READER_NO_MEMORY;
    }
    struct filling written = filling_of(reader, batch, block->data);
    fill(&written, batch, info.first_seq);
    block->fill = (uint32_t)written.pos;
    *run = (struct output_run){.block = block,
        .data = block->data,
        .bytes = written.pos,
        .messages = (uint32_t)written.messages};
    return READER_FILLED;
}

bool
reader_fill_end(struct reader *reader, struct output_run *run)
{
    struct broker_position position = {
        .id = reader->subscription->id, .sequence = reader->next};
    size_t n = 0;
    struct block *block = block_new(&reader->core->pool, POSITION_FRAME_BYTES);
    if (block == NULL || broker_position_encode(&position, block->data,
                             POSITION_FRAME_BYTES, &n) != BROKER_OK) {
        block_unref(block);
        return false;
    }
    block->fill = (uint32_t)n;
    *run = (struct output_run){
        .block = block, .data = block->data, .bytes = n, .messages = 0};
    return true;
}
