# SPDX-License-Identifier: MIT
"""Peers that break the protocol are told so and closed; others notice
nothing.

PROTOCOL.md sections 2, 2.1, 3.1, 4 and 7.  A well-behaved pair of clients
works before, during and after every test.
"""
import http.client
import os
import socket
import unittest

import broker_wire
import wire_codec as codec
from harness import (
    MEMORY_IS_MEASURABLE, MIB, BrokerTest, quiet_socket, wait_until)

HELLO = codec.Hello(id=1).encode()

# What other protocols begin with, and what the first bytes of an answer in
# that tongue are.  None: one line of text.
STRANGERS = {
    "HTTP": (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", b"HTTP/1."),
    "HTTP POST": (b"POST /x HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello",
                  b"HTTP/1."),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b""),
    "TLS": (bytes.fromhex("16030100310100002d0303") + os.urandom(32)
            + bytes.fromhex("000006130113021303010000"), b"\x15\x03"),
    "MQTT 3.1.1": (bytes.fromhex("100f00044d5154540402003c00036d6d6d"),
                   b"\x20\x02\x00"),
    "RESP": (b"*1\r\n$4\r\nPING\r\n", b"-"),
    "SSH": (b"SSH-2.0-OpenSSH_9.2\r\n", None),
    "AMQP": (b"AMQP\0\0\x09\x01", None),
    "noise": (b"\xff\xfe\xfd\xfc", None),
    "letters": (b"hello\r\n", None),
    "one byte": (b"\x01", None),
}


class AbuseTest(BrokerTest):
    """Has a pair of clients that must work whatever the others do."""

    def setUp(self):
        super().setUp()
        self.good_publisher = self.connect()
        self.good_subscriber = self.connect(self.broker.unix)
        self.good_id = self.good_subscriber.subscribe("good/+").id
        self.sent = 0

    def check_good_pair(self):
        self.sent += 1
        text = b"message %d" % self.sent
        answer = self.good_publisher.publish("good/1", text)
        self.assertEqual((answer.matched, answer.refused), (1, 0))
        event = self.good_subscriber.next_event()
        self.assertEqual((event.payload, event.subscriptions),
                         (text, (self.good_id,)))

    def tearDown(self):
        self.check_good_pair()
        self.assert_silent(self.good_subscriber)
        super().tearDown()

    def closed_for(self, frame, code, before=HELLO, address=None):
        """The broker closes with this code for these bytes or frame."""
        peer = self.raw(address)
        peer.send(before)
        if before == HELLO:
            self.assertEqual(peer.next_frame().NAME, "WELCOME")
        peer.send(frame)
        refused = None if isinstance(frame, bytes) else frame
        self.assert_closed_with(peer, code, refused)
        peer.abort()
        self.check_good_pair()


def sample(cls):
    """A frame of this type that is correct in itself."""
    samples = {"ERROR": {"code": 304}, "PUBLISH": {"topic": b"x"},
               "SUBSCRIBE": {"filter": b"x"}, "NOTICE": {"code": 601},
               "CONTEXT": {"subscriptions": (1,)},
               "GAP": {"subscriptions": (1,)},
               "PUBLISH_BATCH": {"messages": [codec.Publish(topic=b"x")]},
               "CONSUME": {"consumer": b"x"},
               "ACK": {"ranges": ((1, 1),)}, "NACK": {"ranges": ((1, 1),)},
               "TOUCH": {"ranges": ((1, 1),)}}
    return cls(id=3, **samples.get(cls.NAME, {}))


