/* SPDX-License-Identifier: MIT
 *
 * Putting messages into the schedule, on any worker; see schedule.h. */
#include "schedule.h"

#include "exchange.h"
#include "session.h"

#include "store.h"

#include <stdlib.h>
#include <string.h>

#define FORMAT       1u
#define HEAD_BYTES   4u
#define RANDOM_BYTES 16u

struct scheduling {
    TAILQ_ENTRY(scheduling) link; /* of core->schedulings, in their order */
    struct core *core;
    struct wait *wait;
    struct claim *claim;     /* of its session */
    struct capture *capture; /* holds a reference */
    struct letter_scheduled key;
    const struct session *session; /* only while it asks */
    uint32_t number;
    bool is_retry;
    bool is_unsure; /* the store may take a refusal for what it has */
    enum store_status status;
    bool answered;
};

static uint8_t *
put_uint(uint8_t *dst, uint64_t value, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++) {
        dst[i] = (uint8_t)(value >> 8 * (bytes - 1 - i));
    }
    return dst + bytes;
}

static void
make_key(const struct session *session, uint64_t time_ms, uint32_t number,
    struct letter_scheduled *out)
{
    struct core *core = session->core;
    uint8_t *at = put_uint(out->key, time_ms, 8);
    out->time_ms = time_ms;
    if (number != 0) {
        *at++ = 'p';
        at += durable_publisher(session, at);
        at = put_uint(at, number, 4);
    } else {
        *at++ = 'r';
        core->hooks.random(core->hooks.arg, at, RANDOM_BYTES);
        at += RANDOM_BYTES;
    }
    out->key_bytes = (uint8_t)(at - out->key);
}

static void
on_put(void *arg, const struct store_result *result)
{
    struct scheduling *scheduling = arg;
    scheduling->status = result->status;
    scheduling->answered = true;
}

static void
scheduling_free(struct scheduling *scheduling)
{
    TAILQ_REMOVE(&scheduling->core->schedulings, scheduling, link);
    capture_unref(scheduling->capture);
    free(scheduling);
}

static void
scheduling_end(struct scheduling *scheduling)
{
    struct core *core = scheduling->core;
    struct claim *claim = scheduling->claim;
    scheduling_free(scheduling);
    claim_published(core, claim);
}

/* With its publisher's number, if it has one: a retry is then known for one,
 * whenever it comes. */
static enum store_status
put_value(struct scheduling *scheduling, const struct store_value *value)
{
    struct core *core = scheduling->core;
    uint8_t publisher[STORE_PUBLISHER_MAX];
    if (scheduling->number == 0) {
        return store_put(core->options.store, value, 1, on_put, scheduling);
    }
    struct store_append append = {.publisher = publisher,
        .publisher_bytes = durable_publisher(scheduling->session, publisher),
        .number = scheduling->number,
        .is_retry = scheduling->is_retry,
        .values = value,
        .value_count = 1,
        .time_ms = core->wall_ms};
    return store_append(core->options.store, &append, on_put, scheduling);
}

static enum store_status
put(struct scheduling *scheduling, const struct output_run *slice)
{
    uint8_t *bytes = malloc(HEAD_BYTES + slice->bytes);
    if (bytes == NULL) {
        return STORE_MEMORY;
    }
    put_uint(put_uint(bytes, FORMAT, 2), 0, 2);
    memcpy(bytes + HEAD_BYTES, slice->data, slice->bytes);
    struct store_value value = {.space = STORE_SPACE_SCHEDULE,
        .key = scheduling->key.key,
        .key_bytes = scheduling->key.key_bytes,
        .data = bytes,
        .bytes = HEAD_BYTES + slice->bytes};
    enum store_status status = put_value(scheduling, &value);
    free(bytes);
    return status;
}

bool
schedule_publish(struct session *session, const struct broker_publish *publish,
    const struct run *run, struct capture *capture, uint64_t deliver_at_ms)
{
    struct core *core = session->core;
    if (!store_has_room(core->options.store)) {
        hold_for_store(session);
        return false;
    }
    struct scheduling *scheduling = calloc(1, sizeof *scheduling);
    if (scheduling == NULL) {
        session_abort(session);
        return true;
    }
    scheduling->core = core;
    scheduling->capture = capture_ref(capture);
    scheduling->session = session;
    scheduling->claim = session->remote->claim;
    claim_publishes(scheduling->claim);
    scheduling->number = publish->id;
    scheduling->is_retry = (publish->flags & BROKER_PUBLISH_RETRY) != 0;
    scheduling->is_unsure = session_is_unsure(session, publish->id);
    TAILQ_INSERT_TAIL(&core->schedulings, scheduling, link);
    make_key(session, deliver_at_ms, publish->id, &scheduling->key);
    enum store_status status = put(scheduling, &run->slice);
    if (status == STORE_AGAIN) {
        scheduling_end(scheduling);
        hold_for_store(session);
        return false;
    }
    scheduling->session = NULL;
    struct wait *wait = wait_new(session, publish->id, 1);
    scheduling->wait = wait;
    if (wait != NULL && publish->id == 0) {
        wait->frame = run->slice; /* for a refusal */
        block_ref(wait->frame.block);
    }
    if (status == STORE_MEMORY && publish->id != 0) {
        /* The store may know nothing of it. */
        session_become_unsure(session, publish->id);
    }
    if (status != STORE_OK) {
        scheduling->status = status;
        scheduling->answered = true;
    }
    return true;
}

/* False: there is no memory to tell home. */
static bool
tell_home(struct scheduling *scheduling)
{
    struct core *core = scheduling->core;
    if (!exchange_is_other(core->exchange, EXCHANGE_HOME)) {
        schedule_on_scheduled(core, &scheduling->key);
        return true;
    }
    if (!exchange_has_room_for(core->exchange, EXCHANGE_HOME)) {
        return false;
    }
    exchange_write(core->exchange, EXCHANGE_HOME, LETTER_SCHEDULED)->scheduled =
        scheduling->key;
    return true;
}

static void
tell(const struct scheduling *scheduling, struct wait *wait)
{
    enum store_status status = scheduling->status;
    wait->is_duplicate = status == STORE_DUPLICATE || status == STORE_UNSURE;
    if (status == STORE_OK ||
        (status == STORE_DUPLICATE && !scheduling->is_unsure)) {
        wait_stored(wait, scheduling->capture, 0);
    } else {
        wait->status = durable_status((int)status);
    }
}

void
schedulings_run(struct core *core)
{
    struct scheduling *first;
    while (
        (first = TAILQ_FIRST(&core->schedulings)) != NULL && first->answered) {
        if (first->status == STORE_OK && !tell_home(first)) {
            return;
        }
        struct wait *wait = first->wait;
        if (wait != NULL) {
            tell(first, wait);
        }
        scheduling_end(first);
        if (wait != NULL) {
            wait_close(core, wait);
        }
    }
}

void
schedulings_drop_all(struct core *core)
{
    struct scheduling *first;
    while ((first = TAILQ_FIRST(&core->schedulings)) != NULL) {
        struct claim *claim = first->claim;
        if (first->wait != NULL) {
            wait_close(core, first->wait);
        }
        scheduling_free(first);
        claim_drop(claim);
    }
}
