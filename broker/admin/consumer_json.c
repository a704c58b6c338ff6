/* SPDX-License-Identifier: MIT
 *
 * Durable consumers as JSON; see consumer_json.h. */
#include "consumer_json.h"

#include "json.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define WINDOW_USUAL      1000u
#define ACK_WAIT_USUAL_MS 30000u

const char *const admin_consumer_add_keys[] = {"name", "stream", "filter",
    "from", "ack", "window", "ack_wait_ms", "backoff_ms", "max_deliveries",
    "dead_letter", NULL};
const char *const admin_consumer_reset_keys[] = {"name", "from", NULL};
const char *const admin_consumer_name_keys[] = {"name", NULL};
const char *const admin_consumer_list_keys[] = {
    "offset", "limit", "stream", NULL};

/* In the order of enum consumer_mode. */
static const char *const modes[] = {"none", "cumulative", "each", NULL};

/* ---- where to begin ------------------------------------------------------ */

static const struct {
    const char *word;
    enum broker_start kind;
} start_words[] = {
    {"first", BROKER_START_FIRST},
    {"last", BROKER_START_LAST},
    {"new", BROKER_START_NEW},
};

static const struct {
    const char *key;
    enum broker_start kind;
    uint64_t least;
} start_keys[] = {
    {"sequence", BROKER_START_SEQUENCE, 1},
    {"time_ms", BROKER_START_TIME, 0},
    {"ago_ms", BROKER_START_AGO, 0},
    {"last", BROKER_START_COUNT, 1},
};

static bool
read_start_word(const char *word, struct admin_start *out)
{
    for (size_t i = 0; i < sizeof start_words / sizeof start_words[0]; i++) {
        if (strcmp(word, start_words[i].word) == 0) {
            *out = (struct admin_start){start_words[i].kind, 0};
            return true;
        }
    }
    return false;
}

static bool
read_start_object(const json_t *from, struct admin_start *out)
{
    for (size_t i = 0; i < sizeof start_keys / sizeof start_keys[0]; i++) {
        const json_t *value = json_object_get(from, start_keys[i].key);
        if (json_is_integer(value) && json_integer_value(value) >= 0 &&
            (uint64_t)json_integer_value(value) >= start_keys[i].least) {
            *out = (struct admin_start){
                start_keys[i].kind, (uint64_t)json_integer_value(value)};
            return json_object_size(from) == 1;
        }
    }
    return false;
}

bool
admin_consumer_read_start(
    struct admin_request *request, struct admin_start *out)
{
    const json_t *from = json_object_get(request->json, "from");
    if (from == NULL) {
        return false;
    }
    if (json_is_string(from) ? read_start_word(json_string_value(from), out)
                             : read_start_object(from, out)) {
        return true;
    }
    admin_request_blame(request, "from",
        "first, last, new, or an object with one of sequence, time_ms, ago_ms, "
        "last is wanted");
    return false;
}

/* ---- settings ------------------------------------------------------------ */

static void
read_backoff(struct admin_request *request, struct consumer_settings *settings)
{
    const json_t *array = json_object_get(request->json, "backoff_ms");
    size_t size = json_array_size(array);
    if (array == NULL) {
        return;
    }
    if (!json_is_array(array) || size > CONSUMER_BACKOFF_MAX) {
        admin_request_blame(
            request, "backoff_ms", "an array of up to 16 numbers is wanted");
        return;
    }
    for (size_t i = 0; i < size; i++) {
        const json_t *value = json_array_get(array, i);
        if (!json_is_integer(value) || json_integer_value(value) < 0 ||
            (uint64_t)json_integer_value(value) > CONSUMER_TIME_MAX_MS) {
            admin_request_blame(request, "backoff_ms",
                "numbers from 0 to 2592000000 (30 days) are wanted in it");
            return;
        }
        settings->backoff_ms[i] = (uint64_t)json_integer_value(value);
    }
    settings->backoff_count = (uint32_t)size;
}

static void
read_numbers(struct admin_request *request, struct consumer_settings *settings)
{
    uint64_t number;
    size_t mode;
    settings->mode = CONSUMER_ACK_EACH;
    if (admin_request_word(request, "ack", modes, &mode)) {
        settings->mode = (enum consumer_mode)mode;
    }
    settings->window = WINDOW_USUAL;
    if (admin_request_count(
            request, "window", 1, CONSUMER_WINDOW_MAX, &number)) {
        settings->window = (uint32_t)number;
    }
    if (!admin_request_count(request, "ack_wait_ms", 0, CONSUMER_TIME_MAX_MS,
            &settings->ack_deadline_ms)) {
        settings->ack_deadline_ms =
            settings->mode == CONSUMER_ACK_NONE ? 0 : ACK_WAIT_USUAL_MS;
    }
    if (admin_request_count(
            request, "max_deliveries", 0, CONSUMER_DELIVERIES_MAX, &number)) {
        settings->max_deliveries = (uint32_t)number;
    }
    read_backoff(request, settings);
}

