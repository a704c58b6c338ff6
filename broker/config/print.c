/* SPDX-License-Identifier: MIT
 *
 * What brokerd says about its configuration: --help, --version, --check, the
 * sample file, the values in effect. All of it comes from keys.def.
 */
#include <string.h>

#include "value.h"

#define COLUMNS 79

/* Write words one after the other, each line begun by `indent`. */
static void
print_wrapped(FILE *out, const char *indent, const char *text)
{
    size_t column = 0;

    while (*text != '\0') {
        size_t len = strcspn(text, " ");
        if (column > 0 && column + 1 + len > COLUMNS) {
            fputc('\n', out);
            column = 0;
        }
        column += (size_t)fprintf(
            out, "%s%.*s", column == 0 ? indent : " ", (int)len, text);
        text += len;
        text += strspn(text, " ");
    }
    fputc('\n', out);
}

static void
print_help_key(FILE *out, const struct config_row *row)
{
    char range[CONFIG_TEXT_BYTES];
    char initial[CONFIG_TEXT_BYTES];
    char allowed[3 * CONFIG_TEXT_BYTES];

    fprintf(out, "  --%s VALUE\n", row->name);
    print_wrapped(out, "        ", row->help);
    snprintf(allowed, sizeof(allowed), "Allowed: %s. Default: %s.",
        config_range_format(row, range), config_default_format(row, initial));
    print_wrapped(out, "        ", allowed);
}

