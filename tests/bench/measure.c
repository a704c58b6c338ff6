/* SPDX-License-Identifier: MIT
 *
 * Time, CPU time and memory. See measure.h. */
#include "measure.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static uint64_t
clock_ns(clockid_t clock)
{
    struct timespec t;
    if (clock_gettime(clock, &t) != 0) {
        give_up("clock: %s", strerror(errno));
    }
    return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

uint64_t
now_ns(void)
{
    return clock_ns(CLOCK_MONOTONIC);
}

uint64_t
process_cpu_ns(pid_t pid)
{
    clockid_t clock;
    int error = clock_getcpuclockid(pid, &clock);
    if (error != 0) {
        give_up("CPU time of process %ld: %s", (long)pid, strerror(error));
    }
    return clock_ns(clock);
}

uint64_t
process_resident_bytes(pid_t pid)
{
    char path[64];
    char line[256];
    unsigned long long kib = 0;
    snprintf(path, sizeof(path), "/proc/%ld/status", (long)pid);
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        give_up("%s: %s", path, strerror(errno));
    }
    while (fgets(line, sizeof(line), file) != NULL) {
        if (sscanf(line, "VmRSS: %llu kB", &kib) == 1) {
            break;
        }
    }
    fclose(file);
    if (kib == 0) {
        give_up("%s has no VmRSS", path);
    }
    return (uint64_t)kib * 1024;
}

uint64_t
process_waited_ns(pid_t pid)
{
    char path[64];
    unsigned long long ran = 0;
    unsigned long long waited = 0;
    snprintf(path, sizeof(path), "/proc/%ld/schedstat", (long)pid);
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return 0;
    }
    if (fscanf(file, "%llu %llu", &ran, &waited) != 2) {
        waited = 0;
    }
    fclose(file);
    return waited;
}

void
give_up(const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    for (char *c = text; *c != '\0'; c++) {
        /* What would need an escape in JSON; some texts quote a peer. */
        if (*c == '"' || *c == '\\' || (unsigned char)*c < ' ' ||
            (unsigned char)*c > '~') {
            *c = '.';
        }
    }
    printf("{\"ok\": false, \"error\": \"%s\"}\n", text);
    exit(EXIT_FAILURE);
}

void *
allocate(size_t bytes)
{
    void *memory = malloc(bytes);
    if (memory == NULL) {
        give_up("out of memory (%zu bytes)", bytes);
    }
    return memory;
}
