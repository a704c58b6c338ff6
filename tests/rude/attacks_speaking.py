# SPDX-License-Identifier: MIT
"""Attacks by those who speak another language, or this one wrongly."""
import contextlib
import os
import select
import socket
import struct

from attack import HELLO, attack, codec, harness

# What other protocols begin with.
STRANGERS = {
    "HTTP": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "TLS": bytes.fromhex("16030100310100002d0303") + bytes(32)
           + bytes.fromhex("000006130113021303010000"),
    "MQTT": bytes.fromhex("100f00044d5154540402003c00036d6d6d"),
    "RESP": b"*1\r\n$4\r\nPING\r\n",
    "SSH": b"SSH-2.0-OpenSSH_9.2\r\n",
    "AMQP": b"AMQP\0\0\x09\x01",
    "half of HTTP": b"GE",
    "half of TLS": b"\x16\x03",
}


def converse(target, data, ending):
    """One connection that says this and ends in one of three ways; the
    answer is read as far as it is there at once."""
    sock = harness.quiet_socket(target.tcp)
    with sock, contextlib.suppress(OSError):
        sock.sendall(data)
        if ending == 1:
            sock.shutdown(socket.SHUT_WR)
        elif ending == 2:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                            struct.pack("ii", 1, 0))
        if ending != 2 and select.select([sock], [], [], 0.05)[0]:
            sock.recv(1 << 16)
    target.count("conversations")


@attack("other protocols")
def other_protocols(target):
    """Speaks HTTP, TLS, MQTT, RESP, SSH, AMQP, halves of them, and noise."""
    target.begin()
    tongues = list(STRANGERS.values())
    while target.going():
        for data in tongues + [os.urandom(100), b"\xff" * 5000, b"\0" * 5000]:
            converse(target, data, target.random.randrange(3))


@attack("endless HTTP")
def endless_http(target):
    """Begins with HTTP and never ends."""
    target.begin()
    while target.going():
        sock = harness.quiet_socket(target.tcp)
        with sock, contextlib.suppress(OSError):
            sock.settimeout(1)
            sock.sendall(STRANGERS["HTTP"])
            while target.going():
                target.count("bytes", sock.send(b"GET / HTTP/1.1\r\n" * 4096))
        target.count("connections")


@attack("random bytes")
def random_bytes(target):
    """Says HELLO and then noise, in single bytes that claim to be frames."""
    target.begin()
    while target.going():
        noise = bytearray(target.random.randbytes(
            target.random.randrange(1, 4000)))
        for at in range(0, len(noise), 16):
            noise[at:at + 2] = b"\0\0"
        converse(target, HELLO + noise, target.random.randrange(3))


# --- Every frame in every state ----------------------------------------------

SAMPLES = {
    "HELLO": {}, "WELCOME": {}, "ERROR": {"code": 304}, "PING": {},
    "PONG": {}, "GOAWAY": {}, "PUBLISH": {"topic": b"every/frame",
                                          "payload": b"payload"},
    "PUBACK": {}, "SUBSCRIBE": {"filter": b"every/#", "group": b"g"},
    "SUBACK": {}, "UNSUBSCRIBE": {}, "UNSUBACK": {},
    "CONTEXT": {"subscriptions": (1,)}, "GAP": {"subscriptions": (1, 2)},
    "NOTICE": {"code": 601},
    "PUBLISH_BATCH": {"messages": [codec.Publish(topic=b"every/frame")] * 2},
    "CONSUME": {"stream": b"S", "filter": b"every/#", "start": 1},
    "CONSUME_REPLY": {}, "POSITION": {"count": 1},
    "ACK": {"ranges": ((1, 2), (4, 4))}, "NACK": {"ranges": ((1, 2),)},
    "TOUCH": {"ranges": ((3, 3),)},
}
FIELDS = [(codec.NAME, b"rude"), (codec.REPLY_TO | codec.CRITICAL, b"r/1"),
          (codec.KEY_VALUE, b"\0\1kv"), (0x8000 | 99, b"?"), (77, b"x")]
BEFORE = {
    "handshake": b"",
    "open": HELLO,
    "after GOAWAY": HELLO + codec.Goaway(code=codec.LEAVING).encode(),
    "after half-close": HELLO,
    "subscribed": HELLO + codec.Subscribe(id=1, filter=b"every/#").encode(),
}


def every_frame(chance):
    """(type, body) without end: each known type and those beside them, with
    each truncation of its body, and some bytes more."""
    while True:
        types = sorted(codec.FRAMES) + [0, 3, 0x13, 0x26, 0x30, 0x7fff,
                                        0x8002, 0x9000, 0xffff]
        chance.shuffle(types)
        for number in types:
            cls = codec.FRAMES.get(number)
            body = b"12345678"
            if cls is not None:
                frame = cls(id=3, **SAMPLES[cls.NAME])
                frame.fields = chance.sample(FIELDS, chance.randrange(4))
                body = frame.body()
            for length in range(len(body) + 1):
                yield number, body[:length]
            yield number, body + chance.randbytes(5)


def header(number, length, chance):
    flags = chance.choice((0, 0, 0, 1, 2, 3, 0x100, chance.getrandbits(16)))
    if chance.random() < 0.05:
        length = chance.choice((0, length + 1, 0xffffff, 0x1000000, 1 << 31))
    return codec.HEADER.pack(length, number, flags,
                             chance.choice((0, 1, 3, 0xffffffff)))


@attack("every frame, every state")
def every_frame_every_state(target):
    """Sends every type of frame, with every truncation of its body and
    random flags, in every state of a connection."""
    chance = target.random
    frames = every_frame(chance)
    target.begin()
    while target.going():
        for state, before in BEFORE.items():
            data = bytearray(before)
            for _ in range(chance.choice((1, 1, 1, 5))):
                number, body = next(frames)
                data += header(number, len(body), chance) + body
                target.count("frames")
            if state == "after half-close":
                half_closed(target, before, bytes(data[len(before):]))
            else:
                converse(target, bytes(data), chance.randrange(3))


def half_closed(target, before, data):
    """The frames lie in the socket when the broker learns that there will
    be no more of them."""
    sock = harness.quiet_socket(target.tcp)
    with sock, contextlib.suppress(OSError):
        sock.sendall(before)
        sock.recv(1 << 16)
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
        if select.select([sock], [], [], 0.05)[0]:
            sock.recv(1 << 16)
    target.count("conversations")
