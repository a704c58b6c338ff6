/* SPDX-License-Identifier: MIT
 *
 * The life of struct access, and what it answers. What the files look like is
 * password_file.c's and access_file.c's business.
 */
#include "access.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "model.h"
#include "rights.h"

static struct broker_bytes
bytes_of(struct text text)
{
    return (struct broker_bytes){(const uint8_t *)text.data, text.len};
}

/* ---- life ---------------------------------------------------------------- */

static unsigned
read_files(
    struct access *access, const struct access_sources *sources, FILE *errors)
{
    struct access_report password = {
        .stream = errors, .file = sources->password_file};
    struct access_report rules = {
        .stream = errors, .file = sources->access_file};

    if (sources->password_file != NULL) {
        lines_read_file(&password, LINES_SECRET, password_file_line, access);
    }
    if (sources->access_file != NULL) {
        lines_read_file(&rules, LINES_TRUSTED, access_file_line, access);
        access_file_check(access, &rules);
    }
    return password.count + rules.count;
}

struct access *
access_load(const struct access_sources *sources, FILE *errors)
{
    struct access *access;

    if (!secret_init()) {
        fprintf(errors, "this system gives no random numbers\n");
        return NULL;
    }
    access = model_new(sources);
    if (access == NULL) {
        fprintf(errors, "users and rules: out of memory\n");
    } else if (read_files(access, sources, errors) == 0) {
        return access;
    }
    access_unref(access);
    return NULL;
}

struct access *
access_ref(struct access *access)
{
    atomic_fetch_add_explicit(&access->references, 1, memory_order_relaxed);
    return access;
}

void
access_unref(struct access *access)
{
    /* What others did with it happens before it is freed. */
    if (access != NULL && atomic_fetch_sub_explicit(&access->references, 1,
                              memory_order_acq_rel) == 1) {
        model_free(access);
    }
}

/* ---- who ----------------------------------------------------------------- */

static void
copy_name(char dst[ACCESS_NAME_BYTES_MAX + 1], const char *src)
{
    (void)snprintf(dst, ACCESS_NAME_BYTES_MAX + 1, "%s", src);
}

static const struct user *
find_account(const struct access *access, uint32_t uid)
{
    for (size_t i = 0; i < access->account_count; i++) {
        const struct account *account = &access->accounts[i];

        if (account->user != NULL && account->id == uid) {
            return account->user;
        }
    }
    return NULL;
}

/* What an account is called that is nobody. */
static void
name_account(uint32_t uid, char user[ACCESS_NAME_BYTES_MAX + 1])
{
    (void)snprintf(user, ACCESS_NAME_BYTES_MAX + 1, "uid:%" PRIu32, uid);
}

void
access_unix_user(const struct access *access, uint32_t uid, uint32_t own_uid,
    char user[ACCESS_NAME_BYTES_MAX + 1])
{
    const struct user *mapped = find_account(access, uid);

    if (mapped != NULL) {
        copy_name(user, mapped->name);
    } else if (uid == own_uid || uid == 0) {
        copy_name(user, ACCESS_OWNER);
    } else {
        name_account(uid, user);
    }
}

bool
access_certificate_user(const struct access *access, const char *common_name,
    const char *rfc2253, char user[ACCESS_NAME_BYTES_MAX + 1])
{
    for (size_t i = 0; i < access->certificate_count; i++) {
        const struct certificate *certificate = &access->certificates[i];
        const char *shown = certificate->is_name ? rfc2253 : common_name;

        if (shown != NULL && strcmp(certificate->subject, shown) == 0) {
            copy_name(user, certificate->user->name);
            return true;
        }
    }
    return false;
}

bool
access_knows(
    const struct access *access, const struct access_identity *identity)
{
    const struct user *user;
    char name[ACCESS_NAME_BYTES_MAX + 1];

    if (identity->is_unix) {
        user = find_account(access, identity->uid);
        if (user != NULL) {
            return strcmp(user->name, identity->user) == 0;
        }
        name_account(identity->uid, name);
        return strcmp(identity->user, ACCESS_OWNER) == 0 ||
               strcmp(identity->user, name) == 0;
    }
    user = model_find_user(access, identity->user);
    return user != NULL && (user->has_password || user->tokens != NULL ||
                               user->has_certificate);
}

/* ---- proofs -------------------------------------------------------------- */

bool
access_method_parse(const char *word, enum access_method *method)
{
    if (strcmp(word, "password") == 0) {
        *method = ACCESS_PASSWORD;
    } else if (strcmp(word, "token") == 0) {
        *method = ACCESS_TOKEN;
    } else {
        return false;
    }
    return true;
}

