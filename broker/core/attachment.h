/* SPDX-License-Identifier: MIT
 *
 * Attachments: subscriptions that take part in a durable consumer, which home
 * has. What home gives to one of them comes by letter, and so goes back what
 * their peers acknowledge. PROTOCOL.md section 5.14.
 */
#ifndef BROKER_CORE_ATTACHMENT_H
#define BROKER_CORE_ATTACHMENT_H

#include <broker/codec.h>

#include <stdbool.h>

struct session;
struct subscription;

/* CONSUME with a consumer's name: ask home. Anything but BROKER_OK refuses it
 * now; else it is answered later. */
enum broker_status attachment_open(
    struct session *session, const struct broker_consume *consume);
/* ACK, NACK, TOUCH. */
void attachment_settle(
    struct subscription *subscription, const struct broker_settle *settle);
/* The subscription ends. */
void attachment_close(struct subscription *subscription);
/* Something left the session's queue: tell home. */
void attachments_look(struct session *session);
/* The session's rights have changed. */
void attachments_review(struct session *session);

#endif
