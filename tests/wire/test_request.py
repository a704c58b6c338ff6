# SPDX-License-Identifier: MIT
"""Requests and replies, and the topics that the broker answers itself.

PROTOCOL.md sections 4.3, 4.6 and 5.7.
"""
import json
import threading
import unittest

import wire_codec as codec
from harness import BrokerTest


class Requests(BrokerTest):
    def test_request_and_reply(self):
        client, server = self.connect(), self.connect()
        server.subscribe("time")
        frame = codec.Publish(id=client.next_number(), topic=b"time",
                              payload=b"now?",
                              fields=[(codec.REPLY_TO, b"_inbox/x/1")])
        client.subscribe("_inbox/x/+")
        client.send(frame)
        request = server.next_event()
        self.assertEqual(request.reply_to, b"_inbox/x/1")
        server.publish(request.reply_to, b"later")
        events = [client.next_event(), client.next_event()]
        self.assertEqual([type(e).__name__ for e in events],
                         ["Puback", "Message"])
        self.assertEqual((events[1].topic, events[1].payload),
                         ("_inbox/x/1", b"later"))

    def test_many_requests_by_one_inbox(self):
        client, server = self.connect(), self.connect()
        server.subscribe("square")
        for n in range(100):
            number = client.last_number + 1
            client.send(codec.Publish(
                id=client.next_number(), topic=b"square",
                payload=b"%d" % n, fields=[(codec.REPLY_TO | codec.CRITICAL,
                                            b"_inbox/y/%d" % number)]))
        client.subscribe("_inbox/y/+")
        for _ in range(100):
            request = server.next_event()
            server.publish(request.reply_to,
                           b"%d" % int(request.payload) ** 2, ack=False)
        replies = {}
        while len(replies) < 100:
            event = client.next_event()
            if not isinstance(event, codec.Frame):
                replies[event.topic] = int(event.payload)
        self.assertEqual(sorted(replies.values()),
                         [n * n for n in range(100)])

    def test_request_call_of_the_client(self):
        """What comes in between is kept for later."""
        client, server = self.connect(), self.connect()
        client.subscribe("noise")
        server.subscribe("echo", "workers")

        def serve():
            request = server.next_event()
            server.publish("noise", "in between")
            server.publish(request.reply_to, request.payload)
        thread = threading.Thread(target=serve)
        thread.start()
        self.assertEqual(client.request("echo", "hello").payload, b"hello")
        thread.join()
        self.assertEqual([e.payload for e in client.inbox], [b"in between"])

    def test_no_subscribers(self):
        client = self.connect()
        error = self.assert_refused("NO_SUBSCRIBERS", client.publish,
                                    "nobody", reply_to="r")
        self.assertEqual((error.error_class, error.retry,
                          error.refused_type, error.id),
                         (codec.Error.REQUEST, 1, codec.Publish.TYPE, 1))
        server = self.connect()
        subscription = server.subscribe("nobody").id
        self.assertEqual(client.publish("nobody", reply_to="r").matched, 1)
        server.unsubscribe(subscription)
        self.assert_refused("NO_SUBSCRIBERS", client.publish, "nobody",
                            reply_to="r")

    def test_no_subscribers_is_only_for_requests(self):
        self.assertEqual(self.connect().publish("nobody").matched, 0)

    def test_a_group_is_a_subscriber(self):
        server = self.connect()
        server.subscribe("t", "g")
        self.assertEqual(self.connect().publish("t", reply_to="r").matched,
                         1)

    def test_a_request_must_have_a_number(self):
        client, server = self.connect(), self.connect()
        server.subscribe("t")
        client.send(codec.Publish(topic=b"t", fields=[(codec.REPLY_TO,
                                                       b"r")]))
        error = client.next_event()
        self.assertEqual((error.NAME, error.name, error.id),
                         ("ERROR", "BAD_REQUEST", 0))
        self.assertEqual(error.value(codec.TOPIC), b"t")
        self.assert_silent(server)
        self.assert_silent(client)

    def test_no_subscribers_and_last_publish(self):
        """The refused number is settled by its ERROR, nothing else comes."""
        client = self.connect()
        for _ in range(3):
            self.assert_refused("NO_SUBSCRIBERS", client.publish, "t",
                                reply_to="r")
        self.assertEqual(client.publish("t").id, 4)
        self.assert_silent(client)


