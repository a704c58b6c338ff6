/* SPDX-License-Identifier: MIT
 *
 * Conflating: of what is queued for subscriptions that want only the newest
 * message of each topic, the older ones go (PROTOCOL.md section 5.6). For the
 * files output*.c only.
 *
 * The queue is gone over twice. From its end to its front the newest message of
 * each topic is found, in a table that lives as long as the pass; then it is
 * written anew, front to back. A message goes only where one of the same topic
 * stays behind it that is for all of its subscriptions, and none of the topic
 * stays in front of it. The second rule makes it right to report the lost ones
 * before everything that is queued: seen from their topic that is their place.
 *
 * A pass costs about as much as there are messages in the queue, so it is only
 * made after so many have come, or bytes of them, that it takes a constant time
 * for each; see conflate_is_due.
 *
 * Knows the ring and frames, and nothing of what else makes room.
 */
#ifndef BROKER_CORE_CONFLATE_H
#define BROKER_CORE_CONFLATE_H

#include "output.h"

/* Has enough come since the last time? */
bool conflate_is_due(const struct output *output);

/* Whatever becomes of it, it is not due again at once. Without memory for it
 * nothing is changed. */
void conflate(struct output *output);

#endif
