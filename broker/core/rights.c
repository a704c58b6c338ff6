/* SPDX-License-Identifier: MIT
 *
 * Rules of one user; see rights.h. A rule's filter is compiled into what the
 * common forms need: a name is compared as a whole, "a/b/#" by its stem, and of
 * other filters first the bytes in front of their first wildcard.
 */
#include "rights.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "same.h"

enum rule_form {
    RULE_NAME,    /* no wildcard */
    RULE_ALL,     /* "#" */
    RULE_TREE,    /* a stem and "/#", no other wildcard */
    RULE_PATTERN, /* anything else */
};

struct rule {
    uint8_t actions;
    bool allow;
    /* An earlier rule that decides otherwise covers it, for subscribing: it
     * decides nothing and must not make a subscription look divided. */
    bool hidden;
    enum rule_form form;
    size_t stem_bytes; /* in front of "/#", or of the first wildcard */
    struct broker_bytes filter;
    const char *text; /* behind the filter, in the same memory */
};

struct rights {
    _Atomic size_t references;
    bool unlimited; /* everything is allowed; no rules */
    size_t count, cap;
    struct rule *rules;
};

struct rights *
rights_new(void)
{
    struct rights *rights = calloc(1, sizeof *rights);

    if (rights != NULL) {
        atomic_init(&rights->references, 1);
    }
    return rights;
}

struct rights *
rights_new_unlimited(void)
{
    struct rights *rights = rights_new();

    if (rights != NULL) {
        rights->unlimited = true;
    }
    return rights;
}

struct rights *
rights_ref(struct rights *rights)
{
    atomic_fetch_add_explicit(&rights->references, 1, memory_order_relaxed);
    return rights;
}

static void
rights_free(struct rights *rights)
{
    for (size_t i = 0; i < rights->count; i++) {
        free((void *)(uintptr_t)rights->rules[i].filter.data);
    }
    free(rights->rules);
    free(rights);
}

void
rights_unref(struct rights *rights)
{
    /* What others did with it happens before it is freed. */
    if (rights != NULL && atomic_fetch_sub_explicit(&rights->references, 1,
                              memory_order_acq_rel) == 1) {
        rights_free(rights);
    }
}

/* ---- building ------------------------------------------------------------ */

static bool
filter_is_valid(struct broker_bytes filter)
{
    static const struct broker_limits limits = {
        .max_topic_bytes = UINT16_MAX, .max_topic_levels = UINT16_MAX};

    return broker_filter_check(&limits, filter) == BROKER_OK;
}

static void
rule_compile(struct rule *rule)
{
    const uint8_t *data = rule->filter.data;
    size_t len = rule->filter.len, stem = 0;

    while (stem < len && data[stem] != '+' && data[stem] != '#') {
        stem++;
    }
    rule->stem_bytes = stem;
    if (stem == len) {
        rule->form = RULE_NAME;
    } else if (data[stem] == '+') {
        rule->form = RULE_PATTERN;
    } else if (stem == 0) {
        rule->form = RULE_ALL;
    } else {
        rule->form = RULE_TREE;
        rule->stem_bytes--; /* without the slash */
    }
}

/* Is there an earlier rule that leaves nothing for this one to decide about,
 * and decides otherwise? One that decides the same way does not matter. */
static bool
rule_is_hidden(const struct rights *rights, const struct rule *rule)
{
    for (size_t i = 0; i < rights->count; i++) {
        const struct rule *earlier = &rights->rules[i];

        if (earlier->allow != rule->allow &&
            (earlier->actions & RIGHTS_SUBSCRIBE) != 0 &&
            broker_filter_covers(earlier->filter, rule->filter)) {
            return true;
        }
    }
    return false;
}

static bool
make_room(struct rights *rights)
{
    size_t cap = rights->cap == 0 ? 4 : rights->cap * 2;
    struct rule *rules;

    if (rights->count < rights->cap) {
        return true;
    }
    rules = realloc(rights->rules, cap * sizeof *rules);
    if (rules == NULL) {
        return false;
    }
    rights->rules = rules;
    rights->cap = cap;
    return true;
}

