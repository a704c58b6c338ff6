/* SPDX-License-Identifier: MIT
 *
 * The store in memory: ports, and the way of a call from the caller to its
 * callback. See memory.h and memory_internal.h. */
#include "memory_internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define IN_FLIGHT_BYTES (UINT64_C(16) * 1024 * 1024)

static const struct store_operations operations;

static void
wake(struct memory_port *port)
{
    if (port->hooks.wake != NULL) {
        port->hooks.wake(port->hooks.arg);
    }
}

static void
free_calls(struct memory_calls *calls)
{
    struct memory_call *call;
    while ((call = TAILQ_FIRST(calls)) != NULL) {
        TAILQ_REMOVE(calls, call, next);
        memory_call_free(call);
    }
}

/* ---- ports --------------------------------------------------------------- */

static struct store_port *
port_open(struct store *base, const struct store_port_hooks *hooks)
{
    struct memory_store *store = memory_of(base);
    struct memory_port *port = calloc(1, sizeof *port);
    if (port == NULL) {
        return NULL;
    }
    port->base.operations = &operations;
    port->store = store;
    port->hooks = *hooks;
    TAILQ_INIT(&port->done);
    TAILQ_INIT(&port->asked);
    TAILQ_INIT(&port->follows);
    LIST_INSERT_HEAD(&store->ports, port, next);
    return &port->base;
}

static void
port_free(struct memory_port *port)
{
    free_calls(&port->done);
    free_calls(&port->asked);
    free_calls(&port->follows);
    free(port);
}

static void
port_close(struct store_port *base)
{
    struct memory_port *port = memory_port_of(base);
    assert(!port->closed);
    port->closed = true;
    if (!port->dead) {
        struct memory_call *call;
        TAILQ_FOREACH(call, &port->store->pending, next)
        {
            if (call->port == port) {
                call->ticked = true;
                call->port = NULL;
            }
        }
        LIST_REMOVE(port, next);
    }
    if (!port->polling) {
        port_free(port);
    }
}

static bool
has_room(struct store_port *base)
{
    struct memory_port *port = memory_port_of(base);
    const struct memory_store *store = port->store;
    bool room = store->refuse_calls == 0 &&
                store->in_flight_bytes < store->options.in_flight_bytes;
    port->wants_room |= !room;
    return room;
}

/* ---- commits ------------------------------------------------------------- */

static enum store_status
commit_status(struct memory_store *store)
{
    if (store->stats.failed) {
        return STORE_FAILED;
    }
    if (store->fail_commits == 0) {
        store->stats.no_space = false;
        store->stats.commits++;
        return STORE_OK;
    }
    store->fail_commits--;
    store->stats.failed = store->fail_status == STORE_FAILED;
    store->stats.no_space = store->fail_status == STORE_NO_SPACE;
    if (store->stats.failed) {
        strcpy(store->stats.why, "the test says that it failed");
    }
    return store->fail_status;
}

static uint64_t
call_bytes(const struct memory_call *call)
{
    return call->value_bytes +
           (call->kind == MEMORY_APPEND ? call->append.bytes : 0);
}

static void
finish_call(struct memory_store *store, struct memory_call *call,
    enum store_status failure)
{
    TAILQ_REMOVE(&store->pending, call, next);
    store->in_flight_bytes -= call_bytes(call);
    memory_apply(store, call, failure);
    if (call->port == NULL) {
        memory_call_free(call);
    } else {
        TAILQ_INSERT_TAIL(&call->port->done, call, next);
    }
}

bool
store_memory_commit(struct store *base)
{
    struct memory_store *store = memory_of(base);
    bool any = false;
    enum store_status failure = STORE_OK;
    struct memory_call *call = TAILQ_FIRST(&store->pending);
    while (call != NULL) {
        struct memory_call *next = TAILQ_NEXT(call, next);
        if (call->ticked) {
            failure = any ? failure : commit_status(store);
            any = true;
            finish_call(store, call, failure);
        }
        call = next;
    }
    struct memory_port *port;
    LIST_FOREACH(port, &store->ports, next)
    {
        if (!TAILQ_EMPTY(&port->done) || port->wants_room ||
            (any && !TAILQ_EMPTY(&port->follows))) {
            wake(port);
        }
    }
    return any;
}

