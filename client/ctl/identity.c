/* SPDX-License-Identifier: MIT
 *
 * Users, secrets and certificates; see identity.h.
 */
#include "identity.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ask.h"
#include "say.h"

/* The option, else the variable, unless that is empty. */
static const char *
chosen(const char *option, const char *variable)
{
    const char *value = option != NULL ? option : getenv(variable);

    return value != NULL && value[0] != '\0' ? value : option;
}

static void
read_settings(struct identity_settings *chosen_ones,
    const struct identity_settings *given)
{
    const bool has_secret =
        given->password_file != NULL || given->token_file != NULL;

    *chosen_ones = (struct identity_settings){
        .user = chosen(given->user, "BROKER_USER"),
        .password_file = given->password_file,
        .token_file = given->token_file,
        .tls_ca = chosen(given->tls_ca, "BROKER_TLS_CA"),
        .tls_certificate = chosen(given->tls_certificate, "BROKER_TLS_CERT"),
        .tls_key = chosen(given->tls_key, "BROKER_TLS_KEY"),
        .tls_name = chosen(given->tls_name, "BROKER_TLS_NAME"),
    };
    if (!has_secret) {
        chosen_ones->password_file = chosen(NULL, "BROKER_PASSWORD_FILE");
        chosen_ones->token_file = chosen(NULL, "BROKER_TOKEN_FILE");
    }
}

static enum ctl_exit
check(const struct identity_settings *settings, const char *command)
{
    const int secrets =
        (settings->password_file != NULL) + (settings->token_file != NULL);

    if (secrets > 1) {
        say("%s: a password or a token, not both: leave out --password-file "
            "or --token-file",
            command);
    } else if (settings->user == NULL && secrets > 0) {
        say("%s: whose password or token is it? Add --user NAME", command);
    } else if (settings->user != NULL && secrets == 0) {
        say("%s: a user needs a secret: add --password-file FILE or "
            "--token-file FILE",
            command);
    } else if (settings->tls_key != NULL && settings->tls_certificate == NULL) {
        say("%s: a key needs its certificate: add --tls-cert FILE", command);
    } else {
        return CTL_EXIT_OK;
    }
    return CTL_EXIT_USAGE;
}

/* It works, but somebody should know. */
static void
warn_if_open(int fd, const char *path)
{
    struct stat status;

    if (fstat(fd, &status) == 0 && S_ISREG(status.st_mode) &&
        (status.st_mode & (S_IRGRP | S_IROTH)) != 0) {
        say("warning: others than its owner may read %s: chmod 600 %s", path,
            path);
    }
}

static enum ctl_exit
read_line(
    struct identity *identity, int fd, const char *name, const char *command)
{
    size_t len = 0;
    char *line = calloc(1, IDENTITY_SECRET_BYTES_MAX + 1);
    enum ask_result result;

    if (line == NULL) {
        say("%s: out of memory", command);
        return CTL_EXIT_FAILED;
    }
    identity->secret = line; /* whatever comes: it is wiped */
    result = ask_line(
        fd, "Secret: ", (uint8_t *)line, IDENTITY_SECRET_BYTES_MAX, &len);
    switch (result) {
    case ASK_OK:
        break;
    case ASK_FAILED:
        say("%s: cannot read %s: %s", command, name, strerror(errno));
        return CTL_EXIT_NO_INPUT;
    case ASK_LONG:
        say("%s: the first line of %s is longer than %d bytes: is it the "
            "file with the secret?",
            command, name, IDENTITY_SECRET_BYTES_MAX);
        return CTL_EXIT_NO_INPUT;
    case ASK_STOPPED:
        say("%s: interrupted", command);
        return CTL_EXIT_FAILED;
    case ASK_END:
        len = 0;
        break;
    }
    if (len == 0 || memchr(line, '\0', len) != NULL) {
        say("%s: there is no secret in the first line of %s", command, name);
        return CTL_EXIT_NO_INPUT;
    }
    line[len] = '\0';
    return CTL_EXIT_OK;
}

static enum ctl_exit
read_secret(struct identity *identity, const char *path, const char *command)
{
    enum ctl_exit code;
    int fd;

    if (strcmp(path, "-") == 0) {
        return read_line(identity, STDIN_FILENO, "standard input", command);
    }
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        say("%s: cannot read %s: %s", command, path, strerror(errno));
        return CTL_EXIT_NO_INPUT;
    }
    warn_if_open(fd, path);
    code = read_line(identity, fd, path, command);
    (void)close(fd);
    return code;
}

/* The library says if it cannot be read. */
static void
look_at_key(const char *path)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd >= 0) {
        warn_if_open(fd, path);
        (void)close(fd);
    }
}

enum ctl_exit
identity_load(struct identity *identity,
    const struct identity_settings *settings, const char *command)
{
    const struct identity_settings *all = &identity->settings;
    enum ctl_exit code;

    *identity = (struct identity){.secret = NULL};
    read_settings(&identity->settings, settings);
    code = check(all, command);
    if (code == CTL_EXIT_OK && all->tls_key != NULL) {
        look_at_key(all->tls_key);
    }
    if (code == CTL_EXIT_OK && all->password_file != NULL) {
        code = read_secret(identity, all->password_file, command);
    }
    if (code == CTL_EXIT_OK && all->token_file != NULL) {
        code = read_secret(identity, all->token_file, command);
    }
    if (code != CTL_EXIT_OK) {
        identity_wipe(identity);
    }
    return code;
}

void
identity_wipe(struct identity *identity)
{
    if (identity->secret != NULL) {
        explicit_bzero(identity->secret, IDENTITY_SECRET_BYTES_MAX);
        free(identity->secret);
    }
    *identity = (struct identity){.secret = NULL};
}

void
identity_apply(
    const struct identity *identity, struct broker_client_options *options)
{
    const struct identity_settings *settings = &identity->settings;

    options->user_name = settings->user;
    if (settings->password_file != NULL) {
        options->password = identity->secret;
    } else {
        options->token = identity->secret;
    }
    options->tls_ca_file = settings->tls_ca;
    options->tls_certificate_file = settings->tls_certificate;
    options->tls_key_file = settings->tls_key;
    options->tls_server_name = settings->tls_name;
}
