/* SPDX-License-Identifier: MIT
 *
 * Streams as they are asked for: requests under $sys/stream/, on one and on
 * several workers, over a store in memory. PROTOCOL.md section 5.13. */
#include "stream_rig.h"

#include "admin.h"
#include "memory.h"
#include "session.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <string.h>

#define TWO 2

static const char orders[] =
    "{\"name\":\"ORDERS\",\"topics\":[\"orders/#\",\"returns/+\"],"
    "\"max_messages\":10}";

Test(streams, without_a_store_there_are_none)
{
    struct fake_net net;
    expect_net(&net);
    net.core->hooks.ask = admin_ask;
    struct fake_peer *peer = rig_open(&net, 0);
    rig_expect_refused(peer, "$sys/stream/list", "", BROKER_E_NO_STORE, NULL);
    rig_expect_refused(peer, "$sys/consumer/x", "", BROKER_E_NO_STORE, NULL);
    fake_net_fini(&net);
}

Test(streams, one_is_added_and_told)
{
    struct rig rig;
    rig_init(&rig, 1);
    struct fake_peer *peer = rig_open(&rig.net, 0);
    const char *reply = rig_ask(peer, "$sys/stream/add", orders);
    cr_assert(strstr(reply, "\"name\":\"ORDERS\""), "%s", reply);
    cr_assert(strstr(reply, "\"topics\":[\"orders/#\",\"returns/+\"]"));
    cr_assert(strstr(reply, "\"max_messages\":10,\"max_bytes\":0"));
    cr_assert(strstr(reply, "\"discard\":\"old\""));
    reply = rig_ask(peer, "$sys/stream/info", "{\"name\":\"ORDERS\"}");
    cr_assert(strstr(reply, "\"last_sequence\":0"), "%s", reply);
    reply = rig_ask(peer, "$sys/stream/list", "{\"limit\":5}");
    cr_assert(strstr(reply, "\"total\":1,\"offset\":0,\"streams\":[{"));
    reply = rig_ask(peer, "$sys/stream/list", "{\"offset\":1}");
    cr_assert(strstr(reply, "\"total\":1,\"offset\":1,\"streams\":[]"));
    rig_fini(&rig);
}

Test(streams, adding_again_is_fine_with_the_same_settings_only)
{
    struct rig rig;
    rig_init(&rig, 1);
    struct fake_peer *peer = rig_open(&rig.net, 0);
    (void)rig_ask(peer, "$sys/stream/add", orders);
    (void)rig_ask(peer, "$sys/stream/add",
        "{\"topics\":[\"returns/+\",\"orders/#\"],\"max_messages\":10,"
        "\"name\":\"ORDERS\"}");
    rig_expect_refused(peer, "$sys/stream/add",
        "{\"name\":\"ORDERS\",\"topics\":[\"orders/#\"]}", BROKER_E_NAME_IN_USE,
        "ORDERS");
    rig_fini(&rig);
}

