# SPDX-License-Identifier: MIT
"""Who may do what: rules are asked for each publish and subscription.

PROTOCOL.md sections 5.10 (sessions), 5.11 and 7 (203, 204).
"""
import os
import random
import unittest

import broker_wire
import wire_codec as codec
from access_rig import AccessTest


class Publishing(AccessTest):
    rules = ("deny  *     publish   open/secret\n"
             "allow *     publish   open/#\n"
             "allow *     publish   box/%u/+\n"
             "allow bob   publish   bobs\n"
             "allow *     subscribe #\n")

    def test_denied_by_a_rule(self):
        error = self.assert_refused("PUBLISH_DENIED", self.user(
            "alice").publish, "open/secret")
        self.assertEqual(
            (error.refused_type, error.error_class, error.retry,
             error.value(codec.TOPIC)),
            (codec.Publish.TYPE, codec.Error.REQUEST, 0, b"open/secret"))
        self.assertIn("deny * publish open/secret", error.text)
        self.assertIn("line 1", error.text)

    def test_denied_without_a_rule(self):
        alice, owner = self.user("alice"), self.owner()
        owner.subscribe("#")
        for topic in ["bobs", "Open", "open2", "box", "box/bob/1",
                      "box/alice", "box/alice/1/2", "box/%u/1"]:
            with self.subTest(topic=topic):
                error = self.assert_refused("PUBLISH_DENIED", alice.publish,
                                            topic)
                self.assertEqual(error.value(codec.TOPIC), topic.encode())
                self.assertTrue(error.text)
        self.assert_silent(owner)
        stats = self.stats()
        self.assertEqual(stats["denied_publishes"], 8)
        self.assertEqual(stats["refused_publishes"], 8)

    def test_permitted(self):
        alice, bob = self.user("alice"), self.user("bob")
        self.owner().subscribe("#")
        for connection, topic in [(alice, "open"), (alice, "open/a/b"),
                                  (alice, "box/alice/1"), (bob, "bobs"),
                                  (bob, "box/bob/")]:
            self.assertEqual(connection.publish(topic).matched, 1)

    def test_without_a_number(self):
        alice = self.user("alice")
        alice.publish("bobs", ack=False)
        alice.ping()
        error = alice.next_event()
        self.assertEqual((error.name, error.id, error.value(codec.TOPIC)),
                         ("PUBLISH_DENIED", 0, b"bobs"))

    def test_in_a_burst(self):
        """Each gets its own answer; what stands between is routed."""
        alice, owner = self.user("alice"), self.owner()
        owner.subscribe("#")
        topics = [b"bobs", b"open/1", b"open/2", b"open/secret"] * 500
        alice.send_bytes(b"".join(
            codec.Publish(id=n + 1, topic=topic, payload=b"%d" % n).encode()
            for n, topic in enumerate(topics)))
        settled = {}
        while len(settled) < len(topics):
            event = alice.next_event()
            if isinstance(event, codec.Error):
                self.assertEqual(event.name, "PUBLISH_DENIED")
                self.assertEqual(event.value(codec.TOPIC),
                                 topics[event.id - 1])
                settled[event.id] = False
            else:
                for number in range(event.id - event.count + 1,
                                    event.id + 1):
                    settled[number] = True
        self.assertEqual([settled[n + 1] for n in range(len(topics))],
                         [t in (b"open/1", b"open/2") for t in topics])
        got = [int(owner.next_event().payload) for _ in range(1000)]
        self.assertEqual(got, [n for n in range(2000) if n % 4 in (1, 2)])
        self.assert_silent(owner)

    def test_retained_values(self):
        alice = self.user("alice")
        self.assert_refused("PUBLISH_DENIED", alice.publish, "bobs", "x",
                            retain=True)
        self.assertEqual(self.owner().subscribe("#").retained, 0)
        self.user("bob").publish("bobs", "kept", retain=True)
        self.assert_refused("PUBLISH_DENIED", alice.publish, "bobs", "",
                            retain=True)
        self.assertEqual(self.owner().subscribe("#").retained, 1)

    def test_reply_topics(self):
        """Who asks must be allowed to publish where the answer goes."""
        owner, alice = self.owner(), self.user("alice")
        owner.subscribe("open/service")
        error = self.assert_refused(
            "PUBLISH_DENIED", alice.publish, "open/service",
            reply_to="bobs")
        self.assertTrue(error.text)
        self.assert_silent(owner)
        alice.publish("open/service", reply_to="open/answers")
        self.assertEqual(owner.next_event().reply_to, b"open/answers")
        self.user("bob").publish("open/service", reply_to="bobs")

    def test_requests_to_the_broker(self):
        """$sys needs a rule of its own; # does not give it away."""
        alice = self.user("alice")
        alice.subscribe("open/answers")
        for what in ["stats", "connections", "subscriptions", "other"]:
            self.assert_refused("PUBLISH_DENIED", alice.publish,
                                "$sys/" + what, reply_to="open/answers")
        self.assert_silent(alice)
        self.set_rules(self.rules + "allow * publish #\n"
                       "allow bob publish $sys/stats\n")
        self.reload()
        self.assert_refused("PUBLISH_DENIED", alice.publish, "$sys/stats",
                            reply_to="open/answers")
        bob = self.user("bob")
        bob.subscribe("open/answers")
        bob.publish("$sys/stats", reply_to="open/answers")
        self.assertIn(b"uptime_ms", bob.next_event().payload)
        self.assert_refused("PUBLISH_DENIED", bob.publish,
                            "$sys/connections", reply_to="open/answers")
        self.assert_refused("RESERVED_TOPIC", bob.publish, "$sys/stats")


