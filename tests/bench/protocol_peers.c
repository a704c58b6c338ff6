/* SPDX-License-Identifier: MIT
 *
 * The protocols of the peers: NATS's text protocol, Redis's RESP2, and MQTT
 * 3.1.1 with QoS 0. As little of each as a publisher and a subscriber need. */
#include "measure.h"
#include "protocol.h"
#include "sock.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Append text, or bytes; the new end. */
static uint8_t *
put_bytes(uint8_t *dst, const void *data, size_t len)
{
    memcpy(dst, data, len);
    return dst + len;
}

static uint8_t *
put_text(uint8_t *dst, const char *text)
{
    return put_bytes(dst, text, strlen(text));
}

/* Every byte that comes back continues `text`, again and again. */
static bool
repeats(
    struct replies *replies, const char *text, const uint8_t *src, size_t len)
{
    size_t text_len = strlen(text);
    size_t at = replies->bytes % text_len;
    for (size_t i = 0; i < len; i++) {
        if (src[i] != (uint8_t)text[at]) {
            return false;
        }
        at = at + 1 == text_len ? 0 : at + 1;
    }
    replies->bytes += len;
    return true;
}

/* ---- NATS ---------------------------------------------------------------- */

#define NATS_PING "PING\r\n"

static void
nats_greet(int fd, bool publisher, unsigned channel)
{
    static const char connect_text[] =
        "CONNECT {\"verbose\":false,\"pedantic\":false}\r\nPING\r\n";
    (void)publisher;
    (void)channel;
    sock_read_until(fd, "\r\n"); /* INFO */
    sock_write(fd, connect_text, strlen(connect_text));
    sock_read_until(fd, "PONG\r\n");
}

static size_t
nats_subscribe(uint8_t *dst, const struct subscription *subscription)
{
    char filter[TOPIC_BYTES + 3];
    const char *group = subscription->group;
    topic_filter(
        filter, &protocol_nats, subscription->topic, subscription->shape);
    int n = snprintf((char *)dst, SUBSCRIBE_BYTES_MAX, "SUB %s %s%s%u\r\n",
        filter, group != NULL ? group : "", group != NULL ? " " : "",
        subscription->id);
    return (size_t)n;
}

static void
nats_settle(int fd, size_t count)
{
    (void)count;
    sock_write(fd, NATS_PING, strlen(NATS_PING));
    sock_read_until(fd, "PONG\r\n");
}

static size_t
nats_frame(uint8_t *dst, const char *head, const struct message *message)
{
    uint8_t *end = put_text(dst, head);
    end = put_bytes(end, message->payload, message->payload_len);
    end = put_text(end, "\r\n");
    return (size_t)(end - dst);
}

static size_t
nats_publish(uint8_t *dst, const struct message *message)
{
    char topic[TOPIC_BYTES + 1];
    char head[128];
    topic_name(topic, '.', message->topic);
    snprintf(head, sizeof(head), "PUB %s %zu\r\n", topic, message->payload_len);
    return nats_frame(dst, head, message);
}

static size_t
nats_deliver(uint8_t *dst, const struct message *message)
{
    char topic[TOPIC_BYTES + 1];
    char head[128];
    topic_name(topic, '.', message->topic);
    snprintf(head, sizeof(head), "MSG %s %u %zu\r\n", topic,
        message->subscription_id, message->payload_len);
    return nats_frame(dst, head, message);
}

static enum unit
nats_unit(const uint8_t *src, size_t len, size_t *bytes)
{
    *bytes = strlen(NATS_PING);
    if (len == 0) {
        return UNIT_MORE;
    }
    if (src[0] == 'P') {
        return len < *bytes ? UNIT_MORE : UNIT_OTHER;
    }
    /* Its size is checked against the frame that is expected. */
    *bytes = 0;
    return src[0] == 'M' ? UNIT_MESSAGE : UNIT_BAD;
}

static bool
nats_reply(struct replies *replies, const uint8_t *src, size_t len)
{
    return repeats(replies, NATS_PING, src, len);
}

const struct protocol protocol_nats = {.name = "nats",
    .separator = '.',
    .any_level = "*",
    .has_groups = true,
    .interjection = NATS_PING,
    .greet = nats_greet,
    .subscribe = nats_subscribe,
    .settle = nats_settle,
    .publish = nats_publish,
    .deliver = nats_deliver,
    .unit = nats_unit,
    .reply = nats_reply};

/* ---- Redis --------------------------------------------------------------- */

static void
redis_greet(int fd, bool publisher, unsigned channel)
{
    (void)fd;
    (void)publisher;
    (void)channel;
}

static size_t
redis_subscribe(uint8_t *dst, const struct subscription *subscription)
{
    char topic[TOPIC_BYTES + 1];
    topic_name(topic, '/', subscription->topic);
    int n = snprintf((char *)dst, SUBSCRIBE_BYTES_MAX,
        "*2\r\n$9\r\nSUBSCRIBE\r\n$%d\r\n%s\r\n", TOPIC_BYTES, topic);
    return (size_t)n;
}

static void
redis_settle(int fd, size_t count)
{
    (void)count;
    sock_write(fd, "PING\r\n", 6);
    sock_read_until(fd, "*2\r\n$4\r\npong\r\n$0\r\n\r\n");
}

static size_t
redis_frame(uint8_t *dst, const char *verb, const struct message *message)
{
    char topic[TOPIC_BYTES + 1];
    char head[128];
    topic_name(topic, '/', message->topic);
    snprintf(head, sizeof(head), "*3\r\n$7\r\n%s\r\n$%d\r\n%s\r\n$%zu\r\n",
        verb, TOPIC_BYTES, topic, message->payload_len);
    return nats_frame(dst, head, message);
}

