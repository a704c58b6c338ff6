/* SPDX-License-Identifier: MIT
 *
 * Statements of the access file; the format is in brokerd.access(5).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <broker/codec.h>

#include "accounts.h"
#include "model.h"
#include "rights.h"

/* What a user's rules cost when they are put together grows with the square of
 * their number. */
#define RULES_MAX 4096

static const char group_form[] = "group NAME [USER...]";
static const char unix_form[] =
    "unix USER UID|ACCOUNT, or unix @GROUP GID|GROUPNAME";
static const char certificate_form[] = "certificate USER SUBJECT";
static const char rule_form[] =
    "allow|deny USER|@GROUP|* publish|subscribe|all FILTER";

/* The statement that is being read. */
struct reader {
    struct access *access;
    struct access_report *report;
};

static void
out_of_memory(struct reader *reader)
{
    access_report(reader->report, "out of memory");
}

static void
complain_form(struct reader *reader, const char *form)
{
    access_report(reader->report, "not of the form: %s", form);
}

/* ---- names --------------------------------------------------------------- */

static bool
check_name(struct reader *reader, struct text name)
{
    char shown[ACCESS_SHOWN_BYTES];

    if (secret_name_is_valid(name.data, name.len)) {
        return true;
    }
    access_report(reader->report, "%s: %s",
        access_show(name.data, name.len, shown), SECRET_NAME_RULE);
    return false;
}

/* A user whom the file names; NULL: an error was reported. */
static struct user *
read_user(struct reader *reader, struct text name)
{
    struct user *user;

    if (!check_name(reader, name)) {
        return NULL;
    }
    user = model_user(reader->access, name);
    if (user == NULL) {
        out_of_memory(reader);
    }
    return user;
}

/* The same, of somebody who becomes this user by a statement of the file. */
static struct user *
read_new_user(struct reader *reader, struct text name)
{
    char shown[ACCESS_SHOWN_BYTES];

    if (secret_name_is_reserved(name.data, name.len)) {
        access_report(reader->report,
            "%s is a name that brokerd gives itself; choose another one",
            access_show(name.data, name.len, shown));
        return NULL;
    }
    return read_user(reader, name);
}

/* A group, without its @. */
static struct user_group *
read_group(struct reader *reader, struct text name)
{
    struct user_group *group;

    if (!check_name(reader, name)) {
        return NULL;
    }
    group = model_group(reader->access, name);
    if (group == NULL) {
        out_of_memory(reader);
    }
    return group;
}

static struct user_group *
use_group(struct reader *reader, struct text name)
{
    struct user_group *group = read_group(reader, name);

    if (group != NULL && group->used == 0) {
        group->used = reader->report->line;
    }
    return group;
}

static struct text
behind_at(struct text name)
{
    return (struct text){name.data + 1, name.len - 1};
}

/* ---- group --------------------------------------------------------------- */

static bool
is_member(const struct user *user, const struct user_group *group)
{
    for (size_t i = 0; i < user->group_count; i++) {
        if (user->groups[i] == group) {
            return true;
        }
    }
    return false;
}

static void
read_member(struct reader *reader, struct user_group *group, struct text name)
{
    struct user *user = read_user(reader, name);
    struct user_group **place;

    if (user == NULL) {
        return;
    }
    if (is_member(user, group)) {
        access_report(reader->report,
            "%s is in this group already; name every member once", user->name);
        return;
    }
    place =
        model_append((void **)&user->groups, &user->group_count, sizeof group);
    if (place == NULL) {
        out_of_memory(reader);
        return;
    }
    *place = group;
}

static void
read_group_statement(struct reader *reader, struct text rest)
{
    struct text name = text_cut_word(&rest);
    struct user_group *group;

    if (name.len == 0) {
        complain_form(reader, group_form);
        return;
    }
    if (name.data[0] == '@') {
        access_report(reader->report,
            "the name of a group stands here without its @: %s", group_form);
        return;
    }
    group = read_group(reader, name);
    if (group == NULL) {
        return;
    }
    if (group->declared != 0) {
        access_report(reader->report,
            "group %s is there already, in line %u; put all members into one "
            "line",
            group->name, group->declared);
        return;
    }
    group->declared = reader->report->line;
    while (rest.len > 0) {
        read_member(reader, group, text_cut_word(&rest));
    }
}

