/* SPDX-License-Identifier: MIT
 *
 * Readers: subscriptions that read a stream from the store, by the port of
 * their session's worker, as fast as their peer takes it and no faster.
 * PROTOCOL.md section 5.13.
 *
 * A reader has at most one read under way and a bounded number of bytes queued.
 * What it queues is POSITION, GAP and PUBLISH frames in one piece, copied once
 * from what the store read, which are never dropped while the session lives.
 */
#ifndef BROKER_CORE_READER_H
#define BROKER_CORE_READER_H

#include <broker/codec.h>

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

struct core;
struct session;
struct subscription;

LIST_HEAD(reader_list, reader);

/* CONSUME without a consumer's name. */
void reader_open(struct session *session, struct subscription *subscription,
    const struct broker_consume *consume);
/* The subscription ends. */
void reader_close(struct subscription *subscription);
/* Something left the session's queue: read on. */
void readers_look(struct session *session);

#endif