static size_t
redis_publish(uint8_t *dst, const struct message *message)
{
    return redis_frame(dst, "PUBLISH", message);
}

static size_t
redis_deliver(uint8_t *dst, const struct message *message)
{
    return redis_frame(dst, "message", message);
}

static enum unit
redis_unit(const uint8_t *src, size_t len, size_t *bytes)
{
    *bytes = 0;
    if (len == 0) {
        return UNIT_MORE;
    }
    return src[0] == '*' ? UNIT_MESSAGE : UNIT_BAD;
}

static bool
redis_reply(struct replies *replies, const uint8_t *src, size_t len)
{
    char reply[32];
    size_t reply_len =
        (size_t)snprintf(reply, sizeof(reply), ":%u\r\n", replies->receivers);
    if (!repeats(replies, reply, src, len)) {
        return false;
    }
    replies->acknowledged = replies->bytes / reply_len;
    return true;
}

const struct protocol protocol_redis = {.name = "redis",
    .separator = '/',
    .any_level = "*",
    .acknowledges = true,
    .can_acknowledge = true,
    .greet = redis_greet,
    .subscribe = redis_subscribe,
    .settle = redis_settle,
    .publish = redis_publish,
    .deliver = redis_deliver,
    .unit = redis_unit,
    .reply = redis_reply};

/* ---- MQTT ---------------------------------------------------------------- */

#define MQTT_CONNECT   0x10
#define MQTT_PUBLISH   0x30
#define MQTT_SUBSCRIBE 0x82

/* Fixed header: type, and the length in groups of seven bits. */
static uint8_t *
mqtt_head(uint8_t *dst, uint8_t type, size_t length)
{
    *dst++ = type;
    do {
        uint8_t group = (uint8_t)(length % 128);
        length /= 128;
        *dst++ = (uint8_t)(group | (length > 0 ? 0x80 : 0));
    } while (length > 0);
    return dst;
}

static uint8_t *
mqtt_string(uint8_t *dst, const char *text)
{
    size_t len = strlen(text);
    *dst++ = (uint8_t)(len >> 8);
    *dst++ = (uint8_t)len;
    return put_bytes(dst, text, len);
}

static void
mqtt_greet(int fd, bool publisher, unsigned channel)
{
    static unsigned serial;
    /* Level 4, clean session, no keep-alive. */
    static const uint8_t variable[] = {4, 2, 0, 0};
    uint8_t packet[64];
    uint8_t answer[4];
    char client_id[24];
    (void)publisher;
    (void)channel;
    snprintf(client_id, sizeof(client_id), "b%ld-%u", (long)getpid(), serial++);
    uint8_t *end =
        mqtt_head(packet, MQTT_CONNECT, 2 + 4 + 4 + 2 + strlen(client_id));
    end = mqtt_string(end, "MQTT");
    end = put_bytes(end, variable, sizeof(variable));
    end = mqtt_string(end, client_id);
    sock_write(fd, packet, (size_t)(end - packet));
    sock_read(fd, answer, sizeof(answer));
    if (answer[0] != 0x20 || answer[3] != 0) {
        give_up("MQTT CONNECT was refused (%u)", answer[3]);
    }
}

static size_t
mqtt_subscribe(uint8_t *dst, const struct subscription *subscription)
{
    char filter[TOPIC_BYTES + 3];
    topic_filter(
        filter, &protocol_mqtt, subscription->topic, subscription->shape);
    uint8_t *end = mqtt_head(dst, MQTT_SUBSCRIBE, 2 + 2 + strlen(filter) + 1);
    *end++ = (uint8_t)(subscription->id >> 8);
    *end++ = (uint8_t)subscription->id;
    end = mqtt_string(end, filter);
    *end++ = 0; /* QoS 0 */
    return (size_t)(end - dst);
}

static void
mqtt_settle(int fd, size_t count)
{
    uint8_t answer[5];
    while (count-- > 0) {
        sock_read(fd, answer, sizeof(answer));
        if (answer[0] != 0x90 || answer[4] != 0) {
            give_up("MQTT SUBSCRIBE was refused");
        }
    }
}

static size_t
mqtt_publish(uint8_t *dst, const struct message *message)
{
    char topic[TOPIC_BYTES + 1];
    topic_name(topic, '/', message->topic);
    uint8_t *end =
        mqtt_head(dst, MQTT_PUBLISH, 2 + TOPIC_BYTES + message->payload_len);
    end = mqtt_string(end, topic);
    end = put_bytes(end, message->payload, message->payload_len);
    return (size_t)(end - dst);
}

static enum unit
mqtt_unit(const uint8_t *src, size_t len, size_t *bytes)
{
    *bytes = 0;
    if (len == 0) {
        return UNIT_MORE;
    }
    return src[0] == MQTT_PUBLISH ? UNIT_MESSAGE : UNIT_BAD;
}

static bool
mqtt_reply(struct replies *replies, const uint8_t *src, size_t len)
{
    (void)replies;
    (void)src;
    return len == 0;
}

const struct protocol protocol_mqtt = {.name = "mqtt",
    .separator = '/',
    .any_level = "+",
    .any_below = "#",
    .greet = mqtt_greet,
    .subscribe = mqtt_subscribe,
    .settle = mqtt_settle,
    .publish = mqtt_publish,
    .deliver = mqtt_publish,
    .unit = mqtt_unit,
    .reply = mqtt_reply};
