/* SPDX-License-Identifier: MIT
 *
 * The fake network; see fake_net.h. */
#include "fake_net.h"

#include "consumers_internal.h"
#include "output_check.h"
#include "schedule.h"
#include "session.h"
#include "store.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void
fail_default(const char *problem)
{
    fprintf(stderr, "broken promise: %s\n", problem);
    abort();
}

void
fake_require(struct fake_net *net, bool good, const char *problem)
{
    if (!good) {
        net->fail(problem);
        abort();
    }
}

void
fake_enter(struct fake_net *net)
{
    if (net->guard != NULL) {
        net->guard(true);
    }
}

void
fake_leave(struct fake_net *net)
{
    if (net->guard != NULL) {
        net->guard(false);
    }
}

/* ---- hooks --------------------------------------------------------------- */

static void
output_ready_hook(void *owner)
{
    struct fake_peer *peer = owner;
    peer->output_ready = true;
}

static void
log_hook(void *arg, enum core_event event, const struct session *session,
    enum broker_status code, const char *text)
{
    struct fake_net *net = arg;
    (void)session;
    fake_require(net, text != NULL, "the log is given no text");
    fake_require(net,
        (size_t)event < sizeof net->logged / sizeof net->logged[0],
        "an event that nobody knows");
    net->logged[event]++;
    net->logged_code = code;
}

/* Answers "$sys/echo" with the payload of the request. */
static enum broker_status
answer_hook(void *arg, const struct core *core, struct broker_bytes topic,
    struct broker_bytes payload, struct buffer *reply)
{
    static const char echo[] = "$sys/echo";
    (void)arg;
    (void)core;
    if (topic.len != sizeof echo - 1 ||
        memcmp(topic.data, echo, topic.len) != 0) {
        return BROKER_E_RESERVED_TOPIC;
    }
    uint8_t *dst = buffer_reserve(reply, payload.len + 1);
    if (dst == NULL) {
        return BROKER_E_MEMORY;
    }
    if (payload.len > 0) {
        memcpy(dst, payload.data, payload.len);
    }
    buffer_commit(reply, payload.len);
    return BROKER_OK;
}

static void
random_hook(void *arg, uint8_t *dst, size_t len)
{
    struct fake_net *net = arg;
    for (size_t i = 0; i < len; i++) {
        dst[i] = (uint8_t)random_next(&net->random);
    }
}

/* ---- the net ------------------------------------------------------------- */

struct core_options
fake_options(void)
{
    return (struct core_options){.max_body_bytes = BROKER_BODY_BYTES_MAX,
        .max_topic_bytes = 1024,
        .max_topic_levels = 64,
        .max_subscriptions = 100,
        .max_output_bytes = 32u << 20,
        .max_memory_bytes = 256u << 20,
        .max_retained_topics = 100,
        .max_retained_bytes = 1u << 20,
        .max_sessions = 16,
        .session_memory_ms = 60000,
        .handshake_timeout_ms = 5000,
        .heartbeat_ms = 15000,
        .heartbeat_min_ms = 1000,
        .heartbeat_max_ms = 300000,
        .write_timeout_ms = 30000,
        .half_close_linger_ms = 5000,
        .max_user_connections = 1000,
        .allow_block = true,
        .block_timeout_ms = 2000,
        .name = "fake"};
}

static void
wake_hook(void *arg)
{
    struct fake_port *port = arg;
    port->woken = true;
}

static void
room_hook(void *arg)
{
    struct fake_port *port = arg;
    core_store_room(port->net->cores[port->worker]);
}

static struct store_port *
open_port(struct fake_net *net, uint32_t worker)
{
    struct fake_port *port = &net->ports[worker];
    *port = (struct fake_port){.net = net, .worker = worker};
    struct store_port_hooks hooks = {wake_hook, room_hook, port};
    if (net->store != NULL) {
        port->port = store_port_open(net->store, &hooks);
    }
    return port->port;
}

void
fake_store_turn(struct fake_net *net, uint32_t worker)
{
    if (net->store != NULL && net->cores[worker] != NULL) {
        net->ports[worker].woken = false;
        core_set_wall(net->cores[worker], FAKE_WALL_MS + net->now_ms);
        core_store_poll(net->cores[worker]);
        core_store_tick(net->cores[worker]);
    }
}

bool
fake_store_moved(struct fake_net *net)
{
    for (uint32_t worker = 0; worker < net->workers; worker++) {
        if (net->store != NULL && net->ports[worker].woken) {
            return true;
        }
    }
    return false;
}

void
fake_net_crash(struct fake_net *net)
{
    net->store = NULL;
    net->crashed = true;
}

void
fake_net_init(struct fake_net *net, const struct core_options *options,
    uint64_t seed, void (*guard)(bool inside))
{
    fake_net_init_store(net, options, NULL, seed, guard);
}

