/* SPDX-License-Identifier: MIT
 *
 * Example 2: a service that answers requests, and a client that asks it, in one
 * program with one libevent loop.
 *
 *     ./echo_service serve TOPIC [ADDRESS]
 *     ./echo_service ask TOPIC TEXT [ADDRESS]
 *
 * What there is to learn: a handle in an event loop of your own, callbacks,
 * requests and replies, and a queue group, so that several services share the
 * work.
 */
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include <event2/event.h>

#include <broker/adapters/libevent.h>
#include <broker/client.h>

#define ANSWER_TIMEOUT_MS 2000
#define CLOSE_TIMEOUT_MS  2000

struct program {
    struct event_base *base;
    struct broker_client *client;
    bool failed;
};

/* ---- both sides ---------------------------------------------------------- */

/* close_start() does not wait, so it may be called in callbacks and in a loop;
 * when the handle is closed, state_cb() hears of it. */
static void
leave(struct program *program)
{
    (void)broker_client_close_start(program->client, CLOSE_TIMEOUT_MS);
}

static void
state_cb(struct broker_client *client,
    const struct broker_client_state_event *event, void *user)
{
    struct program *program = user;
    (void)client;
    if (event->state == BROKER_CLIENT_CLOSED) {
        if (event->status != BROKER_OK) {
            fprintf(stderr, "%s\n", event->text);
            program->failed = true;
        }
        (void)event_base_loopbreak(program->base);
    }
}

/* ---- the service --------------------------------------------------------- */

static void
request_cb(struct broker_client *client, const struct broker_message *request,
    void *user)
{
    (void)user;
    printf("asked: %.*s\n", (int)request->payload.len,
        (const char *)request->payload.data);
    fflush(stdout);
    /* A message that wants no answer has no reply_to. */
    if (request->reply_to.len == 0) {
        return;
    }
    if (broker_client_reply(client, request, request->payload.data,
            request->payload.len) != BROKER_OK) {
        char text[BROKER_CLIENT_ERROR_TEXT_MAX];
        fprintf(stderr, "cannot answer: %s\n",
            broker_client_error_text(client, text, sizeof text));
    }
}

static void
serving_cb(struct broker_client *client,
    const struct broker_client_subscribed *subscribed, void *user)
{
    struct program *program = user;
    (void)client;
    if (subscribed->status != BROKER_OK) {
        fprintf(stderr, "%s\n", subscribed->text);
        program->failed = true;
        leave(program);
        return;
    }
    fprintf(stderr, "serving\n");
}

static enum broker_status
serve(struct program *program, const char *topic)
{
    uint32_t id;
    struct broker_client_subscription subscription = {
        .filter = topic,
        .group = "echo", /* each request goes to one member of the group */
        .on_message = request_cb,
        .on_subscribed = serving_cb,
        .user = program,
    };
    return broker_client_subscribe(program->client, &subscription, &id);
}

/* ---- the client ---------------------------------------------------------- */

static void
reply_cb(struct broker_client *client, enum broker_status status,
    const struct broker_message *reply, void *user)
{
    struct program *program = user;
    (void)client;
    /* Runs exactly once: with the answer, or with the reason why there is
     * none. */
    if (status == BROKER_OK) {
        printf("answer: %.*s\n", (int)reply->payload.len,
            (const char *)reply->payload.data);
    } else {
        fprintf(stderr, "no answer: %s: %s\n", broker_status_text(status),
            broker_status_remedy(status));
        program->failed = true;
    }
    leave(program);
}

static enum broker_status
ask(struct program *program, const char *topic, const char *text)
{
    struct broker_client_outgoing request = {
        .topic = topic,
        .payload = text,
        .payload_bytes = strlen(text),
    };
    return broker_client_request(
        program->client, &request, ANSWER_TIMEOUT_MS, reply_cb, program);
}

/* ---- main ---------------------------------------------------------------- */

static void
signal_cb(evutil_socket_t fd, short what, void *argument)
{
    (void)fd;
    (void)what;
    leave(argument);
}

static enum broker_status
start(struct program *program, int argc, char **argv, bool serves)
{
    int address_at = serves ? 3 : 4;
    const char *address = argc > address_at ? argv[address_at] : NULL;
    struct broker_client_options options;
    broker_client_options_init(&options, sizeof options);
    options.addresses = &address;
    options.address_count = address == NULL ? 0 : 1;
    options.name = serves ? "example-echo" : "example-asker";
    options.connect_attempts = serves ? 0 : 1;
    options.on_state = state_cb;
    options.user = program;
    enum broker_status status = broker_client_new(&options, &program->client);
    if (status != BROKER_OK) {
        return status;
    }
    /* Nothing is connected yet; what is asked for now is sent later. */
    return serves ? serve(program, argv[2]) : ask(program, argv[2], argv[3]);
}

int
main(int argc, char **argv)
{
    bool serves = argc >= 3 && strcmp(argv[1], "serve") == 0;
    bool asks = argc >= 4 && strcmp(argv[1], "ask") == 0;
    if (!serves && !asks) {
        fprintf(stderr,
            "usage: %s serve TOPIC [ADDRESS]\n"
            "       %s ask TOPIC TEXT [ADDRESS]\n",
            argv[0], argv[0]);
        return 2;
    }
    struct program program = {.base = event_base_new()};
    if (program.base == NULL) {
        return 1;
    }
    struct event *interrupt =
        evsignal_new(program.base, SIGINT, signal_cb, &program);
    struct event *terminate =
        evsignal_new(program.base, SIGTERM, signal_cb, &program);
    struct broker_client_libevent *adapter = NULL;
    if (start(&program, argc, argv, serves) == BROKER_OK) {
        adapter = broker_client_libevent_attach(program.client, program.base);
    }
    if (adapter == NULL || interrupt == NULL || terminate == NULL ||
        event_add(interrupt, NULL) != 0 || event_add(terminate, NULL) != 0) {
        char text[BROKER_CLIENT_ERROR_TEXT_MAX];
        fprintf(stderr, "cannot start: %s\n",
            broker_client_error_text(program.client, text, sizeof text));
        program.failed = true;
    } else {
        (void)event_base_dispatch(program.base);
    }
    /* The adapter first, then the handle, then the loop. */
    broker_client_libevent_detach(adapter);
    broker_client_free(program.client);
    if (interrupt != NULL) {
        event_free(interrupt);
    }
    if (terminate != NULL) {
        event_free(terminate);
    }
    event_base_free(program.base);
    return program.failed ? 1 : 0;
}
