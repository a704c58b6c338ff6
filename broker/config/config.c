/* SPDX-License-Identifier: MIT
 *
 * The life of struct config, the lines of a configuration file, and the order
 * in which file and flags count. What a value may be is assign.c's business,
 * what flags look like flags.c's, what values mean together resolve.c's.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "assign.h"
#include "flags.h"

/* No configuration is this large; a device or a mistaken path may be. */
#define FILE_BYTES_MAX (1024 * 1024)

void
config_init(struct config *config)
{
    memset(config, 0, sizeof(*config));
    for (size_t i = 0; i < CONFIG_KEY_COUNT; i++) {
        const struct config_row *row = &config_rows[i];
        if (row->may_be_auto) {
            config->origins[i].automatic = true;
        } else if (!config_row_is_text(row)) {
            config_set(config, config_row_key(row), row->initial);
        }
    }
}

void
config_fini(struct config *config)
{
    free(config->listen);
    config->listen = NULL;
    config->listen_count = 0;
    for (size_t i = 0; i < CONFIG_KEY_COUNT; i++) {
        if (config_row_is_text(&config_rows[i])) {
            config_set_text(config, config_row_key(&config_rows[i]), NULL);
        }
    }
    free(config->file);
    config->file = NULL;
}

static struct config_text
trim(struct config_text text)
{
    while (text.len > 0 && strchr(" \t\r", text.data[0]) != NULL &&
           text.data[0] != '\0') {
        text.data++;
        text.len--;
    }
    while (text.len > 0 && strchr(" \t\r", text.data[text.len - 1]) != NULL &&
           text.data[text.len - 1] != '\0') {
        text.len--;
    }
    return text;
}

static bool
has_control_bytes(struct config_text text)
{
    for (size_t i = 0; i < text.len; i++) {
        unsigned char byte = (unsigned char)text.data[i];
        if ((byte < 0x20 && byte != '\t') || byte == 0x7f) {
            return true;
        }
    }
    return false;
}

static void
report_unknown(struct config_text name, struct config_report *report)
{
    char shown[CONFIG_TEXT_BYTES];
    const char *nearest = config_name_nearest(name.data, name.len, NULL, 0);

    if (nearest != NULL) {
        config_report(report, "unknown key %s; did you mean %s?",
            config_show(name, shown), nearest);
    } else {
        config_report(report, "unknown key %s; brokerd --help lists all keys",
            config_show(name, shown));
    }
}

/* key = value, both sides already apart. */
static void
read_pair(struct config *config, struct config_text name,
    struct config_text rest, struct config_report *report)
{
    const struct config_row *row = config_row_find(name.data, name.len);
    const struct config_origin origin = {
        .source = CONFIG_FROM_FILE, .line = report->line};
    char value[CONFIG_VALUE_BYTES_MAX];
    const struct config_origin *old;
    const char *why;
    size_t len;

    if (row == NULL) {
        report_unknown(name, report);
        return;
    }
    old = &config->origins[config_row_key(row)];
    if (row->kind != CONFIG_KIND_ADDRESSES && old->source == CONFIG_FROM_FILE) {
        config_report(
            report, "%s: given twice, first in line %u", row->name, old->line);
        return;
    }
    if (!config_unquote(rest, value, sizeof(value), &len, &why)) {
        config_report(report, "%s: %s", row->name, why);
        return;
    }
    config_assign(
        config, row, (struct config_text){value, len}, &origin, report);
}

static void
read_line(struct config *config, struct config_text line,
    struct config_report *report)
{
    const char *equals;

    line = trim(line);
    if (line.len == 0 || line.data[0] == '#') {
        return;
    }
    if (has_control_bytes(line)) {
        config_report(report, "control characters; this is no text");
        return;
    }
    equals = memchr(line.data, '=', line.len);
    if (equals == NULL || equals == line.data) {
        char shown[CONFIG_TEXT_BYTES];
        config_report(
            report, "%s: not \"key = value\"", config_show(line, shown));
        return;
    }
    size_t at = (size_t)(equals - line.data);
    read_pair(config, trim((struct config_text){line.data, at}),
        (struct config_text){equals + 1, line.len - at - 1}, report);
}

unsigned
config_read_text(struct config *config, const char *name, const char *text,
    size_t len, FILE *errors)
{
    struct config_report report = {.stream = errors, .file = name};

    while (len > 0) {
        const char *newline = memchr(text, '\n', len);
        size_t n = newline != NULL ? (size_t)(newline - text) : len;

        report.line++;
        read_line(config, (struct config_text){text, n}, &report);
        n += newline != NULL;
        text += n;
        len -= n;
    }
    return report.count;
}

/* Read a whole file into text[0..FILE_BYTES_MAX + 1); returns NULL or what is
 * wrong. */
static const char *
read_stream(FILE *stream, char *text, size_t *len)
{
    *len = fread(text, 1, FILE_BYTES_MAX + 1, stream);
    if (ferror(stream)) {
        return strerror(errno);
    }
    return *len > FILE_BYTES_MAX ? "larger than 1MiB" : NULL;
}

/* Read the file if it is there, or must be there. */
static unsigned
read_file(
    struct config *config, const char *path, bool must_exist, FILE *errors)
{
    struct config_report report = {.stream = errors, .file = path};
    FILE *stream = fopen(path, "re");
    char *text = NULL;
    const char *why = NULL;
    size_t len;

    if (stream == NULL) {
        if (errno != ENOENT || must_exist) {
            config_report(&report, "cannot read it: %s", strerror(errno));
        }
        return report.count;
    }
    config->file = strdup(path);
    text = malloc(FILE_BYTES_MAX + 1);
    if (config->file == NULL || text == NULL) {
        why = "out of memory";
    } else {
        why = read_stream(stream, text, &len);
    }
    if (why != NULL) {
        config_report(&report, "cannot read it: %s", why);
    } else {
        report.count += config_read_text(config, path, text, len, errors);
    }
    free(text);
    fclose(stream);
    return report.count;
}

bool
config_load(struct config *config, int argc, char *const argv[],
    const struct config_machine *machine, enum config_action *action,
    FILE *errors)
{
    struct config_flags flags;
    unsigned n_errors = config_flags_init(&flags, argc, argv, errors);
    bool needs_file = flags.action == CONFIG_RUN ||
                      flags.action == CONFIG_CHECK ||
                      flags.action == CONFIG_PRINT_EFFECTIVE;

    if (needs_file) {
        n_errors += read_file(config,
            flags.file != NULL ? flags.file : CONFIG_DEFAULT_FILE,
            flags.file != NULL, errors);
        n_errors += config_flags_assign(&flags, config, errors);
        if (n_errors == 0) {
            n_errors = config_resolve(config, machine, errors);
        }
    }
    *action = flags.action;
    config_flags_fini(&flags);
    return n_errors == 0;
}
