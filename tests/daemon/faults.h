/* SPDX-License-Identifier: MIT
 *
 * What faults.c and the tests that order faults have in common: a file of these
 * numbers, mapped by both. Python writes it with struct.pack("=9q").
 */
#ifndef BROKER_TESTS_FAULTS_H
#define BROKER_TESTS_FAULTS_H

#include <stdatomic.h>
#include <stdint.h>

struct faults {
    _Atomic int64_t allocations; /* asked for so far, all threads */
    _Atomic int64_t fail_at;     /* the number of the one that fails; 0: none */
    _Atomic int64_t fail_count;  /* and how many after it, itself included */
    _Atomic int64_t failed;      /* so far */
    _Atomic int64_t monotonic_ms; /* added to the clocks that are never set */
    _Atomic int64_t realtime_ms;  /* added to the wall clock */
    _Atomic int64_t sync_error;   /* errno of each fdatasync(); 0: it works */
    _Atomic int64_t write_error;  /* of each pwrite() */
    _Atomic int64_t sync_ms;      /* that each fdatasync() takes longer */
};

#endif
