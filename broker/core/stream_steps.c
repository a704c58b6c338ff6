/* SPDX-License-Identifier: MIT
 *
 * What is done to streams, step by step; see streams.h for the order. Each step
 * either asks the store or the workers for something and names the step after
 * it, or ends the operation. */
#include "session.h"
#include "streams_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- asking -------------------------------------------------------------- */

static void
on_done(void *arg, const struct store_result *result)
{
    struct operation *operation = arg;
    operation->result = *result;
    operation->is_waiting = false;
}

/* The store was asked; what it answers the next step looks at. */
static bool
asked(struct operation *operation, enum store_status status, stream_step *next)
{
    if (status == STORE_AGAIN || status == STORE_MEMORY) {
        return false;
    }
    operation->step = next;
    if (status == STORE_OK) {
        operation->is_waiting = true;
    } else {
        operation->result = (struct store_result){.status = status};
    }
    return true;
}

/* What went wrong first is what is answered. */
static void
note(struct operation *operation, enum broker_status status)
{
    if (operation->status == BROKER_OK) {
        operation->status = status;
    }
}

static bool
failed(struct operation *operation)
{
    note(operation, durable_status((int)operation->result.status));
    return operation->result.status != STORE_OK;
}

/* NULL: nothing is to stand there. */
static bool
put_definition(struct operation *operation,
    const struct stream_definition *definition, bool is_removing,
    stream_step *next)
{
    struct broker_bytes name = operation->stream == NULL
                                   ? operation->wanted->name
                                   : operation->stream->definition->name;
    struct store_value value = {
        .space = STORE_SPACE_STREAM, .key = name.data, .key_bytes = name.len};
    uint8_t *bytes = NULL;
    if (definition != NULL) {
        bytes = stream_definition_save(definition, is_removing, &value.bytes);
        if (bytes == NULL) {
            return false;
        }
        value.data = bytes;
    }
    enum store_status status = store_put(
        operation->core->options.store, &value, 1, on_done, operation);
    free(bytes);
    return asked(operation, status, next);
}

static bool
ensure(struct operation *operation, const struct stream_definition *definition,
    const struct store_limits *limits, stream_step *next)
{
    return asked(operation,
        store_ensure(operation->core->options.store,
            (const char *)definition->name.data, limits, on_done, operation),
        next);
}

static void
on_ordered(struct core *core, struct capture_order *order)
{
    struct operation *operation = table_entry(order, struct operation, order);
    (void)core;
    operation->is_waiting = false;
}

/* NULL: capture nothing any more. */
static bool
order(struct operation *operation, const struct stream_definition *definition,
    stream_step *next)
{
    operation->order = (struct capture_order){
        .stream = operation->stream->number, .done = on_ordered};
    if (definition != NULL) {
        operation->order.name = definition->name;
        operation->order.filters = definition->filters;
        operation->order.filter_count = definition->filter_count;
    }
    if (!captures_order(operation->core, &operation->order)) {
        return false;
    }
    operation->is_waiting = true;
    operation->step = next;
    return true;
}

static bool
step_end(struct streams *streams, struct operation *operation)
{
    operation_end(streams, operation);
    return true;
}

static bool
refuse(struct streams *streams, struct operation *operation,
    enum broker_status status, const char *why, struct broker_bytes name)
{
    note(operation, status);
    snprintf(operation->why, sizeof operation->why, why,
        (int)(name.len < 100 ? name.len : 100), (const char *)name.data);
    return step_end(streams, operation);
}

/* ---- removing ------------------------------------------------------------ */

static bool
step_drop(struct streams *streams, struct operation *operation)
{
    /* Where this failed a start ends it: the definition says that the stream is
     * being removed, and there is none. */
    stream_drop(streams, operation->stream);
    operation->stream = NULL;
    return step_end(streams, operation);
}

static bool
step_put_nothing(struct streams *streams, struct operation *operation)
{
    (void)streams;
    return put_definition(operation, NULL, false, step_drop);
}