Test(streams, requests_that_make_no_sense_are_refused)
{
    static const struct {
        const char *topic, *payload;
        enum broker_status status;
        const char *why;
    } cases[] = {
        {"add", "", BROKER_E_BAD_REQUEST, "name: "},
        {"add", "[]", BROKER_E_BAD_REQUEST, "payload: "},
        {"add", "{", BROKER_E_BAD_REQUEST, "payload: "},
        {"add", "{\"name\":\"A\"}", BROKER_E_BAD_REQUEST, "topics: "},
        {"add", "{\"name\":\"A\",\"topics\":[]}", BROKER_E_BAD_REQUEST,
            "topics: "},
        {"add", "{\"name\":\"A\",\"topics\":[1]}", BROKER_E_BAD_REQUEST,
            "topics: "},
        {"add", "{\"name\":\"A b\",\"topics\":[\"a\"]}", BROKER_E_BAD_REQUEST,
            "name: "},
        {"add", "{\"name\":1,\"topics\":[\"a\"]}", BROKER_E_BAD_REQUEST,
            "name: "},
        {"add", "{\"name\":\"A\",\"topics\":[\"a\",\"a\"]}",
            BROKER_E_BAD_REQUEST, "topics: "},
        {"add", "{\"name\":\"A\",\"topics\":[\"a/#/b\"]}", BROKER_E_BAD_FILTER,
            "topics: "},
        {"add", "{\"name\":\"A\",\"topics\":[\"$sys/#\"]}",
            BROKER_E_RESERVED_TOPIC, "topics: "},
        {"add", "{\"name\":\"A\",\"topics\":[\"a\"],\"colour\":1}",
            BROKER_E_BAD_REQUEST, "colour: "},
        {"add", "{\"name\":\"A\",\"topics\":[\"a\"],\"max_bytes\":-1}",
            BROKER_E_BAD_REQUEST, "max_bytes: "},
        {"add", "{\"name\":\"A\",\"topics\":[\"a\"],\"max_age_ms\":1.5}",
            BROKER_E_BAD_REQUEST, "max_age_ms: "},
        {"add", "{\"name\":\"A\",\"topics\":[\"a\"],\"discard\":\"all\"}",
            BROKER_E_BAD_REQUEST, "discard: "},
        {"info", "{}", BROKER_E_BAD_REQUEST, "name: "},
        {"info", "{\"name\":\"NO\"}", BROKER_E_UNKNOWN_STREAM, NULL},
        {"remove", "{\"name\":\"NO\"}", BROKER_E_UNKNOWN_STREAM, "NO"},
        {"edit", "{\"name\":\"NO\"}", BROKER_E_UNKNOWN_STREAM, "NO"},
        {"purge", "{\"name\":\"NO\"}", BROKER_E_UNKNOWN_STREAM, "NO"},
        {"purge", "{\"name\":\"NO\",\"before\":1,\"keep\":1}",
            BROKER_E_BAD_REQUEST, "before, keep: "},
        {"list", "{\"limit\":10001}", BROKER_E_BAD_REQUEST, "limit: "},
        {"nonsense", "", BROKER_E_RESERVED_TOPIC, NULL},
    };
    struct rig rig;
    rig_init(&rig, 1);
    struct fake_peer *peer = rig_open(&rig.net, 0);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char topic[32];
        snprintf(topic, sizeof topic, "$sys/stream/%s", cases[i].topic);
        rig_expect_refused(
            peer, topic, cases[i].payload, cases[i].status, cases[i].why);
    }
    cr_assert(strstr(rig_ask(peer, "$sys/stream/list", ""), "\"total\":0"));
    rig_fini(&rig);
}

Test(streams, no_topic_is_captured_twice)
{
    struct rig rig;
    rig_init(&rig, TWO);
    struct fake_peer *peer = rig_open(&rig.net, 1);
    (void)rig_ask(peer, "$sys/stream/add", orders);
    (void)rig_ask(
        peer, "$sys/stream/add", "{\"name\":\"B\",\"topics\":[\"b/#\"]}");
    rig_expect_refused(peer, "$sys/stream/add",
        "{\"name\":\"C\",\"topics\":[\"c\",\"+/new\"]}",
        BROKER_E_STREAM_OVERLAP, "stream ");
    rig_expect_refused(peer, "$sys/stream/edit",
        "{\"name\":\"B\",\"topics\":[\"b/#\",\"orders/1\"]}",
        BROKER_E_STREAM_OVERLAP, "stream ORDERS ");
    rig_fini(&rig);
}

/* ---- captures ------------------------------------------------------------ */

static void
expect_captured(const struct core *core, const char *filter, const char *name)
{
    size_t count;
    const struct capture *capture =
        core_overlapping_captures(core, say_text(filter), &count);
    cr_assert_eq(count, name == NULL ? 0 : 1, "%s: %zu", filter, count);
    cr_assert_eq(
        capture, name == NULL ? NULL : core_find_capture(core, say_text(name)));
}

Test(streams, every_worker_captures)
{
    struct rig rig;
    rig_init(&rig, TWO);
    struct fake_peer *peer = rig_open(&rig.net, 1);
    (void)rig_ask(peer, "$sys/stream/add", orders);
    for (uint32_t worker = 0; worker < TWO; worker++) {
        expect_captured(rig.net.cores[worker], "orders/1/2", "ORDERS");
        expect_captured(rig.net.cores[worker], "returns/#", "ORDERS");
        expect_captured(rig.net.cores[worker], "b", NULL);
    }
    (void)rig_ask(peer, "$sys/stream/edit",
        "{\"name\":\"ORDERS\",\"topics\":[\"returns/+\",\"b\"]}");
    for (uint32_t worker = 0; worker < TWO; worker++) {
        expect_captured(rig.net.cores[worker], "orders/1/2", NULL);
        expect_captured(rig.net.cores[worker], "returns/#", "ORDERS");
        expect_captured(rig.net.cores[worker], "b", "ORDERS");
    }
    (void)rig_ask(peer, "$sys/stream/remove", "{\"name\":\"ORDERS\"}");
    for (uint32_t worker = 0; worker < TWO; worker++) {
        expect_captured(rig.net.cores[worker], "#", NULL);
    }
    cr_assert_eq(store_next_stream(rig.net.ports[0].port, 0), 0);
    rig_fini(&rig);
}

