/* SPDX-License-Identifier: MIT
 *
 * brokerctl passwd FILE USER: passwords and tokens in the password file of a
 * brokerd. No connection is made; brokerd reads the file when it starts or
 * reloads. Secrets come from a terminal or from standard input, never from the
 * command line, where everybody sees them.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ask.h"
#include "cmd.h"
#include "say.h"
#include "secret.h"
#include "user_file.h"

struct passwd_settings {
    bool token;
    bool remove;
    bool check;
};

static const struct option_spec options[] = {
    {"token", 0, OPTION_FLAG, NULL, "make a token and print it, this once",
        offsetof(struct passwd_settings, token), NULL},
    {"delete", 0, OPTION_FLAG, NULL, "remove all passwords and tokens of USER",
        offsetof(struct passwd_settings, remove), NULL},
    {"check", 0, OPTION_FLAG, NULL, "only say whether it is the right one",
        offsetof(struct passwd_settings, check), NULL},
    {0},
};

/* A secret that was asked for; made by secret_new(). */
struct answer {
    size_t len;
    uint8_t bytes[SECRET_PASSWORD_BYTES_MAX];
};

static enum ctl_exit
complain_answer(enum ask_result result)
{
    switch (result) {
    case ASK_END:
        say("passwd: standard input has no line with a password");
        return CTL_EXIT_NO_INPUT;
    case ASK_LONG:
        say("passwd: longer than %d bytes; choose a shorter one",
            SECRET_PASSWORD_BYTES_MAX);
        return CTL_EXIT_FAILED;
    case ASK_STOPPED:
        say("passwd: nothing was changed");
        return CTL_EXIT_FAILED;
    case ASK_FAILED:
        say("passwd: cannot read standard input: %s", strerror(errno));
        return CTL_EXIT_NO_INPUT;
    case ASK_OK:
        break;
    }
    return CTL_EXIT_OK;
}

static enum ctl_exit
ask_once(const char *prompt, struct answer *answer)
{
    enum ask_result result = ask_line(STDIN_FILENO, prompt, answer->bytes,
        sizeof answer->bytes, &answer->len);

    if (result == ASK_OK && answer->len == 0) {
        say("passwd: an empty password is none");
        return CTL_EXIT_FAILED;
    }
    return complain_answer(result);
}

/* On a terminal, what nobody sees is typed twice. */
static enum ctl_exit
ask_again(const struct answer *answer)
{
    struct answer *again;
    enum ctl_exit code;

    if (!ask_is_terminal(STDIN_FILENO)) {
        return CTL_EXIT_OK;
    }
    again = secret_new(sizeof *again);
    if (again == NULL) {
        say("passwd: out of memory");
        return CTL_EXIT_FAILED;
    }
    code = ask_once("The same again: ", again);
    if (code == CTL_EXIT_OK &&
        (again->len != answer->len ||
            memcmp(again->bytes, answer->bytes, answer->len) != 0)) {
        say("passwd: these were two different passwords; nothing was changed");
        code = CTL_EXIT_FAILED;
    }
    secret_free(again);
    return code;
}

static enum ctl_exit
apply(const struct invocation *invocation,
    const struct user_file_change *change, size_t *removed)
{
    char why[USER_FILE_WHY_MAX];

    if (user_file_apply(invocation->arguments[0], change, removed, why)) {
        if (invocation->common->verbose) {
            say("passwd: %s was changed; brokerd reads it when it reloads",
                invocation->arguments[0]);
        }
        return CTL_EXIT_OK;
    }
    say("passwd: %s", why);
    return CTL_EXIT_OUTPUT;
}

static enum ctl_exit
set_password(const struct invocation *invocation, struct answer *answer)
{
    char hash[SECRET_HASH_BYTES];
    const struct user_file_change change = {.user = invocation->arguments[1],
        .remove_password = true,
        .hash = hash};
    enum ctl_exit code = ask_once("New password: ", answer);
    size_t removed;

    if (code == CTL_EXIT_OK) {
        code = ask_again(answer);
    }
    if (code != CTL_EXIT_OK) {
        return code;
    }
    if (!secret_hash_password(answer->bytes, answer->len, hash)) {
        say("passwd: out of memory");
        return CTL_EXIT_FAILED;
    }
    code = apply(invocation, &change, &removed);
    secret_wipe(hash, sizeof hash);
    return code;
}

static enum ctl_exit
add_token(const struct invocation *invocation)
{
    char token[SECRET_TOKEN_BYTES], hash[SECRET_HASH_BYTES];
    const struct user_file_change change = {
        .user = invocation->arguments[1], .hash = hash};
    enum ctl_exit code;
    size_t removed;

    secret_make_token(token, hash);
    code = apply(invocation, &change, &removed);
    if (code == CTL_EXIT_OK) {
        out_printf(invocation->out, "%s\n", token);
    }
    secret_wipe(token, sizeof token);
    secret_wipe(hash, sizeof hash);
    return code;
}