static void
tick(struct store_port *base)
{
    struct memory_port *port = memory_port_of(base);
    assert(!port->dead && !port->closed);
    bool any = false;
    struct memory_call *call;
    TAILQ_FOREACH(call, &port->store->pending, next)
    {
        if (call->port == port) {
            call->ticked = true;
            any = true;
        }
    }
    if (any && port->store->options.auto_commit) {
        wake(port);
    }
}

/* ---- callbacks ----------------------------------------------------------- */

static size_t
count_calls(const struct memory_calls *calls)
{
    size_t count = 0;
    const struct memory_call *call;
    TAILQ_FOREACH(call, calls, next)
    {
        count++;
    }
    return count;
}

static void
run_done(struct memory_port *port)
{
    for (size_t n = count_calls(&port->done); n != 0 && !port->closed; n--) {
        struct memory_call *call = TAILQ_FIRST(&port->done);
        TAILQ_REMOVE(&port->done, call, next);
        if (call->callback.done != NULL) {
            call->callback.done(call->arg, &call->result);
        }
        memory_call_free(call);
    }
}

static void
run_reads(struct memory_port *port, struct memory_calls *calls)
{
    for (size_t n = count_calls(calls); n != 0 && !port->closed; n--) {
        struct memory_call *call = TAILQ_FIRST(calls);
        TAILQ_REMOVE(calls, call, next);
        if (memory_answer_read(port->store, call)) {
            memory_call_free(call);
        } else {
            TAILQ_INSERT_TAIL(&port->follows, call, next);
        }
    }
}

/* What the callbacks ask for is for the next time. */
static void
poll_port(struct store_port *base)
{
    struct memory_port *port = memory_port_of(base);
    struct memory_store *store = port->store;
    assert(!port->dead && !port->polling && !port->closed);
    if (store->options.auto_commit) {
        (void)store_memory_commit(&store->base);
    }
    port->polling = true;
    run_done(port);
    run_reads(port, &port->follows);
    run_reads(port, &port->asked);
    bool room = store->in_flight_bytes < store->options.in_flight_bytes;
    if (port->wants_room && room && !port->closed) {
        port->wants_room = false;
        if (port->hooks.room != NULL) {
            port->hooks.room(port->hooks.arg);
        }
    }
    port->polling = false;
    if (port->closed) {
        port_free(port);
    }
}

/* ---- calls that change something ----------------------------------------- */

static void
submit(struct memory_port *port, struct memory_call *call, store_done *done)
{
    assert(!port->dead && !port->closed);
    call->callback.done = done;
    port->store->in_flight_bytes += call_bytes(call);
    TAILQ_INSERT_TAIL(&port->store->pending, call, next);
}

/* Does so much more go? If not, the port is told when it does. */
static bool
take_room(struct memory_port *port, size_t bytes)
{
    struct memory_store *store = port->store;
    if (store->refuse_calls != 0) {
        store->refuse_calls--;
        port->wants_room = true;
        wake(port);
        return false;
    }
    if (store->in_flight_bytes != 0 &&
        store->in_flight_bytes + bytes > store->options.in_flight_bytes) {
        port->wants_room = true;
        return false;
    }
    return true;
}

static enum store_status
ensure(struct store_port *base, const char *name,
    const struct store_limits *limits, store_done *done, void *arg)
{
    struct memory_port *port = memory_port_of(base);
    size_t bytes = strlen(name);
    if (bytes == 0 || bytes > STORE_NAME_MAX) {
        return STORE_INVALID;
    }
    struct memory_call *call = memory_call_new(port, MEMORY_ENSURE, arg);
    if (call != NULL) {
        call->stream = calloc(1, sizeof *call->stream);
    }
    if (call == NULL || call->stream == NULL) {
        memory_call_free(call);
        return STORE_MEMORY;
    }
    memcpy(call->stream->info.name, name, bytes + 1);
    call->stream->info.limits = *limits;
    submit(port, call, done);
    return STORE_OK;
}

static enum store_status
change_stream(struct store_port *base, enum memory_kind kind, uint32_t stream,
    uint64_t from, store_done *done, void *arg)
{
    struct memory_port *port = memory_port_of(base);
    struct memory_call *call = memory_call_new(port, kind, arg);
    if (call == NULL) {
        return STORE_MEMORY;
    }
    call->append.stream = stream;
    call->from = from;
    submit(port, call, done);
    return STORE_OK;
}

