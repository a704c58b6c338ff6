/* SPDX-License-Identifier: MIT
 *
 * Looking at a handle: names, texts, counters, and headers of messages. See
 * handle.h.
 */
#include "handle.h"

#include <stdio.h>
#include <string.h>

const char *
broker_client_state_name(enum broker_client_state state)
{
    static const char *const names[] = {
        [BROKER_CLIENT_IDLE] = "idle",
        [BROKER_CLIENT_CONNECTING] = "connecting",
        [BROKER_CLIENT_CONNECTED] = "connected",
        [BROKER_CLIENT_WAITING] = "waiting",
        [BROKER_CLIENT_CLOSING] = "closing",
        [BROKER_CLIENT_CLOSED] = "closed",
    };
    size_t i = (size_t)state;
    return i < sizeof names / sizeof names[0] ? names[i] : "unknown";
}

const char *
broker_client_gap_text(unsigned reason)
{
    switch (reason) {
    case BROKER_GAP_OVERFLOW:
        return "the subscriber fell behind and its queue in the broker was "
               "full";
    case BROKER_GAP_TOO_LARGE:
        return "larger than this client accepts";
    case BROKER_GAP_MEMORY:
        return "the broker was out of memory";
    case BROKER_GAP_EXPIRED:
        return "expired in the stream before it was read";
    case BROKER_GAP_TRIMMED:
        return "the stream had discarded it, by a limit or a purge";
    case BROKER_GAP_DAMAGED:
        return "damaged on the broker's disk";
    case BROKER_GAP_PERMISSION:
        return "not permitted";
    case BROKER_GAP_CONFLATED:
        return "replaced by newer ones";
    case BROKER_CLIENT_GAP_CONNECTION:
        return "the connection was lost for a while";
    case BROKER_CLIENT_GAP_INBOX:
        return "the queue for broker_client_next() was full";
    case BROKER_CLIENT_GAP_UNREADABLE:
        return "with a field that this client does not know";
    case BROKER_CLIENT_GAP_ENDED:
        return "the broker ended the subscription";
    default:
        return "lost";
    }
}

const char *
broker_client_error_text(struct broker_client *client, char *dst, size_t cap)
{
    if (client == NULL) {
        (void)snprintf(dst, cap, "%s", options_error_text());
        return dst;
    }
    (void)pthread_mutex_lock(&client->lock);
    (void)snprintf(dst, cap, "%s", client->session.error_text);
    (void)pthread_mutex_unlock(&client->lock);
    return dst;
}

const char *
broker_client_user(struct broker_client *client, char *dst, size_t cap)
{
    (void)pthread_mutex_lock(&client->lock);
    (void)snprintf(dst, cap, "%s", client->session.agreed.user);
    (void)pthread_mutex_unlock(&client->lock);
    return dst;
}

static void
copy_out(void *out, size_t out_bytes, const void *from, size_t from_bytes)
{
    memset(out, 0, out_bytes);
    memcpy(out, from, out_bytes < from_bytes ? out_bytes : from_bytes);
}

void
broker_client_info(struct broker_client *client, struct broker_client_info *out,
    size_t out_bytes)
{
    struct broker_client_info info = {0};
    (void)pthread_mutex_lock(&client->lock);
    const struct session_agreed *agreed = &client->session.agreed;
    info.state = client->state;
    info.closed_status = client->closed_status;
    memcpy(info.address, client->address_text, sizeof info.address);
    memcpy(info.server_name, agreed->server_name, sizeof info.server_name);
    memcpy(info.session, agreed->session, BROKER_SESSION_BYTES);
    memcpy(info.boot, agreed->boot, BROKER_SESSION_BYTES);
    info.max_body_bytes = agreed->max_body_bytes;
    info.heartbeat_ms = agreed->heartbeat_ms;
    info.max_subscriptions = agreed->max_subscriptions;
    if (agreed->known) {
        info.max_topic_bytes = agreed->limits.max_topic_bytes;
        info.max_topic_levels = agreed->limits.max_topic_levels;
    }
    (void)pthread_mutex_unlock(&client->lock);
    copy_out(out, out_bytes, &info, sizeof info);
}

void
broker_client_stats(struct broker_client *client,
    struct broker_client_stats *out, size_t out_bytes)
{
    (void)pthread_mutex_lock(&client->lock);
    const struct session *session = &client->session;
    struct broker_client_stats stats = session->stats;
    stats.buffered_bytes = session->log.bytes;
    stats.unacknowledged = session->publishes.waiting;
    stats.requests_in_flight = session->requests.count;
    stats.subscriptions = subscriptions_count(&session->subscriptions);
    stats.inbox_messages = session->inbox.count;
    stats.inbox_bytes = session->inbox.bytes;
    (void)pthread_mutex_unlock(&client->lock);
    copy_out(out, out_bytes, &stats, sizeof stats);
}

bool
broker_client_message_header(const struct broker_message *message,
    const char *key, struct broker_bytes *value)
{
    struct broker_bytes rest = message->fields;
    struct broker_bytes found_key, found_value;
    size_t key_bytes = strlen(key);
    while (broker_header_next(&rest, &found_key, &found_value) == BROKER_OK) {
        if (found_key.len == key_bytes &&
            memcmp(found_key.data, key, key_bytes) == 0) {
            *value = found_value;
            return true;
        }
    }
    return false;
}