static bool
step_records_removed(struct streams *streams, struct operation *operation)
{
    if (operation->result.status != STORE_NOT_FOUND && failed(operation)) {
        return step_end(streams, operation); /* the next start goes on */
    }
    operation->step = step_put_nothing;
    return true;
}

bool
step_finish_remove(struct streams *streams, struct operation *operation)
{
    (void)streams;
    uint32_t number = operation->stream->number;
    if (number == 0) {
        operation->step = step_put_nothing;
        return true;
    }
    return asked(operation,
        store_remove(
            operation->core->options.store, number, on_done, operation),
        step_records_removed);
}

static bool
step_end_captures(struct streams *streams, struct operation *operation)
{
    (void)streams;
    return order(operation, NULL, step_finish_remove);
}

static bool
step_marked(struct streams *streams, struct operation *operation)
{
    bool unwinds = operation->request.verb == STREAM_ADD;
    if (failed(operation) && !unwinds) {
        return step_end(streams, operation);
    }
    operation->stream->is_removing = true;
    operation->step = step_end_captures;
    return true;
}

static bool
step_remove(struct streams *streams, struct operation *operation)
{
    (void)streams;
    return put_definition(
        operation, operation->stream->definition, true, step_marked);
}

/* ---- adding -------------------------------------------------------------- */

static bool
step_unwind_put(struct streams *streams, struct operation *operation)
{
    (void)streams;
    return put_definition(operation, NULL, false, step_drop);
}

static bool
step_added(struct streams *streams, struct operation *operation)
{
    if (operation->order.failed) { /* take it back, whether that is marked */
        note(operation, BROKER_E_MEMORY);
        operation->stream->is_removing = true;
        operation->step = step_remove;
        return true;
    }
    return step_end(streams, operation);
}

static bool
step_add_captures(struct streams *streams, struct operation *operation)
{
    (void)streams;
    return order(operation, operation->stream->definition, step_added);
}

static bool
step_ensured(struct streams *streams, struct operation *operation)
{
    (void)streams;
    if (failed(operation)) {
        operation->step = step_unwind_put;
        return true;
    }
    operation->stream->number = operation->result.stream;
    operation->step = step_add_captures;
    return true;
}

static bool
step_ensure(struct streams *streams, struct operation *operation)
{
    (void)streams;
    const struct stream_definition *definition = operation->stream->definition;
    return ensure(operation, definition, &definition->limits, step_ensured);
}

static bool
step_defined(struct streams *streams, struct operation *operation)
{
    if (failed(operation)) {
        return step_drop(streams, operation);
    }
    operation->step = step_ensure;
    return true;
}

static bool
step_define(struct streams *streams, struct operation *operation)
{
    (void)streams;
    return put_definition(
        operation, operation->stream->definition, false, step_defined);
}

static const struct stream *
overlapping(const struct streams *streams,
    const struct stream_definition *definition, const struct stream *but)
{
    const struct stream *stream;
    TAILQ_FOREACH(stream, &streams->all, link)
    {
        if (stream != but &&
            stream_definitions_overlap(stream->definition, definition)) {
            break;
        }
    }
    return stream;
}

static bool
check_add(struct streams *streams, struct operation *operation)
{
    struct stream_definition *wanted = operation->wanted;
    const struct stream *overlap = overlapping(streams, wanted, NULL);
    if (overlap != NULL) {
        return refuse(streams, operation, BROKER_E_STREAM_OVERLAP,
            "stream %.*s captures some of these topics",
            overlap->definition->name);
    }
    if (streams->count >= STREAMS_MAX) {
        return refuse(streams, operation, BROKER_E_BAD_REQUEST,
            "there are 1,000 streams, no room for %.*s", wanted->name);
    }
    struct stream *stream = stream_add(streams, wanted);
    if (stream == NULL) {
        note(operation, BROKER_E_MEMORY);
        return step_end(streams, operation);
    }
    operation->wanted = NULL; /* the stream has it now */
    operation->stream = stream;
    operation->step = step_define;
    return true;
}