static enum store_status
remove_stream(
    struct store_port *base, uint32_t stream, store_done *done, void *arg)
{
    return change_stream(base, MEMORY_REMOVE, stream, 0, done, arg);
}

static enum store_status
trim(struct store_port *base, uint32_t stream, uint64_t first_seq,
    store_done *done, void *arg)
{
    return change_stream(base, MEMORY_TRIM, stream, first_seq, done, arg);
}

static enum store_status
append(struct store_port *base, const struct store_append *append,
    store_done *done, void *arg)
{
    struct memory_port *port = memory_port_of(base);
    if (!memory_append_is_valid(append)) {
        return STORE_INVALID;
    }
    if (!take_room(port, append->bytes)) {
        return STORE_AGAIN;
    }
    struct memory_call *call = memory_call_new(port, MEMORY_APPEND, arg);
    if (call == NULL || !memory_call_has_records(call, append) ||
        !memory_reserve_values(
            port->store, append->values, append->value_count)) {
        memory_call_free(call);
        return STORE_MEMORY;
    }
    submit(port, call, done);
    return STORE_OK;
}

static enum store_status
put(struct store_port *base, const struct store_value *values, size_t count,
    store_done *done, void *arg)
{
    struct memory_port *port = memory_port_of(base);
    if (!memory_values_are_valid(values, count)) {
        return STORE_INVALID;
    }
    if (!take_room(port, 0)) {
        return STORE_AGAIN;
    }
    struct memory_call *call = memory_call_new(port, MEMORY_PUT, arg);
    if (call == NULL || !memory_call_has_values(call, values, count) ||
        !memory_reserve_values(port->store, values, count)) {
        memory_call_free(call);
        return STORE_MEMORY;
    }
    submit(port, call, done);
    return STORE_OK;
}

/* ---- calls that read ----------------------------------------------------- */

static void
ask(struct memory_port *port, struct memory_call *call)
{
    assert(!port->dead && !port->closed);
    TAILQ_INSERT_TAIL(&port->asked, call, next);
    wake(port);
}

static enum store_status
read_stream(struct store_port *base, uint32_t stream, uint64_t from,
    size_t max_bytes, bool follow, store_read_done *done, void *arg)
{
    struct memory_port *port = memory_port_of(base);
    struct memory_call *call = memory_call_new(port, MEMORY_READ, arg);
    if (call == NULL) {
        return STORE_MEMORY;
    }
    call->append.stream = stream;
    call->from = from;
    call->max_bytes = max_bytes;
    call->follow = follow;
    call->callback.read = done;
    ask(port, call);
    return STORE_OK;
}

static enum store_status
seek_time(struct store_port *base, uint32_t stream, uint64_t time_ms,
    store_read_done *done, void *arg)
{
    struct memory_port *port = memory_port_of(base);
    struct memory_call *call = memory_call_new(port, MEMORY_SEEK, arg);
    if (call == NULL) {
        return STORE_MEMORY;
    }
    call->append.stream = stream;
    call->from = time_ms;
    call->callback.read = done;
    ask(port, call);
    return STORE_OK;
}

static enum store_status
get(struct store_port *base, enum store_space space, const void *key,
    size_t key_bytes, store_value_done *done, void *arg)
{
    struct memory_port *port = memory_port_of(base);
    const struct store_value value = {
        .space = space, .key = key, .key_bytes = key_bytes};
    if (!memory_values_are_valid(&value, 1)) {
        return STORE_INVALID;
    }
    struct memory_call *call = memory_call_new(port, MEMORY_GET, arg);
    if (call == NULL || !memory_call_has_values(call, &value, 1)) {
        memory_call_free(call);
        return STORE_MEMORY;
    }
    call->callback.value = done;
    ask(port, call);
    return STORE_OK;
}

static enum store_status
scan(struct store_port *base, enum store_space space, store_value_done *done,
    void *arg)
{
    struct memory_port *port = memory_port_of(base);
    if (space < STORE_SPACE_STREAM || space >= STORE_SPACES) {
        return STORE_INVALID;
    }
    struct memory_call *call = memory_call_new(port, MEMORY_SCAN, arg);
    if (call == NULL) {
        return STORE_MEMORY;
    }
    call->space = space;
    call->callback.value = done;
    ask(port, call);
    return STORE_OK;
}

/* ---- from memory --------------------------------------------------------- */

