/* SPDX-License-Identifier: MIT
 *
 * JSON answers; see admin.h. */
#include "admin.h"

#include "consumers.h"
#include "json.h"
#include "retained_store.h"
#include "streams.h"
#include "subscription.h"
#include "topic_tree.h"

#include <stdio.h>
#include <string.h>

#include <jansson.h>

struct cores {
    const struct core *const *all;
    size_t count;
    const struct store *store; /* or NULL */
};

static json_t *
hex(const uint8_t *bytes, size_t len)
{
    char text[2 * BROKER_SESSION_BYTES + 1] = "";
    for (size_t i = 0; i < len && i < BROKER_SESSION_BYTES; i++) {
        snprintf(text + 2 * i, 3, "%02x", bytes[i]);
    }
    return json_string(text);
}

/* ---- $sys/stats ---------------------------------------------------------- */

/* Counters are summed up; the rest is the same for all. */
static struct core_stats
sum_up(const struct cores *cores)
{
    struct core_stats sum;
    core_get_stats(cores->all[0], &sum);
    for (size_t i = 1; i < cores->count; i++) {
        struct core_stats s;
        core_get_stats(cores->all[i], &s);
        sum.connections += s.connections;
        sum.connections_total += s.connections_total;
        sum.rejected_connections += s.rejected_connections;
        sum.subscriptions += s.subscriptions;
        sum.retained_topics += s.retained_topics;
        sum.retained_bytes += s.retained_bytes;
        sum.received_messages += s.received_messages;
        sum.received_bytes += s.received_bytes;
        sum.matched_messages += s.matched_messages;
        sum.no_match_messages += s.no_match_messages;
        sum.refused_publishes += s.refused_publishes;
        sum.delivered_messages += s.delivered_messages;
        sum.delivered_bytes += s.delivered_bytes;
        sum.dropped_messages += s.dropped_messages;
        sum.protocol_errors += s.protocol_errors;
        sum.denied_connections += s.denied_connections;
        sum.denied_publishes += s.denied_publishes;
        sum.denied_subscribes += s.denied_subscribes;
        sum.revoked_subscriptions += s.revoked_subscriptions;
        sum.held_for_work += s.held_for_work;
        sum.held_for_rate += s.held_for_rate;
        sum.held_for_memory += s.held_for_memory;
        sum.held_for_full += s.held_for_full;
        sum.held_for_store += s.held_for_store;
        sum.stored_messages += s.stored_messages;
        sum.stored_bytes += s.stored_bytes;
        sum.route_lookups += s.route_lookups;
        sum.route_misses += s.route_misses;
    }
    return sum;
}

/* Only where there is one. */
static void
add_store(json_t *all, const struct cores *cores)
{
    struct retained_store_stats retained;
    struct store_stats s;
    retained_store_get_stats(cores->all[0], &retained);
    store_get_stats(cores->store, &s);
    const struct {
        const char *key;
        uint64_t value;
    } rows[] = {
        {"store_commits", s.commits},
        {"store_appends", s.appends},
        {"store_records", s.records},
        {"store_bytes", s.bytes},
        {"store_in_flight_bytes", s.in_flight_bytes},
        {"store_memory_bytes", s.memory_bytes},
        {"store_disk_bytes", s.disk_bytes},
        {"store_checkpoints", s.checkpoints},
        {"store_duplicates", s.duplicates},
        {"store_conflicts", s.conflicts},
        {"store_refused_full", s.refused_full},
        {"store_refused_no_space", s.refused_no_space},
        {"store_damaged", s.damaged},
        {"streams", streams_count(cores->all[0])},
        {"streams_unknown", streams_unknown(cores->all[0])},
        {"retained_unstored", retained.errors},
        {"retained_unknown", retained.unknown},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        json_object_set_new(all, rows[i].key, admin_number(rows[i].value));
    }
    json_object_set_new(all, "store_failed", json_boolean(s.failed));
    json_object_set_new(all, "store_no_space", json_boolean(s.no_space));
    json_object_set_new(all, "store_why", json_string(s.why));
}