static bool
check_add_again(struct streams *streams, struct operation *operation)
{
    const struct stream *stream = operation->stream;
    if (!stream->is_removing &&
        stream_definition_equals(stream->definition, operation->wanted)) {
        return step_end(streams, operation);
    }
    return refuse(streams, operation, BROKER_E_NAME_IN_USE,
        stream->is_removing
            ? "stream %.*s is being removed"
            : "stream %.*s has other settings; edit or remove it",
        stream->definition->name);
}

/* ---- editing ------------------------------------------------------------- */

static bool
step_edited(struct streams *streams, struct operation *operation)
{
    const struct stream_definition *before = operation->stream->definition;
    operation->stream->definition = operation->next;
    operation->next = (void *)(uintptr_t)before;
    return step_end(streams, operation);
}

static bool
step_unwind_limits(struct streams *streams, struct operation *operation)
{
    (void)streams;
    const struct stream_definition *before = operation->stream->definition;
    return ensure(operation, before, &before->limits, step_end);
}

static bool
step_unwind_definition(struct streams *streams, struct operation *operation)
{
    (void)streams;
    return put_definition(
        operation, operation->stream->definition, false, step_unwind_limits);
}

static stream_step step_unwind_captures;

/* They have to be as they were everywhere, however long it takes. */
static bool
step_captures_unwound(struct streams *streams, struct operation *operation)
{
    (void)streams;
    bool done = !operation->order.failed;
    operation->step = done ? step_unwind_definition : step_unwind_captures;
    return done;
}

static bool
step_unwind_captures(struct streams *streams, struct operation *operation)
{
    (void)streams;
    return order(
        operation, operation->stream->definition, step_captures_unwound);
}

static bool
step_recaptured(struct streams *streams, struct operation *operation)
{
    (void)streams;
    if (operation->order.failed) {
        note(operation, BROKER_E_MEMORY);
        operation->step = step_unwind_captures;
        return true;
    }
    operation->step = step_edited;
    return true;
}

static bool
step_recapture(struct streams *streams, struct operation *operation)
{
    if (operation->request.filter_count == 0) {
        return step_edited(streams, operation);
    }
    return order(operation, operation->next, step_recaptured);
}

static bool
step_limited(struct streams *streams, struct operation *operation)
{
    (void)streams;
    operation->step =
        failed(operation) ? step_unwind_definition : step_recapture;
    return true;
}

static bool
step_limit(struct streams *streams, struct operation *operation)
{
    (void)streams;
    return ensure(
        operation, operation->next, &operation->next->limits, step_limited);
}

static bool
step_redefined(struct streams *streams, struct operation *operation)
{
    if (failed(operation)) {
        return step_end(streams, operation);
    }
    operation->step = step_limit;
    return true;
}

static bool
step_redefine(struct streams *streams, struct operation *operation)
{
    (void)streams;
    return put_definition(operation, operation->next, false, step_redefined);
}

/* NULL: memory is out. */
static struct stream_definition *
changed(const struct stream_definition *before,
    const struct stream_request *request)
{
    struct store_limits limits = before->limits;
    if (request->sets_records) {
        limits.max_records = request->limits.max_records;
    }
    if (request->sets_bytes) {
        limits.max_bytes = request->limits.max_bytes;
    }
    if (request->sets_age) {
        limits.max_age_ms = request->limits.max_age_ms;
    }
    if (request->sets_discard) {
        limits.discard_new = request->limits.discard_new;
    }
    return request->filter_count == 0
               ? stream_definition_new(before->name, before->filters,
                     before->filter_count, &limits)
               : stream_definition_new(before->name, request->filters,
                     request->filter_count, &limits);
}

