# SPDX-License-Identifier: MIT
"""brokerctl stats: what the broker says of itself."""
import json
import unittest

import harness


class Stats(harness.CtlTest):
    def setUp(self):
        super().setUp()
        self.server = self.broker().tcp

    def stats(self, *arguments, code=harness.OK):
        return self.expect(code, "stats", "-s", self.server, *arguments).out

    def test_totals(self):
        self.expect(harness.OK, "pub", "-s", self.server, "t", "x",
                    "--count", "7")
        answer = json.loads(self.stats("--json"))
        self.assertEqual(answer["received_messages"] >= 7, True)
        text = self.stats().decode()
        for key in answer:
            self.assertRegex(text, r"(?m)^%s\b" % key)
        width = {len(line) for line in text.splitlines()}
        self.assertEqual(len(width), 1, text)
        self.assertEqual(self.stats("totals").decode().split()[0],
                         text.split()[0])

    def test_connections(self):
        self.subscriber(self.server, "a/#")
        text = self.stats("connections").decode()
        header = text.splitlines()[0].split()
        for key in ("id", "name", "peer", "state", "queued_bytes"):
            self.assertIn(key, header)
        self.assertIn("brokerctl sub (pid ", text)
        self.assertIn("brokerctl stats (pid ", text)
        answer = json.loads(self.stats("connections", "--json"))
        self.assertEqual(answer["total"], len(answer["connections"]))

    def test_books(self):
        self.subscriber(self.server, "a/#", "b")
        self.expect(harness.OK, "pub", "-s", self.server, "a/b", "x",
                    "--count", "5")
        text = self.stats("subscriptions").decode()
        header = text.splitlines()[0].split()
        self.assertEqual(header[-1], "balance")
        row = next(line for line in text.splitlines() if " a/# " in line)
        self.assertTrue(row.endswith("ok"))
        answer = json.loads(self.stats("subscriptions", "--json"))
        entry, = [s for s in answer["subscriptions"] if s["filter"] == "a/#"]
        self.assertEqual(entry["matched"], 5)
        self.assertEqual(entry["matched"], entry["delivered"] +
                         entry["queued"] + entry["dropped"])

    def test_no_subscriptions(self):
        answer = json.loads(self.stats("subscriptions", "--json"))
        own = len(answer["subscriptions"])
        self.assertLessEqual(own, 1)

    def test_more_than_one_page(self):
        filters = ["f%d" % i for i in range(2500)]
        self.subscriber(self.server, *filters)
        answer = json.loads(self.stats("subscriptions", "--json"))
        seen = [s["filter"] for s in answer["subscriptions"]]
        self.assertGreaterEqual(set(seen), set(filters))
        self.assertEqual(len(seen), len(set(seen)))
        self.assertEqual(len(seen), answer["total"])


if __name__ == "__main__":
    unittest.main()
