# SPDX-License-Identifier: MIT
"""Attacks that make the broker work hard for few bytes."""
import itertools
import json

from attack import (
    ALL_KEPT, ask, attack, codec, flood, publish, subscribe)

# The limit of one connection, max_subscriptions.
EACH = 10000


def subscribe_all(peer, filters, group=b""):
    """With an id counted up for each; the answers are not looked at."""
    frames = [subscribe(text, number, group)
              for number, text in enumerate(filters, 1)]
    for at in range(0, len(frames), 1000):
        ask(peer, *frames[at:at + 1000])


def subscribing(target, filters, connections=10):
    """100,000 SUBSCRIBEs over some connections, over and over: pieces that
    subscribe to all, then unsubscribe."""
    each = target.scale(EACH, 2000)

    def pieces(number):
        first = 0
        while True:
            for at in range(0, each, 500):
                numbers = range(first + at + 1, first + at + 501)
                yield b"".join(subscribe(filters(number, n), n)
                               for n in numbers)
                target.count("SUBSCRIBE", 500)
            for at in range(0, each, 500):
                numbers = range(first + at + 1, first + at + 501)
                yield b"".join(codec.Unsubscribe(id=n).encode()
                               for n in numbers)
            first += each
    peers = [target.peer() for _ in range(connections)]
    target.begin()
    flood(target, peers, pieces, reads=True)


@attack("SUBSCRIBE, distinct")
def subscribe_distinct(target):
    """Subscribes to 100,000 filters, all different, and unsubscribes."""
    subscribing(target, lambda who, n: b"s/%d/%d/%d" % (who, n % 100, n))


@attack("SUBSCRIBE, distinct wild")
def subscribe_wild(target):
    """The same with wildcards."""
    subscribing(target, lambda who, n: b"s/+/%d/%d/#" % (who, n))


@attack("SUBSCRIBE, the same")
def subscribe_same(target):
    """Subscribes 100,000 times to the same filter, and unsubscribes."""
    subscribing(target, lambda _who, _n: b"the/same")


@attack("SUBSCRIBE beyond the limit", sheds=True, heartbeat_ms=1000)
def subscribe_beyond(target):
    """Never unsubscribes and reads no refusal."""
    peers = [target.peer(receive_buffer=4096) for _ in range(10)]
    target.begin()

    def pieces(_number):
        for number in itertools.count(1, 500):
            target.count("SUBSCRIBE", 500)
            yield b"".join(subscribe(b"beyond/%d" % n, n)
                           for n in range(number, number + 500))
    flood(target, peers, pieces)


@attack("100,000 subscriptions go")
def subscriptions_go(target):
    """Ten connections with 10,000 subscriptions each are reset at once; they
    come again."""
    target.begin()
    while target.going():
        peers = [target.peer() for _ in range(10)]
        for who, peer in enumerate(peers):
            subscribe_all(peer, (b"go/%d/+/%d" % (who, n)
                                 for n in range(target.scale(EACH, 500))))
            if not target.going():
                break
        for peer in peers:
            peer.reset()
        target.kept.clear()
        target.count("rounds")


def ever_new_topics(target, levels=b"new/%d/%d"):
    """Publishes that no cached route helps with."""
    def pieces(who):
        for number in range(0, target.scale(10 ** 9, 20000), 1000):
            yield b"".join(publish(levels % (who, n), b"x")
                           for n in range(number, number + 1000))
    return pieces


@attack("new topics")
def new_topics(target):
    """Publishes every message to a topic that was never there, with a few
    subscribers to everything."""
    readers = [target.peer(receive_buffer=4096) for _ in range(4)]
    for peer in readers:
        peer.send(subscribe(b"#", 1))
    publisher = target.peer()
    target.begin()
    flood(target, [publisher], ever_new_topics(target))


@attack("10,000 times #")
def hash_ten_thousand(target):
    """Subscribes 10,000 times to # on one connection that reads, while
    another publishes to ever new topics."""
    reader = target.peer()
    subscribe_all(reader, [b"#"] * target.scale(EACH, 2000))
    publisher = target.peer()
    target.begin()
    both(target, publisher, reader, ever_new_topics(target))


