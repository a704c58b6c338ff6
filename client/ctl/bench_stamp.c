/* SPDX-License-Identifier: MIT
 *
 * The stamp in a payload; see bench_stamp.h. Both ends are on one machine, so
 * the bytes lie in its order.
 */
#include "bench_stamp.h"

#include <stdio.h>
#include <string.h>

#define MAGIC_MEASURED UINT32_C(0x62726b4d)
#define MAGIC_WARMUP   UINT32_C(0x62726b57)

#define FNV_START UINT32_C(2166136261)
#define FNV_PRIME UINT32_C(16777619)

uint32_t
bench_stamp_machine(void)
{
    FILE *file = fopen("/proc/sys/kernel/random/boot_id", "re");
    uint32_t hash = FNV_START;
    int c;

    if (file != NULL) {
        while ((c = fgetc(file)) != EOF) {
            hash = (hash ^ (uint32_t)c) * FNV_PRIME;
        }
        (void)fclose(file);
    }
    return hash;
}

void
bench_stamp_write(uint8_t *payload, const struct bench_stamp *stamp)
{
    const uint32_t magic = stamp->warmup ? MAGIC_WARMUP : MAGIC_MEASURED;

    memcpy(payload, &magic, sizeof magic);
    memcpy(payload + 4, &stamp->machine, sizeof stamp->machine);
    memcpy(payload + 8, &stamp->due_ns, sizeof stamp->due_ns);
}

bool
bench_stamp_read(const uint8_t *payload, size_t len, struct bench_stamp *stamp)
{
    uint32_t magic;

    if (len < BENCH_STAMP_BYTES) {
        return false;
    }
    memcpy(&magic, payload, sizeof magic);
    if (magic != MAGIC_MEASURED && magic != MAGIC_WARMUP) {
        return false;
    }
    stamp->warmup = magic == MAGIC_WARMUP;
    memcpy(&stamp->machine, payload + 4, sizeof stamp->machine);
    memcpy(&stamp->due_ns, payload + 8, sizeof stamp->due_ns);
    return true;
}
