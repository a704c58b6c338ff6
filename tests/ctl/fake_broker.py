# SPDX-License-Identifier: MIT
"""A broker that lies, for what a real one never does.

Speaks just enough of PROTOCOL.md for one client that sends a request: WELCOME,
SUBACK, UNSUBACK, and a reply whose payload the test chooses.
"""
import socket
import struct
import threading

HELLO, WELCOME, ERROR, PING, PONG, GOAWAY = 1, 2, 4, 5, 6, 7
PUBLISH, PUBACK, SUBSCRIBE, SUBACK = 0x10, 0x11, 0x20, 0x21
UNSUBSCRIBE, UNSUBACK, CONTEXT = 0x22, 0x23, 0x24
REPLY_TO, USER, AUTH_METHOD, AUTH_DATA = 3, 8, 9, 10
STREAMS = 1  # a feature


def frame(kind, number, body, flags=0):
    return struct.pack(">IHHI", len(body), kind, flags, number) + body


def error(code, kind, number, error_class):
    return frame(ERROR, number, struct.pack(">HHBBH", code, kind, error_class,
                                            0, 0))


def fields_of(data):
    """[(tag without the critical bit, value)]"""
    found = []
    while data:
        tag, size = struct.unpack(">HH", data[:4])
        found.append((tag & 0x7FFF, data[4:4 + size]))
        data = data[4 + size:]
    return found


class FakeBroker:
    """Answers every request with `answer`, until close().

    With a `tls` context it speaks TLS. `user` is what WELCOME says; `refuses`
    is the code that it has for every HELLO; `revokes` ends each subscription as
    soon as it is made. The fields of each HELLO, the reply topics and the
    payloads of what is published are kept. `features` are those of WELCOME.
    """

    def __init__(self, answer, tls=None, user=None, refuses=0, revokes=False,
                 features=0):
        self.answer = answer
        self.tls = tls
        self.user = user
        self.refuses = refuses
        self.revokes = revokes
        self.features = features
        self.hellos = []
        self.reply_topics = []
        self.payloads = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = "%s://127.0.0.1:%d" % (
            "tls" if tls else "tcp", self.listener.getsockname()[1])
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join()

    def _serve(self):
        while True:
            try:
                peer, _ = self.listener.accept()
            except OSError:
                return
            try:
                if self.tls:
                    peer = self.tls.wrap_socket(peer, server_side=True)
                with peer, peer.makefile("rb") as stream:
                    self._talk(peer, stream)
            except OSError:
                peer.close()

    def _talk(self, peer, stream):
        while True:
            header = stream.read(12)
            if len(header) < 12:
                return
            length, kind, _, number = struct.unpack(">IHHI", header)
            body = stream.read(length)
            if kind == GOAWAY:
                return
            peer.sendall(self._answer_to(kind, number, body))

    def _answer_to(self, kind, number, body):
        if kind == HELLO:
            self.hellos.append(dict(fields_of(body[40:])))
            if self.refuses:
                return (error(self.refuses, HELLO, number, 3) +
                        frame(GOAWAY, 0, struct.pack(">HHI", self.refuses,
                                                     0, 0)))
            user = b"" if self.user is None else struct.pack(
                ">HH", USER, len(self.user)) + self.user
            return frame(WELCOME, number, struct.pack(
                ">B3xQIIIHHI", 1, self.features, 0xFFFFFF, 15000, 10000, 1024,
                64, 0) +
                body[24:40] + b"b" * 16 + user)
        if kind == SUBSCRIBE:
            self.subscription = number
            return frame(SUBACK, number, b"\1" + bytes(7)) + (
                error(205, SUBSCRIBE, number, 2) if self.revokes else b"")
        if kind == UNSUBSCRIBE:
            return frame(UNSUBACK, number, bytes(24))
        if kind == PING:
            return frame(PONG, number, body)
        if kind == PUBLISH:
            return self._published(number, body)
        return b""

    def _published(self, number, body):
        topic_len, fields_len = struct.unpack(">HH", body[:4])
        fields = dict(fields_of(body[4 + topic_len:4 + topic_len + fields_len]))
        self.payloads.append(body[4 + topic_len + fields_len:])
        puback = frame(PUBACK, number, struct.pack(">B3xIII", 1, 1, 1, 0))
        topic = fields.get(REPLY_TO)
        if topic is None:
            return puback if number else b""
        self.reply_topics.append(topic)
        return (puback +
                frame(CONTEXT, 0, struct.pack(">I", self.subscription)) +
                frame(PUBLISH, 0, struct.pack(">HH", len(topic), 0) +
                      topic + self.answer))
