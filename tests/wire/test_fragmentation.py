# SPDX-License-Identifier: MIT
"""A stream may be cut anywhere (PROTOCOL.md section 2).

One session is sent whole, byte by byte, and cut at random places; what
comes back must not depend on the cuts.  The seed of the random cuts is
printed, and is taken from BROKER_TEST_SEED if that is set.
"""
import os
import random
import unittest

import wire_codec as codec
from harness import BrokerTest, numbered, publish_bulk

SEED = int(os.environ.get("BROKER_TEST_SEED") or random.randrange(1 << 32))


def session():
    """A whole session as bytes, and what must be seen of each kind."""
    frames = [
        codec.Hello(id=5, fields=[(codec.NAME, b"fragments"),
                                  (0x7001, b"unknown")]),
        codec.Subscribe(id=1, filter=b"t/#"),
        codec.Subscribe(id=2, filter=b"t/2", policy=codec.DROP_NEWEST),
        codec.Subscribe(id=3, filter=b"work", group=b"g"),
        codec.Ping(id=1, data=b"\0\1\2\3\4\5\6\7"),
        codec.Publish(topic=b"t/1"),
        codec.Publish(id=1, topic=b"t/1", payload=b"one"),
        codec.Publish(id=2, topic=b"t/2", payload=bytes(3000),
                      fields=[(codec.KEY_VALUE, b"\0\1kv")]),
        codec.Publish(id=3, topic=b"t/+", payload=b"refused"),
        codec.Publish(id=4, topic=b"work", payload=b"for a member"),
        codec.Publish(id=5, topic=b"t", flags=codec.RETAIN, payload=b"r"),
        codec.Publish(id=6, topic=b"t", flags=codec.RETAIN),
    ]
    tail = [
        codec.Unsubscribe(id=2), codec.Unsubscribe(id=9),
        codec.Publish(id=7, topic=b"t/2", payload=b"two"),
        codec.Ping(id=2), codec.Goaway(code=codec.LEAVING),
    ]
    unknown = codec.HEADER.pack(700, 0x9ABC, 0xFFFF, 77) + bytes(700)
    reserved = codec.HEADER.pack(3, 0x0030, 0, 78) + b"abc"
    return (b"".join(f.encode() for f in frames) + unknown + reserved
            + b"".join(f.encode() for f in tail))


def outcome(frames):
    """What the session led to, without what may vary with the timing:
    how answers are merged and in which order they stand to messages."""
    context, messages, settled, answers = (), [], [], []
    for frame in frames:
        if isinstance(frame, codec.Context):
            context = tuple(sorted(frame.subscriptions))
        elif isinstance(frame, codec.Publish):
            messages.append((context, frame.encode()))
        elif isinstance(frame, codec.Puback):
            settled += [(n, frame.matched, frame.refused) for n in
                        range(frame.id - frame.count + 1, frame.id + 1)]
        elif isinstance(frame, codec.Error):
            answers.append((frame.NAME, frame.name, frame.id))
        elif isinstance(frame, codec.Unsuback):
            # The queue may be empty or not at the moment of unsubscribing.
            answers.append((frame.NAME, frame.matched, frame.id))
        else:
            answers.append((frame.NAME, None, frame.id))
    # A message that was queued for subscription 2 when that ended may have
    # lost it from its context.
    messages = [(tuple(i for i in context if i != 2), data)
                for context, data in messages]
    return messages, settled, answers


EXPECTED_ANSWERS = [
    ("WELCOME", None, 5), ("SUBACK", None, 1), ("SUBACK", None, 2),
    ("SUBACK", None, 3), ("PONG", None, 1), ("ERROR", "BAD_TOPIC", 3),
    ("ERROR", "UNSUPPORTED_TYPE", 78), ("UNSUBACK", 1, 2),
    ("ERROR", "UNKNOWN_SUBSCRIPTION", 9), ("PONG", None, 2)]


