/* SPDX-License-Identifier: MIT
 *
 * Durations, counts and sizes; see duration.h. Decimals are read digit by
 * digit, not through floating point, so that "0.1s" is exactly 100 ms.
 */
#include "duration.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define NS_PER_US       1000u
#define NS_PER_MS       1000000u
#define NS_PER_S        1000000000u
#define NS_PER_DAY      (UINT64_C(24) * 3600 * NS_PER_S)
#define DURATION_MAX_NS (36500 * NS_PER_DAY)

struct unit {
    const char *name;
    uint64_t size; /* nanoseconds, or bytes */
};

static const struct unit units[] = {
    {"us", NS_PER_US},
    {"ms", NS_PER_MS},
    {"s", NS_PER_S},
    {"m", UINT64_C(60) * NS_PER_S},
    {"h", UINT64_C(3600) * NS_PER_S},
    {"d", NS_PER_DAY},
};

static const struct unit size_units[] = {
    {"", 1},
    {"KiB", UINT64_C(1) << 10},
    {"MiB", UINT64_C(1) << 20},
    {"GiB", UINT64_C(1) << 30},
    {"TiB", UINT64_C(1) << 40},
    {"K", UINT64_C(1) << 10}, /* the same, as in brokerd's configuration */
    {"M", UINT64_C(1) << 20},
    {"G", UINT64_C(1) << 30},
    {"T", UINT64_C(1) << 40},
};

static bool
is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static const struct unit *
unit_find(const struct unit *list, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(list[i].name, name) == 0) {
            return &list[i];
        }
    }
    return NULL;
}

/* The digits at *text as a number; moves *text behind them. Stops counting at
 * a value that is above every limit, so it cannot wrap. */
static uint64_t
digits_read(const char **text)
{
    uint64_t value = 0;

    for (; is_digit(**text); (*text)++) {
        if (value <= UINT64_MAX / 10 - 1) {
            value = value * 10 + (uint64_t)(**text - '0');
        } else {
            value = UINT64_MAX;
        }
    }
    return value;
}

bool
duration_parse(const char *text, uint64_t *out_ns, const char **why)
{
    const char *at = text;
    const char *fraction;
    const struct unit *unit;
    uint64_t whole, ns, scale;

    *why = "write a number and a unit, such as 250ms, 1.5s, 2m, 1h or 7d";
    if (strcmp(text, "0") == 0) {
        *out_ns = 0;
        return true;
    }
    if (!is_digit(*at)) {
        return false;
    }
    whole = digits_read(&at);
    fraction = at;
    if (*at == '.') {
        at++;
        if (!is_digit(*at)) {
            return false;
        }
        (void)digits_read(&at);
    }
    unit = unit_find(units, sizeof units / sizeof units[0], at);
    if (unit == NULL) {
        return false;
    }
    if (whole > DURATION_MAX_NS / unit->size) {
        *why = "the longest duration is 100 years (36500d)";
        return false;
    }
    ns = whole * unit->size;
    scale = unit->size;
    for (fraction++; fraction < at; fraction++) {
        scale /= 10;
        ns += scale * (uint64_t)(*fraction - '0');
    }
    *out_ns = ns;
    return true;
}

const char *
duration_format(uint64_t duration_ns, char *dst, size_t cap)
{
    const double ns = (double)duration_ns;

    if (duration_ns < NS_PER_MS) {
        (void)snprintf(dst, cap, "%.1f us", ns / NS_PER_US);
    } else if (duration_ns < NS_PER_S) {
        (void)snprintf(dst, cap, "%.3f ms", ns / NS_PER_MS);
    } else {
        (void)snprintf(dst, cap, "%.3f s", ns / NS_PER_S);
    }
    return dst;
}

uint64_t
duration_to_whole_ms(uint64_t duration_ns)
{
    return duration_ns / NS_PER_MS + (duration_ns % NS_PER_MS != 0);
}

uint32_t
duration_to_ms(uint64_t duration_ns)
{
    const uint64_t ms = duration_to_whole_ms(duration_ns);

    return ms > UINT32_MAX ? UINT32_MAX : (uint32_t)ms;
}

bool
count_parse(const char *text, uint64_t min, uint64_t *out, const char **why)
{
    const char *at = text;
    uint64_t value;

    if (!is_digit(*at)) {
        *why = "write a whole number, such as 10";
        return false;
    }
    value = digits_read(&at);
    if (*at != '\0') {
        *why = "write a whole number, such as 10";
        return false;
    }
    if (value == UINT64_MAX) {
        *why = "the number is too large";
        return false;
    }
    if (value < min) {
        *why = "the smallest number is 1";
        return false;
    }
    *out = value;
    return true;
}

bool
size_parse(const char *text, uint64_t *out, const char **why)
{
    const char *at = text;
    const struct unit *unit;
    uint64_t whole;

    *why = "write a number of bytes, such as 128, 4KiB, 1MiB or 10G";
    if (!is_digit(*at)) {
        return false;
    }
    whole = digits_read(&at);
    unit = unit_find(size_units, sizeof size_units / sizeof size_units[0], at);
    if (unit == NULL) {
        return false;
    }
    if (whole > (UINT64_MAX - 1) / unit->size) {
        *why = "the number is too large";
        return false;
    }
    *out = whole * unit->size;
    return true;
}
