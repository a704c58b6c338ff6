/* SPDX-License-Identifier: MIT
 *
 * The daemon: listeners, signals, and worker threads that have the connections.
 * The functions here are for the main thread.
 */
#ifndef BROKER_NET_SERVER_H
#define BROKER_NET_SERVER_H

#include <broker/address.h>

#include "core.h"

struct server;

struct access;
struct tls;

struct server_options {
    struct core_options core;
    /* Users and rules: a reference, which server_new takes over; NULL: nobody
     * is asked who he is. */
    struct access *access;
    /* For tls:// addresses: a reference likewise; NULL: there are none. */
    struct tls *tls;
    bool clear_secrets;  /* see gate.h */
    struct store *store; /* the caller's, as long as the server; or NULL */
    /* On SIGHUP: read everything anew into `fresh`, of which `core`, `access`,
     * `tls` (unless NULL), `clear_secrets`, and the limits and times below are
     * used. False after logging why not: then nothing changes. NULL: nothing
     * can be reloaded. */
    bool (*reload)(void *arg, struct server_options *fresh);
    void (*reopen_log)(void *arg); /* on SIGUSR1; or NULL */
    void *arg;
    const struct broker_address *addresses; /* used by server_new only */
    size_t address_count;
    uint32_t threads; /* at least 1, at most 64 */
    uint32_t backlog;
    uint32_t unix_mode;
    uint32_t max_connections;
    uint32_t max_unauthenticated;
    uint32_t accept_retry_ms;
    uint32_t close_linger_ms;
    uint32_t drain_timeout_ms;
    uint32_t retry_after_ms; /* told to clients at shutdown */
};

/* Listen on every address. NULL if that is not possible: then the log says for
 * which address, why, and what to do. */
struct server *server_new(const struct server_options *options);
void server_free(struct server *server);

/* The bound addresses as text, divided by spaces, with the ports that the
 * system chose. Valid as long as the server. */
const char *server_addresses(const struct server *server);

/* Serve until SIGTERM or SIGINT and then until everything queued is delivered
 * or drain_timeout_ms is over. A second signal exits the process at once.
 * Returns the exit status. `ready` is called once everything runs: after it,
 * nothing can keep the broker from serving. If something does, and the log says
 * what, it is not called. */
typedef void server_ready_fn(void *arg, const struct server *server);
int server_run(struct server *server, server_ready_fn *ready, void *arg);

#endif
