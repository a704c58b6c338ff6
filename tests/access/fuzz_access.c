/* SPDX-License-Identifier: MIT
 *
 * libFuzzer target: what broker/access and rights are given. The first byte
 * says what the rest is:
 *
 *     p   a password file
 *     f   two filters and a topic, a line each: what the functions about two
 *         filters say must agree with what the filters match
 *     else  an access file, line by line, this byte included: what is accepted
 *         must give every user rights that agree with themselves
 */
#include <stdlib.h>
#include <string.h>

#include "model.h"
#include "rights.h"

/* So many users of a file are looked at, to keep inputs fast. */
#define USERS_MAX 8

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static const struct access_sources sources = {
    .access_file = "fuzz", .max_topic_bytes = 256, .max_topic_levels = 16};

static void
check(bool good)
{
    if (!good) {
        abort();
    }
}

/* A topic that the filter matches: x for wildcards. */
static struct broker_bytes
topic_of(struct broker_bytes filter)
{
    uint8_t *topic = malloc(filter.len + 1);

    check(topic != NULL);
    for (size_t i = 0; i < filter.len; i++) {
        uint8_t byte = filter.data[i];

        topic[i] = byte == '+' || byte == '#' ? 'x' : byte;
    }
    return (struct broker_bytes){topic, filter.len};
}

/* ---- filters ------------------------------------------------------------- */

static bool
is_filter(struct broker_bytes filter)
{
    static const struct broker_limits limits = BROKER_LIMITS_DEFAULT;

    return broker_filter_check(&limits, filter) == BROKER_OK;
}

static void
check_pair(struct broker_bytes a, struct broker_bytes b)
{
    struct broker_bytes topic = topic_of(b);
    bool overlap = broker_filters_overlap(a, b);

    check(broker_filter_covers(a, a) && broker_filters_overlap(a, a));
    check(overlap == broker_filters_overlap(b, a));
    check(overlap || !broker_filter_covers(a, b));
    check(broker_filter_matches(b, topic));
    check(!broker_filter_covers(a, b) || broker_filter_matches(a, topic));
    check(overlap || !broker_filter_matches(a, topic));
    free((void *)(uintptr_t)topic.data);
}

static void
fuzz_filters(struct broker_bytes text)
{
    const uint8_t *newline =
        text.len > 0 ? memchr(text.data, '\n', text.len) : NULL;
    struct broker_bytes a = text, b;

    if (newline == NULL) {
        return;
    }
    a.len = (size_t)(newline - text.data);
    b = (struct broker_bytes){newline + 1, text.len - a.len - 1};
    if (is_filter(a) && is_filter(b)) {
        check_pair(a, b);
        check_pair(b, a);
    }
}

/* ---- files --------------------------------------------------------------- */

static void
check_rule(
    const struct rights *rights, const struct rule *rule, const char *user)
{
    struct text expanded;
    struct broker_bytes filter, topic;
    const char *why = NULL;
    enum rights_grant grant;
    bool may;

    check(model_expand(rule->filter, user, &expanded));
    filter =
        (struct broker_bytes){(const uint8_t *)expanded.data, expanded.len};
    check(is_filter(filter));
    topic = topic_of(filter);
    may = rights_may_receive(rights, topic);
    grant = rights_may_subscribe(rights, filter, &why);
    check(may ? grant != RIGHTS_DENIED : grant != RIGHTS_GRANTED);
    check((grant == RIGHTS_DENIED) == (why != NULL));
    (void)rights_may_publish(rights, topic, &why);
    check(why != NULL);
    free((void *)(uintptr_t)topic.data);
    free((void *)(uintptr_t)expanded.data);
}

static void
check_user(const struct access *access, const char *user)
{
    struct access_identity identity = {.is_unix = true, .uid = 1, .gid = 1};
    struct rights *rights;

    strncpy(identity.user, user, sizeof identity.user - 1);
    rights = access_rights(access, &identity);
    check(rights != NULL);
    for (size_t i = 0; i < access->rule_count; i++) {
        check_rule(rights, &access->rules[i], user);
    }
    rights_unref(rights);
}

static void
fuzz_file(struct text text, lines_fn fn)
{
    static FILE *nowhere;
    struct access *access = model_new(&sources);
    struct access_report report = {.file = "fuzz"};

    if (nowhere == NULL) {
        nowhere = fopen("/dev/null", "w");
        check(nowhere != NULL && secret_init());
    }
    check(access != NULL);
    report.stream = nowhere;
    lines_read_text(&report, text, fn, access);
    access_file_check(access, &report);
    if (report.count == 0) {
        for (size_t i = 0; i < access->user_count && i < USERS_MAX; i++) {
            check_user(access, access->users[i]->name);
        }
        check_user(access, "nobody");
    }
    access_unref(access);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct text text = {(const char *)data, len};

    if (len == 0) {
        return 0;
    }
    if (data[0] == 'f') {
        fuzz_filters((struct broker_bytes){data + 1, len - 1});
    } else if (data[0] == 'p') {
        text.data++;
        text.len--;
        fuzz_file(text, password_file_line);
    } else {
        fuzz_file(text, access_file_line);
    }
    return 0;
}
