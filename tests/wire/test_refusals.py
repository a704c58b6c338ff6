# SPDX-License-Identifier: MIT
"""Every request-level refusal: the code, its class, and life afterwards.

PROTOCOL.md sections 3.3, 4.3, 4.8, 5.6, 6 and 7.
"""
import unittest

import wire_codec as codec
from harness import BrokerTest

BAD_UTF8 = [b"\xff", b"\xc0\x80", b"\xc3", b"a\xc3", b"\xed\xa0\x80",
            b"\xf4\x90\x80\x80", b"\x80", b"\xf8\x88\x80\x80\x80",
            b"\xe0\x80\x80", b"\xc3\x28"]
BAD_TOPICS = [b"+", b"#", b"a/+", b"a/#", b"a+b", b"a#", b"a\0b",
              b"\0"] + BAD_UTF8
BAD_FILTERS = [b"a+", b"+a", b"a/b+/c", b"++", b"#/a", b"a/#/b", b"a#",
               b"#a", b"##", b"a/##", b"a/+#", b"\0", b"a\0"] + BAD_UTF8
BAD_GROUPS = [b"a/b", b"+", b"#", b"a+", b"a#b", b"/", b"a\0",
              b"x" * 256, b"x" * 5000] + BAD_UTF8
GOOD_UTF8 = ["\u00e9", "\uffff", "\ufeff", "\U0010ffff", "\x01", "\x7f",
             "\ud7ff", "\ue000", " "]


