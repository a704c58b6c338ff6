# SPDX-License-Identifier: MIT
"""Attacks by those who ask for much and read nothing of the answers."""
import itertools
import random

from attack import (
    ALL_KEPT, again_and_again, ask, attack, codec, flood, harness, publish,
    subscribe)

CHUNK = 1 << 18


def repeated(frame):
    return frame * max(1, CHUNK // len(frame))


def peers_of(target, count, **options):
    return [target.peer((target.tcp, target.unix)[number % 2],
                        receive_buffer=4096, **options)
            for number in range(count)]


@attack("PING flood", sheds=True)
def ping_flood(target):
    """Sends PING as fast as it can and reads no PONG."""
    peers = peers_of(target, 4)
    target.begin()
    flood(target, peers, again_and_again(
        repeated(codec.Ping(id=1).encode())))


@attack("PING flood, reading")
def ping_flood_reading(target):
    """The same, and reads them, so that it is never held up."""
    peers = [target.peer() for _ in range(4)]
    target.begin()
    flood(target, peers, again_and_again(
        repeated(codec.Ping(id=1).encode())), reads=True)


@attack("publish flood")
def publish_flood(target):
    """Publishes single bytes to a topic without subscribers, without
    acknowledgement."""
    peers = [target.peer() for _ in range(4)]
    target.begin()
    flood(target, peers, again_and_again(repeated(publish(b"nobody", b"x"))))


@attack("PUBACK flood", sheds=True)
def puback_flood(target):
    """Publishes with numbers that never merge and reads no PUBACK."""
    peers = peers_of(target, 4)
    target.begin()
    flood(target, peers, again_and_again(b"".join(
        publish(b"nobody", b"x", number) for number in range(1, 20000, 2))))


@attack("ERROR flood", sheds=True)
def error_flood(target):
    """Sends types that nobody knows, topics that are none, and subscriptions
    that are refused; reads no ERROR."""
    peers = peers_of(target, 4)
    target.begin()
    frames = [codec.HEADER.pack(0, 0x7001, 0, 1), publish(b"a/+/b", b"x", 1),
              publish(b"$sys/none", b"x", 2), subscribe(b"a/#/b", 1),
              codec.Unsubscribe(id=9).encode()]
    flood(target, peers, again_and_again(repeated(b"".join(frames))))


@attack("large messages", sheds=True, warnings=["memory-tight"],
        kept_bytes=ALL_KEPT, heartbeat_ms=1000)
def large_messages(target):
    """Publishes 8 MiB a time to 40 subscribers that never read."""
    readers = peers_of(target, 40)
    for number, peer in enumerate(readers):
        peer.send(subscribe(b"large/#", 1)
                  + subscribe(b"large/%d" % number, 2))
    publisher = target.peer()
    target.begin()

    def pieces(_number):
        payload = bytes(8 * harness.MIB)
        for number in itertools.count():
            yield publish(b"large/%d" % (number % 40), payload)
    flood(target, [publisher], pieces)


@attack("queues to the brim", sheds=True, warnings=["memory-tight"],
        kept_bytes=ALL_KEPT, heartbeat_ms=1000)
def queues_to_the_brim(target):
    """Forty subscribers with topics of their own never read, until no
    memory is left for messages."""
    readers = peers_of(target, 40)
    for number, peer in enumerate(readers):
        peer.send(subscribe(b"brim/%d" % number, 1))
    publisher = target.peer()
    target.begin()

    def pieces(_number):
        for number in itertools.count():
            yield publish(b"brim/%d" % (number % 40), bytes(2000)) * 100
    flood(target, [publisher], pieces)


@attack("flood after GOAWAY")
def flood_after_goaway(target):
    """Takes its leave and then sends as fast as it can; comes again."""
    goaway = codec.Goaway(code=codec.LEAVING).encode()
    data = repeated(publish(b"nobody", b"x"))
    target.begin()
    while target.going():
        peers = peers_of(target, 4)
        for peer in peers:
            peer.send(goaway)
        flood(target, peers, again_and_again(data))
        target.count("rounds")


@attack("requests to nobody", sheds=True)
def requests_to_nobody(target):
    """Asks what nobody answers and reads no refusal."""
    peers = peers_of(target, 4)
    fields = [(codec.REPLY_TO | codec.CRITICAL, b"_inbox/x")]
    target.begin()
    flood(target, peers, again_and_again(b"".join(
        publish(b"nobody/%d" % number, b"x", number, fields=fields)
        for number in range(1, 5000))))


# --- Retained values ---------------------------------------------------------


def forget_retained(target, topics):
    """So that memory can be as before."""
    peer = target.peer()
    for at in range(0, len(topics), 5000):
        ask(peer, *(publish(topic, flags=codec.RETAIN)
                    for topic in topics[at:at + 5000]))


def retain_all(target, topics, payload):
    peer = target.peer()
    for at in range(0, len(topics), 5000):
        ask(peer, *(publish(topic, payload, flags=codec.RETAIN)
                    for topic in topics[at:at + 5000]))


@attack("RETAIN to the limits", max_retained_topics=20000,
        max_retained_bytes=16 * harness.MIB)
def retain_storm(target):
    """Retains values of random sizes in more topics than are allowed,
    replaces and removes them."""
    topics = [b"retain/%d/%d" % (number % 300, number)
              for number in range(30000)]
    peers = [target.peer() for _ in range(4)]
    target.begin()

    def pieces(number):
        chance = random.Random(target.random.random() + number)
        while True:
            yield b"".join(
                publish(chance.choice(topics),
                        bytes(chance.choice((0, 1, 100, 3000))),
                        flags=codec.RETAIN) for _ in range(200))
    flood(target, peers, pieces, reads=True)
    for peer in peers:
        peer.abort()
    forget_retained(target, topics)


def retained_topics(target):
    return [b"retained/%d/%d" % (number % 100, number)
            for number in range(target.scale(100000, 5000))]


def there_and_back(number):
    return (subscribe(b"#", number)
            + codec.Unsubscribe(id=number).encode())


@attack("# over retained", max_retained_topics=100000)
def churn_over_retained(target):
    """Subscribes to # over 100,000 retained values and unsubscribes, again
    when that is answered."""
    topics = retained_topics(target)
    retain_all(target, topics, b"value")
    peer = target.peer()
    target.begin()
    for number in itertools.count(1):
        if not target.going():
            break
        peer.send(there_and_back(number))
        while not isinstance(peer.next_frame(), codec.Unsuback):
            pass
        target.count("subscribed")
    peer.abort()
    forget_retained(target, topics)


@attack("# over retained, bulk", max_retained_topics=100000)
def bulk_over_retained(target):
    """Sends 1,000 pairs of SUBSCRIBE # and UNSUBSCRIBE at once, over
    100,000 retained values."""
    topics = retained_topics(target)
    retain_all(target, topics, b"value")
    peer = target.peer()
    target.begin()
    flood(target, [peer], lambda _number: iter([b"".join(
        there_and_back(number)
        for number in range(1, target.scale(1001, 51)))]), reads=True)
    target.count("subscribed", target.scale(1000, 50))
    target.hold()
    peer.abort()
    forget_retained(target, topics)
