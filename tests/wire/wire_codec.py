# SPDX-License-Identifier: MIT
"""The codec of the Python client: bytes to frames and back, no I/O.

Written from PROTOCOL.md and nothing else: it shares no code and no table
with the C sources, so that the two can be checked against each other.  One
class per frame type; numbers in comments are sections of PROTOCOL.md.
decode() is strict: what it does not refuse, encode() gives back unchanged.
"""
import struct
from dataclasses import dataclass, field
from typing import ClassVar, List, Tuple

# The names of both files are used as those of this one.
from wire_fields import *  # noqa: F401,F403

MAX_BODY = 0x00FFFFFF
MIN_MAX_BODY = 65536
HEADER = struct.Struct(">IHHI")  # length, type, flags, id (3.1)
MAGIC = b"BRK1"

# --- Frames (4): one class each, with the table of section 4 in its head ---

FRAMES = {}


def frame_type(number, name, flags=0, least=0, most=MAX_BODY, sender="CS"):
    """Makes a class a dataclass and registers it under its type number."""
    def register(cls):
        cls = dataclass(cls)
        cls.TYPE, cls.NAME, cls.FLAGS = number, name, flags
        cls.MIN, cls.MAX, cls.SENDER = least, most, sender
        FRAMES[number] = cls
        return cls
    return register


@dataclass
class Frame:
    id: int = 0
    flags: int = 0
    fields: List[Tuple[int, bytes]] = field(default_factory=list)
    KNOWN: ClassVar[tuple] = ()  # the field numbers that it may carry

    def encode(self):
        body = self.body()
        return HEADER.pack(len(body), self.TYPE, self.flags, self.id) + body

    def body(self):
        """The body's bytes."""
        return encode_fields(self.fields)

    def parse(self, body):
        """Sets the members from the body, or raises ProtocolError."""
        self.fields = decode_fields(body, self.KNOWN)

    def value(self, number):
        """The value of the first field with this number, or None."""
        for tag, value in self.fields:
            if tag & ~CRITICAL == number:
                return value
        return None

    @property
    def text(self):
        return (self.value(TEXT) or b"").decode()


@frame_type(0x0001, "HELLO", least=40, sender="C")
class Hello(Frame):
    min_version: int = 1
    max_version: int = 1
    features: int = 0
    max_body_bytes: int = MAX_BODY
    heartbeat_ms: int = 0
    session: bytes = bytes(16)
    magic: bytes = MAGIC
    KNOWN = (NAME, USER, AUTH_METHOD, AUTH_DATA)
    FIXED = struct.Struct(">4sBBHQII16s")

    def body(self):
        return self.FIXED.pack(
            self.magic, self.min_version, self.max_version, 0, self.features,
            self.max_body_bytes, self.heartbeat_ms,
            self.session) + encode_fields(self.fields)

    def parse(self, body):
        (self.magic, self.min_version, self.max_version, zero, self.features,
         self.max_body_bytes, self.heartbeat_ms,
         self.session) = self.FIXED.unpack_from(body)
        need(self.magic == MAGIC, "", "BAD_MAGIC")
        need(1 <= self.min_version <= self.max_version, "versions")
        need(zero == 0, "zero field")
        need(MIN_MAX_BODY <= self.max_body_bytes <= MAX_BODY, "max_body")
        self.fields = decode_fields(body[40:], self.KNOWN, check_credentials)


@frame_type(0x0002, "WELCOME", least=64, sender="S")
class Welcome(Frame):
    version: int = 1
    features: int = 0
    max_body_bytes: int = MAX_BODY
    heartbeat_ms: int = 15000
    max_subscriptions: int = 0
    max_topic_bytes: int = 0
    max_topic_levels: int = 0
    last_publish: int = 0
    session: bytes = bytes(16)
    boot: bytes = bytes(16)
    KNOWN = (NAME, USER)
    FIXED = struct.Struct(">B3sQIIIHHI16s16s")

    def body(self):
        return self.FIXED.pack(
            self.version, bytes(3), self.features, self.max_body_bytes,
            self.heartbeat_ms, self.max_subscriptions, self.max_topic_bytes,
            self.max_topic_levels, self.last_publish, self.session,
            self.boot) + encode_fields(self.fields)

    def parse(self, body):
        (self.version, zero, self.features, self.max_body_bytes,
         self.heartbeat_ms, self.max_subscriptions, self.max_topic_bytes,
         self.max_topic_levels, self.last_publish, self.session,
         self.boot) = self.FIXED.unpack_from(body)
        need(self.version >= 1, "version 0")
        need(zero == bytes(3), "zero field")
        need(MIN_MAX_BODY <= self.max_body_bytes <= MAX_BODY, "max_body")
        self.fields = decode_fields(body[64:], self.KNOWN)


