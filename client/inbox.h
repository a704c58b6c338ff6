/* SPDX-License-Identifier: MIT
 *
 * The queue of broker_client_next(): messages and gaps as values that own their
 * bytes, bounded by the memory they take. Knows no frames. Not thread-safe.
 *
 * What does not fit becomes a gap in its place: one entry for each subscription
 * that is behind, which counts up until a message of that subscription fits
 * again. If there is no memory even for the gap, the subscription keeps count
 * until there is.
 */
#ifndef BROKER_CLIENT_INBOX_H
#define BROKER_CLIENT_INBOX_H

#include <stdbool.h>
#include <stddef.h>

#include <broker/client.h>

struct subscription;

struct inbox_entry {
    struct broker_client_event event; /* first: what the user holds */
    struct broker_message message;
    struct broker_client_gap gap;
    struct inbox_entry *next;
    size_t bytes;        /* of this allocation */
    uint64_t connection; /* a message: on which it came */
    uint8_t data[];
};

struct inbox {
    struct inbox_entry *first, *last;
    size_t count, bytes, limit_bytes;
    uint64_t connection; /* that there is: the how manieth */
    bool untold; /* a subscription may have missed something and no gap says so
                    yet, for lack of memory */
};

void inbox_fini(struct inbox *inbox);

/* A copy of a message that owns its bytes; NULL: no memory. */
struct inbox_entry *inbox_entry_new(const struct broker_message *message);

/* Append a message for the subscription; false: it is counted as missed.
 * `frame_bytes` is what a gap says of its size. */
bool inbox_push(struct inbox *inbox, struct subscription *subscription,
    const struct broker_message *message, size_t frame_bytes);

/* Append a gap for what the subscription has missed and was not told of. */
void inbox_tell_missed(struct inbox *inbox, struct subscription *subscription);

/* Append a gap whatever the limit says. False: no memory. */
bool inbox_push_gap(struct inbox *inbox, const struct broker_client_gap *gap);

/* Append "caught up" of a subscription. False: no memory. */
bool inbox_push_caught_up(struct inbox *inbox, uint32_t subscription);

/* Take the first entry, or NULL. The caller frees it with
 * broker_client_event_free(), after making sure that no subscription's open_gap
 * points at it. */
struct inbox_entry *inbox_pop(struct inbox *inbox);

#endif
