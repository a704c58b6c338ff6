/* SPDX-License-Identifier: MIT
 *
 * A stream of frames. The first two bytes say where the stream is cut; the rest
 * is the stream. Received whole and in two parts it must give the same frames,
 * and each of them keeps what any_message.h promises.
 */
#include "fuzz.h"

#include "any_message.h"

static const struct broker_limits limits = {BROKER_BODY_BYTES_MIN, 1024, 64};

struct received {
    size_t pos;         /* bytes consumed */
    size_t frames;      /* good ones */
    size_t refused;     /* skipped */
    uint64_t signature; /* of all frames and errors, in order */
    bool dead;          /* a first byte that is not 0 */
};

/* Consume what is there in data[0..end). */
static void
receive(struct received *r, const uint8_t *data, size_t end)
{
    size_t rest = end - r->pos;
    uint8_t *copy = fuzz_copy(data + r->pos, rest);
    size_t at = 0;

    while (!r->dead) {
        struct broker_frame frame = {0};
        size_t n = 0;
        enum broker_status status =
            broker_frame_decode(&limits, copy + at, rest - at, &frame, &n);

        if (status == BROKER_MORE) {
            FUZZ_REQUIRE(n > rest - at, "MORE asks for what is there");
            break;
        }
        /* Skipping a refused frame needs its whole body to be there. */
        if (status != BROKER_OK && n > rest - at) {
            break;
        }
        r->frames += status == BROKER_OK;
        r->refused += status != BROKER_OK;
        r->signature = r->signature * 31 + (uint64_t)status + frame.type + n;
        r->dead = status == BROKER_E_BAD_START;
        at += n;
    }
    r->pos += at;
    free(copy);
}

/* Each frame in memory of its own, up to the first that is refused. */
static void
check_frames(const uint8_t *data, size_t size)
{
    size_t pos = 0;

    while (pos < size) {
        struct broker_frame frame;
        const char *broken;
        uint8_t *copy;
        size_t n;

        if (broker_frame_decode(&limits, data + pos, size - pos, &frame, &n) !=
            BROKER_OK) {
            n = size - pos;
        }
        copy = fuzz_copy(data + pos, n);
        broken = any_check_frame(&limits, copy, n);
        FUZZ_REQUIRE(broken == NULL, broken);
        free(copy);
        pos += n;
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct received whole = {0}, parts = {0};
    size_t cut;

    if (size < 2) {
        return 0;
    }
    cut = (size_t)data[0] << 8 | data[1];
    data += 2;
    size -= 2;
    receive(&whole, data, size);
    if (size != 0) {
        receive(&parts, data, cut % size);
    }
    receive(&parts, data, size);
    FUZZ_REQUIRE(whole.pos == parts.pos && whole.frames == parts.frames &&
                     whole.refused == parts.refused &&
                     whole.signature == parts.signature,
        "a stream in two parts gives other frames");
    check_frames(data, size);
    return 0;
}
