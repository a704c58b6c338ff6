/* SPDX-License-Identifier: MIT
 *
 * Who drives the handle, and what the others do meanwhile. See handle.h.
 *
 * A blocking call waits for a condition. While no other thread drives, it does:
 * one turn after the other until its condition holds. Otherwise it sleeps until
 * the driving thread has made a turn, and takes over when that one returns. The
 * handle that is in an event loop is driven by the loop's thread alone, or its
 * callbacks would come from anywhere.
 *
 * Waking. The driving thread is either awake, and then looks at all there is
 * before it sleeps, or asleep in epoll_wait(). Who changes something while it
 * sleeps (or while nobody drives) writes to the eventfd, once.
 */
#include "handle.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#define US_PER_MS UINT64_C(1000)
#define US_PER_S  UINT64_C(1000000)
#define EVENTS    2 /* the socket and the eventfd */

/* ---- waking -------------------------------------------------------------- */

static void
poke(const struct broker_client *client)
{
    uint64_t one = 1;
    /* Fails only when it is full, and then it wakes as well. */
    ssize_t n = write(client->wake_fd, &one, sizeof one);
    (void)n;
}

void
client_wake(struct broker_client *client)
{
    if (!client->awake && !client->wake_pending) {
        client->wake_pending = true;
        poke(client);
    }
}

void
broker_client_stop(struct broker_client *client)
{
    /* Async-signal-safe: an atomic without lock, and write(). */
    int saved = errno;
    atomic_fetch_add(&client->stop_count, 1);
    poke(client);
    errno = saved;
}

static bool
is_stopped(struct broker_client *client, unsigned since)
{
    unsigned count = atomic_load(&client->stop_count);
    if (count == since) {
        return false;
    }
    client->stop_seen = count;
    return true;
}

/* ---- one turn ------------------------------------------------------------ */

static int
milliseconds_until(uint64_t deadline_us)
{
    if (deadline_us == SESSION_NEVER) {
        return -1;
    }
    uint64_t now_us = client_now_us();
    if (deadline_us <= now_us) {
        return 0;
    }
    /* Rounded up: to wake too early is to wake twice. */
    uint64_t ms = (deadline_us - now_us + US_PER_MS - 1) / US_PER_MS;
    return ms > INT32_MAX ? INT32_MAX : (int)ms;
}

static void
wait_for_events(struct broker_client *client, uint64_t until_us, bool for_next)
{
    struct epoll_event events[EVENTS];
    uint64_t deadline_us = link_deadline_us(client);
    deadline_us = until_us < deadline_us ? until_us : deadline_us;
    int timeout_ms =
        link_has_input(client) ? 0 : milliseconds_until(deadline_us);
    client->awake = false;
    (void)pthread_mutex_unlock(&client->lock);
    int n = epoll_wait(client->epoll_fd, events, EVENTS, timeout_ms);
    (void)pthread_mutex_lock(&client->lock);
    client->awake = true;
    uint32_t socket_events = 0;
    for (int i = 0; i < n; i++) {
        if (events[i].data.fd == client->wake_fd) {
            uint64_t count;
            ssize_t got = read(client->wake_fd, &count, sizeof count);
            (void)got;
            client->wake_pending = false;
        } else {
            socket_events = events[i].events;
        }
    }
    if (socket_events != 0) {
        link_event(client, socket_events, for_next);
    }
}

/* Everything that can be done now without asking the socket. */
static void
step(struct broker_client *client, bool for_next)
{
    link_step(client, client_now_us());
    if (link_has_input(client)) {
        link_process(client, for_next);
    }
    link_write(client);
}

static void
drive_begin(struct broker_client *client)
{
    assert(!client->driving);
    client->driving = true;
    client->driver = pthread_self();
    client->awake = true;
}

static void
drive_end(struct broker_client *client)
{
    link_write(client); /* what the last callbacks have published */
    client->driving = false;
    client->awake = false;
    (void)pthread_cond_broadcast(&client->changed);
}

/* ---- blocking calls ------------------------------------------------------ */

void
client_enter(struct broker_client *client)
{
    (void)pthread_mutex_lock(&client->lock);
    client->inside++;
}

void
client_leave(struct broker_client *client)
{
    client->inside--;
    bool free_now = client->free_on_return && client->inside == 0;
    if (client->freeing) {
        (void)pthread_cond_broadcast(&client->changed);
    }
    (void)pthread_mutex_unlock(&client->lock);
    if (free_now) {
        client_destroy(client);
    }
}

static void
sleep_until_changed(struct broker_client *client, uint64_t deadline_us)
{
    if (deadline_us == SESSION_NEVER) {
        (void)pthread_cond_wait(&client->changed, &client->lock);
        return;
    }
    struct timespec until = {
        .tv_sec = (time_t)(deadline_us / US_PER_S),
        .tv_nsec = (long)(deadline_us % US_PER_S * 1000),
    };
    (void)pthread_cond_timedwait(&client->changed, &client->lock, &until);
}

static bool
may_drive(const struct broker_client *client)
{
    return !client->driving &&
           (!client->loop_mode ||
               pthread_equal(client->loop_thread, pthread_self()));
}

struct wait {
    client_done_fn *done;
    void *argument;
    uint64_t deadline_us;
    unsigned stop_mark;
    bool first; /* without time to wait, what can be done is still done */
    enum broker_status status;
};

