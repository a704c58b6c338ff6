/* SPDX-License-Identifier: MIT
 *
 * The store in files of this machine: a journal that all streams share, and
 * tables that it is emptied into (proto/STORE.md has the format, and why it is
 * so). One process at a time has a directory.
 *
 * Threads: a commit thread writes and syncs the journal, a table thread writes
 * checkpoints and reads what is not in memory. The ports' threads never wait
 * for a disk.
 */
#ifndef BROKER_STORE_LOCAL_H
#define BROKER_STORE_LOCAL_H

#include "store.h"

struct base;
struct file_system;

enum store_log_level { STORE_LOG_INFO, STORE_LOG_WARNING, STORE_LOG_ERROR };

struct store_local_options {
    const char *directory; /* made if it is not there; mode 0700 */
    /* 0 for each of the following: the default. */
    uint64_t journal_bytes;   /* of one journal file; 32 MiB */
    uint64_t memory_bytes;    /* of tables in memory, both; 64 MiB */
    uint64_t in_flight_bytes; /* not durable yet, then STORE_AGAIN; 16 MiB */
    uint64_t reserve_bytes;   /* of the disk, left free; 64 MiB */
    uint32_t max_publishers;  /* whose numbers are remembered; 100,000 */
    /* For tests. NULL: files of the directory. They, and the tables, are the
     * caller's and live on when the store is closed. With `base` there are no
     * tables in the directory, with both nothing of it is touched. */
    struct file_system *files;
    struct base *base;
    /* For tests: the wall clock in milliseconds. NULL: that of the system. */
    uint64_t (*now_ms)(void *arg);
    void *now_arg;
    /* For tests: no threads, store_local_step() does their work. */
    bool manual;
    /* From any thread; `text` is one line. NULL: nobody listens. */
    void (*log)(void *arg, enum store_log_level level, const char *event,
        const char *text);
    void *log_arg;
};

/* Open or make the store, after a crash too. NULL: `why` says it, with what to
 * do. What is damaged is set aside, named in the log and counted; what holds is
 * kept. Blocks; call it before there is an event loop. */
struct store *store_local_open(
    const struct store_local_options *options, char *why, size_t why_size);

/* With `manual`: do one piece of what the threads would do; false: there was
 * nothing to do. */
bool store_local_step(struct store *store);

#endif
