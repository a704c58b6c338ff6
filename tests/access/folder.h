/* SPDX-License-Identifier: MIT
 *
 * A temporary folder with a password file and an access file, and what loading
 * them gives.
 */
#ifndef BROKER_TESTS_FOLDER_H
#define BROKER_TESTS_FOLDER_H

#include "access.h"

#include <sys/types.h>

struct folder {
    char path[64];
    char password_file[96], access_file[96];
    char *errors; /* of the last folder_load() */
};

struct folder folder_new(void);
void folder_free(struct folder *folder);

/* Write one of the two files. */
void folder_write(const char *path, const char *text, mode_t mode);

/* Write both files, NULL for none, and load them. */
struct access *folder_load(
    struct folder *folder, const char *passwords, const char *rules);

#endif