/* Is there no reason to go on? Then wait->status says how it ended. */
static bool
is_over(struct broker_client *client, struct wait *wait)
{
    if (wait->done(client, wait->argument)) {
        wait->status = BROKER_OK;
    } else if (client->freeing) {
        wait->status = BROKER_E_CLOSED;
    } else if (client->state == BROKER_CLIENT_CLOSED) {
        wait->status = client_closed_status(client);
    } else if (is_stopped(client, wait->stop_mark)) {
        wait->status = BROKER_E_INTERRUPTED;
    } else if (!wait->first && client_now_us() >= wait->deadline_us) {
        wait->status = BROKER_E_TIMEOUT;
    } else {
        return false;
    }
    return true;
}

enum broker_status
client_wait(struct broker_client *client, client_done_fn *done, void *argument,
    uint64_t deadline_us, bool for_next)
{
    if (client_is_callback(client)) {
        return client_refuse(client, BROKER_E_INVALID_ARGUMENT,
            "a blocking call inside a callback");
    }
    struct wait wait = {
        .done = done,
        .argument = argument,
        .deadline_us = deadline_us,
        /* A stop that came when nobody waited is for the next who does. */
        .stop_mark = client->stop_seen,
        .first = true,
    };
    bool drives = false;
    while (!is_over(client, &wait)) {
        if (!drives && !may_drive(client)) {
            client_wake(client);
            sleep_until_changed(client, deadline_us);
            wait.first = false;
            continue;
        }
        if (!drives) {
            drive_begin(client);
            client->session.stop_mark = wait.stop_mark;
            drives = true;
        }
        step(client, for_next);
        if (is_over(client, &wait)) { /* a callback of the step may say so */
            break;
        }
        wait_for_events(client, deadline_us, for_next);
        wait.first = false;
        (void)pthread_cond_broadcast(&client->changed);
    }
    if (drives) {
        drive_end(client);
    }
    return wait.status;
}

static bool
never(struct broker_client *client, void *argument)
{
    (void)client;
    (void)argument;
    return false;
}

enum broker_status
broker_client_run(struct broker_client *client, int timeout_ms)
{
    client_enter(client);
    enum broker_status status =
        client_wait(client, never, NULL, client_deadline_us(timeout_ms), false);
    client_leave(client);
    return status;
}

static bool
is_connected(struct broker_client *client, void *argument)
{
    (void)argument;
    return client->state == BROKER_CLIENT_CONNECTED;
}

enum broker_status
broker_client_connect_wait(struct broker_client *client, int timeout_ms)
{
    client_enter(client);
    enum broker_status status = client_wait(
        client, is_connected, NULL, client_deadline_us(timeout_ms), false);
    client_leave(client);
    return status;
}

static bool
has_event(struct broker_client *client, void *argument)
{
    struct inbox_entry **entry = argument;
    *entry = session_take_event(&client->session);
    return *entry != NULL;
}

enum broker_status
broker_client_next(struct broker_client *client, int timeout_ms,
    struct broker_client_event **out)
{
    struct inbox_entry *entry = NULL;
    client_enter(client);
    enum broker_status status = client_wait(
        client, has_event, &entry, client_deadline_us(timeout_ms), true);
    client_leave(client);
    if (status == BROKER_OK) {
        *out = &entry->event;
    }
    return status;
}

/* ---- waiters ------------------------------------------------------------- */

struct client_waiter *
client_waiter_new(void)
{
    return calloc(1, sizeof(struct client_waiter));
}

static bool
waiter_is_done(struct broker_client *client, void *argument)
{
    (void)client;
    const struct client_waiter *waiter = argument;
    return waiter->done;
}

enum broker_status
client_waiter_wait(struct broker_client *client, struct client_waiter *waiter,
    uint64_t deadline_us)
{
    client_wake(client);
    enum broker_status status =
        client_wait(client, waiter_is_done, waiter, deadline_us, false);
    if (status != BROKER_OK) {
        waiter->abandoned = true;
    }
    return status;
}

bool
client_waiter_begin(struct broker_client *client, struct client_waiter *waiter)
{
    (void)pthread_mutex_lock(&client->lock);
    return !waiter->abandoned;
}

void
client_waiter_finish(struct broker_client *client, struct client_waiter *waiter)
{
    if (waiter->abandoned) {
        free(waiter);
    } else {
        waiter->done = true;
        (void)pthread_cond_broadcast(&client->changed);
    }
    (void)pthread_mutex_unlock(&client->lock);
}

/* ---- event loops --------------------------------------------------------- */

int
broker_client_fd(const struct broker_client *client)
{
    return client->epoll_fd;
}

int
broker_client_timeout_ms(struct broker_client *client)
{
    (void)pthread_mutex_lock(&client->lock);
    int timeout_ms = -1;
    if (link_has_input(client)) {
        timeout_ms = 0;
    } else {
        timeout_ms = milliseconds_until(link_deadline_us(client));
    }
    (void)pthread_mutex_unlock(&client->lock);
    return timeout_ms;
}

static enum broker_status
process(struct broker_client *client)
{
    if (client_is_callback(client)) {
        return client_refuse(client, BROKER_E_INVALID_ARGUMENT,
            "broker_client_process inside a callback");
    }
    client->loop_mode = true;
    client->loop_thread = pthread_self();
    if (!client->driving && client->state != BROKER_CLIENT_CLOSED) {
        drive_begin(client);
        client->session.stop_mark = atomic_load(&client->stop_count);
        step(client, false);
        wait_for_events(client, 0, false);
        step(client, false);
        drive_end(client);
    }
    if (client->freeing) {
        return BROKER_E_CLOSED;
    }
    return client->state == BROKER_CLIENT_CLOSED ? client_closed_status(client)
                                                 : BROKER_OK;
}

enum broker_status
broker_client_process(struct broker_client *client)
{
    client_enter(client);
    enum broker_status status = process(client);
    client_leave(client);
    return status;
}