class Subscribing(AccessTest):
    rules = ("deny  alice subscribe news/secret/#\n"
             "allow alice subscribe news/#\n"
             "allow *     subscribe box/%u\n"
             "allow *     publish   #\n")

    def setUp(self):
        super().setUp()
        self.alice, self.bob = self.user("alice"), self.user("bob")

    def test_denied(self):
        for text in ["news/secret", "news/secret/#", "news/secret/+/x",
                     "box/bob", "other/#", "$sys/#", "$sys/stats",
                     "box/bob/#"]:
            with self.subTest(filter=text):
                error = self.assert_refused(
                    "SUBSCRIBE_DENIED", self.alice.subscribe, text)
                self.assertEqual(
                    (error.refused_type, error.error_class, error.retry),
                    (codec.Subscribe.TYPE, codec.Error.REQUEST, 0))
                self.assertTrue(error.text)
        self.assertEqual(self.stats()["denied_subscribes"], 8)
        self.assertEqual(self.system_list("subscriptions")[1:], [])
        self.assertEqual(self.bob.publish("news/secret").matched, 0)

    def test_the_rule_is_named(self):
        error = self.assert_refused("SUBSCRIBE_DENIED",
                                    self.alice.subscribe, "news/secret/a")
        self.assertIn("deny alice subscribe news/secret/#", error.text)
        self.assertIn("line 1", error.text)

    def test_an_id_that_was_denied_is_free(self):
        self.assert_refused("SUBSCRIBE_DENIED", self.alice.subscribe, "x")
        self.alice.last_subscription -= 1
        self.assertEqual(self.alice.subscribe("news/a").id, 1)

    def test_granted_whole(self):
        self.alice.subscribe("news/+")  # but for news/secret
        self.alice.subscribe("box/alice")
        self.assertEqual(self.bob.publish("news/a").matched, 1)
        self.assertEqual(self.bob.publish("box/alice").matched, 1)
        self.assertEqual([topic for _, topic, _ in
                          self.received(self.alice)], ["news/a",
                                                       "box/alice"])

    def publish_all(self):
        topics = ["news", "news/a", "news/secret", "news/secret/x",
                  "box/alice", "box/bob", "box/alice/x", "a", "/", "a/x",
                  "news/"]
        return {topic: self.bob.publish(topic).matched for topic in topics}

    def test_granted_in_part(self):
        """Only what is permitted is delivered, counted and told."""
        permitted = {"#": {"news", "news/a", "news/", "box/alice"},
                     "+/+": {"news/a", "news/", "box/alice"},
                     "+/+/x": set(), "+": {"news"},
                     "news/#": {"news", "news/a", "news/"}}
        for text, topics in permitted.items():
            with self.subTest(filter=text):
                try:
                    answer = self.alice.subscribe(text)
                except broker_wire.Refused as refused:
                    self.assertEqual(refused.name, "SUBSCRIBE_DENIED")
                    self.assertEqual(topics, set())
                    continue
                matched = self.publish_all()
                self.assertEqual({t for t, n in matched.items() if n},
                                 topics)
                self.assertEqual([t for _, t, _ in
                                  self.received(self.alice)],
                                 [t for t in matched if t in topics])
                books = self.alice.unsubscribe(answer.id)
                self.assertEqual((books.matched, books.delivered,
                                  books.dropped), (len(topics),
                                                   len(topics), 0))

    def test_beside_others(self):
        """The context names the subscriptions that it is permitted for."""
        ids = [self.alice.subscribe(text).id
               for text in ["#", "news/#", "news/a"]]
        owner = self.owner()
        owner.subscribe("#")
        self.assertEqual(self.bob.publish("news/a").matched, 4)
        self.assertEqual(self.bob.publish("news/secret").matched, 1)
        self.assertEqual(self.bob.publish("other").matched, 1)
        ((subscriptions, topic, _),) = self.received(self.alice)
        self.assertEqual((sorted(subscriptions), topic), (ids, "news/a"))
        self.assertEqual(len(self.received(owner)), 3)

    def test_retained_values(self):
        for topic in ["news/a", "news/secret/x", "other", "box/alice",
                      "box/bob"]:
            self.bob.publish(topic, "kept", retain=True)
        answer = self.alice.subscribe("#")
        self.assertEqual(answer.retained, 2)
        self.assertEqual([t for _, t, _ in self.received(self.alice)],
                         ["news/a", "box/alice"])
        books = self.alice.unsubscribe(answer.id)
        self.assertEqual(books.matched, 2)

    def test_queue_groups_must_be_granted_whole(self):
        for text in ["#", "news/#", "+/alice", "box/bob"]:
            self.assert_refused("SUBSCRIBE_DENIED", self.alice.subscribe,
                                text, "group")
        self.alice.subscribe("news/a", "group")
        self.alice.subscribe("box/alice", "group")
        owner = self.owner()
        owner.subscribe("news/#", "group")
        for _ in range(10):
            self.assertEqual(self.bob.publish("news/secret").matched, 1)
        self.assertEqual(len(self.received(owner)), 10)

    def test_nobody_is_told_of_a_subscriber_who_may_not(self):
        self.alice.subscribe("#")
        self.bob.subscribe("box/bob")
        self.assert_refused("NO_SUBSCRIBERS", self.bob.publish,
                            "news/secret/service", reply_to="box/bob")
        self.assertEqual(self.bob.publish(
            "news/service", reply_to="box/bob").matched, 1)

    def test_a_publishers_own_subscription(self):
        self.alice.subscribe("#")
        self.assertEqual(self.alice.publish("news/secret").matched, 0)
        self.assertEqual(self.alice.publish("news/a").matched, 1)

    def test_draining(self):
        answer = self.alice.subscribe("#")
        for topic in ["news/a", "news/secret", "news/b"]:
            self.bob.publish(topic)
        books = self.alice.unsubscribe(answer.id, drain=True)
        self.assertEqual((books.matched, books.delivered), (2, 2))

    def test_much_at_once(self):
        """Runs of messages to one topic are routed together."""
        self.alice.subscribe("#")
        topics = [b"news/a"] * 40 + [b"news/secret"] * 40 + [b"other"] * 40
        for turn in range(20):
            self.bob.send_bytes(b"".join(
                codec.Publish(topic=topic, payload=b"%d" % turn).encode()
                for topic in topics))
        self.bob.ping()
        got = self.received(self.alice)
        self.assertEqual([(t, int(p)) for _, t, p in got],
                         [("news/a", turn) for turn in range(20)
                          for _ in range(40)])


