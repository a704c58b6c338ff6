#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What SECURITY.md promises of the process: its ten lines work, secrets stay
where they are, rights go, a mistake in a reload changes nothing.

    BROKERD=... BROKERCTL=... test_security.py SOURCE_FOLDER

The ten lines run in a folder instead of /etc, on a free port, with stand-ins
for what belongs to the machine: adduser, systemctl, hostname.
"""
import grp
import os
import pwd
import re
import shutil
import signal
import subprocess
import sys
import unittest
from pathlib import Path

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                os.pardir, "wire"))
import harness  # noqa: E402  (the path has just been set)
from test_brokerd import BROKERD, DEADLINE_S, Folder, brokerd  # noqa: E402

BROKERCTL = os.environ["BROKERCTL"]
SOURCE = Path(sys.argv.pop(1))
PASSWORD = "correct horse 7 battery staple"
IS_ROOT = os.geteuid() == 0
NOBODY = "nobody"


def brokerctl(*arguments, secret=""):
    return subprocess.run([BROKERCTL, *arguments], input=secret + "\n",
                          capture_output=True, text=True, timeout=DEADLINE_S)


def ten_lines():
    """The shell lines of SECURITY.md; a backslash at the end goes on."""
    block = re.search(r"```sh\n(.*?)```", (SOURCE / "SECURITY.md").read_text(),
                      re.S)[1]
    return block.replace("\\\n", "").splitlines()


def status(process):
    """/proc/PID/status as a dictionary."""
    text = Path(f"/proc/{process.pid}/status").read_text()
    return dict(line.split(":\t", 1) for line in text.splitlines()
                if ":\t" in line)


def core_limit(process):
    """What it allows itself: (soft, hard)."""
    text = Path(f"/proc/{process.pid}/limits").read_text()
    return re.search(r"^Max core file size +(\S+) +(\S+)", text, re.M).groups()


class Guarded(Folder):
    """A broker whose clients have a password, with a log in a file."""

    def setUp(self):
        super().setUp()
        self.folder.chmod(0o755)
        self.passwords = self.folder / "passwords"
        self.log_path = self.folder / "brokerd.log"
        self.socket = f"unix://{self.folder}/s.sock"
        done = brokerctl("passwd", str(self.passwords), "alice",
                         secret=PASSWORD)
        self.assertEqual(done.returncode, 0, done.stderr)

    def flags(self):
        return ["--config=/dev/null", f"--listen={self.socket}",
                f"--password_file={self.passwords}",
                f"--log_file={self.log_path}"]

    def log(self):
        return self.log_path.read_text()

    def wait_log(self, text, path=None):
        path = path or self.log_path
        harness.wait_until(
            lambda: path.exists() and text in path.read_text(),
            DEADLINE_S, f"{text!r} in {path}")

    def publish(self, secret=PASSWORD):
        return brokerctl("-s", self.socket, "--user", "alice",
                         "--password-file", "-", "pub", "a", "b",
                         secret=secret)


class TenLines(Guarded):
    """The section "A public listener in ten lines"."""

    def stand_in(self, name, script):
        path = self.folder / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def here(self, line, port="0"):
        """The line for this folder, this user and this port."""
        line = re.sub(r"/etc/brokerd\b", f"{self.folder}/etc/brokerd", line)
        line = line.replace("-g brokerd",
                            f"-g {grp.getgrgid(os.getegid()).gr_name}")
        return line.replace(":4656", f":{port}")

    def shell(self, *lines, secret=""):
        script = "\n".join(["set -e", *lines])
        path = f"{self.folder}/bin:{os.environ['PATH']}"
        return subprocess.run(["sh", "-c", script], input=secret + "\n",
                              capture_output=True, text=True,
                              timeout=DEADLINE_S, cwd=self.folder,
                              env=dict(os.environ, PATH=path))

    def set_up(self):
        """All lines but the last, which needs the port; returns that."""
        (self.folder / "etc").mkdir()
        self.config = f"{self.folder}/etc/brokerd.conf"
        self.stand_in("adduser", "exit 0")
        self.stand_in("hostname", "echo localhost")
        self.stand_in("systemctl", f'echo "$*" > {self.folder}/systemctl')
        self.stand_in("brokerctl", f'exec {BROKERCTL} "$@"')
        self.stand_in("brokerd",
                      f'exec {BROKERD} --config {self.config} "$@"')
        *lines, last = ten_lines()
        self.assertEqual(len(lines), 8)
        done = self.shell(*map(self.here, lines), secret=PASSWORD)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual((self.folder / "systemctl").read_text(),
                         "enable --now brokerd\n")
        return last

    def test_they_let_in_alice_and_nobody_else(self):
        last = self.set_up()
        process, (address,) = self.start("--config", self.config)
        port = address.rpartition(":")[2]
        last = self.here(last, port)
        folder = f"cd {self.folder}/etc/brokerd"
        done = self.shell(folder, last, secret=PASSWORD)
        self.assertEqual(done.returncode, 0, done.stderr)
        done = self.shell(folder, last, secret="wrong")
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("AUTH_FAILED", done.stderr)
        elsewhere = last.replace("home/door", "garden/door")
        self.assertNotEqual(elsewhere, last)
        done = self.shell(folder, elsewhere, secret=PASSWORD)
        self.assertNotEqual(done.returncode, 0)
        anonymous = last.replace("--user alice --password-file -", "")
        self.assertNotEqual(anonymous, last)
        done = self.shell(folder, anonymous)
        self.assertNotEqual(done.returncode, 0)
        self.assertNotIn(PASSWORD, self.stop(process))

    def test_the_key_is_not_for_everybody(self):
        self.set_up()
        for name in ("key.pem", "passwords", "access"):
            mode = (self.folder / "etc" / "brokerd" / name).stat().st_mode
            self.assertEqual(mode & 0o7, 0, name)


class Log(Guarded):
    def test_SIGUSR1_opens_it_anew(self):
        process, _ = self.start(*self.flags())
        self.assertEqual(self.log_path.stat().st_mode & 0o027, 0)
        for turn in range(3):
            old = self.folder / f"old.{turn}"
            self.log_path.rename(old)
            process.send_signal(signal.SIGUSR1)
            self.wait_log("log-reopened")
            size = old.stat().st_size
            process.send_signal(signal.SIGHUP)
            self.wait_log("reloaded")
            self.assertEqual(old.stat().st_size, size)
        self.assertIn(" ready ", (self.folder / "old.0").read_text())
        self.assertEqual(self.stop(process), "", "standard error")
        self.assertIn("stopped", self.log())

    def test_what_cannot_be_opened_leaves_the_old_one(self):
        process, _ = self.start(*self.flags())
        old = self.folder / "old"
        self.log_path.rename(old)
        self.log_path.mkdir()  # a folder is no file, for root either
        process.send_signal(signal.SIGUSR1)
        self.wait_log("log-not-reopened reason=\"Is a directory\"", old)
        process.send_signal(signal.SIGHUP)
        self.wait_log("reloaded", old)
        self.stop(process)

    def test_without_a_file_SIGUSR1_is_harmless(self):
        process, _ = self.start("--config=/dev/null",
                                f"--listen={self.socket}")
        process.send_signal(signal.SIGUSR1)
        done = brokerctl("-s", self.socket, "pub", "a", "b")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("log-not-reopened", self.stop(process))

    def test_a_file_that_cannot_be_opened_at_start(self):
        self.log_path.mkdir()
        result = brokerd(*self.flags())
        self.assertEqual(result.returncode, 1)
        self.assertEqual(result.stdout, "")
        self.assertIn("log-not-opened", result.stderr)


class Reload(Guarded):
    def expect_refused(self, path, wrong, message):
        """A mistake in this file is logged, and alice still comes in."""
        right = path.read_text()
        path.write_text(wrong)
        self.process.send_signal(signal.SIGHUP)
        self.wait_log("reload-failed")
        self.assertIn(message, self.log())
        self.assertEqual(self.publish().returncode, 0)
        self.assertNotEqual(self.publish("wrong").returncode, 0)
        path.write_text(right)
        os.truncate(self.log_path, 0)

    def test_a_mistake_changes_nothing_and_is_named(self):
        config = self.folder / "brokerd.conf"
        access = self.folder / "access"
        access.write_text("allow alice publish #\n")
        access.chmod(0o600)
        config.write_text(f"listen = {self.socket}\n"
                          f"password_file = {self.passwords}\n"
                          f"access_file = {access}\n"
                          f"log_file = {self.log_path}\n")
        self.process, _ = self.start("--config", str(config))
        self.expect_refused(config, "log_level = error\nlog_level = loud\n",
                            "brokerd.conf:2: ")
        self.expect_refused(access, "\nallow alice publish\n", "access:2: ")
        self.expect_refused(self.passwords, "alice\n", "passwords:1: ")
        access.write_text("deny alice publish #\n")
        self.process.send_signal(signal.SIGHUP)
        self.wait_log("reloaded")
        self.assertNotEqual(self.publish().returncode, 0)


class Secrets(Guarded):
    def start_for_memory(self, *more):
        """Not as root, whose memory looks the same to the kernel always."""
        options = {}
        if IS_ROOT:
            entry = pwd.getpwnam(NOBODY)
            shutil.chown(self.passwords, entry.pw_uid)
            shutil.chown(self.folder, entry.pw_uid)
            options = {"user": entry.pw_uid, "group": entry.pw_gid,
                       "extra_groups": []}
        flags = [f"--listen={self.socket}", "--config=/dev/null", *more]
        try:
            return self.start(*flags, **options)[0]
        except PermissionError:
            raise unittest.SkipTest(f"{BROKERD} is not for others") from None

    def owner_of_memory(self, process):
        """The kernel gives it to root once others may not look in."""
        return os.stat(f"/proc/{process.pid}/mem").st_uid

    def test_memory_with_secrets_is_hidden(self):
        process = self.start_for_memory(f"--password_file={self.passwords}")
        self.assertEqual(self.owner_of_memory(process), 0)
        self.assertEqual(core_limit(process), ("0", "0"))

    @unittest.skipUnless(IS_ROOT, "only root can become somebody else")
    def test_it_stays_hidden_for_another_account(self):
        process, _ = self.start(f"--listen={self.socket}", "--config=/dev/null",
                                f"--password_file={self.passwords}",
                                f"--user={NOBODY}")
        self.assertEqual(self.owner_of_memory(process), 0)
        self.assertEqual(core_limit(process), ("0", "0"))

    def test_unless_told_otherwise(self):
        own = pwd.getpwnam(NOBODY).pw_uid if IS_ROOT else os.geteuid()
        for more in ((), (f"--password_file={self.passwords}",
                          "--core_dumps=yes")):
            with self.subTest(more=more):
                process = self.start_for_memory(*more)
                self.assertEqual(self.owner_of_memory(process), own)
                process.kill()
                process.wait()

    def test_neither_the_log_nor_the_arguments_have_them(self):
        process, _ = self.start(*self.flags(), "--log_level=debug")
        self.assertEqual(self.publish().returncode, 0)
        wrong = "another secret, and a wrong one"
        self.assertNotEqual(self.publish(wrong).returncode, 0)
        seen = Path(f"/proc/{process.pid}/cmdline").read_bytes()
        self.assertNotIn(PASSWORD.encode(), seen)
        digest = self.passwords.read_text().strip().rpartition("$")[2]
        self.assertGreater(len(digest), 20)
        said = self.stop(process) + self.log()
        self.assertIn("AUTH_FAILED", said)
        for secret in (PASSWORD, wrong, digest):
            self.assertNotIn(secret, said)


class Rights(Guarded):
    @unittest.skipUnless(IS_ROOT, "only root can become somebody else")
    def test_root_becomes_the_account(self):
        entry = pwd.getpwnam(NOBODY)
        process, _ = self.start(
            "--config=/dev/null", f"--listen={self.socket}",
            f"--log_file={self.log_path}", f"--user={NOBODY}", "--group=daemon")
        gid = grp.getgrnam("daemon").gr_gid
        seen = status(process)
        self.assertEqual(set(seen["Uid"].split()), {str(entry.pw_uid)})
        self.assertEqual(set(seen["Gid"].split()), {str(gid)})
        self.assertNotIn("0", seen["Groups"].split())
        for kind in ("CapPrm", "CapEff", "CapAmb"):
            self.assertEqual(int(seen[kind], 16), 0, kind)
        for task in Path(f"/proc/{process.pid}/task").iterdir():
            self.assertIn(f"Uid:\t{entry.pw_uid}\t{entry.pw_uid}",
                          (task / "status").read_text())
        for path in (self.folder / "s.sock", self.log_path):
            self.assertEqual(path.stat().st_uid, entry.pw_uid, path)
        process.send_signal(signal.SIGHUP)  # it is who it should become
        self.wait_log("reloaded")
        self.assertNotIn("runs-as-root", self.log())

    @unittest.skipUnless(IS_ROOT and shutil.which("setpriv"), "not root")
    def test_no_way_to_become_it_is_the_end(self):
        result = subprocess.run(
            ["setpriv", "--bounding-set=-setuid", "--inh-caps=-setuid",
             BROKERD, "--config=/dev/null", f"--listen={self.socket}",
             f"--user={NOBODY}"],
            capture_output=True, text=True, timeout=DEADLINE_S)
        self.assertEqual((result.returncode, result.stdout), (1, ""))
        self.assertIn("rights-not-dropped failed=user", result.stderr)

    @unittest.skipUnless(IS_ROOT, "not root")
    def test_root_is_warned(self):
        process, _ = self.start("--config=/dev/null",
                                f"--listen={self.socket}")
        self.assertIn("warning runs-as-root", self.stop(process))

    @unittest.skipIf(IS_ROOT, "root may")
    def test_others_cannot_become_somebody_else(self):
        result = brokerd(*self.flags(), "--user=daemon")
        self.assertEqual(result.returncode, 64)
        self.assertIn("only root can become", result.stderr)

    def test_accounts_that_are_none(self):
        for flags, message in (
                (["--user=no-such-account"], "there is no such account"),
                (["--user=root"], "this is root"),
                ([f"--user={NOBODY}", "--group=no-such-group"],
                 "there is no such group")):
            result = brokerd(*self.flags(), *flags)
            self.assertEqual(result.returncode, 64)
            self.assertIn(message, result.stderr)


if __name__ == "__main__":
    unittest.main()
