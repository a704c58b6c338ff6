/* SPDX-License-Identifier: MIT
 *
 * Topic names, filters and queue group names, which filter matches which name
 * (PROTOCOL.md section 6; MQTT 3.1.1 section 4.7), and what two filters have in
 * common. Comparison is byte by byte. Knows nothing of subscriptions; brokers
 * that match one name against many filters need an index of their own, for
 * which this is the measure.
 */
#include <broker/codec.h>

#include <string.h>

#include "message.h"

/* Walk well-formed UTF-8 without NUL. Gives the number of levels, 0 if it is
 * not well formed or empty. *wildcard tells whether + or # occurs at all. */
static size_t
levels_count(struct broker_bytes text, bool *wildcard)
{
    size_t levels = 1, pos = 0;

    *wildcard = false;
    if (text.len == 0) {
        return 0;
    }
    while (pos < text.len) {
        uint8_t byte = text.data[pos];
        size_t bytes = 1;

        if (byte >= 0x80) {
            bytes = codec_utf8_sequence(text.data + pos, text.len - pos);
        }
        if (byte == 0 || bytes == 0) {
            return 0;
        }
        levels += byte == '/';
        *wildcard |= byte == '+' || byte == '#';
        pos += bytes;
    }
    return levels;
}

bool
codec_topic_is_well_formed(struct broker_bytes topic)
{
    bool wildcard;

    return levels_count(topic, &wildcard) != 0 && !wildcard;
}

enum broker_status
broker_topic_check(
    const struct broker_limits *limits, struct broker_bytes topic)
{
    bool wildcard;
    size_t levels;

    /* Length first: it bounds the walk. */
    if (topic.len > limits->max_topic_bytes) {
        return BROKER_E_BAD_TOPIC;
    }
    levels = levels_count(topic, &wildcard);
    if (levels == 0 || levels > limits->max_topic_levels || wildcard) {
        return BROKER_E_BAD_TOPIC;
    }
    return BROKER_OK;
}

/* Does every + stand alone in its level, and every # alone in the last? */
static bool
wildcards_are_placed(struct broker_bytes filter)
{
    for (size_t i = 0; i < filter.len; i++) {
        uint8_t byte = filter.data[i];
        bool first = i == 0 || filter.data[i - 1] == '/';
        bool last = i + 1 == filter.len;

        if (byte == '#' && !(first && last)) {
            return false;
        }
        if (byte == '+' && !(first && (last || filter.data[i + 1] == '/'))) {
            return false;
        }
    }
    return true;
}

enum broker_status
broker_filter_check(
    const struct broker_limits *limits, struct broker_bytes filter)
{
    bool wildcard;
    size_t levels;

    if (filter.len > limits->max_topic_bytes) {
        return BROKER_E_BAD_FILTER;
    }
    levels = levels_count(filter, &wildcard);
    if (levels == 0 || levels > limits->max_topic_levels ||
        (wildcard && !wildcards_are_placed(filter))) {
        return BROKER_E_BAD_FILTER;
    }
    return BROKER_OK;
}

enum broker_status
broker_group_check(struct broker_bytes group)
{
    bool wildcard;

    if (group.len > BROKER_GROUP_BYTES_MAX ||
        levels_count(group, &wildcard) != 1 || wildcard) {
        return BROKER_E_BAD_GROUP;
    }
    return BROKER_OK;
}

/* ---- matching ------------------------------------------------------------ */

/* One level of a text and what follows it. */
struct level {
    struct broker_bytes name;
    struct broker_bytes rest;
    bool last; /* no / after it: rest is nothing, not an empty level */
};

static struct level
level_cut(struct broker_bytes text)
{
    struct level level = {text, {NULL, 0}, true};
    const uint8_t *slash =
        text.len != 0 ? memchr(text.data, '/', text.len) : NULL;

    if (slash != NULL) {
        level.name.len = (size_t)(slash - text.data);
        level.rest.data = slash + 1;
        level.rest.len = text.len - level.name.len - 1;
        level.last = false;
    }
    return level;
}

static bool
level_is(struct broker_bytes level, char wildcard)
{
    return level.len == 1 && level.data[0] == (uint8_t)wildcard;
}

static bool
levels_match(struct broker_bytes filter, struct broker_bytes topic)
{
    if (level_is(filter, '+')) {
        return true;
    }
    return filter.len == topic.len &&
           (filter.len == 0 ||
               memcmp(filter.data, topic.data, filter.len) == 0);
}

/* Topics that begin with $ are not matched by a filter that begins with a
 * wildcard, and a filter that begins with $ has no other topics. */
static bool
is_hidden_from(struct broker_bytes text, struct level first)
{
    return text.len != 0 && text.data[0] == '$' &&
           (level_is(first.name, '+') || level_is(first.name, '#'));
}

bool
broker_filter_matches(struct broker_bytes filter, struct broker_bytes topic)
{
    struct level f = level_cut(filter), t = level_cut(topic);

    if (is_hidden_from(topic, f)) {
        return false;
    }
    for (;;) {
        if (level_is(f.name, '#')) {
            return true;
        }
        if (!levels_match(f.name, t.name)) {
            return false;
        }
        if (t.last) {
            /* "a/#" matches "a" itself. */
            return f.last || level_is(f.rest, '#');
        }
        if (f.last) {
            return false;
        }
        f = level_cut(f.rest);
        t = level_cut(t.rest);
    }
}

/* ---- two filters --------------------------------------------------------- */

/* A # takes no level or more, but that of "#" and that of "/#" take at least
 * one: there is no empty topic that they could match without. */
static bool
takes_a_level(struct broker_bytes filter)
{
    return filter.data[filter.len - 1] == '#' &&
           (filter.len == 1 || (filter.len == 2 && filter.data[0] == '/'));
}

bool
broker_filter_covers(struct broker_bytes wide, struct broker_bytes narrow)
{
    struct level w = level_cut(wide), n = level_cut(narrow);

    if (is_hidden_from(narrow, w)) {
        return false;
    }
    for (;;) {
        if (level_is(w.name, '#')) {
            return true;
        }
        if (level_is(n.name, '#')) {
            /* Only "+/#" is as good as a # that takes a level. */
            return takes_a_level(narrow) && level_is(w.name, '+') &&
                   level_is(w.rest, '#');
        }
        /* Names are not bounded in number: a + of `narrow` has topics that no
         * name in `wide` has. */
        if (!levels_match(w.name, n.name)) {
            return false;
        }
        if (n.last) {
            return w.last || level_is(w.rest, '#');
        }
        if (w.last) {
            return false;
        }
        w = level_cut(w.rest);
        n = level_cut(n.rest);
    }
}

/* Do the levels that were walked make a topic that the filter matches, if no
 * other level follows? */
static bool
may_end(struct broker_bytes filter, struct level level)
{
    return level.last || (level_is(level.rest, '#') && !takes_a_level(filter));
}

bool
broker_filters_overlap(struct broker_bytes a, struct broker_bytes b)
{
    struct level la = level_cut(a), lb = level_cut(b);

    if (is_hidden_from(a, lb) || is_hidden_from(b, la)) {
        return false;
    }
    for (;;) {
        if (level_is(la.name, '#') || level_is(lb.name, '#')) {
            return true;
        }
        if (!levels_match(la.name, lb.name) &&
            !levels_match(lb.name, la.name)) {
            return false;
        }
        if (la.last || lb.last) {
            return may_end(a, la) && may_end(b, lb);
        }
        la = level_cut(la.rest);
        lb = level_cut(lb.rest);
    }
}
