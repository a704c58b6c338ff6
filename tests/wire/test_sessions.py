# SPDX-License-Identifier: MIT
"""Sessions: publish numbers that outlive a connection, take-over.

PROTOCOL.md sections 4.1, 4.2 and 5.3.
"""
import os
import unittest

import wire_codec as codec
from harness import (
    BrokerTest, numbered, payload_number, publish_bulk, wait_until)


class Sessions(BrokerTest):
    def setUp(self):
        super().setUp()
        self.session = os.urandom(16)
        self.subscriber = self.connect()
        self.subscriber.subscribe("t")

    def publisher(self):
        return self.connect(session=self.session)

    def send(self, connection, number, retry=True, topic=b"t", payload=b""):
        """Publishes with a number and returns the answer."""
        connection.send(codec.Publish(
            id=number, topic=topic, payload=payload,
            flags=codec.RETRY if retry else 0))
        return connection.next_event()

    def assert_duplicate(self, answer, number):
        self.assertEqual((answer.NAME, answer.id, answer.count, answer.flags,
                          answer.matched, answer.refused),
                         ("PUBACK", number, 1, codec.DUPLICATE, 0, 0))

    def assert_routed(self, answer, number):
        self.assertEqual((answer.NAME, answer.id, answer.flags,
                          answer.matched), ("PUBACK", number, 0, 1))

    def test_the_session_in_force(self):
        self.assertEqual(self.publisher().welcome.session, self.session)
        made = [self.connect().welcome.session for _ in range(20)]
        self.assertEqual(len(set(made)), 20)
        self.assertNotIn(bytes(16), made)

    def test_a_made_session_can_be_used_again(self):
        first = self.connect()
        first.publish("t")
        session = first.welcome.session
        first.close()
        again = self.connect(session=session)
        self.assertEqual((again.welcome.session, again.welcome.last_publish),
                         (session, 1))

    def test_last_publish(self):
        for start in [0, 5, 10]:
            publisher = self.publisher()
            self.assertEqual(publisher.welcome.last_publish, start)
            publish_bulk(publisher, "t", numbered(5, 8, start))
            publisher.close()
        self.assertEqual([payload_number(self.subscriber.next_event()
                                         .payload) for _ in range(15)],
                         list(range(15)))

    def test_retried_publishes_are_routed_once(self):
        first = self.publisher()
        publish_bulk(first, "t", numbered(3))
        first.abort()
        second = self.publisher()
        self.assertEqual(second.welcome.last_publish, 3)
        for number in [1, 2, 3]:
            self.assert_duplicate(self.send(second, number), number)
        for number in [4, 5]:
            self.assert_routed(self.send(second, number), number)
        # Also within one connection: settled is settled.
        self.assert_duplicate(self.send(second, 5), 5)
        for _ in range(5):
            self.subscriber.next_event()
        self.assert_silent(self.subscriber)

    def test_a_run_of_duplicates(self):
        first = self.publisher()
        publish_bulk(first, "t", numbered(100))
        first.close()
        second = self.publisher()
        second.send_bytes(b"".join(
            codec.Publish(id=n, topic=b"t", flags=codec.RETRY).encode()
            for n in range(51, 151)))
        settled = {}
        while len(settled) < 100:
            answer = second.next_event()
            for number in range(answer.id - answer.count + 1, answer.id + 1):
                settled[number] = answer.flags
        self.assertEqual(settled, {n: codec.DUPLICATE if n <= 100 else 0
                                   for n in range(51, 151)})
        for _ in range(150):
            self.subscriber.next_event()
        self.assert_silent(self.subscriber)

    def test_without_retry_a_number_is_just_a_number(self):
        publisher = self.publisher()
        for number in [5, 5, 4]:
            self.assert_routed(self.send(publisher, number, retry=False),
                               number)

    def test_the_highest_counts(self):
        publisher = self.publisher()
        for number in [5, 3, 4]:
            self.send(publisher, number, retry=False)
        publisher.close()
        self.assertEqual(self.publisher().welcome.last_publish, 5)

    def test_retry_in_an_unknown_session_is_routed(self):
        publisher = self.publisher()
        self.assertEqual(publisher.welcome.last_publish, 0)
        for number in [41, 42]:
            self.assert_routed(self.send(publisher, number), number)
        self.assert_duplicate(self.send(publisher, 41), 41)

    def test_numbers_wrap(self):
        """Serial arithmetic: 1 is above 0xFFFFFFFF."""
        publisher = self.publisher()
        for number in [0xFFFFFFFE, 0xFFFFFFFF, 1, 2]:
            self.assert_routed(self.send(publisher, number), number)
        publisher.close()
        again = self.publisher()
        self.assertEqual(again.welcome.last_publish, 2)
        self.assert_duplicate(self.send(again, 0xFFFFFFFF), 0xFFFFFFFF)
        self.assert_duplicate(self.send(again, 2), 2)
        self.assert_routed(self.send(again, 3), 3)

    def test_without_numbers_nothing_is_remembered(self):
        publisher = self.publisher()
        publisher.publish("t", ack=False)
        publisher.close()
        self.assertEqual(self.publisher().welcome.last_publish, 0)

    def test_retry_without_a_number_is_ignored(self):
        publisher = self.publisher()
        publisher.publish("t")
        for _ in range(3):
            publisher.publish("t", ack=False, flags=codec.RETRY)
        self.assert_silent(publisher)
        self.assertEqual([self.subscriber.next_event().frame.flags
                          for _ in range(4)], [0] + [codec.RETRY] * 3)

    def test_numbers_of_other_sessions_do_not_matter(self):
        publish_bulk(self.publisher(), "t", numbered(10))
        other = self.connect(session=os.urandom(16))
        self.assertEqual(other.welcome.last_publish, 0)
        self.assert_routed(self.send(other, 1), 1)

    def test_the_retry_flag_travels(self):
        """The subscriber gets the frame as it was sent."""
        self.send(self.publisher(), 9)
        frame = self.subscriber.next_event().frame
        self.assertEqual((frame.id, frame.flags), (9, codec.RETRY))

    def test_take_over(self):
        first = self.publisher()
        subscription = first.subscribe("mine").id
        first.publish("t")
        second = self.publisher()
        self.assertEqual(second.welcome.last_publish, 1)
        events = first.read_to_end()
        self.assertEqual([getattr(e, "name", "") for e in events],
                         ["SESSION_TAKEN"])
        self.assertEqual(events[0].id, 1)  # the last publish processed
        # Subscriptions belong to a connection, not to the session.
        self.assertEqual(second.publish("mine").matched, 0)
        self.assert_refused("UNKNOWN_SUBSCRIPTION", second.unsubscribe,
                            subscription)

    def test_take_over_of_a_chain(self):
        peers = [self.publisher() for _ in range(10)]
        for peer in peers[:-1]:
            self.assertEqual(peer.read_to_end()[-1].name, "SESSION_TAKEN")
        peers[-1].ping()
        wait_until(lambda: self.connection_count() == 2)  # + subscriber

    def test_the_boot_id(self):
        boots = {self.connect().welcome.boot for _ in range(3)}
        self.assertEqual(len(boots), 1)
        other = self.start_broker()
        self.assertNotIn(self.connect(other.tcp).welcome.boot, boots)

    def test_half_closed_then_again(self):
        """Publishes that were read before the end are settled."""
        peer = self.raw()
        peer.send(codec.Hello(session=self.session), b"".join(
            codec.Publish(id=n, topic=b"t").encode()
            for n in range(1, 1001)))
        peer.half_close()
        peer.rest()
        self.assertEqual(self.publisher().welcome.last_publish, 1000)


