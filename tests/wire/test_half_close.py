# SPDX-License-Identifier: MIT
"""A client that shuts down its writing side loses nothing.

PROTOCOL.md section 2 (half-close, close by the broker, leaving) and 2.1.
"""
import time
import unittest

import wire_codec as codec
from broker_wire import Message
from harness import BrokerTest, Ledger, numbered, publish_bulk, wait_until


class HalfClose(BrokerTest):
    # So long that a test that waits for it would be seen.
    options = {"half_close_linger_ms": 60000}

    def test_all_acknowledgements_come(self):
        for address in self.broker.addresses:
            peer = self.raw(address)
            peer.send(codec.Hello(), b"".join(
                codec.Publish(id=n, topic=b"t").encode()
                for n in range(1, 1001)))
            peer.half_close()
            frames = peer.rest()
            self.assertEqual(frames[0].NAME, "WELCOME")
            self.assertEqual({f.NAME for f in frames[1:]}, {"PUBACK"})
            self.assertEqual(sum(f.count for f in frames[1:]), 1000)

    def test_every_kind_of_answer_comes(self):
        peer = self.raw()
        peer.send(codec.Hello(), codec.Subscribe(id=1, filter=b"t"),
                  codec.Publish(id=1, topic=b"t", payload=b"own"),
                  codec.Publish(id=2, topic=b"+"), codec.Ping(id=3),
                  codec.Unsubscribe(id=4),
                  codec.HEADER.pack(0, 0x7000, 0, 5))
        peer.half_close()
        frames = peer.rest()
        self.assertEqual(sorted(f.NAME for f in frames), [
            "CONTEXT", "ERROR", "ERROR", "ERROR", "PONG", "PUBACK",
            "PUBLISH", "SUBACK", "WELCOME"])

    def test_everything_published_is_routed(self):
        subscriber, peer = self.connect(), self.raw()
        ledger = Ledger(subscriber.subscribe("t").id)
        peer.send(codec.Hello(), b"".join(
            codec.Publish(topic=b"t", payload=p).encode()
            for p in numbered(5000)))
        peer.half_close()
        ledger.read(subscriber, 5000)
        self.assertEqual(ledger.missing, 0)

    def test_what_is_queued_for_a_subscriber_comes(self):
        subscriber = self.connect(self.broker.unix)
        ledger = Ledger(subscriber.subscribe("t").id)
        publish_bulk(self.connect(), "t", numbered(3000, 1000))
        subscriber.shutdown_write()
        self.let_process()
        for event in subscriber.read_to_end():
            self.assertTrue(ledger.take(event))
        self.assertEqual((ledger.received, ledger.missing), (3000, 0))

    def test_a_subscriber_without_requests_does_not_linger(self):
        subscriber = self.connect()
        subscriber.subscribe("t")
        started = time.monotonic()
        subscriber.shutdown_write()
        self.assertEqual(subscriber.read_to_end(), [])
        self.assertLess(time.monotonic() - started, 30)
        self.assertEqual(self.connect().publish("t").matched, 0)

    def test_members_of_groups_do_not_linger(self):
        """Requests, but no plain subscription for a reply."""
        connection, server = self.connect(), self.connect()
        server.subscribe("ask")
        connection.subscribe("inbox", "g")
        connection.publish("ask", reply_to="inbox")
        started = time.monotonic()
        connection.shutdown_write()
        self.assertEqual(connection.read_to_end(), [])
        self.assertLess(time.monotonic() - started, 30)

    def test_the_end_of_an_empty_stream(self):
        """Half-close before HELLO and inside of frames: it just ends."""
        hello = codec.Hello().encode()
        publish = codec.Publish(topic=b"t", payload=b"never whole").encode()
        for data in [b"", hello[:1], hello[:12], hello[:-1],
                     hello + publish[:1], hello + publish[:12],
                     hello + publish[:-1]]:
            for address in self.broker.addresses:
                peer = self.raw(address)
                peer.send(data)
                peer.half_close()
                names = [frame.NAME for frame in peer.rest()]
                self.assertEqual(names[:1], ["WELCOME"] if len(data) >=
                                 len(hello) else names[:1])
                self.assertLessEqual(set(names),
                                     {"WELCOME", "ERROR", "GOAWAY"})

    def test_a_truncated_publish_is_not_routed(self):
        subscriber, peer = self.connect(), self.raw()
        subscriber.subscribe("#")
        peer.send(codec.Hello(), codec.Publish(topic=b"t", payload=b"whole"),
                  codec.Publish(topic=b"t", payload=b"cut").encode()[:-1])
        peer.half_close()
        peer.rest()
        self.assertEqual(subscriber.next_event().payload, b"whole")
        self.assert_silent(subscriber)

    def test_leaving_is_like_a_half_close(self):
        """After GOAWAY from the client the broker answers what came before
        and closes, without waiting for the client's end."""
        peer = self.raw()
        peer.send(codec.Hello(), codec.Subscribe(id=1, filter=b"t"),
                  codec.Publish(id=1, topic=b"t", payload=b"own"),
                  codec.Goaway(code=codec.LEAVING))
        names = [frame.NAME for frame in peer.rest()]
        self.assertEqual(sorted(names), ["CONTEXT", "PUBACK", "PUBLISH",
                                         "SUBACK", "WELCOME"])

    def test_nothing_is_processed_after_leaving(self):
        subscriber, peer = self.connect(), self.raw()
        subscriber.subscribe("#")
        peer.send(codec.Hello(), codec.Goaway(code=codec.LEAVING),
                  codec.Publish(id=1, topic=b"t"), codec.Ping(),
                  b"\xff no frame at all")
        self.assertEqual([f.NAME for f in peer.rest()], ["WELCOME"])
        self.assert_silent(subscriber)

    def test_the_connection_is_gone_afterwards(self):
        before = self.connection_count()
        for _ in range(20):
            connection = self.connect()
            connection.subscribe("t")
            connection.shutdown_write()
            connection.read_to_end()
        wait_until(lambda: self.connection_count() == before)
        self.assertEqual(self.connect().publish("t").matched, 0)


