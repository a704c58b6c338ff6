# SPDX-License-Identifier: MIT
"""A subscriber that does not read: bounded queues, policies, gaps.

PROTOCOL.md sections 4.13, 4.14, 5.2, 5.4 and 5.6.  The slow subscribers
use the UNIX socket, whose kernel buffers are small and do not grow.
"""
import collections
import unittest

import wire_codec as codec
from broker_wire import Message
from harness import (
    MEMORY_IS_MEASURABLE, MIB, BrokerTest, Ledger, numbered, payload_number,
    publish_bulk, wait_until)

COUNT, SIZE = 12000, 200
FRAME = 12 + 4 + 1 + SIZE  # a message on topic "t"
CAP = 131072


def totals(answers):
    """(publishes, sum of matched, sum of refused) of PUBACK frames."""
    return (sum(a.count for a in answers),
            sum(a.count * a.matched for a in answers),
            sum(a.count * a.refused for a in answers))


class Overflow(BrokerTest):
    options = {"max_output_bytes": CAP, "max_body_bytes": 65536,
               "close_linger_ms": 20000}

    def setUp(self):
        super().setUp()
        self.slow = self.connect(self.broker.unix)
        self.publisher = self.connect()

    def fill(self, topic="t", count=COUNT, size=SIZE, start=0):
        return publish_bulk(self.publisher, topic,
                            numbered(count, size, start))

    def fill_in_steps(self, start=0):
        """As fill(); the broker writes what it can in between, so that
        its queue grows only when the kernel takes no more."""
        answers = []
        for at in range(start, start + COUNT, 100):
            answers += self.fill("t", 100, SIZE, at)
        return answers

    def read(self, ledger, total):
        """Reads all of it and returns the other events but notices."""
        return [event for event in ledger.read(self.slow, total)
                if not isinstance(event, codec.Notice)]

    def check_end(self, ledger, total):
        """What the broker counted is what we counted."""
        books = self.slow.unsubscribe(ledger.subscription)
        self.assertEqual((books.matched, books.delivered, books.dropped),
                         (total, ledger.received, ledger.missing))


