/* SPDX-License-Identifier: MIT
 *
 * A command that is run with bytes on its standard input and whose standard
 * output is collected. Never blocks: the caller polls. Knows nothing of the
 * broker.
 *
 * The command gets a process group of its own, so that it can be ended together
 * with whatever it has started.
 */
#ifndef BROKERCTL_CHILD_H
#define BROKERCTL_CHILD_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define CHILD_POLL_COUNT 2

/* Private to child.c, but for reading `output` and `output_len` when it is
 * done. */
struct child {
    pid_t pid;         /* 0: none */
    int in_fd, out_fd; /* our ends; -1: closed */
    uint8_t *input;
    size_t input_len, input_done;
    uint8_t *output;
    size_t output_len, output_cap, output_max;
    int status; /* of waitpid() */
    bool exited;
    bool too_long;  /* more output than output_max */
    bool timed_out; /* ended by child_kill() */
};

/* Start argv[0], looked up in PATH, with the environment of this process. 0,
 * then child_fini() is due; or an errno. `input` is copied. */
int child_start(struct child *child, char *const *argv, const void *input,
    size_t input_len, size_t output_max);

/* Fill in what to poll for; entries that are not needed have the fd -1. */
void child_poll(const struct child *child, struct pollfd fds[CHILD_POLL_COUNT]);

/* Go on after poll(), and after each SIGCHLD. */
void child_step(struct child *child, const struct pollfd fds[CHILD_POLL_COUNT]);

/* Has it ended, and closed its output? */
bool child_is_done(const struct child *child);

/* End it now; it will be done soon. */
void child_kill(struct child *child);

/* When it is done: true if it ended with status 0 and fitting output; else
 * false, and `why` says what happened. */
bool child_succeeded(const struct child *child, char *why, size_t why_cap);

/* Free everything; a command that still runs is killed and waited for. */
void child_fini(struct child *child);

#endif
