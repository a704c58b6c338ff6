/* SPDX-License-Identifier: MIT
 *
 * Nearest names; see suggest.h. The distance is Damerau's (optimal string
 * alignment): swapped letters are the commonest slip and count once.
 */
#include "suggest.h"

#include <string.h>

#define WORD_MAX 31

static size_t
min_size(size_t a, size_t b)
{
    return a < b ? a : b;
}

size_t
suggest_distance(const char *a, const char *b)
{
    const size_t a_len = strnlen(a, WORD_MAX);
    const size_t b_len = strnlen(b, WORD_MAX);
    size_t d[WORD_MAX + 1][WORD_MAX + 1];

    for (size_t i = 0; i <= a_len; i++) {
        d[i][0] = i;
    }
    for (size_t j = 0; j <= b_len; j++) {
        d[0][j] = j;
    }
    for (size_t i = 1; i <= a_len; i++) {
        for (size_t j = 1; j <= b_len; j++) {
            const size_t replaced = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);

            d[i][j] =
                min_size(replaced, min_size(d[i - 1][j], d[i][j - 1]) + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] &&
                a[i - 2] == b[j - 1]) {
                d[i][j] = min_size(d[i][j], d[i - 2][j - 2] + 1);
            }
        }
    }
    return d[a_len][b_len];
}

void
suggest_offer(struct suggest *suggest, const char *candidate)
{
    const size_t typed_len = strlen(suggest->typed);
    size_t distance = suggest_distance(suggest->typed, candidate);

    /* What begins a longer name was probably meant as it: "stat", "sub". */
    if (typed_len >= 2 && strncmp(suggest->typed, candidate, typed_len) == 0) {
        distance = 1;
    }
    /* A guess that shares less than about two thirds is no help. */
    if (distance > 1 && distance * 3 > typed_len) {
        return;
    }
    if (suggest->best == NULL || distance < suggest->best_distance) {
        suggest->best = candidate;
        suggest->best_distance = distance;
    }
}