class Fragmentation(BrokerTest):
    def play(self, pieces, address=None):
        """Sends the pieces one by one and returns the outcome."""
        peer = self.raw(address)
        for piece in pieces:
            peer.send(piece)
        peer.half_close()
        return outcome(peer.rest())

    def check(self, result):
        messages, settled, answers = result
        self.assertEqual(answers, EXPECTED_ANSWERS)
        self.assertEqual(settled, [(1, 1, 0), (2, 2, 0), (4, 1, 0),
                                   (5, 1, 0), (6, 1, 0), (7, 1, 0)])
        self.assertEqual([ids for ids, _ in messages],
                         [(1,), (1,), (1,), (3,), (1,), (1,), (1,)])

    def test_whole(self):
        for address in self.broker.addresses:
            self.check(self.play([session()], address))

    def test_byte_by_byte(self):
        data = session()
        pieces = [data[n:n + 1] for n in range(len(data))]
        for address in self.broker.addresses:
            self.check(self.play(pieces, address))

    def test_frame_by_frame_and_header_by_body(self):
        data, pieces = session(), []
        while data:
            length = int.from_bytes(data[:4], "big")
            pieces += [data[:12], data[12:12 + length]]
            data = data[12 + length:]
        self.check(self.play(filter(None, pieces)))

    def test_two_pieces_at_every_place_of_the_first_frames(self):
        data = session()
        for cut in range(1, 200):
            self.check(self.play([data[:cut], data[cut:]],
                                 self.broker.unix))

    def test_random_cuts(self):
        print("seed of the random cuts: BROKER_TEST_SEED=%d" % SEED)
        chance, data = random.Random(SEED), session()
        for _ in range(100):
            cuts = sorted(chance.sample(range(1, len(data)),
                                        chance.randrange(1, 40)))
            pieces = [data[a:b] for a, b in zip([0] + cuts,
                                                cuts + [len(data)])]
            self.check(self.play(pieces,
                                 chance.choice(self.broker.addresses)))

    def test_a_hundred_frames_in_one_segment(self):
        subscriber, peer = self.connect(), self.raw()
        subscriber.subscribe("t")
        peer.hello()
        frames = [codec.Publish(id=n + 1, topic=b"t", payload=b"%d" % n)
                  for n in range(100)]
        peer.send(b"".join(frame.encode() for frame in frames))
        for n in range(100):
            self.assertEqual(subscriber.next_event().payload, b"%d" % n)
        settled = 0
        while settled < 100:
            answer = peer.next_frame()
            self.assertEqual(answer.id - answer.count, settled)
            settled = answer.id


class Large(BrokerTest):
    def pass_on(self, payload, send):
        """Publishes by send(bytes) and checks what arrives."""
        subscriber = self.connect()
        subscriber.subscribe("big")
        frame = codec.Publish(id=1, topic=b"big", payload=payload)
        send(frame.encode())
        self.assertEqual(subscriber.next_event().payload, payload)

    def test_ten_megabytes(self):
        publisher = self.connect()
        self.pass_on(random.Random(1).randbytes(10 * 1000 * 1000),
                     publisher.send_bytes)
        self.assertEqual(publisher.next_event().matched, 1)

    def test_ten_megabytes_in_small_pieces(self):
        publisher = self.connect(self.broker.unix)

        def send(data):
            for at in range(0, len(data), 4099):
                publisher.send_bytes(data[at:at + 4099])
        self.pass_on(random.Random(2).randbytes(10 * 1000 * 1000), send)

    def test_the_largest_frame(self):
        publisher = self.connect()
        self.pass_on(bytes(codec.MAX_BODY - 4 - 3), publisher.send_bytes)

    def test_between_small_ones(self):
        """Large and small frames of one publisher keep their order."""
        subscriber, publisher = self.connect(), self.connect()
        subscriber.subscribe("t")
        sizes = [10, 3000000, 20, 262144, 262143, 262145, 1, 0, 65536] * 2
        publisher.send_bytes(b"".join(
            codec.Publish(topic=b"t", payload=bytes([n]) * size).encode()
            for n, size in enumerate(sizes)))
        for n, size in enumerate(sizes):
            self.assertEqual(subscriber.next_event().payload,
                             bytes([n]) * size)

    def test_small_pieces_of_many_publishers(self):
        """Frames of several publishers, each sent in interleaved pieces,
        arrive whole."""
        subscriber = self.connect()
        subscriber.subscribe("t")
        publishers = [self.connect() for _ in range(5)]
        frames = [codec.Publish(topic=b"t", payload=bytes([65 + n]) * 50000)
                  for n in range(5)]
        data = [frame.encode() for frame in frames]
        for at in range(0, len(data[0]), 7001):
            for publisher, whole in zip(publishers, data):
                publisher.send_bytes(whole[at:at + 7001])
        got = [subscriber.next_event().frame.encode() for _ in range(5)]
        self.assertEqual(sorted(got), sorted(data))

    def test_reading_in_small_pieces(self):
        """The subscriber's side: it reads a few bytes at a time."""
        peer, publisher = self.raw(self.broker.unix), self.connect()
        peer.hello()
        peer.send(codec.Subscribe(id=1, filter=b"t"))
        self.assertEqual(peer.next_frame().NAME, "SUBACK")
        publish_bulk(publisher, "t", numbered(200, 100))
        data, expected = b"", 12 + 4 + 200 * (12 + 5 + 100)
        while len(data) < expected:
            data += peer.sock.recv(7)
        self.assertEqual(len(data), expected)


if __name__ == "__main__":
    unittest.main()
