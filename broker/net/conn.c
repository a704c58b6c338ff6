/* SPDX-License-Identifier: MIT
 *
 * One connection; see conn.h. */
#include "conn_internal.h"

#include "log.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* Handshakes of TLS that are begun in one turn: each holds the others up for
 * the time of a signature. */
#define TURN_HANDSHAKES 1

static bool
wants_to_read(const struct conn *conn)
{
    switch (conn->state) {
    case CONN_OPEN:
        if (!transport_is_open(&conn->transport)) {
            return transport_is_waiting(&conn->transport);
        }
        return !conn->paused && !conn->is_starved && !conn->at_end;
    case CONN_SHUT:
        return !conn->at_end;
    default:
        return false;
    }
}

bool
conn_set_reading(struct conn *conn)
{
    bool wanted = wants_to_read(conn);
    if (wanted != conn->reading) {
        int failed = wanted ? event_add(&conn->readable, NULL)
                            : event_del(&conn->readable);
        if (failed != 0) {
            return false;
        }
        conn->reading = wanted;
    }
    return true;
}

/* ---- ending -------------------------------------------------------------- */

void
conn_end(struct conn *conn, const char *reason)
{
    if (conn->state == CONN_DEAD) {
        return;
    }
    conn->state = CONN_DEAD;
    if (conn->reason == NULL) {
        conn->reason = reason;
    }
    transport_stop(&conn->transport);
    (void)conn_set_reading(conn);
    TAILQ_INSERT_TAIL(&conn->worker->dying, conn, in_dying);
}

static void
log_close(const struct conn *conn)
{
    struct session_stats stats;
    session_get_stats(conn->session, &stats);
    log_event(LOG_LEVEL_INFO, "conn-close",
        "conn=%llu peer=%s reason=\"%s\" received=%llu delivered=%llu "
        "dropped=%llu queued=%llu",
        (unsigned long long)stats.id, conn->peer,
        conn->reason == NULL ? "" : conn->reason,
        (unsigned long long)stats.received_messages,
        (unsigned long long)stats.delivered_messages,
        (unsigned long long)stats.dropped_messages,
        (unsigned long long)stats.queued_messages);
}

/* With the socket, once no event watches it any more. */
static void
conn_free_events(struct conn *conn)
{
    (void)event_del(&conn->readable);
    if (conn->linger != NULL) {
        event_free(conn->linger);
    }
    transport_fini(&conn->transport);
}

static void
conn_free(struct conn *conn)
{
    struct worker *worker = conn->worker;
    if (conn->is_ready) {
        TAILQ_REMOVE(&worker->ready, conn, in_ready);
    }
    if (conn->is_starved) {
        TAILQ_REMOVE(&worker->starved, conn, in_starved);
    }
    TAILQ_REMOVE(&worker->conns, conn, all);
    worker->conn_count--;
    gate_forget(conn);
    server_conn_ended(worker->server, worker);
    log_close(conn);
    session_free(conn->session);
    conn_free_events(conn);
    free(conn);
}

void
conn_reap(struct worker *worker)
{
    while (!TAILQ_EMPTY(&worker->dying)) {
        struct conn *conn = TAILQ_FIRST(&worker->dying);
        TAILQ_REMOVE(&worker->dying, conn, in_dying);
        conn_free(conn);
    }
}

void
conn_drop_all(struct worker *worker)
{
    struct conn *conn;
    TAILQ_FOREACH(conn, &worker->conns, all)
    {
        conn_end(conn, "the broker stopped");
    }
    conn_reap(worker);
}

static void
linger_cb(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    struct conn *conn = arg;
    if ((what & EV_WRITE) != 0) {
        conn_shut_down(conn); /* there is room for what is said last */
    } else {
        conn_end(conn, CLOSED_BY_US);
    }
}

/* Give the connection so much time until it is closed; with EV_WRITE, call
 * back as soon as the socket has room, too. */
static void
linger(struct conn *conn, uint32_t ms, short what)
{
    struct timeval time = {
        .tv_sec = ms / 1000, .tv_usec = (long)(ms % 1000) * 1000};
    if (conn->linger != NULL) {
        event_free(conn->linger);
    }
    conn->linger = event_new(
        conn->worker->base, conn->transport.fd, what, linger_cb, conn);
    if (conn->linger == NULL || event_add(conn->linger, &time) != 0 ||
        !conn_set_reading(conn)) {
        conn_end(conn, CLOSED_BY_US);
    }
}

void
conn_shut_down(struct conn *conn)
{
    short what = 0;
    conn->state = CONN_SHUT;
    switch (transport_shut_down(&conn->transport)) {
    case TRANSPORT_FULL:
        what = EV_WRITE;
        break;
    case TRANSPORT_SHUT:
        if (!conn->at_end) {
            break;
        }
        conn_end(conn, "both sides are done");
        return;
    case TRANSPORT_GONE:
        conn_end(conn, conn->at_end ? "both sides are done" : CLOSED_BY_US);
        return;
    }
    linger(conn, conn->worker->server->options.close_linger_ms, what);
}

/* ---- TLS ----------------------------------------------------------------- */

/* The peer has said something: begin, unless it is the turn of others. Then the
 * event loop will say so again. */
void
conn_shake_hands(struct conn *conn)
{
    if (conn->worker->handshakes >= TURN_HANDSHAKES) {
        return;
    }
    conn->worker->handshakes++;
    if (!transport_shake_hands(&conn->transport)) {
        conn_end(conn, NO_MEMORY);
    } else if (!conn_set_reading(conn)) {
        conn_end(conn, LOOP_REFUSED);
    }
}

