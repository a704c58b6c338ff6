/* SPDX-License-Identifier: MIT
 *
 * See requests.h.
 */
#include "requests.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CAPACITY_MIN 16

void
requests_init(struct requests *requests, const uint8_t random[16])
{
    *requests = (struct requests){0};
    for (size_t i = 0; i < REQUEST_RANDOM_BYTES / 2; i++) {
        (void)snprintf(requests->random + 2 * i, 3, "%02x", random[i]);
    }
    requests_inbox_of(requests, "", requests->inbox);
}

void
requests_inbox_of(const struct requests *requests, const char *user,
    char inbox[REQUEST_INBOX_BYTES_MAX + 1])
{
    (void)snprintf(inbox, REQUEST_INBOX_BYTES_MAX + 1, "_inbox/%s%s%s", user,
        user[0] == '\0' ? "" : "/", requests->random);
}

void
requests_fini(struct requests *requests)
{
    for (size_t i = 0; i < requests->count; i++) {
        free(requests->heap[i]);
    }
    free(requests->heap);
    map_fini(&requests->by_token);
    requests->heap = NULL;
    requests->count = requests->capacity = 0;
}

static void
place(struct requests *requests, size_t i, struct request *request)
{
    requests->heap[i] = request;
    request->heap_index = i;
}

static void
sift_up(struct requests *requests, size_t i, struct request *request)
{
    while (i > 0) {
        size_t parent = (i - 1) / 2;
        if (requests->heap[parent]->deadline_us <= request->deadline_us) {
            break;
        }
        place(requests, i, requests->heap[parent]);
        i = parent;
    }
    place(requests, i, request);
}

static void
sift_down(struct requests *requests, size_t i, struct request *request)
{
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= requests->count) {
            break;
        }
        if (child + 1 < requests->count &&
            requests->heap[child + 1]->deadline_us <
                requests->heap[child]->deadline_us) {
            child++;
        }
        if (request->deadline_us <= requests->heap[child]->deadline_us) {
            break;
        }
        place(requests, i, requests->heap[child]);
        i = child;
    }
    place(requests, i, request);
}

static bool
heap_reserve(struct requests *requests)
{
    if (requests->count < requests->capacity) {
        return true;
    }
    size_t capacity =
        requests->capacity == 0 ? CAPACITY_MIN : requests->capacity * 2;
    struct request **heap =
        realloc(requests->heap, capacity * sizeof(struct request *));
    if (heap == NULL) {
        return false;
    }
    requests->heap = heap;
    requests->capacity = capacity;
    return true;
}

uint64_t
requests_next_token(struct requests *requests)
{
    return ++requests->last_token;
}

struct request *
requests_add(struct requests *requests, uint64_t token, uint64_t deadline_us)
{
    if (!heap_reserve(requests)) {
        return NULL;
    }
    struct request *request = calloc(1, sizeof *request);
    if (request == NULL) {
        return NULL;
    }
    request->token = token;
    request->deadline_us = deadline_us;
    if (!map_put(&requests->by_token, request->token, request)) {
        free(request);
        return NULL;
    }
    requests->count++;
    sift_up(requests, requests->count - 1, request);
    return request;
}

void
requests_topic(
    const char *inbox, uint64_t token, char topic[REQUEST_TOPIC_BYTES_MAX + 1])
{
    (void)snprintf(
        topic, REQUEST_TOPIC_BYTES_MAX + 1, "%s/%016" PRIx64, inbox, token);
}

static bool
hex_u64(const uint8_t *digits, uint64_t *out)
{
    uint64_t value = 0;
    for (size_t i = 0; i < 16; i++) {
        unsigned digit;
        if (digits[i] >= '0' && digits[i] <= '9') {
            digit = digits[i] - (unsigned)'0';
        } else if (digits[i] >= 'a' && digits[i] <= 'f') {
            digit = digits[i] - (unsigned)'a' + 10;
        } else {
            return false;
        }
        value = value << 4 | digit;
    }
    *out = value;
    return true;
}

struct request *
requests_find(const struct requests *requests, struct broker_bytes topic)
{
    uint64_t token;
    size_t inbox_bytes = strlen(requests->inbox);
    if (topic.len != inbox_bytes + 1 + REQUEST_TOKEN_BYTES ||
        memcmp(topic.data, requests->inbox, inbox_bytes) != 0 ||
        !hex_u64(topic.data + inbox_bytes + 1, &token)) {
        return NULL;
    }
    return map_get(&requests->by_token, token);
}

struct request *
requests_first(const struct requests *requests)
{
    return requests->count == 0 ? NULL : requests->heap[0];
}

struct request *
requests_doomed(const struct requests *requests)
{
    for (size_t i = 0; i < requests->count; i++) {
        if (requests->heap[i]->doomed) {
            return requests->heap[i];
        }
    }
    return NULL;
}

void
requests_remove(struct requests *requests, struct request *request)
{
    (void)map_remove(&requests->by_token, request->token);
    struct request *last = requests->heap[--requests->count];
    size_t i = request->heap_index;
    if (last != request) {
        /* `last` may belong above or below the hole. */
        if (i > 0 &&
            last->deadline_us < requests->heap[(i - 1) / 2]->deadline_us) {
            sift_up(requests, i, last);
        } else {
            sift_down(requests, i, last);
        }
    }
    free(request);
}