/* ---- unix ---------------------------------------------------------------- */

static void
complain_account(struct reader *reader, struct text word, bool is_group,
    enum accounts_result result)
{
    const char *what = is_group ? "group" : "account";
    char shown[ACCESS_SHOWN_BYTES];

    access_show(word.data, word.len, shown);
    if (result == ACCOUNTS_NONE) {
        access_report(reader->report,
            "this machine has no %s %s; correct it, or write its number", what,
            shown);
    } else {
        access_report(reader->report,
            "could not look up the %s %s; try again, or write its number", what,
            shown);
    }
}

/* Is the id taken? A uid is one user; a gid may be in several groups. */
static bool
is_mapped(struct reader *reader, uint32_t id, const struct user_group *group)
{
    for (size_t i = 0; i < reader->access->account_count; i++) {
        const struct account *account = &reader->access->accounts[i];

        if (account->id == id && account->group == group) {
            access_report(reader->report,
                "%s %u is mapped already, in line %u; remove one of the two",
                group != NULL ? "gid" : "uid", (unsigned)id, account->line);
            return true;
        }
    }
    return false;
}

static void
read_unix_statement(struct reader *reader, struct text rest)
{
    struct text name = text_cut_word(&rest), word = text_cut_word(&rest);
    bool is_group = name.len > 0 && name.data[0] == '@';
    struct user_group *group = NULL;
    struct user *user = NULL;
    struct account *account;
    enum accounts_result result;
    uint32_t id;

    if (word.len == 0 || rest.len > 0) {
        complain_form(reader, unix_form);
        return;
    }
    if (is_group) {
        group = use_group(reader, behind_at(name));
    } else {
        user = read_new_user(reader, name);
    }
    result = accounts_find(word, is_group, &id);
    if (result != ACCOUNTS_FOUND) {
        complain_account(reader, word, is_group, result);
        return;
    }
    if ((user == NULL && group == NULL) || is_mapped(reader, id, group)) {
        return;
    }
    account = model_append((void **)&reader->access->accounts,
        &reader->access->account_count, sizeof *account);
    if (account == NULL) {
        out_of_memory(reader);
        return;
    }
    *account = (struct account){id, reader->report->line, user, group};
}

/* ---- certificate --------------------------------------------------------- */

static bool
is_certified(struct reader *reader, struct text subject)
{
    for (size_t i = 0; i < reader->access->certificate_count; i++) {
        const struct certificate *certificate =
            &reader->access->certificates[i];

        if (text_is(subject, certificate->subject)) {
            access_report(reader->report,
                "this subject is a user already, in line %u; remove one of the "
                "two",
                certificate->line);
            return true;
        }
    }
    return false;
}

static void
read_certificate_statement(struct reader *reader, struct text rest)
{
    struct text name = text_cut_word(&rest);
    struct certificate *certificate;
    struct user *user;
    char *subject;

    if (rest.len == 0) {
        complain_form(reader, certificate_form);
        return;
    }
    user = read_new_user(reader, name);
    if (user == NULL || is_certified(reader, rest)) {
        return;
    }
    subject = strndup(rest.data, rest.len);
    certificate =
        subject == NULL
            ? NULL
            : model_append((void **)&reader->access->certificates,
                  &reader->access->certificate_count, sizeof *certificate);
    if (certificate == NULL) {
        out_of_memory(reader);
        free(subject);
        return;
    }
    *certificate = (struct certificate){
        subject, strchr(subject, '=') != NULL, reader->report->line, user};
    user->has_certificate = true;
}

/* ---- allow, deny --------------------------------------------------------- */

