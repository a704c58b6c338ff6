# SPDX-License-Identifier: MIT
"""Peers that die in every way, and many of them: nothing leaks.

PROTOCOL.md section 2 ("just closing is allowed").
"""
import os
import random
import signal
import subprocess
import sys
import unittest

import wire_codec as codec
from harness import (
    MEMORY_IS_MEASURABLE, MIB, BrokerTest, Ledger, numbered, publish_bulk,
    wait_until)

ROUNDS = 3000


class Death(BrokerTest):
    def subscriber_process(self, address):
        """A process with a subscription to t."""
        process = subprocess.Popen(
            [sys.executable, "-c",
             "import sys, broker_wire\n"
             "c = broker_wire.Connection(sys.argv[1])\n"
             "c.subscribe('t')\n"
             "print('subscribed', flush=True)\n"
             "while True: c.next_event(3600)\n", address],
            stdout=subprocess.PIPE,
            cwd=os.path.dirname(os.path.abspath(__file__)))
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        self.assertEqual(process.stdout.readline(), b"subscribed\n")
        return process

    def test_a_killed_subscriber(self):
        publisher = self.connect()
        for address in self.broker.addresses:
            process = self.subscriber_process(address)
            self.assertEqual(publisher.publish("t").matched, 1)
            process.kill()
            wait_until(lambda: publisher.publish("t").matched == 0)

    def test_killed_while_messages_flow(self):
        publisher, healthy = self.connect(), self.connect()
        ledger = Ledger(healthy.subscribe("t").id)
        processes = [self.subscriber_process(a)
                     for a in self.broker.addresses * 2]
        start = 0
        for process in processes:
            publish_bulk(publisher, "t", numbered(2000, 500, start))
            start += 2000
            process.kill()
            publish_bulk(publisher, "t", numbered(2000, 500, start))
            start += 2000
            ledger.read(healthy, start)
        self.assertEqual(ledger.missing, 0)
        wait_until(lambda: publisher.publish("t").matched == 1)

    def test_killed_while_its_queue_is_full(self):
        process = self.subscriber_process(self.broker.unix)
        process.send_signal(signal.SIGSTOP)
        publisher = self.connect()
        publish_bulk(publisher, "t", numbered(5000, 1000))
        process.kill()
        wait_until(lambda: publisher.publish("t").matched == 0)
        wait_until(lambda: self.connection_count() == 1)

    def test_reset(self):
        """RST, in every state, also with unread answers."""
        before = self.connection_count()
        publisher = self.connect()
        publish = codec.Publish(id=1, topic=b"t", payload=bytes(100))
        for data in [b"", codec.Hello().encode()[:20],
                     codec.Hello().encode(),
                     codec.Hello().encode() + codec.Subscribe(
                         id=1, filter=b"t").encode(),
                     codec.Hello().encode() + publish.encode() * 1000,
                     codec.Hello().encode() + publish.encode()[:50],
                     codec.Hello().encode() + codec.Goaway().encode(),
                     codec.Hello().encode() * 2, b"GET / HTTP/1.1\r\n\r\n"]:
            for _ in range(10):
                peer = self.raw(self.broker.tcp)
                peer.send(data)
                publisher.publish("t")
                peer.reset()
        publisher.close()
        wait_until(lambda: self.connection_count() == before)

    def test_reset_of_a_publisher(self):
        """What was acknowledged arrived; nothing arrives in part."""
        subscriber, publisher = self.connect(), self.raw()
        subscriber.subscribe("t")
        publisher.hello()
        publisher.send(codec.Publish(id=1, topic=b"t", payload=b"whole"))
        self.assertEqual(publisher.next_frame().NAME, "PUBACK")
        publisher.send(codec.Publish(topic=b"t",
                                     payload=bytes(100)).encode()[:-1])
        publisher.reset()
        self.assertEqual(subscriber.next_event().payload, b"whole")
        wait_until(lambda: self.connection_count() == 1)
        self.assert_silent(subscriber)

    def test_sigpipe_does_not_matter(self):
        self.broker.signal(signal.SIGPIPE)
        self.connect().ping()


