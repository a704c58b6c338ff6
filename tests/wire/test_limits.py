# SPDX-License-Identifier: MIT
"""Limits that are stated are kept, and reaching one harms nobody.

PROTOCOL.md sections 3.2, 4.2 and 7 (401, 402, 404).
"""
import resource
import time
import unittest

import broker_wire
import wire_codec as codec
from harness import BrokerTest, wait_until


def try_to_connect(test):
    try:
        return test.connect()
    except (broker_wire.Refused, broker_wire.Closed, OSError):
        return None


class Connections(BrokerTest):
    options = {"max_connections": 3}
    check_books_at_end = False  # no connection is left for asking

    def test_one_too_many(self):
        peers = [self.connect() for _ in range(3)]
        for address in self.broker.addresses:
            extra = self.raw(address)
            # It may be told at once, or when it says HELLO.
            try:
                extra.send(codec.Hello())
            except OSError:
                pass
            frames = extra.rest()
            self.assertEqual(frames[-1].NAME, "GOAWAY")
            self.assertEqual(frames[-1].name, "TOO_MANY_CONNECTIONS")
        for peer in peers:
            peer.ping()
        peers[0].close()
        wait_until(lambda: try_to_connect(self), what="a free place").ping()

    def test_many_too_many(self):
        """Hundreds that are turned away, whether they listen or not."""
        peers = [self.connect() for _ in range(3)]
        for n in range(300):
            extra = self.raw(self.broker.addresses[n % 2])
            if n % 2:
                self.assertEqual(extra.rest()[-1].name,
                                 "TOO_MANY_CONNECTIONS")
            extra.abort()
        for peer in peers:
            peer.ping()

    def test_many_too_many_that_stay(self):
        """They do not close; whether each is told why is left open."""
        peers = [self.connect() for _ in range(3)]
        extra = [self.raw(self.broker.addresses[n % 2]) for n in range(300)]
        for peer in extra:
            self.assertLessEqual({getattr(f, "name", "") for f in
                                  peer.rest()}, {"TOO_MANY_CONNECTIONS"})
        for peer in peers:
            peer.ping()
        self.assertLess(self.broker.descriptors(), 100)


class UserConnections(BrokerTest):
    """Who comes by TCP is one user here, by a UNIX socket another one."""
    options = {"max_user_connections": 2}

    def test_one_too_many_of_one_user(self):
        peers = [self.connect() for _ in range(2)]
        extra = self.raw()
        extra.send(codec.Hello(id=1), codec.Publish(id=1, topic=b"t"))
        self.assert_closed_with(extra, "TOO_MANY_CONNECTIONS",
                                codec.Hello(id=1))
        self.connect(self.broker.unix).close()
        for peer in peers:
            peer.ping()
        peers[0].close()
        wait_until(lambda: try_to_connect(self), what="a free place").ping()

    def test_over_and_over(self):
        """Each way to leave gives the place back."""
        for n in range(30):
            peer = wait_until(lambda: try_to_connect(self),
                              what="a free place")
            [peer.close, peer.abort, peer.shutdown_write][n % 3]()


class Unauthenticated(BrokerTest):
    options = {"max_unauthenticated": 3}

    def test_one_too_many_that_say_nothing(self):
        first = self.connect()
        silent = [self.raw() for _ in range(3)]
        first.ping()
        extra = self.raw()
        self.assertEqual(extra.rest()[-1].name, "TOO_MANY_CONNECTIONS")
        for peer in silent:
            peer.hello()
        for _ in range(5):
            self.connect().ping()

    def test_those_who_leave_make_room(self):
        for n in range(20):
            wait_until(lambda: try_to_connect(self), what="room").close()
            peer = self.raw()
            if n % 2:
                peer.send(b"GET / HTTP/1.1\r\n\r\n")
            peer.abort()


