/* SPDX-License-Identifier: MIT
 *
 * See fake_broker.h.
 */
#include "fake_broker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FRAME_BYTES_MAX ((size_t)1 << 17)
#define VECTORS         16

/* Like assert(), in every build. */
#define CHECK(condition)                                                       \
    do {                                                                       \
        if (!(condition)) {                                                    \
            (void)fprintf(                                                     \
                stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);        \
            abort();                                                           \
        }                                                                      \
    } while (0)

/* Memory that a test which lets malloc() fail does not take away. */
static void *
own_memory(size_t size)
{
    void *memory = NULL;
    CHECK(posix_memalign(&memory, sizeof(void *), size) == 0);
    return memory;
}

/* ---- callbacks ----------------------------------------------------------- */

static void
fake_unlock(void *context)
{
    struct fake *fake = context;
    CHECK(fake->locked == 1);
    fake->locked = 0;
}

static void
fake_lock(void *context)
{
    struct fake *fake = context;
    CHECK(fake->locked == 0);
    fake->locked = 1;
}

static struct fake_call *
record(struct fake *fake, enum fake_call_kind kind)
{
    CHECK(fake->locked == 0); /* callbacks run without the lock */
    fake->counts[kind]++;
    if (fake->forgets) {
        fake->call_count = 0;
    }
    CHECK(fake->call_count < FAKE_CALLS_MAX);
    struct fake_call *call = &fake->calls[fake->call_count++];
    *call = (struct fake_call){.kind = kind};
    return call;
}

static void
copy_text(char *dst, struct broker_bytes bytes)
{
    size_t n = bytes.len < FAKE_TEXT_MAX - 1 ? bytes.len : FAKE_TEXT_MAX - 1;
    if (n > 0) {
        memcpy(dst, bytes.data, n);
    }
    dst[n] = '\0';
}

void
fake_on_message(struct broker_client *client,
    const struct broker_message *message, void *user)
{
    struct fake *fake = user;
    struct fake_call *call = record(fake, FAKE_MESSAGE);
    (void)client;
    call->subscription = message->subscription;
    call->nth = message->nth;
    call->retained = message->retained;
    call->sequence = message->sequence;
    call->time_ms = message->time_ms;
    call->deliveries = message->deliveries;
    copy_text(call->topic, message->topic);
    copy_text(call->payload, message->payload);
    if (fake->on_message != NULL) {
        fake->on_message(fake, message);
    }
}

void
fake_on_published(struct broker_client *client,
    const struct broker_client_published *published, void *user)
{
    struct fake *fake = user;
    struct fake_call *call = record(fake, FAKE_PUBLISHED);
    (void)client;
    call->status = published->status;
    call->matched = published->matched;
    call->duplicate = published->duplicate;
    call->level = published->level;
    call->sequence = published->sequence;
    copy_text(
        call->topic, (struct broker_bytes){(const uint8_t *)published->stream,
                         strlen(published->stream)});
    if (fake->on_published != NULL) {
        fake->on_published(fake, published);
    }
}

void
fake_on_subscribed(struct broker_client *client,
    const struct broker_client_subscribed *subscribed, void *user)
{
    struct fake_call *call = record(user, FAKE_SUBSCRIBED);
    (void)client;
    call->status = subscribed->status;
    call->subscription = subscribed->subscription;
}

static void
on_reply(struct broker_client *client, enum broker_status status,
    const struct broker_message *reply, void *user)
{
    struct fake_call *call = record(user, FAKE_REPLY);
    (void)client;
    call->status = status;
    CHECK((status == BROKER_OK) == (reply != NULL));
    if (reply != NULL) {
        copy_text(call->payload, reply->payload);
    }
}

static void
on_ponged(struct broker_client *client, enum broker_status status, void *user)
{
    (void)client;
    record(user, FAKE_PONGED)->status = status;
}

static void
on_gap(struct broker_client *client, const struct broker_client_gap *gap,
    void *user)
{
    struct fake_call *call = record(user, FAKE_GAP);
    (void)client;
    call->reason = gap->reason;
    call->count = gap->count;
    call->matched = gap->subscription_count;
    call->subscription = gap->subscriptions[0];
}

static void
on_error(struct broker_client *client, const struct broker_client_error *error,
    void *user)
{
    struct fake_call *call = record(user, FAKE_ERROR);
    (void)client;
    call->status = error->status;
    call->subscription = error->subscription;
    CHECK(error->text[0] != '\0');
    copy_text(call->topic, error->topic);
}

void
fake_on_caught_up(
    struct broker_client *client, uint32_t subscription, void *user)
{
    (void)client;
    record(user, FAKE_CAUGHT_UP)->subscription = subscription;
}