class System(BrokerTest):
    def test_stats(self):
        self.assertIsInstance(self.connect().stats(), dict)

    def test_connections(self):
        clients = [self.connect(name="client-%d" % n) for n in range(3)]
        page = clients[0].system("connections")
        self.assertEqual(page["total"], 3)
        self.assertEqual(len(page["connections"]), 3)
        text = json.dumps(page)
        for n in range(3):
            self.assertIn("client-%d" % n, text)

    def test_subscriptions(self):
        client = self.connect()
        client.subscribe("a/+")
        client.subscribe("b", "workers")
        for _ in range(3):
            client.publish("a/1")
        page = client.system("subscriptions")
        self.assertEqual(page["total"], 3)  # and the inbox of the request
        text = json.dumps(page)
        for word in ["a/+", "workers"]:
            self.assertIn(word, text)
        self.assertIn(3, [entry["matched"]
                          for entry in page["subscriptions"]])

    def test_pages(self):
        client = self.connect()
        for n in range(25):
            client.subscribe("t/%d" % n)
        client.system("stats")  # makes the inbox, the 26th subscription
        seen = []
        while len(seen) < 26:
            page = client.system("subscriptions", offset=len(seen), limit=10)
            self.assertEqual(page["total"], 26)
            self.assertEqual(len(page["subscriptions"]),
                             min(10, 26 - len(seen)))
            seen += [json.dumps(entry) for entry in page["subscriptions"]]
        self.assertEqual(sum("t/" in entry for entry in seen), 25)
        page = client.system("subscriptions", offset=1000)
        self.assertEqual((page["total"], page["subscriptions"]), (26, []))
        page = client.system("subscriptions", limit=0)
        self.assertEqual(page["total"], 26)

    def test_a_payload_that_is_no_json(self):
        """Whatever the answer is, there is one, and it does no harm."""
        client = self.connect()
        client.subscribe("r")
        bad = [b"{", b"[]", b"7", b'{"offset": -1}', b'{"offset": "x"}',
               b'{"limit": 1e99}', b"\xff\xfe", b"{" * 5000,
               b'{"offset": 18446744073709551616}', b'{"limit": 10001}',
               b'{"offset": 0.5}', b'"\\ud800"', b"null"]
        for payload in bad:
            with self.subTest(payload=payload[:40]):
                client.send(codec.Publish(
                    id=client.next_number(), topic=b"$sys/connections",
                    payload=payload, fields=[(codec.REPLY_TO, b"r")]))
                answer = client.next_event()
                if isinstance(answer, codec.Error):
                    self.assertEqual(answer.name, "BAD_REQUEST")
                else:
                    client.next_event()
        self.assert_silent(client)

    def test_names_that_json_must_escape(self):
        """Names, filters and groups may hold almost any character."""
        words = ['"', "\\", "\x01\x1f\x7f", "\u00e9\u2028\U0001f600", "</",
                 "\b\f\n\r\t", "%s%n", "{}[]:,", "\ufeff\uffff"]
        clients = [self.connect(name=word) for word in words]
        for client, word in zip(clients, words):
            client.subscribe(word, word.replace("/", "-"))
        found = clients[0].system("connections")["connections"]
        text = json.dumps(found)
        for word in words:
            self.assertIn(json.dumps(word), text)
        found = clients[0].system("subscriptions")["subscriptions"]
        values = [value for entry in found for value in entry.values()]
        for word in words:
            self.assertIn(word, values)

    def test_an_answer_larger_than_the_asker_takes(self):
        """It hears of it, in whatever way."""
        client = self.connect(max_body_bytes=65536)
        for n in range(3000):
            client.send(codec.Subscribe(id=1000 + n, filter=b"t/%d" % n))
            self.assertEqual(client.next_event().NAME, "SUBACK")
        client.subscribe("r")
        client.send(codec.Publish(
            id=client.next_number(), topic=b"$sys/subscriptions",
            payload=b'{"limit": 10000}', fields=[(codec.REPLY_TO, b"r")]))
        kinds = []
        while not {"Gap", "Message", "Error"} & set(kinds):
            kinds.append(type(client.next_event()).__name__)
        client.ping()
        page = client.system("subscriptions", offset=2990, limit=5)
        self.assertEqual(len(page["subscriptions"]), 5)

    def test_long_filters_and_a_large_page(self):
        """10,000 entries of the longest filters: the answer is one that the
        frame can hold, or an ERROR."""
        client = self.connect()
        long_name = "x" * 1000
        for start in range(1, 10001, 500):
            client.send_bytes(b"".join(
                codec.Subscribe(id=n, filter=b"%05d/%s" % (
                    n, long_name.encode())).encode()
                for n in range(start, start + 500)))
            for _ in range(500):
                self.assertEqual(client.next_event().NAME, "SUBACK")
        asker = self.connect()
        page = asker.system("subscriptions", limit=10000)
        self.assertGreaterEqual(page["total"], 10000)
        self.assertGreater(len(page["subscriptions"]), 0)

    def test_the_reply_needs_a_subscription(self):
        """The broker answers to the topic, like anybody else."""
        asker, listener = self.connect(), self.connect()
        listener.subscribe("answers")
        asker.publish("$sys/stats", reply_to="answers")
        event = listener.next_event()
        self.assertIsInstance(json.loads(event.payload), dict)
        self.assert_silent(asker)

    def test_reserved_topics(self):
        client = self.connect()
        client.subscribe("$sys/#")
        client.subscribe("$other")
        for topic in ["$", "$x", "$sys", "$sys/stats", "$sys/connections",
                      "$sys/subscriptions", "$sys/unknown", "$SYS/stats"]:
            with self.subTest(topic=topic):
                self.assert_refused("RESERVED_TOPIC", client.publish, topic)
        for topic in ["$", "$sys", "$sys/unknown", "$sys/stats/x"]:
            with self.subTest(topic=topic, request=True):
                self.assert_refused("RESERVED_TOPIC", client.publish, topic,
                                    reply_to="r")
        self.assertEqual(client.publish("a/$sys").matched, 0)
        self.assert_silent(client)

    def test_reserved_without_a_number(self):
        client = self.connect()
        client.publish("$x", ack=False)
        error = client.next_event()
        self.assertEqual((error.name, error.id, error.value(codec.TOPIC)),
                         ("RESERVED_TOPIC", 0, b"$x"))


if __name__ == "__main__":
    unittest.main()
