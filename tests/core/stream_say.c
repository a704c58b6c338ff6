/* SPDX-License-Identifier: MIT
 *
 * Speaking with streams; see stream_say.h. */
#include "stream_say.h"

#include "memory.h"
#include "rights.h"
#include "session.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- streams and peers --------------------------------------------------- */

void
ask_stream(struct rig *rig, const char *what, const char *payload)
{
    char topic[64];
    snprintf(topic, sizeof topic, "$sys/stream/%s", what);
    struct fake_peer *peer = rig_open(&rig->net, 0);
    (void)rig_ask(peer, topic, payload);
    fake_drop(peer);
}

void
have_stream(
    struct rig *rig, const char *name, const char *filter, const char *settings)
{
    char payload[256];
    snprintf(payload, sizeof payload, "{\"name\":\"%s\",\"topics\":[\"%s\"]%s}",
        name, filter, settings);
    ask_stream(rig, "add", payload);
}

struct fake_peer *
stream_peer_begin(struct rig *rig, uint32_t worker, uint8_t session)
{
    struct fake_peer *peer = fake_connect_to(&rig->net, worker);
    struct broker_hello hello = say_hello_default;
    struct say say = {0};
    hello.features = BROKER_FEATURE_STREAMS;
    memset(hello.session, session, sizeof hello.session);
    say_hello_with(&say, &hello);
    expect_fed(peer, &say);
    fake_mail_settle(&rig->net);
    return peer;
}

struct fake_peer *
stream_peer_as(struct rig *rig, uint32_t worker, uint8_t session)
{
    struct fake_peer *peer = stream_peer_begin(rig, worker, session);
    (void)expect_frame(peer, BROKER_FRAME_WELCOME);
    return peer;
}

struct fake_peer *
stream_peer(struct rig *rig, uint32_t worker)
{
    return stream_peer_as(rig, worker, 0);
}

struct fake_peer *
stream_peer_with(struct rig *rig, uint32_t worker, struct rights *rights)
{
    struct fake_peer *peer = stream_peer(rig, worker);
    session_set_rights(peer->session, rights);
    return peer;
}

struct rights *
rights_without(unsigned actions, const char *filter)
{
    struct rights *rights = rights_new();
    cr_assert_not_null(rights);
    cr_assert(rights_add(rights, false, actions, say_text(filter), "a rule"));
    cr_assert(rights_add(
        rights, true, RIGHTS_PUBLISH | RIGHTS_SUBSCRIBE, say_text("#"), "all"));
    return rights;
}

void
rig_init_stream(struct rig *rig, uint32_t workers)
{
    rig_init_spread(rig, workers, "", 0);
}

void
publish_spread(struct rig *rig, uint32_t count)
{
    struct fake_peer *peer = stream_peer(rig, 0);
    for (uint32_t i = 0; i < count; i++) {
        feed_publish(peer, i + 1, i % 2 == 0 ? "s/0" : "s/1");
        expect_stored(peer, i + 1, 1, "S", i + 1);
        (void)fake_advance(&rig->net, 100);
    }
    fake_drop(peer);
}

void
rig_init_spread(
    struct rig *rig, uint32_t workers, const char *settings, uint32_t count)
{
    rig_init(rig, workers);
    have_stream(rig, "S", "s/#", settings);
    publish_spread(rig, count);
}

void
rig_commit(struct rig *rig)
{
    cr_assert(store_memory_commit(rig->store));
    do { /* and what was said behind that */
        fake_mail_settle(&rig->net);
    } while (store_memory_commit(rig->store));
}

/* ---- saying -------------------------------------------------------------- */

void
say_with_field(struct say *say, const struct say_field *message)
{
    uint8_t field[16];
    uint8_t frame[512];
    size_t field_bytes = 0;
    size_t bytes;
    if (message->tag != 0) {
        cr_assert_eq(broker_tlv_put_u64(field, sizeof field, &field_bytes,
                         message->tag, message->value),
            BROKER_OK);
    }
    struct broker_publish publish = {.flags = message->flags,
        .id = message->id,
        .topic = say_text(message->topic),
        .headers = {field, field_bytes},
        .payload = say_text(message->payload)};
    cr_assert_eq(broker_publish_encode(&publish, frame, sizeof frame, &bytes),
        BROKER_OK);
    say_bytes(say, frame, bytes);
}

void
say_batch(
    struct say *say, uint32_t id, uint16_t flags, const struct say *frames)
{
    struct broker_publish_batch batch = {
        .id = id, .flags = flags, .frames = {frames->bytes, frames->len}};
    size_t bytes = broker_publish_batch_size(&batch);
    uint8_t *frame = malloc(bytes);
    cr_assert_not_null(frame);
    cr_assert_eq(
        broker_publish_batch_encode(&batch, frame, bytes, &bytes), BROKER_OK);
    say_bytes(say, frame, bytes);
    free(frame);
}

