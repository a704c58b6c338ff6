/* SPDX-License-Identifier: MIT
 *
 * How "sub" takes messages from streams: the options, a reader or a durable
 * consumer of the library made from them, and acknowledgements, which are given
 * for what has been written to the output and not before.
 */
#ifndef BROKERCTL_READING_H
#define BROKERCTL_READING_H

#include <stdbool.h>
#include <stdint.h>

#include <broker/client.h>

#include "moment.h"
#include "options.h"
#include "out.h"

/* The options, as a part of the command's settings. */
struct reading_settings {
    const char *from;
    const char *stream;
    bool until_end;
    const char *consumer;
    uint64_t window; /* 0: as the consumer allows */
    int ack;         /* enum reading_ack */
};

enum reading_ack { READING_ACK_UNSET, READING_ACK_EACH, READING_ACK_NO };
extern const struct option_choice reading_ack_choices[];

/* clang-format off */
#define READING_OPTIONS(type, member)                                          \
    {"from", 0, OPTION_TEXT, "START",                                          \
        "first|last|new|seq:N|time:DATE|-TIME|last:N",                         \
        offsetof(struct type, member.from), NULL},                             \
    {"stream", 'S', OPTION_TEXT, "NAME", "read this stream",                   \
        offsetof(struct type, member.stream), NULL},                           \
    {"until-end", 0, OPTION_FLAG, NULL,                                        \
        "end when there is nothing more in the stream",                        \
        offsetof(struct type, member.until_end), NULL},                        \
    {"consumer", 'c', OPTION_TEXT, "NAME",                                     \
        "take messages from this durable consumer",                            \
        offsetof(struct type, member.consumer), NULL},                         \
    {"window", 'w', OPTION_COUNT, "N",                                         \
        "take so many without acknowledging them",                             \
        offsetof(struct type, member.window), NULL},                           \
    {"ack", 0, OPTION_CHOICE, "WHICH",                                         \
        "each: what was printed; no: nothing",                                 \
        offsetof(struct type, member.ack), reading_ack_choices}
/* clang-format on */

enum reading_kind {
    READING_NOTHING, /* a plain subscription */
    READING_STREAM,
    READING_CONSUMER,
};

struct reading {
    const struct reading_settings *settings;
    enum reading_kind kind;
    struct start start;

    /* What was printed and is to be acknowledged once it is written. */
    enum broker_ack_mode mode; /* the broker's word */
    uint64_t *printed;
    size_t printed_count, printed_capacity;
};

/* Judge the options. False: what is wrong was said. `filters`: how many there
 * are on the command line. */
bool reading_init(struct reading *reading,
    const struct reading_settings *settings, size_t filters);
void reading_fini(struct reading *reading);

/* What to ask the library for; filter may be NULL. Callbacks are the caller's
 * to set. At most `most` messages are wanted; 0: no limit. */
struct broker_client_consume reading_consume(
    const struct reading *reading, const char *filter, uint64_t most);

/* A message was printed. False: no memory, it stays unacknowledged. */
bool reading_printed(struct reading *reading, uint64_t sequence);

/* Acknowledge it all, if the output has written everything. */
void reading_acknowledge(struct reading *reading, struct broker_client *client,
    uint32_t subscription, const struct out *out);

#endif
