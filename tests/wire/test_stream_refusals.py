# SPDX-License-Identifier: MIT
"""What is refused about streams, and how; and who may do what with them.

PROTOCOL.md sections 4.15 to 4.19, 5.11, 5.13 and 7.
"""
import json
import struct
import unittest

import wire_codec as codec
from access_rig import AccessTest
from broker_wire import publish_frame
from harness import BrokerTest
from stream_rig import StreamTest

REQUESTS = ("add", "edit", "info", "list", "purge", "remove")


class Requests(StreamTest):
    def setUp(self):
        super().setUp()
        self.connection = self.connect()

    def refused(self, code, what, body):
        if not isinstance(body, str):
            body = json.dumps(body)
        with self.subTest(what=what, body=body[:100]):
            error = self.assert_refused(code, self.connection.request,
                                        "$sys/stream/" + what, body)
            self.assertTrue(error.text)
            self.assertEqual(error.refused_type, codec.Publish.TYPE)

    def test_no_json(self):
        for what in REQUESTS:
            for body in "{", "[]", "x", "1", '"S"', '{"name":"S"}x', "{,}":
                self.refused("BAD_REQUEST", what, body)

    def test_names(self):
        for name in ["", "a b", "a/b", "\u00fc", "a\0", "n" * 256, 1, None,
                     ["S"]]:
            self.refused("BAD_REQUEST", "add", {"name": name,
                                                "topics": ["x"]})
        for what in REQUESTS:
            if what not in ("add", "list"):
                self.refused("BAD_REQUEST", what, {})
                self.refused("UNKNOWN_STREAM", what, {"name": "S"})
        self.refused("BAD_REQUEST", "add", {"topics": ["x"]})
        self.add(self.connection, "n" * 255)

    def test_topics(self):
        for topics in [[], "x", {}, [1], [None], ["x", "x"],
                       ["x\0"]]:
            self.refused("BAD_REQUEST", "add", {"name": "S",
                                                "topics": topics})
        self.refused("BAD_REQUEST", "add", {"name": "S"})
        for bad in ["", "a/#/b", "a+", "#a"]:
            self.refused("BAD_FILTER", "add", {"name": "S",
                                               "topics": ["ok", bad]})
        for reserved in "$sys/stats", "$x", "$sys/#":
            self.refused("RESERVED_TOPIC", "add", {"name": "S",
                                                   "topics": [reserved]})
        self.assertEqual(self.connection.system("stream/list")["total"], 0)

    def test_settings(self):
        self.add(self.connection, "there", ["there"], max_messages=1)
        for settings in [{"max_messages": -1}, {"max_bytes": "1"},
                         {"max_age_ms": 1.5}, {"max_messages": None},
                         {"discard": "oldest"}, {"discard": 1},
                         {"unheard_of": 1}]:
            self.refused("BAD_REQUEST", "add", dict(
                {"name": "S", "topics": ["x"]}, **settings))
            self.refused("BAD_REQUEST", "edit", dict({"name": "there"},
                                                     **settings))
        self.assertEqual(self.info(self.connection, "there")["max_messages"],
                         1)

    def test_purge_and_list(self):
        self.add(self.connection)
        for body in [{"before": 1, "keep": 1}, {"before": -1}, {"keep": "1"}]:
            self.refused("BAD_REQUEST", "purge", dict({"name": "S"}, **body))
        for body in [{"limit": 10001}, {"offset": -1}, {"limit": "1"}]:
            self.refused("BAD_REQUEST", "list", body)

    def test_no_such_request(self):
        for topic in "$sys/stream", "$sys/stream/", "$sys/stream/adds":
            self.assert_refused("RESERVED_TOPIC", self.connection.request,
                                topic)
        # And one that nobody could answer.
        self.assert_refused("RESERVED_TOPIC", self.connection.publish,
                            "$sys/stream/list")


