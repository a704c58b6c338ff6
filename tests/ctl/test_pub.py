# SPDX-License-Identifier: MIT
"""brokerctl pub: every source, every option."""
import json
import os
import signal
import subprocess
import time
import unittest

import harness


class Pub(harness.CtlTest):
    def setUp(self):
        super().setUp()
        self.server = self.broker().tcp

    def pub(self, *arguments, code=harness.OK, stdin=b""):
        return self.expect(code, "pub", "-s", self.server, *arguments,
                           stdin=stdin)

    def received(self, count, *arguments, stdin=b"", code=harness.OK):
        """What a subscriber gets of one call of pub, as JSON objects."""
        sub = self.subscriber(self.server, "#", "--json", "--count",
                              str(count))
        self.pub(*arguments, stdin=stdin, code=code)
        self.assertEqual(sub.wait(), harness.OK)
        return [json.loads(line) for line in sub.stdout.bytes().splitlines()]

    def payloads(self, *arguments, **more):
        return [m.get("payload") for m in self.received(*arguments, **more)]

    def test_argument(self):
        result = self.pub("t", "m")
        self.assertEqual((result.out, result.err), (b"", ""))
        self.assertEqual(self.payloads(1, "t", "h\u00e4llo"), ["h\u00e4llo"])
        self.assertEqual(self.payloads(1, "t", ""), [""])
        self.assertEqual(self.payloads(1, "t", "--", "-5"), ["-5"])

    def test_file(self):
        path = self.write("file", b"line\nline\n")
        self.assertEqual(self.payloads(1, "t", "--file", path),
                         ["line\nline\n"])
        empty = self.write("empty", b"")
        self.assertEqual(self.payloads(1, "t", "-f", empty), [""])

    def test_standard_input(self):
        for way in (["--stdin"], ["--file", "-"]):
            self.assertEqual(self.payloads(1, "t", *way, stdin=b"a\nb"),
                             ["a\nb"])

    def test_lines(self):
        self.assertEqual(
            self.payloads(4, "t", "--lines", stdin=b"a\n\nb c\r\nend"),
            ["a", "", "b c\r", "end"])
        self.assertEqual(self.pub("t", "--lines", stdin=b"").err, "")

    def test_lines_with_count(self):
        self.assertEqual(
            self.payloads(2, "t", "--lines", "--count", "2",
                          stdin=b"a\nb\nc\n"), ["a", "b"])

    def test_lines_are_sent_as_they_come(self):
        sub = self.subscriber(self.server, "t")
        pub = self.start("pub", "-s", self.server, "t", "--lines",
                         stdin=subprocess.PIPE)
        for line in (b"one\n", b"two\n", b"three\n"):
            pub.stdin.write(line)
            pub.stdin.flush()
            sub.expect_out(line)
        pub.stdin.close()
        self.assertEqual(pub.wait(), harness.OK)

    def test_count(self):
        self.assertEqual(self.payloads(3, "t", "x", "--count", "3"),
                         ["x"] * 3)
        self.assertIn("sent 10000,", self.pub("t", "x", "-v", "-n",
                                              "10000").err)

    def test_interval(self):
        started = time.monotonic()
        self.pub("t", "x", "--count", "4", "--interval", "100ms")
        self.assertGreaterEqual(time.monotonic() - started, 0.3)

    def test_headers_and_reply_to(self):
        message, = self.received(1, "t", "m", "--header", "a=1", "-H",
                                 "b=x=y", "--header", "a=", "--reply-to",
                                 "back")
        self.assertEqual(message["headers"], [
            {"key": "a", "value": "1"}, {"key": "b", "value": "x=y"},
            {"key": "a", "value": ""}])
        self.assertEqual(message["reply_to"], "back")

    def test_too_many_headers(self):
        more = []
        for _ in range(70):
            more += ["--header", "k=" + "v" * 1000]
        result = self.pub("t", "m", *more, code=harness.USAGE)
        self.assertIn("t: ", result.err)

    def test_retain(self):
        self.pub("t", "kept", "--retain")
        result = self.expect(harness.OK, "sub", "-s", self.server, "t",
                             "--count", "1", "--json")
        self.assertTrue(json.loads(result.out)["retained"])
        self.pub("t", "", "-r")
        self.expect(harness.TIMEOUT, "sub", "-s", self.server, "t",
                    "--timeout", "100ms")

    def test_no_ack(self):
        self.assertEqual(
            self.payloads(1000, "t", "x", "--count", "1000", "--no-ack"),
            ["x"] * 1000)

    def test_no_ack_refusals_are_seen(self):
        result = self.pub("$mine", "x", "--no-ack", code=harness.USAGE)
        self.assertIn("$mine", result.err)

    def test_require_subscribers(self):
        result = self.pub("t", "m", "--require-subscribers",
                          code=harness.NO_SUBSCRIBERS)
        self.assertIn("nobody was subscribed", result.err)
        self.assertEqual(
            self.payloads(1, "t", "m", "--require-subscribers"), ["m"])

    def test_reply_to_without_subscribers(self):
        result = self.pub("t", "m", "--reply-to", "r",
                          code=harness.NO_SUBSCRIBERS)
        self.assertIn("refused", result.err)

    def test_bad_topics(self):
        for topic in ("", "a/#", "+", "a" * 1025, "/".join("a" * 65)):
            result = self.pub(topic, "m", code=harness.USAGE)
            self.assertIn("cannot publish: invalid topic name", result.err)
        result = self.pub("$sys/mine", "m", code=harness.USAGE)
        self.assertIn("$", result.err)

    def test_files_that_cannot_be_read(self):
        for path in (self.path("none"), self.folder):
            result = self.pub("t", "--file", path, code=harness.NO_INPUT)
            self.assertIn("cannot read " + path, result.err)
        path = self.write("secret", b"x")
        os.chmod(path, 0)
        if os.geteuid() != 0:
            self.pub("t", "--file", path, code=harness.NO_INPUT)

    def test_closed_standard_input(self):
        code = subprocess.run(
            ["sh", "-c", '"$0" pub -s "$1" t --stdin <&-', harness.BROKERCTL,
             self.server], stderr=subprocess.PIPE, check=False,
            timeout=harness.DEADLINE)
        self.assertEqual(code.returncode, harness.NO_INPUT, code.stderr)

    def test_refused_values_are_counted(self):
        server = self.broker(max_retained_topics=1).tcp
        self.expect(harness.OK, "pub", "-s", server, "t1", "m", "--retain")
        result = self.expect(harness.FAILED, "pub", "-s", server, "t2", "m",
                             "--retain", "--count", "20")
        self.assertIn("message 1 to t2: ", result.err)
        self.assertIn("20 of 20 messages were refused", result.err)
        self.assertLess(len(result.err.splitlines()), 8)


