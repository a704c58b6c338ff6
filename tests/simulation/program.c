/* SPDX-License-Identifier: MIT
 *
 * Seeds from the command line; see program.h. */
#include "program.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void
program_fail(const struct program *program, const char *format, va_list args)
{
    fflush(stdout);
    fprintf(stderr, "%s: seed %" PRIu64 ": ", program->name, program->seed);
    vfprintf(stderr, format, args);
    fprintf(stderr, "\n  again: %s --verbose ", program->path);
    if (program->workers_max > 0) {
        fprintf(stderr, "--workers %" PRIu32 " ", program->workers);
    }
    fprintf(stderr, "--seeds %" PRIu64 " 1\n", program->seed);
    abort();
}

void
program_saw(const struct program *program, const char *what)
{
    for (int i = 0; i < PROGRAM_SIGHTS; i++) {
        struct program_sight *sight = &program->sights[i];
        if (sight->what == NULL || strcmp(sight->what, what) == 0) {
            sight->what = what;
            sight->count++;
            return;
        }
    }
}

static bool
was_seen(const struct program *program, const char *what)
{
    for (int i = 0; i < PROGRAM_SIGHTS; i++) {
        if (program->sights[i].what != NULL &&
            strcmp(program->sights[i].what, what) == 0) {
            return true;
        }
    }
    return false;
}

/* Returns false if something was never seen. */
static bool
show_sights(const struct program *program)
{
    bool all = true;
    for (int i = 0; i < PROGRAM_SIGHTS; i++) {
        const struct program_sight *sight = &program->sights[i];
        if (sight->what != NULL) {
            printf("%10" PRIu64 "  %s\n", sight->count, sight->what);
        }
    }
    for (const char *const *what = program->expected;
         what != NULL && *what != NULL; what++) {
        if (!was_seen(program, *what)) {
            printf("     never  %s\n", *what);
            all = false;
        }
    }
    return all;
}

static int
show_usage(const struct program *program)
{
    fprintf(stderr, "usage: %s [--verbose] [--seen] ", program->name);
    if (program->workers_max > 0) {
        fprintf(stderr, "[--workers 1-%" PRIu32 "] ", program->workers_max);
    }
    fprintf(stderr, "--seeds FIRST COUNT\n");
    return 2;
}

int
program_main(struct program *program, int argc, char **argv)
{
    uint64_t first = 0;
    uint64_t count = 0;
    bool seen = false;
    struct program_sight sights[PROGRAM_SIGHTS] = {{NULL, 0}};
    program->sights = sights;
    program->path = argv[0];
    program->workers = 1;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--verbose") == 0) {
            program->verbose = true;
        } else if (strcmp(argv[i], "--seen") == 0) {
            seen = true;
        } else if (strcmp(argv[i], "--workers") == 0 && i + 1 < argc) {
            program->workers = (uint32_t)strtoul(argv[++i], NULL, 10);
        } else if (strcmp(argv[i], "--seeds") == 0 && i + 2 < argc) {
            first = strtoull(argv[++i], NULL, 10);
            count = strtoull(argv[++i], NULL, 10);
        } else {
            return show_usage(program);
        }
    }
    if (count == 0 || program->workers == 0 ||
        (program->workers > 1 && program->workers > program->workers_max)) {
        return show_usage(program);
    }
    uint64_t digest = 0;
    for (uint64_t i = 0; i < count; i++) {
        program->seed = first + i;
        digest = digest * 31 + program->run(program);
    }
    if (seen && !show_sights(program)) {
        return 1;
    }
    printf("%s: %" PRIu64 " seeds from %" PRIu64 " on: good, digest %016" PRIx64
           "\n",
        program->name, count, first, digest);
    return 0;
}
