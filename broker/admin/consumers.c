/* SPDX-License-Identifier: MIT
 *
 * Requests under $sys/consumer/: what consumer_json.h reads to what consumers.h
 * does, and back. PROTOCOL.md section 5.14. */
#include "consumers.h"

#include "admin.h"
#include "consumer_json.h"
#include "json.h"
#include "question.h"

#include <stdio.h>
#include <string.h>

#define REASONS_MAX 20u

/* ---- answers ------------------------------------------------------------- */

static json_t *
consumer_row(const struct core *core, const struct cursor *cursor)
{
    struct cursor_view view;
    cursor_look(core, cursor, &view);
    return admin_consumer_row(
        view.name, view.stream, view.settings, &view.info);
}

static void
on_done(void *arg, struct core *core, const struct consumers_outcome *outcome)
{
    struct question *question = arg;
    if (outcome->status != BROKER_OK) {
        question_complete(core, question, outcome->status, outcome->why);
        return;
    }
    admin_answer_json(core, question,
        outcome->cursor == NULL ? json_object()
                                : consumer_row(core, outcome->cursor));
}

/* ---- looking ------------------------------------------------------------- */

typedef void handler(
    struct core *core, struct question *question, struct admin_request *in);

static const struct cursor *
named(struct core *core, struct question *question, struct admin_request *in)
{
    struct broker_bytes name;
    if (!admin_request_text(in, "name", true, &name)) {
        admin_refuse(core, question, in);
        return NULL;
    }
    const struct cursor *cursor = consumers_find(core, name);
    if (cursor == NULL) {
        question_complete(core, question, BROKER_E_UNKNOWN_CONSUMER, NULL);
    }
    return cursor;
}

static void
info(struct core *core, struct question *question, struct admin_request *in)
{
    const struct cursor *cursor = named(core, question, in);
    if (cursor != NULL) {
        admin_answer_json(core, question, consumer_row(core, cursor));
    }
}

static json_t *
store_reason(const char *trouble)
{
    char words[160];
    json_t *row = json_object();
    snprintf(words, sizeof words, "the store: %s", trouble);
    json_object_set_new(row, "reason", json_string("store"));
    json_object_set_new(row, "text", json_string(words));
    return row;
}

static void
explain(struct core *core, struct question *question, struct admin_request *in)
{
    struct consumer_reason reasons[REASONS_MAX];
    struct cursor_view view;
    const struct cursor *cursor = named(core, question, in);
    if (cursor == NULL) {
        return;
    }
    cursor_look(core, cursor, &view);
    size_t count = cursor_explain(core, cursor, reasons, REASONS_MAX);
    json_t *array = json_array();
    if (view.trouble != NULL) {
        json_array_append_new(array, store_reason(view.trouble));
    }
    for (size_t i = 0; i < count; i++) {
        const struct seat *seat = reasons[i].owner;
        json_array_append_new(array, admin_consumer_reason(&reasons[i],
                                         seat == NULL ? 0 : seat->session_id));
    }
    json_t *all = json_object();
    json_object_set_new(
        all, "name", json_stringn((const char *)view.name.data, view.name.len));
    json_object_set_new(all, "reasons", array);
    admin_answer_json(core, question, all);
}

static bool
is_of(const struct core *core, const struct cursor *cursor,
    struct broker_bytes stream)
{
    struct cursor_view view;
    cursor_look(core, cursor, &view);
    return view.stream.len == stream.len &&
           memcmp(view.stream.data, stream.data, stream.len) == 0;
}

static void
list(struct core *core, struct question *question, struct admin_request *in)
{
    struct admin_page page;
    struct broker_bytes stream = {0};
    const char *why;
    bool any = !admin_request_text(in, "stream", false, &stream);
    if (!admin_request_is_good(in)) {
        admin_refuse(core, question, in);
        return;
    }
    if (!admin_read_page_keys(in->json, &page, &why)) {
        question_complete(core, question, BROKER_E_BAD_REQUEST, why);
        return;
    }
    json_t *rows = json_array();
    size_t total = 0;
    const struct cursor *cursor = NULL;
    while ((cursor = consumers_next(core, cursor)) != NULL) {
        if ((any || is_of(core, cursor, stream)) &&
            admin_on_page(&page, total++)) {
            json_array_append_new(rows, consumer_row(core, cursor));
        }
    }
    admin_answer_json(
        core, question, admin_paged("consumers", rows, total, &page));
}

/* ---- changing ------------------------------------------------------------ */

static void
ask(struct core *core, struct question *question,
    const struct admin_request *in, const struct consumers_request *request)
{
    if (admin_request_is_good(in)) {
        consumers_ask(core, request, on_done, question);
    } else {
        admin_refuse(core, question, in);
    }
}

static void
add(struct core *core, struct question *question, struct admin_request *in)
{
    struct admin_consumer wanted;
    (void)admin_consumer_read(in, consumers_limits(core), &wanted);
    struct consumers_request request = {.verb = CONSUMERS_ADD,
        .name = wanted.name,
        .stream = wanted.stream,
        .settings = wanted.settings,
        .start = {wanted.start.kind, wanted.start.value}};
    ask(core, question, in, &request);
}

static void
reset(struct core *core, struct question *question, struct admin_request *in)
{
    struct admin_start start = {BROKER_START_FIRST, 0};
    struct consumers_request request = {.verb = CONSUMERS_RESET};
    (void)admin_request_text(in, "name", true, &request.name);
    if (!admin_consumer_read_start(in, &start)) {
        admin_request_blame(in, "from", "where to begin is wanted");
    }
    request.start = (struct consumer_start){start.kind, start.value};
    ask(core, question, in, &request);
}

static void
drop(struct core *core, struct question *question, struct admin_request *in)
{
    struct consumers_request request = {.verb = CONSUMERS_REMOVE};
    (void)admin_request_text(in, "name", true, &request.name);
    ask(core, question, in, &request);
}

static const struct {
    const char *topic;
    handler *handle;
    const char *const *keys;
} verbs[] = {
    {"$sys/consumer/add", add, admin_consumer_add_keys},
    {"$sys/consumer/list", list, admin_consumer_list_keys},
    {"$sys/consumer/info", info, admin_consumer_name_keys},
    {"$sys/consumer/explain", explain, admin_consumer_name_keys},
    {"$sys/consumer/reset", reset, admin_consumer_reset_keys},
    {"$sys/consumer/remove", drop, admin_consumer_name_keys},
};

bool
admin_ask_consumers(struct core *core, struct question *question)
{
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
        return true;
    }
    return false;
}
