# SPDX-License-Identifier: MIT
"""What a broker finds in its store when it starts: after a clean stop, after
SIGKILL, beside another broker, and where it may not write.

PROTOCOL.md sections 4.2, 5.3, 5.5 and 5.13.
"""
import os
import pwd
import signal
import tempfile
import time
import unittest

import wire_codec as codec
from harness import Broker, numbered, publish_bulk
from stream_rig import StreamTest


class Restart(StreamTest):
    def both_ways(self):
        for kill in False, True:
            with self.subTest(kill=kill):
                yield kill

    def test_streams_and_messages(self):
        connection = self.connect()
        self.add(connection, max_messages=5000, max_bytes=1 << 30,
                 max_age_ms=3600000, discard="new")
        self.add(connection, "T", ["t/+", "u"])
        count = 0
        for kill in self.both_ways():
            publish_bulk(connection, "s/a", numbered(1000, start=count))
            connection.publish("u", "x%d" % count)
            count += 1000
            before = [self.info(connection, name) for name in "ST"]
            stored = self.read(connection)
            connection = self.restart(kill)
            self.assertEqual([self.info(connection, name) for name in "ST"],
                             before)
            after = self.read(connection)
            self.assertEqual(after.payloads, numbered(count))
            self.assertEqual(
                [(m.frame.encode(), m.sequence, m.time_ms)
                 for m in after.messages],
                [(m.frame.encode(), m.sequence, m.time_ms)
                 for m in stored.messages])
            self.assertEqual(connection.publish("t/x", "y").stream, "T")

    def test_sequences_go_on(self):
        connection = self.connect()
        self.add(connection)
        last = 0
        for kill in self.both_ways():
            for _ in range(3):
                last = connection.publish("s/a", "x").sequence
            connection = self.restart(kill)
            answer = connection.publish("s/a", "x", expected_last=last)
            self.assertGreater(answer.sequence, last)
            last = answer.sequence
            # Also when nothing of it is there any more.
            connection.system("stream/purge", name="S")
            connection = self.restart(kill)
            self.assertEqual(self.info(connection)["last_sequence"], last)
            last = connection.publish("s/a", "x",
                                      expected_last=last).sequence

    def test_what_was_trimmed_and_removed_stays_so(self):
        connection = self.connect()
        self.add(connection)
        self.add(connection, "gone", ["gone"])
        for kill in self.both_ways():
            publish_bulk(connection, "s/a", numbered(100))
            connection.publish("gone", "x")
            first = connection.system("stream/purge", name="S",
                                      keep=10)["first_sequence"]
            connection.system("stream/edit", name="S", topics=["s/#", "r"],
                              max_messages=50)
            connection.system("stream/remove", name="gone")
            connection = self.restart(kill)
            stream = self.info(connection)
            self.assertEqual((stream["first_sequence"], stream["messages"],
                              stream["topics"], stream["max_messages"]),
                             (first, 10, ["s/#", "r"], 50))
            self.assertEqual(self.read(connection).payloads,
                             numbered(10, start=90))
            self.assert_refused("UNKNOWN_STREAM", self.info, connection,
                                "gone")
            self.assertEqual(connection.publish("gone").level, codec.ROUTED)
            connection.system("stream/edit", name="S", topics=["s/#"])
            self.add(connection, "gone", ["gone"])
            self.assertEqual(self.info(connection, "gone")["messages"], 0)

    def test_a_reader_goes_on(self):
        connection = self.connect()
        self.add(connection)
        found = []
        for kill in self.both_ways():
            publish_bulk(connection, "s/a", numbered(100, start=len(found)))
            reading, _ = self.consume(
                connection, "S", start=codec.START_SEQUENCE,
                value=len(found) + 1)
            found += reading.take_messages(100).payloads
            connection = self.restart(kill)
        self.assertEqual(found, numbered(200))

    def test_a_larger_store(self):
        """Some of it in tables on disk, some in the journal."""
        connection = self.restart(store_memory_bytes=8 << 20)
        self.add(connection)
        count, size = 40000, 1000
        for start in range(0, count, 10000):
            publish_bulk(connection, "s/a", numbered(10000, size, start))
        for kill in True, False, True:
            connection = self.restart(kill, store_memory_bytes=8 << 20)
            self.assertEqual(self.read(connection).payloads,
                             numbered(count, size))

    def test_another_number_of_threads(self):
        connection = self.connect()
        self.add(connection)
        for threads in 4, 1, 2:
            connection.publish("s/a", "x")
            connection = self.restart(threads=threads)
        self.assertEqual(self.info(connection)["messages"], 3)


