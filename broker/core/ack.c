/* SPDX-License-Identifier: MIT
 *
 * Acknowledgements of publishes: equal ones with consecutive numbers are merged
 * until something else has to be said. PROTOCOL.md sections 4.7, 5.2, 5.3. */
#include "session.h"

static void
send_puback(struct session *session, const struct broker_puback *puback)
{
    size_t size = broker_puback_size(puback);
    uint8_t *dst = session_control(session, size);
    if (dst != NULL &&
        broker_puback_encode(puback, dst, size, &size) == BROKER_OK) {
        session_control_done(session, size);
    }
}

void
ack_flush(struct session *session)
{
    struct pending_ack *ack = &session->ack;
    if (ack->count == 0) {
        return;
    }
    struct broker_puback puback = {.id = ack->last_id,
        .level = BROKER_LEVEL_ROUTED,
        .count = ack->count,
        .matched = ack->matched,
        .refused = ack->refused};
    ack->count = 0;
    send_puback(session, &puback);
}

void
session_settle(struct session *session, uint32_t id)
{
    if (session->last_publish == 0 ||
        identity_number_above(id, session->last_publish)) {
        session->last_publish = id;
    }
}

void
ack_note(struct session *session, uint32_t first_id, uint32_t count,
    uint32_t matched, uint32_t refused)
{
    if (wait_holds(session)) {
        wait_append(session, first_id, count, matched, refused);
        return;
    }
    struct pending_ack *ack = &session->ack;
    uint32_t last_id = first_id + count - 1;
    session_settle(session, last_id);
    if (ack->count > 0 && ack->last_id + 1 == first_id &&
        ack->matched == matched && ack->refused == refused) {
        ack->last_id = last_id;
        ack->count += count;
        return;
    }
    ack_flush(session);
    *ack = (struct pending_ack){last_id, count, matched, refused};
}

void
ack_duplicate(struct session *session, uint32_t id)
{
    ack_flush(session);
    struct broker_puback puback = {.id = id,
        .flags = BROKER_PUBACK_DUPLICATE,
        .level = BROKER_LEVEL_ROUTED,
        .count = 1};
    send_puback(session, &puback);
}
