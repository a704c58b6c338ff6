/* SPDX-License-Identifier: MIT
 *
 * Accounts of this machine; see accounts.h.
 */
#include "accounts.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>

/* For the entry of an account or of a group with its members. */
#define ENTRY_BYTES_FIRST 4096
#define ENTRY_BYTES_MAX   (4 * 1024 * 1024)
#define NAME_BYTES        256

/* A decimal number below 2^32 - 1, which is no account. */
static bool
parse_id(struct text word, uint32_t *id)
{
    uint64_t value = 0;

    for (size_t i = 0; i < word.len; i++) {
        if (word.data[i] < '0' || word.data[i] > '9') {
            return false;
        }
        value = value * 10 + (uint64_t)(word.data[i] - '0');
        if (value >= UINT32_MAX) {
            return false;
        }
    }
    *id = (uint32_t)value;
    return word.len > 0;
}

/* 0, an errno, or -1 for "no such name". */
static int
ask(const char *name, bool is_group, char *memory, size_t cap, uint32_t *id)
{
    struct passwd passwd, *account = NULL;
    struct group entry, *group = NULL;
    int failed = is_group ? getgrnam_r(name, &entry, memory, cap, &group)
                          : getpwnam_r(name, &passwd, memory, cap, &account);

    if (account != NULL) {
        *id = account->pw_uid;
    } else if (group != NULL) {
        *id = group->gr_gid;
    } else if (failed == 0) {
        return -1;
    }
    return failed;
}

static enum accounts_result
find_name(const char *name, bool is_group, uint32_t *id)
{
    int failed = ERANGE;

    for (size_t cap = ENTRY_BYTES_FIRST;
         failed == ERANGE && cap <= ENTRY_BYTES_MAX; cap *= 4) {
        char *memory = malloc(cap);

        if (memory == NULL) {
            return ACCOUNTS_UNKNOWN;
        }
        failed = ask(name, is_group, memory, cap, id);
        free(memory);
    }
    switch (failed) {
    case 0:
        return ACCOUNTS_FOUND;
    case -1:
    case ENOENT: /* what some say instead of "no such name" (getpwnam(3)) */
    case ESRCH:
    case EBADF:
    case EPERM:
        return ACCOUNTS_NONE;
    default:
        return ACCOUNTS_UNKNOWN;
    }
}

enum accounts_result
accounts_find(struct text word, bool is_group, uint32_t *id)
{
    char name[NAME_BYTES];

    if (parse_id(word, id)) {
        return ACCOUNTS_FOUND;
    }
    if (word.len >= sizeof name) {
        return ACCOUNTS_NONE;
    }
    memcpy(name, word.data, word.len);
    name[word.len] = '\0';
    return find_name(name, is_group, id);
}