static bool
read_who(struct reader *reader, struct text who, struct rule *rule)
{
    if (text_is(who, "*")) {
        return true;
    }
    if (text_is(who, ACCESS_OWNER)) {
        access_report(reader->report,
            "no rule concerns owner, who may always do everything; remove it");
        return false;
    }
    if (who.data[0] == '@') {
        rule->group = use_group(reader, behind_at(who));
    } else {
        rule->user = read_user(reader, who);
    }
    return rule->group != NULL || rule->user != NULL;
}

static bool
read_actions(struct reader *reader, struct text word, struct rule *rule)
{
    char shown[ACCESS_SHOWN_BYTES];

    if (text_is(word, "publish")) {
        rule->actions = RIGHTS_PUBLISH;
    } else if (text_is(word, "subscribe")) {
        rule->actions = RIGHTS_SUBSCRIBE;
    } else if (text_is(word, "all")) {
        rule->actions = RIGHTS_PUBLISH | RIGHTS_SUBSCRIBE;
    } else {
        access_report(reader->report,
            "%s: write publish, subscribe or all here",
            access_show(word.data, word.len, shown));
        return false;
    }
    return true;
}

/* The filter as one word, or in double quotes if it has blanks. */
static bool
cut_filter(struct reader *reader, struct text *rest, struct text *filter)
{
    const char *quote;

    if (rest->data[0] != '"') {
        *filter = text_cut_word(rest);
    } else {
        quote = memchr(rest->data + 1, '"', rest->len - 1);
        if (quote == NULL) {
            access_report(reader->report,
                "a filter that begins with \" must end with \"");
            return false;
        }
        *filter =
            (struct text){rest->data + 1, (size_t)(quote - rest->data) - 1};
        rest->len -= filter->len + 2;
        rest->data = quote + 1;
        *rest = text_trim(*rest);
    }
    if (rest->len > 0) {
        access_report(reader->report,
            "something stands behind the filter; put a filter with blanks into "
            "double quotes, and a comment into a line of its own");
        return false;
    }
    return true;
}

/* Would the filter be one whatever the user's name is? */
static bool
check_filter(struct reader *reader, struct text filter)
{
    static const char longest[] = "uuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuu"
                                  "uuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuu";
    const struct broker_limits limits = {
        .max_topic_bytes = reader->access->max_topic_bytes,
        .max_topic_levels = reader->access->max_topic_levels};
    struct text expanded;
    bool good;

    _Static_assert(sizeof longest == ACCESS_NAME_BYTES_MAX + 1, "the longest");
    for (size_t i = 0; i < filter.len; i++) {
        if (filter.data[i] == '%' &&
            (++i == filter.len ||
                (filter.data[i] != 'u' && filter.data[i] != '%'))) {
            access_report(reader->report,
                "behind a %% in a filter stands u, for the user's name, or "
                "another %%, for %% itself");
            return false;
        }
    }
    if (!model_expand(filter, longest, &expanded)) {
        out_of_memory(reader);
        return false;
    }
    good = broker_filter_check(
               &limits, (struct broker_bytes){(const uint8_t *)expanded.data,
                            expanded.len}) == BROKER_OK;
    free((char *)(uintptr_t)expanded.data);
    if (!good) {
        char shown[ACCESS_SHOWN_BYTES];

        access_report(reader->report,
            "%s is no filter: at most %u bytes (with a name of 64 for %%u) and "
            "%u levels of UTF-8, + alone in a level, # alone in the last",
            access_show(filter.data, filter.len, shown),
            (unsigned)limits.max_topic_bytes,
            (unsigned)limits.max_topic_levels);
    }
    return good;
}

/* Keep the rule as a person reads it, for error frames:
 * "deny alice publish secret/#  (access file, line 7)". */
