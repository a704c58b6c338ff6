# SPDX-License-Identifier: MIT
"""What frames of the Python client consist of: names of numbers, the rules of
topics and texts, and extension fields.

Like wire_codec.py, which is the frames, written from PROTOCOL.md and nothing
else; numbers in comments are its sections.
"""
import struct

# Extension fields (3.3).
(NAME, TEXT, REPLY_TO, KEY_VALUE, LIMIT, RETRY_AFTER_MS, TOPIC, USER,
 AUTH_METHOD, AUTH_DATA) = range(1, 11)
TTL_MS, DELIVER_AT, EXPECTED_LAST_SEQUENCE = 16, 17, 18
STREAM, SEQUENCE = 32, 33
CRITICAL = 0x8000
STREAMS = 0x1  # feature bit (3.4)

RETAIN, RETRY = 0x0001, 0x0002  # flags of PUBLISH; RETRY of PUBLISH_BATCH
ROUTED, SYNCED = 1, 3  # levels of PUBACK (4.7)
DUPLICATE = 0x0001  # of PUBACK
DRAIN = 0x0001  # of UNSUBSCRIBE
RETAINED = 0x0001  # of CONTEXT
NO_RETAINED = 0x01  # option of SUBSCRIBE
# Policies (5.6).
DROP_OLDEST, DROP_NEWEST, CONFLATE, DISCONNECT, BLOCK = 1, 2, 3, 4, 5
# Reasons (4.13).
GAP_OVERFLOW, GAP_EXPIRED, GAP_TRIMMED, GAP_CONFLATED, GAP_DAMAGED = \
    1, 4, 5, 7, 8
# Where CONSUME starts, and its option (4.16).
(START_CURSOR, START_FIRST, START_LAST, START_NEW, START_SEQUENCE, START_TIME,
 START_AGO, START_COUNT) = range(8)
END = 0x01
READER, ACK_NONE, ACK_CUMULATIVE, ACK_EACH = range(4)  # (4.17)
# Kinds of ACK and NACK (4.19).
THESE, UP_TO = 1, 2
AGAIN, BURY = 1, 2
DELAY_DEFAULT = 0xFFFFFFFF

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
    310: "BAD_REQUEST", 311: "UNKNOWN_STREAM", 312: "UNKNOWN_CONSUMER",
    313: "NOT_CAPTURED", 314: "WRONG_LAST_SEQUENCE", 315: "STREAM_OVERLAP",
    316: "AMBIGUOUS_STREAM", 317: "NAME_IN_USE", 401: "TOO_MANY_CONNECTIONS",
    402: "TOO_MANY_SUBSCRIPTIONS", 403: "RETAINED_LIMIT",
    404: "SLOW_CONSUMER", 405: "MEMORY", 406: "DISK_FULL",
    408: "STREAM_FULL", 501: "STORAGE", 502: "SHUTTING_DOWN",
    503: "SESSION_TAKEN", 504: "INTERNAL", 505: "LEAVING",
    506: "WRITE_TIMEOUT", 507: "NO_STORE", 601: "QUEUE_HIGH",
    602: "MEMORY_HIGH", 603: "RATE_HIGH", 604: "BLOCKED",
    605: "STORE_BUSY",
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
    if number in (NAME, USER, AUTH_METHOD, STREAM):
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
    elif number in (LIMIT, EXPECTED_LAST_SEQUENCE, SEQUENCE):
        need(len(value) == 8, "a number is not 8 bytes")
    elif number in (TTL_MS, DELIVER_AT):
        need(len(value) == 8 and any(value), "a time is 0 or not 8 bytes")
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
