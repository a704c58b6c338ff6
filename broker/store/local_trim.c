/* SPDX-License-Identifier: MIT
 *
 * Retention: the first sequence moves at once, counts follow. Sizes of records
 * on disk are not in memory; those of the oldest block are fetched by the table
 * thread when they are needed (`head`), and until then what is trimmed there is
 * not taken off the counts yet: `counted` is behind first_seq. See
 * local_store.h. */
#include "local_store.h"

#include <stdlib.h>

/* The record that is counted first. */
struct oldest {
    uint64_t seq, time_ms, last_seq; /* last: of the piece it is in */
    uint64_t bytes;                  /* of the record */
    const struct piece *piece;       /* in memory; or NULL */
};

static void
ask_head(struct local *local, struct stream *stream)
{
    struct job *job;
    if (stream->head_asked || (job = calloc(1, sizeof *job)) == NULL) {
        return;
    }
    job->kind = JOB_HEAD;
    job->stream = stream->number;
    job->from = stream->counted;
    stream->head_asked = true;
    local_ask(local, job);
}

static bool
oldest_on_disk(
    struct local *local, struct stream *stream, struct oldest *oldest)
{
    const struct head *head = stream->debt_frozen ? NULL : stream->head;
    for (size_t i = 0; head != NULL && i < head->count; i++) {
        const struct head_piece *piece = &head->pieces[i];
        uint64_t last = piece->first_seq + piece->count - 1;
        if (last >= stream->counted) {
            uint64_t seq = piece->first_seq > stream->counted ? piece->first_seq
                                                              : stream->counted;
            *oldest = (struct oldest){.seq = seq,
                .time_ms = piece->time_ms,
                .last_seq = last,
                .bytes = piece->sizes[seq - piece->first_seq]};
            return true;
        }
    }
    if (!stream->debt_frozen) {
        ask_head(local, stream);
    }
    return false;
}

/* How far into the piece the record is. */
static size_t
bytes_before(struct stream *stream, const struct piece *piece, uint64_t seq)
{
    if (stream->cut_piece == piece->first_seq && stream->counted == seq) {
        return stream->cut_bytes;
    }
    const uint8_t *at = piece->records;
    for (uint64_t i = piece->first_seq; i < seq; i++) {
        at += record_bytes(at);
    }
    stream->cut_piece = piece->first_seq;
    stream->cut_bytes = (size_t)(at - piece->records);
    return stream->cut_bytes;
}

/* False: there is none, or it is not known yet. */
static bool
find_oldest(struct local *local, struct stream *stream, struct oldest *oldest)
{
    if (stream->counted > stream->state.last_seq) {
        return false;
    }
    if (stream->counted <= stream->disk_last) {
        return oldest_on_disk(local, stream, oldest);
    }
    for (int i = 1; i >= 0; i--) {
        const struct pieces *pieces =
            &stream->pieces[i == 1 ? 1 - local->active : local->active];
        size_t at = pieces_find(pieces, stream->counted);
        if (at == pieces->count) {
            continue;
        }
        const struct piece *piece = &pieces->at[at];
        uint64_t seq = piece->first_seq > stream->counted ? piece->first_seq
                                                          : stream->counted;
        size_t before = bytes_before(stream, piece, seq);
        stream->counted = seq;
        *oldest = (struct oldest){.seq = seq,
            .time_ms = piece->time_ms,
            .last_seq = piece_last(piece),
            .bytes = record_bytes(piece->records + before),
            .piece = piece};
        return true;
    }
    return false;
}

static void
take_off(struct stream *stream, uint64_t records, uint64_t bytes)
{
    struct stream_state *state = &stream->state;
    state->records -= records < state->records ? records : state->records;
    state->bytes -= bytes < state->bytes ? bytes : state->bytes;
    state->trimmed += records;
}

static void
drop_one(struct stream *stream, const struct oldest *oldest)
{
    stream->counted = oldest->seq + 1;
    stream->cut_bytes += oldest->bytes;
    take_off(stream, 1, oldest->bytes);
}

/* The rest of the piece that it is in. */
static void
drop_piece(struct stream *stream, const struct oldest *oldest)
{
    if (oldest->piece != NULL) {
        const struct piece *piece = oldest->piece;
        take_off(stream, oldest->last_seq - oldest->seq + 1,
            piece->bytes - stream->cut_bytes);
        stream->counted = oldest->last_seq + 1;
        return;
    }
    const struct head *head = stream->head;
    for (size_t i = 0; i < head->count; i++) {
        const struct head_piece *piece = &head->pieces[i];
        if (piece->first_seq > oldest->seq ||
            piece->first_seq + piece->count <= oldest->seq) {
            continue;
        }
        uint64_t bytes = 0;
        for (uint64_t k = oldest->seq - piece->first_seq; k < piece->count;
             k++) {
            bytes += piece->sizes[k];
        }
        take_off(stream, oldest->last_seq - oldest->seq + 1, bytes);
    }
    stream->counted = oldest->last_seq + 1;
}

