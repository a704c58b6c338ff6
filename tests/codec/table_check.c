/* SPDX-License-Identifier: MIT
 *
 * The tables of proto/vectors: topics, filters, groups, matches, UTF-8 and
 * addresses.
 */
#include "check.h"

#include <stdlib.h>
#include <string.h>

#include <broker/address.h>

#include "slow_match.h"

static bool
line_is(const struct vector_line *line, const char *key)
{
    return strcmp(line->word[0], key) == 0;
}

/* Word 1 as yes or no. */
static bool
line_verdict(const struct vector_line *line, const char *yes, const char *no)
{
    if (line->words < 3 ||
        (strcmp(line->word[1], yes) != 0 && strcmp(line->word[1], no) != 0)) {
        vector_fatal(line, "no verdict");
    }
    return strcmp(line->word[1], yes) == 0;
}

/* ---- topics -------------------------------------------------------------- */

static void
check_name(struct check_report *report, const struct vector_line *line,
    const struct broker_limits *limits)
{
    struct vector_bytes bytes = vector_get_word(line, 2);
    struct broker_bytes name = {bytes.data, bytes.len};
    bool good = line_verdict(line, "ok", "bad");
    enum broker_status status, bad;

    if (line_is(line, "topic")) {
        bad = BROKER_E_BAD_TOPIC;
        status = broker_topic_check(limits, name);
    } else if (line_is(line, "filter")) {
        bad = BROKER_E_BAD_FILTER;
        status = broker_filter_check(limits, name);
    } else if (line_is(line, "group")) {
        bad = BROKER_E_BAD_GROUP;
        status = broker_group_check(name);
    } else {
        vector_fatal(line, "unknown key");
    }
    check_that(report, line, status == (good ? BROKER_OK : bad),
        "gives %s for %s %s", broker_status_name(status), line->word[0],
        line->word[2]);
    free(bytes.data);
}

static void
check_match(struct check_report *report, const struct vector_line *line,
    const struct broker_limits *limits)
{
    struct vector_bytes filter = vector_get_word(line, 2);
    struct vector_bytes topic = vector_get_word(line, 3);
    struct broker_bytes f = {filter.data, filter.len};
    struct broker_bytes t = {topic.data, topic.len};
    bool wanted = line_verdict(line, "yes", "no");

    check_that(report, line,
        broker_filter_check(limits, f) == BROKER_OK &&
            broker_topic_check(limits, t) == BROKER_OK,
        "filter or topic is not valid");
    check_that(report, line, broker_filter_matches(f, t) == wanted,
        "%s and %s: wrong", line->word[2], line->word[3]);
    check_that(report, line, slow_match(f, t) == wanted,
        "%s and %s: the slow matcher is wrong", line->word[2], line->word[3]);
    free(filter.data);
    free(topic.data);
}

void
check_topics(struct check_report *report, const char *dir)
{
    struct broker_limits limits = BROKER_LIMITS_DEFAULT;
    struct vector_file file;

    vector_load(&file, dir, "topics.txt");
    for (size_t i = 0; i < file.count; i++) {
        const struct vector_line *line = &file.lines[i];

        if (line_is(line, "limits")) {
            limits.max_topic_bytes = (uint16_t)vector_get_number(line, 1, NULL);
            limits.max_topic_levels =
                (uint16_t)vector_get_number(line, 2, NULL);
        } else if (line_is(line, "match")) {
            check_match(report, line, &limits);
        } else {
            check_name(report, line, &limits);
        }
    }
    vector_unload(&file);
}

void
check_text(struct check_report *report, const char *dir)
{
    struct vector_file file;

    vector_load(&file, dir, "text.txt");
    for (size_t i = 0; i < file.count; i++) {
        const struct vector_line *line = &file.lines[i];
        struct vector_bytes bytes = vector_get_word(line, 2);
        struct broker_bytes text = {bytes.data, bytes.len};

        check_that(report, line,
            broker_utf8_check(text) == line_verdict(line, "ok", "bad"),
            "wrong for %s", line->word[2]);
        free(bytes.data);
    }
    vector_unload(&file);
}

/* ---- addresses ----------------------------------------------------------- */

/* Word i as a string that the caller frees. */
static char *
line_text(const struct vector_line *line, size_t i)
{
    struct vector_bytes bytes = vector_get_word(line, i);
    char *text = realloc(bytes.data, bytes.len + 1);

    if (text == NULL) {
        vector_fatal(line, "out of memory");
    }
    text[bytes.len] = '\0';
    return text;
}

static bool
text_is(const struct vector_line *line, size_t i, const char *text)
{
    char *wanted = line_text(line, i);
    bool same = strcmp(wanted, text) == 0;

    free(wanted);
    return same;
}

static bool
address_is(const struct vector_line *line, const struct broker_address *address)
{
    if (!line_is(line, "unix")) {
        return address->kind == (line_is(line, "tls") ? BROKER_ADDRESS_TLS
                                                      : BROKER_ADDRESS_TCP) &&
               text_is(line, 2, address->host) &&
               text_is(line, 3, address->port);
    }
    return address->kind == BROKER_ADDRESS_UNIX &&
           text_is(line, 2, address->path);
}

static void
check_good_address(struct check_report *report, const struct vector_line *line)
{
    struct broker_address address, again;
    char formatted[BROKER_ADDRESS_TEXT_MAX];
    char *text = line_text(line, 1);
    enum broker_status status = broker_address_parse(text, &address, NULL);

    check_that(report, line, status == BROKER_OK && address_is(line, &address),
        "not read as it should be");
    if (status == BROKER_OK) {
        check_that(report, line,
            broker_address_format(&address, formatted, sizeof formatted) ==
                    formatted &&
                text_is(line, line_is(line, "unix") ? 1 : 4, formatted),
            "written as %s", formatted);
        check_that(report, line,
            broker_address_parse(formatted, &again, NULL) == BROKER_OK &&
                memcmp(&address, &again, sizeof address) == 0,
            "does not survive being written and read");
    }
    free(text);
}

static void
check_bad_address(struct check_report *report, const struct vector_line *line)
{
    struct broker_address address;
    const char *why = NULL;
    char *text = line_text(line, 1);

    memset(&address, 0x5A, sizeof address);
    check_that(report, line,
        broker_address_parse(text, &address, &why) == BROKER_E_BAD_ADDRESS,
        "is accepted");
    check_that(report, line, why != NULL && why[0] != '\0', "no reason");
    check_that(report, line, address.host[0] == 0x5A && address.path[0] == 0x5A,
        "output written on error");
    free(text);
}

static void
check_default(struct check_report *report, const struct vector_line *line)
{
    struct broker_address address;
    char *dir = line_text(line, 1);
    enum broker_status status = broker_address_default(dir, &address);

    if (line_is(line, "default-bad")) {
        check_that(report, line, status == BROKER_E_BAD_ADDRESS, "is accepted");
    } else {
        check_that(report, line,
            status == BROKER_OK && address.kind == BROKER_ADDRESS_UNIX &&
                text_is(line, 2, address.path),
            "gives another path");
    }
    free(dir);
}

void
check_addresses(struct check_report *report, const char *dir)
{
    struct vector_file file;

    vector_load(&file, dir, "addresses.txt");
    for (size_t i = 0; i < file.count; i++) {
        const struct vector_line *line = &file.lines[i];

        if (line_is(line, "tcp") || line_is(line, "tls") ||
            line_is(line, "unix")) {
            check_good_address(report, line);
        } else if (line_is(line, "bad")) {
            check_bad_address(report, line);
        } else {
            check_default(report, line);
        }
    }
    vector_unload(&file);
}
