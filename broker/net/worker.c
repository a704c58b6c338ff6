/* SPDX-License-Identifier: MIT
 *
 * The event loop of one worker; see worker.h. */
#include "worker.h"

#include "gate.h"
#include "log.h"
#include "server_internal.h"
#include "store.h"
#include "tls.h"
#include "verifier.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* How often to look whether there is memory again. */
#define STARVED_RETRY_MS 10

/* ---- time ---------------------------------------------------------------- */

static uint64_t
clock_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* What is stored says when. */
static uint64_t
wall_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

uint64_t
worker_now(struct worker *worker)
{
    uint64_t ms = clock_ms();
    core_set_now(worker->core, ms);
    if (worker->store != NULL) {
        core_set_wall(worker->core, wall_ms());
    }
    if (worker->polled_ms == 0) {
        worker->polled_ms = ms;
        core_set_polled(worker->core, ms);
    }
    return ms;
}

static void
tick_cb(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct worker *worker = arg;
    worker_now(worker);
    worker->tick_ms = UINT64_MAX; /* the end of the turn does the work */
}

/* Wake up at `due_ms`, unless that is planned already. A deadline that moved
 * away costs one idle wake-up, which is cheaper than moving the timer with
 * every message. */
static void
plan_tick(struct worker *worker, uint64_t now_ms, uint64_t due_ms)
{
    if (due_ms >= worker->tick_ms) {
        return;
    }
    uint64_t wait_ms = due_ms > now_ms ? due_ms - now_ms : 0;
    struct timeval wait = {.tv_sec = (time_t)(wait_ms / 1000),
        .tv_usec = (long)(wait_ms % 1000) * 1000};
    if (event_add(worker->tick, &wait) == 0) {
        worker->tick_ms = due_ms;
    }
}

/* ---- turns --------------------------------------------------------------- */

static uint64_t
earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static void
end_turn(struct worker *worker)
{
    uint64_t now_ms = worker_now(worker);
    uint64_t due_ms = core_tick(worker->core);
    bool starves = !core_read_mail(worker->core);
    core_store_tick(worker->core);
    core_post_mail(worker->core);
    conn_flush_ready(worker);
    due_ms = earlier(due_ms, core_due(worker->core));
    if (!TAILQ_EMPTY(&worker->starved)) {
        conn_feed_starved(worker);
        due_ms = core_tick(worker->core);
        starves = starves || !TAILQ_EMPTY(&worker->starved);
    }
    if (starves) {
        due_ms = earlier(due_ms, now_ms + STARVED_RETRY_MS);
    }
    due_ms = earlier(due_ms, heap_look(&worker->server->heap, now_ms,
                                 atomic_load(&worker->server->shared_bytes)));
    if (worker->drops) {
        worker->drops = false;
        worker_drop_conns(worker);
    }
    conn_reap(worker);
    core_store_tick(worker->core);
    core_post_mail(worker->core);
    worker->handshakes = 0;
    plan_tick(worker, now_ms, due_ms);
    server_turn_ended(worker->server, worker);
}

void
worker_run(struct worker *worker)
{
    while (!worker->done) {
        int flags = EVLOOP_ONCE;
        if (!TAILQ_EMPTY(&worker->ready)) {
            flags |= EVLOOP_NONBLOCK; /* there is more to send right now */
        }
        worker->polled_ms = 0;
        if (event_base_loop(worker->base, flags) < 0) {
            log_event(LOG_LEVEL_ERROR, "loop-failed", "reason=\"%s\"",
                strerror(errno));
            _exit(EXIT_FAILURE); /* there is no broker without its loops */
        }
        end_turn(worker);
    }
}

/* ---- mail ---------------------------------------------------------------- */

void
worker_accept(struct worker *worker, struct arrival *arrival)
{
    worker_now(worker);
    if (!conn_open(worker, arrival)) {
        server_conn_admitted(worker->server);
        server_conn_ended(worker->server, worker);
        log_event(LOG_LEVEL_ERROR, "conn-refused",
            "peer=%s reason=\"out of memory\"", arrival->peer);
    }
    tls_unref(arrival->tls);
    free(arrival);
}

static void
accept_arrivals(struct worker *worker, struct arrival *arrival)
{
    while (arrival != NULL) {
        struct arrival *next = arrival->next;
        worker_accept(worker, arrival);
        arrival = next;
    }
}

