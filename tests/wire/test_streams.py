# SPDX-License-Identifier: MIT
"""Streams: made, changed, removed; publishing to them.

PROTOCOL.md sections 4.6, 4.7, 4.15, 5.2 and 5.13.
"""
import itertools
import threading
import unittest

import broker_wire
import wire_codec as codec
from broker_wire import Message, publish_frame
from harness import numbered, payload_number, publish_bulk, wait_until
from stream_rig import STREAM_KEYS, StreamTest


class Management(StreamTest):
    def test_a_stream_is_as_it_was_asked_for(self):
        connection = self.connect()
        stream = self.add(connection, "a.b-c_D9", ["s/#", "t/+/x"],
                          max_messages=10, max_bytes=1000, max_age_ms=60000,
                          discard="new")
        self.assertLessEqual(STREAM_KEYS, set(stream))
        self.assertEqual(stream, self.info(connection, "a.b-c_D9"))
        expected = dict(
            name="a.b-c_D9", topics=["s/#", "t/+/x"], max_messages=10,
            max_bytes=1000, max_age_ms=60000, discard="new",
            first_sequence=1, last_sequence=0, messages=0, bytes=0,
            trimmed=0, damaged=0, consumers=0)
        self.assertEqual({key: stream[key] for key in expected}, expected)

    def test_defaults(self):
        stream = self.add(self.connect())
        self.assertEqual([stream[key] for key in (
            "max_messages", "max_bytes", "max_age_ms", "discard")],
            [0, 0, 0, "old"])

    def test_numbers_follow_what_is_published(self):
        connection = self.connect()
        self.add(connection)
        frame = publish_frame("s/a", "x")
        for _ in range(3):
            connection.publish("s/a", "x")
        stream = self.info(connection)
        self.assertEqual([stream[key] for key in (
            "first_sequence", "last_sequence", "messages", "bytes")],
            [1, 3, 3, 3 * len(frame.encode())])
        self.assertLessEqual(stream["first_time_ms"], stream["last_time_ms"])
        self.assertGreater(stream["first_time_ms"], 1.7e12)

    def test_adding_it_again(self):
        connection, other = self.connect(), self.connect()
        self.add(connection, max_messages=5)
        connection.publish("s/a", "x")
        self.assertEqual(self.add(other, max_messages=5)["messages"], 1)
        for settings in [{}, {"max_messages": 6},
                         {"max_messages": 5, "discard": "new"},
                         {"max_messages": 5, "topics": ["s/#", "x"]}]:
            self.assert_refused("NAME_IN_USE", connection.system,
                                "stream/add", **dict(
                                    {"name": "S", "topics": ["s/#"]},
                                    **settings))
        self.assertEqual(self.info(other)["max_messages"], 5)

    def test_list_in_pages(self):
        connection = self.connect()
        names = ["S%d" % n for n in range(7)]
        for name in names:
            self.add(connection, name, ["%s/#" % name])
        found = []
        while len(found) < 7:
            page = connection.system("stream/list", offset=len(found),
                                     limit=3)
            self.assertEqual((page["total"], page["offset"]),
                             (7, len(found)))
            self.assertLessEqual(len(page["streams"]), 3)
            self.assertTrue(page["streams"])
            found += page["streams"]
        self.assertEqual(sorted(each["name"] for each in found), names)
        self.assertEqual(
            connection.system("stream/list", offset=7)["streams"], [])
        self.assertEqual(len(connection.system("stream/list")["streams"]), 7)

    def test_overlap_is_what_the_filters_say(self):
        """Against every topic of two letters, for every pair of filters."""
        connection = self.connect()
        levels = ["a", "b", "+"]
        filters = ["#"] + levels + [
            "/".join(pair) for pair in itertools.product(levels,
                                                         levels + ["#"])]
        topics = [b"/".join(pair) for n in (1, 2, 3)
                  for pair in itertools.product([b"a", b"b"], repeat=n)]
        for one in filters:
            self.add(connection, "one", [one])
            for other in filters:
                overlap = any(
                    codec.filter_matches(one.encode(), topic)
                    and codec.filter_matches(other.encode(), topic)
                    for topic in topics)
                with self.subTest(one=one, other=other):
                    if overlap:
                        self.assert_refused(
                            "STREAM_OVERLAP", self.add, connection, "other",
                            [other])
                    else:
                        self.add(connection, "other", [other])
                        connection.system("stream/remove", name="other")
            connection.system("stream/remove", name="one")

    def test_edit(self):
        connection = self.connect()
        self.add(connection)
        for n in range(5):
            connection.publish("s/a", str(n))
        edited = connection.system("stream/edit", name="S", max_messages=2,
                                   discard="old")
        self.assertEqual((edited["max_messages"], edited["topics"]),
                         (2, ["s/#"]))
        self.assert_stored(connection, [b"3", b"4"])
        connection.publish("s/a", "5")
        self.assert_stored(connection, [b"4", b"5"])
        connection.system("stream/edit", name="S", max_messages=0)
        connection.publish("s/a", "6")
        self.assert_stored(connection, [b"4", b"5", b"6"])

    def test_topics_are_edited(self):
        connection, other = self.connect(), self.connect(self.broker.unix)
        self.add(connection)
        self.assertEqual(connection.publish("t/a").level, codec.ROUTED)
        connection.system("stream/edit", name="S", topics=["t/#"])
        for each in connection, other:
            self.assertEqual(each.publish("t/a", "t").level, codec.SYNCED)
            self.assertEqual(each.publish("s/a", "s").level, codec.ROUTED)
        self.add(connection, "other", ["s/#"])
        self.assertEqual(other.publish("s/a").stream, "other")
        self.assert_refused("STREAM_OVERLAP", connection.system,
                            "stream/edit", name="S", topics=["t/#", "s/b"])
        self.assertEqual(self.info(connection)["topics"], ["t/#"])
        self.assert_stored(connection, [b"t", b"t"])

    def test_purge(self):
        connection = self.connect()
        self.add(connection)
        for n in range(1, 11):
            connection.publish("s/a", str(n))
        stream = connection.system("stream/purge", name="S", before=4)
        self.assertEqual((stream["first_sequence"], stream["messages"],
                          stream["trimmed"]), (4, 7, 3))
        stream = connection.system("stream/purge", name="S", keep=2)
        self.assertEqual((stream["first_sequence"], stream["messages"]),
                         (9, 2))
        self.assert_stored(connection, [b"9", b"10"])
        stream = connection.system("stream/purge", name="S")
        self.assertEqual((stream["first_sequence"], stream["last_sequence"],
                          stream["messages"], stream["bytes"]),
                         (11, 10, 0, 0))
        self.assert_stored(connection, [])
        self.assertEqual(connection.publish("s/a", "x").sequence, 11)
        for before in [1, 11, 12, 1000]:
            connection.system("stream/purge", name="S", before=before)
        self.assertGreater(connection.publish("s/a", "x").sequence, 11)

    def test_remove(self):
        connection, other = self.connect(), self.connect(self.broker.unix)
        self.add(connection)
        other.publish("s/a", "old")
        self.assertEqual(connection.system("stream/remove", name="S"), {})
        for each in connection, other:
            self.assertEqual(each.publish("s/a", "x").level, codec.ROUTED)
        self.assert_refused("UNKNOWN_STREAM", self.info, connection)
        self.add(connection)
        self.assert_stored(other, [])
        other.publish("s/a", "new")
        self.assert_stored(connection, [b"new"])

    def test_captured_at_every_worker_as_soon_as_it_is_answered(self):
        """Connections are spread over all threads."""
        connections = [self.connect() for _ in range(8)]
        for round_number in range(10):
            topic = "r%d/x" % round_number
            self.add(connections[0], topic[:-2], [topic[:-2] + "/#"])
            for connection in connections:
                answer = connection.publish(topic, "x")
                self.assertEqual((answer.level, answer.stream),
                                 (codec.SYNCED, topic[:-2]))
            connections[0].system("stream/remove", name=topic[:-2])
            for connection in connections:
                self.assertEqual(connection.publish(topic, "x").level,
                                 codec.ROUTED)


