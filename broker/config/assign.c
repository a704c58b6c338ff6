/* SPDX-License-Identifier: MIT
 *
 * One key, one value: the word "auto", a number in its range, one of the words
 * of a choice, one more address of a list, a path, or a name. Knows nothing of
 * lines or flags; the caller says where the value stands.
 */
#include "assign.h"

#include <stdlib.h>
#include <string.h>

/* What names of accounts are made of. */
#define WORD_BYTES                                                             \
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"
#define WORD_BYTES_MAX 32

static void
set_origin(struct config *config, enum config_key key,
    const struct config_origin *origin, bool automatic)
{
    config->origins[key] = *origin;
    config->origins[key].automatic = automatic;
}

static void
assign_number(struct config *config, const struct config_row *row,
    struct config_text value, const struct config_origin *origin,
    struct config_report *report)
{
    static const char *const nouns[] = {
        [CONFIG_UNIT_COUNT] = "a number",
        [CONFIG_UNIT_BYTES] = "a number of bytes (B, KiB, MiB, GiB, TiB)",
        [CONFIG_UNIT_TIME] = "a time (ms, s, m, h)",
        [CONFIG_UNIT_OCTAL] = "a file mode",
    };
    char shown[CONFIG_TEXT_BYTES];
    char range[CONFIG_TEXT_BYTES];
    uint64_t number;

    if (!config_number_parse(row->unit, value, &number)) {
        config_report(report, "%s = %s: not %s; allowed: %s", row->name,
            config_show(value, shown), nouns[row->unit],
            config_range_format(row, range));
    } else if (number < row->min || number > row->max) {
        config_report(report, "%s = %s: out of range; allowed: %s", row->name,
            config_show(value, shown), config_range_format(row, range));
    } else {
        config_set(config, config_row_key(row), number);
        set_origin(config, config_row_key(row), origin, false);
    }
}

static void
assign_choice(struct config *config, const struct config_row *row,
    struct config_text value, const struct config_origin *origin,
    struct config_report *report)
{
    char shown[CONFIG_TEXT_BYTES];
    char range[CONFIG_TEXT_BYTES];
    uint64_t index;

    if (!config_word_find(row->words, value, &index)) {
        config_report(report, "%s = %s: unknown word; allowed: %s", row->name,
            config_show(value, shown), config_range_format(row, range));
        return;
    }
    config_set(config, config_row_key(row), index);
    set_origin(config, config_row_key(row), origin, false);
}

static bool
address_equals(const struct broker_address *a, const struct broker_address *b)
{
    if (a->kind != b->kind) {
        return false;
    }
    if (a->kind == BROKER_ADDRESS_UNIX) {
        return strcmp(a->path, b->path) == 0;
    }
    return strcmp(a->host, b->host) == 0 && strcmp(a->port, b->port) == 0 &&
           strcmp(a->port, "0") != 0; /* a free port each time */
}

/* In a file every line is checked; a flag may bring anything. */
static bool
has_control_bytes(struct config_text text)
{
    for (size_t i = 0; i < text.len; i++) {
        unsigned char byte = (unsigned char)text.data[i];
        if (byte < 0x20 || byte == 0x7f) {
            return true;
        }
    }
    return false;
}

/* Forget what the defaults or an earlier source said. */
static void
begin_list(struct config *config, const struct config_origin *origin)
{
    const struct config_origin *old = &config->origins[CONFIG_KEY_listen];

    if (old->source != origin->source) {
        free(config->listen);
        config->listen = NULL;
        config->listen_count = 0;
    }
}

static void
append_address(struct config *config, const struct broker_address *address,
    const struct config_origin *origin, struct config_report *report)
{
    struct broker_address *grown =
        reallocarray(config->listen, config->listen_count + 1, sizeof(*grown));

    if (grown == NULL) {
        config_report(report, "listen: out of memory");
        return;
    }
    config->listen = grown;
    config->listen[config->listen_count++] = *address;
    set_origin(config, CONFIG_KEY_listen, origin, false);
}

