# SPDX-License-Identifier: MIT
"""Starting and stopping: readiness, sockets, signals, exit codes.

PROTOCOL.md sections 2.2, 4.5 and 5.9.
"""
import os
import re
import signal
import socket
import stat
import subprocess
import tempfile
import time
import unittest

import broker_wire
import wire_codec as codec
from harness import (
    DEADLINE, Broker, BrokerTest, Ledger, numbered, publish_bulk,
    wait_until)


class Shutdown(BrokerTest):
    def terminate(self, number=signal.SIGTERM):
        self.broker.signal(number)
        self.assertEqual(self.broker.wait(), 0)

    def test_goaway_to_every_connection(self):
        connections = [self.connect(a) for a in self.broker.addresses * 3]
        self.broker.signal(signal.SIGTERM)
        for connection in connections:
            events = connection.read_to_end()
            self.assertEqual([e.NAME for e in events], ["GOAWAY"])
            self.assertEqual(events[0].name, "SHUTTING_DOWN")
            self.assertGreater(events[0].retry_after_ms, 0)
            connection.sock.close()
        self.assertEqual(self.broker.wait(), 0)

    def test_by_interrupt(self):
        connection = self.connect()
        self.broker.signal(signal.SIGINT)
        self.assertEqual(connection.read_to_end()[0].name, "SHUTTING_DOWN")
        connection.sock.close()
        self.assertEqual(self.broker.wait(), 0)

    def test_without_connections(self):
        started = time.monotonic()
        self.terminate()
        self.assertLess(time.monotonic() - started, 30)

    def test_those_that_never_said_hello(self):
        peers = [self.raw(a) for a in self.broker.addresses]
        peers[0].send(codec.Hello().encode()[:20])
        self.let_process()
        self.broker.signal(signal.SIGTERM)
        for peer in peers:
            self.assertLessEqual({f.NAME for f in peer.rest()}, {"GOAWAY"})
            peer.abort()
        self.assertEqual(self.broker.wait(), 0)

    def test_the_unix_socket_is_removed(self):
        self.assertTrue(os.path.exists(self.broker.socket_path))
        self.terminate()
        self.assertFalse(os.path.exists(self.broker.socket_path))

    def test_nobody_gets_in_any_more(self):
        self.terminate()
        for address in self.broker.addresses:
            with self.assertRaises(OSError):
                broker_wire.open_socket(address)

    def test_acknowledged_is_routed(self):
        """What was acknowledged before the end reaches the subscriber."""
        subscriber = self.connect(self.broker.unix)
        ledger = Ledger(subscriber.subscribe("t").id)
        publish_bulk(self.connect(), "t", numbered(100))
        self.broker.signal(signal.SIGTERM)
        ledger.read(subscriber, 100)
        self.assertEqual(subscriber.next_event().name, "SHUTTING_DOWN")
        self.assertEqual(ledger.missing, 0)


def stall(test):
    """A subscriber with so much in its queue that it keeps the broker
    draining."""
    stalled = test.connect(test.broker.unix)
    stalled.subscribe("t")
    publish_bulk(test.connect(), "t", numbered(5000, 1000))
    return stalled


class Drain(BrokerTest):
    options = {"drain_timeout_ms": 60000}

    def test_what_is_queued_comes_before_goaway(self):
        subscriber = stall(self)
        ledger = Ledger(1)
        self.broker.signal(signal.SIGTERM)
        events = subscriber.read_to_end()
        for event in events[:-1]:
            self.assertTrue(ledger.take(event))
        self.assertEqual((ledger.received, ledger.missing), (5000, 0))
        self.assertEqual(events[-1].name, "SHUTTING_DOWN")
        for peer in self.peers:
            peer.abort()
        self.assertEqual(self.broker.wait(), 0)

    def test_the_second_signal_ends_at_once(self):
        stall(self)
        self.broker.signal(signal.SIGTERM)
        wait_until(self.refuses, what="draining")
        self.assertTrue(self.broker.running)
        started = time.monotonic()
        self.broker.signal(signal.SIGTERM)
        self.broker.wait()
        self.assertLess(time.monotonic() - started, 20)
        self.assertFalse(os.path.exists(self.broker.socket_path))

    def refuses(self):
        try:
            broker_wire.open_socket(self.broker.tcp).close()
        except OSError:
            return True
        return False


class DrainTimeout(BrokerTest):
    options = {"drain_timeout_ms": 300}

    def test_a_stalled_subscriber_does_not_stop_the_stopping(self):
        stall(self)
        started = time.monotonic()
        self.broker.signal(signal.SIGTERM)
        self.assertEqual(self.broker.wait(), 0)
        self.assertLess(time.monotonic() - started, 30)

    def test_what_came_by_then_is_in_order(self):
        """It is cut off, perhaps inside of a frame, as is its right."""
        subscriber = stall(self)
        self.broker.signal(signal.SIGTERM)
        self.assertEqual(self.broker.wait(), 0)
        ledger = Ledger(1)
        try:
            while True:
                ledger.take(subscriber.next_event())
        except (broker_wire.Closed, codec.ProtocolError, OSError):
            pass
        self.assertEqual(ledger.missing, 0)
        self.assertGreater(ledger.received, 0)


