# SPDX-License-Identifier: MIT
"""What comes too fast is read more slowly, and nobody is refused.

PROTOCOL.md sections 5.8 and 5.12: MEMORY_HIGH and RATE_HIGH.  Times are
asserted from below as the limits say, with half of them to spare, and
from above with the deadline only.
"""
import select
import threading
import time
import unittest

import wire_codec as codec
from harness import (
    DEADLINE, MIB, BrokerTest, Ledger, RawPeer, numbered, publish_bulk,
    wait_until)


def notices(events, name):
    return [e for e in events
            if isinstance(e, codec.Notice) and e.name == name]


class Slowing(BrokerTest):
    def timed(self, call, *arguments):
        """Seconds that it takes."""
        begin = time.monotonic()
        call(*arguments)
        return time.monotonic() - begin

    def stat(self, key):
        with self.connect(self.broker.unix) as asker:
            return asker.stats()[key]


class Messages(Slowing):
    options = {"max_user_messages_per_s": 1000}

    def test_three_thousand_take_their_time(self):
        publisher, subscriber = self.connect(), self.connect()
        ledger = Ledger(subscriber.subscribe("t").id)
        begin = time.monotonic()
        publish_bulk(publisher, "t", numbered(3000))
        publisher.ping()  # what was read at once is answered at once
        seconds = time.monotonic() - begin
        self.assertGreater(seconds, 1.5)
        (notice, *more) = notices(publisher.inbox, "RATE_HIGH")
        self.assertIn("max_user_messages_per_s", notice.text)
        self.assertEqual(notice.value(codec.LIMIT),
                         (1000).to_bytes(8, "big"))
        self.assertLessEqual(len(more), seconds)
        ledger.read(subscriber, 3000)
        self.assertEqual(ledger.missing, 0)
        self.assertGreater(self.stat("held_for_rate"), 0)

    def test_below_the_limit_nothing_is_said(self):
        publisher = self.connect()
        publish_bulk(publisher, "t", numbered(500))
        self.assert_silent(publisher)
        self.assertEqual(self.stat("held_for_rate"), 0)

    def test_unacknowledged_ones_count_too(self):
        publisher = self.connect()
        publisher.send_bytes(b"".join(
            codec.Publish(topic=b"t").encode() for _ in range(3000)))
        self.assertGreater(self.timed(publisher.ping), 1.5)

    def test_the_user_has_one_rate_for_all_its_connections(self):
        """Four connections of the same user, on any threads."""
        peers = [self.connect() for _ in range(4)]
        for peer in peers:
            peer.send_bytes(b"".join(codec.Publish(
                topic=b"t").encode() for _ in range(750)))
        self.assertGreater(self.timed(
            lambda: [peer.ping() for peer in peers]), 1.5)

    def test_other_users_are_not_slowed(self):
        """Here who comes by a UNIX socket is another one than by TCP."""
        fast = self.connect(self.broker.unix)
        slow = self.connect()
        slow.send_bytes(b"".join(codec.Publish(topic=b"t").encode()
                                 for _ in range(5000)))
        fast.subscribe("u")
        for n in range(100):
            fast.publish("u", str(n))
            self.assertEqual(fast.next_event().payload, b"%d" % n)
        with self.assertRaises(TimeoutError):
            slow.timeout = 0.05
            slow.ping()
        slow.timeout = DEADLINE

    def test_what_is_queued_for_the_slowed_goes_on(self):
        slow, other = self.connect(), self.connect(self.broker.unix)
        slow.subscribe("u")
        slow.send_bytes(b"".join(codec.Publish(topic=b"t").encode()
                                 for _ in range(4000)))
        begin = time.monotonic()
        for n in range(20):
            other.publish("u", str(n))
            event = slow.next_event()
            while isinstance(event, codec.Notice):
                event = slow.next_event()
            self.assertEqual(event.payload, b"%d" % n)
        self.assertLess(time.monotonic() - begin, 2)
        slow.ping()

    def test_it_recovers(self):
        publisher = self.connect()
        publish_bulk(publisher, "t", numbered(1500))
        publisher.inbox.clear()
        select.select([], [], [], 1.2)  # time itself is the condition
        publish_bulk(publisher, "t", numbered(500))
        self.assertEqual(notices(publisher.inbox, "RATE_HIGH"), [])

    def test_the_slowed_may_leave(self):
        before = self.broker.descriptors()
        for leave in [RawPeer.abort, RawPeer.reset, RawPeer.half_close]:
            peer = self.raw()
            peer.hello()
            peer.send(b"".join(codec.Publish(topic=b"t").encode()
                               for _ in range(2500)))
            leave(peer)
        self.let_process()
        wait_until(lambda: self.broker.descriptors() <= before + 1,
                   what="the release of peers that left")


