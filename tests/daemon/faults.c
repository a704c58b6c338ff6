/* SPDX-License-Identifier: MIT
 *
 * A library for LD_PRELOAD that takes brokerd's memory, time and disk away: the
 * allocations that a test orders fail, so does writing to files, and clocks
 * jump when it says so. The orders come through the file that BROKER_FAULTS
 * names (faults.h), also while brokerd runs. Without it nothing is changed.
 *
 * Built on glibc's own names of its allocator: dlsym() would allocate.
 */
#include "faults.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *old, size_t size);

static struct faults nothing;
static struct faults *faults = &nothing;

__attribute__((constructor)) static void
begin(void)
{
    const char *path = getenv("BROKER_FAULTS");
    int fd = path == NULL ? -1 : open(path, O_RDWR | O_CLOEXEC);
    void *map;

    if (fd < 0) {
        return;
    }
    map = mmap(NULL, sizeof *faults, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (map != MAP_FAILED) {
        faults = map;
    }
}

/* ---- memory -------------------------------------------------------------- */

static int
fails(void)
{
    int64_t number = atomic_fetch_add(&faults->allocations, 1) + 1;
    int64_t first = faults->fail_at;

    if (first == 0 || number < first || number - first >= faults->fail_count) {
        return 0;
    }
    atomic_fetch_add(&faults->failed, 1);
    errno = ENOMEM;
    return 1;
}

EXPORT void *
malloc(size_t size)
{
    return fails() ? NULL : __libc_malloc(size);
}

EXPORT void *
calloc(size_t n, size_t size)
{
    return fails() ? NULL : __libc_calloc(n, size);
}

EXPORT void *
realloc(void *old, size_t size)
{
    return fails() ? NULL : __libc_realloc(old, size);
}

/* ---- time ---------------------------------------------------------------- */

static void
add_ms(struct timespec *time, int64_t ms)
{
    int64_t ns = time->tv_nsec + ms % 1000 * 1000000;

    time->tv_sec += (time_t)(ms / 1000);
    if (ns < 0) {
        ns += 1000000000;
        time->tv_sec--;
    } else if (ns >= 1000000000) {
        ns -= 1000000000;
        time->tv_sec++;
    }
    time->tv_nsec = (long)ns;
}

EXPORT int
clock_gettime(clockid_t clock, struct timespec *now)
{
    if (syscall(SYS_clock_gettime, clock, now) != 0) {
        return -1;
    }
    switch (clock) {
    case CLOCK_MONOTONIC:
    case CLOCK_MONOTONIC_COARSE:
    case CLOCK_MONOTONIC_RAW:
    case CLOCK_BOOTTIME:
        add_ms(now, faults->monotonic_ms);
        break;
    case CLOCK_REALTIME:
    case CLOCK_REALTIME_COARSE:
        add_ms(now, faults->realtime_ms);
        break;
    default:
        break;
    }
    return 0;
}

EXPORT int
gettimeofday(struct timeval *restrict now, void *restrict zone)
{
    struct timespec precise;

    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &precise) != 0) {
        return -1;
    }
    now->tv_sec = precise.tv_sec;
    now->tv_usec = precise.tv_nsec / 1000;
    return 0;
}

EXPORT time_t
time(time_t *now)
{
    struct timespec precise = {0};

    (void)clock_gettime(CLOCK_REALTIME, &precise);
    if (now != NULL) {
        *now = precise.tv_sec;
    }
    return precise.tv_sec;
}

/* ---- disk ---------------------------------------------------------------- */

static int
disk_fails(int64_t error)
{
    if (error == 0) {
        return 0;
    }
    errno = (int)error;
    return 1;
}

EXPORT int
fdatasync(int fd)
{
    int64_t ms = faults->sync_ms;
    struct timespec pause = {ms / 1000, (long)(ms % 1000) * 1000000};

    if (ms > 0) {
        (void)nanosleep(&pause, NULL);
    }
    return disk_fails(faults->sync_error) ? -1
                                          : (int)syscall(SYS_fdatasync, fd);
}

EXPORT ssize_t
pwrite(int fd, const void *data, size_t len, off_t offset)
{
    return disk_fails(faults->write_error)
               ? -1
               : (ssize_t)syscall(SYS_pwrite64, fd, data, len, offset);
}