class Frames(StreamTest):
    def setUp(self):
        super().setUp()
        self.connection = self.connect()
        self.add(self.connection)
        self.add(self.connection, "T", ["t/#"])
        self.connection.subscribe("#")

    def tearDown(self):
        """What was refused was neither stored nor routed."""
        self.assert_stored(self.connection, [])
        self.assert_stored(self.connection, [], "T")
        self.assert_silent(self.connection)
        super().tearDown()

    def test_not_captured(self):
        publish = self.connection.publish
        for options in {"expected_last": 0}, {"deliver_at": 1}:
            error = self.assert_refused("NOT_CAPTURED", publish, "x", "y",
                                        **options)
            self.assertEqual(error.refused_type, codec.Publish.TYPE)
        error = self.assert_refused("NOT_CAPTURED",
                                    self.connection.publish_batch,
                                    [("x", "y")])
        self.assertEqual(error.refused_type, codec.PublishBatch.TYPE)
        publish("x", "y", ttl_ms=5)
        self.assertEqual(self.connection.next_event().payload, b"y")

    def test_batches(self):
        first, bad = ("s/a", "1"), codec.Publish
        for code, second in [
                ("BAD_REQUEST", ("t/a", "2")),
                ("BAD_REQUEST", publish_frame("s/a", reply_to="r")),
                ("BAD_REQUEST", publish_frame("s/a", deliver_at=1)),
                ("BAD_REQUEST", publish_frame("s/a", expected_last=1)),
                ("NOT_CAPTURED", ("x", "2")),
                ("BAD_TOPIC", ("s/+", "2")),
                ("RESERVED_TOPIC", ("$sys/stats", "2")),
                ("UNKNOWN_TAG", bad(topic=b"s/a", fields=[
                    (codec.CRITICAL | 0x7001, b"")]))]:
            for ack in True, False:
                with self.subTest(code=code, second=second, ack=ack):
                    if ack:
                        error = self.assert_refused(
                            code, self.connection.publish_batch,
                            [first, second])
                    else:
                        self.connection.publish_batch([first, second],
                                                      ack=False)
                        error = self.connection.next_event()
                        self.assertEqual((error.name, error.id), (code, 0))
                    self.assertEqual(error.refused_type,
                                     codec.PublishBatch.TYPE)

    def test_malformed_batches(self):
        good = publish_frame("s/a", "1").encode()
        for body in [
                good[:-1], good + good[:11], good + b"\0",
                codec.Publish(id=1, topic=b"s/a").encode(),
                codec.Publish(flags=codec.RETAIN, topic=b"s/a").encode(),
                codec.Publish(flags=codec.RETRY, topic=b"s/a").encode(),
                good + codec.Ping().encode(),
                good + codec.HEADER.pack(5, 0x10, 0, 0) + bytes(5),
                codec.HEADER.pack(0xFFFFFF, 0x10, 0, 0) + good]:
            with self.subTest(body=body):
                self.assert_malformed(codec.PublishBatch.TYPE, body)

    def assert_malformed(self, number, body):
        peer = self.raw()
        peer.hello(features=codec.STREAMS)
        peer.send(codec.HEADER.pack(len(body), number, 0, 7) + body)
        self.assert_closed_with(peer, "MALFORMED")

    def test_malformed_publishes(self):
        for tag, value in [(codec.TTL_MS, bytes(8)), (codec.TTL_MS, b"1234"),
                           (codec.DELIVER_AT, bytes(8)),
                           (codec.EXPECTED_LAST_SEQUENCE, bytes(7))]:
            frame = codec.Publish(topic=b"s/a", fields=[(tag, value)])
            self.assert_malformed(frame.TYPE, frame.body())

    def test_malformed_consume(self):
        def consume(s=b"S", c=b"", f=b"", start=1, options=0, value=0,
                    window=0, more=b""):
            return struct.pack(">HHHBBQI", len(s), len(c), len(f), start,
                               options, value, window) + s + c + f + more

        for body in [consume(start=0), consume(start=8), consume(value=1),
                     consume(options=2), consume(window=1), consume(s=b""),
                     consume(c=b"c"), consume(s=b"", c=b"c"),
                     consume(s=b"", c=b"c", start=0, options=1),
                     consume(s=b"", c=b"c", f=b"x", start=0),
                     consume()[:-1], consume(more=b"x")]:
            with self.subTest(body=body):
                self.assert_malformed(codec.Consume.TYPE, body)

    def test_malformed_acknowledgements(self):
        for kind, zero, delay, ranges in [
                (0, 0, 0, [1, 1]), (3, 0, 0, [1, 1]), (1, 1, 0, [1, 1]),
                (1, 0, 0, [2, 1]), (1, 0, 0, [1, 1, 1]),
                (2, 0, 0, [1, 1, 2, 2]), (1, 0, 5, [1, 1])]:
            body = struct.pack(">BHBI", kind, 0, zero, delay)
            body += b"".join(struct.pack(">Q", each) for each in ranges)
            self.assert_malformed(codec.Ack.TYPE, body)
        self.assert_malformed(codec.Nack.TYPE, struct.pack(
            ">BHBIQQ", 2, 0, 0, 1, 1, 1))
        self.assert_malformed(codec.Touch.TYPE, struct.pack(
            ">BHBIQQ", 2, 0, 0, 0, 1, 1))

    def test_consume(self):
        call = self.connection._call
        for code, frame in [
                ("UNKNOWN_STREAM", codec.Consume(stream=b"no", start=1)),
                ("UNKNOWN_STREAM", codec.Consume(filter=b"x", start=1)),
                ("UNKNOWN_CONSUMER", codec.Consume(consumer=b"no")),
                ("AMBIGUOUS_STREAM", codec.Consume(filter=b"#", start=1)),
                ("BAD_FILTER", codec.Consume(stream=b"S", filter=b"a/#/b",
                                             start=1))]:
            frame.id = 9
            with self.subTest(code=code):
                error = self.assert_refused(code, call, frame)
                self.assertEqual(error.error_class, codec.Error.REQUEST)
        self.assert_refused("BAD_REQUEST", call, codec.Consume(
            id=0, stream=b"S", start=1))
        call(codec.Consume(id=9, stream=b"S", start=1))
        for frame in (codec.Consume(id=9, stream=b"S", start=1),
                      codec.Subscribe(id=9, filter=b"x")):
            self.assert_refused("DUPLICATE_SUBSCRIPTION", call, frame)
        self.assertIsInstance(self.connection.next_event(), codec.Position)

    def test_readers_count_as_subscriptions(self):
        broker = self.start_broker(max_subscriptions=2,
                                   store=self.store + "2")
        connection = self.connect(broker.tcp)
        connection.system("stream/add", name="S", topics=["s"])  # has one
        connection.consume("S")
        self.assert_refused("TOO_MANY_SUBSCRIPTIONS", connection.consume,
                            "S")
        self.assert_refused("TOO_MANY_SUBSCRIPTIONS", connection.subscribe,
                            "x")

    def test_acknowledging_what_is_no_consumer(self):
        reader = self.connection.consume("S").id
        self.assertIsInstance(self.connection.next_event(), codec.Position)
        plain = self.connection.subscribe("x").id
        for number in reader, plain, 77:
            for kind in codec.Ack, codec.Nack, codec.Touch:
                error = self.assert_refused(
                    "UNKNOWN_SUBSCRIPTION", self.connection._call,
                    kind(id=number, ranges=((1, 1),)))
                self.assertEqual(error.refused_type, kind.TYPE)

    def test_frames_of_the_broker(self):
        for frame in codec.ConsumeReply(id=1), codec.Position(id=1):
            peer = self.raw()
            peer.hello(features=codec.STREAMS)
            peer.send(frame)
            self.assert_closed_with(peer, "UNEXPECTED_FRAME")


