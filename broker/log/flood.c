/* SPDX-License-Identifier: MIT
 *
 * Counting lines; see flood.h. A table with open addressing, in which an event
 * keeps its place for good: events are literals in our sources, and few. */
#include "flood.h"

#include <stdatomic.h>
#include <stddef.h>
#include <string.h>

struct event_count {
    const char *_Atomic tag; /* NULL: free */
    _Atomic uint64_t second; /* that `lines` are of */
    _Atomic uint64_t lines;
    _Atomic uint64_t suppressed; /* and not reported yet */
    _Atomic int level;
};

static struct event_count events[FLOOD_EVENTS_MAX];
static _Atomic uint64_t limit;
/* May be something to report? Spares looking at all of them. */
static _Atomic bool any_suppressed;

void
flood_set_limit(unsigned lines_per_second)
{
    limit = lines_per_second;
}

static size_t
hash(const char *tag)
{
    size_t h = 0;

    for (; *tag != '\0'; tag++) {
        h = h * 31 + (unsigned char)*tag;
    }
    return h;
}

/* NULL: there are more events than places. */
static struct event_count *
find(const char *tag)
{
    size_t start = hash(tag);

    for (size_t i = 0; i < FLOOD_EVENTS_MAX; i++) {
        struct event_count *event = &events[(start + i) % FLOOD_EVENTS_MAX];
        const char *there = NULL;
        if (atomic_compare_exchange_strong(&event->tag, &there, tag) ||
            strcmp(there, tag) == 0) {
            return event;
        }
    }
    return NULL;
}

bool
flood_admits(const char *tag, int level, uint64_t second)
{
    uint64_t most = limit;
    struct event_count *event = most == 0 ? NULL : find(tag);

    if (event == NULL) {
        return true;
    }
    uint64_t last = event->second;
    if (last != second &&
        atomic_compare_exchange_strong(&event->second, &last, second)) {
        event->lines = 0;
    }
    if (atomic_fetch_add(&event->lines, 1) < most) {
        return true;
    }
    event->level = level;
    atomic_fetch_add(&event->suppressed, 1);
    any_suppressed = true;
    return false;
}

bool
flood_is_pending(void)
{
    return any_suppressed;
}

bool
flood_next_report(uint64_t second, struct flood_report *report)
{
    if (!flood_is_pending() || !atomic_exchange(&any_suppressed, false)) {
        return false;
    }
    for (size_t i = 0; i < FLOOD_EVENTS_MAX; i++) {
        struct event_count *event = &events[i];
        if (event->suppressed == 0) {
            continue;
        }
        any_suppressed = true; /* now, or once the second is over */
        if (event->second == second) {
            continue;
        }
        uint64_t suppressed = atomic_exchange(&event->suppressed, 0);
        if (suppressed > 0) {
            *report = (struct flood_report){.tag = event->tag,
                .level = event->level,
                .suppressed = suppressed};
            return true;
        }
    }
    return false;
}

void
flood_put_back(const struct flood_report *report)
{
    struct event_count *event = find(report->tag);

    if (event != NULL) {
        atomic_fetch_add(&event->suppressed, report->suppressed);
        any_suppressed = true;
    }
}
