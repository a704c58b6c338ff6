/* SPDX-License-Identifier: MIT
 *
 * Files in memory (broker/store/file.h) with faults: calls that fail, a disk
 * that is full, and power cuts, after which nothing is sure but what was
 * synced. Worse than any disk, and the same for the same seed. One thread.
 *
 * Of a write that was not synced a cut keeps all, nothing, a part up to a
 * random byte, or random sectors; each write by itself, in whatever order they
 * came. Names that were not synced are kept or not one by one. After a sync
 * that failed, what it was to write may never become durable, although a later
 * one succeeds and reading shows it: that is how Linux is.
 */
#ifndef BROKER_TESTS_STORE_SIM_FILES_H
#define BROKER_TESTS_STORE_SIM_FILES_H

#include "file.h"

enum sim_call {
    SIM_OPEN,
    SIM_WRITE,
    SIM_READ,
    SIM_SYNC,
    SIM_SIZE,
    SIM_TRUNCATE,
    SIM_RENAME,
    SIM_UNLINK,
    SIM_SYNC_NAMES,
    SIM_LIST,
    SIM_FREE_BYTES,
    SIM_CALLS,
};
#define SIM_BIT(call) (1u << (call))
#define SIM_ALL       (SIM_BIT(SIM_CALLS) - 1)
/* What changes something. */
#define SIM_CHANGES                                                            \
    (SIM_BIT(SIM_OPEN) | SIM_BIT(SIM_WRITE) | SIM_BIT(SIM_SYNC) |              \
        SIM_BIT(SIM_TRUNCATE) | SIM_BIT(SIM_RENAME) | SIM_BIT(SIM_UNLINK) |    \
        SIM_BIT(SIM_SYNC_NAMES))

/* Calls of these kinds (bits) fail: `count` of them, the first being the
 * `first`-th from now, 1 the next. A write that fails may have written a
 * part. */
struct sim_fault {
    unsigned calls;
    uint64_t first, count;
    int error;
};

/* NULL if memory is out; its `free` frees it. */
struct file_system *sim_files_new(uint64_t seed);

/* NULL: nothing fails (any more). */
void sim_files_fault(struct file_system *system, const struct sim_fault *fault);
/* How many calls of these kinds there were. */
uint64_t sim_files_count(const struct file_system *system, unsigned calls);
/* How many were made to fail. */
uint64_t sim_files_failed(const struct file_system *system);
/* The disk holds so many bytes of all files together; 0: no limit. */
void sim_files_capacity(struct file_system *system, uint64_t bytes);

/* The power goes in the middle of the n-th call from now that changes
 * something (SIM_CHANGES), 1 the next; `cut` is called then. 0: it does not. */
void sim_files_cut_at(
    struct file_system *system, uint64_t n, void (*cut)(void *arg), void *arg);
bool sim_files_is_off(const struct file_system *system);

/* From now on every call fails and does nothing. */
void sim_files_power_off(struct file_system *system);
/* The process ends, the system stays: every call fails from now on, but what
 * was written can be read when it is "on" again, synced or not. */
void sim_files_kill(struct file_system *system);
/* What is left is there again; files that were open stay dead. */
void sim_files_power_on(struct file_system *system);

/* ---- from outside -------------------------------------------------------- */

/* Another file system that has what this one shows now, as if it were synced.
 * NULL if memory is out. */
struct file_system *sim_files_copy(
    const struct file_system *system, uint64_t seed);
/* The name of the file after this one in some order that stays; NULL: the
 * first, or the end. */
const char *sim_files_next(const struct file_system *system, const char *name);
/* Its bytes, to look at and to damage, until it is written or truncated. NULL:
 * no such file. What is damaged is damaged on the disk too. */
uint8_t *sim_files_bytes(
    struct file_system *system, const char *name, size_t *size);
/* Cut it off; it must not be larger than it is. */
void sim_files_shorten(
    struct file_system *system, const char *name, size_t size);

#endif