static bool
describe(struct rule *rule, struct text who, struct text action)
{
    char front[128]; /* names are checked: it fits */
    int n = snprintf(front, sizeof front, "%s %.*s %.*s ",
        rule->allow ? "allow" : "deny", (int)who.len, who.data, (int)action.len,
        action.data);

    if (asprintf(&rule->text, "%s%.*s  (access file, line %u)", front,
            (int)rule->filter.len, rule->filter.data, rule->line) < 0) {
        rule->text = NULL;
        return false;
    }
    rule->filter.data = rule->text + n;
    return true;
}

/* Has an earlier rule decided all that this one is about? Only the plain
 * case: the same filter for the same users. */
static bool
is_decided(struct reader *reader, const struct rule *rule)
{
    for (size_t i = 0; i < reader->access->rule_count; i++) {
        const struct rule *earlier = &reader->access->rules[i];

        if (earlier->user == rule->user && earlier->group == rule->group &&
            (rule->actions & ~earlier->actions) == 0 &&
            earlier->filter.len == rule->filter.len &&
            memcmp(earlier->filter.data, rule->filter.data, rule->filter.len) ==
                0) {
            access_report(reader->report,
                "line %u decides this already, and the first rule that matches "
                "counts; remove one of the two",
                earlier->line);
            return true;
        }
    }
    return false;
}

static void
keep_rule(struct reader *reader, struct rule *rule, struct text who,
    struct text action)
{
    struct rule *place;

    if (reader->access->rule_count == RULES_MAX) {
        access_report(reader->report,
            "more than %d rules; say more with groups, %%u and wildcards",
            RULES_MAX);
        return;
    }
    if (!describe(rule, who, action)) {
        out_of_memory(reader);
        return;
    }
    place = model_append((void **)&reader->access->rules,
        &reader->access->rule_count, sizeof *place);
    if (place == NULL) {
        out_of_memory(reader);
        free(rule->text);
        return;
    }
    *place = *rule;
}

static void
read_rule(struct reader *reader, bool allow, struct text rest)
{
    struct rule rule = {.allow = allow, .line = reader->report->line};
    struct text who = text_cut_word(&rest), action = text_cut_word(&rest);
    bool good;

    if (rest.len == 0) {
        complain_form(reader, rule_form);
        return;
    }
    good = read_who(reader, who, &rule);
    good = read_actions(reader, action, &rule) && good;
    good = cut_filter(reader, &rest, &rule.filter) &&
           check_filter(reader, rule.filter) && good;
    if (good && !is_decided(reader, &rule)) {
        keep_rule(reader, &rule, who, action);
    }
}

static void
read_allow_statement(struct reader *reader, struct text rest)
{
    read_rule(reader, true, rest);
}

static void
read_deny_statement(struct reader *reader, struct text rest)
{
    read_rule(reader, false, rest);
}

/* ---- the file ------------------------------------------------------------ */

struct statement {
    const char *word;
    void (*read)(struct reader *reader, struct text rest);
};

static const struct statement statements[] = {
    {"group", read_group_statement},
    {"unix", read_unix_statement},
    {"certificate", read_certificate_statement},
    {"allow", read_allow_statement},
    {"deny", read_deny_statement},
};

void
access_file_line(struct text line, struct access_report *report, void *argument)
{
    struct reader reader = {argument, report};
    struct text rest = line, word = text_cut_word(&rest);
    char shown[ACCESS_SHOWN_BYTES];

    for (size_t i = 0; i < sizeof statements / sizeof statements[0]; i++) {
        if (text_is(word, statements[i].word)) {
            statements[i].read(&reader, rest);
            return;
        }
    }
    access_report(report,
        "unknown statement %s; there are group, unix, certificate, allow and "
        "deny",
        access_show(word.data, word.len, shown));
}

void
access_file_check(struct access *access, struct access_report *report)
{
    for (size_t i = 0; i < access->group_count; i++) {
        const struct user_group *group = access->groups[i];

        if (group->declared == 0 && group->used != 0) {
            report->line = group->used;
            access_report(report,
                "there is no group %s; correct the name, or add a line: group "
                "%s USER...",
                group->name, group->name);
        }
    }
}
