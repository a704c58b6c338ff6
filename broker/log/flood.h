/* SPDX-License-Identifier: MIT
 *
 * How many lines of one event there are in a second, and how many were one too
 * many. This owns the counting; it knows nothing of the form of a line, and has
 * no clock: seconds come in.
 *
 * Neither allocates nor locks. Where threads meet at the turn of a second, a
 * few lines more or fewer may be let through; none is missing from the count.
 *
 * Threads: any, at any time.
 */
#ifndef BROKER_LOG_FLOOD_H
#define BROKER_LOG_FLOOD_H

#include <stdbool.h>
#include <stdint.h>

/* At most this many lines of one event a second; 0: any number. */
void flood_set_limit(unsigned lines_per_second);

/* May a line of this event be written? If not, it is counted. `tag` is a
 * literal. Events beyond the first FLOOD_EVENTS_MAX are not limited. */
#define FLOOD_EVENTS_MAX 64
bool flood_admits(const char *tag, int level, uint64_t second);

/* May there be something to report, now or in another second? */
bool flood_is_pending(void);

/* An event of which lines were left out in a second before this one. */
struct flood_report {
    const char *tag;
    int level; /* of the last of them */
    uint64_t suppressed;
};
/* Take the next report; false: there is none. Call it until it says so. */
bool flood_next_report(uint64_t second, struct flood_report *report);
/* It could not be told: count them once more. */
void flood_put_back(const struct flood_report *report);

#endif
