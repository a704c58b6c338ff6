# SPDX-License-Identifier: MIT
"""Who works on a durable consumer of the broker that is killed.

A message is done when its acknowledgement was sent; whatever the broker
remembers of that after it was killed, none may be left out (PROTOCOL.md
section 5.14).  Some messages are given back, and some are forgotten until
their time is over.
"""
import random
import threading

import broker_wire
import wire_codec as codec
from broker_wire import Message
from publisher import was_cut_off

ACK_WAIT_MS = 400


class Consumer(threading.Thread):
    """A connection that takes part in the durable consumer `consumer`."""

    def __init__(self, address, stream, ack, seed):
        super().__init__(daemon=True)
        self.address, self.stream, self.ack = address, stream, ack
        self.consumer = "of-" + stream
        self.random = random.Random(seed)
        self.lock = threading.Lock()
        self.done = set()  # sequences
        self.delivered = self.again = 0
        self.ending = False
        self.failure = None
        self.up = threading.Event()  # set while a broker runs

    def run(self):
        try:
            while not self.ending:
                try:
                    self._work()
                except Exception as error:
                    if not was_cut_off(error):
                        raise
                    self.up.wait(1)
        except Exception as failure:
            self.failure = failure
            raise

    def _work(self):
        connection = broker_wire.Connection(
            self.address, name="consumer", timeout=30,
            features=codec.STREAMS)
        taken = []  # by this connection, for an acknowledgement of many
        try:
            subscription = connection.join(self.consumer).id
            while not self.ending:
                try:
                    event = connection.next_event(0.1)
                except TimeoutError:
                    continue
                if isinstance(event, Message):
                    self._take(connection, subscription, event.sequence,
                               taken)
                    self.again += event.deliveries > 1
                elif not isinstance(event, (codec.Gap, codec.Notice,
                                            codec.Goaway)):
                    raise AssertionError("a consumer got %r" % (event,))
        finally:
            connection.abort()

    def _take(self, connection, subscription, sequence, taken):
        self.delivered += 1
        what = self.random.random()
        if self.ack == "cumulative":
            if sequence not in taken:  # else it is there in its old place
                taken.append(sequence)
            if what < 0.03:
                taken.remove(sequence)
                connection.give_back(subscription, sequence,
                                     self.random.choice([0, 20]))
            elif what < 0.5:
                self._acknowledge_up_to(connection, subscription,
                                        self.random.choice(taken), taken)
        elif what < 0.03:
            connection.give_back(subscription, sequence,
                                 self.random.choice([0, 20]))
        elif what > 0.01 + 0.03:  # else it comes again after ACK_WAIT_MS
            self._note([sequence])
            connection.acknowledge(subscription, sequence)

    def _acknowledge_up_to(self, connection, subscription, sequence, taken):
        """All of lower sequences that came before it."""
        seen = taken[:taken.index(sequence) + 1]
        self._note(each for each in seen if each <= sequence)
        taken[:] = [each for each in taken
                    if each not in seen or each > sequence]
        connection.acknowledge_up_to(subscription, sequence)

    def _note(self, sequences):
        """Before the acknowledgement is sent."""
        with self.lock:
            self.done.update(sequences)

    def take_done(self):
        with self.lock:
            done, self.done = self.done, set()
        return done
