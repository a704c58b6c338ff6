# SPDX-License-Identifier: MIT
"""brokerctl bench: what it counts, what it verifies, and how it ends.

No test depends on how fast anything is.
"""
import json
import resource
import signal
import struct
import subprocess
import unittest

import harness
from bench_harness import BenchTest
from lying_broker import LyingBroker


class Modes(BenchTest):
    def test_both(self):
        figures = self.figures("both", "-n", "500", "--subscribers", "3",
                               "--publishers", "2")
        self.assertEqual(figures["published"], 500)
        self.assertEqual(figures["acknowledged"], 500)
        self.assertEqual(figures["matched"], 1500)
        self.assertEqual(figures["delivered"], 1500)
        for none in ("lost", "gaps", "difference", "refused",
                     "queue_refused"):
            self.assertEqual(figures[none], 0, none)
        for unknown in ("failed", "unsent", "late_p99_ns", "late_max_ns"):
            self.assertIsNone(figures[unknown], unknown)
        self.expect_histogram(figures, "latency")
        self.expect_histogram(figures, "ack_latency")
        self.assertAlmostEqual(figures["published_bytes_per_s"],
                               figures["published_per_s"] * 128, delta=1)
        self.assertAlmostEqual(figures["delivered_bytes_per_s"],
                               figures["delivered_per_s"] * 128, delta=1)
        self.assertGreater(figures["elapsed_s"], 0)
        self.assertEqual(self.errors, "")

    def test_pub(self):
        figures = self.figures("pub", "-n", "500", "--publishers", "3")
        self.assertEqual(figures["published"], 500)
        self.assertEqual(figures["acknowledged"], 500)
        self.assertEqual(figures["matched"], 0)
        self.assertIsNone(figures["delivered"])
        self.assertIsNone(figures["difference"])
        self.expect_no_histogram(figures, "latency")
        self.expect_histogram(figures, "ack_latency")

    def test_fanout(self):
        run = self.run_bench("fanout", "-n", "20")
        self.assertEqual(run["settings"]["subscribers"], 100)
        self.assertEqual(run["figures"]["delivered"], 2000)
        figures = self.figures("fanout", "-n", "20", "--subscribers", "7")
        self.assertEqual(figures["delivered"], 140)

    def test_request(self):
        for arguments in ([], ["-w", "20", "--publishers", "2",
                               "--subscribers", "3", "--topics", "5"],
                          ["-p", "0"]):
            with self.subTest(arguments=arguments):
                figures = self.figures("request", "-n", "200", *arguments)
                self.assertEqual(figures["published"], 200)
                self.assertEqual(figures["delivered"], 200)
                self.assertEqual(figures["failed"], 0)
                self.assertEqual(figures["difference"], 0)
                self.assertIsNone(figures["acknowledged"])
                self.expect_histogram(figures, "latency")
                self.expect_no_histogram(figures, "ack_latency")
                self.assertEqual(self.errors, "")

    def beside(self, *arguments):
        """A `bench sub` that is ready."""
        sub = self.start(*self.arguments("sub", "-v", "--json", *arguments))
        return self.subscribed(sub)

    def test_sub_beside_pub(self):
        """The publisher's warm-up is not counted, but booked."""
        sub = self.beside("-n", "600", "--subscribers", "2")
        figures = self.figures("pub", "-n", "300", "--warmup", "100ms")
        self.assertEqual(figures["matched"], 600)
        self.assertEqual(sub.wait(), harness.OK, sub.error_text())
        run = json.loads(sub.stdout.bytes())
        self.assertTrue(run["complete"])
        self.assertEqual(run["figures"]["delivered"], 600)
        self.assertEqual(run["figures"]["difference"], 0)
        self.assertIsNone(run["figures"]["published"])
        self.expect_histogram(run["figures"], "latency")

    def test_sub_counts_no_more_than_it_should(self):
        """Even if more comes at once."""
        sub = self.beside("-n", "10")
        sub.signal(signal.SIGSTOP)
        self.figures("pub", "-n", "100")
        sub.signal(signal.SIGCONT)
        self.assertEqual(sub.wait(), harness.OK, sub.error_text())
        figures = json.loads(sub.stdout.bytes())["figures"]
        self.assertEqual(figures["delivered"], 10)
        self.assertEqual(figures["difference"], 0)

    def test_sub_with_a_warmup_and_a_time(self):
        sub = self.beside("-d", "100ms", "--warmup", "100ms")
        pub = self.start(*self.arguments("pub", "-d", "60s", "-r", "500",
                                         "--warmup", "0"))
        self.assertEqual(sub.wait(), harness.OK, sub.error_text())
        run = json.loads(sub.stdout.bytes())
        self.assertGreater(run["figures"]["delivered"], 0)
        self.assertEqual(run["figures"]["difference"], 0)
        pub.signal(signal.SIGTERM)
        self.assertEqual(pub.wait(), harness.OK)

    def test_sub_is_not_confused_by_other_messages(self):
        """Neither by those without a stamp, nor by another machine's."""
        sub = self.beside("-n", "3")
        foreign = struct.pack("=IIQ", 0x62726b4d, 1, 1)
        self.expect(harness.OK, "pub", "-s", self.server, "bench/0", "x")
        for _ in range(2):
            self.expect(harness.OK, "pub", "-s", self.server, "bench/0",
                        "--stdin", stdin=foreign)
        self.assertEqual(sub.wait(), harness.OK, sub.error_text())
        figures = json.loads(sub.stdout.bytes())["figures"]
        self.assertEqual(figures["delivered"], 3)
        self.expect_no_histogram(figures, "latency")


