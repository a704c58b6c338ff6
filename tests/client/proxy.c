/* SPDX-License-Identifier: MIT
 *
 * See proxy.h.
 */
#include "proxy.h"

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "server.h"

#define CHUNK 997 /* odd, so that frames are cut anywhere */

static struct sockaddr_un
address_of(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t len = strnlen(path, sizeof address.sun_path - 1);
    memcpy(address.sun_path, path, len);
    return address;
}

/* Forward once. False: the end, or the budget is used up. */
static bool
forward(int from, int to, size_t *budget)
{
    uint8_t bytes[CHUNK];
    size_t most = *budget < sizeof bytes ? *budget : sizeof bytes;
    ssize_t n = read(from, bytes, most);
    if (n <= 0 || send(to, bytes, (size_t)n, MSG_NOSIGNAL) != n) {
        return false;
    }
    *budget -= (size_t)n;
    return *budget > 0;
}

/* Returns false when it is time to stop. */
static bool
serve(struct proxy *proxy, int client, unsigned nth)
{
    struct sockaddr_un address = address_of(proxy->to);
    int broker = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(broker >= 0);
    CHECK(connect(broker, (struct sockaddr *)&address, sizeof address) == 0);
    /* At least what the handshake needs, so that there is progress. */
    size_t up = 2000 + (nth * 7919) % 9000;
    size_t down = 100 + (nth * 104729) % 500;
    bool going = true, stopped = false;
    while (going) {
        struct pollfd fds[] = {{.fd = client, .events = POLLIN},
            {.fd = broker, .events = POLLIN},
            {.fd = proxy->stop_pipe[0], .events = POLLIN}};
        CHECK(poll(fds, 3, SERVER_DEADLINE_MS) > 0);
        stopped = fds[2].revents != 0;
        going = !stopped;
        if (going && fds[0].revents != 0) {
            going = forward(client, broker, &up);
        }
        if (going && fds[1].revents != 0) {
            going = forward(broker, client, &down);
        }
    }
    (void)close(broker);
    return !stopped;
}

static void *
proxy_thread(void *argument)
{
    struct proxy *proxy = argument;
    bool going = true;
    for (unsigned nth = 0; going; nth++) {
        struct pollfd fds[] = {{.fd = proxy->listen_fd, .events = POLLIN},
            {.fd = proxy->stop_pipe[0], .events = POLLIN}};
        CHECK(poll(fds, 2, -1) > 0);
        if (fds[1].revents != 0) {
            break;
        }
        int client = accept(proxy->listen_fd, NULL, NULL);
        CHECK(client >= 0);
        going = serve(proxy, client, nth);
        (void)close(client);
    }
    return NULL;
}

void
proxy_start(struct proxy *proxy, const char *folder)
{
    (void)snprintf(proxy->from, sizeof proxy->from, "%s/proxy", folder);
    (void)snprintf(proxy->to, sizeof proxy->to, "%s/s.sock", folder);
    struct sockaddr_un address = address_of(proxy->from);
    proxy->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(bind(proxy->listen_fd, (struct sockaddr *)&address, sizeof address) ==
          0);
    CHECK(listen(proxy->listen_fd, 8) == 0);
    CHECK(pipe(proxy->stop_pipe) == 0);
    CHECK(pthread_create(&proxy->thread, NULL, proxy_thread, proxy) == 0);
}

void
proxy_stop(struct proxy *proxy)
{
    CHECK(write(proxy->stop_pipe[1], "", 1) == 1);
    CHECK(pthread_join(proxy->thread, NULL) == 0);
    (void)close(proxy->listen_fd);
    (void)close(proxy->stop_pipe[0]);
    (void)close(proxy->stop_pipe[1]);
    (void)unlink(proxy->from);
}
