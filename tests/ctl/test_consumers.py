# SPDX-License-Identifier: MIT
"""brokerctl consumer, sub --consumer and explain consumer: what is said to the
broker, and what is made of its answers."""
import json
import struct
import threading
import unittest

import fake_broker
import harness

CONSUME, CONSUME_REPLY, POSITION, ACK = 0x32, 0x33, 0x34, 0x35
ACK_THESE, ACK_UP_TO = 1, 2
CUMULATIVE, EACH = 2, 3


class ConsumerBroker(fake_broker.FakeBroker):
    """Gives messages 1 to `count` to whoever joins a consumer, and notes what
    is acknowledged: (kind, first, last)."""

    def __init__(self, count, mode=EACH):
        self.count = count
        self.mode = mode
        self.joined = []
        self.acks = []
        self.changed = threading.Condition()
        super().__init__(b"{}", features=fake_broker.STREAMS)

    def _answer_to(self, kind, number, body):
        if kind == CONSUME:
            return self._join(number, body)
        if kind == ACK:
            with self.changed:
                for at in range(8, len(body), 16):
                    first, last = struct.unpack(">QQ", body[at:at + 16])
                    self.acks.append((body[0], first, last))
                self.changed.notify_all()
        return super()._answer_to(kind, number, body)

    def _join(self, number, body):
        stream, name, filter_len, _, _, _, window = struct.unpack(
            ">HHHBBQI", body[:20])
        assert (stream, filter_len) == (0, 0)
        self.joined.append((body[20:20 + name].decode(), window))
        given = min(self.count, window) if window else self.count
        reply = fake_broker.frame(CONSUME_REPLY, number, struct.pack(
            ">QQQB3xI", 1, self.count, 1, self.mode, window or 100))
        messages = b"".join(
            fake_broker.frame(fake_broker.PUBLISH, 0, struct.pack(
                ">HH", 1, 0) + b"t" + b"m%d" % n)
            for n in range(1, given + 1))
        return (reply +
                fake_broker.frame(fake_broker.CONTEXT, 0,
                                  struct.pack(">I", number)) +
                fake_broker.frame(POSITION, number, struct.pack(
                    ">QQII", 1, 1000, given, 2)) + messages)

    def acknowledged(self):
        """The sequences of ACK 1."""
        return sorted(n for kind, first, last in self.acks
                      if kind == ACK_THESE for n in range(first, last + 1))


class Taking(harness.CtlTest):
    def fake(self, *arguments, **more):
        broker = ConsumerBroker(*arguments, **more)
        self.addCleanup(broker.close)
        return broker

    def sub(self, broker, *arguments, code=harness.OK):
        return self.expect(code, "sub", "-s", broker.address, "--consumer",
                           "work", *arguments)

    def test_what_is_printed_is_acknowledged(self):
        broker = self.fake(3)
        result = self.sub(broker, "-n", "3", "--format", r"%p %Q %D\n")
        self.assertEqual(result.out, b"m1 1 2\nm2 2 2\nm3 3 2\n")
        self.assertEqual(broker.acknowledged(), [1, 2, 3])

    def test_no_more_than_wanted_is_taken(self):
        broker = self.fake(10)
        result = self.sub(broker, "-n", "2")
        self.assertEqual(result.out, b"m1\nm2\n")
        self.assertEqual(broker.joined, [("work", 2)])
        self.assertEqual(broker.acknowledged(), [1, 2])

    def test_the_window(self):
        broker = self.fake(10)
        self.sub(broker, "-n", "5", "--window", "5")
        self.sub(broker, "-n", "1", "--window", "5")
        self.assertEqual(broker.joined, [("work", 5), ("work", 1)])

    def test_nothing_is_acknowledged_if_that_is_wanted(self):
        broker = self.fake(3)
        self.sub(broker, "-n", "3", "--ack", "no")
        self.assertEqual(broker.acks, [])

    def test_nothing_is_acknowledged_that_was_not_written(self):
        broker = self.fake(3)
        with open("/dev/full", "wb") as full:
            process = self.start("sub", "-s", broker.address, "--consumer",
                                 "work", "-n", "3", stdout=full)
            self.assertEqual(process.wait(), harness.OUTPUT)
        self.assertEqual(broker.joined, [("work", 3)])
        self.assertEqual(broker.acks, [])

    def test_cumulative(self):
        broker = self.fake(3, CUMULATIVE)
        self.sub(broker, "-n", "3")
        self.assertEqual(broker.acks[-1], (ACK_UP_TO, 3, 3))
        self.assertEqual({kind for kind, _, _ in broker.acks}, {ACK_UP_TO})

    def test_a_signal_acknowledges_what_was_printed(self):
        broker = self.fake(3)
        process = self.start("sub", "-s", broker.address, "--consumer", "work")
        process.expect_out(b"m3\n")
        process.signal(15)
        self.assertEqual(process.wait(), harness.OK)
        self.assertEqual(broker.acknowledged(), [1, 2, 3])

    def test_acknowledgements_go_out_at_once(self):
        broker = self.fake(3)
        process = self.start("sub", "-s", broker.address, "--consumer", "work")
        with broker.changed:
            self.assertTrue(broker.changed.wait_for(
                lambda: broker.acknowledged() == [1, 2, 3], harness.DEADLINE))
        process.signal(15)
        process.wait()


