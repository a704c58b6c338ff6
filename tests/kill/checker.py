# SPDX-License-Identifier: MIT
"""What has to be in a stream after the broker was killed: the checker.

It knows the journals of the publishers, what it read itself before, and
nothing of the broker.  A violation is a line of text; none may occur.
"""
import collections

from publisher import HEAD


class Checker:
    """One stream.  A message is known by (publisher, counter)."""

    def __init__(self, stream):
        self.stream = stream
        self.floor = 1  # below this it was purged
        self.purging = 1  # and perhaps below this
        # What must be there: (publisher, counter) to its sequence, or None
        # where it was acknowledged without saying that.
        self.expected = {}
        self.taken = collections.Counter()  # of each journal, so far
        # The highest counter of what was purged, by (publisher, topic).
        self.purged = {}
        self.messages = []  # of the last reading: (sequence, key, topic)
        self.reader_saw = {}  # sequences since the last reading
        self.reader_at = self.reader_done = 0
        self.done = set()  # sequences that a durable consumer is done with
        self.violations = []
        self.lost = self.duplicated = 0
        self.checked = 0

    def complain(self, *words):
        self.violations.append("stream %s: %s" % (
            self.stream, " ".join(str(word) for word in words)))

    def learn(self, journals):
        """Takes over what was acknowledged so far; before a reading begins,
        so that all of it must be in there."""
        for journal in journals:
            entries, start = journal.entries, self.taken[id(journal)]
            end = len(entries)
            for stream, sequence, publisher, counter in entries[start:end]:
                if stream == self.stream:
                    self.expect((publisher, counter), sequence)
            self.taken[id(journal)] = end

    def learn_from(self, witness):
        """The same of who listens and who reads along."""
        self.reader_saw.update(witness.take_read(self.stream))
        self.reader_at = max(self.reader_saw, default=0)
        for sequence, (key, _) in self.reader_saw.items():
            if sequence >= self.floor:
                self.expect(key, sequence)
        for publisher, counter, topic in witness.take_heard(self.stream):
            if counter > self.purged.get((publisher, topic), 0):
                self.expect((publisher, counter), None)

    def expect(self, key, sequence):
        """A message is said to be stored, as this one if not None."""
        known = self.expected.get(key)
        if known is not None and sequence is not None and known != sequence:
            self.complain(key, "was", known, "and is said to be", sequence)
        self.expected[key] = sequence if sequence is not None else known

    def check(self, reading, first_sequence):
        """A reading from the first message to the end."""
        if first_sequence not in (self.floor, self.purging):
            self.complain("begins at", first_sequence, "not",
                          (self.floor, self.purging))
        self._forget_below(first_sequence)
        self.messages = []
        found = {}
        last = dict(self.purged)
        heads = []
        for message in reading.messages:
            publisher, counter, size, at = HEAD.unpack_from(message.payload)
            key = (publisher, counter)
            self.messages.append((message.sequence, key, message.topic))
            heads.append((message.sequence, key, size, at))
            if key in found:
                self.duplicated += 1
                self.complain(key, "is there as", found[key], "and",
                              message.sequence)
            elif counter <= last.get((publisher, message.topic), 0):
                self.complain(key, "as", message.sequence, "comes after",
                              last[publisher, message.topic])
            found[key] = message.sequence
            last[publisher, message.topic] = counter
        for reason, count in reading.gaps:
            self.complain("a gap of", count, "for reason", reason)
        self._check_batches(heads, first_sequence)
        self._check_expected(found, first_sequence)
        self._check_reader()
        # What was read must stay.
        self.expected = dict(found)
        self.checked += len(found)

    def _check_expected(self, found, first_sequence):
        for key, sequence in self.expected.items():
            there = found.get(key)
            if there is None:
                if sequence is None or sequence >= first_sequence:
                    self.lost += 1
                    self.complain(key, "as", sequence, "was acknowledged "
                                  "or read, and is not there")
            elif sequence is not None and sequence != there:
                self.complain(key, "was", sequence, "and is", there)

    def _check_reader(self):
        """Who reads along was given all that is there, in its place."""
        for sequence, key, _ in self.messages:
            if self.reader_done < sequence <= self.reader_at and \
                    self.reader_saw.get(sequence, (None,))[0] != key:
                self.complain("a reader that is at", self.reader_at,
                              "was not given", sequence, key)
        self.reader_done = max(self.reader_done, self.reader_at)
        self.reader_saw.clear()

    def check_done(self, done):
        """The durable consumer says that it is at the end: then all that is
        there was acknowledged by those who work on it."""
        self.done = {each for each in self.done if each >= self.floor}
        self.done.update(done)
        for sequence, key, _ in self.messages:
            if sequence not in self.done:
                self.lost += 1
                self.complain(sequence, key, "was left out by the consumer")

    def _check_batches(self, heads, first_sequence):
        """Whole, and without anything between them; of one that was purged
        in part the rest."""
        due = None  # (sequence, key, size, at) of the next one
        for head in heads:
            sequence, (publisher, counter), size, at = head
            if due is None and at > 0 and sequence == first_sequence:
                pass
            elif head != due and (due is not None or at > 0):
                self.complain("of a batch", due, "is due, there is", head)
            due = (sequence + 1, (publisher, counter + 1), size,
                   at + 1) if at + 1 < size else None
        if due is not None:
            self.complain("a batch ends before", due)

    def before_purge(self, before):
        """All below will be purged, if the broker lives so long.  All that
        was published is answered, and the journals are known."""
        self.purging = before

    def after_purge(self):
        """It was answered."""
        self._forget_below(self.purging)

    def _forget_below(self, first_sequence):
        for sequence, (publisher, counter), topic in self.messages:
            if sequence < first_sequence:
                at = (publisher, topic)
                self.purged[at] = max(counter, self.purged.get(at, 0))
                self.expected.pop((publisher, counter), None)
        self.floor = self.purging = first_sequence
