# SPDX-License-Identifier: MIT
"""A broker that asks who its clients are, for the suites about access.

Owns the password file and the access file of a test.  The former is
written by `brokerctl passwd` (path in the environment variable BROKERCTL).
"""
import os
import shutil
import signal
import subprocess
import tempfile

import broker_wire
import wire_codec as codec
from harness import DEADLINE, BrokerTest, wait_until

NOBODY = 65534  # an account without rights on every machine
ALL = "allow * all #\nallow * all $sys/#\n"


class Somebody:
    """Within it, this process is another account of the machine."""

    def __init__(self, uid=NOBODY, gid=NOBODY):
        self.uid, self.gid = uid, gid

    def __enter__(self):
        self.before = os.geteuid(), os.getegid()
        os.setegid(self.gid)
        os.seteuid(self.uid)

    def __exit__(self, *_):
        os.seteuid(self.before[0])
        os.setegid(self.before[1])


class AccessTest(BrokerTest):
    """One test, one brokerd with the users `users`, each of whom has a
    token, the passwords `passwords`, and the rules `rules`."""

    users = ("alice", "bob")
    passwords = {}
    rules = ALL

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="brokerd-access-")
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        os.chmod(self.folder, 0o755)  # for other accounts
        self.password_file = os.path.join(self.folder, "passwords")
        self.access_file = os.path.join(self.folder, "access")
        self.tokens = {user: self.new_token(user) for user in self.users}
        for user, password in self.passwords.items():
            self.set_password(user, password)
        self.set_rules(self.rules)
        self.options = dict(self.options, folder=self.folder,
                            password_file=self.password_file,
                            access_file=self.access_file)
        self.reloads = 0
        super().setUp()

    # The files.

    def brokerctl_passwd(self, *arguments, stdin=b""):
        done = subprocess.run(
            [os.environ["BROKERCTL"], "passwd", self.password_file,
             *arguments], input=stdin, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, timeout=DEADLINE, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def new_token(self, user):
        return self.brokerctl_passwd(user, "--token").strip()

    def set_password(self, user, password):
        self.brokerctl_passwd(user, stdin=password + b"\n")

    def set_rules(self, text):
        """Writes the access file, whole or not at all."""
        with open(self.access_file + ".new", "w",
                  encoding="utf-8") as file:
            file.write(text)
        os.chmod(self.access_file + ".new", 0o600)
        os.rename(self.access_file + ".new", self.access_file)

    def count_in_log(self, event):
        return sum(event in line.split() or event + " " in line
                   for line in self.broker.log().splitlines())

    def reload(self, event="reloaded"):
        """SIGHUP; returns when all threads of the broker have done it."""
        before = self.count_in_log(event)
        self.broker.signal(signal.SIGHUP)
        wait_until(lambda: self.count_in_log(event) > before, what=event)
        self.let_process()

    # Clients.

    def user(self, name, address=None, **options):
        """A connection of this user, by token."""
        return self.connect(address, credentials=(name, "token",
                                                  self.tokens[name]),
                            **options)

    def owner(self, **options):
        return self.connect(self.broker.unix, **options)

    def say_hello(self, *credentials, address=None, behind=(), **options):
        """A RawPeer that has sent HELLO, and frames right behind it, and
        has read nothing."""
        peer = self.raw(address)
        hello = codec.Hello(id=1, fields=broker_wire.credential_fields(
            credentials or None), **options)
        peer.send(b"".join(f.encode() for f in (hello, *behind)))
        return peer

    def stats(self):
        with broker_wire.Connection(self.broker.unix,
                                    timeout=DEADLINE) as connection:
            return connection.stats()

    def let_process(self):
        with broker_wire.Connection(self.broker.unix,
                                    timeout=DEADLINE) as other:
            for _ in range(20):
                other.system("stats")

    # Expectations.

    def assert_not_let_in(self, peer, code="AUTH_FAILED"):
        """ERROR of class connection for the HELLO, GOAWAY, and the end;
        returns the text for a person."""
        error, goaway = self.assert_closed_with(peer, code, codec.Hello(id=1))
        self.assertEqual((error.NAME, goaway.NAME), ("ERROR", "GOAWAY"))
        return error.text

    def assert_user(self, connection, name):
        self.assertEqual(connection.welcome.value(codec.USER),
                         name.encode() if name else None)

    def received(self, connection):
        """What is on its way to this connection: (subscriptions, topic,
        payload) of each message."""
        connection.ping()
        connection.ping()
        events = list(connection.inbox)
        connection.inbox.clear()
        return [(e.subscriptions, e.topic, e.payload) for e in events
                if isinstance(e, broker_wire.Message)]