Test(streams, messages_are_kept_edited_and_purged)
{
    struct rig rig;
    rig_init(&rig, TWO);
    struct fake_peer *peer = rig_open(&rig.net, 1);
    (void)rig_ask(peer, "$sys/stream/add", orders);
    rig_publish(peer, "orders/1", 8);
    const char *reply =
        rig_ask(peer, "$sys/stream/info", "{\"name\":\"ORDERS\"}");
    cr_assert(strstr(reply, "\"messages\":8"), "%s", reply);
    reply = rig_ask(
        peer, "$sys/stream/edit", "{\"name\":\"ORDERS\",\"max_messages\":6}");
    cr_assert(strstr(reply, "\"messages\":6"), "%s", reply);
    reply = rig_ask(
        peer, "$sys/stream/edit", "{\"name\":\"ORDERS\",\"discard\":\"new\"}");
    cr_assert(strstr(reply, "\"discard\":\"new\""), "%s", reply);
    reply =
        rig_ask(peer, "$sys/stream/purge", "{\"name\":\"ORDERS\",\"keep\":4}");
    cr_assert(strstr(reply, "\"messages\":4"), "%s", reply);
    cr_assert(strstr(reply, "\"max_messages\":6"), "%s", reply);
    reply = rig_ask(
        peer, "$sys/stream/purge", "{\"name\":\"ORDERS\",\"before\":7}");
    cr_assert(strstr(reply, "\"first_sequence\":7"), "%s", reply);
    reply = rig_ask(peer, "$sys/stream/purge", "{\"name\":\"ORDERS\"}");
    cr_assert(strstr(reply, "\"messages\":0"), "%s", reply);
    rig_fini(&rig);
}

/* ---- restarts ------------------------------------------------------------ */

Test(streams, they_outlive_the_broker)
{
    struct rig rig;
    rig_init(&rig, TWO);
    struct fake_peer *peer = rig_open(&rig.net, 1);
    (void)rig_ask(peer, "$sys/stream/add", orders);
    rig_publish(peer, "orders/1", 3);
    rig_restart(&rig, false);
    cr_assert(core_is_ready(rig.net.core));
    for (uint32_t worker = 0; worker < TWO; worker++) {
        expect_captured(rig.net.cores[worker], "returns/#", "ORDERS");
    }
    peer = rig_open(&rig.net, 0);
    const char *reply =
        rig_ask(peer, "$sys/stream/info", "{\"name\":\"ORDERS\"}");
    cr_assert(strstr(reply, "\"messages\":3"), "%s", reply);
    rig_fini(&rig);
}

/* Is the stream there for this worker, as a whole or not at all? */
static bool
is_there(struct rig *rig)
{
    size_t count;
    bool captured = core_overlapping_captures(rig->net.cores[1],
                        say_text("orders/1"), &count) != NULL;
    bool known = streams_find(rig->net.core, say_text("ORDERS")) != NULL;
    bool kept = store_next_stream(rig->net.ports[0].port, 0) != 0;
    cr_assert_eq(captured, known);
    cr_assert_eq(kept, known);
    cr_assert(core_is_ready(rig->net.core));
    return known;
}

/* What the request does takes several commits; the broker stops after each
 * number of them. */
static void
crash_everywhere(
    const char *topic, const char *payload, bool is_added, bool is_there_after)
{
    bool answered = false;
    for (uint32_t commits = 0; !answered; commits++) {
        struct rig rig;
        rig_init(&rig, TWO);
        struct fake_peer *peer = rig_open(&rig.net, 1);
        if (is_added) {
            (void)rig_ask(peer, "$sys/stream/add", orders);
        }
        rig_set_manual(&rig);
        peer = rig_open(&rig.net, 1);
        rig_send(peer, topic, payload);
        for (uint32_t i = 0; i < commits; i++) {
            (void)store_memory_commit(rig.store);
            fake_mail_settle(&rig.net);
        }
        answered = rig_is_answered(peer);
        rig_restart(&rig, true);
        bool there = is_there(&rig);
        cr_assert(!answered || there == is_there_after);
        cr_assert(commits > 0 || there == is_added);
        cr_assert_lt(commits, 10);
        rig_fini(&rig);
    }
}

