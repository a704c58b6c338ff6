/* SPDX-License-Identifier: MIT
 *
 * Points in time, and where reading a stream begins, as text. Pure: text in,
 * number or a sentence about what is wrong out; local time is the process's.
 */
#ifndef BROKERCTL_MOMENT_H
#define BROKERCTL_MOMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <broker/codec.h>

#define MOMENT_TEXT_MAX 32

/* Read "2026-11-22T08:00", with seconds or without, in local time or, with a Z
 * behind it, in UTC. True and *out_ms since 1970 UTC; or false and *why, a
 * static sentence that says what is right. */
bool moment_parse(const char *text, uint64_t *out_ms, const char **why);

/* The same, or "+10m": that long after now_ms. */
bool moment_parse_later(
    const char *text, uint64_t now_ms, uint64_t *out_ms, const char **why);

/* "2026-11-22T08:00:00.123Z". Returns dst; cap should be MOMENT_TEXT_MAX. */
const char *moment_format(uint64_t ms, char *dst, size_t cap);

/* Milliseconds since 1970 UTC. */
uint64_t moment_now_ms(void);

/* Where reading begins. */
struct start {
    enum broker_start start;
    uint64_t value;
};

/* Read "first", "last", "new", "seq:7", "time:2026-11-22T08:00", "-1h" or
 * "last:100". True and *out, or false and *why. */
bool start_parse(const char *text, struct start *out, const char **why);

#endif
