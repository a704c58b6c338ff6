#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A small client for brokerd, written from PROTOCOL.md and nothing else.

It is an example for whoever writes a client in another language, and the
independent half of the black-box tests: it shares no code and no table with
the C sources.  Python 3.9, standard library only.  The frames are in
wire_codec.py; here is one blocking connection, for use by one thread.
Numbers in comments are sections of PROTOCOL.md.

    broker_wire.py pub     ADDRESS TOPIC MESSAGE
    broker_wire.py sub     ADDRESS FILTER
    broker_wire.py request ADDRESS TOPIC MESSAGE
    broker_wire.py stats   ADDRESS
    broker_wire.py read    ADDRESS FILTER

What was stored in streams (5.13) and given by durable consumers (5.14) comes
out of next_event() like everything else: a Message knows its sequence, time
and number of deliveries then, and a Position with count 0 says that there is
nothing more for now.  Streams need `features=STREAMS` when connecting.
"""
import argparse
import collections
import json
import os
import select
import socket
import struct
import sys
import time
from dataclasses import dataclass

import wire_tls
from wire_codec import (
    AGAIN, AUTH_DATA, AUTH_METHOD, BURY, CRITICAL, DELAY_DEFAULT, DELIVER_AT,
    DRAIN, END, EXPECTED_LAST_SEQUENCE, KEY_VALUE, LEAVING, MAX_BODY, NAME,
    NO_RETAINED, REPLY_TO, RETAIN, RETAINED, RETRY, START_FIRST, STREAMS,
    SYNCED, THESE, TTL_MS, UP_TO, USER, Ack, Consume, ConsumeReply, Context,
    Error, Gap, Goaway, Hello, Nack, Ping, Pong, Position, ProtocolError,
    Puback, Publish, PublishBatch, Suback, Subscribe, Touch, Unsuback,
    Unsubscribe, Welcome, decode, need)

DEFAULT_PORT = 4655
DEFAULT_TLS_PORT = 4656


class Refused(Exception):
    """The broker answered with ERROR; `error` is the frame."""

    def __init__(self, error):
        super().__init__("%s (%d): %s" % (error.name, error.code, error.text))
        self.error = error
        self.name = error.name


class Closed(Exception):
    """The connection ended; `goaway` is the broker's GOAWAY, or None."""

    def __init__(self, goaway=None):
        super().__init__("connection closed: %s" % (
            "%s, %s" % (goaway.name, goaway.text) if goaway else "no GOAWAY"))
        self.goaway = goaway


@dataclass
class Message:
    """A delivered PUBLISH with the CONTEXT that it came under, and its
    place in the stream that it was read from, if it was."""
    frame: Publish
    subscriptions: tuple
    retained: bool
    sequence: int = 0
    time_ms: int = 0
    deliveries: int = 0
    topic = property(lambda self: self.frame.topic.decode())
    payload = property(lambda self: self.frame.payload)
    headers = property(lambda self: self.frame.headers)
    reply_to = property(lambda self: self.frame.reply_to)


def to_bytes(text):
    return text.encode() if isinstance(text, str) else bytes(text)


def publish_frame(topic, payload=b"", flags=0, reply_to=None, headers=(),
                  ttl_ms=None, deliver_at=None, expected_last=None):
    """A PUBLISH without a number (4.6)."""
    fields = []
    if reply_to is not None:
        fields.append((REPLY_TO | CRITICAL, to_bytes(reply_to)))
    for key, value in headers:
        key, value = to_bytes(key), to_bytes(value)
        fields.append((KEY_VALUE, struct.pack(">H", len(key)) + key + value))
    for tag, value in ((TTL_MS, ttl_ms), (DELIVER_AT, deliver_at),
                       (EXPECTED_LAST_SEQUENCE, expected_last)):
        if value is not None:
            fields.append((tag | CRITICAL, struct.pack(">Q", value)))
    return Publish(topic=to_bytes(topic), payload=to_bytes(payload),
                   flags=flags, fields=fields)


