/* SPDX-License-Identifier: MIT
 *
 * Log lines. A line is built in a buffer on the stack: prefix, the caller's
 * pairs, tail. The caller's text is formatted into a second buffer first and
 * then copied piece by piece, so that no byte reaches the line unchecked and a
 * cut never falls inside an escape sequence.
 *
 * The only state are three atomic variables; nothing here needs a lock because
 * the kernel orders the writes. How bytes get out is output.h's, and which
 * lines are too many flood.h's.
 */
#include "log.h"

#include "flood.h"
#include "output.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* Room kept for the tail: a closing quote, truncated=yes, lines_lost=N, the
 * newline. */
#define TAIL_BYTES_MAX 64
/* The longest escape sequence: \xNN. */
#define ESCAPE_BYTES_MAX 4

struct line {
    char bytes[LOG_LINE_BYTES_MAX];
    size_t len;
};

static _Atomic int lowest_level = LOG_LEVEL_INFO;
static _Atomic bool journal;
static _Atomic uint64_t lines_lost;

static const char *const level_names[] = {"debug", "info", "warning", "error"};
static const char *const journal_prefixes[] = {"<7>", "<6>", "<4>", "<3>"};

/* JOURNAL_STREAM is "device:inode" of the stream that systemd connected. It is
 * inherited by children, so it counts only if standard error still is that
 * stream. */
static bool
stderr_is_journal(void)
{
    const char *text = getenv("JOURNAL_STREAM");
    uintmax_t device;
    uintmax_t inode;
    struct stat st;

    if (text == NULL ||
        sscanf(text, "%" SCNuMAX ":%" SCNuMAX, &device, &inode) != 2 ||
        fstat(STDERR_FILENO, &st) != 0) {
        return false;
    }
    return st.st_dev == device && st.st_ino == inode;
}

void
log_open(enum log_level level)
{
    int saved_errno = errno;

    output_open();
    journal = stderr_is_journal();
    lowest_level = (int)level;
    errno = saved_errno;
}

bool
log_open_file(const char *path)
{
    if (!output_open_file(path)) {
        return false;
    }
    journal = false;
    return true;
}

bool
log_give_file(uid_t uid, gid_t gid)
{
    return output_give(uid, gid);
}

void
log_set_lines_per_second(unsigned lines)
{
    flood_set_limit(lines);
}

void
log_set_level(enum log_level level)
{
    lowest_level = (int)level;
}

enum log_level
log_get_level(void)
{
    return (enum log_level)atomic_load(&lowest_level);
}

bool
log_enabled(enum log_level level)
{
    return (int)level >= atomic_load(&lowest_level);
}

const char *
log_level_name(enum log_level level)
{
    size_t i = (size_t)level;

    return i < sizeof(level_names) / sizeof(level_names[0]) ? level_names[i]
                                                            : "unknown";
}

static bool
is_printable(unsigned char byte)
{
    return byte >= 0x20 && byte < 0x7f;
}

/* Write the escape sequence of one byte; returns its length. */
static size_t
put_escape(char dst[ESCAPE_BYTES_MAX], unsigned char byte)
{
    static const char digits[] = "0123456789abcdef";
    static const char named[] = {
        '"', '"', '\\', '\\', '\n', 'n', '\r', 'r', '\t', 't'};

    dst[0] = '\\';
    for (size_t i = 0; i < sizeof(named); i += 2) {
        if (byte == (unsigned char)named[i]) {
            dst[1] = named[i + 1];
            return 2;
        }
    }
    dst[1] = 'x';
    dst[2] = digits[byte >> 4];
    dst[3] = digits[byte & 15];
    return 4;
}

static void
put_text(struct line *line, const char *text)
{
    size_t len = strlen(text);
    size_t room = sizeof(line->bytes) - line->len;

    if (len > room) {
        len = room;
    }
    memcpy(line->bytes + line->len, text, len);
    line->len += len;
}

static void
put_prefix(struct line *line, enum log_level level, const char *tag)
{
    char when[40];
    struct timespec now;
    struct tm utc;

    if (journal) {
        put_text(line, journal_prefixes[level]);
    } else if (clock_gettime(CLOCK_REALTIME, &now) == 0 &&
               gmtime_r(&now.tv_sec, &utc) != NULL) {
        size_t n = strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%S", &utc);
        snprintf(when + n, sizeof(when) - n, ".%03dZ ",
            (int)(now.tv_nsec / 1000000));
        put_text(line, when);
    }
    put_text(line, level_names[level]);
    put_text(line, " ");
    put_text(line, tag);
}

/* Copy the pairs, escaping what could break the line or the terminal. What
 * does not fit in front of the tail is left out, in whole pieces, where a
 * piece is one character or one escape sequence: a quote cut open is closed,
 * and never by a quote that an escape swallows. Returns false if it was cut. */
