/* SPDX-License-Identifier: MIT
 *
 * What clients say to streams and hear from them, in one line each, for tests
 * with a fake broker and a store in memory (stream_rig.h).
 */
#ifndef BROKER_TESTS_STREAM_SAY_H
#define BROKER_TESTS_STREAM_SAY_H

#include "stream_rig.h"

struct rights;

#define READER 7u /* id of a reader */
#define PLAIN  8u /* id of a plain subscription */

/* A broker with the stream S of "s/#". */
void rig_init_stream(struct rig *rig, uint32_t workers);
/* The same with other settings of S, and so many messages in it: to "s/0" and
 * "s/1" in turn, 100 ms apart. */
void rig_init_spread(
    struct rig *rig, uint32_t workers, const char *settings, uint32_t count);
void publish_spread(struct rig *rig, uint32_t count);
/* All that is said becomes durable, and what is said for that. */
void rig_commit(struct rig *rig);

/* A stream with one filter, and what else is set: "" or ",\"key\":value". */
void have_stream(struct rig *rig, const char *name, const char *filter,
    const char *settings);
/* One that is there is asked for something: $sys/stream/`what`. */
void ask_stream(struct rig *rig, const char *what, const char *payload);

/* A peer that knows streams. */
struct fake_peer *stream_peer(struct rig *rig, uint32_t worker);
/* The same with a session of its own choice; 0: a new one. */
struct fake_peer *stream_peer_as(
    struct rig *rig, uint32_t worker, uint8_t session);
/* The same, and WELCOME is still to come. */
struct fake_peer *stream_peer_begin(
    struct rig *rig, uint32_t worker, uint8_t session);
/* One that came in with these rights, which it takes. */
struct fake_peer *stream_peer_with(
    struct rig *rig, uint32_t worker, struct rights *rights);

/* Everything is allowed but what this filter matches. */
struct rights *rights_without(unsigned actions, const char *filter);

/* A PUBLISH with the field `tag`, if that is not 0. */
struct say_field {
    uint32_t id;
    uint16_t flags, tag;
    uint64_t value;
    const char *topic, *payload;
};
void say_with_field(struct say *say, const struct say_field *message);
/* PUBLISH frames as they were said, as one batch. */
void say_batch(
    struct say *say, uint32_t id, uint16_t flags, const struct say *frames);
/* One message for each topic, with the topic as its payload. */
void say_topics(struct say *say, uint32_t id, uint16_t flags,
    const char *const *topics, size_t count);
void say_consume(struct say *say, const struct broker_consume *consume);

/* The same, fed. */
void feed_publish(struct fake_peer *peer, uint32_t id, const char *topic);
void feed_field(struct fake_peer *peer, const struct say_field *message);
void feed_topics(struct fake_peer *peer, uint32_t id, uint16_t flags,
    const char *const *topics, size_t count);
/* PLAIN, which is confirmed. */
void feed_subscribe(struct fake_peer *peer, const char *filter);
/* READER of S, unless something else is said. */
void feed_consume(struct fake_peer *peer, const struct broker_consume *consume);
void feed_unsubscribe(struct fake_peer *peer, uint16_t flags);

/* Acknowledged with level 3; sequence 0: there is none. */
void expect_stored(struct fake_peer *peer, uint32_t id, uint32_t count,
    const char *stream, uint64_t sequence);
/* The number was stored before. */
void expect_stored_before(struct fake_peer *peer, uint32_t id);
/* WRONG_LAST_SEQUENCE, and which one is right. */
void expect_wrong_last(
    struct fake_peer *peer, uint32_t id, uint16_t type, uint64_t sequence);
void expect_reader(struct fake_peer *peer, uint32_t id, uint64_t first,
    uint64_t last, uint64_t next);
void expect_position(
    struct fake_peer *peer, uint32_t id, uint64_t sequence, uint32_t count);
/* A GAP. */
void expect_missing(struct fake_peer *peer, uint32_t id,
    enum broker_gap_reason reason, uint64_t count);
/* READER gets the messages of publish_spread() from..to, and that there are no
 * more. */
void expect_spread(struct fake_peer *peer, uint64_t from, uint64_t to);
/* The subscription ended with this. */
void expect_ended(struct fake_peer *peer, uint32_t id, enum broker_status code);

#endif
