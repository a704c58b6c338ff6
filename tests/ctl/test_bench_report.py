# SPDX-License-Identifier: MIT
"""brokerctl bench: what it prints and writes, and what it refuses."""
import csv
import io
import json
import os
import pty
import re
import subprocess
import unittest

import harness
from bench_harness import BenchTest


class Output(BenchTest):
    def test_table(self):
        text = self.expect(harness.OK, *self.arguments(
            "both", "-n", "50", "--warmup", "0")).out.decode()
        lines = text.splitlines()
        self.assertEqual(lines[0], "both, 1 publisher, 1 subscriber, 1 topic,"
                         " payload 128, window 1000, not paced")
        self.assertRegex(text, r"(?m)^published +50$")
        self.assertRegex(text, r"(?m)^latency, p99\.99 +[\d.]+ (us|ms|s)$")
        self.assertIn("--rate gives that of a load", text)
        text = self.expect(harness.OK, *self.arguments(
            "both", "-n", "5", "-r", "100", "--warmup", "0")).out.decode()
        self.assertIn(", 100 messages/s\n", text)
        self.assertNotIn("Not paced", text)

    def test_json(self):
        run = self.run_bench("both", "-n", "5")
        self.assertEqual(list(run), ["brokerctl_bench", "version", "ended",
                                     "complete", "settings", "figures"])
        self.assertEqual(run["brokerctl_bench"], 1)
        self.assertRegex(run["ended"],
                         r"\A\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\Z")
        for mode in ("pub", "request", "fanout"):
            other = self.run_bench(mode, "-n", "5")
            for part in ("settings", "figures"):
                self.assertEqual(list(other[part]), list(run[part]))

    def test_the_manual_names_every_key(self):
        run = self.run_bench("both", "-n", "5")
        with open(os.environ["BROKERCTL_MANUAL"], encoding="utf-8") as file:
            text = file.read()
        section = re.search(r"^\.Ss Figures\n(.*?)^\.S[sh] ", text,
                            re.MULTILINE | re.DOTALL).group(1)
        keys = " , ".join(re.findall(r"^\.It Li (.+)$", section,
                                     re.MULTILINE)).split(" , ")
        self.assertEqual(sorted(keys), sorted(run["figures"]))
        settings = re.search(r"^Settings are$(.*?)^Figures are", section,
                             re.MULTILINE | re.DOTALL).group(1)
        self.assertEqual(re.findall(r"^\.Li (\w+)", settings, re.MULTILINE),
                         list(run["settings"]))

    def test_csv(self):
        result = self.expect(harness.OK, *self.arguments(
            "both", "--csv", "-n", "5", "--warmup", "0", "--prefix",
            'a,"b"'))
        names, values = csv.reader(io.StringIO(result.out.decode()))
        self.assertEqual(len(names), len(values))
        self.assertEqual(len(set(names)), len(names))
        row = dict(zip(names, values))
        self.assertEqual(row["mode"], "both")
        self.assertEqual(row["prefix"], 'a,"b"')
        self.assertEqual(row["published"], "5")
        self.assertEqual(row["acknowledged"], "5")
        self.assertEqual(row["failed"], "")
        self.assertGreater(float(row["elapsed_s"]), 0)

    def test_output(self):
        """The file gets the shape that was asked for, whatever was in it."""
        path = self.write("run", b"x" * 100000)
        result = self.expect(harness.OK, *self.arguments(
            "both", "--json", "--output", path, "-n", "5", "--warmup", "0"))
        self.assertRegex(result.out.decode(), r"(?m)^published +5$")
        with open(path, encoding="utf-8") as file:
            self.assertEqual(json.load(file)["figures"]["published"], 5)
        result = self.expect(harness.OK, *self.arguments(
            "both", "--output", path, "-n", "5", "--warmup", "0"))
        with open(path, "rb") as file:
            self.assertEqual(file.read(), result.out)

    def test_output_that_cannot_be_written(self):
        path = os.path.join(self.path("none"), "file")
        result = self.expect(harness.OUTPUT, *self.arguments(
            "both", "--output", path, server="unix:///nonexistent"))
        self.assertIn("cannot write --output " + path, result.err)
        result = self.expect(harness.OUTPUT, *self.arguments(
            "both", "--output", "/dev/full", "-n", "5", "--warmup", "0"))
        self.assertIn("No space left", result.err)
        self.assertIn(b"published", result.out)

    def test_a_run_that_fails_keeps_the_earlier_file(self):
        path = self.write("run", b"earlier")
        self.expect(harness.UNAVAILABLE, *self.arguments(
            "both", "--json", "--output", path, server="unix:///nobody"))
        with open(path, "rb") as file:
            self.assertEqual(file.read(), b"earlier")

    def expect_progress(self, expected, *arguments):
        """On a terminal, and never in the output."""
        master, slave = pty.openpty()
        self.addCleanup(os.close, master)
        bench = subprocess.Popen(
            [harness.BROKERCTL, *self.arguments(
                "both", "-d", "1100ms", "--warmup", "0", "--json",
                *arguments)],
            stdout=subprocess.PIPE, stderr=slave, env=harness.environment())
        out, _ = bench.communicate(timeout=harness.DEADLINE)
        self.assertEqual(bench.returncode, harness.OK)
        self.assertEqual(json.loads(out)["complete"], True)
        os.set_blocking(master, False)
        try:
            said = os.read(master, 65536)
        except BlockingIOError:
            said = b""
        os.close(slave)
        self.assertEqual(b"measuring: published " in said, expected, said)

    def test_progress_on_a_terminal(self):
        self.expect_progress(True)

    def test_quiet(self):
        self.expect_progress(False, "--quiet")

    def test_progress_elsewhere(self):
        self.run_bench("both", "-d", "1100ms")
        self.assertEqual(self.errors, "")