class Bytes(Slowing):
    options = {"max_user_bytes_per_s": MIB}

    def test_three_mebibytes_take_their_time(self):
        publisher, subscriber = self.connect(), self.connect()
        ledger = Ledger(subscriber.subscribe("t").id)
        seconds = self.timed(publish_bulk, publisher, "t",
                             numbered(192, 16384))
        self.assertGreater(seconds, 1.5)
        notice = notices(publisher.inbox, "RATE_HIGH")[0]
        self.assertIn("max_user_bytes_per_s", notice.text)
        self.assertEqual(notice.value(codec.LIMIT), MIB.to_bytes(8, "big"))
        ledger.read(subscriber, 192)
        self.assertEqual(ledger.missing, 0)

    def test_a_message_larger_than_the_rate(self):
        publisher = self.connect()
        self.assertLess(self.timed(publisher.publish, "t",
                                   bytes(3 * MIB)), 30)
        self.assertGreater(self.timed(publisher.publish, "t"), 0.9)


class Subscribes(Slowing):
    options = {"max_subscribes_per_s": 500}

    def test_subscribing_and_unsubscribing(self):
        peer = self.connect()

        def churn():
            for n in range(1, 751):
                peer.send(codec.Subscribe(id=n, filter=b"t"))
                peer.send(codec.Unsubscribe(id=n))
            for n in range(1, 751):
                peer.next_event(), peer.next_event()
        seconds = self.timed(churn)
        self.assertGreater(seconds, 1)
        peer.ping()
        self.assertGreater(self.stat("held_for_rate"), 0)

    def test_others_are_not_slowed(self):
        slow, other = self.connect(), self.connect()
        slow.send_bytes(b"".join(codec.Subscribe(
            id=n, filter=b"t").encode() for n in range(1, 2001)))
        for _ in range(100):
            other.unsubscribe(other.subscribe("t").id)
        self.assertEqual(notices(other.inbox, "RATE_HIGH"), [])
        slow.timeout = 0.05
        with self.assertRaises(TimeoutError):
            slow.ping()
        slow.timeout = DEADLINE
        slow.ping()
        notice = notices(slow.inbox, "RATE_HIGH")[0]
        self.assertIn("max_subscribes_per_s", notice.text)
        self.assertEqual(notice.value(codec.LIMIT),
                         (500).to_bytes(8, "big"))
        self.assertEqual(other.publish("t").matched, 2000)


