/* SPDX-License-Identifier: MIT
 *
 * Values as text. Knows rows and units, but neither files nor flags nor struct
 * config. A number is read as digits and a suffix from the table of its unit.
 */
#include "value.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>
#include <strings.h>

struct suffix {
    const char *text;
    uint64_t factor;
};

/* Largest first: that is how the format function looks for the one to use.
 * The first spelling of a factor is the one that is written. */
static const struct suffix byte_suffixes[] = {
    {"TiB", CONFIG_TIB},
    {"T", CONFIG_TIB},
    {"GiB", CONFIG_GIB},
    {"G", CONFIG_GIB},
    {"MiB", CONFIG_MIB},
    {"M", CONFIG_MIB},
    {"KiB", CONFIG_KIB},
    {"K", CONFIG_KIB},
    {"", 1},
    {"B", 1},
    {NULL, 0},
};
static const struct suffix time_suffixes[] = {
    {"h", 3600000},
    {"m", 60000},
    {"s", 1000},
    {"ms", 1},
    {"", 1},
    {NULL, 0},
};
static const struct suffix no_suffixes[] = {
    {"", 1},
    {NULL, 0},
};

static const struct suffix *
unit_suffixes(enum config_unit unit)
{
    switch (unit) {
    case CONFIG_UNIT_BYTES:
        return byte_suffixes;
    case CONFIG_UNIT_TIME:
        return time_suffixes;
    case CONFIG_UNIT_COUNT:
    case CONFIG_UNIT_OCTAL:
        break;
    }
    return no_suffixes;
}

bool
config_text_equals(struct config_text text, const char *other)
{
    return strlen(other) == text.len && memcmp(text.data, other, text.len) == 0;
}

/* a * b, or UINT64_MAX if that does not fit. */
static uint64_t
multiply(uint64_t a, uint64_t b)
{
    return b != 0 && a > UINT64_MAX / b ? UINT64_MAX : a * b;
}

/* Digits at the start of the text; returns how many. */
static size_t
parse_digits(struct config_text text, unsigned base, uint64_t *out)
{
    uint64_t value = 0;
    size_t n = 0;

    for (; n < text.len; n++) {
        unsigned digit = (unsigned)(unsigned char)text.data[n] - '0';
        if (digit >= base) {
            break;
        }
        value = multiply(value, base);
        value = value > UINT64_MAX - digit ? UINT64_MAX : value + digit;
    }
    *out = value;
    return n;
}

/* "64kib" can only mean one thing, but the "M" of "5M" is no minute. */
static bool
suffix_equals(
    enum config_unit unit, struct config_text text, const char *suffix)
{
    if (unit == CONFIG_UNIT_BYTES) {
        return strlen(suffix) == text.len &&
               strncasecmp(suffix, text.data, text.len) == 0;
    }
    return config_text_equals(text, suffix);
}

bool
config_number_parse(
    enum config_unit unit, struct config_text text, uint64_t *out)
{
    uint64_t value;
    size_t n = parse_digits(text, unit == CONFIG_UNIT_OCTAL ? 8 : 10, &value);
    const struct suffix *suffix = unit_suffixes(unit);
    struct config_text rest;

    if (n == 0) {
        return false;
    }
    while (n < text.len && text.data[n] == ' ') {
        n++;
    }
    rest = (struct config_text){text.data + n, text.len - n};
    for (; suffix->text != NULL; suffix++) {
        if (suffix_equals(unit, rest, suffix->text)) {
            *out = multiply(value, suffix->factor);
            return true;
        }
    }
    return false;
}

const char *
config_number_format(
    enum config_unit unit, uint64_t value, char dst[CONFIG_TEXT_BYTES])
{
    const struct suffix *suffix = unit_suffixes(unit);

    if (unit == CONFIG_UNIT_OCTAL) {
        snprintf(dst, CONFIG_TEXT_BYTES, "0%" PRIo64, value);
        return dst;
    }
    while (suffix->factor > 1 && (value == 0 || value % suffix->factor != 0)) {
        suffix++;
    }
    snprintf(dst, CONFIG_TEXT_BYTES, "%" PRIu64 "%s", value / suffix->factor,
        suffix->text);
    return dst;
}

bool
config_word_find(const char *words, struct config_text word, uint64_t *out)
{
    for (uint64_t i = 0;; i++) {
        struct config_text candidate = config_word_at(words, i);
        if (candidate.len == 0) {
            return false;
        }
        if (candidate.len == word.len &&
            memcmp(candidate.data, word.data, word.len) == 0) {
            *out = i;
            return true;
        }
    }
}

struct config_text
config_word_at(const char *words, uint64_t index)
{
    for (; index > 0 && *words != '\0'; index--) {
        words += strcspn(words, " ");
        words += strspn(words, " ");
    }
    return (struct config_text){words, strcspn(words, " ")};
}

