/* SPDX-License-Identifier: MIT
 *
 * What brokerd may do as a process: which account it runs as, and who may look
 * into its memory. Knows nothing of the configuration and of the broker.
 *
 * Threads: before other threads run, or in the main thread.
 */
#ifndef BROKER_PROCESS_H
#define BROKER_PROCESS_H

#include <stdbool.h>
#include <stdio.h>
#include <sys/types.h>

/* An account to become. `name` belongs to the caller. */
struct process_account {
    const char *name; /* NULL: stay who we are */
    uid_t uid;
    gid_t gid;
};

/* Look the account and the group up; `group` NULL is that of the account, and
 * `user` NULL asks for no change. False: why not was written to `errors`, as
 * one line. Whether this process may become that account is not asked. */
bool process_find_account(const char *user, const char *group,
    struct process_account *account, FILE *errors);

/* May this process become the account, or is it already? False as above. */
bool process_may_become(const struct process_account *account, FILE *errors);

/* Let the account have a socket file that this process has made; does nothing
 * if there is no account. False, with errno. */
bool process_give_socket(
    const struct process_account *account, const char *path);

/* Become the account, with its groups, and make sure that there is no way back.
 * Does nothing if there is no account or if it is who we are. False, with
 * errno: it did not work, or there is a way back; then the only thing to do is
 * to exit. */
bool process_become(const struct process_account *account);

/* No core dump from now on, and no debugger of another process of the account.
 * Becoming an account may undo or do this: call it again then. False, with
 * errno. */
bool process_hide_memory(void);

/* The other way round, for after process_become(). */
bool process_show_memory(void);

#endif