@attack("10,000 times #, of 100")
def hash_of_hundred(target):
    """The same with 100 times # on each of 100 connections."""
    readers = [target.peer() for _ in range(target.scale(100, 20))]
    for reader in readers:
        subscribe_all(reader, [b"#"] * 100)
    publisher = target.peer()
    target.begin()
    both(target, publisher, readers[0], ever_new_topics(target))


def both(target, publisher, reader, pieces):
    """One floods; the other only reads."""
    def pieces_of(number):
        return pieces(number) if number == 0 else None
    flood(target, [publisher, reader], pieces_of, reads=True)


@attack("wildcard tree")
def wildcard_tree(target):
    """Holds every filter of 13 levels that are x or + (8,192 of them), and
    publishes to ever new topics that walk through all of them."""
    levels = target.scale(13, 10)
    reader = target.peer()
    subscribe_all(reader, (
        b"/".join(b"+" if number >> bit & 1 else b"x"
                  for bit in range(levels)) + b"/end"
        for number in range(1 << levels)))
    publisher = target.peer()
    target.begin()
    flood(target, [publisher], ever_new_topics(
        target, b"/".join([b"x"] * levels) + b"/%d/%d"))


@attack("$sys/subscriptions", kept_bytes=ALL_KEPT, warnings=["memory-tight"])
def system_requests(target):
    """Ten connections ask 20 times each for a page of 10,000 subscriptions,
    and nobody reads the answers."""
    owner = target.peer()
    subscribe_all(owner, (b"owned/%d" % n
                          for n in range(target.scale(EACH, 2000))))
    peers = [target.peer(receive_buffer=4096) for _ in range(10)]
    for number, peer in enumerate(peers):
        peer.send(subscribe(b"_inbox/%d" % number, 1))
    payload = json.dumps({"limit": EACH}).encode()
    target.begin()

    def pieces(who):
        fields = [(codec.REPLY_TO | codec.CRITICAL, b"_inbox/%d" % who)]
        for number in range(1, target.scale(21, 3)):
            target.count("requests")
            yield publish(b"$sys/subscriptions", payload, number,
                          fields=fields)
    flood(target, peers, pieces)


@attack("$sys/stats", kept_bytes=ALL_KEPT)
def stats_requests(target):
    """The same for totals: small answers, as fast as it goes, and reads."""
    peers = [target.peer() for _ in range(4)]
    for number, peer in enumerate(peers):
        peer.send(subscribe(b"_inbox/%d" % number, 1))
    target.begin()

    def pieces(who):
        fields = [(codec.REPLY_TO | codec.CRITICAL, b"_inbox/%d" % who)]
        for number in itertools.count(1, 100):
            target.count("requests", 100)
            yield b"".join(publish(b"$sys/stats", b"", n, fields=fields)
                           for n in range(number, number + 100))
    flood(target, peers, pieces, reads=True)


@attack("group storm")
def group_storm(target):
    """Joins and leaves queue groups on many connections while messages for
    the groups are published."""
    members = [target.peer() for _ in range(50)]
    publisher = target.peer()
    target.begin()

    def pieces(number):
        if number == len(members):
            while True:
                yield b"".join(publish(b"group/%d" % n, bytes(100))
                               for n in range(50)) * 4
        for first in itertools.count(1, 200):
            ids = range(first, first + 200)
            target.count("joined", 200)
            yield b"".join(subscribe(b"group/%d" % (n % 50), n, b"workers")
                           for n in ids)
            yield b"".join(codec.Unsubscribe(id=n, flags=n % 2).encode()
                           for n in ids)
    flood(target, members + [publisher], pieces, reads=True)


@attack("10,000 groups")
def ten_thousand_groups(target):
    """Has 10,000 queue groups of one member on one filter, each of which
    gets every message."""
    reader = target.peer()
    for at in range(0, target.scale(EACH, 1000), 1000):
        ask(reader, *(subscribe(b"all", n + 1, b"group%d" % n)
                      for n in range(at, at + 1000)))
    publisher = target.peer()
    target.begin()
    both(target, publisher, reader, lambda _number: itertools.repeat(
        publish(b"all", b"x") * 100, target.scale(10 ** 9, 200)))
