# SPDX-License-Identifier: MIT
"""brokerctl store, on what a real brokerd has written."""
import fcntl
import hashlib
import json
import os
import random
import shutil
import struct
import subprocess
import threading
import unittest

import harness

COUNT = 300
BATCH_START = 4096
# How many of the bytes of a store are damaged, one after the other; a run by
# hand takes more.
SAMPLES = int(os.environ.get("BROKER_STORE_SAMPLES", "40"))


def contents(folder):
    """Everything that a program that only reads leaves as it is."""
    found = {}
    for name in sorted(os.listdir(folder)):
        path = os.path.join(folder, name)
        with open(path, "rb") as file:
            digest = hashlib.sha256(file.read()).hexdigest()
        status = os.stat(path)
        found[name] = (digest, status.st_mtime_ns, status.st_mode)
    found["."] = os.stat(folder).st_mtime_ns
    return found


def flip(path, offset, bits=0xff):
    with open(path, "r+b") as file:
        file.seek(offset)
        byte = file.read(1)
        file.seek(offset)
        file.write(bytes([byte[0] ^ bits]))


def find(path, data):
    with open(path, "rb") as file:
        return file.read().index(data)


class Store(harness.CtlTest):
    def setUp(self):
        super().setUp()
        self.store = self.path("store")

    def start_broker(self, **options):
        self.running = self.broker(store=self.store, **options)
        self.server = self.running.tcp

    def kill(self):
        self.running.process.process.kill()
        self.running.process.process.wait()

    def fill(self, count=COUNT):
        self.expect(harness.OK, "stream", "add", "-s", self.server, "ORDERS",
                    "--topics", "orders/#")
        self.expect(harness.OK, "stream", "add", "-s", self.server, "OTHER",
                    "--topics", "other")
        self.publish("orders/new", range(1, count + 1))
        self.expect(harness.OK, "pub", "-s", self.server, "other",
                    "-H", "colour=blue", "--stdin", stdin=b"\xff\x00binary")

    def publish(self, topic, numbers):
        lines = b"".join(b"payload-%06d\n" % n for n in numbers)
        self.expect(harness.OK, "pub", "-s", self.server, topic, "--lines",
                    stdin=lines)

    def dead(self, count=COUNT):
        """All of it is in the journal."""
        self.start_broker()
        self.fill(count)
        self.kill()

    def stopped(self, count=COUNT):
        """All of it is in the tables."""
        self.start_broker()
        self.fill(count)
        self.running.stop()

    def tool(self, action, *arguments, code=harness.OK):
        return self.expect(code, "store", action, self.store, *arguments)

    def stat(self, code=harness.OK):
        return json.loads(self.tool("stat", "--json", code=code).out)

    def verify(self, code=harness.OK):
        """What was found, and the sum."""
        result = self.tool("verify", "-j", code=code)
        *found, total = [json.loads(line)
                         for line in result.out.decode().splitlines()]
        return found, total

    def journal(self):
        """The file that has batches."""
        for name in sorted(os.listdir(self.store)):
            path = os.path.join(self.store, name)
            if name.startswith("journal-") and "." not in name:
                with open(path, "rb") as file:
                    file.seek(BATCH_START)
                    if file.read(4) == b"JBAT":
                        return path
        raise AssertionError("no batches")

    def tables(self):
        return os.path.join(self.store, "tables.mdb")

    def batches(self):
        """(offset, bytes) of each batch of the journal."""
        found, at, last = [], BATCH_START, 0
        with open(self.journal(), "rb") as file:
            data = file.read()
        while data[at:at + 4] == b"JBAT":
            number, size = struct.unpack(">QI", data[at + 16:at + 28])
            if number <= last:
                break
            last = number
            found.append((at, 40 + size))
            at += (40 + size + 7) & ~7
        return found

    def check_everything(self):
        expected = b"".join(b"payload-%06d\n" % n
                            for n in range(1, COUNT + 1))
        self.assertEqual(self.tool("cat", "ORDERS").out, expected)
        found, total = self.verify()
        self.assertEqual(found, [])
        self.assertTrue(total["good"])
        self.assertEqual(total["streams"], 2)
        self.assertEqual(total["messages"], COUNT + 1)
        stat = self.stat()
        orders, other = stat["streams"]
        self.assertEqual(orders["name"], "ORDERS")
        self.assertEqual(orders["messages"], COUNT)
        self.assertEqual(orders["first_sequence"], 1)
        self.assertEqual(orders["last_sequence"], COUNT)
        self.assertEqual(orders["bytes"] + other["bytes"], total["bytes"])
        self.assertGreater(orders["last_time_ms"], 1700000000000)
        self.assertEqual(stat["format"], 1)
        self.assertEqual(other["messages"], 1)
        return stat

    # ---- what is there ----------------------------------------------------

    def test_after_kill(self):
        self.dead()
        before = contents(self.store)
        stat = self.check_everything()
        self.assertFalse(stat["in_use"])
        self.assertEqual(stat["tables"]["last_commit"], 0)
        self.assertEqual(stat["journal"]["first_commit"], 1)
        self.assertEqual(stat["journal"]["batches"],
                         stat["journal"]["last_commit"])
        self.assertEqual(stat["values"][0]["set_in_journal"], 2)
        self.assertGreater(stat["publishers"]["journal"], 0)
        self.assertEqual(contents(self.store), before, "nothing was written")

    def test_after_an_orderly_end(self):
        self.stopped()
        os.unlink(self.tables() + "-lock")
        before = contents(self.store)
        stat = self.check_everything()
        self.assertGreater(stat["tables"]["last_commit"], 0)
        self.assertEqual(stat["journal"]["batches"], 0)
        self.assertEqual(stat["values"][0]["values"], 2)
        self.assertGreater(stat["publishers"]["tables"], 0)
        self.assertEqual(contents(self.store), before, "nothing was written")

    def test_with_the_broker_running(self):
        self.start_broker()
        self.fill()
        stat = self.check_everything()
        self.assertTrue(stat["in_use"])
        # One store in the tables and one in the journal.
        self.running.stop()
        self.start_broker()
        self.publish("orders/new", range(COUNT + 1, COUNT + 11))
        self.assertEqual(self.stat()["streams"][0]["messages"], COUNT + 10)
        lines = self.tool("cat", "ORDERS").out.splitlines()
        self.assertEqual(lines[-1], b"payload-%06d" % (COUNT + 10))
        self.assertEqual(len(lines), COUNT + 10)

    def test_while_it_is_written(self):
        """What is just being written is no damage; nothing comes twice."""
        self.start_broker(store_memory_bytes=8 << 20)
        self.fill()
        writer = self.start("pub", "-s", self.server, "orders/new", "--lines",
                            stdin=subprocess.PIPE)
        rounds = threading.Semaphore(0)  # None is written without
        stop = []

        def write():
            try:
                while rounds.acquire() and not stop:
                    for _ in range(20):
                        writer.stdin.write((b"x" * 3000 + b"\n") * 50)
                        writer.stdin.flush()
            except (BrokenPipeError, ValueError):
                pass

        thread = threading.Thread(target=write, daemon=True)
        thread.start()
        try:
            commits = set()
            while len(commits) < 6 or not \
                    self.stat()["tables"]["last_commit"]:
                rounds.release()
                found, total = self.verify()
                self.assertEqual(found, [])
                commits.add(total["last_commit"])
                rounds.release()
                numbers = self.tool("cat", "ORDERS", "-F", "%Q\n").out.split()
                self.assertEqual(len(numbers), int(numbers[-1]))
                first = self.tool("cat", "ORDERS", "-n", str(COUNT)).out
                self.assertEqual(first, self.lost())
        finally:
            stop.append(True)
            rounds.release()
            writer.process.kill()
            thread.join(harness.DEADLINE)

    def test_trim_and_remove_in_the_journal(self):
        self.stopped()
        self.start_broker()
        self.expect(harness.OK, "stream", "purge", "-s", self.server,
                    "ORDERS", "--before", "101")
        self.expect(harness.OK, "stream", "rm", "-s", self.server, "OTHER",
                    "--yes")
        size = json.loads(self.expect(
            harness.OK, "stream", "info", "-s", self.server, "ORDERS",
            "-j").out)["bytes"]
        self.kill()
        (orders,) = self.stat()["streams"]
        self.assertEqual(orders["messages"], COUNT - 100)
        self.assertEqual(orders["first_sequence"], 101)
        self.assertEqual(orders["bytes"], size)
        lines = self.tool("export").out.splitlines()
        self.assertEqual(json.loads(lines[0])["sequence"], 101)
        self.assertEqual(len(lines), COUNT - 100)

    # ---- cat and export ---------------------------------------------------

    def test_cat(self):
        self.stopped()
        self.assertEqual(self.tool("cat", "ORDERS", "--from", "299").out,
                         b"payload-000299\npayload-000300\n")
        self.assertEqual(
            self.tool("cat", "ORDERS", "--from", "seq:7", "-n", "2",
                      "-F", "%t %p;").out,
            b"orders/new payload-000007;orders/new payload-000008;")
        message = json.loads(self.tool("cat", "OTHER", "--json").out)
        self.assertEqual(message["headers"],
                         [{"key": "colour", "value": "blue"}])
        self.assertEqual(message["payload_base64"], "/wBiaW5hcnk=")
        self.assertEqual(message["sequence"], 1)
        self.assertRegex(message["time"], r"^20\d\d-.*Z$")

    def test_cat_is_as_sub(self):
        self.start_broker()
        self.fill()
        for shape in (["--json"], ["-T"], ["--headers"], ["--raw"]):
            ours = self.tool("cat", "ORDERS", *shape).out
            theirs = self.expect(
                harness.OK, "sub", "-s", self.server, "--stream", "ORDERS",
                "--until-end", *shape).out
            self.assertEqual(ours, theirs)

    def test_export(self):
        self.stopped()
        lines = [json.loads(line) for line in
                 self.tool("export", "--jsonl").out.splitlines()]
        self.assertEqual(len(lines), COUNT + 1)
        self.assertEqual([line["stream"] for line in lines],
                         ["ORDERS"] * COUNT + ["OTHER"])
        (line,) = self.tool("export", "OTHER").out.splitlines()
        self.assertEqual(json.loads(line), lines[-1])

    # ---- damage -----------------------------------------------------------

    def lost(self, *missing):
        return b"".join(b"payload-%06d\n" % n for n in range(1, COUNT + 1)
                        if n not in missing)

    def check_one_lost(self, path, number):
        flip(path, find(path, b"payload-%06d" % number) + 3)
        before = contents(self.store)
        found, total = self.verify(harness.FAILED)
        self.assertFalse(total["good"])
        named = [damage for damage in found if damage.get("stream") == "ORDERS"
                 and damage["first_sequence"] == number]
        self.assertEqual(len(named), 1, found)
        self.assertEqual(named[0]["last_sequence"], number)
        self.assertEqual(named[0]["file"], os.path.basename(path))
        text = self.tool("verify", code=harness.FAILED).out.decode()
        self.assertIn("stream ORDERS, %d: " % number, text)
        result = self.tool("cat", "ORDERS", code=harness.GAP)
        self.assertEqual(result.out, self.lost(number))
        self.assertIn("stream ORDERS, %d to %d: " % (number, number),
                      result.err)
        gaps = [line for line in map(json.loads, self.tool(
            "export", code=harness.GAP).out.splitlines()) if "gap" in line]
        self.assertEqual(gaps, [{"stream": "ORDERS", "gap": 1,
                                 "first_sequence": number,
                                 "last_sequence": number,
                                 "reason": "damaged"}])
        self.assertEqual(self.tool("cat", "OTHER", "--raw").out
                         if path == self.tables() else b"\xff\x00binary",
                         b"\xff\x00binary")
        self.assertEqual(contents(self.store), before, "nothing was written")

    def test_a_damaged_record_of_the_journal(self):
        self.dead()
        self.check_one_lost(self.journal(), 77)

    def test_a_damaged_record_of_the_tables(self):
        self.stopped()
        self.check_one_lost(self.tables(), 77)

    def test_what_the_broker_lost_before_is_told_apart(self):
        self.dead()
        path = self.journal()
        flip(path, find(path, b"payload-000077") + 3)
        self.start_broker()
        self.running.stop()
        found, total = self.verify()
        self.assertTrue(total["good"])
        self.assertEqual(total["lost_before"], 1)
        self.assertEqual(total["set_aside"], 1)
        self.assertEqual(sorted(one["found"] for one in found),
                         ["aside", "lost"])
        self.assertEqual(self.tool("cat", "ORDERS", code=harness.GAP).out,
                         self.lost(77))

    def test_a_page_of_the_tables(self):
        """What is on other pages is still there; the process lives."""
        self.stopped(20000)
        self.unlink_journal()
        whole = self.tool("cat", "ORDERS").out.splitlines()
        size = os.path.getsize(self.tables())
        shutil.copy(self.tables(), self.path("copy"))
        lost_some = 0
        for page in range(2, size // 4096, size // 4096 // 40):
            shutil.copy(self.path("copy"), self.tables())
            with open(self.tables(), "r+b") as file:
                file.seek(page * 4096)
                file.write(b"\xa5" * 64)
            result = self.ctl("store", "verify", self.store)
            self.assertIn(result.code, (harness.OK, harness.FAILED), result)
            printed = self.ctl("store", "cat", self.store, "ORDERS")
            lines = printed.out.splitlines()
            if lines != whole:
                self.assertEqual(result.code, harness.FAILED, page)
                self.assertNotEqual(printed.code, harness.OK, page)
            lost_some += 0 < len(lines) < len(whole)
        self.assertGreater(lost_some, 5)

    def unlink_journal(self, but=None):
        """32 MiB of zeros take long to read."""
        for name in os.listdir(self.store):
            unused = os.path.join(self.store, name)
            if name.startswith("journal-") and unused != but:
                os.unlink(unused)

    def check_survives(self, path, offsets):
        self.unlink_journal(path)
        with open(path, "rb") as file:
            original = file.read()
        damaged = 0
        for offset in offsets:
            data = bytearray(original)
            data[offset] ^= random.choice((0xff, 1, 0x80))
            self.write_whole(path, data)
            damaged += self.run_on_damaged("offset %d" % offset)
        for size in random.sample(range(len(original)), SAMPLES // 5):
            self.write_whole(path, original[:size])
            self.run_on_damaged("size %d" % size)
        self.write_whole(path, original)
        return damaged

    @staticmethod
    def write_whole(path, data):
        with open(path, "wb") as file:
            file.write(data)

    def run_on_damaged(self, what):
        """True: verify has seen it. It never says "good" where a message is
        not as it was."""
        result = self.ctl("store", "verify", self.store)
        self.assertIn(result.code, (harness.OK, harness.FAILED,
                                    harness.NO_INPUT), (what, result))
        for words in (["cat", self.store, "ORDERS"], ["export", self.store],
                      ["stat", self.store]):
            other = self.ctl("store", *words)
            self.assertIn(other.code, (harness.OK, harness.FAILED, harness.GAP,
                                       harness.NO_INPUT), (what, other))
            self.assertNotIn("Sanitizer", other.err, what)
            if words[0] == "cat" and other.code == harness.OK and \
                    result.code == harness.OK and \
                    "note " not in result.out.decode():
                self.assertEqual(other.out, self.lost(), what)
        self.assertNotIn("Sanitizer", result.err, what)
        return result.code != harness.OK

    def test_any_byte_of_the_tables(self):
        self.stopped()
        random.seed(5)
        size = os.path.getsize(self.tables())
        seen = self.check_survives(
            self.tables(), random.sample(range(size), SAMPLES))
        self.assertGreater(seen, SAMPLES // 10)

    def test_any_byte_of_the_journal(self):
        self.dead()
        random.seed(6)
        path = self.journal()
        batches = self.batches()
        end = sum(batches[-1])
        # A small file: one of 32 MiB takes long to write so often.
        with open(path, "r+b") as file:
            file.truncate(end + 4096)
        seen = self.check_survives(path, random.sample(range(end), SAMPLES))
        self.assertGreater(seen, SAMPLES // 4)

    def test_a_lost_definition(self):
        self.stopped()
        # In the tables a definition has its state behind the name.
        with open(self.tables(), "rb") as file:
            data = file.read()
        at = -1
        while (at := data.find(b"ORDERS", at + 1)) >= 0:
            flip(self.tables(), at)
        stat = self.stat(code=harness.FAILED)
        names = [stream["name"] for stream in stat["streams"]]
        self.assertIn("recovered-1", names)
        self.assertEqual(
            self.tool("cat", "recovered-1", code=harness.GAP).out, self.lost())

    def test_the_last_batch_is_not_whole(self):
        self.dead()
        at, size = self.batches()[-1]
        flip(self.journal(), at + size - 2)
        found, total = self.verify()
        self.assertTrue(total["good"])
        self.assertTrue(total["torn_tail"])
        self.assertIn("not whole", self.tool("verify").out.decode())

    def test_a_lost_batch(self):
        self.start_broker()
        self.fill(10)
        for n in range(11, 14):
            self.publish("orders/new", [n])
        self.kill()
        at, _ = self.batches()[-2]
        for offset in range(at, at + 40):
            flip(self.journal(), offset)
        found, total = self.verify(harness.FAILED)
        self.assertGreater(total["damage"], 0)
        result = self.tool("cat", "ORDERS", code=harness.GAP)
        self.assertEqual(result.out.splitlines()[-1], b"payload-000013")

    # ---- what cannot be read ----------------------------------------------

    def test_no_store(self):
        os.mkdir(self.store)
        for action in ("stat", "verify", "export"):
            result = self.tool(action, code=harness.NO_INPUT)
            self.assertIn("no store", result.err)
            self.assertIn("--store", result.err)
        self.assertEqual(os.listdir(self.store), [])
        self.store = self.path("nothing")
        self.assertIn("No such file",
                      self.tool("verify", code=harness.NO_INPUT).err)
        self.store = self.write("file", b"")
        self.assertIn("Not a directory",
                      self.tool("verify", code=harness.NO_INPUT).err)

    def test_a_later_version(self):
        self.dead()
        with open(self.journal(), "r+b") as file:
            head = bytearray(file.read(24))
            head[11] = 2
            file.seek(0)
            file.write(head + struct.pack(">I", crc32c(head)))
        result = self.tool("stat", code=harness.NO_INPUT)
        self.assertIn("later version", result.err)
        self.assertIn("brokerctl of that version", result.err)

    @unittest.skipIf(os.geteuid() == 0, "root may read everything")
    def test_no_permission(self):
        self.dead()
        os.chmod(self.journal(), 0)
        result = self.tool("verify", code=harness.NO_INPUT)
        self.assertIn("Permission denied", result.err)
        self.assertIn("user that brokerd runs as", result.err)

    def test_it_waits_for_nobody(self):
        """Who holds the lock does not keep it from reading."""
        self.dead()
        with open(os.path.join(self.store, "lock"), "rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            self.assertTrue(self.stat()["in_use"])

    # ---- the command line -------------------------------------------------

    def test_usage(self):
        for words, said in (
                (["store"], "too few arguments"),
                (["store", "vrify", "d"], 'did you mean "verify"'),
                (["store", "verify"], "too few arguments"),
                (["store", "verify", "d", "e"], "too many arguments"),
                (["store", "cat", "d"], "too few arguments"),
                (["store", "stat", "d", "-n", "3"], "takes no --count"),
                (["store", "cat", "d", "s", "--jsonl"], "takes no --jsonl"),
                (["store", "cat", "d", "s", "--from", "-1h"],
                 "sequence of a message")):
            self.assertIn(said, self.expect(harness.USAGE, *words).err)

    def test_no_such_stream(self):
        self.dead(1)
        result = self.tool("cat", "NOPE", code=harness.FAILED)
        self.assertIn("NOPE", result.err)
        self.assertIn("store stat", result.err)


def crc32c(data):
    value = 0xffffffff
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0x82f63b78 if value & 1 else 0)
    return value ^ 0xffffffff


if __name__ == "__main__":
    unittest.main()