class Refusals(BrokerTest):
    def setUp(self):
        super().setUp()
        self.connection = self.connect()

    def refused(self, frame, code, error_class=codec.Error.REQUEST):
        """Sends it and expects ERROR with its id and type."""
        self.connection.send(frame)
        error = self.connection.next_event()
        self.assertEqual((error.NAME, error.name), ("ERROR", code))
        self.assertEqual((error.id, error.refused_type),
                         (frame.id, frame.TYPE))
        self.assertIn(error.error_class,
                      (error_class, codec.Error.SUBSCRIPTION))
        return error

    def tearDown(self):
        self.assert_silent(self.connection)
        super().tearDown()

    def test_topics(self):
        for topic in BAD_TOPICS:
            with self.subTest(topic=topic):
                self.refused(codec.Publish(id=7, topic=topic), "BAD_TOPIC")
                self.refused(codec.Publish(topic=topic), "BAD_TOPIC")

    def test_good_topics(self):
        for topic in GOOD_UTF8 + ["a/" + t for t in GOOD_UTF8]:
            self.connection.subscribe(topic)
            self.assertEqual(self.connection.publish(topic).matched, 1)
            self.assertEqual(self.connection.next_event().topic, topic)

    def test_an_error_without_a_number_names_the_topic(self):
        for code, frame in [
                ("BAD_TOPIC", codec.Publish(topic=b"a/+")),
                ("BAD_TOPIC", codec.Publish(topic=b"\xff\0")),
                ("BAD_TOPIC", codec.Publish(topic=b"x" * 5000)),
                ("RESERVED_TOPIC", codec.Publish(topic=b"$a")),
                ("BAD_REQUEST", codec.Publish(
                    topic=b"a", fields=[(codec.REPLY_TO, b"r")])),
                ("UNKNOWN_TAG", codec.Publish(
                    topic=b"a", fields=[(0xF001, b"x")]))]:
            with self.subTest(code=code):
                error = self.refused(frame, code)
                self.assertEqual(error.value(codec.TOPIC), frame.topic)

    def test_filters(self):
        for n, text in enumerate(BAD_FILTERS):
            with self.subTest(filter=text):
                self.refused(codec.Subscribe(id=n + 1, filter=text),
                             "BAD_FILTER")

    def test_groups(self):
        for n, group in enumerate(BAD_GROUPS):
            with self.subTest(group=group[:10]):
                self.refused(codec.Subscribe(id=n + 1, filter=b"t",
                                             group=group), "BAD_GROUP")

    def test_good_groups(self):
        for group in ["x" * 255, "a b", "$g", "\u00e9", "\x01"]:
            self.connection.subscribe("t", group)

    def test_subscription_ids(self):
        self.refused(codec.Subscribe(id=0, filter=b"t"), "BAD_REQUEST")
        first = self.connection.subscribe("a").id
        for text in [b"a", b"b"]:
            self.refused(codec.Subscribe(id=first, filter=text),
                         "DUPLICATE_SUBSCRIPTION")
        # The one that exists is as it was.
        self.assertEqual(self.connection.publish("b").matched, 0)
        self.assertEqual(self.connection.publish("a").matched, 1)
        self.connection.next_event()

    def test_unknown_subscriptions(self):
        for number in [0, 1, 0xFFFFFFFF]:
            for flags in [0, codec.DRAIN]:
                self.refused(codec.Unsubscribe(id=number, flags=flags),
                             "UNKNOWN_SUBSCRIPTION")

    def test_the_subscriptions_of_others(self):
        other = self.connect()
        subscription = other.subscribe("t").id
        self.refused(codec.Unsubscribe(id=subscription),
                     "UNKNOWN_SUBSCRIPTION")
        self.assertEqual(self.connection.publish("t").matched, 1)

    def test_policies(self):
        for policy in [6, 7, 255]:
            self.refused(codec.Subscribe(id=1, filter=b"t", policy=policy),
                         "UNSUPPORTED_POLICY")

    def test_a_refused_subscription_does_not_exist(self):
        self.refused(codec.Subscribe(id=1, filter=b"t", policy=6),
                     "UNSUPPORTED_POLICY")
        self.assertEqual(self.connection.publish("t").matched, 0)
        self.connection.send(codec.Subscribe(id=1, filter=b"t"))
        self.assertEqual(self.connection.next_event().NAME, "SUBACK")

    def test_critical_fields_that_are_not_known(self):
        """Refused, where the same field without the bit is skipped."""
        self.connection.subscribe("t")
        for number in [8, 9, 0x7001, 0x1234, 0]:
            field = (number, b"x")
            critical = (number | codec.CRITICAL, b"x")
            with self.subTest(number=number):
                self.refused(codec.Publish(id=9, topic=b"t",
                                           fields=[critical]), "UNKNOWN_TAG")
                self.refused(codec.Publish(topic=b"t", fields=[critical]),
                             "UNKNOWN_TAG")
                self.refused(codec.Subscribe(id=9, filter=b"t",
                                             fields=[critical]),
                             "UNKNOWN_TAG")
                self.refused(codec.Unsubscribe(id=1, fields=[critical]),
                             "UNKNOWN_TAG")
                sent = codec.Publish(topic=b"t", fields=[field])
                self.connection.send(sent)
                self.assertEqual(self.connection.next_event().frame, sent)
                self.connection.send(codec.Subscribe(
                    id=100 + number, filter=b"u", fields=[field]))
                self.assertEqual(self.connection.next_event().NAME, "SUBACK")
                self.connection.send(codec.Unsubscribe(
                    id=100 + number, fields=[field]))
                self.assertEqual(self.connection.next_event().NAME,
                                 "UNSUBACK")

    def test_critical_fields_of_other_frame_types(self):
        """A number that is known, but not in this frame, is unknown."""
        for number in [codec.NAME, codec.TEXT, codec.LIMIT]:
            self.refused(codec.Publish(
                id=1, topic=b"t", fields=[(number | codec.CRITICAL, b"x")]),
                "UNKNOWN_TAG")
        self.refused(codec.Subscribe(
            id=1, filter=b"t",
            fields=[(codec.REPLY_TO | codec.CRITICAL, b"r")]), "UNKNOWN_TAG")

    def test_types(self):
        """Reserved, experimental and invalid types, empty and with a body:
        ERROR, skipped by their length."""
        for number in [0x0003, 0x0026, 0x0030, 0x0031, 0x0038, 0x1234,
                       0x7000, 0x7FFF, 0x0000, 0xFFFF]:
            for length in [0, 1, 100, 70000]:
                for flags in [0, 0xFFFF]:
                    with self.subTest(number=hex(number), length=length):
                        self.connection.send_bytes(codec.HEADER.pack(
                            length, number, flags, 5) + b"\xff" * length)
                        error = self.connection.next_event()
                        self.assertEqual(
                            (error.name, error.id, error.refused_type),
                            ("UNSUPPORTED_TYPE", 5, number))
                        self.assertEqual(error.error_class,
                                         codec.Error.REQUEST)

    def test_skippable_types(self):
        for number in [0x8000, 0x8002, 0x9ABC, 0xF000, 0xFFFE]:
            for length in [0, 1, 100, 70000]:
                for flags in [0, 0x00FF, 0xFFFF]:
                    self.connection.send_bytes(codec.HEADER.pack(
                        length, number, flags, 5) + b"\xff" * length)
        self.assert_silent(self.connection)

    def test_hints_are_ignored(self):
        self.connection.subscribe("t")
        for hints in [0x0100, 0x8000, 0xFF00]:
            self.connection.send(codec.Publish(id=3, topic=b"t",
                                               flags=hints))
            events = [self.connection.next_event() for _ in range(2)]
            self.assertEqual(sorted(type(e).__name__ for e in events),
                             ["Message", "Puback"])
            self.connection.send(codec.Ping(id=4, flags=hints))
            self.assertEqual(self.connection.next_event().NAME, "PONG")
            self.connection.send(codec.Unsubscribe(id=77, flags=hints))
            self.assertEqual(self.connection.next_event().name,
                             "UNKNOWN_SUBSCRIPTION")


