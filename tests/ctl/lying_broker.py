# SPDX-License-Identifier: MIT
"""A broker for `brokerctl bench` that does what no honest one does.

It has subscriptions and routes every message to all of them, whatever their
filters, over any number of connections.  Lies:

  "nothing"  none: to see that the tests find lies and nothing else
  "swallow"  every tenth message is not delivered, and nobody is told
  "twice"    every tenth message is delivered twice
  "books"    the books of a subscription have one message more
  "acks"     acknowledgements say that nobody was subscribed
  "silent"   nothing is acknowledged
"""
import socket
import struct
import threading

from fake_broker import (CONTEXT, GOAWAY, HELLO, PING, PONG, PUBACK, PUBLISH,
                         SUBACK, SUBSCRIBE, UNSUBACK, UNSUBSCRIBE, WELCOME,
                         frame)


class LyingBroker:
    def __init__(self, lie):
        self.lie = lie
        self.lock = threading.Lock()
        self.subscriptions = {}  # (peer, id): [matched, delivered]
        self.published = 0
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
            threading.Thread(target=self._talk, args=(peer,),
                             daemon=True).start()

    def _talk(self, peer):
        with peer, peer.makefile("rb") as stream:
            while True:
                try:
                    header = stream.read(12)
                    if len(header) < 12:
                        break
                    length, kind, _, number = struct.unpack(">IHHI", header)
                    body = stream.read(length)
                    if kind == GOAWAY:
                        break
                    with self.lock:
                        self._handle(peer, kind, number, header + body)
                except OSError:
                    break
        with self.lock:
            self.subscriptions = {key: books for key, books
                                  in self.subscriptions.items()
                                  if key[0] is not peer}

    def _handle(self, peer, kind, number, data):
        if kind == HELLO:
            peer.sendall(frame(WELCOME, number, struct.pack(
                ">B3xQIIIHHI", 1, 0, 0xFFFFFF, 15000, 10000, 1024, 64, 0) +
                data[36:52] + b"b" * 16))
        elif kind == PING:
            peer.sendall(frame(PONG, number, data[12:]))
        elif kind == SUBSCRIBE:
            self.subscriptions[(peer, number)] = 0
            peer.sendall(frame(SUBACK, number, b"\1" + bytes(7)))
        elif kind == UNSUBSCRIBE:
            matched = self.subscriptions.pop((peer, number))
            matched += self.lie == "books"
            peer.sendall(frame(UNSUBACK, number, struct.pack(
                ">QQQ", matched, matched, 0)))
        elif kind == PUBLISH:
            self._publish(peer, number, data)

    def _publish(self, peer, number, data):
        self.published += 1
        tenth = self.published % 10 == 0
        matched = len(self.subscriptions)
        if number != 0 and self.lie != "silent":
            peer.sendall(frame(PUBACK, number, struct.pack(
                ">B3xIII", 1, 1, 0 if self.lie == "acks" else matched, 0)))
        for key in self.subscriptions:
            self.subscriptions[key] += 1
            copies = 1
            if tenth and self.lie == "swallow":
                copies = 0
            elif tenth and self.lie == "twice":
                copies = 2
            for _ in range(copies):
                key[0].sendall(frame(CONTEXT, 0, struct.pack(">I", key[1])) +
                               data)
