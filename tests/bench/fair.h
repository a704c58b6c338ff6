/* SPDX-License-Identifier: MIT
 *
 * The load that asks whether a broker is fair: a pair that exchanges single
 * messages at a paced rate, alone and beside others that flood it. */
#ifndef BROKER_BENCH_FAIR_H
#define BROKER_BENCH_FAIR_H

#include "rig.h"

/* The first flow of the rig is the paced pair, all others flood. Prints the
 * result. */
void load_fair(struct rig *rig);

#endif