class States(AbuseTest):
    def test_before_hello(self):
        """Every known type but HELLO is out of place."""
        for cls in codec.FRAMES.values():
            if cls is not codec.Hello:
                with self.subTest(type=cls.NAME):
                    self.closed_for(sample(cls), "UNEXPECTED_FRAME",
                                    before=b"")

    def test_skippable_before_hello(self):
        peer = self.raw()
        peer.send(codec.HEADER.pack(5, 0x9000, 0xFFFF, 0) + b"12345")
        peer.hello()
        peer.abort()

    def test_must_understand_before_hello(self):
        """Refused either as a type or in this state; 3.1 says the former
        is looked at first."""
        peer = self.raw()
        peer.send(codec.HEADER.pack(5, 0x0030, 0, 9) + b"12345")
        frame = peer.next_frame()
        self.assertIn(frame.name, ("UNSUPPORTED_TYPE", "UNEXPECTED_FRAME"))
        if frame.name == "UNSUPPORTED_TYPE":
            peer.hello()

    def test_when_open(self):
        """A second HELLO, and every frame that only a broker sends."""
        for cls in codec.FRAMES.values():
            if cls is codec.Hello or cls.SENDER == "S":
                with self.subTest(type=cls.NAME):
                    self.closed_for(sample(cls), "UNEXPECTED_FRAME")

    def test_after_goaway(self):
        """Input is discarded, whatever it is."""
        for cls in codec.FRAMES.values():
            peer = self.raw()
            peer.hello()
            peer.send(codec.Goaway(), sample(cls), b"\xff\xff\xff")
            self.assertEqual(peer.rest(), [], cls.NAME)
            peer.abort()

    def test_after_the_brokers_goaway(self):
        """It answers nothing more, but waits for our end for a while."""
        peer = self.raw()
        peer.hello()
        peer.send(codec.Hello(id=2), codec.Publish(id=1, topic=b"good/2"),
                  codec.Ping())
        self.assert_closed_with(peer, "UNEXPECTED_FRAME")
        peer.send(codec.Publish(id=2, topic=b"good/2"))

    def test_goaway_states_the_last_publish(self):
        peer = self.raw()
        peer.hello()
        peer.send(codec.Publish(id=41, topic=b"x"),
                  codec.Publish(id=42, topic=b"x"), codec.Publish(topic=b"x"),
                  codec.Hello())
        frames = peer.rest()
        self.assertEqual((frames[-1].NAME, frames[-1].id), ("GOAWAY", 42))
        self.assertEqual(sum(f.count for f in frames if f.NAME == "PUBACK"),
                         2)


class Strangers(AbuseTest):
    def test_other_protocols(self):
        for name, (data, expected) in STRANGERS.items():
            for address in self.broker.addresses:
                with self.subTest(name=name, address=address):
                    self.check_stranger(address, [data], expected)

    def test_in_pieces(self):
        """A stream may be cut anywhere, also theirs."""
        for name, (data, expected) in STRANGERS.items():
            for cut in (1, 2, 3):
                if cut < len(data):
                    with self.subTest(name=name, cut=cut):
                        self.check_stranger(
                            self.broker.tcp, [data[:cut], data[cut:]],
                            expected)

    def test_first_piece_and_end(self):
        """One byte and the end of the stream: something is answered."""
        for name, (data, _) in STRANGERS.items():
            with self.subTest(name=name):
                peer = self.raw()
                peer.send(data[:1])
                peer.half_close()
                peer.rest_bytes()

    def test_every_first_byte(self):
        for first in range(1, 256):
            peer = self.raw(self.broker.unix)
            peer.send(bytes([first]) + b"\r\n\r\n" + bytes(20))
            self.assertTrue(peer.rest_bytes(), "byte %d" % first)
            peer.abort()

    def check_stranger(self, address, pieces, expected):
        peer = self.raw(address)
        try:
            for piece in pieces:
                peer.send(piece)
                self.let_process()
        except OSError:
            pass  # it need not hear us out
        answer = peer.rest_bytes()
        peer.abort()
        if expected is None:
            self.assertTrue(answer.endswith(b"\n"), answer)
            self.assertEqual(answer.count(b"\n"), 1, answer)
            self.assertTrue(answer.isascii(), answer)
        else:
            self.assertTrue(answer.startswith(expected), answer)
            self.assertTrue(answer)
        if expected in (None, b"HTTP/1.", b"-"):
            self.assertIn(b"brokerd", answer)
        self.check_good_pair()

    def test_http_is_complete(self):
        """An HTTP client understands the answer and its end."""
        client = http.client.HTTPConnection(
            *broker_wire.parse_tcp(self.broker.tcp), timeout=30)
        client.request("GET", "/")
        response = client.getresponse()
        self.assertGreaterEqual(response.status, 400)
        self.assertIn(b"brokerd", response.read())
        client.close()

    def test_noise_in_the_open_state(self):
        self.closed_for(b"\x01", "BAD_START")
        self.closed_for(b"GET / HTTP/1.1\r\n\r\n", "BAD_START")
        self.closed_for(codec.Ping().encode()[:12] + bytes(8) + b"\xff",
                        "BAD_START", before=HELLO + b"")

    def closed_for(self, frame, code, before=HELLO, address=None):
        """As in the base, but a PONG may come first."""
        peer = self.raw(address)
        peer.send(before, frame)
        frames = [f for f in peer.rest() if f.NAME not in ("WELCOME",
                                                           "PONG")]
        self.assertEqual(frames[-1].NAME, "GOAWAY")
        self.assertEqual({f.name for f in frames}, {code})


