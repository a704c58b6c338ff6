# SPDX-License-Identifier: MIT
"""Reading streams: every start, filters, gaps, slow and many readers.

PROTOCOL.md sections 4.13, 4.16 to 4.18, 5.4 and 5.13.
"""
import threading
import time
import unittest

import wire_codec as codec
from broker_wire import Message
from harness import (
    MEMORY_IS_MEASURABLE, MIB, numbered, payload_number, publish_bulk,
    wait_until)
from stream_rig import StreamTest


def now_ms():
    return int(time.time() * 1000)


class Starts(StreamTest):
    def setUp(self):
        super().setUp()
        self.writer = self.connect()
        self.add(self.writer)

    def fill(self, count=10):
        for n in range(1, count + 1):
            self.writer.publish("s/a", str(n))

    def numbers(self, start, value=0, **options):
        reading = self.read(self.writer, start=start, value=value, **options)
        self.assertEqual([int(payload) for payload in reading.payloads],
                         reading.sequences)
        return reading.sequences

    def test_first(self):
        self.fill()
        self.assertEqual(self.numbers(codec.START_FIRST), list(range(1, 11)))

    def test_last(self):
        self.fill()
        self.assertEqual(self.numbers(codec.START_LAST), [10])

    def test_new(self):
        self.fill()
        self.assertEqual(self.numbers(codec.START_NEW), [])
        reading, reply = self.consume(self.writer, "S",
                                      start=codec.START_NEW)
        self.assertEqual((reply.first_sequence, reply.last_sequence,
                          reply.next_sequence), (1, 10, 11))
        reading.caught_up()
        self.assertEqual(reading.end.sequence, 11)
        self.writer.publish("s/a", "11")
        self.assertEqual(reading.take_messages(1).sequences, [11])

    def test_sequence(self):
        self.fill()
        for value, first in [(0, 1), (1, 1), (4, 4), (10, 10)]:
            self.assertEqual(self.numbers(codec.START_SEQUENCE, value),
                             list(range(first, 11)))
        self.assertEqual(self.numbers(codec.START_SEQUENCE, 11), [])

    def test_a_sequence_that_is_still_to_come(self):
        self.fill(3)
        reading, reply = self.consume(self.writer, "S",
                                      start=codec.START_SEQUENCE, value=6)
        reading.caught_up()
        for n in range(4, 9):
            self.writer.publish("s/a", str(n))
        self.assertEqual(reading.take_messages(3).sequences, [6, 7, 8])

    def test_time(self):
        self.fill(3)
        wait_until(lambda: now_ms() > self.info(self.writer)["last_time_ms"]
                   + 20)
        between = now_ms()
        wait_until(lambda: now_ms() > between + 20)
        for n in range(4, 7):
            self.writer.publish("s/a", str(n))
        self.assertEqual(self.numbers(codec.START_TIME, between), [4, 5, 6])
        self.assertEqual(self.numbers(codec.START_TIME, 0),
                         [1, 2, 3, 4, 5, 6])
        for message in self.read(self.writer).messages:
            found = self.numbers(codec.START_TIME, message.time_ms)
            self.assertLessEqual(found[0], message.sequence)
        self.assertEqual(self.numbers(codec.START_TIME, now_ms() + 60000),
                         [])
        self.assertEqual(self.numbers(codec.START_TIME, (1 << 64) - 1), [])

    def test_ago(self):
        self.fill(3)
        wait_until(lambda: now_ms() > self.info(self.writer)["last_time_ms"]
                   + 1500)
        for n in range(4, 7):
            self.writer.publish("s/a", str(n))
        self.assertEqual(self.numbers(codec.START_AGO, 1000), [4, 5, 6])
        self.assertEqual(self.numbers(codec.START_AGO, 3600000),
                         [1, 2, 3, 4, 5, 6])
        self.assertEqual(self.numbers(codec.START_AGO, (1 << 64) - 1),
                         [1, 2, 3, 4, 5, 6])

    def test_count(self):
        self.fill()
        for value in 0, 1, 3, 10, 11, (1 << 64) - 1:
            self.assertEqual(self.numbers(codec.START_COUNT, value),
                             list(range(1, 11))[-value:] if value else [])

    def test_an_empty_stream(self):
        for start in range(codec.START_FIRST, codec.START_COUNT + 1):
            reading = self.read(self.writer, start=start, value=5
                                if start >= codec.START_SEQUENCE else 0)
            self.assertEqual(reading.messages, [])
        self.fill(2)
        self.writer.system("stream/purge", name="S")
        _, reply = self.consume(self.writer, "S")
        self.assertEqual((reply.first_sequence, reply.last_sequence,
                          reply.next_sequence), (3, 2, 3))

    def test_by_filter(self):
        self.add(self.writer, "T", ["t/#", "u"])
        for topic in "s/a", "s/b", "t/a", "s/a", "t/b", "u":
            self.writer.publish(topic, topic)
        for stream, filter_text, expected in [
                ("", "s/#", "s/a s/b s/a"), ("", "s/a", "s/a s/a"),
                ("", "t/+", "t/a t/b"), ("", "u", "u"),
                ("S", "#", "s/a s/b s/a"), ("T", "+", "u"),
                ("T", "s/#", ""), ("T", "", "t/a t/b u")]:
            reading = self.read(self.writer, stream, filter_text)
            self.assertEqual(b" ".join(reading.payloads), expected.encode(),
                             (stream, filter_text))
        for filter_text in "#", "+/a":
            self.assert_refused("AMBIGUOUS_STREAM", self.writer.consume,
                                filter_text=filter_text)
        self.assert_refused("UNKNOWN_STREAM", self.writer.consume,
                            filter_text="x/#")

    def test_starts_with_a_filter(self):
        for n in range(1, 11):
            self.writer.publish("s/%d" % (n % 2), str(n))
        for start, value, expected in [
                (codec.START_FIRST, 0, [2, 4, 6, 8, 10]),
                (codec.START_SEQUENCE, 5, [6, 8, 10])]:
            self.assertEqual(self.numbers(start, value, filter_text="s/0"),
                             expected)


