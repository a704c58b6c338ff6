/* SPDX-License-Identifier: MIT
 *
 * Loader of proto/vectors: see vector.h.
 */
#include "vector.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void
vector_fatal(const struct vector_line *line, const char *what)
{
    fprintf(stderr, "%s:%u: %s\n", line->path, line->number, what);
    exit(2);
}

static void *
must_have(void *memory)
{
    if (memory == NULL) {
        fputs("out of memory\n", stderr);
        exit(2);
    }
    return memory;
}

/* ---- lines and words ----------------------------------------------------- */

static char *
read_whole(const char *path)
{
    FILE *file = fopen(path, "rb");
    size_t len = 0, cap = 1 << 16;
    char *text = must_have(malloc(cap));

    if (file == NULL) {
        perror(path);
        exit(2);
    }
    while ((len += fread(text + len, 1, cap - len - 1, file)) == cap - 1) {
        cap *= 2;
        text = must_have(realloc(text, cap));
    }
    fclose(file);
    text[len] = '\0';
    return text;
}

/* Cut the next word off *at; quotes protect blanks. NULL at the line's end. */
static char *
next_word(char **at)
{
    char *word = *at + strspn(*at, " ");
    char *end = word;

    if (*word == '\0' || *word == '#') {
        return NULL;
    }
    for (int quoted = 0; *end != '\0' && (quoted || *end != ' '); end++) {
        quoted ^= *end == '"';
    }
    *at = end + (*end != '\0');
    *end = '\0';
    return word;
}

/* Words of one line to `words`; their number. */
static size_t
split_line(char *text, char **words)
{
    size_t n = 0;

    while ((words[n] = next_word(&text)) != NULL) {
        n++;
    }
    return n;
}

void
vector_load(struct vector_file *out, const char *dir, const char *name)
{
    size_t path_len = strlen(dir) + strlen(name) + 2, text_len;
    unsigned number = 0;
    char **free_word;

    memset(out, 0, sizeof *out);
    out->path = must_have(malloc(path_len));
    snprintf(out->path, path_len, "%s/%s", dir, name);
    out->text = read_whole(out->path);
    text_len = strlen(out->text);
    /* A word takes two bytes of text at least, a line one. */
    free_word = out->words = must_have(malloc((text_len + 2) * sizeof(char *)));
    out->lines = must_have(malloc((text_len + 1) * sizeof *out->lines));
    for (char *at = out->text, *end; *at != '\0'; at = end) {
        size_t words;

        end = at + strcspn(at, "\n");
        if (*end != '\0') {
            *end++ = '\0';
        }
        number++;
        words = split_line(at, free_word);
        if (words != 0) {
            out->lines[out->count++] =
                (struct vector_line){out->path, number, words, free_word};
            free_word += words;
        }
    }
}

void
vector_unload(struct vector_file *file)
{
    free(file->lines);
    free(file->words);
    free(file->text);
    free(file->path);
}

/* ---- records ------------------------------------------------------------- */

static int
begins_record(const struct vector_line *line)
{
    return strcmp(line->word[0], "frame") == 0 ||
           strcmp(line->word[0], "refuse") == 0;
}

int
vector_next_record(
    const struct vector_file *file, size_t *pos, struct vector_record *out)
{
    if (*pos == file->count) {
        return 0;
    }
    if (!begins_record(&file->lines[*pos])) {
        vector_fatal(&file->lines[*pos], "neither frame nor refuse");
    }
    out->lines = &file->lines[*pos];
    out->count = 1;
    while (*pos + out->count < file->count &&
           !begins_record(&out->lines[out->count])) {
        out->count++;
    }
    *pos += out->count;
    return 1;
}

const struct vector_line *
vector_find(const struct vector_record *record, const char *key, size_t n)
{
    for (size_t i = 0; i < record->count; i++) {
        if (strcmp(record->lines[i].word[0], key) == 0 && n-- == 0) {
            return &record->lines[i];
        }
    }
    return NULL;
}

/* ---- values -------------------------------------------------------------- */

static void
append(struct vector_bytes *bytes, const void *data, size_t len)
{
    if (len != 0) {
        bytes->data = must_have(realloc(bytes->data, bytes->len + len));
        memcpy(bytes->data + bytes->len, data, len);
        bytes->len += len;
    }
}

/* What was appended since `start`, `times` in all. */
static void
repeat(struct vector_bytes *bytes, size_t start, size_t times)
{
    size_t part = bytes->len - start, done = part, len = part * times;
    uint8_t *first;

    if (len > part) {
        bytes->data = must_have(realloc(bytes->data, start + len));
    }
    first = bytes->data + start;
    /* Doubling: some vectors are 16 MiB of one byte. */
    while (done < len) {
        size_t more = done < len - done ? done : len - done;

        memcpy(first + done, first, more);
        done += more;
    }
    bytes->len = start + len;
}

static void
append_hex(const struct vector_line *line, struct vector_bytes *bytes,
    const char *digits, size_t len)
{
    if (len % 2 != 0) {
        vector_fatal(line, "odd number of hex digits");
    }
    for (size_t i = 0; i < len; i += 2) {
        char pair[3] = {digits[i], digits[i + 1], '\0'};
        uint8_t byte = (uint8_t)strtoul(pair, NULL, 16);

        append(bytes, &byte, 1);
    }
}

static void
append_word(
    const struct vector_line *line, struct vector_bytes *bytes, const char *at)
{
    for (;;) {
        size_t start = bytes->len, len;

        if (*at == '"') {
            len = strcspn(++at, "\"");
            append(bytes, at, len);
            at += len + (at[len] == '"');
        } else {
            len = strspn(at, "0123456789abcdef");
            append_hex(line, bytes, at, len);
            at += len;
        }
        if (*at == '*') {
            repeat(bytes, start, strtoul(at + 1, (char **)&at, 10));
        }
        if (*at == '\0') {
            return;
        }
        if (*at++ != ',') {
            vector_fatal(line, "not a byte string");
        }
    }
}

struct vector_bytes
vector_get_word(const struct vector_line *line, size_t i)
{
    struct vector_bytes bytes = {must_have(malloc(1)), 0};

    if (i >= line->words) {
        vector_fatal(line, "a word is missing");
    }
    append_word(line, &bytes, line->word[i]);
    return bytes;
}

struct vector_bytes
vector_get_bytes(const struct vector_line *line, size_t first)
{
    struct vector_bytes bytes = vector_get_word(line, first);

    for (size_t i = first + 1; i < line->words; i++) {
        append_word(line, &bytes, line->word[i]);
    }
    return bytes;
}

struct vector_bytes
vector_get_hex(const struct vector_record *record)
{
    struct vector_bytes bytes = {must_have(malloc(1)), 0};
    const struct vector_line *line;

    for (size_t n = 0; (line = vector_find(record, "hex", n)) != NULL; n++) {
        for (size_t i = 1; i < line->words; i++) {
            append_word(line, &bytes, line->word[i]);
        }
    }
    return bytes;
}

uint64_t
vector_get_number(const struct vector_line *line, size_t i, size_t *times)
{
    unsigned long long value;
    size_t n = 1;
    char *end;

    if (i >= line->words) {
        vector_fatal(line, "a number is missing");
    }
    value = strtoull(line->word[i], &end, 0);
    if (times != NULL && *end == '*') {
        n = strtoul(end + 1, &end, 10);
    }
    if (*end != '\0') {
        vector_fatal(line, "not a number");
    }
    if (times != NULL) {
        *times = n;
    }
    return value;
}
