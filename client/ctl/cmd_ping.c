/* SPDX-License-Identifier: MIT
 *
 * brokerctl ping: round-trip times of PING frames (PROTOCOL.md 4.4).
 */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd.h"
#include "duration.h"
#include "link.h"
#include "say.h"
#include "signals.h"

struct ping_settings {
    uint64_t count;
    uint64_t interval_ns;
    uint64_t timeout_ns;
};

static const struct ping_settings defaults = {
    .count = 5,
    .interval_ns = UINT64_C(1000000000),
    .timeout_ns = LINK_TIMEOUT_NS,
};

static const struct option_spec options[] = {
    {"count", 'n', OPTION_COUNT, "N", "how many (5)",
        offsetof(struct ping_settings, count), NULL},
    {"interval", 'i', OPTION_DURATION, "TIME", "time from one to the next (1s)",
        offsetof(struct ping_settings, interval_ns), NULL},
    {"timeout", 't', OPTION_DURATION, "TIME",
        "longest wait for one answer (5s; 0: no limit)",
        offsetof(struct ping_settings, timeout_ns), NULL},
    {0},
};

struct ping {
    const struct ping_settings *settings;
    struct out *out;
    struct link link;
    uint64_t *times_us; /* of those that were answered */
    size_t answered, cap;
    uint64_t sent;
};

static bool
keep_time(struct ping *ping, uint64_t time_us)
{
    if (ping->answered == ping->cap) {
        const size_t cap = ping->cap != 0 ? ping->cap * 2 : 64;
        uint64_t *times =
            realloc(ping->times_us, cap * sizeof ping->times_us[0]);

        if (times == NULL) {
            say("ping: out of memory");
            return false;
        }
        ping->times_us = times;
        ping->cap = cap;
    }
    ping->times_us[ping->answered++] = time_us;
    return true;
}

static enum ctl_exit
ping_once(struct ping *ping, const char *address)
{
    const uint32_t timeout_ms = duration_to_ms(ping->settings->timeout_ns);
    uint64_t time_us = 0;
    enum broker_status status;

    ping->sent++;
    status = broker_client_ping(ping->link.client,
        timeout_ms == 0 || timeout_ms > INT_MAX ? -1 : (int)timeout_ms,
        &time_us);
    if (status == BROKER_E_INTERRUPTED) {
        return CTL_EXIT_OK;
    }
    if (status != BROKER_OK) {
        return link_failure(&ping->link, status);
    }
    if (!keep_time(ping, time_us)) {
        return CTL_EXIT_FAILED;
    }
    out_printf(ping->out, "%s: number=%" PRIu64 " time=%.3f ms\n", address,
        ping->sent, (double)time_us / 1000.0);
    out_flush(ping->out);
    return CTL_EXIT_OK;
}

/* Until the deadline or a signal; the client goes on working. */
static enum ctl_exit
rest(struct ping *ping, uint64_t deadline_ns)
{
    while (!signals_stop_wanted() && link_left_ms(deadline_ns) > 0) {
        struct pollfd fds = {.fd = signals_fd(), .events = POLLIN};
        const enum broker_status status =
            link_turn(&ping->link, &fds, 1, link_left_ms(deadline_ns));

        if (status != BROKER_OK) {
            return link_failure(&ping->link, status);
        }
        if (fds.revents != 0) {
            signals_clear();
        }
    }
    return CTL_EXIT_OK;
}

static enum ctl_exit
ping_all(struct ping *ping)
{
    struct broker_client_info info;
    uint64_t next_ns = link_now_ns();
    enum ctl_exit code = CTL_EXIT_OK;

    broker_client_info(ping->link.client, &info, sizeof info);
    while (code == CTL_EXIT_OK && ping->sent < ping->settings->count &&
           !signals_stop_wanted() && out_failed(ping->out) == 0) {
        code = ping_once(ping, info.address);
        next_ns += ping->settings->interval_ns;
        if (code == CTL_EXIT_OK && ping->sent < ping->settings->count) {
            code = rest(ping, next_ns);
        }
    }
    return code;
}

static int
compare_times(const void *a, const void *b)
{
    const uint64_t left = *(const uint64_t *)a;
    const uint64_t right = *(const uint64_t *)b;

    return (left > right) - (left < right);
}

static void
print_summary(struct ping *ping)
{
    const size_t n = ping->answered;
    const uint64_t *times = ping->times_us;
    double median;

    out_printf(ping->out, "%" PRIu64 " sent, %zu answered", ping->sent, n);
    if (n > 0) {
        qsort(ping->times_us, n, sizeof ping->times_us[0], compare_times);
        median = ((double)times[(n - 1) / 2] + (double)times[n / 2]) / 2.0;
        out_printf(ping->out, ", min/median/max %.3f/%.3f/%.3f ms",
            (double)times[0] / 1000.0, median / 1000.0,
            (double)times[n - 1] / 1000.0);
    }
    out_text(ping->out, "\n");
}

static enum ctl_exit
run(const struct invocation *invocation)
{
    struct ping ping = {
        .settings = invocation->settings, .out = invocation->out};
    const struct link_options link_options = {
        .timeout_ns = ping.settings->timeout_ns};
    enum ctl_exit code = link_open(&ping.link, invocation, &link_options);

    if (code != CTL_EXIT_OK) {
        return code;
    }
    if (signals_open()) {
        signals_interrupt(ping.link.client);
        code = ping_all(&ping);
        print_summary(&ping);
        signals_close();
    } else {
        say("ping: cannot catch signals: %s", strerror(errno));
        code = CTL_EXIT_FAILED;
    }
    link_drop(&ping.link);
    free(ping.times_us);
    return code;
}

const struct command cmd_ping = {
    .name = "ping",
    .summary = "Measure the time to the broker and back",
    .arguments = "",
    .options = options,
    .settings_bytes = sizeof(struct ping_settings),
    .defaults = &defaults,
    .exits = CTL_EXIT_BITS_CONNECTED | CTL_EXIT_BIT(TIMEOUT),
    .run = run,
};
