/* SPDX-License-Identifier: MIT
 *
 * A fake broker with a store in memory; see stream_rig.h. */
#include "stream_rig.h"

#include "admin.h"
#include "memory.h"
#include "memory_internal.h"
#include "session.h"

#include <criterion/criterion.h>

#include <stdlib.h>
#include <string.h>

#define INBOX_ID 1u

/* Publish numbers, of all peers. */
static uint32_t
next_number(void)
{
    static uint32_t number;
    return ++number;
}

static void
set_auto_commit(struct rig *rig, bool is_automatic)
{
    memory_of(rig->store)->options.auto_commit = is_automatic;
}

bool
rig_start(struct rig *rig)
{
    struct core_options options = fake_options();
    options.workers = rig->workers == 1 ? 0 : rig->workers;
    set_auto_commit(rig, true);
    fake_net_init_store(&rig->net, &options, rig->store, 1, rig->guard);
    if (rig->net.core == NULL) {
        fake_net_fini(&rig->net);
        return false;
    }
    for (uint32_t worker = 0; worker < rig->workers; worker++) {
        rig->net.cores[worker]->hooks.ask = admin_ask;
    }
    return true;
}

void
rig_init(struct rig *rig, uint32_t workers)
{
    *rig = (struct rig){.workers = workers};
    rig->store =
        store_memory_new(&(struct store_memory_options){.auto_commit = true});
    cr_assert_not_null(rig->store);
    cr_assert(rig_start(rig));
}

void
rig_fini(struct rig *rig)
{
    fake_net_fini(&rig->net);
    store_close(rig->store);
}

void
rig_stop(struct rig *rig, bool crash)
{
    if (crash) {
        fake_net_crash(&rig->net);
        store_memory_restart(rig->store, true);
    }
    fake_net_fini(&rig->net);
}

void
rig_restart(struct rig *rig, bool crash)
{
    rig_stop(rig, crash);
    cr_assert(rig_start(rig));
}

void
rig_set_manual(struct rig *rig)
{
    set_auto_commit(rig, false);
}

static void
on_put(void *arg, const struct store_result *result)
{
    enum store_status *status = arg;
    *status = result->status;
}

enum store_status
rig_put(struct rig *rig, const struct store_value *value)
{
    enum store_status status = STORE_FAILED;
    struct store_port *port = rig->net.ports[0].port;
    cr_assert_eq(store_put(port, value, 1, on_put, &status), STORE_OK);
    fake_mail_settle(&rig->net);
    return status;
}

struct fake_peer *
rig_open(struct fake_net *net, uint32_t worker)
{
    struct fake_peer *peer = expect_open_at(net, worker, &say_hello_default);
    struct say say = {0};
    say_subscribe(&say, INBOX_ID, "inbox");
    expect_fed(peer, &say);
    fake_mail_settle(net);
    expect_suback(peer, INBOX_ID, 0);
    return peer;
}

void
rig_send(struct fake_peer *peer, const char *topic, const char *payload)
{
    struct say say = {0};
    (void)say_message(&say, &(struct say_message){.id = next_number(),
                                .topic = topic,
                                .reply_to = "inbox",
                                .payload = payload,
                                .payload_bytes = strlen(payload)});
    expect_fed(peer, &say);
    fake_mail_settle(peer->net);
}

/* The next PUBLISH or ERROR; others are passed over. */
static bool
next_answer(struct fake_peer *peer, struct broker_frame *frame)
{
    fake_take_all(peer);
    while (fake_next(peer, frame)) {
        if (frame->type == BROKER_FRAME_PUBLISH ||
            frame->type == BROKER_FRAME_ERROR) {
            return true;
        }
    }
    return false;
}

bool
rig_is_answered(struct fake_peer *peer)
{
    struct broker_frame frame;
    return next_answer(peer, &frame);
}

static void
copy_text(struct broker_bytes text, char *dst, size_t room)
{
    cr_assert_lt(text.len, room);
    if (text.len > 0) {
        memcpy(dst, text.data, text.len);
    }
    dst[text.len] = '\0';
}

const char *
rig_ask(struct fake_peer *peer, const char *topic, const char *payload)
{
    static char reply[65536];
    struct broker_frame frame;
    rig_send(peer, topic, payload);
    cr_assert(next_answer(peer, &frame), "%s is not answered", topic);
    if (frame.type == BROKER_FRAME_ERROR) {
        struct broker_error error;
        cr_assert_eq(broker_error_decode(&frame, &error), BROKER_OK);
        cr_assert_fail("%s: %s", topic, broker_status_name(error.code));
    }
    struct broker_publish publish;
    cr_assert_eq(broker_publish_decode(&frame, &publish), BROKER_OK);
    copy_text(publish.payload, reply, sizeof reply);
    return reply;
}

void
rig_expect_refused(struct fake_peer *peer, const char *topic,
    const char *payload, enum broker_status status, const char *why)
{
    char text[512];
    struct broker_frame frame;
    rig_send(peer, topic, payload);
    cr_assert(next_answer(peer, &frame), "%s is not answered", topic);
    cr_assert_eq(
        frame.type, BROKER_FRAME_ERROR, "%s %s is not refused", topic, payload);
    struct broker_error error;
    cr_assert_eq(broker_error_decode(&frame, &error), BROKER_OK);
    cr_assert_eq(error.code, status, "%s %s: %s", topic, payload,
        broker_status_name(error.code));
    struct broker_bytes said = {0};
    (void)broker_tlv_find(error.tlvs, BROKER_TAG_TEXT, &said);
    copy_text(said, text, sizeof text);
    cr_assert(why == NULL || strstr(text, why) != NULL, "%s %s: %s", topic,
        payload, text);
}

void
rig_say(struct fake_peer *peer, const struct say_message *message)
{
    struct say say = {0};
    struct say_message numbered = *message;
    numbered.id = next_number();
    (void)say_message(&say, &numbered);
    expect_fed(peer, &say);
    fake_mail_settle(peer->net);
}

uint32_t
rig_acknowledged(struct fake_peer *peer, uint32_t *refused)
{
    struct broker_frame frame;
    uint32_t acknowledged = 0;
    *refused = 0;
    fake_take_all(peer);
    while (fake_next(peer, &frame)) {
        struct broker_puback puback;
        if (frame.type == BROKER_FRAME_PUBACK) {
            cr_assert_eq(broker_puback_decode(&frame, &puback), BROKER_OK);
            acknowledged += puback.count;
        }
        *refused += frame.type == BROKER_FRAME_ERROR ? 1 : 0;
    }
    return acknowledged;
}

uint64_t
rig_messages(struct rig *rig, const char *stream)
{
    struct store_stream_info info = {0};
    const struct stream *found = streams_find(rig->net.core, say_text(stream));
    cr_assert_not_null(found);
    cr_assert(streams_get_info(rig->net.core, found, &info));
    return info.records;
}

void
rig_publish(struct fake_peer *peer, const char *topic, uint32_t count)
{
    struct say say = {0};
    uint32_t refused;
    for (uint32_t i = 0; i < count; i++) {
        say_publish(&say, next_number(), topic, "message");
    }
    expect_fed(peer, &say);
    fake_mail_settle(peer->net);
    uint32_t acknowledged = rig_acknowledged(peer, &refused);
    cr_assert_eq(acknowledged, count, "%u acknowledged", acknowledged);
    cr_assert_eq(refused, 0);
}
