# SPDX-License-Identifier: MIT
"""brokerctl stats: what the broker says of itself."""
import json
import unittest

import fake_broker
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


class Lies(harness.CtlTest):
    """Answers that no brokerd gives."""

    def stats(self, answer, code, *arguments):
        broker = fake_broker.FakeBroker(answer)
        self.addCleanup(broker.close)
        return self.expect(code, "stats", "-s", broker.address, *arguments)

    def test_books_that_do_not_balance(self):
        books = {"connection": 3, "id": 9, "filter": "a", "matched": 10,
                 "delivered": 5, "queued": 1, "dropped": 2}
        good = dict(books, id=8, dropped=4)
        answer = json.dumps({"total": 2, "offset": 0, "subscriptions": [
            good, books]}).encode()
        result = self.stats(answer, harness.UNBALANCED, "subscriptions")
        self.assertIn("subscription 9 of connection 3 are off by 2",
                      result.err)
        self.assertEqual(len(result.err.splitlines()), 1)
        self.assertTrue(result.out.decode().splitlines()[1].endswith("ok"))
        self.assertTrue(
            result.out.decode().splitlines()[2].endswith("off by 2"))
        result = self.stats(answer, harness.UNBALANCED, "subscriptions",
                            "--json")
        self.assertEqual(json.loads(result.out), json.loads(answer))

    def test_an_empty_list(self):
        result = self.stats(b'{"total":0,"connections":[]}', harness.OK,
                            "connections")
        self.assertEqual(result.out, b"no connections\n")

    def test_a_total_that_is_never_reached(self):
        """More is promised than comes: no endless asking."""
        broker = fake_broker.FakeBroker(
            b'{"total":5,"connections":[{"id":1}]}')
        self.addCleanup(broker.close)
        result = self.expect(harness.OK, "stats", "connections", "--json",
                             "-s", broker.address)
        self.assertEqual(len(json.loads(result.out)["connections"]), 5)

    def test_no_json(self):
        for answer in (b"", b"hello", b"[1]", b'{"a":', b"\xff"):
            result = self.stats(answer, harness.FAILED)
            self.assertIn("is no JSON object", result.err)
        result = self.stats(b'{"a":1}', harness.FAILED, "connections")
        self.assertIn('has no list "connections"', result.err)

    def test_unknown_keys_are_shown(self):
        result = self.stats(b'{"new":{"inner":7},"old":"x"}', harness.OK)
        self.assertEqual(result.out, b"new.inner  7\nold        x\n")


if __name__ == "__main__":
    unittest.main()
