# SPDX-License-Identifier: MIT
"""What a broker does when its disk is full, or fails.

PROTOCOL.md section 5.13, DISK_FULL and STORAGE.  A full disk is a small tmpfs,
which only root can mount; errors come from faults.so (tests/daemon/faults.h),
preloaded, whose path is in the environment variable FAULTS.
"""
import errno
import mmap
import os
import signal
import struct
import subprocess
import tempfile
import threading
import time
import unittest

import broker_wire
import wire_codec as codec
from harness import MEMORY_IS_MEASURABLE, MIB, numbered, wait_until
from stream_rig import StreamTest

FAULTS = os.environ.get("FAULTS")
AT_ONCE = 1.0 if MEMORY_IS_MEASURABLE else 30.0  # seconds


class Witnesses:
    """A subscriber and a reader, who go on whatever the disk does."""

    def __init__(self, test):
        self.subscriber, self.reader = test.connect(), test.connect()
        self.subscriber.subscribe("plain")
        self.test = test

    def check(self, publisher, expected):
        self.test.assertEqual(publisher.publish("plain", "x").matched, 1)
        self.test.assertEqual(self.subscriber.next_event().payload, b"x")
        self.test.assert_stored(self.reader, expected)


class Failures(StreamTest):
    def setUp(self):
        super().setUp()
        self.connection = self.connect()
        self.add(self.connection)
        self.stored = []

    def publish(self, size=8):
        """One more; what is acknowledged is expected for ever."""
        payload = numbered(1, size, len(self.stored))[0]
        self.connection.publish("s/a", payload)
        self.stored.append(payload)

    def assert_refused_at_once(self, code):
        """Each way to publish, and a second is enough for the answer."""
        for call, arguments in [
                (self.connection.publish, ("s/a", bytes(100))),
                (self.connection.publish_batch, ([("s/a", b"1"),
                                                  ("s/a", b"2")],))]:
            before = time.monotonic()
            error = self.assert_refused(code, call, *arguments)
            self.assertLess(time.monotonic() - before, AT_ONCE)
            self.assertTrue(error.text)
        self.connection.publish("s/a", "x", ack=False)
        self.connection.ping()
        error = self.connection.next_event()
        self.assertEqual((error.name, error.id), (code, 0))


def mount_small(path, size):
    """Whether a tmpfs is mounted there now."""
    return os.geteuid() == 0 and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=%d" % size, "none", path],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        check=False).returncode == 0