/* The only list is `listen`; a second one would move the pointers into the
 * row. */
static void
assign_address(struct config *config, const struct config_row *row,
    struct config_text value, const struct config_origin *origin,
    struct config_report *report)
{
    char shown[CONFIG_TEXT_BYTES];
    struct broker_address address;
    const struct config_origin *old = &config->origins[config_row_key(row)];
    const char *why = "control characters in an address";

    if (has_control_bytes(value) ||
        broker_address_parse(value.data, &address, &why) != BROKER_OK) {
        config_report(
            report, "%s = %s: %s", row->name, config_show(value, shown), why);
        return;
    }
    if (old->source == origin->source && old->automatic) {
        config_report(report, "%s = %s: auto was given before it", row->name,
            config_show(value, shown));
        return;
    }
    begin_list(config, origin);
    for (size_t i = 0; i < config->listen_count; i++) {
        if (address_equals(&config->listen[i], &address)) {
            config_report(report, "%s = %s: given twice", row->name,
                config_show(value, shown));
            return;
        }
    }
    append_address(config, &address, origin, report);
}

/* Why this is no path; NULL: it is one. */
static const char *
judge_path(struct config_text value)
{
    if (value.data[0] != '/') {
        return "not an absolute path; allowed: /absolute/path or " CONFIG_NONE;
    }
    if (has_control_bytes(value)) {
        return "control characters in a path";
    }
    return value.len >= CONFIG_VALUE_BYTES_MAX ? "the path is too long" : NULL;
}

/* The same for a name of an account or group; whether it exists is not asked
 * here. */
static const char *
judge_word(struct config_text value)
{
    bool is_name = value.len > 0 && value.len <= WORD_BYTES_MAX;

    for (size_t i = 0; is_name && i < value.len; i++) {
        is_name =
            strchr(WORD_BYTES, value.data[i]) != NULL && value.data[i] != '\0';
    }
    return is_name ? NULL : "not the name of an account or group";
}

static void
assign_text(struct config *config, const struct config_row *row,
    struct config_text value, const struct config_origin *origin,
    struct config_report *report)
{
    char shown[CONFIG_TEXT_BYTES];
    const char *why = NULL;
    char *text = NULL;

    if (!config_text_equals(value, CONFIG_NONE)) {
        why = row->kind == CONFIG_KIND_PATH ? judge_path(value)
                                            : judge_word(value);
        if (why == NULL && (text = strdup(value.data)) == NULL) {
            why = "out of memory";
        }
    }
    if (why != NULL) {
        config_report(
            report, "%s = %s: %s", row->name, config_show(value, shown), why);
        return;
    }
    config_set_text(config, config_row_key(row), text);
    set_origin(config, config_row_key(row), origin, false);
}

static void
assign_auto(struct config *config, const struct config_row *row,
    const struct config_origin *origin, struct config_report *report)
{
    if (row->kind == CONFIG_KIND_ADDRESSES) {
        begin_list(config, origin);
        if (config->listen_count > 0) {
            config_report(report, "%s = \"auto\": addresses were given before",
                row->name);
            return;
        }
    }
    set_origin(config, config_row_key(row), origin, true);
}

void
config_assign(struct config *config, const struct config_row *row,
    struct config_text value, const struct config_origin *origin,
    struct config_report *report)
{
    if (row->may_be_auto && config_text_equals(value, "auto")) {
        assign_auto(config, row, origin, report);
        return;
    }
    switch (row->kind) {
    case CONFIG_KIND_NUMBER:
        assign_number(config, row, value, origin, report);
        break;
    case CONFIG_KIND_CHOICE:
        assign_choice(config, row, value, origin, report);
        break;
    case CONFIG_KIND_ADDRESSES:
        assign_address(config, row, value, origin, report);
        break;
    case CONFIG_KIND_PATH:
    case CONFIG_KIND_WORD:
        assign_text(config, row, value, origin, report);
        break;
    }
}
