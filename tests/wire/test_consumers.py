# SPDX-License-Identifier: MIT
"""Durable consumers: kept, joined, acknowledged, redelivered, shared.

PROTOCOL.md sections 4.16 to 4.19 and 5.14.
"""
import collections
import time
import unittest

import wire_codec as codec
from access_rig import AccessTest
from broker_wire import Message
from harness import numbered, publish_bulk, wait_until
from stream_rig import StreamTest

CONSUMER_KEYS = {
    "name", "stream", "ack", "window", "ack_wait_ms", "backoff_ms",
    "max_deliveries", "floor", "next", "outstanding", "waiting",
    "connections", "delivered", "redelivered", "acknowledged", "returned",
    "timed_out", "dead_lettered", "expired", "trimmed"}


class ConsumerTest(StreamTest):
    def setUp(self):
        super().setUp()
        self.control = self.connect()
        self.add(self.control)

    def fill(self, count, start=0):
        publish_bulk(self.control, "s/a", numbered(count, start=start))

    def consumer(self, name="C", **settings):
        settings.setdefault("stream", "S")
        return self.control.system("consumer/add", name=name, **settings)

    def state(self, name="C"):
        return self.control.system("consumer/info", name=name)

    def wait_for(self, name="C", **expected):
        """Until these are the consumer's numbers."""
        wait_until(lambda: {key: self.state(name)[key] for key in expected}
                   == expected, what="%r of %r" % (expected,
                                                   self.state(name)))

    def join(self, name="C", window=0, connection=None):
        """(connection, subscription id)"""
        connection = connection or self.connect()
        return connection, connection.join(name, window).id

    def take(self, connection, count):
        """The next messages: [(sequence, deliveries)]."""
        events = [connection.next_event() for _ in range(count)]
        for event in events:
            self.assertIsInstance(event, Message)
        return [(event.sequence, event.deliveries) for event in events]


class Keeping(ConsumerTest):
    def test_a_consumer_is_as_it_was_asked_for(self):
        consumer = self.consumer(
            filter="s/+", ack="cumulative", window=7, ack_wait_ms=5000,
            backoff_ms=[1, 2], max_deliveries=3, dead_letter="dead/x",
            **{"from": "new"})
        expected = dict(
            name="C", stream="S", filter="s/+", ack="cumulative", window=7,
            ack_wait_ms=5000, backoff_ms=[1, 2], max_deliveries=3,
            dead_letter="dead/x", outstanding=0, connections=0, delivered=0)
        self.assertEqual({key: consumer[key] for key in expected}, expected)
        self.assertLessEqual(CONSUMER_KEYS, set(consumer))
        self.assertEqual(self.info(self.control)["consumers"], 1)
        self.assertEqual(self.state(), consumer)

    def test_adding_it_again(self):
        self.consumer(ack="each")
        self.consumer(ack="each")
        for settings in {"ack": "none"}, {"window": 3}:
            self.assert_refused("NAME_IN_USE", self.consumer, **settings)
        self.assertEqual(
            self.control.system("consumer/list")["total"], 1)

    def test_list(self):
        self.add(self.control, "T", ["t"])
        for n in range(5):
            self.consumer("C%d" % n, stream="ST"[n % 2])
        page = self.control.system("consumer/list", offset=1, limit=2)
        self.assertEqual((page["total"], page["offset"],
                          len(page["consumers"])), (5, 1, 2))
        page = self.control.system("consumer/list", stream="T")
        self.assertEqual(sorted(each["name"] for each in page["consumers"]),
                         ["C1", "C3"])

    def test_starts(self):
        self.fill(10)
        for start, expected in [
                ("first", 1), ("last", 10), ("new", 11),
                ({"sequence": 4}, 4), ({"sequence": 20}, 20),
                ({"time_ms": 0}, 1), ({"ago_ms": 3600000}, 1),
                ({"time_ms": int(time.time() * 1000) + 60000}, 11),
                ({"last": 3}, 8)]:
            with self.subTest(start=start):
                consumer = self.consumer(**{"from": start})
                self.assertEqual(consumer["next"], expected)
                connection, subscription = self.join()
                if expected <= 10:
                    self.assertEqual(self.take(connection, 1),
                                     [(expected, 1)])
                connection.abort()
                self.wait_for(connections=0)
                self.control.system("consumer/remove", name="C")

    def test_refusals(self):
        self.consumer("there")
        for code, settings in [
                ("BAD_REQUEST", {"name": "a b"}),
                ("BAD_REQUEST", {"name": ""}),
                ("BAD_REQUEST", {"stream": 1}),
                ("BAD_REQUEST", {"ack": "all"}),
                ("BAD_REQUEST", {"backoff_ms": 5}),
                ("BAD_REQUEST", {"backoff_ms": [-1]}),
                ("BAD_REQUEST", {"max_deliveries": -1}),
                ("BAD_REQUEST", {"dead_letter": "a/+"}),
                ("BAD_REQUEST", {"from": "middle"}),
                ("BAD_REQUEST", {"from": {"sequence": 1, "last": 1}}),
                ("UNKNOWN_STREAM", {"stream": "no"})]:
            with self.subTest(settings=settings):
                self.assert_refused(code, self.consumer,
                                    **dict({"name": "C"}, **settings))
        for what in "info", "explain", "remove", "reset":
            self.assert_refused("UNKNOWN_CONSUMER", self.control.system,
                                "consumer/" + what, name="no",
                                **({"from": "first"} if what == "reset"
                                   else {}))
        self.assert_refused("UNKNOWN_CONSUMER", self.control.join, "no")
        self.assertEqual(self.control.system("consumer/list")["total"], 1)

    def test_reset(self):
        self.fill(5)
        self.consumer()
        connection, subscription = self.join()
        self.take(connection, 5)
        connection.acknowledge(subscription, 1, 5)
        self.wait_for(floor=5)
        self.control.system("consumer/reset", name="C",
                            **{"from": {"sequence": 3}})
        self.assertEqual([sequence for sequence, _ in
                          self.take(connection, 3)], [3, 4, 5])

    def test_remove_under_a_connection(self):
        self.consumer()
        connection, subscription = self.join()
        self.assertEqual(self.control.system("consumer/remove", name="C"),
                         {})
        error = connection.next_event()
        self.assertEqual((error.name, error.error_class, error.id),
                         ("UNKNOWN_CONSUMER", codec.Error.SUBSCRIPTION,
                          subscription))

    def test_the_stream_is_removed(self):
        self.consumer()
        connection, subscription = self.join()
        self.control.system("stream/remove", name="S")
        error = connection.next_event()
        self.assertEqual((error.name, error.error_class, error.id),
                         ("UNKNOWN_STREAM", codec.Error.SUBSCRIPTION,
                          subscription))

    def test_explain(self):
        self.consumer()
        for step in range(2):
            answer = self.control.system("consumer/explain", name="C")
            self.assertEqual(answer["name"], "C")
            self.assertTrue(answer["reasons"])
            for each in answer["reasons"]:
                self.assertTrue(each["reason"] and each["text"])
            self.join()


