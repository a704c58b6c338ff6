# SPDX-License-Identifier: MIT
"""The command line itself: what is refused, and what the refusal says.
Nothing here needs a broker."""
import re
import unittest

import harness


class Usage(harness.CtlTest):
    def refused(self, *arguments, says):
        result = self.expect(harness.USAGE, *arguments)
        self.assertEqual(result.out, b"")
        self.assertRegex(result.err, r"\Abrokerctl: .+\n\Z")
        self.assertIn(says, result.err)

    def test_commands(self):
        self.refused(says="no command given: try brokerctl --help")
        self.refused("-v", says="no command given")
        self.refused("publish", says='unknown command "publish"')
        self.refused("sbu", "a", says='did you mean "sub"?')
        self.refused("stat", says='did you mean "stats"?')
        self.refused("xyzzy", says='unknown command "xyzzy": see brokerctl '
                                   '--help')
        self.refused("help", "pbu", says='did you mean "pub"?')

    def test_options(self):
        self.refused("--sever", "x", "ping", says="did you mean --server?")
        self.refused("pub", "t", "m", "--retian",
                     says="did you mean --retain?")
        self.refused("pub", "t", "-5", says="put -- before it")
        self.refused("pub", "t", "m", "--count", "0",
                     says='--count cannot be "0"')
        self.refused("pub", "t", "m", "--interval", "5",
                     says="such as 250ms")
        self.refused("sub", "a", "--overflow", "wait",
                     says="choose drop-oldest, drop-newest, conflate, "
                          "disconnect or block")
        self.refused("sub", "a", "--count", says="--count needs a value")
        self.refused("sub", "a", "--raw=yes", says="--raw takes no value")

    def test_arguments(self):
        self.refused("pub", says="too few arguments")
        self.refused("pub", "a", "b", "c", says="too many arguments")
        self.refused("sub", says="say what to print: FILTER..., --stream NAME "
                                 "or --consumer NAME")
        self.refused("ping", "x", says="too many arguments")
        self.refused("stats", "conections",
                     says='did you mean "connections"?')
        self.refused("stats", "weather", says="totals, connections or")

    def test_pub_wants_one_message(self):
        self.refused("pub", "t", says="no message")
        for more in (["--lines"], ["--stdin"], ["--file", "x"]):
            self.refused("pub", "t", "m", *more,
                         says="more than one message")
        self.refused("pub", "t", "--lines", "--stdin",
                     says="more than one message")

    def test_pub_to_streams(self):
        self.refused("pub", "t", "m", "--batch", says="add --lines")
        self.refused("pub", "t", "--lines", "--batch", "--retain",
                     says="in a batch there is no --retain")
        for more in (["--batch", "--lines"], ["m", "--deliver-at", "+1s"],
                     ["m", "--expect-last", "0"]):
            self.refused("pub", "t", "--no-ack", *more,
                         says="leave out --no-ack")
        self.refused("pub", "t", "--lines", "--expect-last", "4",
                     says="--expect-last is for one message")
        self.refused("pub", "t", "m", "-n", "2", "--expect-last", "4",
                     says="--expect-last is for one message")
        self.refused("pub", "t", "m", "--deliver-at", "tomorrow",
                     says="write a time such as 2026-11-22T08:00")
        self.refused("pub", "t", "m", "--deliver-at", "+1",
                     says="number and a unit")
        self.refused("pub", "t", "m", "--ttl", "1", says="number and a unit")

    def test_reading_a_stream(self):
        self.refused("sub", "--stream", "S", "--from", "yesterday",
                     says="write first, last, new, seq:7")
        self.refused("sub", "--stream", "S", "--from", "-1",
                     says="number and a unit")
        self.refused("sub", "--stream", "S", "a", "b",
                     says="at most one FILTER")
        self.refused("sub", "--from", "first", says="say what to print")
        for more in (["a"], ["--stream", "S"], ["--from", "first"],
                     ["--until-end"]):
            self.refused("sub", "--consumer", "C", *more,
                         says="with --consumer leave out")
        for more in (["--window", "3"], ["--ack", "no"]):
            self.refused("sub", "--stream", "S", *more,
                         says="go with --consumer")
        for more in (["--group", "g"], ["--no-retained"],
                     ["--overflow", "block"]):
            self.refused("sub", "--stream", "S", *more,
                         says="do not go with reading a stream")

    def test_streams_and_consumers(self):
        self.refused("stream", says="too few arguments")
        self.refused("stream", "list", says='there is no "list"')
        self.refused("stream", "ad", "S", says='did you mean "add"?')
        self.refused("stream", "add", says="needs a name")
        self.refused("stream", "ls", "S", says="has too many arguments")
        self.refused("stream", "add", "S", says="needs --topics")
        self.refused("stream", "add", "S", "--topics", "a,,b",
                     says="nothing between two commas")
        self.refused("stream", "add", "S", "--topics", "a", "--max-age", "7",
                     says="or 7d")
        self.refused("stream", "add", "S", "--topics", "a", "--max-bytes",
                     "10GB", says="or 10G")
        self.refused("stream", "ls", "--max-age", "1d",
                     says="stream ls takes no --max-age")
        self.refused("stream", "add", "S", "--topics", "a", "--keep", "0",
                     says="stream add takes no --keep")
        self.refused("stream", "purge", "S", "--keep", "1", "--before", "2",
                     says="exclude each other")
        self.refused("stream", "purge", "S", says="add --yes")
        self.refused("stream", "rm", "S", says="add --yes")
        self.refused("consumer", "add", "C", says="needs --stream")
        self.refused("consumer", "reset", "C", says="needs --from")
        self.refused("consumer", "add", "C", "--stream", "S", "--backoff",
                     "1s,5", says='--backoff cannot have "5"')
        self.refused("consumer", "add", "C", "--stream", "S", "--from", "1h",
                     says="for an hour ago, -1h")
        self.refused("consumer", "info", "C", "--stream", "S",
                     says="consumer info takes no --stream")
        self.refused("explain", "a", "b", says="more than one word")

    def test_pub_contradictions(self):
        self.refused("pub", "t", "m", "--no-ack", "--require-subscribers",
                     says="leave out --no-ack")
        self.refused("pub", "t", "m", "--no-ack", "--reply-to", "r",
                     says="leave out --no-ack")
        self.refused("pub", "t", "m", "--header", "novalue",
                     says="KEY=VALUE")
        self.refused("pub", "t", "m", "--header", "=v", says="KEY=VALUE")

    def test_shapes_exclude_each_other(self):
        for command in (["sub", "a"], ["req", "a"]):
            self.refused(*command, "--raw", "--json", says="choose one")
            self.refused(*command, "--raw", "--format", "%p",
                         says="choose one")
            self.refused(*command, "--json", "--topic", says="lines only")
            self.refused(*command, "--format", "%q", says="%q is no field")
            self.refused(*command, "--format", "%{k", says="and a }")
            self.refused(*command, "--format", "\\q", says="is no escape")

    def test_reply_wants_a_text_or_a_command(self):
        self.refused("reply", "f", says="either a text or --exec")
        self.refused("reply", "f", "text", "--exec", "cat",
                     says="either a text or --exec")
        self.refused("reply", "f", "--exec", says="--exec needs a value")
        self.refused("reply", "f", "--jobs", "17", "--exec", "cat",
                     says="at most 16")

    def test_version(self):
        text = self.expect(harness.OK, "--version").out.decode()
        self.assertRegex(text, r"\Abrokerctl \d+\.\d+\.\d+ \(protocol 1\)\n\Z")
        self.assertEqual(
            self.expect(harness.OK, "sub", "--version").out.decode(), text)

    def test_output_that_cannot_be_written(self):
        with open("/dev/full", "wb") as full:
            process = self.start("--help", stdout=full)
            self.assertEqual(process.wait(), harness.OUTPUT)
        self.assertIn("cannot write to standard output: No space left",
                      process.error_text())


