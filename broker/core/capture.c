/* SPDX-License-Identifier: MIT
 *
 * Filters of streams in the index; see capture.h. */
#include "capture.h"

#include "index.h"

#include <stdlib.h>
#include <string.h>

/* One piece of memory: the object, its filters, their bytes, the name. */
static struct capture *
capture_copy(uint32_t stream, struct broker_bytes name,
    const struct broker_bytes *filters, size_t count)
{
    size_t bytes = name.len;
    for (size_t i = 0; i < count; i++) {
        bytes += filters[i].len;
    }
    struct capture *capture =
        malloc(sizeof *capture + count * sizeof *filters + bytes);
    if (capture == NULL) {
        return NULL;
    }
    *capture = (struct capture){.references = 1,
        .stream = stream,
        .filter_count = count,
        .filters = (struct broker_bytes *)(capture + 1)};
    uint8_t *at = (uint8_t *)(capture->filters + count);
    for (size_t i = 0; i < count; i++) {
        capture->filters[i].len = filters[i].len;
        capture->filters[i].data = memcpy(at, filters[i].data, filters[i].len);
        at += filters[i].len;
    }
    capture->name.len = name.len;
    capture->name.data = memcpy(at, name.data, name.len);
    return capture;
}

static void
take_out(struct index *index, struct capture *capture, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        index_remove_capture(index, capture->filters[i]);
    }
}

struct capture *
capture_new(struct index *index, uint32_t stream, struct broker_bytes name,
    const struct broker_bytes *filters, size_t count)
{
    struct capture *capture = capture_copy(stream, name, filters, count);
    if (capture == NULL) {
        return NULL;
    }
    for (size_t i = 0; i < count; i++) {
        if (!index_add_capture(index, capture->filters[i], capture)) {
            take_out(index, capture, i);
            capture_unref(capture);
            return NULL;
        }
    }
    return capture;
}

static bool
has_filter(const struct capture *capture, struct broker_bytes filter)
{
    for (size_t i = 0; i < capture->filter_count; i++) {
        if (capture->filters[i].len == filter.len &&
            memcmp(capture->filters[i].data, filter.data, filter.len) == 0) {
            return true;
        }
    }
    return false;
}

/* Take the first filters out that `other` does not have; those that it has
 * become its own again, for which no memory is needed. */
static void
give_back(struct index *index, const struct capture *capture, size_t count,
    struct capture *other)
{
    for (size_t i = 0; i < count; i++) {
        if (!has_filter(other, capture->filters[i])) {
            index_remove_capture(index, capture->filters[i]);
        } else {
            (void)index_add_capture(index, capture->filters[i], other);
        }
    }
}

struct capture *
capture_replace(struct index *index, struct capture *old,
    const struct broker_bytes *filters, size_t count)
{
    struct capture *capture =
        capture_copy(old->stream, old->name, filters, count);
    if (capture == NULL) {
        return NULL;
    }
    for (size_t i = 0; i < count; i++) {
        if (!index_add_capture(index, capture->filters[i], capture)) {
            give_back(index, capture, i, old);
            capture_unref(capture);
            return NULL;
        }
    }
    give_back(index, old, old->filter_count, capture);
    capture_unref(old);
    return capture;
}

void
capture_end(struct index *index, struct capture *capture)
{
    take_out(index, capture, capture->filter_count);
    capture_unref(capture);
}

void
capture_unref(struct capture *capture)
{
    if (capture != NULL && --capture->references == 0) {
        free(capture);
    }
}
