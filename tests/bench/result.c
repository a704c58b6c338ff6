/* SPDX-License-Identifier: MIT
 *
 * Counters, times and their JSON. See result.h. */
#include "result.h"

#include "measure.h"

#include <stdio.h>
#include <unistd.h>

struct reading
reading_now(const struct rig *rig)
{
    return (struct reading){.time_ns = now_ns(),
        .cpu_ns = process_cpu_ns(rig->options->broker_pid),
        .waited_ns = process_waited_ns(rig->options->broker_pid),
        .own_waited_ns = process_waited_ns(getpid()),
        .delivered = rig_delivered(rig),
        .acknowledged = rig_acknowledged(rig),
        .sent = rig_sent(rig)};
}

void
result_print(const struct rig *rig, struct reading from, struct reading to,
    const char *more)
{
    printf("{\"ok\": true, \"wall_s\": %.6f, \"cpu_s\": %.6f, "
           "\"waited_s\": %.6f, \"load_waited_s\": %.6f, "
           "\"delivered\": %llu, \"acknowledged\": %llu, \"sent\": %llu, "
           "\"delivery_bytes\": %zu, \"delivered_in_all\": %llu%s}\n",
        (double)(to.time_ns - from.time_ns) / 1e9,
        (double)(to.cpu_ns - from.cpu_ns) / 1e9,
        (double)(to.waited_ns - from.waited_ns) / 1e9,
        (double)(to.own_waited_ns - from.own_waited_ns) / 1e9,
        (unsigned long long)(to.delivered - from.delivered),
        (unsigned long long)(to.acknowledged - from.acknowledged),
        (unsigned long long)(to.sent - from.sent), rig->expected.frame_bytes,
        (unsigned long long)rig_delivered(rig), more);
}
