/* SPDX-License-Identifier: MIT
 *
 * Reading for durable consumers, and giving what was read to their seats; see
 * consumers.h. */
#include "consumers_internal.h"

#include "attachment.h"
#include "record.h"
#include "session.h"
#include "wire.h"

#include <stdlib.h>
#include <string.h>

#define READ_BYTES_MIN 4096u
#define READ_BYTES_MAX (256u * 1024u)
#define FOLLOW_BYTES   (64u * 1024u)
/* So many consumers get what came for those at the end of a stream at once. */
#define FOLLOWERS_MAX 16u
/* Given in one go: what a seat may get beyond its room. */
#define PIECE_BYTES          (64u * 1024u)
#define POSITION_FRAME_BYTES (BROKER_HEADER_BYTES + 24u)

/* ---- giving -------------------------------------------------------------- */

/* Before anything is taken from the state machine there is memory to give it:
 * a block with room, and letters for whoever it may be for. */
static bool
prepare(struct consumers *consumers, size_t bytes)
{
    struct core *core = consumers->core;
    bytes += POSITION_FRAME_BYTES;
    if (!exchange_has_room(core->exchange)) {
        return false;
    }
    if (consumers->block != NULL && block_room(consumers->block) >= bytes) {
        return true;
    }
    size_t size = bytes > BLOCK_POOL_BYTES ? bytes : BLOCK_POOL_BYTES;
    struct block *block = block_new(&core->pool, size);
    if (block == NULL) {
        return false;
    }
    block_unref(consumers->block);
    consumers->block = block;
    return true;
}

/* The last letter for that worker is for the same attachment, and these bytes
 * follow its own. */
static struct letter_delivery *
continued(struct core *core, const struct seat *seat, const uint8_t *data)
{
    struct mailbag *bag = core->exchange->outboxes[seat->worker].last;
    if (bag == NULL || bag->count == 0 ||
        bag->letters[bag->count - 1].kind != LETTER_DELIVERY) {
        return NULL;
    }
    struct letter_delivery *delivery = &bag->letters[bag->count - 1].delivery;
    return delivery->attachment == seat->attachment &&
                   delivery->data + delivery->bytes == data &&
                   delivery->block->original == core->consumers->block
               ? delivery
               : NULL;
}

static void
post(struct core *core, struct seat *seat, const uint8_t *data, size_t bytes,
    uint32_t messages)
{
    struct letter_delivery *before = continued(core, seat, data);
    seat->room -= (int64_t)bytes;
    seat_set_window(seat);
    if (before != NULL) {
        before->bytes += bytes;
        before->messages += messages;
        return;
    }
    struct block *loan =
        exchange_lend(core->exchange, seat->worker, core->consumers->block);
    exchange_write(core->exchange, seat->worker, LETTER_DELIVERY)->delivery =
        (struct letter_delivery){.block = loan,
            .data = data,
            .bytes = bytes,
            .attachment = seat->attachment,
            .messages = messages};
}

/* Records that stand together, of one time. */
struct piece {
    const uint8_t *records;
    size_t bytes;
    uint64_t sequence, time_ms;
    uint32_t count;
    uint32_t deliveries;
};

/* prepare() has made room. Nobody can be sent what is larger than its frames
 * may be: that is buried. */
static void
give(struct cursor *cursor, struct seat *seat, const struct piece *piece)
{
    struct core *core = cursor->consumers->core;
    struct block *block = cursor->consumers->block;
    if (piece->count == 1 && piece->bytes > seat->max_bytes) {
        consumer_reject(cursor->state, seat->place, piece->sequence);
        core->totals.dropped_messages++;
        return;
    }
    struct broker_position position = {.id = seat->attachment->id,
        .sequence = piece->sequence,
        .time_ms = piece->time_ms,
        .count = piece->count,
        .deliveries = piece->deliveries};
    uint8_t *dst = block->data + block->fill;
    size_t n = 0;
    if (broker_position_encode(&position, dst, POSITION_FRAME_BYTES, &n) !=
        BROKER_OK) {
        return;
    }
    memcpy(dst + n, piece->records, piece->bytes);
    block->fill += (uint32_t)(n + piece->bytes);
    post(core, seat, dst, n + piece->bytes, piece->count);
}

