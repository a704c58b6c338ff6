# SPDX-License-Identifier: MIT
"""Attacks by those who do nothing, or nearly nothing, at the wrong moment."""
import contextlib
import itertools
import os
import subprocess
import time
import unittest

from attack import (
    HELLO, Flood, attack, codec, flood, harness, publish, subscribe)

CLONE_NEWNET = 0x40000000
BIG_BODY = 8 * harness.MIB


def half_frames(target, count, before, data):
    """`count` connections that say this and nothing more.  A large part of a
    frame is sent as far as the broker takes it."""
    peers = []
    for number in range(count):
        peer = target.peer((target.tcp, target.unix)[number % 2],
                           hello=before)
        peer.sock.setblocking(False)
        peers.append(peer)
    target.begin()

    def once(_number):
        yield data
    flood(target, peers, once)


@attack("half a header", sheds=True)
def half_header(target):
    """Says the first six bytes of a HELLO and waits."""
    half_frames(target, target.scale(1000, 200), False, HELLO[:6])


@attack("half a HELLO", sheds=True)
def half_hello(target):
    """Says HELLO but for its last byte and waits."""
    half_frames(target, target.scale(1000, 200), False, HELLO[:-1])


@attack("nothing after HELLO", sheds=True, heartbeat_ms=1000)
def half_header_when_open(target):
    """Says HELLO, half a header of a PUBLISH, and waits."""
    half_frames(target, target.scale(1000, 200), True,
                publish(b"never", b"x")[:7])


