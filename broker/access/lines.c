/* SPDX-License-Identifier: MIT
 *
 * Reading the two files; see lines.h.
 */
#include "lines.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "secret.h"

/* No such file is this large; a mistaken path may be. */
#define FILE_BYTES_MAX (8 * 1024 * 1024)

static bool
is_blank(char byte)
{
    return byte == ' ' || byte == '\t' || byte == '\r';
}

struct text
text_trim(struct text text)
{
    while (text.len > 0 && is_blank(text.data[0])) {
        text.data++;
        text.len--;
    }
    while (text.len > 0 && is_blank(text.data[text.len - 1])) {
        text.len--;
    }
    return text;
}

struct text
text_cut_word(struct text *rest)
{
    struct text word;

    *rest = text_trim(*rest);
    word = *rest;
    word.len = 0;
    while (word.len < rest->len && !is_blank(word.data[word.len])) {
        word.len++;
    }
    rest->data += word.len;
    rest->len -= word.len;
    *rest = text_trim(*rest);
    return word;
}

bool
text_is(struct text text, const char *word)
{
    return text.len == strlen(word) && memcmp(text.data, word, text.len) == 0;
}

static bool
has_control_bytes(struct text text)
{
    for (size_t i = 0; i < text.len; i++) {
        unsigned char byte = (unsigned char)text.data[i];

        if ((byte < 0x20 && byte != '\t') || byte == 0x7f) {
            return true;
        }
    }
    return false;
}

void
lines_read_text(
    struct access_report *report, struct text text, lines_fn fn, void *argument)
{
    report->line = 0;
    while (text.len > 0) {
        const char *newline = memchr(text.data, '\n', text.len);
        size_t len = newline != NULL ? (size_t)(newline - text.data) : text.len;
        struct text line = text_trim((struct text){text.data, len});

        report->line++;
        if (has_control_bytes(line)) {
            access_report(report, "control characters; this is no text");
        } else if (line.len > 0 && line.data[0] != '#') {
            fn(line, report, argument);
        }
        len += newline != NULL;
        text.data += len;
        text.len -= len;
    }
    report->line = 0;
}

/* Who may change the file decides who may use the broker. */
static bool
is_private(struct access_report *report, const struct stat *st,
    enum lines_privacy privacy)
{
    const char *user = privacy == LINES_SECRET ? "read or change" : "change";
    mode_t forbidden = S_IWOTH | (privacy == LINES_SECRET ? S_IROTH : 0);

    if (!S_ISREG(st->st_mode)) {
        access_report(report, "not a regular file");
        return false;
    }
    if ((st->st_mode & forbidden) != 0) {
        access_report(report,
            "everybody on this machine may %s it; run: chmod %s %s", user,
            privacy == LINES_SECRET ? "o-rwx" : "o-w", report->file);
        return false;
    }
    if (st->st_size > FILE_BYTES_MAX) {
        access_report(report, "larger than 8MiB; is this the right file?");
        return false;
    }
    return true;
}

/* Fill text[0..cap); false with errno. */
static bool
read_all(int fd, char *text, size_t cap, size_t *len)
{
    *len = 0;
    while (*len < cap) {
        ssize_t n = read(fd, text + *len, cap - *len);

        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return n == 0;
        }
        *len += (size_t)n;
    }
    return true;
}

static void
read_open_file(struct access_report *report, int fd, enum lines_privacy privacy,
    lines_fn fn, void *argument)
{
    struct stat st;
    size_t cap, len;
    char *text;

    if (fstat(fd, &st) != 0) {
        access_report(report, "cannot read it: %s", strerror(errno));
        return;
    }
    if (!is_private(report, &st, privacy)) {
        return;
    }
    cap = (size_t)st.st_size + 1; /* one more, to see that it does not grow */
    text = malloc(cap);
    if (text == NULL) {
        access_report(report, "out of memory");
        return;
    }
    if (!read_all(fd, text, cap, &len)) {
        access_report(report, "cannot read it: %s", strerror(errno));
    } else if (len == cap) {
        access_report(report, "it is being written to; try again");
    } else {
        lines_read_text(report, (struct text){text, len}, fn, argument);
    }
    secret_wipe(text, cap);
    free(text);
}

void
lines_read_file(struct access_report *report, enum lines_privacy privacy,
    lines_fn fn, void *argument)
{
    /* A pipe would block; it is refused below. */
    int fd = open(report->file, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

    if (fd < 0) {
        access_report(report, "cannot read it: %s", strerror(errno));
        return;
    }
    read_open_file(report, fd, privacy, fn, argument);
    close(fd);
}
