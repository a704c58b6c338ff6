/* SPDX-License-Identifier: MIT
 *
 * Opening the store; see storage.h. */
#include "storage.h"

#include "local.h"
#include "log.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void
log_store(
    void *arg, enum store_log_level level, const char *event, const char *text)
{
    static const enum log_level levels[] = {
        [STORE_LOG_INFO] = LOG_LEVEL_INFO,
        [STORE_LOG_WARNING] = LOG_LEVEL_WARNING,
        [STORE_LOG_ERROR] = LOG_LEVEL_ERROR,
    };
    char quoted[1024];
    (void)arg;
    log_event(levels[level], event, "text=%s",
        log_quote(quoted, sizeof quoted, text, strlen(text)));
}

static void
log_refusal(const char *why)
{
    char quoted[1024];
    log_event(LOG_LEVEL_ERROR, "store-not-opened", "reason=%s",
        log_quote(quoted, sizeof quoted, why, strlen(why)));
}

/* The directory belongs to the account, if this makes it. */
static bool
make_directory(const char *path, const struct process_account *account)
{
    if (mkdir(path, 0700) != 0) {
        return errno == EEXIST;
    }
    return account->name == NULL || geteuid() != 0 ||
           chown(path, account->uid, account->gid) == 0;
}

/* Its files are to be the account's, so it is opened as that. */
static bool
act_as(const struct process_account *account, bool *acts)
{
    *acts = account->name != NULL && geteuid() == 0;
    return !*acts || (setegid(account->gid) == 0 && seteuid(account->uid) == 0);
}

static bool
act_as_before(bool acted)
{
    return !acted || (seteuid(0) == 0 && setegid(0) == 0);
}

bool
storage_open(const struct config *config, const struct process_account *account,
    struct store **store)
{
    *store = NULL;
    if (config->store == NULL) {
        return true;
    }
    struct store_local_options options = {.directory = config->store,
        .memory_bytes = config->store_memory_bytes,
        .in_flight_bytes = config->store_in_flight_bytes,
        .reserve_bytes = config->store_reserve_bytes,
        .max_publishers = config->max_sessions > 0 ? config->max_sessions : 1,
        .log = log_store};
    char why[512];
    bool acts = false;
    if (!make_directory(config->store, account) || !act_as(account, &acts)) {
        log_refusal(strerror(errno));
        return false;
    }
    *store = store_local_open(&options, why, sizeof why);
    if (*store == NULL) {
        log_refusal(why);
    }
    if (!act_as_before(acts)) {
        log_refusal(strerror(errno));
        store_close(*store);
        *store = NULL;
    }
    return *store != NULL;
}
