/* SPDX-License-Identifier: MIT
 *
 * A second opinion on topics: see slow_match.h. Splits into arrays of levels
 * and decodes UTF-8 to code points, both of which topic.c does not do.
 */
#include "slow_match.h"

#include <stdlib.h>
#include <string.h>

struct levels {
    struct broker_bytes *level;
    size_t count;
};

static struct levels
split(struct broker_bytes text)
{
    struct levels out = {calloc(text.len + 1, sizeof *out.level), 1};

    if (out.level == NULL) {
        abort();
    }
    out.level[0].data = text.data;
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] == '/') {
            out.level[out.count++].data = text.data + i + 1;
        } else {
            out.level[out.count - 1].len++;
        }
    }
    return out;
}

static bool
same(struct broker_bytes a, const char *data, size_t len)
{
    return a.len == len && (len == 0 || memcmp(a.data, data, len) == 0);
}

static bool
match_from(struct levels f, size_t fi, struct levels t, size_t ti)
{
    if (fi == f.count) {
        return ti == t.count;
    }
    if (same(f.level[fi], "#", 1)) {
        return true;
    }
    if (ti == t.count) {
        return false;
    }
    if (!same(f.level[fi], "+", 1) &&
        !same(f.level[fi], (const char *)t.level[ti].data, t.level[ti].len)) {
        return false;
    }
    return match_from(f, fi + 1, t, ti + 1);
}

bool
slow_match(struct broker_bytes filter, struct broker_bytes topic)
{
    struct levels f = split(filter), t = split(topic);
    bool hidden = topic.len > 0 && topic.data[0] == '$' &&
                  (filter.data[0] == '+' || filter.data[0] == '#');
    bool matches = !hidden && match_from(f, 0, t, 0);

    free(f.level);
    free(t.level);
    return matches;
}

/* ---- validity ------------------------------------------------------------ */

/* The code point at data[*pos], or -1; moves *pos over the bytes it took. */
static long
code_point(struct broker_bytes text, size_t *pos)
{
    static const long least[] = {0, 0x80, 0x800, 0x10000};
    uint8_t lead = text.data[(*pos)++];
    int more = lead < 0x80             ? 0
               : (lead & 0xE0) == 0xC0 ? 1
               : (lead & 0xF0) == 0xE0 ? 2
               : (lead & 0xF8) == 0xF0 ? 3
                                       : -1;
    long value;

    if (more < 0) {
        return -1;
    }
    value = more == 0 ? lead : lead & (0x3F >> more);
    for (int i = 0; i < more; i++) {
        if (*pos == text.len || (text.data[*pos] & 0xC0) != 0x80) {
            return -1;
        }
        value = value << 6 | (text.data[(*pos)++] & 0x3F);
    }
    if (value < least[more] || value > 0x10FFFF ||
        (value >= 0xD800 && value <= 0xDFFF)) {
        return -1;
    }
    return value;
}

static bool
text_is_valid(const struct broker_limits *limits, struct broker_bytes text)
{
    struct levels levels;
    size_t count, pos = 0;

    if (text.len == 0 || text.len > limits->max_topic_bytes) {
        return false;
    }
    while (pos < text.len) {
        if (code_point(text, &pos) <= 0) {
            return false;
        }
    }
    levels = split(text);
    count = levels.count;
    free(levels.level);
    return count <= limits->max_topic_levels;
}

static bool
has(struct broker_bytes text, int byte)
{
    return text.len != 0 && memchr(text.data, byte, text.len) != NULL;
}

bool
slow_topic_is_valid(
    const struct broker_limits *limits, struct broker_bytes topic)
{
    return text_is_valid(limits, topic) && !has(topic, '+') && !has(topic, '#');
}

bool
slow_filter_is_valid(
    const struct broker_limits *limits, struct broker_bytes filter)
{
    struct levels levels;
    bool good = text_is_valid(limits, filter);

    if (!good) {
        return false;
    }
    levels = split(filter);
    for (size_t i = 0; i < levels.count; i++) {
        struct broker_bytes level = levels.level[i];

        if (has(level, '+') && level.len != 1) {
            good = false;
        }
        if (has(level, '#') && (level.len != 1 || i + 1 != levels.count)) {
            good = false;
        }
    }
    free(levels.level);
    return good;
}
