/* SPDX-License-Identifier: MIT
 *
 * Retained values outlive the broker. PROTOCOL.md section 5.5. */
#include "stream_rig.h"

#include "memory.h"
#include "retained_store.h"
#include "session.h"

#include <criterion/criterion.h>

#include <string.h>

#define TWO 2

static void
retain(struct fake_peer *peer, const char *topic, const char *value)
{
    uint32_t refused;
    rig_say(peer, &(struct say_message){.flags = BROKER_PUBLISH_RETAIN,
                      .topic = topic,
                      .payload = value,
                      .payload_bytes = strlen(value)});
    cr_assert_eq(rig_acknowledged(peer, &refused), 1);
}

/* What a new subscriber gets: the payloads one after the other. */
static const char *
retained(struct rig *rig)
{
    static char all[256];
    struct broker_frame frame;
    struct say say = {0};
    struct fake_peer *peer = rig_open(&rig->net, 1);
    size_t len = 0;
    say_subscribe(&say, 2, "#");
    expect_fed(peer, &say);
    fake_mail_settle(&rig->net);
    fake_take_all(peer);
    while (fake_next(peer, &frame)) {
        struct broker_publish publish;
        if (frame.type == BROKER_FRAME_PUBLISH) {
            cr_assert_eq(broker_publish_decode(&frame, &publish), BROKER_OK);
            cr_assert_lt(publish.payload.len, sizeof all - len);
            memcpy(all + len, publish.payload.data, publish.payload.len);
            len += publish.payload.len;
        }
    }
    all[len] = '\0';
    return all;
}

Test(retained_store, values_come_back_in_their_order)
{
    struct rig rig;
    rig_init(&rig, TWO);
    struct fake_peer *peer = rig_open(&rig.net, 1);
    retain(peer, "b", "1");
    retain(peer, "a", "2");
    retain(peer, "c", "3");
    retain(peer, "b", "4");
    retain(peer, "c", "");
    rig_restart(&rig, true);
    cr_assert_str_eq(retained(&rig), "24");
    peer = rig_open(&rig.net, 0);
    retain(peer, "0", "5");
    rig_restart(&rig, true);
    cr_assert_str_eq(retained(&rig), "245");
    rig_fini(&rig);
}

Test(retained_store, long_topics_have_keys_of_their_own)
{
    char topics[2][601];
    struct rig rig;
    rig_init(&rig, TWO);
    struct fake_peer *peer = rig_open(&rig.net, 1);
    for (int i = 0; i < 2; i++) {
        memset(topics[i], 'x', 600);
        topics[i][599] = (char)('0' + i);
        topics[i][600] = '\0';
    }
    retain(peer, topics[0], "1");
    retain(peer, topics[1], "2");
    retain(peer, topics[0], "3");
    rig_restart(&rig, true);
    cr_assert_str_eq(retained(&rig), "23");
    peer = rig_open(&rig.net, 1);
    retain(peer, topics[1], "");
    retain(peer, topics[0], "4");
    rig_restart(&rig, true);
    cr_assert_str_eq(retained(&rig), "4");
    rig_fini(&rig);
}

/* However often it changes, a topic is put once more after what is on the
 * way. */
Test(retained_store, a_topic_is_put_once_a_commit)
{
    struct rig rig;
    rig_init(&rig, TWO);
    rig_set_manual(&rig);
    struct fake_peer *peer = rig_open(&rig.net, 0);
    struct store_stats before;
    struct store_stats after;
    for (int i = 0; i < 100; i++) {
        retain(peer, "a", i % 2 == 0 ? "even" : "odd");
    }
    store_get_stats(rig.store, &before);
    cr_assert(store_memory_commit(rig.store));
    fake_mail_settle(&rig.net);
    cr_assert(store_memory_commit(rig.store));
    fake_mail_settle(&rig.net);
    cr_assert_not(store_memory_commit(rig.store));
    store_get_stats(rig.store, &after);
    cr_assert_eq(after.commits - before.commits, 2);
    rig_restart(&rig, true);
    cr_assert_str_eq(retained(&rig), "odd");
    rig_fini(&rig);
}

