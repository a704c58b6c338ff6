/* SPDX-License-Identifier: MIT
 *
 * The captures of one worker; see captures.h. */
#include "captures.h"

#include "consumers.h"
#include "exchange.h"
#include "session.h"

#include <string.h>

/* ---- home ---------------------------------------------------------------- */

bool
captures_order(struct core *core, struct capture_order *order)
{
    struct exchange *exchange = core->exchange;
    if (!exchange_has_room(exchange)) {
        return false;
    }
    order->failed = false;
    order->owed = exchange->workers;
    for (uint32_t worker = 0; worker < exchange->workers; worker++) {
        exchange_write(exchange, worker, LETTER_CAPTURE)->capture.order = order;
    }
    return true;
}

void
captures_on_captured(
    struct core *core, struct capture_order *order, bool failed)
{
    order->failed = order->failed || failed;
    if (--order->owed == 0) {
        order->done(core, order);
    }
}

/* ---- every worker -------------------------------------------------------- */

/* Who reads all of a stream may not have the right to what is new in it. */
static void
review_readers(struct core *core)
{
    struct session *session;
    TAILQ_FOREACH(session, &core->sessions, all)
    {
        if (session->rights != NULL && session->remote != NULL) {
            readers_review(session);
            attachments_review(session);
        }
    }
}

/* False: memory is out, nothing changed. */
static bool
begin(struct core *core, const struct capture_order *order)
{
    struct capture *old = core_find_capture_of(core, order->stream);
    struct capture *capture = NULL;
    bool is_change = old != NULL;
    if (!is_change) {
        capture = capture_new(&core->index, order->stream, order->name,
            order->filters, order->filter_count);
    } else {
        LIST_REMOVE(old, link);
        durable_capture_ends(core, old);
        capture = capture_replace(
            &core->index, old, order->filters, order->filter_count);
    }
    bool ok = capture != NULL;
    capture = ok ? capture : old;
    if (capture != NULL) {
        LIST_INSERT_HEAD(&core->captures, capture, link);
    }
    if (ok && is_change) {
        review_readers(core);
    }
    return ok;
}

static void
end(struct core *core, uint32_t stream)
{
    struct capture *capture = core_find_capture_of(core, stream);
    if (capture != NULL) {
        LIST_REMOVE(capture, link);
        durable_capture_ends(core, capture);
        capture_end(&core->index, capture);
    }
    readers_stream_removed(core, stream);
    consumers_stream_removed(core, stream);
}

void
captures_on_capture(
    struct core *core, uint32_t from, struct capture_order *order)
{
    bool ok = true;
    if (order->filter_count > 0) {
        ok = begin(core, order);
    } else {
        end(core, order->stream);
    }
    /* There is room for this: read_bag has looked. */
    exchange_write(core->exchange, from, LETTER_CAPTURED)->capture =
        (struct letter_capture){order, !ok};
}

void
captures_drop_all(struct core *core)
{
    struct capture *capture;
    while ((capture = LIST_FIRST(&core->captures)) != NULL) {
        LIST_REMOVE(capture, link);
        capture_end(&core->index, capture);
    }
}

/* ---- looking up ---------------------------------------------------------- */

struct capture *
core_find_capture(const struct core *core, struct broker_bytes name)
{
    struct capture *capture;
    LIST_FOREACH(capture, &core->captures, link)
    {
        if (capture->name.len == name.len &&
            memcmp(capture->name.data, name.data, name.len) == 0) {
            break;
        }
    }
    return capture;
}

struct capture *
core_find_capture_of(const struct core *core, uint32_t stream)
{
    struct capture *capture;
    LIST_FOREACH(capture, &core->captures, link)
    {
        if (capture->stream == stream) {
            break;
        }
    }
    return capture;
}

static bool
overlaps(const struct capture *capture, struct broker_bytes filter)
{
    for (size_t i = 0; i < capture->filter_count; i++) {
        if (broker_filters_overlap(capture->filters[i], filter)) {
            return true;
        }
    }
    return false;
}

struct capture *
core_overlapping_captures(
    const struct core *core, struct broker_bytes filter, size_t *count)
{
    struct capture *found = NULL;
    struct capture *capture;
    *count = 0;
    LIST_FOREACH(capture, &core->captures, link)
    {
        if (overlaps(capture, filter)) {
            found = capture;
            ++*count;
        }
    }
    return found;
}
