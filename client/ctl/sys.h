/* SPDX-License-Identifier: MIT
 *
 * Asking the broker itself: requests to $sys/... with JSON in both directions
 * (PROTOCOL.md 5.7). Knows nothing of what is asked.
 */
#ifndef BROKERCTL_SYS_H
#define BROKERCTL_SYS_H

#include <jansson.h>
#include <stdint.h>

#include "link.h"

struct sys {
    struct link *link;
    uint64_t timeout_ns; /* of one request; 0: no limit */
    const char *about;   /* what errors are about, such as "ORDERS"; or "" */
};

/* One request; `request` may be NULL, an empty one. The answer is an object
 * that the caller frees. NULL: said, and *code is set. */
json_t *sys_ask(const struct sys *sys, const char *topic, const json_t *request,
    enum ctl_exit *code);

/* All pages of a list: the answer has the list `key` with all entries.
 * `request` has what is asked for but offset and limit, which are set in it;
 * it may be NULL. */
json_t *sys_ask_list(const struct sys *sys, const char *topic, const char *key,
    json_t *request, enum ctl_exit *code);

/* Write it as it came, on one line. False: out of memory. */
bool sys_print_json(struct out *out, const json_t *answer);

#endif
