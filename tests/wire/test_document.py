# SPDX-License-Identifier: MIT
"""PROTOCOL.md against the Python codec: examples and tables.

Reads the document itself, so an example or a table that is changed there
without meaning it shows up here.  Needs no broker.
"""
import dataclasses
import os
import re
import unittest

import wire_codec as codec

DOCUMENT = os.path.join(os.path.dirname(os.path.abspath(__file__)),
                        "..", "..", "proto", "PROTOCOL.md")


def read_section(number):
    """The text of one `## n.` section."""
    with open(DOCUMENT, encoding="utf-8") as file:
        text = file.read()
    return re.search(r"^## %d\. .*?(?=^## |\Z)" % number, text,
                     re.M | re.S).group(0)


def table_rows(text, cells):
    for line in text.splitlines():
        row = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("|") and len(row) == cells:
            yield row


def example_bytes():
    """Each code block of section 8 as bytes: the hex before two blanks that
    are followed by words is data, the rest of the line is comment."""
    for block in re.findall(r"^```$(.*?)^```$", read_section(8), re.M | re.S):
        data = b""
        for line in block.splitlines():
            for word in line.split():
                if not re.fullmatch("[0-9a-f]{2}", word):
                    break
                data += bytes.fromhex(word)
        yield data


def stream_session():
    """The frames of section 8 that have to do with streams."""
    first = codec.Publish(id=7, topic=b"orders/new", payload=b"first")
    second = codec.Publish(topic=b"orders/paid", payload=b"second")
    third = codec.Publish(topic=b"orders/sent", payload=b"third")
    name = [(codec.STREAM, b"orders")]
    then, later = 1729323386326, 1729323386826

    def stored(number, sequence):
        return codec.Puback(
            id=number, level=codec.SYNCED, fields=name + [
                (codec.SEQUENCE, sequence.to_bytes(8, "big"))])

    return [
        first, stored(7, 1),
        codec.PublishBatch(id=8, messages=[second, third]), stored(8, 3),
        codec.Consume(id=8, stream=b"orders", start=codec.START_FIRST),
        codec.ConsumeReply(id=8, first_sequence=1, last_sequence=3,
                           next_sequence=1, fields=name),
        codec.Context(subscriptions=(8,)),
        codec.Position(id=8, sequence=1, time_ms=then, count=1), first,
        codec.Position(id=8, sequence=2, time_ms=later, count=2), second,
        third, codec.Position(id=8, sequence=4),
        codec.Consume(id=9, consumer=b"billing"),
        codec.ConsumeReply(id=9, first_sequence=1, last_sequence=3,
                           next_sequence=4, ack=codec.ACK_EACH, window=1000,
                           fields=name),
        codec.Context(subscriptions=(9,)),
        codec.Position(id=9, sequence=3, time_ms=later, count=1,
                       deliveries=2),
        third, codec.Ack(id=9, ranges=((3, 3),))]


class Document(unittest.TestCase):
    def test_examples_decode_and_encode_back(self):
        seen = []
        for data in example_bytes():
            while data:
                frame, used = codec.decode(data)
                self.assertIsNotNone(frame, data.hex())
                self.assertEqual(frame.encode(), data[:used])
                seen.append(frame.NAME)
                data = data[used:]
        self.assertEqual(seen, [
            "HELLO", "SUBSCRIBE", "SUBACK", "PUBLISH", "CONTEXT", "PUBLISH",
            "PUBACK", "GAP", "PUBLISH", "ERROR",
            "PUBLISH", "PUBACK", "PUBLISH_BATCH", "PUBACK",
            "CONSUME", "CONSUME_REPLY", "CONTEXT", "POSITION", "PUBLISH",
            "POSITION", "PUBLISH", "PUBLISH", "POSITION",
            "CONSUME", "CONSUME_REPLY", "CONTEXT", "POSITION", "PUBLISH",
            "ACK"])

    def test_examples_by_the_encoder(self):
        """The same bytes come out when the frames are made from scratch."""
        frames = [
            codec.Hello(id=1, fields=[(codec.NAME, b"demo")]),
            codec.Subscribe(id=7, filter=b"a/#"), codec.Suback(id=7),
            codec.Publish(id=1, topic=b"a/b", payload=b"hello"),
            codec.Context(subscriptions=(7,)),
            codec.Publish(id=1, topic=b"a/b", payload=b"hello"),
            codec.Puback(id=1, matched=1),
            codec.Gap(count=1000, size=27000, subscriptions=(7,)),
            codec.Publish(id=2, topic=b"time",
                          fields=[(0x8003, b"_inbox/1/1")]),
            codec.Error(id=2, code=304, refused_type=0x10, retry=1)]
        frames += stream_session()
        self.assertEqual(b"".join(frame.encode() for frame in frames),
                         b"".join(example_bytes()))

    def test_table_of_frames(self):
        table = {}
        for row in table_rows(read_section(4), 7):
            if row[0].startswith("0x") and row[6] != "reserved":
                most = (codec.MAX_BODY if row[5] == "max_body_bytes"
                        else int(row[5]))
                table[int(row[0], 16)] = (
                    row[1], row[2].replace(", ", ""), int(row[3], 16),
                    int(row[4]), most)
        ours = {number: (cls.NAME, cls.SENDER, cls.FLAGS, cls.MIN, cls.MAX)
                for number, cls in codec.FRAMES.items()}
        self.assertEqual(ours, table)

    def test_table_of_codes(self):
        table = {int(row[0]): row[1]
                 for row in table_rows(read_section(7), 6)
                 if row[0].isdigit()}
        self.assertEqual(codec.CODES, table)

    def test_every_truncation_asks_for_more_or_refuses(self):
        for data in example_bytes():
            _, used = codec.decode(data)
            for cut in range(used):
                self.assertEqual(codec.decode(data[:cut]), (None, 0))

    def test_every_flipped_bit_decodes_or_is_refused(self):
        """No input makes the decoder fail in another way than by
        ProtocolError, and what it accepts it can give back."""
        for data in example_bytes():
            for bit in range(8 * len(data)):
                broken = bytearray(data)
                broken[bit // 8] ^= 1 << bit % 8
                try:
                    frame, used = codec.decode(broken)
                except codec.ProtocolError:
                    continue
                if frame is not None:
                    self.assertEqual(frame.encode(), broken[:used])

    def test_frames_are_compared_by_value(self):
        self.assertEqual(codec.Ping(id=1), codec.Ping(id=1))
        self.assertNotEqual(codec.Ping(id=1), codec.Pong(id=1))
        for cls in codec.FRAMES.values():
            self.assertTrue(dataclasses.is_dataclass(cls))


if __name__ == "__main__":
    unittest.main()