static void
read_topics(struct admin_request *request, const struct broker_limits *limits,
    struct consumer_settings *settings)
{
    struct broker_bytes text;
    if (admin_request_text(request, "filter", false, &text) && text.len > 0) {
        if (broker_filter_check(limits, text) != BROKER_OK) {
            admin_request_blame(request, "filter", "it is no topic filter");
            return;
        }
        settings->filter =
            (struct consumer_topic){text.data, (uint16_t)text.len};
    }
    if (admin_request_text(request, "dead_letter", false, &text) &&
        text.len > 0) {
        if (text.data[0] == '$' ||
            broker_topic_check(limits, text) != BROKER_OK) {
            admin_request_blame(request, "dead_letter",
                "it is no topic that can be published to");
            return;
        }
        settings->dead_topic =
            (struct consumer_topic){text.data, (uint16_t)text.len};
    }
}

bool
admin_consumer_read(struct admin_request *request,
    const struct broker_limits *limits, struct admin_consumer *out)
{
    *out = (struct admin_consumer){
        .settings = {.start = 1}, .start = {BROKER_START_FIRST, 0}};
    (void)admin_request_text(request, "name", true, &out->name);
    (void)admin_request_text(request, "stream", true, &out->stream);
    (void)admin_consumer_read_start(request, &out->start);
    read_numbers(request, &out->settings);
    read_topics(request, limits, &out->settings);
    if (!admin_request_is_good(request)) {
        return false;
    }
    /* Each is within its bounds: what is left is how they go together. */
    const char *why = consumer_settings_check(&out->settings);
    if (why != NULL) {
        admin_request_blame(request, "ack", why);
    }
    return why == NULL;
}

/* ---- answers ------------------------------------------------------------- */

static json_t *
text_of(struct broker_bytes bytes)
{
    return json_stringn(
        bytes.len == 0 ? "" : (const char *)bytes.data, bytes.len);
}

static json_t *
topic_text(struct consumer_topic topic)
{
    return text_of((struct broker_bytes){topic.bytes, topic.len});
}

static void
add_settings(json_t *row, const struct consumer_settings *settings)
{
    json_t *backoff = json_array();
    for (uint32_t i = 0; i < settings->backoff_count; i++) {
        json_array_append_new(backoff, admin_number(settings->backoff_ms[i]));
    }
    json_object_set_new(row, "filter", topic_text(settings->filter));
    json_object_set_new(row, "ack", json_string(modes[settings->mode]));
    json_object_set_new(row, "window", admin_number(settings->window));
    json_object_set_new(
        row, "ack_wait_ms", admin_number(settings->ack_deadline_ms));
    json_object_set_new(row, "backoff_ms", backoff);
    json_object_set_new(
        row, "max_deliveries", admin_number(settings->max_deliveries));
    json_object_set_new(row, "dead_letter", topic_text(settings->dead_topic));
}

json_t *
admin_consumer_row(struct broker_bytes name, struct broker_bytes stream,
    const struct consumer_settings *settings, const struct consumer_info *info)
{
    const uint64_t *count = info->count;
    json_t *row = json_object();
    json_object_set_new(row, "name", text_of(name));
    json_object_set_new(row, "stream", text_of(stream));
    add_settings(row, settings);
    const struct {
        const char *key;
        uint64_t value;
    } rows[] = {
        {"floor", info->floor - 1},
        {"next", info->next},
        {"outstanding", info->outstanding},
        {"waiting", info->waiting + info->fetching},
        {"connections", info->attachments},
        {"delivered", count[CONSUMER_OFFERED]},
        {"redelivered", count[CONSUMER_REDELIVERED]},
        {"acknowledged", count[CONSUMER_ACKNOWLEDGED]},
        {"unacknowledged", count[CONSUMER_UNACKNOWLEDGED]},
        {"returned", count[CONSUMER_NACKED] + count[CONSUMER_RETURNED]},
        {"timed_out", count[CONSUMER_DEADLINES]},
        {"dead_lettered", count[CONSUMER_DEAD_LETTERED]},
        {"discarded", count[CONSUMER_DISCARDED]},
        {"buried", count[CONSUMER_BURIED]},
        {"abandoned", count[CONSUMER_ABANDONED]},
        {"expired", count[CONSUMER_SKIPPED + CONSUMER_SKIP_EXPIRED] +
                        count[CONSUMER_GONE + CONSUMER_SKIP_EXPIRED]},
        {"trimmed", count[CONSUMER_SKIPPED + CONSUMER_SKIP_GONE] +
                        count[CONSUMER_GONE + CONSUMER_SKIP_GONE]},
        {"damaged", count[CONSUMER_SKIPPED + CONSUMER_SKIP_DAMAGED] +
                        count[CONSUMER_GONE + CONSUMER_SKIP_DAMAGED]},
        {"dead", info->dead + info->storing},
        {"late", count[CONSUMER_LATE]},
        {"memory_bytes", info->memory_bytes},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        json_object_set_new(row, rows[i].key, admin_number(rows[i].value));
    }
    return row;
}

