# SPDX-License-Identifier: MIT
"""Queue groups: each message to exactly one member.

PROTOCOL.md sections 2 (half-close), 4.8, 5.1 and 5.2.
"""
import unittest

import wire_codec as codec
from broker_wire import Message
from harness import (
    BrokerTest, numbered, payload_number, publish_bulk, wait_until)


def drain(connection, count=None, timeout=None):
    """The numbers of the messages that are on their way; with `count`, of
    that many."""
    if count is None:
        connection.ping()
        # PONG overtakes messages: take what is in the socket until silence.
        events = []
        try:
            while True:
                events.append(connection.next_event(timeout or 0.2))
        except TimeoutError:
            pass
    else:
        events = [connection.next_event() for _ in range(count)]
    for event in events:
        assert isinstance(event, Message), event
    return [payload_number(event.payload) for event in events]


class Groups(BrokerTest):
    def member(self, filter_text="work", group="g", address=None):
        connection = self.connect(address)
        connection.subscribe(filter_text, group)
        return connection

    def collect(self, members, total, timeout=None):
        """What each member got; ends when `total` arrived altogether."""
        got = [[] for _ in members]

        def step():
            for member, numbers in zip(members, got):
                try:
                    while True:
                        event = member.next_event(0.001)
                        assert isinstance(event, Message), event
                        numbers.append(payload_number(event.payload))
                except TimeoutError:
                    pass
            return sum(map(len, got)) >= total
        wait_until(step, timeout, "%d messages" % total)
        for member in members:
            self.assert_silent(member)
        return got

    def test_each_message_to_exactly_one_member(self):
        members = [self.member() for _ in range(4)]
        answers = publish_bulk(self.connect(), "work", numbered(2000))
        self.assertEqual({(a.matched, a.refused) for a in answers}, {(1, 0)})
        got = self.collect(members, 2000)
        self.assertEqual(sorted(sum(got, [])), list(range(2000)))
        for numbers in got:
            self.assertEqual(numbers, sorted(numbers))

    def test_the_work_is_spread(self):
        """No member of equal speed is left without work."""
        members = [self.member() for _ in range(4)]
        publisher = self.connect()
        for payload in numbered(400):
            publisher.publish("work", payload)
        for numbers in self.collect(members, 400):
            self.assertGreater(len(numbers), 0)

    def test_a_group_counts_once(self):
        members = [self.member() for _ in range(2)]
        others = [self.member(group="other") for _ in range(2)]
        plain = self.connect()
        plain.subscribe("work")
        answers = publish_bulk(self.connect(), "work", numbered(100))
        self.assertEqual({(a.matched, a.refused) for a in answers}, {(3, 0)})
        for peers in [members, others, [plain]]:
            got = self.collect(peers, 100)
            self.assertEqual(sorted(sum(got, [])), list(range(100)))

    def test_the_filter_is_part_of_the_group(self):
        """Same name, other filter: another group (5.1)."""
        exact, wild = self.member("work"), self.member("+")
        self.assertEqual(self.connect().publish(
            "work", numbered(1)[0]).matched, 2)
        for member in [exact, wild]:
            self.assertEqual(drain(member, 1), [0])

    def test_wildcard_groups(self):
        members = [self.member("jobs/#") for _ in range(3)]
        publisher = self.connect()
        for n, payload in enumerate(numbered(60)):
            publisher.publish("jobs/%d" % (n % 7), payload)
        got = self.collect(members, 60)
        self.assertEqual(sorted(sum(got, [])), list(range(60)))

    def test_two_memberships_of_one_connection(self):
        """The connection gets the message once, for one of the two."""
        both = self.connect()
        ids = {both.subscribe("work", "g").id, both.subscribe("work",
                                                              "g").id}
        publisher = self.connect()
        for payload in numbered(50):
            self.assertEqual(publisher.publish("work", payload).matched, 1)
        for n in range(50):
            event = both.next_event()
            self.assertEqual(payload_number(event.payload), n)
            self.assertEqual(len(event.subscriptions), 1)
            self.assertIn(event.subscriptions[0], ids)
        self.assert_silent(both)

    def test_plain_and_member_in_one_connection(self):
        """One delivery; the context says whether it is for the group."""
        both = self.connect()
        plain = both.subscribe("work").id
        membership = both.subscribe("work", "g").id
        other = self.member()
        publish_bulk(self.connect(), "work", numbered(200))
        for_group = []
        for n in range(200):
            event = both.next_event()
            self.assertEqual(payload_number(event.payload), n)
            self.assertIn(plain, event.subscriptions)
            if membership in event.subscriptions:
                for_group.append(n)
        elsewhere = drain(other, 200 - len(for_group))
        self.assertEqual(sorted(for_group + elsewhere), list(range(200)))

    def test_self_delivery(self):
        connection = self.member()
        self.assertEqual(connection.publish(
            "work", numbered(1)[0]).matched, 1)
        self.assertEqual(drain(connection, 1), [0])