class Options(BenchTest):
    def test_duration(self):
        run = self.run_bench("both", "-d", "150ms")
        self.assertEqual(run["settings"]["duration_s"], 0.15)
        self.assertIsNone(run["settings"]["count"])
        self.assertGreaterEqual(run["figures"]["elapsed_s"], 0.15)
        self.assertGreater(run["figures"]["published"], 0)

    def test_the_first_of_count_and_duration(self):
        figures = self.figures("both", "-n", "10", "-d", "60s")
        self.assertEqual(figures["published"], 10)
        figures = self.figures("both", "-n", "1000000000", "-d", "100ms")
        self.assertLess(figures["published"], 1000000000)

    def test_warmup_is_not_counted(self):
        run = self.run_bench("both", "-n", "10", "--warmup", "100ms")
        self.assertEqual(run["settings"]["warmup_s"], 0.1)
        self.assertEqual(run["figures"]["published"], 10)
        self.assertEqual(run["figures"]["delivered"], 10)
        totals = json.loads(self.expect(
            harness.OK, "stats", "-s", self.server, "--json").out)
        self.assertGreater(totals["received_messages"], 10)

    def test_rate(self):
        for mode in ("pub", "both", "fanout", "request"):
            with self.subTest(mode=mode):
                figures = self.figures(mode, "-r", "500", "-d", "300ms")
                self.assertEqual(figures["published"] + figures["unsent"],
                                 150)
                self.assertGreaterEqual(figures["elapsed_s"], 0.29)
                self.assertLessEqual(figures["late_p99_ns"],
                                     figures["late_max_ns"])
        figures = self.figures("both", "-r", "200", "-n", "20")
        self.assertEqual(figures["published"], 20)
        self.assertEqual(figures["unsent"], 0)
        self.assertGreaterEqual(figures["elapsed_s"], 0.095)

    def test_topics_and_prefix(self):
        sub = self.subscriber(self.server, "x/y/+", "-T", "-n", "70")
        self.figures("pub", "-n", "70", "--topics", "7", "--prefix", "x/y",
                     "-p", "0")
        self.assertEqual(sub.wait(), harness.OK)
        lines = sub.stdout.bytes().decode().split()
        self.assertEqual(sorted(lines), sorted(
            ["x/y/%d" % topic for topic in range(7)] * 10))
        figures = self.figures("both", "-n", "70", "--topics", "7")
        self.assertEqual(figures["delivered"], 70)

    def test_runs_beside_each_other(self):
        """They do not count each other's messages."""
        runs = [self.start(*self.arguments(
            "both", "-n", "2000", "--warmup", "0", "--json"))
            for _ in range(3)]
        for run in runs:
            self.assertEqual(run.wait(), harness.OK, run.error_text())
            figures = json.loads(run.stdout.bytes())["figures"]
            self.assertEqual(figures["delivered"], 2000)

    def test_somebody_else_is_subscribed(self):
        self.subscriber(self.server, "#")
        figures = self.figures("both", "-n", "100")
        self.assertEqual(figures["matched"], 200)
        self.assertEqual(figures["delivered"], 100)
        self.assertIn("100 deliveries are not ours", self.errors)

    def test_group(self):
        for subscribers in ("1", "4"):
            figures = self.figures("both", "-n", "400", "-g", "workers",
                                   "--subscribers", subscribers)
            self.assertEqual(figures["matched"], 400)
            self.assertEqual(figures["delivered"], 400)

    def test_without_acknowledgements(self):
        for mode, delivered in (("both", 300), ("fanout", 30000),
                                ("pub", None)):
            with self.subTest(mode=mode):
                run = self.run_bench(mode, "-n", "300", "--no-ack")
                self.assertEqual(run["settings"]["acknowledge"], False)
                self.assertIsNone(run["settings"]["window"])
                self.assertEqual(run["figures"]["published"], 300)
                self.assertIsNone(run["figures"]["acknowledged"])
                self.assertEqual(run["figures"]["delivered"], delivered)
                self.expect_no_histogram(run["figures"], "ack_latency")

    def test_payload(self):
        run = self.run_bench("both", "-n", "10", "-p", "2KiB")
        self.assertEqual(run["settings"]["payload_bytes"], 2048)
        totals = json.loads(self.expect(
            harness.OK, "stats", "-s", self.server, "--json").out)
        self.assertGreater(totals["received_bytes"], 20480)
        self.figures("both", "-n", "3", "-p", "3MiB")

    def test_a_payload_without_room_for_the_time(self):
        for size in ("0", "15"):
            figures = self.figures("both", "-n", "10", "-p", size)
            self.assertIn("a payload of at least 16 bytes", self.errors)
            self.assertEqual(figures["delivered"], 10)
            self.expect_no_histogram(figures, "latency")
            self.expect_histogram(figures, "ack_latency")
        figures = self.figures("both", "-n", "10", "-p", "16")
        self.expect_histogram(figures, "latency")
        self.assertEqual(self.errors, "")

    def test_no_latency(self):
        for mode in ("both", "request"):
            figures = self.figures(mode, "-n", "10", "--no-latency")
            self.expect_no_histogram(figures, "latency")
            self.expect_no_histogram(figures, "ack_latency")
            self.assertEqual(figures["delivered"], 10)

    def test_overflow(self):
        for policy in ("drop-oldest", "drop-newest", "conflate",
                       "disconnect"):
            run = self.run_bench("both", "-n", "10", "--overflow", policy)
            self.assertEqual(run["settings"]["overflow"], policy)
            self.assertEqual(run["figures"]["delivered"], 10)

    def test_more_connections_than_open_files(self):
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)

        def bench(soft, hard):
            return subprocess.run(
                [harness.BROKERCTL, *self.arguments(
                    "fanout", "-n", "3", "--warmup", "0")],
                env=harness.environment(), capture_output=True, check=False,
                timeout=harness.DEADLINE, preexec_fn=lambda:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard)))
        done = bench(64, limits[1])
        self.assertEqual(done.returncode, harness.OK, done.stderr)
        done = bench(64, 64)
        self.assertEqual(done.returncode, harness.FAILED, done.stderr)
        self.assertIn(b"101 connections need", done.stderr)
        self.assertIn(b"ulimit", done.stderr)


