/* SPDX-License-Identifier: MIT
 *
 * A hostile broker. The input is u8, what callbacks do (0: nothing), and then a
 * list of steps, most of which feed bytes to a session that has subscriptions,
 * publishes and requests under way; some are calls of the user, lost
 * connections, time that passes and memory that runs out. At the end every
 * outcome must have been told, once.
 */
#include "fuzz.h"

#include "../core/allocator.h"
#include "fake_stream.h"

#define BUFFER ((size_t)1 << 16)
#define S      UINT64_C(1000000)

enum step {
    STEP_FEED,
    STEP_FEED_SLOWLY,
    STEP_FRAME,
    STEP_GOOD,
    STEP_PUBLISH,
    STEP_SUBSCRIBE,
    STEP_REQUEST,
    STEP_FLUSH,
    STEP_WRITE,
    STEP_NEXT,
    STEP_TIME,
    STEP_LOSE,
    STEP_UNSUBSCRIBE,
    STEP_LEAVE,
    STEP_MEMORY,
    STEPS,
};

/* What callbacks do, and what must be told at the end. One input at a time. */
#define CALLS_BACK_MAX 64
static struct {
    uint8_t in_callbacks;
    uint64_t calls_back;
    uint64_t publishes, requests, subscriptions;
} run;

/* A connection, up to WELCOME or only up to HELLO. It stays down if there is no
 * memory. */
static void
reconnect(struct fake *fake, bool open)
{
    if (fake->session.state != SESSION_DOWN) {
        fake_lose(fake);
    }
    if (session_connected(&fake->session, fake->now_us) != BROKER_OK) {
        return;
    }
    fake_write(fake, SIZE_MAX);
    fake_forget(fake);
    /* Sometimes a broker that has settled some of what was sent. */
    uint32_t last = (uint32_t)(fake->session.stats.connects % 4);
    if (open &&
        fake_welcome(fake, last, 1, BROKER_BODY_BYTES_MAX) != BROKER_OK) {
        fake_lose(fake);
    }
}

static void
ponged(struct broker_client *client, enum broker_status status, void *user)
{
    struct fake *fake = user;
    (void)client;
    (void)status;
    fake->counts[FAKE_PONGED]++;
}

/* Plain ones, and from 128 on readers and durable consumers. */
static uint32_t
subscribe(struct fake *fake, uint8_t argument)
{
    bool for_next = argument % 2 != 0;
    if (argument < 128) {
        return for_next ? fake_subscribe_next(fake, "a/b")
                        : fake_subscribe(fake, "a/#");
    }
    struct broker_client_consume asked = {.consumer = "work"};
    if (argument % 4 < 2) {
        asked = (struct broker_client_consume){
            .stream = "S", .end = argument % 8 < 4};
    }
    return fake_consume(fake, asked, for_next);
}

static void
call(struct fake *fake, enum step step, uint8_t argument)
{
    enum broker_status status = BROKER_OK;
    uint32_t id = argument % 4 + 1u;
    switch (step) {
    case STEP_PUBLISH:
        status = fake_publish(fake, "a/b", "payload", argument % 2 == 0);
        run.publishes += status == BROKER_OK && argument % 2 == 0;
        break;
    case STEP_SUBSCRIBE:
        run.subscriptions += subscribe(fake, argument) != 0;
        break;
    case STEP_REQUEST:
        status = fake_request(fake, "q", argument * S / 10);
        run.requests += status == BROKER_OK;
        break;
    case STEP_FLUSH:
        status =
            session_barrier(&fake->session, argument % 2 == 0, ponged, fake);
        break;
    case STEP_WRITE:
        fake_write(fake, argument < 200 ? argument * 4u : SIZE_MAX);
        fake_forget(fake);
        break;
    case STEP_NEXT: {
        struct inbox_entry *entry = session_take_event(&fake->session);
        broker_client_event_free(entry == NULL ? NULL : &entry->event);
        break;
    }
    case STEP_UNSUBSCRIBE:
        status = argument < 128 ? session_unsubscribe(&fake->session, id,
                                      argument % 3 == 0, NULL, NULL)
                                : session_settle(&fake->session, id,
                                      (enum session_settle)(argument / 4 % 5),
                                      argument / 8 % 8, argument % 2);
        break;
    case STEP_LEAVE:
        if (fake->session.state == SESSION_OPEN) {
            status = session_leave(&fake->session);
        }
        break;
    case STEP_MEMORY: /* an allocation fails; above 128: and all after it */
        allocator.countdown = argument & 127u;
        allocator.and_all_after = (argument & 128) != 0;
        break;
    default:
        break;
    }
    (void)status;
}

