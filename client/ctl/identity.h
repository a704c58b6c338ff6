/* SPDX-License-Identifier: MIT
 *
 * Who brokerctl is to the broker, and what it wants to know of the broker: user
 * and secret, and the files of TLS. Secrets come out of files; they are in no
 * argument, where everybody on the machine sees them. Makes no connection.
 */
#ifndef BROKERCTL_IDENTITY_H
#define BROKERCTL_IDENTITY_H

#include <stddef.h>
#include <stdint.h>

#include <broker/client.h>

#include "exit_codes.h"

#define IDENTITY_SECRET_BYTES_MAX 16384

/* The options, as a part of the common settings; NULL: not given. */
struct identity_settings {
    const char *user;
    const char *password_file, *token_file;
    const char *tls_ca, *tls_certificate, *tls_key, *tls_name;
};

/* Rows for a table of options; `member` is the identity_settings in `type`. */
/* clang-format off */
#define IDENTITY_OPTIONS(type, member)                                         \
    {"user", 0, OPTION_TEXT, "NAME", "who to be",                              \
        offsetof(struct type, member.user), NULL},                             \
    {"password-file", 0, OPTION_TEXT, "FILE",                                  \
        "its first line is the user's password",                               \
        offsetof(struct type, member.password_file), NULL},                    \
    {"token-file", 0, OPTION_TEXT, "FILE",                                     \
        "its first line is the user's token",                                  \
        offsetof(struct type, member.token_file), NULL},                       \
    {"tls-ca", 0, OPTION_TEXT, "FILE",                                         \
        "authorities to trust, in place of the system's",                      \
        offsetof(struct type, member.tls_ca), NULL},                           \
    {"tls-cert", 0, OPTION_TEXT, "FILE", "our certificate",                    \
        offsetof(struct type, member.tls_certificate), NULL},                  \
    {"tls-key", 0, OPTION_TEXT, "FILE",                                        \
        "its key, if that is not in the same file",                            \
        offsetof(struct type, member.tls_key), NULL},                          \
    {"tls-name", 0, OPTION_TEXT, "NAME",                                       \
        "whom the broker's certificate must be for",                           \
        offsetof(struct type, member.tls_name), NULL}
/* clang-format on */

/* What the options and the environment say together. */
struct identity {
    struct identity_settings settings;
    char *secret; /* NULL, or the first line of the one file that is given */
};

/* Options count more than variables; reads the file of the secret, "-" being
 * standard input, of which nothing behind the line is read. CTL_EXIT_OK, then
 * identity_wipe() is due; or what is wrong was said. */
enum ctl_exit identity_load(struct identity *identity,
    const struct identity_settings *settings, const char *command);
void identity_wipe(struct identity *identity);

/* Set the options of the library: views into `identity`. */
void identity_apply(
    const struct identity *identity, struct broker_client_options *options);

#endif
