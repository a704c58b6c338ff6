/* SPDX-License-Identifier: MIT
 *
 * A line to a broker that breaks: forwards bytes between a client and the
 * broker's UNIX socket, and cuts each connection after a number of bytes that
 * differs from one to the next. The last ones that it cuts are answers that the
 * client never sees.
 */
#ifndef BROKER_TEST_PROXY_H
#define BROKER_TEST_PROXY_H

#include <pthread.h>
#include <stdatomic.h>

struct proxy {
    char from[128], to[128]; /* paths of the sockets */
    int listen_fd;
    int stop_pipe[2];
    pthread_t thread;
};

/* Listen on <folder>/proxy for <folder>/s.sock. */
void proxy_start(struct proxy *proxy, const char *folder);
void proxy_stop(struct proxy *proxy);

#endif
