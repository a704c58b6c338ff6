/* SPDX-License-Identifier: MIT
 *
 * Reading streams for subscriptions; see reader.h. */
#include "reader.h"

#include "capture.h"
#include "session.h"

#include "store.h"

#include <stdlib.h>
#include <string.h>

/* So much is read at once, and read on when no more than that is queued; less
 * where less than twice as much may be queued. */
#define READ_BYTES (256u * 1024u)

static void pump(struct reader *reader);

/* ---- life ---------------------------------------------------------------- */

static struct reader *
reader_new(struct session *session, struct subscription *subscription,
    struct capture *capture, const struct broker_consume *consume)
{
    struct reader *reader = calloc(1, sizeof *reader + consume->filter.len);
    if (reader == NULL) {
        return NULL;
    }
    reader->core = session->core;
    reader->subscription = subscription;
    reader->capture = capture_ref(capture);
    uint64_t most = session->output.max_bytes / 2;
    reader->read_bytes = most < READ_BYTES ? (size_t)most : READ_BYTES;
    reader->ends_there = (consume->options & BROKER_CONSUME_END) != 0;
    reader->filter_bytes = (uint16_t)consume->filter.len;
    if (consume->filter.len > 0) {
        memcpy(reader->filter, consume->filter.data, consume->filter.len);
    }
    subscription->reader = reader;
    LIST_INSERT_HEAD(&session->remote->readers, reader, of_session);
    return reader;
}

static void
reader_free(struct reader *reader)
{
    capture_unref(reader->capture);
    free(reader);
}

static void
wait_no_longer(struct reader *reader)
{
    if (reader->is_waiting) {
        reader->is_waiting = false;
        LIST_REMOVE(reader, waiting);
    }
}

void
reader_close(struct subscription *subscription)
{
    struct reader *reader = subscription->reader;
    if (reader == NULL) {
        return;
    }
    subscription->reader = NULL;
    reader->subscription = NULL;
    LIST_REMOVE(reader, of_session);
    wait_no_longer(reader);
    if (!reader->is_reading) {
        reader_free(reader);
        return;
    }
    /* When the store has answered. */
    LIST_INSERT_HEAD(&reader->core->readers_ending, reader, waiting);
}

void
readers_close(struct session *session)
{
    struct reader *reader;
    while ((reader = LIST_FIRST(&session->remote->readers)) != NULL) {
        reader_close(reader->subscription);
    }
}

void
readers_drop_all(struct core *core)
{
    while (!LIST_EMPTY(&core->readers_ending)) {
        struct reader *reader = LIST_FIRST(&core->readers_ending);
        LIST_REMOVE(reader, waiting);
        reader_free(reader);
    }
}

static void
wait_for_memory(struct reader *reader)
{
    if (!reader->is_waiting) {
        reader->is_waiting = true;
        LIST_INSERT_HEAD(&reader->core->readers_waiting, reader, waiting);
    }
}

bool
readers_retry(struct core *core)
{
    LIST_HEAD(, reader) all = LIST_HEAD_INITIALIZER(all);
    struct reader *reader;
    while ((reader = LIST_FIRST(&core->readers_waiting)) != NULL) {
        LIST_REMOVE(reader, waiting);
        LIST_INSERT_HEAD(&all, reader, waiting);
    }
    while ((reader = LIST_FIRST(&all)) != NULL) {
        wait_no_longer(reader);
        pump(reader);
    }
    return !LIST_EMPTY(&core->readers_waiting);
}

/* ---- the end ------------------------------------------------------------- */

/* Everything was sent: UNSUBACK when the queue is empty. */
static void
end_orderly(struct subscription *subscription)
{
    struct session *session = subscription->session;
    if (!subscription->draining) {
        subscription->draining = true;
        session->draining_count++;
    }
    subscriptions_drained(session);
}

/* `text` may be NULL for the code's own text. */
static void
end_with(struct subscription *subscription, enum broker_status code,
    const char *text)
{
    struct session *session = subscription->session;
    struct refusal refusal = {.code = code,
        .id = subscription->id,
        .frame_type = BROKER_FRAME_CONSUME,
        .text = text,
        .ends_subscription = true};
    output_forget(&session->output, subscription);
    session_refuse(session, &refusal);
    subscription_remove(subscription);
}

void
readers_stream_removed(struct core *core, uint32_t stream)
{
    struct session *session;
    TAILQ_FOREACH(session, &core->sessions, all)
    {
        struct reader *reader = session->remote == NULL
                                    ? NULL
                                    : LIST_FIRST(&session->remote->readers);
        while (reader != NULL) {
            struct reader *next = LIST_NEXT(reader, of_session);
            if (reader->capture->stream == stream && reader->is_open) {
                end_with(reader->subscription, BROKER_E_UNKNOWN_STREAM,
                    "the stream was removed");
            }
            reader = next;
        }
    }
}

