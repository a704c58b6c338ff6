/* SPDX-License-Identifier: MIT
 *
 * Loader of proto/vectors (format: proto/vectors/README.md). Standard C only,
 * so that it also runs where there is no test framework. Knows no frame type.
 *
 * A file that cannot be read or breaks the format ends the program with a
 * message: no test can do anything sensible with it.
 */
#ifndef BROKER_TESTS_VECTOR_H
#define BROKER_TESTS_VECTOR_H

#include <stddef.h>
#include <stdint.h>

/* A line that is not empty: word[0] is the key. */
struct vector_line {
    const char *path;
    unsigned number;
    size_t words;
    char **word;
};

struct vector_file {
    char *path;
    char *text;   /* what the words point into */
    char **words; /* of all lines */
    struct vector_line *lines;
    size_t count;
};

/* The lines of one `frame` or `refuse`, the first of them included. */
struct vector_record {
    const struct vector_line *lines;
    size_t count;
};

/* Bytes that the caller frees with free(). */
struct vector_bytes {
    uint8_t *data;
    size_t len;
};

void vector_load(struct vector_file *out, const char *dir, const char *name);
void vector_unload(struct vector_file *file);

/* Cut off the record that begins at line *pos and move *pos on. 0 at the end.
 */
int vector_next_record(
    const struct vector_file *file, size_t *pos, struct vector_record *out);

/* The n-th line (from 0) of a record with this key, or NULL. */
const struct vector_line *vector_find(
    const struct vector_record *record, const char *key, size_t n);

/* The words from `first` on as one byte string, or one word. */
struct vector_bytes vector_get_bytes(
    const struct vector_line *line, size_t first);
struct vector_bytes vector_get_word(const struct vector_line *line, size_t i);

/* The bytes of all `hex` lines of a record. */
struct vector_bytes vector_get_hex(const struct vector_record *record);

/* Word i as a number. *repeat is n of a trailing "*n", else 1; may be NULL if
 * none is allowed. */
uint64_t vector_get_number(
    const struct vector_line *line, size_t i, size_t *repeat);

/* End the program with what is wrong with a line. */
_Noreturn void vector_fatal(const struct vector_line *line, const char *what);

#endif
