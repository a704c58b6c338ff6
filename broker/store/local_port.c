/* SPDX-License-Identifier: MIT
 *
 * Ports: callbacks that are due, and how their threads learn of them; see
 * local_store.h. */
#include "local_store.h"

#include <stdlib.h>
#include <string.h>

struct store_port *
local_port_open(struct store *store, const struct store_port_hooks *hooks)
{
    struct local *local = (struct local *)store;
    struct local_port *port = calloc(1, sizeof *port);
    if (port == NULL) {
        return NULL;
    }
    port->port.operations = store->operations;
    port->local = local;
    port->hooks = *hooks;
    port->references = 1;
    pthread_mutex_lock(&local->lock);
    port->next = local->ports;
    local->ports = port;
    pthread_mutex_unlock(&local->lock);
    return &port->port;
}

void
local_port_unref(struct local_port *port)
{
    if (--port->references > 0) {
        return;
    }
    free(port->due);
    free(port->running);
    free(port->checksums);
    free(port);
}

/* What came with a completion; its reference to the port too. */
static void
release(struct local *local, struct completion *completion)
{
    if (completion->kind == COMPLETE_READ) {
        reading_free(local, completion->read.reading);
    } else if (completion->kind == COMPLETE_VALUE ||
               completion->kind == COMPLETE_SCAN) {
        struct found_value *found = completion->value.found;
        while (found != NULL) {
            struct found_value *next = found->next;
            free(found);
            found = next;
        }
        free(completion->value.scan);
    }
}

static void
release_waiting(struct local *local, struct local_port *port)
{
    for (uint32_t i = 1; i < local->next_stream; i++) {
        struct stream *stream = local_stream(local, i);
        struct waiting **link = stream == NULL ? NULL : &stream->waiting;
        while (link != NULL && *link != NULL) {
            struct waiting *waiting = *link;
            if (waiting->port != port) {
                link = &waiting->next;
                continue;
            }
            *link = waiting->next;
            free(waiting);
            local_port_unref(port);
        }
    }
}

void
local_port_close(struct store_port *store_port)
{
    struct local_port *port = (struct local_port *)store_port;
    struct local *local = port->local;
    pthread_mutex_lock(&local->lock);
    port->closed = true;
    struct local_port **link = &local->ports;
    while (*link != port) {
        link = &(*link)->next;
    }
    *link = port->next;
    release_waiting(local, port);
    for (size_t i = 0; i < port->due_count; i++) {
        release(local, &port->due[i]);
        local_port_unref(port);
    }
    port->due_count = 0;
    if (local->open->count > 0) {
        local->ticked = true; /* nobody else might */
        if (local->commit_sleeps) {
            pthread_cond_signal(&local->commit_wake);
        }
    }
    local_port_unref(port);
    pthread_mutex_unlock(&local->lock);
}

static void
wake(struct local_port *port)
{
    if (!port->woken) {
        port->woken = true;
        port->hooks.wake(port->hooks.arg);
    }
}

void
local_complete_many(
    struct local_port *port, const struct completion *completion)
{
    if (port->due_count == port->due_capacity && !port->closed) {
        size_t capacity = port->due_capacity * 2 + 64;
        struct completion *due = realloc(port->due, capacity * sizeof *due);
        if (due == NULL) {
            /* There is no way to say so: the callback is lost for good. */
            abort();
        }
        port->due = due;
        port->due_capacity = capacity;
    }
    if (port->closed) {
        struct completion copy = *completion;
        release(port->local, &copy);
        local_port_unref(port);
        return;
    }
    port->due[port->due_count++] = *completion;
}

void
local_completed(struct local *local)
{
    for (struct local_port *port = local->ports; port != NULL;
         port = port->next) {
        if (port->due_count > 0) {
            wake(port);
        }
    }
}

void
local_complete(struct local_port *port, const struct completion *completion)
{
    struct local *local = port->local;
    local_complete_many(port, completion); /* may free it, if it is closed */
    local_completed(local);
}

