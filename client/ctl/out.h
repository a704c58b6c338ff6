/* SPDX-License-Identifier: MIT
 *
 * Standard output: a buffer in front of a file descriptor that is never
 * written to without asking first whether it would block. Knows nothing of
 * messages and of the broker.
 *
 * Whoever fills it decides when to flush: brokerctl does so whenever it is
 * about to wait, so a reader at the other end of a pipe never waits for a line
 * that is already there, and a fast stream still goes out in large pieces.
 *
 * O_NONBLOCK is not used: it would change the file description that brokerctl
 * shares with the shell. Instead poll() is asked first, and a pipe or terminal
 * that is writable is given no more than PIPE_BUF bytes at once.
 */
#ifndef BROKERCTL_OUT_H
#define BROKERCTL_OUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Private to out.c, but for reading `fd`. */
struct out {
    int fd;
    int failed_errno; /* 0: fine. EPIPE: nobody reads any more */
    bool regular;     /* a file: writing never waits for a reader */
    bool terminal;    /* what strangers say is escaped */
    uint8_t *data;    /* bytes [start, end) wait to be written */
    size_t start, end, cap;
};

/* Begin to write to `fd`, which stays the caller's. */
void out_init(struct out *out, int fd);

/* Free the buffer; what was not flushed is lost. */
void out_fini(struct out *out);

/* Append bytes to the buffer, which grows as needed. After a failure of the
 * descriptor they are dropped: ask out_failed(). A failed allocation counts as
 * a failure with ENOMEM. */
void out_write(struct out *out, const void *data, size_t len);
void out_text(struct out *out, const char *text);
__attribute__((format(printf, 2, 3))) void out_printf(
    struct out *out, const char *format, ...);

/* The same for what came from others: to a terminal, control characters are
 * escaped (escape.h). A text may have line breaks and tabs, a name may not. */
void out_peer_text(struct out *out, const void *data, size_t len);
void out_peer_name(struct out *out, const void *data, size_t len);

/* End the output with this errno, as if the descriptor had failed: for callers
 * that cannot make what they have to write. */
void out_fail(struct out *out, int error);

/* Bytes that wait. */
size_t out_pending(const struct out *out);

/* Write what can be written without waiting. True: everything is out (or
 * failed); false: poll for POLLOUT and call again. */
bool out_drain(struct out *out);

/* Write everything, waiting as long as it takes. */
void out_flush(struct out *out);

/* The same, but wait at most timeout_ms for the reader to take something.
 * False: it did not, and bytes are left. */
bool out_flush_within(struct out *out, int timeout_ms);

/* The errno of the failure that ended the output, or 0. EPIPE means that the
 * reader has gone, which is no error for a filter. */
int out_failed(const struct out *out);

#endif