class Hellos(AbuseTest):
    def test_bad_magic(self):
        for magic in [b"BRK2", b"brk1", bytes(4), b"\xff" * 4, b"BRK0"]:
            self.closed_for(codec.Hello(id=3, magic=magic), "BAD_MAGIC",
                            before=b"")

    def test_no_version_in_common(self):
        for low, high in [(2, 2), (2, 255), (255, 255)]:
            self.closed_for(codec.Hello(id=3, min_version=low,
                                        max_version=high), "VERSION",
                            before=b"")

    def test_version_ranges_that_make_no_sense(self):
        for low, high in [(0, 0), (0, 1), (2, 1), (255, 1), (1, 0)]:
            self.closed_for(codec.Hello(id=3, min_version=low,
                                        max_version=high), "MALFORMED",
                            before=b"")

    def test_body_limits_outside_of_the_range(self):
        for limit in [0, 1, 65535, 0x01000000, 0xFFFFFFFF]:
            self.closed_for(codec.Hello(id=3, max_body_bytes=limit),
                            "MALFORMED", before=b"")

    def test_the_zero_field(self):
        for at in (12 + 6, 12 + 7):
            data = bytearray(HELLO)
            data[at] = 1
            self.closed_for(bytes(data), "MALFORMED", before=b"")

    def test_names(self):
        for name in [b"", b"x" * 256, b"a\0b", b"\xff"]:
            self.closed_for(codec.Hello(id=3, fields=[(codec.NAME, name)]),
                            "MALFORMED", before=b"")
        self.closed_for(codec.Hello(id=3, fields=[
            (codec.NAME, b"a"), (codec.NAME, b"b")]), "MALFORMED",
            before=b"")

    def test_fields_that_do_not_fill_the_body(self):
        for tail in [b"\0", b"\0\1", b"\0\1\0", b"\0\1\0\2x",
                     b"\x70\1\0\0\0"]:
            data = codec.HEADER.pack(40 + len(tail), 1, 0, 3) + HELLO[12:]
            self.closed_for(data + tail, "MALFORMED", before=b"")

    def test_critical_fields(self):
        peer = self.raw()
        peer.send(codec.Hello(id=3, fields=[(0xF001, b"x")]))
        error = peer.next_frame()
        self.assertEqual((error.NAME, error.name, error.id),
                         ("ERROR", "UNKNOWN_TAG", 3))

    def test_flags(self):
        for bit in range(8):
            self.closed_for(codec.Hello(id=3, flags=1 << bit), "BAD_FLAGS",
                            before=b"")
        peer = self.raw()
        self.assertEqual(peer.hello(flags=0xFF00).NAME, "WELCOME")


