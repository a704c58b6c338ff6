/* SPDX-License-Identifier: MIT
 *
 * A fake broker with a store in memory that answers requests about streams, for
 * Criterion tests.
 */
#ifndef BROKER_TESTS_STREAM_RIG_H
#define BROKER_TESTS_STREAM_RIG_H

#include "admin.h"
#include "expect.h"
#include "memory.h"
#include "streams.h"

struct rig {
    struct store *store;
    struct fake_net net;
    uint32_t workers;
};

/* The store commits by itself. */
void rig_init(struct rig *rig, uint32_t workers);
void rig_fini(struct rig *rig);
/* The broker ends and starts again on the same store. */
void rig_restart(struct rig *rig, bool crash);
/* From now on, until a restart, only store_memory_commit() commits. */
void rig_set_manual(struct rig *rig);

/* A peer that has subscribed to "inbox". */
struct fake_peer *rig_open(struct fake_net *net, uint32_t worker);
/* Ask, with the reply to come to "inbox". */
void rig_send(struct fake_peer *peer, const char *topic, const char *payload);
bool rig_is_answered(struct fake_peer *peer);
/* Ask; the reply, valid until the next one. */
const char *rig_ask(
    struct fake_peer *peer, const char *topic, const char *payload);
/* Ask, to be refused with a text that begins with `why`, or has it in it;
 * NULL: any. */
void rig_expect_refused(struct fake_peer *peer, const char *topic,
    const char *payload, enum broker_status status, const char *why);
/* So many messages, all of which are acknowledged. */
void rig_publish(struct fake_peer *peer, const char *topic, uint32_t count);

#endif
