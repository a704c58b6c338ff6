/* SPDX-License-Identifier: MIT
 *
 * Adding, resetting and removing durable consumers, one after the other; see
 * consumers.h. Where to begin is found first, then the store is changed, then
 * what is in memory. */
#include "consumers_internal.h"

#include "session.h"
#include "streams.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WHY_BYTES 160u

enum change_step { CHANGE_CHECK, CHANGE_SEEK, CHANGE_PUT, CHANGE_DONE };

struct change {
    TAILQ_ENTRY(change) link;
    struct consumers *consumers;
    struct consumers_request request; /* its views are into `text` */
    enum change_step step;
    bool is_waiting; /* for the store */
    bool is_reset;   /* in memory */
    struct cursor *cursor;
    uint64_t sequence; /* to begin at */
    consumers_done *done;
    void *arg;
    enum broker_status status;
    char why[WHY_BYTES];
    uint8_t text[];
};

/* ---- refusing and answering ---------------------------------------------- */

static void
refuse(struct change *change, enum broker_status status, const char *format,
    struct broker_bytes name)
{
    change->status = status;
    change->step = CHANGE_DONE;
    if (format != NULL) {
        snprintf(
            change->why, sizeof change->why, format, (int)name.len, name.data);
    }
}

static void
finish(struct consumers *consumers, struct change *change)
{
    bool ok = change->status == BROKER_OK;
    struct consumers_outcome outcome = {.status = change->status,
        .why = change->why[0] == '\0' ? NULL : change->why,
        .cursor = ok ? change->cursor : NULL};
    TAILQ_REMOVE(&consumers->changes, change, link);
    change->done(change->arg, consumers->core, &outcome);
    free(change);
}

void
changes_drop_all(struct consumers *consumers)
{
    struct change *change;
    while ((change = TAILQ_FIRST(&consumers->changes)) != NULL) {
        change->status = BROKER_E_SHUTTING_DOWN;
        change->why[0] = '\0';
        finish(consumers, change);
    }
}

/* ---- checking ------------------------------------------------------------ */

static bool
same_topic(const struct consumer_topic *a, const struct consumer_topic *b)
{
    return a->len == b->len &&
           (a->len == 0 || memcmp(a->bytes, b->bytes, a->len) == 0);
}

static bool
same_settings(
    const struct consumer_settings *a, const struct consumer_settings *b)
{
    return same_topic(&a->filter, &b->filter) && a->mode == b->mode &&
           a->window == b->window && a->ack_deadline_ms == b->ack_deadline_ms &&
           a->backoff_count == b->backoff_count &&
           memcmp(a->backoff_ms, b->backoff_ms,
               a->backoff_count * sizeof a->backoff_ms[0]) == 0 &&
           a->max_deliveries == b->max_deliveries &&
           same_topic(&a->dead_topic, &b->dead_topic);
}

static void
check_again(struct change *change)
{
    const struct cursor *cursor = change->cursor;
    const struct consumers_request *request = &change->request;
    if (request->stream.len != cursor->stream.len ||
        memcmp(request->stream.data, cursor->stream.data, cursor->stream.len) !=
            0 ||
        !same_settings(
            &request->settings, consumer_get_settings(cursor->state))) {
        refuse(change, BROKER_E_NAME_IN_USE,
            "consumer %.*s has other settings; remove it first", request->name);
    }
    change->step = CHANGE_DONE;
}

static bool
may_match(const struct stream *stream, const struct consumer_topic *filter)
{
    const struct stream_definition *definition = stream->definition;
    struct broker_bytes wanted = {filter->bytes, filter->len};
    for (size_t i = 0; i < definition->filter_count; i++) {
        if (filter->len == 0 ||
            broker_filters_overlap(definition->filters[i], wanted)) {
            return true;
        }
    }
    return false;
}

