/* SPDX-License-Identifier: MIT
 *
 * A session under test with everything around it made by hand: the bytes of the
 * broker, the clock, and a list of what was called back. No sockets, no time.
 */
#ifndef BROKER_TEST_FAKE_BROKER_H
#define BROKER_TEST_FAKE_BROKER_H

#include <stdatomic.h>

#include "session.h"

#define FAKE_CALLS_MAX 256
#define FAKE_TEXT_MAX  96

/* One callback that ran. */
enum fake_call_kind {
    FAKE_MESSAGE,
    FAKE_PUBLISHED,
    FAKE_SUBSCRIBED,
    FAKE_UNSUBSCRIBED,
    FAKE_REPLY,
    FAKE_PONGED,
    FAKE_GAP,
    FAKE_ERROR,
    FAKE_NOTICE,
    FAKE_CAUGHT_UP,
    FAKE_KINDS,
};
struct fake_call {
    enum fake_call_kind kind;
    enum broker_status status;
    void *user;
    uint32_t subscription, nth;
    uint64_t matched, count;
    bool retained, duplicate;
    unsigned reason;
    uint64_t sequence, time_ms; /* of a message; or of what was published */
    uint32_t deliveries;
    enum broker_level level;
    char topic[FAKE_TEXT_MAX], payload[FAKE_TEXT_MAX];
};

struct fake {
    struct session session;
    atomic_uint stop_count;
    uint64_t now_us;
    struct fake_call calls[FAKE_CALLS_MAX];
    size_t call_count, call_next;
    uint64_t counts[FAKE_KINDS]; /* of all calls, ever */
    uint64_t features;           /* for WELCOME */
    bool forgets;    /* more calls than fit may come: only the last counts */
    unsigned locked; /* 1 while the session has the lock */
    uint8_t *out;    /* written and not looked at yet */
    size_t out_start, out_end, out_capacity;
    /* Run instead of recording, if set: may call the session. */
    void (*on_message)(struct fake *fake, const struct broker_message *message);
    void (*on_published)(
        struct fake *fake, const struct broker_client_published *published);
};

/* A session that is down. */
struct fake *fake_new(size_t buffer_bytes, size_t inbox_bytes);
void fake_free(struct fake *fake);
/* Connect and shake hands; last_publish for WELCOME. Looks at HELLO. */
void fake_open(struct fake *fake, uint32_t last_publish);
/* The same for a user. */
void fake_open_user(struct fake *fake, const char *user);
void fake_lose(struct fake *fake);

/* Bytes from the broker; the first status that is not OK ends it. */
enum broker_status fake_feed(struct fake *fake, const uint8_t *bytes, size_t n);
/* The same, `step` bytes at a time. */
enum broker_status fake_feed_slowly(
    struct fake *fake, const uint8_t *bytes, size_t n, size_t step);

/* Frames of the broker, fed at once. */
enum broker_status fake_welcome(struct fake *fake, uint32_t last_publish,
    uint8_t boot, uint32_t max_body_bytes);
/* The same for a user ("": it is not said) in a session of this first byte. */
enum broker_status fake_welcome_user(
    struct fake *fake, const char *user, uint8_t session);
enum broker_status fake_notice(struct fake *fake, unsigned code);
enum broker_status fake_puback(
    struct fake *fake, uint32_t id, uint32_t count, uint32_t matched);
enum broker_status fake_puback_duplicate(
    struct fake *fake, uint32_t id, uint32_t count);
enum broker_status fake_suback(struct fake *fake, uint32_t id);
enum broker_status fake_unsuback(struct fake *fake, uint32_t id);
enum broker_status fake_context(
    struct fake *fake, const uint32_t *ids, size_t count, uint16_t flags);
enum broker_status fake_message(
    struct fake *fake, const char *topic, const char *payload);
enum broker_status fake_error(struct fake *fake, uint32_t id, unsigned code,
    uint16_t frame_type, enum broker_error_class error_class);
enum broker_status fake_gap(
    struct fake *fake, uint32_t id, uint64_t count, uint64_t bytes);
enum broker_status fake_goaway(
    struct fake *fake, unsigned code, uint32_t retry_after_ms);
enum broker_status fake_pong(struct fake *fake, uint32_t id);
enum broker_status fake_ping(struct fake *fake, uint32_t id);

/* Let the session write everything, then take the next frame that it wrote.
 * False: there is none. The view is good until the next call. */
bool fake_take_frame(struct fake *fake, struct broker_frame *frame);
/* The next frame, which must be a PUBLISH. */
struct broker_publish fake_take_publish(struct fake *fake);
/* Skip frames up to one of this type; false: there is none. */
bool fake_skip_to(struct fake *fake, uint16_t type, struct broker_frame *frame);
/* Write `n` bytes only, and keep them for take_frame. */
void fake_write(struct fake *fake, size_t n);
/* Forget what was written. */
void fake_forget(struct fake *fake);

/* Calls of the user, with the fake as user data. */
enum broker_status fake_publish(
    struct fake *fake, const char *topic, const char *payload, bool numbered);
enum broker_status fake_request(
    struct fake *fake, const char *topic, uint64_t timeout_us);
uint32_t fake_subscribe(struct fake *fake, const char *filter);
uint32_t fake_subscribe_next(struct fake *fake, const char *filter);
void fake_flush(struct fake *fake);

/* A publish and its callbacks as the calls above make them, for others. */
broker_client_published_fn fake_on_published;
broker_client_message_fn fake_on_message;
broker_client_subscribed_fn fake_on_subscribed;
broker_client_caught_up_fn fake_on_caught_up;
enum broker_status fake_take(
    struct fake *fake, const struct session_publish *message);

/* The next callback that ran and was not looked at, or NULL. */
const struct fake_call *fake_call(struct fake *fake);

#endif