@frame_type(0x0004, "ERROR", least=8, sender="S")
class Error(Frame):
    code: int = 0
    refused_type: int = 0
    error_class: int = 1
    retry: int = 0
    KNOWN = (TEXT, LIMIT, RETRY_AFTER_MS, TOPIC, SEQUENCE)
    REQUEST, SUBSCRIPTION, CONNECTION = 1, 2, 3

    @property
    def name(self):
        return CODES.get(self.code, str(self.code))

    @property
    def sequence(self):
        """The stream's last one, with WRONG_LAST_SEQUENCE (5.13)."""
        value = self.value(SEQUENCE)
        return None if value is None else struct.unpack(">Q", value)[0]

    def body(self):
        return struct.pack(">HHBBH", self.code, self.refused_type,
                           self.error_class, self.retry,
                           0) + encode_fields(self.fields)

    def parse(self, body):
        (self.code, self.refused_type, self.error_class, self.retry,
         zero) = struct.unpack_from(">HHBBH", body)
        check_code(self.code)
        need(1 <= self.error_class <= 3, "class")
        need(self.retry <= 1 and zero == 0, "zero field")
        self.fields = decode_fields(body[8:], self.KNOWN)


@frame_type(0x0005, "PING", least=8, most=8)
class Ping(Frame):
    data: bytes = bytes(8)

    def body(self):
        return self.data

    def parse(self, body):
        self.data = bytes(body)


@frame_type(0x0006, "PONG", least=8, most=8)
class Pong(Ping):
    pass


@frame_type(0x0007, "GOAWAY", least=8)
class Goaway(Frame):
    code: int = LEAVING
    retry_after_ms: int = 0
    KNOWN = (TEXT,)

    @property
    def name(self):
        return CODES.get(self.code, str(self.code))

    def body(self):
        return struct.pack(">HHI", self.code, 0,
                           self.retry_after_ms) + encode_fields(self.fields)

    def parse(self, body):
        self.code, zero, self.retry_after_ms = struct.unpack_from(">HHI",
                                                                  body)
        check_code(self.code)
        need(zero == 0, "zero field")
        self.fields = decode_fields(body[8:], self.KNOWN)


@frame_type(0x0010, "PUBLISH", flags=0x03, least=5)
class Publish(Frame):
    topic: bytes = b""
    payload: bytes = b""
    KNOWN = (REPLY_TO, KEY_VALUE, TTL_MS, DELIVER_AT,
             EXPECTED_LAST_SEQUENCE)

    def body(self):
        fields = encode_fields(self.fields)
        return struct.pack(">HH", len(self.topic), len(
            fields)) + self.topic + fields + self.payload

    def parse(self, body):
        t, h = struct.unpack_from(">HH", body)
        need(t >= 1, "empty topic")
        need(t + h <= len(body) - 4, "topic and fields beyond the body")
        self.topic = bytes(body[4:4 + t])
        if h:
            self.fields = decode_fields(body[4 + t:4 + t + h], self.KNOWN)
        self.payload = bytes(body[4 + t + h:])

    @property
    def reply_to(self):
        return self.value(REPLY_TO)

    @property
    def headers(self):
        """The message headers as (key, value), in order."""
        pairs = []
        for tag, value in self.fields:
            if tag & ~CRITICAL == KEY_VALUE:
                end = 2 + struct.unpack_from(">H", value)[0]
                pairs.append((value[2:end].decode(), value[end:]))
        return pairs


