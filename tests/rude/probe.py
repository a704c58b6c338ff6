# SPDX-License-Identifier: MIT
"""The well-behaved pair: one publishes numbered messages at a modest fixed
rate, the other receives them, in a process of its own.

Latency is from just before send(2) to just after recv(2): the sender never
waits for the broker (what a socket does not take waits here, and that
counts), and what the machine does to this process before sending is not the
broker's doing.  The same is measured on the clock of the broker's own CPU
time: what a message waits on that clock it waits for the broker's work, and
not for a CPU that others have.  Every message has to come, in order, and to
be acknowledged.
"""
import array
import collections
import contextlib
import os
import select
import signal
import struct
import time

from attack import FORK, codec, harness

TOPIC = b"well-behaved/pair"
NUMBER = struct.Struct(">Q")


class Peer:
    """One connection that never blocks: bytes out wait in a buffer."""

    def __init__(self, address):
        self.raw = harness.RawPeer(address)
        self.raw.hello()
        self.sock = self.raw.sock
        self.sock.setblocking(False)
        self.out = bytearray()

    def write(self, data=b""):
        self.out += data
        try:
            del self.out[:self.sock.send(self.out)]
        except BlockingIOError:
            pass

    def frames(self):
        """What has come, but for NOTICE, and PING, which it answers."""
        try:
            data = self.sock.recv(262144)
        except BlockingIOError:
            return
        if not data:
            raise AssertionError("the broker closed the pair's connection")
        self.raw.buffer += data
        while True:
            frame, used = codec.decode(self.raw.buffer)
            del self.raw.buffer[:used]
            if frame is None:
                if not used:
                    return
            elif frame.TYPE == codec.Ping.TYPE:
                self.write(codec.Pong(id=frame.id, data=frame.data).encode())
            elif frame.TYPE != codec.Notice.TYPE:
                yield frame


class Pair:
    """Both of them, and the books of what they did."""

    def __init__(self, address, rate, pid, channel):
        self.channel = channel
        self.clock = ~pid << 3 | 2  # clock_getcpuclockid(3) of another
        self.interval = 1 / rate
        self.publisher, self.subscriber = Peer(address), Peer(address)
        self.subscriber.raw.sock.settimeout(harness.DEADLINE)
        self.subscriber.raw.send(codec.Subscribe(id=1, filter=TOPIC))
        if self.subscriber.raw.next_frame().NAME != "SUBACK":
            raise AssertionError("the pair may not subscribe")
        self.subscriber.sock.setblocking(False)
        self.sent, self.came = array.array("d"), array.array("d")
        self.sent_cpu, self.came_cpu = array.array("d"), array.array("d")
        self.acknowledged = 0

    def publish(self):
        number = len(self.sent)
        frame = codec.Publish(id=number + 1, topic=TOPIC,
                              payload=NUMBER.pack(number)).encode()
        self.sent_cpu.append(time.clock_gettime(self.clock))
        self.sent.append(time.monotonic())
        self.publisher.write(frame)

    def take_message(self, frame, now, now_cpu):
        if frame.NAME == "CONTEXT":
            return
        if frame.NAME != "PUBLISH":
            raise AssertionError("the pair's subscriber got %r" % (frame,))
        number = NUMBER.unpack(frame.payload)[0]
        if number != len(self.came):
            raise AssertionError("message %d came where %d was due" % (
                number, len(self.came)))
        self.came.append(now)
        self.came_cpu.append(now_cpu)

    def take_answer(self, frame):
        # Attackers may be subscribed, too, and have no room.
        if frame.NAME != "PUBACK" or frame.matched == frame.refused:
            raise AssertionError("the pair's publisher got %r" % (frame,))
        if frame.id - frame.count != self.acknowledged:
            raise AssertionError("acknowledged %d after %d" % (
                frame.id, self.acknowledged))
        self.acknowledged = frame.id

    def waits(self):
        """What to say of it beside a complaint."""
        longest = max((came - sent for sent, came in zip(
            self.sent, self.came)), default=0)
        waiting = (time.monotonic() - self.sent[len(self.came)]
                   if len(self.came) < len(self.sent) else 0)
        return "the longest wait was %.1f s, the next has lasted %.1f s" % (
            longest, waiting)

    def step(self, timeout):
        writes = [p.sock for p in (self.publisher, self.subscriber) if p.out]
        reads = [self.subscriber.sock, self.publisher.sock, self.channel]
        readable, writable, _ = select.select(reads, writes, [], timeout)
        if self.subscriber.sock in readable:
            frames = list(self.subscriber.frames())
            now, cpu = time.monotonic(), time.clock_gettime(self.clock)
            for frame in frames:
                self.take_message(frame, now, cpu)
        if self.publisher.sock in readable:
            for frame in self.publisher.frames():
                self.take_answer(frame)
        for peer in (self.publisher, self.subscriber):
            if peer.sock in writable:
                peer.write()
        return self.channel in readable

    def run(self):
        """Until the parent says something, and then to the last answer."""
        due = time.monotonic()
        while not self.step(max(0, due - time.monotonic())):
            if time.monotonic() >= due:
                self.publish()
                # After a pause of its own it does not make up for it.
                due = max(due + self.interval, time.monotonic())
        deadline = time.monotonic() + harness.DEADLINE
        self.channel.recv()
        while min(len(self.came), self.acknowledged) < len(self.sent):
            self.step(1)
            if time.monotonic() > deadline or self.channel.poll():
                raise AssertionError(
                    "of %d messages %d came and %d were acknowledged" % (
                        len(self.sent), len(self.came), self.acknowledged))


