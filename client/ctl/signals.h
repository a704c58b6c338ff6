/* SPDX-License-Identifier: MIT
 *
 * Signals as a descriptor for poll(): SIGINT and SIGTERM ask a command to end
 * in an orderly way, SIGCHLD says that a child has ended. The second signal of
 * a kind kills brokerctl as usual, should the orderly end take too long.
 *
 * One per process: signal handlers are a property of the process.
 */
#ifndef BROKERCTL_SIGNALS_H
#define BROKERCTL_SIGNALS_H

#include <stdbool.h>

struct broker_client;

/* Install the handlers. False: errno says why. */
bool signals_open(void);

/* Restore what was before. */
void signals_close(void);

/* Readable after a signal, until signals_clear(). */
int signals_fd(void);
void signals_clear(void);

/* Did SIGINT or SIGTERM come? Stays true. */
bool signals_stop_wanted(void);

/* Blocking calls on this client end when SIGINT or SIGTERM comes; NULL: on
 * none. */
void signals_interrupt(struct broker_client *client);

#endif
