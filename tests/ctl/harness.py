# SPDX-License-Identifier: MIT
"""What the tests of brokerctl share: a real brokerd, and brokerctl processes.

Owns processes and temporary folders.  The programs are given by the
environment variables BROKERD and BROKERCTL.  Everything waits for a condition
with a deadline; nothing sleeps.
"""
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import unittest

BROKERCTL = os.environ.get("BROKERCTL", "brokerctl")
BROKERD = os.environ.get("BROKERD", "brokerd")
# Far above what anything needs, because the machine may be busy.
DEADLINE = float(os.environ.get("BROKER_TEST_DEADLINE", "60"))

# The exit codes of the manual page.
OK, FAILED, GAP, TIMEOUT, NO_SUBSCRIBERS, QUEUE_REFUSED = range(6)
COMMAND, UNBALANCED, UNACCOUNTED = 6, 7, 8
USAGE, DATA, NO_INPUT, UNAVAILABLE, OUTPUT = 64, 65, 66, 69, 74
NO_PERMISSION = 77

# Options of a broker whose queues overflow soon.
SMALL_QUEUES = {"max_body_bytes": 65536, "max_output_bytes": 131072}


def environment(**changes):
    """The environment for brokerctl: nothing of the tester's own settings."""
    result = {key: value for key, value in os.environ.items()
              if key not in ("BROKER_URL", "XDG_RUNTIME_DIR", "BROKER_TOPIC")}
    result.update(changes)
    return result


class Stream:
    """What a process writes to one descriptor, read in the background."""

    def __init__(self, file):
        self.file = file
        self.data = bytearray()
        self.ended = False
        self.changed = threading.Condition()
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self):
        while True:
            try:
                piece = os.read(self.file.fileno(), 1 << 16)
            except OSError:
                piece = b""
            with self.changed:
                if piece:
                    self.data += piece
                else:
                    self.ended = True
                self.changed.notify_all()
            if not piece:
                return

    def wait_for(self, condition, timeout=DEADLINE):
        """Wait until condition(data) is true; false if it ended before, or
        the time is over."""
        with self.changed:
            return self.changed.wait_for(
                lambda: condition(self.data) or self.ended, timeout) and \
                bool(condition(self.data))

    def bytes(self):
        with self.changed:
            return bytes(self.data)


class Process:
    """A process whose output is collected."""

    def __init__(self, command, stdin=subprocess.DEVNULL,
                 stdout=subprocess.PIPE, env=None, pass_fds=(), cwd=None):
        self.command = command
        self.process = subprocess.Popen(
            command, stdin=stdin, stdout=stdout, stderr=subprocess.PIPE,
            env=env if env is not None else environment(), pass_fds=pass_fds,
            cwd=cwd)
        self.stdin = self.process.stdin
        self.stdout = (Stream(self.process.stdout)
                       if stdout == subprocess.PIPE else None)
        self.stderr = Stream(self.process.stderr)

    def error_text(self):
        return self.stderr.bytes().decode(errors="replace")

    def expect_out(self, text):
        """Wait until standard output contains `text`."""
        if not self.stdout.wait_for(lambda data: text in data):
            raise AssertionError("no %r in the output of %s: %r; errors: %s" % (
                text, self.command, self.stdout.bytes()[-2000:],
                self.error_text()))

    def expect_error(self, text):
        """Wait until standard error contains `text`."""
        if not self.stderr.wait_for(lambda data: text.encode() in data):
            raise AssertionError("no %r in the errors of %s: %s" % (
                text, self.command, self.error_text()))

    def signal(self, number):
        self.process.send_signal(number)

    def wait(self):
        """The exit code; the streams are complete then."""
        try:
            code = self.process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            raise AssertionError("%s does not end; errors: %s" % (
                self.command, self.error_text())) from None
        for stream in (self.stdout, self.stderr):
            if stream is not None:
                stream.wait_for(lambda data: False)
        return code

    def end(self):
        """Whatever happened, leave nothing behind."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
            self.process.wait()
        for stream in (self.stdout, self.stderr):
            if stream is not None:
                stream.thread.join(DEADLINE)
                stream.file.close()
        if self.stdin is not None:
            try:
                self.stdin.close()
            except BrokenPipeError:
                pass


class Broker:
    """A running brokerd; options are its flags."""

    def __init__(self, listen, **options):
        command = [BROKERD, "--config", "/dev/null"]
        for address in listen:
            command += ["--listen", address]
        command.append("--drain_timeout_ms=2000")
        for name, value in options.items():
            command.append("--%s=%s" % (name, value))
        self.process = Process(command)
        try:
            self.process.expect_out(b"\n")
        except AssertionError:
            self.process.end()
            raise
        words = self.process.stdout.bytes().decode().split()
        if words[:2] != ["brokerd", "ready"]:
            raise AssertionError("not a readiness line: %r" % words)
        self.addresses = words[2:]

    def address(self, prefix):
        return next(a for a in self.addresses if a.startswith(prefix))

    @property
    def tcp(self):
        return self.address("tcp://")

    def stop(self):
        """An orderly end, unless it has ended already."""
        try:
            if self.process.process.poll() is None:
                self.process.signal(signal.SIGCONT)
                self.process.signal(signal.SIGTERM)
                code = self.process.wait()
                if code != 0:
                    raise AssertionError("brokerd ended with %d: %s" % (
                        code, self.process.error_text()[-4000:]))
        finally:
            self.process.end()


class Result:
    """A brokerctl that has ended."""

    def __init__(self, code, out, err):
        self.code = code
        self.out = out
        self.err = err.decode(errors="replace")

    def __repr__(self):
        return "code %d, out %r, err %r" % (self.code, self.out[:2000],
                                            self.err[:4000])


def has_ipv6():
    """Some containers have no IPv6 loopback."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
        return True
    except OSError:
        return False


