/* SPDX-License-Identifier: MIT
 *
 * The main program of a simulation: one world for each seed, the same world
 * for the same seed. Knows nothing of what is simulated.
 */
#ifndef BROKER_TESTS_PROGRAM_H
#define BROKER_TESTS_PROGRAM_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>

#define PROGRAM_SIGHTS 32

struct program {
    const char *name;
    uint32_t workers_max; /* that --workers may ask for; 0: it may not */
    /* Live one world and return a digest of all bytes that came out of it. */
    uint64_t (*run)(const struct program *program);
    /* Texts that program_saw should be given: with --seen it is a failure if
     * one never was. Ends with NULL; or is NULL. */
    const char *const *expected;
    /* Of the world that is lived now: */
    const char *path;
    uint64_t seed;
    uint32_t workers;
    bool verbose;
    /* What was seen in all of them. */
    struct program_sight {
        const char *what;
        uint64_t count;
    } * sights; /* PROGRAM_SIGHTS */
};

/* For main: parses [--verbose] [--seen] [--workers N] --seeds FIRST COUNT, and
 * prints the digest of all worlds together. */
int program_main(struct program *program, int argc, char **argv);

/* Something happened that a simulation should see: counted by its text, which
 * is static, and printed at the end with --seen. */
void program_saw(const struct program *program, const char *what);

/* Print the seed, the sentence and how to see it again; end the program. */
_Noreturn void program_fail(const struct program *program, const char *format,
    va_list args) __attribute__((format(printf, 2, 0)));

#endif