static const struct stream *
check_add(struct change *change)
{
    struct consumers *consumers = change->consumers;
    const struct consumers_request *request = &change->request;
    const struct stream *stream =
        streams_find(consumers->core, request->stream);
    if (stream == NULL) {
        refuse(change, BROKER_E_UNKNOWN_STREAM, "there is no stream %.*s",
            request->stream);
    } else if (!may_match(stream, &request->settings.filter)) {
        refuse(change, BROKER_E_BAD_REQUEST,
            "filter: stream %.*s captures nothing that it matches",
            request->stream);
    } else if (consumers->count >= CONSUMERS_MAX) {
        refuse(change, BROKER_E_BAD_REQUEST,
            "there are 10,000 consumers, no room for %.*s", request->name);
    } else {
        return stream;
    }
    return NULL;
}

static void
on_seek(void *arg, const struct store_batch *batch)
{
    struct change *change = arg;
    change->is_waiting = false;
    if (batch->status == STORE_OK) {
        change->sequence = batch->next;
        change->step = CHANGE_PUT;
    } else {
        refuse(change, durable_status((int)batch->status), NULL,
            change->request.name);
    }
}

/* False: it could not be asked for now. */
static bool
seek(struct change *change, uint32_t stream)
{
    struct core *core = change->consumers->core;
    uint64_t time_ms = change->request.start.value;
    if (change->request.start.kind == BROKER_START_AGO) {
        time_ms = time_ms < core->wall_ms ? core->wall_ms - time_ms : 0;
    }
    change->step = CHANGE_SEEK;
    change->is_waiting = store_seek_time(core->options.store, stream, time_ms,
                             on_seek, change) == STORE_OK;
    if (!change->is_waiting) {
        change->step = CHANGE_CHECK;
    }
    return change->is_waiting;
}

/* False: not now. */
static bool
find_start(struct change *change, uint32_t number)
{
    struct store_stream_info info = {.first_seq = 1};
    const struct consumer_start *start = &change->request.start;
    (void)store_stream_info(
        change->consumers->core->options.store, number, &info);
    uint64_t end = info.last_seq + 1;
    uint64_t *next = &change->sequence;
    change->step = CHANGE_PUT;
    switch (start->kind) {
    case BROKER_START_FIRST:
        *next = info.first_seq;
        break;
    case BROKER_START_LAST:
        *next = info.last_seq;
        break;
    case BROKER_START_SEQUENCE:
        *next = start->value;
        break;
    case BROKER_START_COUNT:
        *next = start->value < end ? end - start->value : 1;
        *next = *next < info.first_seq ? info.first_seq : *next;
        break;
    case BROKER_START_TIME:
    case BROKER_START_AGO:
        return seek(change, number);
    default:
        *next = end;
        break;
    }
    return true;
}

/* ---- changing ------------------------------------------------------------ */

static void
on_put(void *arg, const struct store_result *result)
{
    struct change *change = arg;
    struct cursor *cursor = change->cursor;
    enum consumer_verb verb = change->request.verb;
    bool ok = result->status == STORE_OK;
    change->is_waiting = false;
    change->step = CHANGE_DONE;
    change->cursor = cursor_answered(cursor) ? cursor : NULL;
    if (change->cursor == NULL) {
        refuse(change, BROKER_E_UNKNOWN_STREAM, "the stream of %.*s is no more",
            change->request.name);
        return;
    }
    cursor->is_saving = false;
    if (!ok) {
        refuse(change, durable_status((int)result->status), NULL,
            change->request.name);
    }
    if (verb == (ok ? CONSUMERS_REMOVE : CONSUMERS_ADD)) {
        cursor_end(cursor, BROKER_E_UNKNOWN_CONSUMER, false);
        change->cursor = NULL;
        return;
    }
    cursor->is_known = true;
    if (!ok && verb == CONSUMERS_RESET) {
        consumer_set_dirty(cursor->state); /* it stays reset */
    }
    cursor_touch(cursor);
}

/* False: not now. */
static bool
put_values(
    struct change *change, const struct store_value *values, size_t count)
{
    if (store_put(change->consumers->core->options.store, values, count, on_put,
            change) != STORE_OK) {
        return false;
    }
    change->cursor->calls++;
    change->cursor->is_saving = true; /* nothing of it is put behind this */
    change->is_waiting = true;
    return true;
}