class Limits(harness.CtlTest):
    LIMIT = 65536

    def setUp(self):
        super().setUp()
        self.server = self.broker(max_body_bytes=self.LIMIT).tcp

    def test_over_the_limit(self):
        path = self.write("big", b"x" * (self.LIMIT + 1))
        edge = self.write("edge", b"x" * self.LIMIT)
        for arguments, stdin, says in (
                (["--file", path], b"", path + " is larger than the broker"),
                (["--stdin"], b"x" * (self.LIMIT + 1),
                 "standard input is larger than the broker"),
                (["x" * (self.LIMIT + 1)], b"",
                 "the argument is larger than the broker"),
                (["--file", edge], b"", "t: ")):
            result = self.expect(harness.DATA, "pub", "-s", self.server, "t",
                                 *arguments, stdin=stdin)
            self.assertIn(says, result.err)
            self.assertRegex(result.err, r"\b65,?536\b")
            self.assertEqual(len(result.err.splitlines()), 1, result)

    def test_the_largest_message(self):
        sub = self.subscriber(self.server, "t", "--raw", "--count", "1")
        path = self.write("largest", b"x" * (self.LIMIT - 5))
        self.expect(harness.OK, "pub", "-s", self.server, "t", "--file", path)
        self.assertEqual(sub.wait(), harness.OK)
        self.assertEqual(len(sub.stdout.bytes()), self.LIMIT - 5)
        path = self.write("larger", b"x" * (self.LIMIT - 4))
        self.expect(harness.DATA, "pub", "-s", self.server, "t", "--file",
                    path)

    def test_a_line_over_the_limit(self):
        """The lines before it are acknowledged; it is named."""
        sub = self.subscriber(self.server, "t", "--count", "2")
        result = self.expect(
            harness.DATA, "pub", "-s", self.server, "t", "--lines",
            stdin=b"one\ntwo\n" + b"x" * (self.LIMIT + 1) + b"\nfour\n")
        self.assertIn("line 3", result.err)
        self.assertRegex(result.err, r"\b65,?536\b")
        self.assertEqual(sub.wait(), harness.OK)
        self.assertEqual(sub.stdout.bytes(), b"one\ntwo\n")

    def test_over_what_any_broker_takes(self):
        path = self.path("huge")
        with open(path, "wb") as file:
            file.truncate(1 << 34)
        result = self.expect(harness.DATA, "pub", "-s", self.server, "t",
                             "--file", path)
        self.assertIn("16777215", result.err)


class Queues(harness.CtlTest):
    def test_refused_by_a_full_queue(self):
        """drop-newest and a subscriber that stands still."""
        server = self.broker(**harness.SMALL_QUEUES).tcp
        sub = self.subscriber(server, "t", "--overflow", "drop-newest")
        sub.signal(signal.SIGSTOP)
        result = self.expect(harness.QUEUE_REFUSED, "pub", "-s", server, "t",
                             "x" * 60000, "--count", "500")
        self.assertRegex(result.err,
                         r"\d+ of 500 deliveries found no room")
        refused = int(result.err.split("brokerctl: ")[1].split()[0])
        sub.signal(signal.SIGCONT)
        sub.expect_error("gap: ")
        harness.wait_until(
            lambda: sub.stdout.bytes().count(b"\n") + refused == 500,
            "everything received or refused")
        sub.signal(signal.SIGINT)
        self.assertEqual(sub.wait(), harness.GAP)

    def test_a_broker_that_stands_still(self):
        broker = self.broker()
        pub = self.start("pub", "-v", "-s", broker.tcp, "t", "--lines",
                         "--timeout", "300ms", stdin=subprocess.PIPE)
        pub.expect_error("connected to")
        broker.process.signal(signal.SIGSTOP)
        pub.stdin.write(b"m\n")
        pub.stdin.close()
        self.assertEqual(pub.wait(), harness.TIMEOUT)
        self.assertIn("acknowledged nothing", pub.error_text())
        broker.process.signal(signal.SIGCONT)


if __name__ == "__main__":
    unittest.main()
