/* SPDX-License-Identifier: MIT
 *
 * NATS JetStream (file storage, published to asynchronously; read by an ordered
 * push consumer with flow control, or by a durable pull consumer) and Redis
 * Streams (XADD). As little of each as these loads need. */
#include "measure.h"
#include "protocol.h"
#include "sock.h"
#include "stream_peer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A pull consumer is asked for so many, again when half of them came. */
#define PULL_MESSAGES   512u
#define ACK_PENDING_MAX 4096

/* ---- NATS JetStream ------------------------------------------------------ */

/* With headers, so that a status is told from a message. */
static void
jetstream_greet(struct stream_peer *peer)
{
    static const char text[] =
        "CONNECT {\"verbose\":false,\"pedantic\":false,\"headers\":true}\r\n"
        "SUB _INBOX.bench.api 1\r\nSUB _INBOX.bench.ack 2\r\n"
        "SUB _INBOX.bench.msg 3\r\nPING\r\n";
    sock_read_until(peer->fd, "\r\n"); /* INFO */
    sock_write(peer->fd, text, strlen(text));
    sock_read_until(peer->fd, "PONG\r\n");
}

/* A request of JetStream's interface; gives up if it is refused. */
static void
request(struct stream_peer *peer, const char *subject, const char *json)
{
    char text[1024];
    char head[1024] = "";
    int n = snprintf(text, sizeof text, "PUB %s _INBOX.bench.api %zu\r\n%s\r\n",
        subject, strlen(json), json);
    sock_write(peer->fd, text, (size_t)n);
    for (size_t at = 0; at < sizeof head - 1; at++) {
        sock_read(peer->fd, head + at, 1);
        if (head[at] == '\n') {
            break;
        }
    }
    const char *bytes = strrchr(head, ' ');
    size_t len = bytes == NULL ? 0 : strtoul(bytes, NULL, 10) + 2;
    char *answer = allocate(len + 1);
    sock_read(peer->fd, answer, len);
    answer[len] = '\0';
    if (strstr(answer, "\"error\"") != NULL) {
        give_up("JetStream: %.200s", answer);
    }
    free(answer);
}

static void
jetstream_create(struct stream_peer *peer, unsigned topic)
{
    char subject[64];
    char json[256];
    char name[TOPIC_BYTES + 1];
    topic_name(name, '.', topic);
    snprintf(subject, sizeof subject, "$JS.API.STREAM.CREATE.B%u", topic);
    snprintf(json, sizeof json,
        "{\"name\":\"B%u\",\"subjects\":[\"%s\"],\"storage\":\"file\","
        "\"retention\":\"limits\",\"discard\":\"old\",\"num_replicas\":1,"
        "\"max_msgs\":-1,\"max_bytes\":-1,\"max_age\":0}",
        topic, name);
    request(peer, subject, json);
}

static size_t
put_payload(uint8_t *dst, int head, const uint8_t *payload, size_t bytes)
{
    uint8_t *end = dst + head;
    memcpy(end, payload, bytes);
    memcpy(end + bytes, "\r\n", 2);
    return (size_t)head + bytes + 2;
}

static size_t
jetstream_publish(
    uint8_t *dst, unsigned topic, const uint8_t *payload, size_t bytes)
{
    char name[TOPIC_BYTES + 1];
    topic_name(name, '.', topic);
    int head = snprintf((char *)dst, STREAM_OVERHEAD_MAX,
        "PUB %s _INBOX.bench.ack %zu\r\n", name, bytes);
    return put_payload(dst, head, payload, bytes);
}

static void
pull(struct stream_peer *peer, unsigned count)
{
    char json[64];
    char text[256];
    int len = snprintf(json, sizeof json, "{\"batch\":%u}", count);
    int n = snprintf(text, sizeof text,
        "PUB $JS.API.CONSUMER.MSG.NEXT.B1.bench _INBOX.bench.msg %d\r\n"
        "%s\r\n",
        len, json);
    stream_peer_say(peer, text, (size_t)n);
    peer->asked += count;
}

static void
jetstream_read(struct stream_peer *peer, enum stream_reading reading)
{
    char json[512];
    peer->reading = reading;
    if (reading != READING_PLAIN) {
        snprintf(json, sizeof json,
            "{\"stream_name\":\"B1\",\"config\":{\"durable_name\":\"bench\","
            "\"deliver_policy\":\"all\",\"ack_policy\":\"explicit\","
            "\"max_ack_pending\":%d,\"replay_policy\":\"instant\"}}",
            ACK_PENDING_MAX);
        request(peer, "$JS.API.CONSUMER.DURABLE.CREATE.B1.bench", json);
        pull(peer, PULL_MESSAGES);
        pull(peer, PULL_MESSAGES);
        return;
    }
    request(peer, "$JS.API.CONSUMER.CREATE.B1",
        "{\"stream_name\":\"B1\",\"config\":{\"deliver_policy\":\"all\","
        "\"ack_policy\":\"none\",\"replay_policy\":\"instant\","
        "\"deliver_subject\":\"_INBOX.bench.msg\",\"flow_control\":true,"
        "\"idle_heartbeat\":5000000000,\"mem_storage\":true,"
        "\"num_replicas\":1}}");
}