class Publishing(StreamTest):
    def test_answers_name_stream_and_sequence(self):
        connection = self.connect()
        self.add(connection)
        self.add(connection, "T", ["t"])
        for topic, stream, sequence in [
                ("s/a", "S", 1), ("s", "S", 2), ("t", "T", 1),
                ("s/b/c", "S", 3), ("t", "T", 2)]:
            answer = connection.publish(topic, "x")
            self.assertEqual(
                (answer.level, answer.flags, answer.matched, answer.stream,
                 answer.sequence), (codec.SYNCED, 0, 0, stream, sequence))

    def test_many_in_flight(self):
        connection = self.connect()
        self.add(connection)
        first = connection.last_number + 1
        answers = publish_bulk(connection, "s/a", numbered(5000))
        for answer in answers:
            for number in range(answer.id - answer.count + 1, answer.id + 1):
                self.assertEqual(answer.sequence_of(number),
                                 number - first + 1)
        self.assert_stored(connection, numbered(5000))

    def test_acknowledgements_come_in_publish_order(self):
        """Also between those that wait for the disk and those that do
        not, and refusals."""
        connection = self.connect()
        self.add(connection)
        first = connection.last_number + 1
        topics = ["s/a", "plain", "s/b", "#", "plain"] * 200
        connection.send_bytes(b"".join(
            codec.Publish(id=first + i, topic=topic.encode(),
                          payload=b"x").encode()
            for i, topic in enumerate(topics)))
        connection.last_number += len(topics)
        number, refused = first, 0
        while number < first + len(topics):
            event = connection.next_event()
            if isinstance(event, codec.Error):
                self.assertEqual((event.name, event.id), ("BAD_TOPIC",
                                                          number))
                self.assertEqual(topics[number - first], "#")
                refused += 1
                number += 1
                continue
            self.assertEqual(event.id - event.count + 1, number)
            captured = event.level == codec.SYNCED
            for at in range(number, event.id + 1):
                self.assertEqual(topics[at - first][0] == "s", captured)
            number = event.id + 1
        self.assertEqual(refused, 200)

    def test_a_ping_flushes_what_has_no_number(self):
        connection, other = self.connect(), self.connect()
        self.add(connection)
        for start in range(0, 3000, 1000):
            for payload in numbered(1000, start=start):
                connection.publish("s/a", payload, ack=False)
            connection.ping()
            self.assert_stored(other, numbered(start + 1000))

    def test_plain_subscribers_get_what_is_stored(self):
        publisher, watcher = self.connect(), self.connect()
        self.add(publisher)
        subscribers = [self.connect() for _ in range(4)]
        for each in subscribers + [publisher]:
            each.subscribe("s/+")
        total = 500
        for payload in numbered(total):
            publisher.publish("s/a", payload, ack=False)
        for each in subscribers + [publisher]:
            for payload in numbered(total):
                event = each.next_event()
                self.assertEqual((event.payload, event.sequence),
                                 (payload, 0))
                # Never before it is stored.
                if payload_number(payload) % 100 == 0:
                    self.assertGreater(self.info(watcher)["last_sequence"],
                                       payload_number(payload))
            self.assert_silent(each)

    def test_order_of_several_publishers(self):
        """In the stream and at each subscriber, once."""
        count, total = 4, 1000
        control = self.connect()
        self.add(control)
        subscriber = self.connect()
        subscriber.subscribe("s/#")
        group = [self.connect() for _ in range(2)]
        for member in group:
            member.subscribe("s/#", group="g")

        def publish(n):
            connection = self.connect()
            publish_bulk(connection, "s/%d" % n, numbered(total), chunk=50)

        threads = [threading.Thread(target=publish, args=(n,))
                   for n in range(count)]
        for thread in threads:
            thread.start()
        seen = {"s/%d" % n: 0 for n in range(count)}
        for _ in range(count * total):
            event = subscriber.next_event()
            self.assertEqual(payload_number(event.payload),
                             seen[event.topic])
            seen[event.topic] += 1
        for thread in threads:
            thread.join()
        self.assert_silent(subscriber)
        stored = self.read(control).messages
        self.assertEqual(len(stored), count * total)
        for topic in seen:
            self.assertEqual([message.payload for message in stored
                              if message.topic == topic], numbered(total))
        got = []
        for member in group:
            member.ping()
            while True:
                try:
                    event = member.next_event(1)
                except TimeoutError:
                    break
                got.append((event.topic, payload_number(event.payload)))
        self.assertEqual(sorted(got), sorted(
            (topic, n) for topic in seen for n in range(total)))

    def test_byte_for_byte(self):
        connection = self.connect()
        self.add(connection)
        connection.subscribe("s/#")
        frame = codec.Publish(
            id=connection.next_number(), flags=codec.RETAIN | 0x8000,
            topic="s/\u00e4".encode(), payload=bytes(range(256)),
            fields=[(codec.KEY_VALUE, b"\0\1kv"), (0x7001, b"unknown"),
                    (codec.TTL_MS, bytes(6) + b"\xff\xff"),
                    (codec.KEY_VALUE | codec.CRITICAL, b"\0\1k")])
        connection.send(frame)
        events = [connection.next_event() for _ in range(2)]
        frames = [event.frame for event in events
                  if isinstance(event, Message)]
        stored = self.read(connection).messages[0].frame
        self.assertEqual([each.encode() for each in frames + [stored]],
                         [frame.encode()] * 2)

    def test_retained_and_plain_keep_their_order(self):
        """RETAIN takes another way through the broker."""
        connection, subscriber = self.connect(), self.connect()
        self.add(connection)
        subscriber.subscribe("s/#")
        for n, payload in enumerate(numbered(600)):
            connection.publish("s/a", payload, ack=False, retain=n % 3 == 0)
        self.assertEqual(self.next_messages(subscriber, 600), numbered(600))
        self.assert_stored(connection, numbered(600))
        late = self.connect()
        self.assertEqual(late.subscribe("s/#").retained, 1)
        event = late.next_event()
        self.assertEqual((event.retained, payload_number(event.payload)),
                         (True, 597))

    def test_an_empty_retained_message_is_stored_and_clears(self):
        connection = self.connect()
        self.add(connection)
        connection.publish("s/a", "x", retain=True)
        self.assertEqual(connection.publish("s/a", retain=True).sequence, 2)
        self.assert_stored(connection, [b"x", b""])
        self.assertEqual(connection.subscribe("s/a").retained, 0)

    def test_requests_are_stored(self):
        connection, worker = self.connect(), self.connect()
        self.add(connection)
        answer = connection.publish("s/a", "nobody", reply_to="_inbox/1")
        self.assertEqual((answer.level, answer.sequence), (codec.SYNCED, 1))
        worker.subscribe("s/#")

        def serve():
            event = worker.next_event()
            worker.publish(event.reply_to.decode()
                           if isinstance(event.reply_to, bytes)
                           else event.reply_to, b"re " + event.payload)

        thread = threading.Thread(target=serve)
        thread.start()
        self.assertEqual(connection.request("s/b", "ask").payload, b"re ask")
        thread.join()
        self.assert_stored(connection, [b"nobody", b"ask"])

    def test_a_client_without_the_feature(self):
        plain = self.connect(features=0)
        self.assertEqual(plain.welcome.features, 0)
        connection = self.connect()
        self.assertEqual(connection.welcome.features, codec.STREAMS)
        self.add(plain)
        connection.subscribe("s/#")
        answer = plain.publish("s/a", "x")
        self.assertEqual((answer.level, answer.matched, answer.refused,
                          answer.fields), (codec.ROUTED, 0, 0, []))
        self.assertEqual(connection.next_event().payload, b"x")
        self.assert_stored(connection, [b"x"])
        # Unknown bits are ignored.
        odd = self.connect(features=0xFFFFFFFFFFFFFFFF)
        self.assertEqual(odd.welcome.features, codec.STREAMS)