static bool
put_pairs(struct line *line, const char *text)
{
    size_t end = sizeof(line->bytes) - TAIL_BYTES_MAX;
    bool quoted = false;

    for (size_t i = 0; text[i] != '\0';) {
        unsigned char byte = (unsigned char)text[i];
        char piece[ESCAPE_BYTES_MAX] = {text[i], text[i + 1]};
        size_t taken = byte == '\\' && text[i + 1] != '\0' ? 2 : 1;
        size_t len = taken;

        if (taken == 2 && !is_printable((unsigned char)text[i + 1])) {
            taken = len = 1;
        }
        if (!is_printable(byte)) {
            len = put_escape(piece, byte);
        }
        if (len > end - line->len) {
            put_text(line, quoted ? "\"" : "");
            return false;
        }
        memcpy(line->bytes + line->len, piece, len);
        line->len += len;
        quoted ^= byte == '"';
        i += taken;
    }
    return true;
}

/* Add the end of the line and write it. */
static void
finish_line(struct line *line, bool whole)
{
    char tail[TAIL_BYTES_MAX];

    if (!whole) {
        put_text(line, " truncated=yes");
    }
    uint64_t lost = atomic_exchange(&lines_lost, 0);
    if (lost > 0) {
        snprintf(tail, sizeof(tail), " lines_lost=%" PRIu64, lost);
        put_text(line, tail);
    }
    put_text(line, "\n");
    if (!output_write(line->bytes, line->len)) {
        atomic_fetch_add(&lines_lost, lost + 1);
    }
}

/* By the clock that nobody sets. */
static uint64_t
this_second(void)
{
    struct timespec now = {0};

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec;
}

/* One line for each event of which lines were left out. */
static void
report_suppressed(uint64_t second)
{
    struct flood_report report;

    while (flood_next_report(second, &report)) {
        char pairs[40];
        struct line line = {.len = 0};
        snprintf(
            pairs, sizeof(pairs), " suppressed=%" PRIu64, report.suppressed);
        put_prefix(&line, (enum log_level)report.level, report.tag);
        put_text(&line, pairs);
        put_text(&line, "\n");
        if (!output_write(line.bytes, line.len)) {
            flood_put_back(&report);
            return; /* the next line tries again */
        }
    }
}

void
log_flush(void)
{
    int saved_errno = errno;

    if (flood_is_pending()) {
        report_suppressed(this_second());
    }
    errno = saved_errno;
}

void
log_finish(void)
{
    int saved_errno = errno;

    report_suppressed(UINT64_MAX);
    errno = saved_errno;
}

void
log_event(enum log_level level, const char *tag, const char *format, ...)
{
    int saved_errno = errno;
    char pairs[LOG_LINE_BYTES_MAX];
    struct line line = {.len = 0};
    va_list args;

    if (!log_enabled(level)) {
        return;
    }
    uint64_t second = this_second();
    report_suppressed(second);
    /* Who asks for debug wants to see everything. */
    if (!log_enabled(LOG_LEVEL_DEBUG) &&
        !flood_admits(tag, (int)level, second)) {
        errno = saved_errno;
        return;
    }
    errno = saved_errno; /* for %m */
    va_start(args, format);
    int n = vsnprintf(pairs, sizeof(pairs), format, args);
    va_end(args);
    if (n < 0) {
        snprintf(pairs, sizeof(pairs), "format_error=yes");
    }

    put_prefix(&line, level, tag);
    put_text(&line, " ");
    bool whole = put_pairs(&line, pairs) && n < (int)sizeof(pairs);
    finish_line(&line, whole);
    errno = saved_errno;
}

/* Can the value stand without quotes and not be taken for something else? */
static bool
is_plain(const unsigned char *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (!is_printable(bytes[i]) || strchr(" \"\\=", bytes[i]) != NULL) {
            return false;
        }
    }
    return len > 0;
}

const char *
log_quote(char *dst, size_t cap, const void *bytes, size_t len)
{
    static const char cut[] = "\"...";
    const unsigned char *src = bytes;
    size_t n = 0;

    if (len < cap && is_plain(src, len)) {
        memcpy(dst, src, len);
        dst[len] = '\0';
        return dst;
    }
    dst[n++] = '"';
    for (size_t i = 0; i < len; i++) {
        char piece[ESCAPE_BYTES_MAX] = {(char)src[i]};
        size_t piece_len = 1;

        if (!is_printable(src[i]) || src[i] == '"' || src[i] == '\\') {
            piece_len = put_escape(piece, src[i]);
        }
        if (n + piece_len + sizeof(cut) > cap) {
            memcpy(dst + n, cut, sizeof(cut));
            return dst;
        }
        memcpy(dst + n, piece, piece_len);
        n += piece_len;
    }
    dst[n] = '"';
    dst[n + 1] = '\0';
    return dst;
}
