/* SPDX-License-Identifier: MIT
 *
 * From the store's functions to whoever implements them; see store.h. */
#include "store.h"

struct store_port *
store_port_open(struct store *store, const struct store_port_hooks *hooks)
{
    return store->operations->port_open(store, hooks);
}

void
store_port_close(struct store_port *port)
{
    if (port != NULL) {
        port->operations->port_close(port);
    }
}

void
store_poll(struct store_port *port)
{
    port->operations->poll(port);
}

void
store_tick(struct store_port *port)
{
    port->operations->tick(port);
}

bool
store_has_room(struct store_port *port)
{
    return port->operations->has_room(port);
}

enum store_status
store_ensure(struct store_port *port, const char *name,
    const struct store_limits *limits, store_done *done, void *arg)
{
    return port->operations->ensure(port, name, limits, done, arg);
}

enum store_status
store_remove(
    struct store_port *port, uint32_t stream, store_done *done, void *arg)
{
    return port->operations->remove(port, stream, done, arg);
}

enum store_status
store_append(struct store_port *port, const struct store_append *append,
    store_done *done, void *arg)
{
    return port->operations->append(port, append, done, arg);
}

enum store_status
store_trim(struct store_port *port, uint32_t stream, uint64_t first_seq,
    store_done *done, void *arg)
{
    return port->operations->trim(port, stream, first_seq, done, arg);
}

enum store_status
store_put(struct store_port *port, const struct store_value *values,
    size_t count, store_done *done, void *arg)
{
    return port->operations->put(port, values, count, done, arg);
}

enum store_status
store_read(struct store_port *port, uint32_t stream, uint64_t from,
    size_t max_bytes, bool follow, store_read_done *done, void *arg)
{
    return port->operations->read(
        port, stream, from, max_bytes, follow, done, arg);
}

enum store_status
store_seek_time(struct store_port *port, uint32_t stream, uint64_t time_ms,
    store_read_done *done, void *arg)
{
    return port->operations->seek_time(port, stream, time_ms, done, arg);
}

enum store_status
store_get(struct store_port *port, enum store_space space, const void *key,
    size_t key_bytes, store_value_done *done, void *arg)
{
    return port->operations->get(port, space, key, key_bytes, done, arg);
}

enum store_status
store_scan(struct store_port *port, enum store_space space,
    store_value_done *done, void *arg)
{
    return port->operations->scan(port, space, done, arg);
}

bool
store_stream_info(const struct store_port *port, uint32_t stream,
    struct store_stream_info *out)
{
    return port->operations->stream_info(port, stream, out);
}

uint32_t
store_next_stream(const struct store_port *port, uint32_t after)
{
    return port->operations->next_stream(port, after);
}

void
store_get_stats(const struct store *store, struct store_stats *out)
{
    store->operations->get_stats(store, out);
}

void
store_close(struct store *store)
{
    if (store != NULL) {
        store->operations->close(store);
    }
}
