/* SPDX-License-Identifier: MIT
 *
 * The unfinished messages of a consumer: who has them, since when, how often
 * they were delivered. For the files consumer*.c only.
 *
 * One ring holds an entry for each message in the order of their sequences,
 * which is the order in which they were offered: a new one goes to the end, and
 * a look-up needs no index. What is finished leaves a hole; holes at the front
 * are taken off, and those in the middle when room is needed and most of the
 * ring are holes. So the first entry is never a hole, and nothing allocates but
 * pending_reserve().
 *
 * Entries that are outstanding are also on a list, in the order of their times
 * (which is that of their deadlines, because all have the same); those that
 * wait are in a heap, by time and then sequence; dead ones are on a list in the
 * order in which they died. Links are slots of the ring.
 *
 * Knows no attachments (a holder is a number) and no settings.
 */
#ifndef BROKER_STREAM_PENDING_H
#define BROKER_STREAM_PENDING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PENDING_NO_HOLDER UINT16_MAX
#define PENDING_NIL       UINT32_MAX /* no slot */

enum pending_state {
    PENDING_FINISHED, /* a hole */
    PENDING_OUTSTANDING,
    PENDING_WAITING,  /* to be delivered again */
    PENDING_FETCHING, /* for that */
    PENDING_DEAD,     /* to be dead-lettered */
    PENDING_STORING,  /* for that */
    PENDING_STATES,
};

struct pending_entry {
    uint64_t sequence;
    /* Outstanding: since when. Waiting: until when. Otherwise what it was. */
    uint64_t time_ms;
    /* The how manieth its holder got; as it was if that one gets it again. */
    uint64_t given;
    union {
        uint32_t before; /* in its list */
        uint32_t heap_slot;
    };
    uint32_t after;
    uint32_t deliveries;
    uint16_t holder; /* who has it, or had it last and did not give it back */
    uint8_t state;   /* enum pending_state */
    bool stored;     /* only while a cursor is saved */
};

struct pending_list {
    uint32_t first, last;
};

struct pending {
    struct pending_entry *ring;
    uint32_t *heap; /* slots; as many as the ring has */
    uint32_t capacity, head, count;
    uint32_t heap_count;
    uint32_t live; /* entries that are no holes */
    uint32_t hint; /* the slot behind the one that was finished last */
    uint32_t of_state[PENDING_STATES];
    struct pending_list outstanding, dead;
};

void pending_init(struct pending *pending);
void pending_fini(struct pending *pending);

/* The i-th entry from the front, a hole perhaps. */
static inline struct pending_entry *
pending_at(const struct pending *pending, uint32_t i)
{
    return &pending->ring[(pending->head + i) & (pending->capacity - 1)];
}

/* Make room for `n` more, so that at most `most` (n among them) are unfinished.
 * Returns how many there is room for: fewer if memory is out. */
uint32_t pending_reserve(struct pending *pending, uint32_t n, uint32_t most);

/* `n` consecutive sequences, higher than all before, outstanding, first
 * delivered now; there is room for them. `given` is that of the first. */
void pending_append(struct pending *pending, uint64_t first, uint32_t n,
    uint16_t holder, uint64_t given, uint64_t now_ms);

/* The index of the first entry with this sequence or a higher one; `count` if
 * there is none. */
uint32_t pending_find(const struct pending *pending, uint64_t sequence);
/* The entry with exactly this sequence in this state, or NULL. */
struct pending_entry *pending_get(
    const struct pending *pending, uint64_t sequence, enum pending_state state);

/* Into another state. For outstanding, entry->time_ms is now, not before that
 * of any other; for waiting, it is until when. Indices stay. */
void pending_move(struct pending *pending, struct pending_entry *entry,
    enum pending_state state);

/* Take holes off the front: after something was finished. Indices change. */
void pending_trim(struct pending *pending);
/* Take all holes out. */
void pending_close_holes(struct pending *pending);
/* Everything is finished. */
void pending_clear(struct pending *pending);

/* The one that has been outstanding for longest, that is due first, that died
 * first; or NULL. */
static inline struct pending_entry *
pending_oldest(const struct pending *pending)
{
    uint32_t slot = pending->outstanding.first;
    return slot == PENDING_NIL ? NULL : &pending->ring[slot];
}

static inline struct pending_entry *
pending_first_waiting(const struct pending *pending)
{
    return pending->heap_count == 0 ? NULL : &pending->ring[pending->heap[0]];
}

static inline struct pending_entry *
pending_first_dead(const struct pending *pending)
{
    uint32_t slot = pending->dead.first;
    return slot == PENDING_NIL ? NULL : &pending->ring[slot];
}

#endif
