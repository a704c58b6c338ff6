/* SPDX-License-Identifier: MIT
 *
 * Many connections; see links.h.
 *
 * What a busy turn costs must not grow with the links that have nothing to do
 * more than poll() makes it: only those that are ready are let work, and the
 * time at which the others want to is looked at when it may have come.
 */
#include "links.h"

#include <inttypes.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "say.h"
#include "signals.h"

#define NS_PER_MS UINT64_C(1000000)
#define NS_PER_S  UINT64_C(1000000000)
/* A handle of the library has its socket and two descriptors to wait for it. */
#define FILES_PER_LINK  UINT64_C(3)
#define FILES_OF_OTHERS UINT64_C(32)

/* Allow as many open files as are needed, if that is ours to allow. */
static enum ctl_exit
raise_file_limit(size_t count)
{
    const rlim_t wanted = (rlim_t)(FILES_PER_LINK * count + FILES_OF_OTHERS);
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || wanted <= limit.rlim_cur) {
        return CTL_EXIT_OK;
    }
    if (wanted > limit.rlim_max) {
        say("%zu connections need %" PRIu64 " open files, and %" PRIu64
            " are allowed: raise the limit (ulimit -Hn), or ask for fewer",
            count, (uint64_t)wanted, (uint64_t)limit.rlim_max);
        return CTL_EXIT_FAILED;
    }
    limit.rlim_cur = wanted;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
    return CTL_EXIT_OK;
}

static void
release(struct links *links)
{
    free(links->list);
    free(links->fds);
    free(links->due_ns);
    *links = (struct links){0};
}

static enum ctl_exit
open_all(struct links *links, const struct invocation *invocation,
    const struct link_options *options, size_t count)
{
    while (links->count < count) {
        struct link *link = &links->list[links->count];
        const enum ctl_exit code = link_open(link, invocation, options);

        if (code != CTL_EXIT_OK) {
            return code;
        }
        links->due_ns[links->count] = 0;
        links->count++;
        links->fds[links->count] = (struct pollfd){
            .fd = broker_client_fd(link->client), .events = POLLIN};
    }
    return CTL_EXIT_OK;
}

enum ctl_exit
links_open(struct links *links, const struct invocation *invocation,
    const struct link_options *options, size_t count)
{
    enum ctl_exit code = raise_file_limit(count);

    if (code != CTL_EXIT_OK) {
        return code;
    }
    *links = (struct links){
        .list = calloc(count + 1, sizeof links->list[0]),
        .fds = calloc(count + 1, sizeof links->fds[0]),
        .due_ns = calloc(count + 1, sizeof links->due_ns[0]),
    };
    if (links->list == NULL || links->fds == NULL || links->due_ns == NULL) {
        say("out of memory");
        code = CTL_EXIT_FAILED;
    } else {
        links->fds[0] = (struct pollfd){.fd = signals_fd(), .events = POLLIN};
        code = open_all(links, invocation, options, count);
    }
    if (code != CTL_EXIT_OK) {
        links_drop(links);
    }
    return code;
}

/* After a failure (a signal) nothing is ready. */
static void
wait_for_any(struct links *links, uint64_t deadline_ns)
{
    const uint64_t until_ns =
        deadline_ns < links->soonest_ns ? deadline_ns : links->soonest_ns;
    const uint64_t now_ns = until_ns == LINK_NEVER ? 0 : link_now_ns();
    const uint64_t left_ns = until_ns > now_ns ? until_ns - now_ns : 0;
    const struct timespec left = {
        .tv_sec = (time_t)(left_ns / NS_PER_S),
        .tv_nsec = (long)(left_ns % NS_PER_S),
    };

    if (ppoll(links->fds, (nfds_t)(links->count + 1),
            until_ns == LINK_NEVER ? NULL : &left, NULL) < 0) {
        for (size_t i = 0; i <= links->count; i++) {
            links->fds[i].revents = 0;
        }
    }
    if (links->fds[0].revents != 0) {
        signals_clear();
    }
}

static enum ctl_exit
work(struct links *links, size_t i)
{
    struct link *link = &links->list[i];
    const enum broker_status status = broker_client_process(link->client);
    int timeout_ms;

    if (status != BROKER_OK) {
        return link_failure(link, status);
    }
    timeout_ms = broker_client_timeout_ms(link->client);
    links->due_ns[i] = timeout_ms < 0
                           ? LINK_NEVER
                           : link_now_ns() + (uint64_t)timeout_ms * NS_PER_MS;
    if (links->due_ns[i] < links->soonest_ns) {
        links->soonest_ns = links->due_ns[i];
    }
    return CTL_EXIT_OK;
}

enum ctl_exit
links_turn(struct links *links, uint64_t deadline_ns)
{
    enum ctl_exit code = CTL_EXIT_OK;
    uint64_t now_ns;

    wait_for_any(links, deadline_ns);
    now_ns = link_now_ns();
    if (links->soonest_ns <= now_ns) {
        links->soonest_ns = LINK_NEVER;
        for (size_t i = 0; i < links->count; i++) {
            if (links->due_ns[i] <= now_ns) {
                links->fds[i + 1].revents = POLLIN;
            } else if (links->due_ns[i] < links->soonest_ns) {
                links->soonest_ns = links->due_ns[i];
            }
        }
    }
    for (size_t i = 0; i < links->count && code == CTL_EXIT_OK; i++) {
        if (links->fds[i + 1].revents != 0) {
            code = work(links, i);
        }
    }
    return code;
}

void
links_leave(struct links *links)
{
    for (size_t i = 0; i < links->count; i++) {
        link_leave(&links->list[i]);
    }
    release(links);
}

void
links_drop(struct links *links)
{
    for (size_t i = 0; i < links->count; i++) {
        link_drop(&links->list[i]);
    }
    release(links);
}
