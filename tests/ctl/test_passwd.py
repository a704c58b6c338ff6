# SPDX-License-Identifier: MIT
"""brokerctl passwd: the password file of a brokerd."""
import os
import pty
import re
import stat
import subprocess
import termios
import unittest

import harness

HASH = (r"\$argon2id\$v=19\$m=65536,t=2,p=1"
        r"\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}")
TOKEN_HASH = r"token:[0-9a-f]{64}"
TOKEN = r"brk_[A-Za-z0-9_-]{43}"


class Terminal:
    """brokerctl on a terminal of its own."""

    def __init__(self, *arguments):
        self.master, slave = pty.openpty()
        self.slave = slave
        self.process = subprocess.Popen(
            [harness.BROKERCTL, *arguments], stdin=slave,
            stdout=subprocess.PIPE, stderr=slave, env=harness.environment(),
            start_new_session=True, preexec_fn=self.become_foreground)
        self.shown = harness.Stream(os.fdopen(os.dup(self.master), "rb", 0))

    def become_foreground(self):
        """Runs in the child: its keyboard signals come from this terminal."""
        import fcntl
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    def wait_for(self, text):
        if not self.shown.wait_for(lambda data: text in data):
            raise AssertionError("no %r in %r" % (text, self.shown.bytes()))

    def type(self, text):
        os.write(self.master, text)

    def has_echo(self):
        return bool(termios.tcgetattr(self.slave)[3] & termios.ECHO)

    def end(self):
        """The exit code."""
        code = self.process.wait(harness.DEADLINE)
        os.close(self.slave)
        self.process.stdout.close()
        os.close(self.master)
        self.shown.thread.join(harness.DEADLINE)
        self.shown.file.close()
        return code


