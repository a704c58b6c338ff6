/* SPDX-License-Identifier: MIT
 *
 * From HELLO to WELCOME: who the peer is, which is found out elsewhere
 * (core_hooks.authenticate), how many connections its user has, and which
 * session it goes on with. PROTOCOL.md sections 4.1, 5.3 and 5.10.
 */
#ifndef BROKER_CORE_ADMISSION_H
#define BROKER_CORE_ADMISSION_H

#include <broker/codec.h>

struct session;

/* HELLO was accepted as far as the protocol goes. */
void admission_begin(struct session *session, const struct broker_hello *hello);

/* The session ends. */
void admission_cancel(struct session *session);

#endif