/* Nothing on disk counts any more: what counts is in memory, and is known. */
static void
count_memory(const struct local *local, struct stream *stream)
{
    uint64_t records = 0;
    uint64_t bytes = 0;
    for (int i = 0; i < 2; i++) {
        const struct pieces *pieces = &stream->pieces[i];
        for (size_t k = 0; k < pieces->count; k++) {
            if (pieces->at[k].first_seq > stream->disk_last) {
                records += pieces->at[k].count;
                bytes += pieces->at[k].bytes;
            }
        }
    }
    (void)local;
    take_off(stream, stream->state.records - records, 0);
    stream->state.bytes = bytes;
    stream->counted = stream->disk_last + 1;
}

/* Counts follow first_seq as far as sizes are known. */
static void
follow(struct local *local, struct stream *stream)
{
    struct stream_state *state = &stream->state;
    if (stream->counted <= stream->disk_last &&
        state->first_seq > stream->disk_last) {
        count_memory(local, stream);
    }
    while (stream->counted < state->first_seq) {
        struct oldest oldest;
        if (!find_oldest(local, stream, &oldest)) {
            if (stream->counted > stream->disk_last) {
                stream->counted = state->first_seq; /* a gap at the end */
            }
            return;
        }
        if (oldest.seq >= state->first_seq) {
            stream->counted = state->first_seq;
        } else if (oldest.last_seq < state->first_seq) {
            drop_piece(stream, &oldest);
        } else {
            drop_one(stream, &oldest);
        }
    }
}

static void
retain_bytes(struct local *local, struct stream *stream)
{
    struct stream_state *state = &stream->state;
    struct oldest oldest;
    while (state->bytes > state->limits.max_bytes &&
           stream->counted == state->first_seq &&
           find_oldest(local, stream, &oldest)) {
        drop_one(stream, &oldest);
        state->first_seq = stream->counted;
    }
}

static void
retain_age(struct local *local, struct stream *stream, uint64_t now_ms)
{
    struct stream_state *state = &stream->state;
    struct oldest oldest;
    while (state->first_seq <= state->last_seq &&
           stream->counted == state->first_seq &&
           find_oldest(local, stream, &oldest) && oldest.time_ms <= now_ms &&
           now_ms - oldest.time_ms > state->limits.max_age_ms) {
        drop_piece(stream, &oldest);
        state->first_seq = stream->counted;
    }
}

/* Of the record that is the first now. */
static void
set_first_time(struct local *local, struct stream *stream)
{
    struct oldest oldest;
    if (stream->counted == stream->state.first_seq &&
        find_oldest(local, stream, &oldest)) {
        stream->state.first_time_ms = oldest.time_ms;
        if (oldest.seq > stream->state.first_seq) {
            stream->state.first_seq = oldest.seq;
            stream->counted = oldest.seq;
        }
    }
}

void
local_retain(struct local *local, struct stream *stream)
{
    struct stream_state *state = &stream->state;
    const struct store_limits *limits = &state->limits;
    uint64_t before = state->first_seq;
    uint64_t counted = stream->counted;
    uint64_t span = state->last_seq + 1 - state->first_seq;
    if (limits->max_records > 0 && !limits->discard_new &&
        span > limits->max_records) {
        state->first_seq = state->last_seq + 1 - limits->max_records;
    }
    follow(local, stream);
    if (limits->max_bytes > 0 && !limits->discard_new) {
        retain_bytes(local, stream);
    }
    if (limits->max_age_ms > 0) {
        retain_age(local, stream, local_now(local));
    }
    if (state->first_seq != before || stream->counted != counted) {
        set_first_time(local, stream);
        local_touch(local, stream);
        local->tables[local->active].entries++;
    }
}

void
local_stream_trim(
    struct local *local, struct stream *stream, uint64_t first_seq)
{
    struct stream_state *state = &stream->state;
    if (first_seq > state->last_seq) {
        first_seq = state->last_seq + 1;
    }
    if (first_seq > state->first_seq) {
        state->first_seq = first_seq;
        follow(local, stream);
        set_first_time(local, stream);
    }
}

void
local_retain_aged(struct local *local)
{
    for (uint32_t i = 1; i < local->next_stream; i++) {
        struct stream *stream = local_stream(local, i);
        if (stream != NULL && stream->durable && !stream->removed &&
            stream->state.limits.max_age_ms > 0) {
            local_retain(local, stream);
        }
    }
}

void
local_pay_debt(
    struct local *local, struct stream *stream, const struct row *row)
{
    stream->debt_frozen = false;
    if (stream->removed) {
        return;
    }
    if (stream->counted < row->state.first_seq) {
        take_off(stream, row->debt_records, row->debt_bytes);
        stream->counted = row->state.first_seq;
    }
    local_retain(local, stream);
}
