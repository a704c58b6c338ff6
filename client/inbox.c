/* SPDX-License-Identifier: MIT
 *
 * See inbox.h.
 */
#include "inbox.h"

#include <stdlib.h>
#include <string.h>

#include "subscriptions.h"

void
inbox_fini(struct inbox *inbox)
{
    for (;;) {
        struct inbox_entry *entry = inbox_pop(inbox);
        if (entry == NULL) {
            return;
        }
        free(entry);
    }
}

void
broker_client_event_free(struct broker_client_event *event)
{
    free(event); /* it is the first member of its entry */
}

static struct broker_bytes
append(struct inbox_entry *entry, size_t *used, struct broker_bytes bytes)
{
    struct broker_bytes copy = {entry->data + *used, bytes.len};
    if (bytes.len > 0) {
        memcpy(entry->data + *used, bytes.data, bytes.len);
        *used += bytes.len;
    }
    return copy;
}

static size_t
message_bytes(const struct broker_message *message)
{
    return sizeof(struct inbox_entry) + message->topic.len +
           message->fields.len + message->payload.len;
}

struct inbox_entry *
inbox_entry_new(const struct broker_message *message)
{
    size_t bytes = message_bytes(message);
    struct inbox_entry *entry = malloc(bytes);
    if (entry == NULL) {
        return NULL;
    }
    size_t used = 0;
    entry->bytes = bytes;
    entry->next = NULL;
    entry->message = *message;
    entry->message.topic = append(entry, &used, message->topic);
    entry->message.fields = append(entry, &used, message->fields);
    entry->message.payload = append(entry, &used, message->payload);
    if (message->reply_to.len > 0) { /* it lies in the fields */
        entry->message.reply_to.data =
            entry->message.fields.data +
            (message->reply_to.data - message->fields.data);
    }
    entry->event = (struct broker_client_event){
        .kind = BROKER_CLIENT_EVENT_MESSAGE, .message = &entry->message};
    return entry;
}

static struct inbox_entry *
gap_entry_new(const struct broker_client_gap *gap)
{
    size_t ids_bytes = gap->subscription_count * sizeof *gap->subscriptions;
    struct inbox_entry *entry = malloc(sizeof *entry + ids_bytes);
    if (entry == NULL) {
        return NULL;
    }
    memcpy(entry->data, gap->subscriptions, ids_bytes);
    entry->bytes = sizeof *entry + ids_bytes;
    entry->next = NULL;
    entry->gap = *gap;
    /* The data of an entry begins behind pointers, so it is aligned for them
     * and for numbers of 4 bytes. */
    entry->gap.subscriptions = (const uint32_t *)(const void *)entry->data;
    entry->event = (struct broker_client_event){
        .kind = BROKER_CLIENT_EVENT_GAP, .gap = &entry->gap};
    return entry;
}

static void
append_entry(struct inbox *inbox, struct inbox_entry *entry)
{
    if (inbox->last == NULL) {
        inbox->first = entry;
    } else {
        inbox->last->next = entry;
    }
    inbox->last = entry;
    inbox->count++;
    inbox->bytes += entry->bytes;
}

void
inbox_tell_missed(struct inbox *inbox, struct subscription *subscription)
{
    if (subscription->missed_count == 0) {
        return;
    }
    struct broker_client_gap gap = {
        .reason = BROKER_CLIENT_GAP_INBOX,
        .count = subscription->missed_count,
        .bytes = subscription->missed_bytes,
        .subscriptions = &subscription->id,
        .subscription_count = 1,
    };
    struct inbox_entry *entry = gap_entry_new(&gap);
    if (entry == NULL) {
        inbox->untold = true;
        return;
    }
    append_entry(inbox, entry);
    subscription->open_gap = entry;
    subscription->missed_count = subscription->missed_bytes = 0;
}

/* Count one more missing message, in the open gap if there is one. */
static void
miss(struct inbox *inbox, struct subscription *subscription, size_t bytes)
{
    if (subscription->open_gap != NULL) {
        subscription->open_gap->gap.count++;
        subscription->open_gap->gap.bytes += bytes;
        return;
    }
    subscription->missed_count++;
    subscription->missed_bytes += bytes;
    inbox_tell_missed(inbox, subscription);
}

bool
inbox_push(struct inbox *inbox, struct subscription *subscription,
    const struct broker_message *message, size_t frame_bytes)
{
    size_t bytes = message_bytes(message);
    /* A single message larger than the limit fits when nothing waits. */
    bool fits =
        inbox->count == 0 || (inbox->bytes < inbox->limit_bytes &&
                                 bytes <= inbox->limit_bytes - inbox->bytes);
    struct inbox_entry *entry = NULL;
    if (fits && subscription->missed_count == 0) {
        entry = inbox_entry_new(message);
    }
    if (entry == NULL) {
        miss(inbox, subscription, frame_bytes);
        return false;
    }
    entry->message.subscription = subscription->id;
    entry->connection = inbox->connection;
    append_entry(inbox, entry);
    subscription->open_gap = NULL;
    return true;
}

bool
inbox_push_gap(struct inbox *inbox, const struct broker_client_gap *gap)
{
    struct inbox_entry *entry = gap_entry_new(gap);
    if (entry == NULL) {
        return false;
    }
    append_entry(inbox, entry);
    return true;
}

bool
inbox_push_caught_up(struct inbox *inbox, uint32_t subscription)
{
    struct inbox_entry *entry = malloc(sizeof *entry);
    if (entry == NULL) {
        return false;
    }
    entry->bytes = sizeof *entry;
    entry->next = NULL;
    entry->event = (struct broker_client_event){
        .kind = BROKER_CLIENT_EVENT_CAUGHT_UP, .subscription = subscription};
    append_entry(inbox, entry);
    return true;
}

struct inbox_entry *
inbox_pop(struct inbox *inbox)
{
    struct inbox_entry *entry = inbox->first;
    if (entry == NULL) {
        return NULL;
    }
    inbox->first = entry->next;
    if (inbox->first == NULL) {
        inbox->last = NULL;
    }
    inbox->count--;
    inbox->bytes -= entry->bytes;
    entry->next = NULL;
    return entry;
}
