/* SPDX-License-Identifier: MIT
 *
 * One broker with several connections, fed with anything, in any pieces, while
 * they take what they like, time passes, and memory runs out.
 *
 * Input: u8, of which & 3 is the number of workers less 1. Then chunks of
 * u8 what, u8 n, and for some n bytes more.
 *   what & 3         the connection; it is opened when it is first used
 *   what >> 2 & 7    0: feed the n bytes that follow
 *                    1: the same, but they arrive in parts of 1 to 8 bytes
 *                    2: feed a frame that is well-formed: see say_something()
 *                    3: the n-th allocation from here on fails; n above 128:
 *                       all after it, too, until another such chunk
 *                    4: feed a HELLO
 *                    5: take n * 8 bytes of its output; 255: all
 *                    6: let n * 100 ms pass
 *                    7: n even: it shuts down its writing side; odd: it is gone
 * After each chunk the books of every session are checked; at the end nothing
 * may be left.
 */
#include "fuzz.h"

#include "allocator.h"
#include "fake_net.h"

#define PEERS 4

static struct fake_peer *peers[PEERS];
static bool foreign[PEERS]; /* what it hears are not frames */

static struct fake_peer *
peer_at(struct fake_net *net, uint32_t i)
{
    if (peers[i] == NULL || peers[i]->session == NULL) {
        peers[i] = fake_connect(net);
        foreign[i] = false;
    }
    return peers[i];
}

static void
feed(struct fake_net *net, uint32_t i, const uint8_t *bytes, size_t len)
{
    struct fake_peer *peer = peer_at(net, i);
    struct session_stats stats;
    if (peer->session == NULL) {
        FUZZ_REQUIRE(allocator.failed, "memory");
        return;
    }
    session_get_stats(peer->session, &stats);
    if (len > 0 && strcmp(stats.state, "handshake") == 0 && bytes[0] != 0) {
        foreign[i] = true;
    }
    uint8_t *copy = fuzz_copy(bytes, len);
    fake_feed(peer, copy, len);
    free(copy);
}

static void
take(struct fake_net *net, uint32_t i, size_t bytes)
{
    struct fake_peer *peer = peer_at(net, i);
    struct broker_frame frame;
    fake_take(peer, bytes);
    while (!foreign[i] && fake_next(peer, &frame)) {
    }
}

/* In parts of 1 to 8 bytes. */
static void
feed_slowly(struct fake_net *net, uint32_t i, const uint8_t *bytes, size_t len)
{
    size_t part = 1 + (i + len) % 8;
    for (size_t at = 0; at < len; at += part) {
        feed(net, i, bytes + at, part < len - at ? part : len - at);
    }
}

/* Frames that mean something to each other: few ids, few topics. */
static void
say_something(struct fake_net *net, uint32_t i, uint8_t n)
{
    static const char *const topics[] = {"a", "a/b", "a/b/c", "$sys/echo"};
    static const char *const filters[] = {"a", "a/#", "+/b", "#"};
    struct say say = {0};
    uint32_t id = 1u + (n >> 3 & 3);
    struct say_subscription want = {.id = id,
        .filter = filters[n >> 5 & 3],
        .group = (n & 0x80) != 0 ? "g" : NULL,
        .overflow = n % 2 == 0 ? BROKER_OVERFLOW_DROP_OLDEST
                               : BROKER_OVERFLOW_DROP_NEWEST};
    struct say_message message = {.id = id,
        .flags = (n & 0x80) != 0 ? BROKER_PUBLISH_RETAIN : 0,
        .topic = topics[n >> 5 & 3],
        .reply_to = n % 8 == 3 ? "a" : NULL,
        .payload = "a payload of some length, so that queues are full soon",
        .payload_bytes = n >> 2 & 31};
    switch (n & 7) {
    case 0:
    case 1:
        say_subscribe_with(&say, &want);
        break;
    case 2:
    case 3:
        say_message(&say, &message);
        break;
    case 4:
        for (uint32_t k = 0; k < 20; k++) { /* a run */
            say_publish(&say, (n & 0x80) != 0 ? 100 + k : 0, message.topic,
                "some payload");
        }
        break;
    case 5:
        say_unsubscribe(
            &say, id, (n & 0x80) != 0 ? BROKER_UNSUBSCRIBE_DRAIN : 0);
        break;
    case 6:
        say_ping(&say, id);
        break;
    default:
        say_goaway(&say);
        break;
    }
    feed(net, i, say.bytes, say.len);
    say_fini(&say);
}

static void
fail_memory(uint8_t n)
{
    allocator.countdown = n & 127u;
    allocator.and_all_after = (n & 128) != 0;
}

static void
end(struct fake_net *net, uint32_t i, bool gone)
{
    struct fake_peer *peer = peer_at(net, i);
    if (gone) {
        fake_drop(peer);
    } else {
        fake_end_input(peer);
    }
}

/* Returns the bytes of the chunk's data. */
static size_t
chunk(struct fake_net *net, const struct say *hello, const uint8_t *data,
    size_t size)
{
    uint32_t i = data[0] & 3;
    size_t n = data[1];
    switch (data[0] >> 2 & 7) {
    case 1:
        n = n < size - 2 ? n : size - 2;
        feed_slowly(net, i, data + 2, n);
        return n;
    case 2:
        say_something(net, i, data[1]);
        return 0;
    case 3:
        fail_memory(data[1]);
        return 0;
    case 4:
        feed(net, i, hello->bytes, hello->len);
        return 0;
    case 5:
        take(net, i, n == 255 ? SIZE_MAX : n * 8);
        return 0;
    case 6:
        (void)fake_advance(net, n * 100 + 1);
        return 0;
    case 7:
        end(net, i, n % 2 == 1);
        return 0;
    default:
        n = n < size - 2 ? n : size - 2;
        feed(net, i, data + 2, n);
        return n;
    }
}

static struct core_options
small_options(void)
{
    struct core_options options = fake_options();
    options.max_body_bytes = BROKER_BODY_BYTES_MIN;
    options.max_output_bytes = 2000;
    options.max_memory_bytes = 8u << 20;
    options.max_subscriptions = 10;
    options.max_retained_topics = 4;
    return options;
}

/* Everybody takes what is left and goes. */
static void
finish(struct fake_net *net)
{
    allocator.countdown = 0;
    for (uint32_t i = 0; i < PEERS; i++) {
        take(net, i, SIZE_MAX);
        end(net, i, false);
    }
    fake_check(net);
    fake_net_fini(net);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1) {
        return 0;
    }
    struct core_options options = small_options();
    struct fake_net net;
    struct say hello = {0};
    options.workers = 1u + (data[0] & 3);
    data++;
    size--;
    allocator = (struct allocator){0};
    fake_net_init(&net, &options, 1, allocator_guard);
    FUZZ_REQUIRE(net.core != NULL, "memory");
    say_hello(&hello);
    memset(peers, 0, sizeof peers);
    while (size >= 2) {
        size_t used = 2 + chunk(&net, &hello, data, size);
        fake_check(&net);
        data += used;
        size -= used;
    }
    finish(&net);
    say_fini(&hello);
    return 0;
}
