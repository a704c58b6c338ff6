/* SPDX-License-Identifier: MIT
 *
 * Peers that speak something else. Frames of ours begin with the byte 0, which
 * no other protocol in use begins with, so a first byte tells; the answer is in
 * the peer's own tongue, where we know it. PROTOCOL.md section 2. */
#include "session.h"

#include <stdio.h>
#include <string.h>

#define SAYING "this port speaks the brokerd protocol; use brokerctl"

static const char *const http_methods[] = {"GET ", "HEAD ", "POST ", "PUT ",
    "DELETE ", "OPTIONS ", "PATCH ", "CONNECT ", "TRACE ", "PRI * HTTP"};
#define HTTP_METHODS (sizeof http_methods / sizeof http_methods[0])

/* Is it HTTP, as far as there are bytes? */
static bool
may_be_http(const uint8_t *src, size_t len)
{
    for (size_t i = 0; i < HTTP_METHODS; i++) {
        size_t n = strlen(http_methods[i]);
        if (memcmp(src, http_methods[i], len < n ? len : n) == 0) {
            return true;
        }
    }
    return false;
}

/* And is there enough of it to be sure? */
static bool
is_http(const uint8_t *src, size_t len)
{
    for (size_t i = 0; i < HTTP_METHODS; i++) {
        size_t n = strlen(http_methods[i]);
        if (len >= n && memcmp(src, http_methods[i], n) == 0) {
            return true;
        }
    }
    return false;
}

struct answer {
    const char *tongue;
    const char *bytes;
    size_t len;
};

#define ANSWER(tongue, text)                                                   \
    (struct answer)                                                            \
    {                                                                          \
        tongue, text, sizeof text - 1                                          \
    }

static struct answer
answer_to(const uint8_t *src, size_t len)
{
    if (is_http(src, len)) {
        return ANSWER("HTTP",
            "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\n"
            "Connection: close\r\n\r\n" SAYING "\n");
    }
    switch (src[0]) {
    case 0x16: /* a TLS handshake record; alert: fatal, protocol version */
        return ANSWER("TLS", "\x15\x03\x01\x00\x02\x02\x46");
    case 0x10: /* MQTT CONNECT; CONNACK: unacceptable protocol version */
        return ANSWER("MQTT", "\x20\x02\x00\x01");
    case '*': /* RESP, as Redis clients speak it */
        return ANSWER("RESP", "-ERR " SAYING "\r\n");
    default:
        return ANSWER("unknown", SAYING "\n");
    }
}

bool
foreign_is(const struct session *session)
{
    return session->intake.block != NULL &&
           intake_data(&session->intake)[0] != 0;
}

bool
foreign_answer(struct session *session, bool final)
{
    struct core *core = session->core;
    const uint8_t *src = intake_data(&session->intake);
    size_t len = intake_len(&session->intake);
    if (!final && may_be_http(src, len) && !is_http(src, len)) {
        return false;
    }
    struct answer answer = answer_to(src, len);
    char text[64];
    snprintf(text, sizeof text, "the peer speaks another protocol (%s)",
        answer.tongue);
    core->totals.protocol_errors++;
    core->hooks.log(core->hooks.arg, CORE_EVENT_PROTOCOL_ERROR, session,
        BROKER_E_BAD_MAGIC, text);
    uint8_t *dst = session_control(session, answer.len);
    if (dst != NULL) {
        memcpy(dst, answer.bytes, answer.len);
        session_control_done(session, answer.len);
    }
    session->goaway_sent = true; /* it would not understand one */
    session_close_drained(session, BROKER_E_BAD_MAGIC);
    return true;
}
