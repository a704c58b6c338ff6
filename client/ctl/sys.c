/* SPDX-License-Identifier: MIT
 *
 * Asking the broker itself; see sys.h.
 */
#include "sys.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "duration.h"
#include "say.h"

#define PAGE_ENTRIES 1000

static json_t *
parse_answer(const char *topic, struct broker_bytes payload)
{
    json_error_t error;
    json_t *answer =
        json_loadb((const char *)payload.data, payload.len, 0, &error);

    if (!json_is_object(answer)) {
        say("the broker's answer to %s is no JSON object (%s): do the "
            "versions of brokerctl and brokerd fit?",
            topic, answer == NULL ? error.text : "another type");
        json_decref(answer);
        return NULL;
    }
    return answer;
}

static json_t *
ask_text(const struct sys *sys, const char *topic, const char *request,
    enum ctl_exit *code)
{
    const struct broker_client_outgoing message = {
        .topic = topic,
        .payload = request,
        .payload_bytes = strlen(request),
    };
    const uint32_t timeout_ms = duration_to_ms(sys->timeout_ns);
    struct broker_client_event *event;
    json_t *answer;
    const enum broker_status status =
        broker_client_request_wait(sys->link->client, &message,
            timeout_ms == 0 || timeout_ms > INT_MAX ? INT_MAX : (int)timeout_ms,
            &event);

    if (status != BROKER_OK) {
        *code = link_failure_of(sys->link, sys->about, status);
        return NULL;
    }
    answer = parse_answer(topic, event->message->payload);
    broker_client_event_free(event);
    *code = answer != NULL ? CTL_EXIT_OK : CTL_EXIT_FAILED;
    return answer;
}

json_t *
sys_ask(const struct sys *sys, const char *topic, const json_t *request,
    enum ctl_exit *code)
{
    char *text;
    json_t *answer;

    if (request == NULL) {
        return ask_text(sys, topic, "", code);
    }
    text = json_dumps(request, JSON_COMPACT);
    if (text == NULL) {
        say("out of memory");
        *code = CTL_EXIT_FAILED;
        return NULL;
    }
    answer = ask_text(sys, topic, text, code);
    free(text);
    return answer;
}

/* One page, from `offset` on. */
static json_t *
ask_page(const struct sys *sys, const char *topic, json_t *request,
    size_t offset, enum ctl_exit *code)
{
    if (json_object_set_new(
            request, "offset", json_integer((json_int_t)offset)) != 0 ||
        json_object_set_new(request, "limit", json_integer(PAGE_ENTRIES)) !=
            0) {
        say("out of memory");
        *code = CTL_EXIT_FAILED;
        return NULL;
    }
    return sys_ask(sys, topic, request, code);
}

/* Ask for further pages and append their entries to the first one's. An entry
 * that comes or goes between two requests may be missed or seen twice: it is a
 * view of a living broker. */
static enum ctl_exit
ask_further_pages(const struct sys *sys, const char *topic, const char *key,
    json_t *request, json_t *first)
{
    json_t *list = json_object_get(first, key);
    const json_int_t total =
        json_integer_value(json_object_get(first, "total"));
    enum ctl_exit code = CTL_EXIT_OK;

    while (code == CTL_EXIT_OK && (json_int_t)json_array_size(list) < total) {
        json_t *page =
            ask_page(sys, topic, request, json_array_size(list), &code);
        json_t *entries = json_object_get(page, key);

        if (json_array_size(entries) == 0) {
            json_decref(page);
            break;
        }
        if (json_array_extend(list, entries) != 0) {
            say("out of memory");
            code = CTL_EXIT_FAILED;
        }
        json_decref(page);
    }
    return code;
}

json_t *
sys_ask_list(const struct sys *sys, const char *topic, const char *key,
    json_t *request, enum ctl_exit *code)
{
    json_t *mine = request == NULL ? json_object() : json_incref(request);
    json_t *answer = ask_page(sys, topic, mine, 0, code);

    if (answer != NULL && !json_is_array(json_object_get(answer, key))) {
        say("the broker's answer to %s has no list \"%s\": do the versions of "
            "brokerctl and brokerd fit?",
            topic, key);
        *code = CTL_EXIT_FAILED;
    } else if (answer != NULL) {
        *code = ask_further_pages(sys, topic, key, mine, answer);
    }
    json_decref(mine);
    if (answer != NULL && *code != CTL_EXIT_OK) {
        json_decref(answer);
        answer = NULL;
    }
    return answer;
}

static int
dump_piece(const char *data, size_t len, void *user)
{
    out_peer_name(user, data, len); /* what it escapes, it does as JSON does */
    return 0;
}

bool
sys_print_json(struct out *out, const json_t *answer)
{
    const bool ok =
        json_dump_callback(answer, dump_piece, out, JSON_COMPACT) == 0;

    out_text(out, "\n");
    return ok;
}