class Heartbeats(Slowing):
    """Held for many heartbeats, but not taken for dead."""
    options = {"max_user_messages_per_s": 500, "heartbeat_min_ms": 50}

    def test_the_held_get_pings_and_are_not_judged(self):
        peer = self.raw()
        peer.hello(heartbeat_ms=150)
        begin = time.monotonic()
        # One second's worth is taken at once; the rest waits.
        peer.send(b"".join(codec.Publish(id=n, topic=b"t").encode()
                           for n in range(1, 2001)),
                  codec.Ping(id=7, data=b"last one"))
        pings, settled = 0, 0
        while True:
            frame = peer.next_frame()
            self.assertNotIn(frame.NAME, ("GOAWAY", "ERROR"), frame)
            if frame.NAME == "PING":
                pings += 1
                self.assertLess(pings, 1000)
            elif frame.NAME == "PUBACK":
                settled += frame.count
            elif frame.NAME == "PONG" and frame.id == 7:
                break
        self.assertEqual(settled, 2000)
        self.assertGreater(time.monotonic() - begin, 1.5)

    def test_a_long_hold_has_pings(self):
        peer = self.raw()
        peer.hello(heartbeat_ms=100)
        peer.send(b"".join(codec.Publish(topic=b"t").encode()
                           for _ in range(1500)))
        pings, end = 0, time.monotonic() + 1.2
        while time.monotonic() < end:
            frame = peer.next_frame()
            self.assertNotEqual(frame.NAME, "GOAWAY", frame)
            if frame.NAME == "PING":
                pings += 1
                peer.send(codec.Pong(id=frame.id, data=frame.data))
            if pings >= 3:
                break
        self.assertGreaterEqual(pings, 1)

    def test_a_large_message_holds_for_long(self):
        """Over ten heartbeats nothing is read from it."""
        self.broker = self.start_broker(max_user_bytes_per_s=MIB,
                                        heartbeat_min_ms=50)
        peer = self.raw(self.broker.tcp)
        peer.hello(heartbeat_ms=100)
        begin = time.monotonic()
        peer.send(codec.Publish(id=1, topic=b"t", payload=bytes(3 * MIB)),
                  codec.Ping(id=7))
        names = []
        while "PONG" not in names:
            names.append(peer.next_frame().NAME)
        self.assertGreater(time.monotonic() - begin, 1)
        self.assertLessEqual(set(names), {"PING", "PONG", "PUBACK",
                                          "NOTICE"})
        self.assertGreaterEqual(names.count("PING"), 3)
        self.assertEqual(names.count("NOTICE"), 1)


class Memory(Slowing):
    """Stalled subscribers keep much memory; who keeps up loses nothing."""
    options = {"max_memory_bytes": 64 * MIB, "max_output_bytes": 32 * MIB}

    def test_the_pair_that_keeps_up(self):
        stalled = [self.connect(self.broker.unix) for _ in range(3)]
        for n, peer in enumerate(stalled):
            peer.subscribe("stalled/%d" % n)
        filler, publisher, subscriber = (self.connect() for _ in range(3))
        ledger = Ledger(subscriber.subscribe("t").id)
        self.failure = None

        def read():
            try:
                ledger.read(subscriber, 3000)
            except BaseException as failure:  # shown by the test itself
                self.failure = failure
        thread = threading.Thread(target=read, daemon=True)
        thread.start()
        for n in range(300):
            publish_bulk(filler, "stalled/%d" % (n % 3),
                         numbered(16, 16384))
            publish_bulk(publisher, "t", numbered(10, 1000, n * 10))
        thread.join(DEADLINE)
        self.assertIsNone(self.failure)
        self.assertEqual((ledger.received, ledger.missing), (3000, 0))
        notice = notices(filler.inbox, "MEMORY_HIGH")[0]
        self.assertEqual(notice.value(codec.LIMIT),
                         (64 * MIB).to_bytes(8, "big"))
        self.assertGreater(self.stat("held_for_memory"), 0)
        self.assertGreater(self.stat("memory_bytes"), 64 * MIB * 0.7)
        # And when there is room again, nobody is slowed any more.
        for peer in stalled:
            peer.abort()
        wait_until(lambda: self.stat("memory_bytes") < 32 * MIB,
                   what="the release of memory")
        before = self.stat("held_for_memory")
        publish_bulk(filler, "t", numbered(100, 16384))
        self.assertEqual(self.stat("held_for_memory"), before)

    def test_below_eighty_percent_nothing_is_said(self):
        stalled, filler = self.connect(self.broker.unix), self.connect()
        stalled.subscribe("t")
        publish_bulk(filler, "t", numbered(1500, 16384), chunk=100)
        self.assertEqual(notices(filler.inbox, "MEMORY_HIGH"), [])
        self.assertEqual(self.stat("held_for_memory"), 0)


if __name__ == "__main__":
    unittest.main()
