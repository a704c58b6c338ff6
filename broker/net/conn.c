/* SPDX-License-Identifier: MIT
 *
 * One connection; see conn.h. */
#include "conn.h"

#include "gate.h"
#include "log.h"
#include "server_internal.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event_struct.h>

/* No more than this from one connection in one turn, so that a flood does not
 * hold up the others. */
#define TURN_READ_BYTES (512u * 1024u)
/* The rest of that is left for the next turn if it is less than this: so few
 * bytes are not worth a system call while there are more. */
#define READ_BYTES_MIN (32u * 1024u)
/* Queues of at most this much are sent first. */
#define SHORT_BYTES (16u * 1024u)
/* Once a turn has received so much, it is sent on. */
#define FLUSH_BYTES       (512u * 1024u)
#define TURN_WRITE_ROUNDS 8
#define SPANS_MAX         64
/* Handed to the bufferevent when the socket is full; see conn.h. */
#define HANDED_BYTES 4096
/* What a peer still says while its connection ends is read so much at a time.
 */
#define DISCARD_BYTES 4096

#define LOOP_REFUSED "the event loop refused it"

enum conn_state {
    CONN_OPEN,
    CONN_SHUT, /* our writing side is shut; reading to the end */
    CONN_DEAD  /* on the dying list */
};

struct conn {
    TAILQ_ENTRY(conn) all;
    TAILQ_ENTRY(conn) in_ready;
    TAILQ_ENTRY(conn) in_starved;
    TAILQ_ENTRY(conn) in_dying;
    struct worker *worker;
    struct session *session;
    struct bufferevent *events; /* writes what the socket did not take */
    struct event readable;      /* ours, on the same socket; see conn.h */
    struct event *linger;       /* in CONN_SHUT */
    evutil_socket_t fd;
    const char *reason; /* why it ended, for the log */
    struct gate_pass pass;
    enum conn_state state;
    bool is_ready, is_starved;
    bool reading; /* `readable` is added */
    bool handed;  /* the bufferevent has bytes to write */
    bool paused;  /* the session does not want input */
    bool at_end;  /* the peer shut down its writing side */
    char peer[];
};

static bool
wants_to_read(const struct conn *conn)
{
    switch (conn->state) {
    case CONN_OPEN:
        return !conn->paused && !conn->is_starved && !conn->at_end;
    case CONN_SHUT:
        return !conn->at_end;
    default:
        return false;
    }
}

/* Make the event loop watch for input, or no longer, as the state says. False
 * if it refused. */
static bool
set_reading(struct conn *conn)
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

static void
conn_end(struct conn *conn, const char *reason)
{
    if (conn->state == CONN_DEAD) {
        return;
    }
    conn->state = CONN_DEAD;
    if (conn->reason == NULL) {
        conn->reason = reason;
    }
    if (conn->events != NULL) {
        bufferevent_disable(conn->events, EV_WRITE);
    }
    (void)set_reading(conn);
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
    if (conn->events != NULL) {
        bufferevent_free(conn->events);
    }
    if (conn->linger != NULL) {
        event_free(conn->linger);
    }
    evutil_closesocket(conn->fd);
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
    (void)what;
    conn_end(arg, "closed by the broker");
}

/* Everything is sent: say so to the peer, and give it time to read it before
 * the socket is closed, which could destroy what is on its way. */
static void
conn_shut_down(struct conn *conn)
{
    conn->state = CONN_SHUT;
    if (shutdown(conn->fd, SHUT_WR) != 0 || conn->at_end) {
        conn_end(conn,
            conn->at_end ? "both sides are done" : "closed by the broker");
        return;
    }
    uint32_t ms = conn->worker->server->options.close_linger_ms;
    struct timeval linger = {
        .tv_sec = ms / 1000, .tv_usec = (long)(ms % 1000) * 1000};
    conn->linger = evtimer_new(conn->worker->base, linger_cb, conn);
    if (conn->linger == NULL || event_add(conn->linger, &linger) != 0 ||
        !set_reading(conn)) {
        conn_end(conn, "closed by the broker");
    }
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
    return conn->fd;
}

