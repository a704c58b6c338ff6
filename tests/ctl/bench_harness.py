# SPDX-License-Identifier: MIT
"""What the tests of `brokerctl bench` share."""
import json

import harness

LATENCY = ["min", "mean", "p50", "p90", "p99", "p99_9", "p99_99", "max"]


class BenchTest(harness.CtlTest):
    def setUp(self):
        super().setUp()
        self.server = self.broker().tcp

    def arguments(self, mode, *arguments, server=None):
        return ["bench", mode, "-s", server or self.server, *arguments]

    def run_bench(self, mode, *arguments, code=harness.OK, server=None):
        """Run it without a warm-up, unless told otherwise; the JSON object."""
        if "--warmup" not in arguments:
            arguments += ("--warmup", "0")
        result = self.expect(code, *self.arguments(
            mode, "--json", *arguments, server=server))
        self.errors = result.err
        return json.loads(result.out)

    def figures(self, mode, *arguments, **more):
        run = self.run_bench(mode, *arguments, **more)
        self.assertTrue(run["complete"])
        return run["figures"]

    def expect_histogram(self, figures, name):
        values = [figures["%s_%s_ns" % (name, part)] for part in LATENCY]
        self.assertNotIn(None, values)
        least, mean, *shares, most = values
        self.assertEqual(shares, sorted(shares))
        self.assertLessEqual(least, shares[0])
        self.assertLessEqual(shares[-1], most)
        self.assertTrue(least <= mean <= most)
        self.assertGreater(least, 0)

    def expect_no_histogram(self, figures, name):
        for part in LATENCY:
            self.assertIsNone(figures["%s_%s_ns" % (name, part)])