/* What the peer's certificate says is quoted. */
static void
log_opened(const struct conn *conn)
{
    const char *name = "";
    const char *subject = "";
    (void)conn_certificate(conn, &name, &subject);
    char quoted_name[300];
    char quoted_subject[600];
    struct session_stats stats;
    session_get_stats(conn->session, &stats);
    log_event(LOG_LEVEL_DEBUG, "tls-open",
        "conn=%llu peer=%s version=%s suite=%s common_name=%s subject=%s",
        (unsigned long long)stats.id, conn->peer,
        transport_version(&conn->transport), transport_suite(&conn->transport),
        log_quote(quoted_name, sizeof quoted_name, name, strlen(name)),
        log_quote(
            quoted_subject, sizeof quoted_subject, subject, strlen(subject)));
}

static void
log_refused(const struct conn *conn, const char *reason)
{
    struct session_stats stats;
    session_get_stats(conn->session, &stats);
    log_event(LOG_LEVEL_WARNING, "tls-refused",
        "conn=%llu peer=%s reason=\"%s\"", (unsigned long long)stats.id,
        conn->peer, reason);
}

/* The transport's hook: the handshake is over. */
static void
opened(struct transport *transport)
{
    struct conn *conn = conn_of(transport);
    worker_now(conn->worker);
    if (conn->state != CONN_OPEN) {
        return;
    }
    if (log_enabled(LOG_LEVEL_DEBUG)) {
        log_opened(conn);
    }
    if (!conn_set_reading(conn)) {
        conn_end(conn, LOOP_REFUSED);
    }
    conn_output_ready(conn); /* who is turned away */
}

/* The transport's hook: the handshake failed. */
static void
refused(struct transport *transport, const char *reason)
{
    struct conn *conn = conn_of(transport);
    worker_now(conn->worker);
    if (conn->state != CONN_OPEN) {
        return;
    }
    log_refused(conn, reason);
    conn->reason = reason;
    conn_shut_down(conn);
}

/* ---- opening ------------------------------------------------------------- */

static struct conn *
conn_new(struct worker *worker, const struct arrival *arrival)
{
    static const struct transport_hooks hooks = {.opened = opened,
        .refused = refused,
        .has_room = conn_has_room,
        .failed = conn_failed};
    size_t peer_bytes = strlen(arrival->peer) + 1;
    struct conn *conn = calloc(1, sizeof *conn + peer_bytes);
    if (conn == NULL) {
        evutil_closesocket(arrival->fd);
        return NULL;
    }
    memcpy(conn->peer, arrival->peer, peer_bytes);
    conn->worker = worker;
    if (!transport_init(&conn->transport, worker->base, arrival->fd, &hooks,
            arrival->tls)) {
        free(conn);
        return NULL;
    }
    if (event_assign(&conn->readable, worker->base, arrival->fd,
            EV_READ | EV_PERSIST, conn_read_cb, conn) != 0) {
        transport_fini(&conn->transport);
        free(conn);
        return NULL;
    }
    return conn;
}

static void
turn_away(struct conn *conn)
{
    session_reject(conn->session, BROKER_E_TOO_MANY_CONNECTIONS);
    if (!transport_is_open(&conn->transport)) {
        linger(
            conn, conn->worker->server->options.core.handshake_timeout_ms, 0);
    }
}

bool
conn_open(struct worker *worker, const struct arrival *arrival)
{
    /* Everything that is ready goes out once a turn anyway. Fails on UNIX
     * sockets, which have no such delay. */
    int on = 1;
    (void)setsockopt(arrival->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct conn *conn = conn_new(worker, arrival);
    if (conn == NULL) {
        return false;
    }
    TAILQ_INSERT_TAIL(&worker->conns, conn, all);
    worker->conn_count++;
    conn->session = session_new(worker->core, conn, arrival->id, conn->peer);
    if (conn->session == NULL) {
        TAILQ_REMOVE(&worker->conns, conn, all);
        worker->conn_count--;
        conn_free_events(conn);
        free(conn);
        return false;
    }
    if (!conn_set_reading(conn)) {
        conn_end(conn, LOOP_REFUSED);
        return true;
    }
    log_event(LOG_LEVEL_DEBUG, "conn-accept", "conn=%llu peer=%s",
        (unsigned long long)arrival->id, conn->peer);
    if (arrival->reject) {
        turn_away(conn);
    }
    return true;
}

/* ---- looking in ---------------------------------------------------------- */

struct gate_pass *
conn_pass(struct conn *conn)
{
    return &conn->pass;
}

struct session *
conn_session(struct conn *conn)
{
    return conn->session;
}

struct worker *
conn_worker(const struct conn *conn)
{
    return conn->worker;
}

evutil_socket_t
conn_fd(const struct conn *conn)
{
    return conn->transport.fd;
}

bool
conn_is_tls(const struct conn *conn)
{
    return conn->transport.tls != NULL;
}

bool
conn_certificate(
    const struct conn *conn, const char **common_name, const char **subject)
{
    const struct tls_peer *peer = transport_peer(&conn->transport);
    if (peer != NULL) {
        *common_name = peer->common_name;
        *subject = peer->subject;
    }
    return peer != NULL;
}

void
conn_review_all(struct worker *worker)
{
    struct conn *conn;
    TAILQ_FOREACH(conn, &worker->conns, all)
    {
        if (conn->state == CONN_OPEN) {
            gate_review(conn);
        }
    }
}
