/* SPDX-License-Identifier: MIT
 *
 * The connection: look up, connect, shake hands, lose, try again, and the
 * orderly end. It acts on what the session and the backoff say; link_bytes.c
 * moves the bytes. See handle.h.
 */
#include "handle.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>

#define US_PER_MS UINT64_C(1000)

void
link_init(struct link *link)
{
    *link = (struct link){.deadline_us = SESSION_NEVER};
    transport_init(&link->transport);
}

/* ---- the socket ---------------------------------------------------------- */

void
link_watch(struct broker_client *client)
{
    struct link *link = &client->link;
    struct epoll_event event = {
        .data.fd = link->transport.fd, .events = EPOLLIN};
    if (link->phase == LINK_CONNECTING || link->want_write ||
        transport_wants_write(&link->transport)) {
        event.events |= EPOLLOUT;
    }
    if (event.events != link->watched) {
        /* Fails only for lack of memory in the kernel; then the timeouts
         * work. */
        (void)epoll_ctl(client->epoll_fd,
            link->watched == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD,
            link->transport.fd, &event);
        link->watched = event.events;
    }
}

static void
close_socket(struct broker_client *client)
{
    struct link *link = &client->link;
    resolve_drop(link->resolve);
    link->resolve = NULL;
    if (link->watched != 0) {
        (void)epoll_ctl(
            client->epoll_fd, EPOLL_CTL_DEL, link->transport.fd, NULL);
    }
    transport_close(&link->transport);
    link->watched = 0;
    link->phase = LINK_DOWN;
    link->want_write = link->write_failed = false;
    link->deadline_us = SESSION_NEVER;
}

/* ---- the end ------------------------------------------------------------- */

void
link_finish(struct broker_client *client, enum broker_status status)
{
    if (client->state == BROKER_CLIENT_CLOSED) {
        return;
    }
    /* From here on nothing new is taken. */
    client->closing = true;
    uint64_t unknown = 0;
    close_socket(client);
    session_end_requests(&client->session);
    if (client->session.state != SESSION_DOWN) {
        session_lost(&client->session, client_now_us());
        unknown = client->session.unknown_publishes;
    }
    client->closed_status = status;
    char why[TEXT_MAX];
    text_format(why, "%s",
        status == BROKER_OK ? broker_status_text(BROKER_E_CLOSED)
                            : client->session.error_text);
    session_end_all(&client->session, why);
    client_set_state(client, BROKER_CLIENT_CLOSED, status, unknown);
}

enum broker_status
link_closing_status(const struct broker_client *client)
{
    return client->close_unknown > 0 ? BROKER_E_CONNECTION_LOST : BROKER_OK;
}

/* ---- failures ------------------------------------------------------------ */

static bool
is_final(enum broker_status status)
{
    return status == BROKER_E_VERSION || status == BROKER_E_SESSION_TAKEN ||
           status == BROKER_E_AUTH_REQUIRED || status == BROKER_E_AUTH_FAILED;
}

/* Try again when the backoff says, or give up. */
static void
after_failure(struct broker_client *client, bool go_on,
    enum broker_status status, uint64_t unknown)
{
    if (is_final(status) || !go_on) {
        link_finish(client, status);
        return;
    }
    if (reconnect_is_new_round(&client->reconnect)) {
        client->link.round_text[0] = '\0';
        client_set_state(client, BROKER_CLIENT_WAITING, status, unknown);
    }
}

/* "cannot connect to A: reason; to B: reason: is brokerd running?" */
static void
add_round_text(struct broker_client *client, const char *reason)
{
    char *round = client->link.round_text;
    size_t n = strlen(round);
    text_format(client->session.error_text, "%s%s%s: %s", round,
        n == 0 ? "cannot connect to " : "; to ", client->address_text, reason);
    memcpy(round, client->session.error_text, TEXT_MAX);
}

/* The address that is tried does not work. `reason` NULL: the session's error
 * text says it whole. */
