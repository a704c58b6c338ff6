# SPDX-License-Identifier: MIT
"""What an attack on brokerd is: the table of them, and the process that one
runs in.

An attack is a function that is told its Target.  It prepares itself, calls
target.begin(), is as rude as it can while target.going(), and returns.  Its
sockets stay open until it is told to leave.  Knows nothing of what is
measured meanwhile; that is in scene.py.
"""
import contextlib
import importlib
import multiprocessing
import os
import random
import select
import signal
import sys
import time
import traceback
import unittest
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "wire"))

import harness  # noqa: E402 (found by the line above)
import wire_codec as codec  # noqa: E402

HELLO = codec.Hello(id=1).encode()
FORK = multiprocessing.get_context("fork")
ATTACKS = {}
# All that messages may take, and what answers take while they are made.
ALL_KEPT = 320 * harness.MIB
# The files with attacks, in the order of the table.
FILES = ("attacks_waiting", "attacks_flooding", "attacks_working",
         "attacks_connecting", "attacks_speaking")


@dataclass
class Attack:
    """One line of the table."""
    name: str
    function: Callable
    # Flags of the brokerd that it is for.
    options: dict = field(default_factory=dict)
    # The broker must get rid of the attacker's connections by itself, while
    # the attacker holds on to them.
    sheds: bool = False
    # A context manager around the broker's life: yields more flags, or
    # raises unittest.SkipTest.
    stage: Callable = None
    # Warnings in the log that belong to it, besides the usual ones.
    warnings: tuple = ()
    # So long it takes to get going when it is measured.
    least_seconds: float = 0.0
    # What the process may keep of freed memory, beyond what it had: the
    # allocator gives back to the system only what lies at its end, so after
    # an attack that fills queues this is any part of max_memory_bytes.
    kept_bytes: int = 64 * harness.MIB
    # A promise that is known not to be kept yet; the quick test goes on.
    weak: str = ""

    @property
    def what(self):
        return " ".join(self.function.__doc__.split())


def nothing_around():
    return contextlib.nullcontext({})


def attack(name, sheds=False, stage=nothing_around, warnings=(),
           least_seconds=0.0, kept_bytes=Attack.kept_bytes, weak="",
           **options):
    """Puts a function into the table."""
    def register(function):
        ATTACKS[name] = Attack(name, function, options, sheds, stage,
                               tuple(warnings), least_seconds, kept_bytes,
                               weak)
        return function
    return register


def all_attacks():
    """The whole table, by name."""
    for name in FILES:
        importlib.import_module(name)
    return ATTACKS


class Target:
    """The broker, as an attack sees it, and the way to be told to end."""

    def __init__(self, addresses, channel, short, seed):
        self.addresses = addresses
        self.channel = channel
        self.short = short
        self.random = random.Random(seed)
        self.counts = {}
        self.kept = []  # sockets and peers that live until the end

    @property
    def tcp(self):
        return next(a for a in self.addresses if a.startswith("tcp://"))

    @property
    def unix(self):
        return next(a for a in self.addresses if a.startswith("unix://"))

    def scale(self, long, short):
        """How much of it: for measuring, or for the quick test."""
        return short if self.short else long

    def count(self, what, number=1):
        self.counts[what] = self.counts.get(what, 0) + number

    def begin(self):
        """Prepared: wait for the start."""
        self.channel.send("prepared")
        self.channel.recv()

    def going(self):
        return not self.channel.poll()

    def hold(self):
        """Waits for the end."""
        self.channel.poll(None)

    def pause(self, seconds):
        """Waits so long, or for the end if that is sooner."""
        self.channel.poll(seconds)

    def keep(self, peer):
        self.kept.append(peer)
        return peer

    def peer(self, address=None, receive_buffer=None, hello=True, **options):
        """A peer that is connected and has its WELCOME."""
        peer = self.keep(harness.RawPeer(address or self.tcp,
                                         receive_buffer))
        if hello:
            peer.hello(**options)
        return peer


def subscribe(filter_text, number, group=b"", **options):
    return codec.Subscribe(id=number, filter=filter_text, group=group,
                           **options).encode()


def publish(topic, payload=b"", number=0, flags=0, fields=()):
    return codec.Publish(id=number, topic=topic, payload=payload,
                         flags=flags, fields=list(fields)).encode()


