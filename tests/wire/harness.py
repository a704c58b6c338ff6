# SPDX-License-Identifier: MIT
"""What the black-box suites share: a real brokerd, peers, and the books.

Owns the life of one `brokerd` per test (path in the environment variable
BROKERD) in a folder of its own, on free ports.  Knows of the broker only
what PROTOCOL.md and the command line say.  Nothing here sleeps for a fixed
time: everything waits for a condition, with a deadline.
"""
import ctypes
import os
import re
import resource
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import unittest

import broker_wire
import certificates
import wire_codec as codec

# Far above what anything needs, because the machine may be busy.
DEADLINE = float(os.environ.get("BROKER_TEST_DEADLINE", "60"))
# Figures of memory mean nothing under a sanitizer.
MEMORY_IS_MEASURABLE = not os.environ.get("BROKER_SANITIZE")
# The suites that speak TCP can do so over TLS.
OVER_TLS = bool(os.environ.get("BROKER_TEST_TLS"))
MIB = 1 << 20
LIBC = ctypes.CDLL(None)
PR_SET_PDEATHSIG = 1


def wait_until(condition, timeout=None, what="the condition"):
    """Polls until condition() is true and returns its value."""
    deadline = time.monotonic() + (timeout or DEADLINE)
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError("%s did not come true in time" % what)
        select.select([], [], [], 0.005)


def before_exec(nofile):
    """In the child: it ends with the test, also if that is killed."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if nofile:
        resource.setrlimit(resource.RLIMIT_NOFILE, (nofile, nofile))


def tls_files(folder):
    """Keys of a configuration with a certificate that is made here; the
    client in this process believes it."""
    authority = certificates.Authority(folder)
    server = authority.issue("server")
    os.environ["BROKER_CA_FILE"] = authority.file
    return {"tls_certificate_file": server.file,
            "tls_key_file": server.key_file}


class Broker:
    """A running brokerd.  Options are its flags, without the dashes."""

    DEFAULTS = {"drain_timeout_ms": 2000}

    def __init__(self, listen=None, nofile=None, folder=None, **options):
        self.folder = folder or tempfile.mkdtemp(prefix="brokerd-")
        self.owns_folder = folder is None
        self.socket_path = os.path.join(self.folder, "s.sock")
        if listen is None:
            listen = ["tcp://127.0.0.1:0", "unix://" + self.socket_path]
        command = [os.environ["BROKERD"]]
        defaults = dict(self.DEFAULTS)
        if OVER_TLS:
            listen = [re.sub("^tcp:", "tls:", each) for each in listen]
            defaults.update(tls_files(self.folder))
        for address in listen:
            command += ["--listen", address]
        if os.environ.get("BROKER_TEST_THREADS"):
            defaults["threads"] = os.environ["BROKER_TEST_THREADS"]
        for name, value in {**defaults, **options}.items():
            command.append("--%s=%s" % (name, value))
        self.log_file = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=self.log_file, cwd=self.folder,
            preexec_fn=lambda: before_exec(nofile))
        self.addresses = []
        self.told_to_stop = False

    def wait_ready(self):
        """Reads the readiness line; the addresses are in .addresses."""
        line, deadline = b"", time.monotonic() + DEADLINE
        while not line.endswith(b"\n"):
            left = max(0, deadline - time.monotonic())
            if not select.select([self.process.stdout], [], [], left)[0]:
                raise AssertionError("no readiness line\n" + self.log())
            byte = os.read(self.process.stdout.fileno(), 1)
            if not byte:
                raise AssertionError("brokerd ended before it was ready, "
                                     "code %s\n%s" % (self.wait(),
                                                      self.log()))
            line += byte
        words = line.decode().split()
        if words[:2] != ["brokerd", "ready"]:
            raise AssertionError("not a readiness line: %r" % line)
        self.addresses = words[2:]
        return self

    @property
    def tcp(self):
        return self.address("tls://" if OVER_TLS else "tcp://")

    @property
    def unix(self):
        return self.address("unix://")

    def address(self, prefix):
        return next(a for a in self.addresses if a.startswith(prefix))

    @property
    def running(self):
        return self.process.poll() is None

    def signal(self, number):
        self.told_to_stop |= number in (signal.SIGTERM, signal.SIGINT)
        self.process.send_signal(number)

    def wait(self, timeout=None):
        """Waits for the end of the process and returns its exit code."""
        return self.process.wait(timeout or DEADLINE)

    def log(self):
        """What it wrote to stderr so far."""
        # Not by seeking: the broker writes at the same offset.
        number = self.log_file.fileno()
        size = os.fstat(number).st_size
        text = os.pread(number, size, 0).decode(errors="replace")
        return text

    def rss_bytes(self):
        with open("/proc/%d/statm" % self.process.pid) as file:
            return int(file.read().split()[1]) * resource.getpagesize()

    def cpu_seconds(self):
        with open("/proc/%d/stat" % self.process.pid) as file:
            fields = file.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def descriptors(self):
        return len(os.listdir("/proc/%d/fd" % self.process.pid))

    def destroy(self):
        if self.running:
            self.process.kill()
        self.wait()
        self.process.stdout.close()
        if self.owns_folder:
            shutil.rmtree(self.folder, ignore_errors=True)


class RawPeer:
    """A socket that sends what it is told and only decodes what it reads."""

    def __init__(self, address, receive_buffer=None):
        self.sock = quiet_socket(address, receive_buffer)
        self.buffer = bytearray()

    def send(self, *parts):
        """Sends bytes, or frames."""
        self.sock.sendall(b"".join(
            part if isinstance(part, bytes) else part.encode()
            for part in parts))

    def hello(self, **options):
        """HELLO and its WELCOME."""
        self.send(codec.Hello(id=1, **options))
        welcome = self.next_frame()
        if not isinstance(welcome, codec.Welcome):
            raise AssertionError("no WELCOME but %r" % (welcome,))
        return welcome

    def half_close(self):
        self.sock.shutdown(socket.SHUT_WR)

    def readable(self, timeout):
        return bool(select.select([self.sock], [], [], timeout)[0])

    def next_frame(self, timeout=None):
        """The next frame of any kind; None at the end of the stream."""
        deadline = time.monotonic() + (timeout or DEADLINE)
        while True:
            frame, used = codec.decode(self.buffer)
            del self.buffer[:used]
            if frame is not None:
                return frame
            if used:
                continue
            self.sock.settimeout(max(0.001, deadline - time.monotonic()))
            try:
                data = self.sock.recv(262144)
            except socket.timeout:
                raise TimeoutError("no frame in time") from None
            if not data:
                if self.buffer:
                    raise AssertionError("the stream ends inside a frame")
                return None
            self.buffer += data

    def rest(self, timeout=None):
        """All frames up to the end of the stream."""
        return list(iter(lambda: self.next_frame(timeout), None))

    def rest_bytes(self, timeout=None):
        """All bytes up to the end of the stream."""
        self.sock.settimeout(timeout or DEADLINE)
        data = bytes(self.buffer)
        for piece in iter(lambda: self.sock.recv(262144), b""):
            data += piece
        return data

    def abort(self):
        self.sock.close()

    def reset(self):
        """Closes with RST (over TCP)."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                             struct.pack("ii", 1, 0))
        self.sock.close()