void
fake_net_init_store(struct fake_net *net, const struct core_options *options,
    struct store *store, uint64_t seed, void (*guard)(bool inside))
{
    *net = (struct fake_net){.options = *options,
        .store = store,
        .now_ms = 1000,
        .random = {seed},
        .guard = guard,
        .fail = fail_default};
    struct core_hooks hooks = {.output_ready = output_ready_hook,
        .log = log_hook,
        .answer = answer_hook,
        .random = random_hook,
        .post = fake_post,
        .arg = net};
    net->workers = options->workers == 0 ? 1 : options->workers;
    random_hook(net, net->boot, sizeof net->boot);
    net->random.state = seed;
    fake_enter(net);
    bool all = true;
    for (uint32_t worker = 0; worker < net->workers; worker++) {
        struct core_options own = *options;
        if (net->workers > 1) {
            own.worker = worker;
            own.shared_bytes = &net->shared_bytes;
            own.boot = net->boot;
        }
        own.store = open_port(net, worker);
        if (net->store == NULL || own.store != NULL) {
            net->cores[worker] = core_new(&own, &hooks, net->now_ms);
        }
        all = all && net->cores[worker] != NULL;
    }
    fake_leave(net);
    net->core = all ? net->cores[0] : NULL;
    if (net->core != NULL) {
        fake_mail_settle(net);
    }
}

static uint64_t
retained_capacity(const struct core *core)
{
    static const struct broker_bytes all = {(const uint8_t *)"#", 1};
    size_t count = 0;
    uint64_t bytes = 0;
    struct retained_copy *values =
        retained_copies(&core->retained, all, &count);
    for (size_t i = 0; values != NULL && i < count; i++) {
        bytes += values[i].block->capacity;
    }
    free(values);
    return bytes;
}

/* What durable consumers have: what is given out, and dead letters that are on
 * their way. */
static uint64_t
consumers_capacity(const struct core *core)
{
    const struct consumers *consumers = core->consumers;
    const struct cursor *cursor;
    uint64_t bytes = 0;
    if (consumers == NULL) {
        return 0;
    }
    TAILQ_FOREACH(cursor, &consumers->all, link)
    {
        const struct block *block = cursor->dead.frame.block;
        bytes += block == NULL ? 0 : block->capacity;
    }
    return bytes + (consumers->block == NULL ? 0 : consumers->block->capacity);
}

/* All memory in use is accounted for: the shared receive block, retained
 * values, what durable consumers and the schedule have. */
static void
check_baseline(struct fake_net *net, struct core *core)
{
    uint64_t known = retained_capacity(core) + consumers_capacity(core) +
                     schedule_bytes(core);
    known += core->intake.current == NULL ? 0 : core->intake.current->capacity;
    fake_require(net, net->crashed || core->pool.bytes_in_use == known,
        "blocks are in use and nobody has them");
    fake_require(net, core->session_count == 0 && core->index.count == 0,
        "sessions or subscriptions are left");
    fake_require(net, core->subscriptions.count == 0, "subscriptions are left");
    fake_require(net, core->deadlines.count == 0, "deadlines are left");
    fake_require(net, LIST_EMPTY(&core->slow), "slow sessions are left");
    route_cache_fini(&core->routes); /* these keep contexts, and nobody else */
    core->routes = (struct route_cache){0};
    fake_require(net, core->contexts.contexts.count == 0, "contexts are left");
}

void
fake_net_fini(struct fake_net *net)
{
    while (net->peers != NULL) {
        struct fake_peer *peer = net->peers;
        net->peers = peer->next;
        fake_drop(peer);
        free(peer->received);
        free(peer);
    }
    if (net->core != NULL) {
        fake_mail_settle(net);
        fake_check_exchanges(net);
    }
    for (uint32_t worker = 0; worker < net->workers; worker++) {
        if (net->cores[worker] != NULL) {
            check_baseline(net, net->cores[worker]);
        }
        fake_enter(net);
        core_free(net->cores[worker]);
        fake_leave(net);
    }
    for (uint32_t worker = 0; worker < net->workers; worker++) {
        store_port_close(net->ports[worker].port);
    }
    net->core = NULL;
}

/* ---- peers --------------------------------------------------------------- */

struct fake_peer *
fake_connect(struct fake_net *net)
{
    return fake_connect_to(net, (uint32_t)(net->peer_ids % net->workers));
}

struct fake_peer *
fake_connect_to(struct fake_net *net, uint32_t worker)
{
    struct fake_peer *peer = calloc(1, sizeof *peer);
    fake_require(net, peer != NULL, "memory");
    peer->net = net;
    peer->worker = worker;
    peer->next = net->peers;
    net->peers = peer;
    fake_enter(net);
    peer->core = net->cores[worker];
    peer->session = session_new(peer->core, peer, ++net->peer_ids, "fake");
    fake_leave(net);
    return peer;
}

