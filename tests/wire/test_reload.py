# SPDX-License-Identifier: MIT
"""SIGHUP: rights and limits change while everybody is connected.

PROTOCOL.md section 5.11, last item, and brokerd.access(5).
"""
import os
import threading
import unittest

import wire_codec as codec
from access_rig import ALL, AccessTest
from harness import DEADLINE, Ledger, numbered, wait_until

OLD = "allow alice all old/#\nallow alice all both\nallow bob all #\n"
NEW = "allow alice all new/#\nallow alice all both\nallow bob all #\n"


class Rules(AccessTest):
    rules = OLD

    def setUp(self):
        super().setUp()
        self.alice, self.bob = self.user("alice"), self.user("bob")

    def use(self, rules):
        self.set_rules(rules)
        self.reload()

    def revoked(self, connection):
        """The next event, which must be ERROR REVOKED: its subscription."""
        error = connection.next_event()
        self.assertIsInstance(error, codec.Error)
        self.assertEqual(
            (error.name, error.refused_type, error.error_class, error.retry),
            ("REVOKED", codec.Subscribe.TYPE, codec.Error.SUBSCRIPTION, 0))
        self.assertTrue(error.text)
        return error.id

    def test_a_subscription_is_revoked(self):
        gone = self.alice.subscribe("old/a").id
        stays = self.alice.subscribe("both").id
        self.bob.publish("old/a", "before")
        self.use(NEW)
        self.assertEqual(self.bob.publish("old/a").matched, 0)
        self.assertEqual(self.bob.publish("both").matched, 1)
        self.assertEqual(self.alice.next_event().payload, b"before")
        self.assertEqual(self.revoked(self.alice), gone)
        event = self.alice.next_event()
        self.assertEqual((event.topic, event.subscriptions),
                         ("both", (stays,)))
        self.assert_silent(self.alice)
        self.assert_refused("UNKNOWN_SUBSCRIPTION", self.alice.unsubscribe,
                            gone)
        self.alice.subscribe("new/a")
        self.assertEqual(self.stats()["revoked_subscriptions"], 1)

    def test_what_is_allowed_now(self):
        self.assert_refused("PUBLISH_DENIED", self.alice.publish, "new/a")
        self.assert_refused("SUBSCRIBE_DENIED", self.alice.subscribe,
                            "new/a")
        self.use(NEW)
        self.alice.subscribe("new/a")
        self.assertEqual(self.alice.publish("new/a").matched, 1)
        self.assert_refused("PUBLISH_DENIED", self.alice.publish, "old/a")
        self.assert_refused("SUBSCRIBE_DENIED", self.alice.subscribe,
                            "old/a")

    def test_a_subscription_in_part_follows_the_rules(self):
        """It lives as long as anything of it is permitted."""
        answer = self.alice.subscribe("#")
        topics = ["old/a", "new/a", "both", "third"]
        every = OLD + "allow alice subscribe +\nallow alice all new/a\n"
        for rules, permitted in [(OLD, {"old/a", "both"}),
                                 (NEW, {"new/a", "both"}),
                                 (every, set(topics)),
                                 (OLD, {"old/a", "both"})]:
            self.use(rules)
            self.assertEqual({t for t in topics
                              if self.bob.publish(t).matched}, permitted)
            self.assertEqual({t for _, t, _ in self.received(self.alice)},
                             permitted)
        self.assertEqual(self.alice.unsubscribe(answer.id).matched, 10)

    def test_a_queue_group(self):
        """Its member must be granted whole; others then do the work."""
        self.use(ALL)
        gone = self.alice.subscribe("old/#", "group").id
        self.bob.subscribe("old/#", "group")
        self.use("deny alice subscribe old/secret\n" + OLD)
        self.assertEqual(self.revoked(self.alice), gone)
        for _ in range(10):
            self.assertEqual(self.bob.publish("old/a").matched, 1)
        self.assertEqual(len(self.received(self.bob)), 10)

    def test_nothing_changes(self):
        subscription = self.alice.subscribe("old/#").id
        for _ in range(5):
            self.use(OLD)
            self.bob.publish("old/a")
        got = self.received(self.alice)
        self.assertEqual([s for s, _, _ in got], [(subscription,)] * 5)
        self.assertEqual(self.stats()["revoked_subscriptions"], 0)

    def test_back_and_forth(self):
        """A subscription that was revoked does not come back by itself."""
        self.alice.subscribe("old/a")
        self.use(NEW)
        self.revoked(self.alice)
        self.use(OLD)
        self.assertEqual(self.bob.publish("old/a").matched, 0)
        self.alice.subscribe("old/a")
        self.assertEqual(self.bob.publish("old/a").matched, 1)

    def test_thousands_are_revoked(self):
        ids = [self.alice.subscribe("old/%d" % n).id for n in range(2000)]
        kept = self.alice.subscribe("both").id
        self.use(NEW)
        self.assertEqual({self.revoked(self.alice) for _ in ids}, set(ids))
        self.bob.publish("both")
        self.assertEqual(self.alice.next_event().subscriptions, (kept,))
        self.assertEqual(len(self.system_list("subscriptions")), 2)

    def test_sessions_live_on(self):
        alice = self.user("alice", session=bytes(range(16)))
        for _ in range(3):
            alice.publish("both")
        self.use(NEW)
        alice.publish("both")
        alice.close()
        again = self.user("alice", session=bytes(range(16)))
        self.assertEqual(again.welcome.last_publish, 4)