def run_in_child(address, rate, pid, channel):
    harness.LIBC.prctl(harness.PR_SET_PDEATHSIG, signal.SIGKILL)
    with contextlib.suppress(OSError):  # not everybody may
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    pair = None
    try:
        pair = Pair(address, rate, pid, channel)
        channel.send("ready")
        pair.run()
        channel.send([times.tobytes() for times in (
            pair.sent, pair.came, pair.sent_cpu, pair.came_cpu)])
        channel.recv()
    except (AssertionError, OSError, EOFError, codec.ProtocolError) as error:
        channel.send(AssertionError("the well-behaved pair: %s; %s" % (
            error, pair.waits() if pair else "no connection")))
    os._exit(0)


# In milliseconds; p99_cpu and worst_cpu are of the broker's CPU time.
Figures = collections.namedtuple(
    "Figures", "count p99 worst p99_cpu worst_cpu")


def percentile(ordered, share):
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


class Probe:
    """The pair, seen from the process that measures."""

    def __init__(self, address, pid, rate=500):
        self.channel, theirs = FORK.Pipe()
        self.process = FORK.Process(target=run_in_child,
                                    args=(address, rate, pid, theirs))
        self.process.start()
        theirs.close()
        self.sent, self.waits = [], []
        self._receive(harness.DEADLINE)

    def _receive(self, timeout):
        if not self.channel.poll(timeout):
            raise AssertionError("the well-behaved pair is stuck")
        try:
            answer = self.channel.recv()
        except EOFError:
            raise AssertionError("the well-behaved pair is gone") from None
        if isinstance(answer, Exception):
            raise answer
        return answer

    def check(self):
        """Raises what the pair complains of, if anything."""
        if self.channel.poll():
            self._receive(0)

    def finish(self):
        """The last message has come; the two are still connected.  Returns
        how many messages there were."""
        self.check()
        self.channel.send("finish")
        times = [array.array("d", data)
                 for data in self._receive(2 * harness.DEADLINE)]
        self.sent = times[0]
        self.waits = [((came - sent) * 1000, (came_cpu - sent_cpu) * 1000)
                      for sent, came, sent_cpu, came_cpu in zip(*times)]
        return len(self.sent)

    def figures(self, begin, end):
        """Of the messages sent between these times."""
        waits = [wait for sent, wait in zip(self.sent, self.waits)
                 if begin <= sent < end]
        if not waits:
            raise AssertionError("no messages in this time")
        elapsed, cpu = (sorted(kind) for kind in zip(*waits))
        return Figures(len(waits), percentile(elapsed, 0.99), elapsed[-1],
                       percentile(cpu, 0.99), cpu[-1])

    def destroy(self):
        if self.process.is_alive():
            self.process.kill()
        self.process.join()
        self.channel.close()
