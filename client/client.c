/* SPDX-License-Identifier: MIT
 *
 * The life of a handle: new, close, free; its state and its time. See
 * handle.h.
 */
#include "handle.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#define US_PER_MS UINT64_C(1000)

/* ---- time ---------------------------------------------------------------- */

uint64_t
client_now_us(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

uint64_t
client_deadline_us(int timeout_ms)
{
    if (timeout_ms < 0) {
        return SESSION_NEVER;
    }
    return client_now_us() + (uint64_t)timeout_ms * US_PER_MS;
}

/* ---- state --------------------------------------------------------------- */

static bool
may_follow(const struct broker_client *client, enum broker_client_state state)
{
    if (state == BROKER_CLIENT_CLOSED) {
        return client->state != BROKER_CLIENT_CLOSED;
    }
    if (state == client->state) {
        return false; /* the next address of a round, for instance */
    }
    /* While closing, what the connection does is nobody's business. */
    return !client->closing || state == BROKER_CLIENT_CLOSING;
}

void
client_set_state(struct broker_client *client, enum broker_client_state state,
    enum broker_status status, uint64_t unknown_publishes)
{
    if (!may_follow(client, state)) {
        return;
    }
    char text[TEXT_MAX] = "";
    char address[BROKER_ADDRESS_TEXT_MAX];
    memcpy(address, client->address_text, sizeof address);
    if (status != BROKER_OK) {
        memcpy(text, client->session.error_text, TEXT_MAX);
    }
    struct broker_client_state_event event = {
        .state = state,
        .previous = client->state,
        .status = status,
        .text = text,
        .address = address,
        .unknown_publishes = unknown_publishes,
    };
    if (state == BROKER_CLIENT_WAITING) {
        uint64_t now_us = client_now_us();
        if (client->reconnect.next_us > now_us) {
            event.retry_in_ms =
                (uint32_t)((client->reconnect.next_us - now_us) / US_PER_MS);
        }
    }
    if (state == BROKER_CLIENT_CONNECTED) {
        event.reconnected = client->ever_connected;
        event.broker_restarted = client->session.broker_restarted;
    }
    client->state = state;
    if (client->on_state != NULL) {
        (void)pthread_mutex_unlock(&client->lock);
        client->on_state(client, &event, client->user);
        (void)pthread_mutex_lock(&client->lock);
    }
}

bool
client_is_callback(const struct broker_client *client)
{
    return client->driving && pthread_equal(client->driver, pthread_self());
}

enum broker_status
client_closed_status(const struct broker_client *client)
{
    return client->closed_status == BROKER_OK ? BROKER_E_CLOSED
                                              : client->closed_status;
}

enum broker_status
client_check_open(const struct broker_client *client)
{
    if (!client->closing && !client->freeing) {
        return BROKER_OK;
    }
    return BROKER_E_CLOSED;
}

enum broker_status
client_refuse(
    struct broker_client *client, enum broker_status status, const char *what)
{
    /* What ended the handle is more to the point than that it has ended. */
    if (status != BROKER_E_CLOSED || client->closed_status == BROKER_OK) {
        text_status(client->session.error_text, what, status,
            (struct broker_bytes){NULL, 0});
    }
    return status;
}

/* ---- new ----------------------------------------------------------------- */

static enum broker_status
system_error(const char *what)
{
    char reason[128];
    text_format(options_error_text(), "%s: %s", what,
        strerror_r(errno, reason, sizeof reason));
    return errno == ENOMEM ? BROKER_E_NO_MEMORY : BROKER_E_SYSTEM;
}

static enum broker_status
descriptors_open(struct broker_client *client)
{
    client->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (client->epoll_fd < 0) {
        return system_error("epoll_create1");
    }
    client->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (client->wake_fd < 0) {
        return system_error("eventfd");
    }
    struct epoll_event event = {.events = EPOLLIN, .data.fd = client->wake_fd};
    if (epoll_ctl(client->epoll_fd, EPOLL_CTL_ADD, client->wake_fd, &event) !=
        0) {
        return system_error("epoll_ctl");
    }
    return BROKER_OK;
}

static void
unlock_for_session(void *context)
{
    struct broker_client *client = context;
    (void)pthread_mutex_unlock(&client->lock);
}

static void
lock_for_session(void *context)
{
    struct broker_client *client = context;
    (void)pthread_mutex_lock(&client->lock);
}

static bool
random_fill(void *out, size_t len)
{
    return getrandom(out, len, 0) == (ssize_t)len;
}

static enum broker_status
session_open(
    struct broker_client *client, const struct broker_client_options *options)
{
    static const uint8_t none[BROKER_SESSION_BYTES];
    struct session_config config = {
        .client = client,
        .unlock = unlock_for_session,
        .lock = lock_for_session,
        .lock_context = client,
        .stop_count = &client->stop_count,
        .on_error = options->on_error,
        .on_gap = options->on_gap,
        .on_notice = options->on_notice,
        .user = options->user,
        .heartbeat_ms = options->heartbeat_ms,
        .max_body_bytes = options->max_body_bytes,
        .credentials = &client->credentials,
        .buffer_bytes = options->buffer_bytes,
        .inbox_bytes = options->inbox_bytes,
    };
    struct reconnect_config backoff = {
        .enabled = options->reconnect,
        .min_ms = options->reconnect_min_ms,
        .max_ms = options->reconnect_max_ms,
        .attempts = options->reconnect_attempts,
        .connect_attempts = options->connect_attempts,
        .address_count = client->address_count,
    };
    memcpy(config.session, options->session, BROKER_SESSION_BYTES);
    bool is_new = memcmp(config.session, none, BROKER_SESSION_BYTES) == 0;
    if ((is_new && !random_fill(config.session, BROKER_SESSION_BYTES)) ||
        !random_fill(config.random, sizeof config.random) ||
        !random_fill(&backoff.seed, sizeof backoff.seed)) {
        return system_error("getrandom");
    }
    if (options->name != NULL) {
        (void)snprintf(config.name, sizeof config.name, "%s", options->name);
    }
    session_init(&client->session, &config);
    reconnect_init(&client->reconnect, &backoff);
    return BROKER_OK;
}

static enum broker_status
locks_open(struct broker_client *client)
{
    pthread_condattr_t attributes;
    errno = pthread_condattr_init(&attributes);
    if (errno != 0) {
        return system_error("pthread_condattr_init");
    }
    (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    errno = pthread_cond_init(&client->changed, &attributes);
    (void)pthread_condattr_destroy(&attributes);
    if (errno != 0) {
        return system_error("pthread_cond_init");
    }
    errno = pthread_mutex_init(&client->lock, NULL);
    if (errno != 0) {
        enum broker_status status = system_error("pthread_mutex_init");
        (void)pthread_cond_destroy(&client->changed);
        return status;
    }
    return BROKER_OK;
}

static void
descriptors_close(struct broker_client *client)
{
    if (client->wake_fd >= 0) {
        (void)close(client->wake_fd);
    }
    if (client->epoll_fd >= 0) {
        (void)close(client->epoll_fd);
    }
}

enum broker_status
broker_client_new(
    const struct broker_client_options *given, struct broker_client **out)
{
    struct broker_client_options options;
    options_read(given, &options);
    enum broker_status status = options_check(&options);
    if (status != BROKER_OK) {
        return status;
    }
    struct broker_client *client = calloc(1, sizeof *client);
    if (client == NULL) {
        errno = ENOMEM;
        return system_error("a new client");
    }
    client->epoll_fd = client->wake_fd = -1;
    client->connect_timeout_ms = options.connect_timeout_ms;
    client->publish_timeout_ms = options.publish_timeout_ms;
    client->when_full = options.when_full;
    client->on_state = options.on_state;
    client->user = options.user;
    link_init(&client->link);
    status = options_addresses(&options, client);
    if (status == BROKER_OK) {
        status = options_security(&options, client);
    }
    if (status == BROKER_OK) {
        status = descriptors_open(client);
    }
    if (status == BROKER_OK) {
        status = session_open(client, &options);
    }
    if (status == BROKER_OK) {
        status = locks_open(client);
    }
    if (status != BROKER_OK) {
        goto fail;
    }
    *out = client;
    return BROKER_OK;
fail:
    /* A session that was initialised and not used owns no memory. */
    descriptors_close(client);
    options_free_copies(client);
    free(client);
    return status;
}

/* ---- close and free ------------------------------------------------------ */

static enum broker_status
close_start(struct broker_client *client, int timeout_ms)
{
    enum broker_status status = client_check_open(client);
    if (status != BROKER_OK) {
        return status;
    }
    client->closing = true;
    client->close_deadline_us = client_deadline_us(timeout_ms);
    client_wake(client);
    return BROKER_OK;
}

enum broker_status
broker_client_close_start(struct broker_client *client, int timeout_ms)
{
    (void)pthread_mutex_lock(&client->lock);
    enum broker_status status = close_start(client, timeout_ms);
    (void)pthread_mutex_unlock(&client->lock);
    return status;
}

static bool
is_closed(struct broker_client *client, void *argument)
{
    (void)argument;
    return client->state == BROKER_CLIENT_CLOSED;
}

enum broker_status
broker_client_close(struct broker_client *client, int timeout_ms)
{
    enum broker_status status = BROKER_E_INVALID_ARGUMENT;
    client_enter(client);
    if (client_is_callback(client)) {
        (void)client_refuse(
            client, status, "broker_client_close inside a callback");
    } else if (client->state == BROKER_CLIENT_CLOSED) {
        status = client_closed_status(client);
    } else {
        if (!client->closing) {
            (void)close_start(client, timeout_ms);
        }
        /* The handle ends itself at that time; no second clock is needed. */
        status = client_wait(client, is_closed, NULL, SESSION_NEVER, false);
        status = status == BROKER_OK ? client->closed_status : status;
    }
    client_leave(client);
    return status;
}

void
client_destroy(struct broker_client *client)
{
    (void)pthread_mutex_lock(&client->lock);
    /* Callbacks run from here on; blocking calls in them must not wait. */
    client->driving = true;
    client->driver = pthread_self();
    link_finish(client, BROKER_OK);
    (void)pthread_mutex_unlock(&client->lock);
    session_fini(&client->session);
    descriptors_close(client);
    (void)pthread_mutex_destroy(&client->lock);
    (void)pthread_cond_destroy(&client->changed);
    options_free_copies(client);
    free(client);
}

void
broker_client_free(struct broker_client *client)
{
    if (client == NULL) {
        return;
    }
    (void)pthread_mutex_lock(&client->lock);
    bool again = client->freeing;
    client->freeing = true;
    broker_client_stop(client); /* input that is in the buffer is left alone */
    (void)pthread_cond_broadcast(&client->changed);
    if (again || client_is_callback(client)) {
        client->free_on_return = !again || client->free_on_return;
        (void)pthread_mutex_unlock(&client->lock);
        return;
    }
    while (client->inside > 0) {
        (void)pthread_cond_wait(&client->changed, &client->lock);
    }
    (void)pthread_mutex_unlock(&client->lock);
    client_destroy(client);
}
