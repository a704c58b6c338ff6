/* SPDX-License-Identifier: MIT
 *
 * Identities: what is known of a session id beyond one connection, so that a
 * client that comes back can retry its publishes (PROTOCOL.md section 5.3).
 * In memory, bounded in number and time: the longest gone goes first.
 */
#ifndef BROKER_CORE_IDENTITY_H
#define BROKER_CORE_IDENTITY_H

#include "table.h"

#include <broker/codec.h>

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

struct claim;
struct session;

struct identity {
    struct table_link link;
    union {
        struct { /* is_gone: no connection has it */
            TAILQ_ENTRY(identity) gone;
            uint64_t gone_ms;
        };
        struct {
            union {
                struct session *session; /* that has it now, or NULL */
                struct claim *holder;    /* the same, with several workers */
            };
            /* With several workers: who takes it over as soon as the holder
             * has given it up. */
            struct claim *taker;
            uint32_t holder_worker, taker_worker;
        };
    };
    uint32_t last_publish;   /* highest number settled, or 0 */
    uint32_t unsure_publish; /* of the session; see session.h */
    bool is_gone;
    uint64_t owner; /* session_owner */
    uint8_t id[BROKER_SESSION_BYTES];
};

struct identities {
    struct table table;
    TAILQ_HEAD(, identity) gone;
    uint64_t gone_count, gone_max;
    uint64_t memory_ms;
    uint64_t seed;
};

void identities_init(struct identities *identities, uint64_t gone_max,
    uint64_t memory_ms, uint64_t seed);
void identities_fini(struct identities *identities);

/* The owner's identity with this id, made if it is not known; NULL if memory is
 * out. It may still have a session; the caller takes it over by setting
 * `session`. The same id of two owners is two identities, so that nobody takes
 * over what is somebody else's. */
struct identity *identity_take(struct identities *identities,
    const uint8_t id[BROKER_SESSION_BYTES], uint64_t owner, uint64_t now_ms);

/* Its connection is gone: keep it for a while if there is something to keep. */
void identity_leave(
    struct identities *identities, struct identity *identity, uint64_t now_ms);

/* Is publish number a above b? Serial arithmetic, PROTOCOL.md section 5.3. */
static inline bool
identity_number_above(uint32_t a, uint32_t b)
{
    return a != b && a - b < 0x80000000u;
}

#endif