class Against(BenchTest):
    def earlier(self, *arguments):
        run = self.run_bench("both", "-n", "50", *arguments)
        return run, self.write("run.json", json.dumps(run).encode())

    def test_table(self):
        before, path = self.earlier("-p", "64")
        text = self.expect(harness.OK, *self.arguments(
            "both", "-n", "100", "--warmup", "0", "--against",
            path)).out.decode()
        self.assertRegex(text, r"(?m)^ +now +before +ratio$")
        self.assertRegex(text, r"(?m)^published +100 +50 +2\.000$")
        self.assertRegex(text, r"(?m)^lost, as gaps say +0 +0 +-$")
        line = next(line for line in text.splitlines()
                    if line.startswith("Before: "))
        self.assertEqual(line, "Before: %s; payload_bytes was 64; count was "
                         "50" % path)
        self.assertEqual(before["settings"]["payload_bytes"], 64)

    def test_figures_that_only_one_has(self):
        _, path = self.earlier()
        text = self.expect(harness.OK, *self.arguments(
            "both", "-n", "50", "--no-ack", "--warmup", "0", "--against",
            path)).out.decode()
        self.assertRegex(text, r"(?m)^acknowledged +- +50 +-$")

    def test_json_and_csv(self):
        before, path = self.earlier()
        run = self.run_bench("both", "-n", "75", "--against", path)
        self.assertEqual(run["against"]["file"], path)
        self.assertEqual(run["against"]["figures"], before["figures"])
        self.assertEqual(list(run["against"]["ratios"]),
                         list(run["figures"]))
        self.assertEqual(run["against"]["ratios"]["published"], 1.5)
        self.assertIsNone(run["against"]["ratios"]["lost"])
        again = self.write("again.json", json.dumps(run).encode())
        result = self.expect(harness.OK, *self.arguments(
            "both", "-n", "25", "--warmup", "0", "--csv", "--against",
            again))
        names, values = csv.reader(io.StringIO(result.out.decode()))
        self.assertEqual(len(set(names)), len(names))
        row = dict(zip(names, values))
        self.assertEqual(row["published"], "25")
        self.assertEqual(row["against_published"], "75")
        self.assertAlmostEqual(float(row["ratio_published"]), 25 / 75)

    def test_the_same_file_for_both(self):
        _, path = self.earlier()
        for expected in (2.0, 1.0):
            self.run_bench("both", "-n", "100", "--against", path)
            result = self.expect(harness.OK, *self.arguments(
                "both", "-n", "100", "--warmup", "0", "--json", "--against",
                path, "--output", path))
            self.assertRegex(result.out.decode(), r"(?m)^published +100 ")
            with open(path, encoding="utf-8") as file:
                run = json.load(file)
            self.assertEqual(run["against"]["ratios"]["published"], expected)

    def test_what_is_no_earlier_run(self):
        good, _ = self.earlier()
        cases = [
            (b"", "is not what brokerctl bench --json writes"),
            (b"published,5\n", "is not what brokerctl bench --json writes"),
            (b"[1]", "it is not one JSON object"),
            (b'{"published": 5}', 'the key "brokerctl_bench" is missing'),
            (b'{"brokerctl_bench": 1}', '"settings" or "figures" are missing'),
            (json.dumps(dict(good, brokerctl_bench=2)).encode(),
             "of another version of brokerctl bench"),
            (json.dumps(dict(good, figures=5)).encode(),
             '"settings" or "figures" are missing'),
        ]
        for data, says in cases:
            with self.subTest(data=data[:40]):
                path = self.write("bad", data)
                result = self.expect(harness.NO_INPUT, *self.arguments(
                    "both", "--against", path, server="unix:///nobody"))
                self.assertIn("--against %s is " % path, result.err)
                self.assertIn(says, result.err)
                self.assertEqual(result.out, b"")
        result = self.expect(harness.NO_INPUT, *self.arguments(
            "both", "--against", self.path("none")))
        self.assertIn("No such file", result.err)