class Starting(BrokerTest):
    def setUp(self):
        super().setUp()
        self.folder = tempfile.mkdtemp(prefix="brokerd-")
        self.addCleanup(os.rmdir, self.folder)
        self.path = os.path.join(self.folder, "s.sock")

    def fails(self, *listen, **options):
        """Must not start; returns what it said on stderr."""
        broker = Broker(listen=list(listen), folder=self.folder, **options)
        try:
            code = broker.wait()
            self.assertNotEqual(code, 0)
            self.assertGreater(code, 0, "ended by a signal")
            self.assertEqual(broker.process.stdout.read(), b"")
            return broker.log()
        finally:
            broker.destroy()
            broker.log_file.close()

    def test_the_readiness_line(self):
        host_port, path = self.broker.addresses
        self.assertTrue(re.fullmatch(r"tcp://127\.0\.0\.1:[1-9]\d*",
                                     host_port), host_port)
        self.assertEqual(path, "unix://" + self.broker.socket_path)
        self.assertTrue(stat.S_ISSOCK(
            os.stat(self.broker.socket_path).st_mode))

    def test_the_socket_is_for_its_owner(self):
        """Local first: nobody else's processes get in (other than by the
        folder's rights)."""
        mode = os.stat(self.broker.socket_path).st_mode
        self.assertEqual(mode & 0o007, 0, oct(mode))

    def test_a_stale_socket_is_replaced(self):
        first = self.start_broker(listen=["unix://" + self.path],
                                  folder=self.folder)
        first.signal(signal.SIGKILL)
        first.wait()
        self.assertTrue(os.path.exists(self.path))
        second = self.start_broker(listen=["unix://" + self.path],
                                   folder=self.folder)
        self.connect(second.unix).ping()

    def test_a_stale_socket_of_somebody_else(self):
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(self.path)
        second = self.start_broker(listen=["unix://" + self.path],
                                   folder=self.folder)
        self.connect(second.unix).ping()

    def test_a_socket_in_use_is_refused(self):
        said = self.fails("unix://" + self.broker.socket_path)
        self.assertIn(self.broker.socket_path, said)
        self.assertIn("use", said)
        self.connect(self.broker.unix).ping()  # and still works

    def test_a_port_in_use_is_refused(self):
        said = self.fails(self.broker.tcp)
        self.assertIn(self.broker.tcp.rpartition(":")[2], said)
        self.connect(self.broker.tcp).ping()

    def test_a_file_that_is_no_socket_stays(self):
        with open(self.path, "w") as file:
            file.write("precious")
        said = self.fails("unix://" + self.path)
        self.assertIn(self.path, said)
        with open(self.path) as file:
            self.assertEqual(file.read(), "precious")
        os.unlink(self.path)

    def test_a_folder_that_is_not_there(self):
        path = os.path.join(self.folder, "missing", "s.sock")
        self.assertIn(path, self.fails("unix://" + path))

    def test_addresses_that_are_none(self):
        for address in ["http://127.0.0.1:1", "tcp://", "127.0.0.1:1",
                        "unix://relative", "tcp://127.0.0.1:99999", "unix://",
                        "tcp://127.0.0.1:x"]:
            with self.subTest(address=address):
                self.assertIn(address, self.fails(address))

    def test_a_failure_leaves_no_socket_behind(self):
        """The second address is in use: the first one's file goes, too."""
        self.fails("unix://" + self.path, self.broker.tcp)
        self.assertFalse(os.path.exists(self.path))

    def test_flags_that_are_none(self):
        self.assertIn("no_such_flag", self.fails(
            "unix://" + self.path, no_such_flag=1).replace("-", "_"))
        for value in ["", "x", "-1", "1e9", "99999999999999999999"]:
            self.assertIn("max_connections", self.fails(
                "unix://" + self.path, max_connections=value)
                .replace("-", "_"))

    def test_listening_wider_is_refused(self):
        """Without authentication: with a word about how to turn it on."""
        for address in ["tcp://0.0.0.0:0", "tcp://[::]:0"]:
            self.assertIn(address, self.fails(address))

    def test_spelling_of_flags(self):
        """--max_output_bytes=N and --max-output-bytes N are equal."""
        for flags in [["--max_subscriptions=7"], ["--max-subscriptions=7"],
                      ["--max-subscriptions", "7"],
                      ["--max_subscriptions", "7"]]:
            process = subprocess.Popen(
                [os.environ["BROKERD"], "--listen=unix://" + self.path]
                + flags, stdout=subprocess.PIPE)
            try:
                self.assertEqual(
                    process.stdout.readline().split(),
                    [b"brokerd", b"ready", b"unix://" + self.path.encode()])
                peer = self.raw("unix://" + self.path)
                self.assertEqual(peer.hello().max_subscriptions, 7)
                peer.abort()
            finally:
                process.terminate()
                self.assertEqual(process.wait(DEADLINE), 0)
                process.stdout.close()


if __name__ == "__main__":
    unittest.main()
