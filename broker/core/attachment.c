/* SPDX-License-Identifier: MIT
 *
 * The session's side of durable consumers; see attachment.h. */
#include "attachment.h"

#include "consumers.h"
#include "session.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* So much is queued for one attachment, and at most a part of what the session
 * may have queued. */
#define ROOM_BYTES (512u * 1024u)
#define ROOM_PART  4u
/* Home is told when a part of that is free again. */
#define FREE_PART     8u
#define SETTLED_FIRST 4u

/* ---- life ---------------------------------------------------------------- */

static void
touch(struct attachment *attachment)
{
    if (!attachment->is_touched) {
        attachment->is_touched = true;
        TAILQ_INSERT_TAIL(
            &attachment->core->attachments_touched, attachment, touched);
    }
}

static void
attachment_free(struct attachment *attachment)
{
    if (attachment->is_touched) {
        TAILQ_REMOVE(
            &attachment->core->attachments_touched, attachment, touched);
    }
    free(attachment->settled);
    free(attachment->parked);
    free(attachment);
}

static struct attachment *
attachment_new(struct session *session, const struct broker_consume *consume)
{
    size_t bytes = consume->consumer.len;
    struct attachment *attachment = calloc(1, sizeof *attachment + bytes);
    if (attachment == NULL) {
        return NULL;
    }
    memcpy(attachment->text, consume->consumer.data, bytes);
    attachment->name = (struct broker_bytes){attachment->text, bytes};
    attachment->core = session->core;
    attachment->session_id = session->id;
    attachment->id = consume->id;
    attachment->window = consume->window;
    attachment->max_body_bytes = session->max_body_bytes;
    uint64_t part = session->output.max_bytes / ROOM_PART;
    attachment->room_bytes = part < ROOM_BYTES ? part : ROOM_BYTES;
    return attachment;
}

enum broker_status
attachment_open(struct session *session, const struct broker_consume *consume)
{
    struct subscription *subscription =
        subscription_new(session, consume->id, BROKER_OVERFLOW_BLOCK);
    if (subscription == NULL) {
        return BROKER_E_MEMORY;
    }
    struct attachment *attachment = attachment_new(session, consume);
    struct letter *letter = attachment == NULL
                                ? NULL
                                : exchange_write(session->core->exchange,
                                      EXCHANGE_HOME, LETTER_ATTACH);
    if (letter == NULL) {
        free(attachment);
        subscription_remove(subscription);
        return BROKER_E_MEMORY;
    }
    letter->attach.attachment = attachment;
    attachment->subscription = subscription;
    attachment->is_asking = true;
    subscription->attachment = attachment;
    LIST_INSERT_HEAD(&session->remote->attachments, attachment, of_session);
    /* Nothing may overtake the answer. */
    session->remote->is_suspended = true;
    return BROKER_OK;
}

static void
drop_parked(struct attachment *attachment)
{
    while (attachment->parked_first < attachment->parked_end) {
        block_unref(attachment->parked[attachment->parked_first++].block);
    }
    attachment->parked_first = attachment->parked_end = 0;
}

void
attachment_close(struct subscription *subscription)
{
    struct attachment *attachment = subscription->attachment;
    if (attachment == NULL) {
        return;
    }
    subscription->attachment = NULL;
    attachment->subscription = NULL;
    attachment->is_open = false;
    LIST_REMOVE(attachment, of_session);
    drop_parked(attachment);
    if (attachment->seat != NULL) {
        touch(attachment); /* it is to be left */
    } else if (!attachment->is_asking) {
        attachment_free(attachment);
    }
}

void
attachments_close(struct session *session)
{
    struct attachment *attachment;
    while ((attachment = LIST_FIRST(&session->remote->attachments)) != NULL) {
        attachment_close(attachment->subscription);
    }
}

/* `text` may be NULL for the code's own text. */
static void
end_with(
    struct attachment *attachment, enum broker_status code, const char *text)
{
    struct subscription *subscription = attachment->subscription;
    struct session *session = subscription->session;
    struct refusal refusal = {.code = code,
        .id = subscription->id,
        .frame_type = BROKER_FRAME_CONSUME,
        .text = text,
        .ends_subscription = attachment->is_open};
    output_forget(&session->output, subscription);
    session_refuse(session, &refusal);
    subscription_remove(subscription);
}

