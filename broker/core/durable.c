/* SPDX-License-Identifier: MIT
 *
 * Publishes to streams; see durable.h.
 *
 * What the store answers is dealt with in the order in which it was asked. When
 * there is no memory to route the next one, it and those behind it wait: a
 * message that was stored must not pass by its subscribers. */
#include "durable.h"

#include "consumers.h"
#include "forward.h"
#include "home.h"
#include "session.h"
#include "wire.h"

#include "store.h"

#include <stdlib.h>
#include <string.h>

#define OWNER_BYTES sizeof(uint64_t)

struct durable {
    TAILQ_ENTRY(durable) link; /* of core->durables, or of durables_at_home */
    struct core *core;
    struct wait *wait;   /* of the publisher, who may be gone */
    struct claim *claim; /* of its session */
    struct capture *capture;
    struct route *route; /* of the whole slice, as it was; or NULL */
    struct output_run slice;
    uint64_t publisher_id; /* of its session */
    uint64_t sequence;
    int status; /* enum store_status, once answered */
    bool answered, retains;
    bool is_at_home; /* which routes it; all others do that here */
    bool is_unsure;  /* the store may take a refusal for what it has */
    bool is_left;    /* its stream does not capture its topic any more */
};

enum broker_status
durable_status(int store_status)
{
    switch ((enum store_status)store_status) {
    case STORE_OK:
    case STORE_DUPLICATE:
    case STORE_UNSURE:
        return BROKER_OK;
    case STORE_CONFLICT:
        return BROKER_E_WRONG_LAST_SEQUENCE;
    case STORE_NOT_FOUND:
        return BROKER_E_UNKNOWN_STREAM;
    case STORE_EXISTS:
        return BROKER_E_NAME_IN_USE;
    case STORE_FULL:
        return BROKER_E_STREAM_FULL;
    case STORE_NO_SPACE:
        return BROKER_E_DISK_FULL;
    case STORE_FAILED:
        return BROKER_E_STORAGE;
    case STORE_AGAIN:
    case STORE_MEMORY:
        return BROKER_E_MEMORY;
    case STORE_INVALID:
        break;
    }
    return BROKER_E_BAD_REQUEST;
}

static void
durable_free(struct durable *durable)
{
    struct core *core = durable->core;
    TAILQ_REMOVE(
        durable->is_at_home ? &core->durables_at_home : &core->durables,
        durable, link);
    block_unref(durable->slice.block);
    capture_unref(durable->capture);
    if (durable->route != NULL) {
        route_unref(durable->route);
    }
    spares_give(&core->spare_durables, durable);
}

/* It was routed, or refused: what waited for that goes on. */
static void
durable_end(struct durable *durable)
{
    struct core *core = durable->core;
    struct claim *claim = durable->claim;
    bool is_left = durable->is_left;
    claim->at_home -= durable->is_at_home;
    durable_free(durable);
    claim_published(core, claim);
    if (is_left && --core->durables_left == 0) {
        hold_on_store_room(core);
    }
}

static void
drop_all(struct core *core, struct durable_list *list)
{
    struct durable *durable;
    while ((durable = TAILQ_FIRST(list)) != NULL) {
        struct claim *claim = durable->claim;
        if (durable->wait != NULL) {
            wait_close(core, durable->wait);
        }
        durable_free(durable);
        claim_drop(claim);
    }
}

void
durable_drop_all(struct core *core)
{
    drop_all(core, &core->durables);
    drop_all(core, &core->durables_at_home);
}

bool
durable_is_stuck(const struct durable *durable)
{
    return durable->answered;
}

/* ---- routing what is durable --------------------------------------------- */

static enum broker_status
no_check(void *arg, struct broker_bytes topic)
{
    (void)arg;
    (void)topic;
    return BROKER_OK; /* it was checked when it was received */
}

static struct broker_bytes
topic_of(const uint8_t *frame)
{
    return (struct broker_bytes){
        wire_publish_topic(frame), wire_publish_topic_bytes(frame)};
}

static bool
has_topic(const uint8_t *frame, struct broker_bytes topic)
{
    return wire_publish_topic_bytes(frame) == topic.len &&
           memcmp(wire_publish_topic(frame), topic.data, topic.len) == 0;
}

/* The first frames of the slice, all of one topic. */
static struct output_run
first_of_topic(const struct output_run *slice)
{
    struct broker_bytes topic = topic_of(slice->data);
    struct output_run first = *slice;
    first.bytes = 0;
    first.messages = 0;
    while (first.messages < slice->messages &&
           has_topic(slice->data + first.bytes, topic)) {
        first.bytes += wire_frame_bytes(slice->data + first.bytes);
        first.messages++;
    }
    return first;
}

/* Its own route, if nobody has subscribed or left meanwhile. */
static struct route *
route_again(struct durable *durable)
{
    struct core *core = durable->core;
    struct route *route = durable->route;
    if (route == NULL || !route_holds(&core->routes, route) ||
        !deliver_may(core, route)) {
        return NULL;
    }
    durable->route = NULL; /* the reference is handed over */
    return route;
}

