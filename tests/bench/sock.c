/* SPDX-License-Identifier: MIT
 *
 * Sockets before the measurement. See sock.h. */
#include "sock.h"

#include "measure.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

int
sock_connect(uint16_t port)
{
    int on = 1;
    struct timeval timeout = {.tv_sec = SETUP_TIMEOUT_MS / 1000};
    struct sockaddr_in address = {.sin_family = AF_INET,
        .sin_port = htons(port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        give_up("socket: %s", strerror(errno));
    }
    if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) != 0 ||
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)) !=
            0 ||
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout)) !=
            0 ||
        connect(fd, (const struct sockaddr *)&address, sizeof(address)) != 0) {
        give_up("connecting to port %u: %s", port, strerror(errno));
    }
    return fd;
}

void
sock_write(int fd, const void *data, size_t len)
{
    const uint8_t *at = data;
    while (len > 0) {
        ssize_t n = send(fd, at, len, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            give_up("writing: %s", strerror(errno));
        }
        at += n;
        len -= (size_t)n;
    }
}

/* One read: at least one byte. */
static size_t
read_some(int fd, void *data, size_t cap)
{
    ssize_t n;
    do {
        n = recv(fd, data, cap, 0);
    } while (n < 0 && errno == EINTR);
    if (n < 0) {
        give_up("reading: %s", strerror(errno));
    }
    if (n == 0) {
        give_up("the broker closed the connection while it was set up");
    }
    return (size_t)n;
}

void
sock_read(int fd, void *data, size_t len)
{
    uint8_t *at = data;
    while (len > 0) {
        size_t n = read_some(fd, at, len);
        at += n;
        len -= n;
    }
}

void
sock_read_until(int fd, const char *tail)
{
    char text[65536];
    size_t len = 0;
    size_t tail_len = strlen(tail);
    for (;;) {
        len += read_some(fd, text + len, sizeof(text) - len);
        if (memmem(text, len, "-ERR", 4) != NULL) {
            give_up("refused: %.*s", (int)len, text);
        }
        if (len >= tail_len &&
            memcmp(text + len - tail_len, tail, tail_len) == 0) {
            return;
        }
        if (len > tail_len) {
            memmove(text, text + len - tail_len, tail_len);
            len = tail_len;
        }
    }
}

void
sock_nonblocking(int fd)
{
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0) {
        give_up("fcntl: %s", strerror(errno));
    }
}