class Acknowledging(ConsumerTest):
    def test_each(self):
        self.fill(6)
        self.consumer(ack="each")
        connection, subscription = self.join()
        self.assertEqual(self.take(connection, 6),
                         [(n, 1) for n in range(1, 7)])
        connection.acknowledge(subscription, 2)
        connection.acknowledge(subscription, 4, 5)
        self.wait_for(floor=0, outstanding=3, acknowledged=3)
        connection.acknowledge(subscription, 1)
        self.wait_for(floor=2, outstanding=2)
        # What is not outstanding is ignored.
        connection.acknowledge(subscription, 1, 2)
        connection.acknowledge(subscription, 1000)
        connection.acknowledge(subscription, 3, 6)
        self.wait_for(floor=6, outstanding=0, acknowledged=6)
        self.fill(1)
        self.assertEqual(self.take(connection, 1), [(7, 1)])

    def test_cumulative(self):
        self.fill(10)
        self.consumer(ack="cumulative")
        connection, subscription = self.join()
        self.take(connection, 10)
        connection.acknowledge_up_to(subscription, 4)
        self.wait_for(floor=4, outstanding=6)
        other, _ = self.join()
        self.fill(1)
        self.assertEqual(self.take(connection, 1), [(11, 1)])
        self.assert_silent(other)
        connection.abort()
        self.assertEqual(self.take(other, 7),
                         [(n, 2) for n in range(5, 11)] + [(11, 2)])

    def test_cumulative_acknowledges_what_was_seen(self):
        self.fill(200)
        self.consumer(ack="cumulative", window=100)
        connection, _ = self.join()
        self.take(connection, 100)
        connection.abort()
        # What comes again comes before what is new.
        connection, subscription = self.join()
        self.assertEqual(self.take(connection, 100),
                         [(n, 2) for n in range(1, 101)])
        connection.give_back(subscription, 7, 0)
        self.assertEqual(self.take(connection, 1), [(7, 3)])
        # This may have been said before 7 came again.
        connection.acknowledge_up_to(subscription, 100)
        self.wait_for(floor=6, acknowledged=99)
        connection.acknowledge_up_to(subscription, 7)
        self.wait_for(floor=100, acknowledged=100)

    def test_none(self):
        self.fill(10)
        self.consumer(ack="none")
        connection, _ = self.join()
        self.take(connection, 10)
        self.wait_for(floor=10, outstanding=0, delivered=10)
        connection.abort()
        connection, _ = self.join()
        self.fill(1)
        self.assertEqual(self.take(connection, 1), [(11, 1)])

    def test_window(self):
        self.fill(20)
        self.consumer(window=10)
        connection, subscription = self.join(window=3)
        self.assertEqual(len(self.take(connection, 3)), 3)
        self.assert_silent(connection)
        connection.acknowledge(subscription, 2)
        self.assertEqual(self.take(connection, 1), [(4, 1)])
        other, _ = self.join()
        self.take(other, 7)
        self.assert_silent(other)
        self.assertEqual(self.state()["outstanding"], 10)

    def test_several_share_the_work(self):
        self.consumer(window=1000)
        members = [self.join() for _ in range(4)]
        self.fill(1000)
        got = collections.Counter()
        share = [0] * 4
        deadline = time.monotonic() + 30
        while len(got) < 1000 and time.monotonic() < deadline:
            for n, (connection, subscription) in enumerate(members):
                connection.ping()
                while connection.inbox:
                    event = connection.inbox.popleft()
                    got[event.sequence] += 1
                    share[n] += 1
                    connection.acknowledge(subscription, event.sequence)
        self.assertEqual(set(got.values()), {1})
        self.assertEqual(len(got), 1000)
        self.assertGreater(min(share), 0, share)
        self.wait_for(floor=1000, outstanding=0)

    def test_filter(self):
        self.consumer(filter="s/1")
        for n in range(10):
            self.control.publish("s/%d" % (n % 2), str(n))
        connection, subscription = self.join()
        got = self.take(connection, 5)
        self.assertEqual(got, [(n, 1) for n in (2, 4, 6, 8, 10)])
        connection.acknowledge(subscription, 1, 10)
        self.wait_for(floor=10, outstanding=0)


