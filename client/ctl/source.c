/* SPDX-License-Identifier: MIT
 *
 * Where payloads come from; see source.h.
 */
#include "source.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "say.h"

enum ctl_exit
source_check(const struct source_settings *settings, const char *command)
{
    const int ways = (settings->text != NULL) + (settings->file != NULL) +
                     settings->whole + settings->lines;

    if (ways == 1) {
        return CTL_EXIT_OK;
    }
    if (ways == 0) {
        say("%s: no message: give it as an argument (\"\" for an empty one), "
            "or with --file, --stdin or --lines",
            command);
    } else {
        say("%s: more than one message: give either an argument, --file, "
            "--stdin or --lines",
            command);
    }
    return CTL_EXIT_USAGE;
}

static enum ctl_exit
say_too_large(const struct source *source)
{
    if (source->lines) {
        say("%s: line %" PRIu64 " of %s is larger than the broker's limit of "
            "%zu bytes for one message (max_body_bytes): split it, or raise "
            "the limit",
            source->command, source->input.lines + 1, source->name,
            source->input.max_bytes);
    } else {
        say("%s: %s is larger than the broker's limit of %zu bytes for one "
            "message (max_body_bytes): split it, or raise the limit",
            source->command, source->name, source->input.max_bytes);
    }
    return CTL_EXIT_DATA;
}

static enum ctl_exit
say_unreadable(const struct source *source, int error)
{
    say("%s: cannot read %s: %s", source->command, source->name,
        strerror(error));
    return CTL_EXIT_NO_INPUT;
}

static enum ctl_exit
read_whole(struct source *source)
{
    switch (input_whole(&source->input, &source->data, &source->len)) {
    case INPUT_OK:
        return CTL_EXIT_OK;
    case INPUT_LONG:
        return say_too_large(source);
    default:
        return say_unreadable(source, source->input.failed_errno);
    }
}

enum ctl_exit
source_open(struct source *source, const struct source_settings *settings,
    const char *command, size_t max_bytes)
{
    const bool file =
        settings->file != NULL && strcmp(settings->file, "-") != 0;
    enum ctl_exit code = CTL_EXIT_OK;
    int fd = STDIN_FILENO;

    *source = (struct source){
        .command = command,
        .name = file                     ? settings->file
                : settings->text != NULL ? "the argument"
                                         : "standard input",
        .lines = settings->lines,
        .opened = file,
    };
    if (settings->text != NULL) {
        source->data = (const uint8_t *)settings->text;
        source->len = strlen(settings->text);
        return CTL_EXIT_OK;
    }
    if (file) {
        fd = open(settings->file, O_RDONLY | O_CLOEXEC);
        if (fd < 0) {
            return say_unreadable(source, errno);
        }
    }
    input_init(&source->input, fd, max_bytes);
    if (!source->lines) {
        code = read_whole(source);
    }
    if (code != CTL_EXIT_OK) {
        source_close(source);
    }
    return code;
}

enum ctl_exit
source_limit(struct source *source, size_t max_bytes)
{
    source->input.max_bytes = max_bytes;
    return source->len > max_bytes ? say_too_large(source) : CTL_EXIT_OK;
}

void
source_close(struct source *source)
{
    if (source->opened) {
        (void)close(source->input.fd);
    }
    input_fini(&source->input);
    source->opened = false;
}

enum source_result
source_next(struct source *source, const uint8_t **data, size_t *len,
    enum ctl_exit *code)
{
    if (!source->lines) {
        *data = source->data;
        *len = source->len;
        return SOURCE_OK;
    }
    switch (input_line(&source->input, data, len)) {
    case INPUT_OK:
        return SOURCE_OK;
    case INPUT_END:
        return SOURCE_END;
    case INPUT_LONG:
        *code = say_too_large(source);
        return SOURCE_FAILED;
    default:
        return SOURCE_WAIT;
    }
}

int
source_fd(const struct source *source)
{
    return source->input.fd;
}

enum source_result
source_read(struct source *source, enum ctl_exit *code)
{
    if (input_read(&source->input) == INPUT_FAILED) {
        *code = say_unreadable(source, source->input.failed_errno);
        return SOURCE_FAILED;
    }
    return SOURCE_OK;
}