static void
fail(struct broker_client *client, enum broker_status status,
    const char *reason, const char *hint)
{
    uint64_t now_us = client_now_us();
    close_socket(client);
    client->session.stats.connect_failures++;
    if (client->session.state != SESSION_DOWN) {
        session_lost(&client->session, now_us);
    }
    char whole[TEXT_MAX];
    if (reason == NULL) {
        memcpy(whole, client->session.error_text, TEXT_MAX);
        reason = whole;
    }
    add_round_text(client, reason);
    if (hint[0] != '\0') {
        char text[TEXT_MAX];
        memcpy(text, client->session.error_text, TEXT_MAX);
        size_t n = strlen(text);
        (void)snprintf(text + n, TEXT_MAX - n, ": %s", hint);
        memcpy(client->session.error_text, text, TEXT_MAX);
    }
    bool go_on = reconnect_failed(
        &client->reconnect, now_us, client->session.retry_after_ms);
    client->session.retry_after_ms = 0;
    after_failure(client, go_on, status, 0);
}

static const char *
hint_of(int error)
{
    switch (error) {
    case ENOENT:
    case ECONNREFUSED:
        return "is brokerd running?";
    case EACCES:
    case EPERM:
        return "this user may not use the socket: run as the user that runs "
               "brokerd, or change the socket's mode";
    default:
        return "";
    }
}

/* A target did not work: the next one of the same address, or failure. */
static void try_target(struct broker_client *client);

static void
target_failed(struct broker_client *client, int error)
{
    uint64_t deadline_us = client->link.deadline_us;
    close_socket(client);
    client->link.deadline_us = deadline_us;
    if (++client->link.target < client->link.targets.count) {
        try_target(client);
        return;
    }
    char reason[128];
    const char *text = strerror_r(error, reason, sizeof reason);
    fail(client, BROKER_E_CONNECT_FAILED, text, hint_of(error));
}

/* The connection is gone, whatever it was doing. The session's error text says
 * why. */
void
link_lose(struct broker_client *client, enum broker_status status)
{
    struct session *session = &client->session;
    if (session->state == SESSION_HANDSHAKE) {
        fail(client, status, NULL, "");
        return;
    }
    if (session->state == SESSION_LEAVING) {
        link_finish(client, link_closing_status(client)); /* all was settled */
        return;
    }
    uint64_t now_us = client_now_us();
    close_socket(client);
    session_lost(session, now_us);
    uint64_t unknown = session->unknown_publishes;
    if (client->closing) {
        client->close_unknown += unknown;
    }
    bool go_on =
        reconnect_lost(&client->reconnect, now_us, session->retry_after_ms);
    session->retry_after_ms = 0;
    after_failure(client, go_on, status, unknown);
}

/* ---- connecting ---------------------------------------------------------- */

const struct broker_address *
link_address(const struct broker_client *client)
{
    return &client->addresses[client->reconnect.address];
}

/* A secret does not leave this machine in the clear. The broker would not look
 * at it anyway (PROTOCOL.md 5.10), but others could. */
static bool
would_tell_secret(const struct broker_client *client)
{
    const struct link *link = &client->link;
    return credentials_are_given(&client->credentials) &&
           link_address(client)->kind != BROKER_ADDRESS_TLS &&
           !sock_address_is_local(&link->targets.addresses[link->target]);
}

static void
try_target(struct broker_client *client)
{
    struct link *link = &client->link;
    if (would_tell_secret(client)) {
        fail(client, BROKER_E_TLS_FAILED,
            "passwords and tokens are not sent over TCP without TLS",
            "use an address with tls://");
        return;
    }
    int error = transport_connect(
        &link->transport, &link->targets.addresses[link->target]);
    if (error != 0) {
        target_failed(client, error);
        return;
    }
    /* The targets of one address share its time, so that one that swallows
     * everything does not stand in the way of the others. */
    uint64_t now_us = client_now_us();
    uint64_t left_us =
        link->deadline_us > now_us ? link->deadline_us - now_us : 0;
    link->target_deadline_us =
        now_us + left_us / (link->targets.count - link->target);
    link->phase = LINK_CONNECTING;
    link_watch(client);
}

