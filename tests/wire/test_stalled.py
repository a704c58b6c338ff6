# SPDX-License-Identifier: MIT
"""A million messages while one subscriber is stopped.

The broker's memory stays under its cap, the publisher is not held up, and
afterwards received + missing == published, in order, for the stopped one,
while a subscriber that reads gets every single message.
PROTOCOL.md sections 1, 4.13 and 5.6.
"""
import os
import signal
import struct
import subprocess
import sys
import unittest

import wire_codec as codec
from harness import (
    MEMORY_IS_MEASURABLE, MIB, BrokerTest, Ledger, RawPeer, numbered,
    payload_number, publish_bulk, wait_until)

TOTAL = int(os.environ.get("BROKER_TEST_MESSAGES", "1000000"))
SIZE = 100
CAP = 8 * MIB
PUBLISH_TYPE = struct.pack(">H", codec.Publish.TYPE)


def frames_in_bulk(start, stop, topic=b"t"):
    """Publishes without numbers, numbered in their payload."""
    head = codec.Publish(topic=topic, payload=bytes(SIZE)).encode()[:-SIZE]
    tail = bytes(SIZE - 8)
    pack = struct.Struct(">Q").pack
    return b"".join([head + pack(n) + tail for n in range(start, stop)])


class Stalled(BrokerTest):
    options = {"max_output_bytes": CAP, "max_body_bytes": MIB,
               "heartbeat_ms": 300000}

    def publish_all(self):
        """All of them, while whoever is stalled reads nothing.  Returns
        after the broker has processed every one, with its peak memory."""
        publisher = self.connect()
        peak = 0
        for start in range(0, TOTAL, 10000):
            publisher.send_bytes(frames_in_bulk(
                start, min(start + 10000, TOTAL)))
            peak = max(peak, self.broker.rss_bytes())
        publisher.ping()
        return max(peak, self.broker.rss_bytes())

    def check_memory(self, before, peak, queues):
        """The queue's cap once for each queue, and room for receive blocks
        and for the allocator."""
        if MEMORY_IS_MEASURABLE:
            self.assertLess(peak - before, queues * CAP + 16 * MIB)

    def read_all(self, connection, ledger):
        others = ledger.read(connection, TOTAL)
        self.assertLessEqual({e.NAME for e in others}, {"NOTICE"})
        self.assertEqual(ledger.received + ledger.missing, TOTAL)
        self.assertEqual(ledger.gap_bytes,
                         ledger.missing * (12 + 4 + 1 + SIZE))
        books = connection.unsubscribe(ledger.subscription)
        self.assertEqual((books.matched, books.delivered, books.dropped),
                         (TOTAL, ledger.received, ledger.missing))

    def test_one_that_does_not_read(self):
        for address in self.broker.addresses:
            with self.subTest(address=address):
                stalled = self.connect(address)
                ledger = Ledger(stalled.subscribe("t").id)
                before = self.broker.rss_bytes()
                self.check_memory(before, self.publish_all(), 1)
                self.read_all(stalled, ledger)
                self.assertGreater(ledger.missing, 0)
                self.assertEqual(ledger.numbers[-1], TOTAL - 1)

    def test_a_stopped_process(self):
        """The subscriber is a process that gets SIGSTOP and SIGCONT."""
        script = (
            "import sys, broker_wire as b\n"
            "c = b.Connection(sys.argv[1], timeout=120)\n"
            "c.subscribe('t')\n"
            "print('subscribed', flush=True)\n"
            "got = missing = due = 0\n"
            "while due < %d:\n"
            "    e = c.next_event()\n"
            "    if isinstance(e, b.Message):\n"
            "        n = int.from_bytes(e.payload[:8], 'big')\n"
            "        assert n == due, (n, due)\n"
            "        got += 1; due += 1\n"
            "    elif e.NAME == 'GAP':\n"
            "        missing += e.count; due += e.count\n"
            "print(got, missing, flush=True)\n"
            "c.close()\n" % TOTAL)
        process = subprocess.Popen(
            [sys.executable, "-c", script, self.broker.tcp],
            stdout=subprocess.PIPE, text=True,
            cwd=os.path.dirname(os.path.abspath(__file__)))
        try:
            self.assertEqual(process.stdout.readline(), "subscribed\n")
            process.send_signal(signal.SIGSTOP)
            before = self.broker.rss_bytes()
            self.check_memory(before, self.publish_all(), 1)
            process.send_signal(signal.SIGCONT)
            got, missing = map(int, process.stdout.readline().split())
            self.assertEqual(got + missing, TOTAL)
            self.assertGreater(missing, 0)
            self.assertEqual(process.wait(60), 0)
        finally:
            process.kill()
            process.wait()
            process.stdout.close()

    def test_beside_one_that_reads(self):
        """The reader gets all; it is slow enough (it is Python) to be
        overtaken at times, so its publisher waits for it in steps."""
        stalled, reader = self.connect(), self.raw(self.broker.unix)
        ledger = Ledger(stalled.subscribe("t").id)
        reader.hello()
        reader.send(codec.Subscribe(id=1, filter=b"t"))
        self.assertEqual(reader.next_frame().NAME, "SUBACK")
        before, peak = self.broker.rss_bytes(), 0
        publisher, count = self.connect(), BulkReader(reader)
        for start in range(0, TOTAL, 10000):
            stop = min(start + 10000, TOTAL)
            publisher.send_bytes(frames_in_bulk(start, stop))
            count.read(stop)
            peak = max(peak, self.broker.rss_bytes())
        self.check_memory(before, peak, 1)
        self.read_all(stalled, ledger)
        self.assertGreater(ledger.missing, 0)

    def test_many_of_them(self):
        """Ten stalled subscribers share what can be shared; none costs
        more than its cap."""
        stalled = [self.connect(self.broker.addresses[n % 2])
                   for n in range(10)]
        ledgers = [Ledger(c.subscribe("t").id) for c in stalled]
        before = self.broker.rss_bytes()
        self.check_memory(before, self.publish_all(), len(stalled))
        for connection, ledger in zip(stalled, ledgers):
            self.read_all(connection, ledger)

    def test_small_messages_between_large_ones(self):
        """A slow reader of few small messages must not hold on to the
        large blocks that they came in with."""
        stalled = [self.connect(self.broker.unix) for _ in range(20)]
        for connection in stalled:
            connection.subscribe("small")
        publisher = self.connect()
        before, peak = self.broker.rss_bytes(), 0
        small = [codec.Publish(topic=b"small", payload=p).encode()
                 for p in numbered(4000)]
        for frame in small:
            publisher.send_bytes(frame + codec.Publish(
                topic=b"large", payload=bytes(60000)).encode())
            peak = max(peak, self.broker.rss_bytes())
        publisher.ping()
        self.check_memory(before, peak, 4)
        for connection in stalled:
            for number in range(4000):
                event = connection.next_event()
                self.assertEqual(payload_number(event.payload), number)

    def test_the_publisher_is_not_held_up(self):
        """The stopped subscriber costs the publisher no acknowledgement."""
        stalled = self.connect(self.broker.unix)
        stalled.subscribe("t")
        publisher = self.connect()
        for start in range(0, 100000, 20000):
            answers = publish_bulk(publisher, "t",
                                   numbered(20000, SIZE, start))
            self.assertEqual(sum(a.count for a in answers), 20000)
        wait_until(lambda: publisher.publish("other").matched == 0)