class DropOldest(Overflow):
    def test_received_and_gaps_add_up(self):
        ledger = Ledger(self.slow.subscribe("t").id)
        self.assertEqual(totals(self.fill()), (COUNT, COUNT, 0))
        self.assertEqual(self.read(ledger, COUNT), [])
        self.assertGreater(ledger.missing, 0)
        self.assertEqual(ledger.gap_bytes, ledger.missing * FRAME)
        self.assertEqual(ledger.numbers[-1], COUNT - 1)  # the newest stay
        self.check_end(ledger, COUNT)

    def test_as_the_explicit_policy(self):
        answer = self.slow.subscribe("t", policy=codec.DROP_OLDEST)
        self.assertEqual(answer.policy, codec.DROP_OLDEST)
        ledger = Ledger(answer.id)
        self.fill()
        self.read(ledger, COUNT)
        self.assertEqual(ledger.numbers[-1], COUNT - 1)

    def test_it_is_the_default(self):
        self.assertEqual(self.slow.subscribe("t").policy, codec.DROP_OLDEST)

    def test_the_queue_holds_what_it_may(self):
        """The newest messages stay, and about as many as the limit says
        (half of it, to leave the broker its bookkeeping)."""
        ledger = Ledger(self.slow.subscribe("t").id)
        self.fill()
        self.read(ledger, COUNT)
        kept = 0
        while (ledger.numbers[-1 - kept] == COUNT - 1 - kept
               and kept < len(ledger.numbers) - 1):
            kept += 1
        self.assertGreater(kept * FRAME, CAP // 2)

    def test_again_and_again(self):
        """The queue recovers after each overflow."""
        ledger = Ledger(self.slow.subscribe("t").id)
        for turn in range(4):
            self.fill(start=turn * COUNT)
            self.read(ledger, (turn + 1) * COUNT)
        self.assertGreaterEqual(ledger.gaps, 4)
        self.fill(count=10, start=4 * COUNT)
        before = ledger.missing
        self.read(ledger, 4 * COUNT + 10)
        self.assertEqual(ledger.missing, before)
        self.check_end(ledger, 4 * COUNT + 10)

    def test_two_subscriptions_each_with_its_own_gaps(self):
        ledgers = [Ledger(self.slow.subscribe(t).id) for t in "tu"]
        for start in range(0, COUNT, 100):
            for topic in "tu":
                self.fill(topic, 100, SIZE, start)
        while any(ledger.next < COUNT for ledger in ledgers):
            event = self.slow.next_event()
            if isinstance(event, codec.Notice):
                continue
            self.assertEqual(len(event.subscriptions), 1)
            self.assertTrue(any([ledger.take(event) for ledger in ledgers]))
        for ledger in ledgers:
            self.assertGreater(ledger.missing, 0)
            self.check_end(ledger, COUNT)

    def test_overlapping_subscriptions(self):
        """GAP names exactly the subscriptions that each message matched:
        every second message is for one of them, the others for both."""
        every = Ledger(self.slow.subscribe("x/+").id)
        odd = self.slow.subscribe("x/1").id
        self.publisher.send_bytes(b"".join(
            codec.Publish(topic=b"x/%d" % (n % 2), payload=p).encode()
            for n, p in enumerate(numbered(COUNT, SIZE))))
        self.publisher.ping()
        odd_count = 0
        sets = set()
        while every.next < COUNT:
            event = self.slow.next_event()
            if isinstance(event, codec.Notice):
                continue
            self.assertTrue(every.take(event))
            if odd in event.subscriptions:
                odd_count += getattr(event, "count", 1)
            sets.add(frozenset(event.subscriptions))
        self.assertEqual(odd_count, COUNT // 2)
        self.assertEqual(sets, {frozenset({every.subscription}),
                                frozenset({every.subscription, odd})})
        self.check_end(every, COUNT)

    def test_other_subscribers_are_not_affected(self):
        healthy = self.connect()
        fast = Ledger(healthy.subscribe("t").id)
        slow = Ledger(self.slow.subscribe("t").id)
        for start in range(0, COUNT, 100):
            self.assertEqual(totals(self.fill("t", 100, SIZE, start))[1:],
                             (200, 0))
            fast.read(healthy, start + 100)
        self.assertEqual((fast.received, fast.missing), (COUNT, 0))
        self.read(slow, COUNT)
        self.assertGreater(slow.missing, 0)

    def test_over_tcp(self):
        self.slow = self.connect(receive_buffer=4096)
        ledger = Ledger(self.slow.subscribe("t").id)
        self.fill(count=10000, size=2000)
        self.read(ledger, 10000)
        self.assertGreater(ledger.missing, 0)
        self.check_end(ledger, 10000)

    def test_the_largest_message_always_fits_into_an_empty_queue(self):
        ledger = Ledger(self.slow.subscribe("t").id)
        for number in range(20):
            self.fill(count=1, size=65536 - 5, start=number)
            self.read(ledger, number + 1)
        self.assertEqual(ledger.missing, 0)

    def test_the_largest_messages(self):
        ledger = Ledger(self.slow.subscribe("t").id)
        answers = self.fill(count=200, size=65536 - 5)
        self.assertEqual(totals(answers), (200, 200, 0))
        self.read(ledger, 200)
        self.assertEqual(ledger.numbers[-1], 199)
        self.check_end(ledger, 200)


class DropNewest(Overflow):
    def test_the_publisher_is_told(self):
        answer = self.slow.subscribe("t", policy=codec.DROP_NEWEST)
        self.assertEqual(answer.policy, codec.DROP_NEWEST)
        ledger = Ledger(answer.id)
        answers = self.fill_in_steps()
        self.read(ledger, COUNT)
        self.assertGreater(ledger.missing, 0)
        self.assertEqual(totals(answers), (COUNT, COUNT, ledger.missing))
        self.assertEqual(ledger.numbers,
                         list(range(len(ledger.numbers))))  # the oldest stay
        self.assertEqual(ledger.gap_bytes, ledger.missing * FRAME)
        self.check_end(ledger, COUNT)

    def test_which_ones_were_refused(self):
        """The numbers whose PUBACK says refused are those in the gap."""
        ledger = Ledger(self.slow.subscribe("t",
                                            policy=codec.DROP_NEWEST).id)
        answers = self.fill_in_steps()
        refused = {n for a in answers if a.refused
                   for n in range(a.id - a.count, a.id)}  # counted from 0
        self.read(ledger, COUNT)
        self.assertEqual(set(ledger.numbers), set(range(COUNT)) - refused)

    def test_it_goes_on_afterwards(self):
        ledger = Ledger(self.slow.subscribe("t",
                                            policy=codec.DROP_NEWEST).id)
        self.fill()
        self.read(ledger, COUNT)
        missing = ledger.missing
        answers = self.fill(count=10, start=COUNT)
        self.read(ledger, COUNT + 10)
        self.assertEqual((totals(answers)[2], ledger.missing), (0, missing))

    def test_the_more_preserving_policy_wins(self):
        """Drop-newest over drop-oldest, for messages that match both."""
        oldest = Ledger(self.slow.subscribe("+").id)
        newest = Ledger(self.slow.subscribe("t",
                                            policy=codec.DROP_NEWEST).id)
        answers = self.fill_in_steps()
        while oldest.next < COUNT:
            event = self.slow.next_event()
            if not isinstance(event, codec.Notice):
                self.assertTrue(oldest.take(event))
                self.assertTrue(newest.take(event))
        self.assertEqual(oldest.numbers, list(range(len(oldest.numbers))))
        self.assertEqual(totals(answers),
                         (COUNT, 2 * COUNT, 2 * oldest.missing))


class Conflating(Ledger):
    """Follows messages that are numbered through all topics, where it is
    open until the end which of them a GAP has counted."""

    def __init__(self, subscription, topics):
        super().__init__(subscription)
        self.topics = topics
        self.newest = {}  # topic: number
        self.reasons = collections.Counter()

    def take(self, event):
        if self.subscription not in getattr(event, "subscriptions", ()):
            return False
        if isinstance(event, codec.Gap):
            self.missing += event.count
            self.gap_bytes += event.size
            self.gaps += 1
            self.reasons[event.reason] += event.count
        else:
            number = payload_number(event.payload)
            if self.numbers and number <= self.numbers[-1]:
                raise AssertionError("%d after %d" %
                                     (number, self.numbers[-1]))
            self.received += 1
            if number + 1 - self.received > self.missing:
                raise AssertionError("%d before its GAP" % number)
            self.numbers.append(number)
            self.newest[event.topic] = number
        self.next = self.received + self.missing
        return True


class Conflate(Overflow):
    topics = 10

    def fill_topics(self, count=COUNT, start=0):
        """Messages of all topics in turn."""
        payloads = numbered(count, SIZE, start)
        for at in range(0, count, 100):
            self.publisher.send_bytes(b"".join(
                codec.Publish(topic=b"t/%d" % ((start + at + i) %
                                               self.topics),
                              payload=payload).encode()
                for i, payload in enumerate(payloads[at:at + 100])))
        self.publisher.ping()

    def check_newest(self, ledger, count=COUNT):
        self.assertEqual(set(ledger.newest.values()),
                         set(range(count - self.topics, count)))

    def subscribe(self, topic="t/+"):
        answer = self.slow.subscribe(topic, policy=codec.CONFLATE)
        self.assertEqual(answer.policy, codec.CONFLATE)
        return Conflating(answer.id, self.topics)

    def test_the_newest_of_each_topic_arrives(self):
        ledger = self.subscribe()
        self.fill_topics()
        self.assertEqual(self.read(ledger, COUNT), [])
        self.check_newest(ledger)
        self.assertEqual(set(ledger.reasons), {codec.GAP_CONFLATED})
        self.assertEqual(ledger.gap_bytes, ledger.missing * (FRAME + 2))
        self.check_end(ledger, COUNT)

    def test_the_statistics_say_why(self):
        ledger = self.subscribe()
        self.fill_topics()
        row, = [entry for entry in self.system_list("subscriptions")
                if entry["filter"] == "t/+"]
        self.assertEqual(row["overflow"], "conflate")
        self.assertGreater(row["dropped"], 0)
        self.assertEqual(row["dropped_by_reason"]["conflated"],
                         row["dropped"])
        self.read(ledger, COUNT)

    def test_one_topic_in_runs(self):
        ledger = self.subscribe("t")
        self.fill()
        self.read(ledger, COUNT)
        self.assertEqual(set(ledger.newest.values()), {COUNT - 1})
        self.assertEqual(set(ledger.reasons), {codec.GAP_CONFLATED})
        self.check_end(ledger, COUNT)

    def test_nobody_is_told_of_a_refusal(self):
        self.subscribe("t")
        self.assertEqual(totals(self.fill()), (COUNT, COUNT, 0))

    def test_what_changes_seldom_is_not_lost(self):
        """One message of each of a hundred topics, then very many of
        others."""
        ledger = self.subscribe()
        self.fill_topics(3000)  # the kernel's buffers are full now
        seldom = self.subscribe("t/seldom/+")
        for number, payload in enumerate(numbered(100, SIZE)):
            self.publisher.publish("t/seldom/%d" % number, payload)
        self.fill_topics(COUNT - 3000, 3000)
        while ledger.next < COUNT or seldom.next < 100:
            event = self.slow.next_event()
            if not isinstance(event, codec.Notice):
                self.assertTrue(ledger.take(event) or seldom.take(event))
        self.assertEqual((seldom.received, seldom.missing), (100, 0))
        self.check_newest(ledger)

    def test_more_topics_than_the_queue_holds(self):
        self.topics = 2000
        ledger = self.subscribe()
        self.fill_topics()
        self.read(ledger, COUNT)
        self.assertEqual(set(ledger.reasons), {codec.GAP_OVERFLOW})
        self.assertEqual(ledger.numbers[-1], COUNT - 1)
        self.check_end(ledger, COUNT)

    def test_beside_another_policy(self):
        """Messages that are for a drop-newest subscription as well are not
        conflated, and those of other topics are."""
        ledger = self.subscribe()
        kept = Ledger(self.slow.subscribe("keep",
                                          policy=codec.DROP_NEWEST).id)
        self.fill_topics(3000)
        self.assertEqual(totals(self.fill("keep", 200)), (200, 200, 0))
        self.fill_topics(COUNT - 3000, 3000)
        while ledger.next < COUNT or kept.next < 200:
            event = self.slow.next_event()
            if not isinstance(event, codec.Notice):
                self.assertTrue(ledger.take(event) or kept.take(event))
        self.assertEqual((kept.received, kept.missing), (200, 0))
        self.check_newest(ledger)
        self.assertEqual(ledger.reasons[codec.GAP_OVERFLOW], 0)

    def test_drained(self):
        ledger = self.subscribe()
        self.fill_topics()
        self.slow.sock.send(codec.Unsubscribe(id=ledger.subscription,
                                              flags=codec.DRAIN).encode())
        self.let_process()
        self.fill_topics(100)
        answer = None
        while answer is None:
            event = self.slow.next_event()
            if isinstance(event, codec.Unsuback):
                answer = event
            elif not isinstance(event, codec.Notice):
                self.assertTrue(ledger.take(event))
        self.check_newest(ledger)
        self.assertEqual((answer.matched, answer.delivered, answer.dropped),
                         (COUNT, ledger.received, ledger.missing))


class DrainAndGaps(Overflow):
    """UNSUBSCRIBE with DRAIN: what is queued is delivered first, and what
    is missing among it or behind it is reported first, too (5.4, G1)."""

    def check(self, policy):
        ledger = Ledger(self.slow.subscribe("t", policy=policy).id)
        self.fill_in_steps()
        data = codec.Unsubscribe(id=ledger.subscription,
                                 flags=codec.DRAIN).encode()
        self.slow.sock.send(data)
        self.let_process()
        self.assertEqual(self.publisher.publish("t").matched, 0)
        answer = None
        while answer is None:
            event = self.slow.next_event()
            if isinstance(event, codec.Unsuback):
                answer = event
            elif not isinstance(event, codec.Notice):
                self.assertTrue(ledger.take(event))
        self.assertEqual(ledger.next, COUNT)
        self.assertEqual((answer.matched, answer.delivered, answer.dropped),
                         (COUNT, ledger.received, ledger.missing))
        self.assertGreater(ledger.missing, 0)
        self.assert_silent(self.slow)

    def test_drop_oldest(self):
        self.check(codec.DROP_OLDEST)

    def test_drop_newest(self):
        """Here the gap stands behind everything that is queued."""
        self.check(codec.DROP_NEWEST)


class Preserved(Overflow):
    options = {"max_output_bytes": MIB, "max_body_bytes": 65536}

    def test_what_is_preserved_is_not_dropped_for_others(self):
        """Overflow by drop-oldest messages drops drop-oldest messages, also
        where messages of a drop-newest subscription stand between them."""
        kept = Ledger(self.slow.subscribe("keep",
                                          policy=codec.DROP_NEWEST).id)
        other = Ledger(self.slow.subscribe("t").id)
        # The kernel's buffers are full, the queue is not yet.
        self.fill(count=500, size=1000)
        for start in range(0, 100, 10):
            self.assertEqual(totals(self.fill("keep", 10, 1000, start)),
                             (10, 10, 0))
            self.fill(count=10, size=1000, start=500 + start)
        self.fill(count=5000, size=1000, start=600)
        while kept.next < 100 or other.next < 5600:
            event = self.slow.next_event()
            if not isinstance(event, codec.Notice):
                self.assertTrue(kept.take(event) or other.take(event))
        self.assertEqual((kept.received, kept.missing), (100, 0))
        self.assertGreater(other.missing, 0)
        self.check_end(kept, 100)
        self.check_end(other, 5600)


class Disconnect(Overflow):
    def test_goaway_slow_consumer(self):
        answer = self.slow.subscribe("t", policy=codec.DISCONNECT)
        self.assertEqual(answer.policy, codec.DISCONNECT)
        self.fill()
        self.assertEqual(self.publisher.publish("t").matched, 0)
        events = self.slow.read_to_end()
        self.assertIsInstance(events[-1], codec.Goaway)
        self.assertEqual(events[-1].name, "SLOW_CONSUMER")
        # "The text says what was queued and lost" (5.6): in numbers.
        self.assertRegex(events[-1].text, "[0-9]")
        got = [e for e in events if isinstance(e, Message)]
        for number, event in enumerate(got):
            self.assertEqual(event.payload, numbered(1, SIZE, number)[0])
        self.assertLess(len(got), COUNT)

    def test_it_wins_over_the_others(self):
        self.slow.subscribe("+", policy=codec.DROP_OLDEST)
        self.slow.subscribe("#", policy=codec.DROP_NEWEST)
        self.slow.subscribe("t", policy=codec.DISCONNECT)
        self.fill()
        events = self.slow.read_to_end()
        self.assertEqual(getattr(events[-1], "name", ""), "SLOW_CONSUMER")

    def test_only_messages_of_that_subscription_disconnect(self):
        """Overflow by messages for drop-oldest subscriptions alone does
        not end a connection that also has a disconnect subscription."""
        ledger = Ledger(self.slow.subscribe("t").id)
        self.slow.subscribe("u", policy=codec.DISCONNECT)
        self.fill()
        self.read(ledger, COUNT)
        self.assertEqual(self.publisher.publish("u").matched, 1)

    def test_a_reader_is_not_disconnected(self):
        healthy = self.connect()
        ledger = Ledger(healthy.subscribe("t", policy=codec.DISCONNECT).id)
        for start in range(0, 5000, 100):
            self.fill("t", 100, SIZE, start)
            ledger.read(healthy, start + 100)
        self.assertEqual(ledger.missing, 0)


class WithoutLinger(Overflow):
    options = {"max_output_bytes": CAP, "max_body_bytes": 65536,
               "close_linger_ms": 100, "write_timeout_ms": 500}

    def test_a_disconnected_peer_that_never_reads_is_released(self):
        self.slow.subscribe("t", policy=codec.DISCONNECT)
        before = self.connection_count()
        self.fill()
        wait_until(lambda: self.connection_count() == before - 1, 20)


class ControlFrames(Overflow):
    """Answers overtake what is queued."""

    options = {"max_output_bytes": MIB, "max_body_bytes": 65536,
               "close_linger_ms": 20000}
    total = 3000  # of 1,000 bytes: more than queue and kernel hold

    def send_unread(self, *frames):
        """Sends past Connection.send(), which would read meanwhile."""
        data = b"".join(frame.encode() for frame in frames)
        self.assertEqual(self.slow.sock.send(data), len(data))
        self.let_process()

    def events_until(self, *kinds):
        """Reads until one frame of each kind came; returns all events."""
        events, missing = [], set(kinds)
        while missing:
            frame = self.slow.read_frame()
            if isinstance(frame, codec.Context):
                self.slow.context = frame
                continue
            if isinstance(frame, codec.Publish):
                frame = Message(frame, self.slow.context.subscriptions,
                                False)
            events.append(frame)
            missing.discard(frame.__class__)
        return events

    def test_ping_and_unsubscribe_while_the_queue_is_full(self):
        ledger = Ledger(self.slow.subscribe("t").id)
        other = self.slow.subscribe("other").id
        self.fill(count=self.total, size=1000)
        self.send_unread(codec.Ping(id=77, data=b"overtake"),
                         codec.Unsubscribe(id=other),
                         codec.Publish(id=1, topic=b"nobody"),
                         codec.Subscribe(id=50, filter=b"new"))
        events = self.events_until(codec.Pong, codec.Unsuback, codec.Puback,
                                   codec.Suback)
        first = sum(ledger.take(e) for e in events
                    if isinstance(e, (Message, codec.Gap)))
        self.read(ledger, self.total)
        # What came before the answers was in the kernel already.
        self.assertGreater(ledger.received - first, 800)

    def test_errors_overtake(self):
        ledger = Ledger(self.slow.subscribe("t").id)
        self.fill(count=self.total, size=1000)
        self.send_unread(codec.Publish(id=1, topic=b"+"))
        events = self.events_until(codec.Error)
        for event in events:
            ledger.take(event)
        before = ledger.received
        self.read(ledger, self.total)
        self.assertGreater(ledger.received - before, 800)

    def test_unsubscribing_the_full_one(self):
        ledger = Ledger(self.slow.subscribe("t").id)
        self.fill(count=self.total, size=1000)
        self.send_unread(codec.Unsubscribe(id=ledger.subscription))
        answer = None
        for event in self.events_until(codec.Unsuback):
            if isinstance(event, codec.Unsuback):
                answer = event
            else:
                ledger.take(event)
        self.assertEqual(answer.matched, self.total)
        self.assertEqual(answer.delivered, ledger.received)
        self.assertGreaterEqual(answer.dropped, ledger.missing)
        self.assert_silent(self.slow)


class PingsBetween(Overflow):
    options = {"max_output_bytes": MIB, "max_body_bytes": 65536,
               "heartbeat_ms": 300000}

    def test_answers_carry_no_messages_past_the_limit(self):
        """Each of a hundred PINGs of a stalled subscriber is answered in
        front of the queue, and none of them makes the queue longer."""
        peer = self.raw(self.broker.unix)
        peer.hello()
        peer.send(codec.Subscribe(id=1, filter=b"t"))
        self.assertEqual(peer.next_frame().NAME, "SUBACK")
        self.fill(count=3000, size=1000)
        before = self.broker.rss_bytes()
        for number in range(100):
            self.fill(count=500, size=1000)
            peer.send(codec.Ping(id=number))
        self.let_process()
        if MEMORY_IS_MEASURABLE:
            self.assertLess(self.broker.rss_bytes() - before, 4 * MIB)
        order = []
        while len(order) < 100:
            frame = peer.next_frame()
            if isinstance(frame, codec.Pong):
                order.append(frame.id)
        self.assertEqual(order, list(range(100)))
        kept = 0
        while kept < 800:
            kept += isinstance(peer.next_frame(), codec.Publish)


class QueueHigh(Overflow):
    def notices(self, ledger, total):
        found = []
        while ledger.next < total:
            event = self.slow.next_event()
            if isinstance(event, codec.Notice):
                found.append(event)
            else:
                self.assertTrue(ledger.take(event))
        return found

    def test_once_for_each_time_that_it_fills(self):
        ledger = Ledger(self.slow.subscribe("t").id)
        for turn in range(3):
            self.fill_in_steps(turn * COUNT)
            found = self.notices(ledger, (turn + 1) * COUNT)
            self.assertEqual([n.name for n in found], ["QUEUE_HIGH"])
            self.assertEqual(found[0].id, 0)

    def test_not_for_a_queue_that_stays_low(self):
        healthy = self.connect()
        ledger = Ledger(healthy.subscribe("t").id)
        for start in range(0, 5000, 50):
            self.fill("t", 50, SIZE, start)
            self.assertEqual(ledger.read(healthy, start + 50), [])


if __name__ == "__main__":
    unittest.main()
