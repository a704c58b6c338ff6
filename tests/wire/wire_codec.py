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

MAX_BODY = 0x00FFFFFF
MIN_MAX_BODY = 65536
HEADER = struct.Struct(">IHHI")  # length, type, flags, id (3.1)
MAGIC = b"BRK1"

# Extension fields (3.3).
(NAME, TEXT, REPLY_TO, KEY_VALUE, LIMIT, RETRY_AFTER_MS, TOPIC, USER,
 AUTH_METHOD, AUTH_DATA) = range(1, 11)
CRITICAL = 0x8000

RETAIN, RETRY = 0x0001, 0x0002  # flags of PUBLISH
DUPLICATE = 0x0001  # of PUBACK
DRAIN = 0x0001  # of UNSUBSCRIBE
RETAINED = 0x0001  # of CONTEXT
NO_RETAINED = 0x01  # option of SUBSCRIBE
# Policies (5.6).
DROP_OLDEST, DROP_NEWEST, CONFLATE, DISCONNECT, BLOCK = 1, 2, 3, 4, 5
GAP_OVERFLOW, GAP_CONFLATED = 1, 7  # reasons (4.13)

# Codes (7).
CODES = {
    101: "BAD_MAGIC", 102: "VERSION", 103: "BAD_START",
    104: "UNSUPPORTED_TYPE", 105: "BAD_FLAGS", 106: "MALFORMED",
    107: "HANDSHAKE_TIMEOUT", 108: "UNEXPECTED_FRAME",
    109: "HEARTBEAT_TIMEOUT", 110: "UNKNOWN_TAG", 201: "AUTH_REQUIRED",
    202: "AUTH_FAILED", 203: "PUBLISH_DENIED", 204: "SUBSCRIBE_DENIED",
    205: "REVOKED", 301: "BAD_TOPIC",
    302: "BAD_FILTER", 303: "UNKNOWN_SUBSCRIPTION", 304: "NO_SUBSCRIBERS",
    305: "TOO_LARGE", 306: "DUPLICATE_SUBSCRIPTION",
    307: "UNSUPPORTED_POLICY", 308: "BAD_GROUP", 309: "RESERVED_TOPIC",
    310: "BAD_REQUEST", 401: "TOO_MANY_CONNECTIONS",
    402: "TOO_MANY_SUBSCRIPTIONS", 403: "RETAINED_LIMIT",
    404: "SLOW_CONSUMER", 405: "MEMORY", 502: "SHUTTING_DOWN",
    503: "SESSION_TAKEN", 504: "INTERNAL", 505: "LEAVING",
    506: "WRITE_TIMEOUT", 601: "QUEUE_HIGH",
    602: "MEMORY_HIGH", 603: "RATE_HIGH", 604: "BLOCKED",
}
NUMBERS = {name: number for number, name in CODES.items()}
LEAVING = NUMBERS["LEAVING"]


class ProtocolError(Exception):
    """The peer's bytes break the protocol; `code` is a name of section 7."""

    def __init__(self, code, text=""):
        super().__init__("%s: %s" % (code, text) if text else code)
        self.code = code


def need(condition, text, code="MALFORMED"):
    if not condition:
        raise ProtocolError(code, text)


def check_utf8(data, what, least=0, most=0xFFFF):
    need(least <= len(data) <= most, "%s: %d bytes" % (what, len(data)))
    try:
        need("\0" not in data.decode(), what + ": NUL")
    except UnicodeDecodeError:
        raise ProtocolError("MALFORMED", what + ": not UTF-8") from None


def check_topic(name, max_bytes=0xFFFF, max_levels=0xFFFF):
    """A topic name by section 6, or ProtocolError BAD_TOPIC."""
    try:
        check_utf8(name, "topic", 1, max_bytes)
        need(b"+" not in name and b"#" not in name, "wildcard in a topic")
        need(name.count(b"/") < max_levels, "too many levels")
    except ProtocolError as error:
        raise ProtocolError("BAD_TOPIC", str(error)) from None


