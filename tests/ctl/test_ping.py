# SPDX-License-Identifier: MIT
"""brokerctl ping."""
import re
import signal
import unittest

import harness


class Ping(harness.CtlTest):
    def setUp(self):
        super().setUp()
        self.broker_process = self.broker()
        self.server = self.broker_process.tcp

    def test_count(self):
        result = self.expect(harness.OK, "ping", "-s", self.server, "-n", "3",
                             "-i", "10ms")
        lines = result.out.decode().splitlines()
        self.assertEqual(len(lines), 4)
        for i, line in enumerate(lines[:3]):
            self.assertRegex(line, r"\A%s: number=%d time=\d+\.\d{3} ms\Z" % (
                re.escape(self.server), i + 1))
        summary = re.match(r"3 sent, 3 answered, min/median/max "
                           r"([\d.]+)/([\d.]+)/([\d.]+) ms\Z", lines[3])
        low, middle, high = map(float, summary.groups())
        self.assertTrue(0 < low <= middle <= high)

    def test_first_line_comes_at_once_and_a_signal_ends_it(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            ping = self.start("ping", "-s", self.server, "-n", "100", "-i",
                              "1h")
            ping.expect_out(b"number=1 ")
            ping.signal(number)
            self.assertEqual(ping.wait(), harness.OK)
            self.assertIn(b"1 sent, 1 answered, min/", ping.stdout.bytes())

    def test_a_signal_ends_the_wait_for_an_answer(self):
        ping = self.start("ping", "-s", self.server, "-n", "100", "-i",
                          "10ms", "--timeout", "1h")
        ping.expect_out(b"number=1 ")
        self.broker_process.process.signal(signal.SIGSTOP)
        harness.wait_until(lambda: self.is_waiting(ping),
                           "a ping without an answer")
        ping.signal(signal.SIGINT)
        self.assertEqual(ping.wait(), harness.OK)
        self.broker_process.process.signal(signal.SIGCONT)
        self.assertRegex(ping.stdout.bytes(), rb"\d+ sent, \d+ answered")

    def is_waiting(self, ping):
        """No line has come for ten times the interval."""
        before = len(ping.stdout.bytes())
        return not ping.stdout.wait_for(
            lambda data: len(data) != before, 0.1)

    def test_no_answer(self):
        ping = self.start("ping", "-s", self.server, "-n", "100", "-i",
                          "50ms", "--timeout", "300ms")
        ping.expect_out(b"number=1 ")
        self.broker_process.process.signal(signal.SIGSTOP)
        self.assertEqual(ping.wait(), harness.TIMEOUT)
        self.broker_process.process.signal(signal.SIGCONT)
        sent, answered = map(int, re.search(
            rb"(\d+) sent, (\d+) answered", ping.stdout.bytes()).groups())
        self.assertEqual(sent, answered + 1)


if __name__ == "__main__":
    unittest.main()
