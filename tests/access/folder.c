/* SPDX-License-Identifier: MIT
 *
 * Two files in a folder of their own; see folder.h.
 */
#include "folder.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct folder
folder_new(void)
{
    struct folder folder = {.path = "/tmp/access-XXXXXX"};

    cr_assert_not_null(mkdtemp(folder.path));
    snprintf(folder.password_file, sizeof folder.password_file, "%s/passwords",
        folder.path);
    snprintf(
        folder.access_file, sizeof folder.access_file, "%s/rules", folder.path);
    return folder;
}

void
folder_free(struct folder *folder)
{
    (void)unlink(folder->password_file);
    (void)unlink(folder->access_file);
    (void)rmdir(folder->path);
    free(folder->errors);
}

void
folder_write(const char *path, const char *text, mode_t mode)
{
    FILE *file = fopen(path, "w");

    cr_assert_not_null(file);
    cr_assert_eq(fwrite(text, 1, strlen(text), file), strlen(text));
    cr_assert_eq(fclose(file), 0);
    cr_assert_eq(chmod(path, mode), 0);
}

struct access *
folder_load(struct folder *folder, const char *passwords, const char *rules)
{
    const struct access_sources sources = {
        .password_file = passwords != NULL ? folder->password_file : NULL,
        .access_file = rules != NULL ? folder->access_file : NULL,
        .max_topic_bytes = 1024,
        .max_topic_levels = 64,
    };
    struct access *access;
    size_t len;
    FILE *errors;

    if (passwords != NULL) {
        folder_write(folder->password_file, passwords, 0600);
    }
    if (rules != NULL) {
        folder_write(folder->access_file, rules, 0644);
    }
    free(folder->errors);
    errors = open_memstream(&folder->errors, &len);
    cr_assert_not_null(errors);
    access = access_load(&sources, errors);
    fclose(errors);
    cr_assert_eq(access != NULL, len == 0, "%s", folder->errors);
    return access;
}
