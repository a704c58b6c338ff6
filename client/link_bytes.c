/* SPDX-License-Identifier: MIT
 *
 * The bytes of the connection, between the transport and the session; reads no
 * frames. See link.c and handle.h.
 */
#include "handle.h"

#include <errno.h>
#include <string.h>

/* What one turn reads at most, so that timers and other work get their turn. */
#define READ_BYTES_MAX ((size_t)1 << 20)
#define WRITE_VECTORS  32
/* Output is written at the end of a turn; this much is written before. */
#define WRITE_BYTES_MUCH ((size_t)64 << 10)

static void
set_want_write(struct broker_client *client, bool want)
{
    client->link.want_write = want;
    link_watch(client);
}

void
link_write(struct broker_client *client)
{
    struct link *link = &client->link;
    if (link->phase != LINK_UP || link->write_failed) {
        return;
    }
    /* Without memory for it now, there may be some the next time. */
    enum broker_status settled = session_flush_settled(&client->session);
    (void)settled;
    for (;;) {
        struct iovec vectors[WRITE_VECTORS];
        size_t count =
            session_send_peek(&client->session, vectors, WRITE_VECTORS);
        if (count == 0) {
            set_want_write(client, false);
            return;
        }
        ssize_t n = transport_write(&link->transport, vectors, count);
        if (n < 0) {
            /* On failure the reason may wait to be read, as a GOAWAY. */
            link->write_failed = errno != EAGAIN && errno != EWOULDBLOCK;
            set_want_write(
                client, !link->write_failed &&
                            transport_write_wants_room(&link->transport));
            return;
        }
        session_sent(&client->session, (size_t)n);
    }
}

void
link_write_if_much(struct broker_client *client)
{
    if (!client->link.want_write && client->session.state == SESSION_OPEN &&
        client->session.log.unsent >= WRITE_BYTES_MUCH) {
        link_write(client);
    }
}

static void
process_input(struct broker_client *client, bool for_next)
{
    enum broker_status status =
        session_process(&client->session, client_now_us(), for_next);
    link_check_opened(client);
    if (status != BROKER_OK) {
        link_lose(client, status);
    }
}

/* The end came before WELCOME. */
static void
ended_unwelcome(struct broker_client *client)
{
    bool is_tcp = link_address(client)->kind == BROKER_ADDRESS_TCP;
    text_format(client->session.error_text,
        "the peer closed the connection without an answer: is it a brokerd%s",
        is_tcp ? ", and one without TLS (else use tls://)?" : "?");
    link_lose(client, BROKER_E_CONNECTION_LOST);
}

static void
read_ended(struct broker_client *client, int error)
{
    struct transport *transport = &client->link.transport;
    enum broker_status status = BROKER_E_CONNECTION_LOST;
    char reason[128];
    char *text = client->session.error_text;
    if (client->session.state == SESSION_LEAVING) {
        link_finish(client, link_closing_status(client));
        return;
    }
    bool has_closed =
        error == 0 || (error == ECONNRESET && transport_is_plain(transport));
    if (has_closed && client->session.state == SESSION_HANDSHAKE) {
        ended_unwelcome(client);
        return;
    }
    if (error == EPROTO && !transport_is_plain(transport)) {
        status = BROKER_E_TLS_FAILED;
        text_format(text, "the connection to %s was lost: %s",
            client->address_text, transport_reason(transport));
    } else if (error != 0) {
        /* Who does not like a certificate may say so and reset, and then only
         * the reset is seen. */
        bool is_unwelcome = client->session.state == SESSION_HANDSHAKE &&
                            !transport_is_plain(transport);
        text_format(text, "the connection to %s was lost: %s%s",
            client->address_text, strerror_r(error, reason, sizeof reason),
            is_unwelcome ? ": does the broker want another client certificate?"
                         : "");
    } else {
        text_format(text,
            "the connection to %s was closed without a word: did the broker "
            "crash, or was it killed?",
            client->address_text);
    }
    link_lose(client, status);
}

/* Read from the transport; a plain one without the lock. Sets *error. */
static ssize_t
read_unlocked(
    struct broker_client *client, uint8_t *space, size_t room, int *error)
{
    struct transport *transport = &client->link.transport;
    bool is_plain = transport_is_plain(transport);
    if (is_plain) {
        (void)pthread_mutex_unlock(&client->lock);
    }
    ssize_t n = transport_read(transport, space, room);
    *error = errno;
    if (is_plain) {
        (void)pthread_mutex_lock(&client->lock);
    }
    return n;
}

/* Read once and handle it. False: enough for this turn. */
static bool
read_once(struct broker_client *client, bool for_next, size_t *budget)
{
    struct session *session = &client->session;
    size_t room;
    int error;
    uint8_t *space = session_receive_space(session, &room);
    if (space == NULL) {
        link_lose(client, session_end(session, BROKER_E_NO_MEMORY,
                              broker_status_text(BROKER_E_NO_MEMORY)));
        return false;
    }
    ssize_t n = read_unlocked(client, space, room, &error);
    if (n > 0) {
        session_receive_commit(session, (size_t)n, client_now_us());
        process_input(client, for_next);
        *budget -= (size_t)n < *budget ? (size_t)n : *budget;
        return *budget > 0 && transport_may_have_more(
                                  &client->link.transport, (size_t)n, room);
    }
    if (n < 0 && (error == EAGAIN || error == EWOULDBLOCK) &&
        !client->link.write_failed) {
        link_watch(client); /* TLS may have to write before it can read on */
        return false;
    }
    if (n < 0 && client->link.write_failed) {
        error = error == EAGAIN || error == EWOULDBLOCK ? EPIPE : error;
    }
    read_ended(client, n == 0 ? 0 : error);
    return false;
}

void
link_read(struct broker_client *client, bool for_next)
{
    size_t budget = READ_BYTES_MAX;
    bool more = true;
    while (more && !session_has_input(&client->session) &&
           client->link.phase >= LINK_UP) {
        more = read_once(client, for_next, &budget);
    }
}

bool
link_has_input(const struct broker_client *client)
{
    return client->link.phase >= LINK_UP &&
           (session_has_input(&client->session) ||
               transport_has_input(&client->link.transport));
}

void
link_process(struct broker_client *client, bool for_next)
{
    if (session_has_input(&client->session)) {
        process_input(client, for_next);
    } else {
        link_read(client, for_next);
    }
}
