/* SPDX-License-Identifier: MIT
 *
 * Listening sockets: binding, accepting, and pausing when file descriptors run
 * out. Knows nothing of what is done with a connection.
 */
#ifndef BROKER_NET_LISTENER_H
#define BROKER_NET_LISTENER_H

#include <broker/address.h>

#include <stdbool.h>
#include <stddef.h>
#include <sys/queue.h>

struct server;
struct listener;
LIST_HEAD(listener_list, listener);

/* Bind and listen to every socket address that `address` stands for, and put
 * the listeners on the server's list. False after logging why not. */
bool listener_open(struct server *server, const struct broker_address *address);

/* Accept from now on; what came before waits in the kernel. False: the system
 * has no memory for it, and the log says so. */
bool listener_start_all(struct server *server);

/* Stop accepting and remove UNIX sockets from the file system. */
void listener_close_all(struct server *server);

/* The bound addresses of all, divided by spaces; for the caller to free. NULL
 * if memory is out. */
char *listener_addresses(const struct server *server);

#endif
