/* SPDX-License-Identifier: MIT
 *
 * All golden frames in one stream, received whole, byte by byte, and split in
 * two at each offset. The receiver does what PROTOCOL.md section 9 tells a
 * client to do and believes the number of bytes that BROKER_MORE asks for.
 */
#include "check.h"

#include <stdlib.h>
#include <string.h>

/* Larger frames would only make it slow. */
#define STREAM_FRAME_MAX 600

static const struct broker_limits stream_limits = BROKER_LIMITS_DEFAULT;

struct stream {
    uint8_t *data;
    size_t len;
    size_t *ends; /* where each frame ends */
    size_t count;
};

struct receiver {
    const struct stream *stream;
    size_t pos;  /* what was decoded */
    size_t need; /* bytes from pos on before decoding is worth a try */
    size_t frames;
    bool failed;
};

static void
stream_add(struct check_report *report, const struct vector_record *record,
    struct vector_bytes bytes, void *arg)
{
    struct stream *stream = arg;

    (void)report;
    (void)record;
    if (bytes.len > STREAM_FRAME_MAX) {
        return;
    }
    stream->data = realloc(stream->data, stream->len + bytes.len);
    stream->ends =
        realloc(stream->ends, (stream->count + 1) * sizeof *stream->ends);
    if (stream->data == NULL || stream->ends == NULL) {
        abort();
    }
    memcpy(stream->data + stream->len, bytes.data, bytes.len);
    stream->len += bytes.len;
    stream->ends[stream->count++] = stream->len;
}

static struct stream
stream_build(struct check_report *report, const char *dir)
{
    struct stream stream = {0};

    check_each_golden(report, dir, stream_add, &stream);
    return stream;
}

static void
stream_free(struct stream *stream)
{
    free(stream->data);
    free(stream->ends);
}

/* The stream has arrived up to `end`. */
static void
receive(struct receiver *r, size_t end)
{
    size_t len = end - r->pos;
    uint8_t *start, *src;

    if (r->failed || len < r->need || len == 0) {
        return;
    }
    start = src = malloc(len);
    if (src == NULL) {
        abort();
    }
    memcpy(src, r->stream->data + r->pos, len);
    while (!r->failed && len >= r->need && len > 0) {
        struct broker_frame frame;
        size_t n = 0;
        enum broker_status status =
            broker_frame_decode(&stream_limits, src, len, &frame, &n);

        if (status == BROKER_MORE && n > len) {
            r->need = n;
        } else if (status == BROKER_OK && r->frames < r->stream->count &&
                   r->pos + n == r->stream->ends[r->frames]) {
            r->frames++;
            r->pos += n;
            r->need = 0;
            src += n;
            len -= n;
        } else {
            r->failed = true;
        }
    }
    free(start);
}

static void
check_received(
    struct check_report *report, const struct receiver *r, size_t cut)
{
    check_that(report, NULL,
        !r->failed && r->pos == r->stream->len && r->frames == r->stream->count,
        "stream cut at %zu: %zu frames of %zu, %zu bytes of %zu", cut,
        r->frames, r->stream->count, r->pos, r->stream->len);
}

void
check_stream_whole(struct check_report *report, const char *dir)
{
    struct stream stream = stream_build(report, dir);
    struct receiver r = {.stream = &stream};

    receive(&r, stream.len);
    check_received(report, &r, stream.len);
    stream_free(&stream);
}

void
check_stream_by_bytes(struct check_report *report, const char *dir)
{
    struct stream stream = stream_build(report, dir);
    struct receiver r = {.stream = &stream};

    for (size_t end = 1; end <= stream.len; end++) {
        receive(&r, end);
    }
    check_received(report, &r, 1);
    stream_free(&stream);
}

void
check_stream_split(struct check_report *report, const char *dir)
{
    struct stream stream = stream_build(report, dir);

    for (size_t cut = 0; cut <= stream.len; cut++) {
        struct receiver r = {.stream = &stream};

        receive(&r, cut);
        receive(&r, stream.len);
        check_received(report, &r, cut);
    }
    stream_free(&stream);
}
