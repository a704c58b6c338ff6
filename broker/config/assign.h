/* SPDX-License-Identifier: MIT
 *
 * Giving a key the value that stands in a file or on the command line. Internal
 * to broker/config.
 */
#ifndef BROKER_CONFIG_ASSIGN_H
#define BROKER_CONFIG_ASSIGN_H

#include "report.h"

/* Longest value, with NUL: more than any address needs. */
#define CONFIG_VALUE_BYTES_MAX 512

/* Judge the value and store it, with where it came from. `value.data` is
 * NUL-terminated. Errors are reported and leave *config as it was. A list
 * grows, but what an earlier source put in it goes. */
void config_assign(struct config *config, const struct config_row *row,
    struct config_text value, const struct config_origin *origin,
    struct config_report *report);

#endif