def quiet_socket(address, receive_buffer=None):
    """A connected socket; a small receive buffer makes a slow reader slow
    soon (over TCP: the buffer must be set before connecting)."""
    if receive_buffer is None or address.startswith("unix://"):
        return broker_wire.open_socket(address, DEADLINE)
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    sock.settimeout(DEADLINE)
    sock.connect(broker_wire.parse_tcp(address))
    if address.startswith("tls://"):
        return broker_wire.over_tls(sock, address)
    return sock


class Ledger:
    """Follows numbered messages of one subscription: in order, once, and
    every missing one counted by a GAP in its place."""

    def __init__(self, subscription):
        self.subscription = subscription
        self.next = 0  # the number that must come next
        self.received = self.missing = self.gaps = self.gap_bytes = 0
        self.numbers = []

    def take(self, event):
        """An event of the connection; returns whether it was for us."""
        if self.subscription not in getattr(event, "subscriptions", ()):
            return False
        if isinstance(event, codec.Gap):
            self.next += event.count
            self.missing += event.count
            self.gap_bytes += event.size
            self.gaps += 1
            return True
        number = payload_number(event.payload)
        if number != self.next:
            raise AssertionError(
                "subscription %d: message %d came where %d was due" %
                (self.subscription, number, self.next))
        self.next += 1
        self.received += 1
        self.numbers.append(number)
        return True

    def read(self, connection, total, timeout=None):
        """Reads until `total` messages are accounted for; returns the
        events that were not for this subscription."""
        others = []
        deadline = time.monotonic() + (timeout or DEADLINE)
        while self.next < total:
            event = connection.next_event(deadline - time.monotonic())
            if not self.take(event):
                others.append(event)
        if self.next != total:
            raise AssertionError("%d accounted for, %d published" %
                                 (self.next, total))
        return others


def numbered(count, size=8, start=0):
    """Payloads of `size` bytes that begin with a u64 number."""
    fill = bytes(max(0, size - 8))
    return [struct.pack(">Q", n) + fill for n in range(start, start + count)]


def payload_number(payload):
    return struct.unpack_from(">Q", payload)[0]


def publish_bulk(connection, topic, payloads, chunk=2000):
    """Publishes all with acknowledgement and returns the PUBACK frames.

    Raises AssertionError if one was refused by an ERROR."""
    first = connection.last_number + 1
    frames = [codec.Publish(id=first + i, topic=topic.encode(),
                            payload=payload).encode()
              for i, payload in enumerate(payloads)]
    connection.last_number += len(frames)
    for at in range(0, len(frames), chunk):
        connection.send_bytes(b"".join(frames[at:at + chunk]))
    answers, others = [], []
    while sum(answer.count for answer in answers) < len(frames):
        event = connection.next_event()
        if isinstance(event, codec.Puback):
            answers.append(event)
        elif isinstance(event, codec.Error):
            raise AssertionError("publish refused: %s" % event.name)
        else:
            others.append(event)
    connection.inbox.extendleft(reversed(others))
    return answers


