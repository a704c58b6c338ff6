# SPDX-License-Identifier: MIT
"""Overflow policy block: publishers wait until the subscriber has room.

PROTOCOL.md sections 5.6 and 5.12 (BLOCKED).  The subscribers that do not
read use the UNIX socket, whose kernel buffers are small.
"""
import select
import signal
import threading
import time
import unittest

import wire_codec as codec
from harness import (
    DEADLINE, MIB, BrokerTest, Ledger, numbered, payload_number, wait_until)

CAP = 32 * MIB  # the default; half of it is room for what is under way
COUNT, SIZE = 8000, 8000  # twice that


class Flood(threading.Thread):
    """Publishes without acknowledgement as fast as it is read from.  Until
    it is over nobody else may send on the connection."""

    def __init__(self, connection, topic=b"t", count=COUNT, start=0,
                 hello=b""):
        super().__init__(daemon=True)
        self.sock = connection.sock
        self.data = hello + b"".join(
            codec.Publish(topic=topic, payload=payload).encode()
            for payload in numbered(count, SIZE, start))
        self.start()

    def run(self):
        view, deadline = memoryview(self.data), time.monotonic() + DEADLINE
        try:
            while view and time.monotonic() < deadline:
                if select.select([], [self.sock], [], 0.1)[1]:
                    view = view[self.sock.send(view):]
        except (OSError, ValueError):
            pass  # the test has closed it

    def finish(self):
        self.join(DEADLINE)
        if self.is_alive():
            raise AssertionError("the broker does not read")


class Blocking(BrokerTest):
    options = {"max_output_bytes": CAP, "max_body_bytes": 65536,
               "allow_block": "yes", "block_timeout_ms": 60000}

    def setUp(self):
        super().setUp()
        self.slow = self.connect(self.broker.unix)
        self.subscribe()

    def subscribe(self):
        self.ledger = Ledger(self.slow.subscribe(
            "t", policy=codec.BLOCK).id)

    def blocked(self):
        """A publisher that was told to wait, and its flood."""
        publisher = self.connect()
        flood = Flood(publisher)
        event = publisher.next_event()
        self.assertEqual((event.NAME, event.name), ("NOTICE", "BLOCKED"))
        return publisher, flood

    def stat(self, key):
        with self.connect(self.broker.unix) as asker:
            return asker.stats()[key]

    def queued(self):
        return sum(entry["queued"] for entry in
                   self.system_list("subscriptions")
                   if entry["filter"] == "t")

    def read_all(self, total=COUNT):
        """And nothing is missing."""
        self.ledger.read(self.slow, total)
        self.assertEqual((self.ledger.received, self.ledger.missing),
                         (total, 0))