static enum access_verdict
verify_password(const struct user *user, const void *secret, size_t len)
{
    bool has_one = user != NULL && user->has_password;
    enum secret_match match = secret_matches(SECRET_PASSWORD,
        has_one ? user->password : secret_dummy_hash(SECRET_PASSWORD), secret,
        len);

    if (match == SECRET_NO_MEMORY) {
        return ACCESS_NO_MEMORY;
    }
    return has_one && match == SECRET_SAME ? ACCESS_GRANTED : ACCESS_REFUSED;
}

static enum access_verdict
verify_token(const struct user *user, const void *secret, size_t len)
{
    enum access_verdict verdict = ACCESS_REFUSED;

    /* One more look-up than there are tokens, for users without any. */
    (void)secret_matches(
        SECRET_TOKEN, secret_dummy_hash(SECRET_TOKEN), secret, len);
    for (const struct token *token = user != NULL ? user->tokens : NULL;
         token != NULL; token = token->next) {
        if (secret_matches(SECRET_TOKEN, token->hash, secret, len) ==
            SECRET_SAME) {
            verdict = ACCESS_GRANTED;
        }
    }
    return verdict;
}

enum access_verdict
access_verify(const struct access *access, const char *user,
    enum access_method method, const void *secret, size_t len)
{
    const struct user *known = model_find_user(access, user);

    return method == ACCESS_PASSWORD ? verify_password(known, secret, len)
                                     : verify_token(known, secret, len);
}

/* ---- rights -------------------------------------------------------------- */

/* Does the gid make a peer a member of the group? NULL: of any. */
static bool
gid_is_member(const struct access *access,
    const struct access_identity *identity, const struct user_group *group)
{
    for (size_t i = 0; identity->is_unix && i < access->account_count; i++) {
        const struct account *account = &access->accounts[i];

        if (account->group != NULL && account->id == identity->gid &&
            (group == NULL || account->group == group)) {
            return true;
        }
    }
    return false;
}

static bool
user_is_member(const struct user *user, const struct user_group *group)
{
    for (size_t i = 0; user != NULL && i < user->group_count; i++) {
        if (user->groups[i] == group) {
            return true;
        }
    }
    return false;
}

static bool
rule_concerns(const struct access *access, const struct rule *rule,
    const struct access_identity *identity, const struct user *user)
{
    if (rule->group != NULL) {
        return user_is_member(user, rule->group) ||
               gid_is_member(access, identity, rule->group);
    }
    return rule->user == NULL || rule->user == user;
}

static bool
add_rule(struct rights *rights, const struct rule *rule, const char *user)
{
    struct text filter;
    bool added;

    if (!model_expand(rule->filter, user, &filter)) {
        return false;
    }
    added = rights_add(
        rights, rule->allow, rule->actions, bytes_of(filter), rule->text);
    free((char *)(uintptr_t)filter.data);
    return added;
}

static struct rights *
make_rights(const struct access *access, const struct access_identity *identity,
    const struct user *user)
{
    struct rights *rights = rights_new();

    for (size_t i = 0; rights != NULL && i < access->rule_count; i++) {
        const struct rule *rule = &access->rules[i];

        if (rule_concerns(access, rule, identity, user) &&
            !add_rule(rights, rule, identity->user)) {
            rights_unref(rights);
            return NULL;
        }
    }
    return rights;
}

/* Those of the user, made on first use. Two threads may make them at the same
 * time; then the first ones stay. */
static struct rights *
shared_rights(const struct access *access,
    const struct access_identity *identity, struct user *user)
{
    struct rights *first = NULL;
    struct rights *rights = atomic_load(&user->rights);

    if (rights != NULL) {
        return rights_ref(rights);
    }
    rights = make_rights(access, identity, user);
    if (rights == NULL) {
        return NULL;
    }
    /* For us before it is seen: afterwards only the user's is sure. */
    rights_ref(rights);
    if (atomic_compare_exchange_strong(&user->rights, &first, rights)) {
        return rights;
    }
    rights_unref(rights);
    rights_unref(rights);
    return rights_ref(first);
}

struct rights *
access_rights(
    const struct access *access, const struct access_identity *identity)
{
    struct user *user;

    if (!access->has_rules ||
        (identity->is_unix && strcmp(identity->user, ACCESS_OWNER) == 0)) {
        return rights_ref(access->everything);
    }
    user = model_find_user(access, identity->user);
    if (user == NULL || gid_is_member(access, identity, NULL)) {
        return make_rights(access, identity, user);
    }
    return shared_rights(access, identity, user);
}
