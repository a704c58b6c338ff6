# SPDX-License-Identifier: MIT
"""TLS over a socket, for the client in Python.

A TlsSocket looks like a socket to select() and to those who read and write,
and unlike ssl.SSLSocket it can be half-closed: it says close_notify, and goes
on reading.  It decrypts all that the socket has at once, so that select()
never waits while there is something to read.
"""
import socket
import ssl

RECORD_BYTES = 16384


def client_context(ca_file=None, certificate=None):
    """What a client needs: who it believes, and its own (file, key file)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if ca_file:
        context.load_verify_locations(ca_file)
    if certificate:
        context.load_cert_chain(*certificate)
    return context


class Truncated(ConnectionError):
    """The stream ended without close_notify."""


class TlsSocket:
    """A connected socket, and TLS on it.  The handshake is done at once."""

    def __init__(self, sock, context, host):
        self.sock = sock
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing,
                                    server_hostname=host)
        self.unsent = b""
        self.plain = bytearray()
        self.ended = False
        self._handshake()

    def _handshake(self):
        while True:
            try:
                self.tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                self._send_all()
                data = self.sock.recv(65536)
                if not data:
                    raise Truncated("in the handshake") from None
                self.incoming.write(data)
            except ssl.SSLError:
                self._send_all()  # the alert
                raise
        self._send_all()

    def _send_all(self):
        """Writes what is ready, and waits until it is written."""
        timeout = self.sock.gettimeout()
        if timeout == 0:
            self.sock.settimeout(60)
        self.sock.sendall(self.unsent + self.outgoing.read())
        self.unsent = b""
        self.sock.settimeout(timeout)

    def _send_some(self):
        self.unsent += self.outgoing.read()
        if self.unsent:
            sent = self.sock.send(self.unsent)
            self.unsent = self.unsent[sent:]

    # What a socket has.

    def fileno(self):
        return self.sock.fileno()

    def settimeout(self, timeout):
        self.sock.settimeout(timeout)

    def setblocking(self, blocking):
        self.sock.setblocking(blocking)

    def setsockopt(self, *arguments):
        self.sock.setsockopt(*arguments)

    def send(self, data):
        """Takes up to a record; BlockingIOError if one is under way."""
        if self.unsent:
            self._send_some()
            if self.unsent:
                raise BlockingIOError
        taken = self.tls.write(memoryview(data)[:RECORD_BYTES])
        try:
            self._send_some()
        except BlockingIOError:
            pass
        return taken

    def sendall(self, data):
        view = memoryview(data)
        while view:
            taken = self.tls.write(view[:RECORD_BYTES])
            view = view[taken:]
            self._send_all()

    def _decrypt(self):
        try:
            while not self.ended:
                data = self.tls.read(1 << 20)
                self.plain += data
                self.ended = not data
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.ended = True

    def recv(self, size):
        """At least `size` bytes if there are so many: all that came."""
        while not self.plain and not self.ended:
            data = self.sock.recv(size)
            if data:
                self.incoming.write(data)
                self._decrypt()
            else:
                self._decrypt()
                if not self.ended:
                    raise Truncated("no close_notify")
            if self.sock.gettimeout() == 0:
                break
        if not self.plain and not self.ended:
            raise BlockingIOError
        data = bytes(self.plain)
        self.plain.clear()
        return data

    def shutdown(self, how):
        """SHUT_WR is close_notify; the socket itself stays open."""
        if how != socket.SHUT_WR:
            raise ValueError("only SHUT_WR")
        self._decrypt()  # unwrap() would take what is left for an error
        try:
            self.tls.unwrap()
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError:
            if not self.ended:
                raise
        self._send_all()

    def version(self):
        return self.tls.version()

    def close(self):
        self.sock.close()
