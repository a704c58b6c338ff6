#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""brokerd when the machine fails it: no memory, no disk for the log, nobody
who reads the log, clocks that jump.

    BROKERD=path/to/brokerd FAULTS=path/to/faults.so test_exhaustion.py

faults.so is preloaded into brokerd (faults.c). Memory: the N-th allocation
fails, alone or with all after it, from the first at start to the last of a
small conversation. EXHAUSTION_STRIDE=1 takes every N, which takes minutes;
without it some are left out. Descriptors that run out are in
tests/wire/test_limits.py.
"""
import contextlib
import fcntl
import json
import mmap
import os
import re
import signal
import struct
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                os.pardir, "wire"))
import broker_wire  # noqa: E402  (the path has just been set)
import harness  # noqa: E402
import wire_codec as codec  # noqa: E402

FAULTS_SO = os.environ["FAULTS"]
STRIDE = int(os.environ.get("EXHAUSTION_STRIDE", "7"))
# The order of struct faults in faults.h.
NAMES = ("allocations", "fail_at", "fail_count", "failed", "monotonic_ms",
         "realtime_ms", "sync_error", "write_error")
FILE_BYTES = 64
ALL = 1 << 62  # so many fail: all that come
HOUR_MS = 3600 * 1000
YEAR_MS = 365 * 24 * HOUR_MS


class Faults:
    """The orders for one brokerd, by name: faults["fail_at"] = 7."""

    def __init__(self):
        self.file = tempfile.NamedTemporaryFile(prefix="brokerd-faults-")
        self.file.write(bytes(FILE_BYTES))
        self.file.flush()
        self.map = mmap.mmap(self.file.fileno(), FILE_BYTES)

    def __getitem__(self, name):
        return struct.unpack_from("=q", self.map, 8 * NAMES.index(name))[0]

    def __setitem__(self, name, value):
        struct.pack_into("=q", self.map, 8 * NAMES.index(name), value)

    def close(self):
        self.map.close()
        self.file.close()

    @contextlib.contextmanager
    def preloaded(self):
        """Programs that are started meanwhile are under these orders."""
        added = {"LD_PRELOAD": FAULTS_SO, "BROKER_FAULTS": self.file.name}
        os.environ.update(added)
        try:
            yield
        finally:
            for name in added:
                del os.environ[name]


class Missing(Exception):
    """A GAP came in the place of a message: there was no memory for it."""


def next_message(connection, topic):
    """The next one with this topic; others may come before it."""
    while True:
        event = connection.next_event()
        if isinstance(event, codec.Gap):
            raise Missing()
        if getattr(event, "topic", None) == topic:
            return event


def converse(address, timeout):
    """A little of everything. Raises Refused, Missing, Closed or OSError if
    the broker has no memory for something, TimeoutError if it says nothing."""
    with contextlib.ExitStack() as stack:
        one, two = (stack.enter_context(
            broker_wire.Connection(address, timeout=timeout))
            for _ in range(2))
        mine = [one.subscribe("t/#").id, one.subscribe("t/+", "group").id]
        two.publish("t/kept", "value", retain=True)
        for number in range(3):
            two.publish("t/a", b"x" * 2000 * number)
        for _ in range(3):
            next_message(one, "t/a")
        mine.append(one.subscribe("answer").id)
        for what in ("stats", "connections", "subscriptions"):
            one.publish("$sys/" + what, reply_to="answer")
            json.loads(next_message(one, "answer").payload)
        for subscription in mine:
            one.unsubscribe(subscription)
        one.ping()


class Memory(harness.BrokerTest):
    """One brokerd for each N, so the class starts them by itself."""

    def setUp(self):
        self.brokers, self.peers, self.logs = [], [], ""
        self.addCleanup(self._release)
        self.addCleanup(lambda: self.faults.close())
        self.faults = Faults()

    def tearDown(self):
        pass

    def begin(self, threads, fail_at, fail_count):
        """A broker that is ready, or None: it has refused to start, and has
        said so."""
        for name in NAMES:
            self.faults[name] = 0
        self.faults["fail_count"] = fail_count
        self.faults["fail_at"] = fail_at
        with self.faults.preloaded():
            broker = harness.Broker(threads=threads)
        self.brokers = [broker]
        try:
            return broker.wait_ready()
        except AssertionError:
            if broker.running:
                raise
            self.assertIn(broker.wait(), (1, 64), broker.log())
            self.assertTrue(broker.log(), "ended without a word")
            return None

    def end_all(self):
        for broker in self.brokers:
            broker.destroy()
            broker.log_file.close()
        self.brokers = []

    def check_one(self, threads, fail_at, fail_count):
        """Returns whether the fault was reached."""
        broker = self.begin(threads, fail_at, fail_count)
        if broker is None:
            return True
        # When one allocation fails, everything is answered one way or the
        # other; when all do, silence is allowed, but only as long.
        alone = fail_count == 1
        try:
            converse(broker.unix, harness.DEADLINE if alone else 0.1)
        except broker_wire.Refused as refused:
            self.assertIn(refused.name, ("MEMORY", "INTERNAL"))
        except (Missing, broker_wire.Closed, ConnectionError):
            pass
        except TimeoutError:
            self.assertFalse(alone, "no answer: " + broker.log())
        reached = self.faults["failed"] > 0
        self.faults["fail_at"] = 0
        for address in (broker.unix, broker.tcp):
            converse(address, harness.DEADLINE)
        self.broker = broker
        self.check_books()
        broker.signal(signal.SIGTERM)
        self.assertEqual(broker.wait(), 0, broker.log())
        return reached

    def check_all(self, threads, fail_count):
        broker = self.begin(threads, 0, 0)
        at_start = self.faults["allocations"]
        converse(broker.unix, harness.DEADLINE)
        last = self.faults["allocations"]
        self.end_all()
        self.assertGreater(last, at_start + 30)
        runs = reached = 0
        for fail_at in range(1 + threads % STRIDE, last + 1, STRIDE):
            with self.subTest(threads=threads, fail_at=fail_at,
                              fail_count=fail_count):
                try:
                    reached += self.check_one(threads, fail_at, fail_count)
                finally:
                    self.end_all()
            runs += 1
        # Threads do not allocate in the same order each time.
        self.assertGreater(reached, runs * 3 // 4)
        print("%d threads: %d allocations at start, %d in all; %d runs, "
              "reached by %d" % (threads, at_start, last, runs, reached))

    def test_one_fails(self):
        self.check_all(1, 1)

    def test_one_fails_with_threads(self):
        self.check_all(3, 1)

    def test_all_fail_from_then_on(self):
        self.check_all(1, ALL)

    def test_all_fail_from_then_on_with_threads(self):
        self.check_all(3, ALL)


class Clocks(harness.BrokerTest):
    """One thread or many; the clocks are those of the whole process."""
    options = {"heartbeat_ms": 5000}

    def setUp(self):
        self.faults = Faults()
        self.addCleanup(self.faults.close)
        with self.faults.preloaded():
            super().setUp()

    def check_alive(self, reader, writer):
        self.assertEqual(writer.publish("t", "after").matched, 1)
        self.assertEqual(reader.next_event().payload, b"after")
        writer.ping()
        self.connect().ping()

    def test_hours_are_gone_as_after_suspend(self):
        """Nobody is taken for dead who could not have said a word."""
        reader, writer = self.connect(), self.connect()
        reader.subscribe("t")
        half = self.raw()  # has not said HELLO yet
        self.faults["monotonic_ms"] = HOUR_MS
        self.check_alive(reader, writer)
        half.hello()
        for hours in (30, 10000):
            self.faults["monotonic_ms"] = hours * HOUR_MS
            self.check_alive(reader, writer)
        self.assertNotIn("TIMEOUT", self.broker.log())

    def test_hours_are_gone_while_output_waits(self):
        """A subscriber that has not read yet had no time to."""
        reader, writer = self.connect(self.broker.unix), self.connect()
        reader.subscribe("t")
        payloads = harness.numbered(2000, 1000)
        harness.publish_bulk(writer, "t", payloads)
        self.faults["monotonic_ms"] += 5 * HOUR_MS
        writer.ping()
        ledger = harness.Ledger(1)
        ledger.read(reader, len(payloads))
        self.assertEqual(ledger.received, len(payloads))

    def test_the_wall_clock_does_not_matter(self):
        reader, writer = self.connect(), self.connect()
        reader.subscribe("t")
        for years in (-50, 100, -2):
            self.faults["realtime_ms"] += years * YEAR_MS
            self.check_alive(reader, writer)
        busy = self.broker.cpu_seconds()
        with self.assertRaises(TimeoutError):
            reader.next_event(0.3)
        self.assertLess(self.broker.cpu_seconds() - busy, 0.2)


class Log(unittest.TestCase):
    """Standard error and output that take nothing."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="brokerd-")
        self.addCleanup(folder.cleanup)
        self.socket_path = os.path.join(folder.name, "s.sock")
        self.address = "unix://" + self.socket_path

    def start(self, stdout, stderr, *flags):
        process = subprocess.Popen(
            [os.environ["BROKERD"], "--config=/dev/null", "--threads=2",
             "--listen=" + self.address, *flags],
            stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr,
            preexec_fn=lambda: harness.before_exec(None))
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        self.wait_listening()
        return process

    def wait_listening(self):
        def listens():
            try:
                broker_wire.open_socket(self.address).close()
                return True
            except (FileNotFoundError, ConnectionRefusedError):
                return False
        harness.wait_until(listens, what="listening")

    def stop(self, process):
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(harness.DEADLINE), 0)

    def make_noise(self, count):
        """So many connections that end with a line of the log each."""
        for _ in range(count):
            peer = harness.RawPeer(self.address)
            peer.send(codec.Hello(), b"\xff" * 12)
            peer.rest()
            peer.abort()

    def check_serves(self):
        converse(self.address, harness.DEADLINE)

    def test_a_full_disk(self):
        with open("/dev/full", "wb") as full:
            process = self.start(full, full)
            self.make_noise(20)
            self.check_serves()
            self.stop(process)

    def test_closed_from_the_start(self):
        """Nothing that is opened later is taken for standard error."""
        process = subprocess.Popen(
            ["/bin/sh", "-c", 'exec "$@" >&- 2>&-', "sh",
             os.environ["BROKERD"], "--config=/dev/null",
             "--listen=" + self.address], stdin=subprocess.DEVNULL,
            preexec_fn=lambda: harness.before_exec(None))
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        self.wait_listening()
        self.make_noise(20)
        self.check_serves()
        self.stop(process)

    def test_a_pipe_that_nobody_reads(self):
        read_end, write_end = os.pipe()
        self.addCleanup(os.close, read_end)
        fcntl.fcntl(write_end, fcntl.F_SETPIPE_SZ, 4096)
        # debug: nothing is left out because there is too much of it.
        process = self.start(write_end, write_end, "--log-level=debug")
        os.close(write_end)
        self.make_noise(200)
        self.check_serves()
        log = os.read(read_end, 1 << 20)
        self.stop(process)
        log += os.read(read_end, 1 << 20)
        lost = sum(map(int, re.findall(rb" lines_lost=(\d+)\n", log)))
        told = log.count(b" conn=")  # five for each
        self.assertGreater(told, 5)
        self.assertGreaterEqual(told + lost, 5 * 200)

    def test_a_flood_is_cut_short(self):
        count, limit = 400, 10
        with tempfile.TemporaryFile() as file:
            began = time.monotonic()
            process = self.start(subprocess.DEVNULL, file,
                                 "--log-lines-per-second=%d" % limit)
            self.make_noise(count)
            self.stop(process)
            seconds = time.monotonic() - began
            file.seek(0)
            lines = [line for line in file.read().decode().splitlines()
                     if " protocol-error " in line]
        left_out = [int(line.partition(" suppressed=")[2])
                    for line in lines if " suppressed=" in line]
        told = len(lines) - len(left_out)
        self.assertEqual(told + sum(left_out), count)
        # One more for the second that had begun; two threads may let one
        # more through each.
        self.assertLessEqual(told, (limit + 1) * (int(seconds) + 2))


if __name__ == "__main__":
    unittest.main()
