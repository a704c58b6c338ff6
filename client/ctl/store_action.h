/* SPDX-License-Identifier: MIT
 *
 * What the parts of "brokerctl store" share: a store is looked into through
 * broker/store/inspect.h, read only, with a broker running on it or without.
 */
#ifndef BROKERCTL_STORE_ACTION_H
#define BROKERCTL_STORE_ACTION_H

#include "catalogue.h"
#include "cmd.h"
#include "printer.h"

struct store_settings {
    struct printer_settings printer;
    const char *from;
    uint64_t count; /* 0: no limit */
    bool jsonl;
};

/* After store_inspect() has failed. */
enum ctl_exit store_complain(const char *why);

/* "journal-00000001, batch 7 at 4096", "tables.mdb, blocks". */
#define STORE_PLACE_MAX 160
const char *store_place(
    const struct inspect_where *where, char text[STORE_PLACE_MAX]);

/* arguments[0] is the action, [1] the directory. */
enum ctl_exit store_stat(const struct invocation *invocation);
enum ctl_exit store_verify(const struct invocation *invocation);
enum ctl_exit store_cat(const struct invocation *invocation);
enum ctl_exit store_export(const struct invocation *invocation);

#endif