class Asking(harness.CtlTest):
    """Requests, and what comes back, with a broker that says what the test
    wants."""

    def ask(self, answer, *arguments, code=harness.OK):
        broker = fake_broker.FakeBroker(json.dumps(answer).encode())
        self.addCleanup(broker.close)
        result = self.expect(code, *arguments, "-s", broker.address)
        requests = [json.loads(payload) for payload in broker.payloads]
        return result, requests

    def test_add(self):
        result, requests = self.ask(
            {"name": "c"}, "consumer", "add", "c", "--stream", "S", "--filter",
            "a/#", "--from", "-1h", "--ack", "each", "--window", "50",
            "--ack-wait", "30s", "--backoff", "1s,5s,1.5m",
            "--max-deliveries", "0", "--dead-letter", "dead/c")
        self.assertEqual(requests, [{
            "name": "c", "stream": "S", "filter": "a/#",
            "from": {"ago_ms": 3600000}, "ack": "each", "window": 50,
            "ack_wait_ms": 30000, "backoff_ms": [1000, 5000, 90000],
            "max_deliveries": 0, "dead_letter": "dead/c"}])
        self.assertEqual(result.out, b"")
        result, requests = self.ask({"name": "c"}, "consumer", "add", "c",
                                    "--stream", "S", "--json")
        self.assertEqual(requests, [{"name": "c", "stream": "S"}])
        self.assertEqual(result.out, b'{"name":"c"}\n')

    def test_from(self):
        for text, value in (
                ("first", "first"), ("last", "last"), ("new", "new"),
                ("seq:7", {"sequence": 7}), ("last:3", {"last": 3}),
                ("time:2026-11-22T08:00Z", {"time_ms": 1795334400000})):
            _, requests = self.ask({}, "consumer", "reset", "c",
                                   "--from=" + text)
            self.assertEqual(requests, [{"name": "c", "from": value}])

    def test_info(self):
        result, requests = self.ask(
            {"name": "c", "ack_wait_ms": 30000, "max_deliveries": 0,
             "backoff_ms": [1000, 90500], "filter": "", "window": 100},
            "consumer", "info", "c")
        self.assertEqual(requests, [{"name": "c"}])
        rows = dict(line.split(None, 1)
                    for line in result.out.decode().splitlines())
        self.assertEqual(rows, {
            "name": "c", "ack_wait": "30s", "max_deliveries": "no limit",
            "backoff": "1s, 90500ms", "filter": "-", "window": "100"})

    def test_ls(self):
        result, requests = self.ask(
            {"total": 2, "consumers": [
                {"stream": "S", "name": "a", "next": 7, "unknown": 1},
                {"stream": "S", "name": "b", "next": 8, "unknown": 2}]},
            "consumer", "ls", "--stream", "S")
        self.assertEqual(requests[0]["stream"], "S")
        self.assertEqual([line.split() for line in
                          result.out.decode().splitlines()],
                         [["name", "stream", "next"], ["a", "S", "7"],
                          ["b", "S", "8"]])
        result, _ = self.ask({"total": 0, "consumers": []}, "consumer", "ls")
        self.assertEqual(result.out, b"no consumers\n")

    def test_rm(self):
        result, requests = self.ask({}, "consumer", "rm", "c")
        self.assertEqual((result.out, requests), (b"", [{"name": "c"}]))

    def test_explain(self):
        result, requests = self.ask(
            {"name": "c", "reasons": [
                {"reason": "no-connection", "text": "nobody has joined"},
                {"reason": "window", "text": "all are under way"}]},
            "explain", "consumer", "c")
        self.assertEqual(requests, [{"name": "c"}])
        self.assertEqual(result.out.decode().splitlines(), [
            "no-connection: nobody has joined", "window: all are under way"])
        result, _ = self.ask({"name": "c", "reasons": []}, "explain",
                             "consumer", "c")
        self.assertIn(b"nothing keeps", result.out)

    def test_an_answer_that_is_none(self):
        for command in (["consumer", "ls"], ["stream", "ls"]):
            result, _ = self.ask({"other": 1}, *command, code=harness.FAILED)
            self.assertIn("has no list", result.err)


