/* SPDX-License-Identifier: MIT
 *
 * What the broker says of itself: JSON answers to requests under $sys/
 * (PROTOCOL.md section 5.7). Reads the core's statistics and changes nothing.
 */
#ifndef BROKER_ADMIN_H
#define BROKER_ADMIN_H

#include "buffer.h"
#include "core.h"

/* The hook core_hooks.answer; `arg` is not used. */
enum broker_status admin_answer(void *arg, const struct core *core,
    struct broker_bytes topic, struct broker_bytes payload,
    struct buffer *reply);

#endif
