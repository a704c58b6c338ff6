/* SPDX-License-Identifier: MIT
 *
 * brokerctl sub FILTER...: print what arrives, or what a stream has.
 *
 * One loop waits for the broker, for room in standard output and for signals.
 * What arrived is written before the next wait, so a reader never waits for a
 * line that is already here. When standard output is blocked, messages are kept
 * up to OUT_HIGH_BYTES; then nothing more is read from the broker, whose
 * overflow policy applies and whose gaps say what is missing.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd.h"
#include "duration.h"
#include "link.h"
#include "printer.h"
#include "reading.h"
#include "say.h"
#include "signals.h"

#define OUT_HIGH_BYTES 8388608u
/* The time for leaving: unsubscribing, the half-close, and the last output. */
#define LEAVE_NS UINT64_C(5000000000)

struct sub_settings {
    struct printer_settings printer;
    struct reading_settings reading;
    const char *group;
    uint64_t count;      /* 0: no limit */
    uint64_t timeout_ns; /* 0: no limit */
    uint64_t connect_timeout_ns;
    int overflow; /* enum broker_overflow */
    bool no_retained;
    bool no_reconnect;
    uint64_t ready_fd; /* 0: none */
};

static const struct sub_settings defaults = {
    .connect_timeout_ns = LINK_TIMEOUT_NS,
};

static const struct option_choice overflow_choices[] = {
    {"drop-oldest", BROKER_OVERFLOW_DROP_OLDEST},
    {"drop-newest", BROKER_OVERFLOW_DROP_NEWEST},
    {"conflate", BROKER_OVERFLOW_CONFLATE},
    {"disconnect", BROKER_OVERFLOW_DISCONNECT},
    {"block", BROKER_OVERFLOW_BLOCK},
    {NULL, 0},
};

static const struct option_spec options[] = {
    PRINTER_OPTIONS(sub_settings, printer),
    {"count", 'n', OPTION_COUNT, "N", "end after N messages",
        offsetof(struct sub_settings, count), NULL},
    {"timeout", 't', OPTION_DURATION, "TIME", "end after this time (5s, 250ms)",
        offsetof(struct sub_settings, timeout_ns), NULL},
    READING_OPTIONS(sub_settings, reading),
    {"group", 'g', OPTION_TEXT, "NAME",
        "share the messages with this queue group",
        offsetof(struct sub_settings, group), NULL},
    {"overflow", 'o', OPTION_CHOICE, "POLICY",
        "drop-oldest|drop-newest|conflate|disconnect|block",
        offsetof(struct sub_settings, overflow), overflow_choices},
    {"no-retained", 0, OPTION_FLAG, NULL, "no retained values at the start",
        offsetof(struct sub_settings, no_retained), NULL},
    {"no-reconnect", 0, OPTION_FLAG, NULL, "end when the connection is lost",
        offsetof(struct sub_settings, no_reconnect), NULL},
    {"connect-timeout", 0, OPTION_DURATION, "TIME",
        "time for the first connection (5s)",
        offsetof(struct sub_settings, connect_timeout_ns), NULL},
    {"ready-fd", 0, OPTION_COUNT, "FD",
        "write a line break to FD once subscribed",
        offsetof(struct sub_settings, ready_fd), NULL},
    {0},
};

/* One filter of the command line; or the stream or consumer, without one. */
struct sub_filter {
    struct subscriber *subscriber;
    const char *filter;    /* NULL: none */
    const char *text;      /* to name it */
    uint32_t subscription; /* the library's number */
};

struct subscriber {
    const struct sub_settings *settings;
    const struct invocation *invocation;
    struct link link;
    struct printer printer;
    struct reading reading;
    size_t caught_up; /* readers with nothing more for now */
    struct sub_filter *filters;
    const char **gap_filters; /* room for the filters of one gap */
    size_t filter_count;
    size_t unanswered;     /* SUBSCRIBE or UNSUBSCRIBE without an answer */
    enum ctl_exit refused; /* a subscription was refused */
    bool gap;
    bool gave_up;         /* leaving took too long */
    uint64_t deadline_ns; /* of --timeout */
};

/* ---- what the library calls ---------------------------------------------- */

static bool
has_enough(const struct subscriber *subscriber)
{
    return subscriber->settings->count != 0 &&
           subscriber->printer.count >= subscriber->settings->count;
}

