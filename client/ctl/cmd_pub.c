/* SPDX-License-Identifier: MIT
 *
 * brokerctl pub TOPIC [MESSAGE]: publish, and end only when the broker has
 * acknowledged.
 *
 * One loop: send what the source has until the library's buffer is full, let
 * the client work, wait for whichever of input, broker and the next point in
 * time comes first. Memory is bounded by one block of input and the library's
 * buffer, however long the input is.
 */
#include <inttypes.h>
#include <stdio.h>

#include "batch.h"
#include "cmd.h"
#include "duration.h"
#include "headers.h"
#include "link.h"
#include "moment.h"
#include "publisher.h"
#include "say.h"
#include "source.h"

/* How much is sent before the client may work: enough to keep it busy. */
#define BURST_BYTES    262144u
#define BURST_MESSAGES 4096u

struct pub_settings {
    struct source_settings source; /* all but the text */
    uint64_t count;                /* 0: once, or all lines */
    uint64_t interval_ns;
    uint64_t timeout_ns;
    struct text_list headers;
    const char *reply_to;
    uint64_t expect_last; /* UINT64_MAX: not given */
    uint64_t ttl_ns;
    const char *deliver_at;
    bool batch;
    bool retain;
    bool no_ack;
    bool require_subscribers;
};

static const struct pub_settings defaults = {
    .expect_last = UINT64_MAX,
    .timeout_ns = LINK_TIMEOUT_NS,
};

static const struct option_spec options[] = {
    {"file", 'f', OPTION_TEXT, "FILE", "send a whole file (- is the input)",
        offsetof(struct pub_settings, source.file), NULL},
    {"stdin", 0, OPTION_FLAG, NULL, "send the whole standard input",
        offsetof(struct pub_settings, source.whole), NULL},
    {"lines", 'l', OPTION_FLAG, NULL, "send each line of standard input",
        offsetof(struct pub_settings, source.lines), NULL},
    {"count", 'n', OPTION_COUNT, "N", "send it N times; at most N lines",
        offsetof(struct pub_settings, count), NULL},
    {"interval", 'i', OPTION_DURATION, "TIME",
        "time from one message to the next (1s, 250ms)",
        offsetof(struct pub_settings, interval_ns), NULL},
    {"header", 'H', OPTION_LIST, "KEY=VALUE", "add a header; may be repeated",
        offsetof(struct pub_settings, headers), NULL},
    {"retain", 'r', OPTION_FLAG, NULL, "keep it as the topic's last value",
        offsetof(struct pub_settings, retain), NULL},
    {"reply-to", 0, OPTION_TEXT, "TOPIC", "where an answer should go",
        offsetof(struct pub_settings, reply_to), NULL},
    {"expect-last", 0, OPTION_NUMBER, "SEQUENCE",
        "store it only if this is the stream's last",
        offsetof(struct pub_settings, expect_last), NULL},
    {"ttl", 0, OPTION_DURATION, "TIME", "not to be read later than this",
        offsetof(struct pub_settings, ttl_ns), NULL},
    {"deliver-at", 0, OPTION_TEXT, "DATE",
        "store and deliver it then (2026-11-22T08:00, +1h)",
        offsetof(struct pub_settings, deliver_at), NULL},
    {"batch", 0, OPTION_FLAG, NULL, "with --lines: store all of them or none",
        offsetof(struct pub_settings, batch), NULL},
    {"no-ack", 0, OPTION_FLAG, NULL, "do not ask for acknowledgements",
        offsetof(struct pub_settings, no_ack), NULL},
    {"require-subscribers", 0, OPTION_FLAG, NULL,
        "fail if nobody is subscribed",
        offsetof(struct pub_settings, require_subscribers), NULL},
    {"timeout", 't', OPTION_DURATION, "TIME",
        "longest wait for the broker (5s; 0: no limit)",
        offsetof(struct pub_settings, timeout_ns), NULL},
    {0},
};