void
fake_drop(struct fake_peer *peer)
{
    if (peer->session != NULL) {
        fake_enter(peer->net);
        session_free(peer->session);
        fake_leave(peer->net);
        peer->session = NULL;
        fake_settle(peer->net);
    }
}

static void
look_at_end(struct fake_peer *peer)
{
    peer->end = session_end(peer->session);
    if (peer->end == SESSION_ABORTED) {
        fake_drop(peer);
    }
}

void
fake_look_at_ends(struct fake_net *net)
{
    for (struct fake_peer *peer = net->peers; peer != NULL; peer = peer->next) {
        if (peer->session != NULL) {
            look_at_end(peer);
        }
    }
}

static bool
may_feed(const struct fake_peer *peer)
{
    return peer->session != NULL &&
           (!peer->net->holds_mail || session_wants_input(peer->session));
}

static bool
is_slowed(const struct fake_peer *peer)
{
    return peer->session != NULL &&
           (peer->session->hold.reasons & (HOLD_WORK | HOLD_TIME)) != 0;
}

/* What was fed counts as processed when this returns: turns and time pass until
 * nothing but a letter or another session keeps it from that. */
static void
let_it_process(struct fake_peer *peer)
{
    struct fake_net *net = peer->net;
    const struct hold *hold = &peer->session->hold;
    while (is_slowed(peer)) {
        if ((hold->reasons & HOLD_TIME) != 0 && hold->until_ms > net->now_ms) {
            net->now_ms = hold->until_ms;
        }
        for (uint32_t worker = 0; worker < net->workers; worker++) {
            core_set_now(net->cores[worker], net->now_ms);
        }
        (void)core_tick(peer->core);
    }
}

/* Mail comes between receiving and processing, as in the real net. */
static void
receive(struct fake_peer *peer, uint8_t *dst, const uint8_t *src, size_t len,
    uint64_t mark)
{
    struct fake_net *net = peer->net;
    memcpy(dst, src, len);
    fake_mail_until(net, peer->worker, mark);
    fake_enter(net);
    session_received(peer->session, len);
    fake_leave(net);
    look_at_end(peer);
    fake_settle(net);
    while (is_slowed(peer)) { /* a letter may have let it go on, to be slowed */
        fake_enter(net);
        let_it_process(peer);
        fake_leave(net);
        look_at_end(peer);
        fake_settle(net);
    }
}

size_t
fake_feed_said(
    struct fake_peer *peer, const void *bytes, size_t len, uint64_t mark)
{
    struct fake_net *net = peer->net;
    const uint8_t *src = bytes;
    size_t fed = 0;
    while (fed < len && may_feed(peer)) {
        uint8_t *dst;
        size_t room;
        fake_enter(net);
        bool ok = session_reserve(peer->session, &dst, &room);
        fake_leave(net);
        if (!ok) {
            break;
        }
        fake_require(net, room > 0, "no room to receive into");
        size_t n = len - fed < room ? len - fed : room;
        receive(peer, dst, src + fed, n, mark);
        fed += n;
    }
    if (peer->session != NULL) {
        fake_enter(net);
        session_received_all(peer->session);
        fake_leave(net);
    }
    return fed;
}

size_t
fake_feed(struct fake_peer *peer, const void *bytes, size_t len)
{
    return fake_feed_said(peer, bytes, len, UINT64_MAX);
}

void
fake_feed_say(struct fake_peer *peer, struct say *say, size_t step)
{
    for (size_t pos = 0; pos < say->len;) {
        size_t n = say->len - pos < step ? say->len - pos : step;
        size_t fed = fake_feed(peer, say->bytes + pos, n);
        if (fed == 0) {
            break;
        }
        pos += fed;
    }
    say->len = 0;
}

void
fake_end_input(struct fake_peer *peer)
{
    if (peer->session != NULL) {
        fake_enter(peer->net);
        session_end_of_input(peer->session);
        fake_leave(peer->net);
        look_at_end(peer);
        fake_settle(peer->net);
    }
}

/* FNV-1a, 64 bits. */
static void
digest(struct fake_net *net, const uint8_t *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        net->digest = (net->digest ^ bytes[i]) * 0x100000001b3u;
    }
}

static void
keep_received(struct fake_peer *peer, const uint8_t *bytes, size_t len)
{
    while (peer->received_capacity - peer->received_bytes < len) {
        peer->received_capacity =
            peer->received_capacity == 0 ? 4096 : peer->received_capacity * 2;
        peer->received = realloc(peer->received, peer->received_capacity);
        fake_require(peer->net, peer->received != NULL, "memory");
    }
    memcpy(peer->received + peer->received_bytes, bytes, len);
    peer->received_bytes += len;
    digest(peer->net, bytes, len);
}

