/* SPDX-License-Identifier: MIT
 *
 * The command line of bench_load. */
#ifndef BROKER_BENCH_OPTIONS_H
#define BROKER_BENCH_OPTIONS_H

#include "rig.h"

/* Read the command line, or explain it and exit. */
void options_parse(struct options *options, int argc, char **argv);

#endif
