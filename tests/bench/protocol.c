/* SPDX-License-Identifier: MIT
 *
 * Topics, and the list of protocols. See protocol.h. */
#include "protocol.h"

#include <stdio.h>
#include <string.h>

const struct protocol *
protocol_find(const char *name)
{
    static const struct protocol *const all[] = {&protocol_brokerd,
        &protocol_relay, &protocol_nats, &protocol_redis, &protocol_mqtt};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        if (strcmp(all[i]->name, name) == 0) {
            return all[i];
        }
    }
    return NULL;
}

void
topic_name(char dst[TOPIC_BYTES + 1], char separator, unsigned topic)
{
    snprintf(dst, TOPIC_BYTES + 1, "bench%ctopic%c%07u", separator, separator,
        topic % TOPICS_MAX);
}

void
topic_filter(char dst[TOPIC_BYTES + 3], const struct protocol *protocol,
    unsigned topic, enum filter_shape shape)
{
    const size_t cap = TOPIC_BYTES + 3;
    const char s = protocol->separator;
    const char *any = protocol->any_level;
    const unsigned number = topic % TOPICS_MAX;
    if (shape == FILTER_EXACT) {
        topic_name(dst, s, topic);
        return;
    }
    switch (number % 4) {
    case 0:
        snprintf(dst, cap, "%s%ctopic%c%07u", any, s, s, number);
        break;
    case 1:
        snprintf(dst, cap, "bench%c%s%c%07u", s, any, s, number);
        break;
    case 2:
        if (protocol->any_below != NULL) {
            snprintf(dst, cap, "bench%ctopic%c%07u%c%s", s, s, number, s,
                protocol->any_below);
            break;
        }
        /* fall through */
    default:
        snprintf(dst, cap, "%s%c%s%c%07u", any, s, any, s, number);
        break;
    }
}
