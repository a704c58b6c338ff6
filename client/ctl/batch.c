/* SPDX-License-Identifier: MIT
 *
 * Lines as messages of one batch; see batch.h.
 */
#include "batch.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "say.h"

static bool
add(struct batch *batch, const struct broker_client_outgoing *like,
    const uint8_t *line, size_t len)
{
    struct broker_client_outgoing *message;
    uint8_t *copy;

    if (batch->count == batch->capacity) {
        const size_t capacity = batch->capacity * 2 + 64;
        void *messages =
            realloc(batch->messages, capacity * sizeof batch->messages[0]);

        if (messages == NULL) {
            return false;
        }
        batch->messages = messages;
        batch->capacity = capacity;
    }
    copy = malloc(len + 1); /* an empty line too is something */
    if (copy == NULL) {
        return false;
    }
    if (len > 0) {
        memcpy(copy, line, len);
    }
    message = &batch->messages[batch->count];
    *message = *like;
    message->payload = copy;
    message->payload_bytes = len;
    message->expects_last = like->expects_last && batch->count == 0;
    batch->count++;
    batch->bytes += len;
    return true;
}

static enum ctl_exit
wait_and_read(struct source *source)
{
    struct pollfd fd = {.fd = source_fd(source), .events = POLLIN};
    enum ctl_exit code = CTL_EXIT_OK;

    (void)poll(&fd, 1, -1);
    (void)source_read(source, &code);
    return code;
}

enum ctl_exit
batch_read(struct batch *batch, struct source *source,
    const struct broker_client_outgoing *like, uint64_t most)
{
    enum ctl_exit code = CTL_EXIT_OK;

    *batch = (struct batch){0};
    while (code == CTL_EXIT_OK && batch->count < most) {
        const uint8_t *line;
        size_t len;
        const enum source_result result =
            source_next(source, &line, &len, &code);

        if (result == SOURCE_END) {
            break;
        }
        if (result == SOURCE_WAIT) {
            code = wait_and_read(source);
        } else if (result == SOURCE_OK && !add(batch, like, line, len)) {
            say("out of memory");
            code = CTL_EXIT_FAILED;
        }
        if (batch->bytes > BROKER_BODY_BYTES_MAX) {
            say("the batch is larger than any broker takes (%u bytes): send "
                "fewer lines",
                BROKER_BODY_BYTES_MAX);
            code = CTL_EXIT_DATA;
        }
    }
    if (code == CTL_EXIT_OK && batch->count == 0) {
        say("there are no lines for a batch: it needs at least one");
        code = CTL_EXIT_DATA;
    }
    return code;
}

void
batch_fini(struct batch *batch)
{
    for (size_t i = 0; i < batch->count; i++) {
        /* It was allocated here, and is const only for the library. */
        free((void *)(uintptr_t)batch->messages[i].payload);
    }
    free(batch->messages);
    *batch = (struct batch){0};
}