bool
conn_is_tls(const struct conn *conn)
{
    (void)conn;
    return false;
}

bool
conn_certificate(
    const struct conn *conn, const char **common_name, const char **subject)
{
    (void)conn;
    (void)common_name;
    (void)subject;
    return false;
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

/* ---- writing ------------------------------------------------------------- */

void
conn_output_ready(void *owner)
{
    struct conn *conn = owner;
    if (!conn->is_ready && conn->state == CONN_OPEN) {
        conn->is_ready = true;
        TAILQ_INSERT_TAIL(&conn->worker->ready, conn, in_ready);
    }
}

static size_t
span_bytes(const struct output_span *spans, size_t count)
{
    size_t bytes = 0;
    for (size_t i = 0; i < count; i++) {
        bytes += spans[i].len;
    }
    return bytes;
}

#define SEND_FLAGS (MSG_NOSIGNAL | MSG_DONTWAIT)

/* Returns the bytes that the socket took, or -1 if it failed. One span goes out
 * with send, which is the cheaper call. */
static ssize_t
send_spans(
    const struct conn *conn, const struct output_span *spans, size_t count)
{
    struct iovec vectors[SPANS_MAX];
    struct msghdr message = {.msg_iov = vectors, .msg_iovlen = count};
    for (size_t i = 0; count > 1 && i < count; i++) {
        /* sendmsg does not write through it; iovec has no const. */
        vectors[i].iov_base = (void *)(uintptr_t)spans[i].data;
        vectors[i].iov_len = spans[i].len;
    }
    ssize_t sent;
    do {
        sent = count > 1 ? sendmsg(conn->fd, &message, SEND_FLAGS)
                         : send(conn->fd, spans->data, spans->len, SEND_FLAGS);
    } while (sent < 0 && errno == EINTR);
    if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
        return 0;
    }
    return sent;
}

static void
conn_write_cb(struct bufferevent *events, void *arg)
{
    struct conn *conn = arg;
    worker_now(conn->worker);
    conn->handed = evbuffer_get_length(bufferevent_get_output(events)) > 0;
    if (!conn->handed && session_queued_bytes(conn->session) == 0) {
        bufferevent_free(events);
        conn->events = NULL;
    }
    if (conn->state == CONN_OPEN) {
        conn_output_ready(conn);
    }
}

/* Only of writing: the bufferevent does not read. */
static void
conn_event_cb(struct bufferevent *events, short what, void *arg)
{
    (void)events;
    struct conn *conn = arg;
    int error = EVUTIL_SOCKET_ERROR();
    worker_now(conn->worker);
    if ((what & (BEV_EVENT_ERROR | BEV_EVENT_EOF)) != 0) {
        conn_end(conn, strerror(error));
    }
}

/* False if memory is out. */
static bool
has_events(struct conn *conn)
{
    if (conn->events == NULL) {
        /* Writing is enabled from the start, reading is not. */
        conn->events = bufferevent_socket_new(conn->worker->base, conn->fd, 0);
        if (conn->events == NULL) {
            return false;
        }
        bufferevent_setcb(
            conn->events, NULL, conn_write_cb, conn_event_cb, conn);
    }
    return true;
}

/* The socket is full: hand the bufferevent a little, so that it waits for room
 * and calls back. */
static void
wait_for_room(struct conn *conn)
{
    struct output_span spans[SPANS_MAX];
    size_t count = session_output_spans(conn->session, spans, SPANS_MAX);
    size_t handed = 0;
    for (size_t i = 0; i < count && handed < HANDED_BYTES && has_events(conn);
         i++) {
        size_t len = spans[i].len;
        if (len > HANDED_BYTES - handed) {
            len = HANDED_BYTES - handed;
        }
        if (bufferevent_write(conn->events, spans[i].data, len) != 0) {
            break;
        }
        handed += len;
        conn->handed = true;
    }
    session_output_sent(conn->session, handed);
    if (handed == 0 && count > 0) {
        conn_end(conn, "out of memory");
    }
}

