/* SPDX-License-Identifier: MIT
 *
 * Signals as a descriptor; see signals.h. The handler writes one byte into a
 * pipe that nobody waits for: when the pipe is full, a byte is in it already.
 */
#include "signals.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <unistd.h>

#include <broker/client.h>

static int signal_pipe[2] = {-1, -1};
static volatile sig_atomic_t stop_wanted;
static struct broker_client *volatile interrupted_client;

static void
signal_cb(int number)
{
    const int saved_errno = errno;
    ssize_t n;

    if (number != SIGCHLD) {
        stop_wanted = 1;
        if (interrupted_client != NULL) {
            broker_client_stop(interrupted_client);
        }
    }
    n = write(signal_pipe[1], "", 1);
    (void)n;
    errno = saved_errno;
}

static bool
catch_signal(int number, int flags)
{
    struct sigaction action = {.sa_handler = signal_cb, .sa_flags = flags};

    (void)sigemptyset(&action.sa_mask);
    return sigaction(number, &action, NULL) == 0;
}

bool
signals_open(void)
{
    stop_wanted = 0;
    return pipe2(signal_pipe, O_CLOEXEC | O_NONBLOCK) == 0 &&
           catch_signal(SIGINT, (int)SA_RESETHAND) &&
           catch_signal(SIGTERM, (int)SA_RESETHAND) &&
           catch_signal(SIGCHLD, SA_NOCLDSTOP | SA_RESTART);
}

void
signals_close(void)
{
    interrupted_client = NULL;
    (void)signal(SIGINT, SIG_DFL);
    (void)signal(SIGTERM, SIG_DFL);
    (void)signal(SIGCHLD, SIG_DFL);
    (void)close(signal_pipe[0]);
    (void)close(signal_pipe[1]);
    signal_pipe[0] = signal_pipe[1] = -1;
}

int
signals_fd(void)
{
    return signal_pipe[0];
}

void
signals_clear(void)
{
    char bytes[64];

    while (read(signal_pipe[0], bytes, sizeof bytes) > 0) {
    }
}

bool
signals_stop_wanted(void)
{
    return stop_wanted != 0;
}

void
signals_interrupt(struct broker_client *client)
{
    interrupted_client = client;
}