/* "MSG subject sid [reply] bytes", "HMSG subject sid [reply] head bytes". */
struct nats_head {
    const char *subject, *reply;
    size_t subject_bytes, reply_bytes;
    size_t bytes;
};

static bool
read_head(const char *line, size_t len, struct nats_head *head)
{
    const char *words[6];
    size_t lengths[6];
    size_t count = 0;
    const char *end = line + len;
    while (line < end && count < 6) {
        const char *blank = memchr(line, ' ', (size_t)(end - line));
        const char *stop = blank == NULL ? end : blank;
        words[count] = line;
        lengths[count++] = (size_t)(stop - line);
        line = stop + 1;
    }
    size_t tail = words[0][0] == 'H' ? 2 : 1;
    if (count < 3 + tail) {
        return false;
    }
    bool replies = count == 4 + tail;
    *head = (struct nats_head){.subject = words[1],
        .subject_bytes = lengths[1],
        .reply = replies ? words[3] : NULL,
        .reply_bytes = replies ? lengths[3] : 0};
    for (size_t i = 0; i < lengths[count - 1]; i++) {
        head->bytes = head->bytes * 10 + (size_t)(words[count - 1][i] - '0');
    }
    return true;
}

static void
answer_to(struct stream_peer *peer, const struct nats_head *head,
    const char *rest, size_t bytes)
{
    stream_peer_say(peer, "PUB ", 4);
    stream_peer_say(peer, head->reply, head->reply_bytes);
    stream_peer_say(peer, rest, bytes);
}

static void
take_delivery(struct stream_peer *peer, const struct nats_head *head)
{
    peer->messages++;
    if (peer->reading == READING_PLAIN) {
        return;
    }
    static const char ack[] = " 4\r\n+ACK\r\n";
    answer_to(peer, head, ack, sizeof ack - 1);
    if (peer->asked - peer->messages == PULL_MESSAGES) {
        pull(peer, PULL_MESSAGES);
    }
}

static void
take_nats_message(struct stream_peer *peer, const struct nats_head *head,
    bool has_headers, const char *data)
{
    char last = head->subject[head->subject_bytes - 1];
    if (has_headers) { /* a heartbeat, or flow control that wants an answer */
        if (head->reply != NULL) {
            answer_to(peer, head, " 0\r\n\r\n", 6);
        }
    } else if (last == 'k') { /* _INBOX.bench.ack */
        if (memmem(data, head->bytes, "\"seq\"", 5) == NULL) {
            give_up("JetStream: %.*s", (int)head->bytes, data);
        }
        peer->acknowledged++;
    } else {
        take_delivery(peer, head);
    }
}

static size_t
jetstream_take(struct stream_peer *peer, const uint8_t *src, size_t len)
{
    const char *line = (const char *)src;
    const char *end = memchr(line, '\n', len);
    struct nats_head head;
    if (end == NULL) {
        return 0;
    }
    size_t line_bytes = (size_t)(end - line) + 1;
    if (line[0] == 'P') {
        if (line[1] == 'I') {
            stream_peer_say(peer, "PONG\r\n", 6);
        }
        return line_bytes;
    }
    if ((line[0] != 'M' && line[0] != 'H') ||
        !read_head(line, line_bytes - 2, &head)) {
        give_up("NATS: %.*s", (int)line_bytes, line);
    }
    if (len - line_bytes < head.bytes + 2) {
        return 0;
    }
    take_nats_message(peer, &head, line[0] == 'H', line + line_bytes);
    return line_bytes + head.bytes + 2;
}

const struct stream_side stream_jetstream = {.name = "jetstream",
    .greet = jetstream_greet,
    .create = jetstream_create,
    .publish = jetstream_publish,
    .read = jetstream_read,
    .take = jetstream_take};

/* ---- Redis --------------------------------------------------------------- */

static void
redis_greet(struct stream_peer *peer)
{
    (void)peer;
}

static size_t
redis_publish(
    uint8_t *dst, unsigned topic, const uint8_t *payload, size_t bytes)
{
    char name[TOPIC_BYTES + 1];
    topic_name(name, '/', topic);
    int head = snprintf((char *)dst, STREAM_OVERHEAD_MAX,
        "*5\r\n$4\r\nXADD\r\n$%d\r\n%s\r\n$1\r\n*\r\n$1\r\nd\r\n$%zu\r\n",
        TOPIC_BYTES, name, bytes);
    return put_payload(dst, head, payload, bytes);
}

static void
redis_read(struct stream_peer *peer, enum stream_reading reading)
{
    (void)peer;
    (void)reading;
    give_up("Redis is not read from here");
}

/* "$15", a line, and the id in another one. */
static size_t
redis_take(struct stream_peer *peer, const uint8_t *src, size_t len)
{
    const uint8_t *first = memchr(src, '\n', len);
    if (first == NULL) {
        return 0;
    }
    if (src[0] != '$') {
        give_up("Redis: %.*s", (int)(first - src), (const char *)src);
    }
    size_t left = len - (size_t)(first + 1 - src);
    const uint8_t *second = memchr(first + 1, '\n', left);
    if (second == NULL) {
        return 0;
    }
    peer->acknowledged++;
    return (size_t)(second + 1 - src);
}

const struct stream_side stream_redis = {.name = "redis",
    .greet = redis_greet,
    .publish = redis_publish,
    .read = redis_read,
    .take = redis_take};
