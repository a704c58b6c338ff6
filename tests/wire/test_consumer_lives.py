# SPDX-License-Identifier: MIT
"""Durable consumers: shared work, and what a broker that died still knows.

PROTOCOL.md section 5.14.
"""
import unittest

import wire_codec as codec
from broker_wire import Message
from stream_rig import StreamTest


class Consumers(StreamTest):
    def setUp(self):
        super().setUp()
        self.writer = self.connect()
        self.add(self.writer)

    def add_consumer(self, **settings):
        return self.writer.system("consumer/add", name="C", stream="S",
                                  **settings)

    def take(self, connection, count):
        messages = [connection.next_event() for _ in range(count)]
        for message in messages:
            self.assertIsInstance(message, Message)
        return messages

    def fill(self, count):
        for number in range(1, count + 1):
            self.writer.publish("s/a", str(number))

    def test_joining_and_acknowledging(self):
        self.add_consumer(window=10)
        self.fill(15)
        worker = self.connect()
        reply = worker.join("C")
        self.assertEqual((reply.ack, reply.window, reply.last_sequence),
                         (codec.ACK_EACH, 10, 15))
        messages = self.take(worker, 10)
        self.assertEqual([int(message.payload) for message in messages],
                         list(range(1, 11)))
        self.assertEqual({message.deliveries for message in messages}, {1})
        worker.acknowledge(reply.id, 1, 10)
        self.assertEqual([message.sequence for message in
                          self.take(worker, 5)], list(range(11, 16)))

    def test_several_share_the_work_and_one_goes(self):
        self.add_consumer(window=100)
        workers = [self.connect() for _ in range(3)]
        for worker in workers:
            worker.join("C")
        self.fill(30)
        got = {worker: self.take(worker, 10) for worker in workers[:2]}
        workers[2].abort()
        sequences = [message.sequence for messages in got.values()
                     for message in messages]
        again = []
        missing = set(range(1, 31)) - set(sequences)
        while {message.sequence for message in again} < missing:
            for worker in workers[:2]:
                worker.ping()
                while worker.inbox:
                    again.append(worker.next_event())
        self.assertEqual({message.sequence for message in again}, missing)
        self.assertEqual({message.deliveries for message in again}, {2})

    def test_what_was_acknowledged_outlives_the_broker(self):
        self.add_consumer(window=50, ack_wait_ms=0)
        self.fill(40)
        worker = self.connect()
        reply = worker.join("C")
        self.take(worker, 40)
        worker.acknowledge(reply.id, 1, 25)
        while self.writer.system("consumer/info", name="C")["floor"] < 25:
            pass
        self.writer.publish("s/a", "41")  # with which the cursor is durable
        self.writer.publish("s/a", "42")
        self.writer = self.restart(kill=True)
        worker = self.connect()
        reply = worker.join("C")
        sequences = [message.sequence for message in self.take(worker, 17)]
        self.assertEqual(sequences, list(range(26, 43)))
        self.assertEqual(reply.last_sequence, 42)

    def test_dead_letters(self):
        self.add(self.writer, name="D", topics=["dead/#"])
        self.add_consumer(max_deliveries=2, dead_letter="dead/c")
        self.writer.publish("s/a", "poison")
        worker = self.connect()
        reply = worker.join("C")
        for deliveries in (1, 2):
            message, = self.take(worker, 1)
            self.assertEqual(message.deliveries, deliveries)
            worker.give_back(reply.id, 1, delay_ms=0)
        reading, _ = self.consume(self.writer, "D")
        dead, = reading.take_messages(1).messages
        self.assertEqual((dead.topic, dead.payload), ("dead/c", b"poison"))
        self.assertEqual(dict(dead.headers)["dead-letter-deliveries"], b"2")

    def test_explained(self):
        self.add_consumer()
        answer = self.writer.system("consumer/explain", name="C")
        self.assertEqual([row["reason"] for row in answer["reasons"]],
                         ["nobody", "caught_up"])


if __name__ == "__main__":
    unittest.main()
