/* SPDX-License-Identifier: MIT
 *
 * The requests in flight: by the token that is the last level of their reply
 * topic, and by deadline (a binary heap). Knows no frames and calls nobody
 * back. Not thread-safe.
 */
#ifndef BROKER_CLIENT_REQUESTS_H
#define BROKER_CLIENT_REQUESTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <broker/client.h>

#include "map.h"

/* The inbox is "_inbox/" 32 hex digits, or "_inbox/" user "/" 32 hex digits
 * where the broker has said who the client is: its rules may give each user an
 * inbox of his own (PROTOCOL.md 5.11). Behind it come "/" 16 hex digits. */
#define REQUEST_USER_BYTES_MAX  64 /* PROTOCOL.md 5.10 */
#define REQUEST_RANDOM_BYTES    32
#define REQUEST_TOKEN_BYTES     16
#define REQUEST_INBOX_BYTES_MAX (7 + REQUEST_USER_BYTES_MAX + 1 + 32)
#define REQUEST_TOPIC_BYTES_MAX (REQUEST_INBOX_BYTES_MAX + 1 + 16)

struct request {
    uint64_t token;
    uint64_t deadline_us;
    size_t heap_index;
    uint32_t number; /* of its publish, while that waits for its answer */
    bool waiting;    /* does it? */
    bool doomed;     /* ends with the connection that was lost */
    broker_client_reply_fn *callback;
    void *user;
};

struct requests {
    char random[REQUEST_RANDOM_BYTES + 1];
    char inbox[REQUEST_INBOX_BYTES_MAX + 1]; /* without the token */
    struct map by_token;
    struct request **heap; /* heap[0] has the earliest deadline */
    size_t count, capacity;
    uint64_t last_token;
};

/* `random` makes the inbox this handle's own. It is nobody's at first. */
void requests_init(struct requests *requests, const uint8_t random[16]);
/* What the inbox of this user is; "": it is not known who. */
void requests_inbox_of(const struct requests *requests, const char *user,
    char inbox[REQUEST_INBOX_BYTES_MAX + 1]);
/* Frees all; nobody is called back. */
void requests_fini(struct requests *requests);

/* A token that no request had before. */
uint64_t requests_next_token(struct requests *requests);

/* Its reply topic in this inbox, NUL-terminated. */
void requests_topic(
    const char *inbox, uint64_t token, char topic[REQUEST_TOPIC_BYTES_MAX + 1]);

/* A new request; NULL: no memory. */
struct request *requests_add(
    struct requests *requests, uint64_t token, uint64_t deadline_us);

/* Which request is this reply topic of? NULL: of none that is in flight. */
struct request *requests_find(
    const struct requests *requests, struct broker_bytes topic);

/* The one with the earliest deadline, or NULL. */
struct request *requests_first(const struct requests *requests);

/* Any one that is doomed, or NULL. */
struct request *requests_doomed(const struct requests *requests);

/* Take it out and free it. */
void requests_remove(struct requests *requests, struct request *request);

#endif