class Conditions(StreamTest):
    """Expected last sequence, batches, full streams."""

    def test_expected_last_sequence(self):
        connection = self.connect()
        self.add(connection)
        connection.subscribe("s/#")
        error = self.assert_refused("WRONG_LAST_SEQUENCE",
                                    connection.publish, "s/a", "x",
                                    expected_last=1)
        self.assertEqual(error.sequence, 0)
        connection.publish("s/a", "1", expected_last=0)
        connection.publish("s/a", "2", expected_last=1)
        for wrong in 0, 1, 3, 0xFFFFFFFFFFFFFFFF:
            error = self.assert_refused("WRONG_LAST_SEQUENCE",
                                        connection.publish, "s/a", "x",
                                        expected_last=wrong)
            self.assertEqual((error.sequence, error.refused_type),
                             (2, codec.Publish.TYPE))
        connection.system("stream/purge", name="S")
        connection.publish("s/a", "3", expected_last=2)
        self.assertEqual(self.next_messages(connection, 3),
                         [b"1", b"2", b"3"])
        self.assert_silent(connection)

    def test_expected_last_sequence_in_a_race(self):
        """Of all who expect the same, one is right."""
        control = self.connect()
        self.add(control)
        won = []

        def compete():
            connection = self.connect()
            last = 0
            while last < 100:
                try:
                    last = connection.publish("s/a", "x",
                                              expected_last=last).sequence
                    won.append(last)
                except broker_wire.Refused as refused:
                    last = refused.error.sequence

        threads = [threading.Thread(target=compete) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(len(set(won)), len(won))
        self.assertEqual(self.info(control)["messages"], len(won))

    def test_batch(self):
        connection, subscriber = self.connect(), self.connect()
        self.add(connection)
        subscriber.subscribe("s/#")
        connection.publish("s/a", "1")
        answer = connection.publish_batch(
            [("s/a", "2"), ("s/b", "3"), ("s/a", "4")])
        self.assertEqual((answer.level, answer.count, answer.sequence),
                         (codec.SYNCED, 1, 4))
        self.assertEqual(connection.publish_batch([("s/a", "5")]).sequence, 5)
        connection.publish_batch([("s/a", "6"), ("s/a", "7")], ack=False)
        connection.ping()
        expected = [b"%d" % n for n in range(1, 8)]
        self.assert_stored(connection, expected)
        self.assertEqual(self.next_messages(subscriber, 7), expected)
        self.assert_silent(subscriber)

    def test_batch_with_expected_last_sequence(self):
        connection = self.connect()
        self.add(connection)

        def send(expected_last):
            return connection.publish_batch(
                [publish_frame("s/a", "1", expected_last=expected_last),
                 publish_frame("s/a", "2")])

        self.assertEqual(send(0).sequence, 2)
        for wrong in 0, 1, 3:
            error = self.assert_refused("WRONG_LAST_SEQUENCE", send, wrong)
            self.assertEqual((error.sequence, error.refused_type),
                             (2, codec.PublishBatch.TYPE))
        self.assertEqual(send(2).sequence, 4)

    def test_batches_of_several_publishers_stay_whole(self):
        control = self.connect()
        self.add(control)

        def publish(n):
            connection = self.connect()
            for number in range(100):
                connection.publish_batch(
                    [("s/%d" % n, "%d.%d" % (number, part))
                     for part in range(5)])

        threads = [threading.Thread(target=publish, args=(n,))
                   for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        messages = self.read(control).messages
        self.assertEqual(len(messages), 2000)
        for at in range(0, 2000, 5):
            part = messages[at:at + 5]
            self.assertEqual(len({each.topic for each in part}), 1)
            first = part[0].payload.split(b".")[0]
            self.assertEqual([each.payload for each in part],
                             [b"%s.%d" % (first, n) for n in range(5)])

    def test_a_full_stream_that_discards_what_is_new(self):
        connection = self.connect()
        self.add(connection, max_messages=3, discard="new")
        connection.subscribe("s/#")
        for n in range(3):
            connection.publish("s/a", str(n))
        error = self.assert_refused("STREAM_FULL", connection.publish, "s/a",
                                    "x")
        self.assertEqual(error.retry, 1)
        connection.publish("s/a", "x", ack=False)
        connection.ping()
        errors = [event for event in connection.inbox
                  if isinstance(event, codec.Error)]
        self.assertEqual([(each.name, each.id, each.value(codec.TOPIC))
                          for each in errors], [("STREAM_FULL", 0, b"s/a")])
        connection.system("stream/purge", name="S", keep=2)
        self.assert_refused("STREAM_FULL", connection.publish_batch,
                            [("s/a", "x"), ("s/a", "y")])
        self.assertEqual(connection.publish("s/a", "3").sequence, 4)
        self.assert_stored(connection, [b"1", b"2", b"3"])

    def test_limits_of_bytes(self):
        connection = self.connect()
        size = len(publish_frame("s/a", bytes(100)).encode())
        self.add(connection, "old", ["o"], max_bytes=10 * size)
        self.add(connection, "new", ["n"], max_bytes=10 * size,
                 discard="new")
        size = len(publish_frame("o", bytes(100)).encode())
        for n in range(30):
            connection.publish("o", numbered(1, 100, n)[0])
        stream = self.info(connection, "old")
        self.assertLessEqual(stream["bytes"], stream["max_bytes"])
        self.assertGreater(stream["bytes"], stream["max_bytes"] - size)
        self.assertEqual(stream["messages"] + stream["trimmed"], 30)
        stored = 0
        with self.assertRaises(broker_wire.Refused) as caught:
            for n in range(30):
                connection.publish("n", bytes(100))
                stored += 1
        self.assertEqual(caught.exception.name, "STREAM_FULL")
        self.assertEqual(stored, 10 * (size + 2) // size)

    def test_age(self):
        connection = self.connect()
        self.add(connection, max_age_ms=300)
        connection.publish("s/a", "x")
        wait_until(lambda: self.info(connection)["messages"] == 0)
        self.assertEqual(self.info(connection)["trimmed"], 1)
        self.assert_stored(connection, [])


if __name__ == "__main__":
    unittest.main()
