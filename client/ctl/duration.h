/* SPDX-License-Identifier: MIT
 *
 * Durations, counts and sizes as text: "250ms", "1.5s", "1000", "4KiB". Pure:
 * text in, number or a sentence about what is wrong out.
 */
#ifndef BROKERCTL_DURATION_H
#define BROKERCTL_DURATION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DURATION_TEXT_MAX 32

/* Read a number with a unit: us, ms, s, m, h, d; decimals are allowed ("1.5s").
 * "0" needs no unit. True and *out_ns in nanoseconds, at most 100 years; or
 * false and *why = a static sentence that says what is right. */
bool duration_parse(const char *text, uint64_t *out_ns, const char **why);

/* Write a duration for a person: "1.234 ms", "12.3 us", "2.000 s". Returns dst;
 * cap should be DURATION_TEXT_MAX. */
const char *duration_format(uint64_t duration_ns, char *dst, size_t cap);

/* Whole milliseconds, rounded up, so that a wait is never too short; at most
 * UINT32_MAX. */
uint32_t duration_to_ms(uint64_t duration_ns);

/* The same without that limit. */
uint64_t duration_to_whole_ms(uint64_t duration_ns);

/* Read a decimal whole number of at least `min`. True and *out, or false and
 * *why. */
bool count_parse(
    const char *text, uint64_t min, uint64_t *out, const char **why);

/* Read a number of bytes: decimal, with KiB, MiB, GiB or TiB behind it, which
 * K, M, G and T mean as well, or nothing. True and *out, or false and *why. */
bool size_parse(const char *text, uint64_t *out, const char **why);

#endif