@frame_type(0x0011, "PUBACK", flags=0x01, least=16, sender="S")
class Puback(Frame):
    level: int = 1
    count: int = 1
    matched: int = 0
    refused: int = 0
    KNOWN = (STREAM, SEQUENCE)

    def body(self):
        return struct.pack(">B3sIII", self.level, bytes(3), self.count,
                           self.matched,
                           self.refused) + encode_fields(self.fields)

    def parse(self, body):
        (self.level, zero, self.count, self.matched,
         self.refused) = struct.unpack_from(">B3sIII", body)
        need(self.id != 0, "publish number 0")
        need(1 <= self.level <= 3, "level")
        need(zero == bytes(3), "zero field")
        need(self.count >= 1, "count 0")
        need(self.refused <= self.matched, "refused above matched")
        need(not self.flags & DUPLICATE or self.matched == 0, "duplicate")
        need(self.level != SYNCED or self.matched == 0, "synced and matched")
        self.fields = decode_fields(body[16:], self.KNOWN)

    def covers(self, number):
        """Whether it settles this publish number (1 follows 0xFFFFFFFF)."""
        return (self.id - number) % 0xFFFFFFFF < self.count

    @property
    def stream(self):
        """The stream's name; None where the answer names none."""
        value = self.value(STREAM)
        return None if value is None else value.decode()

    @property
    def sequence(self):
        """The sequence of publish `id`; None where there is none."""
        value = self.value(SEQUENCE)
        return None if value is None else struct.unpack(">Q", value)[0]

    def sequence_of(self, number):
        """The sequence of one of the numbers that it covers (4.7)."""
        need(self.covers(number), "not of this PUBACK")
        last = self.sequence
        return None if last is None else last - (
            self.id - number) % 0xFFFFFFFF


def decode_batch(data):
    """The PUBLISH frames of a batch (4.15)."""
    messages, unknown, at = [], None, 0
    need(data, "a batch of nothing")
    while at < len(data):
        need(len(data) - at >= 12, "a header in part")
        length, number, flags, frame_id = HEADER.unpack_from(data, at)
        need(number == Publish.TYPE and frame_id == 0 and flags & 0xFF == 0,
             "a frame that may not stand in a batch")
        need(Publish.MIN <= length <= len(data) - at - 12, "a frame in part")
        message = Publish(flags=flags)
        try:
            message.parse(data[at + 12:at + 12 + length])
        except ProtocolError as error:
            if error.code != "UNKNOWN_TAG":
                raise
            unknown = unknown or error
        messages.append(message)
        at += 12 + length
    if unknown:  # malformed anywhere is malformed, so this comes last
        raise unknown
    return messages


@frame_type(0x0012, "PUBLISH_BATCH", flags=0x02, least=17, sender="C")
class PublishBatch(Frame):
    messages: List[Publish] = field(default_factory=list)

    def body(self):
        return self.frames

    def parse(self, body):
        self.messages = decode_batch(body)

    @property
    def frames(self):
        """The messages as they stand in the body."""
        return b"".join(message.encode() for message in self.messages)

    @frames.setter
    def frames(self, data):
        self.messages = decode_batch(data)

    @property
    def count(self):
        return len(self.messages)


@frame_type(0x0020, "SUBSCRIBE", least=9, sender="C")
class Subscribe(Frame):
    filter: bytes = b""
    group: bytes = b""
    policy: int = 0
    options: int = 0

    def body(self):
        return struct.pack(
            ">HHBBH", len(self.filter), len(self.group), self.policy,
            self.options, 0) + self.filter + self.group + encode_fields(
                self.fields)

    def parse(self, body):
        f, g, self.policy, self.options, zero = struct.unpack_from(">HHBBH",
                                                                   body)
        need(f >= 1, "empty filter")
        need(f + g <= len(body) - 8, "filter and group beyond the body")
        need(self.options & ~NO_RETAINED == 0 and zero == 0, "zero field")
        self.filter = bytes(body[8:8 + f])
        self.group = bytes(body[8 + f:8 + f + g])
        self.fields = decode_fields(body[8 + f + g:], self.KNOWN)


@frame_type(0x0021, "SUBACK", least=8, sender="S")
class Suback(Frame):
    policy: int = DROP_OLDEST
    retained: int = 0

    def body(self):
        return struct.pack(">B3sI", self.policy, bytes(3),
                           self.retained) + encode_fields(self.fields)

    def parse(self, body):
        self.policy, zero, self.retained = struct.unpack_from(">B3sI", body)
        need(1 <= self.policy <= 5, "policy")
        need(zero == bytes(3), "zero field")
        self.fields = decode_fields(body[8:], self.KNOWN)


