/* SPDX-License-Identifier: MIT
 *
 * Structured log lines on standard error or in a file, one write(2) each:
 *
 *   2026-01-31T12:00:00.123Z info conn-open conn=17 peer=unix
 *
 * time (UTC), level, a fixed event tag, then key=value pairs. When standard
 * error is the systemd journal (JOURNAL_STREAM), the line starts with the
 * journal's priority instead of the time, which the journal adds by itself:
 * "<6>info conn-open ...".
 *
 * This owns the form of a line and the level filter. It knows nothing of what
 * is logged, and neither allocates nor locks.
 *
 * Bytes from a peer or a file go through log_quote(). Whatever is passed, a
 * line stays one line: log_event() escapes every byte that is not printable
 * ASCII.
 *
 * Threads: all functions but log_open() may be called from any thread at any
 * time. None of them changes errno, unless it says so.
 */
#ifndef BROKER_LOG_H
#define BROKER_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* The longest line in bytes, newline included; less than PIPE_BUF, so that
 * lines of several processes on one pipe do not mix. A longer line is cut
 * between two characters, an open quote is closed, and the line ends with
 * "truncated=yes". */
#define LOG_LINE_BYTES_MAX 2048

enum log_level {
    LOG_LEVEL_DEBUG,   /* anything that may happen per message */
    LOG_LEVEL_INFO,    /* the life of the daemon and of its connections */
    LOG_LEVEL_WARNING, /* something is lost or refused; look some day */
    LOG_LEVEL_ERROR    /* the daemon cannot do its work; look now */
};

/* Find out where standard error leads and set the lowest level that is
 * written. Call it once, before other threads run; without it lines have the
 * form with the time, the level is info, and a pipe that is full makes the
 * caller wait. */
void log_open(enum log_level level);

/* Append lines to this file from now on, and after a call for the same or
 * another path to that; it is made if it does not exist. The first call after
 * log_open() and before other threads run, later ones at any time. False, with
 * the reason in errno: lines go where they went. */
bool log_open_file(const char *path);

/* Give that file, if there is one, to an account, which will not be able to
 * open it otherwise. False, with the reason in errno. */
bool log_give_file(uid_t uid, gid_t gid);

/* Change and read the lowest level that is written. */
void log_set_level(enum log_level level);
enum log_level log_get_level(void);

/* At most so many lines of one event (one tag) are written in a second; those
 * that are left out are counted, and in a later second one line of the event
 * says "suppressed=N". 0, as at start: any number. While the level is debug,
 * nothing is left out. */
void log_set_lines_per_second(unsigned lines);

/* Say how many lines were left out, if any were and the second is over. Every
 * log_event() does so too; this is for when there is none for a while. Cheap if
 * there is nothing to say. */
void log_flush(void);

/* The last word: the same without waiting for the second to be over. What comes
 * after it is written as before. */
void log_finish(void);

/* Would a line of this level be written? Ask before preparing arguments that
 * are expensive. */
bool log_enabled(enum log_level level);

/* "debug", "info", "warning", "error"; never NULL. */
const char *log_level_name(enum log_level level);

/* Write one line. `tag` is a literal such as "conn-open"; `format` gives the
 * pairs, such as "conn=%u peer=%s".
 *
 * Never waits. A line that cannot be written at once (the disk is full,
 * standard error is closed, or a pipe that nobody reads) is dropped and
 * counted; the next line that can be written says "lines_lost=N". */
void log_event(enum log_level level, const char *tag, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Write bytes as one value for log_event() into dst[0..cap): as they are if
 * they are plain, otherwise in double quotes, with \" \\ \n \r \t and \xNN for
 * what is not printable ASCII. What does not fit is left out, and "..." follows
 * the closing quote. Returns `dst`, always NUL-terminated.
 *
 * `bytes` may be NULL if len is 0, `cap` is at least LOG_QUOTE_BYTES_MIN. */
#define LOG_QUOTE_BYTES_MIN 16
const char *log_quote(char *dst, size_t cap, const void *bytes, size_t len);

#endif
