/* SPDX-License-Identifier: MIT
 *
 * What the tests of the public calls share: a broker made by hand, a tally of
 * what was called back, and options for a handle. Each test has a process of
 * its own.
 */
#ifndef BROKER_TEST_API_SUITE_H
#define BROKER_TEST_API_SUITE_H

#include "server.h"

extern struct server server;
extern struct tally tally;
extern struct broker_client_options options;

void api_setup(void);
void api_teardown(void);
struct broker_client *client_new(void);
const char *error_text(struct broker_client *client);
/* Publish with acknowledgement; the outcome goes to the tally. */
void publish(struct broker_client *client, const char *payload);

#endif