class Waiting(Blocking):
    def test_nothing_is_lost(self):
        publisher, flood = self.blocked()
        self.assertGreater(self.stat("held_for_full"), 0)
        self.read_all()
        flood.finish()
        publisher.ping()
        books = self.slow.unsubscribe(self.ledger.subscription)
        self.assertEqual((books.matched, books.dropped), (COUNT, 0))

    def test_the_policy_in_force(self):
        self.assertEqual(self.slow.subscribe(
            "u", policy=codec.BLOCK).policy, codec.BLOCK)
        self.assertEqual([entry["overflow"] for entry in
                          self.system_list("subscriptions")
                          if entry["filter"] in "tu"], ["block", "block"])

    def test_the_publisher_waits_as_long_as_it_takes(self):
        publisher, flood = self.blocked()
        queued = wait_until(self.queued)
        flood.join(0.7)  # time itself is the condition here
        self.assertTrue(flood.is_alive())
        self.assertLess(queued, COUNT)
        self.read_all()
        flood.finish()
        publisher.ping()

    def test_again_and_again(self):
        publisher = self.connect()
        for turn in range(2):
            flood = Flood(publisher, start=turn * COUNT)
            self.read_all((turn + 1) * COUNT)
            flood.finish()
        publisher.ping()

    def test_others_are_not_held_up(self):
        self.blocked()
        other, reader = self.connect(), self.connect()
        reader.subscribe("u")
        for n in range(100):
            self.assertEqual(other.publish("u", str(n)).matched, 1)
            self.assertEqual(reader.next_event().payload, b"%d" % n)

    def test_several_publishers(self):
        """On all threads; each in order, nothing lost."""
        self.slow.subscribe("p/+", policy=codec.BLOCK)
        peers = [self.connect() for _ in range(5)]
        floods = [Flood(peer, b"p/%d" % n, COUNT // 4)
                  for n, peer in enumerate(peers)]
        due = dict.fromkeys(("p/%d" % n for n in range(5)), 0)
        while any(number < COUNT // 4 for number in due.values()):
            event = self.slow.next_event()
            if isinstance(event, codec.Notice):
                continue
            self.assertNotIsInstance(event, codec.Gap)
            self.assertEqual(payload_number(event.payload),
                             due[event.topic])
            due[event.topic] += 1
        for peer, flood in zip(peers, floods):
            flood.finish()
            peer.ping()

    def test_the_publisher_is_its_own_subscriber(self):
        """A connection never waits for itself."""
        peer = self.connect()
        answer = peer.subscribe("own", policy=codec.BLOCK)
        flood = Flood(peer, b"own")
        flood.finish()
        ledger = Ledger(answer.id)
        others = ledger.read(peer, COUNT)
        self.assertNotIn("BLOCKED", [getattr(e, "name", "")
                                     for e in others])
        books = peer.unsubscribe(answer.id)
        self.assertEqual((books.matched, books.dropped),
                         (COUNT, ledger.missing))


class Silence(Blocking):
    options = dict(Blocking.options, heartbeat_min_ms=50)

    def test_the_held_get_pings(self):
        """Over many heartbeats, and are not taken for dead."""
        peer = self.raw()
        # Making the flood takes longer than the heartbeats.
        flood = Flood(peer, hello=codec.Hello(heartbeat_ms=100).encode())
        self.assertEqual(peer.next_frame().NAME, "WELCOME")
        begin, pings = time.monotonic(), 0
        while pings < 5:
            frame = peer.next_frame()
            self.assertIn(frame.NAME, ("PING", "NOTICE"))
            pings += frame.NAME == "PING"
        self.assertGreater(time.monotonic() - begin, 0.35)
        self.read_all()
        flood.finish()
        peer.send(codec.Ping(id=7))
        while peer.next_frame().NAME != "PONG":
            pass


class Ends(Blocking):
    def test_the_subscriber_dies(self):
        publisher, flood = self.blocked()
        self.slow.abort()
        flood.finish()
        self.assertEqual(publisher.publish("t").matched, 0)

    def test_the_subscriber_unsubscribes(self):
        publisher, flood = self.blocked()
        self.slow.unsubscribe(self.ledger.subscription)
        flood.finish()
        self.assertEqual(publisher.publish("t").matched, 0)

    def test_the_publisher_dies_while_it_waits(self):
        """Its descriptor goes, at the latest when there is room."""
        before = self.broker.descriptors()
        publisher, _ = self.blocked()
        publisher.sock.shutdown(2)
        publisher.abort()
        while self.queued():
            self.slow.ping()
            self.slow.inbox.clear()
        wait_until(lambda: self.broker.descriptors() <= before,
                   what="the release of a publisher that died")

    def test_the_broker_stops(self):
        self.blocked()
        self.broker.signal(signal.SIGTERM)
        self.assertEqual(self.broker.wait(), 0)


class Patience(Blocking):
    options = dict(Blocking.options, block_timeout_ms=300)

    def test_publishers_do_not_wait_for_ever(self):
        begin = time.monotonic()
        publisher, flood = self.blocked()
        flood.finish()
        publisher.ping()
        self.assertGreater(time.monotonic() - begin, 0.25)
        # From then on as drop-newest: all is accounted for by a GAP.
        self.ledger.read(self.slow, COUNT)
        self.assertGreater(self.ledger.missing, 0)
        books = self.slow.unsubscribe(self.ledger.subscription)
        self.assertEqual((books.matched, books.dropped),
                         (COUNT, self.ledger.missing))

    def test_they_wait_again_once_it_has_read(self):
        publisher, flood = self.blocked()
        flood.finish()
        self.ledger.read(self.slow, COUNT)
        missing, held = self.ledger.missing, self.stat("held_for_full")
        flood = Flood(publisher, start=COUNT)
        wait_until(lambda: self.stat("held_for_full") > held)
        self.ledger.read(self.slow, 2 * COUNT)
        self.assertGreaterEqual(self.ledger.missing, missing)
        flood.finish()


class Forbidden(BrokerTest):
    def test_it_is_off_unless_allowed(self):
        peer = self.connect()
        self.assert_refused("UNSUPPORTED_POLICY", peer.subscribe, "t",
                            policy=codec.BLOCK)
        self.assertEqual(peer.publish("t").matched, 0)


if __name__ == "__main__":
    unittest.main()
