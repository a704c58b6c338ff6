/* SPDX-License-Identifier: MIT
 *
 * Example 1, first half: print what is published to a topic.
 *
 *     ./subscriber 'room/+/temperature' [ADDRESS]
 *     ./publisher  'room/kitchen/temperature' 21.5 22 22.5
 *
 * What there is to learn: a handle, its options, a blocking loop that takes
 * messages as values, what a gap is, and leaving in an orderly way on Ctrl-C.
 */
#include <signal.h>
#include <stdio.h>

#include <broker/client.h>

static struct broker_client *client;

/* broker_client_stop() is made for signal handlers: the call that waits in
 * main() returns BROKER_E_INTERRUPTED. */
static void
interrupt_handler(int signal_number)
{
    (void)signal_number;
    broker_client_stop(client);
}

/* The handle connects and reconnects by itself. This is only told, so that the
 * user of the program knows why nothing comes. */
static void
state_cb(struct broker_client *handle,
    const struct broker_client_state_event *event, void *user)
{
    (void)handle;
    (void)user;
    if (event->state == BROKER_CLIENT_WAITING) {
        fprintf(stderr, "%s (trying again)\n", event->text);
    } else if (event->state == BROKER_CLIENT_CONNECTED) {
        fprintf(stderr, "connected to %s\n", event->address);
    }
}

static void
print_message(const struct broker_message *message)
{
    /* Topic and payload are bytes with a length, not strings. */
    printf("%.*s: %.*s%s\n", (int)message->topic.len,
        (const char *)message->topic.data, (int)message->payload.len,
        (const char *)message->payload.data,
        message->retained ? " (retained)" : "");
    fflush(stdout);
}

/* The broker never drops a message silently: in its place comes a gap. */
static void
print_gap(const struct broker_client_gap *gap)
{
    if (gap->count == 0) {
        fprintf(stderr, "messages may be missing: %s\n",
            broker_client_gap_text(gap->reason));
    } else {
        fprintf(stderr, "%llu messages are missing: %s\n",
            (unsigned long long)gap->count,
            broker_client_gap_text(gap->reason));
    }
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
        fprintf(stderr, "usage: %s FILTER [ADDRESS]\n", argv[0]);
        return 2;
    }

    /* Options are set to their defaults first; change what you need. Without
     * addresses the handle looks for a broker of this machine. */
    struct broker_client_options options;
    broker_client_options_init(&options, sizeof options);
    const char *addresses[] = {argc > 2 ? argv[2] : NULL};
    options.addresses = addresses;
    options.address_count = argc > 2 ? 1 : 0;
    options.name = "example-subscriber";
    options.on_state = state_cb;

    if (broker_client_new(&options, &client) != BROKER_OK) {
        return fail("cannot start");
    }
    signal(SIGINT, interrupt_handler);
    signal(SIGTERM, interrupt_handler);

    /* A subscription without on_message is one for broker_client_next(). When
     * this returns, every message published from now on will come. */
    struct broker_client_subscription subscription = {.filter = argv[1]};
    uint32_t id;
    enum broker_status status =
        broker_client_subscribe_wait(client, &subscription, -1, &id, NULL);
    if (status != BROKER_OK && status != BROKER_E_INTERRUPTED) {
        return fail("cannot subscribe");
    }
    fprintf(stderr, "subscribed to %s\n", argv[1]);

    while (status == BROKER_OK) {
        struct broker_client_event *event;
        status = broker_client_next(client, -1, &event);
        if (status == BROKER_OK) {
            if (event->kind == BROKER_CLIENT_EVENT_MESSAGE) {
                print_message(event->message);
            } else {
                print_gap(event->gap);
            }
            broker_client_event_free(event); /* it is ours */
        }
    }
    if (status != BROKER_E_INTERRUPTED) {
        return fail("the connection ended");
    }
    (void)broker_client_close(client, 2000);
    broker_client_free(client);
    return 0;
}
