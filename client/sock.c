/* SPDX-License-Identifier: MIT
 *
 * See sock.h.
 */
#include "sock.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <string.h>
#include <unistd.h>

void
sock_address_unix(struct sock_address *address, const char *path)
{
    memset(address, 0, sizeof *address);
    address->as.local.sun_family = AF_UNIX;
    memcpy(address->as.local.sun_path, path, strlen(path) + 1);
    address->len = sizeof address->as.local;
}

static bool
is_loopback(const uint8_t v4[4])
{
    return v4[0] == 127;
}

bool
sock_address_is_local(const struct sock_address *address)
{
    uint8_t bytes[4];
    const struct in6_addr *v6 = &address->as.v6.sin6_addr;
    switch (address->as.any.sa_family) {
    case AF_UNIX:
        return true;
    case AF_INET:
        memcpy(bytes, &address->as.v4.sin_addr, sizeof bytes);
        return is_loopback(bytes);
    case AF_INET6:
        memcpy(bytes, v6->s6_addr + 12, sizeof bytes);
        return IN6_IS_ADDR_LOOPBACK(v6) ||
               (IN6_IS_ADDR_V4MAPPED(v6) && is_loopback(bytes));
    default:
        return false;
    }
}

int
sock_connect(const struct sock_address *address, int *fd)
{
    int made = socket(address->as.any.sa_family,
        SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (made < 0) {
        return errno;
    }
    if (address->as.any.sa_family != AF_UNIX) {
        /* Output is gathered by this library; waiting for more is no use. */
        int on = 1;
        (void)setsockopt(made, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    }
    if (connect(made, &address->as.any, address->len) != 0 &&
        errno != EINPROGRESS && errno != EINTR) {
        int reason = errno;
        (void)close(made);
        return reason;
    }
    *fd = made;
    return 0;
}

int
sock_connect_result(int fd)
{
    int reason = 0;
    socklen_t len = sizeof reason;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &reason, &len) != 0) {
        return errno;
    }
    return reason;
}

ssize_t
sock_read(int fd, void *data, size_t len)
{
    ssize_t n;
    do {
        n = recv(fd, data, len, MSG_DONTWAIT);
    } while (n < 0 && errno == EINTR);
    return n;
}

ssize_t
sock_write(int fd, const struct iovec *vectors, size_t count)
{
    struct msghdr message = {0};
    message.msg_iov = (struct iovec *)vectors; /* sendmsg does not write it */
    message.msg_iovlen = count;
    ssize_t n;
    do {
        n = sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    } while (n < 0 && errno == EINTR);
    return n;
}

void
sock_shutdown_write(int fd)
{
    (void)shutdown(fd, SHUT_WR);
}

void
sock_close(int fd)
{
    (void)close(fd); /* on Linux it is closed even if this says EINTR */
}