class Flow(StreamTest):
    def setUp(self):
        super().setUp()
        self.writer = self.connect()

    def test_from_what_is_stored_to_what_comes(self):
        """No seam: everything once, while a publisher goes on."""
        self.add(self.writer)
        publish_bulk(self.writer, "s/a", numbered(2000))
        readings = [self.consume(self.connect(), "S")[0] for _ in range(6)]
        thread = threading.Thread(target=publish_bulk, args=(
            self.writer, "s/a", numbered(4000, start=2000)), kwargs={
                "chunk": 100})
        thread.start()
        for reading in readings:
            reading.take_messages(6000)
            self.assertEqual(reading.payloads, numbered(6000))
        thread.join()

    def test_a_reader_and_plain_subscriptions_of_one_connection(self):
        self.add(self.writer)
        self.writer.publish("s/a", "0")
        connection = self.connect()
        plain = connection.subscribe("s/#").id
        reading, _ = self.consume(connection, "S")
        both, _ = self.consume(connection, "S", "s/b")
        for n in range(1, 201):
            self.writer.publish("s/%s" % "ab"[n % 2], str(n), ack=False)
        live = []
        while len(live) < 200 or len(reading.messages) < 201 or \
                len(both.messages) < 100:
            event = connection.next_event()
            if reading.take(event) or both.take(event):
                continue
            self.assertEqual(event.subscriptions, (plain,))
            live.append(event.payload)
        expected = [b"%d" % n for n in range(201)]
        self.assertEqual(live, expected[1:])
        self.assertEqual(reading.payloads, expected)
        self.assertEqual(both.payloads, expected[1::2])

    def test_end_says_what_was_there(self):
        self.add(self.writer)
        publish_bulk(self.writer, "s/a", numbered(3000, 100))
        reading = self.read(self.writer)
        self.assertEqual(reading.payloads, numbered(3000, 100))
        self.assertEqual(reading.end.sequence, 3001)
        self.assertEqual((reading.books.matched, reading.books.delivered),
                         (3000, 3000))
        self.writer.publish("s/a", "later")
        self.assert_silent(self.writer)

    def test_large_messages(self):
        self.add(self.writer)
        payloads = numbered(3, 15 * MIB) + numbered(3, start=3)
        for payload in payloads:
            self.writer.publish("s/a", payload)
        self.assertEqual(self.read(self.writer).payloads, payloads)

    def test_larger_than_a_client_takes(self):
        self.add(self.writer)
        for payload in numbered(1) + numbered(1, 100000, 1) + \
                numbered(1, start=2):
            self.writer.publish("s/a", payload)
        small = self.connect(max_body_bytes=65536)
        reading = self.read(small)
        self.assertEqual(reading.payloads, numbered(1) + numbered(1, start=2))
        self.assertEqual(reading.gaps, [(2, 1)])

    def test_unsubscribe_in_the_middle(self):
        self.add(self.writer)
        publish_bulk(self.writer, "s/a", numbered(20000, 1000))
        for drain in False, True:
            connection = self.connect()
            reading, reply = self.consume(connection, "S")
            reading.take_messages(10)
            books = connection.unsubscribe(reply.id, drain=drain)
            rest = [event for event in connection.inbox
                    if reading.take(event)]
            connection.inbox.clear()
            self.assertEqual(books.matched, books.delivered + books.dropped)
            self.assertEqual(len(reading.messages), books.delivered)
            self.assertEqual(len(rest) + 10, len(reading.messages))
            self.assertEqual(reading.sequences,
                             list(range(1, len(reading.messages) + 1)))
            self.writer.publish("s/a", "x")
            self.assert_silent(connection)
            # And again, with the id of a new subscription.
            self.assertEqual(len(self.read(
                connection, start=codec.START_COUNT, value=5).messages), 5)

    def test_slow_readers_cost_little_and_lose_nothing(self):
        self.add(self.writer)
        count, size = 40000, 1000
        for start in range(0, count, 10000):
            publish_bulk(self.writer, "s/a", numbered(10000, size, start))
        self.writer.stats()
        before = self.broker.rss_bytes()
        slow = [self.raw(receive_buffer=4096) for _ in range(10)]
        for peer in slow:
            peer.hello(features=codec.STREAMS)
            peer.send(codec.Consume(id=1, stream=b"S",
                                    start=codec.START_FIRST))
        self.let_process()
        # Others are served meanwhile, and what they read is whole.
        self.assertEqual(len(self.read(self.connect()).messages), count)
        publish_bulk(self.writer, "s/a", numbered(1000, size, count))
        if MEMORY_IS_MEASURABLE:
            self.assertLess(self.broker.rss_bytes() - before, 80 * MIB)
        for peer in slow[:3]:
            seen = 0
            while seen < count + 1000:
                frame = peer.next_frame()
                self.assertNotIsInstance(frame, codec.Gap)
                if isinstance(frame, codec.Publish):
                    self.assertEqual(payload_number(frame.payload), seen)
                    seen += 1

    def test_many_readers(self):
        self.add(self.writer)
        publish_bulk(self.writer, "s/a", numbered(100))
        connection = self.connect()
        readings = [self.consume(connection, "S")[0] for _ in range(50)]
        by_id = {reading.subscription: reading for reading in readings}
        publish_bulk(self.writer, "s/a", numbered(100, start=100))
        while any(len(reading.messages) < 200 for reading in readings):
            event = connection.next_event()
            by_id[event.id if isinstance(event, codec.Position)
                  else event.subscriptions[0]].take(event)
        for reading in readings:
            self.assertEqual(reading.payloads, numbered(200))

    def test_a_reader_after_its_reconnect(self):
        """Section 9: start after the last sequence that was handled."""
        self.add(self.writer)
        publish_bulk(self.writer, "s/a", numbered(1000))
        found, last = [], 0
        while len(found) < 1000:
            connection = self.connect()
            reading, _ = self.consume(connection, "S",
                                      start=codec.START_SEQUENCE,
                                      value=last + 1)
            reading.take_messages(min(170, 1000 - len(found)))
            connection.abort()
            found += reading.payloads
            last = reading.sequence
        self.assertEqual(found[:1000], numbered(1000))


