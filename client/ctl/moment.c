/* SPDX-License-Identifier: MIT
 *
 * Points in time; see moment.h.
 */
#include "moment.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "duration.h"

#define MS_PER_S  1000u
#define NS_PER_MS 1000000u

static const char moment_why[] =
    "write a time such as 2026-11-22T08:00 or 2026-11-22T08:00:30, with a Z "
    "behind it for UTC";

/* Exactly `width` digits at *text, then `end` unless that is 0. */
static bool
read_digits(const char **text, int width, char end, int *out)
{
    int value = 0;

    for (int i = 0; i < width; i++, (*text)++) {
        if (**text < '0' || **text > '9') {
            return false;
        }
        value = value * 10 + (**text - '0');
    }
    if (end != '\0' && *(*text)++ != end) {
        return false;
    }
    *out = value;
    return true;
}

static bool
is_same(const struct tm *a, const struct tm *b)
{
    return a->tm_year == b->tm_year && a->tm_mon == b->tm_mon &&
           a->tm_mday == b->tm_mday && a->tm_hour == b->tm_hour &&
           a->tm_min == b->tm_min && a->tm_sec == b->tm_sec;
}

bool
moment_parse(const char *text, uint64_t *out_ms, const char **why)
{
    struct tm given = {.tm_isdst = -1}, normal;
    const char *at = text;
    time_t seconds;
    bool utc;

    *why = moment_why;
    if (!read_digits(&at, 4, '-', &given.tm_year) ||
        !read_digits(&at, 2, '-', &given.tm_mon) ||
        !read_digits(&at, 2, 'T', &given.tm_mday) ||
        !read_digits(&at, 2, ':', &given.tm_hour) ||
        !read_digits(&at, 2, '\0', &given.tm_min)) {
        return false;
    }
    if (*at == ':') {
        at++;
        if (!read_digits(&at, 2, '\0', &given.tm_sec)) {
            return false;
        }
    }
    utc = strcmp(at, "Z") == 0;
    if (!utc && *at != '\0') {
        return false;
    }
    given.tm_year -= 1900;
    given.tm_mon--;
    normal = given;
    seconds = utc ? timegm(&normal) : mktime(&normal);
    /* 31 February, 25 o'clock, and the hour that summer time leaves out. */
    if (seconds < 0 || !is_same(&given, &normal)) {
        *why = "there is no such time, or it is before 1970";
        return false;
    }
    *out_ms = (uint64_t)seconds * MS_PER_S;
    return true;
}

bool
moment_parse_later(
    const char *text, uint64_t now_ms, uint64_t *out_ms, const char **why)
{
    uint64_t later_ns;

    if (text[0] != '+') {
        return moment_parse(text, out_ms, why);
    }
    if (!duration_parse(text + 1, &later_ns, why)) {
        return false;
    }
    *out_ms = now_ms + duration_to_whole_ms(later_ns);
    return true;
}

const char *
moment_format(uint64_t ms, char *dst, size_t cap)
{
    const time_t seconds = (time_t)(ms / MS_PER_S);
    struct tm utc;
    char text[24];

    if (gmtime_r(&seconds, &utc) == NULL ||
        strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &utc) == 0) {
        (void)snprintf(dst, cap, "?"); /* millions of years from now */
        return dst;
    }
    (void)snprintf(dst, cap, "%s.%03" PRIu64 "Z", text, ms % MS_PER_S);
    return dst;
}

uint64_t
moment_now_ms(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * MS_PER_S + (uint64_t)now.tv_nsec / NS_PER_MS;
}

/* ---- where reading begins ------------------------------------------------ */

static bool
start_parse_ago(const char *text, struct start *out, const char **why)
{
    uint64_t ns;

    if (!duration_parse(text, &ns, why)) {
        return false;
    }
    *out = (struct start){BROKER_START_AGO, duration_to_whole_ms(ns)};
    return true;
}

/* "seq:7", "last:100": `text` is what stands behind the colon. */
static bool
start_parse_number(const char *text, enum broker_start start, struct start *out,
    const char **why)
{
    uint64_t value;

    if (!count_parse(text, 1, &value, why)) {
        return false;
    }
    *out = (struct start){start, value};
    return true;
}

bool
start_parse(const char *text, struct start *out, const char **why)
{
    static const struct {
        const char *word;
        enum broker_start start;
    } words[] = {
        {"first", BROKER_START_FIRST},
        {"last", BROKER_START_LAST},
        {"new", BROKER_START_NEW},
    };
    uint64_t ms;

    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (strcmp(text, words[i].word) == 0) {
            *out = (struct start){words[i].start, 0};
            return true;
        }
    }
    if (strncmp(text, "seq:", 4) == 0) {
        return start_parse_number(text + 4, BROKER_START_SEQUENCE, out, why);
    }
    if (strncmp(text, "last:", 5) == 0) {
        return start_parse_number(text + 5, BROKER_START_COUNT, out, why);
    }
    if (strncmp(text, "time:", 5) == 0) {
        if (!moment_parse(text + 5, &ms, why)) {
            return false;
        }
        *out = (struct start){BROKER_START_TIME, ms};
        return true;
    }
    if (text[0] == '-') {
        return start_parse_ago(text + 1, out, why);
    }
    *why = "write first, last, new, seq:7, last:100, time:2026-11-22T08:00 "
           "or, for an hour ago, -1h";
    return false;
}