class Retries(StreamTest):
    """A publish that is sent again is stored once (5.3)."""

    SESSION = b"a test's session"

    def session(self, **options):
        return self.connect(session=self.SESSION, **options)

    def assert_duplicate(self, answer):
        self.assertEqual((answer.level, answer.flags, answer.matched,
                          answer.fields),
                         (codec.SYNCED, codec.DUPLICATE, 0, []))

    def test_what_was_stored(self):
        self.add(self.session())
        for way in "reconnect", "stop", "kill":
            with self.subTest(way=way):
                connection = self.session()
                connection.publish("s/a", way)
                number = connection.last_number
                connection.publish("plain", "x")
                connection.publish_batch([("s/b", "1"), ("s/b", "2")])
                batch = connection.last_number
                messages = self.info(connection)["messages"]
                connection.abort()
                if way != "reconnect":
                    self.restart(way == "kill")
                connection = self.session()
                connection.subscribe("s/#")
                self.assert_duplicate(connection.publish("s/a", way,
                                                         number=number))
                self.assert_duplicate(connection.publish_batch(
                    [("s/b", "1"), ("s/b", "2")], number=batch))
                self.assertEqual(self.info(connection)["messages"], messages)
                self.assert_silent(connection)
                # What is new goes on; it was not sent before.
                connection.last_number = batch
                answer = connection.publish("s/a", "new",
                                            number=connection.next_number())
                self.assertEqual((answer.flags, answer.level),
                                 (0, codec.SYNCED))
                connection.abort()

    def test_with_another_session_it_is_another_publish(self):
        connection = self.session()
        self.add(connection)
        connection.publish("s/a", "x", number=5)
        other = self.connect(session=b"another  session")
        self.assertEqual(other.publish("s/a", "x", number=5).sequence, 2)

    def test_a_number_is_not_looked_at_without_retry(self):
        connection = self.session()
        self.add(connection)
        for _ in range(2):
            answer = connection._call(codec.Publish(id=7, topic=b"s/a"))
            self.assertEqual(answer.flags, 0)
        self.assertEqual(self.info(connection)["messages"], 2)

    def test_what_was_refused_is_refused_again(self):
        """Though it could be stored now; in its place others were."""
        connection = self.session()
        self.add(connection, max_messages=2, discard="new")
        connection.publish("s/a", "1")
        self.assert_refused("WRONG_LAST_SEQUENCE", connection.publish, "s/a",
                            "x", expected_last=7)
        wrong = connection.last_number
        connection.publish("s/a", "2")
        for _ in range(2):
            self.assert_refused("STREAM_FULL", connection.publish, "s/a",
                                "x")
        full = connection.last_number
        connection.system("stream/purge", name="S", keep=1)
        connection.publish("s/a", "3")
        connection.abort()
        connection = self.session()
        last = connection.system("stream/purge", name="S")["last_sequence"]
        self.assert_refused("WRONG_LAST_SEQUENCE", connection.publish, "s/a",
                            "x", number=wrong, expected_last=last)
        for number in full - 1, full:
            self.assert_refused("STREAM_FULL", connection.publish, "s/a",
                                "x", number=number)
        self.assert_stored(connection, [])

    def test_many_in_flight(self):
        """All of what is unanswered, in order, some of it stored."""
        connection = self.session()
        self.add(connection)
        first = connection.last_number + 1
        connection.last_number += 1000
        frames = [codec.Publish(id=first + n, topic=b"s/a", payload=payload)
                  for n, payload in enumerate(numbered(1000))]
        connection.send_bytes(b"".join(f.encode() for f in frames[:600]))
        connection.ping()
        connection.abort()
        self.restart(kill=True)
        connection = self.session()
        for frame in frames:
            frame.flags = codec.RETRY
        connection.send_bytes(b"".join(f.encode() for f in frames))
        settled = {}
        while len(settled) < 1000:
            event = connection.next_event()
            for number in range(event.id - event.count + 1, event.id + 1):
                settled[number] = event.flags
        self.assertEqual([settled[number] for number in sorted(settled)],
                         [codec.DUPLICATE] * 600 + [0] * 400)
        self.assert_stored(connection, numbered(1000))

    def test_numbers_wrap(self):
        connection = self.session()
        self.add(connection)
        connection.last_number = 0xFFFFFFFD
        for n in range(5):
            connection.publish("s/a", str(n))
        self.assertEqual(connection.last_number, 3)
        self.restart(kill=True)
        connection = self.session()
        for number in 0xFFFFFFFE, 0xFFFFFFFF, 1, 2, 3:
            self.assert_duplicate(connection.publish("s/a", "x",
                                                     number=number))