def credential_fields(credentials):
    """The fields of HELLO that say who the client is (5.10); none for
    None."""
    if credentials is None:
        return []
    return [(tag | CRITICAL, to_bytes(value)) for tag, value in zip(
        (USER, AUTH_METHOD, AUTH_DATA), credentials)]


def parse_tcp(address):
    """(host, port) of a tcp:// or tls:// address (2.2); IPv6 loses its
    brackets."""
    rest = address[len("tcp://"):]
    host, colon, port = rest.rpartition(":")
    if not colon or port.endswith("]"):
        host = rest
        port = DEFAULT_TLS_PORT if address[:3] == "tls" else DEFAULT_PORT
    return host.strip("[]"), int(port)


def open_socket(address, timeout=10.0, tls=None):
    """A connected socket for an address of section 2.2."""
    if address.startswith("unix://"):
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.settimeout(timeout)
        sock.connect(address[len("unix://"):])
        return sock
    if not address.startswith(("tcp://", "tls://")):
        raise ValueError("not an address: " + address)
    sock = socket.create_connection(parse_tcp(address), timeout)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return over_tls(sock, address, tls) if address[:3] == "tls" else sock


def over_tls(sock, address, tls=None):
    """TLS on a connected socket; BROKER_CA_FILE says whom to believe, if
    there is no context."""
    try:
        return wire_tls.TlsSocket(
            sock, tls or wire_tls.client_context(
                os.environ.get("BROKER_CA_FILE")), parse_tcp(address)[0])
    except Exception:
        sock.close()
        raise


