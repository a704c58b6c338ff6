/* SPDX-License-Identifier: MIT
 *
 * See consume.h.
 */
#include "consume.h"

#include <stdlib.h>
#include <string.h>

struct consume *
consume_new(struct broker_bytes stream, struct broker_bytes name)
{
    struct consume *consume =
        calloc(1, sizeof *consume + stream.len + name.len);
    if (consume == NULL) {
        return NULL;
    }
    if (stream.len > 0) {
        memcpy(consume->text, stream.data, stream.len);
        consume->stream = (struct broker_bytes){consume->text, stream.len};
    }
    if (name.len > 0) {
        memcpy(consume->text + stream.len, name.data, name.len);
        consume->name =
            (struct broker_bytes){consume->text + stream.len, name.len};
    }
    consume->is_consumer = name.len > 0;
    return consume;
}

void
consume_free(struct consume *consume)
{
    if (consume == NULL) {
        return;
    }
    outstanding_fini(&consume->outstanding);
    for (size_t i = 0; i < CONSUME_LISTS; i++) {
        sequences_fini(&consume->lists[i]);
    }
    free(consume);
}

bool
consume_is_over(const struct consume *consume)
{
    return consume != NULL && consume->caught_up &&
           (consume->options & BROKER_CONSUME_END) != 0;
}

uint64_t
consume_lose(struct consume *consume)
{
    uint64_t unsaid = consume->ack_up_to != 0;
    outstanding_clear(&consume->outstanding);
    for (size_t i = 0; i < CONSUME_LISTS; i++) {
        unsaid += sequences_total(&consume->lists[i]);
        sequences_clear(&consume->lists[i]);
    }
    consume->ack_up_to = 0;
    consume->has_unseen = false;
    consume->caught_up = false;
    return unsaid;
}