class Later(StreamTest):
    """DELIVER_AT, and retained values."""

    def test_messages_that_are_due_later(self):
        for kill in False, True:
            with self.subTest(kill=kill):
                name, topic = "K%d" % kill, "k%d" % kill
                connection = self.connect()
                self.add(connection, name, [topic])
                soon = int(time.time() * 1000) + 700
                # Told in another order than they are due.
                for at in 5, 1, 4, 2, 3:
                    answer = connection.publish(
                        topic, str(at), deliver_at=soon + 30 * at)
                    self.assertEqual((answer.level, answer.sequence),
                                     (codec.SYNCED, None))
                connection = self.restart(kill)
                expected = [b"%d" % n for n in range(1, 6)]
                reading, _ = self.consume(connection, name)
                reading.take_messages(5)
                self.assertEqual(reading.payloads, expected)
                for n, message in enumerate(reading.messages, 1):
                    self.assertGreaterEqual(message.time_ms, soon + 30 * n)
                self.restart(kill)
                connection = self.connect()
                self.assert_stored(connection, expected, name)

    def test_sent_again_before_it_is_due(self):
        session = b"a test's session"
        connection = self.connect(session=session)
        self.add(connection)
        due = int(time.time() * 1000) + 4000
        connection.publish("s/a", "x", deliver_at=due)
        number = connection.last_number
        self.restart(kill=True)
        connection = self.connect(session=session)
        reading, _ = self.consume(connection, "S")
        connection.publish("s/a", "x", deliver_at=due, number=number)
        self.assertEqual(reading.take_messages(1).payloads, [b"x"])
        self.assert_stored(connection, [b"x"])

    def test_due_while_the_broker_is_down(self):
        connection = self.connect()
        self.add(connection)
        soon = int(time.time() * 1000) + 100
        connection.publish("s/a", "x", deliver_at=soon)
        connection = self.restart(kill=True)
        reading, _ = self.consume(connection, "S")
        self.assertEqual(reading.take_messages(1).payloads, [b"x"])

    def test_due_when_nothing_captures_it_any_more(self):
        connection = self.connect()
        self.add(connection)
        connection.publish("s/a", "x", deliver_at=int(time.time() * 1000)
                           + 400)
        connection.system("stream/remove", name="S")
        connection.subscribe("s/a")
        self.assertEqual(connection.next_event().payload, b"x")

    def test_retained_values(self):
        connection = self.connect()
        self.add(connection)
        topics = ["s/a", "plain/1", "plain/2", "s/b", "cleared"]
        for topic in topics:
            connection.publish(topic, "old", retain=True)
        for topic in topics[:-1]:
            connection.publish(topic, topic, retain=True)
        connection.publish("cleared", retain=True)
        for kill in False, True:
            with self.subTest(kill=kill):
                connection = self.restart(kill)
                answer = connection.subscribe("#")
                events = [connection.next_event()
                          for _ in range(answer.retained)]
                self.assertEqual([(e.topic, e.payload) for e in events],
                                 [(t, t.encode()) for t in topics[:-1]])


class Starting(StreamTest):
    def refused_start(self, **options):
        """The broker does not start; returns its log."""
        broker = Broker(**dict(self.options, **options))
        self.brokers.append(broker)
        self.assertNotEqual(broker.wait(), 0)
        self.brokers.remove(broker)
        log = broker.log()
        broker.destroy()
        broker.log_file.close()
        self.assertNotIn("ready", log)
        return log

    def test_two_brokers_on_one_store(self):
        connection = self.connect()
        self.add(connection)
        log = self.refused_start()
        self.assertIn("store-not-opened", log)
        self.assertRegex(log, "(?i)another|in use|held|lock")
        self.assertEqual(connection.publish("s/a", "x").sequence, 1)
        connection = self.restart(kill=True)
        self.assert_stored(connection, [b"x"])

    def test_a_directory_that_cannot_be(self):
        file = os.path.join(self.base, "file")
        with open(file, "w"):
            pass
        for path in file, file + "/store", self.base + "/no/such/store":
            log = self.refused_start(store=path)
            self.assertIn("store-not-opened", log)
            self.assertRegex(log, "(?i)directory|no such|not a")

    @unittest.skipIf(os.geteuid() != 0, "only root may become another user")
    def test_the_files_belong_to_the_user(self):
        user = pwd.getpwnam("nobody")
        os.chmod(self.base, 0o755)
        store = os.path.join(self.base, "theirs")
        os.mkdir(store)
        os.chown(store, user.pw_uid, user.pw_gid)
        folder = tempfile.mkdtemp(dir=self.base)
        os.chown(folder, user.pw_uid, user.pw_gid)
        for path in store, self.base + "/made":
            broker = self.start_broker(store=path, user="nobody",
                                       folder=folder)
            connection = self.connect(broker.tcp)
            connection.system("stream/add", name="S", topics=["s"])
            connection.publish("s", "x")
            names = os.listdir(path)
            self.assertTrue(names)
            for name in names + ([] if path == store else ["."]):
                status = os.stat(os.path.join(path, name))
                self.assertEqual((status.st_uid, status.st_gid),
                                 (user.pw_uid, user.pw_gid), name)
                self.assertEqual(status.st_mode & 0o077, 0, name)
            connection.abort()
            broker.signal(signal.SIGTERM)
            self.assertEqual(broker.wait(), 0)

    @unittest.skipIf(os.geteuid() != 0, "only root may become another user")
    def test_a_directory_that_is_not_the_users(self):
        os.chmod(self.base, 0o755)
        path = os.path.join(self.base, "roots")
        os.mkdir(path, 0o700)
        log = self.refused_start(store=path, user="nobody")
        self.assertIn("store-not-opened", log)
        self.assertRegex(log, "(?i)permission|permitted")


if __name__ == "__main__":
    unittest.main()
