/* SPDX-License-Identifier: MIT
 *
 * brokerctl req TOPIC [MESSAGE]: ask, and print the answers.
 *
 * A reply topic of our own is subscribed to first (PROTOCOL.md 5.7), instead of
 * the library's requests, because one request may have many answers here.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "cmd.h"
#include "duration.h"
#include "headers.h"
#include "link.h"
#include "printer.h"
#include "say.h"
#include "source.h"

#define INBOX_RANDOM_BYTES 16

struct req_settings {
    struct printer_settings printer;
    struct source_settings source; /* all but the text */
    struct text_list headers;
    uint64_t count;
    uint64_t timeout_ns;
};

static const struct req_settings defaults = {
    .count = 1,
    .timeout_ns = LINK_TIMEOUT_NS,
};

static const struct option_spec options[] = {
    {"file", 'f', OPTION_TEXT, "FILE", "send a whole file (- is the input)",
        offsetof(struct req_settings, source.file), NULL},
    {"stdin", 0, OPTION_FLAG, NULL, "send the whole standard input",
        offsetof(struct req_settings, source.whole), NULL},
    {"header", 'H', OPTION_LIST, "KEY=VALUE", "add a header; may be repeated",
        offsetof(struct req_settings, headers), NULL},
    {"count", 'n', OPTION_COUNT, "N", "wait for N answers (1)",
        offsetof(struct req_settings, count), NULL},
    {"timeout", 't', OPTION_DURATION, "TIME",
        "longest wait for the answers (5s; 0: no limit)",
        offsetof(struct req_settings, timeout_ns), NULL},
    PRINTER_OPTIONS(req_settings, printer),
    {0},
};

struct req {
    const struct req_settings *settings;
    const struct invocation *invocation;
    const char *topic;
    struct link link;
    struct printer printer;
    struct headers headers;
    struct source source;
    char inbox[sizeof "_inbox/" + BROKER_CLIENT_USER_MAX +
               2 * INBOX_RANDOM_BYTES];
    bool answered_with_error;
    enum ctl_exit refused; /* the request was */
    uint64_t deadline_ns;
};

/* A topic that nobody else can guess, where the broker's rules may expect it:
 * PROTOCOL.md 5.7. */
static bool
make_inbox(struct req *req)
{
    uint8_t random[INBOX_RANDOM_BYTES];
    char user[BROKER_CLIENT_USER_MAX];
    size_t used;

    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random) {
        say("req: no random bytes: %s", strerror(errno));
        return false;
    }
    (void)broker_client_user(req->link.client, user, sizeof user);
    used = (size_t)snprintf(req->inbox, sizeof req->inbox, "_inbox/%s%s", user,
        user[0] != '\0' ? "/" : "");
    for (size_t i = 0; i < sizeof random; i++) {
        used += (size_t)snprintf(
            req->inbox + used, sizeof req->inbox - used, "%02x", random[i]);
    }
    return true;
}

/* ---- what the library calls ---------------------------------------------- */

static void
reply_cb(struct broker_client *client, const struct broker_message *message,
    void *user)
{
    struct req *req = user;
    struct broker_bytes error;

    (void)client;
    if (req->printer.count >= req->settings->count) {
        return;
    }
    printer_message(&req->printer, message);
    if (broker_client_message_header(message, "error", &error)) {
        say("the answer says that it is an error: %.*s", (int)error.len,
            (const char *)error.data);
        req->answered_with_error = true;
    }
}

static void
published_cb(struct broker_client *client,
    const struct broker_client_published *published, void *user)
{
    struct req *req = user;
    char text[LINK_TEXT_MAX];

    (void)client;
    if (published->status == BROKER_OK ||
        published->status == BROKER_E_CLOSED) {
        return;
    }
    req->refused = link_exit_code(published->status);
    if (published->status == BROKER_E_NO_SUBSCRIBERS) {
        say("nobody answers %s: start whoever does, such as brokerctl reply "
            "%s TEXT",
            req->topic, req->topic);
    } else {
        say("%s: %s", req->topic,
            link_text(published->status, published->text, text, sizeof text));
    }
}

/* ---- the exchange -------------------------------------------------------- */

static enum ctl_exit
subscribe_inbox(struct req *req)
{
    const struct broker_client_subscription subscription = {
        .filter = req->inbox,
        .no_retained = true,
        .on_message = reply_cb,
        .user = req,
    };
    const enum broker_status status =
        broker_client_subscribe_wait(req->link.client, &subscription,
            link_left_ms(req->deadline_ns), NULL, NULL);

    return status == BROKER_OK ? CTL_EXIT_OK : link_failure(&req->link, status);
}

