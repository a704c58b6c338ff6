/* SPDX-License-Identifier: MIT
 *
 * Example 1, second half: publish values to a topic and see what became of
 * them.
 *
 *     ./publisher [-a ADDRESS] TOPIC VALUE...
 *
 * What there is to learn: publishing without waiting for each answer, the
 * answers as callbacks, and broker_client_close(), which waits for all of them.
 */
#include <stdio.h>
#include <string.h>

#include <broker/client.h>

/* How many answers came, and how many of them said no. */
struct outcome {
    unsigned answered;
    unsigned refused;
};

/* Runs once for each message, on the thread that drives the handle; here that
 * is the one that is in broker_client_close(). */
static void
published_cb(struct broker_client *client,
    const struct broker_client_published *published, void *user)
{
    struct outcome *outcome = user;
    (void)client;
    outcome->answered++;
    if (published->status != BROKER_OK) {
        outcome->refused++;
        fprintf(stderr, "%s\n", published->text);
    } else if (published->duplicate) {
        /* The connection was lost and the message had arrived before; the
         * broker did not route it twice. */
        printf("published (confirmed after a reconnect)\n");
    } else {
        /* "Routed" is what an acknowledgement means: the message is in the
         * queues of the subscribers. */
        printf("published to %u subscriptions\n", (unsigned)published->matched);
    }
}

static int
fail(struct broker_client *client, const char *what)
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
    const char *address = NULL;
    int first = 1;
    if (argc > 2 && strcmp(argv[1], "-a") == 0) {
        address = argv[2];
        first = 3;
    }
    if (argc - first < 2) {
        fprintf(stderr, "usage: %s [-a ADDRESS] TOPIC VALUE...\n", argv[0]);
        return 2;
    }

    struct broker_client_options options;
    broker_client_options_init(&options, sizeof options);
    options.addresses = &address;
    options.address_count = address == NULL ? 0 : 1;
    options.name = "example-publisher";
    options.connect_attempts = 1; /* a command should fail, not wait */

    struct broker_client *client = NULL;
    if (broker_client_new(&options, &client) != BROKER_OK) {
        return fail(client, "cannot start");
    }

    /* Each call takes its message and returns at once; nothing is connected
     * yet, and need not be. */
    struct outcome outcome = {0, 0};
    for (int i = first + 1; i < argc; i++) {
        struct broker_client_outgoing message = {
            .topic = argv[first],
            .payload = argv[i],
            .payload_bytes = strlen(argv[i]),
        };
        if (broker_client_publish_acked(
                client, &message, published_cb, &outcome) != BROKER_OK) {
            return fail(client, "cannot publish");
        }
    }

    /* Connects, sends, waits for every answer, says goodbye. */
    if (broker_client_close(client, 5000) != BROKER_OK) {
        return fail(client, "not everything was published");
    }
    broker_client_free(client);
    return outcome.refused == 0 ? 0 : 1;
}