bool
reader_is_permitted(const struct session *session,
    const struct capture *capture, struct broker_bytes filter,
    const char **rule)
{
    if (session->rights == NULL) {
        return true;
    }
    if (filter.len > 0) {
        return rights_may_subscribe(session->rights, filter, rule) ==
               RIGHTS_GRANTED;
    }
    for (size_t i = 0; i < capture->filter_count; i++) {
        if (rights_may_subscribe(session->rights, capture->filters[i], rule) !=
            RIGHTS_GRANTED) {
            return false;
        }
    }
    return true;
}

void
readers_review(struct session *session)
{
    struct reader *reader = LIST_FIRST(&session->remote->readers);
    while (reader != NULL) {
        struct reader *next = LIST_NEXT(reader, of_session);
        struct broker_bytes filter = {reader->filter, reader->filter_bytes};
        const struct capture *capture =
            core_find_capture_of(session->core, reader->capture->stream);
        const char *rule = NULL;
        if (reader->is_open && capture != NULL &&
            !reader_is_permitted(session, capture, filter, &rule)) {
            session->core->totals.revoked_subscriptions++;
            end_with(reader->subscription, BROKER_E_REVOKED, rule);
        }
        reader = next;
    }
}

/* ---- reading ------------------------------------------------------------- */

/* Queue what was made; the reference is used up. */
static void
queue(struct reader *reader, const struct output_run *run)
{
    struct subscription *subscription = reader->subscription;
    struct session *session = subscription->session;
    if (run->block == NULL) {
        return;
    }
    (void)output_append(&session->output, &subscription->own, run);
    block_unref(run->block);
    reader->core->totals.read_messages += run->messages;
    reader->core->work += 1 + run->bytes / 4096;
    session_announce_output(session);
}

static void
on_end(struct reader *reader)
{
    struct output_run run;
    if (reader->at_end) {
        return;
    }
    if (!reader_fill_end(reader, &run)) {
        wait_for_memory(reader);
        return;
    }
    reader->at_end = true;
    queue(reader, &run);
    if (reader->ends_there) {
        end_orderly(reader->subscription); /* frees the reader, if at once */
    }
}

static void
on_batch(struct reader *reader, const struct store_batch *batch)
{
    struct output_run run;
    enum reader_filled filled = reader_fill(reader, batch, &run);
    if (filled == READER_NO_ROOM &&
        output_has_no_data(&reader->subscription->session->output)) {
        reader->read_bytes = reader->read_bytes / 2 + 1;
    }
    if (filled != READER_FILLED) {
        wait_for_memory(reader);
        return;
    }
    queue(reader, &run);
    bool is_end = batch->run_count == 0;
    reader->next = batch->next;
    if (is_end && !reader->at_end) {
        on_end(reader);
    } else {
        pump(reader);
    }
}

static void
on_read(void *arg, const struct store_batch *batch)
{
    struct reader *reader = arg;
    struct subscription *subscription = reader->subscription;
    reader->is_reading = false;
    if (subscription == NULL) {
        LIST_REMOVE(reader, waiting);
        reader_free(reader);
        return;
    }
    if (subscription->session->state != SESSION_OPEN ||
        subscription->draining) {
        return;
    }
    switch (batch->status) {
    case STORE_OK:
        on_batch(reader, batch);
        break;
    case STORE_NOT_FOUND:
        end_with(subscription, BROKER_E_UNKNOWN_STREAM, NULL);
        break;
    case STORE_MEMORY:
    case STORE_AGAIN:
        wait_for_memory(reader);
        break;
    default:
        end_with(subscription, BROKER_E_STORAGE,
            "the stream could not be read; see the broker's log");
        break;
    }
}

static bool
has_room(const struct reader *reader)
{
    const struct output *output = &reader->subscription->session->output;
    size_t bytes = reader->read_bytes;
    return output->bytes <= bytes && output_fits(output, bytes + bytes / 4);
}

/* Read on, if it may. */
static void
pump(struct reader *reader)
{
    struct session *session = reader->subscription->session;
    if (reader->is_reading || reader->is_waiting || !reader->is_open ||
        session->state != SESSION_OPEN || reader->subscription->draining) {
        return;
    }
    if (!has_room(reader)) {
        if (output_has_no_data(&session->output)) {
            wait_for_memory(reader); /* nothing will leave the queue */
        }
        return;
    }
    enum store_status status =
        store_read(reader->core->options.store, reader->capture->stream,
            reader->next, reader->read_bytes, reader->at_end, on_read, reader);
    if (status == STORE_OK) {
        reader->is_reading = true;
    } else {
        wait_for_memory(reader);
    }
}