static void
message_cb(struct broker_client *client, const struct broker_message *message,
    void *user)
{
    const struct sub_filter *filter = user;
    struct subscriber *subscriber = filter->subscriber;

    (void)client;
    /* A message that matches several filters is printed once. */
    if (message->nth == 0 && !has_enough(subscriber)) {
        printer_message(&subscriber->printer, message);
        if (!reading_printed(&subscriber->reading, message->sequence)) {
            out_fail(subscriber->invocation->out, ENOMEM);
        }
    }
}

static void
caught_up_cb(struct broker_client *client, uint32_t subscription, void *user)
{
    const struct sub_filter *filter = user;

    (void)client;
    (void)subscription;
    filter->subscriber->caught_up++;
    if (filter->subscriber->link.verbose) {
        say("%s: there is nothing more for now", filter->text);
    }
}

static const char *
filter_text(const struct subscriber *subscriber, uint32_t subscription)
{
    for (size_t i = 0; i < subscriber->filter_count; i++) {
        if (subscriber->filters[i].subscription == subscription) {
            return subscriber->filters[i].text;
        }
    }
    return "?";
}

static void
say_gap(const struct subscriber *subscriber,
    const struct broker_client_gap *gap, size_t filter_count)
{
    char filters[256] = "";
    size_t used = 0;

    for (size_t i = 0; i < filter_count && used < sizeof filters; i++) {
        const int n = snprintf(filters + used, sizeof filters - used, "%s%s",
            i > 0 ? ", " : "", subscriber->gap_filters[i]);

        used += n > 0 ? (size_t)n : 0;
    }
    if (gap->count > 0) {
        say("gap: %" PRIu64 " messages are missing on %s (%s)", gap->count,
            filters, broker_client_gap_text(gap->reason));
    } else {
        say("gap: messages may be missing on %s (%s)", filters,
            broker_client_gap_text(gap->reason));
    }
}

static void
gap_cb(struct broker_client *client, const struct broker_client_gap *gap,
    void *user)
{
    struct subscriber *subscriber = user;
    struct broker_client_gap known = *gap;

    (void)client;
    if (known.subscription_count > subscriber->filter_count) {
        known.subscription_count = subscriber->filter_count;
    }
    for (size_t i = 0; i < known.subscription_count; i++) {
        subscriber->gap_filters[i] =
            filter_text(subscriber, known.subscriptions[i]);
    }
    subscriber->gap = true;
    say_gap(subscriber, &known, known.subscription_count);
    printer_gap(&subscriber->printer, &known, subscriber->gap_filters);
}

static void
subscribed_cb(struct broker_client *client,
    const struct broker_client_subscribed *subscribed, void *user)
{
    struct sub_filter *filter = user;
    struct subscriber *subscriber = filter->subscriber;
    char text[LINK_TEXT_MAX];

    (void)client;
    subscriber->unanswered--;
    if (subscribed->status != BROKER_OK) {
        subscriber->refused = link_exit_code(subscribed->status);
        say("%s: %s", filter->text,
            link_text(subscribed->status, subscribed->text, text, sizeof text));
        return;
    }
    subscriber->reading.mode = subscribed->ack;
    if (subscriber->link.verbose && subscribed->stream[0] != '\0') {
        say("subscribed %s: stream %s has %" PRIu64 " to %" PRIu64
            ", next is %" PRIu64,
            filter->text, subscribed->stream, subscribed->first_sequence,
            subscribed->last_sequence, subscribed->next_sequence);
    } else if (subscriber->link.verbose) {
        say("subscribed %s", filter->text);
    }
}

static void
unsubscribed_cb(struct broker_client *client,
    const struct broker_client_unsubscribed *books, void *user)
{
    struct sub_filter *filter = user;

    (void)client;
    filter->subscriber->unanswered--;
    if (filter->subscriber->link.verbose && books->status == BROKER_OK) {
        say("unsubscribed %s: matched %" PRIu64 ", delivered %" PRIu64
            ", dropped %" PRIu64,
            filter->text, books->matched, books->delivered, books->dropped);
    }
}

/* ---- the loop ------------------------------------------------------------ */

/* The reader of our output has gone, or the output is broken. */
static void
check_output(struct out *out, short revents)
{
    if ((revents & (POLLERR | POLLHUP)) != 0 && out_pending(out) == 0) {
        out_fail(out, EPIPE);
    } else if ((revents & POLLNVAL) != 0) {
        out_fail(out, EBADF);
    }
    (void)out_drain(out);
}

