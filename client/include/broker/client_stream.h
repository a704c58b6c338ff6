/* SPDX-License-Identifier: MIT
 *
 * Streams (PROTOCOL.md 5.13, 5.14): reading them, durable consumers and their
 * acknowledgements, and batches. A part of <broker/client.h>, which includes
 * it; what it says of threads, callbacks and results holds here too.
 *
 *     struct broker_client_consume consume = {.consumer = "billing"};
 *     uint32_t subscription;
 *     if (broker_client_consume_wait(client, &consume, 5000, &subscription,
 *             NULL) == BROKER_OK) {
 *         struct broker_client_event *event;
 *         while (broker_client_next(client, -1, &event) == BROKER_OK) {
 *             if (event->message != NULL) {
 *                 work(event->message);
 *                 broker_client_ack(
 *                     client, subscription, event->message->sequence);
 *             }
 *             broker_client_event_free(event);
 *         }
 *     }
 *
 * Streams and consumers are made, looked at and removed by requests to
 * `$sys/stream/...` and `$sys/consumer/...` with JSON in both directions:
 * broker_client_request().
 */
#ifndef BROKER_CLIENT_STREAM_H
#define BROKER_CLIENT_STREAM_H

#include <broker/client.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- batches ------------------------------------------------------------- */

/* Publish several messages that are stored together or not at all, in one
 * stream. They are kept and sent again like one message of
 * broker_client_publish_acked(), and have one outcome. No message may have
 * retain, reply_to or deliver_at_ms, and only the first expects_last. Errors as
 * there; BROKER_E_TOO_LARGE if all together do not fit into one frame, and
 * BROKER_E_INVALID_ARGUMENT for a count of 0 or a message with what it may not
 * have. */
BROKER_API enum broker_status broker_client_publish_batch(
    struct broker_client *client, const struct broker_client_outgoing *messages,
    size_t count, broker_client_published_fn *callback, void *user);

/* The same, and wait, as broker_client_publish_wait() does. */
BROKER_API enum broker_status broker_client_publish_batch_wait(
    struct broker_client *client, const struct broker_client_outgoing *messages,
    size_t count, int timeout_ms, struct broker_client_published *out);

/* ---- readers and durable consumers --------------------------------------- */

/* There is nothing more for now: what the stream has was handed out, or told to
 * be missing. Of a reader, once on each connection; with `end`, it is the last
 * that is heard of it. */
typedef void broker_client_caught_up_fn(
    struct broker_client *client, uint32_t subscription, void *user);

/* A reader (stream or filter or both, start, value, end), or a durable consumer
 * (its name, window). Zero what you do not use. */
struct broker_client_consume {
    const char *stream; /* NULL: the one that captures what `filter` matches */
    const char *filter; /* NULL: all of the stream */
    enum broker_start start; /* of a reader; 0: BROKER_START_FIRST */
    uint64_t value;          /* for those starts that have one */
    bool end; /* what is there now, then the subscription ends by itself */

    const char *consumer; /* a durable consumer; NULL: a reader */
    uint32_t window; /* take so many messages without acknowledging them; 0: as
                        many as the consumer is set up for */

    broker_client_message_fn *on_message; /* NULL: messages, gaps and "caught
                                             up" are fetched with
                                             broker_client_next() */
    broker_client_caught_up_fn *on_caught_up; /* with on_message; may be NULL */
    broker_client_subscribed_fn *on_subscribed; /* outcome; may be NULL (a
                                                   refusal then goes to
                                                   on_error) */
    void *user;                                 /* of all three */
};

/* Read a stream, or join a durable consumer. It is a subscription like those of
 * broker_client_subscribe(): numbers, messages, gaps and
 * broker_client_unsubscribe() are the same; messages have `sequence`,
 * `time_ms` and `deliveries`. After a reconnect a reader goes on behind the
 * last message that it has handed out (a gap that was told may be told again),
 * and a consumer joins again: what was not acknowledged comes again, to
 * whoever joins. BROKER_CLIENT_GAP_CONNECTION is not told of either.
 *
 * Who fetches with broker_client_next() while something else drives the handle
 * has to take what comes: what does not fit into inbox_bytes is a gap
 * BROKER_CLIENT_GAP_INBOX for a reader, and for a consumer is delivered again
 * after its time for acknowledging.
 *
 * If the broker ends it (the stream or the consumer was removed), on_error is
 * told, with BROKER_E_UNKNOWN_STREAM or _UNKNOWN_CONSUMER, and who fetches with
 * broker_client_next() gets a gap BROKER_CLIENT_GAP_ENDED.
 *   BROKER_E_BAD_FILTER, BROKER_E_TOO_MANY_SUBSCRIPTIONS, BROKER_E_CLOSED,
 *   BROKER_E_NO_MEMORY
 *   BROKER_E_INVALID_ARGUMENT  neither a reader nor a consumer, or parts of
 *                              both
 *   BROKER_E_UNSUPPORTED_TYPE  the broker does not know streams */
BROKER_API enum broker_status broker_client_consume(
    struct broker_client *client, const struct broker_client_consume *consume,
    uint32_t *out);

/* The same, and wait for the answer, as broker_client_subscribe_wait() does. */
BROKER_API enum broker_status broker_client_consume_wait(
    struct broker_client *client, const struct broker_client_consume *consume,
    int timeout_ms, uint32_t *out, struct broker_client_subscribed *answer);

/* ---- acknowledging ------------------------------------------------------- */

/* Settle messages of a durable consumer, by its subscription and their
 * sequence. Cheap: what is settled is gathered, consecutive sequences as one
 * range, and written when the handle is next driven; nothing answers it.
 * broker_client_flush() waits until the broker has it. A message that came on a
 * connection that is lost, or is settled already, is let be: such a call is
 * BROKER_OK and counted (broker_client_stats.settlements_late). With a consumer
 * that needs no acknowledgements all of them do nothing.
 *   BROKER_E_UNKNOWN_SUBSCRIPTION  there is none, it is ending, or it is not of
 *                                  a durable consumer
 *   BROKER_E_INVALID_ARGUMENT      broker_client_ack() for a consumer that is
 *                                  acknowledged cumulatively
 *   BROKER_E_CLOSED, BROKER_E_NO_MEMORY (nothing was settled) */

/* It is done. */
BROKER_API enum broker_status broker_client_ack(
    struct broker_client *client, uint32_t subscription, uint64_t sequence);

/* It and all of lower sequences that came before it on this connection (and
 * were fetched, where that is done with broker_client_next()) are done; what
 * came again after it is not. */
BROKER_API enum broker_status broker_client_ack_up_to(
    struct broker_client *client, uint32_t subscription, uint64_t sequence);

/* It is to be delivered again, to whoever, after delay_ms;
 * BROKER_NACK_DELAY_DEFAULT: as the consumer is set up. */
BROKER_API enum broker_status broker_client_nack(struct broker_client *client,
    uint32_t subscription, uint64_t sequence, uint32_t delay_ms);

/* It is not to be delivered again: dead-lettered if the consumer has a topic
 * for that. */
BROKER_API enum broker_status broker_client_bury(
    struct broker_client *client, uint32_t subscription, uint64_t sequence);

/* It is being worked on: its time for acknowledging starts again. */
BROKER_API enum broker_status broker_client_touch(
    struct broker_client *client, uint32_t subscription, uint64_t sequence);

#ifdef __cplusplus
}
#endif

#endif
