#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""PROTOCOL.md, frames.def, errors.def, codec.h and the vectors say the same.

usage: check_documents.py ROOT

Knows no behaviour; compares tables, and the hex of section 8 with the golden
frames.
"""

import os
import re
import sys
import unittest

import vectors

ROOT = sys.argv.pop() if len(sys.argv) > 1 else "."
VECTORS = os.path.join(ROOT, "proto", "vectors")


def read(*path):
    with open(os.path.join(ROOT, *path), encoding="utf-8") as file:
        return file.read()


def section(number):
    """The text below the heading of a section, subsections included."""
    text = read("proto", "PROTOCOL.md")
    level = "#" * (2 + number.count("."))
    start = re.search(r"^%s %s\.? .*$" % (level, re.escape(number)), text,
                      re.M).end()
    end = re.search(r"^#{2,%d} " % len(level), text[start:], re.M)
    return text[start:start + end.start() if end else len(text)]


def table(text, header):
    """The rows of the table with this first header cell."""
    rows, inside = [], False
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if line.startswith("| " + header + " |"):
            inside = True
        elif not line.startswith("|"):
            inside = False
        elif inside and not set(line) <= set("|- "):
            rows.append(cells)
    return rows


def macro_rows(name, macro):
    """The arguments of each use of a macro in a table of proto/."""
    text = re.sub(r"/\*.*?\*/", "", read("proto", name), flags=re.S)
    text = re.sub(r"^#.*$", "", text, flags=re.M)
    rows = []
    for call in re.findall(r"^%s\((.*)\)$" % macro, text, re.M):
        words = re.findall(r'"[^"]*"|[^,\s][^,]*', call)
        rows.append([word.strip().strip('"') for word in words])
    return rows


class Frames(unittest.TestCase):
    SENDERS = {"CLIENT": "C", "SERVER": "S", "BOTH": "C, S"}

    def test_table_equals_frames_def(self):
        wanted = {}
        for name, number, senders, flags, least, most, _ in macro_rows(
                "frames.def", "BROKER_FRAME"):
            wanted[int(number, 16)] = [
                number, name, self.SENDERS[senders], flags, least,
                "max_body_bytes" if most == "0" else most]
        for name, number, _ in macro_rows("frames.def",
                                          "BROKER_FRAME_RESERVED"):
            wanted[int(number, 16)] = [number, name, "–", "", "", ""]
        rows = table(section("4"), "type")
        self.assertEqual([row[:6] for row in rows],
                         [wanted[number] for number in sorted(wanted)])
        for row in rows:
            self.assertEqual(row[2] == "–", row[6] == "reserved", row)

    def test_every_frame_has_a_section(self):
        titles = re.findall(r"^### 4\.\d+ (.*)$", section("4"), re.M)
        self.assertEqual(
            sorted(", ".join(titles).split(", ")),
            sorted(row[0] for row in macro_rows("frames.def", "BROKER_FRAME")))


class Codes(unittest.TestCase):
    CLASSES = {"REQUEST": "R", "SUBSCRIPTION": "S", "CONNECTION": "C",
               "NOTICE": "N"}

    def test_table_equals_errors_def(self):
        wanted = []
        for row in macro_rows("errors.def", "BROKER_ERROR"):
            name, code, kind, retry, text, remedy = row
            if kind == "LOCAL":
                self.assertGreaterEqual(int(code), 900, name)
                continue
            self.assertLess(int(code), 900, name)
            wanted.append([code, name, self.CLASSES[kind],
                           "yes" if retry == "1" else "no", text, remedy])
        self.assertEqual(table(section("7"), "code"), wanted)

    def test_reserved_equal_errors_def(self):
        line = re.search(r"^Reserved: (.*?)\. ", section("7"), re.M).group(1)
        self.assertEqual(
            [entry.split() for entry in line.split(", ")],
            [[code, name] for name, code, _ in macro_rows(
                "errors.def", "BROKER_ERROR_RESERVED")])

    def test_codes_in_the_text_exist(self):
        text = read("proto", "PROTOCOL.md")
        known = {row[0] for macro in ("BROKER_ERROR", "BROKER_ERROR_RESERVED")
                 for row in macro_rows("errors.def", macro)}
        known |= {"HANDSHAKE", "OPEN", "CLOSING"}  # states
        for name in re.findall(r"`([A-Z][A-Z_]+)`", text):
            self.assertIn(name, known)


class Tags(unittest.TestCase):
    def test_table_equals_header(self):
        text = read("codec", "include", "broker", "codec.h")
        wanted = [[str(int(number, 16)), name] for name, number in re.findall(
            r"BROKER_TAG_(\w+) = (0x[0-9A-F]{4}),", text)]
        self.assertEqual([row[:2] for row in table(section("3.3"), "number")],
                         wanted)


class Vectors(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.golden = vectors.read_records(VECTORS, vectors.GOLDEN)
        cls.refused = vectors.read_records(VECTORS, vectors.REFUSED)

    def test_names_are_unique(self):
        for records in (self.golden, self.refused):
            names = [record.name for record in records]
            self.assertEqual(len(names), len(set(names)))

    def test_every_frame_is_golden(self):
        golden = [record.get("type")[0] for record in self.golden]
        for row in macro_rows("frames.def", "BROKER_FRAME"):
            self.assertGreaterEqual(golden.count(row[0]), 3, row[0])

    def test_every_frame_is_refused_by_header_and_body(self):
        types = {"header": set(), "body": set()}
        for record in self.refused:
            types[record.get("by")[0]].add(record.data[4:6])
        for row in macro_rows("frames.def", "BROKER_FRAME"):
            number = int(row[1], 16).to_bytes(2, "big")
            self.assertIn(number, types["header"], row[0])
            if row[0] not in ("PING", "PONG"):  # any 8 bytes are good
                self.assertIn(number, types["body"], row[0])

    def test_every_reserved_type_is_refused(self):
        refused = {record.data[4:6] for record in self.refused
                   if record.get("error") == ["UNSUPPORTED_TYPE"]}
        for name, number, _ in macro_rows("frames.def",
                                          "BROKER_FRAME_RESERVED"):
            if int(number, 16) < 0x8000:
                self.assertIn(int(number, 16).to_bytes(2, "big"), refused,
                              name)

    def test_every_error_of_the_codec_is_refused(self):
        refused = {record.get("error")[0] for record in self.refused}
        self.assertEqual(refused, {
            "BAD_MAGIC", "BAD_START", "UNSUPPORTED_TYPE", "BAD_FLAGS",
            "MALFORMED", "UNKNOWN_TAG", "TOO_LARGE"})

    def test_lengths_are_right(self):
        for record in self.golden:
            self.assertEqual(int.from_bytes(record.data[:4], "big") + 12,
                             len(record.data), record.where)

    def test_examples_are_golden(self):
        """ERROR of the last example is shown without its fields, so it is a
        frame of its own here, as all the others."""
        golden = {record.data for record in self.golden}
        stream = b"".join(
            bytes.fromhex("".join(re.match(
                r"(?:[0-9a-f]{2}\b ?)*", re.sub(" +", " ", line)).group()))
            for block in re.findall(r"^```$(.*?)^```$", section("8"),
                                    re.M | re.S)
            for line in block.splitlines())
        count = 0
        while stream:
            length = 12 + int.from_bytes(stream[:4], "big")
            self.assertIn(stream[:length], golden, stream[:length].hex(" "))
            stream = stream[length:]
            count += 1
        self.assertGreaterEqual(count, 10)


if __name__ == "__main__":
    unittest.main()
