/* SPDX-License-Identifier: MIT
 *
 * The few bytes of a frame that the message path reads without decoding it.
 * Everything else goes through the codec. PROTOCOL.md section 3.1.
 */
#ifndef BROKER_CORE_WIRE_H
#define BROKER_CORE_WIRE_H

#include <broker/codec.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline uint32_t
wire_u32(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 |
           (uint32_t)bytes[2] << 8 | bytes[3];
}

/* Bytes of the whole frame that starts here; at least 4 bytes are there. */
static inline size_t
wire_frame_bytes(const uint8_t *frame)
{
    return (size_t)BROKER_HEADER_BYTES + wire_u32(frame);
}

/* Queued for readers of streams there are other frames among them. */
static inline bool
wire_is_publish(const uint8_t *frame)
{
    return (frame[4] << 8 | frame[5]) == BROKER_FRAME_PUBLISH;
}

static inline uint32_t
wire_frame_id(const uint8_t *frame)
{
    return wire_u32(frame + 8);
}

/* The topic of a whole PUBLISH frame. */
static inline size_t
wire_publish_topic_bytes(const uint8_t *frame)
{
    return (size_t)frame[BROKER_HEADER_BYTES] << 8 |
           frame[BROKER_HEADER_BYTES + 1];
}

static inline const uint8_t *
wire_publish_topic(const uint8_t *frame)
{
    return frame + BROKER_HEADER_BYTES + 4;
}

#endif
