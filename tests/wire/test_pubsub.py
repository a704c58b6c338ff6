# SPDX-License-Identifier: MIT
"""Publishing and subscribing: matching, order, acknowledgements, contexts.

PROTOCOL.md sections 1, 4.6 to 4.12, 5.1, 5.2, 5.4 and 6.
"""
import socket
import struct
import unittest

import wire_codec as codec
from broker_wire import Message
from harness import BrokerTest, Ledger, numbered, publish_bulk

# Filter, topics that it matches, topics that it does not match (section 6).
MATCHING = [
    ("a/b", ["a/b"], ["a", "a/b/c", "a/B", "a/b/", "/a/b"]),
    ("a/+", ["a/b", "a/c", "a/"], ["a", "a/b/c", "b/a"]),
    ("+", ["a", "b"], ["a/b", "/a", "a/"]),
    ("+/b", ["a/b", "/b"], ["b", "a/b/c", "a/c"]),
    ("+/+", ["a/b", "/b", "a/", "/"], ["a", "a/b/c"]),
    ("a/+/c", ["a/b/c", "a//c"], ["a/c", "a/b/b/c"]),
    ("#", ["a", "a/b", "/", "a/b/c", "/a"], ["$x", "$sys/stats"]),
    ("a/#", ["a", "a/", "a/b", "a/b/c"], ["ab", "b/a", "/a"]),
    ("+/#", ["a", "a/b", "/a", "/"], ["$x"]),
    ("a/+/#", ["a/b", "a/b/c", "a/"], ["a", "b"]),
    ("/", ["/"], ["a", "a/", "/a"]),
    ("a//b", ["a//b"], ["a/b", "a/x/b"]),
    ("/a", ["/a"], ["a"]),
    ("\u00e9/\U0001f600", ["\u00e9/\U0001f600"], ["e\u0301/\U0001f600"]),
    ("a b", ["a b"], ["a  b", "a"]),
]


class Matching(BrokerTest):
    def test_every_filter_against_every_topic(self):
        subscriber, publisher = self.connect(), self.connect()
        ids = {row[0]: subscriber.subscribe(row[0]).id for row in MATCHING}
        topics = sorted({t for row in MATCHING for t in row[1] + row[2]
                         if not t.startswith("$")})
        for topic in topics:
            with self.subTest(topic=topic):
                acknowledged = publisher.publish(topic, topic).matched
                if not acknowledged:
                    continue
                event = subscriber.next_event()
                self.assertEqual(event.topic, topic)
                self.assertEqual(len(event.subscriptions), acknowledged)
                self.assertEqual(len(set(event.subscriptions)), acknowledged)
                for text, matching, other in MATCHING:
                    if topic in matching:
                        self.assertIn(ids[text], event.subscriptions, text)
                    if topic in other:
                        self.assertNotIn(ids[text], event.subscriptions,
                                         text)
        self.assert_silent(subscriber)

    def test_wildcards_do_not_see_the_brokers_topics(self):
        subscriber = self.connect()
        for text in ["#", "+/#", "+/stats", "+"]:
            subscriber.subscribe(text)
        subscriber.subscribe("_reply")
        subscriber.publish("$sys/stats", reply_to="_reply")
        event = subscriber.next_event()
        self.assertEqual(event.topic, "_reply")

    def test_deep_and_long_topics(self):
        subscriber = self.connect()
        welcome = subscriber.welcome
        deep = "/".join("x" for _ in range(welcome.max_topic_levels))
        long_one = "y" * welcome.max_topic_bytes
        for topic in [deep, long_one]:
            subscriber.subscribe(topic)
            self.assertEqual(subscriber.publish(topic).matched, 1)
            self.assertEqual(subscriber.next_event().topic, topic)