def ask(peer, *frames):
    """Sends and waits until the broker has dealt with all of it; answers
    before the PONG are thrown away."""
    peer.send(*frames, codec.Ping(id=77, data=b"barrier."))
    while True:
        frame = peer.next_frame()
        if frame is None:
            raise ConnectionError("closed by the broker")
        if isinstance(frame, codec.Pong) and frame.data == b"barrier.":
            return


class Flood:
    """Sends on many sockets as fast as they take it, and reads nothing
    unless `reads`.  `pieces` makes, for a socket's number, an iterator of
    bytes, or None for one that only reads."""

    def __init__(self, target, peers, pieces, reads=False):
        self.target = target
        self.reads = reads
        self.poll = select.poll()
        self.streams = {}
        for number, peer in enumerate(peers):
            peer.sock.setblocking(False)
            source = pieces(number)
            self.streams[peer.sock.fileno()] = [peer.sock, source,
                                                memoryview(b"")]
            self.poll.register(peer.sock, (select.POLLOUT if source else 0)
                               | (select.POLLIN if reads else 0))

    def run(self):
        while self.streams and self.target.going():
            self.turn()

    def run_for(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end and self.target.going():
            self.turn()

    def turn(self):
        for number, events in self.poll.poll(20):
            try:
                self.step(self.streams[number], events)
            except OSError:
                self.target.count("closed by the broker")
                self.forget(number)
            except StopIteration:
                if self.reads:
                    self.poll.modify(number, select.POLLIN)
                else:
                    self.forget(number)

    def step(self, stream, events):
        sock, pieces, rest = stream
        if events & select.POLLIN and not sock.recv(1 << 18):
            raise ConnectionError("closed by the broker")
        if events & select.POLLOUT:
            if not rest:
                rest = memoryview(next(pieces))
            with contextlib.suppress(BlockingIOError):
                sent = sock.send(rest)
                self.target.count("bytes", sent)
                rest = rest[sent:]
            stream[2] = rest
        elif events & (select.POLLERR | select.POLLHUP):
            raise ConnectionError("closed by the broker")

    def forget(self, number):
        self.poll.unregister(number)
        del self.streams[number]


def again_and_again(data):
    """The same bytes for every socket, without end."""
    def pieces(_number):
        while True:
            yield data
    return pieces


def flood(target, peers, pieces, reads=False):
    Flood(target, peers, pieces, reads).run()


# --- The process -------------------------------------------------------------


def run_in_child(attack_name, addresses, channel, short, seed):
    harness.LIBC.prctl(harness.PR_SET_PDEATHSIG, signal.SIGKILL)
    with contextlib.suppress(OSError):  # not everybody may
        os.nice(-5)
    target = Target(addresses, channel, short, seed)
    try:
        all_attacks()[attack_name].function(target)
        target.hold()
        channel.recv()
        channel.send(target.counts)
        channel.recv()
    except EOFError:
        pass
    except unittest.SkipTest as skip:
        channel.send(skip)
    except Exception:  # whatever it is, the parent shows it
        channel.send(AttackFailed(traceback.format_exc()))
        os._exit(1)
    os._exit(0)


class AttackFailed(Exception):
    """The attack itself did not work; the text is its traceback."""


class Attacker:
    """One attack under way, in a process of its own."""

    def __init__(self, name, addresses, short, seed):
        self.channel, theirs = FORK.Pipe()
        self.process = FORK.Process(target=run_in_child, args=(
            name, addresses, theirs, short, seed))
        self.process.start()
        theirs.close()
        self.counts = {}

    def expect(self, timeout):
        """What it says next."""
        deadline = time.monotonic() + timeout
        if not self.channel.poll(max(0, deadline - time.monotonic())):
            raise AttackFailed("the attack says nothing for %d s" % timeout)
        try:
            answer = self.channel.recv()
        except EOFError:
            raise AttackFailed("the attack's process ended") from None
        if isinstance(answer, Exception):
            raise answer
        return answer

    def wait_prepared(self):
        self.expect(harness.DEADLINE)

    def start(self):
        self.channel.send("start")

    def stop(self):
        """No more of it, but its sockets stay open."""
        self.channel.send("stop")
        self.counts = self.expect(harness.DEADLINE)

    def leave(self):
        """Its sockets close, in the way of a process that ends."""
        self.channel.send("leave")
        self.process.join(harness.DEADLINE)

    def destroy(self):
        if self.process.is_alive():
            self.process.kill()
        self.process.join()
        self.channel.close()
