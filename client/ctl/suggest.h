/* SPDX-License-Identifier: MIT
 *
 * Finds what somebody meant who mistyped a name. Pure; knows nothing of
 * commands and options.
 */
#ifndef BROKERCTL_SUGGEST_H
#define BROKERCTL_SUGGEST_H

#include <stddef.h>

/* The best guess so far; begin with SUGGEST_INIT(what was typed). */
struct suggest {
    const char *typed;
    const char *best; /* NULL: nothing is near enough */
    size_t best_distance;
};
#define SUGGEST_INIT(text)                                                     \
    {                                                                          \
        .typed = (text)                                                        \
    }

/* Consider one candidate; it must outlive `suggest`. */
void suggest_offer(struct suggest *suggest, const char *candidate);

/* How many letters must be inserted, removed, replaced or swapped with their
 * neighbour to make `b` of `a`. Words longer than 31 bytes are compared by
 * their first 31. */
size_t suggest_distance(const char *a, const char *b);

#endif
