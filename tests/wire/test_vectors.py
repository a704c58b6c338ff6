# SPDX-License-Identifier: MIT
"""The golden and the malformed vectors against the Python codec.

The codec was written from PROTOCOL.md alone, and so was this reader of the
vectors' format (proto/vectors/README.md): where it and the C codec give the
same answers to all of them, the document says enough.  Needs no broker.
"""
import glob
import os
import re
import unittest

import broker_wire
import wire_codec as codec

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)),
                      "..", "..", "proto", "vectors")

# Names of values in the vectors that have another name here.
MEMBERS = {
    "version_min": "min_version", "version_max": "max_version",
    "opaque": "data", "frame_type": "refused_type", "class": "error_class",
    "overflow": "policy", "ids": "subscriptions", "bytes": "size",
    "value": "start_value",
}
BYTES = ("session", "boot", "opaque", "topic", "payload", "filter", "group",
         "stream", "consumer", "frames")

WORD = re.compile(r'(?:"[^"]*"|[^\s"#])(?:"[^"]*"|[^\s"])*')
PART = re.compile(r'("[^"]*"|[0-9a-fA-F]*)(?:\*(\d+))?(?:,|$)')


def split_words(line):
    """The words of a line; a word that begins with # ends it."""
    words, at = [], 0
    while True:
        while at < len(line) and line[at].isspace():
            at += 1
        match = WORD.match(line, at)
        if not match:
            assert at == len(line) or line[at] == "#", line
            return words
        words.append(match.group(0))
        at = match.end()


def to_bytes(word):
    data, at = b"", 0
    while at < len(word):
        match = PART.match(word, at)
        assert match and match.end() > at, word
        text, times = match.groups()
        part = (text[1:-1].encode("ascii") if text.startswith('"')
                else bytes.fromhex(text))
        data += part * int(times or 1)
        at = match.end()
    return data


def to_numbers(words):
    numbers = []
    for word in words:
        number, _, times = word.partition("*")
        numbers += [int(number, 0)] * int(times or 1)
    return numbers


def to_pairs(words):
    numbers = to_numbers(words)
    return tuple(zip(numbers[::2], numbers[1::2]))


def lines():
    """(file name, words) of every line of every file."""
    for path in sorted(glob.glob(os.path.join(FOLDER, "*.txt"))):
        with open(path, encoding="ascii") as file:
            for line in file:
                words = split_words(line.rstrip("\n"))
                if words:
                    yield os.path.basename(path), words


def records(kind):
    """Each `frame` or `refuse` as {key: words}; `hex` and `field` are put
    together.  One goes on to the next, or to the end of its file."""
    record, current = None, None
    for file, (key, *words) in lines():
        if key in ("frame", "refuse") or file != current:
            if record and record["record"] == kind:
                yield record
            record, current = None, file
        if key in ("frame", "refuse"):
            record = {"record": key, "name": words[0], "hex": b"",
                      "fields": []}
        elif record is None:
            continue
        elif key == "hex":
            record["hex"] += b"".join(map(to_bytes, words))
        elif key == "field":
            record["fields"].append((int(words[0], 0),
                                     b"".join(map(to_bytes, words[1:]))))
        else:
            record[key] = words
    if record and record["record"] == kind:
        yield record