void
readers_look(struct session *session)
{
    struct reader *reader = LIST_FIRST(&session->remote->readers);
    while (reader != NULL) {
        struct reader *next = LIST_NEXT(reader, of_session);
        pump(reader);
        reader = next;
    }
}

/* ---- opening ------------------------------------------------------------- */

static void
send_reply(struct reader *reader)
{
    struct session *session = reader->subscription->session;
    struct store_stream_info info = {.first_seq = 1};
    uint8_t fields[BROKER_NAME_BYTES_MAX + 4];
    size_t field_bytes = 0;
    (void)store_stream_info(
        reader->core->options.store, reader->capture->stream, &info);
    enum broker_status status = broker_tlv_put(fields, sizeof fields,
        &field_bytes, BROKER_TAG_STREAM, reader->capture->name);
    field_bytes = status == BROKER_OK ? field_bytes : 0;
    struct broker_consume_reply reply = {.id = reader->subscription->id,
        .first_sequence = info.first_seq,
        .last_sequence = info.last_seq,
        .next_sequence = reader->next,
        .ack = BROKER_ACK_READER,
        .tlvs = {fields, field_bytes}};
    size_t size = broker_consume_reply_size(&reply);
    uint8_t *dst = session_control(session, size);
    if (dst != NULL &&
        broker_consume_reply_encode(&reply, dst, size, &size) == BROKER_OK) {
        session_control_done(session, size);
    }
}

static void
begin(struct reader *reader, uint64_t next)
{
    reader->next = next == 0 ? 1 : next;
    reader->is_open = true;
    send_reply(reader);
    pump(reader);
}

/* The session was suspended until now, so that nothing overtakes the answer. */
static void
on_seek(void *arg, const struct store_batch *batch)
{
    struct reader *reader = arg;
    struct subscription *subscription = reader->subscription;
    reader->is_reading = false;
    if (subscription == NULL) {
        LIST_REMOVE(reader, waiting);
        reader_free(reader);
        return;
    }
    struct session *session = subscription->session;
    session->remote->is_suspended = false;
    if (session->state == SESSION_OPEN) {
        if (batch->status == STORE_OK) {
            begin(reader, batch->next);
        } else {
            end_with(subscription, durable_status((int)batch->status), NULL);
        }
    }
    session_resume(session);
}

static bool
seek(struct reader *reader, uint64_t time_ms)
{
    if (store_seek_time(reader->core->options.store, reader->capture->stream,
            time_ms, on_seek, reader) != STORE_OK) {
        return false;
    }
    reader->is_reading = true;
    reader->subscription->session->remote->is_suspended = true;
    return true;
}

/* Where to begin; false: by time, which has to be looked up. */
static bool
first_of(const struct broker_consume *consume,
    const struct store_stream_info *info, uint64_t *next)
{
    uint64_t end = info->last_seq + 1;
    switch (consume->start) {
    case BROKER_START_FIRST:
        *next = info->first_seq;
        return true;
    case BROKER_START_LAST:
        *next = info->last_seq;
        return true;
    case BROKER_START_SEQUENCE:
        *next = consume->value;
        return true;
    case BROKER_START_COUNT:
        *next = consume->value < end ? end - consume->value : 1;
        *next = *next < info->first_seq ? info->first_seq : *next;
        return true;
    case BROKER_START_TIME:
    case BROKER_START_AGO:
        return false;
    default:
        *next = end;
        return true;
    }
}

void
reader_open(struct session *session, struct subscription *subscription,
    struct capture *capture, const struct broker_consume *consume)
{
    struct core *core = session->core;
    struct reader *reader = reader_new(session, subscription, capture, consume);
    struct store_stream_info info;
    uint64_t next;
    if (reader == NULL) {
        end_with(subscription, BROKER_E_MEMORY, NULL);
        return;
    }
    if (!store_stream_info(core->options.store, capture->stream, &info)) {
        end_with(subscription, BROKER_E_UNKNOWN_STREAM, NULL);
        return;
    }
    if (first_of(consume, &info, &next)) {
        begin(reader, next);
        return;
    }
    uint64_t time_ms = consume->value;
    if (consume->start == BROKER_START_AGO) {
        time_ms = time_ms < core->wall_ms ? core->wall_ms - time_ms : 0;
    }
    if (!seek(reader, time_ms)) {
        end_with(subscription, BROKER_E_MEMORY, NULL);
    }
}