class Explain(harness.CtlTest):
    def test_by_number_and_by_name(self):
        text = self.expect(harness.OK, "explain", "304").out.decode()
        for part in ("304 NO_SUBSCRIBERS", "request", "meaning", "remedy",
                     "no subscribers", "yes"):
            self.assertIn(part, text)
        for name in ("NO_SUBSCRIBERS", "no_subscribers", "no-subscribers",
                     "BROKER_E_NO_SUBSCRIBERS"):
            self.assertEqual(
                self.expect(harness.OK, "explain", name).out.decode(), text)

    def test_unknown(self):
        result = self.expect(harness.USAGE, "explain", "no_subscriber")
        self.assertIn("did you mean NO_SUBSCRIBERS?", result.err)
        result = self.expect(harness.USAGE, "explain", "299")
        self.assertIn("there is no code 299", result.err)
        self.expect(harness.USAGE, "explain", "99999999999999999999")
        self.expect(harness.USAGE, "explain", "")

    def test_list(self):
        text = self.expect(harness.OK, "explain").out.decode()
        codes = re.findall(r"^ *(\d+) ([A-Z_]+) +\S", text, re.MULTILINE)
        self.assertGreater(len(codes), 35)
        self.assertIn(("101", "BAD_MAGIC"), codes)
        self.assertEqual(codes, sorted(codes, key=lambda row: int(row[0])))
        self.assertEqual(len(codes), len(text.splitlines()))


if __name__ == "__main__":
    unittest.main()