class Golden(unittest.TestCase):
    def test_there_is_one_of_each_type(self):
        seen = {record["type"][0] for record in records("frame")}
        self.assertLessEqual({cls.NAME for cls in codec.FRAMES.values()},
                             seen)

    def test_decode(self):
        for record in records("frame"):
            with self.subTest(name=record["name"]):
                frame, used = codec.decode(record["hex"])
                self.assertEqual(used, len(record["hex"]))
                if frame is None:
                    self.assertEqual(
                        to_numbers(record["type"]),
                        [int.from_bytes(record["hex"][4:6], "big")])
                else:
                    self.check_values(frame, record)

    def check_values(self, frame, record):
        self.assertEqual(frame.NAME, record["type"][0])
        self.assertEqual(frame.fields, record["fields"])
        for key, words in record.items():
            if key in ("record", "name", "hex", "fields", "type", "canonical"):
                continue
            value = getattr(frame, MEMBERS.get(key, key))
            if key in BYTES:
                expected = b"".join(map(to_bytes, words))
            elif key == "ids":
                expected = tuple(to_numbers(words))
            elif key == "ranges":
                expected = to_pairs(words)
            else:
                (expected,) = to_numbers(words)
            self.assertEqual(value, expected, key)

    def test_encode_what_was_decoded(self):
        for record in records("frame"):
            with self.subTest(name=record["name"]):
                frame, _ = codec.decode(record["hex"])
                if frame is not None:
                    self.assertEqual(frame.encode(), record["hex"])

    def test_encode_from_the_values(self):
        """The frame is made from the text of the vector alone."""
        types = {cls.NAME: cls for cls in codec.FRAMES.values()}
        for record in records("frame"):
            cls = types.get(record["type"][0])
            if cls is None:
                continue
            with self.subTest(name=record["name"]):
                frame = cls(fields=list(record["fields"]))
                for key, words in record.items():
                    if key in BYTES:
                        value = b"".join(map(to_bytes, words))
                    elif key == "ids":
                        value = tuple(to_numbers(words))
                    elif key == "ranges":
                        value = to_pairs(words)
                    elif (key, cls) == ("count", codec.PublishBatch):
                        continue  # it is what the frames make it
                    elif hasattr(frame, MEMBERS.get(key, key)) and key not \
                            in ("fields", "name", "type"):
                        (value,) = to_numbers(words)
                    else:
                        continue
                    setattr(frame, MEMBERS.get(key, key), value)
                self.assertEqual(frame.encode(), record["hex"])

    def test_every_truncation_asks_for_more(self):
        for record in records("frame"):
            data = record["hex"]
            cuts = range(len(data)) if len(data) < 500 else (
                list(range(100)) + [len(data) // 2, len(data) - 1])
            for cut in cuts:
                self.assertEqual(codec.decode(data[:cut]), (None, 0),
                                 (record["name"], cut))


class Refused(unittest.TestCase):
    def test_every_bad_frame(self):
        count = 0
        for record in records("refuse"):
            with self.subTest(name=record["name"]):
                limit = to_numbers(record.get("limit", ["16777215"]))[0]
                data = record["hex"]
                if record["by"] == ["header"]:
                    data = data[:12]
                with self.assertRaises(codec.ProtocolError) as caught:
                    codec.decode(data, limit)
                self.assertEqual([caught.exception.code], record["error"])
            count += 1
        self.assertGreater(count, 50)

    def test_a_good_header_is_not_refused(self):
        for record in records("refuse"):
            if record["by"] == ["body"]:
                with self.subTest(name=record["name"]):
                    self.assertEqual(codec.decode(record["hex"][:12]),
                                     (None, 0))


class Tables(unittest.TestCase):
    def verdict(self, check, *arguments):
        try:
            check(*arguments)
        except codec.ProtocolError:
            return "bad"
        return "ok"

    def test_texts_topics_filters_groups(self):
        limits, seen = (), 0
        for _, (key, *words) in lines():
            if key == "limits":
                limits = tuple(to_numbers(words))
            elif (key in ("utf8", "topic", "filter", "group")
                  and words[0] in ("ok", "bad")):
                data = b"".join(map(to_bytes, words[1:]))
                with self.subTest(key=key, data=data, limits=limits):
                    if key == "utf8":
                        found = self.verdict(codec.check_utf8, data, "")
                    elif key == "topic":
                        found = self.verdict(codec.check_topic, data,
                                             *limits)
                    elif key == "filter":
                        found = self.verdict(codec.check_filter, data,
                                             *limits)
                    else:
                        found = self.verdict(codec.check_group, data)
                    self.assertEqual(found, words[0])
                seen += 1
        self.assertGreater(seen, 50)

    def test_addresses(self):
        for _, (key, *words) in lines():
            if key == "tcp":
                text, host, port, _ = [to_bytes(w).decode() for w in words]
                self.assertEqual(broker_wire.parse_tcp(text),
                                 (host, int(port)))

    def test_matching(self):
        seen = 0
        for _, (key, *words) in lines():
            if key == "match":
                wanted, filter_text, topic = words[0], *map(to_bytes,
                                                            words[1:])
                with self.subTest(filter=filter_text, topic=topic):
                    self.assertEqual(
                        codec.filter_matches(filter_text, topic),
                        wanted == "yes")
                seen += 1
        self.assertGreater(seen, 20)


if __name__ == "__main__":
    unittest.main()