/* ---- new messages -------------------------------------------------------- */

/* A batch, on its way through the state machine. */
struct feed {
    struct cursor *cursor;
    struct record_filter filter;
    struct piece piece;
    uint64_t damaged; /* that are somewhere in the batch */
    uint64_t given;
    bool stopped; /* nobody takes more, or memory is out */
    bool no_memory;
};

static size_t
bytes_of(const uint8_t *records, uint32_t count)
{
    size_t bytes = 0;
    for (uint32_t i = 0; i < count; i++) {
        bytes += wire_frame_bytes(records + bytes);
    }
    return bytes;
}

static void
take_off(struct piece *rest, const struct piece *part)
{
    rest->records += part->bytes;
    rest->bytes -= part->bytes;
    rest->sequence += part->count;
    rest->count -= part->count;
}

static void
end_piece(struct feed *feed)
{
    struct cursor *cursor = feed->cursor;
    struct consumers *consumers = cursor->consumers;
    struct piece *rest = &feed->piece;
    while (rest->count > 0 && !feed->stopped) {
        struct consumer_attachment *place;
        struct piece part = *rest;
        if (!prepare(consumers, rest->bytes)) {
            feed->stopped = feed->no_memory = true;
            return;
        }
        part.count = consumer_offer(cursor->state, rest->sequence, rest->count,
            consumers->core->now_ms, &place);
        if (part.count == 0) {
            feed->stopped = true;
            return;
        }
        part.bytes = part.count == rest->count
                         ? rest->bytes
                         : bytes_of(rest->records, part.count);
        give(cursor, consumer_owner(place), &part);
        feed->given += part.count;
        take_off(rest, &part);
    }
}

static void
skip(struct feed *feed, uint64_t first, uint64_t count,
    enum consumer_skip reason)
{
    end_piece(feed);
    if (!feed->stopped && count > 0) {
        (void)consumer_skip(feed->cursor->state, first, count, reason);
    }
}

/* Sequences that are not there, up to `until`. */
static void
skip_missing(struct feed *feed, uint64_t until)
{
    end_piece(feed);
    uint64_t next = consumer_next_sequence(feed->cursor->state);
    if (feed->stopped || until <= next) {
        return;
    }
    uint64_t missing = until - next;
    uint64_t damaged = missing < feed->damaged ? missing : feed->damaged;
    skip(feed, next, missing - damaged, CONSUMER_SKIP_GONE);
    skip(feed, until - damaged, damaged, CONSUMER_SKIP_DAMAGED);
    feed->damaged -= damaged;
}

static void
add_record(struct feed *feed, const struct store_run *run, uint64_t sequence,
    const uint8_t *record, size_t bytes)
{
    struct piece *piece = &feed->piece;
    size_t least = feed->cursor->least_max_bytes;
    if (piece->count > 0 &&
        (piece->records + piece->bytes != record ||
            piece->time_ms != run->time_ms ||
            piece->bytes + bytes > PIECE_BYTES || bytes > least)) {
        end_piece(feed);
    }
    if (feed->stopped) {
        return;
    }
    if (piece->count == 0) {
        *piece = (struct piece){.records = record,
            .sequence = sequence,
            .time_ms = run->time_ms,
            .deliveries = 1};
    }
    piece->bytes += bytes;
    piece->count++;
    if (bytes > least) {
        end_piece(feed); /* it may be too large for some */
    }
}

static void
add_run(struct feed *feed, const struct store_run *run)
{
    uint64_t now_ms = feed->cursor->consumers->core->wall_ms;
    const uint8_t *record = run->records;
    for (uint32_t i = 0; i < run->count && !feed->stopped; i++) {
        size_t bytes = wire_frame_bytes(record);
        uint64_t sequence = run->first_seq + i;
        if (!record_is_wanted(&feed->filter, record)) {
            skip(feed, sequence, 1, CONSUMER_SKIP_FILTER);
        } else if (record_is_expired(record, run->time_ms, now_ms)) {
            skip(feed, sequence, 1, CONSUMER_SKIP_EXPIRED);
        } else {
            add_record(feed, run, sequence, record, bytes);
        }
        record += bytes;
    }
}

