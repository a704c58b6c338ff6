/* SPDX-License-Identifier: MIT
 *
 * See receive.h.
 */
#include "receive.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define CAPACITY_MIN  ((size_t)16 << 10)
#define CAPACITY_BUSY ((size_t)256 << 10) /* what a steady flow grows it to */

void
receive_fini(struct receive *receive)
{
    free(receive->data);
    *receive = (struct receive){0};
}

void
receive_reset(struct receive *receive)
{
    receive->start = receive->end = 0;
    receive->was_filled = false;
    if (receive->capacity > CAPACITY_BUSY) {
        receive_fini(receive);
    }
}

static bool
resize(struct receive *receive, size_t capacity)
{
    uint8_t *data = realloc(receive->data, capacity);
    if (data == NULL) {
        return false;
    }
    receive->data = data;
    receive->capacity = capacity;
    return true;
}

uint8_t *
receive_space(struct receive *receive, size_t needed, size_t *room)
{
    size_t len = receive->end - receive->start;
    if (len == 0) {
        bool was_filled = receive->was_filled;
        receive_reset(receive); /* lets a buffer go that one large frame made */
        receive->was_filled = was_filled;
    } else if (receive->start > 0) {
        memmove(receive->data, receive->data + receive->start, len);
        receive->start = 0;
        receive->end = len;
    }
    size_t wanted = receive->capacity;
    if (wanted == 0) {
        wanted = CAPACITY_MIN;
    } else if (receive->end == receive->capacity) {
        wanted = receive->capacity * 2;
    } else if (receive->was_filled && receive->capacity < CAPACITY_BUSY) {
        wanted = receive->capacity * 2;
    }
    if (wanted > CAPACITY_BUSY && wanted > needed) {
        wanted = needed > CAPACITY_BUSY ? needed : CAPACITY_BUSY;
    }
    if (wanted > receive->capacity && !resize(receive, wanted) &&
        receive->end == receive->capacity) {
        return NULL;
    }
    if (receive->end == receive->capacity) {
        return NULL;
    }
    *room = receive->capacity - receive->end;
    return receive->data + receive->end;
}

void
receive_commit(struct receive *receive, size_t n)
{
    assert(n <= receive->capacity - receive->end);
    receive->was_filled = n > 0 && n == receive->capacity - receive->end;
    receive->end += n;
}