class Passwd(harness.CtlTest):
    def setUp(self):
        super().setUp()
        self.file = self.path("passwords")

    def lines(self):
        with open(self.file, encoding="utf-8") as file:
            return file.read().splitlines()

    def mode(self):
        return stat.S_IMODE(os.stat(self.file).st_mode)

    def passwd(self, code, *arguments, stdin=b""):
        return self.expect(code, "passwd", self.file, *arguments, stdin=stdin)

    def test_a_new_file(self):
        self.passwd(harness.OK, "alice", stdin=b"wonderland\n")
        self.assertEqual(len(self.lines()), 1)
        self.assertRegex(self.lines()[0], r"\Aalice:%s\Z" % HASH)
        self.assertEqual(self.mode(), 0o600)
        self.assertEqual(os.listdir(self.folder), ["passwords"])

    def test_check(self):
        self.passwd(harness.OK, "alice", stdin=b"wonder land\nmore\n")
        self.passwd(harness.OK, "alice", "--check", stdin=b"wonder land")
        result = self.passwd(harness.FAILED, "alice", "--check",
                             stdin=b"wonder land \n")
        self.assertIn("this is no password of alice", result.err)
        result = self.passwd(harness.FAILED, "bob", "--check", stdin=b"x\n")
        self.assertIn("bob has no password", result.err)
        result = self.passwd(harness.FAILED, "alice", "--check", "--token",
                             stdin=b"wonder land\n")
        self.assertIn("alice has no token", result.err)

    def test_a_password_is_replaced_in_its_place(self):
        self.write("passwords", b"# ours\nbob:x\n\n  alice:old \ncarol:y")
        self.passwd(harness.OK, "alice", stdin=b"new\n")
        lines = self.lines()
        self.assertEqual(lines[:3] + lines[4:],
                         ["# ours", "bob:x", "", "carol:y"])
        self.assertRegex(lines[3], r"\Aalice:%s\Z" % HASH)
        self.passwd(harness.OK, "dave", stdin=b"new\n")
        self.assertEqual(self.lines()[:5], lines)
        self.assertRegex(self.lines()[5], r"\Adave:%s\Z" % HASH)

    def test_names_with_colons(self):
        for user in ("a", "a:b", "a:token", "token"):
            self.passwd(harness.OK, user, stdin=user.encode())
            self.passwd(harness.OK, user, "--token")
        for user in ("a", "a:b", "a:token", "token"):
            self.passwd(harness.OK, user, "--check", stdin=user.encode())
        self.assertEqual(len(self.lines()), 8)
        self.passwd(harness.OK, "a", "--delete")
        self.assertEqual(len(self.lines()), 6)
        self.passwd(harness.OK, "a:token", "--check", stdin=b"a:token")

    def test_tokens(self):
        first = self.passwd(harness.OK, "ci", "--token").out
        second = self.passwd(harness.OK, "ci", "--token").out
        self.assertRegex(first.decode(), r"\A%s\n\Z" % TOKEN)
        self.assertNotEqual(first, second)
        self.assertEqual(len(self.lines()), 2)
        for line in self.lines():
            self.assertRegex(line, r"\Aci:%s\Z" % TOKEN_HASH)
        for token in (first, second):
            self.passwd(harness.OK, "ci", "--check", "--token", stdin=token)
        self.passwd(harness.FAILED, "ci", "--check", "--token",
                    stdin=b"brk_" + b"A" * 43)
        self.passwd(harness.OK, "ci", stdin=b"and a password")
        self.assertEqual(len(self.lines()), 3)
        self.passwd(harness.OK, "ci", "--check", "--token", stdin=first)

    def test_delete(self):
        self.passwd(harness.OK, "alice", stdin=b"x\n")
        self.passwd(harness.OK, "bob", stdin=b"x\n")
        self.passwd(harness.OK, "alice", "--token")
        self.passwd(harness.OK, "alice", "--delete")
        self.assertEqual(len(self.lines()), 1)
        result = self.passwd(harness.FAILED, "alice", "--delete")
        self.assertIn("neither a password nor a token", result.err)
        self.passwd(harness.OK, "bob", "--check", stdin=b"x\n")

    def test_mode_and_owner_are_kept(self):
        self.write("passwords", b"")
        os.chmod(self.file, 0o664)
        if os.geteuid() == 0:
            os.chown(self.file, 4711, 4712)
        before = os.stat(self.file)
        self.passwd(harness.OK, "alice", "--token")
        after = os.stat(self.file)
        self.assertEqual(self.mode(), 0o660)
        self.assertEqual((after.st_uid, after.st_gid),
                         (before.st_uid, before.st_gid))

    def test_a_link_stays_a_link(self):
        os.symlink("passwords", self.path("link"))
        self.write("passwords", b"# here\n")
        self.expect(harness.OK, "passwd", self.path("link"), "a", "--token")
        self.assertTrue(os.path.islink(self.path("link")))
        self.assertEqual(len(self.lines()), 2)

    def test_many_at_once(self):
        processes = [self.start("passwd", self.file, "user%d" % i, "--token")
                     for i in range(8)]
        for process in processes:
            self.assertEqual(process.wait(), harness.OK)
        self.assertEqual(sorted(line.split(":")[0] for line in self.lines()),
                         ["user%d" % i for i in range(8)])

    def refused(self, code, *arguments, says, stdin=b""):
        result = self.passwd(code, *arguments, stdin=stdin)
        self.assertEqual(result.out, b"")
        self.assertIn(says, result.err)

    def test_refusals_change_nothing(self):
        self.write("passwords", b"alice:x\n")
        for user in ("al/ice", "@staff", "", "a" * 65, "%u"):
            self.refused(harness.USAGE, user, says="a name has 1 to 64")
        self.refused(harness.USAGE, "owner", says="brokerd gives itself")
        self.refused(harness.USAGE, "uid:1", says="brokerd gives itself")
        self.refused(harness.USAGE, "a", "--delete", "--token",
                     says="--delete stands alone")
        self.refused(harness.USAGE, says="too few arguments")
        self.refused(harness.NO_INPUT, "a", says="no line with a password")
        self.refused(harness.FAILED, "a", stdin=b"\n",
                     says="an empty password is none")
        self.refused(harness.FAILED, "a", stdin=b"x" * 1025,
                     says="longer than 1024 bytes")
        self.assertEqual(self.lines(), ["alice:x"])

    def test_files_that_cannot_be(self):
        for path in ("/dev/null", self.folder, self.path("no/file")):
            result = self.expect(harness.OUTPUT, "passwd", path, "alice",
                                 "--token")
            self.assertIn("passwd: %s: cannot" % path, result.err)
            self.assertEqual(result.out, b"")
        result = self.expect(harness.NO_INPUT, "passwd", self.path("none"),
                             "alice", "--check", stdin=b"x\n")
        self.assertIn("cannot read it: No such file", result.err)
        result = self.expect(harness.OUTPUT, "passwd", self.path("none"),
                             "alice", "--delete")
        self.assertIn("cannot read it: No such file", result.err)

    def test_the_longest_password(self):
        self.passwd(harness.OK, "a", stdin=b"x" * 1024 + b"\n")
        self.passwd(harness.OK, "a", "--check", stdin=b"x" * 1024)
        self.passwd(harness.FAILED, "a", "--check", stdin=b"x" * 1023)

    # ---- on a terminal -------------------------------------------------------

    def terminal(self, *arguments):
        terminal = Terminal("passwd", self.file, *arguments)
        self.addCleanup(terminal.process.kill)
        return terminal

    def test_a_terminal_is_asked_twice_without_echo(self):
        terminal = self.terminal("alice")
        terminal.wait_for(b"New password: ")
        self.assertFalse(terminal.has_echo())
        terminal.type(b"wonderland\n")
        terminal.wait_for(b"The same again: ")
        terminal.type(b"wonderland\n")
        terminal.process.wait(harness.DEADLINE)
        self.assertTrue(terminal.has_echo())
        self.assertNotIn(b"wonder", terminal.shown.bytes())
        self.assertEqual(terminal.end(), harness.OK)
        self.passwd(harness.OK, "alice", "--check", stdin=b"wonderland")

    def test_two_different_answers(self):
        terminal = self.terminal("alice")
        terminal.wait_for(b"New password: ")
        terminal.type(b"one\n")
        terminal.wait_for(b"The same again: ")
        terminal.type(b"two\n")
        terminal.wait_for(b"two different passwords")
        self.assertEqual(terminal.end(), harness.FAILED)
        self.assertFalse(os.path.exists(self.file))

    def test_an_interrupt_restores_the_terminal(self):
        terminal = self.terminal("alice")
        terminal.wait_for(b"New password: ")
        terminal.type(b"wonder\x03")
        terminal.wait_for(b"nothing was changed")
        terminal.process.wait(harness.DEADLINE)
        self.assertTrue(terminal.has_echo())
        self.assertEqual(terminal.end(), harness.FAILED)
        self.assertFalse(os.path.exists(self.file))

    def test_a_check_asks_once(self):
        self.passwd(harness.OK, "alice", stdin=b"x")
        terminal = self.terminal("alice", "--check")
        terminal.wait_for(b"Password: ")
        terminal.type(b"x\n")
        self.assertEqual(terminal.end(), harness.OK)

    def test_the_password_is_no_argument(self):
        self.refused(harness.USAGE, "alice", "secret",
                     says="too many arguments")

    def test_help_is_short(self):
        text = self.expect(harness.OK, "help", "passwd").out.decode()
        self.assertTrue(re.search(r"--token +make a token", text))


if __name__ == "__main__":
    unittest.main()
