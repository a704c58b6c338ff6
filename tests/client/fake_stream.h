/* SPDX-License-Identifier: MIT
 *
 * What fake_broker.h has for streams: frames of the broker, and calls.
 */
#ifndef BROKER_TEST_FAKE_STREAM_H
#define BROKER_TEST_FAKE_STREAM_H

#include "fake_broker.h"

/* Frames of the broker, fed at once. */
enum broker_status fake_synced(struct fake *fake, uint32_t id, uint32_t count,
    const char *stream, uint64_t sequence);
/* ERROR WRONG_LAST_SEQUENCE. */
enum broker_status fake_wrong_last(
    struct fake *fake, uint32_t id, uint16_t frame_type, uint64_t sequence);
enum broker_status fake_consume_reply(struct fake *fake, uint32_t id,
    enum broker_ack_mode ack, uint64_t last_sequence, uint64_t next_sequence);
enum broker_status fake_position(struct fake *fake, uint32_t id,
    uint64_t sequence, uint32_t count, uint32_t deliveries);
/* CONTEXT and POSITION for `count` messages, and these, with the payload. */
enum broker_status fake_stream_messages(struct fake *fake, uint32_t id,
    uint64_t sequence, uint32_t count, uint32_t deliveries);
/* What time_ms they have. */
#define FAKE_TIME_MS UINT64_C(1790000000123)

/* Calls of the user. 0: refused. `asked` gets callbacks unless for_next. */
uint32_t fake_consume(
    struct fake *fake, struct broker_client_consume asked, bool for_next);
/* A durable consumer that is joined, with its reply. */
uint32_t fake_join(struct fake *fake, enum broker_ack_mode ack);

/* The next frame, which must be CONSUME; or one of ACK, NACK and TOUCH. */
struct broker_consume fake_take_consume(struct fake *fake);
struct broker_settle fake_take_settle(struct fake *fake);

#endif
