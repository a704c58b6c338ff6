/* SPDX-License-Identifier: MIT
 *
 * See daemon.h. BROKERD_PATH is the program, given by the build.
 */
#include "daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "server.h"

#define ARGUMENTS_MAX 32
#define LINE_MAX_     256

static void
show_log(const struct daemon *daemon)
{
    char line[LINE_MAX_];
    FILE *log = fopen(daemon->log_path, "r");
    while (log != NULL && fgets(line, sizeof line, log) != NULL) {
        (void)fprintf(stderr, "brokerd: %s", line);
    }
    if (log != NULL) {
        (void)fclose(log);
    }
}

static void
run_daemon(
    const struct daemon *daemon, const char *const *options, int ready_fd)
{
    const char *arguments[ARGUMENTS_MAX] = {BROKERD_PATH, "--listen",
        daemon->unix_address, "--listen", "tcp://127.0.0.1:0"};
    size_t n = 5;
    int log = open(daemon->log_path, O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (daemon->store_path[0] != '\0') {
        arguments[n++] = "--store";
        arguments[n++] = daemon->store_path;
    }
    while (options != NULL && *options != NULL && n + 1 < ARGUMENTS_MAX) {
        arguments[n++] = *options++;
    }
    arguments[n] = NULL;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* it must not outlive the test */
    (void)dup2(ready_fd, STDOUT_FILENO);
    (void)dup2(log, STDERR_FILENO);
    (void)execv(BROKERD_PATH, (char *const *)arguments);
    _exit(127);
}

/* Read the line "brokerd ready tcp://... unix://..." */
static void
wait_ready(struct daemon *daemon, int fd)
{
    char line[LINE_MAX_];
    size_t n = 0;
    while (n + 1 < sizeof line && (n == 0 || line[n - 1] != '\n')) {
        struct pollfd poller = {.fd = fd, .events = POLLIN};
        ssize_t got = -1;
        if (poll(&poller, 1, SERVER_DEADLINE_MS) == 1) {
            got = read(fd, line + n, 1);
        }
        if (got <= 0) {
            show_log(daemon);
            check_failed(__FILE__, __LINE__, "brokerd did not get ready");
        }
        n++;
    }
    line[n] = '\0';
    const char *tcp = strstr(line, "tcp://");
    CHECK(strstr(line, "brokerd ready") == line && tcp != NULL);
    size_t len = strcspn(tcp, " \n");
    CHECK(len < sizeof daemon->tcp_address);
    memcpy(daemon->tcp_address, tcp, len);
    daemon->tcp_address[len] = '\0';
}

void
daemon_restart(struct daemon *daemon, const char *const *options)
{
    int ready[2];
    CHECK(pipe2(ready, O_CLOEXEC) == 0);
    daemon->pid = fork();
    CHECK(daemon->pid >= 0);
    if (daemon->pid == 0) {
        run_daemon(daemon, options, ready[1]);
    }
    (void)close(ready[1]);
    wait_ready(daemon, ready[0]);
    (void)close(ready[0]);
}

static void
start(struct daemon *daemon, const char *const *options, bool stored)
{
    *daemon = (struct daemon){.folder = "/tmp/broker-client-XXXXXX"};
    CHECK(mkdtemp(daemon->folder) != NULL);
    (void)snprintf(daemon->unix_address, sizeof daemon->unix_address,
        "unix://%s/s.sock", daemon->folder);
    (void)snprintf(
        daemon->log_path, sizeof daemon->log_path, "%s/log", daemon->folder);
    if (stored) {
        (void)snprintf(daemon->store_path, sizeof daemon->store_path,
            "%s/store", daemon->folder);
    }
    daemon_restart(daemon, options);
}

void
daemon_start(struct daemon *daemon, const char *const *options)
{
    start(daemon, options, false);
}

void
daemon_start_stored(struct daemon *daemon, const char *const *options)
{
    start(daemon, options, true);
}

static void
wait_end(struct daemon *daemon)
{
    int status;
    while (waitpid(daemon->pid, &status, 0) < 0 && errno == EINTR) {
    }
    daemon->pid = 0;
}

void
daemon_kill(struct daemon *daemon)
{
    (void)kill(daemon->pid, SIGKILL);
    wait_end(daemon);
}

void
daemon_terminate(struct daemon *daemon)
{
    (void)kill(daemon->pid, SIGTERM);
}

static int
remove_one(
    const char *path, const struct stat *status, int type, struct FTW *ftw)
{
    (void)status;
    (void)type;
    (void)ftw;
    return remove(path);
}

void
daemon_stop(struct daemon *daemon)
{
    if (daemon->pid > 0) {
        daemon_terminate(daemon);
        wait_end(daemon);
    }
    (void)nftw(daemon->folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}
