/* SPDX-License-Identifier: MIT
 *
 * Requests by token and by deadline.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "requests.h"

#define COUNT 300

static struct broker_bytes
bytes_of(const char *text)
{
    return (struct broker_bytes){(const uint8_t *)text, strlen(text)};
}

Test(requests, are_found_by_their_reply_topic)
{
    static const uint8_t random[16] = {0xde, 0xad};
    struct requests requests;
    char topic[REQUEST_TOPIC_BYTES_MAX + 1];
    requests_init(&requests, random);
    uint64_t token = requests_next_token(&requests);
    struct request *request = requests_add(&requests, token, 5);
    requests_topic(requests.inbox, token, topic);
    size_t last = strlen(topic) - 1;
    cr_assert_eq(strncmp(topic, "_inbox/dead", 11), 0);
    cr_assert_eq(requests_find(&requests, bytes_of(topic)), request);
    topic[last] ^= 2;
    cr_assert_null(requests_find(&requests, bytes_of(topic)));
    topic[last] = 'G';
    cr_assert_null(requests_find(&requests, bytes_of(topic)));
    topic[last] = '\0';
    cr_assert_null(requests_find(&requests, bytes_of(topic)));
    cr_assert_null(requests_find(&requests, bytes_of("a")));
    requests_remove(&requests, request);
    cr_assert_null(requests_first(&requests));
    requests_fini(&requests);
}

/* In and out in a scattered order; the first always has the least deadline. */
Test(requests, come_by_deadline)
{
    static const uint8_t random[16];
    static struct request *alive[COUNT];
    struct requests requests;
    uint32_t seed = 7;
    requests_init(&requests, random);
    for (int i = 0; i < 20000; i++) {
        seed = seed * 1664525 + 1013904223;
        size_t at = (seed >> 8) % COUNT;
        if (alive[at] != NULL) {
            requests_remove(&requests, alive[at]);
            alive[at] = NULL;
        } else {
            alive[at] = requests_add(
                &requests, requests_next_token(&requests), seed >> 16);
            cr_assert_not_null(alive[at]);
        }
        uint64_t least = UINT64_MAX;
        for (size_t k = 0; k < COUNT; k++) {
            if (alive[k] != NULL && alive[k]->deadline_us < least) {
                least = alive[k]->deadline_us;
            }
        }
        const struct request *first = requests_first(&requests);
        cr_assert_eq(first == NULL ? UINT64_MAX : first->deadline_us, least);
    }
    requests_fini(&requests);
}