class Overlap(BrokerTest):
    def test_one_delivery_with_all_subscriptions(self):
        subscriber, publisher = self.connect(), self.connect()
        ids = {text: subscriber.subscribe(text).id
               for text in ["a/b", "a/+", "a/#", "#", "other"]}
        self.assertEqual(publisher.publish("a/b", "1").matched, 4)
        self.assertEqual(publisher.publish("a/c", "2").matched, 3)
        self.assertEqual(publisher.publish("other", "3").matched, 2)
        events = [subscriber.next_event() for _ in range(3)]
        self.assertEqual([event.payload for event in events],
                         [b"1", b"2", b"3"])
        self.assertEqual(set(events[0].subscriptions),
                         {ids[t] for t in ["a/b", "a/+", "a/#", "#"]})
        self.assertEqual(set(events[1].subscriptions),
                         {ids[t] for t in ["a/+", "a/#", "#"]})
        self.assertEqual(set(events[2].subscriptions),
                         {ids[t] for t in ["#", "other"]})
        self.assert_silent(subscriber)

    def test_the_same_filter_twice(self):
        subscriber = self.connect()
        ids = {subscriber.subscribe("t").id, subscriber.subscribe("t").id}
        self.assertEqual(subscriber.publish("t").matched, 2)
        self.assertEqual(set(subscriber.next_event().subscriptions), ids)
        self.assert_silent(subscriber)

    def test_context_follows_subscribe_and_unsubscribe(self):
        subscriber, publisher = self.connect(), self.connect()
        first = subscriber.subscribe("t/#").id
        publisher.publish("t/1")
        second = subscriber.subscribe("t/1").id
        publisher.publish("t/1")
        subscriber.unsubscribe(first)
        publisher.publish("t/1")
        sets = [set(subscriber.next_event().subscriptions) for _ in range(3)]
        self.assertEqual(sets, [{first}, {first, second}, {second}])

    def test_context_is_sent_only_when_it_changes(self):
        """Section 4.12 lets a context hold for many PUBLISH frames; a
        steady flow must not pay for it with each message."""
        peer, publisher = self.raw(), self.connect()
        peer.hello()
        peer.send(codec.Subscribe(id=3, filter=b"t"))
        self.assertEqual(peer.next_frame().NAME, "SUBACK")
        publish_bulk(publisher, "t", numbered(100))
        kinds = [peer.next_frame().NAME for _ in range(101)]
        self.assertEqual(kinds, ["CONTEXT"] + ["PUBLISH"] * 100)

    def test_ids_are_the_clients_choice(self):
        peer = self.raw()
        peer.hello()
        for wanted in [0xFFFFFFFF, 1, 0x80000000]:
            peer.send(codec.Subscribe(id=wanted, filter=b"t"))
            answer = peer.next_frame()
            self.assertEqual((answer.NAME, answer.id), ("SUBACK", wanted))
        peer.send(codec.Publish(topic=b"t"))
        self.assertEqual(set(peer.next_frame().subscriptions),
                         {0xFFFFFFFF, 1, 0x80000000})
        self.assertEqual(peer.next_frame().NAME, "PUBLISH")

    def test_an_id_may_be_used_again_after_unsuback(self):
        connection = self.connect()
        first = connection.subscribe("a").id
        connection.unsubscribe(first)
        connection.send(codec.Subscribe(id=first, filter=b"b"))
        self.assertEqual(connection.next_event().NAME, "SUBACK")
        connection.publish("a", "no")
        connection.publish("b", "yes")
        event = connection.next_event()
        self.assertEqual((event.payload, event.subscriptions),
                         (b"yes", (first,)))


