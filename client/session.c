/* SPDX-License-Identifier: MIT
 *
 * The life of a session, its bytes and its time. See session.h.
 */
#include "session.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define US_PER_MS           UINT64_C(1000)
#define PREAMBLE_BYTES_KEPT 4096
/* Types of TLS records: what a peer says that waits for TLS. */
#define TLS_ALERT     0x15
#define TLS_HANDSHAKE 0x16

/* ---- life ---------------------------------------------------------------- */

void
session_init(struct session *session, const struct session_config *config)
{
    *session = (struct session){.config = *config};
    outlog_init(&session->log, config->buffer_bytes);
    publishes_init(&session->publishes);
    requests_init(&session->requests, config->random);
    session->inbox.limit_bytes = config->inbox_bytes;
    session->agreed.max_body_bytes = config->max_body_bytes;
    /* Until the broker has said what it takes, take everything that the wire
     * can carry; the broker refuses what is too much for it. */
    session->agreed.limits =
        (struct broker_limits){config->max_body_bytes, UINT16_MAX, UINT16_MAX};
    memcpy(session->agreed.session, config->session, BROKER_SESSION_BYTES);
}

void
session_fini(struct session *session)
{
    assert(session->barriers == NULL);
    session_preamble_reset(session);
    free(session->preamble.data);
    free(session->context);
    outlog_fini(&session->log);
    publishes_fini(&session->publishes);
    subscriptions_fini(&session->subscriptions);
    requests_fini(&session->requests);
    inbox_fini(&session->inbox);
    receive_fini(&session->receive);
}

void
session_set_state(struct session *session, enum session_state state)
{
    static const uint8_t from[] = {
        [SESSION_DOWN] =
            1 << SESSION_HANDSHAKE | 1 << SESSION_OPEN | 1 << SESSION_LEAVING,
        [SESSION_HANDSHAKE] = 1 << SESSION_DOWN,
        [SESSION_OPEN] = 1 << SESSION_HANDSHAKE,
        [SESSION_LEAVING] = 1 << SESSION_OPEN,
    };
    assert((from[state] >> session->state & 1) != 0);
    session->state = state;
}

enum broker_status
session_end(
    struct session *session, enum broker_status status, const char *text)
{
    session->end_status = status;
    text_format(session->error_text, "%s", text);
    return status;
}

enum broker_status
session_violation(
    struct session *session, enum broker_status status, const char *what)
{
    char text[TEXT_MAX];
    text_format(text,
        "the broker broke the protocol: %s (%s): check that client and broker "
        "are of matching versions",
        what, broker_status_name(status));
    return session_end(session, status, text);
}

/* Many subscriptions make it large; that memory is needed once. */
void
session_preamble_reset(struct session *session)
{
    struct session_preamble *preamble = &session->preamble;
    if (preamble->size > 0) {
        explicit_bzero(preamble->data, preamble->size);
    }
    preamble->size = preamble->sent = 0;
    if (preamble->capacity > PREAMBLE_BYTES_KEPT) {
        free(preamble->data);
        preamble->data = NULL;
        preamble->capacity = 0;
    }
}

uint8_t *
session_preamble_reserve(struct session *session, size_t size)
{
    struct session_preamble *preamble = &session->preamble;
    if (preamble->capacity - preamble->size < size) {
        size_t capacity = (preamble->size + size) * 2;
        uint8_t *data = malloc(capacity);
        if (data == NULL) {
            return NULL;
        }
        if (preamble->size > 0) { /* realloc() would leave a copy behind */
            memcpy(data, preamble->data, preamble->size);
            explicit_bzero(preamble->data, preamble->size);
        }
        free(preamble->data);
        preamble->data = data;
        preamble->capacity = capacity;
    }
    return preamble->data + preamble->size;
}

/* HELLO at the start of the preamble; `fields` are its own. */
static bool
put_hello(struct session *session, struct broker_bytes fields)
{
    struct broker_hello hello = {
        .id = 1,
        .version_min = BROKER_PROTOCOL_VERSION,
        .version_max = BROKER_PROTOCOL_VERSION,
        .features = BROKER_FEATURE_STREAMS,
        .max_body_bytes = session->config.max_body_bytes,
        .heartbeat_ms = session->config.heartbeat_ms,
        .tlvs = fields,
    };
    memcpy(hello.session, session->agreed.session, BROKER_SESSION_BYTES);
    size_t size = broker_hello_size(&hello), n;
    uint8_t *data = session_preamble_reserve(session, size);
    if (data == NULL ||
        broker_hello_encode(&hello, data, size, &n) != BROKER_OK) {
        return false;
    }
    session->preamble.size += n;
    return true;
}

