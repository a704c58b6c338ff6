# SPDX-License-Identifier: MIT
"""brokerctl req and reply."""
import json
import os
import signal
import unittest

import harness


class Requests(harness.CtlTest):
    def setUp(self):
        super().setUp()
        self.server = self.broker().tcp

    def req(self, *arguments, code=harness.OK, stdin=b""):
        return self.expect(code, "req", "-s", self.server, *arguments,
                           stdin=stdin)

    def reply(self, *arguments):
        return self.replier(self.server, *arguments)

    def test_fixed_text(self):
        self.reply("t/+", "an answer")
        self.assertEqual(self.req("t/1").out, b"an answer\n")
        self.assertEqual(self.req("t/2", "with a message").out,
                         b"an answer\n")

    def test_command(self):
        self.reply("t/#", "--exec", "sh", "-c",
                   'printf "%s:" "$BROKER_TOPIC"; cat')
        self.assertEqual(self.req("t/a", "hello").out, b"t/a:hello\n")
        self.assertEqual(self.req("t/b", "--raw").out, b"t/b:")
        path = self.write("file", bytes(range(256)))
        self.assertEqual(self.req("t", "--raw", "--file", path).out,
                         b"t:" + bytes(range(256)))
        self.assertEqual(self.req("t", "--raw", "--stdin", stdin=b"in").out,
                         b"t:in")

    def test_large_through_cat(self):
        self.reply("t", "--exec", "cat")
        data = os.urandom(3000000)
        self.assertTrue(self.req("t", "--raw", "--stdin",
                                 stdin=data).out == data)

    def test_command_that_ignores_its_input(self):
        self.reply("t", "--exec", "echo", "done")
        self.assertEqual(self.req("t", "--raw", "--stdin",
                                  stdin=b"x" * 1000000).out, b"done\n")

    def test_output_forms(self):
        self.reply("t", "answer")
        answer = json.loads(self.req("t", "--json").out)
        self.assertEqual(answer["payload"], "answer")
        self.assertTrue(answer["topic"].startswith("_inbox/"))
        self.assertEqual(self.req("t", "--format", "<%p>").out, b"<answer>")
        self.assertRegex(self.req("t", "--topic").out,
                         rb"\A_inbox/anonymous/[0-9a-f]{32} answer\n\Z")

    def test_headers_reach_the_replier(self):
        sub = self.subscriber(self.server, "t", "--json", "--count", "1")
        self.reply("t", "x")
        self.req("t", "m", "-H", "k=v")
        sub.wait()
        message = json.loads(sub.stdout.bytes())
        self.assertEqual(message["headers"], [{"key": "k", "value": "v"}])
        self.assertTrue(message["reply_to"].startswith("_inbox/"))

    def test_nobody_answers(self):
        result = self.req("t", code=harness.NO_SUBSCRIBERS)
        self.assertIn("nobody answers t", result.err)
        self.assertEqual(result.out, b"")

    def test_timeout(self):
        self.subscriber(self.server, "t")
        result = self.req("t", "--timeout", "200ms", code=harness.TIMEOUT)
        self.assertIn("0 of 1 answers from t came within 200.000 ms",
                      result.err)

    def test_several_answers(self):
        for text in ("one", "two", "three"):
            self.reply("t", text)
        result = self.req("t", "--count", "3")
        self.assertEqual(sorted(result.out.split()),
                         [b"one", b"three", b"two"])
        result = self.req("t", "--count", "4", "--timeout", "300ms",
                          code=harness.TIMEOUT)
        self.assertEqual(len(result.out.splitlines()), 3)
        self.assertIn("3 of 4 answers", result.err)

    def test_group_answers_once(self):
        for text in ("one", "two"):
            self.reply("t", text, "--group", "g")
        result = self.req("t", "--count", "2", "--timeout", "300ms",
                          code=harness.TIMEOUT)
        self.assertEqual(len(result.out.splitlines()), 1)

    def test_reserved_topic(self):
        result = self.req("$sys/nonsense", code=harness.USAGE)
        self.assertIn("brokerctl: $sys/nonsense: ", result.err)

    def test_broker_answers(self):
        answer = json.loads(self.req("$sys/stats").out)
        self.assertIn("uptime_ms", answer)