/* One round: wait, let the client work, write. */
static enum broker_status
turn(struct subscriber *subscriber, uint64_t deadline_ns)
{
    struct out *out = subscriber->invocation->out;
    enum broker_status status = BROKER_OK;
    struct pollfd fds[] = {
        {.fd = signals_fd(), .events = POLLIN},
        {.fd = out->fd, .events = 0},
    };
    const int timeout_ms = link_left_ms(deadline_ns);

    if (out_pending(out) > 0) {
        fds[1].events = POLLOUT;
    }
    if (out_pending(out) > OUT_HIGH_BYTES) {
        link_wait_only(fds, 2, timeout_ms);
    } else {
        status = link_turn(&subscriber->link, fds, 2, timeout_ms);
    }
    if (fds[0].revents != 0) {
        signals_clear();
    }
    check_output(out, fds[1].revents);
    if (subscriber->reading.kind == READING_CONSUMER) {
        reading_acknowledge(&subscriber->reading, subscriber->link.client,
            subscriber->filters[0].subscription, out);
    }
    return status;
}

static bool
has_read_all(const struct subscriber *subscriber)
{
    return subscriber->settings->reading.until_end &&
           subscriber->caught_up >= subscriber->filter_count;
}

static bool
is_over(const struct subscriber *subscriber)
{
    return has_enough(subscriber) || signals_stop_wanted() ||
           out_failed(subscriber->invocation->out) != 0 ||
           subscriber->refused != CTL_EXIT_OK ||
           subscriber->link.subscription_ended || has_read_all(subscriber) ||
           link_left_ms(subscriber->deadline_ns) == 0;
}

/* Everything is subscribed: tell who waits for it. */
static enum ctl_exit
announce(const struct subscriber *subscriber)
{
    const uint64_t fd = subscriber->settings->ready_fd;

    if (fd == 0) {
        return CTL_EXIT_OK;
    }
    if (fd > INT32_MAX || write((int)fd, "\n", 1) != 1) {
        say("sub: cannot write to --ready-fd %" PRIu64
            ": open it first, such as with %" PRIu64 ">file",
            fd, fd);
        return CTL_EXIT_USAGE;
    }
    if (fd > STDERR_FILENO) {
        (void)close((int)fd);
    }
    return CTL_EXIT_OK;
}

static enum ctl_exit
receive(struct subscriber *subscriber)
{
    bool announced = false;

    while (!is_over(subscriber)) {
        const enum broker_status status =
            turn(subscriber, subscriber->deadline_ns);

        if (status != BROKER_OK) {
            return link_failure(&subscriber->link, status);
        }
        if (!announced && subscriber->unanswered == 0 &&
            subscriber->refused == CTL_EXIT_OK) {
            const enum ctl_exit code = announce(subscriber);

            if (code != CTL_EXIT_OK) {
                return code;
            }
            announced = true;
        }
    }
    return subscriber->refused;
}

/* ---- beginning and end --------------------------------------------------- */

static enum broker_status
consume_one(struct subscriber *subscriber, struct sub_filter *filter)
{
    struct broker_client_consume consume = reading_consume(
        &subscriber->reading, filter->filter, subscriber->settings->count);

    consume.on_message = message_cb;
    consume.on_caught_up = caught_up_cb;
    consume.on_subscribed = subscribed_cb;
    consume.user = filter;
    return broker_client_consume(
        subscriber->link.client, &consume, &filter->subscription);
}

static enum ctl_exit
subscribe_one(struct subscriber *subscriber, struct sub_filter *filter)
{
    const struct broker_client_subscription subscription = {
        .filter = filter->filter,
        .group = subscriber->settings->group,
        .overflow = (enum broker_overflow)subscriber->settings->overflow,
        .no_retained = subscriber->settings->no_retained,
        .on_message = message_cb,
        .on_subscribed = subscribed_cb,
        .user = filter,
    };
    const enum broker_status status =
        subscriber->reading.kind == READING_NOTHING
            ? broker_client_subscribe(
                  subscriber->link.client, &subscription, &filter->subscription)
            : consume_one(subscriber, filter);

    if (status != BROKER_OK) {
        return link_failure_of(&subscriber->link, filter->text, status);
    }
    subscriber->unanswered++;
    return CTL_EXIT_OK;
}

