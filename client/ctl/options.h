/* SPDX-License-Identifier: MIT
 *
 * The option parser. A command describes its options in a table and gets a
 * struct of settings filled in; the same table prints --help. Knows nothing of
 * commands, and prints nothing.
 *
 * Options may stand before, between and behind arguments; "--" ends them.
 * "--name=value", "--name value", "-nvalue", "-n value" and clustered letters
 * ("-vr") are all understood. Names are not abbreviated: a script must not
 * break when an option is added.
 */
#ifndef BROKERCTL_OPTIONS_H
#define BROKERCTL_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What an option takes, and the type of the settings field at its offset. */
enum option_type {
    OPTION_FLAG,     /* bool: set to true */
    OPTION_TEXT,     /* const char *: points into argv */
    OPTION_LIST,     /* struct text_list: one more with each use */
    OPTION_COUNT,    /* uint64_t: at least 1 */
    OPTION_NUMBER,   /* uint64_t: 0 as well */
    OPTION_SIZE,     /* uint64_t: bytes */
    OPTION_DURATION, /* uint64_t: nanoseconds */
    OPTION_CHOICE,   /* int: the value of the word that was chosen */
    OPTION_REST,     /* char **: this and everything behind it, as execvp
                        wants it; never empty */
};

/* A word that an OPTION_CHOICE accepts; a table ends with a NULL word. */
struct option_choice {
    const char *word;
    int value;
};

/* One option; a table ends with a NULL name. */
struct option_spec {
    const char *name; /* long name without the dashes */
    char letter;      /* short name, or 0 */
    enum option_type type;
    const char *argument; /* what --help calls the value; NULL for a flag */
    const char *help;     /* one line */
    size_t offset;        /* of the field in the settings */
    const struct option_choice *choices; /* OPTION_CHOICE only */
};

struct text_list {
    const char **items; /* pointers into argv */
    size_t count;
};

/* A table and the settings that it fills. */
struct option_group {
    const struct option_spec *specs;
    void *settings;
};

enum options_mode {
    OPTIONS_ALL,         /* read everything */
    OPTIONS_TO_ARGUMENT, /* stop before the first argument */
};

struct options_input {
    const struct option_group *groups; /* earlier groups win equal names */
    size_t group_count;
    enum options_mode mode;
    char **argv; /* without the program's name; NULL-terminated */
    size_t argc;
};

#define OPTIONS_WHY_MAX 256

struct options_result {
    size_t used;           /* entries of argv that were read */
    size_t argument_count; /* arguments, moved to the front of argv */
    char why[OPTIONS_WHY_MAX];
};

/* Read argv. True: the settings are filled in, argv[0..argument_count) are the
 * arguments that are no options. False: result->why is a sentence for the user;
 * settings may be partly filled. Lists allocate: call options_release(). */
bool options_parse(
    const struct options_input *input, struct options_result *result);

/* Does the option stand on the command line with another value than it has
 * without? `defaults` may be NULL: all zero. Not for lists. */
bool options_given(
    const struct option_spec *spec, const void *settings, const void *defaults);

/* Free what options_parse() allocated in the settings of one group. */
void options_release(const struct option_group *group);

#endif
