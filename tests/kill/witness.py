# SPDX-License-Identifier: MIT
"""Who listens to the broker that is killed: a plain subscriber, and readers
that read along.

What either of them was given was durable, so that it must be in the stream
for ever after (PROTOCOL.md section 5.13).  The readers go on after the last
sequence that they handled, as section 9 says.
"""
import threading

import broker_wire
import wire_codec as codec
from broker_wire import Message
from publisher import HEAD, was_cut_off


class Witness(threading.Thread):
    """Listens to all topics, and reads all streams, through all restarts."""

    def __init__(self, address, streams):
        super().__init__(daemon=True)
        self.address, self.streams = address, streams
        self.lock = threading.Lock()
        self.read = {stream: {} for stream in streams}
        self.heard = {stream: [] for stream in streams}
        self.after = dict.fromkeys(streams, 0)
        self.messages = self.gaps = 0
        self.ending = False
        self.failure = None
        self.up = threading.Event()  # set while a broker runs

    def run(self):
        try:
            while not self.ending:
                try:
                    self._listen()
                except Exception as error:
                    if not was_cut_off(error):
                        raise
                    self.up.wait(1)
        except Exception as failure:
            self.failure = failure
            raise

    def _listen(self):
        connection = broker_wire.Connection(
            self.address, name="witness", timeout=30, features=codec.STREAMS)
        try:
            listens = {connection.subscribe(stream + "/#").id
                       for stream in self.streams}
            reads = {}
            for stream in self.streams:
                reply = connection.consume(
                    stream, start=codec.START_SEQUENCE,
                    value=self.after[stream] + 1)
                reads[reply.id] = stream
            while not self.ending:
                try:
                    event = connection.next_event(0.1)
                except TimeoutError:
                    continue
                if isinstance(event, codec.Gap):
                    self.gaps += 1
                elif isinstance(event, Message):
                    self._take(event, listens.issuperset(event.subscriptions),
                               reads)
                elif not isinstance(event, (codec.Position, codec.Notice,
                                            codec.Goaway)):
                    raise AssertionError("the witness got %r" % (event,))
        finally:
            connection.abort()

    def _take(self, message, is_live, reads):
        publisher, counter, _, _ = HEAD.unpack_from(message.payload)
        with self.lock:
            self.messages += 1
            if is_live:
                stream = message.topic.split("/")[0]
                self.heard[stream].append((publisher, counter,
                                           message.topic))
                return
            stream = reads[message.subscriptions[0]]
            if message.sequence <= self.after[stream]:
                raise AssertionError("%s: %d came after %d" % (
                    stream, message.sequence, self.after[stream]))
            self.after[stream] = message.sequence
            self.read[stream][message.sequence] = ((publisher, counter),
                                                   message.topic)

    def take_read(self, stream):
        """What was read since the last call, by sequence."""
        with self.lock:
            taken, self.read[stream] = self.read[stream], {}
        return taken

    def take_heard(self, stream):
        with self.lock:
            taken, self.heard[stream] = self.heard[stream], []
        return taken
