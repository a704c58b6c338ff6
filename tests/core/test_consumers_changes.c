/* SPDX-License-Identifier: MIT
 *
 * Durable consumers that are added, reset and removed while others go on, and
 * what is left of that after a crash. PROTOCOL.md section 5.14. */
#include "consumer_rig.h"

#include "memory.h"

#include <criterion/criterion.h>

#include <string.h>

static struct worker_peer a, b;

/* The stream ends, and somebody adds one of the same name to another one, all
 * in one turn. */
Test(consumers_changes, one_of_the_same_name_outlives_the_one_before)
{
    static const char add[] = "{\"name\":\"C\",\"stream\":\"T\"}";
    struct rig rig;
    struct say say = {0};
    work_init(&rig, 2, "");
    struct fake_peer *asker = work_asker(&rig);
    struct fake_peer *adder = rig_open(&rig.net, 1);
    (void)rig_ask(
        asker, "$sys/stream/add", "{\"name\":\"T\",\"topics\":[\"t/#\"]}");
    rig_set_manual(&rig);
    rig_send(asker, "$sys/stream/remove", "{\"name\":\"S\"}");
    cr_assert(store_memory_commit(rig.store));
    fake_mail_hold(&rig.net);
    fake_mail_end_turn(&rig.net, 0);
    (void)say_message(&say, &(struct say_message){.id = 1,
                                .topic = "$sys/consumer/add",
                                .reply_to = "inbox",
                                .payload = add,
                                .payload_bytes = sizeof add - 1});
    expect_fed(adder, &say);
    fake_mail_end_turn(&rig.net, 1);
    while (fake_mail_step(&rig.net, 0)) {
    }
    fake_mail_settle(&rig.net);
    while (store_memory_commit(rig.store)) {
        fake_mail_settle(&rig.net);
    }
    rig_restart(&rig, true);
    asker = work_asker(&rig);
    const char *list = rig_ask(asker, "$sys/consumer/list", "");
    cr_assert(strstr(list, "\"total\":1"), "%s", list);
    rig_fini(&rig);
}

/* Whoever waits for what will be is not in the way of others. */
Test(consumers_changes, one_that_begins_behind_the_end_holds_up_nobody)
{
    struct rig rig;
    work_init(&rig, 1, "");
    struct fake_peer *asker = work_asker(&rig);
    (void)rig_ask(asker, "$sys/consumer/add",
        "{\"name\":\"E\",\"stream\":\"S\",\"from\":{\"sequence\":6}}");
    struct fake_peer *peer = expect_open_at(&rig.net, 0, &say_hello_default);
    work_consume(&b, peer, "E", 0);
    work_join(&a, &rig, 0);
    work_publish(asker, 3);
    cr_assert_eq(work_take(&a), 3);
    cr_assert_eq(work_take(&b), 0);
    work_publish(asker, 4);
    cr_assert_eq(work_take(&a), 4);
    cr_assert_eq(work_take(&b), 2);
    cr_assert_eq(b.got[0].sequence, 6);
    rig_fini(&rig);
}

/* What was to be done again would be done with. */
Test(consumers_changes, a_reset_that_was_answered_survives_a_crash)
{
    struct rig rig;
    work_init(&rig, 1, "");
    struct fake_peer *asker = work_asker(&rig);
    work_join(&a, &rig, 0);
    work_publish(asker, 5);
    cr_assert_eq(work_take(&a), 5);
    work_ack(&a, 1, 5);
    rig_set_manual(&rig);
    rig_send(
        asker, "$sys/consumer/reset", "{\"name\":\"C\",\"from\":\"first\"}");
    while (!rig_is_answered(asker)) {
        cr_assert(store_memory_commit(rig.store));
        fake_mail_settle(&rig.net);
    }
    rig_restart(&rig, true);
    work_join(&b, &rig, 0);
    cr_assert_eq(b.count, 5);
    rig_fini(&rig);
}

/* Not stored, and said so; and done all the same. */
Test(consumers_changes, a_reset_that_cannot_be_stored_is_refused)
{
    struct rig rig;
    work_init(&rig, 1, "");
    struct fake_peer *asker = work_asker(&rig);
    work_join(&a, &rig, 0);
    work_publish(asker, 5);
    cr_assert_eq(work_take(&a), 5);
    work_ack(&a, 1, 5);
    store_memory_fail(rig.store, STORE_NO_SPACE, 1000);
    rig_expect_refused(asker, "$sys/consumer/reset",
        "{\"name\":\"C\",\"from\":\"first\"}", BROKER_E_DISK_FULL, NULL);
    cr_assert_eq(work_take(&a), 5);
    store_memory_fail(rig.store, STORE_NO_SPACE, 0);
    work_wait(&rig, 2500);
    rig_restart(&rig, true);
    work_join(&b, &rig, 0);
    cr_assert_eq(b.count, 5);
    rig_fini(&rig);
}
