# SPDX-License-Identifier: MIT
"""brokerctl sub: every form of output, every option."""
import json
import os
import signal
import unittest

import harness


class Sub(harness.CtlTest):
    def setUp(self):
        super().setUp()
        self.server = self.broker().tcp

    def pub(self, topic, message, *more):
        self.expect(harness.OK, "pub", "-s", self.server, topic, *more,
                    "--file", "-", stdin=message)

    def shown(self, arguments, messages):
        """What `sub` prints of these (topic, payload, options of pub)."""
        sub = self.subscriber(self.server, *arguments, "--count",
                              str(len(messages)))
        for topic, payload, *more in messages:
            self.pub(topic, payload, *more)
        self.assertEqual(sub.wait(), harness.OK, sub.error_text())
        return sub.stdout.bytes()

    def test_lines(self):
        self.assertEqual(self.shown(["a/#"], [("a/b", b"one"), ("a", b""),
                                              ("a/c/d", b"\xff\x00")]),
                         b"one\n\n\xff\x00\n")

    def test_topic_and_headers(self):
        messages = [("a", b"one", "-H", "k=v", "-H", "l=w"), ("b", b"two")]
        self.assertEqual(self.shown(["a", "b", "--topic"], messages),
                         b"a one\nb two\n")
        self.assertEqual(self.shown(["a", "b", "--headers"], messages),
                         b"[k=v, l=w] one\n[] two\n")
        self.assertEqual(self.shown(["a", "b", "-T", "--headers"], messages),
                         b"a [k=v, l=w] one\nb [] two\n")

    def test_raw(self):
        self.assertEqual(self.shown(["a", "--raw"], [("a", b"x\0"),
                                                     ("a", b"y\n")]),
                         b"x\0y\n")

    def test_json(self):
        lines = self.shown(["a", "--json"], [
            ("a", "h\u00e4\n".encode(), "-H", "k=v"),
            ("a", b"\xff\0", "--reply-to", "r")]).splitlines()
        self.assertEqual(json.loads(lines[0]), {
            "topic": "a", "payload": "h\u00e4\n", "retained": False,
            "headers": [{"key": "k", "value": "v"}]})
        self.assertEqual(json.loads(lines[1]), {
            "topic": "a", "payload_base64": "/wA=", "reply_to": "r",
            "retained": False, "headers": []})

    def test_format(self):
        messages = [("a", b"one", "-H", "k=v"), ("a/b", b"two")]
        self.assertEqual(
            self.shown(["a/#", "--format", "%n %t %s %{k} %p\\n"], messages),
            b"1 a 3 v one\n2 a/b 3  two\n")
        self.assertEqual(self.shown(["a/#", "-F", "%x,"], messages),
                         b"6f6e65,74776f,")

    def test_overlapping_filters_print_once(self):
        self.assertEqual(
            self.shown(["#", "a/+", "a/b", "+/b"],
                       [("a/b", b"1"), ("a/c", b"2"), ("a/b", b"3"),
                        ("x/y", b"4")]), b"1\n2\n3\n4\n")

    def test_many_filters(self):
        filters = ["f%d" % i for i in range(500)]
        self.assertEqual(self.shown(filters, [("f499", b"last"),
                                              ("f0", b"first")]),
                         b"last\nfirst\n")

    def test_count_prints_no_more(self):
        sub = self.subscriber(self.server, "t", "--count", "3")
        self.expect(harness.OK, "pub", "-s", self.server, "t", "x",
                    "--count", "1000")
        self.assertEqual(sub.wait(), harness.OK)
        self.assertEqual(sub.stdout.bytes(), b"x\n" * 3)

    def test_timeout(self):
        for more, code in ((["t"], harness.TIMEOUT),
                           (["t", "--count", "2"], harness.TIMEOUT),
                           (["kept"], harness.OK),
                           (["kept", "--count", "2"], harness.TIMEOUT)):
            self.pub("kept", b"v", "--retain")
            result = self.expect(code, "sub", "-s", self.server, *more,
                                 "--timeout", "200ms")
            self.assertEqual("messages came in time" in result.err,
                             code == harness.TIMEOUT, result)

    def test_retained(self):
        self.pub("t", b"v", "--retain")
        result = self.expect(harness.OK, "sub", "-s", self.server, "t",
                             "--count", "1", "--format", "%f %p")
        self.assertEqual(result.out, b"retained v")
        self.expect(harness.TIMEOUT, "sub", "-s", self.server, "t",
                    "--no-retained", "--timeout", "100ms")

    def test_group(self):
        """Two members share, a third outside the group gets everything."""
        members = [self.subscriber(self.server, "t", "--group", "g")
                   for _ in range(2)]
        alone = self.subscriber(self.server, "t", "--count", "100")
        self.expect(harness.OK, "pub", "-s", self.server, "t", "--lines",
                    stdin=b"".join(b"%d\n" % i for i in range(100)))
        self.assertEqual(alone.wait(), harness.OK)
        harness.wait_until(lambda: sum(
            m.stdout.bytes().count(b"\n") for m in members) == 100,
            "100 messages in the group")
        both = b"".join(m.stdout.bytes() for m in members).splitlines()
        self.assertEqual(sorted(map(int, both)), list(range(100)))

    def test_overflow_policy_is_asked_for(self):
        for policy in ("drop-oldest", "drop-newest", "conflate",
                       "disconnect"):
            sub = self.subscriber(self.server, "o/" + policy, "--overflow",
                                  policy)
            answer = json.loads(self.expect(
                harness.OK, "stats", "subscriptions", "--json", "-s",
                self.server).out)
            entry, = [s for s in answer["subscriptions"]
                      if s["filter"] == "o/" + policy]
            self.assertEqual(entry["overflow"].replace("_", "-"), policy)
            sub.signal(signal.SIGTERM)
            self.assertEqual(sub.wait(), harness.OK)

    def test_refused_filters(self):
        for bad in ("a/#/b", "", "a+"):
            result = self.expect(harness.USAGE, "sub", "-s", self.server,
                                 bad)
            self.assertEqual(len(result.err.splitlines()), 1, result)
        self.expect(harness.USAGE, "sub", "-s", self.server, "a", "--group",
                    "a/b")

    def test_refused_by_the_broker(self):
        server = self.broker(max_subscriptions=2).tcp
        result = self.expect(harness.FAILED, "sub", "-s", server, "a", "b",
                             "c")
        self.assertIn("subscription", result.err)

    def test_signals_end_it_in_order(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            sub = self.subscriber(self.server, "t", "u")
            self.pub("t", b"m")
            sub.expect_out(b"m\n")
            sub.signal(number)
            self.assertEqual(sub.wait(), harness.OK)
            self.assertIn("unsubscribed t: matched 1, delivered 1, dropped 0",
                          sub.error_text())
            self.assertIn("unsubscribed u: matched 0", sub.error_text())
        harness.wait_until(lambda: b"brokerctl sub" not in self.expect(
            harness.OK, "stats", "connections", "-s", self.server).out,
            "no connection left over")

    def test_ready_fd(self):
        reading, writing = os.pipe()
        self.start("sub", "-s", self.server, "a", "b", "--ready-fd",
                   str(writing), pass_fds=[writing])
        os.close(writing)
        with os.fdopen(reading, "rb") as file:
            self.assertEqual(file.read(), b"\n")
        self.expect(harness.OK, "pub", "-s", self.server, "b", "m",
                    "--require-subscribers")

    def test_ready_fd_that_is_not_open(self):
        result = self.expect(harness.USAGE, "sub", "-s", self.server, "a",
                             "--ready-fd", "77")
        self.assertIn("77>file", result.err)

    def test_nothing_on_standard_error(self):
        sub = self.start("sub", "-s", self.server, "t", "--count", "1")
        harness.wait_until(lambda: self.ctl(
            "pub", "-s", self.server, "t", "m",
            "--require-subscribers").code == harness.OK, "a subscriber")
        self.assertEqual(sub.wait(), harness.OK)
        self.assertEqual(sub.error_text(), "")


if __name__ == "__main__":
    unittest.main()
