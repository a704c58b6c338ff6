/* SPDX-License-Identifier: MIT
 *
 * What the tests of TLS share: a TLS server with an authority of its own, and
 * options for a handle that trusts it. Each test has a process of its own.
 */
#ifndef BROKER_TEST_TLS_SUITE_H
#define BROKER_TEST_TLS_SUITE_H

#include "tls_server.h"

extern struct server server;
extern struct tls_server tls;
extern struct tally tally;
extern struct broker_client_options options;

void tls_setup(void);
void tls_teardown(void);
struct broker_client *client_new(void);
const char *error_text(struct broker_client *client);
bool error_says(struct broker_client *client, const char *words);

/* One attempt to connect to a server that a thread accepts for; the status, and
 * the words in the error text. The handle is freed. */
enum broker_status try_once(const char *words);

#endif
