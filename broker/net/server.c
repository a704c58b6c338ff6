/* SPDX-License-Identifier: MIT
 *
 * All workers together: starting, handing out connections, answering for the
 * whole, stopping; see server.h. Runs in the main thread, which is home. */
#include "server.h"

#include "admin.h"
#include "exchange.h"
#include "log.h"
#include "server_internal.h"
#include "tls.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

/* Peers that are turned away at the limit of connections hold a descriptor for
 * a moment; more of them at once are just closed. */
#define REJECTS_MAX 64

/* ---- stopping ------------------------------------------------------------ */

static struct timeval
milliseconds(uint64_t ms)
{
    return (struct timeval){
        .tv_sec = (time_t)(ms / 1000), .tv_usec = (long)(ms % 1000) * 1000};
}

/* To all but home, which is the one that gives orders. */
static void
order_others(struct server *server, unsigned orders)
{
    for (uint32_t i = 1; i < server->worker_count; i++) {
        mailbox_order(&server->workers[i].mailbox, orders);
    }
}

static void
drain_end_cb(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct server *server = arg;
    log_event(LOG_LEVEL_WARNING, "stop-timeout", "connections=%llu",
        (unsigned long long)atomic_load(&server->conn_count));
    order_others(server, WORKER_DROP);
    worker_drop_conns(&server->workers[0]);
}

static void
finish(struct server *server)
{
    order_others(server, WORKER_FINISH);
    server->workers[0].done = true;
}

static void
stop(struct server *server)
{
    server->stopping = true;
    listener_close_all(server);
    order_others(server, WORKER_SHUT_DOWN);
    core_shut_down(server->workers[0].core, server->options.retry_after_ms);
    struct timeval wait = milliseconds(server->options.drain_timeout_ms);
    if (event_add(server->drain_end, &wait) != 0) {
        drain_end_cb(-1, 0, server);
    }
}

/* Everything that outlived the last broker is there: let clients come. */
static void
serve(struct server *server)
{
    server->serving = true;
    if (!listener_start_all(server)) {
        server->failed = true;
        finish(server);
        return;
    }
    server->ready(server->ready_arg, server);
}

void
server_turn_ended(struct server *server, struct worker *worker)
{
    if (worker != &server->workers[0]) {
        return;
    }
    log_flush();
    if (!server->serving && core_is_ready(worker->core)) {
        serve(server);
    }
    if (server->stopping && atomic_load(&server->conn_count) == 0) {
        finish(server);
    }
}

/* ---- reloading ----------------------------------------------------------- */

void
server_take_over(struct server *server, struct worker *worker)
{
    pthread_mutex_lock(&server->fresh.mutex);
    struct core_options core = server->fresh.core;
    pthread_mutex_unlock(&server->fresh.mutex);
    core_set_options(worker->core, &core);
    conn_review_all(worker);
}

/* All that can fail is done before anything changes. */
static void
reload(struct server *server)
{
    struct server_options fresh = {.arg = NULL};
    if (server->stopping || server->options.reload == NULL ||
        !server->options.reload(server->options.arg, &fresh)) {
        log_event(LOG_LEVEL_WARNING, "reload-failed",
            "hint=\"everything is as before; see the lines above\"");
        return;
    }
    struct server_options *options = &server->options;
    pthread_mutex_lock(&server->fresh.mutex);
    server->fresh.core = fresh.core;
    pthread_mutex_unlock(&server->fresh.mutex);
    gate_set_access(server->gate, fresh.access);
    if (fresh.tls != NULL) { /* without, the listeners go on with the old */
        tls_unref(options->tls);
        options->tls = fresh.tls;
    }
    options->max_connections = fresh.max_connections;
    options->max_unauthenticated = fresh.max_unauthenticated;
    options->accept_retry_ms = fresh.accept_retry_ms;
    options->drain_timeout_ms = fresh.drain_timeout_ms;
    order_others(server, WORKER_RELOAD);
    worker_now(&server->workers[0]);
    server_take_over(server, &server->workers[0]);
    log_event(LOG_LEVEL_INFO, "reloaded", "connections=%llu",
        (unsigned long long)atomic_load(&server->conn_count));
}