@attack("half a body", sheds=True, heartbeat_ms=1000)
def half_body(target):
    """Announces messages of 8 MiB and says half of each: together less than
    the broker may use."""
    frame = publish(b"never", bytes(BIG_BODY))
    half_frames(target, 20, True, frame[:len(frame) // 2])


@attack("half a body, too many", sheds=True, heartbeat_ms=1000,
        warnings=["memory-tight"],
        weak="memory that unfinished frames hold is not taken back; the pair "
             "pays with its messages")
def half_body_too_many(target):
    """The same, together more than the broker may use."""
    frame = publish(b"never", bytes(BIG_BODY))
    half_frames(target, 80, True, frame[:len(frame) // 2])


@attack("byte after byte", sheds=True)
def byte_after_byte(target):
    """Says its HELLO one byte every 50 ms, on many connections."""
    peers = [target.peer(hello=False)
             for _ in range(target.scale(500, 100))]
    target.begin()
    for byte in HELLO:
        if not target.going():
            return
        for peer in peers:
            with contextlib.suppress(OSError):
                peer.sock.send(bytes([byte]))
        target.count("bytes", len(peers))
        target.pause(0.05)


@attack("never reads", sheds=True)
def never_reads(target):
    """Subscribes to everything, publishes as fast as it can, never reads."""
    peers = [target.peer(receive_buffer=4096) for _ in range(4)]
    for peer in peers:
        peer.send(subscribe(b"#", 1))
    target.begin()
    flood(target, peers, lambda number: itertools.repeat(
        publish(b"flood/%d" % number, bytes(1000)) * 200))


@attack("never reads, disconnect", warnings=["slow-consumer"])
def never_reads_disconnect(target):
    """The same with the policy that disconnects, and it comes again."""
    target.begin()
    while target.going():
        peers = [target.peer(receive_buffer=4096) for _ in range(4)]
        for peer in peers:
            peer.send(subscribe(b"#", 1, policy=codec.DISCONNECT))
        publisher = target.peer()
        flood(target, [publisher], limited(
            publish(b"flood", bytes(1000)) * 200, 200))
        target.count("rounds")
        for peer in peers:
            peer.abort()
        publisher.abort()
        target.kept.clear()


def limited(data, times):
    return lambda _number: itertools.repeat(data, times)


@attack("a byte a second")
def byte_a_second(target):
    """Subscribes to everything and reads one byte a second, while another
    connection publishes as fast as it can."""
    slow = [target.peer(receive_buffer=4096) for _ in range(10)]
    for peer in slow:
        peer.send(subscribe(b"#", 1))
    publisher = target.peer()
    target.begin()

    def pieces(_number):
        data = publish(b"flood", bytes(1000)) * 200
        at = time.monotonic()
        while True:
            yield data
            if time.monotonic() - at >= 1:
                at = time.monotonic()
                for peer in slow:
                    peer.sock.recv(1)
                    target.count("bytes read")
    flood(target, [publisher], pieces)


def block_everybody(target, slow, read):
    """Fills a queue whose overflow policy is to block the publishers."""
    slow.send(subscribe(b"#", 1, policy=codec.BLOCK))
    publisher = target.peer()
    target.begin()

    def pieces(_number):
        while True:
            yield publish(b"flood", bytes(1000)) * 200
    stream = Flood(target, [publisher], pieces)
    while target.going():
        stream.run_for(0.2)
        target.count("bytes read", read())


@attack("blocks, reads nothing", sheds=True, block_timeout_ms=1000)
def blocks(target):
    """Subscribes to everything with the policy that publishers wait, and
    does not read."""
    block_everybody(target, target.peer(receive_buffer=4096), lambda: 0)


@attack("blocks, reads slowly", block_timeout_ms=1000)
def blocks_slowly(target):
    """The same, and reads 100,000 bytes a second."""
    slow = target.peer(receive_buffer=65536)
    block_everybody(target, slow, lambda: len(slow.sock.recv(20000)))


# --- Vanishing without FIN ---------------------------------------------------


def command(*words):
    """Runs ip(8), or skips the attack with what it says."""
    try:
        subprocess.run(words, stdout=subprocess.DEVNULL,
                       stderr=subprocess.PIPE, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise unittest.SkipTest(
            "a network whose link can be dropped needs root and ip(8) (a "
            "stopped process is not the same: its kernel still answers). %s:"
            " %s" % (" ".join(words), getattr(error, "stderr", error))
        ) from None


class Link:
    """A network of its own that ends in a link to ours.  Its names and
    addresses come from the process that measures."""

    def __init__(self, owner):
        self.name = "rude%d" % owner
        self.inner = "in" + self.name
        number = owner % 16384 * 4  # four addresses for each
        self.outside, self.inside = (
            "10.213.%d.%d" % (number // 256, number % 256 + end)
            for end in (1, 2))

    def create(self):
        command("ip", "netns", "add", self.name)
        command("ip", "link", "add", self.name, "type", "veth", "peer",
                "name", self.inner, "netns", self.name)
        command("ip", "address", "add", self.outside + "/30", "dev",
                self.name)
        command("ip", "link", "set", self.name, "up")
        command("ip", "-n", self.name, "address", "add", self.inside + "/30",
                "dev", self.inner)

    def set(self, state):
        command("ip", "-n", self.name, "link", "set", self.inner, state)

    def enter(self):
        """This process is in that network from now on."""
        with open("/run/netns/" + self.name) as file:
            if harness.LIBC.setns(file.fileno(), CLONE_NEWNET) != 0:
                raise unittest.SkipTest("no other network without root")

    def remove(self):
        for words in (("link", "del", self.name),
                      ("netns", "del", self.name)):
            with contextlib.suppress(unittest.SkipTest):
                command("ip", *words)


@contextlib.contextmanager
def link_to_nowhere():
    """brokerd listens at this end of the link, too."""
    link = Link(os.getpid())
    try:
        link.create()
        yield {"listen": ["tcp://127.0.0.1:0",
                          "tcp://%s:0" % link.outside],
               "insecure_listen": "yes"}
    finally:
        link.remove()


@attack("vanishes", sheds=True, stage=link_to_nowhere, heartbeat_ms=1000)
def vanishes(target):
    """Subscribes to everything over a network whose link then goes down:
    no FIN, no RST, no answer."""
    link = Link(os.getppid())
    link.set("up")
    address = next(a for a in target.addresses if link.outside in a)
    before = os.open("/proc/self/ns/net", os.O_RDONLY)
    link.enter()
    peers = [target.peer(address) for _ in range(target.scale(100, 20))]
    for peer in peers:
        peer.send(subscribe(b"#", 1))
    harness.LIBC.setns(before, CLONE_NEWNET)
    target.begin()
    target.pause(0.1)
    link.set("down")
    target.hold()
