/* SPDX-License-Identifier: MIT
 *
 * Sending and its books; see publisher.h.
 */
#include "publisher.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>

#include "duration.h"
#include "say.h"

static void
say_refusal(const struct publisher *publisher,
    const struct broker_client_published *published)
{
    char text[LINK_TEXT_MAX];

    if (publisher->refused > PUBLISHER_SAID_MAX) {
        return;
    }
    say("message %" PRIu64 " to %s: %s%s", publisher->settled,
        publisher->message.topic,
        link_text(published->status, published->text, text, sizeof text),
        publisher->refused == PUBLISHER_SAID_MAX
            ? " (further refusals are only counted)"
            : "");
    if (published->status == BROKER_E_WRONG_LAST_SEQUENCE) {
        say("the last sequence is %" PRIu64, published->sequence);
    }
}

/* "ORDERS 17 synced"; of a batch "ORDERS 15-17 synced". */
static void
say_synced(const struct publisher *publisher,
    const struct broker_client_published *published)
{
    const uint64_t more = publisher->batch > 0 ? publisher->batch - 1 : 0;

    if (published->duplicate) {
        say("synced before");
    } else if (published->sequence == 0) {
        say("%s synced, waits for its time", published->stream);
    } else if (more > 0) {
        say("%s %" PRIu64 "-%" PRIu64 " synced", published->stream,
            published->sequence - more, published->sequence);
    } else {
        say("%s %" PRIu64 " synced", published->stream, published->sequence);
    }
}

static void
published_cb(struct broker_client *client,
    const struct broker_client_published *published, void *user)
{
    struct publisher *publisher = user;

    (void)client;
    if (published->status == BROKER_E_CLOSED) {
        return; /* it stays unsettled */
    }
    publisher->settled++;
    publisher->progress_ns = link_now_ns();
    if (published->status != BROKER_OK) {
        if (publisher->refused++ == 0) {
            publisher->refusal = published->status;
        }
        say_refusal(publisher, published);
        return;
    }
    publisher->matched += published->matched;
    publisher->queue_refused += published->refused;
    if (published->level == BROKER_LEVEL_SYNCED) {
        /* Of subscriptions nothing is said: the stream has it. */
        if (publisher->link->verbose) {
            say_synced(publisher, published);
        }
    } else {
        publisher->unmatched +=
            published->matched == 0 && !published->duplicate;
    }
}

static enum broker_status
hand_over(struct publisher *publisher)
{
    if (publisher->acknowledge) {
        return broker_client_publish_acked(publisher->link->client,
            &publisher->message, published_cb, publisher);
    }
    return broker_client_publish_message(
        publisher->link->client, &publisher->message);
}

/* What the library said to it. */
static enum publisher_result
handed_over(struct publisher *publisher, enum broker_status status,
    const char *where, enum ctl_exit *code)
{
    char what[256];

    if (status == BROKER_OK) {
        if (publisher->sent++ == publisher->settled) {
            publisher->progress_ns = link_now_ns();
        }
        return PUBLISHER_SENT;
    }
    if (status == BROKER_E_BUFFER_FULL) {
        return PUBLISHER_FULL;
    }
    (void)snprintf(what, sizeof what, "%s%s", where, publisher->message.topic);
    *code = link_failure_of(publisher->link, what, status);
    return PUBLISHER_FAILED;
}

enum publisher_result
publisher_send(struct publisher *publisher, const void *payload,
    size_t payload_len, const char *where, enum ctl_exit *code)
{
    publisher->message.payload = payload;
    publisher->message.payload_bytes = payload_len;
    return handed_over(publisher, hand_over(publisher), where, code);
}

enum publisher_result
publisher_send_batch(struct publisher *publisher,
    const struct broker_client_outgoing *messages, size_t count,
    enum ctl_exit *code)
{
    publisher->batch = count;
    return handed_over(publisher,
        broker_client_publish_batch(
            publisher->link->client, messages, count, published_cb, publisher),
        "", code);
}

static bool
waits_for_broker(const struct publisher *publisher)
{
    return publisher->acknowledge && publisher->settled < publisher->sent;
}

