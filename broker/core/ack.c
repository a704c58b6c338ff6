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

/* Where it is stored; false if the fields do not fit, which they do. */
static bool
put_place(const struct pending_ack *ack, uint8_t *dst, size_t cap, size_t *pos)
{
    return broker_tlv_put(dst, cap, pos, BROKER_TAG_STREAM,
               ack->capture->name) == BROKER_OK &&
           (ack->last_sequence == 0 ||
               broker_tlv_put_u64(dst, cap, pos, BROKER_TAG_SEQUENCE,
                   ack->last_sequence) == BROKER_OK);
}

void
ack_flush(struct session *session)
{
    struct pending_ack *ack = &session->ack;
    if (ack->count == 0) {
        return;
    }
    uint8_t fields[BROKER_NAME_BYTES_MAX + 16];
    size_t field_bytes = 0;
    struct broker_puback puback = {.id = ack->last_id,
        .level = BROKER_LEVEL_ROUTED,
        .count = ack->count,
        .matched = ack->matched,
        .refused = ack->refused};
    if (ack->capture != NULL && session->knows_streams &&
        put_place(ack, fields, sizeof fields, &field_bytes)) {
        puback.level = BROKER_LEVEL_SYNCED;
        puback.tlvs = (struct broker_bytes){fields, field_bytes};
    }
    capture_unref(ack->capture);
    ack->capture = NULL;
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
session_become_unsure(struct session *session, uint32_t id)
{
    if (session->unsure_publish == 0 ||
        identity_number_above(id, session->unsure_publish)) {
        session->unsure_publish = id;
    }
}

bool
session_is_unsure(const struct session *session, uint32_t id)
{
    return id != 0 && session->unsure_publish != 0 &&
           !identity_number_above(id, session->unsure_publish);
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
    if (ack->count > 0 && ack->capture == NULL &&
        ack->last_id + 1 == first_id && ack->matched == matched &&
        ack->refused == refused) {
        ack->last_id = last_id;
        ack->count += count;
        return;
    }
    ack_flush(session);
    *ack = (struct pending_ack){.last_id = last_id,
        .count = count,
        .matched = matched,
        .refused = refused};
}

void
ack_note_stored(struct session *session, uint32_t first_id, uint32_t count,
    struct capture *capture, uint64_t first_sequence)
{
    struct pending_ack *ack = &session->ack;
    uint32_t last_id = first_id + count - 1;
    uint64_t last_sequence =
        first_sequence == 0 ? 0 : first_sequence + count - 1;
    session_settle(session, last_id);
    if (ack->count > 0 && ack->capture == capture && first_sequence != 0 &&
        ack->last_id + 1 == first_id &&
        ack->last_sequence + 1 == first_sequence) {
        ack->last_id = last_id;
        ack->count += count;
        ack->last_sequence = last_sequence;
        return;
    }
    ack_flush(session);
    *ack = (struct pending_ack){.last_id = last_id,
        .count = count,
        .capture = capture_ref(capture),
        .last_sequence = last_sequence};
}

void
ack_duplicate(struct session *session, uint32_t id, bool stored)
{
    ack_flush(session);
    struct broker_puback puback = {.id = id,
        .flags = BROKER_PUBACK_DUPLICATE,
        .level = stored && session->knows_streams ? BROKER_LEVEL_SYNCED
                                                  : BROKER_LEVEL_ROUTED,
        .count = 1};
    send_puback(session, &puback);
}