/* How many bytes to read for a message that is given, from how it was. */
static void
learn(struct cursor *cursor, uint64_t given, uint64_t bytes)
{
    if (given > 0) {
        uint64_t each = bytes / given + 1;
        cursor->bytes_each = (cursor->bytes_each * 3 + each) / 4;
    } else if (bytes > 0) {
        cursor->bytes_each *= 2; /* nothing of it matched */
    }
    if (cursor->bytes_each > READ_BYTES_MAX) {
        cursor->bytes_each = READ_BYTES_MAX;
    }
}

/* Returns whether the end of the stream was seen. */
static bool
feed_batch(struct cursor *cursor, const struct store_batch *batch)
{
    const struct consumer_settings *settings =
        consumer_get_settings(cursor->state);
    struct feed feed = {.cursor = cursor,
        .filter = {.filter = {settings->filter.bytes, settings->filter.len}},
        .damaged = batch->damaged};
    uint64_t bytes = 0;
    for (size_t i = 0; i < batch->run_count && !feed.stopped; i++) {
        const struct store_run *run = &batch->runs[i];
        if (feed.piece.count == 0 ||
            feed.piece.sequence + feed.piece.count != run->first_seq) {
            skip_missing(&feed, run->first_seq);
        }
        add_run(&feed, run);
        bytes += run->bytes;
    }
    skip_missing(&feed, batch->next);
    if (feed.no_memory) {
        cursor_pause(cursor, CONSUMER_PAUSE_MS, cursor->trouble);
    }
    if (!feed.stopped) {
        learn(cursor, feed.given, bytes);
    }
    return batch->run_count == 0 && !feed.stopped;
}

/* ---- at the end ---------------------------------------------------------- */

void
cursor_stop_waiting(struct cursor *cursor)
{
    if (cursor->is_waiting) {
        cursor->is_waiting = false;
        TAILQ_REMOVE(&cursor->source->waiting, cursor, waiting);
    }
}

static void follow(struct source *source);

static void
on_follow(void *arg, const struct store_batch *batch)
{
    struct source *source = arg;
    struct cursor_list waiting = TAILQ_HEAD_INITIALIZER(waiting);
    struct cursor *cursor;
    uint32_t fed = 0;
    source->is_following = false;
    if (source->cursors == 0) {
        LIST_REMOVE(source, link);
        free(source);
        return;
    }
    bool ok = batch->status == STORE_OK;
    TAILQ_CONCAT(&waiting, &source->waiting, waiting);
    while ((cursor = TAILQ_FIRST(&waiting)) != NULL) {
        TAILQ_REMOVE(&waiting, cursor, waiting);
        cursor->is_waiting = false;
        if (!ok) {
            cursor_pause(cursor, CONSUMER_RETRY_MS,
                batch->status == STORE_NOT_FOUND
                    ? NULL
                    : "the stream could not be read");
        } else if (fed++ < FOLLOWERS_MAX && batch->run_count > 0 &&
                   consumer_next_sequence(cursor->state) == source->from) {
            (void)feed_batch(cursor, batch);
        }
        cursor_touch(cursor);
    }
}

static void
follow(struct source *source)
{
    struct cursor *first = TAILQ_FIRST(&source->waiting);
    if (source->is_following || first == NULL) {
        return;
    }
    struct store_port *port = source->consumers->core->options.store;
    struct store_stream_info info = {0};
    (void)store_stream_info(port, source->stream, &info);
    source->from = consumer_next_sequence(first->state);
    if (source->from > info.last_seq) {
        /* It may begin far behind the end, and others wait for what is next. */
        source->from = info.last_seq + 1;
    }
    source->is_following =
        store_read(port, source->stream, source->from, FOLLOW_BYTES, true,
            on_follow, source) == STORE_OK;
    if (!source->is_following) {
        cursor_stop_waiting(first);
        cursor_pause(first, CONSUMER_PAUSE_MS, first->trouble);
    }
}

static void
wait_at_end(struct cursor *cursor)
{
    if (!cursor->is_waiting) {
        cursor->is_waiting = true;
        TAILQ_INSERT_TAIL(&cursor->source->waiting, cursor, waiting);
        follow(cursor->source);
    }
}

