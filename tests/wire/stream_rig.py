# SPDX-License-Identifier: MIT
"""What the suites of streams share: a brokerd with a store, which can be
started again on it, and the reading back of what it stored."""
import os
import shutil
import signal
import tempfile

import wire_codec as codec
from broker_wire import Message
from harness import BrokerTest

STREAM_KEYS = {
    "name", "topics", "max_messages", "max_bytes", "max_age_ms", "discard",
    "first_sequence", "last_sequence", "messages", "bytes", "first_time_ms",
    "last_time_ms", "trimmed", "damaged", "consumers"}


class Reading:
    """What a reader got from its start to its end, and what that must be
    like: sequences rise, times do not fall, gaps are counted."""

    def __init__(self, connection, subscription):
        self.connection, self.subscription = connection, subscription
        self.messages, self.gaps = [], []
        self.end = None  # the POSITION with count 0
        self.books = None  # the UNSUBACK
        self.sequence = self.time_ms = 0

    def take(self, event):
        """An event of the connection; returns whether it was for us."""
        if isinstance(event, codec.Position):
            if event.id != self.subscription:
                return False
            assert event.sequence > self.sequence, (event, self.sequence)
            self.end = event
        elif isinstance(event, codec.Unsuback):
            if event.id != self.subscription:
                return False
            self.books = event
        elif self.subscription not in getattr(event, "subscriptions", ()):
            return False
        elif isinstance(event, codec.Gap):
            self.gaps.append((event.reason, event.count))
        else:
            assert event.subscriptions == (self.subscription,), event
            assert event.deliveries == 0, event
            assert event.sequence > self.sequence, (event, self.sequence)
            assert event.time_ms >= self.time_ms, (event, self.time_ms)
            self.sequence, self.time_ms = event.sequence, event.time_ms
            self.messages.append(event)
        return True

    def read_until(self, condition, timeout=None):
        """Takes events until condition(); returns those for others."""
        others = []
        while not condition():
            event = self.connection.next_event(timeout)
            if not self.take(event):
                others.append(event)
        return others

    def to_end(self):
        """Of a reader with END."""
        others = self.read_until(lambda: self.books is not None)
        self.connection.inbox.extend(others)
        assert self.end is not None, "UNSUBACK without the end before it"
        return self

    def caught_up(self):
        others = self.read_until(lambda: self.end is not None)
        self.connection.inbox.extend(others)
        return self

    def take_messages(self, count):
        """Reads until there are so many messages, gaps not counted."""
        others = self.read_until(lambda: len(self.messages) >= count)
        self.connection.inbox.extend(others)
        return self

    @property
    def payloads(self):
        return [message.payload for message in self.messages]

    @property
    def sequences(self):
        return [message.sequence for message in self.messages]


class StreamTest(BrokerTest):
    """One test, one brokerd with a store."""

    def setUp(self):
        self.base = tempfile.mkdtemp(prefix="brokerd-store-")
        self.addCleanup(shutil.rmtree, self.base, ignore_errors=True)
        self.store = os.path.join(self.base, "store")
        self.options = dict(type(self).options, store=self.store)
        super().setUp()

    def connect(self, address=None, **options):
        options.setdefault("features", codec.STREAMS)
        return super().connect(address, **options)

    def restart(self, kill=False, **options):
        """The broker ends and another one opens its store."""
        for peer in self.peers:
            peer.abort()
        self.broker.signal(signal.SIGKILL if kill else signal.SIGTERM)
        code = self.broker.wait()
        if kill:
            self.brokers.remove(self.broker)
            self.logs += self.broker.log()
            self.broker.destroy()
            self.broker.log_file.close()
        else:
            self.assertEqual(code, 0, "brokerd's exit code")
        self.broker = self.start_broker(**dict(self.options, **options))
        return self.connect()

    def add(self, connection, name="S", topics=("s/#",), **settings):
        return connection.system("stream/add", name=name,
                                 topics=list(topics), **settings)

    def info(self, connection, name="S"):
        return connection.system("stream/info", name=name)

    def consume(self, connection, *arguments, **options):
        """A reader that was opened: (Reading, CONSUME_REPLY)."""
        reply = connection.consume(*arguments, **options)
        return Reading(connection, reply.id), reply

    def read(self, connection, stream="S", filter_text="",
             start=codec.START_FIRST, value=0):
        """All that is there now."""
        reading, _ = self.consume(connection, stream, filter_text, start,
                                  value, end=True)
        return reading.to_end()

    def assert_stored(self, connection, payloads, stream="S"):
        self.assertEqual(self.read(connection, stream).payloads,
                         list(payloads))

    def next_messages(self, connection, count):
        """The payloads of the next messages; nothing else may come."""
        events = [connection.next_event() for _ in range(count)]
        for event in events:
            self.assertIsInstance(event, Message)
        return [event.payload for event in events]