struct pub {
    const struct pub_settings *settings;
    struct link link;
    struct source source;
    struct publisher publisher;
    struct batch batch;
    uint64_t left;    /* messages still to send */
    uint64_t next_ns; /* the next message not before this time */
    /* A payload that the library had no room for yet. */
    const uint8_t *held;
    size_t held_len;
    bool full, wait_input, ended;
};

/* ---- the loop ------------------------------------------------------------ */

/* Get a payload into `held`. False: there is none now. */
static bool
fetch(struct pub *pub, enum ctl_exit *code)
{
    if (pub->held != NULL) {
        return true;
    }
    switch (source_next(&pub->source, &pub->held, &pub->held_len, code)) {
    case SOURCE_OK:
        return true;
    case SOURCE_WAIT:
        pub->wait_input = true;
        return false;
    case SOURCE_END:
    case SOURCE_FAILED:
        break;
    }
    pub->ended = true;
    return false;
}

/* The time of the next message. No drift while we are in time; after a stall
 * the rhythm starts anew, without a burst of what was missed. */
static void
set_next(struct pub *pub)
{
    uint64_t now;

    if (pub->settings->interval_ns == 0) {
        return;
    }
    now = link_now_ns();
    pub->next_ns += pub->settings->interval_ns;
    if (pub->next_ns < now) {
        pub->next_ns = now;
    }
}

/* Send one message if there is one, and room, and it is time. */
static bool
send_one(struct pub *pub, enum ctl_exit *code)
{
    char where[48] = "";

    if (!fetch(pub, code)) {
        return false;
    }
    if (pub->settings->source.lines) {
        (void)snprintf(
            where, sizeof where, "line %" PRIu64 ": ", pub->source.input.lines);
    }
    switch (publisher_send(
        &pub->publisher, pub->held, pub->held_len, where, code)) {
    case PUBLISHER_SENT:
        break;
    case PUBLISHER_FULL:
        pub->full = true;
        return false;
    case PUBLISHER_FAILED:
        pub->ended = true;
        return false;
    }
    pub->held = NULL;
    pub->left--;
    set_next(pub);
    return true;
}

static void
send_burst(struct pub *pub, enum ctl_exit *code)
{
    size_t bytes = 0;

    pub->full = pub->wait_input = false;
    for (size_t i = 0; i < BURST_MESSAGES && bytes < BURST_BYTES; i++) {
        if (pub->left == 0) {
            pub->ended = true;
            return;
        }
        if (pub->settings->interval_ns > 0 && pub->next_ns > link_now_ns()) {
            return;
        }
        if (!send_one(pub, code)) {
            return;
        }
        bytes += pub->held_len;
    }
}

/* How long the loop may wait. */
static int
wait_ms(const struct pub *pub)
{
    const uint64_t answer_ns = publisher_deadline_ns(&pub->publisher);
    uint64_t deadline_ns = LINK_NEVER;

    if (!pub->full && !pub->wait_input) {
        if (pub->settings->interval_ns == 0) {
            return 0;
        }
        deadline_ns = pub->next_ns;
    }
    return link_left_ms(answer_ns < deadline_ns ? answer_ns : deadline_ns);
}

/* Let the client work, and read input if that is what we wait for. */
static enum ctl_exit
pause_for_work(struct pub *pub)
{
    struct pollfd input = {.fd = -1, .events = POLLIN};
    enum broker_status status;
    enum ctl_exit code = CTL_EXIT_OK;

    if (pub->wait_input) {
        input.fd = source_fd(&pub->source);
    }
    status = link_turn(&pub->link, &input, 1, wait_ms(pub));
    if (status != BROKER_OK) {
        return link_failure(&pub->link, status);
    }
    if (input.revents != 0) {
        (void)source_read(&pub->source, &code);
    }
    return code != CTL_EXIT_OK ? code : publisher_check(&pub->publisher);
}

/* Everything sent and answered. Input that ends early, by an error in it, does
 * not keep what was sent before from being acknowledged. */
