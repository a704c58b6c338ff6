/* SPDX-License-Identifier: MIT
 *
 * The event loop; see server.h. After each round of callbacks the turn ends:
 * what became ready is sent, what became due is done, what ended is freed. */
#include "server.h"

#include "admin.h"
#include "log.h"
#include "server_internal.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* How often to look whether there is memory again. */
#define STARVED_RETRY_MS 10
/* Peers that are turned away at the limit of connections hold a descriptor for
 * a moment; more of them at once are just closed. */
#define REJECTS_MAX 64

/* ---- time ---------------------------------------------------------------- */

static uint64_t
clock_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

uint64_t
server_now(struct server *server)
{
    uint64_t ms = clock_ms();
    core_set_now(server->core, ms);
    return ms;
}

static struct timeval
milliseconds(uint64_t ms)
{
    return (struct timeval){
        .tv_sec = (time_t)(ms / 1000), .tv_usec = (long)(ms % 1000) * 1000};
}

static void
tick_cb(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct server *server = arg;
    server->tick_ms = UINT64_MAX; /* the end of the turn does the work */
}

/* Wake up at `due_ms`, unless that is planned already. A deadline that moved
 * away costs one idle wake-up, which is cheaper than moving the timer with
 * every message. */
static void
plan_tick(struct server *server, uint64_t now_ms, uint64_t due_ms)
{
    if (due_ms >= server->tick_ms) {
        return;
    }
    struct timeval wait = milliseconds(due_ms > now_ms ? due_ms - now_ms : 0);
    if (event_add(server->tick, &wait) == 0) {
        server->tick_ms = due_ms;
    }
}

static void
end_turn(struct server *server)
{
    uint64_t now_ms = server_now(server);
    uint64_t due_ms = core_tick(server->core);
    conn_flush_ready(server);
    if (!TAILQ_EMPTY(&server->starved)) {
        conn_feed_starved(server);
        due_ms = core_tick(server->core);
        if (!TAILQ_EMPTY(&server->starved) &&
            due_ms > now_ms + STARVED_RETRY_MS) {
            due_ms = now_ms + STARVED_RETRY_MS;
        }
    }
    conn_reap(server);
    plan_tick(server, now_ms, due_ms);
    if (server->stopping && server->conn_count == 0) {
        server->done = true;
    }
}

/* ---- stopping ------------------------------------------------------------ */

static void
drain_end_cb(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct server *server = arg;
    log_event(LOG_LEVEL_WARNING, "stop-timeout", "connections=%llu",
        (unsigned long long)server->conn_count);
    conn_drop_all(server);
    server->done = true;
}

static void
stop(struct server *server, int signal_number)
{
    log_event(LOG_LEVEL_INFO, "stopping", "signal=%d connections=%llu",
        signal_number, (unsigned long long)server->conn_count);
    server->stopping = true;
    listener_close_all(server);
    core_shut_down(server->core, server->options.retry_after_ms);
    struct timeval wait = milliseconds(server->options.drain_timeout_ms);
    if (event_add(server->drain_end, &wait) != 0) {
        server->done = true;
    }
}

static void
signal_cb(evutil_socket_t number, short what, void *arg)
{
    (void)what;
    struct server *server = arg;
    if (number == SIGHUP) {
        log_event(LOG_LEVEL_WARNING, "reload-ignored",
            "hint=\"this version reads its configuration at start only\"");
        return;
    }
    if (server->stopping) {
        log_event(LOG_LEVEL_WARNING, "stopped", "reason=\"second signal\"");
        _exit(EXIT_FAILURE);
    }
    server_now(server);
    stop(server, (int)number);
}

/* ---- hooks of the core --------------------------------------------------- */

static void
output_ready(void *owner)
{
    conn_output_ready(owner);
}

static void
log_hook(void *arg, enum core_event event, const struct session *session,
    enum broker_status code, const char *text)
{
    (void)arg;
    struct session_stats stats = {0};
    if (session != NULL) {
        session_get_stats(session, &stats);
    }
    char name[128];
    unsigned long long id = stats.id;
    switch (event) {
    case CORE_EVENT_OPENED:
        log_event(LOG_LEVEL_INFO, "conn-open", "conn=%llu peer=%s name=%s", id,
            stats.peer,
            log_quote(name, sizeof name, stats.name, strlen(stats.name)));
        break;
    case CORE_EVENT_PROTOCOL_ERROR:
        log_event(LOG_LEVEL_WARNING, "protocol-error",
            "conn=%llu peer=%s code=%s reason=\"%s\"", id, stats.peer,
            broker_status_name((unsigned)code), text);
        break;
    case CORE_EVENT_CLOSING:
        log_event(LOG_LEVEL_WARNING, "conn-closing",
            "conn=%llu peer=%s code=%s reason=\"%s\"", id, stats.peer,
            broker_status_name((unsigned)code), text);
        break;
    case CORE_EVENT_MEMORY:
        log_event(LOG_LEVEL_WARNING, "memory-tight", "reason=\"%s\"", text);
        break;
    case CORE_EVENT_SLOW:
        log_event(LOG_LEVEL_WARNING, "slow-consumer",
            "conn=%llu peer=%s queued_bytes=%llu reason=\"%s\"", id, stats.peer,
            (unsigned long long)stats.queued_bytes, text);
        break;
    }
}