class Redelivery(ConsumerTest):
    def test_given_back(self):
        self.fill(3)
        self.consumer()
        connection, subscription = self.join()
        self.take(connection, 3)
        connection.give_back(subscription, 2, 0)
        self.assertEqual(self.take(connection, 1), [(2, 2)])
        before = time.monotonic()
        connection.give_back(subscription, 1, 300)
        self.assertEqual(self.take(connection, 1), [(1, 2)])
        self.assertGreaterEqual(time.monotonic() - before, 0.29)
        self.wait_for(returned=2, redelivered=2, outstanding=3)

    def test_the_connection_ends(self):
        self.fill(4)
        self.consumer()
        connection, subscription = self.join()
        self.take(connection, 4)
        connection.acknowledge(subscription, 2)
        connection.ping()
        connection.abort()
        connection, subscription = self.join()
        self.assertEqual(self.take(connection, 3), [(1, 2), (3, 2), (4, 2)])
        books = connection.unsubscribe(subscription)
        self.assertEqual(books.delivered, 3)
        connection, _ = self.join()
        self.assertEqual(self.take(connection, 3), [(1, 3), (3, 3), (4, 3)])

    def test_not_acknowledged_in_time(self):
        self.fill(2)
        self.consumer(ack_wait_ms=400)
        connection, subscription = self.join()
        self.take(connection, 2)
        before = time.monotonic()
        connection.acknowledge(subscription, 1)
        self.assertEqual(self.take(connection, 1), [(2, 2)])
        self.assertGreaterEqual(time.monotonic() - before, 0.35)
        self.assertEqual(self.state()["timed_out"], 1)
        # Touched, it has time again.
        touched = 0
        while time.monotonic() < before + 2.5:
            connection.touch(subscription, 2)
            connection.ping()
            touched += 1
            try:
                self.fail(connection.next_event(0.1))
            except TimeoutError:
                pass
        connection.acknowledge(subscription, 2)
        self.wait_for(floor=2, timed_out=1)

    def test_backoff(self):
        self.fill(1)
        self.consumer(backoff_ms=[0, 400])
        connection, subscription = self.join()
        self.take(connection, 1)
        for deliveries, least in (2, 0), (3, 0.38), (4, 0.38):
            before = time.monotonic()
            connection.give_back(subscription, 1)
            self.assertEqual(self.take(connection, 1), [(1, deliveries)])
            self.assertGreaterEqual(time.monotonic() - before, least)

    def test_dead_letters(self):
        """Of what was buried, and of what was delivered too often."""
        self.add(self.control, "dead", ["dead/#"])
        self.control.publish("s/a", "first", headers=[("k", b"v")])
        self.control.publish("s/b", "second")
        self.consumer(max_deliveries=2, dead_letter="dead/c")
        listener = self.connect()
        listener.subscribe("dead/#")
        connection, subscription = self.join()
        self.take(connection, 2)
        connection.bury(subscription, 1)
        connection.give_back(subscription, 2, 0)
        self.assertEqual(self.take(connection, 1), [(2, 2)])
        connection.give_back(subscription, 2, 0)
        for payload, sequence, topic, deliveries, more in [
                (b"first", b"1", b"s/a", b"1", [("k", b"v")]),
                (b"second", b"2", b"s/b", b"2", [])]:
            event = listener.next_event()
            self.assertEqual((event.topic, event.payload),
                             ("dead/c", payload))
            headers = dict(event.headers)
            self.assertEqual(headers, dict(
                {"dead-letter-stream": b"S", "dead-letter-topic": topic,
                 "dead-letter-sequence": sequence,
                 "dead-letter-consumer": b"C",
                 "dead-letter-deliveries": deliveries}, **dict(more)))
        self.wait_for(floor=2, dead_lettered=2, outstanding=0)
        self.assertEqual(self.read(self.control, "dead").payloads,
                         [b"first", b"second"])
        self.assert_silent(connection)

    def test_expired_and_trimmed(self):
        self.control.publish("s/a", "1", ttl_ms=1)
        self.fill(9)
        self.control.system("stream/purge", name="S", before=1)
        wait_until(lambda: time.time() * 1000 > self.info(
            self.control)["first_time_ms"] + 5)
        self.consumer()
        connection, subscription = self.join(window=4)
        messages = []
        while len(messages) < 4:
            event = connection.next_event()
            if isinstance(event, Message):
                messages.append(event.sequence)
        self.assertEqual(messages, [2, 3, 4, 5])
        self.control.system("stream/purge", name="S", keep=2)
        connection.acknowledge(subscription, 1, 5)
        while len(messages) < 6:
            event = connection.next_event()
            if isinstance(event, Message):
                messages.append(event.sequence)
        self.assertEqual(messages[4:], [9, 10])
        connection.acknowledge(subscription, 1, 10)
        self.wait_for(floor=10, outstanding=0)
        state = self.state()
        self.assertEqual((state["expired"], state["trimmed"]), (1, 3))


