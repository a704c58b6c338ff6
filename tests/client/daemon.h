/* SPDX-License-Identifier: MIT
 *
 * A brokerd of its own for a test: started, killed, started again at the same
 * addresses, with its log shown when the test fails.
 */
#ifndef BROKER_TEST_DAEMON_H
#define BROKER_TEST_DAEMON_H

#include <sys/types.h>

struct daemon {
    char folder[64];
    char unix_address[128], tcp_address[64];
    char log_path[128];
    char store_path[128]; /* "": none */
    pid_t pid;
};

/* Start it on a UNIX socket in a folder of its own and on a free TCP port, and
 * wait until it is ready. `options` are more arguments, NULL-terminated; NULL:
 * none. */
void daemon_start(struct daemon *daemon, const char *const *options);
/* The same with a store in its folder. */
void daemon_start_stored(struct daemon *daemon, const char *const *options);
/* Start it again after daemon_kill(). Only the UNIX address stays. */
void daemon_restart(struct daemon *daemon, const char *const *options);
/* SIGKILL, and wait for its end. */
void daemon_kill(struct daemon *daemon);
/* SIGTERM; does not wait. */
void daemon_terminate(struct daemon *daemon);
/* End it and remove the folder. */
void daemon_stop(struct daemon *daemon);

#endif