class Leaks(BrokerTest):
    def live(self, peer, chance):
        """Some part of a life of a client."""
        choice = chance.randrange(6)
        if choice == 0:
            return
        if choice == 1:
            peer.send(codec.Hello().encode()[:chance.randrange(1, 50)])
            return
        peer.send(codec.Hello(id=1, fields=[(codec.NAME, b"short")]))
        if choice >= 3:
            peer.send(codec.Subscribe(id=1, filter=b"a/+/c"),
                      codec.Subscribe(id=2, filter=b"a/#", group=b"g"),
                      codec.Publish(id=1, topic=b"a/b/c",
                                    payload=bytes(chance.randrange(2000))))
        if choice >= 4:
            peer.send(codec.Publish(id=2, topic=b"q"),
                      codec.Unsubscribe(id=1), codec.Ping())
        if choice == 5:
            peer.send(codec.Goaway(code=codec.LEAVING))

    def one(self, chance):
        peer = self.raw(chance.choice(self.broker.addresses))
        self.peers.remove(peer)
        self.live(peer, chance)
        end = chance.randrange(4)
        if end == 0:
            peer.half_close()
            peer.rest()
        elif end == 1:
            peer.send(codec.Goaway(code=codec.LEAVING))
        if end == 2 and peer.sock.family != 1:
            peer.reset()
        else:
            peer.abort()

    def test_thousands_of_connections(self):
        chance = random.Random(1)
        with self.subTest("warm up"):
            for _ in range(300):
                self.one(chance)
        wait_until(lambda: self.connection_count() == 0)
        descriptors = self.broker.descriptors()
        memory = self.broker.rss_bytes()
        for _ in range(ROUNDS):
            self.one(chance)
        wait_until(lambda: self.connection_count() == 0)
        wait_until(lambda: self.broker.descriptors() <= descriptors)
        if MEMORY_IS_MEASURABLE:
            self.assertLess(self.broker.rss_bytes() - memory, 8 * MIB)
        self.assertEqual(self.connect().publish("a/b/c").matched, 0)

    def test_subscriptions_come_and_go(self):
        connection = self.connect()

        def turn():
            connection.send_bytes(b"".join(
                codec.Subscribe(id=n, filter=b"deep/%d/x/+/y/%d/#" % (n, n),
                                group=b"g%d" % n if n % 2 else b"").encode()
                for n in range(1, 1001)))
            connection.send_bytes(b"".join(
                codec.Unsubscribe(id=n).encode() for n in range(1, 1001)))
            answers = []
            while len(answers) < 2000:
                name = connection.next_event().NAME
                answers += [name] if name != "NOTICE" else []  # RATE_HIGH
            self.assertEqual(set(answers), {"SUBACK", "UNSUBACK"})
        for _ in range(3):
            turn()
        memory = self.broker.rss_bytes()
        for _ in range(15):
            turn()
        if MEMORY_IS_MEASURABLE:
            self.assertLess(self.broker.rss_bytes() - memory, 4 * MIB)
        # Only that of the asker itself is there.
        self.assertEqual(len(self.system_list("subscriptions")), 1)

    def test_topics_leave_nothing_behind(self):
        """200,000 different topics, published to nobody."""
        publisher = self.connect()
        memory = self.broker.rss_bytes()
        for start in range(0, 200000, 5000):
            publisher.send_bytes(b"".join(
                codec.Publish(topic=b"topic/%d/%d" % (n % 97, n)).encode()
                for n in range(start, start + 5000)))
        publisher.ping()
        if MEMORY_IS_MEASURABLE:
            self.assertLess(self.broker.rss_bytes() - memory, 16 * MIB)

    def test_hundreds_at_the_same_time(self):
        connections = []
        for n in range(300):
            peer = self.raw(self.broker.addresses[n % 2])
            peer.hello()
            peer.send(codec.Subscribe(id=1, filter=b"t"))
            self.assertEqual(peer.next_frame().NAME, "SUBACK")
            connections.append(peer)
        self.assertEqual(self.connect().publish("t", "x").matched, 300)
        for peer in connections:
            self.assertEqual(peer.next_frame().NAME, "CONTEXT")
            self.assertEqual(peer.next_frame().payload, b"x")


if __name__ == "__main__":
    unittest.main()
