/* SPDX-License-Identifier: MIT
 *
 * Questions about the whole broker (requests to topics under $sys/) where there
 * are several workers: home answers them, because only its hook may look at
 * all. The session that asked is suspended meanwhile.
 */
#ifndef BROKER_CORE_QUESTION_H
#define BROKER_CORE_QUESTION_H

#include "buffer.h"

#include <broker/codec.h>

struct core;
struct session;

struct question {
    struct session *session; /* NULL: gone */
    struct buffer reply;
    uint32_t id; /* publish number of the request */
    enum broker_status status;
    uint32_t topic_bytes, payload_bytes, reply_to_bytes;
    uint8_t text[]; /* topic, payload, reply-to */
};

/* Ask. False if memory is out. */
bool question_ask(struct session *session, const struct broker_publish *publish,
    struct broker_bytes reply_to);

/* The session ends: nobody wants the answer. */
void question_cancel(struct session *session);

/* Letters. */
void question_on_question(
    struct core *core, uint32_t from, struct question *question);
void question_on_answer(struct core *core, struct question *question);

#endif