class Replies(BrokerTest):
    options = {"half_close_linger_ms": 60000}

    def setUp(self):
        super().setUp()
        self.server, self.client = self.connect(), self.connect()
        self.server.subscribe("ask")
        self.client.subscribe("inbox/+")

    def ask(self, number):
        self.client.publish("ask", reply_to="inbox/%d" % number)

    def test_replies_after_the_half_close_arrive(self):
        for number in range(3):
            self.ask(number)
        self.client.shutdown_write()
        self.let_process()
        for _ in range(3):
            request = self.server.next_event()
            answer = self.server.publish(request.reply_to, "answer")
            self.assertEqual(answer.matched, 1)
        topics = [self.client.next_event().topic for _ in range(3)]
        self.assertEqual(topics, ["inbox/0", "inbox/1", "inbox/2"])

    def test_over_unix(self):
        self.client.close()
        self.client = self.connect(self.broker.unix)
        self.client.subscribe("inbox/+")
        self.test_replies_after_the_half_close_arrive()

    def test_the_brokers_own_answers(self):
        peer = self.raw()
        peer.send(codec.Hello(), codec.Subscribe(id=1, filter=b"r"),
                  codec.Publish(id=1, topic=b"$sys/stats",
                                fields=[(codec.REPLY_TO, b"r")]))
        peer.half_close()
        names = [peer.next_frame().NAME for _ in range(5)]
        self.assertEqual(sorted(names), ["CONTEXT", "PUBACK", "PUBLISH",
                                         "SUBACK", "WELCOME"])


class Linger(BrokerTest):
    options = {"half_close_linger_ms": 300}

    def test_the_linger_is_bounded(self):
        """Nobody answers: the end comes after the linger, not before."""
        server, client = self.connect(), self.connect()
        server.subscribe("ask")
        client.subscribe("inbox")
        client.publish("ask", reply_to="inbox")
        started = time.monotonic()
        client.shutdown_write()
        self.assertEqual(client.read_to_end(), [])
        self.assertGreater(time.monotonic() - started, 0.25)
        self.assertEqual(server.publish("inbox").matched, 0)

    def test_messages_during_the_linger_arrive(self):
        server, client = self.connect(), self.connect()
        server.subscribe("ask")
        client.subscribe("inbox")
        client.subscribe("news")
        client.publish("ask", reply_to="inbox")
        client.shutdown_write()
        sent = 0
        while server.publish("news", "x").matched:
            sent += 1
        got = [e for e in client.read_to_end() if isinstance(e, Message)]
        self.assertEqual(len(got), sent)


if __name__ == "__main__":
    unittest.main()