/* Put both values, or delete them. False: not now. */
static bool
put(struct change *change, const void *definition, size_t bytes)
{
    struct cursor *cursor = change->cursor;
    uint8_t keys[2][STORE_KEY_MAX];
    struct store_value values[2];
    for (uint8_t kind = 0; kind < 2; kind++) {
        values[kind] = (struct store_value){.space = STORE_SPACE_CONSUMER,
            .key = keys[kind],
            .key_bytes = cursor_key(cursor->name, kind, keys[kind])};
    }
    if (definition != NULL) {
        values[CURSOR_KEY_DEFINITION].data = definition;
        values[CURSOR_KEY_DEFINITION].bytes = bytes;
        if (!cursor_value(cursor, NULL, 0, &values[CURSOR_KEY_STATE],
                keys[CURSOR_KEY_STATE])) {
            return false;
        }
    }
    return put_values(change, values, 2);
}

static bool
put_new(struct change *change)
{
    struct consumers_request *request = &change->request;
    struct consumers *consumers = change->consumers;
    const struct stream *stream = check_add(change);
    if (stream == NULL) {
        return true;
    }
    request->settings.start = change->sequence == 0 ? 1 : change->sequence;
    const char *wrong = consumer_settings_check(&request->settings);
    if (wrong != NULL) {
        refuse(change, BROKER_E_BAD_REQUEST, NULL, request->name);
        snprintf(change->why, sizeof change->why, "%s", wrong);
        return true;
    }
    if (!consumers_forget_ended(consumers)) {
        return false; /* one of them may have had this name */
    }
    struct cursor *cursor = cursor_new(consumers, request->name,
        request->stream, stream->number, &request->settings);
    if (cursor == NULL) {
        return false;
    }
    change->cursor = cursor;
    size_t bytes;
    uint8_t *definition = cursor_definition(cursor, &bytes);
    bool ok = definition != NULL && put(change, definition, bytes);
    free(definition);
    if (!ok) {
        cursor_end(cursor, BROKER_E_UNKNOWN_CONSUMER, false);
        change->cursor = NULL;
    }
    return ok;
}

/* Answered when it is stored: what is to be done again would otherwise be done
 * with after a crash. False: not now. */
static bool
reset(struct change *change)
{
    struct cursor *cursor = change->cursor;
    uint8_t key[STORE_KEY_MAX];
    struct store_value value;
    if (!change->is_reset) {
        change->is_reset = true;
        consumer_reset(
            cursor->state, change->sequence == 0 ? 1 : change->sequence);
        cursor_stop_waiting(cursor);
        cursor_touch(cursor);
    }
    bool ok = cursor_value(cursor, NULL, 0, &value, key) &&
              put_values(change, &value, 1);
    if (!ok) {
        consumer_set_dirty(cursor->state);
    }
    return ok;
}

static bool
step_check(struct change *change)
{
    struct consumers *consumers = change->consumers;
    enum consumer_verb verb = change->request.verb;
    change->cursor = cursor_find(consumers, change->request.name);
    if (verb == CONSUMERS_ADD) {
        const struct stream *stream;
        if (change->cursor != NULL) {
            check_again(change);
            return true;
        }
        stream = check_add(change);
        return stream == NULL || find_start(change, stream->number);
    }
    if (change->cursor == NULL) {
        refuse(change, BROKER_E_UNKNOWN_CONSUMER, "there is no consumer %.*s",
            change->request.name);
        return true;
    }
    if (verb == CONSUMERS_RESET) {
        return find_start(change, change->cursor->source->stream);
    }
    change->step = CHANGE_PUT;
    return true;
}