class Acknowledgements(BrokerTest):
    def test_matched_counts_subscriptions(self):
        publisher = self.connect()
        self.assertEqual(publisher.publish("t").matched, 0)
        others = [self.connect() for _ in range(3)]
        for other in others:
            other.subscribe("t")
        answer = publisher.publish("t")
        self.assertEqual((answer.level, answer.count, answer.matched,
                          answer.refused), (1, 1, 3, 0))
        others[0].subscribe("#")
        self.assertEqual(publisher.publish("t").matched, 4)
        others[1].close()
        self.assertEqual(publisher.publish("t").matched, 3)

    def test_without_a_number_there_is_no_answer(self):
        connection = self.connect()
        for n in range(100):
            connection.publish("t", str(n), ack=False)
        self.assert_silent(connection)

    def test_every_number_is_settled_once_and_in_order(self):
        connection = self.connect()
        answers = publish_bulk(connection, "t", numbered(5000))
        due = 1
        for answer in answers:
            self.assertEqual(answer.id - answer.count + 1, due)
            self.assertEqual((answer.level, answer.matched, answer.refused,
                              answer.flags), (1, 0, 0, 0))
            due = answer.id + 1
        self.assertEqual(due, 5001)
        self.assert_silent(connection)

    def test_numbers_need_not_be_consecutive(self):
        connection = self.connect()
        numbers = [1, 2, 3, 10, 11, 20, 0xFFFFFFFE, 0xFFFFFFFF, 1, 2]
        connection.send_bytes(b"".join(
            codec.Publish(id=n, topic=b"t").encode() for n in numbers))
        settled = []
        while len(settled) < len(numbers):
            answer = connection.next_event()
            self.assertEqual(answer.NAME, "PUBACK")
            run = []
            for back in range(answer.count):
                run.append((answer.id - 1 - back) % 0xFFFFFFFF + 1)
            settled += reversed(run)
        self.assertEqual(settled, numbers)

    def test_merged_answers_have_equal_results(self):
        """Numbers 1 to 30 alternate between topics with 0, 1 and 2
        subscriptions: each answer must say what is true for each number."""
        connection, other = self.connect(), self.connect()
        other.subscribe("one")
        for _ in range(2):
            other.subscribe("two")
        topics = ["zero", "one", "two"]
        plan = [topics[n // 4 % 3] for n in range(30)]
        connection.send_bytes(b"".join(
            codec.Publish(id=n + 1, topic=topic.encode()).encode()
            for n, topic in enumerate(plan)))
        matched = []
        while len(matched) < 30:
            answer = connection.next_event()
            self.assertEqual(answer.id - answer.count, len(matched))
            matched += [answer.matched] * answer.count
        self.assertEqual(matched, [topics.index(topic) for topic in plan])

    def test_refused_in_the_middle(self):
        """Every number gets exactly one answer, also around an ERROR."""
        connection = self.connect()
        frames = [codec.Publish(id=n, topic=b"a+b" if n == 5 else b"ab")
                  for n in range(1, 11)]
        connection.send_bytes(b"".join(f.encode() for f in frames))
        settled, errors = set(), []
        while len(settled) < 10:
            answer = connection.next_event()
            if isinstance(answer, codec.Error):
                numbers = {answer.id}
                errors.append((answer.id, answer.name))
            else:
                numbers = {n for n in range(1, 11) if answer.covers(n)}
            self.assertFalse(numbers & settled)
            settled |= numbers
        self.assertEqual(errors, [(5, "BAD_TOPIC")])
        self.assert_silent(connection)


class Order(BrokerTest):
    def test_many_publishers_many_topics(self):
        """Messages of one publisher to one topic stay in order."""
        subscriber = self.connect()
        subscription = subscriber.subscribe("t/#").id
        publishers = [self.connect() for _ in range(4)]
        each, chunk = 2000, 50
        for start in range(0, each, chunk):
            for p, publisher in enumerate(publishers):
                publisher.send_bytes(b"".join(
                    codec.Publish(topic=b"t/%d/%d" % (p, n % 3),
                                  payload=struct.pack(">Q", n)).encode()
                    for n in range(start, start + chunk)))
        last = {}
        for _ in range(each * len(publishers)):
            event = subscriber.next_event()
            (number,) = struct.unpack(">Q", event.payload)
            self.assertEqual(number, last.get(event.topic, number % 3 - 3)
                             + 3, event.topic)
            last[event.topic] = number
        self.assertEqual(len(last), 12)
        books = subscriber.unsubscribe(subscription)
        self.assertEqual((books.matched, books.delivered, books.dropped),
                         (each * 4, each * 4, 0))

    def test_alternating_routes(self):
        """Messages for changing sets of subscriptions keep their order."""
        subscriber, publisher = self.connect(), self.connect()
        ledgers = [Ledger(subscriber.subscribe("x/+").id)]
        odd = subscriber.subscribe("x/1").id
        publisher.send_bytes(b"".join(
            codec.Publish(topic=b"x/%d" % (n % 2), payload=payload).encode()
            for n, payload in enumerate(numbered(3000))))
        for n in range(3000):
            event = subscriber.next_event()
            self.assertTrue(ledgers[0].take(event))
            self.assertEqual(odd in event.subscriptions, n % 2 == 1)

    def test_a_publisher_receives_its_own(self):
        connection = self.connect()
        connection.subscribe("t")
        self.assertEqual(connection.publish("t", "me").matched, 1)
        self.assertEqual(connection.next_event().payload, b"me")


class ByteForByte(BrokerTest):
    def frames(self):
        """PUBLISH frames with everything that may be in one."""
        some = [(codec.KEY_VALUE, b"\0\1kv"), (codec.KEY_VALUE, b"\0\1k"),
                (codec.KEY_VALUE | codec.CRITICAL, b"\0\2\xc3\xa9\0\xff"),
                (codec.REPLY_TO, b"r/1")]
        unknown = [(0x7123, b"experiment"), (0x0100, b"")]
        every_byte = bytes(range(256))
        yield codec.Publish(topic=b"t")
        yield codec.Publish(topic=b"t", payload=every_byte)
        yield codec.Publish(topic=b"t", fields=unknown, payload=b"x")
        yield codec.Publish(topic=b"t", id=1, fields=some + unknown)
        yield codec.Publish(topic=b"t", id=2, fields=list(reversed(some)))
        yield codec.Publish(topic=b"t", id=3, flags=codec.RETRY)
        yield codec.Publish(topic=b"t", id=0xFFFFFFFF)
        yield codec.Publish(topic=b"t", flags=codec.RETAIN, payload=b"keep")
        yield codec.Publish(topic=b"t", flags=codec.RETAIN)
        yield codec.Publish(topic=b"t", flags=0xFF00, payload=b"hints")
        yield codec.Publish(topic=b"t", payload=bytes(300000))
        # The longest field list that there can be.
        yield codec.Publish(topic=b"t", fields=[(0x0200, bytes(65531))])

    def check(self, address):
        subscriber, publisher = self.connect(address), self.connect(address)
        subscription = subscriber.subscribe("t").id
        for frame in self.frames():
            publisher.send(frame)
            event = subscriber.next_event()
            self.assertEqual(event.frame.encode(), frame.encode())
            self.assertEqual(event.subscriptions, (subscription,))
            self.assertFalse(event.retained)

    def test_over_tcp(self):
        self.check(self.broker.tcp)

    def test_over_unix(self):
        self.check(self.broker.unix)

    def test_headers_and_reply_to(self):
        connection = self.connect()
        connection.subscribe("t")
        headers = [("content-type", b"text/plain"), ("k", b""), ("k", b"2"),
                   ("\u00fc", bytes(range(256)))]
        connection.publish("t", "x", headers=headers, reply_to="r/s")
        event = connection.next_event()
        self.assertEqual(event.headers, headers)
        self.assertEqual(event.reply_to, b"r/s")

    def test_empty_payload(self):
        connection = self.connect()
        connection.subscribe("t")
        connection.publish("t", "")
        self.assertEqual(connection.next_event().payload, b"")


class Transports(BrokerTest):
    listen = ["tcp://127.0.0.1:0"]

    def check(self, *addresses):
        """Messages pass between all of these, in every direction."""
        ends = [self.connect(address) for address in addresses]
        for end in ends:
            end.subscribe("t")
        for n, end in enumerate(ends):
            self.assertEqual(end.publish("t", str(n)).matched, len(ends))
            for other in ends:
                self.assertEqual(other.next_event().payload, b"%d" % n)

    def setUp(self):
        super().setUp()
        self.check_books_at_end = False  # done on the others, by hand

    def test_ipv4_and_unix(self):
        self.broker = self.start_broker()
        self.check(self.broker.tcp, self.broker.unix)
        self.check_books()

    def test_ipv6(self):
        try:
            with socket.socket(socket.AF_INET6) as probe:
                probe.bind(("::1", 0))
        except OSError:
            self.skipTest("no IPv6 here")
        broker = self.start_broker(
            listen=["tcp://127.0.0.1:0", "tcp://[::1]:0"])
        self.check(*broker.addresses)
        self.assertTrue(broker.addresses[1].startswith("tcp://[::1]:"))


class Unsubscribing(BrokerTest):
    def test_books_and_silence(self):
        subscriber, publisher = self.connect(), self.connect()
        subscription = subscriber.subscribe("t").id
        for n in range(5):
            publisher.publish("t", str(n))
        for n in range(5):
            self.assertEqual(subscriber.next_event().payload, b"%d" % n)
        books = subscriber.unsubscribe(subscription)
        self.assertEqual((books.matched, books.delivered, books.dropped),
                         (5, 5, 0))
        self.assertEqual(publisher.publish("t").matched, 0)
        self.assert_silent(subscriber)

    def test_drain_delivers_everything_first(self):
        """Over a full socket: with DRAIN all that was matched arrives, and
        UNSUBACK behind it."""
        subscriber = self.connect(self.broker.unix)
        publisher = self.connect()
        ledger = Ledger(subscriber.subscribe("t").id)
        publish_bulk(publisher, "t", numbered(3000, 1000))
        subscriber.send(codec.Unsubscribe(id=ledger.subscription,
                                          flags=codec.DRAIN))
        ledger.read(subscriber, 3000)
        answer = subscriber.next_event()
        self.assertEqual(answer.NAME, "UNSUBACK")
        self.assertEqual((answer.matched, answer.delivered, answer.dropped),
                         (3000, 3000, 0))
        self.assertEqual(ledger.missing, 0)

    def test_drain_stops_matching_at_once(self):
        subscriber = self.connect(self.broker.unix)
        publisher = self.connect()
        ledger = Ledger(subscriber.subscribe("t").id)
        publish_bulk(publisher, "t", numbered(2000, 1000))
        subscriber.send(codec.Unsubscribe(id=ledger.subscription,
                                          flags=codec.DRAIN))
        # Nothing is read here, so the drain cannot end yet.
        self.let_process()
        self.assertEqual(publisher.publish("t").matched, 0)
        ledger.read(subscriber, 2000)
        self.assertEqual(subscriber.next_event().matched, 2000)

    def test_without_drain_the_queue_is_dropped(self):
        subscriber = self.connect(self.broker.unix)
        publisher = self.connect()
        ledger = Ledger(subscriber.subscribe("t").id)
        kept = Ledger(subscriber.subscribe("u").id)
        publish_bulk(publisher, "t", numbered(3000, 1000))
        publish_bulk(publisher, "u", numbered(100))
        subscriber.send(codec.Unsubscribe(id=ledger.subscription))
        self.let_process()
        answer = None
        while kept.next < 100:
            event = subscriber.next_event()
            if isinstance(event, codec.Unsuback):
                answer = event
            elif isinstance(event, Message) and answer:
                self.assertNotIn(ledger.subscription, event.subscriptions)
                kept.take(event)
            else:
                self.assertTrue(ledger.take(event))
        self.assertEqual(answer.matched, 3000)
        self.assertEqual(answer.delivered, ledger.received)
        self.assertGreater(answer.dropped, 0)
        self.assertEqual((kept.received, kept.missing), (100, 0))

    def test_a_queued_message_for_two_loses_only_one_of_them(self):
        """What is queued for the ended subscription and for another one is
        delivered for the other one alone after UNSUBACK."""
        subscriber = self.connect(self.broker.unix)
        publisher = self.connect()
        ended = Ledger(subscriber.subscribe("t").id)
        kept = Ledger(subscriber.subscribe("#").id)
        publish_bulk(publisher, "t", numbered(3000, 1000))
        subscriber.send(codec.Unsubscribe(id=ended.subscription))
        self.let_process()
        answer = None
        while kept.next < 3000:
            event = subscriber.next_event()
            if isinstance(event, codec.Unsuback):
                answer = event
                continue
            self.assertTrue(kept.take(event))
            self.assertEqual(ended.take(event), answer is None)
        self.assertEqual((kept.received, kept.missing), (3000, 0))
        self.assertEqual((answer.matched, answer.delivered),
                         (3000, ended.received))

    def test_unknown(self):
        connection = self.connect()
        error = self.assert_refused("UNKNOWN_SUBSCRIPTION",
                                    connection.unsubscribe, 99)
        self.assertEqual(error.refused_type, codec.Unsubscribe.TYPE)
        subscription = connection.subscribe("t").id
        connection.unsubscribe(subscription)
        self.assert_refused("UNKNOWN_SUBSCRIPTION", connection.unsubscribe,
                            subscription)


class Welcome(BrokerTest):
    options = {"max_body_bytes": 1000000, "heartbeat_ms": 12000}

    def test_fields(self):
        peer = self.raw()
        welcome = peer.hello()
        self.assertEqual((welcome.id, welcome.version, welcome.features),
                         (1, 1, 0))
        self.assertEqual(welcome.max_body_bytes, 1000000)
        self.assertEqual(welcome.heartbeat_ms, 12000)
        self.assertEqual(welcome.last_publish, 0)
        self.assertNotEqual(welcome.session, bytes(16))
        self.assertNotEqual(welcome.boot, bytes(16))
        self.assertLessEqual(welcome.max_subscriptions,
                             (welcome.max_body_bytes - 20) // 4)

    def test_the_smaller_body_limit_is_in_force(self):
        self.assertEqual(self.raw().hello(max_body_bytes=65536)
                         .max_body_bytes, 65536)
        self.assertEqual(self.raw().hello(max_body_bytes=999999)
                         .max_body_bytes, 999999)

    def test_subscriptions_are_bounded_by_the_body_limit(self):
        welcome = self.raw().hello(max_body_bytes=65536)
        self.assertLessEqual(welcome.max_subscriptions, (65536 - 20) // 4)

    def test_unknown_features_and_newer_versions_are_fine(self):
        welcome = self.raw().hello(features=0xFFFFFFFFFFFFFFFF,
                                   max_version=255)
        self.assertEqual((welcome.version, welcome.features), (1, 1))

    def test_frames_directly_after_hello(self):
        peer = self.raw()
        peer.send(codec.Hello(id=77), codec.Subscribe(id=1, filter=b"t"),
                  codec.Publish(id=1, topic=b"t"), codec.Ping(id=9))
        names = [peer.next_frame().NAME for _ in range(6)]
        self.assertEqual(names[0], "WELCOME")
        self.assertEqual(sorted(names[1:]), ["CONTEXT", "PONG", "PUBACK",
                                             "PUBLISH", "SUBACK"])
        self.assertLess(names.index("SUBACK"), names.index("CONTEXT"))

    def test_orderly_leaving(self):
        connection = self.connect()
        connection.subscribe("t")
        self.assertEqual(connection.close(), [])
        self.assertEqual(self.connect().publish("t").matched, 0)

    def test_larger_than_a_subscriber_takes(self):
        """A message above a subscriber's max_body_bytes becomes a GAP with
        reason 2 there, and is delivered elsewhere."""
        small = self.connect(max_body_bytes=65536)
        large, publisher = self.connect(), self.connect()
        few = Ledger(small.subscribe("t").id)
        large.subscribe("t")
        sizes = [100, 65536, 65531, 70000, 100]  # 65531 fits exactly
        payloads = [p for n, size in enumerate(sizes)
                    for p in numbered(1, size, n)]
        refused = [publisher.publish("t", p).refused for p in payloads]
        self.assertEqual(refused, [0, 1, 0, 1, 0])
        gaps = []
        while few.next < 5:
            event = small.next_event()
            self.assertTrue(few.take(event))
            if isinstance(event, codec.Gap):
                gaps.append((event.reason, event.count, event.size))
        self.assertEqual(few.numbers, [0, 2, 4])
        self.assertEqual(gaps, [(2, 1, 65536 + 17), (2, 1, 70000 + 17)])
        for payload in payloads:
            self.assertEqual(large.next_event().payload, payload)


if __name__ == "__main__":
    unittest.main()