class DiskFull(Failures):
    options = {"store_memory_bytes": 8 * MIB, "store_reserve_bytes": 8 * MIB}
    BALLAST = 24 * MIB
    DISK = 112 * MIB

    def setUp(self):
        self.disk = tempfile.mkdtemp(prefix="brokerd-disk-")
        self.addCleanup(os.rmdir, self.disk)
        if not mount_small(self.disk, self.DISK):
            self.skipTest("only root can mount a small file system")
        self.addCleanup(subprocess.run, ["umount", "-l", self.disk],
                        check=False)
        self.ballast = os.path.join(self.disk, "ballast")
        with open(self.ballast, "wb") as file:
            file.write(bytes(self.BALLAST))
        super().setUp()

    def start_broker(self, **options):
        options["store"] = os.path.join(self.disk, "store")
        return super().start_broker(**options)

    def fill(self):
        """Until there is no space."""
        for _ in range(100000):
            try:
                self.publish(20000)
            except broker_wire.Refused as refused:
                self.assertEqual(refused.name, "DISK_FULL")
                self.assertEqual(refused.error.retry, 1)
                return
        self.fail("112 MiB took 2 GB")

    def publish_again(self):
        """True once there is space."""
        try:
            self.publish()
        except broker_wire.Refused as refused:
            self.assertEqual(refused.name, "DISK_FULL")
            return False
        return True

    def test_full_and_free_again(self):
        witnesses = Witnesses(self)
        self.fill()
        self.assert_refused_at_once("DISK_FULL")
        witnesses.check(self.connection, self.stored)
        stats = self.connection.stats()
        self.assertEqual((stats["store_no_space"], stats["store_failed"]),
                         (True, False))
        self.assertGreater(stats["store_refused_no_space"], 0)
        os.unlink(self.ballast)
        wait_until(self.publish_again, what="that it stores again")
        for _ in range(100):
            self.publish(1000)
        witnesses.check(self.connection, self.stored)
        self.assertFalse(self.connection.stats()["store_no_space"])

    def test_a_purge_gives_space_back(self):
        self.fill()
        stream = self.connection.system("stream/purge", name="S", keep=10)
        self.assertEqual(stream["messages"], 10)
        self.stored = self.stored[-10:]
        wait_until(self.publish_again, what="that it stores again")
        for _ in range(100):
            self.publish(20000)
        self.assert_stored(self.connection, self.stored)

    def test_a_broker_that_starts_on_a_full_disk(self):
        self.fill()
        for kill in True, False:
            self.connection = self.restart(kill)
            self.assert_stored(self.connection, self.stored)
        os.unlink(self.ballast)
        wait_until(self.publish_again, what="that it stores again")
        self.assert_stored(self.connection, self.stored)

    def test_publishers_in_a_crowd(self):
        """Each answer is an acknowledgement that holds, or a refusal."""
        accepted = [[] for _ in range(4)]
        refused = [0] * 4

        def publish(n):
            connection = self.connect()
            payloads = numbered(2000, 10000)
            first = connection.last_number + 1
            for at in range(0, len(payloads), 50):
                connection.send_bytes(b"".join(
                    codec.Publish(id=first + i, payload=payloads[i],
                                  topic=b"s/%d" % n).encode()
                    for i in range(at, at + 50)))
            answered = 0
            while answered < len(payloads):
                event = connection.next_event()
                if isinstance(event, codec.Error):
                    self.assertEqual(event.name, "DISK_FULL")
                    refused[n] += 1
                    answered += 1
                elif isinstance(event, codec.Puback):
                    answered += event.count
                    accepted[n] += [
                        payloads[number - first] for number in range(
                            event.id - event.count + 1, event.id + 1)]

        threads = [threading.Thread(target=publish, args=(n,))
                   for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertTrue(sum(refused))
        self.connection = self.restart(kill=True)
        messages = self.read(self.connection).messages
        for n, payloads in enumerate(accepted):
            self.assertEqual([each.payload for each in messages
                              if each.topic == "s/%d" % n], payloads)


@unittest.skipIf(not FAULTS, "there is no faults.so")
class Broken(Failures):
    # The last of struct faults.
    NAMES = ("sync_error", "write_error", "sync_ms")

    def setUp(self):
        self.file = tempfile.NamedTemporaryFile(prefix="brokerd-faults-")
        self.addCleanup(self.file.close)
        self.file.write(bytes(72))
        self.file.flush()
        self.map = mmap.mmap(self.file.fileno(), 72)
        self.addCleanup(self.map.close)
        super().setUp()

    def start_broker(self, **options):
        added = {"LD_PRELOAD": FAULTS, "BROKER_FAULTS": self.file.name}
        os.environ.update(added)
        try:
            return super().start_broker(**options)
        finally:
            for name in added:
                del os.environ[name]

    def order(self, name, error):
        struct.pack_into("=q", self.map, 48 + 8 * self.NAMES.index(name),
                         error)

    def check_failed(self, name):
        """From the first error on nothing is stored until a restart, also
        when the disk works again; the rest goes on."""
        witnesses = Witnesses(self)
        for _ in range(10):
            self.publish()
        self.order(name, errno.EIO)
        self.assert_refused_at_once("STORAGE")
        witnesses.check(self.connection, self.stored)
        self.order(name, 0)
        self.assert_refused_at_once("STORAGE")
        witnesses.check(self.connection, self.stored)
        stats = self.connection.stats()
        self.assertTrue(stats["store_failed"])
        self.assertTrue(stats["store_why"])
        self.assertRegex(self.broker.log(), r" error store[^\n]*(?i:journal)")
        for what in "edit", "purge", "remove":
            self.assert_refused("STORAGE", self.connection.system,
                                "stream/" + what, name="S",
                                **({"max_messages": 5} if what == "edit"
                                   else {}))

    def test_a_sync_fails(self):
        self.check_failed("sync_error")

    def test_a_write_fails(self):
        self.check_failed("write_error")

    def test_after_a_restart(self):
        for kill in True, False:
            with self.subTest(kill=kill):
                for _ in range(10):
                    self.publish()
                self.order("sync_error", errno.EIO)
                self.assert_refused("STORAGE", self.connection.publish,
                                    "s/a", "x")
                self.order("sync_error", 0)
                self.broker.signal(signal.SIGKILL if kill
                                   else signal.SIGTERM)
                self.broker.wait()
                self.brokers.remove(self.broker)
                self.broker.destroy()
                self.broker.log_file.close()
                self.broker = self.start_broker(**self.options)
                self.connection = self.connect()
                # What was refused may be there: it was written, and nobody
                # knows what the disk made of it.  Nothing else may.
                payloads = self.read(self.connection).payloads
                self.assertEqual([each for each in payloads if each != b"x"],
                                 self.stored)
                self.publish()

    def test_no_space_of_the_file_system(self):
        """ENOSPC from a write passes when there is space again."""
        for _ in range(10):
            self.publish()
        self.order("write_error", errno.ENOSPC)
        self.assert_refused_at_once("DISK_FULL")
        self.assert_stored(self.connection, self.stored)
        self.order("write_error", 0)

        def again():
            try:
                self.publish()
                return True
            except broker_wire.Refused as refused:
                self.assertEqual(refused.name, "DISK_FULL")
                return False

        wait_until(again, what="that it stores again")
        self.assert_stored(self.connection, self.stored)

    def test_a_stop_while_a_cursor_is_being_stored(self):
        """What was acknowledged since is stored as well."""
        self.connection.system("consumer/add", name="C", stream="S")
        for _ in range(5):
            self.publish()
        self.order("sync_ms", 500)
        connection = self.connect()
        subscription = connection.join("C").id
        for _ in range(5):
            connection.next_event()
        connection.acknowledge(subscription, 1, 5)
        connection.ping()
        self.connection = self.restart()
        self.order("sync_ms", 0)
        state = self.connection.system("consumer/info", name="C")
        self.assertEqual(state["floor"], 5)


if __name__ == "__main__":
    unittest.main()