static enum ctl_exit
publish_all(struct pub *pub)
{
    enum ctl_exit code = CTL_EXIT_OK;
    enum ctl_exit flushed;

    pub->next_ns = link_now_ns();
    while (!pub->ended) {
        send_burst(pub, &code);
        if (!pub->ended) {
            code = pause_for_work(pub);
            if (code != CTL_EXIT_OK) {
                return code;
            }
        }
    }
    flushed = publisher_flush(&pub->publisher);
    if (code == CTL_EXIT_OK) {
        code = flushed;
    }
    if (code == CTL_EXIT_OK) {
        code = publisher_verdict(
            &pub->publisher, pub->settings->require_subscribers);
    }
    return code;
}

/* ---- beginning and end --------------------------------------------------- */

/* What only streams do. */
static enum ctl_exit
check_stream_settings(const struct pub_settings *settings)
{
    const bool expects = settings->expect_last != UINT64_MAX;
    const char *wrong = NULL;

    if (settings->no_ack &&
        (expects || settings->deliver_at != NULL || settings->batch)) {
        wrong = "--expect-last, --deliver-at and --batch are always "
                "acknowledged: leave out --no-ack";
    } else if (settings->batch && !settings->source.lines) {
        wrong = "--batch is for the lines of the input: add --lines";
    } else if (settings->batch &&
               (settings->retain || settings->reply_to != NULL ||
                   settings->deliver_at != NULL ||
                   settings->interval_ns != 0)) {
        wrong = "in a batch there is no --retain, --reply-to, --deliver-at and "
                "--interval";
    } else if (expects && !settings->batch &&
               (settings->source.lines || settings->count > 1)) {
        wrong = "--expect-last is for one message, or for a batch: after the "
                "first one the last sequence is another";
    }
    if (wrong != NULL) {
        say("pub: %s", wrong);
        return CTL_EXIT_USAGE;
    }
    return CTL_EXIT_OK;
}

static enum ctl_exit
check_settings(const struct pub_settings *settings)
{
    if (settings->no_ack && settings->require_subscribers) {
        say("pub: --require-subscribers needs the acknowledgement: leave out "
            "--no-ack");
        return CTL_EXIT_USAGE;
    }
    if (settings->no_ack && settings->reply_to != NULL) {
        say("pub: a message with --reply-to is always acknowledged: leave out "
            "--no-ack");
        return CTL_EXIT_USAGE;
    }
    return check_stream_settings(settings);
}

/* What streams heed, into the message. False: said. */
static bool
set_stream_fields(
    const struct pub_settings *settings, struct broker_client_outgoing *message)
{
    const char *why;

    if (settings->expect_last != UINT64_MAX) {
        message->expects_last = true;
        message->expected_last_sequence = settings->expect_last;
    }
    message->ttl_ms = duration_to_whole_ms(settings->ttl_ns);
    if (settings->deliver_at != NULL &&
        (!moment_parse_later(settings->deliver_at, moment_now_ms(),
            &message->deliver_at_ms, &why))) {
        say("pub: --deliver-at cannot be \"%s\": %s", settings->deliver_at,
            why);
        return false;
    }
    return true;
}

/* All lines at once. */
static enum ctl_exit
publish_batch(struct pub *pub)
{
    enum ctl_exit code = CTL_EXIT_OK;
    const enum publisher_result result = publisher_send_batch(
        &pub->publisher, pub->batch.messages, pub->batch.count, &code);

    if (result == PUBLISHER_FULL) { /* nothing else is under way */
        code = link_failure(&pub->link, BROKER_E_BUFFER_FULL);
    }
    if (code == CTL_EXIT_OK) {
        code = publisher_flush(&pub->publisher);
    }
    return code != CTL_EXIT_OK ? code
                               : publisher_verdict(&pub->publisher,
                                     pub->settings->require_subscribers);
}