class OutputAge(BrokerTest):
    options = {"max_output_age_ms": 500}

    def test_a_subscriber_that_reads_nothing(self):
        slow, publisher = self.raw(self.broker.unix), self.connect()
        slow.hello()
        slow.send(codec.Subscribe(id=1, filter=b"t"))
        self.assertEqual(slow.next_frame().NAME, "SUBACK")
        begin = time.monotonic()
        for _ in range(100):
            publisher.publish("t", bytes(50000))
        wait_until(lambda: publisher.publish("t", b"x").matched == 0,
                   what="the end of a queue that is too old")
        self.assertGreater(time.monotonic() - begin, 0.4)
        self.assertIn("SLOW_CONSUMER", self.broker.log())

    def test_a_subscriber_that_reads_is_not_closed(self):
        reader, publisher = self.connect(), self.connect()
        reader.subscribe("t")
        begin, n = time.monotonic(), 0
        while time.monotonic() < begin + 1.5:
            publisher.publish("t", str(n))
            self.assertEqual(reader.next_event().payload, b"%d" % n)
            n += 1


class Subscriptions(BrokerTest):
    options = {"max_subscriptions": 3}

    def test_of_one_connection(self):
        connection, other = self.connect(), self.connect()
        self.assertEqual(connection.welcome.max_subscriptions, 3)
        ids = [connection.subscribe("t/%d" % n).id for n in range(3)]
        error = self.assert_refused("TOO_MANY_SUBSCRIPTIONS",
                                    connection.subscribe, "t/3")
        self.assertEqual((error.refused_type, error.id, error.retry),
                         (codec.Subscribe.TYPE, 4, 1))
        other.subscribe("t/3")  # the limit is each connection's own
        connection.unsubscribe(ids[0])
        connection.subscribe("t/3", "group")
        self.assert_refused("TOO_MANY_SUBSCRIPTIONS", connection.subscribe,
                            "t/4", "group")


class ManySubscriptions(BrokerTest):
    def test_the_default_limit_can_be_used(self):
        """All of them match one message: one frame, one long context."""
        peer = self.raw()
        count = peer.hello().max_subscriptions
        for start in range(1, count + 1, 1000):
            stop = min(start + 1000, count + 1)
            peer.send(b"".join(
                codec.Subscribe(id=n, filter=b"t").encode()
                for n in range(start, stop)))
            for n in range(start, stop):
                self.assertEqual(peer.next_frame().id, n)
        peer.send(codec.Subscribe(id=count + 1, filter=b"t"))
        self.assertEqual(peer.next_frame().name, "TOO_MANY_SUBSCRIPTIONS")
        peer.send(codec.Publish(id=1, topic=b"t"))
        frames = {}
        while len(frames) < 3:
            frame = peer.next_frame()
            frames[frame.NAME] = frame
        self.assertEqual(sorted(frames["CONTEXT"].subscriptions),
                         list(range(1, count + 1)))
        self.assertEqual(frames["PUBACK"].matched, count)

    def test_with_the_smallest_body_limit(self):
        """The context of a message for all still fits into a frame."""
        peer = self.raw()
        welcome = peer.hello(max_body_bytes=65536)
        count = welcome.max_subscriptions
        self.assertLessEqual(20 + 4 * count, 65536)
        for n in range(1, count + 1):
            peer.send(codec.Subscribe(id=n, filter=b"t"))
            self.assertEqual(peer.next_frame().NAME, "SUBACK")
        self.assertEqual(self.connect().publish("t").matched, count)
        self.assertEqual(len(peer.next_frame().subscriptions), count)


