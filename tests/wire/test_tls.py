# SPDX-License-Identifier: MIT
"""TLS: that it works as TCP does, what is refused, and what that costs
others.  The suites that are not about TLS run over it as well, see
CMakeLists.txt."""
import os
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import tempfile
import time
import unittest

import broker_wire
import certificates
import harness
import wire_codec as codec
import wire_tls
from harness import DEADLINE, MIB, BrokerTest, wait_until

CERTIFICATES = None  # what setUpModule made


class Made:
    """The certificates of this suite, made once."""

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="brokerd-tls-")
        self.authority = certificates.Authority(self.folder, "authority")
        self.clients = certificates.Authority(self.folder, "clients")
        self.server = self.authority.issue("server")
        self.rsa = self.authority.issue("rsa", kind=certificates.RSA)
        self.client = self.clients.issue(
            "alice", subject="/O=Example, Inc./CN=alice", extension="")
        self.stranger = self.authority.issue("mallory", extension="")
        self.expired = self.clients.issue("old", extension="", days=-1)


def setUpModule():
    global CERTIFICATES
    CERTIFICATES = Made()
    os.environ["BROKER_CA_FILE"] = CERTIFICATES.authority.file


def tearDownModule():
    shutil.rmtree(CERTIFICATES.folder)


def files(made=None):
    made = made or CERTIFICATES.server
    return {"tls_certificate_file": made.file,
            "tls_key_file": made.key_file}


def client_context(certificate=None, **members):
    context = wire_tls.client_context(CERTIFICATES.authority.file,
                                      certificate and certificate.pair)
    for name, value in members.items():
        setattr(context, name, value)
    return context


class TlsTest(BrokerTest):
    """A broker that listens with TLS, and without."""

    more_options = {}

    def setUp(self):
        # The certificates are there only now.
        self.options = {**files(), **self.more_options}
        self.listen = ["tls://127.0.0.1:0", "tcp://127.0.0.1:0",
                       "unix://" + os.path.join(CERTIFICATES.folder,
                                                self.id()[-60:] + ".sock")]
        super().setUp()

    @property
    def tls(self):
        return self.broker.address("tls://")

    def secure(self, context=None, **options):
        """A Connection over TLS that ends with the test."""
        sock = broker_wire.open_socket(self.tls, DEADLINE,
                                       context or client_context())
        self.addCleanup(sock.close)
        connection = broker_wire.Connection(self.tls, timeout=DEADLINE,
                                            sock=sock, **options)
        self.peers.append(connection)
        return connection

    def tcp_socket(self, address=None):
        sock = socket.create_connection(
            broker_wire.parse_tcp(address or self.tls), DEADLINE)
        self.addCleanup(sock.close)
        return sock

    def assert_not_let_in(self, context):
        """With TLS 1.3 a client learns that only after the handshake."""
        with self.assertRaises((ssl.SSLError, wire_tls.Truncated)) as caught:
            self.secure(context)
        return str(caught.exception)

    def wait_for_log(self, text):
        wait_until(lambda: text in self.broker.log(), what="%r in the log" %
                   text)


