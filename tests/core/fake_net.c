/* SPDX-License-Identifier: MIT
 *
 * The fake network; see fake_net.h. */
#include "fake_net.h"

#include "output_check.h"
#include "session.h"

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

static void
require(struct fake_net *net, bool good, const char *problem)
{
    if (!good) {
        net->fail(problem);
        abort();
    }
}

static void
enter(struct fake_net *net)
{
    if (net->guard != NULL) {
        net->guard(true);
    }
}

static void
leave(struct fake_net *net)
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
    require(net, text != NULL, "the log is given no text");
    require(net, (size_t)event < sizeof net->logged / sizeof net->logged[0],
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

static void
post_hook(void *arg, uint32_t worker, struct mailbag *bags)
{
    struct fake_net *net = arg;
    struct fake_mail *mail = &net->mail[worker];
    if (mail->first == NULL) {
        mail->first = bags;
    } else {
        mail->last->next = bags;
    }
    while (bags->next != NULL) {
        bags = bags->next;
    }
    mail->last = bags;
}

static void look_at_end(struct fake_peer *peer);

/* Carry mail until nobody has anything more to say. */
static void
settle(struct fake_net *net)
{
    bool quiet = net->workers < 2;
    while (!quiet) {
        quiet = true;
        for (uint32_t worker = 0; worker < net->workers; worker++) {
            core_post_mail(net->cores[worker]);
        }
        for (uint32_t worker = 0; worker < net->workers; worker++) {
            struct mailbag *bags = net->mail[worker].first;
            if (bags != NULL) {
                quiet = false;
                net->mail[worker] = (struct fake_mail){NULL, NULL};
                core_receive_mail(net->cores[worker], bags);
            }
        }
    }
    if (net->workers < 2) {
        return;
    }
    for (struct fake_peer *peer = net->peers; peer != NULL; peer = peer->next) {
        if (peer->session != NULL) {
            look_at_end(peer);
        }
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
        .name = "fake"};
}

void
fake_net_init(struct fake_net *net, const struct core_options *options,
    uint64_t seed, void (*guard)(bool inside))
{
    *net = (struct fake_net){.options = *options,
        .now_ms = 1000,
        .random = {seed},
        .guard = guard,
        .fail = fail_default};
    struct core_hooks hooks = {.output_ready = output_ready_hook,
        .log = log_hook,
        .answer = answer_hook,
        .random = random_hook,
        .post = post_hook,
        .arg = net};
    net->workers = options->workers == 0 ? 1 : options->workers;
    random_hook(net, net->boot, sizeof net->boot);
    net->random.state = seed;
    enter(net);
    for (uint32_t worker = 0; worker < net->workers; worker++) {
        struct core_options own = *options;
        if (net->workers > 1) {
            own.worker = worker;
            own.shared_bytes = &net->shared_bytes;
            own.boot = net->boot;
        }
        net->cores[worker] = core_new(&own, &hooks, net->now_ms);
    }
    net->core = net->cores[0];
    leave(net);
}

/* All memory in use is accounted for: the shared receive block and retained
 * values. */
static void
check_baseline(struct fake_net *net, const struct core *core)
{
    uint64_t in_use = core->pool.bytes_in_use;
    uint64_t shared =
        core->intake.current == NULL ? 0 : core->intake.current->capacity;
    require(net, in_use >= shared, "less memory in use than is shared");
    require(net, core->retained.bytes > 0 || in_use == shared,
        "blocks are in use and nobody has them");
    require(net, core->session_count == 0 && core->index.count == 0,
        "sessions or subscriptions are left");
    require(net, core->subscriptions.count == 0, "subscriptions are left");
    require(net, core->deadlines.count == 0, "deadlines are left");
    require(net, LIST_EMPTY(&core->slow), "slow sessions are left");
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
        settle(net);
    }
    for (uint32_t worker = 0; worker < net->workers; worker++) {
        if (net->cores[worker] != NULL) {
            check_baseline(net, net->cores[worker]);
        }
        enter(net);
        core_free(net->cores[worker]);
        leave(net);
    }
    net->core = NULL;
}

/* ---- peers --------------------------------------------------------------- */

struct fake_peer *
fake_connect(struct fake_net *net)
{
    struct fake_peer *peer = calloc(1, sizeof *peer);
    require(net, peer != NULL, "memory");
    peer->net = net;
    peer->next = net->peers;
    net->peers = peer;
    enter(net);
    peer->core = net->cores[net->peer_ids % net->workers];
    peer->session = session_new(peer->core, peer, ++net->peer_ids, "fake");
    leave(net);
    return peer;
}

