#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""brokerd as a command: what it prints, where, and with which exit code.

    BROKERD=path/to/brokerd test_brokerd.py

What it does on the wire is tested in tests/wire.
"""
import os
import re
import signal
import socket
import subprocess
import tempfile
import unittest
from pathlib import Path

BROKERD = os.environ["BROKERD"]
DEADLINE_S = 60


def brokerd(*flags, **options):
    """Run to the end; for flags that do not start a broker."""
    return subprocess.run([BROKERD, *flags], capture_output=True, text=True,
                          timeout=DEADLINE_S, stdin=subprocess.DEVNULL,
                          **options)


class Folder(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="brokerd-")
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def start(self, *flags, **options):
        """A running broker and its addresses; killed at the end."""
        process = subprocess.Popen(
            [BROKERD, *flags], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL, text=True, **options)
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        ready = process.stdout.readline()
        self.assertTrue(ready.startswith("brokerd ready "), ready)
        return process, ready.split()[2:]

    def stop(self, process):
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=DEADLINE_S)
        self.assertEqual(process.returncode, 0, log)
        return log


class Answers(Folder):
    def test_help_and_version_go_to_standard_output(self):
        for flag, begins in (("--help", "Usage: brokerd"), ("-h", "Usage:"),
                             ("--version", "brokerd 0."), ("-V", "brokerd 0."),
                             ("--print-sample", "# brokerd.conf")):
            with self.subTest(flag=flag):
                result = brokerd(flag)
                self.assertEqual(result.returncode, 0)
                self.assertTrue(result.stdout.startswith(begins))
                self.assertEqual(result.stderr, "")

    def test_the_sample_is_a_valid_file(self):
        sample = self.folder / "brokerd.conf"
        sample.write_text(brokerd("--print-sample").stdout)
        result = brokerd("--check", "--config", str(sample))
        self.assertEqual(result.stderr, "")
        self.assertEqual(result.stdout, f"{sample}: ok\n")
        self.assertEqual(result.returncode, 0)

    def test_effective_values_are_a_valid_file(self):
        effective = self.folder / "effective.conf"
        result = brokerd("--print-effective", "--config=/dev/null",
                         "--log-level=error", "--listen=unix:///x")
        effective.write_text(result.stdout)
        self.assertIn("log_level = error  # flag\n", result.stdout)
        again = brokerd("--print-effective", "--config", str(effective))
        strip = re.compile(r"  # .*|^# .*\n", re.M)
        self.assertEqual(strip.sub("", again.stdout),
                         strip.sub("", result.stdout))


class Refusals(Folder):
    def test_mistakes_end_with_64_and_are_all_named(self):
        broken = self.folder / "broken.conf"
        broken.write_text("log_level = loud\nheartbeat = 1s\n")
        for action in ((), ("--check",), ("--print-effective",)):
            with self.subTest(action=action):
                result = brokerd("--config", str(broken), "--nope", *action)
                self.assertEqual(result.returncode, 64)
                self.assertEqual(result.stdout, "")
                self.assertIn(f"{broken}:1: log_level = \"loud\":",
                              result.stderr)
                self.assertIn("did you mean heartbeat_ms?", result.stderr)
                self.assertIn("command line: unknown flag", result.stderr)

    def test_a_missing_file_is_an_error_if_it_was_named(self):
        missing = self.folder / "missing.conf"
        result = brokerd("--config", str(missing))
        self.assertEqual(result.returncode, 64)
        self.assertEqual(result.stderr, f"{missing}: cannot read it: "
                                        "No such file or directory\n")

    def test_listening_wider_has_to_be_asked_for(self):
        result = brokerd("--config=/dev/null", "--listen=tcp://0.0.0.0:0")
        self.assertEqual(result.returncode, 64)
        self.assertIn("insecure_listen = yes", result.stderr)

    def test_an_address_in_use_ends_with_1_and_is_named(self):
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            address = "tcp://127.0.0.1:%d" % other.getsockname()[1]
            result = brokerd("--config=/dev/null", "--listen", address)
        self.assertEqual(result.returncode, 1)
        self.assertEqual(result.stdout, "")
        self.assertIn(address, result.stderr)
        self.assertIn("Address already in use", result.stderr)


class Running(Folder):
    def test_told_nothing_it_listens_where_clients_look(self):
        environment = dict(os.environ, XDG_RUNTIME_DIR=str(self.folder))
        result = brokerd("--print-effective", "--config=/dev/null",
                         env=environment)
        self.assertIn(f"listen = unix://{self.folder}/brokerd.sock",
                      result.stdout)
        self.assertIn("listen = tcp://127.0.0.1:4655", result.stdout)

    def test_file_and_flags(self):
        path = self.folder / "brokerd.conf"
        path.write_text(f"listen = unix://{self.folder}/file.sock\n"
                        "log_level = debug\nunix_mode = 0660\n")
        process, addresses = self.start("--config", str(path),
                                        "--log-level=info")
        self.assertEqual(addresses, [f"unix://{self.folder}/file.sock"])
        mode = (self.folder / "file.sock").stat().st_mode & 0o777
        self.assertEqual(oct(mode), "0o660")
        log = self.stop(process)
        self.assertNotIn(" debug ", log)
        self.assertFalse((self.folder / "file.sock").exists())

    def test_every_line_of_the_log_has_the_form(self):
        process, (address,) = self.start(
            "--config=/dev/null", f"--listen=unix://{self.folder}/s.sock",
            "--log-level=debug")
        for junk in (b"GET / HTTP/1.1\r\n\r\n", b"\0\0\0\x08\0\x05",
                     b"\nforged line\n"):
            with socket.socket(socket.AF_UNIX) as peer:
                peer.connect(str(self.folder / "s.sock"))
                peer.sendall(junk)
                peer.shutdown(socket.SHUT_WR)
                while peer.recv(4096):
                    pass
        log = self.stop(process)
        value = r'(?:[!#-\[\]-~]+|"(?:[^"\\]|\\.)*"(?:\.\.\.)?)'
        line = re.compile(
            r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z "
            r"(?:debug|info|warning|error) [a-z-]+"
            rf"(?: [a-z_]+={value})+")
        self.assertGreater(log.count("\n"), 4)
        for text in log.splitlines():
            self.assertIsNotNone(line.fullmatch(text), text)

    def test_the_journal_gets_priorities(self):
        read_end, write_end = os.pipe()
        self.addCleanup(os.close, read_end)
        status = os.fstat(write_end)
        environment = dict(
            os.environ, JOURNAL_STREAM=f"{status.st_dev}:{status.st_ino}")
        process = subprocess.Popen(
            [BROKERD, "--config=/dev/null",
             f"--listen=unix://{self.folder}/s.sock"],
            stdout=subprocess.PIPE, stderr=write_end, env=environment)
        os.close(write_end)
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        process.stdout.readline()
        process.terminate()
        self.assertEqual(process.wait(DEADLINE_S), 0)
        log = os.read(read_end, 65536).decode()
        self.assertIn("<6>info ready ", log)


if __name__ == "__main__":
    unittest.main()