static bool
step_put(struct change *change)
{
    /* While a start was looked for, it may have gone with its stream. */
    change->cursor = cursor_find(change->consumers, change->request.name);
    if (change->request.verb == CONSUMERS_ADD) {
        return put_new(change);
    }
    if (change->cursor == NULL) {
        refuse(change, BROKER_E_UNKNOWN_CONSUMER, NULL, change->request.name);
        return true;
    }
    return change->request.verb == CONSUMERS_RESET ? reset(change)
                                                   : put(change, NULL, 0);
}

bool
changes_run(struct consumers *consumers)
{
    struct change *change;
    while ((change = TAILQ_FIRST(&consumers->changes)) != NULL &&
           !change->is_waiting) {
        bool moves = true;
        if (change->step == CHANGE_CHECK) {
            moves = step_check(change);
        } else if (change->step == CHANGE_PUT) {
            moves = step_put(change);
        } else if (change->step == CHANGE_DONE) {
            finish(consumers, change);
        }
        if (!moves) {
            return false;
        }
    }
    return true;
}

/* ---- asking -------------------------------------------------------------- */

static enum broker_status
check_request(const struct core *core, const struct consumers_request *request,
    const char **why)
{
    const struct consumer_settings *settings = &request->settings;
    struct broker_bytes filter = {settings->filter.bytes, settings->filter.len};
    struct broker_bytes dead = {
        settings->dead_topic.bytes, settings->dead_topic.len};
    if (!stream_name_is_valid(request->name)) {
        *why = "name: 1 to 255 of A-Z a-z 0-9 . _ - are wanted";
        return BROKER_E_BAD_REQUEST;
    }
    if (filter.len > 0 &&
        broker_filter_check(&core->limits, filter) != BROKER_OK) {
        *why = "filter: this is no topic filter";
        return BROKER_E_BAD_FILTER;
    }
    if (dead.len > 0 &&
        (dead.data[0] == '$' ||
            broker_topic_check(&core->limits, dead) != BROKER_OK)) {
        *why = "dead_letter: this is no topic that can be published to";
        return BROKER_E_BAD_REQUEST;
    }
    return BROKER_OK;
}

static struct broker_bytes
copy(uint8_t **text, struct broker_bytes bytes)
{
    struct broker_bytes copied = {*text, bytes.len};
    if (bytes.len > 0) {
        memcpy(*text, bytes.data, bytes.len);
    }
    *text += bytes.len;
    return copied;
}

static struct consumer_topic
copy_topic(uint8_t **text, const struct consumer_topic *topic)
{
    struct broker_bytes copied =
        copy(text, (struct broker_bytes){topic->bytes, topic->len});
    return (struct consumer_topic){
        topic->len == 0 ? NULL : copied.data, topic->len};
}

static struct change *
change_new(struct consumers *consumers, const struct consumers_request *request)
{
    const struct consumer_settings *settings = &request->settings;
    struct change *change =
        calloc(1, sizeof *change + request->name.len + request->stream.len +
                      settings->filter.len + settings->dead_topic.len);
    if (change == NULL) {
        return NULL;
    }
    uint8_t *text = change->text;
    change->consumers = consumers;
    change->request = *request;
    change->request.name = copy(&text, request->name);
    change->request.stream = copy(&text, request->stream);
    change->request.settings.filter = copy_topic(&text, &settings->filter);
    change->request.settings.dead_topic =
        copy_topic(&text, &settings->dead_topic);
    TAILQ_INSERT_TAIL(&consumers->changes, change, link);
    return change;
}

void
consumers_ask(struct core *core, const struct consumers_request *request,
    consumers_done *done, void *arg)
{
    struct consumers *consumers = core->consumers;
    struct consumers_outcome outcome = {.status = BROKER_E_NO_STORE};
    struct change *change = NULL;
    if (consumers != NULL) {
        outcome.status = check_request(core, request, &outcome.why);
    }
    if (outcome.status == BROKER_OK) {
        change = change_new(consumers, request);
        outcome.status = change == NULL ? BROKER_E_MEMORY : BROKER_OK;
    }
    if (change == NULL) {
        done(arg, core, &outcome);
        return;
    }
    change->done = done;
    change->arg = arg;
    consumers_run(core);
}