static void
start(struct broker_client *client, uint64_t now_us)
{
    struct link *link = &client->link;
    const struct broker_address *address = link_address(client);
    (void)broker_address_format(
        address, client->address_text, sizeof client->address_text);
    client_set_state(client, BROKER_CLIENT_CONNECTING, BROKER_OK, 0);
    link->deadline_us =
        now_us + (uint64_t)client->connect_timeout_ms * US_PER_MS;
    link->target = 0;
    if (address->kind == BROKER_ADDRESS_UNIX) {
        sock_address_unix(&link->targets.addresses[0], address->path);
        link->targets.count = 1;
    } else if (!resolve_number(address->host, address->port, &link->targets)) {
        link->resolve =
            resolve_start(address->host, address->port, client->wake_fd);
        link->phase = LINK_RESOLVING;
        if (link->resolve == NULL) {
            fail(client, BROKER_E_SYSTEM, "no thread for looking it up", "");
        }
        return;
    }
    try_target(client);
}

static void
resolved(struct broker_client *client)
{
    struct link *link = &client->link;
    if (!resolve_is_done(link->resolve, &link->targets)) {
        return;
    }
    resolve_drop(link->resolve);
    link->resolve = NULL;
    if (link->targets.count == 0) {
        fail(client, BROKER_E_CONNECT_FAILED, link->targets.error,
            "check the host name");
        return;
    }
    try_target(client);
}

/* The way to the peer is there: the session may speak. */
static void
open_session(struct broker_client *client)
{
    client->link.phase = LINK_UP;
    link_watch(client);
    enum broker_status status =
        session_connected(&client->session, client_now_us());
    if (status != BROKER_OK) {
        fail(client, status, NULL, "");
    }
}

static void
fail_tls(struct broker_client *client, const char *why)
{
    char reason[TEXT_MAX]; /* `why` may go with the transport */
    text_format(reason, "%s", why);
    fail(client, BROKER_E_TLS_FAILED, reason, "");
}

static void
secure(struct broker_client *client)
{
    struct transport *transport = &client->link.transport;
    switch (transport_handshake(transport)) {
    case TLS_DONE:
        open_session(client);
        break;
    case TLS_AGAIN:
        link_watch(client);
        break;
    case TLS_FAILED:
        fail_tls(client, transport_reason(transport));
        break;
    }
}

static void
connected(struct broker_client *client)
{
    struct link *link = &client->link;
    const struct broker_address *address = link_address(client);
    char why[TEXT_MAX];
    int error = sock_connect_result(link->transport.fd);
    if (error != 0) {
        target_failed(client, error);
    } else if (address->kind != BROKER_ADDRESS_TLS) {
        open_session(client);
    } else if (transport_secure(
                   &link->transport, &client->tls, address->host, why)) {
        link->phase = LINK_SECURING;
        secure(client);
    } else {
        fail_tls(client, why);
    }
}

void
link_check_opened(struct broker_client *client)
{
    if (client->link.deadline_us == SESSION_NEVER ||
        client->session.state != SESSION_OPEN) {
        return;
    }
    client->link.deadline_us = SESSION_NEVER;
    client->link.round_text[0] = '\0';
    reconnect_opened(&client->reconnect, client_now_us());
    client_set_state(client, BROKER_CLIENT_CONNECTED, BROKER_OK, 0);
    client->ever_connected = true;
}

/* ---- events -------------------------------------------------------------- */

void
link_event(struct broker_client *client, uint32_t events, bool for_next)
{
    struct link *link = &client->link;
    if (link->phase == LINK_CONNECTING) {
        connected(client);
        return;
    }
    if (link->phase == LINK_SECURING) {
        secure(client);
        return;
    }
    if (link->phase < LINK_UP) {
        return;
    }
    bool read_waits = transport_wants_write(&link->transport);
    if ((events & EPOLLOUT) != 0) {
        link_write(client);
    }
    if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0 || read_waits) {
        link_read(client, for_next);
    }
}

/* ---- time ---------------------------------------------------------------- */