class Schedule(BenchTest):
    def setUp(self):
        harness.CtlTest.setUp(self)
        self.process = self.broker()
        self.server = self.process.tcp

    def test_a_stall_delays_all_that_was_due_in_it(self):
        """One message in flight at a time: whoever counts from the sending
        would see the stall in one of them.  The broker stands still for one
        second of three: of all messages a third was late, a tenth by more
        than 0.7 seconds, if none of them is forgotten."""
        for mode in ("both", "request"):
            with self.subTest(mode=mode):
                bench = self.start(*self.arguments(
                    mode, "-r", "500", "-d", "3s", "-w", "1", "--warmup",
                    "0", "--progress", "--json"))
                bench.expect_error("measuring: ")
                self.process.process.signal(signal.SIGSTOP)
                self.assertTrue(bench.stderr.wait_for(
                    lambda data: data.count(b"measuring: ") >= 2))
                self.process.process.signal(signal.SIGCONT)
                self.assertEqual(bench.wait(), harness.OK,
                                 bench.error_text())
                figures = json.loads(bench.stdout.bytes())["figures"]
                self.assertEqual(figures["published"] + figures["unsent"],
                                 1500)
                self.assertGreater(figures["latency_max_ns"], 800000000)
                self.assertGreater(figures["latency_p90_ns"], 400000000)
                self.assertGreater(figures["late_max_ns"], 400000000)


