/* SPDX-License-Identifier: MIT
 *
 * All message types of the codec behind one interface, and the properties that
 * every byte string must keep with them. Shared by the tests and the fuzz
 * targets. Standard C only; adds nothing that codec.h does not promise.
 */
#ifndef BROKER_TESTS_ANY_MESSAGE_H
#define BROKER_TESTS_ANY_MESSAGE_H

#include <broker/codec.h>

union any_message {
    struct broker_hello hello;
    struct broker_welcome welcome;
    struct broker_error error;
    struct broker_ping ping;
    struct broker_goaway goaway;
    struct broker_publish publish;
    struct broker_puback puback;
    struct broker_subscribe subscribe;
    struct broker_suback suback;
    struct broker_unsubscribe unsubscribe;
    struct broker_unsuback unsuback;
    struct broker_context context;
    struct broker_gap gap;
    struct broker_publish_batch publish_batch;
    struct broker_consume consume;
    struct broker_consume_reply consume_reply;
    struct broker_position position;
    struct broker_settle settle;
    struct broker_notice notice;
};

struct any_type {
    uint16_t type;
    bool keeps_flags; /* hints survive decode and encode */
    enum broker_status (*decode)(
        const struct broker_frame *frame, union any_message *out);
    size_t (*size)(const union any_message *m);
    enum broker_status (*encode)(
        const union any_message *m, uint8_t *dst, size_t cap, size_t *n);
};

/* The row of a type that has a message, or NULL. */
const struct any_type *any_type_find(uint16_t type);

/* What the codec promises of any bytes: decode src[0..len) as one frame and its
 * message, encode it, compare. NULL, or a sentence that says which promise was
 * broken. An error from decoding is no broken promise. */
const char *any_check_frame(
    const struct broker_limits *limits, const uint8_t *src, size_t len);

/* The same for a frame whose header was judged already. */
const char *any_check_body(const struct broker_frame *frame);

#endif