class Sessions(AccessTest):
    """A session id belongs to the user who made it."""
    users = ("alice", "bob")
    mine = bytes(range(16))

    def test_another_user_does_not_take_it_over(self):
        alice = self.user("alice", session=self.mine)
        self.assertEqual(alice.welcome.session, self.mine)
        for _ in range(5):
            alice.publish("t")
        for other in [self.user("bob", session=self.mine),
                      self.owner(session=self.mine)]:
            self.assertNotEqual(other.welcome.session, bytes(16))
            self.assertEqual(other.welcome.last_publish, 0)
            answer = other.publish("t", flags=codec.RETRY)
            self.assertFalse(answer.flags & codec.DUPLICATE)
        self.assert_silent(alice)
        alice.publish("t")

    def test_the_same_user_does(self):
        alice = self.user("alice", session=self.mine)
        for _ in range(5):
            alice.publish("t")
        again = self.user("alice", session=self.mine)
        self.assertEqual((again.welcome.session, again.welcome.last_publish),
                         (self.mine, 5))
        self.assertEqual(alice.read_to_end()[-1].name, "SESSION_TAKEN")

    def test_after_its_user_left(self):
        alice = self.user("alice", session=self.mine)
        for _ in range(5):
            alice.publish("t")
        alice.close()
        bob = self.user("bob", session=self.mine)
        self.assertEqual(bob.welcome.last_publish, 0)
        again = self.user("alice", session=self.mine)
        self.assertEqual((again.welcome.session, again.welcome.last_publish),
                         (self.mine, 5))
        bob.ping()

    def test_denied_publishes_are_settled(self):
        self.set_rules("allow * publish t\n")
        self.reload()
        alice = self.user("alice", session=self.mine)
        alice.publish("t")
        self.assert_refused("PUBLISH_DENIED", alice.publish, "u")
        alice.close()
        self.assertEqual(self.user(
            "alice", session=self.mine).welcome.last_publish, 2)


