# SPDX-License-Identifier: MIT
"""A publisher of the kill loop: it never gives up, and it keeps a journal.

Owns one session of a broker that dies at any moment.  What is not answered
is sent again with RETRY after the next connect, before anything new, as
PROTOCOL.md section 5.3 asks for.  Each answer is written to a journal of its
own before anything else happens with it; what the answers mean for what has
to be in the streams is the checker's business.
"""
import collections
import os
import random
import struct
import threading

import broker_wire
import wire_codec as codec

# Of every message: publisher, counter, of how many of a batch, which of them.
HEAD = struct.Struct(">HIHH")
DISCONNECTED = (OSError, broker_wire.Closed)
MANY = 64  # frames between two looks at the answers

# An unanswered publish: its counters, for which the answer is, and what is
# sent.  `number` 0: nobody answers, but a PONG says that it is stored.
Sent = collections.namedtuple("Sent", "number first count topic sizes")


def was_cut_off(error):
    """Whether that is the end of a connection whose broker was killed."""
    return isinstance(error, DISCONNECTED) or (
        isinstance(error, codec.ProtocolError)
        and str(error) == "MALFORMED: end inside a frame")


class Journal:
    """What was acknowledged: lines of (stream, sequence, publisher,
    counter); the sequence is 0 where the answer did not say it."""

    def __init__(self, path):
        self.file = open(path, "w")
        self.entries = []

    def write(self, stream, sequence, publisher, counter):
        self.file.write("%s %d %d %d\n" % (stream, sequence or 0, publisher,
                                           counter))
        self.file.flush()
        self.entries.append((stream, sequence, publisher, counter))


class Publisher(threading.Thread):
    """Publishes to `stream`, in a mix that its seed decides."""

    def __init__(self, number, address, stream, folder, seed):
        super().__init__(daemon=True)
        self.number, self.address, self.stream = number, address, stream
        self.random = random.Random(seed)
        self.journal = Journal(os.path.join(folder, "journal.%d" % number))
        self.window = self.random.choice([1, 16, 128, 512])
        self.session = self.random.getrandbits(128).to_bytes(16, "big")
        self.counter = self.last_number = 0
        self.unanswered = collections.deque()
        self.unnumbered = collections.deque()  # since the last PONG
        self.ping = None  # (id, how many of `unnumbered` it covers)
        self.acknowledged = self.duplicates = self.connects = 0
        self.budget = 0  # messages that it may publish; 0: it only settles
        self.settled = threading.Event()  # nothing is unanswered
        self.ending = False
        self.failure = None
        self.up = threading.Event()  # set while a broker runs

    def run(self):
        try:
            while not self.ending:
                self._connect_once()
        except Exception as failure:
            self.failure = failure
            raise

    def _connect_once(self):
        try:
            with_session = broker_wire.Connection(
                self.address, name="kill-%d" % self.number, timeout=30,
                session=self.session, features=codec.STREAMS)
        except Exception as error:
            if not was_cut_off(error):
                raise
            self.up.wait(1)  # it is dead, or not yet there
            return
        self.connects += 1
        self.connection = with_session
        self.ping = None
        self.unnumbered.clear()  # lost, or not: nobody knows
        try:
            self._send(self.unanswered, codec.RETRY)
            while not self.ending:
                self._turn()
        except Exception as error:
            if not was_cut_off(error):
                raise
        finally:
            self.connection.abort()

    def _turn(self):
        fresh = []
        while self.budget > 0 and len(fresh) < MANY and \
                len(self.unanswered) < self.window:
            fresh.append(self._next())
            self.budget -= 1
        self._send(fresh, 0)
        if self.budget <= 0 and not self.unanswered and not self.unnumbered:
            self.settled.set()
        if self.unnumbered and self.ping is None:
            self.ping = (self.random.getrandbits(31), len(self.unnumbered))
            self.connection.send(codec.Ping(id=self.ping[0]))
        try:
            event = self.connection.next_event(0.02)
        except TimeoutError:
            return
        while True:
            self._take(event)
            if not self.connection.inbox:
                return
            event = self.connection.inbox.popleft()

    # What is sent.

    def _next(self):
        kind = self.random.random()
        count = self.random.randint(2, 8) if kind < 0.1 else 1
        number = 0
        if kind < 0.8:
            self.last_number = self.last_number % 0xFFFFFFFF + 1
            number = self.last_number
        topic = "%s/%d/%d" % (self.stream, self.number,
                              self.random.randrange(3))
        sizes = [self.random.choice([0, 20, 100, 100, 1000])
                 for _ in range(count)]
        if self.random.random() < 0.02:
            sizes[0] = self.random.choice([5000, 20000, 70000])
        sent = Sent(number, self.counter + 1, count, topic, sizes)
        self.counter += count
        (self.unanswered if number else self.unnumbered).append(sent)
        return sent

    def _send(self, what, flags):
        frames = [self._frame(sent, flags) for sent in what]
        for at in range(0, len(frames), MANY):
            self.connection.send_bytes(b"".join(frames[at:at + MANY]))

    def _frame(self, sent, flags):
        messages = [codec.Publish(
            topic=sent.topic.encode(),
            payload=HEAD.pack(self.number, sent.first + at, sent.count, at)
            + bytes(size)) for at, size in enumerate(sent.sizes)]
        if sent.count == 1:
            messages[0].id, messages[0].flags = sent.number, flags
            return messages[0].encode()
        return codec.PublishBatch(id=sent.number, flags=flags,
                                  messages=messages).encode()

    # What is answered.

    def _take(self, event):
        if isinstance(event, codec.Puback):
            for number in range(event.id - event.count + 1, event.id + 1):
                self._settle(number, event)
        elif isinstance(event, codec.Pong):
            assert self.ping and event.id == self.ping[0], event
            for _ in range(self.ping[1]):
                self._write(self.unnumbered.popleft(), None)
            self.ping = None
        elif not isinstance(event, (codec.Notice, codec.Goaway)):
            raise AssertionError("publisher %d got %r" % (self.number, event))

    def _settle(self, number, answer):
        sent = self.unanswered.popleft()
        if sent.number != number or answer.level != codec.SYNCED:
            raise AssertionError("publish %d was due, and answered is %d: %r"
                                 % (sent.number, number, answer))
        if answer.flags & codec.DUPLICATE:
            self.duplicates += 1
            self._write(sent, None)
        else:
            assert answer.stream == self.stream, answer
            self._write(sent, answer.sequence_of(number) - sent.count + 1)

    def _write(self, sent, sequence):
        for at in range(sent.count):
            self.journal.write(self.stream, sequence and sequence + at,
                               self.number, sent.first + at)
        self.acknowledged += sent.count