bool
rights_add(struct rights *rights, bool allow, unsigned actions,
    struct broker_bytes filter, const char *text)
{
    size_t text_bytes = strlen(text) + 1;
    struct rule rule = {.actions = (uint8_t)actions, .allow = allow};
    uint8_t *memory;

    assert(atomic_load(&rights->references) == 1 && !rights->unlimited);
    if (!filter_is_valid(filter) || !make_room(rights)) {
        return false;
    }
    memory = malloc(filter.len + text_bytes);
    if (memory == NULL) {
        return false;
    }
    memcpy(memory, filter.data, filter.len);
    memcpy(memory + filter.len, text, text_bytes);
    rule.filter = (struct broker_bytes){memory, filter.len};
    rule.text = (const char *)memory + filter.len;
    rule_compile(&rule);
    rule.hidden = rule_is_hidden(rights, &rule);
    rights->rules[rights->count++] = rule;
    return true;
}

/* ---- asking -------------------------------------------------------------- */

static bool
rule_matches(const struct rule *rule, struct broker_bytes topic)
{
    const size_t stem = rule->stem_bytes;

    switch (rule->form) {
    case RULE_NAME:
        return topic.len == stem &&
               same_bytes(topic.data, rule->filter.data, stem);
    case RULE_ALL:
        return topic.data[0] != '$';
    case RULE_TREE:
        return topic.len >= stem &&
               (topic.len == stem || topic.data[stem] == '/') &&
               same_bytes(topic.data, rule->filter.data, stem);
    case RULE_PATTERN:
        break;
    }
    return topic.len >= stem &&
           same_bytes(topic.data, rule->filter.data, stem) &&
           broker_filter_matches(rule->filter, topic);
}

/* The rule that decides, or NULL. */
static const struct rule *
find_rule(const struct rights *rights, enum rights_action action,
    struct broker_bytes topic)
{
    for (size_t i = 0; i < rights->count; i++) {
        const struct rule *rule = &rights->rules[i];

        if ((rule->actions & action) != 0 && rule_matches(rule, topic)) {
            return rule;
        }
    }
    return NULL;
}

bool
rights_may_publish(
    const struct rights *rights, struct broker_bytes topic, const char **rule)
{
    const struct rule *found = find_rule(rights, RIGHTS_PUBLISH, topic);

    if (rule != NULL) {
        *rule = found != NULL ? found->text : RIGHTS_NO_RULE;
    }
    return found != NULL ? found->allow : rights->unlimited;
}

bool
rights_may_receive(const struct rights *rights, struct broker_bytes topic)
{
    const struct rule *found = find_rule(rights, RIGHTS_SUBSCRIBE, topic);

    return found != NULL ? found->allow : rights->unlimited;
}

enum rights_grant
rights_may_subscribe(
    const struct rights *rights, struct broker_bytes filter, const char **rule)
{
    bool some_allowed = rights->unlimited, some_denied = false;
    bool last = rights->unlimited;
    const char *text = RIGHTS_NO_RULE;

    for (size_t i = 0; i < rights->count && !last; i++) {
        const struct rule *next = &rights->rules[i];

        if (next->hidden || (next->actions & RIGHTS_SUBSCRIBE) == 0 ||
            !broker_filters_overlap(next->filter, filter)) {
            continue;
        }
        /* Nothing is left for the rules that follow. */
        last = broker_filter_covers(next->filter, filter);
        if (last) {
            text = next->text;
        }
        some_allowed |= next->allow;
        some_denied |= !next->allow;
    }
    if (!last) {
        some_denied = true; /* no rule: what is left is denied */
    }
    if (!some_allowed) {
        if (rule != NULL) {
            *rule = text;
        }
        return RIGHTS_DENIED;
    }
    return some_denied ? RIGHTS_PARTLY : RIGHTS_GRANTED;
}