static void
read_verdicts(struct verification *verification)
{
    while (verification != NULL) {
        struct verification *next = verification->next;
        gate_on_verdict(verification);
        verification = next;
    }
}

static void
obey(struct worker *worker, unsigned orders)
{
    if ((orders & WORKER_PARK) != 0) {
        server_park(worker->server);
    }
    if ((orders & WORKER_SHUT_DOWN) != 0) {
        core_shut_down(worker->core, worker->server->options.retry_after_ms);
    }
    if ((orders & WORKER_RELOAD) != 0) {
        server_take_over(worker->server, worker);
    }
    if ((orders & WORKER_STORE) != 0) {
        core_store_poll(worker->core);
    }
    if ((orders & WORKER_DROP) != 0) {
        worker->drops = true; /* at the end of the turn: one may be in use */
    }
    if ((orders & WORKER_FINISH) != 0) {
        worker->done = true;
    }
}

bool
worker_read_mail(struct worker *worker)
{
    struct mail mail = mailbox_take(&worker->mailbox);
    worker_now(worker);
    accept_arrivals(worker, mail.arrivals);
    if (mail.bags != NULL) {
        core_receive_mail(worker->core, mail.bags);
    }
    read_verdicts(mail.verifications);
    obey(worker, mail.orders);
    return mail.bags != NULL || mail.arrivals != NULL ||
           mail.verifications != NULL || mail.orders != 0;
}

void
worker_look_for_mail(struct worker *worker)
{
    if (mailbox_has_mail(&worker->mailbox)) {
        (void)worker_read_mail(worker);
    }
}

static void
mail_cb(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    (void)worker_read_mail(arg);
}

void
worker_post(struct worker *to, struct mailbag *bags)
{
    mailbox_put_bags(&to->mailbox, bags);
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
watch_mail(struct worker *worker)
{
    worker->mail = event_new(worker->base, worker->mailbox.wake,
        EV_READ | EV_PERSIST, mail_cb, worker);
    return worker->mail != NULL && event_add(worker->mail, NULL) == 0;
}

static void
wake_for_store(void *arg)
{
    struct worker *worker = arg;
    mailbox_order(&worker->mailbox, WORKER_STORE);
}

static void
room_in_store(void *arg)
{
    struct worker *worker = arg;
    core_store_room(worker->core);
}

static bool
open_store(struct worker *worker, struct core_options *options)
{
    struct store *store = worker->server->options.store;
    if (store == NULL) {
        return true;
    }
    struct store_port_hooks hooks = {
        .wake = wake_for_store, .room = room_in_store, .arg = worker};
    worker->store = store_port_open(store, &hooks);
    options->store = worker->store;
    return worker->store != NULL;
}

bool
worker_init(struct worker *worker, struct server *server, uint32_t number,
    const struct core_options *options, const struct core_hooks *hooks)
{
    worker->server = server;
    worker->number = number;
    worker->tick_ms = UINT64_MAX;
    TAILQ_INIT(&worker->conns);
    TAILQ_INIT(&worker->ready);
    TAILQ_INIT(&worker->starved);
    TAILQ_INIT(&worker->dying);
    struct core_options own = *options;
    worker->has_mailbox = mailbox_init(&worker->mailbox);
    if (worker->has_mailbox && open_store(worker, &own)) {
        worker->core = core_new(&own, hooks, clock_ms());
    }
    worker->base = base_new();
    if (worker->core != NULL && worker->base != NULL) {
        worker->tick = evtimer_new(worker->base, tick_cb, worker);
    }
    if (worker->tick == NULL || !watch_mail(worker)) {
        log_event(
            LOG_LEVEL_ERROR, "start-failed", "reason=\"%s\"", strerror(errno));
        return false;
    }
    return true;
}

void
worker_drop_conns(struct worker *worker)
{
    if (worker->core != NULL) {
        conn_drop_all(worker);
    }
}

void
worker_fini(struct worker *worker)
{
    core_free(worker->core); /* it may have something to store yet */
    store_port_close(worker->store);
    if (worker->tick != NULL) {
        event_free(worker->tick);
    }
    if (worker->mail != NULL) {
        event_free(worker->mail);
    }
    if (worker->base != NULL) {
        event_base_free(worker->base);
    }
    if (worker->has_mailbox) {
        mailbox_fini(&worker->mailbox);
    }
}