class Users(AccessTest):
    passwords = {"carol": b"old secret"}
    rules = ALL

    def test_a_user_who_is_gone(self):
        alice, bob = self.user("alice"), self.user("bob")
        carol = self.connect(credentials=("carol", "password",
                                          b"old secret"))
        for connection in (alice, bob, carol):
            connection.subscribe("t")
        self.brokerctl_passwd("alice", "--delete")
        self.brokerctl_passwd("carol", "--delete")
        self.reload()
        for gone in (alice, carol):
            self.assertEqual(gone.read_to_end()[-1].name, "AUTH_FAILED")
        self.assertEqual(bob.publish("t").matched, 1)
        self.assert_not_let_in(self.say_hello("alice", "token",
                                              self.tokens["alice"]))

    def test_a_new_user_and_a_new_password(self):
        self.set_password("carol", b"new secret")
        token = self.new_token("dave")
        self.assert_not_let_in(self.say_hello("dave", "token", token))
        self.assert_not_let_in(self.say_hello("carol", "password",
                                              b"new secret"))
        self.reload()
        self.connect(credentials=("dave", "token", token)).ping()
        self.connect(credentials=("carol", "password",
                                  b"new secret")).ping()
        self.assert_not_let_in(self.say_hello("carol", "password",
                                              b"old secret"))

    def test_while_passwords_are_checked(self):
        """By what holds when the check ends nobody comes in who is gone."""
        peers = [self.say_hello("carol", "password", b"old secret")
                 for _ in range(10)]
        self.let_process()
        self.brokerctl_passwd("carol", "--delete")
        self.reload()
        for peer in peers:
            frames = [peer.next_frame()]
            if frames[0].NAME == "WELCOME":
                frames.append(peer.next_frame())
            self.assertEqual(getattr(frames[-1], "name", frames[-1].NAME),
                             "AUTH_FAILED")

    def test_by_which_rules_they_come_in(self):
        peers = [self.say_hello("carol", "password", b"old secret",
                                behind=[codec.Publish(id=1, topic=b"t")])
                 for _ in range(10)]
        self.let_process()
        self.set_rules("deny carol all #\n" + ALL)
        self.reload()
        denied = 0
        for peer in peers:
            self.assertEqual(peer.next_frame().NAME, "WELCOME")
            denied += peer.next_frame().NAME == "ERROR"
        self.assertGreater(denied, 0)


class Mistakes(AccessTest):
    rules = OLD

    def test_a_wrong_file_changes_nothing(self):
        alice = self.user("alice")
        alice.subscribe("old/#")
        with open(self.password_file, encoding="utf-8") as file:
            passwords = file.read()
        for path, text, why in [
                (self.access_file, "alow alice all new/#\n", "alow"),
                (self.access_file, "allow alice all a/#/b\n", "a/#/b"),
                (self.access_file, NEW + "allow alice all new/#\n",
                 "access"),
                (self.access_file, None, "access"),
                (self.password_file, "alice:secret\n", "passwords")]:
            with self.subTest(text=text):
                self.set_rules(NEW)
                if text is None:
                    os.unlink(path)
                else:
                    with open(path, "w", encoding="utf-8") as file:
                        file.write(text)
                seen = len(self.broker.log())
                self.reload("reload-failed")
                self.assertIn(why, self.broker.log()[seen:])
                self.assertEqual(alice.publish("old/a").matched, 1)
                self.assert_refused("PUBLISH_DENIED", alice.publish,
                                    "new/a")
                self.user("alice").ping()
                with open(self.password_file, "w",
                          encoding="utf-8") as file:
                    file.write(passwords)
        self.set_rules(NEW)
        self.reload()
        self.assertEqual(alice.publish("new/a").matched, 0)


