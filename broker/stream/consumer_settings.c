/* SPDX-License-Identifier: MIT
 *
 * The settings of a consumer: what is allowed, and how they are kept; see
 * consumer.h. */
#include "bytes.h"
#include "consumer.h"

#include <string.h>

#define FORMAT     1u
#define HEAD_BYTES 32u

const char *
consumer_settings_check(const struct consumer_settings *settings)
{
    if (settings->start == 0) {
        return "sequences begin at 1";
    }
    if (settings->mode != CONSUMER_ACK_NONE &&
        settings->mode != CONSUMER_ACK_CUMULATIVE &&
        settings->mode != CONSUMER_ACK_EACH) {
        return "the acknowledgement mode is none, cumulative or each";
    }
    if (settings->window == 0 || settings->window > CONSUMER_WINDOW_MAX) {
        return "the window is 1 to 65,536 messages";
    }
    if (settings->ack_deadline_ms > CONSUMER_TIME_MAX_MS) {
        return "the acknowledgement deadline is at most 30 days";
    }
    if (settings->backoff_count > CONSUMER_BACKOFF_MAX) {
        return "the back-off list has at most 16 delays";
    }
    for (uint32_t i = 0; i < settings->backoff_count; i++) {
        if (settings->backoff_ms[i] > CONSUMER_TIME_MAX_MS) {
            return "a delay of the back-off list is at most 30 days";
        }
    }
    if (settings->max_deliveries > CONSUMER_DELIVERIES_MAX) {
        return "the maximum of deliveries is at most 1,000,000";
    }
    if (settings->mode == CONSUMER_ACK_NONE &&
        (settings->ack_deadline_ms != 0 || settings->backoff_count != 0 ||
            settings->max_deliveries != 0 || settings->dead_topic.len != 0)) {
        return "without acknowledgements there are no deadlines, back-offs, "
               "maximum of deliveries or dead letters";
    }
    return NULL;
}

size_t
consumer_settings_size(const struct consumer_settings *settings)
{
    return HEAD_BYTES + (size_t)settings->backoff_count * 8 + 2 +
           settings->filter.len + 2 + settings->dead_topic.len;
}

static uint8_t *
put_topic(uint8_t *dst, struct consumer_topic topic)
{
    dst = bytes_put(dst, topic.len, 2);
    if (topic.len > 0) {
        memcpy(dst, topic.bytes, topic.len);
    }
    return dst + topic.len;
}

void
consumer_settings_save(const struct consumer_settings *settings, uint8_t *dst)
{
    dst = bytes_put(dst, FORMAT, 2);
    dst = bytes_put(dst, settings->mode, 2);
    dst = bytes_put(dst, settings->window, 4);
    dst = bytes_put(dst, settings->max_deliveries, 4);
    dst = bytes_put(dst, settings->backoff_count, 4);
    dst = bytes_put(dst, settings->start, 8);
    dst = bytes_put(dst, settings->ack_deadline_ms, 8);
    for (uint32_t i = 0; i < settings->backoff_count; i++) {
        dst = bytes_put(dst, settings->backoff_ms[i], 8);
    }
    dst = put_topic(dst, settings->filter);
    (void)put_topic(dst, settings->dead_topic);
}

static bool
get_topic(const uint8_t **src, size_t *left, struct consumer_topic *topic)
{
    if (*left < 2) {
        return false;
    }
    uint16_t len = (uint16_t)bytes_get(src, 2);
    *left -= 2;
    if (len > *left) {
        return false;
    }
    *topic = (struct consumer_topic){len == 0 ? NULL : *src, len};
    *src += len;
    *left -= len;
    return true;
}

bool
consumer_settings_load(
    struct consumer_settings *settings, const uint8_t *src, size_t len)
{
    if (len < HEAD_BYTES || bytes_get(&src, 2) != FORMAT) {
        return false;
    }
    size_t left = len - HEAD_BYTES;
    *settings = (struct consumer_settings){0};
    settings->mode = (enum consumer_mode)bytes_get(&src, 2);
    settings->window = (uint32_t)bytes_get(&src, 4);
    settings->max_deliveries = (uint32_t)bytes_get(&src, 4);
    settings->backoff_count = (uint32_t)bytes_get(&src, 4);
    settings->start = bytes_get(&src, 8);
    settings->ack_deadline_ms = bytes_get(&src, 8);
    if (settings->backoff_count > CONSUMER_BACKOFF_MAX ||
        settings->backoff_count > left / 8) {
        return false;
    }
    for (uint32_t i = 0; i < settings->backoff_count; i++) {
        settings->backoff_ms[i] = bytes_get(&src, 8);
        left -= 8;
    }
    return get_topic(&src, &left, &settings->filter) &&
           get_topic(&src, &left, &settings->dead_topic) && left == 0 &&
           consumer_settings_check(settings) == NULL;
}
