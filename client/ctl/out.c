/* SPDX-License-Identifier: MIT
 *
 * Standard output with a buffer; see out.h.
 */
#include "out.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "escape.h"

#define OUT_FIRST_BYTES 65536u
/* A buffer that one large message has blown up is not kept that large. */
#define OUT_KEEP_BYTES 1048576u
#define OUT_FILE_BYTES 1048576u

void
out_init(struct out *out, int fd)
{
    struct stat status;

    *out = (struct out){.fd = fd};
    out->regular = fstat(fd, &status) == 0 && S_ISREG(status.st_mode);
    out->terminal = isatty(fd) == 1;
}

void
out_fini(struct out *out)
{
    free(out->data);
    *out = (struct out){.fd = -1};
}

void
out_fail(struct out *out, int error)
{
    out->failed_errno = error;
    out->start = out->end = 0;
}

/* Make room for `len` more bytes behind `end`. */
static bool
out_reserve(struct out *out, size_t len)
{
    size_t cap = out->cap != 0 ? out->cap : OUT_FIRST_BYTES;
    uint8_t *data;

    if (len <= out->cap - out->end) {
        return true;
    }
    if (out->start > 0) {
        memmove(out->data, out->data + out->start, out->end - out->start);
        out->end -= out->start;
        out->start = 0;
        if (len <= out->cap - out->end) {
            return true;
        }
    }
    while (cap - out->end < len) {
        if (cap > SIZE_MAX / 2) {
            return false;
        }
        cap *= 2;
    }
    data = realloc(out->data, cap);
    if (data == NULL) {
        return false;
    }
    out->data = data;
    out->cap = cap;
    return true;
}

void
out_write(struct out *out, const void *data, size_t len)
{
    if (out->failed_errno != 0 || len == 0) {
        return;
    }
    if (!out_reserve(out, len)) {
        out_fail(out, ENOMEM);
        return;
    }
    memcpy(out->data + out->end, data, len);
    out->end += len;
}

void
out_text(struct out *out, const char *text)
{
    out_write(out, text, strlen(text));
}

void
out_printf(struct out *out, const char *format, ...)
{
    char line[512];
    char *text = line;
    va_list list;
    int n;

    va_start(list, format);
    n = vsnprintf(line, sizeof line, format, list);
    va_end(list);
    if (n >= (int)sizeof line) {
        text = malloc((size_t)n + 1);
        if (text == NULL) {
            out_fail(out, ENOMEM);
            return;
        }
        va_start(list, format);
        n = vsnprintf(text, (size_t)n + 1, format, list);
        va_end(list);
    }
    if (n > 0) {
        out_write(out, text, (size_t)n);
    }
    if (text != line) {
        free(text);
    }
}

static void
write_escaped(struct out *out, const uint8_t *data, size_t len, bool lines)
{
    while (out->terminal && len > 0) {
        char text[ESCAPE_TEXT_MAX];
        const size_t n = escape_span(data, len, lines);

        out_write(out, data, n);
        data += n;
        len -= n;
        if (len > 0) {
            const size_t bad = escape_one(data, len, text);

            out_text(out, text);
            data += bad;
            len -= bad;
        }
    }
    out_write(out, data, len);
}

void
out_peer_text(struct out *out, const void *data, size_t len)
{
    write_escaped(out, data, len, true);
}

void
out_peer_name(struct out *out, const void *data, size_t len)
{
    write_escaped(out, data, len, false);
}

size_t
out_pending(const struct out *out)
{
    return out->end - out->start;
}

static void
out_rewind(struct out *out)
{
    out->start = out->end = 0;
    if (out->cap > OUT_KEEP_BYTES) {
        free(out->data);
        out->data = NULL;
        out->cap = 0;
    }
}

/* Is it writable within timeout_ms (-1: no limit)? A descriptor in error is:
 * write() will say which error. */
static bool
out_ready(const struct out *out, int timeout_ms)
{
    struct pollfd poll_fd = {.fd = out->fd, .events = POLLOUT};
    int n;

    if (out->regular) {
        return true;
    }
    do {
        n = poll(&poll_fd, 1, timeout_ms);
    } while (n < 0 && errno == EINTR && timeout_ms != 0);
    return n > 0;
}

static bool
out_step(struct out *out, int timeout_ms)
{
    const size_t most = out->regular ? OUT_FILE_BYTES : PIPE_BUF;
    size_t len = out_pending(out);
    ssize_t n;

    if (!out_ready(out, timeout_ms)) {
        return false;
    }
    n = write(out->fd, out->data + out->start, len < most ? len : most);
    if (n < 0) {
        if (errno == EAGAIN || errno == EINTR) {
            return timeout_ms != 0;
        }
        out_fail(out, errno);
        return true;
    }
    out->start += (size_t)n;
    return true;
}

static bool
out_push(struct out *out, int timeout_ms)
{
    while (out_pending(out) > 0) {
        if (!out_step(out, timeout_ms)) {
            return false;
        }
    }
    out_rewind(out);
    return true;
}

bool
out_drain(struct out *out)
{
    return out_push(out, 0);
}

void
out_flush(struct out *out)
{
    (void)out_push(out, -1);
}

bool
out_flush_within(struct out *out, int timeout_ms)
{
    return out_push(out, timeout_ms);
}

int
out_failed(const struct out *out)
{
    return out->failed_errno;
}