static bool
check_edit(struct streams *streams, struct operation *operation)
{
    operation->next =
        changed(operation->stream->definition, &operation->request);
    if (operation->next == NULL) {
        note(operation, BROKER_E_MEMORY);
        return step_end(streams, operation);
    }
    const struct stream *overlap =
        overlapping(streams, operation->next, operation->stream);
    if (overlap != NULL) {
        return refuse(streams, operation, BROKER_E_STREAM_OVERLAP,
            "stream %.*s captures some of these topics",
            overlap->definition->name);
    }
    operation->step = step_redefine;
    return true;
}

/* ---- purging ------------------------------------------------------------- */

static bool
step_purged(struct streams *streams, struct operation *operation)
{
    (void)failed(operation);
    return step_end(streams, operation);
}

static bool
step_kept(struct streams *streams, struct operation *operation)
{
    (void)streams;
    (void)failed(operation);
    const struct stream_definition *definition = operation->stream->definition;
    return ensure(operation, definition, &definition->limits, step_purged);
}

/* Where sequences have holes, which one the last so many begin with only the
 * store knows: for a moment they are all that the stream may hold. */
static bool
step_keep(struct streams *streams, struct operation *operation)
{
    (void)streams;
    struct store_limits limits = operation->stream->definition->limits;
    limits.max_records = operation->request.keep;
    limits.discard_new = false;
    return ensure(operation, operation->stream->definition, &limits, step_kept);
}

static bool
step_purge(struct streams *streams, struct operation *operation)
{
    const struct stream_request *request = &operation->request;
    const struct store_port *port = operation->core->options.store;
    uint32_t number = operation->stream->number;
    struct store_stream_info info;
    if (!store_stream_info(port, number, &info)) {
        note(operation, BROKER_E_UNKNOWN_STREAM);
        return step_end(streams, operation);
    }
    uint64_t from = info.last_seq + 1;
    if (request->has_before && request->before < from) {
        from = request->before;
    }
    if (request->has_keep && request->keep > 0) {
        if (request->keep >= info.records) {
            return step_end(streams, operation);
        }
        if (info.last_seq + 1 - info.first_seq != info.records) {
            operation->step = step_keep;
            return true;
        }
        from = info.last_seq + 1 - request->keep;
    }
    return asked(operation,
        store_trim(
            operation->core->options.store, number, from, on_done, operation),
        step_purged);
}

/* ---- beginning ----------------------------------------------------------- */

bool
step_check(struct streams *streams, struct operation *operation)
{
    operation->stream = stream_find(streams, operation->wanted->name);
    enum stream_verb verb = operation->request.verb;
    if (verb == STREAM_ADD) {
        return operation->stream == NULL ? check_add(streams, operation)
                                         : check_add_again(streams, operation);
    }
    /* Removing again is how one that failed is ended. */
    if (operation->stream == NULL ||
        (operation->stream->is_removing && verb != STREAM_REMOVE)) {
        return refuse(streams, operation, BROKER_E_UNKNOWN_STREAM,
            "there is no stream %.*s", operation->wanted->name);
    }
    if (verb == STREAM_EDIT) {
        return check_edit(streams, operation);
    }
    operation->step = verb == STREAM_PURGE ? step_purge : step_remove;
    return true;
}

static bool
step_restored(struct streams *streams, struct operation *operation)
{
    bool ok = !operation->order.failed;
    operation->step = step_restore;
    return ok ? step_end(streams, operation) : false;
}

static bool
step_found(struct streams *streams, struct operation *operation)
{
    (void)streams;
    operation->step = step_restore;
    if (operation->result.status != STORE_OK) {
        return false; /* a publish must not pass by its stream: wait for it */
    }
    operation->stream->number = operation->result.stream;
    return true;
}

bool
step_restore(struct streams *streams, struct operation *operation)
{
    (void)streams;
    const struct stream_definition *definition = operation->stream->definition;
    if (operation->stream->number == 0) {
        return ensure(operation, definition, &definition->limits, step_found);
    }
    return order(operation, definition, step_restored);
}
