/* SPDX-License-Identifier: MIT
 *
 * What the broker says of itself: JSON answers to requests under $sys/
 * (PROTOCOL.md section 5.7). Reads the cores' statistics and changes nothing.
 */
#ifndef BROKER_ADMIN_H
#define BROKER_ADMIN_H

#include "buffer.h"
#include "core.h"

struct store;

/* For the hook core_hooks.answer: the broker consists of these cores, at least
 * one, none of which may change meanwhile, the first of them worker 0; `store`
 * is theirs, or NULL. */
enum broker_status admin_answer(const struct core *const *cores, size_t count,
    const struct store *store, struct broker_bytes topic,
    struct broker_bytes payload, struct buffer *reply);

/* For the hook core_hooks.ask, of any core; `arg` is not looked at. */
void admin_ask(void *arg, struct core *core, struct question *question);
/* The part of that which is about durable consumers. False: the topic is of
 * nothing that is known, and nothing was answered. */
bool admin_ask_consumers(struct core *core, struct question *question);

#endif