/* Returns true if the socket would take more, but others have their turn. */
static bool
conn_write(struct conn *conn)
{
    if (conn->handed) {
        return false; /* the write callback goes on */
    }
    for (int round = 0; round < TURN_WRITE_ROUNDS; round++) {
        struct output_span spans[SPANS_MAX];
        size_t count = session_output_spans(conn->session, spans, SPANS_MAX);
        if (count == 0) {
            session_output_sent(conn->session, 0);
            return false;
        }
        ssize_t sent = send_spans(conn, spans, count);
        if (sent < 0) {
            conn_end(conn, strerror(errno));
            return false;
        }
        bool more = session_output_sent(conn->session, (size_t)sent);
        if ((size_t)sent < span_bytes(spans, count)) {
            wait_for_room(conn);
            return false;
        }
        if (!more) {
            return false;
        }
    }
    return true;
}

static void
resume_input(struct conn *conn)
{
    if (conn->paused && session_wants_input(conn->session)) {
        conn->paused = false;
        if (!set_reading(conn)) {
            conn_end(conn, LOOP_REFUSED);
        }
    }
}

static void
conn_flush(struct conn *conn)
{
    if (conn->state != CONN_OPEN) {
        return;
    }
    bool more = conn_write(conn);
    if (conn->state != CONN_OPEN) {
        return;
    }
    switch (session_end(conn->session)) {
    case SESSION_ABORTED:
        conn_end(conn, "given up by the broker");
        return;
    case SESSION_FINISHED:
        if (!conn->handed) {
            conn_shut_down(conn);
        }
        return;
    case SESSION_LIVES:
        break;
    }
    resume_input(conn);
    if (more) {
        conn_output_ready(conn);
    }
}

/* Flush those of the list that have at most so much queued. */
static void
flush_up_to(struct conn_list *list, uint64_t bytes)
{
    struct conn *next;
    for (struct conn *conn = TAILQ_FIRST(list); conn != NULL; conn = next) {
        next = TAILQ_NEXT(conn, in_ready);
        if (session_queued_bytes(conn->session) <= bytes) {
            TAILQ_REMOVE(list, conn, in_ready);
            conn->is_ready = false;
            conn_flush(conn);
        }
    }
}

void
conn_flush_ready(struct worker *worker)
{
    struct conn_list now = TAILQ_HEAD_INITIALIZER(now);
    TAILQ_CONCAT(&now, &worker->ready, in_ready);
    worker->unsent_bytes = 0;
    /* A few bytes for somebody do not wait for a flood for somebody else. */
    flush_up_to(&now, SHORT_BYTES);
    flush_up_to(&now, UINT64_MAX);
}

/* ---- reading ------------------------------------------------------------- */

/* Returns the bytes that came into dst[0..room), or 0 with *drained. */
static size_t
receive(struct conn *conn, uint8_t *dst, size_t room, bool *drained)
{
    ssize_t got;
    do {
        got = recv(conn->fd, dst, room, MSG_DONTWAIT);
    } while (got < 0 && errno == EINTR);
    *drained = got < (ssize_t)room;
    if (got > 0) {
        return (size_t)got;
    }
    if (got == 0) {
        conn->at_end = true;
    } else if (errno != EAGAIN && errno != EWOULDBLOCK) {
        conn_end(conn, strerror(errno));
    }
    return 0;
}

static void
starve(struct conn *conn)
{
    if (!conn->is_starved) {
        conn->is_starved = true;
        TAILQ_INSERT_TAIL(&conn->worker->starved, conn, in_starved);
    }
}

