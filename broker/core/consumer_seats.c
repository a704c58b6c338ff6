/* SPDX-License-Identifier: MIT
 *
 * Seats at durable consumers, and the letters of those who sit there; see
 * consumers.h. */
#include "consumers_internal.h"

#include "attachment.h"
#include "session.h"

#include <stdlib.h>
#include <string.h>

void
seat_set_window(struct seat *seat)
{
    uint32_t window = seat->room > 0 ? seat->window : 0;
    if (window != seat->window_now) {
        seat->window_now = window;
        consumer_set_window(seat->cursor->state, seat->place, window);
    }
}

static void
look_at_sizes(struct cursor *cursor)
{
    const struct seat *seat;
    cursor->least_max_bytes = UINT32_MAX;
    TAILQ_FOREACH(seat, &cursor->seats, link)
    {
        if (seat->max_bytes < cursor->least_max_bytes) {
            cursor->least_max_bytes = seat->max_bytes;
        }
    }
}

void
seats_fewer(struct consumers *consumers)
{
    if (--consumers->seats == 0) { /* nobody to give anything to */
        block_unref(consumers->block);
        consumers->block = NULL;
    }
}

/* ---- coming and leaving -------------------------------------------------- */

static struct seat *
seat_new(struct cursor *cursor, uint32_t from, struct attachment *attachment)
{
    const struct consumer_settings *settings =
        consumer_get_settings(cursor->state);
    size_t bytes = settings->filter.len;
    struct seat *seat = calloc(1, sizeof *seat + bytes);
    if (seat == NULL) {
        return NULL;
    }
    seat->place = consumer_attach(cursor->state, seat, 0);
    if (seat->place == NULL) {
        free(seat);
        return NULL;
    }
    if (bytes > 0) {
        memcpy(seat->text, settings->filter.bytes, bytes);
    }
    seat->filter = (struct broker_bytes){seat->text, bytes};
    seat->stream = cursor->source->stream;
    seat->cursor = cursor;
    seat->attachment = attachment;
    seat->worker = from;
    seat->window = attachment->window;
    if (seat->window == 0 || seat->window > settings->window) {
        seat->window = settings->window;
    }
    seat->max_bytes = BROKER_HEADER_BYTES + attachment->max_body_bytes;
    seat->session_id = attachment->session_id;
    TAILQ_INSERT_TAIL(&cursor->seats, seat, link);
    cursor->consumers->seats++;
    look_at_sizes(cursor);
    return seat;
}

static void
fill_attached(const struct core *core, const struct seat *seat,
    struct letter_attach *letter)
{
    static const enum broker_ack_mode modes[] = {
        [CONSUMER_ACK_NONE] = BROKER_ACK_NONE,
        [CONSUMER_ACK_CUMULATIVE] = BROKER_ACK_CUMULATIVE,
        [CONSUMER_ACK_EACH] = BROKER_ACK_EACH,
    };
    const struct consumer *state = seat->cursor->state;
    struct store_stream_info info = {.first_seq = 1};
    (void)store_stream_info(core->options.store, seat->stream, &info);
    letter->first_sequence = info.first_seq;
    letter->last_sequence = info.last_seq;
    letter->next_sequence = consumer_next_sequence(state);
    letter->window = seat->window;
    letter->ack = modes[consumer_get_settings(state)->mode];
}

static void
on_attach(struct core *core, uint32_t from, struct attachment *attachment)
{
    struct cursor *cursor = cursor_find(core->consumers, attachment->name);
    struct letter_attach letter = {
        .attachment = attachment, .status = BROKER_E_UNKNOWN_CONSUMER};
    if (cursor != NULL && cursor->is_known) {
        letter.seat = seat_new(cursor, from, attachment);
        letter.status = letter.seat == NULL ? BROKER_E_MEMORY : BROKER_OK;
    }
    if (letter.seat != NULL) {
        fill_attached(core, letter.seat, &letter);
    }
    exchange_write(core->exchange, from, LETTER_ATTACHED)->attach = letter;
}