static void
on_notice(struct broker_client *client,
    const struct broker_client_notice *notice, void *user)
{
    (void)client;
    record(user, FAKE_NOTICE)->reason = notice->code;
}

const struct fake_call *
fake_call(struct fake *fake)
{
    if (fake->call_next == fake->call_count) {
        return NULL;
    }
    return &fake->calls[fake->call_next++];
}

/* ---- life ---------------------------------------------------------------- */

struct fake *
fake_new(size_t buffer_bytes, size_t inbox_bytes)
{
    struct fake *fake = own_memory(sizeof *fake);
    *fake = (struct fake){.locked = 1, .features = BROKER_FEATURE_STREAMS};
    struct session_config config = {
        .unlock = fake_unlock,
        .lock = fake_lock,
        .lock_context = fake,
        .stop_count = &fake->stop_count,
        .on_error = on_error,
        .on_gap = on_gap,
        .on_notice = on_notice,
        .user = fake,
        .name = "test",
        .max_body_bytes = BROKER_BODY_BYTES_MAX,
        .buffer_bytes = buffer_bytes,
        .inbox_bytes = inbox_bytes,
        .session = {1, 2, 3},
        .random = {0xab, 0xcd},
    };
    fake->now_us = 1000000;
    session_init(&fake->session, &config);
    return fake;
}

void
fake_free(struct fake *fake)
{
    if (fake->session.state != SESSION_DOWN) {
        session_lost(&fake->session, fake->now_us);
    }
    session_end_all(&fake->session, "the end");
    session_fini(&fake->session);
    free(fake->out);
    free(fake);
}

void
fake_open(struct fake *fake, uint32_t last_publish)
{
    struct broker_frame frame;
    enum broker_status status = session_connected(&fake->session, fake->now_us);
    CHECK(status == BROKER_OK);
    bool is_hello =
        fake_take_frame(fake, &frame) && frame.type == BROKER_FRAME_HELLO;
    CHECK(is_hello);
    status = fake_welcome(fake, last_publish, 9, BROKER_BODY_BYTES_MAX);
    CHECK(status == BROKER_OK && fake->session.state == SESSION_OPEN);
}

void
fake_open_user(struct fake *fake, const char *user)
{
    struct broker_frame frame;
    enum broker_status status = session_connected(&fake->session, fake->now_us);
    CHECK(status == BROKER_OK);
    bool is_hello =
        fake_take_frame(fake, &frame) && frame.type == BROKER_FRAME_HELLO;
    CHECK(is_hello);
    status = fake_welcome_user(fake, user, 1);
    CHECK(status == BROKER_OK && fake->session.state == SESSION_OPEN);
}

void
fake_lose(struct fake *fake)
{
    session_lost(&fake->session, fake->now_us);
    fake_forget(fake);
}

/* ---- from the broker ----------------------------------------------------- */

enum broker_status
fake_feed_slowly(struct fake *fake, const uint8_t *bytes, size_t n, size_t step)
{
    size_t done = 0;
    while (done < n) {
        size_t room, part = n - done < step ? n - done : step;
        uint8_t *space = session_receive_space(&fake->session, &room);
        if (space == NULL) { /* as link.c does */
            return session_end(&fake->session, BROKER_E_NO_MEMORY, "memory");
        }
        CHECK(room > 0);
        part = part < room ? part : room;
        memcpy(space, bytes + done, part);
        session_receive_commit(&fake->session, part, fake->now_us);
        enum broker_status status =
            session_process(&fake->session, fake->now_us, false);
        if (status != BROKER_OK) {
            return status;
        }
        done += part;
    }
    return BROKER_OK;
}

enum broker_status
fake_feed(struct fake *fake, const uint8_t *bytes, size_t n)
{
    return fake_feed_slowly(fake, bytes, n, SIZE_MAX);
}

#define FEED(name, message)                                                    \
    do {                                                                       \
        uint8_t *bytes = own_memory(FRAME_BYTES_MAX);                          \
        size_t size = 0;                                                       \
        enum broker_status status =                                            \
            broker_##name##_encode(&(message), bytes, FRAME_BYTES_MAX, &size); \
        CHECK(status == BROKER_OK);                                            \
        status = fake_feed(fake, bytes, size);                                 \
        free(bytes);                                                           \
        return status;                                                         \
    } while (0)

enum broker_status
fake_welcome(struct fake *fake, uint32_t last_publish, uint8_t boot,
    uint32_t max_body_bytes)
{
    struct broker_welcome welcome = {
        .id = 1,
        .version = 1,
        .features = fake->features,
        .max_body_bytes = max_body_bytes,
        .heartbeat_ms = 15000,
        .max_subscriptions = 100,
        .max_topic_bytes = 1024,
        .max_topic_levels = 64,
        .last_publish = last_publish,
        .session = {1, 2, 3},
        .boot = {boot},
    };
    FEED(welcome, welcome);
}

