/* SPDX-License-Identifier: MIT
 *
 * Example 3: a durable worker. What it has not acknowledged, because it failed
 * or was killed, comes again; start it twice, and the two share the work.
 *
 *     brokerctl stream add ORDERS --topics 'orders/#'
 *     brokerctl consumer add billing --stream ORDERS
 *     ./worker billing [ADDRESS]
 *     ./publisher orders/new one two bad
 *
 * What there is to learn: joining a durable consumer, acknowledging after the
 * work and not before, returning a message for later, and leaving so that the
 * broker knows of everything that was done.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include <broker/client.h>

#define RETRY_MS 1000

static struct broker_client *client;

static void
interrupt_handler(int signal_number)
{
    (void)signal_number;
    broker_client_stop(client);
}

/* The work. It may be done twice for a message: if the broker does not hear in
 * time that it is done, somebody gets the message again. */
static bool
work(const struct broker_message *message)
{
    bool is_bad = message->payload.len == 3 &&
                  memcmp(message->payload.data, "bad", 3) == 0;
    printf("%llu (delivery %u): %.*s%s\n",
        (unsigned long long)message->sequence, message->deliveries,
        (int)message->payload.len, (const char *)message->payload.data,
        is_bad ? ": failed" : "");
    fflush(stdout);
    return !is_bad;
}

/* Both calls are cheap: what is settled is gathered, and written when the
 * handle is driven the next time. */
static enum broker_status
settle(uint32_t consumer, const struct broker_message *message)
{
    return work(message)
               ? broker_client_ack(client, consumer, message->sequence)
               : broker_client_nack(
                     client, consumer, message->sequence, RETRY_MS);
}

static int
fail(const char *what)
{
    char text[BROKER_CLIENT_ERROR_TEXT_MAX];
    fprintf(stderr, "%s: %s\n", what,
        broker_client_error_text(client, text, sizeof text));
    broker_client_free(client);
    return 1;
}

int
main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: %s CONSUMER [ADDRESS]\n", argv[0]);
        return 2;
    }
    struct broker_client_options options;
    broker_client_options_init(&options, sizeof options);
    const char *addresses[] = {argc > 2 ? argv[2] : NULL};
    options.addresses = addresses;
    options.address_count = argc > 2 ? 1 : 0;
    options.name = "example-worker";
    if (broker_client_new(&options, &client) != BROKER_OK) {
        return fail("cannot start");
    }
    signal(SIGINT, interrupt_handler);
    signal(SIGTERM, interrupt_handler);

    /* At most 10 messages are in our hands at once; the rest is for others. */
    struct broker_client_consume consume = {.consumer = argv[1], .window = 10};
    uint32_t id;
    enum broker_status status =
        broker_client_consume_wait(client, &consume, -1, &id, NULL);
    if (status != BROKER_OK) {
        return fail("cannot join the consumer");
    }
    fprintf(stderr, "working for %s\n", argv[1]);

    while (status == BROKER_OK) {
        struct broker_client_event *event;
        status = broker_client_next(client, -1, &event);
        if (status == BROKER_OK) {
            if (event->kind == BROKER_CLIENT_EVENT_MESSAGE) {
                status = settle(id, event->message);
            }
            broker_client_event_free(event);
        }
    }
    if (status != BROKER_E_INTERRUPTED) {
        return fail("the work ended");
    }
    /* What was acknowledged is said, what was not goes to other workers. */
    (void)broker_client_close(client, 2000);
    broker_client_free(client);
    return 0;
}
