/* SPDX-License-Identifier: MIT
 *
 * JSON answers; see admin.h. */
#include "admin.h"

#include "subscription.h"
#include "topic_tree.h"

#include <stdio.h>
#include <string.h>

#include <jansson.h>

#define LIMIT_DEFAULT     1000
#define REQUEST_BYTES_MAX 1024 /* more than any page needs */
#define LIMIT_MAX         10000

struct page {
    size_t offset, limit;
};

struct cores {
    const struct core *const *all;
    size_t count;
};

static json_t *
number(uint64_t value)
{
    return json_integer((json_int_t)value);
}

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
        sum.route_lookups += s.route_lookups;
        sum.route_misses += s.route_misses;
    }
    return sum;
}

static json_t *
stats(const struct cores *cores, const struct page *page)
{
    (void)page;
    struct core_stats s = sum_up(cores);
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
        {"route_lookups", s.route_lookups},
        {"route_misses", s.route_misses},
        {"memory_bytes", s.memory_bytes},
        {"other_memory_bytes", s.other_bytes},
        {"max_memory_bytes", s.max_memory_bytes},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        json_object_set_new(all, rows[i].key, number(rows[i].value));
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
    json_object_set_new(row, "id", number(s.id));
    json_object_set_new(row, "name", json_string(s.name));
    json_object_set_new(row, "user", json_string(s.user));
    json_object_set_new(row, "peer", json_string(s.peer));
    json_object_set_new(row, "state", json_string(s.state));
    json_object_set_new(row, "subscriptions", number(s.subscriptions));
    json_object_set_new(row, "received_messages", number(s.received_messages));
    json_object_set_new(row, "received_bytes", number(s.received_bytes));
    json_object_set_new(
        row, "delivered_messages", number(s.delivered_messages));
    json_object_set_new(row, "delivered_bytes", number(s.delivered_bytes));
    json_object_set_new(row, "dropped_messages", number(s.dropped_messages));
    json_object_set_new(row, "queued_messages", number(s.queued_messages));
    json_object_set_new(row, "queued_bytes", number(s.queued_bytes));
    json_object_set_new(row, "age_ms", number(s.age_ms));
    return row;
}

static bool
on_page(const struct page *page, size_t i)
{
    return i >= page->offset && i - page->offset < page->limit;
}

static json_t *
paged(const char *name, json_t *rows, size_t total, const struct page *page)
{
    json_t *all = json_object();
    json_object_set_new(all, "total", number(total));
    json_object_set_new(all, "offset", number(page->offset));
    json_object_set_new(all, name, rows);
    return all;
}

static json_t *
connections(const struct cores *cores, const struct page *page)
{
    json_t *rows = json_array();
    size_t total = 0;
    for (size_t i = 0; i < cores->count; i++) {
        const struct session *session = NULL;
        while ((session = core_next_session(cores->all[i], session)) != NULL) {
            if (on_page(page, total++)) {
                json_array_append_new(rows, connection(session));
            }
        }
    }
    return paged("connections", rows, total, page);
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
        json_object_set_new(reasons, names[i], number(books->dropped[i]));
    }
    return reasons;
}

static json_t *
subscription_row(uint64_t connection, const struct subscription *subscription)
{
    const struct books *books = &subscription->books;
    const struct group *group = subscription->group;
    json_t *row = json_object();
    json_object_set_new(row, "connection", number(connection));
    json_object_set_new(row, "id", number(subscription->id));
    json_object_set_new(row, "filter", filter_text(subscription));
    json_object_set_new(row, "group",
        group == NULL ? json_string("")
                      : json_stringn(group->name, group->name_bytes));
    json_object_set_new(
        row, "overflow", json_string(policy_name(subscription->own.overflow)));
    json_object_set_new(row, "matched", number(books->matched));
    json_object_set_new(row, "delivered", number(books->delivered));
    json_object_set_new(row, "queued", number(books->queued));
    json_object_set_new(row, "dropped", number(books_dropped(books)));
    json_object_set_new(row, "dropped_by_reason", dropped_by_reason(books));
    return row;
}

/* The rows of one session that are on the page; *total counts all. */
static void
add_subscriptions(json_t *rows, const struct session *session,
    const struct page *page, size_t *total)
{
    struct session_stats s;
    session_get_stats(session, &s);
    const struct subscription *subscription = NULL;
    while ((subscription = session_next_subscription(session, subscription)) !=
           NULL) {
        if (on_page(page, (*total)++)) {
            json_array_append_new(rows, subscription_row(s.id, subscription));
        }
    }
}

static json_t *
subscriptions(const struct cores *cores, const struct page *page)
{
    json_t *rows = json_array();
    size_t total = 0;
    for (size_t i = 0; i < cores->count; i++) {
        const struct session *session = NULL;
        while ((session = core_next_session(cores->all[i], session)) != NULL) {
            add_subscriptions(rows, session, page, &total);
        }
    }
    return paged("subscriptions", rows, total, page);
}

/* ---- requests ------------------------------------------------------------ */

static const struct {
    const char *topic;
    json_t *(*answer)(const struct cores *cores, const struct page *page);
} topics[] = {
    {"$sys/stats", stats},
    {"$sys/connections", connections},
    {"$sys/subscriptions", subscriptions},
};

static bool
read_number(const json_t *request, const char *key, size_t most, size_t *out)
{
    const json_t *value = json_object_get(request, key);
    if (value == NULL) {
        return true;
    }
    if (!json_is_integer(value) || json_integer_value(value) < 0 ||
        (uint64_t)json_integer_value(value) > most) {
        return false;
    }
    *out = (size_t)json_integer_value(value);
    return true;
}

static bool
read_page(struct broker_bytes payload, struct page *page)
{
    *page = (struct page){0, LIMIT_DEFAULT};
    if (payload.len == 0) {
        return true;
    }
    if (payload.len > REQUEST_BYTES_MAX) {
        return false;
    }
    json_t *request =
        json_loadb((const char *)payload.data, payload.len, 0, NULL);
    bool ok = json_is_object(request) &&
              read_number(request, "offset", SIZE_MAX / 2, &page->offset) &&
              read_number(request, "limit", LIMIT_MAX, &page->limit);
    json_decref(request);
    return ok;
}

static enum broker_status
write_json(const json_t *json, struct buffer *reply)
{
    size_t size = json_dumpb(json, NULL, 0, JSON_COMPACT);
    uint8_t *dst = size == 0 ? NULL : buffer_reserve(reply, size);
    if (dst == NULL ||
        json_dumpb(json, (char *)dst, size, JSON_COMPACT) != size) {
        return BROKER_E_MEMORY;
    }
    buffer_commit(reply, size);
    return BROKER_OK;
}

enum broker_status
admin_answer(const struct core *const *cores, size_t count,
    struct broker_bytes topic, struct broker_bytes payload,
    struct buffer *reply)
{
    const struct cores all = {cores, count};
    for (size_t i = 0; i < sizeof topics / sizeof topics[0]; i++) {
        if (strlen(topics[i].topic) != topic.len ||
            memcmp(topics[i].topic, topic.data, topic.len) != 0) {
            continue;
        }
        struct page page;
        if (!read_page(payload, &page)) {
            return BROKER_E_BAD_REQUEST;
        }
        json_t *json = topics[i].answer(&all, &page);
        enum broker_status status = write_json(json, reply);
        json_decref(json);
        return status;
    }
    return BROKER_E_RESERVED_TOPIC;
}