static void
print_help(FILE *out)
{
    fputs("Usage: brokerd [--config FILE] [--KEY VALUE]...\n"
          "       brokerd --check | --print-effective [--config FILE]"
          " [--KEY VALUE]...\n"
          "       brokerd --help | --version | --print-sample\n"
          "\n"
          "A publish/subscribe message broker. Without arguments it listens on"
          " this\nmachine only.\n"
          "\n"
          "  --config FILE       read FILE; default: " CONFIG_DEFAULT_FILE
          " if it exists\n"
          "  --check             read and check the configuration, then exit\n"
          "  --print-effective   the same, and print every value and where it"
          " comes from\n"
          "  --print-sample      print a configuration file with all"
          " defaults\n"
          "  --version, -V       print the version\n"
          "  --help, -h          print this\n"
          "\n"
          "Every key of the file is a flag too, and counts more than the file."
          " Write\n--max_output_bytes 64KiB or --max-output-bytes=64KiB."
          " Bytes take B, KiB, MiB,\nGiB or TiB (K, M, G and T mean the same),"
          " times take ms, s, m or h.\n",
        out);
#define CONFIG_HEADING(text) fprintf(out, "\n%s:\n", text);
#define CONFIG_NUMBER(name, type, unit, min, max, initial, help)               \
    print_help_key(out, &config_rows[CONFIG_KEY_##name]);
#define CONFIG_AUTO_NUMBER(name, type, unit, min, max, help)                   \
    print_help_key(out, &config_rows[CONFIG_KEY_##name]);
#define CONFIG_CHOICE(name, type, words, initial, help)                        \
    print_help_key(out, &config_rows[CONFIG_KEY_##name]);
#define CONFIG_ADDRESSES(name, help)                                           \
    print_help_key(out, &config_rows[CONFIG_KEY_##name]);
#define CONFIG_PATH(name, help)                                                \
    print_help_key(out, &config_rows[CONFIG_KEY_##name]);
#define CONFIG_WORD(name, help)                                                \
    print_help_key(out, &config_rows[CONFIG_KEY_##name]);
#include "keys.def"
}

static void
print_sample_key(FILE *out, const struct config_row *row)
{
    char range[CONFIG_TEXT_BYTES];
    char initial[CONFIG_TEXT_BYTES];

    fputc('\n', out);
    print_wrapped(out, "# ", row->help);
    fprintf(out, "# Allowed: %s.\n", config_range_format(row, range));
    fprintf(out, "#%s = %s\n", row->name, config_default_format(row, initial));
}

static void
print_sample(FILE *out)
{
    fputs("# brokerd.conf: configuration of brokerd(8), described in"
          " brokerd.conf(5).\n"
          "#\n"
          "# Every key is shown with its default. To change one, remove the #"
          " in front of\n"
          "# it. brokerd --check reads the file and says what is wrong with"
          " it.\n",
        out);
#define CONFIG_HEADING(text) fprintf(out, "\n\n# ---- %s ----\n", text);
#define CONFIG_NUMBER(name, type, unit, min, max, initial, help)               \
    print_sample_key(out, &config_rows[CONFIG_KEY_##name]);
#define CONFIG_AUTO_NUMBER(name, type, unit, min, max, help)                   \
    print_sample_key(out, &config_rows[CONFIG_KEY_##name]);
#define CONFIG_CHOICE(name, type, words, initial, help)                        \
    print_sample_key(out, &config_rows[CONFIG_KEY_##name]);
#define CONFIG_ADDRESSES(name, help)                                           \
    print_sample_key(out, &config_rows[CONFIG_KEY_##name]);
#define CONFIG_PATH(name, help)                                                \
    print_sample_key(out, &config_rows[CONFIG_KEY_##name]);
#define CONFIG_WORD(name, help)                                                \
    print_sample_key(out, &config_rows[CONFIG_KEY_##name]);
#include "keys.def"
}

/* The end of a line of --print-effective: where the value comes from. */
static void
print_origin(FILE *out, const struct config_origin *origin)
{
    const char *how = origin->automatic ? ", auto" : "";

    switch (origin->source) {
    case CONFIG_FROM_DEFAULT:
        fprintf(out, "  # default%s\n", how);
        break;
    case CONFIG_FROM_FILE:
        fprintf(out, "  # line %u%s\n", origin->line, how);
        break;
    case CONFIG_FROM_FLAG:
        fprintf(out, "  # flag%s\n", how);
        break;
    }
}

static void
print_effective_key(
    FILE *out, const struct config *config, const struct config_row *row)
{
    const struct config_origin *origin = &config->origins[row - config_rows];
    uint64_t value = config_get(config, config_row_key(row));
    char number[CONFIG_TEXT_BYTES];
    struct config_text word;

    if (row->kind == CONFIG_KIND_NUMBER) {
        fprintf(out, "%s = %s", row->name,
            config_number_format(row->unit, value, number));
    } else {
        word = config_word_at(row->words, value);
        fprintf(out, "%s = %.*s", row->name, (int)word.len, word.data);
    }
    print_origin(out, origin);
}

static void
print_effective_listen(FILE *out, const struct config *config)
{
    char text[BROKER_ADDRESS_TEXT_MAX];

    for (size_t i = 0; i < config->listen_count; i++) {
        broker_address_format(&config->listen[i], text, sizeof(text));
        fputs("listen = ", out);
        config_quote((struct config_text){text, strlen(text)}, out);
        print_origin(out, &config->origins[CONFIG_KEY_listen]);
    }
}

static void
print_effective_text(
    FILE *out, const struct config *config, const struct config_row *row)
{
    const char *text = config_get_text(config, config_row_key(row));

    fprintf(out, "%s = ", row->name);
    if (text == NULL) {
        text = CONFIG_NONE;
    }
    config_quote((struct config_text){text, strlen(text)}, out);
    print_origin(out, &config->origins[row - config_rows]);
}

static void
print_effective(FILE *out, const struct config *config)
{
    if (config->file != NULL) {
        fprintf(out, "# from the command line and %s\n", config->file);
    }
    for (size_t i = 0; i < CONFIG_KEY_COUNT; i++) {
        if (config_rows[i].kind == CONFIG_KIND_ADDRESSES) {
            print_effective_listen(out, config);
        } else if (config_row_is_text(&config_rows[i])) {
            print_effective_text(out, config, &config_rows[i]);
        } else {
            print_effective_key(out, config, &config_rows[i]);
        }
    }
}

void
config_answer(const struct config *config, enum config_action action, FILE *out)
{
    switch (action) {
    case CONFIG_RUN:
        break;
    case CONFIG_HELP:
        print_help(out);
        break;
    case CONFIG_VERSION:
        fputs("brokerd " BROKERD_VERSION "\n", out);
        break;
    case CONFIG_CHECK:
        fprintf(out, "%s: ok\n",
            config->file != NULL ? config->file : "no configuration file");
        break;
    case CONFIG_PRINT_EFFECTIVE:
        print_effective(out, config);
        break;
    case CONFIG_PRINT_SAMPLE:
        print_sample(out);
        break;
    }
}
