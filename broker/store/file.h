/* SPDX-License-Identifier: MIT
 *
 * Files, as far as the store needs them: one small interface, so that tests can
 * lose what was not synced, tear writes, run out of space, fail at any call and
 * flip bits. All paths are names within one directory that was opened.
 *
 * Every function returns 0 or a number of errno(3), unless it says otherwise.
 * Calls for different files may come from different threads at the same time.
 */
#ifndef BROKER_STORE_FILE_H
#define BROKER_STORE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct file;

struct file_system {
    /* Open the file, make it if `create` and it is not there (else ENOENT). */
    int (*open)(struct file_system *system, const char *name, bool create,
        struct file **out);
    void (*close)(struct file_system *system, struct file *file);
    /* All bytes are written at that place, or an error. */
    int (*write)(struct file_system *system, struct file *file, const void *src,
        size_t len, uint64_t offset);
    /* *got is below `len` only at the end of the file. */
    int (*read)(struct file_system *system, struct file *file, void *dst,
        size_t len, uint64_t offset, size_t *got);
    /* What was written is durable when this returns 0; after anything else
     * nothing is known of it, and trying again proves nothing. */
    int (*sync)(struct file_system *system, struct file *file);
    int (*size)(struct file_system *system, struct file *file, uint64_t *size);
    int (*truncate)(
        struct file_system *system, struct file *file, uint64_t size);
    /* Names are durable only after sync_names. */
    int (*rename)(struct file_system *system, const char *from, const char *to);
    int (*unlink)(struct file_system *system, const char *name);
    int (*sync_names)(struct file_system *system);
    /* Call for each name of a file, in any order. */
    int (*list)(struct file_system *system,
        void (*name)(void *arg, const char *name), void *arg);
    /* Bytes that may still be written, as the system says. */
    int (*free_bytes)(struct file_system *system, uint64_t *bytes);
    void (*free)(struct file_system *system);
};

/* The files of this directory, which is there. NULL and *error. */
struct file_system *file_system_open(const char *directory, int *error);

/* Take the directory's lock, which ends when the descriptor is closed.
 * EWOULDBLOCK: another process has it. */
int directory_lock(const char *directory, int *descriptor);

#endif