class Messages(TlsTest):
    def exchange(self, one, other):
        one.subscribe("a/#")
        other.publish("a/b", b"hello")
        message = one.next_event()
        self.assertEqual((message.topic, message.payload), ("a/b", b"hello"))

    def next_message(self, peer):
        event = peer.next_event()
        while isinstance(event, codec.Notice):  # that much is queued
            event = peer.next_event()
        return event

    def test_between_tls_and_tls(self):
        self.exchange(self.secure(), self.secure())

    def test_between_tls_and_tcp(self):
        self.exchange(self.secure(), self.connect())
        self.exchange(self.connect(), self.secure())

    def test_versions(self):
        for name in ("TLSv1_2", "TLSv1_3"):
            version = getattr(ssl.TLSVersion, name)
            peer = self.secure(client_context(maximum_version=version,
                                              minimum_version=version))
            self.assertEqual(peer.sock.version(), name.replace("_", "."))
            peer.ping()

    def test_many_small_ones(self):
        subscriber, publisher = self.secure(), self.secure()
        ledger = harness.Ledger(subscriber.subscribe("t").id)
        harness.publish_bulk(publisher, "t", harness.numbered(20000, 100))
        ledger.read(subscriber, 20000)
        self.assertEqual(ledger.missing, 0)

    def test_each_byte_in_a_record_of_its_own(self):
        peer = self.secure()
        for byte in codec.Ping(id=1, data=b"12345678").encode():
            peer.sock.sendall(bytes([byte]))
        self.assertEqual(peer.next_event().data, b"12345678")

    def test_records_of_all_sizes(self):
        """Around the size of a record and the sizes of buffers."""
        subscriber, publisher = self.secure(), self.secure()
        subscriber.subscribe("t")
        sizes = [at + n for at in (16384, 65536, 262144, 524288, 1048576)
                 for n in range(-40, 3)]
        for size in sizes:
            payload = os.urandom(64) + bytes(size - 64)
            publisher.publish("t", payload, ack=False)
            self.assertEqual(self.next_message(subscriber).payload, payload)

    def test_the_largest_with_a_slow_reader_in_both_directions(self):
        """Both send before either reads; neither the broker nor they
        stop for good."""
        peers = [self.secure(), self.secure()]
        payload = os.urandom(8 * MIB)
        for peer in peers:
            peer.subscribe("t")
        for peer in peers:
            peer.publish("t", payload, ack=False)
        for peer in peers:
            for _ in range(2):
                self.assertEqual(self.next_message(peer).payload, payload)

    def test_a_reader_that_stops_and_goes_on(self):
        """Its queue overflows; what is missing is counted, and what comes
        is whole, though a record was under way all the time."""
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.settimeout(DEADLINE)
        sock.connect(broker_wire.parse_tcp(self.tls))
        sock = broker_wire.over_tls(sock, self.tls, client_context())
        slow = broker_wire.Connection(self.tls, timeout=DEADLINE, sock=sock)
        self.peers.append(slow)
        ledger = harness.Ledger(slow.subscribe("t").id)
        publisher = self.secure()
        total = 1200
        harness.publish_bulk(publisher, "t",
                             harness.numbered(total, 100000), chunk=50)
        ledger.read(slow, total)
        self.assertGreater(ledger.missing, 0)
        self.assertGreater(ledger.received, 0)


class Ends(TlsTest):
    def test_half_close(self):
        """close_notify of the client: what it sent counts, what is queued
        for it comes, and then the broker's close_notify."""
        peer, publisher = self.secure(), self.connect()
        peer.subscribe("t")
        publisher.publish("t", b"before")
        frame = codec.Publish(id=7, topic=b"t", payload=b"own").encode()
        peer.send_bytes(frame)
        peer.shutdown_write()
        events = peer.read_to_end()  # Truncated if there is none
        payloads = [e.payload for e in events
                    if isinstance(e, broker_wire.Message)]
        self.assertEqual(payloads, [b"before", b"own"])
        self.assertTrue(any(isinstance(e, codec.Puback) for e in events))

    def test_goaway_and_close_notify(self):
        peer = self.secure()
        peer.send(codec.Goaway(code=codec.LEAVING))
        self.assertEqual(peer.read_to_end(), [])

    def test_a_stream_that_is_cut(self):
        """What came before counts; the peer is gone, and so is what was
        queued for it."""
        peer, witness = self.secure(), self.connect()
        witness.subscribe("t")
        peer.send(codec.Publish(topic=b"t", payload=b"last"))
        peer.sock.sock.shutdown(socket.SHUT_WR)
        self.assertEqual(witness.next_event().payload, b"last")
        peer.sock.settimeout(DEADLINE)
        with self.assertRaises((wire_tls.Truncated, ssl.SSLError)):
            while True:  # OpenSSL tells the peer of the cut
                peer.sock.recv(1000)
        self.wait_for_log('reason="closed by the peer without close_notify"')

    def test_a_forged_record(self):
        peer = self.secure()
        peer.sock.sock.sendall(bytes.fromhex("1703030020") + bytes(32))
        self.wait_for_log("bad record mac")

    def test_the_broker_stops(self):
        peers = [self.secure() for _ in range(5)]
        self.broker.signal(signal.SIGTERM)
        for peer in peers:
            self.assertEqual(peer.read_to_end()[-1].name, "SHUTTING_DOWN")
        self.assertEqual(self.broker.wait(), 0)

    def test_stopping_does_not_wait_for_handshakes(self):
        self.broker.destroy()
        self.broker = self.start_broker(
            listen=self.listen, **{**self.options, "drain_timeout_ms": 30000,
                                   "handshake_timeout_ms": 30000})
        for data in (b"", b"\x16\x03\x01"):
            self.tcp_socket().sendall(data)
        self.let_process()
        started = time.monotonic()
        self.broker.signal(signal.SIGTERM)
        self.assertEqual(self.broker.wait(), 0)
        self.assertLess(time.monotonic() - started, 15)