class Frames(AbuseTest):
    options = {"half_close_linger_ms": 20}

    def test_undefined_flags(self):
        for cls in codec.FRAMES.values():
            if "C" not in cls.SENDER or cls is codec.Hello:
                continue
            for bit in range(8):
                if not cls.FLAGS & 1 << bit:
                    frame = sample(cls)
                    frame.flags = 1 << bit
                    self.closed_for(frame, "BAD_FLAGS")

    def test_lengths(self):
        """Below the minimum and above the maximum: by the header alone."""
        for number, length in [(1, 0), (1, 39)]:
            self.closed_for(codec.HEADER.pack(length, number, 0, 3),
                            "MALFORMED", before=b"")
        for number, length in [(5, 0), (5, 7), (5, 9), (5, 65536), (6, 7),
                               (6, 9), (7, 0), (7, 7), (0x10, 0), (0x10, 4),
                               (0x20, 0), (0x20, 8)]:
            with self.subTest(type=hex(number), length=length):
                self.closed_for(codec.HEADER.pack(length, number, 0, 3),
                                "MALFORMED")

    def test_publish_bodies(self):
        for body in [
                b"\0\0\0\0x",  # no topic: see the next test, too
                b"\0\2\0\0a",  # topic beyond the body
                b"\xff\xff\0\0a", b"\0\1\0\1a",  # fields beyond the body
                b"\0\1\xff\xffa", b"\xff\xff\xff\xffa",
                b"\0\1\0\1aX", b"\0\1\0\3aXYZ",  # half a field
                b"\0\1\0\4a\0\4\0\1",  # a value beyond its list
                b"\0\1\0\4a\0\4\0\0",  # HEADER without a key
                b"\0\1\0\6a\0\4\0\2\0\0",  # HEADER with an empty key
                b"\0\1\0\6a\0\4\0\2\0\1",  # key beyond its field
                b"\0\1\0\7a\0\4\0\3\0\1\0",  # NUL in the key
                b"\0\1\0\7a\0\4\0\3\0\1\xff",  # key is not UTF-8
        ]:
            frame = codec.HEADER.pack(len(body), 0x10, 0, 3) + body
            with self.subTest(body=body):
                if body == b"\0\0\0\0x":
                    continue
                self.closed_for(frame, "MALFORMED")
        long_key = b"\0\4\1\2\1\0" + b"x" * 256
        body = b"\0\1\1\6a" + long_key
        self.closed_for(codec.HEADER.pack(len(body), 0x10, 0, 3) + body,
                        "MALFORMED")

    def test_empty_topic_and_filter(self):
        """"At least 1" says the layout; which code is left to choose."""
        for frame in [codec.HEADER.pack(5, 0x10, 0, 3) + b"\0\0\0\0x",
                      codec.HEADER.pack(9, 0x20, 0, 3) + bytes(8) + b"x"]:
            peer = self.raw()
            peer.hello()
            peer.send(frame)
            self.assertIn(peer.next_frame().name,
                          ("MALFORMED", "BAD_TOPIC", "BAD_FILTER"))

    def test_reply_to_twice_and_broken(self):
        twice = codec.Publish(id=3, topic=b"x", fields=[
            (codec.REPLY_TO, b"a"), (codec.REPLY_TO | codec.CRITICAL,
                                     b"b")])
        self.closed_for(twice, "MALFORMED")
        for name in [b"", b"a/+", b"#", b"\xff", b"\0"]:
            self.closed_for(codec.Publish(
                id=3, topic=b"x", fields=[(codec.REPLY_TO, name)]),
                "MALFORMED")

    def test_subscribe_bodies(self):
        def body(f=1, g=0, policy=0, options=0, zero=0, rest=b"a"):
            return (f.to_bytes(2, "big") + g.to_bytes(2, "big")
                    + bytes([policy, options]) + zero.to_bytes(2, "big")
                    + rest)
        for data in [body(f=2), body(g=1), body(f=65535), body(g=65535),
                     body(f=65535, g=65535), body(options=2),
                     body(options=0x80), body(options=0xFF), body(zero=1),
                     body(zero=0x8000), body(rest=b"aX"),
                     body(rest=b"a\0\1\0")]:
            with self.subTest(body=data):
                self.closed_for(
                    codec.HEADER.pack(len(data), 0x20, 0, 3) + data,
                    "MALFORMED")

    def test_unsubscribe_and_goaway_bodies(self):
        self.closed_for(codec.HEADER.pack(1, 0x22, 0, 3) + b"x", "MALFORMED")
        self.closed_for(codec.HEADER.pack(4, 0x22, 0, 3) + b"\0\1\0\1",
                        "MALFORMED")
        for body in [b"\x01\xf9\0\1" + bytes(4), bytes(8) + b"x",
                     bytes(8) + b"\0\2\0\1\xff"]:
            self.closed_for(codec.HEADER.pack(len(body), 7, 0, 3) + body,
                            "MALFORMED")

    def test_what_comes_before_is_answered(self):
        peer = self.raw()
        peer.send(HELLO, codec.Publish(id=1, topic=b"x"),
                  codec.Ping(id=2), b"\x01")
        names = [f.NAME for f in peer.rest()]
        self.assertEqual(names[0], "WELCOME")
        self.assertEqual(names[-1], "GOAWAY")
        self.assertLessEqual({"PUBACK", "PONG"}, set(names))

    def test_every_truncation_then_close(self):
        """Frames that end in the middle, by half-close and by abort."""
        frames = [sample(cls).encode() for cls in codec.FRAMES.values()
                  if "C" in cls.SENDER]
        before = self.connection_count()
        for data in frames:
            start = b"" if data[5] == 1 else HELLO
            for cut in range(len(data)):
                peer = self.raw(self.broker.addresses[cut % 2])
                peer.send(start + data[:cut])
                if cut % 3 == 0:
                    peer.half_close()
                    peer.rest()
                peer.abort()
        wait_until(lambda: self.connection_count() == before)

    def test_every_flipped_bit_of_a_session(self):
        """Whatever one wrong bit does, the broker answers in frames."""
        session = (HELLO + codec.Subscribe(id=1, filter=b"x").encode()
                   + codec.Publish(id=1, topic=b"x", fields=[
                       (codec.REPLY_TO, b"y")], payload=b"p").encode()
                   + codec.Unsubscribe(id=1).encode())
        for bit in range(8, 8 * len(session)):
            data = bytearray(session)
            data[bit // 8] ^= 0x80 >> bit % 8
            peer = self.raw(self.broker.unix)
            peer.send(bytes(data))
            peer.half_close()
            peer.rest()
            peer.abort()


class Handshake(AbuseTest):
    options = {"handshake_timeout_ms": 300}

    def test_silent_peers(self):
        peers = [self.raw(self.broker.addresses[n % 2]) for n in range(50)]
        self.check_good_pair()
        for peer in peers:
            self.assert_closed_with(peer, "HANDSHAKE_TIMEOUT")

    def test_a_hello_that_dribbles_in(self):
        """Bytes are life for the heartbeat, but no HELLO."""
        peer = self.raw()
        for at in range(len(HELLO) - 1):
            if peer.readable(0.05):
                break
            peer.send(HELLO[at:at + 1])
        self.assert_closed_with(peer, "HANDSHAKE_TIMEOUT")

    def test_skippable_frames_are_no_hello(self):
        peer = self.raw()
        frame = codec.HEADER.pack(0, 0x9000, 0, 0)
        while not peer.readable(0.02):
            peer.send(frame)
        self.assert_closed_with(peer, "HANDSHAKE_TIMEOUT")

    def test_those_who_said_hello_stay(self):
        self.assert_closed_with(self.raw(), "HANDSHAKE_TIMEOUT")
        self.check_good_pair()


class Floods(AbuseTest):
    """Peers that ask and never read: what they may cost is bounded."""

    options = {"max_output_bytes": MIB, "max_body_bytes": 65536}

    def flood(self, peer, data, limit=200 * MIB):
        """Sends `data` again and again until the broker takes no more for
        a while; the good pair goes on meanwhile.  How many whole ones."""
        sock, sent = peer.sock, 0
        block = data * max(1, 65536 // len(data))
        sock.setblocking(False)
        idle = 0
        while idle < 20 and sent < limit:
            try:
                sent += sock.send(block[sent % len(block):])
                idle = 0
            except BlockingIOError:
                idle += 1
                self.check_good_pair()
        sock.setblocking(True)
        rest = -sent % len(data)
        return sent, data[len(data) - rest:]

    def check_flood(self, frame, answer, per_answer=1):
        """A flood of this frame, then its answers, all of them."""
        peer = self.raw(self.broker.unix)
        peer.hello()
        before = self.broker.rss_bytes()
        data = frame.encode()
        sent, rest = self.flood(peer, data)
        grown = self.broker.rss_bytes() - before
        self.assertLess(sent, 200 * MIB, "it was never made to wait")
        if MEMORY_IS_MEASURABLE:
            self.assertLess(grown, 24 * MIB)
        # Now it reads: nothing was lost.
        expected, count = (sent + len(rest)) // len(data), 0
        pending = rest
        while count < expected:
            if pending:
                peer.sock.setblocking(False)
                try:
                    pending = pending[peer.sock.send(pending):]
                except BlockingIOError:
                    pass
                peer.sock.setblocking(True)
            got = peer.next_frame()
            if got.NAME in ("PING", "NOTICE"):
                continue
            self.assertEqual(got.NAME, answer)
            count += getattr(got, "count", 1)
        self.assertEqual(count, expected)
        peer.send(codec.Ping(id=123456))
        self.assertEqual(peer.next_frame().id, 123456)

    def test_pings(self):
        self.check_flood(codec.Ping(id=1), "PONG")

    def test_publishes_that_are_refused(self):
        self.check_flood(codec.Publish(id=1, topic=b"+"), "ERROR")

    def test_requests_without_subscribers(self):
        self.check_flood(codec.Publish(id=1, topic=b"nobody", fields=[
            (codec.REPLY_TO, b"r")]), "ERROR")

    def test_unknown_types(self):
        self.check_flood(codec.Unsubscribe(id=1), "ERROR")

    def test_acknowledged_publishes(self):
        """The same number again and again cannot be merged."""
        self.check_flood(codec.Publish(id=1, topic=b"nobody"), "PUBACK")

    def test_subscribe_and_unsubscribe(self):
        peer = self.raw(self.broker.unix)
        peer.hello()
        before = self.broker.rss_bytes()
        data = (codec.Subscribe(id=1, filter=b"x").encode()
                + codec.Unsubscribe(id=1).encode())
        self.flood(peer, data)
        if MEMORY_IS_MEASURABLE:
            self.assertLess(self.broker.rss_bytes() - before, 24 * MIB)

    def test_own_messages(self):
        """A peer that publishes to itself and never reads."""
        peer = self.raw(self.broker.unix)
        peer.hello()
        peer.send(codec.Subscribe(id=1, filter=b"x"))
        before = self.broker.rss_bytes()
        data = codec.Publish(topic=b"x", payload=bytes(1000)).encode()
        self.flood(peer, data, 50 * MIB)
        if MEMORY_IS_MEASURABLE:
            self.assertLess(self.broker.rss_bytes() - before, 24 * MIB)

    def test_many_of_them(self):
        peers = [self.raw(self.broker.unix) for _ in range(20)]
        before = self.broker.rss_bytes()
        for peer in peers:
            peer.hello()
            self.flood(peer, codec.Ping(id=1).encode(), 4 * MIB)
        if MEMORY_IS_MEASURABLE:
            self.assertLess(self.broker.rss_bytes() - before, 64 * MIB)
        for peer in peers:
            peer.abort()
        wait_until(lambda: self.connection_count() == 2)

    def test_huge_frames_that_never_end(self):
        """Announced bodies cost nothing before they come."""
        before = self.broker.rss_bytes()
        peers = [self.raw(self.broker.addresses[n % 2]) for n in range(100)]
        for peer in peers:
            peer.hello()
            peer.send(codec.HEADER.pack(codec.MAX_BODY, 0x10, 0, 1),
                      b"\0\1\0\0a")
        self.check_good_pair()
        self.let_process()
        if MEMORY_IS_MEASURABLE:
            self.assertLess(self.broker.rss_bytes() - before, 64 * MIB)

    def test_answers_of_a_stranger_that_never_reads(self):
        for _ in range(50):
            sock = quiet_socket(self.broker.tcp, 4096)
            sock.sendall(b"GET / HTTP/1.1\r\n\r\n" * 100)
            sock.close()
        self.check_good_pair()


class SystemRequests(AbuseTest):
    def test_large_answers_to_a_peer_that_does_not_read(self):
        """A small request with a large answer is no lever."""
        peer = self.raw(self.broker.unix)
        peer.hello()
        peer.send(codec.Subscribe(id=1, filter=b"r"), b"".join(
            codec.Subscribe(id=n, filter=b"x/%d" % n).encode()
            for n in range(2, 2000)))
        before = self.broker.rss_bytes()
        request = codec.Publish(id=1, topic=b"$sys/subscriptions",
                                fields=[(codec.REPLY_TO, b"r")]).encode()
        peer.sock.setblocking(False)
        for _ in range(300):
            try:
                peer.sock.send(request)
            except BlockingIOError:
                break
        self.check_good_pair()
        self.let_process()
        if MEMORY_IS_MEASURABLE:
            self.assertLess(self.broker.rss_bytes() - before, 100 * MIB)


class Closing(AbuseTest):
    options = {"close_linger_ms": 300}

    def test_who_does_not_close_is_closed(self):
        """After GOAWAY the broker waits for our end, but not for ever."""
        peer = self.raw()
        peer.hello()
        peer.send(codec.Hello())
        self.assert_closed_with(peer, "UNEXPECTED_FRAME")
        wait_until(lambda: self.connection_count() == 2)

        def is_reset():
            try:
                peer.send(b"x")
            except OSError:
                return True
            return False
        wait_until(is_reset)

    def test_who_goes_on_sending_is_closed(self):
        peer = self.raw()
        peer.hello()
        peer.send(codec.Hello())
        peer.sock.settimeout(1)

        def send_on():
            try:
                peer.send(bytes(100000))
            except socket.timeout:
                return False
            except OSError:
                return True
            return False
        wait_until(send_on)
        wait_until(lambda: self.connection_count() == 2)


class NeverReading(AbuseTest):
    options = {"close_linger_ms": 300, "write_timeout_ms": 1000}

    def test_an_error_that_nobody_reads(self):
        """Refused for a protocol error while its output is full."""
        peer = self.raw(self.broker.unix)
        peer.hello()
        peer.send(codec.Subscribe(id=1, filter=b"bulk"))
        self.assertEqual(peer.next_frame().NAME, "SUBACK")
        for _ in range(2000):
            self.good_publisher.publish("bulk", bytes(1000), ack=False)
        self.good_publisher.ping()
        peer.send(b"\x01")
        wait_until(lambda: self.connection_count() == 2, 20)


if __name__ == "__main__":
    unittest.main()