class Missing(StreamTest):
    def setUp(self):
        super().setUp()
        self.writer = self.connect()
        self.add(self.writer)

    def test_expired(self):
        for n in range(1, 7):
            self.writer.publish("s/a", str(n), ttl_ms=1 if n in (2, 3, 6)
                                else 3600000)
        first = now_ms()
        wait_until(lambda: now_ms() > first + 5)
        connection = self.connect()
        reading, _ = self.consume(connection, "S")
        reading.caught_up()
        self.assertEqual(reading.payloads, [b"1", b"4", b"5"])
        self.assertEqual(sum(count for reason, count in reading.gaps), 3)
        self.assertEqual({reason for reason, _ in reading.gaps},
                         {codec.GAP_EXPIRED})
        books = connection.unsubscribe(reading.subscription)
        self.assertEqual((books.matched, books.delivered, books.dropped),
                         (6, 3, 3))

    def test_expired_in_its_place(self):
        self.writer.publish("s/a", "1")
        self.writer.publish("s/a", "2", ttl_ms=1)
        wait_until(lambda: now_ms() > self.info(self.writer)["last_time_ms"]
                   + 5)
        self.writer.publish("s/a", "3")
        connection = self.connect()
        connection.consume("S", end=True)
        kinds = []
        while not isinstance(kinds[-1:] and kinds[-1], codec.Unsuback):
            kinds.append(connection.next_event())
        self.assertEqual(
            [type(each) for each in kinds],
            [Message, codec.Gap, Message, codec.Position, codec.Unsuback])

    def test_ttl_does_not_matter_to_plain_subscribers(self):
        connection = self.connect()
        connection.subscribe("s/#")
        self.writer.publish("s/a", "x", ttl_ms=1)
        self.assertEqual(connection.next_event().payload, b"x")

    def test_started_below_what_was_trimmed(self):
        for n in range(1, 11):
            self.writer.publish("s/a", str(n))
        self.writer.system("stream/purge", name="S", before=6)
        reading = self.read(self.writer, start=codec.START_SEQUENCE, value=3)
        self.assertEqual((reading.sequences, reading.gaps),
                         ([6, 7, 8, 9, 10], [(codec.GAP_TRIMMED, 3)]))
        reading = self.read(self.writer)  # the first that there is
        self.assertEqual((reading.sequences, reading.gaps),
                         ([6, 7, 8, 9, 10], []))

    def test_a_purge_below_a_reader(self):
        """It stands still in the middle, and what it missed is counted."""
        count, size = 20000, 1000
        publish_bulk(self.writer, "s/a", numbered(count, size))
        peer = self.raw(receive_buffer=4096)
        peer.hello(features=codec.STREAMS)
        peer.send(codec.Consume(id=1, stream=b"S", start=codec.START_FIRST))
        self.let_process()
        self.writer.system("stream/purge", name="S", keep=10)
        publish_bulk(self.writer, "s/a", numbered(10, size, count))
        at, gaps = 0, []
        while at < count + 10:
            frame = peer.next_frame()
            if isinstance(frame, codec.Publish):
                self.assertEqual(payload_number(frame.payload), at)
                at += 1
            elif isinstance(frame, codec.Gap):
                self.assertEqual((frame.reason, frame.size),
                                 (codec.GAP_TRIMMED, 0))
                at += frame.count
                gaps.append(frame.count)
        self.assertEqual(at, count + 10)
        self.assertTrue(gaps)

    def test_limits_trim_below_a_reader(self):
        self.writer.system("stream/edit", name="S", max_messages=100)
        reading, _ = self.consume(self.connect(), "S")
        publish_bulk(self.writer, "s/a", numbered(5000))
        reading.read_until(lambda: reading.sequence == 5000)
        self.assertEqual(len(reading.messages)
                         + sum(count for _, count in reading.gaps), 5000)
        for reason, _ in reading.gaps:
            self.assertEqual(reason, codec.GAP_TRIMMED)

    def test_the_stream_is_removed(self):
        for n in range(10):
            self.writer.publish("s/a", str(n))
        readers = [self.connect() for _ in range(4)]
        readings = [self.consume(each, "S")[0].caught_up()
                    for each in readers]
        plain = readers[0].subscribe("s/#").id
        self.writer.system("stream/remove", name="S")
        for connection, reading in zip(readers, readings):
            error = connection.next_event()
            self.assertIsInstance(error, codec.Error)
            self.assertEqual(
                (error.name, error.error_class, error.id),
                ("UNKNOWN_STREAM", codec.Error.SUBSCRIPTION,
                 reading.subscription))
            self.assert_refused("UNKNOWN_SUBSCRIPTION",
                                connection.unsubscribe, reading.subscription)
        # A new one of the same name is another one.
        self.add(self.writer)
        self.writer.publish("s/a", "new")
        event = readers[0].next_event()
        self.assertEqual((event.payload, event.subscriptions),
                         (b"new", (plain,)))
        for each in readers:
            self.assert_silent(each)

    def test_removed_while_it_is_read(self):
        publish_bulk(self.writer, "s/a", numbered(20000, 1000))
        peer = self.raw(receive_buffer=4096)
        peer.hello(features=codec.STREAMS)
        peer.send(codec.Consume(id=1, stream=b"S", start=codec.START_FIRST))
        self.let_process()
        self.writer.system("stream/remove", name="S")
        at = 0
        while True:
            frame = peer.next_frame()
            if isinstance(frame, codec.Publish):
                self.assertEqual(payload_number(frame.payload), at)
                at += 1
            elif isinstance(frame, codec.Error):
                break
        self.assertEqual((frame.name, frame.id), ("UNKNOWN_STREAM", 1))
        self.assertLess(at, 20000)


class Delayed(StreamTest):
    """DELIVER_AT."""

    def test_it_enters_its_stream_at_its_time(self):
        writer, subscriber = self.connect(), self.connect()
        self.add(writer)
        subscriber.subscribe("s/#")
        due = now_ms() + 600
        answer = writer.publish("s/a", "later", deliver_at=due)
        self.assertEqual((answer.level, answer.sequence),
                         (codec.SYNCED, None))
        writer.publish("s/a", "now")
        self.assertEqual(subscriber.next_event().payload, b"now")
        event = subscriber.next_event()
        self.assertGreaterEqual(now_ms(), due)
        self.assertEqual(event.payload, b"later")
        reading = self.read(writer)
        self.assertEqual(reading.payloads, [b"now", b"later"])
        self.assertGreaterEqual(reading.messages[1].time_ms, due)

    def test_a_time_that_is_past(self):
        writer = self.connect()
        self.add(writer)
        reading, _ = self.consume(self.connect(), "S")
        writer.publish("s/a", "x", deliver_at=1)
        self.assertEqual(reading.take_messages(1).payloads, [b"x"])


if __name__ == "__main__":
    unittest.main()