/* ---- what is in the queue ------------------------------------------------ */

static struct taken *
taken_at(struct attachment *attachment, uint32_t i)
{
    return &attachment->taken[(attachment->taken_first + i) % TAKEN_ENTRIES];
}

static void
note_taken(struct attachment *attachment, const struct output_run *run)
{
    uint32_t count = attachment->taken_count;
    struct taken *last = count == 0 ? NULL : taken_at(attachment, count - 1);
    attachment->entered += run->messages;
    if (last != NULL &&
        (last->bytes + run->bytes <= TAKEN_MERGE || count == TAKEN_ENTRIES)) {
        last->end = attachment->entered;
        last->bytes += run->bytes;
        return;
    }
    *taken_at(attachment, count) =
        (struct taken){attachment->entered, run->bytes};
    attachment->taken_count++;
}

static void
note_left(struct attachment *attachment)
{
    uint64_t left =
        attachment->entered - attachment->subscription->books.queued;
    while (
        attachment->taken_count > 0 && taken_at(attachment, 0)->end <= left) {
        attachment->free_bytes += taken_at(attachment, 0)->bytes;
        attachment->taken_first = (attachment->taken_first + 1) % TAKEN_ENTRIES;
        attachment->taken_count--;
    }
    if (attachment->free_bytes > 0 &&
        (attachment->taken_count == 0 ||
            attachment->free_bytes >= attachment->room_bytes / FREE_PART)) {
        touch(attachment);
    }
}

/* Queue it; its reference is used up. False: there was no memory, and the
 * attachment has ended. */
static bool
enter(struct attachment *attachment, const struct output_run *run)
{
    struct subscription *subscription = attachment->subscription;
    struct session *session = subscription->session;
    struct core *core = attachment->core;
    enum output_result result =
        output_append(&session->output, &subscription->own, run);
    block_unref(run->block);
    if (result != OUTPUT_QUEUED) {
        end_with(attachment, BROKER_E_MEMORY, NULL);
        return false;
    }
    note_taken(attachment, run);
    core->totals.read_messages += run->messages;
    core->work += 1 + run->bytes / 4096;
    session_announce_output(session);
    return true;
}

static bool
is_parked(const struct attachment *attachment)
{
    return attachment->parked_first < attachment->parked_end;
}

/* Not now. What does not fit into an empty queue never will. */
static bool
has_to_wait(const struct attachment *attachment, size_t bytes)
{
    const struct output *output = &attachment->subscription->session->output;
    return !output_fits(output, bytes) && !output_has_no_data(output);
}

static bool
park(struct attachment *attachment, const struct output_run *run)
{
    if (attachment->parked_end == attachment->parked_capacity) {
        uint32_t capacity = attachment->parked_capacity * 2 + 4;
        struct output_run *parked =
            realloc(attachment->parked, capacity * sizeof *parked);
        if (parked == NULL) {
            return false;
        }
        attachment->parked = parked;
        attachment->parked_capacity = capacity;
    }
    attachment->parked[attachment->parked_end++] = *run;
    return true;
}

/* False: the attachment has ended. */
static bool
unpark(struct attachment *attachment)
{
    while (is_parked(attachment)) {
        struct output_run run = attachment->parked[attachment->parked_first];
        if (has_to_wait(attachment, run.bytes)) {
            return true;
        }
        attachment->parked_first++;
        if (!enter(attachment, &run)) {
            return false;
        }
    }
    attachment->parked_first = attachment->parked_end = 0;
    return true;
}

/* Something left the queue, or was dropped from it for want of memory: then
 * home cannot be told what, and all comes back. */
static void
look(struct attachment *attachment)
{
    struct subscription *subscription = attachment->subscription;
    if (subscription->draining) {
        return;
    }
    if (books_dropped(&subscription->books) > 0) {
        end_with(attachment, BROKER_E_MEMORY, NULL);
        return;
    }
    note_left(attachment);
    (void)unpark(attachment);
}

