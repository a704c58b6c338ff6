/* SPDX-License-Identifier: MIT
 *
 * What the kernel says about memory. Internal to broker/config.
 */
#ifndef BROKER_CONFIG_MACHINE_H
#define BROKER_CONFIG_MACHINE_H

#include "config.h"

/* The lowest memory limit of the control groups (version 1 or 2) that this
 * process is in, in bytes, or UINT64_MAX if there is none. `root` stands in
 * front of /proc and /sys: "" but for tests. */
uint64_t config_cgroup_memory_bytes(const char *root);

#endif