class Ends(BenchTest):
    def setUp(self):
        harness.CtlTest.setUp(self)
        self.process = self.broker()
        self.server = self.process.tcp

    def running(self, mode, *arguments):
        """One that has measured for a while."""
        bench = self.start(*self.arguments(
            mode, "-d", "60s", "--warmup", "0", "--progress", "--json",
            *arguments))
        bench.expect_error("measuring: ")
        return bench

    def test_signals(self):
        cases = [("both", signal.SIGINT), ("request", signal.SIGTERM),
                 ("pub", signal.SIGINT)]
        benches = [self.running(mode) for mode, _ in cases]
        for bench, (mode, number) in zip(benches, cases):
            with self.subTest(mode=mode):
                bench.signal(number)
                self.assertEqual(bench.wait(), harness.OK,
                                 bench.error_text())
                run = json.loads(bench.stdout.bytes())
                self.assertFalse(run["complete"])
                figures = run["figures"]
                self.assertGreater(figures["published"], 0)
                self.assertGreaterEqual(figures["elapsed_s"], 0.9)
                if mode != "pub":
                    self.assertEqual(figures["delivered"],
                                     figures["published"])

    def test_a_signal_while_it_warms_up(self):
        bench = self.start(*self.arguments("both", "-v", "--warmup", "60s"))
        bench.expect_error("subscribed bench/")
        bench.signal(signal.SIGINT)
        self.assertEqual(bench.wait(), harness.OK, bench.error_text())
        self.assertRegex(bench.stdout.bytes(), rb"\npublished +0\n")
        self.assertIn(b"It did not come to its end", bench.stdout.bytes())

    def test_a_signal_before_anything_came(self):
        sub = self.start(*self.arguments("sub", "-v", "--json"))
        sub.expect_error("subscribed bench/+")
        sub.signal(signal.SIGINT)
        self.assertEqual(sub.wait(), harness.OK, sub.error_text())
        run = json.loads(sub.stdout.bytes())
        self.assertFalse(run["complete"])
        self.assertEqual(run["figures"]["delivered"], 0)

    def test_the_broker_dies(self):
        bench = self.running("both")
        self.process.process.signal(signal.SIGKILL)
        self.process.process.wait()
        self.assertEqual(bench.wait(), harness.UNAVAILABLE)
        run = json.loads(bench.stdout.bytes())
        self.assertFalse(run["complete"])
        self.assertGreater(run["figures"]["delivered"], 0)

    def test_the_broker_is_silent(self):
        bench = self.running("both", "--timeout", "300ms")
        self.process.process.signal(signal.SIGSTOP)
        self.assertEqual(bench.wait(), harness.TIMEOUT, bench.error_text())
        self.process.process.signal(signal.SIGCONT)
        self.assertIn("did not come for 300.000 ms", bench.error_text())
        self.assertFalse(json.loads(bench.stdout.bytes())["complete"])

    def test_cannot_connect(self):
        result = self.expect(harness.UNAVAILABLE, "bench", "both", "-s",
                             "unix://" + self.path("nobody"))
        self.assertIn("is brokerd running?", result.err)
        self.assertEqual(result.out, b"")