class Working(harness.CtlTest):
    """With a real broker."""

    def setUp(self):
        super().setUp()
        self.server = self.broker(store=self.path("store")).tcp
        self.run_ctl("stream", "add", "S", "--topics", "s/#")

    def run_ctl(self, command, *arguments, code=harness.OK, **more):
        return self.expect(code, command, "-s", self.server, *arguments,
                           **more)

    def add(self, *more):
        self.run_ctl("consumer", "add", "work", "--stream", "S", *more)

    def fill(self, count):
        lines = b"".join(b"%d\n" % n for n in range(1, count + 1))
        self.run_ctl("pub", "s/a", "--lines", stdin=lines)

    def take(self, count, *more):
        return self.run_ctl("sub", "--consumer", "work", "-n", str(count),
                            "--format", r"%p/%D\n",
                            *more).out.decode().split()

    def info(self):
        return json.loads(
            self.run_ctl("consumer", "info", "work", "--json").out)

    def test_what_is_acknowledged_does_not_come_again(self):
        self.add("--from", "first")
        self.fill(5)
        self.assertEqual(self.take(2), ["1/1", "2/1"])
        self.assertEqual(self.info()["floor"], 2)
        self.assertEqual(self.take(2, "--ack", "no"), ["3/1", "4/1"])
        self.assertEqual(self.info()["floor"], 2)
        self.assertEqual(sorted(self.take(3, "--window", "1")),
                         ["3/2", "4/2", "5/1"])
        self.assertEqual(self.info()["floor"], 5)

    def test_cumulative(self):
        self.add("--ack", "cumulative")
        self.fill(5)
        self.assertEqual(self.take(3), ["1/1", "2/1", "3/1"])
        self.assertEqual(self.info()["floor"], 3)

    def test_reset(self):
        self.add()
        self.fill(5)
        self.take(5)
        self.run_ctl("consumer", "reset", "work", "--from=last:2")
        self.assertEqual([text.split("/")[0] for text in self.take(2)],
                         ["4", "5"])

    def test_work_is_shared(self):
        self.add()
        workers = [self.start("sub", "-v", "-s", self.server, "--consumer",
                              "work", "-w", "1") for _ in range(2)]
        for worker in workers:
            self.subscribed(worker)
        self.fill(50)
        harness.wait_until(lambda: self.info()["floor"] == 50,
                           "everything is acknowledged")
        for worker in workers:
            worker.signal(15)
            self.assertEqual(worker.wait(), harness.OK)
        shares = [worker.stdout.bytes().split() for worker in workers]
        self.assertTrue(all(shares), "both have worked")
        self.assertEqual(sorted(map(int, shares[0] + shares[1])),
                         list(range(1, 51)))

    def test_who_is_killed_leaves_its_work_to_others(self):
        self.add("--ack-wait", "1h")
        self.fill(3)
        worker = self.start("sub", "-s", self.server, "--consumer", "work",
                            "--ack", "no")
        worker.expect_out(b"3\n")
        worker.signal(9)
        worker.wait()
        self.assertEqual(self.take(3), ["1/2", "2/2", "3/2"])

    def test_a_consumer_that_is_removed(self):
        self.add()
        worker = self.start("sub", "-v", "-s", self.server, "--consumer",
                            "work")
        self.subscribed(worker)
        self.run_ctl("consumer", "rm", "work")
        self.assertEqual(worker.wait(), harness.FAILED)
        self.assertIn("UNKNOWN_CONSUMER", worker.error_text())
        result = self.run_ctl("sub", "--consumer", "work", code=harness.FAILED)
        self.assertIn("brokerctl consumer ls", result.err, "the remedy")

    def test_dead_letters(self):
        self.run_ctl("stream", "add", "DEAD", "--topics", "dead/#")
        self.add("--max-deliveries", "1", "--dead-letter", "dead/work")
        self.fill(1)
        self.take(1, "--ack", "no")
        result = self.run_ctl("sub", "--stream", "DEAD", "-n", "1",
                              "--format", "%p %{dead-letter-consumer}")
        self.assertEqual(result.out, b"1 work")

    def test_explain(self):
        self.add()
        result = self.run_ctl("explain", "consumer", "work")
        self.assertRegex(result.out.decode(), r"(?m)^nobody: ")
        result = self.run_ctl("explain", "consumer", "none",
                              code=harness.FAILED)
        self.assertIn("UNKNOWN_CONSUMER", result.err)


if __name__ == "__main__":
    unittest.main()