static enum ctl_exit
connect_and_publish(struct pub *pub, const struct invocation *invocation)
{
    const struct link_options link_options = {
        .timeout_ns = pub->settings->timeout_ns, .reconnect = true};
    struct broker_client_info info;
    enum ctl_exit code = link_open(&pub->link, invocation, &link_options);

    if (code != CTL_EXIT_OK) {
        return code;
    }
    broker_client_info(pub->link.client, &info, sizeof info);
    code = source_limit(&pub->source, info.max_body_bytes);
    if (code == CTL_EXIT_OK) {
        code = pub->settings->batch ? publish_batch(pub) : publish_all(pub);
    }
    if (code == CTL_EXIT_OK) {
        return link_close(&pub->link, pub->settings->timeout_ns);
    }
    link_drop(&pub->link);
    return code;
}

/* Input is read first: it may take its time, and there is no need to keep a
 * connection meanwhile. */
static enum ctl_exit
open_and_publish(struct pub *pub, const struct invocation *invocation,
    const struct source_settings *settings)
{
    enum ctl_exit code = source_open(&pub->source, settings,
        invocation->command->name, BROKER_BODY_BYTES_MAX);

    if (code != CTL_EXIT_OK) {
        return code;
    }
    if (pub->settings->batch) {
        code = batch_read(
            &pub->batch, &pub->source, &pub->publisher.message, pub->left);
    }
    if (code == CTL_EXIT_OK) {
        code = connect_and_publish(pub, invocation);
    }
    batch_fini(&pub->batch);
    source_close(&pub->source);
    return code;
}

static enum ctl_exit
run(const struct invocation *invocation)
{
    const struct pub_settings *settings = invocation->settings;
    struct source_settings source = settings->source;
    struct pub pub = {.settings = settings};
    struct headers headers;
    enum ctl_exit code;

    source.text =
        invocation->argument_count > 1 ? invocation->arguments[1] : NULL;
    code = source_check(&source, invocation->command->name);
    if (code == CTL_EXIT_OK) {
        code = check_settings(settings);
    }
    if (code != CTL_EXIT_OK) {
        return code;
    }
    if (!headers_parse(
            &headers, &settings->headers, invocation->command->name)) {
        return CTL_EXIT_USAGE;
    }
    pub.left = settings->count;
    if (pub.left == 0) {
        pub.left = source.lines ? UINT64_MAX : 1;
    }
    pub.publisher = (struct publisher){
        .link = &pub.link,
        .message =
            {
                .topic = invocation->arguments[0],
                .retain = settings->retain,
                .reply_to = settings->reply_to,
                .headers = headers.list,
                .header_count = headers.count,
            },
        .acknowledge = !settings->no_ack,
        .idle_limit_ns = settings->timeout_ns,
    };
    code = set_stream_fields(settings, &pub.publisher.message)
               ? open_and_publish(&pub, invocation, &source)
               : CTL_EXIT_USAGE;
    headers_free(&headers);
    return code;
}

const struct command cmd_pub = {
    .name = "pub",
    .summary = "Publish messages",
    .arguments = "TOPIC [MESSAGE]",
    .details =
        "Ends with code 0 when the broker has acknowledged every message. With "
        "--lines\n"
        "messages are sent while earlier ones are still on their way, and any "
        "length of\n"
        "input needs the same memory. Write -- before a message that begins "
        "with a dash.\n"
        "Where a stream captures the topic, acknowledged means: on the "
        "broker's disk.\n",
    .min_arguments = 1,
    .max_arguments = 2,
    .options = options,
    .settings_bytes = sizeof(struct pub_settings),
    .defaults = &defaults,
    .exits = CTL_EXIT_BITS_CONNECTED | CTL_EXIT_BIT(TIMEOUT) |
             CTL_EXIT_BIT(NO_SUBSCRIBERS) | CTL_EXIT_BIT(QUEUE_REFUSED) |
             CTL_EXIT_BIT(DATA) | CTL_EXIT_BIT(NO_INPUT),
    .run = run,
};