static json_t *
stats(const struct cores *cores, const struct admin_page *page)
{
    (void)page;
    struct core_stats s = sum_up(cores);
    uint64_t work[CONSUMER_COUNTERS];
    uint64_t consumers = consumers_add_up(cores->all[0], work);
    json_t *all = json_object();
    json_object_set_new(all, "version", json_string(s.name));
    json_object_set_new(all, "boot", hex(s.boot, sizeof s.boot));
    const struct {
        const char *key;
        uint64_t value;
    } rows[] = {
        {"uptime_ms", s.uptime_ms},
        {"threads", cores->count},
        {"connections", s.connections},
        {"connections_total", s.connections_total},
        {"rejected_connections", s.rejected_connections},
        {"subscriptions", s.subscriptions},
        {"retained_topics", s.retained_topics},
        {"retained_bytes", s.retained_bytes},
        {"received_messages", s.received_messages},
        {"received_bytes", s.received_bytes},
        {"matched_messages", s.matched_messages},
        {"no_match_messages", s.no_match_messages},
        {"refused_publishes", s.refused_publishes},
        {"delivered_messages", s.delivered_messages},
        {"delivered_bytes", s.delivered_bytes},
        {"dropped_messages", s.dropped_messages},
        {"protocol_errors", s.protocol_errors},
        {"denied_connections", s.denied_connections},
        {"denied_publishes", s.denied_publishes},
        {"denied_subscribes", s.denied_subscribes},
        {"revoked_subscriptions", s.revoked_subscriptions},
        {"held_for_work", s.held_for_work},
        {"held_for_rate", s.held_for_rate},
        {"held_for_memory", s.held_for_memory},
        {"held_for_full", s.held_for_full},
        {"held_for_store", s.held_for_store},
        {"stored_messages", s.stored_messages},
        {"stored_bytes", s.stored_bytes},
        {"consumers", consumers},
        {"consumer_delivered", work[CONSUMER_OFFERED]},
        {"consumer_redelivered", work[CONSUMER_REDELIVERED]},
        {"consumer_acknowledged", work[CONSUMER_ACKNOWLEDGED]},
        {"consumer_dead_lettered", work[CONSUMER_DEAD_LETTERED]},
        {"route_lookups", s.route_lookups},
        {"route_misses", s.route_misses},
        {"memory_bytes", s.memory_bytes},
        {"other_memory_bytes", s.other_bytes},
        {"max_memory_bytes", s.max_memory_bytes},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        json_object_set_new(all, rows[i].key, admin_number(rows[i].value));
    }
    if (cores->store != NULL) {
        add_store(all, cores);
    }
    return all;
}

/* ---- $sys/connections ---------------------------------------------------- */

static json_t *
connection(const struct session *session)
{
    struct session_stats s;
    session_get_stats(session, &s);
    json_t *row = json_object();
    json_object_set_new(row, "id", admin_number(s.id));
    json_object_set_new(row, "name", json_string(s.name));
    json_object_set_new(row, "user", json_string(s.user));
    json_object_set_new(row, "peer", json_string(s.peer));
    json_object_set_new(row, "state", json_string(s.state));
    json_object_set_new(row, "subscriptions", admin_number(s.subscriptions));
    json_object_set_new(
        row, "received_messages", admin_number(s.received_messages));
    json_object_set_new(row, "received_bytes", admin_number(s.received_bytes));
    json_object_set_new(
        row, "delivered_messages", admin_number(s.delivered_messages));
    json_object_set_new(
        row, "delivered_bytes", admin_number(s.delivered_bytes));
    json_object_set_new(
        row, "dropped_messages", admin_number(s.dropped_messages));
    json_object_set_new(
        row, "queued_messages", admin_number(s.queued_messages));
    json_object_set_new(row, "queued_bytes", admin_number(s.queued_bytes));
    json_object_set_new(row, "age_ms", admin_number(s.age_ms));
    return row;
}

static json_t *
connections(const struct cores *cores, const struct admin_page *page)
{
    json_t *rows = json_array();
    size_t total = 0;
    for (size_t i = 0; i < cores->count; i++) {
        const struct session *session = NULL;
        while ((session = core_next_session(cores->all[i], session)) != NULL) {
            if (admin_on_page(page, total++)) {
                json_array_append_new(rows, connection(session));
            }
        }
    }
    return admin_paged("connections", rows, total, page);
}

/* ---- $sys/subscriptions -------------------------------------------------- */