def first_rule(rules, user, action, topic):
    """The model: the first rule that matches decides; else denied."""
    for verdict, actions, text in rules:
        if actions in (action, "all") and codec.filter_matches(
                text.replace("%u", user).encode(), topic.encode()):
            return verdict == "allow"
    return False


class Model(AccessTest):
    """Random rules, and what becomes of every topic under them."""
    users = tuple("u%d" % n for n in range(6))
    levels = ["a", "b", "u1", "", "$x"]

    def setUp(self):
        self.random = random.Random(int(os.environ.get("BROKER_TEST_SEED",
                                                       "7")))
        self.of = {user: self.some_rules() for user in self.users}
        self.rules = "".join(
            "%s %s %s \"%s\"\n" % (verdict, user, actions, text)
            for user, rules in self.of.items()
            for verdict, actions, text in rules)
        super().setUp()

    def some_filter(self, extra=()):
        parts = [self.random.choice(["a", "b", "+", "+", "u1", "", *extra])
                 for _ in range(self.random.randint(1, 3))]
        if self.random.random() < 0.4:
            parts.append("#")
        return "/".join(parts) or "+"

    def some_rules(self):
        chosen = {}
        for _ in range(self.random.randint(1, 7)):
            text = self.some_filter(["%u"])
            chosen[text] = (self.random.choice(["allow", "allow", "deny"]),
                            self.random.choice(["publish", "subscribe",
                                                "all"]), text)
        return list(chosen.values())

    def topics(self):
        words = ["a", "b", "u1", "u2", ""]
        return ([w for w in words if w]
                + ["%s/%s" % (v, w) for v in words for w in words]
                + ["a/%s/%s" % (v, w) for v in words for w in words])

    def test_publishing(self):
        for user, rules in self.of.items():
            connection = self.user(user)
            for topic in self.topics():
                try:
                    connection.publish(topic)
                    allowed = True
                except broker_wire.Refused:
                    allowed = False
                self.assertEqual(allowed, first_rule(
                    rules, user, "publish", topic), (rules, user, topic))

    def test_subscribing(self):
        subscribers = {}  # connection: its filters by subscription
        for user in self.users:
            connection = subscribers[user] = self.user(user)
            connection.filters = {}
            for text in {self.some_filter() for _ in range(12)} | {"#"}:
                try:
                    answer = connection.subscribe(text)
                    connection.filters[answer.id] = text
                except broker_wire.Refused:
                    may = [t for t in self.topics() if codec.filter_matches(
                        text.encode(), t.encode()) and first_rule(
                            self.of[user], user, "subscribe", t)]
                    self.assertEqual(may, [], (self.of[user], text))
        owner = self.owner()
        matched = {topic: owner.publish(topic).matched
                   for topic in self.topics()}
        expected = dict.fromkeys(matched, 0)
        for user, connection in subscribers.items():
            got = {(s, t) for subscriptions, t, _ in
                   self.received(connection) for s in subscriptions}
            due = {(s, t) for s, text in connection.filters.items()
                   for t in matched
                   if codec.filter_matches(text.encode(), t.encode())
                   and first_rule(self.of[user], user, "subscribe", t)}
            self.assertEqual(got, due, (self.of[user], connection.filters))
            for _, topic in due:
                expected[topic] += 1
        self.assertEqual(matched, expected)


if __name__ == "__main__":
    unittest.main()