static const char *
word_of(enum consumer_why why)
{
    static const char *const words[] = {
        [CONSUMER_WHY_NOBODY] = "nobody",
        [CONSUMER_WHY_PAUSED] = "paused",
        [CONSUMER_WHY_STANDBY] = "standby",
        [CONSUMER_WHY_FULL] = "full",
        [CONSUMER_WHY_WINDOW] = "window",
        [CONSUMER_WHY_DEAD] = "dead_letters",
        [CONSUMER_WHY_STORING] = "storing",
        [CONSUMER_WHY_WAITING] = "waiting",
        [CONSUMER_WHY_FETCHING] = "fetching",
        [CONSUMER_WHY_MEMORY] = "memory",
        [CONSUMER_WHY_NO_MATCH] = "no_match",
        [CONSUMER_WHY_CAUGHT_UP] = "caught_up",
        [CONSUMER_WHY_READING] = "reading",
    };
    return words[why];
}

#define N "%" PRIu64

static void
say(const struct consumer_reason *r, uint64_t who, char *dst, size_t room)
{
    switch (r->why) {
    case CONSUMER_WHY_NOBODY:
        snprintf(dst, room, "no connection works on it");
        break;
    case CONSUMER_WHY_PAUSED:
        snprintf(dst, room, "connection " N " takes nothing now", who);
        break;
    case CONSUMER_WHY_STANDBY:
        snprintf(
            dst, room, "connection " N " waits until another one leaves", who);
        break;
    case CONSUMER_WHY_FULL:
        snprintf(dst, room,
            "connection " N " has " N " of its " N
            " messages outstanding, the oldest (" N ") for " N " ms",
            who, r->messages, r->limit, r->sequence, r->for_ms);
        break;
    case CONSUMER_WHY_WINDOW:
        snprintf(dst, room, N " messages of a window of " N " are unfinished",
            r->messages, r->limit);
        break;
    case CONSUMER_WHY_DEAD:
        snprintf(dst, room,
            N " dead letters could not be stored, from " N
              " on; tried again in " N " ms",
            r->messages, r->sequence, r->in_ms);
        break;
    case CONSUMER_WHY_STORING:
        snprintf(dst, room, N " dead letters are being stored", r->messages);
        break;
    case CONSUMER_WHY_WAITING:
        snprintf(dst, room,
            N " messages wait to be delivered again, the first (" N ") in " N
              " ms",
            r->messages, r->sequence, r->in_ms);
        break;
    case CONSUMER_WHY_FETCHING:
        snprintf(dst, room, N " messages are being read to be delivered again",
            r->messages);
        break;
    case CONSUMER_WHY_MEMORY:
        snprintf(dst, room, "memory is out");
        break;
    case CONSUMER_WHY_NO_MATCH:
        snprintf(dst, room, "none of " N " messages up to " N " matched",
            r->messages, r->sequence);
        break;
    case CONSUMER_WHY_CAUGHT_UP:
        snprintf(dst, room, "everything up to " N " has been delivered",
            r->sequence);
        break;
    case CONSUMER_WHY_READING:
        snprintf(dst, room,
            "nothing is in the way; next is " N ", at most " N
            " behind the end",
            r->sequence, r->messages);
        break;
    }
}

json_t *
admin_consumer_reason(const struct consumer_reason *reason, uint64_t who)
{
    char text[200] = "";
    say(reason, who, text, sizeof text);
    json_t *row = json_object();
    json_object_set_new(row, "reason", json_string(word_of(reason->why)));
    json_object_set_new(row, "text", json_string(text));
    return row;
}
