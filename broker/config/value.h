/* SPDX-License-Identifier: MIT
 *
 * Values as text: numbers with units, words, ranges, quotes. Pure functions.
 * Internal to broker/config.
 */
#ifndef BROKER_CONFIG_VALUE_H
#define BROKER_CONFIG_VALUE_H

#include "table.h"

/* The default of a path or word: there is none. */
#define CONFIG_NONE "none"

/* Room for any text that the format functions below write, with NUL. */
#define CONFIG_TEXT_BYTES 96

/* Text that somebody else owns; not NUL-terminated. */
struct config_text {
    const char *data;
    size_t len;
};

bool config_text_equals(struct config_text text, const char *other);

/* Read a number in the unit of the row, e.g. "64KiB", "15s", "0600". True and
 * *out, which may still be out of the row's range (it is UINT64_MAX if it does
 * not fit); or false if it is no number in that unit. */
bool config_number_parse(
    enum config_unit unit, struct config_text text, uint64_t *out);

/* Write a number with the largest unit that leaves it whole. Returns dst. */
const char *config_number_format(
    enum config_unit unit, uint64_t value, char dst[CONFIG_TEXT_BYTES]);

/* The index of a word in a list of words, or false. */
bool config_word_find(
    const char *words, struct config_text word, uint64_t *out);

/* The word with this index; empty past the end of the list. */
struct config_text config_word_at(const char *words, uint64_t index);

/* What is allowed for a key, e.g. "1 to 1000000 or auto". Returns dst. */
const char *config_range_format(
    const struct config_row *row, char dst[CONFIG_TEXT_BYTES]);

/* The default of a key as text, e.g. "32MiB". Returns dst. */
const char *config_default_format(
    const struct config_row *row, char dst[CONFIG_TEXT_BYTES]);

/* Take the value off a line that begins with it: a word up to a comment, or a
 * text in double quotes in which \" and \\ stand for " and \. True with the
 * value in dst[0..cap), NUL-terminated, and its length in *len; or false with
 * a sentence in *why. */
bool config_unquote(struct config_text line, char *dst, size_t cap, size_t *len,
    const char **why);

/* Write text so that config_unquote() reads it back; only bytes that
 * may stand in a file may be in it. */
void config_quote(struct config_text text, FILE *out);

#endif