/* One round of spans; returns the bytes taken. */
static size_t
take_once(struct fake_peer *peer, size_t bytes)
{
    struct fake_net *net = peer->net;
    struct output_span spans[16];
    fake_enter(net);
    fake_post_mail(
        net, peer->core); /* first, so that others know of it by then */
    size_t count = session_output_spans(peer->session, spans, 16);
    fake_leave(net);
    size_t taken = 0;
    for (size_t i = 0; i < count && taken < bytes; i++) {
        size_t n = spans[i].len < bytes - taken ? spans[i].len : bytes - taken;
        fake_require(net, spans[i].len > 0, "an empty span");
        keep_received(peer, spans[i].data, n);
        taken += n;
    }
    fake_enter(net);
    session_output_sent(peer->session, taken);
    fake_leave(net);
    return taken;
}

size_t
fake_take(struct fake_peer *peer, size_t bytes)
{
    size_t taken = 0;
    while (peer->session != NULL && taken < bytes) {
        size_t n = take_once(peer, bytes - taken);
        taken += n;
        look_at_end(peer);
        if (n == 0) {
            break;
        }
    }
    if (peer->session != NULL && peer->end == SESSION_FINISHED) {
        fake_drop(peer);
    }
    fake_settle(peer->net);
    if (peer->session != NULL) {
        peer->output_ready = peer->session->output_announced;
    }
    return taken;
}

void
fake_take_all(struct fake_peer *peer)
{
    fake_take(peer, SIZE_MAX);
}

bool
fake_next(struct fake_peer *peer, struct broker_frame *frame)
{
    static const struct broker_limits limits = BROKER_LIMITS_DEFAULT;
    size_t n;
    if (peer->received_bytes == 0) {
        return false;
    }
    enum broker_status status =
        broker_frame_decode(&limits, peer->received + peer->decoded_bytes,
            peer->received_bytes - peer->decoded_bytes, frame, &n);
    if (status == BROKER_MORE) {
        return false;
    }
    fake_require(
        peer->net, status == BROKER_OK, "the core sent what is no frame");
    peer->decoded_bytes += n;
    return true;
}

uint64_t
fake_advance(struct fake_net *net, uint64_t ms)
{
    net->now_ms += ms;
    uint64_t next_ms = UINT64_MAX;
    fake_enter(net);
    for (uint32_t worker = 0; worker < net->workers; worker++) {
        core_set_now(net->cores[worker], net->now_ms);
        core_set_wall(net->cores[worker], FAKE_WALL_MS + net->now_ms);
        uint64_t due_ms;
        do {
            due_ms = core_tick(net->cores[worker]);
        } while (core_is_working(net->cores[worker]));
        next_ms = due_ms < next_ms ? due_ms : next_ms;
    }
    fake_leave(net);
    fake_require(net, next_ms > net->now_ms, "what is due was not done");
    fake_look_at_ends(net);
    fake_settle(net);
    return next_ms;
}

void
fake_shut_down(struct fake_net *net, uint32_t retry_after_ms)
{
    fake_enter(net);
    for (uint32_t worker = 0; worker < net->workers; worker++) {
        core_shut_down(net->cores[worker], retry_after_ms);
    }
    fake_leave(net);
    fake_settle(net);
}

/* ---- checks -------------------------------------------------------------- */

static void
check_session(struct fake_net *net, const struct session *session)
{
    const char *problem = output_check(&session->output);
    uint32_t draining = 0;
    uint32_t count = 0;
    const struct subscription *subscription;
    LIST_FOREACH(subscription, &session->subscriptions, of_session)
    {
        if (problem == NULL) {
            problem = output_check_books(&session->output, subscription);
        }
        draining += subscription->draining ? 1 : 0;
        count++;
    }
    if (problem != NULL) {
        net->fail(problem);
    }
    fake_require(net, draining == session->draining_count, "draining_count");
    fake_require(
        net, count == session->subscription_count, "subscription_count");
    fake_require(net,
        session->output_announced || output_is_empty(&session->output),
        "output that was not announced");
    fake_require(net,
        session->aborted || session->deadline.slot != 0 || session->starved ||
            !session_wants_input(session),
        "a session without a deadline");
}

static void
check_core(struct fake_net *net, const struct core *core)
{
    const struct session *session = NULL;
    uint64_t count = 0;
    while ((session = core_next_session(core, session)) != NULL) {
        check_session(net, session);
        count++;
    }
    fake_require(net, count == core->session_count, "session_count");
    fake_require(net, block_pool_bytes(&core->pool) <= core->pool.bytes_allowed,
        "more memory than is allowed");
}

void
fake_check(struct fake_net *net)
{
    for (uint32_t worker = 0; worker < net->workers; worker++) {
        check_core(net, net->cores[worker]);
    }
}
