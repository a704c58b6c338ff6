/* SPDX-License-Identifier: MIT
 *
 * Questions to home; see question.h. */
#include "question.h"

#include "exchange.h"
#include "session.h"

#include <stdlib.h>
#include <string.h>

static struct broker_bytes
topic_of(const struct question *question)
{
    return (struct broker_bytes){question->text, question->topic_bytes};
}

static struct broker_bytes
payload_of(const struct question *question)
{
    return (struct broker_bytes){
        question->text + question->topic_bytes, question->payload_bytes};
}

static struct broker_bytes
reply_to_of(const struct question *question)
{
    return (struct broker_bytes){
        question->text + question->topic_bytes + question->payload_bytes,
        question->reply_to_bytes};
}

bool
question_ask(struct session *session, const struct broker_publish *publish,
    struct broker_bytes reply_to)
{
    struct question *question =
        calloc(1, sizeof *question + publish->topic.len + publish->payload.len +
                      reply_to.len);
    struct letter *letter = question == NULL
                                ? NULL
                                : exchange_write(session->core->exchange,
                                      EXCHANGE_HOME, LETTER_QUESTION);
    if (letter == NULL) {
        free(question);
        return false;
    }
    question->session = session;
    question->id = publish->id;
    question->topic_bytes = (uint32_t)publish->topic.len;
    question->payload_bytes = (uint32_t)publish->payload.len;
    question->reply_to_bytes = (uint32_t)reply_to.len;
    uint8_t *text = question->text;
    memcpy(text, publish->topic.data, publish->topic.len);
    text += publish->topic.len;
    if (publish->payload.len > 0) {
        memcpy(text, publish->payload.data, publish->payload.len);
    }
    memcpy(text + publish->payload.len, reply_to.data, reply_to.len);
    letter->question = question;
    session->remote->question = question;
    session->remote->is_suspended = true;
    return true;
}

void
question_cancel(struct session *session)
{
    if (session->remote->question != NULL) {
        session->remote->question->session = NULL;
        session->remote->question = NULL;
    }
}

void
question_on_question(
    struct core *core, uint32_t from, struct question *question)
{
    question->status = core->hooks.answer(core->hooks.arg, core,
        topic_of(question), payload_of(question), &question->reply);
    exchange_write(core->exchange, from, LETTER_ANSWER)->question = question;
}

void
question_on_answer(struct core *core, struct question *question)
{
    struct session *session = question->session;
    (void)core;
    if (session != NULL) {
        session->remote->question = NULL;
        session->remote->is_suspended = false;
        enum broker_status status = question->status;
        if (status == BROKER_OK) {
            status = request_answered(
                session, question->id, reply_to_of(question), &question->reply);
        }
        if (status != BROKER_OK) {
            session_refuse_publish(session, question->id, status, NULL);
        }
    }
    buffer_fini(&question->reply);
    free(question);
    if (session != NULL) {
        ack_flush(session);
        session_resume(session);
    }
}
