/* SPDX-License-Identifier: MIT
 *
 * Sessions without sockets. See core_rig.h.
 *
 * CMakeLists.txt compiles this file without tail calls: callgrind has to see
 * where a measured function ends. */
#include "core_rig.h"

#include "core.h"
#include "mail.h"
#include "measure.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SPANS_MAX 64

/* ---- hooks of the core --------------------------------------------------- */

static void
output_ready(void *owner)
{
    struct core_peer *peer = owner;
    peer->rig->ready[peer->rig->ready_count++] = peer;
}

static void
log_event(void *arg, enum core_event event, const struct session *session,
    enum broker_status code, const char *text)
{
    (void)arg;
    (void)session;
    if (event != CORE_EVENT_OPENED) {
        give_up(
            "the core says %s: %s", broker_status_name((unsigned)code), text);
    }
}

static enum broker_status
answer(void *arg, const struct core *core, struct broker_bytes topic,
    struct broker_bytes payload, struct buffer *reply)
{
    (void)arg;
    (void)core;
    (void)topic;
    (void)payload;
    (void)reply;
    return BROKER_E_RESERVED_TOPIC;
}

/* The same bytes in every run: seeds of hashes are made of them. */
static void
fill_random(void *arg, uint8_t *dst, size_t len)
{
    struct core_rig *rig = arg;
    for (size_t i = 0; i < len; i++) {
        rig->random = rig->random * UINT64_C(6364136223846793005) +
                      UINT64_C(1442695040888963407);
        dst[i] = (uint8_t)(rig->random >> 56);
    }
}