class Refused(BrokerTest):
    """An ERROR with its number settles a publish, as a PUBACK does (5.2):
    after a reconnect it need not be sent again."""

    def check(self, code, frame):
        session = os.urandom(16)
        publisher = self.connect(session=session, max_body_bytes=65536)
        publisher.send(frame)
        error = publisher.next_event()
        self.assertEqual((error.name, error.id), (code, frame.id))
        publisher.close()
        self.assertEqual(self.connect(session=session).welcome.last_publish,
                         frame.id)

    def test_bad_topic(self):
        self.check("BAD_TOPIC", codec.Publish(id=9, topic=b"+"))

    def test_reserved_topic(self):
        self.check("RESERVED_TOPIC", codec.Publish(id=9, topic=b"$x"))

    def test_no_subscribers(self):
        self.check("NO_SUBSCRIBERS", codec.Publish(
            id=9, topic=b"nobody", fields=[(codec.REPLY_TO, b"r")]))

    def test_unknown_tag(self):
        self.check("UNKNOWN_TAG", codec.Publish(
            id=9, topic=b"t", fields=[(0xF001, b"x")]))

    def test_too_large(self):
        self.check("TOO_LARGE", codec.Publish(
            id=9, topic=b"t", payload=bytes(70000)))


class BoundedMemory(BrokerTest):
    options = {"max_sessions": 10}

    def test_the_oldest_sessions_are_forgotten(self):
        """In bounded number (5.3): at least the newest are remembered, and
        the oldest are not."""
        sessions = [os.urandom(16) for _ in range(40)]
        for session in sessions:
            publisher = self.connect(session=session)
            publisher.publish("t")
            publisher.close()
        last = [self.connect(session=session).welcome.last_publish
                for session in reversed(sessions)]
        self.assertEqual(last[:5], [1] * 5)
        self.assertEqual(last[-5:], [0] * 5)
        self.assertLessEqual(sum(last), 11)

    def test_connected_sessions_are_not_forgotten(self):
        session = os.urandom(16)
        stays = self.connect(session=session)
        stays.publish("t")
        for _ in range(40):
            other = self.connect()
            other.publish("t")
            other.close()
        stays.send(codec.Publish(id=1, topic=b"t", flags=codec.RETRY))
        self.assertEqual(stays.next_event().flags, codec.DUPLICATE)


if __name__ == "__main__":
    unittest.main()
