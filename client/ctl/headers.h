/* SPDX-License-Identifier: MIT
 *
 * The headers of a message as they stand on the command line: "key=value".
 */
#ifndef BROKERCTL_HEADERS_H
#define BROKERCTL_HEADERS_H

#include <broker/client.h>

#include "options.h"

struct headers {
    struct broker_client_header *list;
    char **keys; /* what list[].key points to */
    size_t count;
};

/* Read all of `texts`, in order. True, then headers_free() is due; or false:
 * what is wrong was said. The values are views into argv. */
bool headers_parse(struct headers *headers, const struct text_list *texts,
    const char *command);

void headers_free(struct headers *headers);

#endif