class MemoryCap(BrokerTest):
    """The cap on everything together, when each one keeps to its own."""

    options = {"max_output_bytes": 16 * MIB, "max_memory_bytes": 64 * MIB,
               "max_body_bytes": MIB, "heartbeat_ms": 300000}

    def test_thirty_queues_of_their_own(self):
        """Each topic has a stalled subscriber of its own, so nothing is
        shared: 30 times 16 MiB are wanted, 64 MiB are there."""
        stalled = []
        for n in range(30):
            connection = self.connect(self.broker.unix)
            ledger = Ledger(connection.subscribe("t/%d" % n).id)
            stalled.append((connection, ledger))
        publisher, healthy = self.connect(), self.connect()
        alive = Ledger(healthy.subscribe("alive").id)
        before = self.broker.rss_bytes()
        each, peak, refused = 10000, 0, [0] * 30
        for start in range(0, each, 500):
            for n in range(30):
                payloads = numbered(500, 2000, start)
                for error, answer in self.publish(publisher, "t/%d" % n,
                                                  payloads):
                    refused[n] += error
                    del answer
            peak = max(peak, self.broker.rss_bytes())
        if MEMORY_IS_MEASURABLE:
            self.assertLess(peak - before, 64 * MIB + 32 * MIB)
        lost = 0
        for n, (connection, ledger) in enumerate(stalled):
            total = each - refused[n]
            received = missing = 0
            last = -1
            while received + missing < total:
                event = connection.next_event()
                if isinstance(event, codec.Gap):
                    missing += event.count
                elif not isinstance(event, codec.Notice):
                    number = payload_number(event.payload)
                    self.assertGreater(number, last)
                    last = number
                    received += 1
            self.assertEqual(received + missing, total)
            lost += missing + refused[n]
            self.assertEqual(connection.unsubscribe(
                ledger.subscription).matched, total)
        self.assertGreater(lost, 0)
        # Afterwards there is room again.
        publish_bulk(publisher, "alive", numbered(100, 2000))
        alive.read(healthy, 100)
        self.assertEqual(alive.missing, 0)

    def publish(self, connection, topic, payloads):
        """(1 if refused by an ERROR MEMORY else 0, answer) of each."""
        first = connection.last_number + 1
        connection.last_number += len(payloads)
        connection.send_bytes(b"".join(
            codec.Publish(id=first + i, topic=topic.encode(),
                          payload=payload).encode()
            for i, payload in enumerate(payloads)))
        settled = 0
        while settled < len(payloads):
            answer = connection.next_event()
            if isinstance(answer, codec.Error):
                self.assertEqual(answer.name, "MEMORY")
                settled += 1
                yield 1, answer
            elif isinstance(answer, codec.Notice):
                self.assertEqual(answer.name, "MEMORY_HIGH")
            else:
                settled += answer.count
                yield 0, answer


class BulkReader:
    """Counts equal-sized numbered messages quickly, and their order."""

    def __init__(self, peer: RawPeer):
        self.peer = peer
        self.size = 12 + 4 + 1 + SIZE
        self.count = 0

    def read(self, total):
        """Reads until `total` messages came; each must be the next one."""
        buffer = self.peer.buffer
        while self.count < total:
            at, end = 0, len(buffer)
            while end - at >= 12:
                length = int.from_bytes(buffer[at:at + 4], "big")
                if end - at < 12 + length:
                    break
                if buffer[at + 4:at + 6] == PUBLISH_TYPE:
                    number = struct.unpack_from(">Q", buffer, at + 17)[0]
                    assert number == self.count, (number, self.count)
                    self.count += 1
                else:
                    frame, _ = codec.decode(buffer[at:at + 12 + length])
                    assert frame.NAME in ("CONTEXT", "PING"), frame
                at += 12 + length
            del buffer[:at]
            if self.count < total:
                data = self.peer.sock.recv(MIB)
                assert data, "the broker closed"
                buffer += data


if __name__ == "__main__":
    unittest.main()
