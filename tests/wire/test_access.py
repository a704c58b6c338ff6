# SPDX-License-Identifier: MIT
"""Who a client is: secrets, and accounts of the machine.

PROTOCOL.md sections 2.1, 5.10 and 7 (201, 202).
"""
import os
import signal
import unittest

import broker_wire
import wire_codec as codec
from access_rig import ALL, NOBODY, AccessTest, Somebody
from harness import BrokerTest, wait_until

ALICE = ("alice", "password", b"wonder land")


class Secrets(AccessTest):
    passwords = {"alice": b"wonder land", "bob": b"\xc3\xbc builder"}

    def test_a_right_password(self):
        for address in self.broker.addresses:
            for credentials in [ALICE,
                                ("bob", "password", b"\xc3\xbc builder")]:
                connection = self.connect(address, credentials=credentials)
                self.assert_user(connection, credentials[0])
                connection.subscribe("t")
                self.assertEqual(connection.publish("t").matched, 1)
                connection.close()

    def test_a_right_token(self):
        second = self.new_token("alice")
        self.reload()
        for token in [self.tokens["alice"], second]:
            connection = self.connect(credentials=("alice", "token", token))
            self.assert_user(connection, "alice")
            connection.ping()

    def test_wrong_secrets(self):
        """And nobody learns whether there is such a user."""
        token, texts = self.tokens["alice"], set()
        cases = [("alice", "password", secret) for secret in
                 [b"", b"wonder lan", b"wonder land ", b"wonder land\n",
                  b"wonder land\0", b"Wonder land", token, b"x" * 60000]]
        cases += [("alice", "token", secret) for secret in
                  [b"", b"wonder land", token[:-1], token + b"x",
                   token.lower(), self.tokens["bob"], b"x" * 60000]]
        cases += [(user, method, secret)
                  for user in ["carol", "Alice", "owner", "uid:0", "@all",
                               "alice ", "x" * 255]
                  for method, secret in [("password", b"wonder land"),
                                         ("token", token)]]
        for case in cases:
            with self.subTest(case=case):
                texts.add(self.assert_not_let_in(self.say_hello(*case)))
        self.assertEqual(len(texts), 1, texts)
        self.assertEqual(self.stats()["denied_connections"], len(cases))
        self.connect(credentials=ALICE).ping()

    def test_an_unknown_method(self):
        for method in ["Password", "passwor", "password2", "certificate",
                       "x" * 255]:
            with self.subTest(method=method):
                self.assert_not_let_in(self.say_hello(
                    "alice", method, b"wonder land"))

    def test_nothing_given(self):
        self.assert_not_let_in(self.say_hello(), "AUTH_REQUIRED")
        self.assertEqual(self.stats()["denied_connections"], 1)

    def test_given_in_part(self):
        fields = broker_wire.credential_fields(ALICE)
        for missing in range(3):
            peer = self.raw()
            peer.send(codec.Hello(id=1, fields=fields[:missing]
                                  + fields[missing + 1:]))
            self.assert_closed_with(peer, "MALFORMED", codec.Hello(id=1))

    def test_what_is_said_comes_before_the_account(self):
        self.assert_user(self.owner(), "owner")
        self.assert_user(self.connect(self.broker.unix, credentials=ALICE),
                         "alice")
        self.assert_not_let_in(self.say_hello(
            "alice", "password", b"wrong", address=self.broker.unix))

    def test_the_statistics_name_users(self):
        peers = [self.connect(credentials=ALICE), self.user("bob")]
        self.assertEqual({entry["user"] for entry in
                          self.system_list("connections")},
                         {"alice", "bob", "owner"})
        del peers


class Log(AccessTest):
    passwords = {"alice": b"wonder land"}
    options = {"log_level": "debug"}

    def test_secrets_are_not_in_the_log(self):
        self.connect(credentials=ALICE).close()
        self.user("alice").close()
        for method in ["password", "token", "other-method"]:
            self.assert_not_let_in(self.say_hello("alice", method,
                                                  b"wrong-secret"))
            self.assert_not_let_in(self.say_hello("nobody", method,
                                                  b"wrong-secret"))
        fields = [(codec.AUTH_DATA, b"wrong-secret")]
        peer = self.raw()
        peer.send(codec.Hello(id=1, fields=fields))
        peer.rest()
        self.reload()
        log = self.broker.log()
        self.assertIn("conn-denied", log)
        for secret in [b"wonder land", b"wrong-secret",
                       self.tokens["alice"]]:
            self.assertNotIn(secret.decode(), log)
        with open(self.password_file, encoding="utf-8") as file:
            for line in file:
                self.assertNotIn(line.strip().split("$")[-1], log)