static void
signal_cb(evutil_socket_t number, short what, void *arg)
{
    (void)what;
    struct server *server = arg;
    if (number == SIGHUP) {
        reload(server);
        return;
    }
    if (number == SIGUSR1) {
        if (server->options.reopen_log != NULL) {
            server->options.reopen_log(server->options.arg);
        }
        return;
    }
    if (server->stopping) {
        log_event(LOG_LEVEL_WARNING, "stopped", "reason=\"second signal\"");
        _exit(EXIT_FAILURE);
    }
    log_event(LOG_LEVEL_INFO, "stopping", "signal=%d connections=%llu",
        (int)number, (unsigned long long)atomic_load(&server->conn_count));
    worker_now(&server->workers[0]);
    stop(server);
}

/* ---- hooks of the core --------------------------------------------------- */

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
    case CORE_EVENT_DENIED:
        log_event(LOG_LEVEL_WARNING, "conn-denied",
            "conn=%llu peer=%s code=%s reason=\"%s\"", id, stats.peer,
            broker_status_name((unsigned)code), text);
        break;
    case CORE_EVENT_MEMORY:
        log_event(LOG_LEVEL_WARNING, "memory-tight", "reason=\"%s\"", text);
        break;
    case CORE_EVENT_STORE:
        log_event(LOG_LEVEL_ERROR, "store-trouble", "code=%s reason=\"%s\"",
            broker_status_name((unsigned)code), text);
        break;
    case CORE_EVENT_SLOW:
        log_event(LOG_LEVEL_WARNING, "slow-consumer",
            "conn=%llu peer=%s queued_bytes=%llu reason=\"%s\"", id, stats.peer,
            (unsigned long long)stats.queued_bytes, text);
        break;
    }
}

/* Of the system, because libevent's generator belongs to one thread. */
static void
random_hook(void *arg, uint8_t *dst, size_t len)
{
    (void)arg;
    while (len > 0) {
        ssize_t n = getrandom(dst, len, 0);
        if (n > 0) {
            dst += n;
            len -= (size_t)n;
        } else if (errno != EINTR) {
            log_event(LOG_LEVEL_ERROR, "no-random-bytes", "reason=\"%s\"",
                strerror(errno));
            abort(); /* ids that can be guessed are no ids */
        }
    }
}