Test(streams, a_crash_leaves_an_added_stream_whole_or_not_there)
{
    crash_everywhere("$sys/stream/add", orders, false, true);
}

Test(streams, a_crash_leaves_a_removed_stream_whole_or_not_there)
{
    crash_everywhere(
        "$sys/stream/remove", "{\"name\":\"ORDERS\"}", true, false);
}

Test(streams, a_crash_leaves_an_edited_stream_as_it_was_or_is_to_be)
{
    crash_everywhere("$sys/stream/edit",
        "{\"name\":\"ORDERS\",\"max_bytes\":1000}", true, true);
}

Test(streams, a_full_disk_is_told_and_undone)
{
    struct rig rig;
    rig_init(&rig, TWO);
    struct fake_peer *peer = rig_open(&rig.net, 1);
    store_memory_fail(rig.store, STORE_NO_SPACE, 1);
    rig_expect_refused(
        peer, "$sys/stream/add", orders, BROKER_E_DISK_FULL, NULL);
    cr_assert_not(is_there(&rig));
    (void)rig_ask(peer, "$sys/stream/add", orders);
    cr_assert(is_there(&rig));
    store_memory_fail(rig.store, STORE_NO_SPACE, 1);
    rig_expect_refused(peer, "$sys/stream/edit",
        "{\"name\":\"ORDERS\",\"topics\":[\"x\"]}", BROKER_E_DISK_FULL, NULL);
    cr_assert(is_there(&rig));
    store_memory_fail(rig.store, STORE_NO_SPACE, 1);
    rig_expect_refused(peer, "$sys/stream/remove", "{\"name\":\"ORDERS\"}",
        BROKER_E_DISK_FULL, NULL);
    cr_assert(is_there(&rig));
    store_memory_fail(rig.store, STORE_FAILED, 1);
    rig_expect_refused(peer, "$sys/stream/remove", "{\"name\":\"ORDERS\"}",
        BROKER_E_STORAGE, NULL);
    rig_restart(&rig, true);
    cr_assert(is_there(&rig));
    rig_fini(&rig);
}

/* A store that takes nothing for a moment delays the answer only. */
Test(streams, a_busy_store_is_waited_for)
{
    struct rig rig;
    rig_init(&rig, TWO);
    struct fake_peer *peer = rig_open(&rig.net, 1);
    store_memory_refuse(rig.store, 1);
    rig_send(peer, "$sys/stream/add", orders);
    for (int i = 0; i < 5 && !rig_is_answered(peer); i++) {
        cr_assert_neq(core_due(rig.net.core), UINT64_MAX);
        (void)fake_advance(&rig.net, 1000);
    }
    cr_assert(is_there(&rig));
    rig_fini(&rig);
}

/* ---- figures ------------------------------------------------------------- */

Test(streams, the_store_is_in_the_stats)
{
    struct rig rig;
    struct buffer reply = {0};
    rig_init(&rig, TWO);
    struct fake_peer *peer = rig_open(&rig.net, 1);
    (void)rig_ask(peer, "$sys/stream/add", orders);
    rig_publish(peer, "orders/1", 3);
    store_memory_fail(rig.store, STORE_NO_SPACE, 1);
    rig_expect_refused(peer, "$sys/stream/remove", "{\"name\":\"ORDERS\"}",
        BROKER_E_DISK_FULL, NULL);
    const struct core *cores[TWO] = {rig.net.cores[0], rig.net.cores[1]};
    cr_assert_eq(admin_answer(cores, TWO, rig.store, say_text("$sys/stats"),
                     (struct broker_bytes){0}, &reply),
        BROKER_OK);
    const char *text = (const char *)buffer_data(&reply);
    size_t len = buffer_len(&reply);
    cr_assert(memmem(text, len, "\"streams\":1,", 12), "%.*s", (int)len, text);
    cr_assert(memmem(text, len, "\"stored_messages\":3,", 20));
    cr_assert(memmem(text, len, "\"store_records\":3,", 18));
    cr_assert(memmem(text, len, "\"store_no_space\":true,", 22));
    cr_assert(memmem(text, len, "\"store_failed\":false,", 21));
    buffer_fini(&reply);
    rig_fini(&rig);
}