/* What of the slice was routed is taken off it. False: memory is out. */
static bool
route_slice(struct durable *durable)
{
    struct core *core = durable->core;
    struct output_run *rest = &durable->slice;
    while (rest->messages > 0) {
        enum broker_status status = BROKER_OK;
        struct route *route = route_again(durable);
        struct output_run first = route != NULL ? *rest : first_of_topic(rest);
        if (route == NULL) {
            route = deliver_route(
                core, topic_of(first.data), no_check, NULL, &status);
        }
        struct run run = {.route = route,
            .publisher = core_find_session(core, durable->publisher_id),
            .slice = first,
            .stored = true};
        if (run.route == NULL) {
            return false;
        }
        deliver_run(core, &run);
        route_unref(run.route);
        rest->data += first.bytes;
        rest->bytes -= first.bytes;
        rest->messages -= first.messages;
    }
    return true;
}

/* A single message that is to be retained as well: home does both, and says so
 * to the wait. */
static bool
route_retained(struct durable *durable)
{
    struct core *core = durable->core;
    struct wait *wait = durable->wait;
    if (exchange_is_other(core->exchange, EXCHANGE_HOME)) {
        if (!forward_retain(core, &durable->slice, wait, durable->publisher_id,
                false, true)) {
            return false;
        }
        if (wait != NULL) {
            wait->missing++;
            TAILQ_REMOVE(&core->durables, durable, link);
            TAILQ_INSERT_TAIL(&core->durables_at_home, durable, link);
            durable->is_at_home = true;
            durable->claim->at_home++;
        }
        return true;
    }
    struct run run = {
        .publisher = core_find_session(core, durable->publisher_id),
        .slice = durable->slice,
        .stored = true};
    return publish_retained(core, topic_of(durable->slice.data), &run) ==
           BROKER_OK;
}

static bool
slice_has_topic(const struct output_run *slice, struct broker_bytes topic)
{
    const uint8_t *frame = slice->data;
    for (uint32_t i = 0; i < slice->messages; i++) {
        if (has_topic(frame, topic)) {
            return true;
        }
        frame += wire_frame_bytes(frame);
    }
    return false;
}

/* Would it overtake what home has still to route of the same publisher and
 * topic? */
static bool
is_behind_home(const struct durable *durable)
{
    const struct durable *other;
    if (durable->claim->at_home == 0) {
        return false;
    }
    TAILQ_FOREACH(other, &durable->core->durables_at_home, link)
    {
        if (other->claim == durable->claim &&
            slice_has_topic(&durable->slice, topic_of(other->slice.data))) {
            return true;
        }
    }
    return false;
}

static bool
route(struct durable *durable)
{
    if (durable->retains) {
        return route_retained(durable);
    }
    return !is_behind_home(durable) && route_slice(durable);
}

/* It is over, and its publisher hears. */
static void
answer(struct durable *durable)
{
    struct core *core = durable->core;
    struct wait *wait = durable->wait;
    durable_end(durable); /* first: the answer may lead to the next publish */
    if (wait != NULL) {
        wait_close(core, wait);
    }
}

/* Was its number stored, as far as the store can tell? */
static bool
is_stored(const struct durable *durable)
{
    return durable->status == STORE_OK ||
           (durable->status == STORE_DUPLICATE && !durable->is_unsure);
}

static void
tell(const struct durable *durable, struct wait *wait)
{
    wait->is_duplicate =
        durable->status == STORE_DUPLICATE || durable->status == STORE_UNSURE;
    if (is_stored(durable)) {
        wait_stored(wait, durable->capture, durable->sequence);
    } else {
        wait->status = durable_status(durable->status);
        wait->sequence = durable->sequence;
    }
}

/* False: memory is out, or it has to wait for home. */
static bool
finish(struct durable *durable)
{
    struct wait *wait = durable->wait;
    if (!exchange_has_room(durable->core->exchange) ||
        (durable->status == STORE_OK && !route(durable))) {
        return false;
    }
    if (wait != NULL) {
        tell(durable, wait);
    }
    if (!durable->is_at_home) {
        answer(durable);
    }
    return true;
}

static void
finish_answered(struct core *core)
{
    struct durable *first;
    while ((first = TAILQ_FIRST(&core->durables_at_home)) != NULL &&
           first->wait->missing == 1) {
        answer(first); /* home has routed it */
    }
    while ((first = TAILQ_FIRST(&core->durables)) != NULL && first->answered &&
           finish(first)) {
    }
}

static void
on_done(void *arg, const struct store_result *result)
{
    struct durable *durable = arg;
    struct core *core = durable->core;
    durable->answered = true;
    durable->status = (int)result->status;
    durable->sequence =
        result->status == STORE_CONFLICT ? result->last_seq : result->first_seq;
    if (durable->wait != NULL && durable->wait->is_batch) {
        durable->sequence = result->last_seq;
    }
    if (result->status == STORE_OK) {
        core->totals.stored_messages += durable->slice.messages;
        core->totals.stored_bytes += durable->slice.bytes;
    }
}

/* ---- storing ------------------------------------------------------------- */