def client_hello():
    """The first flight of a client."""
    out = ssl.MemoryBIO()
    tls = client_context().wrap_bio(ssl.MemoryBIO(), out,
                                    server_hostname="localhost")
    try:
        tls.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return out.read()


class Handshakes(TlsTest):
    more_options = {"handshake_timeout_ms": 400}

    def assert_closed_after(self, sock, seconds):
        started = time.monotonic()
        sock.settimeout(DEADLINE)
        while True:
            try:
                if not sock.recv(65536):
                    break
            except ConnectionError:
                break
        self.assertGreater(time.monotonic() - started, seconds)

    def test_stalled_ones_are_ended(self):
        """Not a byte, a few, half a ClientHello, all of it and no more."""
        hello = client_hello()
        socks = [self.tcp_socket() for _ in range(4)]
        for sock, n in zip(socks, (0, 3, len(hello) // 2, len(hello))):
            sock.sendall(hello[:n])
        self.assert_closed_after(socks[0], 0.3)
        for sock in socks[1:]:
            self.assert_closed_after(sock, -1)
        wait_until(lambda: self.connection_count() == 0)
        self.assertIn('reason="the TLS handshake was not finished"',
                      self.broker.log())

    def test_the_time_for_hello_includes_the_handshake(self):
        peer = self.raw(self.tls)
        self.assertEqual(peer.rest()[-1].name, "HANDSHAKE_TIMEOUT")

    def test_a_byte_at_a_time(self):
        sock = self.tcp_socket()
        for byte in client_hello():
            sock.sendall(bytes([byte]))
        self.assertTrue(sock.recv(5).startswith(b"\x16\x03"))

    def test_stalled_ones_hold_nobody_up(self):
        hello = client_hello()
        for n in range(60):
            self.tcp_socket().sendall(hello[:1 + n % len(hello)])
        subscriber, publisher = self.connect(), self.connect()
        subscriber.subscribe("t")
        for _ in range(100):
            publisher.publish("t", b"x")
            subscriber.next_event()
        self.secure().ping()

    def test_plain_text(self):
        for data in (codec.Hello(id=1).encode(), b"GET / HTTP/1.0\r\n\r\n",
                     b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00",
                     b"*1\r\n$4\r\nPING\r\n", bytes(1000)):
            sock = self.tcp_socket()
            sock.sendall(data)
            self.assert_closed_after(sock, -1)
        wait_until(lambda: self.broker.log().count(
            'reason="not TLS: use tcp://" received=') == 5)

    def test_noise(self):
        for _ in range(50):
            sock = self.tcp_socket()
            sock.sendall(b"\x16\x03\x01\x02\x00" + os.urandom(512))
            self.assert_closed_after(sock, -1)
        self.secure().ping()


class Rules(TlsTest):
    def test_old_versions(self):
        for version in (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1):
            context = client_context()
            context.set_ciphers("ALL:@SECLEVEL=0")
            context.minimum_version = context.maximum_version = version
            self.assert_not_let_in(context)
        self.wait_for_log('reason="unsupported protocol"')

    def test_suites_without_forward_secrecy_or_authentication(self):
        self.broker.destroy()
        self.broker = self.start_broker(listen=self.listen,
                                        **files(CERTIFICATES.rsa))
        for suite in ("AES256-GCM-SHA384", "ECDHE-RSA-AES256-SHA384",
                      "DHE-RSA-AES256-GCM-SHA384"):
            context = client_context(maximum_version=ssl.TLSVersion.TLSv1_2)
            context.set_ciphers(suite)
            self.assert_not_let_in(context)
        context = client_context(maximum_version=ssl.TLSVersion.TLSv1_2)
        context.set_ciphers("ECDHE-RSA-AES128-GCM-SHA256")
        self.secure(context).ping()
        self.wait_for_log('reason="no shared cipher"')

    def test_alpn_is_not_spoken(self):
        context = client_context()
        context.set_alpn_protocols(["h2", "mqtt"])
        peer = self.secure(context)
        self.assertIsNone(peer.sock.tls.selected_alpn_protocol())
        peer.ping()

    def test_no_resumption(self):
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            peer = self.secure(client_context(maximum_version=version))
            peer.ping()
            session = peer.sock.tls.session
            self.assertFalse(session and session.has_ticket)

    def test_only_1_3(self):
        self.broker.destroy()
        self.broker = self.start_broker(listen=self.listen,
                                        tls_min_version="1.3", **files())
        self.assert_not_let_in(
            client_context(maximum_version=ssl.TLSVersion.TLSv1_2))
        self.secure().ping()

    def s_client(self, *arguments, lines):
        """openssl s_client, which is told `lines` one after the other."""
        host, port = broker_wire.parse_tcp(self.tls)
        process = subprocess.Popen(
            ["openssl", "s_client", "-connect", "%s:%d" % (host, port),
             "-CAfile", CERTIFICATES.authority.file, *arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        output = b""
        while b"Verify return code" not in output:
            output += os.read(process.stdout.fileno(), 65536)
        for line in lines:
            process.stdin.write(line + b"\n")
            process.stdin.flush()
        process.stdin.close()
        return (output + process.stdout.read()).decode(errors="replace")

    def test_renegotiation(self):
        output = self.s_client("-tls1_2", lines=[b"R"])
        self.assertIn("RENEGOTIATING", output)
        self.assertIn("no renegotiation", output)
        self.connect().ping()


class ClientCertificates(TlsTest):
    def start(self, wanted):
        self.broker.destroy()
        access = os.path.join(CERTIFICATES.folder, "access")
        with open(access, "w") as file:
            file.write("certificate alice alice\n")
        os.chmod(access, 0o600)
        self.broker = self.start_broker(
            listen=self.listen, tls_client_certificates=wanted,
            tls_client_ca_file=CERTIFICATES.clients.file, log_level="debug",
            access_file=access, **files())

    def test_required(self):
        self.start("required")
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            with self.subTest(version=version):
                def context(certificate=None):
                    return client_context(certificate,
                                          maximum_version=version)
                self.assert_not_let_in(context())
                self.assert_not_let_in(context(CERTIFICATES.stranger))
                self.assert_not_let_in(context(CERTIFICATES.expired))
                self.secure(context(CERTIFICATES.client)).ping()
        refused = [line for line in self.broker.log().split("\n")
                   if " tls-refused " in line]
        for reason in ("peer did not return a certificate",
                       "self-signed certificate in certificate chain",
                       "certificate has expired"):
            self.assertEqual(sum(line.endswith('reason="%s"' % reason)
                                 for line in refused), 2)

    def test_the_peer_hears_why(self):
        """Though it has sent a lot in the belief that it is in."""
        self.start("required")
        for _ in range(20):
            sock = broker_wire.over_tls(self.tcp_socket(), self.tls,
                                        client_context())
            sock.sendall(bytes(60000))
            with self.assertRaisesRegex(ssl.SSLError, "(?i)certificate"):
                sock.recv(1000)

    def test_optional(self):
        self.start("optional")
        self.assert_refused("AUTH_REQUIRED", self.secure)
        self.secure(client_context(CERTIFICATES.client)).ping()
        self.assert_not_let_in(client_context(CERTIFICATES.stranger))

    def names(self, certificate):
        def lines():
            return [line[line.index("common_name="):]
                    for line in self.broker.log().split("\n")
                    if " tls-open " in line]
        count = len(lines())
        sock = broker_wire.open_socket(self.tls, DEADLINE,
                                       client_context(certificate))
        self.addCleanup(sock.close)
        wait_until(lambda: len(lines()) > count)
        return lines()[-1]

    def test_names(self):
        self.start("required")
        for subject, expected in (
                ("/CN=alice", 'common_name=alice subject="CN=alice"'),
                ("/C=DE/O=Example, Inc./CN=bob",
                 'common_name=bob subject="CN=bob,O=Example\\\\, Inc.,C=DE"'),
                ("/O=nobody", 'common_name="" subject="O=nobody"'),
                ("/CN=one/CN=two",
                 'common_name="" subject="CN=two,CN=one"'),
                ("/CN=a\nb", 'common_name="" subject="CN=a\\\\0Ab"'),
                ("/CN=j\u00fcrgen",
                 r'common_name="j\xc3\xbcrgen" subject="CN=j\\C3\\BCrgen"')):
            with self.subTest(subject=subject):
                made = CERTIFICATES.clients.issue("names", subject=subject,
                                                  extension="")
                self.assertEqual(self.names(made), expected)

    def test_nobody_is_asked_unless_that_is_said(self):
        peer = self.secure(client_context(CERTIFICATES.stranger))
        peer.ping()


class Files(unittest.TestCase):
    """What is wrong with them is said at start, and by --check."""

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="brokerd-tls-")
        self.addCleanup(shutil.rmtree, self.folder)

    def path(self, name, text=b""):
        path = os.path.join(self.folder, name)
        with open(path, "wb") as file:
            file.write(text)
        os.chmod(path, 0o600)
        return path

    def refused(self, **options):
        texts = []
        for more in ([], ["--check"]):
            done = subprocess.run(
                [os.environ["BROKERD"], "--listen", "tls://127.0.0.1:0",
                 *more] + ["--%s=%s" % each for each in options.items()],
                stdin=subprocess.DEVNULL, capture_output=True, check=False,
                timeout=DEADLINE)
            self.assertNotEqual(done.returncode, 0)
            self.assertEqual(done.stdout, b"")
            texts.append(done.stderr.decode())
        self.assertEqual(texts[1], texts[0])
        return texts[1]

    def test_not_there(self):
        here, missing = files(), os.path.join(self.folder, "missing")
        for key in here:
            text = self.refused(**{**here, key: missing})
            self.assertEqual(text, missing + ": No such file or directory\n")
        text = self.refused(tls_client_certificates="required",
                            tls_client_ca_file=missing, **here)
        self.assertEqual(text, missing + ": No such file or directory\n")

    def test_no_pem(self):
        for key in files():
            path = self.path("noise", os.urandom(1000))
            text = self.refused(**{**files(), key: path})
            self.assertTrue(text.startswith(path + ": no "), text)
            text = self.refused(**{**files(), key: self.folder})
            self.assertTrue(text.startswith(self.folder + ": "), text)

    def test_the_key_of_somebody_else(self):
        text = self.refused(tls_certificate_file=CERTIFICATES.server.file,
                            tls_key_file=CERTIFICATES.client.key_file)
        self.assertIn("this is not the key of the certificate in", text)

    def test_a_key_for_everybody(self):
        with open(CERTIFICATES.server.key_file, "rb") as file:
            path = self.path("open.key", file.read())
        os.chmod(path, 0o644)
        text = self.refused(**{**files(), "tls_key_file": path})
        self.assertIn("use chmod 0600", text)

    def test_a_passphrase(self):
        path = self.path("locked.key")
        certificates.openssl(
            "pkey", "-in", CERTIFICATES.server.key_file, "-aes256",
            "-passout", "pass:secret", "-out", path)
        text = self.refused(**{**files(), "tls_key_file": path})
        self.assertIn("passphrase", text)


class Reload(TlsTest):
    def setUp(self):
        super().setUp()
        self.broker.destroy()
        self.folder = tempfile.mkdtemp(prefix="brokerd-tls-")
        self.addCleanup(shutil.rmtree, self.folder)
        self.own = certificates.Certificate(self.folder, "own")
        self.install(CERTIFICATES.server)
        self.broker = self.start_broker(listen=self.listen,
                                        **files(self.own))

    def install(self, made):
        shutil.copy(made.file, self.own.file)
        shutil.copy(made.key_file, self.own.key_file)
        os.chmod(self.own.key_file, 0o600)

    def serial(self):
        """Of the certificate that new connections get."""
        sock = broker_wire.open_socket(self.tls, DEADLINE, client_context())
        self.addCleanup(sock.close)
        return sock.tls.getpeercert()["serialNumber"]

    def reload(self, outcome):
        count = self.broker.log().count(outcome)
        self.broker.signal(signal.SIGHUP)
        wait_until(lambda: self.broker.log().count(outcome) > count)

    def test_new_ones_for_new_connections(self):
        peer = self.secure()
        subscription = peer.subscribe("t")
        before = self.serial()
        self.install(CERTIFICATES.authority.issue("next"))
        self.reload(" reloaded ")
        self.assertNotEqual(self.serial(), before)
        self.secure().publish("t", b"still there")
        event = peer.next_event()
        self.assertEqual((event.payload, event.subscriptions),
                         (b"still there", (subscription.id,)))

    def test_a_wrong_file_changes_nothing(self):
        before = self.serial()
        with open(self.own.file, "w") as file:
            file.write("-----BEGIN CERTIFICATE-----\n")
        self.reload(" reload-failed ")
        self.install(CERTIFICATES.client)
        os.chmod(self.own.key_file, 0o644)
        self.reload(" reload-failed ")
        self.assertEqual(self.serial(), before)

    def test_while_handshakes_are_under_way(self):
        hello = client_hello()
        socks = [self.tcp_socket() for _ in range(20)]
        for sock in socks[:10]:
            sock.sendall(hello[:100])
        self.let_process()
        for _ in range(5):
            self.reload(" reloaded ")
        for sock in socks:
            sock.sendall(hello[100:] if sock in socks[:10] else hello)
        for sock in socks:
            self.assertTrue(sock.recv(5).startswith(b"\x16\x03"))


class Crowds(TlsTest):
    more_options = {"max_connections": 900}
    COUNT = 300 if harness.MEMORY_IS_MEASURABLE else 60

    def descriptors(self):
        return len(os.listdir("/proc/%d/fd" % self.broker.process.pid))

    def crowd(self, finish):
        """Opens many, ends them by `finish`; returns the memory of one."""
        before = self.broker.rss_bytes()
        peers = [self.secure() for _ in range(self.COUNT)]
        for peer in peers:
            peer.subscribe("t/+")
        wait_until(lambda: self.connection_count() == self.COUNT)
        size = (self.broker.rss_bytes() - before) / self.COUNT
        for peer in peers:
            finish(peer)
        wait_until(lambda: self.connection_count() == 0)
        return size

    def test_nothing_is_left_of_many(self):
        self.crowd(lambda peer: peer.close())  # what is kept for the next
        descriptors, memory = self.descriptors(), self.broker.rss_bytes()
        for finish in (lambda peer: peer.close(), lambda peer: peer.abort(),
                       lambda peer: peer.sock.sock.shutdown(socket.SHUT_WR)):
            self.crowd(finish)
        wait_until(lambda: self.descriptors() <= descriptors)
        if harness.MEMORY_IS_MEASURABLE:
            self.assertLess(self.broker.rss_bytes() - memory, 2 * MIB)

    @unittest.skipUnless(harness.MEMORY_IS_MEASURABLE, "a sanitizer's memory")
    def test_the_memory_of_an_idle_one(self):
        size = self.crowd(lambda peer: peer.close())
        print("an idle connection over TLS takes %.1f KiB" % (size / 1024))
        self.assertLess(size, 64 * 1024)

    def test_handshakes_that_fail(self):
        context = client_context()
        descriptors = self.descriptors()
        for _ in range(100):
            sock = self.tcp_socket()
            sock.sendall(client_hello())
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                            struct.pack("ii", 1, 0))
            sock.close()
        wait_until(lambda: self.descriptors() <= descriptors)
        self.secure(context).ping()

    def test_one_too_many(self):
        self.broker.destroy()
        self.broker = self.start_broker(listen=self.listen,
                                        max_connections=3, **files())
        for _ in range(3):
            self.secure()
        peer = self.raw(self.tls)
        self.assertEqual(peer.rest()[-1].name, "TOO_MANY_CONNECTIONS")
        self.check_books_at_end = False  # there is no room for who asks


if __name__ == "__main__":
    unittest.main()
