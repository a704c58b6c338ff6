/* SPDX-License-Identifier: MIT
 *
 * See api_suite.h.
 */
#include "api_suite.h"

#include <string.h>

#if API_OVER_TLS
#include <signal.h>
#include <stdio.h>

#include "tls_server.h"
#endif

struct server server;
struct tally tally;
struct broker_client_options options;

#if API_OVER_TLS
static struct tls_server tls;
static char ca_file[128];

static void
server_open(void)
{
    (void)signal(SIGPIPE, SIG_IGN); /* OpenSSL's sockets raise it */
    tls_server_open(&server, &tls);
    (void)snprintf(ca_file, sizeof ca_file, "%s", pki_path(&tls.pki, "ca.pem"));
}

static void
set_options(void)
{
    options.tls_ca_file = ca_file;
}
#else
static void
server_open(void)
{
    server_open_unix(&server);
}

static void
set_options(void)
{
}
#endif

void
api_setup(void)
{
    server_open();
    tally_init(&tally);
    tally_options(&tally, &server, &options);
    set_options();
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
