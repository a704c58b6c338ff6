/* SPDX-License-Identifier: MIT
 *
 * Account and memory of the process; see process.h. */
#include "process.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

bool
process_find_account(const char *user, const char *group,
    struct process_account *account, FILE *errors)
{
    *account = (struct process_account){.name = user};
    if (user == NULL) {
        return true;
    }
    const struct passwd *found = getpwnam(user);
    if (found == NULL) {
        fprintf(errors, "user = %s: there is no such account\n", user);
        return false;
    }
    account->uid = found->pw_uid;
    account->gid = found->pw_gid;
    if (account->uid == 0) {
        fprintf(errors,
            "user = %s: this is root; name an account without rights\n", user);
        return false;
    }
    if (group != NULL) {
        const struct group *named = getgrnam(group);
        if (named == NULL) {
            fprintf(errors, "group = %s: there is no such group\n", group);
            return false;
        }
        account->gid = named->gr_gid;
    }
    return true;
}

static bool
is_already(const struct process_account *account)
{
    return account->name == NULL ||
           (geteuid() == account->uid && getegid() == account->gid);
}

bool
process_may_become(const struct process_account *account, FILE *errors)
{
    if (is_already(account) || geteuid() == 0) {
        return true;
    }
    fprintf(errors,
        "user = %s: only root can become somebody else; this is uid %ld, gid "
        "%ld\n",
        account->name, (long)geteuid(), (long)getegid());
    return false;
}

/* By a descriptor, because the folder may be somebody else's, who could put
 * another file in the place of the socket. */
bool
process_give_socket(const struct process_account *account, const char *path)
{
    if (is_already(account)) {
        return true;
    }
    int fd = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    struct stat status;
    if (fd < 0) {
        return false;
    }
    bool ok = fstat(fd, &status) == 0;
    if (ok && !S_ISSOCK(status.st_mode)) {
        errno = ENOTSOCK;
        ok = false;
    }
    ok = ok && fchownat(fd, "", account->uid, account->gid, AT_EMPTY_PATH) == 0;
    int why = errno;
    close(fd);
    errno = why;
    return ok;
}

/* Every one of the three ids, and no way to root. */
static bool
is_only(const struct process_account *account)
{
    uid_t uids[3];
    gid_t gids[3];
    if (getresuid(&uids[0], &uids[1], &uids[2]) != 0 ||
        getresgid(&gids[0], &gids[1], &gids[2]) != 0) {
        return false;
    }
    for (size_t i = 0; i < 3; i++) {
        if (uids[i] != account->uid || gids[i] != account->gid) {
            return false;
        }
    }
    return setuid(0) != 0 && seteuid(0) != 0;
}

bool
process_become(const struct process_account *account)
{
    if (is_already(account)) {
        return true;
    }
    if (initgroups(account->name, account->gid) != 0 ||
        setresgid(account->gid, account->gid, account->gid) != 0 ||
        setresuid(account->uid, account->uid, account->uid) != 0) {
        return false;
    }
    if (!is_only(account)) {
        errno = EPERM;
        return false;
    }
    return true;
}

bool
process_hide_memory(void)
{
    const struct rlimit none = {.rlim_cur = 0, .rlim_max = 0};
    return prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0 &&
           setrlimit(RLIMIT_CORE, &none) == 0;
}

bool
process_show_memory(void)
{
    return prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) == 0;
}
