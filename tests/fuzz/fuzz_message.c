/* SPDX-License-Identifier: MIT
 *
 * The decoder of each message type with a body that no header check has seen.
 * The input is a frame without its length: type, flags, id, body. What decodes
 * must encode to the same bytes.
 */
#include "fuzz.h"

#include "any_message.h"

#define HEAD_BYTES (BROKER_HEADER_BYTES - 4)

/* The views of a PUBLISH are walked like a subscriber does. (What is in a batch
 * or a list of ranges is walked by any_check_body.) */
static void
walk_headers(const struct broker_frame *frame)
{
    struct broker_publish m;
    struct broker_bytes key, value, rest;
    enum broker_status status;

    if (broker_publish_decode(frame, &m) != BROKER_OK) {
        return;
    }
    rest = m.headers;
    while ((status = broker_header_next(&rest, &key, &value)) == BROKER_OK) {
        FUZZ_REQUIRE(key.len >= 1 && key.len <= 255 && broker_utf8_check(key),
            "a bad key passes the decoder");
    }
    FUZZ_REQUIRE(status == BROKER_MORE, "bad fields pass the decoder");
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t wire[BROKER_HEADER_BYTES] = {0};
    struct broker_header header;
    struct broker_frame frame;
    const char *broken;
    uint8_t *body;

    if (size < HEAD_BYTES || size - HEAD_BYTES > BROKER_BODY_BYTES_MAX) {
        return 0;
    }
    memcpy(wire + 4, data, HEAD_BYTES);
    broker_header_decode(wire, &header);
    if (any_type_find(header.type) == NULL) {
        return 0;
    }
    /* Undefined flags never get here from a socket, and encode refuses them. */
    header.flags &= (uint16_t)(~BROKER_FLAGS_STRUCTURAL |
                               broker_frame_info(header.type)->flags);
    body = fuzz_copy(data + HEAD_BYTES, size - HEAD_BYTES);
    frame.type = header.type;
    frame.flags = header.flags;
    frame.id = header.id;
    frame.body.data = body;
    frame.body.len = size - HEAD_BYTES;
    broken = any_check_body(&frame);
    FUZZ_REQUIRE(broken == NULL, broken);
    if (frame.type == BROKER_FRAME_PUBLISH) {
        walk_headers(&frame);
    }
    free(body);
    return 0;
}
