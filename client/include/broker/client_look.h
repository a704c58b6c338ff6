/* SPDX-License-Identifier: MIT
 *
 * Looking at a handle: what went wrong, whom the broker takes it for, what was
 * agreed, counters. A part of <broker/client.h>, which includes it. Any thread,
 * also inside callbacks.
 */
#ifndef BROKER_CLIENT_LOOK_H
#define BROKER_CLIENT_LOOK_H

#include <broker/client.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What went wrong last, for a person, with what to do about it, e.g. "cannot
 * connect to unix:///run/brokerd.sock: no such file or directory: is brokerd
 * running?". Copied into dst (cut to cap, NUL-terminated); returns dst. Empty
 * if nothing went wrong yet. `client` NULL: of the last broker_client_new() on
 * this thread. */
#define BROKER_CLIENT_ERROR_TEXT_MAX 512 /* enough for every text, with NUL */
BROKER_API const char *broker_client_error_text(
    struct broker_client *client, char *dst, size_t cap);

/* Whom the broker takes this client for, as WELCOME said on the connection of
 * now or the last one; "" if it did not say, or before the first. Copied into
 * dst (cut to cap, NUL-terminated); returns dst. */
#define BROKER_CLIENT_USER_MAX 65 /* enough for every user, with NUL */
BROKER_API const char *broker_client_user(
    struct broker_client *client, char *dst, size_t cap);

struct broker_client_info {
    enum broker_client_state state;
    enum broker_status closed_status; /* in CLOSED: why; BROKER_OK: orderly */
    /* The rest is of the connection of now, or of the last one. */
    char address[280];     /* "" before the first */
    char server_name[256]; /* as WELCOME says; may be "" */
    uint8_t session[BROKER_SESSION_BYTES];
    uint8_t boot[BROKER_SESSION_BYTES]; /* differs after a broker restart */
    uint32_t max_body_bytes;
    uint32_t heartbeat_ms;
    uint32_t max_subscriptions;
    uint16_t max_topic_bytes;
    uint16_t max_topic_levels;
};
/* Pass sizeof *out. */
BROKER_API void broker_client_info(struct broker_client *client,
    struct broker_client_info *out, size_t out_bytes);

/* Counters over the life of the handle. */
struct broker_client_stats {
    uint64_t messages_published; /* taken, of every kind */
    uint64_t messages_resent;    /* sent again, after a lost connection */
    uint64_t messages_acknowledged;
    uint64_t messages_refused; /* by ERROR, with and without acknowledgement */
    uint64_t messages_duplicate; /* settled on an earlier connection */
    uint64_t messages_unknown;   /* without acknowledgement, fate not known */
    uint64_t messages_received;  /* PUBLISH frames, once each */
    uint64_t gaps;
    uint64_t gap_messages; /* sum of their counts */
    uint64_t bytes_sent, bytes_received;
    uint64_t connects;         /* connections that got WELCOME */
    uint64_t connect_failures; /* addresses that did not */
    uint64_t requests, requests_answered, requests_failed;
    /* Now: */
    size_t buffered_bytes; /* held for the broker, of buffer_bytes */
    size_t unacknowledged; /* messages */
    size_t requests_in_flight;
    size_t subscriptions;
    size_t inbox_messages, inbox_bytes; /* waiting for broker_client_next() */
    /* Round trips of PING: last, smoothed (1/8 of each new one), least. 0 until
     * the first. */
    uint64_t round_trip_us, round_trip_smoothed_us, round_trip_least_us;
    /* Over the life again: messages of durable consumers that were settled
     * (acknowledged, returned or buried), and such calls that came too late,
     * because the connection on which the message came was lost, or because it
     * was settled before. */
    uint64_t messages_settled, settlements_late;
};
/* Pass sizeof *out. */
BROKER_API void broker_client_stats(struct broker_client *client,
    struct broker_client_stats *out, size_t out_bytes);

#ifdef __cplusplus
}
#endif

#endif