void
fake_drop(struct fake_peer *peer)
{
    if (peer->session != NULL) {
        enter(peer->net);
        session_free(peer->session);
        leave(peer->net);
        peer->session = NULL;
        settle(peer->net);
    }
}

/* As the real net does: ask after each thing that happened. */
static void
look_at_end(struct fake_peer *peer)
{
    peer->end = session_end(peer->session);
    if (peer->end == SESSION_ABORTED) {
        fake_drop(peer);
    }
}

size_t
fake_feed(struct fake_peer *peer, const void *bytes, size_t len)
{
    struct fake_net *net = peer->net;
    const uint8_t *src = bytes;
    size_t fed = 0;
    while (fed < len && peer->session != NULL) {
        uint8_t *dst;
        size_t room;
        enter(net);
        bool ok = session_reserve(peer->session, &dst, &room);
        leave(net);
        if (!ok) {
            break;
        }
        require(net, room > 0, "no room to receive into");
        size_t n = len - fed < room ? len - fed : room;
        memcpy(dst, src + fed, n);
        fed += n;
        enter(net);
        session_received(peer->session, n);
        leave(net);
        look_at_end(peer);
        settle(net);
    }
    if (peer->session != NULL) {
        enter(net);
        session_received_all(peer->session);
        leave(net);
    }
    return fed;
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
        enter(peer->net);
        session_end_of_input(peer->session);
        leave(peer->net);
        look_at_end(peer);
        settle(peer->net);
    }
}

static void
keep_received(struct fake_peer *peer, const uint8_t *bytes, size_t len)
{
    while (peer->received_capacity - peer->received_bytes < len) {
        peer->received_capacity =
            peer->received_capacity == 0 ? 4096 : peer->received_capacity * 2;
        peer->received = realloc(peer->received, peer->received_capacity);
        require(peer->net, peer->received != NULL, "memory");
    }
    memcpy(peer->received + peer->received_bytes, bytes, len);
    peer->received_bytes += len;
}

/* One round of spans; returns the bytes taken. */
static size_t
take_once(struct fake_peer *peer, size_t bytes)
{
    struct fake_net *net = peer->net;
    struct output_span spans[16];
    enter(net);
    size_t count = session_output_spans(peer->session, spans, 16);
    leave(net);
    size_t taken = 0;
    for (size_t i = 0; i < count && taken < bytes; i++) {
        size_t n = spans[i].len < bytes - taken ? spans[i].len : bytes - taken;
        require(net, spans[i].len > 0, "an empty span");
        keep_received(peer, spans[i].data, n);
        taken += n;
    }
    enter(net);
    session_output_sent(peer->session, taken);
    leave(net);
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
    settle(peer->net);
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
    require(peer->net, status == BROKER_OK, "the core sent what is no frame");
    peer->decoded_bytes += n;
    return true;
}

uint64_t
fake_advance(struct fake_net *net, uint64_t ms)
{
    net->now_ms += ms;
    uint64_t next_ms = UINT64_MAX;
    enter(net);
    for (uint32_t worker = 0; worker < net->workers; worker++) {
        core_set_now(net->cores[worker], net->now_ms);
        uint64_t due_ms = core_tick(net->cores[worker]);
        next_ms = due_ms < next_ms ? due_ms : next_ms;
    }
    leave(net);
    require(net, next_ms > net->now_ms, "what is due was not done");
    for (struct fake_peer *peer = net->peers; peer != NULL; peer = peer->next) {
        if (peer->session != NULL) {
            look_at_end(peer);
        }
    }
    settle(net);
    return next_ms;
}

void
fake_shut_down(struct fake_net *net, uint32_t retry_after_ms)
{
    for (uint32_t worker = 0; worker < net->workers; worker++) {
        core_shut_down(net->cores[worker], retry_after_ms);
    }
    settle(net);
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
    require(net, draining == session->draining_count, "draining_count");
    require(net, count == session->subscription_count, "subscription_count");
    require(net, session->output_announced || output_is_empty(&session->output),
        "output that was not announced");
    require(net,
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
    require(net, count == core->session_count, "session_count");
    require(net, block_pool_bytes(&core->pool) <= core->pool.bytes_allowed,
        "more memory than is allowed");
}

void
fake_check(struct fake_net *net)
{
    for (uint32_t worker = 0; worker < net->workers; worker++) {
        check_core(net, net->cores[worker]);
    }
}
