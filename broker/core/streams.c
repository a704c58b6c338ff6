/* SPDX-License-Identifier: MIT
 *
 * The table of streams, and how it is loaded; see streams.h. */
#include "streams.h"

#include "session.h"
#include "streams_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RETRY_MS 100u /* where memory was out or the store took nothing */

/* ---- the table ----------------------------------------------------------- */

static int
compare(struct broker_bytes a, struct broker_bytes b)
{
    size_t len = a.len < b.len ? a.len : b.len;
    int order = memcmp(a.data, b.data, len);
    return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

struct stream *
stream_find(const struct streams *streams, struct broker_bytes name)
{
    struct stream *stream;
    TAILQ_FOREACH(stream, &streams->all, link)
    {
        if (compare(stream->definition->name, name) == 0) {
            break;
        }
    }
    return stream;
}

struct stream *
stream_add(struct streams *streams, struct stream_definition *definition)
{
    struct stream *stream = calloc(1, sizeof *stream);
    if (stream == NULL) {
        return NULL;
    }
    stream->definition = definition;
    struct stream *before = TAILQ_LAST(&streams->all, stream_list);
    while (before != NULL &&
           compare(before->definition->name, definition->name) > 0) {
        before = TAILQ_PREV(before, stream_list, link);
    }
    if (before == NULL) {
        TAILQ_INSERT_HEAD(&streams->all, stream, link);
    } else {
        TAILQ_INSERT_AFTER(&streams->all, before, stream, link);
    }
    streams->count++;
    return stream;
}

void
stream_drop(struct streams *streams, struct stream *stream)
{
    TAILQ_REMOVE(&streams->all, stream, link);
    streams->count--;
    free((void *)(uintptr_t)stream->definition);
    free(stream);
}

static bool
is_visible(const struct stream *stream)
{
    return !stream->is_removing && stream->number != 0;
}

const struct stream *
streams_find(const struct core *core, struct broker_bytes name)
{
    const struct stream *stream =
        core->streams == NULL ? NULL : stream_find(core->streams, name);
    return stream == NULL || !is_visible(stream) ? NULL : stream;
}

const struct stream *
streams_next(const struct core *core, const struct stream *after)
{
    const struct stream *next = after == NULL ? TAILQ_FIRST(&core->streams->all)
                                              : TAILQ_NEXT(after, link);
    while (next != NULL && !is_visible(next)) {
        next = TAILQ_NEXT(next, link);
    }
    return next;
}

bool
streams_get_info(const struct core *core, const struct stream *stream,
    struct store_stream_info *out)
{
    return store_stream_info(core->options.store, stream->number, out);
}

uint64_t
streams_count(const struct core *core)
{
    uint64_t count = 0;
    const struct stream *stream = NULL;
    while (core->streams != NULL &&
           (stream = streams_next(core, stream)) != NULL) {
        count++;
    }
    return count;
}

uint64_t
streams_unknown(const struct core *core)
{
    return core->streams == NULL ? 0 : core->streams->unknown;
}

/* ---- operations ---------------------------------------------------------- */

static struct operation *
operation_new(struct streams *streams, stream_step *step)
{
    struct operation *operation = calloc(1, sizeof *operation);
    if (operation != NULL) {
        operation->core = streams->core;
        operation->step = step;
        operation->is_listed = true;
        TAILQ_INSERT_TAIL(&streams->operations, operation, link);
    }
    return operation;
}

static void
operation_free(struct streams *streams, struct operation *operation)
{
    if (operation->is_listed) {
        TAILQ_REMOVE(&streams->operations, operation, link);
    }
    streams->restoring -= operation->is_restoring ? 1 : 0;
    free(operation->wanted);
    free(operation->next);
    free(operation);
}

void
operation_end(struct streams *streams, struct operation *operation)
{
    struct stream_outcome outcome = {.status = operation->status};
    if (outcome.status == BROKER_OK) {
        outcome.stream = operation->stream;
    } else if (operation->why[0] != '\0') {
        outcome.why = operation->why;
    }
    /* The answer may lead to the next request. */
    TAILQ_REMOVE(&streams->operations, operation, link);
    operation->is_listed = false;
    if (operation->done != NULL) {
        operation->done(operation->arg, streams->core, &outcome);
    }
    operation_free(streams, operation);
}

/* ---- requests ------------------------------------------------------------ */

static void
refuse(struct core *core, stream_done *done, void *arg,
    enum broker_status status, const char *why)
{
    struct stream_outcome outcome = {.status = status, .why = why};
    done(arg, core, &outcome);
}

static bool
occurs_before(const struct stream_request *request, size_t index)
{
    for (size_t i = 0; i < index; i++) {
        if (compare(request->filters[i], request->filters[index]) == 0) {
            return true;
        }
    }
    return false;
}

static enum broker_status
check_filters(const struct core *core, const struct stream_request *request,
    const char **why)
{
    for (size_t i = 0; i < request->filter_count; i++) {
        struct broker_bytes filter = request->filters[i];
        enum broker_status status = broker_filter_check(&core->limits, filter);
        if (status != BROKER_OK) {
            *why = "topics: one of them is no topic filter";
            return status;
        }
        if (filter.data[0] == '$') {
            *why = "topics: those that begin with $ are the broker's own";
            return BROKER_E_RESERVED_TOPIC;
        }
        if (occurs_before(request, i)) {
            *why = "topics: one of them is there twice";
            return BROKER_E_BAD_REQUEST;
        }
    }
    return BROKER_OK;
}

static enum broker_status
check_request(const struct core *core, const struct stream_request *request,
    const char **why)
{
    if (!stream_name_is_valid(request->name)) {
        *why = "name: 1 to 255 of A-Z a-z 0-9 . _ - are wanted";
        return BROKER_E_BAD_REQUEST;
    }
    if (request->verb == STREAM_ADD && request->filter_count == 0) {
        *why = "topics: at least one filter is wanted";
        return BROKER_E_BAD_REQUEST;
    }
    if (request->filter_count > STREAM_FILTERS_MAX) {
        *why = "topics: at most 64 filters are allowed";
        return BROKER_E_BAD_REQUEST;
    }
    if (request->has_before && request->has_keep) {
        *why = "before, keep: only one of them is allowed";
        return BROKER_E_BAD_REQUEST;
    }
    return check_filters(core, request, why);
}

void
streams_ask(struct core *core, const struct stream_request *request,
    stream_done *done, void *arg)
{
    struct streams *streams = core->streams;
    const char *why = NULL;
    if (streams == NULL) {
        refuse(core, done, arg, BROKER_E_NO_STORE, NULL);
        return;
    }
    enum broker_status status = check_request(core, request, &why);
    if (status != BROKER_OK) {
        refuse(core, done, arg, status, why);
        return;
    }
    struct stream_definition *wanted = stream_definition_new(request->name,
        request->filters, request->filter_count, &request->limits);
    struct operation *operation =
        wanted == NULL ? NULL : operation_new(streams, step_check);
    if (operation == NULL) {
        free(wanted);
        refuse(core, done, arg, BROKER_E_MEMORY, NULL);
        return;
    }
    operation->wanted = wanted;
    operation->request = *request;
    operation->request.name = wanted->name;
    operation->request.filters = wanted->filters;
    operation->done = done;
    operation->arg = arg;
    streams_run(core);
}

/* ---- loading ------------------------------------------------------------- */

/* Several are known, and a damaged one may overlap. */
static bool
is_alone(
    const struct streams *streams, const struct stream_definition *definition)
{
    const struct stream *stream;
    TAILQ_FOREACH(stream, &streams->all, link)
    {
        if (stream_definitions_overlap(stream->definition, definition)) {
            return false;
        }
    }
    return true;
}

/* It is left alone. */
static void
count_unknown(struct streams *streams)
{
    struct core *core = streams->core;
    if (streams->unknown++ == 0) {
        core->hooks.log(core->hooks.arg, CORE_EVENT_STORE, NULL,
            BROKER_E_UNKNOWN_STREAM,
            "a stream in the store has no definition that can be used; it is "
            "left alone");
    }
}

/* False: memory is out. */
static bool
load(struct streams *streams, const struct store_value *value)
{
    struct broker_bytes name = {value->key, value->key_bytes};
    struct stream_definition *definition;
    bool is_removing;
    enum stream_load loaded = stream_definition_load(
        name, value->data, value->bytes, &definition, &is_removing);
    if (loaded == STREAM_LOAD_MEMORY) {
        return false;
    }
    if (loaded == STREAM_LOAD_INVALID) {
        count_unknown(streams);
        return true;
    }
    if (!is_removing && !is_alone(streams, definition)) {
        count_unknown(streams);
        free(definition);
        return true;
    }
    struct stream *stream = stream_add(streams, definition);
    if (stream == NULL) {
        free(definition);
        return false;
    }
    stream->is_removing = is_removing;
    struct operation *operation =
        operation_new(streams, is_removing ? step_finish_remove : step_restore);
    if (operation == NULL) {
        stream_drop(streams, stream);
        return false;
    }
    operation->stream = stream;
    operation->is_restoring = true;
    /* Before what was asked for in the meantime. */
    TAILQ_REMOVE(&streams->operations, operation, link);
    TAILQ_INSERT_HEAD(&streams->operations, operation, link);
    streams->restoring++;
    return true;
}

static bool
same_limits(const struct store_limits *a, const struct store_limits *b)
{
    return a->max_records == b->max_records && a->max_bytes == b->max_bytes &&
           a->max_age_ms == b->max_age_ms && a->discard_new == b->discard_new;
}

/* What is in the store as it is defined need not be asked for. */
static void
look_up_numbers(struct streams *streams)
{
    const struct store_port *port = streams->core->options.store;
    uint32_t number = 0;
    while ((number = store_next_stream(port, number)) != 0) {
        struct store_stream_info info;
        if (!store_stream_info(port, number, &info)) {
            continue;
        }
        struct broker_bytes name = {
            (const uint8_t *)info.name, strlen(info.name)};
        struct stream *stream = stream_find(streams, name);
        if (stream == NULL) {
            count_unknown(streams);
        } else if (stream->is_removing ||
                   same_limits(&info.limits, &stream->definition->limits)) {
            stream->number = number;
        }
    }
}

static void
forget_all(struct streams *streams)
{
    struct operation *operation;
    struct operation *next;
    for (operation = TAILQ_FIRST(&streams->operations); operation != NULL;
         operation = next) {
        next = TAILQ_NEXT(operation, link);
        if (operation->is_restoring) {
            operation_free(streams, operation);
        }
    }
    while (!TAILQ_EMPTY(&streams->all)) {
        stream_drop(streams, TAILQ_FIRST(&streams->all));
    }
    streams->unknown = 0;
}

static void
on_value(void *arg, enum store_status status, const struct store_value *value)
{
    struct streams *streams = arg;
    if (value != NULL && value->key != NULL) {
        streams->scan_failed = streams->scan_failed || !load(streams, value);
        return;
    }
    streams->scanning = false;
    if (status != STORE_OK || streams->scan_failed) {
        forget_all(streams);
        return;
    }
    streams->scanned = true;
    look_up_numbers(streams);
}

static bool
scan(struct streams *streams)
{
    if (streams->scanned || streams->scanning) {
        return true;
    }
    streams->scan_failed = false;
    streams->scanning = store_scan(streams->core->options.store,
                            STORE_SPACE_STREAM, on_value, streams) == STORE_OK;
    return streams->scanning;
}

/* ---- life ---------------------------------------------------------------- */

struct streams *
streams_new(struct core *core)
{
    struct streams *streams = calloc(1, sizeof *streams);
    if (streams != NULL) {
        streams->core = core;
        streams->retry_ms = UINT64_MAX;
        TAILQ_INIT(&streams->all);
        TAILQ_INIT(&streams->operations);
    }
    return streams;
}

void
streams_free(struct streams *streams)
{
    if (streams == NULL) {
        return;
    }
    struct operation *operation;
    while ((operation = TAILQ_FIRST(&streams->operations)) != NULL) {
        operation->status = BROKER_E_SHUTTING_DOWN;
        operation->why[0] = '\0';
        operation_end(streams, operation);
    }
    while (!TAILQ_EMPTY(&streams->all)) {
        stream_drop(streams, TAILQ_FIRST(&streams->all));
    }
    free(streams);
}

void
streams_run(struct core *core)
{
    struct streams *streams = core->streams;
    if (streams == NULL) {
        return;
    }
    bool moves = scan(streams);
    struct operation *first;
    while (moves && streams->scanned &&
           (first = TAILQ_FIRST(&streams->operations)) != NULL &&
           !first->is_waiting) {
        moves = first->step(streams, first);
    }
    streams->retry_ms = moves ? UINT64_MAX : core->now_ms + RETRY_MS;
}

uint64_t
streams_due(const struct core *core)
{
    return core->streams == NULL ? UINT64_MAX : core->streams->retry_ms;
}

bool
streams_are_ready(const struct core *core)
{
    const struct streams *streams = core->streams;
    return streams == NULL || (streams->scanned && streams->restoring == 0);
}