struct source *
source_of(struct consumers *consumers, uint32_t stream)
{
    struct source *source;
    LIST_FOREACH(source, &consumers->sources, link)
    {
        if (source->stream == stream) {
            return source;
        }
    }
    source = calloc(1, sizeof *source);
    if (source != NULL) {
        source->consumers = consumers;
        source->stream = stream;
        TAILQ_INIT(&source->waiting);
        LIST_INSERT_HEAD(&consumers->sources, source, link);
    }
    return source;
}

void
source_leave(struct cursor *cursor)
{
    struct source *source = cursor->source;
    cursor_stop_waiting(cursor);
    cursor->source = NULL;
    if (--source->cursors == 0 && !source->is_following) {
        LIST_REMOVE(source, link);
        free(source);
    }
}

/* ---- once more ----------------------------------------------------------- */

/* Those that are not there any more, up to `until`, leave the list. */
static void
forget_missing(struct cursor *cursor, uint64_t until, uint64_t damaged)
{
    while (cursor->again_count > 0 && cursor->again[0] < until) {
        consumer_gone(cursor->state, cursor->again[0],
            damaged > 0 ? CONSUMER_SKIP_DAMAGED : CONSUMER_SKIP_GONE);
        cursor->again_count--;
        memmove(cursor->again, cursor->again + 1,
            cursor->again_count * sizeof cursor->again[0]);
    }
}

static void
fail_again(struct cursor *cursor, uint64_t delay_ms)
{
    uint64_t now_ms = cursor->consumers->core->now_ms;
    for (uint32_t i = 0; i < cursor->again_count; i++) {
        consumer_fetch_failed(
            cursor->state, cursor->again[i], delay_ms, now_ms);
    }
    cursor->again_count = 0;
}

/* The first of the list is at hand. False: memory is out. */
static bool
give_again(struct cursor *cursor, const struct store_run *run,
    const uint8_t *record, size_t bytes)
{
    struct consumers *consumers = cursor->consumers;
    struct core *core = consumers->core;
    struct piece piece = {.records = record,
        .bytes = bytes,
        .sequence = cursor->again[0],
        .time_ms = run->time_ms,
        .count = 1};
    if (record_is_expired(record, run->time_ms, core->wall_ms)) {
        consumer_gone(cursor->state, piece.sequence, CONSUMER_SKIP_EXPIRED);
    } else {
        if (!prepare(consumers, bytes)) {
            return false;
        }
        struct consumer_attachment *place = consumer_redeliver(
            cursor->state, piece.sequence, core->now_ms, &piece.deliveries);
        if (place != NULL) {
            give(cursor, consumer_owner(place), &piece);
        }
    }
    cursor->again_count--;
    memmove(cursor->again, cursor->again + 1,
        cursor->again_count * sizeof cursor->again[0]);
    return true;
}

static bool
give_run_again(
    struct cursor *cursor, const struct store_run *run, uint64_t damaged)
{
    const uint8_t *record = run->records;
    forget_missing(cursor, run->first_seq, damaged);
    for (uint32_t i = 0; i < run->count && cursor->again_count > 0; i++) {
        size_t bytes = wire_frame_bytes(record);
        if (cursor->again[0] == run->first_seq + i &&
            !give_again(cursor, run, record, bytes)) {
            return false;
        }
        record += bytes;
    }
    return true;
}

static void
again_on_batch(struct cursor *cursor, const struct store_batch *batch)
{
    for (size_t i = 0; i < batch->run_count; i++) {
        if (!give_run_again(cursor, &batch->runs[i], batch->damaged)) {
            fail_again(cursor, CONSUMER_PAUSE_MS);
            return;
        }
    }
    uint64_t until = batch->run_count == 0 ? UINT64_MAX : batch->next;
    forget_missing(cursor, until, batch->damaged);
}

/* What is to be fetched for redelivery, into the list, rising. */
static bool
gather_again(struct cursor *cursor)
{
    uint64_t now_ms = cursor->consumers->core->now_ms;
    uint64_t sequence;
    while (cursor->again_count < AGAIN_MAX &&
           consumer_next_redelivery(cursor->state, now_ms, &sequence)) {
        uint32_t i = cursor->again_count++;
        for (; i > 0 && cursor->again[i - 1] > sequence; i--) {
            cursor->again[i] = cursor->again[i - 1];
        }
        cursor->again[i] = sequence;
    }
    return cursor->again_count > 0;
}

