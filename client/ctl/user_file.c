/* SPDX-License-Identifier: MIT
 *
 * Reading and replacing the password file; see user_file.h.
 */
#include "user_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* What brokerd reads at most. */
#define FILE_BYTES_MAX (8 * 1024 * 1024)

static bool
fail(char why[USER_FILE_WHY_MAX], const char *path, const char *what)
{
    (void)snprintf(
        why, USER_FILE_WHY_MAX, "%s: %s: %s", path, what, strerror(errno));
    return false;
}

/* ---- reading ------------------------------------------------------------- */

struct image {
    char *data;
    size_t len;
    bool exists;
    struct stat st;
};

static void
image_free(struct image *image)
{
    if (image->data != NULL) {
        secret_wipe(image->data, image->len);
    }
    free(image->data);
}

static bool
read_open_file(int fd, struct image *image)
{
    size_t cap;

    if (fstat(fd, &image->st) != 0) {
        return false;
    }
    if (!S_ISREG(image->st.st_mode) || image->st.st_size > FILE_BYTES_MAX) {
        errno = S_ISREG(image->st.st_mode) ? EFBIG : EINVAL;
        return false;
    }
    cap = (size_t)image->st.st_size;
    image->data = malloc(cap + 1);
    if (image->data == NULL) {
        return false;
    }
    while (image->len < cap) {
        ssize_t n = read(fd, image->data + image->len, cap - image->len);

        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            errno = n == 0 ? EIO : errno; /* it has shrunk */
            return false;
        }
        image->len += (size_t)n;
    }
    image->exists = true;
    return true;
}

/* The whole file; none is an empty one if `may_miss`. */
static bool
image_read(struct image *image, const char *path, bool may_miss)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    bool good;
    int saved;

    memset(image, 0, sizeof *image);
    if (fd < 0) {
        return may_miss && errno == ENOENT;
    }
    good = read_open_file(fd, image);
    saved = errno;
    close(fd);
    errno = saved;
    return good;
}

/* ---- lines --------------------------------------------------------------- */

struct line {
    const char *data; /* without blanks around it */
    size_t len;
    size_t whole; /* with blanks and line break */
};

static bool
is_blank(char byte)
{
    return byte == ' ' || byte == '\t' || byte == '\r';
}

static struct line
next_line(const char *data, size_t len)
{
    const char *newline = memchr(data, '\n', len);
    struct line line = {data, 0, len};

    if (newline != NULL) {
        line.whole = (size_t)(newline - data) + 1;
    }
    line.len = line.whole - (newline != NULL);
    while (line.len > 0 && is_blank(line.data[0])) {
        line.data++;
        line.len--;
    }
    while (line.len > 0 && is_blank(line.data[line.len - 1])) {
        line.len--;
    }
    return line;
}

/* Is it a line of the user, well formed or not? */
static bool
is_of_user(const struct line *line, const char *user, struct secret_line *cut)
{
    return secret_line_cut(line->data, line->len, cut) &&
           cut->name_len == strlen(user) &&
           memcmp(line->data, user, cut->name_len) == 0;
}

bool
user_file_each(const char *path, const char *user, user_file_fn fn,
    void *argument, char why[USER_FILE_WHY_MAX])
{
    struct image image;
    struct line line;
    struct secret_line cut;
    bool good = image_read(&image, path, false);

    if (!good) {
        fail(why, path, "cannot read it");
    }
    for (size_t at = 0; good && at < image.len; at += line.whole) {
        char hash[SECRET_HASH_BYTES] = "";

        line = next_line(image.data + at, image.len - at);
        if (!is_of_user(&line, user, &cut) ||
            secret_line_check(line.data, line.len, &cut) != NULL) {
            continue;
        }
        memcpy(hash, line.data + cut.hash_at, line.len - cut.hash_at);
        fn(cut.kind, hash, argument);
        secret_wipe(hash, sizeof hash);
    }
    image_free(&image);
    return good;
}

/* ---- changing ------------------------------------------------------------ */

static void
append(struct image *image, const char *data, size_t len)
{
    memcpy(image->data + image->len, data, len);
    image->len += len;
}

static void
append_line(struct image *image, const struct user_file_change *change)
{
    append(image, change->user, strlen(change->user));
    append(image, ":", 1);
    append(image, change->hash, strlen(change->hash));
    append(image, "\n", 1);
}

/* The new file: a new password stands where the old one stood. False: memory
 * is out. */
static bool
edit(const struct image *old, const struct user_file_change *change,
    struct image *new, size_t *removed)
{
    bool added = change->hash == NULL;
    struct line line;
    struct secret_line cut;

