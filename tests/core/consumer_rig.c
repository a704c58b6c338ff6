/* SPDX-License-Identifier: MIT
 *
 * Peers that work on durable consumers; see consumer_rig.h. */
#include "consumer_rig.h"

#include "session.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void
work_init(struct rig *rig, uint32_t workers, const char *consumer)
{
    char payload[512];
    rig_init(rig, workers);
    struct fake_peer *asker = work_asker(rig);
    (void)rig_ask(
        asker, "$sys/stream/add", "{\"name\":\"S\",\"topics\":[\"s/#\"]}");
    if (consumer != NULL) {
        snprintf(payload, sizeof payload, "{\"name\":\"C\",\"stream\":\"S\"%s}",
            consumer);
        (void)rig_ask(asker, "$sys/consumer/add", payload);
    }
}

struct fake_peer *
work_asker(struct rig *rig)
{
    return rig_open(&rig->net, 0);
}

void
work_consume(struct worker_peer *worker, struct fake_peer *peer,
    const char *name, uint32_t window)
{
    uint8_t frame[512];
    size_t n;
    struct say say = {0};
    memset(worker, 0, sizeof *worker);
    worker->peer = peer;
    struct broker_consume consume = {
        .id = CONSUMER_ID, .consumer = say_text(name), .window = window};
    cr_assert_eq(
        broker_consume_encode(&consume, frame, sizeof frame, &n), BROKER_OK);
    say_bytes(&say, frame, n);
    expect_fed(peer, &say);
    fake_mail_settle(peer->net);
}

void
work_join(struct worker_peer *worker, struct rig *rig, uint32_t on)
{
    struct fake_peer *peer = expect_open_at(&rig->net, on, &say_hello_default);
    work_consume(worker, peer, "C", 0);
    struct broker_frame frame = expect_frame(peer, BROKER_FRAME_CONSUME_REPLY);
    cr_assert_eq(
        broker_consume_reply_decode(&frame, &worker->reply), BROKER_OK);
    (void)work_take(worker);
}

static void
note_publish(struct worker_peer *worker, const struct broker_frame *frame,
    struct broker_position *position)
{
    struct broker_publish publish;
    cr_assert_eq(broker_publish_decode(frame, &publish), BROKER_OK);
    cr_assert_gt(position->count, 0, "a message without a POSITION");
    cr_assert_lt(worker->count, DELIVERIES_MAX);
    struct delivery *got = &worker->got[worker->count++];
    *got = (struct delivery){.sequence = position->sequence++,
        .time_ms = position->time_ms,
        .deliveries = position->deliveries,
        .payload_bytes = publish.payload.len};
    size_t len = publish.payload.len < sizeof got->payload - 1
                     ? publish.payload.len
                     : sizeof got->payload - 1;
    memcpy(got->payload, publish.payload.data, len);
    position->count--;
}

size_t
work_take(struct worker_peer *worker)
{
    struct broker_frame frame;
    struct broker_position position = {0};
    struct broker_error error;
    size_t before = worker->count;
    fake_take_all(worker->peer);
    fake_mail_settle(worker->peer->net);
    fake_take_all(worker->peer);
    while (fake_next(worker->peer, &frame)) {
        worker->bytes += BROKER_HEADER_BYTES + frame.body.len;
        switch (frame.type) {
        case BROKER_FRAME_POSITION:
            cr_assert_eq(position.count, 0, "a POSITION cut another short");
            cr_assert_eq(broker_position_decode(&frame, &position), BROKER_OK);
            cr_assert_eq(position.id, CONSUMER_ID);
            break;
        case BROKER_FRAME_PUBLISH:
            note_publish(worker, &frame, &position);
            break;
        case BROKER_FRAME_ERROR:
            cr_assert_eq(broker_error_decode(&frame, &error), BROKER_OK);
            worker->failed = (enum broker_status)error.code;
            break;
        case BROKER_FRAME_UNSUBACK:
            worker->unsubacks++;
            break;
        default:
            break;
        }
    }
    cr_assert_eq(position.count, 0, "a POSITION promised more");
    return worker->count - before;
}

void
work_say(struct worker_peer *worker, uint16_t type, uint8_t kind,
    uint32_t delay_ms, uint64_t first, uint64_t last)
{
    uint8_t frame[64];
    uint8_t range[BROKER_RANGE_BYTES];
    size_t n;
    struct say say = {0};
    broker_ranges_set(range, 0, first, last);
    struct broker_settle settle = {.type = type,
        .kind = kind,
        .id = CONSUMER_ID,
        .delay_ms = delay_ms,
        .ranges = {range, 1}};
    cr_assert_eq(
        broker_settle_encode(&settle, frame, sizeof frame, &n), BROKER_OK);
    say_bytes(&say, frame, n);
    expect_fed(worker->peer, &say);
    fake_mail_settle(worker->peer->net);
}

void
work_ack(struct worker_peer *worker, uint64_t first, uint64_t last)
{
    work_say(worker, BROKER_FRAME_ACK, BROKER_ACK_THESE, 0, first, last);
}

void
work_wait(struct rig *rig, uint64_t ms)
{
    for (uint64_t passed = 0; passed < ms; passed += 10) {
        rig->net.now_ms += 10;
        for (uint32_t worker = 0; worker < rig->workers; worker++) {
            core_set_now(rig->net.cores[worker], rig->net.now_ms);
            (void)core_tick(rig->net.cores[worker]);
        }
        fake_mail_settle(&rig->net);
    }
}

long long
work_number(struct fake_peer *asker, const char *key)
{
    char wanted[64];
    const char *reply =
        rig_ask(asker, "$sys/consumer/info", "{\"name\":\"C\"}");
    snprintf(wanted, sizeof wanted, "\"%s\":", key);
    const char *at = strstr(reply, wanted);
    cr_assert_not_null(at, "no %s in %s", key, reply);
    return strtoll(at + strlen(wanted), NULL, 10);
}

void
work_publish(struct fake_peer *asker, uint32_t count)
{
    rig_publish(asker, "s/t", count);
}