class Restarts(ConsumerTest):
    def test_nothing_is_left_out(self):
        self.consumer(ack_wait_ms=60000)
        got, acknowledged = set(), set()
        for kill in False, True, True:
            self.fill(300)
            connection, subscription = self.join()
            first = True
            while first or len(acknowledged) % 100:
                event = connection.next_event()
                got.add(event.sequence)
                if event.sequence not in acknowledged:
                    acknowledged.add(event.sequence)
                    first = False
                connection.acknowledge(subscription, event.sequence)
            self.control = self.restart(kill)
        connection, subscription = self.join()

        def all_done():
            connection.ping()
            while connection.inbox:
                event = connection.inbox.popleft()
                got.add(event.sequence)
                connection.acknowledge(subscription, event.sequence)
            return self.state()["floor"] == 900

        wait_until(all_done)
        self.assertEqual(got, set(range(1, 901)))

    def test_acknowledged_and_stopped_is_not_delivered_again(self):
        self.fill(10)
        self.consumer()
        connection, subscription = self.join()
        self.take(connection, 10)
        connection.acknowledge(subscription, 1, 3)
        connection.acknowledge(subscription, 5)
        self.wait_for(acknowledged=4)
        settings = self.state()
        self.control = self.restart()
        for key in "stream", "ack", "window", "ack_wait_ms", "floor":
            self.assertEqual(self.state()[key], settings[key], key)
        connection, _ = self.join()
        self.assertEqual([sequence for sequence, _ in
                          self.take(connection, 6)], [4, 6, 7, 8, 9, 10])

    def test_removed_stays_removed(self):
        self.consumer()
        self.control.system("consumer/remove", name="C")
        self.control = self.restart(kill=True)
        self.assert_refused("UNKNOWN_CONSUMER", self.state)


class Rights(ConsumerTest, AccessTest):
    rules = ("allow bob subscribe s/a\n"
             "allow * publish s/#\n"
             "allow * all _inbox/#\n")

    def connect(self, address=None, **options):
        if "credentials" not in options:
            address = self.broker.unix
        return super().connect(address, **options)

    def test_joining(self):
        self.consumer("all")
        self.consumer("some", filter="s/a")
        bob = self.user("bob")
        error = self.assert_refused("SUBSCRIBE_DENIED", bob.join, "all")
        self.assertEqual(error.refused_type, codec.Consume.TYPE)
        bob.join("some")
        self.control.publish("s/a", "x")
        self.assertEqual(self.take(bob, 1), [(1, 1)])
        self.assert_refused("PUBLISH_DENIED", bob.system, "consumer/info",
                            name="some")


if __name__ == "__main__":
    unittest.main()