static enum ctl_exit
subscribe_all(struct subscriber *subscriber)
{
    enum ctl_exit code = CTL_EXIT_OK;

    for (size_t i = 0; i < subscriber->filter_count; i++) {
        struct sub_filter *filter = &subscriber->filters[i];

        filter->subscriber = subscriber;
        filter->filter = i < subscriber->invocation->argument_count
                             ? subscriber->invocation->arguments[i]
                             : NULL;
        filter->text = filter->filter;
        if (filter->text == NULL) {
            filter->text = subscriber->reading.kind == READING_CONSUMER
                               ? subscriber->settings->reading.consumer
                               : subscriber->settings->reading.stream;
        }
        code = subscribe_one(subscriber, filter);
        if (code != CTL_EXIT_OK) {
            break;
        }
    }
    return code;
}

/* Let arrive what the broker still has for us. True when it has arrived; false
 * if nothing moved for LEAVE_NS, neither in nor out, or the connection is
 * gone. */
static bool
drain_subscriptions(struct subscriber *subscriber)
{
    const struct out *out = subscriber->invocation->out;
    uint64_t deadline_ns = link_deadline_ns(LEAVE_NS);

    while (subscriber->unanswered > 0) {
        const uint64_t count = subscriber->printer.count;
        const size_t pending = out_pending(out);

        if (turn(subscriber, deadline_ns) != BROKER_OK ||
            subscriber->link.lost_ns != 0 || link_left_ms(deadline_ns) == 0) {
            return false;
        }
        if (subscriber->printer.count != count || out_pending(out) != pending) {
            deadline_ns = link_deadline_ns(LEAVE_NS);
        }
    }
    return true;
}

/* What was printed and can be written is acknowledged before the end. */
static void
settle_printed(struct subscriber *subscriber)
{
    const struct out *out = subscriber->invocation->out;
    const uint64_t deadline_ns = link_deadline_ns(LEAVE_NS);

    while (subscriber->reading.printed_count > 0 && out_failed(out) == 0 &&
           link_left_ms(deadline_ns) != 0 &&
           turn(subscriber, deadline_ns) == BROKER_OK) {
        continue;
    }
}

/* End the subscriptions, with what the broker still has for them unless we have
 * enough, and leave. */
static enum ctl_exit
leave(struct subscriber *subscriber)
{
    const bool drain =
        !has_enough(subscriber) && out_failed(subscriber->invocation->out) == 0;

    if (subscriber->link.verbose) {
        say("leaving");
    }
    subscriber->link.leaving = true;
    settle_printed(subscriber);
    for (size_t i = 0; i < subscriber->filter_count; i++) {
        struct sub_filter *filter = &subscriber->filters[i];

        if (broker_client_unsubscribe(subscriber->link.client,
                filter->subscription, drain, unsubscribed_cb,
                filter) == BROKER_OK) {
            subscriber->unanswered++;
        }
    }
    if (drain_subscriptions(subscriber)) {
        return link_close(&subscriber->link, LEAVE_NS);
    }
    if (drain) {
        say("gap: messages may be missing (%s)",
            subscriber->link.lost_ns != 0 ? "there is no connection"
                                          : "the end did not come in time");
        subscriber->gap = subscriber->gave_up = true;
    }
    return CTL_EXIT_OK;
}

/* Who was asked to end does not wait for ever for a reader that does not
 * read. */
static enum ctl_exit
finish_output(const struct subscriber *subscriber)
{
    struct out *out = subscriber->invocation->out;
    const int timeout_ms =
        subscriber->gave_up ? 0 : (int)duration_to_ms(LEAVE_NS);

    if (!signals_stop_wanted() || out_flush_within(out, timeout_ms)) {
        return CTL_EXIT_OK;
    }
    say("sub: %zu bytes were not read by whoever reads the output, and are "
        "lost",
        out_pending(out));
    out_fail(out, EPIPE);
    return CTL_EXIT_OUTPUT;
}

/* What the messages themselves say, if nothing else went wrong. */
static enum ctl_exit
verdict(const struct subscriber *subscriber)
{
    const struct sub_settings *settings = subscriber->settings;
    const uint64_t wanted = settings->count != 0 ? settings->count : 1;

    if (subscriber->link.errors > 0) {
        return link_exit_code(subscriber->link.error);
    }
    if (subscriber->gap) {
        return CTL_EXIT_GAP;
    }
    if (link_left_ms(subscriber->deadline_ns) == 0 && !signals_stop_wanted() &&
        subscriber->printer.count < wanted) {
        say("sub: %" PRIu64 " of %" PRIu64 " messages came in time",
            subscriber->printer.count, wanted);
        return CTL_EXIT_TIMEOUT;
    }
    return CTL_EXIT_OK;
}

