/* SPDX-License-Identifier: MIT
 *
 * Streams and consumers for people: times as dates, limits as words, chosen
 * columns. What is not known here is shown as it comes. Knows no connection.
 */
#ifndef BROKERCTL_VIEW_H
#define BROKERCTL_VIEW_H

#include <jansson.h>
#include <stdbool.h>

#include "out.h"

/* An object: one line per key. False: out of memory, here and below. */
bool view_object(struct out *out, const json_t *object);

/* The list `key` of an answer: one line each, with these columns ("name
 * topics") as far as there are such. `nothing` if it is empty. */
bool view_list(struct out *out, const json_t *answer, const char *key,
    const char *columns, const char *nothing);

#endif