/* A callback of the user that calls the session, as the public calls do. */
static void
call_back(struct fake *fake)
{
    static const enum step steps[] = {STEP_PUBLISH, STEP_SUBSCRIBE,
        STEP_UNSUBSCRIBE, STEP_REQUEST, STEP_FLUSH, STEP_NEXT, STEP_WRITE,
        STEP_LEAVE};
    if (run.in_callbacks == 0 || run.calls_back == CALLS_BACK_MAX) {
        return;
    }
    uint64_t n = run.in_callbacks * (1 + run.calls_back++);
    fake->locked = 1;
    call(fake, steps[n % (sizeof steps / sizeof steps[0])], (uint8_t)(n / 8));
    fake->locked = 0;
}

static void
on_message(struct fake *fake, const struct broker_message *message)
{
    (void)message;
    call_back(fake);
}

static void
on_published(struct fake *fake, const struct broker_client_published *published)
{
    (void)published;
    call_back(fake);
}

/* A frame with a good header: type, flags, id, length of the body, body. Gets
 * far behind the first checks. Returns how many bytes it used. */
#define FRAME_HEAD 4
static size_t
feed_frame(struct fake *fake, const uint8_t *data, size_t size,
    enum broker_status *status)
{
    static const uint16_t types[] = {BROKER_FRAME_WELCOME, BROKER_FRAME_ERROR,
        BROKER_FRAME_PING, BROKER_FRAME_PONG, BROKER_FRAME_GOAWAY,
        BROKER_FRAME_PUBLISH, BROKER_FRAME_PUBACK, BROKER_FRAME_SUBACK,
        BROKER_FRAME_UNSUBACK, BROKER_FRAME_CONTEXT, BROKER_FRAME_GAP,
        BROKER_FRAME_NOTICE, BROKER_FRAME_CONSUME_REPLY, BROKER_FRAME_POSITION};
    uint8_t frame[BROKER_HEADER_BYTES + UINT8_MAX];
    if (size < FRAME_HEAD) {
        return size;
    }
    size_t left = size - FRAME_HEAD;
    size_t body = data[3] < left ? data[3] : left;
    struct broker_header header = {
        .body_bytes = (uint32_t)body,
        .type = types[data[0] % (sizeof types / sizeof types[0])],
        .flags = data[1] % 4,
        .id = data[2],
    };
    broker_header_encode(&header, frame);
    memcpy(frame + BROKER_HEADER_BYTES, data + FRAME_HEAD, body);
    *status = fake_feed(fake, frame, BROKER_HEADER_BYTES + body);
    return FRAME_HEAD + body;
}

/* A frame that an honest broker might send, now or at another time. */
static enum broker_status
feed_good(struct fake *fake, uint8_t what, uint8_t id)
{
    const uint32_t ids[] = {id % 4 + 1u, id / 4 % 4 + 1u};
    char reply_topic[REQUEST_TOPIC_BYTES_MAX + 1];
    switch (what % 14) {
    case 0:
        return fake_puback(fake, id % 8, id / 8 + 1u, id % 3);
    case 1:
        return fake_suback(fake, ids[0]);
    case 2:
        return fake_context(fake, ids, id % 2 + 1u, id / 128);
    case 3:
        return fake_message(fake, id % 2 == 0 ? "a/b" : "a", "payload");
    case 4:
        return fake_gap(fake, ids[0], id + 1u, id);
    case 5:
        return fake_unsuback(fake, ids[0]);
    case 6:
        return fake_pong(fake, id % 8);
    case 7:
        return fake_error(fake, id % 8, BROKER_E_MEMORY,
            id % 2 == 0 ? BROKER_FRAME_PUBLISH : BROKER_FRAME_SUBSCRIBE,
            BROKER_CLASS_REQUEST);
    case 8:
        requests_topic(fake->session.requests.inbox, id % 8, reply_topic);
        return fake_message(fake, reply_topic, "reply");
    case 9:
        return fake_error(fake, ids[0], BROKER_E_UNKNOWN_SUBSCRIPTION,
            BROKER_FRAME_UNSUBSCRIBE, BROKER_CLASS_REQUEST);
    case 10:
        return fake_consume_reply(
            fake, ids[0], (enum broker_ack_mode)(id / 4 % 4), id / 16, id % 8);
    case 11:
        return fake_position(
            fake, ids[0], id / 4 % 8, id / 32, id / 32 > 0 && id % 2);
    case 12:
        return fake_stream_messages(
            fake, ids[0], id / 4 % 8, id / 32 + 1u, id % 2);
    default:
        return fake_error(fake, ids[0], BROKER_E_UNKNOWN_STREAM,
            BROKER_FRAME_CONSUME, BROKER_CLASS_SUBSCRIPTION);
    }
}