/* Returns the bytes that were received. */
static size_t
conn_read(struct conn *conn)
{
    size_t budget = TURN_READ_BYTES;
    bool drained = false;
    while (!drained && budget >= READ_BYTES_MIN &&
           session_wants_input(conn->session)) {
        uint8_t *dst;
        size_t room;
        if (!session_reserve(conn->session, &dst, &room)) {
            starve(conn);
            break;
        }
        if (room > budget) {
            room = budget;
        }
        size_t len = receive(conn, dst, room, &drained);
        budget -= len;
        if (len > 0) {
            worker_look_for_mail(conn->worker);
            session_received(conn->session, len);
        }
    }
    if (drained) {
        session_received_all(conn->session);
    }
    if (conn->at_end && conn->state == CONN_OPEN) {
        session_end_of_input(conn->session);
    }
    conn->paused = !session_wants_input(conn->session);
    if (!set_reading(conn)) {
        conn_end(conn, LOOP_REFUSED);
    }
    return TURN_READ_BYTES - budget;
}

/* Our side is shut: what the peer says until it closes too is nothing to us. */
static void
discard(struct conn *conn)
{
    uint8_t nothing[DISCARD_BYTES];
    bool drained;
    (void)receive(conn, nothing, sizeof nothing, &drained);
    if (conn->at_end) {
        conn_end(conn, "closed by the broker");
    }
}

/* Send what is ready once much was received in this turn, while the caches
 * still hold it. Mail goes first, as at the end of a turn. */
static void
flush_if_much(struct worker *worker, size_t received_bytes)
{
    worker->unsent_bytes += received_bytes;
    if (worker->unsent_bytes >= FLUSH_BYTES) {
        core_post_mail(worker->core);
        conn_flush_ready(worker);
    }
}

static void
conn_read_cb(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct conn *conn = arg;
    worker_now(conn->worker);
    switch (conn->state) {
    case CONN_OPEN:
        flush_if_much(conn->worker, conn_read(conn));
        break;
    case CONN_SHUT:
        discard(conn);
        break;
    case CONN_DEAD:
        break;
    }
}

void
conn_feed_starved(struct worker *worker)
{
    struct conn_list now = TAILQ_HEAD_INITIALIZER(now);
    TAILQ_CONCAT(&now, &worker->starved, in_starved);
    while (!TAILQ_EMPTY(&now)) {
        struct conn *conn = TAILQ_FIRST(&now);
        TAILQ_REMOVE(&now, conn, in_starved);
        conn->is_starved = false;
        if (conn->state == CONN_OPEN) {
            (void)conn_read(conn);
        }
    }
}

/* ---- opening ------------------------------------------------------------- */

static struct conn *
conn_new(struct worker *worker, evutil_socket_t fd, const char *peer)
{
    size_t peer_bytes = strlen(peer) + 1;
    struct conn *conn = calloc(1, sizeof *conn + peer_bytes);
    if (conn == NULL) {
        evutil_closesocket(fd);
        return NULL;
    }
    memcpy(conn->peer, peer, peer_bytes);
    conn->worker = worker;
    conn->fd = fd;
    if (event_assign(&conn->readable, worker->base, fd, EV_READ | EV_PERSIST,
            conn_read_cb, conn) != 0) {
        evutil_closesocket(fd);
        free(conn);
        return NULL;
    }
    return conn;
}

bool
conn_open(struct worker *worker, evutil_socket_t fd, uint64_t id,
    const char *peer, bool reject)
{
    /* Everything that is ready goes out once a turn anyway. Fails on UNIX
     * sockets, which have no such delay. */
    int on = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct conn *conn = conn_new(worker, fd, peer);
    if (conn == NULL) {
        return false;
    }
    TAILQ_INSERT_TAIL(&worker->conns, conn, all);
    worker->conn_count++;
    conn->session = session_new(worker->core, conn, id, conn->peer);
    if (conn->session == NULL) {
        TAILQ_REMOVE(&worker->conns, conn, all);
        worker->conn_count--;
        conn_free_events(conn);
        free(conn);
        return false;
    }
    if (!set_reading(conn)) {
        conn_end(conn, LOOP_REFUSED);
        return true;
    }
    log_event(LOG_LEVEL_DEBUG, "conn-accept", "conn=%llu peer=%s",
        (unsigned long long)id, peer);
    if (reject) {
        session_reject(conn->session, BROKER_E_TOO_MANY_CONNECTIONS);
    }
    return true;
}
