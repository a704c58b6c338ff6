/* SPDX-License-Identifier: MIT
 *
 * Requests under $sys/stream/: JSON to what streams.h does, and back.
 * PROTOCOL.md section 5.13. */
#include "streams.h"

#include "admin.h"
#include "consumers.h"
#include "json.h"
#include "question.h"
#include "request.h"

#include <string.h>

#define AGE_MAX UINT64_C(315360000000) /* ten years, in milliseconds */

static const char *const discards[] = {"old", "new", NULL};

/* ---- answers ------------------------------------------------------------- */

static json_t *
text(struct broker_bytes bytes)
{
    return json_stringn((const char *)bytes.data, bytes.len);
}

static json_t *
topics_of(const struct stream_definition *definition)
{
    json_t *topics = json_array();
    for (size_t i = 0; i < definition->filter_count; i++) {
        json_array_append_new(topics, text(definition->filters[i]));
    }
    return topics;
}

static json_t *
stream_row(const struct core *core, const struct stream *stream)
{
    const struct stream_definition *definition = stream->definition;
    const struct store_limits *limits = &definition->limits;
    struct store_stream_info info = {0};
    (void)streams_get_info(core, stream, &info);
    json_t *row = json_object();
    json_object_set_new(row, "name", text(definition->name));
    json_object_set_new(row, "topics", topics_of(definition));
    const struct {
        const char *key;
        uint64_t value;
    } rows[] = {
        {"max_messages", limits->max_records},
        {"max_bytes", limits->max_bytes},
        {"max_age_ms", limits->max_age_ms},
        {"first_sequence", info.first_seq},
        {"last_sequence", info.last_seq},
        {"messages", info.records},
        {"bytes", info.bytes},
        {"first_time_ms", info.first_time_ms},
        {"last_time_ms", info.last_time_ms},
        {"trimmed", info.trimmed},
        {"damaged", info.damaged},
        {"consumers", consumers_of(core, stream->number)},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        json_object_set_new(row, rows[i].key, admin_number(rows[i].value));
    }
    json_object_set_new(
        row, "discard", json_string(discards[limits->discard_new ? 1 : 0]));
    return row;
}

static void
on_done(void *arg, struct core *core, const struct stream_outcome *outcome)
{
    struct question *question = arg;
    if (outcome->status != BROKER_OK) {
        question_complete(core, question, outcome->status, outcome->why);
        return;
    }
    admin_answer_json(core, question,
        outcome->stream == NULL ? json_object()
                                : stream_row(core, outcome->stream));
}

/* ---- requests ------------------------------------------------------------ */

typedef void handler(
    struct core *core, struct question *question, struct admin_request *in);

static void
ask(struct core *core, struct question *question,
    const struct admin_request *in, const struct stream_request *request)
{
    if (admin_request_is_good(in)) {
        streams_ask(core, request, on_done, question);
    } else {
        admin_refuse(core, question, in);
    }
}

static void
put(struct core *core, struct question *question, struct admin_request *in,
    enum stream_verb verb)
{
    struct broker_bytes filters[STREAM_FILTERS_MAX];
    struct stream_request request = {.verb = verb, .filters = filters};
    size_t discard = 0;
    (void)admin_request_text(in, "name", true, &request.name);
    bool has_topics = admin_request_texts(
        in, "topics", filters, STREAM_FILTERS_MAX, &request.filter_count);
    if (!has_topics && verb == STREAM_ADD) {
        admin_request_blame(in, "topics", "an array of filters is wanted");
    }
    request.sets_records = admin_request_count(
        in, "max_messages", 0, INT64_MAX, &request.limits.max_records);
    request.sets_bytes = admin_request_count(
        in, "max_bytes", 0, INT64_MAX, &request.limits.max_bytes);
    request.sets_age = admin_request_count(
        in, "max_age_ms", 0, AGE_MAX, &request.limits.max_age_ms);
    request.sets_discard =
        admin_request_word(in, "discard", discards, &discard);
    request.limits.discard_new = discard == 1;
    ask(core, question, in, &request);
}

static void
add(struct core *core, struct question *question, struct admin_request *in)
{
    put(core, question, in, STREAM_ADD);
}

static void
edit(struct core *core, struct question *question, struct admin_request *in)
{
    put(core, question, in, STREAM_EDIT);
}

static void
purge(struct core *core, struct question *question, struct admin_request *in)
{
    struct stream_request request = {.verb = STREAM_PURGE};
    (void)admin_request_text(in, "name", true, &request.name);
    request.has_before =
        admin_request_count(in, "before", 0, INT64_MAX, &request.before);
    request.has_keep =
        admin_request_count(in, "keep", 0, INT64_MAX, &request.keep);
    ask(core, question, in, &request);
}

static void
drop(struct core *core, struct question *question, struct admin_request *in)
{
    struct stream_request request = {.verb = STREAM_REMOVE};
    (void)admin_request_text(in, "name", true, &request.name);
    ask(core, question, in, &request);
}

static void
info(struct core *core, struct question *question, struct admin_request *in)
{
    struct broker_bytes name;
    if (!admin_request_text(in, "name", true, &name)) {
        admin_refuse(core, question, in);
        return;
    }
    const struct stream *stream = streams_find(core, name);
    if (stream == NULL) {
        question_complete(core, question, BROKER_E_UNKNOWN_STREAM, NULL);
        return;
    }
    admin_answer_json(core, question, stream_row(core, stream));
}

static void
list(struct core *core, struct question *question, struct admin_request *in)
{
    struct admin_page page;
    const char *why;
    if (!admin_read_page_keys(in->json, &page, &why)) {
        question_complete(core, question, BROKER_E_BAD_REQUEST, why);
        return;
    }
    json_t *rows = json_array();
    size_t total = 0;
    const struct stream *stream = NULL;
    while ((stream = streams_next(core, stream)) != NULL) {
        if (admin_on_page(&page, total++)) {
            json_array_append_new(rows, stream_row(core, stream));
        }
    }
    admin_answer_json(
        core, question, admin_paged("streams", rows, total, &page));
}

static const char *const put_keys[] = {"name", "topics", "max_messages",
    "max_bytes", "max_age_ms", "discard", NULL};
static const char *const purge_keys[] = {"name", "before", "keep", NULL};
static const char *const name_keys[] = {"name", NULL};
static const char *const list_keys[] = {"offset", "limit", NULL};

static const struct {
    const char *topic;
    handler *handle;
    const char *const *keys;
} verbs[] = {
    {"$sys/stream/add", add, put_keys},
    {"$sys/stream/edit", edit, put_keys},
    {"$sys/stream/list", list, list_keys},
    {"$sys/stream/info", info, name_keys},
    {"$sys/stream/purge", purge, purge_keys},
    {"$sys/stream/remove", drop, name_keys},
};

void
admin_ask(void *arg, struct core *core, struct question *question)
{
    (void)arg;
    struct broker_bytes topic = question_topic(question);
    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++) {
        if (strlen(verbs[i].topic) != topic.len ||
            memcmp(verbs[i].topic, topic.data, topic.len) != 0) {
            continue;
        }
        struct admin_request in;
        if (admin_request_read(
                &in, question_payload(question), verbs[i].keys)) {
            verbs[i].handle(core, question, &in);
        } else {
            admin_refuse(core, question, &in);
        }
        admin_request_fini(&in);
        return;
    }
    if (!admin_ask_consumers(core, question)) {
        question_complete(core, question, BROKER_E_RESERVED_TOPIC, NULL);
    }
}
