# SPDX-License-Identifier: MIT
"""A broker that lies, for what a real one never does.

Speaks just enough of PROTOCOL.md for one client that sends a request: WELCOME,
SUBACK, UNSUBACK, and a reply whose payload the test chooses.
"""
import socket
import struct
import threading

HELLO, WELCOME, PING, PONG, GOAWAY = 1, 2, 5, 6, 7
PUBLISH, PUBACK, SUBSCRIBE, SUBACK = 0x10, 0x11, 0x20, 0x21
UNSUBSCRIBE, UNSUBACK, CONTEXT = 0x22, 0x23, 0x24
REPLY_TO = 3


def frame(kind, number, body, flags=0):
    return struct.pack(">IHHI", len(body), kind, flags, number) + body


class FakeBroker:
    """Answers every request with `answer`, until close()."""

    def __init__(self, answer):
        self.answer = answer
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = "tcp://127.0.0.1:%d" % self.listener.getsockname()[1]
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
            with peer, peer.makefile("rb") as stream:
                try:
                    self._talk(peer, stream)
                except OSError:
                    pass

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
            return frame(WELCOME, number, struct.pack(
                ">B3xQIIIHHI", 1, 0, 0xFFFFFF, 15000, 10000, 1024, 64, 0) +
                body[24:40] + b"b" * 16)
        if kind == SUBSCRIBE:
            self.subscription = number
            return frame(SUBACK, number, b"\1" + bytes(7))
        if kind == UNSUBSCRIBE:
            return frame(UNSUBACK, number, bytes(24))
        if kind == PING:
            return frame(PONG, number, body)
        if kind == PUBLISH:
            topic = self._reply_topic(body)
            return (frame(PUBACK, number,
                          struct.pack(">B3xIII", 1, 1, 1, 0)) +
                    frame(CONTEXT, 0, struct.pack(">I", self.subscription)) +
                    frame(PUBLISH, 0, struct.pack(">HH", len(topic), 0) +
                          topic + self.answer))
        return b""

    @staticmethod
    def _reply_topic(body):
        topic_len, fields_len = struct.unpack(">HH", body[:4])
        fields = body[4 + topic_len:4 + topic_len + fields_len]
        while fields:
            tag, size = struct.unpack(">HH", fields[:4])
            if tag & 0x7FFF == REPLY_TO:
                return fields[4:4 + size]
            fields = fields[4 + size:]
        raise ValueError("no REPLY_TO")
