/* SPDX-License-Identifier: MIT
 *
 * How "sub" takes messages from streams; see reading.h.
 */
#include "reading.h"

#include <stdlib.h>

#include "say.h"

const struct option_choice reading_ack_choices[] = {
    {"each", READING_ACK_EACH},
    {"no", READING_ACK_NO},
    {NULL, 0},
};

static bool
complain(const char *text)
{
    say("sub: %s (see brokerctl sub --help)", text);
    return false;
}

static bool
check_consumer(const struct reading_settings *settings, size_t filters)
{
    if (filters > 0 || settings->stream != NULL || settings->from != NULL ||
        settings->until_end) {
        return complain(
            "a durable consumer has its stream, filter and place: with "
            "--consumer leave out FILTER, --stream, --from and --until-end");
    }
    return true;
}

static bool
check_stream(struct reading *reading)
{
    const struct reading_settings *settings = reading->settings;
    const char *why;

    if (settings->window != 0 || settings->ack != READING_ACK_UNSET) {
        return complain("--window and --ack go with --consumer");
    }
    reading->start = (struct start){BROKER_START_FIRST, 0};
    if (settings->from != NULL &&
        !start_parse(settings->from, &reading->start, &why)) {
        say("sub: --from cannot be \"%s\": %s", settings->from, why);
        return false;
    }
    return true;
}

bool
reading_init(struct reading *reading, const struct reading_settings *settings,
    size_t filters)
{
    *reading = (struct reading){.settings = settings};
    if (settings->consumer != NULL) {
        reading->kind = READING_CONSUMER;
        return check_consumer(settings, filters);
    }
    if (settings->stream != NULL || settings->from != NULL ||
        settings->until_end) {
        reading->kind = READING_STREAM;
    }
    if (filters == 0 && settings->stream == NULL) {
        return complain("say what to print: FILTER..., --stream NAME or "
                        "--consumer NAME");
    }
    if (settings->stream != NULL && filters > 1) {
        return complain("with --stream there is at most one FILTER");
    }
    return check_stream(reading);
}

void
reading_fini(struct reading *reading)
{
    free(reading->printed);
    reading->printed = NULL;
}

struct broker_client_consume
reading_consume(
    const struct reading *reading, const char *filter, uint64_t most)
{
    const struct reading_settings *settings = reading->settings;
    uint64_t window = settings->window;

    if (reading->kind == READING_STREAM) {
        return (struct broker_client_consume){
            .stream = settings->stream,
            .filter = filter,
            .start = reading->start.start,
            .value = reading->start.value,
            .end = settings->until_end,
        };
    }
    /* What will not be printed is better left to others. */
    if (most != 0 && (window == 0 || window > most)) {
        window = most;
    }
    return (struct broker_client_consume){
        .consumer = settings->consumer,
        .window = window > UINT32_MAX ? UINT32_MAX : (uint32_t)window,
    };
}

bool
reading_printed(struct reading *reading, uint64_t sequence)
{
    if (reading->kind != READING_CONSUMER ||
        reading->settings->ack == READING_ACK_NO) {
        return true;
    }
    if (reading->printed_count == reading->printed_capacity) {
        const size_t capacity = reading->printed_capacity * 2 + 64;
        uint64_t *printed =
            realloc(reading->printed, capacity * sizeof printed[0]);

        if (printed == NULL) {
            return false;
        }
        reading->printed = printed;
        reading->printed_capacity = capacity;
    }
    reading->printed[reading->printed_count++] = sequence;
    return true;
}

void
reading_acknowledge(struct reading *reading, struct broker_client *client,
    uint32_t subscription, const struct out *out)
{
    if (reading->printed_count == 0 || out_pending(out) > 0 ||
        out_failed(out) != 0) {
        return;
    }
    for (size_t i = 0; i < reading->printed_count; i++) {
        /* It fails only when the end has come, and then somebody else gets the
         * message. */
        (void)(reading->mode == BROKER_ACK_CUMULATIVE
                   ? broker_client_ack_up_to(
                         client, subscription, reading->printed[i])
                   : broker_client_ack(
                         client, subscription, reading->printed[i]));
    }
    reading->printed_count = 0;
}
