/* SPDX-License-Identifier: MIT
 *
 * See publishes.h.
 */
#include "publishes.h"

#include <assert.h>
#include <stdlib.h>

#define CAPACITY_MIN 64
#define COUNT_MAX    ((size_t)1 << 30)

uint32_t
publish_number_add(uint32_t a, uint32_t n)
{
    uint32_t sum = a + n;
    return sum < a ? sum + 1 : sum; /* 0 was passed, or hit */
}

uint32_t
publish_number_subtract(uint32_t a, uint32_t n)
{
    uint32_t difference = a - n;
    return n >= a ? difference - 1 : difference;
}

bool
publish_number_is_above(uint32_t a, uint32_t b)
{
    uint32_t distance = a - b;
    return distance > 0 && distance < UINT32_C(0x80000000);
}

void
publishes_init(struct publishes *publishes)
{
    *publishes = (struct publishes){.first_number = 1};
}

void
publishes_fini(struct publishes *publishes)
{
    free(publishes->slots);
    publishes_init(publishes);
}

static struct publish_slot *
slot_at(struct publishes *publishes, size_t i)
{
    return &publishes->slots[(publishes->head + i) & (publishes->capacity - 1)];
}

bool
publishes_reserve(struct publishes *publishes)
{
    if (publishes->count < publishes->capacity) {
        return true;
    }
    if (publishes->count >= COUNT_MAX) {
        return false;
    }
    size_t capacity =
        publishes->capacity == 0 ? CAPACITY_MIN : publishes->capacity * 2;
    struct publish_slot *slots = malloc(capacity * sizeof *slots);
    if (slots == NULL) {
        return false;
    }
    for (size_t i = 0; i < publishes->count; i++) {
        slots[i] = *slot_at(publishes, i);
    }
    free(publishes->slots);
    publishes->slots = slots;
    publishes->capacity = capacity;
    publishes->head = 0;
    return true;
}

uint32_t
publishes_next_number(const struct publishes *publishes)
{
    return publish_number_add(
        publishes->first_number, (uint32_t)publishes->count);
}

void
publishes_push(struct publishes *publishes, const struct publish_slot *slot)
{
    assert(publishes->count < publishes->capacity);
    publishes->count++;
    publishes->waiting++;
    *slot_at(publishes, publishes->count - 1) = *slot;
}

struct publish_slot *
publishes_find(struct publishes *publishes, uint32_t number)
{
    if (number == 0) {
        return NULL;
    }
    uint32_t first = publishes->first_number;
    /* Past the wrap there is one number less than the difference says: 0. */
    uint32_t i = number >= first ? number - first : number - first - 1;
    if (i >= publishes->count) {
        return NULL;
    }
    struct publish_slot *slot = slot_at(publishes, i);
    return slot->state == PUBLISH_WAITING ? slot : NULL;
}

void
publishes_leave(struct publishes *publishes)
{
    while (
        publishes->count > 0 && slot_at(publishes, 0)->state == PUBLISH_DONE) {
        publishes->head = (publishes->head + 1) & (publishes->capacity - 1);
        publishes->count--;
        publishes->first_number =
            publish_number_add(publishes->first_number, 1);
        publishes->first_ordinal++;
    }
}

void
publishes_mark_slot(struct publishes *publishes, struct publish_slot *slot,
    enum publish_state state)
{
    assert(slot->state == PUBLISH_WAITING && state != PUBLISH_WAITING);
    slot->state = (uint8_t)state;
    publishes->waiting--;
}

void
publishes_settle(struct publishes *publishes, struct publish_slot *slot)
{
    publishes_mark_slot(publishes, slot, PUBLISH_DONE);
    publishes_leave(publishes);
}

bool
publishes_take_due(
    struct publishes *publishes, uint64_t *ordinal, struct publish_slot *out)
{
    if (*ordinal < publishes->first_ordinal) {
        *ordinal = publishes->first_ordinal;
    }
    while (*ordinal - publishes->first_ordinal < publishes->count) {
        struct publish_slot *slot =
            slot_at(publishes, (size_t)(*ordinal - publishes->first_ordinal));
        ++*ordinal;
        if (slot->state == PUBLISH_DUE) {
            *out = *slot;
            slot->state = PUBLISH_DONE;
            publishes_leave(publishes);
            return true;
        }
    }
    return false;
}

bool
publishes_take_waiting(struct publishes *publishes, struct publish_slot *out)
{
    if (publishes->count == 0) {
        return false;
    }
    /* The first slot is never DONE. */
    struct publish_slot *slot = slot_at(publishes, 0);
    *out = *slot;
    publishes->waiting -= slot->state == PUBLISH_WAITING;
    slot->state = PUBLISH_DONE;
    publishes_leave(publishes);
    return true;
}

void
publishes_renumber(struct publishes *publishes, uint32_t number)
{
    assert(number != 0);
    publishes->first_number = number;
}

uint64_t
publishes_next_ordinal(const struct publishes *publishes)
{
    return publishes->first_ordinal + publishes->count;
}
