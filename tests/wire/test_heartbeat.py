# SPDX-License-Identifier: MIT
"""Heartbeats: who is silent is asked, who stays silent is let go.

PROTOCOL.md sections 4.1, 4.4 and 5.8.  Times are asserted from below as
the document says, and from above with a deadline for a busy machine.
"""
import select
import signal
import time
import unittest

import wire_codec as codec
from harness import DEADLINE, BrokerTest, wait_until

BEAT_MS = 200
BEAT = BEAT_MS / 1000


def let_time_pass(seconds):
    """Time itself is the condition here, and there is nothing to poll."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        select.select([], [], [], max(0, end - time.monotonic()))


class Negotiation(BrokerTest):
    options = {"heartbeat_ms": 20000}

    def test_bounds(self):
        for wish, expected in [(0, 20000), (5000, 5000), (1, 1000),
                               (999, 1000), (1000, 1000), (300000, 300000),
                               (300001, 300000), (0xFFFFFFFF, 300000)]:
            with self.subTest(wish=wish):
                welcome = self.raw().hello(heartbeat_ms=wish)
                self.assertEqual(welcome.heartbeat_ms, expected)


class Pongs(BrokerTest):
    def test_echo(self):
        """The same id and bytes, in order."""
        peer = self.raw()
        peer.hello()
        pings = [(0, bytes(8)), (1, b"12345678"), (0xFFFFFFFF, b"\xff" * 8),
                 (1, b"again...")]
        for number, data in pings:
            peer.send(codec.Ping(id=number, data=data))
        for number, data in pings:
            pong = peer.next_frame()
            self.assertEqual((pong.NAME, pong.id, pong.data),
                             ("PONG", number, data))

    def test_a_thousand(self):
        peer = self.raw()
        peer.hello()
        peer.send(b"".join(codec.Ping(id=n).encode() for n in range(1000)))
        self.assertEqual([peer.next_frame().id for _ in range(1000)],
                         list(range(1000)))

    def test_an_unasked_pong_is_harmless(self):
        peer = self.raw()
        peer.hello()
        peer.send(codec.Pong(id=5, data=b"whatever"), codec.Ping(id=6))
        self.assertEqual(peer.next_frame().id, 6)

    def test_ping_is_a_barrier_for_what_was_sent_before(self):
        subscriber, publisher = self.connect(), self.connect()
        subscriber.subscribe("t")
        for n in range(200):
            publisher.publish("t", str(n), ack=False)
        publisher.ping()
        self.assertEqual(publisher.publish("t").id, 1)
        for n in range(200):
            self.assertEqual(subscriber.next_event().payload, b"%d" % n)


class Silence(BrokerTest):
    options = {"heartbeat_min_ms": 50}

    def setUp(self):
        super().setUp()
        self.peer = self.raw()
        self.assertEqual(
            self.peer.hello(heartbeat_ms=BEAT_MS).heartbeat_ms, BEAT_MS)
        self.started = time.monotonic()

    def test_a_silent_peer_gets_a_ping_and_then_goaway(self):
        frames = self.peer.rest()
        elapsed = time.monotonic() - self.started
        self.assertGreaterEqual(len(frames), 2)
        self.assertEqual({f.NAME for f in frames[:-1]}, {"PING"})
        self.assertEqual((frames[-1].NAME, frames[-1].name),
                         ("GOAWAY", "HEARTBEAT_TIMEOUT"))
        self.assertGreater(elapsed, 3 * BEAT - 0.05)

    def test_the_ping_comes_after_one_heartbeat(self):
        self.assertEqual(self.peer.next_frame().NAME, "PING")
        self.assertGreater(time.monotonic() - self.started, BEAT - 0.05)

    def test_a_dead_subscriber_is_released(self):
        self.peer.send(codec.Subscribe(id=1, filter=b"t"))
        self.assertEqual(self.peer.next_frame().NAME, "SUBACK")
        publisher = self.connect()
        wait_until(lambda: publisher.publish("t").matched == 0,
                   what="the release of a dead peer")
        self.assertGreater(time.monotonic() - self.started, 2 * BEAT)

    def test_answering_keeps_it_alive(self):
        pings = 0
        while time.monotonic() < self.started + 8 * BEAT:
            frame = self.peer.next_frame()
            self.assertEqual(frame.NAME, "PING")
            self.peer.send(codec.Pong(id=frame.id, data=frame.data))
            pings += 1
        self.assertGreaterEqual(pings, 2)
        self.peer.send(codec.Ping(id=1))
        self.assertIn(self.peer.next_frame().NAME, ("PONG", "PING"))

    def test_any_byte_counts_as_life(self):
        """One frame, dribbled over many heartbeats, without one PONG."""
        self.dribble(codec.Publish(id=1, topic=b"t",
                                   payload=bytes(20)).encode())
        frame = self.peer.next_frame()
        while frame.NAME == "PING":
            frame = self.peer.next_frame()
        self.assertEqual((frame.NAME, frame.id), ("PUBACK", 1))
        self.assertGreater(time.monotonic() - self.started, 8 * BEAT)

    def test_bytes_of_a_skipped_frame_count_as_life(self):
        self.dribble(codec.HEADER.pack(25, 0x8ABC, 0, 0) + bytes(25)
                     + codec.Ping(id=3).encode()[:1])
        self.peer.send(codec.Ping(id=3).encode()[1:])
        frame = self.peer.next_frame()
        while frame.NAME == "PING":
            frame = self.peer.next_frame()
        self.assertEqual((frame.NAME, frame.id), ("PONG", 3))

    def dribble(self, data):
        for at in range(len(data)):
            self.peer.send(data[at:at + 1])
            let_time_pass(BEAT / 4)

    def test_a_busy_peer_gets_no_ping(self):
        """Whoever sends anything within each heartbeat is not asked."""
        for _ in range(20):
            self.peer.send(codec.Publish(topic=b"t"))
            let_time_pass(BEAT / 10)
        self.peer.send(codec.Ping(id=1))
        self.assertEqual(self.peer.next_frame().NAME, "PONG")

    def test_receiving_is_no_sign_of_life(self):
        """A subscriber that never sends is asked although it gets
        messages all the time."""
        self.peer.send(codec.Subscribe(id=1, filter=b"t"))
        publisher = self.connect()
        deadline = time.monotonic() + DEADLINE
        names = set()
        while "PING" not in names and time.monotonic() < deadline:
            publisher.publish("t")
            while self.peer.readable(0):
                names.add(self.peer.next_frame().NAME)
        self.assertIn("PING", names)

    def test_the_clients_own_heartbeat(self):
        """The Python client keeps an idle connection alive by itself."""
        client = self.connect(heartbeat_ms=BEAT_MS)
        with self.assertRaises(TimeoutError):
            client.next_event(8 * BEAT)
        client.ping()

    def test_a_suspended_broker_asks_once_more(self):
        """After its own suspension the broker PINGs before it judges."""
        self.broker.signal(signal.SIGSTOP)
        let_time_pass(5 * BEAT)
        self.broker.signal(signal.SIGCONT)
        frame = self.peer.next_frame()
        self.assertEqual(frame.NAME, "PING")
        while frame.NAME == "PING":
            self.peer.send(codec.Pong(id=frame.id, data=frame.data))
            self.peer.send(codec.Publish(id=1, topic=b"t"))
            frame = self.peer.next_frame()
        self.assertEqual(frame.NAME, "PUBACK", "%r" % (frame,))


class StalledAndDead(BrokerTest):
    options = {"heartbeat_min_ms": 50, "max_output_bytes": 131072,
               "max_body_bytes": 65536}

    def test_a_peer_that_neither_reads_nor_writes_is_released(self):
        """Its output is full, so the GOAWAY cannot be delivered: the broker
        closes without waiting (5.8)."""
        dead = self.raw(self.broker.unix)
        dead.hello(heartbeat_ms=BEAT_MS)
        dead.send(codec.Subscribe(id=1, filter=b"t"))
        self.assertEqual(dead.next_frame().NAME, "SUBACK")
        publisher = self.connect()
        for _ in range(2000):
            publisher.publish("t", bytes(1000), ack=False)
        wait_until(lambda: publisher.publish("t").matched == 0, 20)
        wait_until(lambda: self.connection_count() == 1, 20)


if __name__ == "__main__":
    unittest.main()
