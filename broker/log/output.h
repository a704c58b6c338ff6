/* SPDX-License-Identifier: MIT
 *
 * Standard error, or a file, as something that never makes anybody wait. This
 * owns how bytes get there; it knows nothing of what they say.
 *
 * A pipe that nobody reads, a stopped terminal and a busy journal take no bytes
 * for as long as they like, and a broker must not stand still for its log. But
 * O_NONBLOCK belongs to the open file, which is shared with whoever started us.
 * So pipes and terminals are opened once more, for us alone; a socket takes the
 * wish with each call. What cannot be opened (it belongs to another user) is
 * asked first whether it has room; two threads may then be told the same, so
 * that this is nearly as good, and not quite.
 *
 * Threads: output_write() in any thread at any time.
 */
#ifndef BROKER_LOG_OUTPUT_H
#define BROKER_LOG_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Find out what standard error is. May be called again, while no other thread
 * writes. Changes errno. */
void output_open(void);

/* Write to the end of this file from now on; it is made if it does not exist,
 * readable for its group. Calls after the first replace the file while other
 * threads write: a line goes to the old one or to the new one. False, with
 * errno: everything is as before. */
bool output_open_file(const char *path);

/* Give the file to an account, unless it is none (standard error, a device).
 * False, with errno: it could not be given. */
bool output_give(uid_t uid, gid_t gid);

/* Write a line, or nothing. False: it was not written, or not to its end; what
 * is written next then begins on a line of its own. `len` is at least 1, and
 * the last byte a newline. Changes errno. */
bool output_write(const char *line, size_t len);

#endif