class TooLarge(BrokerTest):
    LIMIT = 65536

    def setUp(self):
        super().setUp()
        self.peer = self.raw()
        self.peer.hello(max_body_bytes=self.LIMIT)

    def check_error(self, number, frame_id):
        error = self.peer.next_frame()
        self.assertEqual((error.NAME, error.name, error.id,
                          error.refused_type, error.error_class),
                         ("ERROR", "TOO_LARGE", frame_id, number,
                          codec.Error.REQUEST))
        self.assertEqual(error.value(codec.LIMIT),
                         self.LIMIT.to_bytes(8, "big"))

    def test_skipped_and_the_connection_lives(self):
        frame = codec.Publish(id=1, topic=b"t", payload=bytes(self.LIMIT))
        for _ in range(3):
            self.peer.send(frame, codec.Ping(id=9))
            self.check_error(codec.Publish.TYPE, 1)
            self.assertEqual(self.peer.next_frame().NAME, "PONG")

    def test_told_by_the_header_alone(self):
        """Before the body is there (3.1), and the body is skipped then."""
        for number in [codec.Publish.TYPE, codec.Subscribe.TYPE,
                       codec.Unsubscribe.TYPE, codec.Ping.TYPE]:
            for length in [self.LIMIT + 1, 1000000]:
                self.peer.send(codec.HEADER.pack(length, number, 0, 6))
                self.check_error(number, 6)
                for _ in range(length // 50000):
                    self.peer.send(bytes(50000))
                self.peer.send(bytes(length % 50000), codec.Ping(id=2))
                self.assertEqual(self.peer.next_frame().NAME, "PONG")

    def test_the_largest_that_fits(self):
        payload = bytes(self.LIMIT - 5)
        self.peer.send(codec.Publish(id=1, topic=b"t", payload=payload))
        self.assertEqual(self.peer.next_frame().NAME, "PUBACK")

    def test_without_a_number(self):
        """It cannot name its topic: that was not read."""
        self.peer.send(codec.Publish(topic=b"t", payload=bytes(self.LIMIT)))
        self.check_error(codec.Publish.TYPE, 0)

    def test_half_close_inside_of_a_skipped_body(self):
        self.peer.send(codec.HEADER.pack(1000000, codec.Publish.TYPE, 0, 6),
                       bytes(1000))
        self.peer.half_close()
        self.check_error(codec.Publish.TYPE, 6)
        self.assertLessEqual({f.NAME for f in self.peer.rest()},
                             {"ERROR", "GOAWAY"})


if __name__ == "__main__":
    unittest.main()