static enum ctl_exit
send_request(struct req *req)
{
    struct broker_client_outgoing message = {
        .topic = req->topic,
        .reply_to = req->inbox,
        .headers = req->headers.list,
        .header_count = req->headers.count,
    };
    const uint8_t *payload = NULL;
    enum ctl_exit code = CTL_EXIT_OK;
    enum broker_status status;

    (void)source_next(&req->source, &payload, &message.payload_bytes, &code);
    message.payload = payload;
    status = broker_client_publish_acked(
        req->link.client, &message, published_cb, req);
    return status == BROKER_OK
               ? CTL_EXIT_OK
               : link_failure_of(&req->link, req->topic, status);
}

static enum ctl_exit
say_too_few(const struct req *req)
{
    char limit[DURATION_TEXT_MAX];

    say("%" PRIu64 " of %" PRIu64 " answers from %s came within %s: allow more "
        "time with --timeout",
        req->printer.count, req->settings->count, req->topic,
        duration_format(req->settings->timeout_ns, limit, sizeof limit));
    return CTL_EXIT_TIMEOUT;
}

static enum ctl_exit
await_answers(struct req *req)
{
    while (req->printer.count < req->settings->count) {
        const enum broker_status status =
            link_turn(&req->link, NULL, 0, link_left_ms(req->deadline_ns));

        if (status != BROKER_OK) {
            return link_failure(&req->link, status);
        }
        out_flush(req->invocation->out);
        if (req->refused != CTL_EXIT_OK) {
            return req->refused;
        }
        if (req->printer.count < req->settings->count &&
            link_left_ms(req->deadline_ns) == 0) {
            return say_too_few(req);
        }
    }
    return req->answered_with_error ? CTL_EXIT_COMMAND : CTL_EXIT_OK;
}

static enum ctl_exit
exchange(struct req *req)
{
    struct broker_client_info info;
    enum ctl_exit code;

    broker_client_info(req->link.client, &info, sizeof info);
    code = source_limit(&req->source, info.max_body_bytes);
    if (code == CTL_EXIT_OK) {
        code = subscribe_inbox(req);
    }
    if (code == CTL_EXIT_OK) {
        code = send_request(req);
    }
    if (code == CTL_EXIT_OK) {
        code = await_answers(req);
    }
    return code;
}

/* ---- beginning and end --------------------------------------------------- */

static enum ctl_exit
connect_and_ask(struct req *req)
{
    const struct link_options link_options = {
        .timeout_ns = req->settings->timeout_ns, .reconnect = true};
    enum ctl_exit code;

    req->deadline_ns = link_deadline_ns(req->settings->timeout_ns);
    code = link_open(&req->link, req->invocation, &link_options);
    if (code != CTL_EXIT_OK) {
        return code;
    }
    code = make_inbox(req) ? exchange(req) : CTL_EXIT_FAILED;
    link_leave(&req->link);
    return code;
}

static enum ctl_exit
read_and_ask(struct req *req)
{
    struct source_settings source = req->settings->source;
    const char *command = req->invocation->command->name;
    enum ctl_exit code;

    source.text = req->invocation->argument_count > 1
                      ? req->invocation->arguments[1]
                      : NULL;
    if (source.text == NULL && source.file == NULL && !source.whole) {
        source.text = "";
    }
    code = source_check(&source, command);
    if (code == CTL_EXIT_OK) {
        code =
            source_open(&req->source, &source, command, BROKER_BODY_BYTES_MAX);
    }
    if (code == CTL_EXIT_OK) {
        code = connect_and_ask(req);
        source_close(&req->source);
    }
    return code;
}

static enum ctl_exit
run(const struct invocation *invocation)
{
    const struct req_settings *settings = invocation->settings;
    struct req req = {
        .settings = settings,
        .invocation = invocation,
        .topic = invocation->arguments[0],
    };
    enum ctl_exit code =
        printer_init(&req.printer, &settings->printer, invocation);

    if (code != CTL_EXIT_OK) {
        return code;
    }
    code = CTL_EXIT_USAGE;
    if (headers_parse(
            &req.headers, &settings->headers, invocation->command->name)) {
        code = read_and_ask(&req);
        headers_free(&req.headers);
    }
    printer_fini(&req.printer);
    return code;
}

const struct command cmd_req = {
    .name = "req",
    .summary = "Send a request and print the answer",
    .arguments = "TOPIC [MESSAGE]",
    .details =
        "Without a message the request is empty. An answer with the header "
        "\"error\" is\n"
        "printed like any other, and ends in exit code 6.\n",
    .min_arguments = 1,
    .max_arguments = 2,
    .options = options,
    .settings_bytes = sizeof(struct req_settings),
    .defaults = &defaults,
    .exits = CTL_EXIT_BITS_CONNECTED | CTL_EXIT_BIT(TIMEOUT) |
             CTL_EXIT_BIT(NO_SUBSCRIBERS) | CTL_EXIT_BIT(COMMAND) |
             CTL_EXIT_BIT(DATA) | CTL_EXIT_BIT(NO_INPUT),
    .print_more = printer_help_formats,
    .run = run,
};
