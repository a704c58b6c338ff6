/* SPDX-License-Identifier: MIT
 *
 * Questions about the whole broker (requests to topics under $sys/) where there
 * are several workers: home answers them, because only its hook may look at
 * all. The session that asked is suspended meanwhile. What has to do with the
 * store, home may answer later.
 */
#ifndef BROKER_CORE_QUESTION_H
#define BROKER_CORE_QUESTION_H

#include "buffer.h"

#include <broker/codec.h>

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

struct core;
struct session;

#define QUESTION_WHY_BYTES 160u

struct question {
    TAILQ_ENTRY(question) link; /* of the answers that are to be sent */
    struct session *session;    /* NULL: gone */
    struct buffer reply;
    char why[QUESTION_WHY_BYTES]; /* with a refusal: more than its code's own
                                     text, or "" */
    uint32_t from;                /* worker */
    uint32_t id;                  /* publish number of the request */
    enum broker_status status;
    uint32_t topic_bytes, payload_bytes, reply_to_bytes;
    uint8_t text[]; /* topic, payload, reply-to */
};

/* Ask. False if memory is out. */
bool question_ask(struct session *session, const struct broker_publish *publish,
    struct broker_bytes reply_to);

/* The session ends: nobody wants the answer. */
void question_cancel(struct session *session);

static inline struct broker_bytes
question_topic(const struct question *question)
{
    return (struct broker_bytes){question->text, question->topic_bytes};
}

static inline struct broker_bytes
question_payload(const struct question *question)
{
    return (struct broker_bytes){
        question->text + question->topic_bytes, question->payload_bytes};
}

/* Is it about streams or consumers, which only a store has? */
bool question_needs_store(struct broker_bytes topic);

/* Home: answer what core_hooks.ask was given, once: BROKER_OK with what is in
 * the reply, or a refusal, with a text if `why` is not NULL. The question is
 * gone then. */
void question_complete(struct core *core, struct question *question,
    enum broker_status status, const char *why);
/* At the end of a turn: answers. */
void question_write_answers(struct core *core);
/* The core ends. */
void question_drop_all(struct core *core);

/* Letters. */
void question_on_question(
    struct core *core, uint32_t from, struct question *question);
void question_on_answer(struct core *core, struct question *question);

#endif