class Usage(harness.CtlTest):
    """What is refused before any connection."""

    def refused(self, *arguments, says):
        result = self.expect(harness.USAGE, "bench", *arguments)
        self.assertEqual(result.out, b"")
        self.assertRegex(result.err, r"\Abrokerctl: .+\n\Z")
        self.assertIn(says, result.err)

    def test_modes(self):
        self.refused(says="too few arguments: brokerctl bench [options] pub |")
        self.refused("both", "pub", says="too many arguments")
        self.refused("boht", says='did you mean "both"?')
        self.refused("everything", says="choose pub, sub, both, fanout or "
                                        "request")

    def test_options_of_other_modes(self):
        for mode, option in (
                ("pub", ["--subscribers", "2"]), ("pub", ["--group", "g"]),
                ("pub", ["--overflow", "disconnect"]),
                ("sub", ["--payload", "0"]), ("sub", ["--rate", "1"]),
                ("sub", ["--publishers", "1"]), ("sub", ["--topics", "1"]),
                ("sub", ["--window", "1"]), ("sub", ["--no-ack"]),
                ("fanout", ["--publishers", "2"]),
                ("request", ["--no-ack"])):
            self.refused(mode, *option, says="%s means nothing in the mode %s"
                         ": leave it out, or use it with " % (
                             option[0], mode))

    def test_contradictions(self):
        self.refused("both", "--no-ack", "--window", "5",
                     says="leave out either --window or --no-ack")
        self.refused("both", "--csv", "--json", says="choose one of --csv")
        self.refused("both", "--progress", "--quiet",
                     says="choose one of --progress")
        self.refused("both", "--duration", "0", says="cannot be 0")

    def test_values(self):
        self.refused("both", "--payload", "1kB",
                     says="such as 128, 4KiB, 1MiB or 10G")
        self.refused("both", "--payload", "16MiB",
                     says="--payload can be at most 16777215")
        self.refused("both", "--rate", "0", says="the smallest number is 1")
        self.refused("both", "--rate", "1000000001", says="at most 1000000000")
        self.refused("both", "--publishers", "20001", says="at most 20000")
        self.refused("both", "--subscribers", "20001", says="at most 20000")
        self.refused("both", "--topics", "1000001", says="at most 1000000")
        self.refused("both", "--window", "1000001", says="at most 1000000")
        self.refused("both", "--window", "1000000", "--publishers", "11",
                     says="--window times --publishers can be at most")
        self.refused("both", "--duration", "5", says="such as 250ms")
        self.refused("both", "--overflow", "wait",
                     says="choose drop-oldest, drop-newest, conflate, "
                          "disconnect or block")


class Topics(BenchTest):
    def test_prefixes_that_are_none(self):
        for mode, prefix in (("pub", "a/#"), ("both", "a/+b"), ("sub", "#")):
            result = self.expect(harness.USAGE, *self.arguments(
                mode, "--prefix", prefix, "--warmup", "0"))
            self.assertRegex(result.err, "invalid topic (name|filter)")
            self.assertEqual(result.out, b"")


if __name__ == "__main__":
    unittest.main()