enum broker_status
fake_welcome_user(struct fake *fake, const char *user, uint8_t session)
{
    uint8_t fields[512];
    size_t used = 0;
    struct broker_welcome welcome = {
        .id = 1,
        .version = 1,
        .features = fake->features,
        .max_body_bytes = BROKER_BODY_BYTES_MAX,
        .heartbeat_ms = 15000,
        .max_subscriptions = 100,
        .max_topic_bytes = 1024,
        .max_topic_levels = 64,
        .session = {session, 2, 3},
        .boot = {9},
    };
    if (user[0] != '\0') {
        enum broker_status put =
            broker_tlv_put(fields, sizeof fields, &used, BROKER_TAG_USER,
                (struct broker_bytes){(const uint8_t *)user, strlen(user)});
        CHECK(put == BROKER_OK);
    }
    welcome.tlvs = (struct broker_bytes){fields, used};
    FEED(welcome, welcome);
}

enum broker_status
fake_notice(struct fake *fake, unsigned code)
{
    struct broker_notice notice = {.code = (uint16_t)code};
    FEED(notice, notice);
}

enum broker_status
fake_puback(struct fake *fake, uint32_t id, uint32_t count, uint32_t matched)
{
    struct broker_puback puback = {.id = id,
        .level = BROKER_LEVEL_ROUTED,
        .count = count,
        .matched = matched};
    FEED(puback, puback);
}

enum broker_status
fake_puback_duplicate(struct fake *fake, uint32_t id, uint32_t count)
{
    struct broker_puback puback = {.id = id,
        .flags = BROKER_PUBACK_DUPLICATE,
        .level = BROKER_LEVEL_ROUTED,
        .count = count};
    FEED(puback, puback);
}

enum broker_status
fake_suback(struct fake *fake, uint32_t id)
{
    struct broker_suback suback = {
        .id = id, .overflow = BROKER_OVERFLOW_DROP_OLDEST};
    FEED(suback, suback);
}

enum broker_status
fake_unsuback(struct fake *fake, uint32_t id)
{
    struct broker_unsuback unsuback = {
        .id = id, .matched = 5, .delivered = 3, .dropped = 2};
    FEED(unsuback, unsuback);
}

enum broker_status
fake_context(
    struct fake *fake, const uint32_t *ids, size_t count, uint16_t flags)
{
    uint8_t wire[64];
    CHECK(count * 4 <= sizeof wire);
    for (size_t i = 0; i < count; i++) {
        broker_ids_set(wire, i, ids[i]);
    }
    struct broker_context context = {.flags = flags, .ids = {wire, count}};
    FEED(context, context);
}

static struct broker_bytes
bytes_of(const char *text)
{
    return (struct broker_bytes){(const uint8_t *)text, strlen(text)};
}

enum broker_status
fake_message(struct fake *fake, const char *topic, const char *payload)
{
    struct broker_publish publish = {
        .topic = bytes_of(topic), .payload = bytes_of(payload)};
    FEED(publish, publish);
}

enum broker_status
fake_error(struct fake *fake, uint32_t id, unsigned code, uint16_t frame_type,
    enum broker_error_class error_class)
{
    struct broker_error error = {.id = id,
        .code = (uint16_t)code,
        .frame_type = frame_type,
        .error_class = error_class};
    FEED(error, error);
}

enum broker_status
fake_gap(struct fake *fake, uint32_t id, uint64_t count, uint64_t bytes_lost)
{
    uint8_t wire[4];
    broker_ids_set(wire, 0, id);
    struct broker_gap gap = {.reason = BROKER_GAP_OVERFLOW,
        .count = count,
        .bytes = bytes_lost,
        .ids = {wire, 1}};
    FEED(gap, gap);
}

enum broker_status
fake_goaway(struct fake *fake, unsigned code, uint32_t retry_after_ms)
{
    struct broker_goaway goaway = {
        .code = (uint16_t)code, .retry_after_ms = retry_after_ms};
    FEED(goaway, goaway);
}

enum broker_status
fake_pong(struct fake *fake, uint32_t id)
{
    struct broker_ping pong = {.pong = true, .id = id};
    FEED(ping, pong);
}

enum broker_status
fake_ping(struct fake *fake, uint32_t id)
{
    struct broker_ping ping = {.id = id, .opaque = {1, 2, 3, 4, 5, 6, 7, 8}};
    FEED(ping, ping);
}

/* ---- to the broker ------------------------------------------------------- */

static void
out_reserve(struct fake *fake, size_t part)
{
    if (fake->out_capacity - fake->out_end < part) {
        fake->out_capacity = (fake->out_end + part) * 2;
        uint8_t *out = own_memory(fake->out_capacity);
        if (fake->out_end > 0) {
            memcpy(out, fake->out, fake->out_end);
        }
        free(fake->out);
        fake->out = out;
    }
}