class Failures(harness.CtlTest):
    def setUp(self):
        super().setUp()
        self.server = self.broker().tcp

    def failing(self, *command, says, out=b"", more=()):
        replier = self.replier(self.server, "t", *more, "--exec", *command)
        result = self.expect(harness.COMMAND, "req", "-s", self.server, "t",
                             "--format", "%p")
        self.assertEqual(result.out, out)
        self.assertIn("the answer says that it is an error: " + says,
                      result.err)
        replier.expect_error("asked for t: " + says)
        replier.signal(signal.SIGTERM)
        self.assertEqual(replier.wait(), harness.COMMAND)

    def test_exit_status(self):
        self.failing("sh", "-c", "echo partly; exit 3", says="exit status 3",
                     out=b"partly\n")

    def test_killed(self):
        self.failing("sh", "-c", "kill -KILL $$", says="killed by signal 9")

    def test_missing(self):
        self.failing("/no/such/command", says="cannot run it: No such file")

    def test_too_slow(self):
        """Whatever it has started goes with it."""
        self.failing("sh", "-c", "sleep 1000 & sleep 1000",
                     says="ran too long", more=["--exec-timeout", "200ms"])

    def test_too_much_output(self):
        self.failing("cat", "/dev/zero", says="output larger than")

    def test_the_command_knows_sigpipe(self):
        """SIGPIPE is ignored by brokerctl, not by what it runs."""
        self.replier(self.server, "t", "--exec", "bash", "-c",
                     "yes | head -1; echo ${PIPESTATUS[0]}")
        result = self.expect(harness.OK, "req", "-s", self.server, "t")
        self.assertEqual(result.out, b"y\n141\n\n")

    def test_messages_without_reply_to(self):
        replier = self.replier(self.server, "t", "x")
        self.expect(harness.OK, "pub", "-s", self.server, "t", "m")
        replier.expect_error("a message on t wants no answer: ignored")


class Life(harness.CtlTest):
    def setUp(self):
        super().setUp()
        self.server = self.broker().tcp

    def test_count(self):
        for how in (["x"], ["--exec", "echo", "x"]):
            replier = self.replier(self.server, "t", "--count", "2", *how)
            for _ in range(2):
                self.expect(harness.OK, "req", "-s", self.server, "t")
            self.assertEqual(replier.wait(), harness.OK)

    def test_signals(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            replier = self.replier(self.server, "t", "x")
            replier.signal(number)
            self.assertEqual(replier.wait(), harness.OK)

    def test_jobs_run_side_by_side(self):
        """Each command waits for the other one."""
        for name in ("a", "b"):
            os.mkfifo(self.path(name))
        self.replier(
            self.server, "t/+", "--jobs", "2", "--exec", "sh", "-c",
            'cd "$0" && case $BROKER_TOPIC in '
            "t/a) echo a >a; read x <b;; t/b) read x <a; echo b >b;; esac; "
            "echo $x", self.folder)
        asking = [self.start("req", "-s", self.server, "t/" + name,
                             "--timeout", "30s") for name in ("a", "b")]
        self.assertEqual([p.wait() for p in asking], [harness.OK] * 2)
        self.assertEqual([p.stdout.bytes() for p in asking],
                         [b"b\n\n", b"a\n\n"])

    def test_running_and_waiting_requests_are_answered(self):
        """SIGTERM: no new requests, but those that are here get answers."""
        replier = self.replier(
            self.server, "t", "--exec", "sh", "-c",
            'echo started >&2; until [ -e "$0" ]; do sleep 0.02; done',
            self.path("go"))
        asking = [self.start("req", "-s", self.server, "t", "--timeout",
                             "30s") for _ in range(3)]
        replier.expect_error("started")
        harness.wait_until(lambda: self.delivered() == 3,
                           "three requests delivered")
        replier.signal(signal.SIGTERM)
        harness.wait_until(lambda: self.ctl(
            "req", "-s", self.server, "t", "--timeout", "1s").code ==
            harness.NO_SUBSCRIBERS, "the end of the subscription")
        self.write("go", b"")
        self.assertEqual([p.wait() for p in asking], [harness.OK] * 3)
        self.assertEqual(replier.wait(), harness.OK)

    def delivered(self):
        answer = json.loads(self.expect(
            harness.OK, "stats", "subscriptions", "--json", "-s",
            self.server).out)
        return sum(s["delivered"] for s in answer["subscriptions"]
                   if s["filter"] == "t")

    def test_many_requests(self):
        self.replier(self.server, "t", "--jobs", "4", "--exec", "cat")
        asking = [self.start("req", "-s", self.server, "t", "r%d" % i,
                             "--timeout", "50s") for i in range(20)]
        for i, process in enumerate(asking):
            self.assertEqual(process.wait(), harness.OK,
                             process.error_text())
            self.assertEqual(process.stdout.bytes(), b"r%d\n" % i)


if __name__ == "__main__":
    unittest.main()