@frame_type(0x0022, "UNSUBSCRIBE", flags=0x01, sender="C")
class Unsubscribe(Frame):
    pass


@frame_type(0x0023, "UNSUBACK", least=24, sender="S")
class Unsuback(Frame):
    matched: int = 0
    delivered: int = 0
    dropped: int = 0

    def body(self):
        return struct.pack(">QQQ", self.matched, self.delivered,
                           self.dropped) + encode_fields(self.fields)

    def parse(self, body):
        (self.matched, self.delivered,
         self.dropped) = struct.unpack_from(">QQQ", body)
        need(self.matched == self.delivered + self.dropped, "books")
        self.fields = decode_fields(body[24:], self.KNOWN)


def unpack_ids(data):
    need(len(data) % 4 == 0 and data, "list of subscription ids")
    ids = struct.unpack(">%dI" % (len(data) // 4), data)
    need(0 not in ids, "subscription id 0")
    return ids


@frame_type(0x0024, "CONTEXT", flags=0x01, least=4, sender="S")
class Context(Frame):
    subscriptions: tuple = ()

    def body(self):
        return struct.pack(">%dI" % len(self.subscriptions),
                           *self.subscriptions)

    def parse(self, body):
        need(self.id == 0, "id")
        self.subscriptions = unpack_ids(body)


@frame_type(0x0025, "GAP", least=24, sender="S")
class Gap(Frame):
    reason: int = 1
    count: int = 1
    size: int = 0  # "bytes" in 4.13
    subscriptions: tuple = ()

    def body(self):
        return struct.pack(">B3xQQ%dI" % len(self.subscriptions), self.reason,
                           self.count, self.size, *self.subscriptions)

    def parse(self, body):
        self.reason, zero, self.count, self.size = struct.unpack_from(
            ">B3sQQ", body)
        need(zero == bytes(3) and self.id == 0, "zero field")
        need(self.count >= 1, "count 0")
        self.subscriptions = unpack_ids(body[20:])


@frame_type(0x0032, "CONSUME", least=20, sender="C")
class Consume(Frame):
    stream: bytes = b""
    consumer: bytes = b""
    filter: bytes = b""
    start: int = START_CURSOR
    options: int = 0
    start_value: int = 0
    window: int = 0
    FIXED = struct.Struct(">HHHBBQI")

    def body(self):
        return self.FIXED.pack(
            len(self.stream), len(self.consumer), len(self.filter),
            self.start, self.options, self.start_value,
            self.window) + self.stream + self.consumer + self.filter \
            + encode_fields(self.fields)

    def parse(self, body):
        (s, c, f, self.start, self.options, self.start_value,
         self.window) = self.FIXED.unpack_from(body)
        need(s + c + f <= len(body) - 20, "names beyond the body")
        need(self.start <= START_COUNT, "start")
        need(self.options & ~END == 0, "options")
        need(self.start >= START_SEQUENCE or self.start_value == 0, "value")
        if c == 0:
            need(self.start != START_CURSOR, "a reader without a start")
            need(s or f, "a reader of nothing")
            need(self.window == 0, "a reader with a window")
        else:
            need(not (s or f or self.start or self.options),
                 "a consumer with what is a reader's")
        at = 20 + s
        self.stream = bytes(body[20:at])
        self.consumer = bytes(body[at:at + c])
        self.filter = bytes(body[at + c:at + c + f])
        self.fields = decode_fields(body[at + c + f:], self.KNOWN)


@frame_type(0x0033, "CONSUME_REPLY", least=32, sender="S")
class ConsumeReply(Frame):
    first_sequence: int = 0
    last_sequence: int = 0
    next_sequence: int = 0
    ack: int = READER
    window: int = 0
    KNOWN = (STREAM,)

    def body(self):
        return struct.pack(">QQQB3sI", self.first_sequence,
                           self.last_sequence, self.next_sequence, self.ack,
                           bytes(3),
                           self.window) + encode_fields(self.fields)

    def parse(self, body):
        (self.first_sequence, self.last_sequence, self.next_sequence,
         self.ack, zero, self.window) = struct.unpack_from(">QQQB3sI", body)
        need(self.ack <= ACK_EACH, "acknowledgement")
        need(zero == bytes(3), "zero field")
        need(self.ack != READER or self.window == 0, "a reader's window")
        self.fields = decode_fields(body[32:], self.KNOWN)

    @property
    def stream(self):
        return (self.value(STREAM) or b"").decode()


@frame_type(0x0034, "POSITION", least=24, most=24, sender="S")
class Position(Frame):
    sequence: int = 0
    time_ms: int = 0
    count: int = 0
    deliveries: int = 0

    def body(self):
        return struct.pack(">QQII", self.sequence, self.time_ms, self.count,
                           self.deliveries)

    def parse(self, body):
        (self.sequence, self.time_ms, self.count,
         self.deliveries) = struct.unpack(">QQII", body)
        need(self.count or not (self.time_ms or self.deliveries),
             "zero field")


@dataclass
class Settle(Frame):
    """What ACK, NACK and TOUCH have in common."""
    kind: int = 1
    delay_ms: int = 0
    ranges: tuple = ()  # pairs of sequences, first and last
    KINDS: ClassVar[int] = 1

    def body(self):
        return struct.pack(">B3xI", self.kind, self.delay_ms) + b"".join(
            struct.pack(">QQ", *pair) for pair in self.ranges)

    def parse(self, body):
        self.kind, zero, self.delay_ms = struct.unpack_from(">B3sI", body)
        need(1 <= self.kind <= self.KINDS, "kind")
        need(zero == bytes(3), "zero field")
        need(len(body) > 8 and len(body) % 16 == 8, "list of ranges")
        self.ranges = tuple(struct.iter_unpack(">QQ", body[8:]))
        need(all(first <= last for first, last in self.ranges), "range")
        self.check()

    def check(self):
        need(self.delay_ms == 0, "zero field")


@frame_type(0x0035, "ACK", least=24, sender="C")
class Ack(Settle):
    KINDS = 2

    def check(self):
        super().check()
        need(self.kind == THESE or len(self.ranges) == 1, "up to two")


@frame_type(0x0036, "NACK", least=24, sender="C")
class Nack(Settle):
    KINDS = 2

    def check(self):
        need(self.kind == AGAIN or self.delay_ms == 0, "zero field")


@frame_type(0x0037, "TOUCH", least=24, sender="C")
class Touch(Settle):
    pass


@frame_type(0x8001, "NOTICE", least=4, sender="S")
class Notice(Frame):
    code: int = 0
    KNOWN = (TEXT, LIMIT)

    @property
    def name(self):
        return CODES.get(self.code, str(self.code))

    def body(self):
        return struct.pack(">HH", self.code, 0) + encode_fields(self.fields)

    def parse(self, body):
        self.code, zero = struct.unpack_from(">HH", body)
        check_code(self.code)
        need(zero == 0 and self.id == 0, "zero field")
        self.fields = decode_fields(body[4:], self.KNOWN)


def check_header(length, number, flags, limit=MAX_BODY):
    """The checks of 3.1, in its order.  The class; None: to be skipped."""
    need(length <= MAX_BODY, "first byte", "BAD_START")
    cls = FRAMES.get(number)
    if cls is None and 0x8000 <= number <= 0xFFFE:
        need(length <= limit, "%d bytes" % length, "TOO_LARGE")
        return None
    need(cls is not None, "type 0x%04x" % number, "UNSUPPORTED_TYPE")
    need(flags & 0xFF & ~cls.FLAGS == 0, "flags 0x%04x" % flags, "BAD_FLAGS")
    need(length <= limit, "%d bytes" % length, "TOO_LARGE")
    need(cls.MIN <= length <= cls.MAX, "%s of %d bytes" % (cls.NAME, length))
    return cls


def decode(data, limit=MAX_BODY):
    """One frame from the front of `data`: (frame, bytes used).

    The frame is None if it is of an unknown type that may be skipped, or if
    more bytes are needed; then bytes used is 0.
    """
    if len(data) < 12:
        need(not data or data[0] == 0, "first byte", "BAD_START")
        return None, 0
    length, number, flags, frame_id = HEADER.unpack_from(data)
    cls = check_header(length, number, flags, limit)
    if len(data) < 12 + length:
        return None, 0
    if cls is None:
        return None, 12 + length
    frame = cls(id=frame_id, flags=flags)
    frame.parse(bytes(data[12:12 + length]))
    return frame, 12 + length