/* One step; returns how many bytes of the input it used. */
static size_t
take_step(struct fake *fake, const uint8_t *data, size_t size)
{
    enum step step = (enum step)(data[0] % STEPS);
    uint8_t argument = data[1];
    size_t n = argument < size - 2 ? argument : size - 2;
    size_t used = 2;
    enum broker_status status = BROKER_OK;
    if (fake->session.state == SESSION_DOWN) {
        reconnect(fake, true);
        if (fake->session.state == SESSION_DOWN) {
            allocator.countdown = 0; /* nothing else would happen */
            return used;
        }
    }
    switch (step) {
    case STEP_FRAME:
        used = 1 + feed_frame(fake, data + 1, size - 1, &status);
        break;
    case STEP_GOOD:
        status = feed_good(fake, argument, size > 2 ? data[2] : 0);
        used = size > 2 ? 3 : 2;
        break;
    case STEP_FEED:
        status = fake_feed(fake, data + 2, n);
        used = 2 + n;
        break;
    case STEP_FEED_SLOWLY:
        status = fake_feed_slowly(fake, data + 2, n, 1 + argument % 5u);
        used = 2 + n;
        break;
    case STEP_TIME:
        fake->now_us += argument * S / 4;
        status = session_tick(&fake->session, fake->now_us);
        break;
    case STEP_LOSE:
        reconnect(fake, argument % 4 != 0);
        break;
    default:
        call(fake, step, argument);
        break;
    }
    if (status != BROKER_OK) {
        reconnect(fake, true);
    }
    return used;
}

/* Everything that is open is told now, and was not told before. */
static void
finish(struct fake *fake)
{
    allocator.countdown = 0;
    fake->on_message = NULL;
    fake->on_published = NULL;
    if (fake->session.state != SESSION_DOWN) {
        fake_lose(fake);
    }
    session_end_all(&fake->session, "the end");
    FUZZ_REQUIRE(fake->counts[FAKE_PUBLISHED] == run.publishes,
        "a publish was not told, or twice");
    FUZZ_REQUIRE(fake->counts[FAKE_REPLY] == run.requests,
        "a request was not told, or twice");
    FUZZ_REQUIRE(fake->counts[FAKE_SUBSCRIBED] <= run.subscriptions,
        "a subscription was told twice");
    fake_free(fake);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1) {
        return 0;
    }
    memset(&run, 0, sizeof run);
    run.in_callbacks = data[0];
    data++;
    size--;
    allocator = (struct allocator){.inside = true};
    struct fake *fake = fake_new(BUFFER, 1000);
    fake->forgets = true;
    fake->on_message = on_message;
    fake->on_published = on_published;
    reconnect(fake, true);
    call(fake, STEP_SUBSCRIBE, 0);
    call(fake, STEP_SUBSCRIBE, 1);
    call(fake, STEP_PUBLISH, 0);
    call(fake, STEP_REQUEST, 10);
    call(fake, STEP_WRITE, UINT8_MAX);
    while (size >= 2) {
        size_t used = take_step(fake, data, size);
        data += used;
        size -= used;
    }
    finish(fake);
    return 0;
}
