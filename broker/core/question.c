/* SPDX-License-Identifier: MIT
 *
 * Questions to home; see question.h. */
#include "question.h"

#include "exchange.h"
#include "session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

bool
question_needs_store(struct broker_bytes topic)
{
    static const char *const prefixes[] = {"$sys/stream/", "$sys/consumer/"};
    for (size_t i = 0; i < sizeof prefixes / sizeof prefixes[0]; i++) {
        size_t len = strlen(prefixes[i]);
        if (topic.len >= len && memcmp(topic.data, prefixes[i], len) == 0) {
            return true;
        }
    }
    return false;
}

/* ---- home ---------------------------------------------------------------- */

void
question_complete(struct core *core, struct question *question,
    enum broker_status status, const char *why)
{
    question->status = status;
    if (why != NULL && why != question->why) {
        snprintf(question->why, sizeof question->why, "%s", why);
    }
    TAILQ_INSERT_TAIL(&core->exchange->answers, question, link);
}

void
question_write_answers(struct core *core)
{
    struct exchange *exchange = core->exchange;
    struct question *question;
    while ((question = TAILQ_FIRST(&exchange->answers)) != NULL) {
        struct letter *letter =
            exchange_write(exchange, question->from, LETTER_ANSWER);
        if (letter == NULL) {
            return;
        }
        TAILQ_REMOVE(&exchange->answers, question, link);
        letter->question = question;
    }
}

void
question_drop_all(struct core *core)
{
    struct question_list *answers = &core->exchange->answers;
    struct question *question;
    while ((question = TAILQ_FIRST(answers)) != NULL) {
        TAILQ_REMOVE(answers, question, link);
        buffer_fini(&question->reply);
        free(question);
    }
}

void
question_on_question(
    struct core *core, uint32_t from, struct question *question)
{
    struct broker_bytes topic = question_topic(question);
    question->from = from;
    if (question_needs_store(topic)) {
        core->hooks.ask(core->hooks.arg, core, question);
        return;
    }
    question->status = core->hooks.answer(core->hooks.arg, core, topic,
        question_payload(question), &question->reply);
    exchange_write(core->exchange, from, LETTER_ANSWER)->question = question;
}

/* ---- whoever asked ------------------------------------------------------- */

void
question_on_answer(struct core *core, struct question *question)
{
    struct session *session = question->session;
    (void)core;
    if (session != NULL) {
        session->remote->question = NULL;
        session->remote->is_suspended = false;
        enum broker_status status = question->status;
        const char *why = question->why[0] == '\0' ? NULL : question->why;
        if (status == BROKER_OK) {
            why = NULL;
            status = request_answered(
                session, question->id, reply_to_of(question), &question->reply);
        }
        if (status != BROKER_OK) {
            struct broker_publish publish = {.id = question->id};
            if (publish.id == 0) {
                publish.topic = question_topic(question);
            }
            publish_refuse(session, &publish, status, why);
        }
    }
    buffer_fini(&question->reply);
    free(question);
    if (session != NULL) {
        ack_flush(session);
        session_resume(session);
    }
}