/* "no or yes", "debug, info, warning or error" */
static void
format_words(const char *words, char dst[CONFIG_TEXT_BYTES])
{
    size_t n = 0;

    dst[0] = '\0';
    for (uint64_t i = 0;; i++) {
        struct config_text word = config_word_at(words, i);
        const char *between = ", ";
        if (word.len == 0) {
            return;
        }
        if (i == 0) {
            between = "";
        } else if (word.data[word.len] == '\0') {
            between = " or ";
        }
        int written = snprintf(dst + n, CONFIG_TEXT_BYTES - n, "%s%.*s",
            between, (int)word.len, word.data);
        assert(written > 0 && (size_t)written < CONFIG_TEXT_BYTES - n);
        n += (size_t)written;
    }
}

const char *
config_range_format(const struct config_row *row, char dst[CONFIG_TEXT_BYTES])
{
    char min[CONFIG_TEXT_BYTES];
    char max[CONFIG_TEXT_BYTES];

    switch (row->kind) {
    case CONFIG_KIND_NUMBER:
        config_number_format(row->unit, row->min, min);
        config_number_format(row->unit, row->max, max);
        snprintf(dst, CONFIG_TEXT_BYTES, "%.30s to %.30s%s", min, max,
            row->may_be_auto ? " or auto" : "");
        break;
    case CONFIG_KIND_CHOICE:
        format_words(row->words, dst);
        break;
    case CONFIG_KIND_ADDRESSES:
        snprintf(dst, CONFIG_TEXT_BYTES,
            "unix:///absolute/path, tcp://host:port, tls://host:port or auto");
        break;
    case CONFIG_KIND_PATH:
        snprintf(dst, CONFIG_TEXT_BYTES, "/absolute/path or " CONFIG_NONE);
        break;
    case CONFIG_KIND_WORD:
        snprintf(dst, CONFIG_TEXT_BYTES, "a name or " CONFIG_NONE);
        break;
    }
    return dst;
}

const char *
config_default_format(const struct config_row *row, char dst[CONFIG_TEXT_BYTES])
{
    struct config_text word;

    if (row->may_be_auto) {
        snprintf(dst, CONFIG_TEXT_BYTES, "auto");
    } else if (row->kind == CONFIG_KIND_NUMBER) {
        config_number_format(row->unit, row->initial, dst);
    } else if (config_row_is_text(row)) {
        snprintf(dst, CONFIG_TEXT_BYTES, CONFIG_NONE);
    } else {
        word = config_word_at(row->words, row->initial);
        snprintf(dst, CONFIG_TEXT_BYTES, "%.*s", (int)word.len, word.data);
    }
    return dst;
}

static bool
is_blank(char byte)
{
    return byte == ' ' || byte == '\t';
}

/* Only blanks, or blanks and a comment? */
static bool
is_rest_empty(struct config_text line, size_t i)
{
    while (i < line.len && is_blank(line.data[i])) {
        i++;
    }
    return i == line.len || line.data[i] == '#';
}

static bool
unquote_plain(struct config_text line, char *dst, size_t cap, size_t *len,
    const char **why)
{
    size_t end = 0;

    while (end < line.len && !(line.data[end] == '#' &&
                                 (end == 0 || is_blank(line.data[end - 1])))) {
        end++;
    }
    while (end > 0 && is_blank(line.data[end - 1])) {
        end--;
    }
    if (end == 0) {
        *why = "there is no value";
        return false;
    }
    if (end >= cap) {
        *why = "the value is too long";
        return false;
    }
    memcpy(dst, line.data, end);
    dst[end] = '\0';
    *len = end;
    return true;
}

static bool
unquote_quoted(struct config_text line, char *dst, size_t cap, size_t *len,
    const char **why)
{
    size_t n = 0;

    for (size_t i = 1; i < line.len; i++) {
        char byte = line.data[i];
        if (byte == '"') {
            dst[n] = '\0';
            *len = n;
            *why = "something follows the closing quote";
            return is_rest_empty(line, i + 1);
        }
        if (byte == '\\') {
            byte = ++i < line.len ? line.data[i] : '\0';
            if (byte != '"' && byte != '\\') {
                *why = "in quotes, only \\\" and \\\\ may follow a backslash";
                return false;
            }
        }
        if (n + 1 >= cap) {
            *why = "the value is too long";
            return false;
        }
        dst[n++] = byte;
    }
    *why = "the closing quote is missing";
    return false;
}

bool
config_unquote(struct config_text line, char *dst, size_t cap, size_t *len,
    const char **why)
{
    while (line.len > 0 && is_blank(line.data[0])) {
        line.data++;
        line.len--;
    }
    if (line.len > 0 && line.data[0] == '"') {
        return unquote_quoted(line, dst, cap, len, why);
    }
    return unquote_plain(line, dst, cap, len, why);
}

void
config_quote(struct config_text text, FILE *out)
{
    bool plain = text.len > 0;

    for (size_t i = 0; i < text.len; i++) {
        plain = plain && strchr(" \t\"\\#", text.data[i]) == NULL;
    }
    if (!plain) {
        fputc('"', out);
    }
    for (size_t i = 0; i < text.len; i++) {
        if (!plain && (text.data[i] == '"' || text.data[i] == '\\')) {
            fputc('\\', out);
        }
        fputc(text.data[i], out);
    }
    if (!plain) {
        fputc('"', out);
    }
}