static void
random_hook(void *arg, uint8_t *dst, size_t len)
{
    (void)arg;
    evutil_secure_rng_get_bytes(dst, len);
}

static void
libevent_log_cb(int severity, const char *message)
{
    enum log_level level = severity >= EVENT_LOG_ERR    ? LOG_LEVEL_ERROR
                           : severity >= EVENT_LOG_WARN ? LOG_LEVEL_WARNING
                                                        : LOG_LEVEL_DEBUG;
    char text[256];
    log_event(level, "libevent", "message=%s",
        log_quote(text, sizeof text, message, strlen(message)));
}

/* ---- connections --------------------------------------------------------- */

void
server_accepted(struct server *server, evutil_socket_t fd, const char *peer)
{
    uint64_t limit = server->options.max_connections;
    if (server->conn_count >= limit + REJECTS_MAX) {
        evutil_closesocket(fd);
        return;
    }
    server_now(server);
    bool reject = server->conn_count >= limit;
    if (!conn_open(server, fd, ++server->conn_id, peer, reject)) {
        log_event(LOG_LEVEL_ERROR, "conn-refused",
            "peer=%s reason=\"out of memory\"", peer);
    }
}

/* ---- life ---------------------------------------------------------------- */

static struct event_base *
base_new(void)
{
    struct event_config *config = event_config_new();
    struct event_base *base = NULL;
    if (config != NULL &&
        event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK) == 0) {
        base = event_base_new_with_config(config);
    }
    if (config != NULL) {
        event_config_free(config);
    }
    return base;
}

static bool
make_events(struct server *server)
{
    static const int numbers[] = {SIGTERM, SIGINT, SIGHUP};
    server->tick = evtimer_new(server->base, tick_cb, server);
    server->drain_end = evtimer_new(server->base, drain_end_cb, server);
    bool ok = server->tick != NULL && server->drain_end != NULL;
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        server->signals[i] =
            evsignal_new(server->base, numbers[i], signal_cb, server);
        ok = ok && server->signals[i] != NULL &&
             event_add(server->signals[i], NULL) == 0;
    }
    return ok;
}

static bool
listen_everywhere(struct server *server)
{
    for (size_t i = 0; i < server->options.address_count; i++) {
        if (!listener_open(server, &server->options.addresses[i])) {
            return false;
        }
    }
    server->addresses = listener_addresses(server);
    return server->addresses != NULL;
}

static void
event_free_if(struct event *event)
{
    if (event != NULL) {
        event_free(event);
    }
}

struct server *
server_new(const struct server_options *options)
{
    event_set_log_callback(libevent_log_cb);
    /* A peer that is gone is an error of its connection only. */
    signal(SIGPIPE, SIG_IGN);
    struct server *server = calloc(1, sizeof *server);
    if (server == NULL) {
        log_event(LOG_LEVEL_ERROR, "start-failed", "reason=\"out of memory\"");
        return NULL;
    }
    server->options = *options;
    server->tick_ms = UINT64_MAX;
    LIST_INIT(&server->listeners);
    TAILQ_INIT(&server->conns);
    TAILQ_INIT(&server->ready);
    TAILQ_INIT(&server->starved);
    TAILQ_INIT(&server->dying);
    struct core_hooks hooks = {.output_ready = output_ready,
        .log = log_hook,
        .answer = admin_answer,
        .random = random_hook};
    server->core = core_new(&options->core, &hooks, clock_ms());
    server->base = base_new();
    if (server->core == NULL || server->base == NULL || !make_events(server)) {
        log_event(
            LOG_LEVEL_ERROR, "start-failed", "reason=\"%s\"", strerror(errno));
        server_free(server);
        return NULL;
    }
    if (!listen_everywhere(server)) {
        server_free(server);
        return NULL;
    }
    return server;
}

void
server_free(struct server *server)
{
    if (server == NULL) {
        return;
    }
    listener_close_all(server);
    if (server->core != NULL) {
        conn_drop_all(server);
    }
    core_free(server->core);
    event_free_if(server->tick);
    event_free_if(server->drain_end);
    for (size_t i = 0; i < sizeof server->signals / sizeof server->signals[0];
         i++) {
        event_free_if(server->signals[i]);
    }
    if (server->base != NULL) {
        event_base_free(server->base);
    }
    free(server->addresses);
    free(server);
}

const char *
server_addresses(const struct server *server)
{
    return server->addresses;
}

int
server_run(struct server *server)
{
    while (!server->done) {
        int flags = EVLOOP_ONCE;
        if (!TAILQ_EMPTY(&server->ready)) {
            flags |= EVLOOP_NONBLOCK; /* there is more to send right now */
        }
        if (event_base_loop(server->base, flags) < 0) {
            log_event(LOG_LEVEL_ERROR, "loop-failed", "reason=\"%s\"",
                strerror(errno));
            return EXIT_FAILURE;
        }
        end_turn(server);
    }
    log_event(LOG_LEVEL_INFO, "stopped", "reason=\"signal\"");
    return EXIT_SUCCESS;
}
