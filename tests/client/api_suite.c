/* SPDX-License-Identifier: MIT
 *
 * See api_suite.h.
 */
#include "api_suite.h"

#include <string.h>

struct server server;
struct tally tally;
struct broker_client_options options;

void
api_setup(void)
{
    server_open_unix(&server);
    tally_init(&tally);
    tally_options(&tally, &server, &options);
}

void
api_teardown(void)
{
    server_close(&server);
}

struct broker_client *
client_new(void)
{
    struct broker_client *client = NULL;
    CHECK(broker_client_new(&options, &client) == BROKER_OK);
    return client;
}

const char *
error_text(struct broker_client *client)
{
    static char text[BROKER_CLIENT_ERROR_TEXT_MAX];
    return broker_client_error_text(client, text, sizeof text);
}

void
publish(struct broker_client *client, const char *payload)
{
    struct broker_client_outgoing message = {
        .topic = "a", .payload = payload, .payload_bytes = strlen(payload)};
    CHECK(broker_client_publish_acked(
              client, &message, tally_published_cb, &tally) == BROKER_OK);
}