void
fake_write(struct fake *fake, size_t n)
{
    struct iovec vectors[VECTORS];
    size_t count;
    enum broker_status status = session_flush_settled(&fake->session);
    (void)status; /* as link_bytes.c does */
    while (n > 0 &&
           (count = session_send_peek(&fake->session, vectors, VECTORS)) > 0) {
        size_t part = vectors[0].iov_len < n ? vectors[0].iov_len : n;
        out_reserve(fake, part);
        memcpy(fake->out + fake->out_end, vectors[0].iov_base, part);
        fake->out_end += part;
        session_sent(&fake->session, part);
        n -= part;
    }
}

void
fake_forget(struct fake *fake)
{
    fake->out_start = fake->out_end = 0;
}

bool
fake_take_frame(struct fake *fake, struct broker_frame *frame)
{
    const struct broker_limits limits = BROKER_LIMITS_DEFAULT;
    size_t n;
    fake_write(fake, SIZE_MAX);
    enum broker_status status =
        broker_frame_decode(&limits, fake->out + fake->out_start,
            fake->out_end - fake->out_start, frame, &n);
    if (status != BROKER_OK) {
        CHECK(status == BROKER_MORE);
        return false;
    }
    fake->out_start += n;
    return true;
}

struct broker_publish
fake_take_publish(struct fake *fake)
{
    struct broker_frame frame;
    struct broker_publish publish;
    bool took = fake_take_frame(fake, &frame);
    CHECK(took && frame.type == BROKER_FRAME_PUBLISH);
    enum broker_status status = broker_publish_decode(&frame, &publish);
    CHECK(status == BROKER_OK);
    return publish;
}

bool
fake_skip_to(struct fake *fake, uint16_t type, struct broker_frame *frame)
{
    while (fake_take_frame(fake, frame)) {
        if (frame->type == type) {
            return true;
        }
    }
    return false;
}

/* ---- the user's calls ---------------------------------------------------- */

enum broker_status
fake_take(struct fake *fake, const struct session_publish *message)
{
    size_t size;
    enum broker_status status =
        session_publish_check(&fake->session, message, &size);
    if (status != BROKER_OK) {
        return status;
    }
    if (!session_has_room(&fake->session, size)) {
        return BROKER_E_BUFFER_FULL;
    }
    return session_publish(&fake->session, message, size);
}

enum broker_status
fake_publish(
    struct fake *fake, const char *topic, const char *payload, bool numbered)
{
    struct session_publish message = {
        .topic = bytes_of(topic),
        .payload = bytes_of(payload),
        .numbered = numbered,
        .kind = PUBLISH_CALLBACK,
        .callback = fake_on_published,
        .user = fake,
    };
    return fake_take(fake, &message);
}

enum broker_status
fake_request(struct fake *fake, const char *topic, uint64_t timeout_us)
{
    uint8_t field[128];
    size_t used = 0;
    char reply_to[REQUEST_TOPIC_BYTES_MAX + 1];
    struct session_publish message = {
        .topic = bytes_of(topic),
        .numbered = true,
        .kind = PUBLISH_REQUEST,
        .token = requests_next_token(&fake->session.requests),
        .deadline_us = fake->now_us + timeout_us,
        .on_reply = on_reply,
        .user = fake,
    };
    requests_topic(fake->session.requests.inbox, message.token, reply_to);
    enum broker_status status = broker_tlv_put(field, sizeof field, &used,
        BROKER_TAG_REPLY_TO | BROKER_TAG_CRITICAL, bytes_of(reply_to));
    CHECK(status == BROKER_OK);
    message.fields = (struct broker_bytes){field, used};
    return fake_take(fake, &message);
}

static uint32_t
subscribe(struct fake *fake, const char *filter, bool for_next)
{
    struct broker_client_subscription subscription = {
        .filter = filter,
        .on_message = for_next ? NULL : fake_on_message,
        .user = fake,
    };
    const struct session_outcome outcome = {fake_on_subscribed, fake};
    uint32_t id = 0;
    enum broker_status status =
        session_subscribe(&fake->session, &subscription, &outcome, &id);
    return status == BROKER_OK ? id : 0;
}

uint32_t
fake_subscribe(struct fake *fake, const char *filter)
{
    return subscribe(fake, filter, false);
}

uint32_t
fake_subscribe_next(struct fake *fake, const char *filter)
{
    return subscribe(fake, filter, true);
}

void
fake_flush(struct fake *fake)
{
    enum broker_status status =
        session_barrier(&fake->session, false, on_ponged, fake);
    CHECK(status == BROKER_OK);
}