class Waiting(AccessTest):
    """What happens while a password is being checked."""
    passwords = {"alice": b"wonder land"}
    frames = (codec.Subscribe(id=7, filter=b"t"),
              codec.Publish(id=1, topic=b"t", payload=b"one"),
              codec.Publish(id=2, topic=b"u"),
              codec.Publish(id=3, topic=b"t", payload=b"three"),
              codec.Ping(id=9))

    def test_frames_behind_hello_wait(self):
        peer = self.say_hello(*ALICE, behind=self.frames)
        self.assertEqual(peer.next_frame().NAME, "WELCOME")
        frames = [peer.next_frame()]
        self.assertEqual((frames[0].NAME, frames[0].id), ("SUBACK", 7))
        payloads, settled = [], {}
        while len(payloads) < 2 or "PONG" not in settled:
            frame = peer.next_frame()
            if frame.NAME == "PUBLISH":
                payloads.append(frame.payload)
            elif frame.NAME == "PUBACK":
                for number in range(frame.id - frame.count + 1,
                                    frame.id + 1):
                    self.assertNotIn("PONG", settled)
                    settled[number] = frame.matched
            elif frame.NAME == "PONG":
                settled["PONG"] = frame.id
        self.assertEqual(payloads, [b"one", b"three"])
        self.assertEqual(settled, {1: 1, 2: 0, 3: 1, "PONG": 9})

    def test_frames_in_pieces_meanwhile(self):
        peer = self.say_hello(*ALICE)
        for frame in self.frames:
            data = frame.encode()
            for at in range(0, len(data), 5):
                peer.send(data[at:at + 5])
        names = [peer.next_frame().NAME for _ in range(2)]
        self.assertEqual(names, ["WELCOME", "SUBACK"])

    def test_nothing_is_done_for_who_is_not_let_in(self):
        owner = self.owner()
        owner.subscribe("#")
        for credentials in [(), ("alice", "password", b"wrong"),
                            ("alice", "token", b"wrong")]:
            peer = self.say_hello(*credentials, behind=self.frames)
            self.assertEqual([f.NAME for f in peer.rest()],
                             ["ERROR", "GOAWAY"])
        self.assert_silent(owner)
        # The question itself may count.
        self.assertLessEqual(self.stats()["received_messages"], 1)

    def test_a_broken_frame_behind_hello(self):
        peer = self.say_hello(*ALICE, behind=(
            codec.Publish(id=1, topic=b"t"),
            codec.Puback(id=5)))
        names = [(f.NAME, getattr(f, "name", "")) for f in peer.rest()]
        self.assertEqual(names, [("WELCOME", ""), ("PUBACK", ""),
                                 ("ERROR", "UNEXPECTED_FRAME"),
                                 ("GOAWAY", "UNEXPECTED_FRAME")])

    def test_half_close_meanwhile(self):
        peer = self.say_hello(*ALICE, behind=self.frames)
        peer.half_close()
        names = [frame.NAME for frame in peer.rest()]
        self.assertEqual(names[:2], ["WELCOME", "SUBACK"])
        self.assertEqual(names.count("PUBLISH"), 2)
        self.assertEqual(names.count("PONG"), 1)

    def test_others_are_not_held_up(self):
        first, second = self.owner(), self.owner()
        first.subscribe("t")
        peers = [self.say_hello("alice", "password", b"wrong %d" % n)
                 for n in range(20)]
        for n in range(20):
            self.assertEqual(second.publish("t", str(n)).matched, 1)
            self.assertEqual(first.next_event().payload, b"%d" % n)
        answered = sum(peer.readable(0) for peer in peers)
        self.assertLess(answered, 20)
        for peer in peers:
            self.assert_not_let_in(peer)

    def test_tokens_do_not_wait_for_passwords(self):
        peers = [self.say_hello(*ALICE) for _ in range(20)]
        self.user("bob").ping()
        self.assertLess(sum(peer.readable(0) for peer in peers), 20)
        for peer in peers:
            self.assertEqual(peer.next_frame().NAME, "WELCOME")

    def test_peers_that_die_meanwhile(self):
        before = self.broker.descriptors()
        for n in range(15):
            peer = self.say_hello(*ALICE, behind=self.frames)
            if n % 2:
                peer.reset()
            else:
                peer.abort()
        self.let_process()
        wait_until(lambda: self.broker.descriptors() <= before,
                   what="the release of peers that died")
        self.connect(credentials=ALICE).ping()

    def test_the_broker_stops_meanwhile(self):
        peers = [self.say_hello(*ALICE) for _ in range(20)]
        self.let_process()
        self.broker.signal(signal.SIGTERM)
        self.assertEqual(self.broker.wait(), 0)
        for peer in peers:
            names = [f.NAME for f in peer.rest()]
            self.assertIn(names[-1:], (["GOAWAY"], []))


