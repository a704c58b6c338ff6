/* SPDX-License-Identifier: MIT
 *
 * The queue of broker_client_next().
 */
#include <criterion/criterion.h>
#include <string.h>

#include "inbox.h"
#include "subscriptions.h"

static struct broker_bytes
bytes_of(const char *text)
{
    return (struct broker_bytes){(const uint8_t *)text, strlen(text)};
}

static struct broker_message
message_of(const char *payload)
{
    return (struct broker_message){
        .topic = bytes_of("a/b"), .payload = bytes_of(payload)};
}

Test(inbox, an_entry_owns_its_bytes)
{
    char fields[] = "\x80\x03\x00\x05reply";
    char payload[] = "payload";
    struct broker_message message = message_of(payload);
    message.fields = (struct broker_bytes){(uint8_t *)fields, 9};
    message.reply_to = (struct broker_bytes){(uint8_t *)fields + 4, 5};
    struct inbox_entry *entry = inbox_entry_new(&message);
    memset(fields, 'x', sizeof fields);
    memset(payload, 'x', sizeof payload);
    cr_assert_eq(memcmp(entry->message.payload.data, "payload", 7), 0);
    cr_assert_eq(entry->message.reply_to.len, 5);
    cr_assert_eq(memcmp(entry->message.reply_to.data, "reply", 5), 0);
    broker_client_event_free(&entry->event);
    broker_client_event_free(NULL);
}

/* Two subscriptions, one of which falls behind: each has its own gap, and the
 * gap stands where its messages are missing. */
Test(inbox, a_gap_for_each_subscription_that_is_behind)
{
    struct subscriptions subscriptions = {0};
    struct subscription *one =
        subscriptions_add(&subscriptions, bytes_of("a"), bytes_of(""));
    struct subscription *two =
        subscriptions_add(&subscriptions, bytes_of("b"), bytes_of(""));
    struct inbox inbox = {.limit_bytes = 400};
    struct broker_message message = message_of("x");
    inbox_push(&inbox, one, &message, 20); /* fits: nothing else waits */
    size_t count = inbox.count;
    for (int i = 0; i < 10; i++) {
        inbox_push(&inbox, one, &message, 20);
        inbox_push(&inbox, two, &message, 30);
    }
    cr_assert_leq(inbox.count, count + 3);
    uint64_t missing[3] = {0}, bytes[3] = {0};
    uint64_t got[3] = {0};
    struct inbox_entry *entry;
    while ((entry = inbox_pop(&inbox)) != NULL) {
        if (entry->event.kind == BROKER_CLIENT_EVENT_GAP) {
            uint32_t id = entry->gap.subscriptions[0];
            cr_assert_eq(entry->gap.subscription_count, 1);
            missing[id] += entry->gap.count;
            bytes[id] += entry->gap.bytes;
        } else {
            got[entry->message.subscription]++;
        }
        broker_client_event_free(&entry->event);
    }
    cr_assert_eq(got[1] + missing[1], 11);
    cr_assert_eq(got[2] + missing[2], 10);
    cr_assert_eq(bytes[1], missing[1] * 20);
    cr_assert_eq(bytes[2], missing[2] * 30);
    cr_assert_eq(inbox.bytes, 0);
    inbox_fini(&inbox);
    subscriptions_fini(&subscriptions);
}

Test(inbox, what_could_not_be_told_at_once_is_told_with_the_next_gap)
{
    struct subscriptions subscriptions = {0};
    struct subscription *one =
        subscriptions_add(&subscriptions, bytes_of("a"), bytes_of(""));
    struct inbox inbox = {.limit_bytes = 100000};
    struct broker_message message = message_of("x");
    one->missed_count = 3; /* as after a failed allocation */
    inbox_push(&inbox, one, &message, 20);
    inbox_push(&inbox, one, &message, 20);
    struct inbox_entry *entry = inbox_pop(&inbox);
    cr_assert_eq(entry->event.kind, BROKER_CLIENT_EVENT_GAP);
    cr_assert_eq(entry->gap.count, 4);
    broker_client_event_free(&entry->event);
    entry = inbox_pop(&inbox);
    cr_assert_eq(entry->event.kind, BROKER_CLIENT_EVENT_MESSAGE);
    broker_client_event_free(&entry->event);
    inbox_fini(&inbox);
    subscriptions_fini(&subscriptions);
}

/* A later gap has a place of its own, behind what came in between. */
Test(inbox, a_gap_stands_in_its_place)
{
    struct subscriptions subscriptions = {0};
    struct subscription *one =
        subscriptions_add(&subscriptions, bytes_of("a"), bytes_of(""));
    struct broker_message message = message_of("x");
    struct inbox inbox = {.limit_bytes = 3 * (sizeof(struct inbox_entry) + 8)};
    static const enum broker_client_event_kind expected[] = {
        BROKER_CLIENT_EVENT_MESSAGE, BROKER_CLIENT_EVENT_GAP,
        BROKER_CLIENT_EVENT_MESSAGE, BROKER_CLIENT_EVENT_GAP};
    for (int i = 0; i < 4; i++) { /* the fourth does not fit */
        inbox_push(&inbox, one, &message, 20);
    }
    broker_client_event_free(&inbox_pop(&inbox)->event);
    broker_client_event_free(&inbox_pop(&inbox)->event);
    inbox_push(&inbox, one, &message, 20); /* fits again */
    inbox_push(&inbox, one, &message, 20);
    for (size_t i = 0; i < 4; i++) {
        struct inbox_entry *entry = inbox_pop(&inbox);
        cr_assert_not_null(entry);
        cr_assert_eq(entry->event.kind, expected[i], "%zu", i);
        broker_client_event_free(&entry->event);
    }
    inbox_fini(&inbox);
    subscriptions_fini(&subscriptions);
}
