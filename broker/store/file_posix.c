/* SPDX-License-Identifier: MIT
 *
 * The files of a directory, by POSIX calls on its descriptor; see file.h. */
#include "file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

/* A call for more moves less than this. */
#define PIECE_MAX ((size_t)1 << 30)

struct file {
    int descriptor;
};

struct posix_files {
    struct file_system system;
    int directory;
};

static int
directory_of(const struct file_system *system)
{
    return ((const struct posix_files *)system)->directory;
}

static int
posix_open(struct file_system *system, const char *name, bool create,
    struct file **out)
{
    struct file *file = malloc(sizeof *file);
    if (file == NULL) {
        return ENOMEM;
    }
    int flags = O_RDWR | O_CLOEXEC | O_NOFOLLOW | (create ? O_CREAT : 0);
    file->descriptor = openat(directory_of(system), name, flags, 0600);
    if (file->descriptor < 0) {
        int error = errno;
        free(file);
        return error;
    }
    *out = file;
    return 0;
}

static void
posix_close(struct file_system *system, struct file *file)
{
    (void)system;
    if (file != NULL) {
        close(file->descriptor);
        free(file);
    }
}

static int
posix_write(struct file_system *system, struct file *file, const void *src,
    size_t len, uint64_t offset)
{
    (void)system;
    const uint8_t *next = src;
    while (len > 0) {
        size_t piece = len < PIECE_MAX ? len : PIECE_MAX;
        ssize_t n = pwrite(file->descriptor, next, piece, (off_t)offset);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return n < 0 ? errno : EIO;
        }
        next += n;
        offset += (uint64_t)n;
        len -= (size_t)n;
    }
    return 0;
}

static int
posix_read(struct file_system *system, struct file *file, void *dst, size_t len,
    uint64_t offset, size_t *got)
{
    (void)system;
    uint8_t *next = dst;
    *got = 0;
    while (*got < len) {
        size_t piece = len - *got < PIECE_MAX ? len - *got : PIECE_MAX;
        ssize_t n =
            pread(file->descriptor, next + *got, piece, (off_t)(offset + *got));
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return errno;
        }
        if (n == 0) {
            break;
        }
        *got += (size_t)n;
    }
    return 0;
}

static int
posix_sync(struct file_system *system, struct file *file)
{
    (void)system;
    return fdatasync(file->descriptor) == 0 ? 0 : errno;
}

static int
posix_size(struct file_system *system, struct file *file, uint64_t *size)
{
    (void)system;
    struct stat info;
    if (fstat(file->descriptor, &info) != 0) {
        return errno;
    }
    *size = (uint64_t)info.st_size;
    return 0;
}

static int
posix_truncate(struct file_system *system, struct file *file, uint64_t size)
{
    (void)system;
    return ftruncate(file->descriptor, (off_t)size) == 0 ? 0 : errno;
}

static int
posix_rename(struct file_system *system, const char *from, const char *to)
{
    int directory = directory_of(system);
    return renameat(directory, from, directory, to) == 0 ? 0 : errno;
}

static int
posix_unlink(struct file_system *system, const char *name)
{
    return unlinkat(directory_of(system), name, 0) == 0 ? 0 : errno;
}

static int
posix_sync_names(struct file_system *system)
{
    return fsync(directory_of(system)) == 0 ? 0 : errno;
}

static int
posix_list(struct file_system *system,
    void (*name)(void *arg, const char *name), void *arg)
{
    int again =
        openat(directory_of(system), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *directory = again < 0 ? NULL : fdopendir(again);
    if (directory == NULL) {
        int error = errno;
        if (again >= 0) {
            close(again);
        }
        return error;
    }
    struct dirent *entry;
    while (errno = 0, (entry = readdir(directory)) != NULL) {
        if (strcmp(entry->d_name, ".") != 0 &&
            strcmp(entry->d_name, "..") != 0) {
            name(arg, entry->d_name);
        }
    }
    int error = errno;
    closedir(directory);
    return error;
}

static int
posix_free_bytes(struct file_system *system, uint64_t *bytes)
{
    struct statvfs info;
    if (fstatvfs(directory_of(system), &info) != 0) {
        return errno;
    }
    *bytes = (uint64_t)info.f_bavail * info.f_frsize;
    return 0;
}

static void
posix_free(struct file_system *system)
{
    close(directory_of(system));
    free(system);
}

struct file_system *
file_system_open(const char *directory, int *error)
{
    struct posix_files *files = malloc(sizeof *files);
    if (files == NULL) {
        *error = ENOMEM;
        return NULL;
    }
    *files = (struct posix_files){.system = {.open = posix_open,
                                      .close = posix_close,
                                      .write = posix_write,
                                      .read = posix_read,
                                      .sync = posix_sync,
                                      .size = posix_size,
                                      .truncate = posix_truncate,
                                      .rename = posix_rename,
                                      .unlink = posix_unlink,
                                      .sync_names = posix_sync_names,
                                      .list = posix_list,
                                      .free_bytes = posix_free_bytes,
                                      .free = posix_free},
        .directory = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
    if (files->directory < 0) {
        *error = errno;
        free(files);
        return NULL;
    }
    return &files->system;
}

int
directory_lock(const char *directory, int *descriptor)
{
    char path[4096];
    int n = snprintf(path, sizeof path, "%s/lock", directory);
    if (n < 0 || (size_t)n >= sizeof path) {
        return ENAMETOOLONG;
    }
    int lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (lock < 0) {
        return errno;
    }
    if (flock(lock, LOCK_EX | LOCK_NB) != 0) {
        int error = errno;
        close(lock);
        return error;
    }
    *descriptor = lock;
    return 0;
}