class Losses(BenchTest):
    def setUp(self):
        harness.CtlTest.setUp(self)
        self.server = self.broker(**harness.SMALL_QUEUES).tcp

    def stopped(self, *arguments):
        """A `bench sub` that falls behind, while 1000 messages come."""
        sub = self.start(*self.arguments("sub", "-v", "--json", "-d", "60s",
                                         *arguments))
        self.subscribed(sub)
        sub.signal(signal.SIGSTOP)
        return sub

    def publish(self, code):
        return self.run_bench("pub", "-n", "1000", "-p", "20000",
                              code=code)["figures"]

    def read_to_the_end(self, sub):
        """It ends when it has all that was queued for it."""
        sub.signal(signal.SIGCONT)
        sub.signal(signal.SIGINT)
        self.assertEqual(sub.wait(), harness.GAP, sub.error_text())
        return json.loads(sub.stdout.bytes())["figures"]

    def test_gaps_are_counted(self):
        sub = self.stopped()
        self.assertEqual(self.publish(harness.OK)["matched"], 1000)
        figures = self.read_to_the_end(sub)
        self.assertGreater(figures["lost"], 0)
        self.assertGreater(figures["gaps"], 0)
        self.assertEqual(figures["delivered"] + figures["lost"], 1000)
        self.assertEqual(figures["difference"], 0)

    def test_queues_that_refuse(self):
        sub = self.stopped("--overflow", "drop-newest")
        figures = self.publish(harness.QUEUE_REFUSED)
        self.assertGreater(figures["queue_refused"], 0)
        self.assertEqual(self.read_to_the_end(sub)["lost"],
                         figures["queue_refused"])

    def test_disconnected(self):
        sub = self.stopped("--overflow", "disconnect")
        self.publish(harness.QUEUE_REFUSED)
        sub.signal(signal.SIGCONT)
        self.assertEqual(sub.wait(), harness.UNAVAILABLE)
        self.assertIn("fell behind", sub.error_text())

    def test_in_one_process(self):
        """Whether anything is lost here is a matter of luck; that it is
        accounted for is not."""
        result = self.ctl(*self.arguments(
            "fanout", "-n", "400", "-p", "20000", "--no-ack", "--warmup",
            "0", "--json"))
        self.assertIn(result.code, (harness.OK, harness.GAP), repr(result))
        figures = json.loads(result.out)["figures"]
        self.assertEqual(figures["delivered"] + figures["lost"], 40000)
        self.assertEqual(figures["difference"], 0)

    def test_refused_messages(self):
        for arguments in ([], ["--no-ack"]):
            run = self.run_bench("both", "-n", "50", "--prefix", "$x",
                                 *arguments, code=harness.USAGE)
            self.assertEqual(run["figures"]["refused"], 50)
            self.assertEqual(run["figures"]["delivered"], 0)
            self.assertEqual(run["figures"]["difference"], 0)
            self.assertIn("topics that begin with $", self.errors)
            self.assertLessEqual(len(self.errors.splitlines()), 5)

    def test_a_warmup_in_which_all_is_refused(self):
        result = self.expect(harness.USAGE, *self.arguments(
            "both", "-d", "60s", "--prefix", "$x", "--warmup", "50ms"))
        self.assertIn("topics that begin with $", result.err)

    def test_too_large(self):
        result = self.expect(harness.DATA, *self.arguments(
            "both", "-p", "70000"))
        self.assertIn("larger than the limit", result.err)
        self.assertEqual(result.out, b"")

    def test_too_many_connections(self):
        server = self.broker(max_connections=5).tcp
        result = self.expect(harness.UNAVAILABLE, *self.arguments(
            "fanout", server=server))
        self.assertIn("max_connections", result.err)