/* Name and credentials into `fields`, which has room; returns their size. */
static size_t
put_hello_fields(const struct session *session, uint8_t *fields, size_t cap)
{
    size_t used = 0;
    size_t name_bytes = strlen(session->config.name);
    if (name_bytes > 0) {
        struct broker_bytes name = {
            (const uint8_t *)session->config.name, name_bytes};
        enum broker_status status =
            broker_tlv_put(fields, cap, &used, BROKER_TAG_NAME, name);
        assert(status == BROKER_OK);
        (void)status;
    }
    if (session->config.credentials != NULL) {
        credentials_put(session->config.credentials, fields, cap, &used);
    }
    return used;
}

static bool
say_hello(struct session *session)
{
    size_t cap = broker_tlv_size(BROKER_NAME_BYTES_MAX);
    if (session->config.credentials != NULL) {
        cap += credentials_size(session->config.credentials);
    }
    uint8_t *fields = malloc(cap);
    if (fields == NULL) {
        return false;
    }
    size_t used = put_hello_fields(session, fields, cap);
    bool is_there = put_hello(session, (struct broker_bytes){fields, used});
    explicit_bzero(fields, used);
    free(fields);
    return is_there;
}

enum broker_status
session_connected(struct session *session, uint64_t now_us)
{
    assert(session->state == SESSION_DOWN && session->preamble.size == 0);
    if (!say_hello(session)) {
        return session_end(session, BROKER_E_NO_MEMORY,
            broker_status_text(BROKER_E_NO_MEMORY));
    }
    session->now_us = now_us;
    session->silent_since_us = now_us;
    session->end_status = BROKER_OK;
    session->retry_after_ms = 0;
    session->receive_limits = (struct broker_limits){
        session->config.max_body_bytes, UINT16_MAX, UINT16_MAX};
    session_set_state(session, SESSION_HANDSHAKE);
    return BROKER_OK;
}

bool
session_is_settled(const struct session *session)
{
    return session->publishes.count == 0 && session->log.unsent == 0 &&
           session->subscriptions.pending == NULL &&
           session->fire_confirmed == session->fire_taken;
}

/* ---- bytes in ------------------------------------------------------------ */

uint8_t *
session_receive_space(struct session *session, size_t *room)
{
    return receive_space(&session->receive, session->receive_needed, room);
}

void
session_receive_commit(struct session *session, size_t n, uint64_t now_us)
{
    receive_commit(&session->receive, n);
    session->receive_more = true;
    session->stats.bytes_received += n;
    session->silent_since_us = now_us; /* any byte counts as life */
    session->probed = false;
}

bool
session_has_input(const struct session *session)
{
    return session->receive_more;
}

/* The first byte of the answer to HELLO begins no frame. */
static enum broker_status
not_a_broker(struct session *session, uint8_t first_byte)
{
    bool is_tls = first_byte == TLS_ALERT || first_byte == TLS_HANDSHAKE;
    return session_end(session, BROKER_E_BAD_MAGIC,
        is_tls ? "the peer speaks TLS there: use an address with tls:// in "
                 "place of tcp://"
               : "the peer is not a brokerd (it answered in another "
                 "protocol): check the address and the port");
}

/* The header of the frame that the broker got wrong, for the error text. */
static enum broker_status
bad_frame(struct session *session, enum broker_status status)
{
    const struct receive *receive = &session->receive;
    if (status == BROKER_E_BAD_START && session->state == SESSION_HANDSHAKE) {
        return not_a_broker(session, receive->data[receive->start]);
    }
    char what[TEXT_MAX];
    struct broker_header header = {0};
    if (receive->end - receive->start >= BROKER_HEADER_BYTES) {
        broker_header_decode(receive->data + receive->start, &header);
    }
    text_format(what, "%s, type 0x%04x, length %lu", broker_status_text(status),
        (unsigned)header.type, (unsigned long)header.body_bytes);
    return session_violation(session, status, what);
}

enum broker_status
session_process(struct session *session, uint64_t now_us, bool for_next)
{
    struct receive *receive = &session->receive;
    session->now_us = now_us;
    while (session->receive_more) {
        if ((for_next && session->inbox.count > 0) ||
            atomic_load(session->config.stop_count) != session->stop_mark) {
            return BROKER_OK;
        }
        struct broker_frame frame;
        size_t n;
        enum broker_status status = broker_frame_decode(
            &session->receive_limits, receive->data + receive->start,
            receive->end - receive->start, &frame, &n);
        if (status == BROKER_MORE) {
            session->receive_needed = n;
            session->receive_more = false;
            return BROKER_OK;
        }
        if (status != BROKER_OK) {
            return bad_frame(session, status);
        }
        if (frame.type == BROKER_FRAME_PUBLISH && session->context_plain) {
            size_t start = receive->start;
            session_deliver_run(session);
            if (receive->start != start) {
                continue; /* it took this one at least */
            }
        }
        status = session_handle(session, &frame);
        if (status != BROKER_OK) {
            return status;
        }
        receive->start += n;
    }
    return BROKER_OK;
}

/* ---- bytes out ----------------------------------------------------------- */

static bool
log_is_open(const struct session *session)
{
    return session->state == SESSION_OPEN || session->state == SESSION_LEAVING;
}

