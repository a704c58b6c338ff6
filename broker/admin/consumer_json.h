/* SPDX-License-Identifier: MIT
 *
 * Durable consumers as JSON: what is asked for under $sys/consumer/, and what
 * is told. PROTOCOL.md section 5.14. For broker/admin only.
 */
#ifndef BROKER_ADMIN_CONSUMER_JSON_H
#define BROKER_ADMIN_CONSUMER_JSON_H

#include "request.h"

#include "consumer.h"

#include <broker/codec.h>

/* Where to begin, as in CONSUME; never BROKER_START_CURSOR. */
struct admin_start {
    enum broker_start kind;
    uint64_t value;
};

/* What $sys/consumer/add says; views into the request. */
struct admin_consumer {
    struct broker_bytes name, stream;
    struct consumer_settings settings; /* but for `start`, which is 1 */
    struct admin_start start;
};

/* The keys of each request, for admin_request_read(). */
extern const char *const admin_consumer_add_keys[];
extern const char *const admin_consumer_reset_keys[]; /* name, from */
extern const char *const admin_consumer_name_keys[];
extern const char *const admin_consumer_list_keys[]; /* and stream */

/* What is absent is as usual: everything from the first message on, ack each,
 * a window of 1,000 and, unless ack is none, 30 s to acknowledge. Whether the
 * filter and the dead-letter topic are good is looked at as well. False:
 * something is wrong. */
bool admin_consumer_read(struct admin_request *request,
    const struct broker_limits *limits, struct admin_consumer *out);
/* The key `from`; false: it is not there, or wrong. */
bool admin_consumer_read_start(
    struct admin_request *request, struct admin_start *out);

/* One consumer. NULL if memory is out. */
json_t *admin_consumer_row(struct broker_bytes name, struct broker_bytes stream,
    const struct consumer_settings *settings, const struct consumer_info *info);
/* {"reason", "text"} for one of the reasons of consumer_explain(); `who` is the
 * connection it is about, or 0. */
json_t *admin_consumer_reason(
    const struct consumer_reason *reason, uint64_t who);

#endif
