# SPDX-License-Identifier: MIT
"""Random lives of a few clients, compared with a model of the document.

The model is as simple as the rules: lists, searched from front to back.
After every step the broker must have answered, counted and delivered just
what the model says.  The seed is printed, and is taken from
BROKER_TEST_SEED if that is set.  PROTOCOL.md sections 4.8 to 4.12, 5.1,
5.2, 5.4, 5.5, 5.7 and 6.
"""
import collections
import os
import random
import unittest

import wire_codec as codec
from broker_wire import Message, Refused
from harness import BrokerTest

SEED = int(os.environ.get("BROKER_TEST_SEED") or random.randrange(1 << 32))
STEPS = int(os.environ.get("BROKER_TEST_STEPS", "4000"))
LEVELS = ["a", "b", "", "$x", "\u00e9"]


class Client:
    """A connection and what the model knows of it."""

    def __init__(self, connection):
        self.connection = connection
        self.subscriptions = {}  # id: (filter, group)
        self.expected = []  # (frame bytes, set of plain ids, retained)
        self.matched = collections.Counter()


class Model(BrokerTest):
    options = {"half_close_linger_ms": 1}

    def setUp(self):
        super().setUp()
        self.clients = [self.new_client() for _ in range(4)]
        self.retained = {}  # topic: frame bytes, in the order of retaining
        self.count = 0

    def new_client(self):
        return Client(self.connect(self.chance.choice(
            self.broker.addresses) if hasattr(self, "chance") else None))

    def random_topic(self):
        levels = [self.chance.choice(LEVELS)
                  for _ in range(self.chance.randrange(1, 4))]
        return "/".join(levels).lstrip("$") or "a"

    def random_filter(self):
        levels = [self.chance.choice(LEVELS + ["+", "+"])
                  for _ in range(self.chance.randrange(1, 4))]
        if self.chance.random() < 0.25:
            levels[-1] = "#"
        return "/".join(levels) or "+"

    # Steps.

    def subscribe(self, client):
        text = self.random_filter()
        group = self.chance.choice(["", "", "", "g", "h"])
        no_retained = self.chance.random() < 0.2
        answer = client.connection.subscribe(text, group,
                                             no_retained=no_retained)
        client.subscriptions[answer.id] = (text, group)
        values = [] if group or no_retained else [
            frame for topic, frame in self.retained.items()
            if codec.filter_matches(text.encode(), topic.encode())]
        self.assertEqual(answer.retained, len(values))
        client.expected += [(frame, {answer.id}, True) for frame in values]

    def unsubscribe(self, client):
        if not client.subscriptions:
            return
        number = self.chance.choice(list(client.subscriptions))
        self.settle()
        books = client.connection.unsubscribe(
            number, drain=self.chance.random() < 0.5)
        del client.subscriptions[number]
        self.assertEqual(books.dropped, 0)
        self.assertGreaterEqual(books.matched, client.matched[number])

    def unsubscribe_unknown(self, client):
        with self.assertRaises(Refused) as caught:
            client.connection.unsubscribe(999999)
        self.assertEqual(caught.exception.name, "UNKNOWN_SUBSCRIPTION")

    def publish(self, client):
        topic, self.count = self.random_topic(), self.count + 1
        retain = self.chance.random() < 0.2
        empty = self.chance.random() < 0.3
        payload = b"" if empty else b"%d" % self.count
        headers = [("n", b"%d" % self.count)]
        reply_to = "r" if self.chance.random() < 0.1 else None
        matched, groups = 0, set()
        plain = []
        for other in self.clients:
            ids = set()
            for number, (text, group) in other.subscriptions.items():
                if codec.filter_matches(text.encode(), topic.encode()):
                    if group:
                        groups.add((text, group))
                    else:
                        ids.add(number)
                        other.matched[number] += 1
            matched += len(ids)
            plain.append(ids)
        matched += len(groups)
        try:
            answer = client.connection.publish(
                topic, payload, retain=retain, headers=headers,
                reply_to=reply_to)
        except Refused as refused:
            self.assertEqual(refused.name, "NO_SUBSCRIBERS")
            self.assertTrue(reply_to)
            self.assertEqual(matched, 0)
            return
        self.assertEqual((answer.matched, answer.refused), (matched, 0))
        self.assertFalse(reply_to and not matched)
        frame = codec.Publish(
            id=client.connection.last_number, topic=topic.encode(),
            payload=payload, flags=codec.RETAIN if retain else 0)
        if reply_to:
            frame.fields.append((codec.REPLY_TO | codec.CRITICAL, b"r"))
        frame.fields.append((codec.KEY_VALUE, b"\0\1n" + headers[0][1]))
        data = frame.encode()
        for other, ids in zip(self.clients, plain):
            if ids:
                other.expected.append((data, ids, False))
        if retain:
            self.retained.pop(topic, None)
            if payload:
                self.retained[topic] = data
        self.settle(data, groups)

    def replace(self, client):
        """It leaves, in one of the ways, and another one comes."""
        self.settle()
        how = self.chance.randrange(3)
        if how == 0:
            client.connection.close()
        elif how == 1:
            client.connection.shutdown_write()
            self.assertEqual(client.connection.read_to_end(), [])
        else:
            # Unsubscribed first, because the broker sees the end later.
            for number in client.subscriptions:
                client.connection.unsubscribe(number)
            client.connection.abort()
        client.connection.sock.close()
        self.clients[self.clients.index(client)] = self.new_client()

    def settle(self, data=None, groups=()):
        """Reads what came to every client and compares.  A message `data`
        may have come for one member of each of the `groups` besides."""
        left = set(groups)
        for client in self.clients:
            client.connection.ping()
            client.connection.ping()
            events = list(client.connection.inbox)
            client.connection.inbox.clear()
            for event in events:
                self.assertIsInstance(event, Message)
                frame, ids = event.frame.encode(), set(event.subscriptions)
                members = {n for n in ids
                           if client.subscriptions[n][1]}
                chosen = [client.subscriptions[n] for n in members]
                if members:
                    self.assertEqual(frame, data)
                    self.assertEqual(len(set(chosen)), len(chosen))
                    self.assertLessEqual(set(chosen), left)
                    left -= set(chosen)
                if ids == members:
                    continue
                self.assertTrue(client.expected, "not expected")
                self.assertEqual(client.expected.pop(0),
                                 (frame, ids - members, event.retained))
            self.assertEqual(client.expected, [])
        self.assertEqual(left, set())

    def test_random_lives(self):
        print("seed of the model: BROKER_TEST_SEED=%d" % SEED)
        self.chance = random.Random(SEED)
        steps = [(self.publish, 60), (self.subscribe, 20),
                 (self.unsubscribe, 14), (self.unsubscribe_unknown, 2),
                 (self.replace, 4)]
        for _ in range(STEPS):
            (step,) = self.chance.choices([s for s, _ in steps],
                                          [w for _, w in steps])
            step(self.chance.choice(self.clients))
        self.settle()


if __name__ == "__main__":
    unittest.main()