class Lies(BenchTest):
    def lie(self, lie, mode, *arguments, code):
        broker = LyingBroker(lie)
        self.addCleanup(broker.close)
        self.lying = broker
        if "-d" not in arguments and "-n" not in arguments:
            arguments += ("-n", "100")
        return self.run_bench(mode, *arguments, code=code,
                              server=broker.address)["figures"]

    def test_the_truth(self):
        for mode in ("both", "fanout", "pub"):
            self.lie("nothing", mode, code=harness.OK)

    def test_swallowed(self):
        for arguments in ([], ["--no-ack"]):
            figures = self.lie("swallow", "both", *arguments,
                               code=harness.UNACCOUNTED)
            self.assertEqual(figures["delivered"], 90)
            self.assertEqual(figures["lost"], 0)
            self.assertEqual(figures["difference"], 10)
            self.assertIn("100 deliveries, but what came and what gaps "
                          "report is 90", self.errors)

    def test_swallowed_until_nothing_moves(self):
        """Publishing rests while subscribers are behind: not for ever."""
        figures = self.lie("swallow", "both", "--no-ack", "-p", "20000", "-n",
                           "1000000", "--timeout", "500ms",
                           code=harness.UNACCOUNTED)
        self.assertLess(figures["published"], 1000000)
        self.assertEqual(figures["difference"], figures["published"] // 10)
        self.assertIn("an answer did not come for 500.000 ms", self.errors)

    def test_swallowed_in_the_warmup(self):
        broker = LyingBroker("swallow")
        self.addCleanup(broker.close)
        result = self.expect(harness.UNACCOUNTED, *self.arguments(
            "both", "-r", "1000", "-d", "60s", "--warmup", "100ms",
            server=broker.address))
        self.assertIn("this is an error of the broker", result.err)

    def test_delivered_twice(self):
        figures = self.lie("twice", "both", code=harness.UNACCOUNTED)
        self.assertEqual(figures["difference"], -10)

    def test_books(self):
        self.lie("books", "both", code=harness.UNACCOUNTED)
        self.assertIn("the broker's books have 101", self.errors)

    def test_books_of_sub(self):
        broker = LyingBroker("swallow")
        self.addCleanup(broker.close)
        sub = self.start(*self.arguments(
            "sub", "-v", "-n", "90", "--json", server=broker.address))
        self.subscribed(sub)
        self.figures("pub", "-n", "100", server=broker.address)
        self.assertEqual(sub.wait(), harness.UNACCOUNTED, sub.error_text())

    def test_acknowledgements(self):
        self.lie("acks", "both", code=harness.UNACCOUNTED)
        self.assertIn("acknowledgements tell of 0", self.errors)

    def test_the_window_is_what_is_in_flight(self):
        self.lie("silent", "both", "-w", "7", "--publishers", "2",
                 "--timeout", "200ms", code=harness.TIMEOUT)
        self.assertEqual(self.lying.published, 14)

    def test_what_was_due_and_not_sent(self):
        figures = self.lie("silent", "both", "-w", "7", "-r", "100", "-d",
                           "300ms", "--timeout", "500ms",
                           code=harness.TIMEOUT)
        self.assertEqual(figures["published"], 7)
        self.assertEqual(figures["unsent"], 23)


if __name__ == "__main__":
    unittest.main()