uint64_t
publisher_deadline_ns(const struct publisher *publisher)
{
    if (publisher->idle_limit_ns == 0) {
        return LINK_NEVER;
    }
    if (publisher->link->lost_ns != 0) {
        return publisher->link->lost_ns + publisher->idle_limit_ns;
    }
    if (!waits_for_broker(publisher)) {
        return LINK_NEVER;
    }
    /* An outage is not held against the connection that followed it. */
    return (publisher->link->up_ns > publisher->progress_ns
                   ? publisher->link->up_ns
                   : publisher->progress_ns) +
           publisher->idle_limit_ns;
}

enum ctl_exit
publisher_check(struct publisher *publisher)
{
    char limit[DURATION_TEXT_MAX];

    if (link_left_ms(publisher_deadline_ns(publisher)) != 0) {
        return CTL_EXIT_OK;
    }
    (void)duration_format(publisher->idle_limit_ns, limit, sizeof limit);
    if (publisher->link->lost_ns != 0) {
        say("no connection for %s: %" PRIu64 " of %" PRIu64
            " messages are not acknowledged; allow more time with --timeout",
            limit, publisher->sent - publisher->settled, publisher->sent);
        return CTL_EXIT_UNAVAILABLE;
    }
    say("the broker acknowledged nothing for %s: %" PRIu64 " of %" PRIu64
        " messages are not acknowledged; allow more time with --timeout",
        limit, publisher->sent - publisher->settled, publisher->sent);
    return CTL_EXIT_TIMEOUT;
}

static enum ctl_exit
flush_acknowledged(struct publisher *publisher)
{
    while (waits_for_broker(publisher)) {
        const enum broker_status status = link_turn(publisher->link, NULL, 0,
            link_left_ms(publisher_deadline_ns(publisher)));
        enum ctl_exit code;

        if (status != BROKER_OK) {
            return link_failure(publisher->link, status);
        }
        code = publisher_check(publisher);
        if (code != CTL_EXIT_OK) {
            return code;
        }
    }
    return CTL_EXIT_OK;
}

enum ctl_exit
publisher_flush(struct publisher *publisher)
{
    const enum ctl_exit code = flush_acknowledged(publisher);
    const uint32_t limit_ms = duration_to_ms(publisher->idle_limit_ns);
    enum broker_status status;

    if (code != CTL_EXIT_OK || publisher->acknowledge) {
        return code;
    }
    status = broker_client_flush(publisher->link->client,
        limit_ms == 0 || limit_ms > INT_MAX ? -1 : (int)limit_ms);
    return status == BROKER_OK ? CTL_EXIT_OK
                               : link_failure(publisher->link, status);
}

enum ctl_exit
publisher_verdict(const struct publisher *publisher, bool require_subscribers)
{
    if (publisher->link->verbose) {
        say("sent %" PRIu64 ", matched %" PRIu64 ", refused by queues %" PRIu64
            ", refused by the broker %" PRIu64,
            publisher->sent, publisher->matched, publisher->queue_refused,
            publisher->refused);
    }
    if (publisher->refused > 0) {
        if (publisher->refused > 1) {
            say("%" PRIu64 " of %" PRIu64 " messages were refused",
                publisher->refused, publisher->sent);
        }
        return link_exit_code(publisher->refusal);
    }
    if (publisher->link->errors > 0) {
        return link_exit_code(publisher->link->error);
    }
    if (require_subscribers && publisher->unmatched > 0) {
        say("nobody was subscribed for %" PRIu64 " of %" PRIu64
            " messages: start a subscriber for %s first",
            publisher->unmatched, publisher->sent, publisher->message.topic);
        return CTL_EXIT_NO_SUBSCRIBERS;
    }
    if (publisher->queue_refused > 0) {
        say("%" PRIu64 " of %" PRIu64 " deliveries found no room in the "
            "subscriber's queue and became gaps: send slower, or let the "
            "subscriber read faster",
            publisher->queue_refused, publisher->matched);
        return CTL_EXIT_QUEUE_REFUSED;
    }
    return CTL_EXIT_OK;
}
