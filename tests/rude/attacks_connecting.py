# SPDX-License-Identifier: MIT
"""Attacks with connections: many of them, or for no time at all."""
import contextlib
import resource
import select
import socket
import struct
import time

from attack import ALL_KEPT, HELLO, attack, codec, harness, publish, subscribe

WELCOME_BYTES_MIN = 12 + 64
# Descriptors that are left for other things, here and in the broker.
SPARE = 256


def descriptors_max():
    """As many as this process may have, from now on."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard - SPARE


def open_socket(address):
    """A connecting socket that does not block."""
    if address.startswith("unix://"):
        sock = socket.socket(socket.AF_UNIX)
        sock.setblocking(False)
        sock.connect(address[len("unix://"):])  # or BlockingIOError
    else:
        sock = socket.socket()
        sock.setblocking(False)
        sock.connect_ex(harness.broker_wire.parse_tcp(address))
    return sock


def open_many(target, count, first_bytes):
    """Opens so many, as fast as the system goes, and keeps them."""
    poll, opened = select.epoll(), {}
    try:
        for _ in range(count):
            if not target.going():
                break
            sock = target.keep(open_socket(target.tcp))
            opened[sock.fileno()] = sock
            poll.register(sock, select.EPOLLOUT)
            if len(opened) >= 500:
                say(target, poll, opened, first_bytes)
    except OSError:
        target.count("refused by the system")
    deadline = time.monotonic() + 10
    while opened and target.going() and time.monotonic() < deadline:
        say(target, poll, opened, first_bytes)


def say(target, poll, opened, first_bytes):
    """Those that are connected say their first bytes."""
    for number, events in poll.poll(0.1):
        sock = opened.pop(number)
        poll.unregister(number)
        with contextlib.suppress(OSError):
            if first_bytes:
                sock.send(first_bytes)
            target.count("connected" if events & select.EPOLLOUT
                         else "refused")


@attack("20,000 connections, silent", sheds=True, least_seconds=4.0)
def connections_silent(target):
    """Opens as many connections as there can be and says nothing."""
    count = min(20000, descriptors_max())
    target.begin()
    open_many(target, target.scale(count, 2000), b"")
    target.hold()


@attack("20,000 connections, open", least_seconds=4.0)
def connections_open(target):
    """Opens as many connections as there can be and says HELLO on each."""
    count = min(20000, descriptors_max())
    target.begin()
    open_many(target, target.scale(count, 2000), HELLO)
    target.hold()


@attack("20,000 subscribers", least_seconds=4.0, kept_bytes=ALL_KEPT)
def connections_subscribed(target):
    """The same; each subscribes to everything, and reads nothing."""
    count = min(20000, descriptors_max())
    target.begin()
    open_many(target, target.scale(count, 2000),
              HELLO + subscribe(b"#", 1))
    target.hold()


@attack("connections go at once")
def connections_go(target):
    """Opens 5,000 connections, then closes them all at once, over and
    over."""
    descriptors_max()
    target.begin()
    while target.going():
        open_many(target, target.scale(5000, 1000), HELLO)
        for sock in target.kept:
            sock.close()
        target.kept.clear()
        target.count("rounds")


def storm(target, visit):
    """Visits again and again, over TCP and the UNIX socket in turn."""
    target.begin()
    number = 0
    while target.going():
        address = (target.tcp, target.unix)[number % 2]
        with contextlib.suppress(OSError):
            sock = open_socket(address)
            with sock:
                with contextlib.suppress(OSError):
                    visit(sock, number)
            target.count("connections")
        number += 1


def reset_on_close(sock):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                    struct.pack("ii", 1, 0))


@attack("connect and close")
def connect_and_close(target):
    """Connects and closes at once, by FIN and by RST in turn."""
    def visit(sock, number):
        if number // 2 % 2:
            reset_on_close(sock)
    storm(target, visit)


@attack("HELLO and close", kept_bytes=ALL_KEPT)
def hello_and_close(target):
    """Connects, says HELLO, subscribes, publishes, and closes or resets
    without reading anything."""
    data = HELLO + subscribe(b"#", 1) + publish(b"hello/and/close", b"x", 1)

    def visit(sock, number):
        select.select([], [sock], [], 1)
        sock.send(data)
        if number // 2 % 2:
            reset_on_close(sock)
    storm(target, visit)


@attack("half-close storm", kept_bytes=ALL_KEPT)
def half_close_storm(target):
    """Says HELLO, subscribes, asks for what nobody answers, and shuts down
    its writing side: the broker waits for replies."""
    descriptors_max()

    def visit(sock, number):
        topic = b"half/%d/%d" % (target.random.getrandbits(32), number)
        data = HELLO + subscribe(topic, 1) + publish(
            topic, b"x", 1,
            fields=[(codec.REPLY_TO | codec.CRITICAL, topic)])
        kept = sock.dup()
        select.select([], [kept], [], 1)
        kept.send(data)
        kept.shutdown(socket.SHUT_WR)
        target.kept.append(kept)
        while len(target.kept) > 1000:
            target.kept.pop(0).close()
    storm(target, visit)


@attack("session taken")
def session_taken(target):
    """Many connections take the same session from one another."""
    data = codec.Hello(id=1, session=b"everybody's own!").encode()

    def visit(sock, number):
        kept = sock.dup()
        select.select([], [kept], [], 1)
        kept.send(data)
        target.kept.append(kept)
        while len(target.kept) > 200:
            target.kept.pop(0).close()
    storm(target, visit)


@attack("new sessions", max_sessions=1000)
def new_sessions(target):
    """Makes the broker remember a session with every connection."""
    def visit(sock, number):
        select.select([], [sock], [], 1)
        sock.send(codec.Hello(id=1, session=target.random.randbytes(
            16)).encode() + publish(b"nobody", b"x", 7))
        select.select([sock], [], [], 1)
    storm(target, visit)