class BrokerTest(unittest.TestCase):
    """One test, one brokerd.  `options` of the class are its flags."""

    options = {}
    listen = None
    check_books_at_end = True
    logs = ""

    def setUp(self):
        self.brokers, self.peers = [], []
        self.addCleanup(self._release)
        self.broker = self.start_broker(listen=self.listen, **self.options)

    def start_broker(self, **options):
        broker = Broker(**options)
        self.brokers.append(broker)
        return broker.wait_ready()

    def connect(self, address=None, receive_buffer=None, **options):
        """A Connection that ends with the test."""
        address = address or self.broker.tcp
        connection = broker_wire.Connection(
            address, timeout=DEADLINE,
            sock=quiet_socket(address, receive_buffer), **options)
        self.peers.append(connection)
        return connection

    def raw(self, address=None, receive_buffer=None):
        """A RawPeer that ends with the test."""
        peer = RawPeer(address or self.broker.tcp, receive_buffer)
        self.peers.append(peer)
        return peer

    def system_list(self, what):
        """All entries of $sys/connections or $sys/subscriptions."""
        with broker_wire.Connection(self.broker.unix or self.broker.tcp,
                                    timeout=DEADLINE) as connection:
            entries = []
            while True:
                page = connection.system(what, offset=len(entries))
                entries += page[what]
                if not page[what] or len(entries) >= page["total"]:
                    return entries

    def connection_count(self):
        """How many connections there are, but for the one that asks."""
        return len(self.system_list("connections")) - 1

    def check_books(self):
        """The promise: matched = delivered + queued + dropped."""
        for entry in self.system_list("subscriptions"):
            dropped = entry["dropped"]
            if isinstance(dropped, dict):
                dropped = sum(dropped.values())
            self.assertEqual(entry["matched"], entry["delivered"]
                             + entry["queued"] + dropped,
                             "the books of %r" % (entry,))

    def tearDown(self):
        if (self.check_books_at_end and self.broker.running
                and not self.broker.told_to_stop):
            self.check_books()
        for peer in self.peers:
            peer.abort()
        for broker in self.brokers:
            if broker.running:
                if not broker.told_to_stop:
                    broker.signal(signal.SIGTERM)
                self.assertEqual(broker.wait(), 0, "brokerd's exit code")

    def _release(self):
        for peer in self.peers:
            peer.abort()
        for broker in self.brokers:
            broker.destroy()
            self.logs += broker.log()
            broker.log_file.close()

    def run(self, result=None):
        """As always, and shows the broker's log if the test failed."""
        def failures():
            return len(result.failures) + len(result.errors)
        before = failures() if result else 0
        outcome = super().run(result)
        if result and failures() > before:
            print("--- log of brokerd in %s ---\n%s--- end of log ---" %
                  (self.id(), self.logs), file=sys.stderr)
        return outcome

    def let_process(self):
        """Returns when the broker has seen what every peer sent before,
        also those that read nothing: it has served others many times, and
        to answer about itself it has waited for all of its threads."""
        with broker_wire.Connection(self.broker.tcp,
                                    timeout=DEADLINE) as other:
            for _ in range(20):
                other.system("stats")

    # Expectations that many suites share.

    def assert_refused(self, code, call, *arguments, **options):
        """The call is answered with ERROR `code`; returns the frame."""
        with self.assertRaises(broker_wire.Refused) as caught:
            call(*arguments, **options)
        self.assertEqual(caught.exception.name, code,
                         str(caught.exception))
        return caught.exception.error

    def assert_closed_with(self, peer, code, refused=None, timeout=None):
        """The rest of the stream is GOAWAY `code`, perhaps after an ERROR
        that says the same of the frame `refused`, and then its end."""
        frames = [frame for frame in peer.rest(timeout)
                  if not isinstance(frame, (codec.Ping, codec.Notice))]
        self.assertTrue(frames, "closed without a word, not " + code)
        names = [(frame.NAME, getattr(frame, "name", "")) for frame in frames]
        self.assertEqual(names[-1], ("GOAWAY", code), names)
        for frame in frames[:-1]:
            self.assertEqual((frame.NAME, frame.name), ("ERROR", code))
            self.assertEqual(frame.error_class, codec.Error.CONNECTION)
            if refused is not None:
                self.assertEqual((frame.id, frame.refused_type),
                                 (refused.id, refused.TYPE))
        return frames

    def assert_silent(self, connection):
        """Nothing is on its way to this connection.  Twice, because PONG
        may overtake messages that are queued, but not those sent."""
        connection.ping()
        connection.ping()
        self.assertEqual(list(connection.inbox), [])
