/* SPDX-License-Identifier: MIT
 *
 * Messages that are to be published later (DELIVER_AT). PROTOCOL.md section
 * 5.13.
 *
 * Whoever receives one puts it into the store, acknowledges it when it is
 * durable, and tells home. At its time home stores it in the stream that
 * captures its topic by then, in one commit with its end here, and routes it;
 * or, if there is none, routes it and ends it. So it survives a restart, and
 * enters its stream once; a retry is known by its number, which the store takes
 * with it. Home knows the next ones, a bounded number; when
 * these have been published it looks for more in the store.
 *
 * In the store (space STORE_SPACE_SCHEDULE), integers in network byte order:
 *   key    u64 time, then 'p', the publisher and its u32 number; or, if it has
 *          none, 'r' and random bytes
 *   value  u16 format 1, u16 zero, then the PUBLISH frame
 */
#ifndef BROKER_CORE_SCHEDULE_H
#define BROKER_CORE_SCHEDULE_H

#include "mail.h"

#include <broker/codec.h>

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

struct capture;
struct core;
struct run;
struct schedule;
struct session;

TAILQ_HEAD(scheduling_list, scheduling);

/* Store it; the publisher hears when it is durable, of the stream of `capture`.
 * False: the store takes nothing now; the session waits for it, and the frame
 * is to be handled again. */
bool schedule_publish(struct session *session,
    const struct broker_publish *publish, const struct run *run,
    struct capture *capture, uint64_t deliver_at_ms);
/* Go on with what is durable; on every worker. */
void schedulings_run(struct core *core);
/* The core ends: nothing comes back any more. */
void schedulings_drop_all(struct core *core);

/* ---- home: see home.h ---------------------------------------------------- */

/* NULL if memory is out. */
struct schedule *schedule_new(struct core *core);
/* NULL is allowed. */
void schedule_free(struct schedule *schedule);
void schedule_run(struct core *core);
uint64_t schedule_due(const struct core *core);
/* Memory of the messages that are being published. */
uint64_t schedule_bytes(const struct core *core);

/* A letter: something was stored. */
void schedule_on_scheduled(
    struct core *core, const struct letter_scheduled *letter);

#endif