    memset(new, 0, sizeof *new);
    *removed = 0;
    new->data = malloc(old->len + SECRET_LINE_BYTES + 2);
    if (new->data == NULL) {
        return false;
    }
    for (size_t at = 0; at < old->len; at += line.whole) {
        line = next_line(old->data + at, old->len - at);
        if (!is_of_user(&line, change->user, &cut) ||
            !(cut.kind == SECRET_TOKEN ? change->remove_tokens
                                       : change->remove_password)) {
            append(new, old->data + at, line.whole);
            continue;
        }
        ++*removed;
        if (!added) {
            append_line(new, change);
            added = true;
        }
    }
    if (!added) {
        if (new->len > 0 && new->data[new->len - 1] != '\n') {
            append(new, "\n", 1);
        }
        append_line(new, change);
    }
    return true;
}

static bool
write_all(int fd, const struct image *image)
{
    size_t done = 0;

    while (done < image->len) {
        ssize_t n = write(fd, image->data + done, image->len - done);

        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return false;
        }
        done += (size_t)n;
    }
    return true;
}

/* Owner and group of the old file; its mode, but nothing for others. */
static bool
keep_owner(int fd, const struct image *old)
{
    struct stat st;

    if (!old->exists) {
        return true; /* mkostemp() made it 0600 */
    }
    if (fstat(fd, &st) != 0) {
        return false;
    }
    if ((st.st_uid != old->st.st_uid || st.st_gid != old->st.st_gid) &&
        fchown(fd, old->st.st_uid, old->st.st_gid) != 0) {
        return false;
    }
    return fchmod(fd, old->st.st_mode & (S_IRWXU | S_IRWXG)) == 0;
}

/* Write a new file beside the old one, and let it take its place. */
static bool
replace(const char *path, int folder, const struct image *old,
    const struct image *new, char why[USER_FILE_WHY_MAX])
{
    char temporary[PATH_MAX];
    const char *what = "cannot write a new file beside it";
    int saved, fd;

    if (snprintf(temporary, sizeof temporary, "%s.XXXXXX", path) >=
        (int)sizeof temporary) {
        errno = ENAMETOOLONG;
        return fail(why, path, what);
    }
    fd = mkostemp(temporary, O_CLOEXEC);
    if (fd < 0) {
        return fail(why, path, what);
    }
    if (!write_all(fd, new)) {
        goto fail;
    }
    what = "cannot keep its owner and mode; run this as its owner or as root";
    if (!keep_owner(fd, old)) {
        goto fail;
    }
    what = "cannot replace it";
    if (fsync(fd) != 0 || rename(temporary, path) != 0) {
        goto fail;
    }
    /* The new name survives a crash, too; the file itself is safe already. */
    (void)fsync(folder);
    close(fd);
    return true;
fail:
    saved = errno;
    close(fd);
    (void)unlink(temporary);
    errno = saved;
    return fail(why, path, what);
}

/* Where the file itself is: a symbolic link is not to be replaced. */
static bool
resolve(const char *path, char real[PATH_MAX])
{
    if (realpath(path, real) != NULL) {
        return true;
    }
    if (errno != ENOENT || strlen(path) >= PATH_MAX) {
        return false;
    }
    memcpy(real, path, strlen(path) + 1);
    return true;
}

/* The folder of the file, locked until it is closed; -1 with errno. */
static int
lock_folder(const char *path)
{
    char folder[PATH_MAX] = ".";
    const char *slash = strrchr(path, '/');
    int fd;

    if (slash != NULL) {
        size_t len = slash == path ? 1 : (size_t)(slash - path);

        memcpy(folder, path, len);
        folder[len] = '\0';
    }
    fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0 && flock(fd, LOCK_EX) != 0) {
        int saved = errno;

        close(fd);
        errno = saved;
        return -1;
    }
    return fd;
}

/* With the folder locked. */
static bool
apply_locked(const char *path, int folder,
    const struct user_file_change *change, size_t *removed,
    char why[USER_FILE_WHY_MAX])
{
    struct image old, new = {.data = NULL};
    bool good = false;

    if (!image_read(&old, path, change->hash != NULL)) {
        fail(why, path, "cannot read it");
    } else if (!edit(&old, change, &new, removed)) {
        fail(why, path, "cannot change it");
    } else {
        good = (*removed == 0 && change->hash == NULL) ||
               replace(path, folder, &old, &new, why);
    }
    image_free(&old);
    image_free(&new);
    return good;
}

bool
user_file_apply(const char *path, const struct user_file_change *change,
    size_t *removed, char why[USER_FILE_WHY_MAX])
{
    char real[PATH_MAX];
    bool good;
    int folder;

    if (!resolve(path, real)) {
        return fail(why, path, "cannot find it");
    }
    folder = lock_folder(real);
    if (folder < 0) {
        return fail(why, path, "cannot lock the folder that it is in");
    }
    good = apply_locked(real, folder, change, removed, why);
    close(folder);
    return good;
}
