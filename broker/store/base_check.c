/* SPDX-License-Identifier: MIT
 *
 * Can LMDB walk this file? Its pages have no checksums, and a damaged one may
 * make the library fail an assertion or read where nothing is. So a child of
 * this process walks them first: if that ends badly the parent has lost
 * nothing. See base.h. */
#include "base.h"

#include <lmdb.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* Beyond this it would take too long before anybody is served. */
#define CHECK_BYTES_MAX ((off_t)256 << 20)
#define CHECK_SECONDS   10u

/* Every key and both ends of every value. */
static bool
walk(MDB_txn *txn, MDB_dbi list)
{
    MDB_cursor *cursor;
    MDB_val key;
    MDB_val data;
    volatile uint8_t sink = 0;
    if (mdb_cursor_open(txn, list, &cursor) != MDB_SUCCESS) {
        return false;
    }
    int code;
    while (
        (code = mdb_cursor_get(cursor, &key, &data, MDB_NEXT)) == MDB_SUCCESS) {
        const uint8_t *bytes = data.mv_data;
        if (key.mv_size > 0) {
            sink = *(const uint8_t *)key.mv_data;
        }
        if (data.mv_size > 0) {
            sink = bytes[0];
            sink = bytes[data.mv_size - 1];
        }
    }
    (void)sink;
    return code == MDB_NOTFOUND;
}

/* Takes pages from the list of free ones; the transaction is not committed, so
 * nothing is written. */
static bool
change(MDB_txn *txn, MDB_dbi table)
{
    static uint8_t bytes[16 * 4096];
    char name[] = "no such key";
    MDB_val key = {.mv_size = sizeof name, .mv_data = name};
    MDB_val data = {.mv_size = sizeof bytes, .mv_data = bytes};
    return mdb_put(txn, table, &key, &data, 0) == MDB_SUCCESS;
}

/* Is it the system that refuses, and not the file that is damaged? Whoever
 * opens it next is told the same. */
static bool
is_refused(int code, size_t map)
{
    if (code <= 0) {
        return false; /* LMDB's own */
    }
    /* A number of pages that is damaged asks for more than there can be. */
    return (code != ENOMEM && code != EINVAL) ||
           mmap(NULL, map, PROT_NONE,
               MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
               0) == MAP_FAILED;
}

static bool
walk_all(const char *path, size_t bytes)
{
    static const char *const names[BASE_TABLES] = {
        "meta", "streams", "blocks", "values", "publishers"};
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi tables[BASE_TABLES];
    size_t map = (size_t)1 << 30;
    map = map > bytes * 2 ? map : bytes * 2;
    int code = mdb_env_create(&env);
    if (code == MDB_SUCCESS) {
        code = mdb_env_set_mapsize(env, map);
    }
    if (code == MDB_SUCCESS) {
        code = mdb_env_set_maxdbs(env, BASE_TABLES);
    }
    if (code == MDB_SUCCESS) {
        code = mdb_env_open(env, path, MDB_NOSUBDIR | MDB_NOLOCK, 0600);
    }
    if (code == MDB_SUCCESS) {
        code = mdb_txn_begin(env, NULL, MDB_RDONLY, &txn);
    }
    if (code != MDB_SUCCESS) {
        return is_refused(code, map);
    }
    /* The list of free pages, the names of the tables, the tables. */
    bool ok = walk(txn, 0) && walk(txn, 1);
    for (int i = 0; i < BASE_TABLES && ok; i++) {
        ok = mdb_dbi_open(txn, names[i], 0, &tables[i]) == MDB_SUCCESS &&
             walk(txn, tables[i]);
    }
    /* The handles stay for the next one. */
    ok = ok && mdb_txn_commit(txn) == MDB_SUCCESS &&
         mdb_txn_begin(env, NULL, 0, &txn) == MDB_SUCCESS;
    for (int i = 0; i < BASE_TABLES && ok; i++) {
        ok = change(txn, tables[i]);
    }
    return ok;
}

/* In the child: nothing of the parent's is run, also at its end. */
_Noreturn static void
run_child(const char *path, size_t bytes)
{
    static const int fatal[] = {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGALRM};
    const struct rlimit none = {.rlim_cur = 0, .rlim_max = 0};
    for (size_t i = 0; i < sizeof fatal / sizeof fatal[0]; i++) {
        signal(fatal[i], SIG_DFL);
    }
    setrlimit(RLIMIT_CORE, &none);
    int silence = open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (silence >= 0) {
        dup2(silence, STDERR_FILENO); /* LMDB's assertions */
    }
    alarm(CHECK_SECONDS);
    _exit(walk_all(path, bytes) ? 0 : 1);
}

int
base_lmdb_check(const char *path)
{
    struct stat info;
    if (stat(path, &info) != 0 || info.st_size == 0 ||
        info.st_size > CHECK_BYTES_MAX) {
        return 0;
    }
    pid_t child = fork();
    if (child == 0) {
        run_child(path, (size_t)info.st_size);
    }
    int status = 0;
    while (child > 0 && waitpid(child, &status, 0) < 0) {
        if (errno != EINTR) {
            return 0; /* whoever ignores SIGCHLD gets no answer */
        }
    }
    if (child < 0 || !WIFSIGNALED(status)) {
        return child < 0 || status == 0 ? 0 : EBADMSG;
    }
    /* Any other signal came from somebody who wanted it to end. */
    int sent = WTERMSIG(status);
    return sent == SIGSEGV || sent == SIGBUS || sent == SIGABRT ||
                   sent == SIGFPE || sent == SIGILL
               ? EBADMSG
               : 0;
}