static void
timed_out(struct broker_client *client)
{
    bool has_accepted = client->session.state == SESSION_HANDSHAKE ||
                        client->link.phase == LINK_SECURING;
    const char *reason =
        has_accepted
            ? "the peer accepted the connection and did not answer in time"
            : "no answer in time";
    fail(client, BROKER_E_TIMEOUT, reason,
        "is that address a brokerd, and is it alive?");
}

static void
close_too_late(struct broker_client *client)
{
    if (client->link.phase < LINK_UP && client->session.error_text[0] != '\0') {
        /* Why there is no connection says more. */
        link_finish(client, BROKER_E_TIMEOUT);
        return;
    }
    text_format(client->session.error_text,
        "the broker did not answer while closing: %zu messages are not "
        "acknowledged and %zu bytes not written",
        client->session.publishes.waiting, client->session.log.unsent);
    link_finish(client, BROKER_E_TIMEOUT);
}

/* Say goodbye once everything is settled: what has no number by a PONG behind
 * it, and subscriptions by ending them, which brings what is queued for them.
 * (With subscriptions left the broker would wait for replies to requests that
 * nobody is interested in any more.) */
static void
settle_and_leave(struct broker_client *client)
{
    struct session *session = &client->session;
    enum broker_status status = BROKER_OK;
    if (session_is_settled(session)) {
        status = session->subscriptions.first == NULL
                     ? session_leave(session)
                     : session_unsubscribe_all(session, true);
    } else if (session->barriers == NULL) {
        status = session_barrier(session, false, NULL, NULL);
    }
    if (status != BROKER_OK) {
        link_finish(client, status);
    }
}

/* Everything is said: so does the transport. False: later. */
static bool
shut(struct broker_client *client)
{
    bool is_shut = transport_shutdown_write(&client->link.transport);
    link_watch(client);
    return is_shut;
}

/* Leave as broker_client_close() promises. */
static void
step_closing(struct broker_client *client, uint64_t now_us)
{
    struct session *session = &client->session;
    client_set_state(client, BROKER_CLIENT_CLOSING, BROKER_OK, 0);
    if (now_us >= client->close_deadline_us) {
        close_too_late(client);
    } else if (session->state == SESSION_OPEN) {
        settle_and_leave(client);
    } else if (session->state == SESSION_DOWN && session_is_settled(session)) {
        link_finish(client, link_closing_status(client));
    }
    if (session->state == SESSION_LEAVING && client->link.phase == LINK_UP) {
        link_write(client);
        if (session_unsent_bytes(session) == 0 && shut(client)) {
            client->link.phase = LINK_SHUT;
        }
    }
}

void
link_step(struct broker_client *client, uint64_t now_us)
{
    if (client->state == BROKER_CLIENT_CLOSED) {
        return;
    }
    enum broker_status status = session_tick(&client->session, now_us);
    if (status != BROKER_OK) {
        link_lose(client, status);
    }
    if (client->link.phase == LINK_RESOLVING) {
        resolved(client);
    }
    if (client->link.phase != LINK_DOWN && now_us >= client->link.deadline_us) {
        timed_out(client);
    } else if (client->link.phase == LINK_CONNECTING &&
               now_us >= client->link.target_deadline_us) {
        target_failed(client, ETIMEDOUT);
    }
    if (client->closing) {
        step_closing(client, now_us);
    }
    if (client->state != BROKER_CLIENT_CLOSED &&
        client->link.phase == LINK_DOWN &&
        now_us >= client->reconnect.next_us) {
        start(client, now_us);
    }
}

uint64_t
link_deadline_us(const struct broker_client *client)
{
    if (client->state == BROKER_CLIENT_CLOSED) {
        return SESSION_NEVER;
    }
    uint64_t deadline = session_deadline_us(&client->session);
    uint64_t other = client->link.phase == LINK_DOWN ? client->reconnect.next_us
                                                     : client->link.deadline_us;
    deadline = other < deadline ? other : deadline;
    if (client->closing && client->close_deadline_us < deadline) {
        deadline = client->close_deadline_us;
    }
    return deadline;
}
