# SPDX-License-Identifier: MIT
"""brokerctl stream, and publishing to and reading from streams."""
import json
import re
import struct
import time
import unittest

import fake_broker
import harness

DELIVER_AT, STREAM = 0x11, 0x20


class Streams(harness.CtlTest):
    def setUp(self):
        super().setUp()
        self.server = self.broker(store=self.path("store")).tcp

    def run_ctl(self, command, *arguments, code=harness.OK, **more):
        return self.expect(code, command, "-s", self.server, *arguments,
                           **more)

    def add(self, name="ORDERS", topics="orders/#", *more):
        self.run_ctl("stream", "add", name, "--topics", topics, *more)

    def info(self, name="ORDERS"):
        return json.loads(self.run_ctl("stream", "info", name, "--json").out)

    def fill(self, count, topic="orders/new"):
        lines = b"".join(b"%d\n" % n for n in range(1, count + 1))
        self.run_ctl("pub", topic, "--lines", stdin=lines)

    def read(self, *arguments):
        """Payloads up to the end."""
        return self.run_ctl("sub", "--until-end", *arguments).out.decode()

    # ---- keeping streams --------------------------------------------------

    def test_add_edit_info_rm(self):
        self.add("ORDERS", "orders/#,bills/+", "--max-age", "7d",
                 "--max-bytes", "10G", "--max-messages", "1000",
                 "--discard", "new")
        stream = self.info()
        self.assertEqual(stream["topics"], ["orders/#", "bills/+"])
        self.assertEqual(stream["max_age_ms"], 7 * 24 * 3600 * 1000)
        self.assertEqual(stream["max_bytes"], 10 << 30)
        self.assertEqual(stream["max_messages"], 1000)
        self.assertEqual(stream["discard"], "new")
        self.run_ctl("stream", "edit", "ORDERS", "--max-messages", "0")
        stream = self.info()
        self.assertEqual(stream["max_messages"], 0)
        self.assertEqual(stream["max_bytes"], 10 << 30, "and nothing else")
        text = self.run_ctl("stream", "info", "ORDERS").out.decode()
        self.assertRegex(text, r"(?m)^topics +orders/#, bills/\+$")
        self.assertRegex(text, r"(?m)^max_age +7d$")
        self.assertRegex(text, r"(?m)^max_messages +no limit$")
        self.run_ctl("stream", "rm", "ORDERS", "--yes")
        result = self.run_ctl("stream", "info", "ORDERS", code=harness.FAILED)
        self.assertIn("ORDERS: ", result.err)
        self.assertIn("UNKNOWN_STREAM", result.err)
        self.assertIn("brokerctl stream ls", result.err, "the remedy")

    def test_a_refusal_has_the_words_of_the_broker(self):
        self.add()
        result = self.run_ctl("stream", "add", "MORE", "--topics",
                              "orders/new", code=harness.FAILED)
        self.assertIn("STREAM_OVERLAP", result.err)
        self.assertIn("ORDERS", result.err)

    def test_ls(self):
        self.assertEqual(self.run_ctl("stream", "ls").out, b"no streams\n")
        self.add("A", "a")
        self.add("B", "b")
        self.fill(3, "b")
        header, *rows = self.run_ctl("stream", "ls").out.decode().splitlines()
        self.assertEqual(header.split()[:3], ["name", "topics", "messages"])
        self.assertEqual(sorted(row.split()[:3] for row in rows),
                         [["A", "a", "0"], ["B", "b", "3"]])
        answer = json.loads(self.run_ctl("stream", "ls", "-j").out)
        self.assertEqual(answer["total"], 2)

    def test_purge(self):
        self.add()
        self.fill(10)
        self.run_ctl("stream", "purge", "ORDERS", "--before", "4")
        self.assertEqual(self.info()["messages"], 7)
        self.run_ctl("stream", "purge", "ORDERS", "--keep", "2")
        self.assertEqual(self.info()["messages"], 2)
        self.run_ctl("stream", "purge", "ORDERS", "--yes")
        self.assertEqual(self.info()["messages"], 0)
        self.assertEqual(self.info()["last_sequence"], 10)

    def test_without_a_store(self):
        server = self.broker().tcp
        result = self.expect(harness.FAILED, "stream", "ls", "-s", server)
        self.assertIn("start brokerd with --store", result.err)

    # ---- publishing -------------------------------------------------------

    def test_what_is_acknowledged_is_said(self):
        self.add()
        result = self.run_ctl("pub", "-v", "orders/new", "one")
        self.assertIn("brokerctl: ORDERS 1 synced\n", result.err)
        result = self.run_ctl("pub", "orders/new", "two")
        self.assertEqual(result.err, "")

    def test_nobody_has_to_be_subscribed(self):
        self.add()
        self.run_ctl("pub", "--require-subscribers", "orders/new", "one")

    def test_expect_last(self):
        self.add()
        self.run_ctl("pub", "orders/new", "one", "--expect-last", "0")
        self.run_ctl("pub", "orders/new", "two", "--expect-last", "1")
        result = self.run_ctl("pub", "orders/new", "three", "--expect-last",
                              "1", code=harness.FAILED)
        self.assertIn("WRONG_LAST_SEQUENCE", result.err)
        self.assertIn("the last sequence is 2\n", result.err)
        self.assertEqual(self.info()["messages"], 2)
        result = self.run_ctl("pub", "else", "x", "--expect-last", "0",
                              code=harness.FAILED)
        self.assertIn("NOT_CAPTURED", result.err)

    def test_batch(self):
        self.add()
        result = self.run_ctl("pub", "-v", "orders/new", "--lines", "--batch",
                              "--expect-last", "0", stdin=b"a\n\nc\n")
        self.assertIn("brokerctl: ORDERS 1-3 synced\n", result.err)
        self.run_ctl("pub", "orders/new", "--lines", "--batch",
                     "--expect-last", "0", stdin=b"d\ne\n",
                     code=harness.FAILED)
        self.assertEqual(self.read("--stream", "ORDERS"), "a\n\nc\n")
        self.run_ctl("pub", "orders/new", "--lines", "--batch", stdin=b"",
                     code=harness.DATA)

    def test_a_batch_that_is_too_large(self):
        server = self.broker(store=self.path("small"),
                             max_body_bytes=65536).tcp
        line = b"x" * 30000 + b"\n"
        result = self.expect(harness.DATA, "pub", "-s", server, "t", "--lines",
                             "--batch", stdin=line * 3)
        self.assertIn("65536", result.err)

    def test_ttl(self):
        self.add()
        self.run_ctl("pub", "orders/new", "gone", "--ttl", "1ms")
        self.run_ctl("pub", "orders/new", "stays")
        result = self.run_ctl("sub", "--stream", "ORDERS", "--until-end",
                              code=harness.GAP)
        self.assertEqual(result.out, b"stays\n")
        self.assertIn("expired", result.err)
    # ---- reading ----------------------------------------------------------

    def test_from(self):
        self.add()
        self.fill(9)
        for start, lines in (("first", "123456789"), ("last", "9"),
                             ("new", ""), ("seq:7", "789"), ("last:2", "89"),
                             ("-1h", "123456789"),
                             ("time:2000-01-01T00:00", "123456789")):
            with self.subTest(start=start):
                expected = "".join(c + "\n" for c in lines)
                self.assertEqual(
                    self.read("orders/#", "--from", start), expected)
                self.assertEqual(
                    self.read("--stream=ORDERS", "--from=" + start), expected)

    def test_a_filter_within_a_stream(self):
        self.add()
        self.run_ctl("pub", "orders/a", "1")
        self.run_ctl("pub", "orders/b", "2")
        self.run_ctl("pub", "orders/a", "3")
        self.assertEqual(self.read("--stream", "ORDERS", "orders/a"),
                         "1\n3\n")
        self.assertEqual(self.read("orders/b"), "2\n")

    def test_positions_in_formats_and_json(self):
        self.add()
        self.fill(2)
        self.assertRegex(
            self.read("--stream", "ORDERS", "--format", r"%Q %S %p[%D]\n"),
            r"\A1 20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z 1\[\]\n2 ")
        first, _ = map(json.loads, self.read(
            "--stream", "ORDERS", "--json").splitlines())
        self.assertEqual(first["sequence"], 1)
        self.assertRegex(first["time"], r"^20.*Z$")
        self.assertNotIn("deliveries", first)

    def test_what_comes_later_is_read_as_well(self):
        self.add()
        self.fill(2)
        reader = self.start("sub", "-s", self.server, "--stream", "ORDERS",
                            "-n", "3")
        reader.expect_out(b"1\n2\n")
        self.run_ctl("pub", "orders/new", "three")
        self.assertEqual(reader.wait(), harness.OK)
        self.assertEqual(reader.stdout.bytes(), b"1\n2\nthree\n")

    def test_a_reader_survives_a_restart_of_the_broker(self):
        listen = ["unix://" + self.path("s.sock")]
        broker = self.broker(listen, store=self.path("other"))
        server = listen[0]
        self.expect(harness.OK, "stream", "add", "S", "--topics", "t", "-s",
                    server)
        self.expect(harness.OK, "pub", "-s", server, "t", "one")
        reader = self.start("sub", "-s", server, "--stream", "S", "-n", "2")
        reader.expect_out(b"one\n")
        broker.stop()
        self.broker(listen, store=self.path("other"))
        self.expect(harness.OK, "pub", "-s", server, "t", "two")
        self.assertEqual(reader.wait(), harness.OK, reader.error_text())
        self.assertEqual(reader.stdout.bytes(), b"one\ntwo\n")
        self.assertFalse(re.search("gap", reader.error_text()))

    def test_no_such_stream(self):
        result = self.run_ctl("sub", "--stream", "NOPE", code=harness.FAILED)
        self.assertIn("UNKNOWN_STREAM", result.err)
        result = self.run_ctl("sub", "a/b", "--from", "first",
                              code=harness.FAILED)
        self.assertIn("UNKNOWN_STREAM", result.err)

    def test_a_stream_that_is_removed(self):
        self.add()
        reader = self.start("sub", "-v", "-s", self.server, "--stream",
                            "ORDERS")
        self.subscribed(reader)
        self.run_ctl("stream", "rm", "ORDERS", "--yes")
        self.assertEqual(reader.wait(), harness.FAILED)
        self.assertIn("UNKNOWN_STREAM", reader.error_text())