class Settings(AccessTest):
    """Keys of the configuration file."""

    def setUp(self):
        super().setUp()
        self.config = os.path.join(self.folder, "brokerd.conf")
        self.configure()
        broker, self.broker = self.broker, None
        broker.signal(15)
        broker.wait()
        self.broker = self.start_broker(**dict(self.options,
                                               config=self.config))

    def configure(self, **keys):
        with open(self.config, "w", encoding="utf-8") as file:
            file.write("".join("%s = %s\n" % key for key in keys.items()))

    def test_limits_change(self):
        alice = self.user("alice")
        alice.subscribe("a")
        alice.subscribe("b")
        self.configure(max_subscriptions=2, max_user_connections=1,
                       heartbeat_ms=7000)
        self.reload()
        self.assert_refused("TOO_MANY_SUBSCRIPTIONS", alice.subscribe, "c")
        self.assert_closed_with(
            self.say_hello("alice", "token", self.tokens["alice"]),
            "TOO_MANY_CONNECTIONS")
        bob = self.user("bob")
        self.assertEqual((bob.welcome.max_subscriptions,
                          bob.welcome.heartbeat_ms), (2, 7000))
        self.assertEqual(bob.publish("a").matched, 1)
        self.configure()
        self.reload()
        alice.subscribe("c")
        self.user("alice").ping()

    def test_a_wrong_value_changes_nothing(self):
        alice = self.user("alice")
        self.configure(max_subscriptions=0, max_topic_bytes="many")
        seen = len(self.broker.log())
        self.reload("reload-failed")
        self.assertIn("max_subscriptions", self.broker.log()[seen:])
        self.assertIn("brokerd.conf:", self.broker.log()[seen:])
        for n in range(10):
            alice.subscribe("t/%d" % n)

    def test_the_size_of_retained_values(self):
        alice = self.user("alice")
        alice.publish("a", "kept", retain=True)
        self.configure(max_retained_topics=1)
        self.reload()
        self.assert_refused("RETAINED_LIMIT", alice.publish, "b", "more",
                            retain=True)
        self.assertEqual(alice.subscribe("#").retained, 1)


class UnderLoad(AccessTest):
    rules = ALL
    options = {"max_output_bytes": 64 << 20}

    def publisher(self, connection, topic, until):
        """Publishes numbered messages until told to stop; counts them."""
        def run():
            while not until.is_set():
                for payload in numbered(200, 32, self.published[topic]):
                    connection.publish(topic, payload, ack=False)
                self.published[topic] += 200
                connection.ping()
        return threading.Thread(target=run, daemon=True)

    def test_nothing_is_lost(self):
        self.published = {"t/0": 0, "t/1": 0}
        readers = [self.user(name) for name in ("alice", "bob")]
        ledgers = [Ledger(reader.subscribe(topic).id) for reader, topic
                   in zip(readers, self.published)]
        extra = self.user("alice")
        done = threading.Event()
        threads = [self.publisher(self.user("bob"), topic, done)
                   for topic in self.published]
        for thread in threads:
            thread.start()
        for _ in range(5):
            gone = extra.subscribe("extra/#").id
            before = dict(self.published)
            self.set_rules("deny alice all extra/#\n" + ALL)
            self.reload()
            event = extra.next_event()
            self.assertEqual((event.name, event.id), ("REVOKED", gone))
            self.set_rules(ALL)
            self.reload()
            wait_until(lambda: all(self.published[t] > before[t]
                                   for t in before), what="progress")
        done.set()
        for thread in threads:
            thread.join(DEADLINE)
        for reader, ledger, topic in zip(readers, ledgers, self.published):
            ledger.read(reader, self.published[topic])
            self.assertEqual(ledger.missing, 0)
            self.assertGreater(ledger.received, 1000)


if __name__ == "__main__":
    unittest.main()