void
say_topics(struct say *say, uint32_t id, uint16_t flags,
    const char *const *topics, size_t count)
{
    struct say frames = {0};
    for (size_t i = 0; i < count; i++) {
        say_publish(&frames, 0, topics[i], topics[i]);
    }
    say_batch(say, id, flags, &frames);
    say_fini(&frames);
}

void
say_consume(struct say *say, const struct broker_consume *consume)
{
    uint8_t frame[1024];
    size_t bytes;
    cr_assert_eq(
        broker_consume_encode(consume, frame, sizeof frame, &bytes), BROKER_OK);
    say_bytes(say, frame, bytes);
}

void
feed_publish(struct fake_peer *peer, uint32_t id, const char *topic)
{
    struct say say = {0};
    say_publish(&say, id, topic, "text");
    expect_fed(peer, &say);
}

void
feed_field(struct fake_peer *peer, const struct say_field *message)
{
    struct say say = {0};
    say_with_field(&say, message);
    expect_fed(peer, &say);
}

void
feed_topics(struct fake_peer *peer, uint32_t id, uint16_t flags,
    const char *const *topics, size_t count)
{
    struct say say = {0};
    say_topics(&say, id, flags, topics, count);
    expect_fed(peer, &say);
}

void
feed_subscribe(struct fake_peer *peer, const char *filter)
{
    struct say say = {0};
    say_subscribe(&say, PLAIN, filter);
    expect_fed(peer, &say);
    fake_mail_settle(peer->net);
    expect_suback(peer, PLAIN, 0);
}

void
feed_consume(struct fake_peer *peer, const struct broker_consume *consume)
{
    struct say say = {0};
    struct broker_consume all = *consume;
    all.id = all.id == 0 ? READER : all.id;
    if (all.stream.len == 0 && all.filter.len == 0) {
        all.stream = say_text("S");
    }
    say_consume(&say, &all);
    expect_fed(peer, &say);
    fake_mail_settle(peer->net);
}

void
feed_unsubscribe(struct fake_peer *peer, uint16_t flags)
{
    struct say say = {0};
    say_unsubscribe(&say, READER, flags);
    expect_fed(peer, &say);
    fake_mail_settle(peer->net);
}

/* ---- hearing ------------------------------------------------------------- */

static bool
is_text(struct broker_bytes bytes, const char *text)
{
    return bytes.len == strlen(text) &&
           memcmp(bytes.data, text, bytes.len) == 0;
}

void
expect_stored(struct fake_peer *peer, uint32_t id, uint32_t count,
    const char *stream, uint64_t sequence)
{
    struct broker_frame frame = expect_frame(peer, BROKER_FRAME_PUBACK);
    struct broker_puback puback;
    struct broker_bytes value = {0};
    uint64_t told = 0;
    cr_assert_eq(broker_puback_decode(&frame, &puback), BROKER_OK);
    cr_assert_eq(puback.id, id, "PUBACK %u, not %u", puback.id, id);
    cr_assert_eq(puback.count, count, "count %u, not %u", puback.count, count);
    cr_assert_eq(puback.level, BROKER_LEVEL_SYNCED);
    cr_assert_eq(puback.flags, 0);
    cr_assert_eq(puback.matched, 0);
    cr_assert_eq(puback.refused, 0);
    cr_assert(broker_tlv_find(puback.tlvs, BROKER_TAG_STREAM, &value));
    cr_assert(is_text(value, stream));
    cr_assert_eq(broker_tlv_find(puback.tlvs, BROKER_TAG_SEQUENCE, &value),
        sequence != 0);
    cr_assert(sequence == 0 || broker_tlv_u64(value, &told));
    cr_assert_eq(told, sequence, "sequence %u, not %u", (unsigned)told,
        (unsigned)sequence);
}

void
expect_stored_before(struct fake_peer *peer, uint32_t id)
{
    struct broker_frame frame = expect_frame(peer, BROKER_FRAME_PUBACK);
    struct broker_puback puback;
    cr_assert_eq(broker_puback_decode(&frame, &puback), BROKER_OK);
    cr_assert_eq(puback.id, id, "PUBACK %u, not %u", puback.id, id);
    cr_assert_eq(puback.count, 1);
    cr_assert_eq(puback.flags, BROKER_PUBACK_DUPLICATE);
    cr_assert_eq(puback.level, BROKER_LEVEL_SYNCED);
}