size_t
session_send_peek(
    const struct session *session, struct iovec *vectors, size_t max)
{
    const struct session_preamble *preamble = &session->preamble;
    size_t n = 0;
    if (preamble->sent < preamble->size && max > 0) {
        vectors[0].iov_base = preamble->data + preamble->sent;
        vectors[0].iov_len = preamble->size - preamble->sent;
        n = 1;
    }
    if (log_is_open(session) && session->log.unsent > 0) {
        n += outlog_peek(&session->log, vectors + n, max - n);
    }
    return n;
}

void
session_sent(struct session *session, size_t n)
{
    struct session_preamble *preamble = &session->preamble;
    session->stats.bytes_sent += n;
    size_t left = preamble->size - preamble->sent;
    size_t step = n < left ? n : left;
    preamble->sent += step;
    if (preamble->sent == preamble->size) {
        session_preamble_reset(session);
    }
    if (n > step) {
        outlog_sent(&session->log, n - step);
    }
}

size_t
session_unsent_bytes(const struct session *session)
{
    return session->preamble.size - session->preamble.sent +
           (log_is_open(session) ? session->log.unsent : 0);
}

enum broker_status
session_append(struct session *session, const uint8_t *frame, size_t size)
{
    uint8_t *data = outlog_reserve(&session->log, size);
    if (data == NULL) {
        return session_end(session, BROKER_E_NO_MEMORY,
            broker_status_text(BROKER_E_NO_MEMORY));
    }
    memcpy(data, frame, size);
    outlog_commit(&session->log, size);
    return BROKER_OK;
}

enum broker_status
session_append_ping(struct session *session, struct session_ping *ping)
{
    struct broker_ping frame = {.id = ++session->last_ping_id};
    uint8_t bytes[BROKER_HEADER_BYTES + BROKER_PING_BYTES];
    size_t n;
    for (unsigned i = 0; i < BROKER_PING_BYTES; i++) {
        frame.opaque[i] = (uint8_t)(session->now_us >> (56 - 8 * i));
    }
    enum broker_status status =
        broker_ping_encode(&frame, bytes, sizeof bytes, &n);
    assert(status == BROKER_OK);
    ping->measures = session->log.unsent == 0;
    ping->id = frame.id;
    ping->sent_us = session->now_us;
    ping->fire_mark = session->fire_taken;
    status = session_append(session, bytes, n);
    ping->sent = status == BROKER_OK;
    return status;
}

/* ---- time ---------------------------------------------------------------- */

static uint64_t
heartbeat_us(const struct session *session)
{
    return session->agreed.heartbeat_ms * US_PER_MS;
}

/* PROTOCOL.md 5.8. */
static enum broker_status
tick_heartbeat(struct session *session)
{
    uint64_t beat = heartbeat_us(session);
    uint64_t silence = session->now_us - session->silent_since_us;
    if (silence < beat) {
        return BROKER_OK;
    }
    if (!session->probed) {
        /* The first look since long: it was this side that slept. The peer
         * gets one more heartbeat from now to show that it lives. */
        if (silence > 2 * beat) {
            session->silent_since_us = session->now_us - 2 * beat;
        }
        session->probed = true;
        return session_append_ping(session, &session->heartbeat);
    }
    if (silence >= 3 * beat) {
        char text[TEXT_MAX];
        text_format(text,
            "nothing was heard from the broker for %lu ms: the network or the "
            "broker hangs",
            (unsigned long)(silence / US_PER_MS));
        return session_end(session, BROKER_E_HEARTBEAT_TIMEOUT, text);
    }
    return BROKER_OK;
}

enum broker_status
session_tick(struct session *session, uint64_t now_us)
{
    session->now_us = now_us;
    for (;;) {
        struct request *request = requests_first(&session->requests);
        if (request == NULL || request->deadline_us > session->now_us) {
            break;
        }
        session_end_request(session, request, BROKER_E_TIMEOUT, NULL);
    }
    while (session->subscriptions.ended > 0) {
        struct subscription *ended =
            subscriptions_in_state(&session->subscriptions, SUBSCRIPTION_ENDED);
        struct broker_client_unsubscribed unsubscribed = {
            .status = BROKER_E_CONNECTION_LOST, .subscription = ended->id};
        session_end_subscription(session, ended, &unsubscribed);
    }
    if (session->state == SESSION_OPEN) {
        return tick_heartbeat(session);
    }
    return BROKER_OK;
}

static uint64_t
earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

uint64_t
session_deadline_us(const struct session *session)
{
    uint64_t deadline = SESSION_NEVER;
    const struct request *request = requests_first(&session->requests);
    if (request != NULL) {
        deadline = request->deadline_us;
    }
    if (session->subscriptions.ended > 0) {
        deadline = 0;
    }
    if (session->state == SESSION_OPEN) {
        uint64_t beats = session->probed ? 3 : 1;
        deadline = earlier(
            deadline, session->silent_since_us + beats * heartbeat_us(session));
    }
    return deadline;
}