class Topics(BrokerTest):
    options = {"max_topic_bytes": 100, "max_topic_levels": 4}

    def test_length(self):
        connection = self.connect()
        self.assertEqual(connection.welcome.max_topic_bytes, 100)
        connection.subscribe("x" * 100)
        self.assertEqual(connection.publish("x" * 100).matched, 1)
        self.assert_refused("BAD_TOPIC", connection.publish, "x" * 101)
        self.assert_refused("BAD_FILTER", connection.subscribe, "x" * 101)
        self.assert_refused("BAD_TOPIC", connection.publish, "x" * 60000)
        self.assert_refused("BAD_FILTER", connection.subscribe, "x" * 60000)

    def test_reply_to(self):
        """Beyond a limit it is BAD_TOPIC, as the topic itself is (3.3)."""
        connection = self.connect()
        connection.subscribe("t")
        for name in ["x" * 101, "a/b/c/d/e"]:
            self.assert_refused("BAD_TOPIC", connection.publish, "t",
                                reply_to=name)
        for name in ["x" * 100, "a/b/c/d"]:
            connection.publish("t", reply_to=name)
            self.assertEqual(connection.next_event().reply_to,
                             name.encode())

    def test_levels(self):
        connection = self.connect()
        self.assertEqual(connection.welcome.max_topic_levels, 4)
        for text in ["a/b/c/d", "///", "+/+/+/#"]:
            connection.subscribe(text)
        for topic in ["a/b/c/d", "///"]:
            self.assertEqual(connection.publish(topic).matched, 2)
        for topic in ["a/b/c/d/e", "////", "/" * 99]:
            self.assert_refused("BAD_TOPIC", connection.publish, topic)
        for text in ["a/b/c/d/e", "a/b/c/d/#", "////", "+/+/+/+/+"]:
            self.assert_refused("BAD_FILTER", connection.subscribe, text)


class LongestTopics(BrokerTest):
    options = {"max_topic_bytes": 65535, "max_topic_levels": 1024}

    def test_the_longest_that_the_wire_can_say(self):
        connection = self.connect()
        many_levels = ("y" * 63 + "/") * 1023 + "z" * 63
        for topic in ["x" * 65535, "/" * 1023, many_levels]:
            connection.subscribe(topic)
            self.assertEqual(connection.publish(topic).matched, 1)
            self.assertEqual(connection.next_event().topic, topic)


class Bodies(BrokerTest):
    options = {"max_body_bytes": 100000}

    def test_of_the_broker(self):
        connection = self.connect()
        self.assertEqual(connection.welcome.max_body_bytes, 100000)
        connection.subscribe("t")
        fits = bytes(100000 - 5)
        self.assertEqual(connection.publish("t", fits).matched, 1)
        self.assertEqual(connection.next_event().payload, fits)
        error = self.assert_refused("TOO_LARGE", connection.publish, "t",
                                    fits + b"x")
        self.assertEqual(error.value(codec.LIMIT),
                         (100000).to_bytes(8, "big"))
        self.assert_silent(connection)


class Descriptors(BrokerTest):
    check_books_at_end = False

    def test_running_out_of_them(self):
        """accept() fails for a while; those who are in are served, the
        broker does not spin, and it recovers."""
        first = self.connect()
        first.subscribe("t")
        limit = self.broker.descriptors() + 10
        resource.prlimit(self.broker.process.pid, resource.RLIMIT_NOFILE,
                         (limit, limit))
        waiting = [broker_wire.open_socket(address)
                   for address in self.broker.addresses for _ in range(60)]
        self.assertEqual(first.publish("t", "still here").matched, 1)
        self.assertEqual(first.next_event().payload, b"still here")
        busy = self.broker.cpu_seconds()
        for _ in range(100):
            with self.assertRaises(TimeoutError):
                first.next_event(0.01)
        self.assertLess(self.broker.cpu_seconds() - busy, 0.5)
        self.assertLessEqual(self.broker.descriptors(), limit)
        for sock in waiting:
            sock.close()
        again = [wait_until(lambda: try_to_connect(self), what="recovery")
                 for _ in range(5)]
        for connection in again:
            self.assertEqual(connection.publish("t").matched, 1)

    def test_few_from_the_start(self):
        """Started with few descriptors it turns away what it cannot serve,
        or leaves it waiting, and recovers as well."""
        broker = self.broker = self.start_broker(nofile=80)
        first = self.connect()
        waiting = [broker_wire.open_socket(address)
                   for address in broker.addresses for _ in range(100)]
        first.ping()
        for sock in waiting:
            sock.close()
        for _ in range(5):
            wait_until(lambda: try_to_connect(self), what="recovery").ping()


if __name__ == "__main__":
    unittest.main()
