/* SPDX-License-Identifier: MIT
 *
 * What a measurement needs from the system: the time, another process's CPU
 * time and memory, and a way to give up. Knows nothing of brokers. */
#ifndef BROKER_BENCH_MEASURE_H
#define BROKER_BENCH_MEASURE_H

#include <stdint.h>
#include <sys/types.h>

#define NS_PER_S  UINT64_C(1000000000)
#define NS_PER_MS UINT64_C(1000000)

/* Monotonic, in nanoseconds. */
uint64_t now_ns(void);

/* CPU time, user and system, of all threads that process `pid` has or had: the
 * utime + stime of /proc/PID/stat, but in nanoseconds, not in ticks. Gives up
 * if there is no such process. */
uint64_t process_cpu_ns(pid_t pid);

/* Resident memory of process `pid`, in bytes. Gives up like the above. */
uint64_t process_resident_bytes(pid_t pid);

/* How long process `pid` could have run but waited for a core (its first
 * thread, since it started): what other programs on the machine took from it.
 * 0 where the kernel does not say. */
uint64_t process_waited_ns(pid_t pid);

/* Print {"ok": false, "error": TEXT} and exit with status 1. This program does
 * one measurement; one that goes wrong is worth nothing. */
void give_up(const char *format, ...)
    __attribute__((noreturn, format(printf, 1, 2)));

/* malloc or give up. */
void *allocate(size_t bytes);

#endif