/* ---- reading ------------------------------------------------------------- */

static void
on_failed_batch(
    struct cursor *cursor, enum reading reading, enum store_status status)
{
    bool passes = status == STORE_AGAIN || status == STORE_MEMORY;
    uint64_t delay_ms = passes ? CONSUMER_PAUSE_MS : CONSUMER_RETRY_MS;
    if (reading == READ_AGAIN) {
        fail_again(cursor, delay_ms);
    }
    cursor_pause(
        cursor, delay_ms, passes ? NULL : "the stream could not be read");
}

static void
on_batch(void *arg, const struct store_batch *batch)
{
    struct cursor *cursor = arg;
    enum reading reading = cursor->reading;
    cursor->reading = READ_NOTHING;
    cursor->consumers->reads--;
    if (!cursor_answered(cursor)) {
        return;
    }
    if (reading == READ_DEAD) {
        dead_on_batch(cursor, batch);
    } else if (batch->status != STORE_OK) {
        on_failed_batch(cursor, reading, batch->status);
    } else if (reading == READ_AGAIN) {
        cursor->trouble = NULL;
        again_on_batch(cursor, batch);
    } else if (consumer_next_sequence(cursor->state) == cursor->read_from) {
        cursor->trouble = NULL;
        if (feed_batch(cursor, batch)) {
            wait_at_end(cursor);
        }
    }
    cursor_touch(cursor);
}

static size_t
read_bytes(const struct cursor *cursor, uint64_t messages)
{
    uint64_t most = READ_BYTES_MAX;
    uint64_t bytes = messages > most / cursor->bytes_each
                         ? most
                         : messages * cursor->bytes_each;
    return bytes < READ_BYTES_MIN ? READ_BYTES_MIN : (size_t)bytes;
}

static void
read_at(
    struct cursor *cursor, enum reading reading, uint64_t from, size_t bytes)
{
    struct consumers *consumers = cursor->consumers;
    enum store_status status = store_read(consumers->core->options.store,
        cursor->source->stream, from, bytes, false, on_batch, cursor);
    if (status == STORE_OK) {
        cursor->reading = reading;
        cursor->read_from = from;
        cursor->calls++;
        consumers->reads++;
        return;
    }
    struct store_batch batch = {.status = status};
    if (reading == READ_DEAD) {
        dead_on_batch(cursor, &batch);
    } else {
        on_failed_batch(cursor, reading, status);
    }
}

static bool
wants_new(const struct cursor *cursor)
{
    return !cursor->is_waiting && !TAILQ_EMPTY(&cursor->seats) &&
           consumer_room(cursor->state) > 0;
}

static void
read_new(struct cursor *cursor)
{
    cursor->prefers_new = false;
    read_at(cursor, READ_NEW, consumer_next_sequence(cursor->state),
        read_bytes(cursor, consumer_room(cursor->state)));
}

static void
read_again(struct cursor *cursor)
{
    uint64_t span =
        cursor->again[cursor->again_count - 1] - cursor->again[0] + 1;
    cursor->prefers_new = true;
    read_at(cursor, READ_AGAIN, cursor->again[0], read_bytes(cursor, span));
}

void
feed_read(struct cursor *cursor)
{
    struct consumers *consumers = cursor->consumers;
    if (cursor->reading != READ_NOTHING ||
        consumers->core->now_ms < cursor->pause_ms) {
        return;
    }
    if (consumers->reads >= CONSUMER_READS_MAX) {
        cursor_touch(cursor); /* its turn comes */
        return;
    }
    if (dead_begin(cursor)) {
        read_at(cursor, READ_DEAD, cursor->dead.sequence, READ_BYTES_MIN);
    } else if (cursor->prefers_new && wants_new(cursor)) {
        read_new(cursor);
    } else if (gather_again(cursor)) {
        read_again(cursor);
    } else if (wants_new(cursor)) {
        read_new(cursor);
    }
}