class CtlTest(unittest.TestCase):
    """Temporary folder, brokers and brokerctl processes of one test."""

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="ctl-")
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

    def path(self, name):
        return os.path.join(self.folder, name)

    def every_kind_of_address(self):
        """Listen on a UNIX socket, IPv4, and IPv6 if there is any."""
        return (["unix://" + self.path("s.sock"), "tcp://127.0.0.1:0"] +
                (["tcp://[::1]:0"] if has_ipv6() else []))

    def write(self, name, data):
        with open(self.path(name), "wb") as file:
            file.write(data)
        return self.path(name)

    def broker(self, listen=None, **options):
        """Start a broker that is stopped, and whose end is checked, after the
        test."""
        if listen is None:
            listen = ["tcp://127.0.0.1:0"]
        broker = Broker(listen, **options)
        self.addCleanup(broker.stop)
        return broker

    def start(self, *arguments, **more):
        """Start brokerctl in the background."""
        process = Process([BROKERCTL, *arguments], **more)
        self.addCleanup(process.end)
        return process

    def ctl(self, *arguments, stdin=b"", env=None):
        """Run brokerctl to its end."""
        done = subprocess.run(
            [BROKERCTL, *arguments], input=stdin, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, env=env if env is not None
            else environment(), timeout=DEADLINE, check=False)
        return Result(done.returncode, done.stdout, done.stderr)

    def expect(self, code, *arguments, **more):
        """Run brokerctl and check its exit code."""
        result = self.ctl(*arguments, **more)
        self.assertEqual(result.code, code, "%s: %r" % (arguments, result))
        return result

    def subscriber(self, address, *arguments, **more):
        """A `brokerctl sub` that has subscribed to all its filters."""
        process = self.start("sub", "-v", "-s", address, *arguments, **more)
        return self.subscribed(process)

    def replier(self, address, *arguments, **more):
        process = self.start("reply", "-v", "-s", address, *arguments, **more)
        return self.subscribed(process)

    def subscribed(self, process):
        process.expect_error("subscribed ")
        return process


def wait_until(condition, what):
    deadline = time.monotonic() + DEADLINE
    pause = threading.Event()
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError("%s did not come true" % what)
        pause.wait(0.01)


def lines_without(text, *beginnings):
    """The lines of an error text but those that only --verbose prints."""
    return [line for line in text.splitlines()
            if not any(line.startswith("brokerctl: " + b)
                       for b in beginnings)]
