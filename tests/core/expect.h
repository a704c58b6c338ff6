/* SPDX-License-Identifier: MIT
 *
 * What a test expects a peer to receive next, in one line each. Whatever else
 * comes fails the Criterion test that runs.
 */
#ifndef BROKER_TESTS_EXPECT_H
#define BROKER_TESTS_EXPECT_H

#include "fake_net.h"

/* A net with the default options. */
void expect_net(struct fake_net *net);

/* A peer that has said HELLO and got WELCOME. */
struct fake_peer *expect_open(struct fake_net *net);
struct fake_peer *expect_open_with(struct fake_net *net,
    const struct broker_hello *hello, struct broker_welcome *welcome);
/* The same of this worker; mail is delivered. */
struct fake_peer *expect_open_at(
    struct fake_net *net, uint32_t worker, const struct broker_hello *hello);

/* Take everything; the next frame is of this type. */
struct broker_frame expect_frame(struct fake_peer *peer, uint16_t type);
void expect_nothing(struct fake_peer *peer);

void expect_error(struct fake_peer *peer, enum broker_status code, uint32_t id,
    uint16_t frame_type);
/* GOAWAY with this code, nothing behind it, and the connection ends. */
void expect_goaway(struct fake_peer *peer, enum broker_status code);
void expect_puback(struct fake_peer *peer, uint32_t id, uint32_t count,
    uint32_t matched, uint32_t refused);
void expect_duplicate(struct fake_peer *peer, uint32_t id);
void expect_suback(struct fake_peer *peer, uint32_t id, uint32_t retained);
void expect_unsuback(struct fake_peer *peer, uint32_t id, uint64_t matched,
    uint64_t delivered, uint64_t dropped);
/* Up to three ids, 0 where there are fewer. */
void expect_context(struct fake_peer *peer, uint32_t a, uint32_t b, uint32_t c);
void expect_publish(
    struct fake_peer *peer, const char *topic, const char *payload);
void expect_gap(struct fake_peer *peer, enum broker_gap_reason reason,
    uint64_t count, uint32_t id);

/* Feed what was said, in one piece. */
void expect_fed(struct fake_peer *peer, struct say *say);

#endif
