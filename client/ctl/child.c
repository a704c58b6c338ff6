/* SPDX-License-Identifier: MIT
 *
 * Running a command; see child.h.
 */
#include "child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define READ_BYTES 65536u

extern char **environ;

static void
close_fd(int *fd)
{
    if (*fd >= 0) {
        (void)close(*fd);
        *fd = -1;
    }
}

/* Two pipes: in[0] and out[1] are the command's, in[1] and out[0] ours. */
static int
open_pipes(int in[2], int out[2])
{
    if (pipe2(in, O_CLOEXEC) != 0) {
        return errno;
    }
    if (pipe2(out, O_CLOEXEC) != 0) {
        const int error = errno;

        close_fd(&in[0]);
        close_fd(&in[1]);
        return error;
    }
    /* Each end is a file description of its own: only ours do not block. */
    (void)fcntl(in[1], F_SETFL, O_NONBLOCK);
    (void)fcntl(out[0], F_SETFL, O_NONBLOCK);
    return 0;
}

/* posix_spawn, unlike fork and exec, tells when the command cannot be run. */
static int
spawn(pid_t *pid, char *const *argv, int in_fd, int out_fd)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t defaults;
    int error;

    (void)sigemptyset(&defaults);
    (void)sigaddset(&defaults, SIGPIPE); /* ignored here, but not there */
    (void)posix_spawn_file_actions_init(&actions);
    (void)posix_spawnattr_init(&attributes);
    error = posix_spawn_file_actions_adddup2(&actions, in_fd, STDIN_FILENO);
    if (error == 0) {
        error =
            posix_spawn_file_actions_adddup2(&actions, out_fd, STDOUT_FILENO);
    }
    if (error == 0) {
        (void)posix_spawnattr_setflags(&attributes,
            (short)(POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF));
        (void)posix_spawnattr_setpgroup(&attributes, 0);
        (void)posix_spawnattr_setsigdefault(&attributes, &defaults);
        error =
            posix_spawnp(pid, argv[0], &actions, &attributes, argv, environ);
    }
    (void)posix_spawn_file_actions_destroy(&actions);
    (void)posix_spawnattr_destroy(&attributes);
    return error;
}

int
child_start(struct child *child, char *const *argv, const void *input,
    size_t input_len, size_t output_max)
{
    int in[2] = {-1, -1};
    int out[2] = {-1, -1};
    int error;

    *child = (struct child){.in_fd = -1, .out_fd = -1};
    child->input = malloc(input_len + 1);
    if (child->input == NULL) {
        return ENOMEM;
    }
    if (input_len > 0) {
        memcpy(child->input, input, input_len);
    }
    child->input_len = input_len;
    child->output_max = output_max;
    error = open_pipes(in, out);
    if (error == 0) {
        error = spawn(&child->pid, argv, in[0], out[1]);
    }
    close_fd(&in[0]);
    close_fd(&out[1]);
    if (error != 0) {
        close_fd(&in[1]);
        close_fd(&out[0]);
        child->pid = 0;
        child_fini(child);
        return error;
    }
    child->in_fd = in[1];
    child->out_fd = out[0];
    return 0;
}

void
child_poll(const struct child *child, struct pollfd fds[CHILD_POLL_COUNT])
{
    fds[0] = (struct pollfd){.fd = child->in_fd, .events = POLLOUT};
    fds[1] = (struct pollfd){.fd = child->out_fd, .events = POLLIN};
}

/* A command that does not read its input is free not to. */
static void
write_input(struct child *child)
{
    while (child->input_done < child->input_len) {
        const ssize_t n = write(child->in_fd, child->input + child->input_done,
            child->input_len - child->input_done);

        if (n < 0) {
            if (errno == EAGAIN || errno == EINTR) {
                return;
            }
            break;
        }
        child->input_done += (size_t)n;
    }
    close_fd(&child->in_fd);
}

static bool
reserve_output(struct child *child)
{
    const size_t cap =
        child->output_cap != 0 ? child->output_cap * 2 : 2 * (size_t)READ_BYTES;
    uint8_t *output;

    if (child->output_cap - child->output_len >= READ_BYTES) {
        return true;
    }
    output = realloc(child->output, cap);
    if (output == NULL) {
        return false;
    }
    child->output = output;
    child->output_cap = cap;
    return true;
}

static void
read_output(struct child *child)
{
    for (;;) {
        ssize_t n;

        if (child->output_len > child->output_max || !reserve_output(child)) {
            child->too_long = true;
            close_fd(&child->out_fd);
            child_kill(child);
            return;
        }
        n = read(child->out_fd, child->output + child->output_len, READ_BYTES);
        if (n > 0) {
            child->output_len += (size_t)n;
        } else if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
            return;
        } else {
            close_fd(&child->out_fd);
            return;
        }
    }
}

static void
reap(struct child *child)
{
    if (!child->exited && child->pid > 0 &&
        waitpid(child->pid, &child->status, WNOHANG) == child->pid) {
        child->exited = true;
    }
}

void
child_step(struct child *child, const struct pollfd fds[CHILD_POLL_COUNT])
{
    if (child->in_fd >= 0 && fds[0].revents != 0) {
        write_input(child);
    }
    if (child->out_fd >= 0 && fds[1].revents != 0) {
        read_output(child);
    }
    reap(child);
}

bool
child_is_done(const struct child *child)
{
    return child->exited && child->out_fd < 0;
}

void
child_kill(struct child *child)
{
    /* The whole group; it lives on if the command itself has ended but what it
     * started holds our pipe. Its number is not reused while a member lives. */
    if (child->pid > 0 && !child_is_done(child)) {
        (void)kill(-child->pid, SIGKILL);
        child->timed_out = !child->too_long;
    }
    close_fd(&child->in_fd);
}

bool
child_succeeded(const struct child *child, char *why, size_t why_cap)
{
    if (child->too_long) {
        (void)snprintf(
            why, why_cap, "output larger than %zu bytes", child->output_max);
    } else if (child->timed_out) {
        (void)snprintf(why, why_cap, "ran too long and was killed");
    } else if (WIFSIGNALED(child->status)) {
        (void)snprintf(why, why_cap, "killed by signal %d (%s)",
            WTERMSIG(child->status), strsignal(WTERMSIG(child->status)));
    } else if (WEXITSTATUS(child->status) != 0) {
        (void)snprintf(
            why, why_cap, "exit status %d", WEXITSTATUS(child->status));
    } else {
        return true;
    }
    return false;
}

void
child_fini(struct child *child)
{
    if (child->pid > 0) {
        child_kill(child);
        if (!child->exited) {
            while (
                waitpid(child->pid, &child->status, 0) < 0 && errno == EINTR) {
            }
        }
    }
    close_fd(&child->in_fd);
    close_fd(&child->out_fd);
    free(child->input);
    free(child->output);
    *child = (struct child){.in_fd = -1, .out_fd = -1};
}
