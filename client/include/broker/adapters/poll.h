/* SPDX-License-Identifier: MIT
 *
 * Client handles in a loop of your own around poll(). Header-only.
 *
 *     for (;;) {
 *         struct pollfd fds[2] = {{.fd = my_fd, .events = POLLIN}};
 *         int timeout_ms = broker_client_poll_prepare(client, &fds[1], -1);
 *         if (poll(fds, 2, timeout_ms) < 0 && errno != EINTR) { ... }
 *         if (broker_client_poll_process(client) != BROKER_OK) { break; }
 *         ... my_fd ...
 *     }
 */
#ifndef BROKER_ADAPTERS_POLL_H
#define BROKER_ADAPTERS_POLL_H

#include <poll.h>

#include <broker/client.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Fill *fd for poll(). Returns the timeout for poll(): the smaller of
 * `timeout_ms` and what the handle needs; -1 is "for ever" in both. For several
 * handles, pass the result on as the next one's timeout_ms. */
static inline int
broker_client_poll_prepare(
    struct broker_client *client, struct pollfd *fd, int timeout_ms)
{
    int own_ms = broker_client_timeout_ms(client);
    fd->fd = broker_client_fd(client);
    fd->events = POLLIN;
    fd->revents = 0;
    if (own_ms < 0 || (timeout_ms >= 0 && timeout_ms < own_ms)) {
        return timeout_ms;
    }
    return own_ms;
}

/* After poll(), whatever it returned: do what is to be done, which is nothing
 * if neither the descriptor nor the clock asks for it. Returns as
 * broker_client_process() does; all but BROKER_OK mean that the handle is
 * closed. */
static inline enum broker_status
broker_client_poll_process(struct broker_client *client)
{
    return broker_client_process(client);
}

#ifdef __cplusplus
}
#endif

#endif
