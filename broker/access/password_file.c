/* SPDX-License-Identifier: MIT
 *
 * Lines of the password file. Nothing of a line is ever shown but the name in
 * front of a hash that is well formed.
 */
#include <stdlib.h>
#include <string.h>

#include "model.h"

static void
read_password(struct user *user, const char *hash, struct access_report *report)
{
    if (user->has_password) {
        access_report(report,
            "%s has a password already, in line %u; remove one of the two",
            user->name, user->password_line);
        return;
    }
    user->has_password = true;
    user->password_line = report->line;
    memcpy(user->password, hash, SECRET_HASH_BYTES);
}

static void
read_token(struct user *user, const char *hash, struct access_report *report)
{
    struct token *token;

    for (token = user->tokens; token != NULL; token = token->next) {
        if (strcmp(token->hash, hash) == 0) {
            access_report(report,
                "%s has this token already, in an earlier line; remove one of "
                "the two",
                user->name);
            return;
        }
    }
    token = calloc(1, sizeof *token);
    if (token == NULL) {
        access_report(report, "out of memory");
        return;
    }
    memcpy(token->hash, hash, SECRET_HASH_BYTES);
    token->next = user->tokens;
    user->tokens = token;
}

void
password_file_line(
    struct text line, struct access_report *report, void *argument)
{
    struct access *access = argument;
    char hash[SECRET_HASH_BYTES] = "";
    struct secret_line cut;
    struct text name = line;
    struct user *user;
    const char *why = secret_line_check(line.data, line.len, &cut);

    if (why != NULL) {
        access_report(report, "%s", why);
        return;
    }
    name.len = cut.name_len;
    if (secret_name_is_reserved(name.data, name.len)) {
        access_report(report,
            "%.*s is a name that brokerd gives itself; choose another one",
            (int)name.len, name.data);
        return;
    }
    user = model_user(access, name);
    if (user == NULL) {
        access_report(report, "out of memory");
        return;
    }
    memcpy(hash, line.data + cut.hash_at, line.len - cut.hash_at);
    if (cut.kind == SECRET_PASSWORD) {
        read_password(user, hash, report);
    } else {
        read_token(user, hash, report);
    }
    secret_wipe(hash, sizeof hash);
}