class WithoutAStore(BrokerTest):
    def test_no_store(self):
        connection = self.connect(features=codec.STREAMS)
        self.assertEqual(connection.welcome.features, codec.STREAMS)
        for what in REQUESTS:
            self.assert_refused("NO_STORE", connection.system,
                                "stream/" + what, name="S", topics=["s"])
        for what in "add", "list", "info", "explain", "reset", "remove":
            self.assert_refused("NO_STORE", connection.system,
                                "consumer/" + what, name="C", stream="S")
        self.assert_refused("NO_STORE", connection.consume, "S")
        self.assert_refused("NO_STORE", connection.join, "C")
        self.assertEqual(connection.publish("s", "x", ttl_ms=5).level,
                         codec.ROUTED)


class Rights(StreamTest, AccessTest):
    rules = ("allow alice publish   s/#\n"
             "deny  bob   subscribe s/secret\n"
             "allow *     subscribe s/#\n"
             "allow *     all       _inbox/#\n"
             "allow bob   publish   $sys/stream/info\n")

    def setUp(self):
        super().setUp()
        self.root = self.owner(features=codec.STREAMS)
        self.add(self.root)
        self.add(self.root, "T", ["t/#"])
        self.alice = self.user("alice")
        self.bob = self.user("bob")

    def test_publishing(self):
        self.assertEqual(self.alice.publish("s/a", "1").sequence, 1)
        self.assert_refused("PUBLISH_DENIED", self.bob.publish, "s/a")
        self.assert_refused("PUBLISH_DENIED", self.alice.publish, "t/a")
        self.assert_refused("PUBLISH_DENIED", self.bob.publish_batch,
                            [("s/a", "x")])
        self.bob.publish("s/a", ack=False)
        self.bob.publish_batch([("s/a", "x")], ack=False)
        self.bob.ping()
        self.assertEqual([event.name for event in self.bob.inbox],
                         ["PUBLISH_DENIED"] * 2)
        self.assert_stored(self.root, [b"1"])

    def test_one_of_a_batch_is_denied(self):
        self.add(self.root, "U", ["u"])
        self.root.system("stream/edit", name="T", topics=["t/#", "v"])
        self.assert_refused("PUBLISH_DENIED", self.alice.publish_batch,
                            [("s/a", "x"), ("v", "y")])
        self.assert_stored(self.root, [])

    def test_reading(self):
        """All that the filter matches has to be permitted."""
        self.alice.publish("s/a", "1")
        self.alice.publish("s/secret", "2")
        self.assertEqual(self.read(self.alice, "", "s/#").payloads,
                         [b"1", b"2"])
        self.assertEqual(self.read(self.bob, "", "s/a").payloads, [b"1"])
        for stream, filter_text in [("", "s/#"), ("", "s/secret"),
                                    ("S", ""), ("S", "+/a"), ("", "t/#"),
                                    ("T", "")]:
            error = self.assert_refused("SUBSCRIBE_DENIED", self.bob.consume,
                                        stream, filter_text)
            self.assertEqual(error.refused_type, codec.Consume.TYPE)
        self.assert_silent(self.bob)

    def test_requests_are_publishes(self):
        for what in REQUESTS:
            if what != "info":
                self.assert_refused("PUBLISH_DENIED", self.bob.system,
                                    "stream/" + what, name="S")
            self.assert_refused("PUBLISH_DENIED", self.alice.system,
                                "stream/" + what, name="S")
        self.assertEqual(self.info(self.bob)["name"], "S")

    def test_a_right_to_read_that_is_taken_away(self):
        reading, _ = self.consume(self.bob, "", "s/a")
        reading.caught_up()
        self.set_rules(self.rules.replace("s/secret", "s/a"))
        self.reload()
        error = self.bob.next_event()
        self.assertEqual((error.name, error.error_class, error.id),
                         ("REVOKED", codec.Error.SUBSCRIPTION,
                          reading.subscription))
        self.alice.publish("s/a", "x")
        self.assert_silent(self.bob)


if __name__ == "__main__":
    unittest.main()
