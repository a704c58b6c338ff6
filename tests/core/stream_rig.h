/* SPDX-License-Identifier: MIT
 *
 * A fake broker with a store in memory that answers requests about streams, for
 * Criterion tests.
 */
#ifndef BROKER_TESTS_STREAM_RIG_H
#define BROKER_TESTS_STREAM_RIG_H

#include "expect.h"
#include "store.h"
#include "streams.h"

struct rig {
    struct store *store;
    struct fake_net net;
    uint32_t workers;
    void (*guard)(bool inside); /* of the net at its next start; or NULL */
};

/* The store commits by itself. */
void rig_init(struct rig *rig, uint32_t workers);
void rig_fini(struct rig *rig);
/* The broker ends and starts again on the same store. */
void rig_restart(struct rig *rig, bool crash);
/* The same in two steps. False: memory is out, there is no broker. */
void rig_stop(struct rig *rig, bool crash);
bool rig_start(struct rig *rig);
/* From now on, until a restart, only store_memory_commit() commits. */
void rig_set_manual(struct rig *rig);

/* Put a value behind the broker's back. */
enum store_status rig_put(struct rig *rig, const struct store_value *value);

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
/* One message, with whatever else is said of it; its number is set. */
void rig_say(struct fake_peer *peer, const struct say_message *message);
/* PUBACKs that have come for how many messages, and how many are refused. */
uint32_t rig_acknowledged(struct fake_peer *peer, uint32_t *refused);
/* How many messages the stream has. */
uint64_t rig_messages(struct rig *rig, const char *stream);
/* So many messages, all of which are acknowledged. */
void rig_publish(struct fake_peer *peer, const char *topic, uint32_t count);

#endif
