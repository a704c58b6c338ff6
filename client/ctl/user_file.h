/* SPDX-License-Identifier: MIT
 *
 * The password file of brokerd, brokerd.access(5): reading and changing what it
 * says of one user. What a line looks like is secret.h's business; lines of
 * other users and comments stay as they are, byte for byte.
 *
 * The file is replaced as a whole, so that brokerd finds the old one or the new
 * one, also after a crash. Only one process changes files of a folder at a
 * time; others wait.
 */
#ifndef BROKERCTL_USER_FILE_H
#define BROKERCTL_USER_FILE_H

#include <stdbool.h>
#include <stddef.h>

#include "secret.h"

#define USER_FILE_WHY_MAX 512

struct user_file_change {
    const char *user;
    bool remove_password, remove_tokens;
    const char *hash; /* to be added; NULL: none */
};

/* Change the file. It is made, for its owner alone, if it is not there and
 * there is a hash to add; otherwise owner, group and mode are kept, but that
 * others lose all permissions. *removed: lines that were removed. False: the
 * file is as it was, and `why` is a sentence. */
bool user_file_apply(const char *path, const struct user_file_change *change,
    size_t *removed, char why[USER_FILE_WHY_MAX]);

/* Called with each well-formed hash of the user. */
typedef void (*user_file_fn)(
    enum secret_kind kind, const char *hash, void *argument);

/* False: the file cannot be read, and `why` is a sentence. */
bool user_file_each(const char *path, const char *user, user_file_fn fn,
    void *argument, char why[USER_FILE_WHY_MAX]);

#endif