static const char *
policy_name(enum broker_overflow overflow)
{
    switch (overflow) {
    case BROKER_OVERFLOW_DROP_NEWEST:
        return "drop-newest";
    case BROKER_OVERFLOW_CONFLATE:
        return "conflate";
    case BROKER_OVERFLOW_DISCONNECT:
        return "disconnect";
    case BROKER_OVERFLOW_BLOCK:
        return "block";
    default:
        return "drop-oldest";
    }
}

static json_t *
filter_text(const struct subscription *subscription)
{
    char path[UINT16_MAX];
    size_t len = 0;
    if (subscription->node != NULL) {
        len = topic_node_path(subscription->node, path, sizeof path);
    }
    return json_stringn(path, len);
}

static json_t *
dropped_by_reason(const struct books *books)
{
    static const char *const names[DROP_REASONS] = {
        [DROP_OVERFLOW] = "overflow",
        [DROP_CONFLATED] = "conflated",
        [DROP_TOO_LARGE] = "too_large",
        [DROP_MEMORY] = "memory",
        [DROP_EXPIRED] = "expired",
        [DROP_TRIMMED] = "trimmed",
        [DROP_DAMAGED] = "damaged",
        [DROP_CLOSED] = "closed"};
    json_t *reasons = json_object();
    for (size_t i = 0; i < DROP_REASONS; i++) {
        json_object_set_new(reasons, names[i], admin_number(books->dropped[i]));
    }
    return reasons;
}

static json_t *
subscription_row(uint64_t connection, const struct subscription *subscription)
{
    const struct books *books = &subscription->books;
    const struct group *group = subscription->group;
    json_t *row = json_object();
    json_object_set_new(row, "connection", admin_number(connection));
    json_object_set_new(row, "id", admin_number(subscription->id));
    json_object_set_new(row, "filter", filter_text(subscription));
    json_object_set_new(row, "group",
        group == NULL ? json_string("")
                      : json_stringn(group->name, group->name_bytes));
    json_object_set_new(
        row, "overflow", json_string(policy_name(subscription->own.overflow)));
    json_object_set_new(row, "matched", admin_number(books->matched));
    json_object_set_new(row, "delivered", admin_number(books->delivered));
    json_object_set_new(row, "queued", admin_number(books->queued));
    json_object_set_new(row, "dropped", admin_number(books_dropped(books)));
    json_object_set_new(row, "dropped_by_reason", dropped_by_reason(books));
    return row;
}

/* The rows of one session that are on the page; *total counts all. */
static void
add_subscriptions(json_t *rows, const struct session *session,
    const struct admin_page *page, size_t *total)
{
    struct session_stats s;
    session_get_stats(session, &s);
    const struct subscription *subscription = NULL;
    while ((subscription = session_next_subscription(session, subscription)) !=
           NULL) {
        if (admin_on_page(page, (*total)++)) {
            json_array_append_new(rows, subscription_row(s.id, subscription));
        }
    }
}

static json_t *
subscriptions(const struct cores *cores, const struct admin_page *page)
{
    json_t *rows = json_array();
    size_t total = 0;
    for (size_t i = 0; i < cores->count; i++) {
        const struct session *session = NULL;
        while ((session = core_next_session(cores->all[i], session)) != NULL) {
            add_subscriptions(rows, session, page, &total);
        }
    }
    return admin_paged("subscriptions", rows, total, page);
}

/* ---- requests ------------------------------------------------------------ */

static const struct {
    const char *topic;
    json_t *(*answer)(const struct cores *cores, const struct admin_page *page);
} topics[] = {
    {"$sys/stats", stats},
    {"$sys/connections", connections},
    {"$sys/subscriptions", subscriptions},
};

enum broker_status
admin_answer(const struct core *const *cores, size_t count,
    const struct store *store, struct broker_bytes topic,
    struct broker_bytes payload, struct buffer *reply)
{
    const struct cores all = {cores, count, store};
    for (size_t i = 0; i < sizeof topics / sizeof topics[0]; i++) {
        if (strlen(topics[i].topic) != topic.len ||
            memcmp(topics[i].topic, topic.data, topic.len) != 0) {
            continue;
        }
        struct admin_page page;
        if (!admin_read_page(payload, &page)) {
            return BROKER_E_BAD_REQUEST;
        }
        json_t *json = topics[i].answer(&all, &page);
        enum broker_status status = admin_write(json, reply);
        json_decref(json);
        return status;
    }
    return BROKER_E_RESERVED_TOPIC;
}