static struct durable *
durable_new(
    const struct session *session, const struct durable_request *request)
{
    struct durable *durable =
        spares_take(&session->core->spare_durables, sizeof *durable);
    if (durable != NULL) {
        durable->core = session->core;
        durable->capture = capture_ref(request->capture);
        durable->slice = request->run->slice;
        block_ref(durable->slice.block);
        durable->publisher_id = session->id;
        durable->claim = session->remote->claim;
        claim_publishes(durable->claim);
        durable->retains = request->retains;
        durable->is_unsure = session_is_unsure(session, request->id);
        /* One that is not kept is of this moment only. */
        if (request->run->route != NULL && request->run->route->is_kept) {
            durable->route = request->run->route;
            durable->route->references++;
        }
        TAILQ_INSERT_TAIL(&session->core->durables, durable, link);
    }
    return durable;
}

size_t
durable_publisher(const struct session *session, uint8_t *dst)
{
    uint64_t owner = session_owner(session);
    memcpy(dst, session->remote->claim->id, BROKER_SESSION_BYTES);
    if (owner == 0) {
        return BROKER_SESSION_BYTES;
    }
    memcpy(dst + BROKER_SESSION_BYTES, &owner, OWNER_BYTES);
    return BROKER_SESSION_BYTES + OWNER_BYTES;
}

/* Append; nothing is said to anybody yet. */
static enum store_status
append(struct session *session, const struct durable_request *request,
    struct durable *durable)
{
    const struct output_run *slice = &request->run->slice;
    uint8_t publisher[STORE_PUBLISHER_MAX];
    struct store_append append = {.stream = request->capture->stream,
        .records = slice->data,
        .bytes = slice->bytes,
        .count = slice->messages,
        .expects_last = request->expects_last,
        .expected_last = request->expected_last,
        .batch = request->is_batch,
        .is_retry = request->is_retry,
        .time_ms = session->core->wall_ms};
    if (request->id != 0) {
        append.publisher = publisher;
        append.publisher_bytes = durable_publisher(session, publisher);
        append.number =
            request->id + (request->is_batch ? 0 : slice->messages - 1);
    }
    return store_append(
        session->core->options.store, &append, on_done, durable);
}

/* The store will not answer: refuse it in its place. */
static void
refuse(struct durable *durable, enum store_status status)
{
    durable->answered = true;
    durable->status = (int)status;
    finish_answered(durable->core);
}

bool
durable_publish(struct session *session, const struct durable_request *request)
{
    struct core *core = session->core;
    struct durable *durable = durable_new(session, request);
    if (durable == NULL) {
        session_abort(session);
        return true;
    }
    enum store_status status = append(session, request, durable);
    if (status == STORE_AGAIN) { /* and core_store_room is called */
        durable_end(durable);
        hold_for_store(session);
        return false;
    }
    struct wait *wait = wait_new(session, request->id,
        request->is_batch ? 1 : request->run->slice.messages);
    durable->wait = wait;
    if (wait != NULL) {
        wait->is_batch = request->is_batch;
        if (request->id == 0) {
            wait->frame = request->run->slice;
            block_ref(wait->frame.block);
        }
    }
    core->work += 1;
    if (status == STORE_MEMORY && request->id != 0) {
        /* The store may know nothing of it. */
        session_become_unsure(session,
            request->id +
                (request->is_batch ? 0 : request->run->slice.messages - 1));
    }
    if (status != STORE_OK) {
        refuse(durable, status);
    }
    return true;
}

/* ---- what is not captured any more --------------------------------------- */

static void
leave(struct durable_list *list, const struct capture *capture)
{
    struct durable *durable;
    TAILQ_FOREACH(durable, list, link)
    {
        if (durable->capture == capture && !durable->is_left) {
            durable->is_left = true;
            durable->core->durables_left++;
        }
    }
}

void
durable_capture_ends(struct core *core, const struct capture *capture)
{
    leave(&core->durables, capture);
    leave(&core->durables_at_home, capture);
}

static bool
has_left(const struct durable_list *list, uint64_t publisher_id)
{
    const struct durable *durable;
    TAILQ_FOREACH(durable, list, link)
    {
        if (durable->is_left && durable->publisher_id == publisher_id) {
            return true;
        }
    }
    return false;
}

bool
durable_would_be_overtaken(struct session *session)
{
    const struct core *core = session->core;
    if (core->durables_left == 0 ||
        (!has_left(&core->durables, session->id) &&
            !has_left(&core->durables_at_home, session->id))) {
        return false;
    }
    hold_for_store(session);
    return true;
}

/* ---- entry --------------------------------------------------------------- */

void
core_store_poll(struct core *core)
{
    if (core->options.store != NULL) {
        store_poll(core->options.store);
        finish_answered(core);
        home_run(core);
    }
}

void
core_store_room(struct core *core)
{
    hold_on_store_room(core);
}

void
core_store_tick(struct core *core)
{
    if (core->options.store != NULL) {
        finish_answered(core); /* that had no memory before */
        (void)readers_retry(core);
        home_run(core);
        store_tick(core->options.store);
    }
}