class LaterBroker(fake_broker.FakeBroker):
    """Stores what it is given for its time, of which it keeps note."""

    def __init__(self):
        self.times = []
        super().__init__(b"", features=fake_broker.STREAMS)

    def _published(self, number, body):
        topic, size = struct.unpack(">HH", body[:4])
        fields = dict(fake_broker.fields_of(body[4 + topic:4 + topic + size]))
        self.times.append(struct.unpack(">Q", fields[DELIVER_AT])[0])
        return fake_broker.frame(
            fake_broker.PUBACK, number,
            struct.pack(">B3xIII", 3, 1, 0, 0) +
            struct.pack(">HH", STREAM, 1) + b"S")


class Later(harness.CtlTest):
    def setUp(self):
        super().setUp()
        self.broker = LaterBroker()
        self.addCleanup(self.broker.close)

    def publish(self, when):
        return self.expect(harness.OK, "pub", "-v", "-s", self.broker.address,
                           "t", "x", "--deliver-at", when)

    def test_a_date(self):
        result = self.publish("2026-11-22T08:00:30Z")
        self.assertEqual(self.broker.times, [1795334430000])
        self.assertIn("brokerctl: S synced, waits for its time\n", result.err)

    def test_in_a_while(self):
        before = time.time() * 1000
        self.publish("+2h")
        after = time.time() * 1000
        self.assertGreaterEqual(self.broker.times[0], int(before) + 7200000)
        self.assertLessEqual(self.broker.times[0], after + 7200000)


if __name__ == "__main__":
    unittest.main()