class Leaving(BrokerTest):
    """When a member goes, the others get everything from then on."""

    options = {"half_close_linger_ms": 1000}

    def setUp(self):
        super().setUp()
        self.stays, self.goes = self.connect(), self.connect()
        self.membership = self.goes.subscribe("work", "g").id
        self.stays.subscribe("work", "g")
        self.publisher = self.connect()

    def all_go_to_the_one_that_stays(self):
        answers = publish_bulk(self.publisher, "work", numbered(200))
        self.assertEqual({(a.matched, a.refused) for a in answers}, {(1, 0)})
        self.assertEqual(drain(self.stays, 200), list(range(200)))
        self.assert_silent(self.stays)

    def test_unsubscribe(self):
        self.goes.unsubscribe(self.membership)
        self.all_go_to_the_one_that_stays()
        self.assert_silent(self.goes)

    def test_unsubscribe_with_drain(self):
        self.goes.unsubscribe(self.membership, drain=True)
        self.all_go_to_the_one_that_stays()
        self.assert_silent(self.goes)

    def test_goaway(self):
        self.goes.close()
        self.all_go_to_the_one_that_stays()

    def test_abort(self):
        before = self.connection_count()
        self.goes.abort()
        wait_until(lambda: self.connection_count() == before - 1)
        self.all_go_to_the_one_that_stays()

    def test_half_close(self):
        """Membership ends with the half-close at once (2), even while the
        connection lingers for a reply."""
        self.goes.subscribe("inbox")
        replier = self.connect()
        replier.subscribe("ask")
        self.goes.publish("ask", reply_to="inbox", ack=True)
        self.goes.shutdown_write()
        self.let_process()
        self.all_go_to_the_one_that_stays()
        replier.publish("inbox", "the answer")
        events = self.goes.read_to_end()
        self.assertEqual([e.topic for e in events], ["inbox"])

    def test_the_last_member(self):
        for connection, subscription in [(self.goes, self.membership),
                                         (self.stays, 1)]:
            connection.unsubscribe(subscription)
        self.assertEqual(self.publisher.publish("work").matched, 0)
        # A new group of the same name begins afresh.
        self.goes.subscribe("work", "g")
        self.assertEqual(self.publisher.publish(
            "work", numbered(1)[0]).matched, 1)
        self.assertEqual(drain(self.goes, 1), [0])


class Load(BrokerTest):
    options = {"max_output_bytes": 131072, "max_body_bytes": 65536}

    def test_a_member_that_does_not_read_gets_less(self):
        """Work goes by load: a member whose queue is full does not get
        half of the messages just to lose them."""
        stalled = self.connect(self.broker.unix)
        reading = self.connect()
        stalled.subscribe("work", "g")
        reading.subscribe("work", "g")
        publisher = self.connect()
        total, got = 6000, []
        for start in range(0, total, 100):
            answers = publish_bulk(publisher, "work",
                                   numbered(100, 500, start))
            self.assertEqual({a.matched for a in answers}, {1})
            got += drain(reading, timeout=0.001)
        missing, seen = 0, []
        while len(seen) + len(got) + missing < total:
            for connection, numbers in [(reading, got), (stalled, seen)]:
                try:
                    while True:
                        event = connection.next_event(0.01)
                        if isinstance(event, codec.Gap):
                            missing += event.count
                        else:
                            numbers.append(payload_number(event.payload))
                except TimeoutError:
                    pass
        self.assertEqual(len(set(seen) | set(got)), len(seen) + len(got))
        self.assertGreater(len(got), total * 2 // 3)
        self.assertLess(missing, total // 10)


if __name__ == "__main__":
    unittest.main()
