# SPDX-License-Identifier: MIT
"""Retained values: kept, replayed, replaced, cleared, limited.

PROTOCOL.md sections 4.8, 4.9, 4.12 and 5.5.
"""
import unittest

import wire_codec as codec
from broker_wire import Message
from harness import BrokerTest, numbered


class Retained(BrokerTest):
    def replay(self, filter_text, **options):
        """The retained messages of a new subscription (topic, payload)."""
        connection = self.connect()
        answer = connection.subscribe(filter_text, **options)
        events = [connection.next_event() for _ in range(answer.retained)]
        for event in events:
            self.assertTrue(event.retained)
            self.assertEqual(event.subscriptions, (answer.id,))
        self.assert_silent(connection)
        connection.abort()
        return [(event.topic, event.payload) for event in events]

    def test_replay_in_the_order_of_retaining(self):
        publisher = self.connect()
        for topic in ["c", "a", "b/1", "b"]:
            publisher.publish(topic, topic.upper(), retain=True)
        self.assertEqual(self.replay("#"), [
            ("c", b"C"), ("a", b"A"), ("b/1", b"B/1"), ("b", b"B")])
        self.assertEqual(self.replay("b/#"), [("b/1", b"B/1"), ("b", b"B")])
        self.assertEqual(self.replay("+"), [("c", b"C"), ("a", b"A"),
                                            ("b", b"B")])
        self.assertEqual(self.replay("a"), [("a", b"A")])
        self.assertEqual(self.replay("none"), [])

    def test_a_new_value_replaces_the_old_one(self):
        publisher = self.connect()
        publisher.publish("a", "1", retain=True)
        publisher.publish("b", "1", retain=True)
        publisher.publish("a", "2", retain=True)
        self.assertEqual(self.replay("#"), [("b", b"1"), ("a", b"2")])

    def test_without_the_flag_nothing_is_kept(self):
        publisher = self.connect()
        publisher.publish("a", "1", retain=True)
        publisher.publish("a", "2")
        publisher.publish("b", "3")
        self.assertEqual(self.replay("#"), [("a", b"1")])

    def test_clear(self):
        subscriber, publisher = self.connect(), self.connect()
        publisher.publish("a", "1", retain=True)
        publisher.publish("b", "2", retain=True)
        subscriber.subscribe("a", no_retained=True)
        self.assertEqual(publisher.publish("a", "", retain=True).matched, 1)
        event = subscriber.next_event()
        self.assertEqual((event.payload, event.retained), (b"", False))
        self.assertEqual(self.replay("#"), [("b", b"2")])
        # Once more: routed, although there is nothing to clear.
        publisher.publish("a", "", retain=True)
        self.assertEqual(subscriber.next_event().topic, "a")

    def test_an_empty_payload_without_the_flag_clears_nothing(self):
        publisher = self.connect()
        publisher.publish("a", "1", retain=True)
        publisher.publish("a", "")
        self.assertEqual(self.replay("#"), [("a", b"1")])

    def test_no_retained(self):
        self.connect().publish("a", "1", retain=True)
        self.assertEqual(self.replay("#", no_retained=True), [])

    def test_groups_get_none(self):
        self.connect().publish("a", "1", retain=True)
        self.assertEqual(self.replay("#", group="g"), [])

    def test_they_are_live_for_those_who_subscribed_before(self):
        connection = self.connect()
        subscription = connection.subscribe("a").id
        connection.publish("a", "1", retain=True)
        event = connection.next_event()
        self.assertFalse(event.retained)
        self.assertEqual(event.subscriptions, (subscription,))
        self.assertEqual(event.frame.flags, codec.RETAIN)

    def test_only_the_new_subscription_gets_them(self):
        connection = self.connect()
        connection.publish("a", "1", retain=True)
        first = connection.subscribe("a")
        self.assertEqual(connection.next_event().subscriptions, (first.id,))
        second = connection.subscribe("#")
        event = connection.next_event()
        self.assertEqual((event.retained, event.subscriptions),
                         (True, (second.id,)))
        connection.publish("a", "2")
        event = connection.next_event()
        self.assertFalse(event.retained)
        self.assertEqual(set(event.subscriptions), {first.id, second.id})

    def test_they_outlive_their_publisher(self):
        publisher = self.connect()
        publisher.publish("a", "1", retain=True)
        publisher.close()
        self.assertEqual(self.replay("a"), [("a", b"1")])

    def test_byte_for_byte(self):
        frame = codec.Publish(
            id=7, flags=codec.RETAIN | 0x8000, topic="\u00e4/b".encode(),
            payload=bytes(range(256)),
            fields=[(codec.KEY_VALUE, b"\0\1kv"), (0x7001, b"unknown"),
                    (codec.KEY_VALUE | codec.CRITICAL, b"\0\1k")])
        publisher = self.connect()
        publisher.send(frame)
        self.assertEqual(publisher.next_event().NAME, "PUBACK")
        for address in [self.broker.tcp, self.broker.unix]:
            connection = self.connect(address)
            self.assertEqual(connection.subscribe("#").retained, 1)
            self.assertEqual(connection.next_event().frame.encode(),
                             frame.encode())

    def test_a_large_one(self):
        payload = bytes(range(256)) * 8192  # 2 MiB
        self.connect().publish("a", payload, retain=True)
        self.assertEqual(self.replay("a"), [("a", payload)])

    def test_larger_than_the_subscriber_takes(self):
        """It is announced in SUBACK and reported by a GAP (reason 2)."""
        publisher = self.connect()
        publisher.publish("a", bytes(70000), retain=True)
        publisher.publish("b", "small", retain=True)
        connection = self.connect(max_body_bytes=65536)
        answer = connection.subscribe("#")
        seen = 0
        while seen < answer.retained:
            event = connection.next_event()
            if isinstance(event, codec.Gap):
                self.assertEqual((event.reason, event.count,
                                  event.subscriptions), (2, 1, (answer.id,)))
                seen += 1
            else:
                self.assertEqual(event.payload, b"small")
                seen += 1
        self.assert_silent(connection)

    def test_then_live(self):
        """Live messages come behind the retained ones, and say so."""
        publisher = self.connect()
        count = 500
        for n, payload in enumerate(numbered(count)):
            publisher.publish("r/%d" % n, payload, retain=True, ack=False)
        publisher.ping()
        connection = self.connect()
        connection.send_bytes(
            codec.Subscribe(id=1, filter=b"r/#").encode()
            + b"".join(codec.Publish(topic=b"r/live", payload=p).encode()
                       for p in numbered(100)))
        self.assertEqual(connection.next_event().retained, count)
        flags = [connection.next_event().retained
                 for _ in range(count + 100)]
        self.assertEqual(flags, [True] * count + [False] * 100)

    def test_wildcards_do_not_show_the_brokers_topics(self):
        for topic, _ in self.replay("#"):
            self.assertFalse(topic.startswith("$"))

    def test_request_that_is_refused_is_not_kept(self):
        """ERROR means: not routed and not retained."""
        publisher = self.connect()
        self.assert_refused("NO_SUBSCRIBERS", publisher.publish, "a", "1",
                            retain=True, reply_to="r")
        self.assertEqual(self.replay("#"), [])