void
local_give_room(struct local *local)
{
    if (!group_has_room(local, 0)) {
        return;
    }
    for (struct local_port *port = local->ports; port != NULL;
         port = port->next) {
        if (port->wants_room) {
            port->wants_room = false;
            port->room_due = true;
            wake(port);
        }
    }
}

static void
run_read(const struct completion *completion)
{
    const struct reading *reading = completion->read.reading;
    struct store_batch batch = {
        .status = completion->read.status, .next = completion->read.next};
    if (reading != NULL) {
        batch.runs = reading->runs;
        batch.run_count = reading->run_count;
        batch.next = reading->next;
        batch.damaged = reading->damaged;
    }
    completion->read.done(completion->arg, &batch);
}

/* The port may be closed by a callback: then no more of them. */
static void
run_values(struct local_port *port, const struct completion *completion)
{
    store_value_done *done = completion->value.done;
    const struct found_value *found = completion->value.found;
    for (; found != NULL && !port->closed; found = found->next) {
        struct store_value value = {.space = (enum store_space)found->space,
            .key = found->key_data,
            .key_bytes = found->key_bytes,
            .data = found->key_data + found->key_bytes,
            .bytes = found->bytes};
        done(completion->arg, STORE_OK, &value);
    }
    if (completion->kind == COMPLETE_SCAN && completion->value.scan == NULL &&
        !port->closed) {
        struct store_value end = {.key = NULL};
        done(completion->arg, completion->value.status, &end);
    } else if (completion->kind == COMPLETE_VALUE &&
               completion->value.found == NULL) {
        struct store_value none = {.key = NULL};
        done(completion->arg, completion->value.status, &none);
    }
}

static void
run(struct local_port *port, const struct completion *completion)
{
    switch (completion->kind) {
    case COMPLETE_CHANGE:
        completion->change.done(completion->arg, &completion->change.result);
        break;
    case COMPLETE_READ:
        run_read(completion);
        break;
    case COMPLETE_VALUE:
    case COMPLETE_SCAN:
        run_values(port, completion);
        break;
    }
}

void
local_poll(struct store_port *store_port)
{
    struct local_port *port = (struct local_port *)store_port;
    struct local *local = port->local;
    pthread_mutex_lock(&local->lock);
    port->woken = false;
    struct completion *running = port->due;
    size_t count = port->due_count;
    size_t capacity = port->due_capacity;
    port->due = port->running;
    port->due_capacity = port->running_capacity;
    port->due_count = 0;
    port->running = NULL;
    port->running_capacity = 0;
    bool room = port->room_due;
    port->room_due = false;
    port->references++;
    pthread_mutex_unlock(&local->lock);
    for (size_t i = 0; i < count && !port->closed; i++) {
        run(port, &running[i]);
    }
    if (room && !port->closed) {
        port->hooks.room(port->hooks.arg);
    }
    pthread_mutex_lock(&local->lock);
    for (size_t i = 0; i < count; i++) {
        if (running[i].kind == COMPLETE_SCAN && !port->closed &&
            running[i].value.scan != NULL) {
            /* The next slice; it keeps the reference to the port. */
            local_ask(local, running[i].value.scan);
            running[i].value.scan = NULL;
            port->references++;
        }
        release(local, &running[i]);
        local_port_unref(port);
    }
    if (port->running == NULL) {
        port->running = running;
        port->running_capacity = capacity;
    } else {
        free(running);
    }
    local_port_unref(port);
    pthread_mutex_unlock(&local->lock);
}

const struct store_operations local_operations = {
    .port_open = local_port_open,
    .port_close = local_port_close,
    .poll = local_poll,
    .tick = local_tick,
    .has_room = local_has_room,
    .ensure = local_ensure,
    .remove = local_remove,
    .append = local_append,
    .trim = local_trim,
    .put = local_put,
    .read = local_read,
    .seek_time = local_seek_time,
    .get = local_get,
    .scan = local_scan,
    .stream_info = local_stream_info,
    .next_stream = local_next_stream,
    .get_stats = local_get_stats,
    .close = local_close,
};
