/* SPDX-License-Identifier: MIT
 *
 * What struct access is made of. Internal to broker/access: the two files are
 * read into it, and access.c answers from it.
 */
#ifndef BROKER_ACCESS_MODEL_H
#define BROKER_ACCESS_MODEL_H

#include <stdatomic.h>

#include "access.h"
#include "lines.h"
#include "secret.h"

/* With names, numbers of lines for messages: 0 is no line. */
struct user_group {
    char name[ACCESS_NAME_BYTES_MAX + 1];
    unsigned declared; /* the line */
    unsigned used;     /* the first line that needs it */
};

struct token {
    struct token *next;
    char hash[SECRET_HASH_BYTES];
};

/* Anybody who is named in one of the files. */
struct user {
    char name[ACCESS_NAME_BYTES_MAX + 1];
    bool has_password, has_certificate;
    unsigned password_line;
    char password[SECRET_HASH_BYTES];
    struct token *tokens;
    struct user_group **groups;
    size_t group_count;
    /* Made when they are first asked for, and then shared. */
    _Atomic(struct rights *) rights;
};

/* A uid that is a user, or a gid that makes a member. */
struct account {
    uint32_t id;
    unsigned line;
    struct user *user;
    struct user_group *group; /* if user is NULL */
};

struct certificate {
    char *subject;
    bool is_name; /* a distinguished name, else a common name */
    unsigned line;
    struct user *user;
};

/* Whom a rule is about: one of these, or everybody if both are NULL. */
struct rule {
    const struct user *user;
    const struct user_group *group;
    bool allow;
    unsigned actions; /* of enum rights_action */
    unsigned line;
    struct text filter; /* with %u and %% in it */
    char *text;         /* for error frames; the filter is within */
};

struct access {
    _Atomic size_t references;
    struct user **users; /* by name */
    struct user_group **groups;
    struct account *accounts;
    struct certificate *certificates;
    struct rule *rules;
    size_t user_count, group_count, account_count, certificate_count,
        rule_count;
    struct rights *everything;
    bool has_rules; /* an access file was given */
    uint16_t max_topic_bytes, max_topic_levels;
};

/* NULL if memory is out. */
struct access *model_new(const struct access_sources *sources);
void model_free(struct access *access);

/* The user, or NULL. */
struct user *model_find_user(const struct access *access, const char *name);

/* The user or group of a valid name, made if it is not there. NULL if memory is
 * out. */
struct user *model_user(struct access *access, struct text name);
struct user_group *model_group(struct access *access, struct text name);

/* Append one zeroed element to an array. NULL if memory is out: nothing
 * changed. */
void *model_append(void **array, size_t *count, size_t element_bytes);

/* The filter with %u replaced by the user's name and %% by %: *expanded is
 * allocated. False: memory is out. */
bool model_expand(struct text filter, const char *user, struct text *expanded);

/* password_file.c, access_file.c: read one line into the struct access that is
 * the argument. What concerns the whole access file is checked afterwards. */
void password_file_line(
    struct text line, struct access_report *report, void *argument);
void access_file_line(
    struct text line, struct access_report *report, void *argument);
void access_file_check(struct access *access, struct access_report *report);

#endif