class Limits(BrokerTest):
    options = {"max_retained_topics": 3}

    def test_number_of_topics(self):
        subscriber, publisher = self.connect(), self.connect()
        subscriber.subscribe("#")
        for topic in "abc":
            publisher.publish(topic, "1", retain=True)
            subscriber.next_event()
        error = self.assert_refused("RETAINED_LIMIT", publisher.publish, "d",
                                    "1", retain=True)
        self.assertEqual((error.retry, error.error_class), (1, 1))
        self.assert_silent(subscriber)  # the whole PUBLISH was refused
        publisher.publish("d", "not retained")
        self.assertEqual(subscriber.next_event().topic, "d")
        # Replacing and clearing are still possible; then there is room.
        publisher.publish("a", "2", retain=True)
        publisher.publish("b", "", retain=True)
        publisher.publish("d", "1", retain=True)
        replay = self.connect()
        answer = replay.subscribe("#")
        self.assertEqual([(replay.next_event().topic)
                          for _ in range(answer.retained)], ["c", "a", "d"])

    def test_without_a_number(self):
        publisher = self.connect()
        for topic in "abcd":
            publisher.publish(topic, "1", retain=True, ack=False)
        error = publisher.next_event()
        self.assertEqual((error.name, error.id, error.value(codec.TOPIC)),
                         ("RETAINED_LIMIT", 0, b"d"))


class LimitOfBytes(BrokerTest):
    options = {"max_retained_bytes": 65536}

    def test_bytes(self):
        publisher = self.connect()
        publisher.publish("a", bytes(40000), retain=True)
        self.assert_refused("RETAINED_LIMIT", publisher.publish, "b",
                            bytes(40000), retain=True)
        publisher.publish("a", bytes(40000), retain=True)  # instead of it
        self.assert_refused("RETAINED_LIMIT", publisher.publish, "a",
                            bytes(100000), retain=True)
        replay = self.connect()
        self.assertEqual(replay.subscribe("#").retained, 1)
        self.assertEqual(len(replay.next_event().payload), 40000)
        publisher.publish("a", "", retain=True)
        publisher.publish("b", bytes(40000), retain=True)

    def test_memory_of_many_replacements(self):
        publisher = self.connect()
        for n in range(2000):
            publisher.publish("a", bytes(10000 + n), retain=True, ack=False)
        publisher.ping()
        self.assertEqual(self.connect().subscribe("a").retained, 1)


class SlowReplay(BrokerTest):
    options = {"max_output_bytes": 131072, "max_body_bytes": 65536,
               "max_retained_topics": 10000,
               "max_retained_bytes": 64 << 20}

    def test_more_retained_values_than_the_queue_holds(self):
        """Received and reported missing add up to what SUBACK announced."""
        publisher = self.connect()
        count = 5000
        for n, payload in enumerate(numbered(count, 200)):
            publisher.publish("r/%d" % n, payload, retain=True, ack=False)
        publisher.ping()
        connection = self.connect(self.broker.unix)
        connection.send(codec.Subscribe(id=1, filter=b"r/#"))
        self.let_process()
        self.assertEqual(connection.next_event().retained, count)
        received = missing = 0
        last = -1
        while received + missing < count:
            event = connection.next_event()
            if isinstance(event, Message):
                number = int.from_bytes(event.payload[:8], "big")
                self.assertGreater(number, last)
                last = number
                received += 1
            elif isinstance(event, codec.Gap):
                missing += event.count
            else:
                self.assertIsInstance(event, codec.Notice)
        self.assertEqual(received + missing, count)


if __name__ == "__main__":
    unittest.main()