class Impatient(AccessTest):
    passwords = {"alice": b"wonder land"}
    options = {"handshake_timeout_ms": 300}

    def test_the_timeout_is_for_hello_not_for_its_check(self):
        peers = [self.say_hello(*ALICE) for _ in range(20)]
        for peer in peers:
            self.assertEqual(peer.next_frame().NAME, "WELCOME")

    def test_without_hello(self):
        self.assert_closed_with(self.raw(), "HANDSHAKE_TIMEOUT")


class Owner(AccessTest):
    rules = "allow alice all only/this\n"

    def test_the_owner_may_do_everything(self):
        owner = self.owner()
        self.assert_user(owner, "owner")
        owner.subscribe("#")
        self.assertEqual(owner.publish("anything/at/all").matched, 1)
        self.assertIn("uptime_ms", owner.stats())


@unittest.skipIf(os.geteuid() != 0, "only root can be somebody else")
class Accounts(AccessTest):
    """Over a UNIX socket the account of the machine is the user."""
    options = {"unix_mode": "0777"}
    rules = ("group staff bob\n"
             "unix alice %d\n"
             "unix @staff 4\n"
             "allow alice all alice/#\n"
             "allow uid:4711 publish box\n"
             "allow @staff publish staff\n" % NOBODY)

    def somebody(self, uid, gid=NOBODY):
        with Somebody(uid, gid):
            return self.connect(self.broker.unix)

    def test_an_account_that_is_a_user(self):
        alice = self.somebody(NOBODY)
        self.assert_user(alice, "alice")
        alice.subscribe("alice/#")
        self.assertEqual(alice.publish("alice/t").matched, 1)
        self.assert_refused("PUBLISH_DENIED", alice.publish, "box")

    def test_any_other_account(self):
        other = self.somebody(4711)
        self.assert_user(other, "uid:4711")
        self.assertEqual(other.publish("box").matched, 0)
        self.assert_refused("PUBLISH_DENIED", other.publish, "alice/t")
        self.assert_refused("SUBSCRIBE_DENIED", other.subscribe, "box")
        self.assert_refused("PUBLISH_DENIED", self.somebody(4712).publish,
                            "box")

    def test_the_group_of_an_account(self):
        member = self.somebody(4712, 4)
        self.assert_user(member, "uid:4712")
        member.publish("staff")
        self.assert_refused("PUBLISH_DENIED", member.publish, "box")
        self.somebody(NOBODY, 4).publish("staff")  # alice, who is one then
        self.user("bob").publish("staff")
        self.assert_refused("PUBLISH_DENIED",
                            self.somebody(4712, 5).publish, "staff")

    def test_by_token_the_group_does_not_count(self):
        with Somebody(4712, 4):
            alice = self.user("alice", self.broker.unix)
        self.assert_user(alice, "alice")
        self.assert_refused("PUBLISH_DENIED", alice.publish, "staff")

    def test_secrets_do_not_come_from_the_account(self):
        self.assert_not_let_in(self.say_hello(
            "uid:4711", "password", b"", address=self.broker.unix))


class OwnAccount(AccessTest):
    """The broker's own account may be made a user, who is no owner then."""
    rules = "unix alice %d\n" % os.geteuid() + ALL
    check_books_at_end = False

    def test_it_is_not_the_owner(self):
        self.assert_user(self.owner(), "alice")


class NobodyAsked(BrokerTest):
    def test_everybody_may_do_everything(self):
        for address in self.broker.addresses:
            for credentials in [None, ("alice", "password", b"any")]:
                peer = self.connect(address, credentials=credentials)
                self.assertNotEqual(peer.welcome.value(codec.USER), b"alice")
                peer.subscribe("#")
                self.assertEqual(peer.publish("t").matched, 1)
                self.assertIn("uptime_ms", peer.stats())
                peer.abort()
                wait_until(lambda: self.connection_count() == 0)


if __name__ == "__main__":
    unittest.main()
