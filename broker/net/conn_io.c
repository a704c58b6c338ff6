/* SPDX-License-Identifier: MIT
 *
 * The bytes of a connection: from its transport to its session and back; see
 * conn.h. */
#include "conn_internal.h"

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

/* The transport's hook: what was handed over went out. */
void
conn_has_room(struct transport *transport)
{
    struct conn *conn = conn_of(transport);
    worker_now(conn->worker);
    if (session_queued_bytes(conn->session) == 0) {
        transport_rest(transport);
    }
    if (conn->state == CONN_OPEN) {
        conn_output_ready(conn);
    }
}

/* The transport's hook: it cannot write. */
void
conn_failed(struct transport *transport, const char *reason)
{
    struct conn *conn = conn_of(transport);
    worker_now(conn->worker);
    conn_end(conn, reason);
}

/* The socket is full. */
static void
wait_for_room(struct conn *conn)
{
    struct output_span spans[SPANS_MAX];
    size_t count = session_output_spans(conn->session, spans, SPANS_MAX);
    size_t handed = transport_wait(&conn->transport, spans, count);
    session_output_sent(conn->session, handed);
    if (handed == 0 && count > 0) {
        conn_end(conn, NO_MEMORY);
    }
}

/* Returns true if the socket would take more, but others have their turn. */
static bool
conn_write(struct conn *conn)
{
    if (conn->transport.handed) {
        return false; /* conn_has_room goes on */
    }
    for (int round = 0; round < TURN_WRITE_ROUNDS; round++) {
        struct output_span spans[SPANS_MAX];
        size_t count = session_output_spans(conn->session, spans, SPANS_MAX);
        if (count == 0) {
            session_output_sent(conn->session, 0);
            return false;
        }
        bool not_full;
        const char *reason;
        ssize_t sent =
            transport_send(&conn->transport, spans, count, &not_full, &reason);
        if (sent < 0) {
            conn_end(conn, reason);
            return false;
        }
        bool more = session_output_sent(conn->session, (size_t)sent);
        if (conn->transport.handed) {
            return false;
        }
        if (!not_full && (size_t)sent < span_bytes(spans, count)) {
            wait_for_room(conn);
            return false;
        }
        if (!more) {
            return false;
        }
    }
    return true;
}

/* Read it at the end of this turn, whatever the event loop says. */
static void
starve(struct conn *conn)
{
    if (!conn->is_starved) {
        conn->is_starved = true;
        TAILQ_INSERT_TAIL(&conn->worker->starved, conn, in_starved);
    }
}

static void
resume_input(struct conn *conn)
{
    if (conn->paused && session_wants_input(conn->session)) {
        conn->paused = false;
        if (transport_pending(&conn->transport) > 0) {
            starve(conn); /* no event will tell of what has come already */
        } else if (!conn_set_reading(conn)) {
            conn_end(conn, LOOP_REFUSED);
        }
    }
}

/* The session speaks before the handshake of TLS is over: it has lost patience,
 * or the broker stops. Who is turned away may be told why, but has no longer
 * than the others to get there. */
static void
flush_too_early(struct conn *conn)
{
    struct output_span span;
    if (conn->linger == NULL &&
        (session_end(conn->session) != SESSION_LIVES ||
            session_output_spans(conn->session, &span, 1) > 0)) {
        conn_end(conn, "the TLS handshake was not finished");
    }
}

/* If the peer has got all that it was to get, it should know that. */
static void
say_goodbye(struct conn *conn)
{
    struct output_span span;
    if (!conn->transport.handed &&
        session_output_spans(conn->session, &span, 1) == 0) {
        (void)transport_shut_down(&conn->transport);
    }
}

static void
conn_flush(struct conn *conn)
{
    if (conn->state != CONN_OPEN) {
        return;
    }
    if (!transport_is_open(&conn->transport)) {
        flush_too_early(conn);
        return;
    }
    bool more = conn_write(conn);
    if (conn->state != CONN_OPEN) {
        return;
    }
    switch (session_end(conn->session)) {
    case SESSION_ABORTED:
        say_goodbye(conn);
        conn_end(conn, "given up by the broker");
        return;
    case SESSION_FINISHED:
        if (!conn->transport.handed) {
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

/* Returns the bytes that came into dst[0..room), and in *drained whether there
 * are no more. */
static size_t
receive(struct conn *conn, uint8_t *dst, size_t room, bool *drained)
{
    size_t len;
    const char *reason;
    enum transport_input input =
        transport_receive(&conn->transport, dst, room, &len, &reason);
    *drained = input != TRANSPORT_MORE;
    if (input == TRANSPORT_ENDED) {
        conn->at_end = true;
    } else if (input == TRANSPORT_BROKEN) {
        conn_end(conn, reason);
    }
    return len;
}

/* Returns the bytes that were received. */
static size_t
conn_read(struct conn *conn)
{
    size_t budget = TURN_READ_BYTES;
    bool drained = false;
    while (!drained && session_wants_input(conn->session)) {
        size_t most = budget;
        if (budget < READ_BYTES_MIN) {
            /* Only what no event will tell of. */
            most = transport_pending(&conn->transport);
            if (most == 0) {
                break;
            }
        }
        uint8_t *dst;
        size_t room;
        if (!session_reserve(conn->session, &dst, &room)) {
            starve(conn);
            break;
        }
        if (room > most) {
            room = most;
        }
        size_t len = receive(conn, dst, room, &drained);
        budget -= len < budget ? len : budget;
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
    if (!conn_set_reading(conn)) {
        conn_end(conn, LOOP_REFUSED);
    }
    return TURN_READ_BYTES - budget;
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

/* ---- events -------------------------------------------------------------- */

void
conn_read_cb(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct conn *conn = arg;
    worker_now(conn->worker);
    switch (conn->state) {
    case CONN_OPEN:
        if (transport_is_open(&conn->transport)) {
            flush_if_much(conn->worker, conn_read(conn));
        } else {
            conn_shake_hands(conn);
        }
        break;
    case CONN_SHUT:
        /* What the peer still says is nothing to us. */
        if (transport_discard(&conn->transport)) {
            conn_end(conn, CLOSED_BY_US);
        }
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