static bool
stream_info(const struct store_port *base, uint32_t number,
    struct store_stream_info *out)
{
    const struct memory_stream *stream =
        memory_find_stream(((const struct memory_port *)base)->store, number);
    if (stream == NULL) {
        return false;
    }
    *out = stream->info;
    return true;
}

static uint32_t
next_stream(const struct store_port *base, uint32_t after)
{
    const struct memory_store *store =
        ((const struct memory_port *)base)->store;
    const struct memory_stream *stream;
    TAILQ_FOREACH(stream, &store->streams, next)
    {
        if (stream->info.stream > after) {
            return stream->info.stream;
        }
    }
    return 0;
}

static void
get_stats(const struct store *base, struct store_stats *out)
{
    const struct memory_store *store = (const struct memory_store *)base;
    *out = store->stats;
    out->in_flight_bytes = store->in_flight_bytes;
}

/* ---- the whole ----------------------------------------------------------- */

void
store_memory_fail(
    struct store *base, enum store_status status, uint32_t commits)
{
    assert(status == STORE_NO_SPACE || status == STORE_FAILED);
    memory_of(base)->fail_status = status;
    memory_of(base)->fail_commits = commits;
}

void
store_memory_refuse(struct store *base, uint32_t calls)
{
    memory_of(base)->refuse_calls = calls;
}

void
store_memory_set_time(struct store *base, uint64_t now_ms)
{
    struct memory_store *store = memory_of(base);
    store->now_ms = now_ms;
    struct memory_stream *stream;
    TAILQ_FOREACH(stream, &store->streams, next)
    {
        memory_enforce_limits(store, stream);
    }
}

void
store_memory_restart(struct store *base, bool crash)
{
    struct memory_store *store = memory_of(base);
    struct memory_port *port;
    struct memory_call *call;
    if (!crash) {
        TAILQ_FOREACH(call, &store->pending, next)
        {
            call->ticked = true;
        }
        (void)store_memory_commit(base);
    }
    while ((port = LIST_FIRST(&store->ports)) != NULL) {
        LIST_REMOVE(port, next);
        port->dead = true;
    }
    TAILQ_FOREACH(call, &store->pending, next)
    {
        memory_unreserve_values(store, call);
    }
    free_calls(&store->pending);
    store->in_flight_bytes = 0;
    store->refuse_calls = 0;
    store->fail_commits = 0;
    store->stats = (struct store_stats){0};
}

static void
close_store(struct store *base)
{
    struct memory_store *store = memory_of(base);
    assert(LIST_EMPTY(&store->ports));
    struct memory_stream *stream;
    struct memory_publisher *publisher;
    free_calls(&store->pending);
    while ((stream = TAILQ_FIRST(&store->streams)) != NULL) {
        TAILQ_REMOVE(&store->streams, stream, next);
        memory_free_stream(stream);
    }
    while ((publisher = LIST_FIRST(&store->publishers)) != NULL) {
        LIST_REMOVE(publisher, next);
        memory_free_publisher(publisher);
    }
    for (size_t space = 0; space < STORE_SPACES; space++) {
        struct memory_values *values = &store->values[space];
        while (values->count != 0) {
            free(values->sorted[--values->count]);
        }
        free(values->sorted);
    }
    free(store);
}

struct store *
store_memory_new(const struct store_memory_options *options)
{
    struct memory_store *store = calloc(1, sizeof *store);
    if (store == NULL) {
        return NULL;
    }
    store->base.operations = &operations;
    store->options = *options;
    if (options->in_flight_bytes == 0) {
        store->options.in_flight_bytes = IN_FLIGHT_BYTES;
    }
    store->random.state = options->seed;
    store->next_stream = 1;
    LIST_INIT(&store->ports);
    TAILQ_INIT(&store->pending);
    TAILQ_INIT(&store->streams);
    LIST_INIT(&store->publishers);
    return &store->base;
}

static const struct store_operations operations = {
    .port_open = port_open,
    .port_close = port_close,
    .poll = poll_port,
    .tick = tick,
    .has_room = has_room,
    .ensure = ensure,
    .remove = remove_stream,
    .append = append,
    .trim = trim,
    .put = put,
    .read = read_stream,
    .seek_time = seek_time,
    .get = get,
    .scan = scan,
    .stream_info = stream_info,
    .next_stream = next_stream,
    .get_stats = get_stats,
    .close = close_store,
};