void
attachments_look(struct session *session)
{
    struct attachment *attachment = LIST_FIRST(&session->remote->attachments);
    while (attachment != NULL) {
        struct attachment *next = LIST_NEXT(attachment, of_session);
        if (attachment->is_open) {
            look(attachment);
        }
        attachment = next;
    }
}

/* ---- what the peer says -------------------------------------------------- */

static bool
add_settled(struct attachment *attachment, const struct settled *settled)
{
    uint32_t count = attachment->settled_count;
    struct settled *last = count == 0 ? NULL : &attachment->settled[count - 1];
    if (last != NULL && last->verb == settled->verb &&
        last->delay_ms == settled->delay_ms &&
        last->last + 1 == settled->first && last->verb != SETTLE_ACK_UP_TO) {
        last->last = settled->last;
        return true;
    }
    if (count == attachment->settled_capacity) {
        uint32_t capacity = count == 0 ? SETTLED_FIRST : count * 2;
        struct settled *more =
            realloc(attachment->settled, capacity * sizeof *more);
        if (more == NULL) {
            return false;
        }
        attachment->settled = more;
        attachment->settled_capacity = capacity;
    }
    attachment->settled[attachment->settled_count++] = *settled;
    return true;
}

static enum settle_verb
verb_of(const struct broker_settle *settle)
{
    switch (settle->type) {
    case BROKER_FRAME_ACK:
        return settle->kind == BROKER_ACK_UP_TO ? SETTLE_ACK_UP_TO : SETTLE_ACK;
    case BROKER_FRAME_NACK:
        return settle->kind == BROKER_NACK_BURY ? SETTLE_BURY : SETTLE_AGAIN;
    default:
        return SETTLE_TOUCH;
    }
}

void
attachment_settle(
    struct subscription *subscription, const struct broker_settle *settle)
{
    struct attachment *attachment = subscription->attachment;
    struct settled settled = {
        .verb = verb_of(settle), .delay_ms = settle->delay_ms};
    for (size_t i = 0; i < settle->ranges.count; i++) {
        broker_ranges_get(settle->ranges, i, &settled.first, &settled.last);
        if (!add_settled(attachment, &settled)) {
            session_abort(subscription->session);
            return;
        }
    }
    touch(attachment);
}

/* ---- letters ------------------------------------------------------------- */

static void
write_settled(struct attachment *attachment)
{
    exchange_write(attachment->core->exchange, EXCHANGE_HOME, LETTER_SETTLE)
        ->settle = (struct letter_settle){.seat = attachment->seat,
        .settled = attachment->settled,
        .count = attachment->settled_count};
    attachment->settled = NULL;
    attachment->settled_count = attachment->settled_capacity = 0;
}

/* There is room for this. */
static void
write_all(struct attachment *attachment)
{
    struct exchange *exchange = attachment->core->exchange;
    if (attachment->settled_count > 0) {
        write_settled(attachment);
    }
    struct letter_taken taken = {attachment->seat, attachment->free_bytes};
    if (attachment->subscription == NULL) {
        exchange_write(exchange, EXCHANGE_HOME, LETTER_DETACH)->taken = taken;
        attachment->seat = NULL;
    } else if (attachment->free_bytes > 0) {
        exchange_write(exchange, EXCHANGE_HOME, LETTER_TAKEN)->taken = taken;
    }
    attachment->free_bytes = 0;
}

void
attachments_write(struct core *core)
{
    struct attachment *attachment;
    while ((attachment = TAILQ_FIRST(&core->attachments_touched)) != NULL &&
           exchange_has_room_for(core->exchange, EXCHANGE_HOME)) {
        TAILQ_REMOVE(&core->attachments_touched, attachment, touched);
        attachment->is_touched = false;
        write_all(attachment);
    }
}

