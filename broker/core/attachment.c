/* SPDX-License-Identifier: MIT
 *
 * The session's side of durable consumers; see attachment.h. */
#include "attachment.h"

#include "session.h"

enum broker_status
attachment_open(struct session *session, const struct broker_consume *consume)
{
    (void)session;
    (void)consume;
    return BROKER_E_UNKNOWN_CONSUMER;
}

void
attachment_settle(
    struct subscription *subscription, const struct broker_settle *settle)
{
    (void)subscription;
    (void)settle;
}

void
attachment_close(struct subscription *subscription)
{
    (void)subscription;
}

void
attachments_look(struct session *session)
{
    (void)session;
}

void
attachments_review(struct session *session)
{
    (void)session;
}
