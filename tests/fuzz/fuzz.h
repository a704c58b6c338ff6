/* SPDX-License-Identifier: MIT
 *
 * What all fuzz targets share: libFuzzer's entry point, and how a promise that
 * was broken is reported.
 */
#ifndef BROKER_TESTS_FUZZ_H
#define BROKER_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Crash, so that libFuzzer keeps the input, with a sentence that says why. */
#define FUZZ_REQUIRE(good, why)                                                \
    do {                                                                       \
        if (!(good)) {                                                         \
            fprintf(stderr, "broken promise: %s\n", (why));                    \
            abort();                                                           \
        }                                                                      \
    } while (0)

/* A copy in memory of exactly its size, for the sanitizer to guard its end.
 * The caller frees it. */
static inline uint8_t *
fuzz_copy(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size);

    FUZZ_REQUIRE(copy != NULL || size == 0, "memory");
    if (size != 0) {
        memcpy(copy, data, size);
    }
    return copy;
}

#endif