static void
post_hook(void *arg, uint32_t worker, struct mailbag *bags)
{
    struct worker *from = arg;
    worker_post(&from->server->workers[worker], bags);
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

/* ---- answers about the whole --------------------------------------------- */

void
server_park(struct server *server)
{
    struct parking *parking = &server->parking;
    pthread_mutex_lock(&parking->mutex);
    parking->parked++;
    pthread_cond_broadcast(&parking->changed);
    while (parking->wanted) {
        pthread_cond_wait(&parking->changed, &parking->mutex);
    }
    parking->parked--;
    pthread_cond_broadcast(&parking->changed);
    pthread_mutex_unlock(&parking->mutex);
}

/* Let all others stand still between two turns. */
static void
park_others(struct server *server)
{
    struct parking *parking = &server->parking;
    pthread_mutex_lock(&parking->mutex);
    parking->wanted = true;
    pthread_mutex_unlock(&parking->mutex);
    order_others(server, WORKER_PARK);
    pthread_mutex_lock(&parking->mutex);
    while (parking->parked < server->worker_count - 1) {
        pthread_cond_wait(&parking->changed, &parking->mutex);
    }
    pthread_mutex_unlock(&parking->mutex);
}

static void
let_go(struct server *server)
{
    struct parking *parking = &server->parking;
    pthread_mutex_lock(&parking->mutex);
    parking->wanted = false;
    pthread_cond_broadcast(&parking->changed);
    /* Who has not gone on yet must not be counted by the next question. */
    while (parking->parked > 0) {
        pthread_cond_wait(&parking->changed, &parking->mutex);
    }
    pthread_mutex_unlock(&parking->mutex);
}

/* Asked of home only. */
static enum broker_status
answer_hook(void *arg, const struct core *core, struct broker_bytes topic,
    struct broker_bytes payload, struct buffer *reply)
{
    (void)core;
    struct worker *home = arg;
    struct server *server = home->server;
    const struct core *cores[EXCHANGE_WORKERS_MAX];
    for (uint32_t i = 0; i < server->worker_count; i++) {
        cores[i] = server->workers[i].core;
    }
    /* At the very end there are no threads any more, but still questions. */
    bool others_run = server->worker_count > 1 && server->workers[1].has_thread;
    if (others_run) {
        park_others(server);
    }
    enum broker_status status = admin_answer(cores, server->worker_count,
        server->options.store, topic, payload, reply);
    if (others_run) {
        let_go(server);
    }
    return status;
}

/* ---- connections --------------------------------------------------------- */

static struct worker *
least_loaded(struct server *server)
{
    struct worker *best = &server->workers[0];
    for (uint32_t i = 1; i < server->worker_count; i++) {
        struct worker *worker = &server->workers[i];
        if (atomic_load(&worker->load) < atomic_load(&best->load)) {
            best = worker;
        }
    }
    return best;
}

/* NULL if memory is out. */
static struct arrival *
arrival_new(struct server *server, evutil_socket_t fd, const char *peer,
    bool reject, bool tls)
{
    size_t peer_bytes = strlen(peer) + 1;
    struct arrival *arrival = malloc(sizeof *arrival + peer_bytes);
    if (arrival == NULL) {
        return NULL;
    }
    *arrival = (struct arrival){.id = ++server->conn_id,
        .tls = tls ? tls_ref(server->options.tls) : NULL,
        .fd = fd,
        .reject = reject};
    memcpy(arrival->peer, peer, peer_bytes);
    return arrival;
}

void
server_accepted(
    struct server *server, evutil_socket_t fd, const char *peer, bool tls)
{
    uint64_t limit = server->options.max_connections;
    uint64_t count = atomic_load(&server->conn_count);
    if (count >= limit + REJECTS_MAX) {
        evutil_closesocket(fd);
        return;
    }
    bool reject = count >= limit || atomic_load(&server->unadmitted) >=
                                        server->options.max_unauthenticated;
    struct arrival *arrival = arrival_new(server, fd, peer, reject, tls);
    if (arrival == NULL) {
        evutil_closesocket(fd);
        log_event(LOG_LEVEL_ERROR, "conn-refused",
            "peer=%s reason=\"out of memory\"", peer);
        return;
    }
    struct worker *worker = least_loaded(server);
    atomic_fetch_add(&server->conn_count, 1);
    atomic_fetch_add(&server->unadmitted, 1);
    atomic_fetch_add(&worker->load, 1);
    if (worker == &server->workers[0]) {
        worker_accept(worker, arrival);
    } else {
        mailbox_put_arrival(&worker->mailbox, arrival);
    }
}

void
server_conn_admitted(struct server *server)
{
    atomic_fetch_sub(&server->unadmitted, 1);
}

void
server_conn_ended(struct server *server, struct worker *worker)
{
    atomic_fetch_sub(&worker->load, 1);
    if (atomic_fetch_sub(&server->conn_count, 1) == 1 &&
        worker != &server->workers[0]) {
        mailbox_order(&server->workers[0].mailbox, 0); /* may be the end */
    }
}

/* ---- life ---------------------------------------------------------------- */

static void
log_no_memory(void)
{
    log_event(LOG_LEVEL_ERROR, "start-failed", "reason=\"out of memory\"");
}

static bool
make_events(struct server *server)
{
    static const int numbers[SERVER_SIGNALS] = {
        SIGTERM, SIGINT, SIGHUP, SIGUSR1};
    struct event_base *base = server->workers[0].base;
    server->drain_end = evtimer_new(base, drain_end_cb, server);
    bool ok = server->drain_end != NULL;
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        server->signals[i] = evsignal_new(base, numbers[i], signal_cb, server);
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
    if (server->addresses == NULL) {
        log_no_memory();
    }
    return server->addresses != NULL;
}

/* Workers that were begun are counted, so that they are ended. */
static bool
make_workers(struct server *server)
{
    uint32_t count = server->options.threads;
    uint8_t boot[BROKER_SESSION_BYTES];
    random_hook(NULL, boot, sizeof boot);
    server->workers = calloc(count, sizeof *server->workers);
    if (server->workers == NULL) {
        log_no_memory();
        return false;
    }
    for (uint32_t i = 0; i < count; i++) {
        struct core_options options = server->options.core;
        options.worker = i;
        options.workers = count;
        options.shared_bytes = &server->shared_bytes;
        options.other_bytes = &server->heap.other_bytes;
        options.boot = boot;
        struct core_hooks hooks = {.output_ready = conn_output_ready,
            .log = log_hook,
            .answer = answer_hook,
            .ask = admin_ask,
            .authenticate = gate_authenticate,
            .random = random_hook,
            .post = post_hook,
            .arg = &server->workers[i]};
        server->worker_count++;
        if (!worker_init(&server->workers[i], server, i, &options, &hooks)) {
            return false;
        }
    }
    return true;
}

static bool
make_gate(struct server *server)
{
    struct gate_options options = {.access = server->options.access,
        .clear_secrets = server->options.clear_secrets};
    random_hook(NULL, (uint8_t *)&options.seed, sizeof options.seed);
    server->options.access = NULL;
    server->gate = gate_new(&options);
    return server->gate != NULL;
}

struct server *
server_new(const struct server_options *options)
{
    event_set_log_callback(libevent_log_cb);
    /* A peer that is gone is an error of its connection only. */
    signal(SIGPIPE, SIG_IGN);
    struct server *server = calloc(1, sizeof *server);
    if (server == NULL) {
        log_no_memory();
        return NULL;
    }
    server->options = *options;
    LIST_INIT(&server->listeners);
    pthread_mutex_init(&server->fresh.mutex, NULL);
    pthread_mutex_init(&server->parking.mutex, NULL);
    pthread_cond_init(&server->parking.changed, NULL);
    if (!make_gate(server) || !make_workers(server)) {
        server_free(server);
        return NULL;
    }
    if (!make_events(server)) {
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

static void
event_free_if(struct event *event)
{
    if (event != NULL) {
        event_free(event);
    }
}

/* The threads have ended: what they still have to say to each other. */
static void
settle(struct server *server)
{
    bool quiet = false;
    while (!quiet) {
        quiet = true;
        for (uint32_t i = 0; i < server->worker_count; i++) {
            if (server->workers[i].core != NULL) {
                core_post_mail(server->workers[i].core);
            }
        }
        for (uint32_t i = 0; i < server->worker_count; i++) {
            struct worker *worker = &server->workers[i];
            if (worker->core != NULL && worker->has_mailbox) {
                quiet = !worker_read_mail(worker) && quiet;
                quiet = core_read_mail(worker->core) && quiet;
            }
        }
    }
}

void
server_free(struct server *server)
{
    if (server == NULL) {
        return;
    }
    listener_close_all(server);
    for (uint32_t i = 0; i < server->worker_count; i++) {
        worker_drop_conns(&server->workers[i]);
    }
    if (server->gate != NULL) {
        gate_stop(server->gate);
    }
    settle(server);
    event_free_if(server->drain_end);
    for (size_t i = 0; i < sizeof server->signals / sizeof server->signals[0];
         i++) {
        event_free_if(server->signals[i]);
    }
    for (uint32_t i = 0; i < server->worker_count; i++) {
        worker_fini(&server->workers[i]);
    }
    free(server->workers);
    gate_free(server->gate);
    pthread_mutex_destroy(&server->fresh.mutex);
    pthread_mutex_destroy(&server->parking.mutex);
    pthread_cond_destroy(&server->parking.changed);
    tls_unref(server->options.tls);
    free(server->addresses);
    free(server);
}

const char *
server_addresses(const struct server *server)
{
    return server->addresses;
}

/* ---- running ------------------------------------------------------------- */

static void *
thread_main(void *arg)
{
    worker_run(arg);
    return NULL;
}

/* Signals come to the main thread, whose loop watches for them. */
static bool
start_threads(struct server *server)
{
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    bool ok = true;
    for (uint32_t i = 1; ok && i < server->worker_count; i++) {
        struct worker *worker = &server->workers[i];
        int error = pthread_create(&worker->thread, NULL, thread_main, worker);
        worker->has_thread = ok = error == 0;
        if (!ok) {
            log_event(LOG_LEVEL_ERROR, "start-failed",
                "thread=%u reason=\"%s\" hint=\"use fewer threads\"", i,
                strerror(error));
        }
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return ok;
}

static void
join_threads(struct server *server)
{
    for (uint32_t i = 1; i < server->worker_count; i++) {
        struct worker *worker = &server->workers[i];
        if (worker->has_thread) {
            pthread_join(worker->thread, NULL);
            worker->has_thread = false;
        }
    }
}

int
server_run(struct server *server, server_ready_fn *ready, void *arg)
{
    bool ok = start_threads(server);
    server->ready = ready;
    server->ready_arg = arg;
    if (ok) {
        mailbox_order(&server->workers[0].mailbox, 0); /* a first turn */
        worker_run(&server->workers[0]);
    }
    ok = ok && !server->failed;
    order_others(server, WORKER_FINISH);
    join_threads(server);
    if (!ok) {
        return EXIT_FAILURE;
    }
    log_event(LOG_LEVEL_INFO, "stopped", "reason=\"signal\"");
    return EXIT_SUCCESS;
}