static void
post(void *arg, uint32_t worker, struct mailbag *bags)
{
    struct core_rig *rig = arg;
    struct core_mail *mail = &rig->mail[worker];
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

/* ---- what the daemon asks of the core ------------------------------------ */

static uint8_t *
reserve(struct core_peer *peer, size_t *room)
{
    uint8_t *dst;
    if (!session_reserve(peer->session, &dst, room)) {
        give_up("the core has no memory to receive into");
    }
    return dst;
}

static void
send_all(struct core_peer *peer)
{
    struct output_span spans[SPANS_MAX];
    size_t bytes;
    do {
        size_t count = session_output_spans(peer->session, spans, SPANS_MAX);
        bytes = 0;
        for (size_t i = 0; i < count; i++) {
            bytes += spans[i].len;
        }
        session_output_sent(peer->session, bytes);
    } while (bytes > 0);
}

static void
send_ready(struct core_rig *rig)
{
    for (size_t i = 0; i < rig->ready_count; i++) {
        send_all(rig->ready[i]);
    }
    rig->ready_count = 0;
}

/* Every worker posts and receives; false if there was no mail. */
static bool
exchange_mail(struct core_rig *rig)
{
    bool some = false;
    for (uint32_t i = 0; i < rig->workers; i++) {
        core_post_mail(rig->cores[i]);
    }
    for (uint32_t i = 0; i < rig->workers; i++) {
        struct mailbag *bags = rig->mail[i].first;
        if (bags != NULL) {
            rig->mail[i] = (struct core_mail){NULL, NULL};
            core_receive_mail(rig->cores[i], bags);
            some = true;
        }
    }
    return some;
}

static void
end_turn(struct core_peer *from)
{
    struct core_rig *rig = from->rig;
    session_received_all(from->session);
    for (uint32_t i = 0; i < rig->workers; i++) {
        core_tick(rig->cores[i]);
    }
    send_ready(rig);
    while (rig->workers > 1 && exchange_mail(rig)) {
        send_ready(rig);
    }
}

static void
run_turn(struct core_peer *from, const uint8_t *bytes, size_t len)
{
    while (len > 0) {
        size_t room;
        uint8_t *dst = reserve(from, &room);
        room = room < len ? room : len;
        memcpy(dst, bytes, room);
        session_received(from->session, room);
        bytes += room;
        len -= room;
    }
    end_turn(from);
}

/* ---- the same, measured -------------------------------------------------- */

static __attribute__((noinline)) uint8_t *
measured_reserve(struct core_peer *peer, size_t *room)
{
    return reserve(peer, room);
}

static __attribute__((noinline)) void
measured_receive(struct core_peer *peer, size_t len)
{
    session_received(peer->session, len);
}

static __attribute__((noinline)) void
measured_end_turn(struct core_peer *from)
{
    end_turn(from);
}

static uint64_t
cpu_ns(void)
{
    struct timespec t;
    if (clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t) != 0) {
        give_up("no CPU clock");
    }
    return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

static void
run_measured_turn(struct core_peer *from, const uint8_t *bytes, size_t len)
{
    struct core_rig *rig = from->rig;
    uint64_t start = cpu_ns();
    while (len > 0) {
        size_t room;
        uint8_t *dst = measured_reserve(from, &room);
        room = room < len ? room : len;
        /* What the kernel would do does not count. */
        rig->measured_ns += cpu_ns() - start;
        memcpy(dst, bytes, room);
        start = cpu_ns();
        measured_receive(from, room);
        bytes += room;
        len -= room;
    }
    measured_end_turn(from);
    rig->measured_ns += cpu_ns() - start;
}

void
core_rig_turn(
    struct core_peer *from, const uint8_t *bytes, size_t len, bool measured)
{
    struct core_rig *rig = from->rig;
    rig->now_ms++;
    for (uint32_t i = 0; i < rig->workers; i++) {
        core_set_now(rig->cores[i], rig->now_ms);
    }
    if (measured) {
        run_measured_turn(from, bytes, len);
    } else {
        run_turn(from, bytes, len);
    }
}

/* ---- life ---------------------------------------------------------------- */

/* Limits that no load here meets, and times that do not come. */
static const struct core_options core_options = {
    .max_body_bytes = BROKER_BODY_BYTES_MAX,
    .max_topic_bytes = 1024,
    .max_topic_levels = 64,
    .max_subscriptions = 1000000,
    .max_output_bytes = 64u << 20,
    .max_memory_bytes = UINT64_C(4) << 30,
    .max_retained_topics = 100,
    .max_retained_bytes = 1u << 20,
    .max_sessions = 1000,
    .session_memory_ms = 60000,
    .handshake_timeout_ms = 600000,
    .heartbeat_ms = 300000,
    .heartbeat_min_ms = 1000,
    .heartbeat_max_ms = 300000,
    .write_timeout_ms = 60000,
    .half_close_linger_ms = 5000,
    .max_user_connections = 1000,
    .allow_block = true,
    .block_timeout_ms = 2000,
    .name = "bench"};

static void
greet(struct core_peer *peer)
{
    uint8_t frame[128];
    size_t len;
    struct broker_hello hello = {.id = 1,
        .version_min = 1,
        .version_max = 1,
        .max_body_bytes = BROKER_BODY_BYTES_MAX,
        .heartbeat_ms = core_options.heartbeat_max_ms};
    if (broker_hello_encode(&hello, frame, sizeof(frame), &len) != BROKER_OK) {
        give_up("HELLO does not encode");
    }
    core_rig_turn(peer, frame, len, false);
}

static void
open_cores(struct core_rig *rig)
{
    static const uint8_t boot[BROKER_SESSION_BYTES] = "bench";
    const struct core_hooks hooks = {.output_ready = output_ready,
        .log = log_event,
        .answer = answer,
        .random = fill_random,
        .post = post,
        .arg = rig};
    for (uint32_t i = 0; i < rig->workers; i++) {
        struct core_options options = core_options;
        if (rig->workers > 1) {
            options.worker = i;
            options.workers = rig->workers;
            options.shared_bytes = &rig->shared_bytes;
            options.boot = boot;
        }
        rig->cores[i] = core_new(&options, &hooks, rig->now_ms);
        if (rig->cores[i] == NULL) {
            give_up("out of memory");
        }
    }
}

void
core_rig_open(struct core_rig *rig, size_t peer_count, uint32_t workers)
{
    *rig = (struct core_rig){
        .now_ms = 1, .peer_count = peer_count, .workers = workers};
    open_cores(rig);
    rig->peers = allocate(peer_count * sizeof(*rig->peers));
    rig->ready = allocate(peer_count * sizeof(struct core_peer *));
    for (size_t i = 0; i < peer_count; i++) {
        struct core_peer *peer = &rig->peers[i];
        peer->rig = rig;
        peer->session =
            session_new(rig->cores[i % workers], peer, i + 1, "bench");
        if (peer->session == NULL) {
            give_up("out of memory");
        }
        greet(peer);
    }
}

void
core_rig_close(struct core_rig *rig)
{
    for (size_t i = 0; i < rig->peer_count; i++) {
        session_free(rig->peers[i].session);
    }
    while (rig->workers > 1 && exchange_mail(rig)) {
        continue;
    }
    for (uint32_t i = 0; i < rig->workers; i++) {
        core_free(rig->cores[i]);
    }
    free(rig->peers);
    free(rig->ready);
}

uint64_t
core_rig_delivered(const struct core_rig *rig)
{
    uint64_t delivered = 0;
    for (uint32_t i = 0; i < rig->workers; i++) {
        struct core_stats stats;
        core_get_stats(rig->cores[i], &stats);
        if (stats.dropped_messages > 0 || stats.no_match_messages > 0 ||
            stats.refused_publishes > 0) {
            give_up("the core did not deliver everything");
        }
        delivered += stats.delivered_messages;
    }
    return delivered;
}
