/* SPDX-License-Identifier: MIT
 *
 * What the process has allocated besides the blocks that messages stand in:
 * subscriptions, routes, sessions, buffers, TLS. Asked of the allocator now and
 * then, and counted towards max_memory_bytes by all cores. Also gives memory
 * back to the system after much of it became free.
 *
 * Any worker's thread. Where the allocator does not tell (sanitizers), it is 0.
 */
#ifndef BROKER_NET_HEAP_H
#define BROKER_NET_HEAP_H

#include <stdatomic.h>
#include <stdint.h>

struct heap {
    _Atomic uint64_t other_bytes; /* for core_options.other_bytes */
    _Atomic uint64_t look_ms;     /* when to look next */
    uint64_t most_bytes;          /* in use since the last trim */
    uint64_t trimmed_ms;
};

/* Look if it is time to. `block_bytes` are those in use by all cores. Returns
 * when to call again even if nothing else happens, or UINT64_MAX. */
uint64_t heap_look(struct heap *heap, uint64_t now_ms, uint64_t block_bytes);

#endif
