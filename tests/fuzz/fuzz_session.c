/* SPDX-License-Identifier: MIT
 *
 * One core with several connections, fed with anything, in any pieces, while
 * they take what they like.
 *
 * Input: chunks of u8 what, u8 n, and for some n bytes more.
 *   what & 3         the connection; it is opened when it is first used
 *   what >> 2 & 7    0 to 3: feed the n bytes that follow
 *                    4: feed a HELLO
 *                    5: take n * 8 bytes of its output; 255: all
 *                    6: let n * 100 ms pass
 *                    7: n even: it shuts down its writing side; odd: it is gone
 * After each chunk the books of every session are checked; at the end nothing
 * may be left.
 */
#include "fuzz.h"

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
    FUZZ_REQUIRE(peer->session != NULL, "memory");
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

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct core_options options = fake_options();
    options.max_body_bytes = BROKER_BODY_BYTES_MIN;
    options.max_output_bytes = 2000;
    options.max_memory_bytes = 8u << 20;
    options.max_subscriptions = 10;
    options.max_retained_topics = 4;
    struct fake_net net;
    struct say hello = {0};
    fake_net_init(&net, &options, 1, NULL);
    FUZZ_REQUIRE(net.core != NULL, "memory");
    say_hello(&hello);
    memset(peers, 0, sizeof peers);
    while (size >= 2) {
        size_t used = 2 + chunk(&net, &hello, data, size);
        fake_check(&net);
        data += used;
        size -= used;
    }
    for (uint32_t i = 0; i < PEERS; i++) {
        take(&net, i, SIZE_MAX);
        end(&net, i, false);
    }
    fake_check(&net);
    fake_net_fini(&net);
    say_fini(&hello);
    return 0;
}