static void
send_reply(struct attachment *attachment, const struct letter_attach *letter,
    struct broker_bytes stream)
{
    struct session *session = attachment->subscription->session;
    uint8_t fields[BROKER_NAME_BYTES_MAX + 4];
    size_t field_bytes = 0;
    enum broker_status status = broker_tlv_put(
        fields, sizeof fields, &field_bytes, BROKER_TAG_STREAM, stream);
    field_bytes = status == BROKER_OK ? field_bytes : 0;
    struct broker_consume_reply reply = {.id = attachment->id,
        .first_sequence = letter->first_sequence,
        .last_sequence = letter->last_sequence,
        .next_sequence = letter->next_sequence,
        .ack = letter->ack,
        .window = letter->window,
        .tlvs = {fields, field_bytes}};
    size_t size = broker_consume_reply_size(&reply);
    uint8_t *dst = session_control(session, size);
    if (dst != NULL &&
        broker_consume_reply_encode(&reply, dst, size, &size) == BROKER_OK) {
        session_control_done(session, size);
    }
}

/* The seat is there: may the session have it? */
static void
sit(struct attachment *attachment, const struct letter_attach *letter)
{
    struct session *session = attachment->subscription->session;
    struct core *core = attachment->core;
    const char *rule = NULL;
    const struct capture *capture =
        core_find_capture_of(core, attachment->seat->stream);
    if (capture == NULL) {
        end_with(attachment, BROKER_E_UNKNOWN_STREAM, NULL);
        return;
    }
    if (!reader_is_permitted(
            session, capture, attachment->seat->filter, &rule)) {
        core->totals.denied_subscribes++;
        end_with(attachment, BROKER_E_SUBSCRIBE_DENIED, rule);
        return;
    }
    send_reply(attachment, letter, capture->name);
    attachment->is_open = true;
    attachment->free_bytes = attachment->room_bytes;
    touch(attachment);
}

static void
on_attached(const struct letter_attach *letter)
{
    struct attachment *attachment = letter->attachment;
    struct subscription *subscription = attachment->subscription;
    attachment->is_asking = false;
    attachment->seat = letter->seat;
    if (subscription == NULL) {
        if (attachment->seat == NULL) {
            attachment_free(attachment);
        } else {
            touch(attachment);
        }
        return;
    }
    struct session *session = subscription->session;
    session->remote->is_suspended = false;
    if (letter->status != BROKER_OK) {
        end_with(attachment, letter->status, NULL);
    } else {
        sit(attachment, letter);
    }
    session_resume(session);
}

static bool
on_delivery(struct core *core, const struct letter_delivery *letter)
{
    struct attachment *attachment = letter->attachment;
    struct output_run run = {.block = letter->block,
        .data = letter->data,
        .bytes = letter->bytes,
        .messages = letter->messages};
    letter->block->pool = &core->pool;
    if (!attachment->is_open || attachment->subscription->draining) {
        block_unref(letter->block); /* it comes back when the seat is left */
        return true;
    }
    if (is_parked(attachment) || has_to_wait(attachment, run.bytes)) {
        return park(attachment, &run);
    }
    (void)enter(attachment, &run);
    return true;
}

bool
attachment_on_letter(struct core *core, const struct letter *letter)
{
    struct attachment *attachment = letter->attach.attachment;
    switch (letter->kind) {
    case LETTER_DELIVERY:
        return on_delivery(core, &letter->delivery);
    case LETTER_ATTACHED:
        on_attached(&letter->attach);
        break;
    case LETTER_ENDED:
        if (attachment->is_open) {
            end_with(attachment, letter->attach.status,
                letter->attach.status == BROKER_E_UNKNOWN_CONSUMER
                    ? "the durable consumer was removed"
                    : "the stream was removed");
        }
        break;
    default: /* LETTER_DETACHED */
        assert(attachment->subscription == NULL);
        attachment_free(attachment);
        break;
    }
    return true;
}

/* ---- rights that change -------------------------------------------------- */

void
attachments_review(struct session *session)
{
    struct attachment *attachment = LIST_FIRST(&session->remote->attachments);
    while (attachment != NULL) {
        struct attachment *next = LIST_NEXT(attachment, of_session);
        const struct capture *capture =
            attachment->is_open
                ? core_find_capture_of(session->core, attachment->seat->stream)
                : NULL;
        const char *rule = NULL;
        if (capture != NULL && !reader_is_permitted(session, capture,
                                   attachment->seat->filter, &rule)) {
            session->core->totals.revoked_subscriptions++;
            end_with(attachment, BROKER_E_REVOKED, rule);
        }
        attachment = next;
    }
}
