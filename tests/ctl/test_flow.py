# SPDX-License-Identifier: MIT
"""Streams: large and many messages, readers that are slow, stop or go away."""
import hashlib
import json
import os
import re
import signal
import subprocess
import unittest

import harness

MILLION = 1000000


def missing(text):
    """The sum of the gaps that a sub has reported."""
    return sum(int(n) for n in re.findall(
        r"gap: (\d+) messages are missing", text))


class Bytes(harness.CtlTest):
    def test_ten_megabytes_of_every_byte(self):
        data = bytearray()
        block = b""
        while len(data) < 10000000:
            block = hashlib.sha256(block).digest()
            data += bytes(range(256)) + block
        data = bytes(data[:10000000])
        path = self.write("data", data)
        broker = self.broker(self.every_kind_of_address())
        for address in broker.addresses:
            with self.subTest(address=address):
                copy = self.path("copy")
                with open(copy, "wb") as file:
                    sub = self.start("sub", "-v", "-s", address, "f",
                                     "--raw", "--count", "1", stdout=file)
                    self.subscribed(sub)
                    self.expect(harness.OK, "pub", "-s", address, "f",
                                "--file", path, "--require-subscribers")
                    self.assertEqual(sub.wait(), harness.OK)
                with open(copy, "rb") as file:
                    self.assertTrue(file.read() == data)
                sub = self.subscriber(address, "f", "--raw", "--count", "1")
                self.expect(harness.OK, "pub", "-s", address, "f", "--stdin",
                            stdin=data)
                self.assertEqual(sub.wait(), harness.OK)
                self.assertTrue(sub.stdout.bytes() == data)


class Lines(harness.CtlTest):
    def numbers(self, count):
        path = self.path("numbers")
        with open(path, "wb") as file:
            file.write(b"".join(b"%d\n" % i for i in range(count)))
        return path

    def pub_lines(self, server, path):
        """Publish the lines of a file."""
        with open(path, "rb") as file:
            pub = self.start("pub", "-v", "-s", server, "n", "--lines",
                             "--timeout", "60s", stdin=file)
            self.assertEqual(pub.wait(), harness.OK, pub.error_text())
        return pub

    def test_a_million_lines_arrive(self):
        server = self.broker(max_output_bytes=1 << 30).tcp
        path = self.numbers(MILLION)
        copy = self.path("copy")
        with open(copy, "wb") as file:
            sub = self.start("sub", "-v", "-s", server, "n", "--count",
                             str(MILLION), stdout=file)
            self.subscribed(sub)
            pub = self.pub_lines(server, path)
            self.assertIn("sent 1000000, matched 1000000,", pub.error_text())
            self.assertEqual(sub.wait(), harness.OK, sub.error_text())
        with open(copy, "rb") as got, open(path, "rb") as sent:
            self.assertTrue(got.read() == sent.read())

    @unittest.skipIf(os.environ.get("BROKER_SANITIZE"),
                     "a sanitizer's memory says nothing")
    def test_memory_is_bounded(self):
        server = self.broker().tcp
        pub = self.start("pub", "-s", server, "n", "--lines", "--timeout",
                         "60s", stdin=subprocess.PIPE)
        block = b"".join(b"%d\n" % i for i in range(100000))
        for _ in range(30):
            pub.stdin.write(block)
        with open("/proc/%d/status" % pub.process.pid,
                  encoding="ascii") as file:
            peak = re.search(r"VmHWM:\s+(\d+) kB", file.read())
        pub.stdin.close()
        self.assertEqual(pub.wait(), harness.OK)
        self.assertLess(int(peak.group(1)), 100 * 1024)

    def test_a_stopped_subscriber(self):
        """What a stopped sub does not get is counted: the sum is exact."""
        path = self.numbers(MILLION)
        for options in ({}, harness.SMALL_QUEUES):
            broker = self.broker(self.every_kind_of_address(), **options)
            for address in broker.addresses:
                with self.subTest(address=address, options=options):
                    gaps = self.check_stopped(address, path)
                    if options:
                        self.assertGreater(gaps, 0)
            broker.stop()

    def check_stopped(self, server, path):
        copy = self.path("copy")
        with open(copy, "wb") as file:
            sub = self.start("sub", "-v", "-s", server, "n", stdout=file)
            self.subscribed(sub)
            sub.signal(signal.SIGSTOP)
            with open(path, "rb") as numbers:
                pub = self.start("pub", "-s", server, "n", "--lines",
                                 "--timeout", "60s", stdin=numbers)
                code = pub.wait()
            sub.signal(signal.SIGCONT)
            sub.signal(signal.SIGINT)
            sub_code = sub.wait()
        with open(copy, "rb") as file:
            got = [int(line) for line in file.read().splitlines()]
        gaps = missing(sub.error_text())
        self.assertEqual(len(got) + gaps, MILLION, sub.error_text()[-3000:])
        self.assertEqual(got, sorted(set(got)))
        self.assertEqual(sub_code, harness.GAP if gaps else harness.OK)
        self.assertIn(code, (harness.OK, harness.QUEUE_REFUSED))
        return gaps

    def test_gaps_as_json_and_in_the_exit_code(self):
        server = self.broker(**harness.SMALL_QUEUES).tcp
        sub = self.subscriber(server, "n", "m", "--json")
        sub.signal(signal.SIGSTOP)
        self.ctl("pub", "-s", server, "n", "x" * 20000, "--count", "1000")
        sub.signal(signal.SIGCONT)
        sub.signal(signal.SIGTERM)
        self.assertEqual(sub.wait(), harness.GAP)
        lines = [json.loads(line) for line in
                 sub.stdout.bytes().splitlines()]
        gaps = [line for line in lines if "gap" in line]
        self.assertTrue(gaps)
        for gap in gaps:
            self.assertEqual(gap["filters"], ["n"])
            self.assertEqual(gap["reason"], "overflow")
            self.assertGreater(gap["bytes"], 20000 * gap["gap"])
        total = sum(gap["gap"] for gap in gaps)
        self.assertEqual(total + len(lines) - len(gaps), 1000)
        self.assertEqual(missing(sub.error_text()), total)

    def test_disconnect_policy(self):
        server = self.broker(**harness.SMALL_QUEUES).tcp
        sub = self.subscriber(server, "n", "--overflow", "disconnect",
                              "--no-reconnect")
        sub.signal(signal.SIGSTOP)
        self.ctl("pub", "-s", server, "n", "x" * 20000, "--count", "1000")
        sub.signal(signal.SIGCONT)
        self.assertEqual(sub.wait(), harness.UNAVAILABLE)
        self.assertIn("fell behind", sub.error_text())