def check_filter(text, max_bytes=0xFFFF, max_levels=0xFFFF):
    """A topic filter by section 6, or ProtocolError BAD_FILTER."""
    try:
        check_utf8(text, "filter", 1, max_bytes)
        levels = text.split(b"/")
        need(len(levels) <= max_levels, "too many levels")
        for at, level in enumerate(levels):
            need(level == b"+" or b"+" not in level, "+ is not alone")
            need(b"#" not in level
                 or (level == b"#" and at == len(levels) - 1),
                 "# is not alone in the last level")
    except ProtocolError as error:
        raise ProtocolError("BAD_FILTER", str(error)) from None


def filter_matches(filter_text, topic):
    """Whether a valid filter matches a valid topic name (section 6)."""
    wanted, levels = filter_text.split(b"/"), topic.split(b"/")
    if topic[:1] == b"$" and wanted[0] in (b"+", b"#"):
        return False
    if wanted[-1] == b"#":
        wanted.pop()
        levels = levels[:max(len(wanted), 0)]
        if len(levels) < len(wanted):
            return False
    return len(wanted) == len(levels) and all(
        want in (b"+", level) for want, level in zip(wanted, levels))


def check_group(name):
    try:
        check_utf8(name, "group", 1, 255)
        need(not set(name) & set(b"/+#"), "group with / + or #")
    except ProtocolError as error:
        raise ProtocolError("BAD_GROUP", str(error)) from None


def check_field(number, value):
    """The rule of one field's value (3.3)."""
    if number in (NAME, USER, AUTH_METHOD):
        check_utf8(value, "a name", 1, 255)
    elif number == TEXT:
        check_utf8(value, "TEXT")
    elif number == REPLY_TO:
        try:
            check_topic(value)
        except ProtocolError as error:
            raise ProtocolError("MALFORMED", str(error)) from None
    elif number == KEY_VALUE:
        need(len(value) >= 2, "HEADER without a key length")
        (length,) = struct.unpack_from(">H", value)
        need(length <= len(value) - 2, "HEADER key beyond its field")
        check_utf8(value[2:2 + length], "HEADER key", 1, 255)
    elif number == LIMIT:
        need(len(value) == 8, "LIMIT is not 8 bytes")
    elif number == RETRY_AFTER_MS:
        need(len(value) == 4, "RETRY_AFTER_MS is not 4 bytes")


def check_code(code):
    """Codes below 100 are not assigned, those from 900 on never travel."""
    need(100 <= code <= 899, "code %d" % code)


def encode_fields(fields):
    return b"".join(struct.pack(">HH", tag, len(value)) + value
                    for tag, value in fields)


def check_credentials(fields):
    """Who the client wants to be, and what shows it (5.10)."""
    given = {tag & ~CRITICAL for tag, _ in fields}
    given &= {USER, AUTH_METHOD, AUTH_DATA}
    need(len(given) in (0, 3), "credentials in part")


def decode_fields(data, known, judge=lambda fields: None):
    """A field list to (tag, value) pairs, unknown ones included."""
    fields, seen, at = [], set(), 0
    while at < len(data):
        need(len(data) - at >= 4, "rest of the field list is too short")
        tag, length = struct.unpack_from(">HH", data, at)
        need(length <= len(data) - at - 4, "field beyond its list")
        fields.append((tag, bytes(data[at + 4:at + 4 + length])))
        at += 4 + length
    for tag, value in fields:
        number = tag & ~CRITICAL
        if number in known:
            need(number not in seen or number == KEY_VALUE, "field twice")
            seen.add(number)
            check_field(number, value)
    judge(fields)
    # Malformed anywhere is malformed, so this comes last.
    for tag, _ in fields:
        need(not tag & CRITICAL or tag & ~CRITICAL in known,
             "tag 0x%04x" % tag, "UNKNOWN_TAG")
    return fields


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
    KNOWN = (TEXT, LIMIT, RETRY_AFTER_MS, TOPIC)
    REQUEST, SUBSCRIPTION, CONNECTION = 1, 2, 3

    @property
    def name(self):
        return CODES.get(self.code, str(self.code))

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
    KNOWN = (REPLY_TO, KEY_VALUE)

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
        self.fields = decode_fields(body[16:], self.KNOWN)

    def covers(self, number):
        """Whether it settles this publish number (1 follows 0xFFFFFFFF)."""
        return (self.id - number) % 0xFFFFFFFF < self.count


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
