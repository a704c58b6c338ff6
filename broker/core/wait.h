/* SPDX-License-Identifier: MIT
 *
 * Waits: publishes that other workers have still to say the outcome of, and
 * what the publisher must not hear before their acknowledgement.
 *
 * A session's answers are in the order of what they answer (PROTOCOL.md
 * sections 4.4 and 5.2). While a wait is open, later waits queue behind it and
 * other control frames are held back; as the first ones close, PUBACKs and
 * frames go on to the output in their order.
 *
 * A wait may outlive its session: the results still come, and end it. At home
 * there are waits for publishes of other workers too (LETTER_RETAIN); their
 * result goes on to the origin.
 */
#ifndef BROKER_CORE_WAIT_H
#define BROKER_CORE_WAIT_H

#include "buffer.h"
#include "mail.h"
#include "output.h"

#include <sys/queue.h>

struct core;
struct session;

struct wait {
    TAILQ_ENTRY(wait) link;      /* of the session's, in order */
    LIST_ENTRY(wait) unreported; /* to the origin, for want of memory */
    struct session *session;     /* NULL: gone, or of another worker */
    struct wait *origin;         /* of another worker: its wait */
    uint32_t origin_worker;
    uint32_t origin_index; /* of the first message in that wait */
    uint32_t first_id;     /* 0: only a refusal is told */
    uint32_t count;
    uint32_t missing; /* runs whose outcome is not known */
    uint32_t matched, refused;
    uint32_t *each;          /* refused by message, once they differ */
    uint64_t held_end;       /* what is held up to here comes before */
    struct output_run frame; /* of a single one: for its refusal */
    enum broker_status status;
    bool counts;  /* tells the origin how many matched: the first part does */
    bool request; /* has to match */
    bool resumes; /* the session is suspended until then */
    /* Of publishes to a stream; section 5.13. Without `capture` for others. */
    bool is_batch;     /* one number for all of it */
    bool is_duplicate; /* without a capture: nobody knows what it became */
    struct capture *capture; /* holds a reference */
    uint64_t sequence;       /* of the first; or, if refused for it, the last */
};
TAILQ_HEAD(wait_queue, wait);

/* A wait of the session, behind its other ones, for `count` publishes from
 * `first_id` on. NULL if memory is out; then the session is aborted, because an
 * answer would be missing. Close it with wait_close once its runs are sent. */
struct wait *wait_new(
    struct session *session, uint32_t first_id, uint32_t count);

/* A wait for `count` publishes of another worker, from this one of its wait on;
 * NULL if memory is out. */
struct wait *wait_new_for(struct core *core, uint32_t worker,
    struct wait *origin, uint32_t index, uint32_t count);

/* So many more subscriptions match each of the messages. */
static inline void
wait_matched(struct wait *wait, uint32_t matched)
{
    wait->matched += matched;
}

/* So many more subscriptions could not take the messages [index, index + count)
 * of the wait. */
void wait_refused(
    struct wait *wait, uint32_t index, uint32_t count, uint32_t refused);

/* They are durable in the stream of the capture, of which it takes a reference,
 * from this sequence on. Nothing else can refuse them then. */
void wait_stored(struct wait *wait, struct capture *capture, uint64_t sequence);

/* One of the runs it waits for is done. May free the wait. */
void wait_close(struct core *core, struct wait *wait);

/* Acknowledgements that are known already, behind others that are not. */
void wait_append(struct session *session, uint32_t first_id, uint32_t count,
    uint32_t matched, uint32_t refused);

/* Results for other workers that there was no memory to write. */
void wait_write_unreported(struct core *core);

/* The session ends: its waits are nobody's. What is known up to the first
 * whose outcome is not is said, unless the session is aborted; the rest is
 * dropped. */
void wait_abandon(struct session *session);

/* Must answers be held? */
bool wait_holds(const struct session *session);
/* Where held frames are written, and that they were. */
struct buffer *wait_held(struct session *session);
void wait_held_more(struct session *session, size_t bytes);

#endif
