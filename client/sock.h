/* SPDX-License-Identifier: MIT
 *
 * Non-blocking stream sockets, as few system calls as the client needs. Knows
 * no frames. Nothing here blocks, raises SIGPIPE, or returns EINTR.
 */
#ifndef BROKER_CLIENT_SOCK_H
#define BROKER_CLIENT_SOCK_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/un.h>

struct sock_address {
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
        struct sockaddr_un local;
    } as;
    socklen_t len;
};

/* Is it on this machine: a UNIX socket or a loopback address? */
bool sock_address_is_local(const struct sock_address *address);

/* The address of a UNIX socket; `path` fits (broker_address_parse()). */
void sock_address_unix(struct sock_address *address, const char *path);

/* Begin to connect. 0 and *fd, which becomes writable when it is done; or an
 * errno. */
int sock_connect(const struct sock_address *address, int *fd);
/* How it went: 0 or an errno. */
int sock_connect_result(int fd);

/* Bytes read; 0: the peer is gone; -1: errno says why, EAGAIN: nothing now. */
ssize_t sock_read(int fd, void *data, size_t len);
/* Bytes written, as many as went; -1 as above. */
ssize_t sock_write(int fd, const struct iovec *vectors, size_t count);

void sock_shutdown_write(int fd);
void sock_close(int fd);

#endif
