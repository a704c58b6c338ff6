/* SPDX-License-Identifier: MIT
 *
 * Asking for a secret; see ask.h. A signal must not leave a terminal without
 * echo, so signals are only taken note of while there is none.
 */
#include "ask.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "signals.h"

bool
ask_is_terminal(int fd)
{
    return isatty(fd) == 1;
}

/* Wait for input; a terminal has some when a whole line was typed. */
static enum ask_result
wait_input(int fd)
{
    struct pollfd fds[] = {
        {.fd = fd, .events = POLLIN},
        {.fd = signals_fd(), .events = POLLIN},
    };

    for (;;) {
        if (poll(fds, 2, -1) < 0 && errno != EINTR) {
            return ASK_FAILED;
        }
        if (signals_stop_wanted()) {
            return ASK_STOPPED;
        }
        if (fds[1].revents != 0) {
            signals_clear();
        }
        if (fds[0].revents != 0) {
            return ASK_OK;
        }
    }
}

/* Byte by byte: what stands behind the line is not ours. */
static enum ask_result
read_line(int fd, uint8_t *line, size_t cap, size_t *len)
{
    size_t used = 0;

    for (;;) {
        enum ask_result result = wait_input(fd);
        uint8_t byte;
        ssize_t n;

        if (result != ASK_OK) {
            return result;
        }
        n = read(fd, &byte, 1);
        if (n < 0 && (errno == EINTR || errno == EAGAIN)) {
            continue;
        }
        if (n < 0) {
            return ASK_FAILED;
        }
        if (n == 0 && used == 0) {
            return ASK_END;
        }
        if (n == 0 || byte == '\n') {
            *len = used;
            return ASK_OK;
        }
        if (used == cap) {
            return ASK_LONG;
        }
        line[used++] = byte;
    }
}

static void
print(const char *text)
{
    if (write(STDERR_FILENO, text, strlen(text)) < 0) {
        return; /* nobody is left to tell */
    }
}

static enum ask_result
ask_terminal(int fd, const char *prompt, uint8_t *line, size_t cap, size_t *len)
{
    struct termios before, silent;
    enum ask_result result;
    int saved;

    if (tcgetattr(fd, &before) != 0) {
        return ASK_FAILED;
    }
    silent = before;
    silent.c_lflag &= ~(tcflag_t)(ECHO | ECHONL);
    /* What was typed before the question is not the answer. */
    if (tcsetattr(fd, TCSAFLUSH, &silent) != 0) {
        return ASK_FAILED;
    }
    print(prompt);
    result = read_line(fd, line, cap, len);
    saved = errno;
    /* TCSAFLUSH drops the rest of a line that was too long. */
    (void)tcsetattr(fd, result == ASK_LONG ? TCSAFLUSH : TCSADRAIN, &before);
    print("\n");
    errno = saved;
    return result;
}

enum ask_result
ask_line(int fd, const char *prompt, uint8_t *line, size_t cap, size_t *len)
{
    enum ask_result result;
    int saved;

    if (!signals_open()) {
        return ASK_FAILED;
    }
    result = ask_is_terminal(fd) ? ask_terminal(fd, prompt, line, cap, len)
                                 : read_line(fd, line, cap, len);
    saved = errno;
    signals_close();
    errno = saved;
    return result;
}
