/* SPDX-License-Identifier: MIT
 *
 * See tls_suite.h.
 */
#include "tls_suite.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

struct server server;
struct tls_server tls;
struct tally tally;
struct broker_client_options options;

static char ca_file[128];

void
tls_setup(void)
{
    (void)signal(SIGPIPE, SIG_IGN); /* OpenSSL's sockets raise it */
    tls_server_open(&server, &tls);
    tally_init(&tally);
    tally_options(&tally, &server, &options);
    (void)snprintf(ca_file, sizeof ca_file, "%s", pki_path(&tls.pki, "ca.pem"));
    options.tls_ca_file = ca_file;
}

void
tls_teardown(void)
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

bool
error_says(struct broker_client *client, const char *words)
{
    const char *text = error_text(client);
    bool is_there = strstr(text, words) != NULL;
    if (!is_there) {
        (void)fprintf(stderr, "not \"%s\" in: %s\n", words, text);
    }
    return is_there;
}

static void *
accept_thread(void *argument)
{
    (void)argument;
    server_accept_only(&server);
    if (tls.ssl != NULL && options.connect_attempts == 1) {
        uint8_t byte; /* until the client is through with it */
        (void)SSL_read(tls.ssl, &byte, 1);
    }
    server_drop(&server);
    return NULL;
}

enum broker_status
try_once(const char *words)
{
    pthread_t thread;
    tls.accepts_failure = true;
    options.connect_attempts = 1;
    struct broker_client *client = client_new();
    CHECK(pthread_create(&thread, NULL, accept_thread, NULL) == 0);
    enum broker_status status =
        broker_client_connect_wait(client, SERVER_DEADLINE_MS);
    CHECK(error_says(client, words));
    broker_client_free(client);
    CHECK(pthread_join(thread, NULL) == 0);
    return status;
}
