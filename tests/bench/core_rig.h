/* SPDX-License-Identifier: MIT
 *
 * A broker core and its sessions in this process, without sockets or an event
 * loop: bytes are handed to the core as the daemon would after a read, and
 * what it has to send is taken and thrown away. There can be several workers'
 * cores, which take turns in this one thread; peers go to them in turn.
 *
 * In turns that are to be measured, whatever the core does happens inside
 * functions that are called measured_...: `callgrind
 * --toggle-collect='measured_*'` counts the core and not the load around it,
 * and their CPU time is added up. Knows only core.h. */
#ifndef BROKER_BENCH_CORE_RIG_H
#define BROKER_BENCH_CORE_RIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CORE_WORKERS_MAX 8

struct core;
struct mailbag;
struct session;

struct core_peer {
    struct core_rig *rig;
    struct session *session;
};

struct core_rig {
    struct core *cores[CORE_WORKERS_MAX];
    struct core_mail {
        struct mailbag *first, *last;
    } mail[CORE_WORKERS_MAX]; /* posted to a worker, not yet received */
    uint32_t workers;
    _Atomic uint64_t shared_bytes;
    struct core_peer *peers;
    size_t peer_count;
    struct core_peer **ready; /* those with something to send */
    size_t ready_count;
    uint64_t now_ms;
    uint64_t measured_ns; /* CPU time of the core in measured turns */
    uint64_t random;
};

/* So many peers, connected and greeted. Gives up if the core refuses. */
void core_rig_open(struct core_rig *rig, size_t peer_count, uint32_t workers);
void core_rig_close(struct core_rig *rig);

/* One turn of a broker's event loop: `len` bytes were received from the peer,
 * then everything that is queued for anybody is sent, and workers get their
 * mail until none is left. */
void core_rig_turn(
    struct core_peer *from, const uint8_t *bytes, size_t len, bool measured);

/* Messages that were delivered so far. Gives up if one was dropped or refused
 * or matched nothing. */
uint64_t core_rig_delivered(const struct core_rig *rig);

#endif
