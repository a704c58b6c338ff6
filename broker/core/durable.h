/* SPDX-License-Identifier: MIT
 *
 * Publishes to captured topics: first to the store, and when they are durable
 * to their publisher as an acknowledgement and to plain subscriptions.
 * PROTOCOL.md section 5.13.
 *
 * Every worker appends by its own port of the store. The publisher's answer is
 * a wait (wait.h), which outlives the session if it must.
 */
#ifndef BROKER_CORE_DURABLE_H
#define BROKER_CORE_DURABLE_H

#include "output.h"

#include <broker/codec.h>

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

struct capture;
struct core;
struct run;
struct session;
struct store_result;
struct wait;

/* What is said of a publish beside its frame. */
struct durable_request {
    struct run *run;
    struct capture *capture;
    uint32_t id;   /* publish number, or 0; of the first of several */
    bool is_batch; /* the run has one number */
    bool is_retry;
    bool retains; /* one message, which is to be retained */
    bool expects_last;
    uint64_t expected_last;
};

/* Store the run. False: the store takes nothing now; the session waits for it,
 * and the frames are to be handled again. Anything else that is wrong the
 * publisher hears. */
bool durable_publish(
    struct session *session, const struct durable_request *request);

/* Its topics go to the stream no more. What is on the way to the store still
 * is; captures.c says so. */
void durable_capture_ends(struct core *core, const struct capture *capture);
/* The session is about to publish to a topic that no stream captures: is
 * something of it on the way that was captured when it came? Then it waits, and
 * the frames are to be handled again. */
bool durable_would_be_overtaken(struct session *session);

struct durable;
TAILQ_HEAD(durable_list, durable);
/* The store has answered, and there was no memory to go on. */
bool durable_is_stuck(const struct durable *durable);

/* The core ends: nothing comes back any more. */
void durable_drop_all(struct core *core);

/* Who publishes, for the store: the session id, and whose it is. Up to
 * STORE_PUBLISHER_MAX bytes; returns how many. */
size_t durable_publisher(const struct session *session, uint8_t *dst);

/* The code for a result of the store, and for a person who asked for it. */
enum broker_status durable_status(int store_status);

#endif
