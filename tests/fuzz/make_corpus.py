#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Turn proto/vectors into the first inputs of each fuzz target.

usage: make_corpus.py ROOT OUT

Writes OUT/TARGET/NAME. The format of a target's input is at the top of its
source.
"""

import os
import sys

ROOT, OUT = sys.argv[1:3]
sys.path.insert(0, os.path.join(ROOT, "tests", "codec"))
import vectors  # noqa: E402  (the path has just been set)

VECTORS = os.path.join(ROOT, "proto", "vectors")
FRAME_MAX = 2048  # larger ones only make the fuzzer slow


def write(target, name, data):
    folder = os.path.join(OUT, target)
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, name), "wb") as file:
        file.write(data)


def table_lines(name):
    """(line number, key, byte strings) of each line of a table."""
    for number, words in vectors.read_lines(os.path.join(VECTORS, name)):
        if words[0] == "limits":
            continue
        if words[1] in ("ok", "bad", "yes", "no"):
            yield number, words[0], [vectors.read_bytes([word])
                                     for word in words[2:]]
        else:
            yield number, words[0], [vectors.read_bytes([word])
                                     for word in words[1:]]


def make_frames():
    golden = [record for record in vectors.read_records(
        VECTORS, vectors.GOLDEN) if len(record.data) <= FRAME_MAX]
    refused = [record for record in vectors.read_records(
        VECTORS, vectors.REFUSED) if len(record.data) <= FRAME_MAX]
    for record in golden + refused:
        name = record.kind + "-" + record.name
        write("fuzz_frame", name, b"\0\5" + record.data)
        if len(record.data) >= 12:
            write("fuzz_message", name, record.data[4:])
    for i in range(0, len(golden) - 4, 4):
        stream = b"".join(record.data for record in golden[i:i + 4])
        write("fuzz_frame", "stream-%d" % i, b"\0\x20" + stream)


def make_topics():
    for number, key, values in table_lines("topics.txt"):
        if sum(map(len, values)) > FRAME_MAX or len(values[0]) > 255:
            continue
        first, second = (values + [b"a/b"])[:2]
        write("fuzz_topic", "%s-%d" % (key, number),
              bytes([0, len(first)]) + first + second)
    for number, key, values in table_lines("text.txt"):
        write("fuzz_topic", "%s-%d" % (key, number),
              b"\0\0" + values[0][:FRAME_MAX])


def make_addresses():
    for number, key, values in table_lines("addresses.txt"):
        write("fuzz_address", "%s-%d" % (key, number), values[0][:FRAME_MAX])


def feed(connection, data):
    """Chunks of fuzz_session that feed the data."""
    return b"".join(bytes([connection, len(data[i:i + 255])])
                    + data[i:i + 255] for i in range(0, len(data), 255))


def make_sessions():
    """Each golden frame after a HELLO; then all of a kind on one connection,
    with a second one that reads slowly; then sessions of some sense."""
    hello, take_little, take_all, later = (
        lambda c: bytes([16 + c, 0]), lambda c: bytes([20 + c, 9]),
        lambda c: bytes([20 + c, 255]), bytes([24, 200]))
    by_type = {}
    for record in vectors.read_records(VECTORS, vectors.GOLDEN):
        if len(record.data) > FRAME_MAX:
            continue
        by_type.setdefault(record.data[4:6], []).append(record.data)
        write("fuzz_session", record.name,
              b"\0" + hello(0) + feed(0, record.data) + take_all(0))
    subscribe, publish = by_type[b"\0\x20"], by_type[b"\0\x10"]
    unsubscribe = by_type[b"\0\x22"]
    flow = (hello(0) + hello(1) + feed(0, b"".join(subscribe))
            + feed(1, b"".join(subscribe)) + feed(1, b"".join(publish) * 3)
            + take_little(0) + feed(0, b"".join(publish)) + take_little(1)
            + later + feed(0, b"".join(unsubscribe)) + take_all(1)
            + bytes([28, 0]) + take_all(0) + bytes([29, 1]))
    for workers in range(1, 5):
        write("fuzz_session", "flow-%d" % workers,
              bytes([workers - 1]) + flow)
        # Each kind of well-formed frame, while the n-th allocation fails.
        for n in (1, 7, 20):
            said = b"".join(bytes([8 + c, kind]) for c in (0, 1)
                            for kind in (0, 0x81, 0x24, 4, 0x83, 0x84, 0x62,
                                         5, 0x8d, 6))
            write("fuzz_session", "said-%d-%d" % (workers, n),
                  bytes([workers - 1]) + hello(0) + hello(1) + said[:10]
                  + bytes([12, n]) + said[10:] + take_all(0) + take_little(1)
                  + later + said + take_all(1))


def make_client_sessions():
    """Each golden frame, whole and in parts; then one flow, with what is in
    the callbacks."""
    whole, parts, good, later, lose = 0, 1, 3, 10, 11
    frames = [record for record in vectors.read_records(
        VECTORS, vectors.GOLDEN) if len(record.data) <= 255]
    for record in frames:
        sized = bytes([len(record.data)]) + record.data
        for step in (whole, parts):
            write("fuzz_client_session", "%s-%d" % (record.name, step),
                  bytes([0, step]) + sized)
    flow = b"".join(bytes([good, what, n]) for n in (0, 1, 9)
                    for what in (1, 2, 3, 3, 4, 0, 8, 5, 6, 7))
    for callbacks in (0, 1, 2, 5):
        write("fuzz_client_session", "flow-%d" % callbacks,
              bytes([callbacks]) + flow + bytes([later, 40, lose, 1]) + flow)


def make_configurations():
    """The sample file, and each of its keys alone, with its default."""
    with open(os.path.join(ROOT, "broker", "doc", "brokerd.conf"),
              "rb") as file:
        sample = file.read()
    write("fuzz_config", "sample", sample)
    for line in sample.splitlines():
        if line[1:2].isalpha() and b" = " in line:
            key = line[1:].split(b" ")[0].decode()
            write("fuzz_config", key, line[1:] + b"\n")


def make_access():
    """The example of the manual page, lines that are no file yet, and pairs
    of filters."""
    with open(os.path.join(ROOT, "broker", "doc", "brokerd.access.5"),
              encoding="utf-8") as file:
        page = file.read()
    example = page.split(".SH EXAMPLE")[1].split(".RS\n")[1].split(".RE")[0]
    write("fuzz_access", "example", example.replace("\\", "").encode())
    write("fuzz_access", "passwords",
          b"palice:$argon2id$v=19$m=65536,t=2,p=1$" + b"A" * 22 + b"$"
          + b"A" * 43 + b"\nalice:token:" + b"0" * 64 + b"\n")
    for number, (a, b) in enumerate([
            ("a/#", "a/+"), ("#", "$x/#"), ("+/#", "#"), ("/+/#", "/#"),
            ("+", "/#"), ("a/+/c", "+/b/#")]):
        write("fuzz_access", "filters-%d" % number,
              ("f%s\n%s" % (a, b)).encode())


make_frames()
make_access()
make_configurations()
make_client_sessions()
make_sessions()
make_topics()
make_addresses()