void
expect_wrong_last(
    struct fake_peer *peer, uint32_t id, uint16_t type, uint64_t sequence)
{
    struct broker_frame frame = expect_frame(peer, BROKER_FRAME_ERROR);
    struct broker_error error;
    struct broker_bytes value;
    uint64_t told = UINT64_MAX;
    cr_assert_eq(broker_error_decode(&frame, &error), BROKER_OK);
    cr_assert_eq(error.code, BROKER_E_WRONG_LAST_SEQUENCE, "%s",
        broker_status_name(error.code));
    cr_assert_eq(error.id, id);
    cr_assert_eq(error.frame_type, type);
    cr_assert(broker_tlv_find(error.tlvs, BROKER_TAG_SEQUENCE, &value));
    cr_assert(broker_tlv_u64(value, &told));
    cr_assert_eq(told, sequence, "sequence %u, not %u", (unsigned)told,
        (unsigned)sequence);
}

void
expect_reader(struct fake_peer *peer, uint32_t id, uint64_t first,
    uint64_t last, uint64_t next)
{
    struct broker_frame frame = expect_frame(peer, BROKER_FRAME_CONSUME_REPLY);
    struct broker_consume_reply reply;
    cr_assert_eq(broker_consume_reply_decode(&frame, &reply), BROKER_OK);
    cr_assert_eq(reply.id, id);
    cr_assert_eq(reply.first_sequence, first);
    cr_assert_eq(reply.last_sequence, last);
    cr_assert_eq(reply.next_sequence, next, "next %u, not %u",
        (unsigned)reply.next_sequence, (unsigned)next);
    cr_assert_eq(reply.ack, BROKER_ACK_READER);
}

/* The next frame, which may have a CONTEXT of the reader's before it. */
static struct broker_frame
expect_of_reader(struct fake_peer *peer, uint32_t id, uint16_t type)
{
    struct broker_frame frame;
    struct broker_context context;
    fake_take_all(peer);
    cr_assert(fake_next(peer, &frame), "nothing came, not 0x%04x", type);
    if (frame.type == BROKER_FRAME_CONTEXT) {
        cr_assert_eq(broker_context_decode(&frame, &context), BROKER_OK);
        cr_assert_eq(context.ids.count, 1);
        cr_assert_eq(broker_ids_get(context.ids, 0), id);
        return expect_frame(peer, type);
    }
    cr_assert_eq(frame.type, type, "0x%04x came, not 0x%04x", frame.type, type);
    return frame;
}

void
expect_position(
    struct fake_peer *peer, uint32_t id, uint64_t sequence, uint32_t count)
{
    struct broker_frame frame =
        expect_of_reader(peer, id, BROKER_FRAME_POSITION);
    struct broker_position position;
    cr_assert_eq(broker_position_decode(&frame, &position), BROKER_OK);
    cr_assert_eq(position.id, id);
    cr_assert_eq(position.sequence, sequence, "at %u, not %u",
        (unsigned)position.sequence, (unsigned)sequence);
    cr_assert_eq(position.count, count, "%u, not %u", position.count, count);
    cr_assert_eq(position.time_ms != 0, count != 0);
}

void
expect_missing(struct fake_peer *peer, uint32_t id,
    enum broker_gap_reason reason, uint64_t count)
{
    struct broker_frame frame = expect_of_reader(peer, id, BROKER_FRAME_GAP);
    struct broker_gap gap;
    cr_assert_eq(broker_gap_decode(&frame, &gap), BROKER_OK);
    cr_assert_eq(gap.reason, reason);
    cr_assert_eq(
        gap.count, count, "%u, not %u", (unsigned)gap.count, (unsigned)count);
    cr_assert_eq(gap.ids.count, 1);
    cr_assert_eq(broker_ids_get(gap.ids, 0), id);
}

void
expect_spread(struct fake_peer *peer, uint64_t from, uint64_t to)
{
    for (uint64_t seq = from; seq <= to; seq++) {
        expect_position(peer, READER, seq, 1);
        expect_publish(peer, seq % 2 == 1 ? "s/0" : "s/1", "text");
    }
    expect_position(peer, READER, to + 1, 0);
}

void
expect_ended(struct fake_peer *peer, uint32_t id, enum broker_status code)
{
    struct broker_frame frame = expect_frame(peer, BROKER_FRAME_ERROR);
    struct broker_error error;
    cr_assert_eq(broker_error_decode(&frame, &error), BROKER_OK);
    cr_assert_eq(error.code, code, "%s, not %s", broker_status_name(error.code),
        broker_status_name(code));
    cr_assert_eq(error.id, id);
    cr_assert_eq(error.frame_type, BROKER_FRAME_CONSUME);
    cr_assert_eq(error.error_class, BROKER_CLASS_SUBSCRIPTION);
}