class Connection:
    """One connection; every call blocks, at most `timeout` seconds.

    Whatever arrives while a call waits for its own answer is kept and comes
    out of next_event(), in order.  Answers that no call waits for (because
    the frame went out by send()) come out there, too.
    """

    def __init__(self, address, name="broker_wire.py", timeout=10.0,
                 hello=None, sock=None, credentials=None, **options):
        """Connects and says HELLO; options are members of Hello, and
        credentials are (user, method, secret), see 5.10."""
        self.timeout = timeout
        self.sock = sock or open_socket(address, timeout)
        self.sock.setblocking(False)
        self.buffer = bytearray()
        self.limit = MAX_BODY
        self.ended = False  # the peer has shut down its side
        self.goaway = None
        self.context = self.position = None
        self.inbox = collections.deque()
        self.waiting, self.answers = set(), {}
        self.last_number = self.last_subscription = self.last_ping = 0
        self.reply_prefix = self.reply_subscription = None
        self.welcome = None
        self.heard = time.monotonic()
        if hello is None:
            hello = Hello(id=1, fields=[(NAME, to_bytes(name))], **options)
            hello.fields += credential_fields(credentials)
        self.limit = hello.max_body_bytes
        self.welcome = self._call(hello)
        self.limit = self.welcome.max_body_bytes
        self.last_number = self.welcome.last_publish

    # Bytes and frames.

    def send(self, frame):
        self.send_bytes(frame.encode())

    def send_bytes(self, data):
        """Writes everything.  Reads meanwhile, so that two peers that wait
        for each other to read never block for good."""
        deadline = time.monotonic() + self.timeout
        view = memoryview(data)
        while view:
            reads = [] if self.ended else [self.sock]
            left = max(0, deadline - time.monotonic())
            readable, writable, _ = select.select(reads, [self.sock], [],
                                                  left)
            if not readable and not writable:
                raise TimeoutError("the broker takes no bytes")
            if readable:
                self._receive()
            if writable:
                try:
                    view = view[self.sock.send(view):]
                except BlockingIOError:
                    pass

    def _receive(self):
        try:
            data = self.sock.recv(262144)
        except BlockingIOError:
            return
        if not data:
            self.ended = True
        self.buffer += data
        self.heard = time.monotonic()

    def read_frame(self, timeout=None):
        """The next frame as it came; None at the end of the stream."""
        deadline = time.monotonic() + (self.timeout if timeout is None
                                       else timeout)
        while True:
            frame, used = decode(self.buffer, self.limit)
            del self.buffer[:used]
            if frame is not None:
                need("S" in frame.SENDER, frame.NAME, "UNEXPECTED_FRAME")
                return frame
            if used:
                continue
            if self.ended:
                need(not self.buffer, "end inside a frame")
                return None
            self._wait(deadline)

    def _wait(self, deadline):
        """Waits for bytes, and keeps up the heartbeat meanwhile (5.8)."""
        now = time.monotonic()
        if now >= deadline:
            raise TimeoutError("nothing from the broker in time")
        wait = deadline - now
        beat = self.welcome.heartbeat_ms / 1000 if self.welcome else None
        if beat:
            wait = min(wait, beat)
        if select.select([self.sock], [], [], wait)[0]:
            self._receive()
        elif beat and time.monotonic() - self.heard >= 3 * beat:
            raise Closed()
        elif beat and time.monotonic() - self.heard >= beat:
            self.send(Ping())

    # Dispatch.

    def _step(self, timeout):
        """Reads and dispatches one frame; raises Closed at the end."""
        frame = self.read_frame(timeout)
        if frame is None:
            raise Closed(self.goaway)
        if isinstance(frame, Pong):  # before Ping, of which it is a kind
            self._answer((Ping.TYPE, frame.id), frame)
        elif isinstance(frame, Ping):
            self.send(Pong(id=frame.id, data=frame.data))
        elif isinstance(frame, (Context, Publish, Gap, Position)):
            self._take_flow(frame)
        elif isinstance(frame, ConsumeReply):
            self._answer((Consume.TYPE, frame.id), frame)
        elif isinstance(frame, Puback):
            keys = [(kind, number) for kind, number in self.waiting
                    if kind in (Publish.TYPE, PublishBatch.TYPE)
                    and frame.covers(number)]
            self.answers.update((key, frame) for key in keys)
            if len(keys) < frame.count:
                self.inbox.append(frame)
        elif isinstance(frame, Suback):
            self._answer((Subscribe.TYPE, frame.id), frame)
        elif isinstance(frame, Unsuback):
            self._answer((Unsubscribe.TYPE, frame.id), frame)
        elif isinstance(frame, Welcome):
            need(self.welcome is None, "second WELCOME", "UNEXPECTED_FRAME")
            self._answer((Hello.TYPE, frame.id), frame)
        elif isinstance(frame, Error):
            self._answer((frame.refused_type, frame.id), frame)
        else:
            if isinstance(frame, Goaway):
                self.goaway = frame
            self.inbox.append(frame)

    def _take_flow(self, frame):
        """What messages and gaps consist of: these frames keep their order,
        and what a POSITION announces follows it directly (4.18)."""
        if isinstance(frame, Publish):
            need(self.context is not None, "PUBLISH without CONTEXT")
            message = Message(frame, self.context.subscriptions,
                              bool(self.context.flags & RETAINED))
            if self.position:
                self._place(message)
            self.inbox.append(message)
            return
        need(self.position is None, frame.NAME + " among those of a POSITION")
        if isinstance(frame, Context):
            self.context = frame
        elif isinstance(frame, Position) and frame.count:
            self.position = frame
        else:
            self.inbox.append(frame)

    def _place(self, message):
        """Gives a message its place in the stream, by the POSITION."""
        at = self.position
        need(message.subscriptions == (at.id,) and not message.retained,
             "POSITION and CONTEXT differ")
        message.sequence, message.time_ms = at.sequence, at.time_ms
        message.deliveries = at.deliveries
        at.sequence += 1
        at.count -= 1
        if at.count == 0:
            self.position = None

    def _answer(self, key, frame):
        if key in self.waiting:
            self.answers[key] = frame
        elif key != (Ping.TYPE, 0):  # the heartbeat's own
            self.inbox.append(frame)

    def _call(self, frame, key=None):
        """Sends a frame and waits for what answers it."""
        key = key or (frame.TYPE, frame.id)
        self.waiting.add(key)
        try:
            self.send(frame)
            return self._await(key)
        finally:
            self.waiting.discard(key)

    def _await(self, key):
        deadline = time.monotonic() + self.timeout
        while key not in self.answers:
            self._step(deadline - time.monotonic())
        answer = self.answers.pop(key)
        if isinstance(answer, Error):
            raise Refused(answer)
        return answer

    # What a program calls.

    def next_event(self, timeout=None):
        """The next Message, or Gap, Notice, Goaway, Error or late answer.

        Raises TimeoutError, or Closed after the last one.
        """
        deadline = time.monotonic() + (self.timeout if timeout is None
                                       else timeout)
        while not self.inbox:
            self._step(deadline - time.monotonic())
        return self.inbox.popleft()

    def next_number(self):
        self.last_number = self.last_number % 0xFFFFFFFF + 1
        return self.last_number

    def publish(self, topic, payload=b"", ack=True, retain=False, number=None,
                flags=0, **options):
        """Publishes; with `ack` waits for the PUBACK and returns it.

        `number` sends a publish of an earlier connection again (5.3); the
        options are those of publish_frame()."""
        if number is not None:
            flags |= RETRY
        frame = publish_frame(topic, payload,
                              flags | (RETAIN if retain else 0), **options)
        if ack or frame.reply_to is not None:
            frame.id = number or self.next_number()
            return self._call(frame)
        return self.send(frame)

    def publish_batch(self, messages, number=None, ack=True):
        """Stores all of them or none (4.15): frames, or (topic, payload)."""
        batch = PublishBatch(flags=0 if number is None else RETRY)
        batch.messages = [each if isinstance(each, Publish)
                          else publish_frame(*each) for each in messages]
        if not ack:
            return self.send(batch)
        batch.id = number or self.next_number()
        return self._call(batch)

    def subscribe(self, filter_text, group="", policy=0, no_retained=False):
        """Subscribes and waits for SUBACK, which it returns: .id is ours."""
        self.last_subscription += 1
        return self._call(Subscribe(
            id=self.last_subscription, filter=to_bytes(filter_text),
            group=to_bytes(group), policy=policy,
            options=NO_RETAINED if no_retained else 0))

    def consume(self, stream="", filter_text="", start=START_FIRST, value=0,
                end=False):
        """Reads a stream (5.13); returns CONSUME_REPLY: .id is ours."""
        self.last_subscription += 1
        return self._call(Consume(
            id=self.last_subscription, stream=to_bytes(stream),
            filter=to_bytes(filter_text), start=start, start_value=value,
            options=END if end else 0))

    def join(self, consumer, window=0):
        """Takes messages of a durable consumer (5.14); as consume()."""
        self.last_subscription += 1
        return self._call(Consume(id=self.last_subscription, window=window,
                                  consumer=to_bytes(consumer)))

    def acknowledge(self, subscription, first, last=None):
        """These of a durable consumer's messages are done (4.19)."""
        self.send(Ack(id=subscription, kind=THESE,
                      ranges=((first, last or first),)))

    def acknowledge_up_to(self, subscription, sequence):
        self.send(Ack(id=subscription, kind=UP_TO,
                      ranges=((sequence, sequence),)))

    def give_back(self, subscription, sequence, delay_ms=DELAY_DEFAULT):
        self.send(Nack(id=subscription, kind=AGAIN, delay_ms=delay_ms,
                       ranges=((sequence, sequence),)))

    def bury(self, subscription, sequence):
        self.send(Nack(id=subscription, kind=BURY,
                       ranges=((sequence, sequence),)))

    def touch(self, subscription, sequence):
        self.send(Touch(id=subscription, ranges=((sequence, sequence),)))

    def unsubscribe(self, subscription, drain=False):
        """Ends a subscription; returns UNSUBACK with its books."""
        return self._call(Unsubscribe(id=subscription,
                                      flags=DRAIN if drain else 0))

    def ping(self, data=b"barrier!"):
        """Returns when the broker has processed all that was sent before."""
        self.last_ping += 1
        answer = self._call(Ping(id=self.last_ping, data=data))
        need(answer.data == data, "PONG with other bytes")

    def request(self, topic, payload=b"", headers=()):
        """Publishes a request and returns the Message that answers it."""
        if self.reply_prefix is None:
            self.reply_prefix = "_inbox/" + os.urandom(8).hex()
            self.reply_subscription = self.subscribe(
                self.reply_prefix + "/+").id
        reply_to = "%s/%d" % (self.reply_prefix, self.last_number + 1)
        self.publish(topic, payload, reply_to=reply_to, headers=headers)
        deadline, checked = time.monotonic() + self.timeout, 0
        while True:
            for event in list(self.inbox)[checked:]:
                if isinstance(event, Message) and event.topic == reply_to:
                    self.inbox.remove(event)
                    return event
            checked = len(self.inbox)
            self._step(deadline - time.monotonic())

    def system(self, what, **options):
        """The broker's own answer to a request to $sys/<what>, parsed."""
        body = json.dumps(options) if options else ""
        return json.loads(self.request("$sys/" + what, body).payload)

    def stats(self):
        return self.system("stats")

    def shutdown_write(self):
        """Half-close (2): nothing more will be sent."""
        self.sock.shutdown(socket.SHUT_WR)

    def read_to_end(self, timeout=None):
        """All events until the broker closes its side."""
        events = []
        try:
            while True:
                events.append(self.next_event(timeout))
        except Closed:
            return events

    def close(self):
        """Leaves in an orderly way (2); returns the events that were left.

        With other subscriptions than that for replies, a client that made
        requests is kept for half_close_linger_ms, as after a half-close."""
        try:
            if self.reply_subscription is not None:
                self.unsubscribe(self.reply_subscription)
            self.send(Goaway(code=LEAVING))
            self.shutdown_write()
            return self.read_to_end()
        except (OSError, Closed):
            return []  # the broker was faster
        finally:
            self.sock.close()

    def abort(self):
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, failure, *_):
        if failure:
            self.abort()
        else:
            self.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("verb", choices=["pub", "sub", "request", "stats",
                                         "read"])
    parser.add_argument("address", help="tcp://host:port, tls://host:port or "
                        "unix:///path")
    parser.add_argument("topic", nargs="?", help="topic, or filter for sub and "
                        "read")
    parser.add_argument("message", nargs="?", default="")
    parser.add_argument("--retain", action="store_true")
    parser.add_argument("--group", default="", help="queue group, for sub")
    arguments = parser.parse_args()
    if arguments.verb != "stats" and not arguments.topic:
        parser.error("a topic is missing")
    with Connection(arguments.address, features=STREAMS) as connection:
        if arguments.verb == "stats":
            print(json.dumps(connection.stats(), indent=2))
        elif arguments.verb == "request":
            reply = connection.request(arguments.topic, arguments.message)
            print(reply.payload.decode(errors="replace"))
        elif arguments.verb == "pub":
            answer = connection.publish(arguments.topic, arguments.message,
                                        retain=arguments.retain)
            if answer.level == SYNCED:
                print("stored in", answer.stream, "as", answer.sequence)
            else:
                print("matched", answer.matched, "refused", answer.refused)
        else:
            if arguments.verb == "read":
                connection.consume(filter_text=arguments.topic)
            else:
                connection.subscribe(arguments.topic, arguments.group)
            while True:
                try:
                    event = connection.next_event(3600)
                except TimeoutError:
                    continue
                if isinstance(event, Message):
                    print(event.topic, event.payload.decode(errors="replace"),
                          flush=True)
                else:
                    print(event, file=sys.stderr)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        pass
    except (Refused, Closed, ProtocolError, OSError) as problem:
        sys.exit("broker_wire.py: %s" % problem)