static void
on_detach(struct core *core, uint32_t from, struct seat *seat)
{
    struct cursor *cursor = seat->cursor;
    struct letter_attach letter = {.attachment = seat->attachment};
    if (cursor == NULL) {
        if (seat->end_status != BROKER_OK) { /* not told yet */
            TAILQ_REMOVE(&core->consumers->ended, seat, link);
        }
    } else {
        consumer_detach(cursor->state, seat->place, core->now_ms);
        TAILQ_REMOVE(&cursor->seats, seat, link);
        seats_fewer(core->consumers);
        look_at_sizes(cursor);
        cursor_touch(cursor);
    }
    free(seat);
    exchange_write(core->exchange, from, LETTER_DETACHED)->attach = letter;
}

bool
seats_write_ended(struct consumers *consumers)
{
    struct exchange *exchange = consumers->core->exchange;
    struct seat *seat;
    while ((seat = TAILQ_FIRST(&consumers->ended)) != NULL) {
        if (!exchange_has_room_for(exchange, seat->worker)) {
            return false;
        }
        exchange_write(exchange, seat->worker, LETTER_ENDED)->attach =
            (struct letter_attach){
                .attachment = seat->attachment, .status = seat->end_status};
        TAILQ_REMOVE(&consumers->ended, seat, link);
        seat->end_status = BROKER_OK;
    }
    return true;
}

/* ---- what they say ------------------------------------------------------- */

static void
settle(struct seat *seat, const struct settled *settled, uint64_t now_ms)
{
    struct consumer *state = seat->cursor->state;
    uint64_t delay_ms = settled->delay_ms == BROKER_NACK_DELAY_DEFAULT
                            ? CONSUMER_DELAY_DEFAULT
                            : settled->delay_ms;
    delay_ms =
        delay_ms > CONSUMER_TIME_MAX_MS && delay_ms != CONSUMER_DELAY_DEFAULT
            ? CONSUMER_TIME_MAX_MS
            : delay_ms;
    switch (settled->verb) {
    case SETTLE_ACK:
        (void)consumer_ack(state, seat->place, settled->first, settled->last);
        break;
    case SETTLE_ACK_UP_TO:
        (void)consumer_ack_up_to(state, seat->place, settled->last);
        break;
    case SETTLE_AGAIN:
        (void)consumer_nack(state, seat->place, settled->first, settled->last,
            delay_ms, now_ms);
        break;
    case SETTLE_BURY:
        (void)consumer_bury(state, seat->place, settled->first, settled->last);
        break;
    case SETTLE_TOUCH:
        (void)consumer_touch(
            state, seat->place, settled->first, settled->last, now_ms);
        break;
    }
}

static void
on_settle(struct core *core, const struct letter_settle *letter)
{
    struct cursor *cursor = letter->seat->cursor;
    for (uint32_t i = 0; cursor != NULL && i < letter->count; i++) {
        settle(letter->seat, &letter->settled[i], core->now_ms);
    }
    if (cursor != NULL) {
        cursor_touch(cursor);
    }
    free(letter->settled);
}

static void
on_taken(const struct letter_taken *letter)
{
    struct seat *seat = letter->seat;
    seat->room += (int64_t)letter->bytes;
    if (seat->cursor != NULL) {
        seat_set_window(seat);
        cursor_touch(seat->cursor);
    }
}

void
consumers_on_letter(
    struct core *core, uint32_t from, const struct letter *letter)
{
    switch (letter->kind) {
    case LETTER_ATTACH:
        on_attach(core, from, letter->attach.attachment);
        break;
    case LETTER_TAKEN:
        on_taken(&letter->taken);
        break;
    case LETTER_SETTLE:
        on_settle(core, &letter->settle);
        break;
    default: /* LETTER_DETACH */
        on_detach(core, from, letter->taken.seat);
        break;
    }
}