static enum ctl_exit
run_connected(struct subscriber *subscriber)
{
    enum ctl_exit code = subscribe_all(subscriber);

    subscriber->deadline_ns =
        link_deadline_ns(subscriber->settings->timeout_ns);
    if (code == CTL_EXIT_OK) {
        code = receive(subscriber);
    }
    if (code == CTL_EXIT_OK) {
        code = leave(subscriber);
    }
    link_drop(&subscriber->link);
    if (code == CTL_EXIT_OK) {
        code = finish_output(subscriber);
    }
    return code != CTL_EXIT_OK ? code : verdict(subscriber);
}

static enum ctl_exit
open_and_run(struct subscriber *subscriber)
{
    const struct link_options link_options = {
        .timeout_ns = subscriber->settings->connect_timeout_ns,
        .reconnect = !subscriber->settings->no_reconnect,
        .on_gap = gap_cb,
        .user = subscriber,
    };
    enum ctl_exit code;

    if (!signals_open()) {
        say("sub: cannot catch signals: %s", strerror(errno));
        return CTL_EXIT_FAILED;
    }
    code = link_open(&subscriber->link, subscriber->invocation, &link_options);
    if (code == CTL_EXIT_OK) {
        code = run_connected(subscriber);
    }
    signals_close();
    return code;
}

/* What only plain subscriptions have. */
static bool
check_settings(const struct subscriber *subscriber)
{
    const struct sub_settings *settings = subscriber->settings;

    if (subscriber->reading.kind != READING_NOTHING &&
        (settings->group != NULL || settings->no_retained ||
            settings->overflow != BROKER_OVERFLOW_DEFAULT)) {
        say("sub: --group, --overflow and --no-retained do not go with reading "
            "a stream: leave them out (members of a durable consumer share "
            "the work)");
        return false;
    }
    return true;
}

static enum ctl_exit
run(const struct invocation *invocation)
{
    struct subscriber subscriber = {
        .settings = invocation->settings,
        .invocation = invocation,
        .filter_count =
            invocation->argument_count > 0 ? invocation->argument_count : 1,
    };
    enum ctl_exit code;

    if (!reading_init(&subscriber.reading, &subscriber.settings->reading,
            invocation->argument_count) ||
        !check_settings(&subscriber)) {
        return CTL_EXIT_USAGE;
    }
    code = printer_init(
        &subscriber.printer, &subscriber.settings->printer, invocation);
    if (code != CTL_EXIT_OK) {
        return code;
    }
    subscriber.filters =
        calloc(subscriber.filter_count, sizeof subscriber.filters[0]);
    subscriber.gap_filters =
        calloc(subscriber.filter_count, sizeof subscriber.gap_filters[0]);
    if (subscriber.filters != NULL && subscriber.gap_filters != NULL) {
        code = open_and_run(&subscriber);
    } else {
        say("sub: out of memory");
        code = CTL_EXIT_FAILED;
    }
    free(subscriber.gap_filters);
    free(subscriber.filters);
    reading_fini(&subscriber.reading);
    printer_fini(&subscriber.printer);
    return code;
}

const struct command cmd_sub = {
    .name = "sub",
    .summary = "Print the messages that match a filter, or of a stream",
    .arguments = "[FILTER...]",
    .details =
        "Without --raw, --json and --format each payload is a line. Gaps are "
        "said on\n"
        "standard error and end in exit code 2. A message that matches several "
        "filters\n"
        "is printed once. SIGINT and SIGTERM unsubscribe and end with code "
        "0.\n\n"
        "With --from or --stream a stream is read: START is first (if not "
        "given), last,\n"
        "new, seq:7, last:100, time:2026-11-22T08:00 (with a Z for UTC), or "
        "-1h for an\n"
        "hour ago. With --consumer each message is acknowledged once it is "
        "printed.\n",
    .max_arguments = CMD_MANY_ARGUMENTS,
    .options = options,
    .settings_bytes = sizeof(struct sub_settings),
    .defaults = &defaults,
    .exits =
        CTL_EXIT_BITS_CONNECTED | CTL_EXIT_BIT(GAP) | CTL_EXIT_BIT(TIMEOUT),
    .print_more = printer_help_formats,
    .run = run,
};