Test(retained_store, a_full_disk_is_tried_again)
{
    struct rig rig;
    struct retained_store_stats stats;
    rig_init(&rig, TWO);
    struct fake_peer *peer = rig_open(&rig.net, 1);
    store_memory_fail(rig.store, STORE_NO_SPACE, 1);
    retain(peer, "a", "1");
    retained_store_get_stats(rig.net.core, &stats);
    cr_assert_eq(stats.errors, 1);
    cr_assert_eq(rig.net.logged[CORE_EVENT_STORE], 1);
    cr_assert_leq(core_due(rig.net.core), rig.net.now_ms + 1000);
    (void)fake_advance(&rig.net, 1000);
    rig_restart(&rig, true);
    cr_assert_str_eq(retained(&rig), "1");
    rig_fini(&rig);
}

Test(retained_store, what_cannot_be_read_is_left_alone)
{
    struct rig rig;
    struct retained_store_stats stats;
    rig_init(&rig, TWO);
    retain(rig_open(&rig.net, 1), "a", "1");
    struct store_value odd = {.space = STORE_SPACE_RETAINED,
        .key = "tb",
        .key_bytes = 2,
        .data = "nonsense and more",
        .bytes = 17};
    cr_assert_eq(rig_put(&rig, &odd), STORE_OK);
    rig_restart(&rig, false);
    cr_assert_str_eq(retained(&rig), "1");
    retained_store_get_stats(rig.net.core, &stats);
    cr_assert_eq(stats.unknown, 1);
    rig_fini(&rig);
}

/* A value is a serial, 8 bytes, and a frame; its key says the same topic. */
Test(retained_store, values_that_are_almost_right)
{
    static const struct {
        const char *key;
        size_t key_bytes;
        uint16_t type; /* of the frame */
        int more;      /* bytes than there are */
    } cases[] = {
        {"tb", 2, BROKER_FRAME_PUBLISH, 0}, /* right */
        {"tc", 2, BROKER_FRAME_PUBLISH, 0},
        {"tbb", 3, BROKER_FRAME_PUBLISH, 0},
        {"xb", 2, BROKER_FRAME_PUBLISH, 0},
        {"nb", 2, BROKER_FRAME_PUBLISH, 0},
        {"n\0\0\0\0\0\0\0\1", 9, BROKER_FRAME_PUBLISH, 0}, /* short topic */
        {"t1", 2, BROKER_FRAME_PUBLISH, 1},
        {"t2", 2, BROKER_FRAME_PUBLISH, -1},
        {"t3", 2, BROKER_FRAME_PUBLISH, -30},
        {"t4", 2, BROKER_FRAME_SUBSCRIBE, 0},
        {"t5", 2, 0x7777, 0},
    };
    struct rig rig;
    struct say say = {0};
    struct retained_store_stats stats;
    rig_init(&rig, TWO);
    say_bytes(&say, "\0\0\0\0\0\0\0\1", 8);
    say_publish(&say, 0, "b", "value");
    say_bytes(&say, "", 1);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int bytes = (int)say.len - 1 + cases[i].more;
        say.bytes[12] = (uint8_t)(cases[i].type >> 8);
        say.bytes[13] = (uint8_t)cases[i].type;
        struct store_value value = {.space = STORE_SPACE_RETAINED,
            .key = cases[i].key,
            .key_bytes = cases[i].key_bytes,
            .data = say.bytes,
            .bytes = bytes < 1 ? 1 : (size_t)bytes};
        cr_assert_eq(rig_put(&rig, &value), STORE_OK);
    }
    say_fini(&say);
    rig_restart(&rig, false);
    cr_assert_str_eq(retained(&rig), "value");
    retained_store_get_stats(rig.net.core, &stats);
    cr_assert_eq(stats.unknown, sizeof cases / sizeof cases[0] - 1);
    rig_fini(&rig);
}