static enum ctl_exit
remove_user(const struct invocation *invocation)
{
    const struct user_file_change change = {.user = invocation->arguments[1],
        .remove_password = true,
        .remove_tokens = true};
    size_t removed = 0;
    enum ctl_exit code = apply(invocation, &change, &removed);

    if (code == CTL_EXIT_OK && removed == 0) {
        say("passwd: %s has neither a password nor a token in %s", change.user,
            invocation->arguments[0]);
        return CTL_EXIT_FAILED;
    }
    return code;
}

/* ---- check --------------------------------------------------------------- */

struct check {
    const struct answer *answer;
    enum secret_kind kind;
    bool found, matches, no_memory;
};

static void
check_one(enum secret_kind kind, const char *hash, void *argument)
{
    struct check *check = argument;
    enum secret_match match;

    if (kind != check->kind) {
        return;
    }
    match =
        secret_matches(kind, hash, check->answer->bytes, check->answer->len);
    check->found = true;
    check->matches |= match == SECRET_SAME;
    check->no_memory |= match == SECRET_NO_MEMORY;
}

static enum ctl_exit
check_answer(const struct invocation *invocation, struct answer *answer)
{
    const struct passwd_settings *settings = invocation->settings;
    const char *what = settings->token ? "token" : "password";
    struct check check = {.answer = answer,
        .kind = settings->token ? SECRET_TOKEN : SECRET_PASSWORD};
    char why[USER_FILE_WHY_MAX];
    enum ctl_exit code =
        ask_once(settings->token ? "Token: " : "Password: ", answer);

    if (code != CTL_EXIT_OK) {
        return code;
    }
    if (!user_file_each(invocation->arguments[0], invocation->arguments[1],
            check_one, &check, why)) {
        say("passwd: %s", why);
        return CTL_EXIT_NO_INPUT;
    }
    if (check.matches) {
        return CTL_EXIT_OK;
    }
    if (check.no_memory) {
        say("passwd: out of memory");
    } else if (check.found) {
        say("passwd: this is no %s of %s", what, invocation->arguments[1]);
    } else {
        say("passwd: %s has no %s", invocation->arguments[1], what);
    }
    return CTL_EXIT_FAILED;
}

static enum ctl_exit
run_checked(const struct invocation *invocation)
{
    const struct passwd_settings *settings = invocation->settings;
    struct answer *answer;
    enum ctl_exit code;

    if (settings->remove) {
        return remove_user(invocation);
    }
    if (settings->token && !settings->check) {
        return add_token(invocation);
    }
    answer = secret_new(sizeof *answer);
    if (answer == NULL) {
        say("passwd: out of memory");
        return CTL_EXIT_FAILED;
    }
    code = settings->check ? check_answer(invocation, answer)
                           : set_password(invocation, answer);
    secret_free(answer);
    return code;
}

static enum ctl_exit
run(const struct invocation *invocation)
{
    const struct passwd_settings *settings = invocation->settings;
    const char *user = invocation->arguments[1];

    if (settings->remove && (settings->token || settings->check)) {
        say("passwd: --delete stands alone: it removes passwords and tokens");
        return CTL_EXIT_USAGE;
    }
    if (!secret_name_is_valid(user, strlen(user))) {
        say("passwd: \"%s\" is no name: %s", user, SECRET_NAME_RULE);
        return CTL_EXIT_USAGE;
    }
    if (secret_name_is_reserved(user, strlen(user))) {
        say("passwd: %s is a name that brokerd gives itself; choose another "
            "one",
            user);
        return CTL_EXIT_USAGE;
    }
    if (!secret_init()) {
        say("passwd: this system gives no random numbers");
        return CTL_EXIT_FAILED;
    }
    return run_checked(invocation);
}

const struct command cmd_passwd = {
    .name = "passwd",
    .summary = "Set the password of a user, or give a token, in brokerd's file",
    .arguments = "FILE USER",
    .details =
        "The password is asked for on a terminal, or is the first line of\n"
        "standard input. brokerd reads FILE when it starts or reloads.\n",
    .min_arguments = 2,
    .max_arguments = 2,
    .options = options,
    .settings_bytes = sizeof(struct passwd_settings),
    .exits = CTL_EXIT_BIT(OK) | CTL_EXIT_BIT(FAILED) | CTL_EXIT_BIT(USAGE) |
             CTL_EXIT_BIT(NO_INPUT) | CTL_EXIT_BIT(OUTPUT),
    .run = run,
};