class Readers(harness.CtlTest):
    def setUp(self):
        super().setUp()
        self.server = self.broker().tcp

    def test_each_line_at_once(self):
        """Lines are there before the next one is sent, through a pipe."""
        sub = self.subscriber(self.server, "t")
        pub = self.start("pub", "-s", self.server, "t", "--lines",
                         stdin=subprocess.PIPE)
        for i in range(20):
            pub.stdin.write(b"%d\n" % i)
            pub.stdin.flush()
            sub.expect_out(b"%d\n" % i)

    def test_closed_pipe_ends_it_quietly(self):
        """As `sub | head -1`, and without another message coming."""
        reading, writing = os.pipe()
        sub = self.start("sub", "-v", "-s", self.server, "t",
                         stdout=writing)
        os.close(writing)
        self.subscribed(sub)
        self.expect(harness.OK, "pub", "-s", self.server, "t", "m")
        self.assertEqual(os.read(reading, 10), b"m\n")
        os.close(reading)
        self.assertEqual(sub.wait(), harness.OK)
        said = harness.lines_without(sub.error_text(), "connected to",
                                     "leaving", "subscribed", "unsubscribed")
        self.assertEqual(said, [])

    def test_closed_pipe_while_writing(self):
        reading, writing = os.pipe()
        sub = self.start("sub", "-v", "-s", self.server, "t", stdout=writing)
        os.close(writing)
        self.subscribed(sub)
        os.close(reading)
        self.ctl("pub", "-s", self.server, "t", "x" * 1000, "--count", "1000")
        self.assertEqual(sub.wait(), harness.OK)

    def test_other_commands_and_closed_pipes(self):
        for command in (["stats"], ["explain"], ["help"],
                        ["ping", "-n", "3", "-i", "10ms"]):
            reading, writing = os.pipe()
            os.close(reading)
            process = self.start("-s", self.server, *command, stdout=writing)
            os.close(writing)
            self.assertEqual(process.wait(), harness.OK, command)
            self.assertEqual(process.error_text(), "", command)

    def test_full_disk(self):
        with open("/dev/full", "wb") as full:
            sub = self.start("sub", "-v", "-s", self.server, "t",
                             stdout=full)
            self.subscribed(sub)
            self.ctl("pub", "-s", self.server, "t", "m")
            self.assertEqual(sub.wait(), harness.OUTPUT)
        self.assertIn("No space left", sub.error_text())

    def test_a_reader_that_rests(self):
        """A blocked pipe stops nothing but itself, and loses nothing."""
        reading, writing = os.pipe()
        sub = self.start("sub", "-v", "-s", self.server, "t", "--count",
                         "3000", stdout=writing)
        os.close(writing)
        self.subscribed(sub)
        self.expect(harness.OK, "pub", "-s", self.server, "t", "x" * 9999,
                    "--count", "3000")
        with os.fdopen(reading, "rb") as file:
            got = file.read()
        self.assertEqual(len(got), 30000000)
        self.assertEqual(sub.wait(), harness.OK, sub.error_text())

    def signalled_with_full_pipe(self):
        reading, writing = os.pipe()
        sub = self.start("sub", "-v", "-s", self.server, "t", stdout=writing)
        os.close(writing)
        self.subscribed(sub)
        self.expect(harness.OK, "pub", "-s", self.server, "t", "x" * 9999,
                    "--count", "3000")
        sub.signal(signal.SIGINT)
        sub.expect_error("leaving")
        return sub, reading

    def test_a_signal_gives_the_reader_time(self):
        sub, reading = self.signalled_with_full_pipe()
        with os.fdopen(reading, "rb") as file:
            self.assertEqual(len(file.read()), 30000000)
        self.assertEqual(sub.wait(), harness.OK)

    def test_a_signal_does_not_wait_for_ever(self):
        sub, reading = self.signalled_with_full_pipe()
        self.assertEqual(sub.wait(), harness.OUTPUT)
        self.assertRegex(sub.error_text(), r"\d+ bytes were not read by")
        self.assertIn("gap: messages may be missing", sub.error_text())
        os.close(reading)

    def test_a_second_signal_ends_it_at_once(self):
        sub, reading = self.signalled_with_full_pipe()
        sub.signal(signal.SIGINT)
        self.assertEqual(sub.wait(), -signal.SIGINT)
        os.close(reading)


if __name__ == "__main__":
    unittest.main()
