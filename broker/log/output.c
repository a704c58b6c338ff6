/* SPDX-License-Identifier: MIT
 *
 * Standard error or a file; see output.h. Up to output_open(), bytes are
 * written as they come. */
#include "output.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

enum output_kind {
    OUTPUT_PLAIN, /* never waits: a file, or one of our own that says EAGAIN */
    OUTPUT_SOCKET,
    OUTPUT_SHARED /* may wait: ask first */
};

static _Atomic int output_fd = STDERR_FILENO;
static _Atomic int output_kind = OUTPUT_PLAIN;
/* A line was cut, and its end is still to come. */
static _Atomic bool torn;

void
output_open(void)
{
    struct stat st;
    int before = output_fd;

    output_fd = STDERR_FILENO;
    output_kind = OUTPUT_PLAIN;
    if (before != STDERR_FILENO) {
        close(before);
    }
    if (fstat(STDERR_FILENO, &st) != 0) {
        return;
    }
    if (S_ISSOCK(st.st_mode)) {
        output_kind = OUTPUT_SOCKET;
    } else if (S_ISFIFO(st.st_mode) || S_ISCHR(st.st_mode)) {
        int fd = open(
            "/proc/self/fd/2", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
        if (fd >= 0) {
            output_fd = fd;
        } else {
            output_kind = OUTPUT_SHARED;
        }
    }
}

bool
output_open_file(const char *path)
{
    /* O_NONBLOCK, because it may be a named pipe. */
    int fd = open(path,
        O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOCTTY,
        0640);
    bool ok = fd >= 0;

    if (ok && output_fd == STDERR_FILENO) {
        output_kind = OUTPUT_PLAIN;
        output_fd = fd;
        torn = false;
    } else if (ok) {
        /* The number stays, so whoever has just read it writes to a log. */
        ok = dup3(fd, output_fd, O_CLOEXEC) >= 0;
        int why = errno;
        close(fd);
        errno = why;
        torn = torn && !ok;
    }
    return ok;
}

bool
output_give(uid_t uid, gid_t gid)
{
    struct stat st;

    if (output_fd == STDERR_FILENO || fstat(output_fd, &st) != 0 ||
        !S_ISREG(st.st_mode)) {
        return true;
    }
    return fchown(output_fd, uid, gid) == 0;
}

static ssize_t
write_some(const char *bytes, size_t len)
{
    int fd = output_fd;
    int kind = output_kind;
    struct pollfd room = {.fd = fd, .events = POLLOUT};

    if (kind == OUTPUT_SOCKET) {
        return send(fd, bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL);
    }
    if (kind == OUTPUT_SHARED && poll(&room, 1, 0) != 1) {
        errno = EAGAIN;
        return -1;
    }
    return write(fd, bytes, len);
}

/* One call does it unless the kernel takes less. */
static bool
write_all(const char *bytes, size_t len)
{
    size_t done = 0;

    while (done < len) {
        ssize_t n = write_some(bytes + done, len - done);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            if (done > 0) {
                torn = true;
            }
            return false;
        }
        done += (size_t)n;
    }
    return true;
}

bool
output_write(const char *line, size_t len)
{
    if (atomic_exchange(&torn, false) && !write_all("\n", 1)) {
        torn = true;
        return false;
    }
    return write_all(line, len);
}
