/* SPDX-License-Identifier: MIT
 *
 * The command line: --key value, --key=value and a few actions. Internal to
 * broker/config.
 */
#ifndef BROKER_CONFIG_FLAGS_H
#define BROKER_CONFIG_FLAGS_H

#include "config.h"

struct config_flag {
    enum config_key key;
    const char *value; /* points into argv */
};

struct config_flags {
    enum config_action action;
    const char *file;           /* --config, or NULL; points into argv */
    struct config_flag *values; /* in their order */
    size_t count;
};

/* Take the command line apart. Returns the number of errors, each written to
 * `errors`. The struct is to be finished in any case. */
unsigned config_flags_init(
    struct config_flags *flags, int argc, char *const argv[], FILE *errors);
void config_flags_fini(struct config_flags *flags);

/* Give the keys their values. Returns the number of errors, each written to
 * `errors`. */
unsigned config_flags_assign(
    const struct config_flags *flags, struct config *config, FILE *errors);

#endif
