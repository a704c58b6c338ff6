/* SPDX-License-Identifier: MIT
 *
 * Runs from one worker to the others; see exchange.h. The sender's side is
 * called by deliver.c for routes that lead to other workers, the receiver's
 * side hands what arrives to deliver.c.
 */
#ifndef BROKER_CORE_FORWARD_H
#define BROKER_CORE_FORWARD_H

#include "mail.h"
#include "subscription.h"

struct core;
struct run;
struct output_run;

/* Send a part of the run to another worker: for its plain subscriptions, and
 * for members of queue groups that it has. `index` is that of the slice's first
 * message in the run. False if memory is out; nothing was sent then. */
struct forward {
    const struct run *run;
    const struct output_run *slice;
    uint32_t index;
    bool plain;
    struct group_remote *const *picks; /* of several workers, or NULL each */
    uint32_t pick_count;
};
bool forward_to(
    struct core *core, uint32_t worker, const struct forward *forward);

/* Send a publish that is to be retained to home, which routes it. The wait is
 * closed when that is done. False if memory is out. */
bool forward_retain(struct core *core, const struct output_run *slice,
    struct wait *wait, uint64_t publisher_id, bool request, bool stored);

/* Letters. False: memory is out; nothing was done, try again later. */
bool forward_on_run(
    struct core *core, uint32_t from, const struct letter_run *letter);
bool forward_on_retain(
    struct core *core, uint32_t from, const struct letter_run *letter);
void forward_on_result(struct core *core, const struct letter_result *letter);

#endif
